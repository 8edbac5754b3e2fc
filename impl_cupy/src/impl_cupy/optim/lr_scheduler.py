"""Schedulers, which set the learning rate of each group of an optimizer, epoch by epoch."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping
from typing import Any, ClassVar

from impl_cupy import checks
from impl_cupy.checks import check_count, check_positive_int, type_name
from impl_cupy.optim.algorithms import (
    At,
    check_epoch,
    list_of,
    number_in,
    of_group,
    one_of,
    one_or_list_of,
    or_none,
)
from impl_cupy.optim.growth import meet_groups
from impl_cupy.optim.lbfgs import one_number
from impl_cupy.optim.optimizer import Checks, Group, Optimizer, Scheduler, plain_option

__all__ = (
    "CosineAnnealingLR ExponentialLR LRScheduler LambdaLR LinearLR MultiStepLR OneCycleLR "
    "ReduceLROnPlateau SequentialLR StepLR"
).split()

_any_number = number_in(-math.inf, math.inf)
_AT_LEAST_ZERO, _ABOVE_ZERO = number_in(0), number_in(0, ends="(]")
_FRACTION, _BELOW_ONE = number_in(0, 1), number_in(0, 1, "[)")
_HELD: Checks = {"last_epoch": check_epoch, "_last_lr": list_of(_any_number)}


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

    Raises
    ------
    TypeError, ValueError
        If `optimizer` is none, or an argument does not fit; the groups are as they were then.
    KeyError
        If it starts later, and a group has no ``initial_lr``.
    """

    last_epoch: int
    _last_lr: list[float]
    _held: ClassVar[Checks] = {**_HELD, "base_lrs": list_of(_any_number)}

    def _begin(self, given: dict[str, Any]) -> None:
        """Check a constructor's arguments, and set the rates of the first epoch."""
        names = ("optimizer", "last_epoch", *self._checks)
        Scheduler.__init__(self, **{name: given[name] for name in names})
        self._check_together(type(self).__name__, vars(self))
        groups, epoch = self.optimizer.param_groups, self.last_epoch + 1
        if epoch and not all("initial_lr" in group for group in groups):
            msg = f"{type(self).__name__}: each group needs initial_lr where last_epoch is given"
            raise KeyError(msg)
        marks = [self._marks(group, place) for place, group in enumerate(groups)]
        self.base_lrs = [mark["initial_lr"] for mark in marks]
        changes = self._changes(epoch, _rates(self.optimizer), True)
        self._set(epoch, [mark | change for mark, change in zip(marks, changes, strict=True)])

    def _marks(self, group: Group, place: int) -> Group:  # noqa: ARG002
        """Return what a group must hold beside its rates."""
        return {"initial_lr": plain_option(group.get("initial_lr", group["lr"]))}

    def _restart(self) -> None:
        """Go to epoch 0 from the initial rates, as in a sequence (optim-23)."""
        meet_groups(self)
        initial = [plain_option(group["initial_lr"]) for group in self.optimizer.param_groups]
        self._set(0, self._changes(0, initial, True))

    def step(self) -> None:
        """Set the rates of the next epoch."""
        meet_groups(self)
        epoch = self.last_epoch + 1
        self._set(epoch, self._changes(epoch, _rates(self.optimizer), False))

    def _set(self, epoch: int, changes: list[Group]) -> None:
        for group, change in zip(self.optimizer.param_groups, changes, strict=True):
            group.update(change)
        self.last_epoch, self._last_lr = epoch, _rates(self.optimizer)

    def _changes(self, epoch: int, rates: list[float], is_first: bool) -> list[Group]:
        """Return what each group gets in an epoch."""
        places = enumerate(zip(rates, self.base_lrs, strict=True))
        each = [At(epoch, float(lr), base, place, is_first) for place, (lr, base) in places]
        return [{"lr": float(self._rate(at))} for at in each]


class StepLR(LRScheduler):
    """Multiply the rate with `gamma` every `step_size` epochs.

    Parameters
    ----------
    step_size : int
    gamma : float
    """

    _checks: ClassVar[Checks] = {"step_size": check_positive_int, "gamma": _AT_LEAST_ZERO}

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: At) -> float:
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

    _checks: ClassVar[Checks] = {"milestones": list_of(check_count), "gamma": _AT_LEAST_ZERO}

    def __init__(
        self, optimizer: Optimizer, milestones: Any, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: At) -> float:
        return float(at.lr * float(self.gamma) ** self.milestones.count(at.epoch))


