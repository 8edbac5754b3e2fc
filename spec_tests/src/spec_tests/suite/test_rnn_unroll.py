"""Chapter rnn: cells in two parts, and `unroll`.

Axes: ``T`` steps, ``N`` batch, ``I`` input, ``H`` hidden.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.recurrent import squares
from spec_tests.support.user_cells import CELLS, first_state, loop, mapped, tensors_of

pytestmark = pytest.mark.sampled(6)

T, N, I, H = 5, 3, 2, 4  # noqa: E741 - the letters of the chapter
ENDS = (3, 5, 0)
MASK = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1]], bool)
OWN: dict[str, dict[str, Any]] = {
    "RNNCell": {},
    "LSTMCell": {},
    "GRUCell": {},
    "LayerNormLSTMCell": {},
    "LayerNormGRUCell": {},
    "PeepholeLSTMCell": {},
}


def cell_of(nn: Any, name: str, dtype: str, width: int = I) -> Any:
    """Return one of our cells, or of the user's, with drawn parameters."""
    nn.manual_seed(11)
    if name in CELLS:
        return CELLS[name](nn, width, H, dtype)
    return getattr(nn, name)(width, H, dtype=getattr(nn, dtype))


def state_for(nn: Any, name: str, dtype: str) -> tuple[Any, list[Any]]:
    """Return a first state for a cell, and its floating Tensors."""
    pair = name == "split" or "LSTM" in name
    return first_state(nn, name if name == "counting" else "split" if pair else "", N, H, dtype)


def compared(nn: Any, calls: list[Callable[..., tuple[Any, Any]]], name: str, dtype: str) -> None:
    """Compare outputs, states and gradients of two ways through a sequence, the second wanted."""
    __tracebackhide__ = True
    found = []
    for call in calls:
        cell = cell_of(nn, name, dtype)
        x = tensor(nn, normal((T, N, I), dtype, seed=1))
        state, leaves = state_for(nn, name, dtype)
        output, last = call(cell, x, state)
        results = [*tensors_of(output), *tensors_of(last)]
        floating = [part for part in results if "float" in str(part.dtype)]
        total = sum(
            (nn.ops.sum(part * part * 0.5 + part) for part in floating[1:]), floating[0].sum()
        )
        total.backward()
        slopes = [x.grad, *[leaf.grad for leaf in leaves], *[p.grad for p in cell.parameters()]]
        found.append([*[part.detach() for part in results], *slopes])
    for place, (got, want) in enumerate(zip(*found, strict=True)):
        if want is None:
            assert got is None or not np.any(to_numpy(nn, got))
            continue
        array = to_numpy(nn, want)
        agrees(
            nn,
            got,
            array,
            "rnn",
            call=f"{name}: result or gradient {place}",
            dtype=array.dtype.name,
        )


@clause("rnn-39")
@pytest.mark.parametrize("name", OWN)
def test_a_cell_in_two_parts(nn: Any, dtype: str, name: str) -> None:
    cell = cell_of(nn, name, dtype)
    assert cell.state_size == ((H, H) if "LSTM" in name else H)
    signature = inspect.signature(cell.step)
    assert [p.name for p in signature.parameters.values()] == ["projected", "hx", "recurrent"]
    assert signature.parameters["recurrent"].kind is inspect.Parameter.KEYWORD_ONLY
    found = []
    for whole in (False, True):
        cell.zero_grad()
        x = tensor(nn, normal((T, N, I), dtype, seed=1))
        state, leaves = state_for(nn, name, dtype)
        row = x[2]
        if whole:
            after = cell.step(mapped(lambda part: part[2], cell.project(x)), state)
        else:
            after = cell(row, state)
        nn.ops.sum(sum(part * part for part in tensors_of(after))).backward()
        slopes = [x.grad, *[leaf.grad for leaf in leaves], *[p.grad for p in cell.parameters()]]
        found.append([*[part.detach() for part in tensors_of(after)], *slopes])
    for got, want in zip(*found, strict=True):
        agrees(nn, got, to_numpy(nn, want), "rnn", call=name, dtype=dtype)
    alone = cell.step(cell.project(nn.tensor(normal((I,), dtype))))
    shape = tensors_of(alone)[0].shape
    assert tuple(shape) == (H,), f"{name}: one sample gave {shape}"


@clause("rnn-20", "rnn-39")
@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_a_projection_that_does_not_fit(nn: Any, name: str) -> None:
    cell = getattr(nn, name)(I, H)
    gates = cell.weight_hh.shape[0]
    for shape in ((), (gates + 1,), (N, gates - 1), (1, N, gates)):
        with refuses(ValueError, name, "projected", str(shape)):
            cell.step(nn.zeros(shape))


