"""Recurrent cells, as in ``torch.nn``: one step, whole or in two parts.

N, I, H are batch, input size, hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, cast

from impl_cupy.backend import cp
from impl_cupy.checks import check_choice, check_flag, check_positive_int, check_same_dtype
from impl_cupy.dtypes import DTypeLike
from impl_cupy.function import Function
from impl_cupy.nn.layer import Layer, uniform
from impl_cupy.nn.linear import LinearFunction
from impl_cupy.ops.manipulation import expand_dims, squeeze
from impl_cupy.recording import as_tensor
from impl_cupy.rnn.fused import (
    GRUFunction,
    GRUGates,
    LSTMFunction,
    LSTMStep,
    RNNFunction,
    RNNStep,
)
from impl_cupy.rnn.lengths import Episodes, Walk, Whole, walks
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
        "eps": 1e-5,
    }

    input_size: int
    hidden_size: int
    bias: bool

    gates = 1
    _names: tuple[str, ...] = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    """The parameters that the Function takes."""
    _has_norms = False
    """Whether Modules with biases of their own stand behind the products."""

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
        if not self._has_norms:
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


class Cell(Recurrent):
    """One step, and its two parts: what reads the input alone, and the rest."""

    _states: ClassVar[tuple[str, ...]] = ("h",)
    """What messages call the states."""

    def __init__(self, input_size: int, hidden_size: int, dtype: DTypeLike, **options: Any) -> None:
        super().__init__(input_size, hidden_size, dtype, **options)
        self._draw("", self.input_size, self.hidden_size)

    @property
    def state_size(self) -> Any:
        """The lengths of the last axes of the states: H, of an LSTM ``(H, H)``."""
        sizes = (self.hidden_size,) * len(self._states)
        return sizes if len(sizes) > 1 else self.hidden_size

    def project(self, input: Any) -> Any:
        """Compute the part of a step that reads the input alone.

        Parameters
        ----------
        input : Tensor, shape (*, I)
            With any axes before the last, such as (T, N, I).

        Returns
        -------
        Tensor, shape (*, G H)
            For `step`, which takes one step's. Other cells may return a structure of Tensors.

        Raises
        ------
        ValueError
            If the last axis has another length.
        TypeError
            If the dtype is not the parameters'.
        """
        value = self._input(input, "I", (self.input_size,))
        return LinearFunction.apply(value, self.weight_ih, self._input_bias())

    def _input_bias(self) -> Tensor | None:
        """Return what is added to ``W_ih x``."""
        return None if self.bias_ih is None else self.bias_ih + self.bias_hh

    def _projected(self, projected: Any) -> tuple[Tensor, bool]:
        """Check one step's part of what `project` returned; bring it to (N, G H)."""
        name, width = type(self).__name__, self.gates * self.hidden_size
        value: Tensor = as_tensor(f"{name}: projected", projected)
        if value.ndim not in (1, 2) or value.shape[-1] != width:
            msg = (
                f"{name}: projected must have shape (N, {self.gates} H) or ({self.gates} H,) with "
                f"H = {self.hidden_size}, got {value.shape}"
            )
            raise ValueError(msg)
        self._check_parameters(value.dtype)
        return (value, True) if value.ndim == 2 else (expand_dims(value, axis=0), False)

    def _now(
        self, argument: str, state: Any, x: Tensor, batched: bool, lead: tuple[int, ...] = ()
    ) -> Tensor:
        """Check a state, and bring it to (*lead, N, H); zeros if left out."""
        shape = (*lead, x.shape[-2], self.hidden_size)
        if state is None:
            return wrap(cp.zeros(shape, dtype=x.dtype))
        axes, sizes = ("(N, H)", shape[-2:]) if batched else ("(H,)", shape[-1:])
        value = self._state(argument, state, axes, sizes, x)
        return value if value.shape == shape else value.reshape(shape)

    def _parts(self, hx: Any) -> tuple[Any, ...]:
        """Return a state as the tuple of its parts."""
        return (hx,) if len(self._states) == 1 else self._pair(hx, "(h, c)")

    def _each(self, hx: Any, x: Tensor, batched: bool, lead: tuple[int, ...] = ()) -> list[Tensor]:
        """Check every state, as `_now` does."""
        parts = zip(self._states, self._parts(hx), strict=True)
        return [self._now(name, part, x, batched, lead) for name, part in parts]

    def _recurrent(self, recurrent: Any, h: Tensor, x: Tensor, batched: bool) -> Tensor:
        """Return what W_hh multiplies: h, unless something stands in its place."""
        return h if recurrent is None else self._now("recurrent", recurrent, x, batched)


