"""Normalization: over the last axes, over groups of channels, over the batch.

All are one `Function`: over some axes of (...), y = (x - mean) / sqrt(var + eps) weight + bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import ops
from impl_numpy.checks import (
    check_flag,
    check_not_negative,
    check_number,
    check_positive,
    check_positive_sizes,
)
from impl_numpy.creation import full, zeros
from impl_numpy.dtypes import Array, Shape, float32, int64
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.normalized import Normalized
from impl_numpy.parameter import Parameter, overwrite
from impl_numpy.tensor import Tensor


class _Norm(Layer):
    """What norms share: `eps`, and the parameters, ones and zeros."""

    # Messages of the backward pass name the norm.
    _function: ClassVar[type[Normalized]]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._function = type(cls.__name__, (Normalized,), {})

    def _prepare(self, eps: float | None, flags: dict[str, bool], **options: Any) -> list[bool]:
        """Check and keep the options, and return the flags as bools."""
        owner = type(self).__name__
        if eps is not None:
            check_not_negative(owner, "eps", eps)  # nn-11
        checked = {name: check_flag(owner, name, value) for name, value in flags.items()}
        kept = {name: value for name, value in checked.items() if name != "bias"}
        Layer.__init__(self, eps=eps, **kept, **options)
        return list(checked.values())

    def _affine(
        self, shape: Shape, affine: bool, bias: bool | None, dtype: DTypeLike | None
    ) -> None:
        self._constant("weight", shape if affine else None, 1, dtype)
        if bias is not None:
            self._constant("bias", shape if affine and bias else None, 0, dtype)

    def _parameters_dtype(self) -> np.dtype[Any] | None:
        return None if self.weight is None else self.weight.dtype


class _LastAxes(_Norm):
    """A norm over the last axes."""

    def _over_last_axes(self, input: Any, eps: float | None, centred: bool) -> Tensor:
        x = self._input(input, self._parameters_dtype())
        self._last_axes(x, self.normalized_shape, "*normalized_shape")
        if x.dtype.kind != "f":
            x = ops.astype(x, float32)
        axes = tuple(range(x.ndim - len(self.normalized_shape), x.ndim))
        bias = self.bias if centred else None
        eps = float(np.finfo(x.dtype).eps) if eps is None else eps
        y: Tensor = self._function.apply(x, self.weight, bias, axes=axes, eps=eps, centred=centred)[
            0
        ]
        return y


class LayerNorm(_LastAxes):
    """Compute (input - mean) / sqrt(var + eps) * weight + bias over the last axes.

    Ba, Kiros and Hinton 2016, equations 3 and 4; torch.nn.LayerNorm. The variance is biased.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, which the mean and variance are taken over.
    eps : float
        Added to the variance; not negative.
    elementwise_affine : bool
        With False there is neither weight nor bias.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter, shape normalized_shape, or None
        Ones and zeros.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int, there is none, eps is negative or the dtype is not floating.
    """

    _shown = ("normalized_shape", "eps=", "elementwise_affine=", "bias=")
    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        sizes = check_positive_sizes("LayerNorm", "normalized_shape", normalized_shape)
        flags = {"elementwise_affine": elementwise_affine, "bias": bias}
        affine, bias = self._prepare(eps, flags, normalized_shape=sizes)
        self._affine(sizes, affine, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input, (*, *normalized_shape)."""
        return self._over_last_axes(input, self.eps, centred=True)


