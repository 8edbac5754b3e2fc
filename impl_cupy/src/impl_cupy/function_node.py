"""What is recorded of a Function, and how its backward runs, on raw arrays or recorded."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import type_name
from impl_cupy.context import Context
from impl_cupy.engine import Pass
from impl_cupy.memory import RawArray, arrays_in, check_unchanged, is_held
from impl_cupy.tape import (
    Edges,
    Node,
    Replaying,
    Value,
    at_edge,
    edge_of,
    handles,
    observe_node,
    watched,
    wrap,
)
from impl_cupy.tensor import Tensor

# Attributes of a ctx that are not the user's.
_OURS = frozenset(
    ("_saved", "_name", "_non_differentiable", "_materialize", "_given", "needs_input_grad")
)


class FunctionNode(Node):
    """One recorded call of a Function.

    Under ``create_graph=True`` `forward` is run again, on Tensors with the inputs' histories, so
    that whatever it saves is tied to the inputs, and `backward` then runs on those Tensors. A
    Function with `composite` is differentiated through that instead.
    """

    __slots__ = ("config", "ctx", "fresh", "function", "inputs", "metas", "outputs", "snapshot")

    def __init__(
        self,
        function: type[Any],
        ctx: Context,
        snapshot: dict[str, Any] | None,
        edges: Edges,
        inputs: tuple[Any, ...],
        config: dict[str, Any],
        metas: tuple[tuple[tuple[int, ...], Any], ...],
    ) -> None:
        super().__init__(edges)
        self.function = function
        self.ctx: Context | None = ctx
        self.snapshot = snapshot
        self.inputs = inputs
        self.config = config
        self.metas = metas
        self.outputs = len(metas)
        self.fresh = function._is_ours
        if watched:
            observe_node(self)

    def check(self, recorded: bool) -> None:
        """Refuse where what the ctx has, or what a replay needs, has been written since."""
        ctx = self.ctx
        if ctx is not None:
            check_unchanged(self.called(), self.age, (ctx._saved, vars(ctx)))
        if recorded:
            check_unchanged(self.called(), self.age, self.inputs)

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Call `backward` on raw arrays, which are its own to write to (function-27)."""
        ctx = original = self.ctx
        assert ctx is not None
        if not self.function._is_ours:
            for index in range(len(grads)):
                if grads[index] is not None and is_held(grads, index):
                    grads[index] = own(grads[index])
            ctx = _own_ctx(ctx, retain)
        if ctx._materialize:
            grads = [
                cp.zeros(shape, dtype=dtype) if grad is None else grad
                for grad, (shape, dtype) in zip(grads, self.metas, strict=True)
            ]
        found = self._backward(ctx, grads)
        if ctx is not original:
            for name in vars(ctx).keys() - vars(original).keys():  # function-08
                vars(original)[name] = vars(ctx)[name]
        return self._checked(found, cp.ndarray)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Get the gradients as recorded functions of the inputs and of `grads`."""
        if getattr(getattr(self.function, "backward", None), "once_differentiable", False):
            return self._pull_once(grads)
        if hasattr(self.function, "composite"):
            return self._pull_composite(grads)
        return self._pull_replayed(grads)

    def release(self) -> None:
        """Let go of the ctx, what it saved and the inputs."""
        self.edges = None
        self.inputs, self.config = (), {}
        if self.ctx is not None:
            self.ctx._saved = None
        self.ctx = self.snapshot = None

    def __del__(self) -> None:
        # An instance is the ctx, and whoever made it may hold it for ever (function-26).
        if self.snapshot is not None and self.ctx is not None:
            self.ctx._saved = None

    def called(self) -> str:
        """Return what the user calls the Function."""
        return self.function._called or self.function.__name__

    def __repr__(self) -> str:
        return f"<{self.function.__name__}>"

    def _backward(self, ctx: Context, grads: Sequence[Value | None]) -> Any:
        if not hasattr(self.function, "backward"):
            msg = f"{self.function.__name__}: a Function must define backward to have a gradient"
            raise NotImplementedError(msg)
        if self.snapshot is None:
            return self.function.backward(ctx, *grads)
        return ctx.backward(*grads)  # type: ignore[attr-defined]

    def _pull_once(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        edges = (
            *(self.edges or ()),
            *(edge_of(grad) for grad in grads),
        )
        barrier = _Barrier(edges, self.function.__name__, len(self.inputs))
        raws = self.pull([None if grad is None else grad._data for grad in grads], True)
        return [
            None if raw is None else at_edge(raw, (barrier, index))
            for index, raw in enumerate(raws)
        ]

    def _pull_composite(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        inputs = [
            Alias.of(value) if isinstance(value, Tensor) and value.requires_grad else value
            for value in self._input_tensors()
        ]
        result = self.function.composite(*inputs, **self.config)
        results = result if isinstance(result, tuple) else (result,)
        roots = [
            (edge, grad)
            for edge, grad in zip(map(edge_of, results), grads, strict=True)
            if edge is not None and grad is not None
        ]
        wanted = [edge_of(value) for value in inputs]
        targets = [edge for edge in wanted if edge is not None]
        gradients = iter(Pass(recorded=True, retain=True).gradients(roots, targets))
        return [None if edge is None else next(gradients) for edge in wanted]

    def _pull_replayed(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        original = self.ctx
        assert original is not None
        if self.snapshot is None:
            ctx = Context()
        else:
            ctx = object.__new__(self.function)
            ctx.__dict__.update(own(self.snapshot))
        ctx.xp = handles.namespace
        ctx._name = self.function.__name__
        ctx.needs_input_grad = original.needs_input_grad
        inputs, config = self._input_tensors(), own(self.config)
        with Replaying(self.function.__name__):
            if self.snapshot is None:
                self.function.forward(ctx, *inputs, **config)
            else:
                ctx.forward(*inputs, **config)  # type: ignore[attr-defined]
            if ctx._materialize:
                grads = [
                    wrap(cp.zeros(shape, dtype=dtype)) if grad is None else grad
                    for grad, (shape, dtype) in zip(grads, self.metas, strict=True)
                ]
            result = self._backward(ctx, grads)
        return self._checked(result, Tensor)

    def _input_tensors(self) -> list[Any]:
        tensors = []
        for value, edge in zip(self.inputs, self.edges or (), strict=True):
            if edge is not None:
                tensors.append(at_edge(value, edge))
            else:
                tensors.append(wrap(value) if isinstance(value, cp.ndarray) else value)
        return tensors

    def _checked(self, result: Any, cls: type) -> list[Any]:
        """Refuse gradients of the wrong count, type, shape or dtype; leave out unwanted ones."""
        name = f"{self.function.__name__}.backward"
        expected = len(self.inputs)
        returned = list(result) if isinstance(result, (tuple, list)) else [result]
        left_out = self.inputs[len(returned) :]
        if len(returned) > expected or any(value is not None for value in left_out):
            msg = (
                f"{name}: expected {expected} gradients, one per input, got {len(returned)}; "
                "return None for an input without one"
            )
            raise ValueError(msg)
        grads: list[Any] = [None] * expected
        for position, (grad, edge) in enumerate(zip(returned, self.edges or (), strict=False)):
            if grad is None or edge is None:
                continue
            if cls is Tensor and isinstance(grad, cp.ndarray):
                grad = wrap(grad)
            elif cls is not Tensor and isinstance(grad, Tensor):
                grad = grad._data
            self._check_gradient(name, position, grad, cls)
            grads[position] = grad
        return grads

    def _check_gradient(self, name: str, position: int, grad: Any, cls: type[Any]) -> None:
        source: RawArray = self.inputs[position]
        if not isinstance(grad, cls):
            msg = (
                f"{name}: the gradient of input {position} must be a raw array of dtype "
                f"{source.dtype.name}, got {type_name(grad)}"
            )
            raise TypeError(msg)
        if grad.shape != source.shape:
            msg = (
                f"{name}: the gradient of input {position} must have shape {source.shape}, "
                f"got {grad.shape}"
            )
            raise ValueError(msg)
        if grad.dtype != source.dtype:
            msg = (
                f"{name}: the gradient of input {position} must have dtype {source.dtype.name}, "
                f"got {grad.dtype.name}"
            )
            raise TypeError(msg)


def own(value: Any) -> Any:
    """Return a value with copies of the arrays in it, raw or NumPy's; itself if there are none."""
    if isinstance(value, (cp.ndarray, np.ndarray)):
        return value.copy()
    if type(value) not in (tuple, list, dict) or next(arrays_in(value), None) is None:
        return value
    return _owned(value, {})


