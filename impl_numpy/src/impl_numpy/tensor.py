"""Tensor: a NumPy array that autograd can follow."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy import primitives as prim
from impl_numpy.dtypes import bool_, check_floating, float32, int64, raw_array
from impl_numpy.primitives import Primitive, Shape
from impl_numpy.recording import (
    Axis,
    Traced,
    binary,
    compare,
    matmul,
    plain_key,
    record,
    reduction,
    unary,
)
from impl_numpy.tape import Array, Handle, Leaf, Node, Value, run

_new = object.__new__


class Tensor(Traced):
    """A raw array with, where gradients are wanted, a place in the recorded graph.

    Parameters
    ----------
    array : numpy.ndarray
        Shared, not copied. `tensor` makes a Tensor from anything else.
    requires_grad : bool

    Raises
    ------
    TypeError
        If `array` is no NumPy array or its dtype is none of float32, float64, int32, int64, bool.
    ValueError
        If a gradient is asked of integers or booleans.
    """

    __slots__ = ("__weakref__", "_grad")

    # NumPy's own operators give way, so that `array * tensor` comes to `__rmul__`.
    __array_ufunc__ = None

    _grad: Tensor | None

    def __init__(self, array: Array, requires_grad: bool = False) -> None:
        self._data = raw_array(array, "from_array")
        self._node = None
        self._grad = None
        if requires_grad:
            self.requires_grad_()

    @property
    def data(self) -> Array:
        """The raw array. Assigning another one replaces the values and records nothing.

        Raises
        ------
        TypeError
            If what is assigned is no NumPy array, or of another dtype than the five.
        ValueError
            If it is not floating and the Tensor requires grad.
        """
        return self._data

    @data.setter
    def data(self, array: Array) -> None:
        array = raw_array(np.asarray(array) if isinstance(array, np.generic) else array, "data")
        if self._node is not None:
            check_floating(array.dtype, "data")
        self._data = array

    @property
    def grad(self) -> Tensor | None:
        """What backward passes have added up, of this shape and dtype; None before the first.

        Raises
        ------
        TypeError
            If what is assigned is neither a Tensor nor None, or of another dtype.
        ValueError
            If it has another shape.
        """
        return self._grad

    @grad.setter
    def grad(self, grad: Tensor | None) -> None:
        if grad is not None:
            if not isinstance(grad, Tensor):
                msg = f"grad: must be a Tensor or None, got {type(grad).__name__}"
                raise TypeError(msg)
            if grad.shape != self.shape:
                msg = f"grad: must have the Tensor's shape {self.shape}, got {grad.shape}"
                raise ValueError(msg)
            if grad.dtype != self.dtype:
                msg = f"grad: must have the Tensor's dtype {self.dtype}, got {grad.dtype}"
                raise TypeError(msg)
        self._grad = grad

    @property
    def shape(self) -> Shape:
        """The sizes of the axes, a tuple of ints."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """One of float32, float64, int32, int64, bool."""
        return self._data.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this Tensor are recorded; assigning is `requires_grad_`."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    @property
    def is_leaf(self) -> bool:
        """True where no recorded operation made this Tensor."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Node | None:
        """The node that made this Tensor; None on a leaf."""
        return None if self.is_leaf else self._node

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        if self.ndim != 2:
            msg = f"T: wants a matrix, got shape {self.shape}; use mT or ops.permute_dims"
            raise ValueError(msg)
        return self.mT

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged: shape (..., M, N) gives (..., N, M)."""
        n = self.ndim
        if n < 2:
            msg = f"mT: wants at least two axes, got shape {self.shape}"
            raise ValueError(msg)
        return unary(prim.permute, self, ((*range(n - 2), n - 1, n - 2),))

    def requires_grad_(self, flag: bool = True) -> Tensor:
        """Set `requires_grad` of a leaf and return it.

        Raises
        ------
        ValueError
            If the dtype is not floating.
        RuntimeError
            If gradients are switched off for a Tensor that an operation made.
        """
        if flag and self._node is None:
            check_floating(self.dtype, "requires_grad")
            self._node = Leaf(_receiver(self))
        elif not flag and not self.is_leaf:
            msg = f"requires_grad_: {self._node} made this, only leaves can change; use detach()"
            raise RuntimeError(msg)
        elif not flag:
            self._node = None
        return self

    def detach(self) -> Tensor:
        """The same values, shared, without history."""
        return wrap(self._data, None)

    def backward(
        self,
        grad: Tensor | Array | None = None,
        retain_graph: bool = False,
        create_graph: bool = False,
    ) -> None:
        """Add to `grad` of every leaf the derivative of this Tensor with respect to it.

        Parameters
        ----------
        grad : Tensor of this shape, optional
            The gradient with respect to this Tensor; may be left out for one element.
        retain_graph : bool
            Keep the graph for another backward.
        create_graph : bool
            Record the pass, so that the gradients can be differentiated; keeps the graph.

        Raises
        ------
        RuntimeError
            If there is no history, the graph was freed, or `grad` is missing or of another shape.
        """
        if self._node is None:
            msg = "backward: this Tensor does not require grad; set requires_grad on an input"
            raise RuntimeError(msg)
        if grad is None and self._data.size != 1:
            msg = (
                "backward: only a scalar has an implicit gradient, "
                f"got shape {self.shape}; pass a gradient of that shape"
            )
            raise RuntimeError(msg)
        seed = np.ones_like(self._data) if grad is None else _data(grad)
        if seed.shape != self.shape:
            msg = f"backward: the gradient must have shape {self.shape}, got {seed.shape}"
            raise RuntimeError(msg)
        root: Value = seed.astype(self.dtype, copy=False)
        if create_graph:
            root = (
                prim.fit(grad, self.shape, self.dtype)
                if isinstance(grad, Tensor)
                else wrap(root, None)
            )
        run([(self._node, root)], retain=retain_graph or create_graph, record=create_graph)

    def retain_grad(self) -> None:
        """Keep the gradient of this Tensor, which is no leaf, in `grad` at the next backward."""
        if self._node is None:
            msg = "retain_grad: this Tensor does not require grad"
            raise RuntimeError(msg)
        if not self.is_leaf:
            _watch(self._node).receive = _receiver(self)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(grad)` in backward; what it returns, unless None, takes the gradient's place.

        Raises
        ------
        RuntimeError
            If this Tensor does not require grad.
        """
        if self._node is None:
            msg = "register_hook: this Tensor does not require grad"
            raise RuntimeError(msg)
        return Handle(_watch(self._node).hooks, hook)

    def item(self) -> float | int | bool:
        """The Python number of a one-element Tensor."""
        if self._data.size != 1:
            msg = f"item: wants one element, got shape {self.shape}"
            raise ValueError(msg)
        return self._data.item()

    def tolist(self) -> Any:
        """The values as nested lists; a number where there is no axis."""
        return self._data.tolist()

    def numpy(self) -> Array:
        """The raw array itself.

        Raises
        ------
        RuntimeError
            While the Tensor requires grad.
        """
        if self._node is not None:
            msg = "numpy: autograd cannot follow a Tensor that requires grad; use detach().numpy()"
            raise RuntimeError(msg)
        return self._data

    def reshape(self, *shape: Any) -> Tensor:
        """The elements in another shape, given as a tuple or as sizes; one size may be -1."""
        to = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
        return unary(prim.reshape, self, (to, self.shape))

    def sum(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The sum over one axis, several, or all."""
        return unary(prim.total, self, reduction("sum", self.shape, axis, keepdims))

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The mean over one axis, several, or all; integers give float32."""
        return unary(prim.mean, self, reduction("mean", self.shape, axis, keepdims))

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The largest element over the axes; elements that tie share its gradient."""
        return unary(prim.maxima, self, reduction("max", self.shape, axis, keepdims))

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """The smallest element over the axes; elements that tie share its gradient."""
        return unary(prim.minima, self, reduction("min", self.shape, axis, keepdims))

    max = amax
    min = amin

    def __add__(self, other: Any) -> Tensor:
        return binary(prim.add, self, other)

    def __radd__(self, other: Any) -> Tensor:
        return binary(prim.add, other, self)

    def __sub__(self, other: Any) -> Tensor:
        return binary(prim.subtract, self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return binary(prim.subtract, other, self)

    def __mul__(self, other: Any) -> Tensor:
        return binary(prim.multiply, self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return binary(prim.multiply, other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return binary(prim.divide, self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return binary(prim.divide, other, self)

    def __pow__(self, other: Any) -> Tensor:
        if type(other) in (int, float) and self.dtype.kind == "f":
            return unary(prim.power_by, self, (other,))
        return binary(prim.power, self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return binary(prim.power, other, self)

    def __matmul__(self, other: Any) -> Tensor:
        return matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return matmul(other, self)

    def __neg__(self) -> Tensor:
        return unary(prim.negative, self)

    def __abs__(self) -> Tensor:
        return unary(prim.absolute, self)

    def __lt__(self, other: Any) -> Tensor:
        return compare(np.less, self, other)

    def __le__(self, other: Any) -> Tensor:
        return compare(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Tensor:
        return compare(np.greater, self, other)

    def __ge__(self, other: Any) -> Tensor:
        return compare(np.greater_equal, self, other)

    def __eq__(self, other: object) -> Tensor:  # type: ignore[override]
        return compare(np.equal, self, other)

    def __ne__(self, other: object) -> Tensor:  # type: ignore[override]
        return compare(np.not_equal, self, other)

    __hash__ = object.__hash__

    def __getitem__(self, key: Any) -> Tensor:
        return unary(prim.getitem, self, (plain_key(key), self.shape))

    def __len__(self) -> int:
        if not self.shape:
            msg = "len: a Tensor without axes has no length"
            raise TypeError(msg)
        return self.shape[0]

    def __iter__(self) -> Iterator[Tensor]:
        return (self[k] for k in range(len(self)))

    def __bool__(self) -> bool:
        return bool(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __index__(self) -> int:
        return self._data.__index__()

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **options: Any) -> Any:
        return self.numpy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __repr__(self) -> str:
        values = np.array2string(self._data, separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        return f"tensor({values}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item() if spec and not self.shape else repr(self), spec)

    def __reduce__(self) -> tuple[Any, ...]:
        if not self.is_leaf:
            msg = f"copy: {self._node} made this Tensor, and history cannot be copied; use detach()"
            raise RuntimeError(msg)
        return _rebuild, (type(self), self._data, self.requires_grad, self.grad)

    @staticmethod
    def wrap(data: Any, node: Node | None) -> Tensor:
        """A Tensor around a raw array, without checks; NumPy's scalars become arrays."""
        tensor = _new(Tensor)
        tensor._data = data if type(data) is np.ndarray else np.asarray(data)
        tensor._node = node
        tensor._grad = None
        return tensor

    def record(self, rule: Primitive, operands: Sequence[Value], config: tuple[Any, ...]) -> Tensor:
        """Apply a primitive: how a primitive that is called on Tensors records itself."""
        return record(rule, operands, config)


wrap = Tensor.wrap


class _Watch:
    """What happens to the gradient of a Tensor on its way: hooks, then `retain_grad`."""

    __slots__ = ("hooks", "receive")

    def __init__(self) -> None:
        self.hooks: dict[Handle, Callable[[Tensor], Tensor | None]] = {}
        self.receive: Callable[[Value], None] | None = None

    def __call__(self, grad: Value) -> Value:
        for hook in list(self.hooks.values()):
            given = grad if isinstance(grad, Tensor) else wrap(grad, None)
            result = hook(given)
            if result is None:
                continue
            if result.shape != given.shape:
                msg = f"register_hook: the gradient has shape {given.shape}, got {result.shape}"
                raise ValueError(msg)
            grad = result if isinstance(grad, Tensor) else _data(result)
        if self.receive is not None:
            self.receive(grad)
        return grad


def _watch(node: Node) -> _Watch:
    if node.watch is None:
        node.watch = _Watch()
    assert isinstance(node.watch, _Watch)
    return node.watch


def _receiver(tensor: Tensor) -> Callable[[Value], None]:
    # The graph must not keep alive a Tensor whose gradient nobody can read any more.
    reference = weakref.ref(tensor)

    def receive(grad: Value) -> None:
        leaf = reference()
        if leaf is None:
            return
        if isinstance(grad, Tensor):
            leaf._grad = (
                wrap(grad._data.copy(), grad._node) if leaf._grad is None else leaf._grad + grad
            )
        elif leaf._grad is None:
            # A copy, since a rule may give one array to several operands, or the caller's own.
            leaf._grad = wrap(np.array(grad, order="C"), None)
        else:
            leaf._grad = wrap(leaf._grad._data + grad, None)

    return receive


def _data(x: Any) -> Array:
    return x._data if isinstance(x, Tensor) else x


def _rebuild(kind: type[Tensor], array: Array, requires_grad: bool, grad: Tensor | None) -> Tensor:
    tensor = kind(array, requires_grad)
    tensor._grad = grad
    return tensor
