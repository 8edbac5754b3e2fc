"""Values put or added where an index says, as NumPy does it."""

from typing import Any

import numpy as np


def put(x: np.ndarray, key: Any, values: Any) -> np.ndarray:
    """Return `x` with values at ``x[key]``; of repeated places the last one stays."""
    result = x.copy()
    result[key] = values
    return result


def scatter_add(x: np.ndarray, indices: np.ndarray, values: np.ndarray, axis: int) -> np.ndarray:
    """Return `x` with values added at the indices along an axis."""
    shape = list(x.shape)
    shape[axis] = indices.shape[axis]
    places = list(np.ogrid[tuple(slice(size) for size in shape)])
    places[axis] = np.broadcast_to(indices, shape)
    result = x.copy()
    np.add.at(result, tuple(places), np.broadcast_to(values, shape))
    return result


def segment_sum(x: np.ndarray, segment_ids: np.ndarray, num_segments: int) -> np.ndarray:
    """Return the sums of the rows of each segment."""
    result = np.zeros((num_segments, *x.shape[1:]), x.dtype)
    np.add.at(result, segment_ids, x)
    return result
