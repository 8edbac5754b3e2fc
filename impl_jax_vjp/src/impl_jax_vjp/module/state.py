"""Loading a state dict: every fault found before anything is changed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..tape import Traced, unwrap


class LoadResult(NamedTuple):
    """The keys that did not match, for ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(
    name: str, own: Mapping[str, Any], state: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy values of `state` into the Tensors of `own`, or raise and change nothing.

    Parameters
    ----------
    name : str
        The Module's, for messages.
    own : mapping from str to Tensor
    state : mapping from str to Tensor, jax.Array or numpy.ndarray
    strict : bool
        Whether missing and unexpected keys are faults; misshapen ones always are.
    """
    if not isinstance(state, Mapping):
        msg = f"load_state_dict: state_dict must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    values = {}
    for key in own:
        if key in state:
            value = state[key]
            if not isinstance(value, Traced | jax.Array | np.ndarray):
                msg = f"load_state_dict: {key!r} must be an array, got {type(value).__name__}"
                raise TypeError(msg)
            values[key] = unwrap(value)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    faults = []
    if strict and missing:
        faults.append(f"missing keys {', '.join(map(repr, missing))}")
    if strict and unexpected:
        faults.append(f"unexpected keys {', '.join(map(repr, unexpected))}")
    misshapen = [
        f"{key!r} with shape {tuple(value.shape)} in place of {tuple(own[key].shape)}"
        for key, value in values.items()
        if tuple(value.shape) != tuple(own[key].shape)
    ]
    if misshapen:
        faults.append(f"misshapen keys {', '.join(misshapen)}")
    if faults:
        msg = f"load_state_dict: {name} got {'; '.join(faults)}"
        raise RuntimeError(msg)
    for key, value in values.items():
        own[key].data = jnp.array(value, dtype=own[key].dtype)
    return LoadResult(missing, unexpected)
