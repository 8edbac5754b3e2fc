"""The ctx: what `forward` leaves for `backward`."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np

from impl_numpy.dtypes import is_raw
from impl_numpy.tensor import Tensor


class Context:
    """What `forward` leaves for `backward`.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        One per positional input: whether it is a Tensor whose gradient is wanted.
    saved_tensors : tuple of array or None
        What `save_for_backward` was given.
    xp : module
        The array-API namespace that fits the arrays in hand: `numpy`, or `ops` on Tensors.
    """

    needs_input_grad: tuple[bool, ...] = ()
    xp: Any = np
    _saved: tuple[Any, ...] = ()
    _recorded: weakref.ref[Any] | None = None
    _materialize: bool = True
    _non_differentiable: tuple[Any, ...] = ()

    def _owner(self) -> str:
        return type(self).__name__

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """Return what `save_for_backward` was given, in the same order."""
        node = None if self._recorded is None else self._recorded()
        return self._saved if node is None else node.values()

    def save_for_backward(self, *items: Any) -> None:
        """Keep arrays, and None, for `backward`.

        Raises
        ------
        TypeError
            If an item is neither.
        """
        for k, item in enumerate(items):
            if item is not None and not is_raw(item) and not isinstance(item, Tensor):
                msg = (
                    f"{self._owner()}.save_for_backward: item {k} must be a raw array or None, "
                    f"got {type(item).__name__}; keep other things as attributes of the ctx"
                )
                raise TypeError(msg)
        self._saved = items

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Say that these outputs do not require grad."""
        self._non_differentiable = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """With False, `backward` gets None instead of zeros for an output that nothing used."""
        self._materialize = value

    def mark_dirty(self, *inputs: Any) -> None:  # noqa: ARG002
        """Raise RuntimeError: Functions do not modify their inputs."""
        msg = (
            f"{self._owner()}.mark_dirty: Functions do not modify their inputs; return a new array"
        )
        raise RuntimeError(msg)


class StaticContext(Context):
    """The ctx of the static spelling.

    Parameters
    ----------
    function : type
        The Function whose call it serves.
    """

    def __init__(self, function: type) -> None:
        self._function = function

    def _owner(self) -> str:
        return self._function.__name__
