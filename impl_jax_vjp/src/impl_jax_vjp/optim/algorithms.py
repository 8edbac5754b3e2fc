"""The algorithms.

The update of all parameters of a group is one function compiled by ``jax.jit``; rates and other
numbers are its inputs, so changing them compiles nothing.
"""

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from ..checks import shown
from ..tape import constant
from .optimizer import Optimizer, State

Array = Any


class SGD(Optimizer):
    """Stochastic gradient descent (the page of ``torch.optim.SGD``).

    ``g = grad + weight_decay * p``; with momentum ``b = momentum * b + (1 - dampening) * g`` (the
    first ``b`` is ``g``) and ``g = g + momentum * b`` (nesterov) or ``g = b``; ``p = p - lr * g``.

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or nesterov has no momentum or dampening.
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    _entries = frozenset({"momentum_buffer"})

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

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        options = {
            "lr": self._number(group, "lr"),
            "momentum": self._number(group, "momentum"),
            "dampening": self._number(group, "dampening", least=None),
            "weight_decay": self._number(group, "weight_decay"),
            "nesterov": self._flag(group, "nesterov"),
        }
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            came = f"{options['nesterov']} with momentum={options['momentum']}"
            came += f", dampening={options['dampening']}"
            self._refuse("nesterov", came, "False unless momentum is positive and dampening 0")
        return options

    def _update(self, options: Mapping[str, Any], params: list[Any], states: list[State]) -> None:
        fresh = tuple(["momentum_buffer" not in state for state in states])
        uses = (options["momentum"] != 0, options["weight_decay"] != 0, options["nesterov"], fresh)
        numbers = [float(options[k]) for k in ("lr", "momentum", "dampening", "weight_decay")]
        buffers = [state.get("momentum_buffer") for state in states]
        news, buffers = _sgd(uses)(_data(params), _grads(params), buffers, numbers)
        for param, state, new, buffer in zip(params, states, news, buffers, strict=True):
            param._data = new
            if buffer is not None:
                state["momentum_buffer"] = buffer


def _data(params: list[Any]) -> list[Array]:
    return [param._data for param in params]


def _grads(params: list[Any]) -> list[Array]:
    return [constant(param._grad._data) for param in params]


@functools.cache
def _sgd(uses: tuple[bool, bool, bool, tuple[bool, ...]]) -> Callable[..., Any]:
    has_momentum, has_decay, nesterov, fresh = uses

    @jax.jit
    def update(params: Any, grads: Any, buffers: Any, numbers: Any) -> Any:
        lr, momentum, dampening, decay = numbers
        news, kept = [], []
        for p, g, buffer, is_fresh in zip(params, grads, buffers, fresh, strict=True):
            g = g.astype(p.dtype)
            if has_decay:
                g = g + decay * p
            if has_momentum:
                buffer = buffer if is_fresh else buffer.astype(p.dtype)
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
        If something in `params` is no Tensor, or an option is no number.
    """

    _entries = frozenset({"step", "exp_avg", "exp_avg_sq"})

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

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "lr": self._number(group, "lr"),
            "betas": self._betas(group["betas"]),
            "eps": self._number(group, "eps"),
            "weight_decay": self._number(group, "weight_decay"),
        }

    def _betas(self, betas: Any) -> tuple[float, float]:
        listed = isinstance(betas, tuple | list)
        numbers = [self._plain("each of betas", beta) for beta in betas] if listed else []
        if len(numbers) != 2 or not all([0 <= beta < 1 for beta in numbers]):
            self._refuse("betas", shown(betas), "two numbers in [0, 1)")
        return numbers[0], numbers[1]

    def _update(self, options: Mapping[str, Any], params: list[Any], states: list[State]) -> None:
        for param, state in zip(params, states, strict=True):
            if not state:
                zeros = jnp.zeros_like(param._data)
                state.update(step=0, exp_avg=zeros, exp_avg_sq=zeros)
        beta1, beta2 = options["betas"]
        steps = [state["step"] + 1 for state in states]
        rates = [float(options["lr"] / (1 - beta1**t)) for t in steps]
        roots = [float((1 - beta2**t) ** 0.5) for t in steps]
        numbers = [float(v) for v in (beta1, beta2, options["eps"], options["weight_decay"])]
        moments = [(state["exp_avg"], state["exp_avg_sq"]) for state in states]
        update = _adam(options["weight_decay"] != 0)
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
            g, m, v = g.astype(p.dtype), m.astype(p.dtype), v.astype(p.dtype)
            if has_decay:
                g = g + decay * p
            m = m + (g - m) * (1 - beta1)
            v = beta2 * v + (1 - beta2) * g * g
            news.append(p - rate * (m / (jnp.sqrt(v) / root + eps)))
            kept.append((m, v))
        return news, kept

    return update
