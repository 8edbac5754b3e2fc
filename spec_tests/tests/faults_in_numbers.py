"""Deliberate faults in numbers: dtypes that meet, complex values, matrices, spectra, batches."""

import sys
from types import SimpleNamespace

import numpy as np
from faults import fault


def without_numpys(module, **changed):
    """Give a module a NumPy in which some functions are others."""
    module.np = SimpleNamespace(**{**vars(np), **changed})


def ops_module(name):
    """Return a module of `ops`, which may have a function of the same name."""
    return sys.modules[f"impl_numpy.ops.{name}"]


def dtypes_meet(change):
    """Have two dtypes meet in another one where `change` gives one."""
    from impl_numpy import dtypes

    original = dtypes.met
    dtypes.met = lambda one, other: change(one, other) or original(one, other)


@fault("test_tensor_promotion", "tensor-16")
def an_unsigned_integer_takes_the_width_of_a_signed(nn):
    def change(one, other):
        if {one.kind, other.kind} == {"u", "i"} and 8 not in (one.itemsize, other.itemsize):
            return np.dtype(f"i{max(one.itemsize, other.itemsize)}")
        return None

    dtypes_meet(change)


@fault("test_tensor_promotion", "tensor-16")
def uint64_and_signed_integers_meet_in_float64(nn):
    dtypes_meet(
        lambda one, other: (
            nn.float64 if nn.uint64 in (one, other) and "i" in (one.kind, other.kind) else None
        )
    )


@fault("test_tensor_promotion", "tensor-16")
def int64_widens_float32(nn):
    dtypes_meet(lambda one, other: nn.float64 if {one, other} == {nn.int64, nn.float32} else None)


@fault("test_tensor_promotion", "tensor-16")
def float64_is_narrowed_beside_complex64(nn):
    dtypes_meet(
        lambda one, other: nn.complex64 if {one, other} == {nn.complex64, nn.float64} else None
    )


@fault("test_tensor_dtypes test_tensor_complex", "tensor-04", "tensor-45")
def complex_numbers_lose_their_imaginary_part_in_a_cast(nn):
    from impl_numpy import creation

    original = creation.check_cast
    creation.check_cast = lambda operation, array, dtype: (
        None if array.dtype.kind == "c" else original(operation, array, dtype)
    )


@fault("test_tensor_promotion test_tensor_dtypes", "tensor-38")
def a_number_wraps_into_the_dtype_beside_it(nn):
    from impl_numpy import recording

    original = recording.operand

    def operand(value, dtype, operation):
        if type(value) is int and dtype.kind in "iu":
            return np.array(value % 2**64, "u8").astype(dtype)
        return original(value, dtype, operation)

    recording.operand = operand


@fault("test_tensor_dtypes test_ops_integers", "tensor-38", "ops-60")
def sums_of_small_integers_stop_at_the_largest(nn):
    from impl_numpy.recording import RULES

    original = RULES["add"].forward

    def forward(a, b):
        if a.dtype.kind not in "iu" or a.dtype.itemsize > 2:
            return original(a, b)
        bounds = np.iinfo(a.dtype)
        whole = a.astype("i8") + b.astype("i8")
        return np.clip(whole, bounds.min, bounds.max).astype(a.dtype)

    RULES["add"].forward = forward


@fault("test_ops_integers", "ops-60")
def whole_quotients_go_through_floating_numbers(nn):
    from impl_numpy.recording import RULES

    original = RULES["floor_divide"].forward

    def forward(a, b):
        if a.dtype.kind not in "iu":
            return original(a, b)
        return np.floor(a.astype("f8") / b.astype("f8")).astype(a.dtype)

    RULES["floor_divide"].forward = forward


@fault("test_tensor_complex", "tensor-41")
def int_of_a_complex_number_is_that_of_its_real_part(nn):
    from impl_numpy import protocols

    def real_element(self, operation):
        element = self._element(operation)
        return element.real if isinstance(element, complex) else element

    protocols.Protocols._real_element = real_element


