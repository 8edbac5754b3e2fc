"""The look-up table."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_number, check_positive_int, shown
from impl_cupy.dtypes import DTypeLike, int32, int64
from impl_cupy.function import Function
from impl_cupy.memory import note_change
from impl_cupy.nn.layer import Layer, each_slice, normal
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.indexing import getitem
from impl_cupy.recording import as_indices, find_outside, record
from impl_cupy.slices import deepest, stripped
from impl_cupy.sums import scatter_rows, total
from impl_cupy.tape import handles, vmapped, wrap
from impl_cupy.tensor import Tensor


class EmbeddingFunction(Function):
    """Look rows of a table up; their gradients are added in one order each time."""

    _by_slices = True
    _is_ours = True
    _called = "Embedding"

    @staticmethod
    def forward(ctx: Any, weight: Any, indices: Any, counts: Any, *, padding_idx: int) -> Any:
        """Take rows of `weight`, shape (rows, width), by `indices`, shape (*).

        `counts`, shape (*, 1), is what their gradients are divided by, or None.
        """
        ctx.save_for_backward(indices, counts)
        ctx.padding_idx = padding_idx
        ctx.count, ctx.width = weight.shape
        return cp.take(weight, indices, axis=0)

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> tuple[Any, ...]:
        """Add each gradient to the row that it belongs to; row `padding_idx` gets none."""
        indices, counts = ctx.saved_tensors
        values = grad_output if counts is None else grad_output / counts
        values = values.reshape(indices.size, ctx.width)
        return scatter_rows(values, indices.reshape(-1), ctx.count, ctx.padding_idx), None, None

    @staticmethod
    def composite(weight: Tensor, indices: Tensor, counts: Any, *, padding_idx: int) -> Tensor:
        """Do the same by indexing; the padding row's gradient is masked."""
        looked_up = getitem(weight, indices)
        mask = indices._data != padding_idx
        kept = wrap(cp.expand_dims(mask, mask.ndim))
        found = where(kept, looked_up, looked_up.detach())
        if counts is None:
            return found
        # Only what comes back is divided.
        shared: Tensor = record("Embedding", lambda raw: raw, _shared, (found,), config=counts)
        return shared


def _shared(node: Any, grad: Any) -> tuple[Any]:
    return (grad / node.config,)


