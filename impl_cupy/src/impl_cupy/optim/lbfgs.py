"""LBFGS: a direction from the last changes of the gradient, and a search along it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, check_positive_int, shown, type_name
from impl_cupy.memory import RawArray, note_change
from impl_cupy.optim.algorithms import check_finite_number
from impl_cupy.optim.optimizer import (
    Checks,
    Entries,
    Optimizer,
    check_mapping,
    numbers_of,
    whole_number,
)
from impl_cupy.sums import total
from impl_cupy.tensor import Tensor

_C1, _C2, _TOLERANCE = 1e-4, 0.9, 1e-9
_ARRAYS, _LISTS = ("d", "prev_flat_grad"), ("old_dirs", "old_stps")
_NUMBERS, _COUNTS = ("t", "H_diag", "prev_loss"), ("func_evals", "n_iter")


def _check_search(operation: str, argument: str, value: Any) -> None:
    if value is not None and not (isinstance(value, str) and value == "strong_wolfe"):
        msg = f"{operation}: {argument} must be None or 'strong_wolfe', got {shown(value)}"
        raise ValueError(msg)


@dataclass(frozen=True)
class _Point:
    """A place on the line: how far, the loss, the gradient, and its part along the line."""

    t: float
    loss: float
    grad: RawArray
    slope: float


class LBFGS(Optimizer):
    """LBFGS, as ``torch.optim.LBFGS`` has it: a step is several iterations, and needs a closure.

    Parameters
    ----------
    params : iterable of Parameter, or a list of one dict with ``params`` and options
    lr : float
    max_iter : int
        Iterations in a step.
    max_eval : int, optional
        Calls of the closure in a step, about; ``max_iter * 5 // 4`` without.
    tolerance_grad, tolerance_change : float
        A step ends where the largest element of the gradient, or of the change, is not above.
    history_size : int
        How many changes are kept.
    line_search_fn : None or "strong_wolfe"

    Raises
    ------
    TypeError, ValueError
        If an option does not fit, or there is a second group.

    Source: Nocedal and Wright 2006, algorithm 7.4; the page of torch.optim.LBFGS.
    """

    _checks: ClassVar[Checks] = {
        "lr": check_at_least_zero,
        "max_iter": check_positive_int,
        "max_eval": check_positive_int,
        "tolerance_grad": check_finite_number,
        "tolerance_change": check_finite_number,
        "history_size": check_positive_int,
        "line_search_fn": _check_search,
    }

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
        if max_eval is None:
            max_eval = check_positive_int("LBFGS", "max_iter", max_iter) * 5 // 4
        options: dict[str, Any] = {"lr": lr, "max_iter": max_iter, "max_eval": max_eval}
        options |= {"tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change}
        options |= {"history_size": history_size, "line_search_fn": line_search_fn}
        super().__init__(params, options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add the one group.

        Raises
        ------
        TypeError, ValueError
            If there is a group already (optim-19), or as for other optimizers.
        """
        if self.param_groups:
            msg = f"LBFGS: there must be one group, got {len(self.param_groups) + 1}"
            raise ValueError(msg)
        super().add_param_group(param_group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take iterations until one of the options ends the step.

        Parameters
        ----------
        closure : callable
            Makes the gradients anew and returns the loss; called again and again.

        Returns
        -------
        object
            What the first call returned.

        Raises
        ------
        TypeError
            If `closure` cannot be called, or returns neither a number nor a Tensor of one element.
        ValueError
            If an option that was changed does not fit; nothing is changed then.
        """
        (group,) = self.param_groups
        self._check_options(group)
        result = self._call(closure)
        now = _Point(0.0, _loss_of(result), self._flat_grad(), 0.0)
        first = group["params"][0]
        _, state = self._state.setdefault(id(first), (first, {"func_evals": 0, "n_iter": 0}))
        self._check_state(state, now.grad)
        state["func_evals"] += 1
        if _largest(now.grad) > group["tolerance_grad"]:
            self._iterate(closure, state, now)
        return result

    def _iterate(self, closure: Any, state: Entries, now: _Point) -> None:
        (group,), calls = self.param_groups, 1
        for count in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = state["d"] = self._direction(state, now.grad)
            lr = t = float(group["lr"])
            if state["n_iter"] == 1:
                t = min(1.0, 1 / _number_of(total(cp.abs(now.grad)))) * lr
            state["prev_flat_grad"], state["prev_loss"] = now.grad, now.loss
            state["t"], slope = t, _dot(now.grad, d)
            if slope > -group["tolerance_change"]:
                break
            made = 0
            if group["line_search_fn"] is not None:
                start = _Point(0.0, now.loss, now.grad, slope)
                now, made = self._search(closure, t, d, start, max(group["max_eval"] - calls, 0))
                t = state["t"] = now.t
                self._move(self._flat(), t, d)
            else:
                self._move(self._flat(), t, d)
                if count < group["max_iter"]:
                    loss = _loss_of(self._call(closure))
                    now, made = _Point(t, loss, self._flat_grad(), 0.0), 1
            calls += made
            state["func_evals"] += made
            if (
                calls >= group["max_eval"]
                or _largest(now.grad) <= group["tolerance_grad"]
                or _largest(d) * abs(t) <= group["tolerance_change"]
                or abs(now.loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break

    def _direction(self, state: Entries, grad: RawArray) -> RawArray:
        """Return the next direction, and keep what the last step has shown (optim-17)."""
        if state["n_iter"] == 1:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -grad
        y, s = grad - state["prev_flat_grad"], state["d"] * state["t"]
        pairs, curvature = (state["old_dirs"], state["old_stps"], state["ro"]), _dot(y, s)
        if curvature > 1e-10:
            for kept, new in zip(pairs, (y, s, 1 / curvature), strict=True):
                kept.append(new)
                del kept[: -self.param_groups[0]["history_size"]]
            state["H_diag"] = curvature / _dot(y, y)
        r, shares = -grad, []
        for y, s, ro in zip(*map(reversed, pairs), strict=True):
            shares.append(ro * _dot(s, r))
            r = r - shares[-1] * y
        r = r * state["H_diag"]
        for y, s, ro in zip(*pairs, strict=True):
            r = r + (shares.pop() - ro * _dot(y, r)) * s
        return r

    def _search(
        self, closure: Any, t: float, d: RawArray, start: _Point, most: int
    ) -> tuple[_Point, int]:
        """Return the place that a search of at most `most` trials finds, and its calls."""
        origin, calls = self._flat(), 0

        def at(t: float) -> _Point:
            nonlocal calls
            calls += 1
            try:
                self._move(origin, t, d)
                loss = _loss_of(self._call(closure))
            finally:
                self._move(origin, 0.0, d)
            grad = self._flat_grad()
            return _Point(t, loss, grad, _dot(grad, d))

        bracket, is_done = _bracket(at, t, start, most)
        return _zoom(at, bracket, is_done, start, most - calls + 1, _largest(d)), calls

    def _flat(self) -> RawArray:
        return cp.concatenate([param._data.reshape(-1) for param in self._params()])

    def _flat_grad(self) -> RawArray:
        parts = []
        for param in self._params():
            grad, raw = param.grad, param._data
            if grad is not None and (grad.shape != raw.shape or grad.dtype != raw.dtype):
                self._check_fit(param)
            is_there = grad is not None and param.requires_grad
            part = grad._data if is_there else cp.zeros_like(raw)  # type: ignore[union-attr]
            parts.append(part.reshape(-1))
        return cp.concatenate(parts)

    def _move(self, origin: RawArray, t: float, d: RawArray) -> None:
        """Put the parameters at ``origin + t d``; those that are frozen stay."""
        place, target = 0, origin if t == 0 else origin + t * d
        for param in self._params():
            raw = param._data
            part = target[place : place + raw.size]
            place += raw.size
            if param.requires_grad:
                note_change(param)
                raw[...] = part.reshape(raw.shape)

    def _check_state(self, state: Entries, grad: RawArray) -> None:
        """Refuse a state of other parameters, and bring it to the parameters' dtype."""
        arrays = [state[key] for key in _ARRAYS if key in state]
        if any(array.shape != grad.shape for array in arrays):
            msg = f"LBFGS: the state has {arrays[0].size} elements, and the parameters {grad.size}"
            raise ValueError(msg)
        if arrays and arrays[0].dtype != grad.dtype:
            for key in _ARRAYS:
                state[key] = state[key].astype(grad.dtype)
            for key in _LISTS:
                state[key] = [array.astype(grad.dtype) for array in state[key]]

    def _imported(self, where: str, entries: Any, param: Tensor) -> Entries:
        """Return what is kept, as raw arrays of the parameters' dtype and Python's numbers."""
        check_mapping(where, "it", entries, ())
        given = {key: value for key, value in entries.items() if key != "al"}
        if param is not self._params()[0]:
            msg = f"{where}: the state of LBFGS must stand under position 0"
            raise ValueError(msg)
        counts = {key: whole_number(f"{where}: {key}", given.get(key)) for key in _COUNTS}
        if counts["n_iter"] == 0 and given.keys() == counts.keys():
            return counts
        wanted = (*_COUNTS, *_ARRAYS, *_LISTS, "ro", *_NUMBERS)
        if set(given) != set(wanted):
            msg = f"{where}: must have {', '.join(wanted)}, got {', '.join(map(repr, entries))}"
            raise ValueError(msg)
        lists = [given[key] for key in (*_LISTS, "ro")]
        if not all(isinstance(part, (list, tuple)) for part in lists):
            msg = f"{where}: {', '.join(_LISTS)} and ro must be lists, got {shown(lists)}"
            raise TypeError(msg)
        if len(set(map(len, lists))) != 1:
            msg = f"{where}: {', '.join(_LISTS)} and ro must be as long, got {[*map(len, lists)]}"
            raise ValueError(msg)
        like = self._flat()
        made: Entries = {**counts}
        made |= {key: _flat_of(f"{where}: {key}", given[key], like) for key in _ARRAYS}
        for key in _LISTS:
            made[key] = [_flat_of(f"{where}: {key}", part, like) for part in given[key]]
        made["ro"] = [_one(f"{where}: ro", part) for part in given["ro"]]
        return made | {key: _one(f"{where}: {key}", given[key]) for key in _NUMBERS}


def _flat_of(where: str, value: Any, like: RawArray) -> RawArray:
    array = numbers_of(where, value)
    if array.shape != like.shape:
        msg = f"{where} must have shape {like.shape}, got {array.shape}"
        raise ValueError(msg)
    return cp.array(array, dtype=like.dtype, copy=True)


def _one(where: str, value: Any) -> float:
    array = numbers_of(where, value)
    if array.size != 1:
        msg = f"{where} must be one number, got shape {array.shape}"
        raise ValueError(msg)
    return float(array.reshape(()))


def one_number(what: str, value: Any) -> float:
    """Return a number, or the element of a Tensor that has one.

    Raises
    ------
    TypeError
        That begins with `what`, and names what came.
    """
    if isinstance(value, Tensor) and value._data.size == 1 and value._data.dtype.kind != "c":
        return float(value._data.reshape(()))
    is_number = isinstance(value, (int, float, np.integer, np.floating))
    if is_number and not isinstance(value, bool):
        return float(value)
    is_tensor = isinstance(value, Tensor)
    got = f"shape {value.shape} and {value._data.dtype}" if is_tensor else type_name(value)
    msg = f"{what} a number or a Tensor of one element, got {got}"
    raise TypeError(msg)


def _loss_of(value: Any) -> float:
    return one_number("LBFGS: closure must return", value)  # optim-16


def _number_of(raw: RawArray) -> float:
    return float(raw)


def _dot(a: RawArray, b: RawArray) -> float:
    return float(total(a * b))


def _largest(raw: RawArray) -> float:
    return float(cp.max(cp.abs(raw))) if raw.size else 0.0


def _cubic(a: _Point, b: _Point, low: float, high: float) -> float:
    """Return where a cubic through two points has its least, within bounds (optim-18)."""
    middle = (low + high) / 2
    if a.t == b.t:
        return middle
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return middle
    left, right = (a, b) if a.t <= b.t else (b, a)
    d2 = math.sqrt(square)
    width = right.slope - left.slope + 2 * d2
    if width == 0:
        return middle
    least = right.t - (right.t - left.t) * ((right.slope + d2 - d1) / width)
    return min(max(least, low), high)


def _bracket(
    at: Callable[[float], _Point], t: float, start: _Point, most: int
) -> tuple[list[_Point], bool]:
    """Return one point that is good enough, or two that have one between them (optim-18)."""
    now, last, count = at(t), start, 0
    while count < most:
        is_high = now.loss > start.loss + _C1 * now.t * start.slope
        if is_high or (count > 1 and now.loss >= last.loss):
            return [last, now], False
        if abs(now.slope) <= -_C2 * start.slope:
            return [now], True
        if now.slope >= 0:
            return [last, now], False
        t = _cubic(last, now, now.t + 0.01 * (now.t - last.t), 10 * now.t)
        last, now = now, at(t)
        count += 1
    return [start, now], False


def _zoom(
    at: Callable[[float], _Point],
    bracket: list[_Point],
    is_done: bool,
    start: _Point,
    left: int,
    largest: float,
) -> _Point:
    """Return the lower end of a bracket that has been made smaller, in `left` trials at most."""
    low, high = (0, 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)
    is_slow = False
    while not is_done and left > 0:
        small, large = sorted((bracket[0].t, bracket[1].t))
        if (large - small) * largest < _TOLERANCE:
            break
        t = _cubic(bracket[0], bracket[1], small, large)
        margin = 0.1 * (large - small)
        if min(large - t, t - small) < margin:
            if is_slow or t >= large or t <= small:
                t = large - margin if abs(t - large) < abs(t - small) else small + margin
                is_slow = False
            else:
                is_slow = True
        else:
            is_slow = False
        now, lowest = at(t), bracket[low]
        left -= 1
        if now.loss > start.loss + _C1 * t * start.slope or now.loss >= lowest.loss:
            bracket[high] = now
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
        else:
            if abs(now.slope) <= -_C2 * start.slope:
                is_done = True
            elif now.slope * (bracket[high].t - lowest.t) >= 0:
                bracket[high] = lowest
            bracket[low] = now
    return bracket[low]
