"""Functions from deep learning; where a gradient is pointwise, one kernel computes it."""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.launch import launch
from impl_cupy.ops.primitive import apply, as_tensor, floating, normalize_axes
from impl_cupy.tensor import Axis, RawArray, Tensor


def _pointwise(kernel: str, *arrays: RawArray) -> RawArray:
    """Run a kernel of ``activation.cu`` on arrays of one shape and dtype."""
    first = arrays[0]
    out = cp.empty(first.shape, dtype=first.dtype)
    launch(
        "activation",
        kernel,
        first.dtype,
        first.size,
        *(cp.ascontiguousarray(each) for each in arrays),
        out,
    )
    return out


def relu(x: Any, /) -> Tensor:
    """Give ``max(x, 0)``; the gradient at 0 is 0."""
    value = as_tensor("relu", x)
    return apply("relu", lambda raw: cp.maximum(raw, 0), _relu, (value,), keep_inputs=True)


def _relu(node: Any, grad: Any) -> tuple[Any]:
    (x,) = node.inputs
    if isinstance(grad, Tensor):
        return (node.xp.where(x > 0, grad, node.xp.zeros_like(grad)),)
    return (_pointwise("relu_backward", grad, x),)


def tanh(x: Any, /) -> Tensor:
    """Give the hyperbolic tangent."""
    return apply("tanh", cp.tanh, _tanh, (floating(as_tensor("tanh", x)),), keep_output=True)


def _tanh(node: Any, grad: Any) -> tuple[Any]:
    y = node.output
    if isinstance(grad, Tensor):
        return (grad * (1 - y * y),)
    return (_pointwise("tanh_backward", grad, y),)


def sigmoid(x: Any, /) -> Tensor:
    """Give ``1 / (1 + exp(-x))``, right at both ends."""
    value = floating(as_tensor("sigmoid", x))
    return apply(
        "sigmoid",
        lambda raw: _pointwise("sigmoid_forward", raw),
        _sigmoid,
        (value,),
        keep_output=True,
    )


def _sigmoid(node: Any, grad: Any) -> tuple[Any]:
    y = node.output
    if isinstance(grad, Tensor):
        return (grad * (y * (1 - y)),)
    return (_pointwise("sigmoid_backward", grad, y),)


def softmax(x: Any, /, axis: int | tuple[int, ...] = -1) -> Tensor:
    """Give ``exp(x) / sum(exp(x))`` along `axis`, without overflow.

    Raises
    ------
    ValueError
        If `axis` is out of range.
    """
    value = floating(as_tensor("softmax", x))
    axes = normalize_axes("softmax", axis, value.shape)
    return apply(
        "softmax",
        lambda raw: _softmax_raw(raw, axes),
        _softmax,
        (value,),
        keep_output=True,
        config=axes,
    )


def _softmax_raw(raw: RawArray, axes: tuple[int, ...]) -> RawArray:
    if raw.size == 0:
        return raw.copy()
    powers = cp.exp(raw - cp.max(raw, axis=axes, keepdims=True))
    powers /= cp.sum(powers, axis=axes, keepdims=True)
    return powers


def _softmax(node: Any, grad: Any) -> tuple[Any]:
    y = node.output
    weighted = grad * y
    return (weighted - y * node.xp.sum(weighted, axis=node.config, keepdims=True),)


def log_softmax(x: Any, /, axis: int | tuple[int, ...] = -1) -> Tensor:
    """Give ``x - log(sum(exp(x)))`` along `axis`, without overflow.

    Raises
    ------
    ValueError
        If `axis` is out of range.
    """
    value = floating(as_tensor("log_softmax", x))
    axes = normalize_axes("log_softmax", axis, value.shape)
    return apply(
        "log_softmax",
        lambda raw: log_softmax_raw(raw, axes),
        _log_softmax,
        (value,),
        keep_output=True,
        config=axes,
    )


def log_softmax_raw(raw: RawArray, axes: tuple[int, ...]) -> RawArray:
    """Give `log_softmax` of a raw array."""
    if raw.size == 0:
        return raw.copy()
    shifted = raw - cp.max(raw, axis=axes, keepdims=True)
    shifted -= cp.log(cp.sum(cp.exp(shifted), axis=axes, keepdims=True))
    return shifted


def _log_softmax(node: Any, grad: Any) -> tuple[Any]:
    xp = node.xp
    return (grad - xp.exp(node.output) * xp.sum(grad, axis=node.config, keepdims=True),)


def logsumexp(x: Any, /, axis: Axis = -1, keepdims: bool = False) -> Tensor:
    """Give ``log(sum(exp(x)))`` along `axis`, without overflow.

    Raises
    ------
    ValueError
        If `axis` is out of range or has no elements.
    """
    value = floating(as_tensor("logsumexp", x))
    axes = normalize_axes("logsumexp", axis, value.shape)
    if any(value.shape[each] == 0 for each in axes):
        msg = f"logsumexp: axis {axis} of shape {value.shape} has no elements"
        raise ValueError(msg)
    kept = tuple(1 if each in axes else size for each, size in enumerate(value.shape))

    def forward(raw: RawArray) -> RawArray:
        if not axes or raw.size == 0:
            return raw.copy() if not axes else cp.zeros(_result_shape(kept), dtype=raw.dtype)
        largest = cp.max(raw, axis=axes, keepdims=True)
        # An infinite largest would make NaN of the difference; without it the sum is right as is.
        largest = cp.where(cp.isfinite(largest), largest, cp.zeros_like(largest))
        total = cp.log(cp.sum(cp.exp(raw - largest), axis=axes, keepdims=True))
        return (total + largest).reshape(_result_shape(kept))

    def _result_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
        if keepdims:
            return shape
        return tuple(size for each, size in enumerate(shape) if each not in axes)

    return apply(
        "logsumexp",
        forward,
        _logsumexp,
        (value,),
        keep_inputs=True,
        config=(axes, kept),
    )


def _logsumexp(node: Any, grad: Any) -> tuple[Any]:
    (x,) = node.inputs
    axes, kept = node.config
    # exp(x - logsumexp(x)) would lose digits where x is large.
    odds = softmax(x, axis=axes) if isinstance(x, Tensor) else _softmax_raw(x, axes)
    return (node.xp.reshape(grad, kept) * odds,)
