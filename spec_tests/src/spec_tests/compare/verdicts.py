"""The promises, and whether they were kept."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from spec_tests.compare.workloads import Workload

__all__ = ["FLOAT32_AGREEMENT", "FLOAT64_AGREEMENT", "judge", "scientific"]

# About a thousand roundings of 2^-23: each update carries on the rounding of those before it.
FLOAT32_AGREEMENT = 1e-4
# Far above rounding, and below what another constant changes, such as an Adam with eps=1e-7.
FLOAT64_AGREEMENT = 1e-9


def judge(
    report: dict[str, Any], workloads: Sequence[Workload], *, suite: bool, reference: bool
) -> list[dict[str, Any]]:
    """Return a verdict on each promise.

    Parameters
    ----------
    report : dict
        What `spec_tests.compare.results.assemble` has put together so far.
    workloads : sequence of Workload
    suite, reference : bool
        Whether the conformance suite, and the reference, were asked for.

    Returns
    -------
    list of dict
        ``promise``, ``kept`` (None if it was not asked) and ``detail``.
    """
    return [
        _finished(report),
        _clauses(report, suite),
        _accuracy(report, workloads),
        _initial(report),
        _losses(report, "float64", FLOAT64_AGREEMENT, reference),
        _losses(report, "float32", FLOAT32_AGREEMENT, reference),
        _rounding(report, reference),
    ]


def scientific(value: float, form: str = ".0e") -> str:
    """Format a number; exponents without the zeros that Python fills them up with."""
    if value == 0:
        return "0"
    return re.sub(r"e([+-])0+(?=\d)", r"e\1", format(value, form)).replace("e+", "e")


def _verdict(promise: str, kept: bool | None, detail: str) -> dict[str, Any]:
    return {"promise": promise, "kept": kept, "detail": detail}


def _finished(report: dict[str, Any]) -> dict[str, Any]:
    faults = [f"{one['owner']}: {one['what']} {one['fault']}" for one in report["failures"]]
    detail = "; ".join(faults) or "no process failed"
    return _verdict("Every process finishes", not faults, detail)


def _clauses(report: dict[str, Any], suite: bool) -> dict[str, Any]:
    promise = "Every clause of the specification is kept"
    if not suite:
        return _verdict(promise, None, "the conformance suite was not run")
    counts = {name: one["clauses"] for name, one in report["implementations"].items()}
    bad = [name for name, one in counts.items() if one["failed"] or one["passed"] is None]
    detail = ", ".join(
        f"{name}: no result" if one["passed"] is None else f"{name}: {one['failed']} failed"
        for name, one in counts.items()
        if name in bad
    )
    return _verdict(promise, not bad, detail or "no clause failed in any implementation")


def _accuracy(report: dict[str, Any], workloads: Sequence[Workload]) -> dict[str, Any]:
    promised = {one.name: one.promised_accuracy for one in workloads if one.promised_accuracy}
    promise = "Every classifier of digits reaches 93% on images it has not seen"
    if not promised:
        return _verdict(promise, None, "not asked of so few steps")
    places = [(key, name) for key in promised for name in report["implementations"]]
    found = {(key, name): report["workloads"][key][name]["final_accuracy"] for key, name in places}
    reached = {place: value for place, value in found.items() if value is not None}
    missing = [f"{key} in {name}" for key, name in places if (key, name) not in reached]
    low = [place for place, value in reached.items() if value < promised[place[0]]]
    parts = [f"no result: {', '.join(missing)}"] if missing else []
    if reached:
        (key, name), value = min(reached.items(), key=lambda item: item[1])
        parts.insert(0, f"lowest of {len(reached)}: {value:.1%} ({key} in {name})")
    return _verdict(promise, not low and not missing, "; ".join(parts))


def _initial(report: dict[str, Any]) -> dict[str, Any]:
    different = [
        f"{name} ({key}, {dtype})"
        for key, found in report["agreement"].items()
        for dtype, drawn in found["initial"].items()
        for name, ulp in drawn["ulp"].items()
        if not ulp["identical"]
    ]
    asked = [
        drawn["identical"]
        for found in report["agreement"].values()
        for drawn in found["initial"].values()
    ]
    detail = f"different: {', '.join(different)}" if different else "0 ULP apart, in both dtypes"
    if all(identical is None for identical in asked):
        return _verdict("One seed draws the same parameters", False, "nothing was drawn")
    return _verdict("One seed draws the same parameters, bit for bit", not different, detail)


def _losses(report: dict[str, Any], dtype: str, bound: float, reference: bool) -> dict[str, Any]:
    promise = f"Losses in {dtype} agree to {scientific(bound)} over the first epoch"
    if len(report["implementations"]) == 1 and not reference:
        return _verdict(promise, None, "one implementation and no reference")
    largest = [
        (found[dtype]["largest"], key, found[dtype]["between"])
        for key, found in report["agreement"].items()
        if found[dtype]["largest"] is not None
    ]
    if not largest:
        return _verdict(promise, False, "there are no two curves to compare")
    value, key, between = max(largest)
    detail = f"largest relative difference {scientific(value, '.1e')} ({between} in {key})"
    return _verdict(promise, value <= bound, detail)


def _rounding(report: dict[str, Any], reference: bool) -> dict[str, Any]:
    promise = "No float32 curve leaves the reference by more than rounding"
    if not reference:
        return _verdict(promise, None, "no interpreter with torch was given")
    found = list(_divergences(report))
    if not found:
        return _verdict(promise, False, "there is no curve to compare with the reference")
    left = [f"{name} in {key} at step {step}" for key, name, step, _ in found if step]
    if left:
        return _verdict(promise, False, "; ".join(left))
    key, name, _, share = max(found, key=lambda one: one[3])
    detail = f"largest part of the allowance used: {share:.0%} ({name} in {key})"
    return _verdict(promise, True, detail)


def _divergences(report: dict[str, Any]) -> Iterator[tuple[str, str, int | None, float]]:
    for key, found in report["agreement"].items():
        for name, one in found["divergence"].items():
            yield key, name, one["first_step"], one["share_of_allowance"]
