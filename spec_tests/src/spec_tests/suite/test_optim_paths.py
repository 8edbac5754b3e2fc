"""The chapter ``optim``: a hundred steps of every option, closures, and clipped gradients."""

import math
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.oracle.optimized import ROWS, SEEN, STEPS, gradients, start
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy


def names(algorithm: str) -> list[str]:
    return [name for name in ROWS if name.partition("_")[0] == algorithm]


def check_row(nn: Any, dtype: str, name: str) -> None:
    """Compare the steps that are stored, of a hundred, with the reference's."""
    want = load("optim")["rows"][name]
    values = {key: nn.tensor(array.astype(dtype)) for key, array in start().items()}
    parameters = {key: nn.Parameter(value) for key, value in values.items()}
    algorithm = getattr(nn.optim, name.partition("_")[0])
    optimizer = algorithm(parameters.values(), **ROWS[name])
    given = {key: array.astype(dtype) for key, array in gradients().items()}
    for step in range(1, STEPS + 1):
        for key, parameter in parameters.items():
            parameter.grad = nn.tensor(given[key][step - 1])
        optimizer.step()
        for key, parameter in parameters.items():
            if step in SEEN:
                reference = want[key][SEEN.index(step)]
                agrees(nn, parameter, reference, "optim", call=f"{name}, step {step}, {key}")
    for key, parameter in parameters.items():
        exactly(nn, parameter.grad, given[key][-1], call=f"{name}: the gradient of {key}")


@clause("optim-01")
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", names("SGD"))
def test_sgd_for_a_hundred_steps(nn: Any, dtype: str, name: str) -> None:
    check_row(nn, dtype, name)


@clause("optim-02")
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", names("Adam"))
def test_adam_for_a_hundred_steps(nn: Any, dtype: str, name: str) -> None:
    check_row(nn, dtype, name)


@clause("optim-13")
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", names("AdamW"))
def test_adamw_for_a_hundred_steps(nn: Any, dtype: str, name: str) -> None:
    check_row(nn, dtype, name)


@clause("optim-14")
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", names("RMSprop"))
def test_rmsprop_for_a_hundred_steps(nn: Any, dtype: str, name: str) -> None:
    check_row(nn, dtype, name)


@clause("optim-15")
@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", names("Adagrad"))
def test_adagrad_for_a_hundred_steps(nn: Any, dtype: str, name: str) -> None:
    check_row(nn, dtype, name)


ALGORITHMS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"]


@clause("optim-16")
@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "LBFGS"])
def test_step_returns_what_the_closure_returns(nn: Any, algorithm: str) -> None:
    parameter = nn.Parameter(nn.tensor([1.0, 2.0]))
    options = {"max_iter": 1} if algorithm == "LBFGS" else {}
    optimizer = getattr(nn.optim, algorithm)([parameter], lr=0.5, **options)
    seen: list[Any] = []

    def closure() -> Any:
        optimizer.zero_grad()
        loss = nn.ops.sum(parameter * parameter)
        loss.backward()
        seen.append((loss, to_numpy(nn, parameter).copy()))
        return loss

    with nn.no_grad():
        got = optimizer.step(closure)
        assert not (parameter * 2).requires_grad, "step should leave recording off"
    assert len(seen) == 1
    assert got is seen[0][0], f"step returned {got!r} but should return what the closure did"
    exactly(nn, got, np.array(5, np.float32), call="the loss before the step")
    assert np.all(to_numpy(nn, parameter) < seen[0][1]), "the step should use the new gradients"
    if algorithm != "LBFGS":
        assert optimizer.step(lambda: "anything") == "anything"
        assert optimizer.step(closure=lambda: None) is None
        assert optimizer.step() is None
        assert optimizer.step(None) is None


