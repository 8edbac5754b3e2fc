"""Files of Tensors: safetensors, written whole or not at all."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from .checks import check_dtype, check_path, refuse, refuse_type
from .creation import tensor
from .dtypes import native
from .module import Module
from .tape import Traced, unwrap
from .tensor import Tensor


def save(obj: Any, path: str | os.PathLike[str]) -> None:
    """Write a Module's state dict, or a mapping of names to arrays, to a safetensors file.

    The file is written under a temporary name beside `path`, read back and renamed. A symbolic link
    stays one, and a file that is replaced keeps its permissions.

    Raises
    ------
    TypeError
        If `obj` is neither, a name, value or dtype is of the wrong type, or `path` is no path; the
        file is untouched.
    ValueError
        If the format does not hold a name; the file is untouched.
    OSError
        If `path` is a directory or cannot be written.
    """
    target = check_path("save", path)
    arrays = _arrays(obj)
    content = serialize(arrays)
    with _named("save", target):
        real = Path(os.path.realpath(target))  # serialization-08
        if real.is_symlink():
            raise OSError(errno.ELOOP, "The symbolic link points to itself")
        mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o666 & ~_umask()
        handle, temporary = tempfile.mkstemp(prefix=f".{real.name[:100]}.", dir=real.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _read_back(Path(temporary), target, arrays)
            os.chmod(temporary, mode)
            os.replace(temporary, real)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            raise


@contextlib.contextmanager
def _named(name: str, target: Path) -> Iterator[None]:
    """Put the operation and the path into the system's errors."""
    try:
        if target.exists() and not target.is_file():
            fault = "Is a directory" if target.is_dir() else "Is no regular file"
            number = errno.EISDIR if target.is_dir() else errno.EINVAL
            raise OSError(number, fault)
        yield
    except OSError as error:
        fault = error.strerror or " ".join(str(error).split())
        raise OSError(error.errno, f"{name}: {fault}", str(target)) from None


def _read_back(temporary: Path, target: Path, arrays: dict[str, Any]) -> None:
    """Raise `OSError` if a file does not hold the arrays bit for bit."""  # serialization-07
    there = parse(temporary.read_bytes())
    if there.keys() != arrays.keys() or any(
        there[key].dtype != array.dtype
        or there[key].shape != array.shape
        or there[key].tobytes() != array.tobytes()
        for key, array in arrays.items()
    ):
        raise OSError(errno.EIO, f"What was written for {target.name} reads back otherwise")


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
        if key == "__metadata__" or not _is_utf8(key):
            refuse("save", "each name", "one that a safetensors file can hold", repr(key))
        if not isinstance(value, Traced | jax.Array | np.ndarray):
            refuse_type("save", repr(key), "a Tensor or an array", value)
        array = native(np.asarray(unwrap(value)))
        check_dtype(f"save: {key!r}", array.dtype)
        # ascontiguousarray alone would give a 0-d array an axis.
        arrays[key] = np.ascontiguousarray(array).reshape(array.shape)
    return arrays


def _is_utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


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
        If an array is of a dtype that no Tensor has; it names the key and the dtype. If `path` is
        no path.
    OSError
        If `path` is a directory or cannot be read.
    """
    target = check_path("load", path)
    with _named("load", target):
        content = target.read_bytes()
    try:
        arrays = parse(content)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"load: {str(target)!r} is no whole safetensors file: {reason}"
        raise ValueError(msg) from None
    for key, array in arrays.items():
        check_dtype(f"load: {key!r} in {str(target)!r}", array.dtype)
    return {key: tensor(array) for key, array in arrays.items()}
