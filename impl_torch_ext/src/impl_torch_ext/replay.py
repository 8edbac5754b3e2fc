"""Forward and backward of a Function run again on Tensors, for derivatives beyond the first."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn, TypeAlias

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from impl_torch_ext.dtypes import is_inexact

__all__ = ["replaying", "state", "watched_by"]


_Watcher: TypeAlias = Callable[..., Any]


class _State(threading.local):
    replaying = False
    watch: _Watcher | None = None


state = _State()


@contextmanager
def watched_by(watch: _Watcher) -> Iterator[None]:
    """Let `watch(name, inputs, call)` make the calls of Functions in this thread, by `call()`."""
    before = state.replaying, state.watch
    state.replaying, state.watch = True, watch
    try:
        yield
    finally:
        state.replaying, state.watch = before


_CUTS: dict[Any, str] = {
    torch.Tensor.detach: "detach",
    torch.Tensor.detach_: "detach_",
    torch.detach: "detach",
    torch.Tensor.data.__get__: "data",
    torch.Tensor.numpy: "numpy",
    torch.Tensor.__array__: "numpy",
    torch.Tensor.item: "item",
    torch.Tensor.tolist: "tolist",
    torch.Tensor.__float__: "float",
    torch.Tensor.__int__: "int",
    torch.Tensor.new_tensor: "new_tensor",
    torch.tensor: "tensor",
}


class _Replay(TorchFunctionMode):
    """Refuses what cuts the history of a Function's forward and backward on Tensors."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.unrecorded = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call `func`, or raise a RuntimeError."""
        if func in _CUTS and args and _followed(args[0]):
            self._refuse(_CUTS[func])
        result = func(*args, **(kwargs or {}))
        if func is torch._C._set_grad_enabled:
            self.unrecorded = not args[0]
        elif self.unrecorded and _floating(result) and any(map(_followed, args)):
            self._refuse("an operation under no_grad")
        return result

    def _refuse(self, what: str) -> NoReturn:
        msg = (  # function-28
            f"{self.name}: {what} of a Tensor that requires grad cuts the history that "
            "create_graph=True asks for; compute with ctx.xp, give the class a composite or mark "
            "its backward once_differentiable"
        )
        raise RuntimeError(msg)


def _followed(x: Any) -> bool:
    if isinstance(x, list | tuple):
        return any(map(_followed, x))
    return isinstance(x, Tensor) and x.requires_grad


def _floating(x: Any) -> bool:
    return isinstance(x, Tensor) and is_inexact(x.dtype)


@contextmanager
def replaying(name: str) -> Iterator[None]:
    """Run the forward and backward of the Function `name` on Tensors that are followed."""
    before, state.replaying = state.replaying, True
    try:
        with _Replay(name):
            yield
    finally:
        state.replaying = before
