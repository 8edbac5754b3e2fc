"""The families of `ops`: what the functions of one form share.

A family fixes the signature, converts and checks the arguments, names the function in errors, and
makes the docstring from a frame. A function is then one row: its name, its formula (a function of
arrays, of which JAX derives the gradient), what backward keeps of the inputs (`formulas`), and a
line that says what it does. `plans` has the families whose rows are functions; `listed` registers
whole functions.
"""

import inspect
from collections.abc import Callable
from typing import Any

from ..checks import (
    Axis,
    Shape,
    as_dtype,
    as_number,
    as_scalar,
    check_cast,
    check_flag,
    check_nonempty,
    check_real,
    normalize_axes,
    normalize_axis,
    refuse,
    shown,
    within,
)
from ..dtypes import DType, accumulated, bool_, float64, floating, int64
from ..protocols import OPS
from ..recording import Keeps, Primitive, as_operand, as_pair, dtype_of, is_array, shape_of
from . import formulas as F

Function = Callable[..., Any]
Formula = Callable[..., Any]

FUNCTIONS: dict[str, Function] = {}
# The functions of the extensions alone, by the name of the namespace.
SPACES: dict[str, dict[str, Function]] = {"fft": {}, "linalg": {}}

STANDARD = "array API standard 2025.12"

_ONE = """x : Tensor or raw array, any shape{real}"""
_REAL = "\n    Integers and booleans are computed in float32."
_TWO = """x1, x2 : Tensor, raw array or number
    At least one is an array; the shapes broadcast.{real}"""
_AXES = """x : Tensor or raw array, any shape{real}
axis : int, sequence of int or None
    What is reduced; None for all axes.{dtype}
keepdims : bool
    Whether what is reduced keeps size 1; otherwise it is dropped from the shape."""
_DTYPE = """
dtype : dtype, optional
    The elements are cast to it first."""
AXES_REAL = _AXES.format(real=_REAL, dtype="")
NO_ARRAY = """TypeError
    If an operand is no array, or neither array nor number where numbers are taken."""
_NO_BROADCAST = """ValueError
    If the shapes do not broadcast.
"""
NO_BROADCAST = _NO_BROADCAST + NO_ARRAY
TWO_REAL, REAL_ONE = _TWO.format(real=_REAL), _ONE.format(real=_REAL)
_NO_AXIS = """ValueError
    If an axis is out of range{or_}.
"""


def document(
    doc: str, parameters: str, returns: str, raises: str, source: str, kind: str = "Tensor, "
) -> str:
    """Return a docstring of its parts."""
    return (
        f"{doc}\n\nParameters\n----------\n{parameters}\n\nReturns\n-------\n{kind}{returns}\n\n"
        f"Raises\n------\n{raises}\n\nNotes\n-----\nDefined by the {source}.\n"
    )


def register(function: Function, name: str, doc: str, space: str = "") -> Function:
    """Enter a function in the list under its name, or in that of a space, with its docstring."""
    function.__name__ = function.__qualname__ = name
    # Where it is found: help() and pickle look there.
    home = __name__.rpartition(".")[0]
    function.__module__ = f"{home}.{space}" if space else home
    function.__doc__ = doc
    if space:
        SPACES[space][name] = function
        return function
    FUNCTIONS[name] = function
    setattr(OPS, name, function)
    return function


def _cast(formula: Formula) -> Formula:
    """Return a formula of arrays in a dtype and one shape, in the order that Primitive wants."""
    return lambda dtype, *arrays: formula(*[F.cast(a, dtype) for a in F.stretched(*arrays)])


def listed(
    parameters: str,
    returns: str,
    raises: str = NO_ARRAY,
    source: str = STANDARD,
    kind: str = "Tensor, ",
    space: str = "",
) -> Callable[[Function], Function]:
    """Register a whole function; its docstring is the first line of what a family makes."""

    def enter(function: Function) -> Function:
        doc = document(inspect.getdoc(function) or "", parameters, returns, raises, source, kind)
        return register(function, function.__name__, doc, space)

    return enter


def _arithmetic(name: str, dtype: DType, booleans: str) -> DType:
    """Return the dtype that arithmetic has where the operands' is `dtype`."""
    if dtype != bool_ or booleans == "kept":
        return dtype
    if booleans == "refused":  # tensor-40
        msg = f"{name}: booleans must be converted to numbers first, got dtype bool"
        raise TypeError(msg)
    return int64


