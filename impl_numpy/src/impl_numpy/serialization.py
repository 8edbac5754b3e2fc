"""Safetensors files, written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from impl_numpy.checks import shown
from impl_numpy.dtypes import DTYPES, Array, native
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
        If the path is no path.
    ValueError
        If the format does not hold a name.
    OSError
        If the path is that of a directory, or the file cannot be written.
    """
    # Here and not above: these would cost more than the rest of this package to import.
    import tempfile

    from safetensors.numpy import save as to_bytes

    # The file that a symbolic link points to is replaced, not the link (serialization-08).
    target = os.path.realpath(_path("save", path))
    if os.path.isdir(target):
        msg = f"save: {target} is a directory"
        raise IsADirectoryError(msg)
    arrays = _arrays(module_or_mapping)
    content = to_bytes(arrays)
    try:
        handle, temporary = tempfile.mkstemp(
            prefix=f".{os.path.basename(target)}.", dir=os.path.dirname(target) or "."
        )
    except OSError as error:
        raise _named(error, "save", target) from None
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_written(temporary, arrays)
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
    TypeError
        If the path is no path.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    path = _path("load", path)
    if os.path.isdir(path):
        msg = f"load: {path} is a directory"
        raise IsADirectoryError(msg)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise _named(error, "load", path) from None
    except ValueError as error:
        msg = f"load: {shown(path)} is no path: {error}"
        raise ValueError(msg) from None
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


def _named(error: OSError, operation: str, path: str) -> OSError:
    """Return an error of the same kind that names the operation and the path."""
    return type(error)(error.errno, f"{operation}: {error.strerror}", path)


def _path(operation: str, path: Any) -> str:
    """Return a path as a string; a number would be that of an open file (serialization-09)."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        msg = f"{operation}: the path must be a str or an os.PathLike, got {type(path).__name__}"
        raise TypeError(msg)
    if "\0" in text:
        msg = f"{operation}: the path must hold no null character, got {shown(text)}"
        raise ValueError(msg)
    return str(text)


def _check_written(path: str, arrays: Mapping[str, Array]) -> None:
    """Raise ValueError unless a file holds these arrays (serialization-07)."""
    found = load(path)
    for key, array in arrays.items():
        back = found[key]._data if key in found else None
        if back is None or back.dtype != array.dtype or back.tobytes() != array.tobytes():
            msg = f"save: {shown(key)} could not be read back from the file"
            raise ValueError(msg)


def _check_name(key: str) -> None:
    """Raise ValueError for a name that the format does not hold (serialization-07)."""
    reason = "keeps for itself" if key == "__metadata__" else None
    try:
        key.encode()
    except UnicodeEncodeError:
        reason = "cannot spell in UTF-8"
    if reason is not None:
        msg = f"save: {shown(key)} is a name that the format {reason}"
        raise ValueError(msg)


def _arrays(source: Any) -> dict[str, Array]:
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        msg = f"save: wants a Module or a mapping of names to arrays, got {type(source).__name__}"
        raise TypeError(msg)
    arrays = {}
    for key, value in source.items():
        array = value._data if isinstance(value, Tensor) else value
        raw = isinstance(array, np.ndarray)
        array = native(array) if raw else array
        if not isinstance(key, str) or not raw or array.dtype not in DTYPES:
            got = type(value).__name__ + (f" of dtype {array.dtype}" if raw else "")
            name = f"{type(key).__name__} {shown(key)}"
            msg = f"save: wants strings as keys and arrays as values, got {got} under the {name}"
            raise TypeError(msg)
        _check_name(key)
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
