"""The chapter ``module``: registration, iteration, state dicts, copies."""

import copy
import pickle
import types
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import address, exactly, raw, refuses, to_numpy

pytestmark = pytest.mark.sampled(4)


def network(nn: Any) -> Any:
    """Return a Module with a parameter, buffers and children of its own."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(3, 2)
            self.scale = nn.Parameter(nn.ones((2,)))
            self.register_buffer("centre", nn.full((2,), 0.5))
            self.register_buffer("scratch", nn.zeros((1,)), persistent=False)
            self.last = nn.Sequential(nn.Linear(2, 1), nn.ReLU())

        def forward(self, x: Any, *, shift: float = 0.0) -> Any:
            return self.last(self.first(x) * self.scale - self.centre) + shift

    return Network()


PARAMETERS = ["scale", "first.weight", "first.bias", "last.0.weight", "last.0.bias"]
STATE = ["scale", "centre", "first.weight", "first.bias", "last.0.weight", "last.0.bias"]


def frozen(nn: Any, module: Any) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Return everything that a Module holds, by name, bit for bit."""
    entries = [*module.named_parameters(), *module.named_buffers()]
    arrays = {name: np.array(to_numpy(nn, value)) for name, value in entries}
    kept = {
        name: (array.dtype.name, array.shape, array.tobytes()) for name, array in arrays.items()
    }
    return kept | {f"{name} (module)": ("", (), b"") for name, _ in module.named_modules()}


def doubled(module: Any, args: tuple[Any, ...], output: Any) -> Any:
    """Be a forward hook that pickle can find."""
    return output * 2


@clause("module-01")
def test_call_runs_forward_with_all_arguments(nn: Any) -> None:
    class Affine(nn.Module):
        def forward(self, x: Any, factor: float, *, shift: float) -> Any:
            return x * factor + shift

    exactly(nn, Affine()(nn.tensor([1.0, 2.0]), 3.0, shift=0.5), np.array([3.5, 6.5], np.float32))


@clause("module-01")
def test_call_without_forward_names_the_class(nn: Any) -> None:
    class Hollow(nn.Module):
        pass

    with refuses(NotImplementedError, "Hollow"):
        Hollow()(nn.ones((1,)))


@clause("module-02")
def test_parameter_is_a_leaf_that_requires_grad(nn: Any, dtype: str) -> None:
    values = np.array([[1.5, -2.0]], dtype)
    for data in (nn.tensor(values), raw(nn, values), values):
        parameter = nn.Parameter(data)
        assert isinstance(parameter, nn.Tensor)
        assert isinstance(parameter, nn.Parameter)
        assert parameter.requires_grad
        assert parameter.is_leaf
        exactly(nn, parameter, values)
    assert not nn.Parameter(nn.tensor(values), requires_grad=False).requires_grad


@clause("module-02")
def test_parameter_of_a_result_has_no_history(nn: Any) -> None:
    source = nn.tensor([1.0, 2.0], requires_grad=True)
    parameter = nn.Parameter(source * 2)
    assert parameter.is_leaf
    (parameter * 3).sum().backward()
    assert source.grad is None
    exactly(nn, parameter.grad, np.array([3, 3], np.float32))


@clause("module-02")
def test_parameter_shares_a_raw_array(nn: Any) -> None:
    array = raw(nn, np.array([1, 2, 3], np.float32))
    assert address(nn.Parameter(array).data) == address(array)


@clause("module-03")
def test_assignment_registers(nn: Any) -> None:
    module = nn.Module()
    module.weight = nn.Parameter(nn.ones((2,)))
    module.child = nn.Linear(2, 2)
    module.plain = nn.ones((3,))
    assert [name for name, _ in module.named_parameters()] == [
        "weight",
        "child.weight",
        "child.bias",
    ]
    assert [name for name, _ in module.named_children()] == ["child"]
    assert list(module.buffers()) == []


@clause("module-03")
def test_none_and_deletion_remove(nn: Any) -> None:
    module = network(nn)
    module.scale = None
    assert module.scale is None
    del module.first
    assert not hasattr(module, "first")
    assert [name for name, _ in module.named_parameters()] == ["last.0.weight", "last.0.bias"]
    module.last = None
    assert list(module.children()) == []
    assert list(module.state_dict()) == ["centre"]


@clause("module-03")
def test_a_new_parameter_takes_the_old_ones_place(nn: Any) -> None:
    module = network(nn)
    module.scale = nn.Parameter(nn.zeros((2,)))
    assert [name for name, _ in module.named_parameters()] == PARAMETERS
    exactly(nn, dict(module.named_parameters())["scale"], np.zeros(2, np.float32))


