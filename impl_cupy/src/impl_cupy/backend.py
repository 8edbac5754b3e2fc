"""The one place where the array library is chosen.

``cp`` is CuPy on a machine with a CUDA device, and else, if ``IMPL_CUPY_EMULATE=1`` is set, the
CPU emulation of it, the distribution ``cupy-emulation``.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

EMULATED_DEVICE = "CPU emulation, no GPU code ran"


def choose() -> tuple[Any, bool, str]:
    """Return the array library, whether it is the emulation, and the device's name.

    Raises
    ------
    ImportError
        If there is no usable GPU and the emulation was not asked for or is not installed; one line
        that says what is missing.
    """
    cupy, missing = _cupy_on_a_device()
    if cupy is not None:
        properties = cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)
        return cupy, False, properties["name"].decode()
    if os.environ.get("IMPL_CUPY_EMULATE") == "1":
        return _emulation(), True, EMULATED_DEVICE
    msg = (
        f"impl_cupy needs a CUDA device: {missing}; set IMPL_CUPY_EMULATE=1 to run on the CPU "
        "by an emulation of CuPy"
    )
    raise ImportError(msg)


def _emulation() -> Any:
    """Return the emulation of CuPy, a distribution of its own."""
    try:
        return importlib.import_module("cupy_emulation.namespace")
    except ModuleNotFoundError as error:
        if error.name not in ("cupy_emulation", "cupy_emulation.namespace"):
            raise
        msg = (
            "impl_cupy: IMPL_CUPY_EMULATE=1 needs the emulation of CuPy, which is not installed; "
            "run `python -m pip install ./impl_cupy/emulation`"
        )
        raise ImportError(msg) from error


def _cupy_on_a_device() -> tuple[Any, str]:
    try:
        cupy = importlib.import_module("cupy")
    except ImportError as error:
        return None, f"CuPy cannot be imported ({_one_line(error)})"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return None, f"CuPy {cupy.__version__} finds none ({_one_line(error)})"
    if count == 0:
        return None, f"CuPy {cupy.__version__} finds none (cudaGetDeviceCount returned 0)"
    return cupy, ""


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


cp, EMULATED, DEVICE = choose()

cupyx: Any = importlib.import_module("cupy_emulation.cupyx" if EMULATED else "cupyx")
"""CuPy's extensions, of which only `cupyx.errstate` is used."""
