"""Every check of an argument: dtypes, axes, sizes, shapes, indices; and the wording of errors."""

import functools
import math
import operator
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import jax
import numpy as np

from .dtypes import DTYPES, FIVE, DType, float32, is_floating, promote_number

Shape = tuple[int, ...]
Axis = int | Sequence[int] | None


def refuse(name: str, argument: str, wanted: str, got: Any) -> NoReturn:
    """Raise `ValueError` that says what an argument must be and what it is."""
    msg = f"{name}: {argument} must be {wanted}, got {got}"
    raise ValueError(msg)


def refuse_type(name: str, argument: str, wanted: str, value: Any) -> NoReturn:
    """Raise `TypeError` that says what an argument must be and of which type it is."""
    msg = f"{name}: {argument} must be {wanted}, got {type(value).__name__}"
    raise TypeError(msg)


def check_dtype(name: str, dtype: Any) -> None:
    """Raise `TypeError` that names the dtype if no Tensor has it."""
    if dtype not in DTYPES:  # tensor-37
        wanted = "bool, an integer of 8 to 64 bits, float32, float64, complex64 or complex128"
        msg = f"{name}: dtype must be {wanted}, got {dtype}"
        raise TypeError(msg)


def check_five(name: str, dtype: Any) -> None:
    """Raise `TypeError` that names the dtype if it is none of those that Modules are made of."""
    if dtype not in FIVE:  # tensor-37
        msg = f"{name}: dtype must be float32, float64, int32, int64 or bool, got {dtype}"
        raise TypeError(msg)


def check_real(name: str, dtype: DType) -> None:
    """Raise `TypeError` that names the dtype if it is complex, where there must be an order."""
    if dtype.kind == "c":  # ops-59
        msg = f"{name}: operands must be of real numbers or booleans, got dtype {dtype}"
        raise TypeError(msg)


def check_cast(name: str, dtype: DType, wanted: DType) -> None:
    """Raise `TypeError` that names both dtypes if numbers would lose their imaginary parts."""
    if dtype.kind == "c" and wanted.kind in "iuf":  # ops-11
        msg = f"{name}: dtype {dtype} does not go into {wanted}; take real or imag first"
        raise TypeError(msg)


def check_floating(name: str, dtype: DType) -> None:
    """Raise `ValueError` that names the dtype if a leaf that requires grad cannot have it."""
    if not is_floating(dtype):
        more = (
            "; make a complex Tensor of two real ones, as a + 1j * b" if dtype.kind == "c" else ""
        )
        wanted = "float32 or float64"
        refuse(name, "the dtype of a leaf that requires grad", wanted, f"{dtype}{more}")


def as_dtype(name: str, dtype: Any, default: DType | None = float32) -> DType:
    """Return the dtype asked for, `default` for None; raise `TypeError` if no Tensor has it."""
    if dtype is None and default is not None:
        return default
    try:
        # An array would stand for its dtype, and this letter for strings, both with a warning.
        # NumPy takes None for float64.
        if isinstance(dtype, jax.Array | np.ndarray | np.generic | None) or (
            isinstance(dtype, str) and dtype.endswith("a")
        ):
            raise TypeError
        wanted = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        check_dtype(name, shown(dtype))
        raise
    check_dtype(name, wanted)
    return wanted


def floating_dtype(name: str, dtype: Any) -> DType:
    """Return the dtype of parameters, float32 for None; raise `TypeError` if it is not floating."""
    wanted = as_dtype(name, dtype)
    if not is_floating(wanted):  # nn-09
        msg = f"{name}: dtype must be float32 or float64, got {wanted}"
        raise TypeError(msg)
    return wanted


def check_integers(name: str, argument: str, dtype: DType) -> None:
    """Raise `TypeError` that names the dtype if it is not of integers."""
    if dtype.kind not in "iu":
        msg = f"{name}: {argument} must be integers, got dtype {dtype}"
        raise TypeError(msg)


def check_same_dtype(
    name: str, argument: str, dtype: DType, wanted: DType, whose: str = "parameters'"
) -> None:
    """Raise `TypeError` that names both dtypes if an input's is not that of the parameters."""
    if dtype != wanted:
        msg = (
            f"{name}: {argument} must be of the {whose} dtype {wanted}, got {dtype}; "
            "convert one of them"
        )
        raise TypeError(msg)


_KINDS = (
    (bool, np.bool_),
    (int, np.integer),
    (float, np.floating),
    (complex, np.complexfloating),
)


