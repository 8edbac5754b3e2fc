"""The affine layer."""

import math
from typing import Any

from .. import arithmetic as A
from .. import kernels
from ..arguments import floating_dtype, positive_int
from ..creation import host
from ..init import uniform_values
from ..module import Module
from ..parameter import Parameter
from ..tape import Primitive
from ..tensor import Tensor, float32

_linear = Primitive(kernels.linear, "Linear", kernels.linear_keeps)


class Linear(Module):
    """``y = x @ weight.T + bias`` (the page of ``torch.nn.Linear``).

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in_features)
    bias : Parameter, shape (out_features,), or None
        Both uniform in [-k, k), ``k = 1 / sqrt(in_features)``, weight drawn first.
    """

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = float32
    ) -> None:
        super().__init__()
        self.in_features = positive_int("Linear", "in_features", in_features)
        self.out_features = positive_int("Linear", "out_features", out_features)
        wanted = floating_dtype("Linear", dtype)
        bound = 1.0 / math.sqrt(self.in_features)

        def drawn(*shape: int) -> Parameter:
            return Parameter(host("Linear", uniform_values(shape, -bound, bound), wanted, False))

        self.weight = drawn(self.out_features, self.in_features)
        self.register_parameter("bias", drawn(self.out_features) if bias else None)

    def forward(self, x: Any) -> Tensor:
        """Map x, shape (*, in_features), to shape (*, out_features).

        Raises
        ------
        ValueError
            If the last axis is not `in_features`.
        TypeError
            If its dtype is not that of the parameters.
        """
        x = A.operand("Linear", x)
        shape = A.shape_of(x)
        if not shape or shape[-1] != self.in_features:
            msg = (
                f"Linear: x must have shape (*, in_features) = (*, {self.in_features}), got {shape}"
            )
            raise ValueError(msg)
        dtype = A.dtype_of(self.weight)
        if A.dtype_of(x) != dtype:
            msg = (
                f"Linear: x has dtype {A.dtype_of(x)}, the parameters have {dtype}; "
                "convert one of them"
            )
            raise TypeError(msg)
        return _linear([x, self.weight] if self.bias is None else [x, self.weight, self.bias])

    def extra_repr(self) -> str:
        """Return the sizes, and whether there is a bias."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )
