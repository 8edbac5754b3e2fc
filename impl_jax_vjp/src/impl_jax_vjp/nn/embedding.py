"""The table of vectors."""

from typing import Any

from .. import arithmetic as A
from .. import kernels, random
from ..arguments import floating_dtype, positive_int
from ..creation import host
from ..module import Module
from ..ops import check_indices
from ..parameter import Parameter
from ..tape import Primitive
from ..tensor import Tensor, float32

_embedding = Primitive(kernels.embedding, "Embedding", kernels.all_but_first)


class Embedding(Module):
    """Rows of a table, looked up (the page of ``torch.nn.Embedding``).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zeros and gets no gradient; a negative one counts from the end.
    dtype : dtype
        float32 by default.

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
        dtype: Any = float32,
    ) -> None:
        super().__init__()
        self.num_embeddings = positive_int("Embedding", "num_embeddings", num_embeddings)
        self.embedding_dim = positive_int("Embedding", "embedding_dim", embedding_dim)
        wanted = floating_dtype("Embedding", dtype)
        if padding_idx is not None:
            if not -self.num_embeddings <= padding_idx < self.num_embeddings:
                msg = (
                    f"Embedding: padding_idx {padding_idx} is outside "
                    f"num_embeddings = {self.num_embeddings}"
                )
                raise ValueError(msg)
            padding_idx %= self.num_embeddings
        self.padding_idx = padding_idx
        values = random.normal((self.num_embeddings, self.embedding_dim))
        if padding_idx is not None:
            values[padding_idx] = 0.0
        self.weight = Parameter(host("Embedding", values, wanted, False))

    def forward(self, indices: Any) -> Tensor:
        """Map integers, shape (*), to rows, shape (*, embedding_dim).

        Raises
        ------
        TypeError
            If the input is not of integers.
        IndexError
            If an index is outside ``0 <= i < num_embeddings``, where values are known.
        """
        indices = A.operand("Embedding", indices)
        if A.dtype_of(indices).kind not in "iu":
            msg = f"Embedding: the input must be integers, got dtype {A.dtype_of(indices)}"
            raise TypeError(msg)
        check_indices("Embedding", indices, 0, self.num_embeddings, " = num_embeddings")
        return _embedding((self.weight, indices), self.padding_idx)

    def extra_repr(self) -> str:
        """Return the sizes, and the padding index if there is one."""
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"
