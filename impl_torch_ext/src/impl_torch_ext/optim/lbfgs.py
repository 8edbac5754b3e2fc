"""LBFGS, which calls its closure again and again."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext.checks import Option, check_function, check_int, check_number, check_size, shown
from impl_torch_ext.dtypes import bool_, plain_number
from impl_torch_ext.ops.transcendental import as_float
from impl_torch_ext.optim.optimizer import (
    Optimizer,
    check_not_negative,
    copied_array,
    copied_number,
)

__all__ = ["LBFGS"]

_ARRAYS = ("d", "prev_flat_grad")
_LISTS = ("old_dirs", "old_stps")
_NUMBERS = ("t", "H_diag", "prev_loss")
_COUNTS = ("func_evals", "n_iter")
_ENTRIES = (*_COUNTS, *_ARRAYS, *_LISTS, "ro", *_NUMBERS)

# A function of the length of a step along the direction: the loss there, and the gradient.
_Trial = Callable[[float], tuple[float, Tensor]]


def _check_tolerance(name: str, option: str, value: Any) -> float:
    number = check_number(name, option, value)
    if as_float(name, option, number) != number:  # NaN.
        msg = f"{name}: {option} must be a number, got {number}"
        raise ValueError(msg)
    return number


def _check_search(name: str, option: str, value: Any) -> str | None:
    if value is not None and not (isinstance(value, str) and value == "strong_wolfe"):
        msg = f"{name}: {option} must be None or 'strong_wolfe', got {shown(value)}"
        raise ValueError(msg)
    return value


class LBFGS(Optimizer):
    """Quasi-Newton steps from the last pairs of steps and changes of the gradient.

    Source: Nocedal and Wright 2006, algorithm 7.4, as `torch.optim.LBFGS`.

    Parameters
    ----------
    params : iterable of Parameters, or of one dict with the key `params` and any options
    lr : float
    max_iter, max_eval : int
        Iterations of a step, and calls of the closure after which it ends; `max_eval` None is
        `max_iter * 5 // 4`.
    tolerance_grad, tolerance_change : float
        A step ends where the gradient, or what changes, is so small.
    history_size : int
        Pairs that are kept.
    line_search_fn : {None, "strong_wolfe"}

    Raises
    ------
    ValueError
        If there are no parameters or several groups, or an option is out of range.
    TypeError
        If `params` holds something that is no Tensor, or an option is of another kind.
    """

    _checks: ClassVar[Mapping[str, Option]] = {
        "lr": check_not_negative,
        "max_iter": check_size,
        "max_eval": check_size,
        "tolerance_grad": _check_tolerance,
        "tolerance_change": _check_tolerance,
        "history_size": check_size,
        "line_search_fn": _check_search,
    }
    _later: ClassVar[Mapping[str, bool]] = {}

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
            max_eval = max(check_size("LBFGS", "max_iter", max_iter) * 5 // 4, 1)
        tolerances = (tolerance_grad, tolerance_change)
        values = (lr, max_iter, max_eval, *tolerances, history_size, line_search_fn)
        super().__init__(params, dict(zip(self._checks, values, strict=True)))

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add the group, of which there is one.

        Raises
        ------
        ValueError
            If there is one already, or an option is out of range.
        TypeError
            If `group` is no mapping, or a parameter no Tensor.
        """
        if self.param_groups:  # optim-19
            msg = f"{type(self).__name__}: params must be one group, got 2 groups"
            raise ValueError(msg)
        super().add_param_group(group)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Make iterations until one of the bounds is met.

        Parameters
        ----------
        closure : function
            Makes the gradients anew and returns the loss, a number or a Tensor of one element.

        Returns
        -------
        object
            What the closure returned at first.

        Raises
        ------
        ValueError, TypeError
            If an option that was changed is out of range, or `closure` cannot be called or returns
            something else; nothing has changed then.
        """
        name = type(self).__name__
        check_function(name, "closure", closure)  # optim-16
        (group,) = self.param_groups
        options = {**group, **self._checked(name, group)}
        params = group["params"]
        returned: list[Any] = []

        def evaluate() -> tuple[float, Tensor]:
            with torch.enable_grad():
                result = closure()  # type: ignore[misc]
            loss = _loss(name, result)
            if not returned:
                returned.append(result)
            return loss, _flat_gradient(params)

        with torch.no_grad():
            before = [p.clone() for p in params]
            try:
                entry = _Descent(params, options, evaluate).run(self.state.get(params[0], {}))
            except BaseException:
                torch._foreach_copy_(params, before)
                raise
        self.state[params[0]] = entry
        return returned[0]

    def _written(self, entry: Mapping[str, Any]) -> dict[str, Any]:
        if not entry.get("n_iter"):  # There is nothing to go on with.
            return {}

        def copy(value: Any) -> Any:
            if isinstance(value, list):
                return [copy(item) for item in value]
            return value.clone() if isinstance(value, Tensor) else value

        return {key: copy(value) for key, value in entry.items()}

    def _loaded_entries(self, place: str, entry: Any, p: Tensor) -> dict[str, Any]:
        if not isinstance(entry, Mapping):
            msg = f"{place} must be a mapping, got {type(entry).__name__}"
            raise TypeError(msg)
        present = {key: value for key, value in entry.items() if key != "al"}
        if not present:
            return {}
        params = self._params()
        if p is not params[0]:
            msg = f"{place}: the state must stand under the first parameter, got another"
            raise ValueError(msg)
        if set(present) != {*_ENTRIES}:
            msg = f"{place} must have the entries {[*_ENTRIES]}, got {[*present]}"
            raise ValueError(msg)
        like = _flat(params)

        def array(key: str, value: Any) -> Tensor:
            return copied_array(f"{place}[{key!r}]", value, like.shape, like.dtype)

        lists = {key: _listed(f"{place}[{key!r}]", present[key]) for key in (*_LISTS, "ro")}
        if len({len(items) for items in lists.values()}) > 1:
            lengths = [len(items) for items in lists.values()]
            msg = f"{place}: old_dirs, old_stps and ro must have one length, got {lengths}"
            raise ValueError(msg)
        return {
            **{key: _count(f"{place}[{key!r}]", present[key]) for key in _COUNTS},
            **{key: array(key, present[key]) for key in _ARRAYS},
            **{key: [array(key, item) for item in lists[key]] for key in _LISTS},
            "ro": [copied_number(f"{place}['ro']", item) for item in lists["ro"]],
            **{key: copied_number(f"{place}[{key!r}]", present[key]) for key in _NUMBERS},
        }


class _Descent:
    """One step: the parameters, the options and what the closure gave last."""

    def __init__(
        self,
        params: list[Tensor],
        options: Mapping[str, Any],
        evaluate: Callable[[], tuple[float, Tensor]],
    ) -> None:
        self.params, self.options, self.evaluate = params, options, evaluate
        self.calls = 1
        self.loss, self.grad = evaluate()

    def run(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Return what is kept for the next step."""
        options = self.options
        state = {**kept, "old_dirs": [*kept.get("old_dirs", [])]}
        state |= {"old_stps": [*kept.get("old_stps", [])], "ro": [*kept.get("ro", [])]}
        taken, before = 0, kept.get("func_evals", 0)
        state.setdefault("n_iter", 0)
        at_rest = _largest(self.grad) <= options["tolerance_grad"]
        while not at_rest and taken < options["max_iter"]:
            taken += 1
            state["n_iter"] += 1
            self._turn(state)
            d, first = state["d"], state["n_iter"] == 1
            state["prev_flat_grad"], state["prev_loss"] = self.grad, self.loss
            total = float(self.grad.abs().sum()) if first else 1.0
            state["t"] = options["lr"] * (min(1.0, 1 / total) if first and total else 1.0)
            slope = float(self.grad.dot(d))
            if slope > -options["tolerance_change"]:
                break
            self._move(state, slope, last=taken == options["max_iter"])
            at_rest = (
                self.calls >= options["max_eval"]
                or _largest(self.grad) <= options["tolerance_grad"]
                or _largest(d) * abs(state["t"]) <= options["tolerance_change"]
                or abs(self.loss - state["prev_loss"]) < options["tolerance_change"]
            )
        state["func_evals"] = before + self.calls
        return state

    def _turn(self, state: dict[str, Any]) -> None:
        """Find the next direction (algorithm 7.4)."""
        if state["n_iter"] == 1:
            state.update(d=self.grad.neg(), H_diag=1.0, old_dirs=[], old_stps=[], ro=[])
            return
        changes, steps, ratios = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = self.grad - state["prev_flat_grad"], state["d"] * state["t"]
        curvature = float(y.dot(s))
        if curvature > 1e-10:
            for items, item in ((changes, y), (steps, s), (ratios, 1 / curvature)):
                items.append(item)
                del items[: -self.options["history_size"]]
            state["H_diag"] = curvature / float(y.dot(y))
        d, shares = self.grad.neg(), []
        pairs = [*zip(changes, steps, ratios, strict=True)]
        for y, s, ratio in reversed(pairs):
            shares.append(ratio * float(s.dot(d)))
            d.add_(y, alpha=-shares[-1])
        d.mul_(state["H_diag"])
        for (y, s, ratio), share in zip(pairs, reversed(shares), strict=True):
            d.add_(s, alpha=share - ratio * float(y.dot(d)))
        state["d"] = d

    def _move(self, state: dict[str, Any], slope: float, last: bool) -> None:
        """Go along the direction, and find loss and gradient there."""
        d = state["d"]
        if self.options["line_search_fn"] is None:
            self._add(d, state["t"])
            if not last:
                self.calls += 1
                self.loss, self.grad = self.evaluate()
            return
        start = [p.clone() for p in self.params]

        def trial(t: float) -> tuple[float, Tensor]:
            self._add(d, t)
            self.calls += 1
            result = self.evaluate()
            torch._foreach_copy_(self.params, start)
            return result

        origin = _Point(0.0, self.loss, self.grad, slope)
        count = self.options["max_eval"] - self.calls
        found = _Search(trial, d, origin, count).run(state["t"])
        state["t"], self.loss, self.grad = found.t, found.loss, found.grad
        self._add(d, found.t)

    def _add(self, d: Tensor, t: float) -> None:
        parts = d.split([p.numel() for p in self.params])
        for p, part in zip(self.params, parts, strict=True):
            if p.requires_grad:  # optim-11
                p.add_(part.view(p.shape), alpha=t)


