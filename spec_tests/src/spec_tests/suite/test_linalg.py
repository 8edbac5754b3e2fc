"""Chapter linalg: gauges, triangles, shapes and sizes."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check.differences import gradients
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.calls import results
from spec_tests.support.matrices import adjoint, definite, drawn, general, hermitian, regular

pytestmark = pytest.mark.sampled(6)

SHAPES = [(1, 1), (2, 2), (33, 33), (65, 65), (65, 33), (33, 65)]
SQUARE = [shape for shape in SHAPES if shape[0] == shape[1]]
# What solve refuses: of two stacks, their lengths do not broadcast.
UNFIT: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    ((3, 3), (2,)),
    ((3, 3), (2, 1)),
    ((2, 3, 3), (3, 3, 1)),
    ((3, 3), ()),
]
HERMITIAN = ("cholesky", "eigh", "eigvalsh")


def arrays_of(nn: Any, value: Any) -> list[np.ndarray]:
    """Return a function's results in float64."""
    return [to_numpy(nn, part).astype(np.float64) for part in results(value)]


def is_small(
    difference: np.ndarray, size: float, shape: tuple[int, ...], dtype: str, what: str
) -> None:
    """Hold a residue to the bound of linalg-22."""
    __tracebackhide__ = True
    bound = 4 * max(shape) * float(np.finfo(dtype).eps) * size
    error = float(np.linalg.norm(difference))
    assert error <= bound, f"{what} of {shape}, {dtype}: residue {error:.3g}, allowed {bound:.3g}"


def is_orthonormal(columns: np.ndarray, dtype: str, what: str) -> None:
    """Hold the columns' inner products to the bound of linalg-22."""
    __tracebackhide__ = True
    count = columns.shape[-1]
    products = adjoint(columns) @ columns - np.eye(count)
    is_small(products, count**0.5, columns.shape, dtype, f"columns of {what}")


def is_in_gauge(columns: np.ndarray, what: str) -> None:
    """Hold the largest component of each column to be positive."""
    __tracebackhide__ = True
    # Two components that rounding may exchange say nothing.
    sizes = np.sort(abs(columns), axis=0)
    clear = sizes[-1] > sizes[-2] * (1 + 1e-4) if len(columns) > 1 else sizes[-1] > 0
    largest = np.take_along_axis(columns, np.argmax(abs(columns), 0)[None], 0)[0]
    assert np.all(largest[clear] > 0), f"{what}: the largest components should be positive"


@clause("linalg-22", "linalg-12")
def test_sizes_of_qr(nn: Any, dtype: str) -> None:
    for shape in SHAPES:
        check_qr(nn, dtype, shape)


def check_qr(nn: Any, dtype: str, shape: tuple[int, int]) -> None:
    """Compare one size."""
    __tracebackhide__ = True
    x = regular(shape, dtype)
    for mode in ("reduced", "complete"):
        q, r = arrays_of(nn, nn.ops.linalg.qr(nn.tensor(x), mode=mode))
        k = min(shape) if mode == "reduced" else shape[0]
        assert (q.shape, r.shape) == ((shape[0], k), (k, shape[1])), f"qr {mode} of {shape}"
        is_small(x - q @ r, float(np.linalg.norm(x)), shape, dtype, f"qr {mode}")
        is_orthonormal(q, dtype, f"qr {mode}")
        assert np.all(np.tril(r, -1) == 0), f"qr of {shape}: R should be 0 below its diagonal"
        assert np.all(np.diagonal(r) > 0), f"qr of {shape}: the diagonal of R should be positive"


@clause("linalg-22", "linalg-14")
def test_sizes_of_svd(nn: Any, dtype: str) -> None:
    for shape in SHAPES:
        check_svd(nn, dtype, shape)


def check_svd(nn: Any, dtype: str, shape: tuple[int, int]) -> None:
    """Compare one size."""
    __tracebackhide__ = True
    x = regular(shape, dtype)
    k, (m, n) = min(shape), shape
    want = np.linalg.svd(x.astype(np.float64), compute_uv=False)
    for full in (False, True):
        u, s, vh = arrays_of(nn, nn.ops.linalg.svd(nn.tensor(x), full_matrices=full))
        shapes = ((m, m), (k,), (n, n)) if full else ((m, k), (k,), (k, n))
        assert (u.shape, s.shape, vh.shape) == shapes, f"svd of {shape}, full_matrices={full}"
        is_small(x - (u[:, :k] * s) @ vh[:k], float(np.linalg.norm(x)), shape, dtype, "svd")
        is_orthonormal(u, dtype, "U")
        is_orthonormal(vh.T, dtype, "Vh")
        is_in_gauge(u[:, :k], f"svd of {shape}")
        assert np.all(np.diff(s) <= 0), f"svd of {shape}: S should descend"
        is_small(s - want, float(want[0]), shape, dtype, "singular values")
    (alone,) = arrays_of(nn, nn.ops.linalg.svdvals(nn.tensor(x)))
    is_small(alone - want, float(want[0]), shape, dtype, "svdvals")


