"""Which specification this implements, and how much of it."""

from __future__ import annotations

SPEC_VERSION = "2026.12"


def spec_capabilities() -> dict[str, bool]:
    """Return the capabilities that clauses may ask for, and whether they are here."""
    return {
        "complex": True,
        "double_backward": True,
        "float64": True,
        "jit": True,
        "serialization": True,
        "vmap": True,
        "wide_unsigned": True,
    }
