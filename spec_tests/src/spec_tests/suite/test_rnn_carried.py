"""Chapter rnn: the cell states of every step, and a state carried on from chunk to chunk.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.recurrent import squares

pytestmark = pytest.mark.sampled(6)

T, N, I, H = 6, 3, 2, 3  # noqa: E741 - the letters of the chapter
ENDS = (4, 6, 0)
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two layers": {"num_layers": 2},
    "projection": {"num_layers": 2, "proj_size": 2},
    "both directions": {"bidirectional": True},
    "two of both": {"num_layers": 2, "bidirectional": True, "bias": False},
}


def lstm_of(nn: Any, dtype: str, **options: Any) -> Any:
    nn.manual_seed(41)
    return nn.LSTM(I, H, dtype=getattr(nn, dtype), **options)


def states_for(nn: Any, layer: Any, dtype: str) -> tuple[Any, ...]:
    count = layer.num_layers * (1 + layer.bidirectional)
    sizes = (layer.proj_size or H, H)
    return tuple(tensor(nn, normal((count, N, s), dtype, seed=5 + s)) for s in sizes)


def by_prefixes(nn: Any, layer: Any, x: Any, hx: Any) -> Any:
    """Return ``c`` of the last layer of one direction, each from a run of the steps up to it."""
    rows = [layer(x[: t + 1], hx)[1][1][-1] for t in range(T)]
    return nn.ops.stack(rows, axis=0)


def by_cells(nn: Any, layer: Any, x: Any, hx: Any) -> Any:
    """Return ``c`` of the last layer of both directions, each from a loop over its cell."""
    below = layer.num_layers - 1
    values = dict(layer.named_parameters())
    for place in range(layer.num_layers):
        columns, cells = [], []
        for turned in (False, True):
            row = 2 * place + turned
            state = (hx[0][row], hx[1][row])
            end = f"_l{place}" + "_reverse" * turned
            cell = nn.LSTMCell(x.shape[2], H, bias=layer.bias, dtype=x.dtype)
            own = {key.removesuffix(end): p for key, p in values.items() if key.endswith(end)}
            hs, cs = [], []
            for t in reversed(range(T)) if turned else range(T):
                state = nn.functional_call(cell, own, x[t], state)
                hs.append(state[0])
                cs.append(state[1])
            columns.append(nn.ops.stack(hs[::-1] if turned else hs, axis=0))
            cells.append(nn.ops.stack(cs[::-1] if turned else cs, axis=0))
        if place == below:
            return nn.ops.concat(cells, axis=-1)
        x = nn.ops.concat(columns, axis=-1)
    raise AssertionError


def of_layer(nn: Any, layer: Any, x: Any, hx: Any) -> Any:
    output, last, cells = layer(x, hx, return_cell_states=True)
    plain, others = layer(x, hx)
    for got, want in zip((output, *last), (plain, *others), strict=True):
        array = to_numpy(nn, want.detach())
        agrees(nn, got.detach(), array, "rnn", dtype=array.dtype.name)
    return cells


@clause("rnn-50")
@pytest.mark.parametrize("case", OPTIONS)
def test_cell_states(nn: Any, dtype: str, case: str) -> None:
    compare_cell_states(nn, dtype, case, twice=False)


@pytest.mark.sampled(5, first=3)
@clause("rnn-50", needs=("float64", "double_backward"))
@pytest.mark.parametrize("case", OPTIONS)
def test_second_derivatives_of_cell_states(nn: Any, case: str) -> None:
    compare_cell_states(nn, "float64", case, twice=True)


def compare_cell_states(nn: Any, dtype: str, case: str, *, twice: bool) -> None:
    """Compare the cell states and gradients with those of shorter runs, or of loops over cells."""
    found = []
    for way in (of_layer, by_cells if "both" in case else by_prefixes):
        layer = lstm_of(nn, dtype, **OPTIONS[case])
        x, hx = tensor(nn, normal((T, N, I), dtype, seed=1)), states_for(nn, layer, dtype)
        cells = way(nn, layer, x, hx)
        leaves = [x, *hx, *layer.parameters()]
        squares(nn, [cells]).backward(create_graph=twice)
        if twice:
            slopes = [leaf.grad for leaf in leaves if leaf.grad is not None]
            for leaf in leaves:
                leaf.grad = None
            squares(nn, slopes).backward()
        found.append([to_numpy(nn, part) for part in (cells.detach(), *[p.grad for p in leaves])])
    for place, (got, want) in enumerate(zip(*found, strict=True)):
        agrees(nn, got, want, "rnn", call=f"{case}: result or gradient {place}", dtype=dtype)


@clause("rnn-50", "rnn-33", "rnn-37")
@pytest.mark.parametrize("masked", [False, True])
def test_cell_states_with_lengths_and_resets(nn: Any, dtype: str, masked: bool) -> None:
    layer = lstm_of(nn, dtype, batch_first=True)
    array = normal((N, T, I), dtype, seed=1)
    mask = np.zeros((N, T), bool)
    mask[0, 2] = mask[1, [1, 5]] = masked
    x, hx = nn.tensor(array), states_for(nn, layer, dtype)
    options = {"lengths": ENDS, "reset_mask": mask} if masked else {"lengths": ENDS}
    cells = layer(x, hx, return_cell_states=True, **options)[2]
    assert tuple(cells.shape) == (N, T, H)
    want = np.zeros((N, T, H))
    for n, end in enumerate(ENDS):
        for t in range(end):
            first = max([0, *np.flatnonzero(mask[n, : t + 1])])
            state = tuple(h[:, n : n + 1].detach() for h in hx)
            given = state if not mask[n, first] else None
            after = layer(x[n : n + 1, first : t + 1], given)[1][1]
            want[n, t] = to_numpy(nn, after.detach())[0, 0]
    agrees(nn, cells.detach(), want, "rnn", dtype=dtype)
    past = np.arange(T) >= np.array(ENDS)[:, None]
    exactly(nn, to_numpy(nn, cells.detach())[past], np.zeros((past.sum(), H)), dtype=dtype)


@clause("rnn-50")
def test_cell_states_without_a_batch_axis(nn: Any) -> None:
    layer = lstm_of(nn, "float32", bidirectional=True)
    array = normal((T, I), "float32")
    cells = layer(nn.tensor(array), return_cell_states=True)[2]
    whole = layer(nn.tensor(array[:, None]), return_cell_states=True)[2]
    agrees(nn, cells.detach(), to_numpy(nn, whole.detach())[:, 0], "rnn", dtype="float32")
    empty = layer(nn.zeros((0, N, I)), return_cell_states=True)[2]
    assert tuple(empty.shape) == (0, N, 2 * H)
    assert len(layer(nn.tensor(array))) == 2


def chunks_of(nn: Any, x: np.ndarray, size: int) -> Any:
    for start in range(0, len(x), size):
        yield nn.tensor(x[start : start + size])


@clause("rnn-45")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_truncated(nn: Any, dtype: str, name: str) -> None:
    """The values are those of the whole sequence, the gradients those of each chunk alone."""
    nn.manual_seed(43)
    layer = getattr(nn, name)(I, H, dtype=getattr(nn, dtype))
    x = normal((7, N, I), dtype)
    whole, last = layer(nn.tensor(x))
    outputs, slopes = [], []
    hx: Any = None
    for output, carried in nn.rnn.truncated(layer, chunks_of(nn, x, 3)):
        hx = carried
        layer.zero_grad()
        squares(nn, [output]).backward()
        outputs.append(to_numpy(nn, output.detach()))
        slopes.append([to_numpy(nn, p.grad).copy() for p in layer.parameters()])
    agrees(nn, np.concatenate(outputs), to_numpy(nn, whole.detach()), "rnn", dtype=dtype)
    final = (hx[0], last[0]) if name == "LSTM" else (hx, last)
    agrees(nn, final[0].detach(), to_numpy(nn, final[1].detach()), "rnn", dtype=dtype)
    state: Any = None
    for chunk, got in zip(chunks_of(nn, x, 3), slopes, strict=True):
        layer.zero_grad()
        output, state = layer(chunk, state)
        squares(nn, [output]).backward()
        state = tuple(h.detach() for h in state) if name == "LSTM" else state.detach()
        for slope, p in zip(got, layer.parameters(), strict=True):
            agrees(nn, slope, to_numpy(nn, p.grad), "rnn", dtype=dtype)


@clause("rnn-45")
def test_truncated_trains_between_chunks(nn: Any) -> None:
    """An optimizer may step, and what is not read is not taken."""
    nn.manual_seed(43)
    layer = nn.GRU(I, H)
    optimizer = nn.optim.SGD(layer.parameters(), lr=0.1)
    taken = []

    def chunks() -> Any:
        for piece in chunks_of(nn, normal((8, N, I), "float32"), 2):
            taken.append(piece)
            yield piece

    losses = []
    steps = nn.rnn.truncated(layer, chunks(), nn.zeros((1, N, H)))
    for output, _ in steps:
        loss = squares(nn, [output])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if len(losses) == 3:
            break
    assert len(taken) == 3
    assert len(set(losses)) == 3


@clause("rnn-45", "rnn-37")
def test_truncated_passes_arguments_by_name(nn: Any) -> None:
    layer = nn.LSTM(I, H, batch_first=True)
    x = normal((N, 6, I), "float32")
    mask = np.zeros((N, 6), bool)
    mask[1, 4] = True
    whole, _ = layer(nn.tensor(x), reset_mask=mask)
    halves = (slice(3), slice(3, 6))
    parts = [{"input": nn.tensor(x[:, half]), "reset_mask": mask[:, half]} for half in halves]
    outputs = [to_numpy(nn, output.detach()) for output, _ in nn.rnn.truncated(layer, parts)]
    agrees(nn, np.concatenate(outputs, 1), to_numpy(nn, whole.detach()), "rnn", dtype="float32")


@clause("rnn-45")
def test_truncated_carries_structures(nn: Any) -> None:
    w = tensor(nn, normal((N, I), "float32"))

    def module(x: Any, hx: Any) -> Any:
        total = (hx["total"] if hx else 0) + nn.ops.sum(x * w, axis=0)
        return total, {"total": total, "seen": (total * 2,)}

    chunks = [nn.tensor(normal((2, N, I), "float32", seed=s)) for s in range(3)]
    for place, (output, hx) in enumerate(nn.rnn.truncated(module, chunks)):
        w.grad = None
        nn.ops.sum(output + hx["seen"][0]).backward()
        own = 3 * to_numpy(nn, chunks[place]).astype(np.float64).sum(axis=0)
        agrees(nn, w.grad, own, "reduction", dtype="float32")


@clause("rnn-45")
def test_what_does_not_fit_in_truncated(nn: Any) -> None:
    layer = nn.GRU(I, H)
    x = nn.tensor(normal((2, N, I), "float32"))
    calls: list[tuple[type[BaseException], Callable[[], Any]]] = [
        (TypeError, lambda: nn.rnn.truncated(3, [x])),
        (TypeError, lambda: nn.rnn.truncated(layer, 3)),
        (TypeError, lambda: nn.rnn.truncated(layer, ["text"])),
        (TypeError, lambda: nn.rnn.truncated(lambda x, hx: x, [x])),
        (ValueError, lambda: nn.rnn.truncated(layer, [{"input": x, "hx": None}])),
    ]
    for kind, call in calls:
        with refuses((kind, ValueError), "truncated"):
            next(iter(call()))
