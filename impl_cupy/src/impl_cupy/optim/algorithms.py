"""The optimizers; a step for one Parameter is one kernel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, NamedTuple

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, check_choice, check_int, check_number, shown
from impl_cupy.launch import launch
from impl_cupy.memory import RawArray
from impl_cupy.optim.optimizer import (
    Check,
    Checks,
    Group,
    Optimizer,
    plain_option,
)


def check_finite_number(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no number, or NaN.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is NaN.
    """
    check_number(operation, argument, value)
    if value != value:
        msg = f"{operation}: {argument} must be a number, got {value}"
        raise ValueError(msg)


def check_flag_or_number(operation: str, argument: str, value: Any) -> None:
    """Refuse a flag that is neither a boolean nor a number.

    Raises
    ------
    TypeError
        That names the argument and the value.
    """
    if not isinstance(value, (bool, int, float, np.bool_, np.integer, np.floating)):
        msg = f"{operation}: {argument} must be a bool, got {shown(value)}"
        raise TypeError(msg)


def number_in(low: float, high: float = math.inf, ends: str = "[]") -> Check:
    """Return a check of a number between two ends, which belong to it or not."""

    def check(operation: str, argument: str, value: Any) -> Any:
        check_number(operation, argument, value)
        above = value >= low if ends[0] == "[" else value > low
        below = value <= high if ends[1] == "]" else value < high
        if not (above and below):
            span = f"{ends[0]}{low}, {high}{ends[1]}"
            msg = f"{operation}: {argument} must be in {span}, got {value}"
            raise ValueError(msg)
        return plain_option(value)

    return check


def one_of(*choices: str) -> Check:
    """Return a check of a word."""

    def check(operation: str, argument: str, value: Any) -> str:
        check_choice(operation, argument, value, choices)
        return str(value)

    return check


def or_none(check: Check) -> Check:
    """Return a check that lets None pass."""
    return lambda operation, argument, value: (
        None if value is None else check(operation, argument, value)
    )


def list_of(check: Check) -> Check:
    """Return a check of a list, entry by entry."""

    def check_all(operation: str, argument: str, value: Any) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            msg = f"{operation}: {argument} must be a list, got {shown(value)}"
            raise TypeError(msg)
        made = [check(operation, argument, part) for part in value]
        return [own if own is not None else part for own, part in zip(made, value, strict=True)]

    return check_all


def one_or_list_of(check: Check) -> Check:
    """Return a check of one value for all groups, or a list of one for each."""
    several = list_of(check)

    def check_either(operation: str, argument: str, value: Any) -> Any:
        is_list = isinstance(value, (list, tuple))
        made = (several if is_list else check)(operation, argument, value)
        return value if made is None else made

    return check_either


class At(NamedTuple):
    """Where a rate is wanted: the epoch, what stands in the group, and its first rate."""

    epoch: int
    lr: float
    base: float
    place: int
    is_first: bool


def of_group(value: Any, place: int) -> Any:
    """Return the value for one group, of a list of one for each or of one for all."""
    return value[place] if isinstance(value, list) else value


def check_epoch(operation: str, argument: str, value: Any) -> int:
    """Return an int that is -1 or more.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If it is less.
    """
    epoch = check_int(operation, argument, value)
    if epoch < -1:
        msg = f"{operation}: {argument} must be -1 or more, got {epoch}"
        raise ValueError(msg)
    return epoch


def check_betas(operation: str, argument: str, value: Any) -> None:
    """Refuse what is no pair of numbers in [0, 1).

    Raises
    ------
    TypeError
        If it is no pair, or one is no number.
    ValueError
        If one is out of range.
    """
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        msg = f"{operation}: {argument} must be a pair of numbers, got {shown(value)}"
        raise TypeError(msg)
    for beta in value:
        check_number(operation, argument, beta)
        if not 0 <= beta < 1:
            msg = f"{operation}: {argument} must be two numbers in [0, 1), got {value}"
            raise ValueError(msg)


