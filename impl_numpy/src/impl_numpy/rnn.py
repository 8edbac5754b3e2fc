"""Recurrent cells and layers.

T steps, N batch, I input size, H hidden size. Sources of the equations: the pages of
torch.nn.RNNCell, LSTMCell and GRUCell; LSTM after Hochreiter and Schmidhuber 1997 with the forget
gate of Gers et al. 2000; GRU after Cho et al. 2014, reset gate after the recurrent product.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import init, ops
from impl_numpy.module import Module, Parameter
from impl_numpy.nn.checks import as_tensor, floating_dtype, positive, same_dtype
from impl_numpy.rnn_function import (
    GRUFunction,
    LSTMFunction,
    RNNFunction,
    gru_step,
    linear,
    lstm_step,
    rnn_step,
)
from impl_numpy.tensor import Tensor, wrap

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "GRUFunction",
    "LSTMCell",
    "LSTMFunction",
    "RNNCell",
    "RNNFunction",
]


class _Recurrent(Module):
    """The parameters that cells and layers share.

    Attributes
    ----------
    weight_ih : Parameter, shape (G H, I), `weight_ih_l0` in a layer, as are the others
    weight_hh : Parameter, shape (G H, H)
    bias_ih, bias_hh : Parameter, shape (G H,), or None
        All uniform in [-k, k), k = 1 / sqrt(H).
    """

    _gates: ClassVar[int]
    _suffix: ClassVar[str] = ""
    _states: ClassVar[tuple[str, ...]]

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, dtype: DTypeLike | None
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        positive(owner, input_size=input_size, hidden_size=hidden_size)
        kind = floating_dtype(owner, dtype)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        k = 1.0 / math.sqrt(hidden_size)
        rows = self._gates * hidden_size
        shapes: dict[str, tuple[int, ...] | None] = {
            "weight_ih": (rows, input_size),
            "weight_hh": (rows, hidden_size),
            "bias_ih": (rows,) if bias else None,
            "bias_hh": (rows,) if bias else None,
        }
        for name, shape in shapes.items():
            drawn = None if shape is None else Parameter(np.empty(shape, kind))
            if drawn is not None:
                init.uniform_(drawn, -k, k)
            self.register_parameter(name + self._suffix, drawn)

    def extra_repr(self) -> str:
        """Sizes, and what differs from the usual."""
        extra = [str(self.input_size), str(self.hidden_size)]
        if not self.bias:
            extra.append("bias=False")
        if getattr(self, "batch_first", False):
            extra.append("batch_first=True")
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            extra.append(f"nonlinearity={self.nonlinearity}")
        return ", ".join(extra)

    def _weights(self) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """W_ih, W_hh, b_ih, b_hh."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        w_ih, w_hh, b_ih, b_hh = (getattr(self, name + self._suffix) for name in names)
        return w_ih, w_hh, b_ih, b_hh

    def _input(self, x: Any, shapes: tuple[str, ...], dtype: np.dtype[Any]) -> Tensor:
        """The input, checked against the one or two forms it may have."""
        owner = type(self).__name__
        x = as_tensor(owner, "x", x)
        axes = [shape.count(",") + (not shape.endswith(",)")) for shape in shapes]
        if x.ndim not in axes or x.shape[-1] != self.input_size:
            forms = " or ".join(shapes)
            msg = f"{owner}: x must have shape {forms} with I = {self.input_size}, got {x.shape}"
            raise ValueError(msg)
        same_dtype(owner, "x", x, dtype)
        return x

    def _checked_state(
        self, given: Any, form: str, shape: tuple[int, ...], dtype: np.dtype[Any]
    ) -> list[Tensor]:
        """The states, checked; zeros if none are given."""
        owner, names = type(self).__name__, self._states
        if given is None:
            return [wrap(np.zeros(shape, dtype), None) for _ in names]
        if len(names) == 1:
            given = (given,)
        elif not isinstance(given, (tuple, list)) or len(given) != len(names):
            msg = f"{owner}: the state must be a pair ({', '.join(names)}), got {_kind(given)}"
            raise ValueError(msg)
        states = [as_tensor(owner, name, h) for name, h in zip(names, given, strict=True)]
        for name, h in zip(names, states, strict=True):
            if h.shape != shape:
                msg = f"{owner}: {name} must have shape {form} = {shape}, got {h.shape}"
                raise ValueError(msg)
            same_dtype(owner, name, h, dtype)
        return states


class _Cell(_Recurrent):
    """One step."""

    _states: ClassVar[tuple[str, ...]] = ("h",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, x: Any, state: Any = None) -> Any:
        """One step.

        Parameters
        ----------
        x : Tensor, shape (N, I) or (I,)
        state : Tensor, shape (N, H) or (H,), optional; a pair for LSTMCell
            Zeros if left out.

        Returns
        -------
        The next state, of the shape of the state.

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        w_ih, w_hh, b_ih, b_hh = self._weights()
        x = self._input(x, ("(N, I)", "(I,)"), w_ih.dtype)
        batch, form = (x.shape[:1], "(N, H)") if x.ndim == 2 else ((), "(H,)")
        states = self._checked_state(state, form, (*batch, self.hidden_size), w_ih.dtype)
        if not batch:
            x, states = x.reshape(1, -1), [h.reshape(1, -1) for h in states]
        after = self._step(linear(x, w_ih, b_ih), states, w_hh, b_hh)
        if not batch:
            after = tuple(h.reshape(-1) for h in after)
        return after if len(after) > 1 else after[0]

    def _step(
        self, part: Tensor, states: list[Tensor], w_hh: Tensor, b_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The states after a step; part (N, G H) is W_ih x + b_ih."""
        raise NotImplementedError


