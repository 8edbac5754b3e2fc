"""The tape: what an operation leaves behind, and whether operations are recorded.

A node's *edges* point to the nodes that made its inputs, one edge per input and None where no
gradient is wanted. An edge is ``(node, output index)``; a leaf Tensor's edge leads to its `Slot`.
Nodes point backwards only and never at Tensors, so a graph goes away with the last Tensor made by
it, without the help of the cycle collector.

A node keeps raw arrays, and memory can change behind its back. Three things see to it that a
gradient is never that of a later value (autograd-24). Memory that somebody outside holds and may
write at any time is *lent*, and a node keeps a copy of it (`keep`). Memory that is handed out when
a node may have it already is copied then, and compared when that node's turn comes. What this
package writes itself is noted (`note_change`). `clock` counts these events; a node's `age` is the
count when it was made, so that a node younger than the last event has nothing to check.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from sys import getrefcount
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias
from weakref import ref

import numpy as np

from impl_cupy.backend import cp

Edge: TypeAlias = "tuple[Slot | Node, int]"
Edges: TypeAlias = "tuple[Edge | None, ...]"
RawArray: TypeAlias = Any
"""A `cupy.ndarray`."""

Value: TypeAlias = Any
"""A gradient on its way back: a raw array, or a Tensor where the way back is recorded itself."""

FREED = "the graph was freed by an earlier backward; pass retain_graph=True to that one"

handles: Any = SimpleNamespace()
"""What later rooms hand to earlier ones when they are imported: `tensor` puts Tensor in here,
`module` Module, and `ops` each of its functions by name and itself as ``namespace``."""


class _State(threading.local):
    """What holds for one thread: whether operations are recorded, and how deep in `grad` it is."""

    recording: bool = True
    transformations: int = 0
    # The Function whose forward and backward run on Tensors now.
    replayed: str | None = None

    def __init__(self) -> None:
        # The users' switches that are on, each with the mode before it.
        self.switched: list[tuple[object, bool]] = []


state = _State()


class Recording:
    """Context manager that switches recording in this thread and restores it; used once."""

    __slots__ = ("_before", "_flag")

    def __init__(self, flag: bool) -> None:
        self._flag = flag

    def __enter__(self) -> None:
        self._before = state.recording
        state.recording = self._flag

    def __exit__(self, *_: object) -> None:
        state.recording = self._before


class OnRaw:
    """Context manager for a Function's `forward` on raw arrays: nothing is recorded; used once."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = state.recording, state.replayed
        state.recording, state.replayed = False, None

    def __exit__(self, *_: object) -> None:
        state.recording, state.replayed = self._before


class Replaying:
    """Context manager for `forward` and `backward` of the Function `name` on Tensors; used once."""

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._before = state.replayed
        state.replayed = self._name

    def __exit__(self, *_: object) -> None:
        state.replayed = self._before


def refuse_cut(operation: str) -> NoReturn:
    """Raise the error for what would lose the history of a Tensor in a Function (function-28).

    Raises
    ------
    RuntimeError
        That names the Function, the operation, and what to do instead.
    """
    msg = (
        f"{state.replayed}: {operation} cuts the graph, and a derivative of the gradient would be "
        "lost; compute with ctx.xp, give the Function a composite, or mark backward "
        "once_differentiable"
    )
    raise RuntimeError(msg)


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
_ALONE = 2


def owner_of(raw: RawArray) -> RawArray:
    """Return the array that has an array's memory: itself where it is no view."""
    return raw if raw.base is None else raw.base


def lend(raw: RawArray) -> None:
    """Note that somebody outside has an array and may write it from now on."""
    owner = owner_of(raw)
    key = id(owner)
    if key not in lent:
        lent[key] = ref(owner, lambda _: lent.pop(key, None))


def lend_data(tensor: Recorded) -> RawArray:
    """Return a Tensor's array for somebody outside."""
    is_alone = getrefcount(tensor._data) <= _ALONE and tensor._data.base is None
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


def note_change(tensor: Recorded) -> None:
    """Note that this package is about to write a Tensor's memory."""
    is_alone = getrefcount(tensor._data) <= _ALONE and tensor._data.base is None
    raw = tensor._data
    if is_alone:
        # No node has it, and nobody outside.
        lent.pop(id(raw), None)
        _watched.pop(id(raw), None)
        return
    watch = _watch(owner_of(raw), raw.shape)
    clock.now += 1
    watch.changed, watch.snapshot = clock.now, None


