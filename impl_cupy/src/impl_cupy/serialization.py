"""Files of parameters, in the safetensors format."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.dtypes import is_supported
from impl_cupy.module import Module
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


def save(module_or_mapping: Any, path: str | os.PathLike[str]) -> None:
    """Write a Module's state dict, or a mapping of names to arrays, as a safetensors file.

    The file is written under a temporary name in the same directory and renamed, so that a write is
    whole or not at all.

    Parameters
    ----------
    module_or_mapping : Module, or mapping of str to Tensor, cupy.ndarray or numpy.ndarray
    path : str or path

    Raises
    ------
    TypeError
        That names the key and the type, if something else is given.
    """
    content = safetensors.numpy.save(_host_arrays(module_or_mapping))
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file.

    Returns
    -------
    dict of str to Tensor
        With the bits, dtypes and shapes that were saved.

    Raises
    ------
    FileNotFoundError
        With the path, if there is no file.
    ValueError
        That names the path and the reason, if it is damaged or of another kind.
    """
    content = Path(path).read_bytes()
    try:
        arrays = safetensors.numpy.load(content)
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        msg = f"load: {os.fspath(path)} is no whole safetensors file: {reason}"
        raise ValueError(msg) from error
    for name, array in arrays.items():
        if not is_supported(array.dtype):
            msg = (
                f"load: {os.fspath(path)}: {name} has dtype {array.dtype.name}, which no Tensor has"
            )
            raise ValueError(msg)
    return {name: wrap(cp.asarray(array)) for name, array in arrays.items()}


def _host_arrays(source: Any) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        msg = f"save: must be a Module or a mapping of names to arrays, got {type(source).__name__}"
        raise TypeError(msg)
    arrays = {}
    for name, value in source.items():
        if not isinstance(name, str):
            msg = f"save: keys must be str, got {name!r} of type {type(name).__name__}"
            raise TypeError(msg)
        arrays[name] = np.ascontiguousarray(_host(name, value)).reshape(value.shape)
    return arrays


def _host(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    raw = value._data if isinstance(value, Tensor) else value
    if not isinstance(raw, (cp.ndarray, np.ndarray)):
        msg = f"save: {name} must be a Tensor or an array, got {type_name(value)}"
        raise TypeError(msg)
    if not is_supported(raw.dtype):
        msg = f"save: {name} has dtype {raw.dtype.name}, which no Tensor has"
        raise TypeError(msg)
    return cp.asnumpy(raw)
