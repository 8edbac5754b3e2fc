"""Initial values, drawn from the one generator. All change a Tensor in place and record nothing."""

from __future__ import annotations

import math
from typing import Any, TypeVar

import numpy as np

from impl_numpy import random
from impl_numpy.checks import (
    check_choice,
    check_finite,
    check_fits,
    check_not_negative,
    check_number,
    shown,
)
from impl_numpy.module import Module
from impl_numpy.parameter import overwrite
from impl_numpy.tensor import Tensor

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

T = TypeVar("T", bound=Tensor)
M = TypeVar("M", bound=Module)


def uniform_(tensor: T, a: float = 0.0, b: float = 1.0) -> T:
    """Fill with uniform numbers in [a, b), drawn in float64 and rounded to the dtype.

    Raises
    ------
    ValueError
        If a or b is not finite, or a is above b.
    """
    _check("uniform_", tensor)
    a, b = check_finite("uniform_", a=a, b=b)
    if not 0 <= b - a < math.inf:
        msg = f"uniform_: a must not be above b, nor too far below it, got a = {a}, b = {b}"
        raise ValueError(msg)
    overwrite(tensor, a + (b - a) * random.uniform(tensor.shape))
    return tensor


def normal_(tensor: T, mean: float = 0.0, std: float = 1.0) -> T:
    """Fill with normal numbers, drawn in float64 and rounded to the dtype.

    Raises
    ------
    ValueError
        If mean or std is not finite, or std is negative.
    """
    _check("normal_", tensor)
    mean, std = check_finite("normal_", mean=mean, std=std)
    check_not_negative("normal_", "std", std)
    overwrite(tensor, mean + std * random.normal(tensor.shape))
    return tensor


def constant_(tensor: T, val: float) -> T:
    """Fill with one value; draw nothing."""
    return _fill("constant_", tensor, val)


def zeros_(tensor: T) -> T:
    """Fill with zeros."""
    return _fill("zeros_", tensor, 0)


def ones_(tensor: T) -> T:
    """Fill with ones."""
    return _fill("ones_", tensor, 1)


def xavier_uniform_(tensor: T, gain: float = 1.0) -> T:
    """Fill uniformly within gain * sqrt(6 / (fan_in + fan_out)).

    Glorot and Bengio 2010, equation 16.
    """
    fans = sum(_fans("xavier_uniform_", tensor))
    (gain,) = check_finite("xavier_uniform_", gain=gain)
    check_not_negative("xavier_uniform_", "gain", gain)
    bound = gain * math.sqrt(6.0 / (fans or 1))
    check_finite("xavier_uniform_", gain=2 * bound)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: T, gain: float = 1.0) -> T:
    """Fill normally with deviation gain * sqrt(2 / (fan_in + fan_out)) (Glorot and Bengio 2010)."""
    fans = sum(_fans("xavier_normal_", tensor))
    (gain,) = check_finite("xavier_normal_", gain=gain)
    check_not_negative("xavier_normal_", "gain", gain)
    std = gain * math.sqrt(2.0 / (fans or 1))
    return normal_(tensor, 0.0, std)


def kaiming_uniform_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> T:
    """Fill uniformly within gain * sqrt(3 / fan) (He et al. 2015)."""
    fan = _fan("kaiming_uniform_", tensor, mode)
    bound = _gain("kaiming_uniform_", nonlinearity, a) * math.sqrt(3.0 / fan)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> T:
    """Fill normally with deviation gain / sqrt(fan) (He et al. 2015, equation 10)."""
    fan = _fan("kaiming_normal_", tensor, mode)
    return normal_(tensor, 0.0, _gain("kaiming_normal_", nonlinearity, a) / math.sqrt(fan))


def lstm_bias_(module: M, forget: float = 1.0) -> M:
    """Set the biases of an LSTM to 0, and their sum to `forget` for the forget gate.

    Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever 2015.

    Parameters
    ----------
    module : LSTM, LSTMCell, LayerNormLSTMCell or PeepholeLSTMCell
    forget : float

    Returns
    -------
    The module.

    Raises
    ------
    ValueError
        If the module has no biases, or forget is not finite.
    TypeError
        If it is no such module.
    """
    if not isinstance(module, Module) or getattr(module, "_gates", None) != 4:
        msg = f"lstm_bias_: module must be an LSTM or a cell with its gates, got {shown(module)}"
        raise TypeError(msg)
    (forget,) = check_finite("lstm_bias_", forget=forget)
    biases = {
        name: bias
        for name, bias in module.named_parameters()
        if name.startswith("bias_") or name in ("norm_ih.bias", "norm_hh.bias", "norm_c.bias")
    }
    if not biases:
        msg = f"lstm_bias_: module must have biases, got {shown(module)}"
        raise ValueError(msg)
    size = module.hidden_size
    for name, bias in biases.items():
        values = np.zeros(bias.shape)
        if name.startswith(("bias_ih", "norm_ih")):
            values[size : 2 * size] = forget
        overwrite(bias, values)
    return module


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which a nonlinearity wants its weights larger.

    Raises
    ------
    ValueError
        If the nonlinearity is unknown.
    """
    return _gain("calculate_gain", nonlinearity, param, "param")


def _gain(operation: str, nonlinearity: str, param: float | None, name: str = "a") -> float:
    (slope,) = (0.01,) if param is None else check_finite(operation, **{name: param})  # init-07
    gains = {
        "linear": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope * slope)),
    }
    check_choice(operation, "nonlinearity", nonlinearity, tuple(gains))
    return gains[nonlinearity]


def _fill(operation: str, tensor: T, value: float) -> T:
    """Fill a Tensor of any dtype that holds the value."""
    _check_tensor(operation, tensor)
    number = check_number(operation, "val", value)
    check_fits(operation, number, tensor.dtype)
    overwrite(tensor, number)
    return tensor


def _fans(operation: str, tensor: Tensor) -> tuple[int, int]:
    """Return fan_in and fan_out of a weight of shape (out, in, ...)."""
    _check(operation, tensor)
    if tensor.ndim < 2:
        msg = f"init.{operation}: wants at least two axes, got shape {tensor.shape}"
        raise ValueError(msg)
    field = math.prod(tensor.shape[2:])
    return tensor.shape[1] * field, tensor.shape[0] * field


def _fan(operation: str, tensor: Tensor, mode: str) -> int:
    fans = dict(zip(("fan_in", "fan_out"), _fans(operation, tensor), strict=True))
    check_choice(f"init.{operation}", "mode", mode, tuple(fans))
    # Of no elements there is nothing to draw, whatever the bound.
    return fans[mode] or 1


def _check_tensor(operation: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        msg = f"init.{operation}: wants a Tensor, got {type(tensor).__name__}"
        raise TypeError(msg)


def _check(operation: str, tensor: Any) -> None:
    _check_tensor(operation, tensor)
    if tensor.dtype.kind != "f":
        msg = (
            f"init.{operation}: wants a Tensor of dtype float32 or float64, got {tensor.dtype}; "
            "cast with astype"
        )
        raise TypeError(msg)


def __dir__() -> list[str]:
    return __all__
