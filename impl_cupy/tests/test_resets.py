"""Several episodes in one sequence: how they are cut, what is launched, and what stays apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED, cp
from impl_cupy.rnn.lengths import Cut, Episodes, Whole, check_mask, walks
from impl_cupy.tape import edge_of

if EMULATED:
    from cupy_emulation import kernel_launches, launches, reset_launches

T, N = 5, 4
# Marks at the first step, one behind another, past a sequence's end, and where there is no step.
MASK = np.array([[1, 0, 0, 1], [0, 1, 0, 0], [0, 1, 0, 0], [1, 0, 0, 1], [1, 1, 0, 0]], dtype=bool)
LENGTHS = np.array([5, 4, 3, 0])
LAYERS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def test_where_episodes_begin_and_end() -> None:
    episodes = Episodes(MASK, LENGTHS, layers=2, directions=2)
    found = zip(episodes.columns, episodes.starts, episodes.lengths, strict=True)
    wanted = [(0, 0, 3), (0, 3, 1), (0, 4, 1), (1, 0, 1), (1, 1, 1), (1, 2, 2), (2, 0, 3)]
    assert [tuple(map(int, each)) for each in found] == [*wanted, (3, 0, 0)]


def test_states_that_episodes_begin_with() -> None:
    episodes = Episodes(MASK, LENGTHS, layers=2, directions=2)
    count, columns = 4, cp.arange(N)
    # A state tells its layer and direction, its sequence, and whether it is that of resets.
    usual, reset = (
        nn.tensor(
            np.stack(
                np.broadcast_arrays(
                    np.arange(count)[:, None], cp.asnumpy(columns)[None], np.float32(flag)
                ),
                axis=2,
            ).astype("float32")
        )
        for flag in (0, 1)
    )
    first = episodes.begin(usual, reset)
    assert first is not None
    places, sequences, flags = np.moveaxis(first.numpy(), 2, 0)
    assert (places == np.arange(count)[:, None]).all()
    assert (sequences == episodes.columns).all()
    # By sequence; the last one has no step, so that the mark at its first is past its end.
    assert flags[0].tolist() == flags[2].tolist() == [1, 1, 1, 0, 1, 1, 0, 0]
    assert flags[1].tolist() == flags[3].tolist() == [1, 1, 0, 1, 1, 0, 0, 0]
    numbered = nn.tensor(np.tile(np.arange(8, dtype="float32")[:, None], (count, 1, 1)))
    last = episodes.end(numbered).numpy()[:, :, 0].tolist()
    assert last[0] == last[2] == [2, 5, 6, 7]
    assert last[1] == last[3] == [0, 3, 6, 7]


def test_rows_of_episodes() -> None:
    episodes = Episodes(MASK, LENGTHS, layers=1, directions=2)
    times, columns = np.indices((T, N))
    x = cp.asarray(np.stack([times, columns], axis=2))
    parts = list(zip(episodes.columns, episodes.starts, episodes.lengths, strict=True))
    longest_first = sorted(parts, key=lambda part: -part[2])
    for walk, is_reverse in zip(walks((T, N), 2, LENGTHS, episodes), (False, True), strict=True):
        assert isinstance(walk, Cut)
        assert [count for _, _, count in walk.steps()] == [7, 3, 2]
        wanted = [
            [start + (length - 1 - t if is_reverse else t), column]
            for t in range(3)
            for column, start, length in longest_first
            if t < length
        ]
        assert cp.asnumpy(walk.rows(x)).tolist() == wanted
        put = cp.asnumpy(walk.put(walk.rows(x + 1)))
        running = np.arange(T)[:, None] < LENGTHS
        assert (put[running] == cp.asnumpy(x)[running] + 1).all()
        assert (put[~running] == 0).all()


def test_without_a_mark_after_the_first_step_sequences_are_whole() -> None:
    first = np.zeros((T, N), dtype=bool)
    first[0] = True
    for mask in (first, ~first & False):
        episodes = Episodes(mask, None, layers=1, directions=2)
        assert all(isinstance(walk, Whole) for walk in walks((T, N), 2, None, episodes))


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_no_step_and_no_sequence(shape: tuple[int, int]) -> None:
    episodes = Episodes(np.zeros(shape, dtype=bool), None, layers=1, directions=1)
    assert episodes.lengths.tolist() == [0] * shape[1]
    layer = nn.LSTM(2, 3, num_layers=2, bidirectional=True)
    x = nn.ones((*shape, 2), requires_grad=True)
    states = [nn.ones((4, shape[1], 3), requires_grad=True) for _ in range(4)]
    mask = np.zeros(shape, dtype=bool).tolist()
    output, last = layer(x, states[:2], reset_mask=mask, reset_state=states[2:])
    assert output.shape == (*shape, 6)
    nn.ops.sum(
        nn.ops.concat([output.reshape(-1), *(state.reshape(-1) for state in last)])
    ).backward()
    for leaf in (x, *states, *layer.parameters()):
        assert leaf.grad is not None
    assert (states[0].grad.numpy() == 1).all()
    assert (states[2].grad.numpy() == 0).all()


@pytest.mark.parametrize("name", LAYERS)
def test_nothing_passes_a_mark(name: str) -> None:
    layer: Any = LAYERS[name](2, 3, num_layers=2, bidirectional=True)
    draws = np.random.default_rng(0).standard_normal((T, 1, 2)).astype("float32")
    mask = np.array([[0], [0], [1], [0], [1]], dtype=bool)
    found = []
    for value in (0.0, np.nan, np.inf):
        x = draws.copy()
        x[2:4] = value
        leaf = nn.tensor(x, requires_grad=True)
        output, last = layer(leaf, reset_mask=mask)
        others = [output[:2], output[4:], *(last if name == "lstm" else [last])]
        nn.ops.sum(nn.ops.concat([part.reshape(-1) for part in others])).backward()
        found.append([part.detach().numpy() for part in others] + [leaf.grad.numpy()[[0, 1, 4]]])
    for other in found[1:]:
        for got, want in zip(other, found[0], strict=True):
            assert (got == want).all()


@pytest.mark.parametrize("name", LAYERS)
def test_a_state_that_no_episode_begins_with_is_not_read(name: str) -> None:
    layer: Any = LAYERS[name](2, 3)
    draws = np.random.default_rng(0)
    x = nn.tensor(draws.standard_normal((T, N, 2)).astype("float32"))
    mask = np.zeros((T, N), dtype=bool)
    mask[0, :2] = True
    usual, reset = draws.standard_normal((2, 1, N, 3)).astype("float32")
    usual[:, :2] = np.nan
    reset[:, 2:] = np.nan
    leaves = [nn.tensor(state, requires_grad=True) for state in (usual, reset)]
    given: Any = [(leaf, leaf) if name == "lstm" else leaf for leaf in leaves]
    output, _ = layer(x, given[0], reset_mask=mask, reset_state=given[1])
    nn.ops.sum(output).backward()
    assert np.isfinite(output.detach().numpy()).all()
    usual_grad, reset_grad = (leaf.grad.numpy() for leaf in leaves)
    assert (usual_grad[:, :2] == 0).all()
    assert (reset_grad[:, 2:] == 0).all()
    assert (usual_grad[:, 2:] != 0).all()
    assert (reset_grad[:, :2] != 0).all()


@pytest.mark.parametrize("name", LAYERS)
def test_what_is_kept_is_within_the_episodes(name: str) -> None:
    layer: Any = LAYERS[name](3, 6)
    x = nn.zeros((T, N, 3), requires_grad=True)
    output, _ = layer(x, lengths=LENGTHS, reset_mask=MASK)
    saved = edge_of(output)[0].ctx.saved_tensors
    rows = int(LENGTHS.sum())
    weights = {tuple(p.shape) for p in layer.parameters()}
    assert all(len(array) in (rows, rows + 8) or array.shape in weights for array in saved)


@pytest.mark.skipif(not EMULATED, reason="only the emulation counts launches")
@pytest.mark.parametrize("name", LAYERS)
def test_launches_are_those_of_the_longest_episode(name: str) -> None:
    steps, found = 24, []
    mask = np.zeros((steps, 2), dtype=bool)
    mask[6::6] = True
    for options in ({"lengths": [6, 5]}, {"reset_mask": mask}):
        layer: Any = LAYERS[name](3, 5, num_layers=2)
        x = nn.randn((steps, 2, 3), requires_grad=True)
        reset_launches()
        output, _ = layer(x, **options)
        forward, forward_kernels = launches(), kernel_launches().get(f"{name}_forward_float")
        seed = nn.ones(output.shape)
        reset_launches()
        output.backward(seed)
        found.append((forward, launches()))
        assert forward_kernels == kernel_launches().get(f"{name}_backward_float") == 12
    # Once a call, not once a layer: the indices, and of each state the last ones.
    states = 2 if name == "lstm" else 1
    assert found[1][0] <= found[0][0] + 2 + 4 * states
    assert found[1][1] <= found[0][1] + 8 * states


def test_any_booleans_will_do() -> None:
    for mask in (
        MASK.tolist(),
        tuple(map(tuple, MASK.tolist())),
        list(MASK),
        [nn.tensor(row) for row in MASK],
        np.asfortranarray(MASK),
        cp.asarray(MASK),
        nn.tensor(MASK),
    ):
        found = check_mask("GRU", mask, (T, N))
        assert found.dtype == bool
        assert (found == MASK).all()
    assert (check_mask("GRU", MASK.T, (T, N), True) == MASK).all()
    assert check_mask("GRU", MASK[:, 0], (T,)).shape == (T, 1)
    assert check_mask("GRU", [], (0, N)).shape == (0, N)
    assert check_mask("GRU", [[]] * N, (0, N), True).shape == (0, N)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (MASK.T, r"reset_mask must have shape \(T, N\) = \(5, 4\), got \(4, 5\)"),
        ([[True]] * 4 + [[True, False]], r"reset_mask must have shape \(T, N\) = \(5, 4\)"),
        ([], r"reset_mask must have shape \(T, N\) = \(5, 4\), got \(0,\)"),
    ],
    ids=str,
)
def test_a_mask_of_another_shape(mask: Any, message: str) -> None:
    with pytest.raises(ValueError, match=f"^LSTM: {message}"):
        check_mask("LSTM", mask, (T, N))


@pytest.mark.parametrize(
    "mask", [MASK.astype(int), MASK.astype("float32").tolist(), [[None] * N] * T, "mask", {}, 1]
)
def test_a_mask_of_no_booleans(mask: Any) -> None:
    with pytest.raises(TypeError, match=r"^LSTM: reset_mask must be booleans, got "):
        check_mask("LSTM", mask, (T, N))


def test_messages_on_the_state_of_resets() -> None:
    lstm, gru = nn.LSTM(2, 3, proj_size=1), nn.GRU(2, 3, batch_first=True)
    x, h, c = nn.ones((T, N, 2)), nn.ones((1, N, 1)), nn.ones((1, N, 3))
    with pytest.raises(
        ValueError, match=r"LSTM: reset_state must be a pair \(h0, c0\), got Tensor"
    ):
        lstm(x, reset_mask=MASK, reset_state=h)
    with pytest.raises(
        ValueError,
        match=r"LSTM: h0 of reset_state must have shape \(1, N, P\) = \(1, 4, 1\), got \(1, 4, 3\)",
    ):
        lstm(x, reset_mask=MASK, reset_state=(c, c))
    with pytest.raises(TypeError, match="LSTM: c0 of reset_state must have the parameters' dtype"):
        lstm(x, reset_mask=MASK, reset_state=(h, nn.ones((1, N, 3), dtype=nn.float64)))
    with pytest.raises(ValueError, match="GRU: reset_mask must be given with a reset_state, got"):
        gru(nn.ones((N, T, 2)), reset_state=c)
    with pytest.raises(ValueError, match=r"reset_mask must have shape \(N, T\) = \(4, 5\), got"):
        gru(nn.ones((N, T, 2)), reset_mask=MASK)
    with pytest.raises(ValueError, match=r"reset_mask must have shape \(T,\) = \(5,\), got"):
        gru(nn.ones((T, 2)), reset_mask=MASK)