@clause("rnn-39")
@pytest.mark.parametrize("name", OWN)
def test_what_stands_for_h_in_the_recurrent_product(nn: Any, dtype: str, name: str) -> None:
    """With h itself there nothing changes; with another, only what W_hh makes of it."""
    cell = cell_of(nn, name, dtype)
    x = nn.tensor(normal((N, I), dtype, seed=1))
    state, leaves = state_for(nn, name, dtype)
    h, other = leaves[0].detach(), nn.tensor(normal((N, H), dtype, seed=9))
    projected = cell.project(x)
    plain = tensors_of(cell.step(projected, state))
    same = tensors_of(cell.step(projected, state, recurrent=h))
    for got, want in zip(same, plain, strict=True):
        agrees(nn, got, to_numpy(nn, want.detach()), "rnn", dtype=dtype)
    swapped = tensors_of(cell.step(projected, state, recurrent=other))
    given = (other, state[1]) if "LSTM" in name else other
    wanted = to_numpy(nn, tensors_of(cell.step(projected, given))[0].detach())
    if "GRU" in name:
        # z of the other h: what is carried past the gates is still h.
        ones = nn.tensor(np.ones((N, H), dtype))
        high = tensors_of(cell.step(projected, h + ones, recurrent=other))[0].detach()
        z = to_numpy(nn, high) - to_numpy(nn, swapped[0].detach())
        assert np.all((z > 0) & (z < 1)), f"h should be carried by z, which is {z}"
        wanted = wanted + z * (to_numpy(nn, h) - to_numpy(nn, other))
    agrees(nn, swapped[0], wanted, "rnn", call=name, dtype=dtype)


@clause("rnn-39", needs="double_backward")
@pytest.mark.parametrize("record", [False, True])
@pytest.mark.parametrize("name", OWN)
def test_the_state_alone_wants_a_gradient(nn: Any, name: str, record: bool) -> None:
    """The weights are frozen, and what W_hh multiplies is given: h is carried past the gates."""
    cell = cell_of(nn, name, "float32")
    state, leaves = state_for(nn, name, "float32")
    projected = mapped(
        lambda part: part.detach(), cell.project(nn.tensor(normal((N, I), "float32")))
    )
    other = nn.tensor(normal((N, H), "float32", seed=9))
    slopes = []
    for frozen in (False, True):
        for parameter in cell.parameters():
            parameter.requires_grad_(not frozen)
        after = tensors_of(cell.step(projected, state, recurrent=other))
        total = nn.ops.sum(sum(part * part for part in after))
        wanted = [leaf for leaf in leaves if leaf.requires_grad]
        got = [None] * len(wanted)
        if total.requires_grad:
            got = nn.grad(total, wanted, create_graph=record, allow_unused=True)
        slopes.append([None if slope is None else slope.detach() for slope in got])
    for got, want in zip(*slopes, strict=True):
        assert (got is None) == (want is None)
        if want is not None:
            agrees(nn, got, to_numpy(nn, want), "rnn", call=name, dtype="float32")


@clause("rnn-40")
@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", [*CELLS, *OWN])
def test_it_is_the_loop(nn: Any, dtype: str, name: str) -> None:
    compared(
        nn,
        [
            lambda cell, x, state: nn.rnn.unroll(cell, x, state),
            lambda cell, x, state: loop(nn, cell, x, state),
        ],
        name,
        dtype,
    )


@clause("rnn-40")
@pytest.mark.parametrize("name", ["plain", "counting", "LSTMCell"])
def test_batch_first(nn: Any, dtype: str, name: str) -> None:
    def turned(cell: Any, x: Any, state: Any) -> Any:
        x = nn.ops.permute_dims(x, (1, 0, 2))
        output, last = nn.rnn.unroll(cell, x, state, batch_first=True)
        swap = [nn.ops.permute_dims(o, (1, 0, *range(2, o.ndim))) for o in tensors_of(output)]
        return swap, last

    compared(nn, [turned, lambda cell, x, state: loop(nn, cell, x, state)], name, dtype)


@clause("rnn-40")
@pytest.mark.parametrize("name", ["plain", "RNNCell", "GRUCell", "PeepholeLSTMCell"])
def test_no_state_is_none_at_the_first_step(nn: Any, dtype: str, name: str) -> None:
    cell = cell_of(nn, name, dtype)
    for shape in ((T, N, I), (T, I)):
        x = nn.tensor(normal(shape, dtype))
        want, last = loop(nn, cell, x, None)
        got, after = nn.rnn.unroll(cell, x)
        agrees(nn, got, to_numpy(nn, want[0].detach()), "rnn", call=f"{name} {shape}", dtype=dtype)
        pairs = zip(tensors_of(after), tensors_of(last), strict=True)
        for part, other in pairs:
            agrees(nn, part, to_numpy(nn, other.detach()), "rnn", dtype=dtype)


