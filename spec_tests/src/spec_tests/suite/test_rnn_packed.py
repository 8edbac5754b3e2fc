"""The chapter ``rnn``: sequences packed without their padding.

Axes: ``T`` steps, ``N`` batch, ``R`` rows of what is packed, ``I`` input, ``H`` hidden.
"""

from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.judge.tables import parse_signature
from spec_tests.oracle.configurations import CELLS, Configuration, configurations
from spec_tests.support.assertions import (
    agrees,
    exactly,
    raw,
    refuses,
    same_signature,
    tensor,
    to_numpy,
)
from spec_tests.support.configured import made, seen, twice
from spec_tests.support.inputs import normal
from spec_tests.support.recurrent import applications, call_layer, call_packed, squares

pytestmark = pytest.mark.sampled(6)

T, N, I, H = 4, 3, 3, 3  # noqa: E741 - the letters of the chapter
# No order of the batch that is its own inverse: each of the two indices has a meaning of its own.
ENDS, SORTED, UNSORTED = (1, 4, 2), (1, 2, 0), (2, 0, 1)
SIZES = (3, 2, 1, 1)
LAYERS = {"RNN": 1, "LSTM": 4, "GRU": 3}


def numbers(nn: Any, packed: Any) -> list[Any]:
    """Return what says where the rows of a packed sequence belong."""
    return [None if part is None else to_numpy(nn, part).tolist() for part in packed[1:]]


def fits(configuration: Configuration) -> bool:
    """Say whether a configuration's batch can be packed; masks of dropout are for T steps."""
    ends = configuration.lengths or (0,)
    longest = T if configuration.dropout else max(ends)
    return bool(configuration.batch) and min(ends) > 0 and max(ends) == longest


def name_of(configuration: Configuration) -> str:
    return f"{configuration.cell}-{configuration.number}"


PACKED = [each for each in configurations() if fits(each)]
KINDS = {
    (cell, both): [each for each in PACKED if (each.cell, each.bidirectional) == (cell, both)]
    for cell in CELLS
    for both in (False, True)
}
TWICE = [each for kind in KINDS.values() for each in [one for one in kind if one.penalised][:2]]


@clause("rnn-55")
@pytest.mark.parametrize("batch_first", [False, True])
def test_the_layout_of_what_is_packed(nn: Any, dtype: str, batch_first: bool) -> None:
    padded = np.arange(T * N * 2).reshape(T, N, 2).astype(dtype)
    given = padded.swapaxes(0, 1) if batch_first else padded
    packed = nn.rnn.pack(nn.tensor(given), ENDS, batch_first=batch_first)
    assert isinstance(packed, nn.rnn.PackedSequence)
    rows = [padded[t, n] for t, n in [(0, 1), (0, 2), (0, 0), (1, 1), (1, 2), (2, 1), (3, 1)]]
    exactly(nn, packed.data, np.stack(rows), dtype=dtype)
    exactly(nn, packed.batch_sizes, np.array(SIZES))
    exactly(nn, packed.sorted_indices, np.array(SORTED))
    exactly(nn, packed.unsorted_indices, np.array(UNSORTED))
    assert all(
        part is own
        for part, own in zip(
            packed,
            (packed.data, packed.batch_sizes, packed.sorted_indices, packed.unsorted_indices),
            strict=True,
        )
    )


@clause("rnn-55", "rnn-56")
def test_signatures_of_pack_and_unpack(nn: Any) -> None:
    for text in (
        "pack(padded, lengths, *, batch_first=False, enforce_sorted=False)",
        "unpack(packed, *, batch_first=False, padding_value=0.0, total_length=None)",
    ):
        name, wanted = parse_signature(text)
        same_signature(getattr(nn.rnn, name), wanted)


