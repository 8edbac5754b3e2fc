"""Recording switched on and off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from impl_cupy.tape import Recording, state

_F = TypeVar("_F", bound=Callable[..., Any])


class _Switch(Recording):
    """A switch that is a context manager and a decorator."""

    __slots__ = ()

    def __call__(self, function: _F) -> _F:
        """Decorate `function` so that each call of it runs within the switch."""
        flag = self._flag

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with Recording(flag):
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


class set_grad_enabled(_Switch):
    """Switch recording on or off in this thread.

    As a statement, ``set_grad_enabled(flag)``, it takes effect at once and lasts; in a `with`
    statement it holds for the block; as a decorator it holds inside the function's calls.

    Parameters
    ----------
    flag : bool
    """

    __slots__ = ("_outer",)

    def __init__(self, flag: bool) -> None:
        super().__init__(bool(flag))
        # The mode that is put back where this turns out to be no statement (autograd-23).
        self._outer: bool | None = state.recording
        state.recording = self._flag

    def __enter__(self) -> None:
        self._undo()
        super().__enter__()

    def __call__(self, function: _F) -> _F:
        """Decorate `function`; leave the mode as it was."""
        self._undo()
        return super().__call__(function)

    def _undo(self) -> None:
        if self._outer is not None:
            state.recording, self._outer = self._outer, None


class no_grad(_Switch):
    """Record nothing: ``with no_grad(): ...`` or ``@no_grad()``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_Switch):
    """Record again inside `no_grad`: ``with enable_grad(): ...`` or ``@enable_grad()``."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(True)


def is_grad_enabled() -> bool:
    """Tell whether operations are recorded in this thread."""
    return state.recording
