"""Optimizers on the stored paths: their options, parameters and gradients."""

from typing import Any

from spec_tests.oracle import load
from spec_tests.oracle.optimized import EXCHANGED

SGD: dict[str, dict[str, Any]] = {
    "SGD_plain": {"lr": 0.1},
    "SGD_momentum": {"lr": 0.1, "momentum": 0.9},
    "SGD_dampening": {"lr": 0.1, "momentum": 0.75, "dampening": 0.5},
    "SGD_nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "SGD_decay": {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.25},
}
ADAM: dict[str, dict[str, Any]] = {
    "Adam_plain": {"lr": 0.01},
    "Adam_options": {"lr": 0.05, "betas": (0.75, 0.9), "eps": 1e-3, "weight_decay": 0.25},
}
OPTIONS = SGD | ADAM | EXCHANGED


def path_of(name: str) -> dict[str, Any]:
    """Return the stored steps of an optimizer, by dtype and parameter."""
    known: dict[str, Any] = load("optim")["exchanged"] if name in EXCHANGED else load("optimizers")
    return dict(known[name])


def start(nn: Any, dtype: str) -> dict[str, Any]:
    """Return the Parameters from which every stored path starts."""
    known = load("optimizers")["given"][dtype]["start"]
    return {name: nn.Parameter(nn.tensor(array)) for name, array in known.items()}


def give(nn: Any, parameters: dict[str, Any], dtype: str, step: int) -> None:
    """Make the gradients those of one step, exactly, by a backward."""
    known = load("optimizers")["given"][dtype]["gradients"]
    for name, parameter in parameters.items():
        nn.ops.sum(parameter * nn.tensor(known[name][step])).backward()


def optimizer_of(nn: Any, name: str, parameters: Any) -> Any:
    """Return the optimizer with the options that a name means."""
    return getattr(nn.optim, name.partition("_")[0])(parameters, **OPTIONS[name])


def walk(nn: Any, optimizer: Any, parameters: Any, dtype: str, steps: range) -> None:
    """Take steps under the stored gradients."""
    for step in steps:
        optimizer.zero_grad()
        give(nn, parameters, dtype, step)
        optimizer.step()
