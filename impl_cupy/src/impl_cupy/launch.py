"""Kernels: CUDA C++ text from ``kernels/*.cu``, compiled on first use, and their launches."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from impl_cupy.backend import cp

_THREADS = 256
# Kernels stride over what the grid does not cover, so a cap costs nothing but a loop.
_MOST_BLOCKS = 65535
_SUFFIX = {"float32": "float", "float64": "double"}


@cache
def _module(stem: str) -> Any:
    source = (files("impl_cupy") / "kernels" / f"{stem}.cu").read_text(encoding="utf-8")
    return cp.RawModule(code=source)


@cache
def _function(stem: str, name: str) -> Any:
    return _module(stem).get_function(name)


def launch(stem: str, name: str, dtype: np.dtype[Any], count: int, *args: Any) -> None:
    """Run ``name_float`` or ``name_double`` of ``kernels/<stem>.cu``.

    Parameters
    ----------
    stem : str
        The file.
    name : str
        The kernel.
    dtype : dtype
        float32 or float64: which variant.
    count : int
        How many units of work there are, one a thread; with 0 nothing is launched.
    *args : cupy.ndarray, int, float or bool
        The kernel's arguments without `count`, which comes last. Arrays are C-contiguous; ints
        become ``long long``, floats the variant's own type and bools ``int``.
    """
    if count == 0:
        return
    blocks = min((count + _THREADS - 1) // _THREADS, _MOST_BLOCKS)
    function = _function(stem, f"{name}_{_SUFFIX[dtype.name]}")
    function((blocks,), (_THREADS,), tuple(_argument(value, dtype) for value in (*args, count)))


def _argument(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, bool):
        return np.int32(value)
    if isinstance(value, int):
        return np.int64(value)
    if isinstance(value, float):
        return dtype.type(value)
    return value
