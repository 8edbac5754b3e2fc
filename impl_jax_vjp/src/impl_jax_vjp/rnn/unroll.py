"""`unroll`, a cell of the user's own over a sequence as one ``lax.scan``; and `truncated`.

T steps, N batch. The scan is compiled with all that the cell uses from elsewhere as inputs, and is
one node on the tape; what is compiled serves every cell that does the same.
"""

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ..autograd.checkpoint import checkpointed_scan
from ..autograd.jit import Plans
from ..checks import check_callable, check_flag, check_int, refuse, refuse_type
from ..dtypes import in_x64, is_floating, x64, x64_is_on
from ..module import Module
from ..recording import as_operand, is_array, shape_of
from ..tape import MODE, Traced, constant, node_of, unwrap, wrap
from ..tensor import Tensor, bare
from ..trees import aligned, join, map_leaves, split, statics
from .cell import zero_state
from .equations import Course
from .lengths import check_lengths, check_resets, course_of

Array = Any
_PLANS = Plans("unroll", most=64)


def unroll(
    cell: Callable[..., Any],
    inputs: Any,
    state: Any = None,
    *,
    lengths: Any = None,
    reset_mask: Any = None,
    reset_state: Any = None,
    batch_first: bool = False,
    checkpoint: int | str | None = None,
) -> tuple[Any, Any]:
    """Run ``state = cell(x_t, state)`` over the steps of a sequence.

    Parameters
    ----------
    cell : Module or callable
        One with `project` and `step` is called by ``projected = cell.project(inputs)``, once, and
        ``cell.step(projected_t, state)``. Its steps are compiled, so it cannot read values.
    inputs : Tensor, shape (T, ...), or structure of them
        With `batch_first` (N, T, ...).
    state : Tensor or structure of them, optional
        Of the same structure, shapes and dtypes at every step. Left out it is None at step 0; with
        `lengths` or `reset_mask` zeros (N, S) for each S of ``cell.state_size``.
    lengths, reset_mask, reset_state
        (N,), (T, N) and a structure as `state` is, see `check_lengths` and `check_resets`.
    batch_first : bool
    checkpoint : int or "sqrt", optional
        Only the states before every so many steps are kept for backward, which computes the rest
        again (Chen et al. 2016); "sqrt" is the least int whose square is not less than T.

    Returns
    -------
    output : Tensor, shape (T, ...), or structure of them
        What ``cell.output(state)`` returns after each step, if the cell has that method, else the
        first Tensor of each state; with `batch_first` (N, T, ...).
    state : Tensor or structure of them
        The last.

    Raises
    ------
    ValueError
        If there are no steps to take, shapes or structures do not fit or change from step to step.
    TypeError
        If something is of another kind, or the cell reads a value.
    RuntimeError
        If the cell changes a Module or a Tensor that it did not make.
    """
    check_callable("unroll", "cell", cell)
    batch_first = check_flag("unroll", "batch_first", batch_first)
    inputs, steps, batch = _sequences(inputs, batch_first)
    every = _segment(checkpoint, steps)
    apart = lengths is not None or reset_mask is not None
    if reset_state is not None and reset_mask is None:  # rnn-38
        refuse("unroll", "reset_mask", "given where there is a reset_state", None)
    if apart:
        _check_batch("inputs", split(inputs)[0], batch, 0 if batch_first else 1)
    if lengths is not None:
        lengths = wrap(check_lengths("unroll", lengths, steps, batch))
    if reset_mask is not None:
        reset_mask = wrap(check_resets("unroll", reset_mask, steps, batch, batch_first))
    state = _first(cell, inputs, state, steps, batch if apart else None, batch_first)
    if apart:
        _check_batch("state", split(state)[0], batch, 0)
    if reset_state is not None:
        reset_state = _like("reset_state", _tensors("reset_state", reset_state), state)
    arguments = (inputs, state, lengths, reset_mask, reset_state, every, batch_first)
    try:
        made: tuple[Any, Any] = _PLANS.run(_Loop(cell), arguments, {}, cell)
    except jax.errors.JAXTypeError as error:
        msg = (
            "unroll: cell must not read values (by numpy(), item(), float() or a condition), since "
            "its steps are compiled"
        )
        raise TypeError(msg) from error
    node = node_of(split(made)[0])
    if node is not None:
        node.steps = max(steps, 1)
    return made


