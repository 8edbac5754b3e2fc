"""Safetensors files, written whole or not at all: one, or shards with an index."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, Literal, TypeAlias, overload

import numpy as np

from impl_numpy.checks import LARGEST, check_flag, check_positive, shown
from impl_numpy.dtypes import FIVE, Array, native
from impl_numpy.module import Module
from impl_numpy.tensor import Tensor, wrap

Path: TypeAlias = "str | os.PathLike[str]"
Names: TypeAlias = "Mapping[str, str | None] | Callable[[str], str | None]"
Arrays: TypeAlias = dict[str, Array]
Texts: TypeAlias = dict[str, str]

INDEX = ".index.json"
WHOLE = "model.safetensors"
SIZE = LARGEST - 1


def save(
    module_or_mapping: Module | Mapping[str, Any],
    path: Path,
    metadata: Mapping[str, str] | None = None,
    *,
    max_shard_size: int | None = None,
) -> None:
    """Write a safetensors file of a state dict, or several and an index of them.

    Files are written under temporary names in the same directory, read back and renamed, so the old
    ones stay whole until the new ones are.

    Parameters
    ----------
    module_or_mapping : Module or mapping of str to Tensor or array
    path : str or os.PathLike
    metadata : mapping of str to str, optional
        What stands in the file beside the arrays.
    max_shard_size : int, optional
        The bytes of elements from which on a file is cut into shards beside `path`, with Hugging
        Face's index in `path` + ".index.json". The other form of `path` is removed then.

    Raises
    ------
    TypeError
        If something cannot be saved; the message names its key and type, and no file is touched.
        If the path, the metadata or the size is of another kind.
    ValueError
        If the format does not hold a name or a text, or the size is below 1.
    OSError
        If the path is that of a directory, or a file cannot be written; nothing has changed then.
    """
    path = path_of("save", path)
    check_file("save", path)
    size = max_shard_size
    if size is not None:
        check_positive("save", max_shard_size=min(size, SIZE) if isinstance(size, int) else size)
    arrays = _arrays(module_or_mapping)
    texts = texts_of("save", metadata)
    shards = [] if size is None else _shards(arrays, size)
    if len(shards) > 1:
        _save_shards(path, shards, arrays, texts)
    else:
        old = [] if size is None else [*_former(path + INDEX), path + INDEX]
        write("save", path, arrays, texts, old)


@overload
def load(
    path: Path, return_metadata: Literal[False] = False, *, names: Names | None = None
) -> dict[str, Tensor]: ...


@overload
def load(
    path: Path, return_metadata: Literal[True], *, names: Names | None = None
) -> tuple[dict[str, Tensor], Texts]: ...


def load(path: Path, return_metadata: bool = False, *, names: Names | None = None) -> Any:
    """Return the Tensors of a safetensors file, or of the shards of an index, by name.

    Parameters
    ----------
    path : str or os.PathLike
        Of a file, of an index (a name that ends in ".index.json"), or of a directory with
        `model.safetensors.index.json` or `model.safetensors` in it.
    return_metadata : bool
        Return a tuple of the Tensors and of a dict of the strings that stand beside them.
    names : mapping or callable, optional
        Gives entries other names, None leaves one out; a mapping leaves other names as they are.

    Returns
    -------
    dict of str to Tensor, or a tuple of it and of a dict of str to str

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is damaged or of another kind, or two entries come to have one name.
    TypeError
        If the path or `names` is of another kind.
    """
    return_metadata = check_flag("load", "return_metadata", return_metadata)
    if names is not None and not isinstance(names, Mapping) and not callable(names):
        got = f"{type(names).__name__} {shown(names)}"
        msg = f"load: names must be a mapping or a callable, got {got}"
        raise TypeError(msg)
    place = _found(path_of("load", path))
    arrays, texts = _read_index(place) if place.endswith(INDEX) else read("load", place)
    # Bytes cannot be written; parameters can.
    loaded = {new: wrap(np.array(arrays[old]), None) for new, old in _renamed(arrays, names)}
    return (loaded, texts) if return_metadata else loaded


def write(operation: str, path: str, arrays: Arrays, texts: Texts, old: Iterable[str] = ()) -> None:
    """Write one file and take old ones away, whole or not at all."""
    _replace(operation, [(path, lambda name: _staged(operation, name, arrays, texts))], old)


def read(operation: str, path: str) -> tuple[Arrays, Texts]:
    """Return the arrays of a file, which cannot be written, and its metadata.

    Raises
    ------
    FileNotFoundError, OSError
        If the file cannot be read.
    ValueError
        If it is damaged or of another kind.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    content = _content(operation, path)
    try:
        arrays: Arrays = from_bytes(content)
    # A dtype that NumPy does not have comes as a KeyError, a broken name as a UnicodeError.
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{operation}: {path} is no whole safetensors file: {reason}"
        raise ValueError(msg) from None
    for key, array in arrays.items():
        if array.dtype not in FIVE:
            msg = f"{operation}: {path}: {key} has dtype {array.dtype}, which no Tensor has"
            raise ValueError(msg)
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return arrays, dict(header.get("__metadata__") or {})


