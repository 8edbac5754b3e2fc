"""Loading a state dict: every fault found before anything is changed."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from ..checks import cast, check_flag
from ..dtypes import FIVE, DType, bool_, is_floating, make_array, native
from ..tape import unwrap


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
    strict = check_flag("load_state_dict", "strict", strict)
    missing = [key for key in own if key not in state]
    unexpected = [key for key in state if key not in own]
    faults = []
    if strict and missing:
        faults.append(f"missing keys {', '.join(map(repr, missing))}")
    if strict and unexpected:
        faults.append(f"unexpected keys {', '.join(map(repr, unexpected))}")
    entries = {key: native(unwrap(state[key])) for key in own if key in state}
    misshapen = [
        f"{key!r} with shape {value.shape} in place of {own[key].shape}"
        for key, value in entries.items()
        if _is_array(value) and value.shape != own[key].shape
    ]
    if misshapen:
        faults.append(f"misshapen keys {', '.join(misshapen)}")
    unfit = {key: _unfit(value, own[key].dtype) for key, value in entries.items()}
    if any(unfit.values()):
        listed = [f"{key!r} {fault}" for key, fault in unfit.items() if fault]
        faults.append(f"unfit keys {', '.join(listed)}")
    if faults:
        msg = f"load_state_dict: {name} got {'; '.join(faults)}"
        raise RuntimeError(msg)
    arrays = {key: make_array(value, own[key].dtype) for key, value in entries.items()}
    for key, array in arrays.items():
        own[key]._data = array
    return LoadResult(missing, unexpected)


def _is_array(value: Any) -> bool:
    return isinstance(value, jax.Array | np.ndarray)


def _unfit(value: Any, wanted: DType) -> str:
    """Return why an entry cannot go where a dtype is, or nothing."""  # module-18
    if not _is_array(value):
        return f"that is no array but {type(value).__name__}"
    if value.dtype not in FIVE:
        return f"with dtype {value.dtype}, which is none of float32, float64, int32, int64 and bool"
    if is_floating(wanted) or value.dtype == wanted:
        return ""
    if value.dtype.kind not in "bi" or isinstance(value, jax.core.Tracer):
        return f"with dtype {value.dtype} in place of {wanted}"
    if wanted == bool_:
        exact = np.isin(np.asarray(value), (0, 1)).all()
        return "" if exact else f"with dtype {value.dtype} and other numbers than 0 and 1"
    try:
        cast("load_state_dict", np.asarray(value), wanted)
    except ValueError as error:
        return f"where {str(error).partition(': ')[2]}"
    return ""
