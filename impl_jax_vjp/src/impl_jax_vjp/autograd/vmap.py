"""`vmap`: a function of slices, computed by JAX for all of them at once.

The function is run once, on arrays that stand for a slice of each kind, and what it records is
kept. One node stands for it, with edges to what the results depend on. `backward` enters the trace
of JAX again, and goes through what was recorded there; so does a pass that is recorded, whose
record in turn is of the same call.
"""

import functools
import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp

from ..checks import MAPPING, WrittenError, check_callable, shown
from ..dtypes import in_x64, is_inexact
from ..engine import Engine
from ..followed import Slices
from ..protocols import OPS
from ..recording import Primitive
from ..tape import MODE, Edge, Node, Traced, edge_of, show, unwrap, wrap
from ..trees import Form, join, split, statics

Array = Any
Axes = list[int | None]


def vmap(fn: Callable[..., Any], in_axes: Any = 0, out_axes: Any = 0) -> Callable[..., Any]:
    """Make a function that calls `fn` once for all slices of its arguments, stacking the results.

    Parameters
    ----------
    fn : callable
        Of Tensors of the shape of a slice; returns a Tensor or a structure of them.
    in_axes : int, None, or list or tuple of entries
        Along which axis each positional argument is cut: an int, or None for one that every slice
        gets whole. One is meant for all arguments; an entry may be a structure like its argument.
    out_axes : int, None, or structure
        Where the results have the new axis. With None a result is returned as `fn` gave it.

    Returns
    -------
    callable
        The results are recorded as those of plain calls. What `fn` draws is the same for each
        slice.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or an axis is no int; when called, if what is to be cut, or a
        result, is no Tensor.
    ValueError
        When called, if the axes do not fit the arguments or the results, or lengths differ.
    RuntimeError
        When called, if a value that depends on a slice is read, or written to a Module.
    """
    check_callable("vmap", "fn", fn)
    _check_kind("in_axes", in_axes)
    if isinstance(in_axes, dict):
        _refuse_kind("in_axes", in_axes)

    def mapped(*args: Any, **kwargs: Any) -> Any:
        values, axes = _arguments(in_axes, args)
        return _Call(_size(axes, values)).run(fn, values, axes, kwargs, out_axes)

    return functools.update_wrapper(mapped, fn, updated=())


def _is_axis(entry: Any) -> bool:
    return hasattr(type(entry), "__index__") and not isinstance(entry, bool | Traced | jax.Array)


def _refuse_kind(what: str, entry: Any) -> None:
    wanted = "an int or None, or a list, tuple or dict of such"
    msg = f"vmap: {what} must be {wanted}, got {shown(entry)}, a {type(entry).__name__}"
    raise TypeError(msg)


def _check_kind(what: str, entry: Any) -> None:
    """Raise `TypeError` if something of an entry is no axis."""
    if isinstance(entry, dict | list | tuple):
        for child in entry.values() if isinstance(entry, dict) else entry:
            _check_kind(what, child)
    elif entry is not None and not _is_axis(entry):
        _refuse_kind(what, entry)


def _leaves(form: Form) -> int:
    if form[0] in ("leaf", "static"):
        return int(form[0] == "leaf")
    return sum(map(_leaves, form[3] if form[0] == "dict" else form[2]))


def _spread(what: str, entry: Any, form: Form, place: int = 0) -> Axes:
    """Return the axis of each leaf of a form, None for one that is not cut."""
    if entry is None or _is_axis(entry):
        for value in statics(form) if entry is not None else ():
            _refuse_value(place, value)
        return [None if entry is None else operator.index(entry)] * _leaves(form)
    kind = form[0]
    if isinstance(entry, dict):
        if kind == "dict" and entry.keys() == set(form[2]):
            pairs = zip(form[2], form[3], strict=True)
            return [a for key, child in pairs for a in _spread(what, entry[key], child, place)]
        came = f"the keys {list(form[2])}" if kind == "dict" else _kind_of(form)
        msg = f"vmap: {what} must fit, got one with the keys {list(entry)} for {came}"
        raise ValueError(msg)
    whole = list if isinstance(entry, list) else tuple
    if kind != "sequence" or not issubclass(form[1], whole) or len(form[2]) != len(entry):
        came = f"{_kind_of(form)} of {len(form[2])}" if kind == "sequence" else _kind_of(form)
        msg = f"vmap: {what} must fit, got a {type(entry).__name__} of {len(entry)} for {came}"
        raise ValueError(msg)
    pairs = zip(entry, form[2], strict=True)
    return [axis for part, child in pairs for axis in _spread(what, part, child, place)]


