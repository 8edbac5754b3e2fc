"""Calls of cells and layers, and their comparison with the reference."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, tensor, to_numpy

# What was called, what came and what should have come: outputs and gradients by name.
Outcome = tuple[str, dict[str, dict[str, Any]], dict[str, dict[str, Any]]]


def layer_of(nn: Any, name: str, dtype: str, parameters: Any, **options: Any) -> Any:
    """Return the layer that a name such as ``RNN_relu`` means, with these parameters."""
    layer_name, _, nonlinearity = name.partition("_")
    if nonlinearity:
        options["nonlinearity"] = nonlinearity
    width = parameters["weight_ih_l0"].shape[1]
    hidden = parameters["weight_hh_l0"].shape[1]
    bias = "bias_ih_l0" in parameters
    make = getattr(nn, layer_name)
    layer = make(width, hidden, bias=bias, dtype=getattr(nn, dtype), **options)
    layer.load_state_dict(parameters)
    return layer


def cell_of(nn: Any, name: str, dtype: str, parameters: Any) -> Any:
    """Return the cell that a name such as ``RNN_relu`` means, with these parameters."""
    layer_name, _, nonlinearity = name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    width, hidden = parameters["weight_ih"].shape[1], parameters["weight_hh"].shape[1]
    bias = "bias_ih" in parameters
    make = getattr(nn, f"{layer_name}Cell")
    cell = make(width, hidden, bias=bias, dtype=getattr(nn, dtype), **options)
    cell.load_state_dict(parameters)
    return cell


def state_of(leaves: dict[str, Any]) -> Any:
    """Return the state among the inputs as a call takes it: one Tensor, or a pair for LSTM."""
    states = [value for name, value in leaves.items() if name != "x"]
    return tuple(states) if len(states) == 2 else states[0]


def call_layer(layer: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
    """Call a layer and name what it returns."""
    output, state = layer(*arguments, **options)
    if isinstance(state, tuple):
        return {"output": output, "h_n": state[0], "c_n": state[1]}
    return {"output": output, "h_n": state}


def call_packed(nn: Any, layer: Any, x: Any, hx: Any = None, *, lengths: Any) -> dict[str, Any]:
    """Call a layer with its input packed: what comes of it, padded again to as many steps."""
    packed = nn.rnn.pack(x, lengths, batch_first=layer.batch_first)
    outputs = call_layer(layer, packed, hx)
    steps = x.shape[1 if layer.batch_first else 0]
    outputs["output"], _ = nn.rnn.unpack(
        outputs["output"], batch_first=layer.batch_first, total_length=steps
    )
    return outputs


def call_cell(cell: Any, *arguments: Any) -> dict[str, Any]:
    """Call a cell and name what it returns."""
    state = cell(*arguments)
    return {"h": state[0], "c": state[1]} if isinstance(state, tuple) else {"h": state}


def applications(function: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Return a list that gets the inputs of every further application of a Function."""
    applied: list[tuple[Any, ...]] = []
    apply = function.apply

    def counted(*arguments: Any, **config: Any) -> Any:
        applied.append(arguments)
        return apply(*arguments, **config)

    monkeypatch.setattr(function, "apply", staticmethod(counted))
    return applied


def weighted(nn: Any, outputs: dict[str, Any], cotangents: dict[str, np.ndarray]) -> Any:
    """Return the scalar whose gradients are those for the cotangents."""
    terms = [nn.ops.sum(outputs[key] * nn.tensor(array)) for key, array in cotangents.items()]
    return sum(terms[1:], terms[0])


def squares(nn: Any, tensors: Any) -> Any:
    """Return the sum of the squares of all elements."""
    terms = [nn.ops.sum(tensor * tensor) for tensor in tensors]
    return sum(terms[1:], terms[0])


def outcome(
    nn: Any,
    call: Callable[..., dict[str, Any]],
    module: Any,
    inputs: dict[str, np.ndarray],
    cotangents: dict[str, np.ndarray],
) -> dict[str, dict[str, Any]]:
    """Return the outputs of a call, and the gradients to its inputs and parameters, by name."""
    leaves = {name: tensor(nn, array) for name, array in inputs.items()}
    outputs = call(module, leaves["x"], state_of(leaves))
    weighted(nn, outputs, cotangents).backward()
    leaves |= dict(module.named_parameters())
    return {"outputs": outputs, "gradients": {name: leaf.grad for name, leaf in leaves.items()}}


def agree(
    nn: Any, call: str, got: dict[str, dict[str, Any]], want: dict[str, dict[str, Any]]
) -> None:
    """Compare outputs and gradients with those that `want` holds, by the class ``rnn``."""
    for name, array in want["outputs"].items():
        agrees(nn, got["outputs"][name], array, "rnn", call=f"{call}: {name}")
    for name, array in want["gradients"].items():
        agrees(nn, got["gradients"][name], array, "rnn", call=f"{call}: gradient to {name}")


def wanted(known: dict[str, Any], only: str = "all") -> dict[str, Any]:
    """Return the reference's outputs, and its gradients for one cotangent or for all."""
    return {"outputs": known["outputs"], "gradients": known["gradients"][only]}


def chosen(known: dict[str, Any], only: str) -> dict[str, np.ndarray]:
    """Return the cotangent of one output, or those of all."""
    cotangents: dict[str, np.ndarray] = known["cotangents"]
    return cotangents if only == "all" else {only: cotangents[only]}


def cell_outcomes(nn: Any, name: str, dtype: str) -> Iterator[Outcome]:
    """Apply a cell with a state, for each cotangent and for all, and without a state."""
    known = load("cells")[name][dtype]
    for only in known["gradients"]:
        cell = cell_of(nn, name, dtype, known["parameters"])
        got = outcome(nn, call_cell, cell, known["inputs"], chosen(known, only))
        yield f"{name} cell, cotangent {only}", got, wanted(known, only)
    outputs = call_cell(cell, nn.tensor(known["inputs"]["x"]))
    want = {"outputs": known["without_state"], "gradients": {}}
    yield f"{name} cell without a state", {"outputs": outputs, "gradients": {}}, want


def cell_outcome_without_bias(nn: Any, name: str, dtype: str) -> Outcome:
    """Apply a cell without biases; what is wanted is the same cell's whose biases are zeros."""
    known = load("cells")[name][dtype]
    biased = {k: a if "weight" in k else np.zeros_like(a) for k, a in known["parameters"].items()}
    results = []
    for parameters in ({k: a for k, a in biased.items() if "weight" in k}, biased):
        cell = cell_of(nn, name, dtype, parameters)
        results.append(outcome(nn, call_cell, cell, known["inputs"], known["cotangents"]))
    plain, zeros = results
    want = {part: {key: to_numpy(nn, zeros[part][key]) for key in plain[part]} for part in plain}
    return f"{name} cell without biases", plain, want


def layer_outcomes(nn: Any, name: str, dtype: str, only: str) -> Iterator[Outcome]:
    """Apply a layer with biases and without, for one cotangent or for all."""
    known = load("layers")[name][dtype]
    weights = {key: array for key, array in known["parameters"].items() if "weight" in key}
    for parameters, want in ((known["parameters"], known), (weights, known["without_bias"])):
        layer = layer_of(nn, name, dtype, parameters)
        got = outcome(nn, call_layer, layer, known["inputs"], chosen(known, only))
        yield f"{name} with {len(parameters)} parameters, cotangent {only}", got, wanted(want, only)
