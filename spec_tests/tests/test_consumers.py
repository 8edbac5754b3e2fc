"""Code that others wrote for the array API standard runs on Tensors of each implementation.

Chosen are functions that ask for nothing but the standard without item assignment, which a Tensor
refuses (ops-56): of array-api-extra `cov`, `kron` and `one_hot`, of scikit-learn `PCA` by a full
svd. They ask a Tensor for `__array_namespace__` and get `ops`. The Tensor of impl_torch_ext is
torch.Tensor, which has no such method: there they take the namespace of array-api-compat, so what
is shown is that a Tensor is what its backend's users hold.
"""

import importlib
import importlib.util

import numpy as np
import pytest

from spec_tests.support.assertions import agrees

ON_REQUEST = "it is installed for the session array_api: spec_tests[standard]"


@pytest.fixture(params=["impl_numpy", "impl_cupy", "impl_torch_ext", "impl_jax_vjp"])
def nn(request):
    spec = importlib.util.find_spec(request.param)
    # A folder of that name in the working directory is found too, but has no origin.
    if spec is None or spec.origin is None:
        pytest.skip(f"{request.param} is not installed here")
    module = importlib.import_module(request.param)
    is_own = not module.Tensor.__module__.startswith("torch")
    if is_own and not hasattr(module.Tensor, "__array_namespace__"):
        pytest.fail(f"{request.param}.Tensor has no __array_namespace__", pytrace=False)
    return module


@pytest.fixture
def xpx():
    return pytest.importorskip("array_api_extra", reason=ON_REQUEST)


@pytest.fixture
def normal():
    return np.random.default_rng(0).standard_normal((5, 12))


def test_array_api_extra_cov(nn, xpx, normal):
    got = xpx.cov(nn.tensor(normal))
    assert isinstance(got, nn.Tensor)
    agrees(nn, got, np.cov(normal), "reduction", call="cov(x (5, 12))")


def test_gradients_pass_through_array_api_extra(nn, xpx, normal):
    # With x - mean = c, cov is c c^T / (n - 1), and the gradient of sum(w * cov) is
    # (w + w^T) c / (n - 1): the rows of c have sum 0, so the mean adds nothing.
    x = nn.tensor(normal, requires_grad=True)
    weights = np.random.default_rng(1).standard_normal((5, 5))
    (xpx.cov(x) * nn.tensor(weights)).sum().backward()
    centred = normal - normal.mean(axis=1, keepdims=True)
    agrees(nn, x.grad, (weights + weights.T) @ centred / 11, "gradient", call="cov(x (5, 12))")


def test_array_api_extra_kron(nn, xpx, normal):
    got = xpx.kron(nn.tensor(normal[:2, :3]), nn.tensor(normal[2:4]))
    assert isinstance(got, nn.Tensor)
    want = np.kron(normal[:2, :3], normal[2:4])
    agrees(nn, got, want, "elementwise", call="kron(a (2, 3), b (2, 12))")


def test_array_api_extra_one_hot(nn, xpx):
    got = xpx.one_hot(nn.tensor(np.array([2, 0, 1])), 3)
    assert isinstance(got, nn.Tensor)
    np.testing.assert_array_equal(got.numpy(), np.eye(3)[[2, 0, 1]])


def test_scikit_learn_pca(nn, monkeypatch):
    # Without it scikit-learn refuses to hand arrays on that are not NumPy's.
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    sklearn = pytest.importorskip("sklearn", reason=ON_REQUEST)
    decomposition = importlib.import_module("sklearn.decomposition")
    rng = np.random.default_rng(2)
    # Of size about 1, with singular values apart from each other.
    data = rng.standard_normal((40, 4)) * [1.0, 0.5, 0.25, 0.125]
    reference = decomposition.PCA(n_components=2, svd_solver="full").fit(data)
    with sklearn.config_context(array_api_dispatch=True):
        found = decomposition.PCA(n_components=2, svd_solver="full").fit(nn.tensor(data))
        got = found.transform(nn.tensor(data))
        back = found.inverse_transform(got)
    for name in ("components_", "explained_variance_", "mean_", "singular_values_"):
        value = getattr(found, name)
        assert isinstance(value, nn.Tensor), name
        # A svd is exact to some roundings of the largest singular value.
        agrees(nn, value, getattr(reference, name), "rnn", call=f"PCA.{name}")
    scores = reference.transform(data)
    agrees(nn, got, scores, "rnn", call="PCA.transform")
    agrees(nn, back, reference.inverse_transform(scores), "rnn", call="PCA.inverse_transform")
