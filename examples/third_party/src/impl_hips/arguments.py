"""Checks of arguments, and functions of arrays that rows of `ops` are made of.

They are apart from `ops`, where `bool`, `all`, `max` and others are functions of arrays.
"""

import math

import autograd.numpy as anp
import numpy as np

from impl_hips import convert, dtypes, formulas

FLOAT = np.dtype("float32")


def cast(array, dtype):
    """Cast, in a way that gradients follow."""
    return array if array.dtype == dtype else array.astype(dtype)


def integers_as_they_are(function):
    """Return a step that gives integers back as they are (ops-33)."""
    step = formulas.stepped(function)
    return lambda x: step(x) if x.dtype.kind == "f" else x


def axes_of(name, axis, x):
    """Check `axis` of a reduction; return it for NumPy."""
    given = () if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in given:
        if isinstance(one, (bool, np.bool_)) or not isinstance(one, (int, np.integer)):
            msg = f"{name}: axis must be an int or a tuple of ints, got {axis!r}"
            raise TypeError(msg)
        if not -x.ndim <= one < x.ndim:
            msg = f"{name}: axis {one} is out of range for shape {x.shape}"
            raise ValueError(msg)
    places = tuple(int(one) % x.ndim for one in given)
    if len(set(places)) != len(places):
        msg = f"{name}: axis {axis} names an axis twice, of shape {x.shape}"
        raise ValueError(msg)
    return None if axis is None else places


def summed(name, dtype, wanted):
    """Return the dtype of a sum (ops-15)."""
    if wanted is not None:
        return dtypes.named(name, wanted)
    return {"b": np.dtype("int64"), "i": np.dtype("int64"), "u": np.dtype("uint64")}.get(
        dtype.kind, dtype
    )


def mean(a, axes, keepdims):
    """Give NaN for nothing, without HIPS's division by a count of 0."""
    return anp.sum(a, axis=axes, keepdims=keepdims) / np.asarray(
        formulas._count(a.shape, axes), a.dtype
    )


def log_softmax(a, axes):
    """Shift first, so that the large ones cancel."""
    shifted = a - formulas.top(a, axes)
    return shifted - formulas.logsumexp(shifted, axes, True)


def counted(name, shape, free=False):
    """Check the sizes of a shape, of which one may be -1 where `free` (ops-20)."""
    given = shape if isinstance(shape, (tuple, list)) else (shape,)
    whole = all(isinstance(s, (int, np.integer)) for s in given)
    if whole and (min(given, default=0) < -1 or list(given).count(-1) > 1):
        msg = f"{name}: of the sizes at most one may be -1, and none is less, got {tuple(given)}"
        raise ValueError(msg)
    sizes = [0 if free and isinstance(s, int) and s == -1 else s for s in given]
    convert.size_of(name, (tuple(sizes),))
    return tuple(int(size) for size in given)


def unit(a, axis):
    """Take away axes of length 1, and no others."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    kept = [place for place in range(a.ndim) if place not in [x % a.ndim for x in axes]]
    if any(a.shape[x] != 1 for x in axes):
        msg = f"axis {axis} is not of length 1"
        raise ValueError(msg)
    return anp.reshape(a, tuple(a.shape[place] for place in kept))


def check_device(name, device):
    """There is one device (ops-31)."""
    if device not in (None, "cpu"):
        msg = f"{name}: device must be None or 'cpu', got {device!r}"
        raise ValueError(msg)


def filled(shape, fill_value, dtype=None):
    """Follow the number's dtype (tensor-06)."""
    dtype = dtypes.of_number(fill_value) if dtype is None else dtype
    return np.full(shape, convert.constant("full", fill_value, dtype).data)


def counting(start, stop=None, step=1, dtype=None):
    """Compute in float64, round once (tensor-06)."""
    start, stop = (0, start) if stop is None else (start, stop)
    if dtype is None:
        whole = all(isinstance(v, (int, np.integer)) for v in (start, stop, step))
        dtype = np.dtype("int64") if whole else FLOAT
    count = max(math.ceil((stop - start) / step), 0)
    return (start + np.arange(count) * step).astype(dtype)


def rolled(a, shift, axis=None):
    """Roll axis by axis: HIPS differentiates one shift at a time (ops-43)."""
    if axis is None:
        (shift,) = shift if isinstance(shift, tuple) else (shift,)
        return anp.roll(a, shift)
    axes = axis if isinstance(axis, tuple) else (axis,)
    shifts = shift if isinstance(shift, tuple) else (shift,) * len(axes)
    for one, place in zip(shifts, axes, strict=True):
        a = anp.roll(a, one, place)
    return a


def flipped(a, axis=None):
    """Flip by an index, which HIPS differentiates."""
    given = range(a.ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    for one in given:
        if not -a.ndim <= one < a.ndim:
            msg = f"axis {one} is out of range"
            raise ValueError(msg)
    axes = {one % a.ndim for one in given}
    return a[tuple(slice(None, None, -1 if i in axes else None) for i in range(a.ndim))]
