"""The families of `ops`: a function is one row that calls its family.

A family fixes the signature, checks the arguments, brings the operands to a dtype, names the
function in errors and writes the docstring around the row's own line. A row gives the name, the
function on raw arrays, the derivative and what that uses. A derivative is a function of the node
(``node.x`` and ``node.other`` are the operands, ``node.output`` is the result) and of the result's
gradient; it is written with array operators and ``node.xp``, so that it runs on raw arrays and on
Tensors. `rows` holds every function under its name.

What the families take alike:

name, summary, source
    The function's name, the first line of its docstring, and the page that defines it.
function, slope, slopes
    From raw arrays to the raw result; the derivative for each operand.
uses
    What a slope finds at the node, some of "x", "other" and "output"; nothing else is kept.
real
    Whether integers become float32 first (ops-14).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from impl_cupy import checks
from impl_cupy.dtypes import DTypeLike
from impl_cupy.memory import lent
from impl_cupy.recording import (
    OpNode,
    as_operand,
    as_operands,
    as_tensor,
    as_tensors,
    cast,
    compute,
    floating,
    is_wanted,
    record,
    sum_to,
    summable,
)
from impl_cupy.slices import deepest, mapped_call
from impl_cupy.sums import kept_shape
from impl_cupy.tape import Recorded, at_edge, edge_of, handles, keep, vmapped, wrap
from impl_cupy.tensor import Axis, Tensor

Operation: TypeAlias = "Callable[..., Tensor]"
Made = TypeVar("Made", bound="Callable[..., Any]")
"""A function whose result is a Tensor, several or something else."""
Raw: TypeAlias = "Callable[..., Any]"
Slope: TypeAlias = "Callable[[Any, Any], Any]"

_NOTHING: frozenset[str] = frozenset()
_REAL = "; integers become float32"
STANDARD = "the page of the same name in the Python array API standard 2025.12"

rows: dict[str, Callable[..., Any]] = {}


class Conjugated:
    """A node with its operands and result conjugated, as slopes of complex functions see it.

    Of what has real Taylor coefficients it makes ``g * f'(x)`` into ``g * conj(f'(x))``, which goes
    back through a holomorphic function (autograd-47).
    """

    __slots__ = ("_node", "config", "edges", "xp")

    def __init__(self, node: Any) -> None:
        self._node = node
        self.config, self.edges, self.xp = node.config, node.edges, node.xp

    @property
    def x(self) -> Any:
        """The operand, or the first of two, conjugated."""
        return self._conjugate(self._node.x)

    @property
    def other(self) -> Any:
        """The second operand, conjugated."""
        return self._conjugate(self._node.other)

    @property
    def output(self) -> Any:
        """The result, conjugated."""
        return self._conjugate(self._node.output)

    def _conjugate(self, value: Any) -> Any:
        if isinstance(value, (int, float)):
            return value
        return value.conjugate() if isinstance(value, complex) else self.xp.conj(value)


def seen_by(grad: Any, node: Any) -> Any:
    """Return what a slope sees of a node when this gradient arrives."""
    return Conjugated(node) if grad.dtype.kind == "c" else node


_ONE = """
Parameters
----------
x : Tensor or raw array, any shape{integers}

Returns
-------
Tensor, shape of `x`{booleans}

Raises
------
TypeError
    If `x` is no array.
"""

_TWO = """
Parameters
----------
x1, x2 : Tensor, raw array or number
    Arrays, or an array and a number, whose shapes broadcast{integers}.

Returns
-------
Tensor, the shape that `x1` and `x2` broadcast to{booleans}

Raises
------
TypeError
    If neither is an array, or one is neither an array nor a number.
ValueError
    If the shapes do not broadcast.
"""

_OVER = """
Parameters
----------
x : Tensor or raw array, any shape{integers}
axis : int, tuple of int or None
    The axes to go over; None means all.
keepdims : bool
    Whether those axes stay, with length 1.{dtype}

Returns
-------
Tensor, shape of `x` without the axes

Raises
------
TypeError
    If `x` is no array, or `axis` no int.
ValueError
    If an axis is out of range{empty}.
