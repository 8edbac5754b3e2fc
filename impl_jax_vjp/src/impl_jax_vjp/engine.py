"""The pass that runs the tape back, for `Tensor.backward` and for the transformations."""

import heapq
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from . import kernels
from .tape import (
    MODE,
    Node,
    Operation,
    Traced,
    constant,
    gather_needed,
    make,
    record,
)

Array = Any

_add_arrays = jax.jit(lambda x, y: x + y, inline=True)
_ADD = Operation(lambda x, y: x + y, "add", kernels.nothing)


@contextmanager
def recording(flag: bool) -> Iterator[None]:
    """Switch recording for this thread, and back again whatever happens."""
    before = MODE.enabled
    MODE.enabled = flag
    try:
        yield
    finally:
        MODE.enabled = before


def _hook_result(answer: Any, grad: Any) -> Array:
    """Return the array that a hook gave in place of `grad`, or raise if it cannot stand there."""
    if not isinstance(answer, Traced | jax.Array | np.ndarray):
        msg = f"register_hook: the hook gave {type(answer).__name__}, wanted a Tensor or None"
        raise TypeError(msg)
    data = answer._data if isinstance(answer, Traced) else answer
    if data.shape != grad.shape:
        msg = f"register_hook: the hook gave shape {data.shape}, the gradient has {grad.shape}"
        raise ValueError(msg)
    if data.dtype != grad.dtype:
        msg = f"register_hook: the hook gave dtype {data.dtype}, the gradient has {grad.dtype}"
        raise TypeError(msg)
    return jnp.asarray(data)


class Pass:
    """One run from some outputs back to the leaves, or to chosen inputs.

    Parameters
    ----------
    create : bool
        Record the run: gradients are then Tensors with a history, else arrays.
    retain : bool
        Keep the nodes for another run.
    """

    def __init__(self, create: bool, retain: bool) -> None:
        self._create = create
        self._retain = retain or create
        self._heap: list[tuple[int, Node]] = []
        self._pending: dict[Node, list[Any]] = {}
        # By identity: == on Tensors compares elements.
        self.leaves: dict[int, tuple[Any, Any]] = {}
        self._kept: list[tuple[Any, Any]] = []
        self._needed: set[Node] | None = None
        self._wanted: set[tuple[Node, int]] = set()
        self._found: dict[tuple[Node, int], Any] = {}

    def _sum(self, x: Any, y: Any) -> Any:
        if x is None:
            return y
        return record(_ADD, (x, y)) if self._create else _add_arrays(x, y)

    def _send(self, target: Any, slot: int, grad: Any) -> None:
        if type(target) is Node:
            waiting = self._pending.get(target)
            if waiting is None:
                waiting = self._pending[target] = [None] * target.count
                heapq.heappush(self._heap, (-target.sequence, target))
            waiting[slot] = self._sum(waiting[slot], grad)
        else:
            known = self.leaves.get(id(target))
            total = grad if known is None else self._sum(known[1], grad)
            self.leaves[id(target)] = (target, total)

    def _hooked(self, hooks: dict[int, Any] | None, grad: Any) -> Any:
        if not hooks or grad is None:
            return grad
        for hook in list(hooks.values()):
            answer = hook(grad if self._create else make(grad))
            if answer is not None:
                data = _hook_result(answer, grad)
                if not self._create:
                    grad = data
                else:
                    grad = answer if isinstance(answer, Traced) else make(data)
        return grad

    def _attend(self, node: Node, grads: list[Any]) -> None:
        for index, hooks in (node.hooks or {}).items():
            grads[index] = self._hooked(hooks, grads[index])
        for index, reference in (node.retained or {}).items():
            tensor = reference()
            if tensor is not None and grads[index] is not None:
                self._kept.append((tensor, grads[index]))
        if self._wanted:
            for index, grad in enumerate(grads):
                if (node, index) in self._wanted:
                    self._found[node, index] = grad

    def run(self, outputs: Sequence[Traced], grads: Sequence[Any]) -> None:
        """Run back from `outputs`; `leaves` then has each leaf with its gradient."""
        with recording(self._create):
            for output, grad in zip(outputs, grads, strict=True):
                if output._requires_grad:
                    self._send(output._node or output, output._index, grad)
            while self._heap:
                node = heapq.heappop(self._heap)[1]
                grads = self._pending.pop(node)
                if node.hooks or node.retained or self._wanted:
                    self._attend(node, grads)
                if self._needed is None or node in self._needed:
                    self._step(node, grads)
            self.leaves = {
                key: (leaf, self._hooked(leaf._hooks, grad))
                for key, (leaf, grad) in self.leaves.items()
            }

    def _step(self, node: Node, grads: list[Any]) -> None:
        rule = node.rule
        if rule is None:
            msg = (
                f"backward: the graph of {node.name} was freed by an earlier backward; "
                "call that one with retain_graph=True to run it twice"
            )
            raise RuntimeError(msg)
        if self._create:
            pulled = rule.derive(node, grads)
        else:
            pulled = rule.pull(node.arrays, grads)
        targets, slots = node.targets, node.slots
        if not self._retain:
            node.release()
        for target, slot, grad in zip(targets, slots, pulled, strict=True):
            if grad is None:
                continue
            needed = self._needed
            if needed is None or target in needed or self._is_wanted(target, slot):
                self._send(target, slot, grad)

    def _is_wanted(self, target: Any, slot: int) -> bool:
        return type(target) is not Node or (target, slot) in self._wanted

    def deliver(self) -> None:
        """Add what was found to `grad` of the leaves and of the Tensors that keep theirs."""
        news = []
        with recording(self._create):
            for tensor, grad in [*self.leaves.values(), *self._kept]:
                if grad is None:
                    continue
                grad = grad if self._create else constant(grad)
                if tensor._grad is None:
                    news.append((tensor, grad if self._create else make(grad)))
                elif self._create:
                    news.append((tensor, record(_ADD, (tensor._grad, grad))))
                else:
                    news.append((tensor, make(_add_arrays(tensor._grad._data, grad))))
        for tensor, total in news:
            tensor._grad = total

    def toward(
        self, outputs: Sequence[Traced], grads: Sequence[Any], inputs: Sequence[Traced]
    ) -> list[Any]:
        """Return the gradients of `inputs`, None where nothing came; no `grad` is touched."""
        self._wanted = {(t._node, t._index) for t in inputs if t._node is not None}
        self._needed = gather_needed(outputs, inputs)
        self.run(outputs, grads)
        found = []
        for tensor in inputs:
            if tensor._node is None:
                found.append(self.leaves.get(id(tensor), (None, None))[1])
            else:
                found.append(self._found.get((tensor._node, tensor._index)))
        return found
