"""An error of ten tolerances is found in each function by itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spec_tests.judge import tables
from spec_tests.support.calls import calls, evaluate_all

pytest.importorskip("impl_numpy", reason="the errors are put into impl_numpy")

WRONG = """
import sys
import off_by_ten

sys.modules[__name__] = off_by_ten.implementation(gradients={gradients})
"""
# How each test ended: "found" is an error that was told in tolerances.
ENDS = """
import json

ends = {}


def pytest_runtest_logreport(report):
    if report.when == "call":
        found = report.failed and " tolerance; " in report.longreprtext
        ends[report.nodeid.rpartition("::")[2]] = "found" if found else report.outcome


def pytest_unconfigure():
    with open("ends.json", "w") as file:
        json.dump(ends, file)
"""
FILES = [f"test_{name}" for name in ("ops_rows", "linalg_rows", "fft_rows", "loss_rows", "nn_rows")]
FILES += ["test_rnn_table", "test_optim", "test_optim_paths"]
BOTH = "test_values_and_gradients or test_losses"
VALUES = f"(test_values and not unroll) or {BOTH} or hundred_steps"
GRADIENTS = f"((test_gradients and not unroll) or {BOTH}) and not optim"


def ends(folder, gradients, chosen):
    """Return how the chosen tests end where all values, or all gradients, are off."""
    (folder / "wrong_impl.py").write_text(WRONG.format(gradients=gradients), encoding="utf-8")
    (folder / "ends.py").write_text(ENDS, encoding="utf-8")
    options = ["-p", "ends", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-k", chosen]
    files = [f"spec_tests.suite.{file}" for file in FILES]
    paths = os.pathsep.join((str(Path(__file__).parent), str(folder)))
    subprocess.run(
        [sys.executable, "-m", "pytest", "--impl", "wrong_impl", *options, "--pyargs", *files],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.DEVNULL,
        check=False,
    )
    return json.loads((folder / "ends.json").read_text(encoding="utf-8"))


def without_rounding():
    """Return the functions of arrays whose results are integers or booleans, whatever comes."""
    return {
        row.name
        for row in tables.read().values()
        if row.chapter in ("ops", "linalg")
        and row.formula is not None
        and not any(
            result.dtype.kind in "fc"
            for call in calls(row, "float64")
            for result in evaluate_all(row, call)
        )
    }


def test_values_that_are_off_by_ten_tolerances_are_found(tmp_path):
    ended = ends(tmp_path, False, VALUES)
    assert len(ended) > 600
    others = without_rounding()
    assert len(others) > 20
    right = {f"test_values[{name}-{dtype}]" for name in others for dtype in ("float32", "float64")}
    assert {test: end for test, end in ended.items() if end != "found" and test not in right} == {}
    assert {ended[test] for test in right if test in ended} == {"passed"}


def test_gradients_that_are_off_by_ten_tolerances_are_found(tmp_path):
    ended = ends(tmp_path, True, GRADIENTS)
    assert len(ended) > 450
    assert {test: end for test, end in ended.items() if end != "found"} == {}
