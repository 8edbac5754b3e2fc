"""Hands Tensor's operators and methods, and recorded rules, the functions of `ops`."""

from __future__ import annotations

from types import ModuleType

from impl_cupy.ops.indexing import getitem
from impl_cupy.tensor import methods

_NAMES = (
    "abs add divide equal greater greater_equal less less_equal logical_and logical_not logical_or "
    "matmul matrix_transpose max mean min multiply negative not_equal pow reshape subtract sum"
)


def attach(namespace: ModuleType) -> None:
    """Let Tensor's operators and methods call the functions of `namespace`."""
    methods.namespace = namespace
    methods.getitem = getitem
    for name in _NAMES.split():
        setattr(methods, name, getattr(namespace, name))
