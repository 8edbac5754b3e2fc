"""A call of a Function under `vmap`: for all slices at once where that can be, else one by one.

At once `forward` runs on Tensors that depend on the slices, with `ops` as ``ctx.xp``, and so does
`backward`. Where one of them does what such a Tensor refuses, it runs on the raw arrays of each
slice instead, and a warning says so once for a class.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from impl_cupy import xp as raw_xp
from impl_cupy.backend import cp
from impl_cupy.context import Context
from impl_cupy.engine import Pass
from impl_cupy.function_node import Alias, FunctionNode, own
from impl_cupy.memory import RawArray
from impl_cupy.random import RestoredOnError
from impl_cupy.slices import (
    Levels,
    Within,
    by_slices,
    counted_levels,
    deepest,
    dressed,
    hidden,
    is_mapped,
    over,
    parts_of,
    spread,
    stripped,
)
from impl_cupy.tape import (
    AtOnce,
    Edges,
    Value,
    at_edge,
    edge_of,
    handles,
    keep,
    state,
    wrap,
)
from impl_cupy.tensor import Tensor

Again = Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]
"""Calls the Function anew, from its attributes, inputs and configuration."""


class CannotRunAtOnce(Exception):
    """A call for all slices did what Tensors refuse."""


def apply_mapped(
    cls: type[Any],
    ctx: Context,
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
    again: Again,
) -> Any:
    """Call a Function where an input depends on a slice."""
    level = deepest(inputs, config, snapshot)
    if cls._is_ours:
        if hasattr(cls, "composite") and not cls._by_slices:
            return cls.composite(*[_lifted(value) for value in inputs], **config)
        return by_slices(again, (snapshot, inputs, config), {}, level)
    if "forward" not in cls.__dict__.get("_one_by_one", ()):
        try:
            return _at_once(cls, ctx, snapshot, inputs, config, again)
        except CannotRunAtOnce:
            pass
    if any(count == 0 for value in parts_of((inputs, config)) for _, count in _levels_in(value)):
        refuse_no_slices(cls)
    made = by_slices(again, (snapshot, inputs, config), {}, level)
    warn_once(cls, "forward")
    return made


def warn_once(cls: type[Any], method: str) -> None:
    """Remember that a class's method runs for each slice, and say so the first time."""
    known = cls.__dict__.get("_one_by_one", ())
    if not known:
        msg = (
            f"{cls.__name__}: under vmap {method} runs once for each slice, as it does more than "
            "ctx.xp and operators can do for all at once"
        )
        warnings.warn(msg, UserWarning, stacklevel=2)
    if method not in known:
        cls._one_by_one = (*known, method)


def refuse_no_slices(cls: type[Any]) -> None:
    """Raise the error of a Function whose shapes cannot be known (autograd-58).

    Raises
    ------
    ValueError
        That names the Function and `vmap`.
    """
    msg = (
        f"{cls.__name__}: under vmap it runs once for each slice, and there are none that would "
        "give the shapes"
    )
    raise ValueError(msg)


def _lifted(value: Any) -> Any:
    return wrap(value) if isinstance(value, cp.ndarray) else value


def _levels_in(value: Any) -> Levels:
    return counted_levels(value) if isinstance(value, Tensor) else ()


def _all_levels(values: Any) -> Levels:
    found = {each for value in parts_of(values) for each in _levels_in(value)}
    return tuple(sorted(found))


