"""The equations of the chapter ``rnn`` and their derivatives, in float64, a step at a time.

Gates that are nearly shut or wide open keep their digits: what is left of 1 is computed as a
sigmoid of its own, and the slope of tanh from exponentials.
"""

from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]


def sigmoid(a: np.ndarray) -> np.ndarray:
    """Return ``1 / (1 + exp(-a))`` without overflow."""
    small = np.exp(-np.abs(a))
    return np.where(a >= 0, 1.0, small) / (1 + small)


def slope_of_tanh(a: np.ndarray) -> np.ndarray:
    """Return ``1 - tanh(a)**2`` with all its digits."""
    small = np.exp(-2 * np.abs(a))
    return 4 * small / (1 + small) ** 2


def linear_recurrence(
    a: Any, b: Any, h0: Any = None, axis: int = 0, reverse: bool = False
) -> np.ndarray:
    """Return ``h_t = a_t h_{t-1} + b_t`` along an axis, as the loop that it is."""
    a, b = (np.moveaxis(part, axis, 0) for part in np.broadcast_arrays(a, b))
    result = np.zeros(a.shape, np.result_type(a, b))
    h = None if h0 is None else np.broadcast_to(h0, a.shape[1:])
    for t in reversed(range(len(a))) if reverse else range(len(a)):
        h = b[t] if h is None else a[t] * h + b[t]
        result[t] = h
    return np.moveaxis(result, 0, axis)


class Recurrence:
    """One layer applied to a sequence.

    Parameters
    ----------
    name : str
        ``"RNN_tanh"``, ``"RNN_relu"``, ``"LSTM"`` or ``"GRU"``.
    parameters : dict
        ``weight_ih``, ``weight_hh``, ``bias_ih`` and ``bias_hh``.
    """

    def __init__(self, name: str, parameters: Arrays) -> None:
        self.name = name
        self.given = {key: array.astype(np.float64) for key, array in parameters.items()}

    def forward(self, x: np.ndarray, *states: np.ndarray) -> Arrays:
        """Return ``output`` (T, N, H) and the last states, h_n and for LSTM c_n, each (N, H)."""
        p = self.given
        self.x = x.astype(np.float64)
        state = [value.astype(np.float64) for value in states]
        self.kept: list[tuple[Any, ...]] = []
        output = np.zeros((len(x), *state[0].shape))
        for t, xt in enumerate(self.x):
            into = xt @ p["weight_ih"].T + p["bias_ih"]
            back = state[0] @ p["weight_hh"].T + p["bias_hh"]
            self.kept.append((state, into, back))
            state = self._step(state, into, back)
            output[t] = state[0]
        return {"output": output} | dict(zip(("h_n", "c_n"), state, strict=False))

    def _step(
        self, state: list[np.ndarray], into: np.ndarray, back: np.ndarray
    ) -> list[np.ndarray]:
        if self.name == "LSTM":
            i, f, g, o = np.split(into + back, 4, axis=-1)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            return [sigmoid(o) * np.tanh(c), c]
        if self.name == "GRU":
            (r, z, n), (rb, zb, nb) = np.split(into, 3, axis=-1), np.split(back, 3, axis=-1)
            new = np.tanh(n + sigmoid(r + rb) * nb)
            return [sigmoid(-z - zb) * new + sigmoid(z + zb) * state[0]]
        a = into + back
        return [np.maximum(a, 0) if self.name == "RNN_relu" else np.tanh(a)]

    def backward(self, cotangents: Arrays) -> Arrays:
        """Return the gradients to ``x``, ``h0``, for LSTM ``c0``, and to every parameter."""
        p = self.given
        gradients = {key: np.zeros_like(array) for key, array in p.items()}
        gradients["x"] = np.zeros_like(self.x)
        arriving = [cotangents["h_n"], *([cotangents["c_n"]] if self.name == "LSTM" else [])]
        arriving = [value.astype(np.float64) for value in arriving]
        for t in reversed(range(len(self.x))):
            state, into, back = self.kept[t]
            arriving[0] = arriving[0] + cotangents["output"][t]
            to_into, to_back, direct = self._step_back(state, into, back, arriving)
            gradients["weight_ih"] += to_into.T @ self.x[t]
            gradients["weight_hh"] += to_back.T @ state[0]
            gradients["bias_ih"] += to_into.sum(axis=0)
            gradients["bias_hh"] += to_back.sum(axis=0)
            gradients["x"][t] = to_into @ p["weight_ih"]
            arriving = [direct[0] + to_back @ p["weight_hh"], *direct[1:]]
        return gradients | dict(zip(("h0", "c0"), arriving, strict=False))

    def _step_back(
        self, state: list[np.ndarray], into: np.ndarray, back: np.ndarray, arriving: Any
    ) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
        if self.name == "LSTM":
            i, f, g, o = np.split(into + back, 4, axis=-1)
            c = sigmoid(f) * state[1] + sigmoid(i) * np.tanh(g)
            to_c = arriving[1] + arriving[0] * sigmoid(o) * slope_of_tanh(c)
            parts = [
                to_c * np.tanh(g) * sigmoid(i) * sigmoid(-i),
                to_c * state[1] * sigmoid(f) * sigmoid(-f),
                to_c * sigmoid(i) * slope_of_tanh(g),
                arriving[0] * np.tanh(c) * sigmoid(o) * sigmoid(-o),
            ]
            joined = np.concatenate(parts, axis=-1)
            return joined, joined, [np.zeros_like(c), to_c * sigmoid(f)]
        if self.name == "GRU":
            (r, z, n), (rb, zb, nb) = np.split(into, 3, axis=-1), np.split(back, 3, axis=-1)
            r, z = r + rb, z + zb
            a = n + sigmoid(r) * nb
            to_a = arriving[0] * sigmoid(-z) * slope_of_tanh(a)
            to_r = to_a * nb * sigmoid(r) * sigmoid(-r)
            to_z = arriving[0] * (state[0] - np.tanh(a)) * sigmoid(z) * sigmoid(-z)
            to_into = np.concatenate([to_r, to_z, to_a], axis=-1)
            to_back = np.concatenate([to_r, to_z, to_a * sigmoid(r)], axis=-1)
            return to_into, to_back, [arriving[0] * sigmoid(z)]
        a = into + back
        slope = (a > 0) if self.name == "RNN_relu" else slope_of_tanh(a)
        joined = arriving[0] * slope
        return joined, joined, [np.zeros_like(joined)]


GATES = {"RNN_tanh": 1, "RNN_relu": 1, "LSTM": 4, "GRU": 3}


def states_of(name: str) -> tuple[str, ...]:
    """Return the names of the states that a layer carries."""
    return ("h0", "c0") if name == "LSTM" else ("h0",)
