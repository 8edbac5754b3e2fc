"""The tools of autograd on complex values: programs see one convention, the tape has another."""

from contextlib import nullcontext

import numpy as np
import pytest

import impl_numpy as nn

A = np.array([0.3, -1.2, 0.8])
B = np.array([0.9, 0.4, -0.7])
W = np.array([1.0 - 2.0j, 0.5j, -0.4 + 0.1j])


def made(a=A, b=B):
    """Return leaves, the complex values z and y = w z^2, and the real sum of |y|^2 + Im y."""
    a, b = nn.tensor(a, requires_grad=True), nn.tensor(b, requires_grad=True)
    z = a + 1j * b
    y = z * z * W
    return a, b, z, y, nn.ops.sum(nn.ops.real(y * nn.ops.conj(y)) + nn.ops.imag(y))


def of_y():
    """Return dL/d(Re y) + i dL/d(Im y)."""
    z = A + 1j * B
    return 2 * z * z * W + 1j


def of_z():
    return of_y() * np.conj(2 * (A + 1j * B) * W)


def squared(a, b):
    """Return the sum of |g|^2 + Im g^2 of the gradient g of z, as a number."""
    _, _, z, _, loss = made(a, b)
    g = nn.grad(loss, z)[0].numpy()
    return float(np.sum(np.abs(g) ** 2 + (g * g).imag))


def test_gradients_of_tensors_and_weights_are_those_of_programs():
    a, b, z, y, loss = made()
    found = nn.grad(loss, [y, z, a, b], retain_graph=True)
    for g, wanted in zip(found, (of_y(), of_z(), of_z().real, of_z().imag), strict=True):
        np.testing.assert_allclose(g.numpy(), wanted)
    onward = nn.grad(y, [z, b, y], found[0])
    for g, wanted in zip(onward, (of_z(), of_z().imag, of_y()), strict=True):
        np.testing.assert_allclose(g.numpy(), wanted)


@pytest.mark.parametrize("record", [False, True])
def test_backward_fills_named_complex_tensors_and_can_go_on_from_them(record):
    a, _, z, y, loss = made()
    loss.backward(inputs=[y], create_graph=record)
    np.testing.assert_allclose(y.grad.detach().numpy(), of_y())
    y.backward(y.grad, inputs=[z, a])
    np.testing.assert_allclose(z.grad.detach().numpy(), of_z())
    np.testing.assert_allclose(a.grad.detach().numpy(), of_z().real)


@pytest.mark.parametrize("mode", [nullcontext, nn.no_grad])
def test_recorded_complex_gradients_have_their_history_without_recording_too(mode):
    a, b, z, _, loss = made()
    with mode():
        (g,) = nn.grad(loss, z, create_graph=True)
    both = nn.grad(nn.ops.sum(nn.ops.real(g * nn.ops.conj(g)) + nn.ops.imag(g * g)), [a, b])
    step = 1e-6
    for k in range(3):
        d = step * np.eye(3)[k]
        by_a = (squared(A + d, B) - squared(A - d, B)) / (2 * step)
        by_b = (squared(A, B + d) - squared(A, B - d)) / (2 * step)
        np.testing.assert_allclose([by_a, by_b], [g.numpy()[k] for g in both], rtol=1e-5)


@pytest.mark.parametrize("mode", [nullcontext, nn.no_grad])
def test_a_complex_weight_keeps_its_history(mode):
    _, _, z, y, _ = made()
    u = nn.tensor(A, requires_grad=True)
    weight = u + 2j * u
    with mode():
        (g,) = nn.grad(y, z, weight, create_graph=True)
    (slope,) = nn.grad(nn.ops.sum(nn.ops.real(g)), u)
    np.testing.assert_allclose(slope.numpy(), ((1 + 2j) * np.conj(2 * (A + 1j * B) * W)).real)


def test_hooks_of_a_pass_with_targets_see_what_others_do():
    a, _, z, y, loss = made()
    seen = []
    y.register_hook(lambda g: seen.append(g.numpy().copy()))
    z.register_hook(lambda g: 1j * g)
    (g,) = nn.grad(loss, a)
    np.testing.assert_allclose(seen, [of_y()])
    np.testing.assert_allclose(g.numpy(), (1j * of_z()).real)


def test_what_is_refused_names_grad():
    _, _, z, y, loss = made()
    with pytest.raises(RuntimeError, match="grad: complex128"):
        nn.grad(y[0], z)
    with pytest.raises(TypeError, match="grad: the gradient of float64 must be real"):
        nn.grad(loss, z, np.array(1j))


def test_anomalies_of_complex_numbers():
    with nn.detect_anomaly():
        with pytest.raises(RuntimeError, match="log: .*infinity"):
            nn.ops.log(nn.tensor([0j]))
        made = nn.tensor([1j]) * complex(np.inf, 0)
    assert not np.isfinite(made.numpy()).any()


def test_complex_arrays_go_through_the_hooks_of_what_is_saved():
    kept = []

    def pack(x):
        kept.append(x.dtype)
        return x.numpy().copy()

    with nn.saved_tensors_hooks(pack, lambda x: x):
        a, _, z, _, loss = made()
    assert nn.complex128 in kept
    loss.backward(inputs=[a, z])
    np.testing.assert_allclose(z.grad.numpy(), of_z())
    np.testing.assert_allclose(a.grad.numpy(), of_z().real)
