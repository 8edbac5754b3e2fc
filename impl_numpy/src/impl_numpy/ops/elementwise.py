"""Functions of elements: arithmetic, powers, selection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.lib.introspect import opt_func_info
from numpy.typing import DTypeLike

from impl_numpy.batched import asarray, every
from impl_numpy.buffers import empty
from impl_numpy.checks import (
    as_number,
    as_scalar,
    check_answered,
    check_device,
    check_dtype,
    check_fits,
    check_flag,
    check_keeps,
    check_real,
)
from impl_numpy.creation import tensor
from impl_numpy.dtypes import (
    Array,
    Value,
    bool_,
    complex64,
    complex128,
    float32,
    float64,
    int32,
    int64,
)
from impl_numpy.memory import own
from impl_numpy.ops.families import X, apply_binary, binary, registered, rule, spread_to, unary
from impl_numpy.protocols import compare
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw
from impl_numpy.recording import binary as record_binary
from impl_numpy.recording import unary as record_unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor


def _square(x: Array) -> Any:
    return np.square(x.astype(int64) if x.dtype == bool_ else x)  # tensor-40


def masked(grad: Value, mask: Array) -> Value:
    """Return a gradient where a mask holds and exactly 0 elsewhere, whatever arrives (ops-26)."""
    if not isinstance(grad, (np.ndarray, np.generic)):
        return _select(grad, _ZEROS[grad.dtype], mask)
    if mask.size < SHORT or grad.dtype.kind == "c":
        return np.where(mask, grad, _ZEROS[grad.dtype])
    # The bits times 0 or 1. NumPy's selection goes one way or the other at each element, which
    # takes twenty times as long where the mask has no pattern.
    return np.multiply(grad.view(BITS[grad.dtype]), mask).view(grad.dtype)


_least: Any = np.minimum.reduce
BITS: dict[Any, Any] = {float32: int32, float64: int64}
_ZEROS = {dtype: np.zeros((), dtype) for dtype in (*BITS, complex64, complex128)}
# So few elements are selected in less time than it takes to look at them as integers.
SHORT = 512


def _abs_grad(grad: Value, x: Value, out: Value) -> Value:
    values = raw(x)
    if values.dtype.kind == "c":
        return masked(grad * RULES["conj"](RULES["sign of complex"](x)), asarray(values != 0))
    if values.size >= SHORT:
        # A third of the time of `np.sign`. It is NaN where x is 0, infinite or NaN.
        signs = values / raw(out)
        if every(signs).size and not np.isnan(_least(every(signs), None)):
            return grad * signs
    slope = grad * np.sign(values)
    if np.count_nonzero(every(values)) == every(values).size:
        return slope
    return masked(slope, values != 0)


def _gate_vjp(grad: Value, needs: Parents, x: Value, y: Value) -> Grads:
    if not isinstance(grad, np.ndarray):
        return (grad * _tanh_slope(x, raw(y)),)
    if y.dtype == float32 and y.ndim:
        # As `slope_of_tanh`, with one operation less.
        slope = cosh(x)
        return (np.divide(grad, np.square(slope, out=slope), out=slope),)
    return (grad * slope_of_tanh(x, y),)


def cosh_by_exp(x: Array, out: Array | None = None) -> Array:
    """Return cosh(x) as (e + 1 / e) / 2, where e = exp(x)."""
    e = np.exp(x, out)
    inverse = np.reciprocal(e, empty(e.shape, e.dtype)) if e.ndim else 1 / e
    result: Array = np.multiply(np.add(e, inverse, out), _HALF, out)
    return result


def _fastest_cosh() -> Any:
    """Return what computes cosh in float32: without AVX-512, NumPy's own takes one at a time."""
    kernels = opt_func_info(func_name="^cosh$", signature="float32").get("cosh", {})
    scalar = all(kernel["current"].startswith("baseline") for kernel in kernels.values())
    return cosh_by_exp if scalar else np.cosh


_HALF = np.array(0.5, float32)
cosh = _fastest_cosh()


