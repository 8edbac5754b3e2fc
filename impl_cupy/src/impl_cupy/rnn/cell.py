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
from impl_cupy.rnn.lengths import Whole
from impl_cupy.tape import wrap
from impl_cupy.tensor import Tensor


class Recurrent(Layer):
    """What cells and layers share: sizes, parameters, and checks of what comes in.

    Parameters
    ----------
    input_size, hidden_size : int
    dtype : dtype
    **options : object
        `bias` and the others, in the order in which `repr` shows them.
    """

    _bare = ("input_size", "hidden_size")
    _usual: ClassVar[dict[str, Any]] = {
        "proj_size": 0,
        "num_layers": 1,
        "bias": True,
        "batch_first": False,
        "dropout": 0.0,
        "bidirectional": False,
        "nonlinearity": "tanh",
    }

    input_size: int
    hidden_size: int
    bias: bool

    gates = 1
    _names: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    """The parameters that the Function takes."""

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike, **options: Any) -> None:
        name = type(self).__name__
        if "nonlinearity" in options:
            check_choice(name, "nonlinearity", options["nonlinearity"], ("tanh", "relu"))
        columns = check_positive_int(name, "input_size", input_size)
        size = check_positive_int(name, "hidden_size", hidden_size)
        for flag in ("bias", "batch_first"):
            if flag in options:
                options[flag] = check_flag(name, flag, options[flag])
        super().__init__(dtype, **{"input_size": columns, "hidden_size": size, **options})

    def _draw(self, suffix: str, columns: int, width: int) -> None:
        """Register a set of parameters for inputs of `columns` numbers and h of `width`."""
        draw, rows = uniform(1 / math.sqrt(self.hidden_size)), self.gates * self.hidden_size
        self._parameter("weight_ih" + suffix, (rows, columns), draw)
        self._parameter("weight_hh" + suffix, (rows, width), draw)
        self._parameter("bias_ih" + suffix, (rows,), draw, self.bias)
        self._parameter("bias_hh" + suffix, (rows,), draw, self.bias)
        if width != self.hidden_size:
            self._parameter("weight_hr" + suffix, (width, self.hidden_size), draw)

    def _weights(self, suffix: str = "") -> tuple[Any, ...]:
        return tuple([self._parameters.get(name + suffix) for name in self._names])

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

    def _state(
        self, argument: str, state: Any, axes: str, wanted: tuple[int, ...], x: Tensor
    ) -> Tensor:
        """Check a first state; x has been checked, and its dtype is the parameters'."""
        name = type(self).__name__
        value: Tensor = as_tensor(f"{name}: {argument}", state)
        if value.shape != wanted:
            msg = f"{name}: {argument} must have shape {axes} = {wanted}, got {value.shape}"
            raise ValueError(msg)
        check_same_dtype(name, argument, value.dtype, x.dtype)
        return value

    def _pair(self, state: Any, names: str, called: str = "the state") -> tuple[Any, Any]:
        if state is None:
            return None, None
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            got = type(state).__name__
            if isinstance(state, (tuple, list)):
                got += f" of length {len(state)}"
            elif isinstance(state, Tensor):
                got += f" of shape {state.shape}"
            msg = f"{type(self).__name__}: {called} must be a pair {names}, got {got}"
            raise ValueError(msg)
        return state[0], state[1]


class _Cell(Recurrent):
    """One step, run as a sequence of length 1."""

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike, **options: Any) -> None:
        super().__init__(input_size, hidden_size, dtype, **options)
        self._draw("", self.input_size, self.hidden_size)

    def _step(self, x: Any) -> tuple[Tensor, bool]:
        value = self._sized(x, "(N, I)", 2, "(I,)")
        batched = value.ndim == 2
        return (value if batched else expand_dims(value, axis=0)), batched

    def _begin(self, argument: str, state: Any, x: Tensor, batched: bool) -> Tensor:
        batch, size = x.shape[0], self.hidden_size
        if state is None:
            return wrap(cp.zeros((1, batch, size), dtype=x.dtype))
        if batched:
            return expand_dims(self._state(argument, state, "(N, H)", (batch, size), x), axis=0)
        return expand_dims(self._state(argument, state, "(H,)", (size,), x), axis=(0, 1))

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
        super().__init__(input_size, hidden_size, dtype, bias=bias, nonlinearity=nonlinearity)

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
            expand_dims(value, axis=0),
            state,
            *self._weights(),
            walk=Whole(1, value.shape[0]),
            nonlinearity=self.nonlinearity,
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
    _names = (*Recurrent._names, "weight_hr")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, dtype, bias=bias)

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
        _, h_n, c_n = LSTMFunction.apply(
            expand_dims(value, axis=0), *states, *self._weights(), walk=Whole(1, value.shape[0])
        )
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
        super().__init__(input_size, hidden_size, dtype, bias=bias)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Make a step; see `RNNCell.forward`."""
        value, batched = self._step(input)
        state = self._begin("h", hx, value, batched)
        _, h_n = GRUFunction.apply(
            expand_dims(value, axis=0), state, *self._weights(), walk=Whole(1, value.shape[0])
        )
        return self._end(h_n, batched)
