"""How NumPy's functions run on the arrays of all slices at once.

A rule gets the level, then what the function was given, and returns NotImplemented where it has no
way for these arguments: then the function runs slice by slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from impl_numpy.batched.array import (
    FUNCTIONS,
    Batched,
    aligned,
    asarray,
    full,
    has,
    shifted,
)
from impl_numpy.batched.levels import Level
from impl_numpy.batched.ufuncs import chosen

Rule = Callable[..., Any]


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Enter a rule for functions of NumPy."""

    def enter(found: Rule) -> Rule:
        for function in functions:
            FUNCTIONS[function] = found
        return found

    return enter


def _all(*functions: Any) -> tuple[Any, ...]:
    return functions


def _elementwise(function: Any, count: int) -> None:
    """Enter a function of operands that broadcast, of which the first `count` may be arrays."""

    def run(level: Level, *args: Any, **options: Any) -> Any:
        operands, rest = args[:count], args[count:]
        if options.pop("out", None) is not None:
            return NotImplemented
        given = [*operands, *options.values()]
        ndim = max([x.ndim for x in given if isinstance(x, (np.ndarray, np.generic))])
        result = function(
            *[aligned(x, level, ndim) for x in operands],
            *rest,
            **{name: aligned(x, level, ndim) for name, x in options.items()},
        )
        return Batched(level, result)

    FUNCTIONS[function] = run


_function: Any
for _function, _count in (
    (np.clip, 3),
    (np.isclose, 2),
    (np.real, 1),
    (np.imag, 1),
    (np.angle, 1),
    (np.sinc, 1),
    (np.nan_to_num, 1),
    (np.round, 1),
    (np.isposinf, 1),
    (np.isneginf, 1),
    (np.iscomplex, 1),
    (np.isreal, 1),
    (np.i0, 1),
):
    _elementwise(_function, _count)


@rule(np.where)
def _where(level: Level, condition: Any, *args: Any) -> Any:
    if len(args) != 2:
        return NotImplemented
    ndim = max([np.ndim(x) for x in (condition, *args)])
    return Batched(level, np.where(*[aligned(x, level, ndim) for x in (condition, *args)]))


def _reduction(function: Any, whole: str = "axes") -> None:
    """Enter a function over axes; `whole` says what it does without any: all axes, or flat."""

    def run(level: Level, x: Any, axis: Any = None, *args: Any, **options: Any) -> Any:
        if (
            not has(x, level)
            or options.pop("out", None) is not None
            or args[1:2] not in ((), (None,))
        ):
            return NotImplemented
        if any([type(option) is Batched for option in options.values()]):
            return NotImplemented
        values = x.values
        if axis is None and whole == "flat":
            if options.get("keepdims", False) not in (False, np._NoValue):
                return NotImplemented
            values, axis = values.reshape(values.shape[0], x.size), 1
        else:
            axis = shifted(axis, x.ndim)
        return Batched(level, function(values, axis, *args, **options))

    FUNCTIONS[function] = run


for _function in _all(np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.any, np.all):
    _reduction(_function)
for _function in _all(np.count_nonzero, np.median, np.nansum, np.nanmax, np.nanmin, np.ptp):
    _reduction(_function)
for _function in _all(np.argmax, np.argmin, np.cumsum, np.cumprod, np.nanargmax, np.nanargmin):
    _reduction(_function, "flat")


def _along(function: Any, default: Any = -1) -> None:
    """Enter a function along one axis, whose other arguments are options."""

    def run(level: Level, x: Any, axis: Any = default, *args: Any, **options: Any) -> Any:
        if not has(x, level) or axis is None or args:
            return NotImplemented
        return Batched(level, function(x.values, axis=shifted(axis, x.ndim), **options))

    FUNCTIONS[function] = run


for _function in _all(np.sort, np.argsort, np.cumulative_sum, np.cumulative_prod):
    _along(_function)


@rule(np.flip)
def _flip(level: Level, m: Any, axis: Any = None) -> Any:
    return Batched(level, np.flip(m.values, shifted(axis, m.ndim)))


@rule(np.roll)
def _roll(level: Level, a: Any, shift: Any, axis: Any = None) -> Any:
    if not has(a, level) or axis is None or type(shift) is Batched:
        return NotImplemented
    return Batched(level, np.roll(a.values, shift, shifted(axis, a.ndim)))


