"""The pages: each in the navigation, each Python block with its implementations."""

import re
import sys
from pathlib import Path

import pytest

import impl_numpy

HERE = Path(__file__).parents[1]
sys.path.insert(0, str(HERE))
import run_blocks  # noqa: E402

PAGES = run_blocks.pages()


def test_every_page_is_in_the_navigation():
    nav = (HERE.parent / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    named = set(re.findall(r"(\S+\.md)$", nav, re.MULTILINE))
    written = {path.relative_to(HERE).as_posix() for path in HERE.rglob("*.md")}
    assert len(written) > 4
    assert written - named == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_block_names_its_implementations(page):
    blocks = list(run_blocks.blocks(page.read_text(encoding="utf-8")))
    assert [b.line for b in blocks if b.language == "python" and b.names is None] == []
    # A fence that the reader of blocks does not see would not be run.
    opened = re.findall(r"^ *``` *python", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert len([b for b in blocks if b.language == "python"]) == len(opened)


def test_the_first_file_of_a_backend_names_every_capability():
    (block,) = [
        block
        for block in run_blocks.blocks((HERE / "conform.md").read_text("utf-8"))
        if "def spec_capabilities" in block.text
    ]
    made: dict = {}
    exec(block.text, made)
    assert made["spec_capabilities"]().keys() == impl_numpy.spec_capabilities().keys()


@pytest.mark.parametrize(("page", "least"), [("tutorial", 10), ("function", 5)])
def test_both_languages_have_the_same_code(page, least):
    english, chinese = (
        [(b.text, b.names, b.output) for b in run_blocks.blocks((HERE / name).read_text("utf-8"))]
        for name in (f"{page}.md", f"{page}.zh.md")
    )
    assert len(english) > least
    assert english == chinese


def test_both_languages_name_the_same_things():
    """Row by row: what is between backquotes, and how many columns there are."""
    english, chinese = (
        [
            (line.count("|"), re.findall("`[^`]+`", line))
            for line in (HERE / name).read_text("utf-8").splitlines()
            if line.startswith("|")
        ]
        for name in ("coming.md", "coming.zh.md")
    )
    assert len(english) > 60
    assert english == chinese


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "<!-- impl: all -->\n```python\nprint(1)\n```\n<!-- output -->\n```text\n2\n```\n",
            "says",
        ),
        ("<!-- impl: impl_numpy -->\n```python\n1 / 0\n```\n", "ZeroDivisionError"),
    ],
)
def test_a_wrong_block_is_found(tmp_path, text, said):
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    count, wrong = run_blocks.run(page, "impl_numpy")
    assert count == 1
    assert said in wrong


def test_a_block_names_what_there_is():
    with pytest.raises(ValueError, match="impl_nunpy"):
        list(run_blocks.blocks("<!-- impl: impl_nunpy -->\n```python\n1\n```\n"))
