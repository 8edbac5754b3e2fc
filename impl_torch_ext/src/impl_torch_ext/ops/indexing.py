"""Elements chosen by index."""

from torch import Tensor
from torch.compiler import is_dynamo_compiling as is_compiling

from impl_torch_ext.checks import check_tensor, normalize_axis
from impl_torch_ext.native import calls
from impl_torch_ext.ops.families import gather
from impl_torch_ext.tensor import chosen_along, index_array


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
