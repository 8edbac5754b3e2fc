"""What an implementation says beforehand, and what a run makes of it."""

import json
import signal
import subprocess
import sys
import time

import pytest

from spec_tests.judge.expectations import NAME, matches, parse

TESTS = """
    import pytest
    from spec_tests import clause

    @pytest.mark.parametrize("number", [1, 2])
    @clause("demo-01")
    def test_sum(nn, number):
        assert number == 1, "two is too many"

    @clause("demo-02")
    def test_second(nn):
        pass
"""
HEAD = 'suite = "2026.12.0"\n'


def entry(state, **names):
    lines = [f"[[{state}]]", 'reason = "it is so"', *(f"{k} = {v!r}" for k, v in names.items())]
    return "\n".join([*lines, ""])


def result(pytester):
    return json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))


@pytest.fixture
def able(judge, pytester):
    """Return a function that runs tests on a package that ships a list: ``able(list, ...)``."""

    def run(text, *options, **sources):
        package = pytester.path / "able"
        package.mkdir(exist_ok=True)
        source = "from fake_impl import *\ndef spec_capabilities():\n    return {'float64': True, "
        (package / "__init__.py").write_text(source + "'double_backward': True}\n")
        (package / NAME).write_text(text, encoding="utf-8")
        return judge(*options, implementation="able", **(sources or {"test_demo": TESTS}))

    return run


def test_an_expected_failure_is_no_failure_and_no_pass(able, pytester):
    run = able(HEAD + entry("xfail", clauses=["demo-01"]))
    assert run.ret == 0
    run.assert_outcomes(passed=2, xfailed=1)
    run.stdout.fnmatch_lines(["expectations: 1 of able/spec_expectations.toml"])
    run.stdout.fnmatch_lines(["clauses: 1 passed, 0 failed, 0 unsupported, 1 xfailed"])
    content = result(pytester)
    assert content["complete"] is True
    assert content["clauses"]["demo-01"]["status"] == "xfailed"
    assert content["clauses"]["demo-01"]["outcomes"] == {"passed": 1, "xfailed": 1}
    assert (
        content["clauses"]["demo-01"]["why"] == "test_demo.py::test_sum: it is so (two is too many)"
    )
    assert content["expectations"] == {
        "source": f"able/{NAME}",
        "suite": "2026.12.0",
        "entries": [{"state": "xfail", "clauses": "demo-01", "reason": "it is so"}],
        "stale": {},
    }


def test_without_the_list_it_fails(able, pytester):
    run = able(HEAD)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert result(pytester)["clauses"]["demo-01"]["status"] == "failed"


def test_a_clause_that_is_expected_to_fail_and_passes_fails(able, pytester):
    run = able(HEAD + entry("xfail", clauses=["demo-0*"]))
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.stdout.fnmatch_lines(["*expectations out of date*", "demo-02: passes, and is expected*"])
    content = result(pytester)
    assert content["clauses"]["demo-02"]["status"] == "failed"
    assert content["clauses"]["demo-02"]["why"] == "passes, and is expected to fail: it is so"
    assert list(content["expectations"]["stale"]) == ["demo-02"]


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["one process", "two"])
def test_of_named_tests_each_must_fail(able, pytester, processes):
    if processes:
        pytest.importorskip("xdist", reason="pytest-xdist runs tests in several processes")
    run = able(HEAD + entry("xfail", tests=["test_demo.py::test_sum*"]), *processes)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.assert_outcomes(passed=1, xfailed=1, failed=1)
    verdict = result(pytester)["clauses"]["demo-01"]
    assert verdict["status"] == "failed"
    assert verdict["why"].endswith("test_sum[1]: passes, and is expected to fail: it is so")


def test_the_right_test_may_be_named_alone(able, pytester):
    run = able(HEAD + entry("xfail", tests=["test_demo.py::test_sum[2]"]))
    assert run.ret == 0
    assert result(pytester)["clauses"]["demo-01"]["outcomes"] == {"passed": 1, "xfailed": 1}


def test_what_is_listed_as_unsupported_does_not_run(able, pytester):
    source = TESTS.replace("pass\n", "raise AssertionError('this must not run')\n")
    listed = entry("xfail", clauses=["demo-01"]) + entry("unsupported", clauses=["demo-02"])
    run = able(HEAD + listed, test_demo=source)
    assert run.ret == 0
    run.stdout.fnmatch_lines(["1 tests are listed as unsupported: not passed"])
    assert result(pytester)["clauses"]["demo-02"]["status"] == "unsupported"
    assert result(pytester)["clauses"]["demo-02"]["why"] == "test_demo.py::test_second: it is so"


