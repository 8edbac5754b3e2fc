"""Functions that are wrong in a program, whose derivative may be right; portable.

`WRONG` says for each with which inputs it is checked, and the property that must reject it.
"""

import time
from typing import ClassVar

import numpy as np

WRONG = {}


def wrong(inputs, prop, **options):
    """Enter a class in the table."""

    def enter(cls):
        WRONG[cls.__name__] = (cls, inputs, prop, options)
        return cls

    return enter


def _keeping(forward):
    def keep(ctx, x):
        ctx.save_for_backward(x)
        return forward(ctx, x)

    return staticmethod(keep)


# --- state that calls share


@wrong("float64(N)", "interleaved")
class KeepsItsInputOnTheClass:
    kept = None

    @staticmethod
    def forward(ctx, x):
        KeepsItsInputOnTheClass.kept = x
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * KeepsItsInputOnTheClass.kept


@wrong("float64(N,3)", "interleaved")
class SavesAScratchBuffer:
    buffers: ClassVar = {}

    @staticmethod
    def forward(ctx, x):
        # The buffer is kept from call to call to save memory.
        buffer = SavesAScratchBuffer.buffers.setdefault(x.shape, np.empty(x.shape, x.dtype))
        np.sin(x, out=buffer)
        ctx.sine = buffer
        return np.cos(x)

    @staticmethod
    def backward(ctx, g):
        return -g * ctx.sine


@wrong("float64(N,3)", "threads")
class ScalesThroughAGlobal:
    scale = None

    @staticmethod
    def forward(ctx, x):
        ScalesThroughAGlobal.scale = 1 + x * x
        time.sleep(0.0005)
        return x * ScalesThroughAGlobal.scale

    @staticmethod
    def backward(ctx, g):
        raise NotImplementedError

    @staticmethod
    def composite(x):
        return x + x * x * x


def _derivative(ctx, g):
    (x,) = ctx.saved_tensors
    return g * (1 + 3 * x * x)


ScalesThroughAGlobal.forward = _keeping(ScalesThroughAGlobal.forward)
ScalesThroughAGlobal.backward = staticmethod(_derivative)
del ScalesThroughAGlobal.composite


@wrong("float64(N)", "repeats")
class DependsOnTheNumberOfCalls:
    calls = 0

    @staticmethod
    def forward(ctx, x):
        DependsOnTheNumberOfCalls.calls += 1
        return x * (1 + DependsOnTheNumberOfCalls.calls % 2)

    @staticmethod
    def backward(ctx, g):
        return g * 1.5


@wrong("float64(N)", "repeats")
class RandomGradient:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * (1 + 1e-11 * np.random.default_rng().uniform())


@wrong("float64(N)", "first")
class DropoutWithANewMask:
    @staticmethod
    def forward(ctx, x):
        return x * (np.random.default_rng().uniform(size=x.shape) > 0.5)

    @staticmethod
    def backward(ctx, g):
        return g * (np.random.default_rng().uniform(size=g.shape) > 0.5)


@wrong("float64(N)", "leaks")
class RemembersEveryCall:
    history: ClassVar = []

    @staticmethod
    def forward(ctx, x):
        RemembersEveryCall.history.append(x + 0)
        return 3 * x

    @staticmethod
    def backward(ctx, g):
        return 3 * g


# --- memory


@wrong("float64(N)", "mutation")
class WorksInPlace:
    @staticmethod
    def forward(ctx, x):
        x *= 2
        return x + 0

    @staticmethod
    def backward(ctx, g):
        return 2 * g