@clause("rnn-55", "rnn-56")
@pytest.mark.parametrize("ends", [(3, 3, 1, 3), (2, 3, 2, 3), (1,), (4, 4)])
def test_sequences_of_one_length_keep_their_order(nn: Any, ends: tuple[int, ...]) -> None:
    padded = normal((4, len(ends), 2), "float32")
    packed = nn.rnn.pack(nn.tensor(padded), ends)
    order = np.argsort(-np.array(ends), kind="stable")
    sizes = [sum(end > t for end in ends) for t in range(max(ends))]
    assert numbers(nn, packed) == [sizes, order.tolist(), np.argsort(order).tolist()]
    wanted = [padded[t, n] for t in range(max(ends)) for n in order if ends[n] > t]
    exactly(nn, packed.data, np.stack(wanted), dtype="float32")
    back, lengths = nn.rnn.unpack(packed)
    past = np.arange(max(ends))[:, None] >= np.array(ends)
    exactly(nn, back, np.where(past[..., None], np.float32(0), padded[: max(ends)]))
    exactly(nn, lengths, np.array(ends))


@clause("rnn-55", "rnn-56")
def test_sorted_lengths_need_no_indices(nn: Any) -> None:
    padded = normal((T, N, 2), "float32")
    packed = nn.rnn.pack(nn.tensor(padded), (4, 2, 2), enforce_sorted=True)
    assert numbers(nn, packed) == [[3, 3, 1, 1], None, None]
    back, lengths = nn.rnn.unpack(packed, batch_first=True)
    past = np.arange(T) >= np.array([[4], [2], [2]])
    exactly(nn, back, np.where(past[..., None], np.float32(0), padded.swapaxes(0, 1)))
    assert to_numpy(nn, lengths).tolist() == [4, 2, 2]


@clause("rnn-56")
def test_one_order_says_the_other(nn: Any) -> None:
    packed = nn.rnn.pack(nn.tensor(normal((T, N, 2), "float32")), ENDS)
    want, _ = nn.rnn.unpack(packed)
    alone = nn.rnn.PackedSequence(packed.data, packed.batch_sizes, packed.sorted_indices)
    back, lengths = nn.rnn.unpack(alone)
    exactly(nn, back, to_numpy(nn, want), call="unpack by sorted_indices alone")
    assert to_numpy(nn, lengths).tolist() == list(ENDS)


@clause("rnn-55", "rnn-56")
@pytest.mark.parametrize("name", ["bool", "int32", "int64", "float32"])
def test_any_dtype_and_any_further_axes_are_packed(nn: Any, name: str) -> None:
    padded = np.arange(T * N * 4).reshape(T, N, 2, 2).astype(name)
    for given in (padded, padded[..., 0, 0]):
        packed = nn.rnn.pack(nn.tensor(given), ENDS)
        rows = [given[t, n] for t, n in [(0, 1), (0, 2), (0, 0), (1, 1), (1, 2), (2, 1), (3, 1)]]
        exactly(nn, packed.data, np.stack(rows))
        back, _ = nn.rnn.unpack(packed, padding_value=1)
        past = (np.arange(T)[:, None] >= np.array(ENDS)).reshape(T, N, *[1] * (given.ndim - 2))
        exactly(nn, back, np.where(past, np.ones((), name), given))


@clause("rnn-55", "rnn-56")
@pytest.mark.parametrize("kind", ["array", "uint8", "Tensor", "int32 Tensor", "raw array"])
def test_kinds_of_lengths_that_are_packed(nn: Any, kind: str) -> None:
    known: dict[str, Any] = {
        "array": np.array(ENDS),
        "uint8": np.array(ENDS, "uint8"),
        "Tensor": nn.tensor(list(ENDS)),
        "int32 Tensor": nn.tensor(np.array(ENDS, "int32")),
        "raw array": raw(nn, np.array(ENDS)),
    }
    packed = nn.rnn.pack(nn.zeros((T, N)), known[kind])
    assert numbers(nn, packed) == [list(SIZES), list(SORTED), list(UNSORTED)]