def path_of(operation: str, path: Any) -> str:
    """Return a path as a string; a number would be that of an open file (serialization-09)."""
    text = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(text, str):
        msg = f"{operation}: the path must be a str or an os.PathLike, got {type(path).__name__}"
        raise TypeError(msg)
    if "\0" in text:
        msg = f"{operation}: the path must hold no null character, got {shown(text)}"
        raise ValueError(msg)
    return str(text)


def check_file(operation: str, path: str) -> None:
    """Raise OSError for a path that is that of a directory."""
    if os.path.isdir(path):
        msg = f"{operation}: {path} is a directory"
        raise IsADirectoryError(msg)


def texts_of(operation: str, metadata: Any) -> Texts:
    """Return metadata, a mapping from strings to strings, as a dict (serialization-10)."""
    if metadata is not None and not isinstance(metadata, Mapping):
        got = f"{type(metadata).__name__} {shown(metadata)}"
        msg = f"{operation}: metadata must be a mapping from strings to strings, got {got}"
        raise TypeError(msg)
    texts = {}
    for key, value in (metadata or {}).items():
        for text in (key, value):
            if not isinstance(text, str):
                got = f"{type(text).__name__} {shown(text)}"
                msg = f"{operation}: metadata must hold strings, got {got} at {shown(key)}"
                raise TypeError(msg)
            if not _spelled(text):
                msg = f"{operation}: metadata hold what UTF-8 cannot spell at {shown(key)}"
                raise ValueError(msg)
        texts[str(key)] = str(value)
    return texts


def check_entry(operation: str, key: str) -> None:
    """Raise ValueError for a name that the format does not hold (serialization-07)."""
    reason = "keeps for itself" if key == "__metadata__" else None
    reason = reason if _spelled(key) else "cannot spell in UTF-8"
    if reason is not None:
        msg = f"{operation}: {shown(key)} is a name that the format {reason}"
        raise ValueError(msg)


def _replace(
    operation: str, files: list[tuple[str, Callable[[str], str]]], old: Iterable[str] = ()
) -> None:
    """Put files in their places, in order, and take old ones away; all or none.

    Each file is a path and what writes one under a temporary name, which it returns, beside a path.
    """
    staged: list[tuple[str, str]] = []
    kept: dict[str, str | None] = {}
    changed: list[str] = []
    try:
        for path, stage in files:
            # The file that a symbolic link points to is replaced, not the link (serialization-08).
            target = os.path.realpath(path)
            staged.append((stage(target), target))
            os.chmod(staged[-1][0], _mode(target))
        targets = {target for _, target in staged}
        new = {*targets, *(_place(path) for path, _ in files)}
        gone = [path for path in map(_place, old) if os.path.lexists(path) and path not in new]
        # One file takes its place at once; of several, and of old ones, copies are kept meanwhile.
        for path in (*targets, *gone) if len(staged) + len(gone) > 1 else ():
            kept[path] = _backup(path)
        for temporary, target in staged:
            os.replace(temporary, target)
            changed.append(target)
        for path in gone:
            os.unlink(path)
            changed.append(path)
    except BaseException as error:
        for path in changed if kept else ():
            backup = kept.pop(path)
            with suppress(OSError):
                os.unlink(path) if backup is None else os.replace(backup, path)
        if isinstance(error, OSError) and not str(error.strerror).startswith(operation):
            raise _named(error, operation, files[0][0]) from None
        raise
    finally:
        # What has taken its place is not there any more under its temporary name.
        for name in (*(temporary for temporary, _ in staged), *filter(None, kept.values())):
            with suppress(OSError):
                os.unlink(name)


