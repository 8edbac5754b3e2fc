"""nn.rnn.unroll and nn.checkpoint: what is compiled, and what stands in the compiled program."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from counting import compilations
from tolerances import agree

import impl_jax_vjp as nn

X = np.random.default_rng(0).normal(size=(6, 2, 3)).astype("float32")


def penalized(cell: Any, x: Any, **options: Any) -> Any:
    output, _ = nn.rnn.unroll(cell, x, **options)
    (output * output).sum().backward()
    return output


def test_a_second_call_compiles_nothing() -> None:
    cell, x = nn.GRUCell(3, 4), nn.tensor(X)
    for _ in range(2):
        penalized(cell, x)
    with compilations() as later:
        penalized(cell, x)
        penalized(cell, nn.tensor(2 * X))
    assert not later


def test_parameters_that_change_are_inputs_of_what_is_compiled() -> None:
    cell, x = nn.GRUCell(3, 4), nn.tensor(X)
    penalized(cell, x)
    with compilations() as later:
        nn.init.constant_(cell.weight_ih, 0.25)
        got = penalized(cell, x)
    state, states = None, []
    for x_t in x:
        state = cell(x_t, state)
        states.append(state.detach().numpy())
    agree(got.detach().numpy(), np.stack(states), "rnn")
    assert len(later) <= 1


def test_the_program_holds_one_scan_whatever_the_length() -> None:
    cell = nn.LSTMCell(3, 4)

    def output(x: Any) -> Any:
        return nn.rnn.unroll(cell, nn.from_array(x))[0].data

    sizes = []
    for steps in (6, 60):
        text = str(jax.make_jaxpr(output)(jnp.zeros((steps, 2, 3), "float32")))
        assert text.count("scan[") == 1
        sizes.append(text.count(" = "))
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("segment", [None, 2, "sqrt"])
def test_transformations_of_jax_go_through(segment: Any) -> None:
    cell = nn.GRUCell(3, 4)

    def loss(x: Any) -> Any:
        output, _ = nn.rnn.unroll(cell, nn.from_array(x), checkpoint=segment)
        return (output * output).sum().data

    x = nn.tensor(X, requires_grad=True)
    penalized(cell, x)
    agree(np.asarray(jax.grad(loss)(jnp.asarray(X))), x.grad.numpy(), "rnn")
    agree(np.asarray(jax.jit(jax.grad(loss))(jnp.asarray(X))), x.grad.numpy(), "rnn")
    both = jax.vmap(jax.grad(loss))(jnp.stack([X, X]))
    agree(np.asarray(both[1]), x.grad.numpy(), "rnn")
