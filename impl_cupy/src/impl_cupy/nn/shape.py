"""Modules that change the shape, or nothing."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.checks import as_ints, check_int, normalize_axis
from impl_cupy.nn.layer import Layer
from impl_cupy.ops.manipulation import reshape
from impl_cupy.recording import as_input
from impl_cupy.tensor import Tensor


class Identity(Layer):
    """Give the input back; whatever it is made with is ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return `input`."""
        return input


class Flatten(Layer):
    """Make one axis of several neighbours.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of them.
    """

    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim=start_dim, end_dim=end_dim)

    def forward(self, input: Any) -> Tensor:
        """Flatten `input`.

        Raises
        ------
        ValueError
            If an axis is out of range, or the first comes after the last.
        """
        value = as_input("Flatten", input)
        if value.ndim == 0:
            return reshape(value, (1,))
        start = normalize_axis("Flatten", self.start_dim, value.shape)
        end = normalize_axis("Flatten", self.end_dim, value.shape)
        if start > end:
            msg = (
                f"Flatten: start_dim={self.start_dim} must not come after end_dim={self.end_dim} "
                f"for shape {value.shape}"
            )
            raise ValueError(msg)
        middle = math.prod(value.shape[start : end + 1])
        return reshape(value, (*value.shape[:start], middle, *value.shape[end + 1 :]))


class Unflatten(Layer):
    """Part an axis into several.

    Source: the page of torch.nn.Unflatten.

    Parameters
    ----------
    dim : int
        The axis.
    unflattened_size : sequence of int
        The sizes that it gets; one may be -1.

    Raises
    ------
    TypeError
        If `dim` or a size is no int.
    ValueError
        If there is no size, one is below -1, or two are -1.
    """

    dim: int
    unflattened_size: tuple[int, ...]

    def __init__(self, dim: int, unflattened_size: Any) -> None:
        check_int("Unflatten", "dim", dim)
        sizes = as_ints("Unflatten", "unflattened_size", unflattened_size)
        if not sizes or min(sizes) < -1 or sizes.count(-1) > 1:
            msg = f"Unflatten: unflattened_size must hold sizes, one -1 at most, got {sizes}"
            raise ValueError(msg)
        super().__init__(dim=dim, unflattened_size=sizes)

    def forward(self, input: Any) -> Tensor:
        """Part the axis of `input`.

        Raises
        ------
        ValueError
            If the axis is out of range, or the sizes' product is not its size.
        """
        value = as_input("Unflatten", input)
        axis = normalize_axis("Unflatten", self.dim, value.shape)
        sizes, size = self.unflattened_size, value.shape[axis]
        known = math.prod(part for part in sizes if part != -1)
        is_free = -1 in sizes
        if (known == 0 or size % known) if is_free else known != size:  # nn-31
            msg = (
                f"Unflatten: unflattened_size {sizes} must have the product {size}, the size of "
                f"axis {self.dim} of shape {value.shape}"
            )
            raise ValueError(msg)
        parts = tuple(size // known if part == -1 else part for part in sizes)
        return reshape(value, (*value.shape[:axis], *parts, *value.shape[axis + 1 :]))
