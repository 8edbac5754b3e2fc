"""The recurrent Functions: each calls operators of `csrc/` for a whole sequence or a step.

T steps, N batch, I input size, H hidden size, G gates.
"""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor

from impl_torch_ext.function import Function
from impl_torch_ext.native import native
from impl_torch_ext.rnn import equations

__all__ = ["GRUFunction", "LSTMFunction", "RNNCellFunction", "RNNFunction"]


class _Sequence(Function):
    """All steps of a recurrence, whose equations are `_step`.

    Inputs: x (T, N, I), the first states (N, H), weight_ih (G H, I), weight_hh (G H, H), bias_ih
    and bias_hh (G H,) or None. Outputs: output (T, N, H) and the last states (N, H).
    """

    _pure = True
    _step: ClassVar[equations.Step]

    @classmethod
    def composite(cls, *inputs: Any, **config: Any) -> tuple[Tensor, ...]:
        """Return the same outputs from differentiable functions."""
        return equations.sequence(cls._step, *inputs, **config)


class RNNFunction(_Sequence):
    """`h_t = tanh(W_ih x_t + b_ih + W_hh h_(t-1) + b_hh)`, or relu, for all steps.

    Inputs and outputs are those of `equations.sequence`. The output is all that backward needs.
    """

    _step = staticmethod(equations.rnn)

    @staticmethod
    def forward(ctx: Any, *inputs: Any, relu: bool) -> tuple[Tensor, ...]:
        """Run the sequence."""
        output, h_n = native.rnn_forward.default(*inputs, relu)
        ctx.relu = relu
        ctx.save_for_backward(*inputs[:4], output)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        return _with_one_bias(
            ctx, native.rnn_backward.default, *grads, *ctx.saved_tensors, ctx.relu
        )


class LSTMFunction(_Sequence):
    """The LSTM for all steps: `c_t = f c_(t-1) + i g`, `h_t = o tanh(c_t)`.

    Inputs and outputs are those of `equations.sequence`, gates in the order i, f, g, o.
    """

    _step = staticmethod(equations.lstm)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        """Run the sequence."""
        keep = any(ctx.needs_input_grad)
        output, h_n, c_n, gates, cells = native.lstm_forward.default(*inputs, keep)
        ctx.save_for_backward(*inputs[:5], output, gates, cells)
        ctx.set_materialize_grads(False)
        return output, h_n, c_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the seven inputs."""
        return _with_one_bias(ctx, native.lstm_backward.default, *grads, *ctx.saved_tensors)


class GRUFunction(_Sequence):
    """The GRU for all steps: `h_t = (1 - z) n + z h_(t-1)`.

    Inputs and outputs are those of `equations.sequence`, gates in the order r, z, n.
    """

    _step = staticmethod(equations.gru)

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> tuple[Tensor, ...]:
        """Run the sequence."""
        output, h_n, gates = native.gru_forward.default(*inputs, any(ctx.needs_input_grad))
        ctx.save_for_backward(*inputs[:4], output, gates)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        needs = ctx.needs_input_grad
        return _wanted(needs, native.gru_backward.default(*grads, *ctx.saved_tensors, needs))


class RNNCellFunction(Function):
    """One step of `RNNFunction`: x (N, I), h (N, H), parameters as there; returns h' (N, H)."""

    _pure = True

    @staticmethod
    def forward(ctx: Any, *inputs: Any, relu: bool) -> Tensor:
        """Run the step."""
        output: Tensor = native.rnn_step.default(*inputs, relu)
        ctx.relu = relu
        ctx.save_for_backward(*inputs[:4], output)
        return output

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        kernel = native.rnn_step_backward.default
        return _with_one_bias(ctx, kernel, grad_output, *ctx.saved_tensors, ctx.relu)

    @staticmethod
    def composite(*inputs: Any, relu: bool) -> Tensor:
        """Return the same output from differentiable functions."""
        return equations.single(equations.rnn, *inputs, relu=relu)[0]


def _with_one_bias(
    ctx: Any, kernel: Callable[..., Any], *arguments: Any
) -> tuple[Tensor | None, ...]:
    """Return the gradients from a kernel that makes one for both biases, as they have the same."""
    needs = ctx.needs_input_grad
    *grads, bias = kernel(*arguments, [*needs[:-2], needs[-2] or needs[-1]])
    return _wanted(needs, (*grads, bias, bias.clone() if needs[-1] else bias))


def _wanted(needs: tuple[bool, ...], grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return tuple(grad if need else None for need, grad in zip(needs, grads, strict=True))
