"""The chapter ``module``: what a state dict may hold, and conversions that fail."""

import math
import pickle
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.inputs import NO_DTYPES, foreign


def counted(nn: Any) -> Any:
    """Return a Linear with buffers of integers and booleans."""
    module = nn.Linear(3, 2)
    module.register_buffer("wide", nn.tensor(np.array([1, 2], np.int64)))
    module.register_buffer("short", nn.tensor(np.array([3, 4], np.int32)))
    # Whose dtype is as good as any other's, though it may not be the same object.
    flags = pickle.loads(pickle.dumps(np.array([True, False])))
    module.register_buffer("flags", nn.tensor(flags))
    return module


def bits(nn: Any, module: Any) -> dict[str, tuple[int, bool, str, bytes]]:
    """Return everything that the Module holds, bit for bit, and which objects hold it."""
    held = {}
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        array = np.array(to_numpy(nn, value))
        held[name] = (id(value), value.requires_grad, array.dtype.name, array.tobytes())
    return held


def state(nn: Any, module: Any, **changes: Any) -> dict[str, Any]:
    """Return a state in which every entry is another than the module's, but for `changes`."""
    plain = {key: np.array(to_numpy(nn, entry)) for key, entry in module.state_dict().items()}
    return {key: ~a if a.dtype == bool else a + 1 for key, a in plain.items()} | changes


NO_ARRAYS: dict[str, Any] = {
    "a string": "weights",
    "an object": object(),
    "a list": [1.0, 2.0],
    "a tuple": (1.0, 2.0),
    "a list of None": [None],
    "None": None,
    "a dict": {"a": 1.0},
    "a float": 3.0,
    "NaN": math.nan,
    "a complex number": 1j,
    "a set": {1.0, 2.0},
    "a class": np.ndarray,
}


@clause("module-18")
@pytest.mark.parametrize("what", NO_ARRAYS)
@pytest.mark.parametrize("strict", [True, False])
def test_entries_that_are_no_arrays(nn: Any, what: str, strict: bool) -> None:
    module = counted(nn)
    before = bits(nn, module)
    came = type(NO_ARRAYS[what]).__name__
    for key in ("bias", "wide", "flags"):
        with refuses(RuntimeError, key, came):
            module.load_state_dict(state(nn, module, **{key: NO_ARRAYS[what]}), strict=strict)
        assert bits(nn, module) == before, f"{what} as {key} has changed the module"


@clause("module-18", "tensor-37")
@pytest.mark.parametrize("dtype_name", NO_DTYPES)
def test_arrays_of_other_dtypes(nn: Any, dtype_name: str) -> None:
    module = counted(nn)
    before = bits(nn, module)
    array = NO_DTYPES[dtype_name]
    shown = (dtype_name, array.dtype.name, str(array.dtype), "void")
    for key in ("bias", "wide", "short", "flags"):
        with refuses(RuntimeError, key, shown):
            module.load_state_dict(state(nn, module, **{key: array}))
        assert bits(nn, module) == before, f"{dtype_name} as {key} has changed the module"


@clause("module-18", "tensor-37")
def test_raw_arrays_of_other_dtypes(nn: Any) -> None:
    module = counted(nn)
    before = bits(nn, module)
    for name, array in foreign(raw(nn, np.ones(2, np.float32))).items():
        with refuses(RuntimeError, "bias", name):
            module.load_state_dict(state(nn, module, bias=array))
        assert bits(nn, module) == before, f"{name} has changed the module"


@clause("module-18")
def test_all_entries_at_fault_stand_in_one_error(nn: Any) -> None:
    module = counted(nn)
    before = bits(nn, module)
    wrong = state(
        nn,
        module,
        weight=np.ones((3, 2), np.float32),
        bias="text",
        wide=np.array([1j, 2j]),
        short=np.array([2**40, 0]),
        stranger=np.ones(1, np.float32),
    )
    del wrong["flags"]
    names = ("weight", "bias", "wide", "short", "stranger", "flags")
    with refuses(RuntimeError, *names, "(3, 2)", "str", "complex128"):
        module.load_state_dict(wrong)
    assert bits(nn, module) == before


@clause("module-18")
@pytest.mark.parametrize("source", ["float32", "float64", "int32", "int64", "bool"])
def test_any_number_goes_into_a_floating_entry(nn: Any, dtype: str, source: str) -> None:
    if source == "float64" and not nn.spec_capabilities()["float64"]:
        return
    array = np.array([1, 0]).astype(source)
    for entry in (array, nn.tensor(array), raw(nn, array)):
        module = nn.Linear(3, 2, dtype=getattr(nn, dtype))
        module.load_state_dict({"weight": np.zeros((2, 3), dtype), "bias": entry})
        exactly(nn, module.bias, array.astype(dtype), call=f"{source} into {dtype}")


@clause("module-18")
def test_what_goes_into_integers(nn: Any) -> None:
    for key, array in (
        ("wide", np.array([2**62, -(2**63)], np.int64)),
        ("wide", np.array([2**31 - 1, -(2**31)], np.int32)),
        ("wide", np.array([True, False])),
        ("short", np.array([2**31 - 1, -(2**31)], np.int64)),
        ("short", np.array([-5, 6], np.int32)),
        ("flags", np.array([False, True])),
    ):
        module = counted(nn)
        want = to_numpy(nn, getattr(module, key)).dtype.name
        for entry in (array, nn.tensor(array), raw(nn, array)):
            module.load_state_dict(state(nn, module, **{key: entry}))
            exactly(nn, getattr(module, key), array.astype(want), call=f"{array} into {key}")


