"""Finding the operation that made a NaN or an infinity of finite numbers (autograd-42)."""

from __future__ import annotations

import cmath
import os
import sys
from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

import numpy as np

from impl_numpy.autograd.modes import Fixed
from impl_numpy.dtypes import Array, Value
from impl_numpy.function_node import Parts
from impl_numpy.tape import MODE, THROUGH, WATCHING, Node, Scattered

# Primitives that stand for a function of another name.
_FUNCTIONS = {"pow by a number": "pow", "concat of two": "concat"}
# What is not the caller.
_INSIDE = tuple([os.path.dirname(p) + os.sep for p in (os.path.dirname(__file__), np.__file__)])


class detect_anomaly(Fixed):
    """Raise where an operation makes a NaN or an infinity of finite numbers, forward or backward.

    A context manager and a decorator, of this thread, as `no_grad` is. The RuntimeError names the
    operation, and the place that called it.
    """

    def __enter__(self) -> None:
        outside = MODE.check, MODE.pulling, MODE.through
        MODE.outside.append((self, outside))
        MODE.check, MODE.pulling = _check, _pulled
        MODE.through = partial(_unwatched, outside[2])
        WATCHING.append(None)
        THROUGH.append(None)

    def __exit__(self, *error: object) -> None:
        THROUGH.pop()
        WATCHING.pop()
        outside = MODE.outside
        k = -1
        while outside[k][0] is not self:
            k -= 1
        MODE.check, MODE.pulling, MODE.through = outside.pop(k)[1]

    def _again(self) -> detect_anomaly:
        return detect_anomaly()

    def _running(self, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        step: Callable[..., Any] = steps.send
        given: Any = None
        while True:
            try:
                with detect_anomaly():
                    made = step(given)
            except StopIteration as stop:
                return stop.value
            try:
                step, given = steps.send, (yield made)
            except BaseException as error:
                step, given = steps.throw, error


def function_name(name: str) -> str:
    """Return the name of the function in `ops` that a primitive stands for."""
    return _FUNCTIONS.get(name, name)


def _unwatched(outside: Any, forward: Callable[..., Any], *args: Any, **config: Any) -> Any:
    """Call a Function's forward: what it makes inside is its own affair."""
    check, MODE.check = MODE.check, None
    try:
        return forward(*args, **config) if outside is None else outside(forward, *args, **config)
    finally:
        MODE.check = check


def _check(name: str, given: Sequence[Any], results: Sequence[Array], node: Node | None) -> None:
    """Raise if an operation gave what it did not get, and note where a node was called."""
    found = _found(results)
    if (not found and node is None) or _found(given):
        return
    place = _place()
    if found:
        msg = f"{function_name(name)}: got finite numbers and gave {found}; called at {place}"
        raise RuntimeError(msg)
    if node is not None:
        node.place = place


def _pulled(node: Node, grad: Any, record: bool) -> Sequence[Value | None]:
    """Run a node back, and raise if it gives what it did not get."""
    check = MODE.check
    if not node.again:
        MODE.check = partial(_note, _place()) if record else None
    try:
        grads = node.pull_recorded(grad) if record else node.pull(grad)
    finally:
        MODE.check = check
    place = getattr(node, "place", None)
    if place is not None and not _found(grad):
        for k, (parent, part) in enumerate(zip(node.parents, grads, strict=True)):
            found = None if parent is None else _found(part)
            if found:
                msg = (
                    f"backward: {function_name(node.name)} got finite numbers and gave {found} as "
                    f"the gradient of its input {k}; called at {place}"
                )
                raise RuntimeError(msg)
    return grads


def _note(
    place: str, _name: str, given: Sequence[Any], results: Sequence[Array], node: Node | None
) -> None:
    """Note where the pass was called that records a node; what it makes is looked at as a whole."""
    if node is not None and not _found((*given, *results)):
        node.place = place


def _found(x: Any) -> str:
    """Return what is not finite among numbers in arrays and nested containers, or nothing."""
    if isinstance(x, (np.ndarray, np.generic)):
        if x.dtype.kind not in "fc" or np.isfinite(x).all():
            return ""
        return "NaN" if np.isnan(x).any() else "infinity"
    if isinstance(x, (float, complex)):
        return "" if cmath.isfinite(x) else "NaN" if cmath.isnan(x) else "infinity"
    if isinstance(x, (tuple, list)):
        return next((found for found in map(_found, x) if found), "")
    if isinstance(x, dict):
        return _found(list(x.values()))
    if isinstance(x, Parts):
        return _found(x.items)
    if isinstance(x, Scattered):
        return _found(x.grad)
    return _found(x._data) if hasattr(type(x), "_node") else ""


def _place() -> str:
    """Return the innermost caller that is neither this package nor NumPy, as file:line."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(_INSIDE) and frame.f_back is not None:
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
