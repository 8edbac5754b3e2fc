"""Switching recording on and off."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

from impl_numpy.tape import MODE

F = TypeVar("F", bound=Callable[..., Any])


class _Switch:
    """A mode that holds for a `with` block, or inside the calls of a decorated function."""

    def __init__(self, flag: bool) -> None:
        self._flag = bool(flag)
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(MODE.recording)
        MODE.recording = self._flag

    def __exit__(self, *error: object) -> None:
        MODE.recording = self._before.pop()

    def __call__(self, function: F) -> F:
        """Decorate a function: the mode holds inside its calls."""
        flag = self._flag

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with _Switch(flag):
                return function(*args, **kwargs)

        return decorated  # type: ignore[return-value]


class no_grad(_Switch):
    """Record nothing: a context manager and a decorator."""

    def __init__(self) -> None:
        super().__init__(False)


class enable_grad(_Switch):
    """Record again, inside `no_grad`: a context manager and a decorator."""

    def __init__(self) -> None:
        super().__init__(True)


class set_grad_enabled(_Switch):
    """Switch recording on or off in this thread: a statement, a context manager and a decorator.

    As a statement it takes effect at once; as a context manager it ends with the block; as a
    decorator it holds inside the function's calls alone (autograd-23).

    Parameters
    ----------
    flag : bool
    """

    def __init__(self, flag: bool) -> None:
        super().__init__(flag)
        self._outside = MODE.recording
        MODE.recording = self._flag

    def __enter__(self) -> None:
        self._before.append(self._outside)
        MODE.recording = self._flag

    def __call__(self, function: F) -> F:
        """Decorate a function, and leave the mode outside as it was."""
        MODE.recording = self._outside
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Tell whether this thread records."""
    return MODE.recording
