"""Optimizers."""

from impl_torch_ext.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from impl_torch_ext.optim.optimizer import Optimizer

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimizer", "RMSprop"]


def __dir__() -> list[str]:
    return __all__
