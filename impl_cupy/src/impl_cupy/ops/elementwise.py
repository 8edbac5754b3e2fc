"""Arithmetic and functions of one element, with their gradients."""

from __future__ import annotations

import cmath
import math
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_device, check_dtype, check_flag, refuse_shapes
from impl_cupy.dtypes import DTypeLike, bool_, check_fits, int64, number_dtype, plain, with_number
from impl_cupy.launch import fused, pointwise
from impl_cupy.ops.families import binary, unary, written
from impl_cupy.recording import (
    as_operand,
    as_operands,
    as_tensor,
    cast,
    record,
    sum_to,
)
from impl_cupy.tape import handles, keep
from impl_cupy.tensor import Tensor


def _abs(node: Any, grad: Any) -> Any:
    """Send the gradient along the sign, which is a complex number's direction."""
    if isinstance(grad, cp.ndarray) and node.x.dtype.kind != "c":
        return pointwise("abs_backward")(node.x, grad)
    slope = grad * node.xp.sign(node.x)
    return node.xp.where(node.x == 0, node.xp.zeros_like(slope), slope)


def _sign(node: Any, grad: Any) -> Any:
    xp, x = node.xp, node.x
    if grad.dtype.kind != "c":
        return xp.zeros_like(x)
    # `x` is conjugated here (ops-61).
    s = xp.conj(xp.sign(x))
    is_zero, length = x == 0, xp.abs(x)
    across = grad - s * xp.real(xp.conj(s) * grad)
    slope = across / xp.where(is_zero, xp.ones_like(length), length)
    return xp.where(is_zero, xp.zeros_like(grad), slope)


abs = unary(
    "abs",
    cp.abs,
    # ops-07, ops-26
    _abs,
    "Return the absolute value; its gradient at 0 is 0.",
    uses="x",
)


def no_booleans(name: str, function: Any) -> Any:
    """Make a function that refuses booleans, which have no sign (tensor-40)."""

    def checked(*raws: Any) -> Any:
        if all(isinstance(raw, bool) or getattr(raw, "dtype", None) == bool_ for raw in raws):
            msg = f"{name}: booleans have no sign; cast them with astype first, to int64 say"
            raise TypeError(msg)
        return function(*raws)

    return checked


def _counted(raw: Any) -> Any:
    """Make booleans int64 where CuPy would give int8 (tensor-40)."""
    return raw.astype(int64) if getattr(raw, "dtype", None) == bool_ else raw


negative = unary(
    "negative", no_booleans("negative", cp.negative), lambda _, grad: -grad, "Return ``-x``."
)
positive = unary(
    "positive", no_booleans("positive", cp.positive), lambda _, grad: grad, "Return ``+x``."
)
reciprocal = unary(
    "reciprocal",
    cp.reciprocal,
    fused("reciprocal_backward", "output", lambda node, grad: -grad * (node.output * node.output)),
    "Return ``1 / x``.",
    uses="output",
    real=True,
)
sign = unary(
    "sign",
    no_booleans("sign", cp.sign),
    _sign,
    "Return -1, 0 or 1, whose gradient is 0; of complex numbers ``x / abs(x)``.",
    uses="x",
)
exp = unary(
    "exp",
    cp.exp,
    lambda node, grad: grad * node.output,
    "Return ``e ** x``.",
    uses="output",
    real=True,
)
log = unary(
    "log",
    cp.log,
    lambda node, grad: grad / node.x,
    "Return the natural logarithm.",
    uses="x",
    real=True,
)
sqrt = unary(
    "sqrt",
    cp.sqrt,
    fused("sqrt_backward", "output", lambda node, grad: grad * 0.5 / node.output),  # ops-09
    "Return the square root; its gradient at 0 is infinite.",
    uses="output",
    real=True,
)
square = unary(
    "square",
    lambda raw: cp.square(_counted(raw)),
    fused("square_backward", "x", lambda node, grad: grad * (node.x * 2)),
    "Return ``x * x``.",
    uses="x",
)
sin = unary(
    "sin",
    cp.sin,
    lambda node, grad: grad * node.xp.cos(node.x),
    "Return the sine.",
    uses="x",
    real=True,
)
cos = unary(
    "cos",
    cp.cos,
    lambda node, grad: -grad * node.xp.sin(node.x),
    "Return the cosine.",
    uses="x",
    real=True,
)

