"""Functions over one axis, several or all."""

import math
from collections.abc import Callable
from itertools import accumulate
from typing import Any, TypeAlias

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_flag,
    check_int,
    check_same_rest,
    check_tensor,
    normalize_axes,
    normalize_axis,
)
from impl_torch_ext.dtypes import int64, is_inexact
from impl_torch_ext.native import native
from impl_torch_ext.ops import elementwise
from impl_torch_ext.ops.families import (
    along,
    array_of_reals,
    listed,
    operands,
    reduce,
    scan,
    scanned_axis,
)
from impl_torch_ext.ops.transcendental import as_float, derived
from impl_torch_ext.tracing import readable

# Sums of so few elements need not be taken axis by axis.
_FEW = 4096


def _by_axis(fn: Callable[..., Tensor], x: Tensor, axis: Any, options: dict[str, Any]) -> Tensor:
    """Return `fn` over one axis after the other: torch adds all but one up without pairs."""
    for place in sorted(axis, reverse=True):  # ops-25
        x = fn(x, axis=place, **options)
    return x


def _several(x: Tensor, axis: Any) -> bool:
    return isinstance(axis, tuple) and len(axis) > 1 and x.numel() > _FEW


def _sum(x: Tensor, axis: Any, **options: Any) -> Tensor:
    if options.get("dtype") is None and not is_inexact(x.dtype):
        options["dtype"] = int64  # ops-15
    return (
        _by_axis(compat.sum, x, axis, options)
        if _several(x, axis)
        else compat.sum(x, axis=axis, **options)
    )


def _mean(x: Tensor, axis: Any, keepdims: bool) -> Tensor:
    reals = array_of_reals("mean", x)
    if type(axis) is int:
        return torch.mean(reals, axis, keepdim=keepdims)
    options = {"keepdims": keepdims}
    return (
        _by_axis(compat.mean, reals, axis, options)
        if _several(x, axis)
        else compat.mean(reals, axis=axis, **options)
    )


def _extreme(largest: bool) -> Callable[..., Tensor]:
    """Make `max` or `min`, whose gradient torch multiplies by 0 where nothing is chosen."""
    plain = compat.max if largest else compat.min

    def extreme(x: Tensor, axis: int | tuple[int, ...] | None, keepdims: bool) -> Tensor:
        if not x.requires_grad or axis == ():
            return plain(x, axis=axis, keepdims=keepdims)
        axes = [] if axis is None else [axis] if isinstance(axis, int) else [*axis]
        return native.extreme.default(x, axes, keepdims, largest)

    return extreme


def _cumulative_product(x: Tensor, axis: int) -> Tensor:
    # Factor by factor: the derivative of torch.cumprod divides by the elements.
    return torch.stack(list(accumulate(x.unbind(axis), torch.mul)), axis)


def _cumulative_sum(x: Tensor, axis: int) -> Tensor:
    return torch.cumsum(x, axis, dtype=x.dtype)


