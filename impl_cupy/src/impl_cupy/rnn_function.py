"""Whole sequences as single Functions: one GEMM and one kernel a step, each way.

T, N, I, H are steps, batch, input size, hidden size; G is the number of gates. The input's
projection and each weight's gradient are one GEMM for the sequence. Every gradient of a gate's sum
is kept until the loop is done, so that those GEMMs run over T N rows.
"""

from __future__ import annotations

from typing import Any

from impl_cupy.backend import cp
from impl_cupy.function import Function
from impl_cupy.launch import launch
from impl_cupy.ops.activation import relu, sigmoid, tanh
from impl_cupy.ops.linalg import matmul
from impl_cupy.ops.manipulation import expand_dims, stack
from impl_cupy.tensor import RawArray, Tensor, wrap


class RNNFunction(Function):
    """``h' = tanh(W_ih x + b_ih + W_hh h + b_hh)``, or relu, over a sequence.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (H, I), weight_hh (H, H), bias_ih (H,) or None,
    bias_hh (H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _fresh_gradients = True

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: RawArray | None,
        bias_hh: RawArray | None,
        *,
        nonlinearity: str,
    ) -> tuple[RawArray, RawArray]:
        """Run the steps."""
        ctx.set_materialize_grads(False)
        ctx.is_relu = nonlinearity == "relu"
        rows = _rows(x)
        from_x = _project(rows, x.shape, weight_ih)
        h = _states(x.shape[0], h0)
        biases = _biases(bias_ih, bias_hh, from_x)
        from_h, turned = _recurrent(h0, weight_hh)
        for t in _steps(x, h0):
            cp.dot(h[t], turned, out=from_h)
            launch(
                "rnn",
                "rnn_forward",
                x.dtype,
                h0.size,
                from_x,
                from_h,
                *biases,
                h,
                bias_ih is not None,
                ctx.is_relu,
                t,
                h0.shape[2],
            )
        ctx.save_for_backward(rows, weight_ih, weight_hh, h)
        return h[1:], h[-1:].copy()

    @staticmethod
    def backward(
        ctx: Any, grad_output: RawArray | None, grad_h_n: RawArray | None
    ) -> tuple[RawArray | None, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h = ctx.saved_tensors
        steps = _steps(h[1:], h[0])
        grad_sums = cp.empty((h.shape[0] - 1, *h.shape[1:]), dtype=h.dtype)
        grad_h = _state_gradient(grad_h_n, h)
        gradient, given = _output_gradient(grad_output, h)
        weight = cp.ascontiguousarray(weight_hh)
        for t in reversed(steps):
            launch(
                "rnn",
                "rnn_backward",
                h.dtype,
                grad_h.size,
                h,
                gradient,
                grad_h,
                grad_sums,
                given,
                ctx.is_relu,
                t,
            )
            if t > 0 or ctx.needs_input_grad[1]:
                cp.dot(grad_sums[t], weight, out=grad_h)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        return (
            _input_gradient(grad_sums, weight_ih) if to_x else None,
            grad_h.reshape(1, *grad_h.shape) if to_h0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, h, to_weights),
        )

    @staticmethod
    def composite(
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        *,
        nonlinearity: str,
    ) -> tuple[Tensor, Tensor]:
        """Do the same step by step with `ops`."""
        activation = relu if nonlinearity == "relu" else tanh
        from_x = _affine(x, weight_ih, bias_ih)
        h = h0[0]
        states = []
        for t in range(x.shape[0]):
            h = activation(from_x[t] + _affine(h, weight_hh, bias_hh))
            states.append(h)
        return _stacked(states, h), expand_dims(h)


class LSTMFunction(Function):
    """``i, f, o = σ(...)``, ``g = tanh(...)``, ``c' = f c + i g``, ``h' = o tanh(c')``.

    The gates' arguments are ``W_ih x + b_ih + W_hh h + b_hh`` in rows ordered i, f, g, o. Source:
    Hochreiter and Schmidhuber 1997, with the forget gate of Gers et al. 2000.

    Inputs: x (T, N, I), h0 and c0 (1, N, H), weight_ih (4 H, I), weight_hh (4 H, H), bias_ih and
    bias_hh (4 H,) or None. Outputs: output (T, N, H), h_n and c_n (1, N, H).
    """

    _fresh_gradients = True

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        c0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: RawArray | None,
        bias_hh: RawArray | None,
    ) -> tuple[RawArray, RawArray, RawArray]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        rows = _rows(x)
        gates = _project(rows, x.shape, weight_ih)
        h, c = _states(x.shape[0], h0), _states(x.shape[0], c0)
        biases = _biases(bias_ih, bias_hh, gates)
        from_h, turned = _recurrent(h0, weight_hh)
        for t in _steps(x, h0):
            cp.dot(h[t], turned, out=from_h)
            launch(
                "rnn",
                "lstm_forward",
                x.dtype,
                h0.size,
                gates,
                from_h,
                *biases,
                c,
                h,
                bias_ih is not None,
                t,
                h0.shape[2],
            )
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, c, gates)
        return h[1:], h[-1:].copy(), c[-1:].copy()

    @staticmethod
    def backward(
        ctx: Any,
        grad_output: RawArray | None,
        grad_h_n: RawArray | None,
        grad_c_n: RawArray | None,
    ) -> tuple[RawArray | None, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h, c, gates = ctx.saved_tensors
        grad_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h, grad_c = _state_gradient(grad_h_n, h), _state_gradient(grad_c_n, c)
        gradient, given = _output_gradient(grad_output, h)
        weight = cp.ascontiguousarray(weight_hh)
        for t in reversed(_steps(h[1:], h[0])):
            launch(
                "rnn",
                "lstm_backward",
                h.dtype,
                grad_h.size,
                gates,
                c,
                gradient,
                grad_h,
                grad_c,
                grad_sums,
                given,
                t,
                h.shape[2],
            )
            if t > 0 or ctx.needs_input_grad[1]:
                cp.dot(grad_sums[t], weight, out=grad_h)
        to_x, to_h0, to_c0, *to_weights = ctx.needs_input_grad
        return (
            _input_gradient(grad_sums, weight_ih) if to_x else None,
            grad_h.reshape(1, *grad_h.shape) if to_h0 else None,
            grad_c.reshape(1, *grad_c.shape) if to_c0 else None,
            *_weight_gradients(grad_sums, grad_sums, rows, h, to_weights),
        )

    @staticmethod
    def composite(
        x: Tensor,
        h0: Tensor,
        c0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Do the same step by step with `ops`."""
        size = h0.shape[2]
        from_x = _affine(x, weight_ih, bias_ih)
        h, c = h0[0], c0[0]
        states = []
        for t in range(x.shape[0]):
            sums = from_x[t] + _affine(h, weight_hh, bias_hh)
            i, f, g, o = (sums[:, k * size : (k + 1) * size] for k in range(4))
            c = sigmoid(f) * c + sigmoid(i) * tanh(g)
            h = sigmoid(o) * tanh(c)
            states.append(h)
        return _stacked(states, h), expand_dims(h), expand_dims(c)


class GRUFunction(Function):
    """``h' = (1 - z) n + z h`` with ``n = tanh(W_in x + b_in + r (W_hn h + b_hn))``.

    ``r = σ(W_ir x + b_ir + W_hr h + b_hr)``, z likewise; rows ordered r, z, n. Source: Cho et al.
    2014, with the reset gate after the recurrent product.

    Inputs: x (T, N, I), h0 (1, N, H), weight_ih (3 H, I), weight_hh (3 H, H), bias_ih and bias_hh
    (3 H,) or None. Outputs: output (T, N, H), h_n (1, N, H).
    """

    _fresh_gradients = True

    @staticmethod
    def forward(
        ctx: Any,
        x: RawArray,
        h0: RawArray,
        weight_ih: RawArray,
        weight_hh: RawArray,
        bias_ih: RawArray | None,
        bias_hh: RawArray | None,
    ) -> tuple[RawArray, RawArray]:
        """Run the steps; the gates take the place of the input's projection."""
        ctx.set_materialize_grads(False)
        rows = _rows(x)
        gates = _project(rows, x.shape, weight_ih)
        h = _states(x.shape[0], h0)
        candidate = cp.empty((x.shape[0], *h0.shape[1:]), dtype=x.dtype)
        biases = _biases(bias_ih, bias_hh, gates)
        from_h, turned = _recurrent(h0, weight_hh)
        for t in _steps(x, h0):
            cp.dot(h[t], turned, out=from_h)
            launch(
                "rnn",
                "gru_forward",
                x.dtype,
                h0.size,
                gates,
                from_h,
                *biases,
                candidate,
                h,
                bias_ih is not None,
                t,
                h0.shape[2],
            )
        ctx.save_for_backward(rows, weight_ih, weight_hh, h, candidate, gates)
        return h[1:], h[-1:].copy()

    @staticmethod
    def backward(
        ctx: Any, grad_output: RawArray | None, grad_h_n: RawArray | None
    ) -> tuple[RawArray | None, ...]:
        """Run the steps back, then form the weights' gradients."""
        rows, weight_ih, weight_hh, h, candidate, gates = ctx.saved_tensors
        grad_x_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h_sums = cp.empty(gates.shape, dtype=gates.dtype)
        grad_h, grad_direct = cp.zeros(h.shape[1:], dtype=h.dtype), _state_gradient(grad_h_n, h)
        gradient, given = _output_gradient(grad_output, h)
        weight = cp.ascontiguousarray(weight_hh)
        for t in reversed(_steps(h[1:], h[0])):
            launch(
                "rnn",
                "gru_backward",
                h.dtype,
                grad_h.size,
                gates,
                candidate,
                h,
                gradient,
                grad_h,
                grad_direct,
                grad_x_sums,
                grad_h_sums,
                given,
                t,
                h.shape[2],
            )
            if t > 0 or ctx.needs_input_grad[1]:
                cp.dot(grad_h_sums[t], weight, out=grad_h)
        to_x, to_h0, *to_weights = ctx.needs_input_grad
        return (
            _input_gradient(grad_x_sums, weight_ih) if to_x else None,
            (grad_h + grad_direct).reshape(1, *grad_h.shape) if to_h0 else None,
            *_weight_gradients(grad_x_sums, grad_h_sums, rows, h, to_weights),
        )

    @staticmethod
    def composite(
        x: Tensor,
        h0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Do the same step by step with `ops`."""
        size = h0.shape[2]
        from_x = _affine(x, weight_ih, bias_ih)
        h = h0[0]
        states = []
        for t in range(x.shape[0]):
            from_h = _affine(h, weight_hh, bias_hh)
            both = sigmoid(from_x[t, :, : 2 * size] + from_h[:, : 2 * size])
            r, z = both[:, :size], both[:, size:]
            n = tanh(from_x[t, :, 2 * size :] + r * from_h[:, 2 * size :])
            h = (1 - z) * n + z * h
            states.append(h)
        return _stacked(states, h), expand_dims(h)


def _steps(x: RawArray, state: RawArray) -> range:
    """Give the steps that have anything to compute: none for an empty batch."""
    return range(x.shape[0] if state.size else 0)


def _rows(x: RawArray) -> RawArray:
    """Give x as T N rows, copied if they do not lie one behind the other."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2])


def _project(rows: RawArray, shape: tuple[int, ...], weight: RawArray) -> RawArray:
    """Multiply all rows of x by W_ih at once: shape (T, N, G H), the caller's to overwrite."""
    return cp.dot(rows, weight.T).reshape(*shape[:2], weight.shape[0])


def _states(steps: int, first: RawArray) -> RawArray:
    """Make room for the state of every step behind the first one: shape (T + 1, N, H)."""
    states = cp.empty((steps + 1, *first.shape[1:]), dtype=first.dtype)
    states[:1] = first
    return states


def _recurrent(h0: RawArray, weight: RawArray) -> tuple[RawArray, RawArray]:
    """Make the room that each step's product goes to, and turn W_hh for it."""
    return cp.empty((h0.shape[1], weight.shape[0]), dtype=h0.dtype), cp.ascontiguousarray(weight).T


def _biases(
    bias_ih: RawArray | None, bias_hh: RawArray | None, unread: RawArray
) -> tuple[RawArray, RawArray]:
    """Give what the kernel gets for the biases: without them any array, which it does not read."""
    if bias_ih is None or bias_hh is None:
        return unread, unread
    return cp.ascontiguousarray(bias_ih), cp.ascontiguousarray(bias_hh)


def _state_gradient(grad: RawArray | None, states: RawArray) -> RawArray:
    """Make the running gradient of a state, shape (N, H), start with the last state's."""
    if grad is None:
        return cp.zeros(states.shape[1:], dtype=states.dtype)
    return cp.array(grad[0], copy=True, order="C")


def _output_gradient(grad: RawArray | None, unread: RawArray) -> tuple[RawArray, bool]:
    """Give what the kernel gets for the output's gradient, and whether it reads it."""
    return (unread, False) if grad is None else (cp.ascontiguousarray(grad), True)


def _input_gradient(grad_sums: RawArray, weight: RawArray) -> RawArray:
    return cp.dot(_rows(grad_sums), weight).reshape(*grad_sums.shape[:2], weight.shape[1])


def _weight_gradients(
    grad_x_sums: RawArray, grad_h_sums: RawArray, rows: RawArray, h: RawArray, wanted: list[bool]
) -> tuple[RawArray | None, ...]:
    """Form the gradients of weight_ih, weight_hh, bias_ih, bias_hh over all steps at once."""
    from_x, from_h = _rows(grad_x_sums), _rows(grad_h_sums)
    to_weight_ih, to_weight_hh, to_bias_ih, to_bias_hh = wanted
    bias_ih = cp.sum(from_x, axis=0) if to_bias_ih else None
    bias_hh = None
    if to_bias_hh and bias_ih is not None and grad_x_sums is grad_h_sums:
        bias_hh = bias_ih.copy()
    elif to_bias_hh:
        bias_hh = cp.sum(from_h, axis=0)
    return (
        cp.dot(from_x.T, rows) if to_weight_ih else None,
        cp.dot(from_h.T, _rows(h[:-1])) if to_weight_hh else None,
        bias_ih,
        bias_hh,
    )


def _affine(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = matmul(x, weight.T)
    return product if bias is None else product + bias


def _stacked(states: list[Tensor], like: Tensor) -> Tensor:
    return stack(states) if states else wrap(cp.zeros((0, *like.shape), dtype=like.dtype))
