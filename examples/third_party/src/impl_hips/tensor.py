"""Tensor: a NumPy array with a place on the tape."""

import copy
import itertools

import numpy as np

from impl_hips import dtypes
from impl_hips.tape import Pass, differentiated

_handles = itertools.count()


class Handle:
    """What takes a hook away again."""

    def __init__(self, hooks, hook, first=False):
        self._hooks, self._key = hooks, next(_handles)
        hooks[self._key] = hook
        if first:
            for key in list(hooks)[:-1]:
                hooks[key] = hooks.pop(key)

    def remove(self):
        """Take the hook away."""
        self._hooks.pop(self._key, None)


class Tensor:
    """An array that gradients can flow to."""

    __array_priority__ = 1000
    __array_ufunc__ = None  # so that NumPy's operators leave the result to ours (tensor-17)

    def __init__(self, array, requires_grad=False, node=None, slot=0):
        if not isinstance(array, np.ndarray):
            msg = f"Tensor takes a NumPy array, got {type(array).__name__}"
            raise TypeError(msg)
        dtypes.checked("Tensor", array.dtype)
        self._data, self._requires_grad, self._grad = array, False, None
        self.node, self.slot, self.hooks, self.keeps_grad = node, slot, {}, False
        if requires_grad:
            self.requires_grad_(True)

    @property
    def data(self):
        """The raw array."""
        return self._data

    @data.setter
    def data(self, array):
        array = np.asarray(array) if isinstance(array, np.generic) else array
        if not isinstance(array, np.ndarray):
            msg = f"data must be a NumPy array, got {type(array).__name__}"
            raise TypeError(msg)
        self._data = array

    @property
    def shape(self):
        """A tuple of ints."""
        return self._data.shape

    @property
    def dtype(self):
        """The dtype."""
        return self._data.dtype

    @property
    def ndim(self):
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self):
        """The number of elements."""
        return int(self._data.size)

    @property
    def device(self):
        """There is one."""
        return "cpu"

    @property
    def is_leaf(self):
        """True of a Tensor that no recorded operation made."""
        return self.node is None

    @property
    def grad_fn(self):
        """The node that made it."""
        return self.node

    @property
    def requires_grad(self):
        """Whether gradients flow here."""
        return self._requires_grad or self.node is not None

    @requires_grad.setter
    def requires_grad(self, flag):
        self.requires_grad_(flag)

    @property
    def grad(self):
        """The gradient, or None."""
        return self._grad

    @grad.setter
    def grad(self, value):
        if value is not None and not isinstance(value, Tensor):
            msg = f"grad must be a Tensor or None, got {type(value).__name__}"
            raise TypeError(msg)
        if value is not None and (value.shape, value.dtype) != (self.shape, self.dtype):
            msg = (
                f"grad must have shape {self.shape} and dtype {self.dtype}, "
                f"got {value.shape} and {value.dtype}"
            )
            raise ValueError(msg)
        self._grad = value

    def assign_grad(self, value):
        """Set `grad` without its checks."""
        self._grad = value

    def requires_grad_(self, flag=True):
        """Say whether gradients flow to this leaf; return it."""
        if self.node is not None and not flag:
            msg = "requires_grad_: only a leaf can stop to require grad; use detach()"
            raise RuntimeError(msg)
        if flag and self.dtype.kind != "f":
            msg = f"requires_grad: only floating Tensors require grad, got {self.dtype}"
            raise ValueError(msg)
        self._requires_grad = bool(flag) and self.node is None
        return self

    def retain_grad(self):
        """Keep the gradient of this intermediate Tensor (autograd-06)."""
        if not self.requires_grad:
            msg = "retain_grad: the Tensor does not require grad"
            raise RuntimeError(msg)
        self.keeps_grad = True

    def register_hook(self, hook):
        """Call `hook(grad)` in backward (autograd-07)."""
        if not callable(hook):
            msg = f"register_hook takes a function, got {type(hook).__name__}"
            raise TypeError(msg)
        if not self.requires_grad:
            msg = "register_hook: the Tensor does not require grad"
            raise RuntimeError(msg)
        return Handle(self.hooks, hook)

    def backward(self, grad=None, retain_graph=False, create_graph=False, inputs=None):
        """Fill `grad` of the leaves, or of `inputs` (autograd-01, autograd-40)."""
        if create_graph:
            msg = "backward: there are no second derivatives here (capability double_backward)"
            raise RuntimeError(msg)
        named = None if inputs is None else named_inputs("backward", inputs)
        start = start_of("backward", self, grad)
        run = Pass(Tensor, retain_graph, None if named is None else {id(t) for t in named})
        run.begin([(self, start)])
        for tensor in {id(t): t for t in named or ()}.values():
            if id(tensor) in run.found:
                run.fill(tensor, run.found[id(tensor)])

    def detach(self):
        """Share the values, without history."""
        return Tensor(self._data)

    def numpy(self):
        """Return the array; a Tensor that requires grad refuses."""
        if self.requires_grad:
            msg = "numpy: the Tensor requires grad; use detach().numpy()"
            raise RuntimeError(msg)
        return self._data

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        return np.array(array, dtype=dtype) if copy else np.asarray(array, dtype=dtype)

    def item(self):
        """Return the Python number of a one-element Tensor."""
        if self.size != 1:
            msg = f"item: wants one element, got shape {self.shape}"
            raise ValueError(msg)
        return self._data.item()

    def tolist(self):
        """Return nested lists."""
        return self._data.tolist()

    def __len__(self):
        if not self.ndim:
            msg = "len: a Tensor without axes has no length"
            raise TypeError(msg)
        return self.shape[0]

    def __iter__(self):
        if not self.ndim:
            msg = "iter: a Tensor without axes cannot be iterated"
            raise TypeError(msg)
        return (self[i] for i in range(len(self)))

    def __float__(self):
        return float(self.item())

    def __int__(self):
        return int(self.item())

    def __bool__(self):
        return bool(self.item())

    def __index__(self):
        if self.dtype.kind not in "iu":
            msg = f"index: wants an integer, got {self.dtype}"
            raise TypeError(msg)
        return int(self.item())

    def __contains__(self, value):
        return bool((self._data == value).any())

    def __repr__(self):
        wanted = ", requires_grad=True" if self.requires_grad else ""
        return f"Tensor({np.array2string(self._data, separator=', ')}, {self.dtype}{wanted})"

    def __format__(self, spec):
        return format(self.item(), spec) if spec else repr(self)

    __hash__ = object.__hash__

    def __getitem__(self, key):
        key = plain_key(key)
        return record("index", lambda x: x[key], self)

    def __setitem__(self, key, value):
        msg = "x[key] = value is not supported: Tensors are not written into; see ops.put"
        raise TypeError(msg)

    def __deepcopy__(self, memo):
        if self.node is not None:
            msg = "deepcopy: of a leaf only; use detach()"
            raise RuntimeError(msg)
        new = type(self).__new__(type(self))
        memo[id(self)] = new
        Tensor.__init__(new, self._data.copy())
        for name, value in vars(self).items():
            if name not in vars(new):
                setattr(new, name, copy.deepcopy(value, memo))
        new._requires_grad = self._requires_grad
        new._grad = None if self._grad is None else Tensor(self._grad.data.copy())
        return new


