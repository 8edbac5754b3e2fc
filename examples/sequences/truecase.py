"""Give a text its capital letters back: a tagger with a bidirectional GRU, and `lengths`.

The lines of a real text, the documentation that CPython ships, are read in small letters; the
tagger says of every character whether it was a capital one. Lines differ in length: a batch is
padded, the layer is told the lengths, and the loss counts where there is a character.

T steps, N lines, V characters of the vocabulary.

    python truecase.py --impl impl_numpy
"""

from pydoc_data.topics import topics
from typing import Any

import chosen
import numpy as np

LONGEST, BATCH, HELD_OUT = 48, 32, 64


def lines() -> list[str]:
    """Return the lines of the text that have a length from 8 to `LONGEST`, in a fixed order."""
    text = "\n".join(topics[name] for name in sorted(topics))
    found = sorted({line.strip() for line in text.splitlines()})
    fitting = [line for line in found if 8 <= len(line) <= LONGEST and line != line.lower()]
    order = np.random.default_rng(0).permutation(len(fitting))
    return [fitting[place] for place in order]


class Text:
    """Lines as arrays: small letters by number, their lengths, and which were capital ones."""

    def __init__(self, found: list[str]) -> None:
        self.lines = found
        characters = sorted(set("".join(found).lower()))
        self.number = {character: place for place, character in enumerate(characters)}

    def batch(self, chosen_lines: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return numbers (T, N), lengths (N,), and whether each is a capital letter (T, N)."""
        numbers = np.zeros((LONGEST, len(chosen_lines)), np.int64)
        capital = np.zeros_like(numbers)
        for n, line in enumerate(chosen_lines):
            numbers[: len(line), n] = [self.number[character] for character in line.lower()]
            capital[: len(line), n] = [character.isupper() for character in line]
        return numbers, np.array([len(line) for line in chosen_lines]), capital


def tagger(nn: Any, vocabulary: int, width: int = 16, hidden: int = 32) -> Any:
    """Return a Module that maps characters (T, N) and lengths (N,) to logits (T, N, 2)."""

    class Tagger(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(vocabulary, width)
            self.rnn = nn.GRU(width, hidden, bidirectional=True)
            self.head = nn.Linear(2 * hidden, 2)

        def forward(self, characters: Any, lengths: Any) -> Any:
            output, _ = self.rnn(self.embedding(characters), lengths=lengths)
            return self.head(output)

    return Tagger()


def learn(nn: Any, text: Text, steps: int) -> tuple[Any, list[float]]:
    """Train on all lines but the first ones; return the tagger and the loss before each step."""
    nn.manual_seed(0)
    model = tagger(nn, len(text.number))
    optimizer = nn.optim.Adam(model.parameters(), lr=0.02)
    known, losses = text.lines[HELD_OUT:], []
    for step in range(steps):
        first = step * BATCH % (len(known) - BATCH)
        numbers, lengths, capital = text.batch(known[first : first + BATCH])
        there = np.arange(LONGEST)[:, None] < lengths
        optimizer.zero_grad()
        logits = model(nn.tensor(numbers), lengths).reshape(-1, 2)
        each = nn.loss.cross_entropy(logits, nn.tensor(capital.reshape(-1)), reduction="none")
        weights = (there / lengths.sum()).reshape(-1).astype("float32")
        loss = nn.ops.sum(each * nn.tensor(weights))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model, losses


def restored(nn: Any, model: Any, text: Text, chosen_lines: list[str]) -> list[str]:
    """Return the lines as the tagger writes them from their small letters."""
    numbers, lengths, _ = text.batch(chosen_lines)
    with nn.no_grad():
        logits = model(nn.tensor(numbers), lengths).numpy()
    capital = logits[:, :, 1] > logits[:, :, 0]
    return [
        "".join(
            c.upper() if big else c for c, big in zip(line.lower(), capital[:, n], strict=False)
        )
        for n, line in enumerate(chosen_lines)
    ]


def score(wanted: list[str], got: list[str]) -> float:
    """Return the F1 measure of the capital letters: 1 if all are found, and no other is."""
    pairs = list(zip("".join(wanted), "".join(got), strict=True))
    hits = sum(a.isupper() and b.isupper() for a, b in pairs)
    return 2 * hits / max(1, sum(a.isupper() + b.isupper() for a, b in pairs))


if __name__ == "__main__":
    nn, picture = chosen.arguments("truecase.png")
    text = Text(lines())
    held_out = text.lines[:HELD_OUT]
    model, losses = learn(nn, text, steps=120)
    for number in range(0, 120, 20):
        print(f"step {number:3d}: loss {losses[number]:.3f}")
    print(f"last: loss {losses[-1]:.3f}")
    written = restored(nn, model, text, held_out)
    print(f"capital letters of {len(held_out)} held-out lines, F1: {score(held_out, written):.2f}")
    for wanted, got in list(zip(held_out, written, strict=True))[:6]:
        print(f"  {wanted}\n  {got}\n")
    chosen.draw(losses, picture)
