"""Chapter ops: the special cases of the standard, parsed from its text."""

import json
import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import tolerances
from spec_tests.oracle import folder
from spec_tests.support.assertions import to_numpy

pytestmark = pytest.mark.sampled(4)

BOUNDED = {"clip": (-1.0, 1.0)}


@cache
def cases(kind: str) -> dict[str, list[dict[str, Any]]]:
    """Return the sentences by function, but for those that a clause leaves open."""
    found: dict[str, list[dict[str, Any]]] = {}
    known = json.loads((folder / "special_cases.json").read_text(encoding="utf-8"))
    for case in known["cases"]:
        if case["kind"] == kind and (kind == "real" or specified(case)):
            found.setdefault(case["function"], []).append(case)
    return found


def specified(case: dict[str, Any]) -> bool:
    """Whether complex operands have a result that is not left open (tensor-45)."""
    numbers = [text for row in (*case["operands"], *case["wanted"]) for text in row]
    return len(case["wanted"][0]) == 1 or all(math.isfinite(float(text)) for text in numbers)


def rows(kind: str, name: str) -> list[tuple[dict[str, Any], list[str], list[str]]]:
    """Return each sentence's operands and results, Python's where there is a choice (ops-34)."""
    return [
        (case, operands, wanted)
        for case in cases(kind)[name]
        for operands, wanted in zip(
            case["operands"], case.get("python", case["wanted"]), strict=True
        )
    ]


def fault(got: complex, wanted: list[str], case: dict[str, Any], near: float, kind: str) -> bool:
    """Whether a result is not the one that the sentence gives."""
    parts = [got] if len(wanted) == 1 else [got.real, got.imag]
    for part, text in zip(parts, wanted, strict=True):
        if text in ("True", "False"):
            return bool(part) is not (text == "True")
        want, part = float(text), float(part.real)
        if math.isnan(want) or math.isnan(part):
            signed = "with a sign bit" in case["says"]
            if not (math.isnan(want) and math.isnan(part)) or (signed and not alike(part, want)):
                return True
        elif case["only_sign"]:
            if not alike(part, want):
                return True
        elif case["near"]:
            if not math.isclose(part, want, rel_tol=near):
                return True
        elif part != want or (want == 0 and kind == "real" and not alike(part, want)):
            return True
    return False


def alike(one: float, other: float) -> bool:
    return math.copysign(1, one) == math.copysign(1, other)


def complain(name: str, said: list[str]) -> str:
    return f"{name}: {len(said)} special cases of the standard: " + "; ".join(said[:4])


@clause("ops-63", "ops-27", "ops-37")
@pytest.mark.parametrize("name", cases("real"))
def test_special_cases_of_real_operands(nn: Any, dtype: str, name: str) -> None:
    asked = rows("real", name)
    operands = np.array([[float(text) for text in row] for _, row, _ in asked], dtype).T
    tensors = [nn.tensor(np.ascontiguousarray(operand)) for operand in operands]
    got = to_numpy(nn, getattr(nn.ops, name)(*tensors, *BOUNDED.get(name, ())))
    near = tolerances()["elementwise"][dtype]
    assert near is not None
    wrong = [
        f"{case['says']} Of {', '.join(row)} came {value}"
        for (case, row, wanted), value in zip(asked, got, strict=True)
        if fault(value, wanted, case, near, "real")
    ]
    assert not wrong, complain(name, wrong)


@clause("ops-63", "ops-59", needs="complex")
@pytest.mark.parametrize("name", cases("complex"))
def test_special_cases_of_complex_operands(nn: Any, dtype: str, name: str) -> None:
    asked = rows("complex", name)
    parts = np.array([[float(text) for text in row] for _, row, _ in asked], dtype)
    wide = {"float32": "complex64", "float64": "complex128"}[dtype]
    whole = np.ascontiguousarray(parts).view(wide)
    tensors = [nn.tensor(np.ascontiguousarray(operand)) for operand in whole.T]
    got = to_numpy(nn, getattr(nn.ops, name)(*tensors))
    near = tolerances()["elementwise"][dtype]
    assert near is not None
    wrong = [
        f"{case['says']} Of {', '.join(row)} came {value}"
        for (case, row, wanted), value in zip(asked, got, strict=True)
        if fault(value, wanted, case, near, "complex")
    ]
    assert not wrong, complain(name, wrong)


@clause("ops-63", "ops-34")
def test_the_sentences_are_there(nn: Any) -> None:
    known = json.loads((folder / "special_cases.json").read_text(encoding="utf-8"))
    functions = {case["function"] for case in known["cases"]}
    assert len(known["cases"]) > 400
    assert len(known["left_out"]) < 10
    assert functions - set(nn.ops.__all__) == set()
    assert len(functions) > 40
    chosen = {case["function"] for case in known["cases"] if "python" in case}
    assert chosen == {"floor_divide"}
