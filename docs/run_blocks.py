"""Run the Python blocks of the documentation on the implementations that they name.

    python docs/run_blocks.py --impl impl_numpy            # every page
    python docs/run_blocks.py --impl impl_cupy docs/tutorial.md

A block names its implementations in a comment before it: ``<!-- impl: all -->``, ``<!-- impl:
impl_numpy impl_cupy -->``, or ``<!-- impl: none: why -->``. ``impl_numpy`` in its text stands for
the one at hand. The blocks of a page are one program, from the top. A block of text after
``<!-- output -->`` is what was printed since the output before.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import linecache
import re
import sys
import tempfile
import traceback
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ALL = ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\s*$")
_NAMES = re.compile(r"<!-- impl: (?P<names>.+?) -->")
_OUTPUT = "<!-- output -->"


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes
    ----------
    line : int
        Of its first line of text, from 1.
    names : tuple of str or None
        The implementations that a Python block names; None where there is no comment.
    output : bool
        Whether it is what the blocks before print.
    """

    line: int
    language: str
    text: str
    names: tuple[str, ...] | None
    output: bool


def pages() -> list[Path]:
    """Return the pages whose blocks are run."""
    return [
        *sorted((ROOT / "docs").glob("*.md")),
        ROOT / "README.md",
        ROOT / "spec_tests" / "README.md",
    ]


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page.

    Raises
    ------
    ValueError
        Where a comment names what is no implementation, or none without a reason.
    """
    lines = text.splitlines()
    opened: tuple[int, re.Match[str]] | None = None
    before = ""
    for number, line in enumerate(lines):
        fence = _FENCE.match(line)
        if opened is None and fence:
            opened = (number, fence)
        elif opened is not None and fence and not fence["language"]:
            first, start = opened
            inside = [one.removeprefix(start["indent"]) for one in lines[first + 1 : number]]
            output = before == _OUTPUT
            body = "\n".join(inside) + "\n"
            yield Block(first + 2, start["language"], body, _named(before), output)
            opened = None
        if opened is None and line.strip():
            before = line.strip()


def _named(comment: str) -> tuple[str, ...] | None:
    found = _NAMES.fullmatch(comment)
    if not found:
        return None
    if found["names"] == "all":
        return ALL
    if found["names"].startswith("none: "):
        return ()
    names = tuple(found["names"].split())
    if not set(names) <= set(ALL):
        msg = f"a block names 'all', 'none: why', or of {', '.join(ALL)}; got {comment!r}"
        raise ValueError(msg)
    return names


def run(page: Path, implementation: str) -> tuple[int, str]:
    """Run a page's blocks; return how many were run, and what went wrong with the first fault."""
    title = f"{page.parent.name}_{page.stem}_{implementation}".replace(".", "_")
    module, name = types.ModuleType(title), f"{page}:{implementation}"
    module.__file__ = name
    sys.modules[title] = module
    printed, count, source = io.StringIO(), 0, ""
    for block in blocks(page.read_text(encoding="utf-8")):
        if block.output and count:
            got, printed = printed.getvalue(), io.StringIO()
            if got != block.text:
                return count, f"{page}:{block.line}: printed\n{got}but the page says\n{block.text}"
        if block.language != "python" or implementation not in (block.names or ()):
            continue
        # Line numbers are the page's, and `inspect` finds the source of what is defined.
        text = block.text.replace("impl_numpy", implementation)
        source += "\n" * (block.line - 1 - source.count("\n")) + text
        linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
        count += 1
        try:
            with contextlib.redirect_stdout(printed):
                padded = "\n" * (block.line - 1) + text
                exec(compile(padded, name, "exec"), module.__dict__)
        except Exception:
            return count, f"{page}:{block.line}: {traceback.format_exc()}"
    return count, ""


def main() -> int:
    """Run what the command line names; return 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--impl", required=True, choices=ALL)
    parser.add_argument("pages", nargs="*", type=Path, help="left out: all")
    given = parser.parse_args()
    faults = 0
    for page in [page.resolve() for page in given.pages or pages()]:
        # What a page saves goes where nothing is kept.
        with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
            count, wrong = run(page, given.impl)
        faults += bool(wrong)
        if count:
            verdict = "failed" if wrong else "passed"
            print(f"{given.impl} {page.relative_to(ROOT)}: {count} blocks {verdict}")
        if wrong:
            print(wrong)
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
