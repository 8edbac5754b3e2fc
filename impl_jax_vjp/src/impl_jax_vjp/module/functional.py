"""A Module called with other parameters than its own."""

from collections.abc import Mapping
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
    for name, value in params.items():
        if not isinstance(value, Traced):
            as_operand(f"functional_call: {name!r}", value)
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
        path: value if isinstance(value, Traced) else wrap(as_operand("functional_call", value))
        for path, value in params.items()
    }
    shared = {id(own[path]): value for path, value in others.items()}
    try:
        for path, (table, name) in places.items():
            table[name] = others.get(path, shared.get(id(own[path]), own[path]))
        return module(*args, **kwargs)
    finally:
        for path, (table, name) in places.items():
            table[name] = own[path]
