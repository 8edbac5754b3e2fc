"""Every check of an argument, and the wording of its error.

`name` is always the public name that the error begins with.
"""

import math
import operator
import reprlib
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeAlias

import numpy as np
import torch
from torch import Tensor

from impl_torch_ext.dtypes import (
    DTYPES,
    FIVE,
    FROM_NUMPY,
    NAMED,
    WITH_COMPLEX,
    bool_,
    dtype_of,
    float32,
    float64,
    int64,
    is_inexact,
    plain_number,
)
from impl_torch_ext.tracing import assert_later, readable

__all__ = [
    "Option",
    "check_at_least_zero",
    "check_between",
    "check_choice",
    "check_device",
    "check_dtype",
    "check_equal_shapes",
    "check_fits",
    "check_five",
    "check_flag",
    "check_floating",
    "check_floating_dtype",
    "check_function",
    "check_gradients",
    "check_int",
    "check_number",
    "check_pair",
    "check_permutation",
    "check_probability",
    "check_range",
    "check_same_rest",
    "check_shape",
    "check_size",
    "check_sizes",
    "check_tensor",
    "explain",
    "functions",
    "normalize_axes",
    "normalize_axis",
    "refuse_dtype",
    "shapes_of",
    "shown",
]

Shape: TypeAlias = int | Iterable[int]
Option: TypeAlias = Callable[[str, str, Any], Any]
"""A check of a constructor's option: gets the class's name, the option's and its value."""

functions = {"tensor", "from_array"}
"""The names of what takes every dtype, to which `ops` adds its own; all else takes the five."""

_SEVERAL = (tuple, list)
_FIVE = "float32, float64, int32, int64 or bool"
_TEN = " or".join(", ".join(NAMED).rsplit(",", 1))

# A size that torch cannot count.
_COUNT = 2**63


def check_tensor(name: str, x: Any, argument: str = "x") -> Tensor:
    """Return `x`, or raise a TypeError if it is no Tensor, or of a dtype that `name` has not.

    Functions of `ops` take integers of any width, and those of `ops-59` complex numbers; all else
    takes the five (tensor-37).
    """
    if not isinstance(x, Tensor):
        if isinstance(x, np.ndarray) and x.dtype.newbyteorder("=") not in FROM_NUMPY:
            refuse_dtype(name, argument, x.dtype)
        came = (
            "a NumPy array; tensor() makes a Tensor of it"
            if isinstance(x, np.ndarray)
            else type(x).__name__
        )
        msg = f"{name}: {argument} must be a Tensor, got {came}"
        raise TypeError(msg)
    if x.dtype not in FIVE:
        _check_further(name, argument, x.dtype)
    return x


def _check_further(name: str, argument: str, dtype: torch.dtype) -> None:
    """Raise a TypeError if `dtype`, none of the five, is not for `name` (ops-59, ops-60)."""
    if dtype.is_complex:
        if dtype in DTYPES and name in WITH_COMPLEX:
            return
        msg = f"{name}: {argument} must be of real numbers, got dtype {dtype}"
        raise TypeError(msg)
    if dtype not in DTYPES or name not in functions:
        refuse_dtype(name, argument, dtype)


def refuse_dtype(name: str, argument: str, came: Any) -> NoReturn:
    """Raise a TypeError for an array whose dtype is not among those that `name` takes."""
    wanted = _TEN if name in functions else _FIVE
    msg = f"{name}: {argument} must be of dtype {wanted}, got {came}"  # tensor-37
    raise TypeError(msg)


def check_fits(name: str, number: int, dtype: torch.dtype) -> None:
    """Raise a ValueError if `dtype` does not hold the int; beside one, booleans are int64."""
    if is_inexact(dtype):
        if math.isfinite(_as_float(number)):
            return
    else:
        limits = torch.iinfo(int64 if dtype == bool_ else dtype)
        if limits.min <= number <= limits.max:
            return
    msg = f"{name}: each number must be one that {dtype} holds, got {_digits(number)}"
    raise ValueError(msg)  # tensor-38


def check_floating(name: str, x: Any, argument: str) -> Tensor:
    """Return `x`, or raise a TypeError if it is no Tensor of a floating dtype."""
    if not check_tensor(name, x, argument).is_floating_point():  # loss-08, init-05
        msg = f"{name}: {argument} must be of a floating dtype, got {x.dtype}"
        raise TypeError(msg)
    return x


