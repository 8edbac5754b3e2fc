"""The base of optimizers: they change Parameters in place and record nothing."""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from impl_numpy.autograd.modes import enable_grad
from impl_numpy.checks import as_number, check_flag, check_items, shown
from impl_numpy.dtypes import Array, float32, is_raw
from impl_numpy.memory import written
from impl_numpy.parameter import overwrite
from impl_numpy.recording import QUIET
from impl_numpy.tensor import Tensor, wrap

Group = dict[str, Any]
State = dict[str, Any]
Closure = Callable[[], Any]

# Options that a state may lack, since it was written without them; they are off then (optim-10).
LATER = ("maximize", "amsgrad", "decoupled_weight_decay")
# What schedulers put into groups.
SCHEDULED = ("initial_lr", "max_lr", "min_lr", "base_momentum", "max_momentum")
# So many elements are changed at a time: all arrays of a step together stay in the cache.
BLOCK = 16384


def plain_number(owner: str, name: str, value: Any) -> float:
    """Return a number as Python's, or raise TypeError (optim-12)."""
    if type(value) is float or type(value) is int:
        return value
    number = as_number(value)
    if number is None or type(number) is bool:
        msg = f"{owner}: {name} must be a number, got {shown(value)}"
        raise TypeError(msg)
    return number


def within(fits: Callable[[float], bool], wanted: str) -> Callable[[str, str, Any], float]:
    """Return the check of a number that must fit; NaN fits nowhere."""

    def check(owner: str, name: str, value: Any) -> float:
        number = plain_number(owner, name, value)
        if not fits(number):
            msg = f"{owner}: {name} must be {wanted}, got {value}"
            raise ValueError(msg)
        return number

    return check


least_zero = within(lambda x: x >= 0, "0 or more")


