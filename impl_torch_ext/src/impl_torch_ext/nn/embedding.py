"""The lookup of rows in a table."""

from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.checks import (
    check_flag,
    check_int,
    check_number,
    check_range,
    check_size,
    shown,
)
from impl_torch_ext.context import Context
from impl_torch_ext.function import Function
from impl_torch_ext.native import native
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.tensor import index_array
from impl_torch_ext.tracing import each_slice, is_sliced

__all__ = ["Embedding", "EmbeddingFunction"]


class EmbeddingFunction(Function):
    """Rows of `weight` at integer indices; row `padding_idx` gets no gradient.

    With `by_frequency` the gradient of a row is divided by how often its index stands there.
    """

    _pure = True

    @staticmethod
    def forward(
        ctx: Context,
        weight: Tensor,
        indices: Tensor,
        *,
        padding_idx: int | None,
        by_frequency: bool = False,
    ) -> Tensor:
        """Look up `indices`, shape (*), in `weight`, shape (M, D); returns shape (*, D)."""
        ctx.save_for_backward(indices)
        ctx.rows, ctx.padding_idx = len(weight), padding_idx  # type: ignore[attr-defined]
        ctx.by_frequency = by_frequency  # type: ignore[attr-defined]
        return weight[indices]

    @staticmethod
    def backward(ctx: Context, grad_output: Tensor) -> tuple[Tensor, None]:
        """Add the rows of `grad_output`, shape (*, D), up by index."""
        (indices,) = ctx.saved_tensors
        assert indices is not None
        rows, padding_idx = ctx.rows, ctx.padding_idx  # type: ignore[attr-defined]
        grad: Tensor = native.gather_backward.default(grad_output, indices, 0, rows)
        if ctx.by_frequency:  # type: ignore[attr-defined]  # nn-16
            counts = torch.bincount(indices.reshape(-1), minlength=rows).clamp(min=1)
            grad = grad / counts.to(grad.dtype).unsqueeze(1)
        if padding_idx is not None:  # nn-14
            grad = torch.where(torch.arange(rows).unsqueeze(1) == padding_idx, 0, grad)
        return grad, None


def _positive(name: str, option: str, value: Any) -> float:
    number = check_number(name, option, value)
    if not number > 0:  # nn-16
        msg = f"{name}: {option} must be a positive number, got {shown(value)}"
        raise ValueError(msg)
    return number


def _positive_or_none(name: str, option: str, value: Any) -> float | None:
    return None if value is None else _positive(name, option, value)


def _place(name: str, option: str, value: Any) -> int | None:
    return None if value is None else check_int(name, option, value)


class Embedding(Layer):
    """A table of vectors, looked up by index.

    Source: the page of `torch.nn.Embedding`.

    Parameters
    ----------
    num_embeddings, embedding_dim : int
    padding_idx : int, optional
        A row that starts as zero and gets no gradient; a negative one counts from the end.
    max_norm : float, optional
        Before a lookup, rows in it that are longer become as long, in `weight` itself.
    norm_type : float
        The order of that norm.
    scale_grad_by_freq : bool
        Whether the gradient of a row is divided by how often its index stands in the input.
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
        "max_norm": _positive_or_none,
        "norm_type": _positive,
        "scale_grad_by_freq": check_flag,
    }
    _bare = 2
    _unsaid: ClassVar[dict[str, Any]] = {
        "padding_idx": None,
        "max_norm": None,
        "norm_type": 2,
        "scale_grad_by_freq": False,
    }
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None
    max_norm: float | None
    norm_type: float
    scale_grad_by_freq: bool
    weight: Tensor

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes, norm = (num_embeddings, embedding_dim), (max_norm, norm_type)
        super().__init__(*sizes, padding_idx, *norm, scale_grad_by_freq)
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
        if self.max_norm is not None and input.numel():
            with torch.no_grad():  # nn-16
                places = input.to(torch.int64).contiguous()
                bounds = float(self.max_norm), float(self.norm_type)
                if is_sliced(self.weight, places):
                    each_slice(partial(_renormed, bounds), self.weight.detach(), places)
                else:
                    torch.embedding_renorm_(self.weight.detach(), places, *bounds)
        options = {"padding_idx": self.padding_idx, "by_frequency": self.scale_grad_by_freq}
        return EmbeddingFunction.apply(self.weight, input, **options)


def _renormed(bounds: tuple[float, float], weight: Tensor, places: Tensor) -> Tensor:
    return torch.embedding_renorm_(weight, places, *bounds)
