"""The chapter ``nn``: the programs of `examples/training`."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, to_numpy
from spec_tests.support.programs import programs_of


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Import the programs of `examples/training`."""
    yield from programs_of("training", monkeypatch)


@clause("nn-35", "nn-17", "nn-21", "nn-26", "serialization-14", "data-01")
def test_digits_stopped_and_resumed(
    nn: Any, programs: Callable[[str], Any], tmp_path: Path
) -> None:
    digits = programs("digits")
    through = digits.Training(nn, epochs=3)
    while not through.done:
        through.run_epoch()
    assert through.best > 0.8, f"{through.best:.0%} of the held-out digits are found"
    assert np.mean(through.losses[-5:]) < 0.5 * np.mean(through.losses[:5])
    stopped = digits.Training(nn, epochs=3)
    stopped.run_epoch()
    stopped.save(tmp_path / "digits.safetensors")
    resumed = digits.Training(nn, epochs=3, seed=0)
    resumed.load(tmp_path / "digits.safetensors")
    while not resumed.done:
        resumed.run_epoch()
    assert resumed.losses == through.losses
    for name, tensor in through.model.state_dict().items():
        exactly(nn, resumed.model.state_dict()[name], to_numpy(nn, tensor), call=name)


@clause("nn-35", "nn-24", "nn-32")
def test_a_transformer_block_learns(nn: Any, programs: Callable[[str], Any]) -> None:
    block = programs("block")
    text = block.Text()
    model, losses = block.learn(nn, text, 40)
    assert losses[-1] < 0.75 * losses[0], f"the loss went from {losses[0]} to {losses[-1]}"
    read, _ = text.windows(1000)
    whole = to_numpy(nn, model(nn.tensor(read)).detach())
    # What stands later is not looked at: a change there changes nothing before.
    changed = read.copy()
    changed[:, 20:] = 0
    got = to_numpy(nn, model(nn.tensor(changed)).detach())
    agrees(nn, got[:, :20], whole[:, :20], "rnn", dtype="float32")
    assert len(block.written(nn, model, text, "The ", 4)) == 8
