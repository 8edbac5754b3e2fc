"""The ctx: what `forward` leaves for `backward`."""

from __future__ import annotations

from typing import Any

from impl_cupy import xp as raw_xp
from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.memory import RawArray
from impl_cupy.tape import FREED
from impl_cupy.tensor import Tensor


class Context:
    """Carries a Function's state from `forward` to `backward`.

    Any attribute may be set on it in `forward` and read in `backward`.

    Attributes
    ----------
    xp : namespace
        The array-API namespace that fits the arrays in hand: CuPy's for raw arrays, `ops` where
        the Function runs on Tensors.
    needs_input_grad : tuple of bool
        By positional input, whether it is a Tensor whose gradient is wanted.
    """

    xp: Any = raw_xp
    needs_input_grad: tuple[bool, ...] = ()

    # A user's __init__ need not call ours, so the state starts out on the class.
    _saved: tuple[Any, ...] | None = ()
    _non_differentiable: tuple[Any, ...] = ()
    _materialize = True
    # Within a block of saved_tensors_hooks, the arrays that forward got.
    _given: tuple[Any, ...] = ()
    _name = "Function"

    def save_for_backward(self, *items: RawArray | None) -> None:
        """Keep arrays for `backward`, which finds them in `saved_tensors`.

        Raises
        ------
        TypeError
            If an item is neither an array nor None.
        """
        on_tensors = self.xp is not raw_xp
        for position, item in enumerate(items):
            if item is None or isinstance(item, cp.ndarray):
                continue
            if not isinstance(item, Tensor):
                msg = (
                    f"{self._name}: save_for_backward takes raw arrays and None, got "
                    f"{type_name(item)} at position {position}; set an attribute instead"
                )
                raise TypeError(msg)
        if not on_tensors:
            items = tuple([item._data if isinstance(item, Tensor) else item for item in items])
        self._saved = items

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given, in the same order.

        Raises
        ------
        RuntimeError
            If the graph was freed.
        """
        if self._saved is None:
            msg = f"{self._name}: saved_tensors are gone: {FREED}"
            raise RuntimeError(msg)
        return self._saved

    def mark_non_differentiable(self, *outputs: RawArray) -> None:
        """Say of outputs that they have no gradient."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """Choose whether `backward` gets zeros (True) or None for outputs that nothing used."""
        self._materialize = bool(value)

    def mark_dirty(self, *_: RawArray) -> None:
        """Refuse: Functions do not modify their inputs.

        Raises
        ------
        RuntimeError
            Always.
        """
        msg = f"{self._name}: mark_dirty: Functions do not modify their inputs; return a new array"
        raise RuntimeError(msg)
