"""Normalization."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import creation, init
from impl_torch_ext.checks import (
    check_at_least_zero,
    check_flag,
    check_number,
    check_size,
    check_sizes,
    explain,
)
from impl_torch_ext.context import Context
from impl_torch_ext.function import Function
from impl_torch_ext.nn.layer import Layer, Options, check_input, over_channels
from impl_torch_ext.tracing import is_sliced

__all__ = ["BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm", "RMSNorm"]

# Rows, and places of one channel in a sample, whose sum needs no pairs.
_MANY = 2048
_WIDE = 1 << 16


class _Norm(Layer):
    """A layer with a weight of ones and a bias of zeros."""

    weight: Tensor | None
    bias: Tensor | None

    def _fill(
        self, dtype: torch.dtype | None, weight: tuple[int, ...] | None, bias: bool = True
    ) -> None:
        self._draw(init.ones_, dtype, weight=weight)
        self._draw(init.zeros_, dtype, bias=weight if bias else None)

    def _apart(self, x: Tensor) -> bool:
        """Return whether torch's kernels would add too many gradients of channels up one by one."""
        return self.weight is not None and (
            x.shape[0] > _MANY or math.prod(x.shape[2:]) > _WIDE
        )  # ops-25

    def _scaled(self, y: Tensor) -> Tensor:
        """Return (N, C, *) times the weight, and the bias added, whose gradients sum by pairs."""
        y = y if self.weight is None else y * over_channels(self.weight, y)
        return y if self.bias is None else y + over_channels(self.bias, y)


