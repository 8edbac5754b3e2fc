"""What layers share: options, parameters, checks of the input, `repr`, and the norm of rows."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import check_floating_dtype, check_same_dtype, check_sizes
from impl_cupy.creation import rounded
from impl_cupy.dtypes import DTypeLike, float64
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.module import Module
from impl_cupy.ops.elementwise import sqrt, square
from impl_cupy.ops.manipulation import reshape
from impl_cupy.ops.reduction import mean
from impl_cupy.parameter import Parameter
from impl_cupy.recording import as_tensor
from impl_cupy.slices import by_slices, deepest
from impl_cupy.sums import total
from impl_cupy.tape import vmapped
from impl_cupy.tensor import Tensor

WARP = 32
"""How many threads of a GPU own a row of a norm together."""
Draw = Callable[[tuple[int, ...]], "np.ndarray[Any, np.dtype[Any]]"]


def each_slice(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a Module's method run once for each slice under `vmap`, parameters and buffers too."""

    @functools.wraps(forward)
    def called(self: Any, *args: Any, **kwargs: Any) -> Any:
        if vmapped:
            entries = [
                entries
                for _, part in self._walk("")
                for entries in (part._parameters, part._buffers)
            ]
            if level := deepest(entries, args, kwargs):
                return by_slices(_exchanged, (forward, self, entries, args, kwargs), {}, level)
        return forward(self, *args, **kwargs)

    return called


