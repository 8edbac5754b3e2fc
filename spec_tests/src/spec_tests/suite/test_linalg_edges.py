"""Chapter linalg: singular matrices, equal eigenvalues, NaN, norms and products at their edges."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.check.differences import gradients
from spec_tests.support import matrices
from spec_tests.support.assertions import agrees, exactly, refuses, tensor, to_numpy
from spec_tests.support.calls import results
from spec_tests.support.matrices import definite, drawn, hermitian, regular

pytestmark = pytest.mark.sampled(6)

# Each is given the namespace and an array, whose matrix is singular or not positive definite.
REFUSED: dict[str, Callable[[Any, Any], Any]] = {
    "inv": lambda linalg, x: linalg.inv(x),
    "solve": lambda linalg, x: linalg.solve(x, x),
    "matrix_power": lambda linalg, x: linalg.matrix_power(x, -1),
    "cholesky": lambda linalg, x: linalg.cholesky(x),
}
SINGULAR = np.array([[1.0, 2.0], [2.0, 4.0]])
INDEFINITE = np.array([[1.0, 2.0], [2.0, 1.0]])
FLOATING = (
    "cholesky det eigh eigvalsh inv matrix_norm matrix_power pinv qr slogdet solve svd svdvals"
).split()


def called(nn: Any, name: str, x: Any) -> list[Any]:
    """Return the results of a function of one matrix, or of that and a further argument."""
    others = {"solve": (x,), "matrix_power": (2,)}.get(name, ())
    return results(getattr(nn.ops.linalg, name)(x, *others))


def rank_two(shape: tuple[int, int], dtype: str) -> np.ndarray:
    """Return a matrix with the singular values 2, 1 and, to rounding, 0."""
    left, right = (matrices.qr(drawn((n, 2), "float64", seed=n))[0] for n in shape)
    return ((left * [2.0, 1.0]) @ right.T).astype(dtype)


def cofactors(x: np.ndarray) -> np.ndarray:
    """Return the matrix of cofactors from the determinants of minors."""
    found = np.zeros_like(x)
    for i, j in np.ndindex(*x.shape):
        minor = np.delete(np.delete(x, i, 0), j, 1)
        found[i, j] = (-1) ** (i + j) * np.linalg.det(minor)
    return found


@clause("linalg-09")
@pytest.mark.parametrize("name", REFUSED)
def test_matrices_that_are_refused(nn: Any, dtype: str, name: str) -> None:
    said = "positive definite" if name == "cholesky" else "singular"
    bad = INDEFINITE if name == "cholesky" else SINGULAR
    for matrix in (bad, np.zeros((2, 2))):
        with refuses(ValueError, name, said):
            REFUSED[name](nn.ops.linalg, nn.tensor(matrix.astype(dtype)))
    stack = np.broadcast_to(np.eye(2), (2, 3, 2, 2)).astype(dtype)
    stack[1, 0] = stack[1, 2] = bad
    with refuses(ValueError, name, said, "(1, 0)"):
        REFUSED[name](nn.ops.linalg, nn.tensor(stack))


@clause("linalg-09", needs="jit")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_matrices_under_jit(nn: Any, name: str) -> None:
    x = definite((3, 2, 2), "float32")
    x[1] = INDEFINITE if name == "cholesky" else SINGULAR
    compiled = nn.jit(partial(REFUSED[name], nn.ops.linalg))
    said = ""
    try:
        got = to_numpy(nn, compiled(nn.tensor(x)))
    except ValueError as error:
        said = str(error)
    if said:
        # `jit` does not compile here, and the values are known.
        assert re.search(rf"{name}.*\(1,\)", said), said
        return
    lower = np.tri(2, dtype=bool) if name == "cholesky" else np.ones((2, 2), bool)
    assert np.all(np.isnan(got[1][lower])), (
        f"{name} of a refused matrix should be NaN, got {got[1]}"
    )
    for place in (0, 2):
        want = to_numpy(nn, REFUSED[name](nn.ops.linalg, nn.tensor(x[place])))
        agrees(nn, got[place], want, "matmul", call=f"compiled {name}", dtype="float32")


@clause("linalg-10")
@pytest.mark.parametrize("name", FLOATING)
def test_nan_stays_in_its_matrix(nn: Any, name: str) -> None:
    x = definite((2, 3, 3), "float32")
    for spoil in (np.nan, np.inf):
        spoiled = x.copy()
        # Below the diagonal, where one triangle is read.
        spoiled[0, 2, 0] = spoil
        leaf, alone = tensor(nn, spoiled), tensor(nn, x[1])
        pairs = list(zip(called(nn, name, leaf), called(nn, name, alone), strict=True))
        if np.isnan(spoil):
            held = [np.isnan(to_numpy(nn, got)[0]).any() for got, _ in pairs]
            assert all(held), f"the results of {name} should hold NaN: {held}"
        for got, want in pairs:
            text = f"{name} beside {spoil}"
            agrees(nn, got[1], to_numpy(nn, want), "matmul", call=text, dtype="float32")
        for place in (0, 1):
            terms = [nn.ops.sum(pair[place][1] if place == 0 else pair[place]) for pair in pairs]
            sum(terms[1:], terms[0]).backward()
        got = to_numpy(nn, leaf.grad)[1]
        want = to_numpy(nn, alone.grad)
        agrees(
            nn, got, want, "gradient", call=f"gradient of {name} beside {spoil}", dtype="float32"
        )


@clause("linalg-10")
@pytest.mark.parametrize("name", ["inv", "solve", "det", "slogdet"])
def test_a_pivot_of_0_beside_a_nan(nn: Any, dtype: str, name: str) -> None:
    """Elimination meets a 0 in the first column, and the matrix is not singular for that."""
    x = np.array([[[0.0, np.nan], [0.0, 1.0]], [[2.0, 0.0], [0.0, 4.0]]], dtype)
    function = getattr(nn.ops.linalg, name)
    more = (nn.tensor(np.ones((2, 1), dtype)),) if name == "solve" else ()
    want = {
        "inv": (np.diag([0.5, 0.25]),),
        "solve": (np.array([[0.5], [0.25]]),),
        "det": (np.array(8.0),),
        "slogdet": (np.array(1.0), np.array(np.log(8.0))),
    }[name]
    several, single = (function(nn.tensor(a), *more) for a in (x, x[0]))
    for got, alone, other in zip(*map(results, (several, single)), want, strict=True):
        for spoilt in (to_numpy(nn, got)[0], to_numpy(nn, alone)):
            assert np.isnan(spoilt).any(), f"{name} should hold NaN: {spoilt}"
        agrees(nn, got[1], other, "matmul", dtype=dtype, call=name)


def projector(vectors: Any, transpose: Callable[[Any], Any]) -> Any:
    """Return the projector on the first two columns."""
    return vectors[:, :2] @ transpose(vectors[:, :2])


# What is asked of equal eigenvalues: results, as Tensors or NumPy arrays, to a matrix or number.
EQUAL: dict[str, tuple[str, Callable[[Any, Any], Any]]] = {
    "the sum of equal eigenvalues": ("eigh", lambda parts, t: parts[0][:2]),
    "the projector on their space": ("eigh", lambda parts, t: projector(parts[1], t)),
    "the sum of equal singular values": ("svd", lambda parts, t: parts[1][:2]),
    "the projector of U": ("svd", lambda parts, t: projector(parts[0], t)),
    "the projector of V": ("svd", lambda parts, t: projector(t(parts[2]), t)),
    "the product of U and Vh": ("svd", lambda parts, t: parts[0][:, :2] @ parts[2][:2]),
}


def check_at(nn: Any, what: str, x: np.ndarray, **options: Any) -> None:
    """Compare the gradient of one of `EQUAL` with differences of NumPy's function."""
    __tracebackhide__ = True
    name, measured = EQUAL[what]
    theirs: Any = {"eigh": np.linalg.eigh, "svd": np.linalg.svd}[name]
    prepared = matrices.symmetrized if name == "eigh" else np.asarray

    def reference(a: np.ndarray) -> np.ndarray:
        return np.asarray(measured(theirs(prepared(a), **options), np.transpose))

    weight = np.ones(2) if reference(x).ndim == 1 else drawn(reference(x).shape, "float64", seed=4)
    leaf = tensor(nn, x)
    got = measured(getattr(nn.ops.linalg, name)(leaf, **options), nn.ops.matrix_transpose)
    nn.ops.sum(got * nn.tensor(weight)).backward()
    (want,) = gradients(lambda a: float(np.sum(reference(a) * weight)), [x])
    agrees(nn, leaf.grad, want, "difference", call=f"gradient of {what}", dtype="float64")