@dataclass(frozen=True)
class _Point:
    """A trial: the length of the step, the loss, the gradient and the slope there."""

    t: float
    loss: float
    grad: Tensor
    slope: float


class _Search:
    """The search for a step with the strong Wolfe conditions (optim-18)."""

    def __init__(self, trial: _Trial, d: Tensor, origin: _Point, count: int) -> None:
        self.trial, self.d, self.origin, self.count = trial, d, origin, count
        self.tried = 0
        self.done = False

    def run(self, t: float) -> _Point:
        """Return the step to take, `t` being the first one to try."""
        bracket = self._bracket(t)
        low, high = self._ordered(bracket)
        slow, size = False, _largest(self.d)
        while not self.done and self.tried < self.count:
            first, second = bracket
            width = abs(second.t - first.t)
            if width * size < 1e-9:
                break
            smaller, larger = sorted((first.t, second.t))
            t, slow = _inside(_cubic(first, second, smaller, larger), smaller, larger, slow)
            point = self._at(t)
            self.tried += 1
            if self._too_high(point) or point.loss >= bracket[low].loss:
                bracket[high] = point
                low, high = self._ordered(bracket)
                continue
            if self._flat(point):
                self.done = True
            elif point.slope * (bracket[high].t - bracket[low].t) >= 0:
                bracket[high] = bracket[low]
            bracket[low] = point
        return bracket[low]

    def _bracket(self, t: float) -> list[_Point]:
        """Return two steps between which a good one lies, or a good one alone."""
        last, point = self.origin, self._at(t)
        while self.tried < self.count:
            if self._too_high(point) or (self.tried > 1 and point.loss >= last.loss):
                return [last, point]
            if self._flat(point):
                self.done = True
                return [point]
            if point.slope >= 0:
                return [last, point]
            low, high = point.t + 0.01 * (point.t - last.t), 10 * point.t
            t = _cubic(last, point, low, high)
            last, point = point, self._at(t)
            self.tried += 1
        return [self.origin, point]

    def _at(self, t: float) -> _Point:
        loss, grad = self.trial(t)
        return _Point(t, loss, grad, float(grad.dot(self.d)))

    def _too_high(self, point: _Point) -> bool:
        return point.loss > self.origin.loss + 1e-4 * point.t * self.origin.slope

    def _flat(self, point: _Point) -> bool:
        return abs(point.slope) <= -0.9 * self.origin.slope

    @staticmethod
    def _ordered(bracket: list[_Point]) -> tuple[int, int]:
        """Return the places of the lower and the higher loss."""
        return (0, len(bracket) - 1) if bracket[0].loss <= bracket[-1].loss else (1, 0)


