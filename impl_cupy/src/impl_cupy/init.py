"""Initial values, drawn on the host and written in place."""

from __future__ import annotations

import math
import re
from typing import Any, TypeVar

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, check_choice, check_number, type_name
from impl_cupy.module import Module
from impl_cupy.tape import note_change
from impl_cupy.tensor import Tensor

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

_T = TypeVar("_T", bound=Tensor)
_M = TypeVar("_M", bound=Module)

_LSTM_GATES = 4
_BIAS = re.compile(r"bias_[ih]h|norm_\w+\.bias")


def __dir__() -> list[str]:
    return __all__


def uniform_(tensor: _T, a: float = 0.0, b: float = 1.0) -> _T:
    """Draw from ``[a, b)``: ``a + (b - a) u``.

    Raises
    ------
    ValueError
        If ``a > b``, or they are not finite.
    """
    _check("uniform_", tensor)
    _check_finite("uniform_", a=a, b=b)
    if not a <= b:
        msg = f"uniform_: a must not be above b, got a={a}, b={b}"
        raise ValueError(msg)
    return _uniform("uniform_", tensor, float(a), float(b))


def _check_finite(name: str, **values: Any) -> None:
    """Refuse what is no number, infinite or NaN (init-05)."""
    for argument, value in values.items():
        check_number(name, argument, value)
        if not math.isfinite(value):
            msg = f"{name}: {argument} must be finite, got {value}"
            raise ValueError(msg)


def _uniform(name: str, tensor: _T, low: float, high: float) -> _T:
    if not math.isfinite(high - low):
        msg = f"{name}: a and b must have a finite distance, got from {low} to {high}"
        raise ValueError(msg)
    return _write(tensor, random.uniform(tensor.shape, low, high))


def normal_(tensor: _T, mean: float = 0.0, std: float = 1.0) -> _T:
    """Draw from the normal distribution: ``mean + std z``.

    Raises
    ------
    ValueError
        If `std` is negative, or one is not finite.
    """
    _check("normal_", tensor)
    _check_finite("normal_", mean=mean, std=std)
    check_at_least_zero("normal_", "std", std)
    return _write(tensor, random.normal(tensor.shape, float(mean), float(std)))


def constant_(tensor: _T, val: float) -> _T:
    """Set every element to `val`."""
    return _fill("constant_", tensor, val)


def _fill(name: str, tensor: _T, val: Any) -> _T:
    _check(name, tensor, floating=False)
    if not isinstance(val, (bool, np.bool_)):
        check_number(name, "val", val)
    if tensor.dtype.kind != "f" and val != _held(tensor.dtype, val):
        msg = f"{name}: val must be a number that {tensor.dtype.name} holds, got {val}"
        raise ValueError(msg)
    note_change(tensor)
    tensor._data[...] = val
    return tensor


def zeros_(tensor: _T) -> _T:
    """Set every element to 0."""
    return _fill("zeros_", tensor, 0)


def ones_(tensor: _T) -> _T:
    """Set every element to 1."""
    return _fill("ones_", tensor, 1)


def xavier_uniform_(tensor: _T, gain: float = 1.0) -> _T:
    """Draw from ``[-a, a)``, ``a = gain sqrt(6 / (fan_in + fan_out))``.

    Source: Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", 2010, equation 16.

    Raises
    ------
    ValueError
        If `tensor` has fewer than two axes, or `gain` is negative.
    """
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    _check_finite("xavier_uniform_", gain=gain)
    check_at_least_zero("xavier_uniform_", "gain", gain)
    bound = float(gain) * math.sqrt(6 / (fan_in + fan_out))
    return _uniform("xavier_uniform_", tensor, -bound, bound)


def xavier_normal_(tensor: _T, gain: float = 1.0) -> _T:
    """Draw normal numbers of deviation ``gain sqrt(2 / (fan_in + fan_out))``.

    Source: Glorot and Bengio 2010, equation 12.

    Raises
    ------
    ValueError
        If `tensor` has fewer than two axes, or `gain` is negative.
    """
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    _check_finite("xavier_normal_", gain=gain)
    check_at_least_zero("xavier_normal_", "gain", gain)
    return normal_(tensor, 0.0, float(gain) * math.sqrt(2 / (fan_in + fan_out)))


