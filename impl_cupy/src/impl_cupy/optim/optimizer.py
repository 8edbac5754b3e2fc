"""What optimizers share."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from impl_cupy.autograd import enable_grad
from impl_cupy.backend import cp
from impl_cupy.checks import as_list, check_number, type_name
from impl_cupy.dtypes import plain
from impl_cupy.memory import RawArray, note_change
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor

Group = dict[str, Any]
Entries = dict[str, Any]
Check = Callable[[str, str, Any], Any]
Checks = dict[str, Check]

# What schedulers put into groups.
_SCHEDULED = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")
# What a state may lack, and then has off (optim-10).
_LATER = ("maximize", "amsgrad", "decoupled_weight_decay")


class Optimizer:
    """What optimizers share: groups of Parameters, and the state kept for each.

    Attributes
    ----------
    param_groups : list of dict
        ``params`` and the options of each group; a change is obeyed by the next step.
    """

    _entries: ClassVar[tuple[str, ...]] = ()
    """The names of what is kept for a Parameter after its first step."""

    _optional: ClassVar[tuple[str, ...]] = ()
    """The names of what is kept besides, where an option asks for it."""

    _checks: ClassVar[Checks] = {}
    """How the options are checked."""

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        self._check_options(defaults)
        if isinstance(params, (Tensor, str, Mapping)) or not isinstance(params, Iterable):
            msg = f"{name}: params must be an iterable of Parameters, got {type_name(params)}"
            raise TypeError(msg)
        listed = as_list(name, "params", params)
        if not listed:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        groups = listed if isinstance(listed[0], dict) else [{"params": listed}]
        self.defaults = defaults
        self.param_groups: list[Group] = []
        # By the Parameter's id, with the Parameter, so that no other gets its id.
        self._state: dict[int, tuple[Tensor, Entries]] = {}
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of Parameters, with options of its own.

        Parameters
        ----------
        param_group : dict
            ``params``, and what options differ from the constructor's.

        Raises
        ------
        TypeError
            If it is no dict with Parameters under ``params``, or an option is no number.
        ValueError
            If a Parameter is in a group already, or an option is out of range; nothing is added.
        """
        name = type(self).__name__
        if not isinstance(param_group, dict) or "params" not in param_group:
            got = type_name(param_group)
            msg = f"{name}: a parameter group must be a dict with the key 'params', got {got}"
            raise TypeError(msg)
        given = param_group["params"]
        if isinstance(given, (str, Mapping)) or not isinstance(given, (Tensor, Iterable)):
            msg = f"{name}: params must be an iterable of Parameters, got {type_name(given)}"
            raise TypeError(msg)
        params = [given] if isinstance(given, Tensor) else as_list(name, "params", given)
        if not params:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        seen = {id(param) for param in self._params()}
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
        made = {**self.defaults, **param_group}
        self._check_options(made)
        options = {name: plain_option(value) for name, value in made.items() if name != "params"}
        self.param_groups.append({**options, "params": params})

    def _check_options(self, options: Mapping[str, Any]) -> None:
        name = type(self).__name__
        for option, check in self._checks.items():
            if option not in options:
                msg = f"{name}: a group must have the option {option}, got none"
                raise ValueError(msg)
            check(name, option, options[option])

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make the `grad` of every Parameter None.

        Parameters
        ----------
        set_to_none : bool
            With False each becomes zeros; one that is None stays None.
        """
        for param in self._params():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad = wrap(cp.zeros(param.grad.shape, dtype=param.grad.dtype))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every Parameter that requires grad and has one; nothing is recorded.

        Parameters
        ----------
        closure : callable, optional
            Called first, with recording on; may make the gradients anew.

        Returns
        -------
        object
            What `closure` returned, or None.

        Raises
        ------
        TypeError, ValueError
            If `closure` cannot be called, an option that was changed is no number or out of range,
            or a gradient does not fit its Parameter any more; nothing is changed then.
        """
        result = None if closure is None else self._call(closure)
        self._step_all()
        return result

    def _call(self, closure: Any) -> Any:
        if not callable(closure):
            msg = f"{type(self).__name__}: closure must be callable, got {type_name(closure)}"
            raise TypeError(msg)  # optim-16
        with enable_grad():
            return closure()

    def _step_all(self) -> None:
        due = []
        for group in self.param_groups:
            self._check_options(group)
            for param in group["params"]:
                if param.requires_grad and param.grad is not None:
                    self._check_fit(param)
                    due.append((param, group))
        for param, group in due:
            self._step(param, param.grad._data, group)

    def _check_fit(self, param: Tensor) -> None:
        raw, grad = param._data, param.grad._data  # type: ignore[union-attr]
        _, entries = self._state.get(id(param), (None, {}))
        shapes = [value.shape for value in entries.values() if isinstance(value, cp.ndarray)]
        if any(shape != raw.shape for shape in (grad.shape, *shapes)) or grad.dtype != raw.dtype:
            msg = (
                f"{type(self).__name__}: a Parameter of shape {raw.shape} and dtype "
                f"{raw.dtype.name} has a gradient or a state of another, got gradient "
                f"{grad.shape}, {grad.dtype.name}; its data was replaced"
            )
            raise ValueError(msg)

    def _step(self, param: Tensor, grad: RawArray, group: Group) -> None:
        # Kernels need C-contiguous arrays; a Parameter need not have one.
        note_change(param)
        raw = param._data
        work = cp.ascontiguousarray(raw)
        _, entries = self._state.setdefault(id(param), (param, {}))
        self._update(work, cp.ascontiguousarray(grad), entries, group)
        if work is not raw:
            raw[...] = work.reshape(raw.shape)

    def _update(self, raw: RawArray, grad: RawArray, state: Entries, group: Group) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and the options, in torch's form (optim-09).

        Returns
        -------
        dict
            ``state``: by a Parameter's position, counted over the groups, a dict of Tensors;
            ``param_groups``: a list of dicts.
        """
        params = self._params()
        positions = {id(param): position for position, param in enumerate(params)}
        kept = [self._state.get(id(param), (param, {}))[1] for param in params]
        state = {
            position: {name: _exported(name, value) for name, value in entries.items()}
            for position, entries in enumerate(kept)
            if entries
        }
        groups = []
        for group in self.param_groups:
            options = {key: plain_option(part) for key, part in group.items() if key != "params"}
            listed = [positions[id(param)] for param in group["params"]]
            groups.append({**options, "params": listed})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the next step continues with the same numbers.

        Parameters
        ----------
        state_dict : mapping
            As from `state_dict`, here or in torch. Arrays may be Tensors, raw arrays, NumPy arrays
            or nested lists, and positions their decimal strings.

        Raises
        ------
        TypeError, ValueError
            That names what does not fit: another number of groups or Parameters, another
            algorithm, shape or dtype; nothing is changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        check_mapping(name, "the state", state_dict, ("state", "param_groups"))
        groups = self._check_groups(name, state_dict["param_groups"])
        merged = [
            self._merged(name, own, other)
            for own, other in zip(self.param_groups, groups, strict=True)
        ]
        listed = [position for group in groups for position in group["params"]]
        by_position = dict(zip(listed, self._params(), strict=True))
        if len(by_position) != len(listed):
            msg = f"{name}: params must name each position once, got {listed}"
            raise ValueError(msg)
        check_mapping(name, "state", state_dict["state"], ())
        state: dict[int, tuple[Tensor, Entries]] = {}
        for key, entries in state_dict["state"].items():
            position = _position(name, key, by_position)
            param = by_position[position]
            if id(param) in state:
                msg = f"{name}: state must name position {position} once, got it twice"
                raise ValueError(msg)
            where = f"{name}: state of parameter {position}"
            state[id(param)] = param, self._imported(where, entries, param)
        self._state = state
        self.param_groups = merged

    def _check_groups(self, name: str, groups: Any) -> Sequence[Any]:
        """Return the groups of a state dict that has as many, of as many Parameters."""
        if not isinstance(groups, (list, tuple)):
            msg = f"{name}: param_groups must be a list, got {type_name(groups)}"
            raise TypeError(msg)
        if len(groups) != len(self.param_groups):
            msg = f"{name}: must have {len(self.param_groups)} groups, got {len(groups)}"
            raise ValueError(msg)
        for own, other in zip(self.param_groups, groups, strict=True):
            check_mapping(name, "a group", other, ("params",))
            listed = other["params"]
            if not isinstance(listed, (list, tuple)) or any(type(n) is not int for n in listed):
                msg = f"{name}: params of a group must be a list of positions, got {listed!r}"
                raise TypeError(msg)
            if len(own["params"]) != len(listed):
                msg = (
                    f"{name}: a group must have {len(own['params'])} parameters, got {len(listed)}"
                )
                raise ValueError(msg)
        return groups

    def _merged(self, name: str, own: Group, other: Mapping[str, Any]) -> Group:
        """Return a group with the options of another; refuse options that are not its own."""
        later = {option: False for option in _LATER if option in self.defaults}
        other = {**later, **other}
        for option in self.defaults:
            if option not in other:
                msg = f"{name}: a group must have the option {option}, got {sorted(other)}"
                raise ValueError(msg)
        taken = {}
        for option, value in other.items():
            if option in _SCHEDULED:
                check_number(name, option, value)
            if option in own or option in _SCHEDULED:
                taken[option] = tuple(value) if type(value) is list else copy.deepcopy(value)
            elif value is not None and value is not False:
                msg = f"{name}: there is no option {option} here, got {option}={value!r}"
                raise ValueError(msg)
        merged = {**own, **taken, "params": own["params"]}
        self._check_options(merged)
        return merged

    def _imported(self, where: str, entries: Any, param: Tensor) -> Entries:
        """Return what is kept for a Parameter, as raw arrays of its dtype, and the step as an int.

        Raises
        ------
        TypeError, ValueError
            That names the entry, what came and what was wanted.
        """
        check_mapping(where, "it", entries, ())
        present = {key: value for key, value in entries.items() if value is not None}
        strange = [key for key in entries if key not in (*self._entries, *self._optional)]
        missing = [key for key in self._entries if key not in present] if present else []
        if strange or missing:
            wanted = ", ".join(self._entries or self._optional)
            msg = f"{where}: must have the entries {wanted}, got {', '.join(map(repr, entries))}"
            raise ValueError(msg)
        return {
            key: whole_number(f"{where}: {key}", value)
            if key == "step"
            else _array_of(f"{where}: {key}", value, param)
            for key, value in present.items()
        }

    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a copy or a pickle keeps: ids do not outlive the process."""
        return {**vars(self), "_state": list(self._state.values())}

    def __setstate__(self, kept: dict[str, Any]) -> None:
        """Restore what `__getstate__` gave."""
        vars(self).update(kept)
        self._state = {id(param): (param, entries) for param, entries in kept["_state"]}


