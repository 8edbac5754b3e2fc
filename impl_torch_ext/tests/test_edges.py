"""Cases at the edges of the specification where torch's own answer is another one."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import impl_torch_ext as nn


class Shared(nn.Module):
    """One Linear under two names, and a buffer that each call replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.a = self.b = nn.Linear(2, 2, bias=False)
        self.register_buffer("n", nn.zeros(1))

    def forward(self, x: nn.Tensor, fail: bool = False) -> nn.Tensor:
        self.n = self.n + 1
        if fail:
            msg = "asked to fail"
            raise ArithmeticError(msg)
        return self.b(self.a(x))


def test_functional_call_restores_a_shared_module() -> None:
    net, x = Shared(), nn.ones((1, 2))
    weight, count = net.a.weight, net.n
    twice = {"a.weight": nn.eye(2) * 2}
    assert torch.equal(nn.functional_call(net, twice, x), x * 4)
    with pytest.raises(ArithmeticError):
        nn.functional_call(net, twice, x, fail=True)
    assert net.a.weight is net.b.weight is weight
    assert net.n is count
    assert [name for name, _ in net.named_parameters()] == ["a.weight"]


def test_functional_call_takes_every_name_of_a_tied_parameter() -> None:
    net, x = Shared(), nn.ones((1, 2))
    net.c = nn.Linear(2, 2, bias=False)
    net.c.weight = weight = net.a.weight
    state = {name: value * 2 for name, value in net.state_dict().items()}
    assert {"a.weight", "b.weight", "c.weight"} <= set(state)
    expected = x @ (weight * 2).mT @ (weight * 2).mT
    assert torch.allclose(nn.functional_call(net, state, x), expected)
    assert torch.allclose(nn.functional_call(net, {"c.weight": weight * 2}, x), expected)
    assert net.a.weight is net.c.weight is weight


@pytest.mark.parametrize("value", [[1.0], None, "1", 1.0])
@pytest.mark.parametrize("strict", [True, False])
def test_load_state_dict_refuses_what_is_no_array(value: Any, strict: bool) -> None:
    net = nn.Linear(1, 1)
    before = net.weight.item()
    with pytest.raises(RuntimeError, match=f"'bias'.*{type(value).__name__}"):
        net.load_state_dict({"weight": np.full((1, 1), before + 1), "bias": value}, strict=strict)
    assert net.weight.item() == before


def test_load_state_dict_ignores_an_int_key_unless_strict() -> None:
    net = nn.Linear(1, 1)
    state = {3: 1, "more": None, "weight": np.full((1, 1), 7.0)}
    with pytest.raises(RuntimeError, match="unexpected 3"):
        net.load_state_dict(state)
    net.load_state_dict(state, strict=False)
    assert net.weight.item() == 7


def _second(a: list[float], b: list[float]) -> dict[str, list[float]]:
    x, y = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in (a, b))
    for_x, for_y = torch.autograd.grad(nn.ops.pow(x, y).sum(), (x, y), create_graph=True)
    result = {"a": for_x.tolist(), "b": for_y.tolist()}
    for first, g in (("a", for_x), ("b", for_y)):
        second = torch.autograd.grad(g.sum(), (x, y), retain_graph=True)
        result |= {first + name: value.tolist() for name, value in zip("ab", second, strict=True)}
    return result


def test_second_derivatives_of_pow() -> None:
    result = _second([2.0, 0.0, 0.0], [0.0, 2.0, 0.0])
    log = np.log(2.0)
    assert result["a"] == [0, 0, 0]
    assert result["b"] == pytest.approx([log, 0, 0])
    assert result["aa"] == [0, 2, 0]
    assert result["ab"] == result["ba"] == [0.5, 0, 0]
    assert result["bb"] == pytest.approx([log**2, 0, 0])


