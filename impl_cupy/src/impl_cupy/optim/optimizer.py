"""What optimizers share."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, type_name
from impl_cupy.parameter import as_raw
from impl_cupy.tape import RawArray, note_change, wrap
from impl_cupy.tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """What optimizers share: groups of Parameters, and the state kept for each.

    Attributes
    ----------
    param_groups : list of dict
        ``params`` and the options of each group; a change is obeyed by the next step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        self._check_options(defaults)
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            msg = f"{name}: params must be an iterable of Parameters, got {type(params).__name__}"
            raise TypeError(msg)
        listed = list(params)
        if not listed:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        groups = listed if isinstance(listed[0], dict) else [{"params": listed}]
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self._state: dict[int, dict[str, Any]] = {}
        seen: set[int] = set()
        for group in groups:
            self.param_groups.append(self._group(group, seen))

    def _group(self, group: Any, seen: set[int]) -> Group:
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            msg = f"{name}: a parameter group must be a dict with the key 'params', got {group!r}"
            raise TypeError(msg)
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        for param in params:
            if not isinstance(param, Tensor):
                msg = f"{name}: params must hold Tensors, got {type_name(param)}"
                raise TypeError(msg)
            if not param.is_leaf:
                msg = f"{name}: params must hold leaves, got the result of an operation"
                raise ValueError(msg)
            if id(param) in seen:
                msg = f"{name}: params must hold each Parameter once, got one twice"
                raise ValueError(msg)
            seen.add(id(param))
        made = {**self.defaults, **group, "params": params}
        self._check_options(made)
        return made

    def _check_options(self, options: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _check_at_least_zero(self, options: Mapping[str, Any], *names: str) -> None:
        for name in names:
            check_at_least_zero(type(self).__name__, name, options[name])

    def zero_grad(self) -> None:
        """Make the `grad` of every Parameter None."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None

    def step(self) -> None:
        """Update every Parameter that has a `grad`; nothing is recorded."""
        for group in self.param_groups:
            for param in group["params"]:
                if param.grad is not None:
                    self._step(param, param.grad, group)

    def _step(self, param: Tensor, grad: Tensor, group: Group) -> None:
        # Kernels need C-contiguous arrays; a Parameter need not have one.
        note_change(param)
        raw = param._data
        work = cp.ascontiguousarray(raw)
        state = self._state.setdefault(id(param), {})
        self._update(work, cp.ascontiguousarray(grad._data), state, group)
        if work is not raw:
            raw[...] = work

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and the options, Parameters by their number.

        Returns
        -------
        dict
            ``state``: by number a dict of Tensors and ints; ``param_groups``: a list of dicts.
        """
        numbers = {id(param): number for number, param in enumerate(self._params())}
        state = {
            numbers[key]: {name: _exported(value) for name, value in entries.items()}
            for key, entries in self._state.items()
        }
        groups = []
        for group in self.param_groups:
            options = {name: copy.copy(value) for name, value in group.items() if name != "params"}
            groups.append({**options, "params": [numbers[id(param)] for param in group["params"]]})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the next step continues with the same numbers.

        Raises
        ------
        ValueError
            If the number of groups or Parameters differs, or a shape; nothing is changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        groups = self._check_groups(name, state_dict)
        numbers = [number for group in groups for number in group["params"]]
        by_number = dict(zip(numbers, self._params(), strict=True))
        state = {}
        for number, entries in state_dict["state"].items():
            if number not in by_number:
                msg = f"{name}: the state names parameter {number}, which no group has"
                raise ValueError(msg)
            param = by_number[number]
            state[id(param)] = {
                key: _imported(name, key, value, param) for key, value in entries.items()
            }
        merged = []
        for own, other in zip(self.param_groups, groups, strict=True):
            made = {**own, **copy.deepcopy(dict(other)), "params": own["params"]}
            self._check_options(made)
            merged.append(made)
        self._state = state
        self.param_groups = merged

    def _check_groups(self, name: str, state_dict: Any) -> list[Any]:
        """Return the groups of a state dict that has as many, of as many Parameters."""
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            msg = f"{name}: must be a mapping with 'state' and 'param_groups', got {state_dict!r}"
            raise ValueError(msg)
        groups: list[Any] = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            msg = f"{name}: must have {len(self.param_groups)} groups, got {len(groups)}"
            raise ValueError(msg)
        for own, other in zip(self.param_groups, groups, strict=True):
            if len(own["params"]) != len(other["params"]):
                msg = (
                    f"{name}: a group must have {len(own['params'])} parameters, "
                    f"got {len(other['params'])}"
                )
                raise ValueError(msg)
        return groups

    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]


def _exported(value: Any) -> Any:
    return wrap(value.copy()) if isinstance(value, cp.ndarray) else value


def _imported(operation: str, key: str, value: Any, param: Tensor) -> Any:
    if isinstance(value, int):
        return value
    raw = cp.array(as_raw(f"{operation}: {key}", value), copy=True, order="C")
    if raw.shape != param.shape:
        msg = f"{operation}: {key} must have shape {param.shape}, got {raw.shape}"
        raise ValueError(msg)
    return raw
