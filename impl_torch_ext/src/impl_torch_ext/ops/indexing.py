"""Elements chosen by index."""

from torch import Tensor

from impl_torch_ext.checks import check_indices, check_tensor, normalize_axis
from impl_torch_ext.ops.families import gather, operands


@gather(
    "Tensor; the axes of `indices` take the place of `axis`, gradients of repeated ones add up",
    indices="integer Tensor or NumPy array\nNegative ones count from the end.",
    axis="int\nMay be left out where `x` has one axis.",
)
def take(x: Tensor, indices: Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return the elements of `x` at `indices` along `axis`."""
    if axis is None:
        if check_tensor("take", x).ndim != 1:
            msg = f"take: axis must be given for other than one axis, got shape {tuple(x.shape)}"
            raise ValueError(msg)
        axis = 0
    place = normalize_axis("take", axis, check_tensor("take", x))
    (chosen,) = operands("take", indices, alone=True)
    chosen = check_indices("take", "indices", chosen)
    try:
        return x[(slice(None),) * place + (chosen,)]  # tensor-24
    except IndexError:
        size, shape = x.shape[place], tuple(x.shape)
        msg = (
            f"take: indices must be in [-{size}, {size}) for axis {axis} of shape {shape}, got "
            "others"
        )
        raise IndexError(msg) from None
