"""Arithmetic and functions of each element; `where` and `clip` choose among elements."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import array_api_compat.torch as compat
import torch
from torch import Tensor

from impl_torch_ext.checks import check_device, check_dtype, check_flag, check_tensor, explain
from impl_torch_ext.creation import as_dtype, copied
from impl_torch_ext.dtypes import FIVE, bool_, complex64, dtype_of_numbers, int64
from impl_torch_ext.native import native
from impl_torch_ext.ops.families import Operand, binary, operands, select, unary, with_number
from impl_torch_ext.tracing import in_graph, pushed_with, save_for_forward

_NUMBERS = (float, int, type(None))
_absolute_recorded = native.absolute.default
_extremum_recorded = native.extremum.default
_Binary: TypeAlias = Callable[[Any, Any], Tensor]


def _subtract(x1: Operand, x2: Operand) -> Tensor:
    """Return x1 - x2, one of which may be of dtype bool, which torch refuses."""
    check_numbers("subtract", x1, x2)
    if isinstance(x1, Tensor) and x1.dtype == bool_:
        x1 = x1.to(_dtype_beside(x2))
    elif isinstance(x2, Tensor) and x2.dtype == bool_:
        x2 = x2.to(_dtype_beside(x1))
    return compat.subtract(x1, x2)


def _subtract_alike(x1: Tensor, x2: Tensor) -> Tensor:
    try:
        return torch.subtract(x1, x2)
    except RuntimeError:
        return _subtract(x1, x2)  # tensor-40


def _raised(x1: Operand, x2: Operand) -> Tensor:
    """Return x1 ** x2 with derivatives of any order.

    Those of torch with respect to the exponent are NaN at base 0, and 0 where the exponent is 0.
    """
    if _is_boolean(x1) or _is_boolean(x2):  # tensor-40
        x1, x2 = (
            x.to(int64) if isinstance(x, Tensor) and x.dtype == bool_ else x for x in (x1, x2)
        )
    if not (isinstance(x2, Tensor) and x2.requires_grad and torch.is_grad_enabled()):
        return compat.pow(x1, x2)
    if isinstance(x1, int | float | complex):
        wide = torch.promote_types(x2.dtype, complex64)
        x1 = torch.full((), x1, dtype=wide if isinstance(x1, complex) else x2.dtype)
    elif not isinstance(x1, Tensor):
        return compat.pow(x1, x2)
    return _power(*torch.broadcast_tensors(*_promoted(x1, x2)))


def _absolute(x: Tensor) -> Tensor:
    if x.requires_grad and not x.is_complex():
        return _absolute_recorded(x)
    return x.clone() if x.dtype == bool_ else torch.abs(x)  # tensor-40


def _negative(x: Tensor) -> Tensor:
    check_numbers("negative", x)
    return torch.negative(x)


def _extremum(largest: bool) -> tuple[_Binary, _Binary]:
    """Make `maximum` or `minimum`, whose gradient torch has for no NaN; and for equal dtypes."""
    plain = compat.maximum if largest else compat.minimum
    alike = torch.maximum if largest else torch.minimum

    def extremum_alike(x1: Tensor, x2: Tensor) -> Tensor:
        if x1.requires_grad or x2.requires_grad:
            return _extremum_recorded(x1, x2, largest)
        return alike(x1, x2)

    def extremum(x1: Operand, x2: Operand) -> Tensor:
        result = plain(x1, x2)
        if not result.requires_grad:
            return result
        a, b = (
            x.to(result.dtype)
            if isinstance(x, Tensor)
            else torch.full((), x, dtype=result.dtype, device=result.device)
            for x in (x1, x2)
        )
        return _extremum_recorded(a, b, largest)

    return extremum, extremum_alike


def _sign(x: Tensor) -> Tensor:
    check_numbers("sign", x)
    if x.is_complex():
        return torch.sgn(x)
    sign = torch.sign(x)
    # ops-27; torch gives 0 for NaN.
    return torch.where(torch.isnan(x), math.nan, sign) if x.is_floating_point() else sign


def check_numbers(name: str, *xs: Operand) -> None:
    """Raise a TypeError if the operands are all of booleans."""
    if all(_is_boolean(x) for x in xs):  # tensor-40
        msg = f"{name}: operands must be of numbers, got dtype {bool_}"
        raise TypeError(msg)


def _is_boolean(x: Operand) -> bool:
    return x.dtype == bool_ if isinstance(x, Tensor) else type(x) is bool


abs = unary("abs", _absolute, "the absolute value, of gradient 0 at 0")  # ops-07
negative = unary("negative", _negative, "-x")
exp = unary("exp", Tensor.exp, "e ** x", real=True)
log = unary("log", Tensor.log, "the natural logarithm", real=True)
# ops-09
sqrt = unary("sqrt", Tensor.sqrt, "the square root, of infinite gradient at 0", real=True)
square = unary("square", Tensor.square, "x * x")
tanh = unary("tanh", Tensor.tanh, "the hyperbolic tangent", real=True)
sin = unary("sin", Tensor.sin, "the sine", real=True)
cos = unary("cos", Tensor.cos, "the cosine", real=True)
sign = unary("sign", _sign, "-1, 0 or 1")

add = binary("add", compat.add, "x1 + x2", torch.add)
subtract = binary("subtract", _subtract, "x1 - x2", _subtract_alike)
multiply = binary("multiply", compat.multiply, "x1 * x2", torch.multiply)
divide = binary("divide", compat.divide, "x1 / x2", torch.divide)
pow = binary("pow", _raised, "x1 ** x2, of gradient 0 where x2 is 0")  # ops-09
_larger, _larger_alike = _extremum(largest=True)
_smaller, _smaller_alike = _extremum(largest=False)
# ops-08
maximum = binary(
    "maximum", _larger, "the larger operand; equal ones share the gradient", _larger_alike
)
minimum = binary(
    "minimum", _smaller, "the smaller operand; equal ones share the gradient", _smaller_alike
)


@select(
    "Tensor; the gradient passes where `min <= x <= max`",
    x="Tensor, any shape",
    **{"min, max": "Tensor, number or None\nBroadcast against `x`."},
)
def clip(x: Tensor, /, min: Operand | None = None, max: Operand | None = None) -> Tensor:
    """Return `x`, or the bound that it lies beyond."""
    if getattr(x, "dtype", None) not in FIVE:
        check_tensor("clip", x)
    if min is None and max is None:
        return x.clone()
    if type(min) in _NUMBERS and type(max) in _NUMBERS:
        try:
            return _clamped(x, min, max)  # ops-08
        except (RuntimeError, OverflowError):
            pass  # An int that does not fit, which is looked into below.
    low, high = (
        b if b is None else with_number("clip", x, *operands("clip", b, alone=True))[1]
        for b in (min, max)
    )
    if x.dtype == bool_ and all(b is None or _is_boolean(b) for b in (low, high)):  # tensor-40
        bounds = (b if b is None else torch.as_tensor(b, dtype=int64) for b in (low, high))
        return torch.clamp(x.to(int64), *bounds).to(bool_)
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        x = _promoted(x, *(b for b in (low, high) if isinstance(b, Tensor)))[0]
        low, high = (b if b is None else torch.as_tensor(b, dtype=x.dtype) for b in (low, high))
    try:
        return _clamped(x, low, high)  # ops-08
    except (RuntimeError, TypeError, OverflowError) as error:
        explain("clip", error, x, *(b for b in (low, high) if b is not None))


@select(
    "Tensor; the operand that is not selected gets gradient 0",
    condition="Tensor of dtype bool",
    **{"x1, x2": "Tensor or number\nTheir shapes broadcast with that of `condition`."},
)
def where(condition: Tensor, x1: Operand, x2: Operand, /) -> Tensor:
    """Return `x1` where `condition` is true, else `x2`."""
    alike = (
        isinstance(x1, Tensor)
        and isinstance(x2, Tensor)
        and isinstance(condition, Tensor)
        and condition.dtype is bool_
        and (dtype := x1.dtype) is x2.dtype
        and dtype in FIVE
    )
    if not alike:
        condition, x1, x2 = _choices(condition, x1, x2)
    try:
        choose = torch.where if alike else compat.where
        return choose(condition, x1, x2)  # ops-10
    except RuntimeError as error:
        explain("where", error, condition, x1, x2)


@select(
    "Tensor; the gradient comes back in the dtype of `x`",
    x="Tensor, any shape",
    dtype="dtype",
    copy="bool\nWhether to copy where `x` has the dtype already.",
    device="device, optional\nThe one that there is.",
)
def astype(x: Tensor, dtype: torch.dtype, /, *, copy: bool = True, device: Any = None) -> Tensor:
    """Return `x` in another dtype."""
    check_device("astype", device)
    kind, again = check_dtype("astype", dtype), check_flag("astype", "copy", copy)
    if check_tensor("astype", x).dtype is kind:
        return x.clone() if again else x
    return as_dtype("astype", x, kind)  # ops-11


def _bounds(*bounds: Any) -> Any:
    return (b if b is None else operands("clip", b, alone=True)[0] for b in bounds)


def _choices(condition: Any, x1: Any, x2: Any) -> tuple[Tensor, Any, Any]:
    """Return the operands of `where`, one of which is a Tensor beside the condition, or raise."""
    condition, x1, x2 = operands("where", condition, x1, x2, alone=True)
    if check_tensor("where", condition, "condition").dtype != bool_:
        msg = f"where: condition must be of dtype bool, got {condition.dtype}"
        raise TypeError(msg)
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):  # tensor-39
        x1, x2 = copied("where", [x1, x2], None)
    x1, x2 = with_number("where", x1, x2)
    # Said here, for torch gives a real operand the gradient of a complex result as it is.
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        return condition, *_promoted(x1, x2)
    return condition, _beside_complex(x1, x2), _beside_complex(x2, x1)


def _beside_complex(x: Operand, other: Operand) -> Operand:
    if isinstance(x, Tensor) and isinstance(other, complex):
        return x.to(torch.promote_types(x.dtype, complex64))
    return x


def _clamped(x: Tensor, low: Tensor | float | None, high: Tensor | float | None) -> Tensor:
    if x.requires_grad and not isinstance(low, Tensor) and not isinstance(high, Tensor):
        low, high = (bound if bound is None else float(bound) for bound in (low, high))
        return native.clamp.default(x, low, high)
    result = Tensor.clamp(x, low, high)
    # ops-27; torch gives a NaN no gradient.
    return torch.where(torch.isnan(x), x, result) if result.requires_grad else result


def _promoted(*arrays: Tensor) -> list[Tensor]:
    """Return the arrays in the dtype that they have in common, whatever their shapes."""
    dtype = arrays[0].dtype
    for x in arrays[1:]:
        dtype = torch.promote_types(dtype, x.dtype)
    return [x.to(dtype) for x in arrays]


def _dtype_beside(x: Operand) -> torch.dtype:
    """Return the dtype that a Tensor of dtype bool takes beside `x`."""
    return x.dtype if isinstance(x, Tensor) else dtype_of_numbers(x)


class _Power(torch.autograd.Function):
    """`a ** b` of two Tensors of one shape and dtype.

    `d/da = b a**(b - 1)` and `d/db = a**b ln a`, made of the same power again, so that each order
    has its limits: 0 at base 0 where the exponent allows one. They are conjugated, as torch's are
    (autograd-47).
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(a: Tensor, b: Tensor) -> Tensor:
        return torch.pow(a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], _output: Tensor) -> None:
        save_for_forward(ctx, *inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        saved, needs = ctx.saved_tensors, ctx.needs_input_grad
        return (
            grads[0] * _power_by_base(*saved).conj() if needs[0] else None,
            grads[0] * _power_by_exponent(*saved).conj() if needs[1] else None,
        )

    @staticmethod
    @pushed_with
    def jvp(_ctx: Any, saved: Sequence[Tensor], tangents: Sequence[Any]) -> Tensor:
        slopes = (_power_by_base, _power_by_exponent)
        parts = [
            t * slope(*saved) for t, slope in zip(tangents, slopes, strict=True) if t is not None
        ]
        total: Tensor = sum(parts[1:], parts[0])
        return total


_power = in_graph(_Power)


def _power_by_base(a: Tensor, b: Tensor) -> Tensor:
    # 0 * inf would be NaN: in the value, and through `where` in the next derivative.
    flat = (b == 0) & ~torch.isfinite(1 / a)
    slope = b * _power(torch.where(flat, 1.0, a), b - 1)
    return torch.where(flat, 0.0, slope)


def _power_by_exponent(a: Tensor, b: Tensor) -> Tensor:
    flat = (a == 0) & (torch.real(b) >= 0)
    base = torch.where(flat, 1.0, a)
    return torch.where(flat, 0.0, _power(base, b) * torch.log(base))