@pytest.mark.sampled(5)
@clause("linalg-16", needs="float64")
@pytest.mark.parametrize("what", EQUAL)
def test_equal_eigenvalues(nn: Any, what: str) -> None:
    if EQUAL[what][0] == "eigh":
        vectors = matrices.qr(drawn((3, 3), "float64"))[0]
        for values in ([1.0, 1.0, 3.0], [0.0, 0.0, 2.0]):
            check_at(nn, what, matrices.symmetrized((vectors * values) @ vectors.T))
        check_at(nn, what, np.diag([1.0, 1.0, 3.0]))
        return
    for shape in ((4, 3), (3, 4), (3, 3)):
        u, _, vh = np.linalg.svd(regular(shape, "float64"), full_matrices=False)
        check_at(nn, what, (u * [2.0, 2.0, 1.0]) @ vh, full_matrices=False)


@clause("linalg-16", "linalg-14", needs="float64")
@pytest.mark.parametrize("what", [what for what in EQUAL if EQUAL[what][0] == "svd"])
def test_singular_values_that_are_0(nn: Any, what: str) -> None:
    for shape in ((4, 3), (3, 4), (3, 3)):
        check_at(nn, what, rank_two(shape, "float64"), full_matrices=False)


@clause("linalg-16")
@pytest.mark.parametrize("name", ["eigh", "svd"])
def test_gradients_are_finite_where_all_are_equal(nn: Any, dtype: str, name: str) -> None:
    for matrix in (np.eye(3), np.zeros((3, 3))):
        leaf = tensor(nn, matrix.astype(dtype))
        terms = [nn.ops.sum(part * part * part) for part in called(nn, name, leaf)]
        sum(terms[1:], terms[0]).backward()
        slope = to_numpy(nn, leaf.grad)
        assert np.all(np.isfinite(slope)), f"gradient of {name} of {matrix}: {slope}"


