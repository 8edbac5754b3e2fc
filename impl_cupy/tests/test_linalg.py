"""What of linalg is CuPy's own: who waits for the device, and who falls back on the host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import impl_cupy as nn
from impl_cupy.backend import EMULATED, cp
from impl_cupy.ops import matrices

RNG = np.random.default_rng(3)
GENERAL = RNG.normal(size=(2, 4, 4))
DEFINITE = GENERAL @ GENERAL.swapaxes(-1, -2) + np.eye(4)
linalg = nn.ops.linalg


def no_geev(raw: Any) -> Any:
    msg = "geev is not available"
    raise RuntimeError(msg)


@pytest.mark.parametrize("complex_", [False, True])
def test_eig_on_the_host(monkeypatch: pytest.MonkeyPatch, complex_: bool) -> None:
    x = nn.tensor(GENERAL + 1j * GENERAL[::-1] if complex_ else GENERAL)
    want = [part.numpy() for part in linalg.eig(x)]
    alone = linalg.eigvals(x).numpy()
    monkeypatch.setattr(cp.linalg, "eig", no_geev)
    monkeypatch.setattr(cp.linalg, "eigvals", no_geev)
    for got, expected in zip(linalg.eig(x), want, strict=True):
        assert got.dtype == nn.complex128
        np.testing.assert_allclose(got.numpy(), expected, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(linalg.eigvals(x).numpy(), alone, rtol=1e-12, atol=1e-12)


def test_other_errors_of_eig_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(raw: Any) -> Any:
        msg = "cudaErrorLaunchFailure"
        raise RuntimeError(msg)

    monkeypatch.setattr(cp.linalg, "eig", broken)
    with pytest.raises(RuntimeError, match="cudaErrorLaunchFailure"):
        linalg.eig(nn.tensor(GENERAL))


QUIET: dict[str, Callable[[Any], Any]] = {
    "qr": lambda x: linalg.qr(x).R,
    "svd": lambda x: linalg.svd(x).S,
    "svdvals": lambda x: linalg.svdvals(x),
    "eigh": lambda x: linalg.eigh(x).eigenvalues,
    "eig": lambda x: nn.ops.real(linalg.eig(x).eigenvectors),
    "det": lambda x: linalg.det(x),
    "slogdet": lambda x: linalg.slogdet(x).logabsdet,
    "pinv": lambda x: linalg.pinv(x),
    "matrix_rank": lambda x: linalg.matrix_rank(x),
    "matrix_norm": lambda x: linalg.matrix_norm(x, ord="nuc"),
    "fft": lambda x: nn.ops.real(nn.ops.fft.fft(x)),
    "irfft": lambda x: nn.ops.fft.irfft(x),
}


@pytest.mark.skipif(not EMULATED, reason="CuPy's own class cannot be patched")
@pytest.mark.parametrize("name", QUIET)
def test_who_does_not_wait_for_the_device(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A NaN is found and put in its place on the device; gradients ask for nothing either."""
    values = DEFINITE.copy()
    values[0, 1, 0] = np.nan
    x = nn.tensor(values, requires_grad=True)
    function = QUIET[name]
    seed = nn.ops.ones_like(function(x.detach())) if name != "matrix_rank" else None

    def waits(*arguments: Any) -> Any:
        msg = "this waits for the device"
        raise AssertionError(msg)

    for method in ("__bool__", "__int__", "__float__", "item", "get", "tolist"):
        monkeypatch.setattr(cp.ndarray, method, waits)
    result = function(x)
    if seed is not None:
        result.backward(seed)


def test_a_solver_of_stacks_alone_may_refuse(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names the shape where no matrix by itself is refused."""
    real = cp.linalg.inv

    def strict(raw: Any) -> Any:
        if raw.ndim > 2:
            raise np.linalg.LinAlgError
        return real(raw)

    monkeypatch.setattr(cp.linalg, "inv", strict)
    with pytest.raises(ValueError, match=r"inv: one of the matrices of shape \(2, 4, 4\)") as error:
        linalg.inv(nn.tensor(DEFINITE))
    assert not isinstance(error.value, np.linalg.LinAlgError)


def test_one_matrix_for_many_sides_is_factored_once(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = DEFINITE[0], RNG.normal(size=(3, 2, 4, 5))
    seen = []
    real = cp.linalg.solve

    def counted(left: Any, right: Any) -> Any:
        seen.append(left.shape)
        return real(left, right)

    monkeypatch.setattr(cp.linalg, "solve", counted)
    got = linalg.solve(nn.tensor(a), nn.tensor(b)).numpy()
    assert seen == [(4, 4)]
    np.testing.assert_allclose(got, np.linalg.solve(a, b), rtol=1e-10)


def test_nodes_of_several_results_let_go() -> None:
    x = nn.tensor(DEFINITE, requires_grad=True)
    u, s, _ = linalg.svd(x)
    (u.sum() + s.sum()).backward()
    with pytest.raises(RuntimeError, match="freed"):
        s.sum().backward()
    assert isinstance(u._node, matrices.SeveralNode)
    assert (u._node.results, u._node.x) == ((), None)


def test_a_result_that_is_written_meanwhile() -> None:
    """The vectors are what the gradient of the values is made of (autograd-24)."""
    x = nn.tensor(DEFINITE, requires_grad=True)
    values, vectors = linalg.eigh(x)
    vectors.data[...] = 0
    with pytest.raises(RuntimeError, match=r"eigh.*\(2, 4, 4\)"):
        values.sum().backward()


SEVERAL: dict[str, Callable[[Any], Any]] = {
    "qr": lambda x: linalg.qr(x).Q,
    "svd": lambda x: linalg.svd(x).Vh,
    "eigh": lambda x: linalg.eigh(x).eigenvectors,
    "eig": lambda x: nn.ops.abs(linalg.eig(x).eigenvectors),
    "slogdet": lambda x: linalg.slogdet(x).logabsdet,
}


@pytest.mark.parametrize("name", SEVERAL)
def test_what_several_results_keep_is_packed(name: str) -> None:
    def derivatives() -> list[Any]:
        x = nn.tensor(DEFINITE, requires_grad=True)
        made = SEVERAL[name](x)
        made = made[..., 0, 1] if made.ndim > 2 else made
        (first,) = nn.grad(made.sum(), [x], create_graph=True)
        nn.ops.sum(first * first).backward()
        return [first.detach().numpy(), x.grad.numpy()]

    asked: list[Any] = []

    def unpack(held: Any) -> Any:
        asked.append(held)
        return nn.tensor(held)

    plain = derivatives()
    with nn.saved_tensors_hooks(lambda kept: kept.numpy().copy(), unpack):
        packed = derivatives()
    assert len(asked) > 2
    for got, want in zip(packed, plain, strict=True):
        np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", ["inv", "slogdet", "solve"])
def test_what_is_not_finite_is_found(name: str) -> None:
    functions = {"solve": lambda x: linalg.solve(x, nn.ops.ones_like(x))}
    function = functions.get(name) or getattr(linalg, name)
    value = 0.0 if name == "slogdet" else 1e-310
    with nn.detect_anomaly(), pytest.raises(RuntimeError, match=f"^{name}: .*infinity"):
        function(nn.tensor(np.full((1, 1), value)))


def test_a_result_of_several_is_an_input_of_a_pass() -> None:
    x = nn.tensor(DEFINITE, requires_grad=True)
    q, r = linalg.qr(x)
    (to_q,) = nn.grad((q.sum() * r.sum()), [q])
    np.testing.assert_allclose(to_q.numpy(), np.broadcast_to(r.detach().sum().numpy(), q.shape))
