"""The affine map."""

import math

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.module import Module, Parameter, positive_int
from impl_torch_ext.tensor import check_floating, empty

__all__ = ["Linear"]


class Linear(Module):
    """``y = x @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
        Drawn first, uniform in ``[-k, k)`` with ``k = 1 / sqrt(in_features)``.
    bias : Parameter or None, shape (out_features,)
        Drawn likewise.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.in_features = positive_int("Linear", "in_features", in_features)
        self.out_features = positive_int("Linear", "out_features", out_features)
        check_floating("Linear", dtype)
        bound = 1.0 / math.sqrt(self.in_features)
        self.weight = Parameter(
            init.uniform_(empty((self.out_features, self.in_features), dtype=dtype), -bound, bound)
        )
        self.bias: Parameter | None
        if bias:
            self.bias = Parameter(
                init.uniform_(empty(self.out_features, dtype=dtype), -bound, bound)
            )
        else:
            self.register_parameter("bias", None)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the map to ``x``, shape (*, in_features); returns shape (*, out_features)."""
        if not isinstance(x, Tensor):
            msg = f"Linear: x must be a Tensor, got {type(x).__name__}"
            raise TypeError(msg)
        if x.ndim == 0 or x.shape[-1] != self.in_features:
            msg = (
                f"Linear: x must have shape (*, in_features) = (*, {self.in_features}), got "
                f"{tuple(x.shape)}"
            )
            raise ValueError(msg)
        if x.dtype != self.weight.dtype:
            msg = f"Linear: x must have the dtype of weight, {self.weight.dtype}, got {x.dtype}"
            raise TypeError(msg)
        y = torch.matmul(x, self.weight.mT)
        return y if self.bias is None else y + self.bias

    def extra_repr(self) -> str:
        """Return the arguments."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"