class _FusedCell(Cell):
    """A cell of a layer: a call is a sequence of length 1."""

    _function: ClassVar[type[Function]]

    def _run(self, x: Tensor, states: Sequence[Tensor], walk: Walk) -> tuple[Tensor, ...]:
        """Run a sequence (T, N, I) from states (1, N, H): the output, and the last states."""
        made: tuple[Tensor, ...] = self._function.apply(
            x, *states, *self._weights(), walk=walk, **self._config()
        )
        return made

    def _sequence(
        self, input: Any, hx: Any, reset_state: Any, lengths: Any, marks: Any
    ) -> tuple[Tensor, Any]:
        """Run a batch of sequences (T, N, I): the output, and the last state.

        Parameters
        ----------
        input, hx, reset_state
            As for a layer, but for the state's shape, which is the cell's.
        lengths, marks : numpy.ndarray or None
            As `check_lengths` and `check_mask` return them.
        """
        x = self._input(input, "I", (self.input_size,))
        firsts = self._each(hx, x, True, lead=(1,))
        episodes = None
        if marks is not None:
            episodes = Episodes(marks, lengths, 1, 1)
            resets = self._each(reset_state, x, True, lead=(1,))
            both = zip(firsts, resets, strict=True)
            firsts = [cast(Tensor, episodes.begin(*pair)) for pair in both]
        (walk,) = walks(x.shape[:2], 1, lengths, episodes)
        output, *ends = self._run(x, firsts, walk)
        ends = [squeeze(end if episodes is None else episodes.end(end), 0) for end in ends]
        return output, ends[0] if len(ends) == 1 else tuple(ends)

    def _config(self) -> dict[str, Any]:
        return {}

    def _step(self, x: Any, hx: Any) -> list[Tensor]:
        """Return the states after one step."""
        value = self._sized(x, "(N, I)", 2, "(I,)")
        batched = value.ndim == 2
        rows = value if batched else expand_dims(value, axis=0)
        walk = Whole(1, rows.shape[0])
        ends = self._run(expand_dims(rows, axis=0), self._each(hx, rows, batched, (1,)), walk)[1:]
        return [squeeze(end, 0 if batched else (0, 1)) for end in ends]


class RNNCell(_FusedCell):
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

    _function = RNNFunction
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
        return self._step(input, hx)[0]

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Tensor:
        """Make a step of what `project` has made of its input.

        Parameters
        ----------
        projected : Tensor, shape (N, G H) or (G H,)
        hx
            As for `forward`.
        recurrent : Tensor, shape (N, H) or (H,), optional
            What W_hh multiplies in the place of h.

        Returns
        -------
        Tensor, shape of `hx`

        Raises
        ------
        ValueError, TypeError
            As for `forward`.
        """
        rows, batched = self._projected(projected)
        h = self._now("h", hx, rows, batched)
        source = self._recurrent(recurrent, h, rows, batched)
        after: Tensor = RNNStep.apply(rows, source, self.weight_hh, **self._config())
        return after if batched else squeeze(after, 0)

    def _config(self) -> dict[str, Any]:
        return {"nonlinearity": self.nonlinearity}


class LSTMCell(_FusedCell):
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
    _function = LSTMFunction
    _states = ("h", "c")

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
        h, c = self._step(input, hx)
        return h, c

    def step(
        self, projected: Any, hx: Any = None, *, recurrent: Any = None
    ) -> tuple[Tensor, Tensor]:
        """Make a step of what `project` has made of its input; see `RNNCell.step`."""
        rows, batched = self._projected(projected)
        h, c = self._each(hx, rows, batched)
        source = self._recurrent(recurrent, h, rows, batched)
        h, c = LSTMStep.apply(rows, source, self.weight_hh, c)
        return (h, c) if batched else (squeeze(h, 0), squeeze(c, 0))


class GRUCell(_FusedCell):
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
    _function = GRUFunction

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, *, dtype: DTypeLike = None
    ) -> None:
        super().__init__(input_size, hidden_size, dtype, bias=bias)

    def forward(self, input: Any, hx: Any = None) -> Tensor:
        """Make a step; see `RNNCell.forward`."""
        return self._step(input, hx)[0]

    def step(self, projected: Any, hx: Any = None, *, recurrent: Any = None) -> Tensor:
        """Make a step of what `project` has made of its input; see `RNNCell.step`."""
        rows, batched = self._projected(projected)
        h = self._now("h", hx, rows, batched)
        source = self._recurrent(recurrent, h, rows, batched)
        from_h = LinearFunction.apply(source, self.weight_hh, None)
        after: Tensor = GRUGates.apply(rows, from_h, self.bias_hh, h)
        return after if batched else squeeze(after, 0)

    def _input_bias(self) -> Tensor | None:
        # b_hn stands beside W_hn h, which the reset gate multiplies.
        return self.bias_ih
