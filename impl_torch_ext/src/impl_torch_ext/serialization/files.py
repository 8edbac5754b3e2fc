"""State dicts as safetensors files, whole or in shards."""

import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from impl_torch_ext.checks import check_five, check_flag, check_size, shown
from impl_torch_ext.dtypes import FIVE
from impl_torch_ext.tensor import from_numpy, leaf

__all__ = [
    "array_of",
    "checked_metadata",
    "checked_path",
    "checked_tensors",
    "load",
    "read_file",
    "save",
    "write_file",
]

_INDEX = ".index.json"

# Where it goes, what stands in it, and whether it is an index.
_File: TypeAlias = tuple[Path, bytes, bool]


def save(
    module_or_mapping: torch.nn.Module | Mapping[str, Any],
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    max_shard_size: int | None = None,
) -> None:
    """Write a state dict to a safetensors file, as a whole or not at all.

    Parameters
    ----------
    module_or_mapping : Module, or mapping of str to Tensor or numpy.ndarray
    path : path
        An old file of that name is replaced once the new one is complete.
    metadata : mapping of str to str, optional
        Stands in the file under `__metadata__`.
    max_shard_size : int, optional
        The bytes of a file. Where one is not enough, several are written beside `path`, and
        `path` + `.index.json`, which says what is in which; the other form is removed.

    Raises
    ------
    TypeError
        If it is anything else, or an array of another dtype, or metadata are no strings; the file
        has not been touched.
    ValueError
        If the format does not hold a name or a text, or `max_shard_size` is below 1.
    OSError
        If the file cannot be written, or what was written cannot be read.

    Notes
    -----
    The format of the index is that of Hugging Face's libraries.
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
    arrays = {key: array_of("save", key, value) for key, value in state.items()}
    texts = checked_metadata("save", metadata)
    if max_shard_size is None:
        write_file("save", path, arrays, texts)
        return
    size = check_size("save", "max_shard_size", max_shard_size)
    place = Path(checked_path("save", path))
    _target("save", place)
    _save_shards(place, _shards(arrays, size), texts)


def load(
    path: str | os.PathLike[str],
    return_metadata: bool = False,
    *,
    names: Mapping[str, str | None] | Callable[[str], str | None] | None = None,
) -> Any:
    """Read a safetensors file, or several that an index names.

    Parameters
    ----------
    path : path
        Of a file, of an index (`.index.json`), or of a directory that holds
        `model.safetensors.index.json` or `model.safetensors`.
    return_metadata : bool
    names : mapping of str to str, or function, optional
        Gives entries other names; None leaves one out.

    Returns
    -------
    dict of str to Tensor
        With `return_metadata=True` a tuple of it and of a dict of str.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged or of another kind, or two entries get one name.
    TypeError
        If `names` or a new name is of another kind.
    """
    both = check_flag("load", "return_metadata", return_metadata)
    if not (names is None or isinstance(names, Mapping) or callable(names)):
        msg = f"load: names must be a mapping, a function or None, got {shown(names)}"
        raise TypeError(msg)
    place = _found(checked_path("load", path))
    if place.endswith(_INDEX):
        arrays, metadata = _read_shards(place)
    else:
        arrays, metadata = read_file("load", place)
    tensors = checked_tensors("load", arrays if names is None else _renamed(arrays, names))
    return (tensors, metadata) if both else tensors


def write_file(
    name: str, path: Any, arrays: Mapping[str, Tensor], metadata: Mapping[str, str]
) -> None:
    """Write one file, as a whole or not at all."""
    target = _target(name, Path(checked_path(name, path)))
    _replace(name, [(target, _content(arrays, metadata), False)])


def read_file(name: str, path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return what stands in a file, of whichever dtype, and its metadata; or raise."""
    with _named(name):
        content = Path(path).read_bytes()
    try:
        arrays = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        msg = f"{name}: {path} must be a whole safetensors file, got: {reason}"
        raise ValueError(msg) from error
    return arrays, header.get("__metadata__", {})


