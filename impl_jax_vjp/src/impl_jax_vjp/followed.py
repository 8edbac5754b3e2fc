"""Arrays that give no number away: what a Function's code sees while JAX differentiates it.

JAX lets a value that it differentiates, and knows, be read: ``x.item()`` and ``int(x)`` are numbers
then, which count as constants in the derivative without a word. A Function's second derivative
would be wrong in silence, so its methods run on `Followed` arrays instead: every operation on them
is done by the trace that was under way, on the values behind, and reading one raises JAX's error.
A condition may be read, for the derivative of the branch taken is the right one. # function-28

And the trace that ``jax.vmap`` makes, as one that can be entered more than once: what the tape
saved in it is used again by backward, when the call of ``jax.vmap`` would long be over.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from .checks import MAPPING
from .dtypes import is_inexact

try:
    from jax.extend.core import set_current_trace, take_current_trace
except ImportError:  # JAX before 0.10, where `jax.core` has them and warns
    from jax._src.core import set_current_trace, take_current_trace

Array = Any


class Followed(jax.core.Tracer):
    """A value of another trace, which is not told but in a condition."""

    def __init__(self, trace: "_Following", value: Any) -> None:
        # Not by the base's own, whose arguments differ between JAX's versions.
        self._trace = trace
        self.value = value

    @property
    def aval(self) -> Any:
        """Return the shape and dtype, as JAX has them."""
        return self.value.aval

    def __bool__(self) -> bool:
        return bool(self.value)


class _Following(jax.core.Trace):
    """Does everything in the trace around it, and hands results on as `Followed`."""

    def __init__(self, around: Any) -> None:
        super().__init__()
        self.around = around

    def follow(self, value: Any) -> Any:
        """Return a value in the form that the Function's code may see."""
        return Followed(self, value) if _is_known(value) else value

    def behind(self, value: Any) -> Any:
        """Return what stands behind a value, if it is one of this trace."""
        return value.value if type(value) is Followed and value._trace is self else value

    def _pass_on(self, process: Callable[[list[Any]], Any], tracers: Sequence[Any]) -> Any:
        with set_current_trace(self.around):
            out = process([self.behind(t) for t in tracers])
        return [self.follow(o) for o in out] if isinstance(out, list | tuple) else self.follow(out)

    def stage_value(self, val: Any) -> Any:
        """Make an array of a number or a NumPy array."""
        with set_current_trace(self.around):
            return self.around.stage_value(val)

    def process_primitive(self, primitive: Any, tracers: Any, params: Any, /) -> Any:
        around = self.around
        return self._pass_on(lambda v: around.process_primitive(primitive, v, params), tracers)

    def process_call(self, primitive: Any, fn: Any, tracers: Any, params: Any, /) -> Any:
        around = self.around
        return self._pass_on(lambda v: around.process_call(primitive, fn, v, params), tracers)

    def process_custom_jvp_call(
        self, primitive: Any, fn: Any, jvp: Any, tracers: Any, /, **options: Any
    ) -> Any:
        process = self.around.process_custom_jvp_call
        return self._pass_on(lambda v: process(primitive, fn, jvp, v, **options), tracers)

    def process_custom_vjp_call(
        self, primitive: Any, fn: Any, fwd: Any, bwd: Any, tracers: Any, /, **options: Any
    ) -> Any:
        process = self.around.process_custom_vjp_call
        return self._pass_on(lambda v: process(primitive, fn, fwd, bwd, v, **options), tracers)


def _is_known(value: Any) -> bool:
    """Tell whether JAX differentiates a value, and would tell it to whoever asks."""
    return (
        isinstance(value, jax.core.Tracer)
        and is_inexact(value.dtype)
        and value.to_concrete_value() is not None
    )


def following(run: Callable[[Any], Any], arrays: Any, refusal: str) -> Any:
    """Run a function of a pytree of arrays; none of them gives a number away.

    Parameters
    ----------
    run : callable
        From such a pytree to another one.
    arrays : pytree
        The values.
    refusal : str
        The message of the `RuntimeError` raised where a value is read.
    """
    if not any([_is_known(leaf) for leaf in jax.tree.leaves(arrays)]):
        return run(arrays)
    with take_current_trace() as around:
        trace = _Following(around)
        with set_current_trace(trace):
            try:
                out = run(jax.tree.map(trace.follow, arrays))
            except jax.errors.JAXTypeError as error:
                raise RuntimeError(refusal) from error
    return jax.tree.map(trace.behind, out)


@functools.lru_cache(maxsize=64)
def _parts(size: int) -> tuple[Any, Any, Any, Any]:
    """Return what ``jax.vmap`` makes of a size: the classes of trace, tag and tracer, the axis."""
    found: list[Any] = []

    def look(x: Array) -> Array:
        with take_current_trace() as trace:
            found.append((type(trace), type(trace.tag), type(x), trace.axis_data))
        return x

    jax.vmap(look)(np.zeros(size, np.float32))
    parts: tuple[Any, Any, Any, Any] = found[0]
    return parts


class Slices:
    """The values within one call of `vmap`, which JAX computes for all slices at once."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._trace, tag, self._tracer, self._axis = _parts(size)
        # By it JAX knows the arrays of this call, whenever the trace was entered.
        self._tag = tag()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Let JAX compute by slices in a block."""
        before, MAPPING.tracer = MAPPING.tracer, self._tracer
        try:
            with (
                take_current_trace() as around,
                set_current_trace(self._trace(around, self._tag, self._axis)),
            ):
                yield
        finally:
            MAPPING.tracer = before

    def cut(self, array: Array, axis: int) -> Array:
        """Return an array as what a slice of it is, along an axis counted from 0."""
        return self._tracer(self._trace(None, self._tag, self._axis), array, axis)

    def whole(self, array: Array) -> tuple[Array, int | None]:
        """Return an array of all slices and the axis of these, or None for one without."""
        if isinstance(array, self._tracer) and array._trace.tag is self._tag:
            place = array.batch_dim
            return array.val, place if isinstance(place, int) else None
        return array, None
