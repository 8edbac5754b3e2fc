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
    check_five,
    check_int,
    check_not_negative,
    check_number,
    check_probability,
    shown,
)
from impl_numpy.dtypes import Array, Shape
from impl_numpy.module import Module
from impl_numpy.parameter import overwrite
from impl_numpy.tensor import Tensor

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
    return _put(tensor, a + (b - a) * random.uniform(tensor.shape))


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
    return _put(tensor, mean + std * random.normal(tensor.shape))


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


def trunc_normal_(
    tensor: T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> T:
    """Fill with normal numbers within [a, b], drawn by rejection until every place has one.

    Candidates are normal where the interval is wide about the mean, else uniform, accepted in
    proportion to the density (Robert 1995; torch.nn.init.trunc_normal_).

    Parameters
    ----------
    tensor : floating Tensor
    mean, std : float
        Of the normal distribution that is truncated; std is above 0.
    a, b : float
        The least and the greatest value.

    Raises
    ------
    ValueError
        If a number is not finite, std is not above 0, a is above b, or a bound is so many
        deviations from the mean that float64 does not hold their number.
    TypeError
        If the tensor is not floating.
    """
    _check("trunc_normal_", tensor)
    mean, std, a, b = map(float, check_finite("trunc_normal_", mean=mean, std=std, a=a, b=b))
    if std <= 0:
        msg = f"trunc_normal_: std must be above 0, got {std}"
        raise ValueError(msg)
    if a > b:
        msg = f"trunc_normal_: a must not be above b, got a = {a}, b = {b}"
        raise ValueError(msg)
    alpha, beta = (a - mean) / std, (b - mean) / std
    for name, bound, deviations in (("a", a, alpha), ("b", b, beta)):
        if not math.isfinite(deviations):
            wanted = f"nearer to mean = {mean}, in units of std = {std}"
            msg = f"trunc_normal_: {name} must be {wanted}, got {bound}"
            raise ValueError(msg)
    z = np.empty(tensor.size)
    left = np.arange(tensor.size)
    while left.size:
        candidates, accepted = _candidates(left.size, alpha, beta)
        z[left[accepted]] = candidates[accepted]
        left = left[~accepted]
    return _put(tensor, np.clip(mean + std * z, a, b).reshape(tensor.shape))


def _candidates(count: int, alpha: float, beta: float) -> tuple[Array, Array]:
    """Return a round of standard normal candidates within bounds, and which are accepted."""
    if alpha <= 0 <= beta and beta - alpha >= 2.5:  # init-12
        z = random.normal((count,))
        return z, (z >= alpha) & (z <= beta)
    nearest = min(max(alpha, 0.0), beta)
    reach = 38 / max(abs(nearest), 1)
    if nearest > 0:
        beta = min(beta, nearest + reach)
    elif nearest < 0:
        alpha = max(alpha, nearest - reach)
    u = random.uniform((count, 2))
    z = alpha + (beta - alpha) * u[:, 0]
    # The halves are exact, and their sum is finite where that of the wholes is not.
    return z, u[:, 1] < np.exp((nearest - z) * (nearest / 2 + z / 2))


def orthogonal_(tensor: T, gain: float = 1) -> T:
    """Fill with gain times a matrix whose rows, or columns if these are fewer, are orthonormal.

    It is the Q of a QR decomposition of normal numbers, with the signs that make the diagonal of R
    positive (Saxe, McClelland and Ganguli 2013; torch.nn.init.orthogonal_).

    Parameters
    ----------
    tensor : floating Tensor, shape (rows, ...)
        The axes behind the first are taken as one.
    gain : float

    Raises
    ------
    ValueError
        If there are fewer than two axes, or gain is negative or not finite.
    TypeError
        If the tensor is not floating.
    """
    _fans("orthogonal_", tensor)
    (gain,) = check_finite("orthogonal_", gain=gain)
    check_not_negative("orthogonal_", "gain", gain)
    if not tensor.size:  # init-13
        return tensor
    matrix = random.normal((tensor.shape[0], tensor.size // tensor.shape[0]))
    wide = matrix.shape[0] < matrix.shape[1]
    q, r = np.linalg.qr(matrix.T if wide else matrix)
    q = np.where(np.diag(r) < 0, -q, q)
    return _put(tensor, (gain * (q.T if wide else q)).reshape(tensor.shape))


def eye_(tensor: T) -> T:
    """Fill a matrix of any dtype with 1 on the diagonal, else 0; draw nothing.

    As torch.nn.init.eye_.

    Raises
    ------
    ValueError
        If there are not two axes.
    """
    rows, columns = _matrix("eye_", tensor)
    return _put(tensor, np.eye(rows, columns, dtype=tensor.dtype))


def dirac_(tensor: T, groups: int = 1) -> T:
    """Fill the weight of a convolution so that it passes channels on; draw nothing.

    Of each group the first channels of the output are those of the input, as many as both have
    (torch.nn.init.dirac_).

    Parameters
    ----------
    tensor : Tensor of any dtype, shape (out, in, ...) with one to three further axes
    groups : int
        Divides out.

    Raises
    ------
    ValueError
        If there are other axes, or groups does not divide out or is below 1.
    TypeError
        If groups is no int.
    """
    _check_tensor("dirac_", tensor)
    shape = tensor.shape
    if not 3 <= len(shape) <= 5:
        msg = f"init.dirac_: wants three, four or five axes, got shape {shape}"
        raise ValueError(msg)
    groups = check_int("dirac_", "groups", groups)
    if groups < 1 or shape[0] % groups:
        msg = f"init.dirac_: groups must divide the {shape[0]} channels of {shape}, got {groups}"
        raise ValueError(msg)
    values = np.zeros(shape, tensor.dtype)
    each = shape[0] // groups
    channels = np.arange(min(each, shape[1]))
    if values.size:
        at: Any = (..., *[size // 2 for size in shape[2:]])
        middle = values[at]
        for first in range(0, shape[0], each):
            middle[first + channels, channels] = 1  # init-14
    return _put(tensor, values)


def sparse_(tensor: T, sparsity: float, std: float = 0.01) -> T:
    """Fill a matrix with normal numbers, and make a share of each column 0 (Martens 2010).

    As torch.nn.init.sparse_.

    Parameters
    ----------
    tensor : floating Tensor, shape (rows, columns)
    sparsity : float
        The share, from 0 to 1, rounded up to whole rows.
    std : float

    Raises
    ------
    ValueError
        If there are not two axes, or a number is out of range.
    TypeError
        If the tensor is not floating.
    """
    _check("sparse_", tensor)
    rows, columns = _matrix("sparse_", tensor)
    sparsity, std = check_finite("sparse_", sparsity=sparsity, std=std)
    check_probability("sparse_", "sparsity", sparsity)
    check_not_negative("sparse_", "std", std)
    values = 0.0 + std * random.normal((rows, columns))
    order = np.argsort(random.uniform((columns, rows)), axis=1, kind="stable")  # init-15
    np.put_along_axis(values, order.T[: math.ceil(sparsity * rows)], 0.0, axis=0)
    return _put(tensor, values)


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
        **{f"conv{way}{axes}d": 1.0 for way in ("", "_transpose") for axes in (1, 2, 3)},
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "selu": 0.75,
        "leaky_relu": math.sqrt(2.0 / (1.0 + slope * slope)),
    }
    check_choice(operation, "nonlinearity", nonlinearity, tuple(gains))
    return gains[nonlinearity]


def _fill(operation: str, tensor: T, value: float) -> T:
    """Fill a Tensor of any dtype that holds the value."""
    _check_tensor(operation, tensor)
    number = check_number(operation, "val", value)
    check_fits(operation, number, tensor.dtype)
    return _put(tensor, number)


def _put(tensor: T, values: Any) -> T:
    """Give a Tensor values, rounded to its dtype; what is too large becomes infinite."""
    with np.errstate(all="ignore"):
        overwrite(tensor, values)
    return tensor


def _matrix(operation: str, tensor: Any) -> Shape:
    """Return the shape of a matrix, or raise ValueError."""
    _check_tensor(operation, tensor)
    if tensor.ndim != 2:
        msg = f"init.{operation}: wants two axes, got shape {tensor.shape}"
        raise ValueError(msg)
    shape: Shape = tensor.shape
    return shape


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
    check_five(f"init.{operation}", tensor.dtype)


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
