"""Time one eager operation, forward and backward, against torch, in turns in one process.

    python benchmarks/eager.py --impl impl_numpy --impl impl_torch_ext

prints, for each implementation, operation and number of elements, the median microseconds of both
sides and the ratio of torch's time to ours (above 1: faster than torch). The two sides take turns,
so that a change in the machine's speed meets both; quote the ratio, not the microseconds.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import torch
from rnn_step import in_turns, label

SIDES = [2, 64, 512]
# As an expression, so that a method, an operator and a function of `ops` are timed as written.
OPERATIONS = {
    "add": "x + y",
    "multiply": "x * y",
    "tanh": "ops.tanh(x)",
    "matmul": "x @ y",
    "sum": "x.sum()",
    "getitem": "x[1:, ::2]",
    "softmax": "ops.softmax(x, -1)",
}
# Calls in one measurement: a single call is too short for the clock.
CALLS = 20


def main() -> None:
    """Read the arguments and print one table for each implementation."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impl", action="append", required=True, help="importable; repeatable")
    parser.add_argument("--op", action="append", choices=list(OPERATIONS), help="default: all")
    parser.add_argument("--seconds", type=float, default=1.0, help="time spent on each row")
    arguments = parser.parse_args()
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, float32, medians")
    for name in arguments.impl:
        nn = importlib.import_module(name)
        print(f"\n{name}{label(nn)}")
        print(f"{'operation':10} {'shape':>10} {'ours us':>9} {'torch us':>9} ratio")
        for operation in arguments.op or OPERATIONS:
            for side in SIDES:
                calls = (our_calls(nn, operation, side), torch_calls(operation, side))
                ours, torchs = in_turns(arguments.seconds, *calls)
                shape, scale = f"{side}, {side}", 1e3 / CALLS
                row = f"{operation:10} {shape:>10} {ours * scale:9.1f} {torchs * scale:9.1f}"
                print(f"{row} {torchs / ours:5.2f}", flush=True)


def written(operation: str) -> Callable[[Any, Any, Any], Any]:
    """Return an operation as a function of ``ops`` and two arrays."""
    function: Callable[[Any, Any, Any], Any] = eval(f"lambda ops, x, y: {OPERATIONS[operation]}")
    return function


def draw(side: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two square matrices, the same in every call."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, side, side), dtype=np.float32)
    return x, y


def our_calls(nn: ModuleType, operation: str, side: int) -> Callable[[], object]:
    """Return `CALLS` forward and backward passes of an implementation's operation."""
    function = written(operation)
    x, y = (nn.tensor(array, requires_grad=True) for array in draw(side))
    cotangent = nn.ops.ones_like(function(nn.ops, x, y).detach())

    def calls() -> object:
        for _ in range(CALLS):
            x.grad = y.grad = None
            function(nn.ops, x, y).backward(cotangent)
        # Reading a number waits for backends that compute in the background.
        return float(x.grad.reshape(-1)[0])

    return calls


def torch_calls(operation: str, side: int) -> Callable[[], object]:
    """Return the same passes of torch."""
    function = written(operation)
    x, y = (torch.tensor(array, requires_grad=True) for array in draw(side))
    cotangent = torch.ones_like(function(torch, x, y).detach())

    def calls() -> object:
        for _ in range(CALLS):
            x.grad = y.grad = None
            function(torch, x, y).backward(cotangent)
        assert x.grad is not None
        return float(x.grad.reshape(-1)[0])

    return calls


if __name__ == "__main__":
    main()
