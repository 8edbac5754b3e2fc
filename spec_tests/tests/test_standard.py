"""Results of the array API standard's public suite are held to the list of expected failures."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

from spec_tests.standard.__main__ import main
from spec_tests.standard.expectations import LIST, Expectation, expected_of, judge
from spec_tests.standard.outcomes import by_file, counts, is_complete, read, share
from spec_tests.standard.result import as_dict, findings, table
from spec_tests.standard.run import check_suite

REPORT = {
    "summary": {"passed": 2, "failed": 1, "error": 1, "skipped": 1, "total": 5, "collected": 5},
    "collectors": [{"nodeid": "array_api_tests", "outcome": "passed"}],
    "tests": [
        {"nodeid": "array_api_tests/test_a.py::test_add[x + y]", "outcome": "passed"},
        {"nodeid": "array_api_tests/test_a.py::test_abs", "outcome": "passed"},
        {
            "nodeid": "array_api_tests/test_b.py::test_det",
            "outcome": "failed",
            "setup": {"outcome": "passed"},
            "call": {"outcome": "failed", "crash": {"message": "\nout=1, but should be 2\nmore"}},
        },
        {
            "nodeid": "array_api_tests/test_b.py::test_inv",
            "outcome": "error",
            "setup": {"outcome": "failed", "longrepr": "no fixture"},
        },
        {
            "nodeid": "array_api_tests/test_b.py::test_fft",
            "outcome": "skipped",
            "setup": {"outcome": "skipped", "longrepr": "no fft"},
        },
    ],
}
DET, INV = Expectation("test_b.py::test_det", "known"), Expectation("test_b.py::test_inv", "known")


@pytest.fixture
def outcomes():
    return read(REPORT)


def test_outcomes_are_counted_by_file(outcomes):
    assert counts(outcomes) == {"passed": 2, "failed": 2, "skipped": 1}
    assert by_file(outcomes) == {
        "test_a.py": {"passed": 2, "failed": 0, "skipped": 0},
        "test_b.py": {"passed": 0, "failed": 2, "skipped": 1},
    }
    assert share(counts(outcomes)) == 0.5
    assert outcomes["test_b.py::test_det"].why == "out=1, but should be 2"
    assert outcomes["test_b.py::test_inv"].why == "no fixture"


def test_a_file_that_cannot_be_imported_is_a_failure():
    broken = {
        "nodeid": "array_api_tests/test_c.py",
        "outcome": "failed",
        "longrepr": "a\nE  KeyError",
    }
    report = {**REPORT, "collectors": [broken]}
    assert read(report)["test_c.py"].status == "failed"
    assert read(report)["test_c.py"].why == "KeyError"
    assert is_complete(REPORT)
    assert not is_complete(report)


def test_a_run_of_some_tests_is_not_complete():
    for changes in ({"deselected": 3}, {"total": 4}):
        assert not is_complete({**REPORT, "summary": {**REPORT["summary"], **changes}})


def test_what_is_listed_may_fail(outcomes):
    verdict = judge(outcomes, [DET, INV], complete=True)
    assert verdict.kept
    assert verdict.expected == {DET.pattern: "known", INV.pattern: "known"}


def test_an_unexpected_failure_is_told(outcomes):
    verdict = judge(outcomes, [INV], complete=True)
    assert not verdict.kept
    assert verdict.unexpected == {"test_b.py::test_det": "out=1, but should be 2"}


def test_a_listed_test_that_passes_is_told(outcomes):
    listed = [DET, INV, Expectation("test_a.py::*", "known")]
    verdict = judge(outcomes, listed, complete=True)
    assert not verdict.kept
    assert sorted(verdict.stale) == ["test_a.py::test_abs", "test_a.py::test_add[x + y]"]


def test_one_that_fails_sometimes_may_pass(outcomes):
    listed = [DET, INV, Expectation("test_a.py::test_abs", "rare examples", sometimes=True)]
    assert judge(outcomes, listed, complete=True).kept


def test_a_pattern_without_a_test_is_told_after_a_complete_run(outcomes):
    listed = [DET, INV, Expectation("test_b.py::test_gone", "known")]
    assert judge(outcomes, listed, complete=False).kept
    assert judge(outcomes, listed, complete=True).stale == {
        "test_b.py::test_gone": "means no test of the suite"
    }


def test_only_the_star_is_special_in_a_pattern():
    assert Expectation("test_a.py::test_add[* + y]", "known").matches("test_a.py::test_add[x + y]")
    assert not Expectation("test_a.py::test_add[xy]", "known").matches("test_a.py::test_addx")
    assert not Expectation("test_a.py::test_ad", "known").matches("test_a.py::test_add")


@pytest.mark.parametrize(
    ("group", "says"),
    [
        ('tests = ["a"]', "needs a reason"),
        ('reason = " "\ntests = ["a"]', "needs a reason"),
        ('reason = "known"', "names no tests"),
        ('reason = "known"\ntests = ["a"]\nwhy = "?"', "no key why"),
    ],
)
def test_a_group_says_all_that_it_must(group, says, tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(f"[[group]]\n{group}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=f"list.toml: group 1: .*{says}"):
        expected_of("impl_numpy", path)


def test_a_group_may_be_of_some_implementations(tmp_path):
    path = tmp_path / "list.toml"
    path.write_text(
        '[[group]]\nreason = "known"\nimplementations = ["impl_a"]\ntests = ["x", "y"]\n'
        '[[group]]\nreason = "by nature"\ntests = ["z"]\nsometimes = true\n',
        encoding="utf-8",
    )
    assert [found.pattern for found in expected_of("impl_a", path)] == ["x", "y", "z"]
    assert expected_of("impl_b", path) == [Expectation("z", "by nature", sometimes=True)]


def test_the_kept_list_can_be_read():
    for name in ("impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp"):
        patterns = [expectation.pattern for expectation in expected_of(name, LIST)]
        assert patterns
        assert len(set(patterns)) == len(patterns)
        assert all(pattern.startswith("test_") for pattern in patterns)


def test_the_table_shows_every_file_and_implementation(outcomes):
    about = {"implementation": "impl_a", "emulated": True, "complete": True}
    one = as_dict(outcomes, judge(outcomes, [INV], complete=True), about)
    some = {name: outcome for name, outcome in outcomes.items() if "test_a" in name}
    other = as_dict(
        some, judge(some, [], complete=False), {"implementation": "impl_b", "complete": False}
    )
    lines = table([one, other]).splitlines()
    assert ["test_b.py", "0/2/1", "-"] in [line.split() for line in lines]
    assert ["all", "2/2/1", "2/0/0"] in [line.split() for line in lines]
    assert any(line.endswith("50.0%  100.0%") for line in lines)
    assert "emulation" in lines[-2]
    assert lines[-1] == "impl_b: part of the suite"
    assert findings(one) == ["impl_a: UNEXPECTED test_b.py::test_det: out=1, but should be 2"]
    assert findings(other) == []


def test_results_that_differ_from_the_list_end_with_1(tmp_path, outcomes, capsys):
    for name, listed in (("right", [DET, INV]), ("wrong", [DET])):
        content = as_dict(outcomes, judge(outcomes, listed, True), {"implementation": name})
        (tmp_path / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
    assert main(["table", "--out", str(tmp_path), "right"]) == 0
    assert "UNEXPECTED" not in capsys.readouterr().out
    assert main(["table", "--out", str(tmp_path), "right", "wrong"]) == 1
    assert "wrong: UNEXPECTED test_b.py::test_inv: no fixture" in capsys.readouterr().out


def test_a_folder_without_the_suite_says_how_to_get_it(tmp_path, capsys):
    with pytest.raises(FileNotFoundError, match="git clone --recurse-submodules https"):
        check_suite(tmp_path)
    (tmp_path / "array_api_tests").mkdir()
    (tmp_path / "conftest.py").touch()
    with pytest.raises(FileNotFoundError, match=r"has no array-api/spec/2025\.12;"):
        check_suite(tmp_path)
    run = ["run", "--suite", str(tmp_path), "--impl", "impl_a", "--out", str(tmp_path)]
    assert main(run) == 2
    assert "git clone" in capsys.readouterr().err


# A suite of two tests that stands for the public one: the same options, variables and profile.
CONFTEST = """
import os
from hypothesis import settings