@clause("module-18")
@pytest.mark.parametrize(
    ("key", "numbers", "source"),
    [
        ("wide", [1.0, 2.0], "float32"),
        ("wide", [1.5, 2.0], "float64"),
        ("short", [1.0, 2.0], "float32"),
        ("short", [2**31, 0], "int64"),
        ("short", [0, -(2**31) - 1], "int64"),
        ("flags", [1.0, 0.0], "float32"),
        ("flags", [2, 0], "int64"),
    ],
)
def test_what_does_not_go_into_integers(
    nn: Any, key: str, numbers: list[float], source: str
) -> None:
    module = counted(nn)
    before = bits(nn, module)
    array = np.array(numbers, source)
    entries = [array]
    if source != "float64" or nn.spec_capabilities()["float64"]:
        entries += [nn.tensor(array), raw(nn, array)]
    for entry in entries:
        with refuses(RuntimeError, key):
            module.load_state_dict(state(nn, module, **{key: entry}))
        assert bits(nn, module) == before


@clause("module-18")
def test_an_entry_that_has_a_history(nn: Any) -> None:
    module = nn.Linear(3, 2)
    entry = tensor(nn, np.array([1.0, 2.0], np.float32)) * 2
    module.load_state_dict({"weight": np.zeros((2, 3), np.float32), "bias": entry})
    exactly(nn, module.bias, np.array([2, 4], np.float32))
    assert module.bias.is_leaf


@clause("module-19")
@pytest.mark.parametrize("name", ["int32", "int64", "bool"])
def test_conversions_to_what_is_not_floating(nn: Any, name: str) -> None:
    module = nn.Sequential(counted(nn), nn.LSTM(2, 2))
    before = bits(nn, module)
    with refuses(TypeError, "to", name):
        module.to(getattr(nn, name))
    assert bits(nn, module) == before


@clause("module-19", "tensor-37")
@pytest.mark.parametrize("what", ["float16", "text", "a number", "None", "a list"])
def test_conversions_to_what_is_no_dtype(nn: Any, what: str) -> None:
    half = foreign(raw(nn, np.ones(2, np.float32)))["float16"].dtype
    wrong = {"float16": half, "text": "texts", "a number": 3.5, "None": None, "a list": [1]}[what]
    module = counted(nn)
    before = bits(nn, module)
    shown = {"float16": "float16", "text": "texts", "a number": "3.5", "a list": ("[1]", "list")}
    with refuses(TypeError, "to", shown.get(what, "None")):
        module.to(wrong)
    assert bits(nn, module) == before


CONVERSIONS: dict[str, tuple[str, str]] = {
    "double": ("float32", "float64"),
    "to float64": ("float32", "float64"),
    "float": ("float64", "float32"),
    "to float32": ("float64", "float32"),
    "double of float64": ("float64", "float64"),
}


def trained(nn: Any, dtype: str) -> tuple[Any, Any]:
    """Return a Module of whole numbers whose parameters, but for one, have gradients; an input."""
    module = nn.Sequential(nn.Linear(3, 2, dtype=getattr(nn, dtype)), counted(nn).to(nn.float32))
    layer = module[0]
    layer.load_state_dict(
        {"weight": np.arange(6, dtype=dtype).reshape(2, 3), "bias": np.array([1, -2], dtype)}
    )
    x = np.arange(12, dtype=dtype).reshape(4, 3) - 5
    y = layer(tensor(nn, x))
    nn.ops.sum(y * y).backward()
    return module, x


@clause("module-11", needs="float64")
@pytest.mark.parametrize("how", CONVERSIONS)
def test_a_conversion_takes_gradients_along(nn: Any, how: str) -> None:
    source, wanted = CONVERSIONS[how]
    module, x = trained(nn, source)
    layer = module[0]
    held = dict(layer.named_parameters())
    values = {name: np.array(to_numpy(nn, p)).astype(wanted) for name, p in held.items()}
    grads = {name: np.array(to_numpy(nn, p.grad)).astype(wanted) for name, p in held.items()}
    if how.startswith("to "):
        assert module.to(getattr(nn, wanted)) is module
    else:
        assert getattr(module, how.split()[0])() is module
    for name, parameter in layer.named_parameters():
        assert parameter is held[name], f"{how}: {name} is another object"
        assert parameter.is_leaf, f"{how}: {name}"
        assert parameter.grad is not None, f"{how}: the gradient of {name} is gone"
        exactly(nn, parameter, values[name], call=f"{how}: {name}")
        exactly(nn, parameter.grad, grads[name], call=f"{how}: the gradient of {name}")
    assert all(parameter.grad is None for parameter in module[1].parameters())
    # The next gradients are added to those, and an optimizer takes the sum.
    y = layer(tensor(nn, x.astype(wanted)))
    nn.ops.sum(y * y).backward()
    nn.optim.SGD(layer.parameters(), lr=0.5).step()
    for name, parameter in layer.named_parameters():
        exactly(nn, parameter.grad, 2 * grads[name], call=f"{how}: {name} after another pass")
        exactly(nn, parameter, values[name] - grads[name], call=f"{how}: {name} after a step")


@clause("module-19")
@pytest.mark.parametrize("name", ["int32", "int64", "bool"])
def test_a_conversion_that_fails_leaves_gradients(nn: Any, name: str) -> None:
    module, _ = trained(nn, "float32")
    before = bits(nn, module)
    grads = {key: np.array(to_numpy(nn, p.grad)) for key, p in module[0].named_parameters()}
    with refuses(TypeError, "to", name):
        module.to(getattr(nn, name))
    assert bits(nn, module) == before
    for key, parameter in module[0].named_parameters():
        exactly(nn, parameter.grad, grads[key], call=f"to({name}): the gradient of {key}")