@clause("linalg-16")
@pytest.mark.parametrize("name", ["eigh", "svd", "eig"])
@pytest.mark.parametrize("gap", [15, 17])
def test_how_near_is_equal(nn: Any, dtype: str, name: str, gap: int) -> None:
    """Of matrices of 2 rows the gaps that count as none end at 16 eps."""
    eps = float(np.finfo(dtype).eps)
    leaf = tensor(nn, np.diag([1 + gap * eps, 1]).astype(dtype))
    vectors = getattr(nn.ops.linalg, name)(leaf)[0 if name == "svd" else 1]
    nn.ops.sum(nn.ops.real(vectors) * nn.tensor(drawn((2, 2), dtype, seed=4))).backward()
    slope = float(np.abs(to_numpy(nn, leaf.grad)).max())
    assert (slope > 0.01 / eps) is (gap > 16), f"gradient {slope} at a gap of {gap} eps"


@clause("linalg-16", "linalg-15")
def test_equal_eigenvalues_of_a_general_matrix(nn: Any, dtype: str) -> None:
    leaf = tensor(nn, (2 * np.eye(3)).astype(dtype))
    nn.ops.sum(nn.ops.real(nn.ops.linalg.eigvals(leaf))).backward()
    agrees(nn, leaf.grad, np.eye(3), "gradient", call="gradient of the sum of eigenvalues")


