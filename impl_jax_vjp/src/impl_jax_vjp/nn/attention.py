"""Attention: weights of values by how a query fits their keys.

L queries, S keys and values, N batch, E = embed_dim numbers in h heads of D = E / h.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import (
    Shape,
    check_flag,
    check_parameter,
    check_probability,
    positive_int,
    refuse,
)
from ..dtypes import bool_, is_floating
from ..init import xavier_normal_, xavier_uniform_
from ..ops import formulas as F
from ..recording import Primitive, as_operand, dtype_of, shape_of
from ..tensor import Tensor
from .dropout import below, thinned
from .layer import Layer
from .linear import Linear

Array = Any
_HIGHEST = lax.Precision.HIGHEST
# N, or None without a batch; L and S.
_Sizes = tuple[int | None, int, int]


class _Plan(NamedTuple):
    """What is fixed in a compiled call: the operands' names, and the options."""

    names: tuple[str, ...]
    heads: int
    batch_first: bool
    zeros: bool
    dropout: float
    weights: str


@jax.custom_jvp
def _chosen(scores: Array, shut: Array) -> Array:
    """Return the softmax over the last axis of what is not shut; 0 everywhere if all is."""
    shown = jnp.where(shut, -jnp.inf, scores)
    top = jnp.max(shown, -1, keepdims=True, initial=-jnp.inf)
    top = jnp.where(jnp.isneginf(top), 0, top)
    raised = jnp.where(shut, 0, jnp.exp(shown - top))
    total = F.total(raised, (raised.ndim - 1,), True)
    return raised / jnp.where(jnp.all(shut, -1, keepdims=True), 1, total)


@_chosen.defjvp
def _chosen_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Any]) -> tuple[Array, Array]:
    scores, shut = primals
    y, d = _chosen(scores, shut), jnp.where(shut, 0, tangents[0])
    # A number that all have in common has no part in it, and would take digits from the rest.
    d = d - d[..., :1]
    return y, y * (d - F.total(y * d, (y.ndim - 1,), True))


def _attend(plan: _Plan, *arrays: Array) -> Any:
    given = dict(zip(plan.names, arrays, strict=True))
    query, key, value, alone = _laid_out(plan, given)
    count, queries, _ = query.shape
    padding = given.get("key_padding_mask")
    if padding is not None:
        padding = padding if padding.ndim == 2 else padding[None]
        # nn-33: what stands in the padding counts for nothing, NaN included.
        hidden = _shut(padding)[..., None]
        key, value = jnp.where(hidden, 0, key), jnp.where(hidden, 0, value)
    q, k, v = _projected(plan, given, query, key, value)
    keys = k.shape[1]
    shut, added = _masks(plan, given, padding, (count, queries, key.shape[1]), keys, q.dtype)
    size = q.shape[2] // plan.heads
    q, k, v = [part.reshape(*part.shape[:2], plan.heads, size) for part in (q, k, v)]
    scores = jnp.einsum("nlhd,nshd->nhls", q / math.sqrt(size), k, precision=_HIGHEST)
    weights = _chosen(scores if added is None else scores + added, shut)
    if "keep" in given:
        weights = thinned(plan.dropout, weights, given["keep"])
    heads = jnp.einsum("nhls,nshd->nlhd", weights, v, precision=_HIGHEST)
    out = F.product(heads.reshape(count, queries, plan.heads * size), given["out_proj.weight"].T)
    out = _shifted(out, given.get("out_proj.bias"))
    out = out[0] if alone else out if plan.batch_first else out.swapaxes(0, 1)
    if not plan.weights:
        return out
    weights = jnp.mean(weights, 1) if plan.weights == "mean" else weights
    return out, weights[0] if alone else weights


