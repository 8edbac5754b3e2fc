"""Normalization."""

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import Shape, check_flag, check_number, check_parameter, check_sizes, refuse
from ..dtypes import make_array
from ..ops import formulas as F
from ..recording import Primitive, as_operand, shape_of
from ..tape import unwrap, wrap
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


def _by_root(count: int, eps: float | None, x: Any, *affine: Any) -> Any:
    for weight in affine:
        check_parameter("RMSNorm", "weight", weight, x.shape[x.ndim - count :])
    axes = tuple(range(x.ndim - count, x.ndim))
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps  # nn-24
    y = x * lax.rsqrt(jnp.mean(x * x, axes, keepdims=True) + eps)
    return y * affine[0] if affine else y


def _channels(name: str, y: Any, affine: Sequence[Any]) -> Any:
    """Return y times the weight and plus the bias of its channels, axis 1, as far as given."""
    for argument, part in zip(("weight", "bias"), affine, strict=False):
        check_parameter(name, argument, part, y.shape[1:2])
        part = F.stretch(_beside(part, y), y.shape)
        y = y * part if argument == "weight" else y + part
    return y


def _beside(part: Any, x: Any) -> Any:
    """Return numbers of the channels with the axes that x has behind them."""
    return part.reshape(-1, *[1] * (x.ndim - 2))


