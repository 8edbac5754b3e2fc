"""Cells that vary the LSTM and the GRU, and cells that wrap another.

N batch, I input size, H hidden size, S size of a state.
"""

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from impl_torch_ext.checks import (
    check_at_least_zero,
    check_flag,
    check_probability,
    check_size,
    shown,
)
from impl_torch_ext.nn.dropout import draw_kept, drop
from impl_torch_ext.nn.layer import Layer, Options
from impl_torch_ext.nn.norm import LayerNorm
from impl_torch_ext.rnn import equations
from impl_torch_ext.rnn.cell import Cell
from impl_torch_ext.trees import tree_flatten, tree_unflatten

__all__ = [
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "PeepholeLSTMCell",
    "RecurrentDropoutCell",
    "ZoneoutCell",
]


class _Composed(Cell):
    """A cell without a Function of its own: its two parts one after the other."""

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return the new state for input (N, I) and hx, zeros if left out; or all without N."""
        self._inputs(input, hx)
        return self.step(self.project(input), hx)


class _Normed(_Composed):
    """A cell whose products are normalized: its weights, then Modules of the gates they take."""

    _options: ClassVar[Options] = {
        "input_size": check_size,
        "hidden_size": check_size,
        "bias": check_flag,
        "eps": check_at_least_zero,
    }
    # The Modules, and over how many gates each goes.
    _norms: ClassVar[Mapping[str, int]]
    eps: float

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        eps: float = 1e-5,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, eps, dtype=dtype)
        for name, gates in self._norms.items():
            size = gates * self.hidden_size
            setattr(self, name, LayerNorm(size, self.eps, bias=self.bias, dtype=dtype))

    def _shapes(self, width: int) -> dict[str, tuple[int, ...] | None]:
        # The biases are those of the Modules.
        return {name: shape for name, shape in super()._shapes(width).items() if "bias" not in name}


class LayerNormLSTMCell(_Normed):
    """`LSTMCell` with gates of `norm_ih(W_ih x) + norm_hh(W_hh h)` and `h' = o tanh(norm_c(c'))`.

    Source: Ba, Kiros and Hinton 2016, equations 20 to 22 of the supplement.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
        Whether the normalizations have one.
    eps : float
        That of the normalizations.
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (4·H, I), (4·H, H)
        Gates in rows ordered i, f, g, o. Uniform in `[-k, k)`, `k = 1 / sqrt(H)`.
    norm_ih, norm_hh, norm_c : LayerNorm
        Over all four gates together, and over c.
    """

    _gates = 4
    _parts = ("h0", "c0")
    _norms: ClassVar[Mapping[str, int]] = {"norm_ih": 4, "norm_hh": 4, "norm_c": 1}

    def _projected(self, input: Tensor) -> Tensor:
        return self.norm_ih(equations.affine(input, self.weight_ih, None))

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        h, c = states
        product = equations.affine(h if recurrent is None else recurrent, self.weight_hh, None)
        return equations.lstm_gates(fed + self.norm_hh(product), c, self.norm_c)

    def _lstm_biases(self) -> tuple[list[Tensor | None], list[Tensor | None]]:
        return [self.norm_ih.bias], [self.norm_hh.bias, self.norm_c.bias]


class LayerNormGRUCell(_Normed):
    """`GRUCell` with gates of products that are normalized, each by itself.

    `r, z = sigmoid(norm_ih(W_ih x) + norm_hh(W_hh h))`, `n = tanh(norm_in(W_in x) + r norm_hn(W_hn
    h))` and `h' = (1 - z) n + z h`. Source: Ba, Kiros and Hinton 2016, equations 23 to 25 of the
    supplement, whose gate z is 1 - z here. Parameters as in `LayerNormLSTMCell`.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (3·H, I), (3·H, H)
        Gates in rows ordered r, z, n.
    norm_ih, norm_hh, norm_in, norm_hn : LayerNorm
        Two over r and z together, two over n.
    """

    _gates = 3
    _norms: ClassVar[Mapping[str, int]] = {"norm_ih": 2, "norm_hh": 2, "norm_in": 1, "norm_hn": 1}

    def _projected(self, input: Tensor) -> Tensor:
        rz, n = self._split(equations.affine(input, self.weight_ih, None))
        return torch.cat((self.norm_ih(rz), self.norm_in(n)), -1)

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        (h,) = states
        hidden = equations.affine(h if recurrent is None else recurrent, self.weight_hh, None)
        hidden_rz, hidden_n = self._split(hidden)
        input_rz, input_n = self._split(fed)
        sum_r, sum_z = (input_rz + self.norm_hh(hidden_rz)).chunk(2, -1)
        n = torch.tanh(input_n + torch.sigmoid(sum_r) * self.norm_hn(hidden_n))
        return (equations.mixed(sum_z, n, h),)

    def _split(self, gates: Tensor) -> tuple[Tensor, ...]:
        """Return the columns of r and z, and those of n."""
        return gates.split([2 * self.hidden_size, self.hidden_size], -1)


class PeepholeLSTMCell(_Composed):
    """`LSTMCell` whose gates i and f see the old c, and o the new one.

    To their arguments are added `w_i c`, `w_f c` and `w_o c'`, element by element. Source: Gers,
    Schraudolph and Schmidhuber 2002. Parameters as in `LSTMCell`.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter
        As in `LSTMCell`.
    weight_ch : Parameter, shape (3·H,)
        In the order i, f, o, of the same initial values.
    """

    _gates = 4
    _parts = ("h0", "c0")

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype=dtype)

    def _shapes(self, width: int) -> dict[str, tuple[int, ...] | None]:
        return {**super()._shapes(width), "weight_ch": (3 * self.hidden_size,)}

    def _projected(self, input: Tensor) -> Tensor:
        return equations.affine(input, self.weight_ih, self.bias_ih)

    def _stepped(self, fed: Tensor, states: list[Tensor], recurrent: Any) -> tuple[Any, ...]:
        h, c = states
        sums = fed + equations.affine(
            h if recurrent is None else recurrent, self.weight_hh, self.bias_hh
        )
        i, f, g, o = sums.chunk(4, -1)
        from_i, from_f, from_o = self.weight_ch.chunk(3)
        new = torch.sigmoid(f + from_f * c) * c + torch.sigmoid(i + from_i * c) * torch.tanh(g)
        return torch.sigmoid(o + from_o * new) * torch.tanh(new), new


class _Masked(NamedTuple):
    """What `project` of a cell that draws returns in training: the inner cell's, and its masks."""

    projected: Any
    kept: tuple[Tensor, ...]


