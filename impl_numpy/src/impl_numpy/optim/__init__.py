"""Optimizers, schedulers of the learning rate, and functions that clip gradients."""

from impl_numpy.optim import lr_scheduler
from impl_numpy.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from impl_numpy.optim.clip import clip_grad_norm_, clip_grad_value_
from impl_numpy.optim.lbfgs import LBFGS
from impl_numpy.optim.optimizer import Optimizer

__all__ = [
    "LBFGS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "clip_grad_norm_",
    "clip_grad_value_",
    "lr_scheduler",
]


def __dir__() -> list[str]:
    return __all__
