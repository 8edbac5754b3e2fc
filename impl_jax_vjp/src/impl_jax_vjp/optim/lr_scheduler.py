"""Schedulers of the learning rate: plain numbers, which the groups of an optimizer hold."""

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..checks import check_flag, refuse, refuse_type, shown
from .growth import grow
from .optimizer import Group, Optimizer, Scheduled

__all__ = ["CosineAnnealingLR", "ExponentialLR", "LRScheduler", "LambdaLR", "LinearLR"]
__all__ += ["MultiStepLR", "OneCycleLR", "ReduceLROnPlateau", "SequentialLR", "StepLR"]


def __dir__() -> list[str]:
    return __all__


class LRScheduler(Scheduled):
    """Sets `lr` in every group: when it is made that of epoch 0, at each step the next one's.

    Attributes
    ----------
    optimizer : Optimizer
    last_epoch : int
    base_lrs : list of float
        The `initial_lr` of each group.
    """

    # Whether the rates asked for are those that the constructor sets.
    _made = True

    def __init__(self, optimizer: Any, last_epoch: int = -1) -> None:
        self._check_optimizer(optimizer)
        epoch = self._int("last_epoch", last_epoch, -1)
        groups = optimizer.param_groups
        if epoch >= 0 and not all(["initial_lr" in group for group in groups]):  # optim-20
            msg = f"{type(self).__name__}: every group must have initial_lr to start after {epoch}"
            raise KeyError(msg)
        before = [dict(group) for group in groups]
        try:
            self._mark(groups, later=epoch >= 0)
            for group in groups:
                group.setdefault("initial_lr", self._bounded("lr", group["lr"]))
            self.base_lrs = [self._bounded("initial_lr", group["initial_lr"]) for group in groups]
            self.last_epoch = epoch + 1
            self._set(self._rates(groups))
        except BaseException:  # optim-25
            for group, old in zip(groups, before, strict=True):
                group.clear()
                group.update(old)
            raise

    def _check_optimizer(self, optimizer: Any) -> None:
        if not isinstance(optimizer, Optimizer):
            refuse_type(type(self).__name__, "optimizer", "an optimizer", optimizer)
        self.optimizer = optimizer

    def _rates(self, groups: list[Group]) -> list[float]:
        """Return the rate of each group at `last_epoch`."""
        return [float(self._rate(group)) for group in groups]

    def _rate(self, group: Group) -> float:
        raise NotImplementedError

    def _set(self, rates: list[float]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate
        self._last_lr = list(rates)

    def step(self) -> None:
        """Set the rates of the next epoch."""
        grow(self)
        self.last_epoch, self._made = self.last_epoch + 1, False
        try:
            rates = self._rates(self.optimizer.param_groups)
        except BaseException:
            self.last_epoch -= 1
            raise
        self._set(rates)

    def _restart(self) -> None:
        """Set what the epoch 0 has from the initial rates."""  # optim-23
        grow(self)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"]
        self.last_epoch, self._made = 0, True
        self._set(self._rates(self.optimizer.param_groups))

    def get_last_lr(self) -> list[float]:
        """Return the rates that were last set."""
        return [*self._last_lr]


class StepLR(LRScheduler):
    """Multiplies the rate by `gamma` every `step_size` epochs (torch's page of the same name).

    Parameters
    ----------
    step_size : int, positive
    gamma : float, 0 or more
    """

    _options = ("step_size", "gamma")

    def __init__(
        self, optimizer: Any, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = self._int("step_size", step_size, 1)
        self.gamma = self._bounded("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group) -> float:
        turns = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return float(group["lr"] * (self.gamma if turns else 1))


class MultiStepLR(LRScheduler):
    """Multiplies the rate by `gamma` at each milestone (torch's page of the same name).

    Parameters
    ----------
    milestones : list of int, 0 or more, in any order; one that stands there twice counts twice
    gamma : float, 0 or more
    """

    _options = ("milestones", "gamma")

    def __init__(
        self, optimizer: Any, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        if not isinstance(milestones, list | tuple | range):
            refuse_type("MultiStepLR", "milestones", "a list of ints", milestones)
        self.milestones = sorted([self._int("milestones", part, 0) for part in milestones])
        self.gamma = self._bounded("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group) -> float:
        return float(group["lr"] * self.gamma ** self.milestones.count(self.last_epoch))


class ExponentialLR(LRScheduler):
    """Multiplies the rate by `gamma` every epoch (torch's page of the same name).

    Parameters
    ----------
    gamma : float, 0 or more
    """

    _options = ("gamma",)

    def __init__(self, optimizer: Any, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = self._bounded("gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group) -> float:
        return group["lr"] * (1 if self._made else self.gamma)


class LinearLR(LRScheduler):
    """Goes from a share of the rate to another in a line (torch's page of the same name).

    Parameters
    ----------
    start_factor, end_factor : float
        In (0, 1] and [0, 1].
    total_iters : int, positive
    """

    _options = ("start_factor", "end_factor", "total_iters")

    def __init__(
        self,
        optimizer: Any,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = self._bounded("start_factor", start_factor, most=1, above=True)
        self.end_factor = self._bounded("end_factor", end_factor, most=1)
        self.total_iters = self._int("total_iters", total_iters, 1)
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group) -> float:
        if self.last_epoch == 0:
            return group["lr"] * self.start_factor
        if self._made or self.last_epoch > self.total_iters:
            return group["lr"]
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return group["lr"] * (1 + rise / before)


class CosineAnnealingLR(LRScheduler):
    """Goes along a half cosine to `eta_min` and back (Loshchilov and Hutter 2017).

    Parameters
    ----------
    T_max : int, positive
    eta_min : float, 0 or more
    """

    _options = ("T_max", "eta_min")

    def __init__(
        self, optimizer: Any, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = self._int("T_max", T_max, 1)
        self.eta_min = self._bounded("eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def _rate(self, group: Group) -> float:
        epoch, half, lr = self.last_epoch, self.T_max, float(group["lr"])
        if self._made:
            return lr
        if (epoch - 1 - half) % (2 * half) == 0:
            return lr + (group["initial_lr"] - self.eta_min) * (1 - math.cos(math.pi / half)) / 2
        now, before = [1 + math.cos(math.pi * e / half) for e in (epoch, epoch - 1)]
        return self.eta_min + (lr - self.eta_min) * (now / before)


class LambdaLR(LRScheduler):
    """The initial rate times a function of the epoch (torch's page of the same name).

    Parameters
    ----------
    lr_lambda : callable, or a list of one for each group
    """

    def __init__(self, optimizer: Any, lr_lambda: Any, last_epoch: int = -1) -> None:
        self._check_optimizer(optimizer)
        several, count = isinstance(lr_lambda, list | tuple), len(optimizer.param_groups)
        listed: list[Callable[[int], float]] = list(lr_lambda) if several else [lr_lambda] * count
        if len(listed) != count:
            refuse("LambdaLR", "lr_lambda", f"one for each of {count} groups", len(listed))
        for function in listed:
            if not callable(function):
                refuse_type("LambdaLR", "lr_lambda", "callable", function)
        self.lr_lambdas = listed
        super().__init__(optimizer, last_epoch)

    def _rates(self, groups: list[Group]) -> list[float]:
        pairs = zip(groups, self.lr_lambdas, strict=True)
        return [float(group["initial_lr"] * own(self.last_epoch)) for group, own in pairs]


class OneCycleLR(LRScheduler):
    """One cycle of the rate, and the opposite one of momentum (Smith and Topin 2018).

    Parameters
    ----------
    max_lr : float or list of float
    total_steps, epochs, steps_per_epoch : int, positive, optional
        The first, or both of the others.
    pct_start : float, from 0 to 1
        The share of the steps in which the rate grows.
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
    base_momentum, max_momentum : float or list of float, from 0 to 1
    div_factor, final_div_factor : float, positive
    three_phase : bool
    """

    _options = (
        *("max_lr", "total_steps", "pct_start", "anneal_strategy", "cycle_momentum", "three_phase"),
        *("base_momentum", "max_momentum", "div_factor", "final_div_factor"),
    )

    def __init__(
        self,
        optimizer: Any,
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
        self._check_optimizer(optimizer)
        self.total_steps = self._length(total_steps, epochs, steps_per_epoch)
        self.pct_start = self._bounded("pct_start", pct_start, most=1)
        self.anneal_strategy = self._choice("anneal_strategy", anneal_strategy, ("cos", "linear"))
        self.cycle_momentum = check_flag("OneCycleLR", "cycle_momentum", cycle_momentum)
        self.three_phase = check_flag("OneCycleLR", "three_phase", three_phase)
        self.max_lr = self._each("max_lr", max_lr)
        self.base_momentum = self._each("base_momentum", base_momentum, math.nextafter(1, 0))
        self.max_momentum = self._each("max_momentum", max_momentum, math.nextafter(1, 0))
        self.div_factor = self._bounded("div_factor", div_factor, above=True)
        self.final_div_factor = self._bounded("final_div_factor", final_div_factor, above=True)
        groups = optimizer.param_groups
        if self.cycle_momentum and not all(["momentum" in g or "betas" in g for g in groups]):
            wanted = "with momentum or betas where cycle_momentum is on"  # optim-21
            refuse("OneCycleLR", "optimizer", wanted, type(optimizer).__name__)
        super().__init__(optimizer, last_epoch)

    def _mark(self, groups: list[Group], later: bool) -> None:
        # One that starts later keeps what is there.
        first, last = self.div_factor, self.final_div_factor
        each = zip(groups, self.max_lr, self.base_momentum, self.max_momentum, strict=True)
        for group, most, low, high in each:
            ends = {"max_lr": most, "initial_lr": most / first, "min_lr": most / first / last}
            momenta = {"base_momentum": low, "max_momentum": high} if self.cycle_momentum else {}
            held = dict(group) if later else {}
            group.update({k: float(held.get(k, end)) for k, end in (ends | momenta).items()})

    def _length(self, total: Any, epochs: Any, steps: Any) -> int:
        if total is not None:
            return self._int("total_steps", total, 1)
        if epochs is None or steps is None:
            refuse("OneCycleLR", "total_steps", "given, or epochs and steps_per_epoch", None)
        return self._int("epochs", epochs, 1) * self._int("steps_per_epoch", steps, 1)

    def _phases(self) -> list[tuple[float, str, str, str, str]]:
        end, up = self.total_steps - 1, self.pct_start * self.total_steps - 1
        rises = (up, "initial_lr", "max_lr", "max_momentum", "base_momentum")
        if not self.three_phase:
            return [rises, (end, "max_lr", "min_lr", "base_momentum", "max_momentum")]
        middle = (2 * up, "max_lr", "initial_lr", "base_momentum", "max_momentum")
        return [rises, middle, (end, "initial_lr", "min_lr", "max_momentum", "max_momentum")]

    def _between(self, a: float, b: float, x: float) -> float:
        if self.anneal_strategy == "linear":
            return a + (b - a) * x
        return b + (a - b) * (1 + math.cos(math.pi * x)) / 2

    def _rates(self, groups: list[Group]) -> list[float]:
        if self.last_epoch > self.total_steps:  # optim-21
            wanted = f"total_steps = {self.total_steps} at most"
            refuse("OneCycleLR", "the epoch", wanted, self.last_epoch)
        rates = []
        for group in groups:
            start, phases = 0.0, self._phases()
            for number, phase in enumerate(phases):
                if self.last_epoch <= phase[0] or number == len(phases) - 1:
                    break
                start = phase[0]
            span = phase[0] - start
            x = (self.last_epoch - start) / span if span else 1.0
            rates.append(float(self._between(group[phase[1]], group[phase[2]], x)))
            if self.cycle_momentum:
                momentum = float(self._between(group[phase[3]], group[phase[4]], x))
                of_adam = "betas" in group
                now = (momentum, group["betas"][1]) if of_adam else momentum
                group["betas" if of_adam else "momentum"] = now
        return rates


class ReduceLROnPlateau(LRScheduler):
    """Lowers the rate where a number no longer gets better (torch's page of the same name).

    Parameters
    ----------
    mode : {"min", "max"}
    factor : float, in [0, 1)
    patience, cooldown : int, 0 or more
    threshold : float, 0 or more
    threshold_mode : {"rel", "abs"}
    min_lr : float or list of float
    eps : float, 0 or more
    """

    _options = (
        *("mode", "factor", "patience", "threshold", "threshold_mode", "cooldown", "min_lr"),
        *("eps", "best", "num_bad_epochs", "cooldown_counter"),
    )

    def __init__(
        self,
        optimizer: Any,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 0.0001,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0,
        eps: float = 1e-08,
    ) -> None:
        self._check_optimizer(optimizer)
        self.mode = self._choice("mode", mode, ("min", "max"))
        self.factor = self._bounded("factor", factor, most=math.nextafter(1, 0))
        self.patience = self._int("patience", patience, 0)
        self.threshold = self._bounded("threshold", threshold)
        self.threshold_mode = self._choice("threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = self._int("cooldown", cooldown, 0)
        self.min_lr = self._each("min_lr", min_lr)
        self.eps = self._bounded("eps", eps)
        self.best = math.inf if mode == "min" else -math.inf
        self.num_bad_epochs = self.cooldown_counter = self.last_epoch = 0
        self._last_lr = [float(group["lr"]) for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:  # type: ignore[override]
        """Take a number; lower the rates if it was not better for long.

        Raises
        ------
        TypeError, ValueError
            If it is no number and no Tensor of one element; nothing is changed then.
        """
        value = self._one("metrics", metrics)  # optim-22
        grow(self)
        self.last_epoch += 1
        if self._is_better(value):
            self.best, self.num_bad_epochs = value, 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lr, strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = float(lower)
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [float(group["lr"]) for group in self.optimizer.param_groups]

    def _is_better(self, value: float) -> bool:
        sign, relative = (1 if self.mode == "max" else -1), self.threshold_mode == "rel"
        by = sign * self.threshold
        bound = self.best * (1 + by) if relative else self.best + by
        return sign * value > sign * bound


class SequentialLR(LRScheduler):
    """One scheduler after the other (torch's page of the same name).

    Parameters
    ----------
    schedulers : list of schedulers of that optimizer
    milestones : list of int
        The epochs at which the next one takes over, from its own epoch 0.
    """

    _options = ("milestones",)

    def __init__(
        self, optimizer: Any, schedulers: Any, milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        name = "SequentialLR"
        self._check_optimizer(optimizer)
        self._check_schedulers(optimizer, schedulers)
        if not isinstance(milestones, list | tuple):
            refuse(name, "milestones", "a list of ints", shown(milestones))
        numbers = [self._int("milestones", part, 1) for part in milestones]
        if len(numbers) != len(schedulers) - 1:
            refuse(name, "milestones", f"one fewer than {len(schedulers)} schedulers", len(numbers))
        if sorted({*numbers}) != numbers:
            refuse(name, "milestones", "increasing", numbers)
        self._int("last_epoch", last_epoch, -1)
        self.milestones, self._schedulers, self.last_epoch = numbers, list(schedulers), 0
        self.base_lrs = list(schedulers[0].base_lrs)
        schedulers[0]._restart()
        self._last_lr = schedulers[0].get_last_lr()

    def _check_schedulers(self, optimizer: Any, schedulers: Any) -> None:
        name = "SequentialLR"
        if not isinstance(schedulers, list | tuple):
            refuse_type(name, "schedulers", "a list of schedulers", schedulers)
        for scheduler in schedulers or refuse(name, "schedulers", "at least one", "[]"):
            if not isinstance(scheduler, LRScheduler):
                refuse_type(name, "each of schedulers", "a scheduler", scheduler)
            if isinstance(scheduler, ReduceLROnPlateau):
                refuse(name, "each of schedulers", "one without metrics", "ReduceLROnPlateau")
            if scheduler.optimizer is not optimizer:
                refuse(name, "each of schedulers", "of the same optimizer", "another optimizer's")

    def step(self) -> None:
        """Set the rates of the next epoch."""
        grow(*self._schedulers, self)
        epoch = self.last_epoch + 1
        scheduler = self._schedulers[sum([epoch >= part for part in self.milestones])]
        (scheduler._restart if epoch in self.milestones else scheduler.step)()
        self.last_epoch, self._last_lr = epoch, scheduler.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """Return epoch, rates and the states of the schedulers, a copy that `json` writes."""
        return {**super().state_dict(), "_schedulers": [s.state_dict() for s in self._schedulers]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of a sequence of the same schedulers; see the other schedulers'."""
        states = self._checked(state_dict)["_schedulers"]
        if not isinstance(states, list) or len(states) != len(self._schedulers):
            wanted = f"a list of {len(self._schedulers)} states"
            refuse("SequentialLR", "_schedulers", wanted, shown(states))
        for scheduler, own in zip(self._schedulers, states, strict=True):
            scheduler._checked(own)
        for scheduler, own in zip(self._schedulers, states, strict=True):
            scheduler.load_state_dict(own)
        own = {key: value for key, value in state_dict.items() if key != "_schedulers"}
        self.__dict__.update(copy.deepcopy(own))
