"""Discrete Fourier transforms: the extension `fft` of the array API standard 2025.12.

Each is linear, and so its derivative is the transposed transform: of `fft` an `fft` again, for the
tape's gradients are conjugated (`tape.conjugated`), and of half spectra each other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.checks import (
    check_choice,
    check_device,
    check_dtype,
    check_int,
    check_number,
    normalize_axes,
    normalize_axis,
    shown,
)
from impl_numpy.dtypes import WHOLE, Axis, Shape, Value, float32
from impl_numpy.ops.families import EXTENSIONS, REGISTRY, registered, spread_to
from impl_numpy.ops.products import conjugate
from impl_numpy.recording import Grads, Primitive, unary
from impl_numpy.tape import Parents
from impl_numpy.tensor import Tensor, as_tensor, wrap

_NORMS = ("backward", "ortho", "forward")
# By what norm the other direction has the same factor.
_DUAL = {"backward": "forward", "ortho": "ortho", "forward": "backward"}

_ALONG = """Parameters
----------
x : Tensor or raw array, {of}, shape (..., M, ...)
n : int, optional
    {length}
axis : int
    That of length M.
norm : 'backward', 'ortho' or 'forward'
    Which direction has the factor: 1 / n the back one, 1 / sqrt(n) both, 1 / n the forward one.

Returns
-------
Tensor, {result}

Raises
------
ValueError
    If a length is less than 1, the axis is out of range, or the norm is another word.
TypeError
    If x is no array, or of another dtype."""

_OVER = """Parameters
----------
x : Tensor or raw array, {of}
s : sequence of int, optional
    The lengths of the transforms; -1 as if left out. {length}
axes : sequence of int, optional
    Left out, all.
norm : 'backward', 'ortho' or 'forward'
    Which direction has the factor, 1 over the product of the lengths.

Returns
-------
Tensor, {result}

Raises
------
ValueError
    If a length is less than 1, an axis out of range or named twice, or the norm another word.
