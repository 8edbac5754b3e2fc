"""Tools of autograd where this implementation has ways of its own."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import impl_jax_vjp as nn


def leaf(*values: float) -> Any:
    return nn.tensor(np.asarray(values, "float32"), requires_grad=True)


def test_a_freed_branch_counts_where_it_leads_to_an_input():
    a, x = leaf(1.0, 2.0), leaf(3.0, 4.0)
    h = nn.ops.tanh(a)
    nn.ops.sum(h).backward()
    (slope,) = nn.grad(nn.ops.sum(h * x), x)
    np.testing.assert_array_equal(slope.numpy(), h.detach().numpy())
    with pytest.raises(RuntimeError, match="retain_graph"):
        nn.grad(nn.ops.sum(h * x) + nn.ops.sum(a), a)
    with pytest.raises(RuntimeError, match="allow_unused"):
        nn.grad(nn.ops.sum(h * x), leaf(1.0))


def test_pack_is_not_asked_for_what_a_trace_keeps():
    seen: list[Any] = []

    def loss(x: Any) -> Any:
        with nn.saved_tensors_hooks(lambda t: seen.append(t) or t, lambda t: t):
            return nn.grad(lambda x: nn.ops.sum(nn.ops.tanh(x)))(x)

    x = nn.tensor([0.5, 1.0])
    got = jax.jit(loss)(x)
    assert seen == []
    np.testing.assert_allclose(got.numpy(), 1 - np.tanh([0.5, 1.0]) ** 2, rtol=1e-6)
    loss(x)
    assert len(seen) == 1


def test_hooks_run_in_the_x64_mode_of_the_block():
    def unpack(held: Any) -> Any:
        seen.append(jnp.asarray(np.ones(2)).dtype)
        return held

    seen: list[Any] = []
    x = leaf(1.0, 2.0)
    with nn.saved_tensors_hooks(lambda t: t, unpack):
        y = x * x
    y.backward(nn.ones((2,)))
    assert seen == [jnp.asarray(np.ones(2)).dtype]


def test_a_compiled_function_packs_what_its_program_left():
    kept: list[tuple[int, ...]] = []
    layer = nn.GRU(2, 3)
    x = nn.tensor(np.ones((4, 1, 2), "float32"), requires_grad=True)
    with nn.saved_tensors_hooks(lambda t: kept.append(t.shape) or [t], lambda held: held[0]):
        y, _ = layer(x)
    assert (4, 1, 2) in kept
    assert (4, 1, 3) in kept
    nn.ops.sum(y).backward()
    with_hooks, x.grad = x.grad, None
    nn.ops.sum(layer(x)[0]).backward()
    np.testing.assert_array_equal(with_hooks.numpy(), x.grad.numpy())


def test_an_unrolled_cell_is_shown_as_its_steps_in_one_program():
    class Loop(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.GRUCell(2, 3)

        def forward(self, x: Any) -> Any:
            return nn.rnn.unroll(self.cell, x)[0]

    rows = nn.explain(Loop(), nn.ones((5, 1, 2))).rows
    assert "jit(unroll by lax.scan)" in rows[0].kernel
    assert rows[0].nodes >= 5
    assert "unroll" in rows[0].why


W = np.array([1 + 2j, 3 - 1j], "complex64")


def number_of(x: Any) -> tuple[Any, Any]:
    z = x * nn.tensor(W)
    return z, nn.ops.sum(nn.ops.real(z * z * (2 + 1j)))


def through_complex(x: Any) -> tuple[Any, Any, np.ndarray]:
    """Return z = x * W, a real number of z * z, and the gradient of that to z."""
    z, number = number_of(x)
    return z, number, np.conj(2 * z.detach().numpy() * (2 + 1j))


def test_tools_show_complex_gradients_as_programs_have_them():
    seen: list[Any] = []
    x = leaf(1.0, 2.0)
    z, number, want = through_complex(x)
    z.register_hook(lambda g: seen.append(g.numpy()))
    x.register_post_accumulate_grad_hook(lambda t: seen.append(t.grad.numpy()))
    number.backward(inputs=[z, x])
    to_x = np.real(want * np.conj(W))
    for got, expected in zip((z.grad.numpy(), *seen), (want, want, to_x), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-6)
    _, number, _ = through_complex(x)
    (got,) = nn.grad(number, x)
    np.testing.assert_allclose(got.numpy(), to_x, rtol=1e-6)
    z, *_ = through_complex(x)
    weight = np.array([1j, 1 + 1j], "complex64")
    (got,) = nn.grad(z * z, z, nn.tensor(weight))
    np.testing.assert_allclose(got.numpy(), weight * np.conj(2 * z.detach().numpy()), rtol=1e-6)


def test_complex_arrays_that_are_kept_are_packed_and_may_come_back_as_numpy_arrays():
    dtypes: list[str] = []

    def pack(t: Any) -> Any:
        dtypes.append(str(t.dtype))
        return t.numpy()

    for way in (number_of, nn.jit(number_of)):
        dtypes.clear()
        x = leaf(1.0, 2.0)
        with nn.saved_tensors_hooks(pack, lambda held: held):
            _, number = way(x)
        assert "complex64" in dtypes
        number.backward()
        _, _, want = through_complex(x)
        np.testing.assert_allclose(x.grad.numpy(), np.real(want * np.conj(W)), rtol=1e-6)
