"""Recording switched on and off."""

import functools
import inspect
from collections.abc import Callable
from threading import get_ident
from typing import Any

from ..checks import check_flag
from ..tape import MODE, recording_set


class _Switch:
    """A context manager and decorator that holds recording on or off."""

    _flag: bool

    def __init__(self) -> None:
        # By thread: one object may be entered in several. # autograd-28
        self._before: dict[int, list[bool]] = {}

    def _entry(self) -> bool:
        """Return the mode to restore."""
        return MODE.enabled

    def __enter__(self) -> None:
        self._before.setdefault(get_ident(), []).append(self._entry())
        MODE.enabled = self._flag

    def __exit__(self, *exc: object) -> None:
        thread = get_ident()
        before = self._before[thread]
        MODE.enabled = before.pop()
        if not before:
            del self._before[thread]

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function or a generator function.

        Raises
        ------
        TypeError
            If `fn` is a class, cannot be called, or is a coroutine function or an asynchronous
            generator function.
        """
        if isinstance(fn, type) or not callable(fn):
            msg = (
                f"{type(self).__name__}: what is decorated must be a function, got "
                f"{fn.__name__ if isinstance(fn, type) else type(fn).__name__}"
            )
            raise TypeError(msg)
        if inspect.iscoroutinefunction(fn) or inspect.isasyncgenfunction(fn):  # autograd-29
            msg = (
                f"{type(self).__name__}: the function must not be asynchronous, got "
                f"{getattr(fn, '__qualname__', fn)}; a mode is a thread's, and tasks share one"
            )
            raise TypeError(msg)
        if inspect.isgeneratorfunction(fn):
            return _decorated_generator(fn, self._flag)

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with recording_set(self._flag):
                return fn(*args, **kwargs)

        return wrapped


def _decorated_generator(fn: Callable[..., Any], flag: bool) -> Callable[..., Any]:
    """Return a generator function whose body has a mode of its own, kept between its steps."""

    @functools.wraps(fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        generator = fn(*args, **kwargs)
        inside = flag

        def step(function: Callable[..., Any], *values: Any) -> Any:
            nonlocal inside
            with recording_set(inside):
                try:
                    return function(*values)
                finally:
                    inside = MODE.enabled

        try:
            item = step(next, generator)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    step(generator.close)
                    raise
                except BaseException as error:
                    item = step(generator.throw, error)
                else:
                    item = step(generator.send, sent)
        except StopIteration as stop:
            return stop.value

    return wrapped


class _Named(_Switch):
    """A switch whose name says which way; it decorates without parentheses too."""  # autograd-08

    def __new__(cls, *fn: Any) -> Any:
        switch = super().__new__(cls)
        if not fn:
            return switch
        if len(fn) > 1:
            msg = f"{cls.__name__}: there must be one function to decorate, got {len(fn)} arguments"
            raise TypeError(msg)
        # A decorated function is no switch, so that nothing else calls __init__.
        _Switch.__init__(switch)
        return switch(*fn)


class no_grad(_Named):
    """Record nothing, for a ``with`` block or a decorated function."""

    _flag = False


class enable_grad(_Named):
    """Record again, inside `no_grad`."""

    _flag = True


class set_grad_enabled(_Switch):
    """Record as `flag` says: from now on, for a ``with`` block, or in a decorated function."""

    def __init__(self, flag: bool) -> None:
        super().__init__()
        self._flag = check_flag("set_grad_enabled", "flag", flag)
        # autograd-23: the statement takes effect at once; a block or a decorated function
        # restores what was before it.
        self._outer: tuple[int, bool] | None = (get_ident(), MODE.enabled)
        MODE.enabled = self._flag

    def _entry(self) -> bool:
        """Return the mode to restore, which on first use is that before the statement."""
        if self._outer is None or self._outer[0] != get_ident():
            return MODE.enabled
        before, self._outer = self._outer[1], None
        return before

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Decorate a function, and leave the mode as it was where it is defined."""
        MODE.enabled = self._entry()
        return super().__call__(fn)


def is_grad_enabled() -> bool:
    """Tell whether this thread records."""
    return MODE.enabled
