"""Which arrays others can write, and when something was written in place.

A node keeps raw arrays, and memory can change behind its back. Three things see to it that a
gradient is never that of a later value (autograd-24). Memory that somebody outside holds and may
write at any time is *lent*, and a node keeps a copy of it (`tape.keep`). Memory that is handed out
when a node may have it already is copied then, and compared when that node's turn comes. What this
package writes itself is noted (`note_change`). `clock` counts these events; a node's `age` is the
count when it was made, so that a node younger than the last event has nothing to check.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from sys import getrefcount
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias
from weakref import ref

import numpy as np

from impl_cupy.backend import cp

RawArray: TypeAlias = Any
"""A `cupy.ndarray`."""


class _Watch:
    """What is known of the memory of one array.

    Attributes
    ----------
    owner : weak reference to the array that owns the memory
    changed : int
        When this package wrote it last, or found it written; -1 if never.
    snapshot, copied : cupy.ndarray or None, int
        What it held when it was handed out last while somebody had it, and when that was.
    shape : tuple of int
        That of the Tensor it was written or handed out by.
    """

    __slots__ = ("changed", "copied", "owner", "shape", "snapshot")

    def __init__(self, owner: RawArray, shape: tuple[int, ...]) -> None:
        key = id(owner)
        self.owner = ref(owner, lambda _: _watched.pop(key, None))
        self.changed = self.copied = -1
        self.snapshot: RawArray = None
        self.shape = shape


clock = SimpleNamespace(now=0)
"""Counts the events after which an older node has to look at what it saved."""

lent: dict[int, Any] = {}
"""Weak references to the owners of memory that somebody outside may write, by the owners' id."""

_watched: dict[int, _Watch] = {}

# What getrefcount says of an array that one Tensor, or one container, alone holds.
ALONE = 2


def owner_of(raw: RawArray) -> RawArray:
    """Return the array that has an array's memory: itself where it is no view."""
    return raw if raw.base is None else raw.base


def lend(raw: RawArray) -> None:
    """Note that somebody outside has an array and may write it from now on."""
    owner = owner_of(raw)
    key = id(owner)
    if key not in lent:
        lent[key] = ref(owner, lambda _: lent.pop(key, None))


def lend_data(tensor: Any) -> RawArray:
    """Return a Tensor's array for somebody outside."""
    is_alone = getrefcount(tensor._data) <= ALONE and tensor._data.base is None
    raw = tensor._data
    if is_alone:
        _watched.pop(id(raw), None)
    else:
        _take_snapshot(raw)
    lend(raw)
    return raw


def _take_snapshot(raw: RawArray) -> None:
    """Copy memory that a node may have, for a comparison when that node's turn comes."""
    owner = owner_of(raw)
    watch = _watch(owner, raw.shape)
    if watch.snapshot is not None and _differs(owner, watch.snapshot):
        clock.now += 1
        watch.changed, watch.snapshot = clock.now, None
    if watch.snapshot is None:
        watch.snapshot = owner.copy()
    clock.now += 1
    watch.copied = clock.now


def _watch(owner: RawArray, shape: tuple[int, ...]) -> _Watch:
    watch = _watched.get(id(owner))
    if watch is None:
        watch = _watched[id(owner)] = _Watch(owner, shape)
    watch.shape = shape
    return watch


def _differs(now: RawArray, before: RawArray) -> bool:
    """Tell whether two arrays differ in any bit, NaN being equal to itself."""
    bits = f"u{min(now.dtype.itemsize, 8)}"
    now, before = now.copy().reshape(-1), before.reshape(-1)
    return bool(cp.any(now.view(bits) != before.view(bits)))


def note_change(tensor: Any) -> None:
    """Note that this package is about to write a Tensor's memory."""
    is_alone = getrefcount(tensor._data) <= ALONE and tensor._data.base is None
    raw = tensor._data
    if is_alone:
        # No node has it, and nobody outside.
        lent.pop(id(raw), None)
        _watched.pop(id(raw), None)
        return
    watch = _watch(owner_of(raw), raw.shape)
    clock.now += 1
    watch.changed, watch.snapshot = clock.now, None


def is_held(container: Any, place: Any) -> bool:
    """Tell whether anything but this container holds an array in it, or its memory."""
    return container[place].base is not None or getrefcount(container[place]) > ALONE


def arrays_in(value: Any) -> Iterator[RawArray]:
    """Iterate over the arrays, raw and NumPy's, in tuples, lists and dicts, nested."""
    waiting, seen = [value], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, (cp.ndarray, np.ndarray)):
            yield part
        elif isinstance(part, (tuple, list, dict)) and id(part) not in seen:
            seen.add(id(part))
            waiting.extend(part.values() if isinstance(part, dict) else part)


def check_unchanged(name: str, age: int, saved: Any) -> None:
    """Refuse a gradient where what a node saved has been written since (autograd-24).

    Raises
    ------
    RuntimeError
        That names the operation and the shape of the Tensor.
    """
    for array in arrays_in(saved):
        if not isinstance(array, cp.ndarray):
            continue
        owner = owner_of(array)
        watch = _watched.get(id(owner))
        if watch is None:
            continue
        was_written = watch.changed > age
        if not was_written and watch.snapshot is not None and watch.copied > age:
            was_written = _differs(owner, watch.snapshot)
        if was_written:
            refuse_changed(name, watch.shape)


def refuse_changed(name: str, shape: tuple[int, ...]) -> NoReturn:
    """Raise the error for a Tensor that was changed between an operation and its backward.

    Raises
    ------
    RuntimeError
        That names the operation and the Tensor's shape.
    """
    msg = (
        f"backward: {name} needs a Tensor of shape {shape} as it was then, but it was changed "
        "since; call backward before the change, or compute the result anew"
    )
    raise RuntimeError(msg)


class Reading:
    """Context manager that notes the arrays from elsewhere that this thread reads; used once."""

    __slots__ = ("_outer", "made", "read")

    def __enter__(self) -> Reading:
        # Weak references by id: what is forgotten meanwhile came from nowhere else.
        self.read, self.made = dict[int, Any](), dict[int, Any]()
        self._outer = readers.get(threading.get_ident())
        readers[threading.get_ident()] = self
        return self

    def __exit__(self, *_: object) -> None:
        del readers[threading.get_ident()]
        if self._outer is not None:
            readers[threading.get_ident()] = self._outer
            self._outer.made.update(self.made)
            note_read(self.found().values())

    def found(self) -> dict[int, RawArray]:
        """Return by id the arrays that were read and not made before, and are there yet."""
        return {id(owner): owner for known in self.read.values() if (owner := known()) is not None}


readers: dict[int, Reading] = {}
"""By thread, what notes the arrays that are read."""


def note_read(read: Iterable[Any], made: Iterable[Any] = ()) -> None:
    """Tell of what this thread reads, and what it has made; numbers do not count."""
    reading = readers.get(threading.get_ident())
    if reading is None:
        return
    known = reading.read, reading.made
    for arrays, own, other in ((read, *known), (made, *known[::-1])):
        for owner in [owner_of(raw) for raw in arrays if isinstance(raw, cp.ndarray)]:
            if id(owner) not in other or other[id(owner)]() is not owner:
                own[id(owner)] = ref(owner)


def guard(owner: RawArray) -> None:
    """Let `check_unchanged` find out what somebody outside writes."""
    if id(owner) in lent:
        _take_snapshot(owner)
