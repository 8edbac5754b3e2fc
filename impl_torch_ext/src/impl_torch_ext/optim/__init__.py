"""Optimizers, schedulers of their learning rates, and functions that clip gradients."""

from impl_torch_ext.optim import lr_scheduler
from impl_torch_ext.optim.algorithms import SGD, Adagrad, Adam, AdamW, RMSprop
from impl_torch_ext.optim.clip import clip_grad_norm_, clip_grad_value_
from impl_torch_ext.optim.lbfgs import LBFGS
from impl_torch_ext.optim.optimizer import Optimizer

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
