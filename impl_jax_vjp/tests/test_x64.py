"""JAX's x64 mode is the user's: what our calls leave of it, and what the user's own calls find."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tolerances import agree

import impl_jax_vjp as nn


@pytest.fixture(autouse=True)
def x64() -> Iterator[None]:
    """Leave JAX as it is in a process that nobody touched."""
    with jax.enable_x64(False):
        yield


def narrow() -> bool:
    return jnp.ones(3).dtype == np.float32 and not jax.config.jax_enable_x64


def test_importing_changes_nothing() -> None:
    program = (
        "import jax, jax.numpy as jnp, impl_jax_vjp as nn\n"
        "assert not jax.config.jax_enable_x64\n"
        "x = nn.tensor([2.0, 3.0], dtype=nn.float64, requires_grad=True)\n"
        "(x * x).sum().backward()\n"
        "assert x.grad.dtype == nn.float64 and nn.tensor(2**40).item() == 2**40\n"
        "assert not jax.config.jax_enable_x64 and jnp.ones(3).dtype == jnp.float32\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True)


def test_our_code_of_the_user_runs_in_the_users_mode() -> None:
    seen = []

    def square(x: Any) -> Any:
        seen.append(narrow())
        return (x * x).sum()

    class Half(nn.Module):
        def forward(self, x: Any) -> Any:
            seen.append(narrow())
            return x * 0.5

    x = nn.tensor([1.0, 2.0], dtype=nn.float64, requires_grad=True)
    x.register_hook(lambda g: seen.append(narrow()))
    square(Half()(x)).backward()
    nn.grad(square)(x)
    nn.value_and_grad(square)(x)
    nn.vjp(square, x)[1](nn.tensor(1.0, dtype=nn.float64))
    nn.jit(square)(x).backward()
    assert x.grad.dtype == np.float64
    assert len(seen) > 6
    assert all(seen)
    assert narrow()


def test_the_mode_is_back_after_an_error() -> None:
    class Fails(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, where: str) -> Any:
            ctx.where = where
            if where == "forward":
                raise KeyError(where)
            return x

        @staticmethod
        def backward(ctx: Any, grad: Any) -> Any:
            raise KeyError(ctx.where)

    def hook(grad: Any) -> Any:
        raise KeyError

    x = nn.ones(2, requires_grad=True)
    with pytest.raises(KeyError):
        Fails.apply(x, "forward")
    with pytest.raises(KeyError):
        Fails.apply(x, "backward").sum().backward()
    with pytest.raises(TypeError):
        nn.ops.add(x, nn.ones(3)) if x.shape == (3,) else nn.ops.add(x, "a")
    x.register_hook(hook)
    with pytest.raises(KeyError):
        x.sum().backward()
    assert narrow()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_float64_and_int64_are_whole(dtype: Any) -> None:
    x = np.linspace(-1, 1, 12).reshape(3, 4).astype(dtype)
    net = nn.Sequential(nn.Linear(4, 5, dtype=dtype), nn.Tanh(), nn.Linear(5, 2, dtype=dtype))
    layer = nn.LSTM(2, 3, dtype=dtype)
    optimizer = nn.optim.Adam([*net.parameters(), *layer.parameters()])
    loss = nn.loss.cross_entropy(layer(net(nn.tensor(x)))[0], nn.tensor([0, 1, 2]))
    loss.backward(create_graph=True)
    optimizer.step()
    assert loss.dtype == dtype
    for parameter in [*net.parameters(), *layer.parameters()]:
        assert parameter.dtype == parameter.grad.dtype == dtype
    assert nn.ops.argmax(loss).dtype == np.int64
    assert nn.tensor([2**40])[0].item() == 2**40


class Double(nn.Function):
    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return 2 * x

    @staticmethod
    def backward(ctx: Any, grad: Any) -> Any:
        return 2 * grad


def objective(module: Any, x: Any) -> Any:
    x = nn.from_array(x)
    y = Double.apply(module[0](x))[1:, ::2]
    y = module[1](nn.ops.expand_dims(y, axis=1))[0]
    rows = nn.ops.take(y, jnp.array([0, 1]), axis=0)
    return (nn.ops.softmax(rows, -1) ** 2).mean() + nn.ops.argmax(rows) * 0.0


def test_float32_under_jax() -> None:
    module = nn.ModuleList([nn.Linear(3, 4), nn.GRU(2, 3)])
    x = jnp.linspace(-1, 1, 12).reshape(4, 3)
    assert x.dtype == np.float32

    def loss(module: Any, x: Any) -> Any:
        return objective(module, x).data

    value = objective(module, x)
    value.backward()
    expected = {name: p.grad.numpy() for name, p in module.named_parameters()}
    for gradient in (jax.grad(loss), jax.jit(jax.grad(loss)), jax.grad(jax.jit(loss))):
        result = gradient(module, x)
        for name, parameter in result.named_parameters():
            np.testing.assert_allclose(
                parameter.detach().numpy(), expected[name], rtol=1e-4, atol=1e-6
            )
    many = jax.vmap(loss, in_axes=(None, 0))(module, jnp.stack([x, x]))
    agree(many, np.full(2, value.item(), np.float32), "rnn")
    assert many.dtype == np.float32
    carried = jax.lax.scan(lambda c, _: (c + loss(module, x), None), jnp.float32(0), None, 3)[0]
    agree(carried, np.float32(3 * value.item()), "rnn")
    second = jax.grad(lambda x: (jax.grad(loss, argnums=1)(module, x) ** 2).sum())(x)
    assert second.dtype == np.float32
    assert bool(jnp.isfinite(second).all())


def test_dropout_under_jax_draws_what_it_draws_eagerly() -> None:
    layer, x = nn.Dropout(0.5), nn.ones(64)
    nn.manual_seed(3)
    first = jax.jit(lambda t: layer(t))(x).tolist()
    nn.manual_seed(3)
    assert layer(x).tolist() == first


def test_float64_under_jax_follows_the_users_mode() -> None:
    x = nn.tensor([1.0, 2.0], dtype=nn.float64)
    # Values keep their dtype in our operations, compiled by the user or not.
    assert jax.jit(lambda t: nn.ops.tanh(t * 2))(x).dtype == np.float64
    with jax.enable_x64(True):
        gradient = jax.grad(lambda t: (t * t).sum().data)(x)
    assert gradient.dtype == np.float64
    np.testing.assert_array_equal(gradient.numpy(), [2.0, 4.0])
