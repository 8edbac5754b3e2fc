"""Optimizers."""

from impl_cupy.optim.algorithms import SGD, Adam
from impl_cupy.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]


def __dir__() -> list[str]:
    return __all__
