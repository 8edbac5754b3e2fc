"""Recording switched on and off, and what every mode of a thread is made of."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

from ..checks import check_flag
from ..tape import MODE


class Switch:
    """A context manager and decorator that puts a mode of the thread to a value.

    The mode is whether operations are recorded, but where a class says otherwise.
    """

    _flag: Any

    def __init__(self) -> None:
        # By thread: one object may be entered in several. # autograd-28
        self._before: dict[int, list[Any]] = {}

    def _get(self) -> Any:
        """Return the mode as it is."""
        return MODE.enabled

    def _put(self, value: Any) -> None:
        """Change the mode."""
        MODE.enabled = value

    def _entry(self) -> Any:
        """Return the mode to restore."""
        return self._get()

    @contextmanager
    def _holding(self, value: Any) -> Iterator[None]:
        """Hold the mode at a value for a block."""
        before = self._get()
        self._put(value)
        try:
            yield
        finally:
            self._put(before)

    def __enter__(self) -> None:
        self._before.setdefault(get_ident(), []).append(self._entry())
        self._put(self._flag)

    def __exit__(self, *exc: object) -> None:
        thread = get_ident()
        before = self._before[thread]
        self._put(before.pop())
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
            return self._decorated_generator(fn)

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self._holding(self._flag):
                return fn(*args, **kwargs)

        return wrapped

    def _decorated_generator(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a generator function whose body has a mode of its own, kept between its steps."""

        @functools.wraps(fn)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            generator = fn(*args, **kwargs)
            inside = self._flag

            def step(function: Callable[..., Any], *values: Any) -> Any:
                nonlocal inside
                with self._holding(inside):
                    try:
                        return function(*values)
                    finally:
                        inside = self._get()

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


class NamedSwitch(Switch):
    """A switch whose name says which way; it decorates without parentheses too."""  # autograd-08

    def __new__(cls, *fn: Any) -> Any:
        """Make a switch, or decorate a function with one."""
        switch = super().__new__(cls)
        if not fn:
            return switch
        if len(fn) > 1:
            msg = f"{cls.__name__}: there must be one function to decorate, got {len(fn)} arguments"
            raise TypeError(msg)
        # A decorated function is no switch, so that nothing else calls __init__.
        Switch.__init__(switch)
        return switch(*fn)


class no_grad(NamedSwitch):
    """Record nothing, for a ``with`` block or a decorated function."""

    _flag = False


class enable_grad(NamedSwitch):
    """Record again, inside `no_grad`."""

    _flag = True


class set_grad_enabled(Switch):
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