class RNNCell(_Cell):
    """h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (torch.nn.RNNCell).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (H, I)
    weight_hh : Parameter, shape (H, H)
    bias_ih, bias_hh : Parameter, shape (H,), or None
        Uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating, or the nonlinearity is unknown.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: DTypeLike | None = None,
    ) -> None:
        _check_nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _step(
        self, part: Tensor, states: list[Tensor], w_hh: Tensor, b_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        return (rnn_step(part, states[0], w_hh, b_hh, self.nonlinearity),)


class LSTMCell(_Cell):
    """c' = f c + i g, h' = o tanh(c'); the state is the pair (h, c) (torch.nn.LSTMCell).

    i, f, o = sigmoid(W x + b_i + U h + b_h), g = tanh(...), with the gates' rows of W, U and b in
    the order i, f, g, o.

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
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h", "c")

    def _step(
        self, part: Tensor, states: list[Tensor], w_hh: Tensor, b_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        return lstm_step(part, states[0], states[1], w_hh, b_hh)


class GRUCell(_Cell):
    """h' = (1 - z) n + z h (torch.nn.GRUCell).

    r, z = sigmoid(W x + b_i + U h + b_h), n = tanh(W_n x + b_in + r (U_n h + b_hn)), with the
    gates' rows of W, U and b in the order r, z, n.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih : Parameter, shape (3 H, I)
    weight_hh : Parameter, shape (3 H, H)
    bias_ih, bias_hh : Parameter, shape (3 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 3

    def _step(
        self, part: Tensor, states: list[Tensor], w_hh: Tensor, b_hh: Tensor | None
    ) -> tuple[Tensor, ...]:
        return (gru_step(part, states[0], w_hh, b_hh),)


class _Layer(_Recurrent):
    """A whole sequence, one Function."""

    _suffix = "_l0"
    _states: ClassVar[tuple[str, ...]] = ("h0",)

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = batch_first

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Any]:
        """All steps.

        Parameters
        ----------
        x : Tensor, shape (T, N, I), (N, T, I) if batch_first, or (T, I)
        state : Tensor, shape (1, N, H), or (1, H) next to (T, I), optional; a pair for LSTM
            Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) if batch_first, or (T, H)
        state : of the shape of the initial one

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        weights = self._weights()
        dtype = weights[0].dtype
        x = self._input(x, ("(N, T, I)" if self.batch_first else "(T, N, I)", "(T, I)"), dtype)
        batched = x.ndim == 3
        if not batched:
            x = ops.expand_dims(x, axis=1)
        elif self.batch_first:
            x = ops.permute_dims(x, (1, 0, 2))
        batch, size = x.shape[1], self.hidden_size
        form, shape = ("(1, N, H)", (1, batch, size)) if batched else ("(1, H)", (1, size))
        states = [h.reshape(batch, size) for h in self._checked_state(state, form, shape, dtype)]
        output, *last = self._apply(x, *states, *weights)
        if not batched:
            output = ops.squeeze(output, axis=1)
        elif self.batch_first:
            output = ops.permute_dims(output, (1, 0, 2))
        after = tuple(h.reshape(shape) for h in last)
        return output, after if len(after) > 1 else after[0]

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        """Output (T, N, H) and last states (N, H)."""
        raise NotImplementedError


class RNN(_Layer):
    """`RNNCell` at every step (torch.nn.RNN).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : {"tanh", "relu"}
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (H, I)
    weight_hh_l0 : Parameter, shape (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (H,), or None
        Uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating, or the nonlinearity is unknown.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike | None = None,
    ) -> None:
        _check_nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return RNNFunction.apply(*inputs, nonlinearity=self.nonlinearity)


class LSTM(_Layer):
    """`LSTMCell` at every step; the state is the pair (h, c) (torch.nn.LSTM).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (4 H, I)
    weight_hh_l0 : Parameter, shape (4 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 4
    _states: ClassVar[tuple[str, ...]] = ("h0", "c0")

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return LSTMFunction.apply(*inputs)


class GRU(_Layer):
    """`GRUCell` at every step (torch.nn.GRU).

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0 : Parameter, shape (3 H, I)
    weight_hh_l0 : Parameter, shape (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3 H,), or None
        Rows in the order of the gates; uniform in [-k, k), k = 1 / sqrt(H).

    Raises
    ------
    ValueError
        If a size is not positive, the dtype is not floating.
    TypeError
        If a size is no int, or the dtype is unknown.
    """

    _gates = 3

    def _apply(self, *inputs: Any) -> tuple[Tensor, ...]:
        return GRUFunction.apply(*inputs)


def _check_nonlinearity(owner: str, nonlinearity: str) -> None:
    if nonlinearity not in ("tanh", "relu"):
        msg = f"{owner}: nonlinearity must be tanh or relu, got {nonlinearity!r}"
        raise ValueError(msg)


def _kind(given: Any) -> str:
    if isinstance(given, (tuple, list)):
        return f"{len(given)} states"
    return f"{type(given).__name__} of shape {given.shape}" if hasattr(given, "shape") else "none"
