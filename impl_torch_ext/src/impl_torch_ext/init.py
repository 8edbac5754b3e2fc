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
    check_between,
    check_choice,
    check_floating,
    check_number,
    check_size,
    check_tensor,
    shown,
)

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

_GAINS = {
    **dict.fromkeys(["linear", "conv1d", "conv2d", "conv3d"], 1.0),
    **dict.fromkeys(["conv_transpose1d", "conv_transpose2d", "conv_transpose3d"], 1.0),
    "sigmoid": 1.0,
    "tanh": 5.0 / 3.0,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4.0,
}
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

    Source: Glorot and Bengio 2010, equation 12.
    """
    fan_in, fan_out = _fans("xavier_normal_", tensor)
    std = _scale("xavier_normal_", gain) * math.sqrt(2.0 / (fan_in + fan_out))
    return _normal("xavier_normal_", tensor, 0.0, std)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> Tensor:
    """Fill with uniform numbers of bound `gain sqrt(3 / fan)`: He et al. 2015, equation 10.

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
    """Fill with normal numbers of deviation `gain / sqrt(fan)`: He et al. 2015, equation 10.

    The arguments are those of `kaiming_uniform_`.
    """
    name = "kaiming_normal_"
    std = _gain(name, nonlinearity, "a", a) / math.sqrt(_fan(name, tensor, mode))
    return _normal(name, tensor, 0.0, std)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> Tensor:
    """Fill with normal numbers within `[a, b]` and return `tensor`.

    Source: Robert, Simulation of truncated normal variables, 1995.

    Parameters
    ----------
    tensor : Tensor
    mean, std : float
        Of the normal numbers, before those outside are rejected; `std` is above 0.
    a, b : float

    Raises
    ------
    TypeError
        If `tensor` is not a Tensor of a floating dtype, or a bound no number.
    ValueError
        If `std` is not above 0, `a` above `b`, or one so far away that float64 does not hold it.
    """
    name = "trunc_normal_"
    mean, std, a, b = (
        _finite(name, argument, value)
        for argument, value in (("mean", mean), ("std", std), ("a", a), ("b", b))
    )
    if not std > 0:
        msg = f"{name}: std must be above 0, got {std}"
        raise ValueError(msg)
    if a > b:
        msg = f"{name}: a must be at most b, got a={a}, b={b}"
        raise ValueError(msg)
    alpha, beta = (a - mean) / std, (b - mean) / std
    for argument, value, end in (("a", a, alpha), ("b", b, beta)):
        if not math.isfinite(end):  # init-12
            msg = f"{name}: {argument} must be a finite number of std from mean, got {value}"
            raise ValueError(msg)

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        # Without axes the result of arithmetic is a scalar of NumPy's.
        return np.asarray(np.clip(mean + std * _truncated(shape, alpha, beta), a, b))

    return _draw(name, tensor, draw)


def orthogonal_(tensor: Tensor, gain: float = 1) -> Tensor:
    """Fill with `gain` times a matrix of orthogonal rows or columns and return `tensor`.

    Source: Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks, 2013.

    Parameters
    ----------
    tensor : Tensor, shape (rows, ...)
        The further axes together are the columns.
    gain : float

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    ValueError
        If it has fewer than two axes, or `gain` is negative or not finite.
    """
    _fans("orthogonal_", tensor)
    factor = _scale("orthogonal_", gain)
    if not tensor.numel():  # init-13
        return tensor
    return _draw("orthogonal_", tensor, lambda shape: factor * _orthogonal(shape))


