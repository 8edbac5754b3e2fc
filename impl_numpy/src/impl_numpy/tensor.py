"""Tensor: a NumPy array that autograd can follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import numpy as np
from numpy.typing import DTypeLike

from impl_numpy.batched import USED, asarray, is_batched, refuse
from impl_numpy.checks import check_array, check_callable, check_flag, check_raw
from impl_numpy.dtypes import Array, Axis, Shape, Value, bool_, float32, int64, is_raw
from impl_numpy.engine import receiver, run
from impl_numpy.grad_checks import (
    check_grad,
    check_kept,
    check_requires_grad,
    check_seed,
    check_whole,
)
from impl_numpy.memory import CLOCK, borrow, follow, left, lend, next_age, note_values
from impl_numpy.protocols import Protocols
from impl_numpy.recording import RULES, Differentiable, Primitive, binary, fit, record, unary
from impl_numpy.tape import (
    After,
    Handle,
    Leaf,
    Node,
    Watch,
    check_uncut,
    conjugated,
    differentiable,
    uncut,
)

_new = object.__new__
_ndarray = np.ndarray


class Tensor(Protocols):
    """A raw array with, where gradients are wanted, a place in the recorded graph.

    Parameters
    ----------
    array : numpy.ndarray
        Shared, not copied. `tensor` makes a Tensor from anything else.
    requires_grad : bool

    Raises
    ------
    TypeError
        If `array` is no NumPy array, or of a dtype that Tensors do not have.
    ValueError
        If a gradient is asked of what is not floating.
    """

    # `_leaf` is there once the Tensor has required grad as a leaf.
    __slots__ = ("__weakref__", "_grad", "_leaf")

    # NumPy's own operators give way, so that `array * tensor` comes to `__rmul__`.
    __array_ufunc__ = None

    _grad: Tensor | None
    _leaf: Leaf

    def __init__(self, array: Array, requires_grad: bool = False) -> None:
        self._data = check_raw(uncut(array, "from_array"), "from_array", shares=True)
        self._node = None
        self._grad = None
        self._lent = False
        borrow(self)
        if requires_grad:
            self.requires_grad_()

    @property
    def data(self) -> Array:
        """Return the raw array. Assigning another one replaces the values and records nothing.

        Raises
        ------
        TypeError
            If what is assigned is no NumPy array, or of a dtype that Tensors do not have.
        ValueError
            If it is not floating and the Tensor requires grad.
        """
        if self._node is not None:
            check_uncut("data")
        return lend(self)

    @data.setter
    def data(self, array: Array) -> None:
        array = check_raw(asarray(array) if isinstance(array, np.generic) else array, "data")
        if USED:
            check_kept("data", self._data, array)
            note_values(self)
        if type(self._node) is Leaf:
            check_requires_grad(array.dtype, "data")
        self._replace(array)
        borrow(self)

    def _replace(self, array: Array) -> None:
        """Take another array, and see to the graphs that end in this leaf."""
        left(self)
        before, leaf = self._data, getattr(self, "_leaf", None)
        if array.shape != before.shape or array.dtype != before.dtype:
            if not self.is_leaf:
                kind = f"shape {before.shape} and dtype {before.dtype}"
                got = f"{array.shape} and {array.dtype}"
                msg = f"data: {self._node} made this Tensor of {kind}, which must stay; got {got}"
                raise ValueError(msg)
            if leaf is not None:
                self._leaf = Leaf(receiver(self), array.shape)
                self._leaf.watch, self._leaf.after = leaf.watch, leaf.after
                if array.shape != before.shape:
                    leaf.former = before.shape
                    CLOCK.last = next_age()
                else:
                    leaf.receive = receiver(self, partial(_cast, array.dtype))
                self._node = self._leaf if self._node is leaf else self._node
        self._data = array

    @property
    def grad(self) -> Tensor | None:
        """Return what backward passes have added up; None before the first.

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
            check_grad(grad, isinstance(grad, Tensor), self.shape, self.dtype)
            check_kept("grad", self._data, grad._data)
        self._grad = grad

    @property
    def shape(self) -> Shape:
        """Return the sizes of the axes, a tuple of ints."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Return the number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Return the number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return one of the thirteen: bool, integers, floating and complex."""
        return self._data.dtype

    @property
    def requires_grad(self) -> bool:
        """Tell whether operations on this Tensor are recorded; assigning is `requires_grad_`."""
        return self._node is not None

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    @property
    def is_leaf(self) -> bool:
        """Tell whether no recorded operation made this Tensor."""
        return self._node is None or type(self._node) is Leaf

    @property
    def grad_fn(self) -> Node | None:
        """Return the node that made this Tensor; None on a leaf."""
        return None if self.is_leaf else self._node

    @property
    def T(self) -> Tensor:
        """Return the transpose of a matrix."""
        if self.ndim != 2:
            msg = f"T: wants a matrix, got shape {self.shape}; use mT or ops.permute_dims"
            raise ValueError(msg)
        return self.mT

    @property
    def mT(self) -> Tensor:
        """Return the last two axes exchanged: shape (..., M, N) gives (..., N, M)."""
        n = self.ndim
        if n < 2:
            msg = f"mT: wants at least two axes, got shape {self.shape}"
            raise ValueError(msg)
        return unary(RULES["permute_dims"], self, ((*range(n - 2), n - 1, n - 2),))

    def requires_grad_(self, flag: bool = True) -> Tensor:
        """Set `requires_grad` of a leaf and return it.

        Raises
        ------
        ValueError
            If the dtype is not floating.
        RuntimeError
            If gradients are switched off for a Tensor that an operation made.
        """
        flag = check_flag("requires_grad_", "flag", flag)
        if flag and self._node is None:
            check_requires_grad(self.dtype, "requires_grad")
            # Hooks and graphs that are there stay with the leaf (autograd-26).
            leaf = getattr(self, "_leaf", None)
            self._leaf = self._node = Leaf(receiver(self), self.shape) if leaf is None else leaf
        elif not flag and not self.is_leaf:
            msg = f"requires_grad_: {self._node} made this, only leaves can change; use detach()"
            raise RuntimeError(msg)
        elif not flag:
            self._node = None
        return self

    def detach(self) -> Tensor:
        """Return the same values, shared, without history."""
        if self._node is not None:
            check_uncut("detach")
        return follow(wrap(self._data, None))

    def backward(
        self,
        grad: Tensor | Array | None = None,
        retain_graph: bool = False,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
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
        inputs : Tensor, or list or tuple of them, optional
            Add to `grad` in these alone, leaves or not; what leads to none of them does not run.

        Raises
        ------
        RuntimeError
            If there is no history, the graph was freed, `grad` is missing or of another shape, or
            one of the inputs does not require grad.
        ValueError, TypeError
            If there are no inputs, or others than Tensors.
        """
        if type(retain_graph) is not bool or type(create_graph) is not bool:
            retain_graph = check_flag("backward", "retain_graph", retain_graph)
            create_graph = check_flag("backward", "create_graph", create_graph)
        if self._node is None:
            msg = "backward: this Tensor does not require grad; set requires_grad on an input"
            raise RuntimeError(msg)
        check_whole("backward", self._data)
        root, retain = seeded("backward", self, grad, create_graph), retain_graph or create_graph
        if inputs is None:
            run([(self._node, root)], retain=retain, record=create_graph)
            return
        named = differentiable("backward", "inputs", inputs)
        run(
            [(self._node, root)],
            retain=retain,
            record=create_graph,
            targets=[x._node for x in named if x._node is not None],
            exact=True,
            fill=named,
        )

    def retain_grad(self) -> None:
        """Keep the gradient of this Tensor, which is no leaf, in `grad` at the next backward."""
        if self._node is None:
            msg = "retain_grad: this Tensor does not require grad"
            raise RuntimeError(msg)
        if not self.is_leaf:
            _watch(self._node).receive = receiver(self)

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
        check_callable("register_hook", "hook", hook)
        return Handle(_watch(self._node).hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], Any]) -> Handle:
        """Call `hook(leaf)` in each backward that has added to `grad` of this leaf, at once.

        As torch.Tensor.register_post_accumulate_grad_hook.

        Raises
        ------
        RuntimeError
            If this Tensor is no leaf, or does not require grad.
        TypeError
            If the hook cannot be called.
        """
        name = "register_post_accumulate_grad_hook"
        if type(self._node) is not Leaf:
            state = "is no leaf" if self._node is not None else "does not require grad"
            msg = f"{name}: wants a leaf that requires grad; this Tensor {state}"
            raise RuntimeError(msg)
        check_callable(name, "hook", hook)
        self._node.after = self._node.after or After(self)
        return Handle(self._node.after.hooks, hook)

    def numpy(self) -> Array:
        """Return the raw array itself.

        Raises
        ------
        RuntimeError
            While the Tensor requires grad.
        """
        if is_batched(self._data):
            refuse("numpy")
        if self._node is not None:
            check_uncut("numpy")
            msg = "numpy: autograd cannot follow a Tensor that requires grad; use detach().numpy()"
            raise RuntimeError(msg)
        return lend(self)

    def reshape(self, *shape: Any) -> Tensor:
        """Return the elements in another shape, a tuple or sizes; one size may be -1."""
        sizes = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, Sequence)) else shape
        return Differentiable.ops.reshape(self, sizes)

    def sum(
        self, axis: Axis = None, keepdims: bool = False, *, dtype: DTypeLike | None = None
    ) -> Tensor:
        """Return the sum over one axis, several, or all; `ops.sum`."""
        return Differentiable.ops.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the mean over one axis, several, or all; `ops.mean`."""
        return Differentiable.ops.mean(self, axis=axis, keepdims=keepdims)

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest element over the axes; `ops.max`."""
        return Differentiable.ops.max(self, axis=axis, keepdims=keepdims)

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest element over the axes; `ops.min`."""
        return Differentiable.ops.min(self, axis=axis, keepdims=keepdims)

    max = amax
    min = amin

    def __add__(self, other: Any) -> Tensor:
        return binary(RULES["add"], self, other)

    def __radd__(self, other: Any) -> Tensor:
        return binary(RULES["add"], other, self)

    def __sub__(self, other: Any) -> Tensor:
        return binary(RULES["subtract"], self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return binary(RULES["subtract"], other, self)

    def __mul__(self, other: Any) -> Tensor:
        return binary(RULES["multiply"], self, other)

    def __rmul__(self, other: Any) -> Tensor:
        return binary(RULES["multiply"], other, self)

    def __truediv__(self, other: Any) -> Tensor:
        return binary(RULES["divide"], self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return binary(RULES["divide"], other, self)

    def __pow__(self, other: Any) -> Tensor:
        if type(other) in (int, float) and self.dtype.kind in "fc":
            return unary(RULES["pow by a number"], self, (other,))
        return binary(RULES["pow"], self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return binary(RULES["pow"], other, self)

    def __matmul__(self, other: Any) -> Tensor:
        operands = isinstance(other, Tensor) or is_raw(other)
        return Differentiable.ops.matmul(self, other) if operands else NotImplemented

    def __rmatmul__(self, other: Any) -> Tensor:
        return Differentiable.ops.matmul(other, self) if is_raw(other) else NotImplemented

    def __neg__(self) -> Tensor:
        return unary(RULES["negative"], self)

    def __abs__(self) -> Tensor:
        return unary(RULES["abs"], self)

    def __getitem__(self, key: Any) -> Tensor:
        return Differentiable.ops.indexing.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> NoReturn:
        msg = "put: x[key] = values changes no Tensor; ops.put(x, key, values) returns a new one"
        raise TypeError(msg)  # ops-56

    def __repr__(self) -> str:
        if is_batched(self._data):
            return f"tensor({self._data!r})"
        values = np.array2string(self._data, separator=", ", prefix="tensor(")
        dtype = "" if self.dtype in (float32, int64, bool_) else f", dtype={self.dtype}"
        return f"tensor({values}{dtype}{', requires_grad=True' if self.requires_grad else ''})"

    @staticmethod
    def _wrap(data: Any, node: Node | None) -> Tensor:
        """Return a Tensor around a raw array, without checks; NumPy's scalars become arrays."""
        tensor = _new(Tensor)
        tensor._data = data if type(data) is _ndarray else asarray(data)
        tensor._node = node
        tensor._grad = None
        tensor._lent = False
        return tensor

    def _record(
        self, rule: Primitive, operands: Sequence[Value], config: tuple[Any, ...]
    ) -> Tensor:
        """Apply a primitive: how a primitive that is called on Tensors records itself."""
        return record(rule, operands, config)


wrap = Tensor._wrap


def as_tensor(operation: str, x: Any, name: str = "", *, passing: bool = False) -> Tensor:
    """Return a Tensor as it is, and a raw array as a constant.

    An array stays the caller's, who may change it; with `passing` nothing made from the Tensor
    shares its memory, so nobody asks.

    Raises
    ------
    TypeError
        If x is neither; the message names the operation, and the argument if it has a name.
    """
    if isinstance(x, Tensor):
        return x
    constant = wrap(check_array(operation, x, name), None)
    if not passing:
        borrow(constant)
    return constant


def seeded(operation: str, x: Tensor, grad: Any, record: bool) -> Value:
    """Return what a pass starts with at a Tensor: the gradient that was given, or 1 for a scalar.

    Raises
    ------
    RuntimeError
        If it is of another shape, or missing for several elements or a complex Tensor.
    TypeError
        If it is no Tensor or raw array, or complex for a real Tensor.
    """
    array = x._data
    if grad is None:
        check_seed(operation, None, array.shape, array.dtype)
        # Four times as fast as `np.ones_like`.
        root = np.empty(array.shape, array.dtype)
        root.fill(1)
        return wrap(root, None) if record else root
    seed = as_tensor(operation, grad, "the gradient", passing=not record)
    check_seed(operation, seed._data.shape, array.shape, array.dtype, seed._data.dtype)
    if record:
        fitted: Value = fit(seed, array.shape, array.dtype)
    else:
        fitted = seed._data if seed.dtype == array.dtype else seed._data.astype(array.dtype)
    return conjugated(fitted)


def _watch(node: Node) -> Watch:
    if node.watch is None:
        node.watch = Watch(wrap)
    assert isinstance(node.watch, Watch)
    return node.watch


def _cast(dtype: np.dtype[Any], grad: Value) -> Value:
    return fit(grad, grad.shape, dtype)
