"""How NumPy's functions run on the arrays of all slices at once.

A rule gets the level, then what the function was given, and returns NotImplemented where it has no
way for these arguments: then the function runs slice by slice.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from impl_numpy.batched import (
    FUNCTIONS,
    Batched,
    Level,
    aligned,
    asarray,
    chosen,
    full,
    has,
    unknown,
    shifted,
)
from impl_numpy.dtypes import Shape

Rule = Callable[..., Any]


def rule(*functions: Any) -> Callable[[Rule], Rule]:
    """Enter a rule for functions of NumPy."""

    def enter(found: Rule) -> Rule:
        for function in functions:
            FUNCTIONS[function] = found
        return found

    return enter


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
        if not has(x, level) or options.pop("out", None) is not None or args[1:2] not in ((), (None,)):
            return NotImplemented
        if any([type(option) is Batched for option in options.values()]):
            return NotImplemented
        values = x.values
        if axis is None and whole == "flat":
            if options.get("keepdims", False) not in (False, np._NoValue):
                return NotImplemented
            values, axis = values.reshape(values.shape[0], -1), 1
        else:
            axis = shifted(axis, x.ndim)
        return Batched(level, function(values, axis, *args, **options))

    FUNCTIONS[function] = run


for _function in (np.sum, np.prod, np.mean, np.std, np.var, np.max, np.min, np.any, np.all):
    _reduction(_function)
for _function in (np.count_nonzero, np.median, np.nansum, np.nanmax, np.nanmin, np.ptp):
    _reduction(_function)
for _function in (np.argmax, np.argmin, np.cumsum, np.cumprod, np.nanargmax, np.nanargmin):
    _reduction(_function, "flat")


def _along(function: Any, default: Any = -1) -> None:
    """Enter a function along one axis, whose other arguments are options."""

    def run(level: Level, x: Any, axis: Any = default, *args: Any, **options: Any) -> Any:
        if not has(x, level) or axis is None or args:
            return NotImplemented
        return Batched(level, function(x.values, axis=shifted(axis, x.ndim), **options))

    FUNCTIONS[function] = run


for _function in (np.sort, np.argsort, np.cumulative_sum, np.cumulative_prod):
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
    return Batched(
        level, np.swapaxes(a.values, shifted(axis1, a.ndim), shifted(axis2, a.ndim))
    )


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
def _take(level: Level, a: Any, indices: Any, axis: Any = None, out: Any = None, mode: str = "raise") -> Any:
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
    return Batched(level, np.take_along_axis(*sides, shifted(axis, arr.ndim)))


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


@rule(np.diagonal, np.trace)
def _diagonal_or_trace(level: Level, a: Any, *args: Any, **options: Any) -> Any:
    return NotImplemented


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


for _function in (np.zeros_like, np.ones_like, np.empty_like, np.full_like):
    _like(_function)


@rule(np.copyto)
def _copyto(level: Level, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> Any:
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


@rule(np.matmul)
def _matmul(level: Level, ufunc: Any, a: Any, b: Any, **options: Any) -> Any:
    if options:
        # Into an array, or along other axes.
        out = options.pop("out", (None,))[0]
        if options or not (out is None or has(out, level)):
            raise unknown("matmul into an array that no slice has")
        if out is not None:
            out[...] = np.matmul(a, b)
            return out
    a, b = asarray(a), asarray(b)
    first, last = a.ndim == 1, b.ndim == 1
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if not last else 0]:
        msg = f"matmul: shapes {a.shape} and {b.shape} do not fit"
        raise ValueError(msg)
    if first and not has(b, level) and b.ndim == 2:
        return Batched(level, np.matmul(a.values, b))
    x = a[None, :] if first else a
    y = b[:, None] if last else b
    ndim = max(x.ndim, y.ndim)
    result = np.matmul(aligned(x, level, ndim), aligned(y, level, ndim))
    if first:
        result = result[..., 0, :]
    return Batched(level, result[..., 0] if last else result)


@rule(np.vecdot)
def _vecdot(level: Level, ufunc: Any, a: Any, b: Any, **options: Any) -> Any:
    axis = options.pop("axis", -1)
    if options or axis != -1:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    ndim = max(a.ndim, b.ndim)
    return Batched(level, np.vecdot(aligned(a, level, ndim), aligned(b, level, ndim)))


@rule(np.dot)
def _dot(level: Level, a: Any, b: Any, out: Any = None) -> Any:
    if out is not None or np.ndim(b) > 2:
        return NotImplemented
    return a * b if not np.ndim(a) or not np.ndim(b) else np.matmul(a, b)


@rule(np.einsum)
def _einsum(level: Level, *operands: Any, **options: Any) -> Any:
    subscripts = operands[0]
    if type(subscripts) is not str or options.pop("out", None) is not None:
        return NotImplemented
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    if "..." in subscripts or not arrow:
        return NotImplemented
    letter = next(
        (chr(code) for code in range(ord("A"), ord("z") + 1) if chr(code) not in subscripts and chr(code).isalpha()),
        None,
    )
    if letter is None:
        return NotImplemented
    terms = [
        letter + term if has(x, level) else term
        for term, x in zip(inputs.split(","), operands[1:], strict=True)
    ]
    arrays = [x.values if has(x, level) else x for x in operands[1:]]
    return Batched(level, np.einsum(f"{','.join(terms)}->{letter}{output}", *arrays, **options))


@rule(np.tensordot)
def _tensordot(level: Level, a: Any, b: Any, axes: Any = 2) -> Any:
    if isinstance(axes, (int, np.integer)):
        pair = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        pair = tuple([list(k) if isinstance(k, (tuple, list)) else [k] for k in axes])  # type: ignore[assignment]
    mine = [k % a.ndim for k in pair[0]]
    yours = [k % b.ndim for k in pair[1]]
    names = iter(range(a.ndim + b.ndim))
    first = [next(names) for _ in range(a.ndim)]
    second = [next(names) for _ in range(b.ndim)]
    for j, k in zip(mine, yours, strict=True):
        second[k] = first[j]
    kept = [n for k, n in enumerate(first) if k not in mine]
    kept += [n for k, n in enumerate(second) if k not in yours]
    letters = "abcdefghijklmnopqrstuvwxyz"

    def text(numbers: list[int]) -> str:
        return "".join([letters[n] for n in numbers])

    return np.einsum(f"{text(first)},{text(second)}->{text(kept)}", a, b, optimize=True)


@rule(np.lib.stride_tricks.sliding_window_view)
def _windows(level: Level, x: Any, window_shape: Any, axis: Any = None, **options: Any) -> Any:
    axes = shifted(axis, x.ndim)
    return Batched(
        level,
        np.lib.stride_tricks.sliding_window_view(x.values, window_shape, axes, **options),
    )


def _stacks(function: Any) -> None:
    """Enter a function of stacks of matrices."""

    def run(level: Level, a: Any, *args: Any, **options: Any) -> Any:
        if not has(a, level) or any([type(x) is Batched for x in (*args, *options.values())]):
            return NotImplemented
        found = function(a.values, *args, **options)
        if isinstance(found, tuple):
            parts = [Batched(level, x) for x in found]
            return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
        return Batched(level, found)

    FUNCTIONS[function] = run


for _function in (
    np.linalg.inv,
    np.linalg.det,
    np.linalg.slogdet,
    np.linalg.eig,
    np.linalg.eigh,
    np.linalg.eigvals,
    np.linalg.eigvalsh,
    np.linalg.cholesky,
    np.linalg.qr,
    np.linalg.svd,
    np.linalg.svdvals,
):
    _stacks(_function)


@rule(np.linalg.solve)
def _solve(level: Level, a: Any, b: Any) -> Any:
    vector = b.ndim == 1
    columns = b[:, None] if vector else b
    ndim = max(a.ndim, columns.ndim)
    found = np.linalg.solve(aligned(a, level, ndim), aligned(columns, level, ndim))
    return Batched(level, found[..., 0] if vector else found)


def _one_transform(function: Any) -> None:
    def run(level: Level, a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return Batched(level, function(a.values, n, shifted(axis, a.ndim), norm))

    FUNCTIONS[function] = run


for _function in (np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft):
    _one_transform(_function)


def _transforms(function: Any) -> None:
    def run(level: Level, a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        if axes is None:
            count = a.ndim if s is None else len(s)
            axes = range(a.ndim - count, a.ndim)
        return Batched(level, function(a.values, s, shifted(tuple(axes), a.ndim), norm))

    FUNCTIONS[function] = run


for _function in (np.fft.fftn, np.fft.ifftn, np.fft.rfftn, np.fft.irfftn):
    _transforms(_function)


def _shifts(function: Any) -> None:
    def run(level: Level, x: Any, axes: Any = None) -> Any:
        return Batched(level, function(x.values, shifted(axes, x.ndim)))

    FUNCTIONS[function] = run


_shifts(np.fft.fftshift)
_shifts(np.fft.ifftshift)


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


Axes = Shape
