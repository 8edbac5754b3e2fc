"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_flag,
    check_fraction,
    check_positive_int,
)
from impl_cupy.dtypes import DTypeLike, bool_
from impl_cupy.launch import pointwise
from impl_cupy.nn.dropout import dropped
from impl_cupy.nn.layer import Draw, Layer, constant, each_slice
from impl_cupy.nn.linear import Linear, LinearFunction
from impl_cupy.ops.activation import softmax_slope
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.manipulation import broadcast_to, concat, permute_dims, reshape
from impl_cupy.ops.movement import pad
from impl_cupy.ops.products import matmul
from impl_cupy.ops.reduction import mean
from impl_cupy.recording import as_tensor, record
from impl_cupy.slices import deepest
from impl_cupy.sums import cut, total
from impl_cupy.tape import vmapped
from impl_cupy.tensor import Tensor

_NAME = "MultiheadAttention"
_INPUTS = ("query", "key", "value")


class _Sizes(NamedTuple):
    """The sizes of a call: batch, queries, keys, and whether there was a batch."""

    batch: int
    queries: int
    keys: int
    has_batch: bool


def _weights(scores: Any, shut: Any) -> Any:
    """Return the softmax over the last axis of raw scores, 0 where all are -inf or shut."""
    if scores.size == 0:
        return scores.copy()
    if shut is not None:
        scores = pointwise("shut_out")(shut, scores)
    powers = pointwise("ratio")(scores, cp.max(scores, axis=-1, keepdims=True))
    # The largest is 1, if there is one: less means that the query may look nowhere (nn-33).
    powers /= cp.maximum(total(powers, axis=scores.ndim - 1, keepdims=True), 1)
    return powers


def _glorot(shape: tuple[int, ...]) -> Any:
    """Draw as `init.xavier_uniform_` a matrix, and as `init.xavier_normal_` a bias (nn-02)."""
    rest = math.prod(shape[2:])
    fans = (shape[0] + shape[1]) * rest
    if len(shape) > 2:
        return random.normal(shape, 0.0, math.sqrt(2 / fans))
    bound = math.sqrt(6 / fans)
    return random.uniform(shape, -bound, bound)


