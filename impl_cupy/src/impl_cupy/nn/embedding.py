"""The look-up table."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_positive_int, shown
from impl_cupy.dtypes import DTypeLike
from impl_cupy.function import Function
from impl_cupy.nn.layer import Layer, normal
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.indexing import getitem
from impl_cupy.recording import as_indices, find_outside
from impl_cupy.sums import scatter_rows
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


class EmbeddingFunction(Function):
    """Look rows of a table up; their gradients are added in one order each time."""

    _is_ours = True
    _called = "Embedding"

    @staticmethod
    def forward(ctx: Any, weight: Any, indices: Any, *, padding_idx: int) -> Any:
        """Take rows of `weight`, shape (rows, width), by `indices`, shape (*)."""
        ctx.save_for_backward(indices)
        ctx.padding_idx = padding_idx
        ctx.count, ctx.width = weight.shape
        return cp.take(weight, indices, axis=0)

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> tuple[Any, None]:
        """Add each gradient to the row that it belongs to; row `padding_idx` gets none."""
        (indices,) = ctx.saved_tensors
        values = grad_output.reshape(indices.size, ctx.width)
        return scatter_rows(values, indices.reshape(-1), ctx.count, ctx.padding_idx), None

    @staticmethod
    def composite(weight: Tensor, indices: Tensor, *, padding_idx: int) -> Tensor:
        """Do the same by indexing; the padding row's gradient is masked."""
        looked_up = getitem(weight, indices)
        mask = indices._data != padding_idx
        kept = wrap(cp.expand_dims(mask, mask.ndim))
        return where(kept, looked_up, looked_up.detach())


class Embedding(Layer):
    """Give a row of `weight` for each integer of the input.

    Source: the page of torch.nn.Embedding.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
        Rows of the table, and their length.
    padding_idx : int, optional
        A row that is zero and gets no gradient; negative counts from the end.
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from the standard normal distribution.
    """

    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None

    _bare = ("num_embeddings", "embedding_dim")
    _usual: ClassVar[dict[str, Any]] = {"padding_idx": None}

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        rows = check_positive_int("Embedding", "num_embeddings", num_embeddings)
        width = check_positive_int("Embedding", "embedding_dim", embedding_dim)
        padding = _check_row(padding_idx, rows)
        super().__init__(dtype, num_embeddings=rows, embedding_dim=width, padding_idx=padding)
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
        return EmbeddingFunction.apply(self.weight, value, padding_idx=padding)


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
