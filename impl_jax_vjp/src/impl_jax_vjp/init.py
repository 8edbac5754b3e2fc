"""Initial values, in place.

Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010; He et al., "Delving deep into rectifiers", 2015.
"""

import math
from typing import Any

import numpy as np

from . import random
from .checks import as_scalar, cast, check_choice, check_number, finite, refuse, refuse_type
from .dtypes import int64, is_floating, make_array
from .module import Module
from .tensor import Tensor

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

Float64Array = random.Float64Array


def __dir__() -> list[str]:
    return __all__


def _assign(name: str, tensor: Tensor, values: Any) -> Tensor:
    tensor.data = make_array(cast(name, np.asarray(values), tensor.dtype))
    return tensor


def _check_tensor(name: str, tensor: Any) -> None:
    if not isinstance(tensor, Tensor):
        refuse_type(name, "tensor", "a Tensor", tensor)


def _floating(name: str, tensor: Any) -> tuple[int, ...]:
    _check_tensor(name, tensor)
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
    shape = _floating("uniform_", tensor)
    low, high = finite("uniform_", "a", a), finite("uniform_", "b", b)
    if not 0 <= high - low < math.inf:
        refuse("uniform_", "a and b", "a <= b at a finite distance", f"{low} and {high}")
    return _assign("uniform_", tensor, uniform_values(shape, low, high))


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0) -> Tensor:
    """Fill with normal numbers, computed in float64 and rounded.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    """
    shape = _floating("normal_", tensor)
    centre, width = finite("normal_", "mean", mean), finite("normal_", "std", std, least=0)
    return _assign("normal_", tensor, centre + width * random.normal(shape))


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fill with one value."""
    _check_tensor("constant_", tensor)
    number = check_number("constant_", "val", val)
    if isinstance(number, int) and not is_floating(tensor.dtype):
        as_scalar("constant_", number, int64)
    return _assign("constant_", tensor, np.full(tensor.shape, number))


def zeros_(tensor: Tensor) -> Tensor:
    """Fill with zeros."""
    _check_tensor("zeros_", tensor)
    return constant_(tensor, 0)


def ones_(tensor: Tensor) -> Tensor:
    """Fill with ones."""
    _check_tensor("ones_", tensor)
    return constant_(tensor, 1)


def _fans(name: str, tensor: Tensor) -> tuple[int, int]:
    shape = _floating(name, tensor)
    if len(shape) < 2:
        refuse(name, "the shape of tensor", "of at least two axes", shape)
    field = math.prod(shape[2:])
    return shape[1] * field, shape[0] * field


def _root(factor: float, fan: int) -> float:
    """Return ``sqrt(factor / fan)``, and 0 where there are no elements to fill."""
    return math.sqrt(factor / fan) if fan else 0.0


def xavier_uniform_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill uniformly within ``gain * sqrt(6 / (fan_in + fan_out))`` (Glorot 2010, eq. 16)."""
    fan_in, fan_out = _fans("xavier_uniform_", tensor)
    gain = finite("xavier_uniform_", "gain", gain, least=0)
    bound = gain * _root(6.0, fan_in + fan_out)
    finite("xavier_uniform_", "gain", 2 * bound)
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: Tensor, gain: float = 1.0) -> Tensor:
    """Fill normally with deviation ``gain * sqrt(2 / (fan_in + fan_out))``."""
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    gain = finite("xavier_normal_", "gain", gain, least=0)
    return normal_(tensor, 0.0, gain * _root(2.0, fan_in + fan_out))


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the gain of a nonlinearity, as ``torch.nn.init.calculate_gain`` has it.

    Raises
    ------
    ValueError
        If the name is not known.
    TypeError
        If `param` is no number.
    """
    return _gain("calculate_gain", nonlinearity, "param", param)


def lstm_bias_(module: Any, forget: float = 1.0) -> Any:
    """Set the biases of an LSTM to 0, and those of its forget gate, in sum, to `forget`.

    Gers, Schmidhuber and Cummins 2000; Jozefowicz, Zaremba and Sutskever, "An empirical exploration
    of recurrent network architectures", 2015.

    Parameters
    ----------
    module : LSTM, or a cell with its four gates
    forget : float

    Returns
    -------
    Module
        `module`.

    Raises
    ------
    TypeError
        If it is no such Module.
    ValueError
        If it has no biases.
    """
    # The rooms of the recurrent Modules stand above this one, which knows them by their gates.
    if not isinstance(module, Module) or getattr(module, "_gates", None) != 4:
        refuse_type("lstm_bias_", "module", "an LSTM or a cell with its gates", module)
    number, size = finite("lstm_bias_", "forget", forget), module.hidden_size
    named = [(n, p) for n, p in module.named_parameters() if n.rpartition(".")[2][:4] == "bias"]
    if not named:
        refuse("lstm_bias_", "module", "one with biases", "bias=False")
    for name, parameter in named:
        values = np.zeros(parameter.shape)
        if name.startswith(("bias_ih", "norm_ih")):
            values[size : 2 * size] = number  # init-10: rows ordered i, f, g, o
        _assign("lstm_bias_", parameter, values)
    return module


def _gain(name: str, nonlinearity: str, argument: str, param: Any) -> float:
    if not isinstance(nonlinearity, str):
        refuse_type(name, "nonlinearity", "a string", nonlinearity)
    gains = {"linear": 1.0, "sigmoid": 1.0, "tanh": 5.0 / 3.0, "relu": math.sqrt(2.0)}
    if nonlinearity in gains:
        return gains[nonlinearity]
    if nonlinearity == "leaky_relu":
        slope = float(0.01 if param is None else finite(name, argument, param))  # init-07
        return math.sqrt(2.0 / (1.0 + slope * slope))
    known = ", ".join([*gains, "leaky_relu"])
    refuse(name, "nonlinearity", f"one of {known}", repr(nonlinearity))


def _kaiming(
    name: str, tensor: Tensor, a: float, mode: str, nonlinearity: str
) -> tuple[float, int]:
    fans = _fans(name, tensor)
    check_choice(name, "mode", mode, ("fan_in", "fan_out"))
    fan = fans[0] if mode == "fan_in" else fans[1]
    return _gain(name, nonlinearity, "a", check_number(name, "a", a)), fan


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill uniformly within ``gain * sqrt(3 / fan)`` (He et al. 2015, eq. 10 and 14)."""
    gain, fan = _kaiming("kaiming_uniform_", tensor, a, mode, nonlinearity)
    bound = gain * _root(3.0, fan)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill normally with deviation ``gain / sqrt(fan)`` (He et al. 2015, eq. 10 and 14)."""
    gain, fan = _kaiming("kaiming_normal_", tensor, a, mode, nonlinearity)
    return normal_(tensor, 0.0, gain / math.sqrt(fan) if fan else 0.0)
