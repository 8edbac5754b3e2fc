"""Layers on torch's operators: where those would add up one by one, warn or give NaN."""

import math
import warnings

import pytest
import torch

import impl_torch_ext as nn

# Many samples of few places, few of many, and rows.
LAYERS = {
    "Conv1d": (lambda dtype: nn.Conv1d(2, 4, 1, dtype=dtype), (1 << 15, 2, 4)),
    "Conv2d": (lambda dtype: nn.Conv2d(2, 4, 1, dtype=dtype), (2, 2, 256, 256)),
    "one sample": (lambda dtype: nn.Conv1d(2, 4, 1, dtype=dtype), (2, 1 << 17)),
    "ConvTranspose1d": (lambda dtype: nn.ConvTranspose1d(2, 4, 1, dtype=dtype), (1 << 15, 2, 4)),
    "GroupNorm": (lambda dtype: nn.GroupNorm(2, 4, dtype=dtype), (1 << 15, 4, 4)),
    "BatchNorm1d": (lambda dtype: nn.BatchNorm1d(4, dtype=dtype), (1 << 17, 4)),
    "BatchNorm2d": (lambda dtype: nn.BatchNorm2d(4, dtype=dtype), (2, 4, 512, 256)),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", LAYERS)
def test_long_gradients_of_biases_sum_by_pairs(name: str, dtype: torch.dtype) -> None:
    make, shape = LAYERS[name]
    layer = make(dtype)
    y = layer(nn.randn(shape, dtype=dtype))
    arrives = nn.rand(tuple(y.shape), dtype=dtype) + 0.5
    y.backward(arrives)
    terms = arrives.double().movedim(0 if name == "one sample" else 1, 0).reshape(4, -1)
    want = torch.tensor([math.fsum(row) for row in terms.tolist()], dtype=torch.float64)
    bound = (2 + math.log2(terms.shape[1])) * torch.finfo(dtype).eps
    assert ((layer.bias.grad.double() - want).abs() <= bound * want).all()


def test_the_gradient_of_a_slope_sums_by_pairs() -> None:
    layer, x = nn.PReLU(4), -nn.rand((1 << 16, 4, 4)) - 0.5
    layer(x).sum().backward()
    terms = x.double().movedim(1, 0).reshape(4, -1)
    want = torch.tensor([math.fsum(row) for row in terms.tolist()], dtype=torch.float64)
    assert ((layer.weight.grad.double() - want).abs() <= 18 * 2**-23 * want.abs()).all()


def test_padding_to_the_same_size_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nn.Conv1d(2, 3, 4, padding="same")(nn.zeros((1, 2, 7))).shape == (1, 3, 7)


def test_second_derivatives_of_masked_attention() -> None:
    nn.manual_seed(4)
    layer = nn.MultiheadAttention(4, 2, batch_first=True, dtype=nn.float64)
    x = nn.randn((2, 3, 4), dtype=nn.float64).as_subclass(torch.Tensor).requires_grad_()
    shut = torch.tensor([[False, True, True], [True, True, True], [False, False, True]])
    mask = (
        nn.randn((3, 3), dtype=nn.float64)
        .as_subclass(torch.Tensor)
        .masked_fill(shut, -math.inf)
        .requires_grad_()
    )
    padding = torch.tensor([[False, False, False], [False, True, True]])

    def call(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return layer(x, x, x, key_padding_mask=padding, attn_mask=mask)[0]

    (slope,) = torch.autograd.grad(call(x, mask).square().sum(), mask)
    assert not slope[shut].any()
    finite = mask.detach().masked_fill(shut, 0.0).requires_grad_()
    assert torch.autograd.gradgradcheck(
        lambda x, mask: call(x, mask.masked_fill(shut, -math.inf)), (x, finite)
    )


def test_a_pool_takes_no_channels() -> None:
    for layer in (nn.MaxPool1d(2), nn.AvgPool1d(2)):
        assert layer(nn.zeros((3, 0, 4))).shape == (3, 0, 2)
    y, places = nn.MaxPool2d(2, return_indices=True)(nn.zeros((0, 4, 4)))
    assert y.shape == places.shape == (0, 2, 2)


CONVERTED = {
    "Conv1d": (lambda: nn.Conv1d(2, 4, 3), (1, 2, 8)),
    "Conv2d": (lambda: nn.Conv2d(2, 4, 3), (1, 2, 8, 8)),
    "ConvTranspose1d": (lambda: nn.ConvTranspose1d(2, 4, 3), (1, 2, 8)),
    "ConvTranspose2d": (lambda: nn.ConvTranspose2d(2, 4, 3), (1, 2, 8, 8)),
    "MaxPool1d": (lambda: nn.MaxPool1d(2), (1, 2, 8)),
    "MaxPool2d": (lambda: nn.MaxPool2d(2), (1, 2, 8, 8)),
    "AvgPool1d": (lambda: nn.AvgPool1d(2), (1, 2, 8)),
    "AvgPool2d": (lambda: nn.AvgPool2d(2), (1, 2, 8, 8)),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_layers_convert_their_parameters(name: str) -> None:
    """What torch.nn.Module does to all tensors goes through a method that no layer may hide."""
    make, shape = CONVERTED[name]
    layer = make()
    assert layer.to(torch.float64) is layer
    assert all(p.dtype == torch.float64 for p in layer.parameters())
    assert layer.double()(nn.randn(shape, dtype=torch.float64)).dtype == torch.float64
    assert type(layer)._apply is torch.nn.Module._apply
