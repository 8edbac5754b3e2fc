"""One run in several processes of pytest-xdist: one result file and one summary."""

import json

import pytest

pytest.importorskip("xdist", reason="pytest-xdist runs tests in several processes")

MANY = """
    import numpy as np
    import pytest
    from spec_tests import clause
    from spec_tests.support.assertions import agrees

    @pytest.mark.parametrize("number", range(20))
    @clause("demo-01")
    def test_sum(nn, number):
        agrees(nn, nn.tensor(np.float64([1 + number * 1e-16])), np.float64([1]), "gradient")

    @pytest.mark.parametrize("number", range(3))
    @clause("demo-02")
    def test_second(nn, number):
        raise AssertionError("this must not run")
"""
FAILS = """
    from spec_tests import clause

    @clause("demo-01")
    def test_right(nn):
        pass

    @clause("demo-01")
    def test_wrong(nn):
        assert nn.tensor([1.0]).shape == (2,), "got one and should be two"

    @clause("demo-01")
    def test_broken(nn):
        nn.lacking()
"""
DIES = """
    import os
    from spec_tests import clause

    @clause("demo-01")
    def test_right(nn):
        pass

    @clause("demo-02")
    def test_dies(nn):
        os._exit(3)
"""


def result(pytester):
    content = json.loads((pytester.path / "result.json").read_text(encoding="utf-8"))
    # The command and the time differ.
    content.pop("environment")
    for verdict in content["clauses"].values():
        verdict.pop("seconds")
    return content


@pytest.mark.parametrize("dist", ["load", "worksteal", "loadfile"])
def test_the_result_is_that_of_one_process(judge, pytester, dist):
    alone = judge(test_demo=MANY)
    want = result(pytester)
    run = judge("-n", "2", "--dist", dist, test_demo=MANY)
    assert (alone.ret, run.ret) == (0, 0)
    assert result(pytester) == want
    assert want["complete"] is True
    assert want["largest_ratios"]["gradient"]["float64"] > 0
    assert len(want["clauses"]["demo-01"]["tests"]) == 20
    assert len(want["skips"]) == 3
    for line in ("clauses: 1 passed, 0 failed, 1 unsupported", "*20 passed, 3 unsupported*"):
        alone.stdout.fnmatch_lines([line])
        run.stdout.fnmatch_lines([line])


def test_the_largest_ratio_of_all_processes_counts(judge, pytester):
    apart = """
        import numpy as np
        from spec_tests import clause
        from spec_tests.support.assertions import agrees

        @clause("demo-01")
        def test_sum(nn):
            one = np.float64([1])
            agrees(nn, nn.tensor(one + {epsilons} * 2.0**-52), one, "gradient")
    """
    files = {f"test_{n}": apart.replace("{epsilons}", str(n)) for n in (1, 3, 2)}
    judge(**files)
    want = result(pytester)["largest_ratios"]
    judge("-n", "2", "--dist", "loadfile", **files)
    assert result(pytester)["largest_ratios"] == want
    assert want["gradient"]["float64"] > 0


def test_failures_are_explained(judge, pytester):
    alone = judge(test_demo=FAILS)
    want = result(pytester)
    run = judge("-n", "2", test_demo=FAILS)
    assert run.ret == alone.ret == pytest.ExitCode.TESTS_FAILED
    assert result(pytester) == want
    assert want["clauses"]["demo-01"]["status"] == "failed"
    run.stdout.fnmatch_lines(["*demo-01*Sums are sums*", "*to reproduce:*"])
    run.stdout.fnmatch_lines(["FAILED *test_wrong - *got one and should be two*"])
    run.stdout.fnmatch_lines(["clauses: 0 passed, 2 failed, 0 unsupported"])


def test_a_clause_without_a_test_is_a_fault_there_too(judge, pytester):
    run = judge("-n", "2", test_demo=FAILS)
    assert result(pytester)["clauses"]["demo-02"]["why"] == "no test asks for this clause"
    run.stdout.fnmatch_lines(["demo-02 Second things"])
    run = judge("-n", "2", "-k", "right", test_demo=FAILS)
    assert run.ret == 0
    content = result(pytester)
    assert content["complete"] is False
    assert list(content["clauses"]) == ["demo-01"]


def test_a_process_that_dies_leaves_no_result(judge, pytester):
    capable = "    return {'double_backward': True, 'float64': True}\n"
    pytester.makepyfile(able=f"from fake_impl import *\ndef spec_capabilities():\n{capable}")
    run = judge("-n", "2", test_demo=DIES, implementation="able")
    assert run.ret == pytest.ExitCode.TESTS_FAILED
    content = result(pytester)
    assert content["clauses"]["demo-01"]["status"] == "passed"
    assert content["clauses"]["demo-02"]["status"] == "crashed"
    assert content["state"] == "incomplete"
    assert content["why_incomplete"] == "a process died in test_demo.py::test_dies"
    assert "crashed" in content["clauses"]["demo-02"]["why"]


@pytest.mark.parametrize("source", ["def test_bare(nn):\n    pass", "import missing_module"])
def test_a_fault_of_the_collection_is_no_passed_run(judge, pytester, source):
    run = judge("-n", "2", test_demo=MANY, test_faulty=source)
    assert run.ret not in (0, pytest.ExitCode.NO_TESTS_COLLECTED)
    if (pytester.path / "result.json").exists():
        assert result(pytester)["complete"] is False
