"""Elements chosen by index: what a key selects from a Tensor, `take` and its kin."""

import math
import operator
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import Shape, as_dtype, check_int, check_one_value, normalize_axis, refuse
from ..dtypes import x64
from ..protocols import OPS
from ..recording import Primitive, as_indices, as_integers, as_operand, shape_of, widened
from ..tape import MODE, Traced, unwrap
from . import formulas as F
from . import lookups
from .families import listed

_take = Primitive(lookups.take, "take", F.all_but_first)
_window = Primitive(F.window, "index", F.all_but_first, F.window_into)  # autograd-32
_gather = Primitive(lookups.gather, "index", F.all_but_first)


@listed(
    "x : Tensor or raw array\nindices : array of integers of any dtype\naxis : int, optional\n"
    "    May be left out for one axis alone.",
    "the axis as long as `indices`",
    "ValueError\n    If the axis is out of range, or needed and left out.\n"
    "TypeError\n    If the indices are no integers.\n"
    "IndexError\n    If an index is out of range, where values are known.",
)
def take(x: Any, indices: Any, /, *, axis: int | None = None) -> Any:
    """Select along an axis by integers; repeated indices add up their gradients."""
    x = as_operand("take", x)
    shape = shape_of(x)
    if axis is None and len(shape) != 1:
        msg = f"take: axis must be given where x has not one axis, got shape {shape}"
        raise ValueError(msg)
    place = normalize_axis("take", 0 if axis is None else axis, shape)
    indices = as_indices("take", "indices", indices, -shape[place], shape[place])
    return _take((x, indices), place, are_met_often(x, [indices], [shape[place]]))


def _along(axis: int, often: bool | None, x: Any, indices: Any) -> Any:
    template, keys = lookups.beside(axis, x.shape, indices)
    return lookups.gather(template, often, x, *keys)


_take_along_axis = Primitive(_along, "take_along_axis", F.all_but_first)


@listed(
    "x : Tensor or raw array\nindices : array of integers\n"
    "    Of as many axes; beside `axis` the shapes broadcast.\naxis : int",
    "the common shape, as long as `indices` along the axis",
    "ValueError\n    If the axis is out of range, or the shapes do not fit.\n"
    "TypeError\n    If the indices are no integers.\n"
    "IndexError\n    If an index is out of range, where values are known.",
)
def take_along_axis(x: Any, indices: Any, /, *, axis: int = -1) -> Any:
    """Select along an axis by integers of their own for each place beside it."""  # ops-45
    name = "take_along_axis"
    x = as_operand(name, x)
    xs = shape_of(x)
    place = normalize_axis(name, axis, xs)
    ks = shape_of(as_integers(name, "indices", indices))
    others = [(*shape[:place], *shape[place + 1 :]) for shape in (xs, ks)]
    if len(xs) != len(ks) or any(
        [a != b and 1 not in (a, b) for a, b in zip(*others, strict=False)]
    ):
        refuse(name, f"shapes beside axis {axis}", "ones that broadcast", f"{xs} and {ks}")
    indices = as_indices(name, "indices", indices, -xs[place], xs[place])
    often = are_met_often(x, [indices], [xs[place]])
    return _take_along_axis((x, indices), place, often)


def _is_class(count: int, axis: int, dtype: Any, x: Any) -> Any:
    wide = lookups.places(x, count, negative=False)
    classes = np.arange(count).reshape([-1 if a == axis else 1 for a in range(x.ndim + 1)])
    return (jnp.expand_dims(wide, axis) == classes.astype(wide.dtype)).astype(dtype)


_one_hot = Primitive(_is_class, "one_hot")


@listed(
    "x : Tensor or raw array of integers\nnum_classes : int\ndtype : dtype, optional\n"
    "    float32 by default.\naxis : int\n    The place of the classes in the result.",
    "the shape of x with an axis of `num_classes` more",
    "ValueError\n    If the axis is out of range, or `num_classes` negative.\n"
    "TypeError\n    If `x` holds no integers, or `num_classes` is no int.\n"
    "IndexError\n    If an index is out of range, where values are known.",
    "page of array_api_extra.one_hot",
)
def one_hot(x: Any, /, num_classes: int, *, dtype: Any = None, axis: int = -1) -> Any:
    """Return 1 at the class that an index names, and 0 at the others."""  # ops-46
    as_integers("one_hot", "x", x)
    count = check_int("one_hot", "num_classes", num_classes)
    if count < 0:
        refuse("one_hot", "num_classes", "at least 0", count)
    x = as_indices("one_hot", "x", x, 0, count, ", which is num_classes")
    place = normalize_axis("one_hot", axis, shape_of(x), extra=1)
    return _one_hot((x,), count, place, as_dtype("one_hot", dtype))


