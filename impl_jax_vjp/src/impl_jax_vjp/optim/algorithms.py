"""The algorithms.

A step of all parameters of a group is one function compiled by ``jax.jit``. What an option turns on
or off is static; rates and other numbers are one array, so changing them compiles nothing.
"""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ..tape import constant
from .optimizer import Optimizer, State

Array = Any
Uses = tuple[bool, ...]
# From what is used, a parameter, its gradient, its buffers and its numbers to the first and third.
Rule = Callable[[Uses, Array, Array, list[Array], list[Array]], tuple[Array, list[Array]]]


@functools.cache
def _program(rule: Rule, uses: Uses) -> Callable[..., Any]:
    @jax.jit
    def update(params: Any, grads: Any, buffers: Any, numbers: Any) -> Any:
        made = []
        for place, (p, g, held) in enumerate(zip(params, grads, buffers, strict=True)):
            own = [numbers[place, k].astype(p.dtype) for k in range(numbers.shape[1])]
            made.append(rule(uses, p, g.astype(p.dtype), [b.astype(p.dtype) for b in held], own))
        return made

    return update


class _Stepwise(Optimizer):
    """An optimizer whose step is a rule for each parameter by itself."""

    _rule: ClassVar[Any]

    def _uses(self, options: Mapping[str, Any]) -> tuple[Uses, tuple[str, ...]]:
        """Return what the options turn on, and the names of the buffers that are needed."""
        raise NotImplementedError

    def _numbers(self, options: Mapping[str, Any]) -> Sequence[float]:
        """Return the numbers of a step, with its count from 1 and if it is `fresh` beside them."""
        raise NotImplementedError

    def _update(self, options: Mapping[str, Any], params: list[Any], states: list[State]) -> None:
        uses, names = self._uses(options)
        first = options.get("initial_accumulator_value", 0)  # optim-15
        steps = [state.get("step", 0) + 1 for state in states]
        numbers = np.array(
            [
                self._numbers({**options, "step": step, "fresh": not state})
                for step, state in zip(steps, states, strict=True)
            ],
            np.float64,
        )
        buffers = [
            [
                state[name] if name in state else np.full(p._data.shape, first, p._data.dtype)
                for name in names
            ]
            for p, state in zip(params, states, strict=True)
        ]
        grads = [constant(param._grad._data) for param in params]
        data = [param._data for param in params]
        made = _program(type(self)._rule, uses)(data, grads, buffers, numbers)
        for param, state, step, (new, kept) in zip(params, states, steps, made, strict=True):
            param._data = new
            if "step" in self._entries:
                state["step"] = step
            state.update(zip(names, kept, strict=True))


def _directed(maximize: bool, has_decay: bool, p: Array, g: Array, decay: Array) -> Array:
    """Return the gradient with what comes before everything else."""
    g = -g if maximize else g
    return g + decay * p if has_decay else g


def _sgd(uses: Uses, p: Array, g: Array, held: list[Array], numbers: list[Array]) -> Any:
    maximize, has_decay, has_momentum, nesterov = uses
    lr, momentum, share, decay = numbers
    g = _directed(maximize, has_decay, p, g, decay)
    if has_momentum:
        held = [momentum * held[0] + share * g]
        g = g + momentum * held[0] if nesterov else held[0]
    return p - lr * g, held


