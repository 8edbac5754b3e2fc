"""Tensors. A Tensor is a `torch.Tensor`, and so is its raw array.

Operators and methods are torch's own; the README lists where they differ from the functions of
`ops`. What the constructors and `Parameter` make is a `Leaf`, whose operators give plain
`torch.Tensor`s.
"""

import copy
import math
import sys
from types import EllipsisType
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.compiler import is_dynamo_compiling as is_compiling

from impl_torch_ext.checks import check_flag, refuse_dtype, shown
from impl_torch_ext.dtypes import FROM_NUMPY, int64, is_integer
from impl_torch_ext.native import calls, native
from impl_torch_ext.tracing import anywhere

__all__ = [
    "Leaf",
    "Tensor",
    "added_along",
    "as_index",
    "chosen_along",
    "from_numpy",
    "index_array",
    "leaf",
    "raw",
    "refuse_gradient",
    "with_grad",
]

# What torch takes as an index as the specification does.
_PLAIN = frozenset({int, slice, type(None), EllipsisType})
_TORCH = frozenset({torch.uint8, torch.int8, torch.int16, torch.uint16, torch.uint32, torch.uint64})

_INT64 = np.dtype(np.int64)

# The error of so many additions one after the other is none larger than by pairs.
_FEW = 16

_detach = torch.Tensor.detach
_get = torch.Tensor.__getitem__
_set = torch.Tensor.__setitem__
_set_data = torch.Tensor.data.__set__


