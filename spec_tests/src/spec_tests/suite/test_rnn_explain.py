"""The chapter ``rnn``: which way layers and cells take."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.recurrent import applications

pytestmark = pytest.mark.sampled(6)

N, H = 3, 4
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
# Options of the constructor and arguments of the call.
CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "plain": ({}, ()),
    "without bias": ({"bias": False}, ()),
    "layers": ({"num_layers": 3, "dropout": 0.5}, ()),
    "directions": ({"num_layers": 2, "bidirectional": True}, ("lengths",)),
    "lengths": ({}, ("lengths",)),
    "resets": ({}, ("reset_mask",)),
    "resets to a state": ({"bidirectional": True}, ("lengths", "reset_mask", "reset_state")),
    "batch first": ({"batch_first": True}, ("lengths", "reset_mask")),
    "a projection": ({"proj_size": 2, "num_layers": 2}, ("lengths", "reset_mask")),
    "cell states": ({}, ("return_cell_states", "lengths")),
}


def explained(nn: Any, name: str, case: str, steps: int) -> tuple[Any, int]:
    """Return the row of a layer, and how many sequences it has run."""
    options, given = CASES[case]
    layer = getattr(nn, name)(H, H, **options)
    first = layer.batch_first
    mask = np.arange(steps * N).reshape(steps, N) % 3 == 1
    count = layer.num_layers * (1 + layer.bidirectional)
    h = nn.ones((count, N, options.get("proj_size", H)))
    known = {
        "lengths": [steps, 1, steps // 2],
        "reset_mask": mask.T if first else mask,
        "reset_state": (h, nn.ones((count, N, H))) if name == "LSTM" else h,
        "return_cell_states": True,
    }
    x = nn.ones((N, steps, H) if first else (steps, N, H))
    (row,) = nn.explain(layer, x, **{key: known[key] for key in given}).rows
    return row, count


@pytest.mark.sampled(8)
@clause("rnn-54", "module-30")
@pytest.mark.parametrize(
    ("name", "case"),
    [
        (name, case)
        for name in GATES
        for case in CASES
        if name == "LSTM" or case not in ("a projection", "cell states")
    ],
)
def test_a_layer_is_fused_with_every_option(
    nn: Any, name: str, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied = applications(getattr(nn.rnn, f"{name}Function"), monkeypatch)
    row, count = explained(nn, name, case, 6)
    assert len(applied) == count
    assert (row.kind, row.path, row.why) == (name, "fused", "")
    assert row.kernel
    assert row.nodes >= count
    longer, _ = explained(nn, name, case, 18)
    assert (longer.path, longer.nodes) == (row.path, row.nodes)


@clause("rnn-54")
@pytest.mark.parametrize("name", list(GATES))
def test_a_step_keeps_what_backward_needs(nn: Any, name: str) -> None:
    few, many = (explained(nn, name, "plain", steps)[0].kept for steps in (50, 150))
    arrays = (many - few) / 100 / (N * H * 4)
    assert 1 <= arrays <= 4 * GATES[name] + 6


@clause("rnn-54", "module-30")
@pytest.mark.parametrize("name", list(GATES))
def test_a_loop_over_a_cell_is_not_fused(nn: Any, name: str) -> None:
    plain: Any = getattr(nn, f"{name}Cell")

    class Own(plain):
        def step(self, *args: Any) -> Any:
            return super().step(*args)

    class Loop(nn.Module):
        def __init__(self, cell: Any) -> None:
            super().__init__()
            self.cell = cell

        def forward(self, x: Any) -> Any:
            return nn.rnn.unroll(self.cell, x)

    def counted(cell: Any, steps: int) -> tuple[str, int]:
        rows = nn.explain(Loop(cell), nn.ones((steps, N, H))).rows
        assert all(row.path != "none" for row in rows)
        return rows[0].path, sum(row.nodes for row in rows)

    (path, few), (_, many) = counted(Own(H, H), 4), counted(Own(H, H), 12)
    assert path in ("composed", "children")
    assert many - few >= 8
    (path, few), (_, many) = counted(plain(H, H), 4), counted(plain(H, H), 12)
    assert (path == "fused") == (few == many)
    (row,) = nn.explain(getattr(nn, f"{name}Cell")(H, H), nn.ones((N, H))).rows
    assert row.path in ("fused", "composed")
    assert (row.path == "fused") == (row.nodes == 1) == (row.why == "")
