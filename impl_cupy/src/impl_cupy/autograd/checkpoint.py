"""Values that are forgotten on the way forward and computed again on the way back.

The function runs as ever. Of its graph only the ends are kept: the arguments, and the edges to what
it took from elsewhere. A node of its own takes the graph's place, runs the function again when its
turn comes, and pulls the gradient through the new graph to those ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from copy import copy
from typing import Any, TypeAlias

import numpy as np

from impl_cupy.autograd.transforms import results_of
from impl_cupy.backend import cp
from impl_cupy.checks import check_callable, type_name
from impl_cupy.engine import Pass, Place
from impl_cupy.function_node import Alias, own
from impl_cupy.memory import RawArray, Reading, check_unchanged, clock, guard, refuse_changed
from impl_cupy.random import DrawnAgain, Mark, RestoredOnError, mark
from impl_cupy.slices import Within, stripped
from impl_cupy.tape import (
    Edge,
    Node,
    Observing,
    Recording,
    Slot,
    Value,
    at_edge,
    edge_of,
    handles,
    keep,
    observe_node,
    state,
    watched,
    wrap,
)
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, rebuilt

_Attributes: TypeAlias = "list[tuple[dict[str, Any], dict[str, Any]]]"


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """Return ``fn(*args)``, of which backward finds the arguments alone and computes the rest anew.

    Source: Chen et al., "Training deep nets with sublinear memory cost", 2016.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them. It may use Tensors from elsewhere, and draw random
        numbers, which are the same when it is run again; its Modules have then the attributes that
        they had, and afterwards those that they have.
    *args : object
        Tensors, structures of them, and anything else.

    Returns
    -------
    Tensor or structure of Tensors
        What `fn` returns. Where nothing is recorded it is the plain call.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or returns what is no Tensor or structure of them.
    """
    check_callable("checkpoint", "fn", fn)
    if not state.recording:
        with RestoredOnError():
            output = fn(*args)
            _results(output)
        return output
    # From here on every node is younger than all that `fn` takes from elsewhere.
    clock.now += 1
    return CheckpointNode(fn, args).begin()


class CheckpointNode(Node):
    """One call of a function that is run again for its gradient."""

    __slots__ = (
        "attributes",
        "draws",
        "fn",
        "leaves",
        "levels",
        "metas",
        "modules",
        "nesting",
        "outputs",
        "places",
        "read",
        "tree",
    )

    def __init__(self, fn: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.tree, leaves = _apart(args)
        self.leaves: list[Any] = [_kept(leaf) for leaf in leaves]
        super().__init__(tuple(edge for leaf in self.leaves if (edge := edge_of(leaf))))
        self.fn: Callable[..., Any] | None = fn
        self.modules = _modules_of(fn, flatten(args))
        self.attributes = _copied(_attributes(self.modules))
        self.nesting, self.levels = state.transformations, state.levels
        self.draws: Mark | None = None
        self.read: dict[int, RawArray] = {}
        # Which results have a gradient, and the shape and dtype of every one.
        self.places: list[int] = []
        self.metas: list[tuple[tuple[int, ...], np.dtype[Any]]] = []
        if watched:
            observe_node(self)

    def called(self) -> str:
        """Return the name of the operation."""
        return "checkpoint"

    def begin(self) -> Any:
        """Run the function for the first time; return what it returns, with this node behind."""
        start, drawn = self.age, mark()
        # What is forgotten is not packed.
        with RestoredOnError(), Observing("packing", None), Reading() as reading:
            output, sources = self._run()
            results = _results(output)
        if drawn != mark():
            self.draws = drawn
        ends = {edge[0] for source in sources if (edge := edge_of(source))}
        edges = [edge_of(result) for result in results]
        self.edges = (self.edges or ()) + _taken([e for e in edges if e], start, ends)
        self.places = [
            place
            for place, edge in enumerate(edges)
            if edge is not None and (edge[0] in ends or _is_since(edge[0], start))
        ]
        if not self.places:
            return output
        self.outputs = len(self.places)
        self.metas = [(result.shape, result.dtype) for result in results]
        for index, place in enumerate(self.places):
            results[place] = at_edge(results[place]._data, (self, index))
        output = rebuilt(output, results)
        # With these the graph goes, and what was read in between.
        del sources, edges, ends
        self.read = reading.found()
        # What the function itself wrote was written before.
        self.age = clock.now
        for owner in self.read.values():
            guard(owner)
        return output

    def check(self, recorded: bool) -> None:
        """Refuse where an argument, or what was taken from elsewhere, has been written since."""
        del recorded
        kept = [stripped(leaf)._data if isinstance(leaf, Tensor) else leaf for leaf in self.leaves]
        check_unchanged("checkpoint", self.age, (kept, self.read))

    def pull(self, grads: list[Value | None], retain: bool) -> Sequence[Value | None]:
        """Run the function again, and pull raw gradients through it."""
        del retain
        return self._pull_again(grads, recorded=False)

    def pull_recorded(self, grads: Sequence[Value | None]) -> Sequence[Value | None]:
        """Do the same on Tensors; the graph that is made stays."""
        return self._pull_again(grads, recorded=True)

    def release(self) -> None:
        """Let go of the function, its arguments and the nodes behind."""
        self.edges = self.fn = None
        self.leaves, self.read, self.modules, self.attributes = [], {}, [], []

    def _run(self) -> tuple[Any, list[Any]]:
        """Return what the function returns, and the Tensors and others that it was given."""
        assert self.fn is not None
        sources = [
            Alias.of(leaf) if isinstance(leaf, Tensor) and leaf.requires_grad else own(leaf)
            for leaf in self.leaves
        ]
        with Recording(True):
            return self.fn(*rebuilt(self.tree, sources)), sources

    def _pull_again(self, grads: Sequence[Value | None], recorded: bool) -> Sequence[Value | None]:
        results, sources = self._results_again()
        roots = [
            (edge, grad)
            for place, grad in zip(self.places, grads, strict=True)
            if grad is not None and (edge := edge_of(results[place]))
        ]
        ends = [edge for source in sources if (edge := edge_of(source))]
        taken = (self.edges or ())[len(ends) :]
        places = {edge[0] for edge in taken if edge is not None}
        return _InnerPass(places, recorded).gradients(roots, [*ends, *(e for e in taken if e)])

    def _results_again(self) -> tuple[list[Tensor], list[Any]]:
        nesting, state.transformations = state.transformations, self.nesting
        now = _attributes(self.modules)
        _put(_copied(self.attributes))
        try:
            with Within(self.levels), Reading() as reading, DrawnAgain(self.draws):
                output, sources = self._run()
        finally:
            _put_back(now)
            state.transformations = nesting
        results = _results(output)
        if [(result.shape, result.dtype) for result in results] != self.metas:
            msg = "checkpoint: fn must return what it returned before when it is run again"
            raise RuntimeError(msg)
        # Another array in the place of one that was read before has other values.
        found = reading.found()
        for key, owner in self.read.items():
            if key not in found:
                refuse_changed("checkpoint", owner.shape)
        return results, sources


class _InnerPass(Pass):
    """A pass through what was computed again, up to what lies elsewhere.

    The hooks there, and what is saved there, are left to the pass that came from outside.
    """

    def __init__(self, elsewhere: set[Place], recorded: bool) -> None:
        super().__init__(recorded=recorded, retain=True)
        self.elsewhere = elsewhere
        self.is_elsewhere = False

    def step(self, place: Place) -> None:
        """Visit one place."""
        self.is_elsewhere = place in self.elsewhere
        self.retain = self.recorded or self.is_elsewhere
        super().step(place)

    def hook(self, slot: Slot, grad: Value) -> Value:
        """Show a gradient to the hooks of what was computed again."""
        return grad if self.is_elsewhere else super().hook(slot, grad)


def _apart(args: tuple[Any, ...]) -> tuple[Any, list[Any]]:
    """Return arguments with numbers in the place of what hangs in them, and that.

    A structure without arrays hangs there whole: it may have been given to be changed.
    """
    trees, leaves = [], list[Any]()
    for arg in args:
        parts = flatten(arg)
        if not any(isinstance(part, (Tensor, cp.ndarray, np.ndarray)) for part in parts):
            trees.append(len(leaves))
            leaves.append(arg)
        else:
            trees.append(rebuilt(arg, range(len(leaves), len(leaves) + len(parts))))
            leaves += parts
    return tuple(trees), leaves


def _kept(leaf: Any) -> Any:
    """Return an argument as it is now, for as long as it is needed."""
    if not isinstance(leaf, Tensor):
        return own(leaf)
    raw, edge = keep(leaf), edge_of(leaf)
    return wrap(raw) if edge is None else at_edge(raw, edge)


def _results(output: Any) -> list[Any]:
    if output is None:
        msg = f"checkpoint: fn must return Tensors, got {type_name(output)}"
        raise TypeError(msg)
    return results_of("checkpoint", output)


def _is_since(place: Place, start: int) -> bool:
    return isinstance(place, Node) and place.age >= start


def _taken(roots: list[Edge], start: int, ends: set[Place]) -> tuple[Edge, ...]:
    """List the edges from a graph made since `start` to what was there before, each once."""
    found: dict[Edge, None] = {}
    waiting, seen = roots, set(ends)
    while waiting:
        edge = waiting.pop()
        place = edge[0]
        if place in ends:
            continue
        if not _is_since(place, start):
            found[edge] = None
        elif place not in seen:
            seen.add(place)
            waiting.extend(behind for behind in place.edges or () if behind is not None)
    return tuple(found)


def _modules_of(fn: Any, leaves: list[Any]) -> list[Any]:
    """List the Modules that a function is, has or is given, and their parts."""
    around = []
    for cell in getattr(fn, "__closure__", None) or ():
        with suppress(ValueError):  # an empty cell
            around.append(cell.cell_contents)
    owners = [fn, getattr(fn, "__self__", None), *around, *leaves]
    modules = [owner for owner in owners if isinstance(owner, handles.Module)]
    return list({id(part): part for module in modules for part in module.modules()}.values())


def _attributes(modules: list[Any]) -> _Attributes:
    """Return each Module's attributes, and what they are now."""
    return [(vars(module), dict(vars(module))) for module in modules]


