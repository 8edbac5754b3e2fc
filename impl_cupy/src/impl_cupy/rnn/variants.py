"""More cells: with layer normalization, with peepholes, and two that wrap another cell.

N, I, H are batch, input size, hidden size.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from impl_cupy import random
from impl_cupy.autograd.transforms import beside
from impl_cupy.backend import cp
from impl_cupy.checks import check_at_least_zero, check_fraction, shown, type_name
from impl_cupy.dtypes import DTypeLike
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.nn.dropout import drawn, selected
from impl_cupy.nn.layer import Layer, uniform
from impl_cupy.nn.linear import LinearFunction
from impl_cupy.nn.norm import LayerNorm
from impl_cupy.ops.activation import sigmoid, tanh
from impl_cupy.ops.elementwise import where
from impl_cupy.ops.manipulation import broadcast_to, concat, squeeze
from impl_cupy.recording import as_tensor
from impl_cupy.rnn.cell import Cell
from impl_cupy.rnn.fused import GRUGates
from impl_cupy.sums import total
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor
from impl_cupy.trees import flatten, rebuilt


class _Memory(Function):
    """``c' = f c + i g``, and the argument of o; see `equations.lstm` for the gates.

    Inputs: what comes from x and from h, (N, 4 H), c (N, H), and the weights of peepholes (3 H,) or
    None. Outputs: c after and o's argument, (N, H).
    """

    _is_ours = True
    _called = "LSTM"

    @staticmethod
    def forward(ctx: Any, from_x: Any, from_h: Any, c: Any, weight_ch: Any) -> tuple[Any, Any]:
        """Run one kernel."""
        from_x, from_h, c = map(cp.ascontiguousarray, (from_x, from_h, c))
        after, sum_o = cp.empty_like(c), cp.empty_like(c)
        gates = cp.empty((c.shape[0], 3 * c.shape[1]), dtype=c.dtype)
        has_peepholes = weight_ch is not None
        weight = cp.ascontiguousarray(weight_ch) if has_peepholes else c
        arrays = (from_x, from_h, weight, c, gates, after, sum_o, has_peepholes)
        launch("rnn", "memory_forward", c.dtype, c.size, *arrays, c.shape[1])
        ctx.save_for_backward(gates, weight, c, after)
        ctx.has_peepholes = has_peepholes
        return after, sum_o

    @staticmethod
    def backward(ctx: Any, grad_after: Any, grad_o: Any) -> tuple[Any, ...]:
        """Run one kernel; weights' gradients are added up over the batch."""
        gates, weight, c, after = ctx.saved_tensors
        sums = cp.empty((c.shape[0], 4 * c.shape[1]), dtype=c.dtype)
        to_c, parts = cp.empty_like(c), gates
        if ctx.has_peepholes:
            parts = cp.empty_like(gates)
        grads = map(cp.ascontiguousarray, (grad_after, grad_o))
        arrays = (gates, weight, c, after, *grads, sums, to_c, parts, ctx.has_peepholes)
        launch("rnn", "memory_backward", c.dtype, c.size, *arrays, c.shape[1])
        to_weight = total(parts, axis=0) if ctx.needs_input_grad[3] else None
        to_x, to_h, *_ = ctx.needs_input_grad
        # Either may be a leaf, which keeps what it gets.
        return sums, sums.copy() if to_x and to_h else sums, to_c, to_weight

    @staticmethod
    def composite(from_x: Tensor, from_h: Tensor, c: Tensor, weight_ch: Any) -> tuple[Any, Any]:
        """Do the same on Tensors."""
        i, f, g, o = _cut(from_x + from_h, c.shape[1])
        if weight_ch is None:
            return sigmoid(f) * c + sigmoid(i) * tanh(g), o
        by_i, by_f, by_o = _cut(weight_ch, c.shape[1])
        after = sigmoid(f + by_f * c) * c + sigmoid(i + by_i * c) * tanh(g)
        return after, o + by_o * after


