"""Formulas of matrices with the derivatives of the specification: factors, equations, inverses.

They are functions of arrays, stacks of matrices in the last two axes, whose rules are written as
differentials in the same functions, so that derivatives of every order are right. JAX transposes a
rule for the gradient. A matrix that is not finite gets results that are NaN, which spoil the rules'
numbers for this matrix alone.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ..dtypes import parts_of

Array = Any


def adjoint(x: Array) -> Array:
    """Return the transposes, conjugated where they are complex."""
    turned = jnp.swapaxes(x, -1, -2)
    return jnp.conj(turned) if x.dtype.kind == "c" else turned


def times(*factors: Array) -> Array:
    """Return the product of matrices, from the left."""
    multiply = functools.partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    return functools.reduce(multiply, factors)


def real(x: Array) -> Array:
    """Return the real part."""
    return jnp.real(x) if x.dtype.kind == "c" else x


def across(x: Array) -> Array:
    """Return the diagonals of square matrices, as the last axis."""
    return jnp.sum(jnp.where(_one(x), x, 0), axis=-1, dtype=x.dtype)


def identity(x: Array) -> Array:
    """Return identities in the place of square matrices."""
    return jnp.broadcast_to(_one(x).astype(x.dtype), x.shape)


def finite(x: Array) -> Array:
    """Tell of which matrices all elements are finite."""
    return jnp.all(jnp.isfinite(x), axis=(-2, -1))


def _one(x: Array) -> Array:
    return _unit(*x.shape[-2:])


def _unit(m: int, n: int) -> Array:
    """Return where the diagonal of a matrix is."""
    return jnp.asarray(np.arange(m)[:, None] == np.arange(n))


def _sound(x: Array) -> tuple[Array, Array]:
    """Return matrices with 0 for those that are not finite, and which are, in two axes of 1."""
    whole = finite(x)[..., None, None]
    return jnp.where(whole, x, 0), whole


def _poisoned(whole: Array, *results: Array) -> tuple[Array, ...]:
    """Return results with NaN where `whole` is false; vectors have one axis less."""
    marks = [whole if r.ndim == whole.ndim else whole[..., 0] for r in results]
    return tuple([jnp.where(m, r, jnp.nan) for m, r in zip(marks, results, strict=True)])


def _triangular(a: Array, b: Array, **options: bool) -> Array:
    """Return what solves triangular equations; `options` are JAX's."""
    if not (a.size and b.size):
        return b
    return lax.linalg.triangular_solve(a, b, **options)


def _eps(dtype: Any) -> float:
    return float(np.finfo(parts_of(dtype)).eps)


def _close(size: int, values: Array) -> Array:
    """Return the difference that rounding makes of equal values of the last axis."""  # linalg-16
    if not values.size:
        return jnp.zeros((), parts_of(values.dtype))
    return 8 * size * _eps(values.dtype) * jnp.max(jnp.abs(values), axis=-1, keepdims=True)


def _inverted(x: Array, nothing: Array) -> Array:
    """Return 1 / x, and 0 where it is to count as nothing."""
    return jnp.where(nothing, 0, 1 / jnp.where(nothing, 1, x))


def _apart(size: int, values: Array) -> Array:
    """Return ``1 / (v_j - v_i)``, 0 where the two are equal."""
    distance = values[..., None, :] - values[..., :, None]
    equal = (jnp.abs(distance) <= _close(size, values)[..., None]) | _one(distance)
    return _inverted(distance, equal)


def _gauge(vectors: Array) -> tuple[Array, Array]:
    """Return columns whose first component of largest magnitude is positive, and their phases."""
    sizes = jnp.abs(vectors)
    # The compiler may compute a magnitude twice, and round it in two ways.
    least = (1 - 4 * _eps(vectors.dtype)) * jnp.max(sizes, axis=-2, keepdims=True)
    largest = sizes >= least
    first = largest & (jnp.cumsum(largest, axis=-2, dtype=jnp.int32) == 1)
    top = jnp.sum(jnp.where(first, vectors, 0), axis=-2, keepdims=True, dtype=vectors.dtype)
    phases = _phase(top)
    turned = vectors * jnp.conj(phases)
    return (jnp.where(first, sizes, turned) if vectors.dtype.kind == "c" else turned), phases


