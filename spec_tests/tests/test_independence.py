"""No implementation imports another, the judge, or another's backend."""

import ast
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

BACKENDS = {
    "impl_numpy": set(),
    "impl_cupy": {"cupy"},
    "impl_torch_ext": {"torch"},
    "impl_jax_vjp": {"jax", "jaxlib"},
}
FOREIGN = {
    name: (set(BACKENDS) - {name}) | {"spec_tests"} | (set().union(*BACKENDS.values()) - own)
    for name, own in BACKENDS.items()
}
ROOT = Path(__file__).parents[2]


def imported(path):
    """Return the top-level packages that a file imports, also inside functions and by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (one.name.partition(".")[0] for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            name = node.args[0]
            if called in ("import_module", "__import__") and isinstance(name, ast.Constant):
                yield str(name.value).partition(".")[0]


@pytest.mark.parametrize("name", BACKENDS)
def test_sources_import_no_other(name):
    source = ROOT / name / "src" / name
    if not source.is_dir():
        pytest.skip(f"the checkout has no {name}")
    files = sorted(source.rglob("*.py"))
    assert files
    faults = [
        f"{path.relative_to(ROOT)} imports {package}"
        for path in files
        for package in sorted(set(imported(path)) & FOREIGN[name])
    ]
    assert faults == []


@pytest.mark.parametrize("name", BACKENDS)
def test_no_other_is_loaded(name, tmp_path):
    found = importlib.util.find_spec(name)
    # A folder of that name in the working directory is found too, but has no origin.
    if found is None or found.origin is None:
        pytest.skip(f"{name} is not installed here")
    # Without a GPU impl_cupy imports only where emulation is asked for.
    environment = {**os.environ, "IMPL_CUPY_EMULATE": "1"}
    script = f"import {name}, sys; print(*{{one.partition('.')[0] for one in sys.modules}})"
    command = [sys.executable, "-c", script]
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path
    )
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.split()) & FOREIGN[name] == set()


def test_the_check_sees_every_kind_of_import(tmp_path):
    path = tmp_path / "one.py"
    path.write_text(
        "import a.b, c\n"
        "from d.e import f\n"
        "from . import own\n"
        "def late():\n"
        "    import g\n"
        "    return importlib.import_module('h.i'), __import__('j')\n",
        encoding="utf-8",
    )
    assert set(imported(path)) == {"a", "c", "d", "g", "h", "j"}
