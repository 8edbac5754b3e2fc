"""Cells of the user's own over a sequence, and sequences a chunk at a time.

T steps, N batch, S size of a state.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from impl_torch_ext.autograd import checkpoint as checkpointed
from impl_torch_ext.checks import check_flag, check_function, check_size, shown
from impl_torch_ext.module.hooks import without_hooks
from impl_torch_ext.rnn.cell import GRUCell, LSTMCell, RNNCell
from impl_torch_ext.rnn.lengths import by_slice, checked_lengths, checked_mask
from impl_torch_ext.tracing import is_sliced, known_only_later, numbers
from impl_torch_ext.trees import aligned, detach, tree_flatten, tree_map, tree_unflatten

__all__ = ["truncated", "unroll"]


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
    """Run a cell over a sequence: the loop `state = cell(x_t, state)`.

    Parameters
    ----------
    cell : callable
        Takes the input of a step and a state, and returns the new state: a Tensor or a structure
        of them. With methods `project` and `step` it is called by `cell.project(inputs)`, once, and
        `cell.step(projected_t, state)`. With a method `output` the output of a step is
        `cell.output(state)`, else the first Tensor of the new state.
    inputs : Tensor or structure of them, shape (T, ...) each
        With `batch_first` (N, T, ...).
    state : Tensor or structure of them, optional
        The first state. Without it the cell is called with None.
    lengths : N integers, optional
        Where each sequence ends; N is the first axis of each Tensor of a step then. Past its end
        its state stays as it is and its output is 0.
    reset_mask : booleans, shape (T, N), with `batch_first` (N, T), optional
        Where an episode begins, whose first state is `reset_state`, zeros if left out. With it or
        `lengths` a `state` that is left out is zeros (N, S) for each S of `cell.state_size`.
    batch_first : bool
    checkpoint : int or "sqrt", optional
        The states before every so many steps alone are kept, and backward runs the cell again from
        there; "sqrt" is the root of T.

    Returns
    -------
    output : Tensor or structure of them, shape (T, ...) each, with `batch_first` (N, T, ...)
    state
        The last one.

    Raises
    ------
    ValueError, TypeError
        If an argument or what the cell returned does not fit.
    """
    check_function("unroll", "cell", cell)
    batch_first = check_flag("unroll", "batch_first", batch_first)
    sequence = _Sequence(inputs, batch_first)
    size = _segment_length(checkpoint, sequence.steps)
    _check_state("state", state)
    if reset_state is not None and reset_mask is None:  # rnn-38
        msg = (
            "unroll: reset_state must be left out where there is no reset_mask, got "
            f"{shown(reset_state)}"
        )
        raise ValueError(msg)
    if is_sliced(lengths, reset_mask):

        def one(inputs: Any, state: Any, masks: dict[str, Any]) -> Any:
            options: Any = {"batch_first": batch_first, "checkpoint": checkpoint, **masks}
            return unroll(cell, inputs, state, **options)

        masked = {"lengths": lengths, "reset_mask": reset_mask, "reset_state": reset_state}
        result: tuple[Any, Any] = by_slice(cell, one, inputs, state, masked)
        return result
    masks = None
    if lengths is not None or reset_mask is not None:
        masks = _Masks(sequence, lengths, reset_mask, batch_first)
        state = masks.first_state(cell, state)
        reset_state = masks.reset_state(reset_state, state)
    loop = _Loop(cell, reset_state)
    if not sequence.steps:
        output, last = loop.nothing(state), state
    else:
        # A size of the user's may be T, so that each of several sequences keeps next to nothing.
        output, last = loop.run(sequence, masks, state, size, checkpoint == "sqrt")
    return (tree_map(_exchanged, output) if batch_first else output), last


_LEAF = tree_flatten(None)[1]
# Steps whose gradients are put together at once.
_TOGETHER = 64


def _flat(tree: Any) -> tuple[list[Any], Any]:
    """Return the leaves and the structure; torch's way takes as long as a small cell's product."""
    return ([tree], _LEAF) if isinstance(tree, Tensor) else tree_flatten(tree)


def _exchanged(x: Tensor) -> Tensor:
    return x.transpose(0, 1)


def _segment_length(checkpoint: Any, steps: int) -> int | None:
    if checkpoint is None:
        return None
    if isinstance(checkpoint, str):
        if checkpoint == "sqrt":
            return math.isqrt(max(steps - 1, 0)) + 1  # rnn-42
        msg = f"unroll: checkpoint must be None, 'sqrt' or a positive int, got {checkpoint!r}"
        raise ValueError(msg)
    return check_size("unroll", "checkpoint", checkpoint)


class _Sequence:
    """The inputs of a call, with the steps as first axis."""

    def __init__(self, inputs: Any, batch_first: bool) -> None:
        self.leaves, self.structure = _flat(inputs)
        axis, text = (1, "(N, T, ...)") if batch_first else (0, "(T, ...)")
        if not self.leaves:
            _refuse(ValueError, f"inputs must hold a Tensor of shape {text}, got {shown(inputs)}")
        for x in self.leaves:
            if not isinstance(x, Tensor):
                came = type(x).__name__
                _refuse(TypeError, f"inputs must be Tensors of shape {text}, got {came}")
            if x.ndim <= axis:
                _refuse(ValueError, f"inputs must have shape {text}, got {tuple(x.shape)}")
        counts = [x.shape[axis] for x in self.leaves]
        if len({*counts}) > 1:
            _refuse(ValueError, f"inputs must have equal numbers of steps, got {counts}")
        self.steps: int = counts[0]
        if batch_first:
            self.leaves = [_exchanged(x) for x in self.leaves]

    def whole(self) -> Any:
        """Return the inputs in their structure."""
        if self.structure is _LEAF:
            return self.leaves[0]
        return tree_unflatten(self.leaves, self.structure)


def _refuse(error: type[Exception], message: str) -> NoReturn:
    msg = f"unroll: {message}"
    raise error(msg)


def _check_state(argument: str, state: Any) -> None:
    """Raise if a state is neither None nor a Tensor or structure of them."""
    if isinstance(state, Tensor):
        return
    leaves = [] if state is None else tree_flatten(state)[0]
    if state is not None and not leaves:
        _refuse(ValueError, f"{argument} must hold a Tensor, got {shown(state)}")
    for x in leaves:
        if not isinstance(x, Tensor):
            came = type(x).__name__
            _refuse(TypeError, f"{argument} must be a Tensor or a structure of them, got {came}")


def _check_alike(argument: str, state: Any, like: Any) -> Any:
    """Return a state with the keys of dicts in the order of another's, or raise if it is unlike."""
    if isinstance(state, Tensor) and isinstance(like, Tensor):
        pairs = [(state, like)]
    else:
        state = aligned(state, like)
        _check_state(argument, state)
        (leaves, structure), (others, wanted) = tree_flatten(state), tree_flatten(like)
        if structure != wanted:
            came = f"{shown(wanted)}, got {shown(structure)}"
            _refuse(ValueError, f"{argument} must have the structure of the state before, {came}")
        pairs = [*zip(leaves, others, strict=True)]
    for x, y in pairs:
        if x.shape != y.shape:
            came = f"{tuple(y.shape)}, got {tuple(x.shape)}"
            _refuse(ValueError, f"{argument} must have the shape of the state before, {came}")
        if x.dtype is not y.dtype:
            came = f"{y.dtype}, got {x.dtype}"
            _refuse(TypeError, f"{argument} must have the dtype of the state before, {came}")
    return state


