"""Chapter tensor: NumPy's scalars and arrays, dtypes and sizes as arguments, and transposes."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, own, refuses, tensor, to_numpy
from spec_tests.support.dtypes import there
from spec_tests.support.inputs import normal

SIZED = ("zeros", "ones", "empty", "rand", "randn")


@clause("tensor-30", needs="float64")
def test_a_numpy_scalar_by_itself(nn: Any) -> None:
    for scalar in (np.float64(0.5), np.float32(0.5), np.int32(3), np.int64(3), np.bool_(True)):
        want = np.asarray(scalar)
        exactly(nn, nn.tensor(scalar), want, dtype=want.dtype.name, call=f"tensor({scalar!r})")
    exactly(nn, nn.full((2,), np.float64(0.5)), np.full(2, 0.5), dtype="float32", call="full")
    exactly(nn, nn.ops.full(2, np.float64(0.5)), np.full(2, 0.5), dtype="float32", call="ops.full")
    exactly(nn, nn.full((2,), np.int32(3)), np.full(2, 3), dtype="int64", call="full of int32")


@clause("tensor-06")
def test_full_takes_fill_value(nn: Any) -> None:
    exactly(nn, nn.full((2,), fill_value=1.5), np.full(2, 1.5), dtype="float32", call="full")


@clause("tensor-31", "tensor-06")
@pytest.mark.parametrize("name", SIZED)
def test_sizes_as_arguments(nn: Any, dtype: str, name: str) -> None:
    make, floating = getattr(nn, name), getattr(nn, dtype)
    for sizes in ((5, 4), (5,), (np.int64(2), 3), (0, 2), ()):
        wanted = tuple(int(size) for size in sizes)
        for arguments in (sizes, (sizes,), (list(sizes),)):
            got = make(*arguments, dtype=floating, requires_grad=True)
            assert tuple(got.shape) == wanted, f"{name}{arguments} has the shape {got.shape}"
            assert to_numpy(nn, got).dtype.name == dtype, f"{name}{arguments}"
            assert got.requires_grad, f"{name}{arguments}"


@clause("tensor-31")
@pytest.mark.parametrize("name", SIZED)
def test_sizes_that_are_none(nn: Any, name: str) -> None:
    make = getattr(nn, name)
    sizes: Any
    for sizes in ((-1, 2), (2, -3)):
        for arguments in (sizes, (sizes,)):
            with refuses(ValueError, name, "-"):
                make(*arguments)
    for sizes in ((2.0, 3), ("2", 3), (True, 3)):
        for arguments in (sizes, (sizes,)):
            with refuses(TypeError, name):
                make(*arguments)


@clause("tensor-32", "tensor-09")
def test_transposes_are_of_matrices(nn: Any) -> None:
    shape: tuple[int, ...]
    for shape in ((3,), ()):
        with refuses(ValueError, "matrix_transpose", str(shape)):
            nn.ops.matrix_transpose(nn.zeros(shape))
    if own(nn):
        for shape in ((2, 3, 4), (3,), ()):
            with refuses(ValueError, "T", str(shape)):
                nn.zeros(shape).T  # noqa: B018
        for shape in ((3,), ()):
            with refuses(ValueError, "mT", str(shape)):
                nn.zeros(shape).mT  # noqa: B018


@clause("tensor-33", needs="float64")
def test_numpy_arrays_beside_tensors(nn: Any) -> None:
    array = normal(3, "float32")
    wide = normal(3, "float64", seed=1)
    x = tensor(nn, array)
    got = nn.ops.multiply(x, wide)
    exactly(nn, got, array * wide, dtype="float64", call="multiply(float32, NumPy float64)")
    nn.ops.sum(got).backward()
    exactly(nn, x.grad, wide.astype("float32"), dtype="float32", call="its gradient")
    got = nn.ops.add(wide, x)
    exactly(nn, got, wide + array, dtype="float64", call="add(NumPy float64, float32)")
    if own(nn):
        for got in (x * wide, wide * x):
            assert isinstance(got, nn.Tensor), f"got {type(got).__name__}"
            exactly(nn, got, array * wide, dtype="float64", call="float32 * NumPy float64")


@clause("tensor-33")
def test_numpy_arrays_as_indices(nn: Any, dtype: str) -> None:
    array = normal((3, 4), dtype)
    x = tensor(nn, array)
    rows, mask = np.array([2, 0, 2]), array > 0
    got = nn.ops.take(x, rows, axis=0)
    exactly(nn, got, array[rows], call="take with a NumPy array")
    got = nn.ops.where(mask, x, 0.0)
    exactly(nn, got, np.where(mask, array, 0).astype(dtype), call="where with a NumPy mask")
    if own(nn):
        exactly(nn, x[rows], array[rows], call="x[NumPy integers]")
        exactly(nn, x[mask], array[mask], call="x[NumPy mask]")


# What `numpy.dtype` reads as a dtype, and which.
SPELLINGS: dict[str, list[Any]] = {
    "float32": ["float32", np.float32, np.dtype("float32"), "f4", "single"],
    "float64": ["float64", np.float64, np.dtype("float64"), float, "f8", "double"],
    "int32": ["int32", np.int32, np.dtype("int32"), "i4"],
    "int64": ["int64", np.int64, np.dtype("int64"), int, "i8"],
    "bool": ["bool", np.bool_, np.dtype("bool"), bool, "?"],
    "int8": ["int8", np.int8, np.dtype("int8"), "i1"],
    "int16": ["int16", np.int16, "short"],
    "uint8": ["uint8", np.uint8, "u1"],
    "uint64": ["uint64", np.uint64, "u8"],
    "complex64": ["complex64", np.complex64, "c8"],
    "complex128": ["complex128", np.complex128, complex, "c16"],
}


@clause("tensor-37")
@pytest.mark.parametrize("name", SPELLINGS)
def test_dtypes_in_every_spelling(nn: Any, name: str) -> None:
    for spelling in SPELLINGS[name] if name in there(nn) else ():
        made = {
            "tensor": nn.tensor([1, 0], dtype=spelling),
            "zeros": nn.zeros((2,), dtype=spelling),
            "ops.full": nn.ops.full((2,), 1, dtype=spelling),
            "asarray": nn.ops.asarray([1, 0], dtype=spelling),
            "astype": nn.ops.astype(nn.tensor([1, 0]), spelling),
            "zeros_like": nn.ops.zeros_like(nn.tensor([1, 0]), dtype=spelling),
        }
        if name.startswith("float"):
            made["rand"] = nn.rand((2,), dtype=spelling)
            made["Linear"] = nn.Linear(2, 1, dtype=spelling).weight
            made["to"] = nn.Linear(2, 1).to(spelling).weight
            made["LSTM"] = nn.LSTM(2, 1, dtype=spelling).weight_ih_l0
        for call, got in made.items():
            assert got.dtype == getattr(nn, name), f"{call}({spelling!r}) is {got.dtype}"
        exactly(nn, made["astype"], np.array([1, 0], name), dtype=name, call=f"astype {spelling!r}")


@clause("tensor-37")
@pytest.mark.parametrize("wrong", [">f4", np.dtype(">i8"), "float16", np.clongdouble, "S3", "x"])
def test_spellings_of_no_dtype(nn: Any, wrong: Any) -> None:
    calls: dict[str, Callable[[], Any]] = {
        "tensor": lambda: nn.tensor([1.0], dtype=wrong),
        "zeros": lambda: nn.zeros((2,), dtype=wrong),
        "astype": lambda: nn.ops.astype(nn.ones((2,)), wrong),
        "to": lambda: nn.Linear(2, 1).to(wrong),
    }
    for word, call in calls.items():
        with refuses(TypeError, word):
            call()
    calls = {
        "astype": lambda: nn.ops.astype(nn.ones((2,)), None),
        "to": lambda: nn.Linear(2, 1).to(None),
    }
    for word, call in calls.items():
        with refuses(TypeError, word, "None"):
            call()


@clause("tensor-37")
@pytest.mark.parametrize("code", ["f4", "f8", "i4", "i8", "i2"])
def test_numpy_arrays_of_the_other_byte_order(nn: Any, code: str) -> None:
    want = np.array([[1, 2, 300], [-4, 5, 6000]], code)
    other = want.astype(want.dtype.newbyteorder())
    assert other.dtype != want.dtype
    name = want.dtype.name
    x = nn.ones((2, 3), dtype=getattr(nn, name))
    floats = tensor(nn, normal((6,), "float32"))
    exactly(nn, nn.tensor(other), want, dtype=name, call="tensor")
    exactly(nn, nn.ops.asarray(other), want, dtype=name, call="asarray")
    exactly(nn, nn.tensor(other[:, ::2]), want[:, ::2], dtype=name, call="tensor of every other")
    exactly(nn, nn.ops.add(x, other), 1 + want, dtype=name, call="add")
    exactly(
        nn, nn.ops.where(nn.tensor(want > 2), other, x), np.where(want > 2, want, 1), dtype=name
    )
    told = nn.tensor(other, dtype=nn.float64)
    exactly(nn, told, want.astype("float64"), dtype="float64", call="tensor, told a dtype")
    if code[0] == "f":
        exactly(nn, nn.Parameter(other), want, dtype=name, call="Parameter")
        layer = nn.Linear(3, 2, bias=False, dtype=getattr(nn, name))
        layer.load_state_dict({"weight": other})
        exactly(nn, layer.weight, want, dtype=name, call="load_state_dict")
    else:
        places = np.array([5, 0, 5], code)
        got = nn.ops.take(floats, places.astype(other.dtype))
        exactly(nn, got, normal((6,), "float32")[places], dtype="float32", call="take")


@clause("tensor-03")
def test_lists_hold_no_arrays(nn: Any) -> None:
    one = tensor(nn, normal(2, "float32"))
    for wrong in (one, one.detach(), one.detach().data, np.ones(2), np.array(1.0), nn.tensor(1.0)):
        for nested in ([wrong], [wrong, wrong], [[wrong]], (1.0, wrong)):
            for word, make in (("tensor", nn.tensor), ("asarray", nn.ops.asarray)):
                with refuses((TypeError, ValueError), word, "stack"):
                    make(nested)
    exactly(nn, nn.tensor([np.float32(1), np.int64(2)]), np.array([1, 2.0]), dtype="float32")


@clause("tensor-04")
def test_floats_beyond_float32(nn: Any) -> None:
    want = np.array([np.inf, -np.inf], "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exactly(nn, nn.tensor([1e39, -1e300]), want, dtype="float32", call="tensor of a list")
        told = nn.tensor(np.array([1e39, -1e300]), dtype=nn.float32)
        exactly(nn, told, want, dtype="float32", call="tensor, told float32")
        cast = nn.ops.astype(nn.tensor(np.array([1e39, -1e300])), nn.float32)
        exactly(nn, cast, want, dtype="float32", call="astype")
        exactly(nn, nn.full((2,), 1e39), np.full(2, np.inf), dtype="float32", call="full")


@clause("tensor-06")
@pytest.mark.parametrize(
    "bounds", [(0, 1, 0.1), (-3.0, 700.0, 0.7), (5.0, -5.0, -0.3), (1e6, 1e6 + 9, 0.3)]
)
def test_arange_rounds_once(nn: Any, bounds: tuple[float, float, float]) -> None:
    start, stop, step = bounds
    want = start + np.arange(math.ceil((stop - start) / step)) * step
    for make in (nn.arange, nn.ops.arange):
        exactly(nn, make(*bounds), want.astype("float32"), dtype="float32", call=f"arange{bounds}")
        got = make(*bounds, dtype=nn.float64)
        agrees(nn, got, want, "elementwise", dtype="float64", call=f"arange{bounds} of float64")
