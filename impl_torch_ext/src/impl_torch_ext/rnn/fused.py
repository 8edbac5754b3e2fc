"""The recurrent Functions: each calls operators of `csrc/` for a whole sequence or a step.

T steps, N batch, I input size, H hidden size, P size of a state h (H without a projection), G
gates.
"""

from typing import Any, ClassVar

from torch import Tensor

from impl_torch_ext.function import Function
from impl_torch_ext.native import native
from impl_torch_ext.rnn import equations

__all__ = ["GRUFunction", "LSTMFunction", "RNNCellFunction", "RNNFunction"]


class _Sequence(Function):
    """All steps of a recurrence, whose equations are `_step`.

    Inputs: x (T, N, I), the first states h (N, P) and c (N, H), weight_ih (G H, I), weight_hh
    (G H, P), bias_ih and bias_hh (G H,) or None. Outputs: output (T, N, P) and the last states. In
    reverse the steps run from the last to the first. With `batch_sizes` (T,) x is (rows, I), the
    output (rows, P), and each sample has a length of its own: see `equations.sequence`.
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
    def forward(
        ctx: Any,
        *inputs: Any,
        relu: bool,
        batch_sizes: Tensor | None = None,
        reverse: bool = False,
    ) -> tuple[Tensor, ...]:
        """Run the sequence."""
        output, h_n = native.rnn_forward.default(*inputs, relu, batch_sizes, reverse)
        ctx.relu, ctx.batch_sizes, ctx.reverse = relu, batch_sizes, reverse
        ctx.save_for_backward(*inputs[:4], output)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        needs = ctx.needs_input_grad
        wanted = _with_one_bias(needs, 4)
        found = native.rnn_backward.default(
            *grads, *ctx.saved_tensors, ctx.relu, wanted, ctx.batch_sizes, ctx.reverse
        )
        return _one_bias_for_both(needs, found, 4)


class LSTMFunction(_Sequence):
    """The LSTM for all steps: `c_t = f c_(t-1) + i g`, `h_t = o tanh(c_t)`.

    Inputs and outputs are those of `equations.sequence`, gates in the order i, f, g, o. With one
    more input, weight_hr (P, H), it is `h_t = W_hr (o tanh(c_t))`. With `cells` there is one more
    output, every c_t (T, N, H).
    """

    _step = staticmethod(equations.lstm)

    @classmethod
    def composite(cls, *inputs: Any, **config: Any) -> tuple[Tensor, ...]:
        """Return the same outputs from differentiable functions."""
        return super().composite(*inputs[:7], weight_hr=(*inputs, None)[7], **config)

    @staticmethod
    def forward(
        ctx: Any,
        *inputs: Any,
        batch_sizes: Tensor | None = None,
        reverse: bool = False,
        cells: bool = False,
    ) -> tuple[Tensor, ...]:
        """Run the sequence."""
        keep = cells or any(ctx.needs_input_grad)
        forward = native.lstm_forward if len(inputs) == 7 else native.projected_lstm_forward
        output, h_n, c_n, gates, every = forward.default(*inputs, keep, batch_sizes, reverse)
        ctx.batch_sizes, ctx.reverse = batch_sizes, reverse
        ctx.save_for_backward(*inputs[:5], *inputs[7:], output, gates, every)
        ctx.set_materialize_grads(False)
        return (output, h_n, c_n, every) if cells else (output, h_n, c_n)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the inputs."""
        needs = ctx.needs_input_grad
        backward = native.lstm_backward if len(needs) == 7 else native.projected_lstm_backward
        wanted = _with_one_bias(needs, 5)
        way = ctx.batch_sizes, ctx.reverse
        # The gradient of every c, where there is one, comes last.
        found = backward.default(*grads[:3], *ctx.saved_tensors, wanted, *way, *grads[3:])
        return _one_bias_for_both(needs, found, 5)


class GRUFunction(_Sequence):
    """The GRU for all steps: `h_t = (1 - z) n + z h_(t-1)`.

    Inputs and outputs are those of `equations.sequence`, gates in the order r, z, n.
    """

    _step = staticmethod(equations.gru)

    @staticmethod
    def forward(
        ctx: Any, *inputs: Any, batch_sizes: Tensor | None = None, reverse: bool = False
    ) -> tuple[Tensor, ...]:
        """Run the sequence."""
        keep = any(ctx.needs_input_grad)
        output, h_n, gates = native.gru_forward.default(*inputs, keep, batch_sizes, reverse)
        ctx.batch_sizes, ctx.reverse = batch_sizes, reverse
        ctx.save_for_backward(*inputs[:4], output, gates)
        ctx.set_materialize_grads(False)
        return output, h_n

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the six inputs."""
        needs = ctx.needs_input_grad
        found = native.gru_backward.default(
            *grads, *ctx.saved_tensors, needs, ctx.batch_sizes, ctx.reverse
        )
        return _wanted(needs, found)


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
        needs = ctx.needs_input_grad
        wanted = _with_one_bias(needs, 4)
        found = native.rnn_step_backward.default(grad_output, *ctx.saved_tensors, ctx.relu, wanted)
        return _one_bias_for_both(needs, found, 4)

    @staticmethod
    def composite(*inputs: Any, relu: bool) -> Tensor:
        """Return the same output from differentiable functions."""
        return equations.single(equations.rnn, *inputs, relu=relu)[0]


def _with_one_bias(needs: tuple[bool, ...], place: int) -> list[bool]:
    """Return what a kernel is asked for that makes one gradient for both biases.

    They have the same; `place` is that of bias_ih among the inputs, and bias_hh comes after it.
    """
    return [*needs[:place], needs[place] or needs[place + 1], *needs[place + 2 :]]


def _one_bias_for_both(
    needs: tuple[bool, ...], grads: tuple[Tensor, ...], place: int
) -> tuple[Tensor | None, ...]:
    """Return the gradients of all inputs from those of such a kernel."""
    bias = grads[place]
    other = bias.clone() if needs[place + 1] else bias
    return _wanted(needs, (*grads[: place + 1], other, *grads[place + 1 :]))


def _wanted(needs: tuple[bool, ...], grads: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
    return tuple(grad if need else None for need, grad in zip(needs, grads, strict=True))
