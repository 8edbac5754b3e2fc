"""Schedulers, which set the learning rate of each group of an optimizer, epoch by epoch."""

from __future__ import annotations

import bisect
import math
from typing import Any, ClassVar, NamedTuple

from impl_cupy.checks import (
    check_count,
    check_flag,
    check_int,
    check_number,
    check_positive_int,
    shown,
    type_name,
)
from impl_cupy.optim.algorithms import list_of, number_in, one_of, one_or_list_of, or_none
from impl_cupy.optim.optimizer import (
    Check,
    Group,
    Optimizer,
    Scheduler,
    check_mapping,
    plain_option,
)
from impl_cupy.tensor import Tensor

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


def __dir__() -> list[str]:
    return __all__


class _At(NamedTuple):
    """Where a rate is wanted: the epoch, what stands in the group, and its first rate."""

    epoch: int
    lr: float
    base: float
    place: int
    is_first: bool


def _epoch(operation: str, argument: str, value: Any) -> int:
    epoch = check_int(operation, argument, value)
    if epoch < -1:
        msg = f"{operation}: {argument} must be -1 or more, got {epoch}"
        raise ValueError(msg)
    return epoch


def _function(operation: str, argument: str, value: Any) -> Any:
    if not callable(value):
        msg = f"{operation}: {argument} must be a function, got {shown(value)}"
        raise TypeError(msg)
    return value


_any_number = number_in(-math.inf, math.inf)
_AT_LEAST_ZERO, _ABOVE_ZERO = number_in(0), number_in(0, ends="(]")
_FRACTION, _BELOW_ONE = number_in(0, 1), number_in(0, 1, "[)")
_HELD: dict[str, Check] = {"last_epoch": _epoch, "_last_lr": list_of(_any_number)}


def _of_group(value: Any, place: int) -> Any:
    return value[place] if isinstance(value, list) else value


def _rates(optimizer: Optimizer) -> list[float]:
    return [plain_option(group["lr"]) for group in optimizer.param_groups]


