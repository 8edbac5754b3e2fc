"""A module of an implementation shows its public names alone to ``dir()`` and completion."""

import importlib.util
import os
import subprocess
import sys

import pytest

IMPLEMENTATIONS = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")
# Prints the names of a module that completion would offer beside the public ones.
UNLISTED = """
import importlib, sys
module = importlib.import_module(sys.argv[1])
for part in sys.argv[2:]:
    module = getattr(module, part)
print(*sorted({n for n in dir(module) if not n.startswith("_")} ^ set(module.__all__)))
"""


def unlisted(*path, cwd):
    """Return the names that only one of ``dir()`` and ``__all__`` of a module has."""
    # Without a GPU impl_cupy imports only where emulation is asked for.
    environment = {**os.environ, "IMPL_CUPY_EMULATE": "1"}
    run = subprocess.run(
        [sys.executable, "-c", UNLISTED, *path],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        cwd=cwd,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split()


@pytest.mark.parametrize("module", ["ops", "ops.linalg", "ops.fft", "init", "loss", "optim"])
@pytest.mark.parametrize("name", IMPLEMENTATIONS)
def test_a_module_shows_its_public_names_alone(name, module, tmp_path):
    spec = importlib.util.find_spec(name)
    # A folder of that name in the working directory is found too, but has no origin.
    if spec is None or spec.origin is None:
        pytest.skip(f"{name} is not installed here")
    assert unlisted(name, *module.split("."), cwd=tmp_path) == []


def test_an_unlisted_name_is_seen(tmp_path):
    source = "import math\n__all__ = ['f', 'gone']\ndef f(): pass\n"
    (tmp_path / "shows.py").write_text(source, encoding="utf-8")
    assert unlisted("shows", cwd=tmp_path) == ["gone", "math"]
