"""Reductions, and scans along an axis."""

from __future__ import annotations

import math
from itertools import accumulate
from typing import Any

import numpy as np

from impl_numpy.batched import asarray, every
from impl_numpy.checks import check_flag, check_number, check_real, normalize_axes, shown
from impl_numpy.dtypes import Array, Axis, Shape, Value, float32, int64
from impl_numpy.ops.elementwise import masked
from impl_numpy.ops.families import X, reduce, registered, scan, scanned, spread_to
from impl_numpy.recording import OUT, RULES, Grads, Primitive, raw, stretch
from impl_numpy.recording import unary as record_unary
from impl_numpy.sums import total
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap


def _sum(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return total(x, axes, keepdims)


def _whole_sum(x: Array, axes: Shape, keepdims: bool, *_: Any) -> Any:
    # NumPy would add narrow integers in int64.
    added: Any = np.add
    return added.reduce(x, axes, x.dtype, keepdims=keepdims)


def _whole_prod(x: Array, axes: Shape, keepdims: bool, *_: Any) -> Any:
    multiplied: Any = np.multiply
    return multiplied.reduce(x, axes, x.dtype, keepdims=keepdims)


def _sum_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, kept, shape = config
    return (stretch(grad.reshape(kept), shape, grad.dtype),)


def _mean(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> Any:
    return total(x, axes, keepdims) / _terms(axes, shape)


def _mean_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    axes, _, kept, shape = config
    return (stretch((grad / _terms(axes, shape)).reshape(kept), shape, grad.dtype),)


def _terms(axes: Shape, shape: Shape) -> float:
    # The mean of nothing is NaN, and dividing by NaN says so without a warning.
    return math.prod(shape[k] for k in axes) or math.nan


def _extremum_vjp(grad: Value, needs: Parents, x: Value, out: Value, *config: Any) -> Grads:
    axes, _, kept, _ = config
    values, extremum, share = raw(x), raw(out).reshape(kept), grad.reshape(kept)
    chosen = values == extremum
    undefined = np.isnan(extremum)
    if np.count_nonzero(every(undefined)):
        # A NaN is larger, and smaller, than any number (ops-27).
        chosen |= undefined & np.isnan(values)
    if np.count_nonzero(every(chosen)) != every(extremum).size:
        count = np.add.reduce(chosen, axis=axes, dtype=int64, keepdims=True)
        share = share / count.astype(grad.dtype)
    return (masked(share, chosen),)


def _no_element(x: Array, axes: Shape, keepdims: bool, kept: Shape, shape: Shape) -> str | None:
    return None if math.prod(shape[k] for k in axes) else f"wants an element, got shape {shape}"


sum = reduce("sum", _sum, _sum_vjp, (), "Return the sum.", whole=_whole_sum)  # ops-15
mean = reduce("mean", _mean, _mean_vjp, (), "Return the mean.", floats=True)  # ops-14
max = reduce(
    "max",
    lambda x, axes, keepdims, *_: x.max(axes, keepdims=keepdims),
    _extremum_vjp,
    (X, OUT),
    "Return the largest element; elements that tie share its gradient.",
    real=True,
    explain=_no_element,
)  # tensor-26, ops-24
min = reduce(
    "min",
    lambda x, axes, keepdims, *_: x.min(axes, keepdims=keepdims),
    _extremum_vjp,
    (X, OUT),
    "Return the smallest element; elements that tie share its gradient.",
    real=True,
    explain=_no_element,
)  # tensor-26, ops-24


# So few numbers at a step are faster as Python's.
_FEW = 8


def recur(b: Array, a: Array, axis: int, backwards: bool, h0: Array | None = None) -> Array:
    """Return h_t = b_t + a_t h_{t-1}, or, backwards, h_t = b_t + a_{t+1} h_{t+1}.

    Forward h0 may stand before the first of them.
    """
    h, factors = np.array(np.moveaxis(b, axis, 0), order="C"), np.moveaxis(a, axis, 0)
    if h0 is not None:
        h[0] += factors[0] * h0
    if 0 < h.size <= _FEW * len(h):
        flat = factors.reshape(len(h), -1)
        for k, lane in enumerate(h.reshape(len(h), -1).T):
            lane[:] = _recur_one(lane.tolist(), flat[:, k].tolist(), backwards)
    elif h.size:
        # The rows of both lie close together then.
        factors = factors if axis == 0 else np.ascontiguousarray(factors)
        before, now = (h[:0:-1], h[-2::-1]) if backwards else (h[:-1], h[1:])
        scratch = np.empty_like(h[0])
        for earlier, a_t, later in zip(before, factors[_used(backwards)], now, strict=True):
            np.add(later, np.multiply(a_t, earlier, scratch), later)
    return np.moveaxis(h, 0, axis)


def _used(backwards: bool) -> slice:
    """Return which factors are used, in the order in which they are."""
    return slice(None, 0, -1) if backwards else slice(1, None)


def _recur_one(b: list[float], a: list[float], backwards: bool) -> list[float]:
    """Do the same with one number at each step."""
    terms = b[::-1] if backwards else b
    pairs = zip(a[_used(backwards)], terms[1:], strict=True)
    h = list(accumulate(pairs, lambda h, pair: pair[0] * h + pair[1], initial=terms[0]))
    return h[::-1] if backwards else h


def joined(first: Value, second: Value, axis: int) -> Value:
    """Return two arrays or Tensors one behind the other."""
    from_first = first.shape[axis]
    stops = [from_first, from_first + second.shape[axis]]
    return RULES["concat of two"](first, second, axis, stops)


def _recur_vjp(
    grad: Value, needs: Parents, b: None, a: Value, out: Value, axis: int, backwards: bool
) -> Grads:
    db = linear_scan(grad, a, axis, not backwards)
    if needs[1] is None:
        return db, None
    # The first factor is not used: its gradient is 0, whatever arrives.
    ahead = (slice(None),) * axis
    earlier, later = (*ahead, slice(0, -1)), (*ahead, slice(1, None))
    used = db[earlier] * out[later] if backwards else db[later] * out[earlier]
    return db, joined(np.zeros_like(raw(out)[(*ahead, slice(0, 1))]), used, axis)


def _cumulative_prod_vjp(grad: Value, needs: Parents, x: Value, out: Value, axis: int) -> Grads:
    # prod_{k<i} x_k is the result before, so that nothing is divided by what may be 0 (ops-22).
    ahead = (slice(None),) * axis
    one = np.ones_like(raw(out)[(*ahead, slice(0, 1))])
    before = joined(one, out[(*ahead, slice(0, -1))], axis)
    return (before * linear_scan(grad, x, axis, True),)


linear_scan: Primitive = Primitive("linear_recurrence", recur, _recur_vjp, ((1,), (1, OUT)))
cumulative_prod = scan(
    "cumulative_prod",
    lambda x, axis: np.cumprod(x, axis, x.dtype),
    _cumulative_prod_vjp,
    (X, OUT),
    1,
    "Return running products.",
)  # ops-22


def _prod_vjp(grad: Value, needs: Parents, x: Value, out: None, *config: Any) -> Grads:
    # The product of the others is that of those before times that of those after: nothing is
    # divided by what may be 0 (ops-38).
    axes, _, kept, shape = config
    order = (*[k for k in range(len(shape)) if k not in axes], *axes)
    turned = RULES["permute_dims"](x, order)
    rows = tuple(shape[k] for k in order[: len(order) - len(axes)])
    flat = turned.reshape((*rows, math.prod(shape[k] for k in axes)))
    others = _before(flat) * _backwards(_before(_backwards(flat)))
    back = tuple(sorted(range(len(order)), key=order.__getitem__))
    return (grad.reshape(kept) * RULES["permute_dims"](others.reshape(turned.shape), back),)


def _before(x: Value) -> Value:
    """Return the product of the elements before each, along the last axis."""
    one = np.ones((*x.shape[:-1], 1 if x.shape[-1] else 0), x.dtype)
    return RULES["cumulative_prod"](joined(one, x[..., :-1], x.ndim - 1), x.ndim - 1)


def _backwards(x: Value) -> Value:
    return RULES["flip"](x, (x.ndim - 1,))


def _cumulative_sum_vjp(grad: Value, needs: Parents, x: None, out: None, axis: int) -> Grads:
    turned = RULES["cumulative_sum"](RULES["flip"](grad, (axis,)), axis)
    return (RULES["flip"](turned, (axis,)),)


def _cumulative_logsumexp_vjp(
    grad: Value, needs: Parents, x: Value, out: Value, axis: int
) -> Grads:
    # s_i = g_i + exp(out_i - out_{i+1}) s_{i+1}: no exponent is positive. An element that is -inf
    # has no share (ops-37).
    zero = np.zeros((), x.dtype)
    safe = RULES["where"](out, zero, raw(out) != -np.inf)
    ahead = (slice(None),) * axis
    earlier = joined(safe[(*ahead, slice(0, 1))], out[(*ahead, slice(0, -1))], axis)
    ratio = RULES["exp"](earlier - safe)
    return (linear_scan(grad, ratio, axis, True) * RULES["exp"](x - safe),)


prod = reduce(
    "prod",
    lambda x, axes, keepdims, *_: np.multiply.reduce(x, axes, keepdims=keepdims),
    _prod_vjp,
    (X,),
    "Return the product.",
    whole=_whole_prod,
)  # ops-38
cumulative_sum = scan(
    "cumulative_sum",
    lambda x, axis: np.cumsum(x, axis, x.dtype),
    _cumulative_sum_vjp,
    (),
    0,
    "Return running sums.",
)  # ops-22
_running = Primitive(
    "cumulative_logsumexp",
    lambda x, axis: np.logaddexp.accumulate(x, axis),
    _cumulative_logsumexp_vjp,
    ((X, OUT),),
    floats=True,
    real=True,
)
_running_frame = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
axis : int, optional
    That of length N. May be left out where there is no other.

Returns
-------
Tensor, the shape of x

Raises
------
ValueError
    If the axis is out of range, or left out where there are several.
TypeError
    If x is neither, or the axis is no int."""


@registered(
    "cumulative_logsumexp",
    "Return the running logarithms of sums of exponentials, without overflow.",
    _running_frame,
    "torch.logcumsumexp",
)
def cumulative_logsumexp(x: Any, /, *, axis: int | None = None) -> Tensor:  # ops-22
    x = as_tensor("cumulative_logsumexp", x, passing=True)
    place = scanned("cumulative_logsumexp", axis, x.shape)
    result: Tensor = record_unary(_running, x, (place,))
    return result


_FRAME = """Parameters
----------
x : Tensor or raw array, any shape
axis : int or tuple of int, optional
    Left out, all axes.{more}
keepdims : bool
    Keep the axes, with length 1.

Returns
-------
Tensor{of}, the shape of x without the axes

Raises
------
ValueError
    If an axis is out of range or comes twice.
TypeError
    If x is no array, or an argument has the wrong type."""

_CORRECTION = "\ncorrection : float\n    What the number of elements is lessened by."
# The slope of the root at 0 is taken as 0 (ops-39, ops-40).
_root = Primitive(
    "sqrt",
    np.sqrt,
    lambda grad, needs, x, out: (masked(grad / (out + out), asarray(raw(out) != 0)),),
    ((OUT,),),
)
_nonzero = Primitive(
    "norm",
    lambda x: (x != 0).astype(x.dtype),
    lambda grad, needs, x, out: (masked(grad, np.zeros((), bool)),),
)


def _floating(name: str, x: Any) -> Tensor:
    x = as_tensor(name, x, passing=True)
    return x if x.dtype.kind in "fc" else spread_to(x, x.shape, float32)


@registered("var", "Return the variance.", _FRAME.format(more=_CORRECTION, of=""))
def var(
    x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:  # ops-39
    return _variance("var", x, axis, correction, keepdims)


@registered("std", "Return the standard deviation.", _FRAME.format(more=_CORRECTION, of=""))
def std(
    x: Any, /, *, axis: Axis = None, correction: float = 0.0, keepdims: bool = False
) -> Tensor:  # ops-39
    result: Tensor = record_unary(_root, _variance("std", x, axis, correction, keepdims))
    return result


def _variance(name: str, x: Any, axis: Axis, correction: Any, keepdims: Any) -> Tensor:
    x = _floating(name, x)
    check_real(name, x.dtype)
    axes = normalize_axes(name, axis, x.shape)
    keepdims = check_flag(name, "keepdims", keepdims)
    lessened = check_number(name, "correction", correction)
    terms = math.prod(x.shape[k] for k in axes) - lessened
    away = x - mean(x, axis=axes, keepdims=True)
    added = sum(away * away, axis=axes, keepdims=keepdims)
    # The larger of a number and NaN is the number here, as in NumPy's own.
    result: Tensor = added / float(terms if terms > 0 else 0)
    return result


_ORD = "\nord : number\n    Of the norm; inf and -inf: the largest and smallest of abs."


@registered(
    "norm",
    "Return the norm of a vector: sum(abs(x) ** ord) ** (1 / ord).",
    _FRAME.format(more=_ORD, of=""),
    "linalg.vector_norm of the array API",
)
def norm(x: Any, /, *, axis: Axis = None, keepdims: bool = False, ord: float = 2) -> Tensor:
    x = _floating("norm", x)
    power = check_number("norm", "ord", ord)
    options: Any = {
        "axis": normalize_axes("norm", axis, x.shape),
        "keepdims": check_flag("norm", "keepdims", keepdims),
    }
    nothing = not math.prod(x.shape[k] for k in options["axis"])
    if nothing and power < 0:
        msg = f"norm: wants an element for ord={shown(ord)}, got shape {x.shape}"  # ops-24
        raise ValueError(msg)
    if math.isinf(power) and not nothing:
        return (max if power > 0 else min)(abs(x), **options)
    whole = x.dtype.kind == "c"
    if power == 2:
        if whole:
            a, b = record_unary(RULES["real"], x), record_unary(RULES["imag"], x)
            squares = a * a + b * b
        else:
            squares = x * x
        result: Tensor = record_unary(_root, sum(squares, **options))
        return result
    if power == 0:
        return sum(record_unary(_nonzero, abs(x) if whole else x), **options)
    sizes = abs(x)
    return (
        sum(sizes, **options)
        if power == 1 or nothing
        else sum(sizes**power, **options) ** (1 / power)
    )


def _counted(name: str, forward: Any, of: str, summary: str) -> Any:
    """Make a function that tells what is not 0, without history (ops-41)."""

    @registered(name, summary, _FRAME.format(more="", of=f" of {of}"))
    def apply(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        x = as_tensor(name, x, passing=True)
        axes = normalize_axes(name, axis, x.shape)
        keepdims = check_flag(name, "keepdims", keepdims)
        return wrap(asarray(forward(x._data, axes, keepdims)), None)

    return apply


all = _counted(
    "all",
    lambda x, axes, keepdims: np.all(x, axes, keepdims=keepdims),
    "bool",
    "Return whether no element is 0.",
)
any = _counted(
    "any",
    lambda x, axes, keepdims: np.any(x, axes, keepdims=keepdims),
    "bool",
    "Return whether an element is not 0.",
)
count_nonzero = _counted(
    "count_nonzero",
    lambda x, axes, keepdims: np.add.reduce(x != 0, axes, int64, keepdims=keepdims),
    "int64",
    "Return how many elements are not 0.",
)