def _as_float(name: str, value: Any) -> Any:
    value = as_number(value)
    return as_scalar(name, value, float64).item() if isinstance(value, int | float) else value


def unary(
    name: str,
    formula: Formula,
    doc: str,
    *,
    real: bool = False,
    keeps: Keeps | None = None,
    source: str = STANDARD,
    booleans: str = "kept",
    complexes: bool = False,
) -> Function:
    """Make a function of one operand, element by element; a `real` one computes ints as float32.

    Booleans are "kept", taken as "int64", or "refused"; and so is what is complex, unless
    `complexes`.
    """
    primitive = Primitive(_cast(formula), name, keeps)

    def function(x: Any, /) -> Any:
        x = as_operand(name, x)
        dtype = dtype_of(x)
        if not complexes and dtype.kind == "c":
            check_real(name, dtype)
        if booleans != "kept":
            dtype = _arithmetic(name, dtype, booleans)
        return primitive((x,), floating(dtype) if real else dtype)

    parameters = _ONE.format(real=_REAL if real else "")
    full = document(doc, parameters, "the shape of x", NO_ARRAY, source)
    return register(function, name, full)


def binary(
    name: str,
    formula: Formula,
    doc: str,
    *,
    real: bool = False,
    keeps: Keeps | None = None,
    shortcut: Callable[[Any, Any], Any] | None = None,
    check: Callable[[Any, DType], None] | None = None,
    booleans: str = "kept",
    complexes: bool = False,
) -> Function:
    """Make a function of two operands that broadcast; complex ones as for `unary`.

    Parameters
    ----------
    shortcut : callable, optional
        Returns the result for arguments that it knows a faster way for, else None.
    check : callable, optional
        Raises for a second operand that does not go with the result's dtype.
    booleans : {"kept", "int64", "refused"}
        What becomes of booleans where both operands are.
    """
    primitive = Primitive(_cast(formula), name, keeps)

    def plain(x1: Any, x2: Any, /) -> Any:
        x1, x2, dtype = as_pair(name, x1, x2)
        if not complexes and dtype.kind == "c":
            check_real(name, dtype)
        if booleans != "kept":
            dtype = _arithmetic(name, dtype, booleans)
        return primitive((x1, x2), dtype)

    def careful(x1: Any, x2: Any, /) -> Any:
        if shortcut is not None and (result := shortcut(x1, x2)) is not None:
            return result
        if real:
            # An int beside integers must not be rounded to their width first.
            x1, x2 = _as_float(name, x1), _as_float(name, x2)
        x1, x2, dtype = as_pair(name, x1, x2)
        if not complexes:
            check_real(name, dtype)
        dtype = _arithmetic(name, dtype, booleans)
        if check is not None:
            check(x2, dtype)
        return primitive((x1, x2), floating(dtype) if real else dtype)

    function = careful if real or shortcut or check else plain
    parameters = _TWO.format(real=_REAL if real else "")
    full = document(doc, parameters, "the common shape", _NO_BROADCAST + NO_ARRAY, STANDARD)
    return register(function, name, full)


def bits(name: str, formula: Formula, doc: str, *, booleans: bool = True) -> Function:
    """Make a function of the bits of two operands that broadcast, of `booleans` too."""
    primitive = Primitive(_cast(formula), name, F.nothing)
    kinds, wanted = ("biu", "integers or booleans") if booleans else ("iu", "integers")

    def function(x1: Any, x2: Any, /) -> Any:
        flag = not booleans and (isinstance(x1, bool) or isinstance(x2, bool))
        x1, x2, dtype = as_pair(name, x1, x2)
        for part in (bool_ if flag else dtype, dtype_of(x1), dtype_of(x2)):
            if part.kind not in kinds:  # ops-35
                msg = f"{name}: operands must be {wanted}, got dtype {part}"
                raise TypeError(msg)
        return primitive((x1, x2), dtype)

    full = document(doc, _TWO.format(real=""), "the common shape", NO_BROADCAST, STANDARD)
    return register(function, name, full)


