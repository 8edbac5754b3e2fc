"""Any cell over a sequence, and a sequence read a chunk at a time.

T and N are steps and batch. A state, an output and what comes in are Tensors or structures of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from impl_cupy.autograd.checkpoint import checkpoint as forgotten
from impl_cupy.autograd.transforms import beside
from impl_cupy.backend import cp
from impl_cupy.checks import check_callable, check_flag, check_positive_int, shown, type_name
from impl_cupy.function import Function
from impl_cupy.memory import RawArray
from impl_cupy.module import Module
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.manipulation import concat, expand_dims, permute_dims, stack
from impl_cupy.random import DrawnAgain, RestoredOnError, mark
from impl_cupy.recording import as_tensor
from impl_cupy.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_cupy.rnn.lengths import check_lengths, check_mask
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, mapped, rebuilt

_FUSED = (RNNCell, LSTMCell, GRUCell)
"""The cells that run a sequence as one Function."""


def unroll(
    cell: Callable[..., Any],
    inputs: Any,
    state: Any = None,
    *,
    lengths: Any = None,
    reset_mask: Any = None,
    reset_state: Any = None,
    batch_first: bool = False,
    checkpoint: Any = None,
) -> tuple[Any, Any]:
    """Run ``state = cell(x_t, state)`` over the steps of a sequence.

    A cell that has ``project`` and ``step`` projects all inputs at once, and steps through what
    comes of it.

    Parameters
    ----------
    cell : Module or callable
        Returns the new state, of the structure, shapes and dtypes of the old one. A step's output
        is ``cell.output(state)`` if it has that method, else the first Tensor of the new state.
    inputs : Tensor or structure of Tensors, shapes (T, ...) or (N, T, ...) if `batch_first`
    state : Tensor or structure of Tensors, optional
        The first state. Without it the cell gets None at step 0, and with `lengths` or `reset_mask`
        zeros (N, S) for each S of ``cell.state_size``.
    lengths : N integers, optional
        How many steps each sequence has. Past its end its state stays, its output is 0, and the
        cell is given zeros.
    reset_mask : booleans, shape (T, N) or (N, T), optional
        Before which steps the state is `reset_state`.
    reset_state : Tensor or structure of Tensors, optional
        Like `state`; zeros if left out.
    batch_first : bool
        Whether T is the second axis of inputs and output.
    checkpoint : int or "sqrt", optional
        Of the states keep those before every so many steps, and compute the others again in
        backward; "sqrt" is the root of T, rounded up.

    Returns
    -------
    output : Tensor or structure of Tensors, shapes (T, ...) or (N, T, ...)
    state : Tensor or structure of Tensors
        The last one.

    Raises
    ------
    TypeError, ValueError
        If an argument, a new state or an output does not fit.
    """
    check_callable("unroll", "cell", cell)
    turned = check_flag("unroll", "batch_first", batch_first)
    inputs, steps, batch = _sequence(inputs, turned)
    interval = _interval(checkpoint, steps)
    if state is None and steps == 0:
        msg = "unroll: state must be given where T = 0, got None"
        raise ValueError(msg)
    plan = _Plan(steps, batch, lengths, reset_mask, turned)
    if plan.is_used and state is None:
        state = _zero_state(cell, batch)
    state = state if state is None else _as_state("state", state)
    plan.check(state)
    resets = plan.resets(state, reset_state)
    with RestoredOnError():
        if steps:
            output, state = _run(cell, inputs, state, resets, plan, interval, checkpoint == "sqrt")
        else:
            with DrawnAgain(mark()):
                output = mapped(lambda leaf: expand_dims(leaf, axis=0)[:0], _output(cell, state))
    return mapped(_turn, output) if turned else output, state


def _sequence(inputs: Any, turned: bool) -> tuple[Any, int, int | None]:
    """Check the inputs, and bring them to (T, ...); return T and N too."""
    leaves = [as_tensor("unroll: inputs", leaf) for leaf in flatten(inputs)]
    if not leaves:
        msg = f"unroll: inputs must hold a Tensor, got {shown(inputs)}"
        raise ValueError(msg)
    for leaf in leaves:
        if leaf.ndim <= turned:
            msg = f"unroll: inputs must have the steps as axis {int(turned)}, got {leaf.shape}"
            raise ValueError(msg)
    counts = {leaf.shape[turned] for leaf in leaves}
    if len(counts) > 1:
        msg = f"unroll: inputs must have one number of steps, got {sorted(counts)}"
        raise ValueError(msg)
    leaves = [_turn(leaf) if turned else leaf for leaf in leaves]
    batches = {leaf.shape[1] if leaf.ndim > 1 else None for leaf in leaves}
    return rebuilt(inputs, leaves), counts.pop(), batches.pop() if len(batches) == 1 else None


def _turn(value: Tensor) -> Tensor:
    """Exchange the first two axes."""
    return permute_dims(value, (1, 0, *range(2, value.ndim)))


def _interval(given: Any, steps: int) -> int | None:
    """Return how many steps lie between states that are kept, None where all are."""
    if given is None:
        return None
    if isinstance(given, str) and given == "sqrt":
        return math.isqrt(max(steps - 1, 0)) + 1
    is_int = isinstance(given, (int, np.integer)) and not isinstance(given, bool)
    if not is_int or given < 1:
        msg = f"unroll: checkpoint must be None, 'sqrt' or an int of at least 1, got {shown(given)}"
        raise ValueError(msg) if is_int or isinstance(given, str) else TypeError(msg)
    return int(given)


def _method(cell: Any, name: str) -> Callable[..., Any] | None:
    """Return a method of a cell; a child of that name is none."""
    found = getattr(cell, name, None)
    return found if callable(found) and not isinstance(found, Module) else None


def _output(cell: Any, state: Any) -> Any:
    output = _method(cell, "output")
    if output is None:
        return flatten(state)[0]
    made = output(state)
    return rebuilt(made, [as_tensor("unroll: an output", leaf) for leaf in flatten(made)])


def _as_state(called: str, state: Any) -> Any:
    leaves = [as_tensor(f"unroll: {called}", leaf) for leaf in flatten(state)]
    if not leaves:
        msg = f"unroll: {called} must hold a Tensor, got {shown(state)}"
        raise TypeError(msg)
    return rebuilt(state, leaves)


def _zero_state(cell: Any, batch: int | None) -> Any:
    sizes = getattr(cell, "state_size", None)
    if sizes is None:
        msg = "unroll: state must be given for a cell without state_size, got None"
        raise ValueError(msg)
    floating = (p.dtype for p in getattr(cell, "parameters", tuple)() if p.dtype.kind == "f")
    dtype = next(floating, np.dtype("float32"))
    lengths = [check_positive_int("unroll", "state_size", size) for size in flatten(sizes)]
    return rebuilt(sizes, [wrap(cp.zeros((batch, size), dtype=dtype)) for size in lengths])


def _like(called: str, wanted: Any, given: Any) -> list[Tensor]:
    """List the Tensors of what must be like a state, in that state's order."""
    found = [as_tensor(f"unroll: {called}", g) for g in beside("unroll", called, wanted, given)]
    for value, like in zip(found, flatten(wanted), strict=True):
        if value.shape != like.shape:
            msg = f"unroll: {called} must have the shape {like.shape}, got {value.shape}"
            raise ValueError(msg)
        if value.dtype != like.dtype:
            msg = f"unroll: {called} must have dtype {like.dtype.name}, got {value.dtype.name}"
            raise TypeError(msg)
    return found


