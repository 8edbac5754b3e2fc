"""Functions whose forward and backward are written by hand (function.md)."""

import dataclasses
import functools
import inspect
from collections import deque
from collections.abc import Mapping, Set, ValuesView

import numpy as np

from impl_hips import dtypes
from impl_hips.tape import Node, is_grad_enabled, no_grad
from impl_hips.tensor import Tensor


class Context:
    """The ctx of one call."""

    xp = np

    def save_for_backward(self, *items):
        """Keep raw arrays, Tensors and None (function-07)."""
        saved = []
        for item in items:
            item = item.data if isinstance(item, Tensor) else item
            if item is not None and not isinstance(item, np.ndarray):
                msg = f"save_for_backward takes arrays, Tensors and None, got {type(item).__name__}"
                raise TypeError(msg)
            saved.append(item)
        self.__dict__["_saved"] = tuple(saved)

    @property
    def saved_tensors(self):
        """What was saved, as copies, so that `backward` cannot change it (function-27)."""
        return tuple(None if a is None else a.copy() for a in self.__dict__.get("_saved", ()))

    @property
    def needs_input_grad(self):
        """A bool for each positional input."""
        return self.__dict__["_needs"]

    def set_materialize_grads(self, flag):
        """Say whether an unused output's gradient is zeros (function-15)."""
        self.__dict__["_materialize"] = bool(flag)

    def mark_non_differentiable(self, *outputs):
        """Name outputs that require no grad (function-16)."""
        self.__dict__["_marked"] = [id(output) for output in outputs]

    def mark_dirty(self, *_):
        """Refuse: Functions do not modify their inputs (function-16)."""
        msg = "mark_dirty: Functions do not modify their inputs"
        raise RuntimeError(msg)


def _is_static(cls, method):
    return isinstance(inspect.getattr_static(cls, method, None), staticmethod)


class Function(Context):
    """The base of both spellings."""

    @classmethod
    def apply(cls, *inputs, **config):
        """Apply the Function to Tensors (function-01)."""
        static = _is_static(cls, "forward") or _is_static(cls, "backward")
        return _apply(cls, Context() if static else cls(), inputs, config)

    def __call__(self, *inputs, **config):
        """Apply this instance, which is the ctx (function-02)."""
        return _apply(type(self), self, inputs, config)


def _method(cls, ctx, name):
    if not hasattr(cls, name):
        msg = f"{cls.__name__}: the Function has no {name}"
        raise NotImplementedError(msg)
    method = getattr(cls, name)
    return functools.partial(method, ctx)


def _apply(cls, ctx, inputs, config):
    if "_used" in ctx.__dict__:
        msg = f"{cls.__name__}: an instance serves one call; a new instance is needed"
        raise RuntimeError(msg)
    forward = _method(cls, ctx, "forward")
    _check_places(cls, ctx, inputs, config)
    wanted = [isinstance(x, Tensor) and x.requires_grad and is_grad_enabled() for x in inputs]
    ctx.__dict__["_used"], ctx.__dict__["_needs"] = True, tuple(wanted)
    raw = [_own(x) for x in inputs]
    with no_grad(), np.errstate(all="ignore"):
        came = forward(*raw, **config)
    # An instance that is held keeps no arrays: the graph does (function-26).
    saved = ctx.__dict__.pop("_saved", ())
    several = isinstance(came, tuple)
    arrays = [_output(cls, value) for value in (came if several else (came,))]
    marked = ctx.__dict__.get("_marked", ())
    returned = came if several else (came,)
    follow = [
        any(wanted) and array.dtype.kind == "f" and id(value) not in marked
        for array, value in zip(arrays, returned, strict=True)
    ]
    if not any(follow):
        found = [Tensor(array) for array in arrays]
        return tuple(found) if several else found[0]
    shapes = [(array.shape, array.dtype) for array in arrays]
    tensors = [x for x in inputs if isinstance(x, Tensor) and x.requires_grad]
    node = Node(cls.__name__, tensors, _puller(cls, ctx, saved, inputs, shapes), shapes)
    found = [
        Tensor(array.copy(), node=node, slot=slot) if follows else Tensor(array)
        for slot, (array, follows) in enumerate(zip(arrays, follow, strict=True))
    ]
    return tuple(found) if several else found[0]


def _own(value):
    """Give `forward` an array of its own, so that it can change nobody's (function-27)."""
    value = value.data if isinstance(value, Tensor) else value
    return value.copy() if isinstance(value, np.ndarray) else value


