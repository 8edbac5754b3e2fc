"""A convolutional LSTM under `unroll`: it learns where moving bars will be next.

The cell is the user's own (Shi et al. 2015, equation 3, without peepholes). Its products are
convolutions with a filter of 3 by 3 on a torus, made of `roll` and `matmul`; the one with the input
is formed for all steps at once by `project`.

T steps, N batch, R rows and columns of a frame, C channels, the last axis.

    python convolutional.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np

FRAME = 6
HIDDEN = 6


def define(nn: Any) -> Any:
    """Return the cell for the implementation ``nn``."""
    ops = nn.ops

    def around(x: Any) -> Any:
        """Return each point's nine neighbours side by side, (..., R, R, 9 C)."""
        moves = [(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
        return ops.concat([ops.roll(x, move, axis=(-3, -2)) for move in moves], axis=-1)

    class ConvLSTMCell(nn.Module):
        """The state is the pair h, c, each (N, R, R, H)."""

        def __init__(self, channels: int, hidden: int) -> None:
            super().__init__()
            self.into = nn.Linear(9 * channels, 4 * hidden)
            self.back = nn.Linear(9 * hidden, 4 * hidden, bias=False)

        def project(self, frames: Any) -> Any:
            """Return the part of the gates that comes from the frames, (..., R, R, 4 H)."""
            return self.into(around(frames))

        def step(self, projected: Any, state: Any) -> tuple[Any, Any]:
            """Return the next state."""
            h, c = state
            gates = projected + self.back(around(h))
            size = c.shape[-1]
            i, f, g, o = [gates[..., k * size : (k + 1) * size] for k in range(4)]
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            return ops.sigmoid(o) * ops.tanh(c), c

        def forward(self, frame: Any, state: Any) -> tuple[Any, Any]:
            """Take one frame."""
            return self.step(self.project(frame), state)

    return ConvLSTMCell


def bars(seed: int, steps: int = 8, batch: int = 8) -> np.ndarray:
    """Return films (T, N, R, R, 1) of bars that move on a torus, each its own way."""
    random = np.random.default_rng(seed)
    frames = np.zeros((steps, batch, FRAME, FRAME, 1), "float32")
    for n in range(batch):
        place, upright = random.integers(FRAME), random.random() < 0.5
        way = random.choice([-1, 1])
        for t in range(steps):
            at = (place + way * t) % FRAME
            frames[(t, n, slice(None), at) if upright else (t, n, at)] = 1
    return frames


def predicted(nn: Any, model: tuple[Any, Any], frames: Any) -> Any:
    """Return the logits of the frames that follow each, from nothing known before the first."""
    cell, head = model
    shape = (*frames.shape[1:4], HIDDEN)
    hidden, _ = nn.rnn.unroll(cell, frames, (nn.zeros(shape), nn.zeros(shape)))
    return head(hidden)


def learn(nn: Any, steps: int) -> tuple[Any, list[float]]:
    """Train; return the cell with its head, and the loss before each step."""
    nn.manual_seed(0)
    cell, head = define(nn)(1, HIDDEN), nn.Linear(HIDDEN, 1)
    optimizer = nn.optim.Adam([*cell.parameters(), *head.parameters()], lr=0.02)
    losses = []
    for step in range(steps):
        film = bars(step)
        optimizer.zero_grad()
        # The first frame does not say which way its bar will go.
        logits = predicted(nn, (cell, head), nn.tensor(film[:-1]))[1:]
        # The negative logarithm of the probability of what comes.
        loss = nn.ops.mean(nn.ops.softplus(logits) - logits * nn.tensor(film[2:]))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return (cell, head), losses


def right(nn: Any, model: Any, film: np.ndarray) -> float:
    """Return the share of frames that are foretold without a wrong point."""
    with nn.no_grad():
        logits = predicted(nn, model, nn.tensor(film[:-1]))[1:].numpy()
    return float(np.mean(np.all((logits > 0) == (film[2:] > 0), axis=(2, 3, 4))))


if __name__ == "__main__":
    nn, picture = chosen.arguments("convolutional.png")
    model, losses = learn(nn, 120)
    for number in range(0, 120, 20):
        print(f"step {number:3d}: loss {losses[number]:.3f}")
    print(f"frames foretold of films not seen: {right(nn, model, bars(1000, batch=32)):.0%}")
    chosen.draw(losses, picture)
