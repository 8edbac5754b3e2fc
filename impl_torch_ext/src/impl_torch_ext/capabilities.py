"""What this implementation says of itself."""

__all__ = ["__spec_version__", "spec_capabilities"]

__spec_version__ = "2026.12"


def spec_capabilities() -> dict[str, bool]:
    """Return the optional parts of the specification that are there.

    Returns
    -------
    dict of str to bool
        `jit` is true although `jit` is the identity: the specification asks for equal results,
        not for compilation. `wide_unsigned` is not: torch has uint16, uint32 and uint64 as
        containers, and neither adds nor compares them.
    """
    return {
        "complex": True,
        "double_backward": True,
        "float64": True,
        "jit": True,
        "serialization": True,
        "vmap": True,
        "wide_unsigned": False,
    }
