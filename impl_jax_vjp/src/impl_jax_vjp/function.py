"""Function: an operation with a hand-written forward and backward.

Each application is one ``jax.custom_vjp`` (see `call`), which JAX's transformations obey. On
concrete Tensors the same methods run as ordinary Python on the arrays in hand, with a node on the
tape; a class that sets ``compiled = True`` has its two halves compiled by ``jax.jit`` there too.
"""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax

from .call import Call, differentiable, fill, is_once, once_message, run_forward
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


class Function(Context):
    """A stateless operation with its own derivative.

    A subclass defines ``forward`` and ``backward``, either static,
    ``forward(ctx, *inputs, **config)`` and ``backward(ctx, *grads)``, and is called
    ``F.apply(*inputs, **config)``; or as methods, and is called ``F(*args)(*inputs)``: then the
    instance is the ctx and serves one call. Both methods get and return raw arrays. `backward`
    returns a gradient, or None, for each positional input.

    A static method ``composite(*inputs, **config)`` on Tensors, if there is one, is what second
    derivatives are taken through.

    Attributes
    ----------
    compiled : bool
        Whether eager calls run ``jax.jit`` of the two methods, cached by the static arguments and
        by what requires grad. Worth it for methods of many operations; Python side effects then
        happen once per compilation only.
    """

    compiled: ClassVar[bool] = False
    _instance_spelling: ClassVar[bool] = False
    _pairs: ClassVar[dict[Any, "_Pair"]] = {}

    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., Any]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        method = inspect.getattr_static(cls, "forward", None)
        cls._instance_spelling = method is not None and not isinstance(method, staticmethod)
        cls._pairs = {}

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Run `forward` on the inputs, and put it on the tape if a gradient may be wanted.

        Parameters
        ----------
        *inputs
            Tensors; raw arrays, which are constants; anything else reaches `forward` as it is.
        **config
            Reach `forward` unchanged and have no gradient.

        Returns
        -------
        Tensor or tuple of Tensor
        """
        return _apply(cls, cls() if cls._instance_spelling else None, inputs, config)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Run `forward` with this instance as the ctx; an instance serves one call.

        Raises
        ------
        RuntimeError
            If the instance was called before.
        """
        if self._used:
            msg = (
                f"{type(self).__name__}: this instance was called before; "
                "a Function's instance serves one call, make a new instance"
            )
            raise RuntimeError(msg)
        self._used = True
        return _apply(type(self), self, inputs, config)


def as_function(cls: type[Any]) -> type[Function]:
    """Make a Function of a plain class with static `forward` and `backward`.

    Raises
    ------
    TypeError
        If a method is missing or not static; it names the method.
    """
    if not isinstance(cls, type):
        msg = f"as_function: wanted a class, got {type(cls).__name__}"
        raise TypeError(msg)
    namespace: dict[str, Any] = {"__doc__": cls.__doc__, "__module__": cls.__module__}
    namespace["__qualname__"] = cls.__qualname__
    for name in ("forward", "backward", "composite"):
        method = inspect.getattr_static(cls, name, None)
        if method is None and name != "composite":
            msg = f"as_function: {cls.__name__} has no {name}"
            raise TypeError(msg)
        if method is not None:
            if not isinstance(method, staticmethod):
                msg = f"as_function: {cls.__name__}.{name} must be a staticmethod"
                raise TypeError(msg)
            namespace[name] = method
    return type(cls.__name__, (Function,), namespace)


def once_differentiable(backward: Any) -> Any:
    """Mark a `backward` (under ``@staticmethod``) as one that cannot be differentiated itself."""
    method = backward.__func__ if isinstance(backward, staticmethod) else backward

    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    wrapped._once_differentiable = True  # type: ignore[attr-defined]
    return staticmethod(wrapped) if isinstance(backward, staticmethod) else wrapped


def _apply(
    cls: type[Function], instance: Context | None, inputs: Sequence[Any], config: dict[str, Any]
) -> Any:
    recording = MODE.enabled
    mask = tuple([recording and isinstance(v, Traced) and v._requires_grad for v in inputs])
    call = Call(cls, instance, inputs, config)
    if any(isinstance(array, jax.core.Tracer) for array in call.arrays):
        outputs, rule = _traced(call, mask)
    elif cls.compiled and (pair := _pair(call, mask)) is not None:
        outputs, rule = pair.forward(call)
    else:
        outputs, rule = _direct(call, instance, inputs, config, mask)
    if rule is None or not any(rule.flags):
        if not recording and not MODE.inside:
            outputs = tuple([constant(out) for out in outputs])
        made = [make(out) for out in outputs]
        return tuple(made) if call.many else made[0]
    edges = [edge_of(v) for v, needed in zip(inputs, mask, strict=True) if needed]
    targets = [edge[0] for edge in edges if edge is not None]
    slots = [edge[1] for edge in edges if edge is not None]
    node = Node(rule, call.arrays, targets, slots, len(outputs))
    made = [
        make(out, node if flag else None, index)
        for index, (out, flag) in enumerate(zip(outputs, rule.flags, strict=True))
    ]
    return tuple(made) if call.many else made[0]