@clause("linalg-17")
def test_det_of_singular_matrices(nn: Any, dtype: str) -> None:
    one = np.outer([1.0, 2.0, -1.0], [0.5, 1.0, 2.0])
    stack = np.stack([rank_two((3, 3), dtype), one, np.zeros((3, 3)), regular((3, 3), dtype)])
    leaf = tensor(nn, stack.astype(dtype))
    nn.ops.sum(nn.ops.linalg.det(leaf)).backward()
    for place, matrix in enumerate(stack.astype(np.float64)):
        slope = to_numpy(nn, leaf.grad)[place]
        # The scale is that of the products of which cofactors are made.
        size = max(float(np.linalg.norm(matrix, 2)) ** 2, 1e-30)
        want = cofactors(matrix)
        shown = np.append(slope.ravel(), np.asarray(size, dtype))
        text = f"gradient of det of matrix {place}, and the scale"
        agrees(nn, shown, np.append(want.ravel(), np.asarray(size, dtype)), "gradient", call=text)
    for number in (0.0, 3.0):
        single = tensor(nn, np.array([[number]], dtype))
        nn.ops.sum(nn.ops.linalg.det(single)).backward()
        agrees(
            nn, single.grad, np.ones((1, 1)), "gradient", call=f"gradient of det of [[{number}]]"
        )


@clause("linalg-17")
def test_slogdet_of_a_singular_matrix(nn: Any, dtype: str) -> None:
    x = np.stack([SINGULAR, np.diag([2.0, -1.0]), np.zeros((2, 2))]).astype(dtype)
    leaf = tensor(nn, x)
    sign, logabsdet = nn.ops.linalg.slogdet(leaf)
    exactly(nn, sign, np.array([0.0, -1.0, 0.0]), call="sign")
    want = np.array([-np.inf, np.log(2.0), -np.inf])
    agrees(nn, logabsdet, want, "matmul", call="logabsdet")
    exactly(nn, nn.ops.linalg.det(leaf)[0::2], np.zeros(2), call="det of singular matrices")
    logabsdet[1].backward()
    slope = to_numpy(nn, leaf.grad)[1]
    agrees(nn, slope, np.diag([0.5, -1.0]), "gradient", call="gradient of logabsdet", dtype=dtype)


@clause("linalg-17")
def test_slogdet_does_not_overflow(nn: Any, dtype: str) -> None:
    large = np.asarray(1e30 if dtype == "float32" else 1e200).astype(dtype)
    for number in (large, 1 / large):
        x = (np.eye(4) * number).astype(dtype)
        sign, logabsdet = nn.ops.linalg.slogdet(nn.tensor(x))
        exactly(nn, sign, np.array(1.0), call="sign")
        want = np.asarray(4 * np.log(float(x[0, 0])))
        agrees(nn, logabsdet, want, "matmul", call=f"logabsdet of {number} times the identity")


@clause("linalg-18")
def test_powers_of_a_matrix(nn: Any, dtype: str) -> None:
    x = SINGULAR.astype(dtype)
    for n, want in ((0, np.eye(2)), (1, x), (3, x @ x @ x)):
        leaf = tensor(nn, x)
        got = nn.ops.linalg.matrix_power(leaf, n)
        agrees(nn, got, want, "matmul", call=f"matrix_power {n}")
        nn.ops.sum(got).backward()

        def number(a: np.ndarray, n: int = n) -> float:
            return float(np.sum(np.linalg.matrix_power(a, n)))

        (slope,) = gradients(number, [x.astype(np.float64)])
        tolerance = "difference" if dtype == "float64" else "gradient"
        agrees(nn, leaf.grad, slope, tolerance, call=f"gradient of matrix_power {n}")
    wrong: Any
    for wrong in (1.5, True, "2", None):
        with refuses(TypeError, "matrix_power"):
            nn.ops.linalg.matrix_power(nn.tensor(x), wrong)


