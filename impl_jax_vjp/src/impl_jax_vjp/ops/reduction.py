"""Reductions, and functions that run along an axis and keep its length."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..checks import (
    Axis,
    check_flag,
    check_int,
    check_nonempty,
    check_number,
    check_real,
    normalize_axes,
    normalize_axis,
    refuse,
)
from ..dtypes import bool_, floating, parts_of, promote
from ..recording import Primitive, as_operand, dtype_of, shape_of
from . import formulas as F
from .elementwise import size_of
from .families import AXES_REAL, NO_ARRAY, REAL_ONE, listed, reduce, scan, scanned_axis, total

Array = Any
_TIES = "elements that attain it share the gradient equally."  # tensor-26


def _product(x: Array, axis: F.Axes, keepdims: bool) -> Array:
    # JAX differentiates a product by halves, and divides by nothing. # ops-38
    x = x if x.size else lax.stop_gradient(x)
    if x.dtype == bool_:
        return jnp.all(x, axis=axis, keepdims=keepdims)
    return jnp.prod(x, axis=axis, keepdims=keepdims, dtype=x.dtype)


total("sum", F.total, "Return the sum; integers are added as int64 or uint64.", keeps=F.nothing)
total("prod", _product, "Return the product; integers are multiplied as int64 or uint64.")
reduce("mean", F.mean, "Return the mean.", dtype=floating, keeps=F.nothing)
reduce("max", F.largest, f"Return the largest; {_TIES}", chooses=True)
reduce("min", F.smallest, f"Return the smallest; {_TIES}", chooses=True)
reduce(
    "all",
    lambda x, axis, keepdims: jnp.all(x != 0, axis=axis, keepdims=keepdims),
    "Return whether no element is 0.",
)
reduce(
    "any",
    lambda x, axis, keepdims: jnp.any(x != 0, axis=axis, keepdims=keepdims),
    "Return whether an element is not 0.",
)
reduce(
    "count_nonzero",
    lambda x, axis, keepdims: jnp.sum(x != 0, axis=axis, keepdims=keepdims, dtype=jnp.int64),
    "Return how many elements are not 0, as int64.",
)
scan(
    "cumulative_prod",
    F.cumulative_prod,
    "Return the products of the elements up to each; integers are multiplied as int64.",
)


def _sums(axis: int, include_initial: bool, x: Array) -> Array:
    out = jnp.cumsum(x, axis=axis, dtype=x.dtype)
    if not include_initial:
        return out
    first = jnp.zeros((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
    return jnp.concatenate([first, out], axis=axis)


scan(
    "cumulative_sum",
    _sums,
    "Return the sums of the elements up to each; integers are added as int64.",
    keeps=F.nothing,
)


@jax.custom_jvp
def _joined(x: Array, y: Array) -> Array:
    same = x == y
    apart = jnp.where(same, 0, x - y)
    return jnp.maximum(x, y) + jnp.log1p(jnp.exp(-jnp.abs(apart)))


@_joined.defjvp
def _joined_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    # As `logaddexp`, but for what is -inf, which has exactly no part. # ops-37
    (x, y), (dx, dy) = primals, tangents
    no_x, no_y = x == -jnp.inf, y == -jnp.inf
    left = jnp.where(no_x, 0, x) - jnp.where(no_y, 0, y)
    x_share = jnp.where(no_y, 1, F.sigmoid(left))
    y_share = jnp.where(no_x, 1, F.sigmoid(-left))
    from_x = jnp.where(no_x, 0, x_share * jnp.where(no_x, 0, dx))
    return _joined(x, y), from_x + jnp.where(no_y, 0, y_share * jnp.where(no_y, 0, dy))


def _logarithms(axis: int, dtype: Any, x: Array) -> Array:
    x = x.astype(dtype)
    # The first result is the first element itself: there too -inf has no gradient. # ops-37
    x = jnp.where(x == -jnp.inf, -jnp.inf, x)
    return lax.associative_scan(_joined, x, axis=axis) if x.size else x


_cumulative_logsumexp = Primitive(_logarithms, "cumulative_logsumexp")


@listed(
    f"{REAL_ONE}\naxis : int, optional\n    May be left out for one axis alone.",
    "the shape of x",
    f"ValueError\n    If `axis` is out of range, or needed and left out.\n{NO_ARRAY}",
    "page of torch.logcumsumexp",
)
def cumulative_logsumexp(x: Any, /, *, axis: int | None = None) -> Any:
    """Return ``log(sum(exp(x)))`` of the elements up to each, without overflow."""
    x = as_operand("cumulative_logsumexp", x)
    check_real("cumulative_logsumexp", dtype_of(x))
    place = scanned_axis("cumulative_logsumexp", axis, shape_of(x))
    return _cumulative_logsumexp((x,), place, floating(dtype_of(x)))


def _spread(axes: F.Axes, correction: float, keepdims: bool, dtype: Any, x: Array) -> Array:
    """Return the variance; the mean is taken first, so that a large one costs no digits."""
    x = x.astype(dtype)
    count = math.prod(x.shape if axes is None else [x.shape[axis] for axis in axes])
    apart = x - F.mean(x, axes, True)
    out = F.total(apart * apart, axes, keepdims)
    return out / jnp.asarray(max(count - correction, 0), dtype)


@jax.custom_jvp
def _root(x: Array) -> Array:
    return jnp.sqrt(x)


@_root.defjvp
def _root_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Where it is 0 so is its gradient. # ops-39, ops-40
    out = _root(primals[0])
    none = out == 0
    return out, jnp.where(none, 0, tangents[0] / (2 * jnp.where(none, 1, out)))


_var = Primitive(_spread, "var")
_std = Primitive(lambda *arguments: _root(_spread(*arguments)), "std")
_SPREAD = (
    AXES_REAL + "\ncorrection : number\n    What the count of elements is reduced by.",
    "the axes gone, or of size 1",
    "ValueError\n    If an axis is out of range.\n"
    "TypeError\n    If `x` is no array, or `correction` no number.",
)


def _spread_of(
    name: str, primitive: Primitive, x: Any, axis: Axis, correction: Any, keepdims: Any
) -> Any:
    x = as_operand(name, x)
    check_real(name, dtype_of(x))
    return primitive(
        (x,),
        normalize_axes(name, axis, shape_of(x)),
        check_number(name, "correction", correction),
        check_flag(name, "keepdims", keepdims),
        floating(dtype_of(x)),
    )


@listed(*_SPREAD)
def var(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Return the mean of the squared distances from the mean."""
    return _spread_of("var", _var, x, axis, correction, keepdims)


