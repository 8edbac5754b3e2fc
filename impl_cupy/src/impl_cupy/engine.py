"""The pass back: from gradients of results to gradients of leaves or of chosen inputs.

A pass lists the nodes that its roots depend on, inputs first, and visits them in reverse: every
node comes before those that made its inputs, so each is visited once, with its gradient complete.
Nothing here recurses. At each place (`step`) a pass shows what has arrived to the hooks (`hook`). A
node turns it into the inputs' gradients, which are sent on (`send`); a leaf gets it when all is
done (`deliver`), so that a pass that fails changes no `grad`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence, Set
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.memory import clock, is_held, lend
from impl_cupy.random import RestoredOnError
from impl_cupy.slices import is_mapped, refuse_value
from impl_cupy.tape import (
    FREED,
    Edge,
    LeafHooks,
    Node,
    Part,
    Recorded,
    Recording,
    Slot,
    Value,
    edge_of,
    handles,
    state,
    watched,
    wrap,
)

Place = Node | Slot

# Held while gradients are added to leaves, which passes in other threads may end in too.
_delivery = threading.RLock()


def backward(
    root: Recorded, grad: Any, retain_graph: bool, create_graph: bool, inputs: Any = None
) -> None:
    """Fill the leaves' `grad`, or that of `inputs` alone; see `Tensor.backward`.

    Raises
    ------
    RuntimeError
        If `root` has no history, its graph was freed, `grad` is missing or misshapen, or an input
        does not require grad.
    ValueError
        If there are no inputs.
    TypeError
        If `grad` or an input is no Tensor.
    """
    if is_mapped(root):
        refuse_value("backward")
    edge = edge_of(root)
    if edge is None:
        msg = "backward: this Tensor does not require grad and has no history"
        raise RuntimeError(msg)
    targets = None if inputs is None else edges_of("backward", "inputs", "inputs", inputs)
    seed = seed_of("backward", root._data, grad)
    run = Pass(recorded=create_graph, retain=retain_graph or create_graph)
    roots = [(edge, seed if create_graph else seed._data)]
    if targets is None:
        run.fill_leaves(roots)
    else:
        run.fill(roots, list(dict.fromkeys(targets)))


def edges_of(operation: str, argument: str, each: str, given: Any) -> list[Edge]:
    """Return the edges of a Tensor, or of a list or tuple of them, that require grad.

    Parameters
    ----------
    operation, argument, each : str
        What messages name: the argument, and one of what is in it.

    Raises
    ------
    ValueError
        If there is none.
    TypeError
        If one is no Tensor.
    RuntimeError
        That names the position of one that does not require grad.
    """
    if not isinstance(given, (list, tuple, Recorded)):
        msg = (
            f"{operation}: {argument} must be a Tensor or a list or tuple of them, got "
            f"{type_name(given)}"
        )
        raise TypeError(msg)
    edges = []
    for place, value in enumerate((given,) if isinstance(given, Recorded) else given):
        if not isinstance(value, Recorded):
            msg = f"{operation}: {argument} must hold Tensors, got {type_name(value)} at {place}"
            raise TypeError(msg)
        edge = edge_of(value)
        if edge is None:
            msg = f"{operation}: {each}[{place}] does not require grad"
            raise RuntimeError(msg)
        edges.append(edge)
    if not edges:
        msg = f"{operation}: {argument} must hold at least one Tensor, got none"
        raise ValueError(msg)
    return edges


class Pass:
    """One pass back.

    Parameters
    ----------
    recorded : bool
        Whether the way back is recorded itself: gradients are Tensors then, else raw arrays.
    retain : bool
        Whether nodes keep what they saved.
    """

    # The goals that lead to others, so that the pass goes on there.
    inner: Set[Place] = frozenset()
    # Within a block of anomalies, what looks at each node's gradients.
    inspector: Any = None

    def __init__(self, *, recorded: bool, retain: bool) -> None:
        self.recorded = recorded
        self.retain = retain
        self.waiting: dict[Place, list[Value | None]] = {}
        # Leaves whose gradient nothing else holds, so that it need not be copied.
        self.fresh: set[Place] = set()
        # Places where a gradient waits as a list of terms, some of them parts.
        self.parted: set[Place] = set()
        self.arrived: list[tuple[Slot, Value]] = []
        self.targets: dict[Edge, Value] = {}
        self.goals: set[Place] = set()
        # The places that lead to a goal; None where every place is wanted.
        self.needed: set[Place] | None = None

    def fill_leaves(self, roots: Sequence[tuple[Edge, Value]]) -> None:
        """Add the gradients that start at `roots` to the leaves' `grad`."""
        order = behind([edge[0] for edge, _ in roots])
        self._refuse_freed("backward", order)
        self._run(roots, order, _Settling(order) if LeafHooks.exist else None)

    def fill(self, roots: Sequence[tuple[Edge, Value]], targets: Sequence[Edge]) -> None:
        """Add the gradients that start at `roots` to the `grad` of `targets` alone, each once."""
        order = self._leading("backward", roots, targets)
        leaves: set[Place] = {edge[0] for edge in targets if isinstance(edge[0], Slot)}
        settling = _Settling(order, leaves) if LeafHooks.exist else None
        self._run(roots, order, settling)
        arrived = []
        for place, index in targets:
            grad = self.targets.get((place, index))
            if grad is not None and not (settling and place in settling.done):
                slot = place if isinstance(place, Slot) else place.slot(index)
                arrived.append((slot, grad))
        self.deliver(arrived)

    def named(
        self,
        operation: str,
        roots: Sequence[tuple[Edge, Value]],
        targets: Sequence[Edge],
        *,
        allow_unused: bool,
    ) -> list[tuple[bool, Value | None]]:
        """Return the gradients at `targets`, some of which others may depend on (autograd-41).

        Returns
        -------
        list
            Whether a root depends on a target, with the gradient; one that is zero may be None.

        Raises
        ------
        RuntimeError
            That names the position of a target that no root depends on, if it is not allowed.
        """
        order = self._leading(operation, roots, targets)
        reached = {edge for edge, _ in roots}
        reached.update(edge for place in order for edge in place.edges or () if edge is not None)
        for place, edge in enumerate(targets):
            if edge not in reached and not allow_unused:
                msg = (
                    f"{operation}: no output depends on input[{place}]; with allow_unused=True "
                    "its gradient is None"
                )
                raise RuntimeError(msg)
        self._run(roots, order)
        return [(edge in reached, self.targets.get(edge)) for edge in targets]

    def _leading(
        self, operation: str, roots: Sequence[tuple[Edge, Value]], targets: Sequence[Edge]
    ) -> list[Place]:
        order = behind([edge[0] for edge, _ in roots])
        self.goals = {edge[0] for edge in targets}
        self.needed = _leading_to(self.goals, order)
        self.inner = {
            place
            for place in self.goals
            if any(edge is not None and edge[0] in self.needed for edge in place.edges or ())
        }
        # Nobody knows what a freed node has led to; what no way goes on from has not to run.
        self._refuse_freed(operation, [p for p in order if p in self.inner or p not in self.goals])
        return [place for place in order if place in self.needed]

    def _refuse_freed(self, operation: str, order: Sequence[Place]) -> None:
        if any(place.edges is None for place in order):
            msg = f"{operation}: {FREED}"
            raise RuntimeError(msg)

    def gradients(
        self, roots: Sequence[tuple[Edge, Value]], targets: Sequence[Edge]
    ) -> list[Value | None]:
        """Return the gradients at `targets`; visit nothing else, and fill no `grad`."""
        self.goals = {edge[0] for edge in targets}
        order = behind([edge[0] for edge, _ in roots], self.goals)
        self.needed = _leading_to(self.goals, order)
        self._run(roots, [place for place in order if place in self.needed])
        return [self.targets.get(edge) for edge in targets]

    def _run(
        self,
        roots: Sequence[tuple[Edge, Value]],
        order: list[Place],
        settling: _Settling | None = None,
    ) -> None:
        if watched and state.anomalies is not None:
            self.inspector = state.anomalies.inspector(self.recorded)
        with RestoredOnError(), Recording(self.recorded):
            for edge, grad in roots:
                self.send(edge, grad, False)
            if settling is not None and settling.left:
                for place in reversed(order):
                    settling.step(self, place)
            else:
                for place in reversed(order):
                    self.step(place)
            if self.arrived and self.needed is None:
                self.deliver(self.arrived)

    def send(self, edge: Edge, grad: Value, is_fresh: bool) -> None:
        """Add a gradient to what waits at the end of an edge."""
        place, index = edge
        grads = self.waiting.setdefault(place, [None] * place.outputs)
        present = grads[index]
        if type(grad) is Part or type(present) is list:
            # Parts wait as a list until the place's turn comes.
            if type(present) is not list:
                present = grads[index] = [] if present is None else [present]
                self.parted.add(place)
            present.append(grad)
            is_fresh = True
        elif present is None:
            grads[index] = grad
        else:
            grads[index] = present + grad
            is_fresh = True
        if is_fresh and isinstance(place, Slot):
            self.fresh.add(place)

    def step(self, place: Place) -> None:
        """Visit one place: hook its gradients, note or pass them on, and free what it saved."""
        grads = self.waiting.pop(place, None)
        if grads is not None:
            if self.parted and place in self.parted:
                grads[:] = [handles.put_together(g) if type(g) is list else g for g in grads]
            if isinstance(place, Slot):
                self._hook_leaf(place, grads)
            elif place.slots:
                self._hook_outputs(place.slots, grads)
            if place in self.goals:
                self.targets.update({(place, index): grad for index, grad in enumerate(grads)})
                if place not in self.inner:
                    return
            if isinstance(place, Node):
                self._pull(place, grads)
        if not self.retain and isinstance(place, Node):
            place.release()

    def _pull(self, node: Node, grads: list[Value | None]) -> None:
        if node.age != clock.now:
            node.check(self.recorded)
        if self.inspector is not None:
            results = self.inspector.pull(node, grads, self.retain)
        else:
            results = node.pull_recorded(grads) if self.recorded else node.pull(grads, self.retain)
        needed = self.needed
        for index, edge in enumerate((node.edges or ())[: len(results)]):
            if edge is None or results[index] is None:
                continue
            if needed is not None and edge[0] not in needed:
                continue
            is_fresh = node.fresh
            if type(edge[0]) is Slot and not is_fresh and not self.recorded:
                is_fresh = _is_new(results, index)
            self.send(edge, results[index], is_fresh)

    def _hook_leaf(self, slot: Slot, grads: list[Value | None]) -> None:
        if slot.hooks:
            grads[0] = self.hook(slot, grads[0])
            self.fresh.discard(slot)
        if slot.keep:
            self.arrived.append((slot, grads[0]))

    def _hook_outputs(self, slots: dict[int, Slot], grads: list[Value | None]) -> None:
        for index, slot in slots.items():
            if grads[index] is not None:
                grads[index] = self.hook(slot, grads[index])
                if slot.keep:
                    self.arrived.append((slot, grads[index]))

    def hook(self, slot: Slot, grad: Value) -> Value:
        """Show a gradient to the hooks of a slot; return what they leave in its place."""
        if slot.hooks and not self.recorded:
            # A hook may write into what it is shown, which others may hold too (autograd-26).
            grad = grad.copy()
        for hook in tuple(slot.hooks.values()):
            shown = grad if self.recorded else wrap(grad)
            answer = hook(shown)
            if answer is not None:
                _check_answer(answer, shown)
                grad = answer if self.recorded else answer._data
        return grad

    def deliver(self, arrived: Sequence[tuple[Slot, Value]]) -> None:
        """Add gradients to the `grad` of slots, all or none."""
        for slot, grad in arrived:
            if slot.was_reshaped:
                slot.check(grad.shape)
        with _delivery:
            for slot, grad in arrived:
                self._add(slot, grad)

    def _add(self, slot: Slot, grad: Value) -> None:
        before = slot.grad
        if self.recorded:
            slot.grad = grad if before is None else before + grad
        elif before is not None:
            slot.grad = wrap(before._data + grad)
        else:
            # A gradient may be a view, or somebody's saved array; what a user finds in grad is his.
            own = grad if slot in self.fresh else cp.array(grad, copy=True, order="C")
            slot.grad = wrap(own)


