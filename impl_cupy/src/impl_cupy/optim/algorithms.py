"""The optimizers; a step for one Parameter is one kernel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.checks import check_bool, check_number, shown
from impl_cupy.launch import launch
from impl_cupy.optim.optimizer import Group, Optimizer
from impl_cupy.tape import RawArray


class SGD(Optimizer):
    """Stochastic gradient descent, as ``torch.optim.SGD`` has it.

    ``p -= lr d`` with ``d = grad + weight_decay p``. With momentum
    ``v = momentum v + (1 - dampening) d``, the first time ``v = d``, and then v, or
    ``d + momentum v`` if nesterov, takes the place of d.

    Parameters
    ----------
    params : iterable of Parameter, or of dict with ``params`` and options
    lr, momentum, dampening, weight_decay : float
    nesterov : bool

    Raises
    ------
    ValueError
        If an option is out of range, or nesterov comes without momentum or with dampening.
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
        options = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
        }
        super().__init__(params, options)

    _entries = ("momentum_buffer",)

    def _check_options(self, options: Mapping[str, Any]) -> None:
        self._check_at_least_zero(options, "lr", "momentum", "weight_decay")
        self._check_number(options, "dampening")
        nesterov = check_bool("SGD", "nesterov", self._option(options, "nesterov"))
        if nesterov and (options["momentum"] <= 0 or options["dampening"] != 0):
            msg = (
                f"SGD: nesterov={options['nesterov']} needs momentum above 0 and no dampening, got "
                f"momentum={options['momentum']}, dampening={options['dampening']}"
            )
            raise ValueError(msg)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        momentum = float(group["momentum"])
        first = "momentum_buffer" not in state
        if momentum and first:
            state["momentum_buffer"] = cp.empty(raw.shape, dtype=raw.dtype)
        velocity = _of_dtype(state, "momentum_buffer", raw) if momentum else raw
        launch(
            "optim",
            "sgd_step",
            raw.dtype,
            raw.size,
            raw,
            grad,
            velocity,
            float(group["lr"]),
            momentum,
            float(group["dampening"]),
            float(group["weight_decay"]),
            bool(group["nesterov"]),
            first,
        )


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

    Raises
    ------
    ValueError
        If an option is out of range.
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
    _is_whole = True

    def _check_options(self, options: Mapping[str, Any]) -> None:
        self._check_at_least_zero(options, "lr", "eps", "weight_decay")
        betas = self._option(options, "betas")
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            msg = f"Adam: betas must be a pair of numbers, got {shown(betas)}"
            raise TypeError(msg)
        for beta in betas:
            check_number("Adam", "betas", beta)
            if not 0 <= beta < 1:
                msg = f"Adam: betas must be two numbers in [0, 1), got {betas}"
                raise ValueError(msg)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: Group) -> None:
        if not state:
            state["step"] = 0
            state["exp_avg"] = cp.zeros(raw.shape, dtype=raw.dtype)
            state["exp_avg_sq"] = cp.zeros(raw.shape, dtype=raw.dtype)
        state["step"] += 1
        beta1, beta2 = map(float, group["betas"])
        launch(
            "optim",
            "adam_step",
            raw.dtype,
            raw.size,
            raw,
            grad,
            _of_dtype(state, "exp_avg", raw),
            _of_dtype(state, "exp_avg_sq", raw),
            beta1,
            1 - beta1,
            beta2,
            1 - beta2,
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["lr"]) / (1 - beta1 ** state["step"]),
            math.sqrt(1 - beta2 ** state["step"]),
        )


def _of_dtype(state: dict[str, Any], name: str, raw: RawArray) -> RawArray:
    """Return an array of the state, converted if its Parameter was."""
    if state[name].dtype != raw.dtype:
        state[name] = state[name].astype(raw.dtype)
    return state[name]
