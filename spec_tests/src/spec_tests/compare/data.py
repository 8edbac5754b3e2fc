"""Make the data files, once, with what is installed: no file is fetched from anywhere."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.compare.workloads import SEED, WORKLOADS, Workload

__all__ = ["make_data"]

BATCH = 32
DIGITS_TRAIN = 1437
PYDOC_LENGTH = 48
PYDOC_HELD_OUT = 128


def make_data(folder: Path) -> tuple[tuple[Workload, ...], dict[str, dict[str, Any]]]:
    """Write ``digits.npz`` and ``pydoc.npz`` into ``folder``.

    Parameters
    ----------
    folder : Path
        Is made if it is not there.

    Returns
    -------
    workloads : tuple of Workload
        `WORKLOADS`, with the sizes that depend on the data filled in.
    provenance : dict
        By data set: its file, where it comes from, its sizes, and a digest of its contents.
    """
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary, pydoc = _pydoc(folder / "pydoc.npz")
    workloads = tuple(
        replace(workload, classes=vocabulary) if workload.dataset == "pydoc" else workload
        for workload in WORKLOADS
    )
    return workloads, {"digits": _digits(folder / "digits.npz"), "pydoc": pydoc}


def _digits(path: Path) -> dict[str, Any]:
    """Write scikit-learn's digits, split and batched by a fixed permutation."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    # Multiples of 1/16 are exact in float32 too: both precisions see the same images.
    images = digits.images.astype(np.float64) / 16
    labels = digits.target.astype(np.int64)
    generator = np.random.Generator(np.random.Philox(key=SEED))
    order = generator.permutation(len(labels))
    train, held_out = order[:DIGITS_TRAIN], order[DIGITS_TRAIN:]
    workload = next(workload for workload in WORKLOADS if workload.dataset == "digits")
    epochs = workload.steps // workload.epoch
    batches = [
        generator.permutation(train)[: workload.epoch * BATCH].reshape(-1, BATCH)
        for _ in range(epochs)
    ]
    np.savez(
        path,
        images=images,
        labels=labels,
        train=train,
        held_out=held_out,
        batches=np.concatenate(batches),
    )
    return {
        "file": path.name,
        "source": "sklearn.datasets.load_digits (UCI optical recognition of handwritten digits)",
        "versions": {"scikit-learn": sklearn.__version__, "numpy": np.__version__},
        "sizes": {"images": len(labels), "train": len(train), "held_out": len(held_out)},
        "permutation_seed": SEED,
        "batch": BATCH,
        "sha256": _digest(images, labels, held_out, *batches),
    }


def _pydoc(path: Path) -> tuple[int, dict[str, Any]]:
    """Write the documentation that CPython ships, as characters, and where batches start."""
    from pydoc_data.topics import topics

    text = "\n".join(topics[name] for name in sorted(topics))
    vocabulary = sorted(set(text))
    number = {character: index for index, character in enumerate(vocabulary)}
    tokens = np.array([number[character] for character in text], dtype=np.int64)
    train = len(tokens) * 9 // 10
    workload = next(workload for workload in WORKLOADS if workload.dataset == "pydoc")
    generator = np.random.Generator(np.random.Philox(key=SEED))
    batches = generator.integers(0, train - PYDOC_LENGTH, size=(workload.steps, BATCH))
    held_out = np.linspace(train, len(tokens) - PYDOC_LENGTH - 1, PYDOC_HELD_OUT).astype(np.int64)
    np.savez(
        path,
        tokens=tokens,
        vocabulary=np.array(vocabulary),
        batches=batches,
        held_out=held_out,
        length=np.int64(PYDOC_LENGTH),
    )
    return len(vocabulary), {
        "file": path.name,
        "source": "pydoc_data.topics of CPython, all topics joined in sorted order",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "sizes": {
            "characters": len(tokens),
            "vocabulary": len(vocabulary),
            "train": train,
            "held_out": PYDOC_HELD_OUT * PYDOC_LENGTH,
        },
        "permutation_seed": SEED,
        "batch": BATCH,
        "sequence": PYDOC_LENGTH,
        "sha256": _digest(tokens, batches, held_out),
    }


def _digest(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of the arrays' bytes, in the order given."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
