"""The algorithms: what a step does to the elements of a Parameter, in place."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from impl_numpy.checks import shown
from impl_numpy.dtypes import Array
from impl_numpy.optim.optimizer import BLOCK, Group, Optimizer, State, plain_number
from impl_numpy.tensor import Tensor

Begun = tuple[list[Array], tuple[Any, ...]]


def _buffer(state: State, name: str, p: Array, start: float = 0.0) -> Array:
    """Return a buffer of a Parameter, made of one number where there is none (optim-28).

    One of another dtype is cast: the Parameter was converted (optim-11).
    """
    found: Array | None = state.get(name)
    if found is None:
        found = state[name] = np.full(p.shape, start, p.dtype)
    elif found.dtype != p.dtype:
        found = state[name] = found.astype(p.dtype)
    return found


def _counted(state: State) -> int:
    """Return the number of the step that begins."""
    count: int = state.get("step", 0) + 1
    state["step"] = count
    return count


def _toward(average: Array, x: Array, share: float, free: Array) -> None:
    """Move an average by a share of the way to x."""
    np.subtract(x, average, out=free)
    free *= share
    average += free


def _squares(average: Array, g: Array, keep: float, free: Array) -> None:
    """Keep a share of an average, and add the rest of the squares."""
    np.multiply(g, g, out=free)
    free *= 1 - keep
    average *= keep
    average += free


class SGD(Optimizer):
    """Descend the gradient, with momentum as torch has it (Sutskever et al. 2013).

    Parameters
    ----------
    params : iterable
    lr, momentum, dampening, weight_decay : float
    nesterov : bool
        Wants momentum, and no dampening.
    maximize : bool
        Ascend.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, an option is negative, or nesterov
        comes without momentum or with dampening.
    TypeError
        If something is no Tensor, or an option no number.
    """

    _added = ("momentum_buffer",)
    _least_zero = ("lr", "momentum", "weight_decay")
    _numbers = ("dampening",)
    _flags = ("nesterov", "maximize")

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
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _plain(self, group: Group) -> Group:
        plain = super()._plain(group)
        momentum, dampening = plain["momentum"], plain["dampening"]
        if plain["nesterov"] and (momentum <= 0 or dampening != 0):
            msg = (
                "SGD: nesterov wants momentum above 0 and dampening 0, "
                f"got momentum = {momentum}, dampening = {dampening}"
            )
            raise ValueError(msg)
        return plain

    def _advance(self, members: list[Tensor], group: Group) -> list[tuple[Tensor, Array]]:
        if group["momentum"]:
            return super()._advance(members, group)
        # Without a buffer so little is done that putting several together would take longer.
        copies: list[tuple[Tensor, Array]] = []
        for member in members:
            p, grad = member._data, member._grad
            assert grad is not None
            if not p.flags.writeable:
                p = np.array(p)
                copies.append((member, p))
            if p.size > BLOCK and p.flags.c_contiguous:
                self._together([[p.reshape(-1), grad._data.reshape(-1)]], group)
            else:
                self._changed([p, grad._data], group)
        return copies

    def _begin(self, p: Array, state: State, group: Group) -> Begun:
        first = state.get("momentum_buffer") is None
        return [_buffer(state, "momentum_buffer", p)], (first,)

    def _block(
        self, p: Array, g: Array, buffers: list[Array], free: Array, group: Group, *numbers: Any
    ) -> None:
        lr, momentum = group["lr"], group["momentum"]
        if buffers:
            (b,), (first,) = buffers, numbers
            if first:  # optim-01
                b[...] = g
            else:
                np.multiply(g, 1 - group["dampening"], out=free)
                b *= momentum
                b += free
            if group["nesterov"]:
                np.multiply(b, momentum, out=free)
                g = np.add(g, free, out=free)
            else:
                g = b
        np.multiply(g, lr, out=free)
        p -= free


class Adam(Optimizer):
    """Follow Adam (Kingma and Ba 2015, algorithm 1), with the bias correction where torch has it.

    Parameters
    ----------
    params : iterable
    lr : float
    betas : tuple of float
        Each in [0, 1).
    eps, weight_decay : float
    amsgrad : bool
        Divide by the largest average of squares so far (Reddi et al. 2018, algorithm 2).
    maximize : bool
        Ascend.
    decoupled_weight_decay : bool
        Shrink the Parameter by itself (Loshchilov and Hutter 2019).

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, an option is negative, or a beta is
        outside [0, 1).
    TypeError
        If something is no Tensor, or an option no number.
    """

    _entries = ("step", "exp_avg", "exp_avg_sq")
    _added = ("max_exp_avg_sq",)
    _scalars = ("step",)
    _least_zero = ("lr", "weight_decay", "eps")
    _flags = ("amsgrad", "maximize", "decoupled_weight_decay")

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
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def _plain(self, group: Group) -> Group:
        plain = super()._plain(group)
        betas = group["betas"]
        name = type(self).__name__
        if not isinstance(betas, (tuple, list)) or len(betas) != 2:
            msg = f"{name}: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        plain["betas"] = tuple([plain_number(name, "betas", beta) for beta in betas])
        if not all(0 <= beta < 1 for beta in plain["betas"]):
            msg = f"{name}: betas must be two numbers in [0, 1), got {shown(betas)}"
            raise ValueError(msg)
        return plain

    def _begin(self, p: Array, state: State, group: Group) -> Begun:
        names = ["exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if group["amsgrad"] else [])]
        t, (beta1, beta2) = _counted(state), group["betas"]
        numbers = group["lr"] / (1 - beta1**t), math.sqrt(1 - beta2**t)
        return [_buffer(state, name, p) for name in names], numbers

    def _block(
        self, p: Array, g: Array, buffers: list[Array], free: Array, group: Group, *numbers: Any
    ) -> None:
        beta1, beta2 = group["betas"]
        rate, root = numbers
        m, v, *most = buffers
        _toward(m, g, 1 - beta1, free)
        _squares(v, g, beta2, free)
        if most:
            v = np.maximum(most[0], v, out=most[0])
        np.sqrt(v, out=free)
        free /= root
        free += group["eps"]
        np.divide(m, free, out=free)
        free *= rate
        if group["decoupled_weight_decay"]:
            p *= 1 - group["lr"] * group["weight_decay"]
        p -= free


class AdamW(Adam):
    """Follow Adam, with a decay of its own (Loshchilov and Hutter 2019, algorithm 2).

    Parameters
    ----------
    params : iterable
    lr : float
    betas : tuple of float
        Each in [0, 1).
    eps, weight_decay : float
    amsgrad : bool
        Divide by the largest average of squares so far.
    maximize : bool
        Ascend.

    Raises
    ------
    ValueError, TypeError
        As `Adam` does.
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
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            decoupled_weight_decay=True,
        )

    def _plain(self, group: Group) -> Group:
        return super()._plain(group) | {"decoupled_weight_decay": True}  # optim-13


