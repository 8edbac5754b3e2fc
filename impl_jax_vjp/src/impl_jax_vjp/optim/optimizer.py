"""What optimizers share: groups of parameters, their options, and the state of each parameter."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..checks import (
    as_number,
    check_callable,
    check_choice,
    check_flag,
    check_int,
    check_number,
    refuse,
    refuse_type,
    shown,
)
from ..dtypes import in_x64, make_array
from ..tape import Traced, recording_set, unwrap, wrap
from ..tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]

# What schedulers put into groups, beside the options of the optimizer.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")
# What a state may lack, as it was written before there were these. # optim-10
_LATER = {"maximize": False, "amsgrad": False, "decoupled_weight_decay": False}


class Checked:
    """Checks of arguments, which name the class."""

    def _plain(self, argument: str, value: Any) -> int | float:
        """Return a number as Python's; an array or a boolean is none."""  # optim-12
        number = as_number(value)
        if isinstance(number, bool) or not isinstance(number, int | float):
            msg = f"{type(self).__name__}: {argument} must be a number, got {shown(value)}"
            raise TypeError(msg)
        return check_number(type(self).__name__, argument, number)

    def _bounded(
        self, argument: str, value: Any, least: float = 0, most: float = np.inf, above: bool = False
    ) -> int | float:
        """Return a number within bounds, the lower one excluded where it must be `above`."""
        number = self._plain(argument, value)
        if not (least < number if above else least <= number) or number > most:
            wanted = f"{'above' if above else 'at least'} {least} and at most {most}"
            refuse(type(self).__name__, argument, wanted, number)
        return number

    def _int(self, argument: str, value: Any, least: int) -> int:
        """Return an int of at least `least`."""
        number = check_int(type(self).__name__, argument, value)
        if number < least:
            refuse(type(self).__name__, argument, f"at least {least}", number)
        return number

    def _choice(self, argument: str, value: Any, choices: tuple[str, ...]) -> str:
        check_choice(type(self).__name__, argument, value, choices)
        return str(value)

    def _one(self, argument: str, value: Any) -> float:
        """Return a number, or a Tensor or array of one element, as a number."""
        array = unwrap(value) if isinstance(value, Traced) else as_number(value)
        came = shown(value)
        if isinstance(array, jax.Array | np.ndarray) and not isinstance(array, jax.core.Tracer):
            if array.size == 1 and array.dtype.kind in "fiu":
                return float(np.asarray(array).reshape(())[()])
            came = f"one of shape {array.shape} and dtype {array.dtype}"
        elif isinstance(array, int | float) and not isinstance(array, bool):
            return float(array)
        msg = f"{type(self).__name__}: {argument} must be one number, got {came}"
        raise TypeError(msg)


