"""RNN, LSTM and GRU: a whole sequence as one Function, and the cells.

T steps, N batch, I input size, H hidden size, G gates. LSTM after Hochreiter and Schmidhuber 1997
with the forget gate of Gers et al. 2000; GRU after Cho et al. 2014, reset gate after the recurrent
product. The equations stand on the pages of ``torch.nn.RNNCell``, ``LSTMCell`` and ``GRUCell``.
"""

import functools
import math
from typing import Any, ClassVar

import jax
import numpy as np

from . import arithmetic as A
from . import ops
from . import recurrence as R
from .arguments import floating_dtype, positive_int
from .creation import host
from .function import Function
from .init import uniform_values
from .module import Module
from .parameter import Parameter
from .tape import Primitive
from .tensor import Tensor, float32

Array = Any


def _input_gradients(ctx: Any, places: tuple[int, ...], da: Array, x: Array, w: Array) -> list[Any]:
    """Return what of the gradients of x, weight and bias is wanted; `places` are theirs."""
    at_x, at_weight, at_bias = (ctx.needs_input_grad[place] for place in places)
    return [
        R.input_gradient(da, w) if at_x else None,
        R.weight_gradient(da, x) if at_weight else None,
        R.bias_gradient(da) if at_bias else None,
    ]


class RNNFunction(Function):
    """A sequence of ``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (H, I), weight_hh (H, H), bias_ih and bias_hh (H,) or
    None; `nonlinearity` is configuration. Outputs: all states (T, N, H) and the last (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
        *,
        nonlinearity: str = "tanh",
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        bias = None if b_ih is None else b_ih + b_hh
        states, last = R.rnn_forward(nonlinearity, R.gates(x, w_ih, bias), h0, w_hh)
        ctx.nonlinearity = nonlinearity
        ctx.save_for_backward(x, h0, w_ih, w_hh, states)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, states = ctx.saved_tensors
        da, dh = R.rnn_backward(ctx.nonlinearity, states, w_hh, d_states, d_last)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 2, 4), da, x, w_ih)
        dw_hh = R.weight_gradient(da, R.previous(h0, states)) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[5] else None
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh


class LSTMFunction(Function):
    """A sequence of LSTM steps, gates in rows ordered i, f, g, o.

    Inputs: x (T, N, I), h0 and c0 (N, H), weight_ih (4·H, I), weight_hh (4·H, H), bias_ih and
    bias_hh (4·H,) or None. Outputs: all h (T, N, H), the last h and c (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        c0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, Array, Array]:
        """Return all h (T, N, H), the last h and c (N, H); inputs as in the class."""
        bias = None if b_ih is None else b_ih + b_hh
        hs, h, c, *kept = R.lstm_forward(R.gates(x, w_ih, bias), h0, c0, w_hh)
        ctx.save_for_backward(x, h0, c0, w_ih, w_hh, hs, *kept)
        return hs, h, c

    @staticmethod
    def backward(ctx: Any, d_hs: Array, d_h: Array, d_c: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_hs (T, N, H), d_h, d_c (N, H)."""
        x, h0, c0, w_ih, w_hh, hs, *kept = ctx.saved_tensors
        da, dh, dc = R.lstm_backward(kept, c0, w_hh, d_hs, d_h, d_c)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 3, 5), da, x, w_ih)
        dw_hh = R.weight_gradient(da, R.previous(h0, hs)) if ctx.needs_input_grad[4] else None
        db_hh = R.bias_gradient(da) if ctx.needs_input_grad[6] else None
        return dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh


class GRUFunction(Function):
    """A sequence of GRU steps, gates in rows ordered r, z, n.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (3·H, I), weight_hh (3·H, H), bias_ih and bias_hh
    (3·H,) or None. Outputs: all states (T, N, H) and the last (N, H).
    """

    compiled = True

    @staticmethod
    def forward(
        ctx: Any,
        x: Array,
        h0: Array,
        w_ih: Array,
        w_hh: Array,
        b_ih: Array | None,
        b_hh: Array | None,
    ) -> tuple[Array, Array]:
        """Return all states (T, N, H) and the last (N, H); inputs as in the class."""
        states, last, *kept = R.gru_forward(R.gates(x, w_ih, b_ih), h0, w_hh, b_hh)
        ctx.save_for_backward(x, h0, w_ih, w_hh, states, *kept)
        return states, last

    @staticmethod
    def backward(ctx: Any, d_states: Array, d_last: Array) -> tuple[Array | None, ...]:
        """Return a gradient or None per input, of d_states (T, N, H), d_last (N, H)."""
        x, h0, w_ih, w_hh, states, *kept = ctx.saved_tensors
        da, recurrent, dh = R.gru_backward(kept, h0, w_hh, states, d_states, d_last)
        dx, dw_ih, db_ih = _input_gradients(ctx, (0, 2, 4), da, x, w_ih)
        before = R.previous(h0, states)
        dw_hh = R.weight_gradient(recurrent, before) if ctx.needs_input_grad[3] else None
        db_hh = R.bias_gradient(recurrent) if ctx.needs_input_grad[5] else None
        return dx, dh, dw_ih, dw_hh, db_ih, db_hh


_rnn_cell = Primitive(R.rnn_cell, "RNNCell")
_lstm_cell = Primitive(R.lstm_cell, "LSTMCell")
_gru_cell = Primitive(R.gru_cell, "GRUCell")


class _Recurrent(Module):
    """Sizes, parameters and checks that cells and layers share."""

    _gates: ClassVar[int] = 1
    _suffix: ClassVar[str] = ""

    def __init__(self, input_size: int, hidden_size: int, bias: bool, dtype: Any) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        self.bias = bool(bias)
        wanted = floating_dtype(name, dtype)
        bound = 1.0 / math.sqrt(self.hidden_size)
        rows = self._gates * self.hidden_size
        shapes = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        for key, shape in (shapes | {"bias_ih": (rows,), "bias_hh": (rows,)}).items():
            if self.bias or key in shapes:
                values = uniform_values(shape, -bound, bound)
                drawn = Parameter(host(name, values, wanted, False))
                self.register_parameter(key + self._suffix, drawn)
            else:
                self.register_parameter(key + self._suffix, None)

    def _weights(self) -> list[Any]:
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        return [getattr(self, name + self._suffix) for name in names]

    def _checked(self, argument: str, value: Any, shape: tuple[Any, ...], symbols: str) -> Any:
        """Return an array of a shape and of the parameters' dtype; a size that is None is free."""
        name = type(self).__name__
        value = A.operand(name, value)
        came = A.shape_of(value)
        fits = len(came) == len(shape) and all(
            s is None or s == c for s, c in zip(shape, came, strict=True)
        )
        if not fits:
            letters = symbols.strip("()").rstrip(",").split(", ")
            known = [v if s is None else str(s) for v, s in zip(letters, shape, strict=True)]
            wanted = f"({', '.join(known)}{',' if len(known) == 1 else ''})"
            msg = f"{name}: {argument} must have shape {symbols} = {wanted}, got {came}"
            raise ValueError(msg)
        dtype = A.dtype_of(self._weights()[0])
        if A.dtype_of(value) != dtype:
            msg = (
                f"{name}: {argument} has dtype {A.dtype_of(value)}, the parameters have {dtype}; "
                "convert one of them"
            )
            raise TypeError(msg)
        return value

    def _pair(self, names: str, shape: str, value: Any) -> tuple[Any, Any]:
        if not isinstance(value, tuple | list) or len(value) != 2:
            came = (
                f"{len(value)} items" if isinstance(value, tuple | list) else type(value).__name__
            )
            if A.is_array(value):
                came += f" of shape {A.shape_of(value)}"
            msg = (
                f"{type(self).__name__}: the state must be a pair {names} of shape {shape} each, "
                f"got {came}"
            )
            raise ValueError(msg)
        return value[0], value[1]

    def _zeros(self, *shape: int) -> Any:
        return _zero_state(shape, A.dtype_of(self._weights()[0]))

    def extra_repr(self) -> str:
        """Return the sizes, and bias where it is off."""
        bias = "" if self.bias else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{bias}"


@functools.lru_cache(maxsize=64)
def _zero_state(shape: tuple[int, ...], dtype: Any) -> Array:
    # Outside any trace that may be under way: what is cached must outlive it.
    with jax.ensure_compile_time_eval():
        return jax.device_put(np.zeros(shape, dtype))


def _check_nonlinearity(name: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        msg = f"{name}: nonlinearity must be tanh or relu, got {nonlinearity!r}"
        raise ValueError(msg)
    return nonlinearity


class _Cell(_Recurrent):
    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = float32
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def _inputs(self, x: Any, states: dict[str, Any]) -> tuple[bool, list[Any]]:
        """Return whether there is a batch axis, and x and the states with one."""
        x = A.operand(type(self).__name__, x)
        if len(A.shape_of(x)) == 1:
            x = self._checked("x", x, (self.input_size,), "(I,)")
            given = [
                self._zeros(self.hidden_size)
                if state is None
                else self._checked(name, state, (self.hidden_size,), "(H,)")
                for name, state in states.items()
            ]
            return False, [ops.expand_dims(v, axis=0) for v in (x, *given)]
        x = self._checked("x", x, (None, self.input_size), "(N, I)")
        batch = A.shape_of(x)[0]
        given = [
            self._zeros(batch, self.hidden_size)
            if state is None
            else self._checked(name, state, (batch, self.hidden_size), "(N, H)")
            for name, state in states.items()
        ]
        return True, [x, *given]

    def _operands(self, inputs: list[Any]) -> list[Any]:
        return [*inputs, *(w for w in self._weights() if w is not None)]


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
        dtype: Any = float32,
    ) -> None:
        _check_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """Return h', shape (N, H), of x (N, I) and h (N, H), zeros if left out; N may be absent."""
        batched, inputs = self._inputs(x, {"h": h})
        out = _rnn_cell(self._operands(inputs), self.nonlinearity)
        return out if batched else out[0]


class LSTMCell(_Cell):
    """One step of ``c' = f c + i g``, ``h' = o tanh(c')``, gates in rows ordered i, f, g, o.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (4·H, I), (4·H, H)
    bias_ih, bias_hh : Parameter, shape (4·H,), or None
    """

    _gates = 4

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, Tensor]:
        """Return (h', c'), each (N, H), of x (N, I) and (h, c), zeros if left out."""
        h, c = (None, None) if state is None else self._pair("(h, c)", "(N, H)", state)
        batched, inputs = self._inputs(x, {"h": h, "c": c})
        h, c = _lstm_cell(self._operands(inputs))
        return (h, c) if batched else (h[0], c[0])