def _phase(x: Array) -> Array:
    """Return x / abs(x), and 1 where x is 0."""
    if x.dtype.kind != "c":
        return jnp.where(x < 0, -1, 1).astype(x.dtype)
    size = jnp.abs(x)
    return jnp.where(size == 0, 1, x / jnp.where(size == 0, 1, size))


@jax.custom_jvp
def triangle(x: Array) -> Array:
    """Return the Hermitian matrices of which `x` is the lower triangle."""
    below = jnp.tril(x, -1)
    return below + adjoint(below) + jnp.where(_one(x), real(x), 0)


@triangle.defjvp
def _triangle_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # linalg-08: that of the Hermitian part.
    (x,), (dx,) = primals, tangents
    return triangle(x), (dx + adjoint(dx)) / 2


def cholesky(h: Array) -> Array:
    """Return the lower factor of Hermitian matrices, NaN of those that have none."""
    return jnp.tril(_factor(h))


@jax.custom_jvp
def _factor(h: Array) -> Array:
    if not h.size:
        return h
    return jnp.tril(lax.linalg.cholesky(h, symmetrize_input=False))


@_factor.defjvp
def _factor_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (h,), (dh,) = primals, tangents
    factor = _factor(h)
    inner = _triangular(factor, dh, left_side=True, lower=True)
    inner = _triangular(factor, inner, lower=True, transpose_a=True, conjugate_a=True)
    return factor, times(factor, jnp.tril(inner, -1) + jnp.where(_one(h), inner, 0) / 2)


def qr(x: Array) -> tuple[Array, Array]:
    """Return Q and R, as many columns of Q as the smaller size, the diagonal of R positive."""
    m, n = x.shape[-2:]
    if m >= n:
        return _orthogonal(x)
    q, r = _orthogonal(x[..., :m])
    return q, jnp.concatenate([r, times(adjoint(q), x[..., m:])], axis=-1)


def _signed(full: bool, x: Array) -> tuple[Array, Array]:
    """Return the factors of matrices that are not wide."""
    m, n = x.shape[-2:]
    k = m if full else n
    if not x.size:
        eye = jnp.broadcast_to(jnp.eye(m, k, dtype=x.dtype), (*x.shape[:-1], k))
        return eye, jnp.zeros((*x.shape[:-2], k, n), x.dtype)
    sound, whole = _sound(x)
    q, r = lax.linalg.qr(sound, full_matrices=full)
    phases = _phase(across(r[..., :n, :]))
    # Exact where the phase is that of the diagonal itself.
    upper = jnp.triu(r * _padded(jnp.conj(phases), k)[..., :, None])
    upper = jnp.where(_unit(k, n), jnp.abs(r).astype(r.dtype), upper)
    q, r = _poisoned(whole, q * _padded(phases, k)[..., None, :], upper)
    return q, jnp.triu(r)


def _padded(phases: Array, count: int) -> Array:
    ones = jnp.ones((*phases.shape[:-1], count - phases.shape[-1]), phases.dtype)
    return jnp.concatenate([phases, ones], axis=-1)


@jax.custom_jvp
def _orthogonal(x: Array) -> tuple[Array, Array]:
    return _signed(False, x)


@_orthogonal.defjvp
def _orthogonal_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    q, r = _orthogonal(x)
    outer = _triangular(r, dx)
    inner = times(adjoint(q), outer)
    # Q^H dQ is skew and dR R^-1 an upper triangle with a real diagonal; they add up to `inner`.
    turn = jnp.triu(inner + adjoint(inner), 1) + jnp.where(_one(r), real(inner), 0)
    return (q, r), (outer - times(q, turn), times(turn, r))


