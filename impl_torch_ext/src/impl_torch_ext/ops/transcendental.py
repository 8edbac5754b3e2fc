"""Functions of real numbers that no finite arithmetic gives, and their smooth relatives.

Where torch's derivative is another than the specification's table, or is NaN where that has a
number, a function stands with its own: `derived` makes it of a value and of slopes, which are
differentiated in their turn.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_choice, check_fits, check_number
from impl_torch_ext.dtypes import bool_, complex64, float32, float64, int64, is_inexact
from impl_torch_ext.ops import elementwise
from impl_torch_ext.ops.families import Op, Operand, array_of_reals, binary, listed, unary
from impl_torch_ext.tracing import in_graph, pushed_with, save_for_forward

__all__ = [
    "acos",
    "acosh",
    "as_float",
    "asin",
    "asinh",
    "atan",
    "atan2",
    "atanh",
    "copysign",
    "cosh",
    "derived",
    "elu",
    "erf",
    "expm1",
    "gelu",
    "hypot",
    "leaky_relu",
    "log1p",
    "log2",
    "log10",
    "logaddexp",
    "pair",
    "pair_of_reals",
    "reciprocal",
    "silu",
    "sinh",
    "softplus",
    "tan",
]

# Beyond it every function here that has a limit has reached it, and a product with 0 is 0.
_FAR = 1e4


def derived(name: str, value: Op, *slopes: Op | None) -> Op:
    """Make a function of Tensors of one shape and dtype from its value and partial derivatives.

    A slope of None stands for a derivative that is exactly 0, whatever arrives. Slopes of complex
    numbers are those of holomorphic functions.
    """

    def forward(*xs: Tensor) -> Tensor:
        return value(*xs)

    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
        save_for_forward(ctx, *inputs)

    @pushed_with
    def jvp(_ctx: Any, xs: Sequence[Tensor], tangents: Sequence[Tensor | None]) -> Any:
        parts = [
            t * slope(*xs)
            for t, slope in zip(tangents, slopes, strict=True)
            if t is not None and slope is not None
        ]
        return torch.zeros_like(xs[0]) if not parts else functools.reduce(torch.add, parts)

    def backward(ctx: Any, *grads: Tensor) -> Any:
        xs = ctx.saved_tensors
        found = [
            None
            if not needed
            else torch.zeros_like(grads[0])
            if slope is None
            else grads[0] * slope(*xs).conj()  # autograd-47
            for needed, slope in zip(ctx.needs_input_grad, slopes, strict=True)
        ]
        return found[0] if len(found) == 1 else tuple(found)

    methods = (forward, setup_context, backward, jvp)
    body: dict[str, Any] = {method.__name__: staticmethod(method) for method in methods}
    made = type(name, (torch.autograd.Function,), {"generate_vmap_rule": True, **body})
    return in_graph(made)


def pair(x1: Operand, x2: Operand) -> tuple[Tensor, Tensor]:
    """Return two operands, of which one may be a number, in the dtype of both."""
    if isinstance(x1, Tensor) and isinstance(x2, Tensor):
        dtype = torch.promote_types(x1.dtype, x2.dtype)
        return x1.to(dtype), x2.to(dtype)
    if not isinstance(x1, Tensor):
        second, first = pair(x2, x1)
        return first, second
    dtype = x1.dtype
    if type(x2) is complex:
        dtype = torch.promote_types(dtype, complex64)
    elif type(x2) is float and not is_inexact(dtype):
        dtype = float32
    elif type(x2) is int and dtype == bool_:
        dtype = int64
    return x1.to(dtype), torch.full((), x2, dtype=dtype)


def pair_of_reals(x1: Operand, x2: Operand) -> tuple[Tensor, ...]:
    """Return two operands, of which one may be a number, in their floating dtype and shape."""
    reals = (x if x.is_floating_point() else x.to(float32) for x in pair(x1, x2))  # ops-14
    return torch.broadcast_tensors(*reals)


def as_float(name: str, option: str, value: Any) -> float:
    """Return a number as a float, or raise if it is none or too large to be one."""
    number = check_number(name, option, value)
    if isinstance(number, int):
        check_fits(name, number, float64)
    return float(number)


def _of_reals(name: str, value: Op, *slopes: Op | None) -> Op:
    apply = derived(name, value, *slopes)

    def of_reals(x1: Operand, x2: Operand) -> Tensor:
        return apply(*pair_of_reals(x1, x2))

    return of_reals


def _real(
    name: str, value: Op, result: str, slope: Op | None = None, source: str = "array API"
) -> Op:
    """Add a function of numbers, with torch's derivative where no slope is given."""
    fn = value if slope is None else derived(name, value, slope)
    return unary(name, lambda x: fn(array_of_reals(name, x)), result, source, real=True)