@clause("rnn-56")
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("value", [0.0, -2.5, float("nan")])
def test_padding_value_and_total_length(nn: Any, dtype: str, batch_first: bool, value: Any) -> None:
    padded = normal((T, N, 2), dtype)
    packed = nn.rnn.pack(nn.tensor(padded), ENDS)
    for steps in (None, T, T + 2):
        got, lengths = nn.rnn.unpack(
            packed, batch_first=batch_first, padding_value=value, total_length=steps
        )
        want = np.full((steps or T, N, 2), value, dtype)
        for n, end in enumerate(ENDS):
            want[:end, n] = padded[:end, n]
        exactly(nn, got, want.swapaxes(0, 1) if batch_first else want, dtype=dtype)
        exactly(nn, lengths, np.array(ENDS))


@clause("rnn-55", "rnn-56")
@pytest.mark.parametrize("waste", [0.0, np.nan, np.inf])
def test_gradients_of_pack_and_unpack(nn: Any, dtype: str, waste: float) -> None:
    running = (np.arange(T)[:, None] < np.array(ENDS))[..., None]
    x = np.where(running, normal((T, N, 2), dtype), np.array(waste, dtype))
    leaf = tensor(nn, x)
    padded, _ = nn.rnn.unpack(nn.rnn.pack(leaf, ENDS), padding_value=3.0, total_length=T + 1)
    weights = normal((T + 1, N, 2), dtype, seed=2)
    nn.ops.sum(padded * nn.tensor(weights)).backward()
    exactly(nn, leaf.grad, np.where(running, weights[:T], np.array(0, dtype)), dtype=dtype)


@clause("rnn-55", "rnn-56", needs=("float64", "double_backward"))
def test_second_derivatives_of_pack_and_unpack(nn: Any) -> None:
    running = (np.arange(T)[:, None] < np.array(ENDS))[..., None]
    x = normal((T, N, 2), "float64")
    leaf = tensor(nn, x)
    slope = nn.grad(lambda value: nn.ops.sum(cubes(nn, value)), create_graph=True)(leaf)
    agrees(nn, slope.detach(), 3 * running * x**2, "elementwise", dtype="float64")
    nn.ops.sum(slope * slope).backward()
    agrees(nn, leaf.grad, 36 * running * x**3, "elementwise", dtype="float64")
    agrees(nn, cubes(nn, leaf).detach(), running * x**3, "elementwise", dtype="float64")


def cubes(nn: Any, x: Any) -> Any:
    """Return what is packed, to the third power and padded again."""
    packed = nn.rnn.pack(x, ENDS)
    return nn.rnn.unpack(packed._replace(data=packed.data**3))[0]


@clause("rnn-57", "rnn-35")
@pytest.mark.sampled(50)
@pytest.mark.parametrize("configuration", PACKED, ids=name_of)
def test_packed_configurations_agree_with_torch(
    nn: Any, dtype: str, configuration: Configuration
) -> None:
    assert all(len(kind) >= 3 for kind in KINDS.values())
    got, want = seen(nn, configuration, dtype, packed=True)
    for key, array in want.items():
        agrees(nn, got[key], array, "rnn", call=f"packed: {key}", dtype=dtype)


@clause("rnn-57", "rnn-17", needs="float64")
@pytest.mark.sampled(24)
@pytest.mark.parametrize("configuration", TWICE, ids=name_of)
def test_second_derivatives_of_packed_configurations(nn: Any, configuration: Configuration) -> None:
    assert {(each.cell, each.bidirectional) for each in TWICE} == set(KINDS)
    got, want = twice(nn, configuration, "float64", packed=True)
    for key, array in want.items():
        agrees(nn, got[key], array, "rnn", call=f"packed: {key}", dtype="float64")