@clause("module-03")
def test_assignment_before_init_is_refused(nn: Any) -> None:
    class EarlyParameter(nn.Module):
        def __init__(self) -> None:
            self.weight = nn.Parameter(nn.ones((2,)))

    class EarlyModule(nn.Module):
        def __init__(self) -> None:
            self.child = nn.ReLU()

    for early in (EarlyParameter, EarlyModule):
        with refuses(AttributeError, "__init__"):
            early()


@clause("module-03", "module-17")
def test_a_plain_tensor_cannot_take_a_parameters_name(nn: Any) -> None:
    module = network(nn)
    before = frozen(nn, module)
    with refuses(TypeError, "scale", "Tensor"):
        module.scale = nn.zeros((2,))
    assert frozen(nn, module) == before


@clause("module-04")
def test_register_parameter_none(nn: Any) -> None:
    module = nn.Module()
    module.register_parameter("bias", None)
    assert module.bias is None
    assert list(module.named_parameters()) == []
    assert list(module.state_dict()) == []


@clause("module-04")
def test_register_buffer(nn: Any) -> None:
    module = nn.Module()
    module.register_buffer("kept", nn.ones((2,)))
    module.register_buffer("dropped", nn.zeros((2,)), persistent=False)
    assert [name for name, _ in module.named_buffers()] == ["kept", "dropped"]
    assert list(module.state_dict()) == ["kept"]
    assert list(module.parameters()) == []
    exactly(nn, module.kept, np.ones(2, np.float32))


@clause("module-04")
def test_register_module_is_add_module(nn: Any) -> None:
    module = nn.Module()
    one, two = nn.ReLU(), nn.Linear(1, 1)
    module.add_module("one", one)
    module.register_module("two", two)
    assert module.one is one
    assert dict(module.named_children()) == {"one": one, "two": two}


@clause("module-04", "module-17")
@pytest.mark.parametrize(
    ("name", "fragment"), [("", "empty"), ("a.b", "."), ("first", "first"), ("forward", "forward")]
)
def test_names_that_cannot_be_registered(nn: Any, name: str, fragment: str) -> None:
    module = network(nn)
    before = frozen(nn, module)
    with refuses(KeyError, fragment):
        module.register_parameter(name, nn.Parameter(nn.ones((1,))))
    with refuses(KeyError, fragment):
        module.register_buffer(name, nn.ones((1,)))
    taken = "scale" if name == "first" else name
    with refuses(KeyError, "scale" if name == "first" else fragment):
        module.add_module(taken, nn.ReLU())
    assert frozen(nn, module) == before


@clause("module-05")
def test_iteration_in_order_of_registration(nn: Any) -> None:
    module = network(nn)
    assert [name for name, _ in module.named_parameters()] == PARAMETERS
    assert [name for name, _ in module.named_buffers()] == ["centre", "scratch"]
    assert [name for name, _ in module.named_children()] == ["first", "last"]
    names = ["", "first", "last", "last.0", "last.1"]
    assert [name for name, _ in module.named_modules()] == names
    for plain, named in (
        (module.parameters(), module.named_parameters()),
        (module.buffers(), module.named_buffers()),
        (module.children(), module.named_children()),
        (module.modules(), module.named_modules()),
    ):
        pairs = list(zip(plain, (value for _, value in named), strict=True))
        assert pairs
        assert all(first is other for first, other in pairs)


@clause("module-06")
def test_shared_parameters_are_counted_once(nn: Any) -> None:
    module = nn.Module()
    module.first = nn.Linear(2, 2)
    module.second = nn.Linear(2, 2)
    module.second.weight = module.first.weight
    names = ["first.weight", "first.bias", "second.bias"]
    assert [name for name, _ in module.named_parameters()] == names
    assert len(list(module.parameters())) == 3
    assert list(module.state_dict()) == [
        "first.weight",
        "first.bias",
        "second.weight",
        "second.bias",
    ]


@clause("module-07")
def test_state_dict_holds_detached_tensors(nn: Any) -> None:
    module = network(nn)
    state = module.state_dict()
    assert list(state) == STATE
    for name, value in state.items():
        assert isinstance(value, nn.Tensor)
        assert not value.requires_grad
        module_value = dict([*module.named_parameters(), *module.named_buffers()])[name]
        exactly(nn, value, to_numpy(nn, module_value))


