"""Functions from deep learning."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.checks import normalize_axes
from impl_numpy.dtypes import Array, Axis, Shape, Value
from impl_numpy.ops.families import along, registered, rule, unary
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw
from impl_numpy.recording import unary as record_unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _sigmoid(x: Array) -> Array:
    # exp of what is never positive cannot overflow, and the small tail keeps its digits.
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, tail).astype(x.dtype, copy=False) / (1 + tail)


def _relu_grad(grad: Value, x: None, out: Value) -> Value:
    return RULES["where"](grad, np.zeros((), grad.dtype), raw(out) > 0)


relu = unary(
    "relu",
    lambda x: np.maximum(x, x.dtype.type(0)),
    _relu_grad,
    OUT,
    "Return max(x, 0).",
    floats=False,
    source="torch.nn.functional.relu",
)  # ops-07
sigmoid = unary(
    "sigmoid",
    _sigmoid,
    lambda g, x, y: g * (y * (1 - y)),
    OUT,
    "Return 1 / (1 + exp(-x)), without overflow at either end.",
    source="torch.sigmoid",
)  # ops-06


def _softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    part = grad * out
    return (part - out * part.sum(axis=axis, keepdims=True),)


def _log_softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    return (grad - RULES["exp"](out) * grad.sum(axis=axis, keepdims=True),)


def _softmax(x: Array, axis: int) -> Array:
    out = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    out /= out.sum(axis=axis, keepdims=True)
    return out


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def _logsumexp(x: Array, axes: Shape) -> Array:
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    # An infinite maximum would make inf - inf of what is plainly inf or -inf.
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    return np.log(np.exp(x - top).sum(axis=axes, keepdims=True)) + top


def _softmax_over(x: Array, axes: Shape) -> Array:
    out = np.exp(x - x.max(axis=axes, keepdims=True, initial=-np.inf))
    out /= out.sum(axis=axes, keepdims=True)
    return out


def _softmax_over_vjp(grad: Value, needs: Parents, x: None, out: Value, axes: Shape) -> Grads:
    part = grad * out
    return (part - out * part.sum(axis=axes, keepdims=True),)


softmax = along(
    "softmax",
    _softmax,
    _softmax_vjp,
    "Return exp(x) / sum(exp(x)) along an axis, without overflow.",
    "torch.nn.functional.softmax",
)  # ops-05
log_softmax = along(
    "log_softmax",
    _log_softmax,
    _log_softmax_vjp,
    "Return log(softmax(x)) along an axis, without overflow.",
    "torch.nn.functional.log_softmax",
)  # ops-05
_weights = Primitive(
    "softmax", _softmax_over, _softmax_over_vjp, ((OUT,),), floats=True, quiet=True
)
rule(
    Primitive(
        "logsumexp",
        _logsumexp,
        # exp(x - out) would lose the digits of x - max(x) where the maximum is large.
        lambda grad, needs, x, out, axes: (grad * _weights(x, axes),),
        ((0,),),
        floats=True,
        quiet=True,
    )
)

_LOGSUMEXP = """Parameters
----------
x : Tensor or raw array
axis : int, tuple of int, or None for all
keepdims : bool
    Keep the axes, with length 1.

Returns
-------
Tensor, the shape of x without the axes

Raises
------
ValueError
    If an axis is out of range or comes twice.
TypeError
    If x is no array or an axis no int."""


@registered(
    "logsumexp", "Return log(sum(exp(x))), without overflow.", _LOGSUMEXP, "torch.logsumexp"
)
def logsumexp(x: Any, /, axis: Axis = -1, *, keepdims: bool = False) -> Tensor:  # ops-05, ops-19
    x = as_tensor("logsumexp", x)
    axes = normalize_axes("logsumexp", axis, x.shape)
    result: Tensor = record_unary(RULES["logsumexp"], x, (axes,))
    if keepdims:
        return result
    return result.reshape(tuple(n for k, n in enumerate(x.shape) if k not in axes))
