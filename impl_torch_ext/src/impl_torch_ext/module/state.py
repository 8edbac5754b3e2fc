"""What `load_state_dict` takes, checks and returns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from impl_torch_ext.creation import from_array
from impl_torch_ext.dtypes import FIVE, FROM_NUMPY
from impl_torch_ext.tensor import from_numpy

__all__ = ["LoadResult", "checked_state"]


class LoadResult(NamedTuple):
    """The names that a module and what it loaded do not share."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def checked_state(
    name: str, own: Mapping[str, Any], state_dict: Mapping[str, Any], strict: bool
) -> dict[str, Any]:
    """Return the values to load as Tensors, all of them checked; `own` is the present state.

    Raises
    ------
    RuntimeError
        Lists every missing, unexpected and unfit key.
    """
    if not isinstance(state_dict, Mapping):
        msg = (
            f"{name}.load_state_dict: state_dict must be a mapping, got {type(state_dict).__name__}"
        )
        raise TypeError(msg)
    faults = [f"missing {key!r}" for key in own if key not in state_dict] if strict else []
    faults += [f"unexpected {key!r}" for key in state_dict if key not in own] if strict else []
    state = dict(state_dict)
    for key, value in state_dict.items():
        if isinstance(own.get(key), Tensor):
            fault, state[key] = _entry(own[key], value)
            faults += [f"{key!r} {fault}"] if fault else []
    if faults:  # module-09
        msg = f"{name}.load_state_dict: {'; '.join(faults)}"
        raise RuntimeError(msg)
    return state


def _entry(own: Tensor, value: Any) -> tuple[str | None, Any]:
    """Return what is wrong with `value` in the place of `own`, and it as a Tensor."""
    if not isinstance(value, np.ndarray | Tensor):
        return f"must be a Tensor or an array, got {type(value).__name__}", None
    numpys = isinstance(value, np.ndarray)
    if (FROM_NUMPY.get(value.dtype.newbyteorder("=")) if numpys else value.dtype) not in FIVE:
        return f"must be of dtype float32, float64, int32, int64 or bool, got {value.dtype}", None
    array = from_numpy("", value) if numpys else from_array(value)
    if array.shape != own.shape:
        return f"must have shape {tuple(own.shape)}, got {tuple(array.shape)}", None
    if not own.is_floating_point():  # module-18
        exact = not array.is_floating_point() and bool((array.to(own.dtype) == array).all())
        if not exact:
            return f"must hold numbers of dtype {own.dtype}, got others of {array.dtype}", None
    return None, array
