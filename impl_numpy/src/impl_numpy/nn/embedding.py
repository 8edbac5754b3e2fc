"""Rows of a table, looked up by number."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init, ops
from impl_numpy.batched import by_slices, every, is_batched, youngest
from impl_numpy.checks import check_flag, check_indices, check_number, shown
from impl_numpy.creation import empty
from impl_numpy.dtypes import Array
from impl_numpy.memory import written
from impl_numpy.nn.layer import Layer
from impl_numpy.parameter import Parameter, overwrite
from impl_numpy.recording import Primitive, quiet
from impl_numpy.recording import unary as record_unary
from impl_numpy.tensor import Tensor

# The rows as they are, and a gradient that is multiplied by a constant.
_lessened = Primitive(
    "Embedding",
    lambda rows, _shares: rows,
    lambda grad, _needs, _rows, _out, shares: (grad * shares,),
)


class Embedding(Layer):
    """Look up rows of a table (torch.nn.Embedding).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zero and gets no gradient; may count from the end.
    max_norm : float, optional
        Rows that are longer become so long, in the table itself, when they are looked up.
    norm_type : float
        The order of that norm.
    scale_grad_by_freq : bool
        Divide the gradient of a row by how often it is looked up in the call.
    dtype : dtype

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Standard normal.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int, a norm no positive number, or padding_idx out of range.
    """

    _sizes = ("num_embeddings", "embedding_dim")
    weight: Parameter

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(
            num_embeddings=num_embeddings,
            embedding_dim=embedding_dim,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=check_flag("Embedding", "scale_grad_by_freq", scale_grad_by_freq),
        )
        checked = self._dtype(dtype)
        for name in ("norm_type",) if max_norm is None else ("max_norm", "norm_type"):
            value = getattr(self, name)
            if not check_number("Embedding", name, value) > 0:  # nn-16
                msg = f"Embedding: {name} must be a positive number, got {value}"
                raise ValueError(msg)
        if padding_idx is not None:
            self.padding_idx = padding_idx = _row(padding_idx, self.num_embeddings)  # nn-04
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
        if self.max_norm is not None:
            _shorten(self.weight, np.unique(every(index)), self.max_norm, self.norm_type)
        vectors = self.weight[index]
        if self.scale_grad_by_freq:
            times = _times(index, rows)[..., None]
            vectors = record_unary(_lessened, vectors, (1 / times.astype(vectors.dtype),))
        if self.padding_idx is None:
            return vectors
        padding = (index == self.padding_idx)[..., None]
        return ops.where(padding, vectors.detach(), vectors)

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the usual."""
        usual = {"padding_idx": None, "max_norm": None, "norm_type": 2, "scale_grad_by_freq": False}
        options = [f"{k}={getattr(self, k)}" for k, v in usual.items() if getattr(self, k) != v]
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *options])


def _times(index: Array, rows: int) -> Array:
    """Return how often each of the indices is there."""
    level = youngest(index)
    if level is not None:
        return by_slices(level, _times, (index, rows))
    return np.bincount(index.ravel(), minlength=rows)[index]


def _row(padding_idx: Any, count: int) -> int:
    """Return the number of the padding row, which may count from the end."""
    if not isinstance(padding_idx, (int, np.integer)):
        msg = f"Embedding: padding_idx must be an int, got {shown(padding_idx)}"
        raise TypeError(msg)
    if not -count <= padding_idx < count:
        msg = f"Embedding: padding_idx must lie within num_embeddings = {count}, got {padding_idx}"
        raise ValueError(msg)
    return int(padding_idx) % count


@quiet
def _shorten(weight: Tensor, rows: Array, longest: float, order: float) -> None:
    """Make the rows of a table that are too long as long as they may be (nn-16)."""
    if is_batched(weight._data):
        # Each slice has a table of its own, of which it reads no more than its rows.
        norms = np.linalg.norm(weight._data, order, axis=1, keepdims=True)
        factors = np.where(norms > longest, longest / (norms + 1e-7), 1).astype(weight.dtype)
        weight._data = weight._data * factors
        return
    vectors = weight._data[rows]
    norms = np.linalg.norm(vectors, order, axis=1, keepdims=True)
    long = (norms > longest)[:, 0]
    if not long.any():
        return
    shorter = (vectors * (longest / (norms + 1e-7)))[long]
    if weight._data.flags.writeable:
        weight._data[rows[long]] = shorter
        written(weight)
    else:
        whole = weight._data.copy()
        whole[rows[long]] = shorter
        overwrite(weight, whole)
