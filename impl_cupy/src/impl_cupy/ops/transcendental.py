"""Exponentials, logarithms, functions of angles and their kin; one kernel computes each gradient.

The derivatives are those of ops-37.
"""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.launch import fused, pointwise
from impl_cupy.ops.families import binary, unary


def _of_parts(real: Any, imag: Any) -> Any:
    """Return the complex array of two real ones."""
    parts = cp.stack([real, imag], axis=-1)
    return parts.view(f"c{2 * parts.dtype.itemsize}").reshape(real.shape)


def _expm1(raw: Any) -> Any:
    """Compute `expm1`; CuPy's takes 1 from the power of a complex number, which costs digits."""
    if raw.dtype.kind != "c":
        return cp.expm1(raw)
    a, b = raw.real, raw.imag
    half = cp.sin(b * 0.5)
    return _of_parts(cp.expm1(a) * cp.cos(b) - 2 * half * half, cp.exp(a) * cp.sin(b))


def _log1p(raw: Any) -> Any:
    """Compute `log1p`; CuPy's adds 1 to a complex number, which costs digits."""
    if raw.dtype.kind != "c":
        return cp.log1p(raw)
    a, b = raw.real, raw.imag
    near = cp.log1p(a * (a + 2) + b * b) * 0.5
    is_near = cp.hypot(a, b) < 0.5
    return _of_parts(cp.where(is_near, near, cp.log(cp.hypot(a + 1, b))), cp.arctan2(b, a + 1))


expm1 = unary(
    "expm1",
    _expm1,
    # Not of the result: near -1 it has no digits left of what is missing.
    fused("expm1_backward", "x", lambda node, grad: grad * node.xp.exp(node.x)),
    "Return ``e ** x - 1``, with all digits near 0.",
    uses="x",
    real=True,
)
log1p = unary(
    "log1p",
    _log1p,
    fused("log1p_backward", "x", lambda node, grad: grad / (1 + node.x)),
    "Return ``log(1 + x)``, with all digits near 0.",
    uses="x",
    real=True,
)
log2 = unary(
    "log2",
    cp.log2,
    fused("log2_backward", "x", lambda node, grad: grad / (node.x * math.log(2))),
    "Return the logarithm to the base 2.",
    uses="x",
    real=True,
)
log10 = unary(
    "log10",
    cp.log10,
    fused("log10_backward", "x", lambda node, grad: grad / (node.x * math.log(10))),
    "Return the logarithm to the base 10.",
    uses="x",
    real=True,
)
tan = unary(
    "tan",
    cp.tan,
    fused("tan_backward", "output", lambda node, grad: grad * (1 + node.output * node.output)),
    "Return the tangent.",
    uses="output",
    real=True,
)


def _to_quarter_circle(node: Any, grad: Any) -> Any:
    return grad / node.xp.sqrt((1 - node.x) * (1 + node.x))


asin = unary(
    "asin",
    cp.arcsin,
    fused("asin_backward", "x", _to_quarter_circle),
    "Return the arc sine; its gradient at 1 and -1 is infinite.",
    uses="x",
    real=True,
)
acos = unary(
    "acos",
    cp.arccos,
    fused("acos_backward", "x", lambda node, grad: -_to_quarter_circle(node, grad)),
    "Return the arc cosine; its gradient at 1 and -1 is infinite.",
    uses="x",
    real=True,
)
atan = unary(
    "atan",
    cp.arctan,
    fused("atan_backward", "x", lambda node, grad: grad / (1 + node.x * node.x)),
    "Return the arc tangent.",
    uses="x",
    real=True,
)
sinh = unary(
    "sinh",
    cp.sinh,
    fused("sinh_backward", "x", lambda node, grad: grad * node.xp.cosh(node.x)),
    "Return the hyperbolic sine.",
    uses="x",
    real=True,
)
cosh = unary(
    "cosh",
    cp.cosh,
    fused("cosh_backward", "x", lambda node, grad: grad * node.xp.sinh(node.x)),
    "Return the hyperbolic cosine.",
    uses="x",
    real=True,
)


