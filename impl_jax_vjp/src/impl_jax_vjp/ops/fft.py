"""The extension ``fft`` of the array API standard 2025.12: discrete Fourier transforms."""

import math as _math
import typing as _typing
from typing import Any as _Any

import jax.numpy as _jnp
import numpy as _np
from jax import lax as _lax

from .. import checks as _checks
from .. import creation as _creation
from .. import recording as _recording
from ..dtypes import is_floating as _is_floating
from ..dtypes import is_inexact as _is_inexact
from . import formulas as _F
from .families import NO_ARRAY as _NO_ARRAY
from .families import SPACES as _SPACES
from .families import listed as _listed

_NORMS = ("backward", "ortho", "forward")


def _resized(x: _Any, n: int) -> _Any:
    """Return x with a last axis of length n: cut, or with zeros behind its end."""
    length = x.shape[-1]
    if n <= length:
        return x[..., :n]
    return _jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, n - length)])


def _along(kind: str, axis: int, n: int, x: _Any) -> _Any:
    """Transform along one axis; n is the length of the whole spectrum, or of the signal."""
    half = n // 2 + 1
    x = _resized(_jnp.moveaxis(x, axis, -1), half if kind == "IRFFT" else n)
    if not x.size:
        shape = (*x.shape[:-1], half if kind == "RFFT" else n)
        x = _jnp.zeros(shape, _np.result_type(x.dtype, _np.complex64))
        return _jnp.moveaxis(x.real if kind == "IRFFT" else x, -1, axis)
    if kind == "IRFFT":
        # fft-06: an imaginary part that stands for itself changes nothing, on every device.
        place = _np.arange(half)
        x = _lax.complex(x.real, _jnp.where((place == 0) | (2 * place == n), 0, x.imag))
    return _jnp.moveaxis(_lax.fft(x, getattr(_lax.FftType, kind), (n,)), -1, axis)


def _transformed(
    kinds: tuple[str, ...],
    lengths: tuple[tuple[int, int], ...],
    conjugated: str,
    scale: float,
    x: _Any,
) -> _Any:
    """Transform along axes, one after the other; `scale` is a factor beside that of JAX."""
    if kinds[:1] != ("RFFT",):
        x = x.astype(_np.result_type(x.dtype, _np.complex64))
    x = _jnp.conj(x) if conjugated == "before" else x
    for kind, (axis, n) in zip(kinds, lengths, strict=True):
        x = _along(kind, axis, n, x)
    x = _jnp.conj(x) if conjugated == "after" else x
    return x if scale == 1 else x * scale


_TRANSFORMS = {
    name: _recording.Primitive(_transformed, name, _F.nothing)
    for name in "fft ifft fftn ifftn rfft rfftn irfft irfftn hfft ihfft".split()
}


def _operand(name: str, x: _Any, real: bool) -> _Any:
    """Return an array that can be transformed; raise `TypeError` for any other dtype."""
    x = _recording.as_operand(name, x)
    dtype = _recording.dtype_of(x)
    if not (_is_floating(dtype) if real else _is_inexact(dtype)):  # fft-03
        wanted = "float32 or float64" if real else "floating or complex"
        msg = f"{name}: x must be of dtype {wanted}, got dtype {dtype}"
        raise TypeError(msg)
    return x


def _length(name: str, n: _Any, axis: int, shape: _checks.Shape, half: bool) -> int:
    """Return the length of a transform, None standing for the one that is there."""
    if n is None:
        there = shape[axis]
        n = 2 * (there - 1) if half else there
        if n < 1:
            least = 2 if half else 1
            wanted = f"at least {least} where no other is given"
            got = f"{there} for shape {shape}"
            _checks.refuse(name, f"the length along axis {axis}", wanted, got)
        return n
    length = _checks.check_int(name, "n", n, "an int or None")
    if length < 1:
        _checks.refuse(name, "each length", "at least 1", length)
    _checks.check_sizes(name, length)
    return length


def _factor(name: str, norm: _Any, count: int, inverse: bool) -> float:
    """Return the factor c of the table of ``fft-02``."""
    _checks.check_choice(name, "norm", norm, _NORMS)
    if norm == "ortho":
        return 1 / _math.sqrt(count)
    return 1 / count if (norm == "forward") != inverse else 1.0


def _one(name: str, kind: str, x: _Any, n: _Any, axis: _Any, norm: _Any, turned: str = "") -> _Any:
    """Transform along one axis; `turned` says when numbers are conjugated, for the inverse kind."""
    x = _operand(name, x, kind == "RFFT")
    shape = _recording.shape_of(x)
    place = _checks.normalize_axis(name, axis, shape)
    length = _length(name, n, place, shape, kind == "IRFFT")
    given = kind in ("IFFT", "IRFFT")
    scale = _factor(name, norm, length, given != bool(turned))
    scale = scale * length if given else scale
    return _TRANSFORMS[name]((x,), (kind,), ((place, length),), turned, scale)


