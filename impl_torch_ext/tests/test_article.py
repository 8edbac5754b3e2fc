"""The article's programs in PyTorch's own words, as `examples/article` has them."""

import importlib.util
import itertools
from pathlib import Path
from types import ModuleType

import pytest
import torch

PROGRAM = Path(__file__).parents[2] / "examples" / "article" / "torch_as_written.py"


@pytest.fixture(scope="module")
def article() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_as_written", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_loss_falls_at_every_step(article: ModuleType) -> None:
    losses = article.train(steps=10)
    assert all(after < before for before, after in itertools.pairwise(losses))


def test_relu_has_the_gradient_of_differences(article: ModuleType) -> None:
    x = torch.tensor([[-1.5, -0.2], [0.3, 2.0]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: article.ReLUF()(x), (x,))
    assert torch.autograd.gradgradcheck(lambda x: article.ReLUF()(x), (x,))


@pytest.mark.parametrize("with_bias", [True, False])
def test_linear_has_the_gradients_of_differences(article: ModuleType, with_bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    shapes = [(4, 3), (2, 3)] + [(2,)] * with_bias
    inputs = [
        torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
        for shape in shapes
    ]
    assert torch.autograd.gradcheck(lambda *xs: article.LinearF()(*xs), inputs)
    assert torch.autograd.gradgradcheck(lambda *xs: article.LinearF()(*xs), inputs)


def test_linear_without_a_bias_takes_none(article: ModuleType) -> None:
    layer = article.Linear(3, 2, bias=False)
    layer(torch.ones(4, 3)).sum().backward()
    assert layer.bias is None
    assert torch.equal(layer.weight.grad, torch.full((2, 3), 4.0))
