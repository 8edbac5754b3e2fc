"""More recurrent cells, and what wraps a cell (rnn-46 to rnn-49).

N batch, I input size, H hidden size, S size of a state. All are called and parted as the cells of
`cell` are; `nn.rnn.unroll` takes them over a sequence.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import ops, random
from impl_numpy.checks import check_not_negative, check_probability, shown
from impl_numpy.dtypes import Array, Shape
from impl_numpy.module import Module
from impl_numpy.nn.dropout import drawn, dropped
from impl_numpy.nn.layer import Layer
from impl_numpy.nn.norm import LayerNorm
from impl_numpy.rnn.cell import Cell
from impl_numpy.rnn.equations import States, gru_step, linear, lstm_step
from impl_numpy.tensor import Tensor, as_tensor, wrap
from impl_numpy.trees import tree_leaves


class _Normalized(Cell):
    """A cell whose gates are normalized; the norms' biases are its only ones."""

    # How many times H each norm has, by its name.
    _norms: ClassVar[dict[str, int]]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        check_not_negative(type(self).__name__, "eps", eps)
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.eps = eps
        for name, times in self._norms.items():
            setattr(self, name, LayerNorm(times * hidden_size, eps, bias=self.bias, dtype=dtype))

    def _shapes(self, width: int, projected: int) -> dict[str, Shape | None]:
        shapes = super()._shapes(width, projected)
        return {name: shapes[name] for name in ("weight_ih", "weight_hh")}


class LayerNormLSTMCell(_Normalized):
    """Take `LSTMCell` with normalized gates and cell state.

    Ba, Kiros and Hinton 2016, equations 20 to 22 of the supplement: the gates are those of
    norm_ih(W_ih x) + norm_hh(W_hh h), rows ordered i, f, g, o; c' = f c + i g;
    h' = o tanh(norm_c(c')).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
        Of the norms.
    eps : float
        Of the norms.
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (4 H, I)
    weight_hh : Parameter, shape (4 H, H)
        Uniform in [-k, k), k = 1 / sqrt(H).
    norm_ih, norm_hh : LayerNorm over 4 H
    norm_c : LayerNorm over H

    Raises
    ------
    ValueError
        If a size is not positive, or eps is negative.
    TypeError
        If a size is no int, eps no number, or the dtype is unknown or not floating.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h", "c")
    _norms: ClassVar[dict[str, int]] = {"norm_ih": 4, "norm_hh": 4, "norm_c": 1}

    def _project(self, x: Tensor) -> Tensor:
        projected: Tensor = self.norm_ih(linear(x, self.weight_ih, None))
        return projected

    def _advance(self, part: Tensor, seen: Tensor, states: States) -> States:
        own = self.norm_hh(linear(seen, self.weight_hh, None))
        return lstm_step(part, own, states, norm=self.norm_c)


class LayerNormGRUCell(_Normalized):
    """Take `GRUCell` with normalized gates.

    Ba, Kiros and Hinton 2016, equations 23 to 25 of the supplement, whose gate z is 1 - z here:
    r, z = sigmoid(norm_ih(W_ih x) + norm_hh(W_hh h)), of the rows r and z together;
    n = tanh(norm_in(W_in x) + r norm_hn(W_hn h)); h' = (1 - z) n + z h.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
        Of the norms.
    eps : float
        Of the norms.
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (3 H, I)
    weight_hh : Parameter, shape (3 H, H)
        Rows ordered r, z, n; uniform in [-k, k), k = 1 / sqrt(H).
    norm_ih, norm_hh : LayerNorm over 2 H
    norm_in, norm_hn : LayerNorm over H

    Raises
    ------
    ValueError
        If a size is not positive, or eps is negative.
    TypeError
        If a size is no int, eps no number, or the dtype is unknown or not floating.
    """

    _gates = 3
    _norms: ClassVar[dict[str, int]] = {"norm_ih": 2, "norm_hh": 2, "norm_in": 1, "norm_hn": 1}

    def _project(self, x: Tensor) -> Tensor:
        return self._normed(linear(x, self.weight_ih, None), self.norm_ih, self.norm_in)

    def _advance(self, part: Tensor, seen: Tensor, states: States) -> States:
        own = self._normed(linear(seen, self.weight_hh, None), self.norm_hh, self.norm_hn)
        return gru_step(part, own, states)

    def _normed(self, gates: Tensor, norm_rz: Module, norm_n: Module) -> Tensor:
        stop = 2 * self.hidden_size
        return ops.concat([norm_rz(gates[..., :stop]), norm_n(gates[..., stop:])], axis=-1)


class PeepholeLSTMCell(Cell):
    """Take `LSTMCell` with gates that see the cell state (Gers, Schraudolph, Schmidhuber 2002).

    To the arguments of i, f and o are added w_i c, w_f c and w_o c', element by element.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (4 H, I)
    weight_hh : Parameter, shape (4 H, H)
    bias_ih, bias_hh : Parameter, shape (4 H,), or None
        Rows ordered i, f, g, o.
    weight_ch : Parameter, shape (3 H,)
        Rows ordered i, f, o. All are uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive.
    TypeError
        If a size is no int, or the dtype is unknown or not floating.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h", "c")

    def _shapes(self, width: int, projected: int) -> dict[str, Shape | None]:
        return {**super()._shapes(width, projected), "weight_ch": (3 * self.hidden_size,)}

    def _advance(self, part: Tensor, seen: Tensor, states: States) -> States:
        own = linear(seen, self.weight_hh, None)
        return lstm_step(part, own, states, w_ch=self.weight_ch)


