"""Ratios, spreads and efficiency, of numbers whose results are known."""

import pytest

from benchmarks.arithmetic import (
    Spread,
    efficiency,
    exponent,
    geometric_mean,
    ratio,
    spread,
    times_linear,
)
from spec_tests.compare.verdicts import in_digits


def test_spread():
    assert spread([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert spread([7.0]) == Spread(7.0, 7.0, 7.0)
    with pytest.raises(ValueError, match="at least one"):
        spread([])


def test_a_slow_round_meets_both_and_leaves_the_ratio():
    ours = [1.0, 1.0, 50.0, 1.0, 1.0]
    peer = [2.0, 2.0, 100.0, 2.0, 2.0]
    assert ratio(peer, ours) == Spread(2.0, 2.0, 2.0)


def test_a_ratio_above_one_is_faster_than_the_peer():
    assert ratio([3.0] * 3, [1.0] * 3).median == 3.0


def test_rounds_that_one_did_not_play_do_not_count():
    assert ratio([2.0, 2.0], [1.0, 1.0, 100.0]).median == 2.0


def test_efficiency_is_one_at_the_rate_of_the_gauge():
    assert efficiency(1e9, [1e11, 5e10], [0.01, 0.02]) == Spread(1.0, 1.0, 1.0)
    assert efficiency(1e9, [1e11] * 3, [0.02] * 3).median == pytest.approx(0.5)


def test_geometric_mean_of_a_ratio_and_its_inverse_is_one():
    assert geometric_mean([4.0, 0.25]) == pytest.approx(1.0)
    assert geometric_mean([2.0, 8.0]) == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("value", "text"),
    [(36440.2, "36440"), (1000, "1000"), (999.96, "1000"), (0.01234567, "0.01235")],
)
def test_numbers_have_no_exponent(value, text):
    assert in_digits(value) == text


def test_growth():
    assert times_linear([64, 128, 256], [1.0, 2.0, 4.0]) == pytest.approx(1.0)
    assert times_linear([64, 256], [1.0, 16.0]) == pytest.approx(4.0)
    assert times_linear([64, 256], [1.0, 1.0]) == pytest.approx(0.25)


@pytest.mark.parametrize("power", [0.5, 1.0, 1.37])
def test_the_power_of_what_grows_beside_what_is_always_there(power):
    sizes = (64, 256, 1024, 4096)
    for always in (0.0, 3.0):
        assert exponent(sizes, [always + 0.2 * size**power for size in sizes]) == power