@rule(np.diff)
def _diff(level: Level, a: Any, n: int = 1, axis: int = -1, **options: Any) -> Any:
    if options or not has(a, level):
        return NotImplemented
    return Batched(level, np.diff(a.values, n, shifted(axis, a.ndim)))


@rule(np.reshape)
def _reshape(level: Level, a: Any, /, shape: Any = None, order: Any = "C", **options: Any) -> Any:
    if order != "C" or shape is None:
        return NotImplemented
    sizes = [shape] if isinstance(shape, (int, np.integer)) else list(shape)
    if -1 in sizes:
        known = math.prod([n for n in sizes if n != -1])
        if not known or a.size % known or sizes.count(-1) > 1:
            msg = f"cannot reshape array of size {a.size} into shape {tuple(sizes)}"
            raise ValueError(msg)
        sizes[sizes.index(-1)] = a.size // known
    if math.prod(sizes) != a.size:
        msg = f"cannot reshape array of size {a.size} into shape {tuple(sizes)}"
        raise ValueError(msg)
    return Batched(level, a.values.reshape((level.size, *sizes)))


@rule(np.ravel)
def _ravel(level: Level, a: Any, order: Any = "C") -> Any:
    return _reshape(level, a, (-1,), order)


@rule(np.transpose, np.permute_dims)
def _transpose(level: Level, a: Any, axes: Any = None) -> Any:
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(axes)
    if len(order) != a.ndim:
        msg = "axes don't match array"
        raise ValueError(msg)
    return Batched(level, a.values.transpose((0, *shifted(order, a.ndim))))


@rule(np.matrix_transpose)
def _matrix_transpose(level: Level, x: Any, /) -> Any:
    return _swapaxes(level, x, -1, -2)


@rule(np.swapaxes)
def _swapaxes(level: Level, a: Any, axis1: int, axis2: int) -> Any:
    return Batched(level, np.swapaxes(a.values, shifted(axis1, a.ndim), shifted(axis2, a.ndim)))


@rule(np.moveaxis)
def _moveaxis(level: Level, a: Any, source: Any, destination: Any) -> Any:
    return Batched(
        level, np.moveaxis(a.values, shifted(source, a.ndim), shifted(destination, a.ndim))
    )


@rule(np.expand_dims)
def _expand_dims(level: Level, a: Any, axis: Any) -> Any:
    axes = axis if isinstance(axis, (tuple, list)) else (axis,)
    return Batched(level, np.expand_dims(a.values, shifted(tuple(axes), a.ndim + len(axes))))


@rule(np.squeeze)
def _squeeze(level: Level, a: Any, axis: Any = None) -> Any:
    axes = [k for k, n in enumerate(a.shape) if n == 1] if axis is None else axis
    return Batched(level, np.squeeze(a.values, shifted(axes, a.ndim)))


@rule(np.broadcast_to)
def _broadcast_to(level: Level, array: Any, shape: Any, subok: bool = False) -> Any:
    to = (shape,) if isinstance(shape, (int, np.integer)) else tuple(shape)
    if array.ndim > len(to):
        msg = "input operand has more dimensions than allowed by the axis remapping"
        raise ValueError(msg)
    return Batched(level, np.broadcast_to(aligned(array, level, len(to)), (level.size, *to)))


@rule(np.broadcast_arrays)
def _broadcast_arrays(level: Level, *args: Any, **options: Any) -> Any:
    shape = np.broadcast_shapes(*[x.shape for x in args])
    return tuple([np.broadcast_to(x, shape) for x in args])


@rule(np.concatenate, np.concat)
def _concatenate(level: Level, arrays: Any, axis: Any = 0, out: Any = None, **options: Any) -> Any:
    if out is not None or axis is None:
        return NotImplemented
    parts = [full(x, level) for x in arrays]
    ndim = len(parts[0].shape) - 1
    return Batched(level, np.concatenate(parts, shifted(axis, ndim), **options))


@rule(np.stack)
def _stack(level: Level, arrays: Any, axis: int = 0, out: Any = None, **options: Any) -> Any:
    if out is not None:
        return NotImplemented
    parts = [full(x, level) for x in arrays]
    return Batched(level, np.stack(parts, shifted(axis, len(parts[0].shape)), **options))


