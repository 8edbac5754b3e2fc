"""Chapter tensor: NumPy's scalars and arrays, sizes as arguments, and transposes."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, own, refuses, tensor, to_numpy
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
