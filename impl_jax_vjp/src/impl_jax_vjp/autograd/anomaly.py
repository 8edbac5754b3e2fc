"""NaN and infinities found where they come up.

Inside the block the tape shows every operation that was done. One that made what is not finite of
numbers that are is an anomaly; one that was recorded gets a rule around its own, which remembers
where it was called and looks at the gradients when a backward pass comes by.
"""

import os
import sys
from collections.abc import Iterable, Sequence
from types import FrameType
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

from ..dtypes import in_x64
from ..tape import MODE, Node, Scattered, Traced, node_of
from .modes import NamedSwitch

Array = Any

# The folders of the implementation and of its backend, whose frames are nobody's program.
_OWN = tuple(
    os.path.join(os.path.dirname(os.path.abspath(file)), "")
    for file in (os.path.dirname(__file__), jax.__file__, jaxlib.__file__)
)

_all_finite = jax.jit(lambda array: jnp.isfinite(array).all())


def checking() -> bool:
    """Tell whether anomalies are looked for in this thread."""
    return _CHECKER in MODE.watch


@in_x64
def _fault(value: Any) -> str:
    """Return what is in an array or number that is not finite, or nothing."""
    if isinstance(value, Traced):
        value = value._data
    if isinstance(value, Scattered) or not isinstance(
        value, jax.Array | np.ndarray | np.generic | float | complex
    ):
        return ""  # What is scattered is made of a gradient that was looked at.
    if isinstance(value, jax.core.Tracer) or jnp.result_type(value).kind not in "fc":
        return ""
    if _all_finite(value):
        return ""
    return "NaN" if np.isnan(np.asarray(value)).any() else "infinity"


def _faults(values: Iterable[Any]) -> str:
    """Return the first of what is not finite in some values."""
    return next(filter(None, map(_fault, values)), "")


def _place() -> str:
    """Return file and line of the innermost frame that is the program's own."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_OWN):
        frame = frame.f_back
    return "unknown" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


class _Checker:
    """Looks at what operations give, and sees that it is asked about their gradients."""

    def saw(self, name: str, given: Sequence[Any], made: Any, derived: bool = False, /) -> None:
        """Raise `RuntimeError` where what is not finite was made of what is.

        The way back of an operation (`derived`) is looked at by the rule of that operation.
        """
        if MODE.inside and not derived:
            return  # A Function's own code: what comes out of the Function counts.
        fault = _faults(made if isinstance(made, tuple | list) else (made,))
        fine = not _faults(given)
        if fault and fine and not derived:
            msg = f"{name}: gives {fault} for finite numbers; it was called at {_place()}"
            raise RuntimeError(msg)
        node = node_of(made)
        if node is not None and fine:
            assert node.rule is not None
            node.rule = _Checked(node.rule, _place())


_CHECKER = _Checker()


class _Checked:
    """A rule of an operation on finite numbers, of which the place is known."""

    __slots__ = ("inner", "name", "place")

    def __init__(self, inner: Any, place: str) -> None:
        self.inner = inner
        self.name = inner.name
        self.place = place

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return the gradients of the inputs, checked inside a block."""
        return self._checked(grads, self.inner.pull(saved, grads))

    def derive(self, node: Node, grads: Sequence[Any], /) -> Sequence[Any]:
        """Return the gradients of the inputs, recorded on the tape, checked inside a block."""
        return self._checked(grads, self.inner.derive(node, grads))

    def _checked(self, grads: Sequence[Any], pulled: Sequence[Any]) -> Sequence[Any]:
        if checking():
            fault = _faults(pulled)
            if fault and not _faults(grads):
                msg = (
                    f"{self.name}: backward gives {fault} for finite numbers and gradients; "
                    f"forward was called at {self.place}"
                )
                raise RuntimeError(msg)
        return pulled


class detect_anomaly(NamedSwitch):
    """Find where a NaN or an infinity comes up, in a ``with`` block or a decorated function.

    Raises
    ------
    RuntimeError
        Where an operation, a layer, a loss or a Function gets finite numbers and gives others, or
        its backward does. It names the operation and ends with the place of its call as
        ``file:line``.
    """

    _flag = True

    def _get(self) -> Any:
        return checking()

    def _put(self, value: Any) -> None:
        others = tuple([watcher for watcher in MODE.watch if watcher is not _CHECKER])
        # The last: it looks at rules that others have changed.
        MODE.watch = (*others, _CHECKER) if value else others
