"""The chapter ``module``: options of forward hooks, backward hooks, hooks of state dicts."""

import copy
import pickle
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import agrees, exactly, refuses, to_numpy

X = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)


def doubling(nn: Any) -> Any:
    """Return a Module that doubles its input and adds a shift."""

    class Double(nn.Module):
        def forward(self, x: Any, *, shift: float = 0.0) -> Any:
            return x * 2 + shift

    return Double()


def mixing(nn: Any) -> Any:
    """Return a Module of three arguments and two outputs."""

    class Mix(nn.Module):
        def forward(self, x: Any, factor: float, y: Any) -> tuple[Any, Any]:
            return x * y * factor, x - y

    return Mix()


@clause("module-21", "module-14")
def test_hooks_with_keywords_and_in_front(nn: Any) -> None:
    module, seen = doubling(nn), list[str]()

    def last(owner: Any, args: Any) -> None:
        seen.append("last")

    def first(owner: Any, args: Any, kwargs: Any) -> Any:
        seen.append("first")
        assert kwargs == {"shift": 1.0}
        return (args[0] + 1,), {"shift": 5.0}

    def after(owner: Any, args: Any, kwargs: Any, output: Any) -> Any:
        seen.append("after")
        assert kwargs == {"shift": 5.0}
        exactly(nn, args[0], np.array([2], np.float32))
        return output * 10

    def before_after(owner: Any, args: Any, output: Any) -> Any:
        seen.append("before after")
        return output + 1

    handles = [
        module.register_forward_pre_hook(last),
        module.register_forward_pre_hook(first, prepend=True, with_kwargs=True),
        module.register_forward_hook(after, with_kwargs=True),
        module.register_forward_hook(before_after, prepend=True),
    ]
    exactly(nn, module(nn.tensor([1.0]), shift=1.0), np.array([100], np.float32))
    assert seen == ["first", "last", "before after", "after"]
    for handle in handles:
        handle.remove()
        handle.remove()
    exactly(nn, module(nn.tensor([1.0]), shift=1.0), np.array([3], np.float32))
    assert len(seen) == 4


@clause("module-21")
@pytest.mark.parametrize("wrong", [3, "kwargs", (1,), (1, 2, 3)])
def test_what_a_hook_with_keywords_may_not_return(nn: Any, wrong: Any) -> None:
    module = doubling(nn)
    module.register_forward_pre_hook(lambda owner, args, kwargs: wrong, with_kwargs=True)
    with refuses(RuntimeError, "hook", (type(wrong).__name__, str(wrong))):
        module(nn.ones((1,)))


@clause("module-21", "errors-06")
def test_hooks_that_are_always_called(nn: Any) -> None:
    seen: list[Any] = []

    class Fragile(nn.Module):
        def forward(self, x: Any) -> Any:
            if x is None:
                msg = "forward"
                raise LookupError(msg)
            return x * 2

    def fail(owner: Any, args: Any, output: Any) -> None:
        msg = "hook"
        raise ArithmeticError(msg)

    module = Fragile()
    module.register_forward_hook(lambda owner, args, output: seen.append("never"))
    module.register_forward_hook(
        lambda owner, args, output: seen.append((args, output)), always_call=True
    )
    with pytest.raises(LookupError, match="forward"):
        module(None)
    assert seen == [((None,), None)]
    failing = module.register_forward_hook(fail, always_call=True)
    with pytest.raises(LookupError, match="forward"):
        module(None)
    failing.remove()
    seen.clear()
    module.register_forward_hook(fail, prepend=True)
    with pytest.raises(ArithmeticError, match="hook"):
        module(nn.ones((1,)))
    assert len(seen) == 1
    exactly(nn, seen[0][1], np.array([2], np.float32))


@clause("module-21")
def test_a_hook_that_is_always_called_is_called_once(nn: Any) -> None:
    module, seen = doubling(nn), list[Any]()
    module.register_forward_hook(lambda owner, args, output: seen.append(output), always_call=True)
    got = module(nn.ones((1,)))
    assert len(seen) == 1
    assert seen[0] is got


@clause("module-22")
def test_a_backward_hook_sees_the_gradients(nn: Any) -> None:
    layer = nn.Linear(2, 1)
    seen: list[Any] = []

    def hook(owner: Any, grad_input: Any, grad_output: Any) -> None:
        assert owner is layer
        seen.append((grad_input, grad_output))

    x = nn.tensor(X, requires_grad=True)
    want = to_numpy(nn, layer(x)).copy()
    handle = layer.register_full_backward_hook(hook)
    y = layer(x)
    exactly(nn, y, want)
    (y * 3).sum().backward()
    ((grad_input,), (grad_output,)) = seen.pop()
    exactly(nn, grad_output, np.full((2, 1), 3, np.float32))
    exactly(nn, grad_input, to_numpy(nn, x.grad))
    agrees(nn, x.grad, 3 * np.repeat(to_numpy(nn, layer.weight), 2, 0), "gradient")
    agrees(nn, layer.weight.grad, 3 * X.sum(0, keepdims=True), "gradient")
    for _ in range(2):
        layer(x).sum().backward()
    assert len(seen) == 2
    handle.remove()
    layer(x).sum().backward()
    with nn.no_grad():
        layer(x)
    assert len(seen) == 2
    with refuses(TypeError, "register_full_backward_hook"):
        layer.register_full_backward_hook(3)


