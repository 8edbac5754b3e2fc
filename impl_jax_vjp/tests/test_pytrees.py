"""Tensors and Modules as pytrees: what JAX and its libraries do with them."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn


class Net(nn.Module):
    """Two layers, one Parameter under two names, a buffer and plain attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 4, dtype=nn.float64)
        self.second = nn.Sequential(nn.Tanh(), nn.Linear(4, 3, dtype=nn.float64))
        self.second[1].bias = nn.Parameter(nn.zeros(3, dtype=nn.float64))
        self.tied = self.first.weight
        self.register_buffer("shift", nn.ones(3, dtype=nn.float64))
        self.sizes = [3, 4]
        self.register_forward_hook(double)

    def forward(self, x: Any) -> Any:
        return self.second(self.first(x)) @ nn.ops.matrix_transpose(self.tied) + self.shift.sum()


def double(module: Any, args: Any, output: Any) -> Any:
    return 2 * output


@pytest.fixture
def net() -> Net:
    nn.manual_seed(0)
    return Net()


INPUT = np.linspace(-1, 1, 15).reshape(5, 3)


def loss_of(module: Any, x: Any) -> Any:
    y = module(nn.from_array(jnp.asarray(x)))
    return (y * y).mean()


def tape_gradients(module: Any) -> dict[str, Any]:
    module.zero_grad()
    loss_of(module, INPUT).backward()
    return {name: p.grad.numpy() for name, p in module.named_parameters()}


def test_a_module_is_flattened_to_its_distinct_tensors(net: Net) -> None:
    leaves, tree = jax.tree.flatten(net)
    assert len(leaves) == 5
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(net)]
    assert ".first.bias[<flat index 0>]" in paths
    again = jax.tree.unflatten(tree, leaves)
    assert type(again) is Net
    assert again.tied is again.first.weight
    assert isinstance(again.tied, nn.Parameter)
    assert again.tied.requires_grad
    assert repr(again) == repr(net)
    np.testing.assert_array_equal(loss_of(again, INPUT).item(), loss_of(net, INPUT).item())


def test_structures_compare_by_what_they_hold(net: Net) -> None:
    structure = jax.tree.structure
    assert structure(net) == structure(jax.tree.map(lambda a: a + 1, net))
    assert hash(structure(net)) == hash(structure(jax.tree.map(lambda a: a, net)))
    before = structure(net)
    net.sizes.append(5)
    assert structure(net) != before
    net.sizes.pop()
    assert structure(net) == before
    assert structure(net.eval()) != before
    net.train()
    net.first.weight.requires_grad_(False)
    assert structure(net) != before


@pytest.mark.parametrize("compile_", [False, True])
def test_jax_grad_equals_the_tape(net: Net, compile_: bool) -> None:
    gradient = jax.grad(lambda m, x: loss_of(m, x).data)
    result = (jax.jit(gradient) if compile_ else gradient)(net, INPUT)
    assert type(result) is Net
    expected = tape_gradients(net)
    for name, parameter in result.named_parameters():
        agree(parameter.detach().numpy(), expected[name], "rnn")


def test_the_tape_inside_jit_equals_the_tape(net: Net) -> None:
    @jax.jit
    def gradients(module: Any, x: Any) -> Any:
        loss_of(module, x).backward()
        return {name: p.grad for name, p in module.named_parameters()}

    result = gradients(net, INPUT)
    for name, expected in tape_gradients(net).items():
        agree(result[name].numpy(), expected, "rnn")
    assert all(isinstance(p.data, jax.Array) for p in net.parameters())


def test_nn_grad_takes_a_module(net: Net) -> None:
    value, result = nn.value_and_grad(loss_of)(net, INPUT)
    agree(value.item(), loss_of(net, INPUT).item(), "elementwise")
    for name, expected in tape_gradients(net).items():
        agree(result.get_parameter(name).numpy(), expected, "gradient")


def test_vmap_over_examples(net: Net) -> None:
    per_example = jax.vmap(lambda m, x: loss_of(m, x[None]), in_axes=(None, 0))(net, INPUT)
    assert isinstance(per_example, nn.Tensor)
    assert per_example.shape == (5,)
    agree(per_example.numpy().mean(), loss_of(net, INPUT).item(), "rnn")
    rows = jax.vmap(jax.grad(lambda m, x: loss_of(m, x[None]).data), in_axes=(None, 0))(net, INPUT)
    mean = jax.tree.map(lambda a: a.mean(0), rows)
    for name, expected in tape_gradients(net).items():
        result = mean.get_parameter(name).detach().numpy()
        agree(result, expected, "rnn")


