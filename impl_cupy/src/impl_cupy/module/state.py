"""Reading a state dict into a Module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.dtypes import dtypes, is_supported, native
from impl_cupy.tape import note_change
from impl_cupy.tensor import Tensor


class LoadResult(NamedTuple):
    """The keys that `Module.load_state_dict` passed over with ``strict=False``."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(
    owner: str, entries: Iterable[tuple[str, Tensor]], state_dict: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy values into the entries of a Module by name, as `Module.load_state_dict` says."""
    name = f"{owner}.load_state_dict"
    if not isinstance(state_dict, Mapping):
        msg = f"{name}: must be a mapping from names to arrays, got {type(state_dict).__name__}"
        raise TypeError(msg)
    own = dict(entries)
    missing = [key for key in own if key not in state_dict]
    unexpected = [key for key in state_dict if key not in own]
    faults = [f"missing {key}" for key in missing] if strict else []
    faults += [f"unexpected {key}" for key in unexpected] if strict else []
    arrays = {}
    for key, target in own.items():
        if key in state_dict:
            fault, arrays[key] = _array_of(state_dict[key], target)
            faults += [f"{key} {fault}"] if fault else []
    if faults:
        msg = f"{name}: nothing was loaded: {'; '.join(faults)}"
        raise RuntimeError(msg)
    # Two entries may be views of one array, so every value is read before one is written.
    fresh = {key: cp.array(raw, dtype=own[key].dtype, copy=True) for key, raw in arrays.items()}
    for key, raw in fresh.items():
        note_change(own[key])
        own[key]._data[...] = raw
    return LoadResult(missing, unexpected)


def _array_of(value: Any, target: Tensor) -> tuple[str, Any]:
    """Return what keeps a value from being loaded, if anything does, and its array."""
    array = value._data if isinstance(value, Tensor) else value
    if not isinstance(array, (cp.ndarray, np.ndarray)):
        return f"must be a Tensor or an array, got {type_name(value)}", None
    if isinstance(array, np.ndarray):
        array = native(array)
    if not is_supported(array.dtype):
        names = ", ".join(dtype.name for dtype in dtypes)
        return f"must have one of the dtypes {names}, got {array.dtype.name}", None
    if array.shape != target.shape:
        return f"has shape {array.shape}, should have {target.shape}", None
    wanted = target.dtype
    if wanted.kind != "f" and array.dtype != wanted:
        if array.dtype.kind == "f":
            return f"must have integers or booleans for {wanted.name}, got {array.dtype.name}", None
        least, most = (0, 1) if wanted.kind == "b" else (np.iinfo(wanted).min, np.iinfo(wanted).max)
        if array.size and (int(array.min()) < least or int(array.max()) > most):
            return f"holds a number that {wanted.name} does not, from {array.dtype.name}", None
    return "", array
