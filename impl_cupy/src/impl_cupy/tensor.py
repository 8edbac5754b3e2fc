"""Tensor: a CuPy array that autograd can follow."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, Self, TypeAlias

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_callable,
    check_device,
    check_differentiable,
    check_flag,
    check_one_element,
    check_raw,
    check_text,
    type_name,
)
from impl_cupy.dtypes import DTypeLike, refuse_complex
from impl_cupy.engine import backward
from impl_cupy.memory import RawArray, lend, lend_data, note_change, note_read, readers
from impl_cupy.protocols import Protocols
from impl_cupy.slices import is_mapped, refuse_value, refuse_write
from impl_cupy.tape import (
    LeafHooks,
    Node,
    RemovableHandle,
    Slot,
    handles,
    refuse_cut,
    state,
    vmapped,
    wrap,
)

Axis: TypeAlias = "int | tuple[int, ...] | None"


class Tensor(Protocols):
    """A raw array with a place in a recorded graph.

    Tensors are made by `tensor`, `from_array` and the other constructors, and by operations.

    Attributes
    ----------
    data : cupy.ndarray
        The raw array. Assigning another one replaces the values; nothing is recorded.
    requires_grad : bool
        Whether operations on it are recorded and gradients reach it.
    grad : Tensor or None
        The gradient of a leaf, filled by `backward`.
    """

    __slots__ = ()

    def __init__(self) -> None:
        msg = "Tensor: make one with tensor, from_array, zeros, ... instead of calling the class"
        raise TypeError(msg)

    @property
    def data(self) -> RawArray:
        """The raw array."""
        self._refuse_cut("data")
        return lend_data(self)

    @data.setter
    def data(self, raw: RawArray) -> None:
        """Replace the values; nothing is recorded.

        Raises
        ------
        TypeError
            If `raw` is no raw array of a supported dtype.
        ValueError
            If it is not floating and the Tensor requires grad.
        """
        check_raw("Tensor.data", raw)
        if self._requires_grad and raw.dtype.kind != "f":
            msg = f"Tensor.data: a Tensor that requires grad must be floating, got {raw.dtype.name}"
            raise ValueError(msg)
        if raw is self._data:
            # What ``x.data += 1`` does: the array was written already.
            note_change(self)
        if state.writes is not None:
            state.writes.append((self, None, self._data, raw))
        self._data = raw
        if isinstance(self._node, Slot):
            self._node.was_reshaped |= self._node.shape != raw.shape
            self._node.shape = raw.shape
        lend(raw)

    @property
    def shape(self) -> tuple[int, ...]:
        """Lengths of the axes."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def dtype(self) -> np.dtype[Any]:
        """One of the thirteen of tensor-37."""
        return self._data.dtype

    @property
    def requires_grad(self) -> bool:
        """Whether gradients reach this Tensor."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, flag: bool) -> None:
        """Do what `requires_grad_` does."""
        self.requires_grad_(flag)

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this Tensor."""
        return not isinstance(self._node, Node)

    @property
    def grad_fn(self) -> Node | None:
        """The recorded operation that made this Tensor."""
        return self._node if isinstance(self._node, Node) else None

    @property
    def grad(self) -> Tensor | None:
        """The gradient that backward passes have added up, a Tensor of the same shape."""
        node = self._node
        if isinstance(node, Node):
            node = node.slots.get(self._index) if node.slots else None
        return None if node is None else node.grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        """Replace the gradient.

        Raises
        ------
        TypeError
            If `value` is neither a Tensor nor None, or of another dtype.
        ValueError
            If it has another shape.
        """
        if value is None and self._node is None:
            return
        if value is not None:
            if is_mapped(value):
                refuse_write("Tensor.grad")
            if not isinstance(value, Tensor):
                msg = f"Tensor.grad: must be a Tensor or None, got {type_name(value)}"
                raise TypeError(msg)
            if value.shape != self.shape:
                msg = f"Tensor.grad: must have shape {self.shape}, got {value.shape}"
                raise ValueError(msg)
            if value.dtype != self.dtype:
                msg = f"Tensor.grad: must have dtype {self.dtype}, got {value.dtype}"
                raise TypeError(msg)
        self._slot().grad = value

    def _slot(self) -> Slot:
        node = self._node
        if isinstance(node, Node):
            return node.slot(self._index)
        if node is None:
            node = self._node = Slot(True, self._data.shape)
        return node

    def requires_grad_(self, flag: bool = True) -> Self:
        """Set `requires_grad` on a leaf and return the Tensor itself.

        Raises
        ------
        ValueError
            If the dtype is not floating.
        RuntimeError
            If it is not a leaf.
        """
        flag = check_flag("requires_grad_", "flag", flag)
        if isinstance(self._node, Node):
            if flag:
                return self
            msg = "requires_grad_: only a leaf can be switched off; use detach() on a result"
            raise RuntimeError(msg)
        if flag:
            check_differentiable("requires_grad_", self._data.dtype)
            self._slot()
        if self._node is not None:
            self._node.keep = flag  # autograd-27
        self._requires_grad = flag
        return self

    def retain_grad(self) -> None:
        """Let `backward` fill `grad` here although this is no leaf.

        Raises
        ------
        RuntimeError
            If the Tensor does not require grad.
        """
        if not self._requires_grad:
            msg = "retain_grad: this Tensor does not require grad; call requires_grad_() first"
            raise RuntimeError(msg)
        self._slot().keep = True

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
        """Call ``hook(grad)`` with this Tensor's gradient in every backward.

        Returns
        -------
        RemovableHandle
            What the hook returns, unless None, takes the gradient's place; ``remove()`` ends it.

        Raises
        ------
        RuntimeError
            If the Tensor does not require grad.
        """
        if not self._requires_grad:
            msg = "register_hook: this Tensor does not require grad; call requires_grad_() first"
            raise RuntimeError(msg)
        check_callable("register_hook", "hook", hook)
        return RemovableHandle(self._slot().hooks, hook)

    def register_post_accumulate_grad_hook(
        self, hook: Callable[[Tensor], object]
    ) -> RemovableHandle:
        """Call ``hook(leaf)`` with this leaf in every backward that adds to its `grad`, after that.

        The leaf gets its gradient as soon as all that uses it has run, before what comes earlier in
        the graph, so that the hook may let an optimizer step and set `grad` to None.

        Returns
        -------
        RemovableHandle

        Raises
        ------
        RuntimeError
            If the Tensor is no leaf, or does not require grad.
        TypeError
            If `hook` cannot be called.
        """
        name = "register_post_accumulate_grad_hook"
        if not self.is_leaf:
            msg = f"{name}: only a leaf accumulates, this is a result; use register_hook"
            raise RuntimeError(msg)
        if not self._requires_grad:
            msg = f"{name}: this Tensor does not require grad; call requires_grad_() first"
            raise RuntimeError(msg)
        if not callable(hook):
            msg = f"{name}: hook must be callable, got {type_name(hook)}"
            raise TypeError(msg)
        slot = self._slot()
        if slot.after is None:
            slot.after = LeafHooks(self)
        return RemovableHandle(slot.after.hooks, hook)

    def backward(
        self,
        grad: Tensor | None = None,
        retain_graph: bool = False,
        create_graph: bool = False,
        inputs: Tensor | Sequence[Tensor] | None = None,
    ) -> None:
        """Fill `grad` of every leaf that requires grad and that this Tensor depends on.

        Parameters
        ----------
        grad : Tensor, shape of this Tensor
            May be left out for one element; it is 1 then.
        retain_graph : bool
            Keep what backward needs, so that it can run again.
        create_graph : bool
            Record the way back too, so that the gradients can be differentiated.
        inputs : Tensor, or list or tuple of them
            Fill `grad` of these alone, leaves or results, and run nothing that leads to none.

        Raises
        ------
        RuntimeError
            Without history, with a freed graph, with a `grad` or one of `inputs` that does not fit.
        TypeError, ValueError
            If `inputs` holds what is no Tensor, or nothing.
        """
        if type(retain_graph) is not bool:
            retain_graph = check_flag("backward", "retain_graph", retain_graph)
        if type(create_graph) is not bool:
            create_graph = check_flag("backward", "create_graph", create_graph)
        backward(self, grad, retain_graph, create_graph, inputs)

    def detach(self) -> Tensor:
        """Return a leaf with the same values, in the same memory, that does not require grad."""
        self._refuse_cut("detach")
        return wrap(self._data)

    def item(self) -> complex:
        """Return the Python number of a Tensor with one element.

        Raises
        ------
        ValueError
            With any other number of elements.
        """
        check_one_element("item", self._data)
        self._refuse_cut("item")
        return self._data.item()

    def tolist(self) -> Any:
        """Return nested lists of Python numbers; of a 0-d Tensor a number."""
        self._refuse_cut("tolist")
        return self._data.tolist()

    def numpy(self) -> np.ndarray[Any, np.dtype[Any]]:
        """Copy the values to the host.

        Raises
        ------
        RuntimeError
            While the Tensor requires grad.
        """
        self._refuse_cut("numpy")
        if self._requires_grad:
            msg = "numpy: a Tensor that requires grad has no NumPy form; use detach().numpy()"
            raise RuntimeError(msg)
        return cp.asnumpy(self._data)

    def reshape(self, *shape: Any) -> Tensor:
        """Return another shape with as many elements; one size may be -1."""
        return handles.reshape(self, shape[0] if _is_one_shape(shape) else shape)

    def sum(self, axis: Axis = None, keepdims: bool = False, *, dtype: DTypeLike = None) -> Tensor:
        """Add up over `axis`, in `dtype` if it is given (ops-15)."""
        return handles.sum(self, axis=axis, dtype=dtype, keepdims=keepdims)

    def mean(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Average over `axis`."""
        return handles.mean(self, axis=axis, keepdims=keepdims)

    def amax(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the largest over `axis`; the gradient is shared at ties."""
        return handles.max(self, axis=axis, keepdims=keepdims)

    def amin(self, axis: Axis = None, keepdims: bool = False) -> Tensor:
        """Return the smallest over `axis`; the gradient is shared at ties."""
        return handles.min(self, axis=axis, keepdims=keepdims)

    max = amax
    min = amin

    @property
    def T(self) -> Tensor:
        """The transpose of a matrix."""
        if self._data.ndim != 2:  # tensor-32
            msg = f"T: must have two axes, got shape {self.shape}; use mT or ops.permute_dims"
            raise ValueError(msg)
        return handles.matrix_transpose(self)

    @property
    def mT(self) -> Tensor:
        """The last two axes exchanged."""
        if self._data.ndim < 2:
            msg = f"mT: must have at least two axes, got shape {self.shape}; use ops.expand_dims"
            raise ValueError(msg)
        return handles.matrix_transpose(self)

    def __getitem__(self, key: Any) -> Tensor:
        return handles.getitem(self, key)

    def __setitem__(self, key: Any, values: Any) -> NoReturn:
        msg = "setitem: a Tensor takes no assignment; ops.put(x, key, values) returns a new one"
        raise TypeError(msg)

    def __float__(self) -> float:
        return float(self._real("float"))

    def __int__(self) -> int:
        return int(self._real("int"))

    def __complex__(self) -> complex:
        return complex(self.item())

    def _real(self, operation: str) -> Any:
        if self._data.dtype.kind == "c":
            refuse_complex(operation, f"dtype {self._data.dtype.name}")
        return self.item()

    def __bool__(self) -> bool:
        return bool(self.item())

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu":
            msg = f"a Tensor of dtype {self.dtype.name} is no index; integers are needed"
            raise TypeError(msg)
        number: Any = self.item()
        return int(number)

    @property
    def device(self) -> Any:
        """Where the values are."""
        return self._data.device

    def to_device(self, device: Any, /, *, stream: Any = None) -> Tensor:
        """Return the Tensor itself; there is no other device (ops-31).

        Raises
        ------
        ValueError
            If `device` is another one.
        """
        del stream
        if device is None:
            msg = "to_device: device must be one, got None"
            raise ValueError(msg)
        check_device("to_device", device)
        return self

    def __format__(self, spec: str) -> str:
        check_text("format", "spec", spec)
        if spec:
            check_one_element("format", self._data)
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        if is_mapped(self):
            return f"tensor(slices of shape {self.shape} under vmap, dtype={self.dtype.name})"
        values = np.array2string(cp.asnumpy(self._data), separator=", ", prefix="tensor(")
        grad = f", grad_fn={self._node!r}" if not self.is_leaf else ""
        grad = grad or (", requires_grad=True" if self._requires_grad else "")
        return f"tensor({values}, dtype={self.dtype.name}{grad})"

    def __copy__(self) -> Tensor:
        self._refuse_cut("copy")
        return self._like(self._data)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if not self.is_leaf:
            msg = "deepcopy: only a leaf can be copied; use detach() on a result"
            raise RuntimeError(msg)
        twin = memo[id(self)] = self._like(self._data.copy())
        if self.grad is not None:
            twin.grad = wrap(self.grad._data.copy())
        if attributes := getattr(self, "__dict__", None):
            vars(twin).update(copy.deepcopy(attributes, memo))
        return twin

    def __reduce__(self) -> Any:
        kept = type(self), cp.asnumpy(self._data), self._requires_grad
        # Free attributes, of a subclass that has some.
        return rebuild, kept, getattr(self, "__dict__", None) or None

    def _refuse_cut(self, operation: str) -> None:
        """Refuse what would lose this Tensor's history while a Function runs on Tensors."""
        if self._requires_grad and state.replayed is not None:
            refuse_cut(operation)
        if vmapped and operation not in _KEEP_SLICES and is_mapped(self):
            refuse_value(operation)
        if readers:
            note_read((self._data,))

    def _like(self, raw: RawArray) -> Tensor:
        return wrap(raw, self._requires_grad, type(self))


def rebuild(cls: type[Tensor], host: np.ndarray[Any, np.dtype[Any]], requires_grad: bool) -> Tensor:
    """Make a Tensor of what `pickle` kept of it."""
    return wrap(cp.asarray(host), requires_grad, cls)


# What gives a Tensor of slices again.
_KEEP_SLICES = ("detach", "copy")


def _is_one_shape(shape: tuple[Any, ...]) -> bool:
    return len(shape) == 1 and isinstance(shape[0], (tuple, list))


handles.Tensor = Tensor
