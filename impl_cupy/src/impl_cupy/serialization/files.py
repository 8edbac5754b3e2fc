"""Files of parameters, in the safetensors format, whole or in shards."""

from __future__ import annotations

import errno
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, check_positive_int, shown, type_name
from impl_cupy.dtypes import THE_FIVE, native
from impl_cupy.module import Module
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

HostArray = np.ndarray[Any, np.dtype[Any]]
Arrays = dict[str, HostArray]
PathLike = str | os.PathLike[str]
Content = Callable[[], bytes]

_INDEX = ".index.json"
_DEFAULT = "model.safetensors"


def save(
    module_or_mapping: Any,
    path: PathLike,
    metadata: Mapping[str, str] | None = None,
    *,
    max_shard_size: int | None = None,
) -> None:
    """Write a Module's state dict, or a mapping of names to arrays, as a safetensors file.

    The file is written under a temporary name in the same directory, read back and renamed, so that
    a write is whole or not at all.

    Parameters
    ----------
    module_or_mapping : Module, or mapping of str to Tensor, cupy.ndarray or numpy.ndarray
    path : str or path
        A symbolic link stays one: what it points to is replaced, and keeps its permissions.
    metadata : mapping of str to str, optional
        Stands in the file under ``__metadata__``.
    max_shard_size : int, optional
        How many bytes of elements a file holds at most, unless one entry has more. For
        ``model.safetensors`` the shards are ``model-00001-of-00003.safetensors``, ... and
        ``model.safetensors.index.json`` is Hugging Face's index of them; where one file is enough,
        it is written to `path`. What an earlier save left of the other form is removed.

    Raises
    ------
    TypeError
        That names the key and the type, if something else is given; if `path` is no path or
        `max_shard_size` no int.
    ValueError
        That names the key, if the format cannot hold it; if `max_shard_size` is below 1.
    OSError
        That names the path, if it cannot be written; nothing has changed then.
    """
    spelled = path_of("save", path)
    texts = check_metadata("save", metadata)
    arrays = host_arrays("save", module_or_mapping)
    if max_shard_size is None:
        write("save", {spelled: partial(encoded, "save", arrays, texts)})
        return
    if texts and "total_size" in texts:
        msg = "save: metadata must not hold 'total_size', which the index keeps for itself"
        raise ValueError(msg)
    shards = _shards(arrays, check_positive_int("save", "max_shard_size", max_shard_size))
    index = spelled + _INDEX
    contents: dict[str, Content] = {spelled: partial(encoded, "save", arrays, texts)}
    if len(shards) > 1:
        contents = _contents(spelled, shards, texts)
    for form in (spelled, index):
        _target("save", form)
    former = [os.path.join(os.path.dirname(spelled), name) for name in _former_shards(index)]
    write("save", contents)
    for other in dict.fromkeys((spelled, index, *former)):
        if other not in contents and os.path.lexists(other) and not os.path.isdir(other):
            with _said("save", other):
                os.unlink(other)


def encoded(operation: str, arrays: Arrays, texts: dict[str, str] | None) -> bytes:
    """Return what a file of these arrays and metadata holds, having read it back.

    Raises
    ------
    OSError
        If it does not give the arrays.
    """
    content = safetensors.numpy.save(arrays, texts)
    found = safetensors.numpy.load(content)
    if found.keys() != arrays.keys() or any(
        found[name].tobytes() != array.tobytes() for name, array in arrays.items()
    ):
        msg = f"{operation}: the format does not give back what was written; nothing was replaced"
        raise OSError(msg)
    return content


def _shards(arrays: Arrays, most: int) -> list[Arrays]:
    """Distribute arrays in their order over shards of at most `most` bytes (serialization-12)."""
    shards: list[Arrays] = [{}]
    size = 0
    for name, array in arrays.items():
        if shards[-1] and size + array.nbytes > most:
            shards.append({})
            size = 0
        shards[-1][name] = array
        size += array.nbytes
    return shards


def _contents(path: str, shards: list[Arrays], texts: dict[str, str] | None) -> dict[str, Content]:
    """Return what is to stand in the files of shards, and in their index, by path."""
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    contents: dict[str, Content] = {}
    weight_map: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"{stem}-{number:05}-of-{len(shards):05}{suffix}"
        contents[os.path.join(folder, file)] = partial(encoded, "save", shard, texts)
        weight_map.update(dict.fromkeys(shard, file))
    total = sum(array.nbytes for shard in shards for array in shard.values())
    index = {"metadata": {"total_size": total, **(texts or {})}, "weight_map": weight_map}
    contents[path + _INDEX] = json.dumps(index, indent=2).encode
    return contents


def _former_shards(index: str) -> list[str]:
    """Return the shards that an index names, if it is one."""
    try:
        weight_map, _ = _read_index(index)
    except (OSError, ValueError):
        return []
    return sorted(set(weight_map.values()))