class _Masks:
    """Which sequences have a step, and which begin anew there."""

    def __init__(
        self, sequence: _Sequence, lengths: Any, reset_mask: Any, batch_first: bool
    ) -> None:
        steps, self.batch = sequence.steps, self._batch(sequence, batch_first)
        # By step; None where all sequences run, and where none begins anew.
        self.running: list[Tensor | None] = [None] * steps
        self.anew: list[Tensor | None] = [None] * steps
        there = torch.ones((steps, self.batch), dtype=torch.bool)
        if lengths is not None:
            ends = checked_lengths("unroll", lengths, self.batch, steps)
            there = torch.arange(steps).unsqueeze(1) < ends
            for i, x in enumerate(sequence.leaves):  # rnn-41
                sequence.leaves[i] = _where(there, x, torch.zeros((), dtype=x.dtype), 2)
            self.running = [
                None if all_ else row for all_, row in _rows(there, there.all(1), False)
            ]
        if reset_mask is not None:
            shape, text = (steps, self.batch), "(T, N)"
            if batch_first:
                shape, text = (self.batch, steps), "(N, T)"
            marks = checked_mask("unroll", reset_mask, shape, text)
            marks = there & (marks.T if batch_first else marks)
            self.anew = [row if any_ else None for any_, row in _rows(marks, marks.any(1), True)]

    def _batch(self, sequence: _Sequence, batch_first: bool) -> int:
        text = "(N, T, ...)" if batch_first else "(T, N, ...)"
        sizes = [x.shape[1] if x.ndim > 1 else None for x in sequence.leaves]
        if sizes[0] is None or len({*sizes}) > 1:
            shapes = [tuple(x.shape) for x in sequence.leaves]
            _refuse(
                ValueError, f"inputs must have shape {text} with one N beside lengths, got {shapes}"
            )
        return sizes[0]

    def first_state(self, cell: Any, state: Any) -> Any:
        """Return the state after its checks, zeros for None."""
        if state is None:
            sizes = getattr(cell, "state_size", None)
            if sizes is None:
                _refuse(ValueError, "state must be given where cell has no state_size, got None")
            floating = [p.dtype for p in _parameters(cell) if p.is_floating_point()]
            dtype = floating[0] if floating else torch.float32
            return tree_map(lambda size: torch.zeros((self.batch, size), dtype=dtype), sizes)
        for x in tree_flatten(state)[0]:
            if x.ndim == 0 or x.shape[0] != self.batch:
                wanted = f"(N, ...) = ({self.batch}, ...)"
                _refuse(ValueError, f"state must have shape {wanted}, got {tuple(x.shape)}")
        return state

    def reset_state(self, reset_state: Any, state: Any) -> Any:
        """Return what an episode begins with, after its checks."""
        if reset_state is None:
            return tree_map(torch.zeros_like, state)
        return _check_alike("reset_state", reset_state, state)


