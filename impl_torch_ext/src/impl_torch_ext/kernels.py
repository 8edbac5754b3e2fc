"""The compiled operators ``torch.ops.impl_torch_ext.*``: loading them, and their shapes for
tracing.

T steps, N batch, I input size, H hidden size, G gates. Gradients of the recurrent operators are the
business of the Functions in `rnn`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

__all__ = ["kernels", "load_kernels"]


def load_kernels(folder: Path) -> Any:
    """Load the compiled library from ``folder`` and return its operators.

    Raises
    ------
    ImportError
        If it is not there, or was built for another torch.
    """
    build = "pip install --no-build-isolation ./impl_torch_ext"
    found = sorted(folder.glob("_C*.so"))
    if not found:
        msg = f"impl_torch_ext: no compiled library in {folder}; build it with {build}"
        raise ImportError(msg)
    try:
        torch.ops.load_library(found[0])
    except OSError as error:
        reason = " ".join(str(error).split())
        msg = f"impl_torch_ext: cannot load {found[0]}, build it again with {build}: {reason}"
        raise ImportError(msg) from error
    return torch.ops.impl_torch_ext


kernels = load_kernels(Path(__file__).parent)


@torch.library.register_fake("impl_torch_ext::relu")
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=torch.contiguous_format)


@torch.library.register_fake("impl_torch_ext::relu_backward")
def _(grad_output: Tensor, output: Tensor) -> Tensor:
    return torch.empty_like(output, memory_format=torch.contiguous_format)


@torch.library.register_fake("impl_torch_ext::rnn_step")
def _(
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    relu: bool,
) -> Tensor:
    return x.new_empty(h.shape)


@torch.library.register_fake("impl_torch_ext::rnn_step_backward")
def _(
    grad_output: Tensor,
    x: Tensor,
    h: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    output: Tensor,
    relu: bool,
    wanted: Sequence[bool],
) -> tuple[Tensor, ...]:
    bias = weight_ih.shape[:1]
    return _wanted(x, wanted, (x.shape, h.shape, weight_ih.shape, weight_hh.shape, bias))


@torch.library.register_fake("impl_torch_ext::rnn_forward")
def _(
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    relu: bool,
) -> tuple[Tensor, Tensor]:
    return x.new_empty((x.shape[0], *h0.shape)), x.new_empty(h0.shape)


@torch.library.register_fake("impl_torch_ext::rnn_backward")
def _(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    output: Tensor,
    relu: bool,
    wanted: Sequence[bool],
) -> tuple[Tensor, ...]:
    bias = weight_ih.shape[:1]
    return _wanted(x, wanted, (x.shape, h0.shape, weight_ih.shape, weight_hh.shape, bias))


@torch.library.register_fake("impl_torch_ext::lstm_forward")
def _(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    keep: bool,
) -> tuple[Tensor, ...]:
    steps, (batch, hidden) = x.shape[0], h0.shape
    return (
        x.new_empty((steps, batch, hidden)),
        x.new_empty(h0.shape),
        x.new_empty(c0.shape),
        x.new_empty((steps, batch, 4 * hidden) if keep else (0,)),
        x.new_empty((steps, batch, hidden) if keep else (0,)),
    )


@torch.library.register_fake("impl_torch_ext::lstm_backward")
def _(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    grad_c_n: Tensor | None,
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    output: Tensor,
    gates: Tensor,
    cells: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, ...]:
    bias = weight_ih.shape[:1]
    return _wanted(x, wanted, (x.shape, h0.shape, c0.shape, weight_ih.shape, weight_hh.shape, bias))


@torch.library.register_fake("impl_torch_ext::gru_forward")
def _(
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor | None,
    bias_hh: Tensor | None,
    keep: bool,
) -> tuple[Tensor, ...]:
    steps, (batch, hidden) = x.shape[0], h0.shape
    return (
        x.new_empty((steps, batch, hidden)),
        x.new_empty(h0.shape),
        x.new_empty((steps, batch, 4 * hidden) if keep else (0,)),
    )


@torch.library.register_fake("impl_torch_ext::gru_backward")
def _(
    grad_output: Tensor | None,
    grad_h_n: Tensor | None,
    x: Tensor,
    h0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    output: Tensor,
    gates: Tensor,
    wanted: Sequence[bool],
) -> tuple[Tensor, ...]:
    bias = weight_ih.shape[:1]
    return _wanted(x, wanted, (x.shape, h0.shape, weight_ih.shape, weight_hh.shape, bias, bias))


def _wanted(
    like: Tensor, wanted: Sequence[bool], shapes: Sequence[Sequence[int]]
) -> tuple[Tensor, ...]:
    """Return a gradient where one is wanted, else an empty Tensor, as a backward operator does."""
    return tuple(
        like.new_empty(shape if ask else (0,)) for ask, shape in zip(wanted, shapes, strict=True)
    )