class LayerNorm(_Norm):
    """`(x - mean) / sqrt(var + eps) * weight + bias`, over the last axes.

    Source: Ba, Kiros and Hinton 2016, equations 3 and 4; the page of `torch.nn.LayerNorm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes; mean and (biased) variance are taken over them.
    eps : float
    elementwise_affine : bool
        Whether there are parameters.
    bias : bool
        Whether `bias` is one of them.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight, bias : Parameter or None, shape `normalized_shape`
        Ones and zeros at first.

    Raises
    ------
    ValueError
        If `normalized_shape` is empty, a size is not positive, or `eps` is negative.
    """

    _options: ClassVar[Options] = {
        "normalized_shape": check_sizes,
        "eps": check_at_least_zero,
        "elementwise_affine": check_flag,
        "bias": check_flag,
    }
    _bare = 1
    normalized_shape: tuple[int, ...]
    eps: float
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine, bias)
        shape = self.normalized_shape if self.elementwise_affine else None
        self._fill(dtype, shape, bool(self.bias))

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`, shape (*, normalized_shape)."""
        weight, shape = self.weight, self.normalized_shape
        self._check("input", input, (..., *shape), "(*, normalized_shape)", weight)
        bias = self.bias
        if weight is None or input.numel() <= _MANY * weight.numel():
            return torch.nn.functional.layer_norm(input, shape, weight, bias, self.eps)
        # ops-25: torch's kernel adds the rows of the gradients of both up one by one.
        y = torch.nn.functional.layer_norm(input, shape, None, None, self.eps) * weight
        return y if bias is None else y + bias


class RMSNormFunction(Function):
    """`x / sqrt(mean(x**2) + eps) * weight` over the last axis."""

    _pure = True

    @staticmethod
    def forward(ctx: Context, x: Tensor, weight: Tensor | None, *, eps: float) -> Tensor:
        """Normalize `x`, shape (*, M); `weight`, shape (M,), may be None."""
        factor = torch.rsqrt(x.square().mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, factor)
        y = x * factor
        return y if weight is None else y * weight

    @staticmethod
    def backward(ctx: Context, grad_output: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients to `x` and `weight`."""
        x, weight, factor = ctx.saved_tensors
        assert x is not None
        assert factor is not None
        normal, grads = x * factor, ctx.needs_input_grad
        dx = dw = None
        if grads[0]:
            scaled = grad_output if weight is None else grad_output * weight
            dx = factor * (scaled - normal * (scaled * normal).mean(-1, keepdim=True))
        if grads[1] and weight is not None:
            dw = (grad_output * normal).reshape(-1, x.shape[-1]).sum(0)  # ops-25
        return dx, dw


def _eps_or_none(name: str, option: str, value: Any) -> float | None:
    return None if value is None else check_at_least_zero(name, option, value)


class RMSNorm(_Norm):
    """`x / sqrt(mean(x**2) + eps) * weight`, over the last axes.

    Source: Zhang and Sennrich 2019, equation 4; the page of `torch.nn.RMSNorm`.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The sizes of the last axes.
    eps : float, optional
        The machine epsilon of the dtype if left out.
    elementwise_affine : bool
        Whether there is a parameter.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter or None, shape `normalized_shape`
        Ones at first.
    """

    _options: ClassVar[Options] = {
        "normalized_shape": check_sizes,
        "eps": _eps_or_none,
        "elementwise_affine": check_flag,
    }
    _bare = 1
    normalized_shape: tuple[int, ...]
    eps: float | None
    elementwise_affine: bool

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(normalized_shape, eps, elementwise_affine)
        shape = self.normalized_shape if self.elementwise_affine else None
        self._draw(init.ones_, dtype, weight=shape)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`, shape (*, normalized_shape)."""
        weight, shape = self.weight, self.normalized_shape
        self._check("input", input, (..., *shape), "(*, normalized_shape)", weight)
        eps = torch.finfo(input.dtype).eps if self.eps is None else float(self.eps)  # nn-24
        weight = None if weight is None else weight.reshape(-1)
        try:
            if len(shape) == 1:
                return RMSNormFunction.apply(input, weight, eps=eps)
            y = RMSNormFunction.apply(input.flatten(-len(shape)), weight, eps=eps)
            return y.reshape(input.shape)
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain("RMSNorm", error, input, shapes=((), ()))


class GroupNorm(_Norm):
    """`(x - mean) / sqrt(var + eps) * weight + bias`, over groups of channels and what follows.

    Source: Wu and He 2018, equation 7; the page of `torch.nn.GroupNorm`.

    Parameters
    ----------
    num_groups, num_channels : int
        The channels are parted into so many groups of neighbours.
    eps : float
    affine : bool
        Whether there are parameters.
    bias : bool
        Whether `bias` is one of them.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (num_channels,)
        Ones and zeros at first.
    """

    _options: ClassVar[Options] = {
        "num_groups": check_size,
        "num_channels": check_size,
        "eps": check_at_least_zero,
        "affine": check_flag,
        "bias": check_flag,
    }
    _bare = 2
    num_groups: int
    num_channels: int
    eps: float
    affine: bool

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_groups, num_channels, eps, affine, bias)
        if self.num_channels % self.num_groups:  # nn-25
            msg = (
                f"GroupNorm: num_channels must be divisible by num_groups = {self.num_groups}, "
                f"got num_channels = {self.num_channels}"
            )
            raise ValueError(msg)
        self._fill(dtype, (self.num_channels,) if self.affine else None, bool(self.bias))

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`, shape (N, num_channels, *)."""
        weight, bias, groups = self.weight, self.bias, self.num_groups
        rest = (None,) * max(0, getattr(input, "ndim", 2) - 2)
        shape = (None, self.num_channels, *rest)
        self._check("input", input, shape, "(N, num_channels, *)", weight)
        try:
            if self._apart(input):
                y = torch.group_norm(input, groups, None, None, float(self.eps), False)
                return self._scaled(y)
            return torch.group_norm(input, groups, weight, bias, float(self.eps), False)
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain("GroupNorm", error, input, shapes=((), ()))


def _momentum(name: str, option: str, value: Any) -> float | None:
    return None if value is None else check_number(name, option, value)


