"""Pools: the largest or the mean of each window."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import Option, check_flag, check_int
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.nn.window import check_sample, per_axis, spread, windows
from impl_torch_ext.tracing import known_only_later, numbers, transforms_are_active

__all__ = ["AdaptiveAvgPool2d", "AvgPool1d", "AvgPool2d", "MaxPool1d", "MaxPool2d"]

Sizes: TypeAlias = int | Sequence[int]


def _check_divisor(name: str, option: str, value: Any) -> int | None:
    if value is not None and check_int(name, option, value) == 0:  # nn-22
        msg = f"{name}: {option} must be None or another int than 0, got {value}"
        raise ValueError(msg)
    return value


def _sizes(axes: int, keeps: bool, *dilation: str) -> dict[str, Option]:
    size = per_axis(axes, 1, keeps)
    padding = per_axis(axes, 0, keeps)
    return {
        "kernel_size": size,
        "stride": size,
        "padding": padding,
        **dict.fromkeys(dilation, size),
    }


class _Pool(Layer):
    """Windows, and what torch's function makes of them."""

    _axes: ClassVar[int]
    _operator: ClassVar[Callable[..., Any]]
    kernel_size: int | tuple[int, ...]
    stride: int | tuple[int, ...]
    padding: int | tuple[int, ...]
    dilation: int | tuple[int, ...] = 1
    ceil_mode: bool

    def __init__(
        self, kernel_size: Sizes, stride: Sizes | None, padding: Sizes, *rest: Any
    ) -> None:
        stride = kernel_size if stride is None else stride
        super().__init__(kernel_size, stride, padding, *rest)
        pairs = zip(*self._windows()[::2], strict=True)
        if any(2 * width > size for size, width in pairs):  # nn-22
            msg = (
                f"{type(self).__name__}: padding must be at most half of the kernel size, "
                f"{self.kernel_size}, got {self.padding}"
            )
            raise ValueError(msg)

    def _windows(self) -> list[tuple[int, ...]]:
        options = (self.kernel_size, self.stride, self.padding, self.dilation)
        return [spread(option, self._axes) for option in options]

    def _pooled(self, input: Tensor, *rest: Any) -> Any:
        """Return what torch's function makes of the windows of `input`."""
        name, axes = type(self).__name__, self._axes
        x = check_sample(name, input, axes, None, None)
        kernel, stride, padding, dilation = options = self._windows()
        both = (kernel, stride, tuple(2 * width for width in padding), dilation)
        counts = windows(name, x, [*zip(*both, strict=True)], self.ceil_mode)
        usual = options if "dilation" in self._options else options[:3]
        if x.numel():
            return type(self)._operator(x, *usual, *rest)
        # torch takes no input without channels.
        result = type(self)._operator(x.reshape(-1, 1, *x.shape[-axes:]), *usual, *rest)
        shape = (*x.shape[:-axes], *counts)
        if isinstance(result, tuple):
            return tuple(part.reshape(shape) for part in result)
        return result.reshape(shape)


