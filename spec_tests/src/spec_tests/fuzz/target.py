"""An operation to be called, and how it is made ready."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Made = tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]


@dataclass(frozen=True)
class Target:
    """An operation and a good call of it.

    Attributes
    ----------
    name : str
        As a reader would write it.
    says : tuple of str
        A message names the operation by one of these, capitals aside.
    make : callable
        Returns the operation, fresh, and the arguments of a good call.
    options : tuple of str
        The keywords that it takes.
    calls : bool
        Whether it calls a function that it is given: what that raises comes through, so that no
        other function is put in its place.
    """

    name: str
    says: tuple[str, ...]
    make: Callable[[], Made]
    options: tuple[str, ...] = ()
    calls: bool = False


def keywords(signature: inspect.Signature) -> tuple[str, ...]:
    """Return the names of the arguments that may be given by name."""
    hidden = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.VAR_POSITIONAL,
        inspect.Parameter.VAR_KEYWORD,
    )
    return tuple(name for name, p in signature.parameters.items() if p.kind not in hidden)


def ready(operation: Callable[..., Any], *arguments: Any, **options: Any) -> Callable[[], Made]:
    """Return what makes a call of an operation that one call does not change."""
    return lambda: (operation, arguments, dict(options))


def fresh(
    make: Callable[[], Callable[..., Any]], arguments: Callable[[], tuple[Any, ...]]
) -> Callable[[], Made]:
    """Return what makes an operation and its arguments anew for every call."""
    return lambda: (make(), arguments(), {})
