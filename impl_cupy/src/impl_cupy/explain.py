"""Which way a call of a Module takes, and why.

The Module is called once. Each node is noted with the call of a Module that made it; those on the
way to a result are then that call's.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from impl_cupy.backend import DEVICE, EMULATED, cp
from impl_cupy.checks import shown, type_name
from impl_cupy.function_node import FunctionNode
from impl_cupy.memory import arrays_in, owner_of
from impl_cupy.module.base import Module
from impl_cupy.nn.layer import Layer
from impl_cupy.random import DrawnAgain, mark
from impl_cupy.recording import OpNode
from impl_cupy.rnn.layer import GRU, LSTM, RNN
from impl_cupy.tape import Node, Observing, Recording, edge_of, wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, rebuilt

# What gives elements another shape or order of axes alone, by the operation's name; and the cast of
# an operand, which is a part of the operation.
_MOVES = frozenset(
    ("reshape", "permute_dims", "matrix_transpose", "expand_dims", "squeeze", "moveaxis", "cast")
)
# What runs forward, by the name of the operation or layer; for others CuPy's function of the name.
_KERNELS = {
    "matmul": "cuBLAS gemm",
    "vecdot": "cuBLAS gemm",
    "tensordot": "cuBLAS gemm",
    "Linear": "cuBLAS gemm",
    "RNN": "cuBLAS gemm, rnn.cu",
    "LSTM": "cuBLAS gemm, rnn.cu",
    "GRU": "cuBLAS gemm, rnn.cu",
    "RNNCell": "rnn.cu",
    "LSTMCell": "rnn.cu",
    "GRUCell": "rnn.cu",
    "LayerNorm": "norm.cu norm_forward",
    "RMSNorm": "norm.cu norm_forward",
    "GroupNorm": "norm.cu norm_forward",
    "BatchNorm1d": "norm.cu",
    "BatchNorm2d": "norm.cu",
    "Conv1d": "window.cu, cuBLAS gemm",
    "Conv2d": "window.cu, cuBLAS gemm",
    "ConvTranspose1d": "window.cu, cuBLAS gemm",
    "ConvTranspose2d": "window.cu, cuBLAS gemm",
    "MaxPool1d": "window.cu max_forward",
    "MaxPool2d": "window.cu max_forward",
    "cross_entropy": "loss.cu",
    "ctc_loss": "loss.cu",
}
_RECURRENT = (RNN, LSTM, GRU)


class ExplainRow(NamedTuple):
    """What `explain` tells of one call of a Module.

    Attributes
    ----------
    name, kind : str
        The Module's dotted name, "" for the outermost, and that of its class.
    inputs : tuple
        For each argument shape and dtype, a tuple of such for a tuple or list, None for others.
    outputs : object
        The same of the result.
    path : str
        "fused", "composed", "children" or "none".
    kernel, why : str
        What runs forward, and of a composed call what has led there.
    nodes : int
        How many recorded operations the call itself made.
    kept : int
        How many bytes of arrays these keep for backward, without Parameters and buffers.
    """

    name: str
    kind: str
    inputs: tuple[Any, ...]
    outputs: Any
    path: str
    kernel: str
    why: str
    nodes: int
    kept: int


class Explanation:
    """What `explain` returns; `str` gives a table.

    Attributes
    ----------
    rows : list of ExplainRow
        One for each call, in the order in which they begin.
    """

    def __init__(self, rows: list[ExplainRow]) -> None:
        self.rows = rows

    def __repr__(self) -> str:
        texts = [("name", "class", "path", "nodes", "bytes kept", "kernel", "why")]
        for row in self.rows:
            numbers = str(row.nodes), str(row.kept)
            texts.append((row.name, row.kind, row.path, *numbers, row.kernel, row.why))
        widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
        lines = [
            "  ".join(f"{text:{width}}" for text, width in zip(line, widths, strict=True)).rstrip()
            for line in texts
        ]
        lines.insert(1, "-" * max(map(len, lines)))
        if EMULATED:
            lines.append(f"device: {DEVICE}")
        return "\n".join(lines)


def explain(module: Module, *args: Any, **kwargs: Any) -> Explanation:
    """Call a Module once, and tell which way each call of it and of its Modules takes, and why.

    Parameters
    ----------
    module : Module
    *args, **kwargs
        What it is called with, recorded; floating Tensors among them are replaced by leaves of
        their values that require grad. Everything is afterwards as it was.

    Returns
    -------
    Explanation
        With `rows`.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, Module):
        got = shown(module) if isinstance(module, type) else type_name(module)
        msg = f"explain: module must be a Module, got {got}"
        raise TypeError(msg)
    calls = _Calls(module)
    leaves: dict[int, Tensor] = {}
    given = [_with_leaves(arg, leaves) for arg in args]
    named = {name: _with_leaves(arg, leaves) for name, arg in kwargs.items()}
    with _put_back(module) as lasting, DrawnAgain(mark()), Recording(True):
        with Observing("packing", None), Observing("calls", calls):
            output = module(*given, **named)
        return Explanation(calls.rows(output, lasting))


def _with_leaves(structure: Any, leaves: dict[int, Tensor]) -> Any:
    return rebuilt(structure, [_leaf(part, leaves) for part in flatten(structure)])


def _leaf(part: Any, leaves: dict[int, Tensor]) -> Any:
    if not isinstance(part, Tensor) or part.dtype.kind != "f":
        return part
    if id(part) not in leaves:
        leaves[id(part)] = wrap(part._data.copy(), True)
    return leaves[id(part)]


