"""Checkpoints: what training needs to go on, in one safetensors file."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import numpy as np

from impl_numpy.checks import as_number, check_flag, shown
from impl_numpy.creation import get_rng_state, set_rng_state
from impl_numpy.dtypes import FIVE
from impl_numpy.module import Module
from impl_numpy.parameter import overwrite
from impl_numpy.serialization.files import (
    Arrays,
    Path,
    array_of,
    check_entry,
    check_file,
    laid_out,
    path_of,
    read,
    texts_of,
    write,
)
from impl_numpy.tensor import Tensor, wrap

FORMAT, VERSION = "nn-checkpoint", "1"
PARTS = ("module", "optimizer", "scheduler", "generator")
FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Checkpoint(NamedTuple):
    """What `load_checkpoint` returns: what was saved beside the states."""

    position: Any
    metadata: dict[str, str]


def save_checkpoint(
    path: Path,
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
    position: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what training needs to go on as if it had not been stopped.

    Parameters
    ----------
    path : str or os.PathLike
    module : Module, optional
    optimizer, scheduler : objects with `state_dict` and `load_state_dict`, optional
        Their states are None, booleans, numbers, strings and arrays, in lists, tuples and mappings.
    generator : bool
        Save the state of the generator.
    position : object, optional
        Where training stands; made as a state is, without arrays.
    metadata : mapping of str to str, optional

    Raises
    ------
    TypeError
        If something is of another kind; no file is touched.
    ValueError
        If the format does not hold a name or a text, or two arrays come to have one name.
    OSError
        If the path is that of a directory, or the file cannot be written.
    """
    operation = "save_checkpoint"
    place = path_of(operation, path)
    check_file(operation, place)
    _check_parts(operation, module, optimizer, scheduler)
    generator = check_flag(operation, "generator", generator)
    writer = _Writer()
    beside = texts_of(operation, metadata)
    texts = {"format": FORMAT, "version": VERSION}
    if module is not None:
        for name, value in module.state_dict().items():
            writer.keep("module", f"module.{name}", value)
    for part, owner in (("optimizer", optimizer), ("scheduler", scheduler)):
        if owner is not None:
            texts[part] = writer.text(part, owner.state_dict())
    if generator:
        writer.keep("generator", "generator", get_rng_state())
    saved = zip(PARTS, (module, optimizer, scheduler, generator or None), strict=True)
    texts["parts"] = json.dumps([part for part, owner in saved if owner is not None])
    texts["position"] = writer.text("position", position)
    texts["metadata"] = json.dumps(beside)
    write(operation, place, writer.arrays, texts)


def load_checkpoint(
    path: Path,
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
) -> Checkpoint:
    """Put a checkpoint back into what is given, all of it or nothing.

    Parameters
    ----------
    path : str or os.PathLike
    module : Module, optional
    optimizer, scheduler : objects with `state_dict` and `load_state_dict`, optional
    generator : bool
        Put back the state of the generator too, where the file has one.

    Returns
    -------
    Checkpoint
        The named tuple (position, metadata).

    Raises
    ------
    FileNotFoundError, OSError
        If the file cannot be read.
    ValueError
        If it is damaged, of another kind or version, or lacks a part that is asked for.
    TypeError
        If something is of another kind. What `load_state_dict` raises comes as it is; whatever is
        raised, nothing has changed.
    """
    operation = "load_checkpoint"
    place = path_of(operation, path)
    _check_parts(operation, module, optimizer, scheduler)
    generator = check_flag(operation, "generator", generator)
    reader = _Reader(place)
    asked = [("optimizer", optimizer), ("scheduler", scheduler)]
    for part, owner in (("module", module), *asked):
        if owner is not None and part not in reader.parts:
            msg = f"{operation}: {place} has no {part}, got {shown(reader.parts)}"
            raise ValueError(msg)
    result = Checkpoint(reader.value("position"), reader.beside())
    loads: list[tuple[Callable[[Any], Any], Any, Callable[[], Any]]] = []
    if module is not None:
        loads.append((module.load_state_dict, reader.module(), _restorer(module)))
    for part, owner in asked:
        if owner is not None:
            before = copy.deepcopy(owner.state_dict())
            undo = _bound(owner.load_state_dict, before)
            loads.append((owner.load_state_dict, reader.value(part), undo))
    if generator and "generator" in reader.parts:
        undo = _bound(set_rng_state, get_rng_state())
        loads.append((set_rng_state, reader.tensor("generator"), undo))
    undone = []
    try:
        for load, state, undo in loads:
            undone.append(undo)
            load(state)
    except BaseException:
        for undo in reversed(undone):
            with suppress(Exception):  # serialization-16
                undo()
        raise
    return result