@fault("test_tensor_array_object", "tensor-43")
def a_remainder_on_the_right_exchanges_its_operands(nn):
    from impl_numpy import protocols

    protocols.Protocols.__rmod__ = protocols.Protocols.__mod__


@fault("test_tensor_array_object", "tensor-43")
def any_version_of_the_standard_is_there(nn):
    from impl_numpy import protocols

    protocols.Protocols.__array_namespace__ = lambda self, /, *, api_version=None: nn.ops


@fault("test_tensor_array_object", "tensor-44")
def dlpack_shares_where_a_copy_is_wanted(nn):
    from impl_numpy import protocols

    original = protocols.Protocols.__dlpack__

    def __dlpack__(self, /, *, copy=None, **options):
        return original(self, copy=None if copy else copy, **options)

    protocols.Protocols.__dlpack__ = __dlpack__


@fault("test_tensor_array_object", "tensor-44")
def dlpack_gives_away_what_requires_grad(nn):
    from impl_numpy import protocols

    original = protocols.Protocols.__dlpack__
    protocols.Protocols.__dlpack__ = lambda self, /, **options: original(self.detach(), **options)


@fault("test_tensor_complex", "tensor-45")
def transposed_matrices_are_conjugated(nn):
    from impl_numpy.tensor import Tensor

    original = Tensor.mT
    Tensor.mT = property(lambda self: nn.ops.conj(original.fget(self)))


@fault("test_ops_complex", "ops-59")
def vecdot_conjugates_nothing(nn):
    products = ops_module("products")
    products.RULES = {**products.RULES, "conj": products.RULES["positive"]}


@fault("test_ops_complex", "ops-59")
def complex_numbers_have_a_largest(nn):
    from impl_numpy.recording import RULES

    RULES["max"].real = False


@fault("test_ops_complex_gradients", "ops-61")
def the_gradient_of_abs_forgets_to_conjugate(nn):
    from impl_numpy.recording import RULES

    original = RULES["abs"].vjp

    def vjp(grad, needs, x, out):
        if x.dtype.kind != "c":
            return original(grad, needs, x, out)
        return (grad * RULES["sign of complex"](x),)

    RULES["abs"].vjp = vjp


@fault("test_ops_complex_gradients", "ops-61")
def conj_is_taken_for_holomorphic(nn):
    from impl_numpy.recording import RULES

    RULES["conj"].vjp = lambda grad, *_: (grad,)


@fault("test_ops_complex_gradients", "ops-61")
def the_gradient_of_imag_has_the_other_sign(nn):
    complexes = ops_module("complexes")
    complexes._imag.vjp = lambda grad, *_: (complexes._whole(grad) * 1j,)


@fault("test_ops_complex", "ops-62")
def real_takes_booleans(nn):
    complexes = ops_module("complexes")
    complexes._numbers = complexes.as_tensor


@fault("test_numerics_batch test_tensor_promotion", "numerics-02")
def a_norm_in_eval_takes_its_statistics_of_the_batch(nn):
    from impl_numpy.nn import norm

    original = norm._BatchNorm.forward

    def forward(self, input):
        mean, self._buffers["running_mean"] = self.running_mean, None
        try:
            return original(self, input)
        finally:
            self._buffers["running_mean"] = mean

    norm._BatchNorm.forward = forward


@fault("test_numerics_batch test_tensor_promotion", "numerics-02")
def softmax_subtracts_the_maximum_of_the_batch(nn):
    from impl_numpy.recording import RULES

    def forward(x, axis):
        powers = np.exp(x - x.max(initial=-np.inf))
        return powers / powers.sum(axis=axis, keepdims=True)

    RULES["softmax"].forward = forward


@fault("test_linalg test_linalg_complex", "linalg-13", "linalg-14", "linalg-15")
def vectors_have_whatever_sign_comes(nn):
    ops_module("decompositions")._gauge = lambda vectors: np.ones(
        (*vectors.shape[:-2], 1, vectors.shape[-1]), vectors.dtype
    )


