"""Checkpoints: all that training needs to go on, in one safetensors file (serialization-15)."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, NoReturn

import numpy as np

from impl_cupy import random
from impl_cupy.backend import cp
from impl_cupy.checks import check_flag, type_name
from impl_cupy.creation import get_rng_state, rng_state
from impl_cupy.module import Module
from impl_cupy.module.state import load_into
from impl_cupy.serialization.files import (
    Arrays,
    PathLike,
    check_metadata,
    encoded,
    host_arrays,
    path_of,
    read,
    write,
)
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

_SAVE, _LOAD = "save_checkpoint", "load_checkpoint"
_FORMAT, _VERSION = "nn-checkpoint", "1"
_STATES = ("optimizer", "scheduler")
_PARTS = ("module", *_STATES, "generator")


class Checkpoint(NamedTuple):
    """What `load_checkpoint` returns.

    Attributes
    ----------
    position : object
        What `save_checkpoint` was given; None if nothing.
    metadata : dict of str to str
    """

    position: Any
    metadata: dict[str, str]


def save_checkpoint(
    path: PathLike,
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
    position: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what training needs to go on as one safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or path
    module : Module, optional
    optimizer, scheduler : object, optional
        With ``state_dict()`` and ``load_state_dict(state)``. The state may hold None, booleans,
        numbers, strings, arrays, and lists, tuples and mappings of them.
    generator : bool
        Whether the state of the generator is saved.
    position : object, optional
        Where training stands, in your own words: as a state, but without arrays.
    metadata : mapping of str to str, optional

    Raises
    ------
    TypeError
        That names the argument and the type of what cannot be saved, and the way to it.
    ValueError
        That names what the format cannot hold.
    OSError
        That names the path, if it cannot be written; nothing has changed then.
    """
    spelled = path_of(_SAVE, path)
    given = _given(_SAVE, module, optimizer, scheduler)
    arrays: dict[str, Any] = {}
    texts = {"format": _FORMAT, "version": _VERSION}
    texts["metadata"] = json.dumps(check_metadata(_SAVE, metadata) or {})
    texts["position"] = _text("position", position, None)
    for part, target in given.items():
        if part == "module":
            arrays |= {f"module.{name}": value for name, value in target.state_dict().items()}
        else:
            texts[part] = _text(part, target.state_dict(), arrays)
    parts = list(given)
    if check_flag(_SAVE, "generator", generator):
        parts.append("generator")
        arrays["generator"] = get_rng_state()
    texts["parts"] = json.dumps(parts)
    write(_SAVE, {spelled: partial(encoded, _SAVE, host_arrays(_SAVE, arrays), texts)})


