"""What the libraries on JAX share: their layers as functions of a tree of parameters, compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.peers.arrays import sequence
from benchmarks.peers.job import Job, Makers
from benchmarks.rows import Row

__all__ = ["Build", "compiled", "sequence_makers"]

# From a row: a function of parameters and input that returns (T, N, H), and the parameters.
Build = Callable[[Row], tuple[Callable[[Any, Any], Any], Any]]


def sequence_makers(build: Build, *, time_major: bool = True) -> Makers:
    """Return makers of a sequence layer's work.

    Parameters
    ----------
    build : callable
        Makes a row's layer.
    time_major : bool
        Whether the layer's input and output begin with T; else with N.
    """

    def inputs(row: Row) -> tuple[jax.Array, jax.Array]:
        x, cotangent = (jnp.asarray(array) for array in sequence(row))
        return (x, cotangent) if time_major else (x.swapaxes(0, 1), cotangent.swapaxes(0, 1))

    def train(row: Row) -> Job:
        apply, parameters = build(row)

        def gradients(parameters: Any, x: Any, cotangent: Any) -> Any:
            _, pull = jax.vjp(apply, parameters, x)
            return pull(cotangent)

        return compiled(gradients, parameters, *inputs(row))

    def inference(row: Row) -> Job:
        apply, parameters = build(row)
        return compiled(apply, parameters, inputs(row)[0])

    def second(row: Row) -> Job:
        apply, parameters = build(row)

        def squared(parameters: Any, x: Any, cotangent: Any) -> Any:
            slope = jax.grad(lambda x: jnp.sum(apply(parameters, x) * cotangent))(x)
            return jnp.sum(slope * slope)

        return compiled(jax.grad(squared), parameters, *inputs(row))

    return {"train": train, "inference": inference, "second": second}


def compiled(function: Callable[..., Any], *arguments: Any) -> Job:
    """Return a job that calls a function under ``jax.jit``."""
    fast = jax.jit(function)
    last: list[Any] = []

    def call() -> None:
        last[:] = [fast(*arguments)]

    return Job(call, lambda: jax.block_until_ready(last))