class _Plan:
    """Which sequences run at a step, and which begin anew before it.

    Attributes
    ----------
    is_used : bool
        Whether anything was said of it.
    lengths, runs, marks : numpy.ndarray or None, shapes (N,), (T, N) and (T, N)
        None where every sequence runs, and where none begins anew.
    """

    def __init__(
        self, steps: int, batch: int | None, lengths: Any, mask: Any, turned: bool
    ) -> None:
        self.has_mask = mask is not None
        self.is_used = lengths is not None or self.has_mask
        self.batch = batch
        self.lengths = self.runs = self.marks = None
        if not self.is_used:
            return
        if batch is None:
            msg = "unroll: inputs must have one batch axis with lengths and reset_mask, got none"
            raise ValueError(msg)
        if lengths is not None:
            lengths = check_lengths("unroll", lengths, steps, batch)
            if (lengths < steps).any():
                self.lengths = lengths
                self.runs = np.arange(steps)[:, None] < lengths
        if mask is not None:
            marks = check_mask("unroll", mask, (steps, batch), turned)
            marks = marks if self.runs is None else marks & self.runs
            self.marks = marks if marks.any() else None
        self._masks: list[Any] = [
            m if m is None else cp.asarray(m) for m in (self.runs, self.marks)
        ]

    def check(self, state: Any) -> None:
        """Refuse a state without the batch as its first axis."""
        for leaf in flatten(state) if self.is_used else ():
            if leaf.shape[:1] != (self.batch,):
                msg = f"unroll: state must have shape (N, ...), N = {self.batch}, got {leaf.shape}"
                raise ValueError(msg)

    def resets(self, state: Any, given: Any) -> Any:
        """Check what a state becomes where a sequence begins anew; None stands for zeros."""
        if given is None:
            return None
        if not self.has_mask:
            msg = "unroll: reset_mask must be given with a reset_state, got None"
            raise ValueError(msg)
        return rebuilt(state, _like("reset_state", state, given))

    def begin(self, step: int, state: Any, resets: Any) -> Any:
        """Put in the state of the sequences that begin anew before a step."""
        if self.marks is None or not self.marks[step].any():
            return state
        old = flatten(state)
        new = map(_zero, old) if resets is None else beside("unroll", "reset_state", state, resets)
        pairs, mask = zip(new, old, strict=True), self._masks[1][step]
        return rebuilt(state, [_chosen(mask, *pair) for pair in pairs])

    def stay(self, step: int, new: Any, old: Any) -> Any:
        """Leave the state of the sequences that have ended before a step as it was."""
        if self.runs is None or self.runs[step].all():
            return new
        olds, mask = beside("unroll", "a new state", new, old), self._masks[0][step]
        pairs = zip(flatten(new), olds, strict=True)
        return rebuilt(new, [_chosen(mask, *pair) for pair in pairs])

    def within(self, value: Tensor) -> Tensor:
        """Make what lies past the sequences' ends, in an array (T, N, ...), 0."""
        if self.runs is None:
            return value
        if value.shape[:2] != self.runs.shape:
            msg = (
                "unroll: with lengths every input and output must have shape (T, N, ...), (T, N) = "
                f"{self.runs.shape}, got {value.shape}"
            )
            raise ValueError(msg)
        return _chosen(self._masks[0], value, _zero(value))


