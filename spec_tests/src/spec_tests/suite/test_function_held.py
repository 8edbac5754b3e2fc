"""Chapter function: what an instance keeps that is held, and what goes through `backward` once."""

import gc
import weakref
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses
from spec_tests.support.changes import (
    ASSIGNMENTS,
    CALLS,
    STEPS,
    WRITES,
    Refusal,
    gives_old_or_refuses,
    ways,
)
from spec_tests.support.inputs import normal


@pytest.mark.sampled(3)
@clause("function-26", "function-03")
@pytest.mark.parametrize("end", ["dropped", "backward", "never recorded"])
def test_an_instance_that_is_held_holds_no_arrays(nn: Any, dtype: str, end: str) -> None:
    references: list[Any] = []

    class Saving(nn.Function):
        def forward(self, x: Any) -> Any:
            made = x * 2
            references.append(weakref.ref(made))
            self.save_for_backward(made)
            return made * x

        def backward(self, grad: Any) -> Any:
            (made,) = self.saved_tensors
            return 2 * made * grad

    x = nn.tensor(normal((3,), dtype), requires_grad=end != "never recorded")
    function = Saving()
    y = function(x)
    if end == "backward":
        nn.ops.sum(y).backward()
    del y
    gc.collect()
    assert len(references) == 1
    assert references[0]() is None, f"{function} holds what it saved"


@clause("function-21", needs="double_backward")
def test_the_gradient_of_a_gradient_that_was_handed_in(nn: Any) -> None:
    """It goes through `backward` too, be `backward` linear in it."""

    class Once(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        @nn.once_differentiable
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output * 2

    x, given = (nn.tensor([value], requires_grad=True) for value in (3.0, 1.0))
    (grad,) = nn.grad(Once.apply(x), (x,), given, create_graph=True)
    exactly(nn, grad, np.array([2], np.float32))
    with refuses(RuntimeError, "Once", "once_differentiable"):
        nn.grad(nn.ops.sum(grad), (given,))


@pytest.mark.parametrize("retain", [False, True])
@clause("function-08", "function-02")
def test_what_backward_leaves_on_an_instance(nn: Any, retain: bool) -> None:
    class Measured(nn.Function):
        def forward(self, x: Any) -> Any:
            self.save_for_backward(x)
            return x * 2

        def backward(self, grad: Any) -> Any:
            self.came = tuple(grad.shape)
            return grad * 2

    function = Measured()
    x = nn.tensor(normal((3,), "float32"), requires_grad=True)
    nn.ops.sum(function(x)).backward(retain_graph=retain)
    assert function.came == (3,)


@clause("autograd-24", "function-17", needs="double_backward")
def test_a_recorded_pass_sees_the_inputs_of_the_call(nn: Any) -> None:
    """It may run `forward` again, which needs what `backward` alone does not."""

    class Doubled(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            y = ctx.xp.tanh(x)
            ctx.save_for_backward(y)
            return y * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            (y,) = ctx.saved_tensors
            return 2 * grad_output * (1 - y * y)

    for name, way in ways(nn, WRITES, ASSIGNMENTS, CALLS, STEPS).items():
        x = nn.tensor(normal((3,), "float32"), requires_grad=True)
        want = 2 - 2 * np.tanh(normal((3,), "float32").astype("float64")) ** 2
        change = way(nn, x)
        y = nn.ops.sum(Doubled.apply(x))
        change(np.full(3, 0.25, "float32"))
        x.grad = None

        def backward(y: Any = y, x: Any = x) -> Any:
            y.backward(create_graph=True)
            return x.grad

        names = ("Doubled", "tanh", "multiply")
        gives_old_or_refuses(nn, backward, want.astype("float32"), Refusal(names, ((3,),)), name)
