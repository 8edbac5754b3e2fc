"""``ReLUF`` and ``LinearF``: two Functions whose forward and backward are written by hand.

Both use the instance spelling: the instance that is called is the ctx, and serves one call.
"""

from types import SimpleNamespace
from typing import Any


def define(nn: Any) -> SimpleNamespace:
    """Return ``ReLUF`` and ``LinearF`` for the implementation ``nn``."""

    class ReLUF(nn.Function):
        """``y = max(x, 0)``."""

        def forward(self, x: Any) -> Any:
            """Keep x (any shape), return y of its shape."""
            self.save_for_backward(x)
            return self.xp.maximum(x, 0 * x)

        def backward(self, grad_output: Any) -> Any:
            """Let the gradient pass where x was positive."""
            (x,) = self.saved_tensors
            return self.xp.where(x > 0, grad_output, 0 * grad_output)

    class LinearF(nn.Function):
        """``y = x @ weight.T + bias``."""

        def forward(self, x: Any, weight: Any, bias: Any = None) -> Any:
            """Take x (N, in), weight (out, in) and bias (out,) or None to y (N, out)."""
            self.save_for_backward(x, weight, bias)
            y = x @ weight.T
            return y if bias is None else y + bias

        def backward(self, grad_output: Any) -> Any:
            """Return the gradients that are wanted: two without a bias, three with one."""
            x, weight, bias = self.saved_tensors
            grad_x = grad_weight = grad_bias = None
            if self.needs_input_grad[0]:
                grad_x = grad_output @ weight
            if self.needs_input_grad[1]:
                grad_weight = grad_output.T @ x
            if bias is None:
                return grad_x, grad_weight
            if self.needs_input_grad[2]:
                grad_bias = self.xp.sum(grad_output, axis=0)
            return grad_x, grad_weight, grad_bias

    return SimpleNamespace(ReLUF=ReLUF, LinearF=LinearF)
