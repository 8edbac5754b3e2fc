"""Files of Tensors: safetensors, written whole or not at all, in one file or in several."""

import contextlib
import errno
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from ..checks import check_five, check_flag, check_int, check_path, refuse, refuse_type, shown
from ..creation import tensor
from ..dtypes import native
from ..module import Module
from ..tape import Traced, unwrap
from ..tensor import Tensor

Arrays = dict[str, Any]
Metadata = dict[str, str]
Names = Mapping[str, str | None] | Callable[[str], str | None] | None
# What makes a file's content, and the check that it reads back.
Content = tuple[Callable[[], bytes], Callable[[bytes], bool]]

_INDEX = ".index.json"
_WHOLE = "model.safetensors"


def save(
    obj: Any,
    path: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    *,
    max_shard_size: int | None = None,
) -> None:
    """Write a Module's state dict, or a mapping of names to arrays, to a safetensors file.

    The file is written under a temporary name beside `path`, read back and renamed. A symbolic link
    stays one, and a file that is replaced keeps its permissions.

    Parameters
    ----------
    obj : Module or mapping from str to Tensor, jax.Array or numpy.ndarray
    path : str or os.PathLike
    metadata : mapping from str to str, optional
        What stands in the file beside the arrays.
    max_shard_size : int, optional
        The bytes of elements that one file may hold. If it takes several, they are written beside
        `path`, with an index in Hugging Face's form at `path` + ``.index.json``.

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
    texts = checked_metadata("save", metadata)
    arrays = _arrays(obj)
    if max_shard_size is None:
        write({target: content_of(arrays, texts)}, "save")
        return
    size = check_int("save", "max_shard_size", max_shard_size)
    if size < 1:
        refuse("save", "max_shard_size", "at least 1", size)
    _save_in_shards(target, arrays, texts, size)


def _save_in_shards(target: Path, arrays: Arrays, metadata: Metadata, size: int) -> None:
    shards = _shards(arrays, size)
    index = Path(f"{target}{_INDEX}")
    former = _former(index)
    if len(shards) == 1:
        contents = {target: content_of(arrays, metadata)}
        gone = [index]
    else:
        if "total_size" in metadata:
            refuse("save", "the keys of metadata", "others than total_size in an index", "it")
        files = [
            target.with_name(f"{target.stem}-{k:05}-of-{len(shards):05}{target.suffix}")
            for k in range(1, len(shards) + 1)
        ]
        places = {n: file.name for file, part in zip(files, shards, strict=True) for n in part}
        total = sum([array.nbytes for array in arrays.values()])
        read = {"metadata": {"total_size": total, **metadata}, "weight_map": places}
        text = (json.dumps(read, indent=2) + "\n").encode()
        contents = {
            file: content_of(part, metadata) for file, part in zip(files, shards, strict=True)
        }
        contents[index] = (lambda: text), (lambda there: there == text)
        gone = [target]
    write(contents, "save", target)
    for path in [*gone, *[target.with_name(name) for name in former]]:
        if path not in contents:
            with _named("save", path), contextlib.suppress(FileNotFoundError):
                path.unlink()


def _shards(arrays: Arrays, size: int) -> list[Arrays]:
    """Return the entries in parts, each but for single ones within `size` bytes."""
    shards: list[Arrays] = [{}]
    held = 0
    for name, array in arrays.items():
        if shards[-1] and held + array.nbytes > size:
            shards.append({})
            held = 0
        shards[-1][name] = array
        held += array.nbytes
    return shards


def _former(index: Path) -> list[str]:
    """Return the files that an index names which is to be replaced."""
    try:
        return list(dict.fromkeys(_index("save", index)[0].values()))
    except (OSError, ValueError):
        return []


def content_of(arrays: Arrays, metadata: Metadata) -> Content:
    """Return what makes the content of a file, and the check that it holds every bit."""

    def holds(content: bytes) -> bool:
        there = parse(content)
        return there.keys() == arrays.keys() and all(
            there[key].dtype == array.dtype
            and there[key].shape == array.shape
            and there[key].tobytes() == array.tobytes()
            for key, array in arrays.items()
        )

    return (lambda: serialize(arrays, metadata or None)), holds


def write(contents: Mapping[Path, Content], name: str, asked: Path | None = None) -> None:
    """Write files, each under a temporary name and read back before the first takes its place.

    Parameters
    ----------
    contents : mapping
        From the files, in the order in which they take their places, to what they hold.
    name : str
        The operation, for messages.
    asked : Path, optional
        One more path that must be no directory.
    """
    if asked is not None:
        with _named(name, asked):
            pass
    waiting: list[tuple[str, Path, Path]] = []
    former: dict[Path, str | None] = {}
    try:
        for target, content in contents.items():
            with _named(name, target):
                waiting.append((*_written(target, content), target))
        for temporary, real, target in waiting:
            with _named(name, target):
                if len(waiting) > 1:
                    former[real] = _copied(real)
                os.replace(temporary, real)
    except BaseException:
        for real, aside in former.items():
            with contextlib.suppress(OSError):
                os.unlink(real) if aside is None else os.replace(aside, real)
        raise
    finally:
        for path in (*(temporary for temporary, *_ in waiting), *filter(None, former.values())):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)


def _copied(real: Path) -> str | None:
    """Return the temporary name of a copy, to be put back where others fail, or None."""
    if not real.exists():
        return None
    handle, aside = tempfile.mkstemp(prefix=f".{real.name[:100]}.", dir=real.parent)
    os.close(handle)
    try:
        shutil.copy2(real, aside)
    except BaseException:
        os.unlink(aside)
        raise
    return aside


def _written(target: Path, content: Content) -> tuple[str, Path]:
    """Return a temporary file that was written and read back, and the place it is to take."""
    real = Path(os.path.realpath(target))  # serialization-08
    if real.is_symlink():
        raise OSError(errno.ELOOP, "The symbolic link points to itself")
    mode = stat.S_IMODE(real.stat().st_mode) if real.exists() else 0o666 & ~_umask()
    data, holds = content[0](), content[1]
    handle, temporary = tempfile.mkstemp(prefix=f".{real.name[:100]}.", dir=real.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if not holds(Path(temporary).read_bytes()):  # serialization-07
            raise OSError(errno.EIO, f"What was written for {target.name} reads back otherwise")
        os.chmod(temporary, mode)
    except BaseException:
        os.unlink(temporary)
        raise
    return temporary, real


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


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _arrays(obj: Any) -> Arrays:
    state = obj.state_dict() if isinstance(obj, Module) else obj
    if not isinstance(state, Mapping):
        refuse_type("save", "obj", "a Module or a mapping of names to arrays", obj)
    return {key: entry("save", key, value) for key, value in state.items()}


def entry(operation: str, key: Any, value: Any) -> np.ndarray[Any, Any]:
    """Return what a file holds under a name, or raise what `operation` says of it."""
    if not isinstance(key, str):
        refuse_type(operation, f"the key {key!r}", "a string", key)
    if key == "__metadata__" or not _is_utf8(key):
        refuse(operation, "each name", "one that a safetensors file can hold", repr(key))
    if not isinstance(value, Traced | jax.Array | np.ndarray):
        refuse_type(operation, repr(key), "a Tensor or an array", value)
    array = native(np.asarray(unwrap(value)))
    check_five(f"{operation}: {key!r}", array.dtype)
    # ascontiguousarray alone would give a 0-d array an axis.
    return np.ascontiguousarray(array).reshape(array.shape)


def checked_metadata(name: str, metadata: Any) -> Metadata:
    """Return metadata as a dict of strings, empty for None."""  # serialization-10
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        refuse_type(name, "metadata", "a mapping from strings to strings", metadata)
    for key, value in metadata.items():
        if not isinstance(key, str):
            refuse_type(name, f"the key {key!r} of metadata", "a string", key)
        if not isinstance(value, str):
            refuse_type(name, f"{key!r} in metadata", "a string", value)
        if not (_is_utf8(key) and _is_utf8(value)):
            refuse(name, f"{key!r} in metadata", "text that UTF-8 can spell", repr(value))
    return dict(metadata)


def _is_utf8(key: str) -> bool:
    try:
        key.encode()
    except UnicodeEncodeError:
        return False
    return True


def load(
    path: str | os.PathLike[str], return_metadata: bool = False, *, names: Names = None
) -> Any:
    """Read a safetensors file, or those of an index or a directory.

    Parameters
    ----------
    path : str or os.PathLike
        A file, an index (``.index.json``), or a directory with ``model.safetensors.index.json`` or
        ``model.safetensors``.
    return_metadata : bool
        Whether the metadata are returned too.
    names : mapping from str to str or None, or callable, optional
        What gives entries other names; None leaves one out.

    Returns
    -------
    dict from str to Tensor
        The same bits, dtypes and shapes. With `return_metadata` a tuple of it and of a dict of
        strings.

    Raises
    ------
    FileNotFoundError
        If there is no file; it names the path.
    ValueError
        If a file is damaged or of another kind; it names the path and the reason. If two entries
        come to have one name.
    TypeError
        If an array is of a dtype that no Tensor has; it names the key and the dtype. If `path` is
        no path, `names` neither mapping nor callable, or a new name no string.
    OSError
        If `path` cannot be read, or is a directory without these files.
    """
    target = check_path("load", path)
    with_metadata = check_flag("load", "return_metadata", return_metadata)
    if not (names is None or isinstance(names, Mapping) or callable(names)):
        msg = f"load: names must be a mapping or a callable, got {shown(names)}"
        raise TypeError(msg)
    for found in (target / f"{_WHOLE}{_INDEX}", target / _WHOLE):
        if target.is_dir() and found.is_file():
            target = found
    if target.name.endswith(_INDEX):
        arrays, metadata = _from_shards(target)
    else:
        arrays, metadata = read("load", target)
    renamed = _renamed(arrays, names)
    tensors = {new: made("load", target, key, arrays[key]) for new, key in renamed.items()}
    return (tensors, metadata) if with_metadata else tensors


def made(name: str, path: Path, key: str, array: np.ndarray[Any, Any]) -> Tensor:
    """Return the Tensor of an entry, or raise `TypeError` if no Tensor has its dtype."""
    check_five(f"{name}: {key!r} in {str(path)!r}", array.dtype)
    return tensor(array)


def read(name: str, path: Path) -> tuple[Arrays, Metadata]:
    """Return the arrays and the metadata of one file."""
    with _named(name, path):
        content = path.read_bytes()
    try:
        arrays = parse(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        msg = f"{name}: {str(path)!r} is no whole safetensors file: {reason}"
        raise ValueError(msg) from None
    return arrays, header.get("__metadata__") or {}


def _index(name: str, path: Path) -> tuple[dict[str, str], Metadata]:
    """Return the file of each entry, and the metadata, as an index has them."""
    with _named(name, path):
        content = path.read_bytes()
    try:
        index = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        _refuse_index(name, path, " ".join(str(error).split()))
    places = index.get("weight_map") if isinstance(index, dict) else None
    texts = index.get("metadata", {}) if isinstance(index, dict) else None
    if not isinstance(places, dict) or not isinstance(texts, dict):
        _refuse_index(name, path, "it must be an object with weight_map, and metadata, if any")
    for key, file in places.items():
        plain = isinstance(file, str) and file not in ("", ".", "..")
        if not plain or not {"/", "\\", "\0"}.isdisjoint(file):  # serialization-13
            _refuse_index(name, path, f"{key!r} must be in a file of a plain name, got {file!r}")
    return places, {key: text for key, text in texts.items() if isinstance(text, str)}


def _refuse_index(name: str, path: Path, reason: str) -> NoReturn:
    msg = f"{name}: {str(path)!r} is no index of safetensors files: {reason}"
    raise ValueError(msg) from None


def _from_shards(path: Path) -> tuple[Arrays, Metadata]:
    """Return the arrays that an index names, in its order, and its metadata."""
    places, metadata = _index("load", path)
    files = {file: read("load", path.with_name(file))[0] for file in dict.fromkeys(places.values())}
    for key, file in places.items():
        if key not in files[file]:
            _refuse_index("load", path, f"{file} does not have {key!r}")
    return {key: files[file][key] for key, file in places.items()}, metadata


def _renamed(keys: Iterable[str], names: Names) -> dict[str, str]:
    """Return the names in the file by the new ones."""
    found: dict[str, str] = {}
    for key in keys:
        new: Any = names(key) if callable(names) else key
        if isinstance(names, Mapping):
            new = names.get(key, key)
        if new is None:
            continue
        if not isinstance(new, str):
            msg = f"load: names must give a string or None for {key!r}, got {shown(new)}"
            raise TypeError(msg)
        if new in found:
            both = f"{found[new]!r} and {key!r}"
            refuse("load", "names", "others for different entries", f"{new!r} for {both}")
        found[new] = key
    return found
