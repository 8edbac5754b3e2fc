"""Recording switched on and off."""

import functools
from collections.abc import Callable
from typing import Any

from ..tape import MODE, recording_set


class _Switch:
    """A context manager and decorator that holds recording on or off."""

    _flag: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(MODE.enabled)
        MODE.enabled = self._flag

    def __exit__(self, *exc: object) -> None:
        MODE.enabled = self._before.pop()

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with recording_set(self._flag):
                return fn(*args, **kwargs)

        return wrapped


class no_grad(_Switch):
    """Record nothing, for a ``with`` block or a decorated function."""

    _flag = False


class enable_grad(_Switch):
    """Record again, inside `no_grad`."""

    _flag = True


class set_grad_enabled(_Switch):
    """Record as `flag` says: from now on, for a ``with`` block, or in a decorated function."""

    def __init__(self, flag: bool) -> None:
        super().__init__()
        self._flag = bool(flag)
        # autograd-23: the statement takes effect at once; a block or a decorated function
        # restores what was before it.
        self._outer: bool | None = MODE.enabled
        MODE.enabled = self._flag

    def _entry(self) -> bool:
        """Return the mode to restore, which on first use is that before the statement."""
        before = MODE.enabled if self._outer is None else self._outer
        self._outer = None
        return before

    def __enter__(self) -> None:
        self._before.append(self._entry())
        MODE.enabled = self._flag

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function, and leave the mode as it was where it is defined."""
        MODE.enabled = self._entry()
        return super().__call__(fn)


def is_grad_enabled() -> bool:
    """Tell whether this thread records."""
    return MODE.enabled