class GRUCell(_Cell):
    """One step of the GRU, gates in rows ordered r, z, n: ``h' = (1 - z) n + z h``.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (3·H, I), (3·H, H)
    bias_ih, bias_hh : Parameter, shape (3·H,), or None
    """

    _gates = 3

    def forward(self, x: Any, h: Any = None) -> Tensor:
        """Return h', shape (N, H), of x (N, I) and h (N, H), zeros if left out; N may be absent."""
        batched, inputs = self._inputs(x, {"h": h})
        out = _gru_cell(self._operands(inputs))
        return out if batched else out[0]


class _Layer(_Recurrent):
    _suffix = "_l0"

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, batch_first: bool, dtype: Any
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = bool(batch_first)

    def _run(self, function: Any, x: Any, states: dict[str, Any], **config: Any) -> list[Tensor]:
        """Apply a Function to a sequence in any layout; return output and last states."""
        x = A.operand(type(self).__name__, x)
        batched = len(A.shape_of(x)) != 2
        size, hidden = self.input_size, self.hidden_size
        if batched:
            axes = "(N, T, I)" if self.batch_first else "(T, N, I)"
            x = self._checked("x", x, (None, None, size), axes)
            if self.batch_first:
                x = ops.permute_dims(x, (1, 0, 2))
            shape: tuple[int, ...] = (1, A.shape_of(x)[1], hidden)
            symbols = "(1, N, H)"
        else:
            x = ops.expand_dims(self._checked("x", x, (None, size), "(T, I)"), axis=1)
            shape, symbols = (1, hidden), "(1, H)"
        batch = A.shape_of(x)[1]
        given = [
            self._zeros(batch, hidden)
            if state is None
            else A.reshape(self._checked(name, state, shape, symbols), (batch, hidden))
            for name, state in states.items()
        ]
        output, *last = function.apply(x, *given, *self._weights(), **config)
        if not batched:
            return [A.reshape(output, (A.shape_of(x)[0], hidden)), *last]
        if self.batch_first:
            output = ops.permute_dims(output, (1, 0, 2))
        return [output, *(ops.expand_dims(state, axis=0) for state in last)]

    def extra_repr(self) -> str:
        """Return the sizes, and the options that are not the default."""
        return super().extra_repr() + (", batch_first=True" if self.batch_first else "")


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
        dtype: Any = float32,
    ) -> None:
        _check_nonlinearity(type(self).__name__, nonlinearity)
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) of x (T, N, I) and h0 (1, N, H)."""
        output, h = self._run(RNNFunction, x, {"h0": h0}, nonlinearity=self.nonlinearity)
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
        dtype: Any = float32,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)

    def forward(self, x: Any, state: Any = None) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return output (T, N, H) and (h_n, c_n) of x (T, N, I) and (h0, c0), all (1, N, H)."""
        h0, c0 = (None, None) if state is None else self._pair("(h0, c0)", "(1, N, H)", state)
        output, h, c = self._run(LSTMFunction, x, {"h0": h0, "c0": c0})
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
        dtype: Any = float32,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, batch_first, dtype)

    def forward(self, x: Any, h0: Any = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) of x (T, N, I) and h0 (1, N, H)."""
        output, h = self._run(GRUFunction, x, {"h0": h0})
        return output, h
