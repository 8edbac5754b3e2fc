"""Train a convolutional network on handwritten digits, as training is done in earnest.

Batches in the order of a seed, a step size that rises and falls (OneCycleLR), gradients clipped by
their norm, a look at held-out images after every epoch, an early end when they get no better, and a
checkpoint after every epoch, from which a run that was stopped goes on: to the same numbers, also
under another implementation.

N images, 8 x 8 numbers from 0 to 1 each, of 10 classes.

    python digits.py --impl impl_numpy
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chosen
import numpy as np

BATCH, HELD_OUT, EPOCHS, PATIENCE, MAX_LR = 50, 100, 8, 3, 0.2


def data() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the images and labels to learn from, and those held out."""
    with np.load(Path(__file__).with_name("digits.npz")) as stored:
        images = stored["images"][:, None].astype(np.float32) / 16
        labels = stored["labels"].astype(np.int64)
    known = {"images": images[HELD_OUT:], "labels": labels[HELD_OUT:]}
    return known, {"images": images[:HELD_OUT], "labels": labels[:HELD_OUT]}


def network(nn: Any) -> Any:
    """Return a Module that maps images (N, 1, 8, 8) to logits (N, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(64, 10),
    )


class Training:
    """A network, its optimizer and scheduler, and what came of them so far."""

    def __init__(self, nn: Any, epochs: int = EPOCHS, seed: int = 0) -> None:
        nn.manual_seed(seed)
        self.nn, self.epochs, self.seed = nn, epochs, seed
        self.known, self.held_out = data()
        self.steps = len(self.known["labels"]) // BATCH
        self.model = network(nn)
        self.optimizer = nn.optim.SGD(self.model.parameters(), lr=0.02, momentum=0.9, nesterov=True)
        self.scheduler = nn.optim.lr_scheduler.OneCycleLR(
            self.optimizer, max_lr=MAX_LR, total_steps=epochs * self.steps
        )
        self.epoch, self.best, self.waited = 0, 0.0, 0
        self.losses: list[float] = []

    @property
    def done(self) -> bool:
        """Whether all epochs are over, or the held-out images get no better."""
        return self.epoch == self.epochs or self.waited == PATIENCE

    def run_epoch(self) -> float:
        """Take the steps of one epoch; return the accuracy on the held-out images then."""
        for batch in self.batches():
            self.step(batch)
        accuracy = self.accuracy()
        self.epoch += 1
        self.waited = 0 if accuracy > self.best else self.waited + 1
        self.best = max(accuracy, self.best)
        return accuracy

    def batches(self) -> Iterator[Any]:
        """Return the batches of this epoch: the same ones in every implementation."""
        own = self.seed + self.epoch
        return self.nn.data.batches(self.known, BATCH, shuffle=True, seed=own, drop_last=True)

    def step(self, batch: dict[str, Any]) -> None:
        """Go one step along the gradient."""
        nn = self.nn
        self.optimizer.zero_grad()
        logits = self.model(nn.tensor(batch["images"]))
        loss = nn.loss.cross_entropy(logits, nn.tensor(batch["labels"]), label_smoothing=0.05)
        loss.backward()
        nn.optim.clip_grad_norm_(self.model.parameters(), 2.0)
        self.optimizer.step()
        self.scheduler.step()
        self.losses.append(loss.item())

    def accuracy(self) -> float:
        """Return the part of the held-out images whose class is found."""
        self.model.eval()
        with self.nn.no_grad():
            logits = self.model(self.nn.tensor(self.held_out["images"])).numpy()
        self.model.train()
        return float((logits.argmax(axis=1) == self.held_out["labels"]).mean())

    def save(self, path: str | Path) -> None:
        """Write everything that the next epoch depends on."""
        position = {"epoch": self.epoch, "best": self.best, "waited": self.waited}
        self.nn.save_checkpoint(
            path,
            module=self.model,
            optimizer=self.optimizer,
            scheduler=self.scheduler,
            position=position | {"losses": self.losses},
        )

    def load(self, path: str | Path) -> None:
        """Go on where another run, also one of another implementation, was when it saved."""
        position, _ = self.nn.load_checkpoint(
            path, module=self.model, optimizer=self.optimizer, scheduler=self.scheduler
        )
        self.epoch, self.best = position["epoch"], position["best"]
        self.waited, self.losses = position["waited"], position["losses"]


if __name__ == "__main__":
    nn, picture = chosen.arguments("digits.png")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "digits.safetensors"
        training = Training(nn)
        while not training.done:
            if training.epoch == EPOCHS // 2:
                # As if the machine had been switched off: all is made anew, and read back.
                training = Training(nn, seed=0)
                training.load(path)
            accuracy = training.run_epoch()
            training.save(path)
            mean = np.mean(training.losses[-training.steps :])
            print(f"epoch {training.epoch}: loss {mean:.3f}, accuracy {accuracy:.0%}")
    chosen.draw(training.losses, picture)
