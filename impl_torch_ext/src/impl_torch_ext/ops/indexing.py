"""Elements chosen by index."""

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling as is_compiling

from impl_torch_ext.checks import check_dtype, check_int, check_range, check_tensor, normalize_axis
from impl_torch_ext.dtypes import float32, int64
from impl_torch_ext.native import calls
from impl_torch_ext.ops.families import gather, listed
from impl_torch_ext.tensor import chosen_along, index_array
from impl_torch_ext.tracing import assert_later, readable


@gather(
    "Tensor; the axes of `indices` take the place of `axis`, gradients of repeated ones add up",
    indices="integer Tensor or NumPy array\nNegative ones count from the end.",
    axis="int\nMay be left out where `x` has one axis.",
)
def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return the elements of `x` at `indices` along `axis`."""
    if not is_compiling():
        try:
            result = calls.take(x, indices, axis)
        except IndexError:
            result = NotImplemented  # Said below, in the words of the specification.
        if result is not NotImplemented:
            return result
    if axis is None:
        if check_tensor("take", x).ndim != 1:
            msg = f"take: axis must be given for other than one axis, got shape {tuple(x.shape)}"
            raise ValueError(msg)
        axis = 0
    place = normalize_axis("take", axis, check_tensor("take", x))
    chosen = index_array("take", "indices", indices, x.shape[place])
    try:
        return chosen_along(x, chosen, place)  # tensor-24
    except IndexError:
        size, shape = x.shape[place], tuple(x.shape)
        worst = chosen[(chosen < -size) | (chosen >= size)]
        came = int(worst[0]) if worst.numel() else "others"
        msg = (
            f"take: indices must be in [-{size}, {size}) for axis {axis} of shape {shape}, got "
            f"{came}"
        )
        raise IndexError(msg) from None


@gather(
    "Tensor; `x` and `indices` broadcast but for `axis`",
    indices="integers in an array of as many axes as `x`\nNegative ones count from the end.",
    axis="int",
)
def take_along_axis(x: Tensor, indices: Tensor, /, *, axis: int = -1) -> Tensor:
    """Return the elements of each row of `x` at those of `indices`."""
    place = normalize_axis("take_along_axis", axis, check_tensor("take_along_axis", x))
    size = x.shape[place]
    chosen = index_array("take_along_axis", "indices", indices, size).to(int64)
    shapes = [[1 if i == place else n for i, n in enumerate(y.shape)] for y in (x, chosen)]
    try:
        rest = [*torch.broadcast_shapes(*shapes)] if chosen.ndim == x.ndim else None
    except RuntimeError:
        rest = None
    if rest is None:  # ops-45
        msg = (
            f"take_along_axis: indices must have the shape of x but for axis {place}, got "
            f"{tuple(chosen.shape)} for {tuple(x.shape)}"
        )
        raise ValueError(msg)
    chosen = from_the_front("take_along_axis", chosen, x, place)
    spread = (y.expand(*rest[:place], y.shape[place], *rest[place + 1 :]) for y in (x, chosen))
    whole, wanted = spread
    return torch.gather(whole, place, wanted)


def from_the_front(name: str, indices: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return indices along an axis of `x` counted from its front, or raise an IndexError."""
    if not indices.numel():
        return indices
    size = x.shape[axis]
    known = readable(indices)
    if known is None:
        fits = (-size <= indices) & (indices < size)
        assert_later(fits, f"{name}: indices must be in [-{size}, {size}) for axis {axis}")
        return torch.where(indices < 0, indices + size, indices)
    low, high = (int(worst) for worst in torch.aminmax(known))
    if not -size <= low <= high < size:  # ops-29
        msg = (
            f"{name}: indices must be in [-{size}, {size}) for axis {axis} of shape "
            f"{tuple(x.shape)}, got {low if low < -size else high}"
        )
        raise IndexError(msg)
    return indices if low >= 0 else torch.where(indices < 0, indices + size, indices)


@listed(
    {
        "x": "Tensor or NumPy array of integers, any shape",
        "num_classes": "int\nThe length of the new axis.",
        "dtype": "dtype, optional\nfloat32 if left out or None.",
        "axis": "int\nThe place of the new axis in the result.",
    },
    "Tensor, of one more axis",
    {
        "IndexError": "If an element is negative or not less than `num_classes`.",
        "ValueError": "If the axis is out of range, or `num_classes` negative.",
        "TypeError": "If `x` holds no integers.",
    },
    "array_api_extra.one_hot",
)
def one_hot(
    x: Tensor, /, num_classes: int, *, dtype: torch.dtype | None = None, axis: int = -1
) -> Tensor:
    """Return 1 at the class that each element names, and 0 at the others."""
    classes = index_array("one_hot", "x", x, 2**63).to(int64)
    count = check_int("one_hot", "num_classes", num_classes)
    if count < 0:
        msg = f"one_hot: num_classes must be at least 0, got {count}"
        raise ValueError(msg)
    place = normalize_axis("one_hot", axis, classes, added=1)
    kind = float32 if dtype is None else check_dtype("one_hot", dtype)
    check_range(
        "one_hot", classes, count, "classes must be in [0, num_classes) for num_classes", IndexError
    )
    lengths = [1] * classes.ndim
    lengths.insert(place, count)
    return (classes.unsqueeze(place) == torch.arange(count).reshape(lengths)).to(kind)
