"""The algorithms: what a step does to one Parameter."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from impl_numpy.checks import check_flag, shown
from impl_numpy.dtypes import Array
from impl_numpy.optim.optimizer import Group, Optimizer


class SGD(Optimizer):
    """Descend the gradient, with momentum as torch has it (Sutskever et al. 2013).

    Parameters
    ----------
    params : iterable
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
        Wants momentum, and no dampening.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, an option is negative, or nesterov
        comes without momentum or with dampening.
    TypeError
        If something is no Tensor.
    """

    _entries = ("momentum_buffer",)
    _least_zero = ("lr", "momentum", "weight_decay")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, defaults)

    def _plain(self, group: Group) -> Group:
        plain = super()._plain(group)
        momentum = plain["momentum"]
        dampening = plain["dampening"] = self._number("dampening", group["dampening"])
        nesterov = plain["nesterov"] = check_flag("SGD", "nesterov", group["nesterov"])
        if nesterov and (momentum <= 0 or dampening != 0):
            msg = (
                "SGD: nesterov wants momentum above 0 and dampening 0, "
                f"got momentum = {momentum}, dampening = {dampening}"
            )
            raise ValueError(msg)
        return plain

    def _update(self, p: Array, grad: Array, state: dict[str, Any], group: Group) -> Array:
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p
        if momentum:
            velocity = state.get("momentum_buffer")
            if velocity is None:
                velocity = grad.copy()
            else:
                velocity = momentum * velocity + (1 - group["dampening"]) * grad
            state["momentum_buffer"] = velocity
            grad = grad + momentum * velocity if group["nesterov"] else velocity
        return p - group["lr"] * grad


class Adam(Optimizer):
    """Follow Adam (Kingma and Ba 2015, algorithm 1), with the bias correction where torch has it.

    Parameters
    ----------
    params : iterable
    lr : float
    betas : tuple of float
        Each in [0, 1).
    eps, weight_decay : float

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, an option is negative, or a beta is
        outside [0, 1).
    TypeError
        If something is no Tensor.
    """

    _entries = ("step", "exp_avg", "exp_avg_sq")
    _scalars = ("step",)
    _least_zero = ("lr", "weight_decay", "eps")

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, defaults)

    def _plain(self, group: Group) -> Group:
        plain = super()._plain(group)
        betas = group["betas"]
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            msg = f"Adam: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        plain["betas"] = tuple([self._number("betas", beta) for beta in betas])
        if not all(0 <= beta < 1 for beta in plain["betas"]):
            msg = f"Adam: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        return plain

    def _update(self, p: Array, grad: Array, state: dict[str, Any], group: Group) -> Array:
        beta1, beta2 = group["betas"]
        if group["weight_decay"]:
            grad = grad + group["weight_decay"] * p
        t = state["step"] = state.get("step", 0) + 1
        m = state.get("exp_avg", np.zeros_like(p))
        v = state.get("exp_avg_sq", np.zeros_like(p))
        m = state["exp_avg"] = m + (1 - beta1) * (grad - m)
        v = state["exp_avg_sq"] = beta2 * v + (1 - beta2) * grad * grad
        denominator = np.sqrt(v) / math.sqrt(1 - beta2**t) + group["eps"]
        return p - group["lr"] / (1 - beta1**t) * (m / denominator)
