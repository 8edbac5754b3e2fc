"""The chapter ``optim``."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy
from spec_tests.support.optimizers import (
    ADAM,
    OPTIONS,
    SGD,
    give,
    optimizer_of,
    path_of,
    start,
    walk,
)

ALGORITHMS = ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LBFGS"]


def check_path(nn: Any, dtype: str, name: str) -> None:
    """Compare ten steps with the reference's."""
    want = path_of(name)[dtype]
    parameters = start(nn, dtype)
    optimizer = optimizer_of(nn, name, parameters.values())
    for step in range(10):
        walk(nn, optimizer, parameters, dtype, range(step, step + 1))
        for key, parameter in parameters.items():
            agrees(nn, parameter, want[key][step], "optim", call=f"{name}, step {step}, {key}")


@clause("optim-01")
@pytest.mark.parametrize("name", SGD)
def test_sgd(nn: Any, dtype: str, name: str) -> None:
    check_path(nn, dtype, name)


@clause("optim-02")
@pytest.mark.parametrize("name", ADAM)
def test_adam(nn: Any, dtype: str, name: str) -> None:
    check_path(nn, dtype, name)


@clause("optim-02")
def test_adam_has_the_usual_defaults(nn: Any) -> None:
    parameter = nn.Parameter(nn.tensor([1.0]))
    (group,) = nn.optim.Adam([parameter]).param_groups
    assert group["lr"] == 1e-3
    assert tuple(group["betas"]) == (0.9, 0.999)
    assert group["eps"] == 1e-8
    assert group["weight_decay"] == 0


@clause("optim-03")
@pytest.mark.parametrize("name", ["SGD_momentum", "Adam_options"])
def test_step_keeps_objects_and_passes_over_none(nn: Any, dtype: str, name: str) -> None:
    parameters = start(nn, dtype)
    idle = nn.Parameter(nn.tensor(np.array([3.0, 4.0], dtype)))
    optimizer = optimizer_of(nn, name, [*parameters.values(), idle])
    walk(nn, optimizer, parameters, dtype, range(2))
    groups = optimizer.param_groups[0]["params"]
    assert all(own is two for own, two in zip(groups, [*parameters.values(), idle], strict=True))
    exactly(nn, idle, np.array([3, 4], dtype))
    for parameter in parameters.values():
        assert parameter.dtype == getattr(nn, dtype)
        assert parameter.is_leaf
        assert parameter.requires_grad
        assert parameter.grad_fn is None
    want = load("optimizers")[name][dtype]
    for key, parameter in parameters.items():
        agrees(nn, parameter, want[key][1], "optim", call=f"{name}, beside an idle parameter")


@clause("optim-04")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_zero_grad(nn: Any, algorithm: str) -> None:
    parameters = start(nn, "float32")
    optimizer = getattr(nn.optim, algorithm)(parameters.values(), lr=0.1)
    give(nn, parameters, "float32", 0)
    assert all(parameter.grad is not None for parameter in parameters.values())
    optimizer.zero_grad()
    assert all(parameter.grad is None for parameter in parameters.values())


@clause("optim-04")
def test_zero_grad_to_zeros(nn: Any, dtype: str) -> None:
    parameters = start(nn, dtype)
    idle = nn.Parameter(nn.ones((2,)))
    optimizer = nn.optim.SGD([*parameters.values(), idle], lr=0.1)
    give(nn, parameters, dtype, 0)
    held = [parameter.grad for parameter in parameters.values()]
    before = [np.array(to_numpy(nn, grad)) for grad in held]
    optimizer.zero_grad(set_to_none=False)
    for parameter in parameters.values():
        exactly(nn, parameter.grad, np.zeros(parameter.shape, dtype), call="zero_grad(False)")
        assert not parameter.grad.requires_grad
    assert idle.grad is None
    # Zeros are a gradient: the next is added, and momentum and decay go on.
    give(nn, parameters, dtype, 0)
    for parameter, want in zip(parameters.values(), before, strict=True):
        exactly(nn, parameter.grad, want, call="a gradient after zero_grad(False)")
    optimizer.zero_grad(True)
    assert all(parameter.grad is None for parameter in parameters.values())


@clause("optim-05")
def test_groups_have_options_of_their_own(nn: Any) -> None:
    fast, slow = nn.Parameter(nn.tensor([1.0, 2.0])), nn.Parameter(nn.tensor([1.0, 2.0]))
    groups = [{"params": [fast], "lr": 0.5}, {"params": [slow]}]
    optimizer = nn.optim.SGD(groups, lr=0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.25]
    assert optimizer.param_groups[0]["params"][0] is fast

    def step() -> None:
        optimizer.zero_grad()
        nn.ops.sum(fast * 2 + slow * 4).backward()
        optimizer.step()

    step()
    exactly(nn, fast, np.array([0, 1], np.float32))
    exactly(nn, slow, np.array([0, 1], np.float32))
    optimizer.param_groups[1]["lr"] = 0.5
    step()
    exactly(nn, fast, np.array([-1, 0], np.float32))
    exactly(nn, slow, np.array([-2, -1], np.float32))