def _exchanged(
    forward: Callable[..., Any],
    module: Module,
    values: list[dict[str, Any]],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Call a method with these values in the place of parameters and buffers."""
    places = [
        entries for _, part in module._walk("") for entries in (part._parameters, part._buffers)
    ]
    originals = [dict(entries) for entries in places]
    # Others than slices are the Module's own: only functional_call puts slices there.
    is_exchanged = any(
        new[key] is not own[key] for new, own in zip(values, originals, strict=True) for key in own
    )
    if not is_exchanged:
        return forward(module, *args, **kwargs)
    try:
        for entries, new in zip(places, values, strict=True):
            entries.update(new)
        return forward(module, *args, **kwargs)
    finally:
        for entries, own in zip(places, originals, strict=True):
            entries.update(own)


class Layer(Module):
    """A Module with options.

    Parameters
    ----------
    dtype : dtype, optional
        float32 or float64, that of the parameters; float32 unless given.
    **options : object
        The constructor's other arguments, checked. They become attributes, and `repr` shows them.

    Raises
    ------
    TypeError
        If `dtype` is no floating dtype; nothing is drawn then.
    """

    _bare: ClassVar[tuple[str, ...]] = ()
    """The options that `repr` shows without their names."""

    _usual: ClassVar[dict[str, Any]] = {}
    """The options that `repr` leaves out where they have these values."""

    def __init__(self, dtype: DTypeLike = None, **options: Any) -> None:
        super().__init__()
        self._dtype = check_floating_dtype(type(self).__name__, dtype)
        self._options = options
        self._shapes: dict[str, tuple[int, ...]] = {}
        for name, value in options.items():
            setattr(self, name, value)

    def _parameter(
        self, name: str, shape: tuple[int, ...], draw: Draw, present: bool = True
    ) -> None:
        """Register a Parameter drawn on the host, or None if it is not `present`."""
        # An option that says whether a parameter is there gives way to it.
        check_sizes(type(self).__name__, shape)
        self._shapes[name] = shape
        self.__dict__.pop(name, None)
        drawn = Parameter(rounded(draw(shape), self._dtype)) if present else None
        self.register_parameter(name, drawn)

    def _input(self, input: Any, axes: str, sizes: tuple[int, ...], argument: str = "input") -> Any:
        """Check an input whose last axes have these sizes and the parameters' dtype.

        Raises
        ------
        TypeError
            If it is no array, or of another dtype.
        ValueError
            If its last axes have other sizes.
        """
        name = type(self).__name__
        value = as_tensor(name, input)
        if value.ndim < len(sizes) or value.shape[value.ndim - len(sizes) :] != sizes:
            wanted = ", ".join(map(str, sizes))
            msg = (
                f"{name}: {argument} must have shape (*, {axes}) = (*, {wanted}), got {value.shape}"
            )
            raise ValueError(msg)
        self._check_parameters(value.dtype, argument)
        return value

    def _check_parameters(self, dtype: np.dtype[Any], argument: str = "input") -> None:
        """Refuse an input of another dtype than the parameters' (nn-03).

        Parameters may have been replaced, and kernels read as many elements as they should have.

        Raises
        ------
        TypeError
            If a dtype is another one.
        ValueError
            If a parameter has another shape than it was made with.
        """
        shapes = self._shapes
        for name, parameter in self._parameters.items():
            if parameter is None:
                continue
            raw = parameter._data
            if raw.dtype != dtype:
                check_same_dtype(type(self).__name__, argument, dtype, raw.dtype)
            if name in shapes and raw.shape != shapes[name]:
                msg = (
                    f"{type(self).__name__}: {name} must have shape {shapes[name]}, got {raw.shape}"
                )
                raise ValueError(msg)

    def extra_repr(self) -> str:
        """Show the options."""
        shown = []
        for name, value in self._options.items():
            now = value if name in self._parameters else getattr(self, name)
            if name in self._bare:
                shown.append(f"{now}")
            elif name not in self._usual or self._usual[name] != now:
                shown.append(f"{name}={now}")
        return ", ".join(shown)


def uniform(bound: float) -> Draw:
    """Draw from ``[-bound, bound)``."""
    return lambda shape: random.uniform(shape, -bound, bound)


def constant(value: float) -> Draw:
    """Draw nothing: every element is `value`."""
    return lambda shape: np.full(shape, float(value))


def normal(shape: tuple[int, ...]) -> np.ndarray[Any, np.dtype[Any]]:
    """Draw from the standard normal distribution."""
    return random.normal(shape)


class Rows(NamedTuple):
    """What is normalized together: the last `axes` of `shape`.

    Of (N, channels, spatial), the input's other shape, a channel has one weight; `groups` of them
    make a row each. With 1 and 1 a row has a weight for each element.
    """

    shape: tuple[int, ...]
    axes: int
    groups: int = 1
    spatial: int = 1

    @property
    def width(self) -> int:
        """How many elements a row has."""
        return math.prod(self.shape[len(self.shape) - self.axes :])

    def by_weight(self, weight: Any) -> tuple[int, int, int]:
        """Return the shape in which the middle axis has the weights."""
        count = math.prod(self.shape[: len(self.shape) - self.axes])
        return count // self.groups, math.prod(weight.shape), self.spatial


class NormFunction(Function):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` over rows: one kernel each way.

    Inputs: x, weight and bias or None; without a weight there is no bias. Unless `is_centered` the
    mean stays, and the squares are those of x.
    """

    _is_ours = True

    @staticmethod
    def forward(
        ctx: Any, x: Any, weight: Any, bias: Any, *, rows: Rows, eps: float, is_centered: bool
    ) -> Any:
        """Normalize; sums are formed in double."""
        width, x = rows.width, cp.ascontiguousarray(x)
        y, count = cp.empty(x.shape, dtype=x.dtype), x.size // width
        moments = cp.empty((count, 2), dtype=float64)
        given = [x if part is None else cp.ascontiguousarray(part) for part in (weight, bias)]
        flags = (weight is not None, bias is not None, is_centered, eps)
        sizes = rows.groups, rows.spatial, width
        launch("norm", "norm_forward", x.dtype, WARP * count, x, *given, y, moments, *flags, *sizes)
        ctx.save_for_backward(x, weight, moments)
        ctx.rows, ctx.is_centered = rows, is_centered
        return y

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, ...]:
        """Form the rows' gradients, and add up those of the parameters."""
        x, weight, moments = ctx.saved_tensors
        rows, grad = ctx.rows, cp.ascontiguousarray(grad)
        to_x, parts, given = cp.empty_like(x), x, x
        if weight is not None:
            parts, given = cp.empty_like(x), cp.ascontiguousarray(weight)
        arrays = (x, given, moments, grad, to_x, parts, weight is not None, ctx.is_centered)
        sizes = rows.groups, rows.spatial, rows.width
        launch("norm", "norm_backward", x.dtype, WARP * len(moments), *arrays, *sizes)
        made = [
            total(part.reshape(rows.by_weight(weight)), axis=(0, 2)).reshape(weight.shape)
            if wanted
            else None
            for part, wanted in zip((parts, grad), ctx.needs_input_grad[1:], strict=True)
        ]
        return to_x, *made

    @staticmethod
    def composite(
        x: Tensor, weight: Any, bias: Any, *, rows: Rows, eps: float, is_centered: bool
    ) -> Tensor:
        """Do the same on Tensors."""
        over = tuple(range(-rows.axes, 0))
        is_plain = x.shape == rows.shape
        value = x if is_plain else reshape(x, rows.shape)
        if is_centered:
            value = value - mean(value, axis=over, keepdims=True)
        output = value / sqrt(mean(square(value), axis=over, keepdims=True) + eps)
        if is_plain:
            output = output if weight is None else output * weight
            return output if bias is None else output + bias
        if weight is not None:
            output = reshape(output, rows.by_weight(weight)) * reshape(weight, (-1, 1))
            output = output if bias is None else output + reshape(bias, (-1, 1))
        return reshape(output, x.shape)