class _Settling:
    """Fills leaves with hooks of their own as soon as the last of their users has run.

    Attributes
    ----------
    left : dict of Slot to int
        How many of the pass's nodes that use a leaf have still to run.
    done : set of Slot
        The leaves that are filled.
    """

    def __init__(self, order: Sequence[Place], leaves: set[Place] | None = None) -> None:
        self.left: dict[Place, int] = {
            place: 0
            for place in order
            if isinstance(place, Slot)
            and place.after is not None
            and place.after.hooks
            and (leaves is None or place in leaves)
        }
        self.done: set[Place] = set()
        self.used: dict[Place, list[Place]] = {}
        for place in order if self.left else ():
            used = {edge[0] for edge in place.edges or () if edge and edge[0] in self.left}
            if used:
                self.used[place] = list(used)
            for leaf in used:
                self.left[leaf] += 1

    def step(self, run: Pass, place: Place) -> None:
        """Visit a place, and the leaves that it was the last to use."""
        if place in self.left:
            self._fill(run, place)
            return
        used = self.used.pop(place, ())
        run.step(place)
        for leaf in used:
            self.left[leaf] -= 1
            if not self.left[leaf]:
                self._fill(run, leaf)

    def _fill(self, run: Pass, leaf: Any) -> None:
        if leaf in self.done:
            return
        self.done.add(leaf)
        run.step(leaf)
        ready = [pair for pair in run.arrived if pair[0] is leaf]
        if not ready:
            return
        run.arrived.remove(ready[0])
        run.targets.pop((leaf, 0), None)
        run.deliver(ready)
        ready.clear()
        leaf.after.call()


