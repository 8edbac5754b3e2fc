"""The generator of init.md, and the draws in place."""

import math

import numpy as np

from impl_hips.tensor import Tensor

_generator = {"bits": np.random.Philox(key=0)}


def manual_seed(seed):
    """Begin the stream anew (init-01)."""
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        msg = f"manual_seed: seed must be an int, got {type(seed).__name__}"
        raise TypeError(msg)
    if not 0 <= seed < 2**64:
        msg = f"manual_seed: seed must be from 0 to 2**64 - 1, got {seed}"
        raise ValueError(msg)
    _generator["bits"] = np.random.Philox(key=int(seed))


def uniform(shape):
    """Return float64 numbers in [0, 1) (init-02)."""
    count = math.prod(shape)
    words = _generator["bits"].random_raw(count) if count else np.zeros(0, np.uint64)
    return ((np.asarray(words, np.uint64) >> np.uint64(11)) * 2.0**-53).reshape(shape)


def normal(shape):
    """Return float64 numbers of mean 0 and deviation 1 (init-03)."""
    count = math.prod(shape)
    pairs = uniform(((count + 1) // 2, 2))
    radius, angle = np.sqrt(-2 * np.log(1 - pairs[:, 0])), 2 * np.pi * pairs[:, 1]
    both = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return both.ravel()[:count].reshape(shape)


class init:
    """`nn.init`, as far as it goes."""

    @staticmethod
    def uniform_(tensor, a=0.0, b=1.0):
        """Draw from [a, b)."""
        return init._put("uniform_", tensor, lambda shape: a + (b - a) * uniform(shape))

    @staticmethod
    def normal_(tensor, mean=0.0, std=1.0):
        """Draw from the normal distribution."""
        return init._put("normal_", tensor, lambda shape: mean + std * normal(shape))

    @staticmethod
    def constant_(tensor, val):
        """Fill with a number."""
        return init._put("constant_", tensor, lambda shape: np.full(shape, val))

    @staticmethod
    def zeros_(tensor):
        """Fill with 0."""
        return init._put("zeros_", tensor, np.zeros)

    @staticmethod
    def ones_(tensor):
        """Fill with 1."""
        return init._put("ones_", tensor, np.ones)

    @staticmethod
    def _put(operation, tensor, values):
        if not isinstance(tensor, Tensor) or tensor.dtype.kind != "f":
            msg = f"{operation}: wants a floating Tensor, got {getattr(tensor, 'dtype', tensor)!r}"
            raise TypeError(msg)
        tensor.data[...] = values(tensor.shape).astype(tensor.dtype)
        return tensor