class SGD(_Stepwise):
    """Stochastic gradient descent (the page of ``torch.optim.SGD``; Sutskever et al. 2013).

    ``g = grad + weight_decay * p``; with momentum ``b = momentum * b + (1 - dampening) * g`` (the
    first ``b`` is ``g``) and ``g = g + momentum * b`` (nesterov) or ``g = b``; ``p = p - lr * g``.

    Parameters
    ----------
    params : iterable of Parameter or of dict
    lr, momentum, weight_decay : float, 0 or more
    dampening : float
    nesterov, maximize : bool
        `maximize` takes minus the gradient.

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or nesterov has no momentum or dampening.
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    _added = frozenset({"momentum_buffer"})
    _flags = ("nesterov", "maximize")
    _least: ClassVar[Mapping[str, float | None]] = {"dampening": None}
    _rule = staticmethod(_sgd)

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
        defaults = {"lr": lr, "momentum": momentum, "dampening": dampening}
        more = {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, defaults | more)

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        options = super()._options(group)
        if options["nesterov"] and (options["momentum"] <= 0 or options["dampening"] != 0):
            came = f"{options['nesterov']} with momentum={options['momentum']}"
            came += f", dampening={options['dampening']}"
            self._refuse("nesterov", came, "False unless momentum is positive and dampening 0")
        return options

    def _uses(self, options: Mapping[str, Any]) -> tuple[Uses, tuple[str, ...]]:
        moves = options["momentum"] != 0
        uses = (options["maximize"], options["weight_decay"] != 0, moves, options["nesterov"])
        return uses, ("momentum_buffer",) if moves else ()

    def _numbers(self, options: Mapping[str, Any]) -> Sequence[float]:
        # The first buffer is the gradient: zeros, and dampening has no part in it. # optim-01
        share = 1 if options["fresh"] else 1 - options["dampening"]
        return options["lr"], options["momentum"], share, options["weight_decay"]


def _adam(uses: Uses, p: Array, g: Array, held: list[Array], numbers: list[Array]) -> Any:
    maximize, has_decay, decoupled, amsgrad = uses
    rate, root, first, beta2, second, eps, decay = numbers
    g = _directed(maximize, has_decay and not decoupled, p, g, decay)
    if has_decay and decoupled:
        p = p * decay
    m, v = held[0] + (g - held[0]) * first, beta2 * held[1] + second * g * g
    most = [jnp.maximum(held[2], v)] if amsgrad else []
    return p - rate * (m / (jnp.sqrt(most[0] if amsgrad else v) / root + eps)), [m, v, *most]


class Adam(_Stepwise):
    """Adam (Kingma and Ba 2015, algorithm 1; the page of ``torch.optim.Adam``).

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g²``,
    ``p = p - lr / (1 - b1^t) * m / (sqrt(v) / sqrt(1 - b2^t) + eps)``.

    Parameters
    ----------
    params : iterable of Parameter or of dict
    lr, eps, weight_decay : float, 0 or more
    betas : tuple of two floats in [0, 1)
    amsgrad : bool
        Whether the largest `v` so far takes the place of `v`.
    maximize : bool
        Whether minus the gradient is taken.
    decoupled_weight_decay : bool
        Whether ``p = p (1 - lr weight_decay)`` takes the place of ``g = g + weight_decay p``.

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or a beta is outside [0, 1).
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    _entries = frozenset({"step", "exp_avg", "exp_avg_sq"})
    _added = frozenset({"max_exp_avg_sq"})
    _flags = ("amsgrad", "maximize", "decoupled_weight_decay")
    _rule = staticmethod(_adam)

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
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        flags = {"amsgrad": amsgrad, "maximize": maximize}
        flags["decoupled_weight_decay"] = decoupled_weight_decay
        super().__init__(params, defaults | flags)

    def _uses(self, options: Mapping[str, Any]) -> tuple[Uses, tuple[str, ...]]:
        decoupled, amsgrad = options["decoupled_weight_decay"], options["amsgrad"]
        uses = (options["maximize"], options["weight_decay"] != 0, decoupled, amsgrad)
        names = ("exp_avg", "exp_avg_sq")
        return uses, (*names, "max_exp_avg_sq") if options["amsgrad"] else names

    def _numbers(self, options: Mapping[str, Any]) -> Sequence[float]:
        (beta1, beta2), step = options["betas"], options["step"]
        lr, decay = options["lr"], options["weight_decay"]
        if options["decoupled_weight_decay"]:
            decay = 1 - lr * decay
        rate, root = lr / (1 - beta1**step), (1 - beta2**step) ** 0.5
        return rate, root, 1 - beta1, beta2, 1 - beta2, options["eps"], decay


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019; ``torch.optim.AdamW``).

    Parameters
    ----------
    params : iterable of Parameter or of dict
    lr, eps, weight_decay : float, 0 or more
    betas : tuple of two floats in [0, 1)
    amsgrad, maximize : bool

    Raises
    ------
    ValueError
        If there are no parameters, a number is negative, or a beta is outside [0, 1).
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def _options(self, group: Mapping[str, Any]) -> dict[str, Any]:
        # Whatever a state or a group says. # optim-13
        return super()._options({**group, "decoupled_weight_decay": True})


