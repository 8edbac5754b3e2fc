"""Recurrent cells and layers. A whole sequence is one Function, which calls the operators of
``csrc/``.

T steps, N batch, I input size, H hidden size.
"""

import math
from typing import Any

import torch
from torch import Tensor

from impl_torch_ext import init
from impl_torch_ext.module import Module, Parameter, positive_int
from impl_torch_ext.rnn_function import (
    GRUFunction,
    LSTMFunction,
    RNNCellFunction,
    RNNFunction,
)
from impl_torch_ext.tensor import check_floating, empty

__all__ = [
    "GRU",
    "LSTM",
    "RNN",
    "GRUCell",
    "GRUFunction",
    "LSTMCell",
    "LSTMFunction",
    "RNNCell",
    "RNNCellFunction",
    "RNNFunction",
]


class _Recurrent(Module):
    """What cells and layers share: sizes, parameters, and the check of their arguments."""

    gates = 1
    suffix = ""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, dtype: torch.dtype | None
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.input_size = positive_int(name, "input_size", input_size)
        self.hidden_size = positive_int(name, "hidden_size", hidden_size)
        check_floating(name, dtype)
        self.bias = bool(bias)
        bound = 1.0 / math.sqrt(self.hidden_size)
        rows = self.gates * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size),
            "weight_hh": (rows, self.hidden_size),
            "bias_ih": (rows,),
            "bias_hh": (rows,),
        }
        for key, shape in shapes.items():
            wanted = self.bias or len(shape) == 2
            values = (
                Parameter(init.uniform_(empty(shape, dtype=dtype), -bound, bound))
                if wanted
                else None
            )
            self.register_parameter(key + self.suffix, values)

    def _weights(self) -> tuple[Tensor | None, ...]:
        own = self._parameters
        return tuple(
            own[key + self.suffix] for key in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )

    def _check(self, argument: str, given: Any, wanted: tuple[int, ...], text: str) -> Tensor:
        """Return ``given``, or raise if its shape (-1: any size) or dtype is not what is wanted."""
        name = type(self).__name__
        if not isinstance(given, Tensor):
            msg = f"{name}: {argument} must be a Tensor of shape {text}, got {type(given).__name__}"
            raise TypeError(msg)
        shape = tuple(given.shape)
        if len(shape) != len(wanted) or any(
            w not in (-1, n) for w, n in zip(wanted, shape, strict=True)
        ):
            numbers = "" if -1 in wanted else f" = {wanted}"
            msg = f"{name}: {argument} must have shape {text}{numbers}, got {shape}"
            raise ValueError(msg)
        dtype = self._parameters["weight_ih" + self.suffix].dtype
        if given.dtype != dtype:
            msg = (
                f"{name}: {argument} must have the dtype of the parameters, {dtype}, got "
                f"{given.dtype}"
            )
            raise TypeError(msg)
        return given

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults, after the sizes."""
        options = {"bias": True, "batch_first": False, "nonlinearity": "tanh"}
        shown = [
            f"{key}={getattr(self, key)}"
            for key, usual in options.items()
            if getattr(self, key, usual) != usual
        ]
        return ", ".join([str(self.input_size), str(self.hidden_size), *shown])


class _Cell(_Recurrent):
    """One step; shapes without a batch axis are taken too."""

    def _inputs(self, x: Any, states: dict[str, Any]) -> tuple[Tensor, list[Tensor], bool]:
        batched = not isinstance(x, Tensor) or x.ndim != 1
        sizes, text = ((-1,), "N, ") if batched else ((), "")
        x = self._check(
            "x", x, (*sizes, self.input_size), f"({text}input_size) = ({text}{self.input_size})"
        )
        lead = tuple(x.shape[:-1])
        checked = [
            x.new_zeros((*lead, self.hidden_size))
            if state is None
            else self._check(
                key, state, (*lead, self.hidden_size), f"({text}H)" if batched else "(H,)"
            )
            for key, state in states.items()
        ]
        if not batched:
            x, checked = x.unsqueeze(0), [state.unsqueeze(0) for state in checked]
        return x, checked, batched


class RNNCell(_Cell):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    nonlinearity : {"tanh", "relu"}
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih, weight_hh, bias_ih, bias_hh : Parameter, shapes (H, I), (H, H), (H,), (H,)
        Uniform in ``[-k, k)``, ``k = 1 / sqrt(H)``.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        self_name = _nonlinearity("RNNCell", nonlinearity)
        super().__init__(input_size, hidden_size, bias, dtype)
        self.nonlinearity = self_name

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Return h' (N, H) for x (N, I) and h (N, H), zeros if left out; or all without N."""
        x, (h,), batched = self._inputs(x, {"h": h})
        h = RNNCellFunction.apply(x, h, *self._weights(), relu=self.nonlinearity == "relu")
        return h if batched else h.squeeze(0)


