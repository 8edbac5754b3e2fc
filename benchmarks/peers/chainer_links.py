"""Chainer: its layers for sequences, ``NStepLSTM`` and so on, stateless cells, and functions."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import chainer
import chainer.functions as F
import chainer.links as L
import numpy as np

from benchmarks.peers.arrays import arrays, expression, sequence
from benchmarks.peers.job import Job, Makers, Unsupported
from benchmarks.rows import Row

__all__ = ["makers"]

LAYERS = {"RNN": L.NStepRNNTanh, "LSTM": L.NStepLSTM, "GRU": L.NStepGRU}
OPS = SimpleNamespace(
    tanh=F.tanh,
    exp=F.exp,
    maximum=F.maximum,
    sum=F.sum,
    softmax=lambda x, axis: F.softmax(x, axis=axis),
)


def makers(_: str) -> Makers:
    """Return the makers."""
    table = {"train": _train, "inference": _inference, "cell": _cell}
    return {**table, "second": _second, "eager": _eager}


def _layer(row: Row) -> tuple[Any, list[Any], list[Any]]:
    """Return a layer of outputs, its inputs, one a sequence as Chainer wants, and gradients."""
    x, cotangent = sequence(row)
    link = LAYERS[row.name](1, *row.shape[2:], 0.0)
    inputs = [chainer.Variable(np.ascontiguousarray(x[:, n])) for n in range(row.shape[1])]
    gradients = [np.ascontiguousarray(cotangent[:, n]) for n in range(row.shape[1])]
    return link, inputs, gradients


def _outputs(row: Row, link: Any, inputs: list[Any]) -> list[Any]:
    states = (None, None) if row.name == "LSTM" else (None,)
    return link(*states, inputs)[-1]


def _train(row: Row) -> Job:
    link, inputs, gradients = _layer(row)

    def step() -> None:
        link.cleargrads()
        for x in inputs:
            x.cleargrad()
        outputs = _outputs(row, link, inputs)
        for output, gradient in zip(outputs, gradients, strict=True):
            output.grad = gradient
        chainer.backward(outputs)

    return Job(step)


def _inference(row: Row) -> Job:
    link, inputs, _ = _layer(row)

    def forward() -> Any:
        with chainer.using_config("train", False), chainer.no_backprop_mode():
            return _outputs(row, link, inputs)

    return Job(forward)


def _cell(row: Row) -> Job:
    x, cotangent = sequence(row)
    inputs, hidden = row.shape[2:]
    cells: dict[str, Callable[..., Any]] = {"LSTM": L.StatelessLSTM, "GRU": L.StatelessGRU}
    if row.name not in cells:
        msg = f"Chainer has no cell for {row.name}"
        raise Unsupported(msg)
    cell = cells[row.name](inputs, hidden)
    first: Any = np.zeros(cotangent.shape[1:], np.float32)

    def step() -> None:
        cell.cleargrads()
        if row.name == "LSTM":
            c = h = first
            for x_t in x:
                c, h = cell(c, h, x_t)
        else:
            h = first
            for x_t in x:
                h = cell(h, x_t)
        h.grad = cotangent[-1]
        h.backward()

    return Job(step)


def _second(row: Row) -> Job:
    link, inputs, gradients = _layer(row)

    def step() -> None:
        link.cleargrads()
        outputs = _outputs(row, link, inputs)
        slopes = chainer.grad(outputs, inputs, gradients, enable_double_backprop=True)
        sum(F.sum(slope * slope) for slope in slopes).backward()

    return Job(step)


def _eager(row: Row) -> Job:
    function = expression(row)
    x, y = (chainer.Variable(array) for array in arrays(row.shape, row.shape))
    cotangent = np.ones_like(function(OPS, x, y).array)

    def call() -> None:
        x.cleargrad()
        y.cleargrad()
        output = function(OPS, x, y)
        output.grad = cotangent
        output.backward()

    return Job(call)
