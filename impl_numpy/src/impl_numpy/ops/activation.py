"""Functions from deep learning."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.checks import check_choice, check_flag, check_number, normalize_axes
from impl_numpy.dtypes import Array, Axis, Shape, Value, float32
from impl_numpy.ops import blocks
from impl_numpy.ops.blocks import FAR
from impl_numpy.ops.elementwise import NEAR, SHORT, between, cosh, masked
from impl_numpy.ops.families import X, along, reduced_shape, registered, rule, unary
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw
from impl_numpy.recording import unary as record_unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _in_blocks(x: Any) -> bool:
    """Tell whether an array is one for `blocks`: fewer elements take longer there."""
    return x.dtype == float32 and x.size >= SHORT


def _sigmoid(x: Array) -> Array:
    if _in_blocks(x):
        return blocks.in_blocks(blocks.sigmoid, x)
    # Where the exponential is infinite, the result is less than the smallest normal number.
    result: Array = 1 / (1 + np.exp(-x))
    return result


def _relu_grad(grad: Value, x: None, out: Value) -> Value:
    # Not "out > 0": a NaN passes the gradient on (ops-27).
    return masked(grad, ~(raw(out) <= 0))


def _slope_of_sigmoid(x: Array, y: Array) -> Any:
    if y.dtype == float32 and y.ndim:
        # As in the slope of tanh: 1 / (2 + 2 cosh x).
        slope = cosh(x) if x.size >= SHORT else np.cosh(x)
        slope += 1
        return np.divide(0.5, slope, out=slope)
    slope = y * (1 - y)
    if y.size and np.fmax.reduce(y, axis=None) > 1 - NEAR:
        # Close to 1, 1 - y has lost its digits; as in the slope of tanh.
        slope = np.where(y > 1 - NEAR, np.exp(-x) * y * y, slope)
    return slope


def _sigmoid_grad(grad: Value, x: Value, y: Value) -> Value:
    if isinstance(grad, np.ndarray):
        if _in_blocks(x):
            return blocks.in_blocks(blocks.sigmoid_slope, x, grad)
        return grad * _slope_of_sigmoid(x, y)
    return grad * _sigmoid_slope(x, raw(y))


_sigmoid_slope = Primitive(
    "sigmoid",
    _slope_of_sigmoid,
    lambda grad, needs, x, out, y: (grad * (out * (1 - 2 * RULES["sigmoid"](x))),),
    ((X, OUT),),
)


relu = unary(
    "relu",
    lambda x: np.maximum(x, x.dtype.type(0)),
    _relu_grad,
    OUT,
    "Return max(x, 0).",
    floats=False,
    real=True,
    source="torch.nn.functional.relu",
)  # ops-07
sigmoid = unary(
    "sigmoid",
    _sigmoid,
    _sigmoid_grad,
    (X, OUT),
    "Return 1 / (1 + exp(-x)), without overflow at either end.",
    real=True,
    source="torch.sigmoid",
)  # ops-06


def _softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    return _softmax_over_vjp(grad, needs, x, out, (axis,))


def _log_softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    if type(grad) is np.ndarray and type(out) is np.ndarray:
        # In the same memory: of large arrays, fresh memory costs as much as the arithmetic.
        part = np.exp(out)
        part *= total(grad, (axis,), True)
        return (np.subtract(grad, part, part),)
    return (grad - RULES["exp"](out) * _totalled(grad, (axis,)),)


def _softmax(x: Array, axis: int) -> Array:
    return _softmax_over(x, (axis,))


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    shifted -= np.log(total(np.exp(shifted), (axis,), True))
    return shifted


def _logsumexp(x: Array, axes: Shape) -> Array:
    top = x.max(axis=axes, keepdims=True, initial=-np.inf)
    # An infinite maximum would make inf - inf of what is plainly inf or -inf.
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    return np.log(total(np.exp(x - top), axes, True)) + top


def _softmax_over(x: Array, axes: Shape) -> Array:
    out = x - x.max(axis=axes, keepdims=True, initial=-np.inf)
    np.exp(out, out)
    out /= total(out, axes, True)
    return out


def _softmax_over_vjp(grad: Value, needs: Parents, x: None, out: Value, axes: Shape) -> Grads:
    part = grad * out
    if type(part) is np.ndarray:
        # In the same memory.
        np.subtract(grad, total(part, axes, True), part)
        return (np.multiply(part, out, part),)
    return (part - out * _totalled(part, axes),)


def _totalled(x: Value, axes: Shape) -> Value:
    """Return the sum over some axes, kept at length 1, of a raw array or a Tensor."""
    if type(x) is np.ndarray:
        return total(x, axes, True)
    return RULES["sum"](x, axes, True, reduced_shape(axes, x.shape), x.shape)


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
_weights = Primitive("softmax", _softmax_over, _softmax_over_vjp, ((OUT,),), floats=True)
rule(
    Primitive(
        "logsumexp",
        _logsumexp,
        # exp(x - out) would lose the digits of x - max(x) where the maximum is large.
        lambda grad, needs, x, out, axes: (grad * _weights(x, axes),),
        ((0,),),
        floats=True,
        real=True,
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
    x = as_tensor("logsumexp", x, passing=True)
    axes = normalize_axes("logsumexp", axis, x.shape)
    keepdims = check_flag("logsumexp", "keepdims", keepdims)
    result: Tensor = record_unary(RULES["logsumexp"], x, (axes,))
    if keepdims:
        return result
    return result.reshape(tuple(n for k, n in enumerate(x.shape) if k not in axes))


def _silu(x: Array) -> Array:
    if _in_blocks(x):
        return blocks.in_blocks(blocks.silu, x)
    return np.where(np.isposinf(x), x, np.maximum(x, -FAR) * _sigmoid(x))


def _silu_grad(grad: Value, x: Value, out: None) -> Value:
    if isinstance(grad, np.ndarray) and _in_blocks(x):
        return blocks.in_blocks(blocks.silu_slope, x, grad)
    near = between(x, -FAR, FAR)
    s = RULES["sigmoid"](near)
    return grad * (s + near * s * RULES["sigmoid"](-near))


def _softplus(x: Array) -> Any:
    if _in_blocks(x):
        return blocks.in_blocks(blocks.softplus, x)
    return np.logaddexp(x, x.dtype.type(0))


silu = unary(
    "silu",
    _silu,
    _silu_grad,
    X,
    "Return x * sigmoid(x).",
    real=True,
    source="torch.nn.functional.silu",
)  # ops-37
softplus = unary(
    "softplus",
    _softplus,
    lambda grad, x, out: grad * RULES["sigmoid"](x),
    X,
    "Return log(1 + exp(x)), without overflow.",
    real=True,
    source="torch.nn.functional.softplus",
)  # ops-36

_SHAPED = """Parameters
----------
x : Tensor or raw array, any shape
{option}