def _cubic(a: _Point, b: _Point, low: float, high: float) -> float:
    """Return where the cubic through two points is least, from `low` to `high`."""
    d1 = a.slope + b.slope - 3 * (a.loss - b.loss) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if square < 0:
        return (low + high) / 2
    d2 = square**0.5
    if a.t <= b.t:
        least = b.t - (b.t - a.t) * ((b.slope + d2 - d1) / (b.slope - a.slope + 2 * d2))
    else:
        least = a.t - (a.t - b.t) * ((a.slope + d2 - d1) / (a.slope - b.slope + 2 * d2))
    return min(max(least, low), high)


def _inside(t: float, smaller: float, larger: float, slow: bool) -> tuple[float, bool]:
    """Return `t`, moved away from the ends where it was near one before, and whether it is near."""
    margin = 0.1 * (larger - smaller)
    if min(larger - t, t - smaller) >= margin:
        return t, False
    if not slow and smaller < t < larger:
        return t, True
    return (larger - margin if abs(t - larger) < abs(t - smaller) else smaller + margin), False


def _flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([x.detach().reshape(-1) for x in tensors])


def _flat_gradient(params: list[Tensor]) -> Tensor:
    """Return all gradients in one; those that are None are zeros."""
    given = (p.grad if p.requires_grad else None for p in params)
    grads = [torch.zeros_like(p) if g is None else g for p, g in zip(params, given, strict=True)]
    return _flat(grads)


def _largest(x: Tensor) -> float:
    return float(x.abs().max()) if x.numel() else 0.0


def _loss(name: str, result: Any) -> float:
    """Return what a closure returned as a number, or raise a TypeError."""
    number = plain_number(result)
    if isinstance(result, Tensor) and result.numel() == 1 and result.dtype != bool_:
        number = result.item()
    if isinstance(number, bool) or not isinstance(number, int | float):
        came = (
            f"shape {tuple(result.shape)}" if isinstance(result, Tensor) else type(result).__name__
        )
        msg = f"{name}: closure must return a number or a Tensor of one element, got {came}"
        raise TypeError(msg)
    return as_float(name, "what closure returns", number)


def _listed(place: str, value: Any) -> list[Any]:
    if not isinstance(value, list | tuple):
        msg = f"{place} must be a list, got {type(value).__name__}"
        raise TypeError(msg)
    return [*value]


def _count(place: str, value: Any) -> int:
    if isinstance(value, Tensor) and value.ndim == 0 and value.dtype != bool_:
        value = value.item()
    if check_int(place, "it", value) < 0:
        msg = f"{place} must not be negative, got {value}"
        raise ValueError(msg)
    return int(value)
