"""A Function applied: which of the three ways it runs, and what the tape keeps of it.

The ways are told at the top of `function_vjp`. Each leaves a rule with the node:

- `EagerRule`, of a call that ran as plain Python: it keeps the ctx, and runs `backward` on it;
- `TracedRule`, of a call inside a trace of JAX: it keeps the ctx as a `Residual`;
- `CompiledRule`, of a `CompiledPair`: it keeps the `Residual` that the compiled `forward` returned,
  and runs the compiled `backward`.

A recorded pass (``create_graph``) asks any of them to `derive`: the gradient as an Operation that
is recorded itself. Where `once_differentiable` forbids a second derivative, a `RefusedRule` is
recorded, which raises.
"""

import copy
import dataclasses
import functools
import threading
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence, Set
from typing import Any, ClassVar

import jax
import numpy as np

from .checks import MAPPING, check_taken
from .context import Context, Residual, unrecorded
from .dtypes import make_array, restore_x64, swap_x64
from .function_vjp import (
    PureCall,
    check_gradients,
    cut_message,
    differentiable,
    fill,
    is_once,
    method,
    once_message,
    read_message,
    run_forward,
)
from .recording import Operation, pull_back, record_on
from .tape import MODE, Node, Traced, constant, edge_of, show, wrap

Array = Any
Mask = tuple[bool, ...]


def apply(
    cls: type[Any], instance: Context | None, inputs: Sequence[Any], config: dict[str, Any]
) -> Any:
    """Run a Function's `forward` on inputs; return its Tensor, or Tensors."""
    recording = MODE.enabled
    if recording and (config or instance is not None):
        _check_places(cls.__name__, config, instance)
    capture = MODE.capture
    raws: list[Any] = []
    flags: list[bool] = []
    targets: list[Any] = []
    slots: list[int] = []
    for value in inputs:
        needed = False
        if isinstance(value, Traced):
            if recording and value._requires_grad:
                needed = True
                targets.append(value._node or value)
                slots.append(value._slot)
            value = value._data if capture is None else capture.resolve(value)
        elif not isinstance(value, _PLAIN):
            value = _unusual(cls.__name__, len(raws), value)
        raws.append(value)
        flags.append(needed)
    application = Application(cls, instance, raws, config, tuple(flags))
    outputs, many, rule = application.run(instance)
    if rule is None:
        if not recording and not MODE.inside:
            outputs = tuple([constant(out) for out in outputs])
        made = [wrap(out) for out in outputs]
    else:
        node = Node(rule, raws, targets, slots, len(outputs))
        made = [
            wrap(out, node if flag else None, slot)
            for slot, (out, flag) in enumerate(zip(outputs, rule.flags, strict=True))
        ]
    if MODE.watch:
        show(cls.__name__, (*raws, *config.values()), made)
    return tuple(made) if many else made[0]


_CONTAINERS = (list, tuple, Mapping, Set, deque)
# What needs no look inside; sorted by how quickly it is told.
_PLAIN = (bool, int, float, str, bytes, type(None), jax.Array)


def _unusual(name: str, place: int, value: Any) -> Any:
    """Return a raw array of a NumPy array; check that a container hides no Tensor."""
    if isinstance(value, np.ndarray):
        check_taken(name, f"argument {place}", value)
        return make_array(value)
    if MODE.enabled:
        _refuse_hidden(name, f"argument {place}", value)
    return value


def _check_places(name: str, config: dict[str, Any], instance: Context | None) -> None:
    """Check that no Tensor whose gradient would be lost stands in another place."""
    for key, value in config.items():
        _refuse_hidden(name, f"the keyword {key!r}", value)
    if instance is not None:
        for key, value in vars(instance).items():
            _refuse_hidden(name, f"the attribute {key!r}", value)


def _refuse_hidden(name: str, place: str, value: Any) -> None:
    """Raise `TypeError` if a Tensor that requires grad is, or stands in, a value."""  # function-29
    stack, seen = [value], {id(value)}
    while stack:
        item = stack.pop()
        if isinstance(item, Traced):
            if item._requires_grad:
                msg = (
                    f"{name}: {place} holds a Tensor that requires grad, whose gradient would be "
                    "lost; pass it by itself, as a positional argument"
                )
                raise TypeError(msg)
        elif isinstance(item, _CONTAINERS) or hasattr(type(item), "__dataclass_fields__"):
            if isinstance(item, Mapping):
                below = list(item.values())
            elif isinstance(item, _CONTAINERS):
                below = list(item)
            else:
                below = [getattr(item, field.name, None) for field in dataclasses.fields(item)]
            fresh = [child for child in below if id(child) not in seen]
            seen.update(map(id, fresh))
            stack += fresh


