"""Into the slices of a `vmap` and out of them, and what runs for each slice alone, recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from impl_numpy import random
from impl_numpy.batched import (
    Batched,
    Level,
    Unknown,
    beneath,
    blank,
    by_slices,
    full,
    has,
    refuse,
    sliced,
    stacked,
    youngest,
)
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.function_node import CallRule, FunctionNode, OutputNode
from impl_numpy.memory import next_age
from impl_numpy.recording import RULES, Grads, Primitive, record, unary
from impl_numpy.sums import summed
from impl_numpy.tape import MODE, Node, Parents, Scattered, Slices, Stretched
from impl_numpy.tensor import Tensor, wrap
from impl_numpy.trees import tree_leaves, tree_map, tree_rebuilt

F = TypeVar("F", bound=Callable[..., Any])


def _cut(x: Array, level: Level, axis: int) -> Any:
    return beneath(x, level, lambda x, k: Batched(level, np.moveaxis(x, axis + k, 0)))


def _cut_vjp(grad: Value, needs: Parents, x: None, out: None, level: Level, axis: int) -> Grads:
    return (_join(grad, level, axis),)


def _joined(x: Array, level: Level, axis: int) -> Any:
    return beneath(x, level, lambda x, k: np.moveaxis(full(x, level), 0, axis + k))


def _join_vjp(grad: Value, needs: Parents, x: None, out: None, level: Level, axis: int) -> Grads:
    return (cut(grad, level, axis),)


def _full(x: Array, level: Level) -> Any:
    return beneath(x, level, lambda x, _: Batched(level, full(x, level)))


def _selected(x: Any, level: Level, k: int) -> Any:
    return beneath(x, level, lambda x, _: x.values[k, ...] if has(x, level) else x)


def _placed(x: Array, level: Level, k: int) -> Any:
    def run(x: Any, _: int) -> Any:
        whole = Batched(level, np.zeros_like(full(x, level)))
        if level.size:
            whole.values[k, ...] = x
        return whole

    return beneath(x, level, run)


# With the shape of a slice, and the axis of the slices among those of all.
cut = Primitive("cut into slices", _cut, _cut_vjp)
_join = Primitive("stack of slices", _joined, _join_vjp)
_sum: Primitive = Primitive(
    "sum of slices", summed, lambda grad, needs, x, out, level: (_spread(grad, level),)
)
_spread: Primitive = Primitive(
    "slices", _full, lambda grad, needs, x, out, level: (RULES["sum of slices"](grad, level),)
)
RULES["sum of slices"] = _sum
_select: Primitive = Primitive(
    "slice", _selected, lambda grad, needs, x, out, level, k: (_place(grad, level, k),)
)
_place: Primitive = Primitive(
    "slices", _placed, lambda grad, needs, x, out, level, k: (_select(grad, level, k),)
)
# Its value is that of every slice, and its gradient comes once, whatever slices there are.
_once = Primitive(
    "slices", lambda x, level: x, lambda grad, needs, x, out, level: (_place(grad, level, 0),)
)


def entered(x: Tensor, level: Level, axis: int) -> Tensor:
    """Return a Tensor of the slices along an axis."""
    result: Tensor = unary(cut, x, (level, axis))
    return result


def left_with(x: Tensor, level: Level, axis: int | None) -> Tensor:
    """Return the slices of a Tensor stacked along an axis; or with None what is of no slice."""
    if axis is not None:
        result: Tensor = unary(_join, x, (level, axis))
        return result
    if x._node is None or x._node.age > level.age or not level.size:
        return x
    once: Tensor = unary(_once, x, (level,))
    return once


def shared(x: Any, level: Level) -> bool:
    """Tell whether all slices have a Tensor, or None, in common, and its gradient too."""
    node = x._node if isinstance(x, Tensor) and MODE.recording else None
    outside = node is None or node.age > level.age
    return outside and youngest((x,)) is not level


def folded(x: Tensor, level: Level, axis: int) -> Tensor:
    """Return the slices of a Tensor one after the other on an axis."""
    whole = left_with(x, level, axis)
    shape = x.shape
    result: Tensor = whole.reshape((*shape[:axis], level.size * shape[axis], *shape[axis + 1 :]))
    return result


def unfolded(x: Tensor, level: Level, axis: int) -> Tensor:
    """Return what `folded` made as slices again."""
    shape = x.shape
    apart = (level.size, shape[axis] // level.size)
    return entered(x.reshape((*shape[:axis], *apart, *shape[axis + 1 :])), level, axis)


class SlicesNode(Node):
    """Where a Tensor comes apart into its slices."""

    __slots__ = ("level",)

    def __init__(self, parent: Node, level: Level) -> None:
        super().__init__(_APART, (parent,), ())
        self.level = level

    def pull(self, grad: Any) -> Sequence[Value | None]:
        """Return the gradients of the slices as one."""
        some = next(g for g in grad.items if g is not None)
        parts = [np.zeros_like(some) if g is None else g for g in grad.items]
        return (stacked(self.level, parts),)

    def pull_recorded(self, grad: Any) -> Sequence[Value | None]:
        """Do the same on Tensors."""
        some = next(g for g in grad.items if g is not None)
        zero = wrap(np.zeros(some.shape, some.dtype), None)
        return (_assembled([zero if g is None else g for g in grad.items], self.level),)


_APART = CallRule("slices")


def _apart(x: Any, level: Level) -> list[Any]:
    """Return what each slice has of a Tensor or raw array, or of anything."""
    if not isinstance(x, Tensor):
        return [sliced(x, level, k) for k in range(level.size)]
    arrays = [sliced(x._data, level, k) for k in range(level.size)]
    if x._node is None or not MODE.recording:
        return [wrap(array, None) for array in arrays]
    node, count = SlicesNode(x._node, level), level.size
    return [wrap(array, OutputNode(node, (k, count))) for k, array in enumerate(arrays)]


def _assemble(*args: Any) -> Any:
    return stacked(args[-1], list(args[:-1]))


def _assemble_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    level: Level = saved[-1]
    return tuple(
        [None if node is None else _select(grad, level, k) for k, node in enumerate(needs)]
    )


def _assembled(parts: Sequence[Tensor], level: Level) -> Tensor:
    rule = Primitive("slices", _assemble, _assemble_vjp, ((),) * len(parts))
    result: Tensor = record(rule, parts, (level,))
    return result


def _together(parts: Sequence[Any], level: Level) -> Any:
    """Return one of what each slice gave."""
    if all(x is None for x in parts):
        return None
    some = next(x for x in parts if x is not None)
    filled = [wrap(np.zeros(some.shape, some.dtype), None) if x is None else x for x in parts]
    if isinstance(some, Tensor):
        return _assembled(filled, level)
    return stacked(level, filled)


def each(
    level: Level, function: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]
) -> Any:
    """Call a function of Tensors for each slice, and stack what it gives.

    Every Tensor whose gradient may be wanted is an argument: what the function has from elsewhere
    gets the sum over the slices.

    Parameters
    ----------
    level : Level
    function : callable
        Gives a Tensor, or a structure of them and None.
    args, options
        Structures with Tensors.
    """
    given = (tuple(args), options)
    leaves = tree_leaves(given)
    if not level.size:
        return _of_none(level, function, given, leaves)
    columns = [_apart(x, level) for x in leaves]
    start, age = random.place(), next_age()
    results = []
    for k in range(level.size):
        if k:
            random.resume(start)
        positional, named = tree_rebuilt(given, [column[k] for column in columns])
        results.append(function(*positional, **named))
    parts = [tree_leaves(result) for result in results]
    _check_ends(level, parts, age)
    return tree_rebuilt(results[0], [_together(part, level) for part in zip(*parts, strict=True)])


def _check_ends(level: Level, parts: Sequence[Sequence[Any]], start: int) -> None:
    """Raise RuntimeError where a result depends on what was made within, and is no argument.

    Its gradient would be summed over the slices, where each slice has one of its own.
    """
    waiting = [x._node for part in parts for x in part if isinstance(x, Tensor)]
    seen: set[Node] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.age < start:
            waiting += node.parents
        elif node.age < level.age and type(next(iter(node.parents), None)) is not SlicesNode:
            refuse("what runs slice by slice and takes a result from elsewhere")


def sliceable(function: F) -> F:
    """Decorate a function of Tensors that reads values: then it runs for each slice of a `vmap`.

    It changes nothing before it reads, and what it differentiates are its arguments.
    """

    @functools.wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        try:
            return function(*args, **options)
        except Unknown:
            level = youngest((args, options))
            if level is None:
                raise
            return each(level, call, args, options)

    return call  # type: ignore[return-value]


def _of_none(level: Level, function: Any, given: Any, leaves: list[Any]) -> Any:
    """Return what no slices give: the shapes of one, and gradients of 0."""

    def one(x: Any) -> Any:
        return wrap(blank(x._data, level), None) if isinstance(x, Tensor) else blank(x, level)

    positional, named = tree_map(one, given)
    result = function(*positional, **named)
    tensors = [x for x in leaves if isinstance(x, Tensor) and x._node is not None]
    parents = tuple([x._node for x in tensors])
    specs = [(x.shape, x.dtype) for x in tensors]

    def empty(x: Any) -> Any:
        if x is None:
            return None
        values = Batched(level, np.empty((0, *x.shape), x.dtype))
        wanted = parents and MODE.recording and x.dtype.kind in "fc"
        return wrap(values, Node(_Nothing(level, specs), parents, ()) if wanted else None)

    return tree_map(empty, result)


class _Nothing:
    """The rule of what no slices gave."""

    name = "slices"

    def __init__(self, level: Level, specs: list[tuple[Shape, Any]]) -> None:
        self._level = level
        self._specs = specs

    def vjp(self, grad: Value, needs: Parents, *saved: Any) -> Grads:
        """Return zeros."""
        zeros = [Batched(self._level, np.zeros((0, *s), d)) for s, d in self._specs]
        if isinstance(grad, Tensor):
            return tuple([wrap(x, None) for x in zeros])
        return tuple(zeros)


def _settled(grads: Sequence[Any]) -> list[Any]:
    return [g.gathered() if type(g) is Scattered else g for g in grads]


def _pull(node: Node, grad: Any, record: bool) -> Sequence[Value | None]:
    """Run a node back for each slice, where that cannot be done for all at once."""
    if not record:
        if type(node) not in (Node, Stretched):
            raise
        level = youngest((grad, node.values()))
        if level is None:
            raise

        def run(grad: Array, *saved: Any) -> list[Any]:
            return _settled(node.rule.vjp(grad, node.parents, *saved))

        found: list[Any] = by_slices(level, run, (grad, *node.values()))
        return found
    if isinstance(node, FunctionNode):
        return _pull_function(node, grad)
    if type(node) not in (Node, Stretched):
        raise
    saved = node.with_history(grad)
    level = youngest((grad, saved))
    if level is None:
        raise

    def run_recorded(grad: Tensor, *saved: Any) -> list[Any]:
        return _settled(node.rule.vjp(grad, node.parents, *saved))

    result: list[Any] = each(level, run_recorded, (grad, *saved), {})
    return result


def _pull_function(node: FunctionNode, grad: Any) -> Sequence[Value | None]:
    given, config = node.arguments()
    inputs = [
        wrap(x, parent) if parent is not None or isinstance(x, (np.ndarray, np.generic)) else x
        for x, parent in zip(given, node.parents, strict=True)
    ]
    grads = node.incoming(grad)
    level = youngest((inputs, config, grads))
    if level is None:
        raise

    def run(inputs: Any, config: Any, grads: Any) -> list[Any]:
        return list(node.recorded(inputs, config, grads))

    return node.outgoing(each(level, run, (inputs, config, grads), {}))


Slices.pull = staticmethod(_pull)
