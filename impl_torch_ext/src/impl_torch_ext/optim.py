"""Optimizers. The numbers of each step are torch's."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["SGD", "Adam", "Optimizer"]


class Optimizer:
    """What optimizers share: parameter groups, their checks, and their state.

    Attributes
    ----------
    param_groups : list of dict
        Each with the key ``params`` and one for each option; the next step obeys a change.
    state : dict
        From Parameters to dicts of what a step keeps for the next.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Tensor | str):
            msg = (
                f"{name}: params must be an iterable of Tensors or dicts, got "
                f"{type(params).__name__}"
            )
            raise TypeError(msg)
        items = list(params)
        if not items:
            msg = f"{name}: params must not be empty, got []"
            raise ValueError(msg)
        if not any(isinstance(item, Mapping) for item in items):
            items = [{"params": items}]
        self.state: dict[Tensor, dict[str, Any]] = {}
        self.param_groups = [self._group(name, item, defaults) for item in items]
        every = [p for group in self.param_groups for p in group["params"]]
        if len({id(p) for p in every}) < len(every):
            msg = f"{name}: params must hold each Tensor once, got {len(every)} with repetitions"
            raise ValueError(msg)

    def step(self) -> None:
        """Change every parameter that has a gradient, in place; nothing is recorded."""
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p.grad is not None:
                        self._update(p, p.grad.detach(), group, self.state.setdefault(p, {}))

    def zero_grad(self) -> None:
        """Make every ``grad`` None."""
        for group in self.param_groups:
            for p in group["params"]:
                p.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Return copies of the state and the groups, with numbers in the place of parameters."""
        numbers = {p: i for i, p in enumerate(self._params())}
        return {
            "state": {numbers[p]: _copied(kept) for p, kept in self.state.items()},
            "param_groups": [
                {**group, "params": [numbers[p] for p in group["params"]]}
                for group in self.param_groups
            ],
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the state of another optimizer.

        Parameters
        ----------
        state_dict : mapping
            What `state_dict` returned.

        Raises
        ------
        ValueError
            If it has another number of groups or parameters; nothing has been changed then.
        """
        name = type(self).__name__
        groups = state_dict["param_groups"]
        counts = [len(group["params"]) for group in groups]
        own = [len(group["params"]) for group in self.param_groups]
        if counts != own:
            msg = f"{name}.load_state_dict: the groups must have {own} parameters, got {counts}"
            raise ValueError(msg)
        params = self._params()
        numbers = [i for group in groups for i in group["params"]]
        places = dict(zip(numbers, params, strict=True))
        unknown = [i for i in state_dict["state"] if i not in places]
        if unknown:
            msg = (
                f"{name}.load_state_dict: there is state for parameters {unknown}, but only "
                f"{numbers} are in the groups"
            )
            raise ValueError(msg)
        self.state = {places[i]: _copied(kept) for i, kept in state_dict["state"].items()}
        self.param_groups = [
            {**group, "params": mine["params"]}
            for group, mine in zip(groups, self.param_groups, strict=True)
        ]

    def _update(
        self, p: Tensor, grad: Tensor, group: dict[str, Any], state: dict[str, Any]
    ) -> None:
        raise NotImplementedError

    def _check(self, name: str, group: dict[str, Any]) -> None:
        """Raise a ValueError if an option of ``group`` is out of range."""
        _at_least_zero(name, group, "lr", "weight_decay")

    def _params(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _group(self, name: str, item: Any, defaults: dict[str, Any]) -> dict[str, Any]:
        if not isinstance(item, Mapping):
            msg = (
                f"{name}: params must be Tensors or dicts, not both, got {type(item).__name__} "
                "among dicts"
            )
            raise TypeError(msg)
        if "params" not in item:
            msg = f"{name}: a parameter group needs the key 'params', got {sorted(item)}"
            raise ValueError(msg)
        given = item["params"]
        params = [given] if isinstance(given, Tensor) else list(given)
        for p in params:
            if not isinstance(p, Tensor):
                msg = f"{name}: params must be Tensors, got {type(p).__name__}"
                raise TypeError(msg)
            if not p.is_leaf:
                msg = (
                    f"{name}: params must be leaves, got the result of an operation of shape "
                    f"{tuple(p.shape)}"
                )
                raise ValueError(msg)
        if not params:
            msg = f"{name}: params must not be empty, got []"
            raise ValueError(msg)
        group = {**defaults, **item, "params": params}
        self._check(name, group)
        return group


class SGD(Optimizer):
    """Stochastic gradient descent: ``b = momentum b + (1 - dampening) g``, ``p = p - lr b``.

    Source: the page of `torch.optim.SGD`; ``nesterov`` after Sutskever et al. 2013.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key ``params`` and any options
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
        lr: float,
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

    def _check(self, name: str, group: dict[str, Any]) -> None:
        super()._check(name, group)
        _at_least_zero(name, group, "momentum")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            msg = (
                f"{name}: nesterov=True needs a positive momentum and no dampening, "
                f"got momentum={group['momentum']}, dampening={group['dampening']}"
            )
            raise ValueError(msg)

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
    """Adam: ``p = p - lr m^ / (sqrt(v^) + eps)`` with ``m``, ``v`` running means of ``g``,
    ``g**2``, corrected for their start.

    Source: Kingma and Ba 2015, algorithm 1, bias correction as `torch.optim.Adam` does it.

    Parameters
    ----------
    params : iterable of Parameters, or of dicts with the key ``params`` and any options
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

    def _check(self, name: str, group: dict[str, Any]) -> None:
        super()._check(name, group)
        _at_least_zero(name, group, "eps")
        betas = group["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            msg = f"{name}: betas must be two numbers in [0, 1), got {betas}"
            raise ValueError(msg)

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


def _at_least_zero(name: str, group: dict[str, Any], *keys: str) -> None:
    for key in keys:
        if not group[key] >= 0:
            msg = f"{name}: {key} must be at least 0, got {group[key]}"
            raise ValueError(msg)


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.clone() if isinstance(value, Tensor) else value for key, value in state.items()
    }
