"""The same two Functions in PyTorch's own words, as one wrote them before Functions were static.

Today's ``torch.autograd.Function`` refuses this spelling; that of ``impl_torch_ext`` takes it.
In ``forward`` and ``backward`` everything is a raw ``torch.Tensor``, so all of torch is at hand,
assignment in place included. Run ``python torch_as_written.py``.
"""

import math
from typing import Any

import torch

from impl_torch_ext import Function, Module, Parameter, Variable, init, manual_seed, optim


class ReLUF(Function):
    """``output = max(input, 0)``."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Keep the input, return it with its negative elements made 0."""
        self.save_for_backward(input)
        return input.clamp(min=0)

    def backward(self, output_grad: torch.Tensor) -> torch.Tensor:
        """Make the gradient 0 where the input was not positive."""
        (input,) = self.saved_tensors
        input_grad = output_grad.clone()
        input_grad[torch.le(input, 0)] = 0
        return input_grad


class LinearF(Function):
    """``output = input @ weight.t() + bias``."""

    def forward(
        self, input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Take input (N, in), weight (out, in) and bias (out,) or None to output (N, out)."""
        self.save_for_backward(input, weight, bias)
        output = torch.mm(input, weight.t())
        if bias is not None:
            output += bias.unsqueeze(0).expand_as(output)
        return output

    def backward(self, grad_output: torch.Tensor) -> Any:
        """Return the gradients that are wanted: two without a bias, three with one."""
        input, weight, bias = self.saved_tensors
        grad_input = grad_weight = grad_bias = None
        if self.needs_input_grad[0]:
            grad_input = torch.mm(grad_output, weight)
        if self.needs_input_grad[1]:
            grad_weight = torch.mm(grad_output.t(), input)
        if bias is None:
            return grad_input, grad_weight
        if self.needs_input_grad[2]:
            grad_bias = grad_output.sum(0)
        return grad_input, grad_weight, grad_bias


class Linear(Module):
    """A Module around ``LinearF``."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__()
        self.in_features = in_features
        self.weight = Parameter(torch.Tensor(out_features, in_features))
        if bias:
            self.bias = Parameter(torch.Tensor(out_features))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from the uniform distribution that fits the inputs' number."""
        bound = 1.0 / math.sqrt(self.in_features)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Take input (N, in) to output (N, out)."""
        return LinearF()(input, self.weight, self.bias)


class MLP(Module):
    """A network with one hidden layer."""

    def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
        super().__init__()
        self.hidden = Linear(in_features, hidden)
        self.out = Linear(hidden, out_features)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Take input (N, in) to output (N, out)."""
        return self.out(ReLUF()(self.hidden(input)))


def train(steps: int) -> list[float]:
    """Learn the product of two numbers; return the loss before each step."""
    manual_seed(0)
    model = MLP(2, 16, 1)
    optimizer = optim.SGD(model.parameters(), lr=0.05)
    points = torch.linspace(-1.5, 1.5, 6)
    x = Variable(torch.cartesian_prod(points, points))
    target = x[:, :1] * x[:, 1:]
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = (model(x) - target).pow(2).mean()
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


if __name__ == "__main__":
    for number, value in enumerate(train(steps=10)):
        print(f"step {number}: loss {value:.4f}")