Applied = tuple[tuple[Array, ...], bool, "_Rule | None"]


class Application:
    """What was asked: a class, its configuration, raw inputs, and which of them want a gradient."""

    __slots__ = ("before", "cls", "config", "inputs", "mask")

    def __init__(
        self,
        cls: type[Any],
        instance: Context | None,
        inputs: list[Any],
        config: dict[str, Any],
        mask: Mask,
    ) -> None:
        self.cls = cls
        # As it was before forward: what replays the call starts from the same.
        self.before = None if instance is None else dict(vars(instance))
        self.inputs = inputs
        self.config = config
        self.mask = mask

    def call(self) -> PureCall:
        """Return the call as JAX sees it."""
        return PureCall(self.cls, self.before, self.inputs, self.config)

    def run(self, instance: Context | None) -> Applied:
        """Run the call in the way that its inputs and its class ask for."""
        outside = swap_x64(True)
        try:
            if any([isinstance(v, jax.core.Tracer) for v in (*self.inputs, *self.config.values())]):
                return self.trace()
            if self.cls.compiled and (pair := self.pair()) is not None:
                return pair.run(self)
            return self.eager(instance)
        finally:
            restore_x64(outside)

    def eager(self, instance: Context | None) -> Applied:
        """Run `forward` as it stands, on concrete arrays."""
        ctx = Context() if instance is None else instance
        ctx._mask = self.mask
        outputs, many = run_forward(self.cls, ctx, self.inputs, self.config)
        flags = differentiable(ctx, outputs)
        saved = ctx._saved
        # Not left on the ctx: a user may hold an instance longer than its graph.
        ctx._saved = ctx._non_differentiable = ()
        if not (True in self.mask and True in flags):
            return outputs, many, None
        return outputs, many, EagerRule(self, flags, ctx, saved, outputs)

    def trace(self) -> Applied:
        """Run the call's ``jax.custom_vjp``, since a transformation of JAX is under way."""
        call = self.call()
        if True not in self.mask:
            return call.function(None)(*call.arrays), call.many, None
        outputs, residual = call.function(self.mask)(*call.arrays)
        if True not in residual.layout.differentiable:
            return outputs, call.many, None
        return outputs, call.many, TracedRule(self, call, residual)

    def pair(self) -> "CompiledPair | None":
        """Return the compiled halves for the static part, or None if that cannot be hashed."""
        rest = [None if isinstance(v, jax.Array) else (type(v), v) for v in self.inputs]
        options = [(key, type(value), value) for key, value in self.config.items()]
        attributes = None if self.before is None else tuple(self.before.items())
        if any(isinstance(value, Traced) for value in self.config.values()):
            return None
        backward = getattr(self.cls, "backward", None)
        key = (method(self.cls, "forward"), backward, self.mask, *rest, *options, attributes)
        try:
            pair = self.cls._pairs.get(key)
        except TypeError:
            return None
        if pair is None:
            pair = self.cls._pairs[key] = CompiledPair(self.call().without_arrays(), self.mask)
        return pair


