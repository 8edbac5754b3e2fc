"""Pools: the largest or the mean of each window; one kernel each way."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_int, shown
from impl_cupy.dtypes import int64
from impl_cupy.launch import launch
from impl_cupy.nn.layer import Layer
from impl_cupy.nn.window import Sizes, Windows, as_samples, by_axis, count_places
from impl_cupy.recording import record
from impl_cupy.slices import deepest, in_one_batch, is_mapped, lift, lower, over
from impl_cupy.tape import Recorded, vmapped, wrap
from impl_cupy.tensor import Tensor

Operation = Callable[..., Any]


class _Plan(NamedTuple):
    """What a pool's way back knows."""

    name: str
    windows: Windows
    indices: Any = None
    """Of the largest: where each is in its plane."""
    is_padded: bool = False
    divisor: int = 0


def _linear(function: Callable[..., Any], rule: Any) -> Callable[..., Any]:
    """Make ``function(x, plan)`` one of raw arrays and of Tensors."""

    def operation(x: Any, plan: _Plan) -> Any:
        if not isinstance(x, Recorded):
            return function(x, plan)
        return record(plan.name, lambda raw: function(raw, plan), rule, (x,), config=plan)

    return operation


def _folded(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a pool take all slices under `vmap` as samples of one batch."""

    @functools.wraps(forward)
    def called(self: Any, input: Any) -> Any:
        if not vmapped or not is_mapped(input) or input.ndim < 2:
            return forward(self, input)
        axes = 2 if type(self).__name__.endswith("2d") else 1
        if input.ndim == axes + 2:
            return in_one_batch(functools.partial(called, self), input)
        if input.ndim != axes + 1:
            return forward(self, input)
        # A slice is one sample.
        level = deepest(input)
        return over(lambda part: lift(part, level), called(self, lower(input, level)))

    return called


def _made(raw: Any, lengths: Sizes, dtype: Any = None) -> Any:
    """Return an empty array with other lengths of the last axes."""
    return cp.empty((*raw.shape[: raw.ndim - len(lengths)], *lengths), dtype=dtype or raw.dtype)


def _largest(raw: Any, windows: Windows) -> tuple[Any, Any]:
    """Return the largest of each window, and where in its plane it is."""
    out, indices = _made(raw, windows.places), _made(raw, windows.places, int64)
    arrays = cp.ascontiguousarray(raw), out, indices
    launch("window", "max_forward", raw.dtype, out.size, *arrays, *windows.numbers())
    return out, indices


def _chosen_raw(raw: Any, plan: _Plan) -> Any:
    """Take the elements at the indices."""
    indices = plan.indices
    planes = raw.shape[: raw.ndim - len(plan.windows.sizes)]
    flat, places = raw.reshape(*planes, -1), indices.reshape(*planes, -1)
    found = cp.take_along_axis(flat, cp.maximum(places, 0), axis=-1)
    return cp.where(places < 0, cp.zeros_like(found), found).reshape(indices.shape)


def _placed_raw(grad: Any, plan: _Plan) -> Any:
    """Add each element up where its index says."""
    out = _made(grad, plan.windows.sizes)
    arrays = plan.indices, cp.ascontiguousarray(grad), out
    launch("window", "max_backward", grad.dtype, out.size, *arrays, *plan.windows.numbers())
    return out


def _mean_raw(raw: Any, plan: _Plan) -> Any:
    """Form the mean of each window."""
    return _run_mean("mean_forward", raw, _made(raw, plan.windows.places), plan)


def _share_raw(grad: Any, plan: _Plan) -> Any:
    """Give each element of a window its part of the mean's gradient."""
    return _run_mean("mean_backward", grad, _made(grad, plan.windows.sizes), plan)


def _run_mean(kernel: str, raw: Any, out: Any, plan: _Plan) -> Any:
    given = cp.ascontiguousarray(raw), out, plan.is_padded, plan.divisor
    launch("window", kernel, raw.dtype, out.size, *given, *plan.windows.numbers())
    return out


_chosen: Operation = _linear(_chosen_raw, lambda node, grad: (_placed(grad, node.config),))
_placed: Operation = _linear(_placed_raw, lambda node, grad: (_chosen(grad, node.config),))
_mean: Operation = _linear(_mean_raw, lambda node, grad: (_share(grad, node.config),))
_share: Operation = _linear(_share_raw, lambda node, grad: (_mean(grad, node.config),))


def _floating_samples(name: str, input: Any, axes: int) -> Any:
    """Return an input (N, C, *sizes) or (C, *sizes) of floating numbers (nn-22)."""
    value = as_samples(name, input, axes)
    if value.dtype.kind != "f":
        msg = f"{name}: input must be floating, got dtype {value.dtype.name}"
        raise TypeError(msg)
    return value


def _kept(value: Any) -> Any:
    """Return an argument as an attribute keeps it."""
    return tuple(value) if isinstance(value, list) else value


class _Pool(Layer):
    """What pools with windows of one size have.

    Raises
    ------
    ValueError, TypeError
        That names the Module, the argument and its value (nn-22).
    """

    _axes: ClassVar[int]

    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any = 1
    ceil_mode: bool

    def _check(self) -> tuple[Sizes, Sizes, Sizes, Sizes]:
        """Return kernel size, stride, padding and dilation by axis."""
        name, axes = type(self).__name__, self._axes
        kernel = by_axis(name, "kernel_size", self.kernel_size, axes)
        stride = by_axis(name, "stride", self.stride, axes)
        padding = by_axis(name, "padding", self.padding, axes, 0)
        if any(2 * pad > size for pad, size in zip(padding, kernel, strict=True)):
            msg = (
                f"{name}: padding must be at most half of kernel_size={self.kernel_size}, got "
                f"{self.padding}"
            )
            raise ValueError(msg)
        return kernel, stride, padding, by_axis(name, "dilation", self.dilation, axes)

    def _windows(self, value: Any) -> Windows:
        """Return the windows over an input."""
        kernel, stride, padding, dilation = self._check()
        sizes = value.shape[value.ndim - self._axes :]
        each = zip(sizes, kernel, stride, padding, dilation, strict=True)
        places = tuple(count_places(i, (p, p), k, s, d, self.ceil_mode) for i, k, s, p, d in each)
        if min(places) < 1:  # nn-22
            msg = (
                f"{type(self).__name__}: input must have room for kernel_size={self.kernel_size} "
                f"with padding={self.padding}, got shape {value.shape}"
            )
            raise ValueError(msg)
        return Windows(sizes, places, kernel, stride, padding, dilation)


class _MaxPool(_Pool):
    """The largest of each window over `_axes` axes."""

    return_indices: bool

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        name = type(self).__name__
        super().__init__(
            kernel_size=_kept(kernel_size),
            stride=_kept(kernel_size if stride is None else stride),
            padding=_kept(padding),
            dilation=_kept(dilation),
            ceil_mode=check_flag(name, "ceil_mode", ceil_mode),
        )
        self.return_indices = check_flag(name, "return_indices", return_indices)
        self._check()

    @_folded
    def forward(self, input: Any) -> Any:
        """Choose the largest of each window; of equals the first, and NaN before all.

        Parameters
        ----------
        input : Tensor, shape (N, C, *sizes) or (C, *sizes)

        Returns
        -------
        Tensor, shape (N, C, *places) or (C, *places)
            With `return_indices` a pair: the other, int64, has the flat positions in the plane.

        Raises
        ------
        ValueError
            If it has another number of axes, or is too short.
        TypeError
            If it is not floating.
        """
        name = type(self).__name__
        value = _floating_samples(name, input, self._axes)
        windows = self._windows(value)
        raw, indices = _largest(value._data, windows)
        plan = _Plan(name, windows, indices)
        output: Tensor = record(
            name,
            lambda _: raw,
            lambda node, grad: (_placed(grad, node.config),),
            (value,),
            config=plan,
        )
        return (output, wrap(indices)) if self.return_indices else output


class MaxPool1d(_MaxPool):
    """The largest of each window along an axis.

    Source: the page of torch.nn.MaxPool1d.

    Parameters
    ----------
    kernel_size : int or tuple of int
        How many places a window has.
    stride : int or tuple of int, optional
        How far apart windows begin; the kernel's size unless given.
    padding : int or tuple of int
        How many places of -inf stand at both ends, at most half of the kernel's size.
    dilation : int or tuple of int
        How far apart the places of a window lie.
    return_indices : bool
        Whether the result is a pair, with where in the sample's channel each stands.
    ceil_mode : bool
        Whether a window may reach beyond the end.

    Raises
    ------
    ValueError
        That names an argument that does not fit.
    TypeError
        If one is of another kind.
    """

    _axes = 1


class MaxPool2d(_MaxPool):
    """The largest of each window over two axes; a number stands for both.

    Source: the page of torch.nn.MaxPool2d. Parameters and errors are those of `MaxPool1d`.
    """

    _axes = 2


class _AvgPool(_Pool):
    """The mean of each window over `_axes` axes."""

    count_include_pad: bool
    divisor_override: int | None = None

    def _begin(self, ceil_mode: Any, count_include_pad: Any) -> None:
        name = type(self).__name__
        self.ceil_mode = check_flag(name, "ceil_mode", ceil_mode)
        self.count_include_pad = check_flag(name, "count_include_pad", count_include_pad)
        self._check()

    @_folded
    def forward(self, input: Any) -> Tensor:
        """Form the mean of each window.

        Parameters
        ----------
        input : Tensor, shape (N, C, *sizes) or (C, *sizes)

        Returns
        -------
        Tensor, shape (N, C, *places) or (C, *places)

        Raises
        ------
        ValueError
            If it has another number of axes, or is too short.
        TypeError
            If it is not floating.
        """
        name = type(self).__name__
        value = _floating_samples(name, input, self._axes)
        rest = None, self.count_include_pad, self.divisor_override or 0
        output: Tensor = _mean(value, _Plan(name, self._windows(value), *rest))
        return output


class AvgPool1d(_AvgPool):
    """The mean of each window along an axis.

    Source: the page of torch.nn.AvgPool1d.

    Parameters
    ----------
    kernel_size : int or tuple of int
        How many places a window has.
    stride : int or tuple of int, optional
        How far apart windows begin; the kernel's size unless given.
    padding : int or tuple of int
        How many zeros stand at both ends, at most half of the kernel's size.
    ceil_mode : bool
        Whether a window may reach beyond the end.
    count_include_pad : bool
        Whether the padding's places count in the divisor.

    Raises
    ------
    ValueError
        That names an argument that does not fit.
    TypeError
        If one is of another kind.
    """

    _axes = 1

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        given = {
            "kernel_size": kernel_size,
            "stride": kernel_size if stride is None else stride,
            "padding": padding,
        }
        super().__init__(
            **{
                key: by_axis("AvgPool1d", key, part, 1, key != "padding")
                for key, part in given.items()
            }
        )
        self._begin(ceil_mode, count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window over two axes; a number stands for both.

    Source: the page of torch.nn.AvgPool2d.

    Parameters
    ----------
    kernel_size, stride, padding, ceil_mode, count_include_pad
        As for `AvgPool1d`.
    divisor_override : int, optional
        What sums are divided by instead, not 0.

    Raises
    ------
    ValueError
        That names an argument that does not fit.
    TypeError
        If one is of another kind.
    """

    _axes = 2

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__(
            kernel_size=_kept(kernel_size),
            stride=_kept(kernel_size if stride is None else stride),
            padding=_kept(padding),
        )
        self._begin(ceil_mode, count_include_pad)
        if divisor_override is not None:
            divisor_override = check_int("AvgPool2d", "divisor_override", divisor_override)
            if divisor_override == 0:  # nn-22
                msg = "AvgPool2d: divisor_override must not be 0, got 0"
                raise ValueError(msg)
        self.divisor_override = divisor_override


class AdaptiveAvgPool2d(Layer):
    """The mean of so many windows as are wanted.

    Source: the page of torch.nn.AdaptiveAvgPool2d.

    Parameters
    ----------
    output_size : int, None or a pair of them
        How many windows there are: window i of n goes from ``floor(i L / n)`` to
        ``ceil((i + 1) L / n)`` of L places. None: as many as the input has places.

    Raises
    ------
    ValueError
        If there are other than two numbers, or one is not positive.
    TypeError
        If one is of another kind.
    """

    output_size: Any

    def __init__(self, output_size: Any) -> None:
        super().__init__(output_size=_kept(output_size))
        self._wanted((1, 1))

    def _wanted(self, sizes: Sizes) -> Sizes:
        """Return how many windows there are, for sizes that stand for None."""
        given = self.output_size
        pair = given if isinstance(given, tuple) else (given, given)
        if len(pair) != 2:
            msg = f"AdaptiveAvgPool2d: output_size must be one number or 2, got {shown(given)}"
            raise ValueError(msg)
        filled = tuple(s if part is None else part for s, part in zip(sizes, pair, strict=True))
        return by_axis("AdaptiveAvgPool2d", "output_size", filled, 2)

    @_folded
    def forward(self, input: Any) -> Tensor:
        """Form the mean of each window.

        Parameters
        ----------
        input : Tensor, shape (N, C, H, W) or (C, H, W)

        Returns
        -------
        Tensor, shape (N, C, *output_size) or (C, *output_size)

        Raises
        ------
        ValueError
            If it has another number of axes, or an axis without a place.
        TypeError
            If it is not floating.
        """
        name = "AdaptiveAvgPool2d"
        value = _floating_samples(name, input, 2)
        sizes = value.shape[value.ndim - 2 :]
        if min(sizes) < 1:
            msg = f"{name}: input must have at least one place, got shape {value.shape}"
            raise ValueError(msg)
        none = (0, 0)
        windows = Windows(sizes, self._wanted(sizes), none, none, none, none)
        output: Tensor = _mean(value, _Plan(name, windows))
        return output
