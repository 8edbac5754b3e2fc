"""A Function applied: which way it runs, and what the tape keeps of it."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .call import (
    Call,
    check_gradients,
    differentiable,
    fill,
    is_once,
    once_message,
    run_forward,
)
from .context import Context, Residual, unrecorded
from .tape import (
    MODE,
    Node,
    Operation,
    Traced,
    constant,
    edge_of,
    make,
    pull_back,
    record_on,
)

Array = Any
Mask = tuple[bool, ...]


def apply(
    cls: type[Any], instance: Context | None, inputs: Sequence[Any], config: dict[str, Any]
) -> Any:
    """Run a Function's `forward` on inputs; return its Tensor, or Tensors."""
    recording = MODE.enabled
    capture = MODE.capture
    given: list[Any] = []
    flags: list[bool] = []
    targets: list[Any] = []
    slots: list[int] = []
    for value in inputs:
        needed = False
        if isinstance(value, Traced):
            if recording and value._requires_grad:
                needed = True
                targets.append(value._node or value)
                slots.append(value._index)
            value = value._data if capture is None else capture.resolve(value)
        elif isinstance(value, np.ndarray):
            value = jnp.asarray(value)
        given.append(value)
        flags.append(needed)
    mask = tuple(flags)
    application = _Application(cls, instance, given, config, mask)
    if any([isinstance(v, jax.core.Tracer) for v in (*given, *config.values())]):
        outputs, many, rule = application.trace()
    elif cls.compiled and (pair := application.pair()) is not None:
        outputs, many, rule = pair.run(application)
    else:
        outputs, many, rule = application.run(instance)
    if rule is None:
        if not recording and not MODE.inside:
            outputs = tuple([constant(out) for out in outputs])
        made = [make(out) for out in outputs]
    else:
        node = Node(rule, given, targets, slots, len(outputs))
        made = [
            make(out, node if flag else None, index)
            for index, (out, flag) in enumerate(zip(outputs, rule.flags, strict=True))
        ]
    return tuple(made) if many else made[0]


Applied = tuple[tuple[Array, ...], bool, "_Rule | None"]


class _Application:
    """What was asked: a class, its configuration, raw inputs, and which of them want a gradient."""

    __slots__ = ("before", "cls", "config", "given", "mask")

    def __init__(
        self,
        cls: type[Any],
        instance: Context | None,
        given: list[Any],
        config: dict[str, Any],
        mask: Mask,
    ) -> None:
        self.cls = cls
        # As it was before forward: what replays the call starts from the same.
        self.before = None if instance is None else dict(vars(instance))
        self.given = given
        self.config = config
        self.mask = mask

    def call(self) -> Call:
        """Return the call as JAX sees it."""
        return Call(self.cls, self.before, self.given, self.config)

    def run(self, instance: Context | None) -> Applied:
        """Run `forward` as it stands, on concrete arrays."""
        ctx = Context() if instance is None else instance
        ctx._mask = self.mask
        outputs, many = run_forward(self.cls, ctx, self.given, self.config)
        flags = differentiable(ctx, outputs)
        saved = ctx._saved
        # Not left on the ctx: a user may hold an instance longer than its graph.
        ctx._saved = ctx._marked = ()
        if not (True in self.mask and True in flags):
            return outputs, many, None
        return outputs, many, _Direct(self, flags, ctx, saved, outputs)

    def trace(self) -> Applied:
        """Run the call's ``jax.custom_vjp``, since a transformation of JAX is under way."""
        call = self.call()
        if True not in self.mask:
            return call.function(None)(*call.arrays), call.many, None
        outputs, residual = call.function(self.mask)(*call.arrays)
        if True not in residual.layout.differentiable:
            return outputs, call.many, None
        return outputs, call.many, _Taped(self, call, residual)

    def pair(self) -> "Pair | None":
        """Return the compiled halves for the static part, or None if that cannot be hashed."""
        rest = [None if isinstance(v, jax.Array) else (type(v), v) for v in self.given]
        options = [(key, type(value), value) for key, value in self.config.items()]
        attributes = None if self.before is None else tuple(self.before.items())
        if any(isinstance(value, Traced) for value in self.config.values()):
            return None
        key = (self.cls.forward, self.cls.backward, self.mask, *rest, *options, attributes)
        try:
            found = self.cls._pairs.get(key)
        except TypeError:
            return None
        if found is None:
            found = self.cls._pairs[key] = Pair(self.call().without_arrays(), self.mask)
        return found


class _Rule:
    """What the tape keeps of one application; `flags` say which outputs have a gradient."""

    __slots__ = ("application", "flags", "name")

    def __init__(self, application: _Application, flags: Sequence[bool]) -> None:
        self.application = application
        self.flags = flags
        self.name = application.cls.__name__

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
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

    def _derived(self, call: Call, wanted: Mask, present: Mask) -> Operation:
        return derivative(call, wanted, present)

    def _derive_once(
        self, node: Node, grads: Sequence[Any], places: Sequence[Any]
    ) -> Sequence[Any]:
        values = self.pull(node.arrays, [None if g is None else g._data for g in grads])
        known = [place for place in places if place is not None]
        targets, slots = [place[0] for place in known], [place[1] for place in known]
        dead = Node(_Dead(self.name), None, targets, slots, len(values))
        return [None if v is None else make(v, dead, i) for i, v in enumerate(values)]