@clause("linalg-22", "linalg-13", "linalg-11")
def test_sizes_of_hermitian_matrices(nn: Any, dtype: str) -> None:
    for shape in SQUARE:
        check_hermitian_matrices(nn, dtype, shape)


def check_hermitian_matrices(nn: Any, dtype: str, shape: tuple[int, int]) -> None:
    """Compare one size."""
    __tracebackhide__ = True
    x = hermitian(shape, dtype)
    want = np.linalg.eigvalsh(x.astype(np.float64))
    w, v = arrays_of(nn, nn.ops.linalg.eigh(nn.tensor(x)))
    is_small(x - (v * w) @ v.T, float(np.linalg.norm(x)), shape, dtype, "eigh")
    is_orthonormal(v, dtype, "eigh")
    is_in_gauge(v, f"eigh of {shape}")
    assert np.all(np.diff(w) >= 0), f"eigh of {shape}: eigenvalues should ascend"
    (alone,) = arrays_of(nn, nn.ops.linalg.eigvalsh(nn.tensor(x)))
    largest = float(np.max(abs(want)))
    for got, what in ((w, "eigenvalues of eigh"), (alone, "eigvalsh")):
        is_small(got - want, largest, shape, dtype, what)
    y = definite(shape, dtype)
    (lower,) = arrays_of(nn, nn.ops.linalg.cholesky(nn.tensor(y)))
    (upper,) = arrays_of(nn, nn.ops.linalg.cholesky(nn.tensor(y), upper=True))
    is_small(y - lower @ lower.T, float(np.linalg.norm(y)), shape, dtype, "cholesky")
    is_small(y - upper.T @ upper, float(np.linalg.norm(y)), shape, dtype, "cholesky, upper")
    assert np.all(np.triu(lower, 1) == 0), f"cholesky of {shape} should be 0 above its diagonal"
    assert np.all(np.tril(upper, -1) == 0), f"cholesky of {shape}, upper: should be 0 below"
    assert np.all(np.diagonal(lower) > 0), f"cholesky of {shape}: a positive diagonal"


@clause("linalg-22", "linalg-18", "linalg-17")
def test_sizes_of_solving(nn: Any, dtype: str) -> None:
    for shape in SQUARE:
        check_solving(nn, dtype, shape)


def check_solving(nn: Any, dtype: str, shape: tuple[int, int]) -> None:
    """Compare one size."""
    __tracebackhide__ = True
    a, b = regular(shape, dtype), drawn((shape[0], 3), dtype, seed=1)
    (x,) = arrays_of(nn, nn.ops.linalg.solve(nn.tensor(a), nn.tensor(b)))
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(x))
    is_small(b - a @ x, size, shape, dtype, "solve")
    (inverse,) = arrays_of(nn, nn.ops.linalg.inv(nn.tensor(a)))
    size = float(np.linalg.norm(a)) * float(np.linalg.norm(inverse))
    is_small(np.eye(shape[0]) - a @ inverse, size, shape, dtype, "inv")
    sign, logabsdet = arrays_of(nn, nn.ops.linalg.slogdet(nn.tensor(a)))
    want = np.linalg.slogdet(a.astype(np.float64))
    exactly(nn, sign.astype(dtype), want[0], call=f"sign of {shape}")
    is_small(logabsdet - want[1], max(1.0, abs(float(want[1]))), shape, dtype, "logabsdet")
    # Scaled, so that the determinant of 65 rows is a number of float32.
    scaled = (a / np.exp(want[1] / shape[0])).astype(dtype)
    (det,) = arrays_of(nn, nn.ops.linalg.det(nn.tensor(scaled)))
    want_det = np.asarray(np.linalg.det(scaled.astype(np.float64)))
    is_small(det - want_det, 1.0, shape, dtype, "det")


@clause("linalg-22", "linalg-15")
def test_sizes_of_eig(nn: Any, dtype: str) -> None:
    for shape in SQUARE:
        check_eig(nn, dtype, shape)


