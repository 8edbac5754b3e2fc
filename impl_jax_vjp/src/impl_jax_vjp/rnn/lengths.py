"""Sequences of different lengths, and episodes within them: checks, and the way through.

T steps, N batch. Every array keeps its shape, whatever the lengths and the resets: a sequence that
has ended goes along and its state is held, and where an episode begins the state is replaced, so
that one compiled program serves all lengths and all masks.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_int, check_integers, refuse, refuse_type
from ..dtypes import bool_, in_x64, int32, make_array
from ..tape import unwrap
from .equations import Course

Array = Any
_DEEPEST = 32  # of lists in lists, as deep as NumPy's arrays were


def check_lengths(name: str, lengths: Any, steps: int, batch: int | None) -> Array:
    """Return lengths from 0 on as an array (N,) of int32; see `read_lengths`."""
    given = read_lengths(name, lengths, steps, batch)
    if isinstance(given, jax.core.Tracer):
        return _narrowed(given, steps)
    return make_array(given, int32)


def read_lengths(
    name: str, lengths: Any, steps: int, batch: int | None, least: int = 0
) -> np.ndarray[Any, Any]:
    """Return lengths as a NumPy array (N,), or as they are where they are traced.

    Parameters
    ----------
    name : str
        The Module's, for messages.
    lengths : int, sequence of int, array or Tensor
        From `least` to `steps` each.
    batch : int or None
        N; None for one sequence without a batch axis, whose length is one integer.

    Raises
    ------
    ValueError
        If the shape is another one, or a length is out of range, where values are known.
    TypeError
        If one is no integer.
    """
    given = _integers(name, unwrap(lengths))
    wanted = () if batch is None else (batch,)
    if given.shape != wanted:  # rnn-34
        symbols = "()" if batch is None else f"(N,) = ({batch},)"
        msg = f"{name}: lengths must have shape {symbols}, got {given.shape}"
        raise ValueError(msg)
    if isinstance(given, jax.core.Tracer):
        return given
    known = np.asarray(given).reshape(-1)
    wrong = known[(known < least) | (known > steps)]
    if wrong.size:  # rnn-34
        refuse(name, "lengths", f"from {least} to T = {steps}", int(wrong[0]))
    return known


def _integers(name: str, lengths: Any) -> Any:
    """Return an array of integers; what was no array is one of Python's ints, of any size."""
    if isinstance(lengths, jax.Array | np.ndarray | np.generic):
        check_integers(name, "lengths", lengths.dtype)
        return lengths
    if not isinstance(lengths, Sequence) or isinstance(lengths, str | bytes):
        return np.array(check_int(name, "lengths", lengths, "integers"), object)
    items = [unwrap(item) for item in lengths]
    if any([isinstance(item, jax.core.Tracer) for item in items]):
        return _stacked([_integers(name, item) for item in items])
    try:
        array = np.array(items, object)
    except ValueError:
        refuse(name, "lengths", "integers", "arrays of several shapes")
    if array.ndim == 1:
        array[:] = [check_int(name, "lengths", item, "integers") for item in items]
    return array


@in_x64
def _stacked(items: Sequence[Any]) -> Array:
    """Return numbers, some of which are traced, as one array."""
    return jnp.stack([jnp.asarray(item, int) for item in items])


@in_x64
def _narrowed(lengths: Array, steps: int) -> Array:
    """Return lengths that are not known in int32; one that is out of range stays so."""
    # No uint64 that is out of range becomes one within.
    return jnp.clip(lengths.reshape(-1).astype(int), -1, steps + 1).astype(int32)


def check_resets(
    name: str, mask: Any, steps: int, batch: int | None, batch_first: bool = False
) -> Array:
    """Return a reset mask as an array (T, N) of booleans that nobody else holds.

    Parameters
    ----------
    name : str
        The Module's, for messages.
    mask : sequence, array or Tensor of bool
        Shape (T, N), or (N, T) with `batch_first`, or (T,) where there is no batch axis.
    batch : int or None
        N; None for one sequence without a batch axis.

    Raises
    ------
    ValueError
        If the shape is another one.
    TypeError
        If it does not hold booleans.
    """
    wanted: Any = (steps,) if batch is None else (steps, batch)
    symbols = "(T,)" if batch is None else "(T, N)"
    if batch is not None and batch_first:
        wanted, symbols = wanted[::-1], "(N, T)"
    given = _booleans(name, unwrap(mask))
    if given.shape != wanted:  # rnn-38
        msg = f"{name}: reset_mask must have shape {symbols} = {wanted}, got {given.shape}"
        raise ValueError(msg)
    if batch is None:
        given = given.reshape(steps, 1)
    elif batch_first:
        given = given.T
    return given if isinstance(given, jax.core.Tracer) else make_array(given, bool_)


def _booleans(name: str, mask: Any, depth: int = 0) -> Any:
    """Return an array of booleans, which a sequence of such sequences becomes."""
    if isinstance(mask, jax.Array | np.ndarray | np.generic):
        if mask.dtype != bool_:  # rnn-38
            msg = f"{name}: reset_mask must be booleans, got dtype {mask.dtype}"
            raise TypeError(msg)
        return mask
    if isinstance(mask, bool):
        return np.array(mask)
    if not isinstance(mask, Sequence) or isinstance(mask, str | bytes):
        refuse_type(name, "reset_mask", "booleans", mask)
    if depth == _DEEPEST:
        refuse(name, "reset_mask", "of two axes at most", f"more than {depth}")
    items = [_booleans(name, unwrap(item), depth + 1) for item in mask]
    if len({item.shape for item in items}) > 1:
        refuse(name, "reset_mask", "booleans", "rows of several shapes")
    if any([isinstance(item, jax.core.Tracer) for item in items]):
        return jnp.stack(items)
    return np.array([np.asarray(item) for item in items], bool)


def course_of(
    lengths: Array | None, steps: int, reverse: bool, marks: Array | None = None
) -> Course:
    """Return the way through T steps of sequences of these lengths; None where each has T.

    `marks` (T, N) tell where episodes begin, None where there are no resets.
    """
    if lengths is None:
        return Course(reverse, renewed=_renewed(marks, reverse))
    valid = (lengths >= 0) & (lengths <= steps)
    running = valid & (jnp.arange(steps)[:, None] < lengths)
    # rnn-37: a mark past the end has no effect.
    renewed = None if marks is None else _renewed(marks & running, reverse)
    return Course(reverse, running[..., None], valid[:, None], renewed)


def _renewed(marks: Array | None, reverse: bool) -> Array | None:
    """Return whether a state is replaced before each step on the way, shape (T, N, 1)."""
    if marks is None:
        return None
    if reverse:  # rnn-37: what a mark begins there is the episode that ends before it.
        marks = jnp.concatenate([marks, jnp.zeros_like(marks, shape=(1, marks.shape[1]))])[1:]
    return marks[..., None]
