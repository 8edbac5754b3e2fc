"""What convolutions and pools share: sizes per axis, the input, paddings and windows."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import Option, check_int, shown
from impl_torch_ext.nn.layer import check_input

__all__ = ["check_sample", "padded", "per_axis", "spread", "windows"]


def per_axis(axes: int, least: int, keeps: bool = False, free: bool = False) -> Option:
    """Make a check of an int, or of one for each axis.

    Parameters
    ----------
    axes : int
        How many there are.
    least : int
        The smallest int that is taken.
    keeps : bool
        Whether one int stays one; it is repeated for each axis otherwise.
    free : bool
        Whether None may take the place of an int.
    """
    kind = ("a positive int" if least else "an int of at least 0") + " or None" * free
    wanted = f"{kind}, or {axes} of them"

    def single(name: str, option: str, value: Any) -> int | None:
        if free and value is None:
            return None
        number = check_int(name, option, value)
        if number < least:
            raise ValueError
        return number

    def check(name: str, option: str, value: Any) -> Any:
        several = isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0
        if several and not isinstance(value, str | bytes | dict):
            value = tuple(value)
        items = value if isinstance(value, tuple) else (value,)
        try:
            sizes = tuple(single(name, option, item) for item in items)
            if isinstance(value, tuple) and len(value) != axes:
                raise ValueError
        except (TypeError, ValueError) as error:  # nn-19, nn-22
            msg = f"{name}: {option} must be {wanted}, got {shown(value)}"
            raise type(error)(msg) from None
        if isinstance(value, tuple):
            return sizes
        return sizes[0] if keeps else sizes * axes

    return check


def spread(value: Any, axes: int) -> tuple[Any, ...]:
    """Return what `per_axis` kept as one value for each axis."""
    return value if isinstance(value, tuple) else (value,) * axes


def check_sample(
    name: str, x: Any, axes: int, channels: int | None, dtype: torch.dtype | None
) -> Tensor:
    """Return `x`, or raise if it has not the shape (N, C, *) or (C, *), or another dtype."""
    batched = getattr(x, "ndim", 0) != axes + 1
    first = "C" if channels is None else "in_channels"
    text = f"({'N, ' * batched}{first}, {('L', 'H, W')[axes - 1]})"
    shape = (None,) * batched + (channels,) + (None,) * axes
    return check_input(name, "input", x, shape, text, dtype)


def windows(
    name: str, x: Tensor, options: Sequence[Sequence[int]], ceil_mode: bool = False
) -> list[int]:
    """Return how many windows each of the last axes has.

    Parameters
    ----------
    name : str
        The layer, for the message.
    x : Tensor
        The input.
    options : sequence
        The kernel's size, the stride, the places of padding in all and the dilation of each axis.
    ceil_mode : bool
        Whether a window may reach beyond the padding behind.

    Raises
    ------
    ValueError
        If there is none along an axis, or no place in the input.
    """
    sizes, counts, reaches = tuple(x.shape[-len(options) :]), [], []
    for size, (kernel, stride, padding, dilation) in zip(sizes, options, strict=True):
        reaches.append(dilation * (kernel - 1) + 1)
        steps = size + padding - reaches[-1]
        count = (-(-steps // stride) if ceil_mode else steps // stride) + 1  # nn-17
        # nn-21: none starts beyond the input and the padding in front.
        late = ceil_mode and (count - 1) * stride >= size + padding // 2
        counts.append(count - 1 if late else count)
    if min(counts) < 1 or min(sizes) < 1:  # nn-19, nn-22
        widths = tuple(each[2] for each in options)
        msg = (
            f"{name}: input must have places, and with its padding, {widths}, be at least as "
            f"long as the kernel, {tuple(reaches)}, got sizes {sizes} of shape {tuple(x.shape)}"
        )
        raise ValueError(msg)
    return counts


def padded(name: str, x: Tensor, pads: Sequence[tuple[int, int]], mode: str) -> Tensor:
    """Return (N, C, *) or (C, *) with places before and after those along each axis.

    Raises
    ------
    ValueError
        If an axis is too short for the mode.
    """
    sizes = x.shape[-len(pads) :]
    for size, pair in zip(sizes, pads, strict=True):
        if max(pair) > size - (mode == "reflect") and mode in ("reflect", "circular"):
            most = "less than" if mode == "reflect" else "at most"
            msg = (  # nn-18
                f"{name}: padding of padding_mode {mode!r} must be {most} the size of the axis, "
                f"{size}, got {max(pair)}"
            )
            raise ValueError(msg)
    flat = [width for pair in reversed(pads) for width in pair]
    if mode == "zeros":
        return torch.constant_pad_nd(x, flat)
    batch = x if x.ndim == len(pads) + 2 else x.unsqueeze(0)
    return torch.nn.functional.pad(batch, flat, mode).reshape(
        *x.shape[: -len(pads)], *(s + a + b for s, (a, b) in zip(sizes, pads, strict=True))
    )
