"""Initial values, in place.

Glorot and Bengio, "Understanding the difficulty of training deep feedforward neural networks",
2010; He et al., "Delving deep into rectifiers", 2015; Saxe, McClelland and Ganguli, "Exact
solutions to the nonlinear dynamics of learning in deep linear neural networks", 2013; Martens,
"Deep learning via Hessian-free optimization", 2010; Robert, "Simulation of truncated normal
variables", 1995.
"""

import math
from typing import Any

import numpy as np

from . import random
from .checks import (
    as_scalar,
    cast,
    check_choice,
    check_five,
    check_int,
    check_number,
    check_probability,
    finite,
    refuse,
    refuse_type,
)
from .dtypes import int64, is_floating, make_array
from .module import Module
from .tensor import Tensor

__all__ = [
    "calculate_gain",
    "constant_",
    "dirac_",
    "eye_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "lstm_bias_",
    "normal_",
    "ones_",
    "orthogonal_",
    "sparse_",
    "trunc_normal_",
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
    check_five(name, tensor._data.dtype)


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


_LINEAR = ("linear", "sigmoid", *[f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)])
_GAINS = dict.fromkeys(_LINEAR, 1.0) | {"tanh": 5.0 / 3.0, "relu": math.sqrt(2.0), "selu": 0.75}


def _gain(name: str, nonlinearity: str, argument: str, param: Any) -> float:
    if not isinstance(nonlinearity, str):
        refuse_type(name, "nonlinearity", "a string", nonlinearity)
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    if nonlinearity == "leaky_relu":
        slope = float(0.01 if param is None else finite(name, argument, param))  # init-07
        return math.sqrt(2.0 / (1.0 + slope * slope))
    known = ", ".join([*_GAINS, "leaky_relu"])
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


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fill with normal numbers within [a, b], drawn again until they are (Robert 1995).

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    ValueError
        If a number is not finite, `std` is not above 0, or `a` is above `b`.
    """
    name = "trunc_normal_"
    shape = _floating(name, tensor)
    centre, width = finite(name, "mean", mean), finite(name, "std", std)
    low, high = finite(name, "a", a), finite(name, "b", b)
    if width <= 0:
        refuse(name, "std", "above 0", width)
    if low > high:
        refuse(name, "a", f"at most b, {high}", low)
    alpha = finite(name, "(a - mean) / std", _ratio(low - centre, width))
    beta = finite(name, "(b - mean) / std", _ratio(high - centre, width))
    numbers = np.empty(math.prod(shape))
    places = np.arange(numbers.size)
    while places.size:
        z, accepted = _candidates(places.size, alpha, beta)
        numbers[places[accepted]] = z[accepted]
        places = places[~accepted]
    return _assign(name, tensor, np.clip(centre + width * numbers, low, high).reshape(shape))


def _ratio(distance: float, width: float) -> float:
    return math.copysign(math.inf, distance) if abs(distance) > 1e308 * width else distance / width


def _candidates(count: int, alpha: float, beta: float) -> tuple[Float64Array, Any]:
    """Return standard normal numbers, and which of them are within [alpha, beta]."""  # init-12
    if alpha <= 0 <= beta and beta - alpha >= 2.5:
        z = random.normal((count,))
        return z, (alpha <= z) & (z <= beta)
    nearest = min(max(alpha, 0.0), beta)
    if nearest > 0:
        beta = min(beta, nearest + 38 / max(nearest, 1))
    if nearest < 0:
        alpha = max(alpha, nearest - 38 / max(-nearest, 1))
    pairs = random.uniform((count, 2))
    z = alpha + (beta - alpha) * pairs[:, 0]
    return z, pairs[:, 1] < np.exp((nearest - z) * (nearest + z) / 2)


def orthogonal_(tensor: Tensor, gain: float = 1) -> Tensor:
    """Fill with `gain` times a matrix whose rows or columns are orthonormal (Saxe et al. 2013).

    Further axes count as columns. It is the Q of a QR decomposition of a normal matrix.

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    ValueError
        If it has fewer than two axes, or `gain` is negative or not finite.
    """
    shape = _floating("orthogonal_", tensor)
    if len(shape) < 2:
        refuse("orthogonal_", "the shape of tensor", "of at least two axes", shape)
    factor = finite("orthogonal_", "gain", gain, least=0)
    if 0 in shape:
        return tensor
    matrix = random.normal((shape[0], math.prod(shape[1:])))
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = np.where(np.diag(r) < 0, -q, q)
    return _assign("orthogonal_", tensor, (factor * (q.T if wide else q)).reshape(shape))


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with ones on the diagonal and zeros elsewhere.

    Raises
    ------
    ValueError
        If it has not two axes.
    """
    _check_tensor("eye_", tensor)
    if len(tensor.shape) != 2:
        refuse("eye_", "the shape of tensor", "of two axes", tensor.shape)
    return _assign("eye_", tensor, np.eye(*tensor.shape))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weights of a convolution, (out, in, ...), so that it passes its input on.

    Raises
    ------
    TypeError
        If `groups` is no int.
    ValueError
        If there are not three to five axes, or `groups` does not divide the first.
    """
    _check_tensor("dirac_", tensor)
    shape = tensor.shape
    if not 3 <= len(shape) <= 5:
        refuse("dirac_", "the shape of tensor", "of three, four or five axes", shape)
    count = check_int("dirac_", "groups", groups)
    if count < 1 or shape[0] % count:
        refuse("dirac_", "groups", f"at least 1 and a divisor of {shape[0]}", count)
    values = np.zeros(shape)
    size = shape[0] // count
    middle = [n // 2 for n in shape[2:]]
    if values.size:
        for d in range(min(size, shape[1])):
            index: Any = (slice(d, None, size), d, *middle)
            values[index] = 1
    return _assign("dirac_", tensor, values)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01) -> Tensor:
    """Fill a matrix with normal numbers, and a share of each column with zeros (Martens 2010).

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    ValueError
        If it has not two axes, `sparsity` is not from 0 to 1, or `std` negative or not finite.
    """
    shape = _floating("sparse_", tensor)
    if len(shape) != 2:
        refuse("sparse_", "the shape of tensor", "of two axes", shape)
    share = check_probability("sparse_", "sparsity", sparsity)
    width = finite("sparse_", "std", std, least=0)
    values = 0.0 + width * random.normal(shape)
    zeros = math.ceil(share * shape[0])
    # One column after the other. # init-15
    order = np.argsort(random.uniform(shape[::-1]), axis=1, kind="stable")
    values[order[:, :zeros].T, np.arange(shape[1])] = 0
    return _assign("sparse_", tensor, values)