def _inverse_root(x: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """Return 1 / sqrt(first * second): of complex `x` by two roots, each on its own branch."""
    if x.is_complex():
        return 1 / (torch.sqrt(first) * torch.sqrt(second))
    return 1 / torch.sqrt(first * second)


def _asinh_slope(x: Tensor) -> Tensor:
    if x.is_complex():
        return _inverse_root(x, 1 + 1j * x, 1 - 1j * x)
    return 1 / torch.hypot(x, torch.ones((), dtype=x.dtype))


def _gaussian(x: Tensor) -> Tensor:
    return 2 / math.sqrt(math.pi) * torch.exp(-x * x)


def _gelu(x: Tensor) -> Tensor:
    x = x.clamp(min=-_FAR)
    return torch.special.erfc(x * -math.sqrt(0.5)).mul_(x).mul_(0.5).add_(0.0)


def _gelu_slope(x: Tensor) -> Tensor:
    x = x.clamp(-_FAR, _FAR)
    cumulated = torch.special.erfc(x * -math.sqrt(0.5)) / 2
    return torch.addcmul(cumulated, x, torch.exp(x * x * -0.5), value=1 / math.sqrt(2 * math.pi))


def _twice_cubic(x: Tensor) -> Tensor:
    # (1 + tanh u) / 2 is sigmoid(2 u).
    return 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def _gelu_tanh(x: Tensor) -> Tensor:
    x = x.clamp(min=-_FAR)
    return x * torch.sigmoid(_twice_cubic(x)) + 0.0


def _gelu_tanh_slope(x: Tensor) -> Tensor:
    x = x.clamp(-_FAR, _FAR)
    gate = torch.sigmoid(_twice_cubic(x))
    inner = 2 * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return gate + x * inner * gate * (1 - gate)


def _silu(x: Tensor) -> Tensor:
    x = x.clamp(min=-_FAR)
    return x * torch.sigmoid(x) + 0.0


def _silu_slope(x: Tensor) -> Tensor:
    x = x.clamp(-_FAR, _FAR)
    gate = torch.sigmoid(x)
    return gate + x * gate * (1 - gate)


def _softplus(x: Tensor) -> Tensor:
    return torch.logaddexp(x, torch.zeros((), dtype=x.dtype))


def _by_hypot(x: Tensor, x1: Tensor, x2: Tensor) -> Tensor:
    length = _hypot(x1, x2)
    return x / torch.where(length == 0, 1.0, length)


# ops-37 has the derivatives; those that torch has are torch's.
reciprocal = _real("reciprocal", torch.reciprocal, "1 / x")
# ops-36
expm1 = _real("expm1", torch.expm1, "exp(x) - 1", torch.exp)
log1p = _real("log1p", torch.log1p, "log(1 + x)")
log2 = _real("log2", torch.log2, "the logarithm to base 2")
log10 = _real("log10", torch.log10, "the logarithm to base 10")
tan = _real("tan", torch.tan, "the tangent")
asin = _real("asin", torch.asin, "the inverse sine", lambda x: _inverse_root(x, 1 - x, 1 + x))
acos = _real("acos", torch.acos, "the inverse cosine", lambda x: -_inverse_root(x, 1 - x, 1 + x))
atan = _real("atan", torch.atan, "the inverse tangent")
sinh = _real("sinh", torch.sinh, "the hyperbolic sine")
cosh = _real("cosh", torch.cosh, "the hyperbolic cosine")
asinh = _real(
    "asinh",
    torch.asinh,
    "the inverse hyperbolic sine",
    _asinh_slope,
)
acosh = _real(
    "acosh",
    torch.acosh,
    "the inverse hyperbolic cosine",
    lambda x: _inverse_root(x, x - 1, x + 1),
)
atanh = _real(
    "atanh",
    torch.atanh,
    "the inverse hyperbolic tangent",
    lambda x: 1 / ((1 - x) * (1 + x)),
)
erf = _real("erf", torch.erf, "the error function", _gaussian, source="torch.erf")
silu = _real("silu", _silu, "x * sigmoid(x)", _silu_slope, "torch.nn.functional.silu")
softplus = _real(
    "softplus", _softplus, "log(1 + exp(x))", torch.sigmoid, "torch.nn.functional.softplus"
)

atan2 = binary(
    "atan2",
    lambda x1, x2: torch.atan2(*pair_of_reals(x1, x2)),
    "the angle of the point (x2, x1) from the first axis",
)
_hypot = derived(
    "hypot",
    torch.hypot,
    lambda x1, x2: _by_hypot(x1, x1, x2),
    lambda x1, x2: _by_hypot(x2, x1, x2),
)
hypot = binary(
    "hypot",
    lambda x1, x2: _hypot(*pair_of_reals(x1, x2)),
    "sqrt(x1 ** 2 + x2 ** 2), of gradient 0 at (0, 0)",
)
logaddexp = binary(
    "logaddexp",
    _of_reals(
        "logaddexp",
        torch.logaddexp,
        lambda x1, x2: torch.sigmoid(x1 - x2),
        lambda x1, x2: torch.sigmoid(x2 - x1),
    ),
    "log(exp(x1) + exp(x2))",
)
copysign = binary(
    "copysign",
    _of_reals(
        "copysign",
        torch.copysign,
        lambda x1, x2: torch.copysign(torch.ones_like(x2), x2) * elementwise.sign(x1),
        None,
    ),
    "x1 with the sign of x2",
)

_SHAPED = {"TypeError": "If `x` is no Tensor, or the number is none."}


def _shaped(number: str, meaning: str, page: str) -> Callable[[Any], Any]:
    """Add a function of real numbers beside a number that shapes it."""
    parameters = {"x": "Tensor, any shape; integers are taken as float32", number: meaning}
    errors = {**_SHAPED, "ValueError": "If the form is none of those."}
    where = f"torch.nn.functional.{page}"
    return listed(
        parameters, "Tensor, the shape of `x`", errors if page == "gelu" else _SHAPED, where
    )


@_shaped("negative_slope", "number", "leaky_relu")
def leaky_relu(x: Tensor, /, negative_slope: float = 0.01) -> Tensor:
    """Return `x` where it is positive, else `negative_slope` times it."""
    reals = array_of_reals("leaky_relu", x)
    slope = as_float("leaky_relu", "negative_slope", negative_slope)
    return torch.nn.functional.leaky_relu(reals, slope)


class _ELU(torch.autograd.Function):
    """torch's value; torch's gradient at NaN is a number (ops-37)."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, scale: float) -> Tensor:
        return torch.nn.functional.elu(x, scale)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        save_for_forward(ctx, inputs[0])
        ctx.scale = inputs[1]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (x,) = ctx.saved_tensors
        return grads[0] * _elu_slope(x, ctx.scale), None

    @staticmethod
    @pushed_with
    def jvp(ctx: Any, saved: Sequence[Tensor], tangents: Sequence[Any]) -> Tensor:
        tangent: Tensor = tangents[0] * _elu_slope(saved[0], ctx.scale)
        return tangent


def _elu_slope(x: Tensor, scale: float) -> Tensor:
    return torch.where(x > 0, 1.0, scale * torch.exp(x.clamp(max=0)))


_elu = in_graph(_ELU)


@_shaped("alpha", "number", "elu")
def elu(x: Tensor, /, alpha: float = 1.0) -> Tensor:
    """Return `x` where it is positive, else `alpha` times exp(x) - 1."""
    reals = array_of_reals("elu", x)
    scale = as_float("elu", "alpha", alpha)
    result: Tensor = _elu(reals, scale)
    return result


_FORMS = {
    "none": derived("gelu", _gelu, _gelu_slope),
    "tanh": derived("gelu", _gelu_tanh, _gelu_tanh_slope),
}
_check_form = check_choice(*_FORMS)


@_shaped(
    "approximate",
    "'none' or 'tanh'\nWhich form; 'none' is that of the normal distribution.",
    "gelu",
)
def gelu(x: Tensor, /, approximate: str = "none") -> Tensor:
    """Return `x` times the probability that a normal variable is below it."""
    reals = array_of_reals("gelu", x)
    return _FORMS[_check_form("gelu", "approximate", approximate)](reals)
