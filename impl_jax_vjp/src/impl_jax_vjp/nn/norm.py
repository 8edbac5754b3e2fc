"""Normalization."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import check_flag, check_number, check_parameter, check_sizes, refuse
from ..recording import Primitive
from ..tensor import Tensor
from .layer import Layer


def _normalize(count: int, eps: float, x: Any, *affine: Any) -> Any:
    axes = tuple(range(x.ndim - count, x.ndim))
    for argument, parameter in zip(("weight", "bias"), affine, strict=False):
        check_parameter("LayerNorm", argument, parameter, x.shape[x.ndim - count :])
    centred = x - jnp.mean(x, axes, keepdims=True)
    y = centred * lax.rsqrt(jnp.mean(centred * centred, axes, keepdims=True) + eps)
    y = y * affine[0] if affine else y
    return y + affine[1] if len(affine) > 1 else y


_layer_norm = Primitive(_normalize, "LayerNorm")


def check_eps(name: str, eps: Any) -> float:
    """Return what is added to a variance; raise `ValueError` if it is below 0."""
    number = check_number(name, "eps", eps)
    if not number >= 0:
        refuse(name, "eps", "at least 0", number)
    return float(number)


class LayerNorm(Layer):
    """``(input - mean) / sqrt(var + eps) * weight + bias`` over the last axes.

    Ba, Kiros and Hinton 2016, equations 3 and 4; the page of ``torch.nn.LayerNorm``. The variance
    is the biased one.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, over which each row is normalized.
    eps : float
    elementwise_affine, bias : bool
        Whether there are `weight` and `bias`, and whether there is `bias`.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight, bias : Parameter, shape `normalized_shape`, or None
        Ones and zeros.
    """

    _options = ("normalized_shape", "eps=", "elementwise_affine=", "bias=")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        sizes = check_sizes("LayerNorm: normalized_shape", normalized_shape, least=1)
        if not sizes:  # nn-11
            refuse("LayerNorm", "normalized_shape", "at least one size", normalized_shape)
        eps = check_eps("LayerNorm", eps)
        bias = check_flag("LayerNorm", "bias", bias)
        self.normalized_shape, self.eps = sizes, eps
        self.elementwise_affine = affine = check_flag(
            "LayerNorm", "elementwise_affine", elementwise_affine
        )
        self._parameter("weight", np.ones(sizes) if affine else None)
        self._parameter("bias", np.zeros(sizes) if affine and bias else None)

    def forward(self, input: Any) -> Tensor:
        """Map shape (*, normalized_shape) to the same shape.

        Raises
        ------
        ValueError
            If the last axes are not `normalized_shape`.
        TypeError
            If its dtype is not that of the parameters.
        """
        affine = [p for p in (self.weight, self.bias) if p is not None]
        x = self._check("input", input, self.normalized_shape, "(*, normalized_shape)")
        return _layer_norm((x, *affine), len(self.normalized_shape), self.eps)
