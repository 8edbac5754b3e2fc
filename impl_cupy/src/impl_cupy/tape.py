"""The tape: what an operation leaves behind, and whether operations are recorded.

A node's *edges* point to the nodes that made its inputs, one edge per input and None where no
gradient is wanted. An edge is ``(node, output index)``; a leaf Tensor's edge leads to its `Slot`.
Nodes point backwards only and never at Tensors, so a graph goes away with the last Tensor made by
it, without the help of the cycle collector.

`watched` says whether a block of anomalies, of hooks of what is kept, or of `explain` is entered in
any thread; only then is anybody told of what is computed (`observe`) and recorded (`observe_node`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from sys import getrefcount
from types import SimpleNamespace
from typing import Any, NoReturn, TypeAlias
from weakref import ref

from impl_cupy.memory import ALONE, RawArray, clock, lent, note_read, owner_of, readers

Edge: TypeAlias = "tuple[Slot | Node, int]"
Edges: TypeAlias = "tuple[Edge | None, ...]"
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
    # What is told of operations, of nodes and of calls of Modules; see `observe`.
    anomalies: Any = None
    packing: Any = None
    calls: Any = None
    # The calls of vmap that it is in, each with its level and how many slices.
    levels: tuple[tuple[int, int], ...] = ()
    # Whether a Function's method runs on Tensors for all slices, and may not write into one.
    at_once: bool = False
    # Within them, what was written to Modules and Tensors: where, what was there, what is.
    writes: list[tuple[Any, Any, Any, Any]] | None = None

    def __init__(self) -> None:
        # The users' blocks that are entered, each with what restores the state before it.
        self.switched: list[tuple[object, Any]] = []


state = _State()

watched: list[object] = []
"""A mark for each block, in any thread, whose observers are to be told of something."""

vmapped: list[object] = []
"""A mark for each call of `vmap` that is at work in any thread: only then do functions ask whether
what they get depends on a slice."""


class Observing:
    """Context manager that puts an observer of this thread in its place, and back; used once.

    Parameters
    ----------
    place : str
        Of `state`: "anomalies", "packing" or "calls".
    observer : object
    """

    __slots__ = ("_before", "_observer", "_place")

    def __init__(self, place: str, observer: Any) -> None:
        self._place = place
        self._observer = observer

    def __enter__(self) -> None:
        self._before = getattr(state, self._place)
        setattr(state, self._place, self._observer)
        watched.append(None)

    def __exit__(self, *_: object) -> None:
        watched.pop()
        setattr(state, self._place, self._before)


def observe(name: str, function: Any, given: Any, made: Any) -> None:
    """Tell this thread's observer of anomalies of a computation, before its node is made.

    Parameters
    ----------
    name : str
    function : callable or None
        Whose closure may hold constants.
    given, made : tuple
        Raw arrays, numbers and others.
    """
    if state.anomalies is not None:
        state.anomalies.computed(name, function, given, made)


def observe_node(node: Node) -> None:
    """Tell this thread's observers of a node that is just made."""
    if state.anomalies is not None:
        state.anomalies.recorded(node)
    if state.calls is not None:
        state.calls.recorded(node)
    if state.packing is not None:
        state.packing.recorded(node)


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
        self._before = state.recording, state.replayed, state.at_once
        state.recording, state.replayed, state.at_once = False, None, False

    def __exit__(self, *_: object) -> None:
        state.recording, state.replayed, state.at_once = self._before


class AtOnce:
    """Context manager for a Function's methods under `vmap`, that record nothing; used once.

    Parameters
    ----------
    is_on_tensors : bool or None
        Whether they run on Tensors, where writing into one must not go unseen. With None they do,
        and are recorded.
    """

    __slots__ = ("_before", "_is_on_tensors")

    def __init__(self, is_on_tensors: bool | None = True) -> None:
        self._is_on_tensors = is_on_tensors

    def __enter__(self) -> None:
        self._before = state.recording, state.replayed, state.at_once
        state.at_once = self._is_on_tensors is not False
        if self._is_on_tensors is not None:
            state.recording, state.replayed = False, None

    def __exit__(self, *_: object) -> None:
        state.recording, state.replayed, state.at_once = self._before


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
    if count <= ALONE and raw.base is None:
        del lent[id(raw)]
        return raw
    return raw.copy()


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
    shape : tuple of int
        A leaf's.
    was_reshaped : bool
        Whether its data was assigned in another shape.
    after : LeafHooks or None
        What is called when `grad` has been filled.
    """

    __slots__ = ("after", "grad", "hooks", "keep", "shape", "was_reshaped")
    edges: Edges = ()
    outputs = 1

    def __init__(self, keep: bool, shape: tuple[int, ...] = ()) -> None:
        self.grad: Any = None
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.keep = keep
        self.shape = shape
        self.was_reshaped = False
        self.after: LeafHooks | None = None

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise if the leaf has another shape by now than its gradient has (autograd-24)."""
        if shape != self.shape:
            msg = (
                f"backward: a leaf was given data of shape {self.shape} since, which a gradient of "
                f"shape {shape} does not fit"
            )
            raise RuntimeError(msg)
        if self.grad is not None and self.grad.shape != shape:
            msg = (
                f"backward: a leaf has a grad of shape {self.grad.shape}, from before its data was "
                f"assigned, and gets one of shape {shape}; set grad to None"
            )
            raise RuntimeError(msg)


class LeafHooks:
    """What is called with a leaf when a pass has filled its `grad` (autograd-45).

    Attributes
    ----------
    leaf : weak reference to Tensor
    hooks : dict of int to callable
    """

    __slots__ = ("hooks", "leaf")
    # Whether there ever was one; else no pass looks for them.
    exist = False

    def __init__(self, leaf: Recorded) -> None:
        self.leaf = ref(leaf)
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        LeafHooks.exist = True

    def call(self) -> None:
        """Call them in the order in which they came."""
        leaf = self.leaf()
        for hook in tuple(self.hooks.values()):
            if leaf is not None:
                hook(leaf)


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
    origin : tuple of str and bool
        Of one that was made in a block of anomalies: where, and whether all was finite then.
    """

    __slots__ = ("age", "edges", "origin", "slots")
    outputs = 1
    fresh = False
    origin: tuple[str, bool]

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

    def called(self) -> str:
        """Return the name of the operation."""
        return type(self).__name__.strip("_")

    def __repr__(self) -> str:
        return f"<{self.called()}>"

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
        self._node = Slot(True, raw.shape) if requires_grad else None
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
