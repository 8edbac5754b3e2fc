"""Modules that change no values."""

import math
from collections.abc import Sequence
from typing import Any

from .. import ops
from ..checks import check_int, check_ints, normalize_axis, refuse, refuse_type
from ..recording import as_operand, shape_of
from ..tensor import Tensor
from .layer import Layer


class Flatten(Layer):
    """The axes from `start_dim` to `end_dim`, both included, as one."""

    _options = ("start_dim=", "end_dim=")

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = check_int("Flatten", "start_dim", start_dim)
        self.end_dim = check_int("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        """Map shape (..., a, ..., b, ...) to shape (..., a * ... * b, ...)."""
        shape = shape_of(as_operand("Flatten", input))
        if not shape:
            return ops.reshape(input, (1,))
        start = normalize_axis("Flatten", self.start_dim, shape)
        end = normalize_axis("Flatten", self.end_dim, shape)
        if start > end:
            dims = f"start_dim {self.start_dim}, end_dim {self.end_dim} for shape {shape}"
            refuse("Flatten", "start_dim", "no later axis than end_dim", dims)
        middle = math.prod(shape[start : end + 1])
        return ops.reshape(input, (*shape[:start], middle, *shape[end + 1 :]))


class Identity(Layer):
    """What came in; any arguments of the constructor are ignored."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs
        super().__init__()

    def forward(self, input: Any) -> Any:
        """Return the input."""
        return input


class Unflatten(Layer):
    """The axis `dim` parted into several (the page of ``torch.nn.Unflatten``).

    Parameters
    ----------
    dim : int
    unflattened_size : sequence of int
        One of them may be -1, for what the others leave.

    Raises
    ------
    ValueError
        If a size is below -1, two are -1, or there is none.
    TypeError
        If `unflattened_size` is no sequence of ints.
    """

    _options = ("dim=", "unflattened_size=")

    def __init__(self, dim: int, unflattened_size: Sequence[int]) -> None:
        super().__init__()
        self.dim = check_int("Unflatten", "dim", dim)
        if not isinstance(unflattened_size, list | tuple):
            refuse_type("Unflatten", "unflattened_size", "a sequence of ints", unflattened_size)
        sizes = check_ints("Unflatten", "unflattened_size", unflattened_size)
        if not sizes or min(sizes) < -1 or sizes.count(-1) > 1:  # nn-31
            refuse("Unflatten", "unflattened_size", "sizes, of which one may be -1", sizes)
        self.unflattened_size = sizes

    def forward(self, input: Any) -> Tensor:
        """Map shape (..., a * ... * b, ...) to shape (..., a, ..., b, ...).

        Raises
        ------
        ValueError
            If the product of the sizes is not the size of the axis.
        """
        shape, sizes = shape_of(as_operand("Unflatten", input)), self.unflattened_size
        axis = normalize_axis("Unflatten", self.dim, shape)
        known = math.prod([size for size in sizes if size >= 0])
        rest = shape[axis] // known if -1 in sizes and known else 1
        if known * rest != shape[axis] or (-1 in sizes and not known):
            wanted = f"sizes whose product is that of axis {self.dim}, {shape[axis]}"
            refuse("Unflatten", "unflattened_size", wanted, sizes)
        parts = [rest if size < 0 else size for size in sizes]
        return ops.reshape(input, (*shape[:axis], *parts, *shape[axis + 1 :]))
