"""Write text a character at a time: a small transformer block, trained on a real text.

The text is the documentation that CPython ships. The block is today's usual one: norms
in front (RMSNorm), causal attention, and a GELU network of two layers, each added to what came in
(Vaswani et al. 2017; Xiong et al. 2020). Positions are learnt, as characters are.

T characters of a window, N windows, V characters of the vocabulary.

    python block.py --impl impl_numpy
"""

from pydoc_data.topics import topics
from typing import Any

import chosen
import numpy as np

WINDOW, BATCH = 32, 16


class Text:
    """A text as numbers."""

    def __init__(self) -> None:
        text = "\n".join(topics[name] for name in sorted(topics))
        self.characters = sorted(set(text))
        self.number = {character: place for place, character in enumerate(self.characters)}
        self.numbers = np.array([self.number[character] for character in text])

    def windows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows of a step (N, T), and what should be guessed: the next characters."""
        random = np.random.default_rng(step)
        starts = random.integers(0, len(self.numbers) - WINDOW - 1, BATCH)
        found = self.numbers[starts[:, None] + np.arange(WINDOW + 1)]
        return found[:, :-1], found[:, 1:]


def define(nn: Any) -> tuple[type, type]:
    """Return the Modules `Block` and `Model` of an implementation."""

    class Block(nn.Module):
        """Add to (N, T, E) what attention finds before each place, and a network of two layers."""

        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.norm1 = nn.RMSNorm(width)
            self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
            self.norm2 = nn.RMSNorm(width)
            self.network = nn.Sequential(
                nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
            )

        def forward(self, x: Any, later: Any) -> Any:
            normed = self.norm1(x)
            seen, _ = self.attention(normed, normed, normed, attn_mask=later, need_weights=False)
            x = x + seen
            return x + self.network(self.norm2(x))

    class Model(nn.Module):
        """Characters (N, T) to logits (N, T, V)."""

        def __init__(self, vocabulary: int, width: int = 32, heads: int = 4) -> None:
            super().__init__()
            self.characters = nn.Embedding(vocabulary, width)
            self.places = nn.Embedding(WINDOW, width)
            self.block = Block(width, heads)
            self.norm = nn.RMSNorm(width)
            self.head = nn.Linear(width, vocabulary)

        def forward(self, characters: Any) -> Any:
            length = characters.shape[1]
            later = nn.tensor(np.triu(np.ones((length, length), bool), 1))
            x = self.characters(characters) + self.places(nn.tensor(np.arange(length)))
            return self.head(self.norm(self.block(x, later)))

    return Block, Model


def learn(nn: Any, text: Text, steps: int) -> tuple[Any, list[float]]:
    """Train, the step size falling along a cosine; return the model and the loss of each step."""
    nn.manual_seed(0)
    model = define(nn)[1](len(text.characters))
    optimizer = nn.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.01)
    scheduler = nn.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    losses = []
    for step in range(steps):
        read, following = text.windows(step)
        optimizer.zero_grad()
        logits = model(nn.tensor(read)).reshape(-1, len(text.characters))
        loss = nn.loss.cross_entropy(logits, nn.tensor(following.reshape(-1)))
        loss.backward()
        nn.optim.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return model, losses


def written(nn: Any, model: Any, text: Text, start: str, count: int, sharpness: float = 1.5) -> str:
    """Draw one character after another from the last window; return the start and them."""
    random = np.random.default_rng(0)
    found = start
    with nn.no_grad():
        for _ in range(count):
            # Always a whole window, so that a backend that compiles does it once; what stands
            # behind the last character is not looked at.
            window = found[-WINDOW:]
            read = np.zeros((1, WINDOW), np.int64)
            read[0, : len(window)] = [text.number[character] for character in window]
            scores = model(nn.tensor(read)).numpy()[0, len(window) - 1].astype(float)
            weights = np.exp(sharpness * (scores - scores.max()))
            found += text.characters[random.choice(len(weights), p=weights / weights.sum())]
    return found


if __name__ == "__main__":
    nn, picture = chosen.arguments("block.png")
    text = Text()
    model, losses = learn(nn, text, steps=300)
    for number in range(0, 300, 50):
        print(f"step {number:3d}: loss {losses[number]:.2f} a character")
    print(f"last: loss {losses[-1]:.2f}\n")
    print(written(nn, model, text, "The statement ", 200))
    print()
    chosen.draw(losses, picture, "loss a character")
