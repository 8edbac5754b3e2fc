"""What the command line names: the implementation, and where a picture goes."""

import argparse
import importlib
from typing import Any


def implementation() -> Any:
    """Import and return the module that ``--impl`` names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--impl", required=True, help="a module, such as impl_numpy")
    return importlib.import_module(parser.parse_args().impl)


def arguments(picture: str) -> tuple[Any, str]:
    """Import the module that ``--impl`` names; return it, and the path of the picture."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--impl", required=True, help="a module, such as impl_numpy")
    parser.add_argument(
        "--picture", default=picture, help="where to write it, if matplotlib is there"
    )
    given = parser.parse_args()
    return importlib.import_module(given.impl), given.picture


def axes(width: int) -> Any:
    """Return a figure and as many axes side by side, or None where there is no matplotlib."""
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        return None
    return plt.subplots(1, width, figsize=(4.5 * width, 3.2), layout="constrained")