def checked_tensors(name: str, arrays: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return arrays as Tensors, or raise a ValueError for a foreign dtype."""
    for key, array in arrays.items():
        if array.dtype not in FIVE:  # tensor-37
            msg = (
                f"{name}: {key!r} must be of dtype float32, float64, int32, int64 or bool, got "
                f"{array.dtype}"
            )
            raise ValueError(msg)
    return {key: leaf(array) for key, array in arrays.items()}


def checked_metadata(name: str, metadata: Any) -> dict[str, str]:
    """Return metadata as a dict, or raise in the name of `name`."""
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        msg = f"{name}: metadata must be a mapping of strings, got {type(metadata).__name__}"
        raise TypeError(msg)
    for key, text in metadata.items():
        for part in (key, text):
            if not isinstance(part, str):  # serialization-10
                msg = (
                    f"{name}: metadata must be strings, got {shown(part)} of type "
                    f"{type(part).__name__} at {shown(key)}"
                )
                raise TypeError(msg)
            if not _utf8(part):
                msg = f"{name}: metadata must be text that UTF-8 spells, got {shown(part)}"
                raise ValueError(msg)
    return dict(metadata)


def checked_path(name: str, path: Any) -> str:
    """Return a path as a str, or raise a TypeError."""
    spelled = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(spelled, str):  # serialization-09
        msg = f"{name}: path must be a str or an os.PathLike, got {type(path).__name__}"
        raise TypeError(msg)
    if "\0" in spelled or not _utf8(spelled):
        msg = f"{name}: path must be the name of a file, got {spelled!r}"
        raise ValueError(msg)
    return spelled


def array_of(name: str, key: Any, value: Any) -> Tensor:
    """Return a copy of what is saved under a name, or raise.

    The format has no shared memory; a tied parameter is written under each of its names.
    """
    if not isinstance(key, str):
        msg = f"{name}: names must be strings, got {key!r} of type {type(key).__name__}"
        raise TypeError(msg)
    if key == "__metadata__" or not _utf8(key):  # serialization-07
        msg = f"{name}: the format holds no name {key!r}; give the array another one"
        raise ValueError(msg)
    if isinstance(value, np.ndarray):
        value = from_numpy(f"{name}: {key!r}", value)
    if not isinstance(value, Tensor):
        msg = f"{name}: {key!r} must be an array, got {type(value).__name__}"
        raise TypeError(msg)
    check_five(f"{name}: {key!r}", value.dtype)
    return value.detach().clone(memory_format=torch.contiguous_format)


def _shards(arrays: Mapping[str, Tensor], size: int) -> list[dict[str, Tensor]]:
    """Return the entries in their order, in parts of at most `size` bytes or of one entry."""
    shards, total = [dict[str, Tensor]()], 0
    for key, array in arrays.items():
        if shards[-1] and total + array.nbytes > size:  # serialization-12
            shards.append({})
            total = 0
        shards[-1][key] = array
        total += array.nbytes
    return shards


def _save_shards(
    place: Path, shards: Sequence[Mapping[str, Tensor]], texts: Mapping[str, str]
) -> None:
    """Write shards and their index, or one file, and remove what was there in the other form."""
    index = Path(f"{place}{_INDEX}")
    names, count = [place.name], len(shards)
    if count > 1:
        names = [f"{place.stem}-{k:05}-of-{count:05}{place.suffix}" for k in range(1, count + 1)]
    files: list[_File] = [
        (_target("save", place.with_name(name)), _content(shard, texts), False)
        for name, shard in zip(names, shards, strict=True)
    ]
    if count > 1:
        if "total_size" in texts:
            msg = "save: metadata must not have the key 'total_size' beside shards, got one"
            raise ValueError(msg)
        total = sum(x.nbytes for shard in shards for x in shard.values())
        where = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        table = {"metadata": {"total_size": total, **texts}, "weight_map": where}
        files.append((_target("save", index), json.dumps(table, indent=2).encode(), True))
    former = {place.with_name(name) for name in _former(index)}
    _replace("save", files)
    new = {place.with_name(name) for name in names}
    with _named("save"):
        for gone in former | {place} | ({index} if count == 1 else set()):
            if gone not in new:
                gone.unlink(missing_ok=True)


def _former(index: Path) -> set[str]:
    """Return the names of the shards that an index names, if it is one."""
    try:
        return set(_index(str(index))[0].values())
    except (OSError, ValueError):
        return set()


def _index(path: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the file of each entry, and the metadata, that stand in an index; or raise."""
    with _named("load"):
        content = Path(path).read_bytes()
    try:
        table = json.loads(content)
    except (ValueError, RecursionError) as error:
        _refuse_index(path, " ".join(str(error).split()), error)
    files = table.get("weight_map") if isinstance(table, dict) else None
    texts = table.get("metadata", {}) if isinstance(table, dict) else None
    if not isinstance(files, dict) or not isinstance(texts, dict):
        _refuse_index(path, "no weight_map, or metadata of another kind")
    for file in files.values():
        if not isinstance(file, str) or {file} & {"", ".", ".."} or {*file} & {*"/\\\0"}:
            _refuse_index(path, f"{shown(file)} for the name of a file")
    return files, {key: text for key, text in texts.items() if isinstance(text, str)}


def _refuse_index(path: str, reason: str, error: Exception | None = None) -> NoReturn:
    msg = f"load: {path} must be an index of shards, got: {reason}"
    raise ValueError(msg) from error


def _read_shards(path: str) -> tuple[dict[str, Tensor], dict[str, str]]:
    files, metadata = _index(path)
    there = {}
    for file in dict.fromkeys(files.values()):
        there[file], _ = read_file("load", os.path.join(os.path.dirname(path), file))
    for key, file in files.items():
        if key not in there[file]:  # serialization-13
            _refuse_index(path, f"{key!r}, which {file} does not have")
    return {key: there[file][key] for key, file in files.items()}, metadata


def _found(path: str) -> str:
    """Return the path of the file that a path stands for."""
    if not os.path.isdir(path):
        return path
    for name in (f"model.safetensors{_INDEX}", "model.safetensors"):
        if os.path.isfile(file := os.path.join(path, name)):
            return file
    msg = f"load: path must be a file or hold model.safetensors, got the directory {path}"
    raise IsADirectoryError(msg)


def _renamed(arrays: Mapping[str, Tensor], names: Any) -> dict[str, Tensor]:
    """Return the entries under new names, without those whose new name is None."""
    renamed, former = dict[str, Tensor](), dict[str, str]()
    for key, array in arrays.items():
        new = names.get(key, key) if isinstance(names, Mapping) else names(key)
        if new is None:
            continue
        if not isinstance(new, str):
            msg = f"load: names must give a str or None, got {shown(new)} for {key!r}"
            raise TypeError(msg)
        if new in former:  # serialization-11
            msg = f"load: names must differ, got {new!r} for {former[new]!r} and {key!r}"
            raise ValueError(msg)
        renamed[new], former[new] = array, key
    return renamed


def _content(arrays: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    return safetensors.torch.save(dict(arrays), dict(metadata) or None)


def _target(name: str, path: Path) -> Path:
    """Return the file that a path leads to, or raise if it leads to none."""
    target = Path(os.path.realpath(path))  # serialization-08
    if target.is_symlink():  # One that is left leads in a circle.
        msg = f"{name}: path must lead to a file, got a circle of links at {target}"
        raise OSError(errno.ELOOP, msg)
    if target.is_dir():
        msg = f"{name}: path must be a file, got the directory {target}"
        raise IsADirectoryError(msg)
    return target


def _replace(name: str, files: Sequence[_File]) -> None:
    """Write all under other names and read them back, before the first takes its place."""
    parts = [target.with_name(f".{target.name}.{secrets.token_hex(8)}") for target, _, _ in files]
    parts = [part.with_name(f"{part.name}.part") for part in parts]
    try:
        with _named(name):
            for part, (target, content, is_index) in zip(parts, files, strict=True):
                with part.open("xb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                _check_written(name, part, is_index)
                if target.exists():
                    part.chmod(stat.S_IMODE(target.stat().st_mode))
            _take_places(parts, [target for target, _, _ in files])
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def _take_places(parts: Sequence[Path], targets: Sequence[Path]) -> None:
    """Rename files, all or none."""
    kept: list[tuple[Path, Path | None]] = []
    try:
        for part, target in zip(parts, targets, strict=True):
            several = len(parts) > 1 and target.exists()
            kept.append((target, _kept(target, part.with_suffix(".old")) if several else None))
            part.replace(target)
    except BaseException:
        for target, old in kept if len(parts) > 1 else []:
            if old is not None:
                old.replace(target)
            else:
                target.unlink(missing_ok=True)
        raise
    finally:
        for _, old in kept:
            if old is not None:
                old.unlink(missing_ok=True)


def _kept(target: Path, old: Path) -> Path:
    """Give a file another name beside its own."""
    try:
        os.link(target, old)
    except OSError:  # A file system without links.
        shutil.copy2(target, old)
    return old


@contextmanager
def _named(name: str) -> Iterator[None]:
    """Put `name` in front of the system's reason where a file cannot be read or written."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise type(error)(error.errno, f"{name}: {error.strerror}", error.filename) from error


def _check_written(name: str, path: Path, is_index: bool) -> None:  # serialization-07
    if is_index:
        json.loads(path.read_bytes())
        return
    try:
        safetensors.torch.load(path.read_bytes())
    except SafetensorError as error:
        msg = f"{name}: what was written to {path} cannot be read: {error}"
        raise OSError(msg) from error


def _utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