def _by_groups(groups: int, eps: float, x: Any, *affine: Any) -> Any:
    parted = x.reshape(len(x), groups, math.prod(x.shape[1:]) // groups)
    centred = parted - F.mean(parted, (2,), True)
    y = centred * lax.rsqrt(F.mean(centred * centred, (2,), True) + eps)
    return _channels("GroupNorm", y.reshape(x.shape), affine)


def _by_batch(name: str, eps: float, momentum: float | None, count: int, x: Any, *rest: Any) -> Any:
    """Return x normalized and, behind it, its `count` buffers as they become."""
    axes, buffers = (0, *range(2, x.ndim)), rest[:count]
    mean = F.mean(x, axes, True)
    centred = x - mean
    variance = F.mean(centred * centred, axes, True)
    y = _channels(name, centred * lax.rsqrt(variance + eps), rest[count:])
    if not buffers:
        return y
    _check_buffers(name, x, *buffers)
    batches = buffers[2] + 1
    part = 1 / batches.astype(x.dtype) if momentum is None else momentum
    seen = x.size // x.shape[1]
    pairs = zip(buffers, (mean, variance * (seen / (seen - 1))), strict=False)
    news = [(1 - part) * old + part * new.reshape(old.shape) for old, new in pairs]  # nn-27
    return (y, *map(lax.stop_gradient, news), batches)


def _by_statistics(name: str, eps: float, x: Any, mean: Any, variance: Any, *affine: Any) -> Any:
    _check_buffers(name, x, mean, variance)
    scale = F.stretch(_beside(lax.rsqrt(variance + eps), x), x.shape)
    return _channels(name, (x - F.stretch(_beside(mean, x), x.shape)) * scale, affine)


def _check_buffers(name: str, x: Any, mean: Any, variance: Any, *_: Any) -> None:
    check_parameter(name, "running_mean", mean, x.shape[1:2])
    check_parameter(name, "running_var", variance, x.shape[1:2])


_layer_norm = Primitive(_normalize, "LayerNorm")
_rms_norm = Primitive(_by_root, "RMSNorm")
_group_norm = Primitive(_by_groups, "GroupNorm")
_BATCH_NORM = {axes: Primitive(_by_batch, f"BatchNorm{axes}d") for axes in (1, 2)}
_RUNNING_NORM = {axes: Primitive(_by_statistics, f"BatchNorm{axes}d") for axes in (1, 2)}


def check_eps(name: str, eps: Any) -> float:
    """Return what is added to a variance; raise `ValueError` if it is below 0."""
    number = check_number(name, "eps", eps)
    if not number >= 0:
        refuse(name, "eps", "at least 0", number)
    return float(number)


class _Norm(Layer):
    """What has a weight of ones and a bias of zeros."""

    def _affine(self, sizes: Shape, weight: Any, bias: Any, argument: str = "affine") -> bool:
        """Make both as far as they are wanted, and return whether `weight` is."""
        name = type(self).__name__
        present, shifted = check_flag(name, argument, weight), check_flag(name, "bias", bias)
        self._parameter("weight", np.ones(sizes) if present else None)
        self._parameter("bias", np.zeros(sizes) if present and shifted else None)
        return present

    def _operands(self, x: Any, *others: Any) -> list[Any]:
        return [part for part in (x, *others, self.weight, self.bias) if part is not None]


class _RowNorm(_Norm):
    """What normalizes over the last axes."""

    normalized_shape: Shape

    def _take(self, normalized_shape: Any, eps: Any) -> None:
        """Check and keep the sizes of the last axes, and what is added to their variance."""
        name = type(self).__name__
        sizes = check_sizes(f"{name}: normalized_shape", normalized_shape, least=1)
        if not sizes:  # nn-11
            refuse(name, "normalized_shape", "at least one size", normalized_shape)
        self.normalized_shape = sizes
        self.eps = None if eps is None else check_eps(name, eps)

    def _rows(self, input: Any) -> Any:
        return self._check("input", input, self.normalized_shape, "(*, normalized_shape)")


class LayerNorm(_RowNorm):
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
        self._take(normalized_shape, check_eps("LayerNorm", eps))
        self.elementwise_affine = self._affine(
            self.normalized_shape, elementwise_affine, bias, "elementwise_affine"
        )

    def forward(self, input: Any) -> Tensor:
        """Map shape (*, normalized_shape) to the same shape.

        Raises
        ------
        ValueError
            If the last axes are not `normalized_shape`.
        TypeError
            If its dtype is not that of the parameters.
        """
        x = self._operands(self._rows(input))
        made: Tensor = _layer_norm(x, len(self.normalized_shape), self.eps)
        return made


class RMSNorm(_RowNorm):
    """``input / sqrt(mean(input**2) + eps) * weight`` over the last axes.

    Zhang and Sennrich 2019, equation 4; the page of ``torch.nn.RMSNorm``.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, over which each row is normalized.
    eps : float, optional
        The machine epsilon of the dtype by default.
    elementwise_affine : bool
        Whether there is a `weight`.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape `normalized_shape`, or None
        Ones.
    """

    _options = ("normalized_shape", "eps=", "elementwise_affine=")

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take(normalized_shape, eps)
        affine = check_flag("RMSNorm", "elementwise_affine", elementwise_affine)
        self.elementwise_affine = affine
        self._parameter("weight", np.ones(self.normalized_shape) if affine else None)

    def forward(self, input: Any) -> Tensor:
        """Map shape (*, normalized_shape) to the same shape.

        Raises
        ------
        ValueError
            If the last axes are not `normalized_shape`.
        TypeError
            If its dtype is not that of the parameters.
        """
        x = self._rows(input)
        operands = (x,) if self.weight is None else (x, self.weight)
        made: Tensor = _rms_norm(operands, len(self.normalized_shape), self.eps)
        return made


class GroupNorm(_Norm):
    """``(input - mean) / sqrt(var + eps) * weight + bias`` over a group of channels.

    Wu and He 2018, equation 7; the page of ``torch.nn.GroupNorm``. The variance is the biased one.

    Parameters
    ----------
    num_groups, num_channels : int
        The channels, axis 1, are parted into so many groups of neighbours.
    eps : float
    affine, bias : bool
        Whether there are `weight` and `bias`, and whether there is `bias`.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None
        Ones and zeros.
    """

    num_groups: int
    num_channels: int
    _options = ("num_groups", "num_channels", "eps=", "affine=", "bias=")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(num_groups=num_groups, num_channels=num_channels)
        if self.num_channels % self.num_groups:  # nn-25
            wanted = f"a divisor of num_channels = {self.num_channels}"
            refuse("GroupNorm", "num_groups", wanted, self.num_groups)
        self.eps = check_eps("GroupNorm", eps)
        self.affine = self._affine((self.num_channels,), affine, bias)

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, num_channels, *) to the same shape.

        Raises
        ------
        ValueError
            If there is another number of channels.
        TypeError
            If its dtype is not that of the parameters.
        """
        x = as_operand("GroupNorm", input)
        if shape_of(x)[1:2] != (self.num_channels,):
            wanted = f"of shape (N, num_channels, *) = (N, {self.num_channels}, *)"
            refuse("GroupNorm", "input", wanted, shape_of(x))
        operands = self._operands(self._of_dtype("input", x))
        made: Tensor = _group_norm(operands, self.num_groups, self.eps)
        return made


class _BatchNorm(_Norm):
    """Normalization by the batch in training, and by running statistics in evaluation."""

    num_features: int
    running_mean: Any
    running_var: Any
    num_batches_tracked: Any
    _axes: int
    _ndims: tuple[int, ...]
    _buffer_names = ("running_mean", "running_var", "num_batches_tracked")
    _options = (
        "num_features", "eps=", "momentum=", "affine=", "bias=", "track_running_stats=",
    )  # fmt: skip

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        name = type(self).__name__
        self._take_sizes(num_features=num_features)
        self.eps = check_eps(name, eps)
        self.momentum = None if momentum is None else check_number(name, "momentum", momentum)
        self.track_running_stats = check_flag(name, "track_running_stats", track_running_stats)
        count = (self.num_features,)
        self.affine = self._affine(count, affine, bias)
        starts = (np.zeros(count, self._dtype), np.ones(count, self._dtype), np.zeros((), "int64"))
        for buffer, values in zip(self._buffer_names, starts, strict=True):
            held = wrap(make_array(values)) if self.track_running_stats else None
            self.register_buffer(buffer, held)

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, num_features, *) to the same shape; in training the buffers change.

        Raises
        ------
        ValueError
            If there is another number of channels or axes, or, where the batch is normalized by
            itself, fewer than two values for each channel. Nothing has changed then.
        TypeError
            If its dtype is not that of the parameters.
        RuntimeError
            If the buffers would change in a function that JAX traces.
        """
        x, name, axes = self._sample(input), type(self).__name__, self._axes
        tracked = self.running_mean is not None and self.running_var is not None
        if tracked and not self.training:
            operands = self._operands(x, self.running_mean, self.running_var)
            made: Tensor = _RUNNING_NORM[axes](operands, name, self.eps)
            return made
        shape = shape_of(x)
        if math.prod(shape) < 2 * shape[1]:  # nn-27
            refuse(name, "input", "of two values or more for each channel in training", shape)
        momentum = None if self.momentum is None else float(self.momentum)
        if not (tracked and self.track_running_stats):
            alone: Tensor = _BATCH_NORM[axes](self._operands(x), name, self.eps, momentum, 0)
            return alone
        buffers = [self._live(buffer) for buffer in self._buffer_names]
        operands = self._operands(x, *buffers)
        y, *news = _BATCH_NORM[axes](operands, name, self.eps, momentum, len(buffers))
        self._become(**dict(zip(self._buffer_names, map(unwrap, news), strict=True)))
        return y

    def _sample(self, input: Any) -> Any:
        """Return an input of the right shape and dtype, or raise."""
        x = as_operand(type(self).__name__, input)
        shape, channels = shape_of(x), self.num_features
        if len(shape) not in self._ndims or shape[1] != channels:  # nn-27
            forms = {2: "(N, C)", 3: "(N, C, L)", 4: "(N, C, H, W)"}
            wanted = " or ".join([forms[ndim] for ndim in self._ndims])
            wanted = f"of shape {wanted} with C = num_features = {channels}"
            refuse(type(self).__name__, "input", wanted, shape)
        return self._of_dtype("input", x)


