"""nn.jit, and how often things are compiled."""

import gc
import weakref
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import compilations
from tolerances import agree

import impl_jax_vjp as nn

X = np.linspace(-1, 1, 6).reshape(2, 3)


def train(layer: Any, optimizer: Any, x: Any, target: Any) -> float:
    optimizer.zero_grad()
    output, _ = layer(x)
    loss = nn.loss.mse_loss(output[-1], target)
    loss.backward()
    optimizer.step()
    return loss.item()


def test_repeated_calls_of_the_same_shapes_compile_nothing() -> None:
    nn.manual_seed(0)
    layer = nn.LSTM(3, 4)
    optimizer = nn.optim.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    x, target = nn.rand((5, 2, 3)), nn.rand((2, 4))
    with compilations() as first:
        for _ in range(2):
            train(layer, optimizer, x, target)
    assert first
    with compilations() as later:
        for group in optimizer.param_groups:
            group["lr"] = 0.05
        for i in range(3):
            train(layer, optimizer, x * (1.0 + i), target)
            assert x[i].shape == (2, 3)
    # Of the two lines that are new, the product and the index, each is compiled once.
    assert len(later) <= 2


def test_nn_jit_compiles_once_for_a_form() -> None:
    traced = []

    @nn.jit
    def scaled(x: Any, rows: Any, *, power: int) -> Any:
        traced.append(power)
        return {"sum": (x**power).sum(), "rows": [rows["a"] * 2, power]}

    def call(power: int) -> Any:
        return scaled(nn.tensor(X), {"b": 1, "a": nn.tensor(X)}, power=power)

    result = call(2)
    agree(result["sum"].item(), (X**2).sum(), "gradient")
    np.testing.assert_array_equal(result["rows"][0].numpy(), 2 * X)
    assert result["rows"][1] == 2
    count = len(traced)
    with compilations() as events:
        call(2)
    assert len(traced) == count
    assert not events
    call(3)
    assert traced[-1] == 3


def test_nn_jit_keeps_the_order_of_a_dict() -> None:
    orders = []
    nn.jit(lambda d: orders.append(list(d)))({"w": nn.ones(1), "b": nn.ones(1)})
    assert orders[0] == ["w", "b"]


def test_captured_parameters_are_never_stale_and_get_gradients() -> None:
    nn.manual_seed(0)
    layer = nn.Linear(3, 2, dtype=nn.float64)
    compiled = nn.jit(lambda x: (layer(x) ** 2).mean())
    x = nn.tensor(X, requires_grad=True)
    optimizer = nn.optim.SGD(layer.parameters(), lr=0.1)
    for _ in range(3):
        compiled(x).backward()
        result = [t.grad.numpy() for t in (x, *layer.parameters())]
        optimizer.zero_grad()
        x.grad = None
        (layer(x) ** 2).mean().backward()
        for ours, theirs in zip(result, (x, *layer.parameters()), strict=True):
            agree(ours, theirs.grad.numpy(), "rnn")
        optimizer.step()
        optimizer.zero_grad()
        x.grad = None


def test_nn_jit_can_be_differentiated_twice() -> None:
    cube = nn.jit(lambda x: (x * x * x).sum())
    x = nn.tensor(X, requires_grad=True)
    cube(x).backward(create_graph=True)
    grad, x.grad = x.grad, None
    grad.sum().backward()
    agree(x.grad.numpy(), 6 * X, "gradient")
    gradient = nn.grad(lambda v: nn.grad(cube)(v).sum())
    agree(gradient(nn.tensor(X)).numpy(), 6 * X, "gradient")


def test_transformations_inside_nn_jit() -> None:
    nn.manual_seed(0)
    layer = nn.Linear(3, 2, dtype=nn.float64)

    def loss(params: Any, x: Any) -> Any:
        return (nn.functional_call(layer, params, x) ** 2).sum()

    @nn.jit
    def step(params: Any, x: Any) -> Any:
        value, grads = nn.value_and_grad(loss)(params, x)
        return value, {k: (params[k] - 0.1 * grads[k]).detach() for k in params}

    params = dict(layer.named_parameters())
    value, new = step(params, nn.tensor(X))
    expected, grads = nn.value_and_grad(loss)(params, nn.tensor(X))
    agree(value.item(), expected.item(), "gradient")
    for key, p in params.items():
        assert not new[key].requires_grad
        result = p.detach().numpy() - 0.1 * grads[key].numpy()
        agree(new[key].numpy(), result, "gradient")