def _rows(mask: Tensor, summary: Tensor, unknown: bool) -> Iterable[tuple[bool, Tensor]]:
    """Return each row of a mask with what sums it up, `unknown` while a compiler looks on."""
    summaries = [unknown] * len(mask) if known_only_later() else numbers(summary).tolist()
    return zip(summaries, mask.unbind(), strict=True)


def _parameters(cell: Any) -> Iterable[Tensor]:
    return cell.parameters() if isinstance(cell, torch.nn.Module) else ()


def _where(mask: Tensor, x: Tensor, y: Tensor, axes: int = 1) -> Tensor:
    """Return `x` where the mask, over the first axes, is true, else `y`."""
    return torch.where(mask.reshape(mask.shape + (1,) * (x.ndim - axes)), x, y)


def _method(cell: Any, name: str) -> Any:
    """Return a method of a cell, None if it has none; a Module below it is none."""
    method = getattr(cell, name, None)
    return None if isinstance(method, torch.nn.Module) or not callable(method) else method


class _Loop:
    """The steps of one call."""

    def __init__(self, cell: Any, reset_state: Any) -> None:
        project, step = _method(cell, "project"), _method(cell, "step")
        in_two = project is not None and step is not None
        self._project = project if in_two else None
        self._step = step if in_two else without_hooks(cell)
        self._output_of = _method(cell, "output")
        self._reset_state = reset_state
        self._structure: Any = None
        # Of these a Function runs all steps at once, with the same results.
        self._whole = cell._sequence if type(cell) in (RNNCell, LSTMCell, GRUCell) else None

    def nothing(self, state: Any) -> Any:
        """Return the output of no steps."""
        if state is None:
            _refuse(ValueError, "state must be given where there are no steps, got None")
        return tree_map(lambda y: y.unsqueeze(0)[:0], self._output(state))

    def run(
        self,
        sequence: _Sequence,
        masks: _Masks | None,
        state: Any,
        size: int | None,
        keeps_end: bool,
    ) -> tuple[Any, Any]:
        """Return the output and the last state; of `size` steps the first state alone is kept.

        Where it `keeps_end` all is kept of the last ones, with which backward begins.
        """
        steps, leaves, self._structure = sequence.steps, sequence.leaves, sequence.structure
        if masks is not None or not isinstance(sequence.whole(), Tensor):
            self._whole = None
        if self._project is not None and self._whole is None:
            leaves, self._structure = _flat(self._project(sequence.whole()))
            for x in leaves:
                if isinstance(x, Tensor) and tuple(x.shape[:1]) != (steps,):  # rnn-44
                    text = f"what project returns must have shape ({steps}, ...)"
                    _refuse(ValueError, f"{text}, got {tuple(x.shape)}")
        none = [None] * steps
        running, anew = (none, none) if masks is None else (masks.running, masks.anew)
        if size is None:
            return self._segment(running, anew, leaves, state)
        outputs = []
        for i, parts in enumerate(zip(*(x.split(size) for x in leaves), strict=True)):
            span = slice(i * size, i * size + size)
            # Lists of None are not worth the look for Tensors in them.
            segment = partial(self._segment, running[span], anew[span])
            if keeps_end and span.stop >= steps:
                output, state = segment([*parts], state)
            else:
                output, state = checkpointed(segment, [*parts], state)
            outputs.append(output)
        return tree_map(lambda *rows: torch.cat(rows), *outputs), state

    def _segment(
        self,
        running: list[Tensor | None],
        anew: list[Tensor | None],
        leaves: list[Tensor],
        state: Any,
    ) -> tuple[Any, Any]:
        """Return the output and the last state of some steps."""
        if self._whole is not None:
            output, last = self._whole(leaves[0], state)
            return output, _checked(last, state)
        outputs = []
        step = self._step
        for x_t, there, marked in zip(self._inputs(leaves), running, anew, strict=True):
            before = state if marked is None else _chosen(marked, self._reset_state, state)
            state = _checked(step(x_t, before), before)
            output = self._output(state)
            if there is not None:  # rnn-41
                state = _chosen(there, state, before)
                output = tree_map(lambda y, m=there: _where(m, y, y.new_zeros(())), output)
            outputs.append(output)
        return _stacked(outputs), state

    def _inputs(self, leaves: list[Tensor]) -> Iterator[Any]:
        """Yield the input of each step.

        The gradients of the steps that one node takes apart are all kept until backward reaches
        that node, each in memory of its own, between which what larger arrays leave stays in
        pieces. So each node takes a few, and is made when the loop comes there: backward goes
        through the nodes in the opposite order.
        """
        few = leaves[0].shape[0] <= _TOGETHER
        for parts in [leaves] if few else zip(*(x.split(_TOGETHER) for x in leaves), strict=True):
            if self._structure is _LEAF:
                yield from parts[0].unbind()
                continue
            for row in zip(*(part.unbind() for part in parts), strict=True):
                yield tree_unflatten(row, self._structure)

    def _output(self, state: Any) -> Any:
        if self._output_of is not None:
            return self._output_of(state)
        return state if isinstance(state, Tensor) else tree_flatten(state)[0][0]


