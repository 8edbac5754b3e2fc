"""``flax.nnx.RNN`` under ``jax.jit``, with the cells that flax recommends, and optax."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from benchmarks.peers.arrays import arrays, lengths, sequence
from benchmarks.peers.job import Job, Makers, Unsupported
from benchmarks.peers.under_jit import compiled, sequence_makers
from benchmarks.rows import Row

__all__ = ["makers"]

CELLS = {"RNN": nnx.SimpleCell, "LSTM": nnx.OptimizedLSTMCell, "GRU": nnx.GRUCell}


def makers(_: str) -> Makers:
    """Return the makers."""
    return {**sequence_makers(_layer), "cell": _cell, "optimizer": _optimizer}


def _layer(row: Row) -> tuple[Any, Any]:
    for option, what in (("projected", "projection"), ("resets", "resets")):
        if row.options.get(option):
            msg = f"flax has no {what}"
            raise Unsupported(msg)
    _, _, inputs, hidden = row.shape
    layers = [
        tuple(_rnn(row, inputs if number == 0 else row.directions * hidden, reverse))
        for number in range(row.options.get("num_layers", 1))
        for reverse in ((False, True)[: row.directions],)
    ]
    parts = [[nnx.split(layer, nnx.Param, ...) for layer in pair] for pair in layers]
    ends = None if (given := lengths(row)) is None else jnp.asarray(given)

    def apply(parameters: Any, x: Any) -> Any:
        for pair, own in zip(parts, parameters, strict=True):
            outputs = []
            for (graph, _, rest), values in zip(pair, own, strict=True):
                layer = nnx.merge(graph, values, rest, copy=True)
                # The state in the layer's own generator cannot change in a trace; the first carry
                # is zeros.
                carry = layer.cell.initialize_carry(x[0].shape, nnx.Rngs(0))
                outputs.append(layer(x, initial_carry=carry, seq_lengths=ends))
            x = jnp.concatenate(outputs, axis=-1) if len(outputs) > 1 else outputs[0]
        return x

    return apply, [[values for _, values, _ in pair] for pair in parts]


def _rnn(row: Row, inputs: int, directions: tuple[bool, ...]) -> Iterator[Any]:
    """Yield a layer's RNN for each of its directions."""
    for reverse in directions:
        cell = CELLS[row.name](inputs, row.shape[3], rngs=nnx.Rngs(0))
        yield nnx.RNN(cell, time_major=True, reverse=reverse, keep_order=True)


def _cell(row: Row) -> Job:
    """Unroll the loop by tracing it, which is how JAX compiles a loop in Python."""
    x, cotangent = (jnp.asarray(array) for array in sequence(row))
    cell = CELLS[row.name](*row.shape[2:], rngs=nnx.Rngs(0))
    graph, parameters, rest = nnx.split(cell, nnx.Param, ...)

    def last(parameters: Any) -> Any:
        cell = nnx.merge(graph, parameters, rest, copy=True)
        carry = cell.initialize_carry(x[0].shape, nnx.Rngs(0))
        for x_t in x:
            carry, h = cell(carry, x_t)
        return jnp.sum(h * cotangent[-1])

    return compiled(jax.grad(last), parameters)


def _optimizer(row: Row) -> Job:
    count, side = row.shape
    values = [jnp.asarray(array) for array in arrays(*[(side, side)] * 2 * count)]
    transform = {"SGD": optax.sgd, "Adam": optax.adam}[row.name](1e-3, **row.options)
    state = transform.init(values[:count])

    def step(parameters: Any, gradients: Any, state: Any) -> Any:
        updates, state = transform.update(gradients, state, parameters)
        return optax.apply_updates(parameters, updates), state

    return compiled(step, values[:count], values[count:], state)
