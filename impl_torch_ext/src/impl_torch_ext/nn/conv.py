"""Convolutions and their transposes."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import Option, check_choice, check_flag, check_size, explain, shown
from impl_torch_ext.nn.layer import Layer, Options, over_channels
from impl_torch_ext.nn.window import check_sample, padded, per_axis, windows

__all__ = ["Conv1d", "Conv2d", "ConvTranspose1d", "ConvTranspose2d"]

Sizes: TypeAlias = int | Sequence[int]
_check_mode = check_choice("zeros", "reflect", "replicate", "circular")
_check_word = check_choice("same", "valid")

# Places whose gradients need no sum by pairs.
_MANY = 2048


def _check_zeros(name: str, option: str, value: Any) -> str:
    if not isinstance(value, str) or value != "zeros":  # nn-20
        msg = f"{name}: {option} must be 'zeros', got {shown(value)}"
        raise ValueError(msg)
    return value


def _word_or(counts: Option) -> Option:
    def check(name: str, option: str, value: Any) -> Any:
        return (_check_word if isinstance(value, str) else counts)(name, option, value)

    return check


def _options(axes: int, transposed: bool) -> Options:
    sizes, counts = per_axis(axes, 1), per_axis(axes, 0)
    return {
        "in_channels": check_size,
        "out_channels": check_size,
        "kernel_size": sizes,
        "stride": sizes,
        "padding": counts if transposed else _word_or(counts),
        "dilation": sizes,
        **({"output_padding": counts} if transposed else {}),
        "groups": check_size,
        "bias": check_flag,
        "padding_mode": _check_zeros if transposed else _check_mode,
    }


def _unsaid(axes: int) -> dict[str, Any]:
    zeros, ones = (0,) * axes, (1,) * axes
    tuples = {"padding": zeros, "dilation": ones, "output_padding": zeros}
    return {**tuples, "groups": 1, "bias": True, "padding_mode": "zeros"}


class _Weighted(Layer):
    """What a convolution and its transpose share: the parameters, and the sum with the bias."""

    _bare = 2
    _axes: ClassVar[int]
    _operator: ClassVar[Callable[..., Tensor]]
    in_channels: int
    out_channels: int
    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int
    padding_mode: str
    weight: Tensor
    bias: Tensor | None

    def _draw_filters(self, dtype: torch.dtype | None, transposed: bool) -> None:
        for option in ("in_channels", "out_channels"):
            if (channels := getattr(self, option)) % self.groups:  # nn-19
                msg = (
                    f"{type(self).__name__}: {option} must be divisible by groups = "
                    f"{self.groups}, got {channels}"
                )
                raise ValueError(msg)
        sides = (self.out_channels, self.in_channels)
        first, second = reversed(sides) if transposed else sides
        shape = (first, second // self.groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))  # nn-02
        fill = partial(init.uniform_, a=-bound, b=bound)
        self._draw(fill, dtype, weight=shape, bias=sides[:1] if self.bias else None)

    def _sums(self, x: Tensor, counts: Sequence[int], *options: Any) -> Tensor:
        """Return the products with the weight, of so many places, and add the bias."""
        channels = x.ndim - self._axes - 1
        bias, places = self.bias, math.prod(x.shape[:channels]) * math.prod(counts)
        try:
            if bias is None or places <= _MANY:
                return type(self)._operator(x, self.weight, bias, *options)
            # ops-25: oneDNN adds the gradients of the bias up one by one.
            y = type(self)._operator(x, self.weight, None, *options)
            return y + over_channels(bias, y, channels)
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain(type(self).__name__, error, x, self.weight, shapes=((), ()))

    def extra_repr(self) -> str:
        """Return the options, as torch shows them."""
        return super().extra_repr().replace("'", "")


class _Convolution(_Weighted):
    padding: str | tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: str | Sizes = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = (kernel_size, stride, padding, dilation)
        super().__init__(in_channels, out_channels, *sizes, groups, bias, padding_mode)
        if self.padding == "same" and max(self.stride) > 1:  # nn-19
            msg = (
                f"{type(self).__name__}: padding 'same' must have a stride of 1, got {self.stride}"
            )
            raise ValueError(msg)
        self._draw_filters(dtype, transposed=False)

    def _pads(self) -> list[tuple[int, int]]:
        if isinstance(self.padding, tuple):
            return [(width, width) for width in self.padding]
        if self.padding == "valid":
            return [(0, 0)] * self._axes
        total = [d * (k - 1) for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        return [(width // 2, width - width // 2) for width in total]  # nn-17

    def forward(self, input: Tensor) -> Tensor:
        """Convolve `input`, shape (N, in_channels, *) or (in_channels, *).

        Returns
        -------
        Tensor, shape (N, out_channels, *) or (out_channels, *)

        Raises
        ------
        ValueError
            If the shape does not fit, the input is with its padding shorter than the kernel, or
            too short for the padding's mode.
        """
        name, axes = type(self).__name__, self._axes
        x = check_sample(name, input, axes, self.in_channels, self.weight.dtype)
        pads = self._pads()
        widths = [sum(pair) for pair in pads]
        options = (self.kernel_size, self.stride, widths, self.dilation)
        counts = windows(name, x, [*zip(*options, strict=True)])
        both = [min(pair) for pair in pads]
        if self.padding_mode != "zeros" and any(widths):
            x, both = padded(name, x, pads, self.padding_mode), [0] * axes
        elif any(b > a for a, b in pads):
            # torch's own "same" warns of what it copies.
            x = padded(name, x, [(0, b - a) for a, b in pads], "zeros")
        return self._sums(x, counts, self.stride, both, self.dilation, self.groups)


class Conv1d(_Convolution):
    """The cross-correlation along one axis with learned kernels.

    With the stride s, the dilation d and the padding p,
    `y[n, o, t] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, s t + d k - p]`.

    Source: the page of `torch.nn.Conv1d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or tuple of int
    padding : int, tuple of int, "valid" or "same"
        The places at both ends; "same", with stride 1, keeps the length.
    dilation : int or tuple of int
        The distance of the places of a window.
    groups : int
        Into so many parts the channels are parted, each convolved by itself.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, K)
        Drawn first, uniform in `[-k, k)` with `k = 1 / sqrt(in_channels / groups * K)`.
    bias : Parameter or None, shape (out_channels,)
        Drawn likewise.
    """

    _axes = 1
    _options = _options(1, transposed=False)
    _unsaid = _unsaid(1)
    _operator = staticmethod(torch.conv1d)


class Conv2d(_Convolution):
    """The cross-correlation along two axes with learned kernels.

    It is `Conv1d` for inputs (N, C, H, W); its sizes are one int, or one for each axis.

    Source: the page of `torch.nn.Conv2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or tuple of int
    padding : int, tuple of int, "valid" or "same"
    dilation : int or tuple of int
    groups : int
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
    bias : Parameter or None, shape (out_channels,)
        Both drawn as in `Conv1d`.
    """

    _axes = 2
    _options = _options(2, transposed=False)
    _unsaid = _unsaid(2)
    _operator = staticmethod(torch.conv2d)


class _Transposed(_Weighted):
    padding: tuple[int, ...]
    output_padding: tuple[int, ...]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Sizes,
        stride: Sizes = 1,
        padding: Sizes = 0,
        output_padding: Sizes = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Sizes = 1,
        padding_mode: str = "zeros",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = (kernel_size, stride, padding, dilation, output_padding)
        super().__init__(in_channels, out_channels, *sizes, groups, bias, padding_mode)
        options = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any(more >= max(s, d) for more, s, d in options):  # nn-20
            msg = (
                f"{type(self).__name__}: output_padding must be smaller than stride "
                f"{self.stride} or dilation {self.dilation}, got {self.output_padding}"
            )
            raise ValueError(msg)
        self._draw_filters(dtype, transposed=True)

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Convolve `input`, shape (N, in_channels, *) or (in_channels, *).

        Parameters
        ----------
        input : Tensor
        output_size : sequence of int, optional
            The sizes of the last axes of the result, or of all; decides `output_padding`.

        Returns
        -------
        Tensor, shape (N, out_channels, *) or (out_channels, *)

        Raises
        ------
        ValueError
            If the shape does not fit, `output_size` cannot be reached, or the result has no place.
        """
        name, axes = type(self).__name__, self._axes
        x = check_sample(name, input, axes, self.in_channels, self.weight.dtype)
        options = (self.stride, self.padding, self.dilation, self.kernel_size)
        least = tuple(
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(x.shape[-axes:], *options, strict=True)
        )
        more = self.output_padding
        if output_size is not None:
            more = self._reached(output_size, least, x)
        sizes = [a + b for a, b in zip(least, more, strict=True)]
        if min(sizes) < 1 or min(x.shape[-axes:]) < 1:
            msg = (
                f"{name}: the result must have places, got sizes {tuple(sizes)} from input of "
                f"shape {tuple(x.shape)} with padding {self.padding}"
            )
            raise ValueError(msg)
        return self._sums(x, sizes, self.stride, self.padding, more, self.groups, self.dilation)

    def _reached(self, output_size: Any, least: tuple[int, ...], x: Tensor) -> tuple[int, ...]:
        """Return how many places `output_size` adds to the least sizes, or raise."""
        name, wanted = type(self).__name__, output_size
        if isinstance(output_size, list | tuple) and len(output_size) == x.ndim:
            wanted = output_size[-self._axes :]
        sizes = per_axis(self._axes, 0)(name, "output_size", wanted)
        more = tuple(size - low for size, low in zip(sizes, least, strict=True))
        if any(not 0 <= extra < s for extra, s in zip(more, self.stride, strict=True)):  # nn-20
            most = tuple(low + s - 1 for low, s in zip(least, self.stride, strict=True))
            msg = f"{name}: output_size must be from {least} to {most}, got {shown(output_size)}"
            raise ValueError(msg)
        return more


