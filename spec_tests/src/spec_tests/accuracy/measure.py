"""Errors of one implementation in float32, in units in the last place of the float64 reference."""

from __future__ import annotations

import base64
import time
import warnings
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import numpy as np

from spec_tests.judge import tables
from spec_tests.judge.tables import Row
from spec_tests.suite.test_rnn_sizes import problem
from spec_tests.support.assertions import to_numpy
from spec_tests.support.calls import Call, as_tensors, calls, evaluate_all, results
from spec_tests.support.recurrence import Recurrence, states_of
from spec_tests.support.recurrent import call_layer, layer_of, outcome

__all__ = [
    "LENGTHS",
    "measured",
    "of_function",
    "of_functions",
    "of_lengths",
    "summary",
    "unpacked",
]


ELEMENTWISE = ("unary", "shaped", "binary")
# The last axis of operands of elementwise functions: of 3 rows 99.9% leave twelve elements out.
WIDTH = 4096
_REPEATS = 9
LENGTHS = (1, 4, 16, 64, 256, 1024, 4096)
_LAYERS = ("RNN_tanh", "GRU", "LSTM")
# N, I and H of the layers.
_SIZES = (2, 8, 16)
# What stands for more, and for NaN where there should be a number.
MOST = float(np.finfo(np.float16).max)
_EPS = float(np.finfo(np.float32).eps)


def of_functions(nn: Any, only: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield key and errors of every function of ops, linalg and fft that has a formula.

    Parameters
    ----------
    nn : module
        The implementation.
    only : str
        What the keys have in them.

    Yields
    ------
    tuple of (str, dict)
        As `of_function` returns it; where the call raises, ``{"why": text}``.
    """
    for key, row in tables.read().items():
        if row.chapter not in ("ops", "linalg", "fft") or row.formula is None or not row.inputs:
            continue
        if only in key and any(call.floating() for call in calls(row, "float32")):
            try:
                found = of_function(nn, row)
            except Exception as error:  # what one function lacks is said in its place
                found = {"why": f"{type(error).__name__}: {' '.join(str(error).split())}"}
            if found:
                yield key, found


def of_function(nn: Any, row: Row) -> dict[str, Any]:
    """Measure one function in float32.

    Returns
    -------
    dict
        ``family``, ``elements``; ``ulp``, the error at the median, at 99.9% and the largest;
        ``nanoseconds`` for each element of an elementwise function, by the median of some calls;
        ``errors``, those of all elements, which `unpacked` reads. Empty where no result is
        floating.

        A unit is that of the element's reference in float32 for an elementwise function, and of the
        largest one of the result for others, whose sums cancel.
    """
    elementwise = row.family in ELEMENTWISE
    found = calls(row, "float32", _wide if elementwise else None)
    errors = [error for call in found for error in _errors(nn, row, call, elementwise)]
    if not errors:
        return {}
    joined = np.concatenate(errors)
    seconds = _seconds(nn, row, found[0]) if elementwise else None
    size = max(array.size for array in found[0].arrays())
    return {
        "family": row.family or row.chapter,
        "elements": joined.size,
        "ulp": summary(joined),
        "nanoseconds": None if seconds is None else round(seconds / size * 1e9, 4),
        "errors": _packed(joined),
    }


def of_lengths(nn: Any) -> dict[str, dict[str, list[float]]]:
    """Measure layers over sequences of each of `LENGTHS` in float32.

    Returns
    -------
    dict
        By layer: ``output`` and ``gradient``, of the recurrent weight, the largest errors in units
        of float32's epsilon at the largest element of the reference, which is in float64.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for name in _LAYERS:
        rows: dict[str, list[float]] = {"output": [], "gradient": []}
        for steps in LENGTHS:
            output, gradient = _of_length(nn, name, steps)
            rows["output"].append(output)
            rows["gradient"].append(gradient)
        found[name] = rows
    return found


def unpacked(text: str) -> np.ndarray:
    """Return the errors that a file holds, signed, in units in the last place."""
    return np.frombuffer(base64.b64decode(text), "<f2").astype(np.float64)


def summary(errors: np.ndarray) -> list[float]:
    """Return the sizes of signed errors at the median, at 99.9% and the largest."""
    sizes = np.abs(errors)
    return [round(float(np.quantile(sizes, q, method="higher")), 3) for q in (0.5, 0.999, 1.0)]


def _packed(errors: np.ndarray) -> str:
    return base64.b64encode(np.clip(errors, -MOST, MOST).astype("<f2").tobytes()).decode("ascii")


def _wide(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:-1], WIDTH) if shape and shape[-1] > 1 else shape


