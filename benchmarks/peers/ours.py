"""The implementations, through nothing but the names of the specification; eagerly or by `jit`."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peers.arrays import arrays, expression, integers, lengths, resets, sequence
from benchmarks.peers.job import Job, Makers, Unsupported, to_itself
from benchmarks.peers.own_cell import next_state, weights
from benchmarks.rows import Row

__all__ = ["makers"]

ROOT = Path(__file__).parents[2]


def makers(argument: str) -> Makers:
    """Return the makers of an implementation.

    Parameters
    ----------
    argument : str
        The module's name; behind a blank, ``jit``: then what a user would compile is compiled.
    """
    name, _, mode = argument.partition(" ")
    nn = importlib.import_module(name)
    if mode == "jit":
        compiled: dict[str, Callable[..., Job]] = {
            "train": _train_jit,
            "inference": _inference_jit,
            "cell": _cell_jit,
            "unroll": partial(_unroll, jit=True),
            "second": _second_jit,
        }
        return {kind: partial(maker, nn) for kind, maker in compiled.items()}
    eager = {
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
        "launches": _launches,
        "build": _build,
    }
    return {kind: partial(maker, nn) for kind, maker in eager.items()}


def _read(tensor: Any) -> float:
    """Return a number of a result, which waits for backends that work in the background."""
    return float(tensor.reshape(-1)[0])


def _layer_of(nn: Any, row: Row) -> tuple[Any, Any, Any]:
    """Return a sequence layer, its input and a gradient of its output."""
    x, cotangent = sequence(row)
    layer = getattr(nn, row.name)(*row.shape[2:], **row.keywords)
    return layer, nn.tensor(x, requires_grad=True), nn.tensor(cotangent)


def _train(nn: Any, row: Row) -> Job:
    layer, x, cotangent = _layer_of(nn, row)
    cut = _cut(row)

    def step() -> None:
        layer.zero_grad()
        x.grad = None
        layer(x, **cut)[0].backward(cotangent)

    return Job(step, lambda: [_read(parameter.grad) for parameter in layer.parameters()])


def _cut(row: Row) -> dict[str, Any]:
    """Return the arguments of a layer's call that cut the sequences to lengths or episodes."""
    found = {"lengths": lengths(row), "reset_mask": resets(row)}
    return {key: value for key, value in found.items() if value is not None}


def _train_jit(nn: Any, row: Row) -> Job:
    layer, x, cotangent = _layer_of(nn, row)
    cut = {key: nn.tensor(value) for key, value in _cut(row).items()}

    @nn.jit
    def gradients(parameters: Any, x: Any, cotangent: Any, cut: Any) -> Any:
        _, pull = nn.vjp(lambda p, x: nn.functional_call(layer, p, x, **cut)[0], parameters, x)
        return pull(cotangent)

    return _called(gradients, dict(layer.named_parameters()), x, cotangent, cut)


def _called(function: Callable[..., Any], *arguments: Any) -> Job:
    """Return a job that calls a function whose result begins with a dict of Tensors."""
    last: list[Any] = []

    def call() -> None:
        last[:] = [function(*arguments)]

    def wait() -> object:
        first = last[0][0] if isinstance(last[0], tuple) else last[0]
        return [
            _read(tensor) for tensor in (first.values() if isinstance(first, dict) else [first])
        ]

    return Job(call, wait)


def _inference(nn: Any, row: Row) -> Job:
    layer, x, _ = _layer_of(nn, row)
    layer.eval()

    def forward() -> Any:
        with nn.no_grad():
            return layer(x.detach())[0]

    return _called(forward)


def _inference_jit(nn: Any, row: Row) -> Job:
    layer, x, _ = _layer_of(nn, row)
    layer.eval()
    forward = nn.jit(lambda p, x: nn.functional_call(layer, p, x)[0].detach())
    return _called(forward, dict(layer.named_parameters()), x.detach())


