"""Chapter autograd: further programs of `examples/derivatives`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.clauses import tolerances
from spec_tests.support.assertions import agrees, to_numpy, within
from spec_tests.support.inputs import in_double
from spec_tests.support.programs import programs_of


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/derivatives`."""
    yield from programs_of("derivatives", monkeypatch)


@clause("autograd-38", "autograd-19")
def test_gradients_one_by_one(nn: Any, programs: Callable[[str], Any]) -> None:
    per_sample = programs("per_sample")
    losses, each, together = per_sample.learn(nn, 60)
    assert losses[-1] < losses[0] / 2
    assert len(each) == per_sample.SAMPLES
    for name, gradient in together.items():
        stacked = np.stack([in_double(to_numpy(nn, one[name])) for one in each])
        # A sum of both signs: measured by the size of what is added.
        allowed = float(tolerances()["gradient"]["float32"] or 0) * np.abs(stacked).sum(axis=0)
        within(nn, gradient, stacked.sum(axis=0), allowed, call=name, dtype="float32")
    lengths = per_sample.lengths(nn, each)
    largest = sorted(range(len(lengths)), key=lambda place: -lengths[place])[:3]
    assert sorted(largest) == list(per_sample.WRONG)


@clause("autograd-38", "function-19", needs=("float64", "double_backward"))
def test_a_function_and_its_check(nn: Any, programs: Callable[[str], Any]) -> None:
    checked = programs("checked")
    assert checked.fault(nn, checked.LogCosh) == ""
    found = checked.fault(nn, checked.Forgetful)
    assert "first derivative by input 0" in found, found
    values, slopes = checked.far(nn)
    want = np.full(2, 1000 - np.log(2))
    agrees(nn, np.float32(values), want, "elementwise", dtype="float32")
    assert slopes == [-1.0, 1.0]