def check_eig(nn: Any, dtype: str, shape: tuple[int, int]) -> None:
    """Compare one size."""
    __tracebackhide__ = True
    x = general(shape, dtype)
    w, v = (to_numpy(nn, part).astype("complex128") for part in nn.ops.linalg.eig(nn.tensor(x)))
    is_small(x @ v - v * w, float(np.linalg.norm(x)), shape, dtype, "eig")
    lengths = np.sqrt(np.sum(abs(v) ** 2, 0))
    is_small(lengths - 1, shape[0] ** 0.5, shape, dtype, "lengths of eigenvectors")
    assert np.all(np.diff(w.real) >= 0), f"eig of {shape}: eigenvalues should ascend"


@clause("linalg-14", "linalg-03", needs="float64")
@pytest.mark.parametrize("shape", [(4, 2), (2, 4), (2, 4, 2), (2, 2, 4)], ids=str)
def test_gradients_through_the_space_that_is_left(nn: Any, shape: tuple[int, ...]) -> None:
    """The projector on further singular vectors does not depend on which they are."""
    tall = shape[-2] > shape[-1]
    weight = drawn((4, 4), "float64", seed=3)

    def loss(svd: Any, x: Any, weight: Any, transpose: Any) -> Any:
        u, _, vh = svd(x)
        further = u[..., 2:] if tall else transpose(vh[..., 2:, :])
        return (further @ transpose(further)) * weight

    x = tensor(nn, regular(shape, "float64"))
    nn.ops.sum(loss(nn.ops.linalg.svd, x, nn.tensor(weight), nn.ops.matrix_transpose)).backward()
    (want,) = gradients(
        lambda a: float(np.sum(loss(np.linalg.svd, a, weight, np.matrix_transpose))),
        [to_numpy(nn, x)],
    )
    agrees(nn, x.grad, want, "difference", call=f"gradient of the projector, {shape}")


@clause("linalg-12")
def test_no_gradient_of_a_complete_qr(nn: Any) -> None:
    x = tensor(nn, regular((4, 3), "float32"))
    q = nn.ops.linalg.qr(x.detach(), mode="complete").Q
    assert tuple(q.shape) == (4, 4), f"Q has the shape {q.shape}"
    with refuses(RuntimeError, "qr", "reduced"):
        nn.ops.sum(nn.ops.linalg.qr(x, mode="complete").R).backward()
    assert x.grad is None, "the gradient should not be there"


@clause("linalg-12")
def test_modes_of_qr(nn: Any) -> None:
    x = nn.tensor(regular((3, 3), "float32"))
    with refuses(ValueError, "qr", "full"):
        nn.ops.linalg.qr(x, mode="full")


@clause("linalg-12")
def test_qr_of_negative_columns(nn: Any, dtype: str) -> None:
    q, r = nn.ops.linalg.qr(nn.tensor(np.diag([-2.0, 3.0]).astype(dtype)))
    exactly(nn, q, np.diag([-1.0, 1.0]), call="Q of diag(-2, 3)")
    exactly(nn, r, np.diag([2.0, 3.0]), call="R of diag(-2, 3)")


@clause("linalg-08")
@pytest.mark.parametrize("name", HERMITIAN)
def test_one_triangle_is_read(nn: Any, dtype: str, name: str) -> None:
    x = definite((2, 3, 3), dtype)
    function = getattr(nn.ops.linalg, name)
    leaf = tensor(nn, x)
    wanted = results(function(leaf))
    sum(
        (nn.ops.sum(part * part * part) for part in wanted), nn.tensor(np.zeros((), dtype))
    ).backward()
    for spoil in (np.nan, np.inf, 7.0):
        other = tensor(nn, np.where(np.tri(3, dtype=bool), x, np.asarray(spoil, dtype)))
        got = results(function(other))
        for one, want in zip(got, wanted, strict=True):
            agrees(nn, one, to_numpy(nn, want), "matmul", call=f"{name} with {spoil} above")
        sum(
            (nn.ops.sum(part * part * part) for part in got), nn.tensor(np.zeros((), dtype))
        ).backward()
        text = f"gradient of {name} with {spoil} above"
        agrees(nn, other.grad, to_numpy(nn, leaf.grad), "gradient", call=text)
        slope = to_numpy(nn, other.grad)
        agrees(nn, slope, adjoint(slope), "gradient", call=f"{text}, mirrored", dtype=dtype)


