"""The tape: what a recorded operation leaves behind, and the mode that says whether to record.

A Tensor that requires grad knows its `Node`, the operation that made it, and its slot, which of
that operation's outputs it is. A node has an edge for each differentiated input: the node that made
the input, or the leaf that it is, and a slot. Nodes know none of their results, so there are no
cycles. `engine` runs the tape back.
"""

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Protocol

import jax

from .checks import MAPPING, check_written

Array = Any
Mask = tuple[bool, ...]
Edge = tuple[Any, int]
Hooks = dict[int, Callable[..., Any]]
# The key, beside the slots, of a hook that is asked for the gradients of all outputs of a node.
WHOLE = -1


class Mode(threading.local):
    """What a thread is doing: whether it records, and inside what."""

    enabled: bool = True
    # "function" in a Function's own forward or backward, "composite" in its composite: there is no
    # recording, yet JAX may differentiate through it.
    inside: str = ""
    # How many of grad, value_and_grad and vjp are running.
    depth: int = 0
    # The ctx of the Function whose backward runs here, what it saved, and those around it.
    running: Any = None
    # The trace of nn.jit that wants to know which Tensors are used, if any, or the run of a
    # checkpointed or explained function, which compiles nothing.
    capture: Any = None
    # Who is shown each operation: what `detect_anomaly` and `saved_tensors_hooks` have put here.
    watch: "tuple[Watcher, ...]" = ()


MODE = Mode()


@contextmanager
def recording_set(flag: bool) -> Iterator[None]:
    """Switch recording for this thread, and back again whatever happens."""
    before = MODE.enabled
    MODE.enabled = flag
    try:
        yield
    finally:
        MODE.enabled = before


class Traced:
    """An array with its place on the tape: the state of a Tensor, without its operators."""

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "_hooks",
        "_keeps_grad",
        "_node",
        "_requires_grad",
        "_slot",
    )
    result_class: ClassVar[type[Any]]

    _data: Array
    _grad: "Traced | None"
    _hooks: Hooks | None
    _keeps_grad: bool
    _node: "Node | None"
    _requires_grad: bool
    _slot: int

    def __init_subclass__(cls, result: bool = False, **kwargs: Any) -> None:
        # Results of operations are Tensors, whichever subclass their operands were.
        super().__init_subclass__(**kwargs)
        if result:
            Traced.result_class = cls


def wrap(data: Array, node: "Node | None" = None, slot: int = 0) -> Any:
    """Return a raw array as a Tensor, without any check."""
    tensor = object.__new__(Traced.result_class)
    tensor._data = data
    tensor._grad = None
    tensor._hooks = None
    tensor._slot = slot
    tensor._keeps_grad = False
    tensor._node = node
    tensor._requires_grad = node is not None
    return tensor


def unwrap(operand: Any) -> Array:
    """Return the array of an operand, as the running trace of nn.jit knows it."""
    if not isinstance(operand, Traced):
        return operand
    return operand._data if MODE.capture is None else MODE.capture.resolve(operand)


def constant(data: Array) -> Array:
    """Return the array as one that JAX's transformations do not differentiate either.

    In a Function's own methods it is left as it is: they see no history that they could cut, and
    their second derivative is JAX's. # function-28
    """
    if not isinstance(data, jax.core.Tracer) or MODE.inside == "function":
        return data
    return jax.lax.stop_gradient(data)


def change(what: str, tensor: Traced, data: Array) -> None:
    """Give a Tensor other values without a record, in the running trace of nn.jit too.

    Raises
    ------
    RuntimeError
        If the values are those of a trace of JAX's that the Tensor is no part of.
    """
    if MAPPING.tracer is not None:
        note_written(what, tensor, "_data", data)
    if MODE.capture is not None:
        MODE.capture.change(what, tensor, data)
    elif isinstance(data, jax.core.Tracer) and not isinstance(tensor._data, jax.core.Tracer):
        msg = (
            f"{what} must not be changed in a function that JAX traces; call eval() before, or "
            "make the Module an argument and a result of the function"
        )
        raise RuntimeError(msg)
    else:
        tensor._data = data


def note_written(what: str, tensor: Traced, attribute: str, new: Array) -> None:
    """Check, within `vmap`, what is about to be written to a Tensor, so that it can be undone."""
    check_written(what, tensor._data, new)
    if MAPPING.journal is not None:
        old = getattr(tensor, attribute)
        MAPPING.journal.append(lambda: setattr(tensor, attribute, old))


def edge_of(tensor: Traced) -> Edge | None:
    """Return where the gradient of a Tensor goes."""
    return (tensor._node or tensor, tensor._slot) if tensor._requires_grad else None