def check_dtype(name: str, dtype: Any, among: frozenset[torch.dtype] = DTYPES) -> torch.dtype:
    """Return one of the dtypes from what NumPy reads as one, or raise a TypeError."""
    checked = dtype if isinstance(dtype, torch.dtype) else dtype_of(dtype)
    if checked not in among:
        wanted = _FIVE if among is FIVE else _TEN
        msg = f"{name}: dtype must be {wanted}, got {shown(dtype)}"
        raise TypeError(msg)
    return checked


def check_five(name: str, dtype: Any) -> torch.dtype:
    """Return `dtype`, or raise a TypeError if it is none of the five."""
    return check_dtype(name, dtype, FIVE)


def check_floating_dtype(name: str, dtype: Any) -> torch.dtype:
    """Return `dtype`, float32 for None, or raise if it is not floating."""
    checked = float32 if dtype is None else check_dtype(name, dtype)
    if checked not in (float32, float64):  # nn-09
        msg = f"{name}: dtype must be float32 or float64, got {shown(dtype)}"
        raise TypeError(msg)
    return checked


def check_device(name: str, device: Any) -> None:
    """Raise a ValueError if `device` is neither None nor the one that there is."""
    if device is not None and not (isinstance(device, torch.device) and device.type == "cpu"):
        msg = f"{name}: device must be None or torch.device('cpu'), got {shown(device)}"  # ops-31
        raise ValueError(msg)


def check_shape(name: str, shape: Shape, free: bool = False) -> tuple[int, ...]:
    """Return `shape` as a tuple of ints, or raise; with `free` one of them may be -1."""
    try:
        sizes = tuple(shape) if isinstance(shape, Iterable) else (shape,)
        counts = tuple(check_int(name, "each size", size) for size in sizes)
    except TypeError:  # tensor-31
        msg = f"{name}: shape must be an int or a tuple of ints, got {shown(shape)}"
        raise TypeError(msg) from None
    if any(count < -free for count in counts) or counts.count(-1) > 1:  # ops-20
        wanted = "at most one size of -1 and none below" if free else "no negative sizes"
        msg = f"{name}: shape must have {wanted}, got {counts}"
        raise ValueError(msg)
    return counts


def normalize_axis(name: str, axis: int, x: Tensor, added: int = 0) -> int:
    """Return `axis` counted from the front of `x`, or of a result with `added` more axes."""
    ndim = x.ndim + added
    if type(axis) is not int:
        axis = check_int(name, "axis", axis)
    if not -ndim <= axis < ndim:  # ops-12
        msg = f"{name}: axis {axis} is out of range for shape {tuple(x.shape)}"
        raise ValueError(msg)
    return axis % ndim


def normalize_axes(
    name: str, axes: int | tuple[int, ...], x: Tensor, added: int = 0
) -> tuple[int, ...]:
    """Return `axes` as a tuple; see `normalize_axis`; none may come twice."""
    if not isinstance(axes, tuple | list):
        return (normalize_axis(name, axes, x, added),)
    normal = tuple(normalize_axis(name, axis, x, added) for axis in axes)
    if len(set(normal)) < len(normal):
        msg = f"{name}: axes must be named once each, got {axes} for shape {tuple(x.shape)}"
        raise ValueError(msg)
    return normal


def check_permutation(name: str, axes: tuple[int, ...], x: Tensor) -> tuple[int, ...]:
    """Return `axes` counted from the front, or raise if they are not all axes of `x` once."""
    order = normalize_axes(name, axes, x)
    if sorted(order) != list(range(x.ndim)):
        msg = (
            f"{name}: axes must be a permutation of {x.ndim} axes, got {axes} for shape "
            f"{tuple(x.shape)}"
        )
        raise ValueError(msg)
    return order


def check_same_rest(name: str, tensors: Sequence[Tensor], axis: int) -> None:
    """Raise a ValueError if the shapes differ in another axis than `axis`."""
    rests = [(*x.shape[:axis], *x.shape[axis + 1 :]) for x in tensors]
    if any(
        rest != rests[0] or x.ndim != tensors[0].ndim
        for rest, x in zip(rests, tensors, strict=True)
    ):
        msg = f"{name}: shapes must agree but for axis {axis}, got {shapes_of(*tensors)}"
        raise ValueError(msg)


