"""The table of vectors."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from .. import random
from ..checks import Shape, check_int, check_parameter, refuse
from ..ops import formulas as F
from ..ops import lookups
from ..ops.indexing import are_met_often
from ..recording import Primitive, as_indices
from ..tensor import Tensor
from .layer import Layer


def _rows(shape: Shape, padding: int | None, often: bool | None, weight: Any, indices: Any) -> Any:
    check_parameter("Embedding", "weight", weight, shape)
    known = lookups.places(indices, weight.shape[0], negative=False)
    rows = lookups.take(0, often, weight, known)
    if padding is None:
        return rows
    return jnp.where((indices == padding)[..., None], lax.stop_gradient(rows), rows)


_embedding = Primitive(_rows, "Embedding", F.all_but_first)


class Embedding(Layer):
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

    num_embeddings: int
    embedding_dim: int
    _options = ("num_embeddings", "embedding_dim", "padding_idx?")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        count = self.num_embeddings
        if padding_idx is not None:
            padding_idx = check_int("Embedding", "padding_idx", padding_idx)
            if not -count <= padding_idx < count:
                refuse("Embedding", "padding_idx", f"within num_embeddings = {count}", padding_idx)
            padding_idx %= count
        self.padding_idx = padding_idx
        values = random.normal((count, self.embedding_dim))
        if padding_idx is not None:
            values[padding_idx] = 0.0  # nn-04
        self._parameter("weight", values)

    def forward(self, input: Any) -> Tensor:
        """Map integers, shape (*), to rows, shape (*, embedding_dim).

        Raises
        ------
        TypeError
            If the input is not of integers.
        IndexError
            If an index is outside ``0 <= i < num_embeddings``, where values are known.
        """
        bound = self.num_embeddings
        indices = as_indices("Embedding", "input", input, 0, bound, " = num_embeddings")  # nn-05
        shape = (bound, self.embedding_dim)
        weight = self.weight
        often = are_met_often(weight, [indices], [bound])
        return _embedding((weight, indices), shape, self.padding_idx, often)