def _copied(attributes: _Attributes) -> _Attributes:
    """Copy what is changed in place: the registers of parameters, and plain containers.

    Results are left out, so that no node keeps the graphs of calls before; but what stands in the
    place of parameters is of this call (`functional_call`).
    """
    return [
        (
            entries,
            {
                name: _copy(value)
                for name, value in held.items()
                if name == "_parameters" or not _has_result(value)
            },
        )
        for entries, held in attributes
    ]


def _copy(value: Any) -> Any:
    return copy(value) if type(value) in (list, dict, set) else value


def _has_result(value: Any) -> bool:
    if type(value) in (list, dict, set):
        return any(map(_has_result, value.values() if type(value) is dict else value))
    return isinstance(value, Tensor) and not value.is_leaf


def _put(attributes: _Attributes) -> None:
    """Make attributes what they were, but for those that are so already."""
    for entries, held in attributes:
        for name, value in held.items():
            if name not in entries or not _is_same(entries[name], value):
                entries[name] = value


def _put_back(attributes: _Attributes) -> None:
    """Make attributes the very objects that they were, and no others."""
    for entries, held in attributes:
        for name in entries.keys() - held.keys():
            del entries[name]
        entries.update(held)


def _is_same(one: Any, other: Any) -> bool:
    """Tell whether two attributes are one object, or containers of the same ones."""
    if one is other or type(one) is not type(other):
        return one is other
    if type(one) is dict:
        return one.keys() == other.keys() and all(one[key] is other[key] for key in one)
    if type(one) in (list, set):
        return len(one) == len(other) and all(a is b for a, b in zip(one, other, strict=True))
    return False
