"""A Function, asked for every property on every backend that it is made for."""

import difflib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spec_tests.check import drawn, inputs, target
from spec_tests.check.inputs import InputsError, Signature
from spec_tests.check.properties import (
    AGREEMENT,
    FAILED,
    NOT_ASKED,
    PASSED,
    PROPERTIES,
    REFUSED,
    Case,
    NotAsked,
    Property,
    Refused,
    Wrong,
)
from spec_tests.check.properties.case import listed, precision, shown
from spec_tests.check.subjects import Subject, installed, subjects
from spec_tests.check.target import JAX, MADE, TORCH, Target, TargetError

# Backends may add in another order, in blocks of another size.
_ULPS = 4096
_WRITTEN = ("read-only", "readonly", "in place", "in-place", "inplace")


@dataclass(frozen=True)
class Verdict:
    """What came of one property on one backend.

    Attributes
    ----------
    state : str
        ``passed``, ``failed``, ``refused`` (in words, which is no fault) or ``not asked``.
    says : str
        What was found, or what is wrong, in one line.
    sizes : str
        The sizes at which it fails, the smallest that were tried.
    script : str
        A script that fails alike, without `spec_tests`.
    """

    state: str
    says: str
    sizes: str = ""
    script: str = ""


@dataclass
class Report:
    """What came of a check.

    Attributes
    ----------
    name, signature : str
        The Function, and its inputs.
    verdicts : dict
        By backend, then by property.
    obstacles : dict
        Backends on which it could not be checked, and why.
    drawn : bool
        Whether Hypothesis found the inputs.
    """

    name: str
    signature: str
    verdicts: dict[str, dict[str, Verdict]] = field(default_factory=dict)
    obstacles: dict[str, str] = field(default_factory=dict)
    drawn: bool = False

    def failures(self) -> Iterator[tuple[str, str, Verdict]]:
        """Yield backend, property and verdict of what fails."""
        for label, row in self.verdicts.items():
            for name, verdict in row.items():
                if verdict.state == FAILED:
                    yield label, name, verdict

    @property
    def failed(self) -> list[str]:
        """The names of properties that fail somewhere."""
        return list(dict.fromkeys(name for _, name, _ in self.failures()))

    @property
    def status(self) -> int:
        """0 where it is right, 1 where it is wrong, 2 where it could not be checked."""
        if self.failed:
            return 1
        return 2 if self.obstacles or not self.verdicts else 0


def names_of(text: str | Sequence[str]) -> list[str]:
    """Return names of properties from words, each of which must be one.

    Raises
    ------
    ValueError
        That suggests the nearest name.
    """
    known = [*(p.name for p in PROPERTIES), AGREEMENT]
    wanted = [w.strip() for w in text.split(",")] if isinstance(text, str) else list(text)
    wanted = [name for name in wanted if name]
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.0)[0]
            msg = f"properties: there is no {name}; did you mean {near}? All: {', '.join(known)}"
            raise ValueError(msg)
    return wanted


def examine(
    function: Any,
    given: Any = None,
    *,
    impl: Sequence[str] = (),
    only: str | Sequence[str] = (),
    skip: str | Sequence[str] = (),
    batch: str = "",
    seed: int = 0,
) -> Report:
    """Ask a Function for every property, and return what came of it.

    Parameters
    ----------
    function : object or str
        A portable class, a Function of an implementation, a `torch.autograd.Function`, a function
        that JAX differentiates; or where it is: ``file.py:Class``, ``package.module:Class``.
    given : str or sequence, optional
        The inputs, ``"float64(N,3), float64(3)"`` or a list of arrays and other values. Without
        them Hypothesis looks for some that the Function accepts.
    impl : sequence of str
        Implementations for a portable class; by default all that are installed.
    only, skip : str or sequence of str
        Names of properties.
    batch : str
        The name of the axis of examples, to hold it to `batch`.
    seed : int
        Decides the numbers.

    Raises
    ------
    TargetError, InputsError, ValueError
        If it cannot be checked, with the nearest name of what was meant.
    """
    found = target.load(function) if isinstance(function, str) else target.describe(function)
    chosen = set(names_of(only)) or {*(p.name for p in PROPERTIES), AGREEMENT}
    chosen -= set(names_of(skip))
    signature = None if given is None else inputs.given(given)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        every = _subjects(found, impl, dict(signature.config) if signature else {})
        if signature is None:
            made = found.on(every[0].label) if found.kind == MADE else found
            signature = drawn.draw(made, every[0])
        report = Report(found.name, str(signature), drawn=given is None)
        if batch and batch not in signature.symbols:
            msg = (
                f"batch: the inputs have no size {batch}; they have "
                f"{', '.join(signature.symbols) or 'none'}"
            )
            raise InputsError(msg)
        if not any(signature.wanted):
            msg = f"inputs: none of {signature} is floating and may have a gradient"
            raise InputsError(msg)
        cases = []
        for subject in every:
            case = Case(subject, signature, {}, batch, seed)
            if _ask_everything(case, chosen, report):
                cases.append(case)
        if AGREEMENT in chosen and len(cases) > 1:
            _agreement(cases, report)
    return report