def slope_of_tanh(x: Array, y: Array) -> Any:
    """Return the derivative of tanh at x, where y = tanh(x)."""
    if y.dtype == float32:
        # NumPy computes this as fast as the other, and no digits cancel (rnn-26).
        slope = cosh(x)
        return np.divide(1, np.square(slope, out=slope), out=slope) if slope.ndim else slope**-2
    slope = 1 - y * y
    if slope.size and np.fmin.reduce(slope, axis=None) < NEAR:
        # Close to 1, y * y has lost the digits that make the difference (rnn-26). Each element
        # chooses for itself, so that none depends on its neighbours (rnn-27).
        slope = np.where(slope < NEAR, 1 / np.square(np.cosh(x)), slope)
    return slope


# Below this a slope is computed from the argument: 1 - y * y is wrong by about eps.
NEAR = 1 / 8
_tanh_slope = rule(
    Primitive(
        "tanh",
        slope_of_tanh,
        lambda grad, needs, x, out, y: (grad * (-2 * RULES["tanh"](x) * out),),
        ((X, OUT),),
    ),
    "slope of tanh",
)
_gate = Primitive("tanh", np.tanh, _gate_vjp, ((X, OUT),))


def tanh_of_gate(x: Tensor) -> Tensor:
    """Return tanh(x), whose gradient keeps its digits where 1 - tanh(x)^2 has lost them (rnn-26).

    It takes twice the time that the gradient of `tanh` does, since it needs another function of x.
    """
    result: Tensor = record_unary(_gate, x)
    return result


abs = unary("abs", np.abs, _abs_grad, (X, OUT), "Return |x|.", floats=False)  # ops-07
negative = unary("negative", np.negative, lambda g, x, y: -g, None, "Return -x.", floats=False)
exp = unary("exp", np.exp, lambda g, x, y: g * y, OUT, "Return e ** x.")
log = unary("log", np.log, lambda g, x, y: g / x, X, "Return the natural logarithm.")
sqrt = unary("sqrt", np.sqrt, lambda g, x, y: g / (y + y), OUT, "Return the square root.")  # ops-09
square = unary("square", _square, lambda g, x, y: g * (x + x), X, "Return x * x.", floats=False)
tanh = unary(
    "tanh", np.tanh, lambda g, x, y: g * (1 - y * y), OUT, "Return the hyperbolic tangent."
)
sin = unary("sin", np.sin, lambda g, x, y: g * RULES["cos"](x), X, "Return the sine.")
cos = unary("cos", np.cos, lambda g, x, y: -(g * RULES["sin"](x)), X, "Return the cosine.")


def _add_vjp(grad: Value, needs: Parents, a: None, b: None, out: None) -> Grads:
    return grad, grad


def _subtract_vjp(grad: Value, needs: Parents, a: None, b: None, out: None) -> Grads:
    return grad, None if needs[1] is None else -grad


def _multiply_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    return (
        None if needs[0] is None else grad * b,
        None if needs[1] is None else grad * a,
    )


def _divide_vjp(grad: Value, needs: Parents, a: None, b: Value, out: Value) -> Grads:
    part = grad / b
    return part, None if needs[1] is None else -(part * out)


def _pow_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: Value) -> Grads:
    da = db = None
    if needs[0] is not None:
        # With the exponent 0 the usual b * a ** (b - 1) would be 0 times what is infinite or NaN.
        usual = (raw(b) != 0) | np.isfinite(1 / raw(a))
        lowered = _select(b - 1, np.zeros((), b.dtype), usual)
        da = grad * (b * a**lowered)
    if needs[1] is not None:
        # 0 ** b stays 0 when b moves above 0, though log(0) is infinite.
        usual = (raw(a) != 0) | ~(raw(b) >= 0)
        db = grad * (out * RULES["log"](_select(a, np.ones((), a.dtype), usual)))
    return da, db  # ops-28


def _share(
    wins: Callable[..., Array], grad: Value, needs: Parents, a: Value, b: Value, out: None
) -> Grads:
    """Give the gradient to the operand that wins, half to each at a tie; NaN wins (ops-27)."""
    x, y = raw(a), raw(b)
    mine, yours = wins(x, y), wins(y, x)
    # Both win at a tie, and neither beside a NaN.
    if np.count_nonzero(every(mine == yours)):
        mine, yours = mine | np.isnan(x), yours | np.isnan(y)
        grad = _select(grad / 2, grad, mine & yours)
    return (
        None if needs[0] is None else masked(grad, mine),
        None if needs[1] is None else masked(grad, yours),
    )


