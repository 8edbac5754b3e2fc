"""Functions from deep learning; where a gradient is pointwise, one kernel computes it."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, normalize_axes
from impl_cupy.launch import fused, pointwise
from impl_cupy.ops.families import along, unary, written
from impl_cupy.recording import as_tensor, floating, record
from impl_cupy.sums import kept_shape, total
from impl_cupy.tape import RawArray, handles
from impl_cupy.tensor import Axis, Tensor

relu = unary(
    "relu",
    lambda raw: cp.maximum(raw, 0),
    fused(
        "relu_backward",
        "x",
        lambda node, grad: node.xp.where(node.x <= 0, node.xp.zeros_like(grad), grad),  # ops-07
    ),
    "Return ``max(x, 0)``; the gradient at 0 is 0, and passes at NaN.",
    uses="x",
    source="the page of torch.nn.functional.relu",
)
tanh = unary(
    "tanh",
    cp.tanh,
    fused("tanh_backward", "output", lambda node, grad: grad * (1 - node.output * node.output)),
    "Return the hyperbolic tangent.",
    uses="output",
    real=True,
)
sigmoid = unary(
    "sigmoid",
    lambda raw: pointwise("sigmoid")(raw),  # ops-06
    # Of x, not of the result: near 1 it has no digits left of what is missing to 1.
    fused(
        "sigmoid_backward",
        "x",
        lambda node, grad: grad * (handles.sigmoid(node.x) * handles.sigmoid(-node.x)),
    ),
    "Return ``1 / (1 + exp(-x))``, right at both ends.",
    uses="x",
    real=True,
    source="the page of torch.sigmoid",
)


def _softmax(raw: RawArray, axes: tuple[int, ...]) -> RawArray:
    if raw.size == 0:
        return raw.copy()
    powers = cp.exp(raw - cp.max(raw, axis=axes, keepdims=True))  # ops-05
    powers /= total(powers, axis=axes, keepdims=True)
    return powers


def _softmax_slope(node: Any, grad: Any) -> Any:
    weighted = grad * node.output
    if isinstance(grad, cp.ndarray):
        sums = total(weighted, axis=node.config, keepdims=True)
        return pointwise("softmax_backward")(node.output, sums, grad)
    return weighted - node.output * node.xp.sum(weighted, axis=node.config, keepdims=True)


softmax = along(
    "softmax",
    _softmax,
    _softmax_slope,
    "Return ``exp(x) / sum(exp(x))`` along `axis`, without overflow.",
    source="the page of torch.nn.functional.softmax",
)


def log_softmax_raw(raw: RawArray, axes: tuple[int, ...]) -> RawArray:
    """Return `log_softmax` of a raw array."""
    if raw.size == 0:
        return raw.copy()
    shifted = raw - cp.max(raw, axis=axes, keepdims=True)  # ops-05
    shifted -= cp.log(total(cp.exp(shifted), axis=axes, keepdims=True))
    return shifted


def _log_softmax_slope(node: Any, grad: Any) -> Any:
    xp = node.xp
    if isinstance(grad, cp.ndarray):
        sums = total(grad, axis=node.config, keepdims=True)
        return pointwise("log_softmax_backward")(node.output, sums, grad)
    return grad - xp.exp(node.output) * xp.sum(grad, axis=node.config, keepdims=True)


log_softmax = along(
    "log_softmax",
    log_softmax_raw,
    _log_softmax_slope,
    "Return ``x - log(sum(exp(x)))`` along `axis`, without overflow.",
    source="the page of torch.nn.functional.log_softmax",
)


@written("the page of torch.logsumexp")
def logsumexp(x: Any, /, axis: Axis = -1, *, keepdims: bool = False) -> Tensor:
    """Return ``log(sum(exp(x)))`` over `axis`, without overflow.

    Parameters
    ----------
    x : Tensor or raw array, any shape; integers become float32
    axis : int, tuple of int or None
        The axes to go over; None means all (ops-19).
    keepdims : bool
        Whether those axes stay, with length 1.

    Returns
    -------
    Tensor, shape of `x` without the axes

    Raises
    ------
    TypeError
        If `x` is no array, or `axis` no int.
    ValueError
        If an axis is out of range.
    """
    value = floating(as_tensor("logsumexp", x))
    axes = normalize_axes("logsumexp", axis, value.shape)
    keepdims = check_flag("logsumexp", "keepdims", keepdims)
    kept = kept_shape(value.shape, axes)
    dropped = tuple(size for place, size in enumerate(value.shape) if place not in axes)
    sizes = kept if keepdims else dropped

    def forward(raw: RawArray) -> RawArray:
        if not axes:
            return raw.copy()
        if raw.size == 0:
            return cp.full(sizes, -math.inf, dtype=raw.dtype)  # ops-24
        largest = cp.max(raw, axis=axes, keepdims=True)
        # An infinite largest would make NaN of the difference; without it the sum is right as is.
        largest = cp.where(cp.isfinite(largest), largest, cp.zeros_like(largest))
        logs = cp.log(total(cp.exp(raw - largest), axis=axes, keepdims=True))
        return (logs + largest).reshape(sizes)

    return record("logsumexp", forward, _logsumexp, (value,), keep_inputs=True, config=(axes, kept))


def _logsumexp(node: Any, grad: Any) -> tuple[Any]:
    x = node.x
    axes, kept = node.config
    # exp(x - logsumexp(x)) would lose digits where x is large.
    odds = softmax(x, axis=axes) if isinstance(x, Tensor) else _softmax(x, axes)
    return (node.xp.reshape(grad, kept) * odds,)
