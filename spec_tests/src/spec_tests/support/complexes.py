"""Complex numbers in tests: which functions take them, calls, real functions of the parts."""

import re
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from spec_tests.check.differences import gradients
from spec_tests.judge import clauses
from spec_tests.judge.tables import Row
from spec_tests.support.calls import Call, calls, evaluate_all

PARTS = {"complex64": "float32", "complex128": "float64"}


@cache
def listed(clause: str) -> dict[str, frozenset[str]]:
    """Return the words in backticks of each row of a clause's table, by the row's first cell."""
    found = {}
    for line in clauses.read()[clause].text.splitlines():
        cells = line.strip("| ").split(" | ")
        if line.startswith("| ") and len(cells) == 2 and cells[0] not in ("result", "---"):
            words = " ".join(re.findall(r"`([^`]*)`", cells[1])).split()
            found[cells[0]] = frozenset(words)
    return found


def taking() -> frozenset[str]:
    """Return the functions of ``ops-59`` whose values are those of their formulas."""
    rows = listed("ops-59")
    return rows["complex"] | rows["real, of the width of the parts"] | rows["`bool`"]


def takes(row: Row) -> bool:
    """Whether a row of the chapter ops takes complex arrays in a call, and has a formula."""
    return (
        row.name in taking()
        and row.formula is not None
        and any(call.floating() for call in calls(row, "complex128"))
    )


def class_of(row: Row) -> str:
    """Return the class of tolerance of a row's complex values."""
    return "elementwise" if row.name in ("abs", "sign") else str(row.tolerance)


def complex_calls(row: Row, dtype: str) -> Iterator[Call]:
    """Yield the calls of a row that have complex arrays.

    First all of the arrays are complex, then, where two operands meet, the first of them is real.
    """
    for call in calls(row, dtype):
        arrays = call.floating()
        if not arrays:
            continue
        yield call
        if len(arrays) == 2 and row.family in ("binary", "linalg", "product", "select", "compare"):
            yield _first_is_real(call, PARTS[dtype])


def _first_is_real(call: Call, dtype: str) -> Call:
    places = iter([True])

    def change(leaf: Any) -> Any:
        complex_array = isinstance(leaf, np.ndarray) and leaf.dtype.kind == "c"
        return leaf.real.astype(dtype) if complex_array and next(places, False) else leaf

    return Call(f"{call.text}, the first real", *call.map(change))


def parts(arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the real parts and imaginary parts of arrays; of a real one itself alone."""
    found = []
    for array in arrays:
        found += [array.real, array.imag] if array.dtype.kind == "c" else [array]
    return [np.asarray(part, np.float64) for part in found]


def whole(numbers: Iterator[Any], arrays: Sequence[np.ndarray]) -> list[Any]:
    """Return what `parts` took apart, of arrays or Tensors; `arrays` says which were complex."""
    return [
        next(numbers) + 1j * next(numbers) if array.dtype.kind == "c" else next(numbers)
        for array in arrays
    ]


def leaves_of(nn: Any, arrays: Sequence[np.ndarray]) -> tuple[list[Any], list[Any]]:
    """Return Tensors with the values of `arrays`, and the real leaves that they are made of."""
    leaves: list[Any] = []
    made = []
    for array in arrays:
        own = [array.real, array.imag] if array.dtype.kind == "c" else [array]
        fresh = [nn.tensor(np.array(part), requires_grad=True) for part in own]
        made.append(fresh[0] + 1j * fresh[1] if len(fresh) == 2 else fresh[0])
        leaves += fresh
    return made, leaves


def weights(values: Sequence[np.ndarray], seed: int = 5) -> list[np.ndarray]:
    """Return a cotangent for each result, complex where the result is."""
    draw = np.random.default_rng(seed)
    made = []
    for value in values:
        one, two = draw.uniform(0.5, 1.5, (2, *value.shape))
        made.append(np.asarray(one + 1j * two if value.dtype.kind == "c" else one))
    return made


def real_sum(values: Sequence[Any], cotangents: Sequence[np.ndarray]) -> float:
    """Return the sum of ``Re(conj(w) * value)``, whose gradient at each value is its w."""
    return float(
        sum(np.sum(np.real(np.conj(w) * v)) for v, w in zip(values, cotangents, strict=True))
    )


def slopes(row: Row, call: Call, cotangents: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return the derivatives of `real_sum` of a formula by each part of its arrays."""
    arrays = call.floating()

    def number(*numbers: np.ndarray) -> float:
        return real_sum(evaluate_all(row, call, whole(iter(numbers), arrays)), cotangents)

    return gradients(number, parts(arrays))
