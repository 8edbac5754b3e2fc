"""What is kept for backward goes through the program's hands.

Within a block a node is told to put what `pack` returns in the place of each array that it keeps.
Its class becomes one that asks `unpack` for them when the node's turn comes, so that a node made
outside knows nothing of all this.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, TypeVar
from weakref import ref

from impl_cupy.autograd.modes import Block
from impl_cupy.backend import cp
from impl_cupy.checks import check_callable, type_name
from impl_cupy.function_node import FunctionNode
from impl_cupy.memory import RawArray, check_unchanged, lend, owner_of
from impl_cupy.ops.matrices import SeveralNode, SeveralView
from impl_cupy.recording import OpNode, TensorView
from impl_cupy.tape import Node, Observing, OnRaw, Recorded, Value, at_edge, wrap

Op = TypeVar("Op", bound=OpNode)

_NAME = "saved_tensors_hooks"
# Which part of the largest array that is kept is a small one.
_SMALL = 16


class saved_tensors_hooks(Block):
    """Give each array that is kept for backward to `pack`, and keep what it returns.

    A context manager, a matter of the thread; the innermost pair alone is asked.

    Parameters
    ----------
    pack : callable
        From a Tensor that does not require grad to any object. It changes nothing.
    unpack : callable
        From that object to a Tensor or raw array of the same shape and dtype; `backward` calls it,
        wherever it runs, each time that it wants the array.

    Raises
    ------
    TypeError
        If one cannot be called. In `backward`, if `unpack` returns what is no array, or one of
        another dtype.
    ValueError
        In `backward`, if it has another shape.
    """

    __slots__ = ("_pair",)

    def __init__(self, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        check_callable(_NAME, "pack", pack)
        check_callable(_NAME, "unpack", unpack)
        self._pair = _Pair(pack, unpack)

    def _block(self) -> Observing:
        return Observing("packing", self._pair)


class _Pair:
    """The two functions, and how they are called."""

    __slots__ = ("pack", "unpack")

    def __init__(self, pack: Callable[[Any], Any], unpack: Callable[[Any], Any]) -> None:
        self.pack = pack
        self.unpack = unpack

    def recorded(self, node: Node) -> None:
        """Put what `pack` returns in the place of what a node keeps."""
        packing = _Packing(self)
        if isinstance(node, OpNode):
            node.inputs = packing.of(node.inputs)
            node.output = packing.of(node.output)
            node.config = packing.of(node.config)
            if packing.made:
                is_several = isinstance(node, SeveralNode)
                node.__class__ = _PackedSeveral if is_several else _PackedOp
        elif isinstance(node, FunctionNode) and node.ctx is not None:
            ctx = node.ctx
            given, ctx._given = ctx._given, ()
            packing.same(given, node.inputs)
            if node.function._is_ours:
                packing.leave_small(ctx._saved or (), node.inputs)
            saved = packing.of(ctx._saved)
            inputs = packing.of(node.inputs)
            if packing.made:
                ctx._saved, node.inputs = saved, inputs
                node.__class__ = _PackedFunction


class _Packed:
    """What stands in an array's place.

    Attributes
    ----------
    held : object
        What `pack` returned.
    shape, dtype
        The array's, and what else is asked of it.
    owner : weak reference
        To the array that owned the memory.
    """

    __slots__ = ("dtype", "held", "is_plain", "owner", "pair", "shape")

    def __init__(self, pair: _Pair, raw: RawArray) -> None:
        self.pair = pair
        self.shape, self.dtype = raw.shape, raw.dtype
        self.is_plain = bool(raw.flags.c_contiguous)
        self.owner = ref(owner_of(raw))
        with OnRaw(), Observing("packing", None):
            self.held = pair.pack(wrap(raw))

    def opened(self, name: str, age: int) -> RawArray:
        """Ask `unpack` for the array."""
        with OnRaw(), Observing("packing", None):
            given = self.pair.unpack(self.held)
        if isinstance(given, cp.ndarray):
            lend(given)
        raw = given._data if isinstance(given, Recorded) else given
        if not isinstance(raw, cp.ndarray):
            msg = (
                f"{_NAME}: unpack must return a Tensor of shape {self.shape} and dtype "
                f"{self.dtype.name}, got {type_name(given)}"
            )
            raise TypeError(msg)
        if raw.shape != self.shape:
            msg = f"{_NAME}: unpack must return shape {self.shape}, got {raw.shape}"
            raise ValueError(msg)
        if raw.dtype != self.dtype:
            msg = f"{_NAME}: unpack must return dtype {self.dtype.name}, got {raw.dtype.name}"
            raise TypeError(msg)
        # Other memory may have been written as the program likes.
        if owner_of(raw) is self.owner():
            check_unchanged(name, age, raw)
        return cp.ascontiguousarray(raw) if self.is_plain else raw


class _Packing:
    """Packs the arrays of one node, each once."""

    def __init__(self, pair: _Pair) -> None:
        self.pair = pair
        self.made: dict[int, _Packed] = {}
        self._twins: dict[int, RawArray] = {}
        self._left: set[int] = set()

    def leave_small(self, saved: Sequence[Any], inputs: Sequence[Any]) -> None:
        """Leave what a layer of ours computes by row, where that is a small part of the whole."""
        arrays = [part for part in saved if isinstance(part, cp.ndarray)]
        given = {id(owner_of(part)) for part in inputs if isinstance(part, cp.ndarray)}
        most = max((part.nbytes for part in arrays), default=0)
        for part in arrays:
            if id(owner_of(part)) not in given and _SMALL * part.nbytes <= most:
                self._left.add(id(part))

    def same(self, given: Sequence[Any], kept: Sequence[Any]) -> None:
        """Take copies that a Function's `forward` got, and has not changed, for what it keeps."""
        for own, raw in zip(given, kept, strict=False):
            is_copy = own is not raw and isinstance(own, cp.ndarray) and _is_packed(own)
            if is_copy and bool(cp.array_equal(own, raw, equal_nan=True)):
                self._twins[id(own)] = raw

    def of(self, value: Any) -> Any:
        """Return a value with what `pack` returned in the place of the arrays in it."""
        if isinstance(value, cp.ndarray):
            if not _is_packed(value) or id(value) in self._left:
                return value
            raw = self._twins.get(id(value), value)
            if id(raw) not in self.made:
                self.made[id(raw)] = _Packed(self.pair, raw)
            return self.made[id(raw)]
        if not isinstance(value, (tuple, list, dict)):
            return value
        return _mapped(self.of, value)


