"""The version of the specification that this implementation follows, and what it is able to do."""

__spec_version__ = "2026.12"

_CAPABILITIES = {
    "complex": True,
    "double_backward": True,
    "float64": True,
    "jit": True,
    "serialization": True,
    "vmap": True,
    "wide_unsigned": True,
}


def spec_capabilities() -> dict[str, bool]:
    """Return what a clause marked *Capability* may be asked of."""
    return dict(_CAPABILITIES)
