"""Which way the calls of Modules take, and why."""

import inspect
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from impl_torch_ext import function_node, random
from impl_torch_ext.autograd.graph import FUNCTION, LEAF, operation_name, torchs_name
from impl_torch_ext.checks import shown
from impl_torch_ext.native import native
from impl_torch_ext.rnn.layer import GRU, LSTM, RNN
from impl_torch_ext.tensor import leaf
from impl_torch_ext.trees import tree_flatten, tree_map

__all__ = ["Explanation", "Row", "explain"]

# Operations that give the same elements another shape, another order of axes or other memory, and
# what hooks of a Module's backward put into the graph.
_MOVING = frozenset(
    "view unsafe_view reshape_alias transpose t permute unsqueeze squeeze expand alias clone "
    "view_as movedim swapaxes backward_hook_function follower".split()
)
_KERNELS = {
    "RNNFunction": "rnn_forward",
    "LSTMFunction": "lstm_forward",
    "GRUFunction": "gru_forward",
    "RNNCellFunction": "rnn_step",
}
_number = torch.autograd._get_sequence_nr
_hooks = torch._C._autograd


class Row(NamedTuple):
    """One call of a Module."""

    name: str
    kind: str
    inputs: tuple[Any, ...]
    outputs: Any
    path: str
    kernel: str
    why: str
    nodes: int
    kept: int


@dataclass(frozen=True)
class Explanation:
    """What `explain` returns.

    Attributes
    ----------
    rows : list of named tuple
        `(name, kind, inputs, outputs, path, kernel, why, nodes, kept)` for each call.
    """

    rows: list[Row]

    def __str__(self) -> str:
        head = ("name", "kind", "path", "nodes", "kept", "kernel", "why")
        table = [head, *(tuple(str(getattr(row, column)) for column in head) for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(head))]
        lines = [
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True))
            for line in table
        ]
        return "\n".join(line.rstrip() for line in lines)