@jax.custom_jvp
def complete(x: Array) -> tuple[Array, Array]:
    """Return Q, square, and R of tall matrices."""
    return _signed(True, x)


@complete.defjvp
def _complete_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    del primals, tangents
    msg = (
        "qr: the further columns of mode 'complete' are not a function of x and have no gradient; "
        "take mode='reduced'"
    )
    raise RuntimeError(msg)  # linalg-12


@jax.custom_jvp
def eigh(h: Array) -> tuple[Array, Array]:
    """Return the eigenvalues, ascending, and the eigenvectors of Hermitian matrices."""
    if not h.size:
        return jnp.zeros(h.shape[:-1], parts_of(h.dtype)), h
    sound, whole = _sound(h)
    vectors, values = lax.linalg.eigh(sound, lower=True, symmetrize_input=False)
    values, vectors = _poisoned(whole, values, _gauge(vectors)[0])
    return values, vectors


@eigh.defjvp
def _eigh_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (h,), (dh,) = primals, tangents
    values, vectors = eigh(h)
    inner = times(adjoint(vectors), dh, vectors)
    moved = times(vectors, _apart(h.shape[-1], values) * inner)
    return (values, vectors), (real(across(inner)), moved)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def svd(full: bool, x: Array) -> tuple[Array, Array, Array]:
    """Return U, S and Vh; `full` for square U and Vh."""
    (m, n), stack = x.shape[-2:], x.shape[:-2]
    k = min(m, n)
    rows, columns = (m, n) if full else (k, k)
    if not x.size:
        left = jnp.broadcast_to(jnp.eye(m, rows, dtype=x.dtype), (*stack, m, rows))
        right = jnp.broadcast_to(jnp.eye(columns, n, dtype=x.dtype), (*stack, columns, n))
        return left, jnp.zeros((*stack, k), parts_of(x.dtype)), right
    sound, whole = _sound(x)
    u, s, vh = lax.linalg.svd(sound, full_matrices=full, compute_uv=True)
    first, phases = _gauge(u[..., :k])
    u = jnp.concatenate([first, u[..., k:]], axis=-1)
    turned = vh[..., :k, :] * jnp.swapaxes(phases, -1, -2)
    vh = jnp.concatenate([turned, vh[..., k:, :]], axis=-2)
    u, s, vh = _poisoned(whole, u, s, vh)
    return u, s, vh


