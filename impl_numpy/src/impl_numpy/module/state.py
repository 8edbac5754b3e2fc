"""The state dict: names to Tensors, taken from a Module and put into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.checks import THE_FIVE
from impl_numpy.dtypes import FIVE, is_raw, native
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
        If the state dict is no mapping.
    """
    operation = f"{owner}.load_state_dict"
    if not isinstance(state_dict, Mapping):
        msg = f"{operation}: wants a mapping of names to arrays, got {type(state_dict).__name__}"
        raise TypeError(msg)
    targets = dict(own)
    missing = [key for key in targets if key not in state_dict]
    unexpected = [key for key in state_dict if key not in targets]
    faults = []
    if strict:
        faults += [f"missing key {key!s:.80}" for key in missing]
        faults += [f"unexpected key {key!s:.80}" for key in unexpected]
    for key, value in state_dict.items():
        fault = _fault(value, targets.get(key))
        if fault is not None:
            faults.append(f"key {key!s:.80} must {fault}")
    if faults:
        msg = f"{operation}: {'; '.join(faults)}"
        raise RuntimeError(msg)
    for key, tensor in targets.items():
        if key in state_dict:
            value = state_dict[key]
            overwrite(tensor, value._data if isinstance(value, Tensor) else value)
    return LoadResult(missing, unexpected)


def _fault(value: Any, target: Tensor | None) -> str | None:
    """Return what is wrong with an entry (module-18), or None."""
    array = value._data if isinstance(value, Tensor) else value
    if not is_raw(array):
        return f"be a Tensor or an array, got {type(value).__name__}"
    array = native(array)
    if array.dtype not in FIVE:
        return f"have one of the dtypes {THE_FIVE}, got {array.dtype}"
    if target is None:
        return None
    if array.shape != target.shape:
        return f"have shape {target.shape}, got {array.shape}"
    wanted = target.dtype
    if wanted.kind == "f" or array.dtype == wanted:
        return None
    if array.dtype.kind == "f":
        return f"hold no other than {wanted}, got {array.dtype}"
    if np.any(array.astype(wanted) != array):
        return f"hold what {wanted} does, got {array.min()} to {array.max()}"
    return None
