"""How an operation on Tensors is computed and put on the tape.

An operation that has a derivative of its own is a `Primitive`; everything else is made from these.
`forward` computes with NumPy, `vjp` gives the gradients of the operands. A `vjp` is written with
operators, methods and other primitives, all of which take raw arrays and Tensors alike: on raw
arrays it computes a gradient, on Tensors it records one. There is no more to second derivatives.

In every `vjp`, `grad` is the gradient of the result, `needs` tells (by being None or not) which
operands want one, then come the operands, the result and the configuration. An operand or result
that its Primitive does not `keep` is None. Gradients of complex values are conjugated here
(`tape.conjugated`), so that a holomorphic function's rule is written as a real one's.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import Context
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import Unknown, sliced_call, youngest
from impl_numpy.checks import check_real
from impl_numpy.dtypes import Array, Shape, Value, float32, promoted
from impl_numpy.memory import GIVEN, LENT, Reads, follow, own
from impl_numpy.operands import operand
from impl_numpy.sums import SMALL, total
from impl_numpy.tape import MODE, THROUGH, WATCHING, Node, Parents, Stretched, observe

F = TypeVar("F", bound=Callable[..., Any])
Grads: TypeAlias = tuple[Value | None, ...]

OUT = -1


class Traced:
    """What the tape can follow: a raw array and the node that made it. Tensor is the only one."""

    __slots__ = ("_data", "_lent", "_node")

    _data: Array
    _node: Node | None
    # Whether others may be able to write the array.
    _lent: bool

    @staticmethod
    def _wrap(data: Any, node: Node | None) -> Any:
        """Return a Tensor of this array that `node` made."""
        raise NotImplementedError

    def _conjugated(self) -> Any:
        """Return the conjugate of a complex gradient, recorded also where the program records not.

        A gradient is a Tensor only where its pass is recorded.
        """
        before = MODE.recording
        MODE.recording = before or True
        try:
            return RULES["conj"](self)
        finally:
            MODE.recording = before

    def _summed(self, level: Any) -> Any:
        """Return the sum over the slices of a level, of a gradient that leaves it, recorded."""
        return RULES["sum of slices"](self, level)


class Differentiable:
    """Where `ops` leaves itself and its rules, for what lies below it and cannot import it.

    Attributes
    ----------
    ops : module
        The array-API namespace on Tensors.
    """

    ops: Any


# The rules of the rows, by name: Tensor's operators and other rows reach them here.
RULES: dict[str, Primitive] = {}


class Primitive:
    """An operation with a derivative.

    Parameters
    ----------
    name : str
        The name in error messages and in `grad_fn`.
    forward : callable
        `forward(*operands, *config)` on raw arrays gives a raw array.
    vjp : callable
        `vjp(grad, needs, *operands, out, *config)` gives one gradient per operand.
    keep : tuple of tuple of int
        For each operand, which arrays its gradient needs: positions of operands, or `OUT`.
    floats : bool
        Integer operands are taken as float32.
    real : bool
        Complex operands are refused.
    stretches : bool
        The operands broadcast to the shape of the result, element by element.
    stacks : bool
        The operands are stacks of matrices, whose leading axes broadcast.
    explain : callable, optional
        `explain(*operands, *config)` gives the reason for a refusal by NumPy, or None.
    """

    __slots__ = (
        "arity",
        "choosy",
        "explain",
        "floats",
        "forward",
        "keep",
        "kept",
        "name",
        "real",
        "stacks",
        "stretches",
        "vjp",
    )

    def __init__(
        self,
        name: str,
        forward: Callable[..., Any],
        vjp: Callable[..., Grads],
        keep: tuple[tuple[int, ...], ...] = ((),),
        *,
        floats: bool = False,
        real: bool = False,
        stretches: bool = False,
        stacks: bool = False,
        explain: Callable[..., str | None] | None = None,
    ) -> None:
        self.name = name
        self.forward = forward
        self.vjp = vjp
        self.keep = keep
        self.arity = len(keep)
        self.kept = _unions(keep) if len(keep) < 3 else []
        self.floats = floats
        self.real = real
        # Whether another dtype than a floating one has to be looked at.
        self.choosy = floats or real
        self.stretches = stretches
        self.stacks = stacks
        self.explain = explain

    def __call__(self, *args: Any) -> Value:
        """Compute on raw arrays, or record where an operand is a Tensor: for use in a `vjp`."""
        for x in args[: self.arity]:
            if not isinstance(x, (np.ndarray, np.generic)):
                return x._record(self, args[: self.arity], args[self.arity :])
        try:
            return self.forward(*args)
        except Unknown:
            level = youngest(args)
            if level is None:
                raise
            return sliced_call(level, self.forward, *args)

    def admitted(self, array: Array) -> Array:
        """Return an operand that is not floating as it is, or integers as float32.

        Raises
        ------
        TypeError
            If it is complex and must not be.
        """
        if array.dtype.kind == "c":
            if self.real:
                check_real(self.name, array.dtype)
            return array
        return array.astype(float32) if self.floats else array

    def __repr__(self) -> str:
        return f"<primitive {self.name}>"


def _unions(keep: tuple[tuple[int, ...], ...]) -> list[tuple[bool, ...]]:
    """Return which arrays to keep (operands, then the result), by the bits of who wants them."""
    n = len(keep)
    wanted = [
        {place for k in range(n) if bits >> k & 1 for place in keep[k]} for bits in range(1 << n)
    ]
    return [tuple(place in places for place in (*range(n), OUT)) for places in wanted]


def raw(x: Value) -> Any:
    """Return the values of a Tensor or raw array: what is computed from them is a constant."""
    return x if isinstance(x, (np.ndarray, np.generic)) else x._data


def fit(grad: Value, shape: Shape, dtype: DTypeLike) -> Value:
    """Sum a gradient to the shape, and cast it to the dtype, of an operand that was stretched."""
    if grad.shape == shape and grad.dtype == dtype:
        return grad
    return shrink(grad, shape, dtype, grad.shape, grad.dtype)


def _shrink(x: Array, shape: Shape, dtype: DTypeLike, *_: Any) -> Array:
    if x.shape != shape:
        lead = x.ndim - len(shape)
        axes = [k for k in range(x.ndim) if k < lead or (shape[k - lead] == 1 and x.shape[k] != 1)]
        x = total(x, tuple(axes)).reshape(shape)
    if x.dtype.kind == "c" and x.dtype != dtype and np.dtype(dtype).kind != "c":
        # A real operand gets the real part of what a complex one would get (autograd-47).
        x = x.real
    return x.astype(dtype, copy=False)


def stretch(x: Value, shape: Shape, dtype: DTypeLike) -> Value:
    """Broadcast to a shape and cast to a dtype, as an operand is that differs from the result."""
    return spread(x, shape, dtype, x.shape, x.dtype)


def _spread(x: Array, shape: Shape, dtype: DTypeLike, *_: Any) -> Array:
    if x.shape != shape and x.ndim <= len(shape) and x.dtype == dtype and math.prod(shape) <= SMALL:
        # So few are written in a fifth of the time that `np.broadcast_to` takes.
        filled = np.empty(shape, dtype)
        filled[...] = x
        return filled
    x = np.broadcast_to(x, shape)
    if x.dtype == dtype:
        return x
    with np.errstate(all="ignore"):
        return x.astype(dtype)


def _shrink_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, shape, dtype = config
    return (stretch(grad, shape, dtype),)


def _spread_vjp(grad: Value, needs: Parents, x: None, out: None, *config: Any) -> Grads:
    _, _, shape, dtype = config
    return (fit(grad, shape, dtype),)


shrink = Primitive("sum_to", _shrink, _shrink_vjp)
spread = Primitive(
    "broadcast_to",
    _spread,
    _spread_vjp,
    explain=lambda x, shape, *_: f"cannot bring the shape {x.shape} into the shape {shape}",
)


def unary(rule: Primitive, x: Any, config: tuple[Any, ...] = ()) -> Any:
    """Compute an operation on one Tensor, and put it on the tape if it wants a gradient.

    Parameters
    ----------
    rule : Primitive
    x : Tensor
    config : tuple
        What `rule.forward` takes after the operand.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shape does not fit; the message names the operation and the shape.
    """
    array, node = x._data, x._node
    if rule.choosy and array.dtype.kind != "f":
        array = rule.admitted(array)
    try:
        out = QUIET.run(rule.forward, array, *config)
    except Unknown:
        out = _by_slices(rule, (array,), config)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, rule, (array,), config) from None
    if node is None or not MODE.recording or out.dtype.kind not in "fc":
        node = None
    else:
        keep_x, keep_out = rule.kept[1]
        if LENT and keep_x and (GIVEN or x._lent):
            array = own(array)
        saved = (array if keep_x else None, out if keep_out else None, *config)
        node = Node(rule, (node,), saved)
    result = x._wrap(out, node)
    if WATCHING:
        observe(rule.name, (x._data, *config), (out,), node)
    if LENT and x._lent:
        # It may be a view.
        follow(result)
    return result


def binary(  # noqa: C901 - not one call more than needed
    rule: Primitive, a: Any, b: Any, config: tuple[Any, ...] = ()
) -> Any:
    """Apply an operator to a Tensor and a Tensor, raw array or number; else NotImplemented.

    It does what `record` does, in a hurry: most programs spend their time here.
    """
    left = right = closer = None
    if isinstance(a, Traced):
        x, left, wrap = a._data, a._node, a._wrap
        if isinstance(b, Traced):
            y, right = b._data, b._node
        else:
            closer = a._lent or isinstance(b, np.ndarray)
            b = y = operand(b, x.dtype, rule.name)
    else:
        y, right, wrap = b._data, b._node, b._wrap
        closer = b._lent or isinstance(a, np.ndarray)
        a = x = operand(a, y.dtype, rule.name)
    if x is None or y is None:
        return NotImplemented
    kind = x.dtype
    if (kind is not y.dtype and kind != y.dtype) or (rule.choosy and kind.kind != "f"):
        return record(rule, (a, b), config)
    try:
        out = QUIET.run(rule.forward, x, y, *config)
    except Unknown:
        out = _by_slices(rule, (x, y), config)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, rule, (x, y), config) from None
    if (left is None and right is None) or not MODE.recording:
        if WATCHING:
            observe(rule.name, (x, y, *config), (out,), None)
        return wrap(out, None)
    keep_x, keep_y, keep_out = rule.kept[(left is not None) + 2 * (right is not None)]
    if rule.stretches:
        shape = out.shape
        left = left if left is None or x.shape == shape else _stretched(left, x)
        right = right if right is None or y.shape == shape else _stretched(right, y)
    if closer or (LENT and (GIVEN or (closer is None and (a._lent or b._lent)))):
        x = _kept(x, a is x) if keep_x else x
        y = _kept(y, b is y) if keep_y else y
    saved = (
        x if keep_x else None,
        y if keep_y else None,
        out if keep_out else None,
        *config,
    )
    node = Node(rule, (left, right), saved)
    if WATCHING:
        observe(rule.name, (x, y, *config), (out,), node)
    return wrap(out, node)


def record(  # noqa: C901 - not one call more than needed
    rule: Primitive, operands: Sequence[Value], config: tuple[Any, ...] = ()
) -> Any:
    """Compute an operation on several operands, and put it on the tape if one wants a gradient.

    Parameters
    ----------
    rule : Primitive
    operands : sequence of Tensor or raw array
        At least one is a Tensor. Shapes and dtypes may differ as far as the operation allows.
    config : tuple
        What `rule.forward` takes after the operands.

    Returns
    -------
    Tensor

    Raises
    ------
    ValueError
        If the shapes do not fit; the message names the operation and every shape.
    """
    wrap = next(x._wrap for x in operands if isinstance(x, Traced))
    arrays = [x._data if isinstance(x, Traced) else x for x in operands]
    parents = [x._node if isinstance(x, Traced) else None for x in operands]
    values = _promoted(arrays, rule)
    try:
        out = QUIET.run(rule.forward, *values, *config)
    except Unknown:
        out = _by_slices(rule, values, config)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, rule, values, config) from None
    if not any(parents) or not MODE.recording:
        if WATCHING:
            observe(rule.name, (*arrays, *config), (out,), None)
        return wrap(out, None)
    kept: list[Array | None] = [None] * (len(arrays) + 1)
    for k, (parent, x) in enumerate(zip(parents, arrays, strict=True)):
        if parent is None:
            continue
        for place in rule.keep[k]:
            if place == OUT:
                kept[OUT] = out
            elif kept[place] is None:
                kept[place] = _kept(values[place], not isinstance(operands[place], Traced))
        if x.dtype != out.dtype or x.shape != _own_shape(rule, x, out):
            parents[k] = _stretched(parent, x)
    node = Node(rule, tuple(parents), (*kept, *config))
    if WATCHING:
        observe(rule.name, (*arrays, *config), (out,), node)
    return wrap(out, node)


def _by_slices(rule: Primitive, arrays: Sequence[Array], config: tuple[Any, ...]) -> Any:
    """Compute for each slice of a `vmap` what cannot be computed for all at once."""
    level = youngest((arrays, config))
    if level is None:
        raise
    try:
        return QUIET.run(sliced_call, level, rule.forward, *arrays, *config)
    except (ValueError, TypeError, IndexError) as error:
        raise _explained(error, rule, arrays, config) from None


def _kept(value: Array, foreign: bool) -> Array:
    """Return an operand's values to save: a copy of what the caller can change (autograd-25)."""
    return value.copy() if foreign else own(value)


