"""Tensors under `vmap`, seen as the Tensors of all slices: that is what torch's engine records.

Within `torch.vmap` a Tensor that depends on a slice is a wrapper around one that holds all slices,
and the operations that torch records are those on the latter. So a derivative taken within is one
of Tensors of all slices, with one axis more for each level of `vmap`.
"""

from typing import TypeAlias

import torch
from torch import Tensor
from torch._C import _are_functorch_transforms_active as transforms_are_active
from torch._C import _functorch
from torch._functorch.eager_transforms import enable_inplace_requires_grad

__all__ = ["Levels", "levels", "lowered", "raised", "tracked"]

Levels: TypeAlias = tuple[tuple[int, int], ...]
"""The number of each level of `vmap` and of its slices, the outermost first."""


def levels() -> Levels:
    """Return those that are entered; none where another transform of `torch.func` is, too."""
    if not transforms_are_active():
        return ()
    stack = torch._C._functorch.get_interpreter_stack() or ()
    if any(x.key() != _functorch.TransformType.Vmap for x in stack):
        return ()
    return tuple((x.level(), _functorch.CVmapInterpreterPtr(x).batchSize()) for x in stack)


def lowered(x: Tensor, at: Levels) -> Tensor:
    """Return the Tensor of all slices, with one axis in front for each level of `at`.

    One that depends on no slice is repeated. Levels that were entered after those stay as they are.
    """
    if not at:
        return x
    level = _functorch.maybe_get_level(x) if _functorch.is_batchedtensor(x) else None
    if level is not None and level > at[-1][0]:
        place = _functorch.maybe_get_bdim(x)
        inner = lowered(_functorch.get_unwrapped(x), at)
        later: Tensor = _functorch._add_batch_dim(inner, place + len(at), level)
        return later
    if level == at[-1][0]:
        place = _functorch.maybe_get_bdim(x)
        whole = _functorch.get_unwrapped(x)
        # What is there already is no other view: gradients are asked for with respect to it.
        return lowered(whole if place == 0 else whole.movedim(place, 0), at[:-1])
    return lowered(x.unsqueeze(0).expand(at[-1][1], *x.shape), at[:-1])


def tracked(x: Tensor) -> Tensor:
    """Let torch's engine follow a Tensor of all slices, and return it."""
    if not transforms_are_active():
        return x.requires_grad_()
    # Within torch.vmap torch refuses it, for what it would mean for one slice.
    with enable_inplace_requires_grad(True):
        return x.requires_grad_()


def raised(x: Tensor, at: Levels) -> Tensor:
    """Return as one of a slice what `lowered` returned."""
    if at and _functorch.is_batchedtensor(x):
        # Of a level that was entered later: one of slices has a slice of its own.
        place, level = _functorch.maybe_get_bdim(x), _functorch.maybe_get_level(x)
        inner = raised(_functorch.get_unwrapped(x).movedim(place, len(at)), at)
        later: Tensor = _functorch._add_batch_dim(inner, 0, level)
        return later
    for level, _ in at:
        x = _functorch._add_batch_dim(x, 0, level)
    return x
