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


@right("float64(5), int64(N) in [0, 4]")
class PicksByIntegers:
    @staticmethod
    def forward(ctx, x, places):
        ctx.save_for_backward(places)
        return ctx.xp.take(x, places, axis=0)

    @staticmethod
    def backward(ctx, g):
        (places,) = ctx.saved_tensors
        xp = ctx.xp
        hit = xp.astype(xp.arange(5)[:, None] == places[None, :], g.dtype)
        return hit @ g, None


@right("float64(N,4)")
class MaxWithItsPlace:
    @staticmethod
    def forward(ctx, x):
        at = ctx.xp.argmax(x, axis=-1)
        y = ctx.xp.max(x, axis=-1)
        ctx.save_for_backward(x, y)
        return y, at

    @staticmethod
    def backward(ctx, g, _):
        x, y = ctx.saved_tensors
        return ctx.xp.where(x == y[:, None], g[:, None], 0 * g[:, None])


@right("float64(N)")
class MarksACopyNonDifferentiable:
    @staticmethod
    def forward(ctx, x):
        copy = x + 0
        ctx.mark_non_differentiable(copy)
        ctx.save_for_backward(x)
        return x * x, copy

    @staticmethod
    def backward(ctx, g, _):
        (x,) = ctx.saved_tensors
        return 2 * g * x


@right("float64(N,3)")
class TurnsAround:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.flip(x, axis=0)

    @staticmethod
    def backward(ctx, g):
        return ctx.xp.flip(g, axis=0)


@right("float64(N,M)")
class ReturnsAView:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.permute_dims(x, (1, 0))

    @staticmethod
    def backward(ctx, g):
        return ctx.xp.permute_dims(g, (1, 0))


@right("float64(N,4)")
class RunningSum:
    @staticmethod
    def forward(ctx, x):
        return ctx.xp.cumulative_sum(x, axis=1)

    @staticmethod
    def backward(ctx, g):
        xp = ctx.xp
        return xp.flip(xp.cumulative_sum(xp.flip(g, axis=1), axis=1), axis=1)


@right("float64(N,3)")
class ProductOfTheOthers:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x[:, 0] * x[:, 1] * x[:, 2]

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        others = (x[:, 1] * x[:, 2], x[:, 0] * x[:, 2], x[:, 0] * x[:, 1])
        return g[:, None] * ctx.xp.stack(others, axis=1)


@right("float64(N,2), float64(N,3)")
class SideBySide:
    @staticmethod
    def forward(ctx, x, y):
        ctx.at = x.shape[1]
        return ctx.xp.concat([x, y], axis=1)

    @staticmethod
    def backward(ctx, g):
        return g[:, : ctx.at], g[:, ctx.at :]


@right("float64(N,4)")
class SplitsInTwo:
    @staticmethod
    def forward(ctx, x):
        return x[:, :2], x[:, 2:]

    @staticmethod
    def backward(ctx, g, h):
        return ctx.xp.concat([g, h], axis=1)


@right("float64(N), float64(N)")
class GetsNoneForWhatIsUnused:
    @staticmethod
    def forward(ctx, x, y):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(x, y)
        return x * y, x + y

    @staticmethod
    def backward(ctx, g, h):
        x, y = ctx.saved_tensors
        by_x = by_y = None
        if g is not None:
            by_x, by_y = g * y, g * x
        if h is not None:
            by_x = h if by_x is None else by_x + h
            by_y = h if by_y is None else by_y + h
        return by_x, by_y


@right("float64(N)")
class FusedWithAComposite:
    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.exp(x)
        # Only the product is kept: what runs on Tensors comes from `composite`.
        ctx.save_for_backward(2 * y * y)
        return y * y

    @staticmethod
    def backward(ctx, g):
        (slope,) = ctx.saved_tensors
        return g * slope

    @staticmethod
    def composite(x):
        return x.exp() * x.exp() if hasattr(x, "exp") else _exp(x) * _exp(x)


def _exp(x):
    total = term = 1 + 0 * x
    for k in range(1, 40):
        term = term * x / k
        total = total + term
    return total


@right("float64(N,3), factor=2.5, axis=1")
class ConfiguredByName:
    @staticmethod
    def forward(ctx, x, *, factor, axis):
        ctx.factor, ctx.axis = factor, axis
        ctx.save_for_backward(x)
        return factor * ctx.xp.sum(x * x, axis=axis)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * ctx.factor * ctx.xp.expand_dims(g, axis=ctx.axis) * x


@right("float64(N,3), bool(N,3)")
class MaskedByBooleans:
    @staticmethod
    def forward(ctx, x, mask):
        ctx.save_for_backward(mask)
        return ctx.xp.where(mask, 3 * x, x)

    @staticmethod
    def backward(ctx, g):
        (mask,) = ctx.saved_tensors
        return ctx.xp.where(mask, 3 * g, g), None


@right("float64(N,3), const float64(N,3)")
class WeightsWithoutGradient:
    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(weight)
        return x * weight

    @staticmethod
    def backward(ctx, g):
        (weight,) = ctx.saved_tensors
        return g * weight, None


@right("float64(N)")
class HuberWithTwoKinks:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        size = xp.abs(x)
        return xp.where(size < 0.5, 0.5 * x * x, 0.5 * (size - 0.25))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        xp = ctx.xp
        return g * xp.where(xp.abs(x) < 0.5, x, 0.5 * xp.sign(x))


@right("float64(N,6)")
class ClipsWithItsLimits:
    @staticmethod
    def forward(ctx, x):
        xp = ctx.xp
        ctx.save_for_backward(x)
        return xp.minimum(xp.maximum(x, xp.zeros_like(x) - 0.5), xp.zeros_like(x) + 0.5)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return ctx.xp.where(ctx.xp.abs(x) < 0.5, g, ctx.xp.zeros_like(g))


