"""Connectionist temporal classification."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..checks import check_int, check_ints, refuse
from ..dtypes import DType
from ..ops import formulas as F
from ..recording import Primitive, as_integers, dtype_of, shape_of, widened
from ..tape import Traced, unwrap
from ..tensor import Tensor
from .reduction import Array, flag, floating_input, module


def _log_sum(*terms: Array) -> Array:
    """Return the logarithm of a sum of exponentials; of no chance -inf, with gradient 0."""
    top = terms[0]
    for term in terms[1:]:
        top = jnp.maximum(top, term)
    top = lax.stop_gradient(jnp.where(jnp.isfinite(top), top, 0))
    odds = jnp.exp(terms[0] - top)
    for term in terms[1:]:
        odds = odds + jnp.exp(term - top)
    none = odds == 0
    return jnp.where(none, -jnp.inf, jnp.log(jnp.where(none, 1, odds)) + top)


def _shifted(chances: Array, places: int) -> Array:
    return jnp.pad(chances, ((0, 0), (places, 0)), constant_values=-jnp.inf)[:, : chances.shape[1]]


def _padded(longest: int, targets: Array, sizes: Array) -> Array:
    """Return labels that stand one after the other as rows."""
    starts = jnp.cumsum(sizes) - sizes
    places = starts[:, None] + jnp.arange(longest)
    if targets.shape[0] == 0:
        return jnp.zeros(places.shape, targets.dtype)
    return jnp.take(targets, places, mode="clip")


def _negative_logs(blank: int, x: Array, labels: Array, steps: Array, sizes: Array) -> Array:
    """Return the losses (N,) of x (T, N, C); Graves et al. 2006, equations 6 to 8."""
    count, length = labels.shape
    labels = jnp.where(jnp.arange(length) < sizes[:, None], labels, blank)
    symbols = jnp.full((count, 2 * length + 1), blank, labels.dtype).at[:, 1::2].set(labels)
    before = jnp.pad(symbols, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    skips = (symbols != blank) & (symbols != before)
    emitted = jnp.take_along_axis(x, symbols[None], axis=2, mode="clip")
    start = jnp.full(symbols.shape, -jnp.inf, x.dtype).at[:, 0].set(0)

    def step(chances: Array, now: tuple[Array, Array]) -> tuple[Array, None]:
        time, emission = now
        jump = jnp.where(skips, _shifted(chances, 2), -jnp.inf)
        moved = _log_sum(chances, _shifted(chances, 1), jump) + emission
        return jnp.where((time < steps)[:, None], moved, chances), None

    chances, _ = lax.scan(step, start, (jnp.arange(x.shape[0]), emitted))
    ends = [jnp.take_along_axis(chances, p[:, None], 1, mode="clip")[:, 0] for p in _ends(sizes)]
    return -_log_sum(ends[0], jnp.where(sizes > 0, ends[1], -jnp.inf))


def _ends(sizes: Array) -> tuple[Array, Array]:
    return 2 * sizes, jnp.maximum(2 * sizes - 1, 0)


def _run(
    blank: int,
    longest: int,
    zero_infinity: bool,
    reduction: str,
    dtype: DType,
    x: Array,
    targets: Array,
    steps: Array,
    sizes: Array,
) -> Array:
    single = x.ndim == 2
    x = x.astype(dtype)[:, None] if single else x.astype(dtype)
    steps, sizes = (v.astype(jnp.int64).reshape(-1) for v in (steps, sizes))
    targets = targets.astype(jnp.int64)
    labels = _padded(longest, targets, sizes) if targets.ndim == 1 else targets[:, :longest]
    losses = _negative_logs(blank, x, labels, steps, sizes)
    if zero_infinity:  # loss-21
        losses = jnp.where(losses == jnp.inf, 0, losses)
    if reduction == "none":
        return losses[0] if single else losses
    if reduction == "mean":
        return F.mean(losses / jnp.maximum(sizes, 1).astype(dtype))
    return F.total(losses)


_ctc = Primitive(_run, "ctc_loss")


def _lengths(argument: str, value: Any, count: int, most: int | None) -> Any:
    """Return lengths as integers (N,), after a check of those that are known."""
    name = "ctc_loss"
    if isinstance(value, tuple | list):
        value = np.asarray(check_ints(f"{name}: {argument}", "each", value), np.int64)
    shape = shape_of(as_integers(name, argument, value))
    if shape != (count,) and not (shape == () and count == 1):
        refuse(name, argument, f"one for each of {count} sequences, (N,) = ({count},)", shape)
    array = unwrap(value)
    if not isinstance(array, jax.core.Tracer):
        known = np.asarray(array).reshape(-1)
        wrong = known[(known < 0) | (known > (known if most is None else most))]
        if wrong.size:
            wanted = "at least 0" if most is None else f"in 0 <= length <= {most}"
            refuse(name, argument, wanted, int(wrong[0]))
    return value if isinstance(value, Traced) else widened(value)


def _check_labels(targets: np.ndarray[Any, Any], sizes: np.ndarray[Any, Any], classes: int) -> None:
    """Raise `ValueError` for a label that counts and is no class."""
    if targets.ndim == 2:
        targets = targets[np.arange(targets.shape[1]) < sizes[:, None]]
    wrong = targets[(targets < 0) | (targets >= classes)]
    if wrong.size:
        refuse("ctc_loss", "each label of targets", f"in 0 <= t < {classes} = C", int(wrong[0]))


def _check_targets(targets: Any, sizes: Any, single: bool, classes: int) -> int:
    """Return the length of the longest target, or a bound of it, after a check of what is known."""
    shape, known, labels = shape_of(targets), unwrap(sizes), unwrap(targets)
    joined = len(shape) == 1 and not single
    if isinstance(known, jax.core.Tracer):
        return int(shape[-1])
    known = np.asarray(known).reshape(-1)
    if joined and int(known.sum()) != shape[0]:
        wanted = f"of as many labels as target_lengths say, {int(known.sum())},"
        refuse("ctc_loss", "targets", wanted, shape[0])
    if not isinstance(labels, jax.core.Tracer):
        labels = np.asarray(labels)
        _check_labels(labels[None] if single else labels, known, classes)
    # The rows' own length, so that one program serves every batch; the longest where none is said.
    return int(known.max(initial=0)) if joined else int(shape[-1])


def ctc_loss(
    log_probs: Any,
    targets: Any,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Return minus the logarithm of the chance of all paths that become the target, reduced.

    Graves et al. 2006, equations 6 to 8; the page of ``torch.nn.CTCLoss``. The gradient is that of
    the function itself, without the derivative of a softmax.

    Parameters
    ----------
    log_probs : Tensor or raw array, shape (T, N, C) or (T, C)
    targets : integers, shape (N, S), (sum(target_lengths),) or, of one sequence, (S,)
    input_lengths, target_lengths : integers, shape (N,), or a tuple or list of ints
    blank : int
    reduction : {"mean", "sum", "none"}
        "mean" divides each loss by the target's length first.
    zero_infinity : bool
        Whether the loss of a sequence without a path is 0 and not inf.

    Raises
    ------
    ValueError
        If shapes, lengths, labels or `blank` do not fit, where values are known.
    TypeError
        If `log_probs` is not floating, or targets or lengths are no integers.
    """
    name = "ctc_loss"
    x = floating_input(name, log_probs, reduction, argument="log_probs")
    shape = shape_of(x)
    if len(shape) not in (2, 3):
        refuse(name, "log_probs", "of shape (T, N, C) or (T, C)", shape)
    count, classes = shape[1] if len(shape) == 3 else 1, shape[-1]
    blank = check_int(name, "blank", blank)
    if not 0 <= blank < classes:
        refuse(name, "blank", f"in 0 <= blank < {classes} = C", blank)
    rows = shape_of(as_integers(name, "targets", targets))
    if len(rows) != 1 and (len(shape) == 2 or len(rows) != 2 or rows[0] != count):
        refuse(name, "targets", f"of shape (N, S) = ({count}, S) or of one axis", rows)
    steps = _lengths("input_lengths", input_lengths, count, shape[0])
    most = rows[-1] if len(rows) == 2 or len(shape) == 2 else None
    sizes = _lengths("target_lengths", target_lengths, count, most)
    longest = _check_targets(targets, sizes, len(shape) == 2, classes)
    targets = targets if isinstance(targets, Traced) else widened(targets)
    zero = flag(name, "zero_infinity", zero_infinity)
    return _ctc((x, targets, steps, sizes), blank, longest, zero, reduction, dtype_of(x))


CTCLoss = module("CTCLoss", ctc_loss, zero_infinity=flag)
