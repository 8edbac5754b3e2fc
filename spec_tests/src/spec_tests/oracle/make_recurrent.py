"""Compute the results of the configurations of recurrent layers with torch.nn in float64.

With spec_tests and torch installed, in the versions that ``data/provenance.json`` names::

    python -m spec_tests.oracle.make_recurrent

torch.nn's layer is called whole, with packed sequences for lengths. It takes neither the masks of
its dropout nor a length of 0: there its layers are called one by one, and sequence by sequence.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from spec_tests.oracle.configurations import (
    COUNT,
    SEED,
    Configuration,
    H,
    T,
    configurations,
)
from spec_tests.oracle.stored import record, store

Tensors = dict[str, torch.Tensor]


def main() -> None:
    """Write the results of all configurations, and where they come from."""
    torch.backends.mkldnn.enabled = False
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    numbers = [results(configuration) for configuration in configurations()]
    flat = np.concatenate(numbers)
    store("recurrent", {"numbers": flat, "counts": np.array([len(own) for own in numbers])})
    facts = {"configurations": COUNT, "seed": SEED}
    versions = {"torch": torch.__version__}
    record("recurrent", "make_recurrent.py", flat.tobytes(), facts, versions)


def results(configuration: Configuration) -> np.ndarray:
    """Return the results of one configuration, one after the other in the order of its shapes."""
    leaves = {key: torch.tensor(array) for key, array in configuration.drawn().items()}
    cotangents = {key: leaves.pop(key) for key in configuration.outputs}
    for leaf in leaves.values():
        leaf.requires_grad_()
    outputs = called(configuration, leaves)
    total = sum((outputs[key] * cotangents[key]).sum() for key in outputs)
    first = gradients(total, leaves, create_graph=configuration.penalised)
    found = outputs | {f"gradient to {key}": value for key, value in first.items()}
    if configuration.penalised:
        penalty = sum((first[key] ** 2).sum() for key in configuration.inputs)
        second = gradients(penalty, leaves)
        found["penalty"] = penalty
        found |= {f"second gradient to {key}": value for key, value in second.items()}
    shapes = configuration.results
    assert {key: tuple(value.shape) for key, value in found.items()} == shapes
    return np.concatenate([found[key].detach().numpy().reshape(-1) for key in shapes])


def gradients(total: Any, leaves: Tensors, **options: bool) -> Tensors:
    """Return the gradient to every leaf; zeros where it has none."""
    if not total.requires_grad:
        return {key: torch.zeros_like(leaf) for key, leaf in leaves.items()}
    slopes = torch.autograd.grad(total, list(leaves.values()), allow_unused=True, **options)
    return {
        key: torch.zeros_like(leaf) if slope is None else slope
        for (key, leaf), slope in zip(leaves.items(), slopes, strict=True)
    }


def called(configuration: Configuration, leaves: Tensors) -> Tensors:
    """Return what the layer returns, in the configuration's layout."""
    x = leaves["x"]
    x = x.transpose(0, 1) if configuration.layout == "batch first" else x
    x = x if x.ndim == 3 else x[:, None]
    states = [leaves[f"{key}0"] for key in configuration.states]
    states = [state if state.ndim == 3 else state[:, None] for state in states]
    if configuration.dropout or 0 in (configuration.lengths or ()):
        output, last = one_by_one(configuration, leaves, x, states)
    else:
        output, last = whole(configuration, leaves, x, states)
    if not configuration.batch:
        output, last = output[:, 0], [state[:, 0] for state in last]
    elif configuration.layout == "batch first":
        output = output.transpose(0, 1)
    names = (f"{key}_n" for key in configuration.states)
    return {"output": output, **dict(zip(names, last, strict=True))}


def whole(configuration: Configuration, leaves: Tensors, x: Any, states: Any) -> tuple[Any, Any]:
    """Call torch's layer once: output (T, N, D P), and the last states."""
    name, options = configuration.constructor
    layer = getattr(nn, name)(x.shape[2], H, **options | {"batch_first": False})
    given = x
    if configuration.lengths:
        ends = torch.tensor(configuration.lengths)
        given = pack_padded_sequence(x, ends, enforce_sorted=False)
    parameters = {key: leaves[key] for key in configuration.parameters}
    hx = tuple(states) if len(states) > 1 else states[0]
    output, last = torch.func.functional_call(layer, parameters, (given, hx))
    if configuration.lengths:
        output, _ = pad_packed_sequence(output, total_length=T)
    return output, last if len(states) > 1 else [last]


def one_by_one(
    configuration: Configuration, leaves: Tensors, x: Any, states: Any
) -> tuple[Any, Any]:
    """Call torch's layers of one layer and direction each, sequence by sequence."""
    masks = configuration.masks()
    last: list[Any] = [[] for _ in states]
    for layer in range(configuration.num_layers):
        found = []
        for direction, end in enumerate(("", "_reverse")[: configuration.directions]):
            place = layer * configuration.directions + direction
            own = [state[place] for state in states]
            output, after = one_direction(configuration, leaves, x, own, f"_l{layer}{end}")
            found.append(output)
            for kept, state in zip(last, after, strict=True):
                kept.append(state)
        x = torch.cat(found, dim=2)
        if layer < len(masks):
            x = torch.where(torch.tensor(masks[layer]), x / (1 - configuration.dropout), 0)
    return x, [torch.stack(kept) for kept in last]


def one_direction(
    configuration: Configuration, leaves: Tensors, x: Any, states: Any, end: str
) -> tuple[Any, Any]:
    """Run every sequence by itself, cut to its length, with a layer of torch's."""
    name, options = configuration.constructor
    options |= {"num_layers": 1, "bidirectional": False, "dropout": 0.0, "batch_first": False}
    layer = getattr(nn, name)(x.shape[2], H, **options)
    parameters = {
        key.removesuffix(end) + "_l0": leaves[key]
        for key in configuration.parameters
        if key.endswith(end)
    }
    turned = end.endswith("_reverse")
    outputs, last = [], []
    batch = prod(configuration.batch)
    for n, length in enumerate(configuration.lengths or (T,) * batch):
        own = [state[None, n] for state in states]
        width = configuration.out
        output = torch.zeros(0, width)
        if length:
            sequence = x[:length, n].flip(0) if turned else x[:length, n]
            hx = tuple(own) if len(own) > 1 else own[0]
            output, after = torch.func.functional_call(layer, parameters, (sequence, hx))
            output = output.flip(0) if turned else output
            own = list(after) if len(own) > 1 else [after]
        outputs.append(torch.cat([output, torch.zeros(T - length, width)]))
        last.append([state[0] for state in own])
    return torch.stack(outputs, dim=1), [torch.stack(kept) for kept in zip(*last, strict=True)]


if __name__ == "__main__":
    main()
