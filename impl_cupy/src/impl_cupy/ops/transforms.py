"""Discrete Fourier transforms, with their gradients (chapter fft).

Three operations do it all: the transform of complex numbers along some axes, that of real numbers
to half a spectrum along one, and that of half a spectrum to real numbers. Each is linear, and its
gradient is another one of the three, so that derivatives nest.

On the device cuFFT computes them. Its plans want at least one transform of at least one number:
what is empty is made here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.dtypes import complex64, parts_of
from impl_cupy.memory import RawArray
from impl_cupy.recording import record
from impl_cupy.tape import handles, wrap

# The norm under which the transform back has the factor that the transform has under this one.
BACK = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def whole(x: Any, axes: tuple[int, ...], norm: str, back: bool, name: str) -> Any:
    """Transform complex numbers along axes, forward or back."""
    if isinstance(x, cp.ndarray):
        return _raw_whole(x, axes, norm, back)
    return record(
        name,
        lambda raw: _raw_whole(raw, axes, norm, back),
        _whole_back,
        (x,),
        config=(axes, norm, back, name),
    )


def _raw_whole(raw: RawArray, axes: tuple[int, ...], norm: str, back: bool) -> RawArray:
    if not raw.size or not axes:
        return raw.copy()
    return (cp.fft.ifftn if back else cp.fft.fftn)(raw, axes=axes, norm=norm)


def _whole_back(node: Any, grad: Any) -> tuple[Any]:
    axes, norm, back, name = node.config
    return (whole(grad, axes, BACK[norm], not back, name),)


def to_half(x: Any, axis: int, norm: str, name: str) -> Any:
    """Transform real numbers to the first half of their spectrum."""
    if isinstance(x, cp.ndarray):
        return _raw_to_half(x, axis, norm)
    return record(
        name,
        lambda raw: _raw_to_half(raw, axis, norm),
        _to_half_back,
        (x,),
        config=(axis, norm, x.shape[axis], name),
    )


def _raw_to_half(raw: RawArray, axis: int, norm: str) -> RawArray:
    if not raw.size:
        dtype = np.promote_types(raw.dtype, complex64)
        return cp.zeros(_sized(raw.shape, axis, raw.shape[axis] // 2 + 1), dtype=dtype)
    return cp.fft.rfft(raw, axis=axis, norm=norm)


def _to_half_back(node: Any, grad: Any) -> tuple[Any]:
    axis, norm, n, name = node.config
    # The transform to real numbers takes what stands for itself once, and the others twice.
    weights = _weights(node.xp, grad, axis, n, 0.5)
    return (to_real(grad * weights, n, axis, BACK[norm], name),)


def to_real(x: Any, n: int, axis: int, norm: str, name: str) -> Any:
    """Transform half a spectrum, of the right length, back to n real numbers."""
    if isinstance(x, cp.ndarray):
        return _raw_to_real(x, n, axis, norm)
    return record(
        name,
        lambda raw: _raw_to_real(raw, n, axis, norm),
        _to_real_back,
        (x,),
        config=(axis, norm, n, name),
    )


def _raw_to_real(raw: RawArray, n: int, axis: int, norm: str) -> RawArray:
    if not raw.size:
        return cp.zeros(_sized(raw.shape, axis, n), dtype=parts_of(raw.dtype))
    return cp.fft.irfft(raw, n, axis=axis, norm=norm)


def _to_real_back(node: Any, grad: Any) -> tuple[Any]:
    xp = node.xp
    axis, norm, n, name = node.config
    half = to_half(grad, axis, BACK[norm], name)
    doubled = half * _weights(xp, half, axis, n, 2.0)
    # Of what stands for itself the real part alone was taken (fft-06).
    alone = _alone(half.ndim, axis, n)
    mask = wrap(alone) if xp is handles.namespace else alone
    return (xp.where(mask, xp.astype(xp.real(doubled), half.dtype), doubled),)


def _along(values: Any, ndim: int, axis: int) -> RawArray:
    """Return numbers as an array that lies along an axis."""
    shape = [1] * ndim
    shape[axis] = len(values)
    return cp.asarray(values).reshape(shape)


def _alone(ndim: int, axis: int, n: int) -> RawArray:
    """Tell which numbers of half a spectrum stand for themselves in the whole one."""
    places = np.arange(n // 2 + 1)
    return _along((places == 0) | (2 * places == n), ndim, axis)


def _weights(xp: Any, like: Any, axis: int, n: int, others: float) -> Any:
    """Return 1 at the numbers that stand for themselves, and a weight for the others."""
    places = np.arange(n // 2 + 1)
    values = np.where((places == 0) | (2 * places == n), 1.0, others).astype(parts_of(like.dtype))
    made = _along(values, like.ndim, axis)
    return wrap(made) if xp is handles.namespace else made


def _sized(shape: tuple[int, ...], axis: int, size: int) -> tuple[int, ...]:
    return (*shape[:axis], size, *shape[axis + 1 :])
