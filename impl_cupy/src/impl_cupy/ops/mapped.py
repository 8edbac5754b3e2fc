"""What the functions of `ops` do with all slices at once, under `vmap`.

A rule gets a function, its arguments and the innermost level on which they depend, and calls the
function, or another, with the hidden first axis of that level in sight: elements are aligned, axes
counted one further. Where an argument is not what a plain call takes it gives NotImplemented: the
call for a slice raises the error then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from impl_cupy.checks import as_ints
from impl_cupy.slices import by_shape, deepest, has_level, lower, plain, refuse_value, rule, rules
from impl_cupy.tape import Recorded, handles

_Args = tuple[Any, ...]
_Options = dict[str, Any]
_MISSING = object()


def _ndim(value: Any) -> int:
    return int(getattr(value, "ndim", 0))


def _aligned(value: Any, level: int, ndim: int) -> Any:
    """Return an operand with the hidden axis in sight, before `ndim` axes of a slice."""
    if not has_level(value, level):
        return value
    wide = lower(value, level)
    lacking = ndim - (wide.ndim - 1)
    if lacking <= 0:
        return wide
    return handles.reshape(wide, (wide.shape[0], *(1,) * lacking, *wide.shape[1:]))


def _fit(shapes: Sequence[tuple[int, ...]]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def _shapes(values: Sequence[Any]) -> list[tuple[int, ...]]:
    return [tuple(value.shape) for value in values if hasattr(value, "shape")]


_ELEMENTS = (
    "add subtract multiply divide floor_divide remainder pow maximum minimum atan2 hypot logaddexp "
    "copysign nextafter equal not_equal less less_equal greater greater_equal logical_and "
    "logical_or logical_xor bitwise_and bitwise_or bitwise_xor bitwise_left_shift "
    "bitwise_right_shift where clip "
    "abs negative positive reciprocal sign exp log sqrt square sin cos tan asin acos atan sinh "
    "cosh tanh asinh acosh atanh expm1 log1p log2 log10 erf ceil floor trunc round bitwise_invert "
    "real imag conj logical_not isnan isfinite isinf signbit relu sigmoid silu softplus leaky_relu "
    "elu gelu astype asarray"
)


@rule(_ELEMENTS)
def _elements(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    every = (*args, *kwargs.values())
    if not _fit(_shapes(every)):
        return NotImplemented
    most = max(map(_ndim, every))
    return function(
        *[_aligned(value, level, most) for value in args],
        **{word: _aligned(value, level, most) for word, value in kwargs.items()},
    )


def _further(axis: Any, ndim: int, new: int = 0) -> Any:
    """Count an axis, or several, one further; NotImplemented where one is not there."""
    if isinstance(axis, (tuple, list)):
        moved = [_further(each, ndim, new) for each in axis]
        return NotImplemented if NotImplemented in moved else tuple(moved)
    if isinstance(axis, (bool, Recorded)) or not hasattr(axis, "__index__"):
        return NotImplemented
    place, count = int(axis), ndim + new
    if not -count <= place < count:
        return NotImplemented
    return place % count + 1


def _over_axes(
    place: int | None, word: str, default: Any, whole: Callable[[int], Any]
) -> Callable[..., Any]:
    """Make a rule for a function along axes of its first operand; other operands are none.

    ``whole(ndim)`` gives the axes of a slice that None stands for, or NotImplemented.
    """

    def along(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
        if not args or not has_level(args[0], level):
            return NotImplemented
        if place is not None and len(args) > place:
            given, args, kwargs = args[place], (*args[:place], *args[place + 1 :]), dict(kwargs)
        else:
            kwargs = dict(kwargs)
            given = kwargs.pop(word, default)
        if len(args) > 1 or any(isinstance(value, Recorded) for value in kwargs.values()):
            return NotImplemented
        ndim = args[0].ndim
        axes = whole(ndim) if given is None else given
        axes = axes if axes is NotImplemented else _further(axes, ndim)
        if axes is NotImplemented:
            return NotImplemented
        return function(lower(args[0], level), **{**kwargs, word: axes})

    return along


def _every(ndim: int) -> Any:
    return tuple(range(ndim))


def _single(ndim: int) -> Any:
    return 0 if ndim == 1 else NotImplemented


def _no(ndim: int) -> Any:
    del ndim
    return NotImplemented


rule("sum mean max min prod all any count_nonzero var std linalg.norm linalg.vector_norm flip")(
    _over_axes(None, "axis", None, _every)
)
rule("logsumexp")(_over_axes(1, "axis", -1, _every))
rule("softmax log_softmax")(_over_axes(1, "axis", -1, _no))
rule("cumulative_sum cumulative_prod cumulative_logsumexp")(_over_axes(None, "axis", None, _single))
rule("sort argsort diff")(_over_axes(None, "axis", -1, _no))
rule("unstack")(_over_axes(None, "axis", 0, _no))
rule("squeeze")(_over_axes(1, "axis", None, _no))
rule("argmax argmin")(_over_axes(None, "axis", None, _single))
rule("fft.fft fft.ifft fft.rfft fft.irfft fft.hfft fft.ihfft")(_over_axes(None, "axis", -1, _no))
rule("fft.fftshift fft.ifftshift")(_over_axes(None, "axes", None, _every))


@rule("fft.fftn fft.ifftn fft.rfftn fft.irfftn")
def _of_several(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if kwargs.get("s") is not None and kwargs.get("axes") is None:
        return NotImplemented
    return _whole_n(function, args, kwargs, level)


_whole_n = _over_axes(None, "axes", None, _every)


@rule(
    "matrix_transpose tril triu linalg.cholesky linalg.qr linalg.svd linalg.svdvals linalg.eigh "
    "linalg.eigvalsh linalg.eig linalg.eigvals linalg.inv linalg.pinv linalg.matrix_rank "
    "linalg.det linalg.slogdet linalg.matrix_power linalg.matrix_norm linalg.trace "
    "linalg.diagonal"
)
def _matrices(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if not args or not has_level(args[0], level) or args[0].ndim < 2:
        return NotImplemented
    if any(isinstance(value, Recorded) for value in (*args[1:], *kwargs.values())):
        return NotImplemented
    return function(lower(args[0], level), *args[1:], **kwargs)


@rule("linalg.solve")
def _solve(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if len(args) != 2 or kwargs or min(map(_ndim, args)) < 2 or _ndim(args[0]) != _ndim(args[1]):
        return NotImplemented
    (rows, wide), (other, _) = args[0].shape[-2:], args[1].shape[-2:]
    if rows != wide or rows != other or not _fit([value.shape[:-2] for value in args]):
        return NotImplemented
    most = _ndim(args[0])
    return function(*[_aligned(value, level, most) for value in args])


@rule("linalg.cross vecdot")
def _vectors(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    axis = kwargs.get("axis", -1)
    if len(args) != 2 or set(kwargs) - {"axis"} or type(axis) is not int or axis >= 0:
        return NotImplemented
    if min(map(_ndim, args)) < -axis or not _fit(_shapes(args)):
        return NotImplemented
    most = max(map(_ndim, args))
    return function(*[_aligned(value, level, most) for value in args], axis=axis)


@rule("linalg.outer")
def _outer(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    del function
    if len(args) != 2 or kwargs or [_ndim(value) for value in args] != [1, 1]:
        return NotImplemented
    one, other = (lower(value, level) for value in args)
    one = handles.reshape(one, (*one.shape, 1))
    other = handles.reshape(other, (*other.shape[:-1], 1, other.shape[-1]))
    return handles.multiply(one, other)


@rule("matmul")
def _matmul(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    del kwargs
    if not all(hasattr(value, "shape") for value in args):
        return NotImplemented
    a, b = args
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return NotImplemented
    if not _fit([a.shape[:-2], b.shape[:-2]]):
        return NotImplemented
    if not has_level(b, level) and b.ndim <= 2 and a.ndim == 1:
        # The slices are the rows of one matrix.
        return function(lower(a, level), b)
    is_row, is_column = a.ndim == 1, b.ndim == 1
    left, right = lower(a, level), lower(b, level)
    if is_row:
        left = handles.reshape(left, (*left.shape[:-1], 1, left.shape[-1]))
    if is_column:
        right = handles.reshape(right, (*right.shape, 1))
    depth = max(a.ndim + is_row, b.ndim + is_column)
    left = _deep(left, has_level(a, level), depth)
    right = _deep(right, has_level(b, level), depth)
    result = function(left, right)
    if not (is_row or is_column):
        return result
    rows_, columns = () if is_row else result.shape[-2:-1], () if is_column else result.shape[-1:]
    return handles.reshape(result, (*result.shape[:-2], *rows_, *columns))


def _deep(wide: Any, is_cut: bool, depth: int) -> Any:
    """Put axes of length 1 behind the hidden one, up to `depth` of a slice."""
    lacking = depth - (wide.ndim - 1)
    if not is_cut or lacking <= 0:
        return wide
    return handles.reshape(wide, (wide.shape[0], *(1,) * lacking, *wide.shape[1:]))


@rule("einsum")
def _einsum(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if kwargs or not args or not isinstance(args[0], str):
        return NotImplemented
    text, operands = args[0].replace(" ", ""), args[1:]
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    new = next(c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in text)
    if not arrow or "." in text or len(terms) != len(operands):
        return NotImplemented
    for term, value in zip(terms, operands, strict=True):
        if len(term) != _ndim(value):
            return NotImplemented
    wide = [
        new + term if has_level(value, level) else term
        for term, value in zip(terms, operands, strict=True)
    ]
    return function(
        f"{','.join(wide)}->{new}{output}", *[lower(value, level) for value in operands]
    )


@rule("tensordot")
def _tensordot(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    del function
    axes = kwargs.get("axes", 2)
    if len(args) != 2 or not all(isinstance(value, Recorded) for value in args):
        return NotImplemented
    (first, second), ndims = args, [_ndim(value) for value in args]
    if type(axes) is int and 0 <= axes <= min(ndims):
        axes = range(ndims[0] - axes, ndims[0]), range(axes)
    if not isinstance(axes, (tuple, list)) or len(axes) != 2 or sum(ndims) > 50:
        return NotImplemented
    pairs = [_further(tuple(each), ndim) for each, ndim in zip(axes, ndims, strict=True)]
    if NotImplemented in pairs or len(pairs[0]) != len(pairs[1]):
        return NotImplemented
    letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    one, other = list(letters[: ndims[0]]), list(letters[ndims[0] : sum(ndims)])
    for place, own in zip(*pairs, strict=True):
        if first.shape[place - 1] != second.shape[own - 1] or other[own - 1] in one:
            return NotImplemented
        other[own - 1] = one[place - 1]
    output = [c for c in one if c not in other] + [c for c in other if c not in one]
    text = f"{''.join(one)},{''.join(other)}->{''.join(output)}"
    return _einsum(handles.einsum, (text, first, second), {}, level)


@rule("reshape")
def _reshape(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    x = args[0]
    shape = args[1] if len(args) > 1 else kwargs.get("shape", _MISSING)
    if shape is _MISSING or kwargs.get("copy") is False:
        return NotImplemented
    sizes = as_ints("reshape", "shape", shape)
    if sizes.count(-1) == 1:
        known = -math.prod(sizes)
        left = x.size // known if known > 0 and x.size % known == 0 else -1
        sizes = tuple(left if size == -1 else size for size in sizes)
    if math.prod(sizes) != x.size or min(sizes, default=0) < 0:
        return NotImplemented
    wide = lower(x, level)
    return function(wide, (wide.shape[0], *sizes), copy=kwargs.get("copy"))


@rule("permute_dims")
def _permute(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    order = args[1] if len(args) > 1 else kwargs.get("axes", _MISSING)
    ndim = args[0].ndim
    moved = _further(order, ndim) if isinstance(order, (tuple, list)) else NotImplemented
    if moved is NotImplemented or sorted(moved) != list(range(1, ndim + 1)):
        return NotImplemented
    return function(lower(args[0], level), (0, *moved))


@rule("expand_dims")
def _expand(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    axis = args[1] if len(args) > 1 else kwargs.get("axis", _MISSING)
    new = len(axis) if isinstance(axis, (tuple, list)) else 1
    moved = _further(axis, args[0].ndim, new)
    if moved is NotImplemented:
        return NotImplemented
    return function(lower(args[0], level), axis=moved)


@rule("moveaxis")
def _moveaxis(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if kwargs or len(args) != 3:
        return NotImplemented
    moved = [_further(axis, args[0].ndim) for axis in args[1:]]
    return NotImplemented if NotImplemented in moved else function(lower(args[0], level), *moved)


@rule("broadcast_to")
def _broadcast(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    shape = args[1] if len(args) > 1 else kwargs.get("shape", _MISSING)
    if shape is _MISSING:
        return NotImplemented
    sizes = as_ints("broadcast_to", "shape", shape)
    x = args[0]
    try:
        fits = np.broadcast_shapes(x.shape, sizes) == sizes
    except ValueError:
        fits = False
    if not fits:
        return NotImplemented
    wide = _aligned(x, level, len(sizes))
    return function(wide, (wide.shape[0], *sizes))


@rule("roll")
def _roll(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    axis = kwargs.get("axis")
    shift = args[1] if len(args) > 1 else kwargs.get("shift", _MISSING)
    if shift is _MISSING or len(args) > 2:
        return NotImplemented
    moved = _further(axis, args[0].ndim)
    if moved is NotImplemented:
        return NotImplemented
    return function(lower(args[0], level), shift, axis=moved)


@rule("tile")
def _tile(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if kwargs or len(args) != 2 or not isinstance(args[1], (tuple, list)):
        return NotImplemented
    counts = tuple(args[1])
    counts = (1,) * (args[0].ndim - len(counts)) + counts
    return function(_aligned(args[0], level, len(counts)), (1, *counts))


@rule("concat stack")
def _join(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    arrays = args[0]
    if len(args) != 1 or not isinstance(arrays, (tuple, list)):
        return NotImplemented
    if not all(isinstance(value, Recorded) for value in arrays):
        return NotImplemented
    axis, is_stack = kwargs.get("axis", 0), function.__name__ == "stack"
    ndim = arrays[0].ndim
    if any(value.ndim != ndim for value in arrays):
        return NotImplemented
    moved = _further(axis, ndim, int(is_stack))
    if moved is NotImplemented:
        return NotImplemented
    places = range(ndim) if is_stack else [p for p in range(ndim) if p != moved - 1]
    if any(value.shape[p] != arrays[0].shape[p] for value in arrays for p in places):
        return NotImplemented
    count = next(lower(v, level).shape[0] for v in arrays if has_level(v, level))
    wide = [
        lower(value, level)
        if has_level(value, level)
        else handles.broadcast_to(value, (count, *value.shape))
        for value in arrays
    ]
    return function(wide, axis=moved)


@rule("take_along_axis")
def _take_along(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if len(args) != 2 or not all(isinstance(value, Recorded) for value in args):
        return NotImplemented
    x, indices = args
    if x.ndim != indices.ndim:
        return NotImplemented
    moved = _further(kwargs.get("axis", -1), x.ndim)
    if moved is NotImplemented:
        return NotImplemented
    wide = [
        lower(value, level)
        if has_level(value, level)
        else handles.reshape(value, (1, *value.shape))
        for value in args
    ]
    return function(*wide, axis=moved)


@rule("take")
def _take(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    del function
    if len(args) != 2 or not isinstance(args[0], Recorded):
        return NotImplemented
    x, indices = args
    axis = kwargs.get("axis")
    axis = (0 if x.ndim == 1 else _MISSING) if axis is None else axis
    if type(axis) is not int or not -x.ndim <= axis < x.ndim:
        return NotImplemented
    if getattr(getattr(indices, "dtype", None), "kind", "") != "i":
        return NotImplemented
    key = (slice(None),) * (axis % x.ndim) + (indices,)
    return rules["getitem"](handles.getitem, (x, key), {}, level)


@rule("linear_recurrence")
def _recurrence(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if len(args) != 2 or kwargs.get("h0") is not None:
        return NotImplemented
    if not all(isinstance(value, Recorded) for value in args) or args[0].shape != args[1].shape:
        return NotImplemented
    moved = _further(kwargs.get("axis", 0), args[0].ndim)
    if moved is NotImplemented:
        return NotImplemented
    count = next(lower(v, level).shape[0] for v in args if has_level(v, level))
    wide = [
        lower(value, level)
        if has_level(value, level)
        else handles.broadcast_to(value, (count, *value.shape))
        for value in args
    ]
    return function(*wide, **{**kwargs, "axis": moved})


@rule("one_hot")
def _one_hot(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if not has_level(args[0], level):
        return NotImplemented
    moved = _further(kwargs.get("axis", -1), args[0].ndim, 1)
    if moved is NotImplemented:
        return NotImplemented
    return function(lower(args[0], level), *args[1:], **{**kwargs, "axis": moved})


@rule("nonzero unique_all unique_counts unique_inverse unique_values")
def _by_values(function: Any, *_: Any) -> Any:
    refuse_value(function.__name__)


@rule("repeat")
def _repeat(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    if any(has_level(value, level) for value in (*args[1:], *kwargs.values())):
        refuse_value("repeat")
    axis = kwargs.get("axis")
    if axis is None or len(args) != 2 or not isinstance(args[1], int):
        return NotImplemented
    moved = _further(axis, args[0].ndim)
    if moved is NotImplemented:
        return NotImplemented
    return function(lower(args[0], level), args[1], axis=moved)


@rule("zeros ones empty eye full")
def _created(function: Any, args: _Args, kwargs: _Options, level: int) -> Any:
    del level
    # Of what these take only the number of `full` may differ from slice to slice.
    shape = args[:1] if function.__name__ == "full" else args
    if deepest(shape, kwargs.get("shape")):
        refuse_value(function.__name__)
    return NotImplemented


by_shape.update("zeros_like ones_like empty_like".split())
plain.update("result_type can_cast isdtype broadcast_shapes".split())
