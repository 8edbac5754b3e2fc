"""Discrete Fourier transforms: the extension `fft` of the array API standard 2025.12.

Values and derivatives are torch's. Added are the standard's arguments and their refusals.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_choice,
    check_device,
    check_dtype,
    check_int,
    check_number,
    check_tensor,
    normalize_axes,
    normalize_axis,
    shown,
)
from impl_torch_ext.dtypes import complex64, complex128, float32, float64
from impl_torch_ext.ops.families import extensions, listed, registry
from impl_torch_ext.tracing import conjugated

_WIDE = {float32: complex64, float64: complex128}
# By what `norm` the other direction has the same factor.
_OTHER = {"backward": "forward", "ortho": "ortho", "forward": "backward"}
_norm = check_choice(*_OTHER)

_ERRORS = {
    "ValueError": "If a length is less than 1, an axis out of range or named twice, or `norm` "
    "another word.",
    "TypeError": "If `x` is no Tensor, or of a dtype that the transform does not take.",
}
_NUMBERS, _REALS = "Tensor, floating or complex", "Tensor, floating"
_NORM = (
    "'backward', 'ortho' or 'forward'\nWhich direction has the factor 1 / n: the inverse, each its "
    "root, the forward one."
)
_LENGTH = "int, optional\nThat of the transform, to which `x` is cut or filled with 0."
_OF_RESULT = "int, optional\nThat of the result; 2 (M - 1) if left out, M being that of `x`."
_LENGTHS = "sequence of ints, optional\nThe lengths of the transforms; -1 as if left out."
_AXES = "sequence of ints, optional\nAll if left out."


def _one(x: str, n: str, returns: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    parameters = {"x": x, "n": n, "axis": "int", "norm": _NORM}
    return listed(parameters, returns, _ERRORS, extension="fft")


def _several(x: str, returns: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    parameters = {"x": x, "s": _LENGTHS, "axes": _AXES, "norm": _NORM}
    return listed(parameters, returns, _ERRORS, extension="fft")


def _complex(name: str, x: Any) -> Tensor:
    if check_tensor(name, x).is_complex():
        return x
    return _floating(name, x, "floating or complex").to(_WIDE[x.dtype])


def _floating(name: str, x: Any, wanted: str = "floating") -> Tensor:
    if check_tensor(name, x).dtype not in _WIDE:
        msg = f"{name}: x must be {wanted}, got {x.dtype}"
        raise TypeError(msg)
    return x


def _check_norm(name: str, norm: Any) -> str:
    if not isinstance(norm, str):
        msg = f"{name}: norm must be one of {', '.join(_OTHER)}, got {shown(norm)}"
        raise TypeError(msg)
    return str(_norm(name, "norm", norm))


def _length(name: str, n: Any, usual: int, x: Tensor) -> int:
    length = usual if n is None else check_int(name, "n", n)
    if length < 1:
        came = "none" if n is None else str(length)
        msg = f"{name}: a length must be at least 1, got {came} for shape {tuple(x.shape)}"
        raise ValueError(msg)
    return length


def _place(name: str, axis: Any, x: Tensor) -> int:
    if isinstance(axis, bool):
        check_int(name, "axis", None)
    return normalize_axis(name, axis, x)


def _run(transform: Callable[..., Tensor], x: Tensor, n: int, axis: int, norm: str) -> Tensor:
    if not x.numel():  # Which torch does not transform: there may be something to fill.
        at = [*x.shape]
        if transform is torch.fft.irfft:
            at[axis] = n // 2 + 1
        else:
            at[axis] = n
        missing = torch.zeros(at, dtype=x.dtype)
        x = torch.cat([x, missing.narrow(axis, 0, at[axis] - x.shape[axis])], axis)
        if not x.numel():
            at[axis] = n // 2 + 1 if transform is torch.fft.rfft else n
            if transform is torch.fft.irfft:
                return x.real.sum(axis, keepdim=True).expand(at)
            wide = x if x.is_complex() else x.to(_WIDE[x.dtype])
            return wide.narrow(axis, 0, at[axis])
    return transform(x, n, axis, norm)


def _whole(name: str, transform: Callable[..., Tensor], summary: str) -> None:
    def op(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
        x, norm = _complex(name, x), _check_norm(name, norm)
        place = _place(name, axis, x)
        return _run(transform, x, _length(name, n, x.shape[place], x), place, norm)

    op.__name__, op.__doc__ = name, summary
    _one(_NUMBERS, _LENGTH, "Tensor, complex, of length `n` along the axis")(op)


_whole("fft", torch.fft.fft, "Return the discrete Fourier transform along an axis.")
_whole("ifft", torch.fft.ifft, "Return what has this discrete Fourier transform.")


@_one(_REALS, _LENGTH, "Tensor, complex, of length `n // 2 + 1` along the axis")
def rfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Return the first half of the discrete Fourier transform of real numbers."""
    x, norm = _floating("rfft", x), _check_norm("rfft", norm)
    place = _place("rfft", axis, x)
    return _run(torch.fft.rfft, x, _length("rfft", n, x.shape[place], x), place, norm)