def _sequence(name: str, argument: str, value: _Any) -> tuple[_Any, ...]:
    if not isinstance(value, list | tuple | range):
        _checks.refuse_type(name, argument, "a sequence of ints or None", value)
    return tuple(value)


def _axes(name: str, s: _Any, axes: _Any, shape: _checks.Shape) -> tuple[list[int], list[_Any]]:
    """Return axes counted from 0, and the lengths along them, None where none is given."""
    sizes = s
    if s is not None:
        listed = _sequence(name, "s", s)
        sizes = [_checks.check_int(name, "each length in s", size) for size in listed]
    if axes is None:
        if sizes is not None:
            _checks.refuse(name, "axes", "given where s is", f"None for s={sizes}")
        return list(range(len(shape))), [None] * len(shape)
    listed = _sequence(name, "axes", axes)
    places = [_checks.normalize_axis(name, axis, shape) for axis in listed]
    if len(set(places)) != len(places):
        _checks.refuse(name, "axes", f"each another one of shape {shape}", listed)
    if sizes is None:
        return places, [None] * len(places)
    if len(sizes) != len(places):
        wanted = f"as many lengths as the {len(places)} axes"
        _checks.refuse(name, "s", wanted, f"{len(sizes)}: {sizes}")
    return places, [None if size == -1 else size for size in sizes]


def _several(name: str, last: str, others: str, x: _Any, s: _Any, axes: _Any, norm: _Any) -> _Any:
    """Transform along axes, of which the last one may be of another kind."""
    x = _operand(name, x, last == "RFFT")
    shape = _recording.shape_of(x)
    places, sizes = _axes(name, s, axes, shape)
    if not places and last != others:  # fft-05
        _checks.refuse(name, "axes", "at least one", f"none for shape {shape}")
    kinds = [others] * len(places)
    kinds[-1:] = [last] * len(kinds[-1:])
    lengths = [
        (place, _length(name, size, place, shape, kind == "IRFFT"))
        for place, size, kind in zip(places, sizes, kinds, strict=True)
    ]
    count, given = _math.prod([n for _, n in lengths]), others == "IFFT"
    scale = _factor(name, norm, count, given)
    if last == "RFFT":
        kinds, lengths = kinds[::-1], lengths[::-1]
    return _TRANSFORMS[name](
        (x,), tuple(kinds), tuple(lengths), "", scale * count if given else scale
    )


_NORM = "norm : {'backward', 'ortho', 'forward'}\n    Where the factor 1 / n stands."
_REAL, _COMPLEX = "floating", "floating or complex"
_ONE = (
    "x : Tensor or raw array, {kind}\n"
    "n : int, optional\n    The length of the transform: x is cut, or filled with zeros.\n"
    "axis : int\n" + _NORM
)
_SEVERAL = (
    "x : Tensor or raw array, {kind}\ns : sequence of int, optional\n    Lengths along `axes`, -1 "
    "for the one that is there.\naxes : sequence of int, optional\n    All by default.\n" + _NORM
)
_RAISES = (
    "ValueError\n    If an axis, a length or `norm` is none that there can be.\n"
    "TypeError\n    If x is no array of such numbers, or another argument not of its type."
)
_WHOLE = "complex, the shape of x with the lengths of the transform"
_HALF = "complex, the last axis that is transformed n // 2 + 1 long"
_SIGNAL = "real, the last axis that is transformed n long, 2 (M - 1) by default"


def _row(parameters: str, kind: str, returns: str) -> _Any:
    return _listed(parameters.replace("{kind}", kind), returns, _RAISES, space="fft")


@_row(_ONE, _COMPLEX, _WHOLE)
def fft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the discrete Fourier transform along one axis."""
    return _one("fft", "FFT", x, n, axis, norm)


@_row(_ONE, _COMPLEX, _WHOLE)
def ifft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the inverse discrete Fourier transform along one axis."""
    return _one("ifft", "IFFT", x, n, axis, norm)


@_row(_SEVERAL, _COMPLEX, _WHOLE)
def fftn(x: _Any, /, *, s: _Any = None, axes: _Any = None, norm: str = "backward") -> _Any:
    """Return the discrete Fourier transform along several axes."""
    return _several("fftn", "FFT", "FFT", x, s, axes, norm)


@_row(_SEVERAL, _COMPLEX, _WHOLE)
def ifftn(x: _Any, /, *, s: _Any = None, axes: _Any = None, norm: str = "backward") -> _Any:
    """Return the inverse discrete Fourier transform along several axes."""
    return _several("ifftn", "IFFT", "IFFT", x, s, axes, norm)


