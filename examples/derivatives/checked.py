"""A Function of one's own, and the check that its `backward` is right.

log(cosh(x)) overflows where x is large; |x| + log(1 + exp(-2 |x|)) - log(2) is the same and does
not. Its derivative is tanh(x). `check_gradients` of spec_tests, on any implementation, compares
first and second derivatives with differences in float64, and finds what is wrong with the second
class below.

    python checked.py --impl impl_numpy
"""

from typing import Any

import chosen
import numpy as np

from spec_tests.check import check_gradients

POINTS = np.array([-2.5, -0.75, 0.5, 1.25])


class LogCosh:
    """log(cosh(x)), of any shape."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        """Keep x."""
        xp = ctx.xp
        ctx.save_for_backward(x)
        size = xp.abs(x)
        return size + xp.log1p(xp.exp(-2 * size)) - float(np.log(2))

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        """Multiply by tanh(x)."""
        (x,) = ctx.saved_tensors
        return grad_output * ctx.xp.tanh(x)


class Forgetful(LogCosh):
    """The same with a mistake: it forgets the gradient that arrives."""

    @staticmethod
    def backward(ctx: Any, _: Any) -> Any:
        """Return tanh(x), which is right where the gradient is 1, and there alone."""
        (x,) = ctx.saved_tensors
        return ctx.xp.tanh(x)


def fault(nn: Any, cls: type) -> str:
    """Return what the check finds, in one line; nothing where the class is right."""
    try:
        check_gradients(nn, nn.as_function(cls).apply, [POINTS], second_order=True, call="apply")
    except AssertionError as error:
        return str(error).splitlines()[0]
    return ""


def far(nn: Any) -> tuple[list[float], list[float]]:
    """Return values and derivatives at +-1000, where cosh overflows."""
    x = nn.tensor([-1000.0, 1000.0], requires_grad=True)
    y = nn.as_function(LogCosh).apply(x)
    nn.ops.sum(y).backward()
    return y.tolist(), x.grad.tolist()


if __name__ == "__main__":
    nn, _ = chosen.arguments("")
    for cls in (LogCosh, Forgetful):
        print(f"{cls.__name__}: {fault(nn, cls) or 'first and second derivatives are right'}")
    values, slopes = far(nn)
    print(f"at -1000 and 1000: {values}, derivatives {slopes}")
