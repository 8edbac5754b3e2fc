"""Files of parameters, in the safetensors format."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.dtypes import is_supported, native
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

    A symbolic link stays one: what it points to is replaced, and keeps its permissions.

    Raises
    ------
    TypeError
        That names the key and the type, if something else is given; if `path` is no path.
    ValueError
        That names the key, if the format cannot hold it.
    OSError
        That names the path, if it cannot be written.
    """
    target = Path(os.path.realpath(_path("save", path)))
    if target.is_symlink():
        # What is still a link leads in a circle.
        raise OSError(errno.ELOOP, "save: links lead in a circle", os.fspath(path))
    arrays = _host_arrays(module_or_mapping)
    content = safetensors.numpy.save(arrays)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, "save: this is a directory", os.fspath(path))
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        with _said("save", path), temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_readable(temporary, arrays)
        with _said("save", path):
            if target.exists():
                temporary.chmod(stat.S_IMODE(target.stat().st_mode))
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
    TypeError
        If `path` is no path.
    FileNotFoundError
        With the path, if there is no file.
    ValueError
        That names the path and the reason, if it is damaged or of another kind.
    """
    source = _path("load", path)
    # Not as a Path, for which an empty name is the present directory.
    with _said("load", path), open(source, "rb") as file:
        content = file.read()
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


def _path(operation: str, path: Any) -> str:
    """Return a path as a str; a number would be an open file's (serialization-09)."""
    spelled = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(spelled, str):
        msg = f"{operation}: path must be a str or an os.PathLike of one, got {type_name(path)}"
        raise TypeError(msg)
    if "\0" in spelled:
        msg = f"{operation}: path must not hold a zero byte, got {spelled!r}"
        raise ValueError(msg)
    return spelled


@contextmanager
def _said(operation: str, path: Any) -> Iterator[None]:
    """Let errors of the file system name the operation, and the path as it was given."""
    try:
        yield
    except OSError as error:
        said = f"{operation}: {error.strerror or error}"
        raise OSError(error.errno or errno.EIO, said, os.fspath(path)) from error


def _check_name(name: Any) -> None:
    """Refuse a name that a file cannot hold (serialization-07)."""
    if not isinstance(name, str):
        msg = f"save: keys must be str, got {name!r} of type {type(name).__name__}"
        raise TypeError(msg)
    try:
        name.encode()
        is_kept = name == "__metadata__"
    except UnicodeEncodeError:
        is_kept = True
    if is_kept:
        msg = f"save: the format cannot hold the key {name!r}; rename it"
        raise ValueError(msg)


def _check_readable(path: Path, arrays: Mapping[str, Any]) -> None:
    """Read a file back, and refuse one that does not hold what was saved."""
    found = safetensors.numpy.load(path.read_bytes())
    if found.keys() != arrays.keys() or any(
        found[name].tobytes() != array.tobytes() for name, array in arrays.items()
    ):
        msg = f"save: {os.fspath(path)} does not hold what was written; nothing was replaced"
        raise OSError(msg)


def _host_arrays(source: Any) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        msg = f"save: must be a Module or a mapping of names to arrays, got {type(source).__name__}"
        raise TypeError(msg)
    arrays = {}
    for name, value in source.items():
        _check_name(name)
        arrays[name] = np.ascontiguousarray(_host(name, value)).reshape(value.shape)
    return arrays


def _host(name: str, value: Any) -> np.ndarray[Any, np.dtype[Any]]:
    raw = value._data if isinstance(value, Tensor) else value
    if not isinstance(raw, (cp.ndarray, np.ndarray)):
        msg = f"save: {name} must be a Tensor or an array, got {type_name(value)}"
        raise TypeError(msg)
    if isinstance(raw, np.ndarray):
        raw = native(raw)
    if not is_supported(raw.dtype):
        msg = f"save: {name} has dtype {raw.dtype.name}, which no Tensor has"
        raise TypeError(msg)
    return cp.asnumpy(raw)
