"""What is recorded of a Function, and how its backward runs, on raw arrays or recorded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.context import Context
from impl_cupy.engine import run
from impl_cupy.errors import kind_of
from impl_cupy.tape import Edges, Node, Value
from impl_cupy.tensor import RawArray, Tensor, at_edge, edge_of, methods, wrap


class FunctionNode(Node):
    """One recorded call of a Function.

    Under ``create_graph=True`` `forward` is run again, on Tensors with the inputs' histories, so
    that whatever it saves is tied to the inputs, and `backward` then runs on those Tensors. A
    Function with `composite` is differentiated through that instead.
    """

    __slots__ = ("config", "ctx", "fresh", "inputs", "kind", "metas", "outputs", "snapshot")

    def __init__(
        self,
        kind: type[Any],
        ctx: Context,
        snapshot: dict[str, Any] | None,
        edges: Edges,
        inputs: tuple[Any, ...],
        config: dict[str, Any],
        metas: tuple[tuple[tuple[int, ...], Any], ...],
    ) -> None:
        super().__init__(edges)
        self.kind = kind
        self.ctx: Context | None = ctx
        self.snapshot = snapshot
        self.inputs = inputs
        self.config = config
        self.metas = metas
        self.outputs = len(metas)
        self.fresh = kind._fresh_gradients

    def pull(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Call `backward` on raw arrays."""
        ctx = self.ctx
        assert ctx is not None
        if ctx._materialize:
            grads = [
                cp.zeros(shape, dtype=dtype) if grad is None else grad
                for grad, (shape, dtype) in zip(grads, self.metas, strict=True)
            ]
        return self._checked(self._backward(ctx, grads), cp.ndarray)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Get the gradients as recorded functions of the inputs and of `grads`."""
        if getattr(self.kind.backward, "once_differentiable", False):
            return self._pull_once(grads)
        if hasattr(self.kind, "composite"):
            return self._pull_composite(grads)
        return self._pull_replayed(grads)

    def release(self) -> None:
        """Let go of the ctx, what it saved and the inputs."""
        self.edges = None
        self.inputs = ()
        if self.ctx is not None:
            self.ctx._saved = None
        self.ctx = self.snapshot = None

    def __repr__(self) -> str:
        return f"<{self.kind.__name__}>"

    def _backward(self, ctx: Context, grads: Sequence[Value | None]) -> Any:
        if self.snapshot is None:
            return self.kind.backward(ctx, *grads)
        return ctx.backward(*grads)  # type: ignore[attr-defined]

    def _pull_once(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        edges = (
            *(self.edges or ()),
            *(edge_of(each) if each is not None else None for each in grads),
        )
        barrier = _Barrier(edges, self.kind.__name__, len(self.inputs))
        raws = self.pull([None if each is None else each._data for each in grads])
        return [
            None if each is None else at_edge(each, (barrier, index))
            for index, each in enumerate(raws)
        ]

    def _pull_composite(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        inputs = [
            Alias.of(each) if isinstance(each, Tensor) and each.requires_grad else each
            for each in self._input_tensors()
        ]
        result = self.kind.composite(*inputs, **self.config)
        results = result if isinstance(result, tuple) else (result,)
        roots = [
            (edge, grad)
            for edge, grad in zip(map(edge_of, results), grads, strict=True)
            if edge is not None and grad is not None
        ]
        wanted = [
            edge_of(each) if isinstance(each, Tensor) and each.requires_grad else None
            for each in inputs
        ]
        targets = [edge for edge in wanted if edge is not None]
        found = iter(run(roots, recorded=True, retain=True, targets=targets))
        return [None if edge is None else next(found) for edge in wanted]

    def _pull_replayed(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        original = self.ctx
        assert original is not None
        if self.snapshot is None:
            ctx = Context()
        else:
            ctx = object.__new__(self.kind)
            ctx.__dict__.update(self.snapshot)
        ctx.xp = methods.namespace
        ctx._name = self.kind.__name__
        ctx.needs_input_grad = original.needs_input_grad
        inputs = self._input_tensors()
        if self.snapshot is None:
            self.kind.forward(ctx, *inputs, **self.config)
        else:
            ctx.forward(*inputs, **self.config)  # type: ignore[attr-defined]
        if ctx._materialize:
            grads = [
                wrap(cp.zeros(shape, dtype=dtype)) if grad is None else grad
                for grad, (shape, dtype) in zip(grads, self.metas, strict=True)
            ]
        return self._checked(self._backward(ctx, grads), Tensor)

    def _input_tensors(self) -> list[Any]:
        tensors = []
        for each, edge in zip(self.inputs, self.edges or (), strict=True):
            if edge is not None:
                tensors.append(at_edge(each, edge))
            else:
                tensors.append(wrap(each) if isinstance(each, cp.ndarray) else each)
        return tensors

    def _checked(self, result: Any, kind: type) -> list[Any]:
        """Refuse gradients of the wrong count, kind, shape or dtype; leave out unwanted ones."""
        name = f"{self.kind.__name__}.backward"
        expected = len(self.inputs)
        returned = list(result) if isinstance(result, (tuple, list)) else [result]
        left_out = self.inputs[len(returned) :]
        if len(returned) > expected or any(each is not None for each in left_out):
            msg = (
                f"{name}: expected {expected} gradients, one per input, got {len(returned)}; "
                "return None for an input without one"
            )
            raise ValueError(msg)
        grads: list[Any] = [None] * expected
        for position, (grad, edge) in enumerate(zip(returned, self.edges or (), strict=False)):
            if grad is None or edge is None:
                continue
            if kind is Tensor and isinstance(grad, cp.ndarray):
                grad = wrap(grad)
            self._check_one(name, position, grad, kind)
            grads[position] = grad
        return grads

    def _check_one(self, name: str, position: int, grad: Any, kind: type[Any]) -> None:
        source: RawArray = self.inputs[position]
        if not isinstance(grad, kind):
            msg = (
                f"{name}: the gradient of input {position} must be a raw array of dtype "
                f"{source.dtype.name}, got {kind_of(grad)}"
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


class _Barrier(Node):
    """Stands behind gradients that cannot be differentiated again."""

    __slots__ = ("name", "outputs")

    def __init__(self, edges: Edges, name: str, outputs: int) -> None:
        super().__init__(edges)
        self.name = name
        self.outputs = outputs

    def pull(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Refuse.

        Raises
        ------
        RuntimeError
            Always.
        """
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

    def pull(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Pass the gradient on."""
        return grads

    pull_recorded = pull
