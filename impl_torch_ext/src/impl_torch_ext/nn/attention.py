"""Attention of several heads."""

import functools
import math
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from impl_torch_ext import init, ops
from impl_torch_ext.checks import (
    check_flag,
    check_probability,
    check_size,
    check_tensor,
    explain,
)
from impl_torch_ext.context import Context
from impl_torch_ext.function import Function
from impl_torch_ext.nn.dropout import draw_kept, drop
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.nn.linear import Linear
from impl_torch_ext.ops.products import product

__all__ = ["MultiheadAttention"]

_NAME = "MultiheadAttention"
_Shapes: TypeAlias = dict[str, tuple[int, ...]]


def _size_or_none(name: str, option: str, value: Any) -> int | None:
    return None if value is None else check_size(name, option, value)


class MaskedSoftmaxFunction(Function):
    """The softmax along the last axis of those scores that are not shut, and 0 elsewhere."""

    _pure = True

    @staticmethod
    def forward(ctx: Context, scores: Tensor, *, shut: Tensor) -> Tensor:
        """Return the weights of `scores`, to whose shape `shut` broadcasts."""
        weights = ops.softmax(scores.masked_fill(shut, -math.inf), axis=-1)
        weights.masked_fill_(shut.all(-1, keepdim=True), 0.0)  # nn-33: NaN so far
        ctx.save_for_backward(weights)
        return weights

    @staticmethod
    def backward(ctx: Context, grad_output: Tensor) -> Tensor:
        """Return the gradient to the scores, which is 0 where the weight is 0."""
        (weights,) = ctx.saved_tensors
        assert weights is not None
        return torch.ops.aten._softmax_backward_data(grad_output, weights, -1, weights.dtype)

    @staticmethod
    def composite(scores: Tensor, *, shut: Tensor) -> Tensor:
        """Return the weights, where no step gives NaN."""
        nowhere = shut.all(-1, keepdim=True)
        scores = scores.masked_fill(shut, -math.inf).masked_fill(nowhere, 0.0)
        return ops.softmax(scores, axis=-1).masked_fill(nowhere, 0.0)


