"""LBFGS, which looks for the step's length by calling the closure.

Each iteration decides by numbers, so nothing is compiled: the vectors are NumPy's, flat, and the
memory of the parameters is read where it is.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ..checks import positive_int, refuse, refuse_type, shown
from ..dtypes import make_array
from ..tape import wrap
from .optimizer import Group, Optimizer, State, as_array

Vector = np.ndarray[Any, Any]
_COUNTS, _NUMBERS = ("func_evals", "n_iter"), ("t", "H_diag", "prev_loss")
_ARRAYS, _LISTS = ("d", "prev_flat_grad"), ("old_dirs", "old_stps")
_EVERY = frozenset({*_COUNTS, *_NUMBERS, *_ARRAYS, *_LISTS, "ro"})


class _Trial(NamedTuple):
    """A length of the step, the loss there, the gradient, and its slope along the direction."""

    t: float
    f: float
    g: Vector
    slope: float


class LBFGS(Optimizer):
    """Limited-memory BFGS (Nocedal and Wright 2006, algorithm 7.4; ``torch.optim.LBFGS``).

    Parameters
    ----------
    params : iterable of Parameter, or of one dict
    lr : float, 0 or more
    max_iter : int
        Iterations of a step at most.
    max_eval : int, optional
        Calls of the closure in a step, after which it ends; ``max_iter * 5 // 4`` by default.
    tolerance_grad, tolerance_change : float
        A step ends where no gradient, or no change, is larger.
    history_size : int
        How many changes are remembered.
    line_search_fn : {None, "strong_wolfe"}

    Raises
    ------
    ValueError
        If there are no parameters, more groups than one, or an option is out of its range.
    TypeError
        If something in `params` is no Tensor, or an option is of the wrong kind.
    """

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
        defaults = {"lr": lr, "max_iter": max_iter, "max_eval": max_eval}
        tolerances = {"tolerance_grad": tolerance_grad, "tolerance_change": tolerance_change}
        more = {"history_size": history_size, "line_search_fn": line_search_fn}
        listed = self._listed("params", params)
        if isinstance(listed[0], dict) and len(listed) != 1:  # optim-19
            refuse("LBFGS", "params", "of one group", f"{len(listed)} groups")
        super().__init__(listed, defaults | tolerances | more)

    def add_param_group(self, param_group: Group) -> None:
        """Take the one group; a second raises `ValueError`."""
        if self.param_groups:  # optim-19
            refuse("LBFGS", "param_groups", "one group", "a second group")
        if isinstance(param_group, dict):
            options = self.defaults | param_group
            if options["max_eval"] is None:
                most = positive_int("LBFGS", "max_iter", options["max_iter"])
                param_group = {**param_group, "max_eval": max(most * 5 // 4, 1)}
        super().add_param_group(param_group)

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        sizes = {
            key: positive_int("LBFGS", key, group[key])
            for key in ("max_iter", "max_eval", "history_size")
        }
        search = group["line_search_fn"]
        if search is not None and not (isinstance(search, str) and search == "strong_wolfe"):
            refuse("LBFGS", "line_search_fn", "None or 'strong_wolfe'", shown(search))
        tolerances = {
            key: self._number(group, key, -np.inf) for key in ("tolerance_grad", "tolerance_change")
        }
        return {"lr": self._number(group, "lr"), **sizes, **tolerances, "line_search_fn": search}

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take up to `max_iter` iterations.

        Parameters
        ----------
        closure : callable
            Makes the gradients and returns the loss; it is called again and again, with recording
            on.

        Returns
        -------
        object
            What the closure returned first.

        Raises
        ------
        TypeError
            If there is no closure, or it returns neither a number nor a Tensor of one element.
        ValueError
            If an option was set to what does not fit, or a shape has changed.
        """
        first = self._call(closure)
        loss = self._one("what closure returns", first)  # optim-16
        descent = _Descent(self, closure, self._options(self.param_groups[0]))
        descent.run(loss)
        return first

    def _shown_state(self, state: State) -> State:
        made: State = {}
        for key, value in state.items():
            if key in _ARRAYS:
                made[key] = wrap(make_array(value))
            elif key in _LISTS:
                made[key] = [wrap(make_array(part)) for part in value]
            else:
                made[key] = list(value) if key == "ro" else value
        return made

    def _loaded_state(self, what: str, entry: Mapping[str, Any], param: Any) -> State:
        entry = {k: value for k, value in entry.items() if k != "al" and value is not None}
        if not entry:
            return {}
        if param is not self.param_groups[0]["params"][0]:  # optim-19
            refuse("LBFGS", what, "empty but for the first parameter", sorted(map(str, entry)))
        # What has only looked at a gradient of 0 has counts alone.
        wanted, came = ", ".join(sorted(_EVERY)), ", ".join(sorted(map(str, entry)))
        if entry.keys() not in (_EVERY, frozenset(_COUNTS)):
            refuse("LBFGS", f"the entries of {what}", wanted, came)
        made: State = {key: self._loaded_count(f"{key!r} in {what}", entry[key]) for key in _COUNTS}
        if entry.keys() != _EVERY:
            if made["n_iter"]:
                refuse("LBFGS", f"the entries of {what}", wanted, came)
            return made
        for key in (*_NUMBERS, *_ARRAYS):
            made[key] = self._loaded_part(f"{key!r} in {what}", entry[key], key in _ARRAYS)
        for key in (*_LISTS, "ro"):
            if not isinstance(entry[key], list | tuple):
                refuse_type("LBFGS", f"{key!r} in {what}", "a list", entry[key])
            parts = [(f"each of {key!r} in {what}", part) for part in entry[key]]
            made[key] = [self._loaded_part(said, part, key in _LISTS) for said, part in parts]
        if len({len(made[key]) for key in (*_LISTS, "ro")}) != 1:
            counts = [len(made[key]) for key in (*_LISTS, "ro")]
            refuse("LBFGS", f"the lists of {what}", "of one length", counts)
        return made

    def _loaded_count(self, what: str, value: Any) -> int:
        number = self._loaded_part(what, value, False)
        if not (number >= 0 and float(number).is_integer()):
            refuse("LBFGS", what, "a count", number)
        return int(number)

    def _loaded_part(self, what: str, value: Any, flat: bool) -> Any:
        """Return a number, or a vector of all parameters, that came with a state."""
        array = as_array(value)
        if array is None or array.dtype.kind not in "fiu":
            came = shown(value) if array is None else f"dtype {array.dtype}"
            msg = f"LBFGS: {what} must be an array of numbers, got {came}"
            raise TypeError(msg)
        params = self.param_groups[0]["params"]
        wanted = (sum([param._data.size for param in params]),) if flat else ()
        if array.shape != wanted:
            refuse("LBFGS", what, f"of shape {wanted}", array.shape)
        if not flat:
            return float(array)
        return array.astype(np.result_type(*[param._data.dtype for param in params]))