@clause("linalg-19", needs=("float64", "double_backward"))
@pytest.mark.parametrize("shapes", [((4, 2), (2, 3)), ((3, 1), (1, 3)), ((2, 2), (2, 4))], ids=str)
def test_pinv_at_constant_rank(nn: Any, shapes: Any) -> None:
    """The product keeps its rank, however its factors move."""
    factors = [regular(shape, "float64", seed=3 + k) for k, shape in enumerate(shapes)]

    def inverse(a: Any, b: Any) -> Any:
        return nn.ops.linalg.pinv(a @ b, rtol=1e-8)

    got = inverse(*[nn.tensor(factor) for factor in factors])
    want = np.linalg.pinv(factors[0] @ factors[1], rtol=1e-8)
    agrees(nn, got, want, "difference", call="pinv of a product", dtype="float64")
    check_gradients(nn, inverse, factors, second_order=True, call="pinv of a product")


@clause("linalg-19", needs=("float64", "double_backward"))
def test_pinv_where_singular_values_are_equal(nn: Any) -> None:
    x = np.linalg.qr(drawn((4, 3), "float64"))[0] * 2
    check_gradients(nn, nn.ops.linalg.pinv, [x], second_order=True, call="pinv of 2 Q")


@clause("linalg-19")
def test_tolerances_of_ranks(nn: Any, dtype: str) -> None:
    eps = float(np.finfo(dtype).eps)
    x = np.stack([np.diag([1.0, 0.25, factor * eps]) for factor in (1.0, 16.0)]).astype(dtype)
    rank, pinv = nn.ops.linalg.matrix_rank, nn.ops.linalg.pinv
    exactly(nn, rank(nn.tensor(x)), np.array([2, 3]), call="matrix_rank")
    exactly(nn, rank(nn.tensor(x), rtol=0.5), np.array([1, 1]), call="matrix_rank, rtol=0.5")
    exactly(nn, rank(nn.tensor(x), rtol=0), np.array([3, 3]), call="matrix_rank, rtol=0")
    each = nn.tensor(np.array([0.5, 0.1], dtype))
    exactly(nn, rank(nn.tensor(x), rtol=each), np.array([1, 2]), call="matrix_rank, an rtol each")
    one = np.diag([1.0, 0.0, 0.0])
    two = np.diag([1.0, 4.0, 0.0])
    got = pinv(nn.tensor(x), rtol=each)
    agrees(nn, got, np.stack([one, two]), "matmul", call="pinv, an rtol each")
    agrees(nn, pinv(nn.tensor(x))[0], two, "matmul", call="pinv")
    nothing = tensor(nn, np.zeros((2, 3), dtype))
    exactly(nn, pinv(nothing), np.zeros((3, 2)), call="pinv of 0")
    exactly(nn, rank(nothing), np.array(0), call="matrix_rank of 0")
    wrong: Any
    for wrong in ("small", {}):
        for name, function in (("matrix_rank", rank), ("pinv", pinv)):
            with refuses(TypeError, name):
                function(nothing, rtol=wrong)


NORMS: tuple[Any, ...] = ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf)


@clause("linalg-20", "linalg-07")
def test_the_norm_of_nothing_but_0(nn: Any, dtype: str) -> None:
    for ord in NORMS:
        leaf = tensor(nn, np.zeros((2, 3, 2), dtype))
        got = nn.ops.linalg.matrix_norm(leaf, ord=ord)
        exactly(nn, got, np.zeros(2), call=f"norm {ord} of 0")
        nn.ops.sum(got).backward()
        exactly(nn, leaf.grad, np.zeros((2, 3, 2)), call=f"gradient of norm {ord} of 0")
        got = nn.ops.linalg.matrix_norm(leaf[:0], ord=ord)
        exactly(nn, got, np.zeros(0), call=f"norm {ord} of no matrices")