class MultiheadAttention(Layer):
    """Mix values by how well their keys fit a query, in several heads.

    ``softmax(q k^T / sqrt(D)) v`` with q, k and v the projections of query, key and value, parted
    into heads of D numbers; the heads side by side go through `out_proj`.

    Source: Vaswani et al. 2017, equation 1; the page of torch.nn.MultiheadAttention.

    Parameters
    ----------
    embed_dim : int
        E, the size of query and of the result.
    num_heads : int
        How many heads there are; it divides `embed_dim`.
    dropout : float
        The probability with which weights are dropped in training.
    bias : bool
        Whether the projections have biases.
    add_bias_kv : bool
        Whether a learned key and value stand behind the others.
    add_zero_attn : bool
        Whether a key and value of zeros stand behind all.
    kdim, vdim : int, optional
        The sizes of key and value; `embed_dim` unless given.
    batch_first : bool
        Whether arrays are (N, L, E) and not (L, N, E).
    dtype : dtype
        float32 or float64.

    Attributes
    ----------
    in_proj_weight : Parameter or None, shape (3 E, E)
        The matrices of query, key and value.
    q_proj_weight, k_proj_weight, v_proj_weight : Parameter or None, shapes (E, size)
        They, where `kdim` or `vdim` is not E.
    in_proj_bias : Parameter or None, shape (3 E,)
        Zeros.
    bias_k, bias_v : Parameter or None, shape (1, 1, E)
    out_proj : Linear

    Raises
    ------
    ValueError
        If a size is below 1, `embed_dim` is not divisible, or `dropout` is outside [0, 1].
    TypeError
        If an argument is of another kind.
    """

    embed_dim: int
    num_heads: int
    dropout: float
    add_zero_attn: bool
    kdim: int
    vdim: int
    batch_first: bool
    head_dim: int

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        size = check_positive_int(_NAME, "embed_dim", embed_dim)
        heads = check_positive_int(_NAME, "num_heads", num_heads)
        if size % heads:  # nn-34
            msg = f"{_NAME}: embed_dim must be divisible by num_heads={heads}, got {size}"
            raise ValueError(msg)
        check_fraction(_NAME, "dropout", dropout)
        sizes = {
            name: size if given is None else check_positive_int(_NAME, name, given)
            for name, given in {"kdim": kdim, "vdim": vdim}.items()
        }
        flags = {"add_zero_attn": add_zero_attn, "batch_first": batch_first}
        flags = {name: check_flag(_NAME, name, flag) for name, flag in flags.items()}
        super().__init__(dtype, embed_dim=size, num_heads=heads, dropout=dropout, **sizes, **flags)
        self.head_dim = size // heads
        self._draw(check_flag(_NAME, "bias", bias), check_flag(_NAME, "add_bias_kv", add_bias_kv))

    def _draw(self, bias: bool, add_bias_kv: bool) -> None:
        size, zeros = self.embed_dim, constant(0)
        is_packed = self.kdim == self.vdim == size
        draws: dict[str, tuple[tuple[int, ...], Draw, bool]] = {
            "in_proj_weight": ((3 * size, size), _glorot, is_packed),
            "q_proj_weight": ((size, size), _glorot, not is_packed),
            "k_proj_weight": ((size, self.kdim), _glorot, not is_packed),
            "v_proj_weight": ((size, self.vdim), _glorot, not is_packed),
            "in_proj_bias": ((3 * size,), zeros, bias),
            "bias_k": ((1, 1, size), _glorot, add_bias_kv),
            "bias_v": ((1, 1, size), _glorot, add_bias_kv),
        }
        for name, entry in draws.items():
            self._parameter(name, *entry)
        self.out_proj = Linear(size, size, bias=False, dtype=self._dtype)
        self.out_proj._options["bias"] = bias
        self.out_proj._parameter("bias", (size,), zeros, bias)

    def forward(
        self,
        query: Any,
        key: Any,
        value: Any,
        key_padding_mask: Any = None,
        need_weights: bool = True,
        attn_mask: Any = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend.

        Parameters
        ----------
        query : Tensor, shape (L, N, E), or (N, L, E) with `batch_first`, or (L, E)
        key, value : Tensor, shapes (S, N, kdim) and (S, N, vdim) likewise
        key_padding_mask : Tensor, shape (N, S) or (S,), optional
            True shuts a key; of a floating mask the number is added to its scores.
        need_weights : bool
            Whether the weights are returned.
        attn_mask : Tensor, shape (L, S) or (N * num_heads, L, S), optional
            Likewise, for each query.
        average_attn_weights : bool
            Whether the weights that are returned are the mean of the heads'.
        is_causal : bool
            Says that `attn_mask` is causal.

        Returns
        -------
        tuple of Tensor and Tensor or None
            The result, in the layout of `query`, and the weights, (N, L, S) or (N, h, L, S).

        Raises
        ------
        ValueError
            If a shape does not fit, or `is_causal` comes without `attn_mask`.
        TypeError
            If a dtype is not the parameters', or a mask holds integers.
        """
        if vmapped and deepest(key_padding_mask, attn_mask):
            options = (need_weights, attn_mask, average_attn_weights, is_causal)
            return self._each(query, key, value, key_padding_mask, *options)
        need_weights = check_flag(_NAME, "need_weights", need_weights)
        average = check_flag(_NAME, "average_attn_weights", average_attn_weights)
        if check_flag(_NAME, "is_causal", is_causal) and attn_mask is None:  # nn-33
            msg = f"{_NAME}: is_causal must come with attn_mask, got attn_mask=None"
            raise ValueError(msg)
        given, sizes = self._inputs(query, key, value)
        dtype = given[0].dtype
        padding = self._mask("key_padding_mask", key_padding_mask, sizes, dtype)
        shut, added = _joined((padding, self._mask("attn_mask", attn_mask, sizes, dtype)))
        if padding is not None and padding.dtype == bool_:
            # Whatever stands there counts for nothing, NaN included (nn-33).
            hidden = reshape(padding, (sizes.batch, sizes.keys + self._behind, 1))
            hidden = cut(hidden, 1, 0, sizes.keys)
            given = [given[0], *(where(hidden, 0.0, part) for part in given[1:])]
        q, k, v = self._heads(self._projected(given))
        scores = matmul(q * (1 / math.sqrt(self.head_dim)), permute_dims(k, (0, 1, 3, 2)))
        scores = scores if added is None else scores + added
        weights = record(
            _NAME,
            lambda raw: _weights(raw, shut),
            lambda node, grad: (softmax_slope(node, grad),),
            (scores,),
            keep_output=True,
            config=(3,),
        )
        if self.training and self.dropout:
            weights = dropped(weights, self.dropout)
        joined = permute_dims(matmul(weights, v), (0, 2, 1, 3))
        joined = reshape(joined, (sizes.batch, sizes.queries, self.embed_dim))
        output = self._laid_out(self.out_proj(joined), sizes)
        if not need_weights:
            return output, None
        weights = mean(weights, axis=1) if average else weights
        return output, weights if sizes.has_batch else reshape(weights, weights.shape[1:])

    _each = each_slice(forward)

    @property
    def _behind(self) -> int:
        """How many keys stand behind those of a call."""
        return (self.bias_k is not None) + self.add_zero_attn

    def _ordered(self, length: Any, batch: Any, has_batch: bool) -> tuple[Any, ...]:
        """Return the leading sizes of an input in the layout of the layer."""
        if not has_batch:
            return (length,)
        return (batch, length) if self.batch_first else (length, batch)

    def _inputs(self, *given: Any) -> tuple[list[Any], _Sizes]:
        """Check query, key and value, and bring them to (N, L, size) (nn-34)."""
        tensors = [
            as_tensor(f"{_NAME}: {name}", part) for name, part in zip(_INPUTS, given, strict=True)
        ]
        has_batch = tensors[0].ndim != 2
        lengths: list[Any] = ["L", "S"]
        batch: Any = "N"
        for name, tensor, width in zip(
            _INPUTS, tensors, (self.embed_dim, self.kdim, self.vdim), strict=True
        ):
            length = lengths[0 if name == "query" else 1]
            wanted = (*self._ordered(length, batch, has_batch), width)
            known = zip(wanted, tensor.shape, strict=False)
            if tensor.ndim != len(wanted) or any(
                w not in ("L", "N", "S", size) for w, size in known
            ):
                shape = ", ".join(map(str, wanted))
                msg = f"{_NAME}: {name} must have shape ({shape}), got {tensor.shape}"
                raise ValueError(msg)
            self._check_parameters(tensor.dtype, name)
            lengths[0 if name == "query" else 1] = tensor.shape[self.batch_first and has_batch]
            batch = tensor.shape[not self.batch_first] if has_batch else 1
        # One Tensor that stands for several stays one.
        moved = {id(tensor): self._batch_first(tensor, has_batch) for tensor in tensors}
        return [moved[id(tensor)] for tensor in tensors], _Sizes(
            batch, lengths[0], lengths[1], has_batch
        )

    def _batch_first(self, tensor: Any, has_batch: bool) -> Any:
        """Bring an input to (N, L, size)."""
        if not has_batch:
            return reshape(tensor, (1, *tensor.shape))
        return tensor if self.batch_first else permute_dims(tensor, (1, 0, 2))

    def _laid_out(self, output: Tensor, sizes: _Sizes) -> Tensor:
        """Bring (N, L, size) to the layout of the query."""
        if not sizes.has_batch:
            return reshape(output, output.shape[1:])
        return output if self.batch_first else permute_dims(output, (1, 0, 2))

    def _mask(self, name: str, mask: Any, sizes: _Sizes, dtype: Any) -> Any:
        """Check a mask, and bring it to four axes, with no place shut behind the keys (nn-34)."""
        if mask is None:
            return None
        value = as_tensor(f"{_NAME}: {name}", mask)
        batch, length, keys, has_batch = sizes
        if name == "attn_mask":
            many = batch * self.num_heads
            fitting = {
                (length, keys): (1, 1, length, keys),
                (many, length, keys): (batch, self.num_heads, length, keys),
            }
        else:
            fitting = {(batch, keys) if has_batch else (keys,): (batch, 1, 1, keys)}
        if value.shape not in fitting:
            wanted = " or ".join(map(str, fitting))
            msg = f"{_NAME}: {name} must have shape {wanted}, got {value.shape}"
            raise ValueError(msg)
        if value.dtype not in (bool_, dtype):
            msg = f"{_NAME}: {name} must be bool or {dtype.name}, got dtype {value.dtype.name}"
            raise TypeError(msg)
        value = reshape(value, fitting[value.shape])
        none = (0, 0)
        return pad(value, (none, none, none, (0, self._behind))) if self._behind else value

    def _projected(self, given: list[Any]) -> list[Any]:
        """Return the projections of query, key and value."""
        weight, bias = self.in_proj_weight, self.in_proj_bias
        query, key, value = given
        if weight is not None and query is key is value:
            joined = LinearFunction.apply(query, weight, bias)
            return [self._third(joined, place, 2) for place in range(3)]
        if weight is None:
            weights = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
        else:
            weights = [self._third(weight, place) for place in range(3)]
        biases = [None if bias is None else self._third(bias, place) for place in range(3)]
        return [LinearFunction.apply(*each) for each in zip(given, weights, biases, strict=True)]

    def _third(self, joined: Any, place: int, axis: int = 0) -> Any:
        """Return what is the query's, the key's or the value's of a Tensor for all three."""
        return cut(joined, axis, place * self.embed_dim, (place + 1) * self.embed_dim)

    def _heads(self, projected: list[Any]) -> list[Any]:
        """Put what stands behind the keys there, and part all into heads: (N, h, L, D)."""
        heads = []
        for part, behind in zip(projected, (None, self.bias_k, self.bias_v), strict=True):
            batch, _, size = part.shape
            if behind is not None:
                part = concat([part, broadcast_to(behind, (batch, 1, size))], axis=1)
            if self.add_zero_attn and part is not projected[0]:
                part = pad(part, ((0, 0), (0, 1), (0, 0)))
            parted = reshape(part, (*part.shape[:2], self.num_heads, self.head_dim))
            heads.append(permute_dims(parted, (0, 2, 1, 3)))
        return heads

    def extra_repr(self) -> str:
        """Show nothing, as torch does."""
        return ""


def _joined(masks: tuple[Any, ...]) -> tuple[Any, Any]:
    """Return the raw places that masks shut, and the sum of those that are added."""
    shut: Any = None
    added: Any = None
    for mask in masks:
        if mask is not None and mask.dtype == bool_:
            shut = mask._data if shut is None else shut | mask._data
        elif mask is not None:
            added = mask if added is None else added + mask
    return shut, added