def pytest_addoption(parser):
    parser.addoption("--max-examples", type=int)
    parser.addoption("--derandomize", action="store_true")
    parser.addoption("--disable-deadline", action="store_true")

def pytest_configure(config):
    if os.environ["ARRAY_API_TESTS_MODULE"] != "stand_in.ops":
        raise ImportError("no such namespace")
    settings.register_profile("array-api-tests", max_examples=config.getoption("--max-examples"))
    settings.load_profile("array-api-tests")
"""
STAND_IN = """
__version__ = "1.0"

def spec_capabilities():
    return {"complex": True, "wide_unsigned": False}
"""
SUITE = """
import os

from hypothesis import given, settings, strategies as st

count = 0

def test_right():
    assert settings().max_examples == 20
    assert os.environ["ARRAY_API_TESTS_SKIP_DTYPES"] == "uint16,uint32,uint64"

@given(st.integers())
def test_wrong(number):
    assert number < 100, "too many"
"""


@pytest.fixture
def suite(tmp_path, monkeypatch):
    pytest.importorskip("hypothesis", reason="the public suite is made with hypothesis")
    pytest.importorskip("pytest_jsonreport", reason="the public suite reports by it")
    (tmp_path / "suite" / "array_api_tests").mkdir(parents=True)
    (tmp_path / "suite" / "array-api" / "spec" / "2025.12").mkdir(parents=True)
    (tmp_path / "suite" / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    tests = tmp_path / "suite" / "array_api_tests" / "test_a.py"
    tests.write_text(textwrap.dedent(SUITE), encoding="utf-8")
    (tmp_path / "stand_in.py").write_text(STAND_IN, encoding="utf-8")
    others = os.environ.get("PYTHONPATH", "")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(tmp_path), others])))

    def run(*options, listed=""):
        (tmp_path / "list.toml").write_text(listed, encoding="utf-8")
        command = [sys.executable, "-m", "spec_tests.standard", "run"]
        places = [
            "--suite",
            tmp_path / "suite",
            "--out",
            tmp_path,
            "--list",
            tmp_path / "list.toml",
        ]
        made = subprocess.run(
            [*command, *map(str, places), *options], capture_output=True, text=True, check=False
        )
        path = tmp_path / "stand_in.json"
        return made, json.loads(path.read_text(encoding="utf-8")) if path.exists() else None

    return run


def test_a_suite_is_run_and_judged(suite, tmp_path):
    made, result = suite("--impl", "stand_in")
    assert made.returncode == 1, made.stdout + made.stderr
    assert result["counts"] == {"passed": 1, "failed": 1, "skipped": 0}
    assert result["complete"] is True
    assert result["versions"]["stand_in"] == "1.0"
    assert list(result["unexpected"]) == ["test_a.py::test_wrong"]
    assert "too many" in result["unexpected"]["test_a.py::test_wrong"]
    assert "UNEXPECTED test_a.py::test_wrong" in made.stdout
    assert "stand_in: not asked for uint16, uint32, uint64" in made.stdout
    left = {path.name for path in (tmp_path / "suite").rglob("*")}
    assert left == {"array_api_tests", "array-api", "spec", "2025.12", "conftest.py", "test_a.py"}


def test_a_failure_that_is_listed_ends_with_0(suite):
    made, result = suite(
        "--impl",
        "stand_in",
        listed='[[group]]\nreason = "known"\ntests = ["test_a.py::test_wrong"]',
    )
    assert made.returncode == 0, made.stdout + made.stderr
    assert result["expected"] == {"test_a.py::test_wrong": "known"}


def test_a_part_can_be_run(suite):
    made, result = suite("--impl", "stand_in", "-k", "right")
    assert made.returncode == 0, made.stdout + made.stderr
    assert result["complete"] is False


def test_a_suite_that_cannot_begin_is_a_failure(suite, tmp_path):
    (tmp_path / "suite" / "conftest.py").write_text("import no_such_module\n", encoding="utf-8")
    made, result = suite("--impl", "stand_in")
    assert made.returncode == 1, made.stdout + made.stderr
    assert result["share_passed"] == 0
    assert list(result["unexpected"]) == ["conftest.py"]
    assert "no_such_module" in result["unexpected"]["conftest.py"]
