"""Calls that are forgotten, and computed again when a gradient wants what they had computed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.autograd.modes import entered_again, surroundings
from impl_torch_ext.checks import check_function
from impl_torch_ext.native import Recording
from impl_torch_ext.tracing import known_only_later, transforms_are_active
from impl_torch_ext.trees import tree_flatten, tree_unflatten

__all__ = ["checkpoint"]


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """Call `fn` and keep its arguments alone for backward, which calls it again.

    Source: T. Chen, B. Xu, C. Zhang, C. Guestrin: Training deep nets with sublinear memory cost,
    arXiv 1604.06174, 2016.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them. It may use Tensors that it does not receive.
    *args
        Its arguments: Tensors, structures of them, anything.

    Returns
    -------
    Tensor or structure of them
        What `fn` returned. Numbers that it drew are drawn again as they were.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or returned something else.
    RuntimeError
        In backward: if a Tensor that `fn` used has been changed since, or if `fn` draws other
        numbers.
    """
    check_function("checkpoint", "fn", fn)
    # A transform of torch.func keeps what it needs, and a compiler chooses what it keeps.
    if not torch.is_grad_enabled() or transforms_are_active() or known_only_later():
        result = fn(*args)
        _checked(result)
        return result
    call = _Call(fn, args)
    outputs, structure = call.first(args)
    places = [i for i, y in enumerate(outputs) if call.recording.made(y)]
    if call.handles:
        made = [outputs[i] for i in places]
        passed = _Checkpoint.apply(call, tree_flatten(args)[0], made, *call.handles)
        for i, y in zip(places, passed, strict=True):
            outputs[i] = y
    return tree_unflatten(outputs, structure)


class _Checkpoint(torch.autograd.Function):
    """The node of a call in the graph, in the place of all that the call recorded."""

    @staticmethod
    def forward(
        node: Any, call: "_Call", leaves: list[Any], outputs: list[Tensor], *_handles: Tensor
    ) -> tuple[Tensor, ...]:
        """Keep the arguments, which torch lets go with the graph, and return the outputs."""
        node.save_for_backward(*[x for x in leaves if isinstance(x, Tensor)])
        node.set_materialize_grads(False)
        node.call = call
        return tuple(y.detach() for y in outputs)

    @staticmethod
    def backward(node: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Compute the call again and return the gradients where its graph ends."""
        found = node.call.gradients(node.saved_tensors, node.needs_input_grad[3:], grads)
        return (None, None, None, *found)


_TENSOR = object()


class _Call:
    """One call, and what it takes to compute it again."""

    # One for each edge by which the graph of the call is tied to what lies around it.
    handles: list[Tensor]

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.fn = fn
        leaves, self.structure = tree_flatten(args)
        self.leaves = [
            _TENSOR if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x
            for x in leaves
        ]
        self.surroundings = surroundings()
        self.recording = Recording()

    def first(self, args: tuple[Any, ...]) -> tuple[list[Tensor], Any]:
        """Return the outputs of the call, and their structure."""
        torchs_own = torch.get_rng_state()
        with random.noted() as self.draws:
            outputs, structure = _recorded(self.recording, True, self.fn, args)
        unused = torch.equal(torchs_own, torch.get_rng_state())
        self.torchs_own = None if unused else torchs_own
        self.handles = self.recording.leaving(outputs)
        return outputs, structure

    def gradients(
        self, tensors: Sequence[Tensor], needs: Sequence[bool], grads: Sequence[Tensor | None]
    ) -> list[Tensor | None]:
        """Return the gradient at each handle, recorded if torch is recording."""
        changed = self.recording.changed()
        if changed is not None:  # autograd-24
            msg = (
                f"checkpoint: backward needs the Tensor of shape {tuple(changed)} that fn used, "
                "got one that was changed in place since"
            )
            raise RuntimeError(msg)
        again = Recording()
        outputs = [y for y in self._outputs(again, tensors) if again.made(y)]
        if len(outputs) != len(grads):
            msg = (
                f"checkpoint: fn must return again {len(grads)} results that require grad, got "
                f"{len(outputs)}"
            )
            raise RuntimeError(msg)
        ends = again.cut(outputs, self.handles)
        wanted = [end if need else None for end, need in zip(ends, needs, strict=True)]
        present = [end for end in wanted if end is not None]
        pairs = [(y, g) for y, g in zip(outputs, grads, strict=True) if g is not None]
        if not present or not pairs:
            return [None] * len(wanted)
        found = iter(
            torch.autograd.grad(
                [y for y, _ in pairs],
                present,
                [g for _, g in pairs],
                create_graph=torch.is_grad_enabled(),
                allow_unused=True,
            )
        )
        return [None if end is None else next(found) for end in wanted]

    def _outputs(self, recording: Any, tensors: Sequence[Tensor]) -> list[Tensor]:
        """Run the call again, as it ran the first time, and return its outputs."""
        given = iter(tensors)
        leaves = [next(given) if x is _TENSOR else x for x in self.leaves]
        with (
            entered_again(self.surroundings),
            random.repeated("checkpoint", self.draws),
            torch.random.fork_rng([], enabled=self.torchs_own is not None),
            torch.enable_grad(),
        ):
            if self.torchs_own is not None:
                torch.set_rng_state(self.torchs_own)
            args = tree_unflatten(leaves, self.structure)
            return _recorded(recording, False, self.fn, args)[0]


def _recorded(
    recording: Any, watch: bool, fn: Callable[..., Any], args: Sequence[Any]
) -> tuple[list[Tensor], Any]:
    recording.start(watch)
    try:
        result = fn(*args)
    finally:
        recording.stop()
    return _checked(result)


def _checked(result: Any) -> tuple[list[Tensor], Any]:
    """Return the Tensors in what a function returned, and its structure, or raise a TypeError."""
    outputs, structure = tree_flatten(result)
    for y in outputs:
        if not isinstance(y, Tensor):
            msg = (
                "checkpoint: fn must return a Tensor or a structure of them, got "
                f"{type(y).__name__}"
            )
            raise TypeError(msg)
    return outputs, structure
