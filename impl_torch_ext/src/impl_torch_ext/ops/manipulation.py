"""The same elements in another shape or order, and several arrays joined."""

from collections.abc import Sequence

import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_flag,
    check_permutation,
    check_same_rest,
    check_shape,
    check_tensor,
    normalize_axes,
    normalize_axis,
    shapes_of,
)
from impl_torch_ext.dtypes import FIVE
from impl_torch_ext.ops.families import arrays_of, join, shape


@shape(
    "Tensor, shape `shape`",
    shape="int or tuple of ints, one of which may be -1",
    copy="bool, optional\nTrue always copies, False never.",
)
def reshape(x: Tensor, /, shape: tuple[int, ...], *, copy: bool | None = None) -> Tensor:
    """Return the elements of `x` in C order in another shape."""
    try:
        known = x.dtype in FIVE
    except AttributeError:
        known = False
    if not known:
        check_tensor("reshape", x)
    if not isinstance(shape, tuple):
        shape = check_shape("reshape", shape, free=True)
    if copy is not None:
        copy = check_flag("reshape", "copy", copy)
    try:
        if copy is False:
            return x.view(shape)  # ops-17
        return torch.reshape(x.clone() if copy else x, shape)
    except (RuntimeError, TypeError) as error:
        sizes = check_shape("reshape", shape, free=True)  # ops-20
        msg = (
            f"reshape: copy=False must not need a copy, got strides {x.stride()} of shape "
            f"{tuple(x.shape)} for shape {sizes}"
            if str(error).startswith("view size")
            else f"reshape: shape must have as many elements as {tuple(x.shape)}, got {sizes}"
        )
        raise ValueError(msg) from None


@shape(
    "Tensor, whose axis i is the axis `axes[i]` of `x`",
    axes="tuple of ints",
)
def permute_dims(x: Tensor, /, axes: tuple[int, ...]) -> Tensor:
    """Return `x` with its axes in another order."""
    check_tensor("permute_dims", x)
    try:
        return torch.permute(x, axes)
    except (RuntimeError, IndexError, TypeError):
        return torch.permute(x, check_permutation("permute_dims", axes, x))


@shape(
    "Tensor, of as many more axes",
    axis="int or tuple of ints\nPlaces in the result.",
)
def expand_dims(x: Tensor, /, axis: int | tuple[int, ...]) -> Tensor:
    """Return `x` with axes of length 1 put in."""
    added = len(axis) if isinstance(axis, tuple | list) else 1
    axes = normalize_axes("expand_dims", axis, check_tensor("expand_dims", x), added)  # ops-18
    for place in sorted(axes):
        x = torch.unsqueeze(x, place)
    return x


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
    check_tensor("broadcast_to", x)
    sizes = check_shape("broadcast_to", shape)  # ops-20
    try:
        return torch.broadcast_to(x, sizes)
    except RuntimeError:
        msg = f"broadcast_to: shape {tuple(x.shape)} must broadcast to the result, got {shape}"
        raise ValueError(msg) from None


@join(
    "Tensor, as long along `axis` as all together",
    axis="int, or None to flatten each array first",
)
def concat(arrays: Sequence[Tensor], /, *, axis: int | None = 0) -> Tensor:
    """Return `arrays` one after the other."""
    tensors = arrays_of("concat", arrays)
    if axis is None:  # ops-04
        return torch.cat([x.reshape(-1) for x in tensors])
    place = normalize_axis("concat", axis, tensors[0])
    check_same_rest("concat", tensors, place)
    return torch.cat(tensors, place)


@join("Tensor, of one more axis", axis="int, in the result")
def stack(arrays: Sequence[Tensor], /, *, axis: int = 0) -> Tensor:
    """Return `arrays` along a new axis."""
    tensors = arrays_of("stack", arrays)
    if any(x.shape != tensors[0].shape for x in tensors):
        msg = f"stack: shapes must be equal, got {shapes_of(*tensors)}"
        raise ValueError(msg)
    return torch.stack(tensors, normalize_axis("stack", axis, tensors[0], added=1))
