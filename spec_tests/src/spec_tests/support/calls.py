"""The calls of a table's row: the inputs that it writes, and what its formula makes of them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from spec_tests.judge.tables import ARROW, Row
from spec_tests.support import inputs, matrices
from spec_tests.support.assertions import raw
from spec_tests.support.places import put, scatter_add, segment_sum
from spec_tests.support.recurrence import linear_recurrence

_NUMPY = {
    **vars(np),
    "fft": np.fft,  # NumPy imports it when it is asked for.
    "erf": np.vectorize(math.erf, otypes=[float]),
    "linear_recurrence": linear_recurrence,
    **{function.__name__: function for function in (put, scatter_add, segment_sum)},
    **matrices.FORMULAS,
    "__builtins__": {},
}


@dataclass(frozen=True)
class DType:
    """A dtype by its name, which NumPy and the implementation each have their own object for."""

    name: str


@dataclass(frozen=True)
class Call:
    """The arguments of one call, arrays as NumPy's.

    Attributes
    ----------
    text : str
        The call as a reader would write it; it stands in messages.
    arguments, options : tuple and dict
        By position and by keyword.
    """

    text: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]

    def map(self, change: Callable[[Any], Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with `change` made of every leaf, also of those in lists."""
        arguments = tuple(_changed(value, change) for value in self.arguments)
        return arguments, {name: _changed(value, change) for name, value in self.options.items()}

    def arrays(self) -> list[np.ndarray]:
        """Return the arrays, in order."""
        arrays: list[np.ndarray] = []
        self.map(lambda leaf: arrays.append(leaf) if isinstance(leaf, np.ndarray) else None)
        return arrays

    def floating(self) -> list[np.ndarray]:
        """Return the floating and complex arrays, in order."""
        return [array for array in self.arrays() if array.dtype.kind in "fc"]

    def dtype(self, dtype: str) -> str:
        """Return the dtype of a floating result, where floating arrays have `dtype`."""
        named: list[str] = []
        self.map(lambda leaf: named.append(leaf.name) if isinstance(leaf, DType) else None)
        return named[0] if named else dtype if self.floating() else "float32"


def calls(
    row: Row, dtype: str, change: Callable[[tuple[int, ...]], Any] | None = None
) -> list[Call]:
    """Return the calls of a row, arrays of numbers rounded to `dtype`.

    Parameters
    ----------
    row : Row
        Of the chapters ops, linalg or loss. The numbers of a loss are multiples of 1/64, the same
        in both dtypes, so that one stored reference in float64 serves both.
    dtype : str
        Of the arrays of numbers, but for those that `ints` makes: a floating or complex dtype, or
        one of integers.
    change : callable, optional
        ``change(shape)`` is the shape that stands in the place of each.
    """
    found = [_call(row.name, text, dtype, change) for text in row.inputs]
    return [_on_grid(call) for call in found] if row.chapter == "loss" else found


def module_calls(row: Row, dtype: str) -> Iterator[tuple[Call, Call]]:
    """Return the constructor's and the call's arguments of each call of a Module's row."""
    for text in row.inputs:
        constructor, call = ARROW.split(text)
        yield _call(row.name, constructor, dtype), _call(row.name, call, dtype)


def arguments(nn: Any, call: Call, make: Callable[[np.ndarray], Any]) -> Any:
    """Return a call's arguments for the implementation, arrays made by `make`."""

    def change(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray):
            return make(leaf)
        return getattr(nn, leaf.name) if isinstance(leaf, DType) else leaf

    return call.map(change)


def filled(nn: Any, call: Call, tensors: Iterator[Any]) -> Any:
    """Return a call's arguments with the next of `tensors` for each array of `floating`."""

    def placed(array: np.ndarray) -> Any:
        return next(tensors) if array.dtype.kind in "fc" else nn.tensor(array)

    return arguments(nn, call, placed)


