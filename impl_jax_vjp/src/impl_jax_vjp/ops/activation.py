"""Activations, and softmax with its logarithm, which do not overflow."""

from . import formulas as F
from .families import along, along_reduced, unary

unary(
    "relu", F.relu, "Return ``max(x, 0)``; the gradient at 0 is 0.",
    source="page of torch.nn.functional.relu",
)  # fmt: skip
unary(
    "sigmoid", F.sigmoid, "Return ``1 / (1 + exp(-x))``.", real=True,
    source="page of torch.sigmoid",
)  # fmt: skip
along(
    "softmax", F.softmax, "Return ``exp(x) / sum(exp(x))`` along an axis, without overflow.",
    source="page of torch.nn.functional.softmax",
)  # fmt: skip
along(
    "log_softmax", F.log_softmax, "Return the logarithm of `softmax`, without overflow.",
    source="page of torch.nn.functional.log_softmax",
)  # fmt: skip
along_reduced(
    "logsumexp", F.logsumexp, "Return ``log(sum(exp(x)))`` along axes, without overflow.",
    source="page of torch.logsumexp",
)  # fmt: skip
