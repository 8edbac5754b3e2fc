"""The chapters are read as they stand."""

import pytest

from spec_tests import cli
from spec_tests.judge.clauses import CHAPTERS, read, tolerances


def test_every_chapter_is_read():
    chapters = list(dict.fromkeys(number.partition("-")[0] for number in read()))
    assert chapters == list(CHAPTERS)


def test_numbers_follow_one_another():
    for chapter in CHAPTERS:
        numbers = [int(number[-2:]) for number in read() if number.startswith(f"{chapter}-")]
        assert numbers == list(range(1, len(numbers) + 1)), chapter


def test_capabilities_are_read():
    capabilities = {clause.capability for clause in read().values()}
    assert capabilities == {None, "complex", "double_backward", "jit", "serialization", "vmap"}
    second = read()["function-17"]
    assert second.title == "The second derivative follows what was saved"
    assert second.text.startswith("Under `create_graph=True`")


def test_tolerances_are_read():
    table = tolerances()
    assert table["elementwise"] == {"float32": 4 * 2.0**-23, "float64": 4 * 2.0**-52}
    assert table["difference"] == {"float32": None, "float64": 1e-8}


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("### demo-01 One\n### demo-01 Two\n", "stands there twice"),
        ("### other-01 One\n", "must read"),
        ("### demo-1 One\n", "must read"),
    ],
)
def test_what_is_no_chapter(tmp_path, text, fault):
    (tmp_path / "demo.md").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=fault):
        read(tmp_path)


def test_the_command_lists_clauses(capsys):
    assert cli.main(["clauses", "rnn"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "rnn-01  Cells: constructor and parameters"
    assert "rnn-17  Second derivative  [double_backward]" in lines
