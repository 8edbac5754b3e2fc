"""Recording switched on and off."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, TypeVar

from impl_cupy.checks import check_callable, check_flag
from impl_cupy.tape import Observing, Recording, state

_F = TypeVar("_F", bound=Callable[..., Any])


class Block:
    """A context manager that may be entered again, and in several threads.

    What it restores is kept with the thread.
    """

    __slots__ = ()

    def _block(self) -> Recording | Observing:
        """Return what switches and restores, once."""
        raise NotImplementedError

    def __enter__(self) -> None:
        block = self._block()
        block.__enter__()
        state.switched.append((self, block))

    def __exit__(self, *_: object) -> None:
        switched = state.switched
        # Not always the last: a generator may be suspended inside a block that its caller leaves.
        for place in range(len(switched) - 1, -1, -1):
            if switched[place][0] is self:
                switched.pop(place)[1].__exit__()
                return


class Switch(Block):
    """A block that is a decorator also."""

    __slots__ = ()

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
        block = self._block
        if isgeneratorfunction(function):
            return _stepped(function, block)  # type: ignore[return-value]

        @functools.wraps(function)
        def switched(*args: Any, **kwargs: Any) -> Any:
            with block():
                return function(*args, **kwargs)

        return switched  # type: ignore[return-value]


def _stepped(
    function: Callable[..., Any], block: Callable[[], Recording | Observing]
) -> Callable[..., Any]:
    """Decorate a generator function: the switch holds inside it, and not between its steps."""

    @functools.wraps(function)
    def stepped(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = function(*args, **kwargs)
        resume, sent = body.send, None
        while True:
            try:
                with block():
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


class _Flagged(Switch):
    """A switch of recording."""

    __slots__ = ("_flag",)

    def __init__(self, flag: bool) -> None:
        self._flag = flag

    def _block(self) -> Recording:
        return Recording(self._flag)


class set_grad_enabled(_Flagged):
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


class Bare(Switch):
    """A switch without options, that decorates without parentheses also (autograd-08)."""

    __slots__ = ()

    def __new__(cls, *function: Any) -> Any:
        """Make a switch, or decorate the one function."""
        switch = super().__new__(cls)
        if len(function) > 1:
            msg = f"{cls.__name__}: takes one function to decorate, got {len(function)} arguments"
            raise TypeError(msg)
        if function:
            # What is returned is no switch, so that __init__ is not called for it.
            cls.__init__(switch)
            return switch(*function)
        return switch


class _Constant(Bare, _Flagged):
    """A switch of recording that is always the same."""

    __slots__ = ()
    _value: bool

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