def _tensors(argument: str, value: Any, name: str = "unroll") -> Any:
    """Return a structure with a Tensor in the place of each array; raise if it holds others."""
    leaves, form = split(value)
    for other in statics(form):
        if other is not None:
            refuse_type(name, argument, "a Tensor or a structure of them", other)
    if not leaves:
        refuse_type(name, argument, "a Tensor or a structure of them", value)
    made = [
        leaf if isinstance(leaf, Traced) else wrap(as_operand(f"{name}: {argument}", leaf))
        for leaf in leaves
    ]
    return join(form, made)


def _sequences(inputs: Any, batch_first: bool) -> tuple[Any, int, int]:
    """Return inputs that were checked, T, and N, which is 0 where there is no such axis."""
    inputs = _tensors("inputs", inputs)
    shapes = [shape_of(leaf) for leaf in split(inputs)[0]]
    place = 1 if batch_first else 0
    for shape in shapes:
        if len(shape) <= place:  # rnn-44
            wanted = "of shape (N, T, ...)" if batch_first else "of shape (T, ...)"
            refuse("unroll", "inputs", wanted, f"shape {shape}")
        if shape[place] != shapes[0][place]:
            steps = f"{shapes[0][place]} and {shape[place]}"
            refuse("unroll", "inputs", "of one number of steps", steps)
    first = shapes[0]
    return inputs, first[place], first[1 - place] if len(first) > 1 else 0


def _segment(checkpoint: Any, steps: int) -> int | None:
    """Return after how many steps a state is kept, None for each."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, str):
        if checkpoint != "sqrt":
            refuse("unroll", "checkpoint", 'None, "sqrt" or an int', repr(checkpoint))
        return max(math.isqrt(max(steps - 1, 0)) + 1, 1)
    every = check_int("unroll", "checkpoint", checkpoint, 'None, "sqrt" or an int')
    if every < 1:
        refuse("unroll", "checkpoint", "at least 1", every)
    return min(every, max(steps, 1))


def _check_batch(argument: str, leaves: Sequence[Any], batch: int, place: int) -> None:
    """Check that Tensors have the axis of the batch in its place."""  # rnn-41
    for leaf in leaves:
        shape = shape_of(leaf)
        if len(shape) <= place or shape[place] != batch:
            refuse("unroll", argument, f"of N = {batch} as axis {place}", f"shape {shape}")


def _first(
    cell: Any, inputs: Any, state: Any, steps: int, batch: int | None, batch_first: bool
) -> Any:
    """Return the state before the first step; None if the cell is to be called with that.

    `batch` is N where there are lengths or resets.
    """
    if state is not None:
        return _tensors("state", state)
    if not steps:  # rnn-40
        refuse("unroll", "state", "given where T = 0", None)
    if batch is not None:
        if not hasattr(cell, "state_size"):  # rnn-41
            refuse("unroll", "state", "given where cell has no state_size", None)
        return _zeros(cell, (batch,))
    if getattr(cell, "starts_at_zero", False) and isinstance(inputs, Traced):
        shape = shape_of(inputs)
        lead = shape[:1] if batch_first else shape[1:-1]
        # Without a step of its own for None the scan is the whole program.
        return _zeros(cell, lead)
    return None


def _zeros(cell: Any, lead: tuple[int, ...]) -> Any:
    """Return zeros for each of the sizes of a cell's state."""
    parameters = cell.parameters() if isinstance(cell, Module) else ()
    dtypes = [p.dtype for p in parameters if is_floating(p.dtype)]
    if not dtypes:
        refuse("unroll", "state", "given where cell has no floating parameter", None)
    sizes = cell.state_size
    if isinstance(sizes, tuple | list):
        return tuple([wrap(zero_state((*lead, size), dtypes[0])) for size in sizes])
    return wrap(zero_state((*lead, sizes), dtypes[0]))


def _like(argument: str, value: Any, state: Any) -> Any:
    """Return a state of the structure, shapes and dtypes of another one, or raise."""  # rnn-44
    wanted, form = split(state)
    leaves, came = split(aligned(value, form))
    if came != form:
        refuse("unroll", argument, "of the structure of state", "another structure")
    for leaf, known in zip(leaves, wanted, strict=True):
        if shape_of(leaf) != shape_of(known):
            refuse("unroll", argument, f"of shape {shape_of(known)}", f"shape {shape_of(leaf)}")
        if leaf.dtype != known.dtype:
            msg = f"unroll: {argument} must be of dtype {known.dtype}, got {leaf.dtype}"
            raise TypeError(msg)
    return join(form, leaves)


