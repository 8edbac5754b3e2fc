"""``Linear``: a Module that owns the parameters which ``LinearF`` is applied to."""

import math
from types import SimpleNamespace
from typing import Any

import functions


def define(nn: Any) -> SimpleNamespace:
    """Return ``Linear`` for the implementation ``nn``."""
    linear_function = functions.define(nn).LinearF

    class Linear(nn.Module):
        """``y = x @ weight.T + bias`` with weight (out, in) and bias (out,)."""

        def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
            super().__init__()
            self.in_features = in_features
            self.out_features = out_features
            self.weight = nn.Parameter(nn.empty((out_features, in_features)))
            if bias:
                self.bias = nn.Parameter(nn.empty((out_features,)))
            else:
                self.register_parameter("bias", None)
            self.reset_parameters()

        def reset_parameters(self) -> None:
            """Draw every parameter from the uniform distribution that fits the inputs' number."""
            bound = 1 / math.sqrt(self.in_features)
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -bound, bound)

        def forward(self, x: Any) -> Any:
            """Take x (N, in) to y (N, out)."""
            return linear_function()(x, self.weight, self.bias)

        def extra_repr(self) -> str:
            """Say the sizes where the Module is printed."""
            return f"in_features={self.in_features}, out_features={self.out_features}"

    return SimpleNamespace(Linear=Linear)
