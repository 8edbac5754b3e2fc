"""The random numbers of the ``init`` chapter, from its text and NumPy alone."""

from __future__ import annotations

import math

import numpy as np


class Draws:
    """The stream of random numbers that belongs to one seed."""

    def __init__(self, seed: int) -> None:
        self.bits = np.random.Philox(key=seed)

    def units(self, count: int) -> np.ndarray:
        """Return the next float64 numbers in [0, 1)."""
        words = np.asarray(self.bits.random_raw(count), dtype=np.uint64)
        return (words >> np.uint64(11)) * 2.0**-53

    def uniform(self, shape: tuple[int, ...], a: float, b: float, dtype: str) -> np.ndarray:
        """Return numbers uniform in [a, b), in C order."""
        return (a + (b - a) * self.units(math.prod(shape))).reshape(shape).astype(dtype)

    def normal(self, shape: tuple[int, ...], mean: float, std: float, dtype: str) -> np.ndarray:
        """Return normal numbers, in pairs of which an odd last one is dropped."""
        count = math.prod(shape)
        pairs = self.units(2 * math.ceil(count / 2)).reshape(-1, 2)
        r = np.sqrt(-2 * np.log(1 - pairs[:, 0]))
        angle = 2 * np.pi * pairs[:, 1]
        z = np.stack([r * np.cos(angle), r * np.sin(angle)], axis=1).reshape(-1)[:count]
        return (mean + std * z).reshape(shape).astype(dtype)

    def truncated(
        self, shape: tuple[int, ...], bounds: tuple[float, float, float, float], dtype: str
    ) -> np.ndarray:
        """Return normal numbers within [a, b] (init-12); `bounds` holds mean, std, a and b."""
        mean, std, a, b = bounds
        z = np.full(math.prod(shape), np.nan)
        while np.isnan(z).any():
            places = np.flatnonzero(np.isnan(z))
            candidates, accepted = self._round(len(places), (a - mean) / std, (b - mean) / std)
            z[places[accepted]] = candidates[accepted]
        return np.clip(mean + std * z, a, b).reshape(shape).astype(dtype)

    def _round(self, count: int, alpha: float, beta: float) -> tuple[np.ndarray, np.ndarray]:
        """Return candidates, and which of them are accepted."""
        if alpha <= 0 <= beta and beta - alpha >= 2.5:
            z = self.normal((count,), 0.0, 1.0, "float64")
            return z, (alpha <= z) & (z <= beta)
        nearest = min(max(alpha, 0.0), beta)
        if nearest > 0:
            beta = min(beta, nearest + 38 / max(nearest, 1))
        if nearest < 0:
            alpha = max(alpha, nearest - 38 / max(-nearest, 1))
        u = self.units(2 * count).reshape(-1, 2)
        z = alpha + (beta - alpha) * u[:, 0]
        return z, u[:, 1] < np.exp((nearest - z) * (nearest + z) / 2)

    def orthogonal(self, shape: tuple[int, ...], gain: float, dtype: str) -> np.ndarray:
        """Return a matrix whose rows or columns are orthogonal (init-13)."""
        rows, columns = shape[0], math.prod(shape[1:])
        matrix = self.normal((rows, columns), 0.0, 1.0, "float64")
        q, r = np.linalg.qr(matrix.T if rows < columns else matrix)
        q = np.where(np.diag(r) < 0, -q, q)
        q = q.T if rows < columns else q
        return np.asarray(gain * q).reshape(shape).astype(dtype)

    def sparse(self, shape: tuple[int, int], sparsity: float, std: float, dtype: str) -> np.ndarray:
        """Return a normal matrix with a share of each column 0 (init-15)."""
        rows, columns = shape
        matrix = self.normal(shape, 0.0, std, "float64")
        for column in range(columns):
            order = np.argsort(self.units(rows), kind="stable")
            matrix[order[: math.ceil(sparsity * rows)], column] = 0
        return matrix.astype(dtype)

    def order(self, count: int) -> np.ndarray:
        """Return the order of things (data-01)."""
        return np.argsort(self.units(count), kind="stable")

    def state(self) -> np.ndarray:
        """Return the state of the generator (init-11)."""
        state = self.bits.state
        words = [*state["state"]["counter"], *state["state"]["key"], *state["buffer"]]
        position = np.uint64(state["buffer_pos"])
        return np.array([*words, position], np.uint64).view(np.int64)
