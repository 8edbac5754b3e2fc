"""Recurrent cells: one step.

N batch, I input size, H hidden size, G gates; the equations and their sources stand in `equations`.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.checks import check_choice, check_flag, check_same_dtype
from impl_numpy.dtypes import Shape
from impl_numpy.nn.layer import Layer
from impl_numpy.rnn.equations import RNN_STEPS, Step, gru_step, linear, lstm_step
from impl_numpy.tensor import Tensor, as_tensor, wrap

# The options that `repr` shows where they differ from this, in this order.
_USUAL = {
    "proj_size": 0,
    "num_layers": 1,
    "bias": True,
    "batch_first": False,
    "dropout": 0,
    "bidirectional": False,
    "nonlinearity": "tanh",
}


class Recurrent(Layer):
    """What cells and layers share: parameters and the checks of a call.

    Attributes
    ----------
    weight_ih : Parameter, shape (G H, I); in a layer the names go on, as `weight_ih_l0`
    weight_hh : Parameter, shape (G H, H)
    bias_ih, bias_hh : Parameter, shape (G H,), or None
        All uniform in [-k, k), k = 1 / sqrt(H).
    """

    _gates: ClassVar[int]
    _states: ClassVar[tuple[str, ...]]
    _sizes: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size")

    def __init__(self, bias: bool, **options: Any) -> None:
        super().__init__(**options)
        self.bias = check_flag(type(self).__name__, "bias", bias)

    def _draw(
        self, suffix: str, width: int, dtype: DTypeLike | None, projected: int = 0
    ) -> tuple[str, ...]:
        """Draw and register the parameters of one step, whose input is so wide.

        With a projection, to so many numbers, its weight too. Their names are returned.
        """
        size = self.hidden_size
        rows = self._gates * size
        vector = (rows,) if self.bias else None
        shapes: dict[str, Shape | None] = {
            "weight_ih": (rows, width),
            "weight_hh": (rows, projected or size),
            "bias_ih": vector,
            "bias_hh": vector,
        }
        if projected:
            shapes["weight_hr"] = (projected, size)
        for name, shape in shapes.items():
            self._uniform(name + suffix, shape, 1.0 / math.sqrt(size), dtype)
        return tuple([name + suffix for name in shapes])

    def extra_repr(self) -> str:
        """Return the sizes, and what differs from the usual."""
        extra = [str(self.input_size), str(self.hidden_size)]
        for name, usual in _USUAL.items():
            value = getattr(self, name, usual)
            if value != usual:
                extra.append(f"{name}={value}")
        return ", ".join(extra)

    def _sequence(self, x: Any, shapes: tuple[str, ...], dtype: np.dtype[Any]) -> Tensor:
        """Return the input, checked against the one or two forms it may have."""
        owner = type(self).__name__
        x = as_tensor(owner, x, "input")
        axes = [shape.count(",") + (not shape.endswith(",)")) for shape in shapes]
        if x.ndim not in axes or x.shape[-1] != self.input_size:
            forms = " or ".join(shapes)
            msg = (
                f"{owner}: input must have shape {forms} with I = {self.input_size}, got {x.shape}"
            )
            raise ValueError(msg)
        check_same_dtype(owner, "input", x.dtype, dtype)
        return x

    def _checked_state(
        self,
        hx: Any,
        wanted: list[tuple[str, Shape]],
        dtype: np.dtype[Any],
        argument: str = "the state",
    ) -> list[Tensor]:
        """Return the states, checked against forms and shapes; zeros where there are none.

        Messages call them by their names, of another argument than `hx` with its name.
        """
        owner, names = type(self).__name__, self._states
        if hx is None:
            return [wrap(np.zeros(shape, dtype), None) for _, shape in wanted]
        if len(names) == 1:
            hx = (hx,)
        elif not isinstance(hx, (tuple, list)) or len(hx) != len(names):
            msg = f"{owner}: {argument} must be a pair ({', '.join(names)}), got {_described(hx)}"
            raise ValueError(msg)
        if argument != "the state":
            names = tuple([f"{name} of {argument}" for name in names])
        states = [as_tensor(owner, h, name) for name, h in zip(names, hx, strict=True)]
        for name, h, (form, shape) in zip(names, states, wanted, strict=True):
            if h.shape != shape:
                msg = f"{owner}: {name} must have shape {form} = {shape}, got {h.shape}"
                raise ValueError(msg)
            check_same_dtype(owner, name, h.dtype, dtype)
        return states


class Cell(Recurrent):
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
        super().__init__(bias, input_size=input_size, hidden_size=hidden_size)
        self._draw("", self.input_size, dtype)

    def forward(self, input: Any, hx: Any = None) -> Any:
        """Take one step.

        Parameters
        ----------
        input : Tensor, shape (N, I) or (I,)
        hx : Tensor, shape (N, H) or (H,), optional; a pair for LSTMCell
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
        w_ih, w_hh, b_ih, b_hh = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        x = self._sequence(input, ("(N, I)", "(I,)"), w_ih.dtype)
        batch, form = (x.shape[:1], "(N, H)") if x.ndim == 2 else ((), "(H,)")
        wanted = [(form, (*batch, self.hidden_size))] * len(self._states)
        states = self._checked_state(hx, wanted, w_ih.dtype)
        if not batch:
            x, states = x.reshape(1, -1), [h.reshape(1, -1) for h in states]
        after = self._step()(linear(x, w_ih, b_ih), tuple(states), w_hh, b_hh)
        if not batch:
            after = tuple(h.reshape(-1) for h in after)
        return after if len(after) > 1 else after[0]

    def _step(self) -> Step:
        """Return the cell's equations."""
        raise NotImplementedError


class RNNCell(Cell):
    """Take h' = tanh(W_ih x + b_ih + W_hh h + b_hh), or relu (torch.nn.RNNCell).

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
        check_choice("RNNCell", "nonlinearity", nonlinearity, tuple(RNN_STEPS))
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _step(self) -> Step:
        return RNN_STEPS[self.nonlinearity]


class LSTMCell(Cell):
    """Take c' = f c + i g, h' = o tanh(c'); the state is the pair (h, c) (torch.nn.LSTMCell).

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

    def _step(self) -> Step:
        return lstm_step


class GRUCell(Cell):
    """Take h' = (1 - z) n + z h (torch.nn.GRUCell).

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

    def _step(self) -> Step:
        return gru_step


def _described(state: Any) -> str:
    if isinstance(state, (tuple, list)):
        return f"{len(state)} states"
    if hasattr(state, "shape"):
        return f"{type(state).__name__} of shape {state.shape}"
    return type(state).__name__
