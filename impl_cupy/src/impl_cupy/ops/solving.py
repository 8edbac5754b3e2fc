"""Equations, inverses, determinants, powers and norms of matrices, with their gradients."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_int, refuse_shapes, shown
from impl_cupy.dtypes import int64, parts_of
from impl_cupy.memory import RawArray
from impl_cupy.ops.decompositions import singular, singular_values, values_alone
from impl_cupy.ops.families import written_in
from impl_cupy.ops.matrices import (
    Known,
    adjoint,
    as_matrix,
    chain,
    check_kind,
    check_matrix,
    constant,
    finite_ones,
    inverse,
    raw_of,
    record_several,
    refusing,
    solve_either,
    solved,
    tolerance,
)
from impl_cupy.recording import as_operands, as_tensor, record, sum_to
from impl_cupy.tape import Recorded, handles
from impl_cupy.tensor import Tensor


class SlogdetResult(NamedTuple):
    """Of `slogdet`."""

    sign: Tensor
    logabsdet: Tensor


@written_in("linalg")
def solve(x1: Any, x2: Any, /) -> Tensor:
    """Solve ``x1 @ x = x2``.

    Parameters
    ----------
    x1 : Tensor or raw array, shape (*, M, M)
    x2 : Tensor or raw array, shape (M,) or (*, M, K)
        With one axis a vector, the same for every matrix; else the stacks broadcast.

    Returns
    -------
    Tensor, shape (*, M) or (*, M, K)

    Raises
    ------
    TypeError
        If one is no array, or of integers or booleans.
    ValueError
        If the shapes do not fit, or a matrix is singular; the latter waits for the device.
    """
    for operand in (x1, x2):
        check_kind("solve", as_tensor("solve", operand))
    a, b = as_operands("solve", as_tensor("solve", x1), as_tensor("solve", x2))
    check_matrix("solve", a, square=True)
    is_vector = b.ndim == 1
    if b.ndim == 0 or b.shape[0 if is_vector else -2] != a.shape[-1]:
        refuse_shapes("solve", (a, b))
    try:
        np.broadcast_shapes(a.shape[:-2], () if is_vector else b.shape[:-2])
    except ValueError:
        refuse_shapes("solve", (a, b))
    right = b.reshape((b.shape[0], 1)) if is_vector else b
    result = _solve(a, right, _checked(a._data, right._data))
    return result.reshape(result.shape[:-1]) if is_vector else result


def _checked(a: RawArray, b: RawArray) -> RawArray:
    """Solve, and refuse singular matrices; one with a NaN is none (linalg-10)."""
    if not a.size or not b.size:
        return solved(a, b)
    finite = finite_ones(a, False)
    safe = cp.where(finite, a, cp.eye(a.shape[-1], dtype=a.dtype))
    one = lambda matrix: cp.linalg.solve(matrix, matrix[:, :1])  # noqa: E731
    made = refusing("solve", "singular", lambda: solved(safe, b), safe, one)
    return cp.where(finite, made, cp.full((), math.nan, dtype=made.dtype))


def _solve(a: Any, b: Any, made: RawArray | None = None) -> Any:
    """Solve for matrices b, Tensors both, where nothing is refused."""
    function = solved if made is None else Known(made)
    shapes = (a.shape, b.shape)
    # What is kept beside the operands is the result.
    return record(
        "solve", function, _solve_back, (a, b), keep_inputs=True, keep_output=True, config=shapes
    )


handles.solve_unchecked = _solve


def _solve_back(node: Any, grad: Any) -> tuple[Any, Any]:
    xp, (first, second) = node.xp, node.config
    to_first, to_second = node.edges
    to_b = solve_either(adjoint(xp, node.x), grad)
    to_a = -xp.matmul(to_b, adjoint(xp, node.output)) if to_first else None
    return (
        sum_to(xp, to_a, first) if to_first else None,
        sum_to(xp, to_b, second) if to_second else None,
    )


@written_in("linalg")
def inv(x: Any, /) -> Tensor:
    """Return inverses.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    Tensor, shape (*, M, M)

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix, or one is singular; this waits for the device.
    """
    return _inverted("inv", as_matrix("inv", x, square=True))


def _inverted(name: str, value: Any) -> Any:
    raw = value._data
    if raw.size:
        finite = finite_ones(raw, False)
        safe = cp.where(finite, raw, cp.eye(raw.shape[-1], dtype=raw.dtype))
        made = refusing(name, "singular", lambda: inverse(safe), safe, inverse)
        made = cp.where(finite, made, cp.full((), math.nan, dtype=raw.dtype))
    else:
        made = inverse(raw)
    return record(name, Known(made), _inv, (value,), keep_output=True)


def _inv(node: Any, grad: Any) -> tuple[Any]:
    turned = adjoint(node.xp, node.output)
    return (-chain(node.xp, turned, grad, turned),)


def _inverse(x: Any) -> Any:
    """Return inverses without refusing anything, raw or on Tensors."""
    if isinstance(x, Recorded):
        return record("inv", inverse, _inv, (x,), keep_output=True)
    return inverse(x)


@written_in("linalg")
def pinv(x: Any, /, *, rtol: Any = None) -> Tensor:
    """Return pseudo-inverses (Moore and Penrose).

    The gradient is that at constant rank (Golub and Pereyra 1973, "The differentiation of
    pseudo-inverses and nonlinear least squares problems whose variables separate", equation 4.12).

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    rtol : number or array, optional
        Singular values that are not greater than this times the largest count as 0; None stands
        for ``max(M, N) eps``. An array broadcasts with the stack; it is a constant.

    Returns
    -------
    Tensor, shape (*, N, M)

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans, or `rtol` no real number or array of them.
    ValueError
        If `x` is no matrix, or `rtol` does not broadcast with the stack.
    """
    value = as_matrix("pinv", x)
    limit = _limit("pinv", value._data, rtol)

    def pseudo(raw: RawArray) -> RawArray:
        if not raw.size:
            return cp.zeros((*raw.shape[:-2], raw.shape[-1], raw.shape[-2]), dtype=raw.dtype)
        u, s, vh = singular(raw, False)
        counts = cp.logical_not(s <= limit * s[..., :1])
        inverted = cp.where(counts, 1 / cp.where(counts, s, cp.ones_like(s)), cp.zeros_like(s))
        return cp.matmul(adjoint(cp, vh) * inverted[..., None, :], adjoint(cp, u))

    return record("pinv", pseudo, _pinv, (value,), keep_inputs=True, keep_output=True)


def _pinv(node: Any, grad: Any) -> tuple[Any]:
    xp, x, p = node.xp, node.x, node.output
    turned, back = adjoint(xp, p), adjoint(xp, grad)
    first = chain(xp, turned, grad, turned)
    left = chain(xp, back, p, turned)
    right = chain(xp, turned, p, back)
    second = left - chain(xp, x, p, left)
    third = right - chain(xp, right, p, x)
    return (second + third - first,)


def _limit(name: str, raw: RawArray, rtol: Any) -> Any:
    """Return `rtol` with an axis for the singular values, or a number."""
    if rtol is None:
        return max(raw.shape[-2:]) * float(np.finfo(parts_of(raw.dtype)).eps)
    if isinstance(rtol, (int, float, np.integer, np.floating)) and not isinstance(rtol, bool):
        return float(rtol)
    if not isinstance(rtol, (Recorded, cp.ndarray, np.ndarray)):
        msg = f"{name}: rtol must be a number or an array, got {shown(rtol)}"
        raise TypeError(msg)
    given: Any = as_tensor(name, rtol)._data
    if given.dtype.kind not in "iuf":
        msg = f"{name}: rtol must hold real numbers, got dtype {given.dtype.name}"
        raise TypeError(msg)
    try:
        fits = np.broadcast_shapes(given.shape, raw.shape[:-2]) == raw.shape[:-2]
    except ValueError:
        fits = False
    if not fits:
        msg = f"{name}: rtol of shape {given.shape} does not broadcast to the stack of {raw.shape}"
        raise ValueError(msg)
    return given[..., None].astype(parts_of(raw.dtype))


@written_in("linalg")
def matrix_rank(x: Any, /, *, rtol: Any = None) -> Tensor:
    """Count the singular values that are greater than `rtol` times the largest.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    rtol : number or array, optional
        As of `pinv`.

    Returns
    -------
    Tensor, shape (*), int64

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans, or `rtol` no real number or array of them.
    ValueError
        If `x` is no matrix, or `rtol` does not broadcast with the stack.
    """
    value = as_matrix("matrix_rank", x)
    limit = _limit("matrix_rank", value._data, rtol)

    def rank(raw: RawArray) -> RawArray:
        if not raw.size:
            return cp.zeros(raw.shape[:-2], dtype=int64)
        s = values_alone(raw)
        return cp.count_nonzero(s > limit * s[..., :1], axis=-1).astype(int64)

    return record("matrix_rank", rank, None, (value,))


@written_in("linalg")
def det(x: Any, /) -> Tensor:
    """Return determinants, whose gradient is the matrix of cofactors, conjugated.

    Cofactors are made of singular values, so that they are right of singular matrices too.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    Tensor, shape (*)

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    value = as_matrix("det", x, square=True)

    def raw_det(raw: RawArray) -> RawArray:
        if not raw.size:
            return cp.ones(raw.shape[:-2], dtype=raw.dtype)
        return _unknown(raw, cp.linalg.det(raw))

    return record("det", raw_det, _det, (value,), keep_inputs=True, keep_output=True)


def _unknown(raw: RawArray, found: RawArray) -> RawArray:
    """Return what was found of matrices, NaN of those that hold one.

    A pivot that is 0 ends the elimination, and a sign is counted off the pivots.
    """
    held = cp.isnan(raw).any(axis=(-2, -1))
    return cp.where(held, cp.full((), math.nan, dtype=found.dtype), found)


def _cofactors(raw: RawArray) -> tuple[RawArray, RawArray]:
    """Return the conjugated cofactors, and which matrices are regular to rounding."""
    u, s, vh = singular(raw, False)
    on_it = cp.eye(raw.shape[-1], dtype=bool)
    others = cp.prod(cp.where(on_it, cp.ones_like(s[..., None, :]), s[..., None, :]), axis=-1)
    turn = cp.conj(cp.linalg.det(u) * cp.linalg.det(vh))[..., None, None]
    regular = s[..., -1:] > tolerance(s, raw.shape[-1])
    return turn * cp.matmul(u * others[..., None, :], vh), regular[..., None]


def _det(node: Any, grad: Any) -> tuple[Any]:
    xp, x = node.xp, node.x
    is_recorded = isinstance(grad, Recorded)
    if not x.size:
        return (xp.zeros_like(x),)
    spread = xp.expand_dims(grad, (-2, -1))
    cofactors, regular = _cofactors(raw_of(x))
    if not is_recorded:
        return (spread * cofactors,)
    # Further derivatives, where x is regular, are those of det(x) x^-H.
    mask = constant(xp, regular)
    unit = constant(xp, cp.eye(x.shape[-1], dtype=cofactors.dtype))
    turned = adjoint(xp, _inverse(xp.where(mask, x, unit)))
    value = xp.conj(node.output) if grad.dtype.kind == "c" else node.output
    formula = xp.expand_dims(value, (-2, -1)) * turned
    return (spread * xp.where(mask, formula, constant(xp, cofactors)),)


@written_in("linalg")
def slogdet(x: Any, /) -> SlogdetResult:
    """Return sign and logarithm of the magnitude of determinants.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)

    Returns
    -------
    sign : Tensor, shape (*)
        ``det / abs(det)``; 0 of singular matrices.
    logabsdet : Tensor, shape (*)
        Real; -inf of singular matrices.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no square matrix.
    """
    value = as_matrix("slogdet", x, square=True)
    return SlogdetResult(*record_several("slogdet", _raw_slogdet, _slogdet, value, keep_input=True))


def _raw_slogdet(raw: RawArray) -> tuple[RawArray, RawArray]:
    if not raw.size:
        shape = raw.shape[:-2]
        return cp.ones(shape, dtype=raw.dtype), cp.zeros(shape, dtype=parts_of(raw.dtype))
    sign, logarithm = cp.linalg.slogdet(raw)
    return _unknown(raw, sign), _unknown(raw, logarithm)


def _slogdet(node: Any, grads: Sequence[Any]) -> Any:
    xp, x, (sign, _) = node.xp, node.x, node.results
    to_sign, to_logarithm = grads
    turned = adjoint(xp, _inverse(x))
    if x.dtype.kind != "c":
        if to_logarithm is None:
            return xp.zeros_like(x)
        return xp.expand_dims(to_logarithm, (-2, -1)) * turned
    factor = 0.0 if to_logarithm is None else to_logarithm
    if to_sign is not None:
        factor = xp.imag(to_sign * xp.conj(sign)) * 1j + factor
    return xp.expand_dims(factor, (-2, -1)) * turned


@written_in("linalg")
def matrix_power(x: Any, n: int, /) -> Tensor:
    """Multiply matrices with themselves; of a negative power with their inverses.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, M)
    n : int
        0 gives identities.

    Returns
    -------
    Tensor, shape (*, M, M)

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans, or `n` no int.
    ValueError
        If `x` is no square matrix, or one is singular and `n` negative.
    """
    value = as_matrix("matrix_power", x, square=True)
    n = check_int("matrix_power", "n", n)
    if n == 0:
        return record(
            "matrix_power",
            lambda raw: cp.zeros_like(raw) + cp.eye(raw.shape[-1], dtype=raw.dtype),
            lambda node, grad: (node.xp.zeros_like(grad),),
            (value,),
        )
    power = _inverted("matrix_power", value) if n < 0 else value
    n = abs(n)
    result: Any = None
    while n:
        if n % 2:
            result = power if result is None else handles.matmul(result, power)
        n //= 2
        power = handles.matmul(power, power) if n else power
    return result if result is not value else handles.positive(value)


_ORDERS = ("fro", "nuc", 1, -1, 2, -2, math.inf, -math.inf)


@written_in("linalg")
def matrix_norm(x: Any, /, *, keepdims: bool = False, ord: Any = "fro") -> Tensor:
    """Return norms of matrices.

    Parameters
    ----------
    x : Tensor or raw array, shape (*, M, N)
    keepdims : bool
        Whether the last two axes stay, with length 1.
    ord : str, number or None
        ``"fro"``, or None: of all elements; 1, -1, inf, -inf: the largest or smallest sum of a
        column or row; 2, -2, ``"nuc"``: the largest, the smallest, the sum of singular values.

    Returns
    -------
    Tensor, shape (*)
        Real.

    Raises
    ------
    TypeError
        If `x` is no array, or of integers or booleans.
    ValueError
        If `x` is no matrix, `ord` none of these, or there is no smallest of nothing.
    """
    value = as_matrix("matrix_norm", x)
    keepdims = check_flag("matrix_norm", "keepdims", keepdims)
    order: Any = "fro" if ord is None else ord
    is_known = isinstance(order, (str, int, float, np.number)) and order in _ORDERS
    if not is_known or isinstance(ord, bool):
        msg = f"matrix_norm: ord must be one of {_ORDERS}, got {shown(ord)}"
        raise ValueError(msg)
    if order == "fro":
        return handles.norm(value, axis=(-2, -1), keepdims=keepdims)
    if 0 in value.shape[-2:]:
        if order in (-1, -2, -math.inf):
            msg = f"matrix_norm: there is no smallest of nothing, got shape {value.shape}"
            raise ValueError(msg)
        return handles.sum(handles.abs(value), axis=(-2, -1), keepdims=keepdims)
    if order in ("nuc", 2, -2):
        numbers = _off_zero(value)
    else:
        numbers = handles.sum(handles.abs(value), axis=-2 if abs(order) == 1 else -1)
    choose = handles.sum if order == "nuc" else handles.max if order > 0 else handles.min
    result = choose(numbers, axis=-1)
    return handles.expand_dims(result, (-2, -1)) if keepdims else result


def _off_zero(value: Any) -> Any:
    """Return singular values, of which a matrix that is 0 gets no gradient (linalg-20)."""
    numbers = singular_values("matrix_norm", value)
    is_zero = cp.all(value._data == 0, axis=(-2, -1))[..., None]
    mask = handles.broadcast_to(constant(handles.namespace, is_zero), numbers.shape)
    return handles.where(mask, handles.zeros_like(numbers), numbers)
