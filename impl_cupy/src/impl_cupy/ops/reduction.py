"""Reductions over axes and running results along one, with their gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from impl_cupy import checks
from impl_cupy.backend import cp
from impl_cupy.dtypes import DTypeLike, bool_, int64
from impl_cupy.launch import pointwise
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import STANDARD, Raw, Slope, reduce, row, seen_by, written
from impl_cupy.ops.transcendental import of_length
from impl_cupy.recording import as_tensor, as_tensors, floating, record, summable
from impl_cupy.sums import cut, kept_shape, total
from impl_cupy.tape import handles
from impl_cupy.tensor import Axis, Tensor


def _mean(node: Any, grad: Any) -> Any:
    shape, _, axes = node.config
    count = math.prod(shape[place] for place in axes)
    return grad / count if count else grad  # ops-24


def _share(node: Any, grad: Any) -> Any:
    """Share the gradient equally among the elements that tie (tensor-26)."""
    _, kept, axes = node.config
    xp = node.xp
    if isinstance(grad, cp.ndarray):
        result = node.output.reshape(kept)
        count = pointwise("one_if_chosen")(node.x, result)
        if axes:
            # Ones, whose sums are whole numbers and exact.
            count = cp.sum(count, axis=axes, keepdims=True)
        return pointwise("share_backward")(node.x, result, count, grad)
    # Where NaN are among the elements, these are the ones that are chosen (ops-27).
    chosen = xp.logical_or(node.x == xp.reshape(node.output, kept), node.x != node.x)
    count = xp.astype(chosen, grad.dtype)
    if axes:
        count = xp.sum(count, axis=axes, keepdims=True)
    return xp.where(chosen, grad / count, xp.zeros_like(grad))


sum = reduce("sum", total, lambda _, grad: grad, "Add up over `axis`.", adds=True)
mean = reduce("mean", functools.partial(total, mean=True), _mean, "Average over `axis`.", real=True)
max = reduce(
    "max",
    cp.max,
    _share,
    "Return the largest over `axis`; elements that tie share the gradient equally.",
    uses="x output",
    chooses=True,
)
min = reduce(
    "min",
    cp.min,
    _share,
    "Return the smallest over `axis`; elements that tie share the gradient equally.",
    uses="x output",
    chooses=True,
)


def _others(node: Any, grad: Any) -> Any:
    """Return the gradient times the product of the others, by no division (ops-38)."""
    shape, _, axes = node.config
    x, xp = node.x, node.xp
    if not x.size or not axes:
        return xp.broadcast_to(grad, shape)
    if len(axes) == 1:
        return grad * _around(xp, x, axes[0])
    rest = tuple(place for place in range(len(shape)) if place not in axes)
    order = (*rest, *axes)
    moved = xp.permute_dims(x, order)
    lines = xp.reshape(moved, (*moved.shape[: len(rest)], -1))
    around = xp.reshape(_around(xp, lines, len(rest)), moved.shape)
    return grad * xp.permute_dims(around, tuple(order.index(place) for place in range(len(shape))))


def _around(xp: Any, x: Any, axis: int) -> Any:
    """Return for each element the product of those before it and those after it."""

    def before(array: Any) -> Any:
        products = xp.cumulative_prod(array, axis=axis, include_initial=True)
        return cut(products, axis, 0, array.shape[axis])

    return before(x) * xp.flip(before(xp.flip(x, axis=axis)), axis=axis)


prod = reduce(
    "prod",
    lambda raw, axis, keepdims: cp.prod(raw, axis=axis, dtype=raw.dtype, keepdims=keepdims),
    _others,
    "Multiply over `axis`.",
    uses="x",
    adds=True,
)


def _asked_of(function: Any) -> Raw:
    """Ask of booleans what CuPy need not know of complex numbers."""

    def asked(raw: RawArray, axis: tuple[int, ...], keepdims: bool) -> RawArray:
        if not axis or raw.dtype.kind == "c":
            raw = raw != 0
        return function(raw, axis=axis, keepdims=keepdims) if axis else raw

    return asked


all = reduce(
    "all",
    _asked_of(cp.all),
    None,
    "Tell whether no element over `axis` is 0.",
)
any = reduce(
    "any",
    _asked_of(cp.any),
    None,
    "Tell whether some element over `axis` is not 0.",
)


def counted(raw: RawArray, axis: tuple[int, ...], keepdims: bool) -> RawArray:
    """Count what is not 0 in a raw array, as int64."""
    if not axis:
        return (raw != 0).astype(int64)
    raw = raw != 0 if raw.dtype.kind == "c" else raw
    counts = cp.count_nonzero(raw, axis=axis).astype(int64, copy=False)
    return counts.reshape(kept_shape(raw.shape, axis)) if keepdims else counts


count_nonzero = reduce("count_nonzero", counted, None, "Count what is not 0 over `axis`.")


def _spread(name: str, x: Any, axis: Axis, correction: float, keepdims: bool) -> Tensor:
    """Compute `var`, or its root (ops-39)."""
    value = floating(as_tensor(name, x))
    axes = checks.normalize_axes(name, axis, value.shape)
    checks.check_number(name, "correction", correction)
    keepdims = checks.check_flag(name, "keepdims", keepdims)
    kept = kept_shape(value.shape, axes)
    sizes = (
        kept
        if keepdims
        else tuple(size for place, size in enumerate(value.shape) if place not in axes)
    )
    left = math.prod(value.shape[place] for place in axes) - float(correction)
    freedom = left if left > 0 else 0.0

    def forward(raw: RawArray) -> RawArray:
        # The mean is taken first, so that a large one costs no digits.
        mean = total(raw, axes, True, mean=True) if axes else raw
        squares = pointwise("squared_distance")(raw, mean)
        squares = total(squares, axes, keepdims) if axes else squares
        squares = squares.reshape(sizes) / freedom
        return cp.sqrt(squares) if name == "std" else squares

    is_root = name == "std"
    return record(
        name,
        forward,
        _std if is_root else _var,
        (value,),
        keep_inputs=True,
        keep_output=is_root,
        config=(axes, kept, freedom),
    )


def _center(node: Any, axes: tuple[int, ...]) -> Any:
    if not axes:
        return node.x
    if isinstance(node.x, cp.ndarray):
        return total(node.x, axes, True, mean=True)
    return node.xp.mean(node.x, axis=axes, keepdims=True)


def _var(node: Any, grad: Any) -> tuple[Any]:
    axes, kept, freedom = node.config
    grad = node.xp.reshape(grad, kept)
    scale = 2 / freedom if freedom else math.inf
    if isinstance(grad, cp.ndarray):
        return (pointwise("var_backward")(node.x, _center(node, axes), scale, grad),)
    return (grad * ((node.x - _center(node, axes)) * scale),)


def _std(node: Any, grad: Any) -> tuple[Any]:
    axes, kept, freedom = node.config
    xp = node.xp
    grad, root = xp.reshape(grad, kept), xp.reshape(node.output, kept)
    scale = 1 / freedom if freedom else math.inf
    if isinstance(grad, cp.ndarray):
        return (pointwise("std_backward")(node.x, _center(node, axes), root, scale, grad),)
    return (of_length(xp, grad, (node.x - _center(node, axes)) * scale, root),)


_SPREAD = """
Parameters
----------
x : Tensor or raw array, any shape; integers become float32
axis : int, tuple of int or None
    The axes to go over; None means all.