@clause("rnn-57")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("batch_first", [False, True])
def test_packed_is_as_with_lengths(nn: Any, cell: str, batch_first: bool) -> None:
    layout = "batch first" if batch_first else "time first"
    configuration = Configuration(0, cell, 2, True, True, layout, 0.25, ENDS)
    layer = made(nn, configuration, "float32")
    x = nn.tensor(configuration.drawn()["x"].astype("float32"))
    found = []
    for call in (call_layer, partial(call_packed, nn)):
        nn.manual_seed(4)
        found.append(call(layer, x, lengths=ENDS))
    for key, want in found[0].items():
        agrees(nn, found[1][key], to_numpy(nn, want), "rnn", call=key, dtype="float32")


@clause("rnn-57")
@pytest.mark.parametrize("name", LAYERS)
def test_states_are_in_the_order_of_the_batch(nn: Any, name: str) -> None:
    nn.manual_seed(8)
    layer = getattr(nn, name)(I, H)
    x = normal((T, N, I), "float32")
    h = normal((1, N, H), "float32", seed=2)
    pair = (nn.tensor(h), nn.tensor(h * 2))
    packed = nn.rnn.pack(nn.tensor(x), ENDS)
    output, last = layer(packed, pair if name == "LSTM" else pair[0])
    assert isinstance(output, nn.rnn.PackedSequence)
    assert numbers(nn, output) == numbers(nn, packed)
    padded, _ = nn.rnn.unpack(output)
    for n, end in enumerate(ENDS):
        own = tuple(state[:, n : n + 1] for state in pair)
        alone, after = layer(nn.tensor(x[:end, n : n + 1]), own if name == "LSTM" else own[0])
        agrees(nn, padded[:end, n : n + 1], to_numpy(nn, alone), "rnn", dtype="float32")
        for got, want in zip(
            *((s if name == "LSTM" else (s,)) for s in (last, after)), strict=True
        ):
            agrees(nn, got[:, n : n + 1], to_numpy(nn, want), "rnn", dtype="float32")


@clause("rnn-57")
@pytest.mark.parametrize("name", LAYERS)
def test_packed_by_enforced_order(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, bidirectional=True)
    x, ends = nn.tensor(normal((T, N, I), "float32")), (4, 2, 1)
    packed = nn.rnn.pack(x, ends, enforce_sorted=True)
    outputs = call_layer(layer, packed)
    assert outputs["output"].sorted_indices is None
    assert outputs["output"].unsorted_indices is None
    padded = nn.rnn.unpack(outputs["output"])[0]
    for key, want in call_layer(layer, x, lengths=ends).items():
        got = padded if key == "output" else outputs[key]
        agrees(nn, got, to_numpy(nn, want), "rnn", call=f"{name}: {key}", dtype="float32")


@clause("rnn-57", "rnn-50")
def test_cell_states_are_packed(nn: Any, dtype: str) -> None:
    nn.manual_seed(8)
    layer = nn.LSTM(I, H, bidirectional=True, dtype=getattr(nn, dtype))
    x = nn.tensor(normal((T, N, I), dtype))
    packed = nn.rnn.pack(x, ENDS)
    *_, cells = layer(packed, return_cell_states=True)
    assert isinstance(cells, nn.rnn.PackedSequence)
    assert numbers(nn, cells) == numbers(nn, packed)
    *_, want = layer(x, lengths=ENDS, return_cell_states=True)
    agrees(nn, nn.rnn.unpack(cells)[0], to_numpy(nn, want), "rnn", dtype=dtype)


