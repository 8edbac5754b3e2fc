"""Functions from deep learning."""

import torch
from torch import Tensor

from impl_torch_ext.dtypes import bool_
from impl_torch_ext.native import native
from impl_torch_ext.ops.families import along, unary


def _relu(x: Tensor) -> Tensor:
    if x.is_floating_point():
        return native.relu.default(x)
    return x.clone() if x.dtype == bool_ else torch.relu(x)


# A sum of so many terms needs no sum by pairs, which the kernels of torch do not make.
_SHORT = 512


def _softmax(x: Tensor, axis: int) -> Tensor:
    if x.shape[axis] <= _SHORT:
        return torch.softmax(x, axis)
    exponentials = torch.exp(_below_zero(x, axis))  # ops-25
    return exponentials / exponentials.sum(axis, keepdim=True)


def _log_softmax(x: Tensor, axis: int) -> Tensor:
    if x.shape[axis] <= _SHORT:
        return torch.log_softmax(x, axis)
    shifted = _below_zero(x, axis)  # ops-25
    return shifted - torch.exp(shifted).sum(axis, keepdim=True).log()


def _below_zero(x: Tensor, axis: int) -> Tensor:
    with torch.no_grad():
        greatest = torch.amax(x, axis, keepdim=True)
    return x - greatest


# ops-07
relu = unary("relu", _relu, "max(x, 0), of gradient 0 at 0", "torch.nn.functional.relu")
# ops-06
sigmoid = unary("sigmoid", torch.sigmoid, "1 / (1 + exp(-x))", "torch.sigmoid", real=True)
# ops-05
softmax = along(
    "softmax",
    _softmax,
    "exp(x) / sum(exp(x)) along `axis`",
    "torch.nn.functional.softmax",
    short=_SHORT,
)
log_softmax = along(
    "log_softmax",
    _log_softmax,
    "x - log(sum(exp(x))) along `axis`",
    "torch.nn.functional.log_softmax",
    short=_SHORT,
)