def _prod(x: Tensor, axis: Any, dtype: torch.dtype | None, keepdims: bool) -> Tensor:
    """Return products of products, whose derivative divides by nothing."""
    if dtype is None and not is_inexact(x.dtype):
        x = x.to(int64)
    axes = range(x.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    places = [place % x.ndim for place in axes]
    kept = [place for place in range(x.ndim) if place not in places]
    sizes = [x.shape[place] for place in kept]
    length = math.prod(x.shape[place] for place in places)
    factors = x.permute([*kept, *places]).reshape([*sizes, length])
    if not length:
        factors = torch.cat([factors, torch.ones((*sizes, 1), dtype=x.dtype)], -1)
    while (length := factors.shape[-1]) > 1:
        half = length // 2
        first, second, rest = factors.split([half, half, length % 2], -1)
        factors = torch.cat([first * second, rest], -1)
    shape = [1 if place in places else size for place, size in enumerate(x.shape)]
    return factors.reshape(shape if keepdims else sizes)


def _joined(x1: Tensor, x2: Tensor) -> Tensor:
    # Nothing at all has no part in a sum, also beside nothing.
    nothing = x1 == -math.inf
    return torch.where(nothing, 0.0, torch.sigmoid(torch.where(nothing, 0.0, x1 - x2)))


_log_of_sum = derived(
    "cumulative_logsumexp", torch.logaddexp, _joined, lambda x1, x2: _joined(x2, x1)
)


def _root(x: Tensor) -> Tensor:
    """Return the square root, of gradient 0 at 0."""
    zero = x == 0
    return torch.where(zero, 0.0, torch.sqrt(torch.where(zero, 1.0, x)))


def _axes(name: str, axis: Any, x: Tensor) -> tuple[int, ...]:
    return tuple(range(x.ndim)) if axis is None else normalize_axes(name, axis, x)


def _variance(name: str, x: Tensor, axis: Any, correction: float, keepdims: bool) -> Tensor:
    reals = array_of_reals(name, x)
    count = -as_float(name, "correction", correction)
    axes, keepdims = _axes(name, axis, reals), check_flag(name, "keepdims", keepdims)
    count += math.prod(reals.shape[place] for place in axes)
    away = reals - mean(reals, axis=axes, keepdims=True)
    return sum(away * away, axis=axes, keepdims=keepdims) / (count if count > 0 else 0.0)


_is_counted = derived("norm", lambda x: (x != 0).to(x.dtype), None)


def _logsumexp(x: Tensor, axes: tuple[int, ...], keepdim: bool) -> Tensor:
    if not axes:  # ops-19; torch's own takes them for all.
        return x.clone()
    result = torch.logsumexp(x, axes, keepdim)
    # ops-27: the gradient is NaN along the axis there, of which torch makes 0 here and there.
    known = readable(result)
    if known is None or known is not result:
        return _at_infinity(result)
    if result.requires_grad and bool((infinite := torch.isinf(result)).any()):
        result.register_hook(lambda g: torch.where(infinite, math.nan, g))
    return result


_at_infinity = derived(
    "logsumexp", torch.clone, lambda y: torch.where(torch.isinf(y), math.nan, torch.ones_like(y))
)


sum = reduce("sum", _sum, "the sum over `axis`", cast=True)
mean = reduce("mean", _mean, "the mean over `axis`, of integers in float32")
# ops-22
cumulative_prod = scan(
    "cumulative_prod", _cumulative_product, 1, "the products of the elements up to each"
)
cumulative_sum = scan("cumulative_sum", _cumulative_sum, 0, "the sums of the elements up to each")
prod = reduce("prod", _prod, "the product over `axis`", cast=True)  # ops-38
# ops-41
all = reduce("all", lambda x, **over: compat.all(x != 0, **over), "whether none is 0 over `axis`")
any = reduce("any", lambda x, **over: compat.any(x != 0, **over), "whether one is not 0")
count_nonzero = reduce(
    "count_nonzero",
    lambda x, **over: compat.sum(x != 0, dtype=int64, **over),
    "how many are not 0 over `axis`",
)
# tensor-26
max = reduce(
    "max", _extreme(largest=True), "the maximum over `axis`; equal maxima share the gradient"
)
min = reduce(
    "min", _extreme(largest=False), "the minimum over `axis`; equal minima share the gradient"
)
# ops-05
logsumexp = along(
    "logsumexp", _logsumexp, "log(sum(exp(x))) over `axis`", "torch.logsumexp", reduces=True
)

Axis: TypeAlias = int | tuple[int, ...] | None
_SPREAD = {
    "x": "Tensor, any shape; integers are taken as float32",
    "axis": "int, tuple of ints, or None for all axes",
    "correction": "number\nSubtracted from the count that the sum is divided by.",
    "keepdims": "bool\nWhether the axes are kept, with length 1.",
}
_REDUCED = "Tensor, the shape of `x` without the axes"
_WRONG = {"ValueError": "If an axis is out of range.", "TypeError": "If `x` is no Tensor."}


@listed(_SPREAD, _REDUCED, _WRONG)
def var(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return the mean squared distance from the mean."""
    return _variance("var", x, axis, correction, keepdims)  # ops-39


@listed(_SPREAD, _REDUCED, _WRONG)
def std(
    x: Tensor, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:
    """Return the square root of the variance, of gradient 0 at 0."""
    return _root(_variance("std", x, axis, correction, keepdims))


@listed(
    {**_SPREAD, "ord": "number\nThe power, or inf or -inf for the largest or smallest."},
    _REDUCED,
    {**_WRONG, "ValueError": "If an axis is out of range, or `ord` is negative over no element."},
    "linalg.vector_norm of the array API",
)
def norm(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    """Return the norm of vectors, sum(abs(x) ** ord) ** (1 / ord)."""
    reals = array_of_reals("norm", x)
    if reals.is_complex():
        reals = elementwise.abs(reals)
    power = as_float("norm", "ord", ord)
    axes = _axes("norm", axis, reals)
    over: dict[str, Any] = {"axis": axes, "keepdims": check_flag("norm", "keepdims", keepdims)}
    if not math.prod(reals.shape[place] for place in axes):
        if power < 0:  # ops-24
            msg = f"norm: axes {axes} of shape {tuple(x.shape)} must have elements, got none"
            raise ValueError(msg)
        return sum(reals, **over)
    if power == 2:  # ops-40
        return _root(sum(reals * reals, **over))
    if power == 0:
        return sum(_is_counted(reals), **over)
    sizes = elementwise.abs(reals)
    if math.isinf(power):
        return (max if power > 0 else min)(sizes, **over)
    return sum(sizes, **over) if power == 1 else sum(sizes**power, **over) ** (1 / power)


@listed(
    {"x": "Tensor, any shape with an axis", "axis": "int\nMay be left out for one axis alone."},
    "Tensor, the shape of `x`",
    {**_WRONG, "ValueError": "If the axis is out of range, or left out of several."},
    "torch.logcumsumexp",
)
def cumulative_logsumexp(x: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return the logarithms of the sums of exp(x) up to each element."""
    result = array_of_reals("cumulative_logsumexp", x)
    place = scanned_axis("cumulative_logsumexp", axis, x)
    result = torch.where(result == -math.inf, -math.inf, result)  # ops-37: no gradient there.
    length, reach = x.shape[place], 1
    while reach < length:
        # Each element holds the sum of `reach` of them by now, and takes in those before.
        first, rest = result.split([reach, length - reach], place)
        result = torch.cat(
            [first, _log_of_sum(rest, result.narrow(place, 0, length - reach))], place
        )
        reach *= 2
    return result


@listed(
    {
        "x": "Tensor, any shape with an axis, of numbers",
        "axis": "int",
        "n": "int, at least 0\nHow often differences are taken.",
        "prepend, append": "Tensor, optional\nWhat stands before and after `x` along `axis`.",
    },
    "Tensor, shorter by n along `axis`",
    {**_WRONG, "ValueError": "If the axis or the shapes do not fit, or n is negative."},
)
def diff(
    x: Tensor,
    /,
    *,
    axis: int = -1,
    n: int = 1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """Return the differences of neighbours along an axis."""
    elementwise.check_numbers("diff", check_tensor("diff", x))
    place, times = normalize_axis("diff", axis, x), check_int("diff", "n", n)
    if times < 0:  # ops-42
        msg = f"diff: n must be at least 0, got {times}"
        raise ValueError(msg)
    given = [part for part in (prepend, x, append) if part is not None]
    parts = [check_tensor("diff", part) for part in operands("diff", *given)]
    check_same_rest("diff", parts, place)
    result = torch.cat(parts, place) if len(parts) > 1 else x.clone()
    for _ in range(times):
        length = result.shape[place]
        if not length:
            break
        ahead, behind = (result.narrow(place, start, length - 1) for start in (1, 0))
        result = ahead - behind
    return result