@_row(_ONE, _REAL, _HALF)
def rfft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the first half of the transform of a real signal."""
    return _one("rfft", "RFFT", x, n, axis, norm)


@_row(_SEVERAL, _REAL, _HALF)
def rfftn(x: _Any, /, *, s: _Any = None, axes: _Any = None, norm: str = "backward") -> _Any:
    """Return the transform of a real signal along several axes, the first half of the last."""
    return _several("rfftn", "RFFT", "FFT", x, s, axes, norm)


@_row(_ONE, _REAL, _HALF)
def ihfft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the first half of the inverse transform of a real spectrum."""
    return _one("ihfft", "RFFT", x, n, axis, norm, "after")


@_row(_ONE, _COMPLEX, _SIGNAL)
def irfft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the real signal of which x is the first half of the transform."""
    return _one("irfft", "IRFFT", x, n, axis, norm)


@_row(_SEVERAL, _COMPLEX, _SIGNAL)
def irfftn(x: _Any, /, *, s: _Any = None, axes: _Any = None, norm: str = "backward") -> _Any:
    """Return the real signal of which x is the transform, the first half along the last axis."""
    return _several("irfftn", "IRFFT", "IFFT", x, s, axes, norm)


@_row(_ONE, _COMPLEX, _SIGNAL)
def hfft(x: _Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> _Any:
    """Return the real spectrum of which x is the first half of the signal."""
    return _one("hfft", "IRFFT", x, n, axis, norm, "before")


_FREQUENCIES = (
    "n : int\n    The length of the transform.\nd : number\n    The distance of samples.\n"
    "dtype : dtype, optional\n    float32 by default.\ndevice : jax.Device, optional"
)
_NO_FREQUENCIES = (
    "ValueError\n    If `n` is less than 1 or `d` 0.\n"
    "TypeError\n    If `n` is no int, `d` no number or the dtype not floating."
)


def _frequencies(name: str, n: _Any, d: _Any, dtype: _Any, device: _Any, half: bool) -> _Any:
    count = _checks.check_int(name, "n", n)
    if count < 1:
        _checks.refuse(name, "n", "at least 1", count)
    _checks.check_sizes(name, count)
    distance = _checks.check_number(name, "d", d)
    if distance == 0:
        _checks.refuse(name, "d", "a number other than 0", distance)
    wanted = _checks.floating_dtype(name, dtype)
    place = _np.arange(count // 2 + 1 if half else count)
    if not half:
        place[(count + 1) // 2 :] -= count
    with _np.errstate(all="ignore"):
        values = (place / _np.float64(count * float(distance))).astype(wanted)
    return _creation.on_device(name, _creation.host(name, values, wanted), device)


@_listed(_FREQUENCIES, "shape (n,)", _NO_FREQUENCIES, space="fft")
def fftfreq(n: int, /, *, d: float = 1.0, dtype: _Any = None, device: _Any = None) -> _Any:
    """Return the frequencies of the numbers of `fft`."""
    return _frequencies("fftfreq", n, d, dtype, device, False)


@_listed(_FREQUENCIES, "shape (n // 2 + 1,)", _NO_FREQUENCIES, space="fft")
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: _Any = None, device: _Any = None) -> _Any:
    """Return the frequencies of the numbers of `rfft`."""
    return _frequencies("rfftfreq", n, d, dtype, device, True)


def _rolled(axes: tuple[int, ...], inverse: bool, x: _Any) -> _Any:
    for axis in axes:
        half = x.shape[axis] // 2
        cut = half if inverse else x.shape[axis] - half
        before, behind = _jnp.split(x, [cut], axis=axis)
        x = _jnp.concatenate([behind, before], axis=axis)
    return x


_SHIFTS = {
    name: _recording.Primitive(_rolled, name, _F.nothing) for name in ("fftshift", "ifftshift")
}
_SHIFTED = (
    "x : Tensor or raw array, any shape\n"
    "axes : int or sequence of int, optional\n    All by default.",
    "the shape of x",
    "ValueError\n    If an axis is out of range or named twice.\n" + _NO_ARRAY,
)


def _shifted(name: str, x: _Any, axes: _Any, inverse: bool) -> _Any:
    x = _recording.as_operand(name, x)
    shape = _recording.shape_of(x)
    places = _checks.normalize_axes(name, axes, shape)
    return _SHIFTS[name]((x,), tuple(range(len(shape))) if places is None else places, inverse)


@_listed(*_SHIFTED, space="fft")
def fftshift(x: _Any, /, *, axes: _Any = None) -> _Any:
    """Put the zero frequency in the middle."""
    return _shifted("fftshift", x, axes, False)


@_listed(*_SHIFTED, space="fft")
def ifftshift(x: _Any, /, *, axes: _Any = None) -> _Any:
    """Put the zero frequency back from the middle to the beginning."""
    return _shifted("ifftshift", x, axes, True)


__all__ = sorted(_SPACES["fft"])


def __dir__() -> list[str]:
    return __all__


if _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> _Any: ...
