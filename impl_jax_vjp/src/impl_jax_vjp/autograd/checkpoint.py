"""`checkpoint`: memory saved by computing again; and a scan of which few states are kept.

The function is run, and what it recorded is let go: one node stands for it, with edges to what it
depends on. `backward` runs it again, from the values that it saw, and goes through that. So does a
pass that is recorded, whose results then depend on the inputs through the second run. In a trace of
JAX it is one ``jax.checkpoint``.
"""

import functools
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .. import random
from ..checks import check_callable
from ..dtypes import in_x64, is_inexact, x64, x64_is_on
from ..engine import Engine
from ..function_vjp import vjp_floating
from ..tape import MODE, Edge, Node, Traced, edge_of, recording_set, unwrap, wrap
from ..trees import join, split
from .derivatives import outputs_of
from .jit import Capture, Plans
from .saved import nothing_packed

Array = Any


def checkpoint(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a function; its intermediate values are forgotten, and computed again for a gradient.

    Chen, Xu, Zhang and Guestrin, "Training deep nets with sublinear memory cost", 2016.

    Parameters
    ----------
    fn : callable
        Returns a Tensor or a structure of them.
    *args
        Tensors, structures of them, and anything else.

    Returns
    -------
    Tensor or structure
        What ``fn(*args)`` returns, with its gradients to `args` and to all that `fn` uses.

    Raises
    ------
    TypeError
        If `fn` cannot be called, or returns something else.
    RuntimeError
        In `backward`, if the second run returns other Tensors than the first.
    """
    check_callable("checkpoint", "fn", fn)
    if not MODE.enabled:
        return fn(*args)
    traced = any([isinstance(unwrap(leaf), jax.core.Tracer) for leaf in split(args)[0]])
    if traced or isinstance(MODE.capture, Capture):
        # Not kept: the trace around it is what is compiled once.
        return Plans("checkpoint", most=0).run(fn, args, {}, wrapper=jax.checkpoint)
    return _Run(fn, args).first()


class _Seen:
    """Notes the values of the Tensors that a function uses, or puts them in their place again."""

    compiles = False

    def __init__(self, around: Any, values: dict[int, Array]) -> None:
        self._around = around
        # Who is told of calls of Modules.
        self.calls = None if around is None else around.calls
        self._values = values
        self._used: dict[int, tuple[weakref.ref[Any], Array]] = {}

    def resolve(self, tensor: Traced) -> Array:
        """Return the array of a Tensor as the function is to see it."""
        array = self._values.get(id(tensor))
        if array is None:
            array = tensor._data if self._around is None else self._around.resolve(tensor)
        self._used[id(tensor)] = (weakref.ref(tensor), array)
        return array

    def live(self, tensor: Traced) -> Array:
        """Return the array of a Tensor that the function may change, as it is now."""
        return tensor._data if self._around is None else self._around.live(tensor)

    def change(self, what: str, tensor: Traced, data: Array) -> None:
        """Change a Tensor at each run."""  # autograd-39
        if self._around is None:
            tensor._data = data
        else:
            self._around.change(what, tensor, data)

    def draw(self, request: random.Request) -> list[Array]:
        """Return numbers from the generator."""
        return random.drawn(request)

    def note(self, module: Any) -> None:
        """Do nothing: a Module is called again as it is."""

    made = note

    def values(self) -> list[tuple[Traced, Array]]:
        """Return the Tensors from elsewhere with their values; those made inside are gone."""
        alive = [(reference(), array) for reference, array in self._used.values()]
        return [(tensor, array) for tensor, array in alive if tensor is not None]


class _Run:
    """One call, and the rule of its node: how often it is run, it sees what it saw first."""

    name = "checkpoint"

    def __init__(self, fn: Callable[..., Any], args: Sequence[Any]) -> None:
        self._fn = fn
        self._args = args
        self._depth = MODE.depth
        # JAX's x64 mode as the caller has it, in which the function runs.
        self._outside = x64_is_on()
        self._generator = random.get_state()
        self._values: list[tuple[Traced, Array]] = []
        self._edges: list[Edge] = []
        self._avals: list[Any] = []

    def first(self) -> Any:
        """Return what the function returns, with this as the one node before it."""
        seen = _Seen(MODE.capture, {})
        with self._as_first(seen):
            since = next(Node._counter)
            with nothing_packed():  # It is let go at once. # autograd-44
                outputs, form = outputs_of(self.name, self._fn(*self._args))
        self._edges = _edges_across(outputs, since)
        arrays = [unwrap(out) for out in outputs]
        flags = [out._requires_grad for out in outputs]
        del outputs
        self._values = seen.values()
        self._avals = [(array.shape, array.dtype) for array in arrays]
        node = None
        if self._edges:
            targets, slots = zip(*self._edges, strict=True)
            node = Node(self, None, targets, slots, len(arrays))
        made = [
            wrap(array, node if flag and is_inexact(array.dtype) else None, slot)
            for slot, (array, flag) in enumerate(zip(arrays, flags, strict=True))
        ]
        return join(form, made)

    @contextmanager
    def _as_first(self, seen: _Seen) -> Iterator[None]:
        """Run the function in a block as it was run at first."""
        before = MODE.capture, MODE.depth
        MODE.capture, MODE.depth = seen, self._depth
        try:
            with recording_set(True), x64(self._outside):
                yield
        finally:
            MODE.capture, MODE.depth = before

    def _again(self, grads: Sequence[Any], create: bool) -> list[Any]:
        """Run the function again, and return the gradient that comes through it to each edge."""
        values = {id(tensor): array for tensor, array in self._values}
        state = random.get_state()
        random.set_state(self._generator)
        try:
            with self._as_first(_Seen(MODE.capture, values)):
                since = next(Node._counter)
                outputs, _ = outputs_of(self.name, self._fn(*self._args))
        finally:
            random.set_state(state)
        if self._avals != [(out._data.shape, out._data.dtype) for out in outputs]:
            msg = f"{self.name}: fn must return the same shapes when it is run again for a gradient"
            raise RuntimeError(msg)
        paired = zip(outputs, grads, strict=True)
        given = [(out, grad) for out, grad in paired if grad is not None]
        roots, seeds = [out for out, _ in given], [grad for _, grad in given]
        with x64(self._outside):  # Hooks find it so.
            return Engine(create, False).across(roots, seeds, since, self._edges)

    def kept(self) -> list[Array]:
        """Return the arrays that the second run needs."""
        given = [unwrap(leaf) for leaf in split(self._args)[0]]
        return [*given, *(array for _, array in self._values)]

    def pull(self, _saved: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of what the function depends on."""
        return self._again(grads, False)

    def derive(self, _node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the same gradients, recorded on the tape."""
        return self._again(grads, True)


def _edges_across(outputs: Sequence[Traced], since: int) -> list[Edge]:
    """Return where gradients go from what was recorded since a number to what was before it."""
    edges: dict[tuple[int, int], Edge] = {}
    stack = [edge for edge in map(edge_of, outputs) if edge is not None]
    seen: set[Node] = set()
    while stack:
        target, slot = stack.pop()
        if type(target) is not Node or target.sequence < since:
            edges[id(target), slot] = (target, slot)
        elif target not in seen:
            seen.add(target)
            stack += zip(target.targets, target.slots, strict=True)
    return list(edges.values())


def checkpointed_scan(
    one: Callable[..., Any], carry: list[Array], rows: Any, every: int
) -> tuple[list[Array], list[Array]]:
    """Return what ``lax.scan(one, carry, rows)`` does; backward has every so many states alone.

    What is needed beside the arrays that come in and go out is of the size of a segment: each is
    cut from the rows where they are, and its gradient is put into the whole in its place. So the
    last segment, where it is short, begins too early, and repeats its own first step until then.
    """
    leaves, tree = jax.tree.flatten(rows)
    steps = leaves[0].shape[0]
    at = [jax.ShapeDtypeStruct(leaf.shape[1:], leaf.dtype) for leaf in leaves]
    pure = jax.make_jaxpr(lambda carry, at: one(carry, jax.tree.unflatten(tree, at)))(carry, at)

    def step(consts: list[Array], carry: list[Array], at: list[Array]) -> Any:
        made = jax.core.eval_jaxpr(pure.jaxpr, consts, *carry, *at)
        return made[: len(carry)], made[len(carry) :]

    @jax.custom_vjp
    @in_x64
    def run(consts: list[Array], carry: list[Array], rows: list[Array]) -> Any:
        return lax.scan(functools.partial(step, consts), carry, rows)

    @in_x64
    def forward(consts: list[Array], carry: list[Array], rows: list[Array]) -> Any:
        segments = -(-steps // every)
        kept = [jnp.zeros((segments + 1, *s.shape), s.dtype).at[0].set(s) for s in carry]

        def keeping(both: Any, row: Any) -> Any:
            (carry, kept), (place, at) = both, row
            carry, out = step(consts, carry, at)
            # The state before step s * every is the last that comes to place s.
            slot = (place + every) // every
            put = lax.dynamic_update_index_in_dim
            return (carry, [put(k, s, slot, 0) for k, s in zip(kept, carry, strict=True)]), out

        (last, kept), outs = lax.scan(keeping, (carry, kept), (jnp.arange(steps), rows))
        return (last, outs), (consts, kept, rows)

    @in_x64
    def backward(saved: Any, grads: Any) -> Any:
        d_last, d_outs = [[g for g in each if is_inexact(g.dtype)] for each in grads]
        return _by_segments(step, saved, d_last, d_outs, every)

    run.defvjp(forward, backward)
    return run(list(pure.consts), carry, leaves)


def _by_segments(
    step: Callable[..., Any], saved: Any, d_last: list[Array], d_outs: list[Array], every: int
) -> Any:
    """Return the gradients of a checkpointed scan, None for what is not floating."""
    consts, kept, rows = saved
    steps = rows[0].shape[0]
    even = steps % every == 0

    def segment(carried: Any, place: Array) -> Any:
        d_state, d_consts, d_rows = carried
        start = jnp.minimum(place * every, steps - every)
        active = jnp.arange(every) >= place * every - start
        cut = functools.partial(lax.dynamic_slice_in_dim, start_index=start, slice_size=every)

        def own(row: Array) -> Array:
            first = lax.dynamic_index_in_dim(row, place * every, keepdims=False)
            part = cut(row)
            shown = active.reshape(-1, *[1] * (part.ndim - 1))
            return part if even else jnp.where(shown, part, first)

        def again(consts: Any, carry: Any, part: Any) -> Any:
            def masked(carry: Any, at: Any) -> Any:
                active, row = at
                news, outs = step(consts, carry, row)
                if not even:
                    news = [jnp.where(active, n, c) for n, c in zip(news, carry, strict=True)]
                    outs = [jnp.where(active, out, 0) for out in outs]
                return news, _floating(outs)

            last, outs = lax.scan(masked, carry, (active, part))
            return _floating(last), outs

        arguments = (consts, [k[place] for k in kept], list(map(own, rows)))
        pulled = vjp_floating(again, arguments, (d_state, list(map(cut, d_outs))))
        by_consts, by_state, by_rows = [[g for g in each if g is not None] for each in pulled]
        put = functools.partial(lax.dynamic_update_slice_in_dim, start_index=start, axis=0)
        d_rows = [put(d, g) for d, g in zip(d_rows, by_rows, strict=True)]
        d_consts = [d + g for d, g in zip(d_consts, by_consts, strict=True)]
        return (by_state, d_consts, d_rows), None

    zeros = [[jnp.zeros_like(v) for v in _floating(values)] for values in (consts, rows)]
    places = jnp.arange(-(-steps // every))
    (d_first, d_consts, d_rows), _ = lax.scan(segment, (d_last, *zeros), places, reverse=True)
    found = (d_consts, d_first, d_rows)
    return tuple(
        [
            [next(rest) if is_inexact(value.dtype) else None for value in values]
            for rest, values in zip(map(iter, found), (consts, kept, rows), strict=True)
        ]
    )


def _floating(arrays: Sequence[Array]) -> list[Array]:
    return [array for array in arrays if is_inexact(array.dtype)]
