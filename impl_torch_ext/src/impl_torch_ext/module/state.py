"""What `load_state_dict` takes, checks and returns."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from impl_torch_ext.creation import from_array
from impl_torch_ext.tensor import from_numpy

__all__ = ["LoadResult", "checked_state"]


class LoadResult(NamedTuple):
    """The names that a module and what it loaded do not share."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def checked_state(
    name: str, own: Mapping[str, Any], state_dict: Mapping[str, Any], strict: bool
) -> dict[str, Any]:
    """Return the values to load as Tensors, all of them checked; `own` is the present state."""
    state = {
        key: _array(name, key, value) if isinstance(own.get(key), Tensor) else value
        for key, value in state_dict.items()
    }
    _check_state(name, own, state, strict)
    return state


def _check_state(name: str, own: Mapping[str, Any], state: Mapping[str, Any], strict: bool) -> None:
    """Raise one RuntimeError that lists every missing, unexpected and misshapen key."""
    faults = [f"missing {key!r}" for key in own if key not in state] if strict else []
    faults += [f"unexpected {key!r}" for key in state if key not in own] if strict else []
    faults += [
        f"{key!r} must have shape {tuple(own[key].shape)}, got {tuple(value.shape)}"
        for key, value in state.items()
        if isinstance(own.get(key), Tensor)
        and isinstance(value, Tensor)
        and value.shape != own[key].shape
    ]
    if faults:  # module-09
        msg = f"{name}.load_state_dict: {'; '.join(faults)}"
        raise RuntimeError(msg)


def _array(name: str, key: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return from_numpy(f"{name}.load_state_dict: {key!r}", value)
    if isinstance(value, Tensor):
        return from_array(value)
    msg = (
        f"{name}.load_state_dict: {key!r} must be a Tensor or an array, got {type(value).__name__}"
    )
    raise TypeError(msg)
