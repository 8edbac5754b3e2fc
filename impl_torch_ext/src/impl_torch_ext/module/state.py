"""Modules, and how their state is loaded."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from impl_torch_ext.creation import from_array
from impl_torch_ext.module.base import Base
from impl_torch_ext.tensor import from_numpy

__all__ = ["Keys", "Module"]


class Module(Base):
    """Owner of Parameters, buffers and other Modules, whose `forward` runs when it is called.

    Everything is inherited from `torch.nn.Module` but the errors of registration and of
    `load_state_dict`, which name what is wrong in one line, and the arrays that `load_state_dict`
    takes.
    """

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> "Keys":
        """Copy values into the present parameters and buffers.

        Parameters
        ----------
        state_dict : mapping of str to Tensor, raw array or numpy.ndarray
        strict : bool
            Whether missing and unexpected keys are errors.
        assign : bool
            As in torch.

        Returns
        -------
        named tuple
            `missing_keys` and `unexpected_keys`, two lists; empty after a strict load.

        Raises
        ------
        RuntimeError
            Lists every missing, unexpected and misshapen key; nothing has been changed then.
        TypeError
            If a value is no array; nothing has been changed then either.
        """
        name = type(self).__name__
        own = self.state_dict()
        state = {
            key: _array(name, key, value) if isinstance(own.get(key), Tensor) else value
            for key, value in state_dict.items()
        }
        _check_state(name, own, state, strict)
        # Keys that are no str get here with strict=False alone; torch would trip over them.
        known = {key: value for key, value in state.items() if isinstance(key, str)}
        super().load_state_dict(known, strict, assign)
        return Keys(  # module-08
            [key for key in own if key not in state], [key for key in state if key not in own]
        )


class Keys(NamedTuple):
    """The names that a module and what it loaded do not share."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _check_state(name: str, own: Mapping[str, Any], state: Mapping[str, Any], strict: bool) -> None:
    """Raise one RuntimeError that lists every missing, unexpected and misshapen key."""
    faults = [f"missing {key!r}" for key in own if key not in state] if strict else []
    faults += [f"unexpected {key!r}" for key in state if key not in own] if strict else []
    faults += [
        f"{key!r} must have shape {tuple(own[key].shape)}, got {tuple(value.shape)}"
        for key, value in state.items()
        if isinstance(own.get(key), Tensor)
        and isinstance(value, Tensor)
        and value.shape != own[key].shape
    ]
    if faults:  # module-09
        msg = f"{name}.load_state_dict: {'; '.join(faults)}"
        raise RuntimeError(msg)


def _array(name: str, key: str, value: Any) -> Tensor:
    if isinstance(value, np.ndarray):
        return from_numpy(f"{name}.load_state_dict: {key!r}", value)
    if isinstance(value, Tensor):
        return from_array(value)
    msg = (
        f"{name}.load_state_dict: {key!r} must be a Tensor or an array, got {type(value).__name__}"
    )
    raise TypeError(msg)
