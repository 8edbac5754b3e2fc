"""Every use of ``cp`` in the sources is one that the installed CuPy allows.

The emulation runs the sources; this reads them, so that code no test reaches is checked as well.
Each ``cp.name`` must exist in CuPy, and each call must fit the signature of what it calls.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import impl_cupy

cupy = pytest.importorskip("cupy", reason="the comparison is with an installed CuPy")

ROOT = Path(impl_cupy.__file__).parent
SOURCES = sorted(ROOT.rglob("*.py"))
UFUNC_KEYWORDS = {"out", "dtype", "casting"}


def faults(source: str) -> list[str]:
    """Return what CuPy would not allow in a source, one line each."""
    tree = ast.parse(source)
    found = []
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node, path in uses(tree, aliases(tree)):
        value: Any = cupy
        for name in path:
            if not hasattr(value, name):
                found.append(f"line {node.lineno}: cupy has no {'.'.join(path)}")
                break
            value = getattr(value, name)
        else:
            fault = misfit(value, calls[id(node)]) if id(node) in calls else None
            if fault:
                found.append(f"line {node.lineno}: cupy.{'.'.join(path)}: {fault}")
    return found


def aliases(tree: ast.Module) -> set[str]:
    """Return the names under which a module knows CuPy."""
    known = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "impl_cupy.backend":
            known |= {name.asname or name.name for name in node.names if name.name == "cp"}
        if isinstance(node, ast.Import):
            known |= {name.asname or name.name for name in node.names if name.name == "cupy"}
    return known


def uses(tree: ast.Module, names: set[str]) -> Iterator[tuple[ast.Attribute, list[str]]]:
    """Yield the longest ``cp.a.b`` chains, each with its path."""
    inner = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and id(node) not in inner:
            path, value = [node.attr], node.value
            while isinstance(value, ast.Attribute):
                inner.add(id(value))
                path.insert(0, value.attr)
                value = value.value
            if isinstance(value, ast.Name) and value.id in names:
                yield node, path


def misfit(function: Any, call: ast.Call) -> str | None:
    """Return why ``function`` does not take the arguments of ``call``, or None."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return None
    keywords = [keyword.arg for keyword in call.keywords if keyword.arg is not None]
    if isinstance(function, cupy.ufunc):
        unknown = set(keywords) - UFUNC_KEYWORDS
        if unknown:
            return f"unknown keywords {sorted(unknown)}"
        if not function.nin <= len(call.args) <= function.nargs:
            return f"takes {function.nin} operands, got {len(call.args)}"
        return None
    signature = signature_of(function)
    if signature is None:
        return None
    bind = signature.bind if len(keywords) == len(call.keywords) else signature.bind_partial
    try:
        bind(*call.args, **dict.fromkeys(keywords))
    except TypeError as error:
        return str(error)
    return None


def signature_of(function: Any) -> inspect.Signature | None:
    """Return the signature, read off the docstring where the function is Cython's."""
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):
        pass
    for line in (inspect.getdoc(function) or "").split("\n")[:1]:
        parameters = re.match(r"[\w.]+\((.*)\)", line)
        if parameters:
            parts = [part.strip() for part in parameters.group(1).split(",")]
            plain = [re.sub(r"^\w+ (?=\w)", "", part) for part in parts if part != "self"]
            if function is cupy.RawModule:
                # Its docstring has `code` before the star; the constructor has not.
                plain = ["*", *(part for part in plain if part != "*")]
            scope: dict[str, Any] = {}
            exec(f"def function({', '.join(plain)}): pass", scope)
            return inspect.signature(scope["function"])
    return None


def test_the_sources_use_cupy() -> None:
    used = [path for path in SOURCES if aliases(ast.parse(path.read_text(encoding="utf-8")))]
    assert len(used) > 5


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_uses_fit_cupy(path: Path) -> None:
    assert faults(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("cp.nonexistent", "cupy has no nonexistent"),
        ("cp.cuda.runtime.nothing()", "cupy has no cuda.runtime.nothing"),
        ("f = cp.linalg.vecdot", "cupy has no linalg.vecdot"),
        ("cp.sum(x, keepdim=True)", "keepdim"),
        ("cp.clip(x, min=0)", "min"),
        ("cp.clip(x)", "a_min"),
        ("cp.add(x, y, where=m)", "where"),
        ("cp.tanh()", "takes 1 operands, got 0"),
        ("cp.add(x, y, z, w)", "takes 2 operands, got 4"),
        ("cp.RawModule(source)", "positional"),
        ("cp.RawModule(code=source, flags=())", "flags"),
        ("cp.concatenate([x], 0, None, float)", "positional"),
        ("cp.expand_dims(x)", "axis"),
        ("cp.add.at(x)", "indices"),
    ],
)
@pytest.mark.parametrize("name", ["cp", "xp"])
def test_a_mistake_is_caught(line: str, fault: str, name: str) -> None:
    head = f"from impl_cupy.backend import cp as {name}\n"
    (found,) = faults(head + line.replace("cp.", f"{name}."))
    assert fault in found
    assert found.startswith("line 2")


@pytest.mark.parametrize(
    "line",
    [
        "cp.sum(x, axis=0, keepdims=True)",
        "cp.add(x, y, out=z)",
        "cp.matmul(x, y, out=z)",
        "cp.add.at(x, i, y)",
        "cp.RawModule(code=source, options=())",
        "cp.concatenate(*arguments)",
        "cp.reshape(x, shape, **keywords)",
        "cp.cuda.Device(0).synchronize()",
        "other.cp.nonexistent",
    ],
)
def test_what_is_right_passes(line: str) -> None:
    assert faults(f"from impl_cupy.backend import cp\n{line}") == []
