"""The way back: from gradients of results to gradients of leaves or of chosen inputs.

The engine is iterative. It lists the nodes that the roots depend on in an order in which every node
comes before those that made its inputs, so each is visited once, with its gradient complete.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.errors import kind_of
from impl_cupy.random import restored_on_error
from impl_cupy.tape import FREED, Edge, Node, Recording, Slot, Value
from impl_cupy.tensor import Tensor, edge_of, methods, wrap


def backward(root: Tensor, grad: Any, retain_graph: bool, create_graph: bool) -> None:
    """Fill the leaves' `grad`; see `Tensor.backward`.

    Raises
    ------
    RuntimeError
        If `root` has no history, its graph was freed, or `grad` is missing or misshapen.
    TypeError
        If `grad` is no Tensor or of another dtype.
    """
    edge = edge_of(root)
    if edge is None:
        msg = "backward: this Tensor does not require grad and has no history"
        raise RuntimeError(msg)
    seed = _seed(root, grad)
    run(
        [(edge, seed if create_graph else seed._data)],
        recorded=create_graph,
        retain=retain_graph or create_graph,
    )


def run(
    roots: Sequence[tuple[Edge, Value]],
    *,
    recorded: bool,
    retain: bool,
    targets: Sequence[Edge] | None = None,
) -> list[Value | None]:
    """Run back from `roots`.

    Parameters
    ----------
    roots : sequence of (edge, gradient)
        Gradients are Tensors if `recorded`, else raw arrays.
    recorded : bool
        Whether the way back is recorded itself.
    retain : bool
        Whether nodes keep what they saved.
    targets : sequence of edges, optional
        Where the gradients are wanted; nothing else is visited, and no `grad` is filled. Without
        it the leaves' `grad` is filled.

    Returns
    -------
    list of gradients or None
        One per target.
    """
    goals = None if targets is None else {edge[0] for edge in targets}
    order, needed = _discover([edge[0] for edge, _ in roots], goals)
    with restored_on_error(), Recording(recorded):
        return _walk(roots, order, needed, recorded, retain, targets)


def _walk(
    roots: Sequence[tuple[Edge, Value]],
    order: list[Node | Slot],
    needed: set[Node | Slot] | None,
    recorded: bool,
    retain: bool,
    targets: Sequence[Edge] | None,
) -> list[Value | None]:
    waiting: dict[Node | Slot, list[Value | None]] = {}
    fresh: set[Slot] = set()
    kept: list[tuple[Slot, Value]] = []
    found: dict[Edge, Value] = {}
    goal_nodes = {edge[0] for edge in targets or ()}

    def send(edge: Edge, grad: Value, is_fresh: bool) -> None:
        node, index = edge
        grads = waiting.setdefault(node, [None] * node.outputs)
        present = grads[index]
        if present is None:
            grads[index] = grad
        else:
            grads[index] = present + grad
            is_fresh = True
        if is_fresh and isinstance(node, Slot):
            fresh.add(node)

    for edge, grad in roots:
        send(edge, grad, False)
    for node in reversed(order):
        grads = waiting.pop(node, None)
        if isinstance(node, Slot):
            if grads is not None:
                if node.hooks:
                    grads[0] = _hooked(node, grads[0], recorded)
                    fresh.discard(node)
                kept.append((node, grads[0]))
        elif grads is not None and node.slots:
            for index, slot in node.slots.items():
                if grads[index] is not None:
                    grads[index] = _hooked(slot, grads[index], recorded)
                    if slot.keep:
                        kept.append((slot, grads[index]))
        if node in goal_nodes:
            for index, grad in enumerate(grads or ()):
                found[node, index] = grad
        elif grads is not None and isinstance(node, Node):
            edges = node.edges or ()
            results = node.pull_recorded(grads) if recorded else node.pull(grads)
            for back, grad in zip(edges, results, strict=False):
                if back is not None and grad is not None and (needed is None or back[0] in needed):
                    send(back, grad, node.fresh)
        if not retain and isinstance(node, Node):
            node.release()
    if targets is not None:
        return [found.get(edge) for edge in targets]
    for slot, grad in kept:
        _keep(slot, grad, recorded, slot in fresh)
    return []


def _discover(
    roots: Sequence[Node | Slot], goals: set[Node | Slot] | None
) -> tuple[list[Node | Slot], set[Node | Slot] | None]:
    """List the nodes behind `roots`, inputs first; with `goals` those alone that lead there."""
    order: list[Node | Slot] = []
    needed = set(goals or ())
    seen: set[Node | Slot] = set()
    freed = False
    stack: list[tuple[Node | Slot, bool]] = [(node, False) for node in roots]
    while stack:
        node, finished = stack.pop()
        if finished:
            order.append(node)
            if goals is not None and any(edge and edge[0] in needed for edge in node.edges or ()):
                needed.add(node)
            continue
        if node in seen:
            continue
        seen.add(node)
        stack.append((node, True))
        if node.edges is None:
            freed = True
        elif goals is None or node not in goals:
            stack.extend((edge[0], False) for edge in node.edges if edge is not None)
    if goals is not None:
        return [node for node in order if node in needed], needed
    if freed:
        msg = f"backward: {FREED}"
        raise RuntimeError(msg)
    return order, None


def _hooked(slot: Slot, grad: Value, recorded: bool) -> Value:
    for hook in tuple(slot.hooks.values()):
        given = grad if recorded else wrap(grad)
        answer = hook(given)
        if answer is None:
            continue
        if not isinstance(answer, Tensor):
            msg = f"register_hook: a hook must return a Tensor or None, got {kind_of(answer)}"
            raise TypeError(msg)
        if answer.shape != given.shape or answer.dtype != given.dtype:
            msg = (
                f"register_hook: a hook must return shape {given.shape} and dtype "
                f"{given.dtype.name}, got {answer.shape} and {answer.dtype.name}"
            )
            raise ValueError(msg)
        grad = answer if recorded else answer._data
    return grad


def _keep(slot: Slot, grad: Value, recorded: bool, fresh: bool) -> None:
    before = slot.grad
    if recorded:
        slot.grad = grad if before is None else before + grad
    elif before is None:
        # A gradient may be a view, or somebody's saved array; what a user finds in grad is his.
        slot.grad = wrap(grad if fresh else cp.array(grad, copy=True, order="C"))
    else:
        slot.grad = wrap(before._data + grad)


def _seed(root: Tensor, grad: Any) -> Tensor:
    if grad is None:
        if root.size != 1:
            msg = (
                "backward: only a scalar has an implicit gradient, this Tensor has shape "
                f"{root.shape}; pass one of that shape"
            )
            raise RuntimeError(msg)
        return wrap(cp.ones(root.shape, dtype=root.dtype))
    seed = wrap(grad) if isinstance(grad, cp.ndarray) else grad
    if not isinstance(seed, Tensor):
        msg = f"backward: the gradient must be a Tensor, got {kind_of(grad)}"
        raise TypeError(msg)
    if seed.shape != root.shape:
        msg = f"backward: the gradient must have the Tensor's shape {root.shape}, got {seed.shape}"
        raise RuntimeError(msg)
    if seed.dtype != root.dtype:
        msg = (
            f"backward: the gradient must have the Tensor's dtype {root.dtype.name}, "
            f"got {seed.dtype.name}"
        )
        raise TypeError(msg)
    return seed


methods.backward = backward