@clause("module-07")
def test_state_dict_shares_memory_where_arrays_can_change(nn: Any) -> None:
    module = nn.Linear(2, 1)
    state = module.state_dict()
    before = np.array(to_numpy(nn, module.weight))
    try:
        state["weight"].data[...] = 7.0
    except TypeError:
        exactly(nn, state["weight"], before)
    else:
        exactly(nn, module.weight, np.full((1, 2), 7, np.float32))


@clause("module-08")
def test_load_state_dict_takes_every_kind_of_array(nn: Any) -> None:
    module = network(nn)
    numbers = {
        name: np.array(to_numpy(nn, value)) + 1 for name, value in module.state_dict().items()
    }
    objects = [id(parameter) for parameter in module.parameters()]
    for convert in (nn.tensor, lambda number: raw(nn, number), lambda number: number):
        module.load_state_dict({name: convert(number) for name, number in numbers.items()})
        for name, value in module.state_dict().items():
            exactly(nn, value, numbers[name])
        numbers = {name: number + 1 for name, number in numbers.items()}
    assert [id(parameter) for parameter in module.parameters()] == objects
    assert all(parameter.requires_grad for parameter in module.parameters())


@clause("module-08")
def test_load_state_dict_copies(nn: Any) -> None:
    module = nn.Linear(2, 1)
    weight, bias = np.array([[1, 2]], np.float32), np.array([3], np.float32)
    module.load_state_dict({"weight": weight, "bias": bias})
    weight[...] = 9
    exactly(nn, module.weight, np.array([[1, 2]], np.float32))


@clause("module-08", needs="float64")
def test_load_state_dict_keeps_the_dtype(nn: Any) -> None:
    module = nn.Linear(2, 1)
    weight = np.array([[0.1, 0.2]])
    module.load_state_dict({"weight": weight, "bias": np.array([0.3])})
    exactly(nn, module.weight, weight.astype(np.float32))


@clause("module-08")
def test_load_state_dict_that_is_not_strict(nn: Any) -> None:
    module = network(nn)
    bias = np.array([4, 5], np.float32)
    module.load_state_dict({"first.bias": bias, "nobody": bias}, strict=False)
    exactly(nn, module.first.bias, bias)
    before = frozen(nn, module)
    with refuses(RuntimeError, "first.weight", "(2, 3)", "(2, 4)"):
        module.load_state_dict({"first.weight": np.ones((2, 4), np.float32)}, strict=False)
    assert frozen(nn, module) == before


@clause("module-09")
def test_one_error_lists_all_faults(nn: Any) -> None:
    module = network(nn)
    state = {name: np.array(to_numpy(nn, entry)) + 1 for name, entry in module.state_dict().items()}
    del state["centre"], state["first.bias"]
    state["stranger"] = np.ones(1, np.float32)
    state["first.weight"] = np.ones((2, 4), np.float32)
    state["last.0.bias"] = np.ones((3,), np.float32)
    before = frozen(nn, module)
    faults = ("centre", "first.bias", "stranger", "first.weight", "last.0.bias")
    with refuses(RuntimeError, *faults, "(2, 3)", "(2, 4)", "(1,)", "(3,)"):
        module.load_state_dict(state)
    assert frozen(nn, module) == before


@clause("module-08", "module-09")
@pytest.mark.parametrize("wrong", [[1.0, 2.0], None, "weights", 3.0])
def test_values_that_are_no_arrays_change_nothing(nn: Any, wrong: Any) -> None:
    module = nn.Linear(3, 2)
    before = frozen(nn, module)
    with refuses((TypeError, RuntimeError), "bias", type(wrong).__name__):
        module.load_state_dict({"weight": np.ones((2, 3), np.float32), "bias": wrong})
    assert frozen(nn, module) == before


@clause("module-10")
def test_train_and_eval_reach_every_submodule(nn: Any) -> None:
    module = network(nn)
    assert all(part.training for part in module.modules())
    assert module.eval() is module
    assert not any(part.training for part in module.modules())
    assert module.train() is module
    assert all(part.training for part in module.modules())
    module.train(False)
    assert not any(part.training for part in module.modules())


@clause("module-10")
def test_requires_grad_and_zero_grad(nn: Any) -> None:
    module = nn.Linear(2, 1)
    module(nn.ones((1, 2))).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())
    module.zero_grad()
    assert all(parameter.grad is None for parameter in module.parameters())
    assert module.requires_grad_(False) is module
    assert not any(parameter.requires_grad for parameter in module.parameters())
    module.requires_grad_()
    assert all(parameter.requires_grad for parameter in module.parameters())


