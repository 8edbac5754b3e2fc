"""``RNNCell`` and ``RNN`` from ``LinearF`` and ``ReLUF``, and a few steps of their training.

Run it on any implementation: ``python rnn.py --impl impl_numpy``.
"""

import math
from types import SimpleNamespace
from typing import Any

import chosen
import functions
import layers


def define(nn: Any) -> SimpleNamespace:
    """Return ``RNNCell`` and ``RNN`` for the implementation ``nn``."""
    by_hand = functions.define(nn)

    class RNNCell(nn.Module):
        """``h' = relu(weight_ih x + bias_ih + weight_hh h + bias_hh)``."""

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.hidden_size = hidden_size
            self.weight_ih = nn.Parameter(nn.empty((hidden_size, input_size)))
            self.weight_hh = nn.Parameter(nn.empty((hidden_size, hidden_size)))
            self.bias_ih = nn.Parameter(nn.empty((hidden_size,)))
            self.bias_hh = nn.Parameter(nn.empty((hidden_size,)))
            self.reset_parameters()

        def reset_parameters(self) -> None:
            """Draw every parameter from the uniform distribution that fits the hidden size."""
            bound = 1 / math.sqrt(self.hidden_size)
            for parameter in self.parameters():
                nn.init.uniform_(parameter, -bound, bound)

        def forward(self, x: Any, h: Any) -> Any:
            """Take x (N, I) and h (N, H) to the next state (N, H)."""
            from_input = by_hand.LinearF()(x, self.weight_ih, self.bias_ih)
            from_state = by_hand.LinearF()(h, self.weight_hh, self.bias_hh)
            return by_hand.ReLUF()(from_input + from_state)

    class RNN(nn.Module):
        """One cell, applied to the steps of a sequence in turn."""

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.hidden_size = hidden_size
            self.cell = RNNCell(input_size, hidden_size)

        def forward(self, inputs: Any) -> list[Any]:
            """Take inputs (N, T, I) to the list of the T states, each (N, H)."""
            batch, steps, _ = inputs.shape
            h = nn.zeros((batch, self.hidden_size), dtype=inputs.dtype)
            states = []
            for t in range(steps):
                h = self.cell(inputs[:, t, :], h)
                states.append(h)
            return states

    return SimpleNamespace(RNNCell=RNNCell, RNN=RNN)


def train(nn: Any, steps: int) -> list[float]:
    """Learn the mean of 16 sequences of length 6; return the loss before each step."""
    nn.manual_seed(0)
    model = define(nn).RNN(1, 12)
    head = layers.define(nn).Linear(12, 1)
    optimizer = nn.optim.SGD([*model.parameters(), *head.parameters()], lr=0.05)
    inputs = nn.rand((16, 6, 1))
    target = nn.ops.mean(inputs, axis=1)
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(head(model(inputs)[-1]), target)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


if __name__ == "__main__":
    for number, value in enumerate(train(chosen.implementation(), steps=10)):
        print(f"step {number}: loss {value:.4f}")
