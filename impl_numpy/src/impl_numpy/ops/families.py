"""The families of functions: what all of a family share, so that one of them is a row.

A family fixes the signature, the checks, the name in errors and the frame of the docstring. A row
says the rest: name, what NumPy computes, the rule of the derivative, what the rule keeps, one line
of description, and the page that defines the function ("array API" is the page of the same name in
the Python array API standard 2025.12).

A derivative is written as in `recording`: on raw arrays and Tensors alike. X and OUT say what it
keeps: the operand or the result.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.checks import (
    check_answered,
    check_device,
    check_dtype,
    check_flag,
    check_keeps,
    check_operands,
    check_real,
    normalize_axes,
    normalize_axis,
)
from impl_numpy.dtypes import Array, Axis, Shape, Value, int64, is_raw, uint64
from impl_numpy.protocols import compare as record_compare
from impl_numpy.recording import (
    OUT,
    RULES,
    Grads,
    Primitive,
    spread,
)
from impl_numpy.recording import binary as record_binary
from impl_numpy.recording import unary as record_unary
from impl_numpy.tensor import Tensor, as_tensor, wrap

X = 0
STANDARD = "array API"

Function = TypeVar("Function", bound=Callable[..., Any])
Derivative = Callable[[Value, Value, Value], Value]

REGISTRY: dict[str, Callable[..., Any]] = {}

OPERAND = """Parameters
----------
x : Tensor or raw array, any shape

Returns
-------
Tensor, {result}

Raises
------
TypeError
    If x is neither."""

_OPERANDS = """Parameters
----------
x1, x2 : Tensor or raw array, shapes that broadcast
    One of them may be a Python number, which takes the other's dtype.

Returns
-------
Tensor, {result}

Raises
------
ValueError
    If the shapes do not broadcast.
TypeError
    If an operand is none of these."""

_AXES = """Parameters
----------
x : Tensor or raw array, any shape
axis : int or tuple of int, optional
    Left out, all axes.{dtype}
keepdims : bool
    Keep the axes, with length 1.

Returns
-------
Tensor, the shape of x without the axes

Raises
------
ValueError
    If an axis is out of range or comes twice.
TypeError
    If an axis is no int."""

_AXIS = """Parameters
----------
x : Tensor or raw array, shape (..., N, ...)
axis : int
    That of length N.{more}

Returns
-------
Tensor, {result}

Raises
------
ValueError
    If the axis is out of range.
