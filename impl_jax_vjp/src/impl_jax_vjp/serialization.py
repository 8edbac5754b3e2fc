"""Files of Tensors: safetensors, written whole or not at all."""

import contextlib
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from .checks import check_dtype, refuse_type
from .creation import tensor
from .module import Module
from .tape import Traced, unwrap
from .tensor import Tensor


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write a Module's state dict, or a mapping of names to arrays, to a safetensors file.

    The file is written under a temporary name beside `path` and renamed.

    Raises
    ------
    TypeError
        If `obj` is neither, or a name, value or dtype is of the wrong type; the file is untouched.
    """
    content = serialize(_arrays(obj))
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _arrays(obj: Any) -> dict[str, Any]:
    state = obj.state_dict() if isinstance(obj, Module) else obj
    if not isinstance(state, Mapping):
        refuse_type("save", "obj", "a Module or a mapping of names to arrays", obj)
    arrays = {}
    for key, value in state.items():
        if not isinstance(key, str):
            refuse_type("save", f"the key {key!r}", "a string", key)
        if not isinstance(value, Traced | jax.Array | np.ndarray):
            refuse_type("save", repr(key), "a Tensor or an array", value)
        array = np.asarray(unwrap(value))
        check_dtype(f"save: {key!r}", array.dtype)
        # ascontiguousarray alone would give a 0-d array an axis.
        arrays[key] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


def load(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """Read a safetensors file.

    Returns
    -------
    dict from str to Tensor
        The same bits, dtypes and shapes.

    Raises
    ------
    FileNotFoundError
        If there is no file; it names the path.
    ValueError
        If the file is damaged or of another kind; it names the path and the reason.
    TypeError
        If an array is of a dtype that no Tensor has; it names the key and the dtype.
    """
    target = Path(path)
    try:
        content = target.read_bytes()
    except FileNotFoundError:
        msg = f"load: there is no file {str(target)!r}"
        raise FileNotFoundError(msg) from None
    try:
        arrays = parse(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"load: {str(target)!r} is no whole safetensors file: {reason}"
        raise ValueError(msg) from None
    for key, array in arrays.items():
        check_dtype(f"load: {key!r} in {str(target)!r}", array.dtype)
    return {key: tensor(array) for key, array in arrays.items()}
