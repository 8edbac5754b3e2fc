"""Arithmetic and functions of one element, with their gradients."""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.dtypes import DTypeLike, as_dtype
from impl_cupy.ops.comparison import greater, less
from impl_cupy.ops.primitive import (
    Operand,
    apply,
    as_operand,
    as_tensor,
    cast,
    floating,
    operands,
    sum_to,
    with_number,
)
from impl_cupy.tensor import Tensor


def _shape(operand: Operand) -> tuple[int, ...]:
    return operand.shape if isinstance(operand, Tensor) else ()


def _shapes(a: Operand, b: Operand) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return _shape(a), _shape(b)


def add(x1: Any, x2: Any) -> Tensor:
    """Add, element by element: ``x1 + x2``."""
    a, b = operands("add", x1, x2)
    return apply("add", cp.add, _add, (a, b), config=_shapes(a, b))


def _add(node: Any, grad: Any) -> tuple[Any, Any]:
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(node.xp, grad, first) if to_first else None,
        sum_to(node.xp, grad, second) if to_second else None,
    )


def subtract(x1: Any, x2: Any) -> Tensor:
    """Subtract: ``x1 - x2``."""
    a, b = operands("subtract", x1, x2)
    return apply("subtract", cp.subtract, _subtract, (a, b), config=_shapes(a, b))


def _subtract(node: Any, grad: Any) -> tuple[Any, Any]:
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(node.xp, grad, first) if to_first else None,
        -sum_to(node.xp, grad, second) if to_second else None,
    )


def multiply(x1: Any, x2: Any) -> Tensor:
    """Multiply: ``x1 * x2``."""
    a, b = operands("multiply", x1, x2)
    if not isinstance(b, Tensor):
        return apply("multiply", cp.multiply, _scale, (a, b), config=b)
    if not isinstance(a, Tensor):
        return apply("multiply", cp.multiply, _scale, (b, a), config=a)
    return apply("multiply", cp.multiply, _multiply, (a, b), keep_inputs=True, config=_shapes(a, b))


def _multiply(node: Any, grad: Any) -> tuple[Any, Any]:
    a, b = node.inputs
    to_first, to_second = node.edges
    first, second = node.config
    return (
        sum_to(node.xp, grad * b, first) if to_first else None,
        sum_to(node.xp, grad * a, second) if to_second else None,
    )


def _scale(node: Any, grad: Any) -> tuple[Any, None]:
    return grad * node.config, None


def divide(x1: Any, x2: Any) -> Tensor:
    """Divide: ``x1 / x2``; integers give float32."""
    a, b = operands("divide", x1, x2)
    a = floating(a) if isinstance(a, Tensor) else a
    if not isinstance(b, Tensor):
        return apply("divide", cp.divide, _divide_by, (a, b), config=b)
    b = floating(b)
    return apply("divide", cp.divide, _divide, (a, b), keep_inputs=True, config=_shapes(a, b))


def _divide_by(node: Any, grad: Any) -> tuple[Any, None]:
    return grad / node.config, None


def _divide(node: Any, grad: Any) -> tuple[Any, Any]:
    a, b = node.inputs
    to_first, to_second = node.edges
    first, second = node.config
    quotient = grad / b
    return (
        sum_to(node.xp, quotient, first) if to_first else None,
        sum_to(node.xp, -quotient * (a / b), second) if to_second else None,
    )


def pow(x1: Any, x2: Any) -> Tensor:
    """Raise to a power: ``x1 ** x2``.

    ``0 ** 0`` is 1, and ``pow(x, 0)`` has gradient 0 everywhere (ops-09).

    Raises
    ------
    ValueError
        If the shapes do not fit, or an exponent of integers is negative.
    """
    a, b = operands("pow", x1, x2)
    _check_exponent(a, b)
    if not isinstance(b, Tensor):
        return apply("pow", _power, _pow_number, (a, b), keep_inputs=True)
    if not isinstance(a, Tensor):
        return apply("pow", cp.power, _number_pow, (a, b), keep_inputs=True, keep_output=True)
    return apply(
        "pow", cp.power, _pow, (a, b), keep_inputs=True, keep_output=True, config=_shapes(a, b)
    )


def _check_exponent(base: Operand, exponent: Operand) -> None:
    """Refuse negative exponents of integers, which CuPy answers with 0."""
    like = base if isinstance(base, Tensor) else exponent
    if isinstance(like, Tensor) and like.dtype.kind == "f":
        return
    # With a Tensor this waits for the device, so it is asked of integers alone.
    if bool(cp.any(exponent.data < 0)) if isinstance(exponent, Tensor) else exponent < 0:
        msg = "pow: integers take no negative exponent; cast one of the two with astype first"
        raise ValueError(msg)


