"""What is trained: five networks on three data sets, each described by plain numbers.

T steps, N batch, I input, H hidden, V characters of the vocabulary.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "PADDING",
    "PROMISED_ACCURACY",
    "SEED",
    "WORKLOADS",
    "Batches",
    "Workload",
    "cut_down",
    "save_arrays",
]

SEED = 2026
PROMISED_ACCURACY = 0.93
# The target of a step that is none: `cross_entropy` and torch's leave it out.
PADDING = -100


@dataclass(frozen=True)
class Workload:
    """One network, its data and how it is trained.

    Attributes
    ----------
    name : str
        Key in the results.
    dataset : str
        ``"digits"`` (one label a sequence), ``"pydoc"`` or ``"truecase"`` (one label a step; here
        sequences differ in length).
    cell : str
        ``"RNN"``, ``"LSTM"`` or ``"GRU"``: the recurrent Module, which reads (T, N, I).
    input_size, hidden_size, classes : int
        I, H, and the number of classes that the Linear on top tells apart. For ``"pydoc"`` I is
        the width of the Embedding, and ``classes`` is V; for ``"truecase"`` too, and V is
        ``vocabulary``.
    lr : float
        Adam's learning rate; its other options are the defaults of chapter *optim*.
    lr_drop : int
        From this step on ``lr`` is a tenth.
    steps, epoch : int
        Steps of training, and steps in one epoch.
    float64_steps : int
        Steps of the second training, in float64.
    agreement_steps : int
        The first steps, over which losses of different implementations are compared.
    promised_accuracy : float or None
        The accuracy on held-out data that every implementation must reach.
    vocabulary : int
        V, where it is not ``classes``.
    num_layers : int
    bidirectional : bool
        Of the recurrent Module.
    """

    name: str
    dataset: str
    cell: str
    input_size: int
    hidden_size: int
    classes: int
    lr: float
    lr_drop: int
    steps: int
    epoch: int
    float64_steps: int
    agreement_steps: int
    promised_accuracy: float | None
    vocabulary: int = 0
    num_layers: int = 1
    bidirectional: bool = False

    @property
    def weight(self) -> int:
        """Work in one step of training, roughly, in steps of a sequence."""
        return {"digits": 8, "pydoc": 48, "truecase": 72}[self.dataset]

    @property
    def options(self) -> dict[str, Any]:
        """The recurrent Module's options that are not as they are when left out."""
        layers = {"num_layers": self.num_layers} if self.num_layers > 1 else {}
        return layers | ({"bidirectional": True} if self.bidirectional else {})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as a job file holds them."""
        return asdict(self)


def _digits(cell: str, lr: float) -> Workload:
    """Return a classifier of handwritten digits: 10 epochs of 44 batches."""
    return Workload(
        name=f"digits_{cell.lower()}",
        dataset="digits",
        cell=cell,
        input_size=8,
        hidden_size=64,
        classes=10,
        lr=lr,
        lr_drop=7 * 44,
        steps=10 * 44,
        epoch=44,
        float64_steps=10 * 44,
        agreement_steps=44,
        promised_accuracy=PROMISED_ACCURACY,
    )


WORKLOADS = (
    _digits("RNN", lr=5e-3),
    _digits("LSTM", lr=1e-2),
    _digits("GRU", lr=1e-2),
    Workload(
        name="pydoc_gru",
        dataset="pydoc",
        cell="GRU",
        input_size=32,
        hidden_size=128,
        classes=0,  # the data says: V
        lr=6e-3,
        lr_drop=240,
        steps=300,
        epoch=100,
        float64_steps=300,
        agreement_steps=100,
        promised_accuracy=None,
    ),
    Workload(
        name="truecase_lstm",
        dataset="truecase",
        cell="LSTM",
        input_size=16,
        hidden_size=32,
        classes=2,
        lr=1e-2,
        lr_drop=120,
        steps=150,
        epoch=50,
        float64_steps=150,
        agreement_steps=50,
        promised_accuracy=0.975,
        vocabulary=0,  # the data says
        num_layers=2,
        bidirectional=True,
    ),
)


def cut_down(workload: Workload, steps: int) -> Workload:
    """Return the workload with at most ``steps`` steps, too few to promise an accuracy."""
    return replace(
        workload,
        steps=min(steps, workload.steps),
        float64_steps=min(steps, workload.float64_steps),
        agreement_steps=min(steps, workload.agreement_steps),
        promised_accuracy=None,
    )


class Batches:
    """The batches of one data file, the same in every implementation and in the reference.

    Parameters
    ----------
    path : Path
        A file that `spec_tests.compare.data` made.
    dataset : str
        A workload's.
    """

    def __init__(self, path: Path, dataset: str) -> None:
        with np.load(path) as stored:
            self.arrays = dict(stored)
        self.dataset = dataset

    def training(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets of one step of training.

        Returns
        -------
        inputs : ndarray
            digits: float64, shape (T, N, I) = (8, 32, 8); pydoc and truecase: int64, shape (T, N),
            truecase 0 past a sequence's end.
        targets : ndarray
            int64, shape (N,) or, one target a character, (T * N,), `PADDING` past the end.
        """
        return self._select(self.arrays["batches"][step])

    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """Return inputs and targets that training never sees, shaped as in `training`."""
        return self._select(self.arrays["held_out"])

    def _select(self, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self.dataset == "digits":
            images = self.arrays["images"][index]
            return np.ascontiguousarray(images.transpose(1, 0, 2)), self.arrays["labels"][index]
        if self.dataset == "truecase":
            tokens, capitals = (self.arrays[key][index].T for key in ("tokens", "capitals"))
            return np.ascontiguousarray(tokens), capitals.reshape(-1)
        length = int(self.arrays["length"])
        window = self.arrays["tokens"][index[None, :] + np.arange(length + 1)[:, None]]
        return window[:-1].copy(), window[1:].reshape(-1)


def save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write arrays under their names, whole or not at all."""
    unfinished = path.with_suffix(".part.npz")
    # NumPy's annotation takes any keyword for its own `allow_pickle`.
    untyped: dict[str, Any] = dict(arrays)
    np.savez(unfinished, **untyped)
    unfinished.replace(path)
