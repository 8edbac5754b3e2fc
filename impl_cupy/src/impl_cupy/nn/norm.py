"""Normalization."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_at_least_zero,
    check_flag,
    check_number,
    check_positive_int,
    check_same_dtype,
    check_shape,
)
from impl_cupy.dtypes import DTypeLike, float64, int64
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.memory import note_change
from impl_cupy.nn.layer import WARP, Layer, NormFunction, Rows, constant, each_slice
from impl_cupy.ops.elementwise import sqrt, square
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.reduction import mean
from impl_cupy.recording import as_tensor
from impl_cupy.slices import deepest, refuse_write
from impl_cupy.tape import vmapped, wrap
from impl_cupy.tensor import Tensor


class _Norm(Layer):
    """What the norms share: checks, and the choice between a kernel and single operations."""

    _bare: ClassVar[tuple[str, ...]] = ("normalized_shape",)
    _function: ClassVar[Any] = NormFunction
    """With the layer's name in messages."""

    normalized_shape: tuple[int, ...]
    eps: Any

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._function = type(cls._function)(
            cls.__name__, (cls._function,), {"_called": cls.__name__}
        )

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike, **options: Any) -> None:
        """Register ones and zeros of this shape, as the options say; flags are checked here."""
        for name in {"elementwise_affine", "affine", "bias", "track_running_stats"} & set(options):
            options[name] = check_flag(type(self).__name__, name, options[name])
        affine = bool(options.get("affine", options.get("elementwise_affine")))
        if "bias" in options:
            options["bias"] = affine and options["bias"]
        super().__init__(dtype, **options)
        self._parameter("weight", shape, constant(1), affine)
        if "bias" in options:
            self._parameter("bias", shape, constant(0), options["bias"])

    def _floating(self, value: Any) -> Any:
        """Refuse what is not floating, or of another dtype than the parameters'."""
        self._check_parameters(value.dtype)
        if value.dtype.kind != "f":
            msg = f"{type(self).__name__}: input must be floating, got dtype {value.dtype.name}"
            raise TypeError(msg)
        return value

    def _normalize(self, value: Any, rows: Rows) -> Tensor:
        """Normalize rows of a Tensor; a layer that may have a bias takes the mean away."""
        eps = float(np.finfo(value.dtype).eps if self.eps is None else self.eps)
        # Most threads of a warp would have nothing to do in a narrow row.
        norm = self._function.apply if rows.width >= WARP else self._function.composite
        parameters = self._parameters
        parts, is_centered = (self.weight, parameters.get("bias")), "bias" in parameters
        output: Tensor = norm(value, *parts, rows=rows, eps=eps, is_centered=is_centered)
        return output

    def _over_last(self, input: Any) -> Tensor:
        """Normalize over the last axes, which are `normalized_shape` (nn-11)."""
        value = self._floating(self._input(input, "normalized_shape", self.normalized_shape))
        return self._normalize(value, Rows(value.shape, len(self.normalized_shape)))


