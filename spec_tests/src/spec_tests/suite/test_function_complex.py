"""Chapter function: complex inputs, outputs and gradients of a Function."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.check import check_gradients
from spec_tests.support.assertions import agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.complexes import PARTS, leaves_of
from spec_tests.support.dtypes import ALL, COMPLEX, there

pytestmark = pytest.mark.sampled(6)

Z = np.array([0.5 + 1.5j, -1.25 + 0.75j, 2 - 0.5j])
W = np.array([1 - 2j, 0.5 + 1j, -1 + 0.25j])


class Square:
    """z * z, whose gradient forgets no conjugation."""

    @staticmethod
    def forward(ctx: Any, z: Any) -> Any:
        ctx.save_for_backward(z)
        return z * z

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        (z,) = ctx.saved_tensors
        return 2 * grad_output * ctx.xp.conj(z)


class Polar:
    """The size and the direction of a complex number, one real and one complex output."""

    @staticmethod
    def forward(ctx: Any, z: Any) -> Any:
        size = ctx.xp.abs(z)
        ctx.save_for_backward(z / size, size)
        return size, z / size

    @staticmethod
    def backward(ctx: Any, grad_size: Any, grad_direction: Any) -> Any:
        direction, size = ctx.saved_tensors
        along = ctx.xp.real(ctx.xp.conj(direction) * grad_direction)
        return direction * grad_size + (grad_direction - direction * along) / size


class Scale:
    """A real number times a complex one."""

    @staticmethod
    def forward(ctx: Any, x: Any, z: Any) -> Any:
        ctx.save_for_backward(x, z)
        return x * z

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        x, z = ctx.saved_tensors
        ctx.saw = None
        return ctx.xp.real(grad_output * ctx.xp.conj(z)), grad_output * x


@clause("function-31", "function-19", "function-13")
def test_gradients_of_complex_functions(nn: Any) -> None:
    square = nn.as_function(Square)
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        y = square.apply(z)
        agrees(nn, y, Z * Z, "elementwise", dtype=dtype, call="the output")
        assert y.requires_grad
        y.backward(nn.tensor(W.astype(dtype)))
        want = 2 * W * np.conj(Z)
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, "gradient", dtype=PARTS[dtype], call="gradient")
        got = nn.vjp(square.apply, nn.tensor(Z.astype(dtype)))[1](nn.tensor(W.astype(dtype)))
        agrees(nn, got[0], want, "gradient", dtype=dtype, call="under vjp")


@clause("function-31", "autograd-34", needs="double_backward")
def test_tangents_of_complex_functions(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        z, dz = nn.tensor(Z.astype(dtype)), nn.tensor(W.astype(dtype))
        _, tangent = nn.jvp(nn.as_function(Square).apply, (z,), (dz,))
        agrees(nn, tangent, 2 * Z * W, "gradient", dtype=dtype, call="jvp")


@clause("function-31", "function-17", needs=("double_backward", "float64"))
@pytest.mark.parametrize("name", ["Square", "Polar", "Scale"])
def test_second_derivatives_of_complex_functions(nn: Any, name: str) -> None:
    function = nn.as_function({"Square": Square, "Polar": Polar, "Scale": Scale}[name])

    def parts(*numbers: Any) -> Any:
        z = numbers[-2] + 1j * numbers[-1]
        value = function.apply(*numbers[:-2], z)
        values = value if isinstance(value, tuple) else (value,)
        cubes = [y * y * y for y in values]
        return tuple(part(y) for y in cubes for part in (nn.ops.real, nn.ops.imag))

    given = [np.array([0.5, 1.5, -2.0])] if name == "Scale" else []
    check_gradients(nn, parts, [*given, Z.real, Z.imag], second_order=True, call=name)


@clause("function-31", "function-14", "function-09")
def test_several_outputs_of_which_one_is_complex(nn: Any) -> None:
    for dtype in there(nn, COMPLEX):
        (z,), leaves = leaves_of(nn, [Z.astype(dtype)])
        size, direction = nn.as_function(Polar).apply(z)
        agrees(nn, size, np.abs(Z), "elementwise", dtype=PARTS[dtype])
        agrees(nn, direction, Z / np.abs(Z), "elementwise", dtype=dtype)
        # The direction is not used: its gradient arrives as complex zeros.
        nn.ops.sum(size).backward()
        want = Z / np.abs(Z)
        for leaf, part in zip(leaves, (want.real, want.imag), strict=True):
            agrees(nn, leaf.grad, part, "gradient", dtype=PARTS[dtype], call="by the size alone")


@clause("function-31", "function-09", "function-25")
def test_needs_of_complex_inputs(nn: Any) -> None:
    seen: list[Any] = []

    class Watched(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, z: Any) -> Any:
            seen.append(ctx.needs_input_grad)
            return x * z

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            seen.append((ctx.needs_input_grad, str(grad_output.dtype)))
            return None, grad_output

    (z,), _ = leaves_of(nn, [Z.astype("complex64")])
    y = Watched.apply(nn.ones((3,)), z)
    assert tuple(seen[0]) == (False, True)
    y.backward(nn.tensor(W.astype("complex64")))
    assert tuple(seen[1][0]) == (False, True)
    assert "complex64" in seen[1][1]
    constant = Watched.apply(nn.ones((3,)), z.detach())
    assert not constant.requires_grad


@clause("function-31", "function-13")
def test_gradients_of_the_wrong_kind(nn: Any) -> None:
    class Wrong(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any, z: Any) -> Any:
            return x * z

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            real = ctx.xp.real(grad_output)
            return (grad_output, None) if ctx.needs_input_grad[0] else (None, real)

    (z,), _ = leaves_of(nn, [Z.astype("complex64")])
    w = nn.tensor(W.astype("complex64"))
    x = tensor(nn, np.ones(3, "float32"))
    with refuses(TypeError, "Wrong", 0, "float32", "complex64"):
        Wrong.apply(x, z.detach()).backward(w)
    with refuses(TypeError, "Wrong", 1, "complex64", "float32"):
        Wrong.apply(nn.ones((3,)), z).backward(w)


@clause("function-31", "tensor-37")
def test_outputs_of_every_dtype(nn: Any) -> None:
    for dtype in there(nn, ALL):

        class Cast(nn.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, other: Any) -> Any:
                return other

            @staticmethod
            def backward(ctx: Any, grad_output: Any) -> Any:
                return ctx.xp.astype(ctx.xp.real(grad_output), ctx.xp.float32), None

        array = np.array([1, 0, 1]).astype(dtype)
        x = tensor(nn, np.ones(3, "float32"))
        got = Cast.apply(x, raw(nn, array))
        exactly(nn, got, array, dtype=dtype, call=f"an output of {dtype}")
        assert got.requires_grad is (array.dtype.kind in "fc"), dtype
        constant = Cast.apply(nn.ones((3,)), nn.tensor(array))
        assert not constant.requires_grad


@clause("function-31", "autograd-20", needs="jit")
def test_complex_functions_under_jit(nn: Any) -> None:
    square = nn.as_function(Square)
    x = tensor(nn, Z.real.astype("float32"))
    b = Z.imag.astype("float32")
    fast = nn.jit(lambda x: nn.ops.sum(nn.ops.imag(square.apply(x + 1j * nn.tensor(b)))))
    fast(x).backward()
    want = np.real(1j * np.conj(2 * Z))
    agrees(nn, x.grad, want, "gradient", dtype="float32", call="behind jit")
    assert to_numpy(nn, fast(x)).dtype == np.float32


@clause("function-04", "function-31")
def test_a_complex_gradient_without_axes_is_a_raw_array(nn: Any) -> None:
    came: list[Any] = []

    class Kept(nn.Function):
        @staticmethod
        def forward(ctx: Any, z: Any) -> Any:
            return z * 1

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            came.append(type(grad_output))
            return grad_output * 1

    for conjugated in (False, True):
        x = tensor(nn, np.array(0.5, "float32"))
        z = Kept.apply(x * 1j)
        nn.ops.imag(nn.ops.conj(z) if conjugated else z).backward()
        exactly(nn, x.grad, np.array(-1 if conjugated else 1, "float32"))
    assert came == [type(raw(nn, np.zeros((), "complex64")))] * 2