class _Quiet(threading.local):
    """A context for each thread in which NumPy warns of nothing.

    Infinite and undefined values are results, not accidents to warn of (ops-27). To run a forward
    in this context takes a tenth of the time that `np.errstate` does.
    """

    def __init__(self) -> None:
        context = Context()
        context.run(np.seterr, all="ignore")
        self.run = context.run


QUIET = _Quiet()


@contextmanager
def noting(reads: Reads) -> Iterator[None]:
    """Note what every operation of this thread reads."""
    run, through = QUIET.run, MODE.through
    QUIET.run = functools.partial(reads.run, run)
    THROUGH.append(None)
    MODE.through = functools.partial(reads.run, *(() if through is None else (through,)))
    try:
        yield
    finally:
        QUIET.run, MODE.through = run, through
        THROUGH.pop()


def quiet(function: F) -> F:
    """Decorate a computation on raw arrays, of which no warning is wanted."""

    @functools.wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        return QUIET.run(function, *args, **options)

    return run  # type: ignore[return-value]


def _explained(
    error: Exception, rule: Primitive, arrays: Sequence[Array], config: tuple[Any, ...]
) -> Exception:
    """Return the error of an operation, for one of NumPy's that does not name it."""
    said = " ".join(str(error).split())
    if isinstance(error, IndexError):  # ops-29
        return IndexError(f"{rule.name}: the index does not fit: {said}")
    if isinstance(error, TypeError):  # tensor-40
        dtypes = " and ".join(str(x.dtype) for x in arrays)
        return TypeError(f"{rule.name}: cannot take the dtype(s) {dtypes}: {said}")
    reason = rule.explain(*arrays, *config) if rule.explain is not None else None
    if reason is None:
        shapes = " and ".join(str(np.shape(x)) for x in arrays)
        reason = f"cannot take the shape(s) {shapes}: {said}"
    return ValueError(f"{rule.name}: {reason}")  # ops-12


def _stretched(parent: Node, x: Array) -> Stretched:
    return Stretched(spread, (parent,), (None, None, None, None, x.shape, x.dtype))


def _own_shape(rule: Primitive, x: Array, out: Array) -> Shape:
    """Return the shape of an operand's gradient: the result's where the operand was stretched."""
    if rule.stretches:
        return out.shape
    return out.shape[:-2] + x.shape[-2:] if rule.stacks else x.shape


def _promoted(arrays: list[Array], rule: Primitive) -> list[Array]:
    """Cast operands to the dtype in which they meet (tensor-16), or to that which a rule wants."""
    dtype = promoted(rule.name, *[x.dtype for x in arrays])
    if dtype.kind == "c":
        if rule.real:
            check_real(rule.name, dtype)
    elif rule.floats and dtype.kind != "f":
        dtype = float32
    return [x if x.dtype == dtype else x.astype(dtype) for x in arrays]
