"""What optimizers share."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_at_least_zero

__all__ = ["Optimizer"]


class Optimizer:
    """What optimizers share: parameter groups, their checks, and their state.

    Attributes
    ----------
    param_groups : list of dict
        Each with the key `params` and one for each option; the next step obeys a change.
    state : dict
        From Parameters to dicts of what a step keeps for the next.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor | str):
            msg = (
                f"{name}: params must be an iterable of Tensors or dicts, got "
                f"{type(params).__name__}"
            )
            raise TypeError(msg)
        items = list(params)
        if not items:
            msg = f"{name}: params must not be empty, got []"
            raise ValueError(msg)
        if not any(isinstance(item, Mapping) for item in items):
            items = [{"params": items}]
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups = [self._group(name, item, defaults) for item in items]
        every = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in every}) < len(every):
            msg = f"{name}: params must hold each Tensor once, got {len(every)} with repetitions"
            raise ValueError(msg)

    def step(self) -> None:
        """Change every parameter that has a gradient, in place; nothing is recorded."""
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(p, p.grad.detach(), group, self.state.setdefault(p, {}))

    def zero_grad(self) -> None:
        """Make every `grad` None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and the groups, with numbers in the place of parameters."""
        numbers = {p: i for i, p in enumerate(self._params())}
        return {
            "state": {numbers[p]: _copied(kept) for p, kept in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of another optimizer.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If it has another number of groups or parameters; nothing has been changed then.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        counts = [len(group["params"]) for group in groups]
        own = [len(group["params"]) for group in self.param_groups]
        if counts != own:  # optim-07
            msg = f"{name}.load_state_dict: the groups must have {own} parameters, got {counts}"
            raise ValueError(msg)
        params = self._params()
        numbers = [i for group in groups for i in group["params"]]
        places = dict(zip(numbers, params, strict=True))
        unknown = [i for i in state_dict["state"] if i not in places]
        if unknown:
            msg = (
                f"{name}.load_state_dict: there is state for parameters {unknown}, but only "
                f"{numbers} are in the groups"
            )
            raise ValueError(msg)
        self.state = {places[i]: _copied(kept) for i, kept in state_dict["state"].items()}
        self.param_groups = [
            {**group, "params": mine["params"]}
            for group, mine in zip(groups, self.param_groups, strict=True)
        ]

    def _update(
        self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]
    ) -> None:
        raise NotImplementedError

    def _check(self, name: str, group: dict[str, Any]) -> None:
        """Raise a ValueError if an option of `group` is out of range."""
        for option in ("lr", "weight_decay"):
            check_at_least_zero(name, option, group[option])

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _group(self, name: str, item: Any, defaults: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(item, Mapping):
            msg = (
                f"{name}: params must be Tensors or dicts, not both, got {type(item).__name__} "
                "among dicts"
            )
            raise TypeError(msg)
        if "params" not in item:
            msg = f"{name}: a parameter group must have the key 'params', got {sorted(item)}"
            raise ValueError(msg)
        params = item["params"]
        params = [params] if isinstance(params, Tensor) else list(params)
        for p in params:
            if not isinstance(p, Tensor):
                msg = f"{name}: params must be Tensors, got {type(p).__name__}"
                raise TypeError(msg)
            if not p.is_leaf:  # optim-06
                msg = (
                    f"{name}: params must be leaves, got the result of an operation of shape "
                    f"{tuple(p.shape)}"
                )
                raise ValueError(msg)
        if not params:
            msg = f"{name}: params must not be empty, got []"
            raise ValueError(msg)
        group = {**defaults, **item, "params": params}
        self._check(name, group)
        return group


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()
    }
