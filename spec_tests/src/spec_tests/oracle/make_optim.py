"""Compute the paths of optimizers and the rates of schedulers with torch.optim in float64.

With spec_tests and torch installed, in the versions that ``data/provenance_optim.json`` names::

    python -m spec_tests.oracle.make_optim
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.optim import lr_scheduler

from spec_tests.oracle import optimized as cases
from spec_tests.oracle.stored import load, record, store

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Write the results, and where they come from."""
    warnings.simplefilter("ignore")  # The schedulers take their steps without the optimizer's.
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    arrays = {**paths(), **exchanged(), **descents(), **schedules(), **plateaus()}
    store("optim", arrays)
    content = b"".join(arrays[key].tobytes() for key in sorted(arrays))
    record("optim", "make_optim.py", content, {"seed": cases.SEED}, {"torch": torch.__version__})


def made(name: str, parameters: Any, options: cases.Options) -> Any:
    """Return torch's optimizer of a name."""
    return getattr(torch.optim, name.partition("_")[0])(parameters, foreach=False, **options)


def taken(optimizer: Any, parameters: dict[str, Any], gradients: Arrays, steps: int) -> Arrays:
    """Return the parameters after each step, one array for each of them."""
    path: dict[str, list[np.ndarray]] = {key: [] for key in parameters}
    for step in range(steps):
        for key, parameter in parameters.items():
            parameter.grad = torch.tensor(gradients[key][step]).double()
        optimizer.step()
        for key, parameter in parameters.items():
            path[key].append(parameter.detach().numpy().copy())
    return {key: np.stack(values) for key, values in path.items()}


def leaves(start: Arrays) -> dict[str, Any]:
    """Return torch's Parameters with these values, in float64."""
    return {key: torch.nn.Parameter(torch.tensor(a).double()) for key, a in start.items()}


def paths() -> Arrays:
    """Take a hundred steps of each row, and keep some."""
    seen = [step - 1 for step in cases.SEEN]
    found: Arrays = {}
    for name, options in cases.ROWS.items():
        parameters = leaves(cases.start())
        optimizer = made(name, parameters.values(), options)
        path = taken(optimizer, parameters, cases.gradients(), cases.STEPS)
        found |= {f"rows/{name}/{key}": values[seen] for key, values in path.items()}
    return found


def exchanged() -> Arrays:
    """Take ten steps under the gradients of ``optimizers.npz``, from its start."""
    found: Arrays = {}
    for name, options in cases.EXCHANGED.items():
        for dtype in ("float32", "float64"):
            given = load("optimizers")["given"][dtype]
            parameters = leaves(given["start"])
            optimizer = made(name, parameters.values(), options)
            path = taken(optimizer, parameters, given["gradients"], 10)
            found |= {f"exchanged/{name}/{dtype}/{key}": values for key, values in path.items()}
    return found


def descents() -> Arrays:
    """Return the iterates of LBFGS, what each step returned, and its counts."""
    found: Arrays = {}
    for name, (function, options, steps) in cases.DESCENTS.items():
        parameters = [torch.nn.Parameter(torch.tensor(array)) for array in cases.STARTS[function]]
        optimizer = torch.optim.LBFGS(parameters, **options)
        closure = closure_of(function, optimizer, parameters)
        iterates: list[list[np.ndarray]] = []
        returned, counts = [], []
        for _ in range(steps):
            returned.append(float(optimizer.step(closure).detach()))
            iterates.append([p.detach().numpy().copy() for p in parameters])
            state = optimizer.state_dict()["state"][0]
            counts.append((state["n_iter"], state["func_evals"]))
            if len(counts) == cases.WRITTEN and name in cases.WRITERS:
                text = json.dumps(plain(optimizer.state_dict()), sort_keys=True)
                found[f"states/{name}"] = np.array(text)
        for place in range(len(parameters)):
            values = np.stack([iterate[place] for iterate in iterates])
            found[f"descents/{name}/iterate{place}"] = values
        found[f"descents/{name}/returned"] = np.array(returned)
        found[f"descents/{name}/counts"] = np.array(counts)
    return found


def plain(value: Any) -> Any:
    """Return what JSON holds: arrays as nested lists."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value.tolist() if isinstance(value, torch.Tensor) else value


def closure_of(function: str, optimizer: Any, parameters: list[Any]) -> Callable[[], Any]:
    """Return the closure that evaluates one function."""

    def closure() -> Any:
        optimizer.zero_grad()
        y = cases.FUNCTIONS[function](torch.sum, torch.tensor, *parameters)
        y.backward()
        return y

    return closure


def grouped(algorithm: str, **more: float) -> Any:
    """Return an optimizer of two groups."""
    groups = [
        {"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate, **more} for rate in cases.RATES
    ]
    return getattr(torch.optim, algorithm)(groups, **cases.SCHEDULED[algorithm])


def chained(optimizer: Any, chain: cases.Chain, **more: int) -> list[Any]:
    """Return the schedulers of a chain."""
    return [getattr(lr_scheduler, name)(optimizer, **own, **more) for name, own in chain]


def walked(optimizer: Any, schedulers: list[Any]) -> np.ndarray:
    """Return lr and momentum of each group, before the first step and after each: (31, 2, 2)."""
    numbers = [numbers_of(optimizer)]
    for _ in range(cases.EPOCHS):
        for scheduler in schedulers:
            scheduler.step()
        numbers.append(numbers_of(optimizer))
    return np.array(numbers)


def numbers_of(optimizer: Any) -> list[tuple[float, float]]:
    """Return lr and momentum (the first beta) of each group."""
    return [
        (group["lr"], group["betas"][0] if "betas" in group else group["momentum"])
        for group in optimizer.param_groups
    ]


def schedules() -> Arrays:
    """Return the rates of every schedule, of sequences, and of those that were resumed."""
    found: Arrays = {}
    for algorithm in cases.SCHEDULED:
        for name, chain in cases.SCHEDULES.items():
            if algorithm == "SGD" or name.startswith("OneCycleLR"):
                optimizer = grouped(algorithm)
                found[f"schedules/{algorithm}/{name}"] = walked(
                    optimizer, chained(optimizer, chain)
                )
    for name, (chain, milestones) in cases.SEQUENCES.items():
        optimizer = grouped("SGD")
        schedulers = chained(optimizer, chain)
        sequence = lr_scheduler.SequentialLR(optimizer, schedulers, milestones)
        found[f"schedules/SGD/{name}"] = walked(optimizer, [sequence])
    for name in cases.RESUMPTIONS:
        optimizer = grouped("SGD", initial_lr=1.0)
        schedulers = chained(optimizer, cases.SCHEDULES[name], last_epoch=cases.RESUMED)
        found[f"resumptions/{name}"] = walked(optimizer, schedulers)
    return found


def plateaus() -> Arrays:
    """Return the rates that ReduceLROnPlateau sets."""
    found: Arrays = {}
    for name, options in cases.PLATEAUS.items():
        optimizer = grouped("SGD")
        scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
        rates = []
        for number in cases.metrics(options.get("mode", "min")):
            scheduler.step(number)
            rates.append([group["lr"] for group in optimizer.param_groups])
        found[f"plateaus/{name}"] = np.array(rates)
    return found


if __name__ == "__main__":
    main()
