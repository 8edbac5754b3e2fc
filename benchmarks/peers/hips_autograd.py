"""HIPS autograd: the equations and single operations in ``autograd.numpy``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import autograd.numpy as anp
import numpy as np
from autograd import grad, make_vjp
from autograd.scipy.special import expit, logsumexp

from benchmarks.peers.arrays import arrays, expression, sequence
from benchmarks.peers.equations import parameters, unrolled
from benchmarks.peers.job import Job, Makers
from benchmarks.rows import Row

__all__ = ["makers"]


def _softmax(x: Any, axis: int) -> Any:
    return anp.exp(x - logsumexp(x, axis=axis, keepdims=True))


OPS = SimpleNamespace(
    tanh=anp.tanh,
    sigmoid=expit,
    exp=anp.exp,
    maximum=anp.maximum,
    sum=anp.sum,
    softmax=_softmax,
)


def makers(_: str) -> Makers:
    """Return the makers."""
    table = {"train": _train, "inference": _inference, "cell": _cell}
    return {**table, "second": _second, "eager": _eager}


def _layer(row: Row) -> tuple[Any, Any, Any]:
    """Return the layer as a function of (weights, x), those, and a gradient of its output."""
    x, cotangent = sequence(row)
    state = np.zeros(cotangent.shape[1:], np.float32)

    def layer(given: Any) -> Any:
        weights, x = given
        steps = [x[t] for t in range(row.shape[0])]
        return anp.stack(unrolled(OPS, row.name, steps, state, weights))

    return layer, (parameters(row), x), cotangent


def _train(row: Row) -> Job:
    layer, given, cotangent = _layer(row)
    return Job(lambda: make_vjp(layer)(given)[0](cotangent))


def _inference(row: Row) -> Job:
    layer, given, _ = _layer(row)
    return Job(lambda: layer(given))


def _cell(row: Row) -> Job:
    x, cotangent = sequence(row)
    state, steps = np.zeros(cotangent.shape[1:], np.float32), list(x)

    def last(weights: Any) -> Any:
        return unrolled(OPS, row.name, steps, state, weights)[-1]

    weights = parameters(row)
    return Job(lambda: make_vjp(last)(weights)[0](cotangent[-1]))


def _second(row: Row) -> Job:
    layer, (weights, x), cotangent = _layer(row)

    def squared(weights: Any) -> Any:
        slope = grad(lambda x: anp.sum(layer((weights, x)) * cotangent))(x)
        return anp.sum(slope * slope)

    return Job(lambda: grad(squared)(weights))


def _eager(row: Row) -> Job:
    function = expression(row)
    given = tuple(arrays(row.shape, row.shape))
    cotangent = np.ones_like(function(OPS, *given))

    def call() -> object:
        return make_vjp(lambda pair: function(OPS, *pair))(given)[0](cotangent)

    return Job(call)
