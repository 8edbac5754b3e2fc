"""Pools: the largest or the mean of windows. The letters in shapes are those of `window`.

A mean is taken along one axis after the other: a window's sum is the sum of its rows' sums. What an
axis adds is a list of pairs of slices, what and where to; the gradient goes the same ways back.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np

from impl_numpy.batched import every
from impl_numpy.checks import check_flag, check_int
from impl_numpy.dtypes import Array, Shape, Value, int64
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.window import (
    FORMS,
    Windows,
    framed,
    like_input,
    per_axis,
    reach,
    tap,
    with_batch,
)
from impl_numpy.recording import OUT, Grads, Primitive, quiet, raw
from impl_numpy.recording import unary as record_unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, wrap

Pairs = tuple[tuple[slice, slice], ...]


def _largest(x: Array, windows: Windows) -> Array:
    """Return the largest of each window; NaN is larger than all (nn-21)."""
    whole, best = framed(x, windows.before, windows.after, -math.inf), None
    for place in np.ndindex(windows.kernel):
        part = whole[tap(windows, place, windows.counts)]
        best = part.copy() if best is None else np.maximum(best, part, out=best)
    assert best is not None
    return best


@quiet
def _places(x: Array, best: Array, windows: Windows) -> Array:
    """Return where the largest stand, flat within a channel, of equals the first; -1 for none."""
    whole = framed(x, windows.before, windows.after, -math.inf)
    counts = windows.counts
    found = np.full_like(best, -1, int64)
    undefined = np.count_nonzero(every(best != best)) > 0
    for place in reversed(list(np.ndindex(windows.kernel))):
        part = whole[tap(windows, place, counts)]
        flat, inside = _flat(windows, place)
        here = part == best
        if undefined:
            here |= part != part
        if inside is not None:
            here &= inside
        np.copyto(found, flat, where=here)
    return found


def _flat(windows: Windows, place: Shape) -> tuple[Array, Array | None]:
    """Return the flat position of one place in all windows, and whether it is within the input."""
    flat, inside = np.zeros((), int64), np.ones((), bool)
    axes = zip(*windows, place, windows.counts, strict=True)
    for size, _, stride, dilation, before, _, k, count in axes:
        along = np.arange(count) * stride + (dilation * k - before)
        flat = flat[..., None] * size + along
        inside = inside[..., None] & (along >= 0) & (along < size)
    return flat, None if inside.all() else inside


def _spread(grad: Array, found: Array, shape: Shape) -> Array:
    """Add numbers where they came from, in an array of this shape that is 0 elsewhere."""
    size = math.prod(shape[2:])
    rows = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    flat, weights = (rows * size + found).ravel(), grad.ravel()
    somewhere = found.ravel() >= 0
    if not somewhere.all():
        flat, weights = flat[somewhere], weights[somewhere]
    # In float64, in which the few that meet lose nothing.
    added = np.bincount(flat, weights, math.prod(shape))
    return added.astype(grad.dtype, copy=False).reshape(shape)


def _gather(x: Array, found: Array, _shape: Shape) -> Array:
    """Return the numbers at places that were found."""
    flat, index = x.reshape(*x.shape[:2], -1), found.reshape(*found.shape[:2], -1)
    taken = np.take_along_axis(flat, np.maximum(index, 0), 2)
    return np.where(index >= 0, taken, taken.dtype.type(0)).reshape(found.shape)


def _largest_vjp(grad: Value, _needs: Parents, x: Value, out: Value, windows: Windows) -> Grads:
    values = raw(x)
    return (_spreading(grad, _places(values, raw(out), windows), values.shape),)


def _spread_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_gathering(grad, *config),)


def _gather_vjp(grad: Value, _needs: Parents, _x: None, _out: None, *config: Any) -> Grads:
    return (_spreading(grad, *config),)


_max_pools = {
    axes: Primitive(f"MaxPool{axes}d", _largest, _largest_vjp, ((0, OUT),)) for axes in FORMS
}
_spreading = Primitive("max_pool", _spread, _spread_vjp)
_gathering = Primitive("max_pool", _gather, _gather_vjp)


class Means(NamedTuple):
    """What is added along each axis, from a size to a count, and what the sums are divided by."""

    sizes: Shape
    counts: Shape
    pairs: tuple[Pairs, ...]
    divisor: Array


def _mean(x: Array, means: Means) -> Array:
    for axis, (count, pairs) in enumerate(zip(means.counts, means.pairs, strict=True), 2):
        lead = (slice(None),) * axis
        added = np.zeros((*x.shape[:axis], count, *x.shape[axis + 1 :]), x.dtype)
        for source, target in pairs:
            part, place = x[(*lead, source)], added[(*lead, target)]
            place += part if part.shape == place.shape else total(part, (axis,), True)
        x = added
    return np.divide(x, means.divisor, x)


def _share(grad: Array, means: Means) -> Array:
    x = grad / means.divisor
    for axis, (size, pairs) in enumerate(zip(means.sizes, means.pairs, strict=True), 2):
        lead = (slice(None),) * axis
        added = np.zeros((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype)
        for source, target in pairs:
            added[(*lead, source)] += x[(*lead, target)]
        x = added
    return x


def _mean_vjp(grad: Value, _needs: Parents, _x: None, _out: None, means: Means) -> Grads:
    return (_sharing(grad, means),)


def _share_vjp(grad: Value, _needs: Parents, _x: None, _out: None, means: Means) -> Grads:
    return (_averaging(grad, means),)


_averaging = Primitive("avg_pool", _mean, _mean_vjp)
_sharing = Primitive("avg_pool", _share, _share_vjp)


def _pairs(size: int, starts: Array, stops: Array, stride: int) -> Pairs:
    """Return what to add for windows from starts to stops; stride 0: at no regular distance."""
    count, longest = len(starts), int((stops - starts).max())
    if not stride or count < longest:
        bounds = zip(np.maximum(starts, 0).tolist(), np.minimum(stops, size).tolist(), strict=True)
        return tuple([(slice(*b), slice(i, i + 1)) for i, b in enumerate(bounds)])
    pairs = []
    for first in range(int(starts[0]), int(starts[0]) + longest):
        least = max(0, -(first // stride))
        most = min(count - 1, (size - 1 - first) // stride)
        if least <= most:
            source = slice(first + least * stride, first + most * stride + 1, stride)
            pairs.append((source, slice(least, most + 1)))
    return tuple(pairs)


def _outer(lengths: list[Array], dtype: Any) -> Array:
    """Return the products of numbers, one for each axis."""
    product = np.ones((), dtype)
    for along in lengths:
        product = product[..., None] * along.astype(dtype)
    return product


class _Pool(Layer):
    """What pools share: arguments and their checks."""

    _axes: ClassVar[int]
    # Whether an int is kept as a tuple.
    _tuples: ClassVar[bool] = False
    _shown: ClassVar[tuple[str, ...]] = ("kernel_size=", "stride=", "padding=")

    def __init__(self, kernel_size: Any, stride: Any, padding: Any, **options: Any) -> None:
        owner, axes = type(self).__name__, self._axes
        stride = kernel_size if stride is None else stride
        given = {"kernel_size": kernel_size, "stride": stride, "padding": padding}
        if "dilation" in options:
            given["dilation"] = options.pop("dilation")
        sizes = {k: per_axis(owner, k, v, axes, int(k != "padding")) for k, v in given.items()}
        if any([2 * p > k for p, k in zip(sizes["padding"], sizes["kernel_size"], strict=True)]):
            most = f"half of kernel_size = {kernel_size}"
            msg = f"{owner}: padding must be at most {most}, got {padding}"  # nn-22
            raise ValueError(msg)
        kept = {
            name: sizes[name] if self._tuples or isinstance(value, (tuple, list)) else int(value)
            for name, value in given.items()
        }
        for name in {"return_indices", "ceil_mode", "count_include_pad"} & set(options):
            options[name] = check_flag(owner, name, options[name])
        super().__init__(**kept, **options)

    def _windows(self, x: Tensor) -> Windows:
        """Return where the windows lie in an input (nn-21)."""
        owner, axes = type(self).__name__, self._axes
        names = ("kernel_size", "stride", "padding")
        kernel, stride, padding = [
            per_axis(owner, name, getattr(self, name), axes, 0) for name in names
        ]
        dilation = per_axis(owner, "dilation", getattr(self, "dilation", 1), axes)
        counts, after = [], []
        spans = zip(x.shape[2:], reach(kernel, dilation), stride, padding, strict=True)
        for size, span, step, p in spans:
            rest = size + 2 * p - span
            count = (-(-rest // step) if self.ceil_mode else rest // step) + 1
            if (count - 1) * step >= size + p:
                count -= 1
            counts.append(count)
            after.append((count - 1) * step + span - size - p)
        if min(counts) < 1:
            msg = (
                f"{owner}: input must have a place for a window of kernel_size {self.kernel_size}, "
                f"with padding {self.padding}, got {x.shape}"
            )
            raise ValueError(msg)
        return Windows(x.shape[2:], kernel, stride, dilation, padding, tuple(after))


def _sample(pool: Layer, input: Any, axes: int) -> Tensor:
    """Return an input that is floating, with its batch."""
    owner = type(pool).__name__
    x = with_batch(owner, pool._input(input), axes)
    if x.dtype.kind != "f":
        msg = f"{owner}: input must be float32 or float64, got {x.dtype}; cast with astype"
        raise TypeError(msg)
    return x


class _MaxPool(_Pool):
    """The largest of each window."""

    _shown = ("kernel_size=", "stride=", "padding=", "dilation=", "ceil_mode=")

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__(
            kernel_size,
            stride,
            padding,
            dilation=dilation,
            return_indices=return_indices,
            ceil_mode=ceil_mode,
        )

    def forward(self, input: Any) -> Any:
        """Return the largest of each window, and where it stands if `return_indices` says so.

        Parameters
        ----------
        input : floating Tensor, shape (N, C, ...) or (C, ...)

        Returns
        -------
        Tensor, or a pair of Tensors, the second of int64
            A position counts the places of the sample's channel in C order.

        Raises
        ------
        ValueError
            If the input has other axes, or no place for a window.
        TypeError
            If it is not floating.
        """
        x = _sample(self, input, self._axes)
        windows, batch = self._windows(x), input.ndim == x.ndim
        y = record_unary(_max_pools[self._axes], x, (windows,))
        if not self.return_indices:
            return like_input(y, batch)
        found = wrap(_places(x._data, y._data, windows), None)
        return like_input(y, batch), like_input(found, batch)


class MaxPool1d(_MaxPool):
    """Take the largest of each window along an axis (torch.nn.MaxPool1d).

    NaN counts as largest. The gradient goes to the largest, of equals to the first.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of int
        Windows of `kernel_size` places, `dilation` apart, start every `stride` places (None: the
        kernel's size) of the input with `padding` places of -inf at both ends, at most half a
        kernel.
    return_indices : bool
        Return the positions too.
    ceil_mode : bool
        Let the last window stand out at the end.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    _axes = 1


class MaxPool2d(_MaxPool):
    """Take the largest of each window along two axes (torch.nn.MaxPool2d).

    All is as in `MaxPool1d`, with a number for each axis.

    Parameters
    ----------
    kernel_size, stride, padding, dilation : int or tuple of int
    return_indices, ceil_mode : bool
    """

    _axes = 2


class _AvgPool(_Pool):
    """The mean of each window."""

    def forward(self, input: Any) -> Tensor:
        """Return the mean of each window.

        Parameters
        ----------
        input : floating Tensor, shape (N, C, ...) or (C, ...)

        Returns
        -------
        Tensor, of as many axes

        Raises
        ------
        ValueError
            If the input has other axes, or no place for a window.
        TypeError
            If it is not floating.
        """
        x = _sample(self, input, self._axes)
        windows = self._windows(x)
        pairs, lengths = [], []
        for size, kernel, stride, _, p, _, count in zip(*windows, windows.counts, strict=True):
            starts = np.arange(count) * stride - p
            pairs.append(_pairs(size, starts, starts + kernel, stride))
            # nn-23
            least, most = (-p, size + p) if self.count_include_pad else (0, size)
            lengths.append(np.minimum(starts + kernel, most) - np.maximum(starts, least))
        override = getattr(self, "divisor_override", None)
        divisor = _outer(lengths, x.dtype) if override is None else np.array(override, x.dtype)
        means = Means(windows.sizes, windows.counts, tuple(pairs), divisor)
        return like_input(record_unary(_averaging, x, (means,)), input.ndim == x.ndim)


class AvgPool1d(_AvgPool):
    """Take the mean of each window along an axis (torch.nn.AvgPool1d).

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of int
        Windows start every `stride` places (None: the kernel's size) of the input with `padding`
        zeros at both ends, at most half a kernel.
    ceil_mode : bool
        Let the last window stand out at the end.
    count_include_pad : bool
        Divide by the number of a window's places in the input and its padding; with False, by that
        of those in the input.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range.
    """

    _axes = 1
    _tuples = True

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(
            kernel_size, stride, padding, ceil_mode=ceil_mode, count_include_pad=count_include_pad
        )


class AvgPool2d(_AvgPool):
    """Take the mean of each window along two axes (torch.nn.AvgPool2d).

    All is as in `AvgPool1d`, with a number for each axis.

    Parameters
    ----------
    kernel_size, stride, padding : int or tuple of int
    ceil_mode, count_include_pad : bool
    divisor_override : int, optional
        What to divide by instead; not 0.
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
        if divisor_override is not None:
            divisor_override = check_int("AvgPool2d", "divisor_override", divisor_override)
        if divisor_override == 0:  # nn-22
            msg = f"AvgPool2d: divisor_override must not be 0, got {divisor_override}"
            raise ValueError(msg)
        super().__init__(
            kernel_size,
            stride,
            padding,
            ceil_mode=ceil_mode,
            count_include_pad=count_include_pad,
            divisor_override=divisor_override,
        )


class AdaptiveAvgPool2d(Layer):
    """Take the mean of so many windows along two axes that a size results.

    Window i of n goes from floor(i L / n) to, excluded, ceil((i + 1) L / n). Source:
    torch.nn.AdaptiveAvgPool2d.

    Parameters
    ----------
    output_size : int, None, or a tuple of two of these
        None is the size of the input.

    Raises
    ------
    TypeError, ValueError
        If it is none of these, or a size is not positive.
    """

    _shown = ("output_size=",)

    def __init__(self, output_size: Any) -> None:
        several = isinstance(output_size, (tuple, list))
        given = tuple(output_size) if several else (output_size,) * 2
        sizes = tuple([1 if n is None else n for n in given])
        per_axis("AdaptiveAvgPool2d", "output_size", sizes, 2)
        super().__init__(output_size=given if several else output_size)

    def forward(self, input: Any) -> Tensor:
        """Return the mean of each window, of an input (N, C, H, W) or (C, H, W).

        Raises
        ------
        ValueError
            If the input has other axes, or one without a place.
        TypeError
            If it is not floating.
        """
        x = _sample(self, input, 2)
        sizes = x.shape[2:]
        if min(sizes) < 1:
            msg = f"AdaptiveAvgPool2d: input must have places to take the mean of, got {x.shape}"
            raise ValueError(msg)
        wanted = (
            self.output_size if isinstance(self.output_size, tuple) else (self.output_size,) * 2
        )
        counts = tuple([n if m is None else int(m) for m, n in zip(wanted, sizes, strict=True)])
        pairs, lengths = [], []
        for size, count in zip(sizes, counts, strict=True):
            i = np.arange(count)
            starts, stops = i * size // count, -(-(i + 1) * size // count)
            pairs.append(_pairs(size, starts, stops, 0 if size % count else size // count))
            lengths.append(stops - starts)
        means = Means(sizes, counts, tuple(pairs), _outer(lengths, x.dtype))
        return like_input(record_unary(_averaging, x, (means,)), input.ndim == x.ndim)
