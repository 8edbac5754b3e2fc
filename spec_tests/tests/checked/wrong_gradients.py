"""Wrong derivatives, as people get them wrong; portable, so that any implementation can be asked.

`WRONG` says for each with which inputs it is checked, and the property that must reject it.
"""

WRONG = {}


def wrong(inputs, prop, **options):
    """Enter a class in the table."""

    def enter(cls):
        WRONG[cls.__name__] = (cls, inputs, prop, options)
        return cls

    return enter


# --- the formula of the derivative


@wrong("float64(N,3)", "first")
class CubeForgetsAFactor:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return x * x * g


@wrong("float64(N)", "first")
class CosineWithTheWrongSign:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.cos(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.xp.sin(x)


@wrong("float64(N), float64(N)", "first")
class ProductWithGradientsSwapped:
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * x, g * y


@wrong("float64(N)", "first")
class SigmoidFromItsInput:
    @staticmethod
    def forward(ctx, x):
        # The derivative is y (1 - y), so y should be kept.
        ctx.save_for_backward(x)
        return 1 / (1 + ctx.xp.exp(-x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * x * (1 - x)


@wrong("float64(N)", "first")
class TanhWithoutTheSquare:
    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * (1 - y)


@wrong("float64(N,3), float64(3,3), float64(3)", "first")
class SquareLinearTransposed:
    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.T + bias

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        return g @ weight.T, x.T @ g, ctx.xp.sum(g, axis=0)


@wrong("float64(N,M), float64(K,M), float64(K)", "runs")
class LinearTransposed(SquareLinearTransposed):
    pass


@wrong("float64(N,3), float64(3)", "first")
class BiasThatIsAveraged:
    @staticmethod
    def forward(ctx, x, bias):
        return x + bias

    @staticmethod
    def backward(ctx, g):
        return g, ctx.xp.mean(g, axis=0)


@wrong("float64(N,4)", "first")
class SoftmaxOfTheDiagonal:
    @staticmethod
    def forward(ctx, x):
        e = ctx.xp.exp(x - ctx.xp.max(x, axis=-1, keepdims=True))
        y = e / ctx.xp.sum(e, axis=-1, keepdims=True)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


@wrong("float64(N,4)", "first")
class LogSoftmaxWithoutTheSum:
    @staticmethod
    def forward(ctx, x):
        z = x - ctx.xp.max(x, axis=-1, keepdims=True)
        y = z - ctx.xp.log(ctx.xp.sum(ctx.xp.exp(z), axis=-1, keepdims=True))
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, g):
        (y,) = ctx.saved_tensors
        return g - ctx.xp.exp(y) * g


@wrong("float64(N,4)", "first")
class LayerNormWithConstantStatistics:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        d = x - xp.mean(x, axis=-1, keepdims=True)
        scale = 1 / xp.sqrt(xp.mean(d * d, axis=-1, keepdims=True) + 1e-5)
        ctx.save_for_backward(scale)
        return d * scale

    @staticmethod
    def backward(ctx, g):
        (scale,) = ctx.saved_tensors
        return g * scale


@wrong("float64(N,3)", "first")
class MeanForgetsTheCount:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.mean(x, axis=-1, keepdims=True)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g + 0 * x


@wrong("float64(N)", "first")
class RoundStraightThrough:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.round(x)

    @staticmethod
    def backward(ctx, g):
        return g


@wrong("float64(N,6)", "first")
class ClipIgnoresItsLimits:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        return xp.minimum(xp.maximum(x, 0 * x - 0.5), 0 * x + 0.5)

    @staticmethod
    def backward(ctx, g):
        return g


@wrong("float64(N,4)", "first")
class MaxGivesToAll:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.max(x, axis=-1, keepdims=True)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g + 0 * x


@wrong("float64(N,4)", "first")
class NormSquared:
    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.sqrt(ctx.xp.sum(x * x, axis=-1, keepdims=True))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, _ = ctx.saved_tensors
        return g * x


@wrong("float64(N), float64(N)", "first")
class QuotientWithoutTheMinus:
    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x / (1 + y * y)

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        d = 1 + y * y
        return g / d, g * x * 2 * y / (d * d)


@wrong("float64(N,3), float64(N,3)", "first")
class OneTermOfTwo:
    @staticmethod
    def forward(ctx, x, h):
        c = ctx.xp.tanh(x + h)
        ctx.save_for_backward(x, c)
        return x * c

    @staticmethod
    def backward(ctx, g):
        x, c = ctx.saved_tensors
        inner = g * x * (1 - c * c)
        return g * c, inner


# --- gradients that are missing


@wrong("float64(N)", "zero")
class GradientOfZeros:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.exp(x)

    @staticmethod
    def backward(ctx, g):
        return 0 * g


@wrong("float64(N,3), float64(3)", "zero")
class NoneForTheScale:
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(scale)
        return x * scale

    @staticmethod
    def backward(ctx, g):
        (scale,) = ctx.saved_tensors
        return g * scale, None


@wrong("float64(N,4)", "zero")
class MarksTheWrongOutput:
    @staticmethod
    def forward(ctx, x):
        at = ctx.xp.argmax(x, axis=-1)
        y = ctx.xp.max(x, axis=-1)
        ctx.save_for_backward(x, y)
        ctx.mark_non_differentiable(y)
        return y, at

    @staticmethod
    def backward(ctx, g, _):
        x, y = ctx.saved_tensors
        return ctx.xp.where(x == y[..., None], g[..., None] + 0 * x, 0 * x)


# --- the gradient that arrives


@wrong("float64(N)", "grad_output")
class ForgetsWhatArrives:
    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, _):
        (y,) = ctx.saved_tensors
        return 1 - y * y


@wrong("float64(N)", "grad_output")
class ClipsWhatArrives:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        xp = ctx.xp
        return 2 * xp.minimum(xp.maximum(g, 0 * g - 1), 0 * g + 1)


@wrong("float64(N)", "adjoint")
class NormalizesWhatArrives:
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.xp.abs(g)


# --- second derivatives


@wrong("float64(N)", "second")
class CompositeOfAnotherFunction:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3 * x * x * g

    @staticmethod
    def composite(x):
        return x * x * x * x