class _Own:
    """The state of one Parameter; the key of a dict may be another's id once it is gone."""

    __slots__ = ("entries", "owner")

    def __init__(self, owner: Tensor, entries: State) -> None:
        self.owner = weakref.ref(owner)
        self.entries = entries


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

    # The names of a Parameter's state, those that an option may add, and those of no axes.
    _entries: ClassVar[tuple[str, ...]] = ()
    _added: ClassVar[tuple[str, ...]] = ()
    _scalars: ClassVar[tuple[str, ...]] = ()
    # Options that are 0 or more, those that are any number, and flags.
    _least_zero: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")
    _numbers: ClassVar[tuple[str, ...]] = ()
    _flags: ClassVar[tuple[str, ...]] = ("maximize",)
    param_groups: list[Group]

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        name = type(self).__name__
        if isinstance(params, (Tensor, Mapping, str)) or not isinstance(params, Iterable):
            got = type(params).__name__
            msg = f"{name}: params must be an iterable of Parameters, got one {got}"
            raise TypeError(msg)
        members = check_items(name, "params", params, "an iterable of Parameters")
        if not members:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        self.defaults = defaults
        self.param_groups = []
        self._states: dict[int, _Own] = {}
        grouped = all(isinstance(member, Mapping) for member in members)
        for group in members if grouped else [{"params": members}]:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add Parameters with options of their own, checked as by the constructor (optim-11).

        Parameters
        ----------
        group : mapping with the key "params"

        Raises
        ------
        ValueError, TypeError
            As the constructor does, or if a Parameter is in a group already; nothing is added then.
        """
        name = type(self).__name__
        if not isinstance(group, Mapping):
            msg = f"{name}: a group must be a mapping, got {type(group).__name__}"
            raise TypeError(msg)
        if "params" not in group:
            msg = f"{name}: a group must have params, got {sorted(map(str, group))}"
            raise ValueError(msg)
        params = group["params"]
        if isinstance(params, Tensor):
            params = [params]
        if isinstance(params, (str, Mapping)) or not isinstance(params, Iterable):
            msg = f"{name}: params must be an iterable of Tensors, got {type(params).__name__}"
            raise TypeError(msg)
        members = check_items(name, "params", params, "an iterable of Tensors")
        if not members:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        for p in members:
            self._check_member(p)
        everything = [id(p) for p in (*self._params(), *members)]
        if len(set(everything)) < len(everything):
            msg = f"{name}: params must hold each Parameter once, got one twice"
            raise ValueError(msg)
        added = {**self.defaults, **group, "params": members}
        self.param_groups.append({**added, **self._plain(added)})

    def _check_member(self, p: Any) -> None:
        if not isinstance(p, Tensor):
            msg = f"{type(self).__name__}: params must be Tensors, got {type(p).__name__}"
            raise TypeError(msg)
        if not p.is_leaf:
            msg = (
                f"{type(self).__name__}: params: can't optimize a Tensor that is no leaf, "
                f"got what {p.grad_fn} made; give the Parameter itself"
            )
            raise ValueError(msg)

    def _plain(self, group: Group) -> Group:
        """Return the options of a group as Python's numbers, checked."""
        owner = type(self).__name__
        plain: Group = {name: least_zero(owner, name, group[name]) for name in self._least_zero}
        plain |= {name: plain_number(owner, name, group[name]) for name in self._numbers}
        return plain | {name: check_flag(owner, name, group[name]) for name in self._flags}

    def _begin(self, p: Array, state: State, group: Group) -> tuple[list[Array], tuple[Any, ...]]:
        """Return the buffers of a Parameter for one step, and the numbers of the step."""
        raise NotImplementedError

    def _block(
        self, p: Array, g: Array, buffers: list[Array], free: Array, group: Group, *numbers: Any
    ) -> None:
        """Change some elements of one Parameter and of its buffers, all flat, in place.

        `free` may be written; `g` may not, and may share memory with `p`.
        """
        raise NotImplementedError

    def _advance(self, members: list[Tensor], group: Group) -> list[tuple[Tensor, Array]]:
        """Take one step with the Parameters of a group: small ones several at a time.

        Return those that cannot be changed in place, with their new values.
        """
        copies: list[tuple[Tensor, Array]] = []
        pack: list[list[Array]] = []
        room = 0
        kind: tuple[Any, ...] = ()
        for member in members:
            p, grad = member._data, member._grad
            assert grad is not None
            buffers, numbers = self._begin(p, self._state_of(member), group)
            values = p if p.flags.c_contiguous and p.flags.writeable else np.array(p, order="C")
            flats = [x.reshape(-1) for x in (values, grad._data, *buffers)]
            if pack and (p.size > room or kind != (numbers, p.dtype)):
                self._together(pack, group, *kind[0])
                pack = []
            if not pack:
                room, kind = BLOCK, (numbers, p.dtype)
            pack.append(flats)
            room -= p.size
            if values is not p:
                copies.append((member, values))
        if pack:
            self._together(pack, group, *kind[0])
        return copies

    def _together(self, pack: list[list[Array]], group: Group, *numbers: Any) -> None:
        """Change several small Parameters as one, or a large one by its blocks."""
        if len(pack) == 1:
            (flats,) = pack
            size = len(flats[0])
            for start in range(0, size, BLOCK):
                parts = [x[start : start + BLOCK] for x in flats] if size > BLOCK else flats
                self._changed(parts, group, *numbers)
            return
        joined = [np.concatenate(flats) for flats in zip(*pack, strict=True)]
        self._changed(joined, group, *numbers)
        start = 0
        for flats in pack:
            stop = start + len(flats[0])
            for k, x in enumerate(flats):
                if k != 1:
                    x[...] = joined[k][start:stop]
            start = stop

    def _changed(self, flats: list[Array], group: Group, *numbers: Any) -> None:
        """Change flat arrays: the Parameter's, and its buffers; the second is the gradient."""
        p, g, *buffers = flats
        free = np.empty_like(p)
        if group["maximize"]:
            g = np.negative(g)
        if group["weight_decay"] and not group.get("decoupled_weight_decay"):
            np.multiply(p, group["weight_decay"], out=free)
            g = g + free
        self._block(p, g, buffers, free, group, *numbers)

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _state_of(self, p: Tensor) -> State:
        """Return the state of a Parameter, which it keeps wherever it stands (optim-11)."""
        states, key = self._states, id(p)
        own = states.get(key)
        if own is None or own.owner() is not p:
            own = states[key] = _Own(p, {})
        return own.entries

    def __getstate__(self) -> dict[str, Any]:
        pairs = [(p, self._state_of(p)) for p in self._params()]
        return {**self.__dict__, "_states": pairs}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._states = {id(p): _Own(p, entries) for p, entries in attributes["_states"]}

    def _called(self, closure: Closure | None) -> Any:
        """Return what a closure returns, called with recording on; None without one (optim-16)."""
        if closure is None:
            return None
        if not callable(closure):
            kind, name = type(closure).__name__, type(self).__name__
            msg = f"{name}: closure must be callable or None, got {shown(closure)} ({kind})"
            raise TypeError(msg)
        with enable_grad():
            return closure()

    def step(self, closure: Closure | None = None) -> Any:
        """Change every Parameter that requires grad and has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first; it computes the gradients.

        Returns
        -------
        What the closure returned.

        Raises
        ------
        ValueError, TypeError
            If an option was set to what it cannot be, or closure is not callable; nothing has
            changed then.
        """
        returned = self._called(closure)
        options = [self._plain(group) for group in self.param_groups]
        for group, plain in zip(self.param_groups, options, strict=True):
            moving = [p for p in group["params"] if p._grad is not None and p._node is not None]
            for p, values in QUIET.run(self._advance, moving, plain):
                overwrite(p, values)
            # Not before, as whether somebody else holds the memory is told by its references.
            for p in moving:
                written(p)
        return returned

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Make the `grad` of every Parameter None, or zeros where there is one (optim-04).

        Parameters
        ----------
        set_to_none : bool
        """
        none = check_flag(f"{type(self).__name__}.zero_grad", "set_to_none", set_to_none)
        for p in self._params():
            if none or p._grad is None:
                p.grad = None
            else:
                p.grad = wrap(np.zeros(p.shape, p.dtype), None)

    def state_dict(self) -> dict[str, Any]:
        """Return the state by position of the Parameter, and the options of each group."""
        params = self._params()
        counts = iter(range(len(params)))
        groups = [
            {key: _kept(value) for key, value in group.items() if key != "params"}
            | {"params": [next(counts) for _ in group["params"]]}
            for group in self.param_groups
        ]
        states = {k: self._state_of(p) for k, p in enumerate(params)}
        state = {
            k: {name: _out(value) for name, value in entries.items()}
            for k, entries in states.items()
            if entries
        }
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from another optimizer's state, torch's too (optim-09).

        Parameters
        ----------
        state_dict : mapping
            Its arrays are Tensors, raw arrays or nested lists; a floating one of another dtype is
            cast.

        Raises
        ------
        ValueError, TypeError
            If it has another number of groups or parameters, or something in it is not what this
            optimizer needs; nothing has changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        for key, kind in (("param_groups", Sequence), ("state", Mapping)):
            there = isinstance(state_dict, Mapping) and key in state_dict
            got = state_dict[key] if there else state_dict
            if not there or not isinstance(got, kind) or isinstance(got, str):
                kinds = "list" if kind is Sequence else "mapping"
                came = type(got).__name__ + ("" if there else f" without {key}")
                msg = f"{name}: {key} must be a {kinds}, got {came} ({shown(got)})"
                raise TypeError(msg)
        groups = state_dict["param_groups"]
        places = self._places(name, groups)
        options = [
            self._checked_options(name, own, other)
            for own, other in zip(self.param_groups, groups, strict=True)
        ]
        loaded = [
            (places[place], entries)
            for place, entries in self._checked_states(name, state_dict["state"], places)
        ]
        self._states = {id(p): _Own(p, entries) for p, entries in loaded}
        for group, other in zip(self.param_groups, options, strict=True):
            group.update(other)

    def _places(self, name: str, groups: Sequence[Any]) -> dict[int, Tensor]:
        """Return the Parameter that each position of a state stands for."""
        for group in groups:
            if not isinstance(group, Mapping) or not isinstance(group.get("params"), (list, tuple)):
                msg = f"{name}: a group must be a mapping with a list of params, got {shown(group)}"
                raise TypeError(msg)
        wanted = [len(group["params"]) for group in self.param_groups]
        got = [len(group["params"]) for group in groups]
        if wanted != got:
            msg = f"{name}: groups must hold {wanted} parameters, got {got}"
            raise ValueError(msg)
        positions = [_position(name, k) for group in groups for k in group["params"]]
        if len(set(positions)) < len(positions):
            msg = f"{name}: params must hold each position once, got {shown(positions)}"
            raise ValueError(msg)
        return dict(zip(positions, self._params(), strict=True))

    def _checked_options(self, name: str, own: Group, other: Mapping[str, Any]) -> Group:
        """Return the options of a group of a state, checked (optim-10)."""
        for option in self.defaults:
            if option not in other and option not in LATER:
                msg = f"{name}: a group must have {option}, got {sorted(map(str, other))}"
                raise ValueError(msg)
        for option, value in other.items():
            if option in SCHEDULED:
                plain_number(name, option, value)
            elif option not in own and value is not False and value is not None:
                msg = f"{name}: {type(self).__name__} has no {option}, got {shown(value)}"
                raise ValueError(msg)
        known = {option: False for option in LATER if option in self.defaults}
        known |= {
            key: _kept(value) if key in SCHEDULED else value
            for key, value in other.items()
            if (key in own or key in SCHEDULED) and key != "params"
        }
        plain = self._plain({**own, **known})
        return {key: plain.get(key, value) for key, value in known.items()}

    def _checked_states(
        self, name: str, state: Mapping[Any, Any], places: Mapping[int, Tensor]
    ) -> list[tuple[int, State]]:
        """Return the state of each position, checked and converted (optim-10)."""
        loaded = []
        for key, entries in state.items():
            place = _position(name, key)
            if place not in places:
                msg = f"{name}: state has position {place}, but params {shown(sorted(places))}"
                raise ValueError(msg)
            if not isinstance(entries, Mapping):
                msg = f"{name}: state {place} must be a mapping, got {type(entries).__name__}"
                raise TypeError(msg)
            there = {k: value for k, value in entries.items() if value is not None}
            needed, known = set(self._entries), {*self._entries, *self._added}
            if there and not needed <= set(there) <= known:
                got = sorted(map(str, there))
                msg = f"{name}: state {place} must hold {sorted(needed or known)}, got {got}"
                raise ValueError(msg)
            own = {k: self._entry(name, place, k, v, places[place]) for k, v in there.items()}
            loaded.append((place, own))
        return loaded

    def _entry(self, name: str, place: int, key: str, value: Any, p: Tensor) -> Any:
        """Return one entry as a new array of the Parameter's dtype; a count as an int."""
        scalar = key in self._scalars
        entry = f"{name}: {key} of parameter {place}"
        array = numbers_of(entry, value)
        shape = () if scalar else p.shape
        if array.shape != shape:
            msg = f"{entry} must have shape {shape}, got {array.shape}"
            raise ValueError(msg)
        if not scalar:
            return np.array(array, p.dtype, order="C")
        count = array.item()
        if not (math.isfinite(count) and count >= 0 and count == int(count)):
            msg = f"{entry} must be a count, got {count}"
            raise ValueError(msg)
        return int(count)