def _power(x: Any, exponent: float) -> Any:
    return cp.square(x) if exponent == 2 else cp.power(x, exponent)


def _pow_number(node: Any, grad: Any) -> tuple[Any, None]:
    x, exponent = node.inputs
    if exponent == 0:
        return node.xp.zeros_like(x), None
    if exponent == 1:
        return grad, None
    slope = x if exponent == 2 else x ** (exponent - 1)
    return grad * (slope * exponent), None


def _number_pow(node: Any, grad: Any) -> tuple[None, Any]:
    base, _ = node.inputs
    slope = math.log(base) if base > 0 else (-math.inf if base == 0 else math.nan)
    if base != 0:
        return None, grad * node.output * slope
    # 0 ** x is constant 0 for positive x, where 0 * -inf would be NaN.
    zero = node.xp.zeros_like(node.output)
    return None, node.xp.where(node.inputs[1] >= 0, zero, grad * node.output * slope)


def _pow(node: Any, grad: Any) -> tuple[Any, Any]:
    xp = node.xp
    x, y = node.inputs
    to_first, to_second = node.edges
    first, second = node.config
    to_base = to_exponent = None
    if to_first:
        # x ** (y - 1) is infinite at 0 ** 0, where the gradient has to be 0.
        constant = xp.logical_and(x == 0, y == 0)
        base = xp.where(constant, xp.ones_like(constant, dtype=x.dtype), x)
        to_base = sum_to(xp, grad * y * base ** (y - 1), first)
    if to_second:
        flat = xp.logical_and(x == 0, y >= 0)
        logarithm = xp.log(xp.where(flat, xp.ones_like(flat, dtype=x.dtype), x))
        to_exponent = sum_to(xp, grad * node.output * logarithm, second)
    return to_base, to_exponent


def abs(x: Any, /) -> Tensor:
    """Give the absolute value; its gradient at 0 is 0."""
    return apply("abs", cp.abs, _abs, (as_tensor("abs", x),), keep_inputs=True)


def _abs(node: Any, grad: Any) -> tuple[Any]:
    return (grad * node.xp.sign(node.inputs[0]),)


def negative(x: Any, /) -> Tensor:
    """Change the sign."""
    return apply("negative", cp.negative, _negative, (as_tensor("negative", x),))


def _negative(node: Any, grad: Any) -> tuple[Any]:
    return (-grad,)


def sign(x: Any, /) -> Tensor:
    """Give -1, 0 or 1; its gradient is 0."""
    return apply("sign", cp.sign, _sign, (as_tensor("sign", x),), keep_inputs=True)


def _sign(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.zeros_like(node.inputs[0]),)


def exp(x: Any, /) -> Tensor:
    """Give ``e ** x``."""
    return apply("exp", cp.exp, _exp, (floating(as_tensor("exp", x)),), keep_output=True)


def _exp(node: Any, grad: Any) -> tuple[Any]:
    return (grad * node.output,)


def log(x: Any, /) -> Tensor:
    """Give the natural logarithm."""
    return apply("log", cp.log, _log, (floating(as_tensor("log", x)),), keep_inputs=True)


def _log(node: Any, grad: Any) -> tuple[Any]:
    return (grad / node.inputs[0],)


def sqrt(x: Any, /) -> Tensor:
    """Give the square root; its gradient at 0 is infinite."""
    return apply("sqrt", cp.sqrt, _sqrt, (floating(as_tensor("sqrt", x)),), keep_output=True)


def _sqrt(node: Any, grad: Any) -> tuple[Any]:
    return (grad * 0.5 / node.output,)


def square(x: Any, /) -> Tensor:
    """Give ``x * x``."""
    return apply("square", cp.square, _square, (as_tensor("square", x),), keep_inputs=True)


def _square(node: Any, grad: Any) -> tuple[Any]:
    return (grad * (node.inputs[0] * 2),)


def sin(x: Any, /) -> Tensor:
    """Give the sine."""
    return apply("sin", cp.sin, _sin, (floating(as_tensor("sin", x)),), keep_inputs=True)


def _sin(node: Any, grad: Any) -> tuple[Any]:
    return (grad * node.xp.cos(node.inputs[0]),)


def cos(x: Any, /) -> Tensor:
    """Give the cosine."""
    return apply("cos", cp.cos, _cos, (floating(as_tensor("cos", x)),), keep_inputs=True)


def _cos(node: Any, grad: Any) -> tuple[Any]:
    return (-grad * node.xp.sin(node.inputs[0]),)


def maximum(x1: Any, x2: Any) -> Tensor:
    """Give the larger of two; at ties each operand gets half of the gradient."""
    a, b = operands("maximum", x1, x2)
    return apply("maximum", cp.maximum, _maximum, (a, b), keep_inputs=True, config=_shapes(a, b))