class SGD(Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD`` has it.

    ``p -= lr d`` with ``d = grad + weight_decay p``. With momentum
    ``v = momentum v + (1 - dampening) d``, the first time ``v = d``, and then v, or
    ``d + momentum v`` if nesterov, takes the place of d.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr, momentum, dampening, weight_decay : float
    nesterov, maximize : bool

    Raises
    ------
    ValueError
        If an option is out of range, or nesterov comes without momentum or with dampening.

    Source: Sutskever et al. 2013; the page of torch.optim.SGD.
    """

    _optional = ("momentum_buffer",)
    _checks: ClassVar[Checks] = {
        "lr": check_at_least_zero,
        "momentum": check_at_least_zero,
        "dampening": check_finite_number,
        "weight_decay": check_at_least_zero,
        "nesterov": check_flag_or_number,
        "maximize": check_flag_or_number,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "momentum": momentum, "dampening": dampening}
        options |= {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, options)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        super()._check_options(options)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            msg = (
                f"SGD: nesterov={options['nesterov']} needs momentum above 0 and no dampening, got "
                f"momentum={options['momentum']}, dampening={options['dampening']}"
            )
            raise ValueError(msg)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        momentum = float(group["momentum"])
        first = "momentum_buffer" not in state
        velocity = _kept(state, "momentum_buffer", raw) if momentum else raw
        numbers = [float(group[key]) for key in ("lr", "momentum", "dampening", "weight_decay")]
        flags = (bool(group["nesterov"]), bool(group["maximize"]), first)
        launch("optim", "sgd_step", raw.dtype, raw.size, raw, grad, velocity, *numbers, *flags)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1), with the bias correction as torch does it.

    ``m = β1 m + (1 - β1) g``, ``v = β2 v + (1 - β2) g²``,
    ``p -= lr / (1 - β1^t) m / (sqrt(v) / sqrt(1 - β2^t) + eps)``, ``g = grad + weight_decay p``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr : float
    betas : pair of float
        In [0, 1).
    eps, weight_decay : float
    amsgrad : bool
        Whether the largest v so far takes the place of v.
    maximize : bool
    decoupled_weight_decay : bool
        Whether p is multiplied with ``1 - lr weight_decay``, and g left as it is.

    Raises
    ------
    ValueError
        If an option is out of range.

    Source: Kingma and Ba 2015, algorithm 1; the page of torch.optim.Adam.
    """

    _entries = ("step", "exp_avg", "exp_avg_sq")
    _optional = ("max_exp_avg_sq",)
    _checks: ClassVar[Checks] = {
        "lr": check_at_least_zero,
        "betas": check_betas,
        "eps": check_at_least_zero,
        "weight_decay": check_at_least_zero,
        "amsgrad": check_flag_or_number,
        "maximize": check_flag_or_number,
        "decoupled_weight_decay": check_flag_or_number,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        options: dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps}
        options |= {"weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize}
        super().__init__(params, {**options, "decoupled_weight_decay": decoupled_weight_decay})

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        state["step"] = count = state.get("step", 0) + 1
        beta1, beta2 = map(float, group["betas"])
        lr, decay, has_most = float(group["lr"]), float(group["weight_decay"]), group["amsgrad"]
        keep = 1.0
        if group["decoupled_weight_decay"]:
            decay, keep = 0.0, 1 - lr * decay
        mean, square = (_kept(state, name, raw) for name in ("exp_avg", "exp_avg_sq"))
        most = _kept(state, "max_exp_avg_sq", raw) if has_most else raw  # optim-28
        numbers = (beta1, 1 - beta1, beta2, 1 - beta2, float(group["eps"]), decay, keep)
        scales = lr / (1 - beta1**count), math.sqrt(1 - beta2**count)
        arrays, flags = (raw, grad, mean, square, most), (bool(group["maximize"]), bool(has_most))
        launch("optim", "adam_step", raw.dtype, raw.size, *arrays, *numbers, *scales, *flags)


class AdamW(Adam):
    """Adam whose weight decay is decoupled from the gradient.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr : float
    betas : pair of float
        In [0, 1).
    eps, weight_decay : float
    amsgrad, maximize : bool

    Raises
    ------
    ValueError
        If an option is out of range.

    Source: Loshchilov and Hutter 2019, algorithm 2; the page of torch.optim.AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options: dict[str, Any] = {"maximize": maximize, "decoupled_weight_decay": True}
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group, whose decay is decoupled whatever it says (optim-13).

        Raises
        ------
        TypeError, ValueError
            As for other optimizers.
        """
        super().add_param_group(param_group)
        self.param_groups[-1]["decoupled_weight_decay"] = True

    def _merged(self, name: str, own: Group, other: Mapping[str, Any]) -> Group:
        return {**super()._merged(name, own, other), "decoupled_weight_decay": True}  # optim-13

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        super()._update(raw, grad, state, {**group, "decoupled_weight_decay": True})


class RMSprop(Optimizer):
    """RMSprop, as ``torch.optim.RMSprop`` has it.

    ``v = alpha v + (1 - alpha) g²``, ``p -= lr g / (sqrt(v) + eps)`` with
    ``g = grad + weight_decay p``. With momentum ``b = momentum b + g / (sqrt(v) + eps)`` and
    ``p -= lr b``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr, alpha, eps, weight_decay, momentum : float
    centered : bool
        Whether the square of the gradients' running mean is taken from v.
    maximize : bool

    Raises
    ------
    ValueError
        If an option is out of range.

    Source: Hinton 2012, lecture 6; the page of torch.optim.RMSprop.
    """

    _entries = ("step", "square_avg")
    _optional = ("momentum_buffer", "grad_avg")
    _checks: ClassVar[Checks] = {
        **dict.fromkeys(("lr", "alpha", "eps", "weight_decay", "momentum"), check_at_least_zero),
        **dict.fromkeys(("centered", "maximize"), check_flag_or_number),
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        options |= {"momentum": momentum, "centered": centered, "maximize": maximize}
        super().__init__(params, options)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        state["step"] = state.get("step", 0) + 1
        square, alpha = _kept(state, "square_avg", raw), float(group["alpha"])
        momentum, centered = float(group["momentum"]), bool(group["centered"])
        mean = _kept(state, "grad_avg", raw) if centered else raw
        velocity = _kept(state, "momentum_buffer", raw) if momentum else raw
        arrays = (raw, grad, square, mean, velocity)
        numbers = (float(group["lr"]), alpha, 1 - alpha, float(group["eps"]))
        more = (float(group["weight_decay"]), momentum, centered, bool(group["maximize"]))
        launch("optim", "rmsprop_step", raw.dtype, raw.size, *arrays, *numbers, *more)


class Adagrad(Optimizer):
    """Adagrad, as ``torch.optim.Adagrad`` has it.

    ``v = v + g²``, ``p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)``,
    ``g = grad + weight_decay p``.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr, lr_decay, weight_decay : float
    initial_accumulator_value : float
        What v starts at.
    eps : float
    maximize : bool

    Raises
    ------
    ValueError
        If an option is out of range.

    Source: Duchi et al. 2011; the page of torch.optim.Adagrad.
    """

    _entries = ("step", "sum")
    _checks: ClassVar[Checks] = {
        "lr": check_at_least_zero,
        "lr_decay": check_at_least_zero,
        "weight_decay": check_at_least_zero,
        "initial_accumulator_value": check_at_least_zero,
        "eps": check_at_least_zero,
        "maximize": check_flag_or_number,
    }

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps}
        options |= {"initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        super().__init__(params, options)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        start = float(group["initial_accumulator_value"])
        square = _kept(state, "sum", raw, start)  # optim-15
        lr = float(group["lr"]) / (1 + state.get("step", 0) * float(group["lr_decay"]))
        state["step"] = state.get("step", 0) + 1
        numbers = (lr, float(group["eps"]), float(group["weight_decay"]), bool(group["maximize"]))
        launch("optim", "adagrad_step", raw.dtype, raw.size, raw, grad, square, *numbers)


def _kept(state: dict[str, Any], name: str, raw: RawArray, start: float = 0.0) -> RawArray:
    """Return an array of the state, made where it is missing, converted if its Parameter was."""
    if name not in state:
        state[name] = cp.full(raw.shape, start, dtype=raw.dtype)
    elif state[name].dtype != raw.dtype:
        state[name] = state[name].astype(raw.dtype)
    return state[name]