class MultiheadAttention(Layer):
    """`softmax(q k^T / sqrt(D)) v` for each head, side by side, and a `Linear` of that.

    q, k and v are affine maps of query, key and value, D is `embed_dim / num_heads`. L queries look
    at S keys; N is the batch.

    Source: Vaswani et al. 2017, equation 1; the page of `torch.nn.MultiheadAttention`.

    Parameters
    ----------
    embed_dim, num_heads : int
        The first must be divisible by the second.
    dropout : float
        With which probability a weight is dropped in training.
    bias : bool
        Whether the maps have biases.
    add_bias_kv : bool
        Whether a learned key and value stand behind the others.
    add_zero_attn : bool
        Whether a key and value of zeros stand behind these.
    kdim, vdim : int, optional
        The sizes of key and value; `embed_dim` if left out.
    batch_first : bool
        Whether N is the first axis of query, key, value and the output.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    in_proj_weight : Parameter or None, shape (3 embed_dim, embed_dim)
        The maps of query, key and value; drawn by `xavier_uniform_`.
    q_proj_weight, k_proj_weight, v_proj_weight : Parameter or None, shape (embed_dim, size)
        Take its place where `kdim` or `vdim` is another size.
    in_proj_bias : Parameter or None, shape (3 embed_dim,)
        Zeros at first.
    bias_k, bias_v : Parameter or None, shape (1, 1, embed_dim)
        Drawn by `xavier_normal_`.
    out_proj : Linear
        Its weight is drawn as that of a `Linear`, its bias is zeros.
    """

    _options: ClassVar[Options] = {
        "embed_dim": check_size,
        "num_heads": check_size,
        "dropout": check_probability,
        "bias": check_flag,
        "add_bias_kv": check_flag,
        "add_zero_attn": check_flag,
        "kdim": _size_or_none,
        "vdim": _size_or_none,
        "batch_first": check_flag,
    }
    embed_dim: int
    num_heads: int
    dropout: float
    add_zero_attn: bool
    kdim: int
    vdim: int
    batch_first: bool
    in_proj_weight: Tensor | None
    in_proj_bias: Tensor | None
    bias_k: Tensor | None
    bias_v: Tensor | None

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
        dtype: torch.dtype | None = None,
    ) -> None:
        options = (dropout, bias, add_bias_kv, add_zero_attn, kdim, vdim, batch_first)
        super().__init__(embed_dim, num_heads, *options)
        size = self.embed_dim
        biased, more = (self.__dict__.pop(option) for option in ("bias", "add_bias_kv"))
        if size % self.num_heads:  # nn-34
            msg = f"{_NAME}: embed_dim must be divisible by num_heads = {num_heads}, got {size}"
            raise ValueError(msg)
        self.kdim, self.vdim = kdim, vdim = self.kdim or size, self.vdim or size
        alike = kdim == vdim == size
        weights = {"in_proj_weight": (3 * size, size) if alike else None}
        for name, width in (("q", size), ("k", kdim), ("v", vdim)):
            weights[f"{name}_proj_weight"] = None if alike else (size, width)
        self._draw(init.xavier_uniform_, dtype, **weights)  # nn-02
        self._draw(init.zeros_, dtype, in_proj_bias=(3 * size,) if biased else None)
        behind = (1, 1, size) if more else None
        self._draw(init.xavier_normal_, dtype, bias_k=behind, bias_v=behind)
        self.out_proj = Linear(size, size, bias=False, dtype=dtype)
        self.out_proj._draw(init.zeros_, dtype, bias=(size,) if biased else None)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Let each query look at the keys.

        Parameters
        ----------
        query : Tensor, shape (L, N, embed_dim)
        key : Tensor, shape (S, N, kdim)
        value : Tensor, shape (S, N, vdim)
            N is the first axis with `batch_first`; all three may lack it.
        key_padding_mask : Tensor, shape (N, S), optional
            True shuts a place, whatever key and value hold there; numbers are added to the scores.
        need_weights : bool
            Whether the weights are returned.
        attn_mask : Tensor, shape (L, S) or (N * num_heads, L, S), optional
            Likewise, for each query.
        average_attn_weights : bool
            Whether the weights are the mean over the heads.
        is_causal : bool
            Says that `attn_mask` is causal.

        Returns
        -------
        tuple
            The output, in the layout of `query`, and the weights, shape (N, L, S) or (N,
            num_heads, L, S), or None.

        Raises
        ------
        ValueError
            If shapes do not fit, or `is_causal` comes without `attn_mask`.
        TypeError
            If a dtype does not fit.
        """
        shown = check_flag(_NAME, "need_weights", need_weights)
        mean = check_flag(_NAME, "average_attn_weights", average_attn_weights)
        if check_flag(_NAME, "is_causal", is_causal) and attn_mask is None:  # nn-33
            msg = f"{_NAME}: is_causal must come with attn_mask, got None"
            raise ValueError(msg)
        batched, of_itself = getattr(query, "ndim", 3) != 2, query is key and key is value
        query, key, value = self._checked(query, key, value, batched)
        masks = self._masks(key_padding_mask, attn_mask, query, key, batched)
        if key_padding_mask is not None and key_padding_mask.dtype == torch.bool:
            axis = self._batch_axis
            padding = key_padding_mask.reshape(key.shape[axis], key.shape[1 - axis], 1)
            padding = padding if self.batch_first else padding.transpose(0, 1)
            of_itself = False  # nn-33: nothing of what stands there is used
            key, value = key.masked_fill(padding, 0.0), value.masked_fill(padding, 0.0)
        try:
            q, k, v = (self._heads(x) for x in self._projected(query, key, value, of_itself))
            weights = self._weights(q, k, *masks)
            heads = torch.matmul(weights, v).movedim(1, 2).flatten(2)
            output = self.out_proj(heads if self.batch_first else heads.transpose(0, 1))
        except RuntimeError as error:  # Parameters that functional_call put there.
            explain(_NAME, error, query, key, value, shapes=((), ()))
        weights = weights.mean(1) if mean and shown else weights
        if not batched:
            output, weights = output.squeeze(self._batch_axis), weights.squeeze(0)
        return output, weights if shown else None

    def extra_repr(self) -> str:
        """Return nothing, as torch does."""
        return ""

    @property
    def _batch_axis(self) -> int:
        return 0 if self.batch_first else 1

    def _checked(self, query: Any, key: Any, value: Any, batched: bool) -> list[Tensor]:
        """Return the three with an axis N, or raise if they do not fit (nn-34)."""
        axis, like = self._batch_axis, self.out_proj.weight

        def check(argument: str, x: Any, batch: Any, length: tuple[str, Any], width: str) -> Tensor:
            names, sizes = [length[0], width], [length[1], getattr(self, width)]
            if batched:
                names.insert(axis, "N")
                sizes.insert(axis, batch)
            self._check(argument, x, tuple(sizes), f"({', '.join(names)})", like)
            return x if batched else x.unsqueeze(axis)

        q = check("query", query, None, ("L", None), "embed_dim")
        k = check("key", key, q.shape[axis], ("S", None), "kdim")
        v = check("value", value, q.shape[axis], ("S", k.shape[1 - axis]), "vdim")
        return [q, k, v]

    def _masks(
        self, padding: Any, attention: Any, query: Tensor, key: Tensor, batched: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return what is added to the scores (N, h, L, S), and which of them are shut."""
        axis, heads = self._batch_axis, self.num_heads
        batch, queries, keys = query.shape[axis], query.shape[1 - axis], key.shape[1 - axis]
        found: list[Tensor] = []
        if padding is not None:
            wanted: _Shapes = {"(N, S)": (batch, keys)} if batched else {"(S,)": (keys,)}
            _check_mask("key_padding_mask", padding, wanted, query.dtype)
            found.append(padding.reshape(batch, 1, 1, keys))
        if attention is not None:
            wanted = {
                "(L, S)": (queries, keys),
                "(N num_heads, L, S)": (batch * heads, queries, keys),
            }
            _check_mask("attn_mask", attention, wanted, query.dtype)
            shape = (batch, heads) if attention.ndim == 3 else (1, 1)
            found.append(attention.reshape(*shape, queries, keys))
        # No mask shuts what stands behind the keys.
        behind = (self.bias_k is not None) + self.add_zero_attn
        found = [torch.constant_pad_nd(mask, (0, behind)) if behind else mask for mask in found]
        added = [mask for mask in found if mask.is_floating_point()]
        shut = [mask == -math.inf if mask.is_floating_point() else mask for mask in found]
        return (
            functools.reduce(torch.add, added) if added else None,
            functools.reduce(torch.logical_or, shut) if shut else None,
        )

    def _projected(self, query: Tensor, key: Tensor, value: Tensor, same: bool) -> list[Tensor]:
        """Return q, k and v, the latter two with what stands behind them."""
        whole, bias = self.in_proj_weight, self.in_proj_bias
        if whole is not None and same:
            q, k, v = _affine(query, whole, bias).chunk(3, -1)
        else:
            weights = (
                (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
                if whole is None
                else whole.chunk(3)
            )
            biases = (None,) * 3 if bias is None else bias.chunk(3)
            q, k, v = map(_affine, (query, key, value), weights, biases)
        axis = 1 - self._batch_axis
        if self.bias_k is not None and self.bias_v is not None:
            one = [*k.shape]
            one[axis] = 1
            k = torch.cat([k, self.bias_k.expand(one)], axis)
            v = torch.cat([v, self.bias_v.expand(one)], axis)
        if self.add_zero_attn:
            behind = (0, 0) * (k.ndim - 1 - axis) + (0, 1)
            k, v = (torch.constant_pad_nd(part, behind) for part in (k, v))
        return [q, k, v]

    def _heads(self, x: Tensor) -> Tensor:
        """Return (L, N, E), or (N, L, E) with `batch_first`, as (N, h, L, D)."""
        parts = x.unflatten(-1, (self.num_heads, self.embed_dim // self.num_heads))
        return parts.transpose(1, 2) if self.batch_first else parts.permute(1, 2, 0, 3)

    def _weights(self, q: Tensor, k: Tensor, added: Tensor | None, shut: Tensor | None) -> Tensor:
        """Return the weights, shape (N, h, L, S)."""
        scores = torch.matmul(q * (1.0 / math.sqrt(q.shape[-1])), k.mT)
        scores = scores if added is None else scores + added
        if shut is None:
            weights = ops.softmax(scores, axis=-1)
        else:
            weights = MaskedSoftmaxFunction.apply(scores, shut=shut)
        if not (self.training and self.dropout):
            return weights
        return drop(weights, draw_kept(tuple(weights.shape), self.dropout), self.dropout)


def _affine(x: Tensor, weight: Any, bias: Tensor | None) -> Tensor:
    y = product(x, weight.mT)
    return y if bias is None else y + bias


def _check_mask(argument: str, mask: Any, shapes: _Shapes, dtype: torch.dtype) -> None:
    if check_tensor(_NAME, mask, argument).dtype not in (torch.bool, dtype):  # nn-34
        msg = f"{_NAME}: {argument} must be of dtype bool or {dtype}, got {mask.dtype}"
        raise TypeError(msg)
    if tuple(mask.shape) not in shapes.values():
        wanted = " or ".join(f"{names} = {shape}" for names, shape in shapes.items())
        msg = f"{_NAME}: {argument} must have shape {wanted}, got {tuple(mask.shape)}"
        raise ValueError(msg)