class _Descent:
    """One step: the parameters as one vector, and the closure as a function of it."""

    def __init__(self, owner: LBFGS, closure: Any, options: dict[str, Any]) -> None:
        self.owner, self.closure, self.options = owner, closure, options
        self.params = owner.param_groups[0]["params"]
        self.dtype = np.result_type(*[param._data.dtype for param in self.params])
        self.x = self._flat([np.asarray(param._data) for param in self.params])
        held = owner._state.get(id(self.params[0]))
        self.state: State = {"func_evals": 0, "n_iter": 0} if held is None else dict(held[1])
        for key in _ARRAYS:
            if key in self.state and self.state[key].shape != self.x.shape:
                owner._refuse(key, self.state[key].shape, f"of the parameters' {self.x.shape}")
        self.calls = 1

    def _flat(self, arrays: list[Any]) -> Vector:
        return np.concatenate([array.reshape(-1) for array in arrays]).astype(self.dtype)

    def gradient(self) -> Vector:
        """Return the gradients as one vector; one that is None counts as zeros."""  # optim-17
        parts = []
        for param in self.params:
            wanted = param._data.shape
            grad = param._grad if param._requires_grad else None
            if grad is not None and grad._data.shape != wanted:
                self.owner._refuse("grad", grad._data.shape, f"of the Parameter's shape {wanted}")
            parts.append(np.zeros(wanted) if grad is None else np.asarray(grad._data))
        return self._flat(parts)

    def move(self, x: Vector) -> None:
        """Give the parameters the numbers of a vector."""
        start = 0
        for param in self.params:
            data = param._data
            if param._requires_grad:
                part = x[start : start + data.size].reshape(data.shape)
                param._data = make_array(part, data.dtype)
            start += data.size

    def evaluate(self, x: Vector) -> tuple[float, Vector]:
        """Return loss and gradient at a vector."""
        self.move(x)
        self.calls += 1
        loss = self.owner._one("what closure returns", self.owner._call(self.closure))
        return loss, self.gradient()

    def run(self, f: float) -> None:
        """Take the iterations of a step from the loss where the parameters are."""
        with np.errstate(all="ignore"):
            g = self.gradient()
            if np.max(np.abs(g), initial=0) > self.options["tolerance_grad"]:
                self._iterate(f, g)
        self.state["func_evals"] += self.calls
        first = self.params[0]
        self.owner._state[id(first)] = (first, self.state)

    def _iterate(self, f: float, g: Vector) -> None:
        options, state = self.options, self.state
        for count in range(1, options["max_iter"] + 1):
            state["n_iter"] += 1
            self._turn(g)
            d, before = state["d"], f
            t = options["lr"]
            if state["n_iter"] == 1:
                t = t * min(1.0, 1.0 / float(np.sum(np.abs(g))))
            state.update(prev_flat_grad=g, prev_loss=f, t=float(t))
            slope = float(g @ d)
            if slope > -options["tolerance_change"]:
                return
            if options["line_search_fn"] is not None:
                start = _Trial(0.0, f, g, slope)
                found = _search(self, d, t, start, options["max_eval"] - self.calls)
                t, f, g = found.t, found.f, found.g
                state["t"] = float(t)
            x = (self.x + t * d).astype(self.dtype)
            if options["line_search_fn"] is None and count < options["max_iter"]:
                f, g = self.evaluate(x)
            else:
                self.move(x)
            self.x = x
            if self._ends(f - before, g, t * d):
                return

    def _ends(self, change: float, g: Vector, moved: Vector) -> bool:
        options = self.options
        least = options["tolerance_change"]
        return bool(
            self.calls >= options["max_eval"]
            or np.max(np.abs(g)) <= options["tolerance_grad"]
            or np.max(np.abs(moved)) <= least
            or abs(change) < least
        )

    def _turn(self, g: Vector) -> None:
        """Find the direction of an iteration: the two loops of algorithm 7.4."""
        state = self.state
        if "d" not in state:
            state.update(d=-g, H_diag=1.0, old_dirs=[], old_stps=[], ro=[])
            return
        y, s = g - state["prev_flat_grad"], (state["d"] * state["t"]).astype(self.dtype)
        product = float(y @ s)
        dirs, steps, ro = [list(state[key]) for key in ("old_dirs", "old_stps", "ro")]
        if product > 1e-10:
            dirs, steps, ro = [*dirs, y], [*steps, s], [*ro, 1.0 / product]
            most = self.options["history_size"]
            dirs, steps, ro = dirs[-most:], steps[-most:], ro[-most:]
            state["H_diag"] = product / float(y @ y)
        q, shares = -g, [0.0] * len(dirs)
        for k in reversed(range(len(dirs))):
            shares[k] = float(steps[k] @ q) * ro[k]
            q = q - self.dtype.type(shares[k]) * dirs[k]
        r = q * self.dtype.type(state["H_diag"])
        for k in range(len(dirs)):
            r = r + steps[k] * self.dtype.type(shares[k] - ro[k] * float(dirs[k] @ r))
        state.update(d=r, old_dirs=dirs, old_stps=steps, ro=ro)


