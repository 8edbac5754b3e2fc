"""The state dict: names to Tensors, taken from a Module and put into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.dtypes import Array, is_raw
from impl_numpy.parameter import overwrite
from impl_numpy.tensor import Tensor


class LoadResult(NamedTuple):
    """What `load_state_dict` returns: the keys that were passed over (module-08)."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_into(
    owner: str, own: Iterable[tuple[str, Tensor]], state_dict: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy values into Tensors by name, all or none.

    Raises
    ------
    RuntimeError
        One for all faults (module-09); nothing has changed then.
    TypeError
        If a value is no Tensor or array.
    """
    targets = dict(own)
    values = {key: _values(key, value) for key, value in state_dict.items()}
    missing = [key for key in targets if key not in values]
    unexpected = [key for key in values if key not in targets]
    faults = []
    if strict:
        faults += [f"missing key {key}" for key in missing]
        faults += [f"unexpected key {key}" for key in unexpected]
    for key, tensor in targets.items():
        if key in values and values[key].shape != tensor.shape:
            wanted, got = tensor.shape, values[key].shape
            faults.append(f"key {key} must have shape {wanted}, got {got}")
    if faults:
        msg = f"{owner}.load_state_dict: {'; '.join(faults)}"
        raise RuntimeError(msg)
    for key, tensor in targets.items():
        if key in values:
            overwrite(tensor, values[key])
    return LoadResult(missing, unexpected)


def _values(key: str, value: Any) -> Array:
    if isinstance(value, Tensor):
        return value._data
    if not is_raw(value):
        msg = f"load_state_dict: {key} must be a Tensor or an array, got {type(value).__name__}"
        raise TypeError(msg)
    return np.asarray(value)
