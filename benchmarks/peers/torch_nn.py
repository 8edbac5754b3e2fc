"""``torch.nn``, ``torch.optim`` and torch's operations; compiled by ``torch.compile`` if asked for.

What is compiled is what a user would compile: the layer, the cell, the loss, the optimizer's step.
``torch.compile`` leaves recurrent layers as they are unless told otherwise, so a sequence layer
shows what it costs to go through it, and cells show what it gains.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from benchmarks.peers.arrays import arrays, expression, integers, lengths, resets, sequence
from benchmarks.peers.job import Job, Makers, Unsupported, to_itself
from benchmarks.peers.own_cell import next_state, weights
from benchmarks.rows import Row

__all__ = ["makers"]

Compile = Callable[[Any], Any]


def makers(argument: str) -> Makers:
    """Return the makers; with the argument ``"compile"`` what they make is compiled."""

    def compiled(thing: Any) -> Any:
        torch._dynamo.reset()
        return torch.compile(thing)

    change: Compile = compiled if argument == "compile" else lambda thing: thing
    table = {
        "train": _train,
        "inference": _inference,
        "cell": _cell,
        "unroll": _unroll,
        "second": _second,
        "eager": _eager,
        "layer": _layer,
        "loss": _loss,
        "optimizer": _optimizer,
        "epoch": _epoch,
    }
    return {kind: partial(maker, change) for kind, maker in table.items()}


def _read(tensor: Any) -> float:
    return float(tensor.reshape(-1)[0])


def _layer_of(row: Row) -> tuple[Any, Any, Any]:
    x, cotangent = sequence(row)
    layer = getattr(torch.nn, row.name)(*row.shape[2:], **row.keywords)
    return layer, torch.tensor(x, requires_grad=True), torch.tensor(cotangent)


def _train(change: Compile, row: Row) -> Job:
    layer, x, cotangent = _layer_of(row)
    call = change(_cut(layer, row))

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        call(x)[0].backward(cotangent)

    return Job(step, lambda: [_read(parameter.grad) for parameter in layer.parameters()])


def _cut(layer: Any, row: Row) -> Any:
    """Return the layer, or with lengths or resets a function that does what it cannot."""
    marks = resets(row)
    return _packed(layer, row) if marks is None else _by_stretches(layer, marks)


def _by_stretches(layer: Any, marks: np.ndarray) -> Any:
    """Call the layer for each stretch that no sequence of the batch begins anew in."""
    steps = len(marks)
    starts = [0, *(t for t in range(1, steps) if marks[t].any())]
    kept = torch.tensor(~marks[starts], dtype=torch.float32)[:, None, :, None]
    stretches = list(zip(starts, [*starts[1:], steps], kept, strict=True))

    def call(x: Any) -> Any:
        state, outputs = None, []
        for first, last, keep in stretches:
            if isinstance(state, tuple):
                state = tuple(part * keep for part in state)
            elif state is not None:
                state = state * keep
            output, state = layer(x[first:last], state)
            outputs.append(output)
        return torch.cat(outputs), state

    return call


def _packed(layer: Any, row: Row) -> Any:
    """Return the layer, or with lengths a function that packs its input and unpacks its output."""
    ends = lengths(row)
    if ends is None:
        return layer
    given = torch.tensor(ends)

    def call(x: Any) -> Any:
        packed, state = layer(pack_padded_sequence(x, given, enforce_sorted=False))
        return pad_packed_sequence(packed, total_length=len(x))[0], state

    return call


def _inference(change: Compile, row: Row) -> Job:
    layer, x, _ = _layer_of(row)
    layer.eval()
    call, given = change(layer), x.detach()
    last: list[Any] = []

    def forward() -> None:
        with torch.no_grad():
            last[:] = call(given)[:1]

    return Job(forward, lambda: _read(last[0]))


def _cell(change: Compile, row: Row) -> Job:
    x, cotangent = sequence(row)
    cell = getattr(torch.nn, f"{row.name}Cell")(*row.shape[2:])
    call = change(cell)
    inputs = list(torch.tensor(x))
    last = torch.tensor(cotangent[-1])

    def step() -> None:
        cell.zero_grad()
        state: Any = None
        for x_t in inputs:
            state = call(x_t, state)
        h = state[0] if isinstance(state, tuple) else state
        h.backward(last)

    return Job(step, lambda: [_read(parameter.grad) for parameter in cell.parameters()])


def _unroll(change: Compile, row: Row) -> Job:
    """Run a cell step by step, the user's own or torch's."""
    if row.kind == "states" and row.options.get("sqrt"):
        msg = "a loop of torch.nn keeps all its states"
        raise Unsupported(msg)
    array, cotangent = sequence(row)
    x, given = torch.tensor(array, requires_grad=True), torch.tensor(cotangent)
    parameters: list[Any]
    if row.name == "own":
        parameters = [torch.nn.Parameter(torch.tensor(weight)) for weight in weights(row)]
        into, back = parameters

        def own(x_t: Any, h: Any) -> Any:
            return next_state(torch.sigmoid, torch.tanh, x_t @ into, h, back)

        call, first = change(own), torch.zeros(row.shape[1], row.shape[3])
    else:
        cell = getattr(torch.nn, f"{row.name}Cell")(*row.shape[2:])
        parameters, call, first = list(cell.parameters()), change(cell), None

    def step() -> None:
        x.grad = None
        for parameter in parameters:
            parameter.grad = None
        state, outputs = first, []
        for x_t in x:
            state = call(x_t, state)
            h = state[0] if isinstance(state, tuple) else state
            outputs.append(h[..., : row.shown])
        torch.stack(outputs).backward(given)

    return Job(step, lambda: [_read(parameter.grad) for parameter in parameters])


def _second(change: Compile, row: Row) -> Job:
    layer, x, cotangent = _layer_of(row)
    call = change(layer)

    def step() -> None:
        layer.zero_grad()
        output = (call(x)[0] * cotangent).sum()
        (slope,) = torch.autograd.grad(output, x, create_graph=True)
        (slope * slope).sum().backward(inputs=list(layer.parameters()))

    return Job(step, lambda: [_read(p.grad) for p in layer.parameters() if p.grad is not None])


def _eager(change: Compile, row: Row) -> Job:
    function = change(partial(expression(row), torch))
    x, y = (torch.tensor(array, requires_grad=True) for array in arrays(row.shape, row.shape))
    cotangent = torch.ones_like(function(x, y).detach())

    def call() -> None:
        x.grad = y.grad = None
        function(x, y).backward(cotangent)

    return Job(call, lambda: _read(x.grad))


def _layer(change: Compile, row: Row) -> Job:
    layer = getattr(torch.nn, row.name)(*row.arguments)
    call = change(to_itself(layer) if row.name == "MultiheadAttention" else layer)
    if row.name == "Embedding":
        x = torch.tensor(integers(row.arguments[0], row.shape))
    else:
        x = torch.tensor(arrays(row.shape)[0], requires_grad=True)
    cotangent = torch.ones_like(call(x).detach())

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        call(x).backward(cotangent)

    return Job(step, lambda: [_read(p.grad) for p in layer.parameters()] or _read(x.grad))


def _loss(change: Compile, row: Row) -> Job:
    batch, classes = row.shape
    loss = change(getattr(torch.nn, row.name)())
    first, second = arrays(row.shape, row.shape)
    x = torch.tensor(first, requires_grad=True)
    labels = row.name == "CrossEntropyLoss"
    target = torch.tensor(integers(classes, (batch,)) if labels else second)

    def call() -> None:
        x.grad = None
        loss(x, target).backward()

    return Job(call, lambda: _read(x.grad))


def _optimizer(change: Compile, row: Row) -> Job:
    count, side = row.shape
    values = arrays(*[(side, side)] * 2 * count)
    parameters = [torch.nn.Parameter(torch.tensor(value)) for value in values[:count]]
    for parameter, gradient in zip(parameters, values[count:], strict=True):
        parameter.grad = torch.tensor(gradient)
    optimizer = getattr(torch.optim, row.name)(parameters, lr=1e-3, **row.options)
    return Job(change(optimizer.step), lambda: [_read(parameter) for parameter in parameters])


def _epoch(change: Compile, row: Row) -> Job:
    """As the implementations train in the comparison, with torch's own parts."""
    from spec_tests.compare.network import make_network
    from spec_tests.compare.workloads import Batches, Workload

    workload = Workload(**row.options["workload"])
    batches = Batches(Path(row.options["data"]), workload.dataset)
    model = make_network(torch.nn, workload, torch.float32)
    call = change(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.lr)

    def epoch() -> None:
        for number in range(workload.epoch):
            inputs, targets = batches.training(number)
            inputs = inputs.astype("float32") if inputs.dtype.kind == "f" else inputs
            optimizer.zero_grad()
            logits = call(torch.tensor(inputs))
            loss = torch.nn.functional.cross_entropy(logits, torch.tensor(targets))
            loss.backward()
            optimizer.step()
            loss.item()

    return Job(epoch)
