"""Optimizers."""

from .algorithms import SGD, Adam
from .optimizer import Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]


def __dir__() -> list[str]:
    return __all__
