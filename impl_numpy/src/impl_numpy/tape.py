"""The tape: which operation made which result.

A recorded operation is a `Node`. A node knows its parents (the nodes of its operands, to which its
edges lead), the rule it follows and the raw arrays that the rule needs: what was saved. An
operation is always younger than what it was made from; `engine` goes back in the order of ages.

A backward pass works on raw arrays. Only when the pass is itself recorded (`create_graph`) does it
work on Tensors; the rules in the rows of `ops` are written so that they do not notice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol, TypeAlias

from impl_numpy.dtypes import Array, Value

Parents: TypeAlias = "tuple[Node | None, ...]"


class _Mode(threading.local):
    """What this thread is doing: each thread starts from these class attributes."""

    recording: bool = True
    transforms: int = 0


MODE = _Mode()

# Ages count down, because the heap gives the smallest first and the youngest node is wanted first.
_next_age = count(0, -1).__next__


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
        self.age = _next_age()
        self.rule = rule
        self.parents = parents
        self.saved = saved
        self.watch: Callable[[Value], Value] | None = None

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
                maker = node.parents[0] if type(node) is Stretched else node
                saved[k] = grad._wrap(saved[k], maker)
        return self.rule.vjp(grad, self.parents, *saved)

    def free(self) -> None:
        """Let go of the arrays and of the parents."""
        self.saved = None
        self.parents = ()

    def __repr__(self) -> str:
        return f"<{self.name} node>"


class Leaf(Node):
    """Where a gradient ends: `receive` takes it when the whole pass has come to a good end."""

    __slots__ = ("receive",)

    def __init__(self, receive: Callable[[Value], None]) -> None:
        super().__init__(_LEAF, (), ())
        self.receive = receive


class Handle:
    """What removes a hook."""

    __slots__ = ("_hooks",)

    def __init__(self, hooks: dict[Any, Any], hook: Any) -> None:
        self._hooks: dict[Any, Any] | None = hooks
        hooks[self] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        if self._hooks is not None:
            self._hooks.pop(self, None)
            self._hooks = None


class Stretched(Node):
    """Between an operation and an operand that it stretched to another shape or dtype.

    NumPy stretches by itself, so there is no array here, only the way back of the gradient.
    """

    __slots__ = ()


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