def eye_(tensor: Tensor) -> Tensor:
    """Fill a matrix with 1 on its diagonal and 0 elsewhere and return it.

    Source: torch.nn.init.eye_.

    Raises
    ------
    ValueError
        If `tensor` has not two axes.
    """
    rows, columns = _matrix("eye_", check_tensor("eye_", tensor, "tensor"))
    with torch.no_grad():
        return tensor.copy_(torch.eye(rows, columns, dtype=tensor.dtype))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Fill the weights of a convolution so that it passes its input on, and return them.

    Source: torch.nn.init.dirac_.

    Parameters
    ----------
    tensor : Tensor, shape (out, in, ...) of three to five axes
    groups : int
        Each of so many parts of the outputs gets the inputs.

    Raises
    ------
    ValueError
        If `tensor` has another number of axes, or `groups` does not divide `out`.
    """
    shape = tuple(check_tensor("dirac_", tensor, "tensor").shape)
    groups = check_size("dirac_", "groups", groups)
    if not 3 <= len(shape) <= 5:  # init-14
        msg = f"dirac_: tensor must have three, four or five axes, got shape {shape}"
        raise ValueError(msg)
    if shape[0] % groups:
        msg = f"dirac_: groups must divide the first size of {shape}, got {groups}"
        raise ValueError(msg)
    each = shape[0] // groups
    values = np.zeros(shape)
    if values.size:
        of_one = np.arange(min(each, shape[1]))
        rows = np.add.outer(each * np.arange(groups), of_one)
        values[(rows, of_one, *(size // 2 for size in shape[2:]))] = 1
    with torch.no_grad():
        return tensor.copy_(torch.from_numpy(values))


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01) -> Tensor:
    """Fill a matrix with normal numbers, of which a share of each column is 0, and return it.

    Source: Martens, Deep learning via Hessian-free optimization, 2010.

    Parameters
    ----------
    tensor : Tensor, shape (rows, columns)
    sparsity : float
        From 0 to 1; `ceil(sparsity * rows)` elements of each column become 0.
    std : float

    Raises
    ------
    TypeError
        If it is not a Tensor of a floating dtype.
    ValueError
        If it is no matrix, or a number is out of range.
    """
    rows, columns = _matrix("sparse_", check_floating("sparse_", tensor, "tensor"))
    sparsity = _finite("sparse_", "sparsity", sparsity)
    check_between("sparse_", "sparsity", sparsity, 0, 1)
    std = check_at_least_zero("sparse_", "std", _finite("sparse_", "std", std))

    def draw(shape: tuple[int, ...]) -> np.ndarray:
        values = random.normal(shape, 0.0, std)
        order = np.argsort(random.uniform((columns, rows)), axis=1, kind="stable")  # init-15
        np.put_along_axis(values, order.T[: math.ceil(sparsity * rows)], 0.0, axis=0)
        return values

    return _draw("sparse_", tensor, draw)


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
    """Return the gain that torch has for a nonlinearity, a convolution or a linear layer.

    `param` is the slope of leaky_relu, 0.01 if left out.

    Raises
    ------
    ValueError
        For another name, or a slope that is not finite.
    """
    return _gain("calculate_gain", nonlinearity, "param", param)


def _gain(name: str, nonlinearity: str, option: str, slope: float | None) -> float:
    _check_nonlinearity(name, "nonlinearity", nonlinearity)
    slope = 0.01 if slope is None else _finite(name, option, slope)  # init-07
    if nonlinearity != "leaky_relu":
        return _GAINS[nonlinearity]
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
    try:
        number = float(check_number(name, argument, value))
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):  # init-05
        msg = f"{name}: {argument} must be finite, got {shown(value)}"
        raise ValueError(msg)
    return number


def _scale(name: str, gain: Any) -> float:
    return check_at_least_zero(name, "gain", _finite(name, "gain", gain))


def _draw(name: str, tensor: Tensor, draw: Callable[[tuple[int, ...]], np.ndarray]) -> Tensor:
    check_floating(name, tensor, "tensor")
    with torch.no_grad():
        return tensor.copy_(torch.from_numpy(draw(tuple(tensor.shape))))


def _truncated(shape: tuple[int, ...], alpha: float, beta: float) -> np.ndarray:
    """Draw standard normal numbers within `[alpha, beta]`, in rounds (init-12)."""
    z = np.empty(math.prod(shape))
    left = np.arange(z.size)
    while left.size:
        if alpha <= 0 <= beta and beta - alpha >= 2.5:
            candidates = random.normal(left.shape)
            accepted = (alpha <= candidates) & (candidates <= beta)
        else:
            candidates, accepted = _tail(left.size, alpha, beta)
        z[left[accepted]] = candidates[accepted]
        left = left[~accepted]
    return z.reshape(shape)


def _tail(count: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw uniform candidates, and whether each is accepted."""
    nearest = min(max(alpha, 0.0), beta)
    if nearest > 0:
        beta = min(beta, nearest + 38 / max(nearest, 1))
    if nearest < 0:
        alpha = max(alpha, nearest - 38 / max(-nearest, 1))
    u = random.uniform((count, 2))
    z = alpha + (beta - alpha) * u[:, 0]
    # Halves first: the sum of numbers near the largest is infinite.
    return z, u[:, 1] < np.exp((nearest - z) * (nearest / 2 + z / 2))


def _orthogonal(shape: tuple[int, ...]) -> np.ndarray:
    matrix = random.normal((shape[0], math.prod(shape[1:])))
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = np.where(np.diag(r) < 0, -q, q)
    return (q.T if wide else q).reshape(shape)


def _matrix(name: str, tensor: Tensor) -> tuple[int, int]:
    if tensor.ndim != 2:  # init-14, init-15
        msg = f"{name}: tensor must have two axes, got shape {tuple(tensor.shape)}"
        raise ValueError(msg)
    return tensor.shape[0], tensor.shape[1]


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
