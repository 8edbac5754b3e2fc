"""Collection, categories and the result file."""

import json
import re

import pytest

BOTH = """
    import pytest
    from spec_tests import clause

    @clause("demo-01")
    def test_sum(nn):
        assert sum([1, 2]) == 3

    @clause("demo-02")
    def test_second(nn):
        raise AssertionError("this must not run")
"""


def result(pytester):
    return json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))


def output(run):
    return run.stdout.str() + run.stderr.str()


def test_a_run_reports_by_clause(judge, pytester):
    run = judge(test_demo=BOTH)
    assert run.ret == 0
    run.stdout.fnmatch_lines(["*implementation fake_impl 1.2.3, device CPU"])
    run.stdout.fnmatch_lines(["clauses: 1 passed, 0 failed, 1 unsupported"])
    content = result(pytester)
    assert content["spec_version"] == "2026.12"
    assert content["implementation"] == "fake_impl"
    assert content["versions"]["fake_impl"] == "1.2.3"
    assert {"python", "numpy", "pytest", "spec_tests"} <= set(content["versions"])
    assert (content["device"], content["emulated"]) == ("CPU", False)
    assert content["seed"] == 0
    assert content["complete"] is True
    assert {state: n for state, n in content["counts"].items() if n} == {
        "passed": 1,
        "unsupported": 1,
    }
    assert (content["format"], content["state"], content["why_incomplete"]) == (2, "complete", "")
    assert content["suite_version"] == content["versions"]["spec_tests"]
    environment = content["environment"]
    assert environment["versions"] == content["versions"]
    assert environment["command"][-2:] == ["-p", "no:cacheprovider"]
    assert environment["platform"]
    first = content["clauses"]["demo-01"]
    assert first["status"] == "passed"
    assert first["title"] == "Sums are sums"
    assert first["tests"] == ["test_demo.py::test_sum"]
    assert first["why"] == ""
    assert first["seconds"] >= 0


def test_a_missing_capability_is_unsupported_and_not_passed(judge, pytester):
    run = judge("-v", test_demo=BOTH)
    run.stdout.fnmatch_lines(["*test_second UNSUPPORTED*", "*1 passed, 1 unsupported*"])
    content = result(pytester)
    assert content["clauses"]["demo-02"]["status"] == "unsupported"
    assert "lacks double_backward" in content["clauses"]["demo-02"]["why"]
    assert content["skips"] == [
        {
            "test": "test_demo.py::test_second",
            "outcome": "unsupported",
            "reason": "fake_impl lacks double_backward",
        }
    ]


def test_one_test_may_need_more_than_its_clause(judge, pytester):
    run = judge(
        "-k",
        "jitted or sum",
        test_demo="""
        from spec_tests import clause

        @clause("demo-01")
        def test_sum(nn):
            pass

        @clause("demo-01", needs="jit")
        def test_jitted(nn):
            raise AssertionError
        """,
    )
    run.assert_outcomes(passed=1)
    assert result(pytester)["clauses"]["demo-01"]["status"] == "passed"
    assert "lacks jit" in result(pytester)["clauses"]["demo-01"]["why"]


def test_one_test_may_need_several_capabilities(judge, pytester):
    run = judge(
        "-k",
        "wide",
        test_demo="""
        from spec_tests import clause

        @clause("demo-01", needs=("float64", "jit"))
        def test_wide_and_jitted(nn):
            raise AssertionError

        @clause("demo-01", needs=("float64", "serialization"))
        def test_wide_and_saved(nn):
            pass
        """,
    )
    run.assert_outcomes(passed=1)
    assert [skip["reason"] for skip in result(pytester)["skips"]] == ["fake_impl lacks jit"]


def test_the_device_is_what_the_implementation_says(judge, pytester):
    (pytester.path / "fake_device.py").write_text(
        "from fake_impl import *\n"
        "from fake_impl import Tensor, spec_capabilities\n"
        "def spec_device():\n"
        "    return {'device': 'Imagined', 'emulated': True}\n",
        encoding="utf-8",
    )
    run = judge(implementation="fake_device", test_demo=BOTH)
    last = "clauses: 1 passed, 0 failed, 1 unsupported; device Imagined (emulated)"
    run.stdout.fnmatch_lines(["*implementation *device Imagined (emulated)", last])
    assert result(pytester)["device"] == "Imagined"
    assert result(pytester)["emulated"] is True
    judge("-q", implementation="fake_device", test_demo=BOTH).stdout.fnmatch_lines([last])


def test_a_test_without_a_clause(judge):
    run = judge(test_demo=BOTH + "\n    def test_stray(nn):\n        pass\n")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"test_demo.py::test_stray: a test needs a clause", output(run))


def test_an_unknown_clause(judge):
    run = judge(test_demo=BOTH.replace("demo-02", "demo-77"))
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"test_demo.py::test_second: there is no clause demo-77", output(run))


def test_a_bare_clause(judge):
    run = judge(test_demo=BOTH.replace('@clause("demo-02")', "@clause"))
    assert run.ret != 0
    assert "clause takes the numbers of clauses" in output(run)


