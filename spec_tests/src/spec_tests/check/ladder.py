"""Slopes of a curve over a geometric ladder of steps: nobody chooses a step.

Central differences at steps that shrink by a factor of 4 are extrapolated to step 0 by pairs
(Richardson, 1911). Where rounding takes over, neighbours on the ladder part; where the curve bends,
they part too. Between the two they agree, and how well they agree is the error, per element
(Ridders, Advances in Engineering Software 4, 1982).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Curve = Callable[[float], np.ndarray]

_RATIO, _RUNGS = 4.0, 10
# A slope whose neighbours on the ladder differ by more than this part of the largest is no slope.
_APART = 1e-2
_KINK = 1e-2


@dataclass(frozen=True)
class Slopes:
    """Derivatives at 0 of a curve's elements.

    Attributes
    ----------
    values, errors : numpy.ndarray
        The derivatives, and by how much they may be off.
    kinked : numpy.ndarray of bool
        Where the slopes from both sides differ, so that there is no derivative.
    """

    values: np.ndarray
    errors: np.ndarray
    kinked: np.ndarray

    @property
    def scattered(self) -> np.ndarray:
        """Where the differences agree at no step: the curve has no slope that can be found."""
        scale = float(np.max(np.abs(self.values[np.isfinite(self.values)]), initial=0.0))
        return ~(self.errors <= _APART * (np.abs(self.values) + scale) + 1e-9)


def slopes(curve: Curve, rungs: int = _RUNGS) -> Slopes:
    """Differentiate a curve at 0.

    Parameters
    ----------
    curve : callable
        Takes a step, returns an array. What it cannot return at a step is NaN there.
    rungs : int
        How many steps there are: 1/4, 1/16, ...
    """
    steps = _RATIO ** -np.arange(1.0, rungs + 1)
    middle = np.asarray(curve(0.0), np.float64)
    above, below = (np.stack([_at(curve, s * t, middle) for t in steps]) for s in (1.0, -1.0))
    widths = steps.reshape((-1,) + (1,) * middle.ndim)
    with np.errstate(all="ignore"):
        central = (above - below) / (2 * widths)
        limits = (_RATIO**2 * central[1:] - central[:-1]) / (_RATIO**2 - 1)
        moves = np.abs(limits[1:] - limits[:-1])
        # Two neighbours may agree by chance; three in a row do not.
        spread = np.nan_to_num(np.maximum(moves[1:], moves[:-1]), nan=np.inf)
        sides = np.abs(above + below - 2 * middle) / widths
    best = np.argmin(spread, axis=0)[None]
    values, errors = _pick(limits[1:], best), _pick(spread, best)
    # A bend halves and halves again with the step; a kink stays.
    kinks, later = _pick(sides[1:], best), _pick(sides[2:], best)
    noise = 8 * np.finfo(np.float64).eps * np.abs(middle) / _pick(widths[2:] + 0 * spread[:1], best)
    scale = np.abs(values) + errors
    kinked = (later > _KINK * (scale + 1e-9) + noise) & (later > 0.6 * kinks)
    return Slopes(values, np.where(np.isfinite(values), errors, np.inf), kinked)


def order(curve: Curve, slope: np.ndarray) -> float:
    """Return the order of the remainder ``|f(t) - f(0) - t f'(0)|`` over the ladder.

    It is 2 or more where the slope is right, 1 where it is not, and infinite where the remainder is
    rounding from the first step.
    """
    steps = _RATIO ** -np.arange(1.0, _RUNGS + 1)
    middle = np.asarray(curve(0.0), np.float64)
    values = [_at(curve, t, middle) for t in steps]
    with np.errstate(all="ignore"):
        rest = np.array(
            [np.sum(np.abs(f - middle - t * slope)) for f, t in zip(values, steps, strict=True)]
        )
        floor = 64 * np.finfo(np.float64).eps * (np.sum(np.abs(middle)) + np.sum(np.abs(slope)))
    usable = [k for k in range(1, len(rest)) if np.isfinite(rest[k - 1 : k + 1]).all()]
    usable = [k for k in usable if rest[k] > floor]
    if not usable:
        return float("inf")
    orders = [np.log(rest[k - 1] / rest[k]) / np.log(_RATIO) for k in usable]
    return float(np.median(orders[-3:]))


def _at(curve: Curve, step: float, middle: np.ndarray) -> np.ndarray:
    value = np.asarray(curve(step), np.float64)
    return value if value.shape == middle.shape else np.full_like(middle, np.nan)


def _pick(table: np.ndarray, best: np.ndarray) -> np.ndarray:
    return np.take_along_axis(np.asarray(table), best, axis=0)[0]
