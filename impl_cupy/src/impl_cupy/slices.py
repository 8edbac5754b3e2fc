"""Tensors under `vmap`: one slice to see, all of them inside.

Under `vmap` a Tensor that depends on a slice has `Slices` in the place of its raw array: the shape
and dtype of one slice, and inside them an array with all slices along a hidden first axis, which
may have `Slices` itself where one `vmap` runs in another. Its place in the graph is that of the
array with every hidden axis: there is one tape, and nothing on it knows of slices. So gradients,
those that are taken within too, go back through plain nodes.

A function of `ops` hands what it gets to `mapped_call` where a `vmap` is at work in any thread.
That treats the innermost level, by the function's rule: the same function, or another, of the
Tensors without that level's hidden axis, which may have further ones. What has no rule is called
for each slice, and the results are stacked (`by_slices`).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.memory import RawArray
from impl_cupy.random import DrawnAgain, mark
from impl_cupy.tape import Recorded, Recording, at_edge, edge_of, handles, state, vmapped, wrap

Levels: TypeAlias = "tuple[tuple[int, int], ...]"
"""The calls of `vmap` that are at work in a thread, each with its level and how many slices."""
Rule: TypeAlias = "Callable[[Callable[..., Any], tuple[Any, ...], dict[str, Any], int], Any]"

rules: dict[str, Rule] = {}
"""By a function's name, what it does with slices: ``rule(function, args, kwargs, level)`` gives its
results with the hidden axis of that level in sight, or NotImplemented."""

plain: set[str] = set()
"""Functions that ask for shapes and dtypes alone."""

by_shape: set[str] = set()
"""Functions whose result depends on the shape and dtype of a slice, and on none of its values."""


def rule(names: str) -> Callable[[Rule], Rule]:
    """Enter a rule for functions of these names."""

    def enter(made: Rule) -> Rule:
        for name in names.split():
            rules[name] = made
        return made

    return enter


class WriteRefused(RuntimeError):
    """A value that depends on a slice would be written to what is outside (autograd-56)."""


class Slices:
    """What stands in the place of a raw array where a Tensor depends on a slice.

    Attributes
    ----------
    inside : raw array or Slices
        Of the shape of a slice behind a first axis.
    level : int
        How many calls of `vmap` are around, with the one that cut these slices.
    """

    __slots__ = ("inside", "level")

    def __init__(self, inside: Any, level: int) -> None:
        self.inside = inside
        self.level = level

    @property
    def shape(self) -> tuple[int, ...]:
        """That of a slice."""
        shape: tuple[int, ...] = self.inside.shape[1:]
        return shape

    @property
    def ndim(self) -> int:
        """That of a slice."""
        return len(self.inside.shape) - 1

    @property
    def size(self) -> int:
        """That of a slice."""
        return int(np.prod(self.inside.shape[1:], dtype=np.int64))

    @property
    def dtype(self) -> np.dtype[Any]:
        """That of the array inside."""
        dtype: np.dtype[Any] = self.inside.dtype
        return dtype

    @property
    def base(self) -> RawArray:
        """The array that has the memory."""
        raw = self.inside
        return raw if raw.base is None else raw.base

    def copy(self) -> Slices:
        """Copy the array inside."""
        return Slices(self.inside.copy(), self.level)

    @property
    def device(self) -> Any:
        """That of the array inside."""
        return self.inside.device

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return refuse_value(name)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return refuse_value("numpy")

    def __setitem__(self, key: Any, values: Any) -> None:
        refuse_write("a write in place")

    def __getitem__(self, key: Any) -> Any:
        return refuse_value("an array")

    def __bool__(self) -> bool:
        return refuse_value("bool")

    def __eq__(self, other: object) -> bool:
        return self is other

    __hash__ = object.__hash__


def refuse_value(operation: str) -> NoReturn:
    """Raise the error for what asks for the value of a slice (autograd-55).

    Raises
    ------
    RuntimeError
        That names the operation and `vmap`.
    """
    msg = (
        f"{operation}: under vmap a Tensor that depends on a slice has not one value; compute with "
        "ops, ops.where say, or read it outside"
    )
    raise RuntimeError(msg)


def refuse_write(operation: str) -> NoReturn:
    """Raise the error for what would keep a slice outside of `vmap` (autograd-56).

    Raises
    ------
    WriteRefused
        That names the operation and `vmap`.
    """
    msg = (
        f"{operation}: vmap writes no value that depends on a slice to what is outside; return it "
        "from the function instead"
    )
    raise WriteRefused(msg)


def is_mapped(value: Any) -> bool:
    """Tell whether something is a Tensor that depends on a slice."""
    return isinstance(value, Recorded) and type(value._data) is Slices


class Within:
    """Context manager in which this thread runs under some levels of `vmap`; used once."""

    __slots__ = ("_before", "_levels")

    def __init__(self, levels: Levels) -> None:
        self._levels = levels

    def __enter__(self) -> None:
        self._before = state.levels
        state.levels = self._levels
        if self._levels:
            vmapped.append(None)

    def __exit__(self, *_: object) -> None:
        if self._levels:
            vmapped.pop()
        state.levels = self._before


class Undo:
    """Context manager that notes what a thread writes to Modules and Tensors; used once."""

    __slots__ = ("_before", "writes")

    def __enter__(self) -> Undo:
        self._before = state.writes
        self.writes: list[tuple[Any, Any, Any, Any]] = []
        state.writes = self.writes
        return self

    def __exit__(self, *_: object) -> None:
        state.writes = self._before
        if self._before is not None:
            self._before += self.writes

    def run(self) -> None:
        """Take back what was written, the last first, where nobody has written since."""
        for entries, key, old, new in reversed(self.writes):
            if isinstance(entries, Recorded):
                if entries._data is new:
                    entries._data = old
            elif entries.get(key) is new:
                entries[key] = old
        self.writes.clear()


def parts_of(structure: Any) -> Iterator[Any]:
    """Iterate over what hangs in dicts, lists and tuples."""
    if isinstance(structure, dict):
        structure = tuple(structure.values())
    if isinstance(structure, (list, tuple)):
        for part in structure:
            yield from parts_of(part)
    elif isinstance(structure, slice):
        yield from (structure.start, structure.stop, structure.step)
    else:
        yield structure


def over(function: Callable[[Any], Any], structure: Any) -> Any:
    """Make a structure like this one with `function` of what hangs in it."""
    if isinstance(structure, dict):
        return {key: over(function, part) for key, part in structure.items()}
    if isinstance(structure, (list, tuple)):
        made = [over(function, part) for part in structure]
        if hasattr(structure, "_fields"):
            return type(structure)(*made)
        return made if isinstance(structure, list) else tuple(made)
    return function(structure)


def deepest(*structures: Any) -> int:
    """Return the innermost level that something in some structures depends on, else 0."""
    found = 0
    for part in parts_of(structures):
        if isinstance(part, Recorded) and type(part._data) is Slices:
            found = max(found, part._data.level)
    return found


def lower(value: Any, level: int) -> Any:
    """Return a Tensor with the hidden axis of a level in sight; anything else as it is."""
    if is_mapped(value) and value._data.level == level:
        made = object.__new__(handles.Tensor)
        made._data, made._node = value._data.inside, value._node
        made._index, made._requires_grad = value._index, value._requires_grad
        return made
    return value


def lift(value: Any, level: int) -> Any:
    """Hide the first axis of a Tensor, as that of a level; anything else stays as it is."""
    if not isinstance(value, Recorded):
        return value
    edge = edge_of(value)
    data = Slices(value._data, level)
    return wrap(data) if edge is None else at_edge(data, edge)


def has_level(value: Any, level: int) -> bool:
    """Tell whether a Tensor depends on the slices of a level, where it is the innermost."""
    return is_mapped(value) and value._data.level == level


def levels_of(value: Any) -> tuple[int, ...]:
    """List the levels that a Tensor depends on, the outermost first."""
    found = []
    data = value._data if isinstance(value, Recorded) else value
    while type(data) is Slices:
        found.append(data.level)
        data = data.inside
    return tuple(reversed(found))


def counted_levels(value: Any) -> Levels:
    """List the levels that a Tensor depends on, each with how many slices."""
    found = []
    data = value._data
    while type(data) is Slices:
        found.append((data.level, data.inside.shape[0]))
        data = data.inside
    return tuple(reversed(found))


def stripped(value: Any) -> Any:
    """Return a Tensor with all its hidden axes in sight."""
    while is_mapped(value):
        value = lower(value, value._data.level)
    return value


def dressed(value: Any, levels: Sequence[int]) -> Any:
    """Hide the first axes of a Tensor, as those of some levels, the outermost first."""
    return wrap_or_edge(value, hidden(value._data, levels)) if levels else value


def hidden(raw: RawArray, levels: Sequence[int]) -> Any:
    """Hide the first axes of a raw array."""
    for level in levels:
        raw = Slices(raw, level)
    return raw


def wrap_or_edge(value: Any, data: Any) -> Any:
    """Return other data with a Tensor's place in the graph."""
    edge = edge_of(value)
    return wrap(data) if edge is None else at_edge(data, edge)