class _Loop:
    """The loop as a function that is traced twice, the second time with its random numbers."""

    def __init__(self, cell: Any) -> None:
        parts = getattr(cell, "project", None), getattr(cell, "step", None)
        self._project: Any = None
        self._call = cell
        if all(map(callable, parts)):
            self._project, self._call = parts
        # JAX's x64 mode as the caller has it, in which the cell runs.
        self._outside = x64_is_on()
        output = getattr(cell, "output", None)
        # A child of that name is no method.
        has_output = callable(output) and not isinstance(output, Module)
        self._output: Any = output if has_output else lambda state: split(state)[0][0]
        # What the first trace tells: what a step draws, and its outputs.
        self._draws: tuple[Any, ...] | None = None
        self._avals: Sequence[Any] = ()
        self._out_form: Any = None
        self._flags: Sequence[bool] = ()

    @in_x64
    def __call__(
        self,
        inputs: Any,
        state: Any,
        lengths: Any,
        marks: Any,
        fresh: Any,
        every: int | None,
        batch_first: bool,
    ) -> tuple[Any, Any]:
        """Return the outputs of all steps, and the last state."""
        xs, course = self._rows(inputs, unwrap(lengths), unwrap(marks), batch_first)
        heads: list[Any] = []
        if state is None:
            state, head = self._step(map_leaves(lambda leaf: leaf[0], xs), None)
            heads = [unwrap(leaf)[None] for leaf in split(head)[0]]
            xs = map_leaves(lambda leaf: leaf[1:], xs)
        firsts, form = split(state)
        renewal = [None] * len(firsts) if fresh is None else split(fresh)[0]
        one = functools.partial(self._one, split(xs), form, list(map(unwrap, renewal)), course)
        rows = [unwrap(leaf) for leaf in split(xs)[0]], course.running, course.renewed
        last, outs = self._scanned(one, list(map(unwrap, firsts)), rows, every)
        last = _ended(course, last)
        if heads:
            outs = list(map(jnp.concatenate, zip(heads, outs, strict=True)))
        if batch_first:
            outs = list(map(_swapped, outs))
        made = list(map(_tensor, [*last, *outs], self._flags))
        return join(self._out_form, made[len(last) :]), join(form, made[: len(last)])

    def _rows(self, inputs: Any, lengths: Any, marks: Any, batch_first: bool) -> tuple[Any, Any]:
        """Return what the cell is given, with the steps as first axis, and the way through it."""
        leaves, form = split(inputs)
        arrays = [_swapped(unwrap(leaf)) if batch_first else unwrap(leaf) for leaf in leaves]
        steps = arrays[0].shape[0]
        course = course_of(lengths, steps, False, marks)
        if course.running is not None:  # rnn-41
            arrays = [_chosen(course.running, array, 0) for array in arrays]
        flags = [leaf._requires_grad for leaf in leaves]
        xs = join(form, list(map(_tensor, arrays, flags)))
        if self._project is not None:
            with x64(self._outside):
                xs = _tensors("what project returns", self._project(xs))
            for leaf in split(xs)[0]:
                if shape_of(leaf)[:1] != (steps,):
                    wanted = f"of shape (T, ...) = ({steps}, ...)"
                    refuse("unroll", "what project returns", wanted, f"shape {shape_of(leaf)}")
        return xs, course

    def _step(self, x: Any, state: Any) -> tuple[Any, Any]:
        """Return the new state and the output of one step."""
        with x64(self._outside):
            new = _tensors("the new state", self._call(x, state))
            if state is not None:
                new = _like("the new state", new, state)
            return new, _tensors("the output", self._output(new))

    def _one(
        self, sequence: Any, form: Any, fresh: Any, course: Course, carry: list[Array], at: Any
    ) -> tuple[list[Array], list[Array]]:
        """Return the new state and the output of one step, as arrays."""
        (xs, running, renewed), numbers = at
        if renewed is not None:
            pairs = zip(fresh, carry, strict=True)
            carry = [_chosen(renewed, 0 * old if f is None else f, old) for f, old in pairs]
        leaves, x_form = sequence
        inputs = [_tensor(x, leaf._requires_grad) for x, leaf in zip(xs, leaves, strict=True)]
        state = join(form, [_tensor(array, True) for array in carry])
        with MODE.capture.round(numbers) as draws:
            new, out = self._step(join(x_form, inputs), state)
        self._draws = tuple(draws) if self._draws is None else self._draws
        news, (outs, self._out_form) = split(new)[0], split(out)
        self._flags = [leaf._requires_grad for leaf in (*news, *outs)]
        made, shown = list(map(unwrap, news)), list(map(unwrap, outs))
        if running is not None:
            _check_batch("the output", outs, running.shape[0], 0)
            made = [_chosen(running, n, old) for n, old in zip(made, carry, strict=True)]
            shown = [_chosen(running, o, _empty(course, o)) for o in shown]
        return made, shown

    def _scanned(
        self, one: Callable[..., Any], carry: list[Array], rows: Any, every: int | None
    ) -> tuple[list[Array], list[Array]]:
        """Return the last state and the outputs of all steps."""
        count = rows[0][0].shape[0]
        if self._draws is None:
            at = jax.tree.map(lambda row: jax.ShapeDtypeStruct(row.shape[1:], row.dtype), rows)
            self._avals = jax.eval_shape(lambda carry, at: one(carry, (at, ())), carry, at)[1]
            ready = False
        else:
            ready = count > 0
        numbers = MODE.capture.draw((count, self._draws)) if self._draws else []
        if not ready:
            return carry, [jnp.zeros((count, *aval.shape), aval.dtype) for aval in self._avals]
        if every is None:
            return lax.scan(one, carry, (rows, numbers))
        return checkpointed_scan(one, carry, (rows, numbers), min(every, count))


