"""Each tolerance is tight, and what is no agreement is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from spec_tests.judge.clauses import tolerances
from spec_tests.support.assertions import (
    agrees,
    exactly,
    forget_ratios,
    largest_ratios,
    refuses,
    to_numpy,
)

NN = SimpleNamespace(Tensor=type("Tensor", (), {}))
FIGURES = [
    (name, dtype, tolerance)
    for name, columns in tolerances().items()
    for dtype, tolerance in columns.items()
    if tolerance
]
REFERENCE = np.random.default_rng(0).normal(size=(4, 5))


def off_by(times, tolerance, dtype):
    """Return the reference with one element wrong by so many times what it is allowed."""
    reference = REFERENCE.astype(dtype).astype(np.float64)
    got = reference.copy()
    place = np.unravel_index(np.argmin(np.abs(reference)), reference.shape)
    got[place] += times * tolerance * (np.abs(reference[place]) + np.abs(reference).max())
    return got.astype(dtype), reference


def test_every_class_has_figures():
    assert {name for name, _, _ in FIGURES} | {"exact"} == set(tolerances())
    assert len(FIGURES) == 2 * 7 + 1


@pytest.mark.parametrize(("name", "dtype", "tolerance"), FIGURES)
def test_ten_times_the_tolerance_is_caught(name, dtype, tolerance):
    got, reference = off_by(10, tolerance, dtype)
    with pytest.raises(AssertionError, match="times the tolerance; 1 of 20 elements"):
        agrees(NN, got, reference, name, dtype=dtype)


@pytest.mark.parametrize(("name", "dtype", "tolerance"), FIGURES)
def test_half_the_tolerance_passes(name, dtype, tolerance):
    got, reference = off_by(0.5, tolerance, dtype)
    agrees(NN, got, reference, name, dtype=dtype)


def test_the_largest_error_is_that_of_what_agreed():
    forget_ratios()
    tolerance = tolerances()["gradient"]["float64"]
    for times in (0.25, 0.5, 10):
        got, reference = off_by(times, tolerance, "float64")
        if times < 1:
            agrees(NN, got, reference, "gradient", dtype="float64")
        else:
            with pytest.raises(AssertionError) as caught:
                agrees(NN, got, reference, "gradient", dtype="float64")
    assert caught.value.ratio == pytest.approx(10, rel=0.2)
    assert largest_ratios() == {"gradient": {"float64": pytest.approx(0.5, rel=0.2)}}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_exact_is_exact(dtype):
    reference = REFERENCE.astype(dtype)
    got = reference.copy()
    exactly(NN, got, reference)
    got[2, 3] = np.nextafter(got[2, 3], np.inf, dtype=dtype)
    with pytest.raises(AssertionError, match=r"index \(2, 3\): beyond any tolerance; 1 of 20"):
        exactly(NN, got, reference)


def test_a_class_without_a_figure():
    with pytest.raises(AssertionError, match="difference has no figure for float32"):
        agrees(NN, np.ones(2, "float32"), np.ones(2), "difference", dtype="float32")


@pytest.mark.parametrize(
    ("got", "want", "fault"),
    [
        (np.ones((2, 1)), np.ones(2), r"shape \(2, 1\) but should be \(2,\)"),
        (np.ones(2, "float32"), np.ones(2), "dtype float32 but should be float64"),
        (np.ones(2), np.ones(2, "int64"), "dtype float64 but should be int64"),
        (np.array([1, 3]), np.array([1, 2]), "got 3 but should be 2"),
        (np.array([True]), np.array([False]), "got True but should be False"),
        (np.array([np.nan, 1.0]), np.array([1.0, 1.0]), "got nan but should be 1.0"),
        (np.array([1.0]), np.array([np.nan]), "got 1.0 but should be nan"),
        (np.array([np.inf]), np.array([-np.inf]), "got inf but should be -inf"),
        (np.array([1e300]), np.array([np.inf]), r"got 1e\+300 but should be inf"),
        (np.array([1e-300]), np.array([0.0]), "but should be 0.0"),
        (None, np.ones(2), "got None"),
    ],
)
def test_what_does_not_agree(got, want, fault):
    with pytest.raises(AssertionError, match=fault):
        agrees(NN, got, want, "rnn")


def test_what_agrees():
    agrees(NN, np.array([np.nan, np.inf, -np.inf, 1.0]), [np.nan, np.inf, -np.inf, 1.0], "rnn")
    agrees(NN, np.zeros((0, 3)), np.zeros((0, 3)), "elementwise")
    agrees(NN, 2.0, 2.0, "elementwise", dtype="float32")
    exactly(NN, 3, 3)
    exactly(NN, np.array([-0.0]), np.array([0.0]))


def test_the_scale_is_that_of_the_array():
    # One element near zero among large ones is measured by the large ones.
    agrees(NN, np.array([1e-15, 100.0]), np.array([0.0, 100.0]), "elementwise")
    with pytest.raises(AssertionError):
        agrees(NN, np.array([1e-15, 0.1]), np.array([0.0, 0.1]), "elementwise")


def test_to_numpy():
    assert to_numpy(NN, 2.5).shape == ()
    assert to_numpy(NN, [[1, 2]]).shape == (1, 2)


def test_refuses_what_it_should():
    with refuses(ValueError, "linear", "(2, 3)", 5) as caught:
        msg = "Linear: got (2, 3), wanted 5"
        raise ValueError(msg)
    assert caught.message == "Linear: got (2, 3), wanted 5"
    with refuses((ValueError, KeyError), ("weight", "bias")):
        msg = "no parameter 'bias'"
        raise KeyError(msg)


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (None, "got no exception but should be ValueError"),
        (TypeError("Linear"), "got TypeError.* but should be ValueError"),
        (ValueError(""), "should say what is wrong"),
        (ValueError("Linear: two\nlines"), "should be one line"),
        (ValueError("Linear: wrong shape"), "should contain '7'"),
    ],
)
def test_refuses_what_it_should_not(error, fault):
    def block():
        with refuses(ValueError, "linear", 7):
            if error is not None:
                raise error

    with pytest.raises(AssertionError, match=fault):
        block()