def kaiming_uniform_(
    tensor: _T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> _T:
    """Draw from ``[-b, b)``, ``b = gain sqrt(3 / fan)``.

    Source: He et al., "Delving deep into rectifiers", 2015, equations 10 and 14.

    Parameters
    ----------
    tensor : Tensor, at least two axes
    a : float
        Slope of leaky_relu for negative numbers.
    mode : "fan_in" or "fan_out"
    nonlinearity : str
        As in `calculate_gain`.

    Raises
    ------
    ValueError
        If an argument is none of these.
    """
    fan = _fan("kaiming_uniform_", tensor, mode)
    gain = _gain("kaiming_uniform_", nonlinearity, a)
    bound = gain * math.sqrt(3 / fan)
    return _uniform("kaiming_uniform_", tensor, -bound, bound)


def kaiming_normal_(
    tensor: _T, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> _T:
    """Draw normal numbers of deviation ``gain / sqrt(fan)``; arguments as `kaiming_uniform_`."""
    fan = _fan("kaiming_normal_", tensor, mode)
    gain = _gain("kaiming_normal_", nonlinearity, a)
    return normal_(tensor, 0.0, gain / math.sqrt(fan))


def lstm_bias_(module: _M, forget: float = 1.0) -> _M:
    """Set the biases of an LSTM to 0, and that of its forget gate to `forget`.

    Source: Gers et al. 2000; Jozefowicz, Zaremba and Sutskever, "An empirical exploration of
    recurrent network architectures", 2015.

    Parameters
    ----------
    module : LSTM, or a cell with the four gates of one
    forget : float
        What `bias_ih`, or the bias of `norm_ih`, has in the rows of the forget gate, in every layer
        and direction.

    Raises
    ------
    TypeError
        If `module` is no such Module.
    ValueError
        If it has no biases, or `forget` is not finite.
    """
    if not isinstance(module, Module) or getattr(module, "gates", None) != _LSTM_GATES:
        msg = (
            f"lstm_bias_: module must be an LSTM or a cell with its gates, got {type_name(module)}"
        )
        raise TypeError(msg)
    _check_finite("lstm_bias_", forget=forget)
    biases = {name: value for name, value in module.named_parameters() if _BIAS.match(name)}
    if not biases:
        msg = f"lstm_bias_: module must have biases, got {type_name(module)} with bias=False"
        raise ValueError(msg)
    size: int = module.hidden_size
    for name, value in biases.items():
        zeros_(value)
        if name.startswith(("bias_ih", "norm_ih")):
            value._data[size : 2 * size] = forget
    return module


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which a nonlinearity's inputs are to be larger.

    Source: the table at ``torch.nn.init.calculate_gain``.

    Parameters
    ----------
    nonlinearity : "linear", "sigmoid", "tanh", "relu" or "leaky_relu"
    param : float, optional
        Slope of leaky_relu for negative numbers, 0.01 unless given.

    Raises
    ------
    ValueError
        If it is another name.
    """
    return _gain("calculate_gain", nonlinearity, param)


def _gain(name: str, nonlinearity: Any, param: Any) -> float:
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3, "relu": math.sqrt(2.0)}
    argument = "a" if name.endswith("_") else "param"
    if param is not None:
        _check_finite(name, **{argument: param})  # init-07
    check_choice(name, "nonlinearity", nonlinearity, (*gains, "leaky_relu"))
    if nonlinearity in gains:
        return gains[nonlinearity]
    slope = 0.01 if param is None else float(param)
    return math.sqrt(2.0 / (1.0 + slope * slope))


def _held(dtype: np.dtype[Any], val: Any) -> Any:
    """Return what a number becomes in a dtype of integers or booleans, None if it does not fit."""
    try:
        return dtype.type(int(val))
    except (OverflowError, ValueError):
        return None


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    _check(name, tensor)
    if tensor.ndim < 2:
        msg = f"{name}: tensor must have at least two axes for fans, got shape {tensor.shape}"
        raise ValueError(msg)
    rest = math.prod(tensor.shape[2:])
    fan_in, fan_out = tensor.shape[1] * rest, tensor.shape[0] * rest
    if fan_in + fan_out == 0:
        msg = f"{name}: axes must not have length 0, got shape {tensor.shape}"
        raise ValueError(msg)
    return fan_in, fan_out


def _fan(name: str, tensor: Tensor, mode: str) -> int:
    fans = dict(zip(("fan_in", "fan_out"), _fans(name, tensor), strict=True))
    check_choice(name, "mode", mode, tuple(fans))
    if fans[mode] == 0:
        msg = f"{name}: {mode} must not be 0, got shape {tensor.shape}"
        raise ValueError(msg)
    return fans[mode]


def _check(name: str, tensor: Any, floating: bool = True) -> None:
    if not isinstance(tensor, Tensor):
        msg = f"{name}: must be a Tensor, got {type_name(tensor)}"
        raise TypeError(msg)
    if floating and tensor.dtype.kind != "f":
        msg = f"{name}: must be a floating Tensor, got dtype {tensor.dtype.name}"
        raise TypeError(msg)


def _write(tensor: _T, host: np.ndarray[Any, np.dtype[Any]]) -> _T:
    note_change(tensor)
    tensor._data[...] = cp.asarray(host.astype(tensor.dtype))
    return tensor