class Rule(Protocol):
    """How a node turns the gradients of its outputs into those of its differentiated inputs."""

    name: str

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return the gradients of the inputs in need of one, on raw arrays."""

    def derive(self, node: "Node", grads: Sequence[Any], /) -> Sequence[Any]:
        """Return the same gradients as Tensors, recorded on the tape."""


class Watcher(Protocol):
    """Who is shown operations as they are done."""

    def saw(self, name: str, given: Sequence[Any], made: Any, derived: bool = False, /) -> None:
        """Look at an operation: its name, what it got, and the Tensor or Tensors that it made.

        `derived` says that it is the way back of another one, in a pass that is recorded.
        """


def show(name: str, given: Sequence[Any], made: Any, derived: bool = False) -> None:
    """Show an operation to whoever watches."""
    for watcher in MODE.watch:
        watcher.saw(name, given, made, derived)


def node_of(made: Any) -> "Node | None":
    """Return the node of an operation that made these Tensors, if it was recorded."""
    tensors = made if isinstance(made, tuple | list) else (made,)
    return next((t._node for t in tensors if isinstance(t, Traced) and t._node is not None), None)


class Node:
    """One recorded operation.

    `targets` and `slots` have an entry for each edge: the leaf that the input is, or the node that
    made it and as which of its outputs. `count` is the number of the node's own outputs. `steps`,
    where it is set, says that it is a loop over so many.
    """

    __slots__ = (
        "count",
        "hooks",
        "name",
        "retained",
        "rule",
        "saved",
        "sequence",
        "slots",
        "steps",
        "targets",
    )
    _counter = itertools.count()
    steps: int

    def __init__(
        self, rule: Rule, saved: Any, targets: Sequence[Any], slots: Sequence[int], count: int
    ) -> None:
        self.rule: Rule | None = rule
        self.saved = saved
        self.targets = targets
        self.slots = slots
        self.count = count
        self.name = rule.name
        self.sequence = next(Node._counter)
        self.hooks: dict[int, Hooks] | None = None
        self.retained: dict[int, weakref.ref[Any]] | None = None

    def release(self) -> None:
        """Let go of what backward needed. Leaves are known by their ids alone from then on."""
        self.rule = None
        self.saved = None
        self.targets = [t if type(t) is Node else id(t) for t in self.targets]

    def __repr__(self) -> str:
        return f"<{self.name} backward>"


class Scattered:
    """A gradient that is 0 but for selected parts, which are put together when it is asked for.

    Were each part a whole array at once, a loop over a sequence would take its length squared.

    Attributes
    ----------
    parts : list of tuple
        A rule, what its node saved, and the gradient of what was selected. The rule makes the first
        array, ``whole(saved, grads)``, and adds a part to one, ``into(array, saved, grads)``.
    others : list
        Gradients of the whole array.
    """

    __slots__ = ("others", "parts")

    def __init__(self, rule: Any, saved: Any, grad: Any) -> None:
        self.parts = [(rule, saved, grad)]
        self.others: list[Any] = []

    def add(self, other: Any) -> "Scattered":
        """Take in another gradient of the same array."""
        if type(other) is Scattered:
            # What comes has nothing beside its one part yet.
            self.parts += other.parts
        else:
            self.others.append(other)
        return self

    def together(self) -> Array:
        """Return the parts as one array."""
        total = None
        for rule, saved, grad in self.parts:
            grads = [grad._data if isinstance(grad, Traced) else grad]
            total = rule.whole(saved, grads)[0] if total is None else rule.into(total, saved, grads)
        return total


def _nodes_before(roots: Iterable[Traced]) -> set[Node]:
    """Return the nodes that Tensors depend on."""
    stack = [root._node for root in roots if root._node is not None]
    seen = set(stack)
    while stack:
        for target in stack.pop().targets:
            if type(target) is Node and target not in seen:
                seen.add(target)
                stack.append(target)
    return seen


def _key(target: Any) -> int:
    return target if type(target) is int else id(target)


def unreached(roots: Sequence[Traced], inputs: Sequence[Traced]) -> list[int]:
    """Return the places of the inputs that no root depends on."""
    own = {(id(root._node or root), root._slot) for root in roots}
    for node in _nodes_before(roots):
        own.update(zip(map(_key, node.targets), node.slots, strict=True))
    return [place for place, t in enumerate(inputs) if (id(t._node or t), t._slot) not in own]


def nodes_between(roots: Iterable[Traced], inputs: Sequence[Traced]) -> set[Node]:
    """Return the nodes through which a gradient of `roots` reaches one of `inputs`."""
    leaves = {id(t) for t in inputs if t._node is None}
    outputs = {(t._node, t._slot) for t in inputs if t._node is not None}
    between: set[Node] = set()
    for node in sorted(_nodes_before(roots), key=lambda n: n.sequence):
        for target, slot in zip(node.targets, node.slots, strict=True):
            if _key(target) in leaves or (target, slot) in outputs or target in between:
                between.add(node)
                break
    return between
