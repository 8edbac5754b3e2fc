"""Make the data files, once, with what is installed: no file is fetched from anywhere."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.compare.workloads import PADDING, SEED, WORKLOADS, Workload

__all__ = ["make_data"]

BATCH = 32
DIGITS_TRAIN = 1437
PYDOC_LENGTH = 48
PYDOC_HELD_OUT = 128
SHORTEST_LINE, LONGEST_LINE = 8, 72
LINES_HELD_OUT = 256


def make_data(folder: Path) -> tuple[tuple[Workload, ...], dict[str, dict[str, Any]]]:
    """Write ``digits.npz``, ``pydoc.npz`` and ``truecase.npz`` into ``folder``.

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
    letters, truecase = _truecase(folder / "truecase.npz")
    sized = {
        "pydoc": lambda workload: replace(workload, classes=vocabulary),
        "truecase": lambda workload: replace(workload, vocabulary=letters),
        "digits": lambda workload: workload,
    }
    workloads = tuple(sized[workload.dataset](workload) for workload in WORKLOADS)
    digits = _digits(folder / "digits.npz")
    return workloads, {"digits": digits, "pydoc": pydoc, "truecase": truecase}


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
    text = _text()
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


def _text() -> str:
    """Return the documentation that CPython ships, all topics in sorted order."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))


def _truecase(path: Path) -> tuple[int, dict[str, Any]]:
    """Write lines of the documentation in small letters, and which letters were capital ones."""
    found = sorted({line.strip() for line in _text().splitlines()})
    # A few letters of Unicode become two when they are made small.
    lines = [
        line
        for line in found
        if SHORTEST_LINE <= len(line) == len(line.lower()) <= LONGEST_LINE and line != line.lower()
    ]
    characters = sorted(set("".join(lines).lower()))
    # 0 is past the end of a line.
    number = {character: place for place, character in enumerate(characters, start=1)}
    tokens = np.zeros((len(lines), LONGEST_LINE), np.int64)
    capitals = np.full_like(tokens, PADDING)
    for row, line in enumerate(lines):
        tokens[row, : len(line)] = [number[character] for character in line.lower()]
        capitals[row, : len(line)] = [character.isupper() for character in line]
    generator = np.random.Generator(np.random.Philox(key=SEED))
    order = generator.permutation(len(lines))
    held_out, train = order[:LINES_HELD_OUT], order[LINES_HELD_OUT:]
    workload = next(workload for workload in WORKLOADS if workload.dataset == "truecase")
    batches = generator.choice(train, (workload.steps, BATCH))
    np.savez(path, tokens=tokens, capitals=capitals, batches=batches, held_out=held_out)
    sizes = {"lines": len(lines), "train": len(train), "held_out": len(held_out)}
    small = float(np.mean(capitals[held_out][tokens[held_out] > 0] == 0))
    return len(characters) + 1, {
        "file": path.name,
        "source": "lines of pydoc_data.topics of CPython that have a capital letter and from "
        f"{SHORTEST_LINE} to {LONGEST_LINE} characters",
        "versions": {"python": platform.python_version(), "numpy": np.__version__},
        "sizes": {**sizes, "vocabulary": len(characters), "held_out_small": f"{small:.1%}"},
        "permutation_seed": SEED,
        "batch": BATCH,
        "sha256": _digest(tokens, capitals, batches, held_out),
    }


def _digest(*arrays: np.ndarray) -> str:
    """Return the SHA-256 of the arrays' bytes, in the order given."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()
