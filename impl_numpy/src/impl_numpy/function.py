"""Function: an operation with a hand-written forward and backward, both on raw arrays.

Two spellings share one mechanism. In the static one `forward` and `backward` are static methods
whose first parameter is the ctx; in the instance one they are methods, and the instance is the ctx.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

from impl_numpy.dtypes import DTYPES, is_raw
from impl_numpy.recording import Differentiable
from impl_numpy.tape import MODE, Array, Node, Parents, Source, Value, run
from impl_numpy.tensor import Tensor, wrap

F = TypeVar("F", bound=Callable[..., Any])


class Context:
    """What `forward` leaves for `backward`.

    Attributes
    ----------
    needs_input_grad : tuple of bool
        One per positional input: whether it is a Tensor whose gradient is wanted.
    saved_tensors : tuple of array or None
        What `save_for_backward` was given.
    xp : module
        The array-API namespace that fits the arrays in hand: `numpy`, or `ops` on Tensors.
    """

    needs_input_grad: tuple[bool, ...] = ()
    xp: Any = np
    _saved: tuple[Any, ...] = ()
    _materialize: bool = True
    _constant: tuple[Any, ...] = ()

    @property
    def saved_tensors(self) -> tuple[Any, ...]:
        """What `save_for_backward` was given, in the same order."""
        return self._saved

    def save_for_backward(self, *items: Any) -> None:
        """Keep arrays, and None, for `backward`.

        Raises
        ------
        TypeError
            If an item is neither.
        """
        for k, item in enumerate(items):
            if item is not None and not is_raw(item) and not isinstance(item, Tensor):
                msg = (
                    f"{_name(self)}.save_for_backward: item {k} must be a raw array or None, "
                    f"got {type(item).__name__}; keep other things as attributes of the ctx"
                )
                raise TypeError(msg)
        self._saved = items

    def mark_non_differentiable(self, *outputs: Any) -> None:
        """Say that these outputs do not require grad."""
        self._constant = outputs

    def set_materialize_grads(self, value: bool) -> None:
        """With False, `backward` gets None instead of zeros for an output that nothing used."""
        self._materialize = value

    def mark_dirty(self, *inputs: Any) -> None:
        """Refused: Functions do not modify their inputs."""
        msg = f"{_name(self)}.mark_dirty: Functions do not modify their inputs; return a new array"
        raise RuntimeError(msg)


class Function(Context):
    """An operation with its own gradient.

    A subclass defines `forward` and `backward`. Under `create_graph=True` `forward` is run again,
    on Tensors, so that what it saved is differentiated as a function of the inputs; or, if there is
    a static `composite(*inputs, **config)` on Tensors, derivatives are taken through that.
    """

    _static: ClassVar[bool] = True
    _called: bool = False
    forward: Callable[..., Any]
    backward: Callable[..., Any]

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        owner = next((c for c in cls.__mro__ if "forward" in vars(c)), None)
        cls._static = owner is None or isinstance(vars(owner)["forward"], staticmethod)

    @classmethod
    def apply(cls, *inputs: Any, **config: Any) -> Any:
        """Run `forward` on raw arrays, and record it where an input wants a gradient.

        Parameters
        ----------
        *inputs
            Tensors; raw arrays, which are constants; anything else, which is passed on as it is.
        **config
            Configuration, never differentiated.

        Returns
        -------
        Tensor or tuple of Tensor
            As `forward` returns an array or a tuple of them.

        Raises
        ------
        TypeError
            If `forward` returns what is no raw array.
        """
        if cls._static:
            return _call(cls, _StaticContext(cls), None, inputs, config)
        return cls()(*inputs, **config)

    def __call__(self, *inputs: Any, **config: Any) -> Any:
        """Apply an instance, which is its own ctx and serves one call.

        Raises
        ------
        RuntimeError
            On a second call.
        """
        cls = type(self)
        if cls._static:
            msg = f"{cls.__name__}: forward is static, so there is no instance to call; use apply"
            raise TypeError(msg)
        if self._called:
            msg = f"{cls.__name__}: an instance serves one call; make a new instance for another"
            raise RuntimeError(msg)
        pristine = copy.copy(self)
        self._called = True
        return _call(cls, self, pristine, inputs, config)


class _StaticContext(Context):
    """The ctx of the static spelling."""

    def __init__(self, function: type[Function]) -> None:
        self._function = function


def _name(ctx: Context) -> str:
    return (ctx._function if isinstance(ctx, _StaticContext) else type(ctx)).__name__


def as_function(cls: type) -> type[Function]:
    """A Function of this implementation from a plain class with static `forward` and `backward`.

    Raises
    ------
    TypeError
        If either is missing.
    """
    for method in ("forward", "backward"):
        if not callable(getattr(cls, method, None)):
            msg = f"as_function: {cls.__name__} has no {method}; it needs forward and backward"
            raise TypeError(msg)
    names = {"__doc__": cls.__doc__, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    return type(cls.__name__, (cls, Function), names)


def once_differentiable(backward: F) -> F:
    """Decorate `backward`, under `@staticmethod`: a second derivative through it raises."""
    backward.__dict__["once_differentiable"] = True
    return backward


class _Call(Node):
    """The node of one application."""

    __slots__ = ("_outputs", "config", "ctx", "function", "inputs", "pristine")

    def __init__(
        self,
        function: type[Function],
        ctx: Context,
        pristine: Function | None,
        inputs: tuple[Any, ...],
        config: dict[str, Any],
        parents: Parents,
        outputs: Sequence[Array],
    ) -> None:
        # What was saved lies here and not on an instance, which its maker may hold for ever.
        super().__init__(_CALL, parents, ctx._saved)
        ctx._saved = ()
        self.function = function
        self.ctx = ctx
        self.pristine = pristine
        self.inputs = inputs
        self.config = config
        self._outputs = [(x.shape, x.dtype) for x in outputs]

    @property
    def name(self) -> str:
        return self.function.__name__

    def free(self) -> None:
        super().free()
        del self.inputs, self.config, self.ctx, self.pristine

    def pull(self, grad: Value) -> Sequence[Value | None]:
        self.ctx._saved = self.saved or ()
        try:
            grads = self.function.backward(self.ctx, *self._grads(grad, np.asarray, self.ctx))
        finally:
            self.ctx._saved = ()
        return self._checked([g.data if isinstance(g, Tensor) else g for g in _sequence(grads)])

    def pull_recorded(self, grad: Value) -> Sequence[Value | None]:
        if getattr(self.function.backward, "once_differentiable", False):
            return self._pull_once(grad)
        inputs = [
            wrap(x, node) if node is not None or is_raw(x) else x
            for x, node in zip(self.inputs, self.parents, strict=True)
        ]
        composite = getattr(self.function, "composite", None)
        if composite is not None:
            return self._pull_composite(composite, inputs, grad)
        ctx = _StaticContext(self.function) if self.pristine is None else copy.copy(self.pristine)
        ctx.needs_input_grad = self.ctx.needs_input_grad
        ctx.xp = Differentiable.ops
        self.function.forward(ctx, *inputs, **self.config)
        grads = _sequence(self.function.backward(ctx, *self._grads(grad, _tensor, ctx)))
        return self._checked([wrap(g, None) if is_raw(g) else g for g in grads])

    def _pull_composite(
        self, composite: Callable[..., Any], inputs: list[Any], grad: Value
    ) -> Sequence[Value | None]:
        sources = [None if node is None else Source(node) for node in self.parents]
        stand_ins = [
            x if node is None else wrap(x.data, node)
            for x, node in zip(inputs, sources, strict=True)
        ]
        results = _sequence(composite(*stand_ins, **self.config))
        grads = self._grads(grad, _tensor, None)
        roots = [
            (out._node, g)
            for out, g in zip(results, grads, strict=True)
            if g is not None and out._node is not None
        ]
        targets = [node for node in sources if node is not None]
        found = run(roots, retain=True, record=True, targets=targets)
        return [None if node is None else found.get(node) for node in sources]

    def _pull_once(self, grad: Value) -> Sequence[Value | None]:
        # The gradients are right, but nothing knows how they depend on anything.
        parts = grad.items if isinstance(grad, _Parts) else (grad,)
        plain = [None if g is None else g.data for g in parts]
        MODE.recording = False
        try:
            grads = self.pull(_Parts(plain) if isinstance(grad, _Parts) else plain[0])
        finally:
            MODE.recording = True
        users = (*self.parents, *(g._node for g in parts if g is not None))
        if not any(users):
            return [None if g is None else wrap(g, None) for g in grads]
        rule, nothing = _Refusal(self.name), (None,) * (len(users) + 1)
        return [None if g is None else wrap(g, Node(rule, users, nothing)) for g in grads]

    def _grads(
        self, grad: Value, convert: Callable[[Value], Value], ctx: Context | None
    ) -> list[Value | None]:
        """One gradient per output; zeros where nothing used it, unless the ctx wants None."""
        if not isinstance(grad, _Parts):
            return [convert(grad)]
        blank = self.ctx._materialize and ctx is not None
        return [
            convert(g) if g is not None else convert(np.zeros(*spec)) if blank else None
            for g, spec in zip(grad.items, self._outputs, strict=True)
        ]

    def _checked(self, grads: list[Value | None]) -> list[Value | None]:
        """Refuse gradients that do not fit the inputs."""
        wanted, came = len(self.inputs), len(grads)
        if came > wanted or any(x is not None for x in self.inputs[came:]):
            msg = (
                f"{self.name}.backward: must return {wanted} gradients, one per positional input, "
                f"returned {came}"
            )
            raise ValueError(msg)
        grads += [None] * (wanted - came)
        for k, (x, node, g) in enumerate(zip(self.inputs, self.parents, grads, strict=True)):
            if node is None or g is None:
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


class _Parts:
    """The gradients of several outputs on their way to one node."""

    __slots__ = ("items",)

    def __init__(self, items: list[Value | None]) -> None:
        self.items = items

    def __add__(self, other: _Parts) -> _Parts:
        # Each output has one node, which gives once: a slot is never taken twice.
        pairs = zip(self.items, other.items, strict=True)
        return _Parts([b if a is None else a for a, b in pairs])


class _Output(Node):
    """One of several outputs of a call."""

    __slots__ = ("place",)

    def __init__(self, call: _Call, place: tuple[int, int]) -> None:
        super().__init__(_CALL, (call,), ())
        self.place = place

    @property
    def name(self) -> str:
        return self.parents[0].name if self.parents and self.parents[0] is not None else "output"

    def pull(self, grad: Value) -> Sequence[Value | None]:
        k, n = self.place
        return (_Parts([grad if j == k else None for j in range(n)]),)

    pull_recorded = pull


class _CallRule:
    """The rule of nodes that have methods of their own."""

    name = "Function"

    @staticmethod
    def vjp(grad: Value, needs: Parents) -> tuple[Value | None, ...]:
        raise NotImplementedError


_CALL = _CallRule()


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


def _call(
    cls: type[Function],
    ctx: Context,
    pristine: Function | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
) -> Any:
    recording = MODE.recording
    nodes = [x._node if recording and isinstance(x, Tensor) else None for x in inputs]
    ctx.needs_input_grad = tuple([node is not None for node in nodes])
    arrays = tuple([x._data if isinstance(x, Tensor) else x for x in inputs])
    MODE.recording = False
    try:
        result = cls.forward(ctx, *arrays, **config)
    finally:
        MODE.recording = recording
    outputs = [_output(cls, k, x) for k, x in enumerate(_sequence(result))]
    constant = {id(x) for x in ctx._constant}
    follows = [
        x.dtype.kind == "f" and id(given) not in constant
        for x, given in zip(outputs, _sequence(result), strict=True)
    ]
    ctx._constant = ()
    call = None
    if any(ctx.needs_input_grad) and any(follows):
        call = _Call(cls, ctx, pristine, arrays, config, tuple(nodes), outputs)
    else:
        ctx._saved = ()
    if not isinstance(result, tuple):
        return wrap(outputs[0], call)
    return tuple(
        wrap(x, _Output(call, (k, len(outputs))) if call is not None and follow else None)
        for k, (x, follow) in enumerate(zip(outputs, follows, strict=True))
    )


def _output(cls: type[Function], k: int, x: Any) -> Array:
    if isinstance(x, Tensor):
        x = x.data
    if not is_raw(x) or x.dtype not in DTYPES:
        got = f"an array of dtype {x.dtype}" if is_raw(x) else type(x).__name__
        msg = f"{cls.__name__}.forward: output {k} must be a raw array of a known dtype, got {got}"
        raise TypeError(msg)
    return np.asarray(x)


def _sequence(result: Any) -> Sequence[Any]:
    return result if isinstance(result, tuple) else (result,)


def _tensor(x: Value) -> Tensor:
    return x if isinstance(x, Tensor) else wrap(x, None)
