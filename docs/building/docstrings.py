"""The API of an implementation, from its docstrings, as pages."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

NAMESPACES = (
    "",
    "ops",
    "ops.linalg",
    "ops.fft",
    "rnn",
    "loss",
    "optim",
    "optim.lr_scheduler",
    "init",
    "data",
)
_CODE = re.compile(r"(`[^`]*`)")


def pages(implementation: str = "impl_numpy") -> Iterator[tuple[str, str]]:
    """Yield the path and text of a page for each namespace."""
    module = importlib.import_module(implementation)
    for place in NAMESPACES:
        namespace: Any = module
        for name in filter(None, place.split(".")):
            namespace = getattr(namespace, name)
        title = f"nn.{place}" if place else "nn"
        parts = [f"# {title}", "", f"The docstrings of `{implementation}`.", ""]
        for name in sorted(_public(namespace), key=str.lower):
            parts += [*entry(f"{title}.{name}", getattr(namespace, name)), ""]
        yield f"api/{title}.md", "\n".join(parts)


def _public(namespace: Any) -> list[str]:
    names = getattr(namespace, "__all__", None) or [n for n in dir(namespace) if n[0] != "_"]
    return [name for name in names if _documented(getattr(namespace, name, None))]


def _documented(found: Any) -> bool:
    return callable(found) and not isinstance(found, ModuleType) and bool(found.__doc__)


def entry(name: str, found: Any, level: str = "##") -> Iterator[str]:
    """Yield the lines on a function or class."""
    last = name.rpartition(".")[2]
    yield from (f"{level} {last} {{ #{last} }}", "", "```python")
    yield from (f"{name}{_signature(found)}", "```", "", markdown(inspect.getdoc(found) or ""), "")
    if inspect.isclass(found):
        methods = [(n, m) for n, m in vars(found).items() if n[0] != "_" and inspect.getdoc(m)]
        if methods:
            yield from ("", "**Methods**", "")
        for method, value in sorted(methods):
            first = (inspect.getdoc(value) or "").partition("\n\n")[0]
            called = getattr(value, "__func__", value)
            shown = _signature(called) if callable(called) else ""
            yield f"- `{method}{shown}`: {_escaped(' '.join(first.split()))}"


def _signature(found: Any) -> str:
    try:
        text = str(inspect.signature(found))
    except (TypeError, ValueError):
        return "(...)"
    # The annotations of a module that postpones them are strings, and arrays' are Any.
    return re.sub(r" at 0x[0-9a-f]+", "", text.replace("'", "")).replace(": Any", "")


def markdown(docstring: str) -> str:
    """Return a docstring in numpydoc's form as Markdown."""
    lines = docstring.splitlines()
    found: list[str] = []
    section = ""
    for number, line in enumerate(lines):
        below = lines[number + 1] if number + 1 < len(lines) else ""
        if line and set(below) == {"-"} and len(below) >= 3:
            section = line
            found += ["", f"**{line}**", ""]
        elif line and set(line) == {"-"} and len(line) >= 3:
            continue
        elif section and line and line[0] != " " and not lines[number - 1]:
            section = ""
            found.append(_escaped(line))
        elif section and line and line[0] != " ":
            name, colon, rest = line.partition(" : ")
            below = ":" if below.startswith(" ") else ""
            item = f"- `{name}` : {_escaped(rest)}" if colon else f"- {_escaped(line)}{below}"
            found.append(item)
        else:
            found.append(_escaped(line))
    return "\n".join(found)


def _escaped(text: str) -> str:
    parts = _CODE.split(text)
    return "".join(p if p[:1] == "`" else re.sub(r"([<*\[\]])", r"\\\1", p) for p in parts)