def _zero(like: Tensor) -> Any:
    """Return the number 0 of a dtype."""
    return like.dtype.type(0).item()


def _chosen(mask: RawArray, value: Any, other: Any) -> Tensor:
    """Select where a mask over the first axes holds."""
    ndim = value.ndim if isinstance(value, Tensor) else other.ndim
    return where(wrap(mask.reshape(mask.shape + (1,) * (ndim - mask.ndim))), value, other)


class _Rows(Function):
    """The rows of an array, whose gradients are put together at once."""

    _is_ours = True
    _called = "unroll"

    @staticmethod
    def forward(ctx: Any, x: RawArray) -> tuple[RawArray, ...]:
        """Take `x` apart, shape (T, ...)."""
        del ctx
        return tuple(x)

    @staticmethod
    def backward(ctx: Any, *grads: RawArray) -> RawArray:
        """Stack the rows' gradients."""
        del ctx
        return cp.stack(grads)

    @staticmethod
    def composite(x: Tensor) -> tuple[Tensor, ...]:
        """Do the same by indexing."""
        return tuple(x)


def _run(
    cell: Any,
    inputs: Any,
    state: Any,
    resets: Any,
    plan: _Plan,
    interval: int | None,
    keeps_end: bool,
) -> tuple[Any, Any]:
    """Run all steps, a stretch of them at a time where their states are to be forgotten.

    Those of the last stretch are needed first, and are not forgotten where it `keeps_end`.
    """
    run, call, read = _stepped, cell, inputs
    is_fused = _is_fused(cell, inputs)
    if is_fused:
        run = _fused
    else:
        read = mapped(plan.within, inputs)
        if _method(cell, "project") and _method(cell, "step"):
            call, read = cell.step, _projected(cell, read)
    if interval is None:
        output, state = run(cell, call, plan, 0, read, state, resets)
    else:
        outputs, steps = [], flatten(read)[0].shape[0]
        for start in range(0, steps, interval):
            part = [leaf[start : start + interval] for leaf in flatten(read)]
            given = (start, rebuilt(read, part), state, resets)
            if keeps_end and start + interval >= steps:
                output, state = run(cell, call, plan, *given)
            else:
                output, state = forgotten(run, cell, call, plan, *given)
            outputs.append(output)
        first = outputs[0]
        every = [beside("unroll", "an output", first, output) for output in outputs]
        output = rebuilt(first, [concat(parts) for parts in zip(*every, strict=True)])
    return (output if is_fused else mapped(plan.within, output)), state


def _is_fused(cell: Any, inputs: Any) -> bool:
    """Tell whether a cell runs these inputs as one Function; not with methods of the user's."""
    if type(cell) not in _FUSED or not isinstance(inputs, Tensor) or inputs.ndim != 3:
        return False
    return vars(cell).keys().isdisjoint(("project", "step", "output"))


