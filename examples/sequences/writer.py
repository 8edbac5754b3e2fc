"""Write text a character at a time: a two-layer LSTM, trained by truncated backpropagation in time.

The text is the documentation that CPython ships, cut into parallel streams. Each step reads the
next T characters of every stream; the state is carried on to the next step, but detached: no
gradient goes back past the chunk (Williams and Peng 1990; truncated BPTT).

T steps of a chunk, N streams, V characters of the vocabulary.

    python writer.py --impl impl_numpy
"""

from pydoc_data.topics import topics
from typing import Any

import chosen
import numpy as np

STREAMS, CHUNK = 16, 32


class Text:
    """A text as numbers, in streams side by side."""

    def __init__(self) -> None:
        text = "\n".join(topics[name] for name in sorted(topics))
        self.characters = sorted(set(text))
        self.number = {character: place for place, character in enumerate(self.characters)}
        numbers = np.array([self.number[character] for character in text])
        length = len(numbers) // STREAMS
        self.streams = numbers[: length * STREAMS].reshape(STREAMS, length).T

    def chunk(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what is read in a step (T, N), and what should be guessed: the next characters."""
        first = step * CHUNK
        window = self.streams[first : first + CHUNK + 1]
        return window[:-1], window[1:]


def writer(nn: Any, vocabulary: int, width: int = 32, hidden: int = 64) -> Any:
    """Return a Module: characters (T, N) and a state to logits (T, N, V) and the next state."""

    class Writer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.rnn = nn.LSTM(width, hidden, num_layers=2)
            self.head = nn.Linear(hidden, vocabulary)

        def forward(self, characters: Any, state: Any = None) -> Any:
            output, state = self.rnn(self.embedding(characters), state)
            return self.head(output), state

    return Writer()


def learn(nn: Any, text: Text, steps: int) -> tuple[Any, list[float]]:
    """Train from one chunk to the next; return the writer and the loss before each step."""
    nn.manual_seed(0)
    model = writer(nn, len(text.characters))
    optimizer = nn.optim.Adam(model.parameters(), lr=0.01)
    state: Any = None
    losses = []
    for step in range(steps):
        read, following = text.chunk(step)
        optimizer.zero_grad()
        logits, state = model(nn.tensor(read), state)
        # What the next chunk begins with is a number to it, not a function of the weights.
        state = tuple(part.detach() for part in state)
        flat = logits.reshape(-1, len(text.characters))
        loss = nn.loss.cross_entropy(flat, nn.tensor(following.reshape(-1)))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def written(nn: Any, model: Any, text: Text, start: str, count: int, sharpness: float = 1.5) -> str:
    """Draw one character after another, the state carried along; return the start and them."""
    random = np.random.default_rng(0)
    state: Any = None
    read = np.array([[text.number[character]] for character in start])
    found = start
    with nn.no_grad():
        for _ in range(count):
            logits, state = model(nn.tensor(read), state)
            scores = sharpness * logits.numpy()[-1, 0].astype(float)
            weights = np.exp(scores - scores.max())
            number = random.choice(len(weights), p=weights / weights.sum())
            found += text.characters[number]
            read = np.array([[number]])
    return found


if __name__ == "__main__":
    nn, picture = chosen.arguments("writer.png")
    text = Text()
    model, losses = learn(nn, text, steps=300)
    for number in range(0, 300, 50):
        print(f"step {number:3d}: loss {losses[number]:.2f} a character")
    print(f"last: loss {losses[-1]:.2f}\n")
    print(written(nn, model, text, "The statement ", 200))
    print()
    chosen.draw(losses, picture, "loss a character")