@rule(np.take)
def _take(
    level: Level, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise"
) -> Any:
    if out is not None or mode != "raise":
        return NotImplemented
    if axis is None:
        a, axis = a.reshape(-1), 0
    return chosen(a, (*(slice(None),) * (axis % a.ndim), indices))


@rule(np.take_along_axis)
def _take_along_axis(level: Level, arr: Any, indices: Any, axis: Any = -1) -> Any:
    if axis is None or arr.ndim != indices.ndim:
        return NotImplemented
    sides = [full(x, level) for x in (arr, indices)]
    return Batched(level, np.take_along_axis(sides[0], sides[1], shifted(axis, arr.ndim)))


@rule(np.repeat)
def _repeat(level: Level, a: Any, repeats: Any, axis: Any = None) -> Any:
    if not has(a, level) or axis is None:
        return NotImplemented
    if type(repeats) is Batched:
        return NotImplemented
    return Batched(level, np.repeat(a.values, repeats, shifted(axis, a.ndim)))


def _last_two(function: Any) -> None:
    def run(level: Level, m: Any, k: int = 0) -> Any:
        return NotImplemented if m.ndim < 2 else Batched(level, function(m.values, k))

    FUNCTIONS[function] = run


_last_two(np.tril)
_last_two(np.triu)


@rule(np.diagonal)
def _diagonal(level: Level, a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Any:
    axes = shifted((axis1, axis2), a.ndim)
    return Batched(level, np.diagonal(a.values, offset, *axes))


@rule(np.copy)
def _copy(level: Level, a: Any, order: Any = "K", subok: bool = False) -> Any:
    return Batched(level, a.values.copy())


def _like(function: Any) -> None:
    def run(level: Level, x: Any, *args: Any, **options: Any) -> Any:
        if not has(x, level) or options.get("shape") is not None:
            return NotImplemented
        if any([type(option) is Batched for option in (*args, *options.values())]):
            return NotImplemented
        return Batched(level, function(x.values, *args, **options))

    FUNCTIONS[function] = run


for _function in _all(np.zeros_like, np.ones_like, np.empty_like, np.full_like):
    _like(_function)


@rule(np.copyto)
def _copyto(level: Level, dst: Any, src: Any, casting: Any = "same_kind", where: Any = True) -> Any:
    if not has(dst, level):
        return NotImplemented
    ndim = dst.ndim
    chosen_where = where if type(where) is bool else aligned(asarray(where), level, ndim)
    np.copyto(dst.values, aligned(src, level, ndim), casting, chosen_where)
    return None


# What asks for no values.
rule(np.shape)(lambda level, a: a.shape)
rule(np.ndim)(lambda level, a: a.ndim)
rule(np.size)(lambda level, a, axis=None: a.size if axis is None else a.shape[axis])
rule(np.iscomplexobj)(lambda level, x: x.dtype.kind == "c")
rule(np.isrealobj)(lambda level, x: x.dtype.kind != "c")
rule(np.may_share_memory, np.shares_memory)(
    lambda level, a, b, *rest: np.may_share_memory(_within(a), _within(b))
)


@rule(np.result_type)
def _result_type(level: Level, *args: Any) -> Any:
    return np.result_type(*[x.dtype if type(x) is Batched else x for x in args])


@rule(np.can_cast)
def _can_cast(level: Level, from_: Any, to: Any, casting: str = "safe") -> bool:
    return np.can_cast(from_.dtype, to, casting)  # type: ignore[arg-type]


def _within(x: Any) -> Any:
    while type(x) is Batched:
        x = x.values
    return x


@rule(np.searchsorted)
def _searchsorted(level: Level, a: Any, v: Any, side: Any = "left", sorter: Any = None) -> Any:
    if has(a, level) or sorter is not None:
        return NotImplemented
    return Batched(level, np.searchsorted(a, v.values, side))


@rule(np.isin)
def _isin(level: Level, element: Any, test_elements: Any, **options: Any) -> Any:
    if has(test_elements, level):
        return NotImplemented
    return Batched(level, np.isin(element.values, test_elements, **options))
