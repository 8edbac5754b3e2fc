"""Elements moved to other places, repeated or padded, and arrays brought to one shape."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_choice,
    check_int,
    check_number,
    check_shape,
    check_tensor,
    normalize_axes,
    normalize_axis,
    shapes_of,
    shown,
)
from impl_torch_ext.creation import copied
from impl_torch_ext.dtypes import plain_number
from impl_torch_ext.ops.families import listed, operands, shape
from impl_torch_ext.tensor import chosen_along, index_array
from impl_torch_ext.tracing import is_sliced

__all__ = [
    "broadcast_arrays",
    "broadcast_shapes",
    "flip",
    "meshgrid",
    "moveaxis",
    "pad",
    "repeat",
    "roll",
    "tile",
    "tril",
    "triu",
    "unstack",
]

_MISFIT = {"ValueError": "If the shapes do not fit.", "TypeError": "If an operand is no Tensor."}


@shape("Tensor, the shape of `x`", axis="int, tuple of ints, or None for all axes")
def flip(x: Tensor, /, *, axis: int | tuple[int, ...] | None = None) -> Tensor:
    """Return the elements in the opposite order along `axis`."""
    places = range(check_tensor("flip", x).ndim)
    return torch.flip(x, [*(places if axis is None else normalize_axes("flip", axis, x))])


@shape(
    "Tensor, the shape of `x`",
    shift="int or tuple of ints",
    axis="int, tuple of ints as many as there are shifts, or None for the flattened array",
)
def roll(
    x: Tensor, /, shift: int | tuple[int, ...], *, axis: int | tuple[int, ...] | None = None
) -> Tensor:
    """Return the elements `shift` places on; those beyond the end come first."""
    check_tensor("roll", x)
    shifts = _ints("roll", "shift", shift)
    axes = () if axis is None else _ints("roll", "axis", axis)
    places = [normalize_axis("roll", place, x) for place in axes]
    if len(shifts) == 1 and places:
        shifts *= len(places)
    if len(shifts) != (1 if axis is None else len(places)):
        msg = f"roll: shift and axis must have equal lengths, got {shown(shift)} and {shown(axis)}"
        raise ValueError(msg)
    if axis is None:
        return torch.roll(x.reshape(-1), shifts[0] % max(1, x.numel())).reshape(x.shape)
    result = x.clone() if not places else x
    for count, place in zip(shifts, places, strict=True):
        result = torch.roll(result, count % max(1, x.shape[place]), place)
    return result


@shape(
    "Tensor",
    source="int or tuple of ints\nThe axes that move.",
    destination="int or tuple of ints\nTheir places in the result.",
)
def moveaxis(
    x: Tensor, source: int | tuple[int, ...], destination: int | tuple[int, ...], /
) -> Tensor:
    """Return `x` with some axes at other places; the others keep their order."""
    before = normalize_axes("moveaxis", source, check_tensor("moveaxis", x))
    after = normalize_axes("moveaxis", destination, x)
    if len(before) != len(after):
        msg = (
            "moveaxis: source and destination must have equal lengths, got "
            f"{shown(source)} and {shown(destination)}"
        )
        raise ValueError(msg)
    return torch.movedim(x, before, after)


@shape(
    "Tensor",
    repeats="int or integers, one of them or as many as `axis` is long, none negative",
    axis="int, or None for the flattened array",
)
def repeat(x: Tensor, repeats: int | Tensor, /, *, axis: int | None = None) -> Tensor:
    """Return each element as often as `repeats` says."""
    check_tensor("repeat", x)
    if axis is None:
        x, place = x.reshape(-1), 0
    else:
        place = normalize_axis("repeat", axis, x)
    size = x.shape[place]
    if isinstance(repeats, Tensor) or hasattr(repeats, "shape"):
        if is_sliced(repeats):  # autograd-55
            msg = "repeat: under vmap repeats, which decide the shape, must not depend on a slice"
            raise RuntimeError(msg)
        counts = index_array("repeat", "repeats", repeats, 2**63).to(torch.int64)
    else:
        counts = torch.tensor(check_count("repeat", "repeats", repeats))
    if counts.ndim > 1 or (counts.ndim == 1 and len(counts) not in (1, size)):
        msg = f"repeat: repeats must be one int or {size} of them, got shape {tuple(counts.shape)}"
        raise ValueError(msg)
    if counts.numel() and int(counts.min()) < 0:
        msg = f"repeat: repeats must not be negative, got {int(counts.min())}"
        raise ValueError(msg)
    total = sum(counts.expand(size).tolist())
    if total * x.numel() >= 2**60 * max(size, 1):
        # torch adds the counts up without a look at how large the sum becomes.
        msg = f"repeat: the result must fit in memory, got {total} along an axis"
        raise ValueError(msg)
    return chosen_along(x, torch.arange(size).repeat_interleave(counts.expand(size)), place)


@shape("Tensor", repetitions="tuple of ints, at least 0")
def tile(x: Tensor, repetitions: tuple[int, ...], /) -> Tensor:
    """Return copies of `x` side by side, so many along each axis, the last axes matching."""
    check_tensor("tile", x)
    if not isinstance(repetitions, tuple | list):
        msg = f"tile: repetitions must be a tuple of ints, got {shown(repetitions)}"
        raise TypeError(msg)
    counts = [check_count("tile", "each of repetitions", count) for count in repetitions]
    return torch.tile(x, counts) if counts else x.clone()


@listed(
    {
        "x": "Tensor, any shape",
        "pad_width": "int, pair (before, after), or such a pair for each axis",
        "mode": "'constant'",
        "constant_values": "number\nWhat the new elements are, in the dtype of `x`.",
    },
    "Tensor, longer along each axis",
    {"ValueError": "If the widths do not fit or are negative.", "TypeError": "If one is no int."},
    "numpy.pad",
)
def pad(
    x: Tensor, pad_width: Any, /, mode: str = "constant", *, constant_values: float = 0
) -> Tensor:
    """Return `x` with new elements before and after those along each axis."""
    widths = _widths(pad_width, check_tensor("pad", x))
    if not isinstance(mode, str) or mode != "constant":
        msg = f"pad: mode must be 'constant', got {shown(mode)}"
        raise ValueError(msg)
    number = plain_number(constant_values)
    if type(number) is not bool and not (type(number) is complex and x.is_complex()):
        number = check_number("pad", "constant_values", number)
    value = copied("pad", number, x.dtype).item()
    flat = [width for pair in reversed(widths) for width in pair]
    return torch.constant_pad_nd(x, flat, value) if flat else x.clone()


@shape("Tensor, the shape of `x`", k="int\nHow far above the diagonal the last one kept is.")
def tril(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the lower triangles of matrices, and 0 above."""
    return torch.tril(*_diagonal("tril", x, k))


