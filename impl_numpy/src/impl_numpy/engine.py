"""The engine: how gradients run back through the tape.

An operation is younger than all it was made from, so "youngest first" is an order in which every
node is visited after all its users, and a heap of ages is the whole schedule.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from heapq import heappop, heappush
from sys import getrefcount
from threading import RLock
from typing import Any, NoReturn

import numpy as np

from impl_numpy.batched import USED, Unknown, is_batched
from impl_numpy.dtypes import Array, Value
from impl_numpy.memory import CLOCK, alone, owner, settle
from impl_numpy.tape import (
    AFTER,
    MODE,
    WATCHING,
    Leaf,
    Node,
    Scattered,
    Slices,
    check_saved,
    conjugated,
    crossed,
    crosses,
    of_all_slices,
)

ndarray = np.ndarray

# Passes of several threads may end in one leaf, and none may lose what another adds (autograd-28).
_DELIVERING = RLock()


class Pass:
    """One backward pass.

    Parameters
    ----------
    retain : bool
        Keep what the nodes saved, for another pass.
    record : bool
        Record the pass itself: gradients are Tensors then, and raw arrays otherwise.
    targets : sequence of Node, optional
        Collect the gradients of these nodes and give none to leaves. Nothing older than all of them
        is visited, since it cannot depend on them.
    inner : bool
        Another pass brings the targets what comes, so that their hooks do not see it here.
    """

    __slots__ = (
        "arrived",
        "ends",
        "heap",
        "inner",
        "oldest",
        "pending",
        "record",
        "retain",
        "summed",
        "wanted",
    )

    def __init__(
        self,
        retain: bool,
        record: bool,
        targets: Sequence[Node] | None = None,
        inner: bool = False,
    ) -> None:
        self.retain = retain
        self.record = record
        self.inner = inner
        self.wanted = None if targets is None else frozenset(targets)
        self.oldest = max([node.age for node in targets]) if targets else 0
        self.pending: dict[Node, Value] = {}
        self.heap: list[tuple[int, Node]] = []
        self.summed: set[Node] = set()
        self.arrived: dict[Node, Value] = {}
        self.ends: list[tuple[Any, Value]] = []

    def send(self, node: Node, grad: Value) -> None:
        """Add a gradient to what a node will get, once all its users have run."""
        if self.wanted is not None and node.age > self.oldest:
            return
        pending = self.pending
        if node not in pending:
            pending[node] = grad
            heappush(self.heap, (node.age, node))
        elif USED and (crosses(node, grad) or crosses(node, pending[node])):
            # Each is summed over the slices by itself: another may have come from outside.
            pending[node] = _settled(node, pending[node]) + _settled(node, grad)
        elif node in self.summed and type(grad) is ndarray and type(pending[node]) is ndarray:
            # This sum is ours alone; the first gradient may be an array that others hold too.
            pending[node] += grad
        else:
            pending[node] = pending[node] + grad
            self.summed.add(node)

    def show(self, node: Node, grad: Value) -> Value:
        """Let hooks and `retain_grad` see a gradient, and return what goes on."""
        if self.inner and self.wanted is not None and node in self.wanted:
            return grad
        watch = node.watch
        grad = watch(conjugated(grad))
        if watch.receive is not None:
            self.ends.append((watch, grad))
        return conjugated(grad)

    def step(self, node: Node) -> None:  # noqa: C901 - not one call more than needed
        """Visit a node: collect its gradient, keep it for the end, or send it on to the parents.

        What `pull` and `send` do in most cases stands here, without another call.
        """
        pending, kind, parents = self.pending, type(node), node.parents
        grad = pending.pop(node)
        if type(grad) is not ndarray:
            grad = _settled(node, grad)
        if node.watch is not None:
            grad = self.show(node, grad)
        if self.wanted is not None and node in self.wanted:
            self.arrived[node] = grad
        elif kind is Leaf:
            self.ends.append((node, grad))
        elif node.saved is None:
            raise _freed(node)
        else:
            try:
                if kind is Node and not self.record:
                    grads: Sequence[Value | None] = node.rule.vjp(grad, parents, *node.saved)
                else:
                    grads = (node.pull_recorded if self.record else node.pull)(grad)
            except Unknown:
                grads = Slices.pull(node, grad, self.record)
            for parent, part in zip(parents, grads, strict=True):
                if parent is not None and part is not None:
                    if self.wanted is None and parent not in pending:
                        pending[parent] = part
                        heappush(self.heap, (parent.age, parent))
                    else:
                        self.send(parent, part)
            if not self.retain:
                node.free()

    # Infinite gradients are results here (that of sqrt at 0, say), not accidents to warn of. (As a
    # decorator this takes a third of the time of a block.)
    @np.errstate(all="ignore")
    def go(self, roots: Sequence[tuple[Node, Value]]) -> None:
        """Visit every node that a gradient reaches, and give everybody what came."""
        for node, grad in roots:
            self.send(node, grad)
        heap, step = self.heap, self.step
        compared: set[int] | None = None
        while heap:
            age, node = heappop(heap)
            if age > CLOCK.last:
                compared = set() if compared is None else compared
                check_saved(node, self.record, compared)
            step(node)
        self.deliver()

    def deliver(self) -> None:
        """Give everybody what came, now that the whole pass has come to a good end."""
        if self.wanted is None:
            with _DELIVERING:
                for end, grad in self.ends:
                    end.receive(grad)


class Careful(Pass):
    """A pass that does more than most: slower, and so it is apart.

    It visits nothing that leads to no target, gives leaves with hooks of `After` their gradients at
    once, and lets a block look at what each node gives.

    Parameters
    ----------
    roots : sequence of Node
        Where it will start.
    exact : bool
        Go on through a target to others; else, as in `Pass`, it ends there.
    fill : sequence of Tensor, optional
        The targets are their nodes, and their `grad` gets what comes, in place of all others.
    """

    __slots__ = ("receivers", "through", "users")

    def __init__(
        self,
        roots: Iterable[Node],
        retain: bool,
        record: bool,
        targets: Sequence[Node] | None,
        inner: bool,
        exact: bool,
        fill: Sequence[Any] | None,
    ) -> None:
        super().__init__(retain, record, targets, inner)
        named = {id(tensor): tensor for tensor in fill or ()}
        self.receivers: dict[Node, list[Any]] = {}
        for tensor in named.values():
            self.receivers.setdefault(tensor._node, []).append(_Filled(tensor))
        self.through, _ = leading(roots, self.wanted, self.oldest)
        if self.wanted is not None and not exact:
            self.through -= self.wanted
        self.users: dict[Node, int] = {}
        if AFTER and (targets is None or fill):
            for node in self.through:
                for parent in node.parents:
                    if type(parent) is Leaf and parent.after is not None:
                        self.users[parent] = self.users.get(parent, 0) + 1

    def step(self, node: Node) -> None:
        """Visit a node, as `Pass` does."""
        if node not in self.pending:
            # A leaf whose turn came early.
            return
        grad = _settled(node, self.pending.pop(node))
        if node.watch is not None:
            grad = self.show(node, grad)
        if self.wanted is not None and node in self.wanted:
            self.arrive(node, grad)
        elif type(node) is Leaf:
            self.fill(node, node, grad)
        if node in self.through:
            if node.saved is None:
                raise _freed(node)
            self.onward(node, grad)

    def onward(self, node: Node, grad: Value) -> None:
        """Run a node back, and send on what it gives to where it is wanted."""
        pull = _pulled if MODE.pulling is None else MODE.pulling
        parents = node.parents
        try:
            grads = pull(node, grad, self.record)
        except Unknown:
            grads = Slices.pull(node, grad, self.record)
        for parent, part in zip(parents, grads, strict=True):
            if parent is not None and part is not None and self.wants(parent):
                self.send(parent, part)
        # Held here they would outlive what comes next.
        del grad, grads
        if not self.retain:
            node.free()
        for parent in parents if self.users else ():
            if parent in self.users:
                self.users[parent] -= 1
                if not self.users[parent] and parent in self.pending:
                    part = None
                    self.step(parent)

    def wants(self, node: Node) -> bool:
        """Tell whether a gradient has anything to do at a node."""
        return self.wanted is None or node in self.through or node in self.wanted

    def arrive(self, node: Node, grad: Value) -> None:
        """Keep what came to a target."""
        self.arrived[node] = grad
        for end in self.receivers.get(node, ()):
            self.fill(node, end, conjugated(grad))

    def fill(self, node: Node, end: Any, grad: Value) -> None:
        """Give a leaf with hooks what came, and show it to them; keep that of others for the end.

        What a leaf has got it keeps, whatever becomes of the pass.
        """
        if type(node) is not Leaf or node.after is None:
            self.ends.append((end, grad))
            return
        with _DELIVERING:
            end.receive(grad)
        del grad
        tensor = node.after.leaf()
        if tensor is not None and not alone(tensor):
            self.secure(owner(tensor._data))
        del tensor
        node.after()

    def secure(self, memory: Array) -> None:
        """Let what has still to run keep a copy of a leaf's memory, which its hooks may write."""
        for node in self.through:
            held = node.saved if type(node) is Node else None
            if held and any([isinstance(x, np.ndarray) and owner(x) is memory for x in held]):
                node.saved = tuple(
                    [
                        x.copy() if isinstance(x, np.ndarray) and owner(x) is memory else x
                        for x in held
                    ]
                )

    def show(self, node: Node, grad: Value) -> Value:
        """Let hooks see a gradient, and `retain_grad` too where no others are named."""
        before = len(self.ends)
        grad = super().show(node, grad)
        if self.wanted is not None:
            del self.ends[before:]
        return grad

    def deliver(self) -> None:
        """Give everybody what came."""
        with _DELIVERING:
            for end, grad in self.ends:
                end.receive(grad)


