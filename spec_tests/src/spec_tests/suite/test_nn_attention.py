"""The chapter ``nn``: attention, beside the calls of the table."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import Draws
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(6)

NAN = float("nan")


def attention(nn: Any, dtype: str, **options: Any) -> Any:
    """Return a layer of 4 numbers in 2 heads, of seed 5."""
    nn.manual_seed(5)
    return nn.MultiheadAttention(4, 2, batch_first=True, dtype=getattr(nn, dtype), **options)


def sequences(nn: Any, dtype: str) -> tuple[Any, Any, Any]:
    """Return query (2, 3, 4), key and value (2, 5, 4), which require grad."""
    shapes = ((2, 3, 4), (2, 5, 4), (2, 5, 4))
    found = [tensor(nn, normal(shape, dtype, seed=i)) for i, shape in enumerate(shapes)]
    return found[0], found[1], found[2]


@clause("nn-32", "nn-08")
def test_dropout_acts_on_the_weights(nn: Any, dtype: str) -> None:
    layer, (query, key, value) = attention(nn, dtype, dropout=0.25), sequences(nn, dtype)
    _, plain = layer.eval()(query, key, value, average_attn_weights=False)
    kept = Draws(6).units(2 * 2 * 3 * 5).reshape(2, 2, 3, 5) >= 0.25
    wanted = np.where(kept, in_double(to_numpy(nn, plain)) / 0.75, 0)
    nn.manual_seed(6)
    output, weights = layer.train()(query, key, value, average_attn_weights=False)
    agrees(nn, weights, wanted, "reduction", call="weights in training")
    state = {name: in_double(to_numpy(nn, t)) for name, t in layer.state_dict().items()}
    v = in_double(to_numpy(nn, value)) @ state["in_proj_weight"][8:].T
    heads = np.moveaxis(v.reshape(2, 5, 2, 2), 2, 1)
    joined = np.moveaxis(wanted @ heads, 1, 2).reshape(2, 3, 4)
    want = joined @ state["out_proj.weight"].T
    agrees(nn, output, want, "gradient", call="output in training")
    nn.manual_seed(6)
    again, mean = layer(query, key, value)
    exactly(nn, again, to_numpy(nn, output), call="with the mean of the weights")
    agrees(nn, mean, wanted.mean(axis=1), "reduction", call="mean of the weights")


@clause("nn-33")
@pytest.mark.parametrize("padded", [NAN, 1e30])
def test_padding_may_hold_anything(nn: Any, dtype: str, padded: float) -> None:
    layer = attention(nn, dtype)
    shut = np.arange(5) >= np.array([[5], [3]])
    results = []
    for spoilt in (False, True):
        query, key, value = sequences(nn, dtype)
        if spoilt:
            arrays = [to_numpy(nn, part).copy() for part in (key, value)]
            for array in arrays:
                array[shut] = padded
            key, value = (tensor(nn, array) for array in arrays)
        layer.zero_grad()
        output, weights = layer(query, key, value, key_padding_mask=nn.tensor(shut))
        nn.ops.sum(output * output).backward()
        slopes = [query.grad, key.grad, value.grad, *(p.grad for p in layer.parameters())]
        results.append([to_numpy(nn, part).copy() for part in (output, weights, *slopes)])
    for place, (clean, got) in enumerate(zip(*results, strict=True)):
        exactly(nn, got, clean, call=f"result {place} with {padded} in the padding")
    exactly(nn, results[0][1][1, :, 3:], np.zeros((3, 2), dtype), call="weights of padding")
    exactly(nn, results[0][3][shut], np.zeros((2, 4), dtype), call="gradient to padding")


@clause("nn-33")
@pytest.mark.parametrize("need_weights", [True, False])
def test_a_query_that_may_look_nowhere(nn: Any, dtype: str, need_weights: bool) -> None:
    layer, (query, key, value) = attention(nn, dtype), sequences(nn, dtype)
    shut = np.zeros((3, 5), bool)
    shut[1] = True
    output, weights = layer(query, key, value, attn_mask=nn.tensor(shut), need_weights=need_weights)
    nn.ops.sum(output * output).backward()
    bias = np.broadcast_to(to_numpy(nn, layer.out_proj.bias), (2, 4))
    exactly(nn, to_numpy(nn, output)[:, 1], bias, call="its result")
    exactly(nn, to_numpy(nn, query.grad)[:, 1], np.zeros((2, 4), dtype), call="its gradient")
    for part in (query, key, value, *layer.parameters()):
        assert np.isfinite(to_numpy(nn, part.grad)).all()
    if need_weights:
        exactly(nn, to_numpy(nn, weights)[:, 1], np.zeros((2, 5), dtype), call="its weights")
    else:
        assert weights is None


@clause("nn-33")
def test_masks_of_numbers_and_of_booleans_agree(nn: Any, dtype: str) -> None:
    layer, (query, key, value) = attention(nn, dtype), sequences(nn, dtype)
    shut = np.triu(np.ones((3, 5), bool), 1)
    added = np.where(shut, -np.inf, 0).astype(dtype)
    want, _ = layer(query, key, value, attn_mask=nn.tensor(shut))
    got, _ = layer(query, key, value, attn_mask=nn.tensor(added))
    agrees(nn, got, in_double(to_numpy(nn, want)), "reduction", call="a mask of -inf")
    each = nn.tensor(np.broadcast_to(shut, (4, 3, 5)).copy())
    got, _ = layer(query, key, value, attn_mask=each)
    exactly(nn, got, to_numpy(nn, want), call="a mask for every head")


@clause("nn-34", "nn-33")
def test_what_does_not_fit(nn: Any) -> None:
    with refuses(ValueError, "MultiheadAttention", "embed_dim", "5", "num_heads", "2"):
        nn.MultiheadAttention(5, 2)
    with refuses(ValueError, "MultiheadAttention", "dropout", "1.5"):
        nn.MultiheadAttention(4, 2, dropout=1.5)
    with refuses(ValueError, "MultiheadAttention", "num_heads", "0"):
        nn.MultiheadAttention(4, 0)
    layer, (query, key, value) = attention(nn, "float32"), sequences(nn, "float32")
    cases: list[tuple[tuple[Any, ...], dict[str, Any], type[Exception], tuple[str, ...]]] = [
        ((nn.zeros((2, 3, 5)), key, value), {}, ValueError, ("query", "(2, 3, 5)", "4")),
        ((query, nn.zeros((2, 5, 3)), value), {}, ValueError, ("key", "(2, 5, 3)", "4")),
        ((query, key, nn.zeros((2, 4, 4))), {}, ValueError, ("value", "(2, 4, 4)")),
        ((query, nn.zeros((3, 5, 4)), nn.zeros((3, 5, 4))), {}, ValueError, ("key", "(3, 5, 4)")),
        ((query, nn.zeros((5, 4)), nn.zeros((5, 4))), {}, ValueError, ("key", "(5, 4)")),
        ((query, key, nn.zeros((2, 5, 4), dtype=nn.float64)), {}, TypeError, ("value", "float64")),
    ]
    masks: list[tuple[str, Any, type[Exception], tuple[str, ...]]] = [
        ("attn_mask", nn.zeros((3, 4), dtype=nn.bool), ValueError, ("(3, 4)", "(3, 5)")),
        ("attn_mask", nn.zeros((2, 3, 5), dtype=nn.bool), ValueError, ("(2, 3, 5)", "(4, 3, 5)")),
        ("attn_mask", nn.zeros((3, 5), dtype=nn.int64), TypeError, ("int64",)),
        ("key_padding_mask", nn.zeros((5,), dtype=nn.bool), ValueError, ("(5,)", "(2, 5)")),
        ("key_padding_mask", nn.zeros((2, 5), dtype=nn.int32), TypeError, ("int32",)),
    ]
    for name, mask, error, parts in masks:
        cases.append(((query, key, value), {name: mask}, error, (name, *parts)))
    cases.append(((query, key, value), {"is_causal": True}, ValueError, ("is_causal", "attn_mask")))
    for arguments, options, error, parts in cases:
        with refuses(error, "MultiheadAttention", *parts):
            layer(*arguments, **options)


@clause("nn-32")
def test_scores_and_places_put_behind(nn: Any, dtype: str) -> None:
    """All keys are shut: the learnt place and the zeros behind it are left."""
    layer = attention(nn, dtype, add_bias_kv=True, add_zero_attn=True)
    query, key, value = sequences(nn, dtype)
    state = {name: in_double(to_numpy(nn, t)) for name, t in layer.state_dict().items()}
    heads = in_double(to_numpy(nn, query)) @ state["in_proj_weight"][:4].T
    heads = heads.reshape(2, 3, 2, 2).swapaxes(1, 2)
    learnt = state["bias_k"].reshape(1, 2, 1, 2)
    score = np.exp((heads * learnt).sum(axis=3) / np.sqrt(2))
    want = np.zeros((2, 2, 3, 7))
    want[..., 5], want[..., 6] = score / (score + 1), 1 / (score + 1)
    shut = nn.tensor(np.ones((3, 5), bool))
    _, weights = layer(query, key, value, attn_mask=shut, average_attn_weights=False)
    agrees(nn, weights, want, "gradient", call="weights of what is put behind")
