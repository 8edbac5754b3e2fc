"""Functions of elements from analysis: logarithms, circular and hyperbolic functions, angles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.batched import asarray
from impl_numpy.dtypes import Array, Value, float32
from impl_numpy.ops import blocks
from impl_numpy.ops.blocks import in_blocks
from impl_numpy.ops.elementwise import masked
from impl_numpy.ops.families import X, binary, unary
from impl_numpy.recording import OUT, RULES, Grads, raw
from impl_numpy.tape import Parents

_error_function = np.frompyfunc(math.erf, 1, 1)


def _erf(x: Array) -> Array:
    if x.dtype == float32:
        return in_blocks(blocks.erf, x)
    # NumPy has none; Python's is good to an ULP.
    result: Array = asarray(_error_function(x)).astype(x.dtype)
    return result


def _acosh_grad(g: Value, x: Value, y: None) -> Value:
    if x.dtype.kind == "c":
        # One root of the product would be that of another branch.
        return g / (_root(x - 1) * _root(x + 1))
    return g / _root((x - 1) * (x + 1))


def _expm1(x: Array) -> Any:
    if x.dtype.kind != "c":
        return np.expm1(x)
    # By parts, so that no digits cancel: e^a cos b - 1 = (e^a - 1) cos b - 2 sin(b / 2)^2. The sum
    # with 0 has no -0.
    a, b = x.real, x.imag
    out = np.empty(x.shape, x.dtype)
    out.real = np.expm1(a) * np.cos(b) - 2 * np.square(np.sin(b / 2)) + 0
    out.imag = np.where(b == 0, b, np.exp(a) * np.sin(b))
    turning = ~np.isfinite(b)
    out.real[a == -np.inf] = -1
    out.imag[(a == -np.inf) & turning] = 0
    out.real[(a == np.inf) & turning] = np.inf
    return out


def _log1p(x: Array) -> Any:
    if x.dtype.kind != "c":
        return np.log1p(x)
    out = asarray(np.log1p(x))
    # Near 0 abs(1 + x) has lost the digits of x: abs(1 + x)^2 - 1 = a (2 + a) + b^2.
    near = np.abs(x) < 0.5
    if near.any():
        a, b = x[near].real, x[near].imag
        out.real[near] = np.log1p(a * (2 + a) + b * b) / 2
    return out


def _exp(x: Value) -> Value:
    return RULES["exp"](x)


def _root(x: Value) -> Value:
    return RULES["sqrt"](x)


reciprocal = unary(
    "reciprocal", lambda x: 1 / x, lambda g, x, y: -(g * (y * y)), OUT, "Return 1 / x."
)
expm1 = unary("expm1", _expm1, lambda g, x, y: g * _exp(x), X, "Return e ** x - 1.")
log1p = unary("log1p", _log1p, lambda g, x, y: g / (1 + x), X, "Return log(1 + x).")
log2 = unary(
    "log2", np.log2, lambda g, x, y: g / (x * math.log(2)), X, "Return the logarithm to base 2."
)
log10 = unary(
    "log10", np.log10, lambda g, x, y: g / (x * math.log(10)), X, "Return the logarithm to base 10."
)
tan = unary("tan", np.tan, lambda g, x, y: g * (1 + y * y), OUT, "Return the tangent.")
asin = unary(
    "asin",
    np.arcsin,
    lambda g, x, y: g / _root((1 - x) * (1 + x)),
    X,
    "Return the angle, from -pi / 2 to pi / 2, whose sine is x.",
)
acos = unary(
    "acos",
    np.arccos,
    lambda g, x, y: -(g / _root((1 - x) * (1 + x))),
    X,
    "Return the angle, from 0 to pi, whose cosine is x.",
)
atan = unary(
    "atan",
    np.arctan,
    lambda g, x, y: g / (1 + x * x),
    X,
    "Return the angle, from -pi / 2 to pi / 2, whose tangent is x.",
)
sinh = unary(
    "sinh", np.sinh, lambda g, x, y: g * RULES["cosh"](x), X, "Return the hyperbolic sine."
)
cosh = unary(
    "cosh", np.cosh, lambda g, x, y: g * RULES["sinh"](x), X, "Return the hyperbolic cosine."
)
asinh = unary(
    "asinh",
    np.arcsinh,
    lambda g, x, y: g / _root(1 + x * x),
    X,
    "Return the number whose hyperbolic sine is x.",
)
acosh = unary(
    "acosh",
    np.arccosh,
    _acosh_grad,
    X,
    "Return the number, at least 0, whose hyperbolic cosine is x.",
)
atanh = unary(
    "atanh",
    np.arctanh,
    lambda g, x, y: g / ((1 - x) * (1 + x)),
    X,
    "Return the number whose hyperbolic tangent is x.",
)
erf = unary(
    "erf",
    _erf,
    lambda g, x, y: g * (2 / math.sqrt(math.pi) * _exp(-(x * x))),
    X,
    "Return the error function.",
    real=True,
    source="torch.erf",
)


def _atan2_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    part = grad / (a * a + b * b)
    return (
        None if needs[0] is None else part * b,
        None if needs[1] is None else -(part * a),
    )


def _hypot_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: Value) -> Grads:
    part, away = grad / out, raw(out) != 0
    return (
        None if needs[0] is None else masked(part * a, away),
        None if needs[1] is None else masked(part * b, away),
    )  # ops-37


def _logaddexp_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    return (
        None if needs[0] is None else grad * RULES["sigmoid"](a - b),
        None if needs[1] is None else grad * RULES["sigmoid"](b - a),
    )


def _copysign_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    x, y = raw(a), raw(b)
    signs = np.copysign(x.dtype.type(1), y) * np.sign(x)
    return (
        None if needs[0] is None else masked(grad * signs, asarray(signs != 0)),
        None if needs[1] is None else masked(grad, np.zeros(y.shape, bool)),
    )


_BOTH: Any = ((0, 1), (0, 1))
atan2 = binary(
    "atan2",
    np.arctan2,
    _atan2_vjp,
    _BOTH,
    "Return the angle of the point (x2, x1).",
    floats=True,
    real=True,
)
hypot = binary(
    "hypot",
    np.hypot,
    _hypot_vjp,
    ((0, OUT), (1, OUT)),
    "Return sqrt(x1 ** 2 + x2 ** 2), without overflow.",
    floats=True,
    real=True,
)
logaddexp = binary(
    "logaddexp",
    np.logaddexp,
    _logaddexp_vjp,
    _BOTH,
    "Return log(exp(x1) + exp(x2)), without overflow.",
    floats=True,
    real=True,
)
copysign = binary(
    "copysign",
    np.copysign,
    _copysign_vjp,
    _BOTH,
    "Return the size of x1 with the sign of x2.",
    floats=True,
    real=True,
)
