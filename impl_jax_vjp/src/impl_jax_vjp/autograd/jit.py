"""`jit`: a function of Tensors compiled by ``jax.jit``, closures and gradients included.

The function is run on abstract values, once to find the Tensors that it uses without receiving them
(parameters of a Module, say) and the random numbers that it draws, and once with both as inputs.
They are inputs of what is compiled: a parameter is never stale, gradients reach it, and each call
has new numbers. The other state of Modules is fixed in what is compiled, and compared at each call.
The result is one node on the tape.
"""

import functools
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.extend.core import jaxpr_as_fun

from .. import random
from ..checks import check_callable, check_taken, refuse_type
from ..creation import drawn
from ..dtypes import is_inexact, x64, x64_is_on
from ..pytree import Contents, Watch, fixed, kind_of, modules_of
from ..recording import Operation, Pullback, conjugated, record
from ..tape import MODE, Node, Traced, change, edge_of, show, unwrap, wrap
from ..tensor import bare
from ..trees import join, split, statics
from .anomaly import checking

Array = Any
Mask = tuple[bool, ...]


def jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function of Tensors and structures of them.

    Parameters
    ----------
    fn : callable
        A pure function. Tensors and arrays in its arguments, in dicts, lists, tuples and Modules,
        are traced; other arguments are static and have to be hashable. Tensors that it uses
        without receiving them are inputs too, found when it is first traced.

    Returns
    -------
    callable
        The same results, to rounding, as one node on the tape. It is compiled once for each choice
        of static arguments, shapes, dtypes and ``requires_grad``, and for each state of the Modules
        that it uses, of which the newest are remembered.

    Raises
    ------
    TypeError
        When called, if a static argument cannot be hashed.
    RuntimeError
        When called, if `fn` changes `data` or `grad` of a Tensor that it did not make, or a Module.
    """
    check_callable("jit", "fn", fn)
    plans = Plans(f"jit({getattr(fn, '__name__', type(fn).__name__)})")

    def compiled(*args: Any, **kwargs: Any) -> Any:
        if checking():  # autograd-42
            return fn(*args, **kwargs)
        return plans.run(fn, args, kwargs)

    return functools.update_wrapper(compiled, fn, updated=())


# How many states of its Modules a compiled function remembers for one form of call.
_STATES = 16


class Plans:
    """Functions compiled: for each form of call a plan for each state of what they use.

    Parameters
    ----------
    name : str
        For messages.
    most : int, optional
        How many plans are kept, those that were used last.
    """

    def __init__(self, name: str, most: int | None = None) -> None:
        self._name = name
        self._most = most
        # The newest plan stands last, and so does the form that was used last.
        self._known: OrderedDict[Any, list[_Plan]] = OrderedDict()

    def run(
        self,
        fn: Callable[..., Any],
        args: Any,
        kwargs: dict[str, Any],
        subject: Any = None,
        wrapper: Callable[..., Any] | None = None,
    ) -> Any:
        """Run a function on its arguments, compiled.

        Parameters
        ----------
        subject : callable, optional
            The part of `fn` that need not be the same object at each call: a plan that was made for
            another one serves if that does the same.
        wrapper : callable, optional
            One of JAX's, to put around what is compiled.
        """
        outside = x64_is_on()
        leaves, form = split((args, kwargs))
        flags = tuple(
            [(type(t), t._requires_grad) if isinstance(t, Traced) else None for t in leaves]
        )
        avals = tuple([(t.shape, t.dtype) for t in leaves])
        mode = (MODE.enabled, MODE.depth > 0, outside)
        key = (kind_of(subject), form, flags, avals, mode)
        try:
            known = self._known.setdefault(key, [])
        except TypeError as error:
            wanted = "arguments that are no arrays are static and must be hashable"
            msg = f"{self._name}: {wanted}: {error}"
            raise TypeError(msg) from None
        if not known:
            _check_form(self._name, leaves, form)
        state = random.get_state()
        try:
            with x64():
                for plan in reversed(known):
                    if plan.fits(subject):
                        self._known.move_to_end(key)
                        return plan(leaves)
                plan = _Plan(fn, form, flags, self._name, outside)
                plan.discover(leaves, subject, wrapper)
                if plan.can_be_kept:
                    known[:] = [old for old in known[1 - _STATES :] if old.is_alive()] + [plan]
                    self._forget()
                return plan(leaves)
        except BaseException:
            random.set_state(state)
            raise

    def _forget(self) -> None:
        """Let go of what was used longest ago."""
        while self._most is not None and sum(map(len, self._known.values())) > self._most:
            self._known.popitem(last=False)


def _check_form(name: str, leaves: Sequence[Any], form: Any) -> None:
    """Check that the arrays of a call can be traced, and the rest be read more than once."""
    for leaf in leaves:
        check_taken(name, "each array", leaf)
    for value in statics(form):
        if isinstance(value, Iterator):
            refuse_type(name, "each argument", "one that can be read again", value)


class Capture:
    """What a trace uses beyond its arguments; with `arrays`, what stands for it."""

    compiles = True
    # Who is told of calls of Modules.
    calls = None

    def __init__(self, tensors: Sequence[Traced] = (), arrays: Sequence[Array] = ()) -> None:
        self._arrays = {id(t): a for t, a in zip(tensors, arrays, strict=False) if t is not None}
        self._random = iter(arrays[len(tensors) :])
        self._replay = bool(arrays)
        self.used: dict[int, tuple[weakref.ref[Any], Array, Any]] = {}
        self.draws: list[random.Request] = []
        self.modules: dict[int, Any] = {}
        # What was changed, by the Tensor's id: how a message names it, the Tensor, its new array.
        self.changes: dict[int, tuple[str, Traced, Array]] = {}
        self._rounds = 0
        self._made: set[int] = set()
        self._before: list[tuple[Any, Contents]] = []

    def note(self, module: Any) -> None:
        """Remember a Module that the function uses, those below it, and how they are."""
        below = [] if self._replay else [module]
        while below:
            module = below.pop()
            if id(module) not in self.modules and id(module) not in self._made:
                self.modules[id(module)] = module
                self._before.append((module, Contents(module)))
                below += [child for child in module._modules.values() if child is not None]

    def made(self, module: Any) -> None:
        """Remember that the function itself makes a Module."""
        self._made.add(id(module))

    def check_modules(self, name: str) -> None:
        """Raise `RuntimeError` if a Module was changed, and put back what it had."""
        noted, self._before = self._before, []
        changed = [(module, how) for module, before in noted if (how := before.restore())]
        if changed:
            module, attribute = changed[0]
            msg = (
                f"{name}: the function must not change Modules, it changed {attribute!r} of "
                f"{type(module).__name__}; return new values instead"
            )
            raise RuntimeError(msg)

    def resolve(self, tensor: Traced) -> Array:
        """Return the array that stands for a Tensor in this trace."""
        if id(tensor) in self.changes:
            return self.changes[id(tensor)][2]
        if self._replay:
            return self._arrays.get(id(tensor), tensor._data)
        known = self.used.get(id(tensor))
        if known is None or known[0]() is not tensor:
            self.used[id(tensor)] = (weakref.ref(tensor), tensor._data, tensor._grad)
        return tensor._data

    live = resolve

    def change(self, what: str, tensor: Traced, data: Array) -> None:
        """Give a Tensor another array, which it has after each call of what is compiled."""
        if self._rounds:
            msg = f"{what} must not be changed in a loop that is compiled; call eval() before"
            raise RuntimeError(msg)
        self.changes[id(tensor)] = (what, tensor, data)

    def draw(self, request: random.Request) -> list[Array]:
        """Return random numbers that are an input of the trace."""
        self.draws.append(request)
        shapes = random.shapes(request)
        if self._replay:
            return [next(self._random) for _ in shapes]
        return [np.full(shape, 0.5) for shape in shapes]

    @contextmanager
    def round(self, numbers: Sequence[Array] = ()) -> Iterator[list[random.Request]]:
        """Keep what is drawn apart, for one of several rounds whose numbers are an input too.

        Without them, in a first trace, the list that is yielded tells what a round draws.
        """
        before = self.draws, self._random
        self.draws, self._random = [], iter(numbers)
        self._rounds += 1
        try:
            yield self.draws
        finally:
            self._rounds -= 1
            self.draws, self._random = before

    def tensors(self, name: str) -> list[Any]:
        """Return the Tensors from outside; those that the function made itself are gone by now."""
        alive = [(ref(), data, grad) for ref, data, grad in self.used.values()]
        changed = False
        for tensor, data, grad in alive:
            if tensor is not None and (tensor._data is not data or tensor._grad is not grad):
                tensor._data, tensor._grad = data, grad
                changed = True
        if changed:
            msg = (
                f"{name}: the function changed a Tensor that it did not make (its data or its "
                "grad); return new values instead, with value_and_grad for gradients"
            )
            raise RuntimeError(msg)
        return [tensor for tensor, _, _ in alive if tensor is not None]


def _asked(tensor: Any) -> Any:
    """Return what of a Tensor is fixed in compiled code: all but its values."""
    if tensor is None:
        return None
    return type(tensor), tensor._data.shape, tensor._data.dtype, tensor._requires_grad


class _Plan:
    """A function compiled for one form of arguments."""

    def __init__(
        self, fn: Callable[..., Any], form: Any, flags: Sequence[Any], name: str, outside: bool
    ) -> None:
        self._fn: Any = fn
        self._name = name
        # JAX's x64 mode as the caller has it, in which the function runs.
        self._outside = outside
        self._form = form
        self._flags = flags
        self._out_form: Any = None
        self._out_flags: tuple[bool | None, ...] = ()
        # Which of the operands are changed, by their place, and how a message names each.
        self._changes: list[tuple[int, str]] = []
        # Weak: what is compiled keeps nothing alive.
        self._tensors: list[weakref.ref[Any]] = []
        self._asked: list[Any] = []
        self._watch: Watch = Watch(())
        self._same: Any = None
        self.draws: list[random.Request] = []
        self.operation: Any = None
        self.can_be_kept = True
        self._pairs: dict[Mask, Any] = {}

    def discover(self, leaves: Sequence[Any], subject: Any, wrapper: Any) -> None:
        """Trace once to learn what the function uses and draws, and again with that as inputs.

        What is left is a function of arrays: the one that was traced is let go.
        """
        capture = Capture()
        for module in modules_of(self._fn if subject is None else subject):
            capture.note(module)
        self._same = None if subject is None else fixed(subject)
        arrays = [unwrap(leaf) for leaf in leaves]
        state = random.get_state()
        try:
            jax.eval_shape(functools.partial(self._traced, capture), *arrays)
        finally:
            random.set_state(state)
            capture.check_modules(self._name)
        self._tensors = [weakref.ref(tensor) for tensor in capture.tensors(self._name)]
        self._asked = [_asked(tensor) for tensor in self._used()]
        self.draws = capture.draws
        # JAX may keep the capture for longer.
        reached, capture.modules = list(capture.modules.values()), {}
        numbers = [
            jax.ShapeDtypeStruct(shape, np.float64)
            for request in self.draws
            for shape in random.shapes(request)
        ]
        used = [unwrap(tensor) for tensor in self._used()]
        pure = jax.make_jaxpr(self._run)(*arrays, *used, *numbers)
        self.can_be_kept = not any([isinstance(c, jax.core.Tracer) for c in pure.consts])
        run = jaxpr_as_fun(pure) if wrapper is None else wrapper(jaxpr_as_fun(pure))
        self.operation = Operation(lambda *arrays: tuple(run(*arrays)), self._name)
        self._fn = None
        self._watch = Watch(reached)
        self._watch.forget_the_gone()

    def fits(self, subject: Any) -> bool:
        """Tell whether Modules, Tensors and the subject are as they were."""  # autograd-30
        if self._asked != [_asked(tensor) for tensor in self._used()] or not self._watch.holds():
            return False
        if self._same is not None and not self._same(subject):
            return False
        if MODE.capture is not None:
            for module in self._watch.modules():
                MODE.capture.note(module)
        return True

    def is_alive(self) -> bool:
        """Tell whether the Tensors that the function uses are still there."""
        return all(tensor is not None for tensor in self._used())

    def _used(self) -> list[Any]:
        return [reference() for reference in self._tensors]

    def _run(self, *arrays: Array) -> tuple[Array, ...]:
        count, used = len(self._flags), self._used()
        return self._traced(Capture(used, arrays[count:]), *arrays[:count], used=used)

    def _traced(
        self, capture: Capture, *arrays: Array, used: Sequence[Any] = ()
    ) -> tuple[Array, ...]:
        inner = [
            array if flag is None else bare(flag[0], array, flag[1])
            for array, flag in zip(arrays, self._flags, strict=True)
        ]
        before, MODE.capture = MODE.capture, capture
        try:
            args, kwargs = join(self._form, inner)
            with x64(self._outside):
                result = self._fn(*args, **kwargs)
            leaves, self._out_form = split(result)
            for leaf in leaves:
                check_taken(self._name, "each array that is returned", leaf)
            self._out_flags = tuple(
                t._requires_grad if isinstance(t, Traced) else None for t in leaves
            )
            places = {id(tensor): place for place, tensor in enumerate([*inner, *used])}
            changes = [(places[i], *rest) for i, rest in capture.changes.items() if i in places]
            self._changes = [(place, what) for place, what, _, _ in changes]
            made = [*map(unwrap, leaves), *(data for _, _, _, data in changes)]
            return tuple(map(jax.numpy.asarray, made))
        finally:
            # What the function made itself goes with it.
            capture.changes = {}
            MODE.capture = before

    def __call__(self, leaves: Sequence[Any]) -> Any:
        traced = any([isinstance(unwrap(leaf), jax.core.Tracer) for leaf in leaves])
        numbers = [array for request in self.draws for array in drawn(request, traced)]
        operands = [*leaves, *self._used(), *numbers]
        mask = tuple(isinstance(v, Traced) and v._requires_grad for v in operands)
        if not (MODE.enabled and any(mask)):
            outs = record(self.operation, operands)
            self._change(operands, [out._data for out in outs])
            made = [
                out if flag is not None else out._data
                for out, flag in zip(outs, self._out_flags, strict=False)
            ]
            return join(self._out_form, made)
        arrays = [unwrap(v) for v in operands]
        forward, backward = self._pair(mask)
        outs, pull = forward(*arrays)
        self._change(operands, outs)
        edges = [edge_of(v) for v, m in zip(operands, mask, strict=True) if m]
        targets, slots = zip(*(edge for edge in edges if edge is not None), strict=True)
        avals = [(out.shape, out.dtype) for out in outs]
        rule = _JitRule(self.operation, mask, avals, backward, pull)
        node = Node(rule, arrays, targets, slots, len(outs))
        made = []
        for index, (out, flag) in enumerate(zip(outs, self._out_flags, strict=False)):
            live = flag and is_inexact(out.dtype)
            made.append(out if flag is None else wrap(out, node if live else None, index))
        if MODE.watch:
            show(self._name, arrays, made)
        return join(self._out_form, made)

    def _change(self, operands: Sequence[Any], outs: Sequence[Array]) -> None:
        """Give the Tensors that the function changes what came for them, behind the results."""
        changed = zip(self._changes, outs[len(self._out_flags) :], strict=True)
        for (place, what), array in changed:
            change(what, operands[place], array)

    def _pair(self, mask: Mask) -> Any:
        """Return the halves for a choice of differentiated inputs: residuals pass between them."""
        pair = self._pairs.get(mask)
        if pair is None:

            @jax.jit
            def forward(*arrays: Array) -> Any:
                def partial(*chosen: Array) -> Any:
                    rest = iter(chosen)
                    whole = [next(rest) if m else a for m, a in zip(mask, arrays, strict=True)]
                    outs = self.operation.fn(*whole)
                    return tuple(out for out in outs if is_inexact(out.dtype)), outs

                chosen = (a for a, m in zip(arrays, mask, strict=True) if m)
                _, pull, outs = jax.vjp(partial, *chosen, has_aux=True)
                return outs, pull

            @jax.jit
            def backward(pull: Any, grads: Sequence[Array]) -> Any:
                return conjugated(pull(conjugated(grads)))  # autograd-47

            pair = self._pairs[mask] = (forward, backward)
        return pair


class _JitRule:
    """The tape's rule of one call of a compiled function."""

    # `pull` goes by what the compiled forward left for it.
    reads_inputs = False

    def __init__(
        self, operation: Operation, mask: Mask, avals: Any, backward: Any, pull: Any
    ) -> None:
        self.name = operation.name
        self._operation = operation
        self._mask = mask
        self._avals = avals
        self._backward = backward
        self._pull = pull

    def kept(self) -> list[Array]:
        """Return the arrays that the compiled forward left."""
        return jax.tree.leaves(self._pull)

    def holding(self, kept: Sequence[Any], _inputs: Any) -> "_JitRule":
        """Return a copy with others in their place."""
        pull = jax.tree.unflatten(jax.tree.structure(self._pull), kept)
        return _JitRule(self._operation, self._mask, self._avals, self._backward, pull)

    def pull(self, _saved: Any, grads: Sequence[Array | None]) -> Sequence[Array | None]:
        """Return the gradients of the inputs by the compiled backward."""
        filled = [
            jax.numpy.zeros(*aval) if grad is None else grad
            for grad, aval in zip(grads, self._avals, strict=True)
            if is_inexact(aval[1])
        ]
        return self._backward(self._pull, filled)

    def derive(self, node: Node, grads: Sequence[Any]) -> Sequence[Any]:
        """Return the same gradients, recorded on the tape."""
        twin = self._operation.node(node.saved, self._mask, node.targets, node.slots, node.count)
        assert isinstance(twin.rule, Pullback)
        return twin.rule.derive(twin, grads)