def explain(module: torch.nn.Module, *args: Any, **kwargs: Any) -> Explanation:
    """Call a Module once and say which way each call of it and of those below takes.

    Parameters
    ----------
    module : Module
    *args, **kwargs
        What it is called with. Each floating Tensor is replaced by a leaf of its values that
        requires grad.

    Returns
    -------
    Explanation
        A row for each call, in the order in which they begin. Its path is `"fused"` (one operation,
        or of a recurrent layer one for each layer and direction), `"composed"` (several, or beside
        calls of other Modules), `"children"` (calls alone) or `"none"`; `nodes` counts the
        operations, and `kept` the bytes that they keep for backward. The Module, every `grad`, the
        generator and the mode are afterwards as before.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, torch.nn.Module):
        msg = f"explain: module must be a Module, got {shown(module)}"
        raise TypeError(msg)
    watch = _Watch(module)
    with _unchanged(module), torch.enable_grad(), watch.watching():
        args, kwargs = _leaves((args, kwargs))
        module(*args, **kwargs)
    return Explanation([call.row for call in watch.calls if call.row is not None])


def _leaves(structure: Any) -> Any:
    """Return the structure with leaves in the places of floating Tensors."""
    made: dict[int, Tensor] = {}

    def replaced(x: Any) -> Any:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            return x
        if id(x) not in made:
            made[id(x)] = leaf(x.detach().clone(), True)
        return made[id(x)]

    return tree_map(replaced, structure)


@dataclass
class _Call:
    """A call of a Module, while it runs and afterwards."""

    name: str
    module: torch.nn.Module
    inputs: tuple[Any, ...]
    given: tuple[int, dict[str, Any]]
    since: int
    raised: BaseException | None
    inner: list[tuple[int, int]] = field(default_factory=list)
    row: Row | None = None


class _Watch:
    """Looks at the calls of a Module and of those below it."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.parts = list(module.named_modules())
        self.names = {id(part): name for name, part in self.parts}
        self.calls: list[_Call] = []
        self.running: list[_Call] = []
        # By the number of the node: the arrays that it keeps, and which of them a Function saved.
        self.kept: dict[int, list[Tensor]] = defaultdict(list)
        self.saved: dict[int, set[int]] = {}
        own = [*module.parameters(), *module.buffers()]
        self.own = {x.untyped_storage().data_ptr() for x in own}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Look at what is called inside."""
        with ExitStack() as stack:
            for _, part in self.parts:
                for handle in (
                    part.register_forward_pre_hook(self._begin, prepend=True, with_kwargs=True),
                    part.register_forward_hook(self._end, with_kwargs=True, always_call=True),
                ):
                    stack.callback(handle.remove)
            stack.enter_context(function_node.watched_by(self._apply))
            _hooks._push_saved_tensors_default_hooks(self._keep, _given)
            stack.callback(_hooks._pop_saved_tensors_default_hooks)
            try:
                yield
            finally:
                self.kept.clear()

    def _keep(self, x: Tensor) -> Tensor:
        # A node keeps its arrays before another is made.
        self.kept[_number() - 1].append(x)
        return x

    def _apply(self, _name: str, _inputs: tuple[Any, ...], call: Callable[[], Any]) -> Any:
        since = _number()
        result = call()
        for y in result if isinstance(result, tuple) else (result,):
            call_of = getattr(y.grad_fn, "call", None)
            if call_of is not None:
                self.saved[since] = {place for place in call_of.places if place is not None}
        return result

    def _begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        inputs = tuple(_entry(x) for x in (*args, *kwargs.values()))
        now, given = sys.exc_info()[1], (len(args), dict(kwargs))
        call = _Call(self.names[id(module)], module, inputs, given, _number(), now)
        self.calls.append(call)
        self.running.append(call)

    def _end(self, _module: Any, _args: Any, _kwargs: Any, output: Any) -> None:
        call = self.running.pop()
        until = _number()
        if self.running:
            self.running[-1].inner.append((call.since, until))
        if sys.exc_info()[1] is not call.raised:
            output = None
        nodes = self._nodes(call, output)
        call.row = self._row(call, output, nodes)
        call.given, call.raised = (0, {}), None

    def _nodes(self, call: _Call, output: Any) -> list[tuple[int, str, int]]:
        """Return number, name and kind of the nodes of a call, in the order of their making."""
        made = [x for x in tree_flatten(output)[0] if isinstance(x, Tensor)]
        names, numbers, kinds, *_ = native.nodes_of.default(made, call.since)
        return sorted(
            (number, name, kind)
            for number, name, kind in zip(numbers, names, kinds, strict=True)
            if kind != LEAF
            and torchs_name(name) not in _MOVING
            and not any(first <= number < last for first, last in call.inner)
        )

    def _row(self, call: _Call, output: Any, nodes: list[tuple[int, str, int]]) -> Row:
        recurrent = isinstance(call.module, RNN | LSTM | GRU)
        if not nodes:
            path = "children" if call.inner else "none"
        elif recurrent or (len(nodes) == 1 and not call.inner):
            path = "fused"
        else:
            path = "composed"
        why = _why(call, nodes) if path == "composed" else ""
        kind = type(call.module).__name__
        bytes_kept = self._bytes([number for number, *_ in nodes])
        return Row(
            call.name,
            kind,
            call.inputs,
            _entry(output),
            path,
            _kernel(nodes),
            why,
            len(nodes),
            bytes_kept,
        )

    def _bytes(self, numbers: list[int]) -> int:
        """Return how many bytes the nodes keep, of each array once."""
        found: dict[tuple[int, int], int] = {}
        for number in numbers:
            saved = self.saved.get(number)
            for place, x in enumerate(self.kept.get(number, ())):
                if saved is not None and place not in saved:
                    continue  # For second derivatives a node keeps the inputs of a Function.
                if x.numel() and x.untyped_storage().data_ptr() not in self.own:
                    span = 1 + sum(
                        (n - 1) * step for n, step in zip(x.shape, x.stride(), strict=True)
                    )
                    found[x.data_ptr(), span] = span * x.element_size()
        return sum(found.values())


def _given(x: Tensor) -> Tensor:
    return x


def _entry(x: Any) -> Any:
    if isinstance(x, tuple | list):
        return tuple(map(_entry, x))
    return (tuple(x.shape), x.dtype) if isinstance(x, Tensor) else None


def _kernel(nodes: list[tuple[int, str, int]]) -> str:
    """Return what computes the nodes forward, in torch's names of operators."""
    names, sets = dict[str, None](), dict[str, None]()
    for _, name, kind in nodes:
        short = operation_name(name, kind)
        if kind == FUNCTION and short not in _KERNELS:
            names[short] = None
        elif kind == FUNCTION or "impl_torch_ext" in name:
            names[f"impl_torch_ext::{_KERNELS.get(short, torchs_name(name))}"] = None
            sets[f"own for {native.target()}"] = None
        else:
            names[f"aten::{torchs_name(name)}"] = None
            sets[f"torch's for {torch.backends.cpu.get_cpu_capability()}"] = None
    kernels = f" ({' and '.join(sets)})" if sets else ""
    return ", ".join(names) + kernels