def derivative(call: Call, wanted: Mask, present: Mask) -> Operation:
    """Return the gradient of a call as a pure function of its arrays and its outputs' gradients."""
    function = call.composite if hasattr(call.cls, "composite") else call.function(None)
    count = len(wanted)

    def run(*arrays: Array) -> tuple[Array, ...]:
        given = iter(arrays[count:])
        grads = [next(given) if p else None for p in present]
        return pull_back(function, wanted, arrays[:count], grads)

    return Operation(run, f"gradient of {call.name}", compiled=call.cls.compiled)


class _Dead:
    """The rule of a gradient that cannot be differentiated."""

    def __init__(self, name: str) -> None:
        self.name = name

    def pull(self, arrays: Any, grads: Any) -> Any:
        """Refuse: `once_differentiable` was asked for a second derivative."""
        raise RuntimeError(once_message(self.name))

    def derive(self, node: Node, grads: Any) -> Any:
        """Refuse: `once_differentiable` was asked for a second derivative."""
        raise RuntimeError(once_message(self.name))


class _Direct(_Rule):
    """Python run on concrete arrays; the ctx itself is kept."""

    __slots__ = ("_ctx", "_outputs", "_saved")

    def __init__(
        self, application: _Application, flags: Any, ctx: Context, saved: Any, outputs: Any
    ) -> None:
        super().__init__(application, flags)
        self._ctx = ctx
        self._saved = saved
        self._outputs = [(out.shape, out.dtype) for out in outputs]

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return what `backward` makes of the gradients, of concrete arrays."""
        application, ctx = self.application, self._ctx
        given = fill(grads, self._outputs, self.flags, ctx._materialize)
        ctx._saved = self._saved
        try:
            returned = unrecorded(application.cls.backward, ctx, *given)
        finally:
            ctx._saved = ()
        checked = check_gradients(self.name, returned, application.mask, arrays)
        return [g for g, needed in zip(checked, application.mask, strict=True) if needed]


class _Taped(_Rule):
    """The ctx as a pytree, of a traced call."""

    __slots__ = ("_call", "_residual")

    def __init__(self, application: _Application, call: Call, residual: Residual) -> None:
        super().__init__(application, residual.layout.differentiable)
        self._call = call
        self._residual = residual

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return what `backward` makes of the gradients, inside a trace."""
        found = self._call.gradients(self._residual, self._call.arrays, grads)
        wanted = self._call.wanted(self.application.mask)
        return [grad for grad, needed in zip(found, wanted, strict=True) if needed]


class Pair:
    """The two halves of a call, compiled, for each choice of what requires grad."""

    def __init__(self, call: Call, mask: Mask) -> None:
        self._call = call
        self._mask = mask
        self._wanted = call.wanted(mask)
        self._many = False
        self._forward = jax.jit(self._run_forward)
        self._backward = jax.jit(self._run_backward)
        self._operations: dict[Mask, Operation] = {}

    def _run_forward(self, *arrays: Array) -> Any:
        outputs, residual = self._call.forward(arrays, self._mask)
        self._many = self._call.many
        return outputs, residual if True in self._mask else None

    def _run_backward(self, residual: Residual, arrays: Any, grads: Any) -> list[Array | None]:
        found = self._call.gradients(residual, arrays, grads)
        return [grad for grad, needed in zip(found, self._wanted, strict=True) if needed]

    def run(self, application: _Application) -> Applied:
        """Run the compiled `forward`."""
        arrays = [value for value in application.given if isinstance(value, jax.Array)]
        outputs, residual = self._forward(*arrays)
        if residual is None or True not in residual.layout.differentiable:
            return outputs, self._many, None
        return outputs, self._many, _Compiled(application, self, residual)

    def pull(self, residual: Residual, arrays: Any, grads: Any) -> Sequence[Array | None]:
        """Run the compiled `backward`."""
        return self._backward(residual, arrays, grads)

    def derivative(self, present: Mask) -> Operation:
        """Return the operation that differentiates backward, for the gradients present."""
        found = self._operations.get(present)
        if found is None:
            found = self._operations[present] = derivative(self._call, self._wanted, present)
        return found


class _Compiled(_Rule):
    """The ctx as a pytree, of a compiled call."""

    __slots__ = ("_pair", "_residual")

    def __init__(self, application: _Application, pair: Pair, residual: Residual) -> None:
        super().__init__(application, residual.layout.differentiable)
        self._pair = pair
        self._residual = residual

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return what the compiled `backward` makes of the gradients."""
        positional = [value for value in arrays if isinstance(value, jax.Array)]
        return self._pair.pull(self._residual, positional, grads)

    def _derived(self, call: Call, wanted: Mask, present: Mask) -> Operation:
        return self._pair.derivative(present)
