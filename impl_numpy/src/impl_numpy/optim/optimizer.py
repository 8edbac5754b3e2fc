"""The base of optimizers: they change Parameters in place and record nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from impl_numpy.dtypes import Array
from impl_numpy.parameter import overwrite
from impl_numpy.tensor import Tensor, wrap

Group = dict[str, Any]


class Optimizer:
    """Parameters in groups, each with its options, and the state that belongs to each Parameter.

    Parameters
    ----------
    params : iterable of Parameter, or of dicts with the key "params" and options
    defaults : dict
        The options of a group that does not have its own.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, or an option is out of range.
    TypeError
        If something is no Tensor.
    """

    param_groups: list[Group]

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        name = type(self).__name__
        if isinstance(params, (Tensor, Mapping)):
            msg = (
                f"{name}: params must be an iterable of Parameters, got one {type(params).__name__}"
            )
            raise TypeError(msg)
        members = list(params)
        if not members:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        grouped = all(isinstance(member, Mapping) for member in members)
        groups = members if grouped else [{"params": members}]
        self.param_groups = [self._group(defaults, group) for group in groups]
        everything = [id(p) for p in self._params()]
        if len(set(everything)) < len(everything):
            msg = f"{name}: params must hold each Parameter once, got one twice"
            raise ValueError(msg)
        self._state: dict[int, dict[str, Any]] = {}

    def _group(self, defaults: Group, options: Mapping[str, Any]) -> Group:
        params = options["params"]
        members = [params] if isinstance(params, Tensor) else list(params)
        for p in members:
            if not isinstance(p, Tensor):
                msg = f"{type(self).__name__}: params must be Tensors, got {type(p).__name__}"
                raise TypeError(msg)
            if not p.is_leaf:
                msg = (
                    f"{type(self).__name__}: params: can't optimize a Tensor that is no leaf, "
                    f"got what {p.grad_fn} made; give the Parameter itself"
                )
                raise ValueError(msg)
        group = {**defaults, **options, "params": members}
        self._check(group)
        return group

    def _check(self, group: Group) -> None:
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if name in group and not group[name] >= 0:
                msg = f"{type(self).__name__}: {name} must not be negative, got {group[name]}"
                raise ValueError(msg)

    def _update(self, p: Array, grad: Array, state: dict[str, Any], group: Group) -> Array:
        """Return the new values of one Parameter."""
        raise NotImplementedError

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def step(self) -> None:
        """Change every Parameter that has a gradient."""
        k = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self._state.setdefault(k, {})
                    overwrite(p, self._update(p._data, p.grad._data, state, group))
                k += 1

    def zero_grad(self) -> None:
        """Make the `grad` of every Parameter None."""
        for p in self._params():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state by position of the Parameter, and the options of each group."""
        counts = iter(range(len(self._params())))
        groups = [
            {**group, "params": [next(counts) for _ in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": _copied(self._state, _out), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from another optimizer's state.

        Raises
        ------
        ValueError
            If it has another number of groups or parameters; nothing has changed then.
        """
        groups = state_dict["param_groups"]
        wanted = [len(group["params"]) for group in self.param_groups]
        got = [len(group["params"]) for group in groups]
        if wanted != got:
            name = type(self).__name__
            msg = f"{name}.load_state_dict: groups must hold {wanted} parameters, got {got}"
            raise ValueError(msg)
        self._state = _copied(state_dict["state"], _in)
        for group, other in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in other.items() if key != "params"})


def _copied(state: Mapping[int, Mapping[str, Any]], convert: Any) -> dict[int, dict[str, Any]]:
    return {
        int(k): {name: convert(value) for name, value in entries.items()}
        for k, entries in state.items()
    }


def _out(value: Any) -> Any:
    return wrap(value.copy(), None) if isinstance(value, np.ndarray) else value


def _in(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value._data
    return value.copy() if isinstance(value, np.ndarray) else value