def _kind_of(form: Form) -> str:
    return "a Tensor" if form[0] == "leaf" else f"a {getattr(form[1], '__name__', 'Module')}"


def _refuse_value(place: int, value: Any) -> None:
    kind = type(value).__name__
    msg = f"vmap: argument {place} must be a Tensor or a structure of them to be cut, got a {kind}"
    raise TypeError(msg)


Values = list[tuple[Any, list[Any], Form]]


def _arguments(in_axes: Any, args: Sequence[Any]) -> tuple[Values, list[Axes]]:
    """Return each argument with its leaves and form, and the axes of these leaves."""
    entries = [in_axes] * len(args)
    if isinstance(in_axes, list | tuple):
        if len(in_axes) != len(args):
            msg = f"vmap: in_axes has {len(in_axes)} entries, got {len(args)} positional arguments"
            raise ValueError(msg)
        entries = list(in_axes)
    values, axes = [], []
    for place, (entry, value) in enumerate(zip(entries, args, strict=True)):
        leaves, form = split(value)
        found = _spread("in_axes", entry, form, place)
        for number, (leaf, axis) in enumerate(zip(leaves, found, strict=True)):
            if axis is None:
                continue
            if not isinstance(leaf, Traced):
                _refuse_value(place, leaf)
            found[number] = _placed("in_axes", axis, unwrap(leaf).shape)
        values.append((value, leaves, form))
        axes.append(found)
    return values, axes


def _placed(what: str, axis: int, shape: tuple[int, ...], extra: int = 0) -> int:
    """Return an axis counted from 0."""
    count = len(shape) + extra
    if not -count <= axis < count:
        msg = f"vmap: {what} has an axis out of range, got {axis} for shape {shape}"
        raise ValueError(msg)
    return axis % count


def _size(axes: Sequence[Axes], values: Values) -> int:
    """Return the common length of the axes that are cut."""
    size = None
    for found, (_, leaves, _) in zip(axes, values, strict=True):
        for axis, leaf in zip(found, leaves, strict=True):
            if axis is None:
                continue
            length = unwrap(leaf).shape[axis]
            if size is not None and length != size:
                msg = f"vmap: the lengths along the axes that are cut differ, {size} and {length}"
                raise ValueError(msg)
            size = length
    if size is None:
        msg = "vmap: no argument has a Tensor that is cut, as in_axes says"
        raise ValueError(msg)
    return int(size)


def _alone(size: int, array: Array) -> Array:
    """Return zeros for each slice but the first, which is the array."""
    return jnp.zeros((size, *array.shape), array.dtype).at[:1].set(array)


_ALONE = Primitive(_alone, "vmap")


