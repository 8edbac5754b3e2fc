"""Sums whose error grows like that of pairwise summation, in any layout (ops-25).

NumPy adds pairwise along the axis whose elements lie next to each other in memory, and one after
the other along every other.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from impl_numpy.batched import USED, Level, asarray, beneath, has, inside, is_batched
from impl_numpy.dtypes import Array, Shape

# So many terms may be added one after the other: the error, (n - 1) / 2 eps, is below the bound,
# 2 (2 + log2 n) eps.
FEW = 28
# By blocks of so many: 7.5 eps for each factor of 16 in n, where the bound grows by 8.
BLOCK = 16
# What is added at once should fill the loop of an addition, and stay in the cache.
WIDE = 2048
# In so few elements fewer calls are worth more than fewer passes over memory.
SMALL = 8192

_add: Any = np.add.reduce


def total(x: Array, axes: Shape, keepdims: bool = False) -> Array:
    """Return the sum over some axes, counted from 0.

    Parameters
    ----------
    x : numpy.ndarray, any shape and layout
    axes : tuple of int
    keepdims : bool
        Keep the axes, with length 1.

    Returns
    -------
    numpy.ndarray of the dtype of x, or NumPy's scalar where no axis is left
        Wrong by at most 2 (2 + log2 n) eps sum |x|, n being the number of terms.
    """
    shape, ndim, number = x.shape, x.ndim, len(axes)
    # Along what lies together NumPy adds pairwise itself.
    if number == ndim and x.flags.c_contiguous:
        return _add(x, None, None, None, keepdims)
    if number == 1:
        terms, axis = shape[axes[0]], axes[0]
        if terms <= FEW or (axis == ndim - 1 and x.flags.c_contiguous):
            return _add(x, axis, None, None, keepdims)
    else:
        terms = math.prod([shape[k] for k in axes])
    if USED and is_batched(x):
        further = tuple([k + 1 for k in axes])
        return inside(x, lambda values: total(values, further, keepdims))
    if terms <= FEW or x.dtype.kind not in "fc" or not x.size:
        return _add(x, axes, None, None, keepdims)
    small = terms <= BLOCK * BLOCK and x.size <= SMALL
    if small and ndim == 2 and axes == (0,) and not keepdims:
        return _small(x)
    if not x.flags.c_contiguous:
        x = _once(x, axes)
        order = sorted(range(x.ndim), key=lambda k: -abs(x.strides[k]))
        whole = _contiguous(x.transpose(order), sorted([order.index(k) for k in axes]))
        whole = whole.transpose([order.index(k) for k in range(x.ndim)])
    elif axes == (0,):
        whole = _middle(x.reshape(1, terms, -1))
    else:
        whole = _contiguous(x, sorted(axes))
    if keepdims:
        return whole.reshape([1 if k in axes else n for k, n in enumerate(shape)])
    return whole.reshape([n for k, n in enumerate(shape) if k not in axes])


def _once(x: Array, axes: Shape) -> Array:
    """Take an axis along which one element is repeated to that element, times their number."""
    for k in axes:
        n = x.shape[k]
        if n > 1 and x.strides[k] == 0:
            x = x[(slice(None),) * k + (slice(0, 1),)] * n
    return x


def _contiguous(x: Array, axes: list[int]) -> Array:
    """Return the sum over ascending axes, kept at length 1; the last axis lies closest together."""
    while axes:
        stop = axes[-1] + 1
        start = axes.pop()
        while axes and axes[-1] == start - 1:
            start = axes.pop()
        shape = x.shape
        terms, inner = math.prod(shape[start:stop]), math.prod(shape[stop:])
        kept = (*shape[:start], *(1,) * (stop - start), *shape[stop:])
        x = _middle(x.reshape(-1, terms, inner)).reshape(kept)
    return x


def _small(x: Array) -> Array:
    """Return the sum of the rows of a small matrix, of at most BLOCK * BLOCK and at least BLOCK."""
    n = len(x)
    # At most so many terms one after the other, in loops over all rows of a part.
    rows = n // BLOCK
    stop = rows * BLOCK
    result: Array = _add(_add(x[:stop].reshape(BLOCK, rows, -1), 0), 0)
    if stop < n:
        result += _add(x[stop:], 0)
    return result


def _middle(x: Array) -> Array:
    """Return the sum of (L, n, M) over n, of shape (L, M)."""
    _, n, inner = x.shape
    while n > FEW and inner > 1 and n * inner <= SMALL:
        half = n // 2
        last = x[:, -1] if n % 2 else None
        x = x[:, :half] + x[:, half : 2 * half]
        if last is not None:
            x[:, 0] += last
        n = half
    if inner == 1 or n <= FEW:
        return _add(x, axis=1)
    # Rows far apart are added, as many next to each other at once as make a long loop.
    wide = max(1, min(WIDE // inner, n // (2 * BLOCK)))
    blocks = n // (BLOCK * wide)
    stop = blocks * BLOCK * wide
    parts = _add(x[:, :stop].reshape(-1, blocks, BLOCK, wide * inner), axis=2)
    result = _middle(parts.reshape(-1, blocks * wide, inner))
    return result if stop == n else result + _middle(x[:, stop:])


def summed(x: Any, level: Level) -> Any:
    """Return the sum over the slices of a level."""

    def run(x: Any, _: int) -> Any:
        if not has(x, level):
            return x * np.asarray(level.size, x.dtype)
        return asarray(total(x.values, (0,)))

    return beneath(x, level, run)
