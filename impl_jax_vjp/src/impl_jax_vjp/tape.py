"""The tape: what an operation leaves behind, and the pass that runs it back.

An `Operation` is a pure function of arrays. Its pullback is ``jax.vjp`` of that function, compiled
once for each choice of differentiated inputs, and is itself an Operation: under ``create_graph`` it
is recorded like any other, which is why derivatives of every order are right. A `Function` brings a
rule of its own (see `function`). The pass takes nodes from a heap, newest first; nothing recurses.
"""

import functools
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from .kernels import Keeps

Array = Any
Mask = tuple[bool, ...]

# int64 and float64 are part of the specification, and JAX rounds both to 32 bits unless told so.
jax.config.update("jax_enable_x64", True)

_FLOATING = frozenset({np.dtype("float32"), np.dtype("float64")})


def is_floating(dtype: Any) -> bool:
    """Tell whether gradients exist for a dtype."""
    return dtype in _FLOATING


class Mode(threading.local):
    """What a thread is doing: whether it records, and inside what."""

    enabled: bool = True
    # In a Function's own forward or backward: no recording, yet JAX may differentiate through it.
    inside: bool = False
    # How many of grad, value_and_grad and vjp are running.
    depth: int = 0
    # The trace of nn.jit that wants to know which Tensors are used, if any.
    capture: Any = None


MODE = Mode()


class Traced:
    """An array with its place on the tape: the state of a Tensor, without its operators."""

    __slots__ = (
        "__weakref__",
        "_data",
        "_grad",
        "_hooks",
        "_index",
        "_keeps_grad",
        "_node",
        "_requires_grad",
    )
    result_class: ClassVar[type[Any]]

    _data: Array
    _grad: "Traced | None"
    _hooks: dict[int, Callable[[Any], Any]] | None
    _index: int
    _keeps_grad: bool
    _node: "Node | None"
    _requires_grad: bool

    def __init_subclass__(cls, result: bool = False, **kwargs: Any) -> None:
        # Results of operations are Tensors, whichever subclass their operands were.
        super().__init_subclass__(**kwargs)
        if result:
            Traced.result_class = cls


def make(data: Array, node: "Node | None" = None, index: int = 0) -> Any:
    """Wrap an array that an operation made, without any check."""
    tensor = object.__new__(Traced.result_class)
    tensor._data = data
    tensor._grad = None
    tensor._hooks = None
    tensor._index = index
    tensor._keeps_grad = False
    tensor._node = node
    tensor._requires_grad = node is not None
    return tensor


def constant(data: Array) -> Array:
    """Return the array as one that JAX's transformations do not differentiate either."""
    return jax.lax.stop_gradient(data) if isinstance(data, jax.core.Tracer) else data


def unwrap(operand: Any) -> Array:
    """Return the array of an operand, as the running trace of nn.jit knows it."""
    if not isinstance(operand, Traced):
        return operand
    return operand._data if MODE.capture is None else MODE.capture.resolve(operand)