class LayerNorm(_Norm):
    """Apply ``(input - mean) / sqrt(var + eps) * weight + bias`` over the last axes.

    Source: Ba, Kiros and Hinton 2016, equations 3 and 4; the page of torch.nn.LayerNorm.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input; mean and biased variance go over them.
    eps : float
        At least 0.
    elementwise_affine, bias : bool
        Whether there are `weight` and `bias`; no bias without a weight.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter or None, shape `normalized_shape`
        Ones.
    bias : Parameter or None, shape `normalized_shape`
        Zeros.

    Raises
    ------
    ValueError
        If `normalized_shape` is empty or holds a size below 1, or `eps` is negative.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        shape = check_shape("LayerNorm", "normalized_shape", normalized_shape)
        check_at_least_zero("LayerNorm", "eps", eps)
        options = {"eps": eps, "elementwise_affine": elementwise_affine, "bias": bias}
        super().__init__(shape, dtype, normalized_shape=shape, **options)

    def forward(self, input: Any) -> Tensor:
        """Normalize `input`, shape (*, *normalized_shape)."""
        return self._over_last(input)


class RMSNorm(_Norm):
    """Apply ``input / sqrt(mean(input^2) + eps) * weight`` over the last axes.

    Source: Zhang and Sennrich 2019, equation 4; the page of torch.nn.RMSNorm.

    Parameters
    ----------
    normalized_shape : int or sequence of int
        The last axes of the input, over which the mean goes.
    eps : float, optional
        At least 0; the machine epsilon of the input's dtype unless given.
    elementwise_affine : bool
        Whether there is a `weight`.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter or None, shape `normalized_shape`
        Ones.

    Raises
    ------
    ValueError
        If `normalized_shape` is empty or holds a size below 1, or `eps` is negative.
    """

    def __init__(
        self,
        normalized_shape: Any,
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        shape = check_shape("RMSNorm", "normalized_shape", normalized_shape)
        if eps is not None:
            check_at_least_zero("RMSNorm", "eps", eps)
        options = {"eps": eps, "elementwise_affine": elementwise_affine}
        super().__init__(shape, dtype, normalized_shape=shape, **options)

    def forward(self, input: Any) -> Tensor:
        """Normalize `input`, shape (*, *normalized_shape)."""
        return self._over_last(input)


class GroupNorm(_Norm):
    """Apply ``(input - mean) / sqrt(var + eps) * weight + bias`` over groups of channels.

    Source: Wu and He 2018, equation 7; the page of torch.nn.GroupNorm.

    Parameters
    ----------
    num_groups : int
        How many groups of neighbours the channels are parted into.
    num_channels : int
        The size of axis 1, divisible by `num_groups`.
    eps : float
        At least 0.
    affine, bias : bool
        Whether there are `weight` and `bias`; no bias without a weight.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter or None, shape (num_channels,)
        Ones.
    bias : Parameter or None, shape (num_channels,)
        Zeros.

    Raises
    ------
    ValueError
        If a count is below 1 or not divisible, or `eps` is negative.
    TypeError
        If one is of another kind.
    """

    num_groups: int
    num_channels: int

    _bare = ("num_groups", "num_channels")

    def __init__(
        self,
        num_groups: int,
        num_channels: int,
        eps: float = 1e-5,
        affine: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        groups = check_positive_int("GroupNorm", "num_groups", num_groups)
        channels = check_positive_int("GroupNorm", "num_channels", num_channels)
        if channels % groups:  # nn-25
            msg = (
                f"GroupNorm: num_channels must be divisible by num_groups={groups}, got {channels}"
            )
            raise ValueError(msg)
        check_at_least_zero("GroupNorm", "eps", eps)
        counts = {"num_groups": groups, "num_channels": channels}
        super().__init__((channels,), dtype, **counts, eps=eps, affine=affine, bias=bias)

    def forward(self, input: Any) -> Tensor:
        """Normalize `input`, shape (N, num_channels, *)."""
        value, channels = as_tensor("GroupNorm", input), self.num_channels
        if value.ndim < 2 or value.shape[1] != channels:  # nn-25
            msg = (
                f"GroupNorm: input must have shape (N, num_channels, *) = (N, {channels}, *), got "
                f"{value.shape}"
            )
            raise ValueError(msg)
        spatial, groups = math.prod(value.shape[2:]), self.num_groups
        shape = len(value), groups, channels // groups * spatial
        return self._normalize(self._floating(value), Rows(shape, 1, groups, spatial))


class BatchNormFunction(Function):
    """``(x - mean) * scale * weight + bias``, channel by channel of (N, C, *).

    `mean` and `scale`, shape (C,) in double, are the batch's, through which the gradient goes, or
    fixed.
    """

    _is_ours = True

    @staticmethod
    def forward(ctx: Any, x: Any, weight: Any, bias: Any, **given: Any) -> Any:
        """Normalize; `given` is mean, scale, eps and is_fixed."""
        x = cp.ascontiguousarray(x)
        y, ctx.mean, ctx.scale = cp.empty_like(x), given["mean"], given["scale"]
        parts = [x if part is None else cp.ascontiguousarray(part) for part in (weight, bias)]
        flags = weight is not None, bias is not None
        arrays = x, ctx.mean, ctx.scale, *parts, y, *flags, *_sizes(x)
        launch("norm", "batch_forward", x.dtype, x.size, *arrays)
        ctx.save_for_backward(x, weight)
        ctx.is_fixed = given["is_fixed"]
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Add up the parameters' gradients, of which the input's is formed."""
        x, weight = ctx.saved_tensors
        (channels, spatial), grad = _sizes(x), cp.ascontiguousarray(grad)
        to_x, to_weight, to_bias = ctx.needs_input_grad
        moments = ctx.mean, ctx.scale
        lead, along, plain = (len(x), channels, spatial), ctx.mean, ctx.mean
        if to_weight or not ctx.is_fixed:
            parts = cp.empty_like(x)
            launch("norm", "batch_parts", x.dtype, x.size, x, *moments, grad, parts, *lead[1:])
            along = cp.sum(parts.reshape(lead), axis=(0, 2), dtype=float64)
        if to_bias or not ctx.is_fixed:
            plain = cp.sum(grad.reshape(lead), axis=(0, 2), dtype=float64)
        result = cp.empty_like(x) if to_x else None
        if to_x:
            given = x if weight is None else cp.ascontiguousarray(weight)
            count = max(len(x) * spatial, 1)
            arrays = x, *moments, given, grad, plain / count, along / count, result
            flags = weight is not None, ctx.is_fixed
            launch("norm", "batch_backward", x.dtype, x.size, *arrays, *flags, *lead[1:])
        sums = ((along, to_weight), (plain, to_bias))
        return result, *(part.astype(x.dtype) if wanted else None for part, wanted in sums)

    @staticmethod
    def composite(x: Tensor, weight: Any, bias: Any, **given: Any) -> Tensor:
        """Do the same on Tensors."""
        over = (0, *range(2, x.ndim))
        sizes = (-1, *(1,) * (x.ndim - 2))
        if given["is_fixed"]:
            center, scale = (
                wrap(given[name].astype(x.dtype).reshape(sizes)) for name in ("mean", "scale")
            )
            output = (x - center) * scale
        else:
            left = x - mean(x, axis=over, keepdims=True)
            output = left / sqrt(mean(square(left), axis=over, keepdims=True) + given["eps"])
        output = output if weight is None else output * reshape(weight, sizes)
        return output if bias is None else output + reshape(bias, sizes)