add = binary("add", cp.add, (lambda _, grad: grad, lambda _, grad: grad), "Return ``x1 + x2``.")
subtract = binary(
    "subtract",
    no_booleans("subtract", cp.subtract),
    (lambda _, grad: grad, lambda _, grad: -grad),
    "Return ``x1 - x2``.",
)
multiply = binary(
    "multiply",
    cp.multiply,
    (lambda node, grad: grad * node.other, lambda node, grad: grad * node.x),
    "Return ``x1 * x2``.",
    uses=("other", "x"),
)
divide = binary(
    "divide",
    cp.divide,
    (
        lambda node, grad: grad / node.other,
        fused(
            "divisor_backward",
            "x other",
            lambda node, grad: -(grad / node.other) * (node.x / node.other),
        ),
    ),
    "Return ``x1 / x2``.",
    uses=("other", "x other"),
    real=True,
)


def _chosen(node: Any, operand: Any) -> Any:
    """Tell where an operand is the result; a NaN is, and a number beside it is not (ops-27)."""
    return node.xp.logical_or(operand == node.output, operand != operand)


def _to_chosen(node: Any, grad: Any, operand: Any, rival: Any) -> Any:
    """Pass the gradient to the chosen operand on, half of it at ties (ops-08)."""
    xp = node.xp
    shared = xp.where(_chosen(node, rival), grad * 0.5, grad)
    return xp.where(_chosen(node, operand), shared, xp.zeros_like(grad))


_TO_CHOSEN = (
    fused(
        "choice_backward",
        "x other output",
        lambda node, grad: _to_chosen(node, grad, node.x, node.other),
    ),
    fused(
        "choice_backward",
        "other x output",
        lambda node, grad: _to_chosen(node, grad, node.other, node.x),
    ),
)

maximum = binary(
    "maximum",
    cp.maximum,
    _TO_CHOSEN,
    "Return the larger of two; at ties each operand gets half of the gradient.",
    uses=("x other output", "x other output"),
)
minimum = binary(
    "minimum",
    cp.minimum,
    _TO_CHOSEN,
    "Return the smaller of two; at ties each operand gets half of the gradient.",
    uses=("x other output", "x other output"),
)


def _power(x: Any, exponent: Any) -> Any:
    is_two = isinstance(exponent, (int, float, complex)) and exponent == 2
    return cp.square(_counted(x)) if is_two else cp.power(_counted(x), _counted(exponent))


def _check_exponent(base: Any, exponent: Any) -> None:
    """Refuse negative exponents of integers, which CuPy answers with 0."""
    like = base if isinstance(base, Tensor) else exponent
    if like.dtype.kind not in "biu":
        return
    # With a Tensor this waits for the device, so it is asked of integers alone.
    if bool(cp.any(exponent._data < 0)) if isinstance(exponent, Tensor) else exponent < 0:
        msg = "pow: integers take no negative exponent; cast one of the two with astype first"
        raise ValueError(msg)


def _pow_to_base(node: Any, grad: Any) -> Any:
    x, exponent, xp = node.x, node.other, node.xp
    if isinstance(exponent, (int, float, complex)):
        if exponent == 0:
            return xp.zeros_like(x)  # ops-28
        if exponent == 1:
            return grad
        return grad * ((x if exponent == 2 else x ** (exponent - 1)) * exponent)
    # ops-28: 0 where the exponent is 0, be the base 0, infinite or NaN; no power is formed of it.
    singular = xp.logical_or(x == 0, xp.logical_not(xp.isfinite(x)))
    constant = xp.logical_and(singular, exponent == 0)
    base = xp.where(constant, xp.ones_like(constant, dtype=x.dtype), x)
    slope = grad * (exponent * base ** (exponent - 1))
    return xp.where(constant, xp.zeros_like(grad), slope)


