"""Chapter autograd: gradients of complex values, in the one convention, everywhere."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.check.differences import gradients
from spec_tests.support.assertions import agrees, exactly, own, refuses, tensor, to_numpy
from spec_tests.support.complexes import PARTS, leaves_of
from spec_tests.support.dtypes import COMPLEX, there

pytestmark = pytest.mark.sampled(4)

A, B = np.array([0.5, -1.25, 2.0]), np.array([1.5, 0.75, -0.5])
Z = A + 1j * B
W = np.array([1 - 2j, 0.5 + 1j, -1 + 0.25j])


def loss_of(nn: Any, z: Any) -> Any:
    """Return a real loss that is not holomorphic: |exp(z) w|^2 + imag(z^2), summed."""
    y = nn.ops.exp(z) * nn.tensor(
        W.astype("complex64" if z.dtype == nn.complex64 else "complex128")
    )
    size = nn.ops.square(nn.ops.real(y)) + nn.ops.square(nn.ops.imag(y))
    return nn.ops.sum(size + nn.ops.imag(z * z))


def value_of(z: np.ndarray) -> float:
    return float(np.sum(np.abs(np.exp(z) * W) ** 2 + np.imag(z * z)))


def slope() -> np.ndarray:
    """Return dL/da + 1j * dL/db of `value_of` at Z, by differences."""
    one, two = gradients(lambda a, b: value_of(a + 1j * b), [A, B])
    return one + 1j * two


def narrow(dtype: str) -> str:
    return "difference" if dtype == "complex128" else "gradient"


@clause("autograd-47", "autograd-48", "autograd-06")
def test_the_gradient_of_a_complex_value(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        assert z.requires_grad
        assert not z.is_leaf
        assert z.grad_fn is not None
        z.retain_grad()
        loss_of(nn, z).backward()
        want = slope()
        tolerance = narrow(dtype)
        agrees(nn, z.grad, want, tolerance, dtype=dtype, call="grad of z")
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, tolerance, dtype=PARTS[dtype], call="grad of a part")


@clause("autograd-47", "autograd-07", "autograd-26")
def test_hooks_on_complex_values(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        seen: list[Any] = []

        def turn(grad: Any, seen: list[Any] = seen) -> Any:
            seen.append(grad)
            return grad * 1j

        z.register_hook(turn)
        loss_of(nn, z).backward()
        agrees(nn, seen[0], slope(), narrow(dtype), dtype=dtype, call="what the hook got")
        turned = slope() * 1j
        for leaf, part in zip(leaves, (turned.real, turned.imag), strict=True):
            agrees(nn, leaf.grad, part, narrow(dtype), dtype=PARTS[dtype], call="behind the hook")
        (z,), _ = leaves_of(nn, [Z.astype(dtype)])
        z.register_hook(lambda grad: nn.ops.real(grad))
        with refuses((TypeError, ValueError, RuntimeError), *(["hook"] if own(nn) else [])):
            loss_of(nn, z).backward()


@clause("autograd-47", "autograd-02", "autograd-03")
def test_backward_from_a_complex_value(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        y = z * z
        y.backward(nn.tensor(W.astype(dtype)), retain_graph=True)
        want = W * np.conj(2 * Z)
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, "gradient", dtype=PARTS[dtype], call="from y")
        y.backward(nn.tensor(W.astype(dtype)))
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, 2 * part, "gradient", dtype=PARTS[dtype], call="twice")
        if own(nn):
            (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
            z.backward(nn.tensor(A.astype(PARTS[dtype])))
            exactly(nn, leaves[0].grad, A.astype(PARTS[dtype]), dtype=PARTS[dtype])
            exactly(nn, leaves[1].grad, np.zeros(3), dtype=PARTS[dtype], call="a real gradient")


@clause("autograd-41", "autograd-43", "autograd-48")
def test_grad_and_graph_of_complex_tensors(nn: Any) -> None:
    x = tensor(nn, np.array([2, -1], "float32"))
    z = x * (1 + 2j)
    given = nn.tensor(np.array([3j, 1], "complex64"))
    to_x, to_z = nn.grad((z, nn.ops.real(z)), (x, z), (given, nn.ones((2,))))
    exactly(nn, to_z, np.array([1 + 3j, 2], "complex64"))
    exactly(nn, to_x, np.array([7, 2], "float32"))
    assert "digraph" in nn.graph(x * (1 + 2j))


@clause("autograd-48", "autograd-02")
def test_backward_that_is_refused(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        for shape in ((), (1,), (3,)):
            (z,), leaves = leaves_of(nn, [np.full(shape, 1 + 1j, dtype)])
            with refuses(RuntimeError, *([dtype] if shape in ((), (1,)) else [])):
                (z * z).backward()
            assert all(leaf.grad is None for leaf in leaves)
        x = tensor(nn, np.ones(3, PARTS[dtype]))
        with refuses(
            TypeError if own(nn) else (TypeError, RuntimeError), *([dtype] if own(nn) else [])
        ):
            (x * 2).backward(nn.tensor(W.astype(dtype)))
        assert x.grad is None


@clause("autograd-48", "autograd-08")
def test_modes_and_detached_values(nn: Any) -> None:
    (z,), _ = leaves_of(nn, [Z.astype("complex64")])
    with nn.no_grad():
        assert not (z * z).requires_grad
    assert not z.detach().requires_grad
    assert not nn.ops.equal(z, z).requires_grad
    assert nn.ops.real(z).requires_grad
    assert nn.ops.abs(z).requires_grad
    assert not (nn.tensor([1j]) * 2).requires_grad
    assert (nn.tensor([1j]) * tensor(nn, np.ones(1, "float32"))).requires_grad


@clause("autograd-49", "autograd-14", "autograd-15")
def test_grad_by_complex_arguments(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        z = nn.tensor(Z.astype(dtype))
        got = nn.grad(lambda z: loss_of(nn, z))(z)
        agrees(nn, got, slope(), narrow(dtype), dtype=dtype, call="grad by z")
        value, got = nn.value_and_grad(lambda z: loss_of(nn, z["z"]))({"z": z})
        agrees(nn, value, np.asarray(value_of(Z)), "reduction", dtype=PARTS[dtype])
        agrees(nn, got["z"], slope(), narrow(dtype), dtype=dtype, call="value_and_grad by z")
        unused = nn.grad(lambda x, z: nn.ops.sum(x), argnums=1)(nn.ones((2,)), z)
        exactly(nn, unused, np.zeros(3, dtype), dtype=dtype, call="grad by what is not used")


@clause("autograd-49", "autograd-16")
def test_vjp_of_complex_values(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        x, z = nn.tensor(A.astype(PARTS[dtype])), nn.tensor(Z.astype(dtype))
        output, pull = nn.vjp(lambda x, z: (nn.ops.exp(x * z), nn.ops.real(z)), x, z)
        agrees(nn, output[0], np.exp(A * Z), "elementwise", dtype=dtype, call="output of vjp")
        cotangents = (nn.tensor(W.astype(dtype)), nn.tensor(B.astype(PARTS[dtype])))
        first, second = pull(cotangents)
        slopes = W * np.conj(np.exp(A * Z))
        agrees(nn, first, np.real(slopes * np.conj(Z)), "gradient", dtype=PARTS[dtype])
        agrees(nn, second, slopes * A + B, "gradient", dtype=dtype, call="vjp by z")


@clause("autograd-49", "autograd-34", "autograd-35", needs="double_backward")
def test_jvp_of_complex_values(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        x, z = nn.tensor(A.astype(PARTS[dtype])), nn.tensor(Z.astype(dtype))
        dx, dz = nn.tensor(B.astype(PARTS[dtype])), nn.tensor(W.astype(dtype))

        def fn(x: Any, z: Any) -> Any:
            return nn.ops.exp(x * z), nn.ops.conj(z) * z, nn.ops.abs(z)

        want = (
            np.exp(A * Z) * (B * Z + A * W),
            np.conj(W) * Z + np.conj(Z) * W,
            np.real(np.conj(Z) * W) / np.abs(Z),
        )
        _, tangents = nn.jvp(fn, (x, z), (dx, dz))
        _, push = nn.linearize(fn, x, z)
        for got in (tangents, push(dx, dz)):
            for tangent, wanted in zip(got, want, strict=True):
                wide = dtype if wanted.dtype.kind == "c" else PARTS[dtype]
                agrees(nn, tangent, wanted, "gradient", dtype=wide, call="jvp")


@clause("autograd-49")
def test_transformations_that_want_real_results(nn: Any) -> None:
    x = nn.tensor([1.0, 2.0])

    def turned(x: Any) -> Any:
        return nn.ops.sum(x * 1j)

    for name in ("grad", "value_and_grad"):
        with refuses(TypeError, name, "complex64"):
            getattr(nn, name)(turned)(x)


@clause("autograd-49", needs="double_backward")
def test_higher_transformations_that_want_real_results(nn: Any) -> None:
    x, z = nn.tensor([1.0, 2.0]), nn.tensor([1j, 2])

    def turned(x: Any) -> Any:
        return nn.ops.sum(x * 1j)

    def size(z: Any) -> Any:
        return nn.ops.sum(nn.ops.abs(z))

    for name in ("jacrev", "jacfwd", "jacobian", "hessian"):
        for fn, value in ((turned, x), (size, z)):
            # `jacobian` is `jacrev`.
            with refuses(TypeError, name.replace("jacobian", "jacrev"), "complex64"):
                getattr(nn, name)(fn)(value)
    with refuses(TypeError, "hvp", "complex64"):
        nn.hvp(turned, (x,), (x,))


@clause("autograd-49", "autograd-37", "autograd-13", needs=("double_backward", "float64"))
def test_second_derivatives_through_complex_values(nn: Any) -> None:
    def real_loss(x: Any) -> Any:
        return loss_of(nn, x[:3] + 1j * x[3:])

    point = np.concatenate([A, B])
    check_gradients(nn, real_loss, [point], second_order=True, call="the loss")
    got = nn.hessian(real_loss)(nn.tensor(point))

    def first(x: np.ndarray, k: int) -> float:
        return float(to_numpy(nn, nn.grad(real_loss)(nn.tensor(x)))[k])

    want = [gradients(lambda x, k=k: first(x, k), [point])[0] for k in range(6)]
    agrees(nn, got, np.stack(want), "difference", dtype="float64", call="hessian")
    product = nn.hvp(real_loss, (nn.tensor(point),), (nn.tensor(point[::-1].copy()),))[0]
    agrees(nn, product, to_numpy(nn, got) @ point[::-1], "difference", dtype="float64", call="hvp")


@clause("autograd-13", "autograd-48", needs="double_backward")
@pytest.mark.parametrize("turn", [1, 1j])
def test_a_recorded_pass_within_no_grad(nn: Any, turn: complex) -> None:
    x = tensor(nn, np.array([2.0, -1.0], "float32"))
    z = x * turn
    y = nn.ops.sum(nn.ops.real(z * z * z * z))
    with nn.no_grad():
        y.backward(create_graph=True, retain_graph=True)
        (to_z,) = nn.grad(y, (z,), create_graph=True)
    slope, x.grad = x.grad, None
    for got in (slope, nn.ops.real(to_z) if turn == 1 else nn.ops.imag(to_z)):
        assert got.requires_grad
        exactly(nn, got.detach(), np.array([32, -4], "float32"))
        x.grad = None
        nn.ops.sum(got).backward(retain_graph=True)
        exactly(nn, x.grad, np.array([48, 12], "float32"))


@clause("autograd-49", "autograd-17", needs=("double_backward", "float64"))
def test_gradients_of_complex_gradients(nn: Any) -> None:
    # The gradient of sum |z|^4 is 4 |z|^2 z, and that of its size squared 96 |z|^4 z.
    def quartic(z: Any) -> Any:
        return nn.ops.sum(nn.ops.square(nn.ops.square(nn.ops.abs(z))))

    def squared(z: Any) -> Any:
        slopes = nn.grad(quartic, create_graph=True)(z)
        return nn.ops.sum(nn.ops.square(nn.ops.abs(slopes)))

    got = nn.grad(squared)(nn.tensor(Z))
    want = 96 * np.abs(Z) ** 4 * Z
    agrees(nn, got, want, "difference", dtype="complex128", call="grad of grad")


@clause("autograd-48", "autograd-20", needs="jit")
def test_jit_of_complex_values(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        z = nn.tensor(Z.astype(dtype))
        fast = nn.jit(lambda z: (nn.ops.exp(z), nn.ops.abs(z)))
        for got, want in zip(fast(z), (np.exp(Z), np.abs(Z)), strict=True):
            wide = dtype if want.dtype.kind == "c" else PARTS[dtype]
            agrees(nn, got, want, "elementwise", dtype=wide, call="jit")
        x = tensor(nn, A.astype(PARTS[dtype]))
        b = nn.tensor(B.astype(PARTS[dtype]))
        nn.jit(lambda x, b=b: loss_of(nn, x + 1j * b))(x).backward()
        agrees(nn, x.grad, slope().real, narrow(dtype), dtype=PARTS[dtype], call="behind jit")


@clause("autograd-48", "autograd-39")
def test_checkpoints_of_complex_values(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        y = nn.checkpoint(lambda z: z * z, z)
        assert y.requires_grad
        nn.checkpoint(lambda y: nn.ops.sum(nn.ops.imag(y)), y).backward()
        want = 1j * np.conj(2 * Z)
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, "gradient", dtype=PARTS[dtype], call="checkpoint")


@clause("autograd-24", "autograd-48")
def test_values_that_were_changed(nn: Any) -> None:
    (z,), leaves = leaves_of(nn, [Z.astype("complex64")])
    constant = nn.tensor(W.astype("complex64"))
    y = nn.ops.sum(nn.ops.real(z * constant))
    constant.data = nn.tensor(np.zeros(3, "complex64")).data
    try:
        y.backward()
    except RuntimeError as error:
        assert str(error)  # noqa: PT017
        return
    want = np.conj(W)
    for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
        agrees(nn, leaf.grad, part, "gradient", dtype="float32", call="the gradient at old values")


@clause("tensor-24", "autograd-48")
@pytest.mark.parametrize("way", ["index", "take", "iterate", "concat", "where"])
def test_moved_elements(nn: Any, way: str) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        ways = {
            "index": lambda: z[nn.tensor([2, 0, 2])],  # noqa: B023
            "take": lambda: nn.ops.take(z, nn.tensor([2, 0, 2])),  # noqa: B023
            "iterate": lambda: nn.ops.stack([list(z)[k] for k in (2, 0, 2)]),  # noqa: B023
            "concat": lambda: nn.ops.concat([z[2:], z[:1], z[2:]]),  # noqa: B023
            "where": lambda: nn.ops.where(nn.tensor([True, False, True]), z[2], z[0]),  # noqa: B023
        }
        got = ways[way]()
        exactly(nn, got, Z[[2, 0, 2]].astype(dtype), dtype=dtype, call=way)
        got.backward(nn.tensor(W.astype(dtype)))
        want = np.array([W[1], 0, W[0] + W[2]])
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, "gradient", dtype=PARTS[dtype], call=f"gradient of {way}")


@clause("tensor-18", "tensor-29", "autograd-47", "ops-25")
def test_a_real_parameter_of_a_complex_model(nn: Any) -> None:
    """An oscillator's frequency is found by descent through complex exponentials."""
    t = np.linspace(0.0, 1.0, 20, dtype="float32")
    target = np.exp(1j * 2.5 * t).astype("complex64")
    frequency = tensor(nn, np.array(2.0, "float32"))
    losses = []
    for _ in range(40):
        frequency.grad = None
        off = nn.ops.exp(1j * frequency * nn.tensor(t)) - nn.tensor(target)
        loss = nn.ops.mean(nn.ops.square(nn.ops.abs(off)))
        loss.backward()
        losses.append(float(loss.detach().item()))
        frequency = tensor(
            nn, to_numpy(nn, frequency) - np.float32(0.5) * to_numpy(nn, frequency.grad)
        )
    assert losses[-1] < 1e-6 * losses[0], losses[-1]
    assert abs(float(to_numpy(nn, frequency)) - 2.5) < 1e-3