class BatchNorm1d(_BatchNorm):
    """``(input - mean) / sqrt(var + eps) * weight + bias`` of each channel over the batch.

    Ioffe and Szegedy 2015, algorithms 1 and 2; the page of ``torch.nn.BatchNorm1d``. The input is
    of shape (N, C) or (N, C, L).

    Parameters
    ----------
    num_features : int
        C, the number of channels, which are axis 1.
    eps : float
    momentum : float or None
        The part of a batch in the running statistics; None for the mean over all batches.
    affine, bias : bool
        Whether there are `weight` and `bias`, and whether there is `bias`.
    track_running_stats : bool
        Whether there are running statistics, which evaluation normalizes by.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
        Ones and zeros.
    running_mean, running_var : Tensor, shape (num_features,), or None
    num_batches_tracked : Tensor of int64, no axes, or None
    """

    _axes, _ndims = 1, (2, 3)


class BatchNorm2d(_BatchNorm):
    """``(input - mean) / sqrt(var + eps) * weight + bias`` of each channel over the batch.

    Ioffe and Szegedy 2015, algorithms 1 and 2; the page of ``torch.nn.BatchNorm2d``. The input is
    of shape (N, C, H, W).

    Parameters
    ----------
    num_features : int
        C, the number of channels, which are axis 1.
    eps : float
    momentum : float or None
        The part of a batch in the running statistics; None for the mean over all batches.
    affine, bias : bool
        Whether there are `weight` and `bias`, and whether there is `bias`.
    track_running_stats : bool
        Whether there are running statistics, which evaluation normalizes by.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
        Ones and zeros.
    running_mean, running_var : Tensor, shape (num_features,), or None
    num_batches_tracked : Tensor of int64, no axes, or None
    """

    _axes, _ndims = 2, (4,)