@fault("test_linalg_edges", "linalg-16")
def equal_eigenvalues_divide_by_zero(nn):
    ops_module("decompositions")._inverse = lambda x, zero: 1 / x


@fault("test_linalg", "linalg-08")
def both_triangles_are_read(nn):
    module = ops_module("decompositions")
    original = module.set_apart

    def set_apart(x, lower=False):
        return original((x + x.conj().mT) / 2 if lower else x)

    module.set_apart = set_apart


@fault("test_linalg test_linalg_rows", "linalg-03", "linalg-08")
def the_gradient_of_one_triangle_lies_in_it(nn):
    module = ops_module("decompositions")

    def hermitian(x):
        n = x.shape[-1]
        below = module.selected(np.tri(n, k=-1, dtype=bool), x + module.adjoint(x))
        return below + module._diagonal(module._on_diagonal(x), n)

    module._hermitian = hermitian


@fault("test_linalg_edges", "linalg-09")
def the_inverse_of_a_singular_matrix_is_infinite(nn):
    solving = ops_module("solving")
    original = solving._inv.forward

    def forward(x):
        try:
            return original(x)
        except ValueError:
            return np.full_like(x, np.inf)

    solving._inv.forward = forward


@fault("test_linalg_edges", "linalg-09")
def the_singular_matrix_of_a_stack_is_not_named(nn):
    for name in ("solving", "products"):
        ops_module(name).no_inverse = lambda _wrong: "the matrix is singular"


@fault("test_linalg_edges", "linalg-10")
def a_nan_spoils_the_stack(nn):
    module = ops_module("decompositions")
    original = module.set_apart

    def set_apart(x, lower=False):
        safe, wrong = original(x, lower)
        return safe, wrong if wrong is None else np.ones_like(wrong)

    module.set_apart = set_apart


@fault("test_linalg", "linalg-12")
def the_diagonal_of_r_has_whatever_sign_comes(nn):
    module = ops_module("decompositions")
    module._qr = lambda x, mode: module._joined(x.shape[:-2], x.dtype, None, *np.linalg.qr(x, mode))


@fault("test_linalg", "linalg-14")
def singular_values_ascend(nn):
    module = ops_module("decompositions")

    def svd(x, full_matrices=True, compute_uv=True):
        found = np.linalg.svd(x, full_matrices, compute_uv)
        if not compute_uv:
            return found[..., ::-1]
        u, s, vh = found
        k = s.shape[-1]
        u[..., :k], vh[..., :k, :] = (
            u[..., :k][..., ::-1].copy(),
            vh[..., :k, :][..., ::-1, :].copy(),
        )
        return u, s[..., ::-1].copy(), vh

    without_numpys(module, linalg=SimpleNamespace(**{**vars(np.linalg), "svd": svd}))


@fault("test_linalg", "linalg-14")
def the_rows_of_vh_do_not_follow_the_columns_of_u(nn):
    module = ops_module("decompositions")
    original = module._gauge

    def gauge(vectors):
        return np.ones_like(original(vectors))

    module._gauge = gauge


@fault("test_linalg test_linalg_complex test_linalg_edges", "linalg-15")
def eigenvalues_ascend_by_magnitude(nn):
    def lexsort(keys, axis):
        imag, real = keys
        return np.argsort(np.hypot(real, imag), axis=axis, kind="stable")

    without_numpys(ops_module("decompositions"), lexsort=lexsort)


@fault("test_linalg_edges", "linalg-17")
def cofactors_are_made_of_an_inverse(nn):
    def cofactors(x):
        with np.errstate(all="ignore"):
            whole = np.linalg.det(x)[..., None, None] * np.linalg.pinv(x).mT
        return whole.astype(x.dtype)

    ops_module("solving")._cofactors = cofactors


@fault("test_linalg_edges test_linalg_rows", "linalg-03")
def the_gradient_of_an_inverse_is_not_transposed(nn):
    solving = ops_module("solving")
    for rule in (solving._inv, solving._power_inv):
        rule.vjp = lambda grad, needs, x, out: (-(out @ grad @ out),)