class Embedding(Layer):
    """Give a row of `weight` for each integer of the input.

    Source: the page of torch.nn.Embedding.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows of the table, and their length.
    padding_idx : int, optional
        A row that is zero and gets no gradient; negative counts from the end.
    max_norm : number, optional
        Rows that are looked up and are longer become so long, in `weight` itself.
    norm_type : number
        The order of the norm.
    scale_grad_by_freq : bool
        Whether the gradient of a row is divided by how often it was looked up.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from the standard normal distribution.

    Raises
    ------
    ValueError
        If a size is below 1, `padding_idx` is no row, or `max_norm` or `norm_type` not positive.
    TypeError
        If an argument is of another kind.
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool

    _bare = ("num_embeddings", "embedding_dim")
    _usual: ClassVar[dict[str, Any]] = {
        "padding_idx": None,
        "max_norm": None,
        "norm_type": 2.0,
        "scale_grad_by_freq": False,
    }

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        rows = check_positive_int("Embedding", "num_embeddings", num_embeddings)
        width = check_positive_int("Embedding", "embedding_dim", embedding_dim)
        padding = _check_row(padding_idx, rows)
        for name, number in {"max_norm": max_norm, "norm_type": norm_type}.items():
            _check_positive(name, number)
        by_frequency = check_flag("Embedding", "scale_grad_by_freq", scale_grad_by_freq)
        super().__init__(
            dtype,
            num_embeddings=rows,
            embedding_dim=width,
            padding_idx=padding,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=by_frequency,
        )
        self._parameter("weight", (rows, width), self._draw)

    def _draw(self, shape: tuple[int, ...]) -> Any:
        drawn = normal(shape)
        if self.padding_idx is not None:
            drawn[self.padding_idx] = 0.0  # nn-04
        return drawn

    def forward(self, input: Any) -> Tensor:
        """Look rows up.

        Parameters
        ----------
        input : Tensor of integers, shape (*)

        Returns
        -------
        Tensor, shape (*, embedding_dim)

        Raises
        ------
        TypeError
            If `input` holds no integers.
        IndexError
            If one is outside ``0 <= i < num_embeddings``.
        """
        if vmapped and deepest(input, self._parameters):
            return self._of_slices(input)
        return self._look_up(input)

    def _of_slices(self, input: Any) -> Tensor:
        """Look up for all slices of `vmap` at once, where no counts are needed."""
        is_plain = self.max_norm is None and not self.scale_grad_by_freq
        if not is_plain or getattr(input, "dtype", None) not in (int32, int64):
            # Rows that are too long are shortened for every slice that looks them up.
            return self._each(input)
        every = stripped(as_indices("Embedding", input))._data
        if find_outside(every, every, 0, self.num_embeddings) is not None:
            return self._each(input)
        self._check_parameters(self.weight.dtype)
        found: Tensor = handles.take(self.weight, input, axis=0)
        if self.padding_idx is None:
            return found
        kept = handles.expand_dims(handles.not_equal(input, self.padding_idx), axis=-1)
        return where(kept, found, found.detach())

    def _look_up(self, input: Any) -> Tensor:
        value = as_indices("Embedding", input)
        if value.dtype.kind != "i":
            msg = f"Embedding: input must be integers, got dtype {value.dtype.name}"
            raise TypeError(msg)
        raw = value._data
        worst = find_outside(input, raw, 0, self.num_embeddings)
        if worst is not None:  # nn-05
            msg = (
                f"Embedding: index {worst} is outside 0 <= i < num_embeddings = "
                f"{self.num_embeddings}"
            )
            raise IndexError(msg)
        self._check_parameters(self.weight.dtype)
        padding = -1 if self.padding_idx is None else self.padding_idx
        if self.max_norm is not None:
            self._shorten(raw)
        counts = None
        if self.scale_grad_by_freq:  # nn-16
            often = cp.bincount(raw.reshape(-1), minlength=self.num_embeddings)
            counts = cp.expand_dims(often[raw].astype(self.weight.dtype), raw.ndim)
        return EmbeddingFunction.apply(self.weight, value, counts, padding_idx=padding)

    _each = each_slice(_look_up)

    def _shorten(self, rows: Any) -> None:
        """Make the rows of `weight` that are longer than `max_norm` that long (nn-16)."""
        table, order, most = self.weight._data, float(self.norm_type), self.max_norm
        # A row that is there twice is written twice, with the same numbers.
        found = table[rows.reshape(-1)]
        if math.isinf(order):
            norms = cp.max(cp.abs(found), axis=1, keepdims=True)
        else:
            norms = total(cp.abs(found) ** order, axis=1, keepdims=True) ** (1 / order)
        scales = cp.where(norms > most, most / (norms + 1e-7), 1.0)
        note_change(self.weight)
        table[rows.reshape(-1)] = found * scales.astype(table.dtype)


def _check_positive(argument: str, number: Any) -> None:
    """Refuse what is neither a positive number nor, for `max_norm`, None."""
    if argument == "max_norm" and number is None:
        return
    check_number("Embedding", argument, number)
    if not number > 0:
        msg = f"Embedding: {argument} must be a positive number, got {number}"
        raise ValueError(msg)


def _check_row(padding_idx: Any, rows: int) -> int | None:
    """Make a row of the table count from 0."""
    if padding_idx is None:
        return None
    if isinstance(padding_idx, bool) or not isinstance(padding_idx, (int, np.integer)):
        msg = f"Embedding: padding_idx must be an int or None, got {shown(padding_idx)}"
        raise TypeError(msg)
    padding_idx = int(padding_idx)
    if not -rows <= padding_idx < rows:
        msg = f"Embedding: padding_idx must be a row of num_embeddings={rows}, got {padding_idx}"
        raise ValueError(msg)
    return padding_idx % rows
