"""Write checkpoints by the text of ``serialization-15``, and where training leads from there.

Run with torch, safetensors and the NumPy version that ``data/provenance_checkpoint.json`` names::

    python make_checkpoint.py
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import torch
from draws import Draws
from safetensors.numpy import save_file
from stored import folder, store

BATCH, STEPS, SEED = (5, 3), 4, 11
RATE = 0.25


def coded(value: Any, way: str, arrays: dict[str, np.ndarray]) -> Any:
    """Return a value as the text writes it in JSON; arrays go into `arrays`."""
    if isinstance(value, torch.Tensor):
        arrays[way] = value.detach().numpy()
        return {"array": way}
    if isinstance(value, float) and not np.isfinite(value):
        return {"float": repr(value)}
    if isinstance(value, Mapping):
        return {"dict": [[k, coded(v, f"{way}.{k}", arrays)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        items = [coded(item, f"{way}.{place}", arrays) for place, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    return value


def network(random: np.random.Generator) -> torch.nn.Sequential:
    """Return a network whose parameters are multiples of 1/64."""
    net = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)
    ).double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.tensor(random.integers(-32, 33, tuple(parameter.shape)) / 64))
    return net


def train(
    net: torch.nn.Sequential, adam: torch.optim.Adam, draws: Draws, dtype: str, begin: int
) -> None:
    """Take STEPS steps, each with a batch from the stream and a rate of its own."""
    for step in range(begin, begin + STEPS):
        x = torch.tensor(draws.uniform(BATCH, 0.0, 1.0, dtype).astype(np.float64))
        adam.zero_grad()
        ((net(x) - x[:, :1] * x[:, 1:2]) ** 2).mean().backward()
        adam.param_groups[0]["lr"] = RATE / (1 + step)
        adam.step()


def rounded(net: torch.nn.Sequential, adam: torch.optim.Adam, dtype: str) -> None:
    """Round all that the file will hold, so that what follows begins with the same numbers."""
    entries = [state[key] for state in adam.state.values() for key in ("exp_avg", "exp_avg_sq")]
    with torch.no_grad():
        for tensor in (*net.parameters(), *entries):
            tensor.copy_(tensor.to(getattr(torch, dtype)))


def write(net: torch.nn.Sequential, adam: torch.optim.Adam, draws: Draws, dtype: str) -> None:
    """Write the checkpoint."""
    cast = getattr(torch, dtype)
    arrays = {f"module.{name}": p.to(cast).numpy() for name, p in net.state_dict().items()}
    state: dict[str, Any] = {
        place: {k: v if k == "step" else v.to(cast) for k, v in entries.items()}
        for place, entries in adam.state_dict()["state"].items()
    }
    names = ("lr", "betas", "eps", "weight_decay", "params")
    groups = [{k: g[k] for k in names} for g in adam.state_dict()["param_groups"]]
    scheduler = {"steps": STEPS, "best": float("inf"), "marks": {2: "low"}, "span": (0.5, None)}
    texts = {
        "format": "nn-checkpoint",
        "version": "1",
        "parts": json.dumps(["module", "optimizer", "scheduler", "generator"]),
        "optimizer": json.dumps(
            coded({"state": state, "param_groups": groups}, "optimizer", arrays)
        ),
        "scheduler": json.dumps(coded(scheduler, "scheduler", arrays)),
        "position": json.dumps(coded({"epoch": 1, "batch": STEPS}, "position", arrays)),
        "metadata": json.dumps({"written by": "torch"}),
    }
    arrays["generator"] = draws.state()
    save_file(arrays, folder / f"checkpoint_{dtype}.safetensors", metadata=texts)


def main() -> None:
    """Write a checkpoint for each dtype, and the parameters after further steps in float64."""
    known: dict[str, np.ndarray] = {}
    for dtype in ("float32", "float64"):
        net, draws = network(np.random.default_rng(0)), Draws(SEED)
        adam = torch.optim.Adam(net.parameters(), lr=RATE, betas=(0.75, 0.875), eps=1e-3)
        train(net, adam, draws, dtype, 0)
        rounded(net, adam, dtype)
        write(net, adam, draws, dtype)
        train(net, adam, draws, dtype, STEPS)
        for name, p in net.state_dict().items():
            known[f"{dtype}/{name}"] = p.numpy()
    store("checkpoint", known)
    digest = hashlib.sha256()
    for key, array in sorted(known.items()):
        digest.update(key.encode() + array.tobytes())
    versions = {
        "made by": "make_checkpoint.py",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "safetensors": safetensors.__version__,
        "machine": platform.machine(),
        "sha256 of the numbers": digest.hexdigest(),
    }
    text = json.dumps(versions, indent=2) + "\n"
    (folder / "provenance_checkpoint.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
