"""From the article's RNN to the LSTM, a step at a time: what each part of the LSTM is there for.

Every step is a cell of a few lines from ``LinearF`` and ``ReLUF``, with what it mends of the one
before. Each is run over 100 random inputs, forward and back. What is shown of it:

- the largest number of its state, with the weights as they are drawn, and with those of the state
  three times as large;
- the length of the gradient of the last output, to the input 1, 10, 50 and 99 steps before: what is
  left of it there is what the cell could learn from an input so long ago.

The last is the LSTM, to rounding: `same` runs it and ``nn.LSTM`` with one set of weights.

T steps, N batch, I input size, H hidden size.

    python grown.py --impl impl_numpy
"""

import math
from collections.abc import Iterator
from typing import Any

import chosen
import functions
import numpy as np

STEPS, BATCH, INPUTS, HIDDEN = 100, 8, 4, 16
BEFORE = (1, 10, 50, 99)


def define(nn: Any) -> dict[str, Any]:
    """Return the cells by name, each from what is in the one before; the last is the LSTM's."""
    cell = base(nn)
    return {each.__name__: each for each in (*states(nn, cell), *gates(nn, cell))}


def base(nn: Any) -> Any:
    """Return what all cells have in common, from the article's ``LinearF``."""
    by_hand = functions.define(nn)

    class Cell(nn.Module):
        """What all have in common: the parameters, for a number of gates, and the products.

        ``bias`` is what the bias of each gate begins with.
        """

        mends: str = ""
        bias: tuple[float, ...] = (0.0,)

        def __init__(self, input_size: int, hidden_size: int) -> None:
            super().__init__()
            rows, bound = len(self.bias) * hidden_size, 1 / math.sqrt(hidden_size)
            self.weight_ih = nn.Parameter(nn.empty((rows, input_size)))
            self.weight_hh = nn.Parameter(nn.empty((rows, hidden_size)))
            for weight in (self.weight_ih, self.weight_hh):
                nn.init.uniform_(weight, -bound, bound)
            biases = np.repeat(np.array(self.bias, "float32"), hidden_size)
            self.bias_ih = nn.Parameter(nn.tensor(biases))
            self.bias_hh = nn.Parameter(nn.zeros((rows,)))

        def gates(self, x: Any, h: Any) -> list[Any]:
            """Return what each gate is a function of, (N, H) each, from x (N, I) and h (N, H)."""
            total = by_hand.LinearF()(x, self.weight_ih, self.bias_ih)
            total = total + by_hand.LinearF()(h, self.weight_hh, self.bias_hh)
            size = h.shape[-1]
            return [total[:, k * size : (k + 1) * size] for k in range(len(self.bias))]

    return Cell


def states(nn: Any, base: Any) -> tuple[Any, ...]:
    """Return the cells that differ in what they keep."""
    by_hand, ops = functions.define(nn), nn.ops

    class Article(base):
        mends = "the article's RNN: h' = relu(W x + U h + b)"

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            (a,) = self.gates(x, state[0])
            h = by_hand.ReLUF()(a)
            return h, h

    class Bounded(base):
        mends = "tanh for relu: the state cannot grow without end, whatever the weights are"

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            (a,) = self.gates(x, state[0])
            h = ops.tanh(a)
            return h, h

    class Added(base):
        mends = (
            "a second state that is only added to, c' = c + tanh(..): its gradient does not fade"
        )

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            h, c = state
            (g,) = self.gates(x, h)
            c = c + ops.tanh(g)
            return ops.tanh(c), c

    return Article, Bounded, Added


def gates(nn: Any, base: Any) -> tuple[Any, ...]:
    """Return the cells that differ in their gates."""
    ops = nn.ops

    class Written(base):
        mends = "an input gate, c' = c + i g: an input may leave what is kept as it is"
        bias = (0.0, 0.0)

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            h, c = state
            i, g = self.gates(x, h)
            c = c + ops.sigmoid(i) * ops.tanh(g)
            return ops.tanh(c), c

    class Shown(base):
        mends = (
            "an output gate, h' = o tanh(c'): what is kept need not be shown, nor disturb the rest"
        )
        bias = (0.0, 0.0, 0.0)

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            h, c = state
            i, g, o = self.gates(x, h)
            c = c + ops.sigmoid(i) * ops.tanh(g)
            return ops.sigmoid(o) * ops.tanh(c), c

    class Forgotten(base):
        mends = (
            "a forget gate, c' = f c + i g: what is kept does not pile up; at first it is half open"
        )
        bias = (0.0, 0.0, 0.0, 0.0)

        def forward(self, x: Any, state: tuple[Any, Any]) -> tuple[Any, Any]:
            h, c = state
            i, f, g, o = self.gates(x, h)
            c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
            return ops.sigmoid(o) * ops.tanh(c), c

    class Opened(Forgotten):
        mends = "the same, its bias log 100: it forgets when it has learnt to, not before"
        bias = (0.0, math.log(STEPS), 0.0, 0.0)

    return Written, Shown, Forgotten, Opened


