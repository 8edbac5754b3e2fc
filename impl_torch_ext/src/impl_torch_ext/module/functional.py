"""The call of a Module with other values in the place of its own."""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor

from impl_torch_ext.autograd.modes import entered

__all__ = ["functional_call", "replaced"]

# A table of parameters or buffers, and a name in it.
_Place: TypeAlias = tuple[dict[str, Any], str]


def functional_call(
    module: torch.nn.Module, params: Mapping[str, Tensor], *args: Any, **kwargs: Any
) -> Any:
    """Call `module` with other values in the place of its parameters and buffers.

    Parameters
    ----------
    module : Module
        As before afterwards, also if the call raises.
    params : mapping of str to Tensor
        By dotted name; what is left out keeps its own value, or the one given for another name of
        the same Tensor. Of several names of one attribute the first in the order of
        `named_parameters` counts.
    *args, **kwargs
        Arguments of the call.

    Raises
    ------
    KeyError
        If the module has no parameter or buffer of a name.
    TypeError
        If a value is no Tensor.
    """
    _check_types(module, params)
    # A copy: what is changed in the caller's later has no effect on a second run.
    with entered(partial(replaced, module, dict(params))):
        return module(*args, **kwargs)


# By thread, how often it holds each module; whoever finds one held by another waits: autograd-28.
_holders: dict[int, Counter[int]] = {}
_released = threading.Condition()


@contextmanager
def _held(module: torch.nn.Module) -> Iterator[None]:
    """Hold a module and its children, so that no other thread changes their tables."""
    me = threading.get_ident()
    wanted = Counter({id(owner): 1 for owner in module.modules()})
    with _released:
        _released.wait_for(
            lambda: not any(wanted & held for who, held in _holders.items() if who != me)
        )
        _holders.setdefault(me, Counter()).update(wanted)
    try:
        yield
    finally:
        with _released:
            left = _holders[me] - wanted
            if left:
                _holders[me] = left
            else:
                del _holders[me]
            _released.notify_all()


@contextmanager
def replaced(module: torch.nn.Module, params: Mapping[str, Tensor]) -> Iterator[None]:
    """Hold a module, with other values in the place of its own."""
    with _held(module), _swapped(module, params):
        yield


@contextmanager
def _swapped(module: torch.nn.Module, params: Mapping[str, Tensor]) -> Iterator[None]:
    owned = {
        f"{path}.{name}" if path else name: (table, name)
        for path, owner in module.named_modules(remove_duplicate=False)
        for table in (owner._parameters, owner._buffers)
        for name, own in table.items()
        if own is not None
    }
    _check_params(type(module).__name__, owned, params)
    # Whole tables, because forward may assign to buffers that are not in params.
    before = [
        (table, dict(table))
        for owner in module.modules()
        for table in (owner._parameters, owner._buffers)
    ]
    try:
        for table, name, value in _swaps(owned, params):
            table[name] = value
        yield
    finally:
        for table, content in before:
            table.clear()
            table.update(content)


def _check_types(module: Any, params: Any) -> None:
    if not isinstance(module, torch.nn.Module):
        msg = f"functional_call: module must be a Module, got {type(module).__name__}"
        raise TypeError(msg)
    if not isinstance(params, Mapping):
        msg = f"functional_call: params must be a mapping, got {type(params).__name__}"
        raise TypeError(msg)


def _check_params(module: str, owned: Mapping[str, _Place], params: Mapping[str, Tensor]) -> None:
    unknown = [name for name in params if name not in owned]
    if unknown:  # autograd-19
        msg = (
            f"functional_call: {module} has no parameter or buffer {', '.join(map(repr, unknown))}"
        )
        raise KeyError(msg)
    for key, value in params.items():
        if not isinstance(value, Tensor):
            msg = f"functional_call: {key!r} must be a Tensor, got {type(value).__name__}"
            raise TypeError(msg)


def _swaps(
    owned: Mapping[str, _Place], params: Mapping[str, Tensor]
) -> list[tuple[dict[str, Any], str, Tensor]]:
    """Return the table, the name in it and the new value of each entry that changes."""
    by_place: dict[tuple[int, str], Tensor] = {}
    by_tensor: dict[int, Tensor] = {}
    for key, (table, name) in owned.items():
        if key in params:
            by_place.setdefault((id(table), name), params[key])
            by_tensor.setdefault(id(table[name]), params[key])
    return [
        (table, name, by_place.get((id(table), name), by_tensor[id(table[name])]))
        for table, name in owned.values()
        if id(table[name]) in by_tensor
    ]