def _bound(function: Callable[[Any], Any], argument: Any) -> Callable[[], Any]:
    return lambda: function(argument)


def _restorer(module: Module) -> Callable[[], None]:
    """Return what puts the present values of a Module back into it."""
    before = [(tensor, tensor._data.copy()) for _, tensor in module._named_state()]

    def restore() -> None:
        for tensor, values in before:
            overwrite(tensor, values)

    return restore


def _check_parts(operation: str, module: Any, optimizer: Any, scheduler: Any) -> None:
    """Raise TypeError for what has no state that can be saved and loaded."""
    if module is not None and not isinstance(module, Module):
        got = f"{type(module).__name__} {shown(module)}"
        msg = f"{operation}: module must be a Module, got {got}"
        raise TypeError(msg)
    for name, owner in (("optimizer", optimizer), ("scheduler", scheduler)):
        methods = [getattr(owner, f"{way}state_dict", None) for way in ("", "load_")]
        if owner is not None and (isinstance(owner, type) or not all(map(callable, methods))):
            got = f"{type(owner).__name__} {shown(owner)}"
            msg = f"{operation}: {name} must have state_dict and load_state_dict, got {got}"
            raise TypeError(msg)


class _Writer:
    """Makes the JSON texts of states, and collects their arrays (serialization-15)."""

    def __init__(self) -> None:
        self.arrays: Arrays = {}

    def text(self, part: str, state: Any) -> str:
        """Return the JSON text of a state."""
        try:
            plain = self._plain(part, (), state)
        except RecursionError:
            msg = f"save_checkpoint: {part} must not be nested so deep, nor hold itself"
            raise ValueError(msg) from None
        try:
            return json.dumps(plain)
        except (RecursionError, ValueError) as error:
            # Python spells no int of some thousand digits.
            msg = f"save_checkpoint: {part} cannot be spelled in JSON: {error}"
            raise ValueError(msg) from None

    def keep(self, part: str, name: str, value: Any) -> None:
        """Keep an array under a name in the file."""
        array = array_of(value)
        if array is None or array.dtype not in FIVE:
            got = type(value).__name__ if array is None else f"the dtype {array.dtype}"
            msg = f"save_checkpoint: {part} cannot be saved, got {got} at {name}"
            raise TypeError(msg)
        check_entry("save_checkpoint", name)
        if name in self.arrays:
            msg = f"save_checkpoint: {part} has two arrays of the name {name}"
            raise ValueError(msg)
        self.arrays[name] = laid_out(array)

    def _plain(self, part: str, way: tuple[str, ...], value: Any) -> Any:
        number = as_number(value)
        if number is not None and not isinstance(number, (bool, int)):
            return float(number) if math.isfinite(number) else {"float": str(float(number))}
        if number is not None:
            return number if isinstance(number, bool) else int(number)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, (list, tuple)):
            items = [self._plain(part, (*way, str(k)), x) for k, x in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            pairs = ((self._key(part, way, key), x) for key, x in value.items())
            return {"dict": [[key, self._plain(part, (*way, str(key)), x)] for key, x in pairs]}
        if part == "position" or (not isinstance(value, (Tensor, np.ndarray))):
            self._refuse(part, way, value, "None, numbers, strings, arrays or containers of them")
        name = ".".join((part, *way))
        self.keep(part, name, value)
        return {"array": name}

    def _key(self, part: str, way: tuple[str, ...], key: Any) -> str | int:
        if isinstance(key, str):
            return key
        if isinstance(key, (bool, np.bool)) or not isinstance(key, (int, np.integer)):
            self._refuse(part, way, key, "strings or ints as keys")
        return int(key)

    def _refuse(self, part: str, way: tuple[str, ...], value: Any, wanted: str) -> NoReturn:
        at = f" at {'.'.join(way)}" if way else ""
        got = f"{type(value).__name__} {shown(value)}"
        wanted = wanted.replace("arrays, ", "") if part == "position" else wanted
        msg = f"save_checkpoint: {part} must hold {wanted}, got {got}{at}"
        raise TypeError(msg)


class _Reader:
    """Reads the file of a checkpoint.

    Raises
    ------
    ValueError
        Of whatever is not as `serialization-15` has it; the message names the path and the reason.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.arrays, self.texts = read("load_checkpoint", path)
        for name, wanted in (("format", FORMAT), ("version", VERSION)):
            if self.texts.get(name) != wanted:
                got = shown(self.texts.get(name))
                self._fail(f"is no checkpoint with the {name} {wanted!r}, got {got}")
        self.parts = self._json("parts")
        known = isinstance(self.parts, list) and all(part in PARTS for part in self.parts)
        if not known:
            self._fail(f"must name its parts, got {shown(self.parts)}")

    def value(self, name: str) -> Any:
        """Return what a text stands for."""
        try:
            return self._made(self._json(name))
        except RecursionError:
            self._fail(f"has a text {name} that is nested too deep")

    def beside(self) -> dict[str, str]:
        """Return the metadata that came with the checkpoint."""
        texts = self._json("metadata")
        if not isinstance(texts, dict) or not all(isinstance(x, str) for x in texts.values()):
            self._fail(f"must have strings as metadata, got {shown(texts)}")
        return texts

    def module(self) -> dict[str, Tensor]:
        """Return the state dict of the Module."""
        start = "module."
        names = [name for name in self.arrays if name.startswith(start)]
        return {name.removeprefix(start): self.tensor(name) for name in names}

    def tensor(self, name: Any) -> Tensor:
        """Return an array of the file as a Tensor."""
        if not isinstance(name, str) or name not in self.arrays:
            self._fail(f"has no array {shown(name)}")
        return wrap(np.array(self.arrays[name]), None)

    def _made(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._made(item) for item in value]
        if not isinstance(value, dict):
            return value
        ((kind, content),) = value.items() if len(value) == 1 else [("", None)]
        if kind == "array":
            return self.tensor(content)
        if kind == "float" and isinstance(content, str) and content in FLOATS:
            return FLOATS[content]
        if kind == "tuple" and isinstance(content, list):
            return tuple([self._made(item) for item in content])
        if kind == "dict" and isinstance(content, list) and all(map(_is_pair, content)):
            return {key: self._made(item) for key, item in content}
        self._fail(f"has what is no part of a state: {shown(value)}")

    def _json(self, name: str) -> Any:
        try:
            return json.loads(self.texts[name], parse_constant=_no_number)
        except KeyError:
            self._fail(f"has no text {name}")
        except (ValueError, RecursionError) as error:
            self._fail(f"has a text {name} that is no JSON: {' '.join(str(error).split())}")

    def _fail(self, reason: str) -> NoReturn:
        msg = f"load_checkpoint: {self.path} {reason}"
        raise ValueError(msg)


def _no_number(text: str) -> NoReturn:
    msg = f"{text} is no number of JSON"
    raise ValueError(msg)


def _is_pair(item: Any) -> bool:
    """Tell whether an item is a key of a state and a value."""
    if not isinstance(item, list) or len(item) != 2:
        return False
    return isinstance(item[0], (str, int)) and not isinstance(item[0], bool)
