"""Sequences of different lengths are packed: places, blocks of steps, and what is kept."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.rnn import lengths as rooms
from impl_numpy.rnn.fused import GRUFunction, LSTMFunction, RNNFunction
from impl_numpy.rnn.lengths import DIRECTIONS, Packing, packing_of

FUNCTIONS = {"R": (RNNFunction, 1), "L": (LSTMFunction, 4), "G": (GRUFunction, 3)}
T, I, H = 7, 4, 5  # noqa: E741 - steps, input, hidden
LENGTHS = np.array([3, 0, 7, 3, 5, 1])
N = len(LENGTHS)
KINDS = pytest.mark.parametrize("kind", ["RNN", "LSTM", "LSTM projected", "GRU"])
REVERSE = pytest.mark.parametrize("reverse", [False, True])


def given(kind: str, packing: Packing) -> tuple:
    """Return the Function, its configuration, and packed x, states and weights."""
    function, gates = FUNCTIONS[kind[0]]
    size = 2 if kind.endswith("projected") else H
    rng = np.random.default_rng(0)
    shapes = [(sum(packing.counts), I), (N, size)] + [(N, H)] * (kind[0] == "L")
    shapes += [(gates * H, I), (gates * H, size), (gates * H,), (gates * H,)]
    shapes += [(size, H)] * (size != H)
    arrays = [nn.tensor(rng.uniform(-1, 1, shape), dtype=nn.float64) for shape in shapes]
    config = {"nonlinearity": "tanh"} if kind == "RNN" else {}
    return function, config, [x.requires_grad_() for x in arrays]


def gradients(outputs: tuple, inputs: list) -> list:
    for x in inputs:
        x.grad = None
    sum(nn.ops.sum(nn.ops.sin(y)) for y in outputs).backward()
    return [x.grad.data for x in inputs]


@KINDS
@REVERSE
@pytest.mark.parametrize("chunk", [1, 3 * H, 8 * H, 1 << 16])
def test_fused_agrees_with_its_composite(kind, reverse, chunk, monkeypatch) -> None:
    monkeypatch.setattr(rooms, "CHUNK", chunk)
    packing = Packing(LENGTHS, (T, N))
    function, config, inputs = given(kind, packing)
    config["extent"] = packing.extents[reverse]
    whole, plain = function.apply(*inputs, **config), function.composite(*inputs, **config)
    for a, b in zip(whole, plain, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-13, atol=1e-14)
    for a, b in zip(gradients(whole, inputs), gradients(plain, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@KINDS
@pytest.mark.parametrize("chunk", [1, 2 * N * H])
def test_the_reverse_direction_is_the_other_one_turned_round(kind, chunk, monkeypatch) -> None:
    monkeypatch.setattr(rooms, "CHUNK", chunk)
    forward, reverse = DIRECTIONS
    function, config, inputs = given(kind, Packing(np.full(N, T), (T, N)))
    inputs[0] = x = inputs[0].detach().reshape(T, N, I).requires_grad_()
    wanted = function.apply(nn.ops.flip(x, axis=0), *inputs[1:], **config, extent=forward)
    wanted = (nn.ops.flip(wanted[0], axis=0), *wanted[1:])
    got = function.apply(*inputs, **config, extent=reverse)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(a.data, b.data)
    for a, b in zip(gradients(got, inputs), gradients(wanted, inputs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


@REVERSE
def test_every_chunk_has_whole_steps(reverse, monkeypatch) -> None:
    packing = Packing(LENGTHS, (T, N))
    extent, x = packing.extents[reverse], np.empty((LENGTHS.sum(), H))
    starts = {0, *np.cumsum(packing.counts).tolist()}
    for chunk in range(1, 25):
        monkeypatch.setattr(rooms, "CHUNK", chunk * H)
        parts = extent.chunks(x, H)[:: 1 if reverse else -1]
        assert [part.start for part in parts] == [0, *[part.stop for part in parts[:-1]]]
        assert parts[-1].stop == len(x)
        assert {part.start for part in parts} <= starts
        assert all(part.stop - part.start <= max(chunk, N) for part in parts)


def test_places() -> None:
    packing = Packing(np.array([1, 3, 0, 2]), (4, 4))
    assert packing.order.tolist() == [1, 3, 0, 2]
    assert packing.counts == (3, 2, 1)
    # Step 0 of sequences 1, 3 and 0, step 1 of 1 and 3, step 2 of 1; four to a step.
    assert packing.places.tolist() == [1, 3, 0, 5, 7, 9]
    x = nn.tensor(np.arange(16.0).reshape(4, 4, 1))
    packed = packing.pack(x)
    assert packed.data.ravel().tolist() == [1, 3, 0, 5, 7, 9]
    padded = packing.unpack(packed).data
    assert padded.sum() == packed.data.sum()
    assert packing.as_given(packing.ordered(x)).tolist() == x.tolist()


@pytest.mark.parametrize("length", [0, 1, 3])
def test_sequences_of_one_length_are_whole(length) -> None:
    packing = packing_of("RNN", [length] * 2, 4, 2)
    assert packing.extents is DIRECTIONS
    x = nn.ones((4, 2, 3))
    assert packing.pack(x).shape == (length, 2, 3)
    assert packing.unpack(packing.pack(x)).data.sum() == length * 6
    assert packing_of("RNN", [4, 4], 4, 2) is None


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_nothing_is_kept_of_padding(kind) -> None:
    layer = getattr(nn, kind)(I, H, num_layers=2, bidirectional=True)
    x = nn.ones((T, N, I), requires_grad=True)
    waiting, seen, rows = [layer(x, lengths=LENGTHS)[0].grad_fn], set(), set()
    while waiting:
        node = waiting.pop()
        if node is not None and id(node) not in seen:
            seen.add(id(node))
            waiting += node.parents
            if type(node).__name__ == "FunctionNode" and node.name == kind:
                rows |= {len(a) for a in node.saved if a is not None and a.shape[-1] != I}
    # Weights apart, nothing has more rows than the packed steps and the states.
    assert max(rows - {len(w) for w in layer.parameters()}) == LENGTHS.sum() + N


@pytest.mark.parametrize("value", [2, 0.5, -1, None, "yes", float("nan")])
def test_directions_are_one_or_both(value) -> None:
    with pytest.raises(TypeError, match="GRU: bidirectional must be a bool, or 0 or 1, got"):
        nn.GRU(I, H, bidirectional=value)
    assert nn.GRU(I, H, bidirectional=np.int64(1)).bidirectional is True
    assert nn.GRU(I, H, bidirectional=0).bidirectional is False
