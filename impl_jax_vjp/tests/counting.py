"""How much is compiled."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import jax


@contextmanager
def compilations() -> Iterator[list[str]]:
    """Collect an entry for each program that XLA compiles."""
    events: list[str] = []

    def listen(event: str, duration: float, **kwargs: Any) -> None:
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield events
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