@clause("module-22")
def test_a_backward_hook_of_several_inputs_and_outputs(nn: Any) -> None:
    module, seen = mixing(nn), list[Any]()
    module.register_full_backward_hook(lambda owner, gi, go: seen.append((gi, go)))
    x, y = nn.tensor(X, requires_grad=True), nn.tensor(2 * X)
    product, difference = module(x, 3.0, y)
    (product + difference).sum().backward()
    grad_input, grad_output = seen.pop()
    assert isinstance(grad_input, tuple)
    assert isinstance(grad_output, tuple)
    assert [entry is None for entry in grad_input] == [False, True, True]
    exactly(nn, grad_input[0], 6 * X + 1)
    for entry in grad_output:
        exactly(nn, entry, np.ones((2, 2), np.float32))
    y.requires_grad_()
    module(x, 3.0, y)[1].sum().backward()
    grad_input, grad_output = seen.pop()
    assert grad_output[0] is None
    exactly(nn, grad_output[1], np.ones((2, 2), np.float32))
    exactly(nn, grad_input[2], -np.ones((2, 2), np.float32))
    assert grad_input[1] is None


@clause("module-22")
def test_backward_hooks_replace_what_goes_on(nn: Any) -> None:
    module, seen = mixing(nn), list[str]()

    def halve(owner: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append("halve")
        return grad_input[0] * 0.5, None, grad_input[2]

    def shift(owner: Any, grad_input: Any, grad_output: Any) -> Any:
        seen.append("shift")
        return (grad_input[0] + 4, nn.ones((2, 2)), grad_input[2])

    module.register_full_backward_hook(halve)
    handle = module.register_full_backward_hook(shift, prepend=True)
    x, y = nn.tensor(X, requires_grad=True), nn.tensor(X, requires_grad=True)
    module(x, 3.0, y)[1].sum().backward()
    assert seen == ["shift", "halve"]
    exactly(nn, x.grad, np.full((2, 2), 2.5, np.float32))
    exactly(nn, y.grad, -np.ones((2, 2), np.float32))
    handle.remove()
    double = doubling(nn)
    double.register_full_backward_hook(lambda owner, gi, go: (gi[0] * 10,))
    x.grad = None
    double(x).sum().backward()
    exactly(nn, x.grad, np.full((2, 2), 20, np.float32))


@clause("module-22")
def test_a_backward_hook_where_no_input_requires_grad(nn: Any) -> None:
    layer, seen = nn.Linear(2, 1), list[Any]()
    layer.register_full_backward_hook(lambda owner, gi, go: seen.append((gi, go)))
    layer(nn.tensor(X)).sum().backward()
    ((grad_input, (grad_output,)),) = seen
    assert grad_input == (None,)
    exactly(nn, grad_output, np.ones((2, 1), np.float32))
    assert layer.weight.grad is not None


@clause("module-22")
@pytest.mark.parametrize("what", ["too many", "none", "a number", "another shape", "a Tensor"])
def test_what_a_backward_hook_may_not_return(nn: Any, what: str) -> None:
    module = doubling(nn)
    wrong: Any = {
        "too many": lambda grad: (grad, grad),
        "none": lambda grad: (),
        "a Tensor": lambda grad: grad,
        "a number": lambda grad: (3.0,),
        "another shape": lambda grad: (nn.ones((3,)),),
    }[what]
    module.register_full_backward_hook(lambda owner, gi, go: wrong(gi[0]))
    x = nn.tensor(X, requires_grad=True)
    with refuses((TypeError, ValueError, RuntimeError), "hook"):
        module(x).sum().backward()
    assert x.grad is None


@clause("module-22", "errors-06")
def test_an_exception_in_a_backward_hook_passes_through(nn: Any) -> None:
    def fail(owner: Any, grad_input: Any, grad_output: Any) -> None:
        msg = "mine"
        raise LookupError(msg)

    module = doubling(nn)
    handle = module.register_full_backward_hook(fail)
    x = nn.tensor(X, requires_grad=True)
    with pytest.raises(LookupError, match="mine"):
        module(x).sum().backward()
    handle.remove()
    x.grad = None
    module(x).sum().backward()
    exactly(nn, x.grad, np.full((2, 2), 2, np.float32))


@clause("module-22", "module-23", needs="double_backward")
def test_second_derivatives_pass_backward_hooks(nn: Any) -> None:
    class Cube(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * x * x

    module = Cube()
    x = nn.tensor(X, requires_grad=True)
    module.register_full_backward_hook(lambda owner, gi, go: (gi[0] * 2,))
    module.register_full_backward_pre_hook(lambda owner, go: None)
    module(x).sum().backward(create_graph=True)
    first, x.grad = x.grad, None
    agrees(nn, first, 6 * X.astype(np.float64) ** 2, "gradient", dtype="float32")
    first.sum().backward()
    agrees(nn, x.grad, 12 * X.astype(np.float64), "gradient", dtype="float32")


@clause("module-23")
def test_backward_pre_hooks(nn: Any) -> None:
    module, seen = doubling(nn), list[Any]()

    def ten(owner: Any, grad_output: Any) -> Any:
        assert owner is module
        seen.append("ten")
        return (grad_output[0] * 10,)

    def one_more(owner: Any, grad_output: Any) -> Any:
        seen.append("one more")
        return (grad_output[0] + 1,)

    module.register_full_backward_pre_hook(ten)
    first = module.register_full_backward_pre_hook(one_more, prepend=True)
    module.register_full_backward_hook(lambda owner, gi, go: seen.append((gi, go)))
    x = nn.tensor(X, requires_grad=True)
    module(x).sum().backward()
    assert seen[:2] == ["one more", "ten"]
    ((grad_input,), (grad_output,)) = seen[2]
    exactly(nn, grad_output, np.full((2, 2), 20, np.float32))
    exactly(nn, grad_input, np.full((2, 2), 40, np.float32))
    exactly(nn, x.grad, np.full((2, 2), 40, np.float32))
    first.remove()
    x.grad = None
    module(x).sum().backward()
    exactly(nn, x.grad, np.full((2, 2), 20, np.float32))
    module.register_full_backward_pre_hook(lambda owner, go: (go[0], go[0]))
    with refuses((TypeError, ValueError, RuntimeError), "hook"):
        module(x).sum().backward()
    with refuses(TypeError, "register_full_backward_pre_hook"):
        module.register_full_backward_pre_hook(None)


@clause("module-24")
def test_a_hook_before_a_state_dict(nn: Any) -> None:
    module, seen = nn.Sequential(nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 1))), list[Any]()

    def before(owner: Any, prefix: Any, keep_vars: Any) -> None:
        seen.append((owner, prefix, keep_vars))
        if prefix == "1.0.":
            nn.init.constant_(owner.bias, 7.0)

    inner = module[1][0]
    handles = [part.register_state_dict_pre_hook(before) for part in (inner, module)]
    state = module.state_dict()
    assert seen == [(module, "", False), (inner, "1.0.", False)]
    exactly(nn, state["1.0.bias"], np.array([7], np.float32))
    for handle in handles:
        handle.remove()
    module.state_dict()
    assert len(seen) == 2


