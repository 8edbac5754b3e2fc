"""The reference: ``torch.nn`` in float64, and how far float32 rounding alone strays from it.

``python -m spec_tests.compare.reference JOB.json`` runs where PyTorch is installed and uses nothing
of any implementation. From the float32 parameters that the implementations started with it trains

- the **reference** in float64, and
- **shadows**: float32 trainings that differ from the reference by rounding alone. Each reads every
  batch in another order and, after every step, has each parameter multiplied by
  ``1 + 2**-23 * u``, u uniform in [-1, 1], so that every rounding error of the following steps is
  drawn anew.

The shadows are float32 and not float64 with moved parameters, since moved parameters alone
understate what rounding does: Adam divides each gradient by its own size, so the rounding error of
an element whose terms cancel moves that parameter as far as any other. Measured on the digits,
right float32 trainings stray up to thirty times farther than float64 ones with moved parameters.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.compare.messages import Reporter, say
from spec_tests.compare.network import make_network
from spec_tests.compare.workloads import PADDING, SEED, Batches, Workload, save_arrays

__all__ = ["SHADOWS", "main"]

SHADOWS = 6


def main(path: Path) -> int:
    """Do a job.

    Parameters
    ----------
    path : Path
        A JSON file with the keys ``data``, ``out`` (folders), ``workloads``, and ``initial``: for
        each workload a file whose arrays ``initial/NAME`` are the parameters to start from.

    Returns
    -------
    int
        The exit status, 0. Each workload leaves ``WORKLOAD.npz`` with ``losses`` (steps,),
        ``shadows`` (`SHADOWS`, steps) and ``final/NAME``; ``results.json`` has the rest.
    """
    import torch

    torch.set_num_threads(1)
    job = json.loads(path.read_text(encoding="utf-8"))
    out = Path(job["out"])
    results: dict[str, Any] = {
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "workloads": {},
    }
    for fields in job["workloads"]:
        workload = Workload(**fields)
        batches = Batches(Path(job["data"]) / f"{workload.dataset}.npz", workload.dataset)
        with np.load(job["initial"][workload.name]) as stored:
            initial = {
                name.removeprefix("initial/"): value
                for name, value in stored.items()
                if name.startswith("initial/")
            }
        model, losses = _train(torch, workload, batches, initial)
        shadows = [
            _train(torch, workload, batches, initial, shadow=number)[1]
            for number in range(1, SHADOWS + 1)
        ]
        arrays = {f"final/{name}": value.numpy() for name, value in model.state_dict().items()}
        arrays |= {"losses": losses, "shadows": np.stack(shadows)}
        save_arrays(out / f"{workload.name}.npz", arrays)
        results["workloads"][workload.name] = _held_out(torch, model, batches)
        (out / "results.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    say("done")
    return 0


def _train(
    torch: Any,
    workload: Workload,
    batches: Batches,
    initial: dict[str, np.ndarray],
    shadow: int = 0,
) -> tuple[Any, np.ndarray]:
    """Train the reference, or shadow number ``shadow``; return the network and its losses."""
    dtype = torch.float32 if shadow else torch.float64
    model = make_network(torch.nn, workload, dtype)
    model.load_state_dict({name: torch.tensor(value) for name, value in initial.items()})
    optimizer = torch.optim.Adam(model.parameters(), lr=workload.lr)
    noise = np.random.Generator(np.random.Philox(key=SEED + shadow))
    stage = f"shadow {shadow}" if shadow else "float64"
    reporter = Reporter(workload.name, stage, workload.steps, workload.weight)
    losses = np.empty(workload.steps)
    for step in range(workload.steps):
        if step == workload.lr_drop:
            for group in optimizer.param_groups:
                group["lr"] = workload.lr / 10
        inputs, targets = batches.training(step)
        if shadow:
            inputs, targets = _shuffled(inputs, targets, noise)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(
            model(_tensor(torch, inputs, dtype)), torch.tensor(targets)
        )
        loss.backward()
        optimizer.step()
        losses[step] = loss.item()
        if shadow:
            _move_by_rounding(torch, model, noise)
        reporter.step(step + 1)
    return model, losses


def _shuffled(
    inputs: np.ndarray, targets: np.ndarray, noise: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return the batch with its N sequences in another order."""
    order = noise.permutation(inputs.shape[1])
    by_sequence = targets.reshape(-1, inputs.shape[1])
    return np.ascontiguousarray(inputs[:, order]), by_sequence[:, order].reshape(-1)


def _move_by_rounding(torch: Any, model: Any, noise: np.random.Generator) -> None:
    """Multiply each parameter by 1 + eps u, u uniform in [-1, 1], and round."""
    eps = float(np.finfo(np.float32).eps)
    with torch.no_grad():
        for parameter in model.parameters():
            moved = parameter.double().numpy()
            moved *= 1 + eps * noise.uniform(-1, 1, moved.shape)
            parameter.copy_(torch.from_numpy(moved))


def _tensor(torch: Any, inputs: np.ndarray, dtype: Any) -> Any:
    """Return the inputs as a tensor, floating ones in ``dtype``."""
    tensor = torch.tensor(inputs)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor


def _held_out(torch: Any, model: Any, batches: Batches) -> dict[str, float]:
    """Return the network's accuracy and loss on held-out data."""
    inputs, targets = batches.held_out()
    goal = torch.tensor(targets)
    with torch.no_grad():
        logits = model(_tensor(torch, inputs, torch.float64))
        loss = torch.nn.functional.cross_entropy(logits, goal)
    accuracy = (logits.argmax(-1) == goal)[goal != PADDING].double().mean()
    return {"final_accuracy": accuracy.item(), "held_out_loss": loss.item()}


if __name__ == "__main__":
    raise SystemExit(main(Path(sys.argv[1])))
