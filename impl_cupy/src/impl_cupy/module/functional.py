"""Calling a Module with other values in the place of its own."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from impl_cupy.checks import type_name
from impl_cupy.memory import RawArray, lend
from impl_cupy.module.base import Module
from impl_cupy.parameter import as_raw
from impl_cupy.random import RestoredOnError
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


def functional_call(module: Module, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call `module` with other Tensors in the place of its Parameters and buffers.

    Parameters
    ----------
    module : Module
        Left as it was, also after an exception.
    params : mapping of str to Tensor or cupy.ndarray
        By dotted name. A Parameter that is shared is replaced wherever it is.
    *args, **kwargs
        Go to the module.

    Raises
    ------
    KeyError
        That lists the names that the module does not have.
    """
    if not isinstance(module, Module):
        msg = f"functional_call: module must be a Module, got {type_name(module)}"
        raise TypeError(msg)
    if not isinstance(params, Mapping):
        msg = f"functional_call: params must be a mapping of names, got {type_name(params)}"
        raise TypeError(msg)
    with _Turn(module):
        return _call(module, params, args, kwargs)


class _Turn:
    """A turn with a Module and its parts, whose entries one thread at a time exchanges.

    A thread may have several turns, for calls inside calls (autograd-28).
    """

    _changed = threading.Condition()
    _taken: dict[int, list[int]] = {}  # noqa: RUF012 - of all turns: a part's thread, each time

    def __init__(self, module: Module) -> None:
        self._parts = {id(part) for _, part in module._walk("")}
        self._thread = threading.get_ident()

    def _is_free(self) -> bool:
        return all(
            owner == self._thread for part in self._parts for owner in self._taken.get(part, ())
        )

    def __enter__(self) -> None:
        with self._changed:
            self._changed.wait_for(self._is_free)
            for part in self._parts:
                self._taken.setdefault(part, []).append(self._thread)

    def __exit__(self, *_: object) -> None:
        with self._changed:
            for part in self._parts:
                self._taken[part].pop()
                if not self._taken[part]:
                    del self._taken[part]
            self._changed.notify_all()


def _call(
    module: Module, params: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    places = _places(module)
    unknown = [name for name in params if name not in places]
    if unknown:
        msg = f"functional_call: {type(module).__name__} has no {', '.join(map(repr, unknown))}"
        raise KeyError(msg)
    values = {name: _as_tensor(name, value) for name, value in params.items()}
    shared = {id(places[name][0][places[name][1]]): value for name, value in values.items()}
    originals = [(entries, key, entries[key]) for entries, key in places.values()]
    try:
        for name, (entries, key) in places.items():
            other = values.get(name)
            entries[key] = shared.get(id(entries[key]), entries[key]) if other is None else other
        with RestoredOnError():
            return module(*args, **kwargs)
    finally:
        for entries, key, original in originals:
            entries[key] = original


def _places(module: Module) -> dict[str, tuple[dict[str, Any], str]]:
    places = {}
    for path, part in module._walk(""):
        for entries in (part._parameters, part._buffers):
            for key, value in entries.items():
                if value is not None:
                    places[f"{path}.{key}" if path else key] = (entries, key)
    return places


def _as_tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raw: RawArray = as_raw(f"functional_call: {name}", value)
    lend(raw)
    return wrap(raw)