class RMSprop(Optimizer):
    """Divide by a running root of the mean square (Hinton 2012, lecture 6).

    Parameters
    ----------
    params : iterable
    lr, alpha, eps, weight_decay, momentum : float
        `alpha` is the share of the average of squares that is kept.
    centered : bool
        Take the variance in the place of the mean square.
    maximize : bool
        Ascend.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, or an option is negative.
    TypeError
        If something is no Tensor, or an option no number.
    """

    _entries = ("step", "square_avg")
    _added = ("momentum_buffer", "grad_avg")
    _scalars = ("step",)
    _least_zero = ("lr", "alpha", "eps", "weight_decay", "momentum")
    _flags = ("centered", "maximize")

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
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _begin(self, p: Array, state: State, group: Group) -> Begun:
        _counted(state)
        names = ["square_avg"]
        names += ["grad_avg"] if group["centered"] else []
        names += ["momentum_buffer"] if group["momentum"] else []
        return [_buffer(state, name, p) for name in names], ()

    def _block(
        self, p: Array, g: Array, buffers: list[Array], free: Array, group: Group, *numbers: Any
    ) -> None:
        v, *others = buffers
        _squares(v, g, group["alpha"], free)
        if group["centered"]:
            average = others[0]
            _toward(average, g, 1 - group["alpha"], free)
            np.multiply(average, average, out=free)
            v = np.subtract(v, free, out=free)
        np.sqrt(v, out=free)
        free += group["eps"]
        np.divide(g, free, out=free)
        if group["momentum"]:
            b = others[-1]
            b *= group["momentum"]
            b += free
            np.multiply(b, group["lr"], out=free)
        else:
            free *= group["lr"]
        p -= free


class Adagrad(Optimizer):
    """Divide by the root of the sum of all squares (Duchi et al. 2011).

    Parameters
    ----------
    params : iterable
    lr, lr_decay, weight_decay, initial_accumulator_value, eps : float
        The rate of step t is lr / (1 + (t - 1) lr_decay).
    maximize : bool
        Ascend.

    Raises
    ------
    ValueError
        If there is no Parameter, one comes twice or is no leaf, or an option is negative.
    TypeError
        If something is no Tensor, or an option no number.
    """

    _entries = ("step", "sum")
    _scalars = ("step",)
    _least_zero = ("lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

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
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _begin(self, p: Array, state: State, group: Group) -> Begun:
        rate = group["lr"] / (1 + (_counted(state) - 1) * group["lr_decay"])
        return [_buffer(state, "sum", p, group["initial_accumulator_value"])], (rate,)

    def _block(
        self, p: Array, g: Array, buffers: list[Array], free: Array, group: Group, *numbers: Any
    ) -> None:
        (v,), (rate,) = buffers, numbers
        np.multiply(g, g, out=free)
        v += free
        np.sqrt(v, out=free)
        free += group["eps"]
        np.divide(g, free, out=free)
        free *= rate
        p -= free
