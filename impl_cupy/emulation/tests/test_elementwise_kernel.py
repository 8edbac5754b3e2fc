"""`ElementwiseKernel` in the emulation: CuPy's rules for its parameters, types and shapes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cupy_emulation import kernel_launches, launches, reset_launches
from cupy_emulation import namespace as cp

PREAMBLE = """
template <typename Real>
__device__ Real larger(Real a, Real b) { return a < b ? b : a; }
"""


def axpy() -> Any:
    return cp.ElementwiseKernel("T a, T x, T y", "T z", "z = a * x + y", "axpy")


def floats(*shape: int, dtype: str = "float32") -> Any:
    size = int(np.prod(shape))
    return cp.asarray((np.arange(size) % 7 - 3).astype(dtype).reshape(shape))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (2, 1, 33)], ids=str)
def test_arrays_and_numbers(shape: tuple[int, ...], dtype: str) -> None:
    x, y = floats(*shape, dtype=dtype), floats(*shape, dtype=dtype)
    z = axpy()(2, x, y)
    assert (z.dtype, z.shape) == (dtype, shape)
    assert (z.get() == 2 * x.get() + y.get()).all()


@pytest.mark.parametrize(
    "pair",
    [
        lambda: (floats(3, 1), floats(4)),
        lambda: (floats(4, 6)[:, ::2], floats(3, 4).T),
        lambda: (cp.broadcast_to(floats(1), (2, 3)), floats(2, 3)),
        lambda: (floats(), floats(0, 3)),
    ],
)
def test_layouts_broadcast(pair: Any) -> None:
    x, y = pair()
    z = axpy()(3, x, y)
    assert (z.get() == 3 * x.get() + y.get()).all()
    assert z.shape == (3 * x.get() + y.get()).shape
    assert z.flags.c_contiguous


def test_a_preamble_several_results_and_dtypes_by_name() -> None:
    kernel = cp.ElementwiseKernel(
        "bool mask, T x, int64 n",
        "T big, int32 count",
        "big = mask ? larger(x, T(0)) : x; count = n;",
        "two",
        preamble=PREAMBLE,
    )
    x = floats(5, dtype="float64")
    mask = x > -2
    big, count = kernel(mask, x, 9)
    assert (big.get() == np.where(mask.get(), np.maximum(x.get(), 0), x.get())).all()
    assert (count.dtype, count.get().tolist()) == ("int32", [9] * 5)


def test_results_that_are_there_already() -> None:
    x, y = floats(2, 3), floats(2, 3)
    wanted = 2 * x.get() + y.get()
    whole = cp.zeros((2, 6), dtype="float32")
    assert axpy()(2, x, y, whole[:, ::2]) is not None
    assert (whole.get()[:, ::2] == wanted).all()
    assert (whole.get()[:, 1::2] == 0).all()
    axpy()(2, x, y, x)
    assert (x.get() == wanted).all()


def test_what_a_call_returns() -> None:
    def kernel(**options: Any) -> Any:
        return cp.ElementwiseKernel("T x", "T y", "y = x", "copy", **options)

    x = floats(3)
    assert kernel(no_return=True)(x, x.copy()) is None
    (alone,) = kernel(return_tuple=True)(x)
    assert (alone.get() == x.get()).all()


def test_a_call_is_one_launch_and_none_of_nothing() -> None:
    kernel, x, y = axpy(), floats(3, 1), floats(4)
    nothing = floats(0)
    reset_launches()
    kernel(2, x, y)
    assert launches() == launches("ufunc") == 1
    assert kernel_launches() == {"axpy": 1}
    kernel(2, nothing, nothing)
    assert launches() == 1


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda k: k(1, floats(2)), TypeError, "must be either 3 or 4"),
        (lambda k: k(1, 2, 3), ValueError, "undecided"),
        (lambda k: k(1, floats(2), floats(2, dtype="float64")), TypeError, "mismatched"),
        (lambda k: k(1, floats(2), np.zeros(2, "float32")), TypeError, "Unsupported type"),
        (lambda k: k(1, floats(2), floats(3)), ValueError, "broadcast"),
        (lambda k: k(1, floats(2), floats(2), floats(1)), ValueError, "Out shape"),
        (lambda k: k(1, floats(2), floats(2), floats(2, dtype="float64")), TypeError, "mismatched"),
        (lambda k: k(1, floats(2), floats(2), 0.0), TypeError, "Output arguments"),
        (lambda k: k(1, floats(2), floats(2), sized=2), TypeError, "sized"),
    ],
)
def test_a_call_that_does_not_fit(call: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        call(axpy())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("T i", "T y", "y = i"), ValueError, "'i'"),
        (("T x", "T y", "y = x", "no name"), ValueError, "Invalid kernel name"),
        (("raw T x", "T y", "y = x[0]"), NotImplementedError, "raw"),
        (("x", "T y", "y = x"), Exception, "Syntax error"),
    ],
)
def test_a_kernel_that_cannot_be(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        cp.ElementwiseKernel(*arguments)


def test_a_numpy_array_is_refused_by_a_kernel_that_knows_its_dtype() -> None:
    kernel = axpy()
    kernel(1, floats(2), floats(2))
    with pytest.raises(TypeError, match="Unsupported type"):
        kernel(1, floats(2), np.zeros(2, "float32"))


def test_a_mistake_in_the_operation_is_the_compilers() -> None:
    with pytest.raises(cp.cuda.compiler.CompileException, match="nothing"):
        cp.ElementwiseKernel("T x", "T y", "y = nothing(x)")(floats(2))