class ExponentialLR(LRScheduler):
    """Multiply the rate with `gamma`, a number, every epoch."""

    _checks: ClassVar[Checks] = {"gamma": _AT_LEAST_ZERO}

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self._begin(locals())

    def _rate(self, at: At) -> float:
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

    _checks: ClassVar[Checks] = {
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

    def _rate(self, at: At) -> float:
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

    _checks: ClassVar[Checks] = {"T_max": check_positive_int, "eta_min": _AT_LEAST_ZERO}

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._begin(locals())

    def _rate(self, at: At) -> float:
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

    _checks: ClassVar[Checks] = {"lr_lambda": one_or_list_of(checks.check_callable)}

    def __init__(self, optimizer: Optimizer, lr_lambda: Any, last_epoch: int = -1) -> None:
        self._begin(locals())

    def _rate(self, at: At) -> float:
        factor = of_group(self.lr_lambda, at.place)(at.epoch)
        checks.check_number("LambdaLR", "lr_lambda's result", factor)
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
        Whether it falls as it rose first.
    """

    _checks: ClassVar[Checks] = {
        "max_lr": one_or_list_of(_AT_LEAST_ZERO),
        **dict.fromkeys(("total_steps", "epochs", "steps_per_epoch"), or_none(check_positive_int)),
        "pct_start": _FRACTION,
        "anneal_strategy": one_of("cos", "linear"),
        **dict.fromkeys(("cycle_momentum", "three_phase"), checks.check_flag),
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

    def _check_together(self, name: str, options: dict[str, Any]) -> None:
        factors = [options.get(key) for key in ("epochs", "steps_per_epoch")]
        if options["total_steps"] is None:
            if None in factors:
                msg = f"{name}: total_steps must be given, or epochs and steps_per_epoch, got None"
                raise ValueError(msg)
            options["total_steps"] = math.prod(factors)
        groups = self.optimizer.param_groups
        if options["cycle_momentum"] and not all("momentum" in g or "betas" in g for g in groups):
            got = type_name(self.optimizer)
            msg = f"{name}: cycle_momentum needs the option momentum or betas, got {got}"
            raise ValueError(msg)

    def _marks(self, group: Group, place: int) -> Group:
        names = ["max_lr", *["base_momentum", "max_momentum"] * self.cycle_momentum]
        made = {name: of_group(getattr(self, name), place) for name in names}
        first = float(made["max_lr"] / self.div_factor)
        first = first if self.last_epoch < 0 else plain_option(group["initial_lr"])
        return made | {"initial_lr": first, "min_lr": first / self.final_div_factor}

    def _phase(self, epoch: int) -> tuple[int, float]:
        """Return which phase an epoch is in, and how far."""
        total = self.total_steps
        if epoch > total:
            msg = f"OneCycleLR: total_steps is {total}, and there is no epoch {epoch}"
            raise ValueError(msg)
        peak = self.pct_start * total
        ends = [0, peak - 1, *[2 * peak - 2] * self.three_phase, total - 1]
        phase = next((n for n, end in enumerate(ends[1:-1]) if epoch <= end), len(ends) - 2)
        start, end = ends[phase : phase + 2]
        return phase, (epoch - start) / (end - start) if end != start else 1.0

    def _changes(self, epoch: int, rates: list[float], is_first: bool) -> list[Group]:
        del rates, is_first
        made, (phase, x) = [], self._phase(epoch)
        for place, group in enumerate(self.optimizer.param_groups):
            low, top = self.base_lrs[place], of_group(self.max_lr, place)
            way = [low, top, *[low] * self.three_phase, low / self.final_div_factor]
            change = {"lr": self._between(way, phase, x)}
            if self.cycle_momentum:
                most, least = (of_group(m, place) for m in (self.max_momentum, self.base_momentum))
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

    _checks: ClassVar[Checks] = {
        "mode": one_of("min", "max"),
        "factor": _BELOW_ONE,
        **dict.fromkeys(("patience", "cooldown"), check_count),
        **dict.fromkeys(("threshold", "eps"), _AT_LEAST_ZERO),
        "threshold_mode": one_of("rel", "abs"),
        "min_lr": one_or_list_of(_AT_LEAST_ZERO),
    }
    _held: ClassVar[Checks] = {
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
        metric = one_number("ReduceLROnPlateau: metrics must be", metrics)
        meet_groups(self)
        self.last_epoch += 1
        sign = 1 if self.mode == "max" else -1
        by, is_part = sign * self.threshold, self.threshold_mode == "rel"
        if sign * metric > sign * (self.best * (1 + by) if is_part else self.best + by):
            self.best, self.num_bad_epochs = metric, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for place, group in enumerate(self.optimizer.param_groups):
                lower = max(float(group["lr"]) * self.factor, of_group(self.min_lr, place))
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = _rates(self.optimizer)


class SequentialLR(LRScheduler):
    """Let one scheduler step after the other, each anew from the initial rates.

    Parameters
    ----------
    schedulers : list of LRScheduler
        All of this optimizer.
    milestones : list of int
        The epochs at which the second and the following come.
    """

    _checks: ClassVar[Checks] = {"milestones": list_of(check_positive_int)}

    def __init__(
        self, optimizer: Optimizer, schedulers: Any, milestones: Any, last_epoch: int = -1
    ) -> None:
        Scheduler.__init__(self, optimizer, milestones=milestones, last_epoch=last_epoch)
        if last_epoch != -1:
            msg = f"SequentialLR: last_epoch must be -1, got {last_epoch}"
            raise ValueError(msg)
        is_list = isinstance(schedulers, (list, tuple))
        self._schedulers = every = list(schedulers) if is_list else [schedulers]
        got = [type_name(one) for one in every]
        if not is_list or not all(isinstance(one, Scheduler) for one in every):
            msg = f"SequentialLR: schedulers must be a list of schedulers, got {got}"
            raise TypeError(msg)
        is_ours = [isinstance(s, LRScheduler) and s.optimizer is optimizer for s in every]
        if not all(is_ours) or not every:
            msg = f"SequentialLR: schedulers must be of epochs and of its optimizer, got {got}"
            raise ValueError(msg)
        self._check_together("SequentialLR", vars(self))
        self._restart()
        self.base_lrs = [plain_option(g["initial_lr"]) for g in self.optimizer.param_groups]

    def _check_together(self, name: str, options: dict[str, Any]) -> None:
        count, milestones = len(self._schedulers), options["milestones"]
        if len(milestones) != count - 1 or sorted(set(milestones)) != milestones:
            wanted = f"one fewer than {count} schedulers, and increase"
            msg = f"{name}: milestones must be {wanted}, got {milestones}"
            raise ValueError(msg)

    def _restart(self) -> None:
        self._schedulers[0]._restart()
        self._set(0, [{} for _ in self.optimizer.param_groups])

    def step(self) -> None:
        """Set the rates of the next epoch, by the scheduler whose turn it is."""
        meet_groups(*self._schedulers, self)
        epoch = self.last_epoch + 1
        scheduler = self._schedulers[bisect.bisect_right(self.milestones, epoch)]
        (scheduler._restart if epoch in self.milestones else scheduler.step)()
        self._set(epoch, [{} for _ in self.optimizer.param_groups])

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and those of its schedulers, which JSON can hold."""
        return super().state_dict() | {"_schedulers": [s.state_dict() for s in self._schedulers]}

    def _put(self, made: dict[str, Any]) -> None:
        for scheduler, state in zip(self._schedulers, made.pop("_schedulers"), strict=True):
            scheduler._put(state)
        super()._put(made)

    def _from_state(self, name: str, state: Any) -> dict[str, Any]:
        own = dict(state) if isinstance(state, Mapping) else state
        parts = own.pop("_schedulers", None) if isinstance(own, dict) else None
        made, count = super()._from_state(name, own), len(self._schedulers)
        if not isinstance(parts, (list, tuple)) or len(parts) != count:
            msg = f"{name}: _schedulers must be {count} states, got {checks.shown(parts)}"
            raise ValueError(msg)
        each = zip(self._schedulers, parts, strict=True)
        return made | {"_schedulers": [s._from_state(name, part) for s, part in each]}
