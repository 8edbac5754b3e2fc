"""NaN and infinities are found where they come up."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import numpy as np

from impl_cupy.autograd.modes import Bare
from impl_cupy.backend import cp
from impl_cupy.memory import RawArray
from impl_cupy.tape import Node, Observing, Part, Recorded, state

# Where the implementation and its backend are: no caller is there.
_OWN = tuple(
    f"{folder}{os.sep}"
    for folder in (Path(__file__).parents[1], Path(cp.__file__).parent, Path(np.__file__).parent)
)


_PACKAGE = f"{__name__.partition('.')[0]}."
_CONTAINERS = f"{_PACKAGE}nn.container"


class detect_anomaly(Bare):
    """Refuse a NaN or an infinity that comes of finite numbers: ``with detect_anomaly(): ...``.

    It is a decorator also, ``@detect_anomaly`` or ``@detect_anomaly()``. In the block an operation,
    a layer, a loss or a Function that gets finite numbers and gives others raises RuntimeError that
    names it and ends with the place that called it, as ``file:line``; in the pass back so does one
    that was recorded in such a block, with the word "backward".
    """

    __slots__ = ()

    def _block(self) -> Observing:
        return Observing("anomalies", _Checker())


class _Checker:
    """Looks at what is computed in one block of one thread.

    Attributes
    ----------
    is_finite : bool
        Of the last computation: whether all that it got and gave is finite.
    inside : int
        How many layers and recorded backwards it is in, whose results alone matter.
    place : str or None
        In a backward that is recorded: where it was called.
    """

    def __init__(self) -> None:
        outer = state.anomalies
        self.is_finite = True
        self.inside: int = 0 if outer is None else outer.inside
        self.place: str | None = None if outer is None else outer.place

    def computed(self, name: str, function: Any, given: Sequence[Any], made: Sequence[Any]) -> None:
        """Look at a computation: its arguments and results.

        Raises
        ------
        RuntimeError
            If it gave no finite numbers and got such.
        """
        has_arrays = any(isinstance(part, cp.ndarray) for part in given)
        self.is_finite = True
        for result in made:
            if _is_finite(result):
                continue
            self.is_finite = False
            got = *given, *_constants(function)
            if not self.inside and has_arrays and all(map(_is_finite, _parts(got))):
                _refuse(f"{name}: gave {_word(result)} from finite numbers", self._where())
        if self.is_finite:
            self.is_finite = all(map(_is_finite, _parts(given)))

    def recorded(self, node: Node) -> None:
        """Note of a node where it was made."""
        node.origin = self._where(), self.is_finite

    def called(self, module: Any, forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a Module's `forward`; of a layer of this package the result alone counts.

        Raises
        ------
        RuntimeError
            If a layer's result is not finite, and what it is given and has is.
        """
        room = type(module).__module__
        before = self.inside
        if room.startswith(_CONTAINERS):
            return forward(*args, **kwargs)
        is_ours = room.startswith(_PACKAGE)
        self.inside = before + 1 if is_ours else 0
        try:
            output = forward(*args, **kwargs)
        finally:
            self.inside = before
        if is_ours and not before:
            name = type(module).__name__
            given = [args, kwargs, module._parameters, module._buffers]
            for result in _parts(output):
                if not _is_finite(result) and all(map(_is_finite, _parts(given))):
                    _refuse(f"{name}: gave {_word(result)} from finite numbers", self._where())
        return output

    def inspector(self, recorded: bool) -> _Inspector:
        """Return what looks at the nodes of a pass that begins."""
        return _Inspector(self, recorded, self._where())

    def _where(self) -> str:
        return self.place or _place()


class _Inspector:
    """Looks at what the nodes of one pass give."""

    def __init__(self, checker: _Checker, recorded: bool, place: str) -> None:
        self.checker = checker
        self.recorded = recorded
        self.place = place

    def pull(self, node: Node, grads: list[Any], retain: bool) -> Sequence[Any]:
        """Let a node turn gradients into its inputs', and look at these.

        Raises
        ------
        RuntimeError
            If one is not finite, and all that came, then and now, was.
        """
        origin: tuple[str, bool] | None = getattr(node, "origin", None)
        was_finite = origin is not None and origin[1] and all(map(_is_finite, _parts(grads)))
        results = self._pull(node, grads, retain)
        if origin is not None and was_finite:
            for edge, result in zip(node.edges or (), results, strict=False):
                if edge is not None and not _is_finite(result):
                    said = f"{node.called()}: backward gave {_word(result)} from finite numbers"
                    _refuse(said, origin[0])
        return results

    def _pull(self, node: Node, grads: list[Any], retain: bool) -> Sequence[Any]:
        if not self.recorded:
            return node.pull(grads, retain)
        checker = self.checker
        before, checker.place = checker.place, self.place
        checker.inside += 1
        try:
            return node.pull_recorded(grads)
        finally:
            checker.inside -= 1
            checker.place = before


def _refuse(said: str, place: str) -> NoReturn:
    msg = f"{said}; called at {place}"
    raise RuntimeError(msg)


def _word(value: Any) -> str:
    return "NaN" if bool(cp.any(cp.isnan(_raw(value)))) else "infinity"


def _raw(value: Any) -> Any:
    if type(value) is Part:
        value = value.values
    return value._data if isinstance(value, Recorded) else value


def _is_finite(value: Any) -> bool:
    """Tell whether a number, or each element of an array, is finite; others are."""
    raw: RawArray = _raw(value)
    if isinstance(raw, (cp.ndarray, np.ndarray)):
        space = cp if isinstance(raw, cp.ndarray) else np
        return raw.dtype.kind not in "fc" or bool(space.all(space.isfinite(raw)))
    if isinstance(raw, (float, complex, np.floating)):
        return math.isfinite(raw.real) and math.isfinite(raw.imag)
    return True


def _constants(function: Any) -> Iterator[Any]:
    """Iterate over what the closures of an operation hold: numbers and arrays are its constants."""
    waiting, seen = [function], set()
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        for cell in getattr(part, "__closure__", None) or ():
            waiting.append(cell.cell_contents)


def _parts(value: Any) -> Iterator[Any]:
    """Iterate over what hangs in tuples, lists and dicts, nested."""
    waiting, seen = [value], set()
    while waiting:
        part = waiting.pop()
        if isinstance(part, (tuple, list, dict)):
            if id(part) not in seen:
                seen.add(id(part))
                waiting.extend(part.values() if isinstance(part, dict) else part)
        else:
            yield part


def _place() -> str:
    """Return the innermost caller outside the implementation and its backend."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return "" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"
