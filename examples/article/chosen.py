"""The implementation that the command line names."""

import argparse
import importlib
from typing import Any


def implementation() -> Any:
    """Import and return the module that ``--impl`` names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--impl", required=True, help="a module, such as impl_numpy")
    return importlib.import_module(parser.parse_args().impl)
