"""Cells of equinox over ``jax.lax.scan``, mapped over the batch, under ``jax.jit``."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from benchmarks.peers.job import Makers, Unsupported
from benchmarks.peers.under_jit import sequence_makers
from benchmarks.rows import Row

__all__ = ["makers"]

CELLS = {"LSTM": eqx.nn.LSTMCell, "GRU": eqx.nn.GRUCell}


def makers(_: str) -> Makers:
    """Return the makers."""
    return sequence_makers(_layer)


def _layer(row: Row) -> tuple[Any, Any]:
    if row.name not in CELLS:
        msg = f"equinox has no cell for {row.name}"
        raise Unsupported(msg)
    hidden = row.shape[-1]
    cell = CELLS[row.name](*row.shape[2:], key=jax.random.key(0))
    parameters, rest = eqx.partition(cell, eqx.is_array)

    def apply(parameters: Any, x: Any) -> Any:
        whole = eqx.combine(parameters, rest)

        def step(carry: Any, x_t: Any) -> Any:
            carry = jax.vmap(whole)(x_t, carry)
            return carry, carry[0] if row.name == "LSTM" else carry

        zeros = jnp.zeros((x.shape[1], hidden))
        first = (zeros, zeros) if row.name == "LSTM" else zeros
        return jax.lax.scan(step, first, x)[1]

    return apply, parameters
