"""How one differentiable operation is carried out and recorded.

An operation is a function on raw arrays and a *rule* for its gradient, ``rule(node, grad)``. The
rule uses array operators and ``node.xp`` only, so that it runs on raw arrays and, when the way back
is recorded, on Tensors: that is all that higher derivatives need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

import numpy as np

from impl_cupy import xp as raw_xp
from impl_cupy.backend import cp
from impl_cupy.dtypes import bool_, float32, int64, promote
from impl_cupy.errors import kind_of
from impl_cupy.tape import Edges, Node, Value, state
from impl_cupy.tensor import RawArray, Tensor, at_edge, check_raw, edge_of, methods, wrap

Rule: TypeAlias = "Callable[[Any, Any], Sequence[Any]]"
Operand: TypeAlias = "Tensor | bool | int | float"


class OpNode(Node):
    """One recorded operation with one output.

    Attributes
    ----------
    rule : callable
        ``rule(node, grad)`` gives one gradient per input.
    inputs : tuple
        The inputs that the rule uses, raw arrays or Python numbers; empty if none.
    output : raw array or None
        The result, if the rule uses it.
    config : object
        Shapes, axes and the like.
    """

    __slots__ = ("config", "inputs", "output", "rule")
    xp: Any = raw_xp

    def __init__(
        self, edges: Edges, rule: Rule, inputs: tuple[Any, ...], output: RawArray, config: Any
    ) -> None:
        self.edges = edges
        self.slots = None
        self.rule = rule
        self.inputs = inputs
        self.output = output
        self.config = config

    def pull(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to raw arrays."""
        return self.rule(self, grads[0])

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to Tensors."""
        return self.rule(_TensorView(self), grads[0])

    def release(self) -> None:
        """Let go of the saved arrays and of the nodes behind."""
        self.edges = None
        self.inputs = ()
        self.output = None

    def __repr__(self) -> str:
        return f"<{self.rule.__name__.strip('_')}>"


class _TensorView:
    """What a rule sees of a node when the way back is recorded: Tensors with their history."""

    __slots__ = ("config", "edges", "inputs", "output", "xp")

    def __init__(self, node: OpNode) -> None:
        self.xp = methods.namespace
        self.config = node.config
        self.edges = edges = node.edges or ()
        self.inputs = tuple(
            at_edge(each, edge) if edge is not None and each is not None else _constant(each)
            for each, edge in zip(node.inputs, edges, strict=False)
        )
        self.output = None if node.output is None else at_edge(node.output, (node, 0))


def _constant(each: Any) -> Any:
    return wrap(each) if isinstance(each, cp.ndarray) else each


def apply(
    name: str,
    function: Callable[..., RawArray],
    rule: Rule | None,
    args: tuple[Operand, ...],
    *,
    keep_inputs: bool = False,
    keep_output: bool = False,
    config: Any = None,
) -> Tensor:
    """Carry an operation out and record it where something requires grad.

    Parameters
    ----------
    name : str
        What messages call it.
    function : callable
        From raw arrays (and numbers) to the raw result.
    rule : callable or None
        None for an operation without gradients.
    args : tuple of Tensor or number
    keep_inputs, keep_output : bool
        What the rule uses.
    config : object
        What else the rule uses.

    Raises
    ------
    ValueError
        That names the operation and every shape, where the shapes do not fit.
    """
    raws = tuple(each._data if isinstance(each, Tensor) else each for each in args)
    try:
        out = function(*raws)
    except ValueError:
        refuse_shapes(name, raws)
    if rule is None or not state.recording or not any_requires_grad(args):
        return wrap(out)
    edges = tuple(edge_of(each) if isinstance(each, Tensor) else None for each in args)
    kept = raws if keep_inputs else ()
    node = OpNode(edges, rule, kept, out if keep_output else None, config)
    return at_edge(out, (node, 0))


def any_requires_grad(args: tuple[Any, ...]) -> bool:
    """Tell whether a Tensor among `args` requires grad."""
    for each in args:
        if isinstance(each, Tensor) and each._requires_grad:
            return True
    return False


def refuse_shapes(name: str, args: Sequence[Any]) -> NoReturn:
    """Raise the error for operands whose shapes do not go together (ops-12).

    Raises
    ------
    ValueError
        That names the operation and every shape.
    """
    shapes = [str(getattr(each, "shape", ())) for each in args]
    msg = f"{name}: shapes {' and '.join(shapes)} do not fit together"
    raise ValueError(msg) from None


def as_tensor(name: str, value: Any) -> Tensor:
    """Take a Tensor or a raw array.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, cp.ndarray):
        check_raw(name, value)
        return wrap(value)
    msg = f"{name}: a Tensor or raw array is needed, got {kind_of(value)}"
    raise TypeError(msg)