def _cell(nn: Any, row: Row) -> Job:
    x, cotangent = sequence(row)
    cell = getattr(nn, f"{row.name}Cell")(*row.shape[2:])
    inputs = [nn.tensor(step) for step in x]
    last = nn.tensor(cotangent[-1])

    def step() -> None:
        cell.zero_grad()
        state: Any = None
        for x_t in inputs:
            state = cell(x_t, state)
        h = state[0] if isinstance(state, tuple) else state
        h.backward(last)

    return Job(step, lambda: [_read(parameter.grad) for parameter in cell.parameters()])


def _cell_jit(nn: Any, row: Row) -> Job:
    x, cotangent = sequence(row)
    cell = getattr(nn, f"{row.name}Cell")(*row.shape[2:])

    @nn.jit
    def gradients(parameters: Any, x: Any, last: Any) -> Any:
        def final(parameters: Any) -> Any:
            state: Any = None
            for x_t in x:
                state = nn.functional_call(cell, parameters, x_t, state)
            return state[0] if isinstance(state, tuple) else state

        return nn.vjp(final, parameters)[1](last)

    inputs, last = [nn.tensor(step) for step in x], nn.tensor(cotangent[-1])
    return _called(gradients, dict(cell.named_parameters()), inputs, last)


def _own_cell(nn: Any, row: Row) -> Any:
    """Return the user's own cell, in two parts if the row says so, or one of ours."""
    if row.name != "own":
        return getattr(nn, f"{row.name}Cell")(*row.shape[2:])
    into, back = (nn.tensor(weight) for weight in weights(row))

    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.into, self.back = nn.Parameter(into), nn.Parameter(back)

        def forward(self, x: Any, h: Any) -> Any:
            return next_state(nn.ops.sigmoid, nn.ops.tanh, x @ self.into, h, self.back)

    class Apart(Own):
        def project(self, x: Any) -> Any:
            return x @ self.into

        def step(self, projected: Any, h: Any) -> Any:
            return next_state(nn.ops.sigmoid, nn.ops.tanh, projected, h, self.back)

    class Narrow(Own):
        def output(self, h: Any) -> Any:
            return h[..., : row.shown]

    if row.options.get("narrow"):
        return Narrow()
    return Apart() if row.options.get("apart") else Own()


def _unrolled(nn: Any, row: Row) -> tuple[Any, Callable[[Any], Any]]:
    """Return a cell, and the function of an input (T, N, I) that runs it over the steps."""
    cell = _own_cell(nn, row)
    first = nn.zeros((row.shape[1], row.shape[3])) if row.name == "own" else None
    options = {"checkpoint": "sqrt"} if row.options.get("sqrt") else {}
    return cell, lambda x: nn.rnn.unroll(cell, x, first, **options)[0]


def _unroll(nn: Any, row: Row, *, jit: bool = False) -> Job:
    x, cotangent = (nn.tensor(array) for array in sequence(row))
    cell, run = _unrolled(nn, row)
    run = nn.jit(run) if jit else run
    x.requires_grad_()

    def step() -> None:
        cell.zero_grad()
        x.grad = None
        run(x).backward(cotangent)

    return Job(step, lambda: [_read(parameter.grad) for parameter in cell.parameters()])


def _penalty(nn: Any, row: Row) -> tuple[Any, dict[str, Any]]:
    """Return the gradient of the squared gradient to the input, and the parameters to give it."""
    layer, x, cotangent = _layer_of(nn, row)

    def squared(parameters: Any) -> Any:
        def output(x: Any) -> Any:
            return nn.ops.sum(nn.functional_call(layer, parameters, x)[0] * cotangent)

        slope = nn.grad(output)(x)
        return nn.ops.sum(slope * slope)

    return nn.grad(squared), dict(layer.named_parameters())


def _second(nn: Any, row: Row) -> Job:
    gradient, parameters = _penalty(nn, row)
    return _called(gradient, parameters)


def _second_jit(nn: Any, row: Row) -> Job:
    gradient, parameters = _penalty(nn, row)
    return _called(nn.jit(gradient), parameters)


