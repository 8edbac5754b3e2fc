"""The promises, and whether they were kept."""

from __future__ import annotations

import re
from collections.abc import Sequence

from spec_tests.compare.findings import Report, Verdict
from spec_tests.compare.workloads import Workload

__all__ = ["FLOAT32_AGREEMENT", "FLOAT64_AGREEMENT", "in_digits", "judge", "scientific"]

# About a thousand roundings of 2^-23: each update carries on the rounding of those before it.
FLOAT32_AGREEMENT = 1e-4
# Far above rounding, and below what another constant changes, such as an Adam with eps=1e-7.
FLOAT64_AGREEMENT = 1e-9


def judge(
    report: Report, workloads: Sequence[Workload], *, suite: bool, reference: bool
) -> list[Verdict]:
    """Return a verdict on each promise.

    Parameters
    ----------
    report : Report
        What `spec_tests.compare.results.assemble` has put together so far.
    workloads : sequence of Workload
    suite, reference : bool
        Whether the conformance suite, and the reference, were asked for.

    Returns
    -------
    list of Verdict
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


def in_digits(value: float) -> str:
    """Return a number with four digits, or all those before the point, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _finished(report: Report) -> Verdict:
    faults = [f"{failure.owner}: {failure.what} {failure.fault}" for failure in report.failures]
    detail = "; ".join(faults) or "no process failed"
    return Verdict("Every process finishes", not faults, detail)


def _clauses(report: Report, suite: bool) -> Verdict:
    promise = "Every clause of the specification is kept"
    if not suite:
        return Verdict(promise, None, "the conformance suite was not run")
    faults = [
        f"{name}: no result" if counts.passed is None else f"{name}: {counts.failed} failed"
        for name, implementation in report.implementations.items()
        for counts in [implementation.clauses]
        if counts.failed or counts.passed is None
    ]
    detail = ", ".join(faults) or "no clause failed in any implementation"
    return Verdict(promise, not faults, detail)


def _accuracy(report: Report, workloads: Sequence[Workload]) -> Verdict:
    promised = {
        workload.name: workload.promised_accuracy
        for workload in workloads
        if workload.promised_accuracy
    }
    promise = "Every network reaches the accuracy it should on data it has not seen"
    if promised:
        shares = {key.partition("_")[0]: value for key, value in promised.items()}
        promise += f" ({', '.join(f'{key} {100 * value:g}%' for key, value in shares.items())})"
    if not promised:
        return Verdict(promise, None, "not asked of so few steps")
    places = [(key, name) for key in promised for name in report.implementations]
    accuracy = {(key, name): report.workloads[key][name].final_accuracy for key, name in places}
    reached = {place: value for place, value in accuracy.items() if value is not None}
    missing = [f"{key} in {name}" for key, name in places if (key, name) not in reached]
    low = [place for place, value in reached.items() if value < promised[place[0]]]
    parts = [f"no result: {', '.join(missing)}"] if missing else []
    if reached:
        # The nearest to what is asked, or the farthest below it.
        (key, name), value = min(reached.items(), key=lambda item: item[1] - promised[item[0][0]])
        parts.insert(0, f"closest of {len(reached)}: {value:.1%} ({key} in {name})")
    return Verdict(promise, not low and not missing, "; ".join(parts))


def _initial(report: Report) -> Verdict:
    drawn = [
        (key, dtype, values)
        for key, agreement in report.agreement.items()
        for dtype, values in agreement.initial.items()
    ]
    if all(values.identical is None for _, _, values in drawn):
        return Verdict("One seed draws the same parameters", False, "nothing was drawn")
    different = [
        f"{name} ({key}, {dtype})"
        for key, dtype, values in drawn
        for name, ulp in values.ulp.items()
        if not ulp.identical
    ]
    detail = f"different: {', '.join(different)}" if different else "0 ULP apart, in both dtypes"
    return Verdict("One seed draws the same parameters, bit for bit", not different, detail)


def _losses(report: Report, dtype: str, bound: float, reference: bool) -> Verdict:
    promise = f"Losses in {dtype} agree to {scientific(bound)} over the first epoch"
    if len(report.implementations) == 1 and not reference:
        return Verdict(promise, None, "one implementation and no reference")
    largest = [
        (differences.largest, key, differences.between)
        for key, agreement in report.agreement.items()
        for differences in [agreement.losses(dtype)]
        if differences.largest is not None
    ]
    if not largest:
        return Verdict(promise, False, "there are no two curves to compare")
    value, key, between = max(largest)
    detail = f"largest relative difference {scientific(value, '.1e')} ({between} in {key})"
    return Verdict(promise, value <= bound, detail)


def _rounding(report: Report, reference: bool) -> Verdict:
    promise = "No float32 curve leaves the reference by more than rounding"
    if not reference:
        return Verdict(promise, None, "no interpreter with torch was given")
    curves = [
        (key, name, divergence)
        for key, agreement in report.agreement.items()
        for name, divergence in agreement.divergence.items()
    ]
    if not curves:
        return Verdict(promise, False, "there is no curve to compare with the reference")
    left = [
        f"{name} in {key} at step {divergence.first_step}"
        for key, name, divergence in curves
        if divergence.first_step
    ]
    if left:
        return Verdict(promise, False, "; ".join(left))
    key, name, widest = max(curves, key=lambda curve: curve[2].share_of_allowance)
    detail = f"largest part of the allowance used: {widest.share_of_allowance:.0%}"
    return Verdict(promise, True, f"{detail} ({name} in {key})")
