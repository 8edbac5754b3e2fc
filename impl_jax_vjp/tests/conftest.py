"""Every test draws the same numbers, and most run in the x64 mode of JAX."""

from collections.abc import Iterator

import jax
import pytest

import impl_jax_vjp as nn


@pytest.fixture(autouse=True)
def one_seed() -> None:
    nn.manual_seed(0)


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    """Run in JAX's x64 mode, as a user who wants float64 of JAX itself has to."""
    with jax.enable_x64(True):
        yield