@listed(*_SPREAD)
def std(x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False) -> Any:
    """Return the square root of `var`; where it is 0, so is its gradient."""
    return _spread_of("std", _std, x, axis, correction, keepdims)


def length(axes: F.Axes, keepdims: bool, order: float, dtype: Any, x: Array) -> Array:
    """Return the norm of this order over axes; their sizes become 1 or are dropped."""
    x = x.astype(dtype)
    if order == 0:
        return F.total((x != 0).astype(parts_of(dtype)), axes, keepdims)
    if order == 2:
        squares = jnp.square(x.real) + jnp.square(x.imag) if dtype.kind == "c" else x * x
        return _root(F.total(squares, axes, keepdims))
    sizes = size_of(x)
    if order == 1:
        return F.total(sizes, axes, keepdims)
    if order == -math.inf:
        return F.smallest(sizes, axes, keepdims)
    if order == math.inf:
        none = 0 in (x.shape if axes is None else [x.shape[axis] for axis in axes])
        return (F.total if none else F.largest)(sizes, axes, keepdims)
    return F.total(jnp.power(sizes, order), axes, keepdims) ** (1 / order)


_norm = Primitive(length, "norm")


@listed(
    AXES_REAL + "\nord : number\n    inf, -inf, 0, or the power p.",
    "the axes gone, or of size 1",
    "ValueError\n    If an axis is out of range, or there is no smallest element.\n"
    "TypeError\n    If `x` is no array, or `ord` no number.",
    "page of linalg.vector_norm in the array API standard 2025.12",
)
def norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Any:
    """Return ``sum(abs(x) ** ord) ** (1 / ord)``, or what stands for it at 0 and infinity."""
    x = as_operand("norm", x)
    shape = shape_of(x)
    axes = normalize_axes("norm", axis, shape)
    order = check_number("norm", "ord", ord)
    if order < 0:
        check_nonempty("norm", axis, axes, shape)
    return _norm((x,), axes, check_flag("norm", "keepdims", keepdims), order, floating(dtype_of(x)))


def _differences(axis: int, count: int, dtype: Any, *parts: Array) -> Array:
    x = jnp.concatenate([part.astype(dtype) for part in parts], axis=axis)
    for _ in range(count):
        size = x.shape[axis]
        cut = functools.partial(lax.slice_in_dim, x, axis=axis)
        x = cut(1, size) - cut(0, size - 1)
    return x


_diff = Primitive(_differences, "diff", F.nothing)


@listed(
    "x : Tensor or raw array\naxis : int\nn : int\n    How often differences are taken.\n"
    "prepend, append : Tensor or raw array, optional\n    Of the shape of x beside `axis`.",
    "n fewer along the axis",
    "ValueError\n    If the axis is out of range, `n` negative, or a shape does not fit.\n"
    "TypeError\n    If an operand is no array or of booleans, or `n` no int.",
)
def diff(x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None) -> Any:
    """Return the differences of neighbours, `n` times over."""  # ops-42
    x = as_operand("diff", x)
    place = normalize_axis("diff", axis, shape_of(x))
    count = check_int("diff", "n", n)
    if count < 0:
        refuse("diff", "n", "at least 0", count)
    ends = [None if part is None else as_operand("diff", part) for part in (prepend, append)]
    parts = [part for part in (ends[0], x, ends[1]) if part is not None]
    dtype = dtype_of(x)
    xs = shape_of(x)
    length = 0
    for part in parts:
        dtype, shape = promote("diff", dtype, dtype_of(part)), shape_of(part)
        if len(shape) != len(xs) or [*shape[:place], *shape[place + 1 :]] != [
            *xs[:place],
            *xs[place + 1 :],
        ]:
            refuse("diff", f"shapes beside axis {axis}", "equal", f"{xs} and {shape}")
        length += shape[place]
    if dtype == bool_:  # tensor-40
        msg = "diff: booleans must be converted to numbers first, got dtype bool"
        raise TypeError(msg)
    return _diff(parts, place, min(count, length), dtype)
