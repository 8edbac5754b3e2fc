"""The chapter ``rnn``: the memory that a sequence takes."""

from typing import Any

import pytest

from spec_tests import clause
from spec_tests.support.memory import arrays_per_step, unmeasurable


@pytest.mark.sampled(4)
@clause("rnn-24")
@pytest.mark.parametrize(("layer", "gates"), [("RNN", 1), ("LSTM", 4), ("GRU", 3)])
def test_memory_grows_by_what_backward_needs(
    nn: Any, implementation: str, layer: str, gates: int
) -> None:
    reason = unmeasurable(nn)
    if reason:
        pytest.skip(reason)
    got = arrays_per_step(implementation, layer)
    allowed = 4 * gates + 6
    assert got <= allowed, f"{layer}: got {got:.1f} arrays (N, H) a step but should be {allowed}"


@clause("rnn-43")
def test_memory_of_checkpoints_is_what_goes_in_and_out(nn: Any, implementation: str) -> None:
    reason = unmeasurable(nn)
    if reason:
        pytest.skip(reason)
    got = arrays_per_step(implementation, "LSTMCell")
    assert got <= 12, f"got {got:.1f} arrays (N, H) a step but should be 12"
