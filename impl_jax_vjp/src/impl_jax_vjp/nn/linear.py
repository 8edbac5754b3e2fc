"""The affine layer, and the bilinear one."""

import math
from typing import Any

import jax.numpy as jnp
from jax import lax

from ..checks import check_flag, check_parameter, refuse
from ..ops import formulas as F
from ..recording import Primitive, shape_of
from ..tensor import Tensor
from .layer import Layer


def _affine(x: Any, weight: Any, *bias: Any) -> Any:
    if weight.ndim != 2 or weight.shape[1] != x.shape[-1]:
        wanted = f"of shape (out_features, in_features) = (out_features, {x.shape[-1]})"
        refuse("Linear", "weight", wanted, f"shape {weight.shape}")
    for added in bias:
        check_parameter("Linear", "bias", added, weight.shape[:1])
    y = F.product(x, weight.T)
    return y + bias[0] if bias else y


_linear = Primitive(_affine, "Linear", F.others)


def _twofold(x: Any, y: Any, weight: Any, *bias: Any) -> Any:
    check_parameter("Bilinear", "weight", weight, (weight.shape[0], x.shape[-1], y.shape[-1]))
    for added in bias:
        check_parameter("Bilinear", "bias", added, weight.shape[:1])
    # A row of both inputs stays a row: what is infinite there reaches no other one. # nn-14
    made = jnp.einsum("...i,oij,...j->...o", x, weight, y, precision=lax.Precision.HIGHEST)
    return made + F.stretch(bias[0], made.shape) if bias else made


_bilinear = Primitive(_twofold, "Bilinear")


class Linear(Layer):
    """``y = input @ weight.T + bias`` (the page of ``torch.nn.Linear``).

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

    in_features: int
    out_features: int
    _options = ("in_features=", "out_features=", "bias=")

    def __init__(
        self, in_features: int, out_features: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(in_features=in_features, out_features=out_features)
        present = check_flag("Linear", "bias", bias)
        bound = 1.0 / math.sqrt(self.in_features)  # nn-02
        self._uniform("weight", (self.out_features, self.in_features), bound)
        self._uniform("bias", (self.out_features,), bound, present=present)

    def forward(self, input: Any) -> Tensor:
        """Map shape (*, in_features) to shape (*, out_features).

        Raises
        ------
        ValueError
            If the last axis is not `in_features`.
        TypeError
            If its dtype is not that of the parameters.
        """
        weight, bias = self.weight, self.bias
        x = self._check("input", input, (self.in_features,), "(*, in_features)")
        return _linear((x, weight) if bias is None else (x, weight, bias))


class Bilinear(Layer):
    """``y[o] = input1 @ weight[o] @ input2 + bias[o]`` (the page of ``torch.nn.Bilinear``).

    Parameters
    ----------
    in1_features, in2_features, out_features : int
    bias : bool
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (out_features, in1_features, in2_features)
    bias : Parameter, shape (out_features,), or None
        Both uniform in [-k, k), ``k = 1 / sqrt(in1_features)``, weight drawn first.
    """

    in1_features: int
    in2_features: int
    out_features: int
    _options = ("in1_features=", "in2_features=", "out_features=", "bias=")

    def __init__(
        self,
        in1_features: int,
        in2_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        sizes = {"in1_features": in1_features, "in2_features": in2_features}
        self._take_sizes(**sizes, out_features=out_features)
        present = check_flag("Bilinear", "bias", bias)
        bound = 1.0 / math.sqrt(self.in1_features)  # nn-02
        shape = (self.out_features, self.in1_features, self.in2_features)
        self._uniform("weight", shape, bound)
        self._uniform("bias", shape[:1], bound, present=present)

    def forward(self, input1: Any, input2: Any) -> Tensor:
        """Map shapes (*, in1_features) and (*, in2_features) to shape (*, out_features).

        Raises
        ------
        ValueError
            If a last axis has another size, or the leading axes differ.
        TypeError
            If a dtype is not that of the parameters.
        """
        x = self._check("input1", input1, (self.in1_features,), "(*, in1_features)")
        y = self._check("input2", input2, (self.in2_features,), "(*, in2_features)")
        if shape_of(x)[:-1] != shape_of(y)[:-1]:  # nn-15
            shapes = f"shapes {shape_of(x)} and {shape_of(y)}"
            refuse("Bilinear", "input1 and input2", "of the same leading axes", shapes)
        made: Tensor = _bilinear([p for p in (x, y, self.weight, self.bias) if p is not None])
        return made
