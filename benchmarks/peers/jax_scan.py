"""The user's own cell by hand: ``jax.lax.scan`` under ``jax.jit``."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.peers.arrays import sequence
from benchmarks.peers.job import Job, Makers, Unsupported
from benchmarks.peers.own_cell import next_state, weights
from benchmarks.peers.under_jit import compiled
from benchmarks.rows import Row

__all__ = ["makers"]


def makers(_: str) -> Makers:
    """Return the makers."""
    return {"unroll": _unroll}


def _unroll(row: Row) -> Job:
    if row.name != "own" or row.options.get("sqrt"):
        msg = "lax.scan by hand is written for the user's own cell, all of whose states are kept"
        raise Unsupported(msg)
    x, cotangent = (jnp.asarray(array) for array in sequence(row))
    parameters = tuple(jnp.asarray(array) for array in weights(row))
    apart = bool(row.options.get("apart"))

    def gradients(parameters: Any, x: Any, cotangent: Any) -> Any:
        def output(parameters: Any, x: Any) -> Any:
            into, back = parameters

            def step(h: Any, x_t: Any) -> Any:
                projected = x_t if apart else x_t @ into
                h = next_state(jax.nn.sigmoid, jnp.tanh, projected, h, back)
                return h, h[..., : row.shown]

            first = jnp.zeros((x.shape[1], row.shape[3]), x.dtype)
            return jax.lax.scan(step, first, x @ into if apart else x)[1]

        return jax.vjp(output, parameters, x)[1](cotangent)

    return compiled(gradients, parameters, x, cotangent)
