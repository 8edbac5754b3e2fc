"""JAX functions with a derivative of their own: there is no tape, `jax.vjp` gives what pulls."""

import functools
import importlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from spec_tests.check.subjects import scripts
from spec_tests.check.subjects.base import Application, Arrays, Slopes, Subject, Values
from spec_tests.check.subjects.taped import alive
from spec_tests.check.target import Target

F = TypeVar("F", bound=Callable[..., Any])


def _in_double(method: F) -> F:
    """Run a method with JAX's float64, and leave the caller's setting alone."""

    @functools.wraps(method)
    def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
        with importlib.import_module("jax").enable_x64(True):
            return method(self, *args, **kwargs)

    return wrapped  # type: ignore[return-value]


class JaxApplication(Application):
    """An application by `jax.vjp`."""

    def __init__(self, subject: "OnJax", values: Values, wanted: Sequence[bool]) -> None:
        self.jax, self.wanted, self.strategy = subject.jax, list(wanted), subject
        fn, leaves = subject.closed(values, wanted)
        results, self._pull = self.jax.vjp(fn, *leaves)
        self.one = not isinstance(results, tuple | list)
        self.results = [results] if self.one else list(results)
        self.outputs = [np.array(y) for y in self.results]
        self.follows = [y.dtype.kind == "f" and any(wanted) for y in self.outputs]

    @_in_double
    def pull(self, cotangents: Sequence[np.ndarray | None]) -> Slopes:
        """Return the gradient of each input."""
        weights = self.strategy.weights(self.outputs, cotangents)
        got = iter(self._pull(weights[0] if self.one else tuple(weights)))
        return [np.array(next(got)) if w else None for w in self.wanted]


class OnJax(Subject):
    """A function that JAX differentiates, by a rule of its own or not."""

    label = "jax"
    arrays_change = strided = False

    def __init__(self, target: Target, config: dict[str, Any]) -> None:
        self.jax = importlib.import_module("jax")
        self.target, self.name, self.config = target, target.name, config
        self._fn = target.obj

    def closed(self, values: Values, wanted: Sequence[bool]) -> tuple[Callable[..., Any], Any]:
        """Return a function of the wanted inputs alone, and these."""
        # What is no array stays as it is; jit would take numbers and None for arrays.
        rest = [self.jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for v in values]
        leaves = [v for v, w in zip(rest, wanted, strict=True) if w]

        def fn(*inputs: Any) -> Any:
            given = iter(inputs)
            full = [next(given) if w else v for v, w in zip(rest, wanted, strict=True)]
            result = self._fn(*full, **self.config)
            return tuple(result) if isinstance(result, list) else result

        return fn, leaves

    def weights(self, outputs: Arrays, cotangents: Sequence[np.ndarray | None]) -> list[Any]:
        """Return cotangents as JAX wants them: of dtype float0 for integers."""
        made: list[Any] = []
        for y, u in zip(outputs, cotangents, strict=True):
            if y.dtype.kind != "f":
                made.append(np.zeros(y.shape, self.jax.dtypes.float0))
            else:
                full = np.zeros(y.shape, y.dtype) if u is None else np.asarray(u, y.dtype)
                made.append(self.jax.numpy.asarray(full))
        return made

    @_in_double
    def apply(self, values: Values, wanted: Sequence[bool]) -> JaxApplication:
        """Run forward."""
        return JaxApplication(self, values, wanted)

    @_in_double
    def second(
        self, values: Values, wanted: Sequence[bool], cotangents: Arrays, directions: Arrays
    ) -> tuple[Slopes, Slopes]:
        """Differentiate `jax.vjp` itself."""
        outputs = self.apply(values, wanted).outputs
        fn, leaves = self.closed(values, wanted)
        float_at = [k for k, y in enumerate(outputs) if y.dtype.kind == "f"]

        def total(inputs: Any, floats: Any) -> Any:
            result, pull = self.jax.vjp(fn, *inputs)
            weights = self.weights(outputs, [None] * len(outputs))
            for k, u in zip(float_at, floats, strict=True):
                weights[k] = u
            whole = tuple(weights) if isinstance(result, tuple) else weights[0]
            return sum((g * d).sum() for g, d in zip(pull(whole), directions, strict=True))

        floats = [self.jax.numpy.asarray(cotangents[k], outputs[k].dtype) for k in float_at]
        by_input, by_weight = self.jax.grad(total, argnums=(0, 1))(leaves, floats)
        got, back = iter(by_input), dict(zip(float_at, by_weight, strict=True))
        return (
            [np.array(next(got)) if w else None for w in wanted],
            [np.array(back[k]) if k in back else None for k in range(len(outputs))],
        )

    @_in_double
    def push(self, values: Values, wanted: Sequence[bool], directions: Arrays) -> Arrays:
        """Use `jax.jvp`, where the function has a rule for it."""
        if type(self.target.obj).__name__ == "custom_vjp":
            return super().push(values, wanted, directions)
        fn, leaves = self.closed(values, wanted)
        tangents = [
            self.jax.numpy.asarray(d, x.dtype) for d, x in zip(directions, leaves, strict=True)
        ]
        results, out = self.jax.jvp(fn, leaves, tangents)
        pairs = zip(results, out, strict=True) if isinstance(out, tuple) else [(results, out)]
        return [np.array(d) if y.dtype.kind == "f" else np.zeros(y.shape) for y, d in pairs]

    def jitted(self) -> Subject:
        """Return the function under `jax.jit`, inputs that are no arrays closed over."""
        other = OnJax(self.target, self.config)

        def compiled(*values: Any, **config: Any) -> Any:
            places = [k for k, v in enumerate(values) if isinstance(v, self.jax.Array)]

            def of_arrays(*arrays: Any) -> Any:
                full = list(values)
                for k, array in zip(places, arrays, strict=True):
                    full[k] = array
                return self._fn(*full, **config)

            return self.jax.jit(of_arrays)(*[values[k] for k in places])

        other._fn = compiled
        return other

    @_in_double
    def mapped(self, values: Values, axes: Sequence[int | None]) -> Arrays:
        """Map by `jax.vmap`."""
        result = self.jax.vmap(
            lambda *inputs: self._fn(*inputs, **self.config), in_axes=tuple(axes)
        )(*[self.jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for v in values])
        return [np.array(y) for y in (result if isinstance(result, tuple | list) else [result])]

    def live(self) -> int:
        """Return the bytes of JAX's arrays."""
        return alive("jax")

    def script(self, body: str) -> str:
        """Return a script that runs on its own."""
        return scripts.jax(self.target, self.config, body)
