"""Optimizers.

The update of all parameters of a group is one function compiled by ``jax.jit``; rates and other
numbers are its inputs, so changing them compiles nothing.
"""

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .tape import Traced, constant
from .tensor import Tensor

Array = Any
Group = dict[str, Any]


class Optimizer:
    """Parameters in groups, and the state that steps keep of each.

    Attributes
    ----------
    param_groups : list of dict
        Each has ``params`` and its options; a change is obeyed by the next step.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        name = type(self).__name__
        if isinstance(params, Traced):
            msg = f"{name}: params must be an iterable, got a Tensor; put it in a list"
            raise TypeError(msg)
        listed = list(params)
        if not listed:
            msg = f"{name}: params is empty, got {listed}, wanted at least one Parameter"
            raise ValueError(msg)
        given = listed if isinstance(listed[0], dict) else [{"params": listed}]
        groups: list[Group] = []
        seen: set[int] = set()
        for group in given:
            groups.append(self._checked_group(group, defaults, seen))
        self.param_groups = groups
        self._state: dict[int, dict[str, Any]] = {}

    def _checked_group(self, group: Any, defaults: dict[str, Any], seen: set[int]) -> Group:
        name = type(self).__name__
        if not isinstance(group, dict) or "params" not in group:
            came = type(group).__name__
            msg = f"{name}: a parameter group must be a dict with the key params, got {came}"
            raise TypeError(msg)
        params = [group["params"]] if isinstance(group["params"], Traced) else list(group["params"])
        if not params:
            msg = f"{name}: params of a group is empty, got {params}"
            raise ValueError(msg)
        for param in params:
            if not isinstance(param, Tensor):
                msg = f"{name}: params must hold Tensors, got {type(param).__name__}"
                raise TypeError(msg)
            if param._node is not None:
                msg = f"{name}: params must be leaves, got the result of an operation"
                raise ValueError(msg)
            if id(param) in seen:
                msg = f"{name}: params holds a Parameter of shape {param.shape} twice"
                raise ValueError(msg)
            seen.add(id(param))
        whole = {"params": params} | {k: group.get(k, v) for k, v in defaults.items()}
        self._check(whole)
        return whole

    def _check(self, options: Mapping[str, Any]) -> None:
        raise NotImplementedError

    def _update(self, group: Group, params: list[Any]) -> None:
        raise NotImplementedError

    def _refuse(self, argument: str, value: Any, wanted: str) -> None:
        msg = f"{type(self).__name__}: {argument} must be {wanted}, got {value}"
        raise ValueError(msg)

    def zero_grad(self) -> None:
        """Make every `grad` None."""
        for group in self.param_groups:
            for param in group["params"]:
                param.grad = None

    def step(self) -> None:
        """Change each Parameter that has a `grad`; objects and dtypes stay, nothing is recorded."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param._grad is not None]
            if params:
                self._update(group, params)

    def _held(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        return [self._state.setdefault(id(param), {}) for param in params]

    def state_dict(self) -> dict[str, Any]:
        """Return the options and the state with numbers in the place of Parameters."""
        groups, state, count = [], {}, 0
        for group in self.param_groups:
            numbers = list(range(count, count + len(group["params"])))
            count += len(numbers)
            for number, param in zip(numbers, group["params"], strict=True):
                if id(param) in self._state:
                    state[number] = dict(self._state[id(param)])
            groups.append({**group, "params": numbers})
        return {"state": state, "param_groups": copy.deepcopy(groups)}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over the options and the state of an optimizer of the same form.

        Raises
        ------
        ValueError
            If the number of groups or of parameters differs, or a state's shape; nothing is
            changed then.
        """
        name = type(self).__name__
        groups, state = state_dict["param_groups"], state_dict["state"]
        theirs = [len(group["params"]) for group in groups]
        ours = [len(group["params"]) for group in self.param_groups]
        if theirs != ours:
            msg = f"{name}: the state has groups of {theirs} parameters, this optimizer has {ours}"
            raise ValueError(msg)
        loaded: dict[int, dict[str, Any]] = {}
        for mine, other in zip(self.param_groups, groups, strict=True):
            for param, number in zip(mine["params"], other["params"], strict=True):
                entry = dict(state.get(number, {}))
                for key, value in entry.items():
                    if isinstance(value, jax.Array) and value.shape not in ((), param.shape):
                        msg = (
                            f"{name}: state {key!r} of parameter {number} has shape {value.shape}, "
                            f"the Parameter has {param.shape}"
                        )
                        raise ValueError(msg)
                if entry:
                    loaded[id(param)] = entry
        for mine, other in zip(self.param_groups, groups, strict=True):
            mine.update({k: copy.deepcopy(v) for k, v in other.items() if k != "params"})
        self._state = loaded


def _number(value: Any) -> float:
    return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent (the page of ``torch.optim.SGD``).

    ``g = grad + weight_decay * p``; with momentum ``b = momentum * b + (1 - dampening) * g`` (the
    first ``b`` is ``g``) and ``g = g + momentum * b`` (nesterov) or ``g = b``; ``p = p - lr * g``.

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or nesterov has no momentum or dampening.
    TypeError
        If something in `params` is no Tensor.
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

    def _check(self, options: Mapping[str, Any]) -> None:
        for argument in ("lr", "momentum", "weight_decay"):
            if not options[argument] >= 0:
                self._refuse(argument, options[argument], "at least 0")
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            came = f"{options['nesterov']} with momentum={options['momentum']}"
            came += f", dampening={options['dampening']}"
            self._refuse("nesterov", came, "False unless momentum is positive and dampening 0")

    def _update(self, group: Group, params: list[Any]) -> None:
        states = self._held(params)
        fresh = tuple("momentum_buffer" not in state for state in states)
        kinds = (group["momentum"] != 0, group["weight_decay"] != 0, bool(group["nesterov"]), fresh)
        numbers = [_number(group[k]) for k in ("lr", "momentum", "dampening", "weight_decay")]
        buffers = [state.get("momentum_buffer") for state in states]
        news, buffers = _sgd(kinds)(_data(params), _grads(params), buffers, numbers)
        for param, state, new, buffer in zip(params, states, news, buffers, strict=True):
            param._data = new
            if buffer is not None:
                state["momentum_buffer"] = buffer


def _data(params: list[Any]) -> list[Array]:
    return [param._data for param in params]


def _grads(params: list[Any]) -> list[Array]:
    return [constant(param._grad._data) for param in params]


@functools.cache
def _sgd(kinds: tuple[bool, bool, bool, tuple[bool, ...]]) -> Callable[..., Any]:
    has_momentum, has_decay, nesterov, fresh = kinds

    @jax.jit
    def update(params: Any, grads: Any, buffers: Any, numbers: Any) -> Any:
        lr, momentum, dampening, decay = numbers
        news, kept = [], []
        for p, g, buffer, is_fresh in zip(params, grads, buffers, fresh, strict=True):
            if has_decay:
                g = g + decay * p
            if has_momentum:
                buffer = g if is_fresh else momentum * buffer + (1 - dampening) * g
                g = g + momentum * buffer if nesterov else buffer
            news.append(p - lr * g)
            kept.append(buffer)
        return news, kept

    return update


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1; the page of ``torch.optim.Adam``).

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g²``,
    ``p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)``.

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or a beta is outside [0, 1).
    TypeError
        If something in `params` is no Tensor.
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

    def _check(self, options: Mapping[str, Any]) -> None:
        for argument in ("lr", "eps", "weight_decay"):
            if not options[argument] >= 0:
                self._refuse(argument, options[argument], "at least 0")
        betas = options["betas"]
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            self._refuse("betas", betas, "two numbers in [0, 1)")

    def _update(self, group: Group, params: list[Any]) -> None:
        states = self._held(params)
        for param, state in zip(params, states, strict=True):
            if not state:
                zeros = jnp.zeros_like(param._data)
                state.update(step=0, exp_avg=zeros, exp_avg_sq=zeros)
        beta1, beta2 = group["betas"]
        steps = [state["step"] + 1 for state in states]
        rates = [_number(group["lr"]) / (1 - beta1**t) for t in steps]
        roots = [(1 - beta2**t) ** 0.5 for t in steps]
        numbers = [_number(v) for v in (beta1, beta2, group["eps"], group["weight_decay"])]
        moments = [(state["exp_avg"], state["exp_avg_sq"]) for state in states]
        update = _adam(group["weight_decay"] != 0)
        news, moments = update(_data(params), _grads(params), moments, rates, roots, numbers)
        for param, state, new, (m, v), t in zip(params, states, news, moments, steps, strict=True):
            param._data = new
            state.update(step=t, exp_avg=m, exp_avg_sq=v)


@functools.cache
def _adam(has_decay: bool) -> Callable[..., Any]:
    @jax.jit
    def update(params: Any, grads: Any, moments: Any, rates: Any, roots: Any, numbers: Any) -> Any:
        beta1, beta2, eps, decay = numbers
        news, kept = [], []
        for p, g, (m, v), rate, root in zip(params, grads, moments, rates, roots, strict=True):
            if has_decay:
                g = g + decay * p
            m = m + (g - m) * (1 - beta1)
            v = beta2 * v + (1 - beta2) * g * g
            news.append(p - rate * (m / (jnp.sqrt(v) / root + eps)))
            kept.append((m, v))
        return news, kept

    return update
