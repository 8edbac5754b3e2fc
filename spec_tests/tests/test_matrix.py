"""The table of functions and clauses by implementation, and the properties that it is made of."""

import json
import subprocess
import sys

import pytest

from spec_tests.judge import properties, tables
from spec_tests.matrix.__main__ import main
from spec_tests.matrix.merge import merge
from spec_tests.matrix.text import as_text

COLUMNS = "| function | formula | inputs | class | gradient | source | clauses |\n" + "| --- " * 7
ROWS = """
| `sin(x, /)` | `sin(x)` | normal | elementwise | yes | a page | - |
| `sign(x, /)` | `sign(x)` | normal | exact | zero | a page | - |
| `less(x1, x2, /)` | `x1 < x2` | `normal(3), normal(3)` | exact | none | a page | - |
"""
SUITE = """
    import pytest
    from spec_tests import clause
    from spec_tests.judge.clauses import asks, rows

    FEW = ("raw arrays", "zero sizes", "bad calls")

    @clause("demo-01", "demo-02")
    @rows("ops", asks=("values", *FEW))
    def test_values(nn, dtype, row):
        assert row.name != "sin" or dtype != "float64", "a wrong sine"

    @clause("demo-01")
    @asks("gradient", "ops.sin", "ops.sign")
    def test_gradients(nn):
        assert nn

    {second}
"""
SECOND = """
    @clause("demo-01", needs="double_backward")
    @asks("second derivative", "ops.sin")
    def test_second(nn):
        raise AssertionError("this must not run")
"""
# The chapter of the fixture `judge` leaves `demo-02` to those that can differentiate twice.
WHOLE = "# demo\n\n### demo-01 One\nOne.\n\n### demo-02 Two\nTwo.\n"


@pytest.fixture
def run(judge, pytester):
    """Return a function that runs a suite on three rows, and gives the result file."""

    def ran(second=SECOND, *options):
        spec = pytester.path / "spec"
        family = "## unary: rows\n\n"
        (spec / "ops.md").write_text(f"# ops\n\n{family}{COLUMNS}|{ROWS}", encoding="utf-8")
        (spec / "demo.md").write_text(WHOLE, encoding="utf-8")
        done = judge(*options, test_demo=SUITE.format(second=second))
        return done, json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))

    return ran


def states(result, key):
    return {name: said["state"] for name, said in result["functions"][key]["properties"].items()}


def test_what_became_of_each_property(run):
    _, result = run()
    assert states(result, "ops.sin") == {
        "values float32": "passed",
        "values float64": "failed",
        "gradient": "passed",
        "second derivative": "unsupported",
        "raw arrays": "failed",
        "zero sizes": "failed",
        "bad calls": "failed",
    }
    said = result["functions"]["ops.sin"]["properties"]
    assert "a wrong sine" in said["values float64"]["why"]
    assert "lacks double_backward" in said["second derivative"]["why"]
    assert states(result, "ops.sign")["second derivative"] == "not applicable"
    assert states(result, "ops.less")["gradient"] == "not applicable"
    said = result["functions"]["ops.less"]["properties"]["gradient"]
    assert said["why"] == "not differentiable: the row says none"


def test_a_property_that_no_test_asks_for_is_a_fault(run):
    done, result = run(second="")
    assert done.ret == pytest.ExitCode.TESTS_FAILED
    done.stdout.fnmatch_lines(["*properties of functions without a test*", "ops.sin: second*"])
    assert result["complete"] is True
    assert states(result, "ops.sin")["second derivative"] == "blank"


def test_a_part_leaves_nothing_blank_and_is_incomplete(run):
    _, result = run(SECOND, "-k", "gradients")
    assert result["complete"] is False
    assert set(states(result, "ops.sin").values()) == {"passed", "incomplete"}


def test_two_processes_find_the_same(run, pytester):
    done, alone = run()
    (pytester.path / "result.json").unlink()
    apart, result = run(SECOND, "-n", "2")
    assert (apart.ret, result["functions"]) == (done.ret, alone["functions"])


