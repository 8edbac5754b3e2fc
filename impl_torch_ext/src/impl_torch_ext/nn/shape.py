"""Layers that change the shape alone, or nothing."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

from torch import Tensor

from impl_torch_ext import ops
from impl_torch_ext.checks import check_int, check_tensor, normalize_axis, shown
from impl_torch_ext.nn.layer import Layer, Options

__all__ = ["Flatten", "Identity", "Unflatten"]


class Flatten(Layer):
    """The axes from `start_dim` to `end_dim`, both included, made one."""

    _options: ClassVar[Options] = {"start_dim": check_int, "end_dim": check_int}
    start_dim: int
    end_dim: int

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__(start_dim, end_dim)

    def forward(self, input: Tensor) -> Tensor:
        """Flatten `input`, which must have those axes."""
        check_tensor("Flatten", input, "input")
        shape, ndim = tuple(input.shape), input.ndim
        start, end = (axis + ndim if axis < 0 else axis for axis in (self.start_dim, self.end_dim))
        if not 0 <= start <= end < ndim:
            msg = (
                f"Flatten: axes {self.start_dim} to {self.end_dim} must be a range of axes, got "
                f"shape {shape}"
            )
            raise ValueError(msg)
        size = math.prod(shape[start : end + 1])
        return ops.reshape(input, (*shape[:start], size, *shape[end + 1 :]))


def _check_parts(name: str, option: str, value: Any) -> tuple[int, ...]:
    """Return sizes of which one may be -1, or raise."""
    if not isinstance(value, list | tuple):
        msg = f"{name}: {option} must be a sequence of ints, got {shown(value)}"
        raise TypeError(msg)
    sizes = tuple(check_int(name, f"each of {option}", size) for size in value)
    if not sizes or min(sizes) < -1 or sizes.count(-1) > 1:
        msg = f"{name}: {option} must be sizes of which at most one is -1, got {shown(value)}"
        raise ValueError(msg)
    return sizes


class Unflatten(Layer):
    """The axis `dim` parted into several.

    Source: the page of `torch.nn.Unflatten`.

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        One of them may be -1 and follows from the others then.
    """

    _options: ClassVar[Options] = {"dim": check_int, "unflattened_size": _check_parts}
    dim: int
    unflattened_size: tuple[int, ...]

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__(dim, unflattened_size)

    def forward(self, input: Tensor) -> Tensor:
        """Part the axis of `input`.

        Raises
        ------
        ValueError
            If there is no such axis, or the product of the sizes is not its size.
        """
        axis = normalize_axis("Unflatten", self.dim, check_tensor("Unflatten", input, "input"))
        shape, size = tuple(input.shape), input.shape[axis]
        known = math.prod(part for part in self.unflattened_size if part >= 0)
        rest = size // max(1, known)
        parts = tuple(rest if part < 0 else part for part in self.unflattened_size)
        if math.prod(parts) != size:  # nn-31
            msg = (
                f"Unflatten: unflattened_size must have the product {size}, the size of axis "
                f"{self.dim}, got {self.unflattened_size}"
            )
            raise ValueError(msg)
        return ops.reshape(input, (*shape[:axis], *parts, *shape[axis + 1 :]))


class Identity(Layer):
    """What it gets; any constructor arguments are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Tensor) -> Tensor:
        """Return `input`."""
        return input