def check_equal_shapes(name: str, input: Any, target: Any) -> None:
    """Raise if `input` and `target` are not Tensors of one shape."""
    check_floating(name, input, "input")
    check_tensor(name, target, "target")
    if input.shape != target.shape:  # loss-01
        msg = (
            f"{name}: target must have the shape of input, {tuple(input.shape)}, got "
            f"{tuple(target.shape)}"
        )
        raise ValueError(msg)


def check_range(name: str, indices: Tensor, size: int, text: str, error: type[Exception]) -> None:
    """Raise `error` if an index is negative or not below `size`, which `text` names."""
    if (known := readable(indices)) is None:
        assert_later((indices >= 0) & (indices < size), f"{name}: {text} = {size}")
    elif known.numel():
        low, high = map(int, torch.aminmax(known))
        if low < 0 or high >= size:
            msg = f"{name}: {text} = {size}, got {low if low < 0 else high}"
            raise error(msg)


def check_pair(name: str, argument: str, pair: Any, shape: str) -> tuple[Any, Any]:
    """Return the two items of `pair`, two times None for None, or raise."""
    if pair is None:
        return None, None
    if not isinstance(pair, tuple | list) or len(pair) != 2:  # rnn-20
        came = f"{len(pair)} of them" if isinstance(pair, tuple | list) else type(pair).__name__
        msg = f"{name}: {argument} must be a pair of Tensors of shape {shape}, got {came}"
        raise ValueError(msg)
    return pair[0], pair[1]


def check_function(name: str, argument: str, value: Any) -> Callable[..., Any]:
    """Return `value`, or raise a TypeError if it cannot be called."""
    if not callable(value):
        msg = f"{name}: {argument} must be a function, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def check_gradients(
    name: str, inputs: Sequence[Any], needs: tuple[bool, ...], results: Any
) -> list[Tensor | None]:
    """Return one gradient per input, None where none is wanted; raise if one does not fit."""
    grads = [*results] if isinstance(results, _SEVERAL) else [results]
    if len(grads) != len(inputs):
        missing = inputs[len(grads) :]
        if len(grads) > len(inputs) or any(x is not None for x in missing):  # function-11
            msg = (
                f"{name}: backward must return {len(inputs)} gradients, one per "
                f"positional input, got {len(grads)}"
            )
            raise ValueError(msg)
        grads += [None] * len(missing)
    for i, grad in enumerate(grads):
        if grad is None:
            continue
        if not needs[i]:  # function-10
            grads[i] = None
            continue
        x = inputs[i]
        if not isinstance(grad, Tensor) or grad.dtype is not x.dtype or grad.shape != x.shape:
            _refuse_gradient(name, i, x, grad)
    return grads


def _refuse_gradient(name: str, i: int, x: Tensor, grad: Any) -> NoReturn:
    if not isinstance(grad, Tensor):
        msg = (
            f"{name}: backward must return a raw array of dtype {x.dtype} or None for input {i}, "
            f"got {type(grad).__name__}"
        )
        raise TypeError(msg)
    if grad.shape != x.shape:  # function-12
        msg = (
            f"{name}: backward must return a gradient of shape {tuple(x.shape)} for input {i}, "
            f"got {tuple(grad.shape)}"
        )
        raise ValueError(msg)
    msg = (  # function-13
        f"{name}: backward must return a gradient of dtype {x.dtype} for input {i}, got "
        f"{grad.dtype}"
    )
    raise TypeError(msg)


def check_flag(name: str, option: str, value: Any) -> bool:
    """Return whether `value` is true, or raise a TypeError if that is no question for it."""
    if value is True or value is False:
        return value
    with suppress(Exception):
        if not isinstance(value, str):  # "False" would be true.
            return bool(value)
    msg = f"{name}: {option} must be true or false, got {shown(value)}"
    raise TypeError(msg)


