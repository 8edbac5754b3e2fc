"""The operators and methods of a Tensor that are functions of `ops`."""

from impl_hips import ops
from impl_hips.tensor import Tensor

_TWO = {
    "add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "pow",
    "matmul": "matmul", "and": "bitwise_and", "or": "bitwise_or", "xor": "bitwise_xor",
    "lshift": "bitwise_left_shift", "rshift": "bitwise_right_shift",
}  # fmt: skip
_COMPARE = {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal"}
_COMPARE |= {"eq": "equal", "ne": "not_equal"}
_METHODS = "sum mean".split()


def _two(name):
    function = getattr(ops, name)
    return lambda self, other: function(self, other), lambda self, other: function(other, self)


for _symbol, _name in _TWO.items():
    _left, _right = _two(_name)
    setattr(Tensor, f"__{_symbol}__", _left)
    setattr(Tensor, f"__r{_symbol}__", _right)
for _symbol, _name in _COMPARE.items():
    setattr(Tensor, f"__{_symbol}__", _two(_name)[0])
Tensor.__neg__ = lambda self: ops.negative(self)
Tensor.__pos__ = lambda self: ops.positive(self)
Tensor.__abs__ = lambda self: ops.abs(self)
Tensor.__invert__ = lambda self: ops.bitwise_invert(self)
Tensor.sum = lambda self, axis=None, keepdims=False, dtype=None: ops.sum(
    self, axis=axis, keepdims=keepdims, dtype=dtype
)
Tensor.mean = lambda self, axis=None, keepdims=False: ops.mean(self, axis=axis, keepdims=keepdims)
Tensor.amax = lambda self, axis=None, keepdims=False: ops.max(self, axis=axis, keepdims=keepdims)
Tensor.amin = lambda self, axis=None, keepdims=False: ops.min(self, axis=axis, keepdims=keepdims)
Tensor.max = lambda self: ops.max(self)
Tensor.min = lambda self: ops.min(self)
Tensor.reshape = lambda self, *shape: ops.reshape(
    self, shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
)
Tensor.__array_namespace__ = lambda self, *, api_version=None: ops


def _transpose(self):
    if self.ndim != 2:
        msg = f"T: wants two axes, got shape {self.shape}; use mT or ops.permute_dims"
        raise ValueError(msg)
    return ops.matrix_transpose(self)


def _matrix_transpose(self):
    if self.ndim < 2:
        msg = f"mT: wants two axes at least, got shape {self.shape}; use ops.permute_dims"
        raise ValueError(msg)
    return ops.matrix_transpose(self)


Tensor.T = property(_transpose)
Tensor.mT = property(_matrix_transpose)
