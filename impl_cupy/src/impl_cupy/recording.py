"""How an operation on Tensors is computed and put on the tape.

An operation is a function on raw arrays and a *rule* for its gradient, ``rule(node, grad)``, which
gives one gradient per input. The rule uses array operators and ``node.xp`` only, so that it runs on
raw arrays and, when the way back is recorded, on Tensors: that is all that higher derivatives need.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import as_list, check_dtype, check_raw, refuse_shapes, to_device, type_name
from impl_cupy.dtypes import (
    TAKE_COMPLEX,
    THE_FIVE,
    DTypeLike,
    check_fits,
    check_five,
    float32,
    int32,
    int64,
    plain,
    promote,
    refuse_complex,
    uint64,
    with_number,
)
from impl_cupy.launch import pointwise
from impl_cupy.memory import RawArray, check_unchanged, clock, lend, lent, note_read, readers
from impl_cupy.slices import deepest, record_slices
from impl_cupy.sums import product, total
from impl_cupy.tape import (
    Edges,
    Node,
    Recorded,
    Value,
    at_edge,
    edge_of,
    handles,
    keep,
    observe,
    observe_node,
    refuse_cut,
    state,
    vmapped,
    watched,
    wrap,
)

Rule: TypeAlias = "Callable[[Any, Any], Sequence[Any]]"
Operand: TypeAlias = "Recorded | bool | int | float | complex"


class _OnRaw:
    """What a rule's ``node.xp`` is for raw arrays: CuPy, but for sums and products."""

    sum = staticmethod(total)
    matmul = staticmethod(product)

    def __getattr__(self, name: str) -> Any:
        value = getattr(cp, name)
        setattr(self, name, value)
        return value


class _Saved:
    """Names for what a rule finds at a node: its operands and its result."""

    __slots__ = ()
    inputs: tuple[Any, ...]
    output: Any

    @property
    def x(self) -> Any:
        """The operand, or the first of two."""
        return self.inputs[0]

    @property
    def other(self) -> Any:
        """The second operand."""
        return self.inputs[1]


class OpNode(_Saved, Node):
    """One recorded operation with one output.

    Attributes
    ----------
    name : str
        The operation's.
    rule : callable
        ``rule(node, grad)`` gives one gradient per input.
    inputs : tuple
        The inputs that the rule uses, raw arrays or Python numbers, None for the others; empty if
        it uses none.
    output : raw array or None
        The result, if the rule uses it.
    config : object, shapes, axes and the like
    """

    __slots__ = ("config", "inputs", "name", "output", "rule")
    xp: Any = _OnRaw()

    def __init__(
        self,
        name: str,
        edges: Edges,
        rule: Rule,
        inputs: tuple[Any, ...],
        output: RawArray,
        config: Any,
    ) -> None:
        self.name = name
        self.edges = edges
        self.slots = None
        self.age = clock.now
        self.rule = rule
        self.inputs = inputs
        self.output = output
        self.config = config
        if watched:
            observe_node(self)

    def check(self, recorded: bool) -> None:
        """Refuse where an operand, the result or a constant has been written since."""
        del recorded
        check_unchanged(self.name, self.age, (self.inputs, self.output, self.config))

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Apply the rule to raw arrays."""
        del retain
        return self.rule(self, grads[0])

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Apply the rule to Tensors."""
        return self.rule(TensorView(self), grads[0])

    def release(self) -> None:
        """Let go of the saved arrays and of the nodes behind."""
        self.edges = None
        self.inputs = ()
        self.output = self.config = None

    def called(self) -> str:
        """Return the name of the operation."""
        return self.name


class TensorView(_Saved):
    """What a rule sees of a node when the way back is recorded: Tensors with their history."""

    __slots__ = ("config", "edges", "inputs", "output", "xp")

    def __init__(self, node: OpNode) -> None:
        self.xp = handles.namespace
        self.config = node.config
        self.edges = edges = node.edges or ()
        self.inputs = tuple(
            at_edge(raw, edge) if edge is not None and raw is not None else _constant(raw)
            for raw, edge in zip(node.inputs, edges, strict=False)
        )
        self.output = None if node.output is None else at_edge(node.output, (node, 0))


