"""`check` on functions of JAX with a derivative of their own."""

import subprocess
import sys

import pytest

from spec_tests.check import examine

pytest.importorskip("jax", reason="the functions are JAX's")

from checked import jax_functions

# To run each new shape through XLA takes its time, and sizes are asked for elsewhere.
SLOW = "blocks,threads,leaks"


@pytest.mark.parametrize("name", jax_functions.WRONG)
def test_a_wrong_function_is_rejected_by_its_property(name):
    function, inputs, prop = jax_functions.WRONG[name]
    report = examine(function, inputs, skip=SLOW)
    assert prop in report.failed
    script = report.verdicts["jax"][prop].script
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, script + done.stdout + done.stderr
    assert "AssertionError" in done.stderr, script + done.stderr


@pytest.mark.parametrize("name", jax_functions.RIGHT)
def test_a_right_function_is_accepted(name):
    function, inputs = jax_functions.RIGHT[name]
    report = examine(function, inputs, skip=SLOW)
    assert report.failed == []
    verdicts = report.verdicts["jax"]
    assert {verdicts[name].state for name in ("first", "jit", "vmap")} == {"passed"}


def test_the_setting_of_float64_is_left_alone():
    import jax

    before = jax.numpy.zeros(1).dtype
    examine(jax_functions.log1p_exp, "float64(N)", only="first")
    assert jax.numpy.zeros(1).dtype == before
