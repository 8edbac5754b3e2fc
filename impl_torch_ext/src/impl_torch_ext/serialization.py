"""State dicts as safetensors files."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from impl_torch_ext.tensor import from_numpy

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
        If it is anything else; the file has not been touched.
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
    content = safetensors.torch.save({key: _array(key, value) for key, value in state.items()})
    target = Path(path)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
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
    content = Path(path).read_bytes()
    try:
        return safetensors.torch.load(content)
    except (SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"load: {os.fspath(path)} must be a whole safetensors file, got: {reason}"
        raise ValueError(msg) from error


def _array(key: Any, value: Any) -> Tensor:
    if not isinstance(key, str):
        msg = f"save: names must be strings, got {key!r} of type {type(key).__name__}"
        raise TypeError(msg)
    if isinstance(value, np.ndarray):
        return from_numpy(f"save: {key!r}", value)
    if not isinstance(value, Tensor):
        msg = f"save: {key!r} must be an array, got {type(value).__name__}"
        raise TypeError(msg)
    return value.detach().clone(memory_format=torch.contiguous_format)
