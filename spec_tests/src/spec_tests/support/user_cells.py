"""Cells as a user writes them, and the loop that `unroll` stands for."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.support.inputs import normal


def parameter(nn: Any, shape: tuple[int, ...], dtype: str, seed: int) -> Any:
    """Return a Parameter of numbers of about 1 / 2."""
    return nn.Parameter(nn.tensor(normal(shape, dtype, seed=seed) / 2))


def plain_cell(nn: Any, width: int, hidden: int, dtype: str) -> Any:
    """Return a cell whose state is one Tensor; None stands for zeros."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(width, hidden, dtype=getattr(nn, dtype))
            self.weight = parameter(nn, (hidden, hidden), dtype, 1)

        def forward(self, x: Any, h: Any) -> Any:
            a = self.inner(x)
            return nn.ops.tanh(a if h is None else a + h @ self.weight)

    nn.manual_seed(4)
    return Plain()


def counting_cell(nn: Any, width: int, hidden: int, dtype: str) -> Any:
    """Return a cell whose state is a dict, with an integer in it, and whose output is another."""

    class Counting(nn.Module):
        state_size = hidden

        def __init__(self) -> None:
            super().__init__()
            self.weight = parameter(nn, (width + hidden, hidden), dtype, 2)
            self.read = parameter(nn, (hidden, 2), dtype, 3)

        def forward(self, x: Any, state: Any) -> Any:
            h = nn.ops.sin(nn.ops.concat([x, state["h"]], axis=-1) @ self.weight)
            return {"h": h, "steps": state["steps"] + 1}

        def output(self, state: Any) -> Any:
            return (state["h"] @ self.read, state["steps"])

    return Counting()


def split_cell(nn: Any, width: int, hidden: int, dtype: str) -> Any:
    """Return a cell in two parts, whose `forward` must not be called."""

    class Split(nn.Module):
        state_size = (hidden, hidden)

        def __init__(self) -> None:
            super().__init__()
            self.into = parameter(nn, (width, hidden), dtype, 5)
            self.back = parameter(nn, (hidden, hidden), dtype, 6)

        def project(self, x: Any) -> Any:
            return {"a": x @ self.into, "x": x[..., :1]}

        def step(self, projected: Any, state: Any) -> Any:
            h, total = state
            h = nn.ops.tanh(projected["a"] + h @ self.back) * projected["x"]
            return (h, total * 0.5 + h * h)

    return Split()


def first_state(nn: Any, kind: str, batch: int, hidden: int, dtype: str) -> Any:
    """Return a first state of one of these cells, and its floating Tensors."""
    h = nn.tensor(normal((batch, hidden), dtype, seed=7), requires_grad=True)
    if kind == "counting":
        return {"h": h, "steps": nn.tensor(np.zeros(batch, "int64"))}, [h]
    if kind == "split":
        other = nn.tensor(normal((batch, hidden), dtype, seed=8), requires_grad=True)
        return (h, other), [h, other]
    return h, [h]


CELLS = {"plain": plain_cell, "counting": counting_cell, "split": split_cell}


def tensors_of(tree: Any) -> list[Any]:
    """Return the Tensors of a structure, in order."""
    if isinstance(tree, dict):
        return [leaf for key in sorted(tree) for leaf in tensors_of(tree[key])]
    if isinstance(tree, tuple | list):
        return [leaf for part in tree for leaf in tensors_of(part)]
    return [tree]


def mapped(change: Callable[[Any], Any], tree: Any) -> Any:
    """Return a structure with `change` made of every Tensor."""
    if isinstance(tree, dict):
        return {key: mapped(change, part) for key, part in tree.items()}
    if isinstance(tree, tuple | list):
        return type(tree)(mapped(change, part) for part in tree)
    return change(tree)


def loop(nn: Any, cell: Any, inputs: Any, state: Any) -> tuple[Any, Any]:
    """Return the output, a list of the stacked Tensors of it, and the last state."""
    outputs = []
    steps = inputs.shape[0]
    for t in range(steps):
        x = inputs[t]
        split = hasattr(cell, "step")
        state = cell.step(cell.project(x), state) if split else cell(x, state)
        out = cell.output(state) if hasattr(cell, "output") else tensors_of(state)[0]
        outputs.append(tensors_of(out))
    return [nn.ops.stack(list(parts), axis=0) for parts in zip(*outputs, strict=True)], state
