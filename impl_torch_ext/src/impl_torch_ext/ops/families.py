"""The families of functions: a function of `ops` is a row, and its family does the rest.

A family fixes the signature, the checks of the arguments, the name in errors and the frame of the
docstring. A row gives the name, torch's function (whose derivatives are the function's) and what is
particular in its documentation. Families whose members differ in their arguments decorate the
function that is the row, whose own docstring is the summary.
"""

from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling as is_compiling

from impl_torch_ext.checks import (
    check_dtype,
    check_flag,
    check_tensor,
    explain,
    functions,
    normalize_axes,
    normalize_axis,
)
from impl_torch_ext.creation import as_dtype
from impl_torch_ext.dtypes import FIVE, float32, float64, int64, is_inexact
from impl_torch_ext.native import calls
from impl_torch_ext.ops.operands import (
    SMALL,
    Operand,
    array_of_reals,
    arrays_of,
    operands,
    with_number,
)

__all__ = [
    "Operand",
    "along",
    "array_of_reals",
    "arrays_of",
    "binary",
    "compare",
    "create",
    "extensions",
    "gather",
    "join",
    "linalg",
    "listed",
    "matrix",
    "operands",
    "predicate",
    "recurrence",
    "reduce",
    "registry",
    "scan",
    "scanned_axis",
    "select",
    "shape",
    "unary",
    "with_number",
]

Axis: TypeAlias = int | tuple[int, ...] | None
Op: TypeAlias = Callable[..., Tensor]
F = TypeVar("F", bound=Callable[..., Any])

_REALS = frozenset({float32, float64})
registry: dict[str, Op] = {}
"""The functions of `ops` by their names."""
extensions: dict[str, dict[str, Callable[..., Any]]] = {"linalg": {}, "fft": {}}
"""Those of `ops.linalg` and `ops.fft` that `ops` has not."""

_NO_TENSOR = "If an operand is no Tensor."
_AXIS = "If an axis is out of range."


def unary(
    name: str,
    fn: Op,
    result: str,
    source: str = "array API",
    real: bool = False,
    returns: str = "Tensor, the shape of `x`",
) -> Op:
    """Add `fn` of one Tensor, element by element; `real` takes integers as float32."""
    quick = getattr(calls, name, _unusual)

    def op(x: Tensor, /) -> Tensor:
        try:
            if not is_compiling() and (result := quick(x)) is not NotImplemented:
                return result
            return fn(check_tensor(name, x))
        except RuntimeError as error:
            explain(name, error, x)

    takes = "any shape; integers are taken as float32" if real else "any shape"  # ops-14
    return _row(
        op,
        name,
        f"Return {result}, element by element.",
        {"x": f"Tensor, {takes}"},
        returns,
        {"TypeError": _NO_TENSOR},
        source,
    )


def predicate(name: str, fn: Op, result: str, source: str = "array API") -> Op:
    """Add `fn` of one Tensor that gives booleans."""
    return unary(name, fn, result, source, returns="Tensor of dtype bool, the shape of `x`")


def binary(
    name: str,
    fn: Op,
    result: str,
    alike: Op | None = None,
    source: str = "array API",
    returns: str = "Tensor, the shape that both broadcast to",
    compares: bool = False,
) -> Op:
    """Add `fn` of two operands that broadcast, element by element.

    `alike` takes its place for two Tensors of one dtype, `fn` itself if left out.
    """
    of_one_dtype, quick = fn if alike is None else alike, getattr(calls, name, _unusual)

    def op(x1: Operand, x2: Operand, /) -> Tensor:
        try:
            if not is_compiling() and (result := quick(x1, x2)) is not NotImplemented:
                return result
        except RuntimeError as error:
            explain(name, error, x1, x2)
        run = fn
        if not isinstance(x1, Tensor) or x1.dtype not in FIVE:
            x1, x2 = _converted(name, x1, x2, compares)
        elif isinstance(x2, Tensor):
            if x1.dtype is x2.dtype:
                run = of_one_dtype
            elif x2.dtype not in FIVE:
                check_tensor(name, x2)
        elif not (type(x2) is float or (type(x2) is int and -SMALL <= x2 < SMALL)):
            x1, x2 = _converted(name, x1, x2, compares)
        try:
            return run(x1, x2)
        except (RuntimeError, TypeError, AttributeError, ValueError, OverflowError) as error:
            explain(name, error, x1, x2)

    return _row(
        op,
        name,
        f"Return {result}, element by element.",
        {"x1, x2": "Tensor, or one of them a NumPy array or number\nTheir shapes broadcast."},
        returns,
        {"ValueError": "If the shapes do not broadcast.", "TypeError": _NO_TENSOR},
        source,
    )


def compare(name: str, fn: Op, result: str, alike: Op) -> Op:
    """Add `fn` of two operands that broadcast, which gives booleans."""
    returns = "Tensor of dtype bool, the shape that both broadcast to"
    return binary(name, fn, result, alike, returns=returns, compares=True)


