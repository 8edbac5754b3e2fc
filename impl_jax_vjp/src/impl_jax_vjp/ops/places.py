"""Values put or added where an index says."""

from typing import Any

import numpy as np

from ..checks import Shape, refuse, shown
from ..dtypes import promote
from ..recording import (
    Primitive,
    as_operand,
    as_pair,
    dtype_of,
    is_array,
    shape_of,
)
from . import formulas as F
from . import lookups
from .families import listed
from .indexing import lookup_of, plain_keys, window_of

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
        joint, got = promote(dtype, dtype_of(values)), f"dtype {dtype_of(values)}"
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