_RETURNED = "the state that cell returns"


def _checked(new: Any, before: Any) -> Any:
    """Return a new state, or raise if it does not fit the one before."""
    single = isinstance(new, Tensor) and isinstance(before, Tensor)
    if single and new.shape == before.shape and new.dtype is before.dtype:
        return new
    if new is None:
        _refuse(TypeError, f"{_RETURNED} must be a Tensor or a structure of them, got None")
    if before is None:
        _check_state(_RETURNED, new)
        return new
    return _check_alike(_RETURNED, new, before)


def _chosen(mask: Tensor, first: Any, second: Any) -> Any:
    """Return the Tensors of the first structure where the mask is true, else of the second."""
    return tree_map(lambda x, y: _where(mask, x, y), first, second)


def _stacked(outputs: list[Any]) -> Any:
    """Return the outputs of steps as rows."""
    if all(isinstance(y, Tensor) for y in outputs) and len({y.shape for y in outputs}) == 1:
        return torch.stack(outputs)
    columns: list[list[Tensor]] = []
    structure = tree_flatten(outputs[0])[1]
    for output in outputs:
        leaves, other = tree_flatten(output)
        alike = other == structure and all(isinstance(y, Tensor) for y in leaves)
        if not alike or (columns and [y.shape for y in leaves] != [y.shape for y in columns[0]]):
            wanted = "must be Tensors of the same structure and shapes at every step"
            _refuse(ValueError, f"what cell.output returns {wanted}, got {shown(output)}")
        columns.append(leaves)
    rows = [torch.stack(column) for column in zip(*columns, strict=True)]
    return tree_unflatten(rows, structure)


