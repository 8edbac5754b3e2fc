"""HIPS autograd differentiates each operation by itself; a tape ties them together."""

import contextlib
import functools
import heapq
import itertools
import threading

import autograd.numpy as anp
import numpy as np
from autograd.core import VJPNode, backward_pass
from autograd.tracer import isbox, new_box, trace_stack

_numbers = itertools.count()
_state = threading.local()
# HIPS autograd counts its traces in one place for all threads.
_lock = threading.RLock()


def is_grad_enabled():
    """Tell whether this thread records."""
    return getattr(_state, "enabled", True)


class set_grad_enabled(contextlib.ContextDecorator):
    """A statement, a context manager and a decorator (autograd-23)."""

    def __init__(self, flag):
        self._flag = bool(flag)
        self._before = [is_grad_enabled()]
        _state.enabled = self._flag

    def __enter__(self):
        self._before.append(is_grad_enabled())
        _state.enabled = self._flag
        return self

    def __exit__(self, *exception):
        _state.enabled = self._before.pop()
        if len(self._before) == 1:
            _state.enabled = self._before[0]

    def __call__(self, function):
        """Decorate, and leave the mode here as it was."""
        _state.enabled = self._before[0]
        return _decorated(self._flag, function)


class _Mode(contextlib.ContextDecorator):
    def __init__(self, flag):
        self._flag, self._before = flag, threading.local()

    def __enter__(self):
        stack = self._before.__dict__.setdefault("stack", [])
        stack.append(is_grad_enabled())
        _state.enabled = self._flag
        return self

    def __exit__(self, *exception):
        _state.enabled = self._before.stack.pop()

    def __call__(self, function):
        return _decorated(self._flag, function)


def _decorated(flag, function):
    if not callable(function) or isinstance(function, type):
        msg = f"no_grad and enable_grad decorate functions, got {function!r}"
        raise TypeError(msg)

    @functools.wraps(function)
    def call(*args, **kwargs):
        with _Mode(flag):
            return function(*args, **kwargs)

    return call


def no_grad(function=None):
    """Record nothing: a context manager and a decorator (autograd-08)."""
    return _Mode(False) if function is None else _decorated(False, function)


def enable_grad(function=None):
    """Record: a context manager and a decorator (autograd-08)."""
    return _Mode(True) if function is None else _decorated(True, function)


class Node:
    """One recorded operation, or one application of a Function.

    `pull` takes the gradients of the outputs to a list of gradients, one for each of `inputs`.
    """

    __slots__ = ("__weakref__", "inputs", "name", "number", "outputs", "pull", "saved")

    def __init__(self, name, inputs, pull, outputs, saved=True):
        self.name, self.inputs, self.pull, self.outputs = name, inputs, pull, outputs
        self.number, self.saved = next(_numbers), saved

    def gradients(self, arrived, keep):
        """Run the operation backward and let go of what it kept, unless told to keep it."""
        if self.pull is None:
            freed = "the graph was freed by an earlier backward"
            msg = f"{self.name}: {freed}; retain_graph=True keeps it"
            raise RuntimeError(msg)
        with np.errstate(all="ignore"):
            found = self.pull(arrived)
        if not keep and self.saved:
            self.pull = None
        return found


def _traced(function, arrays):
    """Return what takes a gradient back, None where the value depends on nothing, and the value."""
    with _lock, trace_stack.new_trace() as trace:
        found = function(new_box(arrays, trace, VJPNode.new_root()))
    if not isbox(found):
        return None, found
    end = found._node

    def pull(gradient):
        with _lock:
            return backward_pass(gradient, end)

    return pull, found._value


def differentiated(name, function, tensors):
    """Compute `function` of the Tensors' arrays; return the value and the node, or None."""
    wanted = [i for i, t in enumerate(tensors) if t.requires_grad] if is_grad_enabled() else []
    arrays = [t.data for t in tensors]
    with np.errstate(all="ignore"):
        if not wanted:
            return function(*arrays), None
        # What the operation keeps must stay what it was (autograd-24, autograd-25).
        arrays = [np.array(a) for a in arrays]

        def of_wanted(chosen):
            everything = list(arrays)
            for place, array in zip(wanted, chosen, strict=True):
                everything[place] = array
            return function(*everything)

        pull, value = _traced(of_wanted, tuple(arrays[i] for i in wanted))
    # HIPS keeps the result too, and whoever gets ours may write into it.
    value = np.array(value)
    if pull is None or value.dtype.kind != "f":
        return value, None
    inputs = [tensors[i] for i in wanted]
    dtypes = [t.dtype for t in inputs]
    shapes = [t.shape for t in inputs]

    def pulled(arrived):
        found = pull(arrived[0])
        return [
            anp.broadcast_to(np.asarray(g, dtype), shape)
            for g, dtype, shape in zip(found, dtypes, shapes, strict=True)
        ]

    return value, Node(name, inputs, pulled, [(value.shape, value.dtype)])


class Pass:
    """One backward pass; nodes run newest first, so that each one's gradients are complete."""

    def __init__(self, wrap, keep, wanted=None):
        self.wrap, self.keep, self.wanted = wrap, keep, wanted
        self.heap, self.waiting, self.leaves, self.found = [], {}, {}, {}
        self.needed = None

    def begin(self, pairs):
        """Run backward from pairs of Tensors and their gradients."""
        if self.wanted is not None:
            self.needed = _leading_to(self.wanted, [tensor for tensor, _ in pairs])
        for tensor, gradient in pairs:
            self.send(tensor, gradient)
        self.run()

    def send(self, tensor, gradient):
        """Add a gradient to what waits for a Tensor, unless nothing wanted lies that way."""
        if self.needed is not None and id(tensor) not in self.needed:
            return
        if tensor.node is None:
            before = self.leaves.get(id(tensor))
            total = gradient if before is None else before[1] + gradient
            self.leaves[id(tensor)] = (tensor, total)
            return
        node = tensor.node
        if node.number not in self.waiting:
            heapq.heappush(self.heap, -node.number)
            self.waiting[node.number] = (node, {}, {})
        _, slots, owners = self.waiting[node.number]
        slots[tensor.slot] = slots[tensor.slot] + gradient if tensor.slot in slots else gradient
        owners.setdefault(tensor.slot, []).append(tensor)

    def run(self):
        """Run all that was sent; fill nothing yet."""
        while self.heap:
            number = -heapq.heappop(self.heap)
            node, slots, owners = self.waiting.pop(number)
            for slot, tensors in owners.items():
                for tensor in {id(t): t for t in tensors}.values():
                    slots[slot] = self.seen(tensor, slots[slot])
            arrived = [slots.get(slot) for slot in range(len(node.outputs))]
            for tensor, gradient in zip(
                node.inputs, node.gradients(arrived, self.keep), strict=True
            ):
                if gradient is not None:
                    self.send(tensor, gradient)
        leaves = [(tensor, self.seen(tensor, g)) for tensor, g in self.leaves.values()]
        if self.wanted is None:
            for tensor, gradient in leaves:
                if tensor.requires_grad:
                    self.fill(tensor, gradient)

    def seen(self, tensor, gradient):
        """Show a gradient to a Tensor's hooks, and keep it where it is wanted."""
        for hook in list(tensor.hooks.values()):
            answer = hook(self.wrap(np.array(gradient)))
            if answer is not None:
                gradient = self.answer(tensor, answer)
        if self.wanted is not None:
            if id(tensor) in self.wanted:
                self.found[id(tensor)] = gradient
        elif tensor.keeps_grad and tensor.node is not None:
            self.fill(tensor, gradient)
        return gradient

    def answer(self, tensor, answer):
        """Check what a hook returned (autograd-26)."""
        array = getattr(answer, "data", None)
        if not isinstance(array, np.ndarray):
            msg = f"a hook must return None or a Tensor, got {type(answer).__name__}"
            raise TypeError(msg)
        if array.shape != tensor.shape or array.dtype != tensor.dtype:
            msg = (
                f"a hook must return a gradient of shape {tensor.shape} and dtype {tensor.dtype}, "
                f"got {array.shape} and {array.dtype}"
            )
            raise ValueError(msg)
        return array

    def fill(self, tensor, gradient):
        """Add to a Tensor's `grad`."""
        with _lock:
            array = np.array(gradient, dtype=tensor.dtype)
            if tensor.grad is not None:
                array = tensor.grad.data + array
            tensor.assign_grad(self.wrap(array))


def _leading_to(wanted, tensors):
    """Return the ids of the Tensors from which a way leads to one that is wanted."""
    nodes, waiting = {}, list(tensors)
    while waiting:
        node = waiting.pop().node
        if node is not None and node.number not in nodes:
            nodes[node.number] = node
            waiting += node.inputs
    leads, there = set(wanted), set()
    for number in sorted(nodes):
        found = [id(t) for t in nodes[number].inputs if id(t) in leads or _made_by(t, there)]
        leads.update(found)
        if found:
            there.add(number)
    leads.update(id(t) for t in tensors if _made_by(t, there))
    return leads


def _made_by(tensor, numbers):
    return tensor.node is not None and tensor.node.number in numbers
