"""How an operation on Tensors is computed and put on the tape.

An `Operation` is a pure function of arrays. Its pullback is ``jax.vjp`` of that function, compiled
once for each choice of differentiated inputs, and is itself an Operation: under ``create_graph`` it
is recorded like any other, which is why derivatives of every order are right. A `Primitive` is a
function with static arguments, and has an Operation for each choice of those. `Function` brings a
rule of its own (see `function_node`).
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .checks import (
    Shape,
    as_number,
    as_scalar,
    check_broadcast,
    check_cast,
    check_dtype,
    check_indices,
    check_integers,
    refuse,
    refuse_type,
)
from .dtypes import (
    INEXACT,
    DType,
    cast_array,
    int32,
    int64,
    is_inexact,
    make_array,
    native,
    promote,
    promote_number,
    restore_x64,
    swap_x64,
)
from .tape import (
    MODE,
    Array,
    Edge,
    Mask,
    Node,
    Scattered,
    Traced,
    constant,
    edge_of,
    show,
    unwrap,
    wrap,
)

Keeps = Callable[[Mask], Mask]
_ARRAYS = (Traced, jax.Array, np.ndarray)
# The dtypes of indices that every axis has room for, or that are used as they are.
_PLACES = frozenset({int32, int64})


def is_array(value: Any) -> bool:
    """Tell whether a value has a dtype and a shape of its own; NumPy's scalars are numbers."""
    return isinstance(value, _ARRAYS)


def as_operand(name: str, value: Any) -> Any:
    """Return a Tensor or a raw array; raise `TypeError` if `value` is none, or of another dtype."""
    if isinstance(value, Traced):
        return value
    if isinstance(value, jax.Array):
        check_dtype(name, value.dtype)
        return value
    if isinstance(value, np.ndarray):
        value = native(value)
        check_dtype(name, value.dtype)
        return make_array(value)  # tensor-33, autograd-25
    msg = f"{name}: each operand must be a Tensor or a raw array, got {type(value).__name__}"
    raise TypeError(msg)  # ops-21


def as_indices(name: str, argument: str, value: Any, low: int, high: int, of: str = "") -> Any:
    """Return indices of any integer dtype in one that is wide enough, after a check of the bounds.

    Raises
    ------
    TypeError
        If `value` is no array, or not of integers.
    IndexError
        If one is outside ``low <= index < high``, where values are known.
    """
    as_integers(name, argument, value)
    check_indices(name, unwrap(value), low, high, of)  # tensor-24
    if isinstance(value, Traced):
        if value._data.dtype in _PLACES:
            return value
        value = unwrap(value)
    return widened(value)


def as_integers(name: str, argument: str, value: Any) -> Any:
    """Return an array or NumPy scalar of integers; raise `TypeError` if it is something else."""
    if not isinstance(value, Traced | jax.Array | np.ndarray | np.integer):
        as_operand(name, value)
    check_integers(name, argument, dtype_of(value))
    return value


def widened(indices: Any) -> Any:
    """Return indices in a dtype that holds every place of an axis."""  # tensor-36
    if isinstance(indices, jax.core.Tracer):
        return indices  # What looks them up takes every dtype of integers.
    if isinstance(indices, jax.Array) and indices.dtype in _PLACES:
        return indices
    # A copy that nobody else has. Compiled code takes it quicker than a jax.Array is made.
    return np.asarray(indices).astype(np.int64)


def shape_of(value: Any) -> Shape:
    """Return the shape of a Tensor or a raw array."""
    return value._data.shape if isinstance(value, Traced) else value.shape


def dtype_of(value: Any) -> DType:
    """Return the dtype of a Tensor or a raw array."""
    return value._data.dtype if isinstance(value, Traced) else value.dtype


def as_pair(name: str, x: Any, y: Any) -> tuple[Any, Any, DType]:
    """Return two operands and the dtype of their result; a Python number becomes a scalar of it.

    Raises
    ------
    TypeError
        If neither is an array, or one is neither array nor number.
    ValueError
        If the shapes do not broadcast; it names the function and both shapes.
    """
    x_is, y_is = is_array(x), is_array(y)
    if x_is and y_is:
        x, y = as_operand(name, x), as_operand(name, y)
        xs, ys = shape_of(x), shape_of(y)
        if xs != ys:
            check_broadcast(name, xs, ys)
        return x, y, promote(name, dtype_of(x), dtype_of(y))
    x, y = as_number(x), as_number(y)
    if x_is and isinstance(y, int | float | complex):
        x = as_operand(name, x)
        dtype = promote_number(y, dtype_of(x))
        return x, as_scalar(name, y, dtype), dtype
    if y_is and isinstance(x, int | float | complex):
        y = as_operand(name, y)
        dtype = promote_number(x, dtype_of(y))
        return as_scalar(name, x, dtype), y, dtype
    msg = (
        f"{name}: the operands must be Tensors, raw arrays or one number beside them, "
        f"got {type(x).__name__} and {type(y).__name__}"
    )
    raise TypeError(msg)


