"""Attention by several heads.

N batch, L places of the query, S of key and value, E the size of a query, H heads of D = E / H.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init, ops
from impl_numpy.checks import check_flag, check_probability
from impl_numpy.creation import empty, zeros
from impl_numpy.dtypes import Array, Shape, Value, bool_
from impl_numpy.nn.dropout import drawn, dropped
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.linear import Linear
from impl_numpy.parameter import Parameter
from impl_numpy.recording import OUT, RULES, Grads, Primitive
from impl_numpy.recording import unary as record_unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _weigh(scores: Array, shut: Array | None) -> Array:
    """Return the softmax over the last axis, 0 where a mask is shut, or all of a row (nn-33)."""
    out = scores.copy() if shut is None else np.where(shut, scores.dtype.type(-np.inf), scores)
    top = out.max(-1, keepdims=True, initial=-np.inf)
    # Where a query may look nowhere the largest is -inf, and the sum of exponentials is 0.
    top[top == -np.inf] = 0
    out -= top
    np.exp(out, out)
    added = total(out, (out.ndim - 1,), True)
    added[added == 0] = 1
    out /= added
    return out


def _weigh_vjp(grad: Value, _needs: Parents, _scores: None, out: Value, _shut: Any) -> Grads:
    # Of what is alike for all places nothing is left, before it is multiplied.
    part = grad * out
    last = (part.ndim - 1,)
    if type(part) is np.ndarray:
        np.subtract(grad, total(part, last, True), out=part)
        part *= out
        return (part,)
    kept = (*part.shape[:-1], 1)
    return (out * (grad - RULES["sum"](part, last, True, kept, part.shape)),)


_weights = Primitive("softmax", _weigh, _weigh_vjp, ((OUT,),))


class MultiheadAttention(Layer):
    """Look from each place of a query at all places of a key, and mix its values.

    Vaswani et al. 2017, equation 1 and section 3.2.2; torch.nn.MultiheadAttention. With q, k and v
    the projected inputs, parted into heads: softmax(q k^T / sqrt(D)) v, the heads side by side
    through `out_proj`.

    Parameters
    ----------
    embed_dim, num_heads : int
        E and H; E is divisible by H.
    dropout : float
        The probability with which a weight is dropped in training.
    bias : bool
        Whether the projections have biases.
    add_bias_kv : bool
        Put a learnt place behind key and value.
    add_zero_attn : bool
        Put a place of zeros behind them.
    kdim, vdim : int, optional
        The sizes of key and value, E if left out.
    batch_first : bool
        Whether N stands before L and S.
    dtype : dtype

    Attributes
    ----------
    in_proj_weight : Parameter, shape (3 E, E), or None
        The projections of query, key and value above one another; with `kdim` or `vdim` of their
        own they are q_proj_weight (E, E), k_proj_weight (E, kdim) and v_proj_weight (E, vdim). All
        are uniform (Glorot and Bengio 2010, equation 16).
    in_proj_bias : Parameter, shape (3 E,), or None
        Zeros.
    bias_k, bias_v : Parameter, shape (1, 1, E), or None
        Normal (Glorot and Bengio 2010, equation 12).
    out_proj : Linear
        Its bias is zeros.

    Raises
    ------
    TypeError, ValueError
        If a size is no positive int, E is not divisible by H, dropout is no probability, or the
        dtype is not floating.
    """

    _sizes = ("embed_dim", "num_heads", "kdim", "vdim")
    out_proj: Linear

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
        dtype: DTypeLike | None = None,
    ) -> None:
        name = "MultiheadAttention"
        bias = check_flag(name, "bias", bias)
        add_bias_kv = check_flag(name, "add_bias_kv", add_bias_kv)
        super().__init__(
            embed_dim=embed_dim,
            num_heads=num_heads,
            dropout=check_probability(name, "dropout", dropout),
            add_zero_attn=check_flag(name, "add_zero_attn", add_zero_attn),
            kdim=embed_dim if kdim is None else kdim,
            vdim=embed_dim if vdim is None else vdim,
            batch_first=check_flag(name, "batch_first", batch_first),
        )
        if self.embed_dim % self.num_heads:  # nn-34
            wanted = f"divisible by num_heads = {num_heads}"
            msg = f"{name}: embed_dim must be {wanted}, got {embed_dim}"
            raise ValueError(msg)
        self.head_dim = self.embed_dim // self.num_heads
        self._draw(bias, add_bias_kv, dtype)

    def _draw(self, bias: bool, add_bias_kv: bool, dtype: DTypeLike | None) -> None:
        """Draw and register the parameters in their order (nn-02)."""
        kind, size = self._dtype(dtype), self.embed_dim
        joined = self.kdim == self.vdim == size
        shapes = {
            "q_proj_weight": None if joined else (size, size),
            "k_proj_weight": None if joined else (size, self.kdim),
            "v_proj_weight": None if joined else (size, self.vdim),
            "in_proj_weight": (3 * size, size) if joined else None,
        }
        for name, shape in shapes.items():
            drawn = None if shape is None else Parameter(empty(shape, dtype=kind))
            self.register_parameter(name, drawn if drawn is None else init.xavier_uniform_(drawn))
        self._constant("in_proj_bias", (3 * size,) if bias else None, 0, kind)
        for name in ("bias_k", "bias_v"):
            more = Parameter(empty((1, 1, size), dtype=kind)) if add_bias_kv else None
            self.register_parameter(name, more if more is None else init.xavier_normal_(more))
        # Its bias draws nothing.
        self.out_proj = Linear(size, size, False, dtype=kind)
        if bias:
            self.out_proj.register_parameter("bias", Parameter(zeros((size,), dtype=kind)))

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
        """Return the mixed values, and the weights.

        Parameters
        ----------
        query : Tensor, shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        key, value : Tensor, shapes (S, N, kdim) and (S, N, vdim), and likewise
        key_padding_mask : Tensor of bool or floating, shape (N, S) or (S,), optional
            True shuts a place of the key, whatever it holds; numbers are added to the scores.
        need_weights : bool
        attn_mask : Tensor of bool or floating, shape (L, S) or (N H, L, S), optional
            The same for pairs of places.
        average_attn_weights : bool
            Return the mean of the heads' weights.
        is_causal : bool
            A hint that `attn_mask` is causal.

        Returns
        -------
        output : Tensor, of the shape of query
        weights : Tensor, shape (N, L, S) or (N, H, L, S), without N as query; or None
            S counts the places that were put behind.

        Raises
        ------
        ValueError
            If shapes do not fit, or `is_causal` comes without `attn_mask`.
        TypeError
            If a mask is of integers, or an input of another dtype than the parameters'.
        """
        need_weights = check_flag("MultiheadAttention", "need_weights", need_weights)
        mean = check_flag("MultiheadAttention", "average_attn_weights", average_attn_weights)
        if check_flag("MultiheadAttention", "is_causal", is_causal) and attn_mask is None:
            msg = "MultiheadAttention: is_causal is a hint, and wants attn_mask, got None"  # nn-33
            raise ValueError(msg)
        same = query is key, key is value
        q, k, v = self._inputs(query, key, value)
        batched = q.ndim == 3
        q, k, v = [self._batch_first(x) for x in (q, k, v)]
        lengths = (q.shape[0], q.shape[1], k.shape[1])
        masks = self._masks(key_padding_mask, attn_mask, lengths, batched)
        if masks[0] is not None and masks[0].dtype == bool_:
            # What is shut counts for nothing, be it NaN.
            closed = masks[0]._data[..., None]
            k, v = ops.where(closed, 0.0, k), ops.where(closed, 0.0, v)
            same = False, same[1]
        q, k, v = self._heads(q, k, v, same)
        output, weights = self._attended(q, k, v, *self._joined(masks, lengths))
        output = output if batched and self.batch_first else self._back(output, batched)
        if not need_weights:
            return output, None
        weights = ops.mean(weights, axis=1) if mean else weights
        return output, weights if batched else weights.reshape(weights.shape[1:])

    def _inputs(self, *inputs: Any) -> list[Tensor]:
        """Return query, key and value, checked against each other (nn-34)."""
        dtype, found = self.out_proj.weight.dtype, []
        for name, x in zip(("query", "key", "value"), inputs, strict=True):
            found.append(self._input(x, dtype, name))
        axes = found[0].ndim
        batch, places = (0, 1) if self.batch_first else (1, 0)
        sizes = (self.embed_dim, self.kdim, self.vdim)
        for name, x, size in zip(("query", "key", "value"), found, sizes, strict=True):
            wanted: list[int | None] = [None] * (axes if axes in (2, 3) else 3)
            wanted[-1] = size
            if name != "query" and axes == 3:
                wanted[batch] = found[0].shape[batch]
            if name == "value":
                place = places if axes == 3 else 0
                wanted[place] = found[1].shape[place]
            self._fits(name, x.shape, tuple(wanted))
        return found

    def _fits(self, name: str, shape: Shape, wanted: tuple[int | None, ...]) -> None:
        pairs = zip(shape, wanted, strict=False)
        if len(shape) != len(wanted) or not all([m is None or n == m for n, m in pairs]):
            form = ", ".join("*" if n is None else str(n) for n in wanted)
            msg = f"MultiheadAttention: {name} must have shape ({form}), got {shape}"
            raise ValueError(msg)

    def _batch_first(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return x.reshape((1, *x.shape))
        return x if self.batch_first else ops.permute_dims(x, (1, 0, 2))

    def _back(self, x: Tensor, batched: bool) -> Tensor:
        """Return an output in the layout of the query."""
        return ops.permute_dims(x, (1, 0, 2)) if batched else x.reshape(x.shape[1:])

    def _masks(
        self, padding: Any, pairs: Any, lengths: Shape, batched: bool
    ) -> list[Tensor | None]:
        """Return the masks, checked, the first of shape (N, S)."""
        n, rows, columns = lengths
        checked: list[Tensor | None] = []
        full = (n * self.num_heads, rows, columns)
        shapes: dict[str, list[Shape]] = {
            "key_padding_mask": [(n, columns) if batched else (columns,)],
            "attn_mask": [(rows, columns), full],
        }
        for (name, wanted), mask in zip(shapes.items(), (padding, pairs), strict=True):
            if mask is None:
                checked.append(None)
                continue
            mask = as_tensor("MultiheadAttention", mask, name)
            if mask.dtype.kind not in "fb":
                msg = f"MultiheadAttention: {name} must be of bool or floating, got {mask.dtype}"
                raise TypeError(msg)
            if mask.shape not in wanted:
                forms = " or ".join(map(str, wanted))
                msg = f"MultiheadAttention: {name} must have shape {forms}, got {mask.shape}"
                raise ValueError(msg)
            checked.append(mask.reshape((n, columns)) if name == "key_padding_mask" else mask)
        return checked

    def _joined(
        self, masks: list[Tensor | None], lengths: Shape
    ) -> tuple[Array | None, Tensor | None]:
        """Return what shuts a score, and what is added to it, broadcast to (N, H, L, S)."""
        n, rows, columns = lengths
        more = int(self.bias_k is not None) + int(self.add_zero_attn)
        shut: Array | None = None
        added: Tensor | None = None
        for mask, padding in zip(masks, (True, False), strict=True):
            if mask is None:
                continue
            if padding:
                shape: Shape = (n, 1, 1, columns)
            else:
                shape = (n, self.num_heads, rows, columns) if mask.ndim == 3 else mask.shape
            mask = mask.reshape(shape)
            if mask.dtype == bool_:
                shut = mask._data if shut is None else shut | mask._data
            else:
                mask = ops.astype(mask, self.out_proj.weight.dtype)
                added = mask if added is None else added + mask
        if more and shut is not None:  # nn-32
            shut = np.pad(shut, [(0, 0)] * (shut.ndim - 1) + [(0, more)])
        if more and added is not None:
            added = ops.pad(added, [(0, 0)] * (added.ndim - 1) + [(0, more)])
        return shut, added

    def _heads(self, q: Tensor, k: Tensor, v: Tensor, same: tuple[bool, bool]) -> list[Tensor]:
        """Return the projections of (N, *, E), parted into heads: (N, H, *, D)."""
        size, bias = self.embed_dim, self.in_proj_bias
        found: list[Tensor] = []
        if self.in_proj_weight is None:
            rows = [self.q_proj_weight, self.k_proj_weight, self.v_proj_weight]
            for i, (x, weight) in enumerate(zip((q, k, v), rows, strict=True)):
                part = None if bias is None else bias[i * size : (i + 1) * size]
                found.append(_affine(x, weight, part))
        else:
            # One product for neighbours that project the same input.
            inputs, start = (q, k, v), 0
            while start < 3:
                stop = start + 1
                while stop < 3 and same[stop - 1]:
                    stop += 1
                part = slice(start * size, stop * size)
                rows = self.in_proj_weight if stop - start == 3 else self.in_proj_weight[part]
                y = _affine(inputs[start], rows, None if bias is None else bias[part])
                found += [y[..., i * size : (i + 1) * size] for i in range(stop - start)]
                start = stop
        if self.bias_k is not None:
            behind = [
                ops.broadcast_to(b, (q.shape[0], 1, size)) for b in (self.bias_k, self.bias_v)
            ]
            found[1:] = [ops.concat([x, b], axis=1) for x, b in zip(found[1:], behind, strict=True)]
        if self.add_zero_attn:
            found[1:] = [ops.pad(x, [(0, 0), (0, 1), (0, 0)]) for x in found[1:]]
        return [
            ops.permute_dims(x.reshape((*x.shape[:2], self.num_heads, self.head_dim)), (0, 2, 1, 3))
            for x in found
        ]

    def _attended(
        self, q: Tensor, k: Tensor, v: Tensor, shut: Array | None, added: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return the output (N, L, E), and the weights (N, H, L, S)."""
        scores = (q * (1.0 / math.sqrt(self.head_dim))) @ k.mT
        scores = scores if added is None else scores + added
        weights: Tensor = record_unary(_weights, scores, (shut,))
        if self.training and self.dropout:
            weights = dropped(weights, drawn(weights.shape, self.dropout), self.dropout)
        mixed = ops.permute_dims(weights @ v, (0, 2, 1, 3))
        return self.out_proj(mixed.reshape((*mixed.shape[:2], self.embed_dim))), weights


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = x @ weight.T
    return y if bias is None else y + bias
