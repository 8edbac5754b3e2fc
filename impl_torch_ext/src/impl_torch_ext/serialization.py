"""State dicts as safetensors files."""

import errno
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from impl_torch_ext.checks import check_dtype
from impl_torch_ext.dtypes import DTYPES
from impl_torch_ext.tensor import from_numpy, leaf

__all__ = ["load", "save"]


def save(
    module_or_mapping: torch.nn.Module | Mapping[str, Any], path: str | os.PathLike[str]
) -> None:
    """Write a state dict to a safetensors file, as a whole or not at all.

    Parameters
    ----------
    module_or_mapping : Module, or mapping of str to Tensor or numpy.ndarray
    path : path
        An old file of that name is replaced once the new one is complete.

    Raises
    ------
    TypeError
        If it is anything else, or an array of another dtype; the file has not been touched.
    ValueError
        If the format does not hold a name.
    OSError
        If the file cannot be written, or what was written cannot be read.
    """
    if isinstance(module_or_mapping, torch.nn.Module):
        state: Mapping[str, Any] = module_or_mapping.state_dict()
    elif isinstance(module_or_mapping, Mapping):
        state = module_or_mapping
    else:
        msg = (
            "save: module_or_mapping must be a Module or a mapping of names to arrays, got "
            f"{type(module_or_mapping).__name__}"
        )
        raise TypeError(msg)
    # Copies: the format has no shared memory, and a tied parameter is written under each of its
    # names.
    arrays = {key: _array(key, value) for key, value in state.items()}
    content = safetensors.torch.save(arrays)
    # serialization-08
    target = Path(os.path.realpath(_checked_path("save", path)))
    if target.is_symlink():  # One that is left leads in a circle.
        msg = f"save: path must lead to a file, got a circle of links at {target}"
        raise OSError(errno.ELOOP, msg)
    if target.is_dir():
        msg = f"save: path must be a file, got the directory {target}"
        raise IsADirectoryError(msg)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with _named("save"), part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _check_written(part, arrays)
        if target.exists():
            part.chmod(stat.S_IMODE(target.stat().st_mode))
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file.

    Parameters
    ----------
    path : path

    Returns
    -------
    dict of str to Tensor

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or of another kind.
    """
    path = _checked_path("load", path)
    with _named("load"):
        content = Path(path).read_bytes()
    try:
        arrays = safetensors.torch.load(content)
    except (SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"load: {os.fspath(path)} must be a whole safetensors file, got: {reason}"
        raise ValueError(msg) from error
    for key, array in arrays.items():
        if array.dtype not in DTYPES:  # tensor-37
            msg = (
                f"load: {key!r} must be of dtype float32, float64, int32, int64 or bool, got "
                f"{array.dtype}"
            )
            raise ValueError(msg)
    return {key: leaf(array) for key, array in arrays.items()}


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put `name` in front of the system's reason where a file cannot be read or written."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, f"{name}: {error.strerror}", error.filename) from error


def _checked_path(name: str, path: Any) -> str:
    """Return a path as a str, or raise a TypeError."""
    spelled = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(spelled, str):  # serialization-09
        msg = f"{name}: path must be a str or an os.PathLike, got {type(path).__name__}"
        raise TypeError(msg)
    if "\0" in spelled or not _utf8(spelled):
        msg = f"{name}: path must be the name of a file, got {spelled!r}"
        raise ValueError(msg)
    return spelled


def _check_written(path: Path, arrays: Mapping[str, Tensor]) -> None:
    try:
        there = safetensors.torch.load(path.read_bytes())
    except SafetensorError as error:
        msg = f"save: what was written to {path} cannot be read: {error}"
        raise OSError(msg) from error
    if there.keys() != arrays.keys():  # serialization-07
        msg = f"save: what was written to {path} has the names {[*there]}, not {[*arrays]}"
        raise OSError(msg)


def _array(key: Any, value: Any) -> Tensor:
    if not isinstance(key, str):
        msg = f"save: names must be strings, got {key!r} of type {type(key).__name__}"
        raise TypeError(msg)
    if key == "__metadata__" or not _utf8(key):  # serialization-07
        msg = f"save: the format holds no name {key!r}; give the array another one"
        raise ValueError(msg)
    if isinstance(value, np.ndarray):
        return from_numpy(f"save: {key!r}", value)
    if not isinstance(value, Tensor):
        msg = f"save: {key!r} must be an array, got {type(value).__name__}"
        raise TypeError(msg)
    check_dtype(f"save: {key!r}", value.dtype)
    return value.detach().clone(memory_format=torch.contiguous_format)


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
