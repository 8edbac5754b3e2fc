"""Clauses on arguments and results of modules, modes, layers and losses."""

import inspect
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal

pytestmark = pytest.mark.sampled(4)

RECURRENT = ("RNNCell", "LSTMCell", "GRUCell", "RNN", "LSTM", "GRU")


@clause("module-08")
def test_what_load_state_dict_returns(nn: Any) -> None:
    module = nn.Linear(3, 2)
    state = {name: to_numpy(nn, value) for name, value in module.state_dict().items()}
    got = module.load_state_dict(state)
    assert isinstance(got, tuple), f"got {type(got).__name__} but should be a named tuple"
    assert [getattr(got, name) for name in ("missing_keys", "unexpected_keys")] == [[], []]
    odd = {"zebra": state["bias"], "ant": state["bias"]}
    missing, unexpected = module.load_state_dict(odd, strict=False)
    assert (missing, unexpected) == (["weight", "bias"], ["zebra", "ant"])


@clause("autograd-23", "autograd-08")
def test_set_grad_enabled_in_its_three_uses(nn: Any) -> None:
    try:
        nn.set_grad_enabled(False)
        assert not nn.is_grad_enabled(), "a statement should take effect at once"
        with nn.set_grad_enabled(True):
            assert nn.is_grad_enabled(), "a with block should have its own mode"
        assert not nn.is_grad_enabled(), "the mode before the block should be back"
    finally:
        nn.set_grad_enabled(True)

    @nn.set_grad_enabled(False)
    def mode() -> bool:
        return bool(nn.is_grad_enabled())

    assert nn.is_grad_enabled(), "to decorate should leave the mode as it was"
    assert (mode(), mode()) == (False, False), "the mode should hold inside each call"
    assert nn.is_grad_enabled(), "the mode before the call should be back"


@clause("rnn-25")
@pytest.mark.parametrize("name", RECURRENT)
def test_names_of_the_arguments(nn: Any, dtype: str, name: str) -> None:
    module = getattr(nn, name)(3, 2, dtype=getattr(nn, dtype))
    parameters = inspect.signature(module.forward).parameters
    assert list(parameters)[:2] == ["input", "hx"], f"forward of {name} takes {list(parameters)}"
    assert parameters["hx"].default is None
    cell = name.endswith("Cell")
    x = nn.tensor(normal((4, 3) if cell else (5, 4, 3), dtype))
    h = nn.tensor(normal((4, 2) if cell else (1, 4, 2), dtype, seed=1))
    hx = (h, h) if name.startswith("LSTM") else h
    by_place, by_name = module(x, hx), module(input=x, hx=hx)
    first = (lambda value: value[0] if isinstance(value, tuple) else value)(by_place)
    second = (lambda value: value[0] if isinstance(value, tuple) else value)(by_name)
    exactly(nn, second, to_numpy(nn, first), call=f"{name}(input=, hx=)")


@clause("nn-10")
def test_parameters_of_layer_norm(nn: Any, dtype: str) -> None:
    nn.manual_seed(4)
    before = to_numpy(nn, nn.rand((2,)))
    nn.manual_seed(4)
    module = nn.LayerNorm((2, 3), dtype=getattr(nn, dtype))
    assert np.array_equal(before, to_numpy(nn, nn.rand((2,)))), "LayerNorm should draw nothing"
    assert [name for name, _ in module.named_parameters()] == ["weight", "bias"]
    exactly(nn, module.weight, np.ones((2, 3)), call="weight")
    exactly(nn, module.bias, np.zeros((2, 3)), call="bias")
    plain = nn.LayerNorm(3, elementwise_affine=False)
    assert (plain.weight, plain.bias) == (None, None)
    unbiased = nn.LayerNorm([3], bias=False)
    assert unbiased.bias is None
    assert tuple(unbiased.weight.shape) == (3,)


@clause("nn-10")
@pytest.mark.parametrize("options", [{}, {"bias": False}, {"elementwise_affine": False}])
def test_layer_norm_over_several_axes(nn: Any, dtype: str, options: dict[str, bool]) -> None:
    array = normal((4, 2, 3), dtype)
    module = nn.LayerNorm((2, 3), eps=1e-3, dtype=getattr(nn, dtype), **options)
    wide = array.astype("float64")
    mean = wide.mean((1, 2), keepdims=True)
    want = (wide - mean) / np.sqrt(wide.var((1, 2), keepdims=True) + 1e-3)
    got = module(nn.tensor(array))
    agrees(nn, got, want, "reduction", call=f"LayerNorm((2, 3), {options})")
    alone = module(nn.tensor(array[1:2]))
    agrees(nn, alone, want[1:2], "reduction", call="LayerNorm of one row alone")


@clause("nn-10", needs=("float64", "double_backward"))
def test_derivatives_of_layer_norm_over_several_axes(nn: Any) -> None:
    module = nn.LayerNorm((2, 3), dtype=nn.float64)

    def square(x: Any, weight: Any, bias: Any) -> Any:
        y = nn.functional_call(module, {"weight": weight, "bias": bias}, x)
        return y * y

    points = [normal((2, 2, 3)), normal((2, 3), seed=1), normal((2, 3), seed=2)]
    check_gradients(nn, square, points, second_order=True, call="LayerNorm((2, 3))")


@clause("nn-10")
def test_layer_norm_of_constant_rows(nn: Any, dtype: str) -> None:
    module = nn.LayerNorm(4, dtype=getattr(nn, dtype))
    nn.init.constant_(module.bias, 0.5)
    x = tensor(nn, np.full((2, 4), 3.0, dtype))
    got = module(x)
    exactly(nn, got, np.full((2, 4), 0.5), call="LayerNorm of constant rows")
    nn.ops.sum(got * got).backward()
    assert np.isfinite(to_numpy(nn, x.grad)).all(), "the gradient should be finite"


@clause("nn-11")
def test_layer_norm_says_what_does_not_fit(nn: Any) -> None:
    module = nn.LayerNorm((2, 3))
    for shape in ((3, 2), (3,), (4, 2, 4)):
        with refuses(ValueError, "LayerNorm", str(shape), ("(2, 3)", "(*, 2, 3)")):
            module(nn.zeros(shape))
    with refuses(TypeError, "LayerNorm", "int64", "float32"):
        module(nn.zeros((2, 3), dtype=nn.int64))
    with refuses(ValueError, "LayerNorm"):
        nn.LayerNorm(())
    with refuses(ValueError, "LayerNorm", "eps", "-0.5"):
        nn.LayerNorm(3, eps=-0.5)


@clause("loss-07")
def test_gradient_of_l1_loss_where_both_are_equal(nn: Any, dtype: str) -> None:
    x = tensor(nn, np.array([1.0, 2.0, 3.0], dtype))
    target = nn.tensor(np.array([1.0, 3.0, 2.0], dtype))
    nn.loss.l1_loss(x, target, reduction="sum").backward()
    exactly(nn, x.grad, np.array([0.0, -1.0, 1.0]), call="gradient of l1_loss")
    with refuses(ValueError, "l1_loss", "(3,)", "(2, 3)"):
        nn.loss.l1_loss(x, nn.zeros((2, 3), dtype=getattr(nn, dtype)))
