"""tinygrad: the equations on its tensors, whose whole step is compiled once by ``TinyJit``."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from tinygrad import Tensor, TinyJit

from benchmarks.peers.arrays import arrays, expression, sequence
from benchmarks.peers.equations import parameters, unrolled
from benchmarks.peers.job import Job, Makers
from benchmarks.rows import Row

__all__ = ["makers"]

OPS = SimpleNamespace(
    tanh=Tensor.tanh,
    sigmoid=Tensor.sigmoid,
    exp=Tensor.exp,
    maximum=Tensor.maximum,
    sum=Tensor.sum,
    softmax=lambda x, axis: x.softmax(axis),
)
# TinyJit runs a function, then records it, then replays what it recorded.
CALLS_BEFORE_REPLAY = 3


def makers(_: str) -> Makers:
    """Return the makers."""
    table = {"train": _train, "inference": _inference, "cell": _cell}
    return {**table, "second": _second, "eager": _eager}


def _replayed(function: Any) -> Job:
    """Return a job that calls a function of no arguments that returns a list of tensors."""
    fast = TinyJit(lambda: [tensor.realize() for tensor in function()])
    last: list[Any] = []

    def call() -> None:
        last[:] = fast()

    for _ in range(CALLS_BEFORE_REPLAY):
        call()
    return Job(call, lambda: last[0].numpy())


def _layer(row: Row) -> tuple[Any, list[Tensor], Tensor, Tensor]:
    """Return the layer as a function of x, its weights, x, and a gradient of its output."""
    x, cotangent = sequence(row)
    weights = [Tensor(array).realize() for array in parameters(row)]
    state = Tensor.zeros(*cotangent.shape[1:]).contiguous().realize()

    def layer(x: Tensor) -> Tensor:
        steps = [x[t] for t in range(row.shape[0])]
        outputs = unrolled(OPS, row.name, steps, state, weights)
        return outputs[0].stack(*outputs[1:])

    given = Tensor(x).realize()
    return layer, weights, given, Tensor(cotangent).realize()


def _train(row: Row) -> Job:
    layer, weights, x, cotangent = _layer(row)
    return _replayed(lambda: (layer(x) * cotangent).sum().gradient(*weights, x))


def _inference(row: Row) -> Job:
    layer, _, x, _ = _layer(row)
    return _replayed(lambda: [layer(x)])


def _cell(row: Row) -> Job:
    layer, weights, x, cotangent = _layer(row)
    return _replayed(lambda: (layer(x)[-1] * cotangent[-1]).sum().gradient(*weights))


def _second(row: Row) -> Job:
    layer, weights, x, cotangent = _layer(row)

    def gradients() -> Any:
        (slope,) = (layer(x) * cotangent).sum().gradient(x)
        return (slope * slope).sum().gradient(*weights)

    return _replayed(gradients)


def _eager(row: Row) -> Job:
    """Not replayed: what is asked is what one operation costs as it is called."""
    function = expression(row)
    given = [Tensor(array).realize() for array in arrays(row.shape, row.shape)]
    last: list[Any] = []

    def call() -> None:
        slopes = function(OPS, *given).sum().gradient(*given)
        last[:] = [slope.realize() for slope in slopes]

    return Job(call, lambda: last[0].numpy())