def _at_once(
    cls: type[Any],
    ctx: Context,
    snapshot: dict[str, Any] | None,
    inputs: tuple[Any, ...],
    config: dict[str, Any],
    again: Again,
) -> Any:
    levels = _all_levels((inputs, config, snapshot))
    is_wanted = [state.recording and edge_of(value) is not None for value in inputs]
    # A gradient of a slice is one of its own, also of what every slice gets whole.
    sources = [
        spread(value, levels) if wanted else _lifted(own(value))
        for value, wanted in zip(inputs, is_wanted, strict=True)
    ]
    ctx._name, ctx.needs_input_grad = cls.__name__, tuple(is_wanted)
    ctx.xp = handles.namespace
    given = [wrap(keep(v)) if isinstance(v, Tensor) else own(v) for v in inputs]
    given = [_lifted(value) for value in given]
    try:
        with RestoredOnError(), AtOnce():
            if snapshot is None:
                result = cls.forward(ctx, *given, **own(config))
            else:
                result = ctx.forward(*given, **own(config))  # type: ignore[attr-defined]
        outputs = [_lifted(o) for o in (result if isinstance(result, tuple) else (result,))]
    except Exception as error:
        raise CannotRunAtOnce from error
    if not all(isinstance(output, Tensor) for output in outputs):
        raise CannotRunAtOnce
    chosen = {id(output) for output in ctx._non_differentiable}
    differentiable = [o.dtype.kind in "fc" and id(o) not in chosen for o in outputs]
    if not any(is_wanted) or not any(differentiable):
        ctx._saved = ()
        tensors = [wrap(output._data) for output in outputs]
        return tuple(tensors) if isinstance(result, tuple) else tensors[0]
    edges = tuple(
        edge_of(value) if wanted else None for value, wanted in zip(sources, is_wanted, strict=True)
    )
    kept = tuple(keep(v) for v in sources)
    metas = tuple((output.shape, output.dtype) for output in outputs)
    node = MappedNode(cls, ctx, snapshot, edges, kept, config, metas, levels, again)
    tensors = [
        at_edge(spread(wrap(o._data), levels)._data, (node, place))
        if differentiable[place]
        else wrap(o._data)
        for place, o in enumerate(outputs)
    ]
    ctx._non_differentiable = ()
    return tuple(tensors) if isinstance(result, tuple) else tensors[0]


