"""Functions from deep learning; where a gradient is pointwise, one kernel computes it."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice, check_flag, check_number, normalize_axes
from impl_cupy.launch import fused, pointwise
from impl_cupy.memory import RawArray
from impl_cupy.ops.families import along, unary, written
from impl_cupy.recording import as_tensor, floating, record
from impl_cupy.sums import kept_shape, total
from impl_cupy.tape import handles
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


# Beyond it the weights of what follows are 0 or 1; with an infinite x they would make NaN.
_FAR = 1e4


def near(node: Any) -> Any:
    """Return a node's operand within bounds beyond which nothing changes."""
    return node.xp.clip(node.x, -_FAR, _FAR)


def _silu(node: Any, grad: Any) -> Any:
    x, sigmoid = near(node), handles.sigmoid
    return grad * (sigmoid(x) + x * (sigmoid(x) * sigmoid(-x)))


silu = unary(
    "silu",
    lambda raw: pointwise("silu")(raw),
    fused("silu_backward", "x", _silu),
    "Return ``x * sigmoid(x)``.",
    uses="x",
    real=True,
    source="the page of torch.nn.functional.silu",
)
softplus = unary(
    "softplus",
    lambda raw: pointwise("softplus")(raw),  # ops-36
    fused("softplus_backward", "x", lambda node, grad: grad * handles.sigmoid(node.x)),
    "Return ``log(1 + exp(x))``, without overflow.",
    uses="x",
    real=True,
    source="the page of torch.nn.functional.softplus",
)


def shaped(name: str, kernel: str, x: Any, rule: Any, *numbers: float) -> Tensor:
    """Apply a kernel of an operand and the numbers that shape the function."""
    value = floating(as_tensor(name, x))
    return record(
        name,
        lambda raw: pointwise(kernel)(raw, *numbers),
        rule,
        (value,),
        keep_inputs=True,
        config=numbers,
    )


@written("the page of torch.nn.functional.leaky_relu")
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Tensor:
    """Return `x` where it is above 0, and ``negative_slope * x`` elsewhere.

    Parameters
    ----------
    x : Tensor or raw array, any shape; integers become float32
    negative_slope : number

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `negative_slope` no number.
    """
    check_number("leaky_relu", "negative_slope", negative_slope)
    return shaped("leaky_relu", "leaky_relu", x, _leaky_relu, float(negative_slope))


def _leaky_relu(node: Any, grad: Any) -> tuple[Any]:
    (slope,) = node.config
    if isinstance(grad, cp.ndarray):
        return (pointwise("leaky_relu_backward")(node.x, slope, grad),)
    return (node.xp.where(node.x > 0, grad, grad * slope),)


@written("the page of torch.nn.functional.elu")
def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    """Return `x` where it is above 0, and ``alpha * (exp(x) - 1)`` elsewhere.

    Parameters
    ----------
    x : Tensor or raw array, any shape; integers become float32
    alpha : number

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or `alpha` no number.
    """
    check_number("elu", "alpha", alpha)
    return shaped("elu", "elu", x, elu_rule, float(alpha), 1.0)


def elu_rule(node: Any, grad: Any) -> tuple[Any]:
    """Give the gradient of ``scale * elu(x, alpha)``; `config` is (alpha, scale)."""
    alpha, scale = node.config
    xp = node.xp
    if isinstance(grad, cp.ndarray):
        return (pointwise("elu_backward")(node.x, alpha, scale, grad),)
    # Without the bound exp overflows where it is not chosen, and 0 times that is NaN.
    slope = alpha * xp.exp(xp.clip(node.x, max=0.0))
    return (xp.where(node.x > 0, grad * scale, grad * (scale * slope)),)


@written("the page of torch.nn.functional.gelu")
def gelu(x: Any, /, approximate: str = "none") -> Tensor:
    """Return `x` times the normal distribution below it, or with tanh in the place of erf.

    Parameters
    ----------
    x : Tensor or raw array, any shape; integers become float32
    approximate : {"none", "tanh"}
        With tanh it is ``x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x ** 3))) / 2``.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array.
    ValueError
        If `approximate` is neither of the two.
    """
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    if approximate == "tanh":
        return shaped("gelu", "gelu_tanh", x, _gelu_tanh)
    return shaped("gelu", "gelu", x, _gelu)


def _gelu(node: Any, grad: Any) -> tuple[Any]:
    if isinstance(grad, cp.ndarray):
        return (pointwise("gelu_backward")(node.x, grad),)
    x, xp = near(node), node.xp
    below = 0.5 * (1 + xp.erf(x * math.sqrt(0.5)))
    density = xp.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
    return (grad * (below + x * density),)


def _gelu_tanh(node: Any, grad: Any) -> tuple[Any]:
    if isinstance(grad, cp.ndarray):
        return (pointwise("gelu_tanh_backward")(node.x, grad),)
    x, sigmoid = near(node), handles.sigmoid
    twice = 2 * math.sqrt(2 / math.pi)
    inner = twice * (x + 0.044715 * x * x * x)
    steep = twice * (1 + 3 * 0.044715 * x * x)
    return (grad * (sigmoid(inner) + x * steep * (sigmoid(inner) * sigmoid(-inner))),)


def _softmax(raw: RawArray, axes: tuple[int, ...]) -> RawArray:
    if raw.size == 0:
        return raw.copy()
    powers = cp.exp(raw - cp.max(raw, axis=axes, keepdims=True))  # ops-05
    powers /= total(powers, axis=axes, keepdims=True)
    return powers


def softmax_slope(node: Any, grad: Any) -> Any:
    """Give the gradient of a softmax, whose axes are `config`."""
    weighted = grad * node.output
    if isinstance(grad, cp.ndarray):
        sums = total(weighted, axis=node.config, keepdims=True)
        return pointwise("softmax_backward")(node.output, sums, grad)
    return node.output * (grad - node.xp.sum(weighted, axis=node.config, keepdims=True))


softmax = along(
    "softmax",
    _softmax,
    softmax_slope,
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
