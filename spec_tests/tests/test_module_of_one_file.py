"""An implementation may be one file: the suite asks for its names, never for files of a package."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("impl_numpy", reason="the names of the file are those of impl_numpy")

MINE = """
import impl_numpy

for name, value in vars(impl_numpy).items():
    if name not in globals():
        globals()[name] = value
"""
ASKED = ("tensor", "function", "rnn", "rnn_memory", "loss")


@pytest.fixture
def pytest_on_mine(tmp_path):
    """Return a function that runs pytest on `mine`, a module of one file, with more options."""
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}

    def run(*options):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--pyargs"]
        command += [*options, "--impl", "mine"]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run


def test_the_whole_suite_is_collected(pytest_on_mine):
    run = pytest_on_mine("spec_tests.suite", "--collect-only")
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr


def test_chapters_pass(pytest_on_mine, tmp_path):
    files = [f"spec_tests.suite.test_{name}" for name in ASKED]
    run = pytest_on_mine(*files, "--result", "result.json")
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
    content = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert content["implementation"] == "mine"
    assert {number: clause["why"] for number, clause in content["clauses"].items()} == {
        number: "" for number in content["clauses"]
    }
    assert "rnn-18" in content["clauses"]
