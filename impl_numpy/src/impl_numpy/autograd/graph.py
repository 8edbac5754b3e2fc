"""The recorded graph as text in the language DOT (autograd-43)."""

from __future__ import annotations

from typing import Any

from impl_numpy.autograd.anomaly import function_name
from impl_numpy.checks import shown
from impl_numpy.function_node import OutputNode
from impl_numpy.tape import Leaf, Node, Source, Stretched
from impl_numpy.tensor import Tensor

# What stands between operations and is none.
_BETWEEN = (OutputNode, Source, Stretched)


def graph(tensor: Tensor, params: Any = None) -> str:
    """Return the recorded graph of a Tensor as a `digraph` in the language DOT.

    A node for each operation, labelled by its name, and for each leaf that requires grad, labelled
    by its shape; an edge from what came in to what was made of it.

    Parameters
    ----------
    tensor : Tensor
        It requires grad.
    params : dict from names to Tensors, or Module, optional
        The names of leaves.

    Raises
    ------
    RuntimeError
        If the Tensor does not require grad.
    TypeError
        If it is no Tensor, or `params` are neither.

    Notes
    -----
    The language: graphviz.org/doc/info/lang.html.
    """
    if not isinstance(tensor, Tensor):
        msg = f"graph: wants a Tensor, got {shown(tensor)} ({type(tensor).__name__})"
        raise TypeError(msg)
    names = _named(params)
    if tensor._node is None:
        msg = "graph: this Tensor does not require grad, so it has no graph"
        raise RuntimeError(msg)
    order = _ordered(_operation(tensor._node))
    numbers = {node: k for k, node in enumerate(order)}
    lines = ["digraph {"]
    for node, k in numbers.items():
        shape = " shape=box" if type(node) is Leaf else ""
        lines.append(f'  n{k} [label="{_escaped(_label(node, names))}"{shape}];')
        lines += [f"  n{numbers[parent]} -> n{k};" for parent in _parents(node)]
    return "\n".join([*lines, "}\n"])


def _named(params: Any) -> dict[Node, str]:
    """Return the names of leaves."""
    given = params
    if hasattr(type(params), "named_parameters"):
        given = dict(params.named_parameters())
    if given is None:
        given = {}
    if not isinstance(given, dict) or not all(isinstance(x, Tensor) for x in given.values()):
        msg = (
            "graph: params must be a dict from names to Tensors, or a Module, got "
            f"{shown(params)} ({type(params).__name__})"
        )
        raise TypeError(msg)
    return {x._node: str(name) for name, x in given.items() if x._node is not None}


def _operation(node: Node) -> Node:
    """Return the operation or leaf that a node stands for."""
    while isinstance(node, _BETWEEN) and node.parents and node.parents[0] is not None:
        node = node.parents[0]
    return node


def _parents(node: Node) -> list[Node]:
    return [_operation(parent) for parent in node.parents if parent is not None]


def _ordered(end: Node) -> list[Node]:
    """Return the operations that lead to one, each after what it was made of."""
    order: dict[Node, None] = {}
    waiting = [(end, False)]
    entered: set[Node] = set()
    while waiting:
        node, done = waiting.pop()
        if done:
            order[node] = None
        elif node not in entered:
            entered.add(node)
            waiting.append((node, True))
            waiting += [(parent, False) for parent in reversed(_parents(node))]
    return list(order)


def _label(node: Node, names: dict[Node, str]) -> str:
    if type(node) is Leaf:
        return f"{names[node]} {node.shape}" if node in names else str(node.shape)
    return function_name(node.name)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
