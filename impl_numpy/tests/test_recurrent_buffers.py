"""The fused recurrent Functions work in buffers of their own, in both dtypes and any layout."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.rnn import lengths
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction

T, N, I, H = 7, 3, 4, 5  # noqa: E741 - steps, batch, input, hidden
FUNCTIONS = {"RNN": (RNNFunction, 1, 1), "LSTM": (LSTMFunction, 4, 2), "GRU": (GRUFunction, 3, 1)}
KINDS = pytest.mark.parametrize("kind", sorted(FUNCTIONS))
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def inputs(kind: str, dtype: type, seed: int = 0, bias: bool = True) -> list:
    """x, the states and the weights, all wanting gradients."""
    _, gates, states = FUNCTIONS[kind]
    rng = np.random.default_rng(seed)
    shapes = [(T, N, I), *[(N, H)] * states, (gates * H, I), (gates * H, H)]
    shapes += [(gates * H,)] * 2 if bias else []
    arrays = [rng.uniform(-1, 1, shape).astype(dtype) for shape in shapes]
    return [nn.tensor(array, requires_grad=True) for array in arrays] + [None] * (2 - 2 * bias)


def apply(kind: str, given: list) -> tuple:
    config = {"nonlinearity": "tanh"} if kind == "RNN" else {}
    return FUNCTIONS[kind][0].apply(*given, **config)


def gradients(outputs: tuple, given: list) -> list:
    for x in given:
        if x is not None:
            x.grad = None
    sum(nn.ops.sum(nn.ops.sin(y)) for y in outputs).backward()
    return [None if x is None else x.grad.data for x in given]


def assert_close(got: list, wanted: list, dtype: type) -> None:
    for a, b in zip(got, wanted, strict=True):
        if b is not None:
            assert a.dtype == b.dtype == dtype
            tolerance = 64 * np.finfo(dtype).eps
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.abs(b).max())


@KINDS
@DTYPES
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("chunk", [1, 2 * N * H, 1 << 16])
def test_fused_agrees_with_its_composite(kind, dtype, bias, chunk, monkeypatch) -> None:
    monkeypatch.setattr(lengths, "CHUNK", chunk)
    given = inputs(kind, dtype, bias=bias)
    config = {"nonlinearity": "tanh"} if kind == "RNN" else {}
    whole = apply(kind, given)
    plain = FUNCTIONS[kind][0].composite(*given, **config)
    assert_close([y.data for y in whole], [y.data for y in plain], dtype)
    assert_close(gradients(whole, given), gradients(plain, given), dtype)


@KINDS
@DTYPES
@pytest.mark.parametrize("batch", [1, N])
def test_the_states_alone_have_gradients_too(kind, dtype, batch) -> None:
    given = inputs(kind, dtype)
    given[0] = nn.tensor(given[0].data[:, :batch], requires_grad=True)
    for k in range(1, 1 + FUNCTIONS[kind][2]):
        given[k] = nn.tensor(given[k].data[:batch], requires_grad=True)
    config = {"nonlinearity": "tanh"} if kind == "RNN" else {}
    plain = FUNCTIONS[kind][0].composite(*given, **config)
    whole = apply(kind, given)
    for k in (slice(1, None), slice(None), slice(0, 1)):
        assert_close(gradients(whole[k], given), gradients(plain[k], given), dtype)
        plain = FUNCTIONS[kind][0].composite(*given, **config)
        whole = apply(kind, given)


@KINDS
@DTYPES
def test_two_forwards_before_one_backward(kind, dtype) -> None:
    first, second = inputs(kind, dtype, 1), inputs(kind, dtype, 2)
    alone = gradients(apply(kind, first), first)
    outputs = apply(kind, first)
    values = [y.data.copy() for y in outputs]
    others = apply(kind, second)
    gradients(others, second)
    for y, value in zip(outputs, values, strict=True):
        np.testing.assert_array_equal(y.data, value)
    for a, b in zip(gradients(outputs, first), alone, strict=True):
        np.testing.assert_array_equal(a, b)


@KINDS
def test_what_the_caller_holds_can_change(kind) -> None:
    given = inputs(kind, np.float64)

    def loss() -> tuple:
        for x in given:
            x.grad = None
        outputs = apply(kind, given)
        return outputs, sum(nn.ops.sum(y * 3.0) for y in outputs)

    loss()[1].backward()
    wanted = [x.grad.data for x in given]
    outputs, again = loss()
    # An episode that ends resets its state, in the array that the layer was given or has returned.
    for x in (*given[1 : 1 + FUNCTIONS[kind][2]], *outputs[1:]):
        x.data[0] = 0
    again.backward()
    for x, b in zip(given, wanted, strict=True):
        np.testing.assert_array_equal(x.grad.data, b)


@KINDS
@DTYPES
def test_layouts_do_not_matter(kind, dtype) -> None:
    given = inputs(kind, dtype)
    odd = [nn.from_array(np.asfortranarray(x.data), requires_grad=True) for x in given]
    fused, again = apply(kind, given), apply(kind, odd)
    assert_close([y.data for y in again], [y.data for y in fused], dtype)
    assert_close(gradients(again, odd), gradients(fused, given), dtype)


@KINDS
def test_without_gradients_nothing_is_saved(kind) -> None:
    with nn.no_grad():
        outputs = apply(kind, inputs(kind, np.float32))
    assert all(y.grad_fn is None for y in outputs)
    node = apply(kind, inputs(kind, np.float32))[0].grad_fn
    # What is saved grows with T by the gates, the tanh of one, the states, and by nothing else.
    width = {"RNN": 1 + 1, "LSTM": 4 + 1 + 2, "GRU": 3 + 1 + 2}[kind]
    (call,) = node.parents
    own = [x for x in call.saved if x is not None and x.shape[0] in (T, T + 1) and x.shape[2] != I]
    assert sum(x.size for x in own) <= width * (T + 1) * N * H


@KINDS
def test_backward_can_be_run_twice(kind) -> None:
    given = inputs(kind, np.float64)
    loss = nn.ops.sum(apply(kind, given)[0])
    loss.backward(retain_graph=True)
    once = [x.grad.data.copy() for x in given]
    loss.backward()
    for x, b in zip(given, once, strict=True):
        np.testing.assert_array_equal(x.grad.data, b + b)