def getitem(x: Traced, key: Any) -> Any:
    """Select what NumPy selects with `key`.

    Parameters
    ----------
    x : Tensor
    key : int, slice, None, ..., bool mask, integer array, or a tuple of them
        Masks and integer arrays may be Tensors, raw arrays, NumPy arrays, lists or tuples.

    Raises
    ------
    IndexError
        If there are too many indices, one is out of range or no index, or index arrays do not
        broadcast.
    """
    keys, basic = plain_keys(key)
    if basic:
        starts, *static = window_of(unwrap(x).shape, keys)
        return _window((x, starts), *static)
    shape, arrays, template, masked, sizes = lookup_of(unwrap(x).shape, keys)
    x = x if shape == unwrap(x).shape else OPS.reshape(x, shape)
    # What a mask selects is selected once.
    often = False if masked else are_met_often(x, arrays, sizes)
    return _gather((x, *arrays), template, often)


_BASIC = frozenset([int, slice, type(None), type(Ellipsis)])


def plain_keys(key: Any) -> tuple[list[Any], bool]:
    """Return the parts of a key, each basic, an index array or a mask, and whether all are basic.

    What is no index raises `IndexError`, as in `window_of` and `lookup_of`.
    """
    given = key if isinstance(key, tuple) else (key,)
    keys = [k if type(k) in _BASIC else _plain(k) for k in given]
    return keys, all([type(k) in _BASIC for k in keys])


def _plain(key: Any) -> Any:
    """Return any key but those of `_BASIC` as one of them, or as an index array or mask."""
    if isinstance(key, Traced):
        key = unwrap(key)
    if isinstance(key, list | tuple | range):
        key = index_array(key)
    if isinstance(key, bool):
        key = np.asarray(key)
    if isinstance(key, np.ndarray | jax.Array | np.generic):
        code = np.dtype(key.dtype).kind
        if code not in "biu":
            msg = f"index: an index array must be of integers or booleans, got dtype {key.dtype}"
            raise IndexError(msg)
        traced = isinstance(key, jax.core.Tracer)
        if code == "b":
            check_one_value("index", key)
            if traced:
                msg = f"index: a mask must be known, got one of shape {key.shape} that is traced"
                raise IndexError(msg)
            return np.asarray(key)
        return int(key) if key.ndim == 0 and not traced else key
    try:
        return int(operator.index(key))
    except TypeError:
        msg = f"index: each must be an int, slice, None, ... or array, got {type(key).__name__}"
        raise IndexError(msg) from None


def index_array(key: Any) -> Any:
    """Return nested lists or tuples as one index array; they select nothing if empty."""
    raw = _raw(key)
    try:
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(raw)):
            with x64():
                return jnp.asarray(raw)
        array = np.asarray(raw)
    except ValueError:
        msg = "index: lists must be of equal lengths at each depth, got ragged ones"
        raise IndexError(msg) from None
    # NumPy takes a list of nothing for floats; an array that a list holds has a dtype of its own.
    return array if array.size or jax.tree.leaves(raw) else array.astype(np.int64)


def _raw(key: Any) -> Any:
    sequence = isinstance(key, list | tuple | range)
    return [_raw(item) for item in key] if sequence else unwrap(key)


def _expand(keys: Sequence[Any], shape: tuple[int, ...]) -> list[Any]:
    """Put slices where `...` stands and at the end, so that each axis has its own key."""
    used = 0
    for key in keys:
        if isinstance(key, np.ndarray) and key.dtype == bool:
            used += key.ndim
        elif key is not None and key is not Ellipsis:
            used += 1
    places = [i for i, key in enumerate(keys) if key is Ellipsis]
    if len(places) > 1:
        msg = f"index: ... must stand at most once, got {len(places)}"
        raise IndexError(msg)
    if used > len(shape):
        msg = f"index: at most {len(shape)} indices must stand for shape {shape}, got {used}"
        raise IndexError(msg)
    at = places[0] if places else len(keys)
    fill = [slice(None)] * (len(shape) - used)
    return [*keys[:at], *fill, *keys[at + 1 :]]


def _at(index: int, axis: int, shape: tuple[int, ...]) -> int:
    size = shape[axis]
    if not -size <= index < size:
        msg = f"index: {index} is out of range for axis {axis} of shape {shape}"
        raise IndexError(msg)
    return index % size


def window_of(shape: Shape, keys: Sequence[Any]) -> tuple[Any, Shape, Shape, Shape, Shape]:
    """Return the box that basic keys select, as arguments of `formulas.window`, starts first."""
    starts: list[int] = []
    sizes: list[int] = []
    strides: list[int] = []
    backwards: list[int] = []
    result: list[int] = []
    axis = 0
    for key in _expand(keys, shape):
        if key is None:
            result.append(1)
            continue
        if isinstance(key, int):
            starts.append(_at(key, axis, shape))
            sizes.append(1)
            strides.append(1)
        else:
            span = range(*key.indices(shape[axis]))
            if span.step < 0:
                backwards.append(axis)
                span = span[::-1]
            starts.append(span[0] if span else 0)
            sizes.append(span[-1] - span[0] + 1 if span else 0)
            strides.append(span.step)
            result.append(len(span))
        axis += 1
    return (
        # int64 where it has to be: inside code that a user compiles JAX may have no such dtype.
        np.asarray(starts, np.int32 if max(shape, default=0) < 2**31 else np.int64),
        tuple(sizes),
        tuple(strides),
        tuple(backwards),
        tuple(result),
    )