def _pow_to_exponent(node: Any, grad: Any) -> Any:
    base, exponent, xp = node.x, node.other, node.xp
    if grad.dtype.kind == "c":
        return _complex_to_exponent(node, grad)
    if isinstance(base, (int, float)):
        if base != 0:
            return grad * node.output * (math.log(base) if base > 0 else math.nan)
        # 0 ** x is constant 0 for positive x, where 0 * -inf would be NaN.
        zero = xp.zeros_like(node.output)
        return xp.where(exponent >= 0, zero, grad * node.output * -math.inf)
    flat = xp.logical_and(base == 0, exponent >= 0)
    logarithm = xp.log(xp.where(flat, xp.ones_like(flat, dtype=base.dtype), base))
    return xp.where(flat, xp.zeros_like(grad), grad * node.output * logarithm)


def _complex_to_exponent(node: Any, grad: Any) -> Any:
    """Return the gradient to a complex exponent, 0 where the base is; all is conjugated here."""
    base, xp = node.x, node.xp
    if isinstance(base, (int, float, complex)):
        if base == 0:
            return xp.zeros_like(grad)
        # Of a negative number the logarithm is above the cut, and its conjugate below.
        number = base if isinstance(base, complex) else complex(base, -0.0)
        return grad * node.output * cmath.log(number)
    is_zero = base == 0
    # Conjugated behind the logarithm, for the numbers on its cut.
    whole = xp.conj(xp.where(is_zero, xp.ones_like(base), base))
    return xp.where(is_zero, xp.zeros_like(grad), grad * node.output * xp.conj(xp.log(whole)))


pow = binary(
    "pow",
    _power,
    (_pow_to_base, _pow_to_exponent),
    "Return ``x1 ** x2``; ``0 ** 0`` is 1, and integers take no negative exponent.",
    uses=("x other", "x other output"),
    check=_check_exponent,
)


@written()
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """Limit the elements to ``min <= x <= max``.

    The gradient passes where ``min <= x <= max``, bounds included; a bound that is an array gets it
    where it is the result.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    min, max : number, Tensor or raw array, optional
        Bounds that broadcast with `x`.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `x` is no array, or a bound is neither an array nor a number.
    ValueError
        If the shapes do not broadcast.
    """
    value: Any = as_tensor("clip", x)
    bounds = [None if bound is None else as_operand("clip", bound) for bound in (min, max)]
    if any(isinstance(bound, Tensor) for bound in bounds):
        arrays = [part for part in (value, *bounds) if isinstance(part, Tensor)]
        try:
            np.broadcast_shapes(*(part.shape for part in arrays))
        except ValueError:
            refuse_shapes("clip", arrays)
        low, high = bounds
        if low is not None:
            value = where(handles.logical_or(value < low, _is_nan(low)), low, value)
        if high is not None:
            value = where(handles.logical_or(value > high, _is_nan(high)), high, value)
        return value
    value = _fitting(value, bounds)
    if bounds == [None, None]:
        return record("clip", lambda raw: raw, _same, (value,))
    if any(bound is not None and _is_nan(bound) for bound in bounds):  # ops-27
        return record("clip", lambda raw: cp.full_like(raw, math.nan), _nothing, (value,))
    return record(
        "clip",
        lambda raw: _limited(raw, *bounds),
        _clip,
        (value,),
        keep_inputs=True,
        config=bounds,
    )


def _limited(raw: Any, low: Any, high: Any) -> Any:
    if raw.dtype.kind != "b":
        return cp.clip(raw, low, high)
    # Booleans have no least and largest number for a bound that is left out.
    raw = raw if low is None else cp.logical_or(raw, low)
    return raw if high is None else cp.logical_and(raw, high)


def _fitting(value: Any, bounds: list[Any]) -> Any:
    """Bring an array to the dtype that it has between bounds that are numbers."""
    numbers = [bound for bound in bounds if bound is not None]
    for bound in numbers:
        value = cast(value, with_number(value.dtype, bound))
    for bound in numbers:
        check_fits("clip", bound, value.dtype)
    return value


def _same(_: Any, grad: Any) -> tuple[Any]:
    return (grad,)