TypeError
    If x is no array, or of another dtype."""

_NUMBERS = "floating or complex"
_CUT = "The length of the transform, to which x is cut or filled with 0; left out, M."
_WHOLE = "The length of the result; left out, 2 (M - 1). x is cut or filled to n // 2 + 1."


def _fft_vjp(grad: Value, needs: Parents, x: None, out: None, axis: int, norm: str) -> Grads:
    return (_fft(grad, axis, norm),)


def _ifft_vjp(grad: Value, needs: Parents, x: None, out: None, axis: int, norm: str) -> Grads:
    return (_ifft(grad, axis, norm),)


# The matrix of a transform is symmetric.
_fft = Primitive("fft", lambda x, axis, norm: np.fft.fft(x, None, axis, norm), _fft_vjp)
_ifft = Primitive("ifft", lambda x, axis, norm: np.fft.ifft(x, None, axis, norm), _ifft_vjp)


def _weighted(x: Value, n: int, axis: int, inner: float) -> Value:
    """Multiply what stands twice in the whole spectrum, of which x is the half, by a number."""
    counts = np.full(n // 2 + 1, inner)
    counts[0] = 1
    if n % 2 == 0:
        counts[-1] = 1
    shape = [1] * x.ndim
    shape[axis] = -1
    return x * counts.reshape(shape).astype(x.dtype)


def _rfft_vjp(
    grad: Value, needs: Parents, x: None, out: None, n: int, axis: int, norm: str
) -> Grads:
    # No number of the half spectrum counts twice (fft-07).
    halved = _weighted(conjugate(grad), n, axis, 0.5)
    return (_irfft(halved, n, axis, _DUAL[norm]),)


def _irfft_vjp(
    grad: Value, needs: Parents, x: None, out: None, n: int, axis: int, norm: str
) -> Grads:
    spectrum = _rfft(grad, n, axis, _DUAL[norm])
    return (conjugate(_weighted(spectrum, n, axis, 2)),)


_rfft = Primitive("rfft", lambda x, n, axis, norm: np.fft.rfft(x, n, axis, norm), _rfft_vjp)
_irfft = Primitive("irfft", lambda x, n, axis, norm: np.fft.irfft(x, n, axis, norm), _irfft_vjp)


def _resized(x: Tensor, n: int, axis: int) -> Tensor:
    """Return x cut, or filled with 0, at the end of an axis (fft-04)."""
    length = x.shape[axis]
    if n < length:
        return x[(*[slice(None)] * axis, slice(n))]
    if n == length:
        return x
    widths = [(0, n - length if k == axis else 0) for k in range(x.ndim)]
    filled: Tensor = REGISTRY["pad"](x, widths)
    return filled


def _floating(name: str, x: Any) -> Tensor:
    x = as_tensor(name, x)
    if x.dtype.kind != "f":
        msg = f"{name}: wants a floating array, got {x.dtype}"
        raise TypeError(msg)
    return x


def _complex(name: str, x: Any) -> Tensor:
    x = as_tensor(name, x)
    if x.dtype.kind not in "fc":
        msg = f"{name}: wants a floating or complex array, got {x.dtype}; cast with astype first"
        raise TypeError(msg)
    return x if x.dtype.kind == "c" else spread_to(x, x.shape, WHOLE[x.dtype])


def _check_norm(name: str, norm: Any) -> None:
    if not isinstance(norm, str):
        msg = f"{name}: norm must be one of {', '.join(_NORMS)}, got {shown(norm)}"
        raise TypeError(msg)
    check_choice(name, "norm", norm, _NORMS)


def _length(name: str, n: Any, default: int, shape: Shape) -> int:
    if n is not None:
        n = check_int(name, "a length", n)
        if n < 1:
            msg = f"{name}: a length must be at least 1, got {n} for shape {shape}"
            raise ValueError(msg)
        return int(n)
    if default < 1:
        msg = f"{name}: the axis of shape {shape} is too short for a transform"
        raise ValueError(msg)
    return default


def _one_axis(name: str, x: Tensor, n: Any, axis: Any, norm: Any, half: bool) -> tuple[int, int]:
    """Return the checked length and axis of a transform along one axis."""
    _check_norm(name, norm)
    if isinstance(axis, (bool, np.bool)):
        msg = f"{name}: the axis must be an int, got {shown(axis)}"
        raise TypeError(msg)
    place = normalize_axis(name, axis, x.shape)
    length = x.shape[place]
    return _length(name, n, 2 * (length - 1) if half else length, x.shape), place


def _whole(name: str, primitive: Primitive, summary: str) -> Callable[..., Tensor]:
    """Make a function from complex numbers to as many."""
    frame = _ALONG.format(of=_NUMBERS, length=_CUT, result="complex, shape (..., n, ...)")

    @registered(name, summary, frame, extension="fft")
    def apply(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        x = _complex(name, x)
        length, place = _one_axis(name, x, n, axis, norm, half=False)
        result: Tensor = unary(primitive, _resized(x, length, place), (place, norm))
        return result

    return apply


fft = _whole("fft", _fft, "Return sum_j x_j w^(j k) for each k, with w = exp(-2 pi i / n).")
ifft = _whole("ifft", _ifft, "Return sum_j x_j w^(-j k) / n for each k: what `fft` was made of.")


@registered(
    "rfft",
    "Return the first half of the `fft` of real numbers.",
    _ALONG.format(of="floating", length=_CUT, result="complex, shape (..., n // 2 + 1, ...)"),
    extension="fft",
)
def rfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    x = _floating("rfft", x)
    length, place = _one_axis("rfft", x, n, axis, norm, half=False)
    return _half(x, length, place, norm)


def _half(x: Tensor, n: int, axis: int, norm: str) -> Tensor:
    result: Tensor = unary(_rfft, _resized(x, n, axis), (n, axis, norm))
    return result


def _back(x: Tensor, n: int, axis: int, norm: str) -> Tensor:
    result: Tensor = unary(_irfft, _resized(x, n // 2 + 1, axis), (n, axis, norm))
    return result


@registered(
    "irfft",
    "Return the real numbers of which `rfft` makes this half spectrum.",
    _ALONG.format(of=_NUMBERS, length=_WHOLE, result="floating, shape (..., n, ...)"),
    extension="fft",
)
def irfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    x = _complex("irfft", x)
    length, place = _one_axis("irfft", x, n, axis, norm, half=True)
    return _back(x, length, place, norm)


@registered(
    "hfft",
    "Return the real `fft` of numbers whose first half this is, the others being conjugates.",
    _ALONG.format(of=_NUMBERS, length=_WHOLE, result="floating, shape (..., n, ...)"),
    extension="fft",
)
def hfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    x = _complex("hfft", x)
    length, place = _one_axis("hfft", x, n, axis, norm, half=True)
    return _back(REGISTRY["conj"](x), length, place, _DUAL[norm])  # fft-06


@registered(
    "ihfft",
    "Return the first half of the `ifft` of real numbers.",
    _ALONG.format(of="floating", length=_CUT, result="complex, shape (..., n // 2 + 1, ...)"),
    extension="fft",
)
def ihfft(x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    x = _floating("ihfft", x)
    length, place = _one_axis("ihfft", x, n, axis, norm, half=False)
    result: Tensor = REGISTRY["conj"](_half(x, length, place, _DUAL[norm]))
    return result


def _ints(name: str, what: str, values: Any) -> list[int]:
    if not isinstance(values, Sequence) or isinstance(values, str):
        msg = f"{name}: {what} must be a sequence of ints, got {shown(values)}"
        raise TypeError(msg)
    return [check_int(name, f"an item of {what}", value) for value in values]


def _several(
    name: str, x: Tensor, s: Any, axes: Any, norm: Any, half: bool
) -> list[tuple[int, int]]:
    """Return the checked lengths and axes of a transform along several axes (fft-04, fft-05)."""
    _check_norm(name, norm)
    shape = x.shape
    if axes is None:
        if s is not None:
            msg = f"{name}: s wants axes, got s={shown(s)} for shape {shape}"
            raise ValueError(msg)
        places: Shape = tuple(range(len(shape)))
    else:
        places = normalize_axes(name, tuple(_ints(name, "axes", axes)), shape)
    lengths = [-1] * len(places) if s is None else _ints(name, "s", s)
    if len(lengths) != len(places):
        msg = f"{name}: s={shown(s)} and axes={shown(axes)} must be of one length, for {shape}"
        raise ValueError(msg)
    there = [shape[k] for k in places]
    if half and there:
        there[-1] = 2 * (there[-1] - 1)
    return [
        (_length(name, None if n == -1 else n, m, shape), k)
        for n, m, k in zip(lengths, there, places, strict=True)
    ]


def _along_each(x: Tensor, primitive: Primitive, steps: list[tuple[int, int]], norm: str) -> Tensor:
    for n, axis in steps:
        x = unary(primitive, _resized(x, n, axis), (axis, norm))
    return x


def _whole_over(name: str, primitive: Primitive, summary: str) -> Callable[..., Tensor]:
    """Make a function of several axes from complex numbers to as many."""
    frame = _OVER.format(of=_NUMBERS, length="", result="complex")

    @registered(name, summary, frame, extension="fft")
    def apply(
        x: Any,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> Tensor:
        x = _complex(name, x)
        return _along_each(x, primitive, _several(name, x, s, axes, norm, half=False), norm)

    return apply


fftn = _whole_over("fftn", _fft, "Return the `fft` along several axes.")
ifftn = _whole_over("ifftn", _ifft, "Return the `ifft` along several axes.")


def _check_some(name: str, steps: list[tuple[int, int]], shape: Shape) -> None:
    if not steps:
        msg = f"{name}: wants an axis, got none for shape {shape}"
        raise ValueError(msg)


@registered(
    "rfftn",
    "Return the `rfft` along the last of several axes, and then the `fft` along the others.",
    _OVER.format(of="floating", length="", result="complex"),
    extension="fft",
)
def rfftn(
    x: Any,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fft-06
    x = _floating("rfftn", x)
    steps = _several("rfftn", x, s, axes, norm, half=False)
    _check_some("rfftn", steps, x.shape)
    return _along_each(_half(x, *steps[-1], norm), _fft, steps[:-1], norm)


@registered(
    "irfftn",
    "Return the `ifft` along all but the last of several axes, and the `irfft` along that.",
    _OVER.format(of=_NUMBERS, length="That of the last axis is of the result.", result="floating"),
    extension="fft",
)
def irfftn(
    x: Any,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:  # fft-06
    x = _complex("irfftn", x)
    steps = _several("irfftn", x, s, axes, norm, half=True)
    _check_some("irfftn", steps, x.shape)
    return _back(_along_each(x, _ifft, steps[:-1], norm), *steps[-1], norm)


_FREQUENCIES = """Parameters
----------
n : int
    The length of the transform.
