"""The tables of loss, optim and init, row by row."""

import inspect
from typing import Any

import pytest

from spec_tests import clause
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row, read
from spec_tests.support.assertions import agrees, refuses, same_signature, to_numpy
from spec_tests.support.calls import (
    as_tensors,
    calls,
    evaluate,
)


def has_formula(row: Row) -> bool:
    return row.formula is not None


def arguments_of_forward(module: Any) -> list[str]:
    return [name for name in inspect.signature(module.forward).parameters if name != "self"]


@clause("loss-09")
@rows("loss")
def test_signatures_of_losses(nn: Any, row: Row) -> None:
    assert row.module_signature is not None
    same_signature(getattr(nn.loss, row.name), row.signature)
    module = getattr(nn, str(row.module))
    same_signature(module, row.module_signature)
    assert issubclass(module, nn.Module), f"nn.{row.module} should be a Module"
    parameters = row.signature.parameters.values()
    want = [parameter.name for parameter in parameters if parameter.default is parameter.empty]
    got = arguments_of_forward(module)
    assert got == want, f"forward of {row.module} takes {got} but should take {want}"


@clause("loss-06")
@rows("loss", where=has_formula)
def test_formulas_of_losses(nn: Any, dtype: str, row: Row) -> None:
    for call in calls(row, dtype):
        positional, options, _ = as_tensors(nn, call)
        got = getattr(nn.loss, row.name)(*positional, **options, reduction="none")
        agrees(nn, got, evaluate(row, call), str(row.tolerance), call=call.text)


@clause("loss-05")
@rows("loss")
def test_other_reductions(nn: Any, row: Row) -> None:
    positional, _, _ = as_tensors(nn, calls(row, "float32")[0])
    with refuses(ValueError, "median", "mean", "sum", "none"):
        getattr(nn.loss, row.name)(*positional, reduction="median")
    with refuses(ValueError, "median", "mean", "sum", "none"):
        getattr(nn, str(row.module))(reduction="median")(*positional)


@clause("loss-08")
@rows("loss")
@pytest.mark.parametrize("dtype_name", ["int64", "bool"])
def test_inputs_that_are_not_floating(nn: Any, row: Row, dtype_name: str) -> None:
    first, *others = as_tensors(nn, calls(row, "float32")[0])[0]
    wrong = nn.ops.astype(first, getattr(nn, dtype_name))
    with refuses(TypeError, row.name, dtype_name):
        getattr(nn.loss, row.name)(wrong, *others)


@clause("optim-08")
@rows("optim")
def test_signatures_of_optimizers(nn: Any, row: Row) -> None:
    place = nn.optim.lr_scheduler if row.family == "schedulers" else nn.optim
    same_signature(getattr(place, row.name), row.signature)


@clause("init-09")
@rows("init")
def test_signatures_of_initial_values(nn: Any, row: Row) -> None:
    same_signature(getattr(nn.init, row.name), row.signature)


@clause("init-05")
@rows("init", where=lambda row: "tensor" in row.signature.parameters)
def test_initial_values_are_put_in_place(nn: Any, dtype: str, row: Row) -> None:
    shape = (4, 3, 1) if row.name == "dirac_" else (4, 3)
    x = nn.zeros(shape, dtype=getattr(nn, dtype))
    further = [0.5] if {"val", "sparsity"} & set(row.signature.parameters) else []
    assert getattr(nn.init, row.name)(x, *further) is x, f"{row.name} should return its tensor"
    assert (str(to_numpy(nn, x).dtype), tuple(x.shape)) == (dtype, shape), row.name


@clause("data-10")
@rows("data")
def test_signatures_of_data(nn: Any, row: Row) -> None:
    same_signature(getattr(nn.data, row.name), row.signature)


@clause("data-10")
def test_names_of_data(nn: Any) -> None:
    listed = sorted(row.name for row in read().values() if row.chapter == "data")
    assert sorted(nn.data.__all__) == listed


@clause("init-09")
def test_names_of_init(nn: Any) -> None:
    public = {name for name in dir(nn.init) if not name.startswith("_")}
    assert public == set(nn.init.__all__), f"{public ^ set(nn.init.__all__)} should not differ"