@_one(_NUMBERS, _OF_RESULT, "Tensor, floating, of length `n` along the axis")
def irfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Return the real numbers whose transform begins with this half."""
    x, norm = _complex("irfft", x), _check_norm("irfft", norm)
    place = _place("irfft", axis, x)
    length = _length("irfft", n, 2 * (x.shape[place] - 1), x)
    return _run(torch.fft.irfft, x, length, place, norm)


@_one(_NUMBERS, _OF_RESULT, "Tensor, floating, of length `n` along the axis")
def hfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Return the real transform of numbers that begin with this half, the rest its conjugates."""
    x, norm = _complex("hfft", x), _check_norm("hfft", norm)
    place = _place("hfft", axis, x)
    length = _length("hfft", n, 2 * (x.shape[place] - 1), x)
    return _run(torch.fft.irfft, conjugated(x), length, place, _OTHER[norm])  # fft-06


@_one(_REALS, _LENGTH, "Tensor, complex, of length `n // 2 + 1` along the axis")
def ihfft(x: Tensor, /, *, n: int | None = None, axis: int = -1, norm: str = "backward") -> Tensor:
    """Return the first half of what has these real numbers for its transform."""
    x, norm = _floating("ihfft", x), _check_norm("ihfft", norm)
    place = _place("ihfft", axis, x)
    length = _length("ihfft", n, x.shape[place], x)
    return conjugated(_run(torch.fft.rfft, x, length, place, _OTHER[norm]))


def _ints(name: str, option: str, value: Any) -> list[int]:
    if not isinstance(value, Sequence) or isinstance(value, str):
        msg = f"{name}: {option} must be a sequence of ints, got {shown(value)}"
        raise TypeError(msg)
    return [check_int(name, f"each of {option}", None if i is True else i) for i in value]


def _steps(name: str, x: Tensor, s: Any, axes: Any, half: bool = False) -> list[tuple[int, int]]:
    """Return length and axis of each transform, or raise (fft-04, fft-05)."""
    if axes is None and s is not None:
        msg = f"{name}: axes must be given beside s, got s {shown(s)} alone"
        raise ValueError(msg)
    places = (
        range(x.ndim) if axes is None else normalize_axes(name, tuple(_ints(name, "axes", axes)), x)
    )
    lengths = [-1] * len(places) if s is None else _ints(name, "s", s)
    if len(lengths) != len(places):
        msg = f"{name}: s and axes must be of one length, got {shown(s)} and {shown(axes)}"
        raise ValueError(msg)
    usual = [x.shape[place] for place in places]
    if half and usual:
        usual[-1] = 2 * (usual[-1] - 1)
    return [
        (_length(name, None if n == -1 else n, m, x), place)
        for n, m, place in zip(lengths, usual, places, strict=True)
    ]


def _needed(name: str, steps: list[tuple[int, int]], x: Tensor) -> None:
    if not steps:
        msg = f"{name}: there must be an axis to transform, got none of {tuple(x.shape)}"
        raise ValueError(msg)


def _each(
    transform: Callable[..., Tensor], x: Tensor, steps: list[tuple[int, int]], norm: str
) -> Tensor:
    for n, place in steps:
        x = _run(transform, x, n, place, norm)
    return x


def _whole_n(name: str, transform: Callable[..., Tensor], summary: str) -> None:
    def op(
        x: Tensor,
        /,
        *,
        s: Sequence[int] | None = None,
        axes: Sequence[int] | None = None,
        norm: str = "backward",
    ) -> Tensor:
        x, norm = _complex(name, x), _check_norm(name, norm)
        return _each(transform, x, _steps(name, x, s, axes), norm)

    op.__name__, op.__doc__ = name, summary
    _several(_NUMBERS, "Tensor, complex")(op)


_whole_n("fftn", torch.fft.fft, "Return the discrete Fourier transform along several axes.")
_whole_n("ifftn", torch.fft.ifft, "Return what has this transform along several axes.")


