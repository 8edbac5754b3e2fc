"""Memory that others can write, and when it was written (autograd-24, autograd-25).

What a node saved may be written before the backward pass comes to it. What the package itself
writes in place is noted (`written`), with an age that orders it among the nodes. An array that
somebody outside can write is lent: one that was given out (`lend`) or brought in (`borrow`). While
it is, operations save copies of it (`own`). What earlier ones saved is compared with how it was.
The usual case costs a look at `LENT`, which is empty, and at `CLOCK`, which is older than any node.
Where arrays were brought in, but none is given out, a look at the operands says which ones it can
be: Tensors around such an array, and those made from them that may share it, are marked `_lent`.

An array that was given out says itself when nobody holds it any more. One that was brought in does
not, so the references to it are counted now and then (`settle`).
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from sys import getrefcount, is_finalizing
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.batched import JOURNALS, is_batched, noted
from impl_numpy.dtypes import Array, Shape

# Ages count down, because the heap gives the smallest first and the youngest node is wanted first.
next_age = count(0, -1).__next__


class Change(NamedTuple):
    """The last time that some memory was written."""

    age: int
    shape: Shape
    memory: weakref.ref[Array]


class Lent:
    """Memory that others can write.

    Parameters
    ----------
    memory : numpy.ndarray
        The array that owns it.
    shape : tuple of int
        That of the Tensor.
    before : numpy.ndarray or None
        A copy of it, where nodes may have saved it before it was lent.
    """

    __slots__ = ("age", "before", "borrowed", "holders", "leases", "memory", "room", "shape")

    def __init__(self, memory: Array, shape: Shape, before: Array | None) -> None:
        key = id(memory)
        self.memory = weakref.ref(memory, lambda _: LENT.pop(key, None))
        self.shape = shape
        self.before = before
        self.age = next_age()
        # The arrays that were given out; whether one was brought in, and the Tensors around it.
        self.leases: set[int] = set()
        self.borrowed = False
        self.holders: list[weakref.ref[Any]] = []
        self.room = 16
        if before is not None:
            CLOCK.last = self.age
        LENT[key] = self

    def bring(self, tensor: Any) -> None:
        """Note a Tensor around an array that was brought in."""
        self.borrowed = tensor._lent = True
        self.holders.append(weakref.ref(tensor))
        if len(self.holders) > self.room:
            self.holders = [holder for holder in self.holders if holder() is not None]
            self.room = 16 + 2 * len(self.holders)

    def changed(self) -> bool:
        """Tell whether the memory holds other bits than before it was lent."""
        memory = self.memory()
        return memory is not None and self.before is not None and _differ(memory, self.before)

    def end(self) -> None:
        """Forget that the memory is lent: nobody else can write it any more."""
        memory = self.memory()
        if memory is not None:
            if self.changed():
                _note(memory, self.shape, self.age)
            LENT.pop(id(memory), None)


class Lease:
    """What an array that was given out has as its base; it lives as long as that and its views."""

    __slots__ = ("__array_struct__", "array", "entry")

    def __init__(self, array: Array, entry: Lent) -> None:
        self.__array_struct__ = array.__array_struct__
        self.array = array
        self.entry = entry
        entry.leases.add(id(self))
        GIVEN.add(id(entry))

    # Bound here, since the module may have lost its names when the interpreter ends.
    def __del__(self, ending: Callable[[], bool] = is_finalizing) -> None:
        if ending():
            # Nobody asks any more, and NumPy cannot import what it compares arrays with.
            return
        entry = self.entry
        with _LENDING:
            entry.leases.discard(id(self))
            if not entry.leases:
                GIVEN.discard(id(entry))
                if not entry.borrowed:
                    entry.end()


class _Clock:
    """The age of the last change; what is younger saw it and needs no check."""

    __slots__ = ("copies", "last", "settled")

    def __init__(self) -> None:
        self.last = 1
        self.copies = 0
        self.settled = True


# By the id of the array that owns the memory. One of an array that has gone harms nobody: a node
# that is older than the change had its arrays while it happened, so none of them had that id.
LENT: dict[int, Lent] = {}
# The ids of the entries of which an array is given out.
GIVEN: set[int] = set()
_CHANGED: dict[int, Change] = {}
# Memory whose Tensor took other memory in its place. What was saved is still right; what reads the
# Tensor again is not.
_LEFT: dict[int, Change] = {}
CLOCK = _Clock()
_LENDING = threading.RLock()


def owner(array: Array) -> Array:
    """Return the array whose memory this one shows."""
    while True:
        base: Any = array.base
        if type(base) is tuple and type(base[0]) is Lease:
            base = base[0].array
        if not isinstance(base, np.ndarray):
            return array
        array = base


def readonly(array: Array) -> Array:
    """Return a view that cannot be written."""
    view = array.view()
    # By position: by name it takes three times as long.
    view.setflags(False)  # type: ignore[call-arg]
    return view


def arrays_in(saved: Any) -> Iterator[Array]:
    """Yield the arrays of nested containers, those of Tensors too."""
    waiting = [saved]
    seen: set[int] = set()
    while waiting:
        item = waiting.pop()
        if isinstance(item, np.ndarray):
            yield item
        elif isinstance(item, (tuple, list, dict)) and id(item) not in seen:
            seen.add(id(item))
            waiting += item.values() if isinstance(item, dict) else item
        elif hasattr(type(item), "_node"):
            yield item._data


def own(array: Array) -> Array:
    """Return an array to save: a copy of one that others can write."""
    if not LENT:
        return array
    base = array.base
    memory = array if base is None else base if type(base) is np.ndarray else owner(array)
    if memory.base is not None:
        memory = owner(memory)
    if id(memory) not in LENT:
        return array
    CLOCK.copies += 1
    if not CLOCK.copies % 64:
        CLOCK.settled = False
    return array.copy()


def lend(tensor: Any) -> Array:
    """Return the array of a Tensor for others to hold, and to write."""
    if is_batched(tensor._data):
        return tensor._data
    with _LENDING:
        shared = not alone(tensor)
        array: Array = tensor._data
        memory = owner(array)
        entry = LENT.get(id(memory))
        if entry is None:
            entry = Lent(memory, array.shape, memory.copy() if shared else None)
        if entry.borrowed:
            return array
        given: Array = np.asarray(Lease(array, entry))
        return given


def borrow(tensor: Any) -> None:
    """Note that the array of this Tensor came from outside, where others can write it."""
    if is_batched(tensor._data):
        return
    base: Any = tensor._data.base
    if type(base) is tuple and type(base[0]) is Lease:
        # One that was given out comes back; the lease itself says how long others hold it.
        tensor._data = base[0].array
        return
    with _LENDING:
        memory = owner(tensor._data)
        entry = LENT.get(id(memory))
        if entry is None:
            entry = Lent(memory, tensor._data.shape, None)
            CLOCK.settled = False
        entry.bring(tensor)


def follow(tensor: Any) -> Any:
    """Return a Tensor, after noting that it shares the array of another, which may be lent."""
    entry = LENT.get(id(owner(tensor._data))) if LENT else None
    if entry is not None and entry.borrowed:
        with _LENDING:
            entry.bring(tensor)
    return tensor


def settle() -> None:
    """Forget the arrays that were brought in and that nobody outside holds any more.

    Called before a backward pass, when no operation is under way, if an array is new or some were
    copied since.
    """
    CLOCK.settled = True
    with _LENDING:
        for entry in list(LENT.values()):
            tensors = [tensor for tensor in (h() for h in entry.holders) if tensor is not None]
            if len(tensors) != 1:
                continue
            tensor = tensors.pop()
            if alone(tensor) and owner(tensor._data) is entry.memory():
                entry.borrowed = False
                entry.holders = []
                if not entry.leases:
                    entry.end()


def relend(memory: Array, age: int) -> None:
    """See from now on whether memory changes that is lent already, as if it were lent anew.

    Operations save copies of it. This is for what will read it again; a change that there was
    already is one of this age.
    """
    entry = LENT.get(id(memory))
    if entry is not None:
        with _LENDING:
            if entry.before is None or entry.changed():
                if entry.before is not None:
                    _note(memory, entry.shape, age)
                entry.before = memory.copy()
            entry.age = CLOCK.last = next_age()


def note_values(tensor: Any) -> None:
    """Note what undoes a write to a Tensor under `vmap`."""
    if JOURNALS.open and not is_batched(tensor._data):
        array, values = tensor._data, tensor._data.copy()

        def undo() -> None:
            if array.flags.writeable:
                array[...] = values
                tensor._data = array
            else:
                tensor._data = values

        noted(undo)


def left(tensor: Any) -> None:
    """Note that this Tensor is about to take another array in the place of the one that it has."""
    if not alone(tensor):
        _note(owner(tensor._data), tensor._data.shape, next_age(), _LEFT)


def left_since(age: int, memories: Iterable[Array]) -> Shape | None:
    """Return the shape of a Tensor that had such memory at this age, and has left it since."""
    for memory in memories:
        change = _LEFT.get(id(memory))
        if change is not None and age > change.age:
            return change.shape
    return None


class Reads:
    """Which memory some operations read that they have not made."""

    def __init__(self) -> None:
        self._read: dict[int, weakref.ref[Array]] = {}
        self._made: dict[int, weakref.ref[Array]] = {}

    def run(self, forward: Callable[..., Any], *args: Any, **config: Any) -> Any:
        """Compute an operation on raw arrays, and note what it reads and what it makes."""
        self.note((*args, *config.values()))
        result = forward(*args, **config)
        self._note(self._made, result if isinstance(result, tuple) else (result,))
        return result

    def note(self, items: Iterable[Any]) -> None:
        """Note the arrays among some items as read."""
        self._note(self._read, items)

    def _note(self, entries: dict[int, weakref.ref[Array]], items: Iterable[Any]) -> None:
        for item in items:
            if isinstance(item, np.ndarray):
                memory = owner(item)
                key = id(memory)
                # The same id may have been that of an array that has gone.
                earlier = self._read.get(key), self._made.get(key)
                if not any([known is not None and known() is memory for known in earlier]):
                    entries[key] = weakref.ref(memory)

    def kept(self) -> tuple[Array, ...]:
        """Return the memory that was read and that somebody still holds."""
        memories = [reference() for reference in self._read.values()]
        return tuple([memory for memory in memories if memory is not None])


def written(tensor: Any) -> None:
    """Note that the array of this Tensor was written in place."""
    array = tensor._data
    # As in `_holders`, in a hurry: after a backward pass nobody else holds it.
    if array.base is None and getrefcount(array) == _ONE:
        return
    del array
    if not alone(tensor):
        _note(owner(tensor._data), tensor._data.shape, next_age())


def _note(memory: Array, shape: Shape, age: int, changes: dict[int, Change] = _CHANGED) -> None:
    key = id(memory)
    earlier = changes.get(key)
    if earlier is None or earlier.memory() is not memory or earlier.age > age:
        gone = weakref.ref(memory, lambda reference: _forget(changes, key, reference))
        changes[key] = Change(age, shape, gone)
        CLOCK.last = min(CLOCK.last, age)


def _forget(changes: dict[int, Change], key: int, reference: weakref.ref[Array]) -> None:
    change = changes.get(key)
    if change is not None and change.memory is reference:
        del changes[key]


def _differ(a: Array, b: Array) -> bool:
    """Tell whether two arrays of one shape and dtype differ in any bit."""
    if a.dtype.kind == "c":
        return _differ(a.real, b.real) or _differ(a.imag, b.imag)
    bits = np.dtype(f"u{a.dtype.itemsize}")
    return not np.array_equal(a.view(bits), b.view(bits))


def changed_since(age: int, arrays: Iterable[Array], compared: set[int]) -> Shape | None:
    """Return the shape of a Tensor that was changed since a node of this age saved its array.

    Parameters
    ----------
    age : int
    arrays : iterable of numpy.ndarray
        What the node saved.
    compared : set of int
        The ids of lent memory that this pass has found unchanged; it grows.
    """
    for array in arrays:
        memory = owner(array)
        key = id(memory)
        change, entry = _CHANGED.get(key), LENT.get(key)
        if change is not None and age > change.age:
            return change.shape
        if entry is not None and age > entry.age and key not in compared:
            if entry.changed():
                return entry.shape
            compared.add(key)
    return None


def _holders(tensor: Any) -> int:
    """Return the count of references to the array of a Tensor."""
    array = tensor._data
    return getrefcount(array)


def _holders_of_both(tensor: Any) -> tuple[int, int]:
    """Return the counts of references to the array of a Tensor and to the owner of its memory."""
    array = tensor._data
    memory = owner(array)
    return getrefcount(array), getrefcount(memory)


class _Probe:
    """Stands for a Tensor whose array nobody else holds."""

    __slots__ = ("_data",)

    def __init__(self, data: Array) -> None:
        self._data = data


# What these functions count then; it includes their own references, which depend on the Python.
_ONE = _holders(_Probe(np.empty(2)))
_ONE_OF_BOTH = _holders_of_both(_Probe(np.empty(2)[1:]))


def alone(tensor: Any) -> bool:
    """Tell whether nothing but this Tensor holds its memory."""
    if tensor._data.base is None:
        return _holders(tensor) == _ONE
    return _holders_of_both(tensor) == _ONE_OF_BOTH
