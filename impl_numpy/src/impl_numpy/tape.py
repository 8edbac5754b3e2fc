"""The tape: which operation made which result.

A recorded operation is a `Node`. A node knows its parents (the nodes of its operands, to which its
edges lead), the rule it follows and the raw arrays that the rule needs: what was saved. An
operation is always younger than what it was made from; `engine` goes back in the order of ages.

A backward pass works on raw arrays. Only when the pass is itself recorded (`create_graph`) does it
work on Tensors; the rules in the rows of `ops` are written so that they do not notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, Protocol, TypeAlias

import numpy as np

from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.memory import arrays_in, changed_since, next_age

Parents: TypeAlias = "tuple[Node | None, ...]"


class _Mode(threading.local):
    """What this thread is doing: each thread starts from these class attributes."""

    # The name of a Function while its forward and backward run on Tensors: then nothing may stop
    # the recording (function-28).
    recording: bool | str = True
    transforms: int = 0
    # Passes under way that keep their graph for another.
    retaining: int = 0
    # For what computes something again (autograd-39): what a Function's forward is called through,
    # and what else has to stand where it stood, as functions that return context managers.
    through: Callable[..., Any] | None = None
    within: tuple[Callable[[], Any], ...] = ()

    def __init__(self) -> None:
        # The blocks that this thread is in, and the mode outside each.
        self.outside: list[tuple[object, bool | str]] = []


MODE = _Mode()
# As long as the number of calls under way, in all threads, that have set `through`: most programs
# never do, and a look at this is faster than one at the thread's mode.
THROUGH: list[None] = []

_next_key = count().__next__


class Rule(Protocol):
    """What a node needs to know of its operation."""

    @property
    def name(self) -> str:
        """Return what messages call it."""
        ...

    @property
    def vjp(self) -> Callable[..., tuple[Value | None, ...]]:
        """Take the gradient, the parents and what was saved to a gradient for each operand."""
        ...


class Node:
    """One recorded operation.

    Parameters
    ----------
    rule : Rule
        Gives the gradients of the operands.
    parents : tuple of (Node or None)
        One per operand; None where no gradient is wanted.
    saved : tuple
        Operands, then the result, then the configuration; None for an array that no gradient needs.
        None instead of the tuple once the node was freed.
    """

    __slots__ = ("age", "parents", "rule", "saved", "watch")

    saved: tuple[Any, ...] | None

    def __init__(self, rule: Rule, parents: Parents, saved: tuple[Any, ...]) -> None:
        self.age = next_age()
        self.rule = rule
        self.parents = parents
        self.saved = saved
        self.watch: Any = None

    @property
    def name(self) -> str:
        """Return the name of the operation."""
        return self.rule.name

    def pull(self, grad: Array) -> Sequence[Value | None]:
        """Return the gradients of the operands as raw arrays, one per parent; None is zero."""
        assert self.saved is not None
        return self.rule.vjp(grad, self.parents, *self.saved)

    def pull_recorded(self, grad: Any) -> Sequence[Value | None]:
        """Do the same on Tensors: what was saved comes back with the history it had."""
        assert self.saved is not None
        saved = list(self.saved)
        for k, node in enumerate((*self.parents, self)):
            if node is not None and saved[k] is not None:
                # Where the dtype differs too, what is saved is not what the operand was.
                same = type(node) is Stretched and saved[k].dtype == node.dtype
                maker = node.parents[0] if same else node
                saved[k] = grad._wrap(saved[k], maker)
        return self.rule.vjp(grad, self.parents, *saved)

    def kept(self, record: bool) -> Iterator[Array]:
        """Yield the arrays that a pass through here will use."""
        return arrays_in(self.saved)

    def free(self) -> None:
        """Let go of the arrays and of the parents."""
        self.saved = None
        self.parents = ()

    def __repr__(self) -> str:
        return f"<{self.name} node>"


class Leaf(Node):
    """Where a gradient ends: `receive` takes it when the whole pass has come to a good end.

    `former` is the shape that the Tensor had before it was given values of another.
    """

    __slots__ = ("former", "receive")

    def __init__(self, receive: Callable[[Value], None]) -> None:
        super().__init__(_LEAF, (), ())
        self.receive = receive
        self.former: Shape | None = None

    def kept(self, record: bool) -> Iterator[Array]:
        """Yield nothing, or raise RuntimeError where no gradient fits any more (autograd-24)."""
        if self.former is not None:
            msg = (
                f"backward: the gradient of a leaf has its former shape {self.former}, but its "
                "data is of another since; run backward before, or operate again"
            )
            raise RuntimeError(msg)
        return super().kept(record)


class Handle:
    """What removes a hook."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Any], hook: Any) -> None:
        # The key is no handle: hooks that held it would live as long as it, and it as they.
        self._hooks: dict[int, Any] | None = hooks
        self._key = _next_key()
        # Hooks that another process pickled have keys of that process.
        while self._key in hooks:
            self._key = _next_key()
        hooks[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hooks is not None:
            self._hooks.pop(self._key, None)
            self._hooks = None


class Scattered:
    """Gradients of parts of one array on their way to it, to be put into place all at once.

    Parts that came one by one, each as an array of the whole's size, would cost the square of a
    sequence's length.

    Parameters
    ----------
    grad : array or Tensor
        The gradient of one part.
    key : index
        Where it belongs.
    shape : tuple of int
        That of the whole.
    gather : callable
        `gather(grads, keys, shape)` puts parts into place, in an array that is 0 elsewhere.
    """

    __slots__ = ("dense", "gather", "grad", "key", "more", "shape")

    # NumPy's own operators give way.
    __array_ufunc__ = None

    def __init__(self, grad: Value, key: Any, shape: Shape, gather: Callable[..., Value]) -> None:
        self.grad = grad
        self.key = key
        self.shape = shape
        self.gather = gather
        # Other parts, and a gradient of the whole.
        self.more: list[tuple[Value, Any]] | None = None
        self.dense: Value | None = None

    def __add__(self, other: Value) -> Scattered:
        if type(other) is Scattered:
            if self.more is None:
                self.more = []
            self.more.append((other.grad, other.key))
            self.more += other.more or ()
            other = other.dense
        if other is not None:
            self.dense = other if self.dense is None else self.dense + other
        return self

    __radd__ = __add__

    def gathered(self) -> Value:
        """Return the gradient of the whole."""
        if self.more is None:
            whole = self.gather((self.grad,), (self.key,), self.shape)
        else:
            grads, keys = zip((self.grad, self.key), *self.more, strict=True)
            whole = self.gather(grads, keys, self.shape)
        return whole if self.dense is None else self.dense + whole


class Stretched(Node):
    """Between an operation and an operand that it stretched to another shape or dtype.

    NumPy stretches by itself, so there is no array here, only the way back of the gradient.
    """

    __slots__ = ()

    @property
    def dtype(self) -> Any:
        """Return the dtype of the operand as it was."""
        assert self.saved is not None
        return self.saved[-1]


class Source(Node):
    """A stand-in for an argument of a transformation: a pass that has it as a target ends here.

    A later pass, which differentiates the transformation's result, goes through it to the argument.
    """

    __slots__ = ()

    def __init__(self, parent: Node | None) -> None:
        super().__init__(_SOURCE, (parent,), ())

    def pull_recorded(self, grad: Any) -> Sequence[Value | None]:
        """Return the gradient as it is."""
        return (grad,)


class _Plain:
    """The rule of the nodes that pass a gradient on as it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def vjp(grad: Value, needs: Parents) -> tuple[Value | None, ...]:
        return (grad,)


_LEAF = _Plain("leaf")
_SOURCE = _Plain("source")


def conjugated(grad: Any) -> Any:
    """Return a gradient in the convention that programs see, or back from it.

    On the tape a gradient is dL/da - i dL/db: then a holomorphic function's rule has f'(z) as a
    real function's has, and conjugates nothing. Programs see dL/da + i dL/db (autograd-47).
    """
    if grad.dtype.kind != "c":
        return grad
    raw = isinstance(grad, (np.ndarray, np.generic))
    return np.conjugate(grad) if raw else grad._conjugated()


def check_saved(node: Node, record: bool, compared: set[int]) -> None:
    """Raise RuntimeError if what a node saved has changed since (autograd-24).

    Parameters
    ----------
    node : Node
        Older than the last change of anything.
    record : bool
        Whether the pass is recorded.
    compared : set of int
        As in `changed_since`.
    """
    shape = changed_since(node.age, node.kept(record), compared)
    if shape is not None:
        msg = (
            f"backward: {node.name} needs the values that a Tensor of shape {shape} had, but they "
            "were changed in place since; run backward before, or operate again"
        )
        raise RuntimeError(msg)


def check_uncut(operation: str) -> None:
    """Raise RuntimeError where a Function runs on Tensors and would lose their history."""
    if type(MODE.recording) is str:  # function-28
        msg = (
            f"{MODE.recording}: {operation} inside forward or backward cuts off the second "
            "derivative; compute with ctx.xp, give a composite, or mark backward "
            "once_differentiable"
        )
        raise RuntimeError(msg)


def uncut(x: Any, operation: str) -> Any:
    """Return the array of a Tensor that comes where the same Function once got a raw one."""
    if type(MODE.recording) is not str or not hasattr(type(x), "_node"):
        return x
    if x._node is not None:
        check_uncut(operation)
    return x._data
