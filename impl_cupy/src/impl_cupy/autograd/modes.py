"""Recording switched on and off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from impl_cupy.tape import Recording, state

_F = TypeVar("_F", bound=Callable[..., Any])


class set_grad_enabled(Recording):
    """Switch recording on or off in this thread: ``with set_grad_enabled(flag): ...``."""

    __slots__ = ()


class _Switch(set_grad_enabled):
    """A switch with a fixed flag, which is a decorator too."""

    __slots__ = ()
    flag: bool

    def __init__(self) -> None:
        super().__init__(self.flag)

    def __call__(self, function: _F) -> _F:
        """Decorate `function` so that each call of it runs within the switch."""

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with type(self)():
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


class no_grad(_Switch):
    """Record nothing: ``with no_grad(): ...`` or ``@no_grad()``."""

    __slots__ = ()
    flag = False


class enable_grad(_Switch):
    """Record again inside `no_grad`: ``with enable_grad(): ...`` or ``@enable_grad()``."""

    __slots__ = ()
    flag = True


def is_grad_enabled() -> bool:
    """Tell whether operations are recorded in this thread."""
    return state.recording
