"""Which way a call of a Module takes, and why.

The Module is called once, with a `_Calls` in the place of a trace, which is told of each call of a
Module and of its end. Nodes are numbered in the order in which they are made, so those of a call
are those on the way to its result that were made between its begin and its end, and not in a call
inside.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import jax

from . import random
from .autograd.graph import nodes_before
from .autograd.saved import nothing_packed
from .checks import refuse_type
from .dtypes import is_floating
from .module import Module
from .module.hooks import call_hooked
from .recording import Pullback
from .rnn import GRU, LSTM, RNN
from .tape import MODE, Node, Traced, recording_set, wrap
from .trees import join, split

Array = Any

_HEAD = ("name", "kind", "inputs", "outputs", "path", "kernel", "why", "nodes", "kept")
# Operations that give the same elements another shape or another order of axes.
_MOVES = frozenset(
    "reshape squeeze expand_dims flatten unflatten permute_dims matrix_transpose moveaxis".split()
)


class Row(NamedTuple):
    """What is said of one call of a Module.

    Attributes
    ----------
    name, kind : str
        The dotted name, empty for the outermost, and the name of the class.
    inputs : tuple
        For each argument the pair of its shape and dtype if it is a Tensor, a tuple of entries if
        it is a tuple or list, and else None.
    outputs
        The same of the result.
    path : str
        ``"fused"``, ``"composed"``, ``"children"`` or ``"none"``.
    kernel, why : str
        What runs forward, and what has led to a composed path; a line, or nothing.
    nodes : int
        The recorded operations of this call alone.
    kept : int
        The bytes of the arrays that they keep for backward, without parameters and buffers.
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


@dataclass(frozen=True)
class Explanation:
    """A row for each call of a Module, in the order in which they began."""

    rows: list[Row]

    def __str__(self) -> str:
        table = [_HEAD, *[tuple(map(_text, row)) for row in self.rows]]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        padded = [
            [cell.ljust(width) for cell, width in zip(cells, widths, strict=True)]
            for cells in table
        ]
        lines = ["  ".join(cells).rstrip() for cells in padded]
        lines.insert(1, "-" * max(map(len, lines)))
        return "\n".join(lines)


def explain(module: Module, *args: Any, **kwargs: Any) -> Explanation:
    """Call a Module once, and return which way each call of a Module takes.

    The call is recorded, with leaves that require grad in the place of the floating Tensors among
    the arguments. Parameters, buffers, every `grad`, the generator, modes and hooks are afterwards
    as before, also where the call raises.

    Parameters
    ----------
    module : Module
    *args, **kwargs
        The arguments of the call.

    Returns
    -------
    Explanation
        Its ``rows`` are named tuples; its ``str`` is a table.

    Raises
    ------
    TypeError
        If `module` is no Module.
    """
    if not isinstance(module, Module):
        refuse_type("explain", "module", "a Module", module)
    leaves: dict[int, Any] = {}
    with _as_before(module, (args, kwargs)) as held:
        calls = _Calls({id(part): name for name, part in module.named_modules()}, held)
        given = [_wanted(value, leaves) for value in args]
        named = {key: _wanted(value, leaves) for key, value in kwargs.items()}
        before, MODE.capture = MODE.capture, calls
        try:
            with recording_set(True), nothing_packed():
                module(*given, **named)
        finally:
            MODE.capture = before
    return Explanation([row for row in calls.rows if row is not None])


def _wanted(value: Any, leaves: dict[int, Any]) -> Any:
    """Return an argument with leaves that require grad in the place of floating Tensors."""
    if isinstance(value, dict | list | tuple):
        parts, form = split(value)
        return join(form, [_wanted(part, leaves) for part in parts])
    if not isinstance(value, Traced) or not is_floating(value._data.dtype):
        return value
    if id(value) not in leaves:
        leaves[id(value)] = wrap(value._data)
        leaves[id(value)]._requires_grad = True
    return leaves[id(value)]


