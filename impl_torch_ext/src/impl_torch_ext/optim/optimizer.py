"""What optimizers share."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext.checks import (
    Option,
    check_choice,
    check_flag,
    check_function,
    check_int,
    check_number,
    check_size,
    shown,
)
from impl_torch_ext.creation import copied
from impl_torch_ext.dtypes import FIVE, bool_, plain_number
from impl_torch_ext.ops.transcendental import as_float

__all__ = ["SCHEDULE", "Optimizer", "check_list", "check_not_negative", "construct"]
__all__ += ["copied_array", "copied_number"]

# What schedulers put into groups (optim-10).
_SCHEDULED = frozenset({"initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum"})
# Options that a state may lack.
_LATER = frozenset({"maximize", "amsgrad", "decoupled_weight_decay"})


def check_not_negative(name: str, option: str, value: Any) -> float:
    """Return `value` as a Python number, or raise if it is none, negative or NaN."""
    number = check_number(name, option, value)
    if not as_float(name, option, number) >= 0:  # optim-06, optim-12
        msg = f"{name}: {option} must be at least 0, got {value}"
        raise ValueError(msg)
    return number


def bounded(text: str, fits: Callable[[float], bool]) -> Option:
    """Make a check of a number that is as `text` says."""

    def check(name: str, option: str, value: Any) -> float:
        number = as_float(name, option, value)
        if math.isnan(number) or not fits(number):
            msg = f"{name}: {option} must be {text}, got {shown(value)}"
            raise ValueError(msg)
        return number

    return check


def bounded_int(low: int) -> Option:
    """Make a check of an int that is at least `low`."""

    def check(name: str, option: str, value: Any) -> int:
        number = check_int(name, option, value)
        if number < low:
            msg = f"{name}: {option} must be at least {low}, got {number}"
            raise ValueError(msg)
        return number

    return check


def check_size_or_none(name: str, option: str, value: Any) -> int | None:
    """Return a positive int or None, or raise."""
    return None if value is None else check_size(name, option, value)


def check_list(check: Option, count: int | None = None) -> Option:
    """Make a check of a list, of `count` items if that is said, each of which is checked."""

    def several(name: str, option: str, value: Any) -> list[Any]:
        if not isinstance(value, list | tuple):
            msg = f"{name}: {option} must be a list, got {shown(value)}"
            raise TypeError(msg)
        if count is not None and len(value) != count:
            msg = f"{name}: {option} must have one item per group, {count}, got {len(value)}"
            raise ValueError(msg)
        return [check(name, f"each of {option}", item) for item in value]

    return several


def check_each(check: Option, count: int) -> Option:
    """Make a check of one value for all groups, or of a list with one for each of them."""

    def each(name: str, option: str, value: Any) -> Any:
        alone = not isinstance(value, list | tuple)
        return check_list(check, count)(name, option, [value] * count if alone else value)

    return each


_number = bounded("a number", lambda _x: True)
_not_negative = bounded("at least 0", lambda x: x >= 0)
_positive = bounded("above 0", lambda x: x > 0)
_share = bounded("in [0, 1]", lambda x: 0 <= x <= 1)
_below_one = bounded("in [0, 1)", lambda x: 0 <= x < 1)
_from_zero = bounded_int(0)

# The options of schedulers, and what else is in their state (optim-25).
SCHEDULE: Mapping[str, Option] = {
    **dict.fromkeys(("step_size", "total_iters", "T_max", "total_steps"), check_size),
    **dict.fromkeys(("epochs", "steps_per_epoch"), check_size_or_none),
    **dict.fromkeys(("patience", "cooldown", "num_bad_epochs", "cooldown_counter"), _from_zero),
    **dict.fromkeys(("gamma", "eta_min", "max_lr", "threshold", "min_lr", "eps"), _not_negative),
    **dict.fromkeys(("div_factor", "final_div_factor"), _positive),
    **dict.fromkeys(("end_factor", "pct_start"), _share),
    **dict.fromkeys(("factor", "base_momentum", "max_momentum"), _below_one),
    **dict.fromkeys(("cycle_momentum", "three_phase"), check_flag),
    **dict.fromkeys(("best", "base_lrs", "_last_lr"), _number),
    "last_epoch": bounded_int(-1),
    "start_factor": bounded("in (0, 1]", lambda x: 0 < x <= 1),
    "milestones": check_list(_from_zero),
    "mode": check_choice("min", "max"),
    "threshold_mode": check_choice("rel", "abs"),
    "anneal_strategy": check_choice("cos", "linear"),
    "lr_lambda": check_function,
}


_RAISES = """
Raises
------
ValueError, TypeError, KeyError
    If an option is out of range or of another kind, or a group lacks `initial_lr` to start later.
