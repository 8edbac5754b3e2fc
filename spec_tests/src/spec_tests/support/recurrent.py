"""Calls of cells and layers, and their comparison with the reference."""

from collections.abc import Callable
from typing import Any

import numpy as np

from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, tensor, to_numpy


def layer_of(nn: Any, name: str, dtype: str, parameters: Any, **options: Any) -> Any:
    """Return the layer that a name such as ``RNN_relu`` means, with these parameters."""
    kind, _, nonlinearity = name.partition("_")
    if nonlinearity:
        options["nonlinearity"] = nonlinearity
    width = parameters["weight_ih_l0"].shape[1]
    hidden = parameters["weight_hh_l0"].shape[1]
    bias = "bias_ih_l0" in parameters
    layer = getattr(nn, kind)(width, hidden, bias=bias, dtype=getattr(nn, dtype), **options)
    layer.load_state_dict(parameters)
    return layer


def cell_of(nn: Any, name: str, dtype: str, parameters: Any) -> Any:
    """Return the cell that a name such as ``RNN_relu`` means, with these parameters."""
    kind, _, nonlinearity = name.partition("_")
    options = {"nonlinearity": nonlinearity} if nonlinearity else {}
    width, hidden = parameters["weight_ih"].shape[1], parameters["weight_hh"].shape[1]
    bias = "bias_ih" in parameters
    make = getattr(nn, f"{kind}Cell")
    cell = make(width, hidden, bias=bias, dtype=getattr(nn, dtype), **options)
    cell.load_state_dict(parameters)
    return cell


def state_of(leaves: dict[str, Any]) -> Any:
    """Return the state among the inputs as a call takes it: one Tensor, or a pair for LSTM."""
    states = [value for name, value in leaves.items() if name != "x"]
    return tuple(states) if len(states) == 2 else states[0]


def call_layer(layer: Any, *arguments: Any) -> dict[str, Any]:
    """Call a layer and name what it returns."""
    output, state = layer(*arguments)
    if isinstance(state, tuple):
        return {"output": output, "h_n": state[0], "c_n": state[1]}
    return {"output": output, "h_n": state}


def call_cell(cell: Any, *arguments: Any) -> dict[str, Any]:
    """Call a cell and name what it returns."""
    state = cell(*arguments)
    return {"h": state[0], "c": state[1]} if isinstance(state, tuple) else {"h": state}


def weighted(nn: Any, outputs: dict[str, Any], cotangents: dict[str, np.ndarray]) -> Any:
    """Return the scalar whose gradients are those for the cotangents."""
    terms = [nn.ops.sum(outputs[key] * nn.tensor(array)) for key, array in cotangents.items()]
    return sum(terms[1:], terms[0])


def squares(nn: Any, tensors: Any) -> Any:
    """Return the sum of the squares of all elements."""
    terms = [nn.ops.sum(one * one) for one in tensors]
    return sum(terms[1:], terms[0])


def check(
    nn: Any,
    call: Callable[..., dict[str, Any]],
    module: Any,
    inputs: dict[str, np.ndarray],
    cotangents: dict[str, np.ndarray],
    want: dict[str, Any],
    only: str = "all",
) -> None:
    """Compare values and gradients of a call with the reference's."""
    leaves = {name: tensor(nn, array) for name, array in inputs.items()}
    outputs = call(module, leaves["x"], state_of(leaves))
    shapes = ", ".join(f"{name} {array.shape}" for name, array in inputs.items())
    told = f"{type(module).__name__} with {shapes}"
    for name, array in want["outputs"].items():
        agrees(nn, outputs[name], array, "rnn", call=f"{told}: {name}")
    chosen = cotangents if only == "all" else {only: cotangents[only]}
    weighted(nn, outputs, chosen).backward()
    parameters = dict(module.named_parameters())
    for name, array in want["gradients"][only].items():
        leaf = leaves[name] if name in leaves else parameters[name]
        agrees(nn, leaf.grad, array, "rnn", call=f"{told}: gradient of {only} to {name}")


def check_cell(nn: Any, name: str, dtype: str) -> None:
    """Compare a cell with its reference, with a state and without one."""
    known = load("cells")[name][dtype]
    for only in known["gradients"]:
        cell = cell_of(nn, name, dtype, known["parameters"])
        check(nn, call_cell, cell, known["inputs"], known["cotangents"], known, only)
    outputs = call_cell(cell, nn.tensor(known["inputs"]["x"]))
    for key, array in known["without_state"].items():
        agrees(nn, outputs[key], array, "rnn", call=f"{name} cell without a state: {key}")


def check_cell_without_bias(nn: Any, name: str, dtype: str) -> None:
    """Compare a cell without biases with the same cell whose biases are zeros."""
    known = load("cells")[name][dtype]
    biased = {k: a if "weight" in k else np.zeros_like(a) for k, a in known["parameters"].items()}
    found = []
    for parameters in ({k: a for k, a in biased.items() if "weight" in k}, biased):
        leaves = {key: tensor(nn, array) for key, array in known["inputs"].items()}
        cell = cell_of(nn, name, dtype, parameters)
        outputs = call_cell(cell, leaves["x"], state_of(leaves))
        weighted(nn, outputs, known["cotangents"]).backward()
        leaves |= dict(cell.named_parameters())
        found.append(outputs | {f"gradient to {key}": one.grad for key, one in leaves.items()})
    for key, got in found[0].items():
        want = to_numpy(nn, found[1][key])
        agrees(nn, got, want, "rnn", call=f"{name} cell without biases: {key}")