@clause("linalg-06", "linalg-18")
def test_shapes_of_solve(nn: Any) -> None:
    for first, second, wanted in (
        ((3, 3), (3,), (3,)),
        ((2, 3, 3), (3,), (2, 3)),
        ((2, 1, 3, 3), (4, 3, 2), (2, 4, 3, 2)),
        ((3, 3), (3, 3, 1), (3, 3, 1)),
        # Two axes are a matrix, also where the stack has as many entries as it has rows.
        ((3, 3, 3), (3, 3), (3, 3, 3)),
    ):
        a, b = regular(first, "float32"), drawn(second, "float32", seed=1)
        leaves = [tensor(nn, a), tensor(nn, b)]
        got = nn.ops.linalg.solve(*leaves)
        call = f"solve of {first} and {second}"
        assert tuple(got.shape) == wanted, f"{call} has the shape {tuple(got.shape)}"
        agrees(
            nn, got, np.linalg.solve(a.astype("float64"), b), "matmul", call=call, dtype="float32"
        )
        nn.ops.sum(got).backward()
        assert [tuple(leaf.grad.shape) for leaf in leaves] == [first, second], f"{call}: gradients"
    for square, other in UNFIT:
        a, b = regular(square, "float32"), np.ones(other, "float32")
        with refuses(ValueError, "solve", str(square), str(other)):
            nn.ops.linalg.solve(nn.tensor(a), nn.tensor(b))


@clause("linalg-04", needs="float64")
def test_dtypes_that_meet(nn: Any) -> None:
    a, b = regular((3, 3), "float32"), drawn((3, 2), "float64")
    for first, second in ((a, b), (a.astype("float64"), b.astype("float32"))):
        got = nn.ops.linalg.solve(nn.tensor(first), nn.tensor(second))
        assert got.dtype == nn.float64, f"solve of two widths gave {got.dtype}"
    for number in (2.0, 2):
        for operands in ((nn.tensor(a), number), (number, nn.tensor(b))):
            with refuses(TypeError, "solve", type(number).__name__):
                nn.ops.linalg.solve(*operands)


@clause("linalg-07")
def test_square_factors_of_nothing(nn: Any, dtype: str) -> None:
    for shape in ((0, 3), (3, 0)):
        x = nn.tensor(np.zeros(shape, dtype))
        q, r = nn.ops.linalg.qr(x, mode="complete")
        exactly(nn, q, np.eye(shape[0]), call=f"Q of {shape}")
        exactly(nn, r, np.zeros(shape), call=f"R of {shape}")
        u, s, vh = nn.ops.linalg.svd(x)
        exactly(nn, u, np.eye(shape[0]), call=f"U of {shape}")
        exactly(nn, s, np.zeros(0), call=f"S of {shape}")
        exactly(nn, vh, np.eye(shape[1]), call=f"Vh of {shape}")
    nothing = nn.tensor(np.zeros((2, 0, 0), dtype))
    exactly(nn, nn.ops.linalg.det(nothing), np.ones(2), call="det of nothing")
    sign, logabsdet = nn.ops.linalg.slogdet(nothing)
    exactly(nn, sign, np.ones(2), call="sign of nothing")
    exactly(nn, logabsdet, np.zeros(2), call="logabsdet of nothing")
    exactly(nn, nn.ops.linalg.matrix_rank(nothing), np.zeros(2, "int64"), call="rank of nothing")
    none = nn.tensor(np.zeros((0, 3, 3), dtype))
    for ord in (-1, -2, -np.inf):
        exactly(nn, nn.ops.linalg.matrix_norm(none, ord=ord), np.zeros(0), call=f"norm {ord}")


@clause("linalg-02")
def test_each_matrix_of_a_stack_by_itself(nn: Any, dtype: str) -> None:
    x = definite((2, 3, 3, 3), dtype)
    for name in ("inv", "det", "cholesky", "eigvalsh", "svdvals", "pinv"):
        function = getattr(nn.ops.linalg, name)
        got = to_numpy(nn, function(nn.tensor(x)))
        for index in np.ndindex(2, 3):
            want = to_numpy(nn, function(nn.tensor(x[index])))
            agrees(nn, got[index], want, "matmul", call=f"{name} at {index}", dtype=dtype)


@clause("linalg-14")
def test_singular_values_alone_of_a_tall_matrix(nn: Any, dtype: str) -> None:
    """Their gradient is of the size of x: U in full would be of its square."""
    array = np.zeros((400_000, 2), dtype)
    array[7, 0], array[9, 1] = 3, 2
    x = tensor(nn, array)
    values = nn.ops.linalg.svdvals(x)
    agrees(nn, values, np.array([3.0, 2.0]), "matmul", dtype=dtype)
    nn.ops.sum(values * nn.tensor(np.array([5.0, 4.0], dtype))).backward()
    want = np.zeros(array.shape)
    want[7, 0], want[9, 1] = 5, 4
    agrees(nn, x.grad, want, "matmul", call="gradient of svdvals", dtype=dtype)
