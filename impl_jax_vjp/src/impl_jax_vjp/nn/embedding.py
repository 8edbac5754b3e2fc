"""The table of vectors."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .. import random
from ..checks import (
    Shape,
    check_flag,
    check_int,
    check_number,
    check_parameter,
    of_all_slices,
    refuse,
)
from ..ops import formulas as F
from ..ops import lookups
from ..ops.indexing import are_met_often
from ..recording import Primitive, as_indices
from ..tape import unwrap
from ..tensor import Tensor
from .layer import Layer


@jax.custom_jvp
def _instead(array: Any, values: Any) -> Any:
    """Return `values` with the derivative of `array`."""
    del array
    return values


@_instead.defjvp
def _instead_jvp(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    return _instead(*primals), tangents[0]


def _rows(
    shape: Shape, padding: int | None, often: bool | None, by_count: bool, weight: Any, indices: Any
) -> Any:
    check_parameter("Embedding", "weight", weight, shape)
    known = lookups.places(indices, weight.shape[0], negative=False)
    rows = lookups.take(0, often, weight, known)
    if by_count:  # nn-16
        count = jnp.zeros(shape[0], rows.dtype).at[known].add(1, mode="drop")
        share = 1 / jnp.maximum(count[known], 1)
        rows = _instead(rows * lax.stop_gradient(share)[..., None], rows)
    if padding is None:
        return rows
    return jnp.where((indices == padding)[..., None], lax.stop_gradient(rows), rows)


def _shortened(shape: Shape, most: float, order: float, weight: Any, indices: Any) -> Any:
    check_parameter("Embedding", "weight", weight, shape)
    known = lookups.places(indices.reshape(-1), weight.shape[0], negative=False)
    rows = weight[known]
    norm = jnp.linalg.norm(rows, order, axis=-1, keepdims=True)
    shorter = jnp.where(norm > most, rows * (most / (norm + 1e-7)), rows)
    return _instead(weight, weight.at[known].set(shorter, mode="drop"))


_embedding = Primitive(_rows, "Embedding", F.all_but_first)
_renormalize = Primitive(_shortened, "Embedding")


def _positive(argument: str, value: Any) -> int | float:
    """Return a number; raise `ValueError` if it is not above 0."""
    number = check_number("Embedding", argument, value)
    if not number > 0:  # nn-16
        refuse("Embedding", argument, "a positive number", number)
    return number


class Embedding(Layer):
    """Rows of a table, looked up (the page of ``torch.nn.Embedding``).

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zeros and gets no gradient; a negative one counts from the end.
    max_norm : number, optional
        The rows that are looked up and longer than this become as long, in `weight` itself.
    norm_type : number
        The order of the norm that says how long a row is.
    scale_grad_by_freq : bool
        Whether the gradient of a row is divided by how often it is looked up in the call.
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    weight : Parameter, shape (num_embeddings, embedding_dim)
        Drawn from the standard normal distribution.
    """

    num_embeddings: int
    embedding_dim: int
    _options = (
        "num_embeddings", "embedding_dim",
        "padding_idx?", "max_norm?", "norm_type?", "scale_grad_by_freq?",
    )  # fmt: skip

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
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
        self.max_norm = None if max_norm is None else _positive("max_norm", max_norm)
        self.norm_type = _positive("norm_type", norm_type)
        self.scale_grad_by_freq = check_flag("Embedding", "scale_grad_by_freq", scale_grad_by_freq)
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
        if self.max_norm is not None:
            live = self._live("weight")
            # Under vmap the rows that any slice uses: so the weight stays the same for all.
            operands = (live, of_all_slices(unwrap(indices), live))
            made = _renormalize(operands, shape, float(self.max_norm), float(self.norm_type))
            self._become(weight=unwrap(made))  # nn-16
        often = are_met_often(weight, [indices], [bound])
        found: Tensor = _embedding(
            (weight, indices), shape, self.padding_idx, often, self.scale_grad_by_freq
        )
        return found
