"""Fourier transforms as tests ask for them: of real and complex numbers, and transposed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from spec_tests.judge.tables import Row
from spec_tests.support.assertions import agrees, to_numpy, within
from spec_tests.support.calls import Call, formula
from spec_tests.support.inputs import in_double, normal

# The tables whose functions are transforms, and those that take complex arrays.
TRANSFORMS = ("complex", "real", "hermitian")
TAKE_COMPLEX = ("complex", "hermitian")
COMPLEX = {"float32": "complex64", "float64": "complex128"}
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def transform(row: Row) -> bool:
    """Whether the row's function is a Fourier transform."""
    return row.family in TRANSFORMS


def complex_normal(shape: tuple[int, ...], dtype: str, seed: int = 0) -> np.ndarray:
    """Return complex normal numbers whose parts have `dtype`."""
    number = normal(shape, dtype, seed) + 1j * normal(shape, dtype, seed + 100)
    return np.asarray(number).astype(COMPLEX[dtype])


def given(row: Row, call: Call) -> list[np.ndarray]:
    """Return what stands for `x` in a call: its real array and, where that is taken, a complex."""
    (x,) = call.arguments
    if row.family not in TAKE_COMPLEX:
        return [x]
    return [x, complex_normal(x.shape, x.dtype.name, seed=7)]


def wide(array: np.ndarray) -> np.ndarray:
    """Return the same numbers in double precision."""
    return array.astype(np.complex128) if array.dtype.kind == "c" else in_double(array)


def reference(row: Row, call: Call, x: np.ndarray) -> np.ndarray:
    """Return what the row's formula gives for `x` and the options of a call."""
    bound = row.signature.bind(x, **call.options)
    bound.apply_defaults()
    return formula(row, dict(bound.arguments))


def transposed(
    linear: Callable[[np.ndarray], np.ndarray], like: np.ndarray, g: np.ndarray
) -> np.ndarray:
    """Return the gradient to the argument of a linear function, where `g` arrives at its result.

    The gradient to a + 1j * b is that to a plus 1j times that to b: each element of it is a sum of
    products of `g` with what one element alone, 1 or 1j, makes of the result.
    """
    slope = np.zeros_like(wide(like))
    for index in np.ndindex(*like.shape):
        unit = np.zeros_like(slope)
        for one in (1, 1j) if slope.dtype.kind == "c" else (1,):
            unit[index] = one
            slope[index] += one * np.sum(np.real(np.conj(g) * linear(unit)))
    return slope


def leaves_of(nn: Any, x: np.ndarray) -> list[Any]:
    """Return leaves that require grad: `x`, or its real and its imaginary part."""
    parts = [x.real, x.imag] if x.dtype.kind == "c" else [x]
    return [nn.tensor(np.ascontiguousarray(part), requires_grad=True) for part in parts]


def joined(leaves: Sequence[Any]) -> Any:
    """Return the Tensor of which `leaves_of` took the parts."""
    return leaves[0] if len(leaves) == 1 else leaves[0] + 1j * leaves[1]


def parts(nn: Any, y: Any) -> list[Any]:
    """Return the real and imaginary parts of a complex Tensor, or a real one alone."""
    return [y] if nn.ops.isdtype(y.dtype, "real floating") else [nn.ops.real(y), nn.ops.imag(y)]


def weighted(nn: Any, y: Any, g: np.ndarray) -> Any:
    """Return a real number whose gradient to `y` is `g`."""
    weights = [g.real, g.imag] if g.dtype.kind == "c" else [g]
    terms = [
        nn.ops.sum(part * nn.tensor(np.ascontiguousarray(weight)))
        for part, weight in zip(parts(nn, y), weights, strict=True)
    ]
    return terms[0] if len(terms) == 1 else terms[0] + terms[1]


def cotangent(want: np.ndarray, dtype: str) -> np.ndarray:
    """Return numbers of the shape and kind of a result."""
    make = complex_normal if want.dtype.kind == "c" else normal
    return make(want.shape, dtype, seed=23)


def gradient_of(nn: Any, leaves: Sequence[Any]) -> np.ndarray:
    """Return what arrived at the leaves, as one array of the kind of what they make."""
    slopes = [to_numpy(nn, leaf.grad) for leaf in leaves]
    return slopes[0] if len(slopes) == 1 else np.asarray(slopes[0] + 1j * slopes[1])


def same(nn: Any, got: Any, want: np.ndarray, tolerance: str, dtype: str, call: str) -> None:
    """Compare real or complex numbers whose parts have `dtype` by a class of ``numerics.md``."""
    __tracebackhide__ = True
    x = _of_dtype(nn, got, want, dtype, call)
    agrees(nn, _pairs(x), _pairs(np.asarray(want)), tolerance, call=call, dtype=dtype)


def in_norm(
    nn: Any, got: Any, want: np.ndarray, dtype: str, call: str, axis: int = -1, n: int = 0
) -> None:
    """Compare rows along `axis` by the bound of ``fft-10``, n being the length of the transform."""
    __tracebackhide__ = True
    x = _of_dtype(nn, got, want, dtype, call)
    assert x.shape == want.shape, f"{call} has shape {x.shape}, not {want.shape}"
    error = np.linalg.norm(wide(x) - want, axis=axis)
    length = n or want.shape[axis]
    bound = 4 * (2 + np.log2(length)) * EPS[dtype] * np.linalg.norm(want, axis=axis)
    within(nn, error, np.zeros_like(error), bound, call=f"error of {call}", dtype="float64")


def _of_dtype(nn: Any, got: Any, want: np.ndarray, dtype: str, call: str) -> np.ndarray:
    __tracebackhide__ = True
    x = to_numpy(nn, got)
    wanted = COMPLEX[dtype] if np.asarray(want).dtype.kind == "c" else dtype
    assert x.dtype.name == wanted, f"{call} has dtype {x.dtype.name} but should have {wanted}"
    return x


def _pairs(x: np.ndarray) -> np.ndarray:
    return np.stack([x.real, x.imag], axis=-1) if x.dtype.kind == "c" else x
