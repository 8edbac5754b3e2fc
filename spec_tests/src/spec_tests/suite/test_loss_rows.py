"""The table of the chapter ``loss`` against the stored results of torch.nn.functional."""

from typing import Any

import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees
from spec_tests.support.calls import arguments, as_tensors
from spec_tests.support.losses import Case, Known, cases, cotangent, references


def of(row: Row, dtype: str, reduction: str) -> list[tuple[Case, Known]]:
    """Return the cases of a reduction, with what they give."""
    pairs = zip(cases(row, dtype), references(row), strict=True)
    return [(case, known) for case, known in pairs if case.reduction == reduction]


def slope_class(row: Row, *, twice: bool = False) -> str:
    """Return the class of a loss's gradients, as ``loss-03`` says it."""
    longer = row.name == "ctc_loss" or (twice and row.name == "triplet_margin_loss")
    return "rnn" if longer else "gradient"


def check(nn: Any, case: Case, known: Known, dtype: str) -> None:
    """Compare the value of the function and of the Module, and the gradients of both."""
    row, constructor = case.row, getattr(nn, str(case.row.module))
    assert row.module_signature is not None
    for module in (False, True):
        positional, options, leaves = as_tensors(nn, case.call, requires_grad=True)
        leaves = leaves[: len(known.first)]
        for weight in (value for key, value in options.items() if "weight" in key):
            weight.requires_grad_(False)
        options["reduction"] = case.reduction
        text = f"{row.module}: {case.text}" if module else case.text
        if module:
            value = constructor(**options)(*positional)
        else:
            value = getattr(nn.loss, row.name)(*positional, **options)
        agrees(nn, value, known.value, str(row.tolerance), call=text)
        arrives = nn.tensor(cotangent(known.value.shape, dtype))
        value.backward(*([arrives] if case.reduction == "none" else []))
        for place, (leaf, want) in enumerate(zip(leaves, known.first, strict=True)):
            call = f"{text}: gradient to floating input {place}"
            agrees(nn, leaf.grad, want, slope_class(row), call=call)


def check_twice(nn: Any, case: Case, known: Known, dtype: str) -> None:
    """Compare the gradients of the sum of the squared gradients."""
    row, count = case.row, len(known.second)
    positions = tuple(range(count))

    def scalar(*tensors: Any) -> Any:
        remaining = iter(tensors)

        def placed(array: Any) -> Any:
            made = next(remaining, None) if array.dtype.kind == "f" else None
            return nn.tensor(array) if made is None else made

        positional, options = arguments(nn, case.call, placed)
        value = getattr(nn.loss, row.name)(*positional, **options, reduction=case.reduction)
        if case.reduction != "none":
            return value
        return nn.ops.sum(value * nn.tensor(cotangent(known.value.shape, dtype)))

    def squares(*tensors: Any) -> Any:
        first = nn.grad(scalar, argnums=positions, create_graph=True)(*tensors)
        total = nn.ops.sum(first[0] * first[0])
        for slope in first[1:]:
            total = total + nn.ops.sum(slope * slope)
        return total

    second = nn.grad(squares, argnums=positions)(*[nn.tensor(array) for array in case.floating])
    for place, (got, want) in enumerate(zip(second, known.second, strict=True)):
        call = f"{case.text}: second derivative by floating input {place}"
        agrees(nn, got, want, slope_class(row, twice=True), call=call)


@pytest.mark.sampled(12)
@clause("loss-03", "loss-06", "loss-22")
@rows("loss")
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_losses(nn: Any, dtype: str, row: Row, reduction: str) -> None:
    for case, known in of(row, dtype, reduction):
        check(nn, case, known, dtype)


@clause("loss-17", "loss-06")
@rows("loss", where=lambda row: row.name == "kl_div")
def test_batchmean(nn: Any, dtype: str, row: Row) -> None:
    for case, known in of(row, dtype, "batchmean"):
        check(nn, case, known, dtype)


@clause("loss-03", needs="double_backward")
@pytest.mark.sampled(12)
@rows("loss")
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_second_derivatives_of_losses(nn: Any, dtype: str, row: Row, reduction: str) -> None:
    for case, known in of(row, dtype, reduction):
        if case.twice:
            check_twice(nn, case, known, dtype)