def truncated(
    module: Callable[..., Any], chunks: Iterable[Any], hx: Any = None
) -> Iterator[tuple[Any, Any]]:
    """Run a module over the chunks of a sequence, the gradient of each stopping at its first step.

    Source: R. J. Williams, J. Peng: An efficient gradient-based algorithm for on-line training of
    recurrent network trajectories. Neural Computation 2, 1990.

    Parameters
    ----------
    module : callable
        A recurrent layer, or what takes a chunk and `hx` and returns a pair, the second a Tensor
        or a structure of them.
    chunks : iterable
        Tensors, or dicts of the module's arguments by name, read one at a time.
    hx : Tensor or structure of them, optional
        The state before the first chunk.

    Yields
    ------
    output, hx
        What the module returned; it goes on with `hx` detached.

    Raises
    ------
    TypeError, ValueError
        If an argument, a chunk or a result is of another kind, or a chunk holds an `hx`.
    """
    check_function("truncated", "module", module)
    try:
        given = iter(chunks)
    except TypeError:
        msg = f"truncated: chunks must be an iterable, got {type(chunks).__name__}"
        raise TypeError(msg) from None
    return _results(module, given, hx)


def _results(module: Any, chunks: Iterator[Any], hx: Any) -> Iterator[tuple[Any, Any]]:
    for chunk in chunks:
        result = module(chunk, hx) if isinstance(chunk, Tensor) else module(**_named(chunk), hx=hx)
        if not isinstance(result, tuple | list) or len(result) != 2:
            wanted = "must return a pair of an output and a state"
            msg = f"truncated: module {wanted}, got {shown(result)}"
            raise (ValueError if isinstance(result, tuple | list) else TypeError)(msg)
        output, hx = result
        states = tree_flatten(hx)[0]
        if not states or not all(isinstance(state, Tensor) for state in states):
            msg = f"truncated: the state must be a Tensor or a structure of them, got {shown(hx)}"
            raise TypeError(msg)
        yield output, hx
        hx = detach(hx)


def _named(chunk: Any) -> dict[str, Any]:
    """Return a chunk that is arguments by name, or raise."""
    if not isinstance(chunk, dict) or not all(isinstance(name, str) for name in chunk):
        wanted = "must be a Tensor or a dict of arguments by name"
        msg = f"truncated: each chunk {wanted}, got {shown(chunk)}"
        raise TypeError(msg)
    if "hx" in chunk:
        msg = f"truncated: a chunk must hold no hx, got {shown([*chunk])}"
        raise ValueError(msg)
    return chunk