def _given(operation: str, module: Any, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    """Return the parts that are not None, by name."""
    values = {"module": module, "optimizer": optimizer, "scheduler": scheduler}
    given = {part: value for part, value in values.items() if value is not None}
    for part, value in given.items():
        if part == "module":
            fits, wanted = isinstance(value, Module), "a Module"
        else:
            methods = (getattr(value, name, None) for name in ("state_dict", "load_state_dict"))
            fits = not isinstance(value, type) and all(map(callable, methods))
            wanted = "an object with state_dict and load_state_dict"
        if not fits:
            msg = f"{operation}: {part} must be {wanted}, got {type_name(value)}"
            raise TypeError(msg)
    return given


def _text(part: str, value: Any, arrays: dict[str, Any] | None) -> str:
    """Write a state or a position as JSON, and put its arrays into `arrays`."""
    try:
        return json.dumps(_written(value, part, arrays), allow_nan=False)
    except RecursionError:
        msg = f"{_SAVE}: {part} must not hold itself, got {type_name(value)} in a circle"
        raise TypeError(msg) from None


def _written(value: Any, where: str, arrays: dict[str, Any] | None) -> Any:
    """Return a value as JSON has it; `where` is the way to it, joined by dots."""
    if isinstance(value, (Tensor, cp.ndarray, np.ndarray)) and arrays is not None:
        if where in arrays:
            msg = f"{_SAVE}: arrays must have different names, got two of the name {where}"
            raise ValueError(msg)
        arrays[where] = value
        return {"array": where}
    if isinstance(value, Mapping):
        pairs = [[_written_key(key, where), part] for key, part in value.items()]
        return {"dict": [[key, _written(part, f"{where}.{key}", arrays)] for key, part in pairs]}
    if isinstance(value, (list, tuple)):
        items = [_written(part, f"{where}.{place}", arrays) for place, part in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return number if math.isfinite(number) else {"float": str(number)}
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, (int, np.integer)):
        return int(value)
    if value is None or isinstance(value, str):
        return value
    kinds = "None, a boolean, number, string, list, tuple or mapping"
    kinds += "" if arrays is None else ", or an array"
    msg = f"{_SAVE}: {where} must be {kinds}, got {type_name(value)}"
    raise TypeError(msg)


def _written_key(key: Any, where: str) -> str | int:
    if isinstance(key, str):
        return key
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        return int(key)
    msg = f"{_SAVE}: {where} must have keys that are str or int, got {key!r}, {type_name(key)}"
    raise TypeError(msg)


def load_checkpoint(
    path: PathLike,
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
) -> Checkpoint:
    """Put back what `save_checkpoint` wrote, here or in another implementation: all or nothing.

    Parameters
    ----------
    path : str or path
    module : Module, optional
    optimizer, scheduler : object, optional
        With ``state_dict()`` and ``load_state_dict(state)``.
    generator : bool
        Whether the generator goes on from where it stood, if the file tells.

    Returns
    -------
    Checkpoint
        A named tuple ``(position, metadata)``.

    Raises
    ------
    TypeError
        If `path` is no path, or an argument is of another kind.
    FileNotFoundError
        With the path, if there is no file.
    ValueError
        That names the path and the reason, if the file is damaged, no checkpoint, or has not what
        is asked for. What `load_state_dict` raises comes as it is.
    """
    source = path_of(_LOAD, path)
    given = _given(_LOAD, module, optimizer, scheduler)
    wants_generator = check_flag(_LOAD, "generator", generator)
    arrays, texts = read(_LOAD, source)
    try:
        parts, result = _opened(texts, arrays)
        missing = [part for part in given if part not in parts]
        states = {
            part: _state(part, texts, arrays) for part in given if part != "module" and not missing
        }
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        msg = f"{_LOAD}: {source} is no checkpoint: {reason}"
        raise ValueError(msg) from error
    if missing:
        msg = f"{_LOAD}: {source} has no {' and no '.join(missing)}, it has {', '.join(parts)}"
        raise ValueError(msg)
    prefix = "module."
    states["module"] = {
        name.removeprefix(prefix): value
        for name, value in arrays.items()
        if name.startswith(prefix)
    }
    goes_on = wants_generator and "generator" in parts
    words = rng_state("set_rng_state", arrays["generator"]) if goes_on else None
    _put_back(given, states, words)
    return result


def _opened(texts: Mapping[str, str], arrays: Arrays) -> tuple[list[str], Checkpoint]:
    """Return which parts a file has, with its position and metadata.

    Raises
    ------
    ValueError
        With the reason, if it is no checkpoint of this version.
    """
    for key, wanted in (("format", _FORMAT), ("version", _VERSION)):
        if texts.get(key) != wanted:
            msg = f"{key} must be {wanted!r}, got {texts.get(key)!r}"
            raise ValueError(msg)
    parts = _json("parts", texts)
    if not isinstance(parts, list) or any(part not in _PARTS for part in parts):
        msg = f"parts must be a list of {', '.join(_PARTS)}, got {parts}"
        raise ValueError(msg)
    if "generator" in parts and "generator" not in arrays:
        _refuse("there is no entry 'generator'")
    metadata = _json("metadata", texts)
    if not isinstance(metadata, dict) or any(not isinstance(v, str) for v in metadata.values()):
        _refuse("metadata must be an object of strings")
    return parts, Checkpoint(_read(_json("position", texts), {}), metadata)


def _refuse(reason: str) -> NoReturn:
    raise ValueError(reason)


def _json(key: str, texts: Mapping[str, str]) -> Any:
    if key not in texts:
        _refuse(f"the metadata have no {key!r}")
    try:
        return json.loads(texts[key], parse_constant=_refuse)
    except ValueError as error:
        msg = f"{key} is no JSON: {error}"
        raise ValueError(msg) from None


def _state(part: str, texts: Mapping[str, str], arrays: Arrays) -> Any:
    own = {name: value for name, value in arrays.items() if name.split(".", 1)[0] == part}
    return _read(_json(part, texts), own)


def _read(value: Any, arrays: Arrays) -> Any:
    """Return the value that JSON stands for (serialization-15)."""
    if isinstance(value, list):
        return [_read(part, arrays) for part in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("float", "nan" | "inf" | "-inf" as number)]:
            return float(number)
        case [("tuple", list(parts))]:
            return tuple([_read(part, arrays) for part in parts])
        case [("array", str(name))] if name in arrays:
            return wrap(cp.asarray(arrays[name]))
        case [("dict", list(pairs))]:
            return dict([_read_pair(pair, arrays) for pair in pairs])
    return _refuse(f"no value is written so: {' '.join(repr(value).split())[:60]}")


def _read_pair(pair: Any, arrays: Arrays) -> tuple[str | int, Any]:
    match pair:
        case [str() | int() as key, value] if not isinstance(key, bool):
            return key, _read(value, arrays)
    return _refuse("a mapping must be pairs of a string or int and a value")


def _put_back(
    given: Mapping[str, Any], states: Mapping[str, Any], words: random.State | None
) -> None:
    """Load every part and let the generator go on; undo it all if one refuses."""
    before = {part: _present(target) for part, target in given.items()}
    touched = []
    try:
        with random.RestoredOnError():
            for part, target in given.items():
                touched.append(part)
                target.load_state_dict(states[part])
            if words is not None:
                random.set_state(words)
    except BaseException:
        for part in touched:
            # The first exception is the one to tell of.
            with suppress(Exception), random.DrawnAgain(random.mark()):
                _undo(given[part], before[part])
        raise


def _present(target: Any) -> Any:
    """Return copies of what is loaded into."""
    if isinstance(target, Module):
        return {name: value._data.copy() for name, value in target._entries()}
    return copy.deepcopy(target.state_dict())


def _undo(target: Any, before: Any) -> None:
    if isinstance(target, Module):
        load_into(type(target).__name__, target._entries(), before, True)
    else:
        target.load_state_dict(before)
