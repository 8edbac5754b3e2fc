"""Where a run takes place: device, versions, machine."""

import importlib.metadata
import platform
import re
import sys
from types import ModuleType
from typing import Any

_BACKENDS = ("torch", "jax", "jaxlib", "cupy", "array_api_compat", "safetensors")


def suite_version() -> str:
    """Return the version of the suite's distribution, "" where it runs from its sources."""
    return _version("spec_tests") or ""


def device_of(module: ModuleType) -> dict[str, Any]:
    """Return ``device``, its name, and whether it is ``emulated``, as an implementation says."""
    if not hasattr(module, "spec_device"):
        return {"device": "CPU", "emulated": False}
    said = module.spec_device()
    return {"device": str(said["device"]), "emulated": bool(said["emulated"])}


def versions_of(implementation: str) -> dict[str, str]:
    """Return the versions of Python, the implementation and what it is built on."""
    versions = {"python": platform.python_version()}
    names = {"numpy", "pytest", "spec_tests", implementation.partition(".")[0]}
    names |= {name for name in _BACKENDS if name in sys.modules}
    for package in sorted(names):
        version = _version(package)
        if version:
            versions[package] = version
    return versions


def _version(package: str) -> str | None:
    stated = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(stated, str):
        return stated
    # A distribution's name may have hyphens where the package has underscores.
    for name in (package, re.sub("_", "-", package)):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None
