"""The pass that runs the tape back, for `Tensor.backward` and for the transformations.

Nodes come from a heap, newest first, so every gradient of a node has arrived before it steps, the
order is the same each time, and nothing recurses.
"""

import heapq
import itertools
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence, Set
from types import MappingProxyType
from typing import Any

import jax

from .checks import check_callable
from .dtypes import restore_x64, swap_x64
from .tape import (
    MODE,
    WHOLE,
    Edge,
    Node,
    Scattered,
    Traced,
    constant,
    edge_of,
    nodes_between,
    unwrap,
    wrap,
)

Array = Any

_add_arrays = jax.jit(lambda x, y: x + y, inline=True)


_hook_ids = itertools.count()

# Leaves that have, or had, hooks for after their gradients, by their ids. While there are none a
# pass need not look for them.
_FOLLOWED: dict[int, weakref.ref[Traced]] = {}

# Held while gradients are added to those that leaves have: another thread may add there too.
_delivery = threading.Lock()


class _Sum:
    """The rule of two gradients added in a recorded pass: each gets the sum's gradient."""

    name = "add"

    def __init__(self, count: int) -> None:
        self._count = count

    def pull(self, _saved: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradient of the sum for each differentiated term."""
        return [grads[0]] * self._count

    def derive(self, _node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradient of the sum, a Tensor, for each differentiated term."""
        return [grads[0]] * self._count


def _add_recorded(x: Traced, y: Traced) -> Any:
    total = _add_arrays(unwrap(x), unwrap(y))
    edges = [edge for edge in (edge_of(x), edge_of(y)) if edge is not None]
    if not edges:
        return wrap(total)
    targets, slots = [edge[0] for edge in edges], [edge[1] for edge in edges]
    return wrap(total, Node(_Sum(len(edges)), None, targets, slots, 1))


class _Parts:
    """The rule of parts put together in a recorded pass: each gets what it is of the gradient."""

    name = "index"

    def __init__(self, parts: Sequence[tuple[Any, Any]]) -> None:
        self._parts = parts

    def pull(self, _saved: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of the differentiated parts."""
        return [rule.select(saved, grads[0]) for rule, saved in self._parts]

    def derive(self, _node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients of the differentiated parts as Tensors."""
        return [rule.select_recorded(saved, grads[0]) for rule, saved in self._parts]


def _together_recorded(scattered: Scattered) -> Any:
    """Return parts that are Tensors as one Tensor."""
    followed = [part for part in scattered.parts if part[2]._requires_grad]
    total = scattered.together()
    if not followed:
        return wrap(total)
    rule = _Parts([(rule, saved) for rule, saved, _ in followed])
    targets = [grad._node or grad for *_, grad in followed]
    return wrap(total, Node(rule, None, targets, [grad._slot for *_, grad in followed], 1))


class Handle:
    """A hook's place in a table, the first with `prepend`; `remove` takes it out."""

    __slots__ = ("_key", "_table")

    def __init__(self, table: dict[int, Any], hook: Any, prepend: bool = False) -> None:
        self._table = table
        # A table that was unpickled has keys of another process.
        self._key = next(key for key in _hook_ids if key not in table)
        behind = list(table) if prepend else []
        table[self._key] = hook
        for key in behind:
            table[key] = table.pop(key)

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._table.pop(self._key, None)


class After:
    """A hook that is called with its leaf, after that got its gradient."""

    __slots__ = ("hook",)

    def __init__(self, hook: Callable[[Any], Any]) -> None:
        self.hook = hook


def follow(name: str, leaf: Traced, hook: Callable[[Any], Any]) -> Handle:
    """Register a hook that a pass calls as soon as a leaf has its gradient.

    Raises
    ------
    RuntimeError
        If the Tensor is no leaf, or does not require grad.
    TypeError
        If the hook cannot be called.
    """
    if leaf._node is not None:
        msg = f"{name}: the Tensor must be a leaf, got a result of {leaf._node.name}"
        raise RuntimeError(msg)
    if not leaf._requires_grad:
        msg = f"{name}: this Tensor does not require grad"
        raise RuntimeError(msg)
    check_callable(name, "hook", hook)
    hooks = leaf._hooks = leaf._hooks if leaf._hooks is not None else {}
    key = id(leaf)
    _FOLLOWED[key] = weakref.ref(leaf, lambda _: _FOLLOWED.pop(key, None))
    return Handle(hooks, After(hook))


def _has_after(leaf: Traced) -> bool:
    return any([isinstance(hook, After) for hook in list((leaf._hooks or {}).values())])


class Engine:
    """One run from some outputs back to the leaves, or to chosen inputs.

    Parameters
    ----------
    create : bool
        Record the run: gradients are then Tensors with a history, else arrays.
    retain : bool
        Keep the nodes for another run.
    """

    # What most passes have no need of.
    # None where every node is to step.
    _needed: Set[Node] | None = None
    _wanted: Set[tuple[Node, int]] = frozenset()
    _wanted_leaves: Set[int] = frozenset()
    # Those that `backward` was told to fill `grad` of alone, by their ids.
    _named: Mapping[int, Traced] = MappingProxyType({})
    # How many nodes that are still to step use a leaf that is followed.
    _users: dict[int, int] | None = None

    def __init__(self, create: bool, retain: bool) -> None:
        self._create = create
        self._retain = retain or create
        # JAX's x64 mode as the caller has it; hooks find it so.
        self._outside: Any = None
        self._heap: list[tuple[int, Node]] = []
        self._waiting: dict[Node, list[Any]] = {}
        # By identity: == on Tensors compares elements.
        self._leaves: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._retained: list[tuple[Any, Any]] = []
        self._arrived: dict[tuple[Node, int], Any] = {}
        self._scattered = False
        # What the hooks of whole nodes remember from one to the next.
        self._memory: dict[Any, Any] = {}
        # Nodes that are older do not step: they count as leaves, and hooks are not called there.
        self._since = 0

    def backward(self, output: Traced, grad: Any, inputs: Sequence[Traced] | None = None) -> None:
        """Run back from one output, and add to `grad` of its leaves, or of `inputs` alone."""
        if inputs is not None:
            self._aim([output], inputs)
            self._named = {id(t): t for t in inputs if t._node is not None}
        if _FOLLOWED:
            self._users = self._counted(output)
        self._run([output], [grad], self.deliver)

    def _aim(self, outputs: Sequence[Traced], inputs: Sequence[Traced]) -> None:
        """Let nothing step that does not lead to one of `inputs`."""
        self._wanted = {(t._node, t._slot) for t in inputs if t._node is not None}
        self._wanted_leaves = {id(t) for t in inputs if t._node is None}
        self._needed = nodes_between(outputs, inputs)

    def _counted(self, output: Traced) -> dict[int, int]:
        """Return how many nodes of this pass use each leaf with hooks for after its gradient."""
        users: dict[int, int] = {}
        needed = self._needed
        stack: list[Any] = [] if output._node is None else [output._node]
        seen = set(stack)
        while stack:
            node = stack.pop()
            if needed is not None and node not in needed:
                continue
            for target in node.targets:
                if type(target) is not Node:
                    if id(target) in _FOLLOWED and _has_after(target):
                        users[id(target)] = users.get(id(target), 0) + 1
                elif target not in seen:
                    seen.add(target)
                    stack.append(target)
        return users

    def gradients(
        self, outputs: Sequence[Traced], grads: Sequence[Any], inputs: Sequence[Traced]
    ) -> list[Any]:
        """Return the gradients of `inputs`, None where nothing came; no `grad` is touched."""
        self._aim(outputs, inputs)
        self._run(outputs, grads, None)
        return [self._gradient(t) for t in inputs]

    def _gradient(self, tensor: Traced) -> Any:
        """Return what arrived at one of the inputs."""
        if tensor._node is None:
            return self._leaves.get((id(tensor), tensor._slot), (None, None))[1]
        return self._arrived.get((tensor._node, tensor._slot))

    def across(
        self, outputs: Sequence[Traced], grads: Sequence[Any], since: int, edges: Sequence[Edge]
    ) -> list[Any]:
        """Return the gradients that arrive at edges out of what was recorded since a number."""
        self._since = since
        self._run(outputs, grads, None)
        return [self._leaves.get((id(target), slot), (None, None))[1] for target, slot in edges]

    def _run(
        self, outputs: Sequence[Traced], grads: Sequence[Any], then: Callable[[], None] | None
    ) -> None:
        recording, MODE.enabled = MODE.enabled, self._create
        self._outside = swap_x64(True)
        try:
            for output, grad in zip(outputs, grads, strict=True):
                if output._requires_grad:
                    target = output._node or output
                    if self._needed is None or self._leads(target, output._slot):
                        self.send(target, output._slot, grad)
            self._walk()
            if then is not None:
                then()
        finally:
            restore_x64(self._outside)
            MODE.enabled = recording

    def _walk(self) -> None:
        """Step through the nodes, newest first, and let the hooks of leaves see what came."""
        while self._heap:
            node = heapq.heappop(self._heap)[1]
            arrived = self._waiting.pop(node)
            if self._scattered:
                arrived = [self._whole(grad) for grad in arrived]
            if node.hooks or node.retained or self._wanted:
                self._attend(node, arrived)
            if self._needed is None or node in self._needed:
                self.step(node, arrived)
        for key, (leaf, grad) in self._leaves.items():
            hooks = None if self._since else leaf._hooks
            if hooks or self._scattered:
                self._leaves[key] = (leaf, self.hook(hooks, self._whole(grad)))

    def send(self, target: Any, slot: int, grad: Any) -> None:
        """Add a gradient to what waits for a node's slot, or for a leaf."""
        if type(grad) is Scattered:
            self._scattered = True
        if type(target) is Node and target.sequence >= self._since:
            waiting = self._waiting.get(target)
            if waiting is None:
                waiting = self._waiting[target] = [None] * target.count
                heapq.heappush(self._heap, (-target.sequence, target))
            before = waiting[slot]
            waiting[slot] = grad if before is None else self._add(before, grad)
        else:
            known = self._leaves.get((id(target), slot))
            total = grad if known is None else self._add(known[1], grad)
            self._leaves[id(target), slot] = (target, total)

    def _add(self, x: Any, y: Any) -> Any:
        if type(x) is Scattered:
            return x.add(y)
        if type(y) is Scattered:
            return y.add(x)
        return _add_recorded(x, y) if self._create else _add_arrays(x, y)

    def _whole(self, grad: Any) -> Any:
        """Return any gradient as one array, or one Tensor in a recorded pass."""
        if type(grad) is not Scattered:
            return grad
        total = _together_recorded(grad) if self._create else grad.together()
        for other in grad.others:
            total = _add_recorded(other, total) if self._create else _add_arrays(other, total)
        return total

    def _attend(self, node: Node, grads: list[Any]) -> None:
        """Run the hooks of a node's outputs, and note the gradients that somebody wants."""
        for slot, hooks in (node.hooks or {}).items():
            if slot != WHOLE:
                grads[slot] = self.hook(hooks, grads[slot])
        for slot, reference in (node.retained or {}).items():
            tensor = reference()
            if tensor is not None and grads[slot] is not None and self._needed is None:
                self._retained.append((tensor, grads[slot]))
        if self._wanted:
            for slot, grad in enumerate(grads):
                if (node, slot) in self._wanted:
                    self._arrived[node, slot] = grad

    def _asked(self, hook: Callable[..., Any], grads: list[Any]) -> list[Any]:
        """Return the gradients of a node's outputs as a hook leaves them, Tensors to it."""
        given = [g if g is None or self._create else wrap(g) for g in grads]
        restore_x64(self._outside)
        try:
            left = hook(self._memory, given)
        finally:
            self._outside = swap_x64(True)
        return [g if g is None or self._create else g._data for g in left]

    def hook(self, hooks: dict[int, Any] | None, grad: Any) -> Any:
        """Return a gradient after the hooks, each of which may put another in its place."""
        if not hooks or grad is None:
            return grad
        for hook in list(hooks.values()):
            if isinstance(hook, After):
                continue
            restore_x64(self._outside)
            try:
                answer = hook(grad if self._create else wrap(grad))
            finally:
                self._outside = swap_x64(True)
            if answer is not None:
                data = check_answer("register_hook: the hook", answer, grad)
                grad = answer if self._create else data
        return grad

    def step(self, node: Node, grads: list[Any]) -> None:
        """Let a node pull its gradients back, and send them along its edges."""
        rule = node.rule
        if rule is None:
            msg = (
                f"backward: the graph of {node.name} was freed by an earlier backward; "
                "call that one with retain_graph=True to run it twice"
            )
            raise RuntimeError(msg)
        if node.hooks and WHOLE in node.hooks:
            grads = self._asked(node.hooks[WHOLE][0], grads)
        pulled = rule.derive(node, grads) if self._create else rule.pull(node.saved, grads)
        targets, slots = node.targets, node.slots
        if not self._retain:
            node.release()
        needed = self._needed
        for target, slot, grad in zip(targets, slots, pulled, strict=True):
            if grad is not None and (needed is None or self._leads(target, slot)):
                self.send(target, slot, grad)
        if self._users:
            self._settle(self._users, targets)

    def _leads(self, target: Any, slot: int) -> bool:
        """Tell whether a gradient that is sent there is wanted, or on the way to one that is."""
        if type(target) is not Node:
            return id(target) in self._wanted_leaves
        return target in (self._needed or ()) or (target, slot) in self._wanted

    def _settle(self, users: dict[int, int], targets: Sequence[Any]) -> None:
        """Give followed leaves their gradients when a node has stepped that used them last."""
        for leaf in targets:
            left = users.get(id(leaf), 0) - 1
            if left >= 0:
                users[id(leaf)] = left
            if left == 0:
                _, grad = self._leaves.pop((id(leaf), 0), (leaf, None))
                self._add_to([(leaf, self.hook(leaf._hooks, self._whole(grad)))])

    def deliver(self) -> None:
        """Add what arrived to `grad` of leaves, of Tensors that keep theirs, and of those named."""
        arrived = [*self._leaves.values(), *self._retained]
        if self._named:
            arrived += [(t, self._gradient(t)) for t in self._named.values()]
        self._add_to(arrived)

    def _add_to(self, arrived: Sequence[tuple[Any, Any]]) -> None:
        """Add gradients to what Tensors have, and call the hooks for after that."""
        totals = []
        with _delivery:  # autograd-28
            for tensor, grad in arrived:
                if grad is None or not tensor._requires_grad:  # autograd-27
                    continue
                grad = grad if self._create else wrap(constant(grad))
                _check_shapes(tensor, grad.shape)
                if tensor._grad is None:
                    totals.append((tensor, grad))
                elif self._create:
                    totals.append((tensor, _add_recorded(tensor._grad, grad)))
                else:
                    totals.append((tensor, wrap(_add_arrays(tensor._grad._data, grad._data))))
            for tensor, total in totals:
                tensor._grad = total
        if _FOLLOWED:
            for tensor, _ in totals:
                self._follow(tensor)

    def _follow(self, leaf: Any) -> None:
        """Call the hooks of a leaf that has its gradient now."""
        for hook in list((leaf._hooks or {}).values()):
            if isinstance(hook, After):
                restore_x64(self._outside)
                try:
                    hook.hook(leaf)
                finally:
                    self._outside = swap_x64(True)


def _check_shapes(leaf: Any, shape: tuple[int, ...]) -> None:
    """Raise if a leaf's data was assigned in another shape than its gradient has (autograd-24)."""
    if shape != leaf.shape:
        msg = (
            f"backward: a leaf was given data of shape {leaf.shape} since, which a gradient of "
            f"shape {shape} does not fit"
        )
        raise RuntimeError(msg)
    if leaf._grad is not None and leaf._grad.shape != shape:
        msg = (
            f"backward: a leaf has a grad of shape {leaf._grad.shape}, from before its data was "
            f"assigned, and gets one of shape {shape}; set grad to None"
        )
        raise RuntimeError(msg)


def check_answer(hook: str, answer: Any, grad: Any) -> Array:
    """Return the array that a hook gave in place of `grad`, or raise if it cannot stand there."""
    if not isinstance(answer, Traced):  # autograd-26
        msg = f"{hook} must give a Tensor or None, got {type(answer).__name__}"
        raise TypeError(msg)
    data = answer._data
    if data.shape != grad.shape:
        msg = f"{hook} must give shape {grad.shape}, got {data.shape}"
        raise ValueError(msg)
    if data.dtype != grad.dtype:
        msg = f"{hook} must give dtype {grad.dtype}, got {data.dtype}"
        raise TypeError(msg)
    return data
