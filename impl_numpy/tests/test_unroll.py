"""A cell over a sequence: what is called how often, what is chosen, and what is said."""

import numpy as np
import pytest

import impl_numpy as nn
from impl_numpy.autograd.checkpoint import CheckpointNode
from impl_numpy.tape import Node

ops, unroll = nn.ops, nn.rnn.unroll
T, N, I, H = 7, 3, 4, 5  # noqa: E741 - steps, batch, input, hidden


def drawn(*shape: int, seed: int = 0) -> nn.Tensor:
    values = np.random.default_rng(seed).uniform(-1, 1, shape)
    return nn.tensor(values, dtype=nn.float64, requires_grad=True)


def nodes(*results: nn.Tensor) -> list[Node]:
    """Return all nodes that results come from."""
    waiting, found = [x.grad_fn for x in results], []
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found.append(node)
            waiting += node.parents
    return found


def count(name: str, *results: nn.Tensor) -> int:
    return [node.name for node in nodes(*results)].count(name)


def test_inputs_are_projected_at_once() -> None:
    cell, shapes = nn.GRUCell(I, H), []
    inner = cell._project
    cell._project = lambda x: shapes.append(x.shape) or inner(x)
    unroll(cell, nn.zeros((T, N, I)), checkpoint=2)
    assert shapes == [(T, N, I)]


def test_biases_are_added_to_all_steps_at_once() -> None:
    for cell, adds in ((nn.RNNCell(I, H), 2 + T), (nn.GRUCell(I, H), 1 + T)):
        output, _ = unroll(cell, nn.zeros((T, N, I)))
        assert count("add", output) == adds


def test_one_bias_alone_counts() -> None:
    for kind in (nn.RNNCell, nn.LSTMCell, nn.GRUCell):
        cell, x = kind(I, H, dtype=nn.float64), drawn(N, I)
        nn.init.zeros_(cell.bias_ih)
        want = cell(x)
        cell.bias_ih = None
        found = cell(x)
        for a, b in zip(*[h if kind is nn.LSTMCell else (h,) for h in (found, want)], strict=True):
            np.testing.assert_allclose(a.data, b.data)


@pytest.mark.parametrize(("steps", "parts"), [(1, 1), (9, 3), (10, 3), (16, 4), (17, 4)])
def test_the_square_root_is_rounded_up_and_the_last_part_kept(steps, parts) -> None:
    output, _ = unroll(nn.RNNCell(I, H), nn.zeros((steps, N, I)), checkpoint="sqrt")
    assert [type(node) for node in nodes(output)].count(CheckpointNode) == parts - 1


def test_an_interval_of_all_steps_keeps_none_of_them() -> None:
    output, _ = unroll(nn.RNNCell(I, H), nn.zeros((T, N, I)), checkpoint=T)
    assert [type(node) for node in nodes(output)].count(CheckpointNode) == 1


def test_masks_choose_only_where_they_must() -> None:
    cell, x, h = nn.RNNCell(I, H, dtype=nn.float64), drawn(T, N, I), drawn(N, H)
    marks = np.zeros((T, N), bool)
    assert count("where", *unroll(cell, x, h, lengths=[T] * N, reset_mask=marks)) == 0
    # Inputs and outputs as a whole, and the state of the last two steps.
    assert count("where", *unroll(cell, x, h, lengths=[T, T - 2, T])) == 4
    marks[[2, 4], 0] = True
    assert count("where", *unroll(cell, x, h, reset_mask=marks)) == 2


def test_states_of_many_kinds_are_kept_apart() -> None:
    def cell(x, state):
        """Count, and return the parts in another order than they came in."""
        return {"n": [state["n"][0] + 1], "h": (state["h"][0] + x, state["h"][1])}

    cell.output = None
    x = drawn(T, N, 2)
    state = {"h": (nn.zeros((N, 2), dtype=nn.float64),) * 2, "n": [nn.zeros(N, dtype=nn.int64)]}
    ends = np.array([T, 0, 4])
    output, after = unroll(cell, x, state, lengths=ends, checkpoint=3)
    assert after["n"][0].tolist() == ends.tolist()
    assert output.dtype == nn.int64
    np.testing.assert_allclose(after["h"][0].data[2], x.data[:4, 2].sum(axis=0))


def message(error: type, *args, **options) -> str:
    with pytest.raises(error) as caught:
        unroll(*args, **options)
    return str(caught.value)


def test_messages() -> None:
    cell, x = nn.GRUCell(I, H), nn.zeros((T, N, I))
    for error, want, change, options in (
        (ValueError, "shape ((3, 4), (3, 4)), got (3, 4)", lambda x, s: x if s else (x, x), {}),
        (ValueError, "shape (3, 4), got (4,)", lambda x, s: x if s is None else s[0], {}),
        (
            TypeError,
            "dtype float32, got int64",
            lambda x, s: ops.astype(x, nn.int64),
            {"state": x[0]},
        ),
    ):
        assert message(error, change, x, **options) == f"unroll: the new state must have {want}"
    assert message(ValueError, cell, x, checkpoint="root") == (
        "unroll: checkpoint must be None, \"sqrt\" or a positive int, got 'root'"
    )
    assert message(ValueError, cell, (x, x[1:])) == (
        "unroll: inputs must have length 7 along axis 0, got shape (6, 3, 4)"
    )
    assert message(ValueError, cell, x, reset_mask=np.zeros((T, N), bool), reset_state=x) == (
        "unroll: reset_state must have shape (3, 5), got (7, 3, 4)"
    )


def test_a_wrapper_tells_its_own_masks() -> None:
    x = nn.zeros((N, I))
    for wrapper in (nn.ZoneoutCell(nn.GRUCell(I, H)), nn.RecurrentDropoutCell(nn.GRUCell(I, H))):
        of_training = wrapper.project(x)
        wrapper.eval()
        of_evaluation = wrapper.project(x)
        wrapper.step(of_evaluation)
        for projected, mode in ((of_training, "evaluation"), (of_evaluation, "training")):
            wrapper.train(mode == "training")
            with pytest.raises(ValueError, match=f"must be what project returns in {mode}, got"):
                wrapper.step(projected)


def test_the_innermost_draws_first() -> None:
    cell = nn.RecurrentDropoutCell(nn.ZoneoutCell(nn.GRUCell(I, H), 0.5), 0.5)
    nn.manual_seed(3)
    (_, (zone,)), (dropped,) = cell.project(nn.zeros((T, N, I)))
    nn.manual_seed(3)
    assert zone.tolist() == (nn.rand((T, N, H)).numpy() < 0.5).tolist()
    # One row of masks stands for every step, without a copy.
    assert dropped.data.strides[0] == 0
    assert dropped[0].tolist() == (nn.rand((N, H)).numpy() >= 0.5).tolist()


def test_chunks_are_read_one_at_a_time() -> None:
    read = []

    def chunks():
        for k in range(3):
            read.append(k)
            yield nn.ones((2, N, I))

    steps = nn.rnn.truncated(nn.GRU(I, H), chunks())
    assert read == []
    next(steps)
    assert read == [0]