class _BatchNorm(_Norm):
    _options: ClassVar[Options] = {
        "num_features": check_size,
        "eps": check_at_least_zero,
        "momentum": _momentum,
        "affine": check_flag,
        "bias": check_flag,
        "track_running_stats": check_flag,
    }
    _bare = 1
    # The numbers of axes that an input may have.
    _axes: ClassVar[tuple[int, ...]]
    num_features: int
    eps: float
    momentum: float | None
    affine: bool
    track_running_stats: bool
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_features, eps, momentum, affine, bias, track_running_stats)
        size = self.num_features
        self._fill(dtype, (size,) if self.affine else None, bool(self.bias))
        tracks = self.track_running_stats  # nn-27
        self.register_buffer("running_mean", creation.zeros(size, dtype=dtype) if tracks else None)
        self.register_buffer("running_var", creation.ones(size, dtype=dtype) if tracks else None)
        count = creation.zeros((), dtype=torch.int64) if tracks else None
        self.register_buffer("num_batches_tracked", count)

    def forward(self, input: Tensor) -> Tensor:
        """Normalize `input`; in training by its own mean and variance, which the buffers follow.

        Raises
        ------
        ValueError
            If the shape does not fit or, where the batch's own statistics are taken, a channel
            has fewer than two values.
        """
        x, mean, var = self._checked(input), self.running_mean, self.running_var
        own = self.training or mean is None or var is None
        momentum = self.momentum
        if not self.training:
            mean, var = (None, None) if own else (mean, var)
        elif self.num_batches_tracked is not None:
            if is_sliced(x):  # autograd-56
                msg = (
                    f"{type(self).__name__}: under vmap running statistics cannot be changed; "
                    "call eval(), or set track_running_stats=False"
                )
                raise RuntimeError(msg)
            with torch.no_grad():
                self.num_batches_tracked.add_(1)
            if momentum is None:  # nn-27
                momentum = 1.0 / float(self.num_batches_tracked)
        factors = 0.0 if momentum is None else float(momentum), float(self.eps)
        if self._apart(x):
            return self._scaled(torch.batch_norm(x, None, None, mean, var, own, *factors, False))
        return torch.batch_norm(x, self.weight, self.bias, mean, var, own, *factors, False)

    def _checked(self, input: Any) -> Tensor:
        """Return `input`, or raise before a buffer changes."""
        name, ndim = type(self).__name__, getattr(input, "ndim", 0)
        first = next((p for p in (self.weight, self.running_mean) if p is not None), None)
        axes = ndim if ndim in self._axes else self._axes[-1]
        text = f"(N, num_features{', L' if axes == 3 else ', H, W' if axes == 4 else ''})"
        shape = (None, self.num_features, *(None,) * (axes - 2))
        dtype = None if first is None else first.dtype
        x = check_input(name, "input", input, shape, text, dtype)
        batch = self.training or self.running_mean is None
        if batch and math.prod(x.shape) < 2 * self.num_features:  # nn-27
            msg = (
                f"{name}: input must have at least two values per channel of the batch, got shape "
                f"{tuple(x.shape)}"
            )
            raise ValueError(msg)
        others = {"weight": self.weight, "bias": self.bias, "running_mean": self.running_mean}
        others["running_var"] = self.running_var
        for argument, p in others.items():
            if p is not None:  # What functional_call put there.
                check_input(name, argument, p, (self.num_features,), "(num_features,)", x.dtype)
        return x


class BatchNorm1d(_BatchNorm):
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel, over the batch.

    Mean and (biased) variance are those of the input in training; in evaluation they are the
    buffers, if there are any.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; the page of `torch.nn.BatchNorm1d`.

    Parameters
    ----------
    num_features : int
        The channels, axis 1 of an input (N, C) or (N, C, L).
    eps : float
    momentum : float, optional
        How much of a batch's statistics the buffers take; with None they are means over batches.
    affine : bool
        Whether there are parameters.
    track_running_stats : bool
        Whether there are buffers.
    bias : bool
        Whether `bias` is one of the parameters.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (num_features,)
        Ones and zeros at first.
    running_mean, running_var : Tensor or None, shape (num_features,)
        The statistics for evaluation; the variance is the unbiased one.
    num_batches_tracked : Tensor or None, shape ()
        How many batches they have seen.
    """

    _axes = (2, 3)


class BatchNorm2d(_BatchNorm):
    """`(x - mean) / sqrt(var + eps) * weight + bias` for each channel of images, over the batch.

    It is `BatchNorm1d` for inputs (N, C, H, W).

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; the page of `torch.nn.BatchNorm2d`.

    Parameters
    ----------
    num_features : int
    eps : float
    momentum : float, optional
    affine, track_running_stats, bias : bool
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (num_features,)
    running_mean, running_var : Tensor or None, shape (num_features,)
    num_batches_tracked : Tensor or None, shape ()
    """

    _axes = (4,)
