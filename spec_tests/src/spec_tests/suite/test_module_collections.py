"""The chapter ``module``: containers in full, prefixes and duplicates, and the summary."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import exactly, refuses, to_numpy


def names(module: Any) -> list[str]:
    """Return the names of the children."""
    return [name for name, _ in module.named_children()]


def same(got: Any, want: Any) -> bool:
    """Whether two iterables hold the same objects."""
    got, want = list(got), list(want)
    return len(got) == len(want) and all(a is b for a, b in zip(got, want, strict=True))


def four(nn: Any) -> list[Any]:
    """Return four Modules without parameters."""
    return [nn.Tanh(), nn.ReLU(), nn.Sigmoid(), nn.Identity()]


@clause("module-20")
def test_prefixes_and_recursion(nn: Any) -> None:
    module = nn.Sequential(nn.Linear(2, 1), nn.Tanh())
    module.register_buffer("count", nn.ones((1,)))
    assert [name for name, _ in module.named_parameters("net")] == ["net.0.weight", "net.0.bias"]
    assert [name for name, _ in module.named_parameters(prefix="a.b", recurse=False)] == []
    assert [name for name, _ in module.named_buffers("net")] == ["net.count"]
    assert [name for name, _ in module.named_buffers("", False)] == ["count"]
    assert [name for name, _ in module.named_modules(prefix="net")] == ["net", "net.0", "net.1"]
    assert list(module.parameters(recurse=False)) == []
    assert same(module.parameters(True), [module[0].weight, module[0].bias])
    assert same(module.buffers(recurse=False), [module.count])
    assert list(module[0].buffers(recurse=True)) == []


@clause("module-20", "module-06")
def test_duplicates_under_every_name(nn: Any) -> None:
    module, layer = nn.Module(), nn.Linear(2, 1)
    module.first, module.second = layer, layer
    module.own = layer.weight
    layer.register_buffer("count", nn.ones((1,)))
    every = ["own", "first.weight", "first.bias", "second.weight", "second.bias"]
    got = module.named_parameters(remove_duplicate=False)
    assert [name for name, _ in got] == every
    assert [name for name, _ in module.named_parameters()] == ["own", "first.bias"]
    got = module.named_buffers(remove_duplicate=False)
    assert [name for name, _ in got] == ["first.count", "second.count"]
    got = module.named_modules(remove_duplicate=False)
    assert [name for name, _ in got] == ["", "first", "second"]
    assert [name for name, _ in module.named_modules("", True)] == ["", "first"]


@clause("module-12")
def test_get_buffer(nn: Any) -> None:
    module = nn.Sequential(nn.Linear(2, 1))
    module[0].register_buffer("count", nn.ones((1,)))
    assert module.get_buffer("0.count") is module[0].count
    for name, missing in (("0.weight", "weight"), ("3.count", "3"), ("count", "count")):
        with refuses(AttributeError, "get_buffer" if name != "3.count" else "3", missing):
            module.get_buffer(name)


@clause("module-25")
def test_sequential_in_full(nn: Any) -> None:
    a, b, c, d = four(nn)
    module = nn.Sequential(a)
    assert module.extend([c, d]) is module
    assert module.insert(1, b) is module
    assert same(module, [a, b, c, d])
    assert names(module) == ["0", "1", "2", "3"]
    assert module.pop(1) is b
    assert same(module, [a, c, d])
    assert names(module) == ["0", "1", "2"]
    assert module.insert(-1, b) is module
    assert same(module, [a, c, b, d])
    del module[-1]
    module[0] = d
    assert same(module, [d, c, b])
    del module[:2]
    assert same(module, [b])
    assert names(module) == ["0"]
    both = module + nn.Sequential(a, c)
    assert isinstance(both, nn.Sequential)
    assert same(both, [b, a, c])
    assert len(module) == 1
    kept = module
    module += nn.Sequential(d)
    assert module is kept
    assert same(module, [b, d])
    popped = both.pop(slice(0, 2))
    assert same(popped, [b, a])
    assert same(both, [c])
    x = nn.tensor([0.5])
    exactly(nn, (nn.Sequential(a) + nn.Sequential(b))(x), to_numpy(nn, b(a(x))))


@clause("module-25")
def test_names_in_a_sequential(nn: Any) -> None:
    a, b, c, d = four(nn)
    module = nn.Sequential(OrderedDict(first=a, second=b, third=c))
    assert names(module[1:]) == ["second", "third"]
    assert same(module[::-1], [c, b, a])
    module.append(d)
    assert names(module) == ["first", "second", "third", "3"]
    part = nn.Sequential(a, b, c)[1:]
    assert names(part) == ["1", "2"]
    part.append(d)
    assert names(part) == ["0", "1", "2"]
    assert same(part, [b, c, d])
    del module[0]
    assert names(module) == ["0", "1", "2"]


@clause("module-25")
def test_module_list_in_full(nn: Any) -> None:
    a, b, c, d = four(nn)
    module = nn.ModuleList([a, b, c])
    part = module[1:]
    assert isinstance(part, nn.ModuleList)
    assert same(part, [b, c])
    assert names(part) == ["0", "1"]
    assert module.insert(0, d) is None
    assert module.append(a) is module
    assert module.extend(part) is module
    assert same(module, [d, a, b, c, a, b, c])
    assert module.pop(-1) is c
    assert same(module.pop(slice(3, None)), [c, a, b])
    assert same(module, [d, a, b])
    del module[0]
    module[1] = d
    assert same(module, [a, d])
    assert names(module) == ["0", "1"]
    more = [b, c]
    longer = module + more
    assert isinstance(longer, nn.ModuleList)
    assert same(longer, [a, d, b, c])
    kept = module
    module += (c,)
    assert module is kept
    assert same(module, [a, d, c])
    module.insert(-9, b)
    module.insert(9, b)
    assert same(module, [b, a, d, c, b])
    assert len(nn.ModuleList(None)) == 0


@clause("module-25", "module-17")
@pytest.mark.parametrize("kind", ["Sequential", "ModuleList"])
def test_what_a_row_of_modules_refuses(nn: Any, kind: str) -> None:
    a, b, *_ = four(nn)
    module = nn.Sequential(a, b) if kind == "Sequential" else nn.ModuleList([a, b])
    bad: list[tuple[type[Exception], Any, Callable[[], Any]]] = [
        (IndexError, "5", lambda: module[5]),
        (IndexError, "-3", lambda: module.pop(-3)),
        (IndexError, "2", lambda: module.__delitem__(2)),
        (IndexError, "2", lambda: module.__setitem__(2, a)),
        (TypeError, ("int", "3"), lambda: module.insert(0, 3)),
        (TypeError, ("int", "3"), lambda: module.extend([a, 3])),
        (TypeError, ("str", "tanh"), lambda: module.append("tanh")),
        (TypeError, ("int", "3"), lambda: module.extend(3)),
    ]
    if kind == "Sequential":
        bad.append((IndexError, "3", lambda: module.insert(3, a)))
    for error, fragment, call in bad:
        with refuses(error, kind, fragment):
            call()
        assert same(module, [a, b])
    with pytest.raises(TypeError):
        module + 3
    assert names(module) == ["0", "1"]


@clause("module-26")
def test_module_dict(nn: Any) -> None:
    a, b, c, d = four(nn)
    module = nn.ModuleDict({"b": b, "a": a})
    assert list(module) == list(module.keys()) == ["b", "a"]
    assert same(module.values(), [b, a])
    assert [(name, part) for name, part in module.items()] == [("b", b), ("a", a)]
    assert names(module) == ["b", "a"]
    assert len(module) == 2
    assert "a" in module
    assert "c" not in module
    module["c"] = c
    module.update([("a", d), ("e", b)])
    assert same(module.values(), [b, d, c, b])
    assert module.pop("c") is c
    del module["e"]
    assert module["a"] is d
    assert module.a is d
    module.update(OrderedDict(z=c, y=nn.Linear(2, 1)))
    assert list(module) == ["b", "a", "z", "y"]
    assert list(module.state_dict()) == ["y.weight", "y.bias"]
    with refuses(NotImplementedError, "ModuleDict"):
        module(nn.ones((1,)))
    module.clear()
    assert len(module) == len(nn.ModuleDict()) == len(nn.ModuleDict(None)) == 0
    assert repr(nn.ModuleDict({"a": a})) == "ModuleDict(\n  (a): Tanh()\n)"


@clause("module-26", "module-17")
def test_what_a_module_dict_refuses(nn: Any) -> None:
    a, b, *_ = four(nn)
    module = nn.ModuleDict({"a": a})
    bad: list[tuple[type[Exception], tuple[Any, ...], Callable[[], Any]]] = [
        (KeyError, ("other",), lambda: module["other"]),
        (KeyError, ("other",), lambda: module.pop("other")),
        (KeyError, ("other",), lambda: module.__delitem__("other")),
        (KeyError, (".",), lambda: module.__setitem__("x.y", b)),
        (KeyError, ("forward",), lambda: module.__setitem__("forward", b)),
        (TypeError, ("ModuleDict", ("int", "3")), lambda: module.__setitem__(3, b)),
        (TypeError, ("ModuleDict", ("str", "tanh")), lambda: module.__setitem__("b", "tanh")),
        (TypeError, ("ModuleDict", ("int", "3")), lambda: module.update(3)),
        (TypeError, ("ModuleDict", ("float", "1.5")), lambda: module.update({"b": b, "c": 1.5})),
        (KeyError, ("keys",), lambda: module.update({"b": b, "keys": b})),
    ]
    for error, fragments, call in bad:
        with refuses(error, *fragments):
            call()
        assert list(module.items()) == [("a", a)]


@clause("module-27")
def test_parameter_list(nn: Any) -> None:
    first = nn.Parameter(nn.ones((2, 3)))
    values = np.array([1.5, 2.0], np.float32)
    module = nn.ParameterList([first, nn.tensor(values)])
    assert module[0] is first
    assert isinstance(module[1], nn.Parameter)
    exactly(nn, module[-1], values)
    assert module.append(values) is module
    assert module.extend([first]) is module
    assert [name for name, _ in module.named_parameters()] == ["0", "1", "2"]
    assert list(module.state_dict()) == ["0", "1", "2", "3"]
    assert same(module, [module[k] for k in range(4)])
    part = module[2:]
    assert isinstance(part, nn.ParameterList)
    assert same(part, [module[2], first])
    module[1] = first
    assert module[1] is first
    kept = module
    module += [values]
    assert module is kept
    assert len(module) == 5
    assert len(nn.ParameterList()) == 0
    (module[4] * 3).sum().backward()
    exactly(nn, module[4].grad, np.full(2, 3, np.float32))
    assert repr(nn.ParameterList([first])) == (
        "ParameterList(\n  (0): Parameter of shape (2, 3) and dtype float32\n)"
    )
    bad: list[tuple[type[Exception], Any, Callable[[], Any]]] = [
        (IndexError, "9", lambda: module[9]),
        (IndexError, "9", lambda: module.__setitem__(9, first)),
        (TypeError, ("str", "weight"), lambda: module.append("weight")),
        (TypeError, "None", lambda: module.extend([first, None])),
        (TypeError, ("int", "3"), lambda: nn.ParameterList(3)),
    ]
    for error, fragment, call in bad:
        with refuses(error, "ParameterList", fragment):
            call()
        assert len(module) == 5
    with refuses(NotImplementedError, "ParameterList"):
        module(first)


@clause("module-27")
def test_parameter_dict(nn: Any) -> None:
    first, values = nn.Parameter(nn.ones((2, 3))), np.array([1.5, 2.0], np.float32)
    module = nn.ParameterDict({"b": first, "a": nn.tensor(values)})
    assert list(module) == list(module.keys()) == ["b", "a"]
    assert list(reversed(module)) == ["a", "b"]
    assert [name for name, _ in module.named_parameters()] == ["b", "a"]
    assert module["b"] is module.b is module.get("b") is first
    assert module.get("c") is None
    assert module.get("c", 3) == 3
    assert isinstance(module["a"], nn.Parameter)
    exactly(nn, module["a"], values)
    assert module.setdefault("b", values) is first
    exactly(nn, module.setdefault("c", values), values)
    assert "c" in module
    assert module.popitem()[0] == "c"
    twin = module.copy()
    assert isinstance(twin, nn.ParameterDict)
    assert same(twin.values(), module.values())
    joined = module | {"d": first}
    assert list(joined) == ["b", "a", "d"]
    assert len(module) == 2
    kept = module
    module |= joined
    assert module is kept
    assert module.pop("d") is first
    del module["a"]
    assert same([p for _, p in module.items()], [first])
    assert repr(module) == "ParameterDict(\n  (b): Parameter of shape (2, 3) and dtype float32\n)"
    bad: list[tuple[type[Exception], tuple[Any, ...], Callable[[], Any]]] = [
        (KeyError, ("other",), lambda: module["other"]),
        (KeyError, ("other",), lambda: module.pop("other")),
        (KeyError, (".",), lambda: module.__setitem__("x.y", first)),
        (KeyError, ("forward",), lambda: module.__setitem__("forward", first)),
        (TypeError, ("ParameterDict", ("int", "3")), lambda: module.__setitem__(3, first)),
        (
            TypeError,
            ("ParameterDict", ("str", "no")),
            lambda: module.update({"c": first, "d": "no"}),
        ),
        (TypeError, ("ParameterDict", "None"), lambda: module.setdefault("c", None)),
    ]
    for error, fragments, call in bad:
        with refuses(error, *fragments):
            call()
        assert list(module) == ["b"]
    with refuses(NotImplementedError, "ParameterDict"):
        module(first)
    module.clear()
    assert len(module) == 0