def _where_vjp(grad: Value, needs: Parents, a: None, b: None, out: None, condition: Array) -> Grads:
    return (
        None if needs[0] is None else masked(grad, condition),
        None if needs[1] is None else masked(grad, ~condition),
    )


def _power(a: Array, b: Array) -> Any:
    if a.dtype == bool_ and b.dtype == bool_:
        return a.astype(int64) ** b  # tensor-40
    return a**b


def _no_negative_exponent(a: Array, b: Array) -> str | None:
    if b.dtype.kind == "i" and np.any(every(b) < 0):
        return f"integers take no negative exponent, got {every(b).min()}; cast with astype first"
    return None


add = binary("add", np.add, _add_vjp, ((), ()), "Return x1 + x2.")
subtract = binary("subtract", np.subtract, _subtract_vjp, ((), ()), "Return x1 - x2.")
multiply = binary("multiply", np.multiply, _multiply_vjp, ((1,), (0,)), "Return x1 * x2.")
divide = binary(
    "divide",
    np.true_divide,
    _divide_vjp,
    ((1,), (1, OUT)),
    "Return x1 / x2; between integers the quotient is float32.",
    floats=True,
)
maximum = binary(
    "maximum",
    np.maximum,
    partial(_share, np.greater_equal),
    ((0, 1), (0, 1)),
    "Return the larger element; at a tie each gets half of the gradient.",
    real=True,
)  # ops-08
minimum = binary(
    "minimum",
    np.minimum,
    partial(_share, np.less_equal),
    ((0, 1), (0, 1)),
    "Return the smaller element; at a tie each gets half of the gradient.",
    real=True,
)  # ops-08
rule(
    Primitive(
        "pow",
        _power,
        _pow_vjp,
        ((0, 1), (0, 1, OUT)),
        stretches=True,
        explain=_no_negative_exponent,
    )
)
# A plain number as the exponent, the usual case, is configuration: NumPy has short cuts for it.
rule(
    Primitive(
        "pow",
        lambda x, n: x**n,
        lambda grad, needs, x, out, n: (grad * (n * x ** (n - 1 if n else 0)),),
        ((0,),),
    ),
    "pow by a number",
)
_select = rule(
    Primitive(
        "where",
        lambda a, b, condition: np.where(condition, a, b),
        _where_vjp,
        ((), ()),
        stretches=True,
    )
)

_OPERANDS = """Parameters
----------
x1, x2 : Tensor or raw array, shapes that broadcast
    One of them may be a Python number, which takes the other's dtype.

Returns
-------
Tensor, of the common shape and dtype

Raises
------
ValueError
    If the shapes do not broadcast, or an integer has a negative exponent.
TypeError
    If an operand is none of these."""


@registered("pow", "Return x1 ** x2; 0 ** 0 is 1, and the gradient of x ** 0 is 0.", _OPERANDS)
def pow(x1: Any, x2: Any, /) -> Tensor:  # ops-09
    if not isinstance(x1, Tensor):
        return apply_binary(RULES["pow"], x1, x2)
    result = x1.__pow__(x2)
    check_answered("pow", result, x1, x2)
    return result


_WHERE = """Parameters
----------
condition : Tensor or raw array of bool
x1, x2 : Tensor, raw array or Python number, shapes that broadcast with the condition

Returns
-------
Tensor, of the common shape and dtype; what is not selected gets a gradient of exactly 0

Raises
------
TypeError
    If the condition is not of bool, or an operand is none of these.
ValueError
    If the shapes do not broadcast."""


@registered("where", "Return x1 where the condition holds, else x2.", _WHERE)
def where(condition: Any, x1: Any, x2: Any, /) -> Tensor:  # ops-10
    chosen = own(as_tensor("where", condition, "condition")._data)
    if chosen.dtype != bool_:
        msg = f"where: the condition must be of dtype bool, got {chosen.dtype}"
        raise TypeError(msg)
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        result: Tensor = record_binary(_select, x1, x2, (chosen,))
        return result
    return _selected("where", chosen, x1, x2)


