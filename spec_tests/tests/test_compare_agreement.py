"""The comparison's arithmetic: a wrong curve is flagged, a right one is not."""

import numpy as np
import pytest

from spec_tests.compare.agreement import (
    allowance,
    first_divergence,
    relative_difference,
    ulp_distance,
    ulp_summary,
)
from spec_tests.compare.findings import UlpSummary

EPS = float(np.finfo(np.float32).eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_neighbours_are_one_ulp_apart(dtype):
    numbers = np.array([1.0, -1.0, 0.0, 1e-30, -3.5e7], dtype)
    above = np.nextafter(numbers, np.array(np.inf, dtype))
    assert ulp_distance(numbers, above).tolist() == [1] * 5
    assert ulp_distance(above, numbers).tolist() == [1] * 5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ulp_distance_counts_across_zero(dtype):
    tiny = np.finfo(dtype).smallest_subnormal
    a = np.array([-tiny, 0.0, -0.0, -2 * tiny], dtype)
    b = np.array([tiny, -0.0, 0.0, tiny], dtype)
    assert ulp_distance(a, b).tolist() == [2, 0, 0, 3]


def test_ulp_distance_of_the_farthest_float64s_does_not_overflow():
    largest = np.array([np.finfo(np.float64).max])
    assert int(ulp_distance(largest, -largest)[0]) == 2 * 0x7FEFFFFFFFFFFFFF


def test_one_binade_has_as_many_ulps_as_the_mantissa_has_values():
    assert int(ulp_distance(np.float32([1.0]), np.float32([2.0]))[0]) == 2**23


def test_ulp_distance_refuses_arrays_that_are_not_alike():
    with pytest.raises(ValueError, match=r"float32 \(2,\) and float64 \(2,\)"):
        ulp_distance(np.zeros(2, np.float32), np.zeros(2))


def test_ulp_summary():
    a = {"weight": np.float32([1.0, 2.0]), "bias": np.float32([0.5])}
    b = {"weight": np.nextafter(a["weight"], np.float32(9)), "bias": a["bias"]}
    assert ulp_summary(a, a) == UlpSummary(0, 0.0, identical=True)
    assert ulp_summary(a, b) == UlpSummary(1, 1.0, identical=False)
    nothing = UlpSummary(None, None, identical=False)
    assert ulp_summary(a, {"weight": a["weight"]}) == nothing
    assert ulp_summary(a, {**a, "bias": np.float32([0.5, 0.5])}) == nothing


def test_signed_zeros_are_not_identical():
    summary = ulp_summary({"bias": np.float32([0.0])}, {"bias": np.float32([-0.0])})
    assert summary == UlpSummary(0, 0.0, identical=False)


def curves(steps=200, shadows=6):
    """Return a falling loss, and shadows whose distance to it grows as rounding's does."""
    generator = np.random.default_rng(0)
    step = np.arange(steps)
    reference = 2.3 * np.exp(-step / 60) + 0.05

    def strayed():
        walk = np.cumsum(generator.normal(size=steps)) * EPS
        return reference + walk * np.exp(step / 80)

    return reference, np.stack([strayed() for _ in range(shadows)]), strayed


def test_curves_that_differ_by_rounding_never_leave():
    reference, shadows, strayed = curves()
    allowed = allowance(reference, shadows)
    for _ in range(50):
        step, share = first_divergence(strayed(), reference, allowed)
        assert step is None
        assert 0 < share <= 1


def test_a_curve_that_is_wrong_from_a_step_on_leaves_there():
    reference, shadows, strayed = curves()
    allowed = allowance(reference, shadows)
    wrong = strayed()
    wrong[120:] += 1.01 * allowed[120:] + 4e-4
    step, share = first_divergence(wrong, reference, allowed)
    assert step == 121
    assert share > 1


def test_a_loss_that_is_no_number_leaves():
    reference, shadows, strayed = curves()
    wrong = strayed()
    wrong[7] = np.nan
    step, share = first_divergence(wrong, reference, allowance(reference, shadows))
    assert (step, share) == (8, np.inf)


def test_the_allowance_never_forgets_and_has_a_floor():
    reference, shadows, _ = curves()
    shadows[:, 50:] = reference[50:]
    allowed = allowance(reference, shadows)
    seen = np.abs(shadows - reference).max()
    np.testing.assert_allclose(allowed[50:], 4 * seen + 16 * EPS * reference[50:], rtol=1e-12)
    np.testing.assert_array_equal(
        allowance(reference, np.tile(reference, (2, 1))), 16 * EPS * reference
    )


def test_relative_difference():
    a = np.array([1.0, -2.0, 0.0])
    assert relative_difference(a, a) == 0
    assert relative_difference(a, np.array([1.0, -2.5, 0.0])) == 0.2
    assert relative_difference(a, np.array([1.0, np.nan, 0.0])) == np.inf