def as_number(value: Any) -> Any:
    """Return the Python number of a NumPy scalar, and anything else as it is."""  # tensor-39
    if isinstance(value, np.generic):
        for cls, kinds in _KINDS:
            # JAX's question: bfloat16 is floating to it, not to NumPy.
            if jax.dtypes.issubdtype(value.dtype, kinds):
                return cls(value)
    return value


def check_number(name: str, argument: str, value: Any) -> int | float:
    """Return the Python number of a number, NumPy scalar or array of no axes.

    Raises
    ------
    TypeError
        If it is no number; it names the operation, the argument and what came.
    """
    if type(value) is float:
        return value
    number = value
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        known = value.shape == () and not isinstance(value, jax.core.Tracer)
        number = as_number(np.asarray(value)[()]) if known else value
    if not isinstance(number, int | float):
        msg = f"{name}: {argument} must be a number, got {shown(value)}"
        raise TypeError(msg)
    if isinstance(number, int) and number.bit_length() > 1023:
        refuse(name, argument, "a number that float64 holds", f"one of {number.bit_length()} bits")
    return number


def finite(name: str, argument: str, value: Any, least: float = -math.inf) -> int | float:
    """Return a Python number; raise `ValueError` if it is infinite, NaN or below `least`."""
    number = check_number(name, argument, value)
    if not math.isfinite(number) or number < least:  # init-05
        wanted = "a finite number" if least == -math.inf else f"a finite number of at least {least}"
        refuse(name, argument, wanted, number)
    return number


def check_probability(name: str, argument: str, value: Any) -> int | float:
    """Return a Python number; raise `ValueError` if it is not from 0 to 1."""
    number = check_number(name, argument, value)
    if not 0.0 <= number <= 1.0:
        refuse(name, argument, "in [0, 1]", number)
    return number


def cast(name: str, values: np.ndarray[Any, Any], dtype: DType) -> np.ndarray[Any, Any]:
    """Return numbers in a dtype; raise `ValueError` that names one that an integer dtype lacks."""
    kind = values.dtype.kind
    if kind == "c" and dtype.kind != "c":  # tensor-37
        msg = f"{name}: complex numbers do not go into {dtype}, got dtype {values.dtype}"
        raise TypeError(msg)
    if dtype.kind in "iu" and kind in "iuf" and values.dtype != dtype:  # tensor-38
        info = np.iinfo(dtype)
        # The upper end is a power of 2, which is exact in every dtype; no NaN is within.
        wide = values.astype(np.float32) if values.dtype == np.float16 else values
        wrong = values[~((wide >= info.min) & (wide < info.max + 1))]
        if wrong.size:
            refuse(name, "each number", f"one that {dtype} holds", wrong.flat[0])
    with np.errstate(over="ignore"):
        return values.astype(dtype, copy=False)


def as_scalar(name: str, number: Any, dtype: DType) -> Any:
    """Return a number as a scalar of a dtype; raise `ValueError` if it does not fit."""
    if isinstance(number, complex):
        return _complex_scalar(name, number, dtype)
    try:
        if -3e38 < number < 3e38:
            return dtype.type(number)
        with np.errstate(over="ignore"):
            return dtype.type(number)
    except OverflowError:
        refuse(name, "each number", f"one that {dtype} holds", shown(number))  # tensor-38


def _complex_scalar(name: str, number: complex, dtype: DType) -> Any:
    if dtype.kind != "c":
        refuse_type(name, "each number", f"one that {dtype} holds", number)
    with np.errstate(over="ignore"):
        return dtype.type(number)


def within(number: Any, dtype: DType) -> Any:
    """Return what compares with integers of a dtype as a number does that they do not hold."""
    number = as_number(number)
    if isinstance(number, int) and not 0 <= number < 128:
        joint = promote_number(number, dtype)
        if joint.kind in "iu" and not np.iinfo(joint).min <= number <= np.iinfo(joint).max:
            return math.inf if number > 0 else -math.inf  # tensor-38
    return number


def shown(value: Any) -> str:
    """Return what came, in one line: a short value itself, or its type."""
    text = repr(value)
    short = len(text) <= 40 and text.isprintable()
    return f"{text}, a {type(value).__name__}" if short else type(value).__name__


