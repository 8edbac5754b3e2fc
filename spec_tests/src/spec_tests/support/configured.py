"""Layers of the configurations that torch.nn computed, and what came of their calls."""

from functools import cache, partial
from math import prod
from typing import Any

import numpy as np

from spec_tests.oracle import load
from spec_tests.oracle.configurations import Configuration, configurations
from spec_tests.support.assertions import tensor, to_numpy
from spec_tests.support.recurrent import call_layer, call_packed, squares, weighted

Arrays = dict[str, np.ndarray]
# What no parameter's name contains.
NONE = "/"


@cache
def _stored() -> tuple[Arrays, ...]:
    """Return the stored results of every configuration, by name."""
    known = load("recurrent")
    results = []
    for configuration, numbers in zip(
        configurations(),
        np.split(known["numbers"], np.cumsum(known["counts"])[:-1]),
        strict=True,
    ):
        shapes = configuration.results
        parts = np.split(numbers, np.cumsum([prod(shape) for shape in shapes.values()])[:-1])
        results.append(
            {key: own.reshape(shapes[key]) for key, own in zip(shapes, parts, strict=True)}
        )
    return tuple(results)


def stored(configuration: Configuration) -> Arrays:
    """Return the results of torch.nn in float64: outputs, gradients, second gradients."""
    return _stored()[configuration.number]


def made(nn: Any, configuration: Configuration, dtype: str) -> Any:
    """Return the configuration's layer with its parameters."""
    name, options = configuration.constructor
    shapes = configuration.parameters
    width = shapes["weight_ih_l0"][1]
    hidden = shapes["weight_hr_l0"][1] if "weight_hr_l0" in shapes else shapes["weight_hh_l0"][1]
    layer = getattr(nn, name)(width, hidden, dtype=getattr(nn, dtype), **options)
    drawn = configuration.drawn()
    layer.load_state_dict({key: drawn[key].astype(dtype) for key in shapes})
    return layer


def padded(configuration: Configuration, x: np.ndarray) -> np.ndarray:
    """Return the input with NaN, infinities and large numbers where no sequence runs."""
    waste = np.resize([np.nan, np.inf, -np.inf, 1e30], x.shape).astype(x.dtype)
    return np.where(configuration.running[..., None], x, waste)


def seen(
    nn: Any, configuration: Configuration, dtype: str, frozen: str = NONE, *, packed: bool = False
) -> tuple[dict[str, Any], Arrays]:
    """Call the layer and go backward: what came, and what should have come, by name.

    Parameters whose names contain `frozen` do not require grad; what came to them is `.grad`.
    With `packed` the input is packed for the call.
    """
    leaves, outputs, total = _forward(nn, configuration, dtype, frozen, packed)
    total.backward()
    got = outputs | {
        f"gradient to {key}": leaf.grad if frozen in key else _slope(nn, leaf)
        for key, leaf in leaves.items()
    }
    want = stored(configuration)
    return got, {key: want[key] for key in got}


def twice(
    nn: Any, configuration: Configuration, dtype: str, *, packed: bool = False
) -> tuple[dict[str, Any], Arrays]:
    """Differentiate the sum of the squared gradients to the inputs: got and wanted, by name."""
    leaves, _, total = _forward(nn, configuration, dtype, NONE, packed)
    total.backward(create_graph=True)
    penalty = squares(nn, [leaves[key].grad for key in configuration.inputs])
    for leaf in leaves.values():
        leaf.grad = None
    want = stored(configuration)
    got = {"penalty": penalty}
    if penalty.requires_grad:
        penalty.backward()
    got |= {f"second gradient to {key}": _slope(nn, leaf) for key, leaf in leaves.items()}
    return got, {key: want[key] for key in got}


def _slope(nn: Any, leaf: Any) -> np.ndarray:
    """Return a leaf's gradient; one that nothing depends on may have none."""
    slope = leaf if leaf.grad is None else leaf.grad
    array = to_numpy(nn, slope)
    return np.zeros_like(array) if leaf.grad is None else array


def _forward(
    nn: Any, configuration: Configuration, dtype: str, frozen: str, packed: bool
) -> tuple[dict[str, Any], dict[str, Any], Any]:
    """Return the leaves and outputs of a call by name, and the outputs' weighted sum."""
    layer = made(nn, configuration, dtype)
    for key, parameter in layer.named_parameters():
        parameter.requires_grad_(frozen not in key)
    drawn = {key: array.astype(dtype) for key, array in configuration.drawn().items()}
    options: dict[str, Any] = {}
    if configuration.lengths is not None:
        drawn["x"] = padded(configuration, drawn["x"])
        ends = list(configuration.lengths)
        options["lengths"] = ends if configuration.batch else ends[0]
    leaves = {key: tensor(nn, drawn[key]) for key in configuration.inputs}
    states = [leaf for key, leaf in leaves.items() if key != "x"]
    hx = tuple(states) if len(states) > 1 else states[0]
    # The masks of dropout are those of this seed.
    nn.manual_seed(configuration.number)
    call = partial(call_packed, nn) if packed else call_layer
    outputs = call(layer, leaves["x"], hx, **options)
    total = weighted(nn, outputs, {key: drawn[key] for key in outputs})
    return leaves | dict(layer.named_parameters()), outputs, total
