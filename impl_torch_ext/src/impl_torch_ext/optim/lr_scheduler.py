"""Schedulers of the learning rate."""

import copy
import math
from bisect import bisect_right
from collections import namedtuple
from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor

from impl_torch_ext.checks import Option, check_size, shown
from impl_torch_ext.ops.transcendental import as_float
from impl_torch_ext.optim.growth import admit, groups_kept
from impl_torch_ext.optim.optimizer import SCHEDULE, Optimizer, check_each, check_list, construct

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR"]
__all__ += ["MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]

_Groups = list[dict[str, Any]]
# What has one value per group, and options that are not in the state.
_RATES = {"base_lrs", "_last_lr"}
_OF_GROUPS = {"max_lr", "base_momentum", "max_momentum", "min_lr", "lr_lambda", *_RATES}
_UNSAVED = {"epochs", "steps_per_epoch", "lr_lambda", "schedulers"}

# A group at an epoch: its place and rates, and whether a constructor sets the rate.
_At = namedtuple("_At", "place lr base epoch first")


class LRScheduler:
    """What schedulers share: the epoch, the rates of each group, and their state.

    A subclass names its options, in the order of its constructor's arguments, with their defaults
    or `...`.

    Attributes
    ----------
    optimizer : Optimizer
    last_epoch : int
    base_lrs : list of float
        The `initial_lr` of each group.
    """

    _options: ClassVar[Mapping[str, Any]] = {}
    # What is in the state beside the options.
    _own: ClassVar[tuple[str, ...]] = ("base_lrs",)

    if TYPE_CHECKING:

        def __getattr__(self, option: str) -> Any: ...

    def __init_subclass__(cls, later: bool = True) -> None:
        """Make the constructor; without `later` it takes no `last_epoch`."""
        last = {"last_epoch": -1} if later else {}
        construct(cls, {"optimizer": ..., **cls._options, **last})

    def step(self) -> None:
        """Go to the next epoch and set `lr` in every group."""
        admit(self)
        self._go(self.last_epoch + 1)

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last, one per group."""
        return [*self._last_lr]

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the epoch, the rates and the options, which JSON can hold."""
        return copy.deepcopy({key: getattr(self, key) for key in self._state()})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the epoch, the rates and the options of another scheduler of this kind.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` returned, also through JSON.

        Raises
        ------
        ValueError, TypeError
            If an entry is missing or does not fit; nothing has changed then.
        """
        self._take(self._read(state_dict))

    def _state(self) -> dict[str, Option]:
        """Return the names of the state, with their checks."""
        count = len(self.optimizer.param_groups)
        names = ["last_epoch", "_last_lr", *self._own, *self._options]
        checks = {name: SCHEDULE[name] for name in names if name not in _UNSAVED}
        for name in _OF_GROUPS & {*checks}:
            make = check_list if name in _RATES else check_each
            checks[name] = make(checks[name], count)
        return checks

    def _read(self, state_dict: Any) -> dict[str, Any]:
        """Return what is in a state, or raise if it does not fit."""
        name = type(self).__name__
        if not isinstance(state_dict, Mapping):
            msg = f"{name}: state_dict must be a mapping, got {type(state_dict).__name__}"
            raise TypeError(msg)
        checks = self._state()
        if {*state_dict} != {*checks}:  # optim-24
            msg = f"{name}: state_dict must have the entries {[*checks]}, got {[*state_dict]}"
            raise ValueError(msg)
        return {key: check(name, key, state_dict[key]) for key, check in checks.items()}

    def _take(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def _begin(self, optimizer: Any, last_epoch: Any = -1, **options: Any) -> None:
        """Check everything, and start."""
        name, groups = self._keep(optimizer, options)
        last_epoch = SCHEDULE["last_epoch"](name, "last_epoch", last_epoch)
        if last_epoch >= 0 and not all("initial_lr" in group for group in groups):
            msg = f"{name}: initial_lr must be in every group to start after epoch {last_epoch}"
            raise KeyError(msg)  # optim-20
        with groups_kept(groups):
            self._prepare(groups, last_epoch)
            self.base_lrs = [float(group["initial_lr"]) for group in groups]
            self._go(last_epoch + 1, first=True)

    def _keep(self, optimizer: Any, options: Mapping[str, Any]) -> tuple[str, _Groups]:
        """Check the optimizer and the options, and make attributes of them."""
        name = type(self).__name__
        if not isinstance(optimizer, Optimizer):
            msg = f"{name}: optimizer must be an optimizer, got {type(optimizer).__name__}"
            raise TypeError(msg)
        self.optimizer, groups = optimizer, optimizer.param_groups
        for option, value in options.items():
            check = SCHEDULE[option]
            if option in _OF_GROUPS:
                check = check_each(check, len(groups))
            setattr(self, option, check(name, option, value))
        return name, groups

    def _prepare(self, groups: _Groups, last_epoch: int) -> None:
        """Put into the groups what they have beside `lr`."""
        if last_epoch == -1:
            for group in groups:
                group.setdefault("initial_lr", group["lr"])

    def _go(self, epoch: int, first: bool = False, restart: bool = False) -> None:
        """Set the rates of an epoch; with `restart` they are made from `initial_lr`."""
        groups = self.optimizer.param_groups
        start = "initial_lr" if restart else "lr"
        rates = [(float(group[start]), float(group["initial_lr"])) for group in groups]
        found = [float(self._rate(_At(k, *own, epoch, first))) for k, own in enumerate(rates)]
        self.last_epoch = epoch
        for group, rate in zip(groups, found, strict=True):
            group["lr"] = rate
        self._last_lr = found

    def _restart(self) -> None:
        self._go(0, first=True, restart=True)

    def _rate(self, at: _At) -> Any:
        """Return the rate of a group at an epoch."""
        return at.lr


class StepLR(LRScheduler):
    """Multiply the rate by `gamma` every `step_size` epochs, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    step_size : int
    gamma : float
    """

    _options: ClassVar[Mapping[str, Any]] = {"step_size": ..., "gamma": 0.1}

    def _rate(self, at: _At) -> Any:
        return at.lr * self.gamma if at.epoch > 0 and at.epoch % self.step_size == 0 else at.lr


class MultiStepLR(LRScheduler):
    """Multiply the rate by `gamma` at each of `milestones`, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    milestones : list of int
        Epochs in any order; one that stands several times counts as often.
    gamma : float
    """

    _options: ClassVar[Mapping[str, Any]] = {"milestones": ..., "gamma": 0.1}

    def _rate(self, at: _At) -> Any:
        return at.lr * self.gamma ** self.milestones.count(at.epoch)


class ExponentialLR(LRScheduler):
    """Multiply the rate by `gamma` every epoch, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    gamma : float
    """

    _options: ClassVar[Mapping[str, Any]] = {"gamma": ...}

    def _rate(self, at: _At) -> Any:
        return at.lr if at.first else at.lr * self.gamma


class LinearLR(LRScheduler):
    """Let the factor of the rate go along a line, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    start_factor, end_factor : float
    total_iters : int
        The epoch of `end_factor`.
    """

    _options: ClassVar[Mapping[str, Any]] = dict(
        start_factor=1.0 / 3, end_factor=1.0, total_iters=5
    )

    def _rate(self, at: _At) -> Any:
        start, count = self.start_factor, self.total_iters
        if at.epoch == 0:
            return at.lr * start
        if at.first or at.epoch > count:
            return at.lr
        rise = self.end_factor - start
        return at.lr * (1 + rise / (count * start + (at.epoch - 1) * rise))


class CosineAnnealingLR(LRScheduler):
    """Let the rate go along half a cosine to `eta_min` in `T_max` epochs, and back.

    Source: Loshchilov and Hutter 2017, without restarts, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    T_max : int
    eta_min : float
    """

    _options: ClassVar[Mapping[str, Any]] = {"T_max": ..., "eta_min": 0.0}

    def _rate(self, at: _At) -> Any:
        if at.first:
            return at.lr
        turn, least = math.pi / self.T_max, self.eta_min
        if (at.epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            return at.lr + (at.base - least) * (1 - math.cos(turn)) / 2
        ratio = (1 + math.cos(turn * at.epoch)) / (1 + math.cos(turn * (at.epoch - 1)))
        return least + (at.lr - least) * ratio


class LambdaLR(LRScheduler):
    """Multiply `initial_lr` by a function of the epoch, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    lr_lambda : function of an int, or list of one per group
        It is not in the state.
    """

    _options: ClassVar[Mapping[str, Any]] = {"lr_lambda": ...}

    def _rate(self, at: _At) -> Any:
        factor = self.lr_lambda[at.place](at.epoch)
        return at.base * as_float(type(self).__name__, "what lr_lambda returns", factor)


class OneCycleLR(LRScheduler):
    """Let the rate go up to `max_lr` and down below where it started, and momentum against it.

    Source: Smith and Topin 2018, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    max_lr : float, or list of one per group
    total_steps : int, optional
        `epochs * steps_per_epoch` if left out.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        The share of the steps that go up.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
    base_momentum, max_momentum : float, or list of one per group
    div_factor, final_div_factor : float
        `initial_lr` is `max_lr / div_factor`, the last rate `initial_lr / final_div_factor`.
    three_phase : bool
        Whether the rate goes down as it went up, and then to the last one.
    """

    _options: ClassVar[Mapping[str, Any]] = {
        "max_lr": ...,
        **dict.fromkeys(("total_steps", "epochs", "steps_per_epoch")),
        **{"pct_start": 0.3, "anneal_strategy": "cos", "cycle_momentum": True},
        **{"base_momentum": 0.85, "max_momentum": 0.95},
        **{"div_factor": 25.0, "final_div_factor": 1e4, "three_phase": False},
    }

    def _begin(self, optimizer: Any, last_epoch: Any = -1, **options: Any) -> None:
        if options["total_steps"] is None:
            counts = {option: options[option] for option in ("epochs", "steps_per_epoch")}
            if None in counts.values():
                msg = f"OneCycleLR: total_steps or both others must be given, got {counts}"
                raise ValueError(msg)
            sizes = [check_size("OneCycleLR", option, n) for option, n in counts.items()]
            options["total_steps"] = math.prod(sizes)
        super()._begin(optimizer, last_epoch, **options)

    def _prepare(self, groups: _Groups, last_epoch: int) -> None:
        for place, group in enumerate(groups):
            if self.cycle_momentum and not {"momentum", "betas"} & {*group}:  # optim-21
                came = type(self.optimizer).__name__
                msg = f"OneCycleLR: the optimizer must have momentum or betas to cycle, got {came}"
                raise ValueError(msg)
            most, later = self.max_lr[place], last_epoch >= 0
            first = group["initial_lr"] if later else most / self.div_factor
            put = {"max_lr": most, "initial_lr": first, "min_lr": first / self.final_div_factor}
            if self.cycle_momentum:
                put["max_momentum"] = self.max_momentum[place]
                put["base_momentum"] = self.base_momentum[place]
            group.update({**put, **group} if later else put)

    def _go(self, epoch: int, first: bool = False, restart: bool = False) -> None:
        if epoch > self.total_steps:
            msg = f"OneCycleLR: total_steps is {self.total_steps}, got the epoch {epoch}"
            raise ValueError(msg)
        super()._go(epoch, first, restart)
        marks = ["max_momentum", "base_momentum", *["max_momentum"] * (1 + self.three_phase)]
        for group in self.optimizer.param_groups if self.cycle_momentum else ():
            momentum = self._value(group, epoch, marks)
            several = "betas" in group
            put = {"betas": (momentum, *group["betas"][1:])} if several else {"momentum": momentum}
            group.update(put)

    def _rate(self, at: _At) -> Any:
        marks = ["initial_lr", "max_lr", *(["initial_lr"] * self.three_phase), "min_lr"]
        return self._value(self.optimizer.param_groups[at.place], at.epoch, marks)

    def _value(self, group: Mapping[str, Any], epoch: int, marks: list[str]) -> float:
        """Return the value at an epoch between those of a group under `marks`."""
        rise = self.pct_start * self.total_steps
        ends = [rise - 1.0, *([2 * rise - 2] if self.three_phase else []), self.total_steps - 1.0]
        phase = next((k for k, end in enumerate(ends) if epoch <= end), len(ends) - 1)
        start = ends[phase - 1] if phase else 0.0
        x = (epoch - start) / ((ends[phase] - start) or 1.0)
        a, b = float(group[marks[phase]]), float(group[marks[phase + 1]])
        if self.anneal_strategy == "cos":
            return b + (a - b) * (1 + math.cos(math.pi * x)) / 2
        return a + (b - a) * x


class ReduceLROnPlateau(LRScheduler, later=False):
    """Multiply the rate by `factor` where a number has not become better for a while.

    Parameters
    ----------
    mode : {"min", "max"}
        Which numbers are better.
    factor : float
    patience : int
        Steps without a better number that are waited for.
    threshold : float
        By how much a number must be better.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Steps after a change that count for nothing.
    min_lr : float, or list of one per group
    eps : float
        Smaller changes are not made.
    """

    _options: ClassVar[Mapping[str, Any]] = {
        **{"mode": "min", "factor": 0.1, "patience": 10, "threshold": 1e-4},
        **{"threshold_mode": "rel", "cooldown": 0, "min_lr": 0, "eps": 1e-8},
    }
    _own: ClassVar[tuple[str, ...]] = ("best", "num_bad_epochs", "cooldown_counter")

    def _begin(self, optimizer: Any, **options: Any) -> None:  # type: ignore[override]
        _, groups = self._keep(optimizer, options)
        self.best = math.inf if self.mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [float(group["lr"]) for group in groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take note of a number, and set `lr` in every group where it is time.

        Parameters
        ----------
        metrics : float, or Tensor of one element

        Raises
        ------
        ValueError, TypeError
            If `metrics` is something else.
        """
        known = isinstance(metrics, Tensor) and metrics.numel() == 1
        number = as_float("ReduceLROnPlateau", "metrics", metrics.item() if known else metrics)
        admit(self)
        self.last_epoch += 1
        if self._better(number):
            self.best, self.num_bad_epochs = number, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        groups = self.optimizer.param_groups
        if self.num_bad_epochs > self.patience:
            for group, least in zip(groups, self.min_lr, strict=True):
                rate = max(group["lr"] * self.factor, least)
                if group["lr"] - rate > self.eps:
                    group["lr"] = float(rate)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [float(group["lr"]) for group in groups]

    def _better(self, number: float) -> bool:
        sign = 1 if self.mode == "min" else -1
        if self.threshold_mode == "rel":
            return sign * number < sign * self.best * (1 - sign * self.threshold)
        return sign * number < sign * self.best - self.threshold


class SequentialLR(LRScheduler):
    """Go by one scheduler after the other, as `torch.optim.lr_scheduler`.

    Parameters
    ----------
    schedulers : list of LRScheduler
    milestones : list of int
        The epochs at which the second scheduler, and each later one, takes over.
    """

    _options: ClassVar[Mapping[str, Any]] = {"schedulers": ..., "milestones": ...}

    def _begin(self, optimizer: Any, last_epoch: Any = -1, **options: Any) -> None:
        schedulers = options.pop("schedulers")
        name, groups = self._keep(optimizer, options)
        self._schedulers = self._checked(name, schedulers)
        epoch = SCHEDULE["last_epoch"](name, "last_epoch", last_epoch)
        count, came = len(self._schedulers), self.milestones
        if len(came) != count - 1 or any(a >= b for a, b in pairwise([0, *came])):
            wanted = f"positive ints that increase, one fewer than the {count} schedulers"
            msg = f"{name}: milestones must be {wanted}, got {came}"
            raise ValueError(msg)
        super()._prepare(groups, -1)
        self.base_lrs = [float(group["initial_lr"]) for group in groups]
        self._restart()
        self.last_epoch = epoch + 1

    def step(self) -> None:
        """Go to the next epoch, and set `lr` in every group by the scheduler whose turn it is."""
        admit(*self._schedulers, self)
        epoch = self.last_epoch + 1
        scheduler = self._schedulers[bisect_right(self.milestones, epoch)]
        (scheduler._restart if epoch in self.milestones else scheduler.step)()  # optim-23
        self.last_epoch, self._last_lr = epoch, scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return a copy of the epoch, the rates and the states of the schedulers."""
        own = {key: getattr(self, key) for key in super()._state()}
        states = [scheduler.state_dict() for scheduler in self._schedulers]
        return {**copy.deepcopy(own), "_schedulers": states}

    def _checked(self, name: str, schedulers: Any) -> list[LRScheduler]:
        several = isinstance(schedulers, list | tuple)
        kinds = [type(item).__name__ for item in (schedulers if several else [schedulers])]
        if not several or not all(isinstance(item, LRScheduler) for item in schedulers):
            msg = f"{name}: schedulers must be a list of schedulers, got {kinds}"
            raise TypeError(msg)
        if not schedulers or "ReduceLROnPlateau" in kinds:
            msg = f"{name}: schedulers must be some that go by epochs, got {kinds}"
            raise ValueError(msg)
        if any(item.optimizer is not self.optimizer for item in schedulers):
            msg = f"{name}: schedulers must be of one optimizer, got one of another"
            raise ValueError(msg)
        return [*schedulers]

    def _restart(self) -> None:
        self._schedulers[0]._restart()
        self.last_epoch, self._last_lr = 0, self._schedulers[0].get_last_lr()

    def _state(self) -> dict[str, Option]:
        return {**super()._state(), "_schedulers": self._read_states}

    def _read_states(self, name: str, option: str, states: Any) -> list[dict[str, Any]]:
        if not isinstance(states, list | tuple) or len(states) != len(self._schedulers):
            msg = f"{name}: {option} must be {len(self._schedulers)} states, got {shown(states)}"
            raise ValueError(msg)
        return [own._read(state) for own, state in zip(self._schedulers, states, strict=True)]

    def _take(self, values: Mapping[str, Any]) -> None:
        for own, state in zip(self._schedulers, values["_schedulers"], strict=True):
            own._take(state)
        super()._take({key: value for key, value in values.items() if key != "_schedulers"})
