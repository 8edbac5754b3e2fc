"""Values put or added where an index says."""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..checks import Shape, check_int, normalize_axis, refuse, shown
from ..dtypes import DType, bool_, is_inexact, promote
from ..recording import (
    Primitive,
    as_indices,
    as_integers,
    as_operand,
    as_pair,
    dtype_of,
    is_array,
    shape_of,
)
from . import formulas as F
from . import lookups
from .families import listed
from .indexing import index_array, lookup_of, plain_keys, stand_often, window_of

Array = Any


def _put_at(
    shape: Shape, found: Shape, template: lookups.Template, x: Array, values: Array, *indices: Array
) -> Array:
    """Return x with values, stretched to `found`, where a template finds elements of a `shape`."""
    values = F.stretch(values.astype(x.dtype), found)
    return lookups.put(template, x.reshape(shape), values, *indices).reshape(x.shape)


_put_window = Primitive(F.window_put, "put", F.all_but_two)
_put_some = Primitive(_put_at, "put", F.all_but_two)


@listed(
    "x : Tensor or raw array\nkey : int, slice, None, ..., bool mask, integer array, or a tuple\n"
    "    What indexing takes.\nvalues : Tensor, raw array or number\n"
    "    Of a dtype that goes into that of x; broadcasts to the shape of ``x[key]``.",
    "the shape and dtype of x",
    "ValueError\n    If `values` does not broadcast to that shape.\n"
    "TypeError\n    If the dtype of `values` does not go into that of x, or one is no array.\n"
    "IndexError\n    If `key` is none, or an index is out of range, where values are known.",
    "page of jax.numpy.ndarray.at",
)
def put(x: Any, key: Any, values: Any, /) -> Any:
    """Return x with values at ``x[key]``; where a place comes several times the last one stays."""
    x, values = _fitting(as_operand("put", x), values)
    try:
        found, primitive, indices, static = _selected(shape_of(x), key)
    except IndexError as error:
        raise IndexError(str(error).replace("index", "put", 1)) from None
    given = shape_of(values)
    if given != found and not _stretches(given, found):
        refuse("put", "values", f"of a shape that broadcasts to {found}", f"shape {given}")
    return primitive((x, values, *indices), *static)


def _selected(shape: Shape, key: Any) -> tuple[Shape, Primitive, list[Any], tuple[Any, ...]]:
    """Return the shape of ``x[key]``; what puts there, its index arrays and static arguments."""
    keys, basic = plain_keys(key)
    if basic:
        starts, *box, found = window_of(shape, keys)
        return found, _put_window, [starts], (*box, found)
    source, arrays, template, _, _ = lookup_of(shape, keys)
    found = lookups.found_shape(template, source, arrays)
    return found, _put_some, arrays, (source, found, template)


def _fitting(x: Any, values: Any) -> tuple[Any, Any]:
    """Return x and what is put there, a number as a scalar; raise `TypeError` if it is too wide."""
    dtype = dtype_of(x)
    if is_array(values):
        values = as_operand("put", values)
        joint, got = promote("put", dtype, dtype_of(values)), f"dtype {dtype_of(values)}"
    else:
        got = shown(values)
        x, values, joint = as_pair("put", x, values)
    if joint != dtype:
        msg = f"put: values must be of a dtype that goes into {dtype}, got {got}"
        raise TypeError(msg)
    return x, values


def _stretches(shape: Shape, wanted: Shape) -> bool:
    try:
        return np.broadcast_shapes(shape, wanted) == wanted
    except ValueError:
        return False


def _add_along(
    axis: int, often: bool | None, dtype: DType, x: Array, values: Array, indices: Array
) -> Array:
    """Return x with values added at indices of as many axes, which stand for those along one."""
    count = indices.shape[axis]
    values = F.stretch(values.astype(dtype), (*x.shape[:axis], count, *x.shape[axis + 1 :]))
    if indices.size == count:
        # The same for all: whole rows are added.
        template, keys = lookups.along(axis), [indices.reshape(-1)]
    else:
        template, keys = lookups.beside(axis, x.shape, indices)
    return lookups.add(template, often, x.astype(dtype), values, *keys)


_scatter_add = Primitive(_add_along, "scatter_add", F.all_but_two)