def test_second_derivative_of_pow_of_a_number() -> None:
    t = nn.tensor([1.0, 2.0], requires_grad=True)
    (g,) = torch.autograd.grad(nn.ops.pow(0.0, t).sum(), t, create_graph=True)
    (h,) = torch.autograd.grad(g.sum(), t)
    assert g.tolist() == h.tolist() == [0, 0]


def test_pow_agrees_with_differences() -> None:
    x = (nn.rand((3, 1), dtype=nn.float64) + 0.5).requires_grad_()
    y = torch.randn(4, dtype=nn.float64, requires_grad=True)
    assert torch.autograd.gradcheck(nn.ops.pow, (x, y))
    assert torch.autograd.gradgradcheck(nn.ops.pow, (x, y))


def test_pow_to_0_has_no_gradient() -> None:
    x = nn.tensor([0.0, 1e-42, 3.0, float("inf"), float("nan")], requires_grad=True)
    y = nn.zeros(5, requires_grad=True)
    nn.ops.pow(x, y).sum().backward()
    assert x.grad.tolist() == [0] * 5


def test_subtract_takes_booleans() -> None:
    mask = nn.tensor([True, False])
    x = nn.ones(2, dtype=nn.float64, requires_grad=True)
    for result, expected, dtype in (
        (nn.ops.subtract(x, mask), [0, 1], nn.float64),
        (nn.ops.subtract(mask, x), [0, -1], nn.float64),
        (nn.ops.subtract(x, nn.tensor(True)), [0, 0], nn.float64),
        (nn.ops.subtract(1.0, mask), [0, 1], nn.float32),
        (nn.ops.subtract(mask, 0.5), [0.5, -0.5], nn.float32),
        (nn.ops.subtract(mask, 2), [-1, -2], nn.int64),
        (nn.ops.subtract(nn.ones(2, dtype=nn.int32), mask), [0, 1], nn.int32),
    ):
        assert result.tolist() == expected
        assert result.dtype == dtype
    nn.ops.subtract(mask, x).sum().backward()
    assert x.grad.tolist() == [-1, -1]


@pytest.mark.parametrize("name", ["add", "multiply", "divide", "pow", "maximum", "minimum"])
def test_arithmetic_with_booleans_is_floating(name: str) -> None:
    mask = nn.tensor([True, True])
    for dtype in (nn.float32, nn.float64):
        x = nn.ones(2, dtype=dtype)
        assert getattr(nn.ops, name)(x, mask).dtype == dtype
        assert getattr(nn.ops, name)(mask, x).dtype == dtype


def test_clip_promotes() -> None:
    x = nn.tensor([1.0, 3.0], requires_grad=True)
    low, high = nn.zeros(2, dtype=nn.float64), nn.tensor(2.0, dtype=nn.float64)
    result = nn.ops.clip(x, low, high)
    assert result.dtype == nn.float64
    assert nn.ops.clip(x, 0, high).dtype == nn.float64
    assert result.tolist() == [1, 2]
    result.sum().backward()
    assert x.grad.dtype == nn.float32
    assert x.grad.tolist() == [1, 0]


@pytest.mark.parametrize("make", [nn.zeros, nn.ones, nn.empty, nn.eye, nn.rand, nn.randn])
def test_dtype_none_is_float32_in_constructors(make: Callable[..., nn.Tensor]) -> None:
    assert make(2, dtype=None).dtype == make(2).dtype == nn.float32


@pytest.mark.parametrize(
    "layer",
    [nn.Linear, nn.Embedding, nn.RNN, nn.LSTM, nn.GRU, nn.RNNCell, nn.LSTMCell, nn.GRUCell],
)
def test_dtype_none_is_float32_in_layers(layer: Callable[..., nn.Module]) -> None:
    assert {p.dtype for p in layer(2, 3, dtype=None).parameters()} == {nn.float32}
    with pytest.raises(TypeError, match="int64"):
        layer(2, 3, dtype=nn.int64)