def _kept(value: Any) -> Any:
    """Return an option for a state: NumPy's scalars, set later, as Python's numbers (optim-12)."""
    if isinstance(value, (tuple, list)):
        return tuple([_kept(item) for item in value])
    return value if (number := as_number(value)) is None else number


def _position(name: str, key: Any) -> int:
    """Return the position of a parameter from an int, or from its decimal string (JSON's key)."""
    if isinstance(key, str) and key.isdecimal():
        return int(key)
    if isinstance(key, bool) or not isinstance(key, (int, np.integer)):
        msg = f"{name}: a position must be an int, got {shown(key)}"
        raise TypeError(msg)
    return int(key)


def numbers_of(entry: str, value: Any) -> Array:
    """Return the numbers of a Tensor, a raw array or nested lists as an array."""
    if isinstance(value, Tensor):
        value = value._data
    lists = isinstance(value, (list, tuple))
    if not is_raw(value) and not lists and as_number(value) is None:
        msg = f"{entry} must be an array of numbers, got {type(value).__name__}"
        raise TypeError(msg)
    try:
        array = np.asarray(value)
    except (ValueError, RecursionError):
        msg = f"{entry} must be an array of numbers, got ragged lists"
        raise ValueError(msg) from None
    # Lists without a number in them have no dtype of their own.
    if array.dtype.kind not in "fiu":
        msg = f"{entry} must be an array of numbers, got the dtype {array.dtype}"
        raise TypeError(msg)
    return array


def _out(value: Any) -> Tensor:
    return wrap(value.copy() if isinstance(value, np.ndarray) else np.array(value, float32), None)