class _Wrapper(Layer):
    """A cell around another, which draws numbers in `project` and uses them in `step`."""

    _shown = ("p=",)
    cell: Module

    def __init__(self, cell: Module, p: Any) -> None:
        owner, sizes = type(self).__name__, getattr(cell, "state_size", None)
        several = sizes if isinstance(sizes, tuple) else (sizes,)
        parted = all([callable(getattr(cell, name, None)) for name in ("project", "step")])
        counted = [isinstance(size, int) and not isinstance(size, bool) for size in several]
        if not isinstance(cell, Module) or not parted or not several or not all(counted):
            msg = (
                f"{owner}: cell must be a Module with project, step and an int or a tuple of ints "
                f"as state_size, got {shown(cell)}"
            )
            raise TypeError(msg)
        super().__init__(p=p)
        self.cell = cell

    @property
    def state_size(self) -> int | tuple[int, ...]:
        """Return the lengths of the last axes of the states."""
        size: int | tuple[int, ...] = self.cell.state_size
        return size

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Take one step; arguments and result are those of the cell inside."""
        return self.step(self.project(input), hx)

    def project(self, input: Any) -> Any:
        """Return the part of any number of steps that reads the input alone, and what is drawn.

        Parameters
        ----------
        input : Tensor, shape (*, I)

        Returns
        -------
        pair
            What the cell inside returns, and a tuple of Tensors of bool, shape (*, S).
        """
        projected = self.cell.project(input)
        lead = as_tensor(type(self).__name__, tree_leaves(input)[0], "input").shape[:-1]
        return projected, tuple([wrap(mask, None) for mask in self._drawn(lead)])

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Take the rest of a step.

        Parameters
        ----------
        projected : pair
            What `project` returned for this step, in the same mode.
        hx, recurrent
            As the cell inside takes them.

        Returns
        -------
        The next state, as the cell inside returns it.

        Raises
        ------
        ValueError
            If `projected` is no such pair.
        """
        pair = isinstance(projected, tuple) and len(projected) == 2
        masks = projected[1] if pair and isinstance(projected[1], tuple) else None
        if masks is None or len(masks) != self._count():
            mode = "training" if self.training else "evaluation"
            msg = (
                f"{type(self).__name__}: projected must be what project returns in {mode}, "
                f"got {shown(projected)}"
            )
            raise ValueError(msg)
        return self._take(projected[0], masks, hx, recurrent)

    def _inner(self, projected: Any, hx: Any, recurrent: Any) -> Any:
        given = {} if recurrent is None else {"recurrent": recurrent}
        return self.cell.step(projected, hx, **given)

    def _several(self) -> tuple[int, ...]:
        """Return the sizes of all states."""
        size = self.state_size
        return size if isinstance(size, tuple) else (size,)

    def _count(self) -> int:
        """Return how many masks a step wants now."""
        raise NotImplementedError

    def _drawn(self, lead: Shape) -> list[Array]:
        """Return the masks for an input with these axes before the last."""
        raise NotImplementedError

    def _take(self, projected: Any, masks: tuple[Tensor, ...], hx: Any, recurrent: Any) -> Any:
        raise NotImplementedError


