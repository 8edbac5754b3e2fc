"""The operations that have a derivative of their own: everything else is made from these.

Each is a `Primitive`: `forward` computes with NumPy, `vjp` gives the gradients of the operands. A
`vjp` is written with operators, methods and other primitives, all of which take raw arrays and
Tensors alike: on raw arrays it computes a gradient, on Tensors it records one. That is all there is
to second derivatives.

In every `vjp`, `grad` is the gradient of the result, `needs` tells (by being None or not) which
operands want one, then come the operands, the result and the configuration. An operand or result
that its Primitive does not `keep` is None.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.tape import Array, Parents, Value

Shape: TypeAlias = tuple[int, ...]
Grads: TypeAlias = tuple[Value | None, ...]

OUT = -1


class Primitive:
    """An operation with a derivative.

    Parameters
    ----------
    name : str
        The name in error messages and in `grad_fn`.
    forward : callable
        `forward(*operands, *config)` on raw arrays gives a raw array.
    vjp : callable
        `vjp(grad, needs, *operands, out, *config)` gives one gradient per operand.
    keep : tuple of tuple of int
        For each operand, which arrays its gradient needs: positions of operands, or `OUT`.
    floats : bool
        Integer operands are taken as float32.
    quiet : bool
        Infinite and undefined values are results here, not accidents to warn of.
    stretches : bool
        The operands broadcast to the shape of the result, element by element.
    """

    __slots__ = ("arity", "floats", "forward", "keep", "kept", "name", "quiet", "stretches", "vjp")

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjp: Callable[..., Grads],
        keep: tuple[tuple[int, ...], ...] = ((),),
        *,
        floats: bool = False,
        quiet: bool = False,
        stretches: bool = False,
    ) -> None:
        self.name = name
        self.forward = forward
        self.vjp = vjp
        self.keep = keep
        self.arity = len(keep)
        self.kept = _unions(keep) if len(keep) < 3 else []
        self.floats = floats
        self.quiet = quiet
        self.stretches = stretches

    def __call__(self, *args: Any) -> Value:
        """Compute on raw arrays, or record where an operand is a Tensor: for use in a `vjp`."""
        for operand in args[: self.arity]:
            if not isinstance(operand, (np.ndarray, np.generic)):
                return operand.record(self, args[: self.arity], args[self.arity :])
        return self.forward(*args)

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _unions(keep: tuple[tuple[int, ...], ...]) -> list[tuple[bool, ...]]:
    """Which arrays to keep (operands, then the result), by the bits of which operands want it."""
    n = len(keep)
    wanted = [
        {place for k in range(n) if bits >> k & 1 for place in keep[k]} for bits in range(1 << n)
    ]
    return [tuple(place in places for place in (*range(n), OUT)) for places in wanted]


def raw(x: Value) -> Any:
    """The values of a Tensor or raw array: what is computed from them is a constant."""
    return x if isinstance(x, (np.ndarray, np.generic)) else x.data


def fit(grad: Value, shape: Shape, dtype: DTypeLike) -> Value:
    """Sum a gradient to the shape, and cast it to the dtype, of an operand that was stretched."""
    if grad.shape == shape and grad.dtype == dtype:
        return grad
    return shrink(grad, shape, dtype, grad.shape, grad.dtype)


def _shrink(x: Array, shape: Shape, dtype: DTypeLike, *_: Any) -> Array:
    if x.shape != shape:
        lead = x.ndim - len(shape)
        axes = [k for k in range(x.ndim) if k < lead or (shape[k - lead] == 1 and x.shape[k] != 1)]
        x = x.sum(axis=tuple(axes)).reshape(shape)
    return x.astype(dtype, copy=False)


def stretch(x: Value, shape: Shape, dtype: DTypeLike) -> Value:
    """Broadcast to a shape and cast to a dtype, as an operand is that differs from the result."""
    return spread(x, shape, dtype, x.shape, x.dtype)


def _spread(x: Array, shape: Shape, dtype: DTypeLike, *_: Any) -> Array:
    return np.broadcast_to(x, shape).astype(dtype, copy=False)


def _shrink_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, shape, dtype = config
    return (stretch(grad, shape, dtype),)


def _spread_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, shape, dtype = config
    return (fit(grad, shape, dtype),)


shrink = Primitive("sum_to", _shrink, _shrink_vjp)
spread = Primitive("broadcast_to", _spread, _spread_vjp)


def _reshape_vjp(grad: Value, needs: Parents, x: None, out: None, to: Shape, shape: Shape) -> Grads:
    return (grad.reshape(shape),)


reshape = Primitive("reshape", lambda x, to, shape: x.reshape(to), _reshape_vjp)


def _permute_vjp(grad: Value, needs: Parents, x: None, out: None, axes: Shape) -> Grads:
    return (permute(grad, tuple(sorted(range(len(axes)), key=axes.__getitem__))),)


permute = Primitive("permute_dims", np.transpose, _permute_vjp)


def _concat_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    axis, stops = saved[-2:]
    lead = (slice(None),) * axis
    starts = (0, *stops[:-1])
    return tuple(
        grad[(*lead, slice(start, stop))] if need is not None else None
        for need, start, stop in zip(needs, starts, stops, strict=True)
    )


def _stack_vjp(grad: Value, needs: Parents, *saved: Any) -> Grads:
    lead = (slice(None),) * saved[-1]
    return tuple(grad[(*lead, k)] if need is not None else None for k, need in enumerate(needs))


def concat(arrays: int) -> Primitive:
    """The primitive that joins so many arrays; configuration: the axis, and where each one ends."""
    return Primitive(
        "concat",
        lambda *args: np.concatenate(args[:-2], axis=args[-2]),
        _concat_vjp,
        ((),) * arrays,
    )


def stack(arrays: int) -> Primitive:
    """The primitive that stacks so many arrays; configuration: the new axis."""
    return Primitive(
        "stack", lambda *args: np.stack(args[:-1], axis=args[-1]), _stack_vjp, ((),) * arrays
    )


def _getitem_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (put(grad, key, shape),)


def _put_vjp(grad: Value, needs: Parents, x: None, out: None, key: Any, shape: Shape) -> Grads:
    return (getitem(grad, key, shape),)


def _put(x: Array, key: Any, shape: Shape) -> Array:
    out = np.zeros(shape, x.dtype)
    parts = key if isinstance(key, tuple) else (key,)
    if not any(isinstance(k, (np.ndarray, list)) and np.asarray(k).dtype != bool for k in parts):
        out[key] = x
    elif isinstance(key, np.ndarray) and key.ndim and x.size:
        _add_rows(out, key, x)
    else:
        np.add.at(out, key, x)
    return out


def _add_rows(out: Array, rows: Array, x: Array) -> None:
    # Sorted, the repeats of a row lie together, and one reduction adds them all: many times faster
    # than np.add.at.
    rows = np.where(rows < 0, rows + len(out), rows).ravel()
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    starts = np.flatnonzero(np.r_[True, rows[1:] != rows[:-1]])
    out[rows[starts]] = np.add.reduceat(x.reshape(len(rows), *out.shape[1:])[order], starts, axis=0)


getitem = Primitive("getitem", lambda x, key, shape: x[key], _getitem_vjp)
put = Primitive("put", _put, _put_vjp)


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
        # At 0 ** 0 the usual b * a ** (b - 1) would be 0 * inf.
        lowered = select(b - 1, np.zeros((), b.dtype), (raw(b) != 0) | (raw(a) != 0))
        da = grad * (b * a**lowered)
    if needs[1] is not None:
        # 0 ** b stays 0 when b moves, though log(0) is infinite.
        db = grad * (out * log(select(a, np.ones((), a.dtype), raw(a) != 0)))
    return da, db


def _share(
    wins: Callable[..., Array], grad: Value, needs: Parents, a: Value, b: Value, out: None
) -> Grads:
    """Gradients of maximum and minimum: to the operand that wins, half to each at a tie."""
    mine = wins(raw(a), raw(b)).astype(grad.dtype) + (raw(a) == raw(b)).astype(grad.dtype) / 2
    return grad * mine, grad * (1 - mine)


def _select_vjp(
    grad: Value, needs: Parents, a: None, b: None, out: None, condition: Array
) -> Grads:
    zero = np.zeros((), grad.dtype)
    return (
        None if needs[0] is None else select(grad, zero, condition),
        None if needs[1] is None else select(zero, grad, condition),
    )


def _matmul_vjp(grad: Value, needs: Parents, a: Value, b: Value, out: None) -> Grads:
    return (
        None if needs[0] is None else grad @ b.mT,
        None if needs[1] is None else a.mT @ grad,
    )


add = Primitive("add", np.add, _add_vjp, ((), ()), stretches=True)
subtract = Primitive("subtract", np.subtract, _subtract_vjp, ((), ()), stretches=True)
multiply = Primitive("multiply", np.multiply, _multiply_vjp, ((1,), (0,)), stretches=True)
divide = Primitive(
    "divide",
    np.true_divide,
    _divide_vjp,
    ((1,), (1, OUT)),
    floats=True,
    quiet=True,
    stretches=True,
)
power = Primitive(
    "pow", lambda a, b: a**b, _pow_vjp, ((0, 1), (0, 1, OUT)), quiet=True, stretches=True
)
# A plain number as the exponent, the usual case, is configuration: NumPy has short cuts for it.
power_by = Primitive(
    "pow",
    lambda x, n: x**n,
    lambda grad, needs, x, out, n: (grad * (n * x ** (n - 1 if n else 0)),),
    ((0,),),
    quiet=True,
)
maximum = Primitive(
    "maximum",
    np.maximum,
    lambda *args: _share(np.greater, *args),
    ((0, 1), (0, 1)),
    stretches=True,
)
minimum = Primitive(
    "minimum",
    np.minimum,
    lambda *args: _share(np.less, *args),
    ((0, 1), (0, 1)),
    stretches=True,
)
select = Primitive(
    "where",
    lambda a, b, condition: np.where(condition, a, b),
    _select_vjp,
    ((), ()),
    stretches=True,
)
matmul = Primitive("matmul", np.matmul, _matmul_vjp, ((1,), (0,)))


def _elementwise(
    name: str,
    forward: Callable[[Array], Any],
    derivative: Callable[[Value, Value, Value], Value],
    keep: int,
    *,
    floats: bool = True,
    quiet: bool = False,
) -> Primitive:
    """A primitive of one array from `derivative(grad, x, out)`, which needs x (0) or OUT."""
    return Primitive(
        name,
        forward,
        lambda grad, needs, x, out: (derivative(grad, x, out),),
        ((keep,),),
        floats=floats,
        quiet=quiet,
    )


def _sigmoid(x: Array) -> Array:
    # exp of what is never positive cannot overflow, and the small tail keeps its digits.
    tail = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, tail).astype(x.dtype, copy=False) / (1 + tail)


def _relu_grad(grad: Value, x: None, out: Value) -> Value:
    return select(grad, np.zeros((), grad.dtype), raw(out) > 0)


exp = _elementwise("exp", np.exp, lambda g, x, out: g * out, OUT, quiet=True)
log = _elementwise("log", np.log, lambda g, x, out: g / x, 0, quiet=True)
sqrt = _elementwise("sqrt", np.sqrt, lambda g, x, out: g / (out + out), OUT, quiet=True)
tanh = _elementwise("tanh", np.tanh, lambda g, x, out: g * (1 - out * out), OUT)
sin = _elementwise("sin", np.sin, lambda g, x, out: g * cos(x), 0, quiet=True)
cos: Primitive = _elementwise("cos", np.cos, lambda g, x, out: -(g * sin(x)), 0, quiet=True)
sigmoid = _elementwise("sigmoid", _sigmoid, lambda g, x, out: g * (out * (1 - out)), OUT)
square = _elementwise("square", np.square, lambda g, x, out: g * (x + x), 0, floats=False)
absolute = _elementwise("abs", np.abs, lambda g, x, out: g * np.sign(raw(x)), 0, floats=False)
sign = _elementwise("sign", np.sign, lambda g, x, out: g * 0, OUT, floats=False)
relu = _elementwise("relu", lambda x: np.maximum(x, x.dtype.type(0)), _relu_grad, OUT, floats=False)
negative = Primitive("negative", np.negative, lambda grad, needs, x, out: (-grad,))


def _sum(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return x.sum(axis=axes, keepdims=keepdims)


def _sum_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, kept, shape = config
    return (stretch(grad.reshape(kept), shape, grad.dtype),)


def _mean(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return x.sum(axis=axes, keepdims=keepdims) / _terms(axes, shape)


def _mean_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    axes, _, kept, shape = config
    return (stretch((grad / _terms(axes, shape)).reshape(kept), shape, grad.dtype),)


def _terms(axes: Shape, shape: Shape) -> float:
    # The mean of nothing is NaN, and dividing by NaN says so without a warning.
    return math.prod(shape[k] for k in axes) or math.nan


def _extremum_vjp(grad: Value, needs: Parents, x: Value, out: Value, *config: Any) -> Grads:
    axes, _, kept, _ = config
    chosen = (raw(x) == raw(out).reshape(kept)).astype(grad.dtype)
    # Where the result is NaN nothing equals it, and the count is 0.
    share = chosen / np.maximum(chosen.sum(axis=axes, keepdims=True), 1)
    return (grad.reshape(kept) * share,)


total = Primitive("sum", _sum, _sum_vjp)
mean = Primitive("mean", _mean, _mean_vjp, floats=True)
maxima = Primitive(
    "max", lambda x, axes, keepdims, *_: x.max(axes, keepdims=keepdims), _extremum_vjp, ((0, OUT),)
)
minima = Primitive(
    "min", lambda x, axes, keepdims, *_: x.min(axes, keepdims=keepdims), _extremum_vjp, ((0, OUT),)
)


def _logsumexp(x: Array, axis: int) -> Array:
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    # An infinite maximum would make inf - inf of what is plainly inf or -inf.
    top = np.where(np.isfinite(top), top, top.dtype.type(0))
    return np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top


def _softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    part = grad * out
    return (part - out * part.sum(axis=axis, keepdims=True),)


def _log_softmax_vjp(grad: Value, needs: Parents, x: None, out: Value, axis: int) -> Grads:
    return (grad - exp(out) * grad.sum(axis=axis, keepdims=True),)


def _softmax(x: Array, axis: int) -> Array:
    out = np.exp(x - x.max(axis=axis, keepdims=True, initial=-np.inf))
    out /= out.sum(axis=axis, keepdims=True)
    return out


def _log_softmax(x: Array, axis: int) -> Array:
    shifted = x - x.max(axis=axis, keepdims=True, initial=-np.inf)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


# These three take one axis, counted from 0; logsumexp keeps it.
softmax: Primitive = Primitive(
    "softmax", _softmax, _softmax_vjp, ((OUT,),), floats=True, quiet=True
)
log_softmax = Primitive(
    "log_softmax", _log_softmax, _log_softmax_vjp, ((OUT,),), floats=True, quiet=True
)
logsumexp = Primitive(
    "logsumexp",
    _logsumexp,
    # exp(x - out) would lose the digits of x - max(x) where the maximum is large.
    lambda grad, needs, x, out, axis: (grad * softmax(x, axis),),
    ((0,),),
    floats=True,
    quiet=True,
)
