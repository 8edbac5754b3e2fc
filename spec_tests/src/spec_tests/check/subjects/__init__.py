"""One adapter for each kind of Function: NumPy arrays in and out."""

import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

from spec_tests.check.subjects.base import Application, NotAsked, Subject
from spec_tests.check.subjects.functional import OnJax
from spec_tests.check.subjects.taped import OnImplementation, OnTorch
from spec_tests.check.target import JAX, OURS, TORCH, Target

__all__ = ["Application", "NotAsked", "Subject", "installed", "subjects"]

IMPLEMENTATIONS = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")


def installed() -> list[str]:
    """Return the names of the known implementations that can be imported."""
    found = []
    for name in IMPLEMENTATIONS:
        if importlib.util.find_spec(name) is None:
            continue
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        # A folder of that name can be imported too.
        if hasattr(module, "spec_capabilities"):
            found.append(name)
    return found


def subjects(target: Target, names: Sequence[str], config: dict[str, Any]) -> list[Subject]:
    """Return a Function on each backend that it is made for.

    Parameters
    ----------
    target : Target
        The Function.
    names : sequence of str
        Implementations that a portable class is to run on; a Function of one runs there alone.
    config : dict
        Configuration by name.
    """
    if target.kind == TORCH:
        return [OnTorch(target, config)]
    if target.kind == JAX:
        return [OnJax(target, config)]
    chosen = [target.home] if target.kind == OURS else list(names)
    return [
        OnImplementation(target.on(name), importlib.import_module(name), config) for name in chosen
    ]