@clause("rnn-56", "rnn-57")
def test_what_was_packed_is_mapped(nn: Any) -> None:
    """A layer above another, with the user's own code on the rows between them."""
    nn.manual_seed(8)
    below, between, above = nn.GRU(I, H), nn.Linear(H, I), nn.GRU(I, H)
    x = nn.tensor(normal((T, N, I), "float32"))
    packed, _ = below(nn.rnn.pack(x, ENDS))
    rows = nn.ops.tanh(between(packed.data))
    mapped = nn.rnn.PackedSequence(rows, *packed[1:])
    got, _ = nn.rnn.unpack(above(mapped)[0])
    output, _ = below(x, lengths=ENDS)
    want, _ = above(nn.ops.tanh(between(output)), lengths=ENDS)
    agrees(nn, got, to_numpy(nn, want), "rnn", dtype="float32")
    squares(nn, [got]).backward()
    slope = to_numpy(nn, between.weight.grad)
    between.zero_grad()
    squares(nn, [want]).backward()
    agrees(nn, slope, to_numpy(nn, between.weight.grad), "rnn", dtype="float32")


@clause("rnn-57", "rnn-18")
@pytest.mark.parametrize("name", LAYERS)
def test_one_function_for_packed_input(nn: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    applied = applications(getattr(nn.rnn, f"{name}Function"), monkeypatch)
    layer = getattr(nn, name)(I, H, 2, bidirectional=True)
    layer(nn.rnn.pack(tensor(nn, normal((T, N, I), "float32")), ENDS))
    assert len(applied) == 4


@clause("rnn-55", "rnn-57", "autograd-20", needs="jit")
@pytest.mark.parametrize("name", LAYERS)
def test_packed_under_jit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H, bidirectional=True)
    x = nn.tensor(normal((T, N, I), "float32"))

    def call(value: Any) -> Any:
        return call_packed(nn, layer, value, lengths=ENDS)["output"]

    agrees(nn, nn.jit(call)(x), to_numpy(nn, call(x)), "rnn", dtype="float32")
    known = nn.tensor(list(ENDS))
    rows, said = None, "pack"
    try:
        rows = nn.jit(lambda value, ends: nn.rnn.pack(value, ends).data)(x, known)
    except TypeError as error:
        said = str(error)
    assert "pack" in said
    if rows is not None:
        exactly(nn, rows, to_numpy(nn, nn.rnn.pack(x, ENDS).data), dtype="float32")


@clause("rnn-58")
def test_what_does_not_fit_in_pack(nn: Any) -> None:
    x = nn.zeros((T, N, I))
    for odd in ([[1.0]], 3, None, "text"):
        with refuses(TypeError, "pack", "padded"):
            nn.rnn.pack(odd, ENDS)
    for shape in ((), (T,)):
        with refuses(ValueError, "pack", "padded", str(shape)):
            nn.rnn.pack(nn.zeros(shape), ENDS)
    misshapen: tuple[Any, ...] = ([2, 3], [[1, 2, 3]], 3, [])
    for odd in misshapen:
        with refuses(ValueError, "pack", "lengths", str((N,)), str(np.shape(odd))):
            nn.rnn.pack(x, odd)
    for wrong in (-1, 0, T + 1, 2**40):
        with refuses(ValueError, "pack", "lengths", T, wrong):
            nn.rnn.pack(x, [1, wrong, 2])
    for kind in ([1.0, 2.0, 3.0], np.ones(N), [True, False, True], nn.ones(N), "123", object()):
        with refuses(TypeError, "pack", "lengths"):
            nn.rnn.pack(x, kind)
    with refuses(ValueError, "pack"):
        nn.rnn.pack(nn.zeros((T, 0, I)), [])
    with refuses(ValueError, "pack", "enforce_sorted"):
        nn.rnn.pack(x, (2, 1, 2), enforce_sorted=True)
    with refuses(TypeError, "pack", "batch_first"):
        nn.rnn.pack(x, ENDS, batch_first="yes")
    with pytest.raises(TypeError):
        nn.rnn.pack(x, ENDS, True)