class _Call:
    """One call: its values, which numbers the nodes have that it recorded, and what came in."""

    def __init__(self, size: int) -> None:
        self.slices = Slices(size)
        # From when to when it was entered, as numbers of nodes.
        self._spans: list[list[float]] = []
        # What stands for a slice of each Tensor that requires grad, with that one's edge and axis.
        self._inner: dict[int, tuple[Traced, Edge, int]] = {}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Record what a block does as done in this call."""
        span = [next(Node._counter), float("inf")]
        self._spans.append(span)
        watch, MODE.watch = MODE.watch, ()
        try:
            with self.slices.entered():
                yield
        finally:
            MODE.watch = watch
            span[1] = next(Node._counter)

    def holds(self, node: Node) -> bool:
        """Tell whether a node was recorded in this call."""
        return any([first <= node.sequence < last for first, last in self._spans])

    def enter(self, tensor: Traced, axis: int) -> Any:
        """Return the Tensor that stands for a slice of one."""
        inner = wrap(self.slices.cut(unwrap(tensor), axis))
        edge = edge_of(tensor) if MODE.enabled and is_inexact(inner._data.dtype) else None
        if edge is not None:
            inner._requires_grad = True
            self._inner[id(inner)] = (inner, edge, axis)
        return inner

    def run(
        self,
        fn: Callable[..., Any],
        values: Values,
        axes: Sequence[Axes],
        kwargs: dict[str, Any],
        out_axes: Any,
    ) -> Any:
        """Run the function, and return its results for all slices."""
        with _undone_if_refused():
            entered = []
            for (value, leaves, form), found in zip(values, axes, strict=True):
                pairs = zip(leaves, found, strict=True)
                inner = [leaf if axis is None else self.enter(leaf, axis) for leaf, axis in pairs]
                entered.append(value if found.count(None) == len(found) else join(form, inner))
            try:
                with self.entered():
                    result = fn(*entered, **kwargs)
                    results, form = split(result)
                    infos = [self.slices.whole(unwrap(leaf)) for leaf in results]
            except jax.errors.JAXTypeError as error:  # autograd-55
                msg = "vmap: the function reads a value that depends on a slice, and is not one"
                raise RuntimeError(msg) from error
            found = _results(results, form, infos, out_axes)
        made = self.leave(results, infos, found)
        if MODE.watch:
            given = [unwrap(leaf) for _, leaves, _ in values for leaf in leaves]
            show("vmap", given, made)
        return join(form, made)

    @in_x64
    def leave(self, tensors: Sequence[Any], infos: Sequence[Any], axes: Axes) -> list[Any]:
        """Return Tensors of this call for all slices, with these along the axes."""
        made: list[Any] = []
        roots, places = [], []
        for tensor, (array, at), axis in zip(tensors, infos, axes, strict=True):
            if axis is None and (tensor._node is None or not self.holds(tensor._node)):
                made.append(tensor)
                continue
            made.append(wrap(array if axis is None else self._stacked(array, at, axis)))
            if tensor._requires_grad:
                roots.append((tensor, axis))
                places.append(len(made) - 1)
        edges = self._edges([tensor for tensor, _ in roots])
        if edges:
            ends = [self._inner[id(t)][1] if id(t) in self._inner else (t, s) for t, s in edges]
            targets, slots = zip(*ends, strict=True)
            node = Node(_Rule(self, roots, edges), None, targets, slots, len(roots))
            for slot, place in enumerate(places):
                made[place] = wrap(made[place]._data, node, slot)
        return made

    def _stacked(self, array: Array, at: int | None, axis: int) -> Array:
        if at is not None:
            return array if at == axis else jnp.moveaxis(array, at, axis)
        shape = (*array.shape[:axis], self.slices.size, *array.shape[axis:])
        return jnp.broadcast_to(jnp.expand_dims(array, axis), shape)

    def _edges(self, roots: Sequence[Traced]) -> list[Edge]:
        """Return where gradients go from this call to what came in and what was there."""
        edges: dict[tuple[int, int], Edge] = {}
        stack = [edge for edge in map(edge_of, roots) if edge is not None]
        seen: set[Node] = set()
        while stack:
            target, slot = stack.pop()
            if type(target) is Node and self.holds(target):
                if target not in seen:
                    seen.add(target)
                    stack += zip(target.targets, target.slots, strict=True)
            elif type(target) is not int and not self._is_own(target):
                edges[id(target), slot] = (target, slot)
        return list(edges.values())

    def _is_own(self, target: Any) -> bool:
        """Tell whether a leaf was made in this call, of values that depend on a slice."""
        known = type(target) is Node or id(target) in self._inner
        return not known and self.slices.whole(target._data)[1] is not None

    @in_x64
    def pull(self, rule: "_Rule", grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of what a rule has edges to, on raw arrays."""
        given = []
        for (root, axis), grad in zip(rule.roots, grads, strict=True):
            if grad is not None:
                whole = _alone(self.slices.size, grad) if axis is None else grad
                given.append((root, self.slices.cut(whole, axis or 0)))
        found = self._across(rule, given, False)
        pulled: list[Array | None] = []
        for (target, _), grad in zip(rule.edges, found, strict=True):
            if grad is None:
                pulled.append(None)
                continue
            array, at = self.slices.whole(grad)
            if id(target) in self._inner:
                pulled.append(self._stacked(array, at, self._inner[id(target)][2]))
            else:
                pulled.append(jnp.sum(self._stacked(array, at, 0), axis=0))
        return pulled

    @in_x64
    def derive(self, rule: "_Rule", grads: Sequence[Any]) -> Sequence[Any]:
        """Return the same gradients, recorded on the tape."""
        given = []
        for (root, axis), grad in zip(rule.roots, grads, strict=True):
            if grad is not None:
                whole = _ALONE((grad,), self.slices.size) if axis is None else grad
                given.append((root, self.enter(whole, axis or 0)))
        found = self._across(rule, given, True)
        axes: Axes = [self._inner[id(t)][2] if id(t) in self._inner else 0 for t, _ in rule.edges]
        pairs = [pair for pair in zip(found, axes, strict=True) if pair[0] is not None]
        infos = [self.slices.whole(unwrap(tensor)) for tensor, _ in pairs]
        left = iter(self.leave([t for t, _ in pairs], infos, [axis for _, axis in pairs]))
        return [
            None
            if grad is None
            else next(left)
            if id(target) in self._inner
            else OPS.sum(next(left), axis=0)
            for (target, _), grad in zip(rule.edges, found, strict=True)
        ]

    def _across(
        self, rule: "_Rule", given: Sequence[tuple[Traced, Any]], create: bool
    ) -> list[Any]:
        roots, seeds = [root for root, _ in given], [seed for _, seed in given]
        with self.entered():
            return _Within(self, create).across(roots, seeds, -1, rule.edges)