class ZoneoutCell(_Wrapper):
    """Keep, in training, each element of a new state at its old value with probability p.

    In evaluation a new state is p old + (1 - p) new. (Krueger et al. 2017.)

    Parameters
    ----------
    cell : Module
        With `project`, `step` and an int or a tuple of ints as `state_size`.
    p : float, or a sequence with one for each state
        0 <= p <= 1.

    Raises
    ------
    TypeError
        If the cell lacks what is wanted, or p is no number.
    ValueError
        If p is out of range, or there are not as many as states.
    """

    def __init__(self, cell: Module, p: Any = 0.1) -> None:
        super().__init__(cell, tuple(p) if isinstance(p, list) else p)
        for probability in self._each():
            check_probability("ZoneoutCell", "p", probability)
        if len(self._each()) != len(self._several()):
            msg = f"ZoneoutCell: p must be a number or one for each state, got {shown(p)}"
            raise ValueError(msg)

    def _each(self) -> tuple[Any, ...]:
        """Return the probability for each state."""
        return self.p if isinstance(self.p, tuple) else (self.p,) * len(self._several())

    def _count(self) -> int:
        return sum([p != 0 for p in self._each()]) if self.training else 0

    def _drawn(self, lead: Shape) -> list[Array]:
        if not self.training:
            return []
        pairs = zip(self._each(), self._several(), strict=True)
        return [random.uniform((*lead, size)) < p for p, size in pairs if p]

    def _take(self, projected: Any, masks: tuple[Tensor, ...], hx: Any, recurrent: Any) -> Any:
        after = self._inner(projected, hx, recurrent)
        news = after if isinstance(after, tuple) else (after,)
        olds = (None,) * len(news) if hx is None else hx if isinstance(after, tuple) else (hx,)
        for name, several in (("what cell returns", news), ("hx", olds)):
            if len(several) != len(self._several()):
                sizes = self.state_size
                msg = f"ZoneoutCell: {name} must be states of {sizes}, got {shown(several)}"
                raise ValueError(msg)
        remaining, states = iter(masks), []
        for p, new, old in zip(self._each(), news, olds, strict=True):
            before = wrap(np.zeros(new.shape, new.dtype), None)
            if old is not None:
                before = as_tensor("ZoneoutCell", old, "hx")
            if not p:
                states.append(new)
            elif self.training:
                states.append(ops.where(next(remaining), before, new))
            else:
                states.append(p * before + (1 - p) * new)
        return tuple(states) if isinstance(after, tuple) else states[0]


class RecurrentDropoutCell(_Wrapper):
    """Drop, in training, elements of h where it is multiplied by W_hh: the same at every step.

    (Gal and Ghahramani 2016.) In evaluation it is the cell inside.

    Parameters
    ----------
    cell : Module
        With `project`, `step`, which takes `recurrent`, and an int or a tuple of ints as
        `state_size`.
    p : float
        The probability with which an element is dropped; 0 <= p <= 1.

    Raises
    ------
    TypeError
        If the cell lacks what is wanted, or p is no number.
    ValueError
        If p is out of range.
    """

    def __init__(self, cell: Module, p: float = 0.5) -> None:
        super().__init__(cell, check_probability("RecurrentDropoutCell", "p", p))

    def _count(self) -> int:
        return int(self.training and self.p != 0)

    def _drawn(self, lead: Shape) -> list[Array]:
        if not self._count():
            return []
        size = self._several()[0]
        # Of a sequence one mask for all steps.
        kept = drawn((*lead[-1:], size), self.p)
        return [np.broadcast_to(kept, (*lead, size))]

    def _take(self, projected: Any, masks: tuple[Tensor, ...], hx: Any, recurrent: Any) -> Any:
        if masks and (hx is not None or recurrent is not None):
            seen = recurrent
            if seen is None:
                seen = hx[0] if isinstance(hx, (tuple, list)) and hx else hx
            seen = as_tensor("RecurrentDropoutCell", seen, "h")
            if seen.shape != masks[0].shape:
                wanted = f"the shape {masks[0].shape} of what project drew"
                msg = f"RecurrentDropoutCell: h must have {wanted}, got {seen.shape}"
                raise ValueError(msg)
            recurrent = dropped(seen, masks[0], self.p)
        return self._inner(projected, hx, recurrent)
