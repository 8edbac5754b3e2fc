"""Chapter rnn: what does not fit in `unroll`.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, to_numpy
from spec_tests.support.inputs import normal

T, N, I, H = 5, 3, 2, 4  # noqa: E741 - the letters of the chapter
MASK = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)


def changed(nn: Any, how: str, h: Any) -> Any:
    """Return a state that does not have the form of `h`."""
    if how == "shape":
        return nn.ops.concat([h, h], axis=0)
    if how == "dtype":
        return nn.ops.astype(h, nn.float64)
    return {"structure": (h, h), "nothing": (), "text": "state"}[how]


@clause("rnn-44")
@pytest.mark.parametrize("how", ["shape", "dtype", "structure", "nothing", "text"])
def test_a_state_that_changes_its_form(nn: Any, how: str) -> None:
    x, h = nn.tensor(normal((T, N, I), "float32")), nn.tensor(normal((N, H), "float32"))
    with refuses((ValueError, TypeError), "unroll", "state"):
        nn.rnn.unroll(lambda x, h: changed(nn, how, h), x, h)


@clause("rnn-44", "rnn-34", "rnn-38")
def test_what_does_not_fit(nn: Any) -> None:
    unroll, cell = nn.rnn.unroll, nn.GRUCell(I, H)
    x, h = nn.tensor(normal((T, N, I), "float32")), nn.tensor(normal((N, H), "float32"))
    with refuses(TypeError, "unroll", "cell", ("int", "3")):
        unroll(3, x, h)
    with refuses(TypeError, "unroll", "inputs", ("str", "text")):
        unroll(cell, "text", h)
    with refuses(ValueError, "unroll", "inputs", "()"):
        unroll(lambda x, h: h, nn.tensor(np.float32(1)), h)
    with refuses(ValueError, "unroll", "inputs", "5", "4"):
        unroll(lambda x, h: h, (x, x[:4]), h)
    with refuses(TypeError, "unroll", "state", ("str", "text")):
        unroll(cell, x, "text")
    for bad in (0, -1, "half"):
        with refuses(ValueError, "unroll", "checkpoint", bad):
            unroll(cell, x, h, checkpoint=bad)
    for wrong in (True, 1.5, [2]):
        with refuses(TypeError, "unroll", "checkpoint", (type(wrong).__name__, str(wrong))):
            unroll(cell, x, h, checkpoint=wrong)
    with refuses(ValueError, "unroll", "state"):
        unroll(lambda x, h: h, x[:0])
    with refuses(ValueError, "unroll", "lengths", "(3,)", "(2,)"):
        unroll(cell, x, h, lengths=[1, 2])
    with refuses(ValueError, "unroll", "lengths", 6):
        unroll(cell, x, h, lengths=[1, 2, 6])
    with refuses(TypeError, "unroll", "lengths"):
        unroll(cell, x, h, lengths=[0.5, 1, 2])
    with refuses(ValueError, "unroll", "reset_mask"):
        unroll(cell, x, h, reset_mask=MASK[:2])
    with refuses(TypeError, "unroll", "reset_mask"):
        unroll(cell, x, h, reset_mask=MASK.astype(int))
    for options in ({"lengths": [1, 2, 3]}, {"reset_mask": MASK}):
        for wrong_state in (h[:1], h[0, 0]):
            with refuses(ValueError, "unroll", "state", "3", str(tuple(wrong_state.shape))):
                unroll(lambda x, h: h, x, wrong_state, **options)
    with refuses(ValueError, "unroll", "state", "3", "(1, 4)"):
        unroll(lambda x, h: h, x[:0], h[:1], lengths=[0, 0, 0])
    with refuses(ValueError, "unroll", "reset_state"):
        unroll(cell, x, h, reset_state=h)
    with refuses(ValueError, "unroll", "reset_state"):
        unroll(cell, x, h, reset_mask=MASK, reset_state=h[:2])
    for no_state in ("text", [h, "text"], ()):
        with refuses((ValueError, TypeError), "unroll", "reset_state"):
            unroll(cell, x, h, reset_mask=MASK, reset_state=no_state)


@clause("rnn-44")
@pytest.mark.parametrize("how", ["shape", "structure", "text"])
def test_an_output_that_changes_its_form(nn: Any, how: str) -> None:
    seen = []

    class Cell(nn.Module):
        def forward(self, x: Any, h: Any) -> Any:
            return h + 1

        def output(self, h: Any) -> Any:
            seen.append(h)
            return h if len(seen) < T else changed(nn, how, h)

    x, h = nn.tensor(normal((T, N, I), "float32")), nn.zeros((N, H))
    refusal = ""
    try:
        nn.rnn.unroll(Cell(), x, h)
    except (ValueError, TypeError) as error:
        refusal = str(error)
    if refusal or len(seen) == T:  # Where steps are compiled it runs as often as they are traced.
        assert "unroll" in refusal, f"the last output should be refused, got {refusal!r}"


@clause("rnn-40", "rnn-44")
@pytest.mark.parametrize("how", ["text", "in a pair"])
def test_an_output_that_is_no_tensor(nn: Any, how: str) -> None:
    class Cell(nn.Module):
        def forward(self, x: Any, h: Any) -> Any:
            return h + 1

        def output(self, h: Any) -> Any:
            return "text" if how == "text" else (h, "text")

    x, h = nn.tensor(normal((T, N, I), "float32")), nn.zeros((N, H))
    with refuses((ValueError, TypeError), "unroll", "output"):
        nn.rnn.unroll(Cell(), x, h)


@clause("rnn-40")
@pytest.mark.parametrize("part", ["project", "step"])
def test_a_cell_with_one_of_the_two_parts_is_called(nn: Any, part: str) -> None:
    class Cell(nn.Module):
        def forward(self, x: Any, h: Any) -> Any:
            return h + x

    setattr(Cell, part, lambda self, *given: pytest.fail(f"{part} should not be called"))
    x, h = (nn.tensor(np.arange(k, dtype="float32").reshape(-1, 2, 2)) for k in (12, 4))
    output, last = nn.rnn.unroll(Cell(), x, h[0])
    exactly(nn, output, np.cumsum(to_numpy(nn, x), 0) + to_numpy(nn, h))
    exactly(nn, last, to_numpy(nn, output)[-1])
