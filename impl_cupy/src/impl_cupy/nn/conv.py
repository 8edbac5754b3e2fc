"""Convolutions and their transposes: windows are columns of a matrix, and one product does it.

Three functions, each linear in both of its operands, are one another's derivatives: `correlate` is
the convolution, `spread` its transpose, and `gather` the gradient of both to the weight. The
columns are not kept for the way back, but made again.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, check_choice, check_flag, check_positive_int, shown
from impl_cupy.dtypes import DTypeLike
from impl_cupy.memory import lent
from impl_cupy.nn.layer import Layer, uniform
from impl_cupy.nn.window import (
    MODES,
    Sizes,
    Windows,
    as_samples,
    by_axis,
    count_places,
    extend,
    fold,
    unfold,
)
from impl_cupy.ops.manipulation import reshape
from impl_cupy.recording import OpNode, compute, is_wanted
from impl_cupy.slices import deepest, in_one_batch
from impl_cupy.sums import product
from impl_cupy.tape import Recorded, at_edge, edge_of, keep, vmapped, wrap
from impl_cupy.tensor import Tensor


class _Plan(NamedTuple):
    """What a convolution knows beside its operands; the weight is (rows, columns, *kernel)."""

    name: str
    windows: Windows
    groups: int
    weight: Sizes


def _bilinear(function: Callable[..., Any], rule: Any) -> Callable[..., Any]:
    """Make ``function(first, second, bias, plan)`` one of raw arrays and of Tensors."""

    def operation(first: Any, second: Any, bias: Any, plan: _Plan) -> Any:
        if isinstance(first, cp.ndarray):
            return function(first, second, bias, plan)
        operands = first, second, bias
        if vmapped and deepest(operands):
            return in_one_batch(operation, *operands, plan)
        raws = tuple(part._data if isinstance(part, Recorded) else part for part in operands)
        out = compute(plan.name, lambda *given: function(*given, plan), raws)
        if not is_wanted(operands):
            return wrap(out)
        edges = tuple(edge_of(part) for part in operands)
        one, two = (first, second) if lent else raws[:2]
        kept = keep(one, 1) if edges[1] else None, keep(two, 1) if edges[0] else None
        return at_edge(out, (OpNode(plan.name, edges, rule, kept, None, plan), 0))

    return operation


def _correlate_raw(x: Any, weight: Any, bias: Any, plan: _Plan) -> Any:
    """Convolve `x`, (N, C, *sizes), to (N, O, *places)."""
    return _from_columns(_columns(x, plan), weight, bias, plan)


def _spread_raw(y: Any, weight: Any, bias: Any, plan: _Plan) -> Any:
    """Take `y`, (N, O, *places), back to (N, C, *sizes)."""
    return _from_rows(_rows(y, plan), weight, bias, plan)


def _gather_raw(x: Any, y: Any, _: Any, plan: _Plan) -> Any:
    """Return the sum over all windows of `x` of their products with `y`: a weight."""
    return _gathered(_columns(x, plan), _rows(y, plan), plan)


def _columns(x: Any, plan: _Plan) -> Any:
    """Return the windows of `x`: kernels by N * places."""
    return _by_group(unfold(x, plan.windows), plan)


def _rows(y: Any, plan: _Plan) -> Any:
    """Return (N, O, *places) as O by N * places."""
    rows = cp.ascontiguousarray(y.swapaxes(0, 1))
    return _by_group(rows.reshape(plan.weight[0], len(y) * math.prod(plan.windows.places)), plan)


def _by_group(matrix: Any, plan: _Plan) -> Any:
    """Part the rows of a matrix; a single one is left flat, as it is transposed without a copy."""
    groups, (rows, columns) = plan.groups, matrix.shape
    return matrix if groups == 1 else matrix.reshape(groups, rows // groups, columns)


def _from_columns(columns: Any, weight: Any, bias: Any, plan: _Plan) -> Any:
    rows, places = plan.weight[0], plan.windows.places
    made = product(_by_group(weight.reshape(rows, -1), plan), columns)
    samples = columns.shape[-1] // math.prod(places)
    made = made.reshape(rows, samples, *places).swapaxes(0, 1)
    out = cp.empty(made.shape, dtype=made.dtype)
    if bias is None:
        out[...] = made
        return out
    return cp.add(made, bias.reshape(rows, *(1,) * len(places)), out=out)


def _from_rows(rows: Any, weight: Any, bias: Any, plan: _Plan) -> Any:
    matrix, count = _by_group(weight.reshape(plan.weight[0], -1), plan), rows.shape[-1]
    columns = product(matrix.swapaxes(-1, -2), rows)
    columns = columns.reshape(plan.groups * math.prod(plan.weight[1:]), count)
    return fold(columns, bias, count // math.prod(plan.windows.places), plan.windows)


def _gathered(columns: Any, rows: Any, plan: _Plan) -> Any:
    if plan.groups == 1:
        return product(rows, columns.T).reshape(plan.weight)
    # Several matrices are copied to be turned; the rows are fewer.
    made = product(columns, rows.swapaxes(-1, -2))
    return made.swapaxes(-1, -2).reshape(plan.weight)


def _to_bias(node: Any, grad: Any) -> Any:
    return node.xp.sum(grad, axis=(0, *range(2, grad.ndim))) if node.edges[2] else None


def _correlate_back(node: Any, grad: Any) -> tuple[Any, ...]:
    (x, weight), plan, (first, second, _) = node.inputs, node.config, node.edges
    if isinstance(grad, cp.ndarray):
        rows = _rows(grad, plan)
        to_x = _from_rows(rows, weight, None, plan) if first else None
        return to_x, second and _gathered(_columns(x, plan), rows, plan), _to_bias(node, grad)
    to_x = spread(grad, weight, None, plan) if first else None
    return to_x, second and gather(x, grad, None, plan), _to_bias(node, grad)


def _spread_back(node: Any, grad: Any) -> tuple[Any, ...]:
    (y, weight), plan, (first, second, _) = node.inputs, node.config, node.edges
    if isinstance(grad, cp.ndarray):
        columns = _columns(grad, plan)
        to_y = _from_columns(columns, weight, None, plan) if first else None
        return to_y, second and _gathered(columns, _rows(y, plan), plan), _to_bias(node, grad)
    to_y = correlate(grad, weight, None, plan) if first else None
    return to_y, second and gather(grad, y, None, plan), _to_bias(node, grad)


def _gather_back(node: Any, grad: Any) -> tuple[Any, ...]:
    (x, y), plan, (first, second, _) = node.inputs, node.config, node.edges
    to_x = spread(y, grad, None, plan) if first else None
    return to_x, second and correlate(x, grad, None, plan), None


correlate = _bilinear(_correlate_raw, _correlate_back)
spread = _bilinear(_spread_raw, _spread_back)
gather = _bilinear(_gather_raw, _gather_back)


def _usual(axes: int) -> dict[str, Any]:
    """Return the options that `repr` leaves out."""
    none = (0,) * axes
    usual = {"padding": none, "dilation": (1,) * axes, "output_padding": none}
    return {**usual, "groups": 1, "bias": True, "padding_mode": "zeros"}


class _Convolution(Layer):
    """What all four have: channels in groups, and windows; arguments are checked here (nn-19)."""

    _axes: ClassVar[int]
    _words: ClassVar[tuple[str, ...]] = ()
    """What `padding` may be beside numbers."""
    _bare = ("in_channels", "out_channels")

    in_channels: int
    out_channels: int
    kernel_size: Sizes
    stride: Sizes
    padding: Any
    dilation: Sizes
    groups: int
    padding_mode: str

    def __init__(
        self,
        channels: dict[str, Any],
        sizes: dict[str, Any],
        groups: Any,
        bias: Any,
        mode: Any,
        dtype: DTypeLike,
    ) -> None:
        name = type(self).__name__
        counts = {key: check_positive_int(name, key, count) for key, count in channels.items()}
        groups = check_positive_int(name, "groups", groups)
        for argument, count in counts.items():
            if count % groups:
                msg = f"{name}: {argument} must be divisible by groups={groups}, got {count}"
                raise ValueError(msg)
        checked = {argument: self._by_axis(argument, value) for argument, value in sizes.items()}
        check_choice(name, "padding_mode", mode, tuple(MODES))
        bias = check_flag(name, "bias", bias)
        super().__init__(dtype, **counts, **checked, groups=groups, bias=bias, padding_mode=mode)

    def _by_axis(self, argument: str, value: Any) -> Any:
        name = type(self).__name__
        if argument == "padding" and self._words and isinstance(value, str):
            check_choice(name, argument, value, self._words)
            return value
        return by_axis(name, argument, value, self._axes, 0 if "padding" in argument else 1)

    def _weights(self, rows: int, columns: int, bias: bool) -> None:
        """Draw a weight (rows, columns / groups, *kernel), and a bias (nn-02)."""
        shape = (rows, columns // self.groups, *self.kernel_size)
        draw = uniform(1 / math.sqrt(math.prod(shape[1:])))
        self._parameter("weight", shape, draw)
        self._parameter("bias", (self.out_channels,), draw, bias)

    def _samples(self, input: Any) -> tuple[Any, bool]:
        """Return an input with a batch, and whether it came with one (nn-19)."""
        name, axes = type(self).__name__, self._axes
        value = as_samples(name, input, axes)
        channels = value.shape[-axes - 1]
        if channels != self.in_channels:
            msg = (
                f"{name}: input must have in_channels = {self.in_channels} channels, got "
                f"{channels} in shape {value.shape}"
            )
            raise ValueError(msg)
        self._check_parameters(value.dtype)
        has_batch = value.ndim == axes + 2
        return value if has_batch else reshape(value, (1, *value.shape)), has_batch

    def _plan(self, sizes: Sizes, places: Sizes, front: Sizes) -> _Plan:
        windows = Windows(sizes, places, self.kernel_size, self.stride, front, self.dilation)
        return _Plan(type(self).__name__, windows, self.groups, self.weight.shape)


class _Conv(_Convolution):
    """The cross-correlation over `_axes` axes; the docstrings of its kinds say it all."""

    _words = ("valid", "same")

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
        dtype: DTypeLike = None,
    ) -> None:
        channels = {"in_channels": in_channels, "out_channels": out_channels}
        sizes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
        }
        super().__init__(channels, sizes, groups, bias, padding_mode, dtype)
        if self.padding == "same" and max(self.stride) > 1:
            msg = f"{type(self).__name__}: padding='same' must have stride 1, got stride={stride}"
            raise ValueError(msg)
        self._weights(self.out_channels, self.in_channels, bias)

    def _pads(self) -> list[tuple[int, int]]:
        """Return how much stands before and behind each axis."""
        if self.padding == "same":
            wanted = zip(self.dilation, self.kernel_size, strict=True)
            lengths = [dilation * (kernel - 1) for dilation, kernel in wanted]
            return [(length // 2, length - length // 2) for length in lengths]  # nn-17
        if self.padding == "valid":
            return [(0, 0)] * self._axes
        return [(length, length) for length in self.padding]

    def forward(self, input: Any) -> Tensor:
        """Convolve `input`, shape (N, in_channels, *sizes) or without N.

        Raises
        ------
        ValueError
            If it has another number of axes or channels, or is too short.
        TypeError
            If the dtype is not the parameters'.
        """
        name, pads = type(self).__name__, self._pads()
        value, has_batch = self._samples(input)
        if self.padding_mode != "zeros":
            value = extend(name, value, pads, self.padding_mode)
            pads = [(0, 0)] * self._axes
        sizes = value.shape[2:]
        room = tuple(size + sum(pair) for size, pair in zip(sizes, pads, strict=True))
        rest = zip(sizes, pads, self.kernel_size, self.stride, self.dilation, strict=True)
        places = tuple(count_places(*part) for part in rest)
        if min(places) < 1:  # nn-19
            each = zip(self.kernel_size, self.dilation, strict=True)
            least = tuple(dilation * (kernel - 1) + 1 for kernel, dilation in each)
            msg = f"{name}: input with its padding must have at least {least} places, got {room}"
            raise ValueError(msg)
        plan = self._plan(sizes, places, tuple(pair[0] for pair in pads))
        output: Tensor = correlate(value, self.weight, self.bias, plan)
        return output if has_batch else reshape(output, output.shape[1:])


class Conv1d(_Conv):
    """Slide kernels along an axis: ``bias[o] + sum weight[o, c, k] x[n, c, s t + d k - p]``.

    Source: the page of torch.nn.Conv1d.

    Parameters
    ----------
    in_channels, out_channels : int
        Sizes of the axis behind N before and after.
    kernel_size, stride, dilation : int or tuple of int
        How many places a window has, how far apart windows and places lie.
    padding : int, tuple of int, "valid" or "same"
        How much stands before and behind; "same" keeps the size, with stride 1.
    groups : int
        Parts of the channels, of which each sees its own alone.
    bias : bool
        Whether there is one.
    padding_mode : {"zeros", "reflect", "replicate", "circular"}
        What stands outside.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (out_channels, in_channels / groups, *kernel_size)
        Uniform in ``[-k, k)``, k one by the root of the product of its sizes but the first.
    bias : Parameter or None, shape (out_channels,)
        Likewise.

    Raises
    ------
    ValueError
        That names an argument that does not fit.
    TypeError
        If one is of another kind.
    """

    _axes = 1
    _usual: ClassVar[dict[str, Any]] = _usual(1)


class Conv2d(_Conv):
    """Slide kernels over two axes; a number stands for both.

    Source: the page of torch.nn.Conv2d. Parameters, attributes and errors are those of `Conv1d`.
    """

    _axes = 2
    _usual: ClassVar[dict[str, Any]] = _usual(2)


class _ConvTranspose(_Convolution):
    """The transpose of `_Conv`."""

    output_padding: Sizes

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
        dtype: DTypeLike = None,
    ) -> None:
        name = type(self).__name__
        channels = {"in_channels": in_channels, "out_channels": out_channels}
        sizes = {
            "kernel_size": kernel_size,
            "stride": stride,
            "padding": padding,
            "dilation": dilation,
            "output_padding": output_padding,
        }
        if not isinstance(padding_mode, str) or padding_mode != "zeros":  # nn-20
            msg = f"{name}: padding_mode must be 'zeros', got {shown(padding_mode)}"
            raise ValueError(msg)
        super().__init__(channels, sizes, groups, bias, padding_mode, dtype)
        for more, *bounds in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if more >= max(bounds):
                msg = (
                    f"{name}: output_padding must be smaller than stride={self.stride} or "
                    f"dilation={self.dilation}, got {self.output_padding}"
                )
                raise ValueError(msg)
        self._weights(self.in_channels, self.out_channels, bias)

    def _sizes(self, shape: Sizes, output_size: Any) -> Sizes:
        """Return the sizes of the result for an input's shape."""
        name, places = type(self).__name__, shape[-self._axes :]
        rest = zip(places, self.stride, self.padding, self.dilation, self.kernel_size, strict=True)
        least = tuple((t - 1) * s - 2 * p + d * (k - 1) + 1 for t, s, p, d, k in rest)
        sizes = tuple(map(sum, zip(least, self.output_padding, strict=True)))
        if output_size is not None:
            wanted = as_ints(name, "output_size", output_size)
            sizes = wanted[-self._axes :]
            most = tuple(low + s - 1 for low, s in zip(least, self.stride, strict=True))
            fits = len(wanted) in (self._axes, len(shape)) and all(
                low <= size <= high for low, size, high in zip(least, sizes, most, strict=True)
            )
            if not fits:  # nn-20
                msg = f"{name}: output_size must be from {least} to {most}, got {wanted}"
                raise ValueError(msg)
        if min(sizes) < 1:  # nn-20
            msg = (
                f"{name}: padding {self.padding} must leave the result a place, got sizes {sizes} "
                f"for shape {shape}"
            )
            raise ValueError(msg)
        return sizes

    def forward(self, input: Any, output_size: Any = None) -> Tensor:
        """Take `input`, shape (N, in_channels, *places) or without N, back to what made it.

        `output_size`, the sizes of the result's last axes or of all, stands for `output_padding`.

        Raises
        ------
        ValueError
            If it has another number of axes or channels, `output_size` cannot be reached, or
            nothing is left.
        TypeError
            If the dtype is not the parameters'.
        """
        value, has_batch = self._samples(input)
        shape = value.shape if has_batch else value.shape[1:]
        sizes = self._sizes(shape, output_size)
        plan = self._plan(sizes, value.shape[2:], self.padding)
        output: Tensor = spread(value, self.weight, self.bias, plan)
        return output if has_batch else reshape(output, output.shape[1:])