class _Wrapper(Layer):
    """A cell around another, its only child, with that one's sizes and parts."""

    cell: torch.nn.Module

    def __init__(self, cell: torch.nn.Module, p: Any) -> None:
        name = type(self).__name__
        sizes = getattr(cell, "state_size", None)
        several = sizes if isinstance(sizes, tuple) and sizes else (sizes,)
        parts = (getattr(cell, part, None) for part in ("project", "step"))
        fits = isinstance(cell, torch.nn.Module) and all(map(callable, parts))
        if not fits or not all(type(size) is int for size in several):
            wanted = "must be a Module with project, step and an int or ints as state_size"
            msg = f"{name}: cell {wanted}, got {type(cell).__name__}"
            raise TypeError(msg)
        self._sizes = several
        super().__init__(p)
        self.cell = cell

    @property
    def state_size(self) -> int | tuple[int, ...]:
        """That of the inner cell."""
        return self.cell.state_size

    def forward(self, input: Tensor, hx: Any = None) -> Any:
        """Return what the inner cell returns for input (N, I) and hx, or both without N."""
        return self.step(self.project(input), hx)

    def project(self, input: Tensor) -> Any:
        """Return what the inner cell projects of input (*, I), and in training masks beside it."""
        projected = self.cell.project(input)
        if not self._draws():
            return projected
        return _Masked(projected, self._masks(tuple(input.shape[:-1])))

    def step(self, projected: Any, hx: Any = None, *, recurrent: Tensor | None = None) -> Any:
        """Return the new state of a step, from what `project` returned in the same mode."""
        raise NotImplementedError

    def _draws(self) -> bool:
        """Whether there are masks now."""
        raise NotImplementedError

    def _masks(self, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        """Draw the masks for an input with these axes before the last."""
        raise NotImplementedError

    def _parts(self, projected: Any) -> tuple[Any, tuple[Tensor, ...]]:
        """Return what the inner cell projected, and the masks, or raise."""
        if isinstance(projected, _Masked) != self._draws():
            name = type(self).__name__
            wanted = "must be what its project returned in the same mode"
            msg = f"{name}: projected {wanted}, got {type(projected).__name__}"
            raise ValueError(msg)
        return projected if isinstance(projected, _Masked) else (projected, ())


def _probabilities(name: str, option: str, value: Any) -> Any:
    """Return a number in [0, 1], or a tuple of them, or raise."""
    if isinstance(value, tuple | list):
        return tuple(check_probability(name, option, p) for p in value)
    return check_probability(name, option, value)


class ZoneoutCell(_Wrapper):
    """A cell some elements of whose states keep their old values.

    In training each does with probability `p`, in evaluation a state is `p old + (1 - p) new`.
    Source: Krueger et al. 2017.

    Parameters
    ----------
    cell : Module
        With `project`, `step`, and an int or a tuple of ints as `state_size`.
    p : float or tuple of float
        In [0, 1]; one for all states or one for each.
    """

    _options: ClassVar[Options] = {"p": _probabilities}
    p: Any

    def __init__(self, cell: torch.nn.Module, p: Any = 0.1) -> None:
        super().__init__(cell, p)
        several = isinstance(self.p, tuple)
        self._each = self.p if several else (self.p,) * len(self._sizes)
        if len(self._each) != len(self._sizes):
            msg = f"ZoneoutCell: p must be a number or {len(self._sizes)} of them, got {shown(p)}"
            raise ValueError(msg)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Tensor | None = None) -> Any:
        """Return the new state of a step, from what `project` returned in the same mode."""
        inner, kept = self._parts(projected)
        new = self.cell.step(inner, hx, recurrent=recurrent)
        leaves, structure = tree_flatten(new)
        olds = [torch.zeros_like(x) for x in leaves] if hx is None else tree_flatten(hx)[0]
        masks = iter(kept)
        mixed = [
            self._mixed(p, x, old, masks) if p else x
            for p, x, old in zip(self._each, leaves, olds, strict=True)
        ]
        return tree_unflatten(mixed, structure)

    def _mixed(self, p: float, new: Tensor, old: Tensor, masks: Iterator[Tensor]) -> Tensor:
        return torch.where(next(masks), new, old) if self.training else p * old + (1 - p) * new

    def _draws(self) -> bool:
        return self.training and any(self._each)

    def _masks(self, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        pairs = zip(self._each, self._sizes, strict=True)
        return tuple(draw_kept((*axes, size), p) for p, size in pairs if p)


class RecurrentDropoutCell(_Wrapper):
    """A cell whose h, where it is multiplied by W_hh, is dropped by one mask for all steps.

    Source: Gal and Ghahramani 2016. In evaluation it is the inner cell.

    Parameters
    ----------
    cell : Module
        With `project`, `step`, and an int or a tuple of ints as `state_size`.
    p : float
        In [0, 1]: the probability that an element is dropped.
    """

    _options: ClassVar[Options] = {"p": check_probability}
    p: float

    def __init__(self, cell: torch.nn.Module, p: float = 0.5) -> None:
        super().__init__(cell, p)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Tensor | None = None) -> Any:
        """Return the new state of a step, from what `project` returned in the same mode."""
        inner, kept = self._parts(projected)
        states = tree_flatten(hx)[0]
        if recurrent is None and states:
            recurrent = states[0]
        # Without a state it is 0, dropped or not; one that does not fit the inner cell refuses.
        if kept and isinstance(recurrent, Tensor) and recurrent.shape == kept[0].shape:
            recurrent = drop(recurrent, kept[0], self.p)
        return self.cell.step(inner, hx, recurrent=recurrent)

    def _draws(self) -> bool:
        return self.training and self.p > 0

    def _masks(self, axes: tuple[int, ...]) -> tuple[Tensor, ...]:
        # One for a sequence, so that every step has a row of it.
        kept = draw_kept((*axes[-1:], self._sizes[0]), self.p)
        return (kept.expand(*axes, self._sizes[0]),)
