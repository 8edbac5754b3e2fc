"""What optimizers share."""

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext.checks import check_at_least_zero, shown
from impl_torch_ext.creation import copied
from impl_torch_ext.dtypes import bool_, plain_number

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

    # What `state` has of each parameter; the first may be the number of steps.
    _entries: ClassVar[tuple[str, ...]] = ()

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        items = _listed(name, params)
        if not any(isinstance(item, Mapping) for item in items):
            items = [{"params": items}]
        self.state: dict[Tensor, dict[str, Any]] = {}
        self._defaults = defaults
        self.param_groups: list[dict[str, Any]] = []
        for item in items:
            self.add_param_group(item)

    def step(self) -> None:
        """Change every parameter that has a gradient, in place; nothing is recorded.

        One that is frozen, or has no gradient, keeps what it has.

        Raises
        ------
        ValueError, TypeError
            If an option that was changed is no number or out of range; nothing has changed then.
        """
        with torch.no_grad():
            # All are checked before one parameter changes.
            groups = [{**g, **self._checked(type(self).__name__, g)} for g in self.param_groups]
            for options in groups:
                for p in options["params"]:
                    grad = p.grad
                    if grad is not None and p.requires_grad:  # optim-11
                        self._update(p, grad.detach(), options, self.state.setdefault(p, {}))

    def zero_grad(self) -> None:
        """Make every `grad` None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group of parameters.

        Parameters
        ----------
        group : mapping
            With the key `params`, and any options.

        Raises
        ------
        ValueError
            If a parameter is in a group already, or is no leaf, or an option is out of range.
        TypeError
            If `group` is no mapping, or a parameter no Tensor.
        """
        name = type(self).__name__
        checked = self._group(name, group)
        every = [*self._params(), *checked["params"]]
        if len({id(p) for p in every}) < len(every):
            msg = f"{name}: params must hold each Tensor once, got {len(every)} with repetitions"
            raise ValueError(msg)
        self.param_groups.append(checked)

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and the groups, with positions in the place of parameters."""
        numbers = {id(p): i for i, p in enumerate(self._params())}
        return {  # optim-09
            "state": {
                numbers[id(p)]: {key: _written(value) for key, value in self.state[p].items()}
                for p in self._params()
                if p in self.state
            },
            "param_groups": [
                {key: _plain(value) for key, value in group.items() if key != "params"}
                | {"params": [numbers[id(p)] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of another optimizer, this one's or torch's.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` returned; its arrays may be Tensors, NumPy arrays or lists.

        Raises
        ------
        ValueError, TypeError
            If it is of another algorithm, or an entry does not fit; nothing has been changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        state, groups = _parts(name, state_dict)
        own = [len(group["params"]) for group in self.param_groups]
        counts = [len(group["params"]) for group in groups]
        if counts != own:  # optim-07
            msg = f"{name}: the groups must have {own} parameters, got {counts}"
            raise ValueError(msg)
        options = [
            self._loaded_options(name, group, mine)
            for group, mine in zip(groups, self.param_groups, strict=True)
        ]
        numbers = [str(i) for group in groups for i in group["params"]]
        places = dict(zip(numbers, self._params(), strict=True))
        unknown = [i for i in state if str(i) not in places]
        if unknown:
            msg = (
                f"{name}: there is state for parameters {unknown}, but only {numbers} are in the "
                "groups"
            )
            raise ValueError(msg)
        loaded = {
            places[str(i)]: self._loaded_entries(f"{name}: state[{i}]", entry, places[str(i)])
            for i, entry in state.items()
        }
        self.state = {p: entry for p, entry in loaded.items() if entry}
        self.param_groups = [
            {**mine, **values} for mine, values in zip(self.param_groups, options, strict=True)
        ]

    def _update(
        self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]
    ) -> None:
        msg = f"{type(self).__name__}: must have a method _update, got none"
        raise NotImplementedError(msg)

    def _checked(self, name: str, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of `group` as plain numbers, or raise."""
        return {
            option: check_at_least_zero(name, option, group[option])
            for option in ("lr", "weight_decay")
        }

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _group(self, name: str, item: Any) -> dict[str, Any]:
        if not isinstance(item, Mapping):
            msg = f"{name}: a parameter group must be a dict, got {type(item).__name__}"
            raise TypeError(msg)
        if "params" not in item:
            msg = f"{name}: a parameter group must have the key 'params', got {[*item]}"
            raise ValueError(msg)
        params = item["params"]
        params = [params] if isinstance(params, Tensor) else _listed(name, params)
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
        group = {**self._defaults, **item, "params": params}
        return {**group, **self._checked(name, group)}

    def _loaded_options(
        self, name: str, group: Mapping[str, Any], mine: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the options of a loaded group, or raise."""
        missing = [option for option in self._defaults if option not in group]
        if missing:
            msg = f"{name}: a group must have the options {[*self._defaults]}, got no {missing}"
            raise ValueError(msg)
        on = [key for key, value in group.items() if key not in mine and value not in (None, False)]
        if on:  # optim-10
            msg = f"{name}: the option {on[0]} must be off, got {shown(group[on[0]])}"
            raise ValueError(msg)
        known = {key: value for key, value in group.items() if key in mine and key != "params"}
        return {**known, **self._checked(name, group)}

    def _loaded_entries(self, place: str, entry: Any, p: Tensor) -> dict[str, Any]:
        """Return what is kept for the parameter `p`, copied into its dtype, or raise."""
        if not isinstance(entry, Mapping):
            msg = f"{place} must be a mapping, got {type(entry).__name__}"
            raise TypeError(msg)
        present = {key: value for key, value in entry.items() if value is not None}
        if present and set(present) != set(self._entries):
            msg = f"{place} must have the entries {[*self._entries]}, got {[*present]}"
            raise ValueError(msg)
        return {
            key: _steps(f"{place}[{key!r}]", value)
            if key == "step"
            else _array(f"{place}[{key!r}]", value, p)
            for key, value in present.items()
        }


def _listed(name: str, params: Any) -> list[Any]:
    if isinstance(params, Tensor | str | Mapping) or not isinstance(params, Iterable):
        msg = f"{name}: params must be an iterable of Tensors or dicts, got {type(params).__name__}"
        raise TypeError(msg)
    try:
        items = list(params)
    except TypeError:  # A NumPy array without axes says that it is iterable.
        msg = f"{name}: params must be an iterable of Tensors or dicts, got {shown(params)}"
        raise TypeError(msg) from None
    if not items:
        msg = f"{name}: params must not be empty, got []"
        raise ValueError(msg)
    return items


def _parts(name: str, state_dict: Any) -> tuple[Mapping[Any, Any], list[Mapping[str, Any]]]:
    """Return the state and the groups of a state dict, or raise if it is none."""
    if not isinstance(state_dict, Mapping):
        msg = f"{name}: state_dict must be a mapping, got {type(state_dict).__name__}"
        raise TypeError(msg)
    for key in ("state", "param_groups"):
        if key not in state_dict:
            msg = f"{name}: state_dict must have the key {key!r}, got {[*state_dict]}"
            raise ValueError(msg)
    state, groups = state_dict["state"], state_dict["param_groups"]
    if not isinstance(state, Mapping):
        msg = f"{name}: state must be a mapping, got {type(state).__name__}"
        raise TypeError(msg)
    if not isinstance(groups, list | tuple) or not all(isinstance(g, Mapping) for g in groups):
        msg = f"{name}: param_groups must be a list of dicts, got {shown(groups)}"
        raise TypeError(msg)
    for group in groups:
        if not isinstance(group.get("params"), list | tuple):
            msg = f"{name}: a group must have the positions of its parameters as params, got none"
            raise ValueError(msg)
    return state, list(groups)


def _plain(option: Any) -> Any:
    """Return an option with NumPy's scalars, set later, as Python's numbers (optim-12)."""
    if isinstance(option, tuple | list):
        return tuple(map(_plain, option))
    return plain_number(option)


def _written(value: Any) -> Tensor:
    return value.clone() if isinstance(value, Tensor) else torch.tensor(float(value))


def _steps(place: str, value: Any) -> float:
    steps = _copied(place, value)
    if steps.ndim != 0:
        msg = f"{place} must have no axes, got shape {tuple(steps.shape)}"
        raise ValueError(msg)
    return check_at_least_zero(place, "it", steps.item())


def _array(place: str, value: Any, p: Tensor) -> Tensor:
    # Of lists there is no other dtype to keep.
    result = _copied(place, value, p.dtype if isinstance(value, list | tuple) else None)
    if result.shape != p.shape:
        msg = f"{place} must have shape {tuple(p.shape)}, got {tuple(result.shape)}"
        raise ValueError(msg)
    return result.to(p.dtype)


def _copied(place: str, value: Any, dtype: torch.dtype | None = None) -> Tensor:
    result = copied(place, value, dtype)
    if result.dtype == bool_:
        msg = f"{place} must be of numbers, got {result.dtype}"
        raise TypeError(msg)
    return result