@shape("Tensor, the shape of `x`", k="int\nHow far above the diagonal the first one kept is.")
def triu(x: Tensor, /, *, k: int = 0) -> Tensor:
    """Return the upper triangles of matrices, and 0 below."""
    return torch.triu(*_diagonal("triu", x, k))


@shape("tuple of Tensors, without the axis", axis="int")
def unstack(x: Tensor, /, *, axis: int = 0) -> tuple[Tensor, ...]:
    """Return the parts of `x` along `axis`."""
    return torch.unbind(x, normalize_axis("unstack", axis, check_tensor("unstack", x)))


@listed({"*arrays": "Tensor"}, "tuple of Tensors of one shape", _MISFIT)
def broadcast_arrays(*arrays: Tensor) -> tuple[Tensor, ...]:
    """Return the arrays stretched to the shape that all broadcast to."""
    if not arrays:
        return ()
    tensors = _tensors("broadcast_arrays", arrays)
    try:
        return tuple(torch.broadcast_tensors(*tensors))
    except RuntimeError:
        msg = f"broadcast_arrays: shapes must broadcast, got {shapes_of(*tensors)}"
        raise ValueError(msg) from None


@listed(
    {"*shapes": "tuple of ints"},
    "tuple of ints",
    {"ValueError": "If the shapes do not broadcast.", "TypeError": "If one is no tuple of ints."},
)
def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that all broadcast to."""
    checked = [check_shape("broadcast_shapes", sizes) for sizes in shapes]
    try:
        return tuple(torch.broadcast_shapes(*checked))
    except RuntimeError:
        came = " and ".join(map(str, checked))
        msg = f"broadcast_shapes: shapes must broadcast, got {came}"
        raise ValueError(msg) from None


_check_indexing = check_choice("xy", "ij")


@listed(
    {"*arrays": "Tensor, shape (N,)", "indexing": "'xy' or 'ij'\n'xy' exchanges the first axes."},
    "tuple of Tensors, one for each array and of as many axes",
    {"ValueError": "If an array has not one axis.", "TypeError": "If one is no Tensor."},
)
def meshgrid(*arrays: Tensor, indexing: str = "xy") -> tuple[Tensor, ...]:
    """Return the coordinates of a grid from those of its axes."""
    swapped = _check_indexing("meshgrid", "indexing", indexing) == "xy" and len(arrays) > 1
    if not arrays:
        return ()
    tensors = _tensors("meshgrid", arrays)
    if any(x.ndim != 1 for x in tensors):
        msg = f"meshgrid: arrays must have one axis, got shapes {shapes_of(*tensors)}"
        raise ValueError(msg)
    places = [*range(len(tensors))]
    if swapped:
        places[:2] = 1, 0
    sizes = [0] * len(tensors)
    for place, x in zip(places, tensors, strict=True):
        sizes[place] = len(x)
    return tuple(
        x.reshape([len(x) if i == place else 1 for i in range(len(sizes))]).expand(sizes)
        for place, x in zip(places, tensors, strict=True)
    )


def _tensors(name: str, arrays: Sequence[Any]) -> list[Tensor]:
    return [check_tensor(name, x, "each operand") for x in operands(name, *arrays)]


def _diagonal(name: str, x: Tensor, k: int) -> tuple[Tensor, int]:
    """Return matrices and a diagonal of theirs, or the next one beyond them."""
    if check_tensor(name, x).ndim < 2:  # ops-43
        msg = f"{name}: x must have at least two axes, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return x, diagonal(name, k, *x.shape[-2:])


def diagonal(name: str, k: Any, rows: int, columns: int) -> int:
    """Return the diagonal `k` of a matrix, or the next one beyond it."""
    # However far beyond: ints that check_int does not take too.
    number = k if type(k) is int else check_int(name, "k", k)
    return max(-rows, min(number, columns))


def check_count(name: str, option: str, value: Any) -> int:
    """Return `value` as an int that is not negative, or raise."""
    number = check_int(name, option, value)
    if number < 0:
        msg = f"{name}: {option} must not be negative, got {number}"
        raise ValueError(msg)
    return number


def _ints(name: str, option: str, value: Any) -> tuple[int, ...]:
    several = value if isinstance(value, tuple | list) else (value,)
    return tuple(check_int(name, option, item) for item in several)


def _widths(pad_width: Any, x: Tensor) -> list[tuple[int, int]]:
    """Return how many elements come before and after those along each axis."""
    if not isinstance(pad_width, tuple | list):
        return [(check_count("pad", "pad_width", pad_width),) * 2] * x.ndim
    pairs = [*pad_width]
    if len(pairs) == 2 and not any(isinstance(pair, tuple | list) for pair in pairs):
        pairs = [pairs] * x.ndim
    if len(pairs) != x.ndim or any(
        not isinstance(pair, tuple | list) or len(pair) != 2 for pair in pairs
    ):
        msg = (
            f"pad: pad_width must be an int, a pair, or {x.ndim} pairs for shape "
            f"{tuple(x.shape)}, got {shown(pad_width)}"
        )
        raise ValueError(msg)
    return [
        (check_count("pad", "pad_width", a), check_count("pad", "pad_width", b)) for a, b in pairs
    ]