class Rule(Protocol):
    """How a node turns the gradients of its outputs into those of its differentiated inputs."""

    name: str

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of the inputs in need of one, on raw arrays."""

    def derive(self, node: "Node", grads: Sequence[Any]) -> Sequence[Any]:
        """Return the same gradients as Tensors, recorded on the tape."""


Edge = tuple[Any, int]


class Node:
    """One recorded operation.

    `targets` and `slots` have an entry for each differentiated input: the leaf it is, or the node
    that made it and as which of its outputs. A node knows none of its results: there are no cycles.
    """

    __slots__ = (
        "arrays",
        "count",
        "hooks",
        "name",
        "retained",
        "rule",
        "sequence",
        "slots",
        "targets",
    )
    _counter = itertools.count()

    def __init__(
        self, rule: Rule, arrays: Any, targets: Sequence[Any], slots: Sequence[int], count: int
    ) -> None:
        self.rule: Rule | None = rule
        self.arrays = arrays
        self.targets = targets
        self.slots = slots
        self.count = count
        self.name = rule.name
        self.sequence = next(Node._counter)
        self.hooks: dict[int, dict[int, Callable[[Any], Any]]] | None = None
        self.retained: dict[int, weakref.ref[Any]] | None = None

    def release(self) -> None:
        """Let go of what backward needed."""
        self.rule = None
        self.arrays = None
        self.targets = ()

    def __repr__(self) -> str:
        return f"<{self.name} backward>"


class Pullback:
    """The rule of an Operation for one choice of differentiated inputs."""

    __slots__ = ("_derived", "_kept", "mask", "name", "operation", "pull")

    def __init__(self, operation: "Operation", mask: Mask, kept: Mask, avals: Any) -> None:
        self.operation = operation
        self.mask = mask
        self.name = operation.name
        self._kept = kept
        self._derived: dict[Mask, Operation] = {}

        def pull(arrays: Sequence[Array], grads: Sequence[Array | None]) -> tuple[Array, ...]:
            # An input that the operation does not need the value of stands in as zeros, which
            # the compiler drops.
            saved = iter(arrays)
            full = [
                next(saved) if keep else jnp.zeros(*aval)
                for keep, aval in zip(kept, avals, strict=True)
            ]
            return pull_back(operation.fn, mask, full, grads)

        self.pull = jax.jit(pull, inline=True) if operation.compiled else pull

    def derive(self, node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients as Tensors, made by an operation that is recorded itself."""
        present = tuple(grad is not None for grad in grads)
        derived = self._derived.get(present)
        if derived is None:
            count = sum(self._kept)

            def run(*arrays: Array) -> tuple[Array, ...]:
                given = iter(arrays[count:])
                return self.pull(arrays[:count], [next(given) if p else None for p in present])

            derived = Operation(run, f"gradient of {self.name}", compiled=self.operation.compiled)
            self._derived[present] = derived
        edges = iter(zip(node.targets, node.slots, strict=True))
        paired = [
            (next(edges) if m else None, k) for m, k in zip(self.mask, self._kept, strict=True)
        ]
        return record_on(
            derived,
            [*node.arrays, *(grad._data for grad in grads if grad is not None)],
            [
                *(edge for edge, keep in paired if keep),
                *(edge_of(g) for g in grads if g is not None),
            ],
        )