@listed(
    "x : Tensor or raw array\nindices : array of integers\n"
    "    As many axes; each but `axis` as long as that of x, or 1, which stands for all.\n"
    "values : Tensor or raw array\n    The shape of `indices`.\naxis : int",
    "the shape of x",
    "ValueError\n    If the axis is out of range, or the shapes do not fit.\n"
    "TypeError\n    If the indices are no integers, or x or `values` booleans or no array.\n"
    "IndexError\n    If an index is out of range, where values are known.",
    "page of torch.scatter_add",
)
def scatter_add(x: Any, indices: Any, values: Any, /, *, axis: int = -1) -> Any:
    """Return x with values added along an axis, at integers of their own for each place beside."""
    name = "scatter_add"
    x, values = as_operand(name, x), as_operand(name, values)
    dtype = promote(name, _added(name, x), _added(name, values))
    xs, vs, ks = shape_of(x), shape_of(values), shape_of(as_integers(name, "indices", indices))
    place = normalize_axis(name, axis, xs)
    if vs != ks or len(xs) != len(ks):
        wanted = f"of one shape, of as many axes as x of shape {xs}"
        refuse(name, "indices and values", wanted, f"shapes {ks} and {vs}")
    if any(
        [k not in (1, size) for at, (k, size) in enumerate(zip(ks, xs, strict=True)) if at != place]
    ):
        refuse(name, f"shapes beside axis {axis}", f"1 or those of x of shape {xs}", ks)
    indices = as_indices(name, "indices", indices, -xs[place], xs[place])
    if not is_inexact(dtype):
        often: bool | None = False
    elif math.prod(ks) == ks[place]:
        often = stand_often([indices], [xs[place]])
    else:
        # How often each place is met is counted where the values are added.
        often = None if ks[place] > lookups.FEW else False
    return _scatter_add((x, values, indices), place, often, dtype)


def _added(name: str, x: Any) -> DType:
    """Return the dtype of an array; raise `TypeError` if it is of booleans."""
    if dtype_of(x) == bool_:  # tensor-40
        msg = f"{name}: booleans must be converted to numbers first, got dtype bool"
        raise TypeError(msg)
    return dtype_of(x)


def _add_rows(count: int, often: bool | None, x: Array, ids: Array) -> Array:
    """Return the sums of the rows of x, shape (n, ...), at ids (n,); others are added to none."""
    rows = jnp.zeros((count, *x.shape[1:]), x.dtype)
    inside = lookups.places(ids, count, negative=False)
    return lookups.add(lookups.along(0), often, rows, x, inside)


def _array_of(ids: Any) -> Any:
    """Return a list of ids as an array, and anything else as it is."""
    if not isinstance(ids, list | tuple | range):
        return ids
    try:
        return index_array(ids)
    except IndexError:
        refuse("segment_sum", "segment_ids", "of one axis", "lists of several lengths")


_segment_sum = Primitive(_add_rows, "segment_sum", F.all_but_first)


@listed(
    "x : Tensor or raw array, shape (N, ...)\nsegment_ids : array or list of integers, shape (N,)\n"
    "    In any order.\nnum_segments : int",
    "shape (num_segments, ...), the dtype of x\n    0 where no row has the id.",
    "ValueError\n    If the shapes do not fit, or `num_segments` is negative.\n"
    "TypeError\n    If x holds booleans, the ids no integers, or `num_segments` is no int.\n"
    "IndexError\n    If an id is out of range, where values are known.",
    "page of jax.ops.segment_sum",
)
def segment_sum(x: Any, segment_ids: Any, /, num_segments: int) -> Any:
    """Return the sums of the rows that have each id."""
    name = "segment_sum"
    x = as_operand(name, x)
    _added(name, x)
    count = check_int(name, "num_segments", num_segments)
    if not 0 <= count < 2**40:
        refuse(name, "num_segments", "at least 0, and a count that memory can hold", count)
    ids = _array_of(segment_ids)
    as_integers(name, "segment_ids", ids)
    if not shape_of(x) or shape_of(ids) != shape_of(x)[:1]:
        wanted = f"of one axis, as long as the first of x of shape {shape_of(x)}"
        refuse(name, "segment_ids", wanted, f"shape {shape_of(ids)}")
    ids = as_indices(name, "segment_ids", ids, 0, count, ", which is num_segments")
    often = is_inexact(dtype_of(x)) and stand_often([ids], [count])
    return _segment_sum((x, ids), count, often)
