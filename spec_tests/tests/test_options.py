"""The table of recurrent options is read cell by cell, and each cell has a verdict of its own."""

import json

import pytest

from spec_tests.judge.options import COLUMNS, LAYERS, read

HEAD = f"| option | of | {' | '.join(COLUMNS)} |\n|{' --- |' * (len(COLUMNS) + 2)}\n"
ROW = "| `plain` | {of} | yes | yes | yes | - | - | - | - | - | - |\n"
SOURCE = """
    import pytest
    from spec_tests import clause

    @clause("demo-01")
    @pytest.mark.options("values")
    def test_values(nn, cell):
        assert cell.layer != "GRU"

    @clause("demo-02")
    @pytest.mark.options("gradients")
    def test_gradients(nn, cell):
        pass
    """


def written(directory, *rows):
    (directory / "rnn.md").write_text("# rnn\n\n" + HEAD + "".join(rows), encoding="utf-8")
    return directory


def test_the_table_of_the_chapter_is_read():
    cells = read()
    assert {cell.layer for cell in cells.values()} == set(LAYERS)
    assert {cell.column for cell in cells.values()} == set(COLUMNS)
    assert "rnn.LSTM.proj_size.exchange" in cells
    assert "rnn.GRU.proj_size.exchange" not in cells
    assert "rnn.GRU.packed.resets" not in cells


def test_a_cell_that_says_no_is_not_asked(tmp_path):
    assert list(read(written(tmp_path, ROW.format(of="GRU")))) == [
        "rnn.GRU.plain.values",
        "rnn.GRU.plain.gradients",
        "rnn.GRU.plain.second",
    ]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (ROW.format(of="Elman"), "got Elman"),
        (ROW.format(of="all").replace("yes", "maybe", 1), "must say yes or -"),
        ("| `plain` | all | yes |\n", "in 9 columns"),
        (ROW.format(of="all") * 2, "twice"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(tmp_path, row, said):
    with pytest.raises(ValueError, match=said) as caught:
        read(written(tmp_path, row))
    assert str(caught.value).startswith("rnn.md:")


def test_every_cell_has_a_verdict_and_one_without_a_test_fails(judge, pytester):
    written(pytester.path / "spec", ROW.format(of="all"))
    ran = judge(test_demo=SOURCE)
    assert ran.ret == pytest.ExitCode.TESTS_FAILED
    ran.stdout.fnmatch_lines(
        ["*options of recurrent layers without a test*", "rnn.RNN_tanh.plain.second"]
    )
    ran.stdout.fnmatch_lines(["options of recurrent layers: 3 passed, 5 failed, 4 unsupported"])
    options = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))["options"]
    assert options["rnn.LSTM.plain.values"]["status"] == "passed"
    assert options["rnn.LSTM.plain.gradients"]["status"] == "unsupported"
    assert options["rnn.GRU.plain.values"]["status"] == "failed"
    assert options["rnn.GRU.plain.values"]["tests"] == ["test_demo.py::test_values[GRU-plain]"]
    assert options["rnn.GRU.plain.second"]["why"] == "no test asks for this cell"


@pytest.mark.parametrize("processes", [[], ["-n", "2"]])
def test_the_largest_errors_by_option_are_told(judge, pytester, processes):
    source = """
        import numpy as np
        import pytest
        from spec_tests import clause
        from spec_tests.support.assertions import agrees

        @clause("demo-01")
        @pytest.mark.parametrize("units", [1, 3, 2])
        def test_near(nn, units):
            one = np.ones(2)
            options = ["both", "one"][: units]
            agrees(nn, one + units * 2.0**-52, one, "rnn", options=options)
            agrees(nn, one + 7 * 2.0**-52, one, "rnn")
        """
    ran = judge(*processes, "-k", "near", test_demo=source)
    ran.stdout.fnmatch_lines(["largest errors in eps of float64: both 1.50, one 1.50"])
    told = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    assert told["largest_errors"] == {"both": {"float64": 1.5}, "one": {"float64": 1.5}}
