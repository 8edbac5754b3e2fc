"""The corner of `cupy.fft` that an implementation needs.

As in CuPy, float32 stays in single precision, integers become complex128, a transform along no axis
gives its operand back, and one along another axis than the last is a view with that axis turned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import storage as _storage
from .host import np as _np
from .manipulation import swapaxes as _swapaxes

__all__ = [
    "fft",
    "fftfreq",
    "fftn",
    "fftshift",
    "hfft",
    "ifft",
    "ifftn",
    "ifftshift",
    "ihfft",
    "irfft",
    "irfftn",
    "rfft",
    "rfftfreq",
    "rfftn",
]


def fft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return the transform along an axis."""
    return _along(_np.fft.fft, a, n, axis, norm)


def ifft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return the transform back."""
    return _along(_np.fft.ifft, a, n, axis, norm)


def rfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return half of the transform of real numbers; warn of an imaginary part."""
    return _along(_np.fft.rfft, a, n, axis, norm)


def irfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return the transform back of half a spectrum."""
    return _along(_np.fft.irfft, a, n, axis, norm)


def hfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return the transform of half a Hermitian signal."""
    return _along(_np.fft.hfft, a, n, axis, norm)


def ihfft(a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
    """Return half of the transform back of real numbers."""
    return _along(_np.fft.ihfft, a, n, axis, norm)


def fftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """Return the transform along several axes."""
    return _over(_np.fft.fftn, a, s, axes, norm)


def ifftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """Return the transform back along several axes."""
    return _over(_np.fft.ifftn, a, s, axes, norm)


def rfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """Return half of the transform of real numbers along several axes."""
    return _over(_np.fft.rfftn, a, s, axes, norm)


def irfftn(a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
    """Return the transform back of half a spectrum along several axes."""
    return _over(_np.fft.irfftn, a, s, axes, norm)


def fftfreq(n: int, d: float = 1.0) -> Any:
    """Return the frequencies of `fft`, in float64."""
    return _storage.result(_np.fft.fftfreq(n, d), "other")


def rfftfreq(n: int, d: float = 1.0) -> Any:
    """Return the frequencies of `rfft`, in float64."""
    return _storage.result(_np.fft.rfftfreq(n, d), "other")


def fftshift(x: Any, axes: Any = None) -> Any:
    """Bring the zero frequency to the middle."""
    return _storage.result(_np.fft.fftshift(_storage.raw(x, "x"), axes), "copy")


def ifftshift(x: Any, axes: Any = None) -> Any:
    """Undo `fftshift`."""
    return _storage.result(_np.fft.ifftshift(_storage.raw(x, "x"), axes), "copy")


def _checked(a: Any, norm: Any) -> Any:
    if not isinstance(a, _storage.Storage):
        msg = "The input array a must be a cupy.ndarray"
        raise TypeError(msg)
    if norm not in (None, "backward", "ortho", "forward"):
        msg = f'Invalid norm value {norm}, should be "backward", "ortho", or "forward".'
        raise ValueError(msg)
    return a._array.astype(_np.float32) if a._array.dtype == _np.float16 else a._array


def _along(function: Callable[..., Any], a: Any, n: Any, axis: int, norm: Any) -> Any:
    source = _checked(a, norm)
    if n is not None and n < 1:
        msg = f"Invalid number of FFT data points ({n}) specified."
        raise ValueError(msg)
    with _np.errstate(all="ignore"):
        made = function(_real(function, source), n, axis, norm)
    last = made.ndim - 1
    if axis % made.ndim == last:
        return _storage.result(made, "other")
    return _swapaxes(_storage.result(made.swapaxes(axis, last), "other"), axis, last)


def _over(function: Callable[..., Any], a: Any, s: Any, axes: Any, norm: Any) -> Any:
    source = _checked(a, norm)
    if axes is not None and not axes:
        if function in (_np.fft.fftn, _np.fft.ifftn):
            return a
        msg = "list index out of range"
        raise IndexError(msg)
    if axes is None:
        axes = range(-(source.ndim if s is None else len(s)), 0)
    with _np.errstate(all="ignore"):
        made = function(_real(function, source), s, tuple(axes), norm)
    return _storage.result(made, "other")


def _real(function: Callable[..., Any], source: Any) -> Any:
    takes_real = function in (_np.fft.rfft, _np.fft.rfftn, _np.fft.ihfft)
    # A cast, which warns, as CuPy's does.
    return source.astype(source.real.dtype) if takes_real and source.dtype.kind == "c" else source
