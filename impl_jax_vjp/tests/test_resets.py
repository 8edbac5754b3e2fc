"""Recurrent layers with resets under JAX's transformations, and what compiles.

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
ENDS = np.array([4, 0, 5])
MASK = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0]], bool)
X = np.linspace(-1, 1, T * N * I).reshape(T, N, I)
CLASSES = [nn.RNN, nn.LSTM, nn.GRU]


def layer_of(cls: Any, **options: Any) -> Any:
    """Return a layer in both directions, an LSTM with a projection."""
    nn.manual_seed(4)
    if cls is nn.LSTM:
        options["proj_size"] = 2
    return cls(I, H, bidirectional=True, dtype=nn.float64, **options)


def fresh(layer: Any) -> tuple[np.ndarray, ...]:
    """Return what stands at the beginning of an episode."""
    sizes = (2, H) if isinstance(layer, nn.LSTM) else (H,)
    return tuple([np.linspace(-0.5, 0.7, 2 * N * size).reshape(2, N, size) for size in sizes])


def paired(states: tuple[Any, ...]) -> Any:
    return states if len(states) > 1 else states[0]


def results(layer: Any, x: Any, mask: Any, states: Any = None, **options: Any) -> list[Any]:
    """Return output and last states."""
    given = None if states is None else paired(states)
    output, state = layer(x, reset_mask=mask, reset_state=given, **options)
    return [output, *(state if isinstance(state, tuple) else (state,))]


def loss(*arguments: Any, **options: Any) -> Any:
    return sum([(value**2).sum() for value in results(*arguments, **options)])


@pytest.mark.parametrize("cls", CLASSES)
def test_other_masks_compile_nothing(cls: Any) -> None:
    layer = layer_of(cls)
    loss(layer, nn.tensor(X, requires_grad=True), nn.tensor(MASK), fresh(layer)).backward()
    with compilations() as events:
        for other in (~MASK, np.zeros_like(MASK), nn.tensor(MASK), MASK.tolist()):
            layer.zero_grad()
            loss(layer, nn.tensor(X, requires_grad=True), other, fresh(layer)).backward()
    assert not events


@pytest.mark.parametrize("cls", CLASSES)
def test_a_program_does_not_grow_with_the_sequence(cls: Any) -> None:
    layer = layer_of(cls)

    def program(steps: int) -> str:
        gradient = jax.grad(lambda m, x, mask: loss(m, nn.from_array(x), mask).data)
        mask = jnp.ones((steps, N), bool)
        return jax.jit(gradient).lower(layer, jnp.ones((steps, N, I)), mask).as_text()

    assert program(7).count("\n") == program(70).count("\n")


@pytest.mark.parametrize("cls", CLASSES)
def test_resets_under_every_transformation(cls: Any) -> None:
    layer = layer_of(cls)
    leaf = nn.tensor(X, requires_grad=True)
    anew = [nn.tensor(state, requires_grad=True) for state in fresh(layer)]
    loss(layer, leaf, MASK, tuple(anew), lengths=ENDS).backward()
    traced = []

    def of(module: Any, x: Any, states: Any, mask: Any, ends: Any) -> Any:
        traced.append(mask)
        return loss(module, nn.from_array(x), mask, states, lengths=ends).data

    gradients = jax.jit(jax.grad(of, argnums=(0, 1, 2)))
    by_module, by_x, by_states = gradients(layer, X, fresh(layer), MASK, ENDS)
    agree(by_x, leaf.grad.numpy(), "rnn")
    for ours, theirs in zip(anew, by_states, strict=True):
        agree(theirs, ours.grad.numpy(), "rnn")
    for ours, theirs in zip(layer.parameters(), by_module.parameters(), strict=True):
        agree(theirs.detach().numpy(), ours.grad.numpy(), "rnn")
    count = len(traced)
    gradients(layer, X, fresh(layer), ~MASK, ENDS)
    assert len(traced) == count

    def single(x: Any, mask: Any, end: Any) -> Any:
        return results(layer, nn.from_array(x), mask, lengths=end)[0].data

    each = jax.vmap(single, in_axes=(1, 1, 0), out_axes=1)(X, MASK, ENDS)
    whole = results(layer, nn.tensor(X), MASK, lengths=ENDS)[0]
    agree(each, whole.detach().numpy(), "rnn")


def test_hessian_by_what_an_episode_begins_with() -> None:
    layer = layer_of(nn.GRU)
    x, mask, ends = nn.tensor(X[:3, :2]), MASK[:3, :2], np.array([3, 0])
    state = fresh(layer)[0][:, :2]

    def of(state: Any) -> Any:
        return loss(layer, x, mask, (state,), lengths=ends)

    result = nn.hessian(of)(nn.tensor(state)).numpy()
    by_jax = jax.jacrev(jax.jacrev(lambda v: of(nn.from_array(v)).data))
    expected = jax.jit(by_jax)(state)
    np.testing.assert_allclose(result, expected, rtol=1e-12, atol=1e-15)
    assert result[0, 0, :, 0, 0].all()
    assert result[1, 0, :, 1, 0].all()
    assert not result[:, 1].any()


@pytest.mark.parametrize("cls", CLASSES)
def test_what_is_not_finite_stays_in_its_episode(cls: Any) -> None:
    layer, mask = layer_of(cls), np.zeros((T, N), bool)
    mask[2, 0] = True
    found = []
    for bad in (0.5, np.nan):
        x = X.copy()
        x[0, 0] = bad
        leaf = nn.tensor(x, requires_grad=True)
        output, *_ = results(layer, leaf, mask)
        (output[2:] ** 2).sum().backward()
        found.append((output.detach().numpy(), leaf.grad.numpy()))
    assert np.isnan(found[1][0][0, 0]).all()
    for values, others in zip(*found, strict=True):
        np.testing.assert_array_equal(values[2:], others[2:])
        np.testing.assert_array_equal(values[:, 1:], others[:, 1:])


@pytest.mark.parametrize("cls", CLASSES)
def test_a_length_out_of_range_in_a_trace_gives_nan(cls: Any) -> None:
    layer = layer_of(cls)

    def of(x: Any, mask: Any, ends: Any) -> Any:
        found = results(layer, nn.from_array(x), mask, fresh(layer), lengths=ends)
        return [value.data for value in found]

    known = results(layer, nn.tensor(X), MASK, fresh(layer), lengths=[4, 0, 5])
    for value, right in zip(jax.jit(of)(X, MASK, np.array([4, 6, 5])), known, strict=True):
        assert np.isnan(value[:, 1]).all()
        agree(value[:, ::2], right.detach().numpy()[:, ::2], "rnn")


@pytest.mark.parametrize("mode", [False, True])
def test_resets_in_either_x64_mode(mode: bool) -> None:
    layer, x = nn.GRU(I, H, bidirectional=True), X.astype(np.float32)
    leaf = nn.tensor(x, requires_grad=True)
    loss(layer, leaf, MASK).backward()
    with jax.enable_x64(mode):
        of = jax.grad(lambda x, mask: loss(layer, nn.from_array(x), mask).data)
        for gradient in (of, jax.jit(of)):
            result = gradient(jnp.asarray(x), jnp.asarray(MASK))
            np.testing.assert_allclose(result, leaf.grad.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(0, N), (T, 0)])
@pytest.mark.parametrize("cls", CLASSES)
def test_zero_sizes(cls: Any, shape: tuple[int, int]) -> None:
    layer = layer_of(cls)
    x = nn.zeros((*shape, I), dtype=nn.float64, requires_grad=True)
    sizes = (2, H) if cls is nn.LSTM else (H,)
    states = [nn.ones((2, shape[1], s), dtype=nn.float64, requires_grad=True) for s in sizes]
    found = results(layer, x, np.ones(shape, bool), tuple(states))
    assert found[0].shape[:2] == shape
    assert not any([value.detach().numpy().any() for value in found])
    sum([value.sum() for value in found]).backward()
    assert not any([state.grad.numpy().any() for state in states])


def test_a_mask_may_be_lists_with_traced_parts() -> None:
    layer = layer_of(nn.GRU)
    expected = results(layer, nn.tensor(X), MASK)[0].detach().numpy()
    rows = jax.jit(lambda first: results(layer, nn.tensor(X), [first, *MASK[1:].tolist()])[0].data)
    agree(rows(MASK[0]), expected, "rnn")
    one = jax.jit(
        lambda mark: results(layer, nn.tensor(X), [[mark, True, False], *MASK[1:]])[0].data
    )
    agree(one(MASK[0, 0]), expected, "rnn")


def test_what_is_no_mask() -> None:
    layer, x = layer_of(nn.LSTM), nn.tensor(X)
    endless: list[Any] = []
    endless.append(endless)
    for mask, message in (
        ([[True] * N] * (T - 1), r"reset_mask must have shape \(T, N\) = \(5, 3\), got \(4, 3\)"),
        ([[True], [True] * 2], "reset_mask must be booleans, got rows of several shapes"),
        (endless, "reset_mask must be of two axes at most, got more than"),
    ):
        with pytest.raises(ValueError, match=f"LSTM: {message}"):
            layer(x, reset_mask=mask)
    with pytest.raises(TypeError, match="LSTM: reset_mask must be booleans, got int"):
        layer(x, reset_mask=[[1] * N] * T)
    with pytest.raises(ValueError, match=r"reset_state h0 must have shape \(2, N, P\) = \(2, 3, 2"):
        layer(x, reset_mask=MASK, reset_state=(nn.zeros((2, N, H)),) * 2)
    with pytest.raises(ValueError, match=r"LSTM: reset_state must be a pair \(h0, c0\) of shapes"):
        layer(x, reset_mask=MASK, reset_state=nn.zeros((2, N, 2)))
