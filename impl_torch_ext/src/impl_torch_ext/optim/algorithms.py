"""The algorithms. The numbers of each step are torch's."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_at_least_zero, check_flag, check_number, shown
from impl_torch_ext.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam"]


class SGD(Optimizer):
    """Stochastic gradient descent: `b = momentum b + (1 - dampening) g`, `p = p - lr b`.

    Source: the page of `torch.optim.SGD`; `nesterov` after Sutskever et al. 2013.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, momentum, dampening, weight_decay : float
    nesterov : bool

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or lr, momentum or
        weight_decay is negative, or nesterov is asked for without momentum or with dampening.
    TypeError
        If `params` is a Tensor or holds something that is none.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    _entries = ("momentum_buffer",)

    def _checked(self, name: str, group: Mapping[str, Any]) -> dict[str, Any]:
        options = super()._checked(name, group)
        momentum = options["momentum"] = check_at_least_zero(name, "momentum", group["momentum"])
        dampening = options["dampening"] = check_number(name, "dampening", group["dampening"])
        options["nesterov"] = check_flag(name, "nesterov", group["nesterov"])
        if options["nesterov"] and (momentum <= 0 or dampening != 0):
            msg = (
                f"{name}: nesterov=True needs a positive momentum and no dampening, "
                f"got momentum={momentum}, dampening={dampening}"
            )
            raise ValueError(msg)
        return options

    def _update(
        self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]
    ) -> None:
        momentum = group["momentum"]
        if group["weight_decay"]:
            grad = grad.add(p, alpha=group["weight_decay"])
        if momentum:
            if "momentum_buffer" not in state:
                buffer = state["momentum_buffer"] = grad.clone()
            else:
                buffer = (
                    state["momentum_buffer"].mul_(momentum).add_(grad, alpha=1 - group["dampening"])
                )
            grad = grad.add(buffer, alpha=momentum) if group["nesterov"] else buffer
        p.add_(grad, alpha=-group["lr"])


class Adam(Optimizer):
    """Adam: `p = p - lr m^ / (sqrt(v^) + eps)`.

    `m` and `v` are running means of `g` and `g**2`, `m^` and `v^` the same corrected for their
    start.

    Source: Kingma and Ba 2015, algorithm 1, bias correction as `torch.optim.Adam` does it.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key `params` and any options
    lr, eps, weight_decay : float
    betas : tuple of two floats in [0, 1)

    Raises
    ------
    ValueError
        If there are no parameters, one comes twice or is no leaf, or lr, eps or
        weight_decay is negative, or betas are not two numbers in [0, 1).
    TypeError
        If `params` is a Tensor or holds something that is none.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    _entries = ("step", "exp_avg", "exp_avg_sq")

    def _checked(self, name: str, group: Mapping[str, Any]) -> dict[str, Any]:
        options = super()._checked(name, group)
        options["eps"] = check_at_least_zero(name, "eps", group["eps"])
        betas = group["betas"]
        if not isinstance(betas, tuple | list) or len(betas) != 2:
            msg = f"{name}: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        options["betas"] = tuple(check_number(name, "each of betas", beta) for beta in betas)
        if not all(0 <= beta < 1 for beta in options["betas"]):
            msg = f"{name}: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        return options

    def _update(
        self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]
    ) -> None:
        beta1, beta2 = group["betas"]
        if group["weight_decay"]:
            grad = grad.add(p, alpha=group["weight_decay"])
        if not state:
            state.update(step=0, exp_avg=torch.zeros_like(p), exp_avg_sq=torch.zeros_like(p))
        state["step"] += 1
        mean, square = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(grad, 1 - beta1)
        square.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
        step_size = group["lr"] / (1 - beta1 ** state["step"])
        denominator = (square.sqrt() / math.sqrt(1 - beta2 ** state["step"])).add_(group["eps"])
        p.addcdiv_(mean, denominator, value=-step_size)