def as_tensors(name: str, argument: str, value: Any) -> list[Traced]:
    """Return one Tensor or several as a list; all must require grad.

    Raises
    ------
    TypeError
        If `value`, or a part of it, is something else.
    ValueError
        If there are none.
    RuntimeError
        If one does not require grad; it names the place.
    """
    listed = list(value) if isinstance(value, list | tuple) else [value]
    for item in listed:
        if not isinstance(item, Traced):
            refuse_type(name, argument, "a Tensor or a list or tuple of them", item)
    if not listed:
        refuse(name, argument, "at least one Tensor", "none")
    for place, item in enumerate(listed):
        if not item._requires_grad:
            msg = f"{name}: {argument} must require grad, got one that does not at place {place}"
            raise RuntimeError(msg)
    return listed


def as_gradient(name: str, tensor: Traced, grad: Any, create: bool) -> Any:
    """Return the gradient that a pass starts from: 1 where none is given and there is one element.

    Raises
    ------
    RuntimeError
        If it is missing, or of another shape; if it is missing and the Tensor complex.
    TypeError
        If it is complex, and the Tensor is not.
    """
    data = unwrap(tensor)
    if grad is None:
        if data.size != 1:
            msg = (
                f"{name}: only a scalar has an implicit gradient, got shape {data.shape}; "
                "pass a gradient of that shape"
            )
            raise RuntimeError(msg)
        if data.dtype.kind == "c":  # autograd-48
            msg = (
                f"{name}: dtype {data.dtype} has no direction in which it rises; pass a "
                "gradient, or take real, imag or abs first"
            )
            raise RuntimeError(msg)
        ones = make_array(np.ones(data.shape, data.dtype))
        return wrap(ones) if create else ones
    seed = unwrap(as_operand(name, grad))
    if seed.shape != data.shape:
        msg = f"{name}: the gradient must have shape {data.shape}, got {seed.shape}"
        raise RuntimeError(msg)
    if seed.dtype != data.dtype:
        check_cast(name, seed.dtype, data.dtype)
        seed = cast_array(seed, data.dtype)
        grad = seed
    if not create:
        return seed
    return grad if isinstance(grad, Traced) else wrap(seed)


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
    into : callable, optional
        ``into(array, *kept, grad)`` adds the gradient of the first operand, which `fn` selects
        from, to an array of its shape.
    """

    __slots__ = ("_rules", "compiled", "fn", "into", "keeps", "name", "run")

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str,
        keeps: Keeps | None = None,
        compiled: bool = True,
        into: Callable[..., Array] | None = None,
    ) -> None:
        self.fn = fn
        self.name = name
        self.keeps = keeps
        self.compiled = compiled
        self.into = None
        if into is not None:
            self.into = jax.jit(
                lambda array, saved, grads: into(array, *saved, *grads), donate_argnums=0
            )
        self.run = jax.jit(fn, inline=True) if compiled else fn
        self._rules: dict[Any, Pullback] = {}

    def numbers(self) -> list[complex]:
        """Return the numbers among the static arguments."""
        static = getattr(self.fn, "args", ())
        return [value for value in jax.tree.leaves(static) if isinstance(value, float | complex)]

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
    """A function of static arguments and arrays; each choice of the former is one Operation."""

    __slots__ = ("_formula", "_into", "_keeps", "_operations", "name")

    def __init__(
        self,
        formula: Callable[..., Any],
        name: str,
        keeps: Keeps | None = None,
        into: Callable[..., Array] | None = None,
    ) -> None:
        self.name = name
        self._formula = formula
        self._keeps = keeps
        self._into = into
        self._operations: dict[Any, Operation] = {}

    def __call__(self, operands: Sequence[Any], *static: Any) -> Any:
        """Record the Operation of these static arguments on the operands."""
        operation = self._operations.get(static)
        if operation is None:
            into = None if self._into is None else functools.partial(self._into, *static)
            formula = functools.partial(self._formula, *static)
            operation = Operation(formula, self.name, self._keeps, into=into)
            self._operations[static] = operation
        return record(operation, operands)


class Pullback:
    """The rule of an Operation for one choice of differentiated inputs.

    The gradient of what an Operation with `into` selects from is `Scattered`.
    """

    __slots__ = ("_derived", "_kept", "into", "mask", "name", "operation", "pull", "whole")

    def __init__(self, operation: Operation, mask: Mask, kept: Mask, avals: Any) -> None:
        self.operation = operation
        self.mask = mask
        self.name = operation.name
        self._kept = kept
        self._derived: dict[Mask, Operation] = {}

        def pull(saved: Sequence[Array], grads: Sequence[Array | None]) -> tuple[Array, ...]:
            # An input that the operation does not need the value of stands in as zeros, which
            # the compiler drops.
            values = iter(saved)
            arrays = [
                next(values) if keep else jnp.zeros(*aval)
                for keep, aval in zip(kept, avals, strict=True)
            ]
            return pull_back(operation.fn, mask, arrays, grads)

        compiled = jax.jit(pull, inline=True) if operation.compiled else pull
        self.whole = compiled
        self.into = operation.into
        self.pull = compiled if operation.into is None else self._scattered

    def _scattered(self, saved: Any, grads: Sequence[Any]) -> Sequence[Any]:
        return [Scattered(self, saved, grads[0])]

    def select(self, saved: Sequence[Array], array: Array) -> Array:
        """Return what an Operation with `into` selects from another array."""
        return self.operation.run(array, *saved)

    def select_recorded(self, saved: Sequence[Array], tensor: Traced) -> Any:
        """Return the same of a Tensor, as a Tensor."""
        return record(self.operation, (tensor, *saved))

    def derive(self, node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients as Tensors, made by an operation that is recorded itself."""
        if self.into is not None:
            return self._scattered(node.saved, grads)
        present = tuple(grad is not None for grad in grads)
        derived = self._derived.get(present)
        if derived is None:
            count = sum(self._kept)

            def run(*arrays: Array) -> tuple[Array, ...]:
                rest = iter(arrays[count:])
                return self.whole(arrays[:count], [next(rest) if p else None for p in present])

            derived = Operation(run, f"gradient of {self.name}", compiled=self.operation.compiled)
            self._derived[present] = derived
        edges = iter(zip(node.targets, node.slots, strict=True))
        paired = [
            (next(edges) if m else None, k) for m, k in zip(self.mask, self._kept, strict=True)
        ]
        return record_on(
            derived,
            [*node.saved, *(grad._data for grad in grads if grad is not None)],
            [
                *(edge for edge, keep in paired if keep),
                *(edge_of(g) for g in grads if g is not None),
            ],
        )


