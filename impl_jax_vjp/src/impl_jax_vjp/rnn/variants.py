"""Further cells, and cells around another cell; each in two parts, `project` and `step`.

N batch, I input size, H hidden size.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp

from .. import ops
from ..checks import check_int, check_probability, refuse, refuse_type
from ..nn.dropout import below, dropped
from ..nn.layer import Layer
from ..nn.norm import LayerNorm, check_eps
from ..ops.formulas import sigmoid
from ..recording import Primitive, as_operand, shape_of
from ..tape import wrap
from ..tensor import Tensor
from . import equations as R
from .cell import Cell, GRUCell, LSTMCell, Recurrent, product, projection

Array = Any


def _gated(a: Array, from_h: Array, c: Array) -> tuple[Array, Array]:
    """Return the output gate and c' of an LSTM."""
    i, f, _, o = R.split_gates(sigmoid(a + from_h), 4)
    return o, f * c + i * R.tanh(R.split_gates(a + from_h, 4)[2])


def _gru(a: Array, gates: Array, candidate: Array, h: Array) -> Array:
    return R.gru_step(a, jnp.concatenate([gates, candidate], axis=-1), h)[0]


def _peephole(
    name: str, rows: int, a: Array, r: Array, c: Array, w_hh: Array, w_ch: Array
) -> tuple[Array, Array]:
    a = a + product(name, "weight_hh", rows, r, w_hh)
    ai, af, ag, ao = R.split_gates(a, 4)
    w_i, w_f, w_o = R.split_gates(w_ch, 3)
    new = sigmoid(af + w_f * c) * c + sigmoid(ai + w_i * c) * R.tanh(ag)
    return sigmoid(ao + w_o * new) * R.tanh(new), new


_normed_gates = Primitive(_gated, "LayerNormLSTMCell")
_normed_output = Primitive(lambda o, c: o * R.tanh(c), "LayerNormLSTMCell")
_normed_gru = Primitive(_gru, "LayerNormGRUCell")
_peephole_rest = Primitive(_peephole, "PeepholeLSTMCell")
_halves = Primitive(lambda size, x: (x[..., :size], x[..., size:]), "LayerNormGRUCell")


class _Normed(Cell):
    """The parameters of a cell with layer normalization, and its call in two parts."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        *,
        dtype: Any = None,
    ) -> None:
        Recurrent.__init__(self, input_size, hidden_size, bias, dtype)
        size, bound = self.hidden_size, 1.0 / math.sqrt(self.hidden_size)
        self.eps = check_eps(type(self).__name__, eps)
        self._uniform("weight_ih", (self._gates * size, self.input_size), bound)
        self._uniform("weight_hh", (self._gates * size, size), bound)
        for name, count in self._norms.items():
            norm = LayerNorm(count * size, self.eps, bias=self.bias, dtype=dtype)
            self.add_module(name, norm)

    _norms: ClassVar[dict[str, int]]
    _inner_biases: ClassVar[tuple[str, ...]] = ()
    _options: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias?", "eps?")

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return the new state of input (N, I) and the old one, zeros if left out; N optional."""
        x = as_operand(type(self).__name__, input)
        batched = len(shape_of(x)) != 1
        wanted = (None, self.input_size) if batched else (self.input_size,)
        x = self._check("input", x, wanted, "(N, I)" if batched else "(I,)")
        return self.step(self.project(x), hx)

    def _from_h(self, r: Any) -> Any:
        rows = self._gates * self.hidden_size
        return projection((r, self.weight_hh), type(self).__name__, "weight_hh", rows)


