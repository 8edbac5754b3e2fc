"""Kernels: CUDA C++ text from ``kernels/*.cu``, compiled on first use, and their launches."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, TypeAlias

import numpy as np

from impl_cupy.backend import cp

Slope: TypeAlias = "Callable[[Any, Any], Any]"
"""From a node and the result's gradient to an operand's."""
Step: TypeAlias = "tuple[int, int, int]"
"""The first row of a recurrent step, that of the states before it, and how many rows it has."""

# A function of ``pointwise.cu``: its template's type, what it returns, what it takes.
_TEMPLATE = r"template <typename (\w+)>\n__device__ inline ([\w ]+) {name}\(([^)]*)\)"
_THREADS = 256
_BLOCK = (_THREADS,)
# Kernels stride over what the grid does not cover, so a cap costs nothing but a loop.
_MOST_BLOCKS = 65535
_SUFFIX = {"float32": "float", "float64": "double"}


@cache
def _source(stem: str) -> str:
    return (files("impl_cupy") / "kernels" / f"{stem}.cu").read_text(encoding="utf-8")


@cache
def _module(stem: str) -> Any:
    return cp.RawModule(code=_source(stem))


@cache
def _function(stem: str, name: str) -> Any:
    return _module(stem).get_function(name)


@cache
def pointwise(name: str) -> Any:
    """Return a function of ``kernels/pointwise*.cu`` as an operation on arrays that broadcast.

    Parameters
    ----------
    name : str
        The function; those of other files than ``pointwise.cu`` stand behind it, and may use what
        it has. What it takes of its template's type has one dtype in a call.

    Returns
    -------
    cupy.ElementwiseKernel
        Takes arrays of any layout, or numbers in the place of some, and is one launch; with an
        array more it writes there.
    """
    source = _source("pointwise")
    found = re.search(_TEMPLATE.format(name=name), source)
    if found is None:
        source += _source("pointwise_loss")
        found = re.search(_TEMPLATE.format(name=name), source)
    assert found is not None, name
    letter, result, parameters = found.groups()
    types = {letter: "T", "bool": "bool", "long long": "int64"}
    given = [parameter.rsplit(" ", 1) for parameter in parameters.split(", ")]
    takes = ", ".join(f"{types[kind]} {word}" for kind, word in given)
    call = f"made = {name}({', '.join(word for _, word in given)})"
    # The function itself has the name, so the kernel needs another.
    kernel = f"pointwise_{name}"
    return cp.ElementwiseKernel(takes, f"{types[result]} made", call, kernel, preamble=source)


def fused(name: str, saved: str, on_tensors: Slope) -> Slope:
    """Make a slope that is one kernel on raw arrays, ``kernels/pointwise.cu``'s `name`.

    The kernel gets what `saved` names of the node, then the gradient. On Tensors, where the way
    back is recorded, the slope is `on_tensors`, and so it is on complex arrays.
    """
    words = saved.split()

    def slope(node: Any, grad: Any) -> Any:
        if isinstance(grad, cp.ndarray) and grad.dtype.kind != "c":
            return pointwise(name)(*[getattr(node, word) for word in words], grad)
        return on_tensors(node, grad)

    return slope


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
    function = _function(stem, f"{name}_{_SUFFIX[dtype.name]}")
    function(_grid(count), _BLOCK, tuple([_argument(value, dtype) for value in (*args, count)]))


def each_step(
    stem: str,
    name: str,
    dtype: np.dtype[Any],
    width: int,
    arrays: tuple[Any, ...],
) -> Callable[[Step], None]:
    """Return a function that runs a kernel on a step, whose other arguments are made ready once.

    Parameters
    ----------
    stem, name, dtype
        As for `launch`.
    width : int
        How many units of work each of the step's rows has.
    arrays : tuple
        The kernel's first arguments, as for `launch`. After them come the step's first row and the
        row before, `width`, and the number of units of work.
    """
    function = _function(stem, f"{name}_{_SUFFIX[dtype.name]}")
    head = tuple([_argument(value, dtype) for value in arrays])
    columns = np.int64(width)

    def run(step: Step) -> None:
        row, before, rows = step
        count = rows * width
        sizes = np.int64(row), np.int64(before), columns, np.int64(count)
        function(_grid(count), _BLOCK, (*head, *sizes))

    return run


def _grid(count: int) -> tuple[int]:
    return (min((count + _THREADS - 1) // _THREADS, _MOST_BLOCKS),)


def _argument(value: Any, dtype: np.dtype[Any]) -> Any:
    if isinstance(value, bool):
        return np.int32(value)
    if isinstance(value, int):
        return np.int64(value)
    if isinstance(value, float):
        return dtype.type(value)
    return value