class LSTMCell(_Cell):
    """``i, f, o = sigmoid(...)``, ``g = tanh(...)``, ``c' = f c + i g``, ``h' = o tanh(c')``.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000. Parameters
    and attributes as in `RNNCell`, with four gates in the rows, in the order i, f, g, o.
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (h', c') for x (N, I) and state (h, c), zeros if left out; or all without N."""
        h, c = _pair("LSTMCell", "(N, H)", state)
        x, (h, c), batched = self._inputs(x, {"h": h, "c": c})
        _, h, c = LSTMFunction.apply(x.unsqueeze(0), h, c, *self._weights())
        return (h, c) if batched else (h.squeeze(0), c.squeeze(0))


class GRUCell(_Cell):
    """``r, z = sigmoid(...)``, ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``, ``h' = (1 - z) n +
    z h``.

    Source: Cho et al. 2014, the reset gate after the recurrent product. Parameters and attributes
    as in `RNNCell`, with three gates in the rows, in the order r, z, n.
    """

    gates = 3

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        *,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)

    def forward(self, x: Tensor, h: Tensor | None = None) -> Tensor:
        """Return h' (N, H) for x (N, I) and h (N, H), zeros if left out; or all without N."""
        x, (h,), batched = self._inputs(x, {"h": h})
        _, h = GRUFunction.apply(x.unsqueeze(0), h, *self._weights())
        return h if batched else h.squeeze(0)


