"""``MLP``: two ``Linear`` with a ``ReLUF`` between them, and a few steps of its training.

Run it on any implementation: ``python mlp.py --impl impl_numpy``.
"""

from types import SimpleNamespace
from typing import Any

import chosen
import functions
import layers


def define(nn: Any) -> SimpleNamespace:
    """Return ``MLP`` for the implementation ``nn``."""
    relu = functions.define(nn).ReLUF
    linear = layers.define(nn).Linear

    class MLP(nn.Module):
        """A network with one hidden layer."""

        def __init__(self, in_features: int, hidden: int, out_features: int) -> None:
            super().__init__()
            self.hidden = linear(in_features, hidden)
            self.out = linear(hidden, out_features)

        def forward(self, x: Any) -> Any:
            """Take x (N, in) to y (N, out)."""
            return self.out(relu()(self.hidden(x)))

    return SimpleNamespace(MLP=MLP)


def train(nn: Any, steps: int) -> list[float]:
    """Learn ``x[0] * x[1]`` from 32 points; return the loss before each step."""
    nn.manual_seed(0)
    model = define(nn).MLP(2, 16, 1)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.05)
    x = nn.randn((32, 2))
    target = x[:, :1] * x[:, 1:]
    seen = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(model(x), target)
        loss.backward()
        optimizer.step()
        seen.append(loss.item())
    return seen


if __name__ == "__main__":
    for number, value in enumerate(train(chosen.implementation(), steps=10)):
        print(f"step {number}: loss {value:.4f}")
