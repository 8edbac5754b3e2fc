"""What is made of samples: spreads, ratios, efficiency, growth. Nothing here reads a clock."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = [
    "Spread",
    "efficiency",
    "exponent",
    "geometric_mean",
    "ratio",
    "spread",
    "times_linear",
]


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and their quartiles."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the quartiles.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not values:
        msg = "spread: wanted at least one value, got none"
        raise ValueError(msg)
    if len(values) == 1:
        return Spread(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(median, low, high)


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Spread:
    """Return the spread of the peer's samples over ours, round by round.

    Both took their turns in the same rounds, so that what slowed the machine down for a while is in
    both. Rounds that only one of them played do not count. Above 1 is faster than the peer.
    """
    return spread([a / b for a, b in zip(peer, ours, strict=False)])


def efficiency(flops: float, rates: Sequence[float], seconds: Sequence[float]) -> Spread:
    """Return the spread of t_min / t, where t_min = ``flops`` / rate, round by round.

    Parameters
    ----------
    flops : float
        What the products of the work need.
    rates : sequence of float
        Floating-point operations a second of one product by the best BLAS, in each round.
    seconds : sequence of float
        What the work took, in each round.
    """
    pairs = zip(rates, seconds, strict=False)
    return spread([flops / rate / second for rate, second in pairs])


def geometric_mean(values: Sequence[float]) -> float:
    """Return the mean of ratios: of 2 and 1/2 it is 1."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def times_linear(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return by how much the last time is above what linear growth from the first would give."""
    return (seconds[-1] / seconds[0]) / (sizes[-1] / sizes[0])


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the p, to two digits from 0.05 to 2, of the a + b size^p that fits the values best.

    ``a``, at least 0, is what there is at every size; errors count as parts of the values.
    """

    def missed(p: float) -> float:
        x = [size**p / value for size, value in zip(sizes, values, strict=True)]
        y = [1 / value for value in values]
        xx, xy, yy = (
            sum(u * v for u, v in zip(*pair, strict=True)) for pair in ((x, x), (x, y), (y, y))
        )
        # The least squares of b x + a y - 1, by Cramer's rule.
        area = xx * yy - xy * xy
        a = (xx * sum(y) - xy * sum(x)) / area if area > 0 else 0.0
        a = max(a, 0.0)
        b = (sum(x) - a * xy) / xx
        return sum((b * u + a * v - 1) ** 2 for u, v in zip(x, y, strict=True))

    return min((number / 100 for number in range(5, 201)), key=missed)
