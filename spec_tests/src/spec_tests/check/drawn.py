"""Inputs that a Function accepts, found by Hypothesis among shapes of named sizes."""

import importlib
import importlib.util
import inspect
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.check.inputs import Argument, InputsError, Signature
from spec_tests.check.subjects import Subject
from spec_tests.check.target import JAX, TORCH, Target

_NAMES = ("N", "M", "K")
# Two choices of sizes, none alike, so that shapes do not fit by chance.
_SIZES = ({"N": 2, "M": 3, "K": 5}, {"N": 4, "M": 2, "K": 3})
_EXAMPLES = 1500


def draw(target: Target, subject: Subject) -> Signature:
    """Return the simplest inputs that a Function accepts, of as many different sizes as can be.

    Raises
    ------
    InputsError
        Where Hypothesis is not installed, or finds none: then `inputs` has to be given.
    """
    if importlib.util.find_spec("hypothesis") is None:
        msg = (
            "inputs: give them, as in --inputs 'float64(N,3), float64(3)', or install hypothesis "
            "(pip install 'spec-tests[check]'), which finds some that the Function accepts"
        )
        raise InputsError(msg)
    arities = _arities(target)
    # What forward takes and backward refuses is the second choice: then backward is what is wrong.
    for backward, dtypes in itertools.product((True, False), (["float64"], ["float64", "int64"])):
        for count in arities:
            for different in (2, 1, 0) if count == 1 else (3, 2, 1, 0):
                found = _find(subject, (count, different), dtypes, backward)
                if found is not None:
                    return found
    msg = (
        f"inputs: {target.name} accepts none of the arrays that were tried ({arities} inputs, "
        f"up to "
        "3 axes); give them, as in --inputs 'float64(N,3), float64(3)'"
    )
    raise InputsError(msg)


def _find(
    subject: Subject, counts: tuple[int, int], dtypes: list[str], backward: bool
) -> Signature | None:
    """Return inputs of a number, with sizes of at least so many names, in some dtypes."""
    count, different = counts
    hypothesis = importlib.import_module("hypothesis")
    st = hypothesis.strategies
    argument = st.tuples(
        st.sampled_from(dtypes),
        st.lists(st.sampled_from(_NAMES), max_size=3),
    )

    def accepted(drawn: Any) -> bool:
        signature = _signature(drawn)
        return len(signature.symbols) >= different and _accepts(subject, signature, backward)

    settings = hypothesis.settings(
        max_examples=_EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(hypothesis.HealthCheck),
        verbosity=hypothesis.Verbosity.quiet,
    )
    try:
        return _signature(
            hypothesis.find(st.tuples(*[argument] * count), accepted, settings=settings)
        )
    except hypothesis.errors.NoSuchExample:
        return None


def _signature(drawn: Any) -> Signature:
    return Signature(tuple(Argument(dtype, tuple(shape)) for dtype, shape in drawn), {})


def _accepts(subject: Subject, signature: Signature, backward: bool) -> bool:
    if not any(signature.wanted):
        return False
    try:
        with np.errstate(all="ignore"):
            for sizes in _SIZES:
                made = subject.apply(signature.at(sizes), list(signature.wanted))
                if backward:
                    made.pull([np.ones_like(y) for y in made.outputs])
                fine = any(y.dtype.kind == "f" and np.isfinite(y).all() for y in made.outputs)
                if not fine:
                    return False
    except Exception:
        return False
    return True


def _arities(target: Target) -> list[int]:
    """Return how many inputs there may be: with optional ones first, then without."""
    function: Callable[..., Any] = target.obj if target.kind == JAX else target.obj.forward
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return [1, 2, 3]
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if target.kind != JAX and not (target.kind == TORCH and _splits(target.obj)):
        places = places[1:]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return [len(places) + 1, len(places) + 2]
    needed = [p for p in places if p.default is p.empty]
    optional = [p for p in places if p.default is None]
    return sorted({len(needed) + len(optional), max(len(needed), 1)}, reverse=True)


def _splits(cls: Any) -> bool:
    """Whether a `torch.autograd.Function` has a `setup_context`, so that forward gets no ctx."""
    owner = next((c for c in cls.__mro__ if "setup_context" in vars(c)), None)
    return owner is not None and not owner.__module__.startswith("torch.")