def _rmsprop(uses: Uses, p: Array, g: Array, held: list[Array], numbers: list[Array]) -> Any:
    maximize, has_decay, centered, has_momentum = uses
    lr, alpha, share, eps, momentum, decay = numbers
    g = _directed(maximize, has_decay, p, g, decay)
    kept = [alpha * held[0] + share * g * g]
    size = kept[0]
    if centered:
        kept.append(held[1] + (g - held[1]) * share)
        size = size - kept[1] * kept[1]
    g = g / (jnp.sqrt(size) + eps)
    if has_momentum:
        g = momentum * held[-1] + g
        kept.append(g)
    return p - lr * g, kept


class RMSprop(_Stepwise):
    """RMSprop (Hinton 2012, lecture 6; the page of ``torch.optim.RMSprop``).

    ``v = alpha v + (1 - alpha) g²``, ``p = p - lr g / (sqrt(v) + eps)``.

    Parameters
    ----------
    params : iterable of Parameter or of dict
    lr, alpha, eps, weight_decay, momentum : float, 0 or more
    centered : bool
        Whether the square of the mean gradient is subtracted from `v`.
    maximize : bool
        Whether minus the gradient is taken.

    Raises
    ------
    ValueError
        If there are no parameters, or a number is negative.
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    _entries = frozenset({"step", "square_avg"})
    _added = frozenset({"momentum_buffer", "grad_avg"})
    _flags = ("centered", "maximize")
    _rule = staticmethod(_rmsprop)

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
        defaults = {"lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay}
        more = {"momentum": momentum, "centered": centered, "maximize": maximize}
        super().__init__(params, defaults | more)

    def _uses(self, options: Mapping[str, Any]) -> tuple[Uses, tuple[str, ...]]:
        moves = options["momentum"] != 0
        uses = (options["maximize"], options["weight_decay"] != 0, options["centered"], moves)
        names = ["square_avg"] + ["grad_avg"] * options["centered"] + ["momentum_buffer"] * moves
        return uses, tuple(names)

    def _numbers(self, options: Mapping[str, Any]) -> Sequence[float]:
        lr, alpha, eps = options["lr"], options["alpha"], options["eps"]
        return lr, alpha, 1 - alpha, eps, options["momentum"], options["weight_decay"]


def _adagrad(uses: Uses, p: Array, g: Array, held: list[Array], numbers: list[Array]) -> Any:
    rate, eps, decay = numbers
    g = _directed(uses[0], uses[1], p, g, decay)
    total = held[0] + g * g
    return p - rate * (g / (jnp.sqrt(total) + eps)), [total]


class Adagrad(_Stepwise):
    """Adagrad (Duchi et al. 2011; the page of ``torch.optim.Adagrad``).

    ``v = v + g²``, ``p = p - lr / (1 + (t - 1) lr_decay) g / (sqrt(v) + eps)``.

    Parameters
    ----------
    params : iterable of Parameter or of dict
    lr, lr_decay, weight_decay, initial_accumulator_value, eps : float, 0 or more
    maximize : bool
        Whether minus the gradient is taken.

    Raises
    ------
    ValueError
        If there are no parameters, or a number is negative.
    TypeError
        If something in `params` is no Tensor, or an option is no number.
    """

    _entries = frozenset({"step", "sum"})
    _rule = staticmethod(_adagrad)

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
        defaults = {"lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay}
        more = {"initial_accumulator_value": initial_accumulator_value, "eps": eps}
        super().__init__(params, defaults | more | {"maximize": maximize})

    def _uses(self, options: Mapping[str, Any]) -> tuple[Uses, tuple[str, ...]]:
        return (options["maximize"], options["weight_decay"] != 0), ("sum",)

    def _numbers(self, options: Mapping[str, Any]) -> Sequence[float]:
        rate = options["lr"] / (1 + (options["step"] - 1) * options["lr_decay"])
        return rate, options["eps"], options["weight_decay"]