def test_a_list_may_be_given_in_place_of_the_own_one(able, pytester):
    (pytester.path / "other.toml").write_text(HEAD + entry("xfail", clauses=["demo-01"]))
    run = able(HEAD, "--expectations", "other.toml")
    assert run.ret == 0
    assert result(pytester)["expectations"]["source"] == "other.toml"
    missing = able(HEAD, "--expectations", "no.toml")
    assert missing.ret == pytest.ExitCode.USAGE_ERROR
    missing.stderr.fnmatch_lines(["*--expectations: there is no file no.toml"])


def test_a_list_for_another_suite_is_said_to_be_so(able):
    run = able('suite = "2020.1.0"\n' + entry("xfail", clauses=["demo-01"]))
    run.stdout.fnmatch_lines(["expectations: 1 of *written for spec-tests 2020.1.0; this is *"])


def test_a_name_that_means_no_test_is_a_fault_of_a_full_run(able, pytester):
    listed = entry("xfail", clauses=["demo-01"]) + entry("unsupported", tests=["test_gone*"])
    run = able(HEAD + listed)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    assert result(pytester)["expectations"]["stale"] == {"test_gone*": "means no test of the suite"}
    part = able(HEAD + listed, "-k", "sum")
    assert part.ret == 0


def test_a_clause_that_there_is_not_is_told_with_the_nearest(able):
    run = able(HEAD + entry("xfail", clauses=["dem-01"]))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    run.stderr.fnmatch_lines(["*there is no clause 'dem-01', did you mean 'demo-01'?"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (entry("xfail", clauses=["demo-01"]), "suite must be the version"),
        (
            HEAD + "[[xfail]]\nclauses = ['demo-01']\n",
            "xfail 1: an expected failure needs a reason",
        ),
        (HEAD + entry("unsupported"), "unsupported 1: names no clauses, functions or tests"),
        (
            HEAD + entry("xfail", clause=["demo-01"]),
            "xfail 1: there is no key clause; the keys are",
        ),
        (HEAD + entry("fails", clauses=["demo-01"]), "there is no key fails"),
        (HEAD + entry("xfail", clauses="demo-01"), "clauses must be a list of names"),
        (HEAD + "[xfail]\nreason = 'so'\n", r"a group must begin with \[\[xfail\]\]"),
        ("suite = ", "list: "),
    ],
)
def test_a_list_that_says_nothing_is_refused(text, message):
    with pytest.raises(ValueError, match=f"^list: .*{message}|^{message}"):
        parse(text, "list")


def test_a_star_stands_for_any_text_and_all_else_for_itself():
    assert matches("ops.fft.*", "ops.fft.rfft")
    assert not matches("ops.fft.*", "ops_fft_rfft")
    assert matches("test_a.py::test_b[x]", "test_a.py::test_b[x]")
    assert not matches("demo-1", "demo-11")


def test_a_crash_is_no_expected_failure(able, pytester):
    pytest.importorskip("xdist", reason="pytest-xdist outlives a process that dies")
    source = TESTS.replace("pass\n", "__import__('os')._exit(3)\n")
    listed = HEAD + entry("xfail", clauses=["demo-0*"])
    run = able(listed, "-n", "1", test_demo=source)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    content = result(pytester)
    assert content["clauses"]["demo-02"]["status"] == "crashed"
    assert content["state"] == "incomplete"


def test_a_run_that_dies_leaves_no_earlier_result(able, pytester):
    assert able(HEAD + entry("xfail", clauses=["demo-01"])).ret == 0
    assert result(pytester)["state"] == "complete"
    able(HEAD, test_demo=TESTS.replace("pass\n", "__import__('os')._exit(3)\n"))
    content = result(pytester)
    assert (content["state"], content["why_incomplete"]) == ("incomplete", "the run did not end")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_an_interrupted_run_is_no_result(able, pytester):
    able(HEAD, "--collect-only")
    waiting = """
from pathlib import Path
import time
from spec_tests import clause

@clause("demo-01")
def test_sum(nn):
    pass

@clause("demo-02")
def test_second(nn):
    Path("started").touch()
    time.sleep(60)
"""
    (pytester.path / "test_demo.py").write_text(waiting, encoding="utf-8")
    options = ["--impl", "able", "--spec", "spec", "--result", "result.json"]
    run = subprocess.Popen([sys.executable, "-m", "pytest", *options], cwd=pytester.path)
    until = time.monotonic() + 60
    while not (pytester.path / "started").exists() and time.monotonic() < until:
        time.sleep(0.05)
    run.send_signal(signal.SIGINT)
    assert run.wait(60) == pytest.ExitCode.INTERRUPTED
    content = result(pytester)
    assert content["state"] == "incomplete"
    assert content["why_incomplete"].startswith("the run was interrupted")
    assert content["clauses"]["demo-01"]["status"] == "passed"
    assert content["clauses"]["demo-02"]["status"] == "incomplete"
