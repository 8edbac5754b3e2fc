"""The table of transforms is read as cells, asked cell by cell, and counted."""

import json

import pytest

from spec_tests.judge import clauses
from spec_tests.judge.transforms import COLUMNS, read_cells
from spec_tests.support.transformed import CASES

HEAD = f"| program | {' | '.join(COLUMNS)} |\n| {' | '.join(['---'] * 9)} |\n"
ROW = f"| sum | {' | '.join(['yes'] * 8)} |\n"
CLAUSES = """
### transforms-01 The column jit
Sums.
"""
TEST = """
    from spec_tests import clause
    from spec_tests.judge.clauses import cells

    @clause("transforms-01")
    @cells("jit")
    def test_jit(nn, cell):
        assert cell.works
        assert cell.program != "product"
"""


def table(directory, text):
    (directory / "transforms.md").write_text(f"# transforms\n\n{text}", encoding="utf-8")
    return read_cells(directory)


def test_every_program_has_every_column_and_is_there():
    cells = read_cells()
    programs = list(dict.fromkeys(cell.program for cell in cells.values()))
    assert programs == list(CASES)
    assert len(cells) == len(programs) * len(COLUMNS)


def test_refusals_name_clauses_that_exist():
    known = clauses.read()
    refused = [cell for cell in read_cells().values() if cell.clause]
    assert refused
    assert all(cell.clause in known for cell in refused)
    assert all(cell.works or cell.clause for cell in read_cells().values())


def test_cells(tmp_path):
    row = ROW.replace("yes", "refused: demo-01", 1).replace("yes", "yes or refused: demo-02", 1)
    cells = table(tmp_path, HEAD + row)
    assert list(cells) == [f"sum: {column}" for column in COLUMNS]
    found = [(cell.works, cell.clause) for cell in cells.values()]
    assert found == [(False, "demo-01"), (True, "demo-02"), *[(True, None)] * 6]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (HEAD + ROW.replace("yes", "perhaps", 1), "'perhaps'"),
        (HEAD + ROW.replace("yes", "", 1), "''"),
        (HEAD + ROW.replace("yes", "refused", 1), "'refused'"),
        (HEAD + "| sum | yes |\n", "8 cells"),
        (HEAD + ROW + ROW, "twice"),
        (HEAD.replace("vmap", "map"), "columns"),
    ],
)
def test_what_cannot_be_read(tmp_path, text, fault):
    with pytest.raises(ValueError, match=fault):
        table(tmp_path, text)


def test_cells_are_asked_and_counted(judge, pytester):
    chapter = HEAD + ROW + ROW.replace("sum", "product") + CLAUSES
    (pytester.path / "spec" / "transforms.md").write_text(chapter, encoding="utf-8")
    run = judge("-k", "test_jit", test_demo=TEST)
    run.stdout.fnmatch_lines(["transforms: 1 passed, 1 failed, 0 unsupported"])
    run.stdout.fnmatch_lines(["transforms that fail: product: jit"])
    content = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    found = content["transforms"]
    assert found["sum"]["jit"] == {"status": "passed", "why": ""}
    assert found["product"]["jit"]["status"] == "failed"


def test_a_cell_without_a_test_is_a_fault(judge, pytester):
    (pytester.path / "spec" / "transforms.md").write_text(HEAD + ROW + CLAUSES, encoding="utf-8")
    run = judge(test_demo=TEST)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["sum: vmap", "*transforms: 1 passed, 7 failed, 0 unsupported"])
