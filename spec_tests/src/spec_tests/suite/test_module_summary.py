"""The chapter ``module``: the summary of a Module."""

import pickle
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, to_numpy


def network(nn: Any) -> Any:
    """Return a Module with a shared Parameter, Dropout, and a part that is not called."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(nn.ones((2,)))
            self.body = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.5))
            self.twin = nn.Linear(3, 2)
            self.twin.weight = self.body[0].weight
            self.rnn = nn.GRU(2, 4)
            self.rest = nn.Identity()
            self.fails = False

        def forward(self, x: Any) -> Any:
            if self.fails:
                msg = "mine"
                raise LookupError(msg)
            output, state = self.rnn((self.body(x) + self.twin(x)) * self.scale)
            return {"output": output, "state": state}

    module = Network()
    module.twin.bias.requires_grad_(False)
    return module


@clause("module-28")
def test_the_rows_of_a_summary(nn: Any) -> None:
    module = network(nn)
    module.body.eval()
    flags = [part.training for part in module.modules()]
    nn.manual_seed(3)
    state = to_numpy(nn, nn.get_rng_state()).copy()
    summary = nn.summary(module, nn.zeros((5, 2, 3)))
    gru = 3 * 4 * (2 + 4 + 2)
    assert [tuple(row) for row in summary.rows] == [
        ("", "Network", None, 2),
        ("body", "Sequential", (5, 2, 2), 0),
        ("body.0", "Linear", (5, 2, 2), 8),
        ("body.1", "Dropout", (5, 2, 2), 0),
        ("twin", "Linear", (5, 2, 2), 2),
        ("rnn", "GRU", ((5, 2, 4), (1, 2, 4)), gru),
        ("rest", "Identity", None, 0),
    ]
    row = summary.rows[2]
    assert (row.name, row.kind, row.output_shape, row.parameters) == tuple(row)
    assert summary.total_parameters == 12 + gru
    assert summary.trainable_parameters == 10 + gru
    assert [part.training for part in module.modules()] == flags
    exactly(nn, nn.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in module.parameters())


@clause("module-28")
def test_a_summary_reads_as_a_table(nn: Any) -> None:
    summary = nn.summary(network(nn), nn.zeros((5, 2, 3)))
    lines = str(summary).splitlines()
    for row in summary.rows:
        wanted = [row.name, row.kind, str(row.parameters)]
        wanted += [str(row.output_shape)] if row.output_shape else []
        assert any(all(text in line for text in wanted) for line in lines), row
    for total in (summary.total_parameters, summary.trainable_parameters):
        assert any(str(total) in line.replace(",", "") for line in lines), total


@clause("module-28")
def test_a_summary_without_inputs_and_of_several_calls(nn: Any) -> None:
    layer = nn.Linear(3, 3)
    summary = nn.summary(layer)
    assert [tuple(row) for row in summary.rows] == [("", "Linear", None, 12)]
    twice = nn.Sequential(layer, nn.Flatten(0), nn.Identity())
    twice.add_module("again", twice[2])
    seen: list[Any] = []
    layer.register_forward_hook(
        lambda owner, args, output: seen.append((output.requires_grad, owner.training))
    )
    summary = nn.summary(twice, np.ones((2, 3), np.float32))
    rows = [tuple(row) for row in summary.rows]
    assert rows[1:] == [
        ("0", "Linear", (2, 3), 12),
        ("1", "Flatten", (6,), 0),
        ("2", "Identity", (6,), 0),
    ]
    assert seen == [(False, False)]
    twice(nn.ones((2, 3)))
    assert len(seen) == 2
    assert nn.summary(nn.ReLU()).total_parameters == 0
    # A hook of the summary's own that stayed could not be pickled.
    plain = nn.Sequential(nn.Linear(3, 2), nn.Tanh())
    nn.summary(plain, nn.ones((2, 3)))
    exactly(nn, pickle.loads(pickle.dumps(plain))[0].bias, to_numpy(nn, plain[0].bias))


@clause("module-28", "errors-06")
def test_a_summary_that_fails_leaves_the_module(nn: Any) -> None:
    module = network(nn)
    module.fails = True
    with pytest.raises(LookupError, match="mine"):
        nn.summary(module, nn.zeros((5, 2, 3)))
    assert all(part.training for part in module.modules())
    assert nn.is_grad_enabled()
    for wrong in (3, None, nn.Linear):
        with refuses(TypeError, "summary", (type(wrong).__name__, str(wrong), "Linear")):
            nn.summary(wrong)
