"""The algorithms that take one gradient a step. The numbers of each step are torch's.

All parameters of a group go through one call of each operation, in place where they can.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from impl_torch_ext.checks import Option, check_number, shown
from impl_torch_ext.dtypes import plain_number
from impl_torch_ext.optim.optimizer import Optimizer, check_not_negative

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "RMSprop"]

_Params = Iterable[Any]
_States = list[dict[str, Any]]
_Group = Mapping[str, Any]


def _check_betas(name: str, option: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, tuple | list) or len(value) != 2:
        msg = f"{name}: {option} must be two numbers in [0, 1), got {shown(value)}"
        raise ValueError(msg)
    first, second = (check_number(name, f"each of {option}", beta) for beta in value)
    if not (0 <= first < 1 and 0 <= second < 1):
        msg = f"{name}: {option} must be two numbers in [0, 1), got {shown(value)}"
        raise ValueError(msg)
    return first, second


def _check_switch(name: str, option: str, value: Any) -> bool:
    """Return whether `value` is true, or raise if it is neither a boolean nor a number."""
    number = plain_number(value)
    if not isinstance(number, bool | int | float):  # optim-12
        msg = f"{name}: {option} must be true or false, got {shown(value)}"
        raise TypeError(msg)
    return bool(number)


def _kept(states: _States, entry: str, params: list[Tensor], start: float = 0) -> list[Tensor]:
    """Return the arrays of one name; one that is missing is `start` everywhere.

    Those of parameters that were converted are cast (optim-11).
    """
    for state, p in zip(states, params, strict=True):
        if entry not in state:  # optim-28
            state[entry] = torch.full_like(p, start)
        elif state[entry].dtype != p.dtype:
            state[entry] = state[entry].to(p.dtype)
    return [state[entry] for state in states]


def _counted(states: _States) -> list[float]:
    """Return the number of this step of each parameter."""
    for state in states:
        state["step"] = state.get("step", 0) + 1
    return [state["step"] for state in states]


class SGD(Optimizer):
    """Stochastic gradient descent: `b = momentum b + (1 - dampening) g`, `p = p - lr b`.

    At first `b` is `g`; with `nesterov`, `p = p - lr (g + momentum b)`.

    Source: Sutskever et al. 2013, with the order of operations of `torch.optim.SGD`.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
    maximize : bool
        Whether to go up, not down.

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or lr, momentum or
        weight_decay is negative, or nesterov is asked for without momentum or with dampening.
    TypeError
        If `params` is a Tensor or holds something that is none, or an option is no number.
    """

    _checks: ClassVar[Mapping[str, Option]] = {
        "lr": check_not_negative,
        "momentum": check_not_negative,
        "dampening": check_number,
        "weight_decay": check_not_negative,
        "nesterov": _check_switch,
        "maximize": _check_switch,
    }
    _more = ("momentum_buffer",)

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        values = (lr, momentum, dampening, weight_decay, nesterov, maximize)
        super().__init__(params, dict(zip(self._checks, values, strict=True)))

    def _checked(self, name: str, group: _Group) -> dict[str, Any]:
        options = super()._checked(name, group)
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum <= 0 or dampening != 0):
            msg = (
                f"{name}: nesterov=True needs a positive momentum and no dampening, "
                f"got momentum={momentum}, dampening={dampening}"
            )
            raise ValueError(msg)
        return options

    def _update(
        self, params: list[Tensor], grads: list[Tensor], states: _States, group: _Group
    ) -> None:
        momentum = group["momentum"]
        if momentum:
            old = [each for each in zip(states, params, grads, strict=True) if each[0]]
            if old:
                known, those, added = ([*column] for column in zip(*old, strict=True))
                buffers = _kept(known, "momentum_buffer", those)
                torch._foreach_mul_(buffers, momentum)
                torch._foreach_add_(buffers, added, alpha=1 - group["dampening"])
            for state, grad in zip(states, grads, strict=True):
                if not state:
                    state["momentum_buffer"] = grad.clone()
            buffers = [state["momentum_buffer"] for state in states]
            nesterov = group["nesterov"]
            grads = [*torch._foreach_add(grads, buffers, alpha=momentum)] if nesterov else buffers
        torch._foreach_add_(params, grads, alpha=-group["lr"])


class Adam(Optimizer):
    """Adam: `p = p - lr m^ / (sqrt(v^) + eps)`.

    `m` and `v` are running means of `g` and `g**2`, `m^` and `v^` the same corrected for their
    start.

    Source: Kingma and Ba 2015, algorithm 1, bias correction as `torch.optim.Adam` does it;
    `amsgrad` after Reddi et al. 2018.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, eps, weight_decay : float
    betas : tuple of two floats in [0, 1)
    amsgrad : bool
        Whether the greatest `v` so far takes the place of `v`.
    maximize : bool
        Whether to go up, not down.
    decoupled_weight_decay : bool
        Whether `p = p (1 - lr weight_decay)` takes the place of `g = g + weight_decay p`.

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or lr, eps or
        weight_decay is negative, or betas are not two numbers in [0, 1).
    TypeError
        If `params` is a Tensor or holds something that is none, or an option is no number.
    """

    _checks: ClassVar[Mapping[str, Option]] = {
        "lr": check_not_negative,
        "betas": _check_betas,
        "eps": check_not_negative,
        "weight_decay": check_not_negative,
        "amsgrad": _check_switch,
        "maximize": _check_switch,
        "decoupled_weight_decay": _check_switch,
    }
    _later: ClassVar[Mapping[str, bool]] = {
        "maximize": False,
        "amsgrad": False,
        "decoupled_weight_decay": False,
    }
    _entries = ("step", "exp_avg", "exp_avg_sq")
    _more = ("max_exp_avg_sq",)

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        values = (lr, betas, eps, weight_decay, amsgrad, maximize, decoupled_weight_decay)
        super().__init__(params, dict(zip(self._checks, values, strict=True)))

    def _update(
        self, params: list[Tensor], grads: list[Tensor], states: _States, group: _Group
    ) -> None:
        beta1, beta2 = group["betas"]
        steps = _counted(states)
        means, squares = _kept(states, "exp_avg", params), _kept(states, "exp_avg_sq", params)
        if group["decoupled_weight_decay"] and group["weight_decay"]:
            torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])  # optim-13
        torch._foreach_lerp_(means, grads, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - beta2)
        if group["amsgrad"]:
            greatest = _kept(states, "max_exp_avg_sq", params)
            torch._foreach_maximum_(greatest, squares)
            squares = greatest
        roots = torch._foreach_sqrt(squares)
        torch._foreach_div_(roots, [math.sqrt(1 - beta2**step) for step in steps])
        torch._foreach_add_(roots, group["eps"])
        rates = [-group["lr"] / (1 - beta1**step) for step in steps]
        torch._foreach_addcdiv_(params, means, roots, rates)


class AdamW(Adam):
    """Adam with decoupled weight decay: `p = p (1 - lr weight_decay)` before each step.

    Source: Loshchilov and Hutter 2019, as `torch.optim.AdamW`.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, eps, weight_decay : float
    betas : tuple of two floats in [0, 1)
    amsgrad : bool
        Whether the greatest `v` so far takes the place of `v`.
    maximize : bool
        Whether to go up, not down.

    Raises
    ------
    ValueError, TypeError
        As `Adam`.
    """

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        options = {"maximize": maximize, "decoupled_weight_decay": True}
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, **options)

    def _checked(self, name: str, group: _Group) -> dict[str, Any]:
        return super()._checked(name, {**group, "decoupled_weight_decay": True})  # optim-13


class RMSprop(Optimizer):
    """RMSprop: `p = p - lr g / (sqrt(v) + eps)`, `v` being a running mean of `g**2`.

    Source: Hinton 2012, lecture 6, as `torch.optim.RMSprop`.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, alpha, eps, weight_decay, momentum : float
        With momentum, `b = momentum b + g / (sqrt(v) + eps)` and `p = p - lr b`.
    centered : bool
        Whether the square of the running mean of `g` is taken off `v`.
    maximize : bool
        Whether to go up, not down.

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or an option is negative.
    TypeError
        If `params` is a Tensor or holds something that is none, or an option is no number.
    """

    _checks: ClassVar[Mapping[str, Option]] = {
        "lr": check_not_negative,
        "alpha": check_not_negative,
        "eps": check_not_negative,
        "weight_decay": check_not_negative,
        "momentum": check_not_negative,
        "centered": _check_switch,
        "maximize": _check_switch,
    }
    _entries = ("step", "square_avg")
    _more = ("momentum_buffer", "grad_avg")

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        values = (lr, alpha, eps, weight_decay, momentum, centered, maximize)
        super().__init__(params, dict(zip(self._checks, values, strict=True)))

    def _update(
        self, params: list[Tensor], grads: list[Tensor], states: _States, group: _Group
    ) -> None:
        alpha = group["alpha"]
        _counted(states)
        squares = _kept(states, "square_avg", params)
        torch._foreach_mul_(squares, alpha)
        torch._foreach_addcmul_(squares, grads, grads, 1 - alpha)
        if group["centered"]:
            means = _kept(states, "grad_avg", params)
            torch._foreach_lerp_(means, grads, 1 - alpha)
            roots = torch._foreach_addcmul(squares, means, means, -1)
            torch._foreach_sqrt_(roots)
        else:
            roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        if group["momentum"]:
            buffers = _kept(states, "momentum_buffer", params)
            torch._foreach_mul_(buffers, group["momentum"])
            torch._foreach_addcdiv_(buffers, grads, roots)
            torch._foreach_add_(params, buffers, alpha=-group["lr"])
        else:
            torch._foreach_addcdiv_(params, grads, roots, -group["lr"])


class Adagrad(Optimizer):
    """Adagrad: `p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)`, `v` the sum of `g**2`.

    Source: Duchi et al. 2011, as `torch.optim.Adagrad`.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, lr_decay, weight_decay, eps : float
    initial_accumulator_value : float
        What `v` starts at.
    maximize : bool
        Whether to go up, not down.

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or an option is negative.
    TypeError
        If `params` is a Tensor or holds something that is none, or an option is no number.
    """

    _checks: ClassVar[Mapping[str, Option]] = {
        "lr": check_not_negative,
        "lr_decay": check_not_negative,
        "weight_decay": check_not_negative,
        "initial_accumulator_value": check_not_negative,
        "eps": check_not_negative,
        "maximize": _check_switch,
    }
    _entries = ("step", "sum")

    def __init__(
        self,
        params: _Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        values = (lr, lr_decay, weight_decay, initial_accumulator_value, eps, maximize)
        super().__init__(params, dict(zip(self._checks, values, strict=True)))

    def _update(
        self, params: list[Tensor], grads: list[Tensor], states: _States, group: _Group
    ) -> None:
        steps = _counted(states)
        sums = _kept(states, "sum", params, group["initial_accumulator_value"])
        torch._foreach_addcmul_(sums, grads, grads)
        roots = torch._foreach_sqrt(sums)
        torch._foreach_add_(roots, group["eps"])
        rates = [-group["lr"] / (1 + (step - 1) * group["lr_decay"]) for step in steps]
        torch._foreach_addcdiv_(params, grads, roots, rates)
