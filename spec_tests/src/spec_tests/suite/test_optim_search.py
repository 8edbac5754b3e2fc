"""The chapter ``optim``: each constant of LBFGS and of its line search, told apart by a script.

The closure of one parameter returns values and slopes that are written down here, call by call, so
that a trial lands where only the constant that is asked for puts it. It starts at 0 with the value
0 and the slope -1, so that the direction is 1, and a trial's place is its t.
"""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import to_numpy

START = (0.0, -1.0)


def walked(nn: Any, script: list[tuple[float, float]], calls: int, **options: Any) -> Any:
    """Return where a step calls its closure, and the optimizer; the last of a script stays.

    There are at most so many calls: one before the search, and a trial more than are counted.
    """
    p = nn.Parameter(nn.zeros((1,), dtype=nn.float64))
    given: dict[str, Any] = {"max_iter": 1, "max_eval": calls - 1, "lr": 1.0}
    given |= {"line_search_fn": "strong_wolfe"} | options
    optimizer = nn.optim.LBFGS([p], **given)
    places: list[float] = []

    def closure() -> float:
        value, slope = [START, *script][min(len(places), len(script))]
        places.append(float(to_numpy(nn, p)[0]))
        p.grad = nn.tensor(np.array([slope]))
        return value

    optimizer.step(closure)
    return places, optimizer


@clause("optim-18")
def test_how_far_a_value_must_fall(nn: Any) -> None:
    """c1 = 1e-4: a value of -1.1e-4 at t = 1 is low enough, one of -0.9e-4 is not."""
    places, _ = walked(nn, [(-1.1e-4, 0.5)], 3)
    assert places == [0.0, 1.0]
    places, _ = walked(nn, [(-0.9e-4, 0.5)], 3)
    assert len(places) == 3
    assert 0 < places[2] < 1


@clause("optim-18")
def test_how_flat_a_slope_must_be(nn: Any) -> None:
    """c2 = 0.9, of either sign."""
    for slope, there in ((0.89, 2), (-0.89, 2), (0.91, 3), (-0.91, 3)):
        places, _ = walked(nn, [(-0.5, slope)], 3)
        assert len(places) == there, slope


@clause("optim-18")
def test_how_near_and_far_the_next_trial_is(nn: Any) -> None:
    """Of the cubic's least point, 0.41 and 50, it makes 1 + 0.01 (1 - 0) and 10 * 1."""
    places, _ = walked(nn, [(-0.3, -0.95), (-0.5, 0.0)], 3)
    assert places == pytest.approx([0.0, 1.0, 1.01], rel=1e-14)
    places, _ = walked(nn, [(-0.99, -0.98), (-2.0, 0.0)], 3)
    assert places == pytest.approx([0.0, 1.0, 10.0], rel=1e-14)
    # Where there is none it is the middle between both.
    places, _ = walked(nn, [(-0.98, -0.965), (-2.0, 0.0)], 3)
    assert places == pytest.approx([0.0, 1.0, 5.505], rel=1e-14)


@clause("optim-18")
def test_from_which_trial_on_a_higher_value_brackets(nn: Any) -> None:
    """At the second it does not (i = 1), at the third it does (i = 2)."""
    script = [(-0.3, -0.95), (-0.25, -0.95), (-0.2, -0.95), (-0.2, -0.95)]
    places, _ = walked(nn, script, 5)
    assert places[:3] == pytest.approx([0.0, 1.0, 1.01], rel=1e-14)
    assert places[3] > places[2]
    assert places[2] < places[4] < places[3]


@clause("optim-18")
def test_how_narrow_a_bracket_ends_the_search(nn: Any) -> None:
    """Below 1e-9, of the bracket times the largest of d."""
    for rate, calls in ((1.1e-9, 3), (1e-9, 3), (0.9e-9, 2)):
        places, _ = walked(nn, [(1.0, 1.0)], 3, lr=rate)
        assert len(places) == calls, rate


@clause("optim-18")
def test_how_far_off_an_end_a_trial_is(nn: Any) -> None:
    """A least point within a tenth of an end is tried once, the next is taken a tenth off it."""
    places, _ = walked(nn, [(100.0, 100.0), (50.0, 2e4)], 4)
    assert 0 < places[2] < 0.01
    assert places[3] == pytest.approx(0.1 * places[2], rel=1e-12)
    places, _ = walked(nn, [(-5.0, 0.95), (-4.0, -30.0)], 4)
    assert 0.95 < places[2] < 1
    assert places[3] == pytest.approx(1 - 0.1 * (1 - places[2]), rel=1e-12)


@clause("optim-17")
def test_how_curved_a_pair_must_be(nn: Any) -> None:
    """y s > 1e-10 keeps it."""
    for rise, kept in ((1.1e-10, 1), (0.9e-10, 0)):
        script = [(-1.0, -1.0 + rise), (-2.0, -0.5)]
        _, optimizer = walked(nn, script, 9, max_iter=2, line_search_fn=None)
        state = optimizer.state_dict()["state"][0]
        assert len(state["old_dirs"]) == len(state["ro"]) == kept, rise
