"""Several episodes in one sequence: each is as it is alone, to the last bit."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_padded_sequence

import impl_torch_ext as nn

STEPS, BATCH, WIDTH, HIDDEN = 7, 4, 3, 5
LENGTHS = [7, 0, 4, 6]
CASES: dict[str, dict[str, Any]] = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu", "bias": False, "bidirectional": True},
    "LSTM": {"num_layers": 2},
    "LSTM projected": {"proj_size": 2, "bidirectional": True, "num_layers": 2},
    "GRU": {"bidirectional": True, "num_layers": 2},
}


def made(case: str, **options: Any) -> Any:
    nn.manual_seed(0)
    kind = getattr(nn, case.split()[0])
    return kind(WIDTH, HIDDEN, **{**CASES[case], **options}, dtype=torch.float64)


def drawn(*shape: int) -> Tensor:
    return nn.randn(shape, dtype=torch.float64)


def state_for(layer: Any, batch: int = BATCH) -> Any:
    count = layer.num_layers * (1 + layer.bidirectional)
    h = drawn(count, batch, layer.proj_size or HIDDEN)
    return (h, drawn(count, batch, HIDDEN)) if isinstance(layer, nn.LSTM) else h


def parts(state: Any) -> tuple[Tensor, ...]:
    return state if isinstance(state, tuple) else (state,)


def joined(states: list[Tensor]) -> Any:
    return tuple(states) if len(states) == 2 else states[0]


def alone(
    layer: Any, x: Tensor, n: int, bounds: list[int], marked: bool, hx: Any, anew: Any
) -> tuple[list[Tensor], list[Tensor]]:
    """Return the outputs of the episodes of sample n, and its last states."""
    turned = torch.arange(parts(hx)[0].shape[0]).reshape(-1, 1) % (1 + layer.bidirectional) == 1
    outputs, ends = [], []
    for start, stop in pairwise(bounds):
        fresh = torch.where(turned, stop < bounds[-1], torch.tensor(start > 0 or marked))
        first = [
            torch.where(fresh, again[:, n], usual[:, n]).unsqueeze(1)
            for usual, again in zip(parts(hx), parts(anew), strict=True)
        ]
        output, last = layer(x[start:stop, n : n + 1], joined(first))
        outputs.append(output[:, 0])
        ends.append([state[:, 0] for state in parts(last)])
    return outputs, [torch.where(turned, a, b) for a, b in zip(ends[0], ends[-1], strict=True)]


@pytest.mark.parametrize("ends", [None, LENGTHS])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("case", CASES)
def test_an_episode_is_as_it_is_alone_bit_for_bit(case: str, share: float, ends: Any) -> None:
    layer = made(case)
    x, hx, anew = drawn(STEPS, BATCH, WIDTH), state_for(layer), state_for(layer)
    mask = np.random.default_rng(3).random((STEPS, BATCH)) < share
    options = {} if ends is None else {"lengths": ends}
    output, last = layer(x, hx, reset_mask=mask, reset_state=anew, **options)
    for n, end in enumerate(ends or [STEPS] * BATCH):
        marks = mask[:end, n].nonzero()[0].tolist()
        bounds = [0, *(t for t in marks if t), end]
        outputs, states = alone(layer, x, n, bounds, 0 in marks, hx, anew)
        assert torch.equal(output[:end, n], torch.cat(outputs))
        assert not output[end:, n].any()
        for got, wanted in zip(parts(last), states, strict=True):
            assert torch.equal(got[:, n], wanted)


@pytest.mark.parametrize("case", CASES)
def test_only_one_of_the_states(case: str) -> None:
    layer = made(case)
    x, given = drawn(STEPS, BATCH, WIDTH), state_for(layer)
    zeros = joined([torch.zeros_like(state) for state in parts(given)])
    mask = torch.rand(STEPS, BATCH) < 0.4
    for hx, anew in ((given, None), (None, given), (None, None)):
        got = layer(x, hx, reset_mask=mask, reset_state=anew)
        filled = [zeros if state is None else state for state in (hx, anew)]
        wanted = layer(x, filled[0], reset_mask=mask, reset_state=filled[1])
        assert torch.equal(got[0], wanted[0])
        assert all(map(torch.equal, parts(got[1]), parts(wanted[1])))


@pytest.mark.parametrize("case", CASES)
def test_layouts_with_lengths_and_dropout(case: str) -> None:
    dropout = {"dropout": 0.5} if CASES[case].get("num_layers", 1) > 1 else {}
    x, mask = drawn(STEPS, BATCH, WIDTH), torch.rand(STEPS, BATCH) < 0.4
    results = []
    for first in (False, True):
        layer = made(case, batch_first=first, **dropout)
        leaf = (x.transpose(0, 1) if first else x).clone().requires_grad_()
        marks = mask.T if first else mask
        nn.manual_seed(1)
        output, last = layer(leaf, lengths=LENGTHS, reset_mask=marks)
        sum(y.square().sum() for y in (output, *parts(last))).backward()
        turned = [y.transpose(0, 1) if first else y for y in (output, leaf.grad)]
        results.append([*turned, *parts(last), *(p.grad for p in layer.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("case", CASES)
def test_nan_stays_in_its_episode(case: str) -> None:
    layer, mask = made(case), torch.zeros(STEPS, BATCH, dtype=torch.bool)
    mask[[2, 5], 1] = True
    x = drawn(STEPS, BATCH, WIDTH)
    leaves = [x.clone(), x.clone()]
    leaves[1][3, 1] = torch.nan
    outputs, grads = [], []
    for leaf in leaves:
        output, _ = layer(leaf.requires_grad_(), reset_mask=mask)
        output.square().sum().backward()
        outputs.append(output.detach())
        grads.append(leaf.grad)
    for one, other in (outputs, grads):
        assert torch.equal(one[[0, 1, 5, 6]], other[[0, 1, 5, 6]])
        assert torch.equal(one[:, [0, 2, 3]], other[:, [0, 2, 3]])
    assert outputs[1][3, 1].isnan().all()


@pytest.mark.parametrize("sizes", [(0, BATCH), (STEPS, 0), (0, 0), (1, 1)])
@pytest.mark.parametrize("case", CASES)
def test_no_steps_and_no_samples(case: str, sizes: tuple[int, int]) -> None:
    layer = made(case)
    hx, anew = (state_for(layer, sizes[1]) for _ in range(2))
    leaf = drawn(*sizes, WIDTH).requires_grad_()
    mask = [[True] * sizes[1] for _ in range(sizes[0])] if sizes[0] else np.ones(sizes, bool)
    output, last = layer(leaf, hx, reset_mask=mask, reset_state=anew)
    assert output.shape[:2] == sizes
    output.sum().backward()
    assert leaf.grad.shape == leaf.shape
    if not sizes[0]:
        assert all(map(torch.equal, parts(last), parts(hx)))


def test_no_steps_without_a_batch_axis() -> None:
    output, last = made("GRU")(drawn(0, WIDTH), reset_mask=[])
    assert output.shape == (0, 2 * HIDDEN)
    assert not last.any()


def test_each_layer_and_direction_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    layer, calls = made("GRU"), []
    apply = nn.rnn.GRUFunction.apply

    def counted(*inputs: Any, **config: Any) -> Any:
        calls.append(config)
        return apply(*inputs, **config)

    monkeypatch.setattr(nn.rnn.GRUFunction, "apply", counted)
    layer(drawn(STEPS, BATCH, WIDTH), reset_mask=torch.ones(STEPS, BATCH, dtype=torch.bool))
    # Episodes of one step each: all of them are computed at once.
    assert [config["batch_sizes"].tolist() for config in calls] == [[STEPS * BATCH]] * 4


@pytest.mark.parametrize("case", ["RNN relu", "LSTM projected", "GRU"])
def test_second_derivatives_to_all_that_comes_in(case: str) -> None:
    layer = made(case)
    mask = np.random.default_rng(5).random((STEPS, BATCH)) < 0.3
    came = [drawn(STEPS, BATCH, WIDTH), *parts(state_for(layer)), *parts(state_for(layer))]
    leaves, middle = [x.as_subclass(Tensor).requires_grad_() for x in came], len(came) // 2 + 1

    def call(x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        hx, anew = joined([*states[: middle - 1]]), joined([*states[middle - 1 :]])
        output, last = layer(x, hx, lengths=LENGTHS, reset_mask=mask, reset_state=anew)
        return output, *parts(last)

    assert torch.autograd.gradcheck(call, leaves, fast_mode=True)
    assert torch.autograd.gradgradcheck(call, leaves, fast_mode=True)


def test_masks_of_tensors_and_of_other_things() -> None:
    layer, x = made("GRU"), drawn(STEPS, BATCH, WIDTH)
    mask = torch.rand(STEPS, BATCH) < 0.5
    wanted = layer(x, reset_mask=mask)[0]
    for same in ([*mask], [[*row] for row in mask], tuple(map(tuple, mask.tolist())), mask.numpy()):
        assert torch.equal(layer(x, reset_mask=same)[0], wanted)
    odd: list[Any] = [[[1] * BATCH] * STEPS, [[None] * BATCH] * STEPS, {}, drawn(STEPS, BATCH)]
    odd += [[drawn(BATCH).requires_grad_()] * STEPS, torch.zeros(STEPS, BATCH).bfloat16()]
    for other in odd:
        with pytest.raises(TypeError, match=r"^GRU: reset_mask must be booleans, got .+$"):
            layer(x, reset_mask=other)
    wrong = r"^GRU: reset_mask must have shape \(T, N\) = \(7, 4\), got .+$"
    for other in ([[True], [True, False]], True, []):
        with pytest.raises(ValueError, match=wrong):
            layer(x, reset_mask=other)
    with pytest.raises(ValueError, match=r"shape \(N, T\) = \(7, 4\), got \(4, 7\)"):
        made("GRU", batch_first=True)(x, reset_mask=mask.T)
    with pytest.raises(ValueError, match=r"shape \(T,\) = \(7,\), got \(7, 4\)"):
        layer(x[:, 0], reset_mask=mask)


def test_states_of_resets_that_do_not_fit() -> None:
    layer, x = made("LSTM"), drawn(STEPS, BATCH, WIDTH)
    mask, (h, c) = torch.ones(STEPS, BATCH, dtype=torch.bool), state_for(made("LSTM"))
    with pytest.raises(ValueError, match="LSTM: reset_state must be a pair of Tensors"):
        layer(x, reset_mask=mask, reset_state=h)
    with pytest.raises(ValueError, match=r"LSTM: c0 of reset_state must have shape \(2, N, H\)"):
        layer(x, reset_mask=mask, reset_state=(h, c[:, 1:]))
    with pytest.raises(TypeError, match="LSTM: h0 of reset_state must have the dtype"):
        layer(x, reset_mask=mask, reset_state=(h.float(), c))


def test_packed_sequences_have_no_resets() -> None:
    layer = made("GRU")
    came = pack_padded_sequence(drawn(STEPS, BATCH, WIDTH), torch.tensor([7, 7, 3, 1]))
    mask = torch.ones(STEPS, BATCH, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"GRU: reset_mask must be left out .* PackedSequence"):
        layer(came, reset_mask=mask)
    with pytest.raises(ValueError, match=r"GRU: reset_state must be left out .* PackedSequence"):
        layer(came, reset_state=state_for(layer))


# The compiler of torch warns of what it sees before it leaves a Function to the interpreter.
@pytest.mark.filterwarnings("ignore")
def test_resets_in_a_compiled_layer() -> None:
    layer, x = nn.LSTM(WIDTH, HIDDEN), nn.randn((STEPS, BATCH, WIDTH))
    compiled = torch.compile(layer, backend="eager")
    for share in (0.2, 0.6):
        mask = torch.rand(STEPS, BATCH) < share
        assert torch.equal(compiled(x, reset_mask=mask)[0], layer(x, reset_mask=mask)[0])
