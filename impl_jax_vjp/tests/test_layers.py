"""Recurrent layers with lengths and other options under JAX's transformations, and what compiles.

T steps, N batch, I input size, H hidden size.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import compilations
from tolerances import agree

import impl_jax_vjp as nn

T, N, I, H = 5, 3, 3, 4  # noqa: E741 - the letters of the chapter
ENDS = np.array([3, 0, 5])
X = np.linspace(-1, 1, T * N * I).reshape(T, N, I)
CLASSES = [nn.RNN, nn.LSTM, nn.GRU]


def layer_of(cls: Any, **options: Any) -> Any:
    """Return a layer with every option."""
    nn.manual_seed(4)
    if cls is nn.LSTM:
        options["proj_size"] = 2
    return cls(I, H, 2, bidirectional=True, dtype=nn.float64, **options)


def padded(x: np.ndarray) -> np.ndarray:
    """Return an input with NaN where no sequence runs."""
    return np.where((np.arange(T)[:, None] < ENDS)[..., None], x, np.nan)


def results(layer: Any, x: Any, lengths: Any = None) -> list[Any]:
    """Return output and last states."""
    output, state = layer(x, lengths=lengths)
    return [output, *(state if isinstance(state, tuple) else (state,))]


def loss(layer: Any, x: Any, lengths: Any = None) -> Any:
    return sum([(value**2).sum() for value in results(layer, x, lengths)])


@pytest.mark.parametrize("cls", CLASSES)
def test_other_lengths_compile_nothing(cls: Any) -> None:
    layer = layer_of(cls)
    loss(layer, nn.tensor(X, requires_grad=True), ENDS).backward()
    nn.tensor([5, 0, 1])
    with compilations() as events:
        for other in ([1, 2, 3], (0, 0, 0), np.full(N, T, "uint8"), nn.tensor([5, 0, 1])):
            layer.zero_grad()
            loss(layer, nn.tensor(X, requires_grad=True), other).backward()
    assert not events


@pytest.mark.parametrize("cls", CLASSES)
def test_a_further_layer_compiles_nothing(cls: Any) -> None:
    x = nn.zeros((7, 2, H))
    cls(H, H, 2)(x, lengths=[3, 7])
    with compilations() as events:
        cls(H, H, 5)(x, lengths=[3, 7])
    # The last states of five layers are put together, which is one array, or two of the LSTM.
    assert len(events) <= 2


@pytest.mark.parametrize("cls", CLASSES)
def test_a_program_does_not_grow_with_the_sequence(cls: Any) -> None:
    layer = layer_of(cls)

    def program(steps: int) -> str:
        gradient = jax.grad(lambda m, x, ends: loss(m, nn.from_array(x), ends).data)
        return jax.jit(gradient).lower(layer, jnp.ones((steps, N, I)), jnp.ones(N, int)).as_text()

    assert program(7).count("\n") == program(70).count("\n")


@pytest.mark.parametrize("cls", CLASSES)
def test_lengths_under_every_transformation(cls: Any) -> None:
    layer, x = layer_of(cls), padded(X)
    leaf = nn.tensor(x, requires_grad=True)
    loss(layer, leaf, ENDS).backward()
    traced = []

    def of(module: Any, x: Any, ends: Any) -> Any:
        traced.append(ends)
        return loss(module, nn.from_array(x), ends).data

    gradients = jax.jit(jax.grad(of, argnums=(0, 1)))
    by_module, by_x = gradients(layer, jnp.asarray(x), jnp.asarray(ENDS))
    agree(by_x, leaf.grad.numpy(), "rnn")
    for ours, theirs in zip(layer.parameters(), by_module.parameters(), strict=True):
        agree(theirs.detach().numpy(), ours.grad.numpy(), "rnn")
    count = len(traced)
    gradients(layer, jnp.asarray(x), jnp.asarray(ENDS[::-1].copy()))
    assert len(traced) == count

    def single(x: Any, end: Any) -> Any:
        return results(layer, nn.from_array(x), end)[0].data

    each = jax.vmap(single, in_axes=(1, 0), out_axes=1)(jnp.asarray(x), jnp.asarray(ENDS))
    agree(each, results(layer, nn.tensor(x), ENDS)[0].detach().numpy(), "rnn")


@pytest.mark.parametrize("cls", CLASSES)
def test_hessian_of_a_layer_with_lengths(cls: Any) -> None:
    layer, ends = cls(I, H, bidirectional=True, dtype=nn.float64), np.array([2, 0])
    x = X[:3, :2]
    result = nn.hessian(lambda v: loss(layer, v, ends))(nn.tensor(x)).numpy()
    by_jax = jax.jacrev(jax.jacrev(lambda v: loss(layer, nn.from_array(v), ends).data))
    expected = jax.jit(by_jax)(jnp.asarray(x))
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-15)
    assert result[:2, 0, :, :2, 0].all()
    assert not result[2].any()
    assert not result[:, 1].any()


@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("dtype", "wrong"),
    [("uint8", 6), ("int8", -1), ("int64", 2**32 + 3), ("uint64", 2**64 - 3)],
)
def test_lengths_out_of_range_in_a_trace_give_nan(cls: Any, dtype: str, wrong: int) -> None:
    layer = layer_of(cls)
    run = jax.jit(lambda x, ends: [value.data for value in results(layer, nn.from_array(x), ends)])
    given, known = np.array([3, wrong, 5], dtype), np.array([3, 0, 5])
    for value, right in zip(run(X, given), results(layer, nn.tensor(X), known), strict=True):
        assert np.isnan(value[:, 1]).all()
        agree(value[:, ::2], right.detach().numpy()[:, ::2], "rnn")


@pytest.mark.parametrize("cls", CLASSES)
def test_lengths_out_of_range_have_no_gradient(cls: Any) -> None:
    layer = layer_of(cls)

    @jax.jit
    def gradients(module: Any, x: Any, ends: Any, weights: Any) -> Any:
        def chosen(module: Any, x: Any) -> Any:
            output = results(module, nn.from_array(x), ends)[0]
            return (output.data[:, weights] ** 2).sum()

        return jax.grad(chosen, argnums=(0, 1))(module, x)

    rows = np.array([0, 2])
    result = gradients(layer, X, np.array([3, 9, 5]), rows)
    expected = gradients(layer, X, np.array([3, 0, 5]), rows)
    for ours, theirs in zip(*map(jax.tree.leaves, (result, expected)), strict=True):
        agree(ours, theirs, "rnn")
    assert not np.isnan(result[1]).any()


def test_lengths_may_be_a_list_of_traced_numbers() -> None:
    layer = layer_of(nn.GRU)
    run = jax.jit(lambda x, ends: results(layer, nn.from_array(x), ends)[0].data)
    expected = results(layer, nn.tensor(X), ENDS)[0].detach().numpy()
    agree(run(X, ENDS.tolist()), expected, "rnn")
    one = jax.jit(lambda x, end: results(layer, nn.from_array(x), [3, end, 5])[0].data)
    agree(one(X, 0), expected, "rnn")
    with pytest.raises(TypeError, match="GRU: lengths must be integers, got dtype float64"):
        one(X, 0.5)
    with pytest.raises(ValueError, match=r"GRU: lengths must have shape \(N,\) = \(3,\), got"):
        jax.jit(lambda ends: layer(nn.tensor(X), lengths=ends))(np.ones(2, int))


@pytest.mark.parametrize("mode", [False, True])
def test_lengths_in_either_x64_mode(mode: bool) -> None:
    layer = nn.LSTM(I, H, bidirectional=True)
    x = X.astype(np.float32)
    leaf = nn.tensor(x, requires_grad=True)
    loss(layer, leaf, ENDS).backward()
    with jax.enable_x64(mode):
        of = jax.grad(lambda x, ends: loss(layer, nn.from_array(x), ends).data)
        for gradient in (of, jax.jit(of)):
            result = gradient(jnp.asarray(x), jnp.asarray(ENDS))
            np.testing.assert_allclose(result, leaf.grad.numpy(), rtol=1e-4, atol=1e-6)


def test_dropout_between_layers_under_jit_draws_what_it_draws_eagerly() -> None:
    layer, x = layer_of(nn.RNN, dropout=0.5), nn.tensor(X)
    found = []
    for run in (layer, nn.jit(layer), jax.jit(lambda x: layer(x))):
        nn.manual_seed(3)
        found.append([run(x)[0].detach().numpy() for _ in range(2)])
    for first, second in found:
        assert not np.array_equal(first, second)
        agree(first, found[0][0], "rnn")
        agree(second, found[0][1], "rnn")


@pytest.mark.parametrize("cls", CLASSES)
def test_a_function_takes_fewer_arguments_too(cls: Any) -> None:
    layer, x = cls(I, H, dtype=nn.float64), nn.tensor(X)
    first = [nn.zeros((N, H), dtype=nn.float64)] * (2 if cls is nn.LSTM else 1)
    function = getattr(nn.rnn, f"{cls.__name__}Function")
    output, *_ = function.apply(x, *first, *layer.parameters())
    output.sum().backward()
    agree(output.detach().numpy(), layer(x)[0].detach().numpy(), "rnn")
    assert all(parameter.grad is not None for parameter in layer.parameters())
