"""Functions from deep learning."""

import torch
from torch import Tensor

from impl_torch_ext.native import native
from impl_torch_ext.ops.families import along, unary


def _relu(x: Tensor) -> Tensor:
    return native.relu.default(x) if x.is_floating_point() else torch.relu(x)


# ops-07
relu = unary("relu", _relu, "max(x, 0), of gradient 0 at 0", "torch.nn.functional.relu")
# ops-06
sigmoid = unary("sigmoid", torch.sigmoid, "1 / (1 + exp(-x))", "torch.sigmoid", real=True)
# ops-05
softmax = along(
    "softmax", torch.softmax, "exp(x) / sum(exp(x)) along `axis`", "torch.nn.functional.softmax"
)
log_softmax = along(
    "log_softmax",
    torch.log_softmax,
    "x - log(sum(exp(x))) along `axis`",
    "torch.nn.functional.log_softmax",
)
