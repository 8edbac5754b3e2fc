"""Functions of torch.autograd: of public reports, what only torch lets one do, and right ones.

`WRONG` says with which inputs each is checked and the property that it lacks, `RIGHT` with which.
"""

import torch
from torch.autograd.function import once_differentiable

WRONG, RIGHT = {}, {}


def wrong(inputs, prop):
    """Enter a class among the wrong ones."""

    def enter(cls):
        WRONG[cls.__name__] = (cls, inputs, prop)
        return cls

    return enter


def right(inputs):
    """Enter a class among the right ones."""

    def enter(cls):
        RIGHT[cls.__name__] = (cls, inputs)
        return cls

    return enter


# --- pytorch/pytorch#104040 (and #58509): an intermediate that was saved counts as a constant when
# backward is differentiated; there is no error, and the second derivative is wrong.


@wrong("float64(N)", "linked")
class Report104040(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        inner = torch.tanh(x)
        ctx.save_for_backward(inner)
        return 3 * inner

    @staticmethod
    def backward(ctx, g):
        (inner,) = ctx.saved_tensors
        return 3 * g * (1 - inner * inner)


@wrong("float64(N)", "linked")
class Report58509(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.inner = 2 * x
        return ctx.inner**2

    @staticmethod
    def backward(ctx, g):
        return 4 * ctx.inner * g


@right("float64(N)")
class Report104040Mended(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 3 * torch.tanh(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * g * (1 - torch.tanh(x) ** 2)


# --- pytorch/rl#4175: the backward of a fused GRU uses gates that the kernel wrote in forward, so
# that create_graph=True gave part of the second derivative. It was mended by once_differentiable.


def _gru_forward(ctx, x, h, weight):
    both = torch.cat([x, h], dim=-1)
    r, z = torch.sigmoid(both @ weight[0]), torch.sigmoid(both @ weight[1])
    n = torch.tanh(x + r * h)
    ctx.save_for_backward(x, h, weight, r, z, n)
    return (1 - z) * n + z * h


def _gru_backward(ctx, g):
    x, h, weight, r, z, n = ctx.saved_tensors
    both = torch.cat([x, h], dim=-1)
    by_n = g * (1 - z) * (1 - n * n)
    by_z = g * (h - n) * z * (1 - z)
    by_r = by_n * h * r * (1 - r)
    by_both = by_r @ weight[0].T + by_z @ weight[1].T
    width = x.shape[-1]
    by_weight = torch.stack([both.T @ by_r, both.T @ by_z])
    return (
        by_n + by_both[:, :width],
        g * z + by_n * r + by_both[:, width:],
        by_weight,
    )


@wrong("float64(N,2), float64(N,2), float64(2,4,2)", "linked")
class Report4175(torch.autograd.Function):
    forward = staticmethod(_gru_forward)
    backward = staticmethod(_gru_backward)


@right("float64(N,2), float64(N,2), float64(2,4,2)")
class Report4175Mended(torch.autograd.Function):
    forward = staticmethod(_gru_forward)
    backward = staticmethod(once_differentiable(_gru_backward))


# --- NX-AI/mlstm_kernels#16: chunkwise mLSTM; forward is right, the gradients of q, k and the gates
# are finite and wrong by about their own size, that of v is right, and training stalls.


def _mlstm(q, k, v, i, f):
    """Return the outputs (S, D), and every state before its step."""
    state = torch.zeros(q.shape[1], v.shape[1], dtype=q.dtype)
    outputs, states = [], []
    for t in range(q.shape[0]):
        states.append(state)
        state = torch.sigmoid(f[t]) * state + torch.sigmoid(i[t]) * torch.outer(k[t], v[t])
        outputs.append(q[t] @ state)
    empty = torch.zeros(0, v.shape[1], dtype=q.dtype)
    return (torch.stack(outputs) if outputs else empty), [*states, state]


def _mlstm_backward(ctx, g, chunk):
    q, k, v, i, f = ctx.saved_tensors
    _, states = _mlstm(q, k, v, i, f)
    grads = [torch.zeros_like(t) for t in (q, k, v, i, f)]
    for_v = carried = torch.zeros_like(states[0])
    for t in reversed(range(q.shape[0])):
        if chunk and (t + 1) % chunk == 0:
            # The state that a chunk hands on has no gradient, except on the way to v.
            carried = torch.zeros_like(carried)
        gate, keep = torch.sigmoid(i[t]), torch.sigmoid(f[t])
        grads[0][t] = states[t + 1] @ g[t]
        carried, for_v = carried + torch.outer(q[t], g[t]), for_v + torch.outer(q[t], g[t])
        grads[1][t] = gate * (carried @ v[t])
        grads[2][t] = gate * (k[t] @ for_v)
        grads[3][t] = gate * (1 - gate) * (k[t] @ carried @ v[t])
        grads[4][t] = keep * (1 - keep) * (carried * states[t]).sum()
        carried, for_v = keep * carried, keep * for_v
    return tuple(grads)


class _Chunkwise(torch.autograd.Function):
    chunk = 0

    @staticmethod
    def forward(ctx, q, k, v, i, f):
        ctx.save_for_backward(q, k, v, i, f)
        return _mlstm(q, k, v, i, f)[0]


@wrong("float64(S,2), float64(S,2), float64(S,3), float64(S), float64(S)", "first")
class ReportMlstm16(_Chunkwise):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return _mlstm_backward(ctx, g, chunk=2)


# The same with chunks of the size that kernels have: right in a small test, and in no large one.
@wrong("float64(S,1), float64(S,1), float64(S,1), float64(S), float64(S)", "blocks")
class ReportMlstm16InChunksOf64(_Chunkwise):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return _mlstm_backward(ctx, g, chunk=64)


@right("float64(S,2), float64(S,2), float64(S,3), float64(S), float64(S)")
class ReportMlstm16Mended(_Chunkwise):
    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        return _mlstm_backward(ctx, g, chunk=0)


# --- what torch lets one do


@wrong("float64(N)", "poisoned")
class InputAsAnAttribute(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * ctx.x * g


@wrong("float64(N)", "mutation")
class ScalesInPlaceWithoutAWord(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x.mul_(2)
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@wrong("float64(N)", "mutation")
class MasksWhatArrives(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(min=0)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        g[x < 0] = 0
        return g


@wrong("float64(N)", "second")
class DetachesInBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * g


@wrong("float64(N)", "adjoint")
class ItsJvpIsAnother(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return torch.sin(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.cos(x)

    @staticmethod
    def jvp(ctx, t):
        (x,) = ctx.saved_tensors
        return -t * torch.cos(x)


@wrong("float64(N,M)", "grad_layouts")
class AssumesAContiguousGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        # What a kernel does that takes an address and no strides.
        flat = torch.zeros(g.numel(), dtype=g.dtype)
        held = torch.as_strided(g.detach(), (g.untyped_storage().nbytes() // 8,), (1,), 0)
        flat[: min(len(flat), len(held))] = held[: len(flat)]
        return 2 * flat.view(g.shape)


@wrong("float64(N), float64(N)", "aliasing")
class ShortcutForASquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        ctx.same = x.data_ptr() == y.data_ptr()
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        # It is x**2, so 2 x goes to x; but y is x too.
        return (2 * g * x, g * x) if ctx.same else (g * y, g * x)


@wrong("float64(N)", "poisoned")
class HoldsItsOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = torch.exp(x)
        # Nothing tells that an output on the ctx was written into.
        ctx.y = y
        return y

    @staticmethod
    def backward(ctx, g):
        return g * ctx.y


@wrong("float64(N)", "vmap")
class MapsAnotherAxis(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x - x.sum()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, g):
        return g - g.sum()

    @staticmethod
    def vmap(info, in_dims, x):
        # The sum runs over the mapped axis too.
        return x - x.sum(), in_dims[0]


# --- right ones


@right("float64(N)")
class OnceDifferentiable(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        inner = torch.exp(x)
        ctx.save_for_backward(inner)
        return inner * inner

    @staticmethod
    @once_differentiable
    def backward(ctx, g):
        (inner,) = ctx.saved_tensors
        return 2 * g * inner * inner


@right("float64(N)")
class IntermediateAsAnOutput(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        inner = torch.exp(x)
        y = inner * inner
        ctx.save_for_backward(x, inner)
        return y, inner

    @staticmethod
    def backward(ctx, g, h):
        _, inner = ctx.saved_tensors
        return 2 * g * inner * inner + h * inner


@right("float64(N)")
class WithARuleForEverything(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        return torch.sin(x)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)
        ctx.save_for_forward(*inputs)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * torch.cos(x)

    @staticmethod
    def jvp(ctx, t):
        (x,) = ctx.saved_tensors
        return t * torch.cos(x)
