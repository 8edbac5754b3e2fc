"""Recording switched on and off."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, TypeVar

from impl_cupy.checks import check_callable, check_flag
from impl_cupy.tape import Recording, state

_F = TypeVar("_F", bound=Callable[..., Any])


class _Switch:
    """A switch that is a context manager and a decorator.

    What it restores is kept with the thread, so that several threads may use one switch.
    """

    __slots__ = ("_flag",)

    def __init__(self, flag: bool) -> None:
        self._flag = flag

    def __enter__(self) -> None:
        state.switched.append((self, state.recording))
        state.recording = self._flag

    def __exit__(self, *_: object) -> None:
        switched = state.switched
        # Not always the last: a generator may be suspended inside a block that its caller leaves.
        for place in range(len(switched) - 1, -1, -1):
            if switched[place][0] is self:
                state.recording = switched.pop(place)[1]
                return

    def __call__(self, function: _F) -> _F:
        """Decorate `function` so that each call of it, or each step of it, runs within the switch.

        Raises
        ------
        TypeError
            For a class; for a coroutine function or an asynchronous generator: tasks share a
            thread, and with it the mode (autograd-29).
        """
        check_callable(type(self).__name__, "what it decorates", function)
        if isinstance(function, type):
            msg = f"{type(self).__name__}: decorates functions, got the class {function.__name__}"
            raise TypeError(msg)
        if iscoroutinefunction(function) or isasyncgenfunction(function):
            msg = (
                f"{type(self).__name__}: {function.__name__} is asynchronous, and tasks share one "
                "mode; use the switch in a with statement that holds no await"
            )
            raise TypeError(msg)
        flag = self._flag
        if isgeneratorfunction(function):
            return _stepped(function, flag)  # type: ignore[return-value]

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with Recording(flag):
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


def _stepped(function: Callable[..., Any], flag: bool) -> Callable[..., Any]:
    """Decorate a generator function: the switch holds inside it, and not between its steps."""

    @functools.wraps(function)
    def stepped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        resume, sent = body.send, None
        while True:
            try:
                with Recording(flag):
                    item = resume(sent)
            except StopIteration as end:
                return end.value
            finally:
                # An exception that goes on must not be held by the frame that it passed.
                sent = None
            try:
                sent = yield item
                resume = body.send
            except BaseException as error:
                # A GeneratorExit too: the body decides what becomes of it.
                resume, sent = body.throw, error

    return stepped


class set_grad_enabled(_Switch):
    """Switch recording on or off in this thread.

    As a statement, ``set_grad_enabled(flag)``, it takes effect at once and lasts; in a `with`
    statement it holds for the block; as a decorator it holds inside the function's calls.

    Parameters
    ----------
    flag : bool
    """

    __slots__ = ("_outer", "_thread")

    def __init__(self, flag: bool) -> None:
        super().__init__(check_flag("set_grad_enabled", "flag", flag))
        self._thread = threading.get_ident()
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
        if self._outer is not None and self._thread == threading.get_ident():
            state.recording, self._outer = self._outer, None


class _Constant(_Switch):
    """A switch that is always the same, and decorates without parentheses also (autograd-08)."""

    __slots__ = ()
    _value: bool

    def __new__(cls, *function: Any) -> Any:
        switch = super().__new__(cls)
        if len(function) > 1:
            msg = f"{cls.__name__}: takes one function to decorate, got {len(function)} arguments"
            raise TypeError(msg)
        if function:
            # What is returned is no switch, so that __init__ is not called for it.
            cls.__init__(switch)
            return switch(*function)
        return switch

    def __init__(self) -> None:
        super().__init__(self._value)


class no_grad(_Constant):
    """Record nothing: ``with no_grad(): ...`` or ``@no_grad``."""

    __slots__ = ()
    _value = False


class enable_grad(_Constant):
    """Record again inside `no_grad`: ``with enable_grad(): ...`` or ``@enable_grad``."""

    __slots__ = ()
    _value = True


def is_grad_enabled() -> bool:
    """Tell whether operations are recorded in this thread."""
    return state.recording