"""

_ALONG = """
Parameters
----------
x : Tensor or raw array, any shape; integers become float32
axis : int or tuple of int
    Where the numbers lie that belong together.

Returns
-------
Tensor, shape of `x`

Raises
------
TypeError
    If `x` is no array, or `axis` no int.
ValueError
    If an axis is out of range.
"""


# What asks by itself for what depends on a slice: a call more would be felt.
_ASK = frozenset("add subtract multiply divide matmul".split())


def mappable(name: str, operation: Made) -> Made:
    """Let a function take Tensors that depend on a slice (autograd-52)."""

    @functools.wraps(operation)
    def called(*args: Any, **kwargs: Any) -> Any:
        if vmapped:
            result = mapped_call(name, called, args, kwargs)
            if result is not NotImplemented:
                return result
        return operation(*args, **kwargs)

    return called  # type: ignore[return-value]


def row(operation: Made, name: str, summary: str, frame: str, source: str) -> Made:
    """Name and document a function, and enter it among the rows and the Tensor's handles."""
    if name not in _ASK:
        operation = mappable(name, operation)
    operation.__name__ = operation.__qualname__ = name
    operation.__module__ = "impl_cupy.ops"
    operation.__doc__ = f"{summary}\n{frame}\nSource: {source}.\n"
    rows[name] = operation
    setattr(handles, name, operation)
    return operation


def written(source: str = STANDARD) -> Callable[[Made], Made]:
    """Enter a function that no family fits, written in full with its docstring."""

    def enter(operation: Made) -> Made:
        summary, _, frame = (operation.__doc__ or "").partition("\n")
        lines = [line.removeprefix("    ") for line in frame.rstrip().split("\n")]
        return row(operation, operation.__name__, summary, "\n".join(lines) + "\n", source)

    return enter


extensions: dict[str, dict[str, Callable[..., Any]]] = {"linalg": {}, "fft": {}}
"""The functions of the namespaces inside `ops`, each under its name."""


def written_in(extension: str) -> Callable[[Made], Made]:
    """Enter a function of one of the `extensions`, written in full with its docstring."""

    def enter(operation: Made) -> Made:
        name = operation.__name__
        operation = mappable(f"{extension}.{name}", operation)
        operation.__qualname__ = name
        operation.__module__ = f"impl_cupy.ops.{extension}"
        documented = (operation.__doc__ or "").rstrip()
        page = f"the page {extension}.{name} of the Python array API standard 2025.12"
        operation.__doc__ = f"{documented}\n\n    Source: {page}.\n    "
        extensions[extension][name] = operation
        return operation

    return enter


def unary(
    name: str,
    function: Raw,
    slope: Slope,
    summary: str,
    *,
    uses: str = "",
    real: bool = False,
    source: str = STANDARD,
) -> Operation:
    """Make a function of one operand, element by element; ``node.config`` is its dtype."""
    keep_inputs, keep_output = "x" in uses.split(), "output" in uses.split()

    def rule(node: Any, grad: Any) -> tuple[Any]:
        return (slope(seen_by(grad, node), grad),)

    def operation(x: Any, /) -> Tensor:
        value = as_tensor(name, x)
        if real:
            value = floating(value)
        return record(
            name,
            function,
            rule,
            (value,),
            keep_inputs=keep_inputs,
            keep_output=keep_output,
            config=value._data.dtype,
        )

    return row(operation, name, summary, _ONE.format(integers=_REAL * real, booleans=""), source)