def _output(cls, value):
    value = value.data if isinstance(value, Tensor) else value
    if isinstance(value, np.generic):
        value = np.asarray(value)
    if not isinstance(value, np.ndarray):
        msg = f"{cls.__name__}: forward must return arrays, got {type(value).__name__}"
        raise TypeError(msg)
    dtypes.checked(cls.__name__, value.dtype)
    return value


def _puller(cls, ctx, saved, inputs, shapes):
    kinds = [(x.shape, x.dtype) if isinstance(x, Tensor) else str(x is None and x) for x in inputs]
    places = [i for i, x in enumerate(inputs) if isinstance(x, Tensor) and x.requires_grad]
    count = len(inputs)

    def pull(arrived):
        backward = _method(cls, ctx, "backward")
        materialize = ctx.__dict__.get("_materialize", True)
        given = [
            np.array(g) if g is not None else np.zeros(*kind) if materialize else None
            for g, kind in zip(arrived, shapes, strict=True)
        ]
        ctx.__dict__["_saved"] = saved
        try:
            with no_grad():
                came = backward(*given)
        finally:
            del ctx.__dict__["_saved"]
        return _gradients(cls, came, count, kinds, places)

    return pull


def _gradients(cls, came, count, kinds, places):
    came = list(came) if isinstance(came, (tuple, list)) else [came]
    # Only inputs that are None may be left out at the end (function-11).
    if len(came) > count or any(kinds[i] != "None" for i in range(len(came), count)):
        msg = f"{cls.__name__}: backward must return {count} gradients, got {len(came)}"
        raise ValueError(msg)
    came += [None] * (count - len(came))
    found = []
    for place in places:
        gradient = came[place]
        gradient = gradient.data if isinstance(gradient, Tensor) else gradient
        if gradient is None:
            found.append(None)
            continue
        if isinstance(gradient, np.generic):
            gradient = np.asarray(gradient)
        _check_gradient(cls, place, gradient, *kinds[place])
        found.append(gradient)
    return found


def _check_gradient(cls, place, gradient, shape, dtype):
    if not isinstance(gradient, np.ndarray):
        msg = f"{cls.__name__}: gradient {place} must be an array, got {type(gradient).__name__}"
        raise TypeError(msg)
    if dtype.kind == "f" and gradient.shape != shape:
        msg = f"{cls.__name__}: gradient {place} must have shape {shape}, got {gradient.shape}"
        raise ValueError(msg)
    if dtype.kind == "f" and gradient.dtype != dtype:
        msg = f"{cls.__name__}: gradient {place} must have dtype {dtype}, got {gradient.dtype}"
        raise TypeError(msg)


def _check_places(cls, ctx, inputs, config):
    """Refuse Tensors that require grad where their gradient would be lost (function-29)."""
    kept = {key: value for key, value in ctx.__dict__.items() if not key.startswith("_")}
    hidden = [(f"inputs[{i}]", x) for i, x in enumerate(inputs) if not isinstance(x, Tensor)]
    hidden += [(f"the keyword {key}", value) for key, value in config.items()]
    hidden += [(f"the attribute {key}", value) for key, value in kept.items()]
    seen = set()
    while hidden and is_grad_enabled():
        where, value = hidden.pop()
        if isinstance(value, Tensor) and value.requires_grad:
            msg = f"{cls.__name__}: a Tensor that requires grad in {where}: pass it by itself"
            raise TypeError(msg)
        # An argument may hold itself.
        if id(value) not in seen:
            seen.add(id(value))
            hidden += [(f"{where}{place}", item) for place, item in _inside(value)]


def _inside(value):
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [(f".{f.name}", getattr(value, f.name, None)) for f in dataclasses.fields(value)]
    if isinstance(value, Mapping):
        return [(f"[{key!r}]", item) for key, item in value.items()]
    if isinstance(value, (list, tuple, deque, Set, ValuesView)):
        return [(f"[{place}]", item) for place, item in enumerate(value)]
    return []


def as_function(cls):
    """Make a portable class into a Function of this implementation (function-19)."""
    for name in ("forward", "backward"):
        if not hasattr(cls, name):
            msg = f"as_function: {cls.__name__} has no {name}"
            raise TypeError(msg)
    return type(
        cls.__name__, (cls, Function), {"__doc__": cls.__doc__, "__module__": cls.__module__}
    )


def once_differentiable(backward):
    """Mark a backward; there are no second derivatives here, so nothing else is to do."""
    return backward
