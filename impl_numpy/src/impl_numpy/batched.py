"""Batched: the arrays of all slices of a `vmap`, in one array with an axis before theirs.

To what computes with it it looks like the array of one slice: NumPy's functions and operators ask
it (`__array_ufunc__`, `__array_function__`: NEP 13 and 18), and it runs them for all slices at
once, by a rule that takes axes one further on, or slice by slice where there is none. What NumPy
does not ask about (its own indexing, `np.asarray`, a number's value) raises `Unknown`, so that who
called can do the same with what it was about to compute.

Levels nest: the array inside is again Batched where a slice of one `vmap` is cut by another. The
youngest is outermost.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from impl_numpy.dtypes import Array, Shape

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# Filled at the first `vmap` of the process: before that nobody need look for a Batched.
USED: list[None] = []
# What numpy.ndarray has and a slice has not in memory of its own.
_FOREIGN = frozenset(dir(np.ndarray))


class _Journals(threading.local):
    """For each call of a function made by `vmap` that a thread is in, what undoes its writes."""

    def __init__(self) -> None:
        self.open: list[list[Callable[[], None]]] = []


JOURNALS = _Journals()


def noted(undo: Callable[[], None]) -> None:
    """Note what undoes a write to a Module."""
    for journal in JOURNALS.open:
        journal.append(undo)


class NotKnown(RuntimeError):
    """Something asked for the values of a Tensor that depends on a slice (autograd-55)."""


class Unknown(NotKnown):
    """Something cannot run for all slices at once, and can for each."""


class Level:
    """One call of a function made by `vmap`.

    Parameters
    ----------
    size : int
        How many slices there are.
    age : int
        What orders it among nodes: what is older comes from outside.
    """

    __slots__ = ("active", "age", "size")

    def __init__(self, size: int, age: int) -> None:
        self.size = size
        self.age = age
        self.active = True


class _Flags:
    """What asks for contiguity finds none, and so goes the way that any array can go."""

    __slots__ = ("_of",)

    c_contiguous = f_contiguous = carray = owndata = contiguous = False

    def __init__(self, of: Batched) -> None:
        self._of = of

    @property
    def writeable(self) -> bool:
        return bool(self._of.values.flags.writeable)


class Batched(NDArrayOperatorsMixin):
    """The arrays of all slices.

    Parameters
    ----------
    level : Level
    values : numpy.ndarray or Batched of an older level, shape (slices, ...)
    """

    __slots__ = ("__weakref__", "level", "values")

    level: Level
    values: Any
    ndim: int
    dtype: np.dtype[Any]

    def __init__(self, level: Level, values: Any) -> None:
        self.level = level
        self.values = values if type(values) is Batched else np.asarray(values)

    # Whoever asks for its kind is told what it stands for; NumPy itself asks for the type.
    @property
    def __class__(self) -> Any:
        return np.ndarray

    @__class__.setter
    def __class__(self, value: Any) -> None:
        raise NotImplementedError

    @property
    def shape(self) -> Shape:
        """Return the shape of a slice."""
        found: Shape = self.values.shape[1:]
        return found

    @property  # type: ignore[no-redef]
    def ndim(self) -> int:
        """Return the number of axes of a slice."""
        return len(self.values.shape) - 1

    @property
    def size(self) -> int:
        """Return the number of elements of a slice."""
        return math.prod(self.values.shape[1:])

    @property  # type: ignore[no-redef]
    def dtype(self) -> np.dtype[Any]:
        """Return the dtype."""
        found: np.dtype[Any] = self.values.dtype
        return found

    @property
    def itemsize(self) -> int:
        return self.dtype.itemsize

    @property
    def nbytes(self) -> int:
        return self.size * self.itemsize

    @property
    def strides(self) -> Shape:
        return tuple(self.values.strides[1:])

    @property
    def base(self) -> Any:
        """Return whose memory this is (autograd-24)."""
        return self.values

    @property
    def flags(self) -> _Flags:
        return _Flags(self)

    @property
    def T(self) -> Any:
        return np.transpose(self)

    @property
    def mT(self) -> Any:
        return np.swapaxes(self, -1, -2)

    @property
    def real(self) -> Any:
        return Batched(self.level, self.values.real)

    @property
    def imag(self) -> Any:
        return Batched(self.level, self.values.imag)

    @property
    def device(self) -> str:
        return "cpu"

    def to_device(self, device: str, /, *, stream: Any = None) -> Batched:
        return self

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return np

    def setflags(self, write: bool = True) -> None:
        self.values.setflags(write)

    def view(self, *args: Any) -> Batched:
        return Batched(self.level, self.values.view(*args))

    def copy(self, order: Any = "C") -> Batched:
        return Batched(self.level, self.values.copy())

    def astype(self, dtype: Any, order: Any = "K", *args: Any, copy: bool = True) -> Batched:
        return Batched(self.level, self.values.astype(dtype, copy=copy))

    def reshape(self, *shape: Any, order: Any = "C", copy: bool | None = None) -> Any:
        if order != "C" or copy is not None:
            raise unknown("reshape with options")
        return np.reshape(self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Any:
        order = axes[0] if len(axes) == 1 else axes or None
        return np.transpose(self, order)

    def fill(self, value: Any) -> None:
        self[...] = value

    def flatten(self, order: Any = "C") -> Any:
        return self.reshape(-1).copy()

    def conj(self) -> Any:
        return np.conjugate(self)

    conjugate = conj

    def __len__(self) -> int:
        if not self.shape:
            msg = "len() of unsized object"
            raise TypeError(msg)
        return self.shape[0]

    def __iter__(self) -> Any:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        return chosen(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        assign(self, key, value)

    @property
    def __array_struct__(self) -> Any:
        raise unknown("the array")

    def __array__(self, *args: Any, **options: Any) -> Any:
        raise unknown("the array")

    def __bool__(self) -> bool:
        raise unknown("bool")

    def __float__(self) -> float:
        raise unknown("float")

    def __int__(self) -> int:
        raise unknown("int")

    def __complex__(self) -> complex:
        raise unknown("complex")

    def __index__(self) -> int:
        raise unknown("index")

    def item(self, *args: Any) -> Any:
        raise unknown("item")

    def tolist(self) -> Any:
        raise unknown("tolist")

    def __contains__(self, value: Any) -> bool:
        raise unknown("in")

    def __reduce_ex__(self, protocol: Any) -> Any:
        raise unknown("pickle")

    def __deepcopy__(self, memo: Any) -> Batched:
        return self.copy()

    def __copy__(self) -> Batched:
        return Batched(self.level, self.values)

    def __repr__(self) -> str:
        return f"<{self.level.size} slices of shape {self.shape} and dtype {self.dtype}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if spec:
            raise unknown("format")
        return repr(self)

    def __getattr__(self, name: str) -> Any:
        if name in _FOREIGN:
            raise unknown(name)
        msg = f"'numpy.ndarray' object has no attribute '{name}'"
        raise AttributeError(msg)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        level = youngest([inputs, options])
        assert level is not None
        rule = _METHODS.get(method)
        if method == "__call__" and ufunc.signature is not None:
            rule = FUNCTIONS.get(ufunc)
        if rule is None:
            return by_slices(level, getattr(ufunc, method), inputs, options)
        return rule(level, ufunc, *inputs, **options)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        level = youngest([args, kwargs])
        assert level is not None
        rule = FUNCTIONS.get(func)
        if rule is not None:
            found = rule(level, *args, **kwargs)
            if found is not NotImplemented:
                return found

        def run(*args: Any, **kwargs: Any) -> Any:
            result = func(*args, **kwargs)
            if any([result is x for x in args]):
                raise unknown(f"{func.__name__} into an array")
            return result

        run.__name__ = func.__name__
        return by_slices(level, run, args, kwargs)


def _method(name: str) -> Callable[..., Any]:
    def call(self: Batched, *args: Any, **options: Any) -> Any:
        return getattr(np, name)(self, *args, **options)

    call.__name__ = name
    return call


for _name in (
    "sum prod mean std var max min any all argmax argmin argsort cumsum cumprod ravel swapaxes "
    "squeeze take repeat clip dot trace diagonal round nonzero searchsorted"
).split():
    setattr(Batched, _name, _method(_name))


def unknown(what: str) -> Unknown:
    """Return what is raised where the values of a slice are asked for."""
    return Unknown(
        f"vmap: {what} wants values, and under vmap a Tensor that depends on a slice has not one "
        "value; compute with functions of ops, or outside vmap"
    )


def youngest(items: Any) -> Level | None:
    """Return the youngest level of what is Batched in nested containers."""
    found: Level | None = None
    waiting = [items]
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is Batched:
            if found is None or item.level.age < found.age:
                found = item.level
        elif isinstance(item, (list, tuple)):
            waiting += item
        elif kind is dict:
            waiting += item.values()
    return found


def has(x: Any, level: Level) -> bool:
    """Tell whether an array has the slices of this level outermost."""
    return type(x) is Batched and x.level is level


def asarray(x: Any) -> Any:
    """Return an array for one of NumPy's scalars, and arrays as they are."""
    return x if type(x) is Batched else np.asarray(x)