def as_operand(name: str, value: Any) -> Operand:
    """Take a Tensor, a raw array or a number.

    Raises
    ------
    TypeError
        If it is none of them.
    """
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, cp.ndarray):
        return as_tensor(name, value)
    msg = f"{name}: Tensors, raw arrays and numbers are needed, got {kind_of(value)}"
    raise TypeError(msg)


def operands(name: str, first: Any, second: Any) -> tuple[Operand, Operand]:
    """Bring two operands to one dtype (tensor-15, tensor-16); a number stays a number.

    Raises
    ------
    TypeError
        If neither is an array, or one is of another kind.
    """
    a, b = as_operand(name, first), as_operand(name, second)
    if isinstance(a, Tensor):
        if isinstance(b, Tensor):
            if a.dtype == b.dtype:
                return a, b
            common = promote(a.dtype, b.dtype)
            return cast(a, common), cast(b, common)
        return cast(a, with_number(a.dtype, b)), b
    if isinstance(b, Tensor):
        return a, cast(b, with_number(b.dtype, a))
    msg = f"{name}: at least one operand must be a Tensor or raw array"
    raise TypeError(msg)


def with_number(dtype: np.dtype[Any], number: Any) -> np.dtype[Any]:
    """Give the dtype of an operation between an array and a Python number."""
    if isinstance(number, bool) or dtype.kind == "f":
        return dtype
    if isinstance(number, int):
        return int64 if dtype == bool_ else dtype
    return float32


def cast(value: Tensor, dtype: np.dtype[Any]) -> Tensor:
    """Change the dtype if it is another one; gradients come back in the old one."""
    if value.dtype == dtype:
        return value
    rule = _cast if dtype.kind == "f" and value.dtype.kind == "f" else None
    return apply("astype", lambda x: x.astype(dtype), rule, (value,), config=value.dtype)


def _cast(node: Any, grad: Any) -> tuple[Any]:
    return (node.xp.astype(grad, node.config),)


def floating(value: Tensor) -> Tensor:
    """Make integers and booleans float32, for functions that have no integer result."""
    return value if value.dtype.kind == "f" else cast(value, float32)


def sum_to(xp: Any, grad: Any, shape: tuple[int, ...]) -> Any:
    """Sum a broadcast gradient back to the operand's shape (tensor-18)."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    stretched = tuple(
        lead + axis for axis, size in enumerate(shape) if size == 1 and grad.shape[lead + axis] != 1
    )
    axes = tuple(range(lead)) + stretched
    if axes:
        grad = xp.sum(grad, axis=axes, keepdims=True)
    return xp.reshape(grad, shape)


def normalize_axes(name: str, axis: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Make an int, a tuple of ints or None a tuple of axes from 0.

    Raises
    ------
    ValueError
        That names the operation, the axis and the shape, if it is out of range or given twice.
    """
    ndim = len(shape)
    if axis is None:
        return tuple(range(ndim))
    given = axis if isinstance(axis, (tuple, list)) else (axis,)
    try:
        axes = tuple(each.__index__() for each in given)
    except AttributeError:
        msg = f"{name}: axis must be an int or a tuple of ints, got {axis!r}"
        raise TypeError(msg) from None
    if any(not -ndim <= each < ndim for each in axes):
        msg = f"{name}: axis {axis} is out of range for shape {shape}"
        raise ValueError(msg)
    axes = tuple(each % ndim for each in axes)
    if len(set(axes)) != len(axes):
        msg = f"{name}: axis {axis} names an axis of shape {shape} twice"
        raise ValueError(msg)
    return axes


def normalize_axis(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    """Make one axis count from 0.

    Raises
    ------
    ValueError
        As in `normalize_axes`.
    """
    if isinstance(axis, (tuple, list)) or axis is None:
        msg = f"{name}: axis must be an int, got {axis!r}"
        raise TypeError(msg)
    return normalize_axes(name, axis, shape)[0]
