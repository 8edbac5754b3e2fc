"""Initial values, drawn on the host and written in place."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_at_least_zero,
    check_choice,
    check_fraction,
    check_number,
    check_positive_int,
    type_name,
)
from impl_cupy.dtypes import check_five, held
from impl_cupy.memory import note_change
from impl_cupy.module import Module
from impl_cupy.tensor import Tensor

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

_T = TypeVar("_T", bound=Tensor)
_M = TypeVar("_M", bound=Module)

_LSTM_GATES = 4
_CONVOLUTIONS = [f"conv{way}{n}d" for way in ("", "_transpose") for n in (1, 2, 3)]
_GAINS = {
    **dict.fromkeys(["linear", *_CONVOLUTIONS, "sigmoid"], 1.0),
    "tanh": 5.0 / 3,
    "relu": math.sqrt(2.0),
    "selu": 3.0 / 4,
}
# How far from its nearer end a truncated normal distribution is looked at (init-12).
_TAIL = 38
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
    if tensor.dtype.kind != "f" and held(tensor.dtype, val) is None:
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


def trunc_normal_(
    tensor: _T, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0
) -> _T:
    """Draw normal numbers within ``[a, b]``, by rejection.

    Source: Robert, "Simulation of truncated normal variables", 1995; torch.nn.init.trunc_normal_.

    Parameters
    ----------
    tensor : Tensor, floating
    mean, std : float
        Of the distribution before it is cut; `std` is above 0.
    a, b : float
        The ends, ``a <= b``.

    Raises
    ------
    ValueError
        If an argument is not finite, `std` is not above 0, ``a > b``, or an end is infinitely many
        deviations away.
    """
    name = "trunc_normal_"
    _check(name, tensor)
    _check_finite(name, mean=mean, std=std, a=a, b=b)
    mean, std, a, b = float(mean), float(std), float(a), float(b)
    if not std > 0:
        msg = f"{name}: std must be above 0, got {std}"
        raise ValueError(msg)
    if not a <= b:
        msg = f"{name}: a must not be above b, got a={a}, b={b}"
        raise ValueError(msg)
    alpha, beta = (a - mean) / std, (b - mean) / std
    for argument, end in (("a", alpha), ("b", beta)):
        if not math.isfinite(end):
            msg = f"{name}: {argument} must be finitely many std from mean, got {end}"
            raise ValueError(msg)
    unit = _truncated(tensor.size, alpha, beta)
    return _write(tensor, np.clip(mean + std * unit, a, b).reshape(tensor.shape))


def _truncated(count: int, alpha: float, beta: float) -> np.ndarray[Any, np.dtype[Any]]:
    """Draw normal numbers within ``[alpha, beta]``, round by round (init-12)."""
    made = np.empty(count)
    is_wide = alpha <= 0 <= beta and beta - alpha >= 2.5
    nearest = min(max(alpha, 0.0), beta)
    low = max(alpha, nearest - _TAIL / max(-nearest, 1.0)) if nearest < 0 else alpha
    high = min(beta, nearest + _TAIL / max(nearest, 1.0)) if nearest > 0 else beta
    left = np.arange(count)
    while left.size:
        if is_wide:
            z = random.normal(left.shape)
            accepted = (alpha <= z) & (z <= beta)
        else:
            pairs = random.uniform((left.size, 2))
            z = low + (high - low) * pairs[:, 0]
            accepted = pairs[:, 1] < np.exp((nearest - z) * (nearest + z) / 2)
        made[left[accepted]] = z[accepted]
        left = left[~accepted]
    return made


def orthogonal_(tensor: _T, gain: float = 1) -> _T:
    """Set the rows or columns, whichever are fewer, to orthogonal vectors of length `gain`.

    They are Q of a QR decomposition of normal numbers, with the signs that make the diagonal of R
    positive.

    Source: Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in
    deep linear neural networks", 2013.

    Parameters
    ----------
    tensor : Tensor, floating, at least two axes
        Taken as a matrix: the first axis, and all others.
    gain : float

    Raises
    ------
    ValueError
        If `tensor` has fewer than two axes, or `gain` is negative or not finite.
    """
    _check("orthogonal_", tensor)
    _check_axes("orthogonal_", tensor, range(2, 65), "at least two")
    _check_finite("orthogonal_", gain=gain)
    check_at_least_zero("orthogonal_", "gain", gain)
    if not tensor.size:  # init-13
        return tensor
    rows, columns = tensor.shape[0], math.prod(tensor.shape[1:])
    matrix = random.normal((rows, columns))
    q, r = np.linalg.qr(matrix.T if rows < columns else matrix)
    q = np.where(np.diag(r) < 0, -q, q)
    return _write(tensor, (float(gain) * (q.T if rows < columns else q)).reshape(tensor.shape))


def sparse_(tensor: _T, sparsity: float, std: float = 0.01) -> _T:
    """Draw normal numbers of mean 0, and set a share of each column to 0.

    Source: Martens, "Deep learning via Hessian-free optimization", 2010.

    Parameters
    ----------
    tensor : Tensor, floating, two axes
    sparsity : float
        The share, from 0 to 1; of r rows ``ceil(sparsity r)`` become 0.
    std : float

    Raises
    ------
    ValueError
        If `tensor` has other axes, or `sparsity` or `std` is out of range.
    """
    _check("sparse_", tensor)
    _check_axes("sparse_", tensor, (2,), "two")
    check_fraction("sparse_", "sparsity", sparsity)
    _check_finite("sparse_", std=std)
    check_at_least_zero("sparse_", "std", std)
    rows, columns = tensor.shape
    matrix = random.normal((rows, columns), 0.0, float(std))
    order = np.argsort(random.uniform((columns, rows)), axis=1, kind="stable")
    dropped = order[:, : math.ceil(float(sparsity) * rows)]
    np.put_along_axis(matrix, dropped.T, 0.0, axis=0)
    return _write(tensor, matrix)


def eye_(tensor: _T) -> _T:
    """Set the diagonal of a matrix to 1 and all else to 0.

    Source: ``torch.nn.init.eye_``.

    Raises
    ------
    ValueError
        If `tensor` has other than two axes.
    """
    _check("eye_", tensor, floating=False)
    _check_axes("eye_", tensor, (2,), "two")
    rows, columns = tensor.shape
    return _write(tensor, np.eye(rows, columns))


def dirac_(tensor: _T, groups: int = 1) -> _T:
    """Set the weight of a convolution so that it passes its input on.

    Source: ``torch.nn.init.dirac_``.

    Parameters
    ----------
    tensor : Tensor, shape (out, in, ...), three to five axes
        In each group, the elements ``[d, d]`` at the middle of the further axes become 1.
    groups : int
        A divisor of `out`.

    Raises
    ------
    ValueError
        If `tensor` has other axes, or `groups` is no divisor.
    """
    _check("dirac_", tensor, floating=False)
    _check_axes("dirac_", tensor, (3, 4, 5), "three, four or five")
    groups = check_positive_int("dirac_", "groups", groups)
    shape = tensor.shape
    if shape[0] % groups:
        msg = f"dirac_: groups must divide the length of axis 0, got groups={groups}, shape {shape}"
        raise ValueError(msg)
    each = shape[0] // groups
    values = np.zeros(shape)
    inner = np.arange(min(each, shape[1]))
    for first in range(0, shape[0], each or 1):
        place: Any = (first + inner, inner, *(size // 2 for size in shape[2:]))
        values[place] = 1.0
    return _write(tensor, values)


def _check_axes(name: str, tensor: Tensor, wanted: Sequence[int], said: str) -> None:
    if tensor.ndim not in wanted:
        msg = f"{name}: tensor must have {said} axes, got shape {tensor.shape}"
        raise ValueError(msg)


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
    nonlinearity : str
        "linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d",
        "conv_transpose3d", "sigmoid", "tanh", "relu", "leaky_relu" or "selu".
    param : float, optional
        Slope of leaky_relu for negative numbers, 0.01 unless given.

    Raises
    ------
    ValueError
        If it is another name.
    """
    return _gain("calculate_gain", nonlinearity, param)


def _gain(name: str, nonlinearity: Any, param: Any) -> float:
    argument = "a" if name.endswith("_") else "param"
    if param is not None:
        _check_finite(name, **{argument: param})  # init-07
    check_choice(name, "nonlinearity", nonlinearity, (*_GAINS, "leaky_relu"))
    if nonlinearity in _GAINS:
        return _GAINS[nonlinearity]
    slope = 0.01 if param is None else float(param)
    return math.sqrt(2.0 / (1.0 + slope * slope))


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
    check_five(name, tensor.dtype)
    if floating and tensor.dtype.kind != "f":
        msg = f"{name}: must be a floating Tensor, got dtype {tensor.dtype.name}"
        raise TypeError(msg)


def _write(tensor: _T, host: np.ndarray[Any, np.dtype[Any]]) -> _T:
    note_change(tensor)
    tensor._data[...] = cp.asarray(host.astype(tensor.dtype))
    return tensor