def test_vmap_over_modules() -> None:
    nn.manual_seed(1)
    members = [nn.Linear(3, 2, dtype=nn.float64) for _ in range(4)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    result = jax.vmap(lambda m, x: m(nn.from_array(x)), in_axes=(0, None))(
        stacked, jnp.asarray(INPUT)
    )
    expected = [m(nn.tensor(INPUT)).detach().numpy() for m in members]
    agree(result.detach().numpy(), expected, "gradient")


def test_an_update_by_tree_map(net: Net) -> None:
    @jax.jit
    def step(module: Any, x: Any) -> Any:
        value, grads = jax.value_and_grad(lambda m: loss_of(m, x).data)(module)
        return value, jax.tree.map(lambda p, g: p - 0.05 * g, module, grads)

    losses = []
    for _ in range(5):
        value, net = step(net, INPUT)
        losses.append(float(value))
    assert losses == sorted(losses, reverse=True)
    assert type(net) is Net
    assert net.tied is net.first.weight


def test_optax(net: Net) -> None:
    optax = pytest.importorskip("optax", reason="optax is not installed")
    transform = optax.adam(0.01)

    @jax.jit
    def step(module: Any, state: Any, x: Any) -> Any:
        value, grads = jax.value_and_grad(lambda m: loss_of(m, x).data)(module)
        updates, state = transform.update(grads, state, module)
        return optax.apply_updates(module, updates), state, value

    ours = jax.tree.map(lambda a: a, net)
    ours.shift.requires_grad_(True)
    optimizer = nn.optim.Adam([*ours.parameters(), ours.shift], lr=0.01)
    state = transform.init(net)
    for _ in range(3):
        net, state, value = step(net, state, INPUT)
        optimizer.zero_grad()
        loss = loss_of(ours, INPUT)
        loss.backward()
        optimizer.step()
        agree(float(value), loss.item(), "optim")


@pytest.mark.parametrize("cls", [nn.RNN, nn.LSTM, nn.GRU])
def test_a_recurrent_layer_under_every_transformation(cls: Any) -> None:
    nn.manual_seed(2)
    layer = cls(3, 4, dtype=nn.float64)
    x = np.linspace(-1, 1, 30).reshape(5, 2, 3)

    def loss(module: Any, x: Any) -> Any:
        return (module(nn.from_array(jnp.asarray(x)))[0] ** 2).sum()

    loss(layer, x).backward()
    result = jax.jit(jax.grad(lambda m, x: loss(m, x).data))(layer, x)
    for ours, theirs in zip(layer.parameters(), result.parameters(), strict=True):
        agree(ours.grad.numpy(), theirs.detach().numpy(), "rnn")
    each = jax.vmap(lambda x: loss(layer, x[:, None]).data, in_axes=1)(x)
    agree(each.sum(), loss(layer, x).item(), "rnn")

    def penalty(v: Any) -> Any:
        return (jax.grad(lambda x: loss(layer, x).data)(v) ** 2).sum()

    point, step = jnp.asarray(x), 6e-6
    direction = jnp.asarray(np.cos(np.arange(30.0)).reshape(x.shape))
    slope = (penalty(point + step * direction) - penalty(point - step * direction)) / (2 * step)
    agree((jax.grad(penalty)(point) * direction).sum(), slope, "difference")


def test_a_tensor_is_a_pytree() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    doubled = jax.tree.map(lambda a: 2 * a, x)
    assert isinstance(doubled, nn.Tensor)
    assert doubled.requires_grad
    assert not jax.tree.map(lambda a: a, x * 2).requires_grad
    assert isinstance(jax.jit(lambda t: t + 1)(x), nn.Tensor)
    parameter = nn.Parameter(x)
    assert isinstance(jax.tree.map(lambda a: a, parameter), nn.Parameter)
    assert jax.tree.map(lambda a: None, {"x": x})["x"].data is None


def test_raw_arrays_leave_operators_to_tensors() -> None:
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    for array in (jnp.ones(2, jnp.float32), np.ones(2, np.float32)):
        for result in (array + x, array * x, array @ x, x - array):
            assert isinstance(result, nn.Tensor)
            assert result.requires_grad
    assert not hasattr(x, "__jax_array__")


def test_dropout_draws_at_each_run_of_compiled_code() -> None:
    layer = nn.Dropout(0.5)
    x = nn.ones(64)
    for run in (jax.jit(lambda t: layer(t)), nn.jit(layer), layer):
        nn.manual_seed(3)
        first, second = run(x), run(x)
        assert first.tolist() != second.tolist()
        nn.manual_seed(3)
        assert layer(x).tolist() == first.tolist()
        assert layer(x).tolist() == second.tolist()
