"""`check` rejects wrong Functions, naming the property, and accepts right ones that are awkward."""

import subprocess
import sys
from types import ModuleType

import pytest
from checked import right, wrong

from spec_tests.check import WrongFunctionError, check, examine

nn = pytest.importorskip("impl_numpy", reason="the Functions are tried on impl_numpy")


def test_there_are_enough_of_both():
    assert len(wrong.WRONG) >= 40
    assert len(right.RIGHT) >= 40
    # Every property that can fail on NumPy's arrays is the one by which something is rejected.
    named = {prop for _, _, prop, _ in wrong.WRONG.values()}
    assert named >= set(
        "runs first zero adjoint second grad_output layouts grad_layouts mutation subsets outputs "
        "interleaved repeats threads leaks dtypes empty blocks nonfinite batch".split()
    )


@pytest.mark.parametrize("name", wrong.WRONG)
def test_a_wrong_function_is_rejected_by_its_property(name):
    function, inputs, prop, options = wrong.WRONG[name]
    report = examine(function, inputs, impl=["impl_numpy"], **options)
    assert report.status == 1
    assert prop in report.failed
    verdict = report.verdicts["impl_numpy"][prop]
    assert verdict.says
    done = subprocess.run(
        [sys.executable, "-c", verdict.script], capture_output=True, text=True, check=False
    )
    assert "spec_tests" not in verdict.script.replace("spec_tests/tests", "")
    assert done.returncode == 1, verdict.script + done.stdout + done.stderr
    # It fails by what it shows, and not because it is no script.
    assert not any(
        error in done.stderr for error in ("SyntaxError", "NameError", "ImportError", "KeyError")
    ), verdict.script + done.stderr


@pytest.mark.parametrize("name", right.RIGHT)
def test_a_right_function_is_accepted(name):
    function, inputs, options = right.RIGHT[name]
    report = check(function, inputs, impl=["impl_numpy"], **options)
    assert report.status == 0
    assert report.verdicts["impl_numpy"]["first"].state == "passed"


def test_the_smallest_sizes_that_fail_are_named():
    with pytest.raises(WrongFunctionError, match=r"first on impl_numpy at N=1: backward is wrong"):
        check(wrong.WRONG["CubeForgetsAFactor"][0], "float64(N,3)", impl=["impl_numpy"])


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("CubeForgetsAFactor", "backward is wrong"),
        ("DropoutWithANewMask", "forward disagrees with itself"),
        ("ConstantOfFloat64", "forward is wrong"),
        ("ReadsMemoryInItsOrder", "forward is wrong"),
        ("ReadsTheGradientInItsOrder", "backward is wrong"),
    ],
)
def test_it_says_which_side_is_wrong(name, side):
    function, inputs, prop, options = wrong.WRONG[name]
    report = examine(function, inputs, impl=["impl_numpy"], only=prop, **options)
    assert report.verdicts["impl_numpy"][prop].says.startswith(side)


def test_what_refuses_in_words_is_not_wrong():
    class Rounds:
        @staticmethod
        def forward(ctx, x):
            if x.shape[0] == 0:
                msg = "wants a row at least"
                raise ValueError(msg)
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    report = check(Rounds, "float64(N)", impl=["impl_numpy"])
    assert report.verdicts["impl_numpy"]["empty"].state == "refused"


def test_batch_is_asked_where_examples_are_apart_or_where_it_is_said():
    function, inputs, _, _ = wrong.WRONG["CentersTheBatch"]
    alone = examine(function, inputs, impl=["impl_numpy"], only="batch")
    assert alone.verdicts["impl_numpy"]["batch"].state == "not asked"
    held = examine(function, inputs, impl=["impl_numpy"], only="batch", batch="N")
    assert held.verdicts["impl_numpy"]["batch"].state == "failed"


@pytest.mark.parametrize(("off", "state"), [(1e-15, "passed"), (1e-9, "failed")])
def test_backends_that_give_other_numbers(off, state, monkeypatch):
    class Scale:
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g

    class Other(Scale):
        @staticmethod
        def forward(ctx, x):
            return (2 + off) * x

    # Another backend that is impl_numpy, but for what it makes of the class.
    other = ModuleType("impl_other")
    vars(other).update({k: v for k, v in vars(nn).items() if k != "__name__"})
    other.as_function = lambda _: nn.as_function(Other)
    monkeypatch.setitem(sys.modules, "impl_other", other)
    both = ["impl_numpy", "impl_other"]
    report = examine(Scale, "float64(N)", impl=both, only="runs,agreement")
    verdict = report.verdicts["impl_other"]["agreement"]
    assert verdict.state == state
    assert "ULP from impl_numpy" in verdict.says