def _laid_out(plan: _Plan, given: dict[str, Array]) -> tuple[Array, Array, Array, bool]:
    """Return query, key and value with the batch first, and whether there was none."""
    parts = [given[name] for name in ("query", "key", "value")]
    alone = parts[0].ndim == 2
    if alone:
        parts = [part[None] for part in parts]
    elif not plan.batch_first:
        parts = [part.swapaxes(0, 1) for part in parts]
    return parts[0], parts[1], parts[2], alone


def _projected(plan: _Plan, given: dict[str, Array], *inputs: Array) -> list[Array]:
    """Return q, k and v, with what stands behind the keys and values."""
    if "in_proj_weight" in given:
        matrices = jnp.split(given["in_proj_weight"], 3)
    else:
        matrices = [given[f"{letter}_proj_weight"] for letter in "qkv"]
    biases = jnp.split(given["in_proj_bias"], 3) if "in_proj_bias" in given else [None] * 3
    triples = zip(inputs, matrices, biases, strict=True)
    q, k, v = [_shifted(F.product(x, matrix.T), bias) for x, matrix, bias in triples]
    ends = [(given["bias_k"], given["bias_v"])] if "bias_k" in given else []
    ends += [(jnp.zeros((1, 1, k.shape[2]), k.dtype),) * 2] if plan.zeros else []
    for pair in ends:  # nn-32
        rows = [F.stretch(end, (len(k), 1, k.shape[2])) for end in pair]
        k, v = [jnp.concatenate(both, 1) for both in zip((k, v), rows, strict=True)]
    return [q, k, v]


def _shifted(y: Array, bias: Array | None) -> Array:
    return y if bias is None else y + F.stretch(bias, y.shape)


def _shut(mask: Array) -> Array:
    """Return where a mask lets nothing through: True, or minus infinity."""
    return jnp.isneginf(mask) if is_floating(mask.dtype) else mask


def _masks(
    plan: _Plan, given: dict[str, Array], padding: Array | None, sizes: Shape, keys: int, dtype: Any
) -> tuple[Array, Array | None]:
    """Return where scores (N, h, L, keys) are shut, and what is added to the others."""
    count, queries, known = sizes
    masks = [] if padding is None else [padding[:, None, None]]
    if "attn_mask" in given:
        mask = given["attn_mask"]
        masks.append(mask if mask.ndim == 2 else mask.reshape(count, plan.heads, queries, known))
    shut, added = jnp.zeros((1, 1, 1, known), bool), None
    for mask in masks:
        shut = shut | _shut(mask)
        if is_floating(mask.dtype):
            # Where it is shut, infinity must not meet another one.
            number = jnp.where(jnp.isneginf(mask), 0, mask).astype(dtype)
            number = F.stretch(number, (count, plan.heads, queries, known))
            added = number if added is None else added + number
    behind = [(0, 0)] * 3 + [(0, keys - known)]
    shut = jnp.broadcast_to(jnp.pad(shut, behind), (count, plan.heads, queries, keys))
    return shut, None if added is None else jnp.pad(added, behind)


_attention = Primitive(_attend, "MultiheadAttention")