correction : number
    What is taken from the number of elements.
keepdims : bool
    Whether those axes stay, with length 1.

Returns
-------
Tensor, shape of `x` without the axes

Raises
------
TypeError
    If `x` is no array, `axis` no int or `correction` no number.
ValueError
    If an axis is out of range.
"""


def _make_spread(name: str, summary: str) -> Callable[..., Tensor]:
    def operation(
        x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
    ) -> Tensor:
        return _spread(name, x, axis, correction, keepdims)

    return row(operation, name, summary, _SPREAD, STANDARD)


var = _make_spread("var", "Return the variance over `axis`.")
std = _make_spread("std", "Return the standard deviation over `axis`; its gradient is 0 at 0.")


def scan(
    name: str, function: Raw, slope: Slope, summary: str, *, initial: int, keep_inputs: bool = False
) -> Callable[..., Tensor]:
    """Make a running result along one axis, which may start with an initial value.

    ``function(raw, axis=, dtype=)`` computes it; the slope finds the axis as ``node.config[0]`` and
    gets the gradient without that of the initial value.
    """

    def rule(node: Any, grad: Any) -> tuple[Any]:
        axis, length = node.config
        return (slope(node, cut(grad, axis, grad.shape[axis] - length)),)

    def operation(
        x: Any,
        /,
        *,
        axis: int | None = None,
        dtype: DTypeLike = None,
        include_initial: bool = False,
    ) -> Tensor:
        value = summable(name, as_tensor(name, x), dtype)
        shape = value._data.shape
        place = _place(name, axis, shape)
        checks.check_flag(name, "include_initial", include_initial)

        def running(raw: Any) -> Any:
            results = function(raw, axis=place, dtype=raw.dtype)
            if not include_initial:
                return results
            sizes = (*shape[:place], 1, *shape[place + 1 :])
            return cp.concatenate([cp.full(sizes, initial, raw.dtype), results], axis=place)

        config = (place, shape[place])
        return record(name, running, rule, (value,), keep_inputs=keep_inputs, config=config)

    return row(operation, name, summary, _SCAN, STANDARD)


_SCAN = """
Parameters
----------
x : Tensor or raw array, at least one axis
axis : int, optional
    May be left out where there is one axis alone.