class _MaxPool(_Pool):
    _unsaid: ClassVar[dict[str, Any]] = {"return_indices": ...}
    return_indices: bool

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        dilation: Sizes = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(kernel_size, stride, padding, dilation, return_indices, ceil_mode)

    def forward(self, input: Tensor) -> Any:
        """Pool `input`, shape (N, C, *) or (C, *).

        Returns
        -------
        Tensor, or a pair with `return_indices`
            The largest of each window, and its place in the channel (int64).

        Raises
        ------
        ValueError
            If the shape does not fit, or there is no window.
        """
        pair = self._pooled(input, self.ceil_mode)
        if _may_hold_nan(pair[0]):
            pair = self._first_nan(input, *pair)
        return pair if self.return_indices else pair[0]

    def _first_nan(self, input: Tensor, output: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Return the result with the first NaN of a window in the place of the last (nn-21)."""
        _, first = self._pooled(input.detach().isnan().to(input.dtype), self.ceil_mode)
        places = torch.where(output.detach().isnan(), first, places)
        flat = input.flatten(-self._axes).gather(-1, places.flatten(-self._axes))
        return flat.reshape(output.shape), places


def _may_hold_nan(x: Tensor) -> bool:
    """Return whether there is a NaN, and true where a compiler looks on, for which nobody knows."""
    if known_only_later():
        return True
    if transforms_are_active():
        return bool(np.isnan(numbers(x)).any())
    return bool(x.isnan().any())


def _max_options(axes: int) -> Options:
    return {**_sizes(axes, True, "dilation"), "return_indices": check_flag, "ceil_mode": check_flag}


class MaxPool1d(_MaxPool):
    """The largest of each window along one axis; the gradient goes to it, of equals to the first.

    Source: the page of `torch.nn.MaxPool1d`.

    Parameters
    ----------
    kernel_size : int or tuple of int
    stride : int or tuple of int, optional
        `kernel_size` if left out.
    padding : int or tuple of int
        Places of -inf at both ends, at most half of the kernel's size.
    dilation : int or tuple of int
    return_indices : bool
        Whether the result is a pair with the places.
    ceil_mode : bool
        Whether the last window may reach beyond the padding.
    """

    _axes = 1
    _options = _max_options(1)
    _operator = staticmethod(torch.max_pool1d_with_indices)


class MaxPool2d(_MaxPool):
    """The largest of each window along two axes; the gradient goes to it, of equals to the first.

    Source: the page of `torch.nn.MaxPool2d`.

    Parameters
    ----------
    kernel_size : int or tuple of int
    stride : int or tuple of int, optional
        `kernel_size` if left out.
    padding : int or tuple of int
        Places of -inf at both ends, at most half of the kernel's size.
    dilation : int or tuple of int
    return_indices : bool
        Whether the result is a pair with the flat places in the channel.
    ceil_mode : bool
        Whether the last window may reach beyond the padding.
    """

    _axes = 2
    _options = _max_options(2)
    _operator = staticmethod(torch._C._nn.max_pool2d_with_indices)


class AvgPool1d(_Pool):
    """The mean of each window along one axis.

    Source: the page of `torch.nn.AvgPool1d`.

    Parameters
    ----------
    kernel_size : int or tuple of int
    stride : int or tuple of int, optional
        `kernel_size` if left out.
    padding : int or tuple of int
        Zeros at both ends, at most half of the kernel's size.
    ceil_mode : bool
        Whether the last window may reach beyond the padding.
    count_include_pad : bool
        Whether the zeros count in the divisor.
    """

    _axes = 1
    _options: ClassVar[Options] = {
        **_sizes(1, False),
        "ceil_mode": check_flag,
        "count_include_pad": check_flag,
    }
    _unsaid: ClassVar[dict[str, Any]] = {"ceil_mode": ..., "count_include_pad": ...}
    _operator = staticmethod(torch.nn.functional.avg_pool1d)
    count_include_pad: bool

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel_size, stride, padding, ceil_mode, count_include_pad)

    def forward(self, input: Tensor) -> Tensor:
        """Pool `input`, shape (N, C, L) or (C, L); raise a ValueError if there is no window."""
        return self._pooled(input, self.ceil_mode, self.count_include_pad)


class AvgPool2d(_Pool):
    """The mean of each window along two axes.

    Source: the page of `torch.nn.AvgPool2d`.

    Parameters
    ----------
    kernel_size : int or tuple of int
    stride : int or tuple of int, optional
        `kernel_size` if left out.
    padding : int or tuple of int
        Zeros at both ends, at most half of the kernel's size.
    ceil_mode : bool
        Whether the last window may reach beyond the padding.
    count_include_pad : bool
        Whether the zeros count in the divisor.
    divisor_override : int, optional
        Takes the place of the divisor; not 0.
    """

    _axes = 2
    _options: ClassVar[Options] = {
        **_sizes(2, True),
        "ceil_mode": check_flag,
        "count_include_pad": check_flag,
        "divisor_override": _check_divisor,
    }
    _unsaid: ClassVar[dict[str, Any]] = {**AvgPool1d._unsaid, "divisor_override": ...}
    _operator = staticmethod(torch.nn.functional.avg_pool2d)
    count_include_pad: bool
    divisor_override: int | None

    def __init__(
        self,
        kernel_size: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        rest = (ceil_mode, count_include_pad, divisor_override)
        super().__init__(kernel_size, stride, padding, *rest)

    def forward(self, input: Tensor) -> Tensor:
        """Pool `input`, shape (N, C, H, W) or (C, H, W); raise a ValueError without a window."""
        rest = (self.ceil_mode, self.count_include_pad, self.divisor_override)
        return self._pooled(input, *rest)


class AdaptiveAvgPool2d(Layer):
    """The mean of each of a given number of windows along two axes.

    Window i of n goes from `floor(i L / n)` to, excluded, `ceil((i + 1) L / n)`.

    Source: the page of `torch.nn.AdaptiveAvgPool2d`.

    Parameters
    ----------
    output_size : int, None, or a tuple of two of them
        The number of windows; None is the input's size.
    """

    _options: ClassVar[Options] = {"output_size": per_axis(2, 1, keeps=True, free=True)}
    output_size: int | tuple[int | None, ...] | None

    def __init__(self, output_size: int | Sequence[int | None] | None) -> None:
        super().__init__(output_size)

    def forward(self, input: Tensor) -> Tensor:
        """Pool `input`, shape (N, C, H, W) or (C, H, W), which must have places."""
        x = check_sample("AdaptiveAvgPool2d", input, 2, None, None)
        windows("AdaptiveAvgPool2d", x, [(1, 1, 0, 1)] * 2)  # nn-22
        sizes = zip(spread(self.output_size, 2), x.shape[-2:], strict=True)
        counts = [have if want is None else want for want, have in sizes]
        if x.numel():
            return torch.nn.functional.adaptive_avg_pool2d(x, counts)
        # torch takes no input without channels.
        flat = torch.nn.functional.adaptive_avg_pool2d(x.reshape(-1, 1, *x.shape[-2:]), counts)
        return flat.reshape(*x.shape[:-2], *counts)