def _place(path: str) -> str:
    """Return an absolute path, in which the last name may be that of a link."""
    folder, name = os.path.split(path)
    return os.path.join(os.path.realpath(folder), name)


def _backup(path: str) -> str | None:
    """Return the temporary name of a second link to a file, or of a copy; None without a file."""
    import shutil

    if not os.path.lexists(path):
        return None
    name = _temporary(path)
    os.unlink(name)
    try:
        os.link(path, name, follow_symlinks=False)
    except OSError:
        shutil.copy2(path, name, follow_symlinks=False)
    return name


def _temporary(path: str) -> str:
    """Make an empty file under a temporary name beside a path."""
    import tempfile

    folder, name = os.path.split(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{name}.", dir=folder or ".")
    os.close(handle)
    return temporary


def _written(operation: str, path: str, content: bytes) -> str:
    """Write bytes under a temporary name beside a path, and return that."""
    try:
        temporary = _temporary(path)
    except OSError as error:
        raise _named(error, operation, path) from None
    try:
        with open(temporary, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _staged(operation: str, path: str, arrays: Arrays, texts: Texts) -> str:
    """Write a safetensors file under a temporary name, and read it back (serialization-07)."""
    # Here and not above: this would cost more than the rest of this package to import.
    from safetensors.numpy import save as to_bytes

    temporary = _written(operation, path, to_bytes(arrays, texts or None))
    try:
        found, beside = read(operation, temporary)
        for key, array in arrays.items():
            back = found.get(key)
            if back is None or back.dtype != array.dtype or back.tobytes() != array.tobytes():
                msg = f"{operation}: {shown(key)} could not be read back from the file"
                raise ValueError(msg)
        if beside != texts:
            msg = f"{operation}: the metadata could not be read back from the file"
            raise ValueError(msg)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary


def _shards(arrays: Arrays, most: int) -> list[list[str]]:
    """Return the names in each shard (serialization-12)."""
    shards: list[list[str]] = []
    size = 0
    for name, array in arrays.items():
        if not shards or size + array.nbytes > most:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += array.nbytes
    return shards


def _save_shards(path: str, shards: list[list[str]], arrays: Arrays, texts: Texts) -> None:
    """Write shards, and then their index, in the place of a file and of former shards."""
    if "total_size" in texts:
        msg = "save: metadata must not hold total_size where there are shards, got it"
        raise ValueError(msg)
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    names = [f"{stem}-{k:05}-of-{len(shards):05}{suffix}" for k in range(1, len(shards) + 1)]
    total = sum(array.nbytes for array in arrays.values())
    content = {
        "metadata": {"total_size": total, **texts},
        "weight_map": {key: n for n, keys in zip(names, shards, strict=True) for key in keys},
    }
    lines = (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()

    def stage(keys: list[str]) -> Callable[[str], str]:
        return lambda target: _staged("save", target, {key: arrays[key] for key in keys}, texts)

    files = [(os.path.join(folder, n), stage(keys)) for n, keys in zip(names, shards, strict=True)]
    former = [old for old in _former(path + INDEX) if os.path.basename(old) not in names]
    last = (path + INDEX, lambda target: _written("save", target, lines))
    _replace("save", [*files, last], [path, *former])


def _former(index: str) -> list[str]:
    """Return the paths of the shards that an index names; none of one that is not there or bad."""
    try:
        names = _index(index)[0].values()
    except (OSError, ValueError):
        return []
    return [os.path.join(os.path.dirname(index), name) for name in dict.fromkeys(names)]


def _index(path: str) -> tuple[Texts, Texts]:
    """Return the file of each entry of an index, and the strings of its metadata."""
    reason = None
    try:
        content = json.loads(_content("load", path))
    except (ValueError, RecursionError) as error:
        content, reason = {}, f"is no JSON: {' '.join(str(error).split())}"
    known = content if isinstance(content, dict) else {}
    files: Any = known.get("weight_map")
    texts: Any = known.get("metadata", {})
    if reason is None and not (isinstance(files, dict) and isinstance(texts, dict)):
        reason = "must hold an object weight_map, and metadata that are one"
    separators = [separator for separator in (os.sep, os.altsep, "\0") if separator]
    for key, name in files.items() if reason is None else ():
        plain = isinstance(name, str) and name not in ("", os.curdir, os.pardir)
        if not plain or any(separator in name for separator in separators):
            reason = f"names for {shown(key)} what is no plain name of a file: {shown(name)}"
            break
    if reason is not None:
        msg = f"load: the index {path} {reason}"
        raise ValueError(msg)
    return files, {key: text for key, text in texts.items() if isinstance(text, str)}


def _read_index(path: str) -> tuple[Arrays, Texts]:
    """Return the arrays that an index names, in its order, and the strings of its metadata."""
    files, texts = _index(path)
    shards = {
        name: read("load", os.path.join(os.path.dirname(path), name))[0]
        for name in dict.fromkeys(files.values())
    }
    for key, name in files.items():
        if key not in shards[name]:
            msg = f"load: the index {path} names {shown(key)}, which {name} does not have"
            raise ValueError(msg)
    return {key: shards[name][key] for key, name in files.items()}, texts


def _found(path: str) -> str:
    """Return the path of the file to load (serialization-13)."""
    for name in (WHOLE + INDEX, WHOLE) if os.path.isdir(path) else ():
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    check_file("load", path)
    return path


def _renamed(arrays: Arrays, names: Any) -> Iterable[tuple[str, str]]:
    """Return pairs of new and old names of what is to be loaded (serialization-11)."""
    if names is None:
        return [(name, name) for name in arrays]
    came: dict[str, str] = {}
    for old in arrays:
        new = names.get(old, old) if isinstance(names, Mapping) else names(old)
        if new is None:
            continue
        if not isinstance(new, str):
            got = f"{type(new).__name__} {shown(new)}"
            msg = f"load: names must give strings or None, got {got} for {shown(old)}"
            raise TypeError(msg)
        if new in came:
            msg = f"load: {shown(came[new])} and {shown(old)} have the one new name {shown(new)}"
            raise ValueError(msg)
        came[new] = old
    return came.items()


def _content(operation: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _named(error, operation, path) from None
    except ValueError as error:
        msg = f"{operation}: {shown(path)} is no path: {error}"
        raise ValueError(msg) from None


def _named(error: OSError, operation: str, path: str) -> OSError:
    """Return an error of the same kind that names the operation and the path."""
    return type(error)(error.errno, f"{operation}: {error.strerror}", path)


def _spelled(text: str) -> bool:
    """Tell whether UTF-8 can spell a text."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def array_of(value: Any) -> Array | None:
    """Return the array of a Tensor, or one of another byte order as a native one; else None."""
    array = value._data if isinstance(value, Tensor) else value
    return native(array) if isinstance(array, np.ndarray) else None


def laid_out(array: Array) -> Array:
    """Return an array as it is saved: the layout in memory is not, so one is laid out anew."""
    return np.ascontiguousarray(array).reshape(array.shape)


def _arrays(source: Any) -> Arrays:
    if isinstance(source, Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        msg = f"save: wants a Module or a mapping of names to arrays, got {type(source).__name__}"
        raise TypeError(msg)
    arrays = {}
    for key, value in source.items():
        array = array_of(value)
        if not isinstance(key, str) or array is None or array.dtype not in FIVE:
            got = type(value).__name__ + ("" if array is None else f" of dtype {array.dtype}")
            name = f"{type(key).__name__} {shown(key)}"
            msg = f"save: wants strings as keys and arrays as values, got {got} under the {name}"
            raise TypeError(msg)
        check_entry("save", key)
        arrays[str(key)] = laid_out(array)
    return arrays


def _mode(target: str) -> int:
    """Return the permissions of the old file, or those of any new one."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask
