"""``spec-tests check``: targets, inputs, exit status, JSON, and what it says where it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
from checked import right_formulas, wrong_gradients

from spec_tests.check import UncheckedError, check, examine
from spec_tests.check.inputs import InputsError, given, parse
from spec_tests.check.ladder import order, slopes
from spec_tests.check.target import TargetError, load
from spec_tests.cli import main

nn = pytest.importorskip("impl_numpy", reason="the command is tried on impl_numpy")

HERE = Path(__file__).parent
WRONG, RIGHT = HERE / "checked" / "wrong_gradients.py", HERE / "checked" / "right_formulas.py"
ARTICLE = HERE.parents[1] / "examples" / "article"
FEW = ("--impl", "impl_numpy", "--only", "runs,first,zero")


def test_exit_status_0_where_it_is_right(capsys):
    assert main(["check", f"{RIGHT}:Relu", "--inputs", "float64(N,3)", *FEW]) == 0
    out = capsys.readouterr().out
    assert out.startswith("Relu on float64(N,3) is right")
    assert "impl_numpy" in out


def test_exit_status_1_where_it_is_wrong(capsys):
    assert main(["check", f"{WRONG}:CubeForgetsAFactor", "--inputs", "float64(N)", *FEW]) == 1
    out = capsys.readouterr().out
    assert out.startswith("CubeForgetsAFactor on float64(N) is wrong: first")
    assert "backward is wrong: d output 0[0] / d input 0[0] is" in out
    assert "to reproduce:" in out
    assert "order 2.0 with the other" in out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((f"{WRONG}:CubeForgetsFactor",), "did you mean CubeForgetsAFactor?"),
        ((f"{HERE / 'checked' / 'wrong_gradient.py'}:Cube",), "did you mean wrong_gradients.py?"),
        (("numpy",), "must be file.py:Class or package.module:Class"),
        (("no.such.module:F",), "cannot import no.such.module"),
        ((f"{RIGHT}:Relu", "--inputs", "flaot64(N)"), "did you mean float64?"),
        ((f"{RIGHT}:Relu", "--inputs", "int64(N)"), "none of int64(N) is floating"),
        ((f"{RIGHT}:Relu", "--inputs", "float64(N)", "--only", "frist"), "did you mean first?"),
        (
            (f"{RIGHT}:Relu", "--inputs", "float64(N)", "--impl", "impl_nump"),
            "did you mean impl_numpy?",
        ),
        (
            (f"{RIGHT}:Relu", "--inputs", "float64(N)", "--batch", "B"),
            "have no size B; they have N",
        ),
    ],
)
def test_exit_status_2_with_the_nearest_name(arguments, says, capsys):
    assert main(["check", *arguments]) == 2
    assert says in capsys.readouterr().err


def test_exit_status_2_where_forward_does_not_take_the_inputs(capsys):
    target = f"{RIGHT}:LinearWithBias"
    assert main(["check", target, "--inputs", "float64(3), float64(4,5), float64(2)", *FEW]) == 2
    out = capsys.readouterr().out
    assert "could not be checked" in out
    assert "impl_numpy: not checked: forward(float64(3,), float64(4, 5), float64(2,)) raises" in out
    with pytest.raises(UncheckedError, match="could not be checked"):
        check(right_formulas.LinearWithBias, "float64(3), float64(4,5), float64(2)")


def test_json_has_the_verdicts_and_scripts(tmp_path, capsys):
    target, file = f"{WRONG}:GradientOfZeros", tmp_path / "report.json"
    assert main(["check", target, "--inputs", "float64(N)", *FEW, "--json", str(file)]) == 1
    data = json.loads(file.read_text(encoding="utf-8"))
    assert (data["status"], data["failed"]) == (1, ["first", "zero"])
    verdict = data["backends"]["impl_numpy"]["zero"]
    assert (verdict["state"], verdict["sizes"]) == ("failed", "N=1")
    assert "assert" in verdict["script"]
    capsys.readouterr()
    assert main(["check", target, "--inputs", "float64(N)", *FEW, "--json", "-"]) == 1
    assert json.loads(capsys.readouterr().out) == data


def test_help_has_examples_and_every_property(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["check", "--help"])
    out = capsys.readouterr().out
    assert "spec-tests check cube.py:Cube --inputs" in out
    assert "exit status: 0 right, 1 wrong, 2 could not be checked" in out
    for name in "first zero adjoint second linked poisoned leaks agreement".split():
        assert f"\n  {name} " in out


def test_inputs_are_read():
    words = (
        "float64(N,3), const float32(N) in [0.5, 2], int64(N) in [0, 2], None, 'a,b', axis=(0, 1)"
    )
    signature = parse(words)
    assert str(signature) == words
    assert signature.symbols == ("N",)
    assert signature.wanted == (True, False, False, False, False)
    x, scale, places, none, text = signature.at({"N": 4})
    assert (x.shape, x.dtype) == ((4, 3), np.float64)
    assert (scale.dtype, scale.min() >= 0.5, scale.max() <= 2) == (np.float32, True, True)
    assert set(places.tolist()) <= {0, 1, 2}
    assert (none, text, signature.config) == (None, "a,b", {"axis": (0, 1)})
    assert len(np.unique(x)) == x.size


@pytest.mark.parametrize("words", ["float64(N", "float64(-1)", "float64(N) in [2, 1]", "3", "f(x)"])
def test_inputs_that_cannot_be_read(words):
    with pytest.raises(InputsError, match="inputs: "):
        parse(words)


def test_arrays_may_be_given_themselves():
    x = np.array([0.5, -1.2])
    signature = given([x, 3])
    assert np.array_equal(signature.at({})[0], x)
    report = check(right_formulas.Relu, [x.reshape(1, 2)], impl=["impl_numpy"], only="first")
    assert report.status == 0


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (right_formulas.Relu, 1),
        (right_formulas.LinearWithBias, 3),
        (right_formulas.OuterProduct, 2),
        (wrong_gradients.GradientOfZeros, 1),
    ],
)
def test_hypothesis_finds_inputs(function, names):
    pytest.importorskip("hypothesis", reason="it finds the inputs")
    report = examine(function, impl=["impl_numpy"], only="runs")
    assert report.drawn
    assert len(parse(report.signature).arguments) == names
    assert len(parse(report.signature).symbols) >= 2


def test_the_functions_of_the_article():
    relu = examine(
        f"{ARTICLE / 'functions.py'}:define(nn).ReLUF", "float64(N,3)", impl=["impl_numpy"]
    )
    # 0 * inf is NaN: written as max(x, 0 x), so that dtypes stay, it loses infinity.
    assert relu.failed == ["nonfinite"]
    assert "inf in input" in relu.verdicts["impl_numpy"]["nonfinite"].says
    words = "float64(N,M), float64(K,M), float64(K)"
    for inputs in (words, "float64(N,M), float64(K,M), None", "float64(N,M), float64(K,M)"):
        linear = f"{ARTICLE / 'functions.py'}:define(nn).LinearF"
        assert examine(linear, inputs, impl=["impl_numpy"]).failed == []


def test_a_function_of_an_implementation_runs_there():
    class Twice(nn.Function):
        def forward(self, x):
            return 2 * x

        def backward(self, g):
            return 2 * g

    report = check(Twice, "float64(N)")
    assert list(report.verdicts) == ["impl_numpy"]


def test_what_is_no_function():
    with pytest.raises(TargetError, match="has no backward"):
        check(type("Half", (), {"forward": lambda ctx, x: x}), "float64(N)")
    with pytest.raises(TargetError, match="is a int"):
        check(3, "float64(N)")
    with pytest.raises(TargetError, match="there is no file"):
        load("nowhere/at_all.py:F")


def test_the_ladder_finds_slopes_and_orders():
    found = slopes(lambda t: np.array([np.sin(0.3 + t), np.abs(t), np.exp(5 * t), 7.0]))
    np.testing.assert_allclose(found.values[[0, 2, 3]], [np.cos(0.3), 5, 0], rtol=1e-11, atol=1e-11)
    assert found.kinked.tolist() == [False, True, False, False]
    noise = np.random.default_rng(0)
    assert slopes(lambda t: noise.normal(size=3)).scattered.all()
    assert abs(order(np.exp, np.array(1.0)) - 2) < 0.05
    assert abs(order(np.exp, np.array(1.1)) - 1) < 0.05
    assert order(lambda t: np.array(3 * t), np.array(3.0)) == np.inf