def reduce(
    name: str,
    fn: Op,
    result: str,
    source: str = "array API",
    cast: bool = False,
    single: bool = False,
) -> Op:
    """Add `fn` over one axis, several or all.

    With `cast` the dtype of the result can be chosen; with `single` there is one axis, or all.
    """
    run, quick = _reduction(name, fn, single), getattr(calls, name, _unusual)

    def op(x: Tensor, /, *, axis: Axis = None, keepdims: bool = False) -> Tensor:
        if not is_compiling() and (result := quick(x, axis, keepdims)) is not NotImplemented:
            return result
        return run(x, axis, {"keepdims": check_flag(name, "keepdims", keepdims)})

    def casting(
        x: Tensor, /, *, axis: Axis = None, dtype: torch.dtype | None = None, keepdims: bool = False
    ) -> Tensor:
        if dtype is None:
            if not is_compiling() and (result := quick(x, axis, keepdims)) is not NotImplemented:
                return result
        else:  # ops-15; torch's own cast to integers cannot be recorded.
            dtype = check_dtype(name, dtype)
            x = as_dtype(name, check_tensor(name, x), dtype)
        return run(x, axis, {"dtype": dtype, "keepdims": check_flag(name, "keepdims", keepdims)})

    several = "" if single else ", tuple of ints"
    parameters = {"x": "Tensor, any shape", "axis": f"int{several}, or None for all axes"}
    if cast:  # ops-15
        parameters["dtype"] = "dtype, optional\nWhat the elements are cast to first."
    parameters["keepdims"] = "bool\nWhether the axes are kept, with length 1."
    return _row(
        casting if cast else op,
        name,
        f"Return {result}.",
        parameters,
        "Tensor, the shape of `x` without the axes",
        {"ValueError": "If an axis is out of range or has no element to choose."},
        source,
    )


def _reduction(name: str, fn: Op, single: bool) -> Callable[..., Tensor]:
    def run(x: Tensor, axis: Axis, options: dict[str, Any]) -> Tensor:
        if getattr(x, "dtype", None) not in FIVE:
            check_tensor(name, x)
        if single and axis is not None:
            axis = normalize_axis(name, axis, x)  # type: ignore[arg-type]
        elif axis is not None:
            axes = normalize_axes(name, axis, x)
            axis = axes if isinstance(axis, tuple | list) else axes[0]
        try:
            return fn(x, axis=axis, **options)
        except (RuntimeError, IndexError) as error:
            if x.numel() == 0:  # ops-24
                msg = f"{name}: axis {axis} of shape {tuple(x.shape)} must have elements, got none"
                raise ValueError(msg) from None
            explain(name, error, x)

    return run


def scanned_axis(name: str, axis: int | None, x: Tensor) -> int:
    """Return the axis along which a function runs, which may be left out where there is one."""
    if check_tensor(name, x).ndim == 0 or (axis is None and x.ndim != 1):  # ops-22
        msg = f"{name}: axis must be given for other than one axis, got shape {tuple(x.shape)}"
        raise ValueError(msg)
    return normalize_axis(name, 0 if axis is None else axis, x)


def scan(name: str, fn: Op, initial: int, result: str, source: str = "array API") -> Op:
    """Add `fn` along one axis, which keeps its length; it may start with `initial`."""

    def op(
        x: Tensor,
        /,
        *,
        axis: int | None = None,
        dtype: torch.dtype | None = None,
        include_initial: bool = False,
    ) -> Tensor:
        place = scanned_axis(name, axis, x)
        usual = x.dtype if is_inexact(x.dtype) else int64
        terms = as_dtype(name, x, usual if dtype is None else check_dtype(name, dtype))
        ones = (1, *x.shape[:place], *x.shape[place + 1 :])
        first = torch.full(ones, initial, dtype=terms.dtype).movedim(0, place)
        length = x.shape[place] + 1
        whole = check_flag(name, "include_initial", include_initial)
        return fn(torch.cat([first, terms], place), place).narrow(
            place, *((0, length) if whole else (1, length - 1))
        )

    return _row(
        op,
        name,
        f"Return {result}.",
        {
            "x": "Tensor, any shape with an axis",
            "axis": "int\nMay be left out where `x` has one axis.",
            "dtype": "dtype, optional\nThat of the results; integers give int64 if left out.",
            "include_initial": f"bool\nWhether a {initial} stands before the others.",
        },
        "Tensor, the shape of `x`, or one longer along `axis`",
        {
            "ValueError": "If `axis` is out of range, or left out where there is more than one.",
            "TypeError": "If `x` is no Tensor, or `dtype` is none that there is.",
        },
        source,
    )


