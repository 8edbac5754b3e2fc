"""The tape: what an operation leaves behind, and whether operations are recorded.

A node's *edges* point to the nodes that made its inputs, one edge per input and None where no
gradient is wanted. An edge is ``(node, output index)``; a leaf Tensor's edge leads to its `Slot`.
Nodes point backwards only and never at Tensors, so a graph goes away with the last Tensor made by
it, without the help of the cycle collector.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from types import SimpleNamespace
from typing import Any, TypeAlias

Edge: TypeAlias = "tuple[Slot | Node, int]"
Edges: TypeAlias = "tuple[Edge | None, ...]"
RawArray: TypeAlias = Any
"""A `cupy.ndarray`."""

Value: TypeAlias = Any
"""A gradient on its way back: a raw array, or a Tensor where the way back is recorded itself."""

FREED = "the graph was freed by an earlier backward; pass retain_graph=True to that one"


handles: Any = SimpleNamespace()
"""What later rooms hand to earlier ones when they are imported: `tensor` puts Tensor in here,
and `ops` each of its functions by name and itself as ``namespace``."""


class _State(threading.local):
    """What holds for one thread: whether operations are recorded, and how deep in `grad` it is."""

    recording: bool = True
    transformations: int = 0


state = _State()


class Recording:
    """Context manager that switches recording on or off in this thread and restores it."""

    __slots__ = ("_before", "_flag")

    def __init__(self, flag: bool) -> None:
        self._flag = flag
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(state.recording)
        state.recording = self._flag

    def __exit__(self, *_: object) -> None:
        state.recording = self._before.pop()


class Slot:
    """Where the gradient of one Tensor ends: on a leaf, or on a result that keeps its own.

    Attributes
    ----------
    grad : Tensor or None
    hooks : dict of int to callable
    keep : bool
        Whether a gradient that passes is kept in `grad`; always so on a leaf.
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
    fresh : bool
        Whether nothing else holds the arrays that `pull` gives, so that a leaf may keep them.
    """

    __slots__ = ("edges", "slots")
    outputs = 1
    fresh = False

    def __init__(self, edges: Edges) -> None:
        self.edges: Edges | None = edges
        self.slots: dict[int, Slot] | None = None

    def pull(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Turn the outputs' gradients, raw arrays, into the inputs'."""
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

    def __init__(self, hooks: dict[int, Callable[..., Any]], hook: Callable[..., Any]) -> None:
        self._hooks = hooks
        self._key = next(self._keys)
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
