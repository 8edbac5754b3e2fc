"""What optimizers share: groups of parameters, their options, and the state of each parameter."""

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax

from ..checks import refuse, refuse_type
from ..tape import Traced
from ..tensor import Tensor

Group = dict[str, Any]


class Optimizer:
    """Parameters in groups, and the state that steps keep of each.

    Attributes
    ----------
    param_groups : list of dict
        Each has ``params`` and its options; a change is obeyed by the next step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Traced):
            refuse_type(name, "params", "an iterable of Tensors", params)
        listed = list(params)
        if not listed:
            refuse(name, "params", "at least one Parameter", listed)
        entries = listed if isinstance(listed[0], dict) else [{"params": listed}]
        groups: list[Group] = []
        seen: set[int] = set()
        for group in entries:
            groups.append(self._checked_group(group, defaults, seen))
        self.param_groups = groups
        self._state: dict[int, dict[str, Any]] = {}

    def _checked_group(self, group: Any, defaults: dict[str, Any], seen: set[int]) -> Group:
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            came = type(group).__name__
            msg = f"{name}: a parameter group must be a dict with the key params, got {came}"
            raise TypeError(msg)
        params = [group["params"]] if isinstance(group["params"], Traced) else list(group["params"])
        if not params:
            refuse(name, "params of a group", "at least one Parameter", params)
        for param in params:
            if not isinstance(param, Tensor):
                refuse_type(name, "each of params", "a Tensor", param)
            if param._node is not None:
                refuse(name, "each of params", "a leaf", "the result of an operation")
            if id(param) in seen:
                refuse(name, "params", "distinct", f"one of shape {param.shape} twice")
            seen.add(id(param))
        whole = {"params": params} | {k: group.get(k, v) for k, v in defaults.items()}
        self._check(whole)
        return whole

    def _check(self, options: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _update(self, group: Group, params: list[Any]) -> None:
        raise NotImplementedError

    def _refuse(self, argument: str, value: Any, wanted: str) -> None:
        refuse(type(self).__name__, argument, wanted, value)

    def zero_grad(self) -> None:
        """Make every `grad` None."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None

    def step(self) -> None:
        """Change each Parameter that has a `grad`; objects and dtypes stay, nothing is recorded."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param._grad is not None]
            if params:
                self._update(group, params)

    def _held(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        return [self._state.setdefault(id(param), {}) for param in params]

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state with numbers in the place of Parameters."""
        groups, state, count = [], {}, 0
        for group in self.param_groups:
            numbers = list(range(count, count + len(group["params"])))
            count += len(numbers)
            for number, param in zip(numbers, group["params"], strict=True):
                if id(param) in self._state:
                    state[number] = dict(self._state[id(param)])
            groups.append({**group, "params": numbers})
        return {"state": state, "param_groups": copy.deepcopy(groups)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and the state of an optimizer of the same form.

        Raises
        ------
        ValueError
            If the number of groups or of parameters differs, or a state's shape; nothing is
            changed then.
        """
        name = type(self).__name__
        groups, state = state_dict["param_groups"], state_dict["state"]
        theirs = [len(group["params"]) for group in groups]
        ours = [len(group["params"]) for group in self.param_groups]
        if theirs != ours:
            msg = f"{name}: the state has groups of {theirs} parameters, this optimizer has {ours}"
            raise ValueError(msg)
        loaded: dict[int, dict[str, Any]] = {}
        for mine, other in zip(self.param_groups, groups, strict=True):
            for param, number in zip(mine["params"], other["params"], strict=True):
                entry = dict(state.get(number, {}))
                for key, value in entry.items():
                    if isinstance(value, jax.Array) and value.shape not in ((), param.shape):
                        msg = (
                            f"{name}: state {key!r} of parameter {number} has shape {value.shape}, "
                            f"the Parameter has {param.shape}"
                        )
                        raise ValueError(msg)
                if entry:
                    loaded[id(param)] = entry
        for mine, other in zip(self.param_groups, groups, strict=True):
            mine.update({k: copy.deepcopy(v) for k, v in other.items() if k != "params"})
        self._state = loaded
