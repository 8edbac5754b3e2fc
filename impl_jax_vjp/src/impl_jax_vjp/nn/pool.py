"""Pools: the largest, or the mean, of each window.

N batch, C channels; windows move along the axes behind them.
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import Shape, check_flag, check_int, refuse
from ..ops import formulas as F
from ..ops.lookups import counter
from ..recording import Primitive, shape_of
from ..tensor import Tensor
from .window import Pairs, Windowed, counts, extents, kept, sizes_for, spread

Array = Any

# Up to so many places of a window are written out in a program, and more are a loop in it.
_WRITTEN = 16


class _Plan(NamedTuple):
    """What is fixed in a compiled pool; `results` are the numbers of windows."""

    kernel: Shape
    stride: Shape
    padding: Shape
    dilation: Shape
    results: Shape


def _along(plan: _Plan, at: int, axis: int, value: Array, place: Array) -> tuple[Array, Array]:
    """Return the largest of windows along one axis, and its place; -1 stands for none."""
    k, s, p, d = (part[at] for part in plan[:4])
    count = plan.results[at]
    behind = (count - 1) * s + d * (k - 1) + 1 - value.shape[axis] - p
    gaps = [(0, 0, 0)] * value.ndim
    gaps[axis] = (p, behind, 0)
    value = lax.pad(value, np.array(-np.inf, value.dtype), gaps)
    place = lax.pad(place, np.array(-1, place.dtype), gaps)

    def cut(array: Array, step: Any) -> Array:
        part = lax.dynamic_slice_in_dim(array, step * d, (count - 1) * s + 1, axis)
        return lax.slice_in_dim(part, 0, part.shape[axis], s, axis)

    def further(step: Any, best: tuple[Array, Array]) -> tuple[Array, Array]:
        v, i = cut(value, step), cut(place, step)
        # nn-21: the first of equals, NaN before all numbers, and what is outside never.
        wins = (v > best[0]) | ((v != v) & (best[0] == best[0])) | (best[1] < 0)
        wins &= i >= 0
        return jnp.where(wins, v, best[0]), jnp.where(wins, i, best[1])

    first = cut(value, 0), cut(place, 0)
    return lax.fori_loop(1, k, further, first, unroll=k <= _WRITTEN)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _largest(plan: _Plan, x: Array) -> tuple[Array, Array]:
    """Return the largest of each window, and its place in C order within the sample's channel."""
    lengths = x.shape[x.ndim - len(plan.kernel) :]
    size = math.prod(lengths)
    places = np.arange(size).reshape(lengths)
    value, place = x, jnp.broadcast_to(jnp.asarray(places, counter(size)), x.shape)
    # Along the last axis first: among equals in several rows the first row is chosen.
    for at in reversed(range(len(lengths))):
        value, place = _along(plan, at, x.ndim - len(lengths) + at, value, place)
    return value, place


