"""Whether operations are recorded, and what else holds around a call."""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any, TypeAlias

import torch

from impl_torch_ext.checks import check_flag

__all__ = [
    "Surroundings",
    "check_decorated",
    "enable_grad",
    "entered",
    "entered_again",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "surroundings",
]

Surroundings: TypeAlias = tuple[Callable[[], AbstractContextManager[Any]], ...]
"""Contexts that hold, from the outside in."""

is_grad_enabled = torch.is_grad_enabled


class _Mode:
    """A context whose every exit restores the mode before its own entrance.

    torch keeps one such mode on the object; here each thread has its own, and a context that is
    entered again inside itself one for each time.
    """

    _mode: bool

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[int, list[bool]] = {}

    def __enter__(self) -> None:
        before = self._before.setdefault(threading.get_ident(), [])
        before.append(torch.is_grad_enabled())
        torch._C._set_grad_enabled(self._mode)

    def __exit__(self, *error: Any) -> None:
        thread = threading.get_ident()
        before = self._before[thread]
        torch._C._set_grad_enabled(before.pop())
        if not before:
            del self._before[thread]

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, in whose body the mode holds."""
        check_decorated(type(self).__name__, function)
        return super().__call__(function)  # type: ignore[misc]


class no_grad(_Mode, torch.no_grad):
    """Context manager and decorator that records nothing inside, and afterwards as before.

    It decorates with parentheses and without.
    """

    _mode = False


class enable_grad(_Mode, torch.enable_grad):
    """Context manager and decorator that records inside, and afterwards as before.

    It decorates with parentheses and without.
    """

    _mode = True


class set_grad_enabled(_Mode, torch.set_grad_enabled):
    """Record from now on or not; or in a block, or in a function that this decorates.

    Parameters
    ----------
    mode : bool
    """

    def __init__(self, mode: bool) -> None:
        self._mode = self.mode = check_flag("set_grad_enabled", "mode", mode)
        self._before = {}
        # What the first block of this thread, or a decoration, restores.
        self._first: list[bool] = [torch.is_grad_enabled()]
        self._thread = threading.get_ident()
        torch._C._set_grad_enabled(self._mode)

    def __enter__(self) -> None:
        super().__enter__()
        if self._first and self._thread == threading.get_ident():
            self._before[self._thread][-1] = self._first.pop()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return `function`, in whose body the mode holds."""
        if self._first and self._thread == threading.get_ident():
            torch._C._set_grad_enabled(self._first.pop())  # autograd-23
        check_decorated("set_grad_enabled", function)
        # Past the method of torch's class, which restores a mode that the object keeps.
        return super(torch.set_grad_enabled, self).__call__(function)


class _State(threading.local):
    surroundings: Surroundings = ()


_state = _State()


def surroundings() -> Surroundings:
    """Return the contexts that hold in this thread and matter to what runs in them."""
    return _state.surroundings


@contextmanager
def entered(make: Callable[[], AbstractContextManager[Any]]) -> Iterator[Any]:
    """Enter a context that a later run of what runs in it has to enter again."""
    before = _state.surroundings
    with make() as value:
        _state.surroundings = (*before, make)
        try:
            yield value
        finally:
            _state.surroundings = before


@contextmanager
def entered_again(contexts: Surroundings) -> Iterator[None]:
    """Enter the contexts that held somewhere, where others may hold."""
    with ExitStack() as stack:
        for make in contexts:
            stack.enter_context(entered(make))
        yield


def check_decorated(name: str, function: Any) -> None:
    """Raise a TypeError if a mode cannot hold in the body of what is decorated."""
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        msg = (  # autograd-29
            f"{name}: cannot decorate {function.__qualname__}, an asynchronous function: a mode "
            "belongs to a thread, and tasks share one; use a with statement that holds no await"
        )
        raise TypeError(msg)
    if not callable(function) or isinstance(function, type):
        came = function.__name__ if isinstance(function, type) else type(function).__name__
        msg = f"{name}: what is decorated must be a function, got {came}"
        raise TypeError(msg)
