"""Linear equations, inverses, powers, determinants, ranks and norms of matrices."""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import Shape, as_number, check_flag, check_int, refuse, refuse_type, shown
from ..dtypes import parts_of, promote
from ..recording import Primitive, as_operand, dtype_of, is_array, shape_of
from ..tape import unwrap
from . import factors
from . import formulas as F
from .decompositions import ANY, FEW_AXES, NOT_SQUARE, SQUARE, as_matrix, check_matrices
from .elementwise import size_of
from .families import STANDARD, listed
from .reduction import length

Array = Any
_GILES = f"{STANDARD}; the derivative is that of Giles 2008"
_SINGULAR = (
    "ValueError\n    If a matrix is exactly singular, where values are known; under `jit` its\n"
    "    result is NaN.\n"
)


class Slogdet(NamedTuple):
    """What `slogdet` returns."""

    sign: Any
    logabsdet: Any


def _solved(vector: bool, dtype: Any, a: Array, b: Array) -> Any:
    a, b = a.astype(dtype), b.astype(dtype)
    b = b[:, None] if vector else b
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = F.stretch(a, (*stack, *a.shape[-2:])), F.stretch(b, (*stack, *b.shape[-2:]))
    x, bad = factors.solve(a, b)
    return (x[..., 0] if vector else x), bad


def _raised(n: int, x: Array) -> Any:
    """Return the power of matrices, by squaring, and which are singular where that matters."""
    bad = jnp.zeros(x.shape[:-2], bool)
    if n < 0:
        x, bad = factors.inv(x)
    out, n = None, abs(n)
    while n:
        if n % 2:
            out = x if out is None else factors.times(out, x)
        n //= 2
        x = factors.times(x, x) if n else x
    return (factors.identity(x) if out is None else out), bad


_solve = Primitive(_solved, "solve")
_inv = Primitive(factors.inv, "inv")
_matrix_power = Primitive(_raised, "matrix_power")
_det = Primitive(factors.det, "det")
_slogdet = Primitive(factors.slogdet, "slogdet")


@listed(
    "x1 : Tensor or raw array, shape (..., M, M), floating or complex\n"
    "x2 : Tensor or raw array, shape (M,) or (..., M, K)\n    The stacks broadcast.",
    "shape (..., M) or (..., M, K)",
    _SINGULAR + "    If the shapes do not fit.\nTypeError\n    If an operand is no array, or of "
    "integers or booleans.",
    _GILES,
    space="linalg",
)
def solve(x1: Any, x2: Any, /) -> Any:
    """Return what solves ``x1 @ result = x2``."""
    x1, x2 = as_matrix("solve", x1, True, "x1"), as_operand("solve", x2)
    xs, ys = shape_of(x1), shape_of(x2)
    vector = len(ys) == 1
    if not ys or ys[-1 if vector else -2] != xs[-1] or not _meet(xs[:-2], ys[:-2]):
        refuse("solve", "shapes", "(..., M, M) and (M,) or (..., M, K)", f"{xs} and {ys}")
    if vector:
        as_matrix_dtype = dtype_of(x2)
        if as_matrix_dtype.kind not in "fc":
            msg = f"solve: x2 must be floating or complex, got dtype {as_matrix_dtype}"
            raise TypeError(msg)
    else:
        x2 = as_matrix("solve", x2, argument="x2")
    out, bad = _solve((x1, x2), vector, promote("solve", dtype_of(x1), dtype_of(x2)))
    check_matrices("solve", bad, "regular", "singular")
    return out


def _meet(*stacks: Shape) -> bool:
    try:
        np.broadcast_shapes(*stacks)
    except ValueError:
        return False
    return True


@listed(SQUARE, "shape of x", _SINGULAR + NOT_SQUARE, _GILES, space="linalg")
def inv(x: Any, /) -> Any:
    """Return the inverses."""
    out, bad = _inv((as_matrix("inv", x, square=True),))
    check_matrices("inv", bad, "regular", "singular")
    return out


@listed(
    SQUARE + "\nn : int\n    A negative one takes the inverse, 0 gives identities.",
    "shape of x",
    _SINGULAR + NOT_SQUARE,
    space="linalg",
)
def matrix_power(x: Any, n: int, /) -> Any:
    """Return the power of square matrices."""
    x = as_matrix("matrix_power", x, square=True)
    out, bad = _matrix_power((x,), check_int("matrix_power", "n", n))
    check_matrices("matrix_power", bad, "regular for a negative n", "singular")
    return out


@listed(SQUARE, "shape (...)", NOT_SQUARE, _GILES, space="linalg")
def det(x: Any, /) -> Any:
    """Return the determinants; the gradient is right at singular matrices too."""
    return _det((as_matrix("det", x, square=True),))


@listed(
    SQUARE,
    "sign and logabsdet, of shape (...); 0 and -inf for\n    a matrix that is exactly singular",
    NOT_SQUARE,
    _GILES,
    kind="named tuple of Tensors, ",
    space="linalg",
)
def slogdet(x: Any, /) -> Any:
    """Return the sign (or phase) of the determinants and the logarithms of their magnitudes."""
    return Slogdet(*_slogdet((as_matrix("slogdet", x, square=True),)))


def _inverted(dtype: Any, x: Array, rtol: Array) -> Array:
    rtol = lax.stop_gradient(rtol).astype(dtype)
    stack = np.broadcast_shapes(x.shape[:-2], rtol.shape)
    x = F.stretch(x, (*stack, *x.shape[-2:]))
    return factors.pinv(x, jnp.broadcast_to(rtol, stack))