def _cubic(one: _Trial, two: _Trial, low: float, high: float) -> float:
    """Return where the cubic through two trials is least, within bounds."""  # optim-18
    (t1, f1, _, g1), (t2, f2, _, g2) = one, two
    d1 = g1 + g2 - 3 * np.float64(f1 - f2) / np.float64(t1 - t2)
    square = d1 * d1 - g1 * g2
    if square < 0:
        return (low + high) / 2
    d2 = np.sqrt(square)
    if t1 <= t2:
        least = t2 - (t2 - t1) * ((g2 + d2 - d1) / (g2 - g1 + 2 * d2))
    else:
        least = t1 - (t1 - t2) * ((g1 + d2 - d1) / (g1 - g2 + 2 * d2))
    return float(min(max(least, low), high))


def _search(descent: _Descent, d: Vector, t: float, start: _Trial, most: int) -> _Trial:
    """Return the trial that the search with the strong Wolfe conditions ends with."""
    x = descent.x

    def tried(t: float) -> _Trial:
        f, g = descent.evaluate((x + t * d).astype(descent.dtype))
        return _Trial(t, f, g, float(g @ d))

    bracket, count, done = _bracket(tried, t, start, most)
    if not done:
        size = float(np.max(np.abs(d)))
        bracket = _zoom(tried, start, bracket, most - count, size)
    descent.move(x)
    return bracket[_lower(bracket)]


