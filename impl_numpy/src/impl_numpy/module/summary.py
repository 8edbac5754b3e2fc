"""What a Module is made of: a row for each part, with the shape of its output."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from impl_numpy import random
from impl_numpy.autograd import no_grad
from impl_numpy.checks import shown
from impl_numpy.module.base import Module
from impl_numpy.tensor import Tensor

_HEAD = ("name", "kind", "output shape", "parameters")


class SummaryRow(NamedTuple):
    """One Module of a summary."""

    name: str
    kind: str
    output_shape: Any
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The rows of a Module, and the number of elements of its Parameters.

    Attributes
    ----------
    rows : list of SummaryRow
        One for every Module, in the order of `named_modules`.
    total_parameters, trainable_parameters : int
        A shared Parameter counts once.
    """

    rows: list[SummaryRow]
    total_parameters: int
    trainable_parameters: int

    def __str__(self) -> str:
        """Return a table, with a line for each row and for each total."""
        lines = [_HEAD, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        rule = "-" * max(map(len, table))
        totals = [
            f"total parameters: {self.total_parameters}",
            f"trainable parameters: {self.trainable_parameters}",
        ]
        return "\n".join([table[0], rule, *table[1:], rule, *totals])


def summary(module: Module, *inputs: Any) -> Summary:
    """Return what a Module is made of and, with inputs, the shapes of what its parts return.

    With inputs the Module is called with them, in evaluation mode and recording nothing. The
    generator, the `training` flags and the hooks are afterwards as before.

    Parameters
    ----------
    module : Module
    *inputs
        What it is called with; without any it is not called, and no row has a shape.

    Returns
    -------
    Summary
        Its `str` is a table.

    Raises
    ------
    TypeError
        If it is no Module. What `forward` raises passes through.
    """
    if not isinstance(module, Module):
        msg = f"summary: module must be a Module, got {shown(module)}"
        raise TypeError(msg)
    shapes: dict[int, Any] = {}
    if inputs:
        with no_grad(), _watched(list(module.modules()), shapes):
            module(*inputs)
    seen: set[int] = set()
    rows, trainable = [], 0
    for name, part in module.named_modules():
        own = [p for p in part.parameters(recurse=False) if id(p) not in seen]
        seen.update(map(id, own))
        trainable += sum(p.size for p in own if p.requires_grad)
        kind, count = type(part).__name__, sum(p.size for p in own)
        rows.append(SummaryRow(name, kind, shapes.get(id(part)), count))
    return Summary(rows, sum(row.parameters for row in rows), trainable)


@contextmanager
def _watched(parts: list[Module], shapes: dict[int, Any]) -> Iterator[None]:
    """Note the shapes that Modules return, in evaluation; leave them and the generator alone."""

    def note(part: Module, _args: Any, output: Any) -> None:
        shapes[id(part)] = _shape(output)

    place, flags = random.place(), [part.training for part in parts]
    handles = [part.register_forward_hook(note) for part in parts]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, flag, handle in zip(parts, flags, handles, strict=True):
            part.training = flag
            handle.remove()
            part._tidy_hooks()
        random.resume(place)


def _shape(output: Any) -> Any:
    """Return the shape of a Tensor, a tuple of those of a tuple or list; None of anything else."""
    if isinstance(output, Tensor):
        return output.shape
    return tuple([_shape(item) for item in output]) if isinstance(output, (tuple, list)) else None
