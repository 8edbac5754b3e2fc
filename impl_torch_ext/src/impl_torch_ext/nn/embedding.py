"""The lookup of rows in a table."""

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.function import Context, Function
from impl_torch_ext.module import Module, Parameter, positive_int
from impl_torch_ext.tensor import check_floating, empty

__all__ = ["Embedding", "EmbeddingFunction"]


class EmbeddingFunction(Function):
    """Rows of ``weight`` at integer indices; row ``padding_idx`` gets no gradient."""

    @staticmethod
    def forward(
        ctx: Context, weight: Tensor, indices: Tensor, *, padding_idx: int | None
    ) -> Tensor:
        """Look up ``indices``, shape (*), in ``weight``, shape (M, D); returns shape (*, D)."""
        ctx.save_for_backward(weight, indices)
        ctx.padding_idx = padding_idx  # type: ignore[attr-defined]
        return weight[indices]

    @staticmethod
    def backward(ctx: Context, grad_output: Tensor) -> tuple[Tensor, None]:
        """Add the rows of ``grad_output``, shape (*, D), up by index."""
        weight, indices = ctx.saved_tensors
        assert weight is not None
        assert indices is not None
        grad = torch.zeros_like(weight, memory_format=torch.contiguous_format, requires_grad=False)
        grad = grad.index_add(0, indices.reshape(-1), grad_output.reshape(-1, weight.shape[1]))
        if ctx.padding_idx is not None:  # type: ignore[attr-defined]
            keep = torch.ones(weight.shape[0], 1, dtype=weight.dtype)
            keep[ctx.padding_idx] = 0  # type: ignore[attr-defined]
            grad = torch.where(keep.bool(), grad, 0)
        return grad, None


class Embedding(Module):
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

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        check_floating("Embedding", dtype)
        if padding_idx is not None:
            if not -self.num_embeddings <= padding_idx < self.num_embeddings:
                msg = (
                    f"Embedding: padding_idx must be within num_embeddings = {num_embeddings}, got "
                    f"{padding_idx}"
                )
                raise ValueError(msg)
            padding_idx %= self.num_embeddings
        self.padding_idx = padding_idx
        weight = init.normal_(empty((self.num_embeddings, self.embedding_dim), dtype=dtype))
        if padding_idx is not None:
            weight[padding_idx] = 0
        self.weight = Parameter(weight)

    def forward(self, indices: Tensor) -> Tensor:
        """Look up ``indices``, integers of shape (*); returns shape (*, embedding_dim).

        Raises
        ------
        TypeError
            If ``indices`` are no integers.
        IndexError
            If one is outside ``[0, num_embeddings)``.
        """
        if (
            not isinstance(indices, Tensor)
            or indices.is_floating_point()
            or indices.dtype == torch.bool
        ):
            got = indices.dtype if isinstance(indices, Tensor) else type(indices).__name__
            msg = f"Embedding: indices must be an integer Tensor, got {got}"
            raise TypeError(msg)
        if indices.numel():
            low, high = torch.aminmax(indices)
            worst = int(low) if low < 0 else int(high)
            if not 0 <= worst < self.num_embeddings:
                msg = (
                    f"Embedding: index {worst} is outside 0 <= i < num_embeddings = "
                    f"{self.num_embeddings}"
                )
                raise IndexError(msg)
        return EmbeddingFunction.apply(self.weight, indices, padding_idx=self.padding_idx)

    def extra_repr(self) -> str:
        """Return the arguments."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
