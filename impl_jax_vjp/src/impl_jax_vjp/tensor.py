"""Tensor: a jax.Array that autograd can follow.

A Tensor is a pytree node with its array as the one leaf, so ``jax.jit``, ``jax.vmap`` and
``jax.tree.map`` take and return Tensors. It has no ``__jax_array__``: ``array + tensor`` is one.
"""

import copy
import math
import weakref
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .checks import (
    MAPPING,
    Axis,
    check_callable,
    check_dtype,
    check_flag,
    check_floating,
    check_one_value,
    check_same_dtype,
    refuse,
    refuse_type,
)
from .dtypes import is_inexact, make_array
from .engine import Engine, Handle, follow
from .protocols import OPS, Protocols
from .recording import as_gradient, as_operand, as_tensors
from .tape import Traced, constant, note_written, unwrap, wrap

_KNOWN = (Traced, int, float, complex, jax.Array, np.ndarray, np.generic)


class _Operators(Protocols):
    """What Python's syntax and the short method names give a Tensor: functions of `ops`."""

    __slots__ = ()
    __hash__ = object.__hash__

    @property
    def T(self) -> Any:
        """The matrix transposed, shape (m, n) to (n, m)."""
        if len(self._data.shape) != 2:  # tensor-32
            other = "use mT, or ops.permute_dims to order all axes"
            refuse("T", "the Tensor", "of two axes", f"shape {self._data.shape}; {other}")
        return OPS.matrix_transpose(self)

    @property
    def mT(self) -> Any:
        """The last two axes exchanged, shape (..., m, n) to (..., n, m)."""
        if len(self._data.shape) < 2:  # tensor-32
            wanted = "of at least two axes, which reshape can add"
            refuse("mT", "the Tensor", wanted, f"shape {self._data.shape}")
        return OPS.matrix_transpose(self)

    def reshape(self, *shape: Any) -> Any:
        """Return the same elements in another shape, given as a tuple or as the sizes."""
        return OPS.reshape(self, shape[0] if len(shape) == 1 else shape)

    def sum(self, axis: Axis = None, keepdims: bool = False, *, dtype: Any = None) -> Any:
        """Return the sum over `axis`, over everything by default, in `dtype` if there is one."""
        return OPS.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Return the mean over `axis`, over everything by default."""
        return OPS.mean(self, axis=axis, keepdims=keepdims)

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Return the largest over `axis`; ties share the gradient."""
        return OPS.max(self, axis=axis, keepdims=keepdims)

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Any:
        """Return the smallest over `axis`; ties share the gradient."""
        return OPS.min(self, axis=axis, keepdims=keepdims)

    max, min = amax, amin

    def __add__(self, other: Any) -> Any:
        return OPS.add(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __radd__(self, other: Any) -> Any:
        return OPS.add(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __sub__(self, other: Any) -> Any:
        return OPS.subtract(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rsub__(self, other: Any) -> Any:
        return OPS.subtract(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __mul__(self, other: Any) -> Any:
        return OPS.multiply(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rmul__(self, other: Any) -> Any:
        return OPS.multiply(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __truediv__(self, other: Any) -> Any:
        return OPS.divide(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rtruediv__(self, other: Any) -> Any:
        return OPS.divide(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __pow__(self, other: Any) -> Any:
        return OPS.pow(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rpow__(self, other: Any) -> Any:
        return OPS.pow(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __matmul__(self, other: Any) -> Any:
        return OPS.matmul(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rmatmul__(self, other: Any) -> Any:
        return OPS.matmul(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __floordiv__(self, other: Any) -> Any:
        return OPS.floor_divide(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rfloordiv__(self, other: Any) -> Any:
        return OPS.floor_divide(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __mod__(self, other: Any) -> Any:
        return OPS.remainder(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rmod__(self, other: Any) -> Any:
        return OPS.remainder(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __and__(self, other: Any) -> Any:
        return OPS.bitwise_and(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rand__(self, other: Any) -> Any:
        return OPS.bitwise_and(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __or__(self, other: Any) -> Any:
        return OPS.bitwise_or(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __ror__(self, other: Any) -> Any:
        return OPS.bitwise_or(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __xor__(self, other: Any) -> Any:
        return OPS.bitwise_xor(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rxor__(self, other: Any) -> Any:
        return OPS.bitwise_xor(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __lshift__(self, other: Any) -> Any:
        return OPS.bitwise_left_shift(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rlshift__(self, other: Any) -> Any:
        return OPS.bitwise_left_shift(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __rshift__(self, other: Any) -> Any:
        return OPS.bitwise_right_shift(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __rrshift__(self, other: Any) -> Any:
        return OPS.bitwise_right_shift(other, self) if isinstance(other, _KNOWN) else NotImplemented

    def __lt__(self, other: Any) -> Any:
        return OPS.less(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __le__(self, other: Any) -> Any:
        return OPS.less_equal(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __gt__(self, other: Any) -> Any:
        return OPS.greater(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __ge__(self, other: Any) -> Any:
        return OPS.greater_equal(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __eq__(self, other: Any) -> Any:
        return OPS.equal(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __ne__(self, other: Any) -> Any:
        return OPS.not_equal(self, other) if isinstance(other, _KNOWN) else NotImplemented

    def __neg__(self) -> Any:
        return OPS.negative(self)

    def __pos__(self) -> Any:
        return OPS.positive(self)

    def __invert__(self) -> Any:
        return OPS.bitwise_invert(self)

    def __abs__(self) -> Any:
        return OPS.abs(self)

    def __getitem__(self, key: Any) -> Any:
        return OPS.getitem(self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        refuse_type("put", "x[key] = values", "written x = ops.put(x, key, values)", self)


class Tensor(_Operators, result=True):
    """An array with a history.

    Made by `tensor`, `from_array`, the constructors and by operations, not by calling the class.

    Attributes
    ----------
    data : jax.Array
        The raw array. Assigning replaces the values and records nothing.
    shape, ndim, dtype
        Those of the array.
    requires_grad : bool
        Whether a gradient is wanted here.
    is_leaf : bool
        Whether no recorded operation made it.
    grad : Tensor or None
        The gradient that backward passes have added up.
    grad_fn
        The recorded operation that made it, None on a leaf.
    """

    __slots__ = ()
    # NumPy then leaves `ndarray + tensor` to `__radd__`.
    __array_ufunc__ = None

    def __new__(cls, *_args: Any, **_kwargs: Any) -> "Tensor":
        """Refuse: a Tensor is made by `tensor` or `from_array`."""
        if cls is Tensor:
            msg = "Tensor: not made by calling it; use tensor(data) or from_array(array)"
            raise TypeError(msg)
        return super().__new__(cls)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        _register(cls)

    @property
    def data(self) -> Any:
        """The raw array; assigning replaces the values, and nothing is recorded."""
        return unwrap(self)

    @data.setter
    def data(self, value: Any) -> None:
        data = unwrap(as_operand("data", value))
        check_dtype("data", data.dtype)
        if self._node is not None and not is_inexact(data.dtype):
            refuse("data", "the dtype of what requires grad", "floating or complex", data.dtype)
        if self._node is None and self._requires_grad:
            check_floating("data", data.dtype)
        unwrap(self)  # A trace remembers what it was.
        if MAPPING.tracer is not None:
            note_written("data: the Tensor", self, "_data", data)
        self._data = data

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._data.shape

    @property
    def size(self) -> int:
        """The number of elements."""
        return math.prod(self._data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the array."""
        return self._data.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether a gradient is wanted here; assigning is `requires_grad_`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        self.requires_grad_(flag)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this Tensor."""
        return self._node is None

    @property
    def grad(self) -> "Tensor | None":
        """The gradient that backward passes have added up, of this shape, or None."""
        return self._grad  # type: ignore[return-value]

    @grad.setter
    def grad(self, value: "Tensor | None") -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                refuse_type("grad", "the value", "a Tensor or None", value)
            if value.shape != self.shape:
                refuse("grad", "the value", f"of shape {self.shape}", f"shape {value.shape}")
            check_same_dtype("grad", "the value", value.dtype, self.dtype, "Tensor's")
        unwrap(self)  # A trace remembers what it was.
        if MAPPING.tracer is not None and value is not None:
            note_written("grad: the Tensor", self, "_grad", unwrap(value))
        self._grad = value

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made this Tensor, None on a leaf."""
        return self._node

    def requires_grad_(self, flag: bool = True) -> "Tensor":
        """Set whether a leaf requires grad, and return it.

        Raises
        ------
        ValueError
            If `flag` is true and the dtype is not floating.
        RuntimeError
            If an operation made this Tensor and `flag` is false.
        """
        flag = check_flag("requires_grad_", "flag", flag)
        if flag and not self._requires_grad:
            check_floating("requires_grad_", self._data.dtype)
        elif not flag and self._node is not None:
            msg = "requires_grad_: only a leaf can stop requiring grad; use detach() on a result"
            raise RuntimeError(msg)
        self._requires_grad = flag
        return self

    def retain_grad(self) -> None:
        """Keep the gradient of an intermediate Tensor in `grad` too."""
        if not self._requires_grad:
            msg = "retain_grad: this Tensor does not require grad"
            raise RuntimeError(msg)
        if self._node is not None and not self._keeps_grad:
            self._keeps_grad = True
            retained = self._node.retained or {}
            # Weak, so that the tape owns no result. A Tensor has one place, and a place one Tensor.
            retained[self._slot] = weakref.ref(self)
            self._node.retained = retained

    def register_hook(self, hook: Callable[["Tensor"], Any]) -> "Handle":
        """Call ``hook(grad)`` in backward; unless None, what it returns is the gradient then.

        Backward raises `TypeError` unless that is a Tensor of its dtype, of its shape `ValueError`.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.
        """
        if not self._requires_grad:
            msg = "register_hook: this Tensor does not require grad"
            raise RuntimeError(msg)
        check_callable("register_hook", "hook", hook)
        if self._node is None:
            hooks = self._hooks = self._hooks if self._hooks is not None else {}
        else:
            table = self._node.hooks = self._node.hooks if self._node.hooks is not None else {}
            hooks = table.setdefault(self._slot, {})
        return Handle(hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[["Tensor"], Any]) -> "Handle":
        """Call ``hook(leaf)`` in backward, after the gradient was added to `grad` of this leaf.

        That is as soon as all that uses the leaf has run. It may use the gradient and let it go.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.
        """
        return follow("register_post_accumulate_grad_hook", self, hook)

    def backward(
        self,
        grad: "Tensor | None" = None,
        retain_graph: bool = False,
        create_graph: bool = False,
        inputs: Any = None,
    ) -> None:
        """Fill `grad` of every leaf that requires grad and that this Tensor depends on.

        Parameters
        ----------
        grad : Tensor, same shape, optional
            The gradient of this Tensor; one element has 1 by default.
        retain_graph : bool
            Keep what the graph saved, for another backward.
        create_graph : bool
            Record the pass itself, so that the gradients can be differentiated.
        inputs : Tensor or sequence of Tensor, optional
            Fill `grad` of these alone; what leads to none of them does not run, and stays.

        Raises
        ------
        RuntimeError
            If this Tensor or one of `inputs` has no history, `grad` is missing or of another shape,
            or the graph was freed; or if this Tensor is complex and `grad` is missing.
        TypeError
            If `grad` is complex, and this Tensor is not, or `inputs` are no Tensors; `ValueError`
            if there are none.
        """
        if not self._requires_grad:
            msg = "backward: this Tensor does not require grad and no operation that does made it"
            raise RuntimeError(msg)
        check_one_value("backward", unwrap(self))
        retain_graph = check_flag("backward", "retain_graph", retain_graph)
        create_graph = check_flag("backward", "create_graph", create_graph)
        named = None if inputs is None else as_tensors("backward", "inputs", inputs)
        seed = as_gradient("backward", self, grad, create_graph)
        Engine(create_graph, retain_graph).backward(self, seed, named)

    def detach(self) -> "Tensor":
        """Return a leaf with the same values that does not require grad.

        Where the values are traced, JAX's transformations do not differentiate through it either.
        """
        return wrap(constant(unwrap(self)))

    def __repr__(self) -> str:
        data = unwrap(self)
        known = isinstance(data, jax.Array) and not isinstance(data, jax.core.Tracer)
        body = (
            np.array2string(np.asarray(data), separator=", ", prefix="tensor(") if known else data
        )
        parts = [str(body), f"dtype={self._data.dtype}" if known else ""]
        if self._node is not None:
            parts.append(f"grad_fn={self._node!r}")
        elif self._requires_grad:
            parts.append("requires_grad=True")
        return f"tensor({', '.join(p for p in parts if p)})"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Tensor":
        twin = memo[id(self)] = self._twin("deepcopy", make_array)
        if hasattr(self, "__dict__"):
            twin.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return twin

    def __copy__(self) -> "Tensor":
        twin = self._twin("copy", lambda data: data)
        if hasattr(self, "__dict__"):
            twin.__dict__.update(self.__dict__)
        return twin

    def _twin(self, name: str, copied: Callable[[Any], Any]) -> "Tensor":
        if self._node is not None:
            msg = f"{name}: only leaves can be copied; use detach() first"
            raise RuntimeError(msg)
        twin: Tensor = bare(type(self), copied(self._data), self._requires_grad)
        twin._grad = None if self._grad is None else wrap(copied(self._grad._data))
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        values = np.asarray(unwrap(self))
        return _unpickle, (type(self), values, self._requires_grad), getattr(self, "__dict__", None)


def bare(cls: type[Any], data: Any, requires_grad: bool) -> Any:
    """Make a leaf of class `cls` without looking at `data`, which JAX may replace by anything."""
    tensor = wrap(data)
    if cls is not Tensor:
        plain, tensor = tensor, object.__new__(cls)
        for name in Traced.__slots__[1:]:
            setattr(tensor, name, getattr(plain, name))
    tensor._requires_grad = requires_grad
    return tensor


def _unpickle(cls: type[Any], values: np.ndarray[Any, Any], requires_grad: bool) -> Any:
    return bare(cls, make_array(values), requires_grad)


def _register(cls: type[Any]) -> None:
    # A result flattens to a constant: its history belongs to the tape, not to the structure.
    jax.tree_util.register_pytree_node(
        cls,
        lambda t: ((unwrap(t),), t._requires_grad and t._node is None),
        lambda flag, children: bare(cls, children[0], flag),
    )


_register(Tensor)
