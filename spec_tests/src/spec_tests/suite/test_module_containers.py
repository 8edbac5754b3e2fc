"""The chapter ``module``: containers, hooks, and how Modules are shown."""

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, to_numpy


@clause("module-13")
def test_sequential(nn: Any) -> None:
    first, second, third = nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)
    module = nn.Sequential(first, second)
    assert len(module) == 2
    module.append(third)
    assert len(module) == 3
    assert module[0] is first
    assert module[-1] is third
    assert list(module) == [first, second, third]
    head = module[:2]
    assert isinstance(head, nn.Sequential)
    assert list(head) == [first, second]
    x = nn.tensor([[1.0, -2.0]])
    exactly(nn, module(x), to_numpy(nn, third(second(first(x)))))
    with pytest.raises(IndexError):
        module[3]


@clause("module-13")
def test_sequential_of_an_ordered_dict(nn: Any) -> None:
    module = nn.Sequential(OrderedDict(down=nn.Linear(2, 1), bend=nn.Tanh()))
    assert [name for name, _ in module.named_children()] == ["down", "bend"]
    assert list(module.state_dict()) == ["down.weight", "down.bias"]
    assert module[1] is module.bend


@clause("module-13")
def test_module_list(nn: Any) -> None:
    zero, one, two, three = (nn.Linear(1, 1) for _ in range(4))
    module = nn.ModuleList([zero])
    module.append(two)
    module.extend([three])
    module.insert(1, one)
    assert len(module) == 4
    assert list(module) == [zero, one, two, three]
    assert module[1] is one
    assert module[-1] is three
    assert [name for name, _ in module.named_children()] == ["0", "1", "2", "3"]
    assert list(module.state_dict())[:2] == ["0.weight", "0.bias"]
    assert len(nn.ModuleList()) == 0


@clause("module-14", "module-01")
def test_hooks_replace_and_run_in_order(nn: Any) -> None:
    class Double(nn.Module):
        def forward(self, x: Any) -> Any:
            return x * 2

    module = Double()
    seen: list[str] = []

    def before(owner: Any, args: tuple[Any, ...]) -> Any:
        assert owner is module
        assert isinstance(args, tuple)
        seen.append("before")
        return args[0] + 1

    def before_again(owner: Any, args: tuple[Any, ...]) -> Any:
        seen.append("before again")
        return (args[0] * 10,)

    def after(owner: Any, args: tuple[Any, ...], output: Any) -> Any:
        assert owner is module
        seen.append("after")
        exactly(nn, args[0], np.array([20], np.float32))
        return output + 3

    def watch(owner: Any, args: tuple[Any, ...], output: Any) -> None:
        seen.append("watch")
        exactly(nn, output, np.array([43], np.float32))

    handles = [
        module.register_forward_pre_hook(before),
        module.register_forward_pre_hook(before_again),
        module.register_forward_hook(after),
        module.register_forward_hook(watch),
    ]
    exactly(nn, module(nn.tensor([1.0])), np.array([43], np.float32))
    assert seen == ["before", "before again", "after", "watch"]
    for handle in handles:
        handle.remove()
    exactly(nn, module(nn.tensor([1.0])), np.array([2], np.float32))
    assert len(seen) == 4


@clause("module-15")
def test_repr_of_a_layer(nn: Any) -> None:
    assert repr(nn.Linear(3, 2)) == "Linear(in_features=3, out_features=2, bias=True)"
    assert repr(nn.Linear(3, 2, bias=False)).endswith("bias=False)")
    assert repr(nn.ReLU()) == "ReLU()"


@clause("module-15")
def test_repr_of_a_tree(nn: Any) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Sequential(nn.Linear(1, 2), nn.Tanh())

        def extra_repr(self) -> str:
            return "factor=3"

    assert repr(Scaled()) == (
        "Scaled(\n"
        "  factor=3\n"
        "  (inner): Sequential(\n"
        "    (0): Linear(in_features=1, out_features=2, bias=True)\n"
        "    (1): Tanh()\n"
        "  )\n"
        ")"
    )