@_largest.defjvp
def _largest_jvp(plan: _Plan, primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    value, place = _largest(plan, x)
    axes = len(plan.kernel)
    lead, size = x.shape[: x.ndim - axes], math.prod(x.shape[x.ndim - axes :])
    flat = dx.reshape(*lead, size)
    at = jnp.where(place < 0, size, place).reshape(*lead, math.prod(plan.results))
    found = jnp.take_along_axis(flat, at, -1, mode="fill", fill_value=0)
    return (value, place), (found.reshape(value.shape), np.zeros(place.shape, jax.dtypes.float0))


def _maxima(plan: _Plan, indices: bool, x: Array) -> Any:
    value, place = _largest(plan, x)
    return (value, place.astype(jnp.int64)) if indices else value


def _means(plan: _Plan, count_padding: bool, divisor: int | None, x: Array) -> Array:
    lead = (1,) * (x.ndim - len(plan.kernel))
    windows = list(zip(plan.kernel, plan.stride, plan.padding, plan.results, strict=True))
    lengths = x.shape[len(lead) :]
    gaps, held = [(0, 0)] * len(lead), np.ones((), x.dtype)
    for size, (k, s, p, count) in zip(lengths, windows, strict=True):
        gaps.append((p, max(p, (count - 1) * s + k - size - p)))
        starts = np.arange(count) * s - p
        outer = p if count_padding else 0
        ends = np.minimum(starts + k, size + outer)
        held = held[..., None] * (ends - np.maximum(starts, -outer)).astype(x.dtype)
    total = lax.reduce_window(
        x, np.zeros((), x.dtype), lax.add, (*lead, *plan.kernel), (*lead, *plan.stride), gaps
    )
    return total / (held if divisor is None else np.array(divisor, x.dtype))


def _adapted(results: Shape, x: Array) -> Array:
    for at, count in enumerate(results):
        axis = x.ndim - len(results) + at
        size = x.shape[axis]
        if size % count == 0:
            parts = (*x.shape[:axis], count, size // count, *x.shape[axis + 1 :])
            x = jnp.mean(x.reshape(parts), axis + 1)
            continue
        # nn-23: window i goes from floor(i L / n) to, excluded, ceil((i + 1) L / n).
        starts = np.arange(count) * size // count
        ends = -(-np.arange(1, count + 1) * size // count)
        places = starts[:, None] + np.arange((ends - starts).max())
        shape = [1] * axis + [*places.shape] + [1] * (x.ndim - axis - 1)
        inside = (places < ends[:, None]).reshape(shape)
        found = jnp.take(x, np.minimum(places, size - 1), axis)
        x = jnp.sum(jnp.where(inside, found, 0), axis + 1)
        x = x / (ends - starts).astype(x.dtype).reshape([-1] + [1] * (x.ndim - axis - 1))
    return x


_MAX = {axes: Primitive(_maxima, f"MaxPool{axes}d") for axes in (1, 2)}
_MEAN = {axes: Primitive(_means, f"AvgPool{axes}d", F.nothing) for axes in (1, 2)}
_adaptive = Primitive(_adapted, "AdaptiveAvgPool2d", F.nothing)


class _Pool(Windowed):
    """The sizes that pools share."""

    kernel_size: Any
    stride: Any
    padding: Any
    dilation: Any = 1
    ceil_mode: bool

    def _take(self, kernel_size: Any, stride: Any, padding: Any, ceil_mode: Any) -> None:
        """Check and keep the sizes as torch does, and the way to count windows."""
        name = type(self).__name__
        stride = kernel_size if stride is None else stride
        kernel, steps = self._sizes(kernel_size=kernel_size, stride=stride)
        (outer,) = self._sizes(0, padding=padding)
        if any([2 * p > k for p, k in zip(outer, kernel, strict=True)]):  # nn-22
            refuse(name, "padding", f"at most half of kernel_size {kept(kernel_size, kernel)}",
                   kept(padding, outer))  # fmt: skip
        self.kernel_size, self.stride = kept(kernel_size, kernel), kept(stride, steps)
        self.padding = kept(padding, outer)
        self.ceil_mode = check_flag(name, "ceil_mode", ceil_mode)

    def _plan(self, input: Any) -> tuple[Any, _Plan]:
        """Return an input that was checked, and how windows move along it."""
        x, lengths = self._sample(input)
        sizes = (self.kernel_size, self.stride, self.padding, self.dilation)
        kernel, stride, padding, dilation = [spread(size, self._axes) for size in sizes]
        pairs: Pairs = tuple([(p, p) for p in padding])
        extent = extents(kernel, dilation)
        results = counts(lengths, extent, stride, pairs, self.ceil_mode)
        if min(*lengths, *results) < 1:  # nn-22
            wanted = f"long enough for a window of {extent} with a padding of {padding}"
            refuse(type(self).__name__, "input", wanted, shape_of(x))
        return x, _Plan(kernel, stride, padding, dilation, results)


class _MaxPool(_Pool):
    """The largest of each window."""

    _options = ("kernel_size=", "stride=", "padding=", "dilation=", "ceil_mode=")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        self._take(kernel_size, stride, padding, ceil_mode)
        self.dilation = kept(dilation, *self._sizes(dilation=dilation))
        self.return_indices = check_flag(type(self).__name__, "return_indices", return_indices)

    def forward(self, input: Any) -> Any:
        """Map shape (N, C, *) or (C, *) to the numbers of windows behind the channels.

        Returns
        -------
        Tensor, or a tuple of two
            The largest of each window, and its place, int64, where `return_indices` asks for it.

        Raises
        ------
        ValueError
            If there is another number of axes, or no window.
        TypeError
            If the input is not floating.
        """
        x, plan = self._plan(input)
        return _MAX[self._axes]((x,), plan, self.return_indices)


class _AvgPool(_Pool):
    """The mean of each window."""

    _options = ("kernel_size=", "stride=", "padding=")
    count_include_pad: bool

    def _mean(self, input: Any, divisor: int | None) -> Tensor:
        x, plan = self._plan(input)
        made: Tensor = _MEAN[self._axes]((x,), plan, self.count_include_pad, divisor)
        return made

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, C, *) or (C, *) to the numbers of windows behind the channels.

        Raises
        ------
        ValueError
            If there is another number of axes, or no window.
        TypeError
            If the input is not floating.
        """
        return self._mean(input, getattr(self, "divisor_override", None))


class AvgPool1d(_AvgPool):
    """The mean of each window along one axis (the page of ``torch.nn.AvgPool1d``).

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        `kernel_size` by default.
    padding : int
        Zeros at both ends, at most half of `kernel_size`.
    ceil_mode : bool
        Whether a last window counts that is not whole.
    count_include_pad : bool
        Whether the padding counts in the divisor.

    Raises
    ------
    ValueError
        If a size is not positive, or the padding negative or too large.
    TypeError
        If a size is no int.
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
        super().__init__()
        self._take(kernel_size, stride, padding, ceil_mode)
        self.kernel_size, self.stride = spread(self.kernel_size, 1), spread(self.stride, 1)
        self.padding = spread(self.padding, 1)
        self.count_include_pad = check_flag("AvgPool1d", "count_include_pad", count_include_pad)


class AvgPool2d(_AvgPool):
    """The mean of each window along two axes (the page of ``torch.nn.AvgPool2d``).

    Parameters
    ----------
    kernel_size : int or tuple of two ints
    stride : int or tuple of two ints, optional
        `kernel_size` by default.
    padding : int or tuple of two ints
        Zeros at both ends, at most half of `kernel_size`.
    ceil_mode : bool
        Whether a last window counts that is not whole.
    count_include_pad : bool
        Whether the padding counts in the divisor.
    divisor_override : int, optional
        What the sum is divided by instead.

    Raises
    ------
    ValueError
        If a size is not positive, the padding negative or too large, or the divisor 0.
    TypeError
        If a size is no int.
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
        super().__init__()
        self._take(kernel_size, stride, padding, ceil_mode)
        self.count_include_pad = check_flag("AvgPool2d", "count_include_pad", count_include_pad)
        if divisor_override is not None:
            divisor_override = check_int("AvgPool2d", "divisor_override", divisor_override)
            if divisor_override == 0:  # nn-22
                refuse("AvgPool2d", "divisor_override", "another number than 0", divisor_override)
        self.divisor_override = divisor_override


class AdaptiveAvgPool2d(Windowed):
    """The mean of as many windows as are asked for (the page of ``torch.nn.AdaptiveAvgPool2d``).

    Window i of n goes from ``floor(i L / n)`` to, excluded, ``ceil((i + 1) L / n)``.

    Parameters
    ----------
    output_size : int, or tuple of two ints or None
        The numbers of windows; None for as many as the input has places.

    Raises
    ------
    ValueError
        If a number is not positive, or there are not two.
    TypeError
        If one is neither int nor None.
    """

    _axes = 2
    _options = ("output_size=",)

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        given = output_size if isinstance(output_size, list | tuple) else (output_size,) * 2
        filled = [1 if size is None else size for size in given]
        try:
            sizes = sizes_for("AdaptiveAvgPool2d", "output_size", filled, 2)
        except ValueError:
            refuse("AdaptiveAvgPool2d", "output_size", "a positive int or two", output_size)
        pairs = zip(given, sizes, strict=True)
        wanted = tuple([None if size is None else known for size, known in pairs])
        self.output_size = wanted if given is output_size else wanted[0]

    def forward(self, input: Any) -> Tensor:
        """Map shape (N, C, H, W) or (C, H, W) to (N, C, *output_size) or without N.

        Raises
        ------
        ValueError
            If there is another number of axes, or one of size 0.
        TypeError
            If the input is not floating.
        """
        x, lengths = self._sample(input)
        if 0 in lengths:
            refuse("AdaptiveAvgPool2d", "input", "of no axis of size 0 behind C", shape_of(x))
        wanted = spread(self.output_size, 2)
        pairs = zip(wanted, lengths, strict=True)
        made: Tensor = _adaptive((x,), tuple([size or length for size, length in pairs]))
        return made


class MaxPool1d(_MaxPool):
    """The largest of each window along one axis (the page of ``torch.nn.MaxPool1d``).

    Parameters
    ----------
    kernel_size : int
    stride : int, optional
        `kernel_size` by default.
    padding : int
        Places that are never chosen, at both ends, at most half of `kernel_size`.
    dilation : int
        The distance between the places of a window.
    return_indices : bool
        Whether the places of what was chosen are returned too.
    ceil_mode : bool
        Whether a last window counts that is not whole.

    Raises
    ------
    ValueError
        If a size is not positive, or the padding negative or too large.
    TypeError
        If a size is no int.
    """

    _axes = 1


class MaxPool2d(_MaxPool):
    """The largest of each window along two axes (the page of ``torch.nn.MaxPool2d``).

    Parameters
    ----------
    kernel_size : int or tuple of two ints
    stride : int or tuple of two ints, optional
        `kernel_size` by default.
    padding : int or tuple of two ints
        Places that are never chosen, at both ends, at most half of `kernel_size`.
    dilation : int or tuple of two ints
        The distance between the places of a window.
    return_indices : bool
        Whether the places of what was chosen are returned too, in C order within a channel.
    ceil_mode : bool
        Whether a last window counts that is not whole.

    Raises
    ------
    ValueError
        If a size is not positive, or the padding negative or too large.
    TypeError
        If a size is no int.
    """

    _axes = 2