@clause("rnn-40")
def test_a_function_over_a_structure_of_inputs(nn: Any) -> None:
    scale = tensor(nn, normal((H,), "float32", seed=2))

    def cell(x: Any, state: Any) -> Any:
        which, (value,) = x["which"], x["values"]
        return {"h": nn.ops.where(which, state["h"] * 0.5 + value * scale, state["h"])}

    which = np.random.default_rng(1).random((T, N, 1)) > 0.5
    value = tensor(nn, normal((T, N, H), "float32", seed=3))
    first = tensor(nn, normal((N, H), "float32", seed=4))
    inputs = {"which": nn.tensor(which), "values": (value,)}
    got, last = nn.rnn.unroll(cell, inputs, {"h": first})
    (nn.ops.sum(got * got) + nn.ops.sum(last["h"])).backward()
    slopes = [to_numpy(nn, leaf.grad) for leaf in (scale, value, first)]
    for leaf in (scale, value, first):
        leaf.grad = None
    h, states = first, []
    for t in range(T):
        h = nn.ops.where(nn.tensor(which[t]), h * 0.5 + value[t] * scale, h)
        states.append(h)
    want = nn.ops.stack(states, axis=0)
    agrees(nn, got, to_numpy(nn, want.detach()), "rnn", dtype="float32")
    (nn.ops.sum(want * want) + nn.ops.sum(h)).backward()
    for slope, leaf in zip(slopes, (scale, value, first), strict=True):
        agrees(nn, slope, to_numpy(nn, leaf.grad), "rnn", dtype="float32")


@clause("rnn-40", needs=("float64", "double_backward"))
@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", [*CELLS, *OWN])
def test_second_derivatives(nn: Any, name: str) -> None:
    """Of a gradient penalty, to the input, the state and every parameter."""
    found = []
    for way in (nn.rnn.unroll, lambda cell, x, state: loop(nn, cell, x, state)):
        cell = cell_of(nn, name, "float64")
        x = tensor(nn, normal((T, N, I), "float64", seed=1))
        state, leaves = state_for(nn, name, "float64")
        output, last = way(cell, x, state)
        floating = [part for part in tensors_of((output, last)) if "float" in str(part.dtype)]
        squares(nn, floating).backward(create_graph=True)
        leaves = [x, *leaves, *cell.parameters()]
        slopes = [leaf.grad for leaf in leaves if leaf.grad is not None]
        for leaf in leaves:
            leaf.grad = None
        squares(nn, slopes).backward()
        found.append([leaf.grad for leaf in leaves])
    for place, (got, want) in enumerate(zip(*found, strict=True)):
        if want is None:
            assert got is None or not np.any(to_numpy(nn, got))
            continue
        call = f"{name}: second derivative {place}"
        agrees(nn, got, to_numpy(nn, want), "rnn", call=call, dtype="float64")


@clause("rnn-40", "nn-08")
def test_what_a_cell_draws(nn: Any) -> None:
    """As in the loop, number by number, and the generator ends where the loop leaves it."""

    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)

        def forward(self, x: Any, h: Any) -> Any:
            return self.drop(h) + self.drop(x)

    x = nn.tensor(normal((T, N, H), "float32", seed=1))
    h = nn.tensor(normal((N, H), "float32", seed=2))
    for steps in (1, T):
        found = []
        for call in (nn.rnn.unroll, functools.partial(loop, nn)):
            nn.manual_seed(3)
            cell = Noisy()
            output = tensors_of(call(cell, x[:steps], h)[0])[0]
            found.append((to_numpy(nn, output), to_numpy(nn, nn.rand(4))))
        agrees(nn, found[0][0], found[1][0], "elementwise", dtype="float32")
        exactly(nn, found[0][1], found[1][1], dtype="float32")
    nn.manual_seed(3)
    first, second = (to_numpy(nn, nn.rnn.unroll(cell, x, h)[0]) for _ in range(2))
    assert not np.array_equal(first, second), "a second call should draw anew"


