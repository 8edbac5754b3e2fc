"""A batch that is cut into episodes: their places, their states, and what they cost."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.rnn import lengths as rooms
from impl_numpy.rnn.lengths import DIRECTIONS, Episodes

T, N, I, H = 9, 4, 3, 5  # noqa: E741 - steps, batch, input, hidden
KINDS = pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
OPTIONS = pytest.mark.parametrize(
    "options", [{}, {"bidirectional": True}, {"num_layers": 2, "bidirectional": True}]
)


def marks_of(seed: int, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(size=(T, N)) < share


def states_of(layer: nn.Module, seed: int, batch: int = N) -> list:
    """Return states that want gradients."""
    rng = np.random.default_rng(seed)
    count = layer.num_layers * (1 + layer.bidirectional)
    sizes = [layer.proj_size or H, H] if isinstance(layer, nn.LSTM) else [H]
    arrays = [rng.uniform(-1, 1, (count, batch, size)) for size in sizes]
    return [nn.tensor(array, dtype=nn.float64, requires_grad=True) for array in arrays]


def given(states: list) -> object:
    return tuple(states) if len(states) > 1 else states[0]


def alone(layer: nn.Module, x: nn.Tensor, ends: np.ndarray, marks: np.ndarray, states: tuple):
    """Return outputs and last states of every episode by itself, put together."""
    usual, resets = states
    outputs, afters = [], []
    for n, end in enumerate(ends):
        starts = [0, *[t for t in range(1, end) if marks[t, n]]]
        pieces, last = [], []
        for start, stop in zip(starts, [*starts[1:], end], strict=True):
            fresh = (start > 0 or (end > 0 and marks[0, n]), stop < end)
            first = [
                nn.ops.stack(
                    [
                        (r if fresh[layer.bidirectional and k % 2] else h)[k, n : n + 1]
                        for k in range(len(h.data))
                    ]
                )
                for h, r in zip(usual, resets, strict=True)
            ]
            output, after = layer(x[start:stop, n : n + 1], given(first))
            pieces.append(output)
            last.append(after if isinstance(after, tuple) else (after,))
        pieces.append(nn.zeros((T - end, 1, pieces[0].shape[2]), dtype=nn.float64))
        outputs.append(nn.ops.concat(pieces))
        turned = layer.bidirectional
        afters.append(
            [
                nn.ops.stack([(a if turned and k % 2 else b)[k] for k in range(len(b.data))])
                for a, b in zip(last[0], last[-1], strict=True)
            ]
        )
    joined = [nn.ops.concat(list(parts), axis=1) for parts in zip(*afters, strict=True)]
    return [nn.ops.concat(outputs, axis=1), *joined]


def gradients(loss: nn.Tensor, leaves: list, create_graph: bool = False) -> list:
    for leaf in leaves:
        leaf.grad = None
    loss.backward(create_graph=create_graph)
    return [leaf.grad for leaf in leaves]


def flat(result: tuple) -> list:
    output, after = result
    return [output, *(after if isinstance(after, tuple) else (after,))]


@KINDS
@OPTIONS
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("chunk", [1, 1 << 13])
def test_every_episode_is_as_if_alone(kind, options, seed, chunk, monkeypatch) -> None:
    monkeypatch.setattr(rooms, "CHUNK", chunk)
    extra = {"proj_size": 2} if kind == "LSTM" and seed % 2 else {}
    layer = getattr(nn, kind)(I, H, dtype=nn.float64, **options, **extra)
    rng = np.random.default_rng(seed)
    ends, marks = rng.integers(0, T + 1, N), marks_of(seed, (0.1, 0.3, 0.6, 1.0)[seed])
    ends[0] = T
    x = nn.tensor(rng.uniform(-1, 1, (T, N, I)), dtype=nn.float64, requires_grad=True)
    states = states_of(layer, 1), states_of(layer, 2)
    leaves = [x, *states[0], *states[1], *layer.parameters()]
    found = []
    for outputs in (
        flat(
            layer(
                x,
                given(states[0]),
                lengths=ends,
                reset_mask=marks,
                reset_state=given(states[1]),
            )
        ),
        alone(layer, x, ends, marks, states),
    ):
        loss = sum(nn.ops.sum(nn.ops.sin(y + k)) for k, y in enumerate(outputs))
        first = gradients(loss, leaves, create_graph=True)
        second = gradients(sum(nn.ops.sum(g * g) for g in first), leaves)
        found.append([*outputs, *first, *second])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.data, b.data, rtol=1e-11, atol=1e-12)


def test_places() -> None:
    marks = np.zeros((5, 3), bool)
    marks[[0, 2, 3, 4], [1, 0, 1, 1]] = True
    # Steps 0 and 1, then 2 to 4 of sequence 0; 0 to 2, and 3, of sequence 1, whose last mark lies
    # past its end; sequence 2 has no step.
    packing = Episodes(marks, np.array([5, 4, 0]), 2)
    assert packing.order.tolist() == [1, 2, 0, 3, 4]
    assert packing.counts == (4, 3, 2)
    assert packing.places.tolist() == [6, 1, 0, 10, 9, 4, 3, 12, 7]
    states = nn.tensor(np.arange(12.0).reshape(2, 6, 1))
    # Those of resets are 3 to 5 and 9 to 11.
    assert packing.ordered(states).data[..., 0].tolist() == [[3, 4, 0, 4, 2], [6, 10, 9, 7, 8]]
    after = nn.tensor(np.arange(10.0).reshape(2, 5, 1))
    assert packing.as_given(after).data[..., 0].tolist() == [[0, 3, 4], [7, 6, 9]]


def test_episodes_of_one_length_are_whole() -> None:
    packing = Episodes(np.ones((3, 2), bool), np.array([3, 3]), 1)
    assert packing.extents is DIRECTIONS
    x = nn.tensor(np.arange(6.0).reshape(3, 2, 1))
    assert packing.pack(x).shape == (1, 6, 1)
    assert packing.unpack(packing.pack(x)).tolist() == x.tolist()
    packing = Episodes(np.zeros((3, 2), bool), np.array([3, 3]), 1)
    assert packing.pack(x) is x
    assert packing.unpack(x) is x


@KINDS
@OPTIONS
@pytest.mark.parametrize("shape", [(0, N), (T, 0), (0, 0)])
@pytest.mark.parametrize("lengths", [False, True])
def test_zero_sizes(kind, options, shape, lengths) -> None:
    steps, batch = shape
    layer = getattr(nn, kind)(I, H, dtype=nn.float64, **options)
    x = nn.zeros((*shape, I), dtype=nn.float64, requires_grad=True)
    usual, resets = states_of(layer, 1, batch), states_of(layer, 2, batch)
    ends = {"lengths": np.full(batch, steps)} if lengths else {}
    outputs = flat(
        layer(
            x,
            given(usual),
            reset_mask=np.ones(shape, bool),
            reset_state=given(resets),
            **ends,
        )
    )
    assert outputs[0].shape == (*shape, H * (1 + layer.bidirectional))
    sum(nn.ops.sum(y) for y in outputs).backward()
    for h, state, reset in zip(outputs[1:], usual, resets, strict=True):
        assert h.tolist() == state.tolist()
        assert state.grad.tolist() == np.ones(state.shape).tolist()
        assert reset.grad.tolist() == np.zeros(reset.shape).tolist()
    for leaf in (x, *layer.parameters()):
        assert leaf.grad.tolist() == np.zeros(leaf.shape).tolist()


@KINDS
def test_nan_stays_in_its_episode(kind) -> None:
    layer = getattr(nn, kind)(I, H, bidirectional=True)
    marks = np.zeros((T, N), bool)
    marks[[3, 6]] = True
    x = np.random.default_rng(0).uniform(-1, 1, (T, N, I)).astype(np.float32)
    spoilt = x.copy()
    spoilt[4, 1] = np.nan
    found = []
    for array in (x, spoilt):
        leaf = nn.tensor(array, requires_grad=True)
        output, _ = layer(leaf, reset_mask=marks)
        nn.ops.sum(output * output).backward()
        found.append((output.data, leaf.grad.data))
    others = np.ones((T, N), bool)
    others[3:6, 1] = False
    for want, got in zip(*found, strict=True):
        np.testing.assert_array_equal(got[others], want[others])
        assert np.isnan(got[~others]).any(axis=1).all()


@KINDS
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}])
def test_one_function_for_each_layer_and_direction(kind, options, monkeypatch) -> None:
    layer = getattr(nn, kind)(I, H, **options)
    shapes = []
    inner = layer._apply
    monkeypatch.setattr(
        layer, "_apply", lambda x, *a, **k: shapes.append(x.shape) or inner(x, *a, **k)
    )
    marks = marks_of(0)
    layer(nn.zeros((T, N, I)), reset_mask=marks)
    assert len(shapes) == layer.num_layers * (1 + layer.bidirectional)
    # Every step of the batch once, and none twice.
    assert {shape[0] for shape in shapes} == {T * N}


@pytest.mark.parametrize("kind", ["list", "rows", "tensors"])
def test_kinds_of_masks(kind) -> None:
    layer, x, marks = nn.GRU(I, H), nn.rand((T, N, I)), marks_of(1)
    want, _ = layer(x, reset_mask=marks)
    rows = {"list": marks.tolist(), "rows": list(marks), "tensors": [nn.tensor(m) for m in marks]}
    assert layer(x, reset_mask=rows[kind])[0].tolist() == want.tolist()
    for shape in ((0, N), (T, 0), (0, 0)):
        layer(nn.zeros((*shape, I)), reset_mask=np.zeros(shape, bool).tolist())


NT = "GRU: reset_mask must have shape (N, T) = (4, 9), got"
RAGGED, MIXED, MARKS = [[True], [True, False]], [[True, 1]], np.zeros((N, T), bool)
PAIR = "LSTM: reset_state must be a pair (h0, c0), got Tensor of shape (1, 9, 5)"
WIDE = "GRU: h0 of reset_state must have shape (1, N, H) = (1, 4, 5), got (1, 4, 6)"
NO_MASK = "GRU: reset_state must come with a reset_mask, got none"


@pytest.mark.parametrize(
    ("kind", "mask", "state", "error", "message"),
    [
        ("GRU", MARKS.T, None, ValueError, f"{NT} (9, 4)"),
        ("GRU", [], None, ValueError, f"{NT} (0,)"),
        ("GRU", RAGGED, None, ValueError, f"{NT} rows of different lengths"),
        ("GRU", MIXED, None, TypeError, "GRU: reset_mask must be booleans, got [[True, 1]]"),
        ("GRU", MARKS, (1, N, H + 1), ValueError, WIDE),
        ("LSTM", MARKS, (1, T, H), ValueError, PAIR),
        ("GRU", None, (1, N, H), ValueError, NO_MASK),
    ],
)
def test_messages(kind, mask, state, error, message) -> None:
    layer = getattr(nn, kind)(I, H, batch_first=True)
    reset_state = None if state is None else nn.zeros(state)
    with pytest.raises(error) as caught:
        layer(nn.zeros((N, T, I)), reset_mask=mask, reset_state=reset_state)
    assert str(caught.value) == message


def test_more_messages() -> None:
    layer = nn.GRU(I, H)
    with pytest.raises(ValueError, match=r"must have shape \(T,\) = \(9,\), got \(9, 4\)"):
        layer(nn.zeros((T, I)), reset_mask=MARKS.T)
    with pytest.raises(TypeError, match="GRU: reset_mask must be booleans"):
        layer(nn.zeros((T, N, I)), reset_mask=[nn.ones(N, requires_grad=True)] * T)
