"""Recurrent layers on packed sequences: as torch.nn's, and as the same layer with `lengths`."""

from typing import Any

import pytest
import torch
from tolerances import agree
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

import impl_torch_ext as nn

STEPS, BATCH, WIDTH, HIDDEN = 6, 4, 3, 5
LENGTHS = [2, 6, 1, 4]
CASES = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu", "bias": False},
    "LSTM": {"num_layers": 2},
    "LSTM projected": {"proj_size": 2, "bidirectional": True, "num_layers": 2},
    "GRU": {"bidirectional": True, "num_layers": 2},
}


def pair(case: str, **options: Any) -> tuple[Any, Any, Any]:
    """Return our layer, torch's with the same parameters, and a first state."""
    name, given = case.split()[0], {**CASES[case], **options}
    nn.manual_seed(0)
    ours = getattr(nn, name)(WIDTH, HIDDEN, **given, dtype=torch.float64)
    theirs = getattr(torch.nn, name)(WIDTH, HIDDEN, **given, dtype=torch.float64)
    theirs.load_state_dict(ours.state_dict())
    count = ours.num_layers * (1 + ours.bidirectional)
    h0 = nn.randn((count, BATCH, ours.proj_size or HIDDEN), dtype=torch.float64)
    c0 = nn.randn((count, BATCH, HIDDEN), dtype=torch.float64)
    return ours, theirs, (h0, c0) if name == "LSTM" else h0


def flat(outputs: tuple[Any, Any]) -> list[Tensor]:
    output, state = outputs
    rows = output.data if isinstance(output, PackedSequence) else output
    return [rows, *(state if isinstance(state, tuple) else (state,))]


def packed(x: Tensor, lengths: list[int] | None = None) -> PackedSequence:
    return pack_padded_sequence(x, torch.tensor(lengths or LENGTHS), enforce_sorted=False)


def drawn() -> Tensor:
    return nn.randn((STEPS, BATCH, WIDTH), dtype=torch.float64)


@pytest.mark.parametrize("state", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_packed_sequences_are_torchs(case: str, state: bool) -> None:
    ours, theirs, hx = pair(case)
    x, results = drawn(), []
    for layer in (ours, theirs):
        leaf = x.clone().requires_grad_()
        came = packed(leaf)
        outputs = layer(came, hx if state else None)
        assert isinstance(outputs[0], PackedSequence)
        for got, wanted in zip(outputs[0][1:], came[1:], strict=True):
            assert torch.equal(got, wanted)
        sum(y.square().sum() for y in flat(outputs)).backward()
        results.append([*flat(outputs), leaf.grad, *(p.grad for p in layer.parameters())])
    for got, wanted in zip(*results, strict=True):
        agree(got, wanted, "rnn")


@pytest.mark.parametrize("case", CASES)
def test_a_sorted_packed_sequence_has_no_indices(case: str) -> None:
    ours, theirs, hx = pair(case)
    x, lengths = drawn(), torch.tensor([6, 4, 4, 1])
    came = pack_padded_sequence(x, lengths)
    got, wanted = ours(came, hx), theirs(came, hx)
    assert got[0].sorted_indices is None
    for one, other in zip(flat(got), flat(wanted), strict=True):
        agree(one, other, "rnn")


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_packed_is_lengths_bit_for_bit(case: str, batch_first: bool) -> None:
    # In training: the masks between layers are the same too.
    dropout = 0.5 if CASES[case].get("num_layers", 1) > 1 else 0.0
    ours, _, hx = pair(case, dropout=dropout, batch_first=batch_first)
    x = drawn()
    nn.manual_seed(1)
    output, last = ours(packed(x), hx)
    padded, _ = pad_packed_sequence(output, batch_first, total_length=STEPS)
    nn.manual_seed(1)
    whole = ours(x.transpose(0, 1) if batch_first else x, hx, lengths=LENGTHS)
    for got, wanted in zip(flat((padded, last)), flat(whole), strict=True):
        assert torch.equal(got, wanted)


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_is_as_it_is_alone_bit_for_bit(case: str) -> None:
    ours, _, hx = pair(case)
    x = drawn()
    output, last = ours(x, hx, lengths=LENGTHS)
    states = last if isinstance(last, tuple) else (last,)
    for n, length in enumerate(LENGTHS):
        own = [state[:, n : n + 1] for state in (hx if isinstance(hx, tuple) else (hx,))]
        alone, end = ours(x[:length, n : n + 1], tuple(own) if len(own) == 2 else own[0])
        assert torch.equal(output[:length, n : n + 1], alone)
        assert not output[length:, n].any()
        for got, wanted in zip(states, end if isinstance(end, tuple) else (end,), strict=True):
            assert torch.equal(got[:, n : n + 1], wanted)


def test_lengths_beside_a_packed_sequence_are_refused() -> None:
    ours, _, _ = pair("GRU")
    with pytest.raises(ValueError, match="GRU: lengths must be left out"):
        ours(packed(drawn()), lengths=LENGTHS)


def test_packed_sequences_that_do_not_fit_raise() -> None:
    ours, _, hx = pair("LSTM")
    came = packed(drawn())
    with pytest.raises(ValueError, match=r"LSTM: input must have shape \(rows, input_size\)"):
        ours(came._replace(data=came.data[:, :2]))
    with pytest.raises(TypeError, match="LSTM: input must have the dtype of the parameters"):
        ours(came._replace(data=came.data.float()))
    with pytest.raises(ValueError, match=r"LSTM: h0 must have shape \(2, N, H\) = \(2, 4, 5\)"):
        ours(came, (hx[0][:, :3], hx[1]))
    with pytest.raises(ValueError, match="LSTM: batch_sizes must sum to the 12 rows of data"):
        ours(came._replace(data=came.data[1:]))


def test_batch_sizes_changed_after_the_call_have_no_effect() -> None:
    ours, _, _ = pair("GRU")
    grads = []
    for change in (False, True):
        leaf = nn.ones((13, WIDTH), dtype=torch.float64).requires_grad_()
        # Not by pack_padded_sequence, which has a guard of its own.
        came = PackedSequence(leaf, torch.tensor([4, 3, 2, 2, 1, 1]))
        output = ours(came)[0]
        if change:
            came.batch_sizes.fill_(1)
        for again in (False, True):
            (grad,) = torch.autograd.grad(
                output.data.square().sum(), leaf, retain_graph=True, create_graph=again
            )
            grads.append(grad.detach())
    assert torch.equal(grads[0], grads[2])
    assert torch.equal(grads[1], grads[3])


# The compiler of torch warns of what it sees before it leaves a Function to the interpreter.
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_lengths_in_a_compiled_layer(name: str) -> None:
    layer, x = getattr(nn, name)(WIDTH, HIDDEN), nn.randn((STEPS, BATCH, WIDTH))
    compiled = torch.compile(layer, backend="eager")
    assert torch.equal(compiled(x, lengths=LENGTHS)[0], layer(x, lengths=LENGTHS)[0])
