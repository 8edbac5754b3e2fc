"""A cell of any kind over a whole sequence, and a layer over its chunks (rnn-40 to rnn-45).

T steps, N batch. A state, an input and an output may be Tensors or structures of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import numpy as np

from impl_numpy import autograd, ops
from impl_numpy.batched import USED, Level, youngest
from impl_numpy.by_slice import each
from impl_numpy.checks import (
    check_callable,
    check_count,
    check_flag,
    check_positive,
    check_tensors,
    shown,
)
from impl_numpy.dtypes import Array, Shape, float32
from impl_numpy.module import Module
from impl_numpy.module.functional import places_of, replacing
from impl_numpy.rnn.equations import Steps
from impl_numpy.rnn.lengths import check_lengths, check_mask
from impl_numpy.tensor import Tensor, as_tensor, wrap
from impl_numpy.trees import tree_aligned, tree_leaves, tree_map, tree_rebuilt, tree_structure


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
    """Take `state = cell(x_t, state)` at every step of a sequence.

    A cell that has `project` and `step` is called by these: `project` once, with all steps.

    Parameters
    ----------
    cell : Module or other callable
        Returns the next state. If it has a method `output`, the output of a step is
        `cell.output(state)`, else the first Tensor of the state.
    inputs : Tensor or structure of them, shape (T, ...), or (N, T, ...) if batch_first
    state : Tensor or structure of them, optional
        What the first step takes; None if left out.
    lengths : sequence of int, array or Tensor of integers, shape (N,), optional
        How many steps each sequence has. Past its end its state stays and its output is 0.
        Inputs are (T, N, ...), and states and outputs (N, ...), then.
    reset_mask : sequence, array or Tensor of bool, shape (T, N), or (N, T) if batch_first, optional
        Before a step that is marked the state becomes `reset_state`.
    reset_state : as `state`, optional
        Zeros if left out.
    batch_first : bool
    checkpoint : int or "sqrt", optional
        Keep the state before every so many steps alone, and compute the others again in backward;
        "sqrt" takes the square root of T, rounded up.

    Returns
    -------
    output : Tensor or structure of them, shape (T, ...), or (N, T, ...) if batch_first
    state : of the shape of the state
        After the last step.

    Raises
    ------
    ValueError
        If there is no axis of steps or they are not as many in all inputs, a state has another
        structure or shape than the one before, there is no step and no state, a length or mask does
        not fit, or checkpoint is out of range.
    TypeError
        If an argument is of the wrong kind, or a state has another dtype than the one before.
    """
    check_callable("unroll", "cell", cell)
    batch_first = check_flag("unroll", "batch_first", batch_first)
    if reset_state is not None and reset_mask is None:
        msg = "unroll: reset_state must come with a reset_mask, got none"
        raise ValueError(msg)
    level = youngest((lengths, reset_mask)) if USED else None
    if level is not None:
        given = inputs, state, lengths, reset_mask, reset_state
        return _by_slices(level, cell, given, batch_first=batch_first, checkpoint=checkpoint)
    padded = lengths is not None or reset_mask is not None
    inputs = _with_steps_first(inputs, batch_first, padded)
    shape = tree_leaves(inputs)[0].shape
    interval = _interval(checkpoint, shape[0])
    if state is not None:
        check_tensors("unroll", "state", tree_leaves(state), least=1)
    loop = _Loop(cell)
    if padded:
        inputs, state = loop.mask(
            inputs, state, shape[:2], (lengths, reset_mask, reset_state), batch_first
        )
    elif not shape[0] and state is None:
        msg = f"unroll: state must be given where inputs have no steps, got inputs of shape {shape}"
        raise ValueError(msg)
    # An interval of the user's may be T, so that each of several sequences keeps next to nothing.
    output, state = loop.run(inputs, state, shape[0], interval, checkpoint == "sqrt")
    if batch_first:
        _check_axes("the output", tree_leaves(output), 2, "(T, N, ...) with batch_first")
        output = tree_map(_exchanged, output)
    return output, state


def _by_slices(
    level: Level, cell: Callable[..., Any], given: tuple[Any, ...], **options: Any
) -> tuple[Any, Any]:
    """Run a cell over the sequences of each slice of a `vmap`, of which each has other lengths."""
    owned: dict[str, Any] = {}
    if isinstance(cell, Module):
        held = {full: entries[name] for full, (entries, name, _) in places_of(cell).items()}
        owned = {full: x for full, x in held.items() if x is not None}

    def run(
        owned: dict[str, Any], inputs: Any, state: Any, lengths: Any, mask: Any, reset: Any
    ) -> Any:
        with replacing(cell, owned) if isinstance(cell, Module) else nullcontext():
            return unroll(
                cell,
                inputs,
                state,
                lengths=lengths,
                reset_mask=mask,
                reset_state=reset,
                **options,
            )

    found: tuple[Any, Any] = each(level, run, (owned, *given), {})
    return found


def truncated(
    module: Callable[..., Any], chunks: Iterable[Any], hx: Any = None
) -> Iterator[tuple[Any, Any]]:
    """Call a layer on chunks of a sequence, with gradients that stop where a chunk begins.

    Backpropagation through time, truncated: Williams and Peng 1990.

    Parameters
    ----------
    module : Module or other callable
        Takes a chunk and a state, and returns a pair: the output and the next state.
    chunks : iterable of Tensor or dict, read one at a time
        A dict has the module's arguments by name, but `hx`.
    hx : Tensor or structure of them, optional
        The state that the first chunk begins with.

    Yields
    ------
    output, hx
        What the module returned. The next chunk gets this hx detached.

    Raises
    ------
    TypeError
        If the module cannot be called, there is nothing to iterate over, or a chunk, a result or a
        state is of another kind.
    ValueError
        If a chunk has an hx of its own, or a result is no pair.
    """
    check_callable("truncated", "module", module)
    try:
        iterator = iter(chunks)
    except TypeError:
        msg = f"truncated: chunks must be iterable, got {shown(chunks)}"
        raise TypeError(msg) from None
    return _truncated(module, iterator, hx)


def _truncated(module: Any, chunks: Iterator[Any], hx: Any) -> Iterator[tuple[Any, Any]]:
    for chunk in chunks:
        if isinstance(chunk, Tensor):
            result = module(chunk, hx)
        elif not isinstance(chunk, dict) or not all(isinstance(name, str) for name in chunk):
            msg = (
                "truncated: a chunk must be a Tensor or a dict of arguments by name, got "
                f"{shown(chunk)}"
            )
            raise TypeError(msg)
        elif "hx" in chunk:
            msg = f"truncated: a chunk must have no hx of its own, got {shown(chunk)}"
            raise ValueError(msg)
        else:
            result = module(**chunk, hx=hx)
        several = isinstance(result, (tuple, list))
        if not several or len(result) != 2:
            msg = f"truncated: module must return a pair (output, hx), got {shown(result)}"
            raise (ValueError if several else TypeError)(msg)
        check_tensors("truncated", "the hx that module returns", tree_leaves(result[1]), least=1)
        yield result
        hx = tree_map(Tensor.detach, result[1])


class _Loop:
    """The steps of a sequence, and the masks that say which rows of a batch take them."""

    def __init__(self, cell: Any) -> None:
        self._cell = cell
        self._apart = callable(getattr(cell, "project", None)) and callable(
            getattr(cell, "step", None)
        )
        self._step = cell.step if self._apart else cell
        self._output = cell.output if callable(getattr(cell, "output", None)) else _first
        # Of each step the rows that take it, and those that begin anew; None where all or none do.
        self._running: _Mask | None = None
        self._begins: _Mask | None = None
        self._reset_state: Any = None

    def mask(
        self,
        inputs: Any,
        state: Any,
        padded: Shape,
        given: tuple[Any, Any, Any],
        batch_first: bool,
    ) -> tuple[Any, Any]:
        """Take lengths, mask and state of resets; return inputs with 0 past each end, and a state.

        `padded` is (T, N).
        """
        (steps, batch), (lengths, marks, resets) = padded, given
        ends = np.full(batch, steps)
        if lengths is not None:
            ends = check_lengths("unroll", lengths, steps, batch)
        running = np.arange(steps)[:, None] < ends
        if marks is not None:
            form, wanted = ("(N, T)", (batch, steps)) if batch_first else ("(T, N)", padded)
            marks = check_mask("unroll", marks, form, wanted)
            begins = running & (marks.T if batch_first else marks)
            self._begins = _Mask(begins, np.any(begins, axis=1))
        state = self._zeros(batch) if state is None else state
        _check_rows("state", tree_leaves(state), 0, batch)
        if resets is None:
            resets = tree_map(_zeros_like, state)
        else:
            check_tensors("unroll", "reset_state", tree_leaves(resets), least=1)
        check_alike("reset_state", resets, state)
        self._reset_state = resets
        if not running.all():
            self._running = _Mask(running, ~np.all(running, axis=1))
            inputs = tree_map(self._running.cut, inputs)
        return inputs, state

    def _zeros(self, batch: int) -> Any:
        """Return the state that a cell begins with of which the sizes are known."""
        sizes = getattr(self._cell, "state_size", None)
        if sizes is None:
            msg = (
                "unroll: state must be given with lengths or a reset_mask for a cell without "
                f"state_size, got {shown(self._cell)}"
            )
            raise ValueError(msg)
        parameters = self._cell.parameters() if isinstance(self._cell, Module) else ()
        dtype = next((p.dtype for p in parameters if p.dtype.kind == "f"), float32)

        def zeros(size: Any) -> Tensor:
            checked = check_count("unroll", "each state_size of cell", size)
            return wrap(np.zeros((batch, checked), dtype), None)

        return tree_map(zeros, sizes)

    def run(
        self, inputs: Any, state: Any, steps: int, interval: int | None, keeps_end: bool
    ) -> tuple[Any, Any]:
        """Return the outputs of all steps, (T, ...), and the last state.

        Where it `keeps_end` the last steps, with which backward begins, are not run again.
        """
        if self._apart:
            inputs = self._cell.project(inputs)
            leaves = tree_leaves(inputs)
            check_tensors("unroll", "what project returns", leaves, least=1)
            _check_rows("what project returns", leaves, 0, steps)
        if not steps:
            # Of the right shape, and with a gradient of 0.
            return tree_map(lambda x: ops.expand_dims(x, axis=0)[:0], self._output(state)), state
        if interval is None:
            output, state = self._some(0, inputs, state)
        else:
            outputs = []
            for start in range(0, steps, interval):
                # Not by `Steps`, which keeps what it parts until the gradients of all parts came.
                part = tree_map(partial(_cut, start, start + interval), inputs)
                some = partial(self._some, start)
                if keeps_end and start + interval >= steps:
                    output, state = some(part, state)
                else:
                    output, state = autograd.checkpoint(some, part, state)
                outputs.append(output)
            output = _joined(ops.concat, outputs)
        if self._running is not None:
            _check_rows("the output", tree_leaves(output), 1, self._running.batch)
            output = tree_map(self._running.cut, output)
        return output, state

    def _some(self, start: int, inputs: Any, state: Any) -> tuple[Any, Any]:
        """Return outputs and last state of some steps, of which the first one is `start`."""
        step, output_of, begins, running = self._step, self._output, self._begins, self._running
        outputs: list[Any] = []
        for t, x in enumerate(_rows(inputs), start):
            if begins is not None and begins.matters[t]:
                state = begins.chosen(t, self._reset_state, state)
            after = step(x, state)
            check_alike("the new state", after, state)
            if running is not None and running.matters[t]:
                after = running.chosen(t, after, state)
            state, output = after, output_of(after)
            check_alike("the output", output, outputs[0] if outputs else None)
            outputs.append(output)
        return _joined(ops.stack, outputs), state


class _Mask:
    """Which rows of a batch each step is for.

    Parameters
    ----------
    rows : numpy.ndarray of bool, shape (T, N)
    matters : numpy.ndarray of bool, shape (T,)
        Whether there is anything to choose at a step.
    """

    def __init__(self, rows: Array, matters: Array) -> None:
        self._rows = rows
        self.batch = rows.shape[1]
        self.matters: list[bool] = matters.tolist()

    def cut(self, x: Tensor) -> Tensor:
        """Return x (T, N, ...) where the mask holds, else 0."""
        return _where(self._rows, x, wrap(np.zeros((), x.dtype), None))

    def chosen(self, t: int, new: Any, old: Any) -> Any:
        """Return a state with rows of the new one where the mask holds at a step, else the old."""
        rows, olds = self._rows[t], tree_leaves(tree_aligned(old, new))
        pairs = zip(tree_leaves(new), olds, strict=True)
        return tree_rebuilt(new, [_where(rows, x, y) for x, y in pairs])


def _where(rows: Array, x: Tensor, y: Tensor) -> Tensor:
    condition = rows.reshape(rows.shape + (1,) * (x.ndim - rows.ndim))
    return ops.where(wrap(condition, None), x, y)


def _with_steps_first(inputs: Any, batch_first: bool, padded: bool) -> Any:
    """Return the inputs as (T, ...), checked."""
    inputs = tree_map(lambda x: as_tensor("unroll", x, "inputs"), inputs)
    leaves = tree_leaves(inputs)
    check_tensors("unroll", "inputs", leaves, least=1)
    axes, place = 1 + (batch_first or padded), int(batch_first)
    wanted = "(N, T, ...)" if batch_first else "(T, N, ...)" if padded else "(T, ...)"
    _check_axes("inputs", leaves, axes, wanted)
    _check_rows("inputs", leaves, place, leaves[0].shape[place])
    if padded:
        _check_rows("inputs", leaves, 1 - place, leaves[0].shape[1 - place])
    return tree_map(_exchanged, inputs) if batch_first else inputs


def _exchanged(x: Tensor) -> Tensor:
    """Return a Tensor with its first two axes exchanged."""
    return ops.permute_dims(x, (1, 0, *range(2, x.ndim)))


def _interval(checkpoint: Any, steps: int) -> int | None:
    """Return after how many steps a state is kept; None for every one."""
    if checkpoint is None:
        return None
    if isinstance(checkpoint, str) and checkpoint == "sqrt":
        return 1 + math.isqrt(max(0, steps - 1))
    if isinstance(checkpoint, str):
        msg = f'unroll: checkpoint must be None, "sqrt" or a positive int, got {shown(checkpoint)}'
        raise ValueError(msg)
    check_positive("unroll", checkpoint=checkpoint)
    return int(checkpoint)


def _check_axes(name: str, leaves: Sequence[Tensor], least: int, wanted: str) -> None:
    """Raise ValueError unless all Tensors have at least so many axes."""
    for x in leaves:
        if x.ndim < least:
            msg = f"unroll: {name} must have shape {wanted}, got {x.shape}"
            raise ValueError(msg)


def _check_rows(name: str, leaves: Sequence[Tensor], axis: int, count: int) -> None:
    """Raise ValueError unless all Tensors are so long along an axis."""
    for x in leaves:
        if x.ndim <= axis or x.shape[axis] != count:
            msg = f"unroll: {name} must have length {count} along axis {axis}, got shape {x.shape}"
            raise ValueError(msg)


def check_alike(name: str, new: Any, old: Any) -> None:
    """Raise unless a structure of Tensors has the structure, shapes and dtypes of another, if any.

    Raises
    ------
    ValueError
        If it has another structure or shape.
    TypeError
        If it holds what is no Tensor, or nothing, or a Tensor of another dtype.
    """
    if _alike(new, old):
        return
    leaves = tree_leaves(new)
    check_tensors("unroll", name, leaves, least=1)
    if old is None:
        return
    old = tree_aligned(old, new)
    for kind, error in (("shape", ValueError), ("dtype", TypeError)):
        wanted, got = _attributes(old, kind), _attributes(new, kind)
        same = tree_structure(wanted) == tree_structure(got)
        if not same or tree_leaves(wanted) != tree_leaves(got):
            texts = [shown(tree).replace("'", "") for tree in (wanted, got)]
            msg = f"unroll: {name} must have {kind} {texts[0]}, got {texts[1]}"
            raise error(msg)


def _attributes(tree: Any, name: str) -> Any:
    """Return a structure of an attribute of Tensors, each as a string, which is no structure."""
    return tree_map(lambda x: str(getattr(x, name)), tree)


def _alike(new: Any, old: Any) -> bool:
    """Tell whether there is nothing more to check: most states are Tensors, or tuples of them."""
    if isinstance(new, Tensor):
        return isinstance(old, Tensor) and new.shape == old.shape and new.dtype == old.dtype
    if not isinstance(new, tuple) or not isinstance(old, tuple) or len(new) != len(old) or not new:
        return False
    return all([_alike(x, y) for x, y in zip(new, old, strict=True)])


def _first(state: Any) -> Tensor:
    """Return the first Tensor of a state."""
    while isinstance(state, (tuple, list)) and state:
        state = state[0]
    return state if isinstance(state, Tensor) else tree_leaves(state)[0]


def _zeros_like(x: Tensor) -> Tensor:
    return wrap(np.zeros(x.shape, x.dtype), None)


def _cut(start: int, stop: int, x: Tensor) -> Tensor:
    return x[start:stop]


def _rows(tree: Any) -> Sequence[Any]:
    """Return what each step has of a structure of (T, ...)."""
    if isinstance(tree, Tensor):
        return Steps.apply(tree)
    columns = [Steps.apply(x) for x in tree_leaves(tree)]
    return [tree_rebuilt(tree, leaves) for leaves in zip(*columns, strict=True)]


def _joined(join: Callable[..., Tensor], trees: list[Any]) -> Any:
    """Return one structure of several alike, its Tensors stacked or joined."""
    if isinstance(trees[0], Tensor):
        return join(trees)
    columns = zip(*[tree_leaves(tree_aligned(tree, trees[0])) for tree in trees], strict=True)
    return tree_rebuilt(trees[0], [join(list(column)) for column in columns])