@_several(_REALS, "Tensor, complex, half along the last of `axes`")
def rfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """Return half the transform of real numbers along several axes."""
    x, norm = _floating("rfftn", x), _check_norm("rfftn", norm)
    steps = _steps("rfftn", x, s, axes)
    _needed("rfftn", steps, x)
    half = _run(torch.fft.rfft, x, *steps[-1], norm)  # fft-06
    return _each(torch.fft.fft, half, steps[:-1], norm)


@_several(_NUMBERS, "Tensor, floating")
def irfftn(
    x: Tensor,
    /,
    *,
    s: Sequence[int] | None = None,
    axes: Sequence[int] | None = None,
    norm: str = "backward",
) -> Tensor:
    """Return the real numbers of which this is half the transform along several axes."""
    x, norm = _complex("irfftn", x), _check_norm("irfftn", norm)
    steps = _steps("irfftn", x, s, axes, half=True)
    _needed("irfftn", steps, x)
    others = _each(torch.fft.ifft, x, steps[:-1], norm)  # fft-06
    return _run(torch.fft.irfft, others, *steps[-1], norm)


_FREQUENCIES = {
    "n": "int\nThe length of the transform.",
    "d": "number\nThe distance of two samples.",
    "dtype": "dtype, optional\nfloat32 if left out.",
    "device": "'cpu', optional",
}
_FREQUENCY_ERRORS = {
    "ValueError": "If `n` is less than 1 or `d` is 0.",
    "TypeError": "If `n` is no int, `d` no number, or `dtype` not floating.",
}


def _frequencies(name: str, n: Any, d: Any, dtype: Any, device: Any, half: bool) -> Tensor:
    check_device(name, device)
    count, step = check_int(name, "n", n), check_number(name, "d", d)
    if count < 1 or step == 0:
        msg = f"{name}: n must be at least 1 and d not 0, got {count} and {shown(d)}"
        raise ValueError(msg)
    wanted = float32 if dtype is None else check_dtype(name, dtype)
    if wanted not in _WIDE:
        msg = f"{name}: dtype must be floating, got {wanted}"
        raise TypeError(msg)
    k = torch.arange(count // 2 + 1 if half else count, dtype=float64)
    if not half:
        k[(count + 1) // 2 :] -= count
    return (k / (count * step)).to(wanted)  # fft-13


@listed(_FREQUENCIES, "Tensor, shape (n,)", _FREQUENCY_ERRORS, extension="fft")
def fftfreq(
    n: int, /, *, d: float = 1.0, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    """Return the frequencies to which the numbers of `fft` belong."""
    return _frequencies("fftfreq", n, d, dtype, device, half=False)


@listed(_FREQUENCIES, "Tensor, shape (n // 2 + 1,)", _FREQUENCY_ERRORS, extension="fft")
def rfftfreq(
    n: int, /, *, d: float = 1.0, dtype: torch.dtype | None = None, device: Any = None
) -> Tensor:
    """Return the frequencies to which the numbers of `rfft` belong."""
    return _frequencies("rfftfreq", n, d, dtype, device, half=True)


_SHIFT = {"x": "Tensor, any dtype", "axes": "int or sequence of ints, optional\nAll if left out."}
_SHIFT_ERRORS = {
    "ValueError": "If an axis is out of range or named twice.",
    "TypeError": "If `x` is no Tensor, or an axis no int.",
}


def _shifted(name: str, x: Any, axes: Any, sign: int) -> Tensor:
    x = check_tensor(name, x)
    if axes is None:
        places = tuple(range(x.ndim))
    else:
        several = isinstance(axes, Sequence) and not isinstance(axes, str)
        chosen = _ints(name, "axes", axes) if several else [check_int(name, "axes", axes)]
        places = tuple(normalize_axes(name, tuple(chosen), x))
    moves = tuple(sign * (x.shape[place] // 2) for place in places)
    return registry["roll"](x, moves, axis=places) if places else x.clone()  # fft-14


@listed(_SHIFT, "Tensor, as `x`", _SHIFT_ERRORS, extension="fft")
def fftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return `x` with the zero frequency in the middle."""
    return _shifted("fftshift", x, axes, 1)


@listed(_SHIFT, "Tensor, as `x`", _SHIFT_ERRORS, extension="fft")
def ifftshift(x: Tensor, /, *, axes: int | Sequence[int] | None = None) -> Tensor:
    """Return `x` with the zero frequency back in front."""
    return _shifted("ifftshift", x, axes, -1)


fft, ifft, fftn, ifftn = (extensions["fft"][name] for name in ("fft", "ifft", "fftn", "ifftn"))
__all__ = sorted(extensions["fft"])


def __dir__() -> list[str]:
    return __all__
