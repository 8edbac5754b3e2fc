"""Safetensors files, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from impl_numpy.dtypes import DTYPES, Array, is_raw
from impl_numpy.module import Module
from impl_numpy.tensor import Tensor, wrap


def save(module_or_mapping: Module | Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Write a safetensors file of a state dict.

    The file is written under a temporary name in the same directory and renamed, so the old one
    stays whole until the new one is.

    Parameters
    ----------
    module_or_mapping : Module or mapping of str to Tensor or array
    path : path

    Raises
    ------
    TypeError
        If something cannot be saved; the message names its key and type, and no file is touched.
    """
    # Here and not above: these would cost more than the rest of this package to import.
    import tempfile

    from safetensors.numpy import save as to_bytes

    content = to_bytes(_arrays(module_or_mapping))
    target = os.fspath(path)
    handle, temporary = tempfile.mkstemp(
        prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target) or "."
    )
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Return the Tensors of a safetensors file, by name.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    with open(path, "rb") as file:
        content = file.read()
    try:
        arrays: dict[str, Array] = from_bytes(content)
    # A dtype that NumPy does not have comes as a KeyError, a broken name as a UnicodeError.
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"load: {os.fspath(path)} is no whole safetensors file: {reason}"
        raise ValueError(msg) from None
    for key, array in arrays.items():
        if array.dtype not in DTYPES:
            msg = f"load: {os.fspath(path)}: {key} has dtype {array.dtype}, which no Tensor has"
            raise ValueError(msg)
    # Bytes cannot be written; parameters can.
    return {key: wrap(np.array(array), None) for key, array in arrays.items()}


def _arrays(source: Any) -> dict[str, Array]:
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        msg = f"save: wants a Module or a mapping of names to arrays, got {type(source).__name__}"
        raise TypeError(msg)
    arrays = {}
    for key, value in source.items():
        array = value._data if isinstance(value, Tensor) else value
        if not isinstance(key, str) or not is_raw(array) or array.dtype not in DTYPES:
            got = type(value).__name__ + (f" of dtype {array.dtype}" if is_raw(array) else "")
            name = f"{type(key).__name__} {key!r}"
            msg = f"save: wants strings as keys and arrays as values, got {got} under the {name}"
            raise TypeError(msg)
        # The layout in memory is not saved, so a transposed array must be laid out anew.
        arrays[key] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


def _mode(target: str) -> int:
    """Return the permissions of the old file, or those of any new one."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
