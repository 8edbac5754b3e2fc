"""Recurrent cells and layers, as in ``torch.nn``: one layer, one direction.

T, N, I, H are steps, batch, input size, hidden size.
"""

from __future__ import annotations

import math
from typing import Any

from impl_cupy.backend import cp
from impl_cupy.dtypes import DTypeLike, as_floating, float32
from impl_cupy.init import uniform_parameter
from impl_cupy.module import Module
from impl_cupy.nn.arguments import positive_int
from impl_cupy.ops.manipulation import expand_dims, permute_dims, squeeze
from impl_cupy.ops.primitive import as_tensor
from impl_cupy.rnn_function import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.tensor import Tensor, wrap

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
    """What cells and layers share: sizes, parameters, and checks of what comes in."""

    gates = 1
    suffix = ""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, dtype: DTypeLike = float32
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.bias = bool(bias)
        wanted = as_floating(name, dtype)
        bound = 1 / math.sqrt(self.hidden_size)
        rows = self.gates * self.hidden_size
        for weight, columns in (("weight_ih", self.input_size), ("weight_hh", self.hidden_size)):
            drawn = uniform_parameter((rows, columns), bound, wanted)
            self.register_parameter(weight + self.suffix, drawn)
        for each in ("bias_ih", "bias_hh"):
            drawn_bias = uniform_parameter((rows,), bound, wanted) if self.bias else None
            self.register_parameter(each + self.suffix, drawn_bias)

    def _weights(self) -> tuple[Any, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(self._parameters[name + self.suffix] for name in names)

    def _input(self, x: Any, batched: str, ndim: int, single: str) -> Tensor:
        value = as_tensor(type(self).__name__, x)
        if value.ndim not in (ndim, ndim - 1) or value.shape[-1] != self.input_size:
            msg = (
                f"{type(self).__name__}: x must have shape {batched} or {single} with "
                f"I = {self.input_size}, got {value.shape}"
            )
            raise ValueError(msg)
        self._check_dtype("x", value)
        return value

    def _state(self, argument: str, state: Any, axes: str, wanted: tuple[int, ...]) -> Tensor:
        value = as_tensor(f"{type(self).__name__}: {argument}", state)
        if value.shape != wanted:
            msg = (
                f"{type(self).__name__}: {argument} must have shape {axes} = {wanted}, "
                f"got {value.shape}"
            )
            raise ValueError(msg)
        self._check_dtype(argument, value)
        return value

    def _check_dtype(self, argument: str, value: Tensor) -> None:
        wanted = self._parameters["weight_ih" + self.suffix].dtype
        if value.dtype != wanted:
            msg = (
                f"{type(self).__name__}: {argument} must have the parameters' dtype "
                f"{wanted.name}, got {value.dtype.name}"
            )
            raise TypeError(msg)

    def _pair(self, state: Any, names: str) -> tuple[Any, Any]:
        if state is None:
            return None, None
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            got = type(state).__name__
            if isinstance(state, (tuple, list)):
                got += f" of length {len(state)}"
            elif isinstance(state, Tensor):
                got += f" of shape {state.shape}"
            msg = f"{type(self).__name__}: the state must be a pair {names}, got {got}"
            raise ValueError(msg)
        return state[0], state[1]

    def _zeros(self, *shape: int) -> Tensor:
        return wrap(cp.zeros(shape, dtype=self._parameters["weight_ih" + self.suffix].dtype))

    def extra_repr(self) -> str:
        """Show the constructor's arguments."""
        return f"{self.input_size}, {self.hidden_size}" + ("" if self.bias else ", bias=False")


class _Cell(_Recurrent):
    """One step, run as a sequence of length 1."""

    def _step(self, x: Any) -> tuple[Tensor, bool]:
        value = self._input(x, "(N, I)", 2, "(I,)")
        batched = value.ndim == 2
        return (value if batched else expand_dims(value)), batched

    def _begin(self, argument: str, state: Any, x: Tensor, batched: bool) -> Tensor:
        size = self.hidden_size
        if state is None:
            return self._zeros(1, x.shape[0], size)
        if batched:
            return expand_dims(self._state(argument, state, "(N, H)", (x.shape[0], size)))
        return expand_dims(expand_dims(self._state(argument, state, "(H,)", (size,))))

    def _end(self, state: Tensor, batched: bool) -> Tensor:
        return squeeze(state, 0) if batched else squeeze(state, (0, 1))


class RNNCell(_Cell):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Source: the page of ``torch.nn.RNNCell``.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    nonlinearity : "tanh" or "relu"
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (H, I) and (H, H)
    bias_ih, bias_hh : Parameter or None, shape (H,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        dtype: DTypeLike = float32,
    ) -> None:
        _check_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """Make a step.

        Parameters
        ----------
        x : Tensor, shape (N, I) or (I,)
        h : Tensor, shape (N, H) or (H,), optional
            Zeros if left out.

        Returns
        -------
        Tensor, shape of `h`

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._step(x)
        state = self._begin("h", h, value, batched)
        _, h_n = RNNFunction.apply(
            expand_dims(value), state, *self._weights(), nonlinearity=self.nonlinearity
        )
        return self._end(h_n, batched)

    def extra_repr(self) -> str:
        """Show the constructor's arguments."""
        other = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + other


class LSTMCell(_Cell):
    """``c' = f c + i g``, ``h' = o tanh(c')``; see `LSTMFunction` for the gates.

    Source: the page of ``torch.nn.LSTMCell``.

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
    """

    gates = 4

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        """Make a step.

        Parameters
        ----------
        x : Tensor, shape (N, I) or (I,)
        state : pair of Tensor, shapes (N, H) or (H,), optional
            ``(h, c)``, zeros if left out.

        Returns
        -------
        tuple of Tensor
            ``(h', c')``.

        Raises
        ------
        ValueError
            If a shape does not fit, or `state` is no pair.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._step(x)
        h, c = self._pair(state, "(h, c)")
        states = (self._begin("h", h, value, batched), self._begin("c", c, value, batched))
        _, h_n, c_n = LSTMFunction.apply(expand_dims(value), *states, *self._weights())
        return self._end(h_n, batched), self._end(c_n, batched)


class GRUCell(_Cell):
    """``h' = (1 - z) n + z h``; see `GRUFunction` for the gates.

    Source: the page of ``torch.nn.GRUCell``.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shapes (3 H, I) and (3 H, H)
    bias_ih, bias_hh : Parameter or None, shape (3 H,)
    """

    gates = 3

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """Make a step; see `RNNCell.forward`."""
        value, batched = self._step(x)
        state = self._begin("h", h, value, batched)
        _, h_n = GRUFunction.apply(expand_dims(value), state, *self._weights())
        return self._end(h_n, batched)


class _Layer(_Recurrent):
    """A whole sequence."""

    suffix = "_l0"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = float32,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = bool(batch_first)

    def _sequence(self, x: Any) -> tuple[Tensor, bool]:
        """Check x and bring it to (T, N, I)."""
        batched = "(N, T, I)" if self.batch_first else "(T, N, I)"
        value = self._input(x, batched, 3, "(T, I)")
        if value.ndim == 2:
            return expand_dims(value, axis=1), False
        return (permute_dims(value, (1, 0, 2)) if self.batch_first else value), True

    def _begin(self, argument: str, state: Any, x: Tensor, batched: bool) -> Tensor:
        size = self.hidden_size
        if state is None:
            return self._zeros(1, x.shape[1], size)
        if batched:
            return self._state(argument, state, "(1, N, H)", (1, x.shape[1], size))
        return expand_dims(self._state(argument, state, "(1, H)", (1, size)), axis=1)

    def _end(self, output: Tensor, batched: bool) -> Tensor:
        if not batched:
            return squeeze(output, 1)
        return permute_dims(output, (1, 0, 2)) if self.batch_first else output

    def _last(self, state: Tensor, batched: bool) -> Tensor:
        return state if batched else squeeze(state, 1)

    def extra_repr(self) -> str:
        """Show the constructor's arguments."""
        return super().extra_repr() + (", batch_first=True" if self.batch_first else "")


class RNN(_Layer):
    """`RNNCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : "tanh" or "relu"
    bias : bool
    batch_first : bool
        Whether x and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (H, I) and (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (H,)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: DTypeLike = float32,
    ) -> None:
        _check_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        """Run the sequence.

        Parameters
        ----------
        x : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I)
        h0 : Tensor, shape (1, N, H) or (1, H), optional
            Zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) or (T, H)
        h_n : Tensor, shape of `h0`

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._sequence(x)
        state = self._begin("h0", h0, value, batched)
        output, h_n = RNNFunction.apply(
            value, state, *self._weights(), nonlinearity=self.nonlinearity
        )
        return self._end(output, batched), self._last(h_n, batched)

    def extra_repr(self) -> str:
        """Show the constructor's arguments."""
        other = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + other