def _constant(value: Any) -> Any:
    return wrap(value) if isinstance(value, cp.ndarray) else value


def record(
    name: str,
    function: Callable[..., RawArray],
    rule: Rule | None,
    operands: tuple[Operand, ...],
    *,
    keep_inputs: bool = False,
    keep_output: bool = False,
    config: Any = None,
) -> Any:
    """Compute an operation, and put it on the tape where an operand requires grad.

    Parameters
    ----------
    name : str
        What messages call it.
    function : callable
        From raw arrays (and numbers) to the raw result.
    rule : callable or None, for an operation without gradients
    operands : tuple of Tensor or number
    keep_inputs, keep_output : bool
        What the rule uses.
    config : object
        What else the rule uses.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        That names the operation and every shape, where the shapes do not fit.
    """
    if vmapped and (level := deepest(operands)):
        more = {"keep_inputs": keep_inputs, "keep_output": keep_output, "config": config}
        return record_slices(record, (name, function, rule), operands, more, level)
    raws = tuple(
        operand._data if isinstance(operand, Recorded) else operand for operand in operands
    )
    out = compute(name, function, raws)
    if rule is None or not is_wanted(operands):
        return wrap(out)
    edges = tuple(edge_of(operand) for operand in operands)
    kept = raws if keep_inputs else ()
    if lent and keep_inputs:
        kept = tuple(keep(operand, containers=1) for operand in operands)
    node = OpNode(name, edges, rule, kept, out if keep_output else None, config)
    return at_edge(out, (node, 0))


def compute(name: str, function: Callable[..., RawArray], raws: tuple[Any, ...]) -> RawArray:
    """Apply a function to raw arrays.

    Raises
    ------
    ValueError
        That names the operation and every shape, where the shapes do not fit.
    """
    try:
        out = function(*raws)
    except ValueError:
        refuse_shapes(name, raws)
    except OverflowError as error:
        # A number that the arrays' dtype does not hold.
        msg = f"{name}: {error}"
        raise OverflowError(msg) from None
    if readers:
        note_read(raws, (out,))
    if watched:
        observe(name, function, raws, (out,))
    return out


def is_wanted(operands: tuple[Any, ...]) -> bool:
    """Tell whether an operation is recorded: in this thread now, and for one of its operands."""
    if state.recording:
        for operand in operands:
            if isinstance(operand, Recorded) and operand._requires_grad:
                return True
    elif state.replayed is not None:
        for operand in operands:
            if isinstance(operand, Recorded) and operand._requires_grad:
                refuse_cut("an operation under no_grad")
    return False


def as_tensor(name: str, value: Any) -> Any:
    """Return a Tensor itself, and a raw array or a copied NumPy array as a Tensor.

    Raises
    ------
    TypeError
        If it is none of them, or complex where the operation takes real arrays.
    """
    if isinstance(value, Recorded):
        if readers:
            note_read((value._data,))
        made = value
    else:
        made = _made_tensor(name, value)
    if made._data.dtype.kind == "c" and name not in TAKE_COMPLEX:  # ops-59
        refuse_complex(name, f"dtype {made._data.dtype.name}")
    return made


def _made_tensor(name: str, value: Any) -> Any:
    if isinstance(value, cp.ndarray):
        check_raw(name, value)
        lend(value)
        if readers:
            note_read((value,))
        return wrap(value)
    if isinstance(value, np.ndarray):
        return wrap(to_device(name, value))  # tensor-33
    msg = f"{name}: must be a Tensor or a raw array, got {type_name(value)}"  # ops-21
    raise TypeError(msg)