class ConvTranspose1d(_ConvTranspose):
    """What the gradient of `Conv1d` to its input makes of the input, plus a bias.

    Source: the page of torch.nn.ConvTranspose1d.

    Parameters
    ----------
    in_channels, out_channels : int
        Sizes of the axis behind N before and after.
    kernel_size, stride, padding, dilation : int or tuple of int
        Those of the convolution.
    output_padding : int or tuple of int
        How much longer the result is than the shortest that fits.
    groups : int
        Parts of the channels, of which each sees its own alone.
    bias : bool
        Whether there is one.
    padding_mode : {"zeros"}
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (in_channels, out_channels / groups, *kernel_size)
    bias : Parameter or None, shape (out_channels,)
        Drawn as those of `Conv1d`.

    Raises
    ------
    ValueError
        That names an argument that does not fit.
    TypeError
        If one is of another kind.
    """

    _axes = 1
    _usual: ClassVar[dict[str, Any]] = _usual(1)


class ConvTranspose2d(_ConvTranspose):
    """What the gradient of `Conv2d` to its input makes of the input, plus a bias.

    Source: the page of torch.nn.ConvTranspose2d. Parameters, attributes and errors are those of
    `ConvTranspose1d`.
    """

    _axes = 2
    _usual: ClassVar[dict[str, Any]] = _usual(2)