class Optimizer(Checked):
    """Parameters in groups, and the state that steps keep of each.

    Attributes
    ----------
    param_groups : list of dict
        Each has ``params`` and its options; a change is obeyed by the next step.
    """

    # The names in the state of a parameter, and those that options add; `step` is a number, the
    # others are like the parameter.
    _entries: ClassVar[frozenset[str]] = frozenset()
    _added: ClassVar[frozenset[str]] = frozenset()
    # The options that are flags, and the least value of those numbers where it is not 0.
    _flags: ClassVar[tuple[str, ...]] = ("maximize",)
    _least: ClassVar[Mapping[str, float | None]] = {}

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        listed = self._listed("params", params)
        entries = listed if isinstance(listed[0], dict) else [{"params": listed}]
        self.defaults = defaults
        self.param_groups: list[Group] = []
        # By identity: a Parameter compares element by element. The Parameter beside its state
        # keeps the number from being given to another object.
        self._state: dict[int, tuple[Any, State]] = {}
        for group in entries:
            self.add_param_group(group)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_state": list(self._state.values())}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        held = {id(param): (param, state) for param, state in attributes["_state"]}
        self.__dict__.update(attributes, _state=held)

    def _listed(self, argument: str, params: Any) -> list[Any]:
        name = type(self).__name__
        single = isinstance(params, Traced) or getattr(params, "shape", None) == ()
        if single or not isinstance(params, Iterable):
            refuse_type(name, argument, "an iterable of Tensors", params)
        listed = list(params)
        if not listed:
            refuse(name, argument, "at least one Parameter", listed)
        return listed

    def add_param_group(self, param_group: Group) -> None:
        """Add a group of parameters, with the defaults for the options that it leaves out.

        Raises
        ------
        ValueError
            If there are no parameters, one is in a group already, or an option does not fit.
        TypeError
            If it is no dict with the key ``params``, one of which is no Tensor, or an option is
            no number.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            came = type(param_group).__name__
            msg = f"{name}: a parameter group must be a dict with the key params, got {came}"
            raise TypeError(msg)
        given = param_group["params"]
        params = [given] if isinstance(given, Traced) else self._listed("params of a group", given)
        seen = {id(param) for group in self.param_groups for param in group["params"]}
        for param in params:
            if not isinstance(param, Tensor):
                refuse_type(name, "each of params", "a Tensor", param)
            if param._node is not None:
                refuse(name, "each of params", "a leaf", "the result of an operation")
            if id(param) in seen:
                refuse(name, "params", "distinct", f"one of shape {param.shape} twice")
            seen.add(id(param))
        options = {key: param_group.get(key, value) for key, value in self.defaults.items()}
        scheduled = self._scheduled(param_group)
        self.param_groups.append({"params": params} | self._options(options) | scheduled)

    def _scheduled(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return what schedulers have put into a group."""
        return {key: self._plain(key, group[key]) for key in SCHEDULED if key in group}

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a group as plain numbers, or raise what does not fit."""
        options: dict[str, Any] = {}
        for key in self.defaults:
            if key in self._flags:
                options[key] = self._flag(group, key)
            elif key == "betas":
                options[key] = self._betas(group[key])
            else:
                options[key] = self._number(group, key, self._least.get(key, 0))
        return options

    def _betas(self, betas: Any) -> tuple[float, float]:
        listed = isinstance(betas, tuple | list)
        numbers = [self._plain("each of betas", beta) for beta in betas] if listed else []
        if len(numbers) != 2 or not all([0 <= beta < 1 for beta in numbers]):
            self._refuse("betas", shown(betas), "two numbers in [0, 1)")
        return numbers[0], numbers[1]

    def _update(self, options: Mapping[str, Any], params: list[Any], states: list[State]) -> None:
        """Change parameters and their states by one step."""
        raise NotImplementedError

    def _number(self, group: Mapping[str, Any], argument: str, least: float | None = 0) -> float:
        """Return an option that is a number, not below `least`."""
        number = self._plain(argument, group[argument])
        if least is not None and not number >= least:
            self._refuse(argument, number, f"at least {least}")
        return number

    def _flag(self, group: Mapping[str, Any], argument: str) -> bool:
        flag = as_number(group[argument])
        if not isinstance(flag, int):
            refuse_type(type(self).__name__, argument, "a bool", flag)
        return bool(flag)

    def _refuse(self, argument: str, value: Any, wanted: str) -> None:
        refuse(type(self).__name__, argument, wanted, value)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make every `grad` None, or zeros where there is one."""
        nothing = check_flag(f"{type(self).__name__}.zero_grad", "set_to_none", set_to_none)
        for group in self.param_groups:
            for param in group["params"]:
                if nothing:
                    param.grad = None
                elif param._grad is not None:  # optim-04
                    zeros = np.zeros(param._grad._data.shape, param._grad._data.dtype)
                    param._grad = wrap(make_array(zeros))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Change each Parameter that has a `grad`; objects and dtypes stay, nothing is recorded.

        Parameters
        ----------
        closure : callable, optional
            Called once before anything else, with recording on; it makes the gradients.

        Returns
        -------
        object
            What the closure returned.

        Raises
        ------
        ValueError, TypeError
            If an option was set to what does not fit, a shape has changed, or the closure is not
            callable; nothing is changed then.
        """
        value = None if closure is None else self._call(closure)
        self._step()
        return value

    def _call(self, closure: Any) -> Any:
        """Return what a closure returns that is called with recording on."""
        check_callable(type(self).__name__, "closure", closure)  # optim-16
        with recording_set(True):
            return closure()

    @in_x64
    def _step(self) -> None:
        plans = []
        for group in self.param_groups:
            options = self._options(group)
            params = [p for p in group["params"] if p._grad is not None and p._requires_grad]
            plans.append((options, params, [self._held(param) for param in params]))
        for options, params, states in plans:
            if params:
                self._update(options, params, states)
                for param, state in zip(params, states, strict=True):
                    if state:
                        self._state[id(param)] = (param, state)

    def _held(self, param: Any) -> State:
        """Return the state of a parameter, empty before its first step."""
        held = self._state.get(id(param))
        state = {} if held is None else held[1]
        shape = param._data.shape
        if param._grad._data.shape != shape:
            self._refuse("grad", param._grad._data.shape, f"of the Parameter's shape {shape}")
        for key, value in state.items():
            if key != "step" and value.shape != shape:
                self._refuse(key, value.shape, f"of the Parameter's shape {shape}")
        return state

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state, with positions in the place of Parameters.

        The form and the names are those of ``torch.optim``.
        """
        groups: list[Group] = []
        state: dict[int, State] = {}
        count = 0
        for group in self.param_groups:
            numbers = list(range(count, count + len(group["params"])))
            count += len(numbers)
            for number, param in zip(numbers, group["params"], strict=True):
                if id(param) in self._state:
                    state[number] = self._shown_state(self._state[id(param)][1])
            options = self._options(group) | self._scheduled(group)
            groups.append({**group, **options, "params": numbers})
        return {"state": state, "param_groups": groups}

    def _shown_state(self, state: State) -> State:
        return {
            key: wrap(jnp.asarray(value, jnp.float32) if key == "step" else value)
            for key, value in state.items()
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and the state of an optimizer of the same form.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` or that of ``torch.optim`` returned. Arrays may be Tensors, raw
            arrays, NumPy arrays or nested lists, positions also their decimal strings.

        Raises
        ------
        ValueError
            If the groups, the parameters, their shapes, the names of entries or the options are
            not those of this optimizer; nothing is changed then.
        TypeError
            If something is of the wrong kind; nothing is changed then.
        """
        name = type(self).__name__
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= {*state_dict}:
            wanted = "a mapping with the keys state and param_groups"
            refuse_type(name, "state_dict", wanted, state_dict)
        places = self._places(state_dict["param_groups"])
        loaded = self._loaded(state_dict["state"], places)
        options = [
            self._loaded_options(mine, theirs)
            for mine, theirs in zip(self.param_groups, state_dict["param_groups"], strict=True)
        ]
        for mine, new in zip(self.param_groups, options, strict=True):
            mine.update(new)
        self._state = loaded

    def _places(self, groups: Any) -> dict[int, Any]:
        """Return the parameter of each position in the groups of a state."""
        name = type(self).__name__
        if not isinstance(groups, Sequence) or isinstance(groups, str):
            refuse_type(name, "param_groups", "a list of groups", groups)
        for group in groups:
            if not isinstance(group, Mapping) or not isinstance(group.get("params"), Sequence):
                refuse_type(name, "each of param_groups", "a dict with a list of params", group)
        theirs = [len(group["params"]) for group in groups]
        ours = [len(group["params"]) for group in self.param_groups]
        if theirs != ours:
            msg = f"{name}: the state has groups of {theirs} parameters, this optimizer has {ours}"
            raise ValueError(msg)
        numbers = [self._position(number) for group in groups for number in group["params"]]
        if len(set(numbers)) != len(numbers):
            refuse(name, "the positions in param_groups", "distinct", numbers)
        params = [param for group in self.param_groups for param in group["params"]]
        return dict(zip(numbers, params, strict=True))

    def _position(self, key: Any) -> int:
        number = as_number(key)
        if isinstance(number, str) and number.isascii() and number.isdigit():
            number = int(number)
        if not isinstance(number, int) or isinstance(number, bool):
            refuse_type(type(self).__name__, f"the position {key!r}", "an int", key)
        return number

    def _loaded(self, state: Any, places: Mapping[int, Any]) -> dict[int, tuple[Any, State]]:
        """Return the state of each parameter, every entry of which was checked and copied."""
        name = type(self).__name__
        if not isinstance(state, Mapping):
            refuse_type(name, "state", "a mapping from positions to dicts", state)
        loaded: dict[int, tuple[Any, State]] = {}
        for key, entry in state.items():
            number = self._position(key)
            if number not in places:
                refuse(
                    name, f"the position {key!r}", "that of a parameter", f"none of {len(places)}"
                )
            what = f"the state of parameter {number}"
            if not isinstance(entry, Mapping):
                refuse_type(name, what, "a dict", entry)
            param = places[number]
            kept = self._loaded_state(what, entry, param)
            if kept:
                loaded[id(param)] = (param, kept)
        return loaded

    def _loaded_state(self, what: str, entry: Mapping[str, Any], param: Any) -> State:
        """Return a copy of what a state has of one parameter, after a check."""
        kept = {k: value for k, value in entry.items() if value is not None}
        every = self._entries | self._added
        if kept and not self._entries <= kept.keys() <= every:
            named = f"{', '.join(sorted(map(str, kept)))}"
            may = [f"maybe {key}" for key in sorted(self._added)]
            wanted = ", ".join([*sorted(self._entries), *may]) or "none"
            refuse(type(self).__name__, f"the entries of {what}", wanted, named)
        return {k: self._entry(f"{k!r} in {what}", k, v, param) for k, v in kept.items()}

    def _entry(self, what: str, key: str, value: Any, param: Any) -> Any:
        """Return a copy of an array in the parameter's dtype, or the number of steps."""
        name = type(self).__name__
        array = as_array(value)
        # bfloat16 is no floating dtype to NumPy, but a number all the same.
        if array is None or not jnp.issubdtype(array.dtype, np.number) or array.dtype.kind == "c":
            came = type(value).__name__ if array is None else f"dtype {array.dtype}"
            msg = f"{name}: {what} must be an array of numbers, got {came}"
            raise TypeError(msg)
        wanted = () if key == "step" else param._data.shape
        if array.shape != wanted:
            refuse(name, what, f"of shape {wanted}", array.shape)
        if key != "step":
            return make_array(array, param._data.dtype)
        step = float(array)
        if not (step >= 0 and step.is_integer()):
            refuse(name, what, "a whole number of steps", step)
        return int(step)

    def _loaded_options(self, mine: Group, theirs: Mapping[str, Any]) -> dict[str, Any]:
        name = type(self).__name__
        for key in self.defaults:
            if key not in theirs and key not in _LATER:
                refuse(name, f"the options of a state of {name}", f"given with {key!r}", [*theirs])
        for key, value in theirs.items():
            # torch's other options do nothing where they are off. # optim-10
            if key not in mine and key not in SCHEDULED and not (value is None or value is False):
                refuse(name, f"the option {key!r}", f"off, which {name} does not have", repr(value))
        later = {key: value for key, value in _LATER.items() if key in self.defaults}
        others = later | {k: v for k, v in theirs.items() if k in mine and k != "params"}
        return copy.deepcopy(others) | self._options(others) | self._scheduled(theirs)


class Scheduled(Checked):
    """The numbers and the state of what sets the rates of an optimizer's groups."""

    # What `state_dict` has beside the epoch and the rates.
    _options: ClassVar[tuple[str, ...]] = ()
    optimizer: Any
    last_epoch: int
    base_lrs: list[float]
    _last_lr: list[float]

    def _each(self, argument: str, value: Any, most: float = np.inf) -> list[float]:
        """Return one number, or one for each group, as a list."""
        count = len(self.optimizer.param_groups)
        if not isinstance(value, list | tuple):
            return [self._bounded(argument, value, most=most)] * count
        if len(value) != count:
            refuse(type(self).__name__, argument, f"one for each of {count} groups", len(value))
        return [self._bounded(argument, part, most=most) for part in value]

    def state_dict(self) -> dict[str, Any]:
        """Return epoch, rates and options, a copy that `json` writes."""
        state = {key: getattr(self, key) for key in self._options}
        state |= {"last_epoch": self.last_epoch, "_last_lr": self._last_lr}
        if hasattr(self, "base_lrs"):
            state["base_lrs"] = self.base_lrs
        return copy.deepcopy(state)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of a scheduler of the same kind.

        Raises
        ------
        TypeError, ValueError
            If it is none; nothing is changed then.
        """
        for key, value in self._checked(state_dict).items():
            setattr(self, key, value)
        self._mark(self.optimizer.param_groups, later=False)

    def _mark(self, groups: list[Group], later: bool) -> None:
        """Put into the groups what the scheduler keeps there."""

    def _checked(self, state: Any) -> dict[str, Any]:
        name = type(self).__name__
        if not isinstance(state, Mapping):
            refuse_type(name, "state_dict", "a dict", state)
        own = self.state_dict()
        if state.keys() != own.keys():
            came = ", ".join(sorted(map(str, state)))
            refuse(name, "the entries of a state", ", ".join(sorted(own)), came)
        self._int("last_epoch", state["last_epoch"], -1)
        for key in ("_last_lr", "base_lrs"):
            if key in own:
                if not isinstance(state[key], list | tuple):
                    refuse_type(name, key, "a list", state[key])
                self._each(key, state[key])
        made = copy.deepcopy(dict(state))
        for key in ("max_lr", "base_momentum", "max_momentum", "min_lr"):
            if key in own:
                made[key] = self._each(key, made[key])
        return made


def as_array(value: Any) -> Any:
    """Return a number, lists of numbers or an array as a NumPy array, or None."""
    if isinstance(value, Traced):
        value = unwrap(value)
    elif not isinstance(value, int | float | list | tuple | np.generic) and not (
        hasattr(value, "__array__") and hasattr(value, "dtype")
    ):
        return None
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