class Scheduler:
    """What schedulers share: an optimizer, options that are attributes, and a state.

    Parameters
    ----------
    optimizer : Optimizer
    **options : object
        By name.
    """

    _checks: ClassVar[Checks] = {}
    """The options with their checks, which return them as plain values."""

    _held: ClassVar[Checks] = {}
    """What the state has beside the options."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, optimizer: Any, **options: Any) -> None:
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            msg = f"{name}: optimizer must be an Optimizer, got {type_name(optimizer)}"
            raise TypeError(msg)
        self.optimizer = optimizer
        vars(self).update(self._checked(name, {**self._checks, **self._held}, options))

    def _checked(self, name: str, checks: Mapping[str, Check], given: Any) -> dict[str, Any]:
        made = {key: check(name, key, given[key]) for key, check in checks.items() if key in given}
        count = len(self.optimizer.param_groups)
        for key, value in made.items():
            if isinstance(value, list) and key != "milestones" and len(value) != count:
                msg = f"{name}: {key} must have {count} entries, one a group, got {len(value)}"
                raise ValueError(msg)
        return made

    def _check_together(self, name: str, options: dict[str, Any]) -> None:
        """Refuse options that do not go together."""

    def get_last_lr(self) -> list[float]:
        """Return the rates that were last set, one for each group."""
        return list(self._last_lr)

    def _names(self) -> list[str]:
        """Return what is in the state; a function is not (optim-24)."""
        left_out = ("lr_lambda", "epochs", "steps_per_epoch")
        return [name for name in (*self._checks, *self._held) if name not in left_out]

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the options and the state, which JSON can hold."""
        return {name: copy.deepcopy(getattr(self, name)) for name in self._names()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave, options too.

        Raises
        ------
        TypeError, ValueError
            If it is no mapping, has an entry too few or more, or one that does not fit; nothing is
            changed then.
        """
        self._put(self._from_state(type(self).__name__, state_dict))

    def _put(self, made: dict[str, Any]) -> None:
        vars(self).update(made)

    def _from_state(self, name: str, state: Any) -> dict[str, Any]:
        """Return the entries of a state, checked."""
        check_mapping(name, "the state", state, ())
        if set(state) != set(self._names()):
            got = sorted(map(str, state))
            msg = f"{name}: the state must have {sorted(self._names())}, got {got}"
            raise ValueError(msg)
        made = self._checked(name, {**self._checks, **self._held}, state)
        self._check_together(name, made)
        return made


def _exported(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_exported(name, part) for part in value]
    if name == "step":
        return wrap(cp.asarray(np.float32(value)))
    return wrap(value.copy()) if isinstance(value, cp.ndarray) else value


def plain_option(value: Any) -> Any:
    """Return an option as Python's own numbers."""
    if isinstance(value, np.generic):
        return plain(value)
    if isinstance(value, (tuple, list)):
        return tuple([plain_option(part) for part in value])
    return copy.copy(value)


def check_mapping(name: str, what: str, value: Any, keys: tuple[str, ...]) -> None:
    """Refuse what is no mapping, or lacks one of the keys.

    Raises
    ------
    TypeError, ValueError
        That names what came, or the key.
    """
    if not isinstance(value, Mapping):
        msg = f"{name}: {what} must be a mapping, got {type_name(value)}"
        raise TypeError(msg)
    for key in keys:
        if key not in value:
            msg = f"{name}: {what} must have the key {key!r}, got {sorted(map(str, value))}"
            raise ValueError(msg)


def _position(name: str, key: Any, known: Mapping[int, Any]) -> int:
    """Return the position that a key of a state means."""
    position = int(key) if isinstance(key, str) and key.isdecimal() else key
    if type(position) is not int or position not in known:
        msg = f"{name}: state names parameter {key!r}, but the groups have {sorted(known)}"
        raise ValueError(msg)
    return position


def numbers_of(where: str, value: Any) -> Any:
    """Return an array of numbers, raw or NumPy's, of what a state may hold them in."""
    array = value._data if isinstance(value, Tensor) else value
    if not isinstance(array, (cp.ndarray, np.ndarray)):
        try:
            array = np.asarray(value)
        except (TypeError, ValueError):
            array = None
    if array is None or array.dtype.kind not in "fiu" or array.dtype.itemsize > 8:
        got = type_name(value) if array is None else f"dtype {array.dtype.name}"
        msg = f"{where} must hold numbers, got {got}"
        raise TypeError(msg)
    return array


def _array_of(where: str, value: Any, param: Tensor) -> RawArray:
    array = numbers_of(where, value)
    if array.shape != param.shape:
        msg = f"{where} must have the parameter's shape {param.shape}, got {array.shape}"
        raise ValueError(msg)
    return cp.array(array, dtype=param.dtype, copy=True, order="C")


def whole_number(where: str, value: Any) -> int:
    """Return the one whole number of a state, which may be an array of it.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    array = numbers_of(where, value)
    number = array.item() if array.size == 1 else -1
    if not (0 <= number < 2**53 and number == int(number)):
        msg = f"{where} must be one whole number, got {value!r}"
        raise ValueError(msg.replace("\n", " "))
    return int(number)
