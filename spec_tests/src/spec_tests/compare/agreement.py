"""How far apart curves and parameters of different implementations are."""

from __future__ import annotations

import numpy as np

from spec_tests.compare.findings import UlpSummary

__all__ = [
    "allowance",
    "first_divergence",
    "relative_difference",
    "ulp_distance",
    "ulp_summary",
]

FACTOR = 4
FLOOR = 16 * float(np.finfo(np.float32).eps)


def ulp_distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Count the steps from one floating number to the other, element by element.

    Two numbers next to each other in their dtype are 1 unit in the last place (ULP) apart; +0 and
    -0 are 0 apart. A NaN is as far from any number as its bits say.

    Parameters
    ----------
    a, b : ndarray, float32 or float64, of one shape and dtype

    Returns
    -------
    ndarray of uint64, the shape of a

    Raises
    ------
    ValueError
        If the shapes or the dtypes differ.
    """
    if a.shape != b.shape or a.dtype != b.dtype:
        msg = f"ulp_distance: got {a.dtype} {a.shape} and {b.dtype} {b.shape}, wanted two alike"
        raise ValueError(msg)
    ranks = _rank(a), _rank(b)
    return np.maximum(*ranks) - np.minimum(*ranks)


def _rank(x: np.ndarray) -> np.ndarray:
    """Return the place of each number among all floats of its dtype, both zeros alike."""
    bits = np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}").astype(np.uint64)
    sign = np.uint64(1 << (8 * x.dtype.itemsize - 1))
    return np.where(bits & sign, sign - (bits & ~sign), sign + bits)


def ulp_summary(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> UlpSummary:
    """Summarize the ULP distances between two sets of parameters.

    Parameters
    ----------
    a, b : dict of ndarray
        Parameters by name.

    Returns
    -------
    UlpSummary
        Over all elements of all parameters; identical if names, dtypes, shapes and bits are the
        same. Sets that cannot be compared have None for both numbers.
    """
    alike = a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and a[name].dtype == b[name].dtype for name in a
    )
    if not alike or not a:
        return UlpSummary(None, None, False)
    distances = np.concatenate([ulp_distance(a[name], b[name]).ravel() for name in a])
    identical = all(a[name].tobytes() == b[name].tobytes() for name in a)
    median = float(np.median(distances))
    return UlpSummary(int(distances.max()), median, identical)


def allowance(reference: np.ndarray, shadows: np.ndarray) -> np.ndarray:
    """Return how far a float32 curve may be from the reference, step by step.

    At step t it is ``4 max |shadow - reference| + 16 eps |reference|``, eps = 2**-23, the maximum
    taken over all shadows and all steps up to t: four times what rounding alone was seen to do.

    Parameters
    ----------
    reference : ndarray, shape (steps,)
    shadows : ndarray, shape (shadows, steps)

    Returns
    -------
    ndarray, shape (steps,)
    """
    strayed = np.abs(shadows - reference).max(axis=0)
    return FACTOR * np.maximum.accumulate(strayed) + FLOOR * np.abs(reference)


def first_divergence(
    losses: np.ndarray, reference: np.ndarray, allowed: np.ndarray
) -> tuple[int | None, float]:
    """Find where a curve leaves the reference by more than rounding.

    Parameters
    ----------
    losses, reference, allowed : ndarray, shape (steps,)
        `allowed` is what `allowance` gives.

    Returns
    -------
    step : int or None
        The first step, counted from 1, whose loss is farther from the reference than allowed, or
        is no number. None: there is no such step.
    share : float
        The largest part of the allowance that any step used; at most 1 if ``step`` is None.
    """
    distance = np.abs(losses - reference)
    outside = ~(distance <= allowed)
    share = float(np.max(np.where(np.isnan(distance), np.inf, distance) / allowed))
    return (int(outside.argmax()) + 1 if outside.any() else None), share


def relative_difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the largest ``|a - b| / max(|a|, |b|)``; infinite where one of them is no number."""
    size = np.maximum(np.abs(a), np.abs(b))
    distance = np.abs(a - b)
    ratio = np.divide(distance, size, out=np.zeros_like(distance), where=size > 0)
    finite = np.isfinite(a) & np.isfinite(b)
    return float(np.max(np.where(finite, ratio, np.inf), initial=0.0))