class _Rule:
    """What the tape keeps of one application; `flags` say which outputs have a gradient."""

    __slots__ = ("application", "flags", "name")

    def __init__(self, application: Application, flags: Sequence[bool]) -> None:
        self.application = application
        self.flags = flags
        self.name = application.cls.__name__

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return the gradients of the inputs in need of one, on raw arrays."""
        raise NotImplementedError

    def derive(self, node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the gradients of the inputs in need of one, recorded on the tape."""
        call = self.application.call()
        wanted = call.wanted(self.application.mask)
        edges = iter(zip(node.targets, node.slots, strict=True))
        places = [next(edges) if needed else None for needed in wanted]
        places += [edge_of(grad) for grad in grads if grad is not None]
        if is_once(call.cls):
            return self._derive_once(node, grads, places)
        present = tuple([grad is not None for grad in grads])
        arrays = [*call.arrays, *(grad._data for grad in grads if grad is not None)]
        return record_on(self._derived(call, wanted, present), arrays, places)

    def _derived(self, call: PureCall, wanted: Mask, present: Mask, /) -> Operation:
        return derivative(call, wanted, present)

    def kept(self) -> list[Array | None]:
        """Return the arrays that this keeps beside the inputs."""
        return []

    def saved(self) -> list[Array]:
        """Return those that `save_for_backward` got."""
        return [array for array in self.kept() if array is not None]

    def holding(self, kept: Sequence[Any], inputs: list[Any]) -> Any:
        """Return a copy with others in the place of what is kept, and of the inputs."""
        twin = copy.copy(self)
        twin.application = copy.copy(self.application)
        twin.application.inputs = inputs
        twin._hold(kept)
        return twin

    def _hold(self, kept: Sequence[Any]) -> None:
        """Take what is kept, in the order of `kept`."""

    def _derive_once(
        self, node: Node, grads: Sequence[Any], places: Sequence[Any]
    ) -> Sequence[Any]:
        values = self.pull(node.saved, [None if g is None else g._data for g in grads])
        known = [place for place in places if place is not None]
        targets, slots = [place[0] for place in known], [place[1] for place in known]
        dead = Node(RefusedRule(self.name), None, targets, slots, len(values))
        return [None if v is None else wrap(v, dead, i) for i, v in enumerate(values)]


def derivative(
    call: PureCall, wanted: Mask, present: Mask, traced: Callable[[], None] | None = None
) -> Operation:
    """Return the gradient of a call as a pure function of its arrays and its outputs' gradients.

    `traced` is called whenever the function is traced, as it is for each program made of it.
    """
    function = call.gradient_function()
    count = len(wanted)

    def run(*arrays: Array) -> tuple[Array, ...]:
        if traced is not None:
            traced()
        rest = iter(arrays[count:])
        grads = [next(rest) if p else None for p in present]
        try:
            return pull_back(function, wanted, arrays[:count], grads)
        except jax.errors.JAXTypeError as error:  # function-28
            raise RuntimeError(cut_message(call.name)) from error

    return Operation(run, f"gradient of {call.name}", compiled=call.cls.compiled)


class RefusedRule:
    """The rule of a gradient that cannot be differentiated."""

    def __init__(self, name: str) -> None:
        self.name = name

    def pull(self, _saved: Any, _grads: Any, /) -> Any:
        """Refuse: `once_differentiable` was asked for a second derivative."""
        raise RuntimeError(once_message(self.name))

    def derive(self, _node: Node, _grads: Any, /) -> Any:
        """Refuse: `once_differentiable` was asked for a second derivative."""
        raise RuntimeError(once_message(self.name))


class EagerRule(_Rule):
    """Python run on concrete arrays; the ctx itself is kept."""

    __slots__ = ("_ctx", "_outputs", "_saved")
    # `pull` asks the inputs for their shapes and dtypes alone.
    reads_inputs: ClassVar[bool] = False

    def __init__(
        self, application: Application, flags: Any, ctx: Context, saved: Any, outputs: Any
    ) -> None:
        super().__init__(application, flags)
        self._ctx = ctx
        self._saved = saved
        self._outputs = [(out.shape, out.dtype) for out in outputs]

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return what `backward` makes of the gradients, of concrete arrays."""
        application, ctx = self.application, self._ctx
        filled = fill(grads, self._outputs, self.flags, ctx._materialize)
        # Not on the ctx, which other threads may use at the same time.
        around = MODE.running
        MODE.running = (ctx, self._saved, around)
        try:
            returned = unrecorded(method(application.cls, "backward"), ctx, *filled)
        except jax.errors.JAXTypeError as error:
            if MAPPING.tracer is None:
                raise
            raise RuntimeError(read_message(self.name)) from error  # autograd-53
        finally:
            MODE.running = around
        checked = check_gradients(self.name, returned, application.mask, saved)
        return [g for g, needed in zip(checked, application.mask, strict=True) if needed]

    def kept(self) -> list[Array | None]:
        """Return what was saved."""
        return list(self._saved)

    def _hold(self, kept: Sequence[Any]) -> None:
        self._saved = tuple(kept)


class TracedRule(_Rule):
    """The ctx as a pytree, of a traced call."""

    __slots__ = ("_call", "_residual")

    def __init__(self, application: Application, call: PureCall, residual: Residual) -> None:
        super().__init__(application, residual.layout.differentiable)
        self._call = call
        self._residual = residual

    def pull(self, _saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return what `backward` makes of the gradients, inside a trace."""
        pulled = self._call.gradients(self._residual, self._call.arrays, grads)
        wanted = self._call.wanted(self.application.mask)
        return [grad for grad, needed in zip(pulled, wanted, strict=True) if needed]