@clause("linalg-20")
def test_norms_at_ties(nn: Any, dtype: str) -> None:
    signs = np.array([[1.0, -1.0], [1.0, 1.0]])
    for ord, x, want in (
        (1, signs, signs / 2),
        (-1, signs, signs / 2),
        (np.inf, signs, signs / 2),
        (-np.inf, signs, signs / 2),
        (2, 2 * np.eye(2), np.eye(2) / 2),
        (-2, 2 * np.eye(2), np.eye(2) / 2),
        ("nuc", 2 * np.eye(2), np.eye(2)),
        (None, 2 * np.eye(2), np.eye(2) / 2**0.5),
    ):
        leaf = tensor(nn, x.astype(dtype))
        nn.ops.linalg.matrix_norm(leaf, ord=ord).backward()
        agrees(nn, leaf.grad, want, "gradient", call=f"gradient of norm {ord} of {x.tolist()}")


@clause("linalg-20", "linalg-03", needs=("float64", "double_backward"))
def test_second_derivatives_of_norms(nn: Any) -> None:
    x = regular((3, 4), "float64", seed=2)
    for ord in NORMS:

        def norm(a: Any, ord: Any = ord) -> Any:
            return nn.ops.linalg.matrix_norm(a, ord=ord) ** 3

        check_gradients(nn, norm, [x], second_order=True, call=f"matrix_norm, ord={ord}")


@clause("linalg-20")
def test_norms_that_there_are_not(nn: Any) -> None:
    x = nn.tensor(regular((2, 2), "float32"))
    wrong: Any
    for wrong in (3, "frobenius", 0.5):
        with refuses(ValueError, "matrix_norm", wrong):
            nn.ops.linalg.matrix_norm(x, ord=wrong)
    for wrong in ([], {}, True):
        with refuses((ValueError, TypeError), "matrix_norm"):
            nn.ops.linalg.matrix_norm(x, ord=wrong)


@clause("linalg-21")
def test_axes_and_shapes_of_cross(nn: Any) -> None:
    cross = nn.ops.linalg.cross
    for first, second in (((3, 3), (3, 2)), ((2, 3), (2, 1)), ((2, 2), (2, 2)), ((4, 3), (2, 3))):
        x, y = drawn(first, "float32"), drawn(second, "float32")
        with refuses(ValueError, "cross", str(first), str(second)):
            cross(nn.tensor(x), nn.tensor(y))
    x = nn.tensor(drawn((3, 3), "float32"))
    for axis in (0, 1, -3):
        with refuses((ValueError, IndexError), "cross", axis):
            cross(x, x, axis=axis)
    # The axis is counted from the end of either.
    with refuses((ValueError, IndexError), "cross", -2):
        cross(x, x[0], axis=-2)
    wrong: Any
    for wrong in (None, "0", 1.0):
        with refuses(TypeError, "cross"):
            cross(x, x, axis=wrong)


@clause("linalg-21")
@pytest.mark.parametrize("name", ["diagonal", "trace"])
def test_diagonals_outside_the_matrix(nn: Any, dtype: str, name: str) -> None:
    function = getattr(nn.ops.linalg, name)
    x = drawn((2, 3, 4), dtype)
    for offset in (4, 9, -3, -7):
        got = function(nn.tensor(x), offset=offset)
        want = np.zeros((2, 0)) if name == "diagonal" else np.zeros(2)
        exactly(nn, got, want, call=f"{name}, offset={offset}")
    with refuses(ValueError, name, "(3,)"):
        function(nn.tensor(np.ones(3, dtype)))
    wrong: Any
    for wrong in (0.5, "1", None):
        with refuses(TypeError, name):
            function(nn.tensor(x), offset=wrong)


