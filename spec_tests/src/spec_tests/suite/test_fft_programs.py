"""Chapter fft: the programs of `examples/spectral`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees
from spec_tests.support.inputs import normal
from spec_tests.support.programs import programs_of


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/spectral`."""
    yield from programs_of("spectral", monkeypatch)


@clause("fft-16", "fft-08")
def test_a_layer_finds_the_heat_equation(nn: Any, programs: Callable[[str], Any]) -> None:
    heat = programs("heat")
    for steps in (5, 40):
        losses, found, expected = heat.learn(nn, steps)
        pairs = np.stack([found.real, found.imag]).astype(np.float32)
        want = np.stack([expected, np.zeros_like(expected)])
        agrees(nn, pairs, want, "optim", call=f"multipliers of {steps} steps", dtype="float32")
    assert losses[-1] < losses[0] / 100
    known = heat.multipliers(heat.MODES)
    assert np.max(np.abs(expected - known)) < 1e-9, "forty steps should be enough"


@clause("fft-16", "fft-08")
def test_an_operator_learns_on_one_grid_for_another(
    nn: Any, programs: Callable[[str], Any]
) -> None:
    losses, coarse, fine = programs("burgers").learn(nn, 30)
    assert losses[-1] < losses[0] / 4, f"the loss went from {losses[0]} to {losses[-1]}"
    assert coarse < 0.4, f"the error of functions held out is {coarse:.0%}"
    assert abs(fine - coarse) < 0.01, f"{coarse:.1%} on the grid of training, {fine:.1%} on another"


@clause("fft-16", "fft-15", "function-19", needs=("float64", "double_backward"))
def test_a_convolution_through_spectra(nn: Any, programs: Callable[[str], Any]) -> None:
    convolution = programs("convolution")
    apply = nn.as_function(convolution.Convolution).apply
    for length in (4, 5):
        x, k = normal((2, length)), normal(length, seed=1)
        places = (np.arange(length)[:, None] - np.arange(length)) % length
        want = x[:, places] @ k
        got = apply(nn.tensor(x), nn.tensor(k))
        agrees(nn, got, want, "matmul", call=f"convolution of {length}", dtype="float64")

        def squared(x: Any, k: Any) -> Any:
            return apply(x, k) ** 2

        check_gradients(nn, squared, [x, k], second_order=True, call=f"convolution of {length}")
    losses, _ = convolution.learn(nn, 30)
    assert losses[-1] < losses[0] / 10
