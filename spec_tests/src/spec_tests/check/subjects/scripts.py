"""Scripts that run on their own: ``forward``, ``gradients`` and ``second``, arrays in and out.

What follows a head needs to know nothing of the backend, and no head needs `spec_tests`.
"""

from typing import Any

from spec_tests.check.target import OURS, Target

_HEAD = """
import numpy as np
{imports}
{source}
apply = {apply}
"""
_STRIDED = '''
def tensor(a, requires_grad):
    """Return a tensor with the values of an array, and strides as awkward as its."""
    make = lambda b: {make}(np.array(b, order="C"))
    still = [n > 1 and s == 0 for n, s in zip(a.shape, a.strides)]
    if a.flags.c_contiguous:
        t = make(a)
    elif any(still):
        part = make(a[tuple(slice(0, 1) if s else slice(None) for s in still)])
        t = {ops}.broadcast_to(part, a.shape)
    elif a.flags.f_contiguous:
        t = {ops}.{permute}(make(a.T), tuple(range(a.ndim))[::-1])
    else:
        t = make(np.repeat(a, 2, axis=-1))[..., ::2]
    return t.requires_grad_(requires_grad)
'''
_MADE = """
def made(values, wanted):
    wanted = wanted or [isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in values]
    inputs = [tensor(v, w) if isinstance(v, np.ndarray) else v for v, w in zip(values, wanted)]
    result = apply(*inputs)
    return inputs, wanted, list(result) if isinstance(result, (tuple, list)) else [result]
"""
_FORWARD = """
def forward(values, wanted=None):
    return [y.detach().numpy().copy() for y in made(values, wanted)[2]]
"""
_GRADIENTS = """
def gradients(values, cotangents, wanted=None, between=None):
    inputs, wanted, outputs = made(values, wanted)
    if between:
        between(inputs, outputs)
    pairs = [(y, tensor(np.asarray(u), False)) for y, u in zip(outputs, cotangents)
             if y.requires_grad and u is not None]
    leaves = [x for x, w in zip(inputs, wanted) if w]
    if not pairs or not leaves:
        return [None] * len(values)
    got = iter(grad([y for y, _ in pairs], leaves, grad_outputs=[u for _, u in pairs],
                    retain_graph=True, allow_unused=True))
    got = [next(got) if w else None for w in wanted]
    return [None if g is None else g.detach().numpy().copy() for g in got]
"""
_SECOND = '''
def second(values, cotangents, directions, wanted=None):
    """Differentiate sum_k <gradient_k, direction_k> by the inputs, and by the cotangents."""
    inputs, wanted, outputs = made(values, wanted)
    leaves = [x for x, w in zip(inputs, wanted) if w]
    pairs = [(y, tensor(np.asarray(u), True)) for y, u in zip(outputs, cotangents)
             if y.requires_grad]
    first = grad([y for y, _ in pairs], leaves, grad_outputs=[u for _, u in pairs],
                 create_graph=True, allow_unused=True)
    kept = [(g, tensor(np.asarray(d), False)) for g, d in zip(first, directions)
            if g is not None and g.requires_grad]
    ends = leaves + [u for _, u in pairs]
    got = grad([g for g, _ in kept], ends, grad_outputs=[d for _, d in kept],
               allow_unused=True) if kept else [None] * len(ends)
    got = [None if g is None else g.detach().numpy().copy() for g in got]
    return got[:len(leaves)], got[len(leaves):]
'''
_OURS = """import {label} as nn
"""
_TENSOR = """
grad = nn.grad


def tensor(a, requires_grad):
    return nn.tensor(np.array(a, order="C"), requires_grad=requires_grad)
"""
_TORCH = """import torch
"""
_TENSOR_TORCH = """
grad = torch.autograd.grad


def tensor(a, requires_grad):
    return torch.tensor(a).requires_grad_(requires_grad)
"""
# Words of a body that make an array with awkward strides.
_AWKWARD = ("np.repeat(", "np.broadcast_to(", "order='C').T")
_JAX = '''
import numpy as np
import jax

jax.config.update("jax_enable_x64", True)

{source}
config = {config!r}


def closed(values, wanted):
    wanted = wanted or [isinstance(v, np.ndarray) and v.dtype.kind == "f" for v in values]
    rest = [jax.numpy.asarray(v) if isinstance(v, np.ndarray) else v for v in values]

    def fn(*inputs):
        given = iter(inputs)
        result = target(*[next(given) if w else v for v, w in zip(rest, wanted)], **config)
        return tuple(result) if isinstance(result, (tuple, list)) else (result,)

    return fn, [v for v, w in zip(rest, wanted) if w], wanted


def weights(outputs, cotangents):
    return tuple(
        np.zeros(y.shape, jax.dtypes.float0) if y.dtype.kind != "f"
        else jax.numpy.zeros(y.shape, y.dtype) if u is None else jax.numpy.asarray(u, y.dtype)
        for y, u in zip(outputs, cotangents))


def forward(values, wanted=None):
    """Return the outputs."""
    fn, leaves, _ = closed(values, wanted)
    return [np.array(y) for y in fn(*leaves)]


def gradients(values, cotangents, wanted=None, between=None):
    """Return the gradient of each input, None where there is none."""
    fn, leaves, wanted = closed(values, wanted)
    outputs, pull = jax.vjp(fn, *leaves)
    got = iter(pull(weights(outputs, cotangents)))
    return [np.array(next(got)) if w else None for w in wanted]


def second(values, cotangents, directions, wanted=None):
    """Differentiate sum_k <gradient_k, direction_k> by the inputs, and by the cotangents."""
    fn, leaves, wanted = closed(values, wanted)
    at = [k for k, y in enumerate(forward(values, wanted)) if y.dtype.kind == "f"]

    def total(inputs, floats):
        outputs, pull = jax.vjp(fn, *inputs)
        full = list(weights(outputs, [None] * len(outputs)))
        for k, u in zip(at, floats):
            full[k] = u
        return sum((g * d).sum() for g, d in zip(pull(tuple(full)), directions))

    floats = [jax.numpy.asarray(cotangents[k]) for k in at]
    by_input, by_weight = jax.grad(total, argnums=(0, 1))(leaves, floats)
    return [np.array(g) for g in by_input], [np.array(g) for g in by_weight]
'''