TypeError
    If x is neither, or the axis is no int."""


def registered(
    name: str, summary: str, frame: str, source: str = STANDARD
) -> Callable[[Function], Function]:
    """Enter a function into `ops` under a name, with a docstring made from its row."""

    def register(function: Function) -> Function:
        page = f"{name} in the {source} standard 2025.12" if source == STANDARD else source
        function.__name__ = function.__qualname__ = name
        function.__module__ = "impl_numpy.ops"
        function.__doc__ = f"{summary}\n\n{inspect.cleandoc(frame)}\n\nSource: {page}.\n"
        REGISTRY[name] = function
        return function

    return register


def rule(primitive: Primitive, name: str | None = None) -> Primitive:
    """Enter a primitive under the name by which operators and other rows reach it."""
    RULES[primitive.name if name is None else name] = primitive
    return primitive


def unary(
    name: str,
    forward: Callable[[Array], Any],
    derivative: Derivative,
    keep: int | tuple[int, ...] | None,
    summary: str,
    *,
    floats: bool = True,
    real: bool = False,
    source: str = STANDARD,
) -> Callable[..., Tensor]:
    """Make a function of one operand, element by element.

    `derivative(grad, x, out)` keeps x (X), out (OUT), both or nothing; with `floats`, integers
    become float32 (ops-14), with `real` complex numbers are refused (ops-59).
    """
    kept = () if keep is None else (keep,) if isinstance(keep, int) else keep
    primitive = rule(
        Primitive(
            name,
            forward,
            lambda grad, needs, x, out: (derivative(grad, x, out),),
            (kept,),
            floats=floats,
            real=real,
        )
    )

    @registered(name, summary, OPERAND.format(result="the shape of x"), source)
    def apply(x: Any, /) -> Tensor:
        # Not one call more than needed: of these operations programs make the most.
        given = x if isinstance(x, Tensor) else as_tensor(name, x, passing=True)
        return record_unary(primitive, given)

    return apply


def apply_binary(primitive: Primitive, x1: Any, x2: Any, config: tuple[Any, ...] = ()) -> Tensor:
    """Apply a primitive to Tensors, raw arrays and at most one number."""
    name = primitive.name
    first, second = x1, x2
    if not isinstance(x1, Tensor) and not isinstance(x2, Tensor):
        first, second = (
            (as_tensor(name, x1, passing=True), x2)
            if is_raw(x1)
            else (x1, as_tensor(name, x2, passing=True))
        )
    result: Tensor = record_binary(primitive, first, second, config)
    check_answered(name, result, x1, x2)
    return result


def binary(
    name: str,
    forward: Callable[..., Any],
    vjp: Callable[..., Grads],
    keep: tuple[tuple[int, ...], tuple[int, ...]],
    summary: str,
    **options: Any,
) -> Callable[..., Tensor]:
    """Make a function of two operands that broadcast; `options` are those of `Primitive`."""
    primitive = rule(Primitive(name, forward, vjp, keep, stretches=True, **options))

    @registered(name, summary, _OPERANDS.format(result="of the common shape and dtype"))
    def apply(x1: Any, x2: Any, /) -> Tensor:
        return apply_binary(primitive, x1, x2)

    return apply


def compare(name: str, ufunc: np.ufunc, summary: str) -> Callable[..., Tensor]:
    """Make a function of two operands that broadcast, to booleans, without history."""

    @registered(name, summary, _OPERANDS.format(result="of bool and the common shape"))
    def apply(x1: Any, x2: Any, /) -> Tensor:
        check_operands(name, x1, x2)
        first, second = x1, x2
        if is_raw(x1) and not isinstance(x2, Tensor):
            first = as_tensor(name, x1, passing=True)
        elif is_raw(x2) and not isinstance(x1, Tensor):
            second = as_tensor(name, x2, passing=True)
        result: Tensor = record_compare(ufunc, first, second)
        check_answered(name, result, x1, x2)
        return result

    return apply


def predicate(
    name: str, ufunc: np.ufunc, summary: str, *, real: bool = False
) -> Callable[..., Tensor]:
    """Make a function of one operand, to booleans, without history."""

    @registered(name, summary, OPERAND.format(result="of bool, the shape of x"))
    def apply(x: Any, /) -> Tensor:
        array = as_tensor(name, x, passing=True)._data
        if real:
            check_real(name, array.dtype)
        return wrap(ufunc(array), None)

    return apply


def reduced_shape(axes: Shape, shape: Shape) -> Shape:
    """Return a shape with the axes of a reduction kept, at length 1."""
    return tuple([1 if k in axes else n for k, n in enumerate(shape)])


def reduce(
    name: str,
    forward: Callable[..., Any],
    vjp: Callable[..., Grads],
    keep: tuple[int, ...],
    summary: str,
    *,
    whole: Callable[..., Any] | None = None,
    **options: Any,
) -> Callable[..., Tensor]:
    """Make a function over one axis, several, or all; `options` are those of `Primitive`.

    The configuration of its primitive is (axes, keepdims, the shape with the axes kept, the shape
    of x). With `whole`, the forward of integers in their own dtype, the function takes `dtype=`,
    and integers become int64 or uint64 without it (ops-15).
    """
    primitive = rule(Primitive(name, forward, vjp, (keep,), **options))
    of_integers = primitive if whole is None else Primitive(name, whole, vjp, (keep,))
    cast = "" if whole is None else "\ndtype : dtype, optional\n    Cast to it first."
    register = registered(name, summary, _AXES.format(dtype=cast))

    def run(of: Primitive, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
        shape = x._data.shape
        if axis is None:
            axes: Shape = tuple(range(len(shape)))
            kept: Shape = (1,) * len(shape)
        else:
            axes = normalize_axes(name, axis, shape)
            kept = reduced_shape(axes, shape)
        if type(keepdims) is not bool:
            keepdims = check_flag(name, "keepdims", keepdims)
        result: Tensor = record_unary(of, x, (axes, keepdims, kept, shape))
        return result

    if whole is not None:

        @register
        def apply_to(
            x: Any, /, *, axis: Axis = None, dtype: DTypeLike | None = None, keepdims: bool = False
        ) -> Tensor:
            if not isinstance(x, Tensor):
                x = as_tensor(name, x, passing=True)
            if dtype is not None or x._data.dtype.kind != "f":
                x = cast_first(name, x, dtype)
                if x._data.dtype.kind in "iub":
                    return run(of_integers, x, axis, keepdims)
            return run(primitive, x, axis, keepdims)

        return apply_to

    @register
    def apply(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        return run(primitive, as_tensor(name, x, passing=True), axis, keepdims)

    return apply


def spread_to(x: Tensor, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
    """Broadcast to a shape and cast to a dtype; to integers there is no gradient (ops-11)."""
    result: Tensor = record_unary(spread, x, (shape, dtype, x.shape, x.dtype))
    return result


def reshaped(x: Tensor, to: Shape) -> Tensor:
    """Return the elements in another shape, which is known to fit."""
    result: Tensor = record_unary(RULES["reshape"], x, (to, x._data.shape))
    return result


def meet(x: Tensor, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
    """Return a Tensor of this shape and dtype as it is, and another one brought to them."""
    return x if (x.shape, x.dtype) == (shape, dtype) else spread_to(x, shape, dtype)


def meet_into(operation: str, name: str, x: Tensor, shape: Shape, dtype: np.dtype[Any]) -> Tensor:
    """Bring an argument to a shape and dtype; raise ValueError where it does not broadcast."""
    try:
        fits = np.broadcast_shapes(x.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        msg = f"{operation}: {name} must have a shape that broadcasts to {shape}, got {x.shape}"
        raise ValueError(msg)
    return meet(x, shape, dtype)


def cast_first(name: str, x: Tensor, dtype: DTypeLike | None) -> Tensor:
    """Cast what a sum or product is made of: to a dtype, or integers to the widest."""
    if dtype is None and x.dtype.kind in "fc":
        return x
    widest = uint64 if x.dtype.kind == "u" else int64
    wanted = widest if dtype is None else check_dtype(dtype, name)
    check_keeps(name, x.dtype, wanted)
    return x if x.dtype == wanted else spread_to(x, x.shape, wanted)


def scanned(name: str, axis: int | None, shape: Shape) -> int:
    """Return the axis of a scan, which may be left out for one axis alone (ops-22)."""
    if not shape or (axis is None and len(shape) > 1):
        msg = f"{name}: wants an axis, and axis= where there are several, got shape {shape}"
        raise ValueError(msg)
    return normalize_axis(name, 0 if axis is None else axis, shape)


def scan(
    name: str,
    forward: Callable[[Array, int], Array],
    vjp: Callable[..., Grads],
    keep: tuple[int, ...],
    initial: float,
    summary: str,
) -> Callable[..., Tensor]:
    """Make a function that accumulates along one axis; `initial` is the value of no elements."""
    primitive = rule(Primitive(name, forward, vjp, (keep,)))
    more = """ May be left out where there is no other.
