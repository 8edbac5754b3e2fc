"""Pools: the largest or the mean of windows. The letters in shapes are those of `window`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from impl_numpy.checks import check_flag, check_int
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.pooled import Means, added_pairs, averaging, max_pools, outer, places_of
from impl_numpy.nn.window import Windows, like_input, per_axis, reach, with_batch
from impl_numpy.recording import unary as record_unary
from impl_numpy.tensor import Tensor, wrap


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
        y = record_unary(max_pools[self._axes], x, (windows,))
        if not self.return_indices:
            return like_input(y, batch)
        found = wrap(places_of(x._data, y._data, windows), None)
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
            pairs.append(added_pairs(size, starts, starts + kernel, stride))
            # nn-23
            least, most = (-p, size + p) if self.count_include_pad else (0, size)
            lengths.append(np.minimum(starts + kernel, most) - np.maximum(starts, least))
        override = getattr(self, "divisor_override", None)
        divisor = outer(lengths, x.dtype) if override is None else np.array(override, x.dtype)
        means = Means(windows.sizes, windows.counts, tuple(pairs), divisor)
        return like_input(record_unary(averaging, x, (means,)), input.ndim == x.ndim)


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
            pairs.append(added_pairs(size, starts, stops, 0 if size % count else size // count))
            lengths.append(stops - starts)
        means = Means(sizes, counts, tuple(pairs), outer(lengths, x.dtype))
        return like_input(record_unary(averaging, x, (means,)), input.ndim == x.ndim)