def pull_back(
    fn: Callable[..., Any], mask: Mask, arrays: Sequence[Array], grads: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return the gradients of `fn`'s inputs in `mask`; a gradient that is None stands for zeros."""

    def partial(*chosen: Array) -> Any:
        given = iter(chosen)
        return fn(*(next(given) if m else a for m, a in zip(mask, arrays, strict=True)))

    out, pull = jax.vjp(partial, *(a for a, m in zip(arrays, mask, strict=True) if m))
    if not isinstance(out, tuple):
        return pull(grads[0])
    return pull(tuple(cotangent(o, g) for o, g in zip(out, grads, strict=True)))


def cotangent(out: Array, grad: Array | None) -> Array:
    """Return what JAX wants as the cotangent of an output: zeros for None, float0 for integers."""
    if not is_floating(out.dtype):
        return np.zeros(out.shape, jax.dtypes.float0)
    return jnp.zeros(out.shape, out.dtype) if grad is None else grad


class Operation:
    """A pure function of arrays that the tape can record.

    Parameters
    ----------
    fn : callable
        From arrays to an array or a tuple of arrays.
    name : str
        For messages.
    keeps : callable, optional
        From the mask of differentiated inputs to the mask of inputs whose values backward needs.
    compiled : bool
        Whether eager calls go through ``jax.jit``.
    """

    __slots__ = ("_rules", "compiled", "fn", "keeps", "name", "run")

    def __init__(
        self, fn: Callable[..., Any], name: str, keeps: Keeps | None = None, compiled: bool = True
    ) -> None:
        self.fn = fn
        self.name = name
        self.keeps = keeps
        self.compiled = compiled
        self.run = jax.jit(fn, inline=True) if compiled else fn
        self._rules: dict[Any, Pullback] = {}

    def node(
        self, arrays: Sequence[Array], mask: Mask, targets: Any, slots: Any, count: int
    ) -> Node:
        """Return the record of one call, with what its backward needs."""
        if self.keeps is None:
            kept, saved = (True,) * len(mask), arrays
            key: Any = mask
            avals: Any = (None,) * len(mask)
        else:
            kept = self.keeps(mask)
            saved = [a for a, keep in zip(arrays, kept, strict=True) if keep]
            avals = tuple(
                [None if keep else (a.shape, a.dtype) for a, keep in zip(arrays, kept, strict=True)]
            )
            key = (mask, avals)
        rule = self._rules.get(key)
        if rule is None:
            rule = self._rules[key] = Pullback(self, mask, kept, avals)
        return Node(rule, saved, targets, slots, count)


class Primitive:
    """A kernel with static arguments; each choice of those is one Operation."""

    __slots__ = ("_keeps", "_kernel", "_operations", "name")

    def __init__(self, kernel: Callable[..., Any], name: str, keeps: Keeps | None = None) -> None:
        self.name = name
        self._kernel = kernel
        self._keeps = keeps
        self._operations: dict[Any, Operation] = {}

    def __call__(self, operands: Sequence[Any], *static: Any) -> Any:
        operation = self._operations.get(static)
        if operation is None:
            operation = Operation(functools.partial(self._kernel, *static), self.name, self._keeps)
            self._operations[static] = operation
        return record(operation, operands)


def record(operation: Operation, operands: Sequence[Any]) -> Any:
    """Run an operation on Tensors and arrays; put it on the tape if a gradient may be wanted."""
    capture = MODE.capture
    recording = MODE.enabled
    arrays: list[Any] = []
    mask: list[bool] = []
    targets: list[Any] = []
    slots: list[int] = []
    for operand in operands:
        if isinstance(operand, Traced):
            arrays.append(operand._data if capture is None else capture.resolve(operand))
            if recording and operand._requires_grad:
                mask.append(True)
                targets.append(operand._node or operand)
                slots.append(operand._index)
                continue
        else:
            arrays.append(operand)
        mask.append(False)
    out = operation.run(*arrays)
    if targets:
        return results(operation, out, arrays, tuple(mask), targets, slots)
    if not recording and not MODE.inside:
        out = jax.tree.map(constant, out)
    return tuple(make(o) for o in out) if type(out) is tuple else make(out)


def results(
    operation: Operation, out: Any, arrays: Any, mask: Mask, targets: Any, slots: Any
) -> Any:
    """Return what an operation made as Tensors, with their place in the graph."""
    if type(out) is not tuple:
        if out.dtype not in _FLOATING:
            return make(out)
        return make(out, operation.node(arrays, mask, targets, slots, 1))
    node = operation.node(arrays, mask, targets, slots, len(out))
    return tuple(make(o, node if is_floating(o.dtype) else None, i) for i, o in enumerate(out))


def edge_of(tensor: Traced) -> Edge | None:
    """Return where the gradient of a Tensor goes."""
    return (tensor._node or tensor, tensor._index) if tensor._requires_grad else None


def record_on(operation: Operation, arrays: Sequence[Array], edges: Sequence[Edge | None]) -> Any:
    """Record an operation on values as they were saved, with the places their gradients go to."""
    out = operation.run(*arrays)
    mask = tuple(edge is not None for edge in edges)
    if not any(mask):
        return tuple(make(o) for o in out)
    targets = [edge[0] for edge in edges if edge is not None]
    slots = [edge[1] for edge in edges if edge is not None]
    return results(operation, out, arrays, mask, targets, slots)


def gather_needed(roots: Iterable[Traced], inputs: Sequence[Traced]) -> set[Node]:
    """Return the nodes through which a gradient reaches one of `inputs`."""
    leaves = {id(t) for t in inputs if t._node is None}
    outputs = {(t._node, t._index) for t in inputs if t._node is not None}
    stack = [root._node for root in roots if root._node is not None]
    seen = set(stack)
    while stack:
        for target in stack.pop().targets:
            if type(target) is Node and target not in seen:
                seen.add(target)
                stack.append(target)
    needed: set[Node] = set()
    for node in sorted(seen, key=lambda n: n.sequence):
        for target, slot in zip(node.targets, node.slots, strict=True):
            if id(target) in leaves or (target, slot) in outputs or target in needed:
                needed.add(node)
                break
    return needed
