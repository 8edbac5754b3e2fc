"""What convolutions and pools share: sizes by axis, what stands outside, and windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import as_ints, shown
from impl_cupy.launch import launch
from impl_cupy.ops.indexing import take
from impl_cupy.recording import as_tensor

Sizes = tuple[int, ...]

# By the words of torch, how NumPy extends the positions of an axis.
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def by_axis(operation: str, argument: str, value: Any, axes: int, least: int = 1) -> Sizes:
    """Return a number for each axis, of a number or of a sequence of them.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If there are other than `axes` numbers, or one is below `least`.
    """
    sizes = as_ints(operation, argument, value)
    many = sizes if isinstance(value, (tuple, list)) else sizes * axes
    if len(many) != axes:
        msg = f"{operation}: {argument} must be one number or {axes}, got {shown(value)}"
        raise ValueError(msg)
    if min(many) < least or max(many) >= 2**31:
        wanted = "positive" if least else "0 or more"
        msg = f"{operation}: {argument} must be {wanted}, got {shown(value)}"
        raise ValueError(msg)
    return many


def as_samples(operation: str, input: Any, axes: int) -> Any:
    """Return a floating Tensor (N, C, *sizes), or (C, *sizes), with so many axes behind C.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If it has another number of axes.
    """
    value = as_tensor(operation, input)
    if value.ndim not in (axes + 1, axes + 2):
        wanted = ", ".join(("C", *"HW"[2 - axes :])) if axes == 2 else "C, L"
        msg = f"{operation}: input must have shape (N, {wanted}) or ({wanted}), got {value.shape}"
        raise ValueError(msg)
    return value


@dataclass(frozen=True)
class Windows:
    """Windows over one axis or two: window t begins at ``stride t - front``."""

    sizes: Sizes
    places: Sizes
    kernel: Sizes
    stride: Sizes
    front: Sizes
    dilation: Sizes

    def numbers(self) -> list[int]:
        """Return what kernels get, for two axes: an axis of length 1 stands before a single one."""
        mine = self.sizes, self.places, self.kernel, self.stride, self.front, self.dilation
        before = [1, 1, 1, 1, 0, 1] if len(self.sizes) == 1 else []
        return before + [part[axis] for axis in range(len(self.sizes)) for part in mine]


def count_places(
    size: int, pads: tuple[int, int], kernel: int, stride: int, dilation: int, ceil: bool = False
) -> int:
    """Return how many windows fit an axis and its padding, none or less where it is too short."""
    room = size + sum(pads) - dilation * (kernel - 1) - 1
    if not ceil:
        return room // stride + 1
    places = -(-room // stride) + 1
    # A window that begins behind the input and the padding in front does not count (nn-21).
    return places - 1 if (places - 1) * stride >= size + pads[0] else places


def extend(operation: str, value: Any, pads: list[tuple[int, int]], mode: str) -> Any:
    """Put what `mode` says before and behind the last axes of a Tensor; gradients find back.

    Raises
    ------
    ValueError
        That names the mode and both lengths, where the axis is too short for it (nn-18).
    """
    for place, pair in enumerate(pads):
        axis = value.ndim - len(pads) + place
        size = value.shape[axis]
        most = {"reflect": size - 1, "circular": size}.get(mode, math.inf if size else 0)
        if max(pair) > most:
            msg = (
                f"{operation}: padding_mode {mode!r} must have a padding of at most {most} for an "
                f"axis of size {size}, got {max(pair)}"
            )
            raise ValueError(msg)
        if any(pair):
            positions: Any = np.pad(np.arange(size), pair, mode=MODES[mode])  # type: ignore[call-overload]
            value = take(value, positions, axis=axis)
    return value


def unfold(raw: Any, windows: Windows) -> Any:
    """Return a column for each window: (N, C, *sizes) becomes (C * kernel, N * places)."""
    raw = cp.ascontiguousarray(raw)
    samples, channels = raw.shape[:2]
    count = samples * math.prod(windows.places)
    columns = cp.empty((channels * math.prod(windows.kernel), count), dtype=raw.dtype)
    sizes = (samples, channels, *windows.numbers())
    launch("window", "unfold", raw.dtype, channels * count, raw, columns, *sizes)
    return columns


def fold(columns: Any, bias: Any, samples: int, windows: Windows) -> Any:
    """Add the elements of columns up where `unfold` took them from: (N, C, *sizes).

    `bias`, shape (C,) or None, is added.
    """
    channels = len(columns) // math.prod(windows.kernel)
    out = cp.empty((samples, channels, *windows.sizes), dtype=columns.dtype)
    given = columns if bias is None else cp.ascontiguousarray(bias)
    sizes = (samples, channels, *windows.numbers())
    arrays = cp.ascontiguousarray(columns), given, out
    launch("window", "fold", out.dtype, out.size, *arrays, bias is not None, *sizes)
    return out
