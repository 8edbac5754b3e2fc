"""A table of the Modules in a Module, with the shapes of their outputs and their Parameters."""

from __future__ import annotations

from typing import Any, NamedTuple

from impl_cupy.checks import shown, type_name
from impl_cupy.module.base import Module
from impl_cupy.random import DrawnAgain, mark
from impl_cupy.tape import Recording
from impl_cupy.tensor import Tensor


class SummaryRow(NamedTuple):
    """What `summary` tells of one Module.

    Attributes
    ----------
    name : str
        Dotted; "" for the outermost.
    kind : str
        Name of the class.
    output_shape : tuple or None
        Of several outputs a tuple of shapes.
    parameters : int
        Number of elements of the Parameters registered in this very Module.
    """

    name: str
    kind: str
    output_shape: Any
    parameters: int


class Summary:
    """What `summary` returns; `str` gives a table.

    Attributes
    ----------
    rows : list of SummaryRow
    total_parameters : int
        Number of elements of all Parameters, each counted once.
    trainable_parameters : int
        Of those that require grad.
    """

    def __init__(self, rows: list[SummaryRow], trainable_parameters: int) -> None:
        self.rows = rows
        self.total_parameters = sum(row.parameters for row in rows)
        self.trainable_parameters = trainable_parameters

    def __repr__(self) -> str:
        texts = [("name", "class", "output shape", "parameters")]
        for row in self.rows:
            output = "-" if row.output_shape is None else str(row.output_shape)
            texts.append((row.name, row.kind, output, str(row.parameters)))
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = []
        for name, kind, shape, count in texts:
            start = f"{name:{widths[0]}}  {kind:{widths[1]}}  {shape:{widths[2]}}"
            lines.append(f"{start}  {count:>{widths[3]}}")
        lines.insert(1, "-" * max(map(len, lines)))
        lines.append(f"total parameters: {self.total_parameters}")
        lines.append(f"trainable parameters: {self.trainable_parameters}")
        return "\n".join(lines)


def summary(module: Module, *inputs: Any) -> Summary:
    """Tell of each Module in a Module its class, the shape of its output and its Parameters.

    Parameters
    ----------
    module : Module
    *inputs
        The Module is called with them in evaluation mode, recording nothing, and is afterwards as
        it was, like the generator. Without inputs it is not called, and no shapes are known.

    Returns
    -------
    Summary
        With `rows`, `total_parameters` and `trainable_parameters`.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, Module):
        got = shown(module) if isinstance(module, type) else type_name(module)
        msg = f"summary: module must be a Module, got {got}"
        raise TypeError(msg)
    shapes = _shapes(module, inputs) if inputs else {}
    rows, trainable = [], 0
    seen: set[int] = set()
    for name, part in module.named_modules():
        own = {id(entry): entry for entry in part._parameters.values() if entry is not None}
        fresh = [entry for key, entry in own.items() if key not in seen]
        seen.update(own)
        trainable += sum(entry.size for entry in fresh if entry.requires_grad)
        count = sum(entry.size for entry in fresh)
        rows.append(SummaryRow(name, type(part).__name__, shapes.get(id(part)), count))
    return Summary(rows, trainable)


def _shapes(module: Module, inputs: tuple[Any, ...]) -> dict[int, Any]:
    """Call the Module and return the shapes of outputs by the id of a part."""
    shapes: dict[int, Any] = {}

    def note(part: Module, args: tuple[Any, ...], output: Any) -> None:
        del args
        shapes[id(part)] = _shape_of(output)

    flags = [(part, part.training) for part in module.modules()]
    handles = [part.register_forward_hook(note) for part, _ in flags]
    try:
        module.eval()
        with DrawnAgain(mark()), Recording(False):
            module(*inputs)
    finally:
        for handle in handles:
            handle.remove()
        for part, flag in flags:
            part.training = flag
    return shapes


def _shape_of(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output.shape
    if isinstance(output, (tuple, list)):
        return tuple([_shape_of(part) for part in output])
    return None