def contiguous(x: Any) -> Any:
    """Return an array whose elements lie in order, where that can be said."""
    return x if type(x) is Batched else np.ascontiguousarray(x)


def every(x: Any) -> Any:
    """Return the values in all slices, for a check of them."""
    while type(x) is Batched:
        x = x.values
    return x


def aligned(x: Any, level: Level, ndim: int) -> Any:
    """Return an operand with the slices' axis before `ndim` others, to broadcast with its like."""
    if not has(x, level):
        return x
    values = x.values
    missing = ndim - (len(values.shape) - 1)
    if missing <= 0:
        return values
    return values.reshape((values.shape[0], *(1,) * missing, *values.shape[1:]))


def full(x: Any, level: Level, shape: Shape | None = None) -> Any:
    """Return an array with one slice for each of the level, broadcast to a shape."""
    x = asarray(x)
    of = x.shape if shape is None else shape
    values = aligned(x, level, len(of))
    return np.broadcast_to(values, (level.size, *of))


def sliced(tree: Any, level: Level, k: int) -> Any:
    """Return slice k of all arrays in nested containers."""
    if type(tree) is Batched:
        return tree.values[k, ...] if tree.level is level else tree
    if isinstance(tree, tuple):
        parts = [sliced(x, level, k) for x in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if isinstance(tree, list):
        return [sliced(x, level, k) for x in tree]
    if type(tree) is dict:
        return {key: sliced(x, level, k) for key, x in tree.items()}
    return tree


def blank(tree: Any, level: Level) -> Any:
    """Return a slice of ones, where there is none."""
    if type(tree) is Batched:
        return np.ones(tree.shape, tree.dtype) if tree.level is level else tree
    if isinstance(tree, (list, tuple)):
        return type(tree)([blank(x, level) for x in tree])
    if type(tree) is dict:
        return {key: blank(x, level) for key, x in tree.items()}
    return tree


def by_slices(
    level: Level, function: Callable[..., Any], args: Any, options: dict[str, Any] | None = None
) -> Any:
    """Call a function of arrays for each slice, and stack what it gives.

    Raises
    ------
    NotKnown
        If the shapes differ from slice to slice.
    """
    options = options or {}
    name = getattr(function, "__name__", "")
    if name in _BY_VALUES or "out" in options:
        raise unknown(name)
    if not level.size:
        one = _one(function, blank(args, level), blank(options, level))
        return _nothing(level, one)
    return stacked(
        level,
        [
            _one(function, sliced(args, level, k), sliced(options, level, k))
            for k in range(level.size)
        ],
    )


def _one(function: Callable[..., Any], args: Any, options: dict[str, Any]) -> Any:
    """Call a function for one slice, which may be cut by an older level."""
    try:
        return function(*args, **options)
    except Unknown:
        level = youngest([args, options])
        if level is None:
            raise
        return by_slices(level, function, args, options)


# Functions whose results have a shape that depends on values, or write into what they get.
_BY_VALUES = frozenset(
    "nonzero flatnonzero argwhere unique unique_all unique_counts unique_inverse unique_values "
    "extract compress repeat bincount trim_zeros place putmask put put_along_axis at copyto "
    "fill_diagonal array_equal allclose array_equiv union1d intersect1d setdiff1d".split()
)


def stacked(level: Level, results: list[Any]) -> Any:
    """Return what the slices gave, stacked; in tuples and lists part by part."""
    first = results[0]
    if isinstance(first, (tuple, list)):
        parts = [stacked(level, list(part)) for part in zip(*results, strict=True)]
        return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)
    if first is None:
        return None
    arrays = [asarray(x) for x in results]
    if any(x.shape != arrays[0].shape for x in arrays):
        shapes = sorted({x.shape for x in arrays})
        msg = f"vmap: the shape depends on the values of a slice: {shapes}"
        raise NotKnown(msg)
    return Batched(level, np.stack(arrays))