class _Gated(Function):
    """``h = o tanh(x)`` of o's argument and x, (N, H): with the digits of a gate nearly shut."""

    _is_ours = True
    _called = "LSTM"

    @staticmethod
    def forward(ctx: Any, sum_o: Any, x: Any) -> Any:
        """Run one kernel."""
        sum_o, x = cp.ascontiguousarray(sum_o), cp.ascontiguousarray(x)
        h = cp.empty_like(x)
        launch("rnn", "gated_forward", x.dtype, x.size, sum_o, x, h)
        ctx.save_for_backward(sum_o, x)
        return h

    @staticmethod
    def backward(ctx: Any, grad: Any) -> tuple[Any, Any]:
        """Run one kernel."""
        sum_o, x = ctx.saved_tensors
        to_o, to_x, grad = cp.empty_like(x), cp.empty_like(x), cp.ascontiguousarray(grad)
        launch("rnn", "gated_backward", x.dtype, x.size, sum_o, x, grad, to_o, to_x)
        return to_o, to_x

    @staticmethod
    def composite(sum_o: Tensor, x: Tensor) -> Tensor:
        """Do the same on Tensors."""
        return sigmoid(sum_o) * tanh(x)


def _cut(sums: Tensor, size: int) -> list[Tensor]:
    """Take the gates apart."""
    return [sums[..., at : at + size] for at in range(0, sums.shape[-1], size)]


class _Variant(Cell):
    """A cell whose step is more than a product and a kernel."""

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Make a step.

        Parameters
        ----------
        input : Tensor, shape (N, I) or (I,)
        hx : Tensor, shape (N, H) or (H,), or a pair of them, optional
            The state, of an LSTM ``(h, c)``; zeros if left out.

        Returns
        -------
        Tensor or tuple of Tensor
            The state after.

        Raises
        ------
        ValueError
            If a shape does not fit, or `hx` is no pair where one is wanted.
        TypeError
            If a dtype is not the parameters'.
        """
        return self.step(self.project(self._sized(input, "(N, I)", 2, "(I,)")), hx)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Make a step of what `project` has made of its input; see `RNNCell.step`."""
        rows, batched = self._projected(projected)
        states = self._each(hx, rows, batched)
        source = self._recurrent(recurrent, states[0], rows, batched)
        from_h = LinearFunction.apply(source, self.weight_hh, None)
        after = self._after(rows, from_h, *states)
        after = after if batched else tuple(squeeze(state, 0) for state in after)
        return after[0] if len(after) == 1 else after

    def _after(self, from_x: Tensor, from_h: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return the states after, (N, H), of ``W_hh h`` and what `project` made."""
        raise NotImplementedError


class _NormedCell(_Variant):
    """A cell with a `LayerNorm` behind each product."""

    _has_norms = True
    _norms: ClassVar[dict[str, int]]
    """How many gates each of the Modules goes over."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        *,
        dtype: DTypeLike = None,
    ) -> None:
        check_at_least_zero(type(self).__name__, "eps", eps)
        super().__init__(input_size, hidden_size, dtype, bias=bias, eps=eps)
        for name, gates in self._norms.items():
            norm = LayerNorm(gates * self.hidden_size, eps, bias=self.bias, dtype=dtype)
            self.register_module(name, norm)

    def _input_bias(self) -> None:
        return None