dtype : dtype, optional
    To cast to first; without it integers and booleans have 64 bits (ops-15).
include_initial : bool
    Whether the initial value comes before the others.

Returns
-------
Tensor, shape of `x`, with one element more along `axis` if `include_initial`

Raises
------
TypeError
    If `x` is no array, or `axis` no int.
ValueError
    If `axis` is missing or out of range.
"""


def _place(name: str, axis: int | None, shape: tuple[int, ...]) -> int:
    """Return the axis to go along, which may be left out for one alone (ops-22)."""
    if (axis is None and len(shape) != 1) or not shape:
        msg = f"{name}: axis must be given for shape {shape}, got {checks.shown(axis)}"
        raise ValueError(msg)
    return checks.normalize_axis(name, 0 if axis is None else axis, shape)


def _ahead(xp: Any, array: Any, axis: int, count: int) -> Any:
    """Return what lies `count` elements ahead of each, and 0 at the end."""
    nothing = xp.zeros_like(cut(array, axis, 0, count))
    return xp.concat([cut(array, axis, count), nothing], axis=axis)


def _recurrence(xp: Any, grad: Any, factor: Any, axis: int) -> Any:
    """Return s with ``s_i = g_i + f_i s_{i+1}``.

    It is solved in log2(n) rounds: each lets every s_i reach twice as far ahead.
    """
    total, reach, length = grad, 1, grad.shape[axis]
    while reach < length:
        total = total + factor * _ahead(xp, total, axis, reach)
        if 2 * reach < length:
            factor = factor * _ahead(xp, factor, axis, reach)
        reach *= 2
    return total


def _running_slope(node: Any, grad: Any) -> Any:
    """Return ``(x_0 ... x_{i-1}) s_i`` with ``s_i = g_i + x_{i+1} s_{i+1}``.

    Nothing is divided (ops-22).
    """
    node = seen_by(grad, node)
    (axis, length), xp = node.config, node.xp
    before = cut(xp.cumulative_prod(node.x, axis=axis, include_initial=True), axis, 0, length)
    return before * _recurrence(xp, grad, _ahead(xp, node.x, axis, 1), axis)


def _reversed_sum(node: Any, grad: Any) -> Any:
    axis, xp = node.config[0], node.xp
    return xp.flip(xp.cumulative_sum(xp.flip(grad, axis=axis), axis=axis), axis=axis)


cumulative_prod = scan(
    "cumulative_prod",
    cp.cumprod,
    _running_slope,
    "Return the running product.",
    initial=1,
    keep_inputs=True,
)
cumulative_sum = scan(
    "cumulative_sum", cp.cumsum, _reversed_sum, "Return the running sum.", initial=0
)


@written("the page of torch.logcumsumexp")
def cumulative_logsumexp(x: Any, /, *, axis: int | None = None) -> Tensor:
    """Return the logarithm of the running sum of ``exp(x)``, without overflow.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis; integers become float32
    axis : int, optional
        May be left out where there is one axis alone.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If `axis` is missing or out of range.
    """
    value = floating(as_tensor("cumulative_logsumexp", x))
    place = _place("cumulative_logsumexp", axis, value.shape)
    return record(
        "cumulative_logsumexp",
        lambda raw: _running_logsumexp(raw, place),
        _running_odds,
        (value,),
        keep_inputs=True,
        keep_output=True,
        config=place,
    )


def _running_logsumexp(raw: RawArray, axis: int) -> RawArray:
    """Let every element reach twice as far back in each round.

    Below one maximum of all, what is small and comes first would be 0.
    """
    now, reach = raw.copy(), 1
    while reach < raw.shape[axis]:
        far = cp.logaddexp(cut(now, axis, reach), cut(now, axis, 0, -reach))
        now = cp.concatenate([cut(now, axis, 0, reach), far], axis=axis)
        reach *= 2
    return now


def _running_odds(node: Any, grad: Any) -> tuple[Any]:
    """Return ``exp(x_i - y_i) s_i`` with ``s_i = g_i + exp(y_i - y_{i+1}) s_{i+1}``.

    No power is above 1; at -inf it is exactly 0, whatever arrives.
    """
    axis, xp, x, y = node.config, node.xp, node.x, node.output
    if not x.size:
        return (grad,)
    near, far = cut(y, axis, 0, y.shape[axis] - 1), cut(y, axis, 1)
    is_raw = isinstance(grad, cp.ndarray)
    ratios = pointwise("ratio")(near, far) if is_raw else _ratio(xp, near, far)
    factor = xp.concat([ratios, xp.zeros_like(cut(y, axis, 0, 1))], axis=axis)
    reached = _recurrence(xp, grad, factor, axis)
    if is_raw:
        return (pointwise("ratio_backward")(x, y, reached),)
    odds = _ratio(xp, x, y) * reached
    return (xp.where(x == -math.inf, xp.zeros_like(odds), odds),)


def _ratio(xp: Any, x: Any, y: Any) -> Any:
    """Return ``exp(x - y)``, and 0 where `x` is -inf, be `y` that too."""
    return xp.exp(xp.where(x == -math.inf, -math.inf, x - y))


@written()
def diff(
    x: Any, /, *, axis: int = -1, n: int = 1, prepend: Any = None, append: Any = None
) -> Tensor:
    """Return the differences of neighbours along an axis, `n` times over.

    Parameters
    ----------
    x : Tensor or raw array, at least one axis
    axis : int
    n : int, at least 0
    prepend, append : Tensor or raw array, optional
        What comes before and after `x`, of its shape but for `axis`.

    Returns
    -------
    Tensor, shape of the three together, with `n` elements fewer along `axis`

    Raises
    ------
    TypeError
        If one is no array, they are booleans, or `axis` or `n` is no int.
    ValueError
        If the shapes do not fit, `axis` is out of range or `n` negative.
    """
    value = as_tensor("diff", x)
    place = checks.normalize_axis("diff", axis, value.shape)
    count = checks.check_count("diff", "n", n)
    parts = as_tensors("diff", [part for part in (prepend, value, append) if part is not None])
    sizes = {(*part.shape[:place], -1, *part.shape[place + 1 :]) for part in parts}
    if len(sizes) != 1 or len({part.ndim for part in parts}) != 1:
        checks.refuse_shapes("diff", parts)
    whole = parts[0] if len(parts) == 1 else handles.concat(parts, axis=place)
    if whole.dtype == bool_:
        msg = "diff: booleans have no sign; cast them with astype first, to int64 say"
        raise TypeError(msg)
    if count == 0:
        return whole
    return record(
        "diff",
        lambda raw: cp.diff(raw, n=count, axis=place),
        _undiff,
        (whole,),
        config=(place, count, whole.shape),
    )


def _undiff(node: Any, grad: Any) -> tuple[Any]:
    """Return the differences of the gradient between zeros, which is the adjoint but for signs."""
    axis, count, shape = node.config
    xp = node.xp
    if not grad.size:
        return (xp.zeros(shape, dtype=grad.dtype),)
    edge = xp.zeros((*shape[:axis], count, *shape[axis + 1 :]), dtype=grad.dtype)
    differences = xp.diff(xp.concat([edge, grad, edge], axis=axis), axis=axis, n=count)
    return (-differences if count % 2 else differences,)
