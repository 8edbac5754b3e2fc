"""Compute the results of the calls of the chapter nn with torch.nn in float64.

With spec_tests and torch installed, in the versions that ``data/provenance_modules.json`` names::

    python -m spec_tests.oracle.make_modules

The table of ``nn.md`` is the list of cases. It also prints, for every class of `numerics`, how far
torch's own float32 is from the results, in units of its epsilon.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from spec_tests.judge.tables import read
from spec_tests.oracle.make_recurrent import gradients
from spec_tests.oracle.modules import NAME, SEED, ModuleCase, cases
from spec_tests.oracle.stored import record, store

# Random ones, whose masks are a matter of the specification's generator.
LEFT_OUT = ("Dropout",)


def main() -> None:
    """Write the results of all cases, and where they come from."""
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(1)
    # Of torch's ways to compute attention only this one has a second derivative.
    with sdpa_kernel(SDPBackend.MATH):
        compute_all()


def compute_all() -> None:
    """Compute, write and print."""
    index: dict[str, Any] = {}
    numbers: list[np.ndarray] = []
    errors: dict[str, float] = defaultdict(float)
    for row in read().values():
        if row.chapter != "nn" or row.name in LEFT_OUT:
            continue
        for case in cases(row):
            facts, found = results(case, torch.float64)
            _, rough = results(case, torch.float32)
            for name, array in found.items():
                kind = f"{row.tolerance}: {name.split()[0]}"
                errors[kind] = max(errors[kind], error(rough[name], array))
            index[case.key] = facts | {
                "arrays": [[name, list(array.shape)] for name, array in found.items()]
            }
            numbers += [array.reshape(-1).astype(np.float64) for array in found.values()]
    flat = np.concatenate(numbers)
    text = np.frombuffer(json.dumps(index).encode(), np.uint8)
    store(NAME, {"numbers": flat, "index": text})
    facts, versions = {"cases": len(index), "seed": SEED}, {"torch": torch.__version__}
    record(NAME, "make_modules.py", flat.tobytes(), facts, versions)
    for kind, worst in sorted(errors.items()):
        print(f"{kind:40} {worst:8.2f} eps")


def error(rough: np.ndarray, array: np.ndarray) -> float:
    """Return the error of a float32 result in the unit of `numerics`."""
    if not array.size:
        return 0.0
    size = np.abs(array) + np.abs(array).max()
    off = np.abs(rough - array)
    return float(np.max(off[off > 0] / size[off > 0], initial=0.0) / 2.0**-23)


def results(case: ModuleCase, dtype: torch.dtype) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return what a Module says of itself, and the arrays of one call."""
    module = made(case, dtype)
    state = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    drawn = case.parameters(state)
    module.load_state_dict({name: torch.tensor(array) for name, array in drawn.items()})
    buffers = {name: list(buffer.shape) for name, buffer in module.named_buffers()}
    facts = {
        "repr": repr(module),
        "attributes": attributes(case, module),
        "parameters": {name: list(p.shape) for name, p in module.named_parameters()},
        "buffers": buffers,
    }
    positional, options, leaves = arguments(case, dtype)
    found: dict[str, Any] = {}
    values = as_list(module(*positional, **options))
    for place, value in enumerate(values):
        found[f"output {place}"] = value
    leaves |= dict(module.named_parameters())
    found |= derivatives(case, values, leaves)
    changed = [*buffers, *(["weight"] if case.constructor.options.get("max_norm") else [])]
    found |= {f"after {name}": module.state_dict()[name].clone() for name in changed}
    if buffers:
        module.load_state_dict({name: torch.tensor(array) for name, array in drawn.items()})
        found["evaluated 0"] = module.eval()(*positional, **options)
    arrays = {name: tensor.detach().numpy() for name, tensor in found.items() if tensor is not None}
    return facts, {name: array.astype(np.float64) for name, array in arrays.items()}


def made(case: ModuleCase, dtype: torch.dtype) -> Any:
    """Return torch's Module for a case."""
    options = dict(case.constructor.options)
    if "dtype" in case.row.signature.parameters:
        options["dtype"] = dtype
    return getattr(torch.nn, case.row.name)(*case.constructor.arguments, **options)


def attributes(case: ModuleCase, module: Any) -> dict[str, Any]:
    """Return the attributes that keep the constructor's arguments, where they are plain."""
    kept = {}
    for name in case.row.signature.parameters:
        value = getattr(module, name, module)
        if isinstance(value, bool | int | float | str | tuple | None):
            kept[name] = list(value) if isinstance(value, tuple) else value
    return kept


def arguments(
    case: ModuleCase, dtype: torch.dtype
) -> tuple[tuple[Any, ...], dict[str, Any], dict[str, torch.Tensor]]:
    """Return the call's arguments, and the floating Tensors among them by name."""
    leaves: dict[str, torch.Tensor] = {}

    def change(leaf: Any) -> Any:
        if not isinstance(leaf, np.ndarray):
            return leaf
        tensor = torch.tensor(leaf)
        if tensor.is_floating_point():
            tensor = tensor.to(dtype).requires_grad_()
            leaves[f"input {len(leaves)}"] = tensor
        return tensor

    positional, options = case.call.map(change)
    return positional, options, leaves


def as_list(value: Any) -> list[Any]:
    """Return the results that are there, one or several."""
    several = value if isinstance(value, tuple) else (value,)
    return [part for part in several if part is not None]


def derivatives(
    case: ModuleCase, values: list[Any], leaves: dict[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """Return the gradients of the weighted results, and those of the sum of their squares."""
    floating = [(place, value) for place, value in enumerate(values) if value.requires_grad]
    if not floating or not leaves:
        return {}
    weighted = [
        (value * torch.tensor(case.cotangent(tuple(value.shape), place)).to(value)).sum()
        for place, value in floating
    ]
    first = gradients(torch.stack(weighted).sum(), leaves, create_graph=True)
    second = gradients(torch.stack([(slope**2).sum() for slope in first.values()]).sum(), leaves)
    return {f"gradient to {name}": slope for name, slope in first.items()} | {
        f"second gradient to {name}": slope for name, slope in second.items()
    }


if __name__ == "__main__":
    main()
