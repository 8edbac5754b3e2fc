"""The tables of nn, loss, optim and init, row by row."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.judge.clauses import rows
from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, refuses, same_signature, to_numpy
from spec_tests.support.calls import (
    Call,
    arguments,
    as_tensors,
    calls,
    evaluate,
    formula,
    module_calls,
)
from spec_tests.support.inputs import in_double

REDUCTIONS: dict[str, Callable[..., Any]] = {"none": np.asarray, "sum": np.sum, "mean": np.mean}


def has_formula(row: Row) -> bool:
    return row.formula is not None


def arguments_of_forward(module: Any) -> list[str]:
    return [name for name in inspect.signature(module.forward).parameters if name != "self"]


def made(nn: Any, row: Row, call: Call, dtype: str) -> Any:
    """Return the Module of a row, with parameters of `dtype`."""
    options = dict(call.options)
    if "dtype" in row.signature.parameters:
        options["dtype"] = getattr(nn, dtype)
    return getattr(nn, row.name)(*call.arguments, **options)


def value(nn: Any, row: Row, constructor: Call, module: Any, call: Call) -> np.ndarray:
    """Return the equation's value, with the Module's own parameters."""
    bound = row.signature.bind(*constructor.arguments, **constructor.options)
    bound.apply_defaults()
    named = {name: in_double(to_numpy(nn, p)) for name, p in module.named_parameters()}
    array = call.arguments[0]
    data = in_double(array) if array.dtype.kind == "f" else array
    return formula(row, {**bound.arguments, **named, "input": data})


@clause("nn-09")
@rows("nn")
def test_signatures_of_modules(nn: Any, row: Row) -> None:
    same_signature(getattr(nn, row.name), row.signature)
    assert issubclass(getattr(nn, row.name), nn.Module), f"nn.{row.name} should be a Module"


@clause("nn-12")
@rows("nn")
def test_modules_are_called_with_input(nn: Any, row: Row) -> None:
    got = arguments_of_forward(getattr(nn, row.name))
    assert got == ["input"], f"forward of {row.name} takes {got} but should take ['input']"


@clause("nn-09")
@rows("nn", where=has_formula)
def test_values_of_modules(nn: Any, dtype: str, row: Row) -> None:
    for constructor, call in module_calls(row, dtype):
        module = made(nn, row, constructor, dtype)
        want = value(nn, row, constructor, module, call)
        positional, options, _ = as_tensors(nn, call)
        text = f"{constructor.text} on {call.text}"
        agrees(nn, module(*positional, **options), want, str(row.tolerance), call=text)
        agrees(nn, module(input=positional[0]), want, str(row.tolerance), call=text)


@clause("nn-09", needs=("float64", "double_backward"))
@rows("nn", where=has_formula)
def test_gradients_of_modules(nn: Any, row: Row) -> None:
    constructor, call = next(iter(module_calls(row, "float64")))
    module = made(nn, row, constructor, "float64")
    parameters = {name: to_numpy(nn, p) for name, p in module.named_parameters()}
    data = call.floating()

    def cube(*tensors: Any) -> Any:
        replaced = dict(zip(parameters, tensors[len(data) :], strict=True))
        input = tensors[0] if data else nn.tensor(call.arguments[0])
        y = nn.functional_call(module, replaced, input)
        return y * y * y

    points = [*data, *parameters.values()]
    check_gradients(nn, cube, points, second_order=True, call=constructor.text)


@clause("nn-09")
@rows("nn", where=lambda row: "dtype" in row.signature.parameters)
def test_dtypes_of_parameters_are_floating(nn: Any, row: Row) -> None:
    constructor, _ = next(iter(module_calls(row, "float32")))
    nn.manual_seed(3)
    before = to_numpy(nn, nn.rand((2,)))
    nn.manual_seed(3)
    with refuses(TypeError, row.name, "int64"):
        made(nn, row, constructor, "int64")
    after = to_numpy(nn, nn.rand((2,)))
    assert np.array_equal(before, after), f"{row.name}(dtype=int64) drew numbers"


@clause("loss-09")
@rows("loss")
def test_signatures_of_losses(nn: Any, row: Row) -> None:
    assert row.module_signature is not None
    same_signature(getattr(nn.loss, row.name), row.signature)
    module = getattr(nn, str(row.module))
    same_signature(module, row.module_signature)
    assert issubclass(module, nn.Module), f"nn.{row.module} should be a Module"
    got = arguments_of_forward(module)
    assert got == ["input", "target"], f"forward of {row.module} takes {got}"


@clause("loss-06")
@rows("loss", where=has_formula)
@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_values_of_losses(nn: Any, dtype: str, row: Row, reduction: str) -> None:
    for call in calls(row, dtype):
        want = np.asarray(REDUCTIONS[reduction](evaluate(row, call)))
        positional, options, _ = as_tensors(nn, call)
        tolerance, text = str(row.tolerance), f"{call.text}, {reduction}"
        got = getattr(nn.loss, row.name)(*positional, **options, reduction=reduction)
        agrees(nn, got, want, tolerance, call=text)
        got = getattr(nn, str(row.module))(reduction=reduction)(*positional, **options)
        agrees(nn, got, want, tolerance, call=f"{row.module}: {text}")


@clause("loss-03", needs=("float64", "double_backward"))
@rows("loss", where=has_formula)
def test_gradients_of_losses(nn: Any, row: Row) -> None:
    call = calls(row, "float64")[0]

    def cube(*tensors: Any) -> Any:
        remaining = iter(tensors)

        def placed(array: np.ndarray) -> Any:
            return next(remaining) if array.dtype.kind == "f" else nn.tensor(array)

        positional, options = arguments(nn, call, placed)
        y = getattr(nn.loss, row.name)(*positional, **options, reduction="none")
        return y * y * y

    check_gradients(nn, cube, call.floating(), second_order=True, call=call.text)


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
    x = nn.zeros((4, 3), dtype=getattr(nn, dtype))
    further = [0.5] if "val" in row.signature.parameters else []
    assert getattr(nn.init, row.name)(x, *further) is x, f"{row.name} should return its tensor"
    assert (str(to_numpy(nn, x).dtype), tuple(x.shape)) == (dtype, (4, 3)), row.name


@clause("init-09")
def test_names_of_init(nn: Any) -> None:
    public = {name for name in dir(nn.init) if not name.startswith("_")}
    assert public == set(nn.init.__all__), f"{public ^ set(nn.init.__all__)} should not differ"