def compare(
    name: str,
    formula: Formula,
    doc: str,
    *,
    cast_to: DType | None = None,
    complexes: bool = False,
) -> Function:
    """Make a function of two operands that broadcast, to booleans, cast to a dtype first if any."""
    primitive = Primitive(_cast(formula), name)

    def function(x1: Any, x2: Any, /) -> Any:
        if not is_array(x2) and is_array(x1):
            x2 = within(x2, dtype_of(x1))
        elif not is_array(x1) and is_array(x2):
            x1 = within(x1, dtype_of(x2))
        x1, x2, dtype = as_pair(name, x1, x2)
        if not complexes:
            check_real(name, dtype)  # tensor-20
        return primitive((x1, x2), dtype if cast_to is None else cast_to)

    full = document(
        doc, _TWO.format(real=""), "bool, the common shape", _NO_BROADCAST + NO_ARRAY, STANDARD
    )
    return register(function, name, full)


def predicate(
    name: str,
    formula: Formula,
    doc: str,
    *,
    cast_to: DType | None = None,
    complexes: bool = True,
) -> Function:
    """Make a function of one operand, to booleans, cast to a dtype first if there is one."""
    primitive = Primitive(_cast(formula), name)

    def function(x: Any, /) -> Any:
        x = as_operand(name, x)
        if not complexes:
            check_real(name, dtype_of(x))
        return primitive((x,), floating(dtype_of(x)) if cast_to is None else cast_to)

    full = document(doc, _ONE.format(real=""), "bool, the shape of x", NO_ARRAY, STANDARD)
    return register(function, name, full)


def reduce(
    name: str,
    formula: Formula,
    doc: str,
    *,
    dtype: Callable[[DType], DType] | None = None,
    chooses: bool = False,
    keeps: Keeps | None = None,
) -> Function:
    """Make a reduction over one axis, several, or all; `dtype` says in which it is computed.

    One that `chooses` refuses to look among no elements, and complex ones, which have no order.
    """

    def reduced(axes: Any, keepdims: bool, wanted: DType, x: Any) -> Any:
        return formula(F.cast(x, wanted), axis=axes, keepdims=keepdims)

    primitive = Primitive(reduced, name, keeps)

    def function(x: Any, /, *, axis: Axis = None, keepdims: bool = False) -> Any:
        x = as_operand(name, x)
        shape = shape_of(x)
        axes = normalize_axes(name, axis, shape)
        if chooses:
            check_real(name, dtype_of(x))
            check_nonempty(name, axis, axes, shape)
        wanted = dtype_of(x) if dtype is None else dtype(dtype_of(x))
        return primitive((x,), axes, check_flag(name, "keepdims", keepdims), wanted)

    parameters = _AXES.format(real=_REAL if dtype is floating else "", dtype="")
    raises = _NO_AXIS.format(or_=" or has no elements" if chooses else "") + NO_ARRAY
    full = document(doc, parameters, "the axes gone, or of size 1", raises, STANDARD)
    return register(function, name, full)


def summed_in(name: str, dtype: DType, told: Any) -> DType:
    """Return the dtype in which elements are added or multiplied up, where one may be told."""
    if told is None:
        return accumulated(dtype)  # ops-15
    wanted = as_dtype(name, told)
    check_cast(name, dtype, wanted)
    return wanted