def recurrence(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function of two operands and a first state, along one axis."""
    errors = {
        "ValueError": "If the shapes do not broadcast, or the axis is out of range.",
        "TypeError": "If an operand is neither floating nor a number beside one that is.",
    }
    return listed(parameters, returns, errors, "Blelloch 1990, section 1.4")


def along(name: str, fn: Op, result: str, source: str, reduces: bool = False, short: int = 0) -> Op:
    """Add `fn` along an axis of real numbers; with `reduces` the axes are dropped or kept.

    `calls` computes it along an axis of at most `short` elements.
    """
    quick = getattr(calls, name, _unusual)

    def op(x: Tensor, /, axis: int = -1) -> Tensor:
        if not is_compiling() and (result := quick(x, axis, short)) is not NotImplemented:
            return result
        if getattr(x, "dtype", None) not in _REALS:
            x = array_of_reals(name, x)
        if type(axis) is not int:
            axis = normalize_axis(name, axis, x)
        try:
            return fn(x, axis)
        except IndexError:
            normalize_axis(name, axis, x)
            raise

    def reducing(x: Tensor, /, axis: Axis = -1, *, keepdims: bool = False) -> Tensor:
        reals = array_of_reals(name, x)
        axes = range(x.ndim) if axis is None else normalize_axes(name, axis, x)  # ops-19
        return fn(reals, tuple(axes), keepdim=check_flag(name, "keepdims", keepdims))

    parameters = {"x": "Tensor, any shape; integers are taken as float32", "axis": "int"}
    if reduces:
        parameters["axis"] = "int, tuple of ints, or None for all axes"
        parameters["keepdims"] = "bool\nWhether the axes are kept, with length 1."
    return _row(
        reducing if reduces else op,
        name,
        f"Return {result}.",
        parameters,
        "Tensor, the shape of `x`" + " without the axes" * reduces,
        {"ValueError": _AXIS, "TypeError": "If `x` is no Tensor."},
        source,
    )


def create(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function that makes an array."""
    errors = {"ValueError": "If a size is negative.", "TypeError": "If an argument does not fit."}
    return listed(parameters, returns, errors)


def shape(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function that gives the same elements in another shape or order."""
    errors = {"ValueError": "If the shape or the axes do not fit.", "TypeError": _NO_TENSOR}
    return listed({"x": "Tensor, any shape", **parameters}, returns, errors)


def join(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function that makes one array of several."""
    errors = {
        "ValueError": "If there are no arrays, their shapes do not fit, or the axis does not.",
        "TypeError": _NO_TENSOR,
    }
    return listed({"arrays": "sequence of Tensors", **parameters}, returns, errors)


def select(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function that chooses among values, or converts them, element by element."""
    errors = {"ValueError": "If the shapes do not broadcast.", "TypeError": _NO_TENSOR}
    return listed(parameters, returns, errors)


def linalg(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function of matrices, which lie along the last two axes."""
    errors = {"ValueError": "If the shapes do not fit.", "TypeError": _NO_TENSOR}
    return listed(parameters, returns, errors)


def gather(returns: str, **parameters: str) -> Callable[[F], F]:
    """Add a function that chooses elements by index."""
    errors = {
        "IndexError": "If an index is out of range.",
        "ValueError": "If the axis is out of range, or left out where there is more than one.",
        "TypeError": "If `x` is no Tensor, or `indices` are no integers.",
    }
    return listed({"x": "Tensor, any shape", **parameters}, returns, errors)


def _unusual(*_arguments: Any) -> Any:
    """Compute nothing quickly, where `calls` has no function of this name."""
    return NotImplemented


def _converted(name: str, x1: Any, x2: Any, compares: bool) -> tuple[Any, Any]:
    """Return what two operands of any kind are to torch; see `operands` and `with_number`."""
    first, second = operands(name, x1, x2)
    return with_number(name, first, second, compares)


def listed(
    parameters: dict[str, str],
    returns: str,
    errors: dict[str, str],
    source: str = "array API",
    extension: str = "",
) -> Callable[[F], F]:
    """Add a function of no family, to `ops` or one of its extensions."""

    def decorate(op: F) -> F:
        name, summary = op.__name__, op.__doc__ or ""
        return _row(op, name, summary, parameters, returns, errors, source, extension)

    return decorate


def matrix(returns: str, errors: str = "", **parameters: str) -> Callable[[F], F]:
    """Add a function of `ops.linalg`; `errors` says what raises ValueError beside the shape."""
    refusals = {
        "ValueError": f"If the shapes do not fit{errors}.",
        "TypeError": "If an operand is no Tensor, or of a dtype that the function does not take.",
    }
    return listed(parameters, returns, refusals, extension="linalg")


def _row(
    op: F,
    name: str,
    summary: str,
    parameters: dict[str, str],
    returns: str,
    errors: dict[str, str],
    source: str,
    extension: str = "",
) -> F:
    """Enter `op` into a registry under `name`, with a docstring in numpydoc's form."""
    named = "\n".join(f"{key} : {_indented(text)}" for key, text in parameters.items())
    raised = "\n".join(f"{error}\n    {text}" for error, text in errors.items())
    page = f"{source}, `{name}`" if source == "array API" else source
    sections = [
        summary,
        f"Parameters\n----------\n{named}",
        f"Returns\n-------\n{returns}",
        f"Raises\n------\n{raised}",
        f"Notes\n-----\nSource: {page}.",
    ]
    op.__doc__ = "\n\n".join(sections) + "\n"
    op.__name__ = op.__qualname__ = name
    op.__module__ = f"impl_torch_ext.ops.{extension}" if extension else "impl_torch_ext.ops"
    (extensions[extension] if extension else registry)[name] = op
    functions.add(name)
    return op


def _indented(text: str) -> str:
    return text.replace("\n", "\n    ")
