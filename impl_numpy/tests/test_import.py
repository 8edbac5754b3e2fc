"""Importing the package costs little more than importing NumPy."""

import subprocess
import sys

# Each of these takes longer to import than the package itself, and few programs need it.
HEAVY = {"safetensors", "tempfile", "numpy.random", "numpy.testing", "inspect", "asyncio"}

SCRIPT = """
import sys
import numpy
before = set(sys.modules)
import impl_numpy
print(*(set(sys.modules) - before))
"""


def imported() -> set[str]:
    result = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_nothing_heavy_is_imported() -> None:
    assert not imported() & HEAVY


def test_only_the_standard_library_comes_along() -> None:
    tops = {name.partition(".")[0] for name in imported()}
    assert tops - sys.stdlib_module_names <= {"impl_numpy", "numpy"}


def test_saving_imports_what_it_needs(tmp_path) -> None:
    import impl_numpy as nn

    nn.save({"x": nn.ones(2)}, tmp_path / "x.safetensors")
    assert nn.load(tmp_path / "x.safetensors")["x"].tolist() == [1.0, 1.0]
    assert "safetensors" in sys.modules
