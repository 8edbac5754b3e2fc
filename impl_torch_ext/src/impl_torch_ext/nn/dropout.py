"""Dropout."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.checks import check_probability, check_tensor
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.tracing import as_sample, drawn_apart, known_only_later

__all__ = ["Dropout", "draw_kept", "drop"]


class Dropout(Layer):
    """In training zeros with probability `p` and `x / (1 - p)` else; the identity in evaluation.

    Source: Srivastava et al., JMLR 15, 2014.

    Parameters
    ----------
    p : float
        In [0, 1].
    """

    _options: ClassVar[Options] = {"p": check_probability}
    p: float

    def __init__(self, p: float = 0.5) -> None:
        super().__init__(p)

    def forward(self, input: Tensor) -> Tensor:
        """Drop elements of `input`, any shape; training draws a number for each, in C order."""
        check_tensor("Dropout", input, "input")
        if not self.training:
            return input
        return drop(input, draw_kept(tuple(input.shape), self.p), self.p)


def draw_kept(shape: tuple[int, ...], p: float) -> Tensor:
    """Draw which elements are kept where each is dropped with probability `p`."""
    if known_only_later():
        later: Tensor = torch.ops.impl_torch_ext.draw_kept(shape, p)
        return later
    apart = drawn_apart("dropout")
    kept = _drawn((*apart.values(), *shape), p)
    for level in apart:
        kept = as_sample(kept, level)
    return kept


def _drawn(shape: Sequence[int], p: float) -> Tensor:
    return torch.from_numpy(random.uniform(tuple(shape)) >= p)  # init-04


_library = torch.library.Library("impl_torch_ext", "FRAGMENT")
_library.define(
    "draw_kept(SymInt[] shape, float p) -> Tensor", tags=(torch.Tag.nondeterministic_seeded,)
)
_library.impl("draw_kept", _drawn, "CompositeExplicitAutograd")


@torch.library.register_fake("impl_torch_ext::draw_kept")
def _(shape: Sequence[int], _p: float) -> Tensor:
    return torch.empty(tuple(shape), dtype=torch.bool)


def drop(x: Tensor, kept: Tensor, p: float) -> Tensor:
    """Return `x / (1 - p)` where it is kept and 0 elsewhere, whatever stands there."""
    # Nothing is kept where p is 1, so that the factor does not matter there.
    return torch.where(kept.to(x.device), x * (1.0 / (1.0 - p) if p < 1 else 0.0), 0.0)