def test_quick_keeps_the_values_in_both_dtypes(run):
    _, result = run(SECOND, "--quick")
    assert result["quick"] is True
    assert states(result, "ops.sign")["values float32"] == "passed"
    assert states(result, "ops.sign")["values float64"] == "passed"


def test_an_unknown_property_and_an_unknown_function(judge):
    source = """
        from spec_tests import clause
        from spec_tests.judge.clauses import asks

        @asks("{}", "ops.nothing")
        @clause("demo-01")
        def test_it(nn):
            assert nn
        """
    done = judge(test_demo=source.format("the weather"))
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*there is no function ops.nothing*"])
    done.stderr.fnmatch_lines(["*there is no property 'the weather'*"])


@pytest.mark.parametrize("options", [(), ("-n", "2")], ids=["alone", "two processes"])
def test_a_process_that_dies(judge, pytester, options):
    """Alone it leaves a file that says incomplete, in place of an older one."""
    (pytester.path / "result.json").write_text('{"complete": true}', encoding="utf-8")
    judge(
        *options,
        test_demo="""
        import os
        from spec_tests import clause

        @clause("demo-01")
        def test_dies(nn):
            os._exit(3)
        """,
    )
    result = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    if options:
        assert result["clauses"]["demo-01"]["status"] == "crashed"
    else:
        assert result["complete"] is False
        assert result["clauses"] == {}


def test_an_expected_failure_is_not_passed(judge, pytester):
    judge(
        test_demo="""
        import pytest
        from spec_tests import clause

        @pytest.mark.xfail(reason="the moon is full")
        @clause("demo-01", "demo-02")
        def test_it(nn):
            raise ValueError("so it is")
        """
    )
    result = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    assert result["clauses"]["demo-01"]["status"] == "unsupported"  # The capability decides first.


def test_every_row_has_every_property_or_says_why_not(pytester):
    """Collect the suite: what no test asks for is what the rows excuse."""
    pytest.importorskip("impl_numpy", reason="the suite is collected on impl_numpy")
    script = """
        import pytest
        from spec_tests.judge import plugin

        class Finished:
            def pytest_collection_finish(self, session):
                result = session.config.stash[plugin._RUN].result
                result.finish(True)
                print("blank:", result.blank)

        pytest.main(["--pyargs", "spec_tests.suite", "--impl", "impl_numpy", "--collect-only",
                     "-q", *OPTIONS, "-p", "no:cacheprovider"], plugins=[Finished()])
        """
    for options in ([], ["--quick"]):
        path = pytester.makepyfile(collect=script.replace("OPTIONS", repr(options)))
        done = pytester.run(sys.executable, path)
        done.stdout.fnmatch_lines(["blank: []"])


def test_the_excuses_are_few():
    """A row is excused by what it says of itself, and each reason by few kinds of rows."""
    rows = [row for row in tables.read().values() if row.chapter in properties.CHAPTERS]
    excused = {
        (row.key, name): properties.excuse(row, name)
        for row in rows
        for name in properties.PROPERTIES
        if properties.excuse(row, name)
    }
    for (key, name), why in excused.items():
        row = tables.read()[key]
        alias = row.chapter == "linalg" and row.family == "same"
        assert name not in ("values float32", "bad calls") or alias, f"{key}, {name}: {why}"
    differentiable = [row for row in rows if row.gradient == "yes" and row.family != "same"]
    assert len(differentiable) > 100
    for row in differentiable:
        for name in ("values float64", "gradient", "second derivative", "raw arrays", "zero sizes"):
            assert (row.key, name) not in excused


def result(name, complete=True, status="passed", why="", version="2026.12", **states):
    """Return the content of a result file with one function and one clause."""
    said = {what.replace("_", " "): {"state": s, "why": w} for what, (s, w) in states.items()}
    return {
        "spec_version": version,
        "implementation": name,
        "versions": {},
        "device": "CPU",
        "emulated": name == "impl_cupy",
        "quick": False,
        "complete": complete,
        "clauses": {"ops-01": {"status": status, "title": "What there is", "why": why}},
        "functions": {"ops.sin": {"status": status, "why": why, "properties": said}},
    }


