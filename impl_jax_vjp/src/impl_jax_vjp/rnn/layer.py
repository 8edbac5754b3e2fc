"""The layers: a whole sequence as one Function.

T steps, N batch, I input size, H hidden size.
"""

from typing import Any

from .. import ops
from ..checks import check_choice, check_flag
from ..recording import as_operand, shape_of
from ..tensor import Tensor
from .cell import Recurrent
from .fused import GRUFunction, LSTMFunction, RNNFunction


class _Layer(Recurrent):
    _options = ("input_size", "hidden_size", "bias?", "batch_first?")
    _suffix = "_l0"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, batch_first: bool, dtype: Any
    ) -> None:
        first = check_flag(type(self).__name__, "batch_first", batch_first)
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = first

    def _run(self, function: Any, x: Any, states: dict[str, Any], **config: Any) -> list[Tensor]:
        """Apply a Function to a sequence in any layout; return output and last states."""
        x = as_operand(type(self).__name__, x)
        batched = len(shape_of(x)) != 2
        size, hidden = self.input_size, self.hidden_size
        if batched:
            axes = "(N, T, I)" if self.batch_first else "(T, N, I)"
            x = self._check("input", x, (None, None, size), axes)
            if self.batch_first:
                x = ops.permute_dims(x, (1, 0, 2))
            shape: tuple[int, ...] = (1, shape_of(x)[1], hidden)
            symbols = "(1, N, H)"
        else:
            x = ops.expand_dims(self._check("input", x, (None, size), "(T, I)"), axis=1)
            shape, symbols = (1, hidden), "(1, H)"
        batch = shape_of(x)[1]
        firsts = [
            self._state(name, state, (batch, hidden), symbols)
            if state is None
            else ops.reshape(self._check(name, state, shape, symbols), (batch, hidden))
            for name, state in states.items()
        ]
        output, *last = function.apply(x, *firsts, *self._weights(), **config)
        if not batched:
            return [ops.reshape(output, (shape_of(x)[0], hidden)), *last]
        if self.batch_first:
            output = ops.permute_dims(output, (1, 0, 2))
        return [output, *(ops.expand_dims(state, axis=0) for state in last)]


class RNN(_Layer):
    """A sequence through ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu, as one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    nonlinearity : {"tanh", "relu"}
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (H, I), (H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (H,), or None
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        check_choice(type(self).__name__, "nonlinearity", nonlinearity, ("tanh", "relu"))
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) of input (T, N, I) and hx (1, N, H)."""
        output, h = self._run(RNNFunction, input, {"h0": hx}, nonlinearity=self.nonlinearity)
        return output, h


class LSTM(_Layer):
    """A sequence through the LSTM as one Function, gates in rows ordered i, f, g, o.

    Parameters
    ----------
    input_size, hidden_size : int
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (4·H, I), (4·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4·H,), or None
    """

    _gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return output (T, N, H) and (h_n, c_n) of input (T, N, I) and (h0, c0), all (1, N, H)."""
        h0, c0 = (None, None) if hx is None else self._pair("(h0, c0)", "(1, N, H)", hx)
        output, h, c = self._run(LSTMFunction, input, {"h0": h0, "c0": c0})
        return output, (h, c)


class GRU(_Layer):
    """A sequence through the GRU as one Function, gates in rows ordered r, z, n.

    Parameters
    ----------
    input_size, hidden_size : int
    bias, batch_first : bool
    dtype : dtype

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shape (3·H, I), (3·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3·H,), or None
    """

    _gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) of input (T, N, I) and hx (1, N, H)."""
        output, h = self._run(GRUFunction, input, {"h0": hx})
        return output, h
