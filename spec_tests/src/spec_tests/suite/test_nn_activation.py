"""The chapter ``nn``: activations, `Bilinear`, `Embedding` and shapes, beside the table's calls."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.inputs import in_double, normal

pytestmark = pytest.mark.sampled(4)

SELU = 1.0507009873554805


@clause("nn-29")
@pytest.mark.parametrize("name", ["SELU", "Mish", "Softplus", "SiLU", "ELU", "GELU"])
def test_far_from_zero(nn: Any, dtype: str, name: str) -> None:
    x = tensor(nn, np.array([-1000, 1000], dtype))
    y = getattr(nn, name)()(x)
    low = {"SELU": -1.7580993408473766, "ELU": -1.0}.get(name, 0.0)
    top = SELU if name == "SELU" else 1.0
    agrees(nn, y, np.array([low, 1000 * top]), "elementwise", call=f"{name} of -1000 and 1000")
    y.backward(nn.ones((2,), dtype=getattr(nn, dtype)))
    agrees(nn, x.grad, np.array([0, top]), "elementwise", call=f"gradient of {name}")


@clause("nn-29")
def test_softplus_is_the_identity_above_its_threshold(nn: Any, dtype: str) -> None:
    values = np.array([0.5, 1.5, 3.0], dtype)
    x = nn.tensor(values)
    layer = nn.Softplus(2.0, 2.0)

    def total(x: Any) -> Any:
        return nn.ops.sum(layer(x))

    first = nn.grad(total, create_graph=True)
    second = nn.grad(lambda x: nn.ops.sum(first(x)))
    exactly(nn, layer(x)[1:], values[1:])
    exactly(nn, first(x)[1:], np.ones(2, dtype))
    exactly(nn, second(x)[1:], np.zeros(2, dtype))
    s = 1 / (1 + np.exp(-1.0))
    agrees(nn, first(x)[0], np.array(s), "elementwise", call="gradient below it")
    agrees(nn, second(x)[0], np.array(2 * s * (1 - s)), "gradient", call="second derivative below")
    with refuses(ValueError, "Softplus", "beta", "0"):
        nn.Softplus(0)


@clause("nn-28")
def test_prelu_at_zero_and_what_does_not_fit(nn: Any, dtype: str) -> None:
    layer = nn.PReLU(3, dtype=getattr(nn, dtype))
    x = tensor(nn, np.array([[0, -2, 3], [0, 4, -5]], dtype))
    layer(x).backward(nn.ones((2, 3), dtype=getattr(nn, dtype)))
    exactly(nn, x.grad, np.array([[0.25, 0.25, 1], [0.25, 1, 0.25]], dtype))
    exactly(nn, layer.weight.grad, np.array([0, -2, -5], dtype))
    one = nn.PReLU(dtype=getattr(nn, dtype))
    exactly(nn, one(nn.tensor(np.array([-4, 0, 2], dtype))), np.array([-1, 0, 2], dtype))
    for shape in ((2, 4), (3,), ()):
        with refuses(ValueError, "PReLU", str(shape), "num_parameters", "3"):
            layer(nn.zeros(shape, dtype=getattr(nn, dtype)))
    with refuses(ValueError, "PReLU", "num_parameters", "0"):
        nn.PReLU(0)


@clause("nn-30")
def test_glu_says_what_does_not_fit(nn: Any) -> None:
    with refuses(ValueError, "GLU", "5", "-1"):
        nn.GLU()(nn.zeros((2, 5)))
    with refuses((ValueError, IndexError), "GLU", "2"):
        nn.GLU(2)(nn.zeros((2, 4)))


@clause("nn-31")
def test_unflatten_says_what_does_not_fit(nn: Any) -> None:
    with refuses(ValueError, "Unflatten", "(2, 4)", "6"):
        nn.Unflatten(1, (2, 4))(nn.zeros((2, 6)))
    with refuses(ValueError, "Unflatten", "(-1, -1)"):
        nn.Unflatten(1, (-1, -1))
    with refuses(TypeError, "Unflatten", "unflattened_size", "2.5"):
        nn.Unflatten(1, (2.5, 4))
    assert tuple(nn.Unflatten(0, [3, 0])(nn.zeros((0, 2))).shape) == (3, 0, 2)


@clause("nn-15")
def test_bilinear_says_what_does_not_fit(nn: Any) -> None:
    layer = nn.Bilinear(3, 4, 2)
    with refuses(ValueError, "Bilinear", "input1", "(5, 4)", "3"):
        layer(nn.zeros((5, 4)), nn.zeros((5, 4)))
    with refuses(ValueError, "Bilinear", "input2", "(5, 3)", "4"):
        layer(nn.zeros((5, 3)), nn.zeros((5, 3)))
    with refuses(ValueError, "Bilinear", "(5, 3)", "(6, 4)"):
        layer(nn.zeros((5, 3)), nn.zeros((6, 4)))
    assert tuple(layer(nn.zeros((3,)), nn.zeros((4,))).shape) == (2,)
    assert tuple(layer(nn.zeros((0, 3)), nn.zeros((0, 4))).shape) == (0, 2)


@clause("nn-16")
def test_renormalized_rows(nn: Any, dtype: str) -> None:
    layer = nn.Embedding(4, 2, max_norm=1.0, dtype=getattr(nn, dtype))
    table = np.array([[3, 4], [0.3, 0.4], [6, 8], [0, 0]], dtype)
    layer.load_state_dict({"weight": table})
    weight = layer.weight
    y = layer(nn.tensor([[0, 1], [0, 3]]))
    assert layer.weight is weight
    want = in_double(table)
    want[0] *= 1 / (5 + 1e-7)
    agrees(nn, weight, want, "elementwise", call="weight after the lookup")
    agrees(nn, y, want[[[0, 1], [0, 3]]], "elementwise", call="what was looked up")
    y.backward(nn.ones((2, 2, 2), dtype=getattr(nn, dtype)))
    exactly(nn, weight.grad, np.array([[2, 2], [1, 1], [0, 0], [1, 1]], dtype))
    for option in ({"max_norm": 0.0}, {"max_norm": -1.0}, {"max_norm": 1.0, "norm_type": 0}):
        name = list(option)[-1]
        with refuses(ValueError, "Embedding", name, str(option[name])):
            nn.Embedding(4, 2, **option)


@clause("nn-16")
def test_gradients_by_frequency(nn: Any, dtype: str) -> None:
    layer = nn.Embedding(4, 2, padding_idx=1, scale_grad_by_freq=True, dtype=getattr(nn, dtype))
    cotangent = normal((2, 3, 2), dtype)
    indices = np.array([[0, 1, 2], [2, 1, 2]])
    layer(nn.tensor(indices)).backward(nn.tensor(cotangent))
    want = np.zeros((4, 2))
    wide = in_double(cotangent)
    want[0] = wide[0, 0]
    want[2] = (wide[0, 2] + wide[1, 0] + wide[1, 2]) / 3
    agrees(nn, layer.weight.grad, want, "gradient", call="scale_grad_by_freq")
    assert not to_numpy(nn, layer.weight.grad)[1].any()


@clause("nn-30")
def test_the_second_half_of_glu_is_the_gate(nn: Any, dtype: str) -> None:
    values = normal((2, 6), dtype)
    wide = in_double(values)
    want = wide[:, :3] / (1 + np.exp(-wide[:, 3:]))
    agrees(nn, nn.GLU()(nn.tensor(values)), want, "elementwise", call="GLU of (2, 6)")


@clause("nn-31")
def test_unflatten_in_the_order_of_its_sizes(nn: Any, dtype: str) -> None:
    values = normal((2, 6), dtype)
    exactly(nn, nn.Unflatten(1, (2, 3))(nn.tensor(values)), values.reshape(2, 2, 3))


@clause("nn-15")
def test_bilinear(nn: Any, dtype: str) -> None:
    layer = nn.Bilinear(3, 4, 2, dtype=getattr(nn, dtype))
    values, others, cotangent = (
        normal(shape, dtype, seed=k) for k, shape in enumerate([(5, 3), (5, 4), (5, 2)])
    )
    x, z = tensor(nn, values), tensor(nn, others)
    layer(x, z).backward(nn.tensor(cotangent))
    y, a, b = (in_double(array) for array in (cotangent, values, others))
    weight = in_double(to_numpy(nn, layer.weight))
    for got, names, parts in (
        (x.grad, "no,oij,nj->ni", (y, weight, b)),
        (z.grad, "no,oij,ni->nj", (y, weight, a)),
        (layer.weight.grad, "no,ni,nj->oij", (y, a, b)),
        (layer.bias.grad, "no->o", (y,)),
    ):
        agrees(nn, got, np.einsum(names, *parts), "gradient", call=f"Bilinear, {names}")


@clause("nn-16")
def test_the_norm_of_rows_has_its_order(nn: Any, dtype: str) -> None:
    layer = nn.Embedding(2, 2, max_norm=1.0, norm_type=1.0, dtype=getattr(nn, dtype))
    table = np.array([[3, -4], [0.25, 0.5]], dtype)
    layer.load_state_dict({"weight": table})
    want = in_double(table)
    want[0] /= 7 + 1e-7
    agrees(nn, layer(nn.tensor([0, 1])), want, "elementwise", call="norm_type=1.0")
