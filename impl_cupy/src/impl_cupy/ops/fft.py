"""`nn.ops.fft`: the extension of the Python array API standard 2025.12, and nothing else.

Cutting and filling to a length, conjugates and real parts are operations of `ops`, before and after
the `transforms`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from impl_cupy.checks import (
    as_ints,
    check_device,
    check_floating_dtype,
    check_int,
    check_number,
    normalize_axes,
    shown,
    to_device,
)
from impl_cupy.dtypes import DTypeLike, complex64
from impl_cupy.ops.families import extensions, written_in
from impl_cupy.ops.transforms import BACK, to_half, to_real, whole
from impl_cupy.recording import as_tensor, cast
from impl_cupy.sums import cut
from impl_cupy.tape import handles, wrap
from impl_cupy.tensor import Tensor

_TOO_LONG = 1 << 48
_LARGEST = sys.float_info.max


# Arguments.


def _of_length(x: Any, axis: int, size: int) -> Any:
    """Cut a Tensor behind a length, or fill it with zeros up to it (fft-04)."""
    present = x.shape[axis]
    if present == size:
        return x
    if present > size:
        return cut(x, axis, 0, size)
    widths = [(0, size - present if place == axis else 0) for place in range(x.ndim)]
    return handles.pad(x, widths)


def _taken(name: str, x: Any, *, real: bool) -> Any:
    """Return what a transform takes as a Tensor: floating where it is `real`, else complex.

    Raises
    ------
    TypeError
        If it is no array, or of another dtype.
    """
    value = as_tensor(name, x)
    kind = value._data.dtype.kind
    if kind not in "fc" or (real and kind == "c"):
        wanted = "floating" if real else "floating or complex"
        msg = f"{name}: x must be {wanted}, got dtype {value._data.dtype.name}; use astype first"
        raise TypeError(msg)
    return value if real else cast(value, np.promote_types(value._data.dtype, complex64))


def _check_norm(name: str, norm: Any) -> str:
    if not isinstance(norm, str):
        msg = f"{name}: norm must be a str, got {shown(norm)}"
        raise TypeError(msg)
    if norm not in BACK:
        msg = f"{name}: norm must be 'backward', 'ortho' or 'forward', got {norm!r}"
        raise ValueError(msg)
    return norm


def _check_axis(name: str, axis: Any, shape: tuple[int, ...]) -> int:
    (place,) = normalize_axes(name, check_int(name, "axis", axis), shape)
    return place


def _lengths(
    name: str, sizes: tuple[int | None, ...], axes: tuple[int, ...], shape: Any, *, half: bool
) -> tuple[int, ...]:
    """Return the lengths of a transform along its axes; of the last one it may be that of a result.

    Raises
    ------
    ValueError
        That names the length, if there is one below 1.
    """
    lengths = []
    for number, (size, axis) in enumerate(zip(sizes, axes, strict=True)):
        present = shape[axis]
        is_last = half and number == len(axes) - 1
        length = size if size is not None else 2 * (present - 1) if is_last else present
        if length < 1:
            given = f"got {size}" if size is not None else f"got none for shape {shape}"
            msg = f"{name}: the length of a transform must be at least 1, {given} (axis {axis})"
            raise ValueError(msg)
        lengths.append(length)
        if length >= _TOO_LONG:
            msg = f"{name}: the length of a transform must fit in memory, got {length}"
            raise ValueError(msg)
    return tuple(lengths)


def _one_axis(name: str, x: Any, n: Any, axis: Any, *, half: bool) -> tuple[int, int]:
    place = _check_axis(name, axis, x.shape)
    size = None if n is None else check_int(name, "n", n)
    (length,) = _lengths(name, (size,), (place,), x.shape, half=half)
    return length, place


def _several_axes(
    name: str, x: Any, s: Any, axes: Any, *, half: bool, some: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return lengths and axes of a transform along several, of which `some` must be there."""
    for argument, value in (("s", s), ("axes", axes)):
        if value is not None and not isinstance(value, (tuple, list)):
            msg = f"{name}: {argument} must be a sequence of ints, got {shown(value)}"
            raise TypeError(msg)
    sizes = None if s is None else as_ints(name, "s", s)
    if sizes is not None and axes is None:
        msg = f"{name}: s needs axes, one for each length, got s {shown(s)} alone"
        raise ValueError(msg)
    places = normalize_axes(name, None if axes is None else as_ints(name, "axes", axes), x.shape)
    if some and not places:
        msg = f"{name}: there must be an axis to transform, got axes {axes} for shape {x.shape}"
        raise ValueError(msg)
    if sizes is None:
        sizes = (-1,) * len(places)
    if len(sizes) != len(places):
        msg = f"{name}: s must have one length for each axis, got s {s} and axes {axes}"
        raise ValueError(msg)
    given = tuple(None if size == -1 else size for size in sizes)
    return _lengths(name, given, places, x.shape, half=half), places


