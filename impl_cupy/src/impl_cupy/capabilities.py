"""What this implementation is, can do, and runs on."""

from __future__ import annotations

from impl_cupy.backend import DEVICE, EMULATED

__spec_version__ = "2026.12"


def spec_capabilities() -> dict[str, bool]:
    """Tell which capabilities of the specification this implementation has.

    Returns
    -------
    dict of str to bool
        ``jit`` is the identity: CuPy runs each operation as it comes.
    """
    return {
        "complex": True,
        "double_backward": True,
        "float64": True,
        "jit": True,
        "serialization": True,
        "vmap": True,
        "wide_unsigned": True,
    }


def spec_device() -> dict[str, str | bool]:
    """Name what the numbers were computed on.

    Returns
    -------
    dict
        ``device``: the GPU's name, or ``"CPU emulation, no GPU code ran"``; ``emulated``: bool.
    """
    return {"device": DEVICE, "emulated": EMULATED}
