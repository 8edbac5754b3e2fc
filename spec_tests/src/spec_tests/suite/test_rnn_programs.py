"""The chapter ``rnn``: the programs of `examples/sequences`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, to_numpy
from spec_tests.support.programs import programs_of


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/sequences`."""
    yield from programs_of("sequences", monkeypatch)


@clause("rnn-36", "rnn-33")
def test_a_tagger_restores_capital_letters(nn: Any, programs: Callable[[str], Any]) -> None:
    truecase = programs("truecase")
    text = truecase.Text(truecase.lines())
    model, losses = truecase.learn(nn, text, 60)
    assert losses[-1] < losses[0] / 4
    held_out = text.lines[: truecase.HELD_OUT]
    assert truecase.score(held_out, truecase.restored(nn, model, text, held_out)) > 0.5
    # A line's logits are its own, whatever stands beside it and behind its end.
    numbers, lengths, _ = text.batch(held_out[:4])
    together = to_numpy(nn, model(nn.tensor(numbers), lengths).detach())
    end = lengths[2]
    alone = model(nn.tensor(numbers[:end, 2:3]), lengths[2:3]).detach()
    agrees(nn, alone, together[:end, 2:3], "rnn", dtype="float32")


@clause("rnn-36", "rnn-29")
def test_a_writer_carries_its_state(nn: Any, programs: Callable[[str], Any]) -> None:
    writer = programs("writer")
    text = writer.Text()
    model, losses = writer.learn(nn, text, 40)
    assert losses[-1] < 0.75 * losses[0]
    read, _ = text.chunk(0)
    whole, _ = model(nn.tensor(read))
    state: Any = None
    parts = []
    for piece in (read[:5], read[5:]):
        logits, state = model(nn.tensor(piece), state)
        parts.append(to_numpy(nn, logits.detach()))
    agrees(nn, whole.detach(), np.concatenate(parts), "rnn", dtype="float32")
    found = writer.written(nn, model, text, "The ", 20)
    assert len(found) == 24
    assert set(found) <= set(text.characters)