class RMSNorm(_LastAxes):
    """Compute input / sqrt(mean(input ** 2) + eps) * weight over the last axes.

    Zhang and Sennrich 2019, equation 4; torch.nn.RMSNorm.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes, which the mean is taken over.
    eps : float, optional
        Not negative; left out, the machine epsilon of the dtype.
    elementwise_affine : bool
        With False there is no weight.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape normalized_shape, or None
        Ones.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int, there is none, eps is negative or the dtype is not floating.
    """

    _shown = ("normalized_shape", "eps=", "elementwise_affine=")
    weight: Parameter | None

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        sizes = check_positive_sizes("RMSNorm", "normalized_shape", normalized_shape)
        flags = {"elementwise_affine": elementwise_affine}
        (affine,) = self._prepare(eps, flags, normalized_shape=sizes)
        self._affine(sizes, affine, None, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input, (*, *normalized_shape)."""
        return self._over_last_axes(input, self.eps, centred=False)  # nn-24


class GroupNorm(_Norm):
    """Compute (input - mean) / sqrt(var + eps) * weight + bias over each group of channels.

    Wu and He 2018, equation 7; torch.nn.GroupNorm. Channels (axis 1) that are neighbours make a
    group; mean and biased variance are those of one group in one sample.

    Parameters
    ----------
    num_groups, num_channels : int
        The second divisible by the first.
    eps : float
        Added to the variance; not negative.
    affine : bool
        With False there is neither weight nor bias.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter, shape (num_channels,), or None
        Ones and zeros.

    Raises
    ------
    TypeError, ValueError
        If a count is no positive int or does not divide, eps is negative, or the dtype is not
        floating.
    """

    _sizes = ("num_groups", "num_channels")
    _shown = ("num_groups", "num_channels", "eps=", "affine=", "bias=")
    weight: Parameter | None

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        check_positive("GroupNorm", num_groups=num_groups, num_channels=num_channels)
        if num_channels % num_groups:  # nn-25
            wanted = f"divisible by num_groups = {num_groups}"
            msg = f"GroupNorm: num_channels must be {wanted}, got {num_channels}"
            raise ValueError(msg)
        flags = {"affine": affine, "bias": bias}
        sizes = {"num_groups": num_groups, "num_channels": num_channels}
        affine, bias = self._prepare(eps, flags, **sizes)
        self._affine((self.num_channels,), affine, bias, dtype)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input, (N, num_channels, *).

        Raises
        ------
        ValueError
            If there are other channels.
        TypeError
            If the dtype is not the parameters'.
        """
        x = self._input(input, self._parameters_dtype())
        count, groups = self.num_channels, self.num_groups
        if x.ndim < 2 or x.shape[1] != count:
            wanted = f"(N, C, *) with C = num_channels = {count}"
            msg = f"GroupNorm: input must have shape {wanted}, got {x.shape}"
            raise ValueError(msg)
        if x.dtype.kind != "f":
            x = ops.astype(x, float32)
        inner = (groups, count // groups)
        apart = x.reshape((x.shape[0], *inner, math.prod(x.shape[2:])))
        scale, shift = [
            None if p is None else p.reshape((*inner, 1)) for p in (self.weight, self.bias)
        ]
        y: Tensor = self._function.apply(apart, scale, shift, axes=(2, 3), eps=self.eps)[0]
        return y.reshape(x.shape)


class _BatchNorm(_Norm):
    """A norm over the batch, with statistics of all batches."""

    _sizes = ("num_features",)
    _shown = ("num_features", "eps=", "momentum=", "affine=", "bias=", "track_running_stats=")
    _forms: ClassVar[dict[int, str]]
    weight: Parameter | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike | None = None,
    ) -> None:
        owner = type(self).__name__
        if momentum is not None:
            check_number(owner, "momentum", momentum)
        flags = {"affine": affine, "bias": bias, "track_running_stats": track_running_stats}
        affine, bias, tracks = self._prepare(
            eps, flags, num_features=num_features, momentum=momentum
        )
        shape = (self.num_features,)
        self._affine(shape, affine, bias, dtype)
        kind = self._dtype(dtype)
        self.register_buffer("running_mean", zeros(shape, dtype=kind) if tracks else None)
        self.register_buffer("running_var", full(shape, 1, dtype=kind) if tracks else None)
        self.register_buffer("num_batches_tracked", zeros((), dtype=int64) if tracks else None)

    def forward(self, input: Any) -> Tensor:
        """Return a Tensor of the shape of the input.

        Parameters
        ----------
        input : floating Tensor, whose axis 1 are the channels

        Returns
        -------
        Tensor
            In training, and without running statistics, normalized by the batch; else by those.

        Raises
        ------
        ValueError
            If the input has other axes or channels, or the batch has fewer than two values for each
            where its own statistics are taken.
        TypeError
            If the dtype is not the parameters'.
        """
        x = self._checked(input)
        shape = (x.shape[0], self.num_features, math.prod(x.shape[2:]))
        apart = x.reshape(shape)
        scale, shift = [None if p is None else p.reshape((-1, 1)) for p in (self.weight, self.bias)]
        if not self.training and self.running_mean is not None:  # nn-26
            inverse = 1.0 / ops.sqrt(self.running_var + self.eps).reshape((-1, 1))
            scale = inverse if scale is None else scale * inverse
            y = (apart - self.running_mean.reshape((-1, 1))) * scale
            return (y if shift is None else y + shift).reshape(x.shape)
        y, mean, var = self._function.apply(apart, scale, shift, axes=(0, 2), eps=self.eps)
        if self.training and self.running_mean is not None:
            self._note(mean._data.reshape(-1), var._data.reshape(-1), shape[0] * shape[2])
        return y.reshape(x.shape)

    def _checked(self, input: Any) -> Tensor:
        owner, count = type(self).__name__, self.num_features
        dtype = self._parameters_dtype()
        if dtype is None and self.running_mean is not None:
            dtype = self.running_mean.dtype
        x = self._input(input)
        if x.ndim not in self._forms or x.shape[1] != count:
            wanted = " or ".join(self._forms.values())
            msg = (
                f"{owner}: input must have shape {wanted} with C = num_features = {count}, "
                f"got {x.shape}"
            )
            raise ValueError(msg)
        x = self._input(x, dtype)
        if x.dtype.kind != "f":
            x = ops.astype(x, float32)
        batch = self.training or self.running_mean is None
        if batch and x.shape[0] * math.prod(x.shape[2:]) < 2:  # nn-27
            msg = f"{owner}: wants two values for each channel of the batch, got shape {x.shape}"
            raise ValueError(msg)
        return x

    def _note(self, mean: Array, var: Array, count: int) -> None:
        """Take a batch into the running statistics (nn-27)."""
        batches = int(self.num_batches_tracked._data) + 1
        part = 1 / batches if self.momentum is None else self.momentum
        news = (mean, var * (count / (count - 1)))
        for tensor, new in zip((self.running_mean, self.running_var), news, strict=True):
            overwrite(tensor, (1 - part) * tensor._data + part * new)
        overwrite(self.num_batches_tracked, batches)


class BatchNorm1d(_BatchNorm):
    """Compute (input - mean) / sqrt(var + eps) * weight + bias for each channel over the batch.

    Ioffe and Szegedy 2015, algorithms 1 and 2; torch.nn.BatchNorm1d. In training mean and biased
    variance are those of the batch, (N, C) or (N, C, L) over all axes but the channels'. In
    evaluation they are running statistics, which every call in training moves by `momentum` towards
    the mean and the unbiased variance of its batch.

    Parameters
    ----------
    num_features : int
        The number of channels.
    eps : float
        Added to the variance; not negative.
    momentum : float, optional
        None: the statistics are means over all batches.
    affine : bool
        With False there is neither weight nor bias.
    track_running_stats : bool
        With False the batch is used in evaluation too.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight, bias : Parameter, shape (num_features,), or None
        Ones and zeros.
    running_mean, running_var : Tensor, shape (num_features,), or None
        At first zeros and ones.
    num_batches_tracked : Tensor of int64, shape (), or None

    Raises
    ------
    TypeError, ValueError
        If the count is no positive int, eps is negative, momentum no number or the dtype not
        floating.
    """

    _forms: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Compute (input - mean) / sqrt(var + eps) * weight + bias for each channel over the batch.

    All is as in `BatchNorm1d`, for inputs (N, C, H, W). Ioffe and Szegedy 2015, algorithms 1 and
    2; torch.nn.BatchNorm2d.

    Parameters
    ----------
    num_features : int
    eps : float
    momentum : float, optional
    affine, track_running_stats, bias : bool
    dtype : dtype
    """

    _forms: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}