class _Filled:
    """Adds to `grad` of a Tensor that was named."""

    __slots__ = ("receive",)

    def __init__(self, tensor: Any) -> None:
        node = tensor._node
        self.receive = node.receive if type(node) is Leaf else receiver(tensor)


def _settled(node: Node, grad: Any) -> Value:
    """Return what has come to a node as one gradient."""
    if type(grad) is Scattered:
        grad = grad.gathered()
    return crossed(node, grad) if USED else grad


def _pulled(node: Node, grad: Any, record: bool) -> Sequence[Value | None]:
    return node.pull_recorded(grad) if record else node.pull(grad)


def leading(
    roots: Iterable[Node], targets: frozenset[Node] | None, oldest: int
) -> tuple[set[Node], set[Node]]:
    """Return the nodes by which a pass comes from the roots to targets, and all that it can meet.

    Parameters
    ----------
    roots : iterable of Node
    targets : frozenset of Node or None
        None stands for all leaves.
    oldest : int
        The age of the oldest target.
    """
    seen: set[Node] = set()
    waiting = list(roots)
    while waiting:
        node = waiting.pop()
        if node not in seen and (targets is None or node.age <= oldest):
            seen.add(node)
            waiting += [parent for parent in node.parents if parent is not None]
    if targets is None:
        return {node for node in seen if type(node) is not Leaf}, seen
    through: set[Node] = set()
    # What is older comes first; a node's parents are.
    for node in sorted(seen, key=lambda node: -node.age):
        if any([parent in targets or parent in through for parent in node.parents]):
            through.add(node)
    return through, seen