RIGHT = {"gradient": ("passed", ""), "raw_arrays": ("not applicable", "takes no arrays")}


def write(folder, *results):
    names = []
    for number, content in enumerate(results):
        names.append(str(folder / f"{number}.json"))
        (folder / f"{number}.json").write_text(json.dumps(content), encoding="utf-8")
    return names


def test_the_table(tmp_path, capsys):
    files = write(tmp_path, result("impl_one", **RIGHT), result("impl_cupy", **RIGHT))
    assert main(files) == 0
    told = capsys.readouterr().out
    assert "ops.sin" in told
    assert "1/1" in told
    assert "ops-01 What there is" in told
    assert "1 takes no arrays" in told
    assert "impl_cupy (emulated)" in told
    assert "all functions, impl_one: 1 passed, 0 failed, 0 unsupported" in told
    assert main([*files, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["functions"]["ops.sin"]["impl_one"]["passed"] == 1
    assert content["totals"]["clauses"]["impl_cupy"]["passed"] == 1


@pytest.mark.parametrize("state", ["failed", "crashed", "blank"])
def test_a_fault_is_named_and_the_exit_status_is_1(tmp_path, capsys, state):
    wrong = {**RIGHT, "gradient": (state, "it is wrong")}
    status = "passed" if state == "blank" else state
    files = write(tmp_path, result("impl_one", **RIGHT), result("impl_two", status=status, **wrong))
    assert main(files) == 1
    told = capsys.readouterr().out
    assert f"{state}:" in told
    assert "ops.sin, gradient: impl_two: it is wrong" in told
    assert "0/1" in told


@pytest.mark.parametrize("state", ["unsupported", "xfailed"])
def test_what_is_left_out_is_told_with_its_reason(tmp_path, capsys, state):
    left = {"gradient": (state, "the moon is full")}
    files = write(tmp_path, result("impl_one", status=state, why="the moon is full", **left))
    assert main(files) == 0
    told = capsys.readouterr().out
    assert "ops.sin, gradient: impl_one: the moon is full" in told
    assert f"1 {state}" in told


def test_unsupported_without_a_reason_is_a_fault(tmp_path, capsys):
    assert main(write(tmp_path, result("impl_one", status="unsupported"))) == 1
    assert "unsupported without a reason" in capsys.readouterr().out


def test_an_incomplete_run_is_no_result(tmp_path, capsys):
    cut = result("impl_two", complete=False, **RIGHT)
    assert main(write(tmp_path, result("impl_one", **RIGHT), cut)) == 1
    told = capsys.readouterr().out
    assert "all functions, impl_two (incomplete): 0 passed" in told
    assert "1 incomplete" in told
    line = next(line for line in told.splitlines() if line.startswith("ops.sin"))
    assert line.split() == ["ops.sin", "1/1", "incomplete"]


def test_what_an_incomplete_run_found_wrong_is_told():
    wrong = {**RIGHT, "gradient": ("failed", "it is wrong")}
    matrix = merge([result("impl_one", complete=False, status="failed", **wrong)])
    assert "ops.sin, gradient: impl_one: it is wrong" in as_text(matrix)
    assert any("it is wrong" in line for line in matrix.faults())


def test_files_that_cannot_be_used(tmp_path, capsys):
    assert main([str(tmp_path / "nothing.json")]) == 2
    (path,) = write(tmp_path, {"counts": {}})
    assert main([path]) == 2
    assert main(write(tmp_path, result("impl_one"), result("impl_one"))) == 2
    assert main(write(tmp_path, result("impl_one"), result("impl_two", version="2025.1"))) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 4
    for line, word in zip(told, ("nothing.json", "lacks", "two of", "2025.1"), strict=True):
        assert word in line


def test_the_command(tmp_path):
    script = "import sys; from spec_tests.cli import main; sys.exit(main())"
    files = write(tmp_path, result("impl_one", **RIGHT))
    command = [sys.executable, "-c", script, "matrix", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "all clauses, impl_one: 1 passed" in done.stdout
