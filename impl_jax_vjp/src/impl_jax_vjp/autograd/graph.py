"""The recorded graph as text."""

from collections.abc import Iterator
from typing import Any

from ..checks import refuse_type
from ..tape import Node, Traced


def graph(tensor: Any, params: Any = None) -> str:
    """Return the recorded graph of a Tensor in the language DOT.

    A node stands for each operation, labelled by its name, and for each leaf that requires grad,
    labelled by its shape; an edge goes from what came in to what was made of it.

    Parameters
    ----------
    tensor : Tensor
    params : dict from str to Tensor, or Module, optional
        Names of leaves.

    Returns
    -------
    str
        One ``digraph``, the same each time.

    Raises
    ------
    TypeError
        If `tensor` is no Tensor, or `params` neither dict of Tensors nor Module.
    RuntimeError
        If the Tensor does not require grad, or a backward has freed its graph.

    Notes
    -----
    The language is that of https://graphviz.org/doc/info/lang.html.
    """
    if not isinstance(tensor, Traced):
        refuse_type("graph", "tensor", "a Tensor", tensor)
    names = {id(leaf): name for name, leaf in reversed(list(_named(params)))}
    if not tensor._requires_grad:
        msg = "graph: the Tensor must require grad, got one that does not and has no graph"
        raise RuntimeError(msg)
    nodes = nodes_before(tensor)
    keys = {id(node): f"n{place}" for place, node in enumerate(nodes)}
    lines = [f"  {keys[id(node)]} [label={_quoted(node.name)}];" for node in nodes]
    leaves: dict[int, str] = {}

    def key(target: Any) -> str:
        if id(target) not in keys:
            keys[id(target)] = f"x{len(leaves)}"
            name, shape = names.get(id(target), ""), str(tuple(target._data.shape))
            label = f"{name} {shape}" if name else shape
            leaves[id(target)] = f"  {keys[id(target)]} [label={_quoted(label)}, shape=box];"
        return keys[id(target)]

    if not nodes:
        key(tensor if tensor._node is None else before(tensor._node, tensor._slot)[0])
    edges = {
        f"  {key(target)} -> {keys[id(node)]};": None
        for node in nodes
        for target, _ in inputs_of(node)
    }
    return "\n".join(["digraph {", *leaves.values(), *lines, *edges, "}"]) + "\n"


def before(target: Any, slot: int) -> tuple[Any, int]:
    """Return what an edge leads to behind nodes that hand on what they get, as hooks' do."""
    while type(target) is Node and getattr(target.rule, "passes", False):
        target, slot = target.targets[slot], target.slots[slot]
    return target, slot


def inputs_of(node: Node) -> Iterator[tuple[Any, int]]:
    """Yield the leaves and nodes that came into a node, with their slots.

    Raises
    ------
    RuntimeError
        If the node was freed.
    """
    if node.rule is None:
        msg = (
            f"graph: the graph of {node.name} was freed by an earlier backward; "
            "call that one with retain_graph=True to see it"
        )
        raise RuntimeError(msg)
    for target, slot in zip(node.targets, node.slots, strict=True):
        yield before(target, slot)


def nodes_before(*tensors: Any, since: int = -1) -> list[Node]:
    """Return the nodes that Tensors depend on, the oldest first, from a number on."""
    found: dict[int, Node] = {}
    stack = [before(t._node, t._slot)[0] for t in tensors if t._node is not None]
    while stack:
        node = stack.pop()
        if type(node) is Node and node.sequence > since and id(node) not in found:
            found[id(node)] = node
            stack += [target for target, _ in inputs_of(node)]
    return sorted(found.values(), key=lambda node: node.sequence)


def _named(params: Any) -> Iterator[tuple[str, Any]]:
    """Yield names and Tensors, or raise."""
    if params is None:
        return
    named = getattr(type(params), "named_parameters", None)
    pairs = list(params.items()) if isinstance(params, dict) else None
    if named is not None and pairs is None:
        pairs = list(named(params))
    if pairs is None:
        refuse_type("graph", "params", "a dict of Tensors or a Module", params)
    for name, leaf in pairs:
        if not isinstance(name, str):
            refuse_type("graph", "each name in params", "a string", name)
        if not isinstance(leaf, Traced):
            refuse_type("graph", f"params[{name!r}]", "a Tensor", leaf)
        yield name, leaf


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\r\n", "\n")
    return '"' + escaped.replace("\r", "\n").replace("\n", "\\n") + '"'