def _nothing(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.zeros_like(grad),)


def _is_nan(bound: Any) -> Any:
    """Tell where a bound is NaN: a bool for a number, else a Tensor."""
    return bound != bound


def _clip(node: Any, grad: Any) -> tuple[Any]:
    # Not where the element is inside: NaN is neither inside nor outside, and passes (ops-27).
    low, high = node.config
    if isinstance(grad, cp.ndarray):
        bounds = (-math.inf if low is None else low, math.inf if high is None else high)
        return (pointwise("clip_backward")(node.x, *bounds, grad),)
    outside = None if low is None else node.x < low  # ops-08
    if high is not None:
        above = node.x > high
        outside = above if outside is None else node.xp.logical_or(outside, above)
    return (node.xp.where(outside, node.xp.zeros_like(grad), grad),)


@written()
def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:
    """Return `x1` where `condition` holds and `x2` elsewhere; gradients are selected likewise.

    Parameters
    ----------
    condition : Tensor or raw array of bool
    x1, x2 : Tensor, raw array or number
        All three broadcast.

    Returns
    -------
    Tensor

    Raises
    ------
    TypeError
        If `condition` is no boolean array, or `x1` or `x2` is neither an array nor a number.
    ValueError
        If the shapes do not broadcast.
    """
    mask = as_tensor("where", condition)
    if mask.dtype.kind != "b":
        msg = f"where: condition must be boolean, got dtype {mask.dtype.name}; compare it with 0"
        raise TypeError(msg)
    if isinstance(x1, np.generic):
        x1 = plain(x1)
    if isinstance(x2, np.generic):
        x2 = plain(x2)
    if isinstance(x1, _NUMBERS) and isinstance(x2, _NUMBERS):
        dtype = with_number(number_dtype(x1), x2)
        if dtype.kind == "i":
            check_fits("where", x1, int64)
            check_fits("where", x2, int64)
        a = record(
            "where",
            lambda holds, number: cp.full(holds.shape, number, dtype=dtype),
            None,
            (mask, x1),
        )
        b: Any = x2
    else:
        a, b = as_operands("where", x1, x2)
    config = (keep(mask), getattr(a, "shape", ()), getattr(b, "shape", ()))
    return record("where", cp.where, _where, (mask, a, b), config=config)


_NUMBERS = (bool, int, float, complex)


def _where(node: Any, grad: Any) -> tuple[None, Any, Any]:
    xp = node.xp
    _, to_first, to_second = node.edges
    mask, first, second = node.config
    return (
        None,
        sum_to(xp, _where_equal(mask, True, grad, xp), first) if to_first else None,
        sum_to(xp, _where_equal(mask, False, grad, xp), second) if to_second else None,
    )


def _where_equal(mask: Any, wanted: bool, grad: Any, xp: Any) -> Any:
    """Pass a gradient on where the mask is as wanted; ops-10: a product would let NaN through."""
    if isinstance(grad, cp.ndarray) and grad.dtype.kind != "c":
        return pointwise("where_backward")(mask, wanted, grad)
    nothing = xp.zeros_like(grad)
    return xp.where(mask, grad, nothing) if wanted else xp.where(mask, nothing, grad)


@written()
def astype(x: Any, dtype: DTypeLike, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """Change the dtype; of floating and complex ones the gradient comes back in the old one.

    Parameters
    ----------
    x : Tensor or raw array, any shape
    dtype : dtype
    copy : bool
        Whether to copy where the dtype is that already.
    device : device, optional
        That of the array; there is no other (ops-31).

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or complex and `dtype` is neither complex nor bool, or `dtype` is none
        that a Tensor can have.
    ValueError
        If `device` is another one.
    """
    value = as_tensor("astype", x)
    if device is not None:
        check_device("astype", device)
    wanted = check_dtype("astype", dtype, needed=True)
    copy = check_flag("astype", "copy", copy)
    if value.dtype == wanted and copy:
        rule = _same if wanted.kind in "fc" else None
        return record("astype", lambda raw: raw.copy(), rule, (value,))
    return cast(value, wanted, "astype")
