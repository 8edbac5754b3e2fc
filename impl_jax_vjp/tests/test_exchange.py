"""Corners of `convert` that the specification leaves open."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import impl_jax_vjp as nn

convert = nn.rnn.convert
FORMS = ("torch", "keras", "flax", "onnx", "cudnn", "onednn")


@pytest.fixture
def lstm() -> dict[str, np.ndarray]:
    layer = nn.LSTM(3, 3, num_layers=2)
    return {name: parameter.detach().numpy() for name, parameter in layer.named_parameters()}


def test_traced_values_are_refused(lstm: dict[str, np.ndarray]) -> None:
    def traced(bias: jax.Array) -> int:
        return len(convert({**lstm, "bias_ih_l0": bias}))

    with pytest.raises(TypeError, match=r"^convert: 'bias_ih_l0' must be .* of known values, got"):
        jax.jit(traced)(jnp.zeros(12))


@pytest.mark.parametrize("target", FORMS)
def test_results_are_writable_native_and_in_c_order(
    lstm: dict[str, np.ndarray], target: str
) -> None:
    swapped = {name: np.asfortranarray(array.astype(">f4")) for name, array in lstm.items()}
    for name, array in convert(lstm, target=target).items():
        same = convert(swapped, target=target)[name]
        assert same.dtype.isnative
        assert same.flags.c_contiguous
        assert same.flags.writeable
        assert same.tobytes() == array.tobytes()


def test_a_sum_too_large_is_infinite(lstm: dict[str, np.ndarray]) -> None:
    largest = {name: np.full_like(array, 3e38) for name, array in lstm.items()}
    assert np.isinf(convert(largest, target="keras")["l0.bias"]).all()


def test_layers_beyond_all_memory_are_refused_before_they_are_counted(
    lstm: dict[str, np.ndarray],
) -> None:
    flat = convert(lstm, target="cudnn")
    sizes = {"cell": "LSTM", "input_size": 3, "hidden_size": 3, "num_layers": 2**39}
    with pytest.raises(ValueError, match=r"^convert: 'weights' of cudnn must be of shape"):
        convert(flat, "cudnn", **sizes)
    with pytest.raises(ValueError, match=r"^convert: each entry of keras"):
        convert({**convert(lstm, target="keras"), f"l{'9' * 5000}.other": flat["weights"]}, "keras")