def _asinh(node: Any, grad: Any) -> Any:
    if grad.dtype.kind == "c":
        return grad / node.xp.sqrt(1 + node.x * node.x)
    # A square would overflow where the root does not.
    return grad / node.xp.hypot(node.x, 1)


def _acosh(node: Any, grad: Any) -> Any:
    x, root = node.x, node.xp.sqrt
    # One root of a product has another cut than the function.
    return grad / (root(x - 1) * root(x + 1) if x.dtype.kind == "c" else root((x - 1) * (x + 1)))


asinh = unary(
    "asinh",
    cp.arcsinh,
    fused("asinh_backward", "x", _asinh),
    "Return the inverse of the hyperbolic sine.",
    uses="x",
    real=True,
)
acosh = unary(
    "acosh",
    cp.arccosh,
    fused("acosh_backward", "x", _acosh),
    "Return the inverse of the hyperbolic cosine; its gradient at 1 is infinite.",
    uses="x",
    real=True,
)
atanh = unary(
    "atanh",
    cp.arctanh,
    fused("atanh_backward", "x", lambda node, grad: grad / ((1 - node.x) * (1 + node.x))),
    "Return the inverse of the hyperbolic tangent; its gradient at 1 and -1 is infinite.",
    uses="x",
    real=True,
)
erf = unary(
    "erf",
    lambda raw: pointwise("error_function")(raw),
    fused(
        "erf_backward",
        "x",
        lambda node, grad: grad * (node.xp.exp(-node.x * node.x) * (2 / math.sqrt(math.pi))),
    ),
    "Return the error function, ``2 / sqrt(pi)`` times the integral of ``exp(-t ** 2)`` to `x`.",
    uses="x",
    real=True,
    source="the page of torch.erf",
)


def _over_square(node: Any, grad: Any, operand: Any) -> Any:
    """Return ``grad * operand / (x1 ** 2 + x2 ** 2)``, of which no square overflows."""
    far = node.xp.hypot(node.x, node.other)
    return grad * (operand / far / far)


atan2 = binary(
    "atan2",
    cp.arctan2,
    (
        fused("atan2_to_first", "x other", lambda node, grad: _over_square(node, grad, node.other)),
        fused("atan2_to_second", "x other", lambda node, grad: -_over_square(node, grad, node.x)),
    ),
    "Return the angle of the point (`x2`, `x1`), in its quadrant.",
    uses=("x other", "x other"),
    real=True,
)


def of_length(xp: Any, grad: Any, operand: Any, length: Any) -> Any:
    """Return ``grad * operand / length``, and 0 where the length is 0; of Tensors."""
    is_zero = length == 0
    slope = grad * (operand / xp.where(is_zero, xp.ones_like(length), length))
    return xp.where(is_zero, xp.zeros_like(slope), slope)


hypot = binary(
    "hypot",
    cp.hypot,
    (
        fused(
            "length_backward",
            "x output",
            lambda node, grad: of_length(node.xp, grad, node.x, node.output),
        ),
        fused(
            "length_backward",
            "other output",
            lambda node, grad: of_length(node.xp, grad, node.other, node.output),
        ),
    ),
    "Return ``sqrt(x1 ** 2 + x2 ** 2)``, without overflow; its gradient at (0, 0) is 0.",
    uses=("x output", "other output"),
    real=True,
)
logaddexp = binary(
    "logaddexp",
    cp.logaddexp,
    (
        fused(
            "logaddexp_backward",
            "x other",
            lambda node, grad: grad * node.xp.sigmoid(node.x - node.other),
        ),
        fused(
            "logaddexp_backward",
            "other x",
            lambda node, grad: grad * node.xp.sigmoid(node.other - node.x),
        ),
    ),
    "Return ``log(exp(x1) + exp(x2))``, without overflow.",
    uses=("x other", "x other"),
    real=True,
)
