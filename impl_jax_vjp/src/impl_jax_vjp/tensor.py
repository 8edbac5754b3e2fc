"""Tensor: a jax.Array that autograd can follow.

A Tensor is a pytree node with its array as the one leaf, so ``jax.jit``, ``jax.vmap`` and
``jax.tree.map`` take and return Tensors. It has no ``__jax_array__``: ``array + tensor`` is left to
the Tensor and gives one.
"""

import itertools
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from . import arithmetic as A
from .engine import Pass
from .operators import Operators
from .tape import Traced, constant, is_floating, make, unwrap

float32 = np.dtype("float32")
float64 = np.dtype("float64")
int32 = np.dtype("int32")
int64 = np.dtype("int64")
bool_ = np.dtype("bool")

_hook_ids = itertools.count()


class Tensor(Operators, result=True):
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

    def __new__(cls, *args: Any, **kwargs: Any) -> "Tensor":
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
        given = value._data if isinstance(value, Traced) else A.operand("data", value)
        A.check_dtype("data", given.dtype)
        if self._requires_grad and not is_floating(given.dtype):
            msg = f"data: got dtype {given.dtype}, wanted float32 or float64: it requires grad"
            raise TypeError(msg)
        self._data = given

    @property
    def shape(self) -> tuple[int, ...]:
        """The sizes of the axes."""
        return self._data.shape

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
                msg = f"grad: wanted a Tensor or None, got {type(value).__name__}"
                raise TypeError(msg)
            if value.shape != self.shape:
                msg = f"grad: wanted shape {self.shape}, got {value.shape}"
                raise ValueError(msg)
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
        if flag:
            check_floating("requires_grad_", self._data.dtype)
        elif self._node is not None:
            msg = "requires_grad_: only a leaf can stop requiring grad; use detach() on a result"
            raise RuntimeError(msg)
        self._requires_grad = bool(flag)
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
            retained[self._index] = weakref.ref(self)
            self._node.retained = retained

    def register_hook(self, hook: Callable[["Tensor"], Any]) -> "Handle":
        """Call ``hook(grad)`` in backward; unless None, what it returns is the gradient then.

        A backward in which that is not a Tensor or an array of the gradient's dtype raises
        `TypeError`, and one of another shape `ValueError`.

        Returns
        -------
        Handle
            Its ``remove()`` takes the hook away.
        """
        if not self._requires_grad:
            msg = "register_hook: this Tensor does not require grad"
            raise RuntimeError(msg)
        if self._node is None:
            hooks = self._hooks = self._hooks if self._hooks is not None else {}
        else:
            table = self._node.hooks = self._node.hooks if self._node.hooks is not None else {}
            hooks = table.setdefault(self._index, {})
        return Handle(hooks, hook)

    def backward(
        self, grad: "Tensor | None" = None, retain_graph: bool = False, create_graph: bool = False
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

        Raises
        ------
        RuntimeError
            If this Tensor has no history, `grad` is missing or of another shape, or the graph was
            freed.
        """
        if not self._requires_grad:
            msg = "backward: this Tensor does not require grad and no operation that does made it"
            raise RuntimeError(msg)
        start = self._seed(grad, create_graph)
        run = Pass(create_graph, retain_graph)
        run.run([self], [start])
        run.deliver()

    def _seed(self, grad: Any, create: bool) -> Any:
        data = unwrap(self)
        if grad is None:
            if data.size != 1:
                msg = (
                    f"backward: only a scalar has an implicit gradient, got shape {data.shape}; "
                    "pass a gradient of that shape"
                )
                raise RuntimeError(msg)
            ones = jax.device_put(np.ones(data.shape, data.dtype))
            return make(ones) if create else ones
        given = unwrap(A.operand("backward", grad))
        if given.shape != data.shape:
            msg = f"backward: the gradient has shape {given.shape}, the Tensor has {data.shape}"
            raise RuntimeError(msg)
        if given.dtype != data.dtype:
            given = given.astype(data.dtype)
            grad = given
        if not create:
            return given
        return grad if isinstance(grad, Tensor) else make(given)

    def detach(self) -> "Tensor":
        """Return a leaf with the same values that does not require grad.

        Where the values are traced, JAX's transformations do not differentiate through it either.
        """
        return make(constant(unwrap(self)))

    def item(self) -> Any:
        """Return the Python number of a one-element Tensor."""
        data = unwrap(self)
        if data.size != 1:
            msg = f"item: wanted one element, got shape {data.shape}"
            raise ValueError(msg)
        return data.item()

    def tolist(self) -> Any:
        """Return nested lists, or a number for a Tensor without axes."""
        return np.asarray(unwrap(self)).tolist()

    def numpy(self) -> np.ndarray[Any, Any]:
        """Return a NumPy array with a copy of the values.

        Raises
        ------
        RuntimeError
            If this Tensor requires grad.
        """
        if self._requires_grad:
            msg = "numpy: this Tensor requires grad; use t.detach().numpy()"
            raise RuntimeError(msg)
        return np.array(unwrap(self))

    def __len__(self) -> int:
        if not self.shape:
            msg = "len: a Tensor without axes has no length"
            raise TypeError(msg)
        return self.shape[0]

    def __iter__(self) -> "Iterator[Tensor]":
        return iter([self[i] for i in range(len(self))])

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        if self._data.size != 1:
            msg = f"bool: only a Tensor of one element is true or false, got shape {self.shape}"
            raise ValueError(msg)
        return bool(unwrap(self).reshape(()))

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
        if self._node is not None:
            msg = "deepcopy: only leaves can be copied; use detach() first"
            raise RuntimeError(msg)
        copy = bare(type(self), self._data, self._requires_grad)
        memo[id(self)] = copy
        copy._grad = None if self._grad is None else make(self._grad._data)
        if hasattr(self, "__dict__"):
            copy.__dict__.update(self.__dict__)
        return copy

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self._node is not None:
            msg = "pickle: only leaves can be pickled; use detach() first"
            raise RuntimeError(msg)
        return _unpickle, (type(self), np.asarray(self._data), self._requires_grad)


class Handle:
    """A hook's place in a table; `remove` takes it out."""

    __slots__ = ("_key", "_table")

    def __init__(self, table: dict[int, Any], hook: Callable[..., Any]) -> None:
        self._table = table
        self._key = next(_hook_ids)
        table[self._key] = hook

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._table.pop(self._key, None)


def check_floating(name: str, dtype: np.dtype[Any]) -> None:
    """Raise `ValueError` that names the dtype if gradients do not exist for it."""
    if not is_floating(dtype):
        msg = f"{name}: only float32 and float64 can require grad, got dtype {dtype}"
        raise ValueError(msg)


def bare(cls: type[Any], data: Any, requires_grad: bool) -> Any:
    """Make a leaf of class `cls` without looking at `data`, which JAX may replace by anything."""
    tensor = make(data)
    if cls is not Tensor:
        plain, tensor = tensor, object.__new__(cls)
        for name in Traced.__slots__[1:]:
            setattr(tensor, name, getattr(plain, name))
    tensor._requires_grad = requires_grad
    return tensor


def _unpickle(cls: type[Any], values: np.ndarray[Any, Any], requires_grad: bool) -> Any:
    return bare(cls, jax.device_put(values), requires_grad)


def _register(cls: type[Any]) -> None:
    # A result flattens to a constant: its history belongs to the tape, not to the structure.
    jax.tree_util.register_pytree_node(
        cls,
        lambda t: ((unwrap(t),), t._requires_grad and t._node is None),
        lambda flag, children: bare(cls, children[0], flag),
    )


_register(Tensor)