def _projected(cell: Any, inputs: Any) -> Any:
    projected = cell.project(inputs)
    steps = flatten(inputs)[0].shape[:1]
    for leaf in flatten(projected):
        if not isinstance(leaf, Tensor) or leaf.shape[:1] != steps:
            msg = f"unroll: project must return Tensors of {steps[0]} rows, got {shown(leaf)}"
            raise ValueError(msg)
    return projected


def _stepped(
    cell: Any, call: Any, plan: _Plan, start: int, read: Any, state: Any, resets: Any
) -> tuple[Any, Any]:
    """Run some steps from `start` on; return the outputs, as rows, and the last state."""
    rows = [_Rows.apply(leaf) for leaf in flatten(read)]
    outputs: list[list[Any]] = []
    output: Any = None
    for step, row in enumerate(zip(*rows, strict=True), start):
        old = plan.begin(step, state, resets)
        state = _as_state("a new state", call(rebuilt(read, row), old))
        if old is not None:
            _like("a new state", old, state)
        state = plan.stay(step, state, old)
        made = _output(cell, state)
        output = made if output is None else output
        outputs.append(list(beside("unroll", "an output", output, made)))
        for first, leaf in zip(outputs[0], outputs[-1], strict=True):
            if leaf.shape != first.shape:  # rnn-44
                msg = f"unroll: an output must have the shape {first.shape}, got {leaf.shape}"
                raise ValueError(msg)
    return rebuilt(output, [stack(parts) for parts in zip(*outputs, strict=True)]), state


def _fused(
    cell: Any, call: Any, plan: _Plan, start: int, read: Tensor, state: Any, resets: Any
) -> tuple[Any, Any]:
    """Run some steps, as `_stepped`, of a cell that runs them as one Function."""
    del call
    steps, lengths, marks = read.shape[0], plan.lengths, plan.marks
    lengths = None if lengths is None else np.clip(lengths - start, 0, steps)
    marks = None if marks is None else marks[start : start + steps]
    made: tuple[Any, Any] = cell._sequence(read, state, resets, lengths, marks)
    return made


def truncated(
    module: Callable[..., Any], chunks: Iterable[Any], hx: Any = None
) -> Iterator[tuple[Any, Any]]:
    """Iterate over the results of chunks; no gradient passes from one to the chunk before.

    Source: Williams and Peng, "An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories", 1990.

    Parameters
    ----------
    module : Module or callable
        A recurrent layer, or any callable of ``(chunk, hx)`` that returns a pair, the second a
        Tensor or a structure of them.
    chunks : iterable of Tensor or dict
        Read one at a time; a dict has the module's arguments by name, without `hx`.
    hx : Tensor or structure of Tensors, optional
        The first state.

    Yields
    ------
    output, hx
        What the module returns. The next chunk gets this `hx` detached.

    Raises
    ------
    TypeError, ValueError
        If `module` cannot be called, `chunks` are no iterable, a chunk is neither a Tensor nor a
        dict or has an `hx` of its own, or what the module returns is no pair.
    """
    check_callable("truncated", "module", module)
    try:
        iterator = iter(chunks)
    except TypeError:
        msg = f"truncated: chunks must be an iterable, got {shown(chunks)}"
        raise TypeError(msg) from None
    return _carried(module, iterator, hx)


def _carried(
    module: Callable[..., Any], chunks: Iterator[Any], hx: Any
) -> Iterator[tuple[Any, Any]]:
    for chunk in chunks:
        if isinstance(chunk, dict):
            if "hx" in chunk or not all(isinstance(name, str) for name in chunk):
                msg = f"truncated: a chunk must name arguments other than hx, got {shown([*chunk])}"
                raise ValueError(msg)
            result = module(**chunk, hx=hx)
        elif isinstance(chunk, Tensor):
            result = module(chunk, hx)
        else:
            msg = f"truncated: a chunk must be a Tensor or a dict, got {type_name(chunk)}"
            raise TypeError(msg)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            got = f" of {len(result)}" if isinstance(result, (tuple, list)) else ""
            msg = f"truncated: module must return a pair (output, hx), got {type_name(result)}{got}"
            raise TypeError(msg)
        output, hx = result
        leaves = flatten(hx)
        if not leaves or not all(isinstance(leaf, Tensor) for leaf in leaves):
            msg = f"truncated: the hx that module returns must hold Tensors, got {shown(hx)}"
            raise TypeError(msg)
        yield output, hx
        hx = mapped(Tensor.detach, hx)