dtype : dtype, optional
    Cast to it first; without it integers become int64 or uint64.
include_initial : bool
    Put the value of no elements before the others."""

    @registered(name, summary, _AXIS.format(more=more, result="the shape of x, or one longer"))
    def apply(
        x: Any,
        /,
        *,
        axis: int | None = None,
        dtype: DTypeLike | None = None,
        include_initial: bool = False,
    ) -> Tensor:
        x = cast_first(name, as_tensor(name, x, passing=True), dtype)
        place = scanned(name, axis, x.shape)
        result: Tensor = record_unary(primitive, x, (place,))
        if check_flag(name, "include_initial", include_initial):
            start = (*x.shape[:place], 1, *x.shape[place + 1 :])
            result = REGISTRY["concat"]([np.full(start, initial, x.dtype), result], axis=place)
        return result

    return apply


def along(
    name: str,
    forward: Callable[[Array, int], Array],
    vjp: Callable[..., Grads],
    summary: str,
    source: str,
) -> Callable[..., Tensor]:
    """Make a function along one axis that keeps its length, and whose derivative needs the result.

    Integers become float32 (ops-14).
    """
    primitive = rule(Primitive(name, forward, vjp, ((OUT,),), floats=True, real=True))

    @registered(name, summary, _AXIS.format(more="", result="the shape of x"), source)
    def apply(x: Any, /, axis: int = -1) -> Tensor:
        x = as_tensor(name, x, passing=True)
        result: Tensor = record_unary(primitive, x, (normalize_axis(name, axis, x.shape),))
        return result

    return apply


def shape(
    name: str, place: Callable[[Shape, Any], Shape], summary: str, argument: str
) -> Callable[..., Tensor]:
    """Make a function that reshapes; `place(shape, axis)` is the new shape.

    `argument` says in the docstring what `axis` is.
    """
    frame = _AXIS.format(more=f" {argument}", result="of the new shape")

    @registered(name, summary, frame)
    def apply(x: Any, /, axis: int | tuple[int, ...]) -> Tensor:
        x = as_tensor(name, x)
        return reshaped(x, place(x.shape, axis))

    return apply


def as_tensors(name: str, arrays: Any) -> list[Tensor]:
    """Return one or more Tensors or raw arrays as Tensors.

    Raises
    ------
    TypeError
        If it is no sequence, or something in it is neither.
    ValueError
        If there is none.
    """
    if not isinstance(arrays, Sequence):
        msg = f"{name}: arrays must be a sequence of arrays, got {type(arrays).__name__}"
        raise TypeError(msg)
    tensors = [as_tensor(name, x) for x in arrays]
    if not tensors:
        msg = f"{name}: wants at least one array, got none"
        raise ValueError(msg)
    return tensors


def create(
    name: str, constructor: Callable[..., Tensor], signature: str, summary: str
) -> Callable[..., Tensor]:
    """Make a function that takes a constructor's arguments but `requires_grad`.

    `signature` is that of the standard, as in ``"(shape, *, dtype=None)"``.
    """
    names: dict[str, Any] = {}
    exec(f"def described{signature}: ...", names)
    described = inspect.signature(names["described"])
    frame = """Parameters
    ----------
    {parameters}
        As the standard says, and the constructor at the top of the package of the same name.
    dtype : dtype, optional
        float32 unless the values say otherwise.
    device : 'cpu', optional

    Returns
    -------
    Tensor that does not require grad

    Raises
    ------
    ValueError, TypeError
        If a size is negative or no int, or the dtype is none that Tensors have."""

    own = [key for key in described.parameters if key not in ("dtype", "device")]

    @registered(name, summary, frame.format(parameters=", ".join(own)))
    def apply(*args: Any, **options: Any) -> Tensor:
        try:
            bound = described.bind(*args, **options)
        except TypeError as error:
            msg = f"{name}: {error}"
            raise TypeError(msg) from None
        check_device(name, bound.arguments.pop("device", None))
        return constructor(*bound.args, **bound.kwargs)

    apply.__signature__ = described  # type: ignore[attr-defined]
    return apply
