"""The chapter ``rnn``: the programs of `examples/sequences` and `examples/cells`."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.programs import programs_of
from spec_tests.support.user_cells import loop

pytestmark = pytest.mark.sampled(6)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/sequences`."""
    yield from programs_of("sequences", monkeypatch)


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/cells`."""
    yield from programs_of("cells", monkeypatch)


@pytest.fixture
def article(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/article`."""
    yield from programs_of("article", monkeypatch)


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


@clause("rnn-36", "rnn-17")
def test_a_critic_with_a_gradient_penalty(nn: Any, programs: Callable[[str], Any]) -> None:
    gan = programs("gan")
    before = gan.invented(nn, gan.learn(nn, 0)[0])
    generator, distances, missed = gan.learn(nn, 50)
    # Slopes of length 1 are what the second derivative is for: they were near 0 at first.
    assert missed[0] > 0.5
    assert max(missed[-20:]) < 0.2, f"slopes miss 1 by {max(missed[-20:])}, squared"
    # The critic tells both kinds apart, and the generator follows.
    assert max(distances) > 1
    assert distances[-1] < max(distances)
    after = gan.invented(nn, generator)
    assert gan.rhythm(after)[1] > gan.rhythm(before)[1]


@clause("rnn-36")
def test_a_forecast_of_what_comes_next(nn: Any, programs: Callable[[str], Any]) -> None:
    forecast = programs("forecast")
    model, losses = forecast.learn(nn, 100)
    assert losses[-1] < losses[0] / 3
    said = forecast.next_years(nn, model)
    error, *others = forecast.errors(said).values()
    assert error < 0.75 * min(others), f"{error} and {others}"
    # The next year is the first of those that follow.
    year = forecast.LAST + 5
    alone = np.float32(forecast.onward(nn, model, year, 1))
    agrees(nn, alone, said[5:6], "rnn", dtype="float32")


@clause("rnn-51", "ops-54")
@pytest.mark.parametrize("name", ["MinGRU", "SRU", "QRNN"])
def test_layers_of_a_linear_recurrence(nn: Any, cells: Callable[[str], Any], name: str) -> None:
    parallel = cells("parallel")
    (model, _), losses = parallel.learn(nn, name, 80)
    assert losses[-1] < losses[0] / 5, f"{name}: the loss went from {losses[0]} to {losses[-1]}"
    x = nn.tensor(parallel.averages(1000, steps=9, batch=2)[0])
    first = nn.tensor(normal((2, parallel.HIDDEN), "float32"))
    with nn.no_grad():
        whole, last = model(x, first)
        a, b, beside = model.gates(x)
        state, outputs = first, []
        for t in range(9):
            state = a[t] * state + b[t]
            outputs.append(to_numpy(nn, model.out(state, [part[t] for part in beside])))
    agrees(nn, whole, np.stack(outputs), "rnn", dtype="float32")
    agrees(nn, last, to_numpy(nn, state), "rnn", dtype="float32")


@clause("rnn-51", "rnn-40")
def test_a_convolutional_lstm(nn: Any, cells: Callable[[str], Any]) -> None:
    program = cells("convolutional")
    (cell, head), losses = program.learn(nn, 60)
    assert losses[-1] < losses[0] / 3, f"the loss went from {losses[0]} to {losses[-1]}"
    film = nn.tensor(program.bars(1000)[:4])
    got = program.predicted(nn, (cell, head), film)
    zeros = nn.zeros((*film.shape[1:4], program.HIDDEN))
    state, outputs = (zeros, zeros), []
    for t in range(4):
        state = cell(film[t], state)
        outputs.append(to_numpy(nn, head(state[0]).detach()))
    agrees(nn, got.detach(), np.stack(outputs), "rnn", dtype="float32")


@clause("rnn-23", "rnn-08", "rnn-11")
def test_the_article_grows_into_the_lstm(nn: Any, article: Callable[[str], Any]) -> None:
    grown = article("grown")
    cells = {}
    for name, kind in grown.define(nn).items():
        nn.manual_seed(0)
        cells[name] = kind(grown.INPUTS, grown.HIDDEN)
    assert grown.largest(nn, cells["Article"], 3) > 1e6
    assert grown.largest(nn, cells["Bounded"], 3) <= 1
    for name, fades in (("Bounded", True), ("Added", False), ("Forgotten", True)):
        left = grown.slopes(nn, cells[name])[0]
        assert left < 1e-9 if fades else left > 1e-2, f"{name}: {left}"
    ours, theirs = grown.same(nn, cells["Opened"])
    agrees(nn, ours, to_numpy(nn, theirs), "rnn", dtype="float32")


@clause("rnn-51", "rnn-23", "rnn-40")
def test_the_cell_of_the_article_under_unroll(nn: Any, article: Callable[[str], Any]) -> None:
    nn.manual_seed(0)
    cell = article("rnn").define(nn).RNNCell(3, 4)
    x, first = normal((5, 2, 3), "float32"), nn.tensor(normal((2, 4), "float32", seed=1))
    found = []
    for unrolled in (True, False):
        cell.zero_grad()
        leaf = tensor(nn, x)
        output = (
            nn.rnn.unroll(cell, leaf, first)[0] if unrolled else loop(nn, cell, leaf, first)[0][0]
        )
        nn.ops.sum(output * output).backward()
        slopes = [leaf.grad, *[p.grad for p in cell.parameters()]]
        found.append([to_numpy(nn, part) for part in (output.detach(), *slopes)])
    for got, want in zip(*found, strict=True):
        agrees(nn, got, want, "rnn", dtype="float32")