class _Layer(_Recurrent):
    """A sequence; one layer, one direction."""

    suffix = "_l0"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        batch_first: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, dtype)
        self.batch_first = bool(batch_first)

    def _inputs(self, x: Any, states: dict[str, Any]) -> tuple[Tensor, list[Tensor]]:
        """Return x as (T, N, I) and the states as (N, H)."""
        batched = not isinstance(x, Tensor) or x.ndim != 2
        lead = ("N, T, " if self.batch_first else "T, N, ") if batched else "T, "
        sizes = (-1, -1) if batched else (-1,)
        text = f"({lead}input_size) = ({lead}{self.input_size})"
        x = self._check("x", x, (*sizes, self.input_size), text)
        if not batched:
            x = x.unsqueeze(1)
        elif self.batch_first:
            x = x.transpose(0, 1).contiguous()
        shape = (x.shape[1], self.hidden_size)
        wanted, text = ((1, *shape), "(1, N, H)") if batched else ((1, self.hidden_size), "(1, H)")
        return x, [
            x.new_zeros(shape)
            if state is None
            else self._check(key, state, wanted, text).reshape(shape)
            for key, state in states.items()
        ]

    def _outputs(self, batched: bool, output: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        """Return output and states in the layout of the call."""
        if not batched:
            return output.squeeze(1), *states
        if self.batch_first:
            output = output.transpose(0, 1)
        return output, *(state.unsqueeze(0) for state in states)


class RNN(_Layer):
    """`RNNCell` over a sequence, as one Function.

    Parameters
    ----------
    input_size, hidden_size : int
    nonlinearity : {"tanh", "relu"}
    bias : bool
    batch_first : bool
        Whether x and the output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0, bias_ih_l0, bias_hh_l0 : Parameter
        As in `RNNCell`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dtype: torch.dtype | None = None,
    ) -> None:
        checked = _nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, bias=bias, batch_first=batch_first, dtype=dtype)
        self.nonlinearity = checked

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) for x (T, N, I) and h0 (1, N, H).

        Without h0 it is zero. All may come without the axis N.
        """
        batched = not isinstance(x, Tensor) or x.ndim != 2
        x, (h,) = self._inputs(x, {"h0": h0})
        output, h_n = RNNFunction.apply(x, h, *self._weights(), relu=self.nonlinearity == "relu")
        return self._outputs(batched, output, h_n)


class LSTM(_Layer):
    """A sequence through the LSTM, as one Function; one step is `LSTMCell`.

    Source: Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000; the equations
    stand on the page of `torch.nn.LSTM`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    batch_first : bool
        Whether x and the output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (4·H, I), (4·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (4·H,), or None
        Gates in rows ordered i, f, g, o. All uniform in ``[-k, k)``, ``k = 1 / sqrt(H)``.

    Raises
    ------
    ValueError
        If a size is not positive or the dtype not floating; in a call, if a shape does not fit or
        the state is not a pair.
    TypeError
        In a call, if an argument is no Tensor or not of the parameters' dtype.
    """

    gates = 4

    def forward(
        self, x: Tensor, state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return output (T, N, H) and (h_n, c_n), each (1, N, H), for x (T, N, I) and (h0, c0).

        Without a state it is zero. All may come without the axis N.
        """
        h0, c0 = _pair("LSTM", "(1, N, H)", state)
        batched = not isinstance(x, Tensor) or x.ndim != 2
        x, (h, c) = self._inputs(x, {"h0": h0, "c0": c0})
        output, h_n, c_n = self._outputs(batched, *LSTMFunction.apply(x, h, c, *self._weights()))
        return output, (h_n, c_n)


class GRU(_Layer):
    """A sequence through the GRU, as one Function; one step is `GRUCell`.

    Source: Cho et al. 2014, the reset gate after the recurrent product; the equations stand on the
    page of `torch.nn.GRU`.

    Parameters
    ----------
    input_size, hidden_size : int
    bias : bool
    batch_first : bool
        Whether x and the output are (N, T, ...); the states keep (1, N, H).
    dtype : dtype, optional
        float32 if left out.

    Attributes
    ----------
    weight_ih_l0, weight_hh_l0 : Parameter, shapes (3·H, I), (3·H, H)
    bias_ih_l0, bias_hh_l0 : Parameter, shape (3·H,), or None
        Gates in rows ordered r, z, n. All uniform in ``[-k, k)``, ``k = 1 / sqrt(H)``.

    Raises
    ------
    ValueError
        If a size is not positive or the dtype not floating; in a call, if a shape does not fit.
    TypeError
        In a call, if an argument is no Tensor or not of the parameters' dtype.
    """

    gates = 3

    def forward(self, x: Tensor, h0: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return output (T, N, H) and h_n (1, N, H) for x (T, N, I) and h0 (1, N, H).

        Without h0 it is zero. All may come without the axis N.
        """
        batched = not isinstance(x, Tensor) or x.ndim != 2
        x, (h,) = self._inputs(x, {"h0": h0})
        return self._outputs(batched, *GRUFunction.apply(x, h, *self._weights()))


def _nonlinearity(name: str, nonlinearity: str) -> str:
    if nonlinearity not in ("tanh", "relu"):
        msg = f"{name}: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}"
        raise ValueError(msg)
    return nonlinearity


def _pair(name: str, shape: str, state: Any) -> tuple[Any, Any]:
    if state is None:
        return None, None
    if not isinstance(state, tuple | list) or len(state) != 2:
        got = f"{len(state)} of them" if isinstance(state, tuple | list) else type(state).__name__
        msg = f"{name}: state must be a pair of Tensors of shape {shape}, got {got}"
        raise ValueError(msg)
    return state[0], state[1]
