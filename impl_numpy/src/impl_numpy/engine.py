"""The engine: how gradients run back through the tape.

An operation is younger than all it was made from, so "youngest first" is an order in which every
node is visited after all its users, and a heap of ages is the whole schedule.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from heapq import heappop, heappush
from sys import getrefcount
from threading import RLock
from typing import Any

import numpy as np

from impl_numpy.dtypes import Value
from impl_numpy.memory import CLOCK, settle
from impl_numpy.tape import MODE, Leaf, Node, Scattered, check_saved, conjugated

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
        elif node in self.summed and type(grad) is not Scattered:
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

    def step(self, node: Node) -> None:
        """Visit a node: collect its gradient, keep it for the end, or send it on to the parents.

        What `pull` and `send` do in most cases stands here, without another call.
        """
        pending, kind, parents = self.pending, type(node), node.parents
        grad = pending.pop(node)
        if type(grad) is Scattered:
            grad = grad.gathered()
        if node.watch is not None:
            grad = self.show(node, grad)
        if self.wanted is not None and node in self.wanted:
            self.arrived[node] = grad
        elif kind is Leaf:
            self.ends.append((node, grad))
        elif node.saved is None:
            raise _freed(node)
        else:
            grads = (
                node.pull_recorded(grad)
                if self.record
                else node.rule.vjp(grad, parents, *node.saved)
                if kind is Node
                else node.pull(grad)
            )
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
) -> Mapping[Node, Value]:
    """Run gradients back from the roots.

    Parameters
    ----------
    roots : sequence of (Node, gradient)
        Gradients are raw arrays, or Tensors if `record`.
    retain, record, targets, inner
        As in `Pass`.

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
    backward = Pass(retain, record, targets, inner)
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
                grad = np.array(grad, order="C")
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