def _nothing(level: Level, one: Any) -> Any:
    if isinstance(one, (tuple, list)):
        parts = [_nothing(level, x) for x in one]
        return type(one)(*parts) if hasattr(one, "_fields") else type(one)(parts)
    if one is None:
        return None
    array = asarray(one)
    return Batched(level, np.empty((0, *array.shape), array.dtype))


def _outputs(level: Level, out: Any) -> Any:
    """Return where a ufunc writes, as arrays of all slices."""
    places = []
    for x in out:
        if x is not None and not has(x, level):
            raise unknown("writing into an array that no slice has")
        places.append(None if x is None else x.values)
    return tuple(places)


def _call(level: Level, ufunc: Any, *inputs: Any, **options: Any) -> Any:
    out = options.pop("out", None)
    others = [*inputs, *(out or ()), options.get("where")]
    ndim = max([x.ndim for x in others if isinstance(x, (np.ndarray, np.generic))])
    if out is not None:
        options["out"] = _outputs(level, out)
    if "where" in options:
        options["where"] = aligned(options["where"], level, ndim)
    result = ufunc(*[aligned(x, level, ndim) for x in inputs], **options)
    if out is not None:
        return out[0] if len(out) == 1 else out
    if type(result) is tuple:
        return tuple([Batched(level, x) for x in result])
    return Batched(level, result)


