"""Functions of JAX with a derivative of their own: wrong ones, with what they lack, and right ones.

The tables are as those of `torch_functions`.
"""

import jax
import jax.numpy as jnp
import numpy as np

WRONG, RIGHT = {}, {}


@jax.custom_vjp
def log1p_exp(x):
    """The numerically stable softplus of JAX's documentation, with its rule."""
    return jnp.logaddexp(x, 0.0)


log1p_exp.defvjp(lambda x: (log1p_exp(x), x), lambda x, g: (g * (1 - 1 / (1 + jnp.exp(x))),))
RIGHT["log1p_exp"] = (log1p_exp, "float64(N)")


@jax.custom_jvp
def pushed(x, y):
    """A product of sines with a rule forward."""
    return jnp.sin(x) * y


@pushed.defjvp
def _pushed_rule(primals, tangents):
    x, y = primals
    dx, dy = tangents
    return pushed(x, y), jnp.cos(x) * dx * y + jnp.sin(x) * dy


RIGHT["pushed"] = (pushed, "float64(N), float64(N)")


def of_library(x, places):
    """No rule at all: what JAX makes of it."""
    return jnp.tanh(x)[places], jnp.argmax(x)


RIGHT["of_library"] = (of_library, "float64(4), int64(N) in [0, 3]")


@jax.custom_vjp
def clipped(x):
    """The identity whose gradient is clipped, as JAX's documentation has it: no derivative."""
    return x


clipped.defvjp(lambda x: (x, None), lambda _, g: (jnp.clip(g, -0.5, 0.5),))
WRONG["clipped"] = (clipped, "float64(N)", "grad_output")


@jax.custom_vjp
def half(x):
    """The derivative is half of what it should be."""
    return x * x


half.defvjp(lambda x: (half(x), x), lambda x, g: (g * x,))
WRONG["half"] = (half, "float64(N)", "first")


@jax.custom_vjp
def stopped(x):
    """The derivative of the derivative is cut."""
    return x**3


stopped.defvjp(lambda x: (stopped(x), x), lambda x, g: (3 * g * jax.lax.stop_gradient(x) ** 2,))
WRONG["stopped"] = (stopped, "float64(N)", "second")


_SEEN = []


def frozen(x):
    """What the first call found stays: under jit it is a constant."""
    _SEEN.append(len(_SEEN))
    return x * (1.0 + (len(_SEEN) % 7))


WRONG["frozen"] = (frozen, "float64(N)", "repeats")


def single(x):
    """It computes in float32, whatever comes."""
    return jnp.exp(x.astype(np.float32)).astype(x.dtype)


WRONG["single"] = (single, "float64(N)", "dtypes")
