"""Initial values, in place.

Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010; He et al., "Delving deep into rectifiers", 2015.
"""

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from . import random
from .checks import refuse, refuse_type
from .dtypes import is_floating
from .tape import Traced
from .tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "normal_",
    "ones_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

Float64Array = random.Float64Array


def __dir__() -> list[str]:
    return __all__


def _assign(tensor: Tensor, values: Any) -> Tensor:
    tensor.data = jnp.asarray(np.asarray(values).astype(tensor.dtype))
    return tensor


def _floating(name: str, tensor: Any) -> tuple[int, ...]:
    if not isinstance(tensor, Traced):
        refuse_type(name, "tensor", "a Tensor", tensor)
    if not is_floating(tensor._data.dtype):
        msg = f"{name}: tensor must be floating, got dtype {tensor._data.dtype}"
        raise TypeError(msg)
    return tensor._data.shape


def uniform_values(shape: tuple[int, ...], low: float, high: float) -> Float64Array:
    """Draw ``low + (high - low) * u`` in float64."""
    return low + (high - low) * random.uniform(shape)


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with uniform numbers in [a, b), computed in float64 and rounded.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    """
    return _assign(tensor, uniform_values(_floating("uniform_", tensor), a, b))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers, computed in float64 and rounded.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    """
    return _assign(tensor, mean + std * random.normal(_floating("normal_", tensor)))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    return _assign(tensor, np.full(tensor.shape, val))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    return constant_(tensor, 1)


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    shape = _floating(name, tensor)
    if len(shape) < 2:
        refuse(name, "the shape of tensor", "of at least two axes", shape)
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill uniformly within ``gain * sqrt(6 / (fan_in + fan_out))`` (Glorot 2010, eq. 16)."""
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    bound = gain * math.sqrt(6.0 / (fan_in + fan_out))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill normally with deviation ``gain * sqrt(2 / (fan_in + fan_out))``."""
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / (fan_in + fan_out)))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the gain of a nonlinearity, as ``torch.nn.init.calculate_gain`` has it.

    Raises
    ------
    ValueError
        If the name is not known.
    """
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}
    if nonlinearity in gains:
        return gains[nonlinearity]
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        return math.sqrt(2.0 / (1 + slope**2))
    known = ", ".join([*gains, "leaky_relu"])
    refuse("calculate_gain", "nonlinearity", f"one of {known}", repr(nonlinearity))


def _kaiming(
    name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str
) -> tuple[float, int]:
    fans = _fans(name, tensor)
    if mode not in ("fan_in", "fan_out"):
        refuse(name, "mode", "fan_in or fan_out", repr(mode))
    fan = fans[0] if mode == "fan_in" else fans[1]
    return calculate_gain(nonlinearity, a), fan


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill uniformly within ``gain * sqrt(3 / fan)`` (He et al. 2015, eq. 10 and 14)."""
    gain, fan = _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = gain * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill normally with deviation ``gain / sqrt(fan)`` (He et al. 2015, eq. 10 and 14)."""
    gain, fan = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, gain / math.sqrt(fan))
