"""Initial values, drawn from the one generator and written in place."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.checks import (
    check_at_least_zero,
    check_choice,
    check_floating,
    check_number,
    check_tensor,
    shown,
)

__all__ = [
    "calculate_gain",
    "constant_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lstm_bias_",
    "normal_",
    "ones_",
    "uniform_",
    "xavier_normal_",
    "xavier_uniform_",
    "zeros_",
]

_GAINS = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}
_check_nonlinearity = check_choice(*_GAINS, "leaky_relu")
_check_mode = check_choice("fan_in", "fan_out")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0) -> Tensor:
    """Fill with uniform numbers in `[a, b)` and return `tensor`.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    """
    return _uniform("uniform_", tensor, a, b)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers and return `tensor`.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    """
    return _normal("normal_", tensor, mean, std)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with `val` and return `tensor`."""
    return _constant("constant_", tensor, val)


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with 0 and return `tensor`."""
    return _constant("zeros_", tensor, 0.0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with 1 and return `tensor`."""
    return _constant("ones_", tensor, 1.0)


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill with uniform numbers of bound `gain sqrt(6 / (fan_in + fan_out))`.

    Source: Glorot and Bengio 2010, equation 16.
    """
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    bound = _scale("xavier_uniform_", gain) * math.sqrt(6.0 / (fan_in + fan_out))
    return _uniform("xavier_uniform_", tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill with normal numbers of standard deviation `gain sqrt(2 / (fan_in + fan_out))`.

    Source: Glorot and Bengio 2010.
    """
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    std = _scale("xavier_normal_", gain) * math.sqrt(2.0 / (fan_in + fan_out))
    return _normal("xavier_normal_", tensor, 0.0, std)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill with uniform numbers of bound `gain sqrt(3 / fan)`: He et al. 2015, equation 14.

    Parameters
    ----------
    tensor : Tensor, shape (out, in, ...)
    a : float
        The slope of leaky_relu.
    mode : {"fan_in", "fan_out"}
    nonlinearity : str
        As for `calculate_gain`.
    """
    name = "kaiming_uniform_"
    bound = _gain(name, nonlinearity, "a", a) * math.sqrt(3.0 / _fan(name, tensor, mode))
    return _uniform(name, tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill with normal numbers of standard deviation `gain / sqrt(fan)`: He et al. 2015.

    The arguments are those of `kaiming_uniform_`.
    """
    name = "kaiming_normal_"
    std = _gain(name, nonlinearity, "a", a) / math.sqrt(_fan(name, tensor, mode))
    return _normal(name, tensor, 0.0, std)


def lstm_bias_(module: Any, forget: float = 1.0) -> Any:
    """Make the biases of an LSTM 0, and their sum `forget` for the forget gate; return the module.

    Source: Gers et al. 2000; Jozefowicz, Zaremba and Sutskever 2015.

    Parameters
    ----------
    module : Module
        An LSTM, or a cell with its four gates.
    forget : float

    Raises
    ------
    TypeError
        If it is no such Module.
    ValueError
        If it has no biases, or `forget` is not finite.
    """
    biases = getattr(module, "_lstm_biases", None)
    if biases is None or isinstance(module, type) or module._gates != 4:
        msg = (
            "lstm_bias_: module must be an LSTM or a cell with its four gates, got "
            f"{type(module).__name__}"
        )
        raise TypeError(msg)
    forget = _finite("lstm_bias_", "forget", forget)
    first, others = ([bias for bias in part if bias is not None] for part in biases())
    if not first:
        msg = f"lstm_bias_: module must have biases, got {type(module).__name__} without"
        raise ValueError(msg)
    for bias in first:
        # First, as it may be a number that the dtype does not hold.
        _constant("lstm_bias_", bias.detach()[len(bias) // 4 : len(bias) // 2], forget, "forget")
    for bias in others:
        zeros_(bias)
    for bias in first:
        zeros_(bias.detach()[: len(bias) // 4])
        zeros_(bias.detach()[len(bias) // 2 :])
    return module


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the gain that torch has for linear, sigmoid, tanh, relu or leaky_relu.

    `param` is the slope of leaky_relu, 0.01 if left out.

    Raises
    ------
    ValueError
        For another name.
    """
    return _gain("calculate_gain", nonlinearity, "param", param)


def _gain(name: str, nonlinearity: str, option: str, slope: float | None) -> float:
    _check_nonlinearity(name, "nonlinearity", nonlinearity)
    if nonlinearity != "leaky_relu":
        return _GAINS[nonlinearity]
    slope = 0.01 if slope is None else float(_finite(name, option, slope))  # init-07
    return math.sqrt(2.0 / (1.0 + slope * slope))


def _constant(name: str, tensor: Tensor, val: float, argument: str = "val") -> Tensor:
    check_tensor(name, tensor, "tensor")
    val = check_number(name, argument, val)
    try:
        with torch.no_grad():
            return tensor.fill_(val)
    except (RuntimeError, OverflowError):
        msg = f"{name}: {argument} must be a number that {tensor.dtype} holds, got {shown(val)}"
        raise ValueError(msg) from None


def _uniform(name: str, tensor: Tensor, low: float, high: float) -> Tensor:
    low, high = _finite(name, "a", low), _finite(name, "b", high)
    if not 0 <= high - low < math.inf:
        msg = f"{name}: a must be at most b, at a finite distance, got a={low}, b={high}"
        raise ValueError(msg)
    return _draw(name, tensor, lambda shape: random.uniform(shape, low, high))


def _normal(name: str, tensor: Tensor, mean: float, std: float) -> Tensor:
    mean = _finite(name, "mean", mean)
    std = check_at_least_zero(name, "std", _finite(name, "std", std))
    return _draw(name, tensor, lambda shape: random.normal(shape, mean, std))


def _finite(name: str, argument: str, value: Any) -> float:
    number = check_number(name, argument, value)
    if not math.isfinite(number):  # init-05
        msg = f"{name}: {argument} must be finite, got {number}"
        raise ValueError(msg)
    return number


def _scale(name: str, gain: Any) -> float:
    return check_at_least_zero(name, "gain", _finite(name, "gain", gain))


def _draw(name: str, tensor: Tensor, draw: Callable[[tuple[int, ...]], np.ndarray]) -> Tensor:
    check_floating(name, tensor, "tensor")
    with torch.no_grad():
        return tensor.copy_(torch.from_numpy(draw(tuple(tensor.shape))))


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    shape = check_floating(name, tensor, "tensor").shape
    if len(shape) < 2:
        msg = f"{name}: tensor must have at least two axes, got shape {tuple(shape)}"
        raise ValueError(msg)
    rest = math.prod(shape[2:])
    # At least 1, so that a bound exists for an empty array too.
    return max(1, shape[1] * rest), max(1, shape[0] * rest)


def _fan(name: str, tensor: Tensor, mode: str) -> int:
    _check_mode(name, "mode", mode)
    return _fans(name, tensor)[mode == "fan_out"]


def __dir__() -> list[str]:
    return __all__