def binary(
    name: str,
    function: Raw,
    slopes: tuple[Slope, Slope],
    summary: str,
    *,
    uses: tuple[str, str] = ("", ""),
    real: bool = False,
    check: Callable[[Any, Any], None] | None = None,
) -> Operation:
    """Make a function of two operands that broadcast.

    Gradients are summed to the operands' shapes. ``check(a, b)`` raises where two do not fit.
    """
    needs, asks = [frozenset(words.split()) for words in uses], name in _ASK

    def rule(node: Any, grad: Any) -> tuple[Any, Any]:
        to_first, to_second = node.edges
        first, second = node.config
        node = seen_by(grad, node)
        return (
            sum_to(node.xp, slopes[0](node, grad), first) if to_first else None,
            sum_to(node.xp, slopes[1](node, grad), second) if to_second else None,
        )

    def operation(x1: Any, x2: Any, /) -> Tensor:
        if vmapped and asks and deepest(x1, x2):
            return mapped_call(name, operation, (x1, x2), {})
        a, b = as_operands(name, x1, x2)
        a, b = (floating(a), floating(b)) if real else (a, b)
        if check is not None:
            check(a, b)
        raws = tuple(value._data if isinstance(value, Recorded) else value for value in (a, b))
        out = compute(name, function, raws)
        if not is_wanted((a, b)):
            return wrap(out)
        edges = edge_of(a), edge_of(b)
        used = (needs[0] if edges[0] else _NOTHING) | (needs[1] if edges[1] else _NOTHING)
        one, two = (a, b) if lent else raws
        kept = keep(one, 1) if "x" in used else None, keep(two, 1) if "other" in used else None
        shapes = getattr(raws[0], "shape", ()), getattr(raws[1], "shape", ())
        node = OpNode(name, edges, rule, kept, out if "output" in used else None, shapes)
        return at_edge(out, (node, 0))

    frame = _TWO.format(integers=_REAL * real, booleans="")
    return row(operation, name, summary, frame, STANDARD)


def compare(name: str, function: Raw, summary: str) -> Operation:
    """Make a function of two operands that broadcast, with a boolean result and no gradient."""

    def operation(x1: Any, x2: Any, /) -> Tensor:
        return record(name, function, None, as_operands(name, x1, x2, exact=True))

    frame = _TWO.format(integers="", booleans=", dtype bool")
    return row(operation, name, summary, frame, STANDARD)


def bits(name: str, function: Raw, summary: str, *, booleans: bool = True) -> Operation:
    """Make a function of two operands of integers, or `booleans`, that broadcast (ops-35)."""
    kinds = "biu" if booleans else "iu"

    def operation(x1: Any, x2: Any, /) -> Tensor:
        for value in [as_operand(name, value) for value in (x1, x2)]:
            checks.check_kinds(name, value, kinds)
        return record(name, function, None, as_operands(name, x1, x2))

    frame = _TWO.format(integers=" of integers" + " or bool" * booleans, booleans="")
    return row(operation, name, summary, frame, STANDARD)


def predicate(name: str, function: Raw, summary: str) -> Operation:
    """Make a function of one operand, with a boolean result and no gradient."""

    def operation(x: Any, /) -> Tensor:
        return record(name, function, None, (as_tensor(name, x),))

    frame = _ONE.format(integers="", booleans=", dtype bool")
    return row(operation, name, summary, frame, STANDARD)