HALF = BOTH.replace("demo-02", "demo-01").replace("raise AssertionError", "assert repr")


def test_a_clause_without_a_test_fails_a_full_run(judge, pytester):
    run = judge(test_demo=HALF)
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    run.assert_outcomes(passed=2)
    run.stdout.fnmatch_lines(["*clauses without a test*", "demo-02 Second things"])
    content = result(pytester)
    assert content["clauses"]["demo-02"]["status"] == "failed"
    assert content["clauses"]["demo-02"]["why"] == "no test asks for this clause"
    assert content["counts"]["failed"] == 1


@pytest.mark.parametrize(
    "selection",
    [
        ["-k", "sum or second"],
        ["test_demo.py::test_sum"],
        ["-m", "clause"],
        ["--deselect", "test_demo.py::test_sum"],
        ["test_demo.py"],
    ],
    ids=" ".join,
)
def test_a_part_is_not_a_full_run(judge, pytester, selection):
    other = BOTH if selection == ["test_demo.py"] else HALF
    run = judge(*selection, test_demo=HALF, test_other=other.replace("demo-02", "demo-01"))
    assert run.ret in (0, 1)
    assert "clauses without a test" not in output(run)
    run.stdout.fnmatch_lines(
        ["incomplete, so no result: not all tests of the suite were asked for"]
    )
    assert result(pytester)["state"] == "incomplete"
    assert result(pytester)["complete"] is False
    assert "demo-02" not in result(pytester)["clauses"]


@pytest.mark.parametrize(
    "lines",
    [
        ["@pytest.mark.skip", "{clause}", "def test_it(nn):", "    pass"],
        ["@pytest.mark.xfail", "{clause}", "def test_it(nn):", "    raise ValueError"],
        ["{clause}", "def test_it(nn):", "    pytest.skip()"],
        ["{clause}", "def test_it(nn):", "    pytest.xfail()"],
        [
            "@pytest.mark.xfail(raises=ValueError)",
            "{clause}",
            "def test_it(nn):",
            "    raise ValueError",
        ],
    ],
    ids=["skip mark", "xfail mark", "skip call", "xfail call", "xfail with raises"],
)
def test_a_skip_or_xfail_needs_a_reason(judge, lines):
    source = "\n".join(["import pytest", "from spec_tests import clause", *lines])
    run = judge("-k", "it", test_demo=source.format(clause='@clause("demo-01")'))
    assert run.ret != 0
    assert "needs a reason" in output(run)


def test_a_skipped_file_needs_a_reason(judge):
    run = judge(test_demo="import pytest\npytest.skip(allow_module_level=True)")
    assert run.ret != 0
    assert "test_demo.py: a skip needs a reason" in output(run)


@pytest.mark.parametrize(
    "statement",
    [
        "pytest.skip('the moon is full', allow_module_level=True)",
        "pytest.importorskip('no_such_module', reason='the moon is full')",
    ],
    ids=["skip", "importorskip"],
)
@pytest.mark.parametrize("implementation", ["fake_impl", None])
def test_a_file_skipped_with_a_reason(judge, statement, implementation):
    run = judge("-rs", implementation=implementation, test_demo=f"import pytest\n{statement}")
    assert run.ret == pytest.ExitCode.NO_TESTS_COLLECTED
    run.assert_outcomes(skipped=1)
    run.stdout.fnmatch_lines(["*the moon is full*"])


def test_a_skip_with_a_reason_is_counted_apart(judge, pytester):
    judge(
        "-k",
        "it",
        test_demo="""
        import pytest
        from spec_tests import clause

        @clause("demo-01")
        def test_it(nn):
            pytest.skip("the moon is full")
        """,
    )
    content = result(pytester)
    assert content["clauses"]["demo-01"]["status"] == "unsupported"
    assert content["skips"][0]["outcome"] == "skipped"
    assert content["skips"][0]["reason"] == "the moon is full"


def test_an_xfail_that_passes_fails(judge, pytester):
    run = judge(
        "-k",
        "it",
        test_demo="""
        import pytest
        from spec_tests import clause

        @pytest.mark.xfail(reason="was wrong once")
        @clause("demo-01")
        def test_it(nn):
            pass
        """,
    )
    run.assert_outcomes(failed=1)
    assert result(pytester)["clauses"]["demo-01"]["status"] == "failed"


@pytest.mark.parametrize(
    "statement", ["warnings.warn('odd')", "np.log(np.zeros(1))"], ids=["warning", "NumPy's"]
)
def test_warnings_are_errors(judge, statement):
    source = f"""
        import warnings
        import numpy as np
        from spec_tests import clause

        @clause("demo-01")
        def test_it(nn):
            {statement}
    """
    judge("-k", "it", test_demo=source).assert_outcomes(failed=1)