# The functions.

_ALONG = """

    Parameters
    ----------
    x : Tensor or raw array
        {x}
    n : int, optional
        The length of the transform along `axis`{n}: a longer axis loses its end, a shorter one gets
        zeros.
    axis : int
    norm : str
        ``"backward"``, ``"ortho"`` or ``"forward"``: where the factor 1 / n stands.

    Returns
    -------
    Tensor, {result}

    Raises
    ------
    TypeError
        If `x` is no array or of another dtype, `n` or `axis` no int or `norm` no str.
    ValueError
        If a length is below 1, `axis` out of range or `norm` none of the three.
    """
_OVER = """

    Parameters
    ----------
    x : Tensor or raw array
        {x}
    s : sequence of int, optional
        The lengths along `axes`{n}; -1 stands for what None would give.
    axes : sequence of int, optional
        All of them in order where it is None.
    norm : str
        ``"backward"``, ``"ortho"`` or ``"forward"``: where the factor 1 / n stands, n being the
        product of the lengths.

    Returns
    -------
    Tensor, {result}

    Raises
    ------
    TypeError
        If `x` is no array or of another dtype, `s` or `axes` no sequence of ints or `norm` no str.
    ValueError
        If a length is below 1, an axis out of range or named twice, `s` given without `axes` or of
        another length, or `norm` none of the three.
    """
_WORDS = {
    "complex": {"x": "Floating or complex.", "n": "", "result": "complex"},
    "real": {
        "x": "Floating.",
        "n": "",
        "result": "complex, with ``n // 2 + 1`` numbers along the last axis transformed",
    },
    "half": {
        "x": "Floating or complex, the first half of a spectrum.",
        "n": ", the last one that of the result",
        "result": "floating",
    },
}


def _enter(name: str, summary: str, kind: str, operation: Any) -> Any:
    """Name and document a function, and enter it in the namespace."""
    operation.__name__ = name
    frame = _OVER if name.endswith("n") else _ALONG
    operation.__doc__ = summary + frame.format(**_WORDS[kind])
    return written_in("fft")(operation)