def load(
    path: PathLike,
    return_metadata: bool = False,
    *,
    names: Mapping[str, str | None] | Callable[[str], str | None] | None = None,
) -> Any:
    """Read a safetensors file, or the shards that an index names.

    Parameters
    ----------
    path : str or path
        Of a file, of an index (``...index.json``), or of a directory that holds
        ``model.safetensors.index.json`` or ``model.safetensors``.
    return_metadata : bool
        Whether the metadata are returned too.
    names : mapping of str to (str or None), or callable, optional
        New names of entries; None leaves an entry out.

    Returns
    -------
    dict of str to Tensor, or a tuple of it and a dict of str to str
        With the bits, dtypes and shapes that were saved.

    Raises
    ------
    TypeError
        If `path` is no path, or `names` or a new name of another kind.
    FileNotFoundError
        With the path, if there is no file.
    ValueError
        That names the path and the reason, if it is damaged or of another kind; that names two
        entries of one new name.
    """
    source = path_of("load", path)
    with_metadata = check_flag("load", "return_metadata", return_metadata)
    if names is not None and not isinstance(names, Mapping) and not callable(names):
        msg = f"load: names must be a mapping or a callable, got {shown(names)}"
        raise TypeError(msg)
    if os.path.isdir(source):
        inside = [os.path.join(source, name) for name in (_DEFAULT + _INDEX, _DEFAULT)]
        source = next((file for file in inside if os.path.exists(file)), source)
    arrays, texts = _read_shards(source) if source.endswith(_INDEX) else read("load", source)
    tensors = as_tensors(arrays if names is None else _renamed(arrays, names))
    return (tensors, texts) if with_metadata else tensors


def _renamed(arrays: Arrays, names: Any) -> Arrays:
    """Give entries other names (serialization-11)."""
    given: dict[str, str] = {}
    for name in arrays:
        new = names.get(name, name) if isinstance(names, Mapping) else names(name)
        if new is None:
            continue
        if not isinstance(new, str):
            msg = f"load: names must give a str or None for {name!r}, got {shown(new)}"
            raise TypeError(msg)
        if new in given:
            msg = f"load: names must differ, got {new!r} for both {given[new]!r} and {name!r}"
            raise ValueError(msg)
        given[new] = name
    return {new: arrays[name] for new, name in given.items()}


def _read_shards(index: str) -> tuple[Arrays, dict[str, str]]:
    """Read what an index names, in its order."""
    weight_map, texts = _read_index(index)
    folder = os.path.dirname(index)
    shards = {}
    for file in dict.fromkeys(weight_map.values()):
        wanted = {name for name, holder in weight_map.items() if holder == file}
        held, _ = read("load", os.path.join(folder, file))
        shards[file] = {name: array for name, array in held.items() if name in wanted}
    for name, file in weight_map.items():
        if name not in shards[file]:
            msg = f"load: {index} is no whole index: {file} has no entry {name!r}"
            raise ValueError(msg)
    return {name: shards[file][name] for name, file in weight_map.items()}, texts


def _read_index(index: str) -> tuple[dict[str, str], dict[str, str]]:
    """Read the names of files by entry, and the strings of the metadata."""
    with _said("load", index), open(index, "rb") as file:
        content = file.read()
    try:
        read = json.loads(content)
        reason = _fault(read)
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
    if reason:
        msg = f"load: {index} is no index of shards: {reason}"
        raise ValueError(msg)
    metadata = read.get("metadata", {})
    return read["weight_map"], {k: text for k, text in metadata.items() if isinstance(text, str)}


def _fault(index: Any) -> str:
    """Return what keeps JSON from being an index, if anything does (serialization-13)."""
    if not isinstance(index, dict) or not isinstance(index.get("weight_map"), dict):
        return "it has no weight_map"
    if not isinstance(index.get("metadata", {}), dict):
        return "its metadata are no object"
    for name, file in index["weight_map"].items():
        if not isinstance(file, str) or file in ("", ".", "..") or set(file) & set("/\\\0"):
            return f"the file of {name!r} must be a plain name, got {shown(file)}"
    return ""