def _freed(node: Node) -> RuntimeError:
    return RuntimeError(
        f"backward: the graph of {node.name} was freed by an earlier backward; "
        "pass retain_graph=True to the first one to go through it again"
    )  # autograd-04


def run(
    roots: Sequence[tuple[Node, Value]],
    *,
    retain: bool,
    record: bool,
    targets: Sequence[Node] | None = None,
    inner: bool = False,
    exact: bool = False,
    fill: Sequence[Any] | None = None,
) -> Mapping[Node, Value]:
    """Run gradients back from the roots.

    Parameters
    ----------
    roots : sequence of (Node, gradient)
        Gradients are raw arrays, or Tensors if `record`.
    retain, record, targets, inner, fill
        As in `Pass` and `Careful`.
    exact : bool
        Targets may lead to each other, and what leads to none does not run.

    Returns
    -------
    dict of Node to gradient
        For those targets that a gradient reached.

    Raises
    ------
    RuntimeError
        If the pass comes to a node that was freed, or whose saved values were changed. No leaf has
        received anything then.
    """
    if not CLOCK.settled:
        settle()
    backward = (
        Careful([node for node, _ in roots], retain, record, targets, inner, exact, fill)
        if exact or AFTER or (WATCHING and MODE.pulling is not None)
        else Pass(retain, record, targets, inner)
    )
    before = MODE.recording
    MODE.recording = record and (before or True)
    if retain:
        MODE.retaining += 1
    try:
        backward.go(roots)
    finally:
        MODE.recording = before
        if retain:
            MODE.retaining -= 1
    return backward.arrived


