"""The chapter ``tensor``: what the standard asks of an array object, and DLPack."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check.differences import gradients
from spec_tests.support.assertions import agrees, exactly, own, raw, refuses, tensor
from spec_tests.support.dtypes import there
from spec_tests.support.inputs import distinct, in_double, positive

pytestmark = pytest.mark.sampled(6)

CPU = 1
INTEGER_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "bitwise_and": operator.and_,
    "bitwise_or": operator.or_,
    "bitwise_xor": operator.xor,
    "bitwise_left_shift": operator.lshift,
    "bitwise_right_shift": operator.rshift,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
}


@clause("tensor-43")
@pytest.mark.parametrize("name", INTEGER_OPERATORS)
def test_operators_of_integers(nn: Any, name: str) -> None:
    apply = INTEGER_OPERATORS[name]
    for dtype in there(nn, ("int8", "int32", "int64", "uint8", "uint64")):
        a, b = np.array([12, 10, 7], dtype), np.array([5, 1, 3], dtype)
        x, want = nn.tensor(a), apply(a, b)
        for other in (nn.tensor(b), raw(nn, b), *([b] if own(nn) else [])):
            exactly(nn, apply(x, other), want, dtype=dtype, call=f"{name} of {dtype}")
        for other in (raw(nn, a), *([a] if own(nn) else [])):
            exactly(nn, apply(other, nn.tensor(b)), want, dtype=dtype, call=f"{name}, reflected")
        exactly(nn, apply(x, 2), apply(a, 2), dtype=dtype, call=f"{name} of {dtype} and 2")
        exactly(nn, apply(2, nn.tensor(b)), apply(2, b), dtype=dtype, call=f"2 {name} {dtype}")
        broad = apply(nn.tensor(a[:, None]), nn.tensor(b))
        exactly(nn, broad, apply(a[:, None], b), dtype=dtype, call=f"{name} broadcasts")
    if name.startswith("bitwise") and own(nn):
        with refuses(TypeError, name, "float32"):
            apply(nn.ones((2,)), nn.ones((2,)))


@clause("tensor-43", "ops-35")
def test_operators_of_booleans(nn: Any) -> None:
    a, b = np.array([True, True, False, False]), np.array([True, False, True, False])
    x, y = nn.tensor(a), nn.tensor(b)
    for apply in (operator.and_, operator.or_, operator.xor):
        exactly(nn, apply(x, y), apply(a, b), dtype="bool")
        exactly(nn, apply(x, True), apply(a, True), dtype="bool")
        exactly(nn, apply(False, x), apply(False, a), dtype="bool")
    exactly(nn, ~x, ~a, dtype="bool", call="~x of booleans")
    for dtype in there(nn, ("int8", "uint8", "int64")):
        whole = np.array([0, 1, 100], dtype)
        exactly(nn, ~nn.tensor(whole), ~whole, dtype=dtype, call=f"~x of {dtype}")
        exactly(nn, +nn.tensor(whole), whole, dtype=dtype, call=f"+x of {dtype}")


@clause("tensor-43", "ops-33", "ops-34")
@pytest.mark.parametrize("name", ["floor_divide", "remainder"])
def test_gradients_of_whole_division(nn: Any, dtype: str, name: str) -> None:
    if not own(nn):
        assert INTEGER_OPERATORS[name] is not None
        return
    apply = INTEGER_OPERATORS[name]
    a, b = 3 * positive((3, 4), dtype), positive(4, dtype, seed=1)
    x, y = tensor(nn, a), tensor(nn, b)
    got = apply(x, y)
    agrees(nn, got, apply(in_double(a), in_double(b)), "elementwise", call=name)
    nn.ops.sum(got).backward()
    slopes = gradients(lambda p, q: float(np.sum(apply(p, q))), [a, b])
    tolerance = "difference" if dtype == "float64" else "gradient"
    for leaf, want in zip((x, y), slopes, strict=True):
        agrees(nn, leaf.grad, want, tolerance, call=f"gradient of {name}")
    exactly(nn, apply(nn.tensor(a), 2.0), apply(a, a.dtype.type(2)), call=f"{name} by a number")
    half = apply(2.0, nn.tensor(b))
    agrees(nn, half, apply(2.0, in_double(b)), "elementwise", call=f"a number {name}")


@clause("tensor-43")
def test_in_place_operators_make_new_tensors(nn: Any) -> None:
    if not own(nn):
        assert hasattr(nn.Tensor, "__iadd__")
        return
    operations: list[Callable[[Any, Any], Any]] = [
        operator.iadd,
        operator.isub,
        operator.imul,
        operator.itruediv,
        operator.ipow,
        operator.ifloordiv,
        operator.imod,
    ]
    for apply in operations:
        array = np.array([3.0, 5.0], "float32")
        x = nn.tensor(array)
        got = apply(x, 2.0)
        exactly(nn, x, array, dtype="float32", call=f"what stood left of {apply.__name__}")
        agrees(nn, got, apply(array.copy(), 2.0), "elementwise", dtype="float32")


@clause("tensor-43")
def test_the_namespace_of_a_tensor(nn: Any) -> None:
    if not hasattr(nn.Tensor, "__array_namespace__"):
        assert not own(nn), "Tensor should have __array_namespace__"
        return
    x = nn.ones((2,))
    for version in (None, "2025.12", "2024.12", "2021.12"):
        assert x.__array_namespace__(api_version=version) is nn.ops, version
    assert x.__array_namespace__() is nn.ops
    wrong: Any
    for wrong in ("2020.01", "3000.12", "new", 2025):
        with refuses(ValueError, "__array_namespace__", wrong):
            x.__array_namespace__(api_version=wrong)


@clause("tensor-43", "ops-31")
def test_devices_of_tensors(nn: Any) -> None:
    info = nn.ops.__array_namespace_info__()
    x = tensor(nn, distinct((2, 3), "float32"))
    assert x.device in info.devices()
    assert x.device == info.default_device()
    assert (x * 2).device == x.device
    if not hasattr(nn.Tensor, "to_device"):
        assert not own(nn), "Tensor should have to_device"
        return
    for options in ({}, {"stream": None}):
        y = x.to_device(x.device, **options)
        exactly(nn, y, distinct((2, 3), "float32"), dtype="float32", call="to_device")
        x.grad = None
        nn.ops.sum(y * 3.0).backward()
        exactly(nn, x.grad, np.full((2, 3), 3.0), dtype="float32", call="gradient of to_device")
    for device in ("nowhere", 1.5, None):
        with refuses((ValueError, TypeError), "to_device", device):
            x.to_device(device)


@clause("tensor-07")
def test_sizes(nn: Any) -> None:
    for shape in ((), (0,), (2, 3), (4, 0, 2)):
        size = nn.zeros(shape).size
        if own(nn):
            assert type(size) is int
            assert size == int(np.prod(shape))
        else:
            assert size is not None


def with_dlpack(nn: Any) -> list[str]:
    return there(
        nn, ("bool", "int8", "int64", "uint8", "uint32", "float32", "float64", "complex64")
    )


@clause("tensor-44")
def test_dlpack_gives_the_values(nn: Any) -> None:
    for dtype in with_dlpack(nn):
        array = np.array([[1, 0, 1], [0, 0, 1]]).astype(dtype)
        x = nn.tensor(array)
        kind, number = x.__dlpack_device__()
        assert int(number) >= 0
        back = nn.ops.from_dlpack(x)
        exactly(nn, back, array, dtype=dtype, call=f"from_dlpack of {dtype}")
        if int(kind) == CPU:
            got = np.from_dlpack(x)
            assert got.dtype == dtype
            assert np.array_equal(got, array), f"NumPy takes {got} from {dtype}"
            twin = np.from_dlpack(x.detach(), copy=True)
            assert not np.shares_memory(twin, got), "copy=True should copy"
        assert type(x.__dlpack__()).__name__ == "PyCapsule"
        assert type(x.__dlpack__(max_version=(1, 0), copy=True)).__name__ == "PyCapsule"
        again = nn.ops.from_dlpack(np.array(array))
        exactly(nn, again, array, dtype=dtype, call=f"from_dlpack of NumPy's {dtype}")


@clause("tensor-44")
def test_dlpack_refuses(nn: Any) -> None:
    x = tensor(nn, np.ones(2, "float32"))
    said = "detach" if own(nn) else ("detach", "gradient")
    for value in (x, x * 2):
        with refuses((RuntimeError, BufferError), said):
            value.__dlpack__()
    with refuses((BufferError, ValueError)):
        nn.ones((2,)).__dlpack__(dl_device=(99, 0), max_version=(1, 0))
