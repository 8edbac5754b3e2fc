"""Recurrent cells, as in ``torch.nn``: one step, run as a sequence of length 1.

N, I, H are batch, input size, hidden size.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice, check_flag, check_positive_int, check_same_dtype
from impl_cupy.dtypes import DTypeLike
from impl_cupy.nn.layer import Layer, uniform
from impl_cupy.ops.manipulation import expand_dims, squeeze
from impl_cupy.recording import as_tensor
from impl_cupy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


class Recurrent(Layer):
    """What cells and layers share: sizes, parameters, and checks of what comes in."""

    _bare = ("input_size", "hidden_size")
    _usual: ClassVar[dict[str, Any]] = {
        "bias": True,
        "batch_first": False,
        "nonlinearity": "tanh",
    }

    input_size: int
    hidden_size: int
    bias: bool

    gates = 1
    suffix = ""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, dtype: DTypeLike, **options: Any
    ) -> None:
        name = type(self).__name__
        if "nonlinearity" in options:
            check_choice(name, "nonlinearity", options["nonlinearity"], ("tanh", "relu"))
        columns = check_positive_int(name, "input_size", input_size)
        size = check_positive_int(name, "hidden_size", hidden_size)
        options = {"input_size": columns, "hidden_size": size, "bias": bias, **options}
        for flag in ("bias", "batch_first"):
            if flag in options:
                options[flag] = check_flag(name, flag, options[flag])
        super().__init__(dtype, **options)
        draw, rows = uniform(1 / math.sqrt(size)), self.gates * size
        self._parameter("weight_ih" + self.suffix, (rows, columns), draw)
        self._parameter("weight_hh" + self.suffix, (rows, size), draw)
        self._parameter("bias_ih" + self.suffix, (rows,), draw, self.bias)
        self._parameter("bias_hh" + self.suffix, (rows,), draw, self.bias)

    def _weights(self) -> tuple[Any, ...]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return tuple(self._parameters[name + self.suffix] for name in names)

    def _sized(self, x: Any, batched: str, ndim: int, single: str) -> Tensor:
        value = as_tensor(type(self).__name__, x)
        if value.ndim not in (ndim, ndim - 1) or value.shape[-1] != self.input_size:
            msg = (
                f"{type(self).__name__}: input must have shape {batched} or {single} with "
                f"I = {self.input_size}, got {value.shape}"
            )
            raise ValueError(msg)
        self._check_parameters(value.dtype)
        return value

    def _state(self, argument: str, state: Any, axes: str, wanted: tuple[int, ...]) -> Tensor:
        value = as_tensor(f"{type(self).__name__}: {argument}", state)
        if value.shape != wanted:
            msg = (
                f"{type(self).__name__}: {argument} must have shape {axes} = {wanted}, "
                f"got {value.shape}"
            )
            raise ValueError(msg)
        wanted = self._parameters["weight_ih" + self.suffix].dtype
        check_same_dtype(type(self).__name__, argument, value.dtype, wanted)
        return value

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


class _Cell(Recurrent):
    """One step, run as a sequence of length 1."""

    def _step(self, x: Any) -> tuple[Tensor, bool]:
        value = self._sized(x, "(N, I)", 2, "(I,)")
        batched = value.ndim == 2
        return (value if batched else expand_dims(value, axis=0)), batched

    def _begin(self, argument: str, state: Any, x: Tensor, batched: bool) -> Tensor:
        size = self.hidden_size
        if state is None:
            return self._zeros(1, x.shape[0], size)
        if batched:
            return expand_dims(self._state(argument, state, "(N, H)", (x.shape[0], size)), axis=0)
        return expand_dims(self._state(argument, state, "(H,)", (size,)), axis=(0, 1))

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

    nonlinearity: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: DTypeLike = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype, nonlinearity=nonlinearity)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Make a step.

        Parameters
        ----------
        input : Tensor, shape (N, I) or (I,)
        hx : Tensor, shape (N, H) or (H,), optional
            Zeros if left out.

        Returns
        -------
        Tensor, shape of `hx`

        Raises
        ------
        ValueError
            If a shape does not fit.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._step(input)
        state = self._begin("h", hx, value, batched)
        _, h_n = RNNFunction.apply(
            expand_dims(value, axis=0), state, *self._weights(), nonlinearity=self.nonlinearity
        )
        return self._end(h_n, batched)


class LSTMCell(_Cell):
    """``c' = f c + i g``, ``h' = o tanh(c')``; see `equations.lstm` for the gates.

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

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Make a step.

        Parameters
        ----------
        input : Tensor, shape (N, I) or (I,)
        hx : pair of Tensor, shapes (N, H) or (H,), optional
            ``(h, c)``, zeros if left out.

        Returns
        -------
        tuple of Tensor
            ``(h', c')``.

        Raises
        ------
        ValueError
            If a shape does not fit, or `hx` is no pair.
        TypeError
            If a dtype is not the parameters'.
        """
        value, batched = self._step(input)
        h, c = self._pair(hx, "(h, c)")
        states = (self._begin("h", h, value, batched), self._begin("c", c, value, batched))
        _, h_n, c_n = LSTMFunction.apply(expand_dims(value, axis=0), *states, *self._weights())
        return self._end(h_n, batched), self._end(c_n, batched)


class GRUCell(_Cell):
    """``h' = (1 - z) n + z h``; see `equations.gru` for the gates.

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

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Make a step; see `RNNCell.forward`."""
        value, batched = self._step(input)
        state = self._begin("h", hx, value, batched)
        _, h_n = GRUFunction.apply(expand_dims(value, axis=0), state, *self._weights())
        return self._end(h_n, batched)