def implementation(target: Target, label: str, config: dict[str, Any], body: str) -> str:
    """Return a script of a body for a Function on an implementation."""
    function = "target" if target.kind == OURS else "nn.as_function(target)"
    named = "".join(f", {name}={value!r}" for name, value in config.items())
    apply = f"{function}.apply"
    if named:
        apply = f"lambda *inputs: {function}.apply(*inputs{named})"
    head = _HEAD.format(imports=_OURS.format(label=label), source=target.source, apply=apply)
    tensor = _TENSOR
    if _awkward(body):
        filled = _STRIDED.format(make="nn.tensor", ops="nn.ops", permute="permute_dims")
        tensor = f"grad = nn.grad\n\n{filled}"
    return _assembled(head, tensor, body)


def torch(target: Target, body: str) -> str:
    """Return a script of a body for a `torch.autograd.Function`."""
    head = _HEAD.format(imports=_TORCH, source=target.source, apply="target.apply")
    tensor = _TENSOR_TORCH
    if _awkward(body):
        filled = _STRIDED.format(make="torch.tensor", ops="torch", permute="permute")
        tensor = f"grad = torch.autograd.grad\n\n{filled}"
    return _assembled(head, tensor, body)


def jax(target: Target, config: dict[str, Any], body: str) -> str:
    """Return a script of a body for a function of JAX."""
    return _JAX.format(source=target.source, config=config).lstrip() + f"\n\n{body.strip()}\n"


def _awkward(body: str) -> bool:
    return any(words in body for words in _AWKWARD)


def _assembled(head: str, tensor: str, body: str) -> str:
    """Return a script with the helpers that its body uses, and no others."""
    parts = [head.strip(), tensor.strip()]
    helpers = {"forward": _FORWARD, "gradients": _GRADIENTS, "second": _SECOND}
    used = [text.strip() for name, text in helpers.items() if f"{name}(" in body]
    if used or "made(" in body:
        parts.append(_MADE.strip())
    return "\n\n\n".join([*parts, *used, body.strip()]) + "\n"