def reduce(
    name: str,
    function: Raw,
    slope: Slope | None,
    summary: str,
    *,
    uses: str = "",
    real: bool = False,
    adds: bool = False,
    chooses: bool = False,
) -> Operation:
    """Make a reduction over one axis, several, or all.

    ``function(raw, axis=, keepdims=)`` reduces. The slope gets the gradient with the axes kept, and
    its result is broadcast; ``node.config`` is (shape, kept shape, axes). A row that `adds` has the
    keyword ``dtype`` (ops-15); one that `chooses` must find an element (ops-24). Without a slope
    the result has another dtype and no gradient.
    """
    keep_inputs, keep_output = "x" in uses.split(), "output" in uses.split()

    def rule(node: Any, grad: Any) -> tuple[Any]:
        shape, kept, _ = node.config
        assert slope is not None
        result = slope(seen_by(grad, node), node.xp.reshape(grad, kept))
        return (result if result.shape == shape else node.xp.broadcast_to(result, shape),)

    def reduced(value: Any, axis: Axis, keepdims: bool) -> Tensor:
        keepdims = keepdims if keepdims is False else checks.check_flag(name, "keepdims", keepdims)
        shape = value._data.shape
        axes = checks.normalize_axes(name, axis, shape)
        if chooses:
            checks.check_not_empty(name, axis, axes, shape)
        whole = functools.partial(function, axis=axes, keepdims=keepdims)
        return record(
            name,
            whole if axes or slope is None else lambda raw: raw.copy(),
            rule if slope is not None else None,
            (value,),
            keep_inputs=keep_inputs,
            keep_output=keep_output,
            config=(shape, kept_shape(shape, axes), axes),
        )

    def plain(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        value = as_tensor(name, x)
        return reduced(floating(value) if real else value, axis, keepdims)

    def adding(
        x: Any, /, *, axis: Axis = None, dtype: DTypeLike = None, keepdims: bool = False
    ) -> Tensor:
        value = summable(name, as_tensor(name, x), dtype)
        result = reduced(value, axis, keepdims)
        # Sums of narrow integers have 64 bits in CuPy.
        return result if dtype is None else cast(result, value.dtype)  # ops-15

    frame = _over(real, adds, chooses)
    return row(adding if adds else plain, name, summary, frame, STANDARD)


def _over(real: bool, adds: bool, chooses: bool) -> str:
    return _OVER.format(
        integers=_REAL * real,
        dtype="\ndtype : dtype, optional\n    To cast to first." if adds else "",
        empty=", or there is no element to choose" if chooses else "",
    )


def along(name: str, function: Raw, slope: Slope, summary: str, *, source: str) -> Operation:
    """Make a function along axes whose result has the operand's shape.

    ``function(raw, axes)`` computes it; the slope finds the result, and axes as ``node.config``.
    """

    def rule(node: Any, grad: Any) -> tuple[Any]:
        return (slope(node, grad),)

    def operation(x: Any, /, axis: int | tuple[int, ...] = -1) -> Tensor:
        value = floating(as_tensor(name, x))
        places = checks.as_ints(name, "axis", axis)
        axes = checks.normalize_axes(name, places, value._data.shape)
        return record(
            name, lambda raw: function(raw, axes), rule, (value,), keep_output=True, config=axes
        )

    return row(operation, name, summary, _ALONG, source)


def shape(back: Slope) -> Callable[[Callable[..., Any]], Operation]:
    """Make a function that moves elements: decorate what checks the arguments.

    The decorated ``f(x, /, ...)`` gets the Tensor and returns the function on its raw array, or
    None if the Tensor is the result as it is; its docstring becomes the function's.
    ``back(node, grad)`` is the derivative; ``node.config`` is what comes beside the function in a
    pair, else the operand's shape.
    """

    def rule(node: Any, grad: Any) -> tuple[Any]:
        return (back(node, grad),)

    def decorate(planned: Callable[..., Any]) -> Operation:
        name = planned.__name__
        planned.__annotations__["return"] = "Tensor"

        @functools.wraps(planned)
        def operation(x: Any, /, *args: Any, **kwargs: Any) -> Tensor:
            value = as_tensor(name, x)
            move = planned(value, *args, **kwargs)
            if move is None:
                return value
            move, config = move if isinstance(move, tuple) else (move, value._data.shape)
            return record(name, move, rule, (value,), config=config)

        return written()(operation)

    return decorate


def join(
    back: Callable[[Any, int, Any], Sequence[Any]],
) -> Callable[[Callable[..., Any]], Operation]:
    """Make a function of several arrays: decorate what checks the arguments.

    The decorated ``f(arrays, /, *, axis)`` gets Tensors of one dtype and returns what to join, the
    axis, and the function on raw arrays. ``back`` gets the gradient, the axis and the lengths along
    it and returns one gradient per array.
    """

    def rule(node: Any, grad: Any) -> Sequence[Any]:
        axis, lengths = node.config
        pieces = back(grad, axis, lengths)
        return [piece if edge else None for piece, edge in zip(pieces, node.edges, strict=True)]

    def decorate(planned: Callable[..., Any]) -> Operation:
        name = planned.__name__
        planned.__annotations__["return"] = "Tensor"

        @functools.wraps(planned)
        def operation(arrays: Sequence[Any], /, **kwargs: Any) -> Tensor:
            tensors, axis, function = planned(as_tensors(name, arrays), **kwargs)
            lengths = [value.shape[axis] if axis < value.ndim else 1 for value in tensors]
            return record(
                name, lambda *raws: function(raws, axis), rule, tensors, config=(axis, lengths)
            )

        return written()(operation)

    return decorate