def keep(value: Any, containers: int = 0) -> Any:
    """Return an operand's array for a node to keep: a copy where somebody outside may write it.

    Parameters
    ----------
    value : Tensor or other object
        What is no Tensor is returned as it is.
    containers : int
        How many tuples and the like hold the array beside the Tensor.
    """
    if not isinstance(value, Recorded):
        return value
    count = getrefcount(value._data) - containers
    raw = value._data
    if readers:
        note_read((raw,))
    if id(owner_of(raw)) not in lent:
        return raw
    if count <= _ALONE and raw.base is None:
        del lent[id(raw)]
        return raw
    return raw.copy()


def is_held(container: Any, place: Any) -> bool:
    """Tell whether anything but this container holds an array in it, or its memory."""
    return container[place].base is not None or getrefcount(container[place]) > _ALONE


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


class Part:
    """The gradient of an array that is zero but for one part, which has `values`.

    A pass adds up the parts of one array when the array's turn comes (autograd-32).

    Attributes
    ----------
    selection : object
        Which part; `ops` knows what it means.
    values : raw array or Tensor
    """

    __slots__ = ("selection", "values")

    def __init__(self, selection: Any, values: Value) -> None:
        self.selection = selection
        self.values = values


class Slot:
    """Where the gradient of one Tensor ends: on a leaf, or on a result that keeps its own.

    Attributes
    ----------
    grad : Tensor or None
    hooks : dict of int to callable
    keep : bool
        Whether a gradient that passes is kept in `grad`; so on a leaf unless it is frozen.
    """

    __slots__ = ("grad", "hooks", "keep")
    edges: Edges = ()
    outputs = 1

    def __init__(self, keep: bool) -> None:
        self.grad: Any = None
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.keep = keep


class Node:
    """One recorded operation.

    Attributes
    ----------
    edges : tuple of (edge or None), or None once the graph was freed
    slots : dict of int to Slot
        By output, the hooks and kept gradients of results; usually empty.
    age : int
        What `clock` said when it was made.
    fresh : bool
        Whether nothing else holds the arrays that `pull` gives, so that a leaf may keep them.
    """

    __slots__ = ("age", "edges", "slots")
    outputs = 1
    fresh = False

    def __init__(self, edges: Edges) -> None:
        self.edges: Edges | None = edges
        self.slots: dict[int, Slot] | None = None
        self.age = clock.now

    def check(self, recorded: bool) -> None:
        """Refuse where something that was saved has been written since.

        Raises
        ------
        RuntimeError
            That names the operation and the shape of what was written.
        """

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Turn the outputs' gradients, raw arrays, into the inputs'.

        The list is the node's to change; `retain` tells whether the node will be asked again.
        """
        raise NotImplementedError

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Do the same on Tensors, recording what is done."""
        raise NotImplementedError

    def release(self) -> None:
        """Let go of everything that was kept for backward."""
        self.edges = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__.strip('_')}>"

    def slot(self, index: int) -> Slot:
        """Return the slot of one output, made on first use."""
        if self.slots is None:
            self.slots = {}
        return self.slots.setdefault(index, Slot(keep=False))


class RemovableHandle:
    """Takes a registered hook away again."""

    _keys = count()

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        self._hooks = hooks
        self._key = next(key for key in self._keys if key not in hooks)
        hooks[self._key] = hook

    def remove(self) -> None:
        """Remove the hook; a second call does nothing."""
        self._hooks.pop(self._key, None)


class Recorded:
    """A raw array with its place in the graph: what Tensor builds on."""

    __slots__ = ("__weakref__", "_data", "_index", "_node", "_requires_grad")

    _data: RawArray
    _node: Node | Slot | None
    _index: int
    _requires_grad: bool

    def _begin(self, raw: RawArray, requires_grad: bool) -> None:
        """Make this a leaf with these values."""
        self._data = raw
        self._index = 0
        self._node = Slot(keep=True) if requires_grad else None
        self._requires_grad = requires_grad


def wrap(raw: RawArray, requires_grad: bool = False, cls: type[Any] | None = None) -> Any:
    """Return a raw array as a Tensor, a leaf, without any check."""
    if readers:
        note_read((), (raw,))
    made = object.__new__(cls or handles.Tensor)
    made._begin(raw, requires_grad)
    return made


def at_edge(raw: RawArray, edge: Edge) -> Any:
    """Return a Tensor with these values and the history of `edge`."""
    made = object.__new__(handles.Tensor)
    made._data = raw
    made._node, made._index = edge
    made._requires_grad = True
    return made


def edge_of(value: Any) -> Edge | None:
    """Return the edge to what made a Tensor, None where no gradient is wanted or it is none."""
    if not isinstance(value, Recorded) or not value._requires_grad or value._node is None:
        return None
    return value._node, value._index