@clause("module-10")
def test_apply_visits_children_first(nn: Any) -> None:
    module = network(nn)
    seen: list[Any] = []
    assert module.apply(seen.append) is module
    wanted = [module.first, module.last[0], module.last[1], module.last, module]
    assert len(seen) == len(wanted)
    assert all(first is other for first, other in zip(seen, wanted, strict=True))


@clause("module-11", needs="float64")
def test_conversion_keeps_the_parameter_objects(nn: Any) -> None:
    module = network(nn)
    module.register_buffer("count", nn.tensor([1, 2]))
    objects = [id(parameter) for parameter in module.parameters()]
    start = {name: np.array(to_numpy(nn, array)) for name, array in module.state_dict().items()}
    wide = {name: array.astype(np.float64) for name, array in start.items() if name != "count"}
    for method, arguments, want in (
        ("to", (nn.float64,), wide),
        ("float", (), start),
        ("double", (), wide),
        ("to", (nn.float32,), start),
    ):
        assert getattr(module, method)(*arguments) is module
        for name, array in want.items():
            exactly(nn, module.state_dict()[name], array)
        exactly(nn, module.count, np.array([1, 2], np.int64))
        assert [id(parameter) for parameter in module.parameters()] == objects
        assert all(
            parameter.requires_grad and parameter.is_leaf for parameter in module.parameters()
        )
        assert module.scratch.dtype == module.scale.dtype


@clause("module-12")
def test_get_submodule_and_get_parameter(nn: Any) -> None:
    module = network(nn)
    assert module.get_submodule("last.0") is module.last[0]
    assert module.get_submodule("") is module
    assert module.get_parameter("last.0.bias") is module.last[0].bias
    for name, missing in (("last.7", "7"), ("nowhere.0", "nowhere")):
        with refuses(AttributeError, missing):
            module.get_submodule(name)
    for name, missing in (("first.depth", "depth"), ("nowhere.weight", "nowhere")):
        with refuses(AttributeError, missing):
            module.get_parameter(name)


@clause("module-16")
@pytest.mark.parametrize("how", ["deepcopy", "pickle"])
def test_a_copy_is_equal_and_its_own(nn: Any, how: str) -> None:
    module = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    module.register_buffer("count", nn.tensor([3]))
    module[2].requires_grad_(False)
    module.eval()
    module.register_forward_hook(doubled)
    twin = copy.deepcopy(module) if how == "deepcopy" else pickle.loads(pickle.dumps(module))
    assert frozen(nn, twin) == frozen(nn, module)
    assert repr(twin) == repr(module)
    assert not twin.training
    flags = [parameter.requires_grad for parameter in twin.parameters()]
    assert flags == [True, True, False, False]
    x = nn.tensor([[1.0, -1.0]])
    exactly(nn, twin(x), to_numpy(nn, module(x)))
    before = frozen(nn, module)
    nn.init.constant_(twin[0].weight, 5.0)
    assert frozen(nn, module) == before
    twin(x).sum().backward()
    assert module[0].weight.grad is None
    assert twin[0].weight.grad is not None


@clause("module-16")
def test_a_copy_shares_what_the_module_shared(nn: Any) -> None:
    module = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    module[1].weight = module[0].weight
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert twin[1].weight is twin[0].weight


@clause("module-16")
def test_functions_are_pickled_by_their_names(nn: Any) -> None:
    spaces = (nn, nn.ops, nn.ops.linalg, nn.ops.fft, nn.loss, nn.init, nn.rnn, nn.data)
    functions = [
        value
        for space in spaces
        for name, value in vars(space).items()
        if not name.startswith("_") and isinstance(value, types.FunctionType)
    ]
    assert len(functions) > 200
    for function in functions:
        said = f"{function.__module__}.{function.__qualname__}"
        assert pickle.loads(pickle.dumps(function)) is function, said
    module = nn.Module()
    module.function = nn.ops.fft.irfft
    assert pickle.loads(pickle.dumps(module)).function is nn.ops.fft.irfft


@clause("module-17")
def test_failed_registrations_change_nothing(nn: Any) -> None:
    module = network(nn)
    before = frozen(nn, module)
    attempts: list[Any] = [
        lambda: module.register_parameter("weight", nn.ones((2,))),
        lambda: module.register_parameter("weight", 3),
        lambda: module.register_buffer("table", "text"),
        lambda: module.add_module("child", nn.ones((2,))),
        lambda: module.last.append(3),
    ]
    for attempt in attempts:
        with refuses(TypeError):
            attempt()
        assert frozen(nn, module) == before
    assert not hasattr(module, "weight")
    assert not hasattr(module, "table")
    assert not hasattr(module, "child")