@wrong("float64(N)", "mutation")
class MasksTheGradientInPlace:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.maximum(x, 0 * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        g[x <= 0] = 0
        return g


@wrong("float64(N,M)", "layouts")
class ReadsMemoryInItsOrder:
    @staticmethod
    def forward(ctx, x):
        return np.sin(x.ravel("K")).reshape(x.shape) if isinstance(x, np.ndarray) else ctx.xp.sin(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.cos(x)


ReadsMemoryInItsOrder.forward = _keeping(ReadsMemoryInItsOrder.forward)


@wrong("float64(N,M)", "grad_layouts")
class ReadsTheGradientInItsOrder:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        flat = np.ndarray(g.shape, g.dtype, buffer=_memory(g)) if isinstance(g, np.ndarray) else g
        return 2 * flat


def _memory(array):
    """Return what a kernel finds that takes an address and a size, and no strides."""
    start = array.__array_interface__["data"][0]
    base = array
    while isinstance(base.base, np.ndarray):
        base = base.base
    offset = start - base.__array_interface__["data"][0]
    whole = np.zeros(base.nbytes + array.nbytes, np.uint8)
    whole[: base.nbytes] = np.frombuffer(base.tobytes("A"), np.uint8)
    return whole[offset : offset + array.nbytes].tobytes()


# --- which gradients are wanted, and of which outputs


@wrong("float64(N,3), float64(3)", "subsets")
class ReturnsOnlyWhatIsWanted:
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return x * scale

    @staticmethod
    def backward(ctx, g):
        x, scale = ctx.saved_tensors
        grads = []
        if ctx.needs_input_grad[0]:
            grads.append(g * scale)
        if ctx.needs_input_grad[1]:
            grads.append(ctx.xp.sum(g * x, axis=0))
        return tuple(grads)


@wrong("float64(N), float64(N)", "subsets")
class AsksForTheWrongInput:
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        by_x = g * y if ctx.needs_input_grad[0] else None
        by_y = g * x if ctx.needs_input_grad[0] else None
        return by_x, by_y


@wrong("float64(N)", "outputs")
class AddsWhatIsNone:
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return 2 * x, 3 * x

    @staticmethod
    def backward(ctx, g, h):
        return 2 * g + 3 * h


@wrong("float64(N)", "outputs")
class AllOrNothing:
    @staticmethod
    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return 2 * x, 3 * x

    @staticmethod
    def backward(ctx, g, h):
        return None if g is None or h is None else 2 * g + 3 * h


# --- dtypes and sizes


@wrong("float64(N)", "dtypes")
class ConstantOfFloat64:
    @staticmethod
    def forward(ctx, x):
        half = ctx.xp.asarray([0.5], dtype=ctx.xp.float64)
        return x * half

    @staticmethod
    def backward(ctx, g):
        return 0.5 * g


@wrong("float64(N)", "dtypes")
class ComputesInFloat32:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        return xp.astype(xp.exp(xp.astype(x, xp.float32)), x.dtype)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.exp(x)


@wrong("float64(N)", "dtypes")
class GradientAlwaysOfFloat64:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return ctx.xp.astype(2 * g, ctx.xp.float64)


@wrong("float64(N,3), float64(3)", "empty")
class DividesByTheNumberOfRows:
    @staticmethod
    def forward(ctx, x, bias):
        ctx.rows = x.shape[0]
        return x + bias

    @staticmethod
    def backward(ctx, g):
        return g, ctx.xp.sum(g, axis=0) * (ctx.rows / ctx.rows)


@wrong("float64(N,3), float64(3)", "empty")
class AveragesNothing:
    @staticmethod
    def forward(ctx, x, bias):
        return x + bias

    @staticmethod
    def backward(ctx, g):
        return g, ctx.xp.mean(g, axis=0) * g.shape[0]


@wrong("float64(N)", "blocks")
class ForgetsTheLastBlock:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        size = g.shape[0]
        whole = size if size < 64 else size - size % 64
        keep = ctx.xp.astype(ctx.xp.arange(size) < whole, g.dtype)
        return 2 * g * keep


@wrong("float64(N,2)", "blocks")
class OneElementBehindEveryBlock:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        size = g.shape[0]
        keep = ctx.xp.astype(ctx.xp.arange(size) % 33 != 32, g.dtype)
        return 2 * g * keep[:, None]


# --- numbers that are none


@wrong("float64(N,3)", "nonfinite")
class LosesNaN:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.where(x > 0, x, 0 * ctx.xp.ones_like(x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(x > 0, g, 0 * ctx.xp.ones_like(g))


@wrong("float64(N)", "nonfinite")
class SumsByAMatrixOfZerosAndOnes:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.matmul(_triangle(ctx.xp, x), x)

    @staticmethod
    def backward(ctx, g):
        return ctx.xp.matmul(_triangle(ctx.xp, g).T, g)


def _triangle(xp, x):
    size = x.shape[0]
    return xp.astype(xp.arange(size)[:, None] >= xp.arange(size)[None, :], x.dtype)


@wrong("float64(N)", "nonfinite")
class ReluAsHalfASum:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 0.5 * (x + ctx.xp.abs(x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * 0.5 * (1 + ctx.xp.sign(x))


@wrong("float64(N,3)", "batch", batch="N")
class CentersTheBatch:
    @staticmethod
    def forward(ctx, x):
        return x - ctx.xp.mean(x, axis=0, keepdims=True)

    @staticmethod
    def backward(ctx, g):
        return g - ctx.xp.mean(g, axis=0, keepdims=True)