@clause("optim-05")
@pytest.mark.parametrize("name", ["SGD_decay", "Adam_options"])
def test_groups_follow_the_reference(nn: Any, dtype: str, name: str) -> None:
    parameters = start(nn, dtype)
    make = getattr(nn.optim, name.partition("_")[0])
    groups = [{"params": [parameter], **OPTIONS[name]} for parameter in parameters.values()]
    walk(nn, make(groups, lr=7.0), parameters, dtype, range(10))
    want = load("optimizers")[name][dtype]
    for key, parameter in parameters.items():
        agrees(nn, parameter, want[key][-1], "optim", call=f"{name} in groups, {key}")


@clause("optim-06")
@pytest.mark.parametrize(
    ("algorithm", "options", "fragments"),
    [
        ("SGD", {"lr": -0.5}, ("lr", "-0.5")),
        ("Adam", {"lr": -0.5}, ("lr", "-0.5")),
        ("Adam", {"betas": (1.0, 0.999)}, ("betas", "1.0")),
        ("Adam", {"betas": (0.9, -0.25)}, ("betas", "-0.25")),
        ("AdamW", {"betas": (0.9, 1.5)}, ("betas", "1.5")),
        ("AdamW", {"eps": -0.5}, ("eps", "-0.5")),
        ("RMSprop", {"alpha": -0.5}, ("alpha", "-0.5")),
        ("Adagrad", {"initial_accumulator_value": -0.5}, ("initial_accumulator_value", "-0.5")),
        ("SGD", {"lr": 0.1, "nesterov": True}, ("nesterov", "momentum")),
        *(
            ("SGD", {"momentum": 0.5, "nesterov": True, "dampening": d}, ("dampening", str(d)))
            for d in (0.25, -0.25)
        ),
    ],
)
def test_options_that_do_not_fit(
    nn: Any, algorithm: str, options: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    with refuses(ValueError, algorithm, *fragments):
        getattr(nn.optim, algorithm)([nn.Parameter(nn.ones((1,)))], **options)


@clause("optim-02", "optim-06")
@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_betas_of_zero(nn: Any, dtype: str, name: str) -> None:
    """The first that fit: nothing of an earlier gradient is left."""
    p = nn.Parameter(nn.zeros((2,), dtype=getattr(nn, dtype)))
    options = {"weight_decay": 0.0, "eps": 0.25, "lr": 0.5}
    optimizer = getattr(nn.optim, name)([p], betas=(0.0, 0.0), **options)
    want = np.zeros(2)
    for slope in (np.array([3.0, -1.0]), np.array([-0.5, 4.0])):
        p.grad = nn.tensor(slope.astype(dtype))
        optimizer.step()
        want -= 0.5 * slope / (np.abs(slope) + 0.25)
    agrees(nn, p, want, "optim", call=f"{name} with betas of 0", dtype=dtype)


@clause("optim-06")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_parameters_that_do_not_fit(nn: Any, algorithm: str) -> None:
    make = getattr(nn.optim, algorithm)
    with refuses(ValueError, algorithm, "params", ("empty", "[]")):
        make([], lr=0.1)
    for wrong in (3.0, "weight", np.ones(2, np.float32)):
        with refuses(TypeError, algorithm, (type(wrong).__name__, repr(wrong))):
            make([wrong], lr=0.1)


@clause("optim-06")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_results_of_operations_are_no_parameters(nn: Any, algorithm: str) -> None:
    result = nn.Parameter(nn.ones((2,))) * 2
    with refuses(ValueError, ("leaf", "leaves")):
        getattr(nn.optim, algorithm)([result], lr=0.1)


@clause("optim-07")
@pytest.mark.parametrize(
    "name", ["SGD_nesterov", "Adam_options", "Adam_amsgrad", "RMSprop_centered", "Adagrad_plain"]
)
def test_a_loaded_state_continues_with_the_same_numbers(nn: Any, dtype: str, name: str) -> None:
    whole, parameters = start(nn, dtype), start(nn, dtype)
    walk(nn, optimizer_of(nn, name, whole.values()), whole, dtype, range(6))
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, dtype, range(3))
    twins = {
        key: nn.Parameter(nn.tensor(parameter.detach())) for key, parameter in parameters.items()
    }
    other = getattr(nn.optim, name.partition("_")[0])(twins.values(), lr=7.0)
    other.load_state_dict(optimizer.state_dict())
    walk(nn, other, twins, dtype, range(3, 6))
    for key, parameter in whole.items():
        exactly(nn, twins[key], to_numpy(nn, parameter))


@clause("optim-07")
@pytest.mark.parametrize("name", ["SGD_momentum", "Adam_plain"])
def test_a_state_of_another_form_changes_nothing(nn: Any, name: str) -> None:
    def others(*counts: int) -> list[dict[str, Any]]:
        return [{"params": [nn.Parameter(nn.ones((2,))) for _ in range(count)]} for count in counts]

    parameters = start(nn, "float32")
    optimizer = optimizer_of(nn, name, parameters.values())
    walk(nn, optimizer, parameters, "float32", range(3))
    make = getattr(nn.optim, name.partition("_")[0])
    for counts in ((1,), (3,), (2, 1), (1, 1)):
        wrong = make(others(*counts), lr=0.5).state_dict()
        with refuses(ValueError, name.partition("_")[0]):
            optimizer.load_state_dict(wrong)
    walk(nn, optimizer, parameters, "float32", range(3, 10))
    want = load("optimizers")[name]["float32"]
    for key, parameter in parameters.items():
        agrees(nn, parameter, want[key][-1], "optim", call=f"{name}, {key}", dtype="float32")