def as_input(name: str, value: Any) -> Any:
    """Return what a Module or a loss takes as a Tensor, of one of the five dtypes (tensor-37).

    Raises
    ------
    TypeError
        If it is no array, or of another dtype.
    """
    made = as_tensor(name, value)
    if made._data.dtype not in THE_FIVE:
        check_five(name, made._data.dtype)
    return made


def as_indices(name: str, value: Any) -> Any:
    """Return integers of any width, and anything else that `as_tensor` takes, as a Tensor.

    Raises
    ------
    TypeError
        As `as_tensor`.
    """
    if isinstance(value, np.integer):
        value = np.asarray(value)
    if isinstance(value, (cp.ndarray, np.ndarray)) and value.dtype.kind in "iu":
        return wrap(device_indices(value))
    made = as_tensor(name, value)
    dtype = made._data.dtype
    if dtype.kind in "iu" and dtype != int64 and dtype != int32:
        return wrap(device_indices(made._data))
    return made


def device_indices(array: Any) -> RawArray:
    """Copy an array of integers of any width to the device, as int32 or int64 (tensor-36)."""
    if array.dtype.kind == "u" and array.dtype.itemsize == 8:
        # What int64 does not hold is out of range for every axis, and stays so.
        space = cp if isinstance(array, cp.ndarray) else np
        array = space.minimum(array, np.uint64(2**63 - 1))
    dtype = array.dtype if array.dtype == int32 else int64
    return cp.array(array, dtype=dtype, copy=True)


def find_outside(given: Any, indices: RawArray, low: int, high: int) -> int | None:
    """Return the first of some indices that is none of low, ..., high - 1, as it was given.

    CuPy lets them wrap around; here they are errors, as in NumPy. NumPy's are looked at where they
    are; to look at those on the device takes two launches, and waits for them.
    """
    if isinstance(given, (np.ndarray, np.integer)):
        host = np.asarray(given)
        outside = (host < low) | (host >= high)
        return int(host[outside].reshape(-1)[0]) if outside.any() else None
    mask = pointwise("is_outside")(indices, low, high)
    if not bool(cp.any(mask)):
        return None
    # What int64 holds may be less than what was given.
    return int((given if isinstance(given, cp.ndarray) else indices)[mask].reshape(-1)[0])


def as_operand(name: str, value: Any) -> Any:
    """Return a Tensor for an array, and a Python number for a number.

    Raises
    ------
    TypeError
        If it is neither.
    """
    if isinstance(value, Recorded):
        if value._data.dtype.kind == "c" and name not in TAKE_COMPLEX:
            refuse_complex(name, f"dtype {value._data.dtype.name}")
        return value
    if isinstance(value, np.generic):
        value = plain(value)
    if isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, complex):
        if name not in TAKE_COMPLEX:
            refuse_complex(name, f"the complex number {value}")
        return value
    if isinstance(value, (cp.ndarray, np.ndarray)):
        return as_tensor(name, value)
    msg = f"{name}: an operand must be a Tensor, a raw array or a number, got {type_name(value)}"
    raise TypeError(msg)


def as_operands(name: str, first: Any, second: Any, *, exact: bool = False) -> tuple[Any, Any]:
    """Bring two operands to one dtype (tensor-15, tensor-16); a number stays a number.

    One that the dtype of integers does not hold is refused, or where the operation is `exact` for
    it, one that has more than 64 bits.

    Raises
    ------
    TypeError
        If neither is an array, or one is nothing that can be an operand.
    """
    if isinstance(first, Recorded) and isinstance(second, Recorded):
        dtype = first._data.dtype
        if dtype is second._data.dtype and dtype.kind != "c":
            return first, second
    a, b = as_operand(name, first), as_operand(name, second)
    if isinstance(a, Recorded):
        if isinstance(b, Recorded):
            if a._data.dtype == b._data.dtype:
                return a, b
            common = promote(name, a._data.dtype, b._data.dtype)
            return cast(a, common), cast(b, common)
        return _beside(name, a, b, exact), b
    if isinstance(b, Recorded):
        return a, _beside(name, b, a, exact)
    # ops-21
    msg = (
        f"{name}: at least one operand must be a Tensor or raw array, got {type_name(first)} and "
        f"{type_name(second)}"
    )
    raise TypeError(msg)