@svd.defjvp
def _svd_jvp(full: bool, primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    (m, n), k = x.shape[-2:], min(x.shape[-2:])
    u, s, vh = svd(full, x)
    left, right = u[..., :k], adjoint(vh[..., :k, :])
    inner = times(adjoint(left), dx, right)
    even, odd = (inner + adjoint(inner)) / 2, (inner - adjoint(inner)) / 2
    nothing = s <= _close(max(m, n), s)
    sums = s[..., None, :] + s[..., :, None]
    even = _apart(max(m, n), s) * even
    odd = _inverted(sums, nothing[..., None, :] & nothing[..., :, None]) * odd
    inverse = _inverted(s, nothing)[..., None, :]
    du, dv = times(left, even + odd), times(right, even - odd)
    if m > k:
        du = du + (times(dx, right) - times(left, inner)) * inverse
    if n > k:
        dv = dv + (times(adjoint(dx), left) - times(right, adjoint(inner))) * inverse
    if full:
        du = jnp.concatenate([du, -times(left, adjoint(du), u[..., k:])], axis=-1)
        further = adjoint(vh[..., k:, :])
        dv = jnp.concatenate([dv, -times(right, adjoint(dv), further)], axis=-1)
    return (u, s, vh), (du, real(across(inner)), adjoint(dv))


@jax.custom_jvp
def svdvals(x: Array) -> Array:
    """Return the singular values, descending."""
    sound, whole = _sound(x)
    values = lax.linalg.svd(sound, full_matrices=False, compute_uv=False)
    return _poisoned(whole, values)[0]


@svdvals.defjvp
def _svdvals_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    u, _, vh = svd(False, x)
    return svdvals(x), real(across(times(adjoint(u), dx, adjoint(vh))))


@jax.custom_jvp
def eig(x: Array) -> tuple[Array, Array]:
    """Return the eigenvalues and the eigenvectors of square matrices, complex both."""
    wide = np.result_type(x.dtype, np.complex64)
    if not x.size:
        return jnp.zeros(x.shape[:-1], wide), jnp.zeros(x.shape, wide)
    sound, whole = _sound(x)
    values, vectors = lax.linalg.eig(sound, compute_left_eigenvectors=False)
    last = values.ndim - 1
    keys = jnp.real(values), jnp.imag(values), lax.broadcasted_iota(np.int32, values.shape, last)
    order = lax.sort(keys, dimension=last, num_keys=2)[2]  # linalg-15
    values = jnp.take_along_axis(values, order, axis=-1)
    vectors = jnp.take_along_axis(vectors, order[..., None, :], axis=-1)
    squares = jnp.square(jnp.real(vectors)) + jnp.square(jnp.imag(vectors))
    vectors = vectors / jnp.sqrt(jnp.sum(squares, axis=-2, keepdims=True))
    values, vectors = _poisoned(whole, values, _gauge(vectors)[0])
    return values, vectors


@eig.defjvp
def _eig_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    values, vectors = eig(x)
    inner = solve(vectors, times(dx.astype(vectors.dtype), vectors))[0]
    moved = times(vectors, _apart(x.shape[-1], values) * inner)
    # The columns keep their length.
    longer = jnp.sum(jnp.real(jnp.conj(vectors) * moved), axis=-2, keepdims=True)
    return (values, vectors), (across(inner), moved - vectors * longer)


def _decomposed(a: Array) -> tuple[Array, Array, Array, Array]:
    """Return JAX's LU factors, exchanges and order of rows, and which are exactly singular."""
    factors, pivots, order = lax.linalg.lu(lax.stop_gradient(a))
    return factors, pivots, order, jnp.any(across(factors) == 0, axis=-1) & finite(a)


def _rows(x: Array, order: Array) -> Array:
    return jnp.take_along_axis(x, order[..., None], axis=-2)


def solve(a: Array, b: Array) -> tuple[Array, Array]:
    """Return what solves ``a x = b`` of one stack, NaN where a is singular, and where it is."""
    if not a.size:
        return jnp.zeros_like(b), jnp.zeros(a.shape[:-2], bool)
    factors, _, order, bad = _decomposed(a)
    if not b.size:
        return jnp.zeros_like(b), bad

    below = {"left_side": True, "lower": True, "unit_diagonal": True}

    def forward(_: Any, right: Array) -> Array:
        x = _triangular(factors, _rows(right, order), **below)
        return _triangular(factors, x, left_side=True)

    def transposed(_: Any, right: Array) -> Array:
        x = _triangular(factors, right, left_side=True, transpose_a=True)
        x = _triangular(factors, x, transpose_a=True, **below)
        return _rows(x, jnp.argsort(order, axis=-1))

    x = lax.custom_linear_solve(lambda y: times(a, y), b, forward, transposed)
    return jnp.where((finite(a) & ~bad)[..., None, None], x, jnp.nan), bad


def inv(a: Array) -> tuple[Array, Array]:
    """Return the inverses, NaN of singular matrices, and which these are."""
    return solve(a, identity(a))


def _parity(pivots: Array, dtype: Any) -> Array:
    """Return the sign of the exchanges of rows."""
    moved = pivots != jnp.arange(pivots.shape[-1], dtype=pivots.dtype)
    odd = jnp.sum(moved, axis=-1, dtype=np.int32) % 2
    return jnp.where(odd == 1, -1, 1).astype(dtype)


@jax.custom_jvp
def det(x: Array) -> Array:
    """Return the determinants."""
    if not x.size:
        return jnp.ones(x.shape[:-2], x.dtype)
    factors, pivots, _, _ = _decomposed(x)
    value = _parity(pivots, x.dtype) * jnp.prod(across(factors), axis=-1)
    return jnp.where(finite(x), value, jnp.nan)


@det.defjvp
def _det_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    (x,), (dx,) = primals, tangents
    return det(x), jnp.sum(jnp.swapaxes(adjugate(x), -1, -2) * dx, axis=(-2, -1))


@jax.custom_jvp
def adjugate(x: Array) -> Array:
    """Return the transposed matrices of cofactors, also of singular matrices."""
    if not x.size:
        return x
    u, s, vh = svd(False, x)
    others = jnp.prod(jnp.where(_one(x), 1, s[..., None, :]), axis=-1)
    phase = det(u) * det(vh)
    return phase[..., None, None] * times(adjoint(vh) * others[..., None, :], adjoint(u))


@adjugate.defjvp
def _adjugate_jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
    # Where x is regular: that of det(x) x^-1.
    (x,), (dx,) = primals, tangents
    out, inverse = adjugate(x), inv(x)[0]
    turn = times(inverse, dx)
    trace = jnp.sum(across(turn), axis=-1)[..., None, None]
    return out, trace * out - times(turn, out)


@jax.custom_jvp
def slogdet(x: Array) -> tuple[Array, Array]:
    """Return the sign of the determinant, or its phase, and the logarithm of its magnitude."""
    stack, narrow = x.shape[:-2], parts_of(x.dtype)
    if not x.size:
        return jnp.ones(stack, x.dtype), jnp.zeros(stack, narrow)
    factors, pivots, _, bad = _decomposed(x)
    pivot = across(factors)
    sign = _parity(pivots, x.dtype) * jnp.prod(_phase(pivot), axis=-1)
    size = jnp.sum(jnp.log(jnp.abs(pivot)), axis=-1)
    sign, size = jnp.where(bad, 0, sign), jnp.where(bad, -jnp.inf, size)
    whole = finite(x)
    return jnp.where(whole, sign, jnp.nan), jnp.where(whole, size, jnp.nan)


@slogdet.defjvp
def _slogdet_jvp(primals: tuple[Array], tangents: tuple[Array]) -> Any:
    (x,), (dx,) = primals, tangents
    sign, size = slogdet(x)
    turn = jnp.sum(jnp.swapaxes(inv(x)[0], -1, -2) * dx, axis=(-2, -1))
    turned = jnp.zeros_like(sign)
    if x.dtype.kind == "c":
        turned = sign * lax.complex(jnp.zeros_like(size), jnp.imag(turn))
    return (sign, size), (turned, real(turn))


@jax.custom_jvp
def pinv(x: Array, rtol: Array) -> Array:
    """Return the pseudo-inverses; `rtol`, of the shape of the stack, is a constant."""
    if not x.size:
        return adjoint(x)
    u, s, vh = svd(False, x)
    inverse = _inverted(s, s <= rtol[..., None] * s[..., :1]).astype(s.dtype)
    return times(adjoint(vh) * inverse[..., None, :], adjoint(u))


@pinv.defjvp
def _pinv_jvp(primals: tuple[Array, Array], tangents: tuple[Array, Array]) -> tuple[Array, Array]:
    (x, rtol), (dx, _) = primals, tangents
    p = pinv(x, rtol)
    ph, dxh = adjoint(p), adjoint(dx)
    # P P^H dx^H (1 - x P) and (1 - P x) dx^H P^H P, without the identities.
    left, right = times(p, ph, dxh), times(dxh, ph, p)
    return p, left - times(left, x, p) + right - times(p, x, right) - times(p, dx, p)
