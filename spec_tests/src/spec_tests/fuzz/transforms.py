"""What is called of the chapter autograd: transforms of functions, and what takes graphs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

from spec_tests.fuzz.target import Made, Target, ready


def of_autograd(nn: Any) -> Iterator[Target]:
    """Yield the functions of the chapter autograd, and `as_function`."""

    def loss(x: Any) -> Any:
        return nn.ops.sum(x * x) if isinstance(x, nn.Tensor) else nn.ones(())

    by_argument = ("argnums", "create_graph")
    options_of = {"value_and_grad": ("argnums", "has_aux"), "jit": ()}
    for name in ("grad", "value_and_grad", "jacrev", "jacfwd", "hessian", "jit"):
        transform = getattr(nn, name)
        options = options_of.get(name, by_argument)
        yield Target(name, (name,), ready(transform, loss), options)
        says = (name, "multiply", "operator", "loss")
        yield Target(f"{name}(f)", says, ready(transform(loss), nn.ones(2)))
    made = ready(partial(nn.checkpoint, loss), nn.ones(2))
    yield Target("checkpoint", ("checkpoint", "loss", "multiply", "operator"), made)
    # The function may come to be another, whose own errors pass through (errors-06).
    others = ("int", "item", "scalar", "max", "Linear", "no_grad")
    yield Target("vjp", ("vjp", *others), ready(nn.vjp, loss, nn.ones(2)))
    primals = (nn.ones(2),), (nn.ones(2),)
    yield Target("jvp", ("jvp", *others), ready(nn.jvp, loss, *primals))
    yield Target("hvp", ("hvp", *others), ready(nn.hvp, loss, *primals))
    yield Target("linearize", ("linearize", *others), ready(nn.linearize, loss, nn.ones(2)))
    push = nn.linearize(loss, nn.ones(2))[1]
    yield Target("linearize push", ("linearize", "push"), ready(push, nn.ones(2)))
    yield Target("vjp pull", ("vjp", "pull"), ready(nn.vjp(loss, nn.ones(2))[1], nn.ones(())))

    def called() -> Made:
        layer = nn.Linear(3, 2)
        return nn.functional_call, (layer, dict(layer.state_dict()), nn.ones((4, 3))), {}

    yield Target("functional_call", ("functional_call", "Linear"), called)
    yield Target("as_function", ("as_function",), ready(nn.as_function, _Same))
    same = nn.as_function(_Same)
    yield Target("Function.apply", ("Same", "multiply", "forward"), ready(same.apply, nn.ones(2)))
    yield Target("set_grad_enabled", ("set_grad_enabled",), ready(nn.set_grad_enabled, True))
    yield from _of_graphs(nn)


class _Same:
    """A portable Function, which takes anything."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        return grad_output


def _of_graphs(nn: Any) -> Iterator[Target]:
    """Yield what takes Tensors that a graph leads to."""

    def recorded() -> tuple[Any, Any]:
        x = nn.ones(2, requires_grad=True)
        return nn.ops.sum(x * x), x

    def of_tensors() -> Made:
        return nn.grad, recorded(), {}

    options = ("grad_outputs", "retain_graph", "create_graph", "allow_unused")
    # A first argument of another kind may come to be a function's (autograd-14).
    yield Target("grad of Tensors", ("grad", "multiply", "operator"), of_tensors, options)

    def shown() -> Made:
        return nn.graph, recorded()[:1], {}

    yield Target("graph", ("graph",), shown, ("params",))
    hooks = ready(nn.saved_tensors_hooks, _given, _given)
    yield Target("saved_tensors_hooks", ("saved_tensors_hooks",), hooks)


def _given(x: Any) -> Any:
    return x