def test_unknown_marks_are_errors(judge):
    run = judge(
        test_demo=BOTH.replace('@clause("demo-01")', '@clause("demo-01") @pytest.mark.sloow')
    )
    assert run.ret != 0
    run = judge(test_demo=BOTH.replace("    @clause", "    @pytest.mark.sloow\n    @clause"))
    assert run.ret != 0
    assert "sloow" in output(run)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_module", "cannot import 'no_such_module'"),
        ("broken_impl", "cannot import 'broken_impl': ZeroDivisionError"),
        ("json", "has no spec_capabilities"),
    ],
)
def test_an_implementation_that_cannot_be_used(judge, pytester, name, reason):
    (pytester.path / "broken_impl.py").write_text("1 / 0\n", encoding="utf-8")
    run = judge(implementation=name, test_demo=BOTH)
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in output(run).splitlines() if line.strip()]
    assert len(lines) == 1
    assert reason in lines[0]


def test_each_test_starts_from_the_same_seed(judge):
    run = judge(
        "-k",
        "seed",
        test_demo="""
        import pytest
        from spec_tests import clause

        @pytest.mark.parametrize("number", [1, 2])
        @clause("demo-01")
        def test_seed(nn, number):
            assert nn.seeds == [0] * number
        """,
    )
    run.assert_outcomes(passed=2)


def test_the_dtype_fixture(judge, pytester):
    source = """
        import numpy as np
        from spec_tests import clause
        from spec_tests.support.assertions import agrees, tensor

        @clause("demo-01")
        def test_both(nn, dtype):
            agrees(nn, tensor(nn, np.ones(2, dtype)), np.ones(2), "elementwise")
    """
    judge("-k", "both", test_demo=source).assert_outcomes(passed=2)
    narrow = (pytester.path / "fake_impl.py").read_text(encoding="utf-8")
    narrow = narrow.replace('"float64": True', '"float64": False')
    (pytester.path / "narrow_impl.py").write_text(narrow, encoding="utf-8")
    judge("-k", "both", implementation="narrow_impl", test_demo=source).assert_outcomes(passed=1)
    wrong = source.replace("np.ones(2, dtype)", "np.ones(2, 'float32')")
    judge("-k", "both", test_demo=wrong).assert_outcomes(passed=1, failed=1)


def test_the_largest_ratios_are_written(judge, pytester):
    judge(
        "-k",
        "near",
        test_demo="""
        import numpy as np
        from spec_tests import clause
        from spec_tests.support.assertions import agrees

        @clause("demo-01")
        def test_near(nn):
            agrees(nn, np.ones(2) + 2.0**-51, np.ones(2), "elementwise")
            agrees(nn, np.ones(2), np.ones(2), "elementwise")
        """,
    )
    assert result(pytester)["largest_ratios"] == {"elementwise": {"float64": 0.25}}


@pytest.mark.parametrize(("options", "count"), [([], 21), (["--quick"], 11)])
def test_quick_runs_some_of_very_many_cases(judge, pytester, options, count):
    text = """
        import pytest
        from spec_tests import clause

        @pytest.mark.sampled(4)
        @pytest.mark.parametrize("case", range(9))
        @clause("demo-01")
        def test_many(nn, case):
            assert case in range(9)

        @pytest.mark.parametrize("case", range(6))
        @clause("demo-01")
        def test_some(nn, case):
            assert case in range(6)

        @clause("demo-02")
        def test_one(nn):
            assert nn

        @pytest.mark.parametrize("case", "ab")
        @clause("demo-01")
        def test_two(nn, dtype, case):
            assert case in "ab"

        @clause("demo-01")
        def test_alone(nn, dtype):
            assert dtype
        """
    judge(*options, test_demo=text).assert_outcomes(passed=count)
    content = result(pytester)
    assert content["quick"] is bool(options)
    assert content["complete"] is True


def test_quick_asks_for_different_cases_in_different_tests(judge, pytester):
    text = """
        import pytest
        from spec_tests import clause

        TABLE = pytest.mark.parametrize("case", range(12))

        def asked(name, case):
            with open("asked.txt", "a") as file:
                print(name, case, file=file)
    """
    for name in ("values", "slopes", "bounds", "shapes", "dtypes", "errors"):
        text += f"""
        @pytest.mark.sampled(3)
        @TABLE
        @clause("demo-01")
        def test_{name}(nn, case):
            asked("{name}", case)
        """
    judge("--quick", "-k", "test_demo", test_demo=text).assert_outcomes(passed=24)
    asked = (pytester.path / "asked.txt").read_text(encoding="utf-8").split()
    assert set(asked[1::2]) == {str(case) for case in range(12)}


def test_nothing_happens_without_an_implementation(pytester):
    pytester.makepyfile(
        test_own="""
        import warnings

        def test_own():
            warnings.warn("allowed elsewhere")
        """
    )
    pytester.runpytest_subprocess().assert_outcomes(passed=1, warnings=1)


def test_the_suite_asks_for_an_implementation(pytester):
    run = pytester.runpytest_subprocess("--pyargs", "spec_tests.suite.test_tensor")
    assert run.ret == pytest.ExitCode.USAGE_ERROR
    assert "--impl" in output(run)
