"""A table of a Module: its parts, the shapes of what they return, and their parameters."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from .. import random
from ..checks import refuse_type
from ..tape import Traced, recording_set
from .base import Module

_HEAD = ("name", "kind", "output shape", "parameters")


class Row(NamedTuple):
    """What a summary says of one Module.

    Attributes
    ----------
    name : str
        The dotted name, empty for the outermost.
    kind : str
        The name of the class.
    output_shape : tuple or None
        The shape of the last output, a tuple of those of several, None where there is none.
    parameters : int
        The elements of its own Parameters that no row before it has.
    """

    name: str
    kind: str
    output_shape: Any
    parameters: int


@dataclass(frozen=True)
class Summary:
    """The rows of a Module, and the elements of all Parameters and of those that are trained."""

    rows: list[Row]
    total_parameters: int
    trainable_parameters: int

    def __str__(self) -> str:
        rows = [row._replace(output_shape=_text(row.output_shape)) for row in self.rows]
        table = [_HEAD, *[tuple(map(str, row)) for row in rows]]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [_line(cells, widths) for cells in table]
        lines.insert(1, "-" * len(lines[0]))
        lines.append(f"total parameters: {self.total_parameters}")
        lines.append(f"trainable parameters: {self.trainable_parameters}")
        return "\n".join(lines)


def _text(shape: Any) -> str:
    return "" if shape is None else str(shape)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells[:-1], widths[:-1], strict=True)]
    return "  ".join([*padded, cells[-1].rjust(widths[-1])])


def summary(module: Module, *inputs: Any) -> Summary:
    """Return a table of a Module and of those below it; with inputs they are called.

    The call is in evaluation mode and records nothing. The generator, every `training` and the
    hooks are afterwards as before.

    Parameters
    ----------
    module : Module
    *inputs
        The arguments of the call; without any, no shapes are known.

    Returns
    -------
    Summary
        Its ``str`` is the table.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, Module):
        refuse_type("summary", "module", "a Module", module)
    shapes = _shapes(module, inputs) if inputs else {}
    rows, seen, trainable = [], set[int](), 0
    for name, part in module.named_modules():
        own = {id(p): p for p in part._parameters.values() if p is not None and id(p) not in seen}
        seen |= own.keys()
        sizes = [p._data.size for p in own.values()]
        trainable += sum([p._data.size for p in own.values() if p._requires_grad])
        rows.append(Row(name, type(part).__name__, shapes.get(id(part)), sum(sizes)))
    return Summary(rows, sum([row.parameters for row in rows]), trainable)


def _shapes(module: Module, inputs: tuple[Any, ...]) -> dict[int, Any]:
    """Call a Module, and return the shape of the last output of each that is called."""
    parts = list(module.modules())
    flags = [part.training for part in parts]
    shapes: dict[int, Any] = {}

    def note(part: Module, _args: Any, output: Any) -> None:
        shapes[id(part)] = _shape(output)

    state = random.get_state()
    handles = [part.register_forward_hook(note) for part in parts]
    try:
        for part in parts:
            part.training = False
        with recording_set(False):
            module(*inputs)
    finally:
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag
        for handle in handles:
            handle.remove()
        random.set_state(state)
    return shapes


def _shape(output: Any) -> Any:
    if isinstance(output, tuple | list):
        return tuple([_shape(item) for item in output])
    return output._data.shape if isinstance(output, Traced) else None
