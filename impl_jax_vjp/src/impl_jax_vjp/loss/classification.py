"""Losses of classes, of probabilities and of their logarithms."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_int, check_probability, refuse
from ..dtypes import DType, is_floating
from ..ops import formulas as F
from ..ops.transcendental import logaddexp, sloped
from ..recording import Primitive, as_integers, as_operand, dtype_of, shape_of, widened
from ..tape import Traced, unwrap
from ..tensor import Tensor
from .reduction import (
    REDUCTIONS,
    Array,
    as_weight,
    common,
    compiled,
    flag,
    floating_input,
    module,
    reduced,
    same_shape,
)


@jax.custom_jvp
def _entropy(x: Array, t: Array) -> Array:
    log, rest = _logarithms(x)
    return -(t * log + (1 - t) * rest)


def _logarithms(x: Array) -> tuple[Array, Array]:
    return jnp.maximum(jnp.log(x), -100), jnp.maximum(jnp.log1p(-x), -100)  # loss-13


@_entropy.defjvp
def _entropy_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> Any:
    (x, t), (dx, dt) = primals, tangents
    log, rest = _logarithms(x)
    slope = (x - t) / jnp.maximum(x * (1 - x), 1e-12)  # loss-13
    return _entropy(x, t), slope * dx + (rest - log) * dt


def _weighted(losses: Array, *weight: Array) -> Array:
    return F.stretch(weight[0], losses.shape) * losses if weight else losses


_softplus = sloped(lambda x: logaddexp(x, jnp.zeros_like(x)), F.sigmoid)


def _logits_formula(has_weight: bool, x: Array, t: Array, *weights: Array) -> Array:
    right = t * _softplus(-x)
    if len(weights) > has_weight:
        right = F.stretch(weights[-1], x.shape) * right
    return _weighted(right + (1 - t) * _softplus(x), *weights[:has_weight])


def _divergence(log_target: bool, x: Array, t: Array) -> Array:
    if log_target:
        return jnp.exp(t) * (t - x)
    return t * (jnp.log(jnp.where(t == 0, 1, t)) - x)  # loss-17


_binary = compiled("binary_cross_entropy", lambda x, t, *w: _weighted(_entropy(x, t), *w))
_logits = compiled("binary_cross_entropy_with_logits", _logits_formula)


def _divergence_run(
    reduction: str, dtype: DType, log_target: bool, batch: int, x: Array, t: Array
) -> Array:
    losses = _divergence(log_target, x.astype(dtype), t.astype(dtype))
    return F.total(losses) / batch if reduction == "batchmean" else reduced(reduction, losses)


_kl_div = Primitive(_divergence_run, "kl_div")


def _broadcast(name: str, argument: str, weight: Any, shape: tuple[int, ...]) -> Any:
    """Return a weight of elements; raise `ValueError` if it does not broadcast to the shape."""
    weight = as_weight(name, argument, weight)
    own = shape_of(weight)
    pairs = zip(reversed(own), reversed(shape), strict=False)
    if len(own) > len(shape) or any([a not in (1, b) for a, b in pairs]):  # loss-19
        refuse(name, argument, f"of a shape that broadcasts to input's {shape}", own)
    return weight


def binary_cross_entropy(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean"
) -> Tensor:
    """Return ``-weight * (target * log(input) + (1 - target) * log(1 - input))``, reduced.

    The page of ``torch.nn.BCELoss``. Both logarithms are at least -100.

    Parameters
    ----------
    input, target : Tensor or raw array, the same shape
        `input` from 0 to 1.
    weight : Tensor or raw array, optional
        Broadcasts to that shape.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If shapes do not fit, or a known number of `input` is outside 0 to 1.
    TypeError
        If `input` or `weight` is not floating.
    """
    name = "binary_cross_entropy"
    input, target = same_shape(name, input, target, reduction)
    weights = [] if weight is None else [_broadcast(name, "weight", weight, shape_of(input))]
    array = unwrap(input)
    if not isinstance(array, jax.core.Tracer):
        values = np.asarray(array)
        wrong = values[(values < 0) | (values > 1)]
        if wrong.size:  # loss-13
            refuse(name, "input", "in [0, 1]", wrong[0])
    operands = (input, target, *weights)
    return _binary(operands, reduction, common(*operands), ())


def binary_cross_entropy_with_logits(
    input: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = None
) -> Tensor:
    """Return `binary_cross_entropy` of ``sigmoid(input)``, without overflow.

    ``weight * (pos_weight * target * softplus(-input) + (1 - target) * softplus(input))``, reduced;
    the page of ``torch.nn.BCEWithLogitsLoss``.

    Parameters
    ----------
    input, target : Tensor or raw array, the same shape
    weight, pos_weight : Tensor or raw array, optional
        Broadcast to that shape.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If shapes do not fit.
    TypeError
        If `input` or a weight is not floating.
    """
    name = "binary_cross_entropy_with_logits"
    input, target = same_shape(name, input, target, reduction)
    weights = [
        _broadcast(name, argument, value, shape_of(input))
        for argument, value in (("weight", weight), ("pos_weight", pos_weight))
        if value is not None
    ]
    operands = (input, target, *weights)
    return _logits(operands, reduction, common(*operands), (weight is not None,))


def kl_div(input: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Tensor:
    """Return ``target * (log(target) - input)``, reduced (the page of ``torch.nn.KLDivLoss``).

    With `log_target` it is ``exp(target) * (target - input)``.

    Parameters
    ----------
    input, target : Tensor or raw array, the same shape
        `input` holds logarithms of probabilities.
    reduction : {"mean", "sum", "none", "batchmean"}
        "batchmean" divides the sum by the length of the first axis.
    log_target : bool

    Raises
    ------
    ValueError
        If the shapes differ, or the reduction is none of these.
    TypeError
        If `input` is not floating.
    """
    input, target = same_shape("kl_div", input, target, reduction, _KL_REDUCTIONS)
    logs = flag("kl_div", "log_target", log_target)
    batch = shape_of(input)[0] if reduction == "batchmean" and shape_of(input) else 1
    return _kl_div((input, target), reduction, common(input, target), logs, batch)


_KL_REDUCTIONS = (*REDUCTIONS, "batchmean")


def _class_weights(axis: int, x: Array, weight: tuple[Array, ...]) -> Array:
    """Return the weights along the class axis, or 1."""
    return weight[0].reshape((-1,) + (1,) * (x.ndim - 1 - axis)) if weight else 1


def _minus_chosen(
    axis: int,
    ignore: int,
    smoothing: float | None,
    reduction: str,
    dtype: DType,
    x: Array,
    target: Array,
    *weight: Array,
) -> Array:
    """Return the losses of classes by index; `smoothing` is None for logarithms in `x`."""
    weight = tuple([w.astype(dtype) for w in weight])
    target = target.astype(jnp.int64)
    counted = target != ignore
    # What an ignored row holds, also NaN, meets nothing. # loss-15
    x = jnp.where(jnp.expand_dims(counted, axis), x.astype(dtype), 0)
    place = jnp.where(counted, target, 0)
    if x.size == 0:
        losses, shares = F.total(x, (axis,)), jnp.zeros(target.shape, dtype)
    else:
        logs = x if smoothing is None else F.log_softmax(axis, x)
        index = jnp.expand_dims(place, axis)
        losses = -jnp.take_along_axis(logs, index, axis=axis, mode="clip").squeeze(axis)
        shares = jnp.take(weight[0], place, mode="clip") if weight else jnp.ones((), dtype)
        losses, shares = shares * losses, jnp.where(counted, shares, 0)
        if smoothing:  # loss-02
            spread = F.total(_class_weights(axis, x, weight) * logs, (axis,))
            losses = (1 - smoothing) * losses - smoothing / x.shape[axis] * spread
    losses = jnp.where(counted, losses, 0)
    if reduction == "mean":
        return F.total(losses) / F.total(shares)  # loss-02
    return reduced(reduction, losses)


def _minus_expected(axis: int, smoothing: float, x: Array, target: Array, *weight: Array) -> Array:
    shares = (1 - smoothing) * target + smoothing / max(x.shape[axis], 1)  # loss-16
    logs = F.log_softmax(axis, x)
    return -F.total(_class_weights(axis, x, weight) * shares * logs, (axis,))


def _expected_run(
    axis: int, smoothing: float, reduction: str, dtype: DType, *arrays: Array
) -> Array:
    cast = [a.astype(dtype) for a in arrays]
    return reduced(reduction, _minus_expected(axis, smoothing, *cast))


_nll = Primitive(_minus_chosen, "nll_loss")
_cross_entropy = Primitive(_minus_chosen, "cross_entropy")
_expected = Primitive(_expected_run, "cross_entropy")


def _classes(name: str, input: Any, target: Any, ignore: int) -> tuple[int, Any]:
    """Return the class axis, and the target as integers that were checked."""
    shape, labels = shape_of(input), shape_of(as_integers(name, "target", target))
    axis = 0 if len(shape) == 1 else 1
    if not shape or labels != (*shape[:axis], *shape[axis + 1 :]):  # loss-05
        wanted = f"input's shape {shape} less the class axis"
        msg = f"{name}: target must have {wanted}, got {labels}"
        raise ValueError(msg)
    array = unwrap(target)
    if not isinstance(array, jax.core.Tracer):
        values = np.asarray(array)
        wrong = values[(values != ignore) & ((values < 0) | (values >= shape[axis]))]
        if wrong.size:  # loss-05
            wanted = f"in 0 <= class < {shape[axis]} = C or ignore_index {ignore}"
            msg = f"{name}: each class of target must be {wanted}, got {int(wrong[0])}"
            raise IndexError(msg)
    return axis, target if isinstance(target, Traced) else widened(target)


def _of_classes(name: str, input: Any, weight: Any) -> list[Any]:
    if weight is None:
        return []
    weight, shape = as_weight(name, "weight", weight), shape_of(input)
    count = shape[0 if len(shape) == 1 else 1] if shape else 0
    if shape_of(weight) != (count,):  # loss-19
        refuse(name, "weight", f"of shape (C,) = ({count},)", f"shape {shape_of(weight)}")
    return [weight]


def ignored(name: str, argument: str, value: Any) -> int:
    """Return the class that counts for nothing; raise if it is no int of 64 bits."""
    index = check_int(name, argument, value)
    if not -(2**63) <= index < 2**63:
        refuse(name, argument, "an int of 64 bits", index)
    return index


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return ``-weight[target] * input[target]`` over the class axis, reduced.

    The page of ``torch.nn.NLLLoss``. "mean" divides by the sum of ``weight[target]``.

    Parameters
    ----------
    input : Tensor or raw array, shape (N, C), (C,) or (N, C, d1, ...)
        Logarithms of probabilities.
    target : integers, shape (N,), () or (N, d1, ...)
    weight : Tensor or raw array, shape (C,), optional
    ignore_index : int
        Rows of this class count for nothing.
    reduction : {"mean", "sum", "none"}

    Raises
    ------
    ValueError
        If shapes do not fit, or the reduction is none of these.
    TypeError
        If `input` or `weight` is not floating, or `target` not of integers.
    IndexError
        If a class is outside ``0 <= t < C``, where values are known.
    """
    input = floating_input("nll_loss", input, reduction)
    ignore = ignored("nll_loss", "ignore_index", ignore_index)
    axis, target = _classes("nll_loss", input, target, ignore)
    weights = _of_classes("nll_loss", input, weight)
    dtype = common(input, *weights)
    return _nll((input, target, *weights), axis, ignore, None, reduction, dtype)


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """Return ``-weight[target] * log_softmax(input)[target]`` over the class axis, reduced.

    The page of ``torch.nn.CrossEntropyLoss``. A floating target of the input's shape holds
    probabilities: ``-sum(weight * target * log_softmax(input))``.

    Parameters
    ----------
    input : Tensor or raw array, shape (N, C), (C,) or (N, C, d1, ...)
    target : integers, shape (N,), () or (N, d1, ...); or floating, the shape of `input`
    weight : Tensor or raw array, shape (C,), optional
    ignore_index : int
        Rows of this class count for nothing.
    reduction : {"mean", "sum", "none"}
        "mean" divides by the sum of ``weight[target]``, with probabilities by the number of rows.
    label_smoothing : float, from 0 to 1
        The share that all classes have equally.

    Raises
    ------
    ValueError
        If shapes do not fit, or an option is out of its range.
    TypeError
        If `input` or `weight` is not floating, or a floating target has another shape.
    IndexError
        If a class is outside ``0 <= t < C``, where values are known.
    """
    name = "cross_entropy"
    input = floating_input(name, input, reduction)
    ignore = ignored(name, "ignore_index", ignore_index)
    smoothing = float(check_probability(name, "label_smoothing", label_smoothing))  # loss-16
    shape = shape_of(input)
    # Integers may be of any width (tensor-36).
    narrow = isinstance(target, np.integer | np.ndarray | jax.Array) and target.dtype.kind in "iu"
    target = target if narrow else as_operand(name, target)
    if shape and is_floating(dtype_of(target)) and shape_of(target) == shape:
        if ignore >= 0:  # loss-16
            refuse(name, "ignore_index", "negative where target holds probabilities", ignore)
        operands = (input, target, *_of_classes(name, input, weight))
        axis = 0 if len(shape) == 1 else 1
        return _expected(operands, axis, smoothing, reduction, common(*operands))
    axis, target = _classes(name, input, target, ignore)
    weights = _of_classes(name, input, weight)
    dtype = common(input, *weights)
    return _cross_entropy((input, target, *weights), axis, ignore, smoothing, reduction, dtype)


BCELoss = module("BCELoss", binary_cross_entropy)
BCEWithLogitsLoss = module("BCEWithLogitsLoss", binary_cross_entropy_with_logits)
KLDivLoss = module("KLDivLoss", kl_div, _KL_REDUCTIONS, log_target=flag)
NLLLoss = module("NLLLoss", nll_loss, ignore_index=ignored)
CrossEntropyLoss = module(
    "CrossEntropyLoss", cross_entropy, ignore_index=ignored, label_smoothing=check_probability
)