# XLA maps about a hundred pieces of memory for a program of a CPU, and Linux lets a process have
# 65530 of them by default: one that is refused ends the process.
_MOST_PROGRAMS = 256


class _Programs:
    """How many programs were compiled of each `CompiledPair`, the one of the newest last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: weakref.WeakKeyDictionary[CompiledPair, int] = weakref.WeakKeyDictionary()

    def note(self, pair: "CompiledPair") -> None:
        """Count one more of a pair; let go of the pairs that have not grown for longest."""
        with self._lock:
            counts = self._counts
            counts[pair] = counts.pop(pair, 0) + 1
            while sum(counts.values()) > _MOST_PROGRAMS:
                oldest = next(iter(counts))
                del counts[oldest]
                oldest.forget()


_PROGRAMS = _Programs()


class CompiledPair:
    """The two halves of a call, compiled, for each choice of what requires grad."""

    def __init__(self, call: PureCall, mask: Mask) -> None:
        self._call = call
        self._mask = mask
        self._wanted = call.wanted(mask)
        self._many = False
        self._forward = jax.jit(self._run_forward)
        self._backward = jax.jit(self._run_backward)
        self._operations: dict[Mask, Operation] = {}

    def forget(self) -> None:
        """See that the next call makes another pair: this one goes with the last tape it is on."""
        pairs = self._call.cls._pairs
        for key in [key for key, pair in list(pairs.items()) if pair is self]:
            pairs.pop(key, None)

    def _run_forward(self, *arrays: Array) -> Any:
        _PROGRAMS.note(self)
        outputs, residual = self._call.forward(arrays, self._mask)
        self._many = self._call.many
        return outputs, residual if True in self._mask else None

    def _run_backward(self, residual: Residual, arrays: Any, grads: Any) -> list[Array | None]:
        _PROGRAMS.note(self)
        pulled = self._call.gradients(residual, arrays, grads)
        return [grad for grad, needed in zip(pulled, self._wanted, strict=True) if needed]

    def run(self, application: Application) -> Applied:
        """Run the compiled `forward`."""
        arrays = [value for value in application.inputs if isinstance(value, jax.Array)]
        outputs, residual = self._forward(*arrays)
        if residual is None or True not in residual.layout.differentiable:
            return outputs, self._many, None
        return outputs, self._many, CompiledRule(application, self, residual)

    def pull(self, residual: Residual, arrays: Any, grads: Any) -> Sequence[Array | None]:
        """Run the compiled `backward`."""
        return self._backward(residual, arrays, grads)

    def derivative(self, present: Mask) -> Operation:
        """Return the operation that differentiates backward, for the gradients present."""
        operation = self._operations.get(present)
        if operation is None:
            note = functools.partial(_PROGRAMS.note, self)
            operation = derivative(self._call, self._wanted, present, note)
            self._operations[present] = operation
        return operation


class CompiledRule(_Rule):
    """The ctx as a pytree, of a compiled call."""

    __slots__ = ("_pair", "_residual")

    def __init__(self, application: Application, pair: CompiledPair, residual: Residual) -> None:
        super().__init__(application, residual.layout.differentiable)
        self._pair = pair
        self._residual = residual

    def pull(self, saved: Any, grads: Sequence[Array | None], /) -> Sequence[Array | None]:
        """Return what the compiled `backward` makes of the gradients."""
        positional = [value for value in saved if isinstance(value, jax.Array)]
        return self._pair.pull(self._residual, positional, grads)

    def kept(self) -> list[Array | None]:
        """Return the arrays of the ctx."""
        return list(self._residual.arrays)

    def saved(self) -> list[Array]:
        """Return those that `save_for_backward` got, which come first."""
        return self._residual.arrays[: sum(self._residual.layout.saved)]

    def _hold(self, kept: Sequence[Any]) -> None:
        self._residual = Residual(list(kept), self._residual.layout)

    def _derived(self, _call: PureCall, _wanted: Mask, present: Mask, /) -> Operation:
        return self._pair.derivative(present)