@contextmanager
def _as_before(module: Module, arguments: Any) -> Iterator[list[Array]]:
    """Put back what a call changes; yield the arrays of the parameters and buffers."""
    parts = list(module.modules())
    tables = [
        (table, dict(table))
        for part in parts
        for table in (part._parameters, part._buffers, part._module_hooks)
    ]
    flags = [(part, part.training) for part in parts]
    own = [t for part in parts for t in (*part._parameters.values(), *part._buffers.values())]
    held = [(t, t._data, t._grad) for t in own if t is not None]
    tensors = [t for t in split(arguments)[0] if isinstance(t, Traced)]
    held += [(t, t._data, t._grad) for t in tensors]
    state = random.get_state()
    try:
        yield [data for _, data, _ in held[: len(held) - len(tensors)]]
    finally:
        for table, entries in tables:
            table.clear()
            table.update(entries)
        for part, flag in flags:
            part.training = flag
        for tensor, data, grad in held:
            tensor._data, tensor._grad = data, grad
        random.set_state(state)


class _Calls:
    """Stands where a trace would, does what is done without one, and is told of calls."""

    compiles: ClassVar[bool] = False

    def __init__(self, names: dict[int, str], held: Sequence[Array]) -> None:
        self._names = names
        self._held = list(held)
        # The calls inside those that are running: from and to which number.
        self._inside: list[list[tuple[int, int]]] = [[]]
        self.rows: list[Row | None] = []
        self.calls = self

    def call(self, module: Module, args: Any, kwargs: Any) -> Any:
        """Call a Module, and make a row of the call."""
        place, start = len(self.rows), next(Node._counter)
        self.rows.append(None)
        self._inside.append([])
        output: Any = None
        try:
            output = call_hooked(module, module.forward, args, kwargs)
            return output
        finally:
            inside = self._inside.pop()
            if id(module) in self._names:
                nodes = _own_nodes(output, start, inside)
                self.rows[place] = self._row(module, args, kwargs, output, nodes, bool(inside))
            self._inside[-1].append((start, next(Node._counter)))

    def _row(
        self,
        module: Module,
        args: Any,
        kwargs: Any,
        output: Any,
        nodes: Sequence[Node],
        calls: bool,
    ) -> Row:
        count = sum([getattr(node, "steps", 1) for node in nodes])
        path = "composed" if count > 1 or (count and calls) else "fused" if count else "none"
        if not count and calls:
            path = "children"
        if path == "composed" and isinstance(module, RNN | LSTM | GRU) and not calls:
            path = "fused"
        why = _reason(module, args, kwargs, nodes, count, calls) if path == "composed" else ""
        return Row(
            self._names[id(module)],
            type(module).__name__,
            tuple([_entry(value) for value in (*args, *kwargs.values())]),
            _entry(output),
            path,
            _kernel(nodes),
            why,
            count,
            _bytes(nodes, [*self._held, *self._live(module)]),
        )

    def _live(self, module: Module) -> list[Array]:
        own = [t for part in module.modules() for t in part._buffers.values()]
        return [t._data for t in own if t is not None]

    def resolve(self, tensor: Traced) -> Array:
        """Return the array of a Tensor."""
        return tensor._data

    live = resolve

    def change(self, _what: str, tensor: Traced, data: Array) -> None:
        """Give a Tensor another array."""
        tensor._data = data

    def draw(self, request: random.Request) -> list[Array]:
        """Return numbers from the generator."""
        return random.drawn(request)

    def note(self, module: Any) -> None:
        """Do nothing: nothing is compiled."""

    made = note


def _own_nodes(output: Any, start: int, inside: Sequence[tuple[int, int]]) -> list[Node]:
    """Return the nodes on the way to a result that were made since a number, but not inside."""
    tensors = [leaf for leaf in split(output)[0] if isinstance(leaf, Traced)]
    return [
        node
        for node in nodes_before(*tensors, since=start)
        if node.name not in _MOVES
        and not any([first < node.sequence < last for first, last in inside])
    ]