@contextmanager
def _put_back(module: Module) -> Iterator[set[int]]:
    """Give Parameters and buffers memory for a call alone; afterwards they have their own again.

    Yields the ids of the arrays that own that memory.
    """
    parts = list(module.modules())
    flags = [(part, part.training) for part in parts]
    entries = [
        (registry, dict(registry))
        for part in parts
        for registry in (part._parameters, part._buffers)
    ]
    tensors = {
        id(entry): entry
        for _, held in entries
        for entry in held.values()
        if isinstance(entry, Tensor)
    }
    before = [(t, t._data, t.grad, t._requires_grad) for t in tensors.values()]
    lasting = []
    for tensor, raw, *_ in before:
        tensor._data = raw.copy()
        lasting.append(tensor._data)
    try:
        yield {id(raw) for raw in lasting}
    finally:
        for tensor, raw, grad, _ in before:
            tensor._data = raw
            if tensor.grad is not grad:
                tensor.grad = grad
        for registry, held in entries:
            registry.update(held)
        for part, flag in flags:
            part.training = flag


class _Made:
    """One call, while its row is made."""

    def __init__(self, name: str, module: Module, inputs: tuple[Any, ...]) -> None:
        self.name = name
        self.module = module
        self.inputs = inputs
        self.outputs: Any = None
        self.results: list[Any] = []
        self.has_children = False


class _Calls:
    """Notes the calls of a Module's Modules, and the nodes that each makes."""

    def __init__(self, module: Module) -> None:
        self.names = {id(part): name for name, part in module.named_modules()}
        self.begun: list[_Made] = []
        self.within: list[_Made] = []
        self.makers: dict[Node, _Made] = {}

    def called(
        self, module: Module, args: tuple[Any, ...], kwargs: Any, call: Callable[[], Any]
    ) -> Any:
        """Run a call of a Module."""
        if id(module) not in self.names:
            return call()
        inputs = tuple([_entry(value) for value in (*args, *kwargs.values())])
        made = _Made(self.names[id(module)], module, inputs)
        if self.within:
            self.within[-1].has_children = True
        self.begun.append(made)
        self.within.append(made)
        try:
            output = call()
        finally:
            self.within.pop()
        made.outputs, made.results = _entry(output), _tensors(output)
        return output

    def recorded(self, node: Node) -> None:
        """Note whose a node is."""
        if self.within:
            self.makers[node] = self.within[-1]

    def rows(self, output: Any, lasting: set[int]) -> list[ExplainRow]:
        """Return the row of each call."""
        reached = self._behind(_tensors(output))
        rows = []
        for made in self.begun:
            there = reached | self._behind(made.results)
            own = [node for node, maker in self.makers.items() if maker is made and node in there]
            rows.append(_row(made, own, lasting))
        return rows

    def _behind(self, results: list[Any]) -> set[Node]:
        """Return the nodes that were made in the call and lead to its results."""
        waiting = [edge[0] for result in results if (edge := edge_of(result))]
        seen: set[Any] = set()
        while waiting:
            place = waiting.pop()
            if place not in seen:
                seen.add(place)
                waiting.extend(edge[0] for edge in place.edges or () if edge is not None)
        return seen


def _row(made: _Made, own: list[Node], lasting: set[int]) -> ExplainRow:
    counted = [node for node in own if node.called() not in _MOVES]
    kernels = list(dict.fromkeys(map(_kernel, counted)))
    count, why = len(counted), ""
    is_recurrent = isinstance(made.module, _RECURRENT)
    if not count:
        path = "children" if made.has_children else "none"
    elif not made.has_children and (count == 1 or is_recurrent):
        path = "fused"
    else:
        path, why = "composed", _why(made, counted)
    return ExplainRow(
        made.name,
        type(made.module).__name__,
        made.inputs,
        made.outputs,
        path,
        ", ".join(kernels),
        why,
        count,
        _bytes(own, lasting),
    )


def _kernel(node: Node) -> str:
    name = node.called()
    if isinstance(node, FunctionNode) and not node.function._is_ours:
        return name
    return _KERNELS.get(name, f"cupy {name}")


def _why(made: _Made, counted: list[Node]) -> str:
    names = ", ".join(dict.fromkeys(node.called() for node in counted))
    called = ", beside the Modules that it calls" if made.has_children else ""
    said = f"no one kernel does it: {len(counted)} recorded, {names}{called}"
    options = _unusual(made.module)
    return f"{said}; made with {options}" if options else said


def _unusual(module: Module) -> str:
    """Return the options of a layer of this package that are not the usual ones."""
    if not isinstance(module, Layer):
        return ""
    unusual = []
    for name, part in inspect.signature(type(module)).parameters.items():
        value = module._options.get(name, part.default)
        if part.default is not part.empty and value != part.default:
            unusual.append(f"{name}={value!r}")
    return ", ".join(unusual)


def _bytes(nodes: list[Node], lasting: set[int]) -> int:
    """Count the bytes of the arrays that nodes keep, each once."""
    sizes: dict[int, int] = {}
    for node in nodes:
        kept: Any = ()
        if isinstance(node, OpNode):
            kept = (node.inputs, node.output, node.config)
        elif isinstance(node, FunctionNode) and node.ctx is not None:
            kept = node.ctx._saved
        for array in arrays_in(kept):
            owner = owner_of(array) if isinstance(array, cp.ndarray) else array
            if id(owner) not in lasting:
                sizes[id(owner)] = max(sizes.get(id(owner), 0), int(array.nbytes))
    return sum(sizes.values())


def _entry(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.shape, value.dtype
    if isinstance(value, (tuple, list)):
        return tuple([_entry(part) for part in value])
    return None


def _tensors(value: Any) -> list[Any]:
    return [part for part in flatten(value) if isinstance(part, Tensor)]