def _tensor(array: Array, flag: bool) -> Any:
    """Return an array as a Tensor that requires grad if that is wanted, and can be."""
    return bare(Tensor, array, flag and MODE.enabled and is_floating(array.dtype))


def _swapped(array: Array) -> Array:
    """Return an array with its first two axes exchanged."""
    if array.ndim < 2:
        refuse("unroll", "the output with batch_first", "of shape (N, ...)", "one without axes")
    return jnp.swapaxes(array, 0, 1)


def _chosen(condition: Array, array: Array, other: Any) -> Array:
    """Return an array (..., N, ...) where a condition (..., N, 1) holds, and else the other."""
    shape = (*condition.shape[:-1], *[1] * (array.ndim - condition.ndim + 1))
    return jnp.where(condition.reshape(shape), array, jnp.asarray(other, array.dtype))


def _empty(course: Course, out: Array) -> Any:
    """Return the output where a sequence has no step: 0, and NaN if its length cannot be."""
    if course.valid is None or not is_floating(out.dtype):
        return 0
    return _chosen(course.valid, jnp.zeros_like(out), jnp.nan)


def _ended(course: Course, states: list[Array]) -> list[Array]:
    """Return the last states, NaN where a length cannot be."""  # rnn-34
    if course.valid is None:
        return states
    return [
        _chosen(course.valid, state, jnp.nan) if is_floating(state.dtype) else state
        for state in states
    ]


def truncated(module: Callable[..., Any], chunks: Iterable[Any], hx: Any = None) -> Iterator[Any]:
    """Run a recurrent layer over a sequence, backpropagation through a chunk of it at a time.

    Williams and Peng, "An efficient gradient-based algorithm for on-line training of recurrent
    network trajectories", 1990.

    Parameters
    ----------
    module : Module or callable
        Called ``module(chunk, hx)``; its result is a pair, the second a state.
    chunks : iterable
        Of Tensors, or of dicts of arguments by name. They are read one at a time.
    hx : Tensor or structure of them, optional
        The first state.

    Yields
    ------
    tuple
        Output and state after each chunk; the next begins with that state, detached.

    Raises
    ------
    TypeError
        If a chunk, or a result, is of another kind.
    ValueError
        If a chunk has an `hx`, or a result is no pair.
    """
    check_callable("truncated", "module", module)
    try:
        return _truncated(module, iter(chunks), hx)
    except TypeError:
        refuse_type("truncated", "chunks", "an iterable", chunks)


def _truncated(module: Callable[..., Any], chunks: Iterator[Any], hx: Any) -> Iterator[Any]:
    for chunk in chunks:
        if isinstance(chunk, Mapping):
            if not all([isinstance(name, str) for name in chunk]):
                refuse_type("truncated", "each chunk", "a dict with names as keys", chunk)
            if "hx" in chunk:  # rnn-45
                refuse("truncated", "each chunk", "without an hx of its own", "one with hx")
            result = module(**chunk, hx=hx)
        elif is_array(chunk):
            result = module(chunk, hx)
        else:
            refuse_type("truncated", "each chunk", "a Tensor or a dict of arguments", chunk)
        if not isinstance(result, tuple | list):
            refuse_type("truncated", "the result of module", "a pair (output, hx)", result)
        if len(result) != 2:
            wanted = "a pair (output, hx)"
            refuse("truncated", "the result of module", wanted, f"{len(result)} items")
        output, state = result
        _tensors("the state that module returns", state, "truncated")
        yield output, state
        hx = map_leaves(lambda leaf: wrap(constant(unwrap(leaf))), state)