def pull_back(
    fn: Callable[..., Any], mask: Mask, arrays: Sequence[Array], grads: Sequence[Array | None]
) -> tuple[Array, ...]:
    """Return the gradients of `fn`'s inputs in `mask`; a gradient that is None stands for zeros.

    Here alone, and in `function_vjp`, meet the two conventions for complex gradients: those of the
    tape are ``dL/da + 1j * dL/db``, and JAX's are their conjugates. # autograd-47
    """

    def partial(*chosen: Array) -> Any:
        rest = iter(chosen)
        return fn(*(next(rest) if m else a for m, a in zip(mask, arrays, strict=True)))

    out, pull = jax.vjp(partial, *(a for a, m in zip(arrays, mask, strict=True) if m))
    if not isinstance(out, tuple):
        return conjugated(pull(turned(grads[0])))
    return conjugated(pull(tuple(cotangent(o, g) for o, g in zip(out, grads, strict=True))))


def turned(grad: Array | None) -> Any:
    """Return a gradient in the other convention: a complex one's conjugate."""
    return jnp.conj(grad) if grad is not None and grad.dtype.kind == "c" else grad


def conjugated(grads: Sequence[Array | None]) -> tuple[Any, ...]:
    """Return gradients in the other convention."""
    return tuple([turned(grad) for grad in grads])


def cotangent(out: Array, grad: Array | None) -> Array:
    """Return what JAX wants as the cotangent of an output: zeros for None, float0 for integers."""
    if not is_inexact(out.dtype):
        return np.zeros(out.shape, jax.dtypes.float0)
    return jnp.zeros(out.shape, out.dtype) if grad is None else turned(grad)


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
                slots.append(operand._slot)
                continue
        else:
            arrays.append(operand)
        mask.append(False)
    outside = swap_x64(True)
    try:
        out = operation.run(*arrays)
    finally:
        restore_x64(outside)
    if targets:
        made = _recorded(operation, out, arrays, tuple(mask), targets, slots)
    else:
        if not recording and not MODE.inside:
            out = jax.tree.map(constant, out)
        made = tuple(wrap(o) for o in out) if type(out) is tuple else wrap(out)
    if MODE.watch:
        show(operation.name, (*operation.numbers(), *arrays), made)
    return made


def _recorded(
    operation: Operation, out: Any, arrays: Any, mask: Mask, targets: Any, slots: Any
) -> Any:
    """Return what an operation made as Tensors, with their place on the tape."""
    if type(out) is not tuple:
        if out.dtype not in INEXACT:
            return wrap(out)
        return wrap(out, operation.node(arrays, mask, targets, slots, 1))
    node = operation.node(arrays, mask, targets, slots, len(out))
    return tuple(wrap(o, node if is_inexact(o.dtype) else None, i) for i, o in enumerate(out))


def record_on(operation: Operation, arrays: Sequence[Array], edges: Sequence[Edge | None]) -> Any:
    """Record an operation on values as they were saved, with the places their gradients go to."""
    out = operation.run(*arrays)
    mask = tuple(edge is not None for edge in edges)
    if not any(mask):
        return tuple(wrap(o) for o in out)
    targets = [edge[0] for edge in edges if edge is not None]
    slots = [edge[1] for edge in edges if edge is not None]
    made = _recorded(operation, out, arrays, mask, targets, slots)
    if MODE.watch:
        show(operation.name, arrays, made, True)
    return made