@clause("rnn-40")
def test_a_cell_that_reads_values(nn: Any) -> None:
    def cell(x: Any, h: Any) -> Any:
        return h + x if nn.ops.sum(x).item() > 0 else h - x

    x, h = nn.tensor(normal((T, N, H), "float32")), nn.zeros((N, H))
    refusal = ""
    try:
        got, _ = nn.rnn.unroll(cell, x, h)
    except TypeError as error:
        refusal = str(error)
    if refusal:
        assert "unroll" in refusal, refusal
        return
    agrees(nn, got, to_numpy(nn, loop(nn, cell, x, h)[0][0]), "rnn", dtype="float32")


@clause("rnn-40", "autograd-30")
def test_parameters_and_modes_are_those_of_the_call(nn: Any) -> None:
    cell = cell_of(nn, "plain", "float32")
    x = nn.tensor(normal((T, N, I), "float32"))
    for change in (lambda: None, lambda: nn.init.constant_(cell.weight, 0.1), cell.eval):
        change()
        want = loop(nn, cell, x, None)[0][0]
        agrees(nn, nn.rnn.unroll(cell, x)[0], to_numpy(nn, want.detach()), "rnn", dtype="float32")
    with nn.no_grad():
        assert not nn.rnn.unroll(cell, x)[0].requires_grad


@clause("rnn-40", "autograd-14", "autograd-20")
@pytest.mark.parametrize("name", ["plain", "LSTMCell"])
def test_under_transformations(nn: Any, name: str) -> None:
    cell = cell_of(nn, name, "float32")
    x = nn.tensor(normal((T, N, I), "float32"))

    def total(x: Any) -> Any:
        output, _ = nn.rnn.unroll(cell, x)
        return nn.ops.sum(output * output)

    leaf = tensor(nn, to_numpy(nn, x))
    total(leaf).backward()
    want = to_numpy(nn, leaf.grad)
    for wrapped in (nn.grad(total), nn.jit(nn.grad(total)), nn.grad(nn.jit(total))):
        agrees(nn, wrapped(x), want, "rnn", call=name, dtype="float32")


def stretches(nn: Any, cell: Any, x: Any, state: Any, fresh: Any, ends: Any, mask: Any) -> Any:
    """Return what `unroll` should, sequence by sequence, stretch by stretch, in loops."""
    columns, lasts = [], []
    for n, end in enumerate(ends):
        own = rows_of(state, n)
        anew = rows_of(fresh, n)
        outputs = []
        for t in range(end):
            if mask is not None and mask[t, n]:
                own = anew
            out, own = loop(nn, cell, x[t : t + 1, n : n + 1], own)
            outputs.append(out[0])
        padding = nn.zeros((T - end, 1, H), dtype=x.dtype)
        columns.append(nn.ops.concat([*outputs, padding], axis=0))
        lasts.append(tensors_of(own))
    last = [nn.ops.concat(list(parts), axis=0) for parts in zip(*lasts, strict=True)]
    return nn.ops.concat(columns, axis=1), last


def rows_of(state: Any, n: int) -> Any:
    """Return the state of one sequence of the batch."""
    return mapped(lambda part: part[n : n + 1], state)


@clause("rnn-41")
@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", ["plain", "split", "RNNCell", "LSTMCell", "LayerNormGRUCell"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cut", [False, True])
def test_lengths_and_resets(nn: Any, dtype: str, name: str, masked: bool, cut: bool) -> None:
    options: dict[str, Any] = {"lengths": ENDS} if cut else {}
    mask = MASK if masked else None

    def unrolled(cell: Any, x: Any, state: Any) -> Any:
        fresh = mapped(lambda part: part * 0.5, state)
        if masked:
            options.update(reset_mask=MASK, reset_state=fresh)
        spoilt = nn.ops.where(nn.tensor(PADDING[..., None]), np.nan, x) if cut else x
        return nn.rnn.unroll(cell, spoilt, state, **options)

    def alone(cell: Any, x: Any, state: Any) -> Any:
        fresh = mapped(lambda part: part * 0.5, state)
        return stretches(nn, cell, x, state, fresh, ENDS if cut else (T,) * N, mask)

    compared(nn, [unrolled, alone], name, dtype)


PADDING = np.arange(T)[:, None] >= np.array(ENDS)


@clause("rnn-41")
def test_a_state_and_an_output_that_are_structures(nn: Any) -> None:
    cell = cell_of(nn, "counting", "float32")
    x = nn.tensor(normal((T, N, I), "float32"))
    state, _ = first_state(nn, "counting", N, H, "float32")
    (values, steps), last = nn.rnn.unroll(cell, x, state, lengths=ENDS)
    exactly(nn, steps, np.where(PADDING, 0, np.arange(1, T + 1)[:, None]))
    exactly(nn, last["steps"], np.array(ENDS))
    exactly(
        nn, to_numpy(nn, values.detach())[PADDING], np.zeros((PADDING.sum(), 2)), dtype="float32"
    )