def _ranked(dtype: Any, x: Array, rtol: Array) -> Array:
    s = factors.svdvals(lax.stop_gradient(x))
    least = lax.stop_gradient(rtol).astype(dtype)[..., None] * s[..., :1]
    return jnp.sum(s > least, axis=-1, dtype=np.int64)


_pinv = Primitive(_inverted, "pinv")
_matrix_rank = Primitive(_ranked, "matrix_rank")
_RTOL = (
    ANY + "\nrtol : number, Tensor or raw array of real numbers, optional\n"
    "    Singular values up to `rtol` times the largest count as 0; None stands for\n"
    "    ``max(M, N) eps``. An array broadcasts with the stack."
)


def _tolerance(name: str, x: Any, rtol: Any) -> tuple[Any, Any]:
    """Return a tolerance, and the dtype in which it is applied."""
    dtype, shape = parts_of(dtype_of(x)), shape_of(x)
    if rtol is None:
        return np.asarray(max(shape[-2:]) * np.finfo(dtype).eps, dtype), dtype
    rtol = as_number(rtol)
    if is_array(rtol):
        rtol = as_operand(name, rtol)
        if dtype_of(rtol).kind not in "iuf":
            msg = f"{name}: rtol must be of real numbers, got dtype {dtype_of(rtol)}"
            raise TypeError(msg)
        if not _meet(shape[:-2], shape_of(rtol)):
            refuse(name, "rtol", f"of a shape that broadcasts with {shape[:-2]}", shape_of(rtol))
        return unwrap(rtol), promote(name, dtype, dtype_of(rtol))  # It is a constant.
    if isinstance(rtol, bool) or not isinstance(rtol, int | float):
        refuse_type(name, "rtol", "a number, an array or None", rtol)
    return np.asarray(rtol, np.float64), dtype


@listed(
    _RTOL,
    "shape (..., N, M)",
    FEW_AXES,
    f"{STANDARD}; the derivative is that of Golub and Pereyra 1973, equation 4.12",
    space="linalg",
)
def pinv(x: Any, /, *, rtol: Any = None) -> Any:
    """Return the pseudo-inverses; gradients are those at constant rank."""
    x = as_matrix("pinv", x)
    rtol, dtype = _tolerance("pinv", x, rtol)
    return _pinv((x, rtol), dtype)


@listed(_RTOL, "shape (...), int64", FEW_AXES, space="linalg")
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Any:
    """Return how many singular values do not count as 0."""
    x = as_matrix("matrix_rank", x)
    rtol, dtype = _tolerance("matrix_rank", x, rtol)
    return _matrix_rank((x, rtol), dtype)


def _normed(order: Any, keepdims: bool, x: Array) -> Array:
    stack = x.shape[:-2]
    if not x.size:
        out = jnp.zeros(stack, parts_of(x.dtype))
    else:
        # At 0 the gradient is 0 with every order. # linalg-20
        zero = jnp.all(x == 0, axis=(-2, -1))
        other = jnp.eye(*x.shape[-2:], dtype=x.dtype)
        out = jnp.where(zero, 0, _measured(order, jnp.where(zero[..., None, None], other, x)))
    return out[..., None, None] if keepdims else out


def _measured(order: Any, x: Array) -> Array:
    """Return the norms of matrices that are not 0."""
    last = x.ndim - 1
    if order == "fro":
        return length((last - 1, last), False, 2, x.dtype, x)
    if order == "nuc" or abs(order) == 2:
        values = factors.svdvals(x)
        if order == "nuc":
            return F.total(values, (last - 1,))
    else:
        values = F.total(size_of(x), (last - 1 if abs(order) == 1 else last,))
        # Ties are found by comparing with what was chosen: it must not be computed twice.
        values = lax.optimization_barrier(values)
    return (F.largest if order > 0 else F.smallest)(values, (last - 1,), False)


_matrix_norm = Primitive(_normed, "matrix_norm")
_ORDERS = (1, -1, 2, -2, math.inf, -math.inf)


def _order(ord: Any) -> Any:
    """Return which norm is asked for, as a string or a number."""
    order = "fro" if ord is None else as_number(ord)
    wanted = "one of 'fro', 'nuc', 1, -1, 2, -2, inf, -inf"
    if not isinstance(order, str | int | float) or isinstance(order, bool):
        refuse_type("matrix_norm", "ord", wanted, ord)
    if order not in (*_ORDERS, "fro", "nuc"):
        refuse("matrix_norm", "ord", wanted, shown(ord))
    return order if isinstance(order, str) else float(order)


@listed(
    ANY + "\nkeepdims : bool\n    Whether the last two axes keep size 1.\n"
    "ord : {'fro', 'nuc', 1, -1, 2, -2, inf, -inf}",
    "shape (...) or (..., 1, 1), real",
    "ValueError\n    If there is no such norm, or no smallest element.\n" + FEW_AXES,
    space="linalg",
)
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Any:
    """Return the norms of matrices."""
    x = as_matrix("matrix_norm", x)
    order, shape = _order(ord), shape_of(x)
    if 0 in shape[-2:] and order in (-1, -2, -math.inf):  # linalg-07
        refuse("matrix_norm", "x", f"of rows and columns for ord={ord}", f"shape {shape}")
    return _matrix_norm((x,), order, check_flag("matrix_norm", "keepdims", keepdims))