def _is_new(results: Sequence[Value], index: int) -> bool:
    """Tell whether a gradient is an array that nothing else holds, in the order a leaf has it."""
    if type(results[index]) is Part or is_held(results, index):
        return False
    return bool(results[index].flags.c_contiguous)


def behind(roots: Sequence[Place], goals: set[Place] | None = None) -> list[Place]:
    """List the places that `roots` depend on, inputs first; look for nothing behind a goal."""
    order: list[Place] = []
    seen: set[Place] = set()
    stack: list[tuple[Place, bool]] = [(place, False) for place in roots]
    while stack:
        place, finished = stack.pop()
        if finished:
            order.append(place)
        elif place not in seen:
            seen.add(place)
            stack.append((place, True))
            if goals is None or place not in goals:
                stack.extend((edge[0], False) for edge in place.edges or () if edge is not None)
    return order


def _leading_to(goals: set[Place], order: list[Place]) -> set[Place]:
    """Return the places of `order` that lead to a goal, the goals among them."""
    needed = set(goals)
    for place in order:
        if any(edge is not None and edge[0] in needed for edge in place.edges or ()):
            needed.add(place)
    return needed


def _check_answer(answer: Any, shown: Any) -> None:
    if not isinstance(answer, Recorded):
        msg = f"register_hook: a hook must return a Tensor or None, got {type_name(answer)}"
        raise TypeError(msg)
    new, old = answer._data, shown._data
    if new.shape != old.shape or new.dtype != old.dtype:
        msg = (
            f"register_hook: a hook must return shape {old.shape} and dtype "
            f"{old.dtype.name}, got {new.shape} and {new.dtype.name}"
        )
        raise ValueError(msg)


