"""The order in which einsum multiplies."""

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