"""


def construct(cls: Any, options: Mapping[str, Any]) -> None:
    """Give a scheduler an `__init__` of `options`, of which `...` has no default, and a docstring.

    What arrives goes to the method `_begin`, by name.
    """
    kind, none = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
    parameters = [inspect.Parameter("self", kind)] + [
        inspect.Parameter(name, kind, default=none if value is ... else value)
        for name, value in options.items()
    ]
    signature = inspect.Signature(parameters)

    def init(*values: Any, **named: Any) -> None:
        try:
            bound = signature.bind(*values, **named)
        except TypeError as error:
            msg = f"{cls.__name__}: {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        cls._begin(**bound.arguments)

    init.__signature__ = signature  # type: ignore[attr-defined]
    cls.__init__ = init
    first, rule, own = inspect.cleandoc(cls.__doc__ or "").partition("----------\n")
    last = ["last_epoch : int\n    After which epoch to start."] * ("last_epoch" in options)
    cls.__doc__ = "\n".join([f"{first}{rule}optimizer : Optimizer", own, *last, _RAISES])


class Optimizer:
    """What optimizers share: parameter groups, their checks, and their state.

    Attributes
    ----------
    param_groups : list of dict
        Each with the key `params` and one for each option; the next step obeys a change.
    state : dict
        From Parameters to dicts of what a step keeps for the next.
    """

    # The options with their checks; of those that came later also what they are by default.
    _checks: ClassVar[Mapping[str, Option]] = {}
    _later: ClassVar[Mapping[str, bool]] = {"maximize": False}
    # What `state` has of each parameter, and what it may have beside that.
    _entries: ClassVar[tuple[str, ...]] = ()
    _more: ClassVar[tuple[str, ...]] = ()

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

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change every parameter that has a gradient, in place; nothing is recorded.

        One that is frozen, or has no gradient, keeps what it has.

        Parameters
        ----------
        closure : function, optional
            Called first, with recording on.

        Returns
        -------
        object
            What the closure returned, or None.

        Raises
        ------
        ValueError, TypeError
            If an option that was changed is no number or out of range, or `closure` cannot be
            called; nothing has changed then.
        """
        name = type(self).__name__
        returned = None
        if closure is not None:  # optim-16
            check_function(name, "closure", closure)
            with torch.enable_grad():
                returned = closure()
        with torch.no_grad():
            # All are checked before one parameter changes.
            groups = [{**g, **self._checked(name, g)} for g in self.param_groups]
            for group in groups:
                params = [p for p in group["params"] if p.grad is not None and p.requires_grad]
                if params:  # optim-11
                    states = [self.state.setdefault(p, {}) for p in params]
                    self._update(params, _directed(params, group), states, group)
        return returned

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make every `grad` None, or zeros where there is one.

        Parameters
        ----------
        set_to_none : bool
            Whether None takes the place of a gradient.
        """
        dropped = check_flag(f"{type(self).__name__}.zero_grad", "set_to_none", set_to_none)
        for p in self._params():
            if dropped or p.grad is None:
                p.grad = None
            elif p.grad.requires_grad:  # optim-04
                p.grad = torch.zeros_like(p.grad.detach())
            else:
                p.grad.zero_()

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
                numbers[id(p)]: self._written(self.state[p])
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
        self,
        params: list[Tensor],
        grads: list[Tensor],
        states: list[dict[str, Any]],
        group: Mapping[str, Any],
    ) -> None:
        """Make a step of the parameters of a group, all of which have a gradient."""
        msg = f"{type(self).__name__}: must have a method _update, got none"
        raise NotImplementedError(msg)

    def _checked(self, name: str, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of `group` as plain numbers, or raise."""
        return {
            option: check(name, option, group[option]) for option, check in self._checks.items()
        }

    def _written(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        """Return a copy of what is kept for a parameter, as `state_dict` has it."""
        return {
            key: value.clone() if isinstance(value, Tensor) else torch.tensor(float(value))
            for key, value in entry.items()
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
        missing = [o for o in self._checks if o not in group and o not in _LATER]
        if missing:
            msg = f"{name}: a group must have the options {[*self._checks]}, got no {missing}"
            raise ValueError(msg)
        known = {key: value for key, value in group.items() if key in mine and key != "params"}
        for key, value in group.items():
            if key in _SCHEDULED and key not in mine:
                known[key] = check_number(name, key, value)
            elif key not in mine and value is not None and plain_number(value) is not False:
                msg = f"{name}: the option {key} must be off, got {shown(value)}"  # optim-10
                raise ValueError(msg)
        known = {**{key: off for key, off in self._later.items() if key in mine}, **known}
        return {**known, **self._checked(name, known)}

    def _loaded_entries(self, place: str, entry: Any, p: Tensor) -> dict[str, Any]:
        """Return what is kept for the parameter `p`, copied into its dtype, or raise."""
        if not isinstance(entry, Mapping):
            msg = f"{place} must be a mapping, got {type(entry).__name__}"
            raise TypeError(msg)
        present = {key: value for key, value in entry.items() if value is not None}
        own = {*self._entries, *self._more}
        if present and not {*self._entries} <= {*present} <= own:
            msg = f"{place} must have the entries {[*self._entries, *self._more]}, got {[*present]}"
            raise ValueError(msg)
        return {
            key: check_not_negative(place, key, copied_number(f"{place}[{key!r}]", value))
            if key == "step"
            else copied_array(f"{place}[{key!r}]", value, p.shape, p.dtype)
            for key, value in present.items()
        }


def _directed(params: list[Tensor], group: Mapping[str, Any]) -> list[Tensor]:
    """Return the gradients as the step takes them, with `maximize` and `weight_decay`."""
    grads = [p.grad for p in params if p.grad is not None]
    if group.get("maximize"):
        grads = torch._foreach_neg(grads)
    if group.get("weight_decay") and not group.get("decoupled_weight_decay"):
        grads = torch._foreach_add(grads, params, alpha=group["weight_decay"])
    return [*grads]


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


def copied_number(place: str, value: Any) -> float:
    """Return a number of a state, or raise if it is none."""
    if isinstance(value, float):  # A Tensor of it would be float32.
        return value
    found = _copied(place, value)
    if found.ndim != 0:
        msg = f"{place} must have no axes, got shape {tuple(found.shape)}"
        raise ValueError(msg)
    return found.item()


def copied_array(place: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """Return a copy of an array of a state, or raise if it has another shape."""
    # Of lists there is no other dtype to keep.
    result = _copied(place, value, dtype if isinstance(value, list | tuple) else None)
    if result.shape != shape:
        msg = f"{place} must have shape {tuple(shape)}, got {tuple(result.shape)}"
        raise ValueError(msg)
    return result.to(dtype)


def _copied(place: str, value: Any, dtype: torch.dtype | None = None) -> Tensor:
    result = copied(place, value, dtype)
    if result.dtype == bool_ or result.dtype not in FIVE:
        msg = f"{place} must be of numbers, got {result.dtype}"
        raise TypeError(msg)
    return result
