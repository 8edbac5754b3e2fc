"""Arrays of torch and NumPy that `convert` must read, or refuse in its own words."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import impl_torch_ext as nn

convert = nn.rnn.convert


def parameters() -> dict[str, Any]:
    nn.manual_seed(0)
    return {name: p.detach() for name, p in nn.GRU(2, 3).named_parameters()}


@pytest.mark.parametrize(
    "kind",
    [
        nn.Parameter,
        lambda x: torch._neg_view(-x),
        lambda x: x.t().contiguous().t(),
        lambda x: x.numpy().astype(">f4"),
        lambda x: np.asfortranarray(x.numpy()),
    ],
    ids=["Parameter", "negative view", "transposed", "bytes turned", "Fortran"],
)
def test_arrays_in_any_layout(kind: Callable[[Tensor], Any]) -> None:
    own = parameters()
    got = convert({name: kind(x) if x.ndim == 2 else x for name, x in own.items()})
    for name, x in own.items():
        assert got[name].dtype == np.dtype("=f4")
        assert got[name].dtype.isnative
        assert got[name].flags.c_contiguous
        assert got[name].tobytes() == x.numpy().tobytes()


@pytest.mark.parametrize(
    "kind",
    [lambda x: x.to_sparse(), lambda x: x.to("meta"), lambda x: x.bfloat16()],
    ids=["sparse", "meta", "bfloat16"],
)
def test_tensors_that_numpy_cannot_read(kind: Callable[[Tensor], Tensor]) -> None:
    own = parameters()
    with pytest.raises(TypeError, match=r"\Aconvert: 'weight_hh_l0' must .*\Z"):
        convert({**own, "weight_hh_l0": kind(own["weight_hh_l0"])})


@pytest.mark.parametrize("form", ["keras", "flax", "onednn"])
def test_a_bias_of_negative_zero_comes_back(form: str) -> None:
    first = convert({name: x * 0 for name, x in parameters().items()}, target=form)
    turned = {name: -x for name, x in first.items()}
    again = convert(convert(turned, form), target=form)
    assert all(again[name].tobytes() == x.tobytes() for name, x in turned.items())


def test_layers_of_onednn_that_do_not_fit_one_another() -> None:
    one = convert(parameters(), target="onednn")
    two = {name: np.concatenate((x, x)) for name, x in one.items()}
    with pytest.raises(ValueError, match=r"\Aconvert: weights_layer of the form 'onednn' must "):
        convert(two, "onednn")


def test_very_many_layers_are_counted_at_once() -> None:
    flat = convert(parameters(), target="cudnn")
    sizes = {"cell": "GRU", "input_size": 2, "hidden_size": 3, "num_layers": 10**12}
    with pytest.raises(ValueError, match="weights of the form 'cudnn'"):
        convert(flat, "cudnn", **sizes)
