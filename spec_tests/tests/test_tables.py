"""The tables of the chapters are read as they stand, and what cannot be read is named."""

import inspect

import pytest

from spec_tests.judge import clauses
from spec_tests.judge.tables import parse_signature, read

COLUMNS = "| function | formula | inputs | class | gradient | source | clauses |\n"
HEAD = "## unary: one operand\n\n" + COLUMNS
RULE = "| --- | --- | --- | --- | --- | --- | --- |\n"
SIN = "| `sin(x, /)` | `sin(x)` | normal | elementwise | yes | array API | ops-14 |\n"


def rows_of(directory, *lines):
    (directory / "ops.md").write_text("# ops\n\n" + HEAD + RULE + "".join(lines), encoding="utf-8")
    return read(directory)


def test_every_chapter_with_a_table_is_read():
    assert {row.chapter for row in read().values()} == {
        "ops",
        "linalg",
        "fft",
        "nn",
        "loss",
        "optim",
        "init",
        "data",
    }


def test_rows_name_clauses_and_classes_that_exist():
    known, classes = clauses.read(), clauses.tolerances()
    for key, row in read().items():
        assert set(row.clauses) <= set(known), key
        assert row.tolerance is None or row.tolerance in classes, key


def test_a_row(tmp_path):
    row = rows_of(tmp_path, SIN)["ops.sin"]
    assert (row.family, row.formula, row.tolerance) == ("unary", "sin(x)", "elementwise")
    assert (row.gradient, row.source, row.clauses) == ("yes", "array API", ("ops-14",))
    assert row.inputs == ("normal(3, 4)", "normal()")
    assert row.signature.parameters["x"].kind is inspect.Parameter.POSITIONAL_ONLY


def test_a_signature():
    name, signature = parse_signature("f(x, /, a, b=-1, *rest, c, d=(0.9, None), **more)")
    assert name == "f"
    assert str(signature) == "(x, /, a, b=-1, *rest, c, d=(0.9, None), **more)"


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (" | ops-14 |", " |", "a row must have 7 cells, got 6"),
        ("`sin(x, /)`", "sin(x, /)", "must stand in backticks"),
        ("`sin(x, /)`", "`sin(x, /`", "a signature must read like"),
        ("`sin(x, /)`", "`sin(x=y)`", "a signature must read like"),
        ("`sin(x)`", "`sin(x`", "must be a Python expression"),
        ("| normal |", "| uniform |", "inputs must stand in backticks"),
        ("| normal |", "| `normal(3` |", "must be a Python expression"),
        ("| yes |", "| maybe |", "gradient must be one of yes, zero, none"),
        ("ops-14", "ops-1", "clauses must be numbers"),
    ],
)
def test_a_row_that_cannot_be_read(tmp_path, old, new, fault):
    with pytest.raises(ValueError, match=r"^ops\.md:7: .*" + fault):
        rows_of(tmp_path, SIN.replace(old, new))


def test_a_row_that_stands_twice(tmp_path):
    with pytest.raises(ValueError, match=r"ops\.md:8: sin stands there twice"):
        rows_of(tmp_path, SIN, SIN)


def test_other_columns(tmp_path):
    (tmp_path / "ops.md").write_text(HEAD.replace("formula", "value") + RULE + SIN)
    with pytest.raises(ValueError, match=r"ops\.md:3: the columns must be function, formula"):
        read(tmp_path)