def _beside(name: str, value: Any, number: Any, exact: bool) -> Any:
    """Bring an array to the dtype of an operation with a number."""
    dtype = with_number(value._data.dtype, number)
    if dtype.kind in "iu":
        check_fits(name, number, (int64 if number < 0 else uint64) if exact else dtype)
    return cast(value, dtype)


def as_tensors(name: str, arrays: Sequence[Any]) -> tuple[Any, ...]:
    """Bring several arrays to one dtype, as Tensors.

    Raises
    ------
    TypeError
        If one is no array.
    ValueError
        If there is none.
    """
    values = tuple(as_tensor(name, array) for array in as_list(name, "arrays", arrays))
    if not values:
        msg = f"{name}: arrays must hold at least one array, got none"
        raise ValueError(msg)
    dtype = values[0].dtype
    for value in values:
        dtype = promote(name, dtype, value.dtype)
    return tuple(cast(value, dtype) for value in values)


def cast(value: Any, dtype: np.dtype[Any], name: str = "cast") -> Any:
    """Change a Tensor's dtype if it is another; the user's own cast has the name "astype"."""
    own = value._data.dtype
    if own == dtype:
        return value
    rule = _cast_back if dtype.kind in "fc" and own.kind in "fc" else None  # ops-11
    return record(name, lambda x: cast_raw("astype", x, dtype), rule, (value,), config=own)


def cast_raw(name: str, raw: RawArray, dtype: np.dtype[Any]) -> RawArray:
    """Cast a raw array; a complex one becomes boolean by not being 0 (ops-11).

    Raises
    ------
    TypeError
        That names the operation and both dtypes, if a complex one is to become real.
    """
    if raw.dtype.kind != "c" or dtype.kind == "c":
        return raw.astype(dtype)
    if dtype.kind == "b":
        return raw != 0
    msg = f"{name}: dtype {raw.dtype.name} does not become {dtype.name}; take ops.real first"
    raise TypeError(msg)


def _cast_back(node: Any, grad: Any) -> tuple[Any]:
    own = node.config
    # A real operand gets the real part (autograd-47).
    if own.kind == "f" and grad.dtype.kind == "c":
        grad = node.xp.real(grad)
    return (node.xp.astype(grad, own),)


def floating(value: Any) -> Any:
    """Make integers and booleans float32 where no integer results (ops-14); not a number."""
    if not isinstance(value, Recorded) or value._data.dtype.kind in "fc":
        return value
    return cast(value, float32)


def summable(name: str, value: Any, dtype: DTypeLike) -> Any:
    """Cast what is added or multiplied up: to `dtype`, else integers to 64 bits (ops-15)."""
    own = value._data.dtype
    if dtype is None:
        return value if own.kind in "fc" else cast(value, uint64 if own.kind == "u" else int64)
    wanted = check_dtype(name, dtype)
    if own.kind == "c" and wanted.kind != "c":
        cast_raw(name, value._data, wanted)
    return cast(value, wanted)


def sum_to(xp: Any, grad: Any, shape: tuple[int, ...]) -> Any:
    """Sum a broadcast gradient back to the operand's shape (tensor-18)."""
    if grad.shape == shape:
        return grad
    lead = grad.ndim - len(shape)
    stretched = tuple(
        lead + axis for axis, size in enumerate(shape) if size == 1 and grad.shape[lead + axis] != 1
    )
    if axes := tuple(range(lead)) + stretched:
        grad = xp.sum(grad, axis=axes, keepdims=True)
    return xp.reshape(grad, shape)
