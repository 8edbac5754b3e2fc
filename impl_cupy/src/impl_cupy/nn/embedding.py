"""The look-up table."""

from __future__ import annotations

from typing import Any

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.creation import to_device
from impl_cupy.dtypes import DTypeLike, as_floating, float32
from impl_cupy.function import Function
from impl_cupy.module import Module
from impl_cupy.nn.arguments import positive_int
from impl_cupy.ops.indexing import getitem
from impl_cupy.ops.primitive import as_tensor
from impl_cupy.parameter import Parameter
from impl_cupy.scatter import scatter_rows
from impl_cupy.tensor import Tensor, wrap


class EmbeddingFunction(Function):
    """Look rows of a table up; their gradients are added in one order each time."""

    _fresh_gradients = True

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
        mask = (indices._data != padding_idx).astype(weight.dtype)
        kept = wrap(cp.expand_dims(mask, mask.ndim))
        return looked_up * kept + looked_up.detach() * (1 - kept)


class Embedding(Module):
    """Give a row of `weight` for each integer of the input.

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

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        dtype: DTypeLike = float32,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        wanted = as_floating("Embedding", dtype)
        self.padding_idx = self._row(padding_idx)
        drawn = random.normal((self.num_embeddings, self.embedding_dim))
        if self.padding_idx is not None:
            drawn[self.padding_idx] = 0.0
        self.weight = Parameter(to_device(drawn, wanted))

    def _row(self, padding_idx: int | None) -> int | None:
        if padding_idx is None:
            return None
        if isinstance(padding_idx, bool) or not isinstance(padding_idx, int):
            msg = f"Embedding: padding_idx must be an int or None, got {padding_idx!r}"
            raise TypeError(msg)
        if not -self.num_embeddings <= padding_idx < self.num_embeddings:
            msg = (
                f"Embedding: padding_idx must be a row of num_embeddings={self.num_embeddings}, "
                f"got {padding_idx}"
            )
            raise ValueError(msg)
        return padding_idx % self.num_embeddings

    def forward(self, indices: Any) -> Tensor:
        """Look rows up.

        Parameters
        ----------
        indices : Tensor of integers, shape (*)

        Returns
        -------
        Tensor, shape (*, embedding_dim)

        Raises
        ------
        TypeError
            If `indices` are no integers.
        IndexError
            If one is outside ``0 <= i < num_embeddings``.
        """
        value = as_tensor("Embedding", indices)
        if value.dtype.kind != "i":
            msg = f"Embedding: indices must be integers, got dtype {value.dtype.name}"
            raise TypeError(msg)
        raw = value._data
        outside = cp.logical_or(raw < 0, raw >= self.num_embeddings)
        if bool(cp.any(outside)):
            msg = (
                f"Embedding: index {int(raw[outside][0])} is outside 0 <= i < "
                f"num_embeddings = {self.num_embeddings}"
            )
            raise IndexError(msg)
        padding = -1 if self.padding_idx is None else self.padding_idx
        return EmbeddingFunction.apply(self.weight, value, padding_idx=padding)

    def extra_repr(self) -> str:
        """Show the constructor's arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
