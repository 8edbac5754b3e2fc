"""Rows of a table, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init, ops
from impl_numpy.module import Module, Parameter
from impl_numpy.nn.checks import as_tensor, floating_dtype, positive
from impl_numpy.tensor import Tensor


class Embedding(Module):
    """A table of vectors.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zero and gets no gradient; may count from the end.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Standard normal.
    """

    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__()
        positive("Embedding", num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        kind = floating_dtype("Embedding", dtype)
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                rows = f"num_embeddings = {num_embeddings}"
                msg = f"Embedding: padding_idx must lie within {rows}, got {padding_idx}"
                raise ValueError(msg)
            padding_idx %= num_embeddings
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        self.padding_idx = padding_idx
        self.weight = init.normal_(Parameter(np.empty((num_embeddings, embedding_dim), kind)))
        if padding_idx is not None:
            self.weight.data[padding_idx] = 0

    def forward(self, x: Any) -> Tensor:
        """The rows that x names.

        Parameters
        ----------
        x : Tensor of integers, shape (*)

        Returns
        -------
        Tensor, shape (*, embedding_dim)

        Raises
        ------
        TypeError
            If x is not of integers.
        IndexError
            If an index is negative or not less than num_embeddings.
        """
        index = as_tensor("Embedding", "x", x).data
        if index.dtype.kind != "i":
            msg = f"Embedding: x must hold integers, got {index.dtype}"
            raise TypeError(msg)
        outside = index[(index < 0) | (index >= self.num_embeddings)]
        if outside.size:
            rows = f"num_embeddings = {self.num_embeddings}"
            msg = f"Embedding: an index must be at least 0 and less than {rows}, got {outside[0]}"
            raise IndexError(msg)
        found = self.weight[index]
        if self.padding_idx is None:
            return found
        padding = (index == self.padding_idx)[..., None]
        return ops.where(padding, found.detach(), found)

    def extra_repr(self) -> str:
        """Sizes and the padding row."""
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return sizes if self.padding_idx is None else f"{sizes}, padding_idx={self.padding_idx}"
