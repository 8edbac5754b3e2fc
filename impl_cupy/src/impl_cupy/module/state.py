"""Reading a state dict into a Module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from impl_cupy.parameter import as_raw
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
    arrays = {
        key: as_raw(f"{name}: {key}", value) for key, value in state_dict.items() if key in own
    }
    faults = [f"missing {key}" for key in missing] if strict else []
    faults += [f"unexpected {key}" for key in unexpected] if strict else []
    faults += [
        f"{key} has shape {raw.shape}, should have {own[key].shape}"
        for key, raw in arrays.items()
        if raw.shape != own[key].shape
    ]
    if faults:
        msg = f"{name}: nothing was loaded: {'; '.join(faults)}"
        raise RuntimeError(msg)
    # Two entries may be views of one array, so every value is read before one is written.
    fresh = {key: raw.astype(own[key].dtype, copy=True) for key, raw in arrays.items()}
    for key, raw in fresh.items():
        note_change(own[key])
        own[key]._data[...] = raw
    return LoadResult(missing, unexpected)