def test_detach_inside_nn_jit() -> None:
    x = nn.tensor(X, requires_grad=True)
    y = nn.jit(lambda t: (t * t.detach()).sum())(x)
    y.backward()
    np.testing.assert_array_equal(x.grad.numpy(), X)
    with nn.no_grad():
        assert not nn.jit(lambda t: t * 2)(x).requires_grad

    @nn.jit
    def half(t: Any) -> Any:
        with nn.no_grad():
            constant = t * 2
        return (t * constant).sum(), constant

    x.grad = None
    value, constant = half(x)
    assert not constant.requires_grad
    value.backward()
    np.testing.assert_array_equal(x.grad.numpy(), 2 * X)


def test_side_effects_are_refused() -> None:
    layer = nn.Linear(3, 2)
    before = layer.weight.data
    with pytest.raises(RuntimeError, match=r"jit\(.*\): the function changed a Tensor"):
        nn.jit(lambda x: layer(x).sum().backward())(nn.ones((2, 3)))

    def assign(x: Any) -> Any:
        layer.weight.data = layer.weight.data * 2
        return x

    with pytest.raises(RuntimeError, match=r"jit\(.*\): the function changed a Tensor"):
        nn.jit(assign)(nn.ones(2))
    assert layer.weight.data is before
    assert layer.weight.grad is None


def test_static_arguments_have_to_be_hashable() -> None:
    with pytest.raises(TypeError, match="must be hashable"):
        nn.jit(lambda x, s: x)(nn.ones(2), {1, 2})


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_what_is_compiled_does_not_grow_with_the_sequence(cls: Any) -> None:
    layer = cls(3, 4)

    def program(steps: int) -> str:
        gradient = jax.grad(lambda m, x: m(nn.from_array(x))[0].data.sum())
        lowered = jax.jit(gradient).lower(layer, jnp.ones((steps, 2, 3), jnp.float32))
        return lowered.as_text()

    assert program(7).count("\n") == program(70).count("\n")


def test_each_state_of_a_module_is_compiled_once() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.Dropout(0.5))
    run = nn.jit(lambda x: module(x))
    x = nn.ones((2, 3))
    run(x), module.eval(), run(x)
    with compilations() as events:
        module.train(), run(x), module.eval(), run(x)
    assert not events


def test_what_is_compiled_keeps_no_module_alive() -> None:
    held = [nn.Linear(3, 3)]
    run = nn.jit(lambda x: held[0](x))
    run(nn.ones((2, 3)))
    gone = [weakref.ref(held[0]), weakref.ref(held[0].weight)]
    held[0] = nn.Linear(3, 3)
    assert [reference() for reference in gone] == [None, None]
    x = nn.ones((2, 3))
    agree(run(x).detach().numpy(), held[0](x).detach().numpy(), "gradient")


def test_old_programs_are_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from impl_jax_vjp import function_node

    class Double(nn.Function):
        compiled = True

        @staticmethod
        def forward(ctx: Any, x: Any, *, factor: int = 2) -> Any:
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            return grad * ctx.factor

    programs = function_node._Programs()
    monkeypatch.setattr(function_node, "_PROGRAMS", programs)
    monkeypatch.setattr(function_node, "_MOST_PROGRAMS", 6)
    held = []
    for factor in (1, 2, 3, 4, 5, 4, 1):
        x = nn.tensor([1.0, 2.0], requires_grad=True)
        y = Double.apply(x, factor=factor).sum()
        held.append((x, y, factor))
    assert len(Double._pairs) <= 6
    # A tape keeps what it needs.
    for x, y, factor in held:
        y.backward()
        assert x.grad.tolist() == [factor] * 2
    assert len(Double._pairs) <= 3
    first = next(iter(Double._pairs.values()))
    for size in range(1, 10):
        Double.apply(nn.zeros(size))
    assert first not in Double._pairs.values()
    assert sum(programs._counts.values()) <= 6
    gone = weakref.ref(first)
    del first, held, y
    gc.collect()
    assert gone() is None
