"""Optimizers: they change Parameters in place and record nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from impl_numpy.module import overwrite
from impl_numpy.tape import Array
from impl_numpy.tensor import Tensor, wrap

Group = dict[str, Any]


class Optimizer:
    """Parameters in groups, each with its options, and the state that belongs to each Parameter.

    Parameters
    ----------
    params : iterable of Parameter, or of dicts with the key "params" and options
    defaults : dict
        The options of a group that does not have its own.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, or an option is out of range.
    TypeError
        If something is no Tensor.
    """

    param_groups: list[Group]

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        name = type(self).__name__
        if isinstance(params, (Tensor, Mapping)):
            msg = (
                f"{name}: params must be an iterable of Parameters, got one {type(params).__name__}"
            )
            raise TypeError(msg)
        given = list(params)
        if not given:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        groups = given if all(isinstance(g, Mapping) for g in given) else [{"params": given}]
        self.param_groups = [self._group(defaults, group) for group in groups]
        everything = [id(p) for p in self._params()]
        if len(set(everything)) < len(everything):
            msg = f"{name}: params must hold each Parameter once, got one twice"
            raise ValueError(msg)
        self._state: dict[int, dict[str, Any]] = {}

    def _group(self, defaults: Group, given: Mapping[str, Any]) -> Group:
        params = given["params"]
        members = [params] if isinstance(params, Tensor) else list(params)
        for p in members:
            if not isinstance(p, Tensor):
                msg = f"{type(self).__name__}: params must be Tensors, got {type(p).__name__}"
                raise TypeError(msg)
            if not p.is_leaf:
                msg = (
                    f"{type(self).__name__}: params: can't optimize a Tensor that is no leaf, "
                    f"got what {p.grad_fn} made; give the Parameter itself"
                )
                raise ValueError(msg)
        group = {**defaults, **given, "params": members}
        self._check(group)
        return group

    def _check(self, group: Group) -> None:
        for name in ("lr", "momentum", "weight_decay", "eps"):
            if name in group and not group[name] >= 0:
                msg = f"{type(self).__name__}: {name} must not be negative, got {group[name]}"
                raise ValueError(msg)

    def _update(self, p: Array, grad: Array, state: dict[str, Any], group: Group) -> Array:
        """The new values of one Parameter."""
        raise NotImplementedError

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def step(self) -> None:
        """Change every Parameter that has a gradient."""
        k = 0
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    state = self._state.setdefault(k, {})
                    overwrite(p, self._update(p.data, p.grad.data, state, group))
                k += 1

    def zero_grad(self) -> None:
        """Make the `grad` of every Parameter None."""
        for p in self._params():
            p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """The state by position of the Parameter, and the options of each group."""
        counts = iter(range(len(self._params())))
        groups = [
            {**group, "params": [next(counts) for _ in group["params"]]}
            for group in self.param_groups
        ]
        return {"state": _copied(self._state, _out), "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from another optimizer's state.

        Raises
        ------
        ValueError
            If it has another number of groups or parameters; nothing has changed then.
        """
        groups = state_dict["param_groups"]
        wanted = [len(group["params"]) for group in self.param_groups]
        got = [len(group["params"]) for group in groups]
        if wanted != got:
            name = type(self).__name__
            msg = f"{name}.load_state_dict: groups must hold {wanted} parameters, got {got}"
            raise ValueError(msg)
        self._state = _copied(state_dict["state"], _in)
        for group, other in zip(self.param_groups, groups, strict=True):
            group.update({key: value for key, value in other.items() if key != "params"})


class SGD(Optimizer):
    """Gradient descent, with momentum as torch has it (Sutskever et al. 2013, but for lr's place).

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

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
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

    def _check(self, group: Group) -> None:
        super()._check(group)
        momentum, dampening = group["momentum"], group["dampening"]
        if group["nesterov"] and (momentum <= 0 or dampening != 0):
            msg = (
                "SGD: nesterov wants momentum above 0 and dampening 0, "
                f"got momentum = {momentum}, dampening = {dampening}"
            )
            raise ValueError(msg)

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
    """Adam (Kingma and Ba 2015, algorithm 1), with the bias correction where torch has it.

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

    def _check(self, group: Group) -> None:
        super()._check(group)
        if len(group["betas"]) != 2 or not all(0 <= beta < 1 for beta in group["betas"]):
            msg = f"Adam: betas must be two numbers in [0, 1), got {group['betas']}"
            raise ValueError(msg)

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


def _copied(state: Mapping[int, Mapping[str, Any]], convert: Any) -> dict[int, dict[str, Any]]:
    return {
        int(k): {name: convert(value) for name, value in entries.items()}
        for k, entries in state.items()
    }


def _out(value: Any) -> Any:
    return wrap(value.copy(), None) if isinstance(value, np.ndarray) else value


def _in(value: Any) -> Any:
    if isinstance(value, Tensor):
        value = value.data
    return value.copy() if isinstance(value, np.ndarray) else value
