"""Optimizers; a step for one Parameter is one kernel."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.errors import kind_of
from impl_cupy.launch import launch
from impl_cupy.parameter import as_raw
from impl_cupy.tensor import RawArray, Tensor, wrap

_Group = dict[str, Any]


class Optimizer:
    """What optimizers share: groups of Parameters, and the state kept for each.

    Attributes
    ----------
    param_groups : list of dict
        ``params`` and the options of each group; a change is obeyed by the next step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        self._check_options(defaults)
        if isinstance(params, Tensor) or not isinstance(params, Iterable):
            msg = f"{name}: params must be an iterable of Parameters, got {type(params).__name__}"
            raise TypeError(msg)
        given = list(params)
        if not given:
            msg = f"{name}: params must hold at least one Parameter, got an empty list"
            raise ValueError(msg)
        groups = given if isinstance(given[0], dict) else [{"params": given}]
        self.defaults = defaults
        self.param_groups: list[_Group] = []
        self._state: dict[int, dict[str, Any]] = {}
        seen: set[int] = set()
        for group in groups:
            self.param_groups.append(self._group(group, seen))

    def _group(self, group: Any, seen: set[int]) -> _Group:
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            msg = f"{name}: a parameter group must be a dict with the key 'params', got {group!r}"
            raise TypeError(msg)
        params = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        for each in params:
            if not isinstance(each, Tensor):
                msg = f"{name}: params must hold Tensors, got {kind_of(each)}"
                raise TypeError(msg)
            if not each.is_leaf:
                msg = f"{name}: params must hold leaves, got the result of an operation"
                raise ValueError(msg)
            if id(each) in seen:
                msg = f"{name}: params must hold each Parameter once, got one twice"
                raise ValueError(msg)
            seen.add(id(each))
        made = {**self.defaults, **group, "params": params}
        self._check_options(made)
        return made

    def _check_options(self, options: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _check_at_least_zero(self, options: Mapping[str, Any], *names: str) -> None:
        for name in names:
            value = options[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                msg = f"{type(self).__name__}: {name} must be a number, got {value!r}"
                raise TypeError(msg)
            if not value >= 0:
                msg = f"{type(self).__name__}: {name} must not be negative, got {value}"
                raise ValueError(msg)

    def zero_grad(self) -> None:
        """Make the `grad` of every Parameter None."""
        for group in self.param_groups:
            for each in group["params"]:
                each.grad = None

    def step(self) -> None:
        """Update every Parameter that has a `grad`; nothing is recorded."""
        for group in self.param_groups:
            for each in group["params"]:
                if each.grad is not None:
                    self._step_one(each, each.grad, group)

    def _step_one(self, param: Tensor, grad: Tensor, group: _Group) -> None:
        # Kernels need C-contiguous arrays; a Parameter need not have one.
        raw = param._data
        work = cp.ascontiguousarray(raw)
        state = self._state.setdefault(id(param), {})
        self._update(work, cp.ascontiguousarray(grad._data), state, group)
        if work is not raw:
            raw[...] = work

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: _Group) -> None:
        raise NotImplementedError

    def state_dict(self) -> dict[str, Any]:
        """Give copies of the state and the options, Parameters by their number.

        Returns
        -------
        dict
            ``state``: by number a dict of Tensors and ints; ``param_groups``: a list of dicts.
        """
        numbers = {id(each): number for number, each in enumerate(self._params())}
        state = {
            numbers[key]: {name: _exported(value) for name, value in entries.items()}
            for key, entries in self._state.items()
        }
        groups = []
        for group in self.param_groups:
            options = {name: copy.copy(value) for name, value in group.items() if name != "params"}
            groups.append({**options, "params": [numbers[id(each)] for each in group["params"]]})
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what `state_dict` gave; the next step continues with the same numbers.

        Raises
        ------
        ValueError
            If the number of groups or Parameters differs, or a shape; nothing is changed then.
        """
        name = f"{type(self).__name__}.load_state_dict"
        if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
            msg = f"{name}: a mapping with 'state' and 'param_groups' is needed"
            raise ValueError(msg)
        groups = state_dict["param_groups"]
        if len(groups) != len(self.param_groups):
            msg = f"{name}: {len(self.param_groups)} groups are wanted, got {len(groups)}"
            raise ValueError(msg)
        for own, other in zip(self.param_groups, groups, strict=True):
            if len(own["params"]) != len(other["params"]):
                msg = (
                    f"{name}: a group of {len(own['params'])} parameters is wanted, "
                    f"got {len(other['params'])}"
                )
                raise ValueError(msg)
        params = self._params()
        numbers = [number for group in groups for number in group["params"]]
        by_number = dict(zip(numbers, params, strict=True))
        state = {}
        for number, entries in state_dict["state"].items():
            if number not in by_number:
                msg = f"{name}: the state names parameter {number}, which no group has"
                raise ValueError(msg)
            param = by_number[number]
            state[id(param)] = {
                key: _imported(name, key, value, param) for key, value in entries.items()
            }
        merged = []
        for own, other in zip(self.param_groups, groups, strict=True):
            made = {**own, **copy.deepcopy(dict(other)), "params": own["params"]}
            self._check_options(made)
            merged.append(made)
        self._state = state
        self.param_groups = merged

    def _params(self) -> list[Tensor]:
        return [each for group in self.param_groups for each in group["params"]]


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
        lr: float,
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

    def _check_options(self, options: Mapping[str, Any]) -> None:
        self._check_at_least_zero(options, "lr", "momentum", "weight_decay")
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            msg = (
                f"SGD: nesterov={options['nesterov']} needs momentum above 0 and no dampening, got "
                f"momentum={options['momentum']}, dampening={options['dampening']}"
            )
            raise ValueError(msg)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: _Group) -> None:
        momentum = float(group["momentum"])
        first = "velocity" not in state
        if momentum and first:
            state["velocity"] = cp.empty(raw.shape, dtype=raw.dtype)
        velocity = _of_dtype(state, "velocity", raw) if momentum else raw
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

    def _check_options(self, options: Mapping[str, Any]) -> None:
        self._check_at_least_zero(options, "lr", "eps", "weight_decay")
        betas = options["betas"]
        if len(betas) != 2 or not all(0 <= each < 1 for each in betas):
            msg = f"Adam: betas must be two numbers in [0, 1), got {betas}"
            raise ValueError(msg)

    def _update(self, raw: RawArray, grad: RawArray, state: dict[str, Any], group: _Group) -> None:
        if not state:
            state["mean"] = cp.zeros(raw.shape, dtype=raw.dtype)
            state["square"] = cp.zeros(raw.shape, dtype=raw.dtype)
            state["step"] = 0
        state["step"] += 1
        beta1, beta2 = group["betas"]
        launch(
            "optim",
            "adam_step",
            raw.dtype,
            raw.size,
            raw,
            grad,
            _of_dtype(state, "mean", raw),
            _of_dtype(state, "square", raw),
            float(beta1),
            float(1 - beta1),
            float(beta2),
            float(1 - beta2),
            float(group["eps"]),
            float(group["weight_decay"]),
            float(group["lr"] / (1 - beta1 ** state["step"])),
            math.sqrt(1 - beta2 ** state["step"]),
        )


def _of_dtype(state: dict[str, Any], name: str, raw: RawArray) -> RawArray:
    """Give an array of the state, converted if its Parameter was."""
    if state[name].dtype != raw.dtype:
        state[name] = state[name].astype(raw.dtype)
    return state[name]


def _exported(value: Any) -> Any:
    return wrap(value.copy()) if isinstance(value, cp.ndarray) else value


def _imported(operation: str, key: str, value: Any, param: Tensor) -> Any:
    if isinstance(value, int):
        return value
    raw = cp.array(as_raw(f"{operation}: {key}", value), copy=True, order="C")
    if raw.shape != param.shape:
        msg = f"{operation}: {key} must have shape {param.shape}, got {raw.shape}"
        raise ValueError(msg)
    return raw
