"""MkDocs calls these: pages are made, and links out of docs/ lead to pages that were made."""

from __future__ import annotations

import logging
import posixpath
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "docs"))

from building import collected, docstrings, pictures, specification  # noqa: E402

# What stands elsewhere and is a page too, by its page.
TAKEN = {
    "index.md": "README.md",
    "suite.md": "spec_tests/README.md",
    "contributing.md": "CONTRIBUTING.md",
    "changelog.md": "CHANGELOG.md",
    **{
        f"examples/{path.parent.name}.md": f"examples/{path.parent.name}/README.md"
        for path in sorted(ROOT.glob("examples/*/README.md"))
    },
    "benchmarks.md": "benchmarks/README.md",
}
SPEC = "spec_tests/src/spec_tests/spec"
_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
_NUMBER = re.compile(r"(?<!\[)`(?P<id>[a-z]+-\d\d)`")
_FENCES = re.compile(r"(^ *(`{3,})[^\n]*\n.*?^ *\2 *$)", re.MULTILINE | re.DOTALL)
# A break of a line between two Chinese characters would show as a space.
_BREAK = re.compile(r"(?<=[\u3000-\u9fff\uff00-\uffef”])\n(?=[\u3000-\u9fff\uff00-\uffef“])")
_log = logging.getLogger("mkdocs.docs")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages and pictures that are made."""
    made = {page: (ROOT / path).read_text(encoding="utf-8") for page, path in TAKEN.items()}
    made.update(specification.pages(collected.collect(), ROOT / "report" / "clauses"))
    made.update(docstrings.pages())
    for page, text in made.items():
        files.append(File.generated(config, page, content=text))
    with tempfile.TemporaryDirectory() as folder:
        for path in pictures.draw(Path(folder)):
            content = path.read_bytes()
            files.append(File.generated(config, f"pictures/{path.name}", content=content))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Make links of clauses' numbers, and turn links to files into links to pages."""
    here = page.file.src_uri
    if here.startswith("tests/"):
        return markdown
    parts = _FENCES.split(markdown)
    # `split` gives text, fence, its marks, text, ...
    texts = [_linked(part, here, files) for part in parts[::3]]
    fences = [*parts[1::3], ""]
    return "".join(text + fence for text, fence in zip(texts, fences, strict=True))


def _linked(text: str, here: str, files: Files) -> str:
    def number(match: re.Match[str]) -> str:
        target = f"clauses/{match['id']}.md"
        if target == here or files.get_file_from_path(target) is None:
            return match[0]
        return f"[{match[0]}]({_from(here, target)})"

    def link(match: re.Match[str]) -> str:
        place, _, anchor = match["target"].partition("#")
        if "://" in place or not place or not _is_taken(here):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(_origin(here)), place))
        target = _page(path, files)
        if target:
            return f"[{match['text']}]({_from(here, target)}{'#' if anchor else ''}{anchor})"
        if not (ROOT / path).exists():
            _log.warning("%s: the link to %s leads nowhere", here, place)
        return f"{match['text']} (`{path}`)" if path not in match["text"] else match["text"]

    return _NUMBER.sub(number, _LINK.sub(link, _BREAK.sub("", text)))


def _is_taken(here: str) -> bool:
    return here in TAKEN or (ROOT / "docs" / here).is_file()


def _origin(here: str) -> str:
    return TAKEN.get(here, f"docs/{here}")


def _page(path: str, files: Files) -> str | None:
    """Return the page that a file of the repository is, if it is one."""
    by_file = {file: page for page, file in TAKEN.items()}
    if path == SPEC:
        return "chapters/tensor.md"
    candidates = [
        by_file.get(path),
        by_file.get(f"{path}/README.md"),
        f"chapters/{posixpath.basename(path)}" if path.startswith(f"{SPEC}/") else None,
        path.removeprefix("docs/") if path.startswith("docs/") else None,
    ]
    return next((c for c in candidates if c and files.get_file_from_path(c)), None)


def _from(here: str, target: str) -> str:
    return posixpath.relpath(target, posixpath.dirname(here) or ".")
