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
from impl_numpy.rnn.equations import RNN_STEPS, States, Step, gru_step, linear, lstm_step
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
    "eps": 1e-5,
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
        shapes = self._shapes(width, projected)
        for name, shape in shapes.items():
            self._uniform(name + suffix, shape, 1.0 / math.sqrt(self.hidden_size), dtype)
        return tuple([name + suffix for name in shapes])

    def _shapes(self, width: int, projected: int) -> dict[str, Shape | None]:
        """Return the shapes of the parameters, in the order in which they are drawn."""
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
        return shapes

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
            self._check_fits(name, h, form, shape, dtype)
        return states

    def _check_fits(
        self, name: str, x: Tensor, form: str, shape: Shape, dtype: np.dtype[Any]
    ) -> None:
        """Raise for what has another shape, or another dtype than the parameters."""
        if x.shape != shape:
            msg = f"{type(self).__name__}: {name} must have shape {form} = {shape}, got {x.shape}"
            raise ValueError(msg)
        check_same_dtype(type(self).__name__, name, x.dtype, dtype)


class Cell(Recurrent):
    """One step, whole or in two parts (rnn-39).

    Attributes
    ----------
    state_size : int or tuple of int
        H, or (H, H) where there are two states.
    """

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

    @property
    def state_size(self) -> int | tuple[int, ...]:
        """Return the lengths of the last axes of the states."""
        sizes = (self.hidden_size,) * len(self._states)
        return sizes if len(sizes) > 1 else sizes[0]

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
        x = self._sequence(input, ("(N, I)", "(I,)"), self.weight_ih.dtype)
        return self._take(self._project(x), hx, None)

    def project(self, input: Any) -> Tensor:
        """Return the part of any number of steps that reads the input alone.

        Parameters
        ----------
        input : Tensor, shape (*, I)

        Returns
        -------
        Tensor, shape (*, G H)
            What `step` takes: of one step (N, G H) or (G H,).

        Raises
        ------
        ValueError
            If the last axis is not I.
        TypeError
            If the dtype is not the parameters'.
        """
        x = self._input(input, self.weight_ih.dtype)
        self._last_axes(x, (self.input_size,), "I")
        return self._project(x)

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Any:
        """Take the rest of a step: `cell(x, hx)` is `cell.step(cell.project(x), hx)`.

        Parameters
        ----------
        projected : Tensor, shape (N, G H) or (G H,)
            What `project` returned for this step.
        hx : as for a call
        recurrent : Tensor, of the shape of h, optional
            What stands in the place of h where W_hh multiplies it, and nowhere else.

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
        owner, rows = type(self).__name__, self._gates * self.hidden_size
        part = as_tensor(owner, projected, "projected")
        if part.ndim not in (1, 2) or part.shape[-1] != rows:
            msg = (
                f"{owner}: projected must have shape (N, {self._gates} H) or ({self._gates} H,) "
                f"with H = {self.hidden_size}, got {part.shape}"
            )
            raise ValueError(msg)
        check_same_dtype(owner, "projected", part.dtype, self.weight_hh.dtype)
        return self._take(part, hx, recurrent)

    def _take(self, part: Tensor, hx: Any, recurrent: Any) -> Any:
        """Return the next state, after the checks of this one."""
        dtype, batch = part.dtype, part.shape[:-1]
        form, shape = "(N, H)" if batch else "(H,)", (*batch, self.hidden_size)
        states = self._checked_state(hx, [(form, shape)] * len(self._states), dtype)
        seen = states[0]
        if recurrent is not None:
            seen = as_tensor(type(self).__name__, recurrent, "recurrent")
            self._check_fits("recurrent", seen, form, shape, dtype)
        if batch:
            after = self._advance(part, seen, tuple(states))
        else:
            rows = [h.reshape(1, -1) for h in (part, seen, *states)]
            after = tuple(h.reshape(-1) for h in self._advance(rows[0], rows[1], tuple(rows[2:])))
        return after if len(after) > 1 else after[0]

    def _project(self, x: Tensor) -> Tensor:
        """Return W_ih x and the biases."""
        bias, b_hh = self.bias_ih, self.bias_hh
        if b_hh is not None:
            bias = b_hh if bias is None else bias + b_hh
        return linear(x, self.weight_ih, bias)

    def _advance(self, part: Tensor, seen: Tensor, states: States) -> States:
        """Return the next states; `seen` is what W_hh multiplies."""
        return self._step()(part, linear(seen, self.weight_hh, None), states)

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

    # The reset gate multiplies a part of bias_hh, so it stays with the state.
    def _project(self, x: Tensor) -> Tensor:
        return linear(x, self.weight_ih, self.bias_ih)

    def _advance(self, part: Tensor, seen: Tensor, states: States) -> States:
        return gru_step(part, linear(seen, self.weight_hh, self.bias_hh), states)


def _described(state: Any) -> str:
    if isinstance(state, (tuple, list)):
        return f"{len(state)} states"
    if hasattr(state, "shape"):
        return f"{type(state).__name__} of shape {state.shape}"
    return type(state).__name__