def plain_key(key):
    """Return an index of NumPy's from what may hold Tensors and lists."""
    if isinstance(key, tuple):
        return tuple(plain_key(part) for part in key)
    if isinstance(key, Tensor):
        key = key.data
    if isinstance(key, (list, range)):
        key = np.asarray(key) if len(key) else np.zeros(0, np.int64)
    return key.copy() if isinstance(key, np.ndarray) else key


def record(name, function, *tensors):
    """Compute an operation on Tensors; NumPy's refusals get its name and the shapes."""
    try:
        value, node = differentiated(name, function, tensors)
    except (ValueError, IndexError, TypeError) as error:
        shapes = ", ".join(str(t.shape) for t in tensors)
        msg = f"{name}: {' '.join(str(error).split())} (shapes {shapes})"
        raise type(error)(msg) from None
    return Tensor(np.asarray(value), node=node)


def named_inputs(operation, inputs):
    """Check the Tensors that gradients are asked for (autograd-40)."""
    found = [inputs] if isinstance(inputs, Tensor) else inputs
    if not isinstance(found, (list, tuple)) or not all(isinstance(t, Tensor) for t in found):
        msg = f"{operation}: inputs must be a Tensor or a list of Tensors, got {inputs!r}"
        raise TypeError(msg)
    if not found:
        msg = f"{operation}: inputs must name a Tensor, got none"
        raise ValueError(msg)
    for place, tensor in enumerate(found):
        if not tensor.requires_grad:
            msg = f"{operation}: inputs[{place}] does not require grad"
            raise RuntimeError(msg)
    return found


def start_of(operation, tensor, grad):
    """Return the gradient that a backward pass begins with (autograd-02, autograd-05)."""
    if not tensor.requires_grad:
        msg = f"{operation}: the Tensor does not require grad"
        raise RuntimeError(msg)
    if grad is None:
        if tensor.size != 1:
            msg = f"{operation}: only a scalar has an implicit gradient, got shape {tensor.shape}"
            raise RuntimeError(msg)
        return np.ones(tensor.shape, tensor.dtype)
    array = grad.data if isinstance(grad, Tensor) else np.asarray(grad)
    if array.dtype.kind == "c":
        msg = f"{operation}: a gradient of {tensor.dtype} cannot be {array.dtype}"
        raise TypeError(msg)
    if array.shape != tensor.shape:
        msg = f"{operation}: the gradient must have shape {tensor.shape}, got {array.shape}"
        raise RuntimeError(msg)
    return array.astype(tensor.dtype)
