"""Whole sequences as single Functions: one GEMM and one kernel a step, each way.

T, N, I, H are steps, batch, input size, hidden size; G is the number of gates. The input's
projection and each weight's gradient are one GEMM for the sequence. Every gradient of a gate's sum
is kept until the loop is done, so that those GEMMs run over T N rows.
"""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.function import Function
from impl_cupy.launch import each_step
from impl_cupy.rnn import equations
from impl_cupy.sums import total
from impl_cupy.tape import RawArray

MaybeArray = RawArray | None


class RNNFunction(Function):
    """`equations.rnn` over a sequence.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (H, I), weight_hh (H, H), bias_ih (H,) or None,
    bias_hh (H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _is_ours = True
    _called = "RNN"
    composite = staticmethod(equations.unrolled(equations.rnn, states=1))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
        *,
        nonlinearity: str,
    ) -> tuple[RawArray, ...]:
        """Run the steps."""
        ctx.set_materialize_grads(False)
        ctx.is_relu = nonlinearity == "relu"
        rows = _rows(x)
        from_x = _project(rows, x.shape, weight_ih)
        h = _states(x.shape[0], h0)
        flags = (bias_ih is not None, ctx.is_relu)
        _run("rnn_forward", from_x, weight_hh, _biases(bias_ih, bias_hh, from_x), (h,), flags)
        ctx.save_for_backward(rows, weight_ih, weight_hh, h)
        return h[1:], h[-1:].copy()

    @staticmethod
    def backward(ctx: Any, grad_output: MaybeArray, grad_h_n: MaybeArray) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h = ctx.saved_tensors
        grad_sums = cp.empty((h.shape[0] - 1, *h.shape[1:]), dtype=h.dtype)
        grad_h = _state_gradient(grad_h_n, h)
        gradient, is_read = _output_gradient(grad_output, h)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        arrays = (h, gradient, grad_h, grad_sums, is_read, ctx.is_relu)
        _run_back("rnn_backward", arrays, (), h, grad_sums, weight_hh, grad_h, to_h0)
        return (
            _input_gradient(grad_sums, weight_ih) if to_x else None,
            grad_h.reshape(1, *grad_h.shape) if to_h0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, h, to_weights),
        )


class LSTMFunction(Function):
    """`equations.lstm` over a sequence.

    Inputs: x (T, N, I), h0 and c0 (1, N, H), weight_ih (4 H, I), weight_hh (4 H, H), bias_ih and
    bias_hh (4 H,) or None. Outputs: output (T, N, H), h_n and c_n (1, N, H).
    """

    _is_ours = True
    _called = "LSTM"
    composite = staticmethod(equations.unrolled(equations.lstm, states=2))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        c0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
    ) -> tuple[RawArray, ...]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        rows = _rows(x)
        gates = _project(rows, x.shape, weight_ih)
        h, c = _states(x.shape[0], h0), _states(x.shape[0], c0)
        flags = (bias_ih is not None,)
        _run("lstm_forward", gates, weight_hh, _biases(bias_ih, bias_hh, gates), (c, h), flags)
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, c, gates)
        return h[1:], h[-1:].copy(), c[-1:].copy()

    @staticmethod
    def backward(
        ctx: Any, grad_output: MaybeArray, grad_h_n: MaybeArray, grad_c_n: MaybeArray
    ) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h, c, gates = ctx.saved_tensors
        grad_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h, grad_c = _state_gradient(grad_h_n, h), _state_gradient(grad_c_n, c)
        gradient, is_read = _output_gradient(grad_output, h)
        to_x, to_h0, to_c0, *to_weights = ctx.needs_input_grad
        arrays = (gates, c, gradient, grad_h, grad_c, grad_sums, is_read)
        sizes = (h.shape[2],)
        _run_back("lstm_backward", arrays, sizes, h, grad_sums, weight_hh, grad_h, to_h0)
        return (
            _input_gradient(grad_sums, weight_ih) if to_x else None,
            grad_h.reshape(1, *grad_h.shape) if to_h0 else None,
            grad_c.reshape(1, *grad_c.shape) if to_c0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, h, to_weights),
        )


class GRUFunction(Function):
    """`equations.gru` over a sequence.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (3 H, I), weight_hh (3 H, H), bias_ih and bias_hh
    (3 H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _is_ours = True
    _called = "GRU"
    composite = staticmethod(equations.unrolled(equations.gru, states=1))

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: MaybeArray,
        bias_hh: MaybeArray,
    ) -> tuple[RawArray, ...]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        rows = _rows(x)
        gates = _project(rows, x.shape, weight_ih)
        h = _states(x.shape[0], h0)
        # What the recurrent product gives the candidate n, which backward needs.
        candidate = cp.empty((x.shape[0], *h0.shape[1:]), dtype=x.dtype)
        biases, flags = _biases(bias_ih, bias_hh, gates), (bias_ih is not None,)
        _run("gru_forward", gates, weight_hh, biases, (candidate, h), flags)
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, candidate, gates)
        return h[1:], h[-1:].copy()

    @staticmethod
    def backward(ctx: Any, grad_output: MaybeArray, grad_h_n: MaybeArray) -> tuple[MaybeArray, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h, candidate, gates = ctx.saved_tensors
        grad_x_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h, grad_direct = cp.zeros(h.shape[1:], dtype=h.dtype), _state_gradient(grad_h_n, h)
        gradient, is_read = _output_gradient(grad_output, h)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        running = (gradient, grad_h, grad_direct, grad_x_sums, grad_h_sums, is_read)
        arrays, sizes = (gates, candidate, h, *running), (h.shape[2],)
        _run_back("gru_backward", arrays, sizes, h, grad_h_sums, weight_hh, grad_h, to_h0)
        return (
            _input_gradient(grad_x_sums, weight_ih) if to_x else None,
            (grad_h + grad_direct).reshape(1, *grad_h.shape) if to_h0 else None,
            *_weight_gradients(grad_x_sums, grad_h_sums, rows, h, to_weights),
        )


def _rows(x: RawArray) -> RawArray:
    """Return x as T N rows, copied if they do not lie one behind the other."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _project(rows: RawArray, shape: tuple[int, ...], weight: RawArray) -> RawArray:
    """Multiply all rows of x by W_ih at once: shape (T, N, G H), the caller's to overwrite."""
    return cp.dot(rows, weight.T).reshape(*shape[:2], weight.shape[0])


def _states(steps: int, first: RawArray) -> RawArray:
    """Make room for the state of every step behind the first one: shape (T + 1, N, H)."""
    states = cp.empty((steps + 1, *first.shape[1:]), dtype=first.dtype)
    states[:1] = first
    return states


def _biases(bias_ih: MaybeArray, bias_hh: MaybeArray, unread: RawArray) -> tuple[RawArray, ...]:
    """Return what the kernel gets for the biases: without them any array, left unread."""
    if bias_ih is None or bias_hh is None:
        return unread, unread
    return cp.ascontiguousarray(bias_ih), cp.ascontiguousarray(bias_hh)


def _steps(h: RawArray) -> range:
    """Return the steps that have anything to compute: none for an empty batch."""
    return range(h.shape[0] - 1 if h[0].size else 0)


def _run(
    kernel: str,
    projected: RawArray,
    weight_hh: RawArray,
    biases: tuple[RawArray, ...],
    states: tuple[RawArray, ...],
    flags: tuple[bool, ...],
) -> None:
    """Run the steps of a sequence: the recurrent product, then the kernel.

    `projected` has shape (T, N, G H); the last of `states` is h, shape (T + 1, N, H).
    """
    h = states[-1]
    size = h.shape[2]
    from_h = cp.empty((h.shape[1], weight_hh.shape[0]), dtype=h.dtype)
    turned = cp.ascontiguousarray(weight_hh).T
    arrays = (projected, from_h, *biases, *states, *flags)
    step = each_step("rnn", kernel, h.dtype, from_h.shape[0] * size, arrays, (size,))
    for t in _steps(h):
        cp.dot(h[t], turned, out=from_h)
        step(t)


def _run_back(
    kernel: str,
    arrays: tuple[Any, ...],
    sizes: tuple[int, ...],
    h: RawArray,
    grad_sums: RawArray,
    weight_hh: RawArray,
    grad_h: RawArray,
    wants_h0: bool,
) -> None:
    """Run the steps back: the kernel, then the product that leads to the step before.

    `grad_sums`, shape (T, N, G H), is what the kernel gives for the recurrent product; `grad_h`,
    shape (N, H), becomes the gradient of the state before.
    """
    weight = cp.ascontiguousarray(weight_hh)
    step = each_step("rnn", kernel, h.dtype, grad_h.size, arrays, sizes)
    for t in reversed(_steps(h)):
        step(t)
        if t > 0 or wants_h0:
            cp.dot(grad_sums[t], weight, out=grad_h)


def _state_gradient(grad: MaybeArray, states: RawArray) -> RawArray:
    """Make the running gradient of a state, shape (N, H), start with the last state's."""
    if grad is None:
        return cp.zeros(states.shape[1:], dtype=states.dtype)
    return cp.array(grad[0], copy=True, order="C")


def _output_gradient(grad: MaybeArray, unread: RawArray) -> tuple[RawArray, bool]:
    """Return what the kernel gets for the output's gradient, and whether it reads it."""
    return (unread, False) if grad is None else (cp.ascontiguousarray(grad), True)


def _input_gradient(grad_sums: RawArray, weight: RawArray) -> RawArray:
    return cp.dot(_rows(grad_sums), weight).reshape(*grad_sums.shape[:2], weight.shape[1])


def _weight_gradients(
    grad_x_sums: RawArray, grad_h_sums: RawArray, rows: RawArray, h: RawArray, wanted: list[bool]
) -> tuple[MaybeArray, ...]:
    """Form the gradients of weight_ih, weight_hh, bias_ih, bias_hh over all steps at once."""
    from_x, from_h = _rows(grad_x_sums), _rows(grad_h_sums)
    to_weight_ih, to_weight_hh, to_bias_ih, to_bias_hh = wanted
    bias_ih = total(from_x, axis=0) if to_bias_ih else None
    bias_hh = None
    if to_bias_hh and bias_ih is not None and grad_x_sums is grad_h_sums:
        bias_hh = bias_ih.copy()
    elif to_bias_hh:
        bias_hh = total(from_h, axis=0)
    return (
        cp.dot(from_x.T, rows) if to_weight_ih else None,
        cp.dot(from_h.T, _rows(h[:-1])) if to_weight_hh else None,
        bias_ih,
        bias_hh,
    )