@clause("linalg-21")
@pytest.mark.parametrize("name", ["diagonal", "trace"])
def test_what_diagonals_leave_out(nn: Any, dtype: str, name: str) -> None:
    leaf = tensor(nn, drawn((3, 3), dtype))
    got = getattr(nn.ops.linalg, name)(leaf)
    got.backward(nn.tensor(np.full(got.shape, np.inf, dtype)))
    want = np.where(np.eye(3) > 0, np.inf, 0)
    exactly(nn, leaf.grad, want, call=f"gradient of {name} where infinity arrives")


@clause("linalg-21")
def test_integers_in_products(nn: Any) -> None:
    linalg = nn.ops.linalg
    x = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 10]])
    for name in ("int32", "int64"):
        y = nn.tensor(x.astype(name))
        exactly(nn, linalg.cross(y[0], y[1]), np.cross(x[0], x[1]).astype(name), call="cross")
        exactly(nn, linalg.outer(y[0], y[1]), np.outer(x[0], x[1]).astype(name), call="outer")
        exactly(nn, linalg.diagonal(y), np.diag(x).astype(name), call="diagonal")
        exactly(nn, linalg.trace(y), np.array(16), call="trace")
    y = nn.tensor(x > 4)
    exactly(nn, linalg.outer(y[0], y[1]), np.outer(x[0] > 4, x[1] > 4), call="outer of booleans")
    exactly(nn, linalg.diagonal(y), np.diag(x > 4), call="diagonal of booleans")
    exactly(nn, linalg.trace(y), np.array(2), call="trace of booleans")
    with refuses(TypeError, "cross", "bool"):
        linalg.cross(y[0], y[1])


@clause("linalg-21", "ops-15", needs="float64")
def test_the_dtype_of_trace(nn: Any) -> None:
    leaf = tensor(nn, np.array([[1.5, 2.0], [3.0, 1.75]], "float32"))
    got = nn.ops.linalg.trace(leaf, dtype=nn.float64)
    exactly(nn, got, np.array(3.25), dtype="float64", call="trace(dtype=float64)")
    got.backward()
    exactly(nn, leaf.grad, np.eye(2), dtype="float32", call="gradient of trace(dtype=float64)")
    exactly(nn, nn.ops.linalg.trace(leaf, dtype=nn.int64), np.array(2), call="trace(dtype=int64)")


@clause("linalg-21")
def test_shapes_of_outer(nn: Any) -> None:
    x, y = nn.tensor(np.ones(2, "float32")), nn.tensor(np.ones((2, 3), "float32"))
    for other in (y, nn.tensor(np.ones((), "float32"))):
        for operands in ((x, other), (other, x)):
            with refuses(ValueError, "outer", "(2,)", str(tuple(other.shape))):
                nn.ops.linalg.outer(*operands)


@clause("linalg-13")
def test_the_gauge_of_one_matrix(nn: Any, dtype: str) -> None:
    w, v = nn.ops.linalg.eigh(nn.tensor(np.diag([2.0, -1.0]).astype(dtype)))
    exactly(nn, w, np.array([-1.0, 2.0]), call="eigenvalues of diag(2, -1)")
    exactly(nn, v, np.array([[0.0, 1.0], [1.0, 0.0]]), call="eigenvectors of diag(2, -1)")
    x = hermitian((3, 3), dtype)
    _, v = nn.ops.linalg.eigh(nn.tensor(x))
    _, same = nn.ops.linalg.eigh(nn.tensor(x * np.asarray(2, dtype)))
    agrees(nn, same, to_numpy(nn, v), "matmul", call="eigenvectors of a multiple")


@clause("linalg-14")
def test_the_gauge_of_singular_vectors(nn: Any, dtype: str) -> None:
    u, s, vh = nn.ops.linalg.svd(nn.tensor(np.diag([-2.0, 3.0]).astype(dtype)))
    exactly(nn, u, np.array([[0.0, 1.0], [1.0, 0.0]]), call="U of diag(-2, 3)")
    exactly(nn, s, np.array([3.0, 2.0]), call="S of diag(-2, 3)")
    exactly(nn, vh, np.array([[0.0, 1.0], [-1.0, 0.0]]), call="Vh of diag(-2, 3)")