def _eager(nn: Any, row: Row) -> Job:
    function = expression(row)
    x, y = (nn.tensor(array, requires_grad=True) for array in arrays(row.shape, row.shape))
    cotangent = nn.ops.ones_like(function(nn.ops, x, y).detach())

    def call() -> None:
        x.grad = y.grad = None
        function(nn.ops, x, y).backward(cotangent)

    return Job(call, lambda: _read(x.grad))


def _layer(nn: Any, row: Row) -> Job:
    layer = getattr(nn, row.name)(*row.arguments)
    if row.name == "Embedding":
        x = nn.tensor(integers(row.arguments[0], row.shape))
    else:
        x = nn.tensor(arrays(row.shape)[0], requires_grad=True)
    apply = to_itself(layer) if row.name == "MultiheadAttention" else layer
    cotangent = nn.ops.ones_like(apply(x).detach())
    last: list[Any] = []

    def call() -> None:
        layer.zero_grad()
        x.grad = None
        last[:] = [apply(x)]
        last[0].backward(cotangent)

    return Job(call, lambda: [_read(p.grad) for p in layer.parameters()] or _read(x.grad))


def _loss(nn: Any, row: Row) -> Job:
    batch, classes = row.shape
    loss = getattr(nn, row.name)()
    first, second = arrays(row.shape, row.shape)
    x = nn.tensor(first, requires_grad=True)
    labels = row.name == "CrossEntropyLoss"
    target = nn.tensor(integers(classes, (batch,)) if labels else second)

    def call() -> None:
        x.grad = None
        loss(x, target).backward()

    return Job(call, lambda: _read(x.grad))


def _optimizer(nn: Any, row: Row) -> Job:
    count, side = row.shape
    values = arrays(*[(side, side)] * 2 * count)
    parameters = [nn.Parameter(nn.tensor(value)) for value in values[:count]]
    for parameter, gradient in zip(parameters, values[count:], strict=True):
        parameter.grad = nn.tensor(gradient)
    optimizer = getattr(nn.optim, row.name)(parameters, lr=1e-3, **row.options)
    return Job(optimizer.step, lambda: [_read(parameter.detach()) for parameter in parameters])


def _epoch(nn: Any, row: Row) -> Job:
    """As the comparison trains: see `spec_tests.compare.worker`."""
    from spec_tests.compare.network import make_network
    from spec_tests.compare.workloads import Batches, Workload

    workload = Workload(**row.options["workload"])
    batches = Batches(Path(row.options["data"]), workload.dataset)
    model = make_network(nn, workload, nn.float32)
    optimizer = nn.optim.Adam(model.parameters(), lr=workload.lr)

    def epoch() -> None:
        for number in range(workload.epoch):
            inputs, targets = batches.training(number)
            inputs = inputs.astype("float32") if inputs.dtype.kind == "f" else inputs
            optimizer.zero_grad()
            loss = nn.loss.cross_entropy(model(nn.tensor(inputs)), nn.tensor(targets))
            loss.backward()
            optimizer.step()
            loss.item()

    return Job(epoch)


def _launches(nn: Any, row: Row) -> Job:
    """Count what a step launches; only the emulation of CuPy counts."""
    device = nn.spec_device() if hasattr(nn, "spec_device") else {"emulated": False}
    if not device["emulated"]:
        msg = "launches are counted by the emulation of CuPy alone"
        raise Unsupported(msg)
    emulation = importlib.import_module("cupy_emulation")
    layer, x, cotangent = _layer_of(nn, row)

    def step() -> float:
        layer.zero_grad()
        x.grad = None
        emulation.reset_launches()
        layer(x)[0].backward(cotangent)
        return float(emulation.launches())

    return Job(step)


def _build(nn: Any, row: Row) -> Job:
    """Build an implementation's extension anew, from a copy of its sources."""
    source = ROOT / row.name
    if row.name != nn.__name__ or not (source / "setup.py").exists():
        msg = f"{nn.__name__} has nothing to build"
        raise Unsupported(msg)

    def build() -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / nn.__name__
            shutil.copytree(source, copy, ignore=shutil.ignore_patterns("build", "*.so"))
            command = [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"]
            subprocess.run(command, cwd=copy, check=True, stdout=sys.stderr)

    return Job(build)