class LRScheduler(Scheduler):
    """What schedulers of epochs share: each step makes a rate of what stands in the group.

    Source: the pages of the same names in torch.optim.lr_scheduler.

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        The epoch after which it starts; -1 for none.

    Attributes
    ----------
    base_lrs : list of float
        The ``initial_lr`` of each group.

    Raises
    ------
    TypeError, ValueError
        If `optimizer` is none, or an argument does not fit; the groups are as they were then.
    KeyError
        If it starts later, and a group has no ``initial_lr``.
    """

    _held: ClassVar[dict[str, Check]] = {**_HELD, "base_lrs": list_of(_any_number)}

    def _begin(self, given: dict[str, Any]) -> None:
        """Check a constructor's arguments, and set the rates of the first epoch."""
        names = ("optimizer", "last_epoch", *self._checks)
        Scheduler.__init__(self, **{name: given[name] for name in names})
        self._check()
        groups, name = self.optimizer.param_groups, type(self).__name__
        if self.last_epoch >= 0 and not all("initial_lr" in group for group in groups):
            msg = f"{name}: every group must have initial_lr for last_epoch={self.last_epoch}"
            raise KeyError(msg)
        self.base_lrs = [
            plain_option(self._initial(group, place)) for place, group in enumerate(groups)
        ]
        changes = self._changes(_rates(self.optimizer), True)
        for place, group in enumerate(groups):
            group |= {"initial_lr": self.base_lrs[place], **self._marks(place)}
        self._set(changes)

    def _check(self) -> None:
        """Refuse options that do not go together."""

    def _initial(self, group: Group, place: int) -> float:
        del place
        lr: float = group.get("initial_lr", group["lr"])
        return lr

    def _marks(self, place: int) -> Group:
        """Return what a group must hold beside its rates."""
        del place
        return {}

    def _restart(self) -> None:
        """Go to epoch 0 from the initial rates, as in a sequence (optim-23)."""
        before, self.last_epoch = self.last_epoch, -1
        try:
            initial = [plain_option(group["initial_lr"]) for group in self.optimizer.param_groups]
            changes = self._changes(initial, True)
        except BaseException:
            self.last_epoch = before
            raise
        self._set(changes)

    def step(self) -> None:
        """Set the rates of the next epoch."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:
            self.base_lrs.append(plain_option(group.setdefault("initial_lr", group["lr"])))
        self._set(self._changes(_rates(self.optimizer), False))

    def _set(self, changes: list[Group]) -> None:
        for group, change in zip(self.optimizer.param_groups, changes, strict=True):
            group.update(change)
        self._done()

    def _done(self) -> None:
        self.last_epoch += 1
        self._last_lr = _rates(self.optimizer)

    def _changes(self, rates: list[float], is_first: bool) -> list[Group]:
        """Return what each group gets in the next epoch."""
        epoch = self.last_epoch + 1
        places = enumerate(zip(rates, self.base_lrs, strict=True))
        each = [_At(epoch, float(lr), base, place, is_first) for place, (lr, base) in places]
        return [{"lr": float(self._rate(at))} for at in each]

    def _rate(self, at: _At) -> float:
        raise NotImplementedError


class StepLR(LRScheduler):
    """Multiply the rate with `gamma` every `step_size` epochs.

    Parameters
    ----------
    step_size : int
    gamma : float
    """

    _checks: ClassVar[dict[str, Check]] = {"step_size": check_positive_int, "gamma": _AT_LEAST_ZERO}

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        is_due = at.epoch > 0 and at.epoch % self.step_size == 0
        return float(at.lr * self.gamma) if is_due else at.lr


class MultiStepLR(LRScheduler):
    """Multiply the rate with `gamma` at each of some epochs.

    Parameters
    ----------
    milestones : list of int
        In any order; one that stands there twice counts twice.
    gamma : float
    """

    _checks: ClassVar[dict[str, Check]] = {
        "milestones": list_of(check_count),
        "gamma": _AT_LEAST_ZERO,
    }

    def __init__(
        self, optimizer: Optimizer, milestones: Any, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        return float(at.lr * float(self.gamma) ** self.milestones.count(at.epoch))


class ExponentialLR(LRScheduler):
    """Multiply the rate with `gamma`, a number, every epoch."""

    _checks: ClassVar[dict[str, Check]] = {"gamma": _AT_LEAST_ZERO}

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        return at.lr if at.is_first else float(at.lr * self.gamma)


class LinearLR(LRScheduler):
    """Let a factor of the rate go along a line.

    Parameters
    ----------
    start_factor, end_factor : float
        In (0, 1], and in [0, 1].
    total_iters : int
        After how many epochs it is at its end.
    """

    _checks: ClassVar[dict[str, Check]] = {
        "start_factor": number_in(0, 1, "(]"),
        "end_factor": _FRACTION,
        "total_iters": check_positive_int,
    }

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        if at.epoch == 0:
            return float(at.lr * self.start_factor)
        if at.is_first or at.epoch > self.total_iters:
            return at.lr
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (at.epoch - 1) * rise
        return float(at.lr * (1 + rise / before))


class CosineAnnealingLR(LRScheduler):
    """Let the rate go along a cosine and back (Loshchilov and Hutter 2017, equation 5).

    Parameters
    ----------
    T_max : int
        After how many epochs it is at its least.
    eta_min : float
        The least rate.
    """

    _checks: ClassVar[dict[str, Check]] = {"T_max": check_positive_int, "eta_min": _AT_LEAST_ZERO}

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        if at.is_first:
            return at.lr
        low, turn = self.eta_min, math.pi / self.T_max
        if (at.epoch - 1 - self.T_max) % (2 * self.T_max) == 0:
            return float(at.lr + (at.base - low) * (1 - math.cos(turn)) / 2)
        share = (1 + math.cos(turn * at.epoch)) / (1 + math.cos(turn * (at.epoch - 1)))
        return float(low + (at.lr - low) * share)


class LambdaLR(LRScheduler):
    """Multiply the initial rate with a function of the epoch.

    Parameters
    ----------
    lr_lambda : callable, or list of callable
        From an int to the factor; one for all groups, or one for each. Not in the state.
    """

    _checks: ClassVar[dict[str, Check]] = {"lr_lambda": one_or_list_of(_function)}

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self._begin(locals())

    def _rate(self, at: _At) -> float:
        factor = _of_group(self.lr_lambda, at.place)(at.epoch)
        check_number("LambdaLR", "lr_lambda's result", factor)
        return at.base * float(factor)


class OneCycleLR(LRScheduler):
    """Let the rate rise to `max_lr` and fall, and momentum the reverse (Smith and Topin 2018).

    Parameters
    ----------
    max_lr : float or list of float
        One for all groups, or one for each; the momenta too.
    total_steps, epochs, steps_per_epoch : int, optional
        How many steps there are; without it the product of the two others.
    pct_start : float
        The share of the steps in which the rate rises.
    anneal_strategy : "cos" or "linear"
    cycle_momentum : bool
    base_momentum, max_momentum : float or list of float
        Momentum, or the first of betas, where the rate is largest, and at the ends.
    div_factor, final_div_factor : float
        The rate begins at ``max_lr / div_factor``, and ends at that by `final_div_factor`.
    three_phase : bool
        Whether it falls to where it began first, in as many steps as it rose.
    """

    _checks: ClassVar[dict[str, Check]] = {
        "max_lr": one_or_list_of(_AT_LEAST_ZERO),
        **dict.fromkeys(("total_steps", "epochs", "steps_per_epoch"), or_none(check_positive_int)),
        "pct_start": _FRACTION,
        "anneal_strategy": one_of("cos", "linear"),
        **dict.fromkeys(("cycle_momentum", "three_phase"), check_flag),
        **dict.fromkeys(("base_momentum", "max_momentum"), one_or_list_of(_BELOW_ONE)),
        **dict.fromkeys(("div_factor", "final_div_factor"), _ABOVE_ZERO),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 10000.0,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self._begin(locals())

    def _check(self) -> None:
        if self.total_steps is None and None in (self.epochs, self.steps_per_epoch):
            msg = "OneCycleLR: total_steps must be given, or epochs and steps_per_epoch"
            raise ValueError(msg)
        groups = self.optimizer.param_groups
        if self.cycle_momentum and not all("momentum" in g or "betas" in g for g in groups):
            got = type_name(self.optimizer)
            msg = f"OneCycleLR: cycle_momentum needs the option momentum or betas, got {got}"
            raise ValueError(msg)

    def _initial(self, group: Group, place: int) -> float:
        started = group.get("initial_lr", 0.0)
        first = _of_group(self.max_lr, place) / self.div_factor
        return float(first if self.last_epoch < 0 else started)

    def _marks(self, place: int) -> Group:
        lasts = {"min_lr": self.base_lrs[place] / self.final_div_factor}
        names = ["max_lr", *["base_momentum", "max_momentum"] * self.cycle_momentum]
        return lasts | {name: _of_group(getattr(self, name), place) for name in names}

    def _phase(self, epoch: int) -> tuple[int, float]:
        """Return which phase an epoch is in, and how far."""
        total = self.total_steps or self.epochs * self.steps_per_epoch
        if epoch > total:
            msg = f"OneCycleLR: total_steps is {total}, and there is no epoch {epoch}"
            raise ValueError(msg)
        peak = self.pct_start * total
        ends = [0, peak - 1, *[2 * peak - 2] * self.three_phase, total - 1]
        phase = next((n for n, end in enumerate(ends[1:-1]) if epoch <= end), len(ends) - 2)
        start, end = ends[phase : phase + 2]
        return phase, (epoch - start) / (end - start) if end != start else 1.0

    def _changes(self, rates: list[float], is_first: bool) -> list[Group]:
        del rates, is_first
        made, (phase, x) = [], self._phase(self.last_epoch + 1)
        for place, group in enumerate(self.optimizer.param_groups):
            low, top = self.base_lrs[place], _of_group(self.max_lr, place)
            way = [low, top, *[low] * self.three_phase, low / self.final_div_factor]
            change = {"lr": self._between(way, phase, x)}
            if self.cycle_momentum:
                most, least = (_of_group(m, place) for m in (self.max_momentum, self.base_momentum))
                momentum = self._between([most, least, most, most], phase, x)
                betas = (momentum, *group.get("betas", ())[1:])
                change |= {"momentum": momentum} if "momentum" in group else {"betas": betas}
            made.append(change)
        return made

    def _between(self, way: list[float], phase: int, x: float) -> Any:
        a, b = way[phase : phase + 2]
        if self.anneal_strategy == "linear":
            return float(a + (b - a) * x)
        return float(b + (a - b) * (1 + math.cos(math.pi * x)) / 2)

    def _from_state(self, name: str, state: Any) -> dict[str, Any]:
        made = super()._from_state(name, state)
        if made["total_steps"] is None and None in (made["epochs"], made["steps_per_epoch"]):
            msg = f"{name}: total_steps must be a positive int, got None"
            raise TypeError(msg)
        return made


class ReduceLROnPlateau(Scheduler):
    """Multiply the rate with `factor` when a metric has not become better for a while.

    Parameters
    ----------
    mode : "min" or "max"
        What is better.
    factor : float
        In [0, 1).
    patience, cooldown : int
        How many epochs may be no better, and after a change are not counted.
    threshold : float
        By how much a metric is better, of the best or as it is.
    threshold_mode : "rel" or "abs"
    min_lr : float or list of float
        One for all groups, or one for each.
    eps : float
        A change that is not larger is not made.
    """

    _checks: ClassVar[dict[str, Check]] = {
        "mode": one_of("min", "max"),
        "factor": _BELOW_ONE,
        **dict.fromkeys(("patience", "cooldown"), check_count),
        **dict.fromkeys(("threshold", "eps"), _AT_LEAST_ZERO),
        "threshold_mode": one_of("rel", "abs"),
        "min_lr": one_or_list_of(_AT_LEAST_ZERO),
    }
    _held: ClassVar[dict[str, Check]] = {
        **_HELD,
        "best": _any_number,
        **dict.fromkeys(("num_bad_epochs", "cooldown_counter"), check_count),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-8,
    ) -> None:
        given = locals()
        super().__init__(optimizer, **{name: given[name] for name in self._checks})
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = _rates(optimizer)

    def step(self, metrics: Any) -> None:
        """Look at a metric, a number or Tensor of one element, and set the rates if it is time.

        Raises
        ------
        TypeError, ValueError
            If it is neither; nothing is changed then.
        """
        metric = _metric(metrics)
        self.last_epoch += 1
        sign = 1 if self.mode == "max" else -1
        is_part = self.threshold_mode == "rel"
        step = sign * self.threshold
        bound = self.best * (1 + step) if is_part else self.best + step
        if sign * metric > sign * bound:
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for place, group in enumerate(self.optimizer.param_groups):
                lower = max(float(group["lr"]) * self.factor, _of_group(self.min_lr, place))
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = _rates(self.optimizer)


def _metric(value: Any) -> float:
    if isinstance(value, Tensor):
        if value._data.size != 1:
            msg = f"ReduceLROnPlateau: metrics must be one number, got shape {value.shape}"
            raise ValueError(msg)
        return float(value._data.reshape(()))
    check_number("ReduceLROnPlateau", "metrics", value)
    return float(value)


class SequentialLR(LRScheduler):
    """Let one scheduler step after the other, each anew from the initial rates.

    Parameters
    ----------
    schedulers : list of LRScheduler
        All of this optimizer.
    milestones : list of int
        The epochs at which the second and the following come.
    """

    _checks: ClassVar[dict[str, Check]] = {"milestones": list_of(check_positive_int)}

    def __init__(
        self, optimizer: Optimizer, schedulers: Any, milestones: Any, last_epoch: int = -1
    ) -> None:
        Scheduler.__init__(self, optimizer, milestones=milestones, last_epoch=last_epoch)
        if last_epoch != -1:
            msg = f"SequentialLR: last_epoch must be -1, got {last_epoch}"
            raise ValueError(msg)
        self._schedulers = list(schedulers) if isinstance(schedulers, (list, tuple)) else []
        for one in self._schedulers or [schedulers]:
            if isinstance(one, Scheduler) and isinstance(schedulers, (list, tuple)):
                if isinstance(one, LRScheduler) and one.optimizer is self.optimizer:
                    continue
                got = f"{type_name(one)} of {'this' if one.optimizer is optimizer else 'another'}"
                msg = f"SequentialLR: schedulers must be of epochs and of one optimizer, got {got}"
                raise ValueError(msg)
            msg = f"SequentialLR: schedulers must be a list of schedulers, got {type_name(one)}"
            raise ValueError(msg) if one in ([], ()) else TypeError(msg)
        self._check_milestones("SequentialLR", self.milestones)
        self._restart()
        self.base_lrs = [plain_option(g["initial_lr"]) for g in self.optimizer.param_groups]

    def _check_milestones(self, name: str, milestones: list[int]) -> None:
        count = len(self._schedulers)
        if len(milestones) != count - 1 or sorted(set(milestones)) != milestones:
            wanted = f"one fewer than {count} schedulers, and increase"
            msg = f"{name}: milestones must be {wanted}, got {milestones}"
            raise ValueError(msg)

    def _restart(self) -> None:
        self._schedulers[0]._restart()
        self.last_epoch = -1
        self._done()

    def step(self) -> None:
        """Set the rates of the next epoch, by the scheduler whose turn it is."""
        place = bisect.bisect_right(self.milestones, self.last_epoch + 1)
        scheduler = self._schedulers[place]
        is_new = place > 0 and self.milestones[place - 1] == self.last_epoch + 1
        (scheduler._restart if is_new else scheduler.step)()
        self._done()

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and those of its schedulers, which JSON can hold."""
        return super().state_dict() | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def _put(self, made: dict[str, Any]) -> None:
        for scheduler, state in zip(self._schedulers, made.pop("_schedulers"), strict=True):
            scheduler._put(state)
        super()._put(made)

    def _from_state(self, name: str, state: Any) -> dict[str, Any]:
        check_mapping(name, "the state", state, ("_schedulers",))
        parts = state["_schedulers"]
        made = super()._from_state(name, {k: v for k, v in state.items() if k != "_schedulers"})
        self._check_milestones(name, made["milestones"])
        if not isinstance(parts, (list, tuple)) or len(parts) != len(self._schedulers):
            msg = f"{name}: _schedulers must be {len(self._schedulers)} states, got {shown(parts)}"
            raise ValueError(msg)
        each = zip(self._schedulers, parts, strict=True)
        return made | {"_schedulers": [s._from_state(name, part) for s, part in each]}
