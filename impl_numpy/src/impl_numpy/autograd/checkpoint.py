"""Computing again in backward what forward did not keep (Chen et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np

from impl_numpy import random
from impl_numpy.checks import check_callable, check_tensors
from impl_numpy.dtypes import Array, Shape, Value
from impl_numpy.engine import run
from impl_numpy.function_node import CallRule, OutputNode, Parts
from impl_numpy.memory import Reads, arrays_in, follow, left_since, next_age, own, relend
from impl_numpy.recording import noting
from impl_numpy.tape import MODE, Node, Parents
from impl_numpy.tensor import Tensor, wrap
from impl_numpy.trees import tree_leaves, tree_map, tree_rebuilt

Spec = tuple[Shape, np.dtype[Any]]


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """Return `fn(*args)`, and keep for backward the arguments alone (Chen et al. 2016).

    What `fn` computes in between is computed again when a gradient wants it; what it draws is drawn
    again as it was. Where nothing is recorded this is the plain call.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them. It is called a second time, or more often.
    *args
        Tensors, structures of them and anything else.

    Returns
    -------
    Tensor or structure of them, as `fn` returned them
        Gradients go to the arguments, and to every Tensor that `fn` uses from elsewhere.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or returns what is no Tensor or structure of them.
    RuntimeError
        In backward, if values that `fn` read were changed since, or it returns something else.
    """
    check_callable("checkpoint", "fn", fn)
    if not MODE.recording:
        result = fn(*args)
        _results(result)
        return result
    call, start, reads = _Call(fn, args), next_age(), Reads()
    # Of the arguments also what no operation reads, but decides by, such as indices.
    reads.note(arrays_in(call.args))
    with noting(reads):
        result = fn(*call.args)
    ends = _ends(_results(result), start)
    if not ends:
        return result
    node = CheckpointNode(call, ends, _specs(tree_leaves(result)))
    # What was computed in between goes here, and what is left of what was read came from elsewhere.
    result = node.outputs(result)
    node.reads = reads.kept()
    for memory in node.reads:
        relend(memory, start)
    return result


class _Call:
    """A call that can be made again as it was, whatever stands elsewhere by then."""

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        self.args: tuple[Any, ...] = tree_map(_held, args)
        self._place = random.place()
        self._transforms = MODE.transforms
        self._within = MODE.within

    def again(self) -> Any:
        """Return what the call returns, recorded."""
        outside = MODE.recording, MODE.transforms
        MODE.recording, MODE.transforms = outside[0] or True, self._transforms
        try:
            with ExitStack() as stack:
                for enter in self._within:
                    stack.enter_context(enter())
                stack.enter_context(random.replayed(self._place))
                return self.fn(*self.args)
        finally:
            MODE.recording, MODE.transforms = outside


class CheckpointNode(Node):
    """What stands for all that a call computed.

    Its parents are the nodes from elsewhere that the results depend on.
    """

    __slots__ = ("_call", "_specs", "reads")

    again = True

    def __init__(self, call: _Call, parents: Parents, specs: list[Spec]) -> None:
        super().__init__(_RULE, parents, ())
        self._call: _Call | None = call
        self._specs = specs
        self.reads: tuple[Array, ...] = ()

    def outputs(self, result: Any) -> Any:
        """Return the results with this node in the place of those that made them."""
        count = len(self._specs)
        return tree_rebuilt(
            result,
            [
                x if x._node is None else follow(wrap(x._data, OutputNode(self, (k, count))))
                for k, x in enumerate(tree_leaves(result))
            ],
        )

    def pull(self, grad: Any) -> Sequence[Value | None]:
        """Compute again, and go back from there to what is from elsewhere."""
        return self._pulled(grad, False)

    def pull_recorded(self, grad: Any) -> Sequence[Value | None]:
        """Do the same on Tensors."""
        return self._pulled(grad, True)

    def _pulled(self, grad: Parts, record: bool) -> Sequence[Value | None]:
        assert self._call is not None
        results = _results(self._call.again())
        if _specs(results) != self._specs:
            msg = (
                "checkpoint: fn must return the same when it is computed again, returned "
                f"{_specs(results)} after {self._specs}"
            )
            raise RuntimeError(msg)
        roots = [
            (x._node, g)
            for x, g in zip(results, grad.items, strict=True)
            if x._node is not None and g is not None
        ]
        # Nobody else holds what was computed again.
        del results
        targets = [node for node in self.parents if node is not None]
        arrived = run(roots, retain=record, record=record, targets=targets, inner=True)
        return [arrived.get(node) for node in targets]

    def kept(self, record: bool) -> Iterator[Array]:  # noqa: ARG002
        """Yield what was read, or raise RuntimeError where a Tensor holds something else by now."""
        shape = left_since(self.age, self.reads)
        if shape is not None:
            msg = (
                f"backward: checkpoint needs the values that a Tensor of shape {shape} had, but it "
                "was given others since; run backward before, or operate again"
            )
            raise RuntimeError(msg)
        return iter(self.reads)

    def free(self) -> None:
        """Let go of the call."""
        super().free()
        self._call, self.reads = None, ()


_RULE = CallRule("checkpoint")


def _held(x: Any) -> Any:
    """Return an argument as it is now, whatever becomes of the caller's."""
    if isinstance(x, Tensor):
        return follow(wrap(own(x._data), x._node))
    return x.copy() if isinstance(x, np.ndarray) else x


def _results(result: Any) -> list[Tensor]:
    leaves = tree_leaves(result)
    check_tensors("checkpoint", "what fn returns", leaves)
    return leaves


def _specs(results: Sequence[Tensor]) -> list[Spec]:
    return [(x.shape, x.dtype) for x in results]


def _ends(results: Sequence[Tensor], start: int) -> Parents:
    """Return the nodes older than the start that the results depend on."""
    waiting = [x._node for x in results]
    seen: set[Node] = set()
    ends: list[Node] = []
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node.age > start:
            ends.append(node)
        else:
            waiting += node.parents
    return tuple(ends)
