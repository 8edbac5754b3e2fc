"""A table of a Module's parts, with their outputs' shapes and their parameters."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext import random
from impl_torch_ext.checks import shown
from impl_torch_ext.tensor import from_numpy, leaf

__all__ = ["Row", "Summary", "summary"]


class Row(NamedTuple):
    """One Module of a summary."""

    name: str
    kind: str
    output_shape: Any
    parameters: int


@dataclass(frozen=True)
class Summary:
    """What `summary` returns.

    Attributes
    ----------
    rows : list of named tuple
        `(name, kind, output_shape, parameters)` for every Module of `named_modules`.
    total_parameters : int
        The sum over the rows.
    trainable_parameters : int
        The elements of those that require grad.
    """

    rows: list[Row]
    total_parameters: int
    trainable_parameters: int

    def __str__(self) -> str:
        head = ("name", "kind", "output shape", "parameters")
        table = [head, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(3)]
        lines = [
            "  ".join([*(text.ljust(width) for text, width in zip(line, widths, strict=False)), n])
            for *line, n in table
        ]
        lines.append(f"total parameters: {self.total_parameters}")
        lines.append(f"trainable parameters: {self.trainable_parameters}")
        return "\n".join(lines)


def summary(module: torch.nn.Module, *inputs: Any) -> Summary:
    """Return a table of a Module and of those below it.

    Parameters
    ----------
    module : Module
    *inputs
        If given, the Module is called with them in evaluation mode, recording nothing, for the
        shapes of the outputs; NumPy arrays become Tensors. The Module, its hooks and the generator
        are afterwards as before.

    Returns
    -------
    Summary
        A Parameter that is shared counts in the first row that has it. The shape of a tuple or list
        is a tuple of shapes, None for what is no Tensor or was not called.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, torch.nn.Module):
        msg = f"summary: module must be a Module, got {shown(module)}"
        raise TypeError(msg)
    shapes: dict[int, Any] = {}
    if inputs:
        with torch.no_grad(), _watched(module, shapes):
            module(
                *(
                    leaf(from_numpy("summary", x)) if isinstance(x, np.ndarray) else x
                    for x in inputs
                )
            )
    rows, seen = list[Row](), dict[int, torch.nn.Parameter]()
    for name, part in module.named_modules():
        own = {id(p): p for p in part._parameters.values() if p is not None}
        new = [p.numel() for key, p in own.items() if key not in seen]  # module-28
        seen.update(own)
        rows.append(Row(name, type(part).__name__, shapes.get(id(part)), sum(new)))
    trainable = sum(p.numel() for p in seen.values() if p.requires_grad)
    return Summary(rows, sum(row.parameters for row in rows), trainable)


@contextmanager
def _watched(module: torch.nn.Module, shapes: dict[int, Any]) -> Iterator[None]:
    """Write down the shapes of outputs; the Module and the generator are then as before."""

    def note(part: torch.nn.Module, _: Any, output: Any) -> None:
        shapes[id(part)] = _shape(output)

    parts = [(part, part.training) for part in module.modules()]
    state, handles = random.state(), list[Any]()
    try:
        for part, _ in parts:
            handles.append(part.register_forward_hook(note))
            part.training = False
        yield
    finally:
        for handle in handles:
            handle.remove()
        for part, training in parts:
            part.training = training
        random.restore(state)


def _shape(output: Any) -> Any:
    if isinstance(output, tuple | list):
        return tuple(map(_shape, output))
    return tuple(output.shape) if isinstance(output, Tensor) else None
