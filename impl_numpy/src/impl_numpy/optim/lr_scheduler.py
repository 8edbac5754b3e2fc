"""Schedulers: the learning rate of each group, epoch by epoch, made from what stands there."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from impl_numpy.checks import (
    check_callable,
    check_choice,
    check_count,
    check_flag,
    check_int,
    check_positive,
    shown,
)
from impl_numpy.optim.growth import groups_kept, take_up
from impl_numpy.optim.optimizer import Group, Optimizer, least_zero, plain_number, within
from impl_numpy.tensor import Tensor

__all__ = (
    "CosineAnnealingLR ExponentialLR LambdaLR LinearLR MultiStepLR OneCycleLR ReduceLROnPlateau "
    "SequentialLR StepLR"
).split()

# Takes the scheduler's name, an option's and its value; returns the option as it is kept, or None.
Check = Callable[[str, str, Any], Any]


def _positive_int(owner: str, name: str, value: Any) -> int:
    check_positive(owner, **{name: value})
    return int(value)


def _items(owner: str, name: str, value: Any) -> list[Any]:
    if not isinstance(value, (list, tuple)):
        msg = f"{owner}: {name} must be a list, got {shown(value)}"
        raise TypeError(msg)
    return list(value)


def _epochs(owner: str, name: str, value: Any) -> list[int]:
    several = enumerate(_items(owner, name, value))
    return sorted([check_count(owner, f"{name}[{k}]", item) for k, item in several])


_CHECKS: dict[str, Check] = {
    **dict.fromkeys(("step_size", "total_iters", "T_max", "total_steps"), _positive_int),
    **dict.fromkeys(("patience", "cooldown"), check_count),
    **dict.fromkeys(("gamma", "eta_min", "max_lr", "threshold", "min_lr", "eps"), least_zero),
    **dict.fromkeys(("div_factor", "final_div_factor"), within(lambda x: x > 0, "above 0")),
    **dict.fromkeys(("end_factor", "pct_start"), within(lambda x: 0 <= x <= 1, "from 0 to 1")),
    **dict.fromkeys(
        ("factor", "base_momentum", "max_momentum"),
        within(lambda x: 0 <= x < 1, "0 or more and below 1"),
    ),
    **dict.fromkeys(("cycle_momentum", "three_phase"), check_flag),
    "start_factor": within(lambda x: 0 < x <= 1, "above 0 and at most 1"),
    "milestones": _epochs,
    "lr_lambda": check_callable,
    "mode": partial(check_choice, choices=("min", "max")),
    "threshold_mode": partial(check_choice, choices=("rel", "abs")),
    "anneal_strategy": partial(check_choice, choices=("cos", "linear")),
}  # optim-25
# Those that may be a list with one for each group.
_LISTED = ("max_lr", "base_momentum", "max_momentum", "min_lr", "lr_lambda")


class Scheduler:
    """What sets options of every group, by the epoch (optim-20).

    A subclass gives the parameters of its constructor, as in ``takes="optimizer, gamma"``.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        -1 starts at epoch 0; another goes on after that epoch, with `initial_lr` in the groups.

    Raises
    ------
    TypeError
        If the optimizer is none, or an option has the wrong kind.
    ValueError
        If an option is out of range.
    KeyError
        If a group lacks `initial_lr` where `last_epoch` wants it. Nothing has changed then.
    """

    _checks: ClassVar[Mapping[str, Check]] = {}
    _takes: ClassVar[inspect.Signature]
    optimizer: Optimizer
    last_epoch: int

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...

    def __init__(self, *given: Any, **named: Any) -> None:
        try:
            bound = self._takes.bind(*given, **named)
        except TypeError as error:
            msg = f"{type(self).__name__}: {error}"
            raise TypeError(msg) from None
        bound.apply_defaults()
        options, owner = dict(bound.arguments), type(self).__name__
        self.optimizer = optimizer = options.pop("optimizer")
        if not isinstance(optimizer, Optimizer):
            kind = type(optimizer).__name__
            msg = f"{owner}: optimizer must be an optimizer, got {shown(optimizer)} ({kind})"
            raise TypeError(msg)
        last = check_int(owner, "last_epoch", options.pop("last_epoch", -1))
        within(lambda e: e >= -1, "-1 or more")(owner, "last_epoch", last)
        self._take(self._checked(options))
        groups = optimizer.param_groups
        if last >= 0 and not all("initial_lr" in group for group in groups):
            msg = f"{owner}: last_epoch = {last} wants initial_lr in every group"
            raise KeyError(msg)
        self._last_lr = [group["lr"] for group in groups]
        with groups_kept(groups):
            self._start(last)

    def __init_subclass__(cls, takes: str, **options: Any) -> None:
        super().__init_subclass__(**options)
        names: dict[str, Any] = {}
        exec(f"def described(self, {takes}): ...", names)
        whole = inspect.signature(names["described"])

        def __init__(self: Scheduler, *given: Any, **named: Any) -> None:
            Scheduler.__init__(self, *given, **named)

        __init__.__dict__["__signature__"] = whole
        __init__.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = __init__  # type: ignore[method-assign]
        cls._takes = whole.replace(parameters=list(whole.parameters.values())[1:])
        cls._checks = {name: _CHECKS[name] for name in whole.parameters if name in _CHECKS}

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options, checked; one that is not saved stays as it is."""
        owner, checked = type(self).__name__, {}
        for name, check in self._checks.items():
            value = options[name] if name in options else getattr(self, name)
            lists = name in _LISTED and isinstance(value, (list, tuple))
            several = self._for_each(name, value) if lists else [value]
            found = [check(owner, name, item) for item in several]
            kept = [one if new is None else new for one, new in zip(several, found, strict=True)]
            checked[name] = kept if lists else kept[0]
        return checked

    def _for_each(self, name: str, value: Any) -> list[Any]:
        """Return what stands for every group, or one for each."""
        groups, owner = len(self.optimizer.param_groups), type(self).__name__
        several = list(value) if isinstance(value, (list, tuple)) else [value] * groups
        if len(several) != groups:
            msg = f"{owner}: {name} must have one for each of {groups} groups, got {len(several)}"
            raise ValueError(msg)
        return several

    def _take(self, values: dict[str, Any]) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def _start(self, last: int) -> None:
        """Go to the first epoch, after the last of an earlier run."""
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        self.base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        self._go(last + 1, True)

    def _groups(self) -> list[Group]:
        """Return the groups, whose rates are numbers."""
        take_up(self)
        for group in self.optimizer.param_groups:
            group["lr"] = plain_number(type(self).__name__, "lr", group["lr"])
        return self.optimizer.param_groups

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        """Return the rate of group k at epoch e; `first` says that the constructor sets it."""
        raise NotImplementedError

    def _settings(self, e: int, first: bool) -> list[Group]:
        """Return what each group gets at an epoch."""
        pairs = enumerate(zip(self._groups(), self.base_lrs, strict=True))
        return [{"lr": float(self._rate(g["lr"], base, e, first, k))} for k, (g, base) in pairs]

    def _go(self, e: int, first: bool) -> None:
        """Set what the groups get at an epoch."""
        settings = self._settings(e, first)
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(setting)
        self.last_epoch, self._last_lr = e, [setting["lr"] for setting in settings]

    def _restart(self) -> None:
        """Start anew at epoch 0, from the initial rates (optim-23)."""
        for group in self._groups():
            group["lr"] = group["initial_lr"]
        self._go(0, True)

    def step(self) -> None:
        """Go to the next epoch."""
        self._go(self.last_epoch + 1, False)

    def get_last_lr(self) -> list[float]:
        """Return the rates last set, by group."""
        return list(self._last_lr)

    def _names(self) -> list[str]:
        """Return the names of the state."""
        options = [name for name, check in self._checks.items() if check is not check_callable]
        return [*options, "base_lrs", "last_epoch", "_last_lr"]

    def state_dict(self) -> dict[str, Any]:
        """Return the options, the epoch and the rates: a copy that `json` writes (optim-24)."""
        values = {name: getattr(self, name) for name in self._names()}
        return {name: list(v) if isinstance(v, list) else v for name, v in values.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from another scheduler's state.

        Parameters
        ----------
        state_dict : mapping

        Raises
        ------
        ValueError, TypeError
            If it is not the state of such a scheduler; nothing has changed then.
        """
        self._take(self._checked_state(state_dict))

    def _checked_state(self, state: Any) -> dict[str, Any]:
        """Return the values of a state, checked."""
        owner, names = f"{type(self).__name__}.load_state_dict", self._names()
        if not isinstance(state, Mapping):
            msg = f"{owner}: the state must be a mapping, got {shown(state)}"
            raise TypeError(msg)
        if set(state) != set(names):
            msg = f"{owner}: the state must hold {sorted(names)}, got {sorted(map(str, state))}"
            raise ValueError(msg)
        values = self._checked(state)
        values["last_epoch"] = check_count(owner, "last_epoch", state["last_epoch"])
        for name in {"_last_lr", "base_lrs"} & set(state):
            rates = self._for_each(name, _items(owner, name, state[name]))
            values[name] = [plain_number(owner, name, rate) for rate in rates]
        return values


class StepLR(Scheduler, takes="optimizer, step_size, gamma=0.1, last_epoch=-1"):
    """Multiply the rate by `gamma` every `step_size` epochs (torch.optim.lr_scheduler)."""

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        return float(lr * self.gamma) if e > 0 and e % self.step_size == 0 else lr


class MultiStepLR(Scheduler, takes="optimizer, milestones, gamma=0.1, last_epoch=-1"):
    """Multiply the rate by `gamma` at epochs, in any order (torch.optim.lr_scheduler)."""

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        return float(lr * self.gamma ** self.milestones.count(e))


class ExponentialLR(Scheduler, takes="optimizer, gamma, last_epoch=-1"):
    """Multiply the rate by `gamma` every epoch (torch.optim.lr_scheduler)."""

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        return lr if first else float(lr * self.gamma)


class LinearLR(
    Scheduler,
    takes="optimizer, start_factor=1.0 / 3, end_factor=1.0, total_iters=5, last_epoch=-1",
):
    """Go from `start_factor` to `end_factor` of the rate in `total_iters` equal steps.

    As torch.optim.lr_scheduler.
    """

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        start, change = self.start_factor, self.end_factor - self.start_factor
        if e == 0:
            return float(lr * start)
        if first or e > self.total_iters:
            return lr
        return float(lr * (1 + change / (self.total_iters * start + (e - 1) * change)))


class CosineAnnealingLR(Scheduler, takes="optimizer, T_max, eta_min=0.0, last_epoch=-1"):
    """Follow a cosine down to `eta_min` at epoch `T_max`, and up (Loshchilov and Hutter 2017)."""

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        least, period = self.eta_min, self.T_max
        if first:
            return lr
        if (e - 1 - period) % (2 * period) == 0:
            return float(lr + (base - least) * (1 - math.cos(math.pi / period)) / 2)
        now, before = (1 + math.cos(math.pi * x / period) for x in (e, e - 1))
        return float(least + (lr - least) * now / before)


class LambdaLR(Scheduler, takes="optimizer, lr_lambda, last_epoch=-1"):
    """Multiply the initial rate by a function of the epoch (torch.optim.lr_scheduler).

    `lr_lambda` is one, or a list with one for each group. It is not in the state.
    """

    def _rate(self, lr: float, base: float, e: int, first: bool, k: int) -> float:
        factor = self._for_each("lr_lambda", self.lr_lambda)[k](e)
        return base * plain_number("LambdaLR", "what lr_lambda returns", factor)


class OneCycleLR(
    Scheduler,
    takes="optimizer, max_lr, total_steps=None, epochs=None, steps_per_epoch=None, pct_start=0.3, "
    "anneal_strategy='cos', cycle_momentum=True, base_momentum=0.85, max_momentum=0.95, "
    "div_factor=25.0, final_div_factor=10000.0, three_phase=False, last_epoch=-1",
):
    """Go up to `max_lr` and down to a tiny rate, momentum the other way (optim-21).

    Smith and Topin 2018, as torch.optim.lr_scheduler. There are `total_steps`, or `epochs` times
    `steps_per_epoch`; the share `pct_start` of them goes up, from `max_lr` / `div_factor`, and the
    end is that / `final_div_factor`. With `three_phase` it goes down as far as up first. `max_lr`
    and both momenta are one number, or a list with one for each group.
    """

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        total = options["total_steps"]
        if total is None:
            epochs, steps = options.get("epochs"), options.get("steps_per_epoch")
            if epochs is None or steps is None:
                got = f"epochs = {shown(epochs)}, steps_per_epoch = {shown(steps)}"
                msg = f"OneCycleLR: wants total_steps, or epochs and steps_per_epoch, got {got}"
                raise ValueError(msg)
            check_positive("OneCycleLR", epochs=epochs, steps_per_epoch=steps)
            total = int(epochs) * int(steps)
        return super()._checked({**options, "total_steps": total})

    def _start(self, last: int) -> None:
        groups = self.optimizer.param_groups
        if self.cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            name = type(self.optimizer).__name__
            msg = f"OneCycleLR: cycle_momentum wants an option momentum or betas, got {name}"
            raise ValueError(msg)
        names = ("max_lr", "max_momentum", "base_momentum")
        each = [self._for_each(name, getattr(self, name)) for name in names]
        for group, most, *momenta in zip(groups, *each, strict=True):
            start = most / self.div_factor
            put = {"max_lr": most, "initial_lr": start, "min_lr": start / self.final_div_factor}
            put |= dict(zip(names[1:], momenta, strict=True)) if self.cycle_momentum else {}
            group.update(put if last < 0 else {**put, **group})
        super()._start(last)

    def _settings(self, e: int, first: bool) -> list[Group]:
        if e > self.total_steps:
            msg = f"OneCycleLR: total_steps is {self.total_steps}, got a step to epoch {e}"
            raise ValueError(msg)
        up = self.pct_start * self.total_steps
        ends = [up - 1, *[2 * up - 2] * self.three_phase, self.total_steps - 1]
        place = next((k for k, end in enumerate(ends) if e <= end), len(ends) - 1)
        start = ends[place - 1] if place else 0.0
        x = (e - start) / (ends[place] - start) if ends[place] != start else 1.0
        rates = ["initial_lr", "max_lr", *["initial_lr"] * self.three_phase, "min_lr"]
        momenta = ["max_momentum", "base_momentum", *["max_momentum"] * 2]
        settings = []
        for group in self._groups():
            settings.append({"lr": self._between(group, rates[place:], x)})
            if self.cycle_momentum:
                momentum = self._between(group, momenta[place:], x)
                betas = {"betas": (momentum, *group.get("betas", ())[1:])}
                settings[-1] |= {"momentum": momentum} if "momentum" in group else betas
        return settings

    def _between(self, group: Group, names: Sequence[str], x: float) -> Any:
        """Return what lies between two numbers of a group."""
        a, b = (float(group[name]) for name in names[:2])
        if self.anneal_strategy == "linear":
            return a + (b - a) * x
        return b + (a - b) * (1 + math.cos(math.pi * x)) / 2


class ReduceLROnPlateau(
    Scheduler,
    takes="optimizer, mode='min', factor=0.1, patience=10, threshold=0.0001, "
    "threshold_mode='rel', cooldown=0, min_lr=0, eps=1e-08",
):
    """Multiply the rate by `factor` when a number gets no better (torch.optim.lr_scheduler).

    `patience` epochs are borne; better means by `threshold`, as `threshold_mode` has it. After a
    change of more than `eps`, and not below `min_lr`, `cooldown` epochs are not counted. `min_lr`
    is one number, or a list with one for each group.
    """

    _counters = ("num_bad_epochs", "cooldown_counter")

    def _start(self, last: int) -> None:
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Tell the number of an epoch.

        Parameters
        ----------
        metrics : float or Tensor of one element
        """
        one = isinstance(metrics, Tensor) and metrics._data.size == 1
        number = plain_number("ReduceLROnPlateau", "metrics", metrics.item() if one else metrics)
        groups, waiting, better = self._groups(), self.cooldown_counter > 0, self._better(number)
        if better:
            self.best = float(number)
        bad = 0 if better or waiting else self.num_bad_epochs + 1
        self.cooldown_counter -= waiting
        if bad > self.patience:
            bad, self.cooldown_counter = 0, self.cooldown
            for group, least in zip(groups, self._for_each("min_lr", self.min_lr), strict=True):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = float(rate)
        self.num_bad_epochs, self.last_epoch = bad, self.last_epoch + 1
        self._last_lr = [group["lr"] for group in groups]

    def _better(self, number: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        change = sign * self.threshold
        bound = self.best + change if self.threshold_mode == "abs" else self.best * (1 + change)
        return bool(sign * number > sign * bound)

    def _names(self) -> list[str]:
        return [*self._checks, *self._counters, "best", "last_epoch", "_last_lr"]

    def _checked_state(self, state: Any) -> dict[str, Any]:
        values, owner = super()._checked_state(state), type(self).__name__
        counted = {name: check_count(owner, name, state[name]) for name in self._counters}
        return {**values, **counted, "best": plain_number(owner, "best", state["best"])}


class SequentialLR(Scheduler, takes="optimizer, schedulers, milestones, last_epoch=-1"):
    """Step one scheduler until a milestone, then the next (torch.optim.lr_scheduler).

    At one of the `milestones` a scheduler starts from its own epoch 0 and the initial rates.
    """

    def _checked(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the schedulers, those of a state as they are, and the milestones."""
        own = options["schedulers"] if "_schedulers" not in options else self._schedulers
        for scheduler in _items("SequentialLR", "schedulers", own):
            kind = type(scheduler).__name__
            if not isinstance(scheduler, Scheduler):
                msg = f"SequentialLR: schedulers must be schedulers, got {shown(scheduler)}, {kind}"
                raise TypeError(msg)
            told = isinstance(scheduler, ReduceLROnPlateau)
            if told or scheduler.optimizer is not self.optimizer:
                msg = f"SequentialLR: schedulers must be of this optimizer, without metrics: {kind}"
                raise ValueError(msg)
        epochs = _items("SequentialLR", "milestones", options["milestones"])
        check_positive("SequentialLR", **{f"milestones[{k}]": e for k, e in enumerate(epochs)})
        if not own or len(epochs) != len(own) - 1:
            msg = f"SequentialLR: milestones must be {len(own)} - 1, by schedulers, got {epochs}"
            raise ValueError(msg)
        if any(one >= two for one, two in pairwise(epochs)):
            msg = f"SequentialLR: milestones must increase, got {shown(epochs)}"
            raise ValueError(msg)
        return {"_schedulers": list(own), "milestones": [int(e) for e in epochs]}

    def _go(self, e: int, first: bool) -> None:
        take_up(*self._schedulers, self)
        scheduler = self._schedulers[0 if first else bisect_right(self.milestones, e)]
        scheduler._restart() if first or e in self.milestones else scheduler.step()
        self.last_epoch, self._last_lr = e, scheduler.get_last_lr()

    def _names(self) -> list[str]:
        return ["_schedulers", *super()._names()]

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the rates, and the states of the schedulers."""
        return super().state_dict() | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def _checked_state(self, state: Any) -> dict[str, Any]:
        values, own = super()._checked_state(state), self._schedulers
        inner = _items("SequentialLR", "_schedulers", state["_schedulers"])
        if len(inner) != len(own):
            msg = f"SequentialLR: _schedulers must be {len(own)} states, got {len(inner)}"
            raise ValueError(msg)
        states = [s._checked_state(one) for s, one in zip(own, inner, strict=True)]
        return values | {"inner": states}

    def _take(self, values: dict[str, Any]) -> None:
        states = values.pop("inner", [])
        super()._take(values)
        for scheduler, state in zip(self._schedulers, states, strict=bool(states)):
            scheduler._take(state)
