"""Checkpoints: what a training needs to go on, in one file."""

import copy
import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, NoReturn

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.checks import check_flag, shown
from impl_torch_ext.creation import get_rng_state, set_rng_state
from impl_torch_ext.dtypes import plain_number
from impl_torch_ext.serialization.files import (
    array_of,
    checked_metadata,
    checked_path,
    checked_tensors,
    read_file,
    write_file,
)

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint"]

_FORMAT = {"format": "nn-checkpoint", "version": "1"}
_FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Checkpoint(NamedTuple):
    """What `load_checkpoint` returns."""

    position: Any
    metadata: dict[str, str]


def save_checkpoint(
    path: Any,
    *,
    module: torch.nn.Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
    position: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what a training needs to go on to one safetensors file, as a whole or not at all.

    Parameters
    ----------
    path : path
    module : Module, optional
    optimizer, scheduler : optional
        Objects with `state_dict` and `load_state_dict`.
    generator : bool
        Whether the state of the generator is saved.
    position : optional
        Numbers, strings, None, lists, tuples and mappings, for the caller's use.
    metadata : mapping of str to str, optional

    Raises
    ------
    TypeError
        If an argument, or something in a state, is of a kind that the file does not hold.
    ValueError
        If two arrays get one name, or the format does not hold a name or a text.
    OSError
        If the file cannot be written.
    """
    name = "save_checkpoint"
    _check_parts(name, module, optimizer, scheduler)
    arrays: dict[str, Any] = {}
    texts = {**_FORMAT}
    saved = []
    if module is not None:
        saved.append("module")
        for key, value in module.state_dict().items():
            arrays[f"module.{key}"] = array_of(name, f"module.{key}", value)
    for part, thing in (("optimizer", optimizer), ("scheduler", scheduler)):
        if thing is not None:
            saved.append(part)
            texts[part] = _text(part, thing.state_dict(), arrays)
    if check_flag(name, "generator", generator):
        saved.append("generator")
        arrays["generator"] = get_rng_state()
    texts["parts"] = json.dumps(saved)
    texts["position"] = _text("position", position, None)
    texts["metadata"] = json.dumps(checked_metadata(name, metadata))
    write_file(name, path, arrays, texts)


def load_checkpoint(
    path: Any,
    *,
    module: torch.nn.Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
) -> Checkpoint:
    """Put a checkpoint back into what is given, as a whole or not at all.

    Parameters
    ----------
    path : path
    module : Module, optional
        One of the same names and shapes.
    optimizer, scheduler : optional
        Objects with `state_dict` and `load_state_dict`.
    generator : bool
        Whether the generator goes on from where it was saved, if it was.

    Returns
    -------
    named tuple
        `position` and `metadata`, as they were saved.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, no checkpoint, or lacks what is asked for.
    RuntimeError
        If it does not fit the Module.
    """
    name = "load_checkpoint"
    _check_parts(name, module, optimizer, scheduler)
    generator = check_flag(name, "generator", generator)
    place = checked_path(name, path)
    arrays, parts = _read(name, place)
    asked = {"module": module, "optimizer": optimizer, "scheduler": scheduler}
    for part, thing in asked.items():
        if thing is not None and part not in parts["parts"]:  # serialization-14
            msg = f"{name}: {place} must have the part {part}, got {parts['parts']}"
            raise ValueError(msg)
    with _whole(module, optimizer, scheduler):
        if generator and "generator" in parts["parts"]:
            set_rng_state(arrays["generator"])
        if module is not None:
            begin = "module."
            state = {k.removeprefix(begin): x for k, x in arrays.items() if k.startswith(begin)}
            module.load_state_dict(state)
        for part in ("optimizer", "scheduler"):
            if asked[part] is not None:
                asked[part].load_state_dict(parts[part])
    return Checkpoint(parts["position"], parts["metadata"])


def _check_parts(name: str, module: Any, optimizer: Any, scheduler: Any) -> None:
    if not isinstance(module, torch.nn.Module | None):
        msg = f"{name}: module must be a Module, got {type(module).__name__}"
        raise TypeError(msg)
    for part, thing in (("optimizer", optimizer), ("scheduler", scheduler)):
        for method in ("state_dict", "load_state_dict"):
            if thing is not None and not callable(getattr(thing, method, None)):
                msg = f"{name}: {part} must have a method {method}, got {type(thing).__name__}"
                raise TypeError(msg)


def _text(part: str, value: Any, arrays: dict[str, Any] | None) -> str:
    """Return a part as JSON, and put its arrays into `arrays`."""
    try:
        return json.dumps(_written(part, "", value, arrays))
    except (RecursionError, ValueError) as error:
        if str(error).startswith("save_checkpoint"):
            raise
        msg = f"save_checkpoint: {part} must be what JSON holds, got: {error}"
        raise ValueError(msg) from error


def _written(part: str, way: str, value: Any, arrays: dict[str, Any] | None) -> Any:
    """Return what stands for a value in JSON (serialization-15)."""

    def inside(key: Any, item: Any) -> Any:
        return _written(part, f"{way}.{key}" if way else str(key), item, arrays)

    value = plain_number(value)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, tuple | list):
        items = [inside(i, item) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, Mapping):
        return {"dict": [[_key(part, way, k), inside(k, item)] for k, item in value.items()]}
    if arrays is None or not isinstance(value, Tensor | np.ndarray):
        arrays_too = "" if arrays is None else " or arrays"
        _refuse(part, way, f"None, numbers, strings, lists, tuples, mappings{arrays_too}", value)
    name = f"{part}.{way}" if way else part
    if name in arrays:
        msg = f"save_checkpoint: {part}: the arrays must have different names, got two {name!r}"
        raise ValueError(msg)
    arrays[name] = array_of("save_checkpoint", name, value)
    return {"array": name}


def _key(part: str, way: str, key: Any) -> Any:
    key = plain_number(key)
    if isinstance(key, bool) or not isinstance(key, str | int):
        _refuse(part, way, "a mapping with keys that are strings or ints", key)
    return key


def _refuse(part: str, way: str, wanted: str, came: Any) -> NoReturn:
    place = f"{part}: {way}" if way else part
    msg = f"save_checkpoint: {place} must be {wanted}, got {type(came).__name__}"
    raise TypeError(msg)


def _read(name: str, path: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the Tensors of a checkpoint and its parts, or raise a ValueError if it is none."""
    read, texts = read_file(name, path)
    arrays = checked_tensors(name, read)
    for key, wanted in _FORMAT.items():
        if texts.get(key) != wanted:  # serialization-16
            msg = (
                f"{name}: {path} must be a checkpoint of {key} {wanted!r}, got "
                f"{shown(texts.get(key))}"
            )
            raise ValueError(msg)
    try:
        parts: dict[str, Any] = {k: json.loads(texts[k]) for k in texts if k not in _FORMAT}
        beside = parts["metadata"]
        strings = isinstance(beside, dict) and all(isinstance(x, str) for x in beside.values())
        if not isinstance(parts["parts"], list) or not strings:
            msg = "parts or metadata of another kind"
            raise TypeError(msg)
        for key in {"optimizer", "scheduler"} & {*parts["parts"]} | {"position"}:
            parts[key] = _back(parts[key], arrays)
        if "generator" in parts["parts"]:
            arrays["generator"]
    except (LookupError, TypeError, ValueError, RecursionError) as error:
        msg = f"{name}: {path} must be a checkpoint, got: {' '.join(str(error).split())}"
        raise ValueError(msg) from error
    return arrays, parts


def _back(value: Any, arrays: Mapping[str, Tensor]) -> Any:
    """Return what a value in JSON stands for; raise a KeyError or TypeError if for nothing."""
    if isinstance(value, list):
        return [_back(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    readers: dict[str, Callable[[Any], Any]] = {
        "float": _FLOATS.__getitem__,
        "tuple": lambda items: tuple(_back(item, arrays) for item in items),
        "dict": lambda pairs: {pair[0]: _back(pair[1], arrays) for pair in pairs},
        "array": arrays.__getitem__,
    }
    ((kind, content),) = value.items() if len(value) == 1 else [(shown(value), None)]
    return readers[kind](content)


@contextmanager
def _whole(module: torch.nn.Module | None, optimizer: Any, scheduler: Any) -> Iterator[None]:
    """Leave everything as it was where something raises (serialization-16)."""
    state = get_rng_state()
    things = [thing for thing in (optimizer, scheduler) if thing is not None]
    befores = [copy.deepcopy(thing.state_dict()) for thing in things]
    values = {k: v.clone() for k, v in _memory(module).items()}
    try:
        yield
    except BaseException:
        # What a scheduler puts back may change the optimizer, so that this comes later.
        for thing, before in reversed([*zip(things, befores, strict=True)]):
            with suppress(Exception):
                thing.load_state_dict(before)
        with torch.no_grad():
            for key, value in _memory(module).items():
                value.copy_(values[key])
        set_rng_state(state)
        raise


def _memory(module: torch.nn.Module | None) -> dict[str, Tensor]:
    """Return every parameter and buffer of a Module."""
    if module is None:
        return {}
    return {
        **{f"p.{name}": p.detach() for name, p in module.named_parameters()},
        **{f"b.{name}": b for name, b in module.named_buffers()},
    }
