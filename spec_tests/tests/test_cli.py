"""The console script ``spec-tests run``."""

import subprocess
import sys

import pytest

SCRIPT = "import sys; from spec_tests.cli import main; sys.exit(main())"


def run(folder, *arguments):
    command = [sys.executable, "-c", SCRIPT, "run", *arguments, "-p", "no:cacheprovider"]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def test_run_gives_what_pytest_gives(tmp_path):
    pytest.importorskip("impl_numpy", reason="the suite is run on impl_numpy")
    done = run(tmp_path, "--impl", "impl_numpy", "spec_tests.suite.test_loss", "-k", "large")
    assert done.returncode == pytest.ExitCode.OK, done.stdout + done.stderr
    assert "clauses: " in done.stdout
    assert "warning" not in (done.stdout + done.stderr).lower()


def test_the_exit_status_is_that_of_pytest(tmp_path):
    done = run(tmp_path, "--impl", "no_such_module")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "cannot import 'no_such_module'" in done.stderr
