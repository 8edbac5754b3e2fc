"""LBFGS: descent along directions that the last changes of the gradient suggest."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from impl_numpy.checks import as_number, check_positive, shown
from impl_numpy.dtypes import Array, is_raw
from impl_numpy.optim.optimizer import Closure, Group, Optimizer, State, numbers_of
from impl_numpy.parameter import overwrite
from impl_numpy.recording import quiet
from impl_numpy.tensor import Tensor, wrap

_ARRAYS = ("d", "prev_flat_grad")
_LISTS = ("old_dirs", "old_stps")
_NUMBERS = ("t", "H_diag", "prev_loss")
_COUNTS = ("func_evals", "n_iter")
_ENTRIES = {*_ARRAYS, *_LISTS, *_NUMBERS, *_COUNTS, "ro"}


class LBFGS(Optimizer):
    """Descend by the limited-memory method of Broyden, Fletcher, Goldfarb and Shanno.

    Nocedal and Wright 2006, algorithm 7.4, and 3.5 and 3.6 for the line search, as
    torch.optim.LBFGS computes them.

    Parameters
    ----------
    params : iterable
        One group.
    lr : float
        The first length of a step.
    max_iter, history_size : int
        Iterations in a step, and pairs that are kept.
    max_eval : int, optional
        Calls of the closure in a step; left out, max_iter * 5 // 4.
    tolerance_grad, tolerance_change : float
        Where a step ends.
    line_search_fn : {None, "strong_wolfe"}

    Raises
    ------
    ValueError, TypeError
        If there is a second group, a Parameter is none, or an option is not what it can be.
    """

    _least_zero = ("lr",)
    _numbers = ("tolerance_grad", "tolerance_change")
    _flags = ()

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        self._memory: State = {}
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the one group that there is; a second raises ValueError (optim-19).

        Parameters
        ----------
        group : mapping with the key "params"
        """
        if self.param_groups:
            msg = "LBFGS: wants one group of parameters, got a second: 2 groups"
            raise ValueError(msg)
        if isinstance(group, Mapping) and {**self.defaults, **group}["max_eval"] is None:
            most = {**self.defaults, **group}["max_iter"]
            check_positive("LBFGS", max_iter=most)
            group = {**group, "max_eval": int(most) * 5 // 4}
        super().add_param_group(group)

    def _plain(self, group: Group) -> Group:
        plain = super()._plain(group)
        for name in self._numbers:
            if math.isnan(plain[name]):
                msg = f"LBFGS: {name} must be a number, got {plain[name]}"
                raise ValueError(msg)
        for name in ("max_iter", "max_eval", "history_size"):
            check_positive("LBFGS", **{name: group[name]})
            plain[name] = int(group[name])
        search = plain["line_search_fn"] = group["line_search_fn"]
        if search is not None and not (isinstance(search, str) and search == "strong_wolfe"):
            msg = f"LBFGS: line_search_fn must be None or 'strong_wolfe', got {shown(search)}"
            raise ValueError(msg)
        return plain

    def step(self, closure: Closure | None = None) -> Any:
        """Take up to `max_iter` iterations.

        Parameters
        ----------
        closure : callable
            Computes the gradients and returns the loss, a number or a Tensor of one element; it
            is called again and again.

        Returns
        -------
        What the closure returned first.

        Raises
        ------
        ValueError, TypeError
            If there is no closure, it returns something else, or an option was set to what it
            cannot be; nothing has changed then.
        """
        if closure is None:
            msg = "LBFGS: closure must be callable, got None"
            raise TypeError(msg)
        first = self._called(closure)
        loss = _loss(first)
        (group,) = [self._plain(group) for group in self.param_groups]
        start = self._gathered([p._data for p in self._params()])
        try:
            self._memory = self._iterated(closure, loss, group)
        except BaseException:
            self._put(start)
            raise
        return first

    def _iterated(self, closure: Closure, f: float, group: Group) -> State:
        """Take the iterations of a step, and return the state after it (optim-17)."""
        memory: State = {key: list(v) if type(v) is list else v for key, v in self._memory.items()}
        g, calls = self._gradient(), 1
        total = memory.setdefault("func_evals", 0)
        memory["func_evals"] = total + 1
        memory.setdefault("n_iter", 0)
        if _largest(g) <= group["tolerance_grad"]:
            return memory
        for k in range(1, group["max_iter"] + 1):
            memory["n_iter"] += 1
            slope, t = _aimed(memory, g, f, group)
            before, d = f, memory["d"]
            if slope > -group["tolerance_change"]:
                break
            here = self._gathered([p._data for p in self._params()])
            trial = _Trial(self, closure, here, d)
            if group["line_search_fn"] is not None:
                limit = group["max_eval"] - calls
                t, f, _, g = _search(trial, t, _Point(0.0, f, slope, g), _largest(d), limit)
                self._put(_moved(here, t, d))
            elif k < group["max_iter"]:
                _, f, _, g = trial(t, stay=True)
            else:
                self._put(_moved(here, t, d))
            memory["t"] = t
            calls += trial.calls
            memory["func_evals"] = total + calls
            if calls >= group["max_eval"] or _ended(t, d, g, f - before, group):
                break
        return memory

    def _gathered(self, arrays: list[Array]) -> Array:
        return np.concatenate([x.reshape(-1) for x in arrays])

    def _gradient(self) -> Array:
        """Return all gradients as one vector; none, or one of what is frozen, counts as zeros."""
        return self._gathered(
            [
                np.zeros(p.shape, p.dtype) if p._grad is None or p._node is None else p._grad._data
                for p in self._params()
            ]
        )

    def _put(self, flat: Array) -> None:
        """Make one vector the values of all Parameters that are not frozen."""
        start = 0
        for p in self._params():
            stop = start + p._data.size
            if p._node is not None:
                overwrite(p, flat[start:stop].reshape(p.shape))
            start = stop

    def state_dict(self) -> dict[str, Any]:
        """Return the state under position 0, and the options of the group."""
        state = super().state_dict()
        entries = {
            key: [_out(x) for x in v] if type(v) is list else _out(v)
            for key, v in self._memory.items()
        }
        return {**state, "state": {0: entries} if entries else {}}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from another optimizer's state, torch's too (optim-19).

        Parameters
        ----------
        state_dict : mapping

        Raises
        ------
        ValueError, TypeError
            If something in it is not what LBFGS needs; nothing has changed then.
        """
        self._loaded: State = {}
        try:
            super().load_state_dict(state_dict)
            self._memory = self._loaded
        finally:
            del self._loaded

    def _checked_states(
        self, name: str, state: Mapping[Any, Any], places: Mapping[int, Tensor]
    ) -> list[tuple[int, State]]:
        first = next(iter(places))
        for key, entries in state.items():
            if str(key) != str(first):
                msg = f"{name}: state must stand under position {first}, got {shown(key)}"
                raise ValueError(msg)
            if not isinstance(entries, Mapping):
                msg = f"{name}: state {first} must be a mapping, got {type(entries).__name__}"
                raise TypeError(msg)
            self._loaded = self._checked_entries(name, entries)
        return []

    def _checked_entries(self, name: str, entries: Mapping[str, Any]) -> State:
        """Return the entries of a state, checked and converted."""
        there = {key: v for key, v in entries.items() if key != "al" and v is not None}
        counts = {key: self._count(f"{name}: {key}", there.get(key)) for key in _COUNTS}
        # Before the first iteration there are only these.
        if set(there) == set(_COUNTS) and not counts["n_iter"]:
            return counts
        if set(there) != _ENTRIES:
            got = sorted(map(str, there))
            msg = f"{name}: the state must hold {sorted(_ENTRIES)}, got {got}"
            raise ValueError(msg)
        lists: State = {key: _items(f"{name}: {key}", there[key]) for key in (*_LISTS, "ro")}
        if len({len(items) for items in lists.values()}) > 1:
            lengths = ", ".join(f"{key} {len(items)}" for key, items in lists.items())
            msg = f"{name}: the lists of the state must have one length, got {lengths}"
            raise ValueError(msg)
        loaded: State = {key: self._flat(f"{name}: {key}", there[key]) for key in _ARRAYS}
        for key in _LISTS:
            loaded[key] = [self._flat(f"{name}: {key}", x) for x in lists[key]]
        loaded["ro"] = [_one(f"{name}: ro", x) for x in lists["ro"]]
        loaded |= {key: _one(f"{name}: {key}", there[key]) for key in _NUMBERS}
        return loaded | counts

    def _flat(self, entry: str, value: Any) -> Array:
        """Return an array of a state, as long as all Parameters together."""
        array = numbers_of(entry, value)
        params = self._params()
        size = sum(p._data.size for p in params)
        if array.shape != (size,):
            msg = f"{entry} must have shape ({size},), got {array.shape}"
            raise ValueError(msg)
        return np.array(array, np.result_type(*[p.dtype for p in params]))

    def _count(self, entry: str, value: Any) -> int:
        number = _one(entry, value)
        if not (math.isfinite(number) and number >= 0 and number == int(number)):
            msg = f"{entry} must be a count, got {number}"
            raise ValueError(msg)
        return int(number)


class _Point(NamedTuple):
    """A point on a line: its distance, the loss, the slope along the line and the gradient."""

    t: float
    f: float
    slope: float
    g: Array


class _Trial:
    """What computes the points of a line from `here` along `d`, and counts the calls."""

    def __init__(self, owner: LBFGS, closure: Closure, here: Array, d: Array) -> None:
        self.owner, self.closure, self.here, self.d = owner, closure, here, d
        self.calls = 0

    def __call__(self, t: float, stay: bool = False) -> _Point:
        owner = self.owner
        owner._put(_moved(self.here, t, self.d))
        self.calls += 1
        f = _loss(owner._called(self.closure))
        g = owner._gradient()
        if not stay:
            owner._put(self.here)
        return _Point(t, f, _dot(g, self.d), g)


def _loss(value: Any) -> float:
    """Return the number that a closure returned."""
    if isinstance(value, Tensor) and value._data.size == 1 and value._data.dtype.kind != "c":
        return float(value._data.item())
    number = as_number(value)
    if number is None or isinstance(number, complex):
        is_tensor = isinstance(value, Tensor)
        came = f"a Tensor {value.shape} of {value.dtype}" if is_tensor else shown(value)
        wanted, kind = "a number or a Tensor of one element", type(value).__name__
        msg = f"LBFGS: closure must return {wanted}, returned {came} ({kind})"
        raise TypeError(msg)
    return float(number)


@quiet
def _largest(x: Array) -> float:
    return float(np.max(np.abs(x), initial=0))


@quiet
def _dot(x: Array, y: Array) -> float:
    return float(x @ y)


@quiet
def _moved(x: Array, t: float, d: Array) -> Array:
    return x + t * d


@quiet
def _ended(t: float, d: Array, g: Array, change: float, group: Group) -> bool:
    """Tell whether an iteration is the last of its step."""
    small = group["tolerance_change"]
    rest = np.max(np.abs(g), initial=0) <= group["tolerance_grad"]
    return bool(rest or np.max(np.abs(t * d), initial=0) <= small or abs(change) < small)


@quiet
def _aimed(memory: State, g: Array, f: float, group: Group) -> tuple[float, float]:
    """Put the next direction into the state; return the slope along it and the first length."""
    t = group["lr"]
    if memory["n_iter"] == 1:
        memory |= {"d": -g, "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0}
        t = float(min(1.0, 1.0 / np.sum(np.abs(g))) * t)
    else:
        y, s = g - memory["prev_flat_grad"], memory["d"] * memory["t"]
        curvature = float(y @ s)
        if curvature > 1e-10:
            for key, item in (("old_dirs", y), ("old_stps", s), ("ro", 1 / curvature)):
                memory[key] = [*memory[key], item][-group["history_size"] :]
            memory["H_diag"] = float(curvature / (y @ y))
        memory["d"] = _direction(g, memory)
    memory |= {"prev_flat_grad": g, "prev_loss": f, "t": t}
    return float(g @ memory["d"]), t


def _direction(g: Array, memory: State) -> Array:
    """Return the direction of the pairs (algorithm 7.4)."""
    pairs = list(zip(memory["old_dirs"], memory["old_stps"], memory["ro"], strict=True))
    q, shares = -g, []
    for y, s, ro in reversed(pairs):
        share = float(s @ q) * ro
        shares.append(share)
        q -= share * y
    q *= memory["H_diag"]
    for (y, s, ro), share in zip(pairs, reversed(shares), strict=True):
        q += s * (share - float(y @ q) * ro)
    return q


@quiet
def _cubic(one: _Point, two: _Point, low: float, high: float) -> float:
    """Return the least point of the cubic through two points, within bounds."""
    (t1, f1, g1, _), (t2, f2, g2, _) = one, two
    d1 = g1 + g2 - 3 * np.float64(f1 - f2) / (t1 - t2)
    square = d1 * d1 - g1 * g2
    if square < 0:
        return (low + high) / 2
    d2 = np.sqrt(square)
    if t1 <= t2:
        t = t2 - (t2 - t1) * (g2 + d2 - d1) / (g2 - g1 + 2 * d2)
    else:
        t = t1 - (t1 - t2) * (g1 + d2 - d1) / (g1 - g2 + 2 * d2)
    return float(min(max(t, low), high))


_C1, _C2, _NARROW = 1e-4, 0.9, 1e-9


def _search(
    trial: Callable[[float], _Point], t: float, start: _Point, widest: float, limit: int
) -> _Point:
    """Return the point of a line that meets the strong Wolfe conditions (optim-18)."""
    point, last, tries, bracket, done = trial(t), start, 0, [start], False
    while tries < limit:
        if _high(point, start) or (tries > 1 and point.f >= last.f):
            bracket = [last, point]
            break
        if abs(point.slope) <= -_C2 * start.slope:
            bracket, done = [point], True
            break
        if point.slope >= 0:
            bracket = [last, point]
            break
        ahead = _cubic(last, point, point.t + 0.01 * (point.t - last.t), point.t * 10)
        last, point = point, trial(ahead)
        tries += 1
    if tries >= limit:
        bracket = [start, point]
    return bracket[0] if done else _narrowed(trial, start, bracket, widest, limit - tries)


def _high(point: _Point, start: _Point) -> bool:
    return point.f > start.f + _C1 * point.t * start.slope


def _narrowed(
    trial: Callable[[float], _Point],
    start: _Point,
    bracket: list[_Point],
    widest: float,
    tries: int,
) -> _Point:
    """Return the lower end of a bracket, narrowed until it meets the conditions."""
    low, high = _ordered(bracket)
    slow = False
    for _ in range(tries):
        left, right = sorted(point.t for point in bracket)
        if (right - left) * widest < _NARROW:
            break
        t, slow = _within(_cubic(bracket[0], bracket[1], left, right), left, right, slow)
        point = trial(t)
        if _high(point, start) or point.f >= bracket[low].f:
            bracket[high] = point
            low, high = _ordered(bracket)
            continue
        done = abs(point.slope) <= -_C2 * start.slope
        if not done and point.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = point
        if done:
            break
    return bracket[low]


def _ordered(bracket: list[_Point]) -> tuple[int, int]:
    """Return the places of the lower and the higher end."""
    return (0, 1) if bracket[0].f <= bracket[1].f else (1, 0)


def _within(t: float, left: float, right: float, slow: bool) -> tuple[float, bool]:
    """Return where to try in a bracket, off its ends, and whether that was close to one."""
    width = 0.1 * (right - left)
    if not min(right - t, t - left) < width:
        return t, False
    if slow or t >= right or t <= left:
        return (right - width if abs(t - right) < abs(t - left) else left + width), False
    return t, True


def _items(entry: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        msg = f"{entry} must be a list, got {shown(value)}"
        raise TypeError(msg)
    return list(value)


def _one(entry: str, value: Any) -> float:
    """Return a number of a state: Python's, NumPy's, or an array of one element."""
    if isinstance(value, Tensor):
        value = value._data
    if is_raw(value) and value.shape == () and value.dtype.kind in "fiu":
        return float(value)
    number = as_number(value)
    if number is None:
        msg = f"{entry} must be a number, got {shown(value)}"
        raise TypeError(msg)
    return float(number)


def _out(value: Any) -> Any:
    return wrap(value.copy(), None) if isinstance(value, np.ndarray) else value
