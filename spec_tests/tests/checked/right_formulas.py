"""Right Functions that are awkward: kinks, integers, None, state of their own, shortcuts, memory.

`RIGHT` says with which inputs each is checked. None of them may be rejected, for whatever property.
"""

import numpy as np

RIGHT = {}


def right(inputs, **options):
    """Enter a class in the table."""

    def enter(cls):
        RIGHT[cls.__name__] = (cls, inputs, options)
        return cls

    return enter


@right("float64(N,3)")
class ReturnsItsInput:
    @staticmethod
    def forward(ctx, x):
        return x

    @staticmethod
    def backward(ctx, g):
        return g


@right("float64(N)")
class StepsWithoutSlope:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.round(3 * x)

    @staticmethod
    def backward(ctx, g):
        return 0 * g


@right("float64(N)")
class SignWithoutGradient:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.sign(x) + 0 * x

    @staticmethod
    def backward(ctx, g):
        return None


@right("float64(N,4)")
class Relu:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.maximum(x, ctx.xp.zeros_like(x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(x > 0, g, ctx.xp.zeros_like(g))


@right("float64(N,3), float64(3)")
class LeakyReluWithALearntSlope:
    @staticmethod
    def forward(ctx, x, slope):
        ctx.save_for_backward(x, slope)
        return ctx.xp.where(x > 0, x, slope * x)

    @staticmethod
    def backward(ctx, g):
        x, slope = ctx.saved_tensors
        xp = ctx.xp
        by_x = xp.where(x > 0, g, slope * g)
        by_slope = xp.sum(xp.where(x > 0, 0 * g, x * g), axis=0)
        return by_x, by_slope


@right("float64(N)")
class Absolute:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.abs(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.sign(x)


@right("float64(N)")
class LogCoshWithoutOverflow:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        size = xp.abs(x)
        return size + xp.log1p(xp.exp(-2 * size)) - float(np.log(2))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.tanh(x)


@right("float64(N)")
class SoftplusOfTwoBranches:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        return xp.maximum(x, 0 * xp.ones_like(x)) + xp.log1p(xp.exp(-xp.abs(x)))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / (1 + ctx.xp.exp(-x))


@right("float64(N)")
class SigmoidFromItsOutput:
    @staticmethod
    def forward(ctx, x):
        y = 1 / (1 + ctx.xp.exp(-x))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


@right("float64(N)")
class IntermediateAsAnAttribute:
    @staticmethod
    def forward(ctx, x):
        ctx.inner = ctx.xp.exp(-x * x)
        ctx.save_for_backward(x)
        return ctx.inner * ctx.inner

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return -4 * g * x * ctx.inner * ctx.inner


@right("float64(N,4)")
class Softmax:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        e = xp.exp(x - xp.max(x, axis=-1, keepdims=True))
        y = e / xp.sum(e, axis=-1, keepdims=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return y * (g - ctx.xp.sum(g * y, axis=-1, keepdims=True))


@right("float64(N,4)")
class LogSumExpOfRows:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        top = xp.max(x, axis=-1, keepdims=True)
        e = xp.exp(x - top)
        total = xp.sum(e, axis=-1, keepdims=True)
        ctx.save_for_backward(e / total)
        return (xp.log(total) + top)[:, 0]

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g[:, None] * y


@right("float64(N,4), float64(4), float64(4)")
class LayerNorm:
    @staticmethod
    def forward(ctx, x, weight, bias):
        xp = ctx.xp
        d = x - xp.mean(x, axis=-1, keepdims=True)
        scale = 1 / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + 1e-5)
        y = d * scale
        ctx.save_for_backward(y, scale, weight)
        return y * weight + bias

    @staticmethod
    def backward(ctx, g):
        y, scale, weight = ctx.saved_tensors
        xp = ctx.xp
        inner = g * weight
        mean = xp.mean(inner, axis=-1, keepdims=True)
        along = xp.mean(inner * y, axis=-1, keepdims=True)
        return scale * (inner - mean - y * along), xp.sum(g * y, axis=0), xp.sum(g, axis=0)


@right("float64(N,3)")
class BatchNormMixesExamples:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        d = x - xp.mean(x, axis=0, keepdims=True)
        scale = 1 / xp.sqrt(xp.mean(d * d, axis=0, keepdims=True) + 1e-2)
        ctx.save_for_backward(d * scale, scale)
        return d * scale

    @staticmethod
    def backward(ctx, g):
        y, scale = ctx.saved_tensors
        xp = ctx.xp
        mean = xp.mean(g, axis=0, keepdims=True)
        along = xp.mean(g * y, axis=0, keepdims=True)
        return scale * (g - mean - y * along)


class Affine:
    """``x @ weight.T + bias``, the bias may be None."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight, bias)
        y = x @ weight.T
        return y if bias is None else y + bias

    @staticmethod
    def backward(ctx, g):
        x, weight, bias = ctx.saved_tensors
        by_x, by_weight = g @ weight, g.T @ x
        if bias is None:
            return by_x, by_weight
        return by_x, by_weight, ctx.xp.sum(g, axis=0)


@right("float64(N,M), float64(K,M), float64(K)")
class LinearWithBias(Affine):
    pass


@right("float64(N,M), float64(K,M), None")
class LinearWithoutBias(Affine):
    pass


@right("float64(N,M)")
class SumToANumber:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sum(x * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


@right("float64()")
class ANumberAlone:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.exp(x) * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.exp(x) * (1 + x)


@right("float64(N,3)")
class MeanOfRows:
    @staticmethod
    def forward(ctx, x):
        ctx.width = x.shape[1]
        ctx.save_for_backward(x)
        return ctx.xp.mean(x, axis=1)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return (g / ctx.width)[:, None] + ctx.xp.zeros_like(x)


@right("float64(N,1), float64(3)")
class BroadcastOfTwo:
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        xp = ctx.xp
        return xp.sum(g * y, axis=1, keepdims=True), xp.sum(g * x, axis=0)


@right("float64(N), float64(M)")
class OuterProduct:
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x[:, None] * y[None, :]

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g @ y, x @ g
