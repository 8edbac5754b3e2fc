"""Steps of the cells beyond torch's, in float64, as the chapter ``rnn`` writes them."""

from typing import Any

import numpy as np

from spec_tests.support.recurrence import sigmoid

Arrays = dict[str, np.ndarray]


def _normalized(p: Arrays, name: str, x: np.ndarray, eps: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + eps)
    return np.asarray(scaled * p[f"{name}.weight"] + p.get(f"{name}.bias", 0.0))


def layer_norm_lstm(p: Arrays, x: np.ndarray, h: np.ndarray, c: np.ndarray, eps: float) -> Any:
    """Return h' and c' of a LayerNormLSTMCell."""  # rnn-46
    a = _normalized(p, "norm_ih", x @ p["weight_ih"].T, eps)
    a = a + _normalized(p, "norm_hh", h @ p["weight_hh"].T, eps)
    i, f, g, o = np.split(a, 4, axis=-1)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(_normalized(p, "norm_c", c, eps)), c


def layer_norm_gru(p: Arrays, x: np.ndarray, h: np.ndarray, eps: float) -> Any:
    """Return h' of a LayerNormGRUCell."""  # rnn-47
    size = h.shape[-1]
    into, back = x @ p["weight_ih"].T, h @ p["weight_hh"].T
    gates = _normalized(p, "norm_ih", into[..., : 2 * size], eps)
    gates = gates + _normalized(p, "norm_hh", back[..., : 2 * size], eps)
    r, z = np.split(sigmoid(gates), 2, axis=-1)
    inner = r * _normalized(p, "norm_hn", back[..., 2 * size :], eps)
    n = np.tanh(_normalized(p, "norm_in", into[..., 2 * size :], eps) + inner)
    return ((1 - z) * n + z * h,)


def peephole_lstm(p: Arrays, x: np.ndarray, h: np.ndarray, c: np.ndarray) -> Any:
    """Return h' and c' of a PeepholeLSTMCell."""  # rnn-48
    a = x @ p["weight_ih"].T + h @ p["weight_hh"].T + p.get("bias_ih", 0.0) + p.get("bias_hh", 0.0)
    i, f, g, o = np.split(a, 4, axis=-1)
    to_i, to_f, to_o = np.split(p["weight_ch"], 3)
    c = sigmoid(f + to_f * c) * c + sigmoid(i + to_i * c) * np.tanh(g)
    return sigmoid(o + to_o * c) * np.tanh(c), c