def _owned(value: Any, made: dict[int, Any]) -> Any:
    """Copy a structure with its arrays; one that holds itself becomes one that holds itself."""
    if isinstance(value, (cp.ndarray, np.ndarray)):
        return value.copy()
    if id(value) in made:
        return made[id(value)]
    copied: Any
    if type(value) is dict:
        copied = made[id(value)] = {}
        copied.update((key, _owned(part, made)) for key, part in value.items())
    elif type(value) is list:
        copied = made[id(value)] = []
        copied.extend(_owned(part, made) for part in value)
    elif type(value) is tuple:
        copied = tuple(_owned(part, made) for part in value)
    else:
        return value
    return copied


def _own_ctx(ctx: Context, retain: bool) -> Context:
    """Return a ctx whose arrays `backward` may write to, for the sake of other calls and holders.

    With `retain` it is a twin, else the ctx itself.
    """
    saved, attributes = ctx._saved, vars(ctx)
    if saved is None:
        return ctx
    made = {}
    for name in attributes.keys() - _OURS:
        if retain or not isinstance(attributes[name], cp.ndarray) or is_held(attributes, name):
            made[name] = own(attributes[name])
    places = range(len(saved))
    held = [p for p in places if saved[p] is not None and (retain or is_held(saved, p))]
    if held:
        made["_saved"] = tuple([own(saved[p]) if p in held else saved[p] for p in places])
    if retain:
        ctx = copy.copy(ctx)
    vars(ctx).update(made)
    return ctx


class _Barrier(Node):
    """Stands behind gradients that cannot be differentiated again."""

    __slots__ = ("name", "outputs")

    def __init__(self, edges: Edges, name: str, outputs: int) -> None:
        super().__init__(edges)
        self.name = name
        self.outputs = outputs

    def pull(self, grads: Sequence[Value | None], retain: bool = True) -> Sequence[Value | None]:
        """Refuse.

        Raises
        ------
        RuntimeError
            Always.
        """
        del grads, retain
        msg = (
            f"{self.name}: backward is marked once_differentiable; there is no second derivative "
            "through it"
        )
        raise RuntimeError(msg)

    pull_recorded = pull


class Alias(Node):
    """Passes gradients on; the place where those of one input are gathered."""

    __slots__ = ()

    @classmethod
    def of(cls, source: Tensor) -> Tensor:
        """Make a Tensor with the values of `source` and a node of its own."""
        return at_edge(source._data, (cls((edge_of(source),)), 0))

    def pull(self, grads: Sequence[Value | None], retain: bool = True) -> Sequence[Value | None]:
        """Pass the gradient on."""
        del retain
        return grads

    pull_recorded = pull
