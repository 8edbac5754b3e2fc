"""A Module called with other parameters than its own."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from ..checks import refuse_type
from ..recording import as_operand
from ..tape import MODE, Traced, wrap
from .base import Module


def functional_call(module: Module, params: Mapping[str, Any], *args: Any, **kwargs: Any) -> Any:
    """Call a Module with other parameters and buffers, and leave it as it was.

    Parameters
    ----------
    module : Module
    params : mapping from dotted names to Tensors or raw arrays
        A parameter that is shared is replaced under all its names.
    *args, **kwargs
        For the Module.

    Raises
    ------
    TypeError
        If `module` is no Module, or `params` no mapping to arrays.
    KeyError
        If the Module does not have a name; it lists the name and names the Module.
    """
    if MODE.capture is not None:
        MODE.capture.note(module)
    if not isinstance(module, Module):
        refuse_type("functional_call", "module", "a Module", module)
    if not isinstance(params, Mapping):
        refuse_type("functional_call", "params", "a mapping from names to arrays", params)
    with _turn(module):
        return _exchanged(module, params, args, kwargs)


_WAITING = threading.Condition()
# The Modules that are called with other parameters, by thread, the innermost call last.
_CALLED: dict[int, list[frozenset[int]]] = {}


@contextlib.contextmanager
def _turn(module: Module) -> Iterator[None]:
    """Wait until no other thread exchanges parameters of a Module, or of one below it."""
    thread = threading.get_ident()  # autograd-28
    own = frozenset(id(owner) for _, owner in module._paths())

    def free() -> bool:
        others = [ids for t, stack in _CALLED.items() if t != thread for ids in stack]
        return own.isdisjoint(frozenset().union(*others))

    with _WAITING:
        _WAITING.wait_for(free)
        _CALLED.setdefault(thread, []).append(own)
    try:
        yield
    finally:
        with _WAITING:
            _CALLED[thread].pop()
            if not _CALLED[thread]:
                del _CALLED[thread]
            _WAITING.notify_all()


def _exchanged(
    module: Module, params: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    places = {
        prefix + name: (table, name)
        for prefix, owner in module._paths()
        for table in (owner._parameters, owner._buffers)
        for name, tensor in table.items()
        if tensor is not None
    }
    unknown = [name for name in params if name not in places]
    if unknown:
        msg = (
            f"functional_call: {type(module).__name__} has no parameter or buffer "
            f"{', '.join(map(repr, unknown))}"
        )
        raise KeyError(msg)
    own = {path: table[name] for path, (table, name) in places.items()}
    others = {
        path: v if isinstance(v, Traced) else wrap(as_operand(f"functional_call: {path!r}", v))
        for path, v in params.items()
    }
    shared = {id(own[path]): value for path, value in others.items()}
    try:
        for path, (table, name) in places.items():
            table[name] = others.get(path, shared.get(id(own[path]), own[path]))
        return module(*args, **kwargs)
    finally:
        for path, (table, name) in places.items():
            table[name] = own[path]