class _Within(Engine):
    """A pass through what one call recorded; what is outside counts as leaves."""

    def __init__(self, call: _Call, create: bool) -> None:
        super().__init__(create, True)
        self._call = call

    def send(self, target: Any, slot: int, grad: Any) -> None:
        """Add a gradient to what waits for a node's slot, or arrives at the end of this pass."""
        if type(target) is Node and not self._call.holds(target):
            known = self._leaves.get((id(target), slot))
            total = grad if known is None else self._add(known[1], grad)
            self._leaves[id(target), slot] = (target, total)
        else:
            super().send(target, slot, grad)


class _Rule:
    """The rule of the node that stands for a call."""

    name = "vmap"

    def __init__(self, call: _Call, roots: Sequence[tuple[Any, int | None]], edges: Any) -> None:
        self._call = call
        self.roots = roots
        self.edges = edges

    def pull(self, _saved: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of what the call depends on."""
        return self._call.pull(self, grads)

    def derive(self, _node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the same gradients, recorded on the tape."""
        return self._call.derive(self, grads)


def _results(results: Sequence[Any], form: Form, infos: Sequence[Any], out_axes: Any) -> Axes:
    """Return the axis of each result, counted from 0; raise if one does not fit."""
    others = [leaf for leaf in results if not isinstance(leaf, Traced)]
    for value in (*others, *statics(form)):
        msg = f"vmap: the function must return Tensors, got a {type(value).__name__}"
        raise TypeError(msg)
    _check_kind("out_axes", out_axes)
    axes = _spread("out_axes", out_axes, form)
    for place, (axis, (array, at)) in enumerate(zip(axes, infos, strict=True)):
        if axis is not None:
            shape = array.shape if at is None else (*array.shape[:at], *array.shape[at + 1 :])
            axes[place] = _placed("out_axes", axis, shape, 1)
        elif at is not None:
            msg = "vmap: out_axes must be an int for a result that depends on a slice, got None"
            raise ValueError(msg)
    return axes


@contextmanager
def _undone_if_refused() -> Iterator[None]:
    """If a value that depends on a slice is to be written outside, undo what was written."""
    around, MAPPING.journal = MAPPING.journal, []
    try:
        yield
    except WrittenError:
        for undo in reversed(MAPPING.journal):
            undo()
        raise
    else:
        if around is not None:
            around += MAPPING.journal
    finally:
        MAPPING.journal = around
