"""What convolutions and pools share: sizes for each axis, padding modes, counts of windows.

N batch, C channels; the axes behind them are those that windows move along.
"""

from typing import Any

import jax.numpy as jnp

from ..checks import Shape, check_int, refuse
from ..recording import as_operand, shape_of
from .layer import Layer

Array = Any
Pairs = tuple[tuple[int, int], ...]

# The name of each mode, and what jax.numpy calls it.
MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_LETTERS = {1: "L", 2: "H, W"}


def sizes_for(name: str, argument: str, value: Any, axes: int, least: int = 1) -> Shape:
    """Return a size for each axis, given as one int for all or as a sequence.

    Raises
    ------
    TypeError
        If a size is no int.
    ValueError
        If there are more sizes than axes, or fewer, or one is below `least`.
    """
    kind = "positive" if least == 1 else f"at least {least}"
    each = "an int" if axes == 1 else f"an int or {axes} ints"
    given = value if isinstance(value, list | tuple) else (value,) * axes
    sizes = tuple([check_int(name, argument, size, f"{each}, {kind}") for size in given])
    if len(sizes) != axes or not all([least <= size < 2**40 for size in sizes]):  # nn-19
        refuse(name, argument, f"{each}, {kind}", tuple(given) if given is value else sizes[0])
    return sizes


def kept(value: Any, sizes: Shape) -> Any:
    """Return sizes as torch's pools keep them: one int as it came, several as a tuple."""
    return sizes if isinstance(value, list | tuple) else sizes[0]


def spread(sizes: Any, axes: int) -> Shape:
    """Return what `kept` returned as a size for each axis."""
    return tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,) * axes


def extents(kernel: Shape, dilation: Shape) -> Shape:
    """Return how long windows are, from their first place to their last."""
    return tuple([d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)])


def counts(lengths: Shape, extent: Shape, stride: Shape, padding: Pairs, ceil: bool) -> Shape:
    """Return the number of windows along each axis; `ceil` counts a last one that is not whole."""
    found = []
    for size, k, s, (front, back) in zip(lengths, extent, stride, padding, strict=True):
        rest = size + front + back - k
        count = (rest + (s - 1 if ceil else 0)) // s + 1
        # nn-21: no window begins beyond the input and the padding in front.
        found.append(count - 1 if ceil and (count - 1) * s >= size + front else count)
    return tuple(found)


def padded(mode: str, padding: Pairs, x: Array) -> Array:
    """Return x, whose last axes are padded in a mode; gradients go to where values came from."""
    rest = x.ndim - len(padding)
    return jnp.pad(x, ((0, 0),) * rest + padding, mode=MODES[mode]) if any(map(any, padding)) else x


class Windowed(Layer):
    """What moves windows along the last `_axes` axes."""

    _axes: int

    def _sizes(self, least: int = 1, **given: Any) -> list[Shape]:
        """Check arguments that are sizes, each for every axis."""
        name = type(self).__name__
        return [sizes_for(name, key, value, self._axes, least) for key, value in given.items()]

    def _sample(self, input: Any, channels: int | None = None) -> tuple[Any, Shape]:
        """Return an input (N, C, *) or (C, *) of the right dtype, and its sizes *, or raise."""
        name, axes = type(self).__name__, self._axes
        x = as_operand(name, input)
        shape = shape_of(x)
        there = channels is None or shape[-axes - 1 : -axes] == (channels,)
        if len(shape) not in (axes + 1, axes + 2) or not there:  # nn-19, nn-22
            letters = _LETTERS[axes]
            of = "" if channels is None else f" with C = in_channels = {channels}"
            refuse(name, "input", f"of shape (N, C, {letters}) or (C, {letters}){of}", shape)
        self._of_dtype("input", x)
        return x, shape[-axes:]


def check_padding(name: str, mode: str, padding: Pairs, lengths: Shape) -> None:
    """Raise `ValueError` where a mode does not reach as far as the padding."""
    for pair, size in zip(padding, lengths, strict=True):
        far = max(pair) if size or mode == "zeros" else 0
        most = {"reflect": size - 1, "circular": size}.get(mode, far)
        if max(pair) > most:  # nn-18
            wanted = f"at most {most} for padding_mode {mode!r} and an axis of {size}"
            refuse(name, "padding", wanted, max(pair))