def check_int(name: str, argument: str, value: Any, wanted: str = "an int") -> int:
    """Return an int that may be a NumPy scalar; raise `TypeError` if it is none, or a bool."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except (TypeError, ValueError):
            pass
    msg = f"{name}: {argument} must be {wanted}, got {shown(value)}"
    raise TypeError(msg)


def as_int(value: Any) -> Any:
    """Return a bool as the int that it counts as, and anything else as it is."""
    return int(value) if isinstance(value, bool) else value


def check_flag(name: str, argument: str, value: Any) -> bool:
    """Return whether an option is true; raise `TypeError` if it is neither true nor false."""
    if isinstance(value, bool):
        return value
    try:
        # Every string but the empty one counts as true, "False" too.
        if isinstance(value, str):
            raise TypeError
        return bool(value)
    except (TypeError, ValueError, RuntimeError, DeprecationWarning):
        refuse_type(name, argument, "a bool", value)


def check_ints(name: str, argument: str, value: Any) -> Shape:
    """Return an int, or a sequence of ints, as a tuple; raise `TypeError` if it is neither."""
    listed = tuple(value) if isinstance(value, list | tuple | range) else (value,)
    return tuple([check_int(name, argument, part, "an int or a tuple of ints") for part in listed])


def check_callable(name: str, argument: str, value: Any) -> None:
    """Raise `TypeError` if an argument cannot be called."""
    if not callable(value):
        refuse_type(name, argument, "callable", value)


def positive_int(name: str, argument: str, value: Any) -> int:
    """Return a size, or raise an error that names the Module, the argument and the value."""
    size = check_int(name, argument, value, "a positive int")
    if not 0 < size < 2**40:
        refuse(name, argument, "a positive int that memory can hold", size)
    return size


def check_choice(name: str, argument: str, value: Any, choices: Sequence[str]) -> None:
    """Raise `ValueError` that lists the choices if `value` is none of them."""
    if not isinstance(value, str):
        refuse_type(name, argument, "a string", value)
    if value not in choices:
        refuse(name, argument, f"one of {', '.join(choices)}", repr(value))


def normalize_axis(name: str, axis: Any, shape: Shape, extra: int = 0) -> int:
    """Return an axis counted from 0; `extra` axes are added to those that the shape has."""
    count = len(shape) + extra
    index = axis if type(axis) is int else check_int(name, "axis", as_int(axis))  # ops-12
    if not -count <= index < count:
        msg = f"{name}: axis must be in {-count} <= axis < {count}, got {index} for shape {shape}"
        raise ValueError(msg)
    return index % count


def normalize_axes(name: str, axis: Axis, shape: Shape, extra: int = 0) -> Shape | None:
    """Return axes counted from 0, None for all; raise if the shape lacks one or one comes twice."""
    if axis is None:
        return None
    listed = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    axes = tuple([normalize_axis(name, a, shape, extra) for a in listed])
    if len(set(axes)) != len(axes):
        msg = f"{name}: axis must name each axis once, got {axis} for shape {shape}"
        raise ValueError(msg)
    return axes


def check_path(name: str, path: Any) -> Path:
    """Return a path; raise `TypeError` if it is neither string nor path, as an open file's number.

    One that no file can have raises `ValueError`.
    """
    wanted = "a string or a path"
    if not isinstance(path, str | os.PathLike):
        refuse_type(name, "path", wanted, path)  # serialization-09
    plain = os.fspath(path)
    if not isinstance(plain, str):
        refuse_type(name, "path", wanted, plain)
    if "\0" in plain or not plain:
        refuse(name, "path", "one that a file can have", repr(plain))
    return Path(plain)


def check_nonempty(name: str, axis: Axis, axes: Shape | None, shape: Shape) -> None:
    """Raise `ValueError` if there is no element to choose from along the axes."""
    if 0 in (shape if axes is None else [shape[a] for a in axes]):  # ops-24
        msg = f"{name}: shape must have elements along axis {axis}, got {shape}"
        raise ValueError(msg)


def check_broadcast(name: str, *shapes: Shape) -> Shape:
    """Return the common shape, or raise `ValueError` that names the function and every shape."""
    try:
        return np.broadcast_shapes(*shapes)
    except ValueError:
        msg = f"{name}: shapes must broadcast, got {' and '.join(map(str, shapes))}"
        raise ValueError(msg) from None


def check_sizes(name: str, shape: Any, least: int = 0) -> Shape:
    """Return a shape given as an int or a sequence of ints, none of them below `least`.

    Raises
    ------
    TypeError
        If a size is no int.
    ValueError
        If a size is too small.
    """
    listed = tuple(shape) if isinstance(shape, Sequence) else (shape,)
    try:
        if any([isinstance(size, bool) for size in listed]):
            raise TypeError
        sizes = tuple([operator.index(size) for size in listed])
    except (TypeError, ValueError):
        msg = f"{name}: shape must be an int or a tuple of ints, got {shown(shape)}"
        raise TypeError(msg) from None
    if any([size < least for size in sizes]):  # tensor-31, ops-20
        refuse(name, "each size of the shape", f"at least {least}", sizes)
    if max((math.prod(sizes), *sizes)) >= 2**60:
        refuse(name, "the shape", "of elements that memory can hold", sizes)
    return sizes


def check_indices(name: str, indices: Any, low: int, high: int, what: str = "") -> None:
    """Raise `IndexError` that names an index outside the bounds, where values are known."""
    if isinstance(indices, jax.core.Tracer) or indices.size == 0:
        return
    known = np.asarray(indices)
    wrong = known[(known < low) | (known >= high)]
    if wrong.size:
        msg = f"{name}: each index must be in {low} <= index < {high}{what}, got {int(wrong[0])}"
        raise IndexError(msg)


class Mapping(threading.local):
    """What of `vmap` is under way in a thread."""

    # The class of the arrays that depend on a slice, while there are any.
    tracer: type[Any] | None = None
    # How what was written to Modules and Tensors from outside is undone, in the order of writing.
    journal: list[Callable[[], None]] | None = None


MAPPING = Mapping()


def is_mapped(array: Any) -> bool:
    """Tell whether a raw array, within `vmap`, has another value for each slice."""
    return MAPPING.tracer is not None and isinstance(array, MAPPING.tracer)


def check_one_value(name: str, array: Any) -> None:
    """Raise `RuntimeError` if a raw array has another value for each slice of `vmap`."""
    if is_mapped(array):  # autograd-55
        msg = (
            f"{name}: within vmap an array that depends on a slice has not one value, got one of "
            f"shape {array.shape}"
        )
        raise RuntimeError(msg)


def of_all_slices(array: Any, beside: Any) -> Any:
    """Return a raw array with those axes of slices that another one does not depend on."""
    while is_mapped(array) and not (is_mapped(beside) and beside._trace.tag is array._trace.tag):
        array = array.val
    return array


class WrittenError(RuntimeError):
    """A value that depends on a slice was to be written to what is the same for all."""


def check_written(what: str, old: Any, new: Any) -> None:
    """Raise `RuntimeError` if an array with a value for each slice is to replace one without."""
    if is_mapped(new) and not (is_mapped(old) and old._trace.tag is new._trace.tag):
        msg = f"{what} must not be given a value that depends on a slice, within vmap; return it"
        raise WrittenError(msg)  # autograd-56


def known(name: str, array: Any) -> np.ndarray[Any, Any]:
    """Return the values that a shape depends on; raise `ValueError` where they are not known."""
    check_one_value(name, array)
    if isinstance(array, jax.core.Tracer):  # ops-52
        msg = (
            f"{name}: the values that the shape depends on must be known, got an array of shape "
            f"{array.shape} that is traced, as under jit"
        )
        raise ValueError(msg)
    return np.asarray(array)


def check_taken(name: str, argument: str, value: Any) -> None:
    """Raise `TypeError` that names the dtype of a NumPy array if JAX has none like it."""
    if isinstance(value, np.ndarray) and not _is_taken(value.dtype):
        msg = f"{name}: {argument} must be of numbers or booleans, got dtype {value.dtype}"
        raise TypeError(msg)


@functools.lru_cache(maxsize=64)
def _is_taken(dtype: DType) -> bool:
    try:
        jax.eval_shape(lambda array: array, np.zeros((), dtype))
    except TypeError:
        return False
    return True


def check_parameter(name: str, argument: str, array: Any, wanted: Shape) -> None:
    """Raise `ValueError` that names a parameter if another shape was put in its place."""
    if array.shape != wanted:
        refuse(name, argument, f"of shape {wanted}", f"shape {array.shape}")


def fits(shape: Shape, wanted: Sequence[int | None]) -> bool:
    """Tell whether a shape is the wanted one, in which a size that is None is free."""
    return len(shape) == len(wanted) and all(
        [w is None or w == s for s, w in zip(shape, wanted, strict=True)]
    )