@fault("test_linalg_edges", "linalg-19")
def the_gradient_of_a_pseudoinverse_is_that_of_an_inverse(nn):
    rule = ops_module("solving")._pinv
    rule.vjp = lambda grad, needs, x, out, rtol: (-(out.mT @ grad @ out.mT),)


@fault("test_linalg_edges test_linalg_rows", "linalg-02")
def the_norms_of_rows_and_columns_are_exchanged(nn):
    solving = ops_module("solving")
    original = solving._norm
    other = {1: np.inf, -1: -np.inf, np.inf: 1, -np.inf: -1}
    solving._norm = lambda x, order: original(x, other.get(order, order))


@fault("test_linalg_edges", "linalg-21")
def the_trace_of_small_integers_keeps_their_dtype(nn):
    products = ops_module("products")
    products.cast_first = lambda _name, x, dtype: x if dtype is None else nn.ops.astype(x, dtype)


@fault("test_linalg_edges", "linalg-21")
def cross_stretches_a_length_of_one(nn):
    linalg = ops_module("linalg")
    original = linalg.cross

    def cross(x1, x2, /, *, axis=-1):
        if getattr(x1, "ndim", 0) and x1.shape[axis] == 1:
            x1 = nn.ops.concat([nn.ops.asarray(x1)] * 3, axis=axis)
        return original(x1, x2, axis=axis)

    linalg.cross = cross


@fault("test_fft test_fft_rows", "fft-07")
def the_gradient_of_fft_has_the_factor_of_the_inverse(nn):
    fft = ops_module("fft")
    for rule in (fft._fft, fft._ifft):
        rule.vjp = lambda grad, needs, x, out, axis, norm, rule=rule: (
            rule(grad, axis, fft._DUAL[norm]),
        )


@fault("test_fft test_fft_rows", "fft-07")
def the_numbers_of_half_a_spectrum_count_once(nn):
    ops_module("fft")._weighted = lambda x, n, axis, inner: x


@fault("test_fft test_fft_rows", "fft-07")
def the_last_number_of_an_even_spectrum_counts_twice(nn):
    fft = ops_module("fft")
    original = fft._weighted

    def weighted(x, n, axis, inner):
        # An odd length with as many numbers in its half.
        return original(x, n + 1 - n % 2, axis, inner)

    fft._weighted = weighted


@fault("test_fft test_fft_rows", "fft-04")
def zeros_are_filled_in_front(nn):
    fft = ops_module("fft")

    def pad(x, widths):
        return nn.ops.pad(x, [(after, before) for before, after in widths])

    fft.REGISTRY = {**fft.REGISTRY, "pad": pad}


@fault("test_fft_rows", "fft-03")
def float32_becomes_complex128(nn):
    fft = ops_module("fft")
    fft.WHOLE = {**fft.WHOLE, nn.float32: nn.complex128}


@fault("test_fft_rows", "fft-05")
def lengths_without_axes_are_taken(nn):
    fft = ops_module("fft")
    original = fft._several

    def several(name, x, s, axes, norm, half):
        if s is not None and axes is None and isinstance(s, (tuple, list)):
            axes = tuple(range(-len(s), 0))
        return original(name, x, s, axes, norm, half)

    fft._several = several


@fault("test_fft", "fft-06")
def hfft_does_not_conjugate(nn):
    fft = ops_module("fft")
    fft.REGISTRY = {**fft.REGISTRY, "conj": lambda x: x}


@fault("test_fft_rows", "fft-14")
def a_shift_of_odd_length_is_not_undone(nn):
    fft = ops_module("fft")
    original = fft._shifted
    fft._shifted = lambda name, x, axes, _sign: original(name, x, axes, 1)


@fault("test_fft_rows", "fft-13")
def the_middle_frequency_of_an_odd_length_is_negative(nn):
    fft = ops_module("fft")
    original = fft._frequencies

    def frequencies(name, n, d, dtype, device, half):
        made = original(name, n, d, dtype, device, half)
        if not half and n % 2 and n > 1:
            made._data[n // 2] *= -1
        return made

    fft._frequencies = frequencies
