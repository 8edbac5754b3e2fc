"""What indexing does with all slices at once, under `vmap`: index arithmetic along the hidden axis.

Index arrays that depend on a slice stand beside the numbers of the slices, so that one selection
finds for each slice its own. Where the axes that index arrays make stand in the result is NumPy's
rule: in their place where they are neighbours, else in front.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.ops.indexing import check_key, index_list
from impl_cupy.slices import has_level, lower, refuse_value, rule, spread
from impl_cupy.tape import handles, wrap
from impl_cupy.tensor import Tensor

_ARRAYS: Any = (Tensor, cp.ndarray, np.ndarray)


def _parts(key: Any, level: int) -> list[Any] | None:
    """List the parts of a key; None where one is for the call of a slice."""
    parts = list(key) if isinstance(key, tuple) else [key]
    for place, part in enumerate(parts):
        if isinstance(part, slice) and any(
            has_level(end, level) for end in (part.start, part.stop, part.step)
        ):
            refuse_value("a slice's bound")
        if isinstance(part, (list, tuple, range)):
            if _holds_tensors(part):
                return None
            parts[place] = index_list("getitem", part)
        elif has_level(part, level) and part.dtype.kind == "b":
            refuse_value("a mask")
    return parts


def _holds_tensors(part: Any) -> bool:
    return isinstance(part, Tensor) or (
        isinstance(part, (list, tuple)) and any(map(_holds_tensors, part))
    )


def _is_mask(part: Any) -> bool:
    return isinstance(part, _ARRAYS) and part.dtype.kind == "b"


class _Places:
    """Where the axes of index arrays stand in what a key selects.

    Attributes
    ----------
    ndim : int
        How many axes the index arrays make together.
    are_neighbours : bool
        Whether they stand in their place.
    first : int
        That place in the result, 0 where it is in front.
    """

    def __init__(self, parts: list[Any], ndim: int) -> None:
        is_fancy = any(isinstance(part, _ARRAYS) for part in parts)
        fancy = [
            place
            for place, part in enumerate(parts)
            if is_fancy and part is not Ellipsis and not isinstance(part, (slice, type(None)))
        ]
        sizes = [1 if _is_mask(part) else part.ndim for part in parts if isinstance(part, _ARRAYS)]
        self.ndim = max(sizes, default=0)
        self.are_neighbours = not fancy or fancy[-1] - fancy[0] + 1 == len(fancy)
        self.first = 0
        if fancy and self.are_neighbours:
            used = sum(_used(part) for part in parts)
            for part in parts[: fancy[0]]:
                self.first += ndim - used if part is Ellipsis else 1


def _used(part: Any) -> int:
    if part is None or part is Ellipsis:
        return 0
    return int(part.ndim) if _is_mask(part) else 1


@rule("getitem")
def _getitem(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], level: int) -> Any:
    del kwargs
    x, key = args
    parts = _parts(key, level)
    if parts is None or not isinstance(x, Tensor):
        return NotImplemented
    places = _Places(parts, x.ndim)
    try:
        if not any(has_level(part, level) for part in parts):
            check_key("getitem", x.shape, tuple(parts))
            result = function(lower(x, level), (slice(None), *parts))
            return result if places.are_neighbours else _moved(result, [places.ndim], [0])
        return _by_arrays(function, x, parts, places, level)
    except IndexError:
        # The call for a slice says what does not fit.
        return NotImplemented


def _by_arrays(function: Any, x: Any, parts: list[Any], places: _Places, level: int) -> Any:
    if any(map(_is_mask, parts)):
        return NotImplemented
    count = next(lower(part, level).shape[0] for part in parts if has_level(part, level))
    wide = [_deep(part, places.ndim, level) for part in parts]
    if not has_level(x, level):
        result = function(x, tuple(wide))
        return _moved(result, [places.first], [0]) if places.are_neighbours else result
    if sum(map(_used, parts)) > x.ndim:
        return NotImplemented
    numbers = wrap(cp.arange(count, dtype="int64").reshape(count, *(1,) * places.ndim))
    result = function(lower(x, level), (numbers, *wide))
    now = range(1, places.ndim + 1)
    return _moved(result, list(now), [place + places.first for place in now])


def _deep(part: Any, ndim: int, level: int) -> Any:
    """Put axes of length 1 behind the hidden one of an index array."""
    if not has_level(part, level):
        return part
    wide = lower(part, level)
    return handles.reshape(wide, (wide.shape[0], *(1,) * (ndim - wide.ndim + 1), *wide.shape[1:]))


def _moved(value: Any, source: list[int], destination: list[int]) -> Any:
    if source == destination:
        return value
    return handles.moveaxis(value, tuple(source), tuple(destination))


@rule("put")
def _put(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any], level: int) -> Any:
    if kwargs or len(args) != 3:
        return NotImplemented
    x, key, values = args
    parts = key if isinstance(key, tuple) else (key,)
    is_basic = all(
        part is None or part is Ellipsis or type(part) is int or isinstance(part, slice)
        for part in parts
    )
    if not is_basic or not isinstance(x, Tensor):
        return NotImplemented
    try:
        check_key("put", x.shape, parts)
    except IndexError:
        return NotImplemented
    chosen = np.broadcast_to(np.empty(()), x.shape)[parts].shape
    try:
        fits = np.broadcast_shapes(getattr(values, "shape", ()), chosen) == chosen
    except ValueError:
        fits = False
    if not fits:
        return NotImplemented
    count = next(lower(v, level).shape[0] for v in (x, values) if has_level(v, level))
    wide = lower(spread(x, ((level, count),)), level)
    return function(wide, (slice(None), *parts), _deep(values, len(chosen), level))