def _is_packed(array: RawArray) -> bool:
    return array.dtype.kind in "fc" and array.ndim > 0


def _mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Make a container of `function` of each part; the container itself where nothing changes."""
    if isinstance(value, dict):
        parts = {key: function(part) for key, part in value.items()}
        return value if all(parts[key] is value[key] for key in value) else parts
    members = [function(part) for part in value]
    if all(own is part for own, part in zip(members, value, strict=True)):
        return value
    if hasattr(value, "_fields"):
        return type(value)(*members)
    return tuple(members) if isinstance(value, tuple) else members


class _Opening:
    """Unpacks the arrays of one node, each once."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.made: dict[int, RawArray] = {}

    def of(self, value: Any) -> Any:
        """Return a value with arrays again."""
        if isinstance(value, _Packed):
            if id(value) not in self.made:
                self.made[id(value)] = value.opened(self.node.called(), self.node.age)
            return self.made[id(value)]
        return _mapped(self.of, value) if isinstance(value, (tuple, list, dict)) else value


class _PackedOp(OpNode):
    """An operation whose arrays are packed."""

    __slots__ = ()

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Apply the rule to raw arrays."""
        del retain
        return self.rule(self._opened(), grads[0])

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to Tensors."""
        opened = self._opened()
        view = TensorView(opened)
        if opened.output is not None:
            view.output = at_edge(opened.output, (self, 0))
        return self.rule(view, grads[0])

    def _opened(self) -> OpNode:
        return _with_arrays(self, object.__new__(OpNode))


class _PackedSeveral(SeveralNode):
    """An operation of several results whose arrays are packed."""

    __slots__ = ()

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Apply the rule to raw arrays."""
        del retain
        return (self.rule(self._opened(), grads),)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to Tensors."""
        return (self.rule(SeveralView(self._opened(), self), grads),)

    def _opened(self) -> SeveralNode:
        return _with_arrays(self, object.__new__(SeveralNode))


def _with_arrays(node: OpNode, made: Op) -> Op:
    """Make a new node one like a packed one, with the arrays again."""
    opening = _Opening(node)
    made.name, made.rule, made.edges = node.name, node.rule, node.edges
    made.slots, made.age = None, node.age
    made.inputs = opening.of(node.inputs)
    made.output = opening.of(node.output)
    made.config = opening.of(node.config)
    return made


class _PackedFunction(FunctionNode):
    """A Function whose arrays are packed."""

    __slots__ = ()

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Call `backward` on raw arrays."""
        return self._opened(False).pull(grads, retain)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Get the gradients as recorded functions of the inputs."""
        return self._opened(True).pull_recorded(grads)

    def _opened(self, recorded: bool) -> FunctionNode:
        assert self.ctx is not None
        opening, made = _Opening(self), object.__new__(FunctionNode)
        for name in ("edges", "age", "function", "snapshot", "config", "metas", "outputs", "fresh"):
            setattr(made, name, getattr(self, name))
        made.slots = None
        made.ctx = ctx = copy.copy(self.ctx)
        once = getattr(getattr(self.function, "backward", None), "once_differentiable", False)
        if not recorded or once:
            ctx._saved = opening.of(ctx._saved)
        # Without a replay their shapes are all that is wanted.
        made.inputs = opening.of(self.inputs) if recorded else self.inputs
        return made
