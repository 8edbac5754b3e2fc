"""Chapter rnn: the first argument that is refused and the last that is not."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses
from spec_tests.support.inputs import normal

T, N, I, H = 5, 3, 2, 4  # noqa: E741 - the letters of the chapter


class Shortened:
    """A cell whose `project` returns another number of steps than came."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __call__(self, x: Any, state: Any) -> Any:
        return self.step(x, state)

    def project(self, inputs: Any) -> Any:
        return inputs[: self.steps]

    def step(self, projected: Any, state: Any) -> Any:
        return state + projected.sum()


@clause("rnn-44", "rnn-40")
@pytest.mark.parametrize("steps", [T - 1, 1, 0])
def test_project_has_a_row_for_each_step(nn: Any, steps: int) -> None:
    x, h = nn.tensor(normal((T, N, I), "float32")), nn.tensor(normal((N, H), "float32"))
    with refuses(ValueError, "unroll", "project", T, steps):
        nn.rnn.unroll(Shortened(steps), x, h)


@clause("rnn-40", "autograd-08")
def test_a_cell_that_records_a_part_alone(nn: Any) -> None:
    """``h^3 + x`` with the slope ``h^2``, of h = 1, 2, 9."""

    def cell(x: Any, h: Any) -> Any:
        with nn.no_grad():
            square = h * h
        return h * square + x

    h = nn.tensor([1.0], requires_grad=True)
    _, last = nn.rnn.unroll(cell, nn.ones((3, 1)), h)
    exactly(nn, last, np.array([730.0], "float32"))
    nn.ops.sum(last).backward()
    exactly(nn, h.grad, np.array([324.0], "float32"))


@clause("rnn-53", "rnn-52")
def test_a_projection_is_smaller_than_the_state(nn: Any) -> None:
    """`proj_size` is less than `hidden_size`, and 0 where there is no LSTM."""
    layer = nn.LSTM(I, H, proj_size=H - 1)
    state = {name: value.detach().numpy() for name, value in layer.state_dict().items()}
    moved = nn.rnn.convert(state, target="cudnn")
    said = {"cell": "LSTM", "input_size": I, "hidden_size": H}
    back = nn.rnn.convert(moved, "cudnn", **said, proj_size=H - 1)
    assert {name: value.shape for name, value in back.items()} == {
        name: value.shape for name, value in state.items()
    }
    # As wide as the state: `weight_ih`, `weight_hh`, `weight_hr` and the biases.
    flat = {"weights": np.zeros(4 * H * I + 4 * H * H + H * H + 8 * H, np.float32)}
    with refuses(ValueError, "convert", "proj_size", H):
        nn.rnn.convert(flat, "cudnn", **said, proj_size=H)


@clause("rnn-49")
@pytest.mark.parametrize("lacking", ["project", "step", "state_size"])
def test_cells_that_draw_want_whole_cells(nn: Any, lacking: str) -> None:
    class Part(nn.Module):
        """A cell without one thing that is wanted of it."""

        state_size = H

        def project(self, inputs: Any) -> Any:
            return inputs

        def step(self, projected: Any, state: Any) -> Any:
            return projected

    setattr(Part, lacking, None)
    for name in ("ZoneoutCell", "RecurrentDropoutCell"):
        with refuses(TypeError, name, "cell"):
            getattr(nn, name)(Part(), 0.5)


@clause("rnn-49")
def test_a_step_wants_what_project_returns(nn: Any) -> None:
    """Nothing else passes for the masks, be it as long as they are."""
    cell = nn.ZoneoutCell(nn.GRUCell(I, H), 0.5)
    h = nn.zeros((N, H))
    assert cell.step(cell.project(nn.ones((N, I))), h).shape == (N, H)
    inner = cell.cell.project(nn.ones((N, I)))
    for wrong in (inner, (inner,), (inner, nn.ones((1, N, H)))):
        with refuses((ValueError, TypeError), "ZoneoutCell", "project"):
            cell.step(wrong, h)