@clause("rnn-58")
def test_what_does_not_fit_in_unpack(nn: Any) -> None:
    packed = nn.rnn.pack(nn.zeros((T, N, I)), ENDS)
    for odd in (nn.zeros((T, N, I)), None, tuple(packed), "text"):
        with refuses(TypeError, "unpack", "packed"):
            nn.rnn.unpack(odd)
    for wrong in (T - 1, 0, -1):
        with refuses(ValueError, "unpack", "total_length", T, wrong):
            nn.rnn.unpack(packed, total_length=wrong)
    for odd in (4.0, "4", True):
        with refuses(TypeError, "unpack", "total_length"):
            nn.rnn.unpack(packed, total_length=odd)
    for odd in ("0", None, [0.0]):
        with refuses(TypeError, "unpack", "padding_value"):
            nn.rnn.unpack(packed, padding_value=odd)
    for sizes in ([3, 2, 1], [3, 2, 1, 2], [3, 2, 2, 0], [2, 3, 1, 1], [8, -1]):
        with refuses(ValueError, "unpack", "batch_sizes"):
            nn.rnn.unpack(packed._replace(batch_sizes=nn.tensor(sizes)))


@clause("rnn-56", "rnn-57", "rnn-58")
def test_the_order_of_a_sequence_that_the_user_packed(nn: Any) -> None:
    x = normal((T, N, I), "float32")
    packed = nn.rnn.pack(nn.tensor(x), ENDS)
    layer, h = nn.GRU(I, H), nn.tensor(normal((1, N, H), "float32"))
    padded, (_, last) = nn.rnn.unpack(packed)[0], layer(packed, h)
    backends = not nn.rnn.PackedSequence.__module__.startswith(nn.__name__)
    for lacking in ("unsorted_indices",) if backends else ("unsorted_indices", "sorted_indices"):
        part = nn.rnn.PackedSequence(**{**packed._asdict(), lacking: None})
        exactly(nn, nn.rnn.unpack(part)[0], to_numpy(nn, padded), call=f"without {lacking}")
        agrees(nn, layer(part, h)[1], to_numpy(nn, last), "rnn", call=f"without {lacking}")
    if backends:
        return
    for name in ("sorted_indices", "unsorted_indices"):
        for wrong in ([0, 0, 1], [0, 1], [1, 2, 3], [-1, 0, 1]):
            odd = {"sorted_indices": None, "unsorted_indices": None, name: nn.tensor(wrong)}
            for call, said in ((nn.rnn.unpack, "unpack"), (layer, "GRU")):
                with refuses(ValueError, said, name):
                    call(packed._replace(**odd))
    for call, said in ((nn.rnn.unpack, "unpack"), (layer, "GRU")):
        with refuses(ValueError, said, "sorted_indices"):
            call(packed._replace(unsorted_indices=packed.sorted_indices))


@clause("rnn-58")
@pytest.mark.parametrize("name", LAYERS)
def test_packed_input_that_does_not_fit(nn: Any, name: str) -> None:
    layer = getattr(nn, name)(I, H)
    packed = nn.rnn.pack(nn.zeros((T, N, I)), ENDS)
    for argument, value in (
        ("lengths", ENDS),
        ("reset_mask", np.zeros((T, N), bool)),
        ("reset_state", nn.zeros((1, N, H))),
    ):
        with refuses(ValueError, name, argument):
            layer(packed, **{argument: value})
    for shape in ((7, I + 1), (7,), (7, 1, I)):
        with refuses(ValueError, name, "input", str(shape)):
            layer(packed._replace(data=nn.zeros(shape)))
    state = nn.zeros((1, N + 1, H))
    with refuses(ValueError, name, "h0", str((1, N, H)), str((1, N + 1, H))):
        layer(packed, (state, state) if name == "LSTM" else state)
    with refuses(TypeError, name, "float32", "int64"):
        layer(packed._replace(data=nn.zeros((7, I), dtype=nn.int64)))
    for sizes in ([3, 2, 1], [2, 3, 1, 1], [3, 2, 2, 0]):
        with refuses(ValueError, name, "batch_sizes"):
            layer(packed._replace(batch_sizes=nn.tensor(sizes)))