class MappedNode(FunctionNode):
    """One recorded call of a Function for all slices; gradients have the hidden axes in sight."""

    __slots__ = ("again", "levels")

    def __init__(
        self,
        function: type[Any],
        ctx: Context,
        snapshot: dict[str, Any] | None,
        edges: Edges,
        inputs: tuple[Any, ...],
        config: dict[str, Any],
        metas: tuple[tuple[tuple[int, ...], Any], ...],
        levels: Levels,
        again: Again,
    ) -> None:
        super().__init__(function, ctx, snapshot, edges, inputs, config, metas)
        self.levels = levels
        self.again = again

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Call `backward` for all slices, or for each."""
        del retain
        with Within(self.levels):
            if "backward" not in self.function.__dict__.get("_one_by_one", ()):
                try:
                    return self._pull_at_once(grads)
                except CannotRunAtOnce:
                    pass
            return self._pull_each(grads)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Do the same, recorded."""
        with Within(self.levels):
            return super().pull_recorded(grads)

    def _names(self) -> list[int]:
        return [level for level, _ in self.levels]

    def _bare(self, grads: Sequence[Any]) -> list[Any]:
        """Return gradients of slices with the hidden axes in sight, as Tensors."""
        return [None if grad is None else stripped(spread(grad, self.levels)) for grad in grads]

    def _materialized(self, grads: Sequence[Any]) -> list[Any]:
        if self.ctx is None or not self.ctx._materialize:
            return list(grads)
        return [
            wrap(cp.zeros(shape, dtype=dtype)) if grad is None else grad
            for grad, (shape, dtype) in zip(grads, self.metas, strict=True)
        ]

    def _pull_at_once(self, grads: Sequence[Value | None]) -> list[Any]:
        ctx, names = self.ctx, self._names()
        assert ctx is not None
        given = [None if grad is None else wrap(hidden(grad, names)) for grad in grads]
        try:
            with RestoredOnError(), AtOnce():
                # What backward sets on the ctx is for its own call.
                result = self._backward(copy.copy(ctx), self._materialized(given))
                made = self._bare(self._checked(result, Tensor))
        except Exception as error:
            raise CannotRunAtOnce from error
        return [None if grad is None else grad._data for grad in made]

    def _backward(self, ctx: Context, grads: Sequence[Value | None]) -> Any:
        if self.snapshot is not None and isinstance(ctx, self.function):
            return ctx.backward(*grads)
        return super()._backward(ctx, grads)

    def _pull_each(self, grads: Sequence[Value | None]) -> list[Any]:
        """Call `backward` on the raw arrays of each slice, and stack what it gives."""
        counts = tuple(count for _, count in self.levels)
        if 0 in counts:
            refuse_no_slices(self.function)
        found: list[list[RawArray]] = []
        for index in np.ndindex(*counts):
            ctx, given = self._slice(index, grads)
            with AtOnce(False):
                made = self._checked(self._backward(ctx, given), cp.ndarray)
            found.append([None if grad is None else cp.array(grad, copy=True) for grad in made])
        warn_once(self.function, "backward")
        return [self._stacked(parts, counts) for parts in zip(*found, strict=True)]

    def _stacked(self, parts: tuple[Any, ...], counts: tuple[int, ...]) -> Any:
        given = [part for part in parts if part is not None]
        if not given:
            return None
        nothing = cp.zeros_like(given[0])
        whole = cp.stack([nothing if part is None else part for part in parts])
        return whole.reshape((*counts, *whole.shape[1:]))

    def _slice(self, index: tuple[int, ...], grads: Sequence[Value | None]) -> tuple[Any, Any]:
        """Return a ctx and gradients of one slice, with raw arrays of their own."""
        places = {level: at for (level, _), at in zip(self.levels, index, strict=True)}

        def cut(value: Any) -> Any:
            if not isinstance(value, Tensor):
                return own(value)
            key = tuple(places[level] for level, _ in counted_levels(value))
            raw = stripped(value)._data
            return cp.array(raw[key] if key else raw, copy=True)

        original = self.ctx
        assert original is not None
        ctx = copy.copy(original)
        vars(ctx).update({name: over(cut, value) for name, value in vars(original).items()})
        ctx.needs_input_grad, ctx.xp = original.needs_input_grad, raw_xp
        given = [None if grad is None else cp.array(grad[index], copy=True) for grad in grads]
        if original._materialize:
            given = [
                cp.zeros(shape, dtype=dtype) if grad is None else grad
                for grad, (shape, dtype) in zip(given, self.metas, strict=True)
            ]
        return ctx, given

    def _pull_once(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        return super()._pull_once(grads)

    def _pull_composite(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        return self._through(lambda inputs: self.function.composite(*inputs, **self.config), grads)

    def _pull_replayed(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        if "backward" not in self.function.__dict__.get("_one_by_one", ()):
            given = [None if grad is None else dressed(grad, self._names()) for grad in grads]
            try:
                with RestoredOnError(), AtOnce(None):
                    return self._bare(super()._pull_replayed(given))
            except Exception:
                return self._through(self._each, grads)
        return self._through(self._each, grads)

    def _each(self, inputs: list[Any]) -> Any:
        level = deepest(inputs)
        return by_slices(self.again, (self.snapshot, tuple(inputs), self.config), {}, level)

    def _through(
        self, function: Callable[[list[Any]], Any], grads: Sequence[Value | None]
    ) -> Sequence[Value | None]:
        """Pull gradients, recorded, through what another function of the inputs records."""
        inputs = [
            Alias.of(value) if isinstance(value, Tensor) and value.requires_grad else value
            for value in self._input_tensors()
        ]
        result = function(inputs)
        results = result if isinstance(result, tuple) else (result,)
        roots = [
            (edge, grad)
            for value, grad in zip(results, grads, strict=True)
            if (edge := edge_of(value)) is not None and grad is not None and is_mapped(value)
        ]
        wanted = [edge_of(value) for value in inputs]
        targets = [edge for edge in wanted if edge is not None]
        gradients = iter(Pass(recorded=True, retain=True).gradients(roots, targets))
        return [None if edge is None else next(gradients) for edge in wanted]

    def _input_tensors(self) -> list[Any]:
        tensors = []
        for value, edge in zip(self.inputs, self.edges or (), strict=True):
            if edge is not None:
                tensors.append(at_edge(value, edge))
            else:
                is_data = hasattr(value, "dtype") and hasattr(value, "shape")
                tensors.append(wrap(value) if is_data and not isinstance(value, Tensor) else value)
        return tensors
