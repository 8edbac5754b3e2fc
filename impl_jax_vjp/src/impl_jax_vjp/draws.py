"""Random numbers where a function may be traced.

Numbers come from the generator on the host. In a trace of nn.jit they are inputs of what is
compiled, and in one of JAX's own they are fetched each time that the compiled code runs, so that no
draw is frozen into compiled code.
"""

from typing import Any

import jax
import numpy as np
from jax.experimental import io_callback

from . import random
from .tape import MODE


def draw(kind: str, shape: tuple[int, ...], traced: bool = False) -> Any:
    """Draw float64 numbers of a kind, ``"uniform"`` or ``"normal"``.

    Parameters
    ----------
    traced : bool
        Whether the numbers will meet values of one of JAX's traces.

    Returns
    -------
    numpy.ndarray or jax.Array, shape `shape`, float64
    """
    source = random.uniform if kind == "uniform" else random.normal
    if MODE.capture is not None:
        return MODE.capture.draw(kind, shape)
    if not traced:
        return source(shape)
    result = jax.ShapeDtypeStruct(shape, np.float64)
    return io_callback(lambda: source(shape), result, ordered=True)