def _subjects(found: Target, impl: Sequence[str], config: dict[str, Any]) -> list[Subject]:
    names = list(impl) or installed()
    if not names and found.kind not in (TORCH, JAX):
        msg = "implementations: none is installed, and none was named by --impl"
        raise TargetError(msg)
    try:
        return subjects(found, names, config)
    except ImportError as error:
        known = installed()
        near = difflib.get_close_matches(str(error.name), known, 1, 0.0)
        hint = f"; did you mean {near[0]}?" if near else ""
        msg = f"implementations: cannot import {error.name}{hint}"
        raise TargetError(msg) from error
    except (TypeError, NotAsked) as error:
        msg = f"target: {error}"
        raise TargetError(msg) from error


def rungs(signature: Signature) -> list[dict[str, int]]:
    """Return choices of sizes from small to large: the first that fails is the smallest."""
    names = signature.symbols
    if not names:
        return [{}]
    return [
        dict.fromkeys(names, 1),
        {name: 2 + k for k, name in enumerate(names)},
        {name: 3 + (k + 1) % len(names) for k, name in enumerate(names)},
    ]


def _ask_everything(case: Case, chosen: set[str], report: Report) -> bool:
    """Ask for the properties at the sizes that forward takes; return whether there are any."""
    label = case.subject.label
    accepted, obstacle = [], ""
    for sizes in rungs(case.signature):
        trial = Case(case.subject, case.signature, sizes, case.batch, case.seed)
        try:
            trial.apply(trial.values())
        except Exception as error:
            obstacle = f"forward({shown(trial.values())}) raises {type(error).__name__}: {error}"
            if any(word in str(error) for word in _WRITTEN):
                body = f"forward({listed(trial.values())})"
                says = f"forward is wrong: it writes into what it is given: {error}"
                verdict = Verdict(FAILED, says, _text(sizes), trial.script(body))
                report.verdicts[label] = {"mutation": verdict}
                return False
            continue
        accepted.append(trial)
    if not accepted:
        report.obstacles[label] = obstacle
        return False
    row = report.verdicts.setdefault(label, {})
    case.sizes = accepted[-1].sizes
    first, *rest = PROPERTIES
    started = row[first.name] = _ask(first, accepted)
    if started.state == FAILED and any(word in started.says for word in _WRITTEN):
        row["mutation"] = started
    for question in rest:
        if question.name in chosen and question.name not in row:
            # What does not run cannot be asked how it does.
            broken = started.state == FAILED
            row[question.name] = (
                Verdict(NOT_ASKED, "backward does not run") if broken else _ask(question, accepted)
            )
    return started.state != FAILED


def _ask(question: Property, cases: list[Case]) -> Verdict:
    verdict = Verdict(NOT_ASKED, "")
    for case in cases[-1:] if question.once else cases:
        one = _ask_once(question, case)
        if one.state == FAILED:
            return one
        # A property that a larger size asks for was asked for.
        if one.state != NOT_ASKED or verdict.state == NOT_ASKED:
            verdict = one
    return verdict


def _ask_once(question: Property, case: Case) -> Verdict:
    sizes = _text(case.sizes)
    try:
        return Verdict(PASSED, question.ask(case))
    except NotAsked as error:
        return Verdict(NOT_ASKED, str(error))
    except Refused as error:
        return Verdict(REFUSED, str(error))
    except Wrong as error:
        return Verdict(FAILED, error.says, sizes, case.script(error.body) if error.body else "")
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        says = f"it raises {type(error).__name__}: {lines[0]}"
        body = f"values = {listed(case.values())}\n"
        body += "print(gradients(values, [np.ones_like(y) for y in forward(values)]))"
        return Verdict(FAILED, says, sizes, case.script(body))


def _text(sizes: Any) -> str:
    return ", ".join(f"{name}={size}" for name, size in sizes.items())


def _agreement(cases: list[Case], report: Report) -> None:
    """Compare what the backends give, in units in the last place of the largest number."""
    results = []
    for case in cases:
        values = case.values()
        try:
            made = case.apply(values)
            results.append([*made.outputs, *made.pull(case.cotangents(made))])
        except Exception:
            results.append([])
    first = cases[0].subject.label
    for case, got in zip(cases[1:], results[1:], strict=True):
        worst = 0.0
        if not got or len(got) != len(results[0]):
            continue
        for a, b in zip(got, results[0], strict=True):
            worst = max(worst, _ulps(a, b))
        label = case.subject.label
        says = f"{worst:.1f} ULP from {first}"
        state = PASSED if worst <= _ULPS else FAILED
        report.verdicts[label][AGREEMENT] = Verdict(state, says, _text(case.sizes))
    report.verdicts[first][AGREEMENT] = Verdict(PASSED, "the others are compared with it")


def _ulps(a: np.ndarray | None, b: np.ndarray | None) -> float:
    if a is None or b is None:
        some = a if b is None else b
        return 0.0 if some is None or not np.any(some) else np.inf
    if a.shape != b.shape or a.dtype != b.dtype:
        return np.inf
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else np.inf
    if not np.array_equal(np.isnan(a), np.isnan(b)):
        return np.inf
    scale = float(np.max(np.abs(b[np.isfinite(b)]), initial=0.0))
    apart = np.abs(np.where(a == b, 0, a - b))
    largest = float(np.max(np.nan_to_num(apart, nan=0.0), initial=0.0))
    return largest / (precision(a.dtype) * scale) if scale else largest and np.inf
