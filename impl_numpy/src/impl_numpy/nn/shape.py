"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from impl_numpy.checks import check_int, check_sizes, normalize_axis, shown
from impl_numpy.module import Module
from impl_numpy.nn.layer import Layer
from impl_numpy.tensor import Tensor


class Flatten(Layer):
    """Join the axes from start_dim to end_dim, both included (torch.nn.Flatten).

    Parameters
    ----------
    start_dim, end_dim : int
    """

    _shown = ("start_dim=", "end_dim=")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)

    def forward(self, input: Any) -> Tensor:
        """Return the input in its flat shape."""
        x = self._input(input)
        if not x.shape:
            return x.reshape(1)
        start = normalize_axis("Flatten", self.start_dim, x.shape)
        end = normalize_axis("Flatten", self.end_dim, x.shape)
        if start > end:
            msg = (
                f"Flatten: start_dim {self.start_dim} is after end_dim {self.end_dim} of {x.shape}"
            )
            raise ValueError(msg)
        flat = math.prod(x.shape[start : end + 1])
        return x.reshape((*x.shape[:start], flat, *x.shape[end + 1 :]))


class Unflatten(Layer):
    """Part an axis into several (torch.nn.Unflatten).

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        Its new sizes; one may be -1, which stands for what is left.

    Raises
    ------
    TypeError, ValueError
        If the axis is no int, or the sizes are none.
    """

    _shown = ("dim=", "unflattened_size=")

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        name = "unflattened_size"
        if not isinstance(unflattened_size, (tuple, list)):
            msg = f"Unflatten: {name} must be a sequence of ints, got {shown(unflattened_size)}"
            raise TypeError(msg)
        sizes = tuple([check_int("Unflatten", name, n) for n in unflattened_size])
        check_sizes(sizes, "Unflatten", -1)
        super().__init__(dim=check_int("Unflatten", "dim", dim), unflattened_size=sizes)

    def forward(self, input: Any) -> Tensor:
        """Return the input with the axis parted.

        Raises
        ------
        ValueError
            If the product of the sizes is not that of the axis.
        """
        x = self._input(input)
        axis, sizes = normalize_axis("Unflatten", self.dim, x.shape), self.unflattened_size
        size, known = x.shape[axis], math.prod([n for n in sizes if n >= 0])
        fits = size == known if -1 not in sizes else known > 0 and size % known == 0
        if not fits:  # nn-31
            msg = f"Unflatten: unflattened_size {sizes} must make up the axis' size {size}"
            raise ValueError(msg)
        whole = tuple([size // known if n < 0 else n for n in sizes])
        return x.reshape((*x.shape[:axis], *whole, *x.shape[axis + 1 :]))


class Identity(Module):
    """Return the input; take any arguments, as torch.nn.Identity does."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return the input."""
        return input
