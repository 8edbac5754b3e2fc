"""Sequences of different lengths in one batch: the check of `lengths`, and which steps run.

T steps, N batch. Every array keeps its shape, whatever the lengths: a sequence that has ended goes
along and its state is held, so that one compiled program serves all lengths.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import check_int, check_integers, refuse
from ..dtypes import in_x64, int32, make_array
from ..tape import unwrap
from .equations import Course

Array = Any


def check_lengths(name: str, lengths: Any, steps: int, batch: int | None) -> Array:
    """Return lengths as an array (N,) of int32 that nobody else holds.

    Parameters
    ----------
    name : str
        The Module's, for messages.
    lengths : int, sequence of int, array or Tensor
        From 0 to `steps` each.
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
        return _narrowed(given, steps)
    known = np.asarray(given).reshape(-1)
    wrong = known[(known < 0) | (known > steps)]
    if wrong.size:  # rnn-34
        refuse(name, "lengths", f"from 0 to T = {steps}", int(wrong[0]))
    return make_array(known, int32)


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


def course_of(lengths: Array | None, steps: int, reverse: bool) -> Course:
    """Return the way through T steps of sequences of these lengths; None where each has T."""
    if lengths is None:
        return Course(reverse)
    valid = (lengths >= 0) & (lengths <= steps)
    running = valid & (jnp.arange(steps)[:, None] < lengths)
    return Course(reverse, running[..., None], valid[:, None])
