"""Rows of a table, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init, ops
from impl_numpy.checks import check_indices, shown
from impl_numpy.creation import empty
from impl_numpy.nn.layer import Layer
from impl_numpy.parameter import Parameter
from impl_numpy.tensor import Tensor


class Embedding(Layer):
    """Look up rows of a table (torch.nn.Embedding).

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

    _sizes = ("num_embeddings", "embedding_dim")
    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        checked = self._dtype(dtype)
        if padding_idx is not None:
            if not isinstance(padding_idx, (int, np.integer)):
                msg = f"Embedding: padding_idx must be an int, got {shown(padding_idx)}"
                raise TypeError(msg)
            if not -num_embeddings <= padding_idx < num_embeddings:
                count = f"num_embeddings = {num_embeddings}"
                msg = f"Embedding: padding_idx must lie within {count}, got {padding_idx}"
                raise ValueError(msg)
            padding_idx = int(padding_idx) % num_embeddings
        self.padding_idx = padding_idx
        self.weight = init.normal_(Parameter(empty((num_embeddings, embedding_dim), dtype=checked)))
        if padding_idx is not None:
            self.weight._data[padding_idx] = 0

    def forward(self, input: Any) -> Tensor:
        """Return the rows that the input names.

        Parameters
        ----------
        input : Tensor of integers, shape (*)

        Returns
        -------
        Tensor, shape (*, embedding_dim)

        Raises
        ------
        TypeError
            If the input is not of integers.
        IndexError
            If an index is negative or not less than num_embeddings.
        """
        rows = self.num_embeddings
        index = check_indices("Embedding", "input", input, 0, rows, "num_embeddings")  # nn-05
        vectors = self.weight[index]
        if self.padding_idx is None:
            return vectors
        padding = (index == self.padding_idx)[..., None]
        return ops.where(padding, vectors.detach(), vectors)

    def extra_repr(self) -> str:
        """Return the sizes and the padding row."""
        sizes = f"{self.num_embeddings}, {self.embedding_dim}"
        return sizes if self.padding_idx is None else f"{sizes}, padding_idx={self.padding_idx}"
