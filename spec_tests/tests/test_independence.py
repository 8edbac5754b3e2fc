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
# From the ground up: a group may import itself and what is below, at the top of its modules.
ORDER = (
    ("random", "tensor"),
    ("function",),
    ("autograd", "ops"),
    ("init", "module"),
    ("nn", "rnn", "loss"),
    ("optim", "serialization", "data"),
)
LEVEL = {name: level for level, group in enumerate(ORDER) for name in group}
ROOT = Path(__file__).parents[2]
# The emulation of CuPy stands for a library: it knows of no one here.
EMULATION = ROOT / "impl_cupy" / "emulation" / "src" / "cupy_emulation"


def imported(path):
    """Return the top-level packages that a file imports, also inside functions and by name."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Call) and node.args:
            called = ast.unparse(node.func).rpartition(".")[2]
            name = node.args[0]
            if called in ("import_module", "__import__") and isinstance(name, ast.Constant):
                yield str(name.value).partition(".")[0]


def own_imports(source, path):
    """Return the modules of its own package that a file imports where it is itself imported."""
    package = [source.name, *path.relative_to(source).parts[:-1]]
    for node in at_import(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *filter(None, [node.module])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == source.name and len(parts) > 1:
                yield parts[1]


def at_import(statements):
    """Return the imports that run with the module: not those in functions or for types alone."""
    for node in statements:
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_import(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for part in ("body", "orelse", "finalbody", "handlers"):
                yield from at_import(getattr(node, part, []))


def upward_imports(source):
    """Return a line for each import of a module by one of an earlier group."""
    return [
        f"{path.relative_to(source)} imports {other}"
        for path in sorted(source.rglob("*.py"))
        for own in [path.relative_to(source).parts[0].removesuffix(".py")]
        for other in sorted(set(own_imports(source, path)))
        if own in LEVEL and other in LEVEL and LEVEL[own] < LEVEL[other]
    ]


@pytest.mark.parametrize("name", BACKENDS)
def test_imports_run_one_way(name):
    source = ROOT / name / "src" / name
    if not source.is_dir():
        pytest.skip(f"the checkout has no {name}")
    assert upward_imports(source) == []


def test_every_form_of_an_upward_import_is_seen(tmp_path):
    source = tmp_path / "impl_x"
    (source / "ops").mkdir(parents=True)
    (source / "random.py").write_text("import impl_x.function\n", encoding="utf-8")
    (source / "tensor.py").write_text("from impl_x import ops\n", encoding="utf-8")
    (source / "function.py").write_text("from impl_x.ops.sums import total\n", encoding="utf-8")
    (source / "autograd.py").write_text("from .nn import Linear\n", encoding="utf-8")
    (source / "ops" / "sums.py").write_text("from ..module import Module\n", encoding="utf-8")
    (source / "init.py").write_text("try:\n    from . import rnn\nfinally:\n    pass\n", "utf-8")
    (source / "module.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "from . import helpers, init, tensor\n"
        "if TYPE_CHECKING:\n"
        "    from .nn import Linear\n"
        "def late():\n"
        "    from . import optim\n",
        encoding="utf-8",
    )
    assert upward_imports(source) == [
        "autograd.py imports nn",
        "function.py imports ops",
        "init.py imports rnn",
        "ops/sums.py imports module",
        "random.py imports function",
        "tensor.py imports ops",
    ]


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


def test_the_emulation_imports_none_of_us():
    if not EMULATION.is_dir():
        pytest.skip("the checkout has no emulation of CuPy")
    files = sorted(EMULATION.rglob("*.py"))
    assert files
    ours = {*BACKENDS, "spec_tests"}.union(*BACKENDS.values())
    faults = [(path.name, ours & set(imported(path))) for path in files]
    assert [fault for fault in faults if fault[1]] == []


@pytest.mark.parametrize("name", BACKENDS)
def test_no_other_is_loaded(name, tmp_path):
    spec = importlib.util.find_spec(name)
    # A folder of that name in the working directory is found too, but has no origin.
    if spec is None or spec.origin is None:
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
