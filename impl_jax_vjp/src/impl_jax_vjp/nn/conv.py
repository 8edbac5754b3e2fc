"""Convolutions and their transposes.

N batch, C channels, K the size of the kernel; each axis behind the channels has its own stride s,
dilation d and padding p.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import lax

from ..checks import Shape, check_choice, check_flag, check_ints, check_parameter, refuse
from ..ops import formulas as F
from ..recording import Primitive, shape_of
from ..tensor import Tensor
from .window import MODES, Pairs, Windowed, check_padding, extents, padded

Array = Any


class _Plan(NamedTuple):
    """What is fixed in a compiled convolution."""

    name: str
    weight: Shape
    stride: Shape
    padding: Pairs
    dilation: Shape
    groups: int
    mode: str = "zeros"


def _batched(plan: _Plan, out: int, x: Array, weight: Array, *bias: Array) -> Array:
    """Return the input with a batch axis, after a check of the parameters."""
    check_parameter(plan.name, "weight", weight, plan.weight)
    for added in bias:
        check_parameter(plan.name, "bias", added, (out,))
    return x[None] if x.ndim < weight.ndim else x


def _finished(y: Array, ndim: int, *bias: Array) -> Array:
    for added in bias:
        y = y + F.stretch(added.reshape(-1, *[1] * (y.ndim - 2)), y.shape)
    return y[0] if ndim < y.ndim else y


def _correlated(plan: _Plan, x: Array, weight: Array, *bias: Array) -> Array:
    ndim, padding = x.ndim, plan.padding
    x = _batched(plan, plan.weight[0], x, weight, *bias)
    if plan.mode != "zeros":  # nn-18
        x, padding = padded(plan.mode, padding, x), ((0, 0),) * len(padding)
    y = lax.conv_general_dilated(
        x, weight, plan.stride, padding, None, plan.dilation,
        feature_group_count=plan.groups, precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    return _finished(y, ndim, *bias)


def _transposed(plan: _Plan, x: Array, weight: Array, *bias: Array) -> Array:
    ndim = x.ndim
    x = _batched(plan, plan.weight[1] * plan.groups, x, weight, *bias)
    # nn-20: the gradient to the input of a convolution is one itself, of the input with gaps of
    # the stride, by the kernel turned round, whose channels change places within each group.
    parts = weight.reshape(plan.groups, -1, *weight.shape[1:]).swapaxes(1, 2)
    turned = jnp.flip(parts.reshape(-1, *parts.shape[2:]), range(2, weight.ndim))
    y = lax.conv_general_dilated(
        x, turned, (1,) * len(plan.stride), plan.padding, plan.stride, plan.dilation,
        feature_group_count=plan.groups, precision=lax.Precision.HIGHEST,
    )  # fmt: skip
    return _finished(y, ndim, *bias)


_CONVOLVE = {axes: Primitive(_correlated, f"Conv{axes}d", F.others) for axes in (1, 2)}
_TRANSPOSE = {axes: Primitive(_transposed, f"ConvTranspose{axes}d", F.others) for axes in (1, 2)}


class _Convolution(Windowed):
    """The arguments and parameters that all convolutions share."""

    in_channels: int
    out_channels: int
    kernel_size: Shape
    stride: Shape
    padding: Any
    dilation: Shape
    groups: int

    def _take(
        self, in_channels: Any, out_channels: Any, groups: Any, modes: Any, padding_mode: Any
    ) -> None:
        """Check and keep the channels, how many groups they are parted into, and the mode."""
        name = type(self).__name__
        self._take_sizes(in_channels=in_channels, out_channels=out_channels, groups=groups)
        for argument in ("in_channels", "out_channels"):
            channels = getattr(self, argument)
            if channels % self.groups:  # nn-19
                refuse(name, argument, f"divisible by groups = {self.groups}", channels)
        check_choice(name, "padding_mode", padding_mode, modes)
        self.padding_mode = padding_mode

    def _draw(self, rows: int, columns: int, bias: Any) -> None:
        """Make the weight (rows, columns / groups, *kernel) and the bias."""
        present = check_flag(type(self).__name__, "bias", bias)
        shape = (rows, columns // self.groups, *self.kernel_size)
        bound = 1.0 / math.sqrt(math.prod(shape[1:]))  # nn-02
        self._uniform("weight", shape, bound)
        self._uniform("bias", (self.out_channels,), bound, present=present)

    def _operands(self, x: Any) -> list[Any]:
        return [operand for operand in (x, self.weight, self.bias) if operand is not None]


class _Forward(_Convolution):
    """A cross-correlation."""

    _options = (
        "in_channels", "out_channels", "kernel_size=", "stride=", "padding?", "dilation?",
        "groups?", "bias?", "padding_mode?",
    )  # fmt: skip

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
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take(in_channels, out_channels, groups, tuple(MODES), padding_mode)
        self.kernel_size, self.stride, self.dilation = self._sizes(
            kernel_size=kernel_size, stride=stride, dilation=dilation
        )
        name = type(self).__name__
        if isinstance(padding, str):
            check_choice(name, "padding", padding, ("same", "valid"))
            if padding == "same" and set(self.stride) != {1}:  # nn-19
                refuse(name, "stride", "1 for padding 'same'", self.stride)
            self.padding = padding
        else:
            (self.padding,) = self._sizes(0, padding=padding)
        self._draw(self.out_channels, self.in_channels, bias)

    def _pairs(self) -> Pairs:
        """Return the padding before and behind each axis."""
        if self.padding == "valid":
            return ((0, 0),) * self._axes
        if self.padding == "same":  # nn-17
            lengths = extents(self.kernel_size, self.dilation)
            return tuple([((size - 1) // 2, size // 2) for size in lengths])
        return tuple([(size, size) for size in self.padding])

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, in_channels, *) or (in_channels, *) to (N, out_channels, *) or without N.

        Raises
        ------
        ValueError
            If the shape is another one, or the input is too short for the kernel or its padding.
        TypeError
            If its dtype is not that of the parameters.
        """
        x, lengths = self._sample(input, self.in_channels)
        name, padding = type(self).__name__, self._pairs()
        check_padding(name, self.padding_mode, padding, lengths)
        extent = extents(self.kernel_size, self.dilation)
        for size, pair, k in zip(lengths, padding, extent, strict=True):
            if size + sum(pair) < k:  # nn-19
                least = f"at least {k} long with its padding, as the kernel is"
                refuse(name, "input", least, size + sum(pair))
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        plan = _Plan(
            name, shape, self.stride, padding, self.dilation, self.groups, self.padding_mode
        )
        made: Tensor = _CONVOLVE[self._axes](self._operands(x), plan)
        return made


