"""The same elements in another shape or order, and several arrays joined."""

from collections.abc import Sequence

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_permutation,
    check_same_rest,
    check_tensor,
    check_tensors,
    normalize_axes,
    normalize_axis,
    shapes_of,
)
from impl_torch_ext.ops.families import join, shape


@shape(
    "Tensor, shape `shape`",
    shape="int or tuple of ints, one of which may be -1",
    copy="bool, optional\nTrue always copies.",
)
def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """Return the elements of `x` in C order in another shape."""
    try:
        return compat.reshape(
            check_tensor("reshape", x),
            (shape,) if isinstance(shape, int) else tuple(shape),
            copy=copy,
        )
    except RuntimeError:
        msg = f"reshape: shape must have the size of {tuple(x.shape)}, got {shape}"
        raise ValueError(msg) from None


@shape(
    "Tensor, whose axis i is the axis `axes[i]` of `x`",
    axes="tuple of ints",
)
def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """Return `x` with its axes in another order."""
    return torch.permute(
        x, check_permutation("permute_dims", axes, check_tensor("permute_dims", x))
    )


@shape("Tensor, of one more axis", axis="int, in the result")
def expand_dims(x: Tensor, /, axis: int = 0) -> Tensor:
    """Return `x` with an axis of length 1 put in."""
    check_tensor("expand_dims", x)
    return torch.unsqueeze(x, normalize_axis("expand_dims", axis, x, added=1))


@shape("Tensor, without the axes", axis="int or tuple of ints")
def squeeze(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Return `x` without axes of length 1."""
    axes = normalize_axes("squeeze", axis, check_tensor("squeeze", x))
    if any(x.shape[a] != 1 for a in axes):
        msg = f"squeeze: axes {axis} must have length 1, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return torch.squeeze(x, axes)


@shape("Tensor, shape `shape`", shape="tuple of ints")
def broadcast_to(x: Tensor, /, shape: tuple[int, ...]) -> Tensor:
    """Return `x` stretched to `shape`."""
    try:
        return torch.broadcast_to(check_tensor("broadcast_to", x), tuple(shape))
    except RuntimeError:
        msg = f"broadcast_to: shape {tuple(x.shape)} must broadcast to the result, got {shape}"
        raise ValueError(msg) from None


@join(
    "Tensor, as long along `axis` as all together",
    axis="int, or None to flatten each array first",
)
def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Return `arrays` one after the other."""
    tensors = check_tensors("concat", arrays)
    if axis is None:  # ops-04
        return torch.cat([x.reshape(-1) for x in tensors])
    place = normalize_axis("concat", axis, tensors[0])
    check_same_rest("concat", tensors, place)
    return torch.cat(tensors, place)


@join("Tensor, of one more axis", axis="int, in the result")
def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Return `arrays` along a new axis."""
    tensors = check_tensors("stack", arrays)
    if any(x.shape != tensors[0].shape for x in tensors):
        msg = f"stack: shapes must be equal, got {shapes_of(*tensors)}"
        raise ValueError(msg)
    return torch.stack(tensors, normalize_axis("stack", axis, tensors[0], added=1))