@clause("module-24")
def test_a_hook_after_a_load(nn: Any) -> None:
    module, seen = nn.Sequential(nn.Linear(2, 1), nn.Tanh()), list[Any]()
    state = dict(module.state_dict())

    def after(owner: Any, keys: Any) -> None:
        seen.append(owner)
        if "0.weight" in keys.missing_keys:
            keys.missing_keys.remove("0.weight")
        exactly(nn, module[0].bias, np.array([4], np.float32))

    handle = module.register_load_state_dict_post_hook(after)
    module[0].register_load_state_dict_post_hook(after)
    bias = np.array([4], np.float32)
    result = module.load_state_dict({"0.bias": bias, "more": bias}, strict=False)
    assert seen == [module[0], module]
    assert result.missing_keys == []
    assert result.unexpected_keys == ["more"]
    with refuses(RuntimeError, "0.weight"):
        module.load_state_dict({"0.bias": bias})
    assert len(seen) == 2
    handle.remove()
    state["0.bias"] = bias
    module.load_state_dict(state)
    assert len(seen) == 3


@clause("module-24")
def test_hooks_of_state_dicts_run_in_the_order_in_which_they_came(nn: Any) -> None:
    module, seen = nn.Linear(2, 1), list[Any]()
    for number in range(3):
        module.register_state_dict_pre_hook(lambda *_, n=number: seen.append(n))
    state = module.state_dict()
    assert seen == [0, 1, 2]
    seen.clear()
    for number in range(3, 6):
        module.register_load_state_dict_post_hook(lambda *_, n=number: seen.append(n))
    module.load_state_dict(state)
    assert seen == [3, 4, 5]


def tripled(module: Any, grad_input: Any, grad_output: Any) -> Any:
    """Be a backward hook that pickle can find."""
    return (grad_input[0] * 3,)


def shifted(module: Any, args: Any, kwargs: Any) -> Any:
    """Be a forward pre-hook with keywords that pickle can find."""
    return (args[0] + 1,), kwargs


@clause("module-16")
def test_copies_have_the_hooks(nn: Any) -> None:
    module = nn.Tanh()
    module.register_full_backward_hook(tripled)
    module.register_forward_pre_hook(shifted, with_kwargs=True)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        x = nn.tensor([-1.0], requires_grad=True)
        y = twin(x)
        exactly(nn, y, np.zeros(1, np.float32))
        y.sum().backward()
        exactly(nn, x.grad, np.array([3], np.float32))
