"""The tape: which operation made which result.

A recorded operation is a `Node`. A node knows its parents (the nodes of its operands, to which its
edges lead), the rule it follows and the raw arrays that the rule needs: what was saved. An
operation is always younger than what it was made from; `engine` goes back in the order of ages.

A backward pass works on raw arrays. Only when the pass is itself recorded (`create_graph`) does it
work on Tensors; the rules in the rows of `ops` are written so that they do not notice.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from typing import Any, ClassVar, Protocol, TypeAlias

import numpy as np

from impl_numpy.batched import Batched, asarray, youngest
from impl_numpy.checks import shown
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.grad_checks import check_hooked
from impl_numpy.memory import arrays_in, changed_since, next_age, own, readonly
from impl_numpy.sums import summed

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
    # What looks at each operation (`observe`), at what is kept of it, and what runs one back, for
    # the blocks that ask (autograd-42, autograd-44).
    check: Callable[..., None] | None = None
    pack: Callable[[Node], None] | None = None
    pulling: Callable[[Node, Any, bool], Sequence[Value | None]] | None = None

    def __init__(self) -> None:
        # The blocks that this thread is in, and the mode outside each.
        self.outside: list[tuple[object, Any]] = []


MODE = _Mode()
# As long as the number of calls under way, in all threads, that have set `through`: most programs
# never do, and a look at this is faster than one at the thread's mode.
THROUGH: list[None] = []
# The same of those that have set `check` or `pack`.
WATCHING: list[None] = []
# By id, what is to run after a leaf has its gradient (autograd-45), of all leaves that there are.
AFTER: dict[int, weakref.ref[After]] = {}

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

    # `place` is there once something looked for anomalies, and is where the operation was called.
    __slots__ = ("age", "parents", "place", "rule", "saved", "watch")

    # Whether running it back computes forward too.
    again: ClassVar[bool] = False
    saved: tuple[Any, ...] | None
    place: str

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

    def values(self) -> tuple[Any, ...]:
        """Return what was saved; nothing once the node was freed."""
        return self.saved or ()

    def pull(self, grad: Array) -> Sequence[Value | None]:
        """Return the gradients of the operands as raw arrays, one per parent; None is zero."""
        return self.rule.vjp(grad, self.parents, *self.values())

    def pull_recorded(self, grad: Any) -> Sequence[Value | None]:
        """Do the same on Tensors: what was saved comes back with the history it had."""
        return self.rule.vjp(grad, self.parents, *self.with_history(grad))

    def with_history(self, grad: Any) -> list[Any]:
        """Return what was saved, as Tensors where it has a history."""
        saved = list(self.values())
        for k, node in enumerate((*self.parents, self)):
            if node is not None and saved[k] is not None:
                # Where the dtype differs too, what is saved is not what the operand was.
                same = type(node) is Stretched and saved[k].dtype == node.dtype
                maker = node.parents[0] if same else node
                saved[k] = grad._wrap(saved[k], maker)
        return saved

    def kept(self, record: bool) -> Iterator[Array]:
        """Yield the arrays that a pass through here will use."""
        return arrays_in(self.saved)

    def free(self) -> None:
        """Let go of the arrays; what leads where is asked afterwards too."""
        self.saved = None

    def __repr__(self) -> str:
        return f"<{self.name} node>"


class Leaf(Node):
    """Where a gradient ends: `receive` takes it when the whole pass has come to a good end.

    `shape` is that of the Tensor, and `former` the one that it had before it was given values of
    another. `after` has the hooks that see the Tensor then.
    """

    __slots__ = ("after", "former", "receive", "shape")

    def __init__(self, receive: Callable[[Value], None], shape: Shape) -> None:
        super().__init__(_LEAF, (), ())
        self.receive = receive
        self.shape = shape
        self.former: Shape | None = None
        self.after: After | None = None

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


class Watch:
    """What happens to the gradient of a Tensor on its way: hooks, then `retain_grad`.

    Parameters
    ----------
    wrap : callable
        Makes a Tensor of a raw array, for hooks to see.
    """

    __slots__ = ("hooks", "receive", "wrap")

    def __init__(self, wrap: Callable[[Array, None], Any]) -> None:
        self.wrap = wrap
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        self.receive: Callable[[Value], None] | None = None

    def __call__(self, grad: Any) -> Value:
        """Show a gradient to the hooks, and return it or what they put in its place."""
        for hook in list(self.hooks.values()):
            recorded = not isinstance(grad, (np.ndarray, np.generic))
            if recorded:
                shown: Any = grad
            else:
                # It may go another way too, so the hook gets one that it cannot write.
                shown = self.wrap(readonly(asarray(grad)), None)
            result = hook(shown)
            if result is not None:
                check_hooked(result, hasattr(type(result), "_node"), shown.shape, shown.dtype)
                grad = result if recorded else own(result._data)
        return grad


class After:
    """The hooks that see a leaf when a pass has added to its `grad` (autograd-45)."""

    __slots__ = ("__weakref__", "hooks", "leaf")

    def __init__(self, tensor: Any) -> None:
        self.leaf = weakref.ref(tensor)
        self.hooks: dict[int, Callable[[Any], Any]] = {}
        key = id(self)
        AFTER[key] = weakref.ref(self, lambda _: AFTER.pop(key, None))

    def __call__(self) -> None:
        """Show the leaf to the hooks, unless it is frozen by now."""
        tensor = self.leaf()
        if tensor is not None and tensor._node is not None:
            for hook in list(self.hooks.values()):
                hook(tensor)


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


class Slices:
    """Where the room `slices` leaves what runs a node back for each slice of a `vmap` alone."""

    pull: Callable[[Node, Any, bool], Sequence[Value | None]]


def crossed(node: Node, grad: Any) -> Any:
    """Return a gradient that comes to a node from outside a `vmap` summed over the slices.

    What all slices use gets the sum of what they give. As long as the `vmap` runs, a pass within
    has a gradient for each slice also for what is older.
    """
    values = grad if type(grad) is Batched else getattr(grad, "_data", None)
    while type(values) is Batched:
        level, values = values.level, values.values
        if node.age > level.age and not level.active:
            grad = grad_sum(grad, level)
    return grad


def crosses(node: Node, grad: Any) -> bool:
    """Tell whether `crossed` would sum a gradient, or the parts of one."""
    if type(grad) is Scattered:
        level = youngest((grad.grad, grad.key, grad.more, grad.dense))
        return level is not None and node.age > level.age
    values = grad if type(grad) is Batched else getattr(grad, "_data", None)
    while type(values) is Batched:
        if node.age > values.level.age and not values.level.active:
            return True
        values = values.values
    return False


def grad_sum(grad: Any, level: Any) -> Any:
    """Return the sum of a gradient over the slices of a level."""
    return summed(grad, level) if type(grad) is Batched else grad._summed(level)


def of_all_slices(grad: Any) -> Any:
    """Return the sum of a gradient over all slices, for a leaf that was made in a `vmap`."""
    values = getattr(grad, "_data", grad)
    while type(values) is Batched:
        grad, values = grad_sum(grad, values.level), values.values
    return grad


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


def observe(name: str, given: Sequence[Any], results: Sequence[Array], node: Node | None) -> None:
    """Show an operation to the blocks that this thread is in.

    Parameters
    ----------
    name : str
    given, results : sequence
        Raw arrays, and among what was given also its configuration.
    node : Node or None
        What was recorded of it.
    """
    if MODE.check is not None:
        MODE.check(name, given, results, node)
    if MODE.pack is not None and node is not None:
        MODE.pack(node)


def differentiable(operation: str, name: str, given: Any) -> list[Any]:
    """Return a Tensor, or the Tensors of a list or tuple, as a list, if all require grad.

    Raises
    ------
    TypeError
        If it is or holds anything else.
    ValueError
        If there is none.
    RuntimeError
        If one does not require grad.
    """
    tensors = list(given) if isinstance(given, (list, tuple)) else [given]
    for x in tensors:
        if not hasattr(type(x), "_node"):
            msg = (
                f"{operation}: {name} must be a Tensor or a list or tuple of them, got "
                f"{shown(x)} ({type(x).__name__})"
            )
            raise TypeError(msg)
    if not tensors:
        msg = f"{operation}: {name} must hold at least one Tensor, got none"
        raise ValueError(msg)
    for k, x in enumerate(tensors):
        if x._node is None:
            msg = f"{operation}: {name}[{k}] does not require grad"
            raise RuntimeError(msg)
    return tensors
