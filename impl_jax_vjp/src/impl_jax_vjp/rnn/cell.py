"""The cells: one step of a recurrence.

N batch, I input size, H hidden size.
"""

import functools
import math
from typing import Any, ClassVar

import jax
import numpy as np

from .. import ops
from ..checks import check_choice, check_flag, check_parameter
from ..dtypes import make_array
from ..nn.layer import Layer
from ..recording import Primitive, as_operand, dtype_of, is_array, shape_of
from ..tensor import Tensor
from . import equations as R

Array = Any

_rnn_cell = Primitive(R.rnn_cell, "RNNCell")
_lstm_cell = Primitive(R.lstm_cell, "LSTMCell")
_gru_cell = Primitive(R.gru_cell, "GRUCell")


def product(name: str, argument: str, rows: int, x: Array, weight: Array, *biases: Array) -> Array:
    """Return ``x @ weight.T`` and the biases, shape (..., rows), of x (..., K)."""
    check_parameter(name, argument, weight, (rows, x.shape[-1]))
    out = R.times(x, weight)
    return out + sum(biases) if biases else out


def _rnn(name: str, rows: int, kind: str, a: Array, r: Array, w_hh: Array) -> Array:
    return R.rnn_step(kind, a + product(name, "weight_hh", rows, r, w_hh))


def _lstm(name: str, rows: int, a: Array, r: Array, c: Array, w_hh: Array) -> Any:
    return R.lstm_step(a + product(name, "weight_hh", rows, r, w_hh), c)


def _gru(name: str, rows: int, a: Array, r: Array, h: Array, w_hh: Array, *b_hh: Array) -> Array:
    return R.gru_step(a, product(name, "weight_hh", rows, r, w_hh, *b_hh), h)[0]


# The two parts of a step; r is what is multiplied by weight_hh, h where nothing else is given.
projection = Primitive(product, "project", lambda mask: (True, True, *[False] * (len(mask) - 2)))
_rnn_rest = Primitive(_rnn, "RNNCell")
_lstm_rest = Primitive(_lstm, "LSTMCell")
_gru_rest = Primitive(_gru, "GRUCell")
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


class Cell(Recurrent):
    """One step of a recurrence: `step` of what `project` makes of the input.

    Attributes
    ----------
    state_size : int or tuple of int
        The lengths of the last axes of the states.
    starts_at_zero : bool
        Whether a state that is left out stands for zeros.
    """

    _options: ClassVar[tuple[str, ...]] = ("input_size", "hidden_size", "bias?")
    starts_at_zero = True
    _inner_biases: ClassVar[tuple[str, ...]] = ("bias_ih", "bias_hh")

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self._add_weights(self.input_size)

    @property
    def state_size(self) -> Any:
        """H, or (H, H) of a pair of states."""
        return self.hidden_size

    def project(self, input: Any) -> Any:
        """Return the part of a step that reads the input alone, (*, G·H) of input (*, I).

        Raises
        ------
        ValueError
            If the last axis is not I.
        TypeError
            If its dtype is not that of the parameters.
        """
        x = self._check("input", input, (self.input_size,), "(*, I)")
        biases = [getattr(self, name) for name in self._inner_biases if self.bias]
        rows = self._gates * self.hidden_size
        return projection((x, self.weight_ih, *biases), type(self).__name__, "weight_ih", rows)

    def _rest(self, projected: Any, states: dict[str, Any], recurrent: Any) -> list[Any]:
        """Return what `step` got, checked: projected, what stands for h at weight_hh, states."""
        name, size = type(self).__name__, self.hidden_size
        projected = as_operand(name, projected)
        batched = len(shape_of(projected)) != 1
        first = (None,) if batched else ()
        symbols = "(N, G·H)" if batched else "(G·H,)"
        rows = self._gates * size
        projected = self._check("projected", projected, (*first, rows), symbols)
        shape = (*shape_of(projected)[:-1], size)
        symbols = "(N, H)" if batched else "(H,)"
        firsts = [self._state(name, state, shape, symbols) for name, state in states.items()]
        if recurrent is not None:
            recurrent = self._check("recurrent", recurrent, shape, symbols)
        return [projected, firsts[0] if recurrent is None else recurrent, *firsts]

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


class RNNCell(Cell):
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

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Tensor:
        """Return h', shape (N, H), of what `project` returned, (N, H), and hx, as `forward` does.

        `recurrent`, of the shape of h, stands in its place where weight_hh multiplies it.
        """
        a, r, _ = self._rest(projected, {"h": hx}, recurrent)
        config = (type(self).__name__, self.hidden_size, self.nonlinearity)
        return _rnn_rest((a, r, self.weight_hh), *config)


class LSTMCell(Cell):
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

    @property
    def state_size(self) -> tuple[int, int]:
        """The lengths of h and c, (H, H)."""
        return self.hidden_size, self.hidden_size

    def _parts(self, projected: Any, hx: Any, recurrent: Any) -> list[Any]:
        """Return what `step` got, checked: projected, what stands for h at weight_hh, and c."""
        h, c = (None, None) if hx is None else self._pair("(h, c)", hx)
        a, r, _, c = self._rest(projected, {"h": h, "c": c}, recurrent)
        return [a, r, c]

    def step(
        self, projected: Any, hx: Any = None, *, recurrent: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Return (h', c') of what `project` returned, (N, 4·H), and (h, c), as `forward` does.

        `recurrent`, of the shape of h, stands in its place where weight_hh multiplies it.
        """
        parts = self._parts(projected, hx, recurrent)
        return _lstm_rest((*parts, self.weight_hh), type(self).__name__, 4 * self.hidden_size)


class GRUCell(Cell):
    """One step of the GRU, gates in rows ordered r, z, n: ``h' = (1 - z) n + z h``.

    Attributes
    ----------
    weight_ih, weight_hh : Parameter, shape (3·H, I), (3·H, H)
    bias_ih, bias_hh : Parameter, shape (3·H,), or None
    """

    _gates = 3
    # That of the other is within the product with r.
    _inner_biases: ClassVar[tuple[str, ...]] = ("bias_ih",)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Return h', shape (N, H), of input (N, I) and hx (N, H), zeros if left out; N optional."""
        batched, operands = self._operands(input, {"h": hx})
        out = _gru_cell(operands)
        return out if batched else out[0]

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Tensor:
        """Return h', shape (N, H), of what `project` returned, (N, 3·H), as `forward` does.

        `recurrent`, of the shape of h, stands in its place where weight_hh multiplies it.
        """
        operands = self._rest(projected, {"h": hx}, recurrent)
        operands += [self.weight_hh, *([self.bias_hh] if self.bias else [])]
        return _gru_rest(operands, type(self).__name__, 3 * self.hidden_size)
