"""Write the arguments of what torch calls by the same names: ``data/signatures.json``.

With spec_tests and torch installed::

    python -m spec_tests.oracle.make_signatures

The judge's tests hold the tables of the chapters against it: what torch takes the rows take too, or
a reason stands beside it.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import torch

from spec_tests.judge.tables import Row, read
from spec_tests.oracle.stored import folder

PLACES = {"nn": torch.nn, "optim": torch.optim, "loss": torch.nn}


def main() -> None:
    """Write the file."""
    found: dict[str, Any] = {"torch": torch.__version__}
    for row in read().values():
        if row.chapter in PLACES:
            found[f"{row.chapter}.{row.module or row.name}"] = arguments(row)
    path = folder / "signatures.json"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def arguments(row: Row) -> dict[str, list[str]]:
    """Return the arguments of torch's constructor and, of a Module, of its call."""
    theirs = counterpart(row)
    kept = {"constructor": list(inspect.signature(theirs).parameters)}
    if row.chapter == "nn":
        _, *called = inspect.signature(theirs.forward).parameters
        kept["call"] = called
    return kept


def counterpart(row: Row) -> Any:
    """Return what torch calls by the name of a row."""
    name = row.module or row.name
    for place in (PLACES[row.chapter], torch.optim.lr_scheduler, torch.nn.utils):
        if hasattr(place, name):
            return getattr(place, name)
    msg = f"torch has no {name}"
    raise LookupError(msg)


if __name__ == "__main__":
    main()
