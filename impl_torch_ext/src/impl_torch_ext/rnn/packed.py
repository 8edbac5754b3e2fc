"""Sequences of different lengths, packed without their padding, as torch lays them out.

T steps, N batch, R rows of what is packed.
"""

from itertools import pairwise
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from impl_torch_ext.checks import check_between, check_flag, check_tensor, shown
from impl_torch_ext.creation import copied
from impl_torch_ext.dtypes import plain_number
from impl_torch_ext.rnn.lengths import Packing, checked_lengths
from impl_torch_ext.tracing import is_sliced, known_only_later, numbers

__all__ = ["PackedSequence", "check_sizes", "pack", "unpack"]


def pack(
    padded: Tensor, lengths: Any, *, batch_first: bool = False, enforce_sorted: bool = False
) -> PackedSequence:
    """Return sequences without their padding, in the layout of torch's `pack_padded_sequence`.

    Parameters
    ----------
    padded : Tensor, shape (T, N, ...), with `batch_first` (N, T, ...)
        Of any dtype.
    lengths : N integers from 1 to T
    batch_first : bool
    enforce_sorted : bool
        Whether the lengths must not rise; then no indices are kept.

    Returns
    -------
    PackedSequence
        `data` (R, ...), R the sum of the lengths; `batch_sizes`; `sorted_indices` and
        `unsorted_indices` (N,), or None.

    Raises
    ------
    ValueError
        If shape, lengths or their order do not fit.
    TypeError
        If `padded` is no Tensor, or a length no integer.
    """
    x = check_tensor("pack", padded, "padded")
    batch_first = check_flag("pack", "batch_first", batch_first)
    ordered = check_flag("pack", "enforce_sorted", enforce_sorted)
    if x.ndim < 2:
        msg = f"pack: padded must have shape (T, N, ...), got {tuple(x.shape)}"
        raise ValueError(msg)
    batch, steps = x.shape[:2] if batch_first else (x.shape[1], x.shape[0])
    if known_only_later():
        msg = "pack: lengths must be known, as shapes come of them, got what a compiler traces"
        raise TypeError(msg)
    ends = checked_lengths("pack", lengths, batch, steps)
    if not batch:
        msg = f"pack: padded must hold a sequence, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    check_between("pack", "lengths", int(ends.min()), 1, steps)  # rnn-58
    rises = ends[1:] > ends[:-1]
    if ordered and bool(rises.any()):
        place = int(rises.nonzero()[0])
        msg = (
            f"pack: with enforce_sorted=True lengths must not rise, got {int(ends[place])} before "
            f"{int(ends[place + 1])}"
        )
        raise ValueError(msg)
    packing = Packing.of_lengths(ends, steps)
    rows = x.flatten(0, 1).index_select(0, packing.places(batch_first))
    indices = (None, None) if ordered else (packing.order, packing.back)
    return PackedSequence(rows, packing.batch_sizes, *indices)


def unpack(
    packed: PackedSequence,
    *,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Return packed sequences with padding past the end of each, and their lengths.

    Parameters
    ----------
    packed : PackedSequence
    batch_first : bool
    padding_value : number
    total_length : int, optional
        T; the length of the longest sequence if left out.

    Returns
    -------
    padded : Tensor, shape (T, N, ...), with `batch_first` (N, T, ...)
    lengths : Tensor of int64, shape (N,)

    Raises
    ------
    ValueError
        If `total_length` is too short, or `batch_sizes` do not fit.
    TypeError
        If an argument is of another kind.
    """
    if not isinstance(packed, PackedSequence):
        msg = f"unpack: packed must be a PackedSequence, got {type(packed).__name__}"
        raise TypeError(msg)
    batch_first = check_flag("unpack", "batch_first", batch_first)
    value = plain_number(padding_value)
    if not isinstance(value, bool | int | float | complex):
        msg = f"unpack: padding_value must be a number, got {shown(padding_value)}"
        raise TypeError(msg)
    check_sizes("unpack", packed)
    packing = Packing.of_packed(packed)
    longest = steps = packing.steps
    if total_length is not None:
        if isinstance(total_length, bool) or not isinstance(total_length, int):
            msg = f"unpack: total_length must be an int, got {shown(total_length)}"
            raise TypeError(msg)
        if total_length < longest:
            msg = (
                f"unpack: total_length must be at least {longest}, the length of the longest "
                f"sequence, got {total_length}"
            )
            raise ValueError(msg)
        steps = packing.steps = total_length
    rows, batch = packed.data, packing.batch
    # Which row stands where; one row more for what is past an end.
    source = torch.full((steps * batch,), len(rows))
    source[packing.places(batch_first)] = torch.arange(len(rows))
    filled = copied("unpack", value, rows.dtype).expand(1, *rows.shape[1:])
    shape = (batch, steps) if batch_first else (steps, batch)
    padded = torch.cat([rows, filled]).index_select(0, source).unflatten(0, shape)
    ends = (packed.batch_sizes > torch.arange(batch).unsqueeze(1)).sum(1)
    return padded, ends if packing.back is None else ends[packing.back]


def check_sizes(name: str, packed: PackedSequence) -> None:
    """Raise a ValueError in the name of `name` unless `batch_sizes` are those of `data`."""
    sizes = packed.batch_sizes
    if known_only_later():
        return
    if is_sliced(sizes):  # autograd-55
        msg = f"{name}: batch_sizes must be the same for every slice of vmap, got one for each"
        raise RuntimeError(msg)
    found = numbers(sizes).tolist()
    rows = packed.data.shape[0] if packed.data.ndim else 0

    def refuse(wanted: str) -> NoReturn:
        msg = f"{name}: batch_sizes must {wanted}, got {shown(found)}"
        raise ValueError(msg)

    if any(size < 1 for size in found):
        refuse("be at least 1")
    if any(later > size for size, later in pairwise(found)):
        refuse("not rise")
    if sum(found) != rows:
        refuse(f"sum to the {rows} rows of data")