def _high(start: _Trial, trial: _Trial) -> bool:
    return trial.f > start.f + 1e-4 * trial.t * start.slope


def _flat_enough(start: _Trial, trial: _Trial) -> bool:
    return abs(trial.slope) <= -0.9 * start.slope


def _lower(bracket: list[_Trial]) -> int:
    return 0 if len(bracket) == 1 or bracket[0].f <= bracket[1].f else 1


def _bracket(
    tried: Callable[[float], _Trial], t: float, start: _Trial, most: int
) -> tuple[list[_Trial], int, bool]:
    """Return trials between which the end lies, how many came after the first, and if it is one."""
    last, trial, count = start, tried(t), 0
    while count < most:
        if _high(start, trial) or (count > 1 and trial.f >= last.f):
            return [last, trial], count, False
        if _flat_enough(start, trial):
            return [trial], count, True
        if trial.slope >= 0:
            return [last, trial], count, False
        low, high = trial.t + 0.01 * (trial.t - last.t), 10 * trial.t
        last, trial = trial, tried(_cubic(last, trial, low, high))
        count += 1
    return [start, trial], count, False


def _zoom(
    tried: Callable[[float], _Trial], start: _Trial, bracket: list[_Trial], most: int, size: float
) -> list[_Trial]:
    """Return the trials between which the end lies, the lower one being the end."""
    slow, low = False, _lower(bracket)
    for _ in range(most):
        ends = sorted([trial.t for trial in bracket])
        width = ends[1] - ends[0]
        if width * size < 1e-9:
            break
        t = _cubic(bracket[0], bracket[1], ends[0], ends[1])
        near = min(ends[1] - t, t - ends[0]) < 0.1 * width
        if near and (slow or t >= ends[1] or t <= ends[0]):
            above = abs(t - ends[1]) < abs(t - ends[0])
            t = ends[1] - 0.1 * width if above else ends[0] + 0.1 * width
            near = False
        slow = near
        trial = tried(t)
        if _high(start, trial) or trial.f >= bracket[low].f:
            bracket[1 - low] = trial
            low = _lower(bracket)
            continue
        ended = _flat_enough(start, trial)
        if not ended and trial.slope * (bracket[1 - low].t - bracket[low].t) >= 0:
            bracket[1 - low] = bracket[low]
        bracket[low] = trial
        if ended:
            break
    return bracket
