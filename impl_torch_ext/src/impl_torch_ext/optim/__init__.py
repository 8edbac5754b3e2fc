"""Optimizers."""

from impl_torch_ext.optim.algorithms import SGD, Adam
from impl_torch_ext.optim.optimizer import Optimizer

__all__ = ["SGD", "Adam", "Optimizer"]


def __dir__() -> list[str]:
    return __all__