def total(name: str, formula: Formula, doc: str, *, keeps: Keeps | None = None) -> Function:
    """Make a reduction that adds up, in a dtype that may be chosen."""

    def reduced(axes: Any, keepdims: bool, wanted: DType, x: Any) -> Any:
        return formula(F.cast(x, wanted), axis=axes, keepdims=keepdims)

    primitive = Primitive(reduced, name, keeps)

    def function(x: Any, /, *, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Any:
        x = as_operand(name, x)
        wanted = summed_in(name, dtype_of(x), dtype)
        return primitive(
            (x,),
            normalize_axes(name, axis, shape_of(x)),
            check_flag(name, "keepdims", keepdims),
            wanted,
        )

    raises = _NO_AXIS.format(or_="") + NO_ARRAY
    full = document(
        doc, _AXES.format(real="", dtype=_DTYPE), "the axes gone, or of size 1", raises, STANDARD
    )
    return register(function, name, full)


def search(name: str, formula: Formula, doc: str) -> Function:
    """Make a function that finds the place of an element along one axis, or in C order."""
    primitive = Primitive(formula, name)

    def function(x: Any, /, *, axis: int | None = None, keepdims: bool = False) -> Any:
        x = as_operand(name, x)
        shape = shape_of(x)
        check_real(name, dtype_of(x))
        place = None if axis is None else normalize_axis(name, axis, shape)
        check_nonempty(name, axis, None if place is None else (place,), shape)
        return primitive((x,), place, check_flag(name, "keepdims", keepdims))

    raises = _NO_AXIS.format(or_=" or has no elements") + NO_ARRAY
    parameters = _AXES.format(real="", dtype="").replace(
        "int, sequence of int or None", "int or None"
    )
    full = document(doc, parameters, "int64, the axis gone, or of size 1", raises, STANDARD)
    return register(function, name, full)


def scanned_axis(name: str, axis: int | None, shape: Shape) -> int:
    """Return the axis that a scan runs along; raise `ValueError` if it is left out and needed."""
    if not shape or (axis is None and len(shape) != 1):  # ops-22
        refuse(name, "axis", "given where x has not one axis", f"{shown(axis)} for {shape}")
    return normalize_axis(name, 0 if axis is None else axis, shape)


def scan(name: str, formula: Formula, doc: str, *, keeps: Keeps | None = None) -> Function:
    """Make a function that runs along one axis and keeps its length."""

    def scanned(axis: int, initial: bool, wanted: DType, x: Any) -> Any:
        return formula(axis, initial, F.cast(x, wanted))

    primitive = Primitive(scanned, name, keeps)

    def function(
        x: Any, /, *, axis: int | None = None, dtype: Any = None, include_initial: bool = False
    ) -> Any:
        x = as_operand(name, x)
        place = scanned_axis(name, axis, shape_of(x))
        wanted = summed_in(name, dtype_of(x), dtype)
        return primitive((x,), place, check_flag(name, "include_initial", include_initial), wanted)

    parameters = (
        "x : Tensor or raw array, at least one axis\naxis : int, optional\n"
        "    May be left out for one axis alone." + _DTYPE + "\ninclude_initial : bool\n"
        "    Whether the value of no elements comes first, which adds 1 to the length."
    )
    raises = "ValueError\n    If `axis` is out of range, or needed and left out.\n" + NO_ARRAY
    full = document(doc, parameters, "the shape of x", raises, STANDARD)
    return register(function, name, full)


def along(name: str, formula: Formula, doc: str, source: str) -> Function:
    """Make a real function along one axis that keeps the shape."""
    primitive = Primitive(
        lambda axis, dtype, x: formula(axis, x.astype(dtype)),
        name,
    )

    def function(x: Any, /, axis: int = -1) -> Any:
        x = as_operand(name, x)
        check_real(name, dtype_of(x))
        place = normalize_axis(name, axis, shape_of(x))
        return primitive((x,), place, floating(dtype_of(x)))

    parameters = _ONE.format(real=_REAL) + "\naxis : int"
    raises = _NO_AXIS.format(or_="") + NO_ARRAY
    full = document(doc, parameters, "the shape of x", raises, source)
    return register(function, name, full)


def along_reduced(name: str, formula: Formula, doc: str, source: str) -> Function:
    """Make a real function along one axis or several that drops them."""
    primitive = Primitive(
        lambda axes, keepdims, dtype, x: formula(axes, keepdims, x.astype(dtype)),
        name,
    )

    def function(x: Any, /, axis: Axis = -1, *, keepdims: bool = False) -> Any:
        x = as_operand(name, x)
        check_real(name, dtype_of(x))
        axes = normalize_axes(name, axis, shape_of(x))  # ops-19
        return primitive((x,), axes, check_flag(name, "keepdims", keepdims), floating(dtype_of(x)))

    raises = _NO_AXIS.format(or_="") + NO_ARRAY
    full = document(
        doc, _AXES.format(real=_REAL, dtype=""), "the axes gone, or of size 1", raises, source
    )
    return register(function, name, full)


def create(parameters: str, returns: str, raises: str) -> Callable[[Function], Function]:
    """Register a function that makes a Tensor."""
    return listed(parameters, returns, raises)
