"""The ctx: what the forward of a Function leaves for its backward."""

from collections.abc import Mapping
from threading import get_ident
from types import MappingProxyType, ModuleType
from typing import ClassVar, TypeAlias

import array_api_compat.torch as array_namespace
from torch import Tensor

__all__ = ["Context"]

_Seen: TypeAlias = tuple[tuple[Tensor | None, ...], tuple[bool, ...]]


class Context:
    """What `forward` leaves for `backward`.

    Any attribute can be set in `forward` and read in `backward`.
    """

    # Defaults on the class: an instance that is its own ctx may have an __init__ that never calls
    # ours.
    _saved: tuple[Tensor | None, ...] = ()
    _needs_input_grad: tuple[bool, ...] = ()
    _non_differentiable: tuple[Tensor, ...] = ()
    _materialize_grads: bool = True
    _xp: ModuleType = array_namespace
    # What each thread that runs backward sees, by its number: a kept graph serves several at once.
    _running: ClassVar[Mapping[int, _Seen]] = MappingProxyType({})

    @property
    def xp(self) -> ModuleType:
        """The namespace of functions: torch's on raw arrays, `ops` on Tensors that are followed."""
        return self._xp  # ops-23

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        """One bool per positional input, true where its gradient is wanted."""
        running = self._running.get(get_ident())
        return running[1] if running else self._needs_input_grad

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        """What `save_for_backward` got, in the same order."""
        running = self._running.get(get_ident())
        return running[0] if running else self._saved

    def save_for_backward(self, *items: Tensor | None) -> None:
        """Keep raw arrays (inputs, outputs or intermediates) and None for `backward`.

        Raises
        ------
        TypeError
            If an item is neither; anything else can be an attribute of the ctx.
        """
        for item in items:
            if item is not None and not isinstance(item, Tensor):  # function-07
                msg = (
                    f"save_for_backward: items must be raw arrays or None, got "
                    f"{type(item).__name__}; set an attribute instead"
                )
                raise TypeError(msg)
        self._saved = items

    def mark_non_differentiable(self, *outputs: Tensor) -> None:
        """Make these outputs of `forward` not require grad."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether `backward` gets zeros (the default) or None for unused outputs."""
        self._materialize_grads = value

    def mark_dirty(self, *_inputs: Tensor) -> None:
        """Refuse: Functions do not modify their inputs."""
        msg = "mark_dirty: Functions do not modify their inputs; return a new array instead"
        raise RuntimeError(msg)  # function-16
