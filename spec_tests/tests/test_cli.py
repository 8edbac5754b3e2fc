"""The console script ``spec-tests``."""

import subprocess
import sys
from importlib.metadata import version

import pytest

from spec_tests import SPEC_VERSION

SCRIPT = "import sys; from spec_tests.cli import main; sys.exit(main())"


def spec_tests(folder, *arguments):
    command = [sys.executable, "-c", SCRIPT, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)


def run(folder, *arguments):
    return spec_tests(folder, "run", *arguments, "-p", "no:cacheprovider")


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


def test_the_version_is_that_of_the_distribution_and_of_the_specification(tmp_path):
    done = spec_tests(tmp_path, "--version")
    assert done.returncode == 0
    want = f"spec-tests {version('spec-tests')}, specification {SPEC_VERSION}"
    assert done.stdout.strip() == want