def shifted(axis: Any, ndim: int) -> Any:
    """Return axes of a slice as axes of all slices; None is all of them."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, (tuple, list)):
        return tuple([shifted(k, ndim) for k in axis])
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim + 1


def _reduce(level: Level, ufunc: Any, x: Any, axis: Any = 0, *args: Any, **options: Any) -> Any:
    if args or not has(x, level):
        return by_slices(level, ufunc.reduce, (x, axis, *args), options)
    if "where" in options:
        options["where"] = aligned(options["where"], level, x.ndim)
    out = options.pop("out", None)
    if out is not None and out[0] is not None:
        options["out"] = _outputs(level, out)
    return Batched(level, ufunc.reduce(x.values, axis=shifted(axis, x.ndim), **options))


def _accumulate(level: Level, ufunc: Any, x: Any, axis: int = 0, *args: Any, **options: Any) -> Any:
    out = options.pop("out", None)
    if args or (out is not None and out[0] is not None):
        raise unknown(f"{ufunc.__name__}.accumulate into an array")
    return Batched(level, ufunc.accumulate(x.values, axis=shifted(axis, x.ndim), **options))


def _at(level: Level, ufunc: Any, x: Any, *args: Any) -> None:
    if not has(x, level):
        raise unknown(f"{ufunc.__name__}.at")
    for k in range(level.size):
        ufunc.at(x.values[k, ...], *sliced(args, level, k))


_METHODS = {"__call__": _call, "reduce": _reduce, "accumulate": _accumulate, "at": _at}


def chosen(x: Any, key: Any) -> Any:
    """Return `x[key]`, of an array and an index of which either may depend on a slice."""
    level = youngest([x, key]) if USED else None
    if level is None:
        return x[key]
    shape = x.shape
    place, sources, targets = lifted(key, shape, level)
    values = x.values if has(x, level) else np.broadcast_to(x, (level.size, *shape))
    return Batched(level, np.moveaxis(asarray(chosen(values, place)), sources, targets))


def assign(x: Any, key: Any, value: Any) -> None:
    """Do `x[key] = value`, all of which may depend on a slice."""
    level = youngest([x, key, value]) if USED else None
    if level is None:
        x[key] = value
        return
    if not has(x, level):
        raise unknown("writing into an array that no slice has")
    if type(key) is Batched and key.dtype == np.bool and np.ndim(value) == 0:
        mask = key[(..., *(None,) * (x.ndim - key.ndim))]
        np.copyto(x, value, where=mask)
        return
    place, sources, targets = lifted(key, x.shape, level)
    ndim = len(np.moveaxis(_shape_of(x.values.shape, place), sources, targets).shape) - 1
    given = asarray(value)
    if given.ndim > ndim:
        given = given.reshape(given.shape[given.ndim - ndim :])
    held = aligned(given, level, ndim) if has(given, level) else given
    if held.ndim == ndim + 1 and has(given, level):
        held = np.moveaxis(held, targets, sources)
    elif not _is_first(sources):
        held = np.moveaxis(full(given, level, (1,) * (ndim - given.ndim) + given.shape), 0, 0)
        held = np.moveaxis(held, targets, sources)
    assign(x.values, place, held)


def _is_first(sources: Any) -> bool:
    return sources in (0, ())


def _shape_of(shape: Shape, key: Any) -> Array:
    """Return an array of the shape that an index selects; it holds no memory."""
    selected = chosen(np.broadcast_to(np.False_, shape), key)
    return np.broadcast_to(np.False_, selected.shape)


def lifted(key: Any, shape: Shape, level: Level) -> tuple[Any, Any, Any]:
    """Return an index into the arrays of all slices, for one into the array of each.

    Parameters
    ----------
    key : index
        What depends on a slice is of integers, and stands with others of its kind after slices.
    shape : tuple of int
        That of a slice.
    level : Level

    Returns
    -------
    key : index
    sources, targets : int or tuple of int
        What `np.moveaxis` does to the selected, so that the slices come first.
    """
    parts = list(key) if type(key) is tuple else [key]
    if not any([has(k, level) for k in parts]):
        place = (slice(None), *parts)
        if all([k is None or k is Ellipsis or type(k) in (int, slice) for k in parts]):
            return place, 0, 0
        if youngest(parts) is not None:
            return (place, 0, 0) if not isinstance(parts[0], slice) else _refused()
        one, none = (np.broadcast_to(np.False_, (n, *shape))[place].shape for n in (1, 0))
        axis = next(k for k, (a, b) in enumerate(zip(one, none, strict=True)) if a != b)
        return place, axis, 0
    parts = _spelled_out(parts, len(shape))
    advanced = [at for at, k in enumerate(parts) if not (k is None or isinstance(k, slice))]
    ndim = max([np.ndim(parts[at]) for at in advanced])
    _check_range(parts, shape)
    rows = np.arange(level.size).reshape((level.size, *(1,) * ndim))
    place = (
        rows,
        *[aligned(k, level, ndim) if at in advanced else k for at, k in enumerate(parts)],
    )
    lead, last = advanced[0], advanced[-1]
    if not lead or last - lead + 1 != len(advanced):
        # NumPy puts what is selected first, as it does with that of a slice.
        return place, (), ()
    axes = range(1, 1 + ndim)
    return place, tuple(axes), tuple([k + lead for k in axes])


def _spelled_out(parts: list[Any], ndim: int) -> list[Any]:
    """Return an index with slices for an ellipsis, and integers for masks."""
    found: list[Any] = []
    for k in parts:
        if isinstance(k, (bool, np.bool)) or (type(k) is Batched and k.dtype == np.bool):
            _refused()
        if isinstance(k, np.ndarray) and k.dtype == np.bool:
            if not k.ndim:
                _refused()
            found += np.nonzero(k)
        else:
            found.append(k)
    used = len([k for k in found if k is not None and k is not Ellipsis])
    at = next((at for at, k in enumerate(found) if k is Ellipsis), None)
    if at is not None:
        found[at : at + 1] = [slice(None)] * (ndim - used)
    return found


def _check_range(parts: Iterable[Any], shape: Shape) -> None:
    """Raise IndexError as for a slice, whose axes have other numbers."""
    axis = 0
    for k in parts:
        if k is None:
            continue
        if axis >= len(shape):
            msg = f"too many indices for array: array is {len(shape)}-dimensional"
            raise IndexError(msg)
        if not isinstance(k, slice):
            values, n = np.asarray(every(k)), shape[axis]
            outside = values[(values < -n) | (values >= n)]
            if outside.size:
                msg = f"index {outside.flat[0]} is out of bounds for axis {axis} with size {n}"
                raise IndexError(msg)
        axis += 1


def _refused() -> Any:
    raise unknown("this index")


def beneath(x: Any, level: Level, run: Callable[[Any, int], Any], inside: int = 0) -> Any:
    """Return what `run` makes of the array in which a level's slices are outermost.

    `run` also gets how many axes before it are those of younger levels.
    """
    if type(x) is Batched and x.level.age < level.age:
        return Batched(x.level, beneath(x.values, level, run, inside + 1))
    return run(x, inside)
