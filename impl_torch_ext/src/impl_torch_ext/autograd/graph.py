"""The recorded graph of a Tensor, as text."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import check_tensor
from impl_torch_ext.native import native

__all__ = ["FUNCTION", "LEAF", "depends_on", "graph", "operation_name", "torchs_name"]

# What the kinds of nodes are called in `csrc/graph.h`.
FUNCTION, LEAF = 1, 2

# What torch calls nodes otherwise than `ops` its functions.
_NAMES = {
    "mul": "multiply",
    "sub": "subtract",
    "rsub": "subtract",
    "div": "divide",
    "mm": "matmul",
    "mv": "matmul",
    "bmm": "matmul",
    "dot": "matmul",
    "neg": "negative",
    "absolute": "abs",
    "permute": "permute_dims",
    "t": "permute_dims",
    "unsqueeze": "expand_dims",
    "view": "reshape",
    "unsafe_view": "reshape",
    "cat": "concat",
    "rows": "index",
    "select": "index",
    "slice": "index",
}


def graph(tensor: Tensor, params: Any = None) -> str:
    """Return the recorded graph of a Tensor as text in the language DOT.

    Source of the language: https://graphviz.org/doc/info/lang.html.

    Parameters
    ----------
    tensor : Tensor
    params : dict from str to Tensor, or Module, optional
        Names for leaves; of a Module its `named_parameters`.

    Returns
    -------
    str
        One `digraph` with a node for each recorded operation, for each Function and for each leaf
        that requires grad, and an edge from what came in to what was made of it.

    Raises
    ------
    RuntimeError
        If the Tensor does not require grad.
    TypeError
        If it is no Tensor, or `params` are neither.
    """
    check_tensor("graph", tensor, "tensor")
    names = _names(params)
    if not tensor.requires_grad:
        msg = f"graph: the Tensor of shape {tuple(tensor.shape)} does not require grad"
        raise RuntimeError(msg)
    nodes, _, kinds, edges, leaves = native.nodes_of.default([tensor], 0)
    left, lines = iter(leaves), []
    for number, (name, kind) in enumerate(zip(nodes, kinds, strict=True)):
        label = _leaf(next(left), names) if kind == LEAF else operation_name(name, kind)
        shape = "ellipse" if kind == LEAF else "box"
        lines.append(f"  n{number} [label={_quoted(label)}, shape={shape}];")
    ends = iter(edges)
    ways = [f"  n{start} -> n{end};" for start, end in zip(ends, ends, strict=True)]
    # The walk went from the result to the inputs; it reads from the inputs to the result.
    return "\n".join(["digraph {", *reversed(lines), *reversed(ways), "}\n"])


def depends_on(outputs: list[Tensor], x: Tensor) -> bool:
    """Return whether the graph of one of the outputs holds what made `x`, or the leaf `x`."""
    made, *_ = native.nodes_of.default([*outputs], 0)
    # With the node of x beside them there is one more, unless it is there already.
    return len(native.nodes_of.default([*outputs, x], 0)[0]) == len(made)


def operation_name(name: str, kind: int = 0) -> str:
    """Return what an operation is called whose node torch calls `name`."""
    if kind == FUNCTION:
        name = name.removesuffix("Backward")
        return "checkpoint" if name == "_Checkpoint" else name
    short = torchs_name(name)
    return _NAMES.get(short, short)


def torchs_name(name: str) -> str:
    """Return the name of the operator whose node torch calls `name`."""
    # MulBackward0, and CppNode<impl_torch_ext::(anonymous namespace)::Relu>.
    short = re.sub(r"(Backward(_\w+)?)?\d*>*$", "", re.split(r"::|<", name)[-1])
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", short).lower()


def _names(params: Any) -> dict[int, str]:
    """Return the names of Tensors, the first of several, by their identities."""
    if isinstance(params, torch.nn.Module):
        params = dict(params.named_parameters())
    if params is None:
        return {}
    if not isinstance(params, Mapping):
        msg = f"graph: params must be a dict or a Module, got {type(params).__name__}"
        raise TypeError(msg)
    names: dict[int, str] = {}
    for name, x in params.items():
        if not isinstance(name, str) or not isinstance(x, Tensor):
            msg = (
                "graph: params must map names to Tensors, got "
                f"{type(name).__name__} to {type(x).__name__}"
            )
            raise TypeError(msg)
        names.setdefault(id(x), name)
    return names


def _leaf(x: Tensor, names: dict[int, str]) -> str:
    shape = str(tuple(x.shape))
    return f"{names[id(x)]} {shape}" if id(x) in names else shape


def _quoted(text: str) -> str:
    text = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + re.sub(r"\r\n|\r|\n", r"\\n", text) + '"'
