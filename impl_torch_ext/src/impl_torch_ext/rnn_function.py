"""The recurrent Functions: each calls operators of ``csrc/`` for a whole sequence or a step.

T steps, N batch, I input size, H hidden size.
"""

from typing import Any

from torch import Tensor

from impl_torch_ext import recurrence
from impl_torch_ext.function import Function
from impl_torch_ext.kernels import kernels

__all__ = ["GRUFunction", "LSTMFunction", "RNNCellFunction", "RNNFunction"]


class RNNFunction(Function):
    """``h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)``, or relu, for all steps.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (H, I), weight_hh (H, H), bias_ih and bias_hh (H,) or
    None. Outputs: output (T, N, H) and h_n (N, H). The output is all that the backward pass needs.
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any, relu: bool) -> tuple[Tensor, Tensor]:
        """Run the sequence."""
        x, h0, weight_ih, weight_hh, _, _ = inputs
        output, h_n = kernels.rnn_forward.default(*inputs, relu)
        ctx.relu = relu
        ctx.save_for_backward(x, h0, weight_ih, weight_hh, output)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor | None, grad_h_n: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs; the two biases have the same one."""
        needs = ctx.needs_input_grad
        *grads, bias = kernels.rnn_backward.default(
            grad_output, grad_h_n, *ctx.saved_tensors, ctx.relu, [*needs[:4], needs[4] or needs[5]]
        )
        return _asked_for(needs, (*grads, bias, bias.clone() if needs[5] else bias))

    @staticmethod
    def composite(*inputs: Any, relu: bool) -> tuple[Tensor, Tensor]:
        """Return the same outputs from differentiable functions."""
        return recurrence.rnn_sequence(*inputs, relu=relu)


class LSTMFunction(Function):
    """The LSTM for all steps: ``c_t = f c_(t-1) + i g``, ``h_t = o tanh(c_t)``.

    Inputs: x (T, N, I), h0 and c0 (N, H), weight_ih (4 H, I), weight_hh (4 H, H), bias_ih and
    bias_hh (4 H,) or None, gates in the order i, f, g, o. Outputs: output (T, N, H), h_n and c_n
    (N, H).
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Run the sequence."""
        output, h_n, c_n, gates, cells = kernels.lstm_forward.default(
            *inputs, any(ctx.needs_input_grad)
        )
        ctx.save_for_backward(*inputs[:5], output, gates, cells)
        ctx.set_materialize_grads(False)
        return output, h_n, c_n

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor | None, grad_h_n: Tensor | None, grad_c_n: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the seven inputs; the two biases have the same one."""
        needs = ctx.needs_input_grad
        *grads, bias = kernels.lstm_backward.default(
            grad_output, grad_h_n, grad_c_n, *ctx.saved_tensors, [*needs[:5], needs[5] or needs[6]]
        )
        return _asked_for(needs, (*grads, bias, bias.clone() if needs[6] else bias))

    @staticmethod
    def composite(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Return the same outputs from differentiable functions."""
        return recurrence.lstm_sequence(*inputs)


class GRUFunction(Function):
    """The GRU for all steps: ``h_t = (1 - z) n + z h_(t-1)``.

    Inputs: x (T, N, I), h0 (N, H), weight_ih (3 H, I), weight_hh (3 H, H), bias_ih and bias_hh (3
    H,) or None, gates in the order r, z, n. Outputs: output (T, N, H) and h_n (N, H).
    """

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, Tensor]:
        """Run the sequence."""
        output, h_n, gates = kernels.gru_forward.default(*inputs, any(ctx.needs_input_grad))
        ctx.save_for_backward(*inputs[:4], output, gates)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor | None, grad_h_n: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        needs = ctx.needs_input_grad
        return _asked_for(
            needs, kernels.gru_backward.default(grad_output, grad_h_n, *ctx.saved_tensors, needs)
        )

    @staticmethod
    def composite(*inputs: Any) -> tuple[Tensor, Tensor]:
        """Return the same outputs from differentiable functions."""
        return recurrence.gru_sequence(*inputs)


class RNNCellFunction(Function):
    """One step of `RNNFunction`: x (N, I), h (N, H), parameters as there; returns h' (N, H)."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any, relu: bool) -> Tensor:
        """Run the step."""
        output: Tensor = kernels.rnn_step.default(*inputs, relu)
        ctx.relu = relu
        ctx.save_for_backward(*inputs[:4], output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs; the two biases have the same one."""
        needs = ctx.needs_input_grad
        *grads, bias = kernels.rnn_step_backward.default(
            grad_output, *ctx.saved_tensors, ctx.relu, [*needs[:4], needs[4] or needs[5]]
        )
        return _asked_for(needs, (*grads, bias, bias.clone() if needs[5] else bias))

    @staticmethod
    def composite(
        x: Tensor,
        h: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor | None,
        bias_hh: Tensor | None,
        relu: bool,
    ) -> Tensor:
        """Return the same output from differentiable functions."""
        return recurrence.rnn_step(
            recurrence.affine(x, weight_ih, bias_ih), h, weight_hh, bias_hh, relu
        )


def _asked_for(needs: tuple[bool, ...], grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return tuple(grad if need else None for need, grad in zip(needs, grads, strict=True))