def _refuse_sum(before: tuple[int, ...], shape: tuple[int, ...]) -> NoReturn:  # autograd-24
    msg = (
        f"backward: a leaf has a grad of shape {before}, from before its data was assigned, and "
        f"gets one of shape {shape}; set grad to None"
    )
    raise RuntimeError(msg)


def receiver(tensor: Any, cast: Callable[[Value], Value] | None = None) -> Callable[[Value], None]:
    """Return what adds a gradient, `cast` if that is given, to `grad` of a Tensor."""
    # The graph must not keep alive a Tensor whose gradient nobody can read any more.
    reference = weakref.ref(tensor)

    def receive(grad: Value) -> None:
        leaf = reference()
        if leaf is None or leaf._node is None:  # autograd-27
            return
        if cast is not None:
            grad = cast(grad)
        if USED and not is_batched(leaf._data):
            grad = of_all_slices(grad)
        if leaf._grad is not None and leaf._grad.shape != grad.shape:
            _refuse_sum(leaf._grad.shape, grad.shape)
        if not isinstance(grad, (np.ndarray, np.generic)):
            leaf._grad = (
                leaf._wrap(grad._data.copy(), grad._node)
                if leaf._grad is None
                else leaf._grad + grad
            )
        elif leaf._grad is None:
            # A rule may give one array to several operands, or the caller's own.
            ours = getrefcount(grad) <= _OURS and type(grad) is np.ndarray
            if not ours or not (flags := grad.flags).carray or not flags.owndata:
                grad = grad.copy() if is_batched(grad) else np.array(grad, order="C")
            leaf._grad = leaf._wrap(grad, None)
        else:
            leaf._grad = leaf._wrap(leaf._grad._data + grad, None)

    return receive


class _Probe:
    """Stands for a leaf, and counts the references to what is delivered to it."""

    __slots__ = ("count", "receive")

    def __init__(self) -> None:
        self.count = 0

        def receive(grad: Value) -> None:
            self.count = getrefcount(grad)

        self.receive = receive


def _held_by_a_pass() -> int:
    """Return the references to a gradient that nobody holds but the pass that delivers it.

    How many these are depends on the Python.
    """
    backward, probe = Pass(False, False), _Probe()
    backward.ends.append((probe, np.empty(1)))
    backward.deliver()
    return probe.count


_OURS = _held_by_a_pass()
