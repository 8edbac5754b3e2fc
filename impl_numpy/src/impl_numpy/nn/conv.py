"""Convolutions and their transposes, made of the maps of `bilinear`.

The letters in shapes are those of `window`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from numpy.typing import DTypeLike

from impl_numpy.checks import (
    check_choice,
    check_flag,
    check_int,
    check_items,
    check_same_dtype,
    shown,
)
from impl_numpy.dtypes import Shape
from impl_numpy.nn.bilinear import MAPS, Geometry
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.window import (
    MODES,
    Windows,
    bordered,
    like_input,
    per_axis,
    reach,
    with_batch,
)
from impl_numpy.parameter import Parameter
from impl_numpy.recording import record
from impl_numpy.tensor import Tensor


class _Convolution(Layer):
    """What convolutions and their transposes share: arguments, parameters and `repr`."""

    _axes: ClassVar[int]
    _sizes = ("in_channels", "out_channels", "groups")
    weight: Parameter

    def _prepare(self, bias: bool, dtype: DTypeLike | None, **options: Any) -> None:
        """Check and keep the arguments, and draw the parameters (nn-02)."""
        owner = type(self).__name__
        bias = check_flag(owner, "bias", bias)
        for name, least in _LEAST.items():
            # In words the padding was checked before.
            if name in options and not (name == "padding" and isinstance(options[name], str)):
                options[name] = per_axis(owner, name, options[name], self._axes, least)
        Layer.__init__(self, **options)
        for name in ("in_channels", "out_channels"):
            if options[name] % options["groups"]:  # nn-19
                counts = f"groups = {options['groups']}, got {options[name]}"
                msg = f"{owner}: {name} must be divisible by {counts}"
                raise ValueError(msg)
        rows, columns = self._channels()
        shape = (rows, columns // self.groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))
        self._uniform("weight", shape, bound, dtype)
        self._uniform("bias", (self.out_channels,) if bias else None, bound, dtype)

    def _channels(self) -> Shape:
        """Return the first two sizes of the weight, the second over all groups."""
        return self.out_channels, self.in_channels

    def _sample(self, input: Any) -> Tensor:
        """Return the input, checked, with its batch."""
        x, owner = self._input(input), type(self).__name__
        x = with_batch(owner, x, self._axes, "in_channels", self.in_channels)
        check_same_dtype(owner, "input", x.dtype, self.weight.dtype)
        return x

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the usual."""
        parts = [str(self.in_channels), str(self.out_channels)]
        parts += [f"kernel_size={self.kernel_size}", f"stride={self.stride}"]
        for name, usual in _USUAL.items():
            value = getattr(self, name, usual)
            if value not in (usual, (usual,) * self._axes):
                parts.append(f"{name}={value}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


# The arguments that are a number for each axis, with the least that each may be.
_LEAST = {"kernel_size": 1, "stride": 1, "padding": 0, "dilation": 1, "output_padding": 0}
_WORDS: Any = ("same", "valid")
_USUAL = {"padding": 0, "dilation": 1, "output_padding": 0, "groups": 1}


class _Forward(_Convolution):
    """A convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        owner = type(self).__name__
        if isinstance(padding, str):
            check_choice(owner, "padding", padding, _WORDS)
            steps = per_axis(owner, "stride", stride, self._axes)
            if padding == "same" and max(steps) > 1:  # nn-17
                msg = f"{owner}: padding 'same' wants stride 1, got {steps}"
                raise ValueError(msg)
        check_choice(owner, "padding_mode", padding_mode, MODES)
        self._prepare(
            bias,
            dtype,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )

    def _edges(self) -> tuple[Shape, Shape]:
        """Return how many places there are outside, in front and behind."""
        if not isinstance(self.padding, str):
            return self.padding, self.padding
        if self.padding == "valid":
            return (0,) * self._axes, (0,) * self._axes
        beyond = [n - 1 for n in reach(self.kernel_size, self.dilation)]
        return tuple([n // 2 for n in beyond]), tuple([n - n // 2 for n in beyond])

    def forward(self, input: Any) -> Tensor:
        """Return the cross-correlation of the input with the weight.

        Parameters
        ----------
        input : Tensor, shape (N, in_channels, ...) or (in_channels, ...)

        Returns
        -------
        Tensor, shape (N, out_channels, ...) or (out_channels, ...)

        Raises
        ------
        ValueError
            If the input has other axes or channels, or is shorter than the kernel.
        TypeError
            If its dtype is not the parameters'.
        """
        x, owner = self._sample(input), type(self).__name__
        before, after = self._edges()
        if self.padding_mode != "zeros":  # nn-18
            x = bordered(owner, x, before, after, self.padding_mode)
            before = after = (0,) * self._axes
        windows = Windows(x.shape[2:], self.kernel_size, self.stride, self.dilation, before, after)
        if min(windows.counts) < 1:  # nn-19
            lengths = [sum(n) for n in zip(windows.sizes, before, after, strict=True)]
            wanted = f"at least the kernel's reach, {windows.reach}"
            msg = f"{owner}: input with its padding must have {wanted} places, got {tuple(lengths)}"
            raise ValueError(msg)
        geometry, maps = (Geometry(windows, self.groups),), MAPS[self._axes]
        if self.bias is None:
            y = record(maps.correlated, (x, self.weight), geometry)
        else:
            y = record(maps.correlated_biased, (x, self.weight, self.bias), geometry)
        return like_input(y, input.ndim == x.ndim)


class Conv1d(_Forward):
    """Compute the cross-correlation with kernels along one axis (torch.nn.Conv1d).

    y[n, o, t] = bias[o] + sum over c, k of weight[o, c, k] input[n, c, stride t + dilation k -
    padding], c over the channels of the group of o.

    Parameters
    ----------
    in_channels, out_channels : int
        Both divisible by `groups`.
    kernel_size, stride, dilation : int or tuple of int
        A size for each axis.
    padding : int, tuple of int, "valid" or "same"
        How many places stand outside, at either end; "valid" is 0, and "same" keeps the length.
    groups : int
        Into so many groups channels are parted, which know nothing of each other.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What stands outside.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
        Uniform in [-k, k), k = 1 / sqrt(the product of its sizes but the first).
    bias : Parameter, shape (out_channels,), or None
        The same.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, too small, or does not fit the others.
    """

    _axes = 1


class Conv2d(_Forward):
    """Compute the cross-correlation with kernels along two axes (torch.nn.Conv2d).

    The equation, the parameters, attributes and errors are those of `Conv1d`, with a number for
    each of two axes.

    Parameters
    ----------
    in_channels, out_channels, groups : int
    kernel_size, stride, padding, dilation : int or tuple of int
        `padding` may also be "valid" or "same".
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype
    """

    _axes = 2


class _Transposed(_Convolution):
    """A transposed convolution."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        owner = type(self).__name__
        check_choice(owner, "padding_mode", padding_mode, ("zeros",))  # nn-20
        per_axis(owner, "padding", padding, self._axes, 0)
        more = per_axis(owner, "output_padding", output_padding, self._axes, 0)
        steps = per_axis(owner, "stride", stride, self._axes)
        gaps = per_axis(owner, "dilation", dilation, self._axes)
        if not all([n < max(pair) for n, *pair in zip(more, steps, gaps, strict=True)]):
            wanted = f"smaller than the stride {steps} or the dilation {gaps}"
            msg = f"{owner}: output_padding must be {wanted}, got {more}"
            raise ValueError(msg)
        self._prepare(
            bias,
            dtype,
            in_channels=in_channels,
            out_channels=out_channels,
            kernel_size=kernel_size,
            stride=stride,
            padding=padding,
            output_padding=output_padding,
            groups=groups,
            dilation=dilation,
            padding_mode=padding_mode,
        )

    def _channels(self) -> Shape:
        return self.in_channels, self.out_channels

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Return what the gradient of a convolution makes of the input.

        Parameters
        ----------
        input : Tensor, shape (N, in_channels, ...) or (in_channels, ...)
        output_size : sequence of int, optional
            The sizes of the last axes of the result, or of all, instead of `output_padding`.

        Returns
        -------
        Tensor, shape (N, out_channels, ...) or (out_channels, ...)

        Raises
        ------
        ValueError
            If the input has other axes or channels, or the result has no place or cannot have its
            size.
        TypeError
            If the dtype is not the parameters'.
        """
        x = self._sample(input)
        sizes = self._sizes_of_result(x.shape[2:], output_size, 2 if input.ndim == x.ndim else 1)
        # So much behind that there are as many windows as the input has places.
        spans = zip(x.shape[2:], self.stride, self._reach(), sizes, self.padding, strict=True)
        after = tuple([(n - 1) * s + r - size - p for n, s, r, size, p in spans])
        windows = Windows(sizes, self.kernel_size, self.stride, self.dilation, self.padding, after)
        geometry, maps = (Geometry(windows, self.groups),), MAPS[self._axes]
        if self.bias is None:
            y = record(maps.transposed, (x, self.weight), geometry)
        else:
            y = record(maps.transposed_biased, (x, self.weight, self.bias), geometry)
        return like_input(y, input.ndim == x.ndim)

    def _reach(self) -> Shape:
        return reach(self.kernel_size, self.dilation)

    def _sizes_of_result(self, lengths: Shape, output_size: Any, lead: int) -> Shape:
        """Return the sizes of the last axes of the result (nn-20)."""
        owner = type(self).__name__
        spans = zip(lengths, self.stride, self._reach(), self.padding, strict=True)
        least = [(n - 1) * s + r - 2 * p for n, s, r, p in spans]
        if output_size is None:
            sizes = [n + more for n, more in zip(least, self.output_padding, strict=True)]
        else:
            wanted = "a sequence of ints"
            given = check_items(owner, "output_size", output_size, wanted)
            sizes = [check_int(owner, "output_size", n) for n in given]
            sizes = sizes[lead:] if len(sizes) == lead + self._axes else sizes
            most = [n + s - 1 for n, s in zip(least, self.stride, strict=True)]
            bounds = list(zip(least, sizes, most, strict=False))
            if len(sizes) != self._axes or not all([a <= n <= b for a, n, b in bounds]):
                wanted = f"{self._axes} sizes from {least} to {most}"
                msg = f"{owner}: output_size must have {wanted}, got {shown(output_size)}"
                raise ValueError(msg)
        if min(sizes) < 1:
            msg = f"{owner}: with padding {self.padding} the result would have the sizes {sizes}"
            raise ValueError(msg)
        return tuple(sizes)


class ConvTranspose1d(_Transposed):
    """Compute the transpose of a convolution along one axis (torch.nn.ConvTranspose1d).

    The result is what the gradient to the input of the `Conv1d` of the same weight, stride,
    padding, dilation and groups makes of the input, plus the bias. It has (L - 1) stride -
    2 padding + dilation (K - 1) + output_padding + 1 places.

    Parameters
    ----------
    in_channels, out_channels : int
        Both divisible by `groups`.
    kernel_size, stride, padding : int or tuple of int
        A size for each axis; those of the convolution.
    output_padding : int or tuple of int
        So many places more at the end; less than the stride or the dilation.
    groups : int
    bias : bool
    dilation : int or tuple of int
    padding_mode : {"zeros"}
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
        Uniform in [-k, k), k = 1 / sqrt(the product of its sizes but the first).
    bias : Parameter, shape (out_channels,), or None
        The same.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, too small, or does not fit the others.
    """

    _axes = 1


class ConvTranspose2d(_Transposed):
    """Compute the transpose of a convolution along two axes (torch.nn.ConvTranspose2d).

    The equation, the parameters, attributes and errors are those of `ConvTranspose1d`, with a
    number for each of two axes.

    Parameters
    ----------
    in_channels, out_channels, groups : int
    kernel_size, stride, padding, output_padding, dilation : int or tuple of int
    bias : bool
    padding_mode : {"zeros"}
    dtype : dtype
    """

    _axes = 2
