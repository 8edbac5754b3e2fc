"""Arrays that give no number away: what a Function's code sees while JAX differentiates it.

JAX lets a value that it differentiates, and knows, be read: ``x.item()`` and ``int(x)`` are numbers
then, which count as constants in the derivative without a word. A Function's second derivative
would be wrong in silence, so its methods run on `Followed` arrays instead: every operation on them
is done by the trace that was under way, on the values behind, and reading one raises JAX's error.
A condition may be read, for the derivative of the branch taken is the right one. # function-28
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax

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