@pytest.mark.parametrize("inside", [False, True])
def test_a_context_entered_twice_restores_recording(inside: bool) -> None:
    context = (nn.enable_grad if inside else nn.no_grad)()
    with nn.set_grad_enabled(not inside):
        for _ in range(2):
            with context:
                with context:
                    assert nn.is_grad_enabled() is inside
                assert nn.is_grad_enabled() is inside
            assert nn.is_grad_enabled() is not inside
        with pytest.raises(ArithmeticError), context, context:
            raise ArithmeticError
        assert nn.is_grad_enabled() is not inside


@pytest.mark.parametrize("decorator", [nn.no_grad, nn.no_grad()])
def test_no_grad_decorates_a_recursive_function(decorator: Any) -> None:
    @decorator
    def record(depth: int) -> list[bool]:
        return [nn.is_grad_enabled()] if depth == 0 else [*record(depth - 1), nn.is_grad_enabled()]

    assert record(3) == [False] * 4
    assert nn.is_grad_enabled()


def test_extend_of_a_module_list_is_all_or_nothing() -> None:
    items = nn.ModuleList([nn.Tanh()])
    with pytest.raises(TypeError, match="int"):
        items.extend([nn.ReLU(), 3])
    assert len(items) == 1
    assert items.extend(iter([nn.ReLU(), nn.Tanh()])) is items
    assert len(items) == 3


def test_cumulative_prod_has_the_gradient_of_differences_at_zeros() -> None:
    x = nn.tensor([[2.0, 0.0, 3.0], [0.0, 0.0, 1.0]], dtype=nn.float64, requires_grad=True)

    def run(x: nn.Tensor) -> nn.Tensor:
        return nn.ops.cumulative_prod(x, axis=1, include_initial=True)

    assert torch.autograd.gradcheck(run, x)
    assert torch.autograd.gradgradcheck(run, x)


def test_cumulative_prod_divides_by_nothing() -> None:
    # The product of the first two is below the smallest number; torch.cumprod gives 0 here.
    x = nn.tensor([1e-200, 1e-200, 1e200], dtype=nn.float64, requires_grad=True)
    nn.ops.cumulative_prod(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([1 + 1e-200 + 1, 1e-200 + 1, 0])


@pytest.mark.parametrize("shape", [5, (2, 3)])
def test_layer_norm_is_that_of_torch(shape: Any) -> None:
    x = nn.randn((4, 2, 3) if shape != 5 else (4, 5), requires_grad=True)
    ours, theirs = nn.LayerNorm(shape), torch.nn.LayerNorm(shape)
    theirs.load_state_dict(ours.state_dict())
    assert torch.equal(ours(x), theirs(x))
    assert nn.LayerNorm(shape, elementwise_affine=False).weight is None
    assert nn.LayerNorm(shape, bias=False).bias is None


def test_arrays_of_numpy_stand_beside_tensors() -> None:
    x, array = nn.ones((2, 2)), np.full((2, 2), 2.0)
    for result in (nn.ops.add(x, array), nn.ops.add(array, x), nn.ops.concat([x, array])):
        assert result.dtype == nn.float64
    assert nn.ops.multiply(x, np.float64(2)).dtype == nn.float32
    assert nn.ops.take(x, np.array([1]), axis=0).shape == (1, 2)
    with pytest.raises(TypeError, match="add: at least one operand must be a Tensor"):
        nn.ops.add(array, 1.0)


def test_load_state_dict_returns_what_is_not_shared() -> None:
    state = {"weight": np.ones((1, 1)), "more": 1}
    missing, unexpected = nn.Linear(1, 1).load_state_dict(state, strict=False)
    assert (missing, unexpected) == (["bias"], ["more"])


def test_a_sum_as_integers_ends_the_history() -> None:
    x = nn.tensor([1.5, 2.5], requires_grad=True)
    result = nn.ops.sum(x, dtype=nn.int64)
    assert result.item() == 3
    assert not result.requires_grad
