"""Which way a call of a Module takes: a row for each Module that it calls, with what was recorded.

A node is younger than the call that made it and older than its end, so the ages of the nodes on the
way to a result say which call has made which.
"""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from impl_numpy import random
from impl_numpy.autograd.anomaly import function_name
from impl_numpy.autograd.modes import enable_grad
from impl_numpy.checks import shown
from impl_numpy.dtypes import Array
from impl_numpy.function_node import FunctionNode, OutputNode
from impl_numpy.memory import arrays_in, left, next_age, owner
from impl_numpy.module import Module
from impl_numpy.parameter import overwrite
from impl_numpy.rnn.sequence import SequenceLayer
from impl_numpy.tape import Leaf, Node, Source, Stretched
from impl_numpy.tensor import Tensor, wrap
from impl_numpy.trees import tree_leaves, tree_map

# What is no operation, and operations that only give elements another shape or order of axes.
_NO_OPERATION = (Leaf, OutputNode, Source, Stretched)
_MOVING = ("reshape", "permute_dims")
_HEAD = ("name", "kind", "inputs", "outputs", "path", "kernel", "why", "nodes", "kept")


class ExplainedCall(NamedTuple):
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
    """What one call of a Module has led to.

    Attributes
    ----------
    rows : list of ExplainedCall
        One for each call of the Module and of those in it, in the order in which they began.
    """

    rows: list[ExplainedCall]

    def __str__(self) -> str:
        """Return a table, with a line for each row."""
        lines = [_HEAD, *(tuple(map(str, row)) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
        return "\n".join([table[0], "-" * max(map(len, table)), *table[1:]])


def explain(module: Module, *args: Any, **kwargs: Any) -> Explanation:
    """Call a Module once, as in training, and say which way each call took.

    Everything is afterwards as before, but for plain attributes that `forward` changes.

    Parameters
    ----------
    module : Module
    *args, **kwargs
        What it is called with; each floating Tensor is replaced by a leaf that requires grad.

    Returns
    -------
    Explanation
        Its `rows` have the shapes, the path (fused, composed, children or none), what runs
        forward, why a call is composed, how many operations were recorded, and how many bytes they
        keep for backward. Its `str` is a table.

    Raises
    ------
    TypeError
        If it is no Module. What the call raises passes through.
    """
    if not isinstance(module, Module):
        msg = f"explain: module must be a Module, got {shown(module)} ({type(module).__name__})"
        raise TypeError(msg)
    leaves: dict[int, Tensor] = {}
    given, named = tree_map(lambda x: _stand_in(x, leaves), (args, kwargs))
    calls = _Calls(module)
    with _restored(module), calls.watched(), enable_grad():
        module(*given, **named)
    return Explanation([calls.row(call) for call in calls.begun])


def _stand_in(x: Any, leaves: dict[int, Tensor]) -> Any:
    """Return a leaf of a floating Tensor's values, the same for the same Tensor."""
    if not isinstance(x, Tensor) or x.dtype.kind != "f":
        return x
    if id(x) not in leaves:
        leaves[id(x)] = wrap(x._data.copy(), None).requires_grad_()
    return leaves[id(x)]


@dataclass
class _Call:
    """A call of a Module, and what it has left when it ended."""

    module: Module
    inputs: tuple[Any, ...]
    start: int
    outputs: Any = None
    # From when to when calls of other Modules ran.
    inner: list[tuple[int, int]] = field(default_factory=list)
    nodes: int = 0
    kernels: dict[str, None] = field(default_factory=dict)
    kept: int = 0
    path: str = "none"
    why: str = ""


class _Calls:
    """The calls of a Module and of those in it, in their order."""

    def __init__(self, module: Module) -> None:
        self.names = {id(part): name for name, part in reversed(list(module.named_modules()))}
        self.parts = list(module.modules())
        entries = [*module.parameters(), *module.buffers()]
        # Held here, so that no other memory has these ids.
        self.own = {id(memory): memory for memory in [owner(x._data) for x in entries]}
        self.begun: list[_Call] = []
        self.open: list[_Call] = []

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Watch the calls; the hooks of the Modules themselves run in between."""
        handles = []
        try:
            for part in self.parts:
                handles += [
                    part.register_forward_pre_hook(self.begin, prepend=True, with_kwargs=True),
                    part.register_forward_hook(self.end, with_kwargs=True, always_call=True),
                ]
            yield
        finally:
            for handle in handles:
                handle.remove()
            for part in self.parts:
                part._tidy_hooks()

    def begin(self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Note the start of a call."""
        call = _Call(module, tuple([_entry(x) for x in (*args, *kwargs.values())]), next_age())
        self.begun.append(call)
        self.open.append(call)

    def end(
        self, module: Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
    ) -> None:
        """Note the end of a call, and what is new on the way to its result."""
        while self.open[-1].module is not module:
            self.open.pop()
        call = self.open.pop()
        call.outputs = _entry(output)
        made = _made(output, call)
        call.nodes = len(made)
        call.kernels = dict.fromkeys(map(_kernel, made))
        call.kept = self._bytes(made)
        call.path = _path(call)
        call.why = _why(call, args, kwargs) if call.path == "composed" else ""
        if self.open:
            self.open[-1].inner.append((call.start, next_age()))

    def _bytes(self, made: list[Node]) -> int:
        """Return the size of the arrays that nodes keep, but for the Module's own."""
        sizes: dict[int, int] = {}
        for node in made:
            for array in arrays_in(node.saved):
                key = id(owner(array))
                if key not in self.own:
                    sizes[key] = max(sizes.get(key, 0), array.nbytes)
        return sum(sizes.values())

    def row(self, call: _Call) -> ExplainedCall:
        """Return what is said of a call."""
        return ExplainedCall(
            self.names[id(call.module)],
            type(call.module).__name__,
            call.inputs,
            call.outputs,
            call.path,
            ", ".join(call.kernels),
            call.why,
            call.nodes,
            call.kept,
        )


def _made(output: Any, call: _Call) -> list[Node]:
    """Return the operations on the way to a result that a call itself has made, in their order."""
    made, seen = [], set[Node]()
    waiting = [x._node for x in tree_leaves(output) if isinstance(x, Tensor)]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen or node.age > call.start:
            continue
        seen.add(node)
        waiting += node.parents
        if _counts(node) and not any([end < node.age < start for start, end in call.inner]):
            made.append(node)
    return sorted(made, key=lambda node: -node.age)


def _counts(node: Node) -> bool:
    if isinstance(node, FunctionNode):
        return True
    # Hooks of Modules have nodes too.
    return not isinstance(node, _NO_OPERATION) and node.name not in (*_MOVING, "Module")


def _path(call: _Call) -> str:
    if not call.nodes:
        return "children" if call.inner else "none"
    fused = call.nodes == 1 or isinstance(call.module, SequenceLayer)
    return "fused" if fused and not call.inner else "composed"


def _kernel(node: Node) -> str:
    """Return what runs forward."""
    if isinstance(node, FunctionNode):
        return node.function.__name__
    forward: Any = getattr(node.rule, "forward", None)
    if forward is np.matmul:
        return f"numpy.matmul ({_blas()})"
    if isinstance(forward, np.ufunc):
        return f"numpy.{forward.__name__}{_simd()}"
    return f"{function_name(node.name)} (NumPy)"


def _configuration(*path: str) -> Any:
    """Return an entry of what NumPy says of how it was built; None where it has another form."""
    found: Any = getattr(np.__config__, "CONFIG", {})
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found


def _blas() -> str:
    return str(_configuration("Build Dependencies", "blas", "name") or "BLAS")


def _simd() -> str:
    found = _configuration("SIMD Extensions", "found")
    return f" ({found[-1]})" if found else ""


def _why(call: _Call, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """Return what has led to several operations, or to operations beside calls of Modules."""
    count = "1 operation" if call.nodes == 1 else f"{call.nodes} operations"
    if call.inner:
        return f"{count} beside the Modules that it calls"
    reasons = [
        name
        for name, forward in _without(call.module, args, kwargs)
        if _operations(call.module, forward) == 1
    ]
    if reasons:
        return f"{count}; it would be 1 without {' or without '.join(reasons)}"
    return f"{count}, each recorded by itself"


def _operations(module: Module, forward: Callable[[], Any]) -> int | None:
    """Return how many operations a call of one of the layers here would record."""
    call = _Call(module, (), next_age())
    try:
        with _restored(module):
            return len(_made(forward(), call))
    except Exception:
        # An option that the others do not go without.
        return None


# What a Module has by an option of another name.
_OPTION_OF = {"running_mean": "track_running_stats"}


def _without(
    module: Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield each option and argument of a layer from here, and its `forward` without that."""
    if not type(module).__module__.startswith(f"{__package__}."):
        return
    for place in ("_parameters", "_buffers"):
        for name, entry in getattr(module, place).items():
            if entry is not None:
                other = _twin(module)
                other.__dict__[place][name] = None
                yield _OPTION_OF.get(name, name), partial(other.forward, *args, **kwargs)
    for name, option in inspect.signature(type(module)).parameters.items():
        usual = option.default
        if usual is not option.empty and name in vars(module) and vars(module)[name] != usual:
            other = _twin(module)
            other.__dict__[name] = usual
            yield name, partial(other.forward, *args, **kwargs)
    taken = inspect.signature(module.forward)
    given = taken.bind(*args, **kwargs).arguments
    for name, option in taken.parameters.items():
        if option.default is not option.empty and name in given:
            rest = OrderedDict((key, x) for key, x in given.items() if key != name)
            left_out = inspect.BoundArguments(taken, rest)
            yield name, partial(module.forward, *left_out.args, **left_out.kwargs)


def _twin(module: Module) -> Module:
    """Return a Module with the same entries, of which some can be left out."""
    other = copy.copy(module)
    for name in ("_parameters", "_buffers", "_modules", "_hooks"):
        other.__dict__[name] = dict(other.__dict__[name])
    return other


def _entry(x: Any) -> Any:
    """Return the shape and dtype of a Tensor, a tuple of entries of a tuple or list, else None."""
    if isinstance(x, Tensor):
        return x.shape, x.dtype
    return tuple([_entry(item) for item in x]) if isinstance(x, (tuple, list)) else None


@contextmanager
def _restored(module: Module) -> Iterator[None]:
    """Leave everything in a Module, and the generator, as it was."""
    parts = list(module.modules())
    flags = [part.training for part in parts]
    places: list[tuple[dict[str, Any], dict[str, Any]]] = [
        (there, dict(there))
        for part in parts
        for there in (vars(part)["_parameters"], vars(part)["_buffers"])
    ]
    every = {id(x): x for _, before in places for x in before.values() if x is not None}
    entries = [_Entry(x) for x in every.values()]
    place = random.place()
    try:
        yield
    finally:
        random.resume(place)
        for part, flag in zip(parts, flags, strict=True):
            part.training = flag
        for there, before in places:
            there.clear()
            there.update(before)
        for entry in entries:
            entry.restore()


class _Entry:
    """A Parameter or buffer as it is now."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.array, self.values = tensor._data, tensor._data.copy()
        self.node, self.leaf = tensor._node, getattr(tensor, "_leaf", None)
        self.grad = tensor._grad
        self.slope = None if tensor._grad is None else tensor._grad._data.copy()

    def restore(self) -> None:
        """Give it back what it had."""
        tensor = self.tensor
        if tensor._data is not self.array:
            left(tensor)
            tensor._data = self.array
        _rewrite(tensor, self.values)
        tensor._node, tensor._grad = self.node, self.grad
        if self.leaf is not None:
            tensor._leaf = self.leaf
        if self.grad is not None and self.slope is not None:
            _rewrite(self.grad, self.slope)


def _rewrite(tensor: Tensor, values: Array) -> None:
    """Write values where there are other bits."""
    if tensor._data.tobytes() != values.tobytes():
        overwrite(tensor, values)
