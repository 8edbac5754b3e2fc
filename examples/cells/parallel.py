"""minGRU, SRU and QRNN: recurrent layers whose state is a linear recurrence.

Their gates read the inputs alone, so that all of them are formed at once, and
`ops.linear_recurrence` runs the state through the sequence. The task is a leaky average of noisy
numbers that begins anew wherever a mark says so.

T steps, N batch, I input size, H hidden size.

    python parallel.py --impl impl_numpy
"""

from collections.abc import Callable
from typing import Any

import chosen
import numpy as np

LEAK = 0.8
HIDDEN = 16


def parts(x: Any, count: int) -> list[Any]:
    """Return so many equal parts of the last axis."""
    size = x.shape[-1] // count
    return [x[..., place * size : (place + 1) * size] for place in range(count)]


def define(nn: Any) -> dict[str, Any]:
    """Return the three layers for the implementation ``nn``.

    Each maps an input (T, N, I) and a state (N, H), zeros if left out, to the outputs (T, N, H) and
    the last state.
    """
    return {
        "MinGRU": layer(nn, *min_gru(nn)),
        "SRU": layer(nn, *sru(nn)),
        "QRNN": layer(nn, *qrnn(nn), reads=2),
    }


def layer(
    nn: Any, rows: int, gates: Callable[..., Any], out: Callable[..., Any], reads: int = 1
) -> Any:
    """Return what the three have in common: the state c' = a c + b.

    `gates` makes a, b and what the output reads beside the state of a product with `rows` times H
    rows, whose input is that of the last steps, `reads` of them; `out` is the output.
    """

    class Layer(nn.Module):
        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            self.into = nn.Linear(reads * input_size, rows * hidden_size)

        def gates(self, x: Any) -> tuple[Any, Any, Any]:
            """Return a and b (T, N, H) and a tuple of others."""
            if reads == 2:
                before = nn.ops.concat([nn.ops.zeros_like(x[:1]), x[:-1]], axis=0)
                x = nn.ops.concat([before, x], axis=-1)
            return gates(*parts(self.into(x), rows))

        def out(self, c: Any, beside: Any) -> Any:
            """Return the output of a state."""
            return out(c, *beside)

        def forward(self, x: Any, c0: Any = None) -> tuple[Any, Any]:
            """Run the whole sequence."""
            a, b, beside = self.gates(x)
            c = nn.ops.linear_recurrence(a, b, c0)
            return self.out(c, beside), c[-1]

    return Layer


def min_gru(nn: Any) -> tuple[int, Callable[..., Any], Callable[..., Any]]:
    """Feng et al. 2024, section 3.1: h' = (1 - z) h + z W_h x, z = σ(W_z x)."""

    def gates(z: Any, candidate: Any) -> Any:
        z = nn.ops.sigmoid(z)
        return 1 - z, z * candidate, ()

    return 2, gates, lambda h: h


def sru(nn: Any) -> tuple[int, Callable[..., Any], Callable[..., Any]]:
    """Lei and Zhang 2017, equations 3 to 7, its highway from a projection of x."""

    def gates(f: Any, r: Any, candidate: Any, highway: Any) -> Any:
        f = nn.ops.sigmoid(f)
        return f, (1 - f) * candidate, (nn.ops.sigmoid(r), highway)

    def out(c: Any, r: Any, highway: Any) -> Any:
        return r * nn.ops.tanh(c) + (1 - r) * highway

    return 4, gates, out


def qrnn(nn: Any) -> tuple[int, Callable[..., Any], Callable[..., Any]]:
    """Bradbury et al. 2017, equations 1 and 4 to 6: fo-pooling, a filter of two steps."""

    def gates(z: Any, f: Any, o: Any) -> Any:
        f = nn.ops.sigmoid(f)
        return f, (1 - f) * nn.ops.tanh(z), (nn.ops.sigmoid(o),)

    return 3, gates, lambda c, o: o * c


def averages(seed: int, steps: int = 40, batch: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers and marks (T, N, 2), and the leaky averages since the last mark (T, N, 1)."""
    random = np.random.default_rng(seed)
    numbers = random.normal(size=(steps, batch))
    marks = random.random((steps, batch)) < 0.1
    average, wanted = np.zeros(batch), np.zeros((steps, batch))
    for t in range(steps):
        average = np.where(marks[t], 0.0, average) * LEAK + (1 - LEAK) * numbers[t]
        wanted[t] = average
    return np.stack([numbers, marks], -1).astype("float32"), wanted[..., None].astype("float32")


def learn(nn: Any, name: str, steps: int) -> tuple[Any, list[float]]:
    """Train one of the three; return it with its head, and the loss before each step."""
    nn.manual_seed(0)
    model = define(nn)[name](2, HIDDEN)
    head = nn.Linear(HIDDEN, 1)
    optimizer = nn.optim.Adam([*model.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for step in range(steps):
        inputs, wanted = averages(step)
        optimizer.zero_grad()
        loss = nn.loss.mse_loss(head(model(nn.tensor(inputs))[0]), nn.tensor(wanted))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return (model, head), losses


if __name__ == "__main__":
    nn, picture = chosen.arguments("parallel.png")
    curves = {}
    for name in define(nn):
        _, curves[name] = learn(nn, name, 200)
        first, last = curves[name][0], curves[name][-1]
        print(f"{name:7s} mean squared error {first:.4f} before, {last:.5f} after 200 steps")
    chosen.draw(curves, picture, "mean squared error", "log")