def _why(call: _Call, nodes: list[tuple[int, str, int]]) -> str:
    """Return what has led to several operations."""
    reasons = [f"{len(nodes)} operations" if len(nodes) > 1 else "an operation"]
    if call.inner:
        reasons.append(f"beside {len(call.inner)} calls of Modules")
    unusual = [*_options(call.module), *_arguments(call)]
    if unusual:
        reasons.append(f"with {', '.join(unusual)}")
    return " ".join(reasons)


def _options(module: torch.nn.Module) -> list[str]:
    """Return the flags that are set, and the options that are not as if they were left out."""
    if not type(module).__module__.startswith("impl_torch_ext."):
        return []
    found = []
    for name, parameter in inspect.signature(type(module)).parameters.items():
        if parameter.default is inspect.Parameter.empty or not hasattr(module, name):
            continue
        value, usual = getattr(module, name), parameter.default
        if isinstance(usual, bool) and not isinstance(value, bool):
            value = value is not None  # A Parameter has the name of its option.
        if value is True:
            found.append(name)
        elif value not in (usual, None) and value != (usual,) * len(_several(value)):
            found.append(f"{name}={shown(value)}")
    return found


def _several(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _arguments(call: _Call) -> list[str]:
    """Return the arguments of a call that are not as they would be if left out."""
    parameters = inspect.signature(call.module.forward).parameters
    count, given = call.given
    found = []
    for place, (name, parameter) in enumerate(parameters.items()):
        if parameter.default is inspect.Parameter.empty:
            continue
        value = given.get(name, parameter.default)
        if place < count or value is not parameter.default:
            found.append(name)
        elif value is True:
            found.append(f"{name}=True")
    return found


@contextmanager
def _unchanged(module: torch.nn.Module) -> Iterator[None]:
    """Let a block run, and bring back what it has changed of the Module and the generator."""
    parts = [
        (part, part.training, dict(part._parameters), dict(part._buffers))
        for part in module.modules()
    ]
    held = {id(x): x for _, _, *tables in parts for table in tables for x in table.values()}
    before = [_State(x) for x in held.values() if x is not None]
    state, torchs_own = random.state(), torch.get_rng_state()
    try:
        yield
    finally:
        for part, training, parameters, buffers in parts:
            part.training = training
            part._parameters.update(parameters)
            part._buffers.update(buffers)
        for tensor in before:
            tensor.restore()
        random.restore(state)
        torch.set_rng_state(torchs_own)


class _State:
    """A Tensor as it was, with its `grad`."""

    def __init__(self, x: Tensor) -> None:
        self.x, self.values = x, x.detach()
        self.place, self.requires_grad = x.data_ptr(), x.requires_grad
        self.version = 0 if x.is_inference() else x._version
        self.copy = self.values.clone()
        grad = x.grad if x.is_leaf else None
        self.grad = None if grad is None else _State(grad)

    def restore(self) -> None:
        """Let the Tensor have its memory, values, flag and `grad` again."""
        x = self.x
        if x.data_ptr() != self.place:
            x.data = self.values
        # Not by the count of changes, which those of batch_norm are not in.
        if not torch.equal(self.values, self.copy):
            self.values.copy_(self.copy)
        if not x.is_inference() and x._version != self.version:
            # What others kept of it is what it was.
            _hooks._unsafe_set_version_counter((x,), (self.version,))
        if x.is_leaf:
            x.requires_grad_(self.requires_grad)
            x.grad = None if self.grad is None else self.grad.x
        if self.grad is not None:
            self.grad.restore()