class LayerNormLSTMCell(_NormedCell):
    """An LSTM with the gates of ``norm_ih(W_ih x) + norm_hh(W_hh h)``; ``h' = o tanh(norm_c(c'))``.

    Gates lie in the order i, f, g, o. Source: Ba, Kiros and Hinton, "Layer normalization", 2016,
    equations 20 to 22 of the supplement.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
        Whether the Modules have biases.
    eps : float
        That of the Modules, at least 0.
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (4 H, I) and (4 H, H)
    norm_ih, norm_hh, norm_c : LayerNorm
        Over the four gates together, and over c.
    """

    gates = 4
    _states = ("h", "c")
    _norms: ClassVar = {"norm_ih": 4, "norm_hh": 4, "norm_c": 1}

    def project(self, input: Any) -> Tensor:
        """Compute ``norm_ih(W_ih x)``, shape (*, 4 H), of an input (*, I)."""
        made: Tensor = self.norm_ih(super().project(input))
        return made

    def _after(self, from_x: Tensor, from_h: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        c, sum_o = _Memory.apply(from_x, self.norm_hh(from_h), states[1], None)
        return _Gated.apply(sum_o, self.norm_c(c)), c


class LayerNormGRUCell(_NormedCell):
    """A GRU with ``r, z = sigmoid(norm_ih(W_ih x) + norm_hh(W_hh h))``, of both rows together.

    ``n = tanh(norm_in(W_in x) + r norm_hn(W_hn h))``, ``h' = (1 - z) n + z h``. Gates lie in the
    order r, z, n. Source: Ba, Kiros and Hinton 2016, equations 23 to 25 of the supplement, whose
    gate z is ``1 - z`` here.

    Parameters
    ----------
    input_size, hidden_size, bias, eps, dtype
        As for `LayerNormLSTMCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (3 H, I) and (3 H, H)
    norm_ih, norm_hh, norm_in, norm_hn : LayerNorm
        The first two over r and z together, the others over n.
    """

    gates = 3
    _norms: ClassVar = {"norm_ih": 2, "norm_hh": 2, "norm_in": 1, "norm_hn": 1}

    def project(self, input: Any) -> Tensor:
        """Compute ``norm_ih(W_ih x)`` and ``norm_in(W_in x)``, shape (*, 3 H), of (*, I)."""
        sums, split = super().project(input), 2 * self.hidden_size
        parts = [self.norm_ih(sums[..., :split]), self.norm_in(sums[..., split:])]
        return concat(parts, axis=-1)

    def _after(self, from_x: Tensor, from_h: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        split = 2 * self.hidden_size
        parts = [self.norm_hh(from_h[:, :split]), self.norm_hn(from_h[:, split:])]
        after: Tensor = GRUGates.apply(from_x, concat(parts, axis=1), None, states[0])
        return (after,)


class PeepholeLSTMCell(_Variant):
    """An LSTM whose gates i and f see the old c, and o the new one.

    To their arguments are added ``w_i c``, ``w_f c`` and ``w_o c'``, element by element. Source:
    Gers, Schraudolph and Schmidhuber, "Learning precise timing with LSTM recurrent networks", 2002.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (4 H, I) and (4 H, H)
    bias_ih, bias_hh : Parameter or None, shape (4 H,)
    weight_ch : Parameter, shape (3 H,)
        In the order i, f, o.
    """

    gates = 4
    _states = ("h", "c")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, dtype, bias=bias)
        draw = uniform(1 / math.sqrt(self.hidden_size))
        self._parameter("weight_ch", (3 * self.hidden_size,), draw)

    def _after(self, from_x: Tensor, from_h: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        c, sum_o = _Memory.apply(from_x, from_h, states[1], self.weight_ch)
        return _Gated.apply(sum_o, c), c


class _Wrapper(Layer):
    """A cell around another one.

    Parameters
    ----------
    cell : Module
        Has `project`, `step` and `state_size`.
    p : number, or one for each state
    """

    def __init__(self, cell: Any, p: Any) -> None:
        name = type(self).__name__
        wanted = ("project", "step", "parameters")
        sizes = getattr(cell, "state_size", None)
        is_cell = all(callable(getattr(cell, method, None)) for method in wanted)
        if not is_cell or not _are_sizes(sizes):
            msg = (
                f"{name}: cell must be a Module with project, step and an int or a tuple of ints "
                f"as state_size, got {type_name(cell)}"
            )
            raise TypeError(msg)
        super().__init__(p=p)
        self.register_module("cell", cell)

    @property
    def state_size(self) -> Any:
        """That of the cell inside."""
        return self.cell.state_size

    @property
    def _sizes(self) -> tuple[int, ...]:
        return tuple(flatten(self.state_size))

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Make a step; arguments and result are those of the cell inside."""
        return self.step(self.project(input), hx)

    def project(self, input: Any) -> tuple[Any, Any]:
        """Let the cell inside compute its part of an input, and draw for it.

        Returns
        -------
        tuple
            What the cell returns, and what was drawn, None in evaluation.
        """
        axes = as_tensor(type(self).__name__, input).shape[:-1]
        return self.cell.project(input), self._drawn(axes) if self.training else None

    def _drawn(self, axes: tuple[int, ...]) -> Any:
        """Draw masks for an input with these axes before the last."""
        raise NotImplementedError

    def _parts(self, projected: Any) -> tuple[Any, Any]:
        if not isinstance(projected, (tuple, list)) or len(projected) != 2:
            msg = (
                f"{type(self).__name__}: projected must be a pair, what project returns of one "
                f"step's input, got {shown(projected)}"
            )
            raise ValueError(msg)
        return projected[0], projected[1]

    def _inner(self, projected: Any, hx: Any, recurrent: Any) -> Any:
        # A cell of the user's own may have no such argument.
        given = {} if recurrent is None else {"recurrent": recurrent}
        return self.cell.step(projected, hx, **given)


def _are_sizes(sizes: Any) -> bool:
    parts = sizes if isinstance(sizes, tuple) else (sizes,)
    return bool(parts) and all(type(part) is int for part in parts)


class ZoneoutCell(_Wrapper):
    """A cell whose states keep some of their old elements.

    In training an element of a new state is the old one with probability `p`; in evaluation it is
    ``p * old + (1 - p) * new``. Source: Krueger et al., "Zoneout", 2017.

    Parameters
    ----------
    cell : Module
        Has `project`, `step` and `state_size`.
    p : float, or one for each state
        From 0 to 1.

    Raises
    ------
    TypeError
        If `cell` lacks something, or `p` holds no numbers.
    ValueError
        If `p` is outside, or holds another number of them than the cell has states.
    """

    def __init__(self, cell: Any, p: Any = 0.1) -> None:
        for part in p if isinstance(p, (tuple, list)) else (p,):
            check_fraction("ZoneoutCell", "p", part)
        super().__init__(cell, tuple(p) if isinstance(p, list) else p)
        if isinstance(self.p, tuple) and len(self.p) != len(self._sizes):
            msg = f"ZoneoutCell: p must hold {len(self._sizes)} numbers, got {shown(p)}"
            raise ValueError(msg)

    @property
    def _each(self) -> tuple[float, ...]:
        return self.p if isinstance(self.p, tuple) else (self.p,) * len(self._sizes)

    def _drawn(self, axes: tuple[int, ...]) -> tuple[Tensor | None, ...]:
        return tuple(
            wrap(cp.asarray(random.uniform((*axes, size)) < p)) if p else None
            for size, p in zip(self._sizes, self._each, strict=True)
        )

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Make a step of what `project` has made of its input, in the mode that it was in then.

        Parameters
        ----------
        projected : tuple
        hx, recurrent
            As for the cell inside.

        Returns
        -------
        Tensor or tuple of Tensor
            The state after.
        """
        part, masks = self._parts(projected)
        if masks is not None and not isinstance(masks, (tuple, list)):
            msg = f"ZoneoutCell: projected must hold the masks of project, got {shown(masks)}"
            raise ValueError(msg)
        new = self._inner(part, hx, recurrent)
        news = list(beside("ZoneoutCell", "a new state", self.state_size, new))
        olds = [0.0] * len(news) if hx is None else flatten(hx)
        if masks is None:
            each = zip(news, olds, self._each, strict=True)
            return rebuilt(new, [n * (1 - p) + o * p if p else n for n, o, p in each])
        chosen = zip(masks, olds, news, strict=True)
        return rebuilt(new, [n if mask is None else where(mask, o, n) for mask, o, n in chosen])


class RecurrentDropoutCell(_Wrapper):
    """A cell whose recurrent product sees h with elements dropped, the same ones at every step.

    Source: Gal and Ghahramani, "A theoretically grounded application of dropout in recurrent neural
    networks", 2016.

    Parameters
    ----------
    cell : Module
        Has `project`, `step`, which takes `recurrent`, and `state_size`.
    p : float
        From 0 to 1; in evaluation nothing is dropped.

    Raises
    ------
    TypeError
        If `cell` lacks something, or `p` is no number.
    ValueError
        If `p` is outside.
    """

    def __init__(self, cell: Any, p: float = 0.5) -> None:
        check_fraction("RecurrentDropoutCell", "p", p)
        super().__init__(cell, p)

    def _drawn(self, axes: tuple[int, ...]) -> Tensor | None:
        if not self.p:
            return None
        size = self._sizes[0]
        # One mask for all steps, where there are any before the batch.
        kept = drawn((*axes[-1:], size), self.p)
        return kept if len(axes) < 2 else broadcast_to(kept, (*axes, size))

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Make a step of what `project` has made of its input, in the mode that it was in then.

        Parameters
        ----------
        projected : tuple
        hx
            As for the cell inside.
        recurrent : Tensor, optional
            What has elements dropped in the place of h.

        Returns
        -------
        Tensor or tuple of Tensor
            The state after.
        """
        part, kept = self._parts(projected)
        # A state of the wrong form is the inner cell's to refuse.
        state = flatten(hx)
        source = state[0] if recurrent is None and state else recurrent
        if kept is None or source is None:
            return self._inner(part, hx, recurrent)
        value = as_tensor("RecurrentDropoutCell: h", source)
        if value.shape != kept.shape:
            msg = f"RecurrentDropoutCell: h must have shape {kept.shape}, got {value.shape}"
            raise ValueError(msg)
        return self._inner(part, hx, selected(value, kept, self.p))