class LayerNormLSTMCell(_Normed, LSTMCell):
    """One step of an LSTM whose gates and c are normalized.

    ``i, f, g, o`` of ``norm_ih(W_ih x) + norm_hh(W_hh h)``, ``c' = f c + i g``,
    ``h' = o tanh(norm_c(c'))``; Ba, Kiros and Hinton 2016, equations 20 to 22 of the supplement.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
        Whether the norms have biases.
    eps : float
        That of the norms.
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (4·H, I), (4·H, H)
    norm_ih, norm_hh, norm_c : LayerNorm
        Over 4·H, 4·H and H numbers.
    """

    _norms: ClassVar[dict[str, int]] = {"norm_ih": 4, "norm_hh": 4, "norm_c": 1}

    def project(self, input: Any) -> Any:
        """Return ``norm_ih(W_ih x)``, (*, 4·H) of input (*, I)."""
        return self.norm_ih(super().project(input))

    def step(
        self, projected: Any, hx: Any = None, *, recurrent: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return (h', c') of what `project` returned, (N, 4·H), and (h, c); see `LSTMCell`."""
        a, r, c = self._parts(projected, hx, recurrent)
        o, c = _normed_gates((a, self.norm_hh(self._from_h(r)), c))
        return _normed_output((o, self.norm_c(c))), c


class LayerNormGRUCell(_Normed, GRUCell):
    """One step of a GRU whose gates and candidate are normalized.

    ``r, z`` of ``norm_ih(W_ih x) + norm_hh(W_hh h)``, ``h' = (1 - z) n + z h``,
    ``n = tanh(norm_in(W_in x) + r norm_hn(W_hn h))``; Ba, Kiros and Hinton 2016, equations 23 to 25
    of the supplement.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
        Whether the norms have biases.
    eps : float
        That of the norms.
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (3·H, I), (3·H, H)
    norm_ih, norm_hh, norm_in, norm_hn : LayerNorm
        Over 2·H, 2·H, H and H numbers.
    """

    _norms: ClassVar[dict[str, int]] = {"norm_ih": 2, "norm_hh": 2, "norm_in": 1, "norm_hn": 1}

    def project(self, input: Any) -> Any:
        """Return ``norm_ih`` and ``norm_in`` of ``W_ih x``, (*, 3·H) of input (*, I)."""
        gates, candidate = _halves((super().project(input),), 2 * self.hidden_size)
        return ops.concat([self.norm_ih(gates), self.norm_in(candidate)], axis=-1)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Tensor:
        """Return h', shape (N, H), of what `project` returned, (N, 3·H); see `GRUCell`."""
        a, r, h = self._rest(projected, {"h": hx}, recurrent)
        gates, candidate = _halves((self._from_h(r),), 2 * self.hidden_size)
        return _normed_gru((a, self.norm_hh(gates), self.norm_hn(candidate), h))


class PeepholeLSTMCell(LSTMCell):
    """One step of an LSTM whose gates see c: i and f the old one, o the new one.

    ``w_i c``, ``w_f c`` and ``w_o c'`` are added to what the gates' sigmoids are taken of; Gers,
    Schraudolph and Schmidhuber 2002.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (4·H, I), (4·H, H)
    bias_ih, bias_hh : Parameter, shape (4·H,), or None
    weight_ch : Parameter, shape (3·H,)
        In rows ordered i, f, o.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self._uniform("weight_ch", (3 * self.hidden_size,), 1.0 / math.sqrt(self.hidden_size))

    forward = _Normed.forward

    def step(
        self, projected: Any, hx: Any = None, *, recurrent: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return (h', c') of what `project` returned, (N, 4·H), and (h, c); see `LSTMCell`."""
        operands = (*self._parts(projected, hx, recurrent), self.weight_hh, self.weight_ch)
        return _peephole_rest(operands, type(self).__name__, 4 * self.hidden_size)


class _Around(Layer):
    """A cell around another cell, whose state it has."""

    _options = ("p=",)

    def __init__(self, cell: Any) -> None:
        super().__init__()
        name = type(self).__name__
        parts = (getattr(cell, "project", None), getattr(cell, "step", None))
        if isinstance(cell, type) or not all(map(callable, parts)):
            refuse_type(name, "cell", "a cell with project and step", cell)
        size = getattr(cell, "state_size", None)
        self._sizes = tuple([check_int(name, "state_size of cell", part) for part in _listed(size)])
        self.cell = cell

    @property
    def state_size(self) -> Any:
        """That of the cell."""
        return self.cell.state_size

    @property
    def starts_at_zero(self) -> bool:
        """Whether a state that is left out stands for zeros."""
        return getattr(self.cell, "starts_at_zero", False)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Return the new state of an input and the old state, as the cell does."""
        return self.step(self.project(input), hx)

    def _own(self, projected: Any, masks: int) -> tuple[Any, Sequence[Any]]:
        """Return the cell's part of what `project` returned, and the masks."""
        name, wanted = type(self).__name__, "what its own project returned in the same mode"
        pair = isinstance(projected, tuple) and len(projected) == 2
        if not pair or not isinstance(projected[1], tuple):
            refuse_type(name, "projected", wanted, projected)
        if len(projected[1]) != masks:
            refuse(name, "projected", wanted, f"{len(projected[1])} masks in the place of {masks}")
        return projected


def _listed(value: Any) -> tuple[Any, ...]:
    """Return a structure of states, or of their sizes, as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


class ZoneoutCell(_Around):
    """A cell of whose new states some elements keep their old values (Krueger et al. 2017).

    In training chance chooses them; in evaluation a state is ``p * old + (1 - p) * new``.

    Parameters
    ----------
    cell : Module
        With `project`, `step` and `state_size`.
    p : float or tuple of float
        The probability, one for all states or one for each.

    Raises
    ------
    TypeError
        If the cell lacks one of these.
    ValueError
        If a `p` is outside [0, 1], or their number is not that of the states.
    """

    def __init__(self, cell: Any, p: Any = 0.1) -> None:
        super().__init__(cell)
        several = isinstance(p, tuple | list)
        listed = [check_probability("ZoneoutCell", "p", part) for part in _listed(p)]
        if several and len(listed) != len(self._sizes):
            wanted = f"a number, or {len(self._sizes)}, one for each state"
            refuse("ZoneoutCell", "p", wanted, f"{len(listed)}")
        self.p = tuple(listed) if several else listed[0]

    def _each(self) -> tuple[float, ...]:
        return self.p if isinstance(self.p, tuple) else (self.p,) * len(self._sizes)

    def project(self, input: Any) -> Any:
        """Return what the cell's `project` does, and where each state keeps its old values."""
        projected = self.cell.project(input)
        lead = shape_of(as_operand("ZoneoutCell", input))[:-1]
        pairs = zip(self._each(), self._sizes, strict=True)
        masks = [wrap(below(p, (*lead, s), input)) for p, s in pairs if p and self.training]
        return projected, tuple(masks)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Return the new state of what `project` returned and the old one; see the cell's."""
        chances = self._each()
        inner, masks = self._own(projected, sum(map(bool, chances)) if self.training else 0)
        state = self.cell.step(inner, hx, recurrent=recurrent)
        news, rest = _listed(state), iter(masks)
        olds = [new * 0 for new in news] if hx is None else _listed(hx)
        mixed = [
            self._mixed(p, old, new, next(rest, None)) if p else new
            for p, old, new in zip(chances, olds, news, strict=True)
        ]
        return type(state)(mixed) if isinstance(state, tuple | list) else mixed[0]

    def _mixed(self, p: float, old: Any, new: Any, mask: Any) -> Any:
        return p * old + (1 - p) * new if mask is None else ops.where(mask, old, new)


class RecurrentDropoutCell(_Around):
    """A cell whose h is dropped in part where weights multiply it (Gal and Ghahramani 2016).

    In training one mask serves all steps of a sequence; in evaluation it is the cell itself.

    Parameters
    ----------
    cell : Module
        With `project`, `step` and `state_size`.
    p : float
        The probability with which an element is dropped.

    Raises
    ------
    TypeError
        If the cell lacks one of these.
    ValueError
        If `p` is outside [0, 1].
    """

    def __init__(self, cell: Any, p: float = 0.5) -> None:
        super().__init__(cell)
        self.p = check_probability("RecurrentDropoutCell", "p", p)

    def project(self, input: Any) -> Any:
        """Return what the cell's `project` does, and which elements of h are kept."""
        projected = self.cell.project(input)
        if not (self.training and self.p):
            return projected, ()
        lead = shape_of(as_operand("RecurrentDropoutCell", input))[:-1]
        own = lead[1:] if len(lead) == 2 else lead
        keep = wrap(~below(self.p, (*own, self._sizes[0]), input))
        return projected, (ops.broadcast_to(keep, (*lead, self._sizes[0])),)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Return the new state of what `project` returned and the old one; see the cell's."""
        inner, masks = self._own(projected, 1 if self.training and self.p else 0)
        states = [] if hx is None else _listed(hx)
        if recurrent is None and states:
            recurrent = states[0]
        if masks and recurrent is not None:
            recurrent = as_operand(type(self).__name__, recurrent)
            if shape_of(recurrent) != shape_of(masks[0]):
                wanted, came = shape_of(masks[0]), shape_of(recurrent)
                refuse(type(self).__name__, "h", f"of shape {wanted}", came)
            recurrent = dropped(recurrent, masks[0], self.p)
        return self.cell.step(inner, hx, recurrent=recurrent)
