"""The node of one application of a Function: what is recorded, and how its backward runs."""

from __future__ import annotations

import copy
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from impl_numpy.batched import USED, Level, Unknown, asarray, sliced, stacked, youngest
from impl_numpy.context import Context, StaticContext
from impl_numpy.dtypes import Array, Value, is_raw
from impl_numpy.engine import run
from impl_numpy.memory import arrays_in, readonly
from impl_numpy.recording import Differentiable
from impl_numpy.tape import MODE, Node, Parents, Source, conjugated
from impl_numpy.tensor import Tensor, wrap


class FunctionNode(Node):
    """The node of one application."""

    __slots__ = ("__weakref__", "_outputs", "config", "ctx", "function", "inputs", "pristine")

    def __init__(
        self,
        function: type[Any],
        ctx: Context,
        pristine: Any,
        inputs: tuple[Any, ...],
        config: dict[str, Any],
        parents: Parents,
        outputs: Array | list[Array],
    ) -> None:
        trusted = function._trusted
        saved = ctx._saved if trusted else tuple([_protected(x) for x in ctx._saved])
        super().__init__(_CALL, parents, saved)
        if pristine is None:
            ctx._saved = saved
        else:
            # The maker of an instance may hold it for ever, so what was saved lies here alone.
            ctx._saved = ()
            ctx._recorded = weakref.ref(self)
        kept = ctx.__dict__
        several = outputs if isinstance(outputs, list) else [outputs]
        if len(kept) > 3 and not trusted:
            for name, value in kept.items():
                if type(value) is np.ndarray and any([value is x for x in several]):
                    kept[name] = readonly(value)
        self.function = function
        self.ctx = ctx
        self.pristine = pristine
        self.inputs = inputs
        self.config = config
        self._outputs = [(x.shape, x.dtype) for x in outputs] if several is outputs else []

    @property
    def name(self) -> str:
        """Return the name of the Function."""
        return self.function._title or self.function.__name__

    def free(self) -> None:
        """Let go of everything that the call left."""
        super().free()
        self.ctx._saved = ()
        del self.inputs, self.config, self.ctx, self.pristine

    def kept(self, record: bool) -> Iterator[Array]:
        """Yield the arrays that a pass through here may use; a recorded one runs `forward` too."""
        if self.saved is not None:
            yield from arrays_in([self.saved, vars(self.ctx)])
            if record:
                yield from arrays_in([self.inputs, self.config])

    def arguments(self) -> tuple[Sequence[Any], dict[str, Any]]:
        """Return the inputs and the configuration of the call."""
        return self.inputs, self.config

    def pull(self, grad: Value) -> Sequence[Value | None]:
        """Call `backward` on raw arrays."""
        ctx = self._unspoilt() if MODE.retaining else self.ctx
        backward = self.function.backward
        incoming = _unchanged if self.function._trusted else _incoming
        given = [_incoming(grad)] if type(grad) is not Parts else self._grads(grad, incoming, ctx)
        try:
            result = backward(ctx, *given)
        except (Unknown, TypeError):
            level = youngest((given, self.values(), vars(self.ctx), self.inputs)) if USED else None
            if level is None:
                raise
            result = self._by_slices(level, given)
        if ctx is not self.ctx:
            for name in vars(ctx).keys() - vars(self.ctx).keys():
                setattr(self.ctx, name, vars(ctx)[name])
        grads = [g._data if isinstance(g, Tensor) else g for g in as_sequence(result)]
        return turned(self._checked(grads))

    def _by_slices(self, level: Level, grads: Sequence[Any]) -> Sequence[Any]:
        """Call `backward` for each slice, with what `forward` left for it."""
        if not level.size:
            if not ours(self.function):
                raise no_slices(self.name)
            return [None] * len(self.inputs)
        results = []
        for k in range(level.size):
            ctx = copy.copy(self.ctx)
            ctx.__dict__.update(sliced(dict(vars(self.ctx)), level, k))
            ctx._recorded, ctx._saved = None, sliced(self.values(), level, k)
            results.append(as_sequence(self.function.backward(ctx, *sliced(grads, level, k))))
        say_so(self.function)
        joined = []
        for part in zip(*results, strict=True):
            some = next((g for g in part if g is not None), None)
            filled = [np.zeros_like(some) if g is None and some is not None else g for g in part]
            joined.append(stacked(level, filled))
        return joined

    def _unspoilt(self) -> Context:
        """Return a ctx for one of several passes, whose arrays `backward` may write."""
        ctx = copy.copy(self.ctx)
        for name, value in vars(ctx).items():
            if isinstance(value, np.ndarray):
                vars(ctx)[name] = value.copy() if value.flags.writeable else value
        return ctx

    def pull_recorded(self, grad: Value) -> Sequence[Value | None]:
        """Call `forward` again and `backward`, both on Tensors; or go through the composite."""
        if getattr(self.function.backward, "once_differentiable", False):
            return self._pull_once(grad)
        given, config = self.arguments()
        inputs = [
            wrap(x, node) if node is not None or is_raw(x) else x
            for x, node in zip(given, self.parents, strict=True)
        ]
        composite = getattr(self.function, "composite", None)
        if composite is not None:
            return self._pull_composite(composite, inputs, config, grad)
        incoming = self._grads(grad, _tensor_incoming, self.ctx)
        return turned(self._checked(list(self.recorded(inputs, config, incoming))))

    def recorded(
        self, inputs: Sequence[Any], config: dict[str, Any], grads: Sequence[Any]
    ) -> Sequence[Value | None]:
        """Call `forward` again and `backward`, both on Tensors."""
        ctx = StaticContext(self.function) if self.pristine is None else copy.copy(self.pristine)
        ctx.needs_input_grad = self.ctx.needs_input_grad
        ctx.xp = Differentiable.ops
        outside, MODE.recording = MODE.recording, self.function.__name__
        MODE.transforms += 1
        try:
            self.function.forward(ctx, *inputs, **config)
            found = as_sequence(self.function.backward(ctx, *grads))
        finally:
            MODE.recording = outside
            MODE.transforms -= 1
        return [wrap(g, None) if is_raw(g) else g for g in found]

    def incoming(self, grad: Value) -> list[Any]:
        """Return the gradients that `backward` gets, as Tensors."""
        return self._grads(grad, _tensor_incoming, self.ctx)

    def outgoing(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Return gradients that `backward` gave, checked."""
        return turned(self._checked(list(grads)))

    def _pull_composite(
        self,
        composite: Callable[..., Any],
        inputs: list[Any],
        config: dict[str, Any],
        grad: Value,
    ) -> Sequence[Value | None]:
        sources = [None if node is None else Source(node) for node in self.parents]
        stand_ins = [
            x if node is None else wrap(x._data, node)
            for x, node in zip(inputs, sources, strict=True)
        ]
        results = as_sequence(composite(*stand_ins, **config))
        grads = self._grads(grad, _tensor, None)
        roots = [
            (out._node, g)
            for out, g in zip(results, grads, strict=True)
            if g is not None and out._node is not None
        ]
        targets = [node for node in sources if node is not None]
        arrived = run(roots, retain=True, record=True, targets=targets)
        return [None if node is None else arrived.get(node) for node in sources]

    def _pull_once(self, grad: Value) -> Sequence[Value | None]:
        # The gradients are right, but nothing knows how they depend on anything.
        parts = grad.items if isinstance(grad, Parts) else (grad,)
        plain = [None if g is None else g._data for g in parts]
        outside, MODE.recording = MODE.recording, False
        try:
            grads = self.pull(Parts(plain) if isinstance(grad, Parts) else plain[0])
        finally:
            MODE.recording = outside
        users = (*self.parents, *(g._node for g in parts if g is not None))
        if not any(users):
            return [None if g is None else wrap(g, None) for g in grads]
        rule, nothing = _Refusal(self.name), (None,) * (len(users) + 1)
        return [None if g is None else wrap(g, Node(rule, users, nothing)) for g in grads]

    def _grads(
        self, grad: Value, convert: Callable[[Value], Value], ctx: Context | None
    ) -> list[Value | None]:
        """Return one gradient per output, zeros (unless the ctx wants None) where it was unused."""
        if not isinstance(grad, Parts):
            return [convert(grad)]
        blank = self.ctx._materialize and ctx is not None
        return [
            convert(g) if g is not None else convert(np.zeros(*spec)) if blank else None
            for g, spec in zip(grad.items, self._outputs, strict=True)
        ]

    def _checked(self, grads: list[Value | None]) -> list[Value | None]:
        """Check that gradients fit the inputs."""
        wanted, came = len(self.inputs), len(grads)
        if came > wanted or any(x is not None for x in self.inputs[came:]):
            msg = (
                f"{self.name}.backward: must return {wanted} gradients, one per positional input, "
                f"returned {came}"
            )
            raise ValueError(msg)
        if came < wanted:
            grads += [None] * (wanted - came)
        for k, (x, node, g) in enumerate(zip(self.inputs, self.parents, grads, strict=True)):
            if (
                node is None
                or g is None
                or (type(g) is np.ndarray and g.shape == x.shape and g.dtype == x.dtype)
            ):
                continue
            where = f"{self.name}.backward: the gradient of input {k}"
            if not is_raw(g) and not isinstance(g, Tensor):
                msg = f"{where} must be an array of dtype {x.dtype} or None, got {type(g).__name__}"
                raise TypeError(msg)
            if g.shape != x.shape:
                msg = f"{where} must have shape {x.shape}, got {g.shape}"
                raise ValueError(msg)
            if g.dtype != x.dtype:
                msg = f"{where} must have dtype {x.dtype}, got {g.dtype}"
                raise TypeError(msg)
        return grads


class Parts:
    """The gradients of several outputs on their way to one node."""

    __slots__ = ("items",)

    def __init__(self, items: list[Value | None]) -> None:
        self.items = items

    def __add__(self, other: Parts) -> Parts:
        # Each output has one node, which gives once: a slot is never taken twice.
        pairs = zip(self.items, other.items, strict=True)
        return Parts([b if a is None else a for a, b in pairs])


class OutputNode(Node):
    """One of several outputs of a call."""

    __slots__ = ("slot",)

    def __init__(self, call: Node, slot: tuple[int, int]) -> None:
        super().__init__(_CALL, (call,), ())
        self.slot = slot

    @property
    def name(self) -> str:
        """Return the name of the Function."""
        return self.parents[0].name if self.parents and self.parents[0] is not None else "output"

    def pull(self, grad: Value) -> Sequence[Value | None]:
        """Put the gradient into its slot."""
        k, n = self.slot
        return (Parts([grad if j == k else None for j in range(n)]),)

    pull_recorded = pull


# The classes of which it was said that they run slice by slice.
_SAID: weakref.WeakSet[Any] = weakref.WeakSet()


def ours(function: type[Any]) -> bool:
    """Tell whether a Function is one of this package's own, of which nothing is said."""
    return function.__module__.partition(".")[0] == __name__.partition(".")[0]


def say_so(function: type[Any]) -> None:
    """Warn, the first time, that a Function runs slice by slice (autograd-53)."""
    if not ours(function) and function not in _SAID:
        _SAID.add(function)
        msg = (
            f"{function.__name__}: does what cannot be done for all slices at once, so vmap runs "
            "it once for each"
        )
        warnings.warn(msg, UserWarning, stacklevel=2)


def no_slices(name: str) -> ValueError:
    """Return the error of a Function that can only run slice by slice, of which there is none."""
    return ValueError(f"{name}: vmap can only run it slice by slice, and there is no slice")


class CallRule:
    """The rule of nodes that have methods of their own."""

    def __init__(self, name: str) -> None:
        self.name = name

    @staticmethod
    def vjp(grad: Value, needs: Parents) -> tuple[Value | None, ...]:
        """Raise: it is the node that knows."""
        raise NotImplementedError


_CALL = CallRule("Function")


class _Refusal:
    """The rule of gradients that cannot be differentiated again."""

    def __init__(self, function: str) -> None:
        self.name = function

    def vjp(self, grad: Value, needs: Parents, *saved: None) -> tuple[Value | None, ...]:
        msg = (
            f"{self.name}: its backward is marked once_differentiable, "
            "so there is no second derivative through it"
        )
        raise RuntimeError(msg)


def as_sequence(result: Any) -> Sequence[Any]:
    """Return what `backward` or `composite` returned as a sequence."""
    return result if isinstance(result, (tuple, list)) else (result,)


def copied(value: Any, within: tuple[int, ...] = ()) -> Any:
    """Return copies of the arrays in nested containers; without any, what came."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if not isinstance(value, (dict, list, tuple)) or id(value) in within:
        return value
    within = (*within, id(value))
    if isinstance(value, dict):
        items = {key: copied(x, within) for key, x in value.items()}
        if any(items[key] is not x for key, x in value.items()):
            value = copy.copy(value)
            for key, x in items.items():
                value[key] = x
        return value
    parts = [copied(x, within) for x in value]
    if any(a is not b for a, b in zip(parts, value, strict=True)):
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return value


def _protected(x: Any) -> Any:
    return readonly(x) if isinstance(x, np.ndarray) and x.flags.writeable else x


def turned(grads: Sequence[Value | None]) -> list[Value | None]:
    """Return gradients that a program gave or gets in the other convention (autograd-47)."""
    return [None if g is None else conjugated(g) for g in grads]


def _unchanged(grad: Value) -> Value:
    return grad


def _incoming(grad: Value) -> Array:
    grad = conjugated(grad)
    # It may go another way too, so `backward` gets one that it cannot write (function-27).
    return readonly(grad if type(grad) is np.ndarray else asarray(grad))


def _tensor(x: Value) -> Tensor:
    return x if isinstance(x, Tensor) else wrap(x, None)


def _tensor_incoming(x: Value) -> Tensor:
    return _tensor(conjugated(x))
