"""Checkpoints: all that training needs to go on, in one safetensors file.

Arrays are entries of the file; all else of the states is JSON in its metadata.
"""

import copy
import json
import math
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from ..checks import as_number, check_flag, check_path, refuse, refuse_type
from ..creation import get_rng_state, set_rng_state
from ..module import Module
from ..optim.optimizer import Optimizer
from ..tape import Traced
from .files import Arrays, Metadata, checked_metadata, content_of, entry, made, read, write

_FORMAT, _VERSION = "nn-checkpoint", "1"
# More than any state is nested, and less than Python's own limit.
_DEEPEST = 100


class Checkpoint(NamedTuple):
    """What a checkpoint says beside the states: where training was, and the user's metadata."""

    position: Any
    metadata: Metadata


def save_checkpoint(
    path: str | os.PathLike[str],
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
    position: Any = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write what training needs to be resumed to one safetensors file, whole or not at all.

    Parameters
    ----------
    path : str or os.PathLike
    module : Module, optional
    optimizer, scheduler : object with ``state_dict`` and ``load_state_dict``, optional
        Their states are nests of dicts, lists, tuples, numbers, strings, None and arrays.
    generator : bool
        Whether the state of the random numbers is saved.
    position
        Where training is: such a nest without arrays.
    metadata : mapping from str to str, optional

    Raises
    ------
    TypeError
        If an argument, or something in a state, is of another kind; it names the way there.
    ValueError
        If two arrays have one name, or the format does not hold a name.
    OSError
        If the file cannot be written. It is untouched in each case.
    """
    name = "save_checkpoint"
    target = check_path(name, path)
    parts = _parts(name, module, optimizer, scheduler)
    texts = {"format": _FORMAT, "version": _VERSION}
    arrays: Arrays = {}
    if check_flag(name, "generator", generator):
        arrays["generator"] = entry(name, "generator", get_rng_state())
    texts["parts"] = json.dumps([*parts, *arrays])
    for part, owner in parts.items():
        state = owner.state_dict()
        if part == "module":
            arrays |= {f"module.{k}": entry(name, f"module.{k}", v) for k, v in state.items()}
        else:
            texts[part] = _Writer(part, arrays).text(state)
    texts["position"] = _Writer("position", None).text(position)
    texts["metadata"] = json.dumps(checked_metadata(name, metadata))
    write({target: content_of(arrays, texts)}, name)


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    module: Module | None = None,
    optimizer: Any = None,
    scheduler: Any = None,
    generator: bool = True,
) -> Checkpoint:
    """Put a checkpoint back into what is given, all of it or, where it raises, nothing.

    Parameters
    ----------
    path : str or os.PathLike
        What `save_checkpoint` wrote, of this or of another implementation.
    module, optimizer, scheduler
        What takes its state, by ``load_state_dict``; the file may hold more.
    generator : bool
        Whether the random numbers go on as they would have, where the file has their state.

    Returns
    -------
    Checkpoint
        A named tuple ``(position, metadata)``.

    Raises
    ------
    ValueError
        If the file is no checkpoint or is damaged, or does not hold what is asked for.
    FileNotFoundError
        If there is no file.
    TypeError
        If an argument is of another kind. What the ``load_state_dict`` methods raise comes as it
        is.
    """
    name = "load_checkpoint"
    target = check_path(name, path)
    parts = _parts(name, module, optimizer, scheduler)
    with_generator = check_flag(name, "generator", generator)
    file = _File(target)
    states = {part: file.state(part) for part in parts}
    found = Checkpoint(file.value("position"), file.metadata())
    with ExitStack() as undone:  # serialization-16
        for part, owner in parts.items():
            undone.callback(_undoing(owner))
            owner.load_state_dict(states[part])
        if with_generator and "generator" in file.parts:
            set_rng_state(file.array("generator"))
        undone.pop_all()
    return found


def _parts(name: str, module: Any, optimizer: Any, scheduler: Any) -> dict[str, Any]:
    """Return those that are there by their names, or raise `TypeError`."""
    if not (module is None or isinstance(module, Module)):
        refuse_type(name, "module", "a Module or None", module)
    for part, owner in (("optimizer", optimizer), ("scheduler", scheduler)):
        methods = [getattr(owner, method, None) for method in ("state_dict", "load_state_dict")]
        if owner is not None and (isinstance(owner, type) or not all(map(callable, methods))):
            refuse_type(name, part, "an object with state_dict and load_state_dict", owner)
    given = {"module": module, "optimizer": optimizer, "scheduler": scheduler}
    return {part: owner for part, owner in given.items() if owner is not None}


def _undoing(owner: Any) -> Callable[[], None]:
    """Return what gives an owner of a state back what it has."""
    if isinstance(owner, Module):
        held = [(t, t._data) for each in (owner.parameters(), owner.buffers()) for t in each]

        def undo() -> None:
            for tensor, data in held:
                tensor._data = data

        return undo
    before = owner.state_dict()
    if not isinstance(owner, Optimizer):
        before = copy.deepcopy(before)

    def back() -> None:
        with suppress(Exception):  # The first exception is the one that goes on.
            owner.load_state_dict(before)

    return back


class _Writer:
    """What writes the state of a part as JSON, its arrays beside it; None where there may be none.

    A way is the keys that lead to a value, joined by dots.
    """

    def __init__(self, part: str, arrays: Arrays | None) -> None:
        self._part = part
        self._arrays = arrays

    def text(self, value: Any) -> str:
        """Return the JSON text of a value."""
        plain = self._plain(value, ())
        try:
            return json.dumps(plain)
        except ValueError as error:  # Python writes no int of very many digits.
            msg = f"save_checkpoint: {self._part} cannot be written: {error}"
            raise ValueError(msg) from None

    def _plain(self, value: Any, way: tuple[str, ...]) -> Any:
        """Return a value in the form that stands in the text."""  # serialization-15
        value = as_number(value)
        if value is None or isinstance(value, bool | str):
            return value
        if len(way) > _DEEPEST:
            msg = f"save_checkpoint: {self._part} must be nested {_DEEPEST} deep at most"
            raise ValueError(msg)
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else {"float": str(float(value))}
        if isinstance(value, list | tuple):
            items = [self._plain(item, (*way, str(k))) for k, item in enumerate(value)]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            return {"dict": [self._pair(key, item, way) for key, item in value.items()]}
        if isinstance(value, Traced | jax.Array | np.ndarray) and self._arrays is not None:
            return {"array": self._array(value, ".".join((self._part, *way)))}
        self._refuse(way, type(value).__name__)

    def _pair(self, key: Any, item: Any, way: tuple[str, ...]) -> list[Any]:
        key = as_number(key)
        if isinstance(key, bool) or not isinstance(key, str | int):
            self._refuse(way, f"a key of type {type(key).__name__}")
        return [key, self._plain(item, (*way, str(key)))]

    def _array(self, value: Any, name: str) -> str:
        assert self._arrays is not None
        if name in self._arrays:
            refuse("save_checkpoint", "the names of arrays", "different", f"{name!r} twice")
        self._arrays[name] = entry("save_checkpoint", name, value)
        return name

    def _refuse(self, way: tuple[str, ...], came: str) -> NoReturn:
        place = f"{'.'.join(way)!r} in {self._part}" if way else self._part
        wanted = "None, a number, a string, a list, tuple or dict"
        wanted += "" if self._arrays is None else " or an array"
        msg = f"save_checkpoint: {place} must be {wanted}, got {came}"
        raise TypeError(msg)


class _File:
    """A checkpoint that was read, and what its texts say."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._arrays, self._texts = read("load_checkpoint", path)
        form = self._texts.get("format"), self._texts.get("version")
        if form != (_FORMAT, _VERSION):
            self._refuse(f"its format and version must be {_FORMAT} {_VERSION}, got {form}")
        self.parts = self._json("parts")
        if not isinstance(self.parts, list):
            self._refuse("its parts must be a list")

    def state(self, part: str) -> Any:
        """Return the state of a part, or raise `ValueError` if there is none."""
        if part not in self.parts:
            self._refuse(f"it holds no {part}")
        if part != "module":
            return self.value(part)
        prefix = "module."
        names = [name for name in self._arrays if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.array(name) for name in names}

    def metadata(self) -> Metadata:
        """Return the user's metadata."""
        found = self._json("metadata")
        if not isinstance(found, dict) or not all(isinstance(x, str) for x in found.values()):
            self._refuse("its metadata must be an object of strings")
        return found

    def array(self, name: str) -> Any:
        """Return the Tensor of an entry."""
        if name not in self._arrays:
            self._refuse(f"it has no entry {name!r}")
        return made("load_checkpoint", self._path, name, self._arrays[name])

    def value(self, part: str) -> Any:
        """Return what a text stands for."""
        try:
            return self._from(self._json(part))
        except (TypeError, KeyError, AttributeError, RecursionError):
            self._refuse(f"its {part} is written otherwise")

    def _json(self, part: str) -> Any:
        try:
            return json.loads(self._texts[part])
        except (KeyError, ValueError, RecursionError) as error:
            self._refuse(f"its {part} is no JSON: {' '.join(str(error).split())}")

    def _from(self, plain: Any) -> Any:
        if isinstance(plain, list):
            return [self._from(item) for item in plain]
        if not isinstance(plain, dict):
            return plain
        inner: Any
        kind, inner = next(iter(plain.items())) if len(plain) == 1 else ("", None)
        if kind == "tuple":
            return tuple([self._from(item) for item in inner])
        if kind == "dict":
            return {key: self._from(item) for key, item in self._pairs(inner)}
        if kind == "float" and inner in ("nan", "inf", "-inf"):
            return float(inner)
        if kind == "array":
            return self.array(inner)
        raise TypeError

    def _pairs(self, inner: Any) -> list[Any]:
        if not all([isinstance(pair, list) and len(pair) == 2 for pair in inner]):
            raise TypeError
        return list(inner)

    def _refuse(self, reason: str) -> NoReturn:
        msg = f"load_checkpoint: {str(self._path)!r} is no checkpoint to take: {reason}"
        raise ValueError(msg) from None