def full_like(value: Any, number: float) -> Any:
    """Return a Tensor's data, of all slices, with one number everywhere."""
    levels = levels_of(value)
    raw = stripped(value)._data
    return hidden(cp.full(raw.shape, number, dtype=raw.dtype), levels)


def spread(value: Any, levels: Levels) -> Any:
    """Let a Tensor depend on the slices of all of some levels, by repeating it; recorded."""
    if not levels:
        return value
    (level, count), others = levels[-1], levels[:-1]
    if has_level(value, level):
        return lift(spread(lower(value, level), others), level)
    wide = spread(value, others)
    return lift(handles.broadcast_to(wide, (count, *wide.shape)), level)


def count_of(structure: Any, level: int) -> int:
    """Return how many slices a level has."""
    for part in parts_of(structure):
        if has_level(part, level):
            count: int = part._data.inside.shape[0]
            return count
    return 0


def mapped_call(
    name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Call a function where a `vmap` is at work.

    Returns
    -------
    object
        NotImplemented where no argument depends on a slice, so that this is a plain call.
    """
    level = deepest(args, kwargs)
    if not level or name in plain:
        return NotImplemented
    if name in by_shape:
        return function(*over(_of_shape, args), **over(_of_shape, kwargs))
    known = rules.get(name)
    if known is not None:
        result = known(function, args, kwargs, level)
        if result is not NotImplemented:
            return over(lambda part: lift(part, level), result)
    return by_slices(function, args, kwargs, level)


def _of_shape(value: Any) -> Any:
    """Return a Tensor of the shape of a slice that depends on none."""
    if not is_mapped(value):
        return value
    return wrap(cp.broadcast_to(cp.zeros((), dtype=value.dtype), value.shape))


def by_slices(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], level: int
) -> Any:
    """Call a function for each slice of a level, each with the same draws, and stack its results.

    What comes without being a Tensor is the first call's.
    """
    count = count_of((args, kwargs), level)
    if count == 0:
        return _without_slices(function, args, kwargs, level)
    start, again = mark(), None
    results = []
    with Within(tuple(each for each in state.levels if each[0] != level)):
        for place in range(count):
            given, options = _cut((args, kwargs), level, place)
            with DrawnAgain(again):
                results.append(function(*given, **options))
            if place == 0 and mark() != start:
                again = start
    return stacked(results, level)


elementwise = frozenset("cast astype mse_loss l1_loss huber_loss smooth_l1_loss".split())
"""What is computed element by element of operands of one shape, and is no function of `ops`."""


def record_slices(
    record: Callable[..., Any],
    operation: tuple[Any, ...],
    operands: tuple[Any, ...],
    kept: dict[str, Any],
    level: int,
) -> Any:
    """Record an operation, its name, function and rule, where an operand depends on a slice."""

    def again(*given: Any) -> Any:
        return record(*operation, given, **kept)

    if operation[0] not in elementwise:
        return by_slices(again, operands, {}, level)
    innermost = ((level, count_of(operands, level)),)
    wide = [spread(v, innermost) if isinstance(v, Recorded) else v for v in operands]
    return lift(again(*[lower(value, level) for value in wide]), level)


def in_one_batch(function: Callable[..., Any], x: Any, *others: Any) -> Any:
    """Take slices (N, *) as samples of one batch, where nothing else depends on them.

    ``function(x, *others)`` gives one Tensor, or several, with an axis of the samples in front.
    """
    level = deepest(x, others)
    if deepest(others) == level:
        return by_slices(function, (x, *others), {}, level)
    wide = lower(x, level)
    lead = wide.shape[:2]

    def apart(part: Any) -> Any:
        return lift(handles.reshape(part, (*lead, *part.shape[1:])), level)

    samples = handles.reshape(wide, (lead[0] * lead[1], *wide.shape[2:]))
    return over(apart, function(samples, *others))


def one_by_one(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let a function run once for each slice under `vmap`, so that it checks values as ever."""

    @functools.wraps(function)
    def called(*args: Any, **kwargs: Any) -> Any:
        if vmapped and (level := deepest(args, kwargs)):
            return by_slices(called, args, kwargs, level)
        return function(*args, **kwargs)

    return called


def _cut(structure: Any, level: int, place: int) -> Any:
    def cut(part: Any) -> Any:
        return handles.getitem(lower(part, level), place) if has_level(part, level) else part

    return over(cut, structure)


def stacked(results: Sequence[Any], level: int) -> Any:
    """Stack results of one form, and hide the new axis."""
    leaves = [list(parts_of(result)) for result in results]
    joined = iter(
        [
            lift(handles.stack(list(parts), axis=0), level)
            if isinstance(parts[0], Recorded)
            else parts[0]
            for parts in zip(*leaves, strict=True)
        ]
    )
    return over(lambda _: next(joined), results[0])


def _without_slices(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], level: int
) -> Any:
    """Ask for the shapes of the results with zeros, and return no slices of those."""

    def nothing(part: Any) -> Any:
        if not has_level(part, level):
            return part
        wide = lower(part, level)
        # A sum over no slices has the wanted shape, and leads to what is not cut.
        with Recording(False):
            return handles.astype(handles.sum(wide, axis=0), wide.dtype)

    given, options = over(nothing, (args, kwargs))
    result = function(*given, **options)

    def none_of(part: Any) -> Any:
        if not isinstance(part, Recorded):
            return part
        return lift(handles.getitem(handles.expand_dims(part, axis=0), slice(0, 0)), level)

    return over(none_of, result)