Returns
-------
Tensor, the shape of x

Raises
------
ValueError, TypeError
    If x is no array, or the other argument does not fit."""


def _leaky_vjp(grad: Value, needs: Parents, x: Value, out: None, slope: float) -> Grads:
    return (RULES["where"](grad, grad * slope, raw(x) > 0),)


def _elu_vjp(grad: Value, needs: Parents, x: Value, out: None, alpha: float) -> Grads:
    below = grad * (alpha * RULES["exp"](between(x, None, 0.0)))
    return (RULES["where"](grad, below, raw(x) > 0),)


_leaky = Primitive(
    "leaky_relu",
    lambda x, slope: np.where(x > 0, x, x * slope),
    _leaky_vjp,
    ((X,),),
    floats=True,
    real=True,
)
_elu = Primitive(
    "elu",
    lambda x, alpha: np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0))),
    _elu_vjp,
    ((X,),),
    floats=True,
    real=True,
)


def _tanh_of(x: Value) -> Value:
    """Return the hyperbolic tangent in the approximation of the normal distribution."""
    return RULES["tanh"](_STEEP * (x + _CUBIC * x * x * x))


_STEEP, _CUBIC = math.sqrt(2 / math.pi), 0.044715


# By the form: the function, and the gradient times its slope.
_GELU = {
    "none": (blocks.gelu, blocks.gelu_slope),
    "tanh": (blocks.gelu_by_tanh, blocks.gelu_by_tanh_slope),
}


def _gelu(x: Array, approximate: str) -> Any:
    if x.dtype == float32:
        return blocks.in_blocks(_GELU[approximate][0], x)
    near = np.maximum(x, x.dtype.type(-FAR))
    if approximate == "none":
        return near * ((1 + RULES["erf"](near * math.sqrt(0.5))) * 0.5)
    return near * ((1 + _tanh_of(near)) * 0.5)


def _gelu_vjp(grad: Value, needs: Parents, x: Value, out: None, approximate: str) -> Grads:
    if x.dtype == float32 and isinstance(grad, (np.ndarray, np.generic)):
        return (blocks.in_blocks(_GELU[approximate][1], x, grad),)
    near = between(x, -FAR, FAR)
    if approximate == "none":
        density = RULES["exp"](-0.5 * near * near) * math.sqrt(0.5 / math.pi)
        return (grad * ((1 + RULES["erf"](near * math.sqrt(0.5))) * 0.5 + near * density),)
    t = _tanh_of(near)
    steep = (1 - t * t) * (_STEEP * (1 + 3 * _CUBIC * near * near))
    return (grad * ((1 + t) * 0.5 + near * steep * 0.5),)


_gelu_rule = Primitive("gelu", _gelu, _gelu_vjp, ((X,),), floats=True, real=True)


@registered(
    "leaky_relu",
    "Return x where it is positive, else negative_slope * x.",
    _SHAPED.format(option="negative_slope : float"),
    "torch.nn.functional.leaky_relu",
)
def leaky_relu(x: Any, /, negative_slope: float = 0.01) -> Tensor:
    slope = check_number("leaky_relu", "negative_slope", negative_slope)
    result: Tensor = record_unary(_leaky, as_tensor("leaky_relu", x, passing=True), (float(slope),))
    return result


@registered(
    "elu",
    "Return x where it is positive, else alpha * (exp(x) - 1).",
    _SHAPED.format(option="alpha : float"),
    "torch.nn.functional.elu",
)
def elu(x: Any, /, alpha: float = 1.0) -> Tensor:
    scale = check_number("elu", "alpha", alpha)
    result: Tensor = record_unary(_elu, as_tensor("elu", x, passing=True), (float(scale),))
    return result


@registered(
    "gelu",
    "Return x times the normal distribution's share below x.",
    _SHAPED.format(option="approximate : 'none' or 'tanh'"),
    "torch.nn.functional.gelu",
)
def gelu(x: Any, /, approximate: str = "none") -> Tensor:
    check_choice("gelu", "approximate", approximate, ("none", "tanh"))
    x = as_tensor("gelu", x, passing=True)
    result: Tensor = record_unary(_gelu_rule, x, (approximate,))
    return result