def _rule(node: Node) -> Any:
    """Return the rule of a node without what was put around it."""
    rule: Any = node.rule
    while hasattr(rule, "inner"):
        rule = rule.inner
    return rule


def _label(node: Node) -> str:
    """Return what runs an operation: a compiled program, or Python."""
    rule = _rule(node)
    if hasattr(node, "steps"):
        return f"jit({node.name} by lax.scan)"
    if isinstance(rule, Pullback):
        compiled = rule.operation.compiled
    else:
        application = getattr(rule, "application", None)
        compiled = application is not None and application.cls.compiled
    return f"jit({node.name})" if compiled else node.name


def _kernel(nodes: Iterable[Node]) -> str:
    labels = list(dict.fromkeys(map(_label, nodes)))
    return f"XLA on {jax.default_backend()}: {', '.join(labels)}" if labels else ""


def _reason(
    module: Module, args: Any, kwargs: Any, nodes: Sequence[Node], count: int, calls: bool
) -> str:
    """Return what has led to a composed path, in one line."""
    loops = [node for node in nodes if hasattr(node, "steps")]
    reason = f"forward records {count} operation{'s' if count > 1 else ''}"
    if loops:
        reason = f"forward loops over a cell, with a step of {loops[0].name} for each of T"
    if calls:
        reason += " beside the Modules that it calls"
    options = _options(type(module), lambda name, _: getattr(module, name, None))
    given = _given(module, args, kwargs)
    said = [*options, *_options(module.forward, lambda name, default: given.get(name, default))]
    return f"{reason}, with {', '.join(said)}" if said else reason


def _given(module: Module, args: Any, kwargs: Any) -> dict[str, Any]:
    try:
        return dict(inspect.signature(module.forward).bind(*args, **kwargs).arguments)
    except (TypeError, ValueError):
        return dict(kwargs)


def _options(function: Callable[..., Any], value_of: Callable[[str, Any], Any]) -> list[str]:
    """Return the options of a class or call, with defaults, that count: all that are not None."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    found = []
    for parameter in parameters:
        if parameter.default is not parameter.empty and parameter.name != "dtype":
            value = value_of(parameter.name, parameter.default)
            plain = isinstance(value, bool | int | float | str)
            if plain and value != parameter.default:
                found.append(f"{parameter.name}={value!r}")
            elif value is not None and not plain:
                found.append(parameter.name)
    return found


def _bytes(nodes: Iterable[Node], held: Iterable[Array]) -> int:
    """Return the bytes that nodes keep, each array once, without those that live anyway."""
    free = {_memory(array) for array in held}
    kept: dict[Any, int] = {}
    for node in nodes:
        rule = _rule(node)
        arrays = [] if node.saved is None else list(node.saved)
        if hasattr(rule, "application"):
            arrays = rule.saved()
        elif hasattr(rule, "kept"):
            arrays += rule.kept()
        for array in arrays:
            if hasattr(array, "nbytes") and _memory(array) not in free:
                kept[_memory(array)] = int(array.nbytes)
    return sum(kept.values())


def _memory(array: Array) -> Any:
    """Return what is the same for arrays in the same memory."""
    try:
        return array.unsafe_buffer_pointer(), array.nbytes
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return id(array)


def _entry(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return tuple([_entry(item) for item in value])
    return (value._data.shape, value._data.dtype) if isinstance(value, Traced) else None


def _text(value: Any) -> str:
    """Return an entry of the table; a pair of shape and dtype as they are written."""
    if not isinstance(value, tuple):
        return str(value)
    if len(value) == 2 and hasattr(value[1], "itemsize"):
        return f"{value[0]} {value[1]}"
    return f"({', '.join(map(_text, value))})"
