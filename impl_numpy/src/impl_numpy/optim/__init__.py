"""Optimizers."""

from impl_numpy.optim.algorithms import SGD, Adam
from impl_numpy.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]


def __dir__() -> list[str]:
    return __all__