class MultiheadAttention(Layer):
    """``softmax(q @ k.T / sqrt(D)) @ v`` by heads, between affine maps.

    Vaswani et al. 2017, equation 1; the page of ``torch.nn.MultiheadAttention``. N batch, L
    queries, S keys, E = embed_dim, D = E / num_heads.

    Parameters
    ----------
    embed_dim, num_heads : int
    dropout : float
        The probability with which a weight is dropped in training.
    bias : bool
        Whether the maps of inputs and output have biases.
    add_bias_kv : bool
        Whether a key and a value that are learnt stand behind the projected ones.
    add_zero_attn : bool
        Whether a key and a value of zeros stand behind these.
    kdim, vdim : int, optional
        The sizes of keys and values, `embed_dim` by default.
    batch_first : bool
        Whether inputs and output are (N, L, E) and not (L, N, E).
    dtype : dtype
        float32 by default.

    Attributes
    ----------
    in_proj_weight : Parameter, shape (3 E, E)
        The maps to q, k and v above one another; where `kdim` or `vdim` is another size they are
        `q_proj_weight`, `k_proj_weight` and `v_proj_weight`.
    in_proj_bias : Parameter, shape (3 E,), or None
    bias_k, bias_v : Parameter, shape (1, 1, E), or None
    out_proj : Linear

    Raises
    ------
    ValueError
        If a size is not positive, `embed_dim` not divisible by `num_heads`, or `dropout` outside
        [0, 1].
    TypeError
        If a size is no int.
    """

    embed_dim: int
    num_heads: int

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
        dtype: Any = None,
    ) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(embed_dim=embed_dim, num_heads=num_heads)
        name, size = "MultiheadAttention", self.embed_dim
        if size % self.num_heads:  # nn-34
            refuse(name, "embed_dim", f"divisible by num_heads = {self.num_heads}", size)
        self.dropout = check_probability(name, "dropout", dropout)
        self.kdim = size if kdim is None else positive_int(name, "kdim", kdim)
        self.vdim = size if vdim is None else positive_int(name, "vdim", vdim)
        self.batch_first = check_flag(name, "batch_first", batch_first)
        self.add_zero_attn = check_flag(name, "add_zero_attn", add_zero_attn)
        self.head_dim = size // self.num_heads
        present = check_flag(name, "bias", bias)
        self._draw(present, check_flag(name, "add_bias_kv", add_bias_kv))

    def _shapes(self) -> dict[str, Shape]:
        """Return the shapes of the parameters, also of those that an option leaves out."""
        size = self.embed_dim
        return {
            "in_proj_weight": (3 * size, size),
            "q_proj_weight": (size, size),
            "k_proj_weight": (size, self.kdim),
            "v_proj_weight": (size, self.vdim),
            "in_proj_bias": (3 * size,),
            "bias_k": (1, 1, size),
            "bias_v": (1, 1, size),
            "out_proj.weight": (size, size),
            "out_proj.bias": (size,),
        }

    def _draw(self, present: bool, further: bool) -> None:
        """Make the parameters, in the order of their names."""  # nn-02
        size = self.embed_dim
        joint = self.kdim == self.vdim == size
        wanted = {"in_proj_weight": joint, "in_proj_bias": present}
        wanted |= {"bias_k": further, "bias_v": further}
        for name, shape in list(self._shapes().items())[:7]:
            there = wanted.get(name, not joint)
            self._parameter(name, np.zeros(shape) if there else None)
            if there and name != "in_proj_bias":
                draw = xavier_normal_ if name.startswith("bias") else xavier_uniform_
                draw(getattr(self, name))
        self.out_proj = Linear(size, size, bias=False, dtype=self._dtype)
        self.out_proj._parameter("bias", np.zeros(size) if present else None)

    def _inputs(self, query: Any, key: Any, value: Any) -> tuple[dict[str, Any], _Sizes]:
        """Return the inputs by name and N (None without a batch), L and S, or raise."""
        alone = len(shape_of(as_operand("MultiheadAttention", query))) == 2

        def placed(length: Any, batch: Any, width: Any) -> tuple[Any, ...]:
            first = (batch, length) if self.batch_first else (length, batch)
            return (length, width) if alone else (*first, width)

        def checked(name: str, value: Any, sizes: Sequence[Any], letters: Sequence[str]) -> Any:
            return self._check(name, value, placed(*sizes), f"({', '.join(placed(*letters))})")

        letters = ("L", "N", "embed_dim")
        made = {"query": checked("query", query, (None, None, self.embed_dim), letters)}
        length, batch = self._read(made["query"])
        letters = ("S", "N", "kdim")
        made["key"] = checked("key", key, (None, batch, self.kdim), letters)
        count, _ = self._read(made["key"])
        letters = ("S", "N", "vdim")
        made["value"] = checked("value", value, (count, batch, self.vdim), letters)
        return made, (batch, length, count)

    def _read(self, x: Any) -> tuple[int, int | None]:
        """Return the length and the batch of an input, None for no batch."""
        first, *rest = shape_of(x)[:-1]
        if not rest:
            return first, None
        return (rest[0], first) if self.batch_first else (first, rest[0])

    def _mask(self, argument: str, value: Any, sizes: _Sizes) -> Any:
        """Return a mask of the right shape and kind, or raise."""
        name, mask = "MultiheadAttention", as_operand("MultiheadAttention", value)
        if dtype_of(mask) != bool_ and not is_floating(dtype_of(mask)):  # nn-34
            msg = f"{name}: {argument} must be of booleans or floating, got dtype {dtype_of(mask)}"
            raise TypeError(msg)
        batch, length, count = sizes
        if argument == "attn_mask":
            each = ((1 if batch is None else batch) * self.num_heads, length, count)
            shapes: tuple[Shape, ...] = ((length, count), each)
        else:
            shapes = ((count,) if batch is None else (batch, count),)
        if shape_of(mask) not in shapes:
            refuse(name, argument, f"of shape {' or '.join(map(str, shapes))}", shape_of(mask))
        return mask

    def _held(self) -> dict[str, Any]:
        """Return the parameters that there are, by name; raise if one has another shape."""
        held = {name: getattr(self, name) for name in self._parameters}
        held |= {f"out_proj.{name}": getattr(self.out_proj, name) for name in ("weight", "bias")}
        there = {name: parameter for name, parameter in held.items() if parameter is not None}
        for name, parameter in there.items():
            check_parameter("MultiheadAttention", name, parameter, self._shapes()[name])
        return there

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
        """Return what the queries find, and the weights.

        Parameters
        ----------
        query : shape (L, N, E), (N, L, E) with `batch_first`, or (L, E)
        key, value : shapes (S, N, kdim) and (S, N, vdim), or likewise
        key_padding_mask : shape (N, S) or (S,), optional
            True where keys and values count for nothing, or numbers to add to the scores.
        need_weights : bool
            Whether the weights are returned; None stands in their place otherwise.
        attn_mask : shape (L, S) or (N * num_heads, L, S), optional
            True where a query may not look, or numbers to add to the scores.
        average_attn_weights : bool
            Whether the weights are the mean of those of the heads.
        is_causal : bool
            Says that `attn_mask` is causal.

        Returns
        -------
        tuple
            The output, in the layout of `query`, and the weights (N, L, S), (N, num_heads, L, S)
            without the mean, or None.

        Raises
        ------
        ValueError
            If a shape does not fit, or `is_causal` comes without `attn_mask`.
        TypeError
            If an input's dtype is not that of the parameters, or a mask is of integers.
        """
        name = "MultiheadAttention"
        operands, sizes = self._inputs(query, key, value)
        masks = {"key_padding_mask": key_padding_mask, "attn_mask": attn_mask}
        for argument, mask in masks.items():
            if mask is not None:
                operands[argument] = self._mask(argument, mask, sizes)
        if check_flag(name, "is_causal", is_causal) and attn_mask is None:  # nn-33
            refuse(name, "attn_mask", "given where is_causal is True", None)
        mean = check_flag(name, "average_attn_weights", average_attn_weights)
        needed = check_flag(name, "need_weights", need_weights)
        operands |= self._held()
        dropping = self.training and self.dropout > 0
        if dropping:
            batch, length, count = sizes
            count += (self.bias_k is not None) + self.add_zero_attn
            shape = (1 if batch is None else batch, self.num_heads, length, count)
            operands["keep"] = ~below(self.dropout, shape, query)  # nn-32
        how = ("mean" if mean else "each") if needed else ""
        p = float(self.dropout) if dropping else 0.0
        options = (self.num_heads, self.batch_first, self.add_zero_attn, p, how)
        plan = _Plan(tuple(operands), *options)
        made = _attention(list(operands.values()), plan)
        return made if needed else (made, None)