def _sizes(x: Any) -> tuple[int, int]:
    """Return how many channels (N, C, *) has, and how many elements each has in a sample."""
    return x.shape[1], math.prod(x.shape[2:])


class _BatchNorm(_Norm):
    """Normalizes each channel over a batch; the docstrings of its kinds say it all."""

    _shapes_taken: ClassVar[dict[int, str]]
    """What an input may be, by its number of axes."""
    _function = BatchNormFunction
    _bare = ("num_features",)

    num_features: int
    momentum: float | None
    track_running_stats: bool

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        bias: bool = True,
        dtype: DTypeLike = None,
    ) -> None:
        name = type(self).__name__
        count = check_positive_int(name, "num_features", num_features)
        check_at_least_zero(name, "eps", eps)
        if momentum is not None:
            check_number(name, "momentum", momentum)
        super().__init__(
            (count,),
            dtype,
            num_features=count,
            eps=eps,
            momentum=momentum,
            affine=affine,
            bias=bias,
            track_running_stats=track_running_stats,
        )
        starts = {
            "running_mean": cp.zeros(count, dtype=self._dtype),
            "running_var": cp.ones(count, dtype=self._dtype),
            "num_batches_tracked": cp.zeros((), dtype=int64),
        }
        for buffer, start in starts.items():
            self.register_buffer(buffer, wrap(start) if self.track_running_stats else None)

    def _samples(self, input: Any) -> Any:
        """Check an input's axes, channels and dtype."""
        name, value = type(self).__name__, as_tensor(type(self).__name__, input)
        taken = self._shapes_taken
        if value.ndim not in taken or value.shape[1] != self.num_features:
            wanted = " or ".join(taken.values())
            msg = (
                f"{name}: input must have shape {wanted} with num_features = {self.num_features} "
                f"channels, got {value.shape}"
            )
            raise ValueError(msg)
        return self._floating(value)

    def _buffer(self, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
        """Return a buffer's raw array, checked, for it may have been replaced."""
        raw = as_tensor(type(self).__name__, getattr(self, name))._data
        check_same_dtype(type(self).__name__, "input", dtype, raw.dtype)
        if raw.shape != shape:
            msg = f"{type(self).__name__}: {name} must have shape {shape}, got {raw.shape}"
            raise ValueError(msg)
        return raw

    def forward(self, input: Any) -> Tensor:
        """Normalize `input`, with axis 1 the channels.

        Raises
        ------
        ValueError
            If it has other axes or channels, or the batch's moments are wanted of fewer than two
            values a channel.
        TypeError
            If the dtype is not the parameters'.
        """
        is_moved = self.training and self.running_mean is not None
        if vmapped and is_moved and deepest(input, self._buffers):
            refuse_write(f"{type(self).__name__}: running_mean")
        return self._normalized(input)

    @each_slice
    def _normalized(self, input: Any) -> Tensor:
        value = self._samples(input)
        is_kept = self.running_mean is not None
        names = ("running_mean", "running_var") if is_kept else ()
        kept = [self._buffer(name, (self.num_features,), value.dtype) for name in names]
        is_fixed = is_kept and not self.training
        if is_fixed:
            center, variance = (part.astype(float64) for part in kept)
        else:
            center, variance = self._moments(value, kept)
        output: Tensor = self._function.apply(
            value,
            self.weight,
            self.bias,
            mean=center,
            scale=1 / cp.sqrt(variance + float(self.eps)),
            eps=float(self.eps),
            is_fixed=is_fixed,
        )
        return output

    def _moments(self, value: Any, kept: list[Any]) -> tuple[Any, Any]:
        """Return mean and variance of a batch, and move the buffers towards them (nn-27)."""
        channels, spatial = _sizes(value)
        count = len(value) * spatial
        if count < 2:  # nn-27
            msg = (
                f"{type(self).__name__}: input must have at least two values per channel in "
                f"training, got shape {value.shape}"
            )
            raise ValueError(msg)
        raw = value._data.reshape(len(value), channels, spatial)
        center = cp.mean(raw, axis=(0, 2), dtype=float64)
        variance = cp.var(raw, axis=(0, 2), dtype=float64)
        if kept and self.training:
            tracked = self._buffer("num_batches_tracked", (), int64)
            for buffer in (self.running_mean, self.running_var, self.num_batches_tracked):
                note_change(buffer)
            tracked += 1
            share = self.momentum
            moments = center, variance * (count / (count - 1))
            rest = share is not None, float(share or 0.0)
            launch("norm", "batch_update", value.dtype, channels, *kept, tracked, *moments, *rest)
        return center, variance


class BatchNorm1d(_BatchNorm):
    """Apply ``(input - mean) / sqrt(var + eps) * weight + bias`` to each channel.

    In training mean and biased variance are the batch's, and the gradient goes through them; in
    evaluation they are those of the buffers, where there are any.

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; the page of torch.nn.BatchNorm1d.

    Parameters
    ----------
    num_features : int
        The number of channels, axis 1 of (N, C) or (N, C, L).
    eps : float
        At least 0.
    momentum : float, optional
        The share of a batch in the buffers; None: they are the means over all batches.
    affine, bias : bool
        Whether there are `weight` and `bias`; no bias without a weight.
    track_running_stats : bool
        Whether there are buffers.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight, bias : Parameter or None, shape (num_features,)
        Ones and zeros.
    running_mean, running_var : Tensor or None, shape (num_features,)
        Of the batches in training, from zeros and ones on, with the unbiased variance.
    num_batches_tracked : Tensor or None, int64, no axes

    Raises
    ------
    ValueError
        If `num_features` is below 1, or `eps` is negative.
    TypeError
        If an argument is of another kind.
    """

    _shapes_taken: ClassVar[dict[int, str]] = {2: "(N, C)", 3: "(N, C, L)"}


class BatchNorm2d(_BatchNorm):
    """Apply ``(input - mean) / sqrt(var + eps) * weight + bias`` to each channel of (N, C, H, W).

    Source: Ioffe and Szegedy 2015, algorithms 1 and 2; the page of torch.nn.BatchNorm2d.
    Parameters, attributes and errors are those of `BatchNorm1d`.
    """

    _shapes_taken: ClassVar[dict[int, str]] = {4: "(N, C, H, W)"}