class LSTM(_Layer):
    """`LSTMCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    batch_first : bool
        Whether x and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4 H, I) and (4 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (4 H,)
    """

    gates = 4

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Run the sequence.

        Parameters
        ----------
        x : Tensor, shape (T, N, I), (N, T, I) if `batch_first`, or (T, I)
        state : pair of Tensor, shapes (1, N, H) or (1, H), optional
            ``(h0, c0)``, zeros if left out.

        Returns
        -------
        output : Tensor, shape (T, N, H), (N, T, H) or (T, H)
        (h_n, c_n) : tuple of Tensor, shapes of the state

        Raises
        ------
        ValueError
            If a shape does not fit, or `state` is no pair.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._sequence(x)
        h0, c0 = self._pair(state, "(h0, c0)")
        states = (self._begin("h0", h0, value, batched), self._begin("c0", c0, value, batched))
        output, h_n, c_n = LSTMFunction.apply(value, *states, *self._weights())
        return self._end(output, batched), (self._last(h_n, batched), self._last(c_n, batched))


class GRU(_Layer):
    """`GRUCell` over a sequence.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    bias : bool
    batch_first : bool
        Whether x and output are (N, T, ...).
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3 H, I) and (3 H, H)
    bias_ih_l0, bias_hh_l0 : Parameter or None, shape (3 H,)
    """

    gates = 3

    def forward(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        """Run the sequence; see `RNN.forward`."""
        value, batched = self._sequence(x)
        state = self._begin("h0", h0, value, batched)
        output, h_n = GRUFunction.apply(value, state, *self._weights())
        return self._end(output, batched), self._last(h_n, batched)


def _check_nonlinearity(module: str, nonlinearity: Any) -> None:
    if nonlinearity not in ("tanh", "relu"):
        msg = f"{module}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}"
        raise ValueError(msg)