class Leaf(torch.Tensor):
    """A Tensor that is no result: torch counts every change of it, and its index is NumPy's.

    `data` shares the counter of changes that torch compares in a backward pass, and what is
    assigned to it counts as a change; in torch neither does.
    """

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def data(self) -> Tensor:
        """The raw array; what is assigned takes its place."""
        return super().detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        _set_data(self, value)
        native.share_version.default(self, value)  # autograd-24

    def detach(self) -> Tensor:
        """Return the same memory without history."""
        return leaf(super().detach())

    def __getitem__(self, index: Any) -> Tensor:
        """Return the elements at `index`, of which a copy is kept."""
        if (type(index) is int or type(index) is slice) and not is_compiling():
            result = calls.part(self, index)
            if result is not NotImplemented:
                return result
        if type(index) is int:
            return native.rows.default(self, index, None) if self.ndim else _get(self, index)
        if type(index) is tuple:
            for item in index:
                if type(item) not in _PLAIN:
                    break
            else:
                return _get(self, index)
        elif type(index) is slice and self.ndim and self.requires_grad:
            return _part(self, index)
        index = as_index("indexing", index)
        return _repeated(self, index) if self.requires_grad else _get(self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        _set(self, as_index("indexing", index), value)

    def __repr__(self, **options: Any) -> str:
        return repr(_plain(self))

    def __format__(self, spec: str) -> str:
        return format(_plain(self), spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__") == "torch.serialization":
            # A pickler does not say who asks. By default torch.load takes no class but torch's,
            # or those that a program adds for all its files (add_safe_globals), and a program
            # without this package has none of ours: parameters would be lost to it.
            return _plain(self).__reduce_ex__(protocol)
        return self._reduced()

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)

    def _reduced(self) -> Any:
        """Return what pickle makes a leaf of, without `grad`."""
        plain = _detach(self).as_subclass(torch.Tensor)  # tensor-42
        return _rebuilt, (type(self), plain, self.requires_grad), self.__dict__

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:  # tensor-42
            msg = (
                f"deepcopy: a Tensor must be a leaf, got the result of an operation of shape "
                f"{tuple(self.shape)}; detach() it first"
            )
            raise RuntimeError(msg)
        if id(self) in memo:
            return memo[id(self)]
        values = self.detach().clone(memory_format=torch.preserve_format)
        result = torch.Tensor._make_subclass(type(self), values, self.requires_grad)
        memo[id(self)] = result
        if self.grad is not None:
            result.grad = copy.deepcopy(self.grad.detach(), memo)
        result.__dict__ = copy.deepcopy(self.__dict__, memo)
        return result


Leaf.__name__ = "Tensor"  # What messages call it.
calls.ask_by_characters(Leaf)


def leaf(x: Tensor, requires_grad: bool = False) -> Tensor:
    """Return the memory of `x` as a leaf that shares its counter of changes."""
    return torch.Tensor._make_subclass(Leaf, x, requires_grad)


def _rebuilt(cls: type[Tensor], values: Tensor, requires_grad: bool) -> Tensor:
    return torch.Tensor._make_subclass(cls, values, requires_grad)


def _part(x: Tensor, index: slice) -> Tensor:
    """Return a slice along the first axis; short ones share a node, as single elements do."""
    size = x.shape[0]
    try:
        start, stop, step = index.indices(size)
    except (TypeError, ValueError):
        return _get(x, index)
    if step != 1 or not 0 < 4 * (stop - start) <= size:
        return _get(x, index)
    return native.rows.default(x, start, stop - start)  # autograd-32


def chosen_along(x: Tensor, index: Tensor, axis: int) -> Tensor:
    """Return the elements at integers along an axis; gradients of repeated ones add up by pairs.

    Raises
    ------
    IndexError
        If an index is out of range.
    """
    if x.requires_grad and index.numel() > _FEW:
        if x.is_complex():
            return torch.view_as_complex(chosen_along(torch.view_as_real(x), index, axis))
        return native.gather.default(x, index, axis)  # ops-25
    return _get(x, (slice(None),) * axis + (index,))


def added_along(x: Tensor, places: Tensor, size: int) -> Tensor:
    """Return the sums of the slices of `x` along axis 0 that go to each of `size` places.

    `places` has one axis and its elements are from 0 to below `size`.
    """
    zeros = x.new_zeros((size, *x.shape[1:]))
    if x.dtype is torch.float32 and x.ndim == 1:
        # In float64 the sums in turn are better than those by pairs, and quicker.
        return zeros.double().scatter_add(0, places, x.double()).float()
    if x.is_complex():
        return torch.view_as_complex(added_along(torch.view_as_real(x), places, size))
    if x.is_floating_point():
        return native.gather_backward.default(x, places, 0, size)  # ops-25
    return zeros.index_add(0, places, x)


def _repeated(x: Tensor, index: Any) -> Tensor:
    """Return x[index], where integers in arrays may choose an element many times."""
    if isinstance(index, Tensor):
        if index.numel() <= _FEW or index.dtype is torch.bool or not x.ndim:
            return _get(x, index)
        return native.gather.default(x, index, 0)
    if type(index) is not tuple:
        return _get(x, index)
    arrays = [i for i in index if isinstance(i, Tensor) and i.dtype is not torch.bool]
    if math.prod(i.numel() for i in arrays) <= _FEW:
        return _get(x, index)
    places = torch.arange(x.numel()).view(x.shape)[index]
    return native.gather.default(x.reshape(-1), places, 0)  # ops-25


def as_index(name: str, index: Any) -> Any:
    """Return `index` as torch takes it, arrays and lists copied, or raise an IndexError.

    Lists and nested tuples are arrays, as in NumPy, and integers may be of any dtype.
    """
    if type(index) is not tuple:
        return _item(name, index)
    for item in index:
        if type(item) not in _PLAIN:
            return tuple(_item(name, item) for item in index)
    return index


def _item(name: str, index: Any) -> Any:
    if type(index) is np.ndarray and index.dtype is _INT64:
        return torch.from_numpy(index.copy())
    if type(index) in _PLAIN or isinstance(index, bool):
        return index
    if isinstance(index, Tensor):
        if index.dtype not in _TORCH:
            return index
        wide = index.to(int64)
        return _in_range(name, wide, index.dtype) if index.dtype == torch.uint64 else wide
    if isinstance(index, np.bool_):
        return bool(index)
    if isinstance(index, np.integer):
        return int(index)
    if not isinstance(index, list | tuple | range | np.ndarray):
        return _single(name, index)
    array = _array(name, index)
    if array.dtype == np.bool_:
        return torch.from_numpy(array)
    if array.dtype.kind not in "iu":
        msg = f"{name}: an index array must be of integers or booleans, got {array.dtype}"
        raise IndexError(msg)
    wide = torch.from_numpy(array.astype(np.int64))
    return _in_range(name, wide, array.dtype) if array.dtype == np.uint64 else wide


def _single(name: str, index: Any) -> Any:
    """Return what stands for an int, or raise an IndexError."""
    if hasattr(index, "__index__"):
        return index
    msg = (
        f"{name}: an index must be an int, a slice, None, ... or an array of integers or "
        f"booleans, got {type(index).__name__}"
    )
    raise IndexError(msg)


def _array(name: str, index: Any) -> "np.ndarray[Any, Any]":
    """Return a copy of an index array; a list of Tensors is one of their numbers."""
    if not isinstance(index, np.ndarray):
        index = [x.tolist() if isinstance(x, Tensor) else x for x in index]
    try:
        array = np.array(index)
    except (ValueError, OverflowError) as error:
        msg = f"{name}: an index must be an array of integers or booleans, got {shown(index)}"
        raise IndexError(msg) from error
    # An empty list says nothing of its elements.
    return array.astype(np.int64) if array.size == 0 and array.dtype == np.float64 else array


def index_array(name: str, argument: str, value: Any, size: int) -> Tensor:
    """Return integers of any dtype as an array that torch indexes with, or raise a TypeError.

    `size` is the length that they index.
    """
    if isinstance(value, Tensor) and value.dtype is int64:
        return value
    if isinstance(value, np.ndarray | np.integer) and value.dtype.kind in "iu":
        wide = torch.from_numpy(np.array(value).astype(np.int64))
        return _in_range(name, wide, value.dtype, size) if value.dtype == np.uint64 else wide
    if not isinstance(value, Tensor) or not is_integer(value.dtype):
        came = value.dtype if isinstance(value, Tensor | np.ndarray) else type(value).__name__
        msg = f"{name}: {argument} must be a Tensor of integers, got {came}"
        raise TypeError(msg)
    if value.dtype not in _TORCH:
        return value
    wide = value.to(int64)
    return _in_range(name, wide, value.dtype, size) if value.dtype == torch.uint64 else wide


def _in_range(name: str, wide: Tensor, dtype: Any, size: int = 2**63) -> Tensor:
    if wide.numel() and anywhere(wide < 0):
        msg = f"{name}: an index must be below {size}, got {int(wide.min()) + 2**64} of {dtype}"
        raise IndexError(msg)
    return wide


def from_numpy(name: str, array: "np.ndarray[Any, Any]") -> Tensor:
    """Copy a NumPy array, or raise a TypeError in the name of `name` for a foreign dtype."""
    native_order = array.dtype.newbyteorder("=")
    if native_order not in FROM_NUMPY:
        refuse_dtype(name, "an array", array.dtype)
    return torch.from_numpy(np.array(array, dtype=native_order, order="C"))


def raw(x: Any) -> Any:
    """Return the raw array of a Tensor that requires grad; anything else as it is."""
    return _detach(x) if isinstance(x, Tensor) and x.requires_grad else x


def with_grad(name: str, x: Tensor, requires_grad: bool) -> Tensor:
    """Return `x` as a leaf that requires grad if asked to; raise a ValueError if it cannot."""
    requires_grad = check_flag(name, "requires_grad", requires_grad)
    if requires_grad and not x.is_floating_point():  # tensor-13
        refuse_gradient(name, x.dtype)
    return leaf(x, requires_grad)


def refuse_gradient(name: str, dtype: torch.dtype) -> NoReturn:
    """Raise a ValueError for a leaf that is not floating and should require grad."""
    way = "; make it of two real ones, as a + 1j * b, to which its gradients flow"
    msg = (  # tensor-13
        f"{name}: only floating Tensors can require grad, got dtype {dtype}"
        f"{way if dtype.is_complex else ''}"
    )
    raise ValueError(msg)


def _plain(x: Tensor) -> Tensor:
    """Return a leaf as torch's own class, with its memory and free attributes."""
    if not x.is_leaf:
        return x.as_subclass(torch.Tensor)
    result = torch.Tensor._make_subclass(torch.Tensor, x, x.requires_grad)
    result.__dict__ = x.__dict__
    return result
