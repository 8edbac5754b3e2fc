"""Switching recording on and off."""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from threading import get_ident
from typing import Any, TypeVar

from impl_numpy.checks import check_flag, shown
from impl_numpy.tape import MODE

F = TypeVar("F", bound=Callable[..., Any])


class _Switch:
    """A mode that holds for a `with` block, or inside the calls of a decorated function.

    While a Function runs on Tensors nothing is switched: its history must not be lost
    (function-28).
    """

    _flag: bool

    def __enter__(self) -> None:
        # The mode outside lies with the thread and not with the object, which may serve several
        # threads at once (autograd-28).
        before = MODE.recording
        MODE.outside.append((self, before))
        if type(before) is not str:
            MODE.recording = self._flag

    def __exit__(self, *error: object) -> None:
        outside = MODE.outside
        k = -1
        while outside[k][0] is not self:
            k -= 1
        MODE.recording = outside.pop(k)[1]

    def __call__(self, function: F) -> F:
        """Decorate a function: the mode holds inside its calls, or while its generators run.

        Raises
        ------
        TypeError
            If it is a class or cannot be called; if it is a coroutine function or an asynchronous
            generator: a mode belongs to a thread, and tasks share one.
        """
        if isinstance(function, type) or not callable(function):
            got = getattr(function, "__name__", shown(function))
            msg = f"{type(self).__name__}: decorates functions, got {got}"
            raise TypeError(msg)
        kinds = (function, getattr(function, "__call__", None))  # noqa: B004 - one with a method
        if any(iscoroutinefunction(f) or isasyncgenfunction(f) for f in kinds):
            operation, name = type(self).__name__, getattr(function, "__qualname__", repr(function))
            msg = f"{operation}: cannot decorate {name}, a coroutine function; use with inside it"
            raise TypeError(msg)  # autograd-29
        if any(isgeneratorfunction(f) for f in kinds):

            @functools.wraps(function)
            def generating(*args: Any, **kwargs: Any) -> Any:
                return (yield from self._running(function(*args, **kwargs)))

            return generating  # type: ignore[return-value]

        @functools.wraps(function)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._again():
                return function(*args, **kwargs)

        return decorated  # type: ignore[return-value]

    def _again(self) -> _Switch:
        """Return a block like this one."""
        return enable_grad() if self._flag else no_grad()

    def _running(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        """Pass a generator on, and let the mode hold while it runs."""
        return _running(self._flag, steps)


def _running(mode: bool | str, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Pass a generator on, with a mode of its own that holds while it runs."""
    step: Callable[..., Any] = steps.send
    given: Any = None
    while True:
        outside, MODE.recording = MODE.recording, mode
        try:
            made = step(given)
        except StopIteration as stop:
            return stop.value
        finally:
            mode, MODE.recording = MODE.recording, outside
        try:
            step, given = steps.send, (yield made)
        except BaseException as error:
            step, given = steps.throw, error


class Fixed(_Switch):
    """A mode with one value, which decorates without parentheses too (autograd-08)."""

    def __new__(cls, *function: Any) -> Any:
        """Make a block, or decorate a function."""
        made = super().__new__(cls)
        if not function:
            return made
        if len(function) > 1:
            msg = f"{cls.__name__}: takes one function to decorate, got {len(function)} arguments"
            raise TypeError(msg)
        return made(function[0])


class no_grad(Fixed):
    """Record nothing: a context manager and a decorator."""

    _flag = False


class enable_grad(Fixed):
    """Record again, inside `no_grad`: a context manager and a decorator."""

    _flag = True


class set_grad_enabled(_Switch):
    """Switch recording on or off in this thread: a statement, a context manager and a decorator.

    As a statement it takes effect at once; as a context manager it ends with the block; as a
    decorator it holds inside the function's calls alone (autograd-23).

    Parameters
    ----------
    flag : bool
    """

    def __init__(self, flag: bool) -> None:
        self._flag = check_flag("set_grad_enabled", "flag", flag)
        # The thread that said it, and the mode that it had: once, for a block or a decoration.
        self._said: tuple[int, bool | str] | None = get_ident(), MODE.recording
        if type(MODE.recording) is not str:
            MODE.recording = self._flag

    def _take_back(self) -> None:
        """Return to the mode in which this thread said it, if it just did."""
        if self._said is not None and self._said[0] == get_ident():
            MODE.recording = self._said[1]
            self._said = None

    def __enter__(self) -> None:
        self._take_back()
        super().__enter__()

    def __call__(self, function: F) -> F:
        """Decorate a function, and leave the mode outside as it was."""
        self._take_back()
        return super().__call__(function)


def is_grad_enabled() -> bool:
    """Tell whether this thread records."""
    return bool(MODE.recording)
