"""Time a training step of RNN, LSTM and GRU against ``torch.nn``, in turns in one process.

    python benchmarks/rnn_step.py --impl impl_numpy --impl impl_torch_ext

prints, for each implementation, cell and shape, the median milliseconds of both sides and the
ratio of torch's time to ours (above 1: faster than torch). A step is the forward pass of one
layer and the backward pass to the input and all weights, float32. The two sides take turns, so
that a change in the machine's speed meets both; quote the ratio, not the milliseconds.

T steps, N batch, I input size, H hidden size.
"""

from __future__ import annotations

import argparse
import importlib
import statistics
import time
from collections.abc import Callable
from types import ModuleType

import numpy as np
import torch

SHAPES = [
    (8, 32, 8, 32),
    (28, 64, 28, 128),
    (100, 32, 128, 256),
    (100, 64, 512, 512),
    (200, 1, 64, 64),
]
CELLS = ["RNN", "LSTM", "GRU"]


def main() -> None:
    """Read the arguments and print one table for each implementation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impl", action="append", required=True, help="importable; repeatable")
    parser.add_argument("--cell", action="append", choices=CELLS, help="default: all three")
    parser.add_argument("--shapes", type=int, default=len(SHAPES), help="only the first so many")
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent on each row")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, medians")
    for name in arguments.impl:
        nn = importlib.import_module(name)
        print(f"\n{name}{label(nn)}")
        print(f"{'cell':5} {'T, N, I, H':>18} {'ours ms':>9} {'torch ms':>9} ratio")
        for cell in arguments.cell or CELLS:
            for shape in SHAPES[: arguments.shapes]:
                ours, torchs = in_turns(
                    our_step(nn, cell, shape), torch_step(cell, shape), arguments.seconds
                )
                row = f"{cell:5} {', '.join(map(str, shape)):>18} {ours:9.2f} {torchs:9.2f}"
                print(f"{row} {torchs / ours:5.2f}", flush=True)


def label(nn: ModuleType) -> str:
    """Return what has to stand beside the times of an emulated device."""
    device = nn.spec_device() if hasattr(nn, "spec_device") else {"emulated": False}
    return f" ({device['device']})" if device["emulated"] else ""


def our_step(nn: ModuleType, cell: str, shape: tuple[int, int, int, int]) -> Callable[[], object]:
    """Return one training step of an implementation's layer."""
    steps, batch, inputs, hidden = shape
    layer = getattr(nn, cell)(inputs, hidden)
    rng = np.random.default_rng(0)
    x = nn.tensor(rng.standard_normal((steps, batch, inputs), dtype=np.float32), requires_grad=True)
    cotangent = nn.tensor(rng.standard_normal((steps, batch, hidden), dtype=np.float32))

    def step() -> object:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(cotangent)
        # Reading a number waits for backends that compute in the background.
        return [float(p.grad.reshape(-1)[0]) for p in layer.parameters()]

    return step


def torch_step(cell: str, shape: tuple[int, int, int, int]) -> Callable[[], object]:
    """Return the same step of ``torch.nn``."""
    steps, batch, inputs, hidden = shape
    layer = getattr(torch.nn, cell)(inputs, hidden)
    x = torch.randn(steps, batch, inputs, requires_grad=True)
    cotangent = torch.randn(steps, batch, hidden)

    def step() -> object:
        layer.zero_grad()
        x.grad = None
        layer(x)[0].backward(cotangent)
        return [float(p.grad.reshape(-1)[0]) for p in layer.parameters()]

    return step


def in_turns(
    a: Callable[[], object], b: Callable[[], object], seconds: float
) -> tuple[float, float]:
    """Return the median milliseconds of ``a`` and ``b``, called in turn for about ``seconds``."""
    times: tuple[list[float], list[float]] = ([], [])
    for function in (a, b, a, b):
        function()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for function, record in zip((a, b), times, strict=True):
            start = time.perf_counter()
            function()
            record.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times[0]), statistics.median(times[1])


if __name__ == "__main__":
    main()
