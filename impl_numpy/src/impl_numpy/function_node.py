"""The node of one application of a Function: what is recorded, and how its backward runs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from impl_numpy.context import Context, StaticContext
from impl_numpy.dtypes import Array, Value, is_raw
from impl_numpy.engine import run
from impl_numpy.recording import Differentiable
from impl_numpy.tape import MODE, Node, Parents, Source
from impl_numpy.tensor import Tensor, wrap


class FunctionNode(Node):
    """The node of one application."""

    __slots__ = ("_outputs", "config", "ctx", "function", "inputs", "pristine")

    def __init__(
        self,
        function: type[Any],
        ctx: Context,
        pristine: Any,
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
        """Return the name of the Function."""
        return self.function.__name__

    def free(self) -> None:
        """Let go of everything that the call left."""
        super().free()
        del self.inputs, self.config, self.ctx, self.pristine

    def pull(self, grad: Value) -> Sequence[Value | None]:
        """Call `backward` on raw arrays."""
        self.ctx._saved = self.saved or ()
        try:
            grads = self.function.backward(self.ctx, *self._grads(grad, np.asarray, self.ctx))
        finally:
            self.ctx._saved = ()
        return self._checked([g.data if isinstance(g, Tensor) else g for g in as_sequence(grads)])

    def pull_recorded(self, grad: Value) -> Sequence[Value | None]:
        """Call `forward` again and `backward`, both on Tensors; or go through the composite."""
        if getattr(self.function.backward, "once_differentiable", False):
            return self._pull_once(grad)
        inputs = [
            wrap(x, node) if node is not None or is_raw(x) else x
            for x, node in zip(self.inputs, self.parents, strict=True)
        ]
        composite = getattr(self.function, "composite", None)
        if composite is not None:
            return self._pull_composite(composite, inputs, grad)
        ctx = StaticContext(self.function) if self.pristine is None else copy.copy(self.pristine)
        ctx.needs_input_grad = self.ctx.needs_input_grad
        ctx.xp = Differentiable.ops
        self.function.forward(ctx, *inputs, **self.config)
        grads = as_sequence(self.function.backward(ctx, *self._grads(grad, _tensor, ctx)))
        return self._checked([wrap(g, None) if is_raw(g) else g for g in grads])

    def _pull_composite(
        self, composite: Callable[..., Any], inputs: list[Any], grad: Value
    ) -> Sequence[Value | None]:
        sources = [None if node is None else Source(node) for node in self.parents]
        stand_ins = [
            x if node is None else wrap(x.data, node)
            for x, node in zip(inputs, sources, strict=True)
        ]
        results = as_sequence(composite(*stand_ins, **self.config))
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
        """Return one gradient per output, zeros (unless the ctx wants None) where it was unused."""
        if not isinstance(grad, _Parts):
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


class OutputNode(Node):
    """One of several outputs of a call."""

    __slots__ = ("slot",)

    def __init__(self, call: FunctionNode, slot: tuple[int, int]) -> None:
        super().__init__(_CALL, (call,), ())
        self.slot = slot

    @property
    def name(self) -> str:
        """Return the name of the Function."""
        return self.parents[0].name if self.parents and self.parents[0] is not None else "output"

    def pull(self, grad: Value) -> Sequence[Value | None]:
        """Put the gradient into its slot."""
        k, n = self.slot
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


def as_sequence(result: Any) -> Sequence[Any]:
    """Return what `forward` or `backward` returned as a sequence."""
    return result if isinstance(result, tuple) else (result,)


def _tensor(x: Value) -> Tensor:
    return x if isinstance(x, Tensor) else wrap(x, None)