def _selected(name: str, chosen: Array, x1: Any, x2: Any) -> Tensor:
    """Return x1 where a raw condition holds, else x2: Tensors, raw arrays or numbers."""
    operands: list[Any]
    numbers = [as_scalar(x1), as_scalar(x2)]
    if None not in numbers:  # tensor-39
        both = tensor(numbers)
        operands = [both[0], both[1]]
    else:
        operands = [
            as_tensor(name, x) if number is None else number
            for x, number in zip((x1, x2), numbers, strict=True)
        ]  # ops-21
    result: Tensor = record_binary(_select, operands[0], operands[1], (chosen,))
    return result


_CLIP = """Parameters
----------
x : Tensor or raw array
min, max : Tensor, raw array or Python number, optional
    Left out, there is no bound. The gradient passes where min <= x <= max, bounds included.

Returns
-------
Tensor, the shape of x

Raises
------
TypeError
    If x is neither a Tensor nor a raw array.
ValueError
    If the shapes do not broadcast."""


@registered("clip", "Return x between bounds.", _CLIP)
def clip(x: Any, /, min: Any = None, max: Any = None) -> Tensor:  # ops-08
    x = as_tensor("clip", x)
    check_real("clip", x.dtype)
    if min is None and max is None:
        return x
    if x.dtype.kind == "f" and _is_plain(min) and _is_plain(max):
        result: Tensor = record_unary(between, x, (min, max))
        return result
    for bound, beyond in ((min, np.less), (max, np.greater)):
        if bound is not None:
            x = _bounded(x, bound, beyond)
    return x


def _is_plain(bound: Any) -> bool:
    """Tell whether a bound is None, or a number that any floating dtype takes."""
    return bound is None or type(bound) is float or (type(bound) is int and -EXACT < bound < EXACT)


EXACT = 1 << 53


def _clip(x: Array, lowest: float | None, highest: float | None) -> Array:
    # These two return what is NaN, be it the element or the bound (ops-27).
    if lowest is not None:
        x = np.maximum(x, lowest)
    return x if highest is None else np.minimum(x, highest)


def _clip_vjp(grad: Value, needs: Parents, x: Value, out: None, *bounds: float | None) -> Grads:
    values, (lowest, highest) = raw(x), bounds
    outside: Any = False
    if lowest is not None:
        outside = values < lowest if lowest == lowest else True
    if highest is not None:
        outside |= values > highest if highest == highest else True
    return (masked(grad, np.logical_not(outside)),)


between = Primitive("clip", _clip, _clip_vjp, ((X,),))


def _bounded(x: Tensor, bound: Any, beyond: np.ufunc) -> Tensor:
    """Return x where it is not beyond a bound, else the bound; a bound that is NaN is NaN."""
    number = as_number(bound)
    limit: Any = as_tensor("clip", bound, "a bound") if number is None else number
    if number is not None:
        undefined: Any = number != number
        if isinstance(number, int):
            check_fits("clip", number, x.dtype)  # tensor-38
    else:
        check_real("clip", limit.dtype)
        undefined = np.isnan(limit._data)
        try:
            np.broadcast_shapes(x.shape, limit.shape)
        except ValueError:
            msg = f"clip: the shapes {x.shape} and {limit.shape} do not broadcast"
            raise ValueError(msg) from None
    return _selected("clip", compare(beyond, x, limit)._data | undefined, limit, x)  # ops-27


_ASTYPE = """Parameters
----------
x : Tensor or raw array
dtype : dtype
copy : bool
    Also where the dtype is already the one wanted.
device : 'cpu', optional

Returns
-------
Tensor; between floating and complex dtypes the gradient comes back in the dtype of x

Raises
------
TypeError
    If x is no array, the dtype is none that Tensors have, or x is complex and it neither complex
    nor bool."""


@registered("astype", "Return x in another dtype.", _ASTYPE)
def astype(
    x: Any, dtype: DTypeLike, /, *, copy: bool = True, device: Any = None
) -> Tensor:  # ops-11
    x = as_tensor("astype", x)
    check_device("astype", device)
    wanted = check_dtype(dtype, "astype")
    check_keeps("astype", x.dtype, wanted)
    result = spread_to(x, x.shape, wanted)
    if check_flag("astype", "copy", copy) and x.dtype == wanted:
        result._data = x._data.copy()
    return result
