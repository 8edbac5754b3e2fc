"""The table of the chapter nn against the stored results of torch.nn, without an implementation."""

from typing import Any

import numpy as np
import pytest

from spec_tests.judge.tables import Row, read
from spec_tests.oracle.modules import ModuleCase, cases, stored
from spec_tests.support.assertions import tolerances
from spec_tests.support.calls import formula

ROWS = [row for row in read().values() if row.chapter == "nn"]
CASES = {case.key: case for row in ROWS if row.name != "Dropout" for case in cases(row)}
EQUATIONS = [key for key, case in CASES.items() if case.row.formula is not None]


def value(row: Row, case: ModuleCase, known: dict[str, Any]) -> np.ndarray:
    """Return the equation's value with the parameters that the results were made with."""
    bound = row.signature.bind(*case.constructor.arguments, **case.constructor.options)
    bound.apply_defaults()
    assert row.call is not None
    called = row.call.bind(*case.call.arguments, **case.call.options)
    drawn = case.parameters({n: tuple(s) for n, s in known["parameters"].items()})
    after = {name: known[f"after {name}"] for name in drawn if f"after {name}" in known}
    options = {name: value for name, value in bound.arguments.items() if name != "bias"}
    return formula(
        row, {"weight": 1.0, "bias": 0.0, **options, **drawn, **after, **called.arguments}
    )


def test_every_case_is_stored() -> None:
    """Else run ``python -m spec_tests.oracle.make_modules`` with torch."""
    assert set(CASES) == set(stored())


@pytest.mark.parametrize("key", EQUATIONS)
def test_equations_are_those_of_the_source(key: str) -> None:
    case, known = CASES[key], stored()[key]
    got, want = value(case.row, case, known), known["output 0"]
    bound = tolerances()["gradient"]["float64"]
    assert got.shape == want.shape
    assert np.all(np.abs(got - want) <= bound * (np.abs(want) + np.abs(want).max()))
