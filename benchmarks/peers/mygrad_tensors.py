"""MyGrad: the equations and single operations on its tensors."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import mygrad as mg
import numpy as np
from mygrad.nnet.activations import sigmoid, softmax

from benchmarks.peers.arrays import arrays, expression, sequence
from benchmarks.peers.equations import parameters, unrolled
from benchmarks.peers.job import Job, Makers
from benchmarks.rows import Row

__all__ = ["makers"]

OPS = SimpleNamespace(
    tanh=mg.tanh,
    sigmoid=sigmoid,
    exp=mg.exp,
    maximum=mg.maximum,
    sum=mg.sum,
    softmax=lambda x, axis: softmax(x, axis=axis),
)


def makers(_: str) -> Makers:
    """Return the makers; MyGrad has no second derivatives."""
    return {"train": _train, "inference": _inference, "cell": _cell, "eager": _eager}


def _train(row: Row) -> Job:
    array, cotangent = sequence(row)
    x, weights = mg.tensor(array), [mg.tensor(weight) for weight in parameters(row)]
    state = np.zeros(cotangent.shape[1:], np.float32)

    def step() -> None:
        steps = [x[t] for t in range(row.shape[0])]
        mg.stack(unrolled(OPS, row.name, steps, state, weights)).backward(cotangent)

    return Job(step, lambda: [weight.grad[0] for weight in weights])


def _inference(row: Row) -> Job:
    array, cotangent = sequence(row)
    steps, weights = [mg.tensor(x) for x in array], [mg.tensor(w) for w in parameters(row)]
    state = np.zeros(cotangent.shape[1:], np.float32)

    def forward() -> Any:
        with mg.no_autodiff:
            return mg.stack(unrolled(OPS, row.name, steps, state, weights))

    return Job(forward)


def _cell(row: Row) -> Job:
    array, cotangent = sequence(row)
    steps, weights = list(array), [mg.tensor(weight) for weight in parameters(row)]
    state = np.zeros(cotangent.shape[1:], np.float32)

    def step() -> None:
        unrolled(OPS, row.name, steps, state, weights)[-1].backward(cotangent[-1])

    return Job(step, lambda: [weight.grad[0] for weight in weights])


def _eager(row: Row) -> Job:
    function = expression(row)
    x, y = (mg.tensor(array) for array in arrays(row.shape, row.shape))
    cotangent = np.ones_like(function(OPS, x, y).data)
    return Job(lambda: function(OPS, x, y).backward(cotangent), lambda: x.grad)
