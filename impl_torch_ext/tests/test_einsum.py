"""What einsum multiplies first, and that it can be compiled."""

import torch

import impl_torch_ext as nn


def test_einsum_multiplies_the_small_operands_first(monkeypatch):
    """A matrix times a vector twice, and no product of two matrices."""
    sizes = []
    product = torch.matmul

    def watched(a, b):
        sizes.append(a.numel() * b.shape[-1] if b.ndim > 1 else a.numel())
        return product(a, b)

    monkeypatch.setattr(torch, "matmul", watched)
    a, b, c = nn.ones((40, 40)), nn.ones((40, 40)), nn.ones(40)
    assert nn.ops.einsum("ij,jk,k->i", a, b, c).tolist() == [1600.0] * 40
    assert sizes == [1600, 1600]


def test_einsum_is_compiled_in_one_graph():
    def function(a, b):
        return nn.ops.einsum("ij,jk,k->i", a, a, b)

    a, b = torch.ones(3, 3), torch.ones(3)
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    assert compiled(a, b).tolist() == [9.0] * 3
