"""Write the states of optimizers after four steps, as JSON, by torch.optim or an implementation.

What one wrote the others must read, so each writes what its own ``state_dict`` returns::

    python make_states.py torch.optim
    python make_states.py impl_numpy

The steps are those of ``make_oracle.py``, under the gradients that ``data/optimizers.npz`` holds.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import Any

from stored import folder, load

STEPS = 4
OPTIONS: dict[str, dict[str, Any]] = {
    "SGD_plain": {"lr": 0.1},
    "SGD_momentum": {"lr": 0.1, "momentum": 0.9},
    "SGD_dampening": {"lr": 0.1, "momentum": 0.75, "dampening": 0.5},
    "SGD_nesterov": {"lr": 0.1, "momentum": 0.9, "nesterov": True},
    "SGD_decay": {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.25},
    "Adam_plain": {"lr": 0.01},
    "Adam_options": {"lr": 0.05, "betas": (0.75, 0.9), "eps": 1e-3, "weight_decay": 0.25},
    "SGD_maximize": {"lr": 0.1, "momentum": 0.5, "maximize": True},
    "Adam_amsgrad": {"lr": 0.05, "betas": (0.75, 0.9), "eps": 1e-3, "amsgrad": True},
    "Adam_decoupled": {"lr": 0.05, "weight_decay": 0.25, "decoupled_weight_decay": True},
    "AdamW_plain": {"lr": 0.05, "weight_decay": 0.25},
    "RMSprop_plain": {"lr": 0.05, "alpha": 0.75, "eps": 1e-3},
    "RMSprop_centered": {"lr": 0.05, "momentum": 0.5, "eps": 0.125, "centered": True},
    "Adagrad_plain": {"lr": 0.05, "lr_decay": 0.25, "initial_accumulator_value": 0.5},
}


def plain(value: Any) -> Any:
    """Return what JSON holds: arrays as nested lists."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if hasattr(value, "tolist") else value


def state(writer: str, name: str, dtype: str) -> Any:
    """Return the state after the first steps of one path."""
    library = importlib.import_module("torch" if writer == "torch.optim" else writer)
    parameter = library.nn.Parameter if writer == "torch.optim" else library.Parameter
    given = load("optimizers")["given"][dtype]
    parameters = [parameter(library.tensor(array)) for array in given["start"].values()]
    algorithm = getattr(library.optim, name.partition("_")[0])
    optimizer = algorithm(parameters, **OPTIONS[name])
    for step in range(STEPS):
        optimizer.zero_grad()
        for own, gradients in zip(parameters, given["gradients"].values(), strict=True):
            (own * library.tensor(gradients[step])).sum().backward()
        optimizer.step()
    return plain(optimizer.state_dict())


def main(writer: str) -> None:
    """Enter what one writer writes into the file that all share."""
    path = folder / "states.json"
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    known[writer] = {
        name: {dtype: state(writer, name, dtype) for dtype in ("float32", "float64")}
        for name in OPTIONS
    }
    path.write_text(json.dumps(known, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
