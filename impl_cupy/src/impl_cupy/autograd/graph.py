"""The recorded graph as text."""

from __future__ import annotations

from typing import Any

from impl_cupy.checks import type_name
from impl_cupy.engine import Place, behind
from impl_cupy.tape import FREED, Slot, edge_of, handles
from impl_cupy.tensor import Tensor


def graph(tensor: Tensor, params: Any = None) -> str:
    """Return the recorded graph of a Tensor in the language DOT.

    A box for each operation and Function, an ellipse for each leaf that requires grad, and an arrow
    from what came in to what was made of it. Source of the language:
    https://graphviz.org/doc/info/lang.html.

    Parameters
    ----------
    tensor : Tensor
        It requires grad.
    params : dict of str to Tensor, or Module
        The names of leaves; of a Module its `named_parameters`.

    Returns
    -------
    str
        One ``digraph``, the same each time.

    Raises
    ------
    RuntimeError
        If the Tensor does not require grad, or its graph was freed.
    TypeError
        If `tensor` is no Tensor, or `params` is neither.
    """
    if not isinstance(tensor, Tensor):
        msg = f"graph: must be a Tensor, got {type_name(tensor)}"
        raise TypeError(msg)
    names = _names(params)
    edge = edge_of(tensor)
    if edge is None:
        msg = "graph: this Tensor does not require grad and has no history"
        raise RuntimeError(msg)
    order = behind([edge[0]])
    if any(place.edges is None for place in order):
        msg = f"graph: {FREED}"
        raise RuntimeError(msg)
    numbers = {place: number for number, place in enumerate(order)}
    lines = ["digraph {"]
    for place, number in numbers.items():
        if isinstance(place, Slot):
            label = f"{names[place]} {place.shape}" if place in names else f"{place.shape}"
            lines.append(f"  n{number} [label={_quoted(label)}];")
        else:
            lines.append(f"  n{number} [label={_quoted(place.called())}, shape=box];")
    for place, number in numbers.items():
        sources = dict.fromkeys(edge[0] for edge in place.edges or () if edge is not None)
        lines += [f"  n{numbers[source]} -> n{number};" for source in sources]
    return "\n".join([*lines, "}"]) + "\n"


def _names(params: Any) -> dict[Place, str]:
    if params is None:
        return {}
    if isinstance(params, handles.Module):
        params = dict(params.named_parameters())
    if not isinstance(params, dict):
        msg = f"graph: params must be a dict or a Module, got {type_name(params)}"
        raise TypeError(msg)
    names: dict[Place, str] = {}
    for name, value in params.items():
        if not isinstance(value, Tensor):
            msg = f"graph: params must hold Tensors, got {type_name(value)} at {name!r}"
            raise TypeError(msg)
        edge = edge_of(value)
        if edge is not None and isinstance(edge[0], Slot):
            names.setdefault(edge[0], str(name))
    return names


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\r\n", "\n").replace("\n", "\\n").replace("\r", "\\r") + '"'