@clause("rnn-41")
@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_zeros_for_a_state_that_is_left_out(nn: Any, dtype: str, name: str) -> None:
    cell = cell_of(nn, name, dtype)
    x = nn.tensor(normal((T, N, I), dtype))
    zeros = nn.zeros((N, H), dtype=getattr(nn, dtype))
    state = (zeros, zeros) if "LSTM" in name else zeros
    for options in ({"lengths": ENDS}, {"reset_mask": MASK}, {"lengths": ENDS, "reset_mask": MASK}):
        want, last = nn.rnn.unroll(cell, x, state, **options)
        got, after = nn.rnn.unroll(cell, x, **options)
        exactly(nn, got, to_numpy(nn, want.detach()), dtype=dtype)
        for part, other in zip(tensors_of(after), tensors_of(last), strict=True):
            exactly(nn, part, to_numpy(nn, other.detach()), dtype=dtype)
    lacking = cell_of(nn, "plain", dtype)
    with refuses(ValueError, "unroll", "state"):
        nn.rnn.unroll(lacking, x, lengths=ENDS)


@clause("rnn-40", "rnn-41")
@pytest.mark.parametrize("name", ["plain", "split", "LSTMCell"])
@pytest.mark.parametrize("batch", [0, 2])
def test_zero_sizes(nn: Any, dtype: str, name: str, batch: int) -> None:
    cell = cell_of(nn, name, dtype)
    for steps in (0, 3) if batch == 0 else (0,):
        x = tensor(nn, normal((steps, batch, I), dtype))
        pair = name != "plain"
        parts = [tensor(nn, normal((batch, H), dtype, seed=s)) for s in range(1 + pair)]
        output, last = nn.rnn.unroll(cell, x, tuple(parts) if pair else parts[0])
        assert tuple(output.shape) == (steps, batch, H)
        if not steps:
            for got, part in zip(tensors_of(last), parts, strict=True):
                exactly(nn, got, to_numpy(nn, part.detach()), dtype=dtype)
        (nn.ops.sum(output) + sum(nn.ops.sum(part) for part in tensors_of(last))).backward()
        exactly(nn, parts[0].grad, np.ones((batch, H)), dtype=dtype)


@clause("rnn-42")
@pytest.mark.sampled(8)
@pytest.mark.parametrize("name", ["plain", "counting", "split", "LSTMCell"])
@pytest.mark.parametrize("segment", [1, 2, 3, 5, 9, "sqrt"])
def test_checkpoints_change_nothing(nn: Any, dtype: str, name: str, segment: Any) -> None:
    compared(
        nn,
        [
            lambda cell, x, state: nn.rnn.unroll(cell, x, state, checkpoint=segment),
            lambda cell, x, state: nn.rnn.unroll(cell, x, state),
        ],
        name,
        dtype,
    )


@clause("rnn-42", "rnn-41")
def test_checkpoints_with_lengths_and_resets(nn: Any, dtype: str) -> None:
    options: dict[str, Any] = {"lengths": ENDS, "reset_mask": MASK}
    compared(
        nn,
        [
            lambda cell, x, state: nn.rnn.unroll(cell, x, state, checkpoint=2, **options),
            lambda cell, x, state: nn.rnn.unroll(cell, x, state, **options),
        ],
        "GRUCell",
        dtype,
    )


@clause("rnn-42", needs=("float64", "double_backward"))
def test_second_derivatives_through_checkpoints(nn: Any) -> None:
    cell = cell_of(nn, "LSTMCell", "float64")
    arrays = [normal((3, 2, I), "float64", seed=1), normal((2, H), "float64", seed=2)]

    def function(x: Any, h: Any) -> Any:
        output, _ = nn.rnn.unroll(cell, x, (h, h * 0.5), checkpoint=2)
        return output

    check_gradients(nn, function, arrays, second_order=True)


@clause("rnn-42", "rnn-49")
def test_what_is_drawn_under_checkpoints(nn: Any) -> None:
    found = []
    for segment in (None, 2):
        nn.manual_seed(5)
        cell = nn.ZoneoutCell(nn.GRUCell(I, H), 0.5)
        x = tensor(nn, normal((T, N, I), "float32"))
        output, _ = nn.rnn.unroll(cell, x, checkpoint=segment)
        nn.ops.sum(output * output).backward()
        found.append([to_numpy(nn, part) for part in (output.detach(), x.grad, nn.rand(3))])
    for got, want in zip(*found, strict=True):
        agrees(nn, got, want, "rnn", dtype="float32")
