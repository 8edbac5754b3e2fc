"""Optimizers, schedulers of their rates, and bounds for gradients."""

from impl_cupy.optim import lr_scheduler
from impl_cupy.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from impl_cupy.optim.clip import clip_grad_norm_, clip_grad_value_
from impl_cupy.optim.lbfgs import LBFGS
from impl_cupy.optim.optimizer import Optimizer

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