d : number
    The distance of two samples.
dtype : dtype, optional
    float32 unless another floating one.
device : 'cpu', optional

Returns
-------
Tensor, shape ({shape},)

Raises
------
ValueError
    If n is less than 1 or d is 0.
TypeError
    If n is no int, d no number, or the dtype not floating."""


def _frequencies(name: str, n: Any, d: Any, dtype: Any, device: Any, half: bool) -> Tensor:
    check_device(name, device)
    n = check_int(name, "n", n)
    step = check_number(name, "d", d)
    if n < 1 or step == 0:
        msg = f"{name}: n must be at least 1 and d not 0, got {n} and {shown(d)}"
        raise ValueError(msg)
    wanted = float32 if dtype is None else check_dtype(dtype, name)
    if wanted.kind != "f":
        msg = f"{name}: the dtype must be floating, got {wanted}"
        raise TypeError(msg)
    k = np.arange(n // 2 + 1 if half else n, dtype=np.float64)
    if not half:
        k[(n + 1) // 2 :] -= n
    with np.errstate(all="ignore"):
        return wrap((k / (n * float(step))).astype(wanted), None)


@registered(
    "fftfreq",
    "Return the frequencies of the numbers of `fft`.",
    _FREQUENCIES.format(shape="n"),
    extension="fft",
)
def fftfreq(
    n: int, /, *, d: float = 1.0, dtype: DTypeLike | None = None, device: Any = None
) -> Tensor:  # fft-13
    return _frequencies("fftfreq", n, d, dtype, device, half=False)


@registered(
    "rfftfreq",
    "Return the frequencies of the numbers of `rfft`.",
    _FREQUENCIES.format(shape="n // 2 + 1"),
    extension="fft",
)
def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: DTypeLike | None = None, device: Any = None
) -> Tensor:  # fft-13
    return _frequencies("rfftfreq", n, d, dtype, device, half=True)


_SHIFT = """Parameters
----------
x : Tensor or raw array
axes : int or sequence of int, optional
    Left out, all.

Returns
-------
Tensor, as x

Raises
------
ValueError
    If an axis is out of range or named twice.
TypeError
    If x is no array, or an axis no int."""


def _shifted(name: str, x: Any, axes: Any, sign: int) -> Tensor:
    x = as_tensor(name, x)
    wanted: Axis = axes
    if axes is not None:
        several = isinstance(axes, Sequence) and not isinstance(axes, str)
        wanted = tuple(_ints(name, "axes", axes)) if several else check_int(name, "axes", axes)
    places = normalize_axes(name, wanted, x.shape)
    moved = tuple([sign * (x.shape[k] // 2) for k in places])
    result: Tensor = REGISTRY["roll"](x, moved, axis=places) if places else x
    return result


@registered("fftshift", "Put the zero frequency in the middle.", _SHIFT, extension="fft")
def fftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:  # fft-14
    return _shifted("fftshift", x, axes, 1)


@registered("ifftshift", "Put the zero frequency back to the front.", _SHIFT, extension="fft")
def ifftshift(x: Any, /, *, axes: int | Sequence[int] | None = None) -> Tensor:  # fft-14
    return _shifted("ifftshift", x, axes, -1)


__all__ = sorted(EXTENSIONS["fft"])


def __dir__() -> list[str]:
    return __all__