def check_int(name: str, option: str, value: Any) -> int:
    """Return `value` as an int of 64 bits, or raise."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        msg = f"{name}: {option} must be an int, got {shown(value)}"
        raise TypeError(msg)
    if not -_COUNT <= number < _COUNT:
        msg = f"{name}: {option} must be below 2**63, got {shown(number)}"
        raise ValueError(msg)
    return number


def check_size(name: str, option: str, value: Any) -> int:
    """Return `value` as a positive int, or raise."""
    number = check_int(name, option, value)
    if number < 1:  # errors-05
        msg = f"{name}: {option} must be a positive int, got {number}"
        raise ValueError(msg)
    return number


def check_sizes(name: str, option: str, value: Any) -> tuple[int, ...]:
    """Return one positive int or several as a tuple, or raise."""
    # A NumPy array without axes says that it is iterable.
    several = isinstance(value, Iterable) and getattr(value, "ndim", 1) > 0
    sizes = value if several else (value,)
    checked = tuple(check_size(name, option, size) for size in sizes)
    if not checked:  # nn-11
        msg = f"{name}: {option} must not be empty, got {shown(value)}"
        raise ValueError(msg)
    return checked


def check_number(name: str, option: str, value: Any) -> float:
    """Return `value` as a Python number, or raise a TypeError; booleans are none."""
    value = plain_number(value)  # tensor-39
    if isinstance(value, bool) or not isinstance(value, int | float):
        odd = ", which is complex" if isinstance(value, complex) else ""
        msg = f"{name}: {option} must be a number, got {shown(value)}{odd}"
        raise TypeError(msg)
    return value


def check_between(name: str, option: str, number: float, low: int, high: int) -> None:
    """Raise a ValueError unless the number is from `low` to `high`."""
    if not low <= number <= high:  # nn-08, rnn-20
        msg = f"{name}: {option} must be in [{low}, {high}], got {shown(number)}"
        raise ValueError(msg)


def check_probability(name: str, option: str, value: Any) -> float:
    """Return `value`, or raise if it is no number in [0, 1]."""
    number = check_number(name, option, value)
    check_between(name, option, number, 0, 1)
    return number


def check_at_least_zero(name: str, option: str, value: Any) -> float:
    """Return `value`, or raise if it is no number, negative or NaN."""
    number = check_number(name, option, value)
    if not number >= 0:
        msg = f"{name}: {option} must be at least 0, got {value}"
        raise ValueError(msg)
    return number


def check_choice(*choices: str) -> Option:
    """Make a check that raises a ValueError for what is none of `choices`."""
    text = f"{', '.join(map(repr, choices[:-1]))} or {choices[-1]!r}"

    def check(name: str, option: str, value: Any) -> str:
        if not isinstance(value, str) or value not in choices:
            msg = f"{name}: {option} must be {text}, got {shown(value)}"
            raise ValueError(msg)
        return value

    return check


def shown(value: Any) -> str:
    """Return what came on one line, in so few characters that it can stand in a message."""
    return " ".join(reprlib.repr(value).split())


def shapes_of(*operands: Any) -> str:
    """Return the shapes of those operands that have one, for a message."""
    return " and ".join(str(tuple(x.shape)) for x in operands if isinstance(x, Tensor))


def explain(
    name: str, error: Exception, *operands: Any, shapes: Sequence[tuple[int, ...]] = ()
) -> NoReturn:
    """Raise what torch's `error` means, in the specification's words.

    Parameters
    ----------
    name : str
        The function that torch refused to compute.
    error : Exception
        Raised again, in the name of `name`, where nothing better is known.
    *operands
        Tensors and numbers that should broadcast.
    shapes : sequence of tuple of int
        What should broadcast, where it is not the operands' shapes.
    """
    for x in operands:
        if not isinstance(x, bool | int | float | complex):
            check_tensor(name, x, "each operand")
    if not any(isinstance(x, Tensor) for x in operands):
        came = " and ".join(type(x).__name__ for x in operands)
        msg = f"{name}: at least one operand must be a Tensor, got {came}"
        raise TypeError(msg) from None
    try:
        torch.broadcast_shapes(*(shapes or (x.shape for x in operands if isinstance(x, Tensor))))
    except RuntimeError:
        msg = f"{name}: shapes must broadcast, got {shapes_of(*operands)}"
        raise ValueError(msg) from None
    reason = " ".join(str(error).split())
    if isinstance(error, OverflowError) or reason.startswith("Overflow"):
        msg = f"{name}: each number must fit the dtype of the result, got one that does not"
        raise ValueError(msg) from error
    if reason.startswith(name):
        raise error
    msg = f"{name}: {reason}"
    raise (TypeError if isinstance(error, TypeError) else RuntimeError)(msg) from error


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


def _digits(number: int) -> str:
    """Return an int in full, or the number of bits of one that would fill more than a line."""
    return str(number) if number.bit_length() < 256 else f"an int of {number.bit_length()} bits"
