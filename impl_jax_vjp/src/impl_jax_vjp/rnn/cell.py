"""The cells: one step of a recurrence.

N batch, I input size, H hidden size.
"""

import functools
import math
from typing import Any, ClassVar

import jax
import numpy as np

from .. import ops
from ..checks import check_choice, check_flag
from ..dtypes import make_array
from ..nn.layer import Layer
from ..recording import Primitive, as_operand, dtype_of, is_array, shape_of
from ..tensor import Tensor
from . import equations as R

Array = Any

_rnn_cell = Primitive(R.rnn_cell, "RNNCell")
_lstm_cell = Primitive(R.lstm_cell, "LSTMCell")
_gru_cell = Primitive(R.gru_cell, "GRUCell")
_WEIGHTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class Recurrent(Layer):
    """Sizes, parameters and checks that cells and layers share."""

    input_size: int
    hidden_size: int
    _gates: ClassVar[int] = 1

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: Any) -> None:
        super().__init__(dtype=dtype)
        self._take_sizes(input_size=input_size, hidden_size=hidden_size)
        self.bias = check_flag(type(self).__name__, "bias", bias)

    def _add_weights(self, width: int, suffix: str = "", projected: int = 0) -> None:
        """Register the parameters of a cell, or of one layer in one direction.

        Parameters
        ----------
        width : int
            The size of its input.
        suffix : str
            The end of each name.
        projected : int
            What a projection makes of a hidden state; 0 for no projection.
        """
        bound = 1.0 / math.sqrt(self.hidden_size)  # rnn-16
        rows = self._gates * self.hidden_size
        self._uniform("weight_ih" + suffix, (rows, width), bound)
        self._uniform("weight_hh" + suffix, (rows, projected or self.hidden_size), bound)
        self._uniform("bias_ih" + suffix, (rows,), bound, present=self.bias)
        self._uniform("bias_hh" + suffix, (rows,), bound, present=self.bias)
        if projected:
            self._uniform("weight_hr" + suffix, (projected, self.hidden_size), bound)

    def _weights(self, suffix: str = "") -> list[Any]:
        """Return weights and biases, or None for a bias that there is not."""
        return [getattr(self, name + suffix) for name in _WEIGHTS]

    def _pair_shapes(self) -> str:
        """Return the shapes of a pair of states, for a message."""
        return "shape (N, H) each"

    def _pair(self, names: str, value: Any, argument: str = "the state") -> tuple[Any, Any]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            listed = isinstance(value, tuple | list)
            came = f"{len(value)} items" if listed else type(value).__name__
            if is_array(value):
                came += f" of shape {shape_of(value)}"
            wanted = f"a pair {names} of {self._pair_shapes()}"
            msg = f"{type(self).__name__}: {argument} must be {wanted}, got {came}"
            raise ValueError(msg)
        return value[0], value[1]


@functools.lru_cache(maxsize=64)
def zero_state(shape: tuple[int, ...], dtype: Any) -> Array:
    """Return the first state of who gives none."""
    # Outside any trace that may be under way: what is cached must outlive it.
    with jax.ensure_compile_time_eval():
        return make_array(np.zeros(shape, dtype))


class _Cell(Recurrent):
    _options = ("input_size", "hidden_size", "bias?")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self._add_weights(self.input_size)

    def _state(self, name: str, state: Any, shape: tuple[int, ...], symbols: str) -> Any:
        """Return a first state that was checked, or zeros for None."""
        if state is None:
            return zero_state(shape, dtype_of(self.weight_ih))
        return self._check(name, state, shape, symbols)

    def _operands(self, x: Any, states: dict[str, Any]) -> tuple[bool, list[Any]]:
        """Return whether there is a batch axis, and the operands of a step with one."""
        x = as_operand(type(self).__name__, x)
        size, hidden = self.input_size, self.hidden_size
        batched = len(shape_of(x)) != 1
        if batched:
            x = self._check("input", x, (None, size), "(N, I)")
            shape: tuple[int, ...] = (shape_of(x)[0], hidden)
        else:
            x = self._check("input", x, (size,), "(I,)")
            shape = (hidden,)
        symbols = "(N, H)" if batched else "(H,)"
        firsts = [self._state(name, state, shape, symbols) for name, state in states.items()]
        inputs = [x, *firsts]
        if not batched:
            inputs = [ops.expand_dims(value, axis=0) for value in inputs]
        return batched, [*inputs, *(w for w in self._weights() if w is not None)]


class RNNCell(_Cell):
    """One step of ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : dtype

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (H, I), (H, H)
    bias_ih, bias_hh : Parameter, shape (H,), or None
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: Any = None,
    ) -> None:
        check_choice(type(self).__name__, "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Return h', shape (N, H), of input (N, I) and hx (N, H), zeros if left out; N optional."""
        batched, operands = self._operands(input, {"h": hx})
        out = _rnn_cell(operands, self.nonlinearity)
        return out if batched else out[0]


class LSTMCell(_Cell):
    """One step of ``c' = f c + i g``, ``h' = o tanh(c')``, gates in rows ordered i, f, g, o.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (4·H, I), (4·H, H)
    bias_ih, bias_hh : Parameter, shape (4·H,), or None
    """

    _gates = 4

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return (h', c'), each (N, H), of input (N, I) and (h, c), zeros if left out."""
        h, c = (None, None) if hx is None else self._pair("(h, c)", hx)
        batched, operands = self._operands(input, {"h": h, "c": c})
        h, c = _lstm_cell(operands)
        return (h, c) if batched else (h[0], c[0])


class GRUCell(_Cell):
    """One step of the GRU, gates in rows ordered r, z, n: ``h' = (1 - z) n + z h``.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (3·H, I), (3·H, H)
    bias_ih, bias_hh : Parameter, shape (3·H,), or None
    """

    _gates = 3

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Return h', shape (N, H), of input (N, I) and hx (N, H), zeros if left out; N optional."""
        batched, operands = self._operands(input, {"h": hx})
        out = _gru_cell(operands)
        return out if batched else out[0]
