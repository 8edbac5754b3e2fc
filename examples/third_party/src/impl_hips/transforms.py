"""`grad`, `value_and_grad` and `vjp`: functions of functions (autograd.md)."""

import numpy as np

from impl_hips.tape import Pass, enable_grad
from impl_hips.tensor import Tensor, named_inputs, start_of


def leaves_of(tree):
    """Return the Tensors of a structure of dicts, lists and tuples, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    parts = (
        tree.values() if isinstance(tree, dict) else tree if isinstance(tree, (list, tuple)) else ()
    )
    return [leaf for part in parts for leaf in leaves_of(part)]


def rebuilt(tree, make):
    """Return a structure of the same classes with `make(leaf)` in each Tensor's place."""
    if isinstance(tree, Tensor):
        return make(tree)
    if isinstance(tree, dict):
        new = tree.copy()
        for key, part in tree.items():
            new[key] = rebuilt(part, make)
        return new
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(rebuilt(part, make) for part in tree))
    if isinstance(tree, (list, tuple)):
        return type(tree)(rebuilt(part, make) for part in tree)
    return tree


def _followed(tree):
    return rebuilt(tree, lambda t: Tensor(t.data, requires_grad=t.dtype.kind == "f"))


def _detached(tree):
    return rebuilt(tree, lambda t: t.detach())


def _gradients(outputs, starts, inputs, keep):
    run = Pass(Tensor, keep, {id(t) for t in inputs})
    pairs = zip(outputs, starts, strict=True)
    run.begin([(output, start) for output, start in pairs if output.requires_grad])
    return run.found


def _like(tree, found):
    zero = lambda t: found.get(id(t), np.zeros(t.shape, t.dtype))  # noqa: E731
    return rebuilt(tree, lambda t: Tensor(np.array(zero(t), dtype=t.dtype)))


def grad(fn, *args, **options):
    """Return the function that gives gradients, or gradients of Tensors (autograd-14, -41)."""
    if not callable(fn):
        return _of_tensors(fn, *args, **options)
    gradient = value_and_grad(fn, *args, **options)
    return lambda *a, **k: gradient(*a, **k)[1]


def value_and_grad(fn, argnums=0, has_aux=False, create_graph=False):
    """Return the function that gives the value and the gradient (autograd-15)."""
    _refuse("value_and_grad", create_graph)

    def run(*args, **kwargs):
        places = argnums if isinstance(argnums, tuple) else (argnums,)
        args = [
            _followed(a) if i in [p % len(args) for p in places] else a for i, a in enumerate(args)
        ]
        with enable_grad():
            came = fn(*args, **kwargs)
        value, aux = came if has_aux else (came, None)
        if not isinstance(value, Tensor):
            msg = f"grad: the function must return a Tensor, got {type(value).__name__}"
            raise TypeError(msg)
        if value.size != 1:
            msg = f"grad: the function must return a scalar, got shape {value.shape}"
            raise ValueError(msg)
        chosen = [args[place] for place in places]
        one = np.ones(value.shape, value.dtype)
        found = _gradients([value], [one], leaves_of(chosen), False)
        gradients = tuple(_like(tree, found) for tree in chosen)
        value = value.detach()
        value = (value, _detached(aux)) if has_aux else value
        return value, gradients if isinstance(argnums, tuple) else gradients[0]

    return run


def vjp(fn, *primals, create_graph=False):
    """Return the result and the function that pulls cotangents back (autograd-16)."""
    _refuse("vjp", create_graph)
    followed = [_followed(p) for p in primals]
    with enable_grad():
        output = fn(*followed)
    outputs = leaves_of(output)

    def pull(cotangent):
        given = leaves_of(cotangent)
        if len(given) != len(outputs):
            msg = f"vjp: the cotangent must have {len(outputs)} Tensors, got {len(given)}"
            raise ValueError(msg)
        starts = []
        for place, (one, of) in enumerate(zip(given, outputs, strict=True)):
            if one.shape != of.shape:
                msg = f"vjp: cotangent {place} must have shape {of.shape}, got {one.shape}"
                raise ValueError(msg)
            starts.append(one.data.astype(of.dtype))
        found = _gradients(outputs, starts, leaves_of(followed), True)
        return tuple(_like(tree, found) for tree in followed)

    return _detached(output), pull


def _of_tensors(outputs, inputs, grad_outputs=None, *, retain_graph=None, create_graph=False,
                allow_unused=False):  # fmt: skip
    _refuse("grad", create_graph)
    outputs = [outputs] if isinstance(outputs, Tensor) else outputs
    if not isinstance(outputs, (list, tuple)) or not all(isinstance(t, Tensor) for t in outputs):
        msg = f"grad: outputs must be a Tensor or a list of Tensors, got {outputs!r}"
        raise TypeError(msg)
    if not outputs:
        msg = "grad: outputs must name a Tensor, got none"
        raise ValueError(msg)
    inputs = named_inputs("grad", inputs)
    weights = [grad_outputs] if isinstance(grad_outputs, Tensor) else grad_outputs
    weights = [None] * len(outputs) if weights is None else weights
    if len(weights) != len(outputs):
        msg = f"grad: {len(outputs)} outputs take as many grad_outputs, got {len(weights)}"
        raise ValueError(msg)
    starts = []
    for place, (output, weight) in enumerate(zip(outputs, weights, strict=True)):
        if not output.requires_grad:
            msg = f"grad: outputs[{place}] does not require grad"
            raise RuntimeError(msg)
        starts.append(start_of("grad", output, weight))
    found = _gradients(outputs, starts, inputs, bool(retain_graph))
    for place, tensor in enumerate(inputs):
        if id(tensor) not in found and not allow_unused:
            msg = f"grad: inputs[{place}] is not used; allow_unused=True gives None for it"
            raise RuntimeError(msg)
    return tuple(
        Tensor(np.array(found[id(t)], dtype=t.dtype)) if id(t) in found else None for t in inputs
    )


def jit(fn):
    """Return the function itself: nothing is compiled here (autograd-20)."""
    return fn


def checkpoint(fn, *args):
    """Call the function: nothing is forgotten here (autograd-39)."""
    if not callable(fn):
        msg = f"checkpoint: wants a function, got {type(fn).__name__}"
        raise TypeError(msg)
    return fn(*args)


def _refuse(operation, create_graph):
    if create_graph:
        msg = f"{operation}: there are no second derivatives here (capability double_backward)"
        raise RuntimeError(msg)