def read(operation: str, path: str) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays and the metadata of one file.

    Raises
    ------
    OSError
        That names the operation and the path, if it cannot be read.
    ValueError
        That names them and the reason, if it is damaged or of another kind.
    """
    # Not as a Path, for which an empty name is the present directory.
    with _said(operation, path), open(path, "rb") as file:
        content = file.read()
    try:
        arrays = safetensors.numpy.load(content)
        # Eight bytes of length come before the header, which has been read just now.
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (safetensors.SafetensorError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())
        msg = f"{operation}: {path} is no whole safetensors file: {reason}"
        raise ValueError(msg) from error
    for name, array in arrays.items():
        if array.dtype not in THE_FIVE:
            msg = (
                f"{operation}: {path}: {name} has dtype {array.dtype.name}, which is none for files"
            )
            raise ValueError(msg)
    return arrays, header.get("__metadata__") or {}


def as_tensors(arrays: Mapping[str, HostArray]) -> dict[str, Tensor]:
    """Copy arrays to the device."""
    return {name: wrap(cp.asarray(array)) for name, array in arrays.items()}


def write(operation: str, contents: Mapping[str, Content]) -> None:
    """Write files, all or none.

    Each is written under a temporary name in its directory and read back before the first takes its
    place.

    Raises
    ------
    OSError
        That names the operation and the path.
    """
    staged: list[tuple[str, Path, Path]] = []
    try:
        for path, content in contents.items():
            target = _target(operation, path)
            staged.append((path, _beside(target), target))
            _stage(operation, *staged[-1], content())
        _place(operation, staged)
    finally:
        for _, temporary, _ in staged:
            temporary.unlink(missing_ok=True)


def _target(operation: str, path: str) -> Path:
    """Return the file that a path leads to (serialization-08)."""
    target = Path(os.path.realpath(path))
    if target.is_symlink():
        # What is still a link leads in a circle.
        raise OSError(errno.ELOOP, f"{operation}: links lead in a circle", path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"{operation}: this is a directory", path)
    return target


def _beside(target: Path) -> Path:
    return target.with_name(f".{secrets.token_hex(8)}.tmp")


def _stage(operation: str, path: str, temporary: Path, target: Path, content: bytes) -> None:
    """Write what is to take the place of `target`, and read it back (serialization-07)."""
    with _said(operation, path):
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if temporary.read_bytes() != content:
            msg = "this does not hold what was written; nothing was replaced"
            raise OSError(errno.EIO, msg)
        if target.exists():
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))


def _place(operation: str, staged: list[tuple[str, Path, Path]]) -> None:
    """Let files take their places in order; put back what was there if one cannot."""
    done: list[tuple[Path, Path | None]] = []
    try:
        for path, temporary, target in staged:
            with _said(operation, path):
                # No place follows that of the last, so what was there is not needed any more.
                if temporary is not staged[-1][1]:
                    done.append((target, _put_aside(target)))
                os.replace(temporary, target)
    except BaseException:
        for target, aside in reversed(done):
            with suppress(OSError):
                target.unlink(missing_ok=True) if aside is None else os.replace(aside, target)
        raise
    for _, aside in done:
        if aside is not None:
            with suppress(OSError):
                aside.unlink()


def _put_aside(target: Path) -> Path | None:
    if not target.exists():
        return None
    aside = _beside(target)
    os.replace(target, aside)
    return aside


def path_of(operation: str, path: Any) -> str:
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
def _said(operation: str, path: str) -> Iterator[None]:
    """Let errors of the file system name the operation, and the path as it was given."""
    try:
        yield
    except OSError as error:
        said = f"{operation}: {error.strerror or error}"
        raise OSError(error.errno or errno.EIO, said, path) from error


def check_metadata(operation: str, metadata: Any) -> dict[str, str] | None:
    """Return the strings of metadata, None for no strings (serialization-10).

    Raises
    ------
    TypeError
        If it is no mapping of str to str.
    ValueError
        If UTF-8 cannot spell one.
    """
    if metadata is None:
        return None
    if not isinstance(metadata, Mapping):
        got = type_name(metadata)
        msg = f"{operation}: metadata must be a mapping of str to str, got {got}"
        raise TypeError(msg)
    for key, text in metadata.items():
        for value in (key, text):
            if not isinstance(value, str):
                got = f"{shown(key)}: {shown(text)} with the type {type_name(value)}"
                msg = f"{operation}: metadata must hold str, got {got}"
                raise TypeError(msg)
            if not _is_spelled(value):
                msg = f"{operation}: metadata must be text that UTF-8 spells, got {value!r}"
                raise ValueError(msg)
    return dict(metadata) or None


def _is_spelled(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def host_arrays(operation: str, source: Any) -> Arrays:
    """Return the arrays of a Module or a mapping, on the host (serialization-05).

    Raises
    ------
    TypeError
        That names the key and the type of what is no array.
    ValueError
        That names a key that a file cannot hold.
    """
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        got = type(source).__name__
        msg = f"{operation}: must be a Module or a mapping of names to arrays, got {got}"
        raise TypeError(msg)
    return {name: _host(operation, name, value) for name, value in source.items()}


def _host(operation: str, name: Any, value: Any) -> HostArray:
    if not isinstance(name, str):
        msg = f"{operation}: keys must be str, got {name!r} of type {type(name).__name__}"
        raise TypeError(msg)
    if name == "__metadata__" or not _is_spelled(name):  # serialization-07
        msg = f"{operation}: the format cannot hold the key {name!r}; rename it"
        raise ValueError(msg)
    raw = value._data if isinstance(value, Tensor) else value
    if not isinstance(raw, (cp.ndarray, np.ndarray)):
        msg = f"{operation}: {name} must be a Tensor or an array, got {type_name(value)}"
        raise TypeError(msg)
    if isinstance(raw, np.ndarray):
        raw = native(raw)
    if raw.dtype not in THE_FIVE:
        msg = f"{operation}: {name} has dtype {raw.dtype.name}, which is none for files"
        raise TypeError(msg)
    return np.ascontiguousarray(cp.asnumpy(raw)).reshape(value.shape)
