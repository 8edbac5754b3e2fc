"""Chapter fft: lengths, halves of spectra, derivatives through spectra, and what is kept."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy
from spec_tests.support.inputs import normal
from spec_tests.support.spectra import (
    complex_normal,
    gradient_of,
    in_norm,
    joined,
    leaves_of,
    parts,
    same,
    transposed,
    weighted,
    wide,
)

pytestmark = pytest.mark.sampled(6)

NORMS = ("backward", "ortho", "forward")
LADDER = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13, 15, 16, 17, 31, 32, 33)
BEYOND = (127, 128, 129, 1000, 1023, 1024, 1025, 4096, 4096 + 3)
PRIME = 131101


def of_kind(real: bool, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return normal(shape, dtype, seed=1) if real else complex_normal(shape, dtype, seed=1)


@clause("fft-04")
def test_lengths_of_several_axes(nn: Any, dtype: str) -> None:
    x = complex_normal((3, 4, 2), dtype)
    for name in ("fftn", "ifftn"):
        want = getattr(np.fft, name)(wide(x), (3, 6), (0, 1))
        for s, axes in (((-1, 6), (0, 1)), ([-1, 6], [0, -2]), ((6, 3), (1, 0))):
            got = getattr(nn.ops.fft, name)(nn.tensor(x), s=s, axes=axes)
            same(nn, got, want, "matmul", dtype, f"{name} with s={s}, axes={axes}")
    real = nn.tensor(x.real.copy())
    got = nn.ops.fft.rfftn(real, s=(-1, -1), axes=(0, 1))
    same(nn, got, np.fft.rfftn(wide(x.real), axes=(0, 1)), "matmul", dtype, "rfftn with -1")
    for s in ((-1, -1), (3, -1), (-1, 6)):
        got = nn.ops.fft.irfftn(nn.tensor(x), s=s, axes=(0, 1))
        want = np.fft.irfftn(wide(x), (3, 6), axes=(0, 1))
        same(nn, got, want, "matmul", dtype, f"irfftn with s={s}")


@clause("fft-04", "fft-07")
def test_what_is_cut_off_has_no_gradient(nn: Any, dtype: str) -> None:
    for name, used in (("fft", 4), ("rfft", 4), ("irfft", 3)):
        leaves = leaves_of(nn, of_kind(name == "rfft", (2, 7), dtype))
        y = getattr(nn.ops.fft, name)(joined(leaves), n=4)
        sum(nn.ops.sum(part) for part in parts(nn, y)).backward()
        for leaf in leaves:
            lost = to_numpy(nn, leaf.grad)[:, used:]
            exactly(nn, lost, np.zeros((2, 7 - used)), call=f"gradient of {name} behind n")


@clause("fft-06")
def test_imaginary_parts_that_do_not_count(nn: Any, dtype: str) -> None:
    for name, n in itertools.product(("irfft", "hfft"), (7, 8)):
        x = complex_normal((2, n // 2 + 1), dtype)
        ends = [0, -1] if n % 2 == 0 else [0]
        plain = x.copy()
        plain.imag[:, ends] = 0
        leaves = leaves_of(nn, x)
        got = getattr(nn.ops.fft, name)(joined(leaves), n=n)
        same(nn, got, getattr(np.fft, name)(wide(plain), n), "matmul", dtype, f"{name}, n={n}")
        weighted(nn, got, normal((2, n), dtype, seed=4)).backward()
        slope = to_numpy(nn, leaves[1].grad)
        exactly(nn, slope[:, ends], np.zeros((2, len(ends))), call=f"gradient of {name}, n={n}")
        assert np.all(slope[:, 1 : (n + 1) // 2] != 0), f"{name} lost gradients between"


@clause("fft-06")
def test_axes_one_after_the_other(nn: Any, dtype: str) -> None:
    x, fft = nn.tensor(complex_normal((3, 4), dtype)), nn.ops.fft
    # On the other axis the first number of a row is complex, and only the last axis ignores it.
    for axes in ((0, 1), (1, 0)):
        first, last = axes
        got = fft.irfftn(x, s=(5, 6), axes=axes, norm="ortho")
        want = fft.irfft(fft.ifft(x, n=5, axis=first, norm="ortho"), n=6, axis=last, norm="ortho")
        same(nn, got, to_numpy(nn, want), "matmul", dtype, f"irfftn, axes={axes}")
        real = nn.ops.real(x)
        got = fft.rfftn(real, s=(5, 6), axes=axes)
        want = fft.fft(fft.rfft(real, n=6, axis=last), n=5, axis=first)
        same(nn, got, to_numpy(nn, want), "matmul", dtype, f"rfftn, axes={axes}")


@clause("fft-06")
def test_the_hermitian_ones_are_conjugates(nn: Any, dtype: str) -> None:
    x, fft = nn.tensor(complex_normal((2, 4), dtype)), nn.ops.fft
    want = fft.irfft(nn.ops.conj(x), n=7, norm="forward")
    same(nn, fft.hfft(x, n=7), to_numpy(nn, want), "matmul", dtype, "hfft")
    real = nn.ops.real(x)
    want = nn.ops.conj(fft.rfft(real, norm="forward"))
    same(nn, fft.ihfft(real), to_numpy(nn, want), "matmul", dtype, "ihfft")


@clause("fft-07", "autograd-16")
def test_cotangents_are_transformed_back(nn: Any, dtype: str) -> None:
    fft = nn.ops.fft
    x, g = complex_normal((2, 6), dtype), complex_normal((2, 6), dtype, seed=5)
    half = g[:, :4]
    twice = np.array([1, 2, 2, 1.0])
    padded = np.pad(wide(half), ((0, 0), (0, 2)))
    real = normal((2, 6), dtype, seed=6)
    cases: dict[str, tuple[Any, np.ndarray, np.ndarray, np.ndarray]] = {
        "fft": (fft.fft, x, g, 6 * np.fft.ifft(wide(g))),
        "ifft": (fft.ifft, x, g, np.fft.fft(wide(g)) / 6),
        "fft of real": (fft.fft, real, g, 6 * np.fft.ifft(wide(g)).real),
        "rfft": (fft.rfft, real, half, 6 * np.fft.ifft(padded).real),
        "ihfft": (fft.ihfft, real, half, np.fft.fft(padded).real / 6),
        "irfft": (fft.irfft, x[:, :4], real, twice * np.fft.rfft(wide(real)) / 6),
        "hfft": (fft.hfft, x[:, :4], real, np.conj(twice * np.fft.rfft(wide(real)))),
    }
    for text, (function, primal, arriving, want) in cases.items():
        _, pull = nn.vjp(function, nn.tensor(primal))
        cotangent = nn.tensor(arriving)
        for _ in range(2):
            (slope,) = pull(cotangent)
            same(nn, slope, want, "gradient", dtype, f"cotangent of {text}")
            assert np.array_equal(to_numpy(nn, cotangent), arriving), f"{text} wrote to it"


def filtered(nn: Any, x: Any, c: Any, d: Any) -> Any:
    """Return a real signal after a complex filter, and the power of what came of it."""
    spectrum = nn.ops.fft.fft(x) * (c + 1j * d)
    power = nn.ops.real(spectrum * nn.ops.conj(spectrum))
    return nn.ops.real(nn.ops.fft.ifft(spectrum)) ** 2 + power


@clause("fft-08", "fft-07", needs=("float64", "double_backward"))
def test_a_filter_in_the_middle(nn: Any) -> None:
    arrays = [normal((2, 5)), normal(5, seed=1), normal(5, seed=2)]
    check_gradients(nn, lambda *given: filtered(nn, *given), arrays, second_order=True)

    def half(x: Any, c: Any, d: Any) -> Any:
        return nn.ops.fft.irfft(nn.ops.fft.rfft(x) * (c + 1j * d), n=5) ** 2

    arrays = [normal((2, 5)), normal(3, seed=1), normal(3, seed=2)]
    check_gradients(nn, half, arrays, second_order=True)


@clause("fft-08", needs="double_backward")
def test_the_hessian_of_a_spectrum(nn: Any, dtype: str) -> None:
    p = np.abs(normal(5, dtype, seed=3))

    def power(x: Any) -> Any:
        y = nn.ops.fft.fft(x)
        return nn.ops.sum(nn.tensor(p) * (nn.ops.real(y) ** 2 + nn.ops.imag(y) ** 2))

    matrix = np.fft.fft(np.eye(5))
    want = 2 * np.real(np.conj(matrix.T) @ np.diag(wide(p)) @ matrix)
    agrees(nn, nn.hessian(power)(nn.tensor(normal(5, dtype))), want, "gradient", call="hessian")


@clause("fft-08", "fft-07", needs="double_backward")
def test_third_derivatives(nn: Any, dtype: str) -> None:
    def there_and_back(x: Any) -> Any:
        return nn.ops.sum(nn.ops.fft.irfft(nn.ops.fft.rfft(x), n=5) ** 3)

    third = there_and_back
    for _ in range(2):
        third = (lambda f: lambda x: nn.ops.sum(nn.grad(f, create_graph=True)(x)))(third)
    got = nn.grad(third)(nn.tensor(normal(5, dtype)))
    agrees(nn, got, np.full(5, 6.0), "gradient", call="third derivative of the sum of cubes")


@clause("fft-08", "autograd-34", needs="double_backward")
def test_tangents(nn: Any, dtype: str) -> None:
    x, u = normal((2, 6), dtype), normal((2, 6), dtype, seed=1)
    for name in ("fft", "rfft", "ihfft"):
        function = getattr(nn.ops.fft, name)
        _, tangent = nn.jvp(function, (nn.tensor(x),), (nn.tensor(u),))
        same(nn, tangent, getattr(np.fft, name)(wide(u)), "gradient", dtype, f"tangent of {name}")


@clause("fft-08", needs="jit")
def test_under_jit(nn: Any, dtype: str) -> None:
    arrays = [normal((2, 5), dtype), normal(5, dtype, seed=1), normal(5, dtype, seed=2)]
    tensors = [nn.tensor(array) for array in arrays]

    def total(*given: Any) -> Any:
        return nn.ops.sum(filtered(nn, *given))

    want = nn.grad(total, argnums=(0, 1, 2))(*tensors)
    got = nn.jit(nn.grad(total, argnums=(0, 1, 2)))(*tensors)
    for place, pair in enumerate(zip(got, want, strict=True)):
        agrees(nn, pair[0], to_numpy(nn, pair[1]), "gradient", call=f"gradient {place}")
    y = nn.jit(lambda x: nn.ops.fft.rfft(x, n=7))(tensors[0])
    same(nn, y, np.fft.rfft(wide(arrays[0]), 7), "matmul", dtype, "rfft")


@clause("fft-09")
def test_transforms_of_one(nn: Any, dtype: str) -> None:
    x, fft = complex_normal((3, 1), dtype), nn.ops.fft
    for norm in NORMS:
        for name in ("fft", "ifft", "fftn", "ifftn", "irfft", "hfft", "rfft", "ihfft"):
            real = name in ("rfft", "ihfft")
            given = x.real.copy() if real else x
            options: dict[str, Any] = {"axes": (1,)} if name.endswith("n") else {"n": 1}
            got = getattr(fft, name)(nn.tensor(given), norm=norm, **options)
            want = x.real if name in ("irfft", "hfft") else given + (0j if real else 0)
            same(nn, got, wide(want), "elementwise", dtype, f"{name} of one number")


@clause("fft-09")
def test_nothing_is_filled_with_zeros(nn: Any, dtype: str) -> None:
    x = nn.tensor(normal((2, 0), dtype), requires_grad=True)
    for name in ("fft", "ifft", "rfft", "ihfft", "irfft", "hfft"):
        got = getattr(nn.ops.fft, name)(x, n=4)
        width = {"fft": 4, "ifft": 4, "rfft": 3, "ihfft": 3}.get(name)
        want = np.zeros((2, width), complex) if width else np.zeros((2, 4))
        same(nn, got, want, "exact", dtype, f"{name} of nothing")
    for name in ("fftn", "rfftn", "irfftn"):
        got = getattr(nn.ops.fft, name)(x, s=(2, 4), axes=(0, 1))
        width = {"fftn": 4, "rfftn": 3}.get(name)
        want = np.zeros((2, width), complex) if width else np.zeros((2, 4))
        same(nn, got, want, "exact", dtype, f"{name} of nothing")
    sum(nn.ops.sum(part) for part in parts(nn, nn.ops.fft.fft(x, n=4))).backward()
    exactly(nn, x.grad, np.zeros((2, 0)), call="gradient of nothing")


@clause("fft-09")
def test_transforms_along_no_axis(nn: Any, dtype: str) -> None:
    for name in ("fftn", "ifftn"):
        function = getattr(nn.ops.fft, name)
        for x in (normal((2, 3), dtype), complex_normal((2, 3), dtype)):
            same(nn, function(nn.tensor(x), axes=()), x + 0j, "exact", dtype, f"{name}, axes=()")
        number = normal((), dtype)
        same(nn, function(nn.tensor(number)), number + 0j, "exact", dtype, f"{name} of a number")
    for name in ("rfftn", "irfftn"):
        with refuses(ValueError, name):
            getattr(nn.ops.fft, name)(nn.tensor(normal((), dtype)))


@clause("fft-10", "numerics-01")
@pytest.mark.parametrize("name", ["fft", "ifft", "rfft", "ihfft", "irfft", "hfft"])
def test_a_ladder_of_lengths(nn: Any, dtype: str, name: str) -> None:
    function, reference = getattr(nn.ops.fft, name), getattr(np.fft, name)
    for n in LADDER + BEYOND:
        length = n // 2 + 1 if name in ("irfft", "hfft") else n
        x = of_kind(name in ("rfft", "ihfft"), (2, length), dtype)
        want = reference(wide(x), n)
        got = function(nn.tensor(x), n=n)
        in_norm(nn, got, want, dtype, f"{name} of length {n}", n=n)
        got = function(nn.tensor(x.T.copy()), n=n, axis=0)
        in_norm(nn, got, want.T, dtype, f"{name} of length {n} along the first axis", axis=0, n=n)


def slopes_of_long_ones(name: str, g: np.ndarray, n: int) -> tuple[np.ndarray, Callable[..., Any]]:
    """Return the gradient of ``fft-07`` in double precision, for g of the full length n."""
    if name == "irfft":
        twice = np.full(n // 2 + 1, 2.0)
        twice[0] = 1
        return twice * np.fft.rfft(g) / n, np.fft.irfft
    padded = np.zeros(n, complex)
    padded[: len(g)] = g
    slope = n * np.fft.ifft(padded)
    return (slope, np.fft.fft) if name == "fft" else (slope.real, np.fft.rfft)


@clause("fft-10", "fft-07")
@pytest.mark.parametrize("name", ["fft", "rfft", "irfft"])
def test_a_long_one_and_its_gradient(nn: Any, dtype: str, name: str) -> None:
    n = PRIME
    x = of_kind(name == "rfft", (n // 2 + 1 if name == "irfft" else n,), dtype)
    g = of_kind(name == "irfft", (n // 2 + 1 if name == "rfft" else n,), dtype)
    slope, reference = slopes_of_long_ones(name, wide(g), n)
    leaves = leaves_of(nn, x)
    got = getattr(nn.ops.fft, name)(joined(leaves), n=n)
    in_norm(nn, got, reference(wide(x), n), dtype, f"{name} of length {n}", n=n)
    weighted(nn, got, g).backward()
    in_norm(nn, gradient_of(nn, leaves), slope, dtype, f"gradient of {name} of length {n}", n=n)


@clause("fft-11")
def test_there_and_back(nn: Any, dtype: str) -> None:
    fft = nn.ops.fft
    for n, norm in itertools.product((1, 6, 7), NORMS):
        x = complex_normal((3, n), dtype)
        z, a = nn.tensor(x), nn.tensor(x.real.copy())
        by: dict[str, Any] = {"norm": norm}
        returned: dict[str, tuple[Any, np.ndarray]] = {
            "ifft": (fft.ifft(fft.fft(z, **by), **by), x),
            "ifftn": (fft.ifftn(fft.fftn(z, **by), **by), x),
            "irfft": (fft.irfft(fft.rfft(a, **by), n=n, **by), x.real),
            "irfftn": (fft.irfftn(fft.rfftn(a, **by), s=(3, n), axes=(0, 1), **by), x.real),
            "hfft": (fft.hfft(fft.ihfft(a, **by), n=n, **by), x.real),
        }
        for name, (got, want) in returned.items():
            same(nn, got, wide(want), "matmul", dtype, f"{name} that undoes, n={n}, {norm}")


@clause("fft-11")
def test_parseval(nn: Any, dtype: str) -> None:
    for n, (norm, factor) in itertools.product(
        (1, 2, 7, 8, 31), {"backward": -1, "ortho": 0, "forward": 1}.items()
    ):
        x, real = complex_normal((n,), dtype, seed=n), normal(n, dtype, seed=n)
        y = nn.ops.fft.fft(nn.tensor(x), norm=norm)
        power = sum(nn.ops.sum(part * part) for part in parts(nn, y)) * n**factor
        agrees(nn, power, np.sum(np.abs(wide(x)) ** 2), "matmul", call=f"fft of {n}, {norm}")
        counts = np.full(n // 2 + 1, 2.0)
        counts[[0, -1] if n % 2 == 0 else [0]] = 1
        y = nn.ops.fft.rfft(nn.tensor(real), norm=norm)
        weights = nn.tensor(counts.astype(dtype))
        power = sum(nn.ops.sum(weights * part * part) for part in parts(nn, y)) * n**factor
        agrees(nn, power, np.sum(wide(real) ** 2), "matmul", call=f"rfft of {n}, {norm}")


@clause("fft-11")
def test_circular_convolutions(nn: Any, dtype: str) -> None:
    for n in (1, 5, 8):
        x, k = normal(n, dtype), normal(n, dtype, seed=1)
        places = (np.arange(n)[:, None] - np.arange(n)) % n
        want = wide(x)[places] @ wide(k)
        product = nn.ops.fft.rfft(nn.tensor(x)) * nn.ops.fft.rfft(nn.tensor(k))
        agrees(nn, nn.ops.fft.irfft(product, n=n), want, "matmul", call=f"convolution of {n}")


@clause("fft-12")
@pytest.mark.parametrize("name", ["fft", "rfft", "irfft"])
def test_other_rows_are_unharmed(nn: Any, dtype: str, name: str) -> None:
    for axis, n, wrong in ((1, 6, np.nan), (0, 7, np.inf)):
        shape = (3, n) if axis else (n, 3)
        x = of_kind(name == "rfft", shape, dtype)
        want = getattr(np.fft, name)(wide(x), n, axis)
        g = of_kind(name == "irfft", want.shape, dtype)
        leaves = leaves_of(nn, x)
        weighted(nn, getattr(nn.ops.fft, name)(joined(leaves), n=n, axis=axis), g).backward()
        slope = gradient_of(nn, leaves)
        for array in (x, g):
            np.moveaxis(array, axis, 1)[1, 2] = wrong
        leaves = leaves_of(nn, x)
        got = getattr(nn.ops.fft, name)(joined(leaves), n=n, axis=axis)
        rows = np.moveaxis(to_numpy(nn, got), axis, 1)[[0, 2]]
        clean = np.moveaxis(want, axis, 1)[[0, 2]]
        same(nn, rows, clean, "matmul", dtype, f"{name} beside {wrong}")
        weighted(nn, got, g).backward()
        rows = np.moveaxis(gradient_of(nn, leaves), axis, 1)[[0, 2]]
        clean = np.moveaxis(slope, axis, 1)[[0, 2]]
        same(nn, rows, wide(clean), "gradient", dtype, f"gradient of {name} beside {wrong}")


@clause("fft-12")
@pytest.mark.parametrize("name", ["fft", "rfft", "irfft"])
def test_however_it_lies_in_memory(nn: Any, dtype: str, name: str) -> None:
    a = of_kind(name == "rfft", (4, 4), dtype)
    x, ops, reference = nn.tensor(a), nn.ops, getattr(np.fft, name)
    views: dict[str, tuple[Any, np.ndarray]] = {
        "transposed": (ops.permute_dims(x, (1, 0)), a.T),
        "turned round": (ops.flip(x, axis=1), a[:, ::-1]),
        "broadcast": (ops.broadcast_to(x[0], (3, 4)), np.broadcast_to(a[0], (3, 4))),
        "a slice": (x[:, ::2], a[:, ::2]),
        "a column": (x[:, 1], a[:, 1]),
    }
    for text, (view, array) in views.items():
        got = getattr(ops.fft, name)(view)
        same(nn, got, reference(wide(array)), "matmul", dtype, f"{name} of what is {text}")
    exactly(nn, to_numpy(nn, x).view(dtype), a.view(dtype), call=f"what {name} was given")
    leaves = leaves_of(nn, a)
    y = getattr(ops.fft, name)(joined(leaves))
    # The gradient that arrives is broadcast from one number.
    sum(ops.sum(part) for part in parts(nn, y)).backward()
    ones = np.full(y.shape, 1 if name == "irfft" else 1 + 1j)
    want = transposed(reference, a, ones)
    same(nn, gradient_of(nn, leaves), want, "gradient", dtype, f"broadcast gradient of {name}")