def _errors(nn: Any, row: Row, call: Call, elementwise: bool) -> Iterator[np.ndarray]:
    positional, options, _ = as_tensors(nn, call)
    values = results(_function(nn, row)(*positional, **options))
    for got, want in zip(values, evaluate_all(row, call), strict=True):
        value = to_numpy(nn, got)
        if value.dtype.kind not in "fc" or not want.size:
            continue
        size = np.abs(want)
        units = np.spacing((size if elementwise else np.max(size)).astype(np.float32))
        units = np.maximum(units, np.finfo(np.float32).smallest_normal * _EPS).astype(np.float64)
        with np.errstate(invalid="ignore"):
            # Infinities that are alike would leave NaN.
            difference = np.where(value == want, 0, value.astype(want.dtype) - want) / units
        parts = (difference.real, difference.imag) if value.dtype.kind == "c" else (difference,)
        yield np.nan_to_num(np.concatenate([part.ravel() for part in parts]), nan=MOST, posinf=MOST)


def _function(nn: Any, row: Row) -> Callable[..., Any]:
    place = nn.ops if row.chapter == "ops" else getattr(nn.ops, row.chapter)
    function: Callable[..., Any] = getattr(place, row.name)
    return function


def _seconds(nn: Any, row: Row, call: Call) -> float:
    """Return what a call takes until its result is there, by the median."""
    function = _function(nn, row)
    positional, options, _ = as_tensors(nn, call)
    taken = []
    for _ in range(_REPEATS + 2):
        start = time.perf_counter()
        to_numpy(nn, results(function(*positional, **options))[0])
        taken.append(time.perf_counter() - start)
    return median(taken[2:])


def _of_length(nn: Any, name: str, steps: int) -> tuple[float, float]:
    parameters, inputs, cotangents = problem(name, (steps, *_SIZES), "float32", 0.5)
    reference = Recurrence(name, parameters)
    wanted = reference.forward(inputs["x"], *(inputs[key] for key in states_of(name)))
    slopes = reference.backward(cotangents)
    layer = layer_of(nn, name, "float32", {f"{key}_l0": a for key, a in parameters.items()})
    given = {key: array if key == "x" else array[None] for key, array in inputs.items()}
    arriving = {key: a if key == "output" else a[None] for key, a in cotangents.items()}
    got = outcome(nn, call_layer, layer, given, arriving)
    return (
        _in_eps(to_numpy(nn, got["outputs"]["output"]), wanted["output"]),
        _in_eps(to_numpy(nn, got["gradients"]["weight_hh_l0"]), slopes["weight_hh"]),
    )


def _in_eps(value: np.ndarray, want: np.ndarray) -> float:
    error = np.max(np.abs(value.astype(np.float64) - want)) / np.max(np.abs(want))
    return round(float(error) / _EPS, 3)


def measured(nn: Any, only: str = "") -> dict[str, Any]:
    """Measure an implementation: ``functions``, ``steps`` and ``lengths``."""
    nn.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functions = dict(of_functions(nn, only))
        lengths = {} if only else of_lengths(nn)
    return {"functions": functions, "steps": list(LENGTHS), "lengths": lengths}
