"""Time RNN, LSTM and GRU against ``torch.nn``, in turns in one process.

    python benchmarks/rnn_step.py --impl impl_numpy --impl impl_torch_ext

prints, for each implementation, cell and shape, the median milliseconds of both sides and the
ratio of torch's time to ours (above 1: faster than torch). A train step is the forward pass of one
layer and the backward pass to the input and all weights, float32; inference is the forward pass
alone, nothing recorded. The two sides take turns, so that a change in the machine's speed meets
both; quote the ratio, not the milliseconds.

Beside each ratio stand two numbers for either side, ours first:

- efficiency: the time that the products alone would take at the rate of torch's sgemm, which takes
  its turn in the same loop with the same threads, over the time that was taken. The products of a
  train step have 6 T N G H (I + H) floating-point operations, those of inference a third of that.
- CPU time over wall time: about the number of threads that work, or wait without sleeping.

T steps, N batch, I input size, H hidden size, G gates.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch

SHAPES = [
    (8, 32, 8, 32),
    (28, 64, 28, 128),
    (100, 32, 128, 256),
    (100, 64, 512, 512),
    (200, 1, 64, 64),
]
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
MODES = ["train", "inference"]
# Rows and columns of the matrices whose product tells what the machine can do.
SQUARE = 1024

Shape = tuple[int, int, int, int]


def main() -> None:
    """Read the arguments and print one table for each implementation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impl", action="append", required=True, help="importable; repeatable")
    parser.add_argument("--cell", action="append", choices=GATES, help="default: all three")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    parser.add_argument("--mode", action="append", choices=MODES, help="default: train")
    parser.add_argument("--threads", type=int, help="torch.set_num_threads; default: torch's")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each row")
    arguments = parser.parse_args()
    if arguments.threads is not None:
        torch.set_num_threads(arguments.threads)
    capability = torch.backends.cpu.get_cpu_capability()
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__} ({capability}), {threads} threads, float32, medians")
    for name in arguments.impl:
        nn = importlib.import_module(name)
        for mode in arguments.mode or MODES[:1]:
            print(f"\n{name}{label(nn)}, {mode}")
            print(HEAD)
            for cell in arguments.cell or GATES:
                for shape in SHAPES[: arguments.shapes]:
                    print(row(nn, cell, shape, mode, arguments.seconds), flush=True)


HEAD = f"{'cell':4} {'T, N, I, H':>17} {'ours ms':>8} {'torch ms':>8} ratio   efficiency  CPU/wall"


def row(nn: ModuleType, cell: str, shape: Shape, mode: str, seconds: float) -> str:
    """Return the line of one cell and shape."""
    calls = (our_call(nn, cell, shape, mode), torch_call(cell, shape, mode), square_product())
    ours, torchs, square = in_turns(seconds, *calls)
    busy = [processors(call) for call in calls[:2]]
    steps, batch, inputs, hidden = shape
    products = steps * batch * GATES[cell] * hidden * (inputs + hidden)
    least = (3 if mode == "train" else 1) * products * square / SQUARE**3
    return (
        f"{cell:4} {', '.join(map(str, shape)):>17} {ours:8.2f} {torchs:8.2f} {torchs / ours:5.2f}"
        f"   {least / ours:4.2f}, {least / torchs:4.2f}  {busy[0]:4.2f}, {busy[1]:4.2f}"
    )


def label(nn: ModuleType) -> str:
    """Return what has to stand beside the times of an emulated device."""
    device = nn.spec_device() if hasattr(nn, "spec_device") else {"emulated": False}
    return f" ({device['device']})" if device["emulated"] else ""


def our_call(nn: ModuleType, cell: str, shape: Shape, mode: str) -> Callable[[], object]:
    """Return one train step, or inference, of an implementation's layer."""
    steps, batch, inputs, hidden = shape
    layer = getattr(nn, cell)(inputs, hidden)
    rng = np.random.default_rng(0)
    x = nn.tensor(rng.standard_normal((steps, batch, inputs), dtype=np.float32), requires_grad=True)
    cotangent = nn.tensor(rng.standard_normal((steps, batch, hidden), dtype=np.float32))
    return call_of(layer, x, cotangent, nn.no_grad, mode)


def torch_call(cell: str, shape: Shape, mode: str) -> Callable[[], object]:
    """Return the same of ``torch.nn``."""
    steps, batch, inputs, hidden = shape
    layer = getattr(torch.nn, cell)(inputs, hidden)
    x = torch.randn(steps, batch, inputs, requires_grad=True)
    return call_of(layer, x, torch.randn(steps, batch, hidden), torch.no_grad, mode)


def call_of(layer: Any, x: Any, cotangent: Any, no_grad: Any, mode: str) -> Callable[[], object]:
    """Return the call that is timed; it reads numbers, to wait for work in the background."""

    def train() -> object:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(cotangent)
        return [float(p.grad.reshape(-1)[0]) for p in layer.parameters()]

    def inference() -> object:
        with no_grad():
            return float(layer(x)[0].reshape(-1)[0])

    return train if mode == "train" else inference


def square_product() -> Callable[[], object]:
    """Return a product of two square matrices by torch."""
    a, b, c = torch.randn(3, SQUARE, SQUARE)
    return lambda: torch.mm(a, b, out=c)


def in_turns(seconds: float, *functions: Callable[[], object]) -> list[float]:
    """Return the median milliseconds of the functions, called in turn for about ``seconds``."""
    for function in functions * 2:
        function()
    times: list[list[float]] = [[] for _ in functions]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, record in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            record.append((time.perf_counter() - start) * 1e3)
    return [statistics.median(record) for record in times]


def processors(function: Callable[[], object], seconds: float = 0.2) -> float:
    """Return CPU time over wall time of calls one after another.

    Not in turns: the system counts the time of a thread elsewhere by its ticks, and one that waits
    awake after its call would be counted with the next.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        function()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


if __name__ == "__main__":
    main()
