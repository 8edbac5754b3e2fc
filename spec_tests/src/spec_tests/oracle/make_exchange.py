"""Compute what the layers of Keras and Flax and the operators of ONNX give for drawn parameters.

With keras, jax, flax, onnx and spec_tests installed, in the versions that
``data/provenance_exchange.json`` names::

    KERAS_BACKEND=jax python -m spec_tests.oracle.make_exchange

Parameters and inputs are multiples of 1/64, so that float32 holds them. T steps, N batch, I input
size, H hidden size, D directions.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterator
from typing import Any

import flax
import jax.numpy as jnp
import keras
import numpy as np
import onnx
from flax import nnx
from onnx import helper
from onnx.reference import ReferenceEvaluator

from spec_tests.oracle.stored import folder, store

T, N, I, H = 4, 3, 2, 3  # noqa: E741 - the letters of the chapter
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
Arrays = dict[str, np.ndarray]


def main() -> None:
    """Write parameters, inputs and outputs of every case, and where they come from."""
    random = np.random.default_rng(61)
    numbers: Arrays = {}
    for form, results in (("keras", of_keras), ("flax", of_flax), ("onnx", of_onnx)):
        for cell in GATES:
            for directions in (1, 2):
                for key, array in results(cell, directions, random):
                    numbers[f"{form}/{cell}/{directions}/{key}"] = array
    store("exchange", numbers)
    flat = b"".join(numbers[key].tobytes() for key in sorted(numbers))
    versions = {each.__name__: each.__version__ for each in (keras, flax, onnx, np)}
    facts = {
        "made by": "make_exchange.py",
        "python": platform.python_version(),
        **versions,
        "machine": platform.machine(),
        "sha256 of the numbers": hashlib.sha256(flat).hexdigest(),
    }
    path = folder / "provenance_exchange.json"
    path.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def drawn(random: np.random.Generator, *shape: int) -> np.ndarray:
    """Return multiples of 1/64 between -1 and 1."""
    return (random.integers(-64, 65, shape) / 64).astype(np.float32)


def place(turned: int) -> str:
    """Return how the names of a direction of the first layer begin."""
    return "l0_reverse" if turned else "l0"


def of_keras(
    cell: str, directions: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what Keras' layer makes of drawn weights."""
    x = drawn(random, T, N, I)
    yield "x", x
    make = {"RNN": keras.layers.SimpleRNN, "LSTM": keras.layers.LSTM, "GRU": keras.layers.GRU}[cell]
    outputs, lasts = [], []
    for turned in range(directions):
        rows = GATES[cell] * H
        weights = {
            "kernel": drawn(random, I, rows),
            "recurrent_kernel": drawn(random, H, rows),
            "bias": drawn(random, 2, rows) if cell == "GRU" else drawn(random, rows),
        }
        layer = make(H, return_sequences=True, return_state=True, go_backwards=bool(turned))
        layer.build((N, T, I))
        layer.set_weights(list(weights.values()))
        output, *states = layer(x.transpose(1, 0, 2))
        output = np.asarray(output).transpose(1, 0, 2)
        outputs.append(output[::-1] if turned else output)
        lasts.append([np.asarray(state) for state in states])
        for name, weight in weights.items():
            yield f"parameters/{place(turned)}.{name}", weight
    yield from results_of(outputs, lasts)


def results_of(outputs: list[Any], lasts: list[list[Any]]) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the output of both directions side by side, and the last states."""
    yield "output", np.concatenate(outputs, axis=-1)
    for name, states in zip(("h_n", "c_n"), zip(*lasts, strict=True), strict=False):
        yield name, np.stack(states)


def of_flax(
    cell: str, directions: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what a loop over Flax' cell makes of drawn weights."""
    x = drawn(random, T, N, I)
    yield "x", x
    make = {"RNN": nnx.SimpleCell, "LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell}[cell]
    biased = "dense_h" if cell == "LSTM" else "dense_i"
    outputs, lasts = [], []
    for turned in range(directions):
        module = make(I, H, rngs=nnx.Rngs(0))
        rows = GATES[cell] * H
        weights = {
            "dense_i.kernel": drawn(random, I, rows),
            "dense_h.kernel": drawn(random, H, rows),
            f"{biased}.bias": drawn(random, rows),
        }
        for name, weight in weights.items():
            part, _, entry = name.partition(".")
            getattr(getattr(module, part), entry)[...] = jnp.asarray(weight)
        carry = module.initialize_carry((N, I), nnx.Rngs(0))
        states = []
        for t in reversed(range(T)) if turned else range(T):
            carry, y = module(carry, jnp.asarray(x[t]))
            states.append(np.asarray(y))
        outputs.append(np.stack(states[::-1] if turned else states))
        last = carry[::-1] if cell == "LSTM" else [carry]
        lasts.append([np.asarray(state) for state in last])
        for name, weight in weights.items():
            yield f"parameters/{place(turned)}.{name}", weight
    yield from results_of(outputs, lasts)


def of_onnx(
    cell: str, directions: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what ONNX's operator makes of drawn weights, by its reference evaluator.

    That evaluator knows one direction: the other is a second operator on the flipped input.
    """
    x = drawn(random, T, N, I)
    yield "x", x
    rows = GATES[cell] * H
    weights = {
        "W": drawn(random, directions, rows, I),
        "R": drawn(random, directions, rows, H),
        "B": drawn(random, directions, 2 * rows),
    }
    names = ["Y", "Y_h", "Y_c"][: 3 if cell == "LSTM" else 2]
    options = {"linear_before_reset": 1} if cell == "GRU" else {}
    node = helper.make_node(cell, ["X", *weights], names, hidden_size=H, **options)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "XWRB"],
        [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names],
    )
    run: Callable[..., Any] = ReferenceEvaluator(helper.make_model(graph)).run
    outputs, lasts = [], []
    for turned in range(directions):
        given = {name: weight[turned : turned + 1] for name, weight in weights.items()}
        y, *states = run(None, {"X": x[::-1] if turned else x, **given})
        outputs.append(y[::-1, 0] if turned else y[:, 0])
        lasts.append([state[0] for state in states])
    for name, weight in weights.items():
        yield f"parameters/l0.{name}", weight
    yield from results_of(outputs, lasts)


if __name__ == "__main__":
    main()
