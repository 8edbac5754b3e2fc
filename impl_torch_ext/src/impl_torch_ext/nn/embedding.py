"""The lookup of rows in a table."""

from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import check_int, check_range, check_size
from impl_torch_ext.context import Context
from impl_torch_ext.function import Function
from impl_torch_ext.native import native
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.tensor import index_array

__all__ = ["Embedding", "EmbeddingFunction"]


class EmbeddingFunction(Function):
    """Rows of `weight` at integer indices; row `padding_idx` gets no gradient."""

    _pure = True

    @staticmethod
    def forward(
        ctx: Context, weight: Tensor, indices: Tensor, *, padding_idx: int | None
    ) -> Tensor:
        """Look up `indices`, shape (*), in `weight`, shape (M, D); returns shape (*, D)."""
        ctx.save_for_backward(weight, indices)
        ctx.padding_idx = padding_idx  # type: ignore[attr-defined]
        return weight[indices]

    @staticmethod
    def backward(ctx: Context, grad_output: Tensor) -> tuple[Tensor, None]:
        """Add the rows of `grad_output`, shape (*, D), up by index."""
        weight, indices = ctx.saved_tensors
        assert weight is not None
        assert indices is not None
        grad: Tensor = native.gather_backward.default(grad_output, indices, 0, weight.shape[0])
        if ctx.padding_idx is not None:  # type: ignore[attr-defined]
            keep = torch.ones(weight.shape[0], 1, dtype=weight.dtype)
            keep[ctx.padding_idx] = 0  # type: ignore[attr-defined]
            grad = torch.where(keep.bool(), grad, 0)
        return grad, None


def _place(name: str, option: str, value: Any) -> int | None:
    return None if value is None else check_int(name, option, value)


class Embedding(Layer):
    """A table of vectors, looked up by index.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zero and gets no gradient; a negative one counts from the end.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from the standard normal distribution.
    """

    _options: ClassVar[Options] = {
        "num_embeddings": check_size,
        "embedding_dim": check_size,
        "padding_idx": _place,
    }
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    weight: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(num_embeddings, embedding_dim, padding_idx)
        rows, padding_idx = self.num_embeddings, self.padding_idx
        if padding_idx is not None:
            if not -rows <= padding_idx < rows:
                msg = (
                    f"Embedding: padding_idx must be within num_embeddings = {rows}, got "
                    f"{padding_idx}"
                )
                raise ValueError(msg)
            self.padding_idx = padding_idx % rows
        self._draw(init.normal_, dtype, weight=(rows, self.embedding_dim))
        if padding_idx is not None:
            with torch.no_grad():  # nn-04
                self.weight[padding_idx] = 0

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows at `input`, integers of shape (*), as shape (*, embedding_dim).

        Raises
        ------
        TypeError
            If `input` holds no integers.
        IndexError
            If one is outside `[0, num_embeddings)`.
        """
        input = index_array("Embedding", "input", input, self.num_embeddings)  # nn-05, tensor-36
        text = "indices must be in 0 <= i < num_embeddings"
        check_range("Embedding", input, self.num_embeddings, text, IndexError)
        return EmbeddingFunction.apply(self.weight, input, padding_idx=self.padding_idx)
