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
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from impl_numpy.batched.levels import Level, NotKnown, Unknown, refuse
from impl_numpy.dtypes import Shape

FUNCTIONS: dict[Any, Callable[..., Any]] = {}
# What runs a method of a ufunc (`__call__`, `reduce`, ...), and `x[key]` and its assignment.
METHODS: dict[str, Callable[..., Any]] = {}
# What numpy.ndarray has and a slice has not in memory of its own.
_FOREIGN = frozenset(dir(np.ndarray))


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
            refuse("reshape with options")
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
        return METHODS["getitem"](self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        METHODS["setitem"](self, key, value)

    @property
    def __array_struct__(self) -> Any:
        refuse("the array")

    def __array__(self, *args: Any, **options: Any) -> Any:
        refuse("the array")

    def __bool__(self) -> bool:
        refuse("bool")

    def __float__(self) -> float:
        refuse("float")

    def __int__(self) -> int:
        refuse("int")

    def __complex__(self) -> complex:
        refuse("complex")

    def __index__(self) -> int:
        refuse("index")

    def item(self, *args: Any) -> Any:
        refuse("item")

    def tolist(self) -> Any:
        refuse("tolist")

    def __contains__(self, value: Any) -> bool:
        refuse("in")

    def __reduce_ex__(self, protocol: Any) -> Any:
        refuse("pickle")

    def __deepcopy__(self, memo: Any) -> Batched:
        return self.copy()

    def __copy__(self) -> Batched:
        return Batched(self.level, self.values)

    def __repr__(self) -> str:
        return f"<{self.level.size} slices of shape {self.shape} and dtype {self.dtype}>"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        if spec:
            refuse("format")
        return repr(self)

    def __getattr__(self, name: str) -> Any:
        if name in _FOREIGN:
            refuse(name)
        msg = f"'numpy.ndarray' object has no attribute '{name}'"
        raise AttributeError(msg)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        level = youngest([inputs, options])
        assert level is not None
        rule = METHODS.get(method)
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
                refuse(f"{func.__name__} into an array")
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


def youngest(items: Any) -> Level | None:
    """Return the youngest level of what is Batched in nested containers, also in Tensors there."""
    found: Level | None = None
    waiting = [items]
    # A container may hold itself.
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        kind = type(item)
        if kind is Batched:
            if found is None or item.level.age < found.age:
                found = item.level
        elif isinstance(item, (list, tuple, dict)):
            if id(item) not in seen:
                seen.add(id(item))
                waiting += item.values() if isinstance(item, dict) else item
        elif hasattr(kind, "_node"):
            waiting.append(item._data)
    return found


def is_batched(x: Any) -> bool:
    """Tell whether an array has slices."""
    return type(x) is Batched


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
        parts = [blank(x, level) for x in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else type(tree)(parts)
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
        refuse(name)
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
    if any([has(x, level) for x in arrays]):
        refuse("what runs slice by slice and takes from elsewhere what depends on one")
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


def shifted(axis: Any, ndim: int) -> Any:
    """Return axes of a slice as axes of all slices; None is all of them."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, (tuple, list)):
        return tuple([shifted(k, ndim) for k in axis])
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(axis, ndim)
    return axis % ndim + 1


def inside(x: Any, run: Callable[[Any], Any]) -> Any:
    """Return what is Batched as `run` makes it of the array of all slices."""
    return Batched(x.level, run(x.values))


def sliced_call(level: Level, function: Callable[..., Any], *args: Any) -> Any:
    """Do what `by_slices` does."""
    return by_slices(level, function, args)


def beneath(x: Any, level: Level, run: Callable[[Any, int], Any], inside: int = 0) -> Any:
    """Return what `run` makes of the array in which a level's slices are outermost.

    `run` also gets how many axes before it are those of younger levels.
    """
    if type(x) is Batched and x.level.age < level.age:
        return Batched(x.level, beneath(x.values, level, run, inside + 1))
    return run(x, inside)