def _make_whole(name: str, summary: str, *, back: bool) -> Any:
    """Make `fft` or `ifft`."""

    def operation(
        x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        value = _taken(name, x, real=False)
        norm = _check_norm(name, norm)
        length, place = _one_axis(name, value, n, axis, half=False)
        made: Tensor = whole(_of_length(value, place, length), (place,), norm, back, name)
        return made

    return _enter(name, summary, "complex", operation)


def _make_whole_n(name: str, summary: str, *, back: bool) -> Any:
    """Make `fftn` or `ifftn`."""

    def operation(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
        value = _taken(name, x, real=False)
        norm = _check_norm(name, norm)
        lengths, places = _several_axes(name, value, s, axes, half=False, some=False)
        for length, place in zip(lengths, places, strict=True):
            value = _of_length(value, place, length)
        made: Tensor = whole(value, places, norm, back, name)
        return made

    return _enter(name, summary, "complex", operation)


fft = _make_whole("fft", "Transform complex numbers along an axis.", back=False)
ifft = _make_whole("ifft", "Transform complex numbers along an axis back.", back=True)
fftn = _make_whole_n("fftn", "Transform complex numbers along several axes.", back=False)
ifftn = _make_whole_n("ifftn", "Transform complex numbers along several axes back.", back=True)


def _make_real(name: str, summary: str, *, back: bool) -> Any:
    """Make `rfft`, or `ihfft`, which is its conjugate."""

    def operation(
        x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        value = _taken(name, x, real=True)
        norm = _check_norm(name, norm)
        length, place = _one_axis(name, value, n, axis, half=False)
        value = _of_length(value, place, length)
        half: Tensor = to_half(value, place, BACK[norm] if back else norm, name)
        return handles.conj(half) if back else half

    return _enter(name, summary, "real", operation)


rfft = _make_real("rfft", "Transform real numbers to half a spectrum.", back=False)
ihfft = _make_real("ihfft", "Transform real numbers back to half a spectrum.", back=True)


def _make_half(name: str, summary: str, *, back: bool) -> Any:
    """Make `irfft`, or `hfft`, which is that of the conjugate."""

    def operation(
        x: Any, /, *, n: int | None = None, axis: int = -1, norm: str = "backward"
    ) -> Tensor:
        value = _taken(name, x, real=False)
        norm = _check_norm(name, norm)
        length, place = _one_axis(name, value, n, axis, half=True)
        value = _of_length(value, place, length // 2 + 1)
        value = value if back else handles.conj(value)
        made: Tensor = to_real(value, length, place, norm if back else BACK[norm], name)
        return made

    return _enter(name, summary, "half", operation)


irfft = _make_half("irfft", "Transform half a spectrum back to real numbers.", back=True)
hfft = _make_half("hfft", "Transform half a Hermitian signal to real numbers.", back=False)


def rfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    value = _taken("rfftn", x, real=True)
    norm = _check_norm("rfftn", norm)
    lengths, places = _several_axes("rfftn", value, s, axes, half=False, some=True)
    for length, place in zip(lengths, places, strict=True):
        value = _of_length(value, place, length)
    half = to_half(value, places[-1], norm, "rfftn")
    made: Tensor = whole(half, places[:-1], norm, False, "rfftn") if places[:-1] else half
    return made


def irfftn(x: Any, /, *, s: Any = None, axes: Any = None, norm: str = "backward") -> Tensor:
    value = _taken("irfftn", x, real=False)
    norm = _check_norm("irfftn", norm)
    lengths, places = _several_axes("irfftn", value, s, axes, half=True, some=True)
    present = (*lengths[:-1], lengths[-1] // 2 + 1)
    for length, place in zip(present, places, strict=True):
        value = _of_length(value, place, length)
    if places[:-1]:
        value = whole(value, places[:-1], norm, True, "irfftn")
    made: Tensor = to_real(value, lengths[-1], places[-1], norm, "irfftn")
    return made


rfftn = _enter("rfftn", "Transform real numbers along several axes, the last first.", "real", rfftn)
irfftn = _enter("irfftn", "Transform half a spectrum back along several axes.", "half", irfftn)


def _frequencies(name: str, n: Any, d: Any, dtype: DTypeLike, device: Any, half: bool) -> Tensor:
    count = check_int(name, "n", n)
    if not 1 <= count < _TOO_LONG:
        msg = f"{name}: n must be at least 1 and fit in memory, got {n}"
        raise ValueError(msg)
    check_number(name, "d", d)
    if d == 0 or abs(d) > _LARGEST:
        msg = f"{name}: d must not be 0 and fit float64, got {d}"
        raise ValueError(msg)
    wanted = check_floating_dtype(name, dtype)
    check_device(name, device)
    with np.errstate(all="ignore"):
        values = (np.fft.rfftfreq if half else np.fft.fftfreq)(count, float(d)).astype(wanted)
    made: Tensor = wrap(to_device(name, values))
    return made


@written_in("fft")
def fftfreq(n: int, /, *, d: float = 1.0, dtype: DTypeLike = None, device: Any = None) -> Tensor:
    """Return the frequencies of `fft`: those from 0 on, then those below.

    Parameters
    ----------
    n : int
        The length of the transform.
    d : number
        The distance of two samples.
    dtype : dtype, optional
        float32 or float64.
    device : object, optional
        None, or the device that Tensors are on.

    Returns
    -------
    Tensor, shape (n,)
        In cycles by the unit of `d`.

    Raises
    ------
    TypeError
        If `n` is no int, `d` no number or `dtype` not floating.
    ValueError
        If `n` is below 1, or `d` is 0.
    """
    return _frequencies("fftfreq", n, d, dtype, device, False)


@written_in("fft")
def rfftfreq(n: int, /, *, d: float = 1.0, dtype: DTypeLike = None, device: Any = None) -> Tensor:
    """Return the frequencies of `rfft`, from 0 on.

    Parameters
    ----------
    n, d, dtype, device
        As of `fftfreq`.

    Returns
    -------
    Tensor, shape (n // 2 + 1,)

    Raises
    ------
    TypeError, ValueError
        As of `fftfreq`.
    """
    return _frequencies("rfftfreq", n, d, dtype, device, True)


def _shifted(name: str, x: Any, axes: Any, back: bool) -> Tensor:
    value = as_tensor(name, x)
    given = None if axes is None else as_ints(name, "axes", axes)
    places = normalize_axes(name, given, value.shape)
    halves = [value.shape[place] // 2 for place in places]
    steps = tuple(-half if back else half for half in halves)
    return handles.roll(value, steps, axis=places) if places else handles.roll(value, 0)


@written_in("fft")
def fftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """Bring the zero frequency to the middle.

    Parameters
    ----------
    x : Tensor or raw array, any dtype
    axes : int or sequence of int, optional
        All of them where it is None.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError
        If `x` is no array, or an axis no int.
    ValueError
        If an axis is out of range or named twice.
    """
    return _shifted("fftshift", x, axes, False)


@written_in("fft")
def ifftshift(x: Any, /, *, axes: Any = None) -> Tensor:
    """Bring the zero frequency from the middle to the front; undoes `fftshift`.

    Parameters
    ----------
    x, axes
        As of `fftshift`.

    Returns
    -------
    Tensor, shape of `x`

    Raises
    ------
    TypeError, ValueError
        As of `fftshift`.
    """
    return _shifted("ifftshift", x, axes, True)


__all__ = sorted(extensions["fft"])

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def __dir__() -> list[str]:
    return __all__