class _Rule:
    """What the tape keeps of one application; `flags` say which outputs have a gradient."""

    __slots__ = ("_call", "_mask", "flags", "name")

    def __init__(self, call: Call, mask: Mask, flags: Sequence[bool]) -> None:
        self._call = call
        self._mask = mask
        self.flags = flags
        self.name = call.name

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        raise NotImplementedError

    def _wanted(self) -> Mask:
        return self._call.wanted(self._mask)

    def derive(self, node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        edges = iter(zip(node.targets, node.slots, strict=True))
        present = tuple([grad is not None for grad in grads])
        arrays = [*node.arrays, *(grad._data for grad in grads if grad is not None)]
        places = [next(edges) if wanted else None for wanted in self._wanted()]
        places += [edge_of(grad) for grad in grads if grad is not None]
        if is_once(self._call.cls):
            return self._derive_once(node, grads, places)
        return record_on(self._derived(present), arrays, places)

    def _derived(self, present: Mask) -> Operation:
        return _derived(self._call, self._wanted(), present)

    def _derive_once(
        self, node: Node, grads: Sequence[Any], places: Sequence[Any]
    ) -> Sequence[Any]:
        values = self.pull(node.arrays, [None if g is None else g._data for g in grads])
        known = [place for place in places if place is not None]
        dead = Node(
            _Dead(self.name), None, [p[0] for p in known], [p[1] for p in known], len(values)
        )
        return [None if v is None else make(v, dead, i) for i, v in enumerate(values)]


def _derived(call: Call, wanted: Mask, present: Mask) -> Operation:
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
        raise RuntimeError(once_message(self.name))

    def derive(self, node: Node, grads: Any) -> Any:
        raise RuntimeError(once_message(self.name))


class _Direct(_Rule):
    """Python run on concrete arrays; the ctx itself is kept."""

    __slots__ = ("_ctx", "_inputs", "_outputs", "_saved")

    def __init__(self, call: Call, mask: Mask, flags: Any, ctx: Context, outputs: Any) -> None:
        super().__init__(call, mask, flags)
        self._ctx = ctx
        # Not left on the ctx: a user may hold an instance longer than its graph.
        self._saved, ctx._saved = ctx._saved, ()
        self._outputs = [(out.shape, out.dtype) for out in outputs]

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        call, ctx = self._call, self._ctx
        given = fill(grads, self._outputs, self.flags, ctx._materialize)
        ctx._saved = self._saved
        try:
            with unrecorded():
                returned = call.cls.backward(ctx, *given)
        finally:
            ctx._saved = ()
        checked = call.check(returned, self._mask, arrays)
        return [grad for grad, needed in zip(checked, self._mask, strict=True) if needed]


def _direct(
    call: Call, instance: Context | None, inputs: Sequence[Any], config: dict[str, Any], mask: Mask
) -> tuple[tuple[Array, ...], _Rule | None]:
    ctx = Context() if instance is None else instance
    ctx._mask = mask
    arrays = iter(call.arrays)
    given = [next(arrays) if a else v for a, v in zip(call.is_array, inputs, strict=True)]
    outputs, call.many = run_forward(call.cls, ctx, given, config)
    flags = differentiable(ctx, outputs)
    ctx._marked = ()
    if not any(mask) or not any(flags):
        ctx._saved = ()
        return outputs, None
    return outputs, _Direct(call, mask, flags, ctx, outputs)


class _Taped(_Rule):
    """The ctx as a pytree, of a traced or a compiled call."""

    __slots__ = ("_pull", "_residual")

    def __init__(
        self, call: Call, mask: Mask, residual: Residual, pull: Callable[..., Any]
    ) -> None:
        super().__init__(call, mask, residual.layout.differentiable)
        self._residual = residual
        self._pull = pull

    def pull(self, arrays: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        found = self._pull(self._residual, arrays, grads)
        return [grad for grad, wanted in zip(found, self._wanted(), strict=True) if wanted]


def _traced(call: Call, mask: Mask) -> tuple[tuple[Array, ...], _Rule | None]:
    if not any(mask):
        return call.function(None)(*call.arrays), None
    outputs, residual = call.function(mask)(*call.arrays)
    return outputs, _Taped(call, mask, residual, call.gradients)


class _Pair:
    """The two halves of a call, compiled."""

    def __init__(self, call: Call, mask: Mask) -> None:
        # A twin without arrays: what is cached holds none.
        self._call = call
        self._mask = mask
        self._many = False
        self._forward = jax.jit(self._run_forward)
        self._backward = jax.jit(call.gradients)
        self._operations: dict[Mask, Operation] = {}

    def _run_forward(self, *arrays: Array) -> Any:
        outputs, residual = self._call.forward(arrays, self._mask)
        self._many = self._call.many
        return outputs, residual if any(self._mask) else None

    def forward(self, call: Call) -> tuple[tuple[Array, ...], _Rule | None]:
        outputs, residual = self._forward(*call.arrays)
        call.many = self._many
        if residual is None:
            return outputs, None
        return outputs, _Compiled(call, self._mask, residual, self._backward, self)

    def derived(self, wanted: Mask, present: Mask) -> Operation:
        found = self._operations.get(present)
        if found is None:
            found = self._operations[present] = _derived(self._call, wanted, present)
        return found


class _Compiled(_Taped):
    __slots__ = ("_pair",)

    def __init__(self, call: Call, mask: Mask, residual: Residual, pull: Any, pair: _Pair) -> None:
        super().__init__(call, mask, residual, pull)
        self._pair = pair

    def _derived(self, present: Mask) -> Operation:
        return self._pair.derived(self._wanted(), present)


def _pair(call: Call, mask: Mask) -> _Pair | None:
    """Return the compiled halves for a call's static part, or None if that cannot be hashed."""
    pairs = call.cls._pairs
    try:
        key = (mask, call.key())
        found = pairs.get(key)
    except TypeError:
        return None
    if found is None:
        twin = call.without_arrays()
        found = pairs[key] = _Pair(twin, mask)
    return found