class _Backward(_Convolution):
    """The transpose of a cross-correlation."""

    _options = (
        "in_channels", "out_channels", "kernel_size=", "stride=", "padding?", "dilation?",
        "output_padding?", "groups?", "bias?", "padding_mode?",
    )  # fmt: skip

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
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take(in_channels, out_channels, groups, ("zeros",), padding_mode)
        self.kernel_size, self.stride, self.dilation = self._sizes(
            kernel_size=kernel_size, stride=stride, dilation=dilation
        )
        self.padding, self.output_padding = self._sizes(
            0, padding=padding, output_padding=output_padding
        )
        parts = zip(self.output_padding, self.stride, self.dilation, strict=True)
        if any([size >= max(s, d) for size, s, d in parts]):  # nn-20
            wanted = f"smaller than stride {self.stride} or dilation {self.dilation}"
            refuse(type(self).__name__, "output_padding", wanted, self.output_padding)
        self._draw(self.in_channels, self.out_channels, bias)

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Map shape (N, in_channels, *) or (in_channels, *) to (N, out_channels, *) or without N.

        Parameters
        ----------
        input : Tensor or raw array
        output_size : sequence of int, optional
            The sizes of the result, of its last axes or of all, in place of `output_padding`.

        Raises
        ------
        ValueError
            If the shape is another one, or `output_size` cannot be reached, or no place is left.
        TypeError
            If its dtype is not that of the parameters.
        """
        x, lengths = self._sample(input, self.in_channels)
        extent = extents(self.kernel_size, self.dilation)
        least = tuple(
            [
                (size - 1) * s - 2 * p + k
                for size, s, p, k in zip(lengths, self.stride, self.padding, extent, strict=True)
            ]
        )
        further = self.output_padding
        if output_size is not None:
            further = self._further(output_size, least, len(shape_of(x)))
        sizes = tuple([size + more for size, more in zip(least, further, strict=True)])
        if min(lengths) < 1 or min(sizes) < 1:
            wanted = f"so small that a place is left of an input of {lengths}"
            refuse(type(self).__name__, "padding", wanted, self.padding)
        pairs = zip(extent, self.padding, further, strict=True)
        padding = tuple([(k - 1 - p, k - 1 - p + more) for k, p, more in pairs])
        shape = (self.in_channels, self.out_channels // self.groups, *self.kernel_size)
        plan = _Plan(type(self).__name__, shape, self.stride, padding, self.dilation, self.groups)
        made: Tensor = _TRANSPOSE[self._axes](self._operands(x), plan)
        return made

    def _further(self, output_size: Any, least: Shape, ndim: int) -> Shape:
        """Return the output padding that makes a result of the sizes that are asked for."""
        name = type(self).__name__
        wanted = check_ints(name, "output_size", output_size)
        most = tuple([size + s - 1 for size, s in zip(least, self.stride, strict=True)])
        sizes = wanted[-self._axes :]
        triples = zip(least, sizes, most, strict=False)
        reached = all([low <= size <= high for low, size, high in triples])
        if len(wanted) not in (self._axes, ndim) or not reached:  # nn-20
            refuse(name, "output_size", f"from {least} to {most}", wanted)
        return tuple([size - low for size, low in zip(sizes, least, strict=True)])


class Conv1d(_Forward):
    """A cross-correlation along one axis (the page of ``torch.nn.Conv1d``).

    ``y[n, o, t] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, s t + d k - p]``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int
    padding : int, "same" or "valid"
        Zeros at both ends; "same" adds as many as keep the length.
    dilation : int
    groups : int
        Both numbers of channels are parted into so many groups of neighbours, which do not mix.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None
        Both uniform in [-k, k), k = 1 / sqrt of the product of the sizes of `weight` but the first.

    Raises
    ------
    ValueError
        If a size is not positive, a padding negative, the channels are not divisible by `groups`,
        or an option is none of those named.
    TypeError
        If a size is no int.
    """

    _axes = 1


class Conv2d(_Forward):
    """A cross-correlation along two axes (the page of ``torch.nn.Conv2d``).

    ``y[n, o, t] = bias[o] + sum over c, k of weight[o, c, k] x[n, c, s t + d k - p]``.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or tuple of two ints
    padding : int or tuple of two ints, "same" or "valid"
        Zeros at both ends; "same" adds as many as keep the length.
    dilation : int or tuple of two ints
    groups : int
        Both numbers of channels are parted into so many groups of neighbours, which do not mix.
    bias : bool
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None
        Both uniform in [-k, k), k = 1 / sqrt of the product of the sizes of `weight` but the first.

    Raises
    ------
    ValueError
        If a size is not positive, a padding negative, the channels are not divisible by `groups`,
        or an option is none of those named.
    TypeError
        If a size is no int.
    """

    _axes = 2


class ConvTranspose1d(_Backward):
    """The transpose of `Conv1d` (the page of ``torch.nn.ConvTranspose1d``).

    What the gradient to the input of the convolution with these options makes of its input, plus
    `bias`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int
    padding : int
        What the convolution has at both ends.
    output_padding : int
        How much longer the result is than the shortest, at its end.
    groups : int
        Both numbers of channels are parted into so many groups of neighbours, which do not mix.
    bias : bool
    dilation : int
    padding_mode : {"zeros"}
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None
        Both uniform in [-k, k), k = 1 / sqrt of the product of the sizes of `weight` but the first.

    Raises
    ------
    ValueError
        If a size is not positive, a padding negative, the channels are not divisible by `groups`,
        or an option is none of those named.
    TypeError
        If a size is no int.
    """

    _axes = 1


class ConvTranspose2d(_Backward):
    """The transpose of `Conv2d` (the page of ``torch.nn.ConvTranspose2d``).

    What the gradient to the input of the convolution with these options makes of its input, plus
    `bias`.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride : int or tuple of two ints
    padding : int or tuple of two ints
        What the convolution has at both ends.
    output_padding : int or tuple of two ints
        How much longer the result is than the shortest, at its end.
    groups : int
        Both numbers of channels are parted into so many groups of neighbours, which do not mix.
    bias : bool
    dilation : int or tuple of two ints
    padding_mode : {"zeros"}
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
    bias : Parameter, shape (out_channels,), or None
        Both uniform in [-k, k), k = 1 / sqrt of the product of the sizes of `weight` but the first.

    Raises
    ------
    ValueError
        If a size is not positive, a padding negative, the channels are not divisible by `groups`,
        or an option is none of those named.
    TypeError
        If a size is no int.
    """

    _axes = 2