def numbers(seed: int = 0) -> np.ndarray:
    """Return inputs (T, N, I)."""
    random = np.random.default_rng(seed)
    return random.normal(size=(STEPS, BATCH, INPUTS)).astype("float32")


def run(nn: Any, cell: Any, inputs: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the state, h and c (N, H), after each step."""
    state = (nn.zeros((inputs.shape[1], HIDDEN)),) * 2
    for t in range(len(inputs)):
        state = cell(inputs[t], state)
        yield state


def largest(nn: Any, cell: Any, times: float) -> float:
    """Return the state's largest number, with U so many times as large."""
    with nn.no_grad():
        changed = {"weight_hh": cell.weight_hh.detach() * times}

        def step(x: Any, state: Any) -> Any:
            return nn.functional_call(cell, changed, x, state)

        states = list(run(nn, step, nn.tensor(numbers())))
        return max(nn.ops.max(nn.ops.abs(part)).item() for state in states for part in state)


def slopes(nn: Any, cell: Any) -> np.ndarray:
    """Return the lengths (T,) of the gradients of the last output to each step's input."""
    leaf = nn.tensor(numbers(), requires_grad=True)
    for state in run(nn, cell, leaf):
        h, _ = state
    # Signs at random: the parts of an output may cancel each other in a sum.
    signs = np.sign(np.random.default_rng(1).normal(size=(BATCH, HIDDEN)))
    nn.ops.sum(h * nn.tensor(signs.astype("float32"))).backward()
    gradient = leaf.grad.numpy().astype(np.float64)
    return np.sqrt(np.sum(gradient**2, axis=(1, 2)))


def same(nn: Any, cell: Any, steps: int = 20) -> tuple[Any, Any]:
    """Return the outputs (T, N, H) of the last cell, and of ``nn.LSTM`` with its parameters.

    Over many steps the roundings of one are carried on, and so are those of the other.
    """
    layer = nn.LSTM(INPUTS, HIDDEN)
    layer.load_state_dict({f"{name}_l0": value for name, value in cell.state_dict().items()})
    inputs = nn.tensor(numbers()[:steps])
    with nn.no_grad():
        return nn.ops.stack([h for h, _ in run(nn, cell, inputs)]), layer(inputs)[0]


def draw(found: dict[str, np.ndarray], picture: str) -> None:
    """Draw the gradients' lengths over the steps, if there is matplotlib."""
    drawn = chosen.axes(1)
    if drawn is None:
        return
    figure, plot = drawn
    for name, lengths in found.items():
        plot.plot(np.arange(STEPS)[::-1], np.maximum(lengths, 1e-30), label=name)
    plot.set(xlabel="steps before the last", ylabel="length of the gradient", yscale="log")
    plot.legend(fontsize=7)
    figure.savefig(picture)
    print(f"drawn in {picture}")


if __name__ == "__main__":
    nn, picture = chosen.arguments("grown.png")
    found = {}
    for name, kind in define(nn).items():
        nn.manual_seed(0)
        cell = kind(INPUTS, HIDDEN)
        found[name] = slopes(nn, cell)
        sizes = [largest(nn, cell, times) for times in (1, 3)]
        left = "  ".join(f"{count:2d}: {found[name][-1 - count]:.0e}" for count in BEFORE)
        print(f"{name}: {kind.mends}")
        print(f"    largest {sizes[0]:.2g}, with 3 U {sizes[1]:.2g};  gradient {left}")
    ours, theirs = same(nn, cell)
    apart = nn.ops.max(nn.ops.abs(ours - theirs)).item()
    print(f"{name} and nn.LSTM with its weights: outputs {apart:.0e} apart")
    draw(found, picture)
