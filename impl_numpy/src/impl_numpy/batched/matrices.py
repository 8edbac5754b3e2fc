"""How products, decompositions and transforms run on the arrays of all slices at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from impl_numpy.batched.array import Batched, aligned, asarray, has, shifted
from impl_numpy.batched.functions import _all, rule
from impl_numpy.batched.levels import Level, refuse


@rule(np.matmul)
def _matmul(level: Level, ufunc: Any, a: Any, b: Any, **options: Any) -> Any:
    if options:
        # Into an array, or along other axes.
        out = options.pop("out", (None,))[0]
        if options or not (out is None or has(out, level)):
            refuse("matmul into an array that no slice has")
        if out is not None:
            out[...] = np.matmul(a, b)
            return out
    a, b = asarray(a), asarray(b)
    first, last = a.ndim == 1, b.ndim == 1
    if not a.ndim or not b.ndim or a.shape[-1] != b.shape[-2 if not last else 0]:
        msg = f"matmul: shapes {a.shape} and {b.shape} do not fit"
        raise ValueError(msg)
    if first and not has(b, level) and b.ndim == 2:
        return Batched(level, np.matmul(a.values, b))
    x = a[None, :] if first else a
    y = b[:, None] if last else b
    ndim = max(x.ndim, y.ndim)
    result = np.matmul(aligned(x, level, ndim), aligned(y, level, ndim))
    if first:
        result = result[..., 0, :]
    return Batched(level, result[..., 0] if last else result)


@rule(np.vecdot)
def _vecdot(level: Level, ufunc: Any, a: Any, b: Any, **options: Any) -> Any:
    axis = options.pop("axis", -1)
    if options or axis != -1:
        a, b = np.moveaxis(a, axis, -1), np.moveaxis(b, axis, -1)
    ndim = max(a.ndim, b.ndim)
    return Batched(level, np.vecdot(aligned(a, level, ndim), aligned(b, level, ndim)))


@rule(np.dot)
def _dot(level: Level, a: Any, b: Any, out: Any = None) -> Any:
    if out is not None or np.ndim(b) > 2:
        return NotImplemented
    return a * b if not np.ndim(a) or not np.ndim(b) else np.matmul(a, b)


@rule(np.einsum)
def _einsum(level: Level, *operands: Any, **options: Any) -> Any:
    subscripts = operands[0]
    if type(subscripts) is not str or options.pop("out", None) is not None:
        return NotImplemented
    inputs, arrow, output = subscripts.replace(" ", "").partition("->")
    if "..." in subscripts or not arrow:
        return NotImplemented
    letter = next(
        (
            chr(code)
            for code in range(ord("A"), ord("z") + 1)
            if chr(code) not in subscripts and chr(code).isalpha()
        ),
        None,
    )
    if letter is None:
        return NotImplemented
    terms = [
        letter + term if has(x, level) else term
        for term, x in zip(inputs.split(","), operands[1:], strict=True)
    ]
    arrays = [x.values if has(x, level) else x for x in operands[1:]]
    return Batched(level, np.einsum(f"{','.join(terms)}->{letter}{output}", *arrays, **options))


@rule(np.tensordot)
def _tensordot(level: Level, a: Any, b: Any, axes: Any = 2) -> Any:
    if isinstance(axes, (int, np.integer)):
        pair = list(range(a.ndim - axes, a.ndim)), list(range(axes))
    else:
        pair = tuple([list(k) if isinstance(k, (tuple, list)) else [k] for k in axes])  # type: ignore[assignment]
    mine = [k % a.ndim for k in pair[0]]
    yours = [k % b.ndim for k in pair[1]]
    names = iter(range(a.ndim + b.ndim))
    first = [next(names) for _ in range(a.ndim)]
    second = [next(names) for _ in range(b.ndim)]
    for j, k in zip(mine, yours, strict=True):
        second[k] = first[j]
    kept = [n for k, n in enumerate(first) if k not in mine]
    kept += [n for k, n in enumerate(second) if k not in yours]
    letters = "abcdefghijklmnopqrstuvwxyz"

    def text(numbers: list[int]) -> str:
        return "".join([letters[n] for n in numbers])

    return np.einsum(f"{text(first)},{text(second)}->{text(kept)}", a, b, optimize=True)


@rule(np.lib.stride_tricks.sliding_window_view)
def _windows(level: Level, x: Any, window_shape: Any, axis: Any = None, **options: Any) -> Any:
    axes = shifted(axis, x.ndim)
    return Batched(
        level,
        np.lib.stride_tricks.sliding_window_view(x.values, window_shape, axes, **options),
    )


def _stacks(function: Any) -> None:
    """Enter a function of stacks of matrices."""

    def run(level: Level, a: Any, *args: Any, **options: Any) -> Any:
        if not has(a, level) or any([type(x) is Batched for x in (*args, *options.values())]):
            return NotImplemented
        found = function(a.values, *args, **options)
        if isinstance(found, tuple):
            parts = [Batched(level, x) for x in found]
            return type(found)(*parts) if hasattr(found, "_fields") else tuple(parts)
        return Batched(level, found)

    rule(function)(run)


for _function in _all(
    np.linalg.inv,
    np.linalg.det,
    np.linalg.slogdet,
    np.linalg.eig,
    np.linalg.eigh,
    np.linalg.eigvals,
    np.linalg.eigvalsh,
    np.linalg.cholesky,
    np.linalg.qr,
    np.linalg.svd,
    np.linalg.svdvals,
):
    _stacks(_function)


@rule(np.linalg.solve)
def _solve(level: Level, a: Any, b: Any) -> Any:
    vector = b.ndim == 1
    columns = b[:, None] if vector else b
    ndim = max(a.ndim, columns.ndim)
    found = np.linalg.solve(aligned(a, level, ndim), aligned(columns, level, ndim))
    return Batched(level, found[..., 0] if vector else found)


def _one_transform(function: Any) -> None:
    def run(level: Level, a: Any, n: Any = None, axis: int = -1, norm: Any = None) -> Any:
        return Batched(level, function(a.values, n, shifted(axis, a.ndim), norm))

    rule(function)(run)


for _function in _all(
    np.fft.fft, np.fft.ifft, np.fft.rfft, np.fft.irfft, np.fft.hfft, np.fft.ihfft
):
    _one_transform(_function)


def _transforms(function: Any) -> None:
    def run(level: Level, a: Any, s: Any = None, axes: Any = None, norm: Any = None) -> Any:
        if axes is None:
            count = a.ndim if s is None else len(s)
            axes = range(a.ndim - count, a.ndim)
        return Batched(level, function(a.values, s, shifted(tuple(axes), a.ndim), norm))

    rule(function)(run)


for _function in _all(np.fft.fftn, np.fft.ifftn, np.fft.rfftn, np.fft.irfftn):
    _transforms(_function)


def _shifts(function: Any) -> None:
    def run(level: Level, x: Any, axes: Any = None) -> Any:
        return Batched(level, function(x.values, shifted(axes, x.ndim)))

    rule(function)(run)


_shifts(np.fft.fftshift)
_shifts(np.fft.ifftshift)