class ConvTranspose1d(_Transposed):
    """The transpose of a convolution along one axis: its gradient to the input, as a layer.

    Source: the page of `torch.nn.ConvTranspose1d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding : int or tuple of int
        Those of the convolution whose transpose it is.
    output_padding : int or tuple of int
        How many more places the result has; smaller than the stride or the dilation.
    groups : int
    bias : bool
    dilation : int or tuple of int
    padding_mode : {"zeros"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, K)
        Drawn first, uniform in `[-k, k)` with `k = 1 / sqrt(out_channels / groups * K)`.
    bias : Parameter or None, shape (out_channels,)
        Drawn likewise.
    """

    _axes = 1
    _options = _options(1, transposed=True)
    _unsaid = _unsaid(1)
    _operator = staticmethod(torch.conv_transpose1d)


class ConvTranspose2d(_Transposed):
    """The transpose of a convolution along two axes: its gradient to the input, as a layer.

    It is `ConvTranspose1d` for inputs (N, C, H, W); its sizes are one int, or one for each axis.

    Source: the page of `torch.nn.ConvTranspose2d`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, padding, output_padding : int or tuple of int
    groups : int
    bias : bool
    dilation : int or tuple of int
    padding_mode : {"zeros"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
    bias : Parameter or None, shape (out_channels,)
        Both drawn as in `ConvTranspose1d`.
    """

    _axes = 2
    _options = _options(2, transposed=True)
    _unsaid = _unsaid(2)
    _operator = staticmethod(torch.conv_transpose2d)