@clause("optim-16")
@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "LBFGS"])
def test_closures_that_fail(nn: Any, algorithm: str) -> None:
    parameter = nn.Parameter(nn.tensor([1.0, 2.0]))
    optimizer = getattr(nn.optim, algorithm)([parameter], lr=0.5)
    nn.ops.sum(parameter * parameter).backward()

    def closure() -> Any:
        raise LookupError(algorithm)

    with pytest.raises(LookupError, match=algorithm):
        optimizer.step(closure)
    with refuses(TypeError, algorithm, "closure", "int"):
        optimizer.step(5)
    exactly(nn, parameter, np.array([1, 2], np.float32), call="a parameter after no step")
    assert (parameter * 2).requires_grad, "recording should be on again"


SHAPES = [(2, 3), (3,), (0,), ()]


def with_gradients(nn: Any, dtype: str, scale: float = 1.0) -> tuple[list[Any], list[np.ndarray]]:
    """Return Parameters with gradients, among them one of no elements, one of no axes and none."""
    random = np.random.default_rng(3)
    arrays = [np.asarray(np.round(random.normal(size=shape) * 64) / 64) for shape in SHAPES]
    arrays = [np.asarray(array * scale).astype(dtype) for array in arrays]
    parameters = [nn.Parameter(nn.tensor(np.ones_like(array))) for array in arrays]
    for parameter, array in zip(parameters, arrays, strict=True):
        parameter.grad = nn.tensor(array)
    idle = nn.Parameter(nn.ones((2,), dtype=getattr(nn, dtype)))
    return [*parameters, idle], arrays


def norm_of(arrays: list[np.ndarray], norm_type: float) -> float:
    flat = np.concatenate([np.abs(array.astype(np.float64)).reshape(-1) for array in arrays])
    return float(
        np.max(flat) if norm_type == math.inf else np.sum(flat**norm_type) ** (1 / norm_type)
    )


@clause("optim-26")
@pytest.mark.parametrize("norm_type", [2.0, 1, 3.0, 0.5, math.inf])
def test_gradients_are_clipped_by_norm(nn: Any, dtype: str, norm_type: float) -> None:
    for max_norm in (0.75, 1000.0, 0, math.inf):
        parameters, arrays = with_gradients(nn, dtype)
        total = norm_of(arrays, norm_type)
        got = nn.optim.clip_grad_norm_(iter(parameters), max_norm, norm_type)
        call = f"clip_grad_norm_(p, {max_norm}, {norm_type})"
        assert isinstance(got, nn.Tensor)
        assert not got.requires_grad
        agrees(nn, got, np.array(total), "gradient", call=call)
        factor = min(1.0, max_norm / (total + 1e-6))
        for parameter, array in zip(parameters[:-1], arrays, strict=True):
            want = array.astype(np.float64) * factor
            agrees(nn, parameter.grad, want, "gradient", call=call)
            assert not parameter.grad.requires_grad
            exactly(nn, parameter, np.ones_like(array), call=call)
        assert parameters[-1].grad is None


@clause("optim-26")
def test_what_is_not_clipped(nn: Any, dtype: str) -> None:
    """One Tensor is a list of one; without gradients the norm is 0; zeros stay zeros."""
    (first, _, empty, *_), (array, *_) = with_gradients(nn, dtype)
    got = nn.optim.clip_grad_norm_(first, max_norm=1, norm_type=2.0, error_if_nonfinite=True)
    total = norm_of([array], 2.0)
    agrees(nn, got, np.array(total), "gradient", call="one Tensor")
    agrees(nn, first.grad, array.astype(np.float64) / (total + 1e-6), "gradient")
    for parameters in ([], [nn.Parameter(nn.ones((2,)))]):
        none = nn.optim.clip_grad_norm_(parameters, 1.0)
        exactly(nn, none, np.array(0, np.float32), dtype="float32", call="no gradients")
    for norm_type in (2.0, math.inf):
        none = nn.optim.clip_grad_norm_(empty, 1.0, norm_type)
        exactly(nn, none, np.array(0, dtype), call=f"norm {norm_type} of no elements")
    (zero, *_), _ = with_gradients(nn, dtype, 0.0)
    exactly(nn, nn.optim.clip_grad_norm_([zero], 1.0), np.array(0, dtype), call="zeros")
    exactly(nn, zero.grad, np.zeros((2, 3), dtype), call="zeros")


