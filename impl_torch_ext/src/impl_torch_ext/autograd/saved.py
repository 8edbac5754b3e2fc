"""What is kept for backward, through a program's hands."""

import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from impl_torch_ext.checks import check_function
from impl_torch_ext.dtypes import is_inexact

__all__ = ["saved_tensors_hooks"]

_hooks = torch._C._autograd


class saved_tensors_hooks:
    """Context manager inside which what is kept for backward goes through two functions.

    Parameters
    ----------
    pack : callable
        Gets a Tensor that does not require grad, each time an operation of this thread keeps a
        floating or complex array of one axis or more, and returns any object, which is kept in its
        place.
    unpack : callable
        Gets that object when backward wants the array, and returns a Tensor of the same shape and
        dtype, which is used.

    Raises
    ------
    TypeError
        If one of the two cannot be called; in backward, if `unpack` returns no Tensor or another
        dtype.
    ValueError
        In backward, if `unpack` returns another shape.
    RuntimeError
        If `pack` writes into what it gets; in backward, if what it got and kept was changed since.

    Notes
    -----
    torch's own hooks of this name do the work. Beside them it is checked what `unpack` returns, and
    that no array was changed: torch leaves that to the hooks.
    """

    def __init__(self, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]) -> None:
        self._pack = check_function("saved_tensors_hooks", "pack", pack)
        self._unpack = check_function("saved_tensors_hooks", "unpack", unpack)

    def __enter__(self) -> None:
        _hooks._push_saved_tensors_default_hooks(self._packed, _unpacked)

    def __exit__(self, *error: Any) -> None:
        _hooks._pop_saved_tensors_default_hooks()

    def _packed(self, x: Tensor) -> "_Kept | _Plain":
        if not x.ndim or not is_inexact(x.dtype):
            return _Plain(x)
        return _Kept(x.detach(), self._pack, self._unpack)


class _Plain:
    """An array that goes through no hands."""

    __slots__ = ("version", "x")

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.version = _version(x)

    def unpacked(self) -> Tensor:
        if _version(self.x) != self.version:
            _refuse_change(self.x.shape)
        return self.x


class _Kept:
    """What `pack` returned, and what has to be known of the array that it got."""

    __slots__ = ("dtype", "held", "shape", "storage", "tensor", "unpack", "version")

    def __init__(
        self, x: Tensor, pack: Callable[[Tensor], Any], unpack: Callable[[Any], Tensor]
    ) -> None:
        self.unpack = unpack
        self.shape, self.dtype = x.shape, x.dtype
        # Neither holds the memory, which `pack` may want to let go.
        self.tensor, self.storage = weakref.ref(x), StorageWeakRef(x.untyped_storage())
        self.version = _version(x)
        self.held = _alone(pack, x)

    def unpacked(self) -> Tensor:
        """Return what takes the array's place, after its checks."""
        x = self.tensor()
        if x is not None and _version(x) != self.version:
            _refuse_change(self.shape)  # autograd-24
        x = _alone(self.unpack, self.held)
        if not isinstance(x, Tensor):
            self._refuse(TypeError, "a Tensor", type(x).__name__)
        if x.dtype != self.dtype:
            self._refuse(TypeError, f"dtype {self.dtype}", x.dtype)
        if x.shape != self.shape:
            self._refuse(ValueError, f"shape {tuple(self.shape)}", tuple(x.shape))
        if (
            _version(x) != self.version
            and not self.storage.expired()
            and self.storage == StorageWeakRef(x.untyped_storage())
        ):
            _refuse_change(self.shape)
        return x.detach() if x.requires_grad else x

    def _refuse(self, error: type[Exception], wanted: str, came: Any) -> NoReturn:
        msg = f"saved_tensors_hooks: unpack must return {wanted}, as pack got, got {came}"
        raise error(msg)


def _unpacked(kept: "_Kept | _Plain") -> Tensor:
    return kept.unpacked()


def _alone(function: Callable[[Any], Any], argument: Any) -> Any:
    """Call a function so that nothing that it computes is recorded or goes through hooks."""
    with torch.no_grad():
        return function(argument)


def _version(x: Tensor) -> int:
    return 0 if x.is_inference() else x._version


def _refuse_change(shape: torch.Size) -> NoReturn:
    msg = (
        f"saved_tensors_hooks: backward needs the array of shape {tuple(shape)} that pack got, got "
        "one that was changed in place since"
    )
    raise RuntimeError(msg)
