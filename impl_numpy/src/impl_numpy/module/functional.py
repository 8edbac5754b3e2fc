"""Calling a Module with other parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from threading import Condition, get_ident
from typing import Any

from impl_numpy.checks import shown
from impl_numpy.module.base import Module, dotted
from impl_numpy.tape import MODE
from impl_numpy.tensor import Tensor, as_tensor


def functional_call(module: Module, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call a Module with other parameters and buffers in the place of its own.

    Parameters
    ----------
    module : Module
        Left as it was, also after an exception.
    params : mapping of str to Tensor or raw array
        By dotted name; those that are not named stay. A shared Parameter is replaced everywhere.

    Raises
    ------
    KeyError
        If the Module has no parameter or buffer of a name.
    ValueError
        If what stands for a layer's parameter has another shape.
    """
    if not isinstance(module, Module):
        msg = f"functional_call: module must be a Module, got {shown(module)}"
        raise TypeError(msg)
    if not isinstance(params, Mapping):
        msg = f"functional_call: params must be a mapping, got {shown(params)}"
        raise TypeError(msg)
    with replacing(module, params):
        return module(*args, **kwargs)


@contextmanager
def replacing(module: Module, params: Mapping[str, Any]) -> Iterator[None]:
    """Put other parameters in their places; what is computed again meanwhile will find them too."""
    with _alone_with(module):
        yield from _exchanged(module, params)


def _exchanged(module: Module, params: Mapping[str, Any]) -> Iterator[None]:
    places = places_of(module)
    unknown = [name for name in params if name not in places]
    if unknown:
        owner_name = type(module).__name__
        names = ", ".join(map(shown, unknown))
        msg = f"functional_call: {owner_name} has no parameter or buffer {names}"
        raise KeyError(msg)
    replaced = {
        name: x if isinstance(x, Tensor) else as_tensor("functional_call", x, name)
        for name, x in params.items()
    }
    for name, x in replaced.items():
        _check_shape(*places[name], name, x)
    new = {id(places[name][0][places[name][1]]): x for name, x in replaced.items()}
    new.pop(id(None), None)
    before = [(entries, name, entries[name]) for entries, name, _ in places.values()]
    within, MODE.within = MODE.within, (*MODE.within, partial(replacing, module, replaced))
    try:
        for full, (entries, name, _) in places.items():
            entries[name] = replaced.get(full, new.get(id(entries[name]), entries[name]))
        yield
    finally:
        MODE.within = within
        for entries, name, value in before:
            entries[name] = value


# Which Modules each thread that is inside a call has; others wait for them (autograd-28).
_BUSY: list[tuple[int, set[int]]] = []
_FREED = Condition()


@contextmanager
def _alone_with(module: Module) -> Iterator[None]:
    """Keep other threads from exchanging the parameters of a Module, and of those below it."""
    thread = get_ident()
    entry = thread, {id(owner) for _, owner in module._every_module("", None)}
    with _FREED:
        _FREED.wait_for(lambda: all(t == thread or not entry[1] & ids for t, ids in _BUSY))
        _BUSY.append(entry)
    try:
        yield
    finally:
        with _FREED:
            _BUSY.remove(entry)
            _FREED.notify_all()


def places_of(module: Module) -> dict[str, tuple[dict[str, Any], str, Module]]:
    """Return where each parameter and buffer stands, and whose it is, by dotted name."""
    places = {}
    for path, owner in module._every_module("", None):
        every: tuple[dict[str, Any], ...] = (owner._parameters, owner._buffers)
        for entries in every:
            for name in entries:
                places[dotted(path, name)] = entries, name, owner
    return places


def _check_shape(entries: dict[str, Any], name: str, owner: Module, full: str, x: Tensor) -> None:
    """Raise ValueError for a layer's parameter of another shape; other Modules may know of more."""
    before = entries[name]
    if owner._fixed and before is not None and before.shape != x.shape:
        wanted = f"{type(owner).__name__}'s shape {before.shape}"
        msg = f"functional_call: {shown(full)} must have the {wanted}, got {x.shape}"
        raise ValueError(msg)