@clause("optim-26")
@pytest.mark.parametrize("bad", [math.inf, math.nan])
def test_gradients_that_are_not_finite(nn: Any, bad: float) -> None:
    parameter = nn.Parameter(nn.ones((3,)))
    array = np.array([1, bad, -2], np.float32)
    parameter.grad = nn.tensor(array)
    with refuses(RuntimeError, "clip_grad_norm_", str(bad)):
        nn.optim.clip_grad_norm_([parameter], 1.0, error_if_nonfinite=True)
    exactly(nn, parameter.grad, array, call="a gradient after a refusal")
    got = nn.optim.clip_grad_norm_([parameter], 1.0)
    exactly(nn, got, np.array(bad, np.float32), call="the norm")
    want = np.array([0, math.nan, -0.0] if bad == math.inf else [math.nan] * 3, np.float32)
    exactly(nn, parameter.grad, want, call=f"a gradient with {bad}")


@clause("optim-27")
def test_gradients_are_clipped_by_value(nn: Any, dtype: str) -> None:
    for value in (0.5, 1, 0.0, math.inf):
        parameters, arrays = with_gradients(nn, dtype)
        assert nn.optim.clip_grad_value_(iter(parameters), value) is None
        for parameter, array in zip(parameters[:-1], arrays, strict=True):
            want = np.clip(array, -value, value).astype(dtype)
            exactly(nn, parameter.grad, want, call=f"clip_grad_value_(p, {value})")
            exactly(nn, parameter, np.ones_like(array))
        assert parameters[-1].grad is None
    one = parameters[0]
    one.grad = nn.tensor(np.array([[math.nan, math.inf, -math.inf], [1, -1, 0]], dtype))
    nn.optim.clip_grad_value_(one, clip_value=0.5)
    want = np.array([[math.nan, 0.5, -0.5], [0.5, -0.5, 0]], dtype)
    exactly(nn, one.grad, want, call="nan and infinities")


@clause("optim-26", "optim-27")
@pytest.mark.parametrize(
    ("name", "arguments", "fragments"),
    [
        ("clip_grad_norm_", (-1.0,), ("max_norm", "-1.0")),
        ("clip_grad_norm_", (math.nan,), ("max_norm", "nan")),
        ("clip_grad_norm_", ("a lot",), ("max_norm", "a lot")),
        ("clip_grad_norm_", (None,), ("max_norm", "None")),
        ("clip_grad_norm_", (1.0, 0.0), ("norm_type", "0.0")),
        ("clip_grad_norm_", (1.0, -2.0), ("norm_type", "-2.0")),
        ("clip_grad_norm_", (1.0, math.nan), ("norm_type", "nan")),
        ("clip_grad_norm_", (1.0, "fro"), ("norm_type", "fro")),
        ("clip_grad_value_", (-1.0,), ("clip_value", "-1.0")),
        ("clip_grad_value_", (math.nan,), ("clip_value", "nan")),
        ("clip_grad_value_", ("a lot",), ("clip_value", "a lot")),
        ("clip_grad_value_", (None,), ("clip_value", "None")),
    ],
)
def test_bounds_that_are_none(
    nn: Any, name: str, arguments: tuple[Any, ...], fragments: tuple[str, ...]
) -> None:
    (parameter, *_), (array, *_) = with_gradients(nn, "float32")
    with refuses((TypeError, ValueError), name, *fragments):
        getattr(nn.optim, name)([parameter], *arguments)
    for wrong in (3.0, "weight", None, [3.0], [parameter, "weight"]):
        with refuses(TypeError, name, "parameters"):
            getattr(nn.optim, name)(wrong, 0.5)
    exactly(nn, parameter.grad, array, dtype="float32", call="a gradient after refusals")