@right("float64(N,3)")
class LengthOfRows:
    @staticmethod
    def forward(ctx, x):
        y = ctx.xp.sqrt(ctx.xp.sum(x * x, axis=-1, keepdims=True))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        return g * x / y


@right("float64(N,2), float64(M,2)")
class DistancesOfAllPairs:
    @staticmethod
    def forward(ctx, x, y):
        d = x[:, None, :] - y[None, :, :]
        ctx.save_for_backward(d)
        return ctx.xp.sum(d * d, axis=-1)

    @staticmethod
    def backward(ctx, g):
        (d,) = ctx.saved_tensors
        full = 2 * g[:, :, None] * d
        return ctx.xp.sum(full, axis=1), -ctx.xp.sum(full, axis=0)


@right("float64(N,H), float64(N,H), float64(N,H), float64(N,H), float64(N,H)")
class CellOfAnLstm:
    @staticmethod
    def forward(ctx, i, f, o, z, c):
        xp = ctx.xp
        i, f, o = (1 / (1 + xp.exp(-a)) for a in (i, f, o))
        z = xp.tanh(z)
        new = f * c + i * z
        t = xp.tanh(new)
        ctx.save_for_backward(i, f, o, z, c, t)
        return o * t, new

    @staticmethod
    def backward(ctx, by_h, by_c):
        i, f, o, z, c, t = ctx.saved_tensors
        total = by_c + by_h * o * (1 - t * t)
        return (
            total * z * i * (1 - i),
            total * c * f * (1 - f),
            by_h * t * o * (1 - o),
            total * i * (1 - z * z),
            total * f,
        )


@right("float64(N,5), float64(3)")
class ConvolutionByShifts:
    @staticmethod
    def forward(ctx, x, kernel):
        ctx.save_for_backward(x, kernel)
        return x[:, :3] * kernel[0] + x[:, 1:4] * kernel[1] + x[:, 2:] * kernel[2]

    @staticmethod
    def backward(ctx, g):
        x, kernel = ctx.saved_tensors
        xp = ctx.xp
        gap = xp.zeros_like(g[:, :1])
        parts = [g * kernel[k] for k in range(3)]
        by_x = (
            xp.concat([parts[0], gap, gap], axis=1)
            + xp.concat([gap, parts[1], gap], axis=1)
            + xp.concat([gap, gap, parts[2]], axis=1)
        )
        by_kernel = xp.stack([xp.sum(g * x[:, k : k + 3]) for k in range(3)], axis=0)
        return by_x, by_kernel


@right("float64(N) in [0.2, 3]")
class LogarithmInItsDomain:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.log(x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g / x


@right("float64(N) in [0.2, 2], float64(N)")
class PowerOfTwoInputs:
    @staticmethod
    def forward(ctx, x, p):
        y = ctx.xp.exp(p * ctx.xp.log(x))
        ctx.save_for_backward(x, p, y)
        return y

    @staticmethod
    def backward(ctx, g):
        x, p, y = ctx.saved_tensors
        return g * p * y / x, g * y * ctx.xp.log(x)


@right("float64(N,4), seed=3")
class DropoutFromASeed:
    @staticmethod
    def forward(ctx, x, *, seed):
        ctx.kept = tuple((np.random.default_rng(seed).uniform(size=4) > 0.5).tolist())
        return ctx.xp.where(DropoutFromASeed.mask(ctx), 2 * x, ctx.xp.zeros_like(x))

    @staticmethod
    def backward(ctx, g):
        return ctx.xp.where(DropoutFromASeed.mask(ctx), 2 * g, ctx.xp.zeros_like(g))

    @staticmethod
    def mask(ctx):
        return ctx.xp.asarray(list(ctx.kept), dtype=ctx.xp.bool)


@right("float64(N)")
class ComputesAgainInBackward:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sin(ctx.xp.exp(x))

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        inner = ctx.xp.exp(x)
        return g * ctx.xp.cos(inner) * inner


@right("float64(N,3), float64(3,3)")
class OneInputTwice:
    @staticmethod
    def forward(ctx, x, a):
        ctx.save_for_backward(x, a)
        return ctx.xp.sum((x @ a) * x, axis=1)

    @staticmethod
    def backward(ctx, g):
        x, a = ctx.saved_tensors
        column = g[:, None]
        return column * (x @ a + x @ a.T), (column * x).T @ x


@right("float64(N,3), float64(3)")
class OnlyWhatIsWanted:
    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, scale)
        return x * scale

    @staticmethod
    def backward(ctx, g):
        x, scale = ctx.saved_tensors
        by_x = g * scale if ctx.needs_input_grad[0] else None
        by_scale = ctx.xp.sum(g * x, axis=0) if ctx.needs_input_grad[1] else None
        return by_x, by_scale


@right("float64(N), 3, 'sum', (1, 2)")
class OtherThingsAmongTheInputs:
    @staticmethod
    def forward(ctx, x, power, how, pair):
        ctx.save_for_backward(x)
        ctx.power, ctx.factor = power, pair[1]
        return ctx.factor * x**power

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return g * ctx.factor * ctx.power * x ** (ctx.power - 1), None, None, None


@right("float64(N,3)")
class SmallerAndSmallerNumbers:
    @staticmethod
    def forward(ctx, x):
        return 1e-12 * x + 1e-12

    @staticmethod
    def backward(ctx, g):
        return 1e-12 * g


@right("float64(N,3)")
class LargeNumbers:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return 1e9 * ctx.xp.exp(3 * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 3e9 * g * ctx.xp.exp(3 * x)


@right("float64(N)")
class Oscillates:
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return ctx.xp.sin(60 * x)

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 60 * g * ctx.xp.cos(60 * x)
