"""``spec-tests accuracy``: what is measured of right and wrong implementations, and their files."""

import json
import subprocess
import sys

import numpy as np
import pytest

from spec_tests.accuracy import merge
from spec_tests.accuracy.measure import LENGTHS, MOST, WIDTH, of_function, of_lengths, unpacked
from spec_tests.judge import tables

impl_numpy = pytest.importorskip("impl_numpy", reason="it is measured, and changed")
SCRIPT = "import sys; from spec_tests.cli import main; sys.exit(main())"
WRONG = """
import numpy as np
import impl_numpy
from impl_numpy import *

class ops:
    def __getattr__(self, name):
        function = getattr(impl_numpy.ops, name)
        if name == "tanh":
            # Two units more.
            return lambda x: tensor(np.nextafter(np.nextafter(function(x).numpy(), 9), 9))
        if name == "sin":
            raise RuntimeError("not today")
        return (lambda x: function(x) * float("nan")) if name == "cos" else function

ops = ops()
"""


def accuracy(folder, *options):
    command = [sys.executable, "-c", SCRIPT, "accuracy", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def measured(folder, name, only):
    path = folder / f"{name}.json"
    done = accuracy(folder, "--impl", name, "--only", only, "--out", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
    return merge.read(path), done.stdout


def test_a_right_implementation(tmp_path):
    content, text = measured(tmp_path, "impl_numpy", "ops.tanh")
    assert list(content["functions"]) == ["ops.tanh"]
    found = content["functions"]["ops.tanh"]
    assert found["elements"] >= 3 * WIDTH
    assert found["nanoseconds"] > 0
    middle, high, largest = found["ulp"]
    assert 0 < middle < 0.51
    assert middle < high <= largest < 4
    errors = np.abs(unpacked(found["errors"]))
    assert errors.size == found["elements"]
    assert np.max(errors) == pytest.approx(largest, rel=2e-3)
    assert content["about"]["device"] == "CPU"
    assert "accuracy" in content["command"]
    assert "ops.tanh" in text


def test_exact_functions_have_no_error():
    for key in ("ops.abs", "ops.relu", "ops.flip"):
        assert of_function(impl_numpy, tables.read()[key])["ulp"] == [0, 0, 0]
    # A sum is rounded once.
    assert of_function(impl_numpy, tables.read()["ops.add"])["ulp"][2] == 0.5


def test_what_has_no_floating_result_is_left_out():
    assert of_function(impl_numpy, tables.read()["ops.argmax"]) == {}


def test_errors_of_a_layer_by_the_number_of_steps():
    found = of_lengths(impl_numpy)
    assert set(found) == {"RNN_tanh", "GRU", "LSTM"}
    for rows in found.values():
        assert [len(errors) for errors in rows.values()] == [len(LENGTHS)] * 2
        assert all(0 < error < 64 for errors in rows.values() for error in errors)


def test_wrong_functions_are_seen_alone_and_in_pairs(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    wrong, _ = measured(tmp_path, "wrong", "n")
    right, _ = measured(tmp_path, "impl_numpy", "n")
    assert wrong["functions"]["ops.tanh"]["ulp"][0] > 1
    assert wrong["functions"]["ops.sin"] == {"why": "RuntimeError: not today"}
    heat = merge.merge([right, wrong])
    assert heat.columns == [("impl_numpy",), ("wrong",), ("impl_numpy", "wrong")]
    own, other, pair = heat.rows["ops.tanh"]
    assert pair.errors[0] == pytest.approx(2, abs=0.01)
    assert pair.levels[0] in (3, 4)
    assert other.levels[1] > own.levels[1]
    assert [cell.why for cell in heat.rows["ops.sin"]] == [
        "",
        "RuntimeError: not today",
        "not measured in both",
    ]
    assert {cell.errors for cell in heat.rows["ops.negative"]} == {(0, 0, 0)}


def test_nan_counts_as_the_largest_error(tmp_path):
    (tmp_path / "wrong.py").write_text(WRONG, encoding="utf-8")
    content, _ = measured(tmp_path, "wrong", "ops.cos")
    assert content["functions"]["ops.cos"]["ulp"] == [MOST] * 3


def test_files_that_do_not_belong_together(tmp_path):
    content, _ = measured(tmp_path, "impl_numpy", "ops.tanh")
    with pytest.raises(ValueError, match="two files are of one implementation: impl_numpy"):
        merge.merge([content, content])
    with pytest.raises(ValueError, match=r"versions .*of the specification"):
        merge.merge([content, {**content, "implementation": "other", "spec_version": "0"}])
    for text, reason in (
        ("{", "cannot be read"),
        ("{}", "is no file of"),
        (json.dumps({**content, "format": 99}), "has format 99"),
    ):
        path = tmp_path / "other.json"
        path.write_text(text, encoding="utf-8")
        with pytest.raises(ValueError, match=reason):
            merge.read(path)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--impl", "no_such"], "no_such cannot be imported"),
        (["--impl", "impl_numpy", "--only", "nothing"], "no function has 'nothing' in its key"),
        (["--impl", "impl_numpy", "--only", "tanh", "--out", "/dev/null/x"], "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path, options, reason):
    done = accuracy(tmp_path, *options)
    assert done.returncode == 2
    assert reason in done.stderr
    assert len(done.stderr.splitlines()) == 1