def lookup_of(
    shape: Shape, keys: Sequence[Any]
) -> tuple[Shape, list[Any], lookups.Template, bool, list[int]]:
    """Return how keys with arrays among them select.

    Returns
    -------
    shape : tuple of int
        That of the array, or one with axes of length 1 for masks without axes.
    arrays : list of integer array
    template : tuple
        That of `lookups.gather`.
    masked : bool
        Whether a mask made some of the arrays, so that nothing is selected twice.
    sizes : list of int
        The lengths of the axes that the arrays index.
    """
    template: list[tuple[str, Any]] = []
    arrays: list[Any] = []
    sizes: list[int] = []
    masked = False
    axis = 0
    for key in _expand(keys, shape):
        if key is None:
            template.append(("new", None))
            continue
        if isinstance(key, slice):
            template.append(("slice", (key.start, key.stop, key.step)))
            axis += 1
            continue
        if isinstance(key, np.ndarray) and key.dtype == bool:
            # How many are selected is known on the host alone.
            if key.shape != shape[axis : axis + key.ndim]:
                msg = (
                    f"index: a mask of shape {key.shape} does not fit axes {axis} to "
                    f"{axis + key.ndim} of shape {shape}"
                )
                raise IndexError(msg)
            if key.ndim == 0:
                # It selects all or nothing along an axis of its own.
                shape = (*shape[:axis], 1, *shape[axis:])
            masked = True
            selected = list(np.nonzero(np.atleast_1d(key)))
        else:
            selected = [np.asarray(key) if isinstance(key, int) else key]
        for index in selected:
            _check_range(index, axis, shape)
            template.append(("array", len(arrays)))
            arrays.append(widened(index))
            sizes.append(shape[axis])
            axis += 1
    if len(arrays) > 1:
        _check_index_shapes([array.shape for array in arrays])
    return shape, arrays, tuple(template), masked, sizes


def are_met_often(x: Any, indices: Sequence[Any], sizes: Sequence[int]) -> bool | None:
    """Tell whether a gradient of x may have to add many of one index; None if it is not known.

    Parameters
    ----------
    x : Tensor or raw array
    indices : sequence of integer array
        Along some axes of x; they broadcast and are within range, where they are known.
    sizes : sequence of int
        The lengths of these axes.
    """
    followed = isinstance(x, Traced) and x._requires_grad and MODE.enabled
    if not followed and not isinstance(unwrap(x), jax.core.Tracer):
        return False
    return stand_often(indices, sizes)


def stand_often(indices: Sequence[Any], sizes: Sequence[int]) -> bool | None:
    """Tell whether some of the indices stand there often; as `are_met_often`."""
    arrays = [unwrap(index) for index in indices]
    if len(arrays) > 1 and all([array.size <= lookups.FEW for array in arrays]):
        count = math.prod(np.broadcast_shapes(*[array.shape for array in arrays]))
    else:
        count = max([array.size for array in arrays])
    if count <= lookups.FEW:
        return False
    if any([isinstance(array, jax.core.Tracer) for array in arrays]):
        return None
    return _some_stand_often([np.asarray(array) for array in arrays], sizes)


def _some_stand_often(known: Sequence[Any], sizes: Sequence[int]) -> bool:
    if len(known) == 1:
        flat = known[0].reshape(-1) % sizes[0]
    else:
        broadcast = tuple(np.broadcast_arrays(*known))
        flat = np.ravel_multi_index(broadcast, tuple(sizes), mode="wrap").reshape(-1)
    if math.prod(sizes) <= 4 * len(flat):
        return bool(np.bincount(flat).max() > lookups.FEW)
    flat.sort()
    return bool((flat[lookups.FEW :] == flat[: -lookups.FEW]).any())


def _check_index_shapes(shapes: Sequence[tuple[int, ...]]) -> None:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        msg = f"index: index arrays of shapes {' and '.join(map(str, shapes))} do not broadcast"
        raise IndexError(msg) from None


def _check_range(index: Any, axis: int, shape: tuple[int, ...]) -> None:
    if isinstance(index, jax.core.Tracer) or index.size == 0:
        return
    values = np.asarray(index)
    # Without their sign negative ones are the greatest: one search where none is negative.
    if values.dtype == np.int64 and values.view(np.uint64).max() < shape[axis]:
        return
    _at(int(values.min()), axis, shape)
    _at(int(values.max()), axis, shape)


OPS.getitem = getitem