def as_tensors(nn: Any, call: Call, *, requires_grad: bool = False) -> tuple[Any, Any, list[Any]]:
    """Return a call's arguments with Tensors for arrays, and the floating Tensors among them."""
    leaves: list[Any] = []

    def make(array: np.ndarray) -> Any:
        if array.dtype.kind not in "fc":
            return nn.tensor(array)
        leaves.append(nn.tensor(array, requires_grad=requires_grad))
        return leaves[-1]

    positional, options = arguments(nn, call, make)
    return positional, options, leaves


def as_raw(nn: Any, call: Call) -> Any:
    """Return a call's arguments with raw arrays."""
    return arguments(nn, call, lambda array: raw(nn, array))


def results(value: Any) -> list[Any]:
    """Return the results of a function, one or several, as a list."""
    return list(value) if isinstance(value, tuple | list) else [value]


def evaluate(row: Row, call: Call, floating: list[np.ndarray] | None = None) -> np.ndarray:
    """Return the formula's value in float64, of several the first; arguments as below."""
    return evaluate_all(row, call, floating)[0]


def evaluate_all(
    row: Row, call: Call, floating: list[np.ndarray] | None = None
) -> list[np.ndarray]:
    """Return the formula's values in float64, one as a rule.

    Parameters
    ----------
    row, call : Row, Call
        What is computed.
    floating : list of numpy.ndarray, optional
        What stands in the places of the call's floating arrays.
    """
    remaining = iter(floating if floating is not None else call.floating())

    def change(leaf: Any) -> Any:
        if isinstance(leaf, np.ndarray) and leaf.dtype.kind in "fc":
            return inputs.in_double(next(remaining))
        return np.dtype(leaf.name) if isinstance(leaf, DType) else leaf

    positional, options = call.map(change)
    bound = row.signature.bind(*positional, **options)
    bound.apply_defaults()
    return [np.asarray(value) for value in results(_formula(row, bound.arguments))]


def formula(row: Row, variables: dict[str, Any]) -> np.ndarray:
    """Return the formula's value for these variables."""
    return np.asarray(_formula(row, variables))


def _formula(row: Row, variables: dict[str, Any]) -> Any:
    assert row.formula is not None
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)
        # Comprehensions aside, an expression finds its variables in either dictionary.
        return eval(row.formula, _NUMPY, dict(variables))


def _call(
    name: str, text: str, dtype: str, change: Callable[[tuple[int, ...]], Any] | None = None
) -> Call:
    names = {name: DType(name) for name in ("float32", "float64", "int32", "int64", "bool")}
    makers = {**_makers(dtype, change or (lambda shape: shape)), **names}
    scope = {**makers, "inf": math.inf, "__builtins__": {}, "call": lambda *a, **k: (a, k)}
    positional, options = eval(f"call({text.strip()})", scope)
    return Call(f"{name}({text.strip()})", positional, options)


def _on_grid(call: Call) -> Call:
    return Call(call.text, *call.map(_rounded_to_grid))


def _rounded_to_grid(leaf: Any) -> Any:
    floating = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"
    return np.round(leaf * 64) / 64 if floating else leaf


def _makers(dtype: str, change: Callable[[tuple[int, ...]], Any]) -> dict[str, Any]:
    made = 0

    def seeded(make: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def array(*shape: int) -> np.ndarray:
            nonlocal made
            made += 1
            return make(change(shape), dtype, seed=made - 1)

        return array

    def mask(*shape: int) -> np.ndarray:
        return inputs.normal(change(shape), seed=len(shape)) > 0

    return {
        "normal": seeded(inputs.normal),
        "positive": seeded(inputs.positive),
        "distinct": seeded(inputs.distinct),
        "unit": seeded(inputs.unit),
        "mask": mask,
        "upper": lambda rows, columns: np.triu(np.ones((rows, columns), bool), 1),
        "tail": lambda rows, columns: np.arange(columns) >= columns - np.arange(rows)[:, None],
        "ints": lambda *values: np.array(values, np.int64),
        **matrices.makers(dtype, seeded),
    }


def _changed(value: Any, change: Callable[[Any], Any]) -> Any:
    # A tuple is a shape or axes; arrays come alone or in lists.
    return [_changed(item, change) for item in value] if isinstance(value, list) else change(value)