def seed_of(operation: str, root: Any, grad: Any) -> Any:
    """Return the gradient that a pass from the raw array `root` starts with, as a Tensor."""
    if grad is None:
        if root.size != 1:
            msg = (
                f"{operation}: only a scalar has an implicit gradient, this Tensor has shape "
                f"{root.shape}; pass one of that shape"
            )
            raise RuntimeError(msg)
        if root.dtype.kind == "c":
            msg = f"{operation}: dtype {root.dtype.name} has no implicit gradient; pass a Tensor"
            raise RuntimeError(msg)
        return wrap(cp.ones(root.shape, dtype=root.dtype))
    if isinstance(grad, cp.ndarray):
        lend(grad)
    seed = wrap(grad) if isinstance(grad, cp.ndarray) else grad
    if not isinstance(seed, Recorded):
        msg = f"{operation}: the gradient must be a Tensor, got {type_name(grad)}"
        raise TypeError(msg)
    _check_seed(operation, seed._data, root)
    return seed if seed._data.dtype == root.dtype else handles.astype(seed, root.dtype)


def _check_seed(operation: str, raw: Any, root: Any) -> None:
    if raw.shape != root.shape:
        msg = (
            f"{operation}: the gradient must have the Tensor's shape {root.shape}, got {raw.shape}"
        )
        raise RuntimeError(msg)
    if raw.dtype.kind == "c" and root.dtype.kind != "c":
        msg = (
            f"{operation}: the gradient of a Tensor of dtype {root.dtype.name} must be real, got "
            f"dtype {raw.dtype.name}"
        )
        raise TypeError(msg)