def _maximum(node: Any, grad: Any) -> tuple[Any, Any]:
    a, b = node.inputs
    return _choice(node, grad, a > b, b > a)


def minimum(x1: Any, x2: Any) -> Tensor:
    """Give the smaller of two; at ties each operand gets half of the gradient."""
    a, b = operands("minimum", x1, x2)
    return apply("minimum", cp.minimum, _minimum, (a, b), keep_inputs=True, config=_shapes(a, b))


def _minimum(node: Any, grad: Any) -> tuple[Any, Any]:
    a, b = node.inputs
    return _choice(node, grad, a < b, b < a)


def _choice(node: Any, grad: Any, is_first: Any, is_second: Any) -> tuple[Any, Any]:
    xp = node.xp
    first, second = node.config
    half, nothing = grad * 0.5, xp.zeros_like(grad)
    return (
        sum_to(xp, xp.where(is_first, grad, xp.where(is_second, nothing, half)), first),
        sum_to(xp, xp.where(is_second, grad, xp.where(is_first, nothing, half)), second),
    )


def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:
    """Limit the elements to ``min <= x <= max``.

    The gradient passes where ``min <= x <= max``, bounds included. Bounds may be None, numbers or
    arrays that broadcast with `x`; an array gets the gradient where it is the result.
    """
    value = as_tensor("clip", x)
    bounds = [None if each is None else as_operand("clip", each) for each in (min, max)]
    if any(isinstance(each, Tensor) for each in bounds):
        low, high = bounds
        # where compares again instead of asking cp.clip, so that NaN passes through unchanged.
        result = value
        if low is not None:
            result = where(less(value, low), low, result)
        if high is not None:
            result = where(greater(result, high), high, result)
        return result
    for each in bounds:
        if each is not None:
            value = cast(value, with_number(value.dtype, each))
    if bounds == [None, None]:
        return apply("clip", lambda raw: raw, _identity, (value,))
    return apply(
        "clip",
        lambda raw: cp.clip(raw, *bounds),
        _clip,
        (value,),
        keep_inputs=True,
        config=bounds,
    )


def _identity(node: Any, grad: Any) -> tuple[Any]:
    return (grad,)


def _clip(node: Any, grad: Any) -> tuple[Any]:
    (x,) = node.inputs
    low, high = node.config
    inside = None
    if low is not None:
        inside = x >= low
    if high is not None:
        inside = x <= high if inside is None else node.xp.logical_and(inside, x <= high)
    return (node.xp.where(inside, grad, node.xp.zeros_like(grad)),)


def where(condition: Any, x1: Any, x2: Any) -> Tensor:
    """Give `x1` where `condition` holds and `x2` elsewhere; gradients are selected likewise.

    Raises
    ------
    TypeError
        If `condition` is no boolean array.
    """
    mask = as_tensor("where", condition)
    if mask.dtype.kind != "b":
        msg = f"where: condition must be boolean, got dtype {mask.dtype.name}; compare it with 0"
        raise TypeError(msg)
    if isinstance(x1, (bool, int, float)) and isinstance(x2, (bool, int, float)):
        a: Operand = apply("where", lambda c: _full_like(c, x1, x2), None, (mask,))
        b: Operand = x2
    else:
        a, b = operands("where", x1, x2)
    return apply("where", cp.where, _where, (mask, a, b), config=(mask._data, *_shapes(a, b)))


def _full_like(condition: Any, x1: float, x2: float) -> Any:
    kinds = {type(x1), type(x2)}
    dtype = "float32" if float in kinds else ("int64" if int in kinds else "bool")
    return cp.full(condition.shape, x1, dtype=dtype)


def _where(node: Any, grad: Any) -> tuple[None, Any, Any]:
    xp = node.xp
    _, to_first, to_second = node.edges
    mask, first, second = node.config
    nothing = xp.zeros_like(grad)
    return (
        None,
        sum_to(xp, xp.where(mask, grad, nothing), first) if to_first else None,
        sum_to(xp, xp.where(mask, nothing, grad), second) if to_second else None,
    )


def astype(x: Any, dtype: DTypeLike, /, *, copy: bool = True) -> Tensor:
    """Change the dtype; between floating dtypes the gradient comes back in the old one.

    Raises
    ------
    TypeError
        If `dtype` is none that a Tensor can have.
    """
    value = as_tensor("astype", x)
    wanted = as_dtype("astype", dtype)
    if value.dtype == wanted and copy:
        rule = _identity if wanted.kind == "f" else None
        return apply("astype", lambda raw: raw.copy(), rule, (value,))
    return cast(value, wanted)
