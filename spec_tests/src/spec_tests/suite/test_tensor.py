"""Chapter tensor: constructors, attributes and what leaves autograd."""

from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.support.assertions import address, agrees, exactly, raw, refuses, tensor, to_numpy
from spec_tests.support.dtypes import ALL, there
from spec_tests.support.inputs import in_double, normal

TOP = """
tensor from_array zeros ones full empty arange eye rand randn Tensor Variable
Function as_function once_differentiable Parameter Module Sequential ModuleList
Linear Embedding ReLU Tanh Sigmoid Softmax LogSoftmax Flatten Identity Dropout
RNNCell LSTMCell GRUCell RNN LSTM GRU MSELoss CrossEntropyLoss
no_grad enable_grad set_grad_enabled is_grad_enabled grad value_and_grad
vjp jvp linearize jacrev jacfwd jacobian hessian hvp vmap functional_call jit checkpoint
detect_anomaly graph saved_tensors_hooks manual_seed save load
""".split()
SUBMODULES = {
    "ops": """
    asarray zeros ones full arange zeros_like ones_like abs add subtract multiply divide negative
    pow exp log sqrt square tanh sin cos sign maximum minimum clip where astype equal not_equal
    less less_equal greater greater_equal logical_and logical_or logical_not isnan isfinite
    sum mean max min argmax matmul matrix_transpose reshape permute_dims expand_dims squeeze
    broadcast_to concat stack take relu sigmoid softmax log_softmax logsumexp
    """.split(),
    "loss": ["mse_loss", "cross_entropy"],
    "optim": """
    SGD Adam AdamW RMSprop Adagrad LBFGS clip_grad_norm_ clip_grad_value_
    """.split(),
    "init": """
    uniform_ normal_ constant_ zeros_ ones_ xavier_uniform_ xavier_normal_
    kaiming_uniform_ kaiming_normal_ calculate_gain
    """.split(),
}


def dtype_name(nn: Any, value: Any) -> list[str]:
    return [name for name in ALL if value.dtype == getattr(nn, name)]


def arrays_can_change(nn: Any) -> bool:
    try:
        raw(nn, normal(3, "float32"))[0] = 7
    except TypeError:
        return False
    return True


@clause("tensor-01")
def test_version_and_capabilities(nn: Any) -> None:
    assert nn.__spec_version__ == "2026.12"
    capabilities = nn.spec_capabilities()
    wanted = {"double_backward", "float64", "jit", "vmap", "serialization", "complex"}
    assert wanted | {"wide_unsigned"} <= set(capabilities)
    assert all(type(flag) is bool for flag in capabilities.values())


@clause("tensor-02")
def test_every_name_is_there(nn: Any) -> None:
    missing = [name for name in TOP if not callable(getattr(nn, name, None))]
    missing += [name for name in ALL if not hasattr(nn, name)]
    for module, names in SUBMODULES.items():
        there = getattr(nn, module, None)
        missing += [f"{module}.{name}" for name in names if not callable(getattr(there, name, 0))]
    assert missing == []


@clause("tensor-03")
def test_tensor_copies(nn: Any, dtype: str) -> None:
    array = normal((2, 3), dtype)
    before = array.copy()
    made = nn.tensor(array)
    array[:] = 7
    exactly(nn, made, before, call="tensor(array), array changed afterwards")

    source = raw(nn, before)
    made = nn.tensor(source)
    nn.init.constant_(nn.from_array(source), 7.0)
    exactly(nn, made, before, call="tensor(raw), raw changed afterwards")

    rows = [[1.0, 2.0], [3.0, 4.0]]
    made = nn.tensor(rows)
    rows[0][0] = 7.0
    exactly(nn, made, [[1.0, 2.0], [3.0, 4.0]], dtype="float32")


@clause("tensor-03")
def test_tensor_of_a_tensor_has_no_history(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    made = nn.tensor(x * 2)
    assert made.is_leaf
    assert not made.requires_grad
    exactly(nn, made, 2 * normal(3, dtype))
    assert nn.tensor(x * 2, requires_grad=True).is_leaf


@pytest.mark.parametrize(
    ("data", "wanted"),
    [
        (1.5, "float32"),
        (3, "int64"),
        (2**40, "int64"),
        (True, "bool"),
        ([1, 2.5], "float32"),
        ([[1, 2], [3, 4]], "int64"),
        (((1.0, 2.0), (3.0, 4.5)), "float32"),
        ([[True], [False]], "bool"),
        ([[[1, 2]], [[3, 0.5]]], "float32"),
    ],
)
@clause("tensor-04")
def test_python_numbers(nn: Any, data: Any, wanted: str) -> None:
    exactly(nn, nn.tensor(data), np.array(data, dtype=wanted), dtype=wanted)
    exactly(nn, nn.tensor(data, dtype=nn.float32), np.array(data, dtype="float32"), dtype="float32")


@clause("tensor-04")
def test_arrays_keep_their_dtype(nn: Any) -> None:
    for name in there(nn):
        array = np.array([[0, 1], [1, 0]], dtype=name)
        for data in (array, raw(nn, array), nn.tensor(array)):
            exactly(nn, nn.tensor(data), array, dtype=name)
        if not np.iscomplexobj(array):
            cast = nn.tensor(array, dtype=nn.float32)
            exactly(nn, cast, array.astype("float32"), dtype="float32")


@clause("tensor-05")
def test_from_array_shares_memory(nn: Any, dtype: str) -> None:
    array = raw(nn, normal((2, 3), dtype))
    for make in (nn.from_array, nn.Variable):
        made = make(array)
        assert isinstance(made, nn.Tensor)
        assert not made.requires_grad
        assert address(made.data) == address(array)
        exactly(nn, made, normal((2, 3), dtype))
        assert make(array, requires_grad=True).requires_grad
    for foreign in ([1.0, 2.0], 1.0, "1.0", None):
        with refuses(TypeError):
            nn.from_array(foreign)


@clause("tensor-06")
def test_constructors(nn: Any) -> None:
    made = {
        "zeros(3)": (nn.zeros(3), np.zeros(3, "float32")),
        "zeros((2, 3))": (nn.zeros((2, 3)), np.zeros((2, 3), "float32")),
        "zeros(())": (nn.zeros(()), np.zeros((), "float32")),
        "ones((2,))": (nn.ones((2,)), np.ones(2, "float32")),
        "full((2, 2), 1.5)": (nn.full((2, 2), 1.5), np.full((2, 2), 1.5, "float32")),
        "full(2, 3)": (nn.full(2, 3), np.full(2, 3, "int64")),
        "full((2,), True)": (nn.full((2,), True), np.full(2, True)),
        "arange(4)": (nn.arange(4), np.arange(4, dtype="int64")),
        "arange(1, 8, 3)": (nn.arange(1, 8, 3), np.arange(1, 8, 3, dtype="int64")),
        "arange(0.0, 1.0, 0.25)": (
            nn.arange(0.0, 1.0, 0.25),
            np.arange(0.0, 1.0, 0.25, dtype="float32"),
        ),
        "eye(3)": (nn.eye(3), np.eye(3, dtype="float32")),
        "eye(2, 3)": (nn.eye(2, 3), np.eye(2, 3, dtype="float32")),
    }
    for call, (got, want) in made.items():
        exactly(nn, got, want, call=call, dtype=want.dtype.name)
        assert not got.requires_grad


@clause("tensor-06")
def test_constructors_take_dtype_and_requires_grad(nn: Any, dtype: str) -> None:
    options = {"dtype": getattr(nn, dtype), "requires_grad": True}
    made = {
        "zeros": nn.zeros((2, 3), **options),
        "ones": nn.ones((2, 3), **options),
        "full": nn.full((2, 3), 2, **options),
        "empty": nn.empty((2, 3), **options),
        "arange": nn.arange(3, **options),
        "eye": nn.eye(3, **options),
        "rand": nn.rand((2, 3), **options),
        "randn": nn.randn((2, 3), **options),
    }
    for name, leaf in made.items():
        assert dtype_name(nn, leaf) == [dtype], name
        assert leaf.requires_grad, name
        assert leaf.is_leaf, name
        assert leaf.shape == {"arange": (3,), "eye": (3, 3)}.get(name, (2, 3)), name
    exactly(nn, nn.full((2, 3), 2, dtype=getattr(nn, dtype)), np.full((2, 3), 2, dtype))


@clause("tensor-06")
def test_random_constructors(nn: Any) -> None:
    uniform = to_numpy(nn, nn.rand((40, 50)))
    assert uniform.dtype == "float32"
    assert uniform.min() >= 0
    assert uniform.max() <= 1
    assert abs(uniform.mean() - 0.5) < 0.03
    standard = to_numpy(nn, nn.randn((40, 50)))
    assert standard.dtype == "float32"
    assert abs(standard.mean()) < 0.1
    assert abs(standard.std() - 1) < 0.1
    assert nn.empty(4).shape == (4,)


@clause("tensor-07")
def test_attributes(nn: Any) -> None:
    for name in there(nn):
        made = nn.tensor(np.ones((2, 3), dtype=name))
        assert isinstance(made.shape, tuple)
        assert tuple(made.shape) == (2, 3)
        assert all(isinstance(size, int) for size in made.shape)
        assert made.ndim == 2
        assert dtype_name(nn, made) == [name]
        assert made.requires_grad is False
        assert made.is_leaf
        assert made.grad is None
        assert made.grad_fn is None
    assert nn.tensor(1.0).shape == ()
    assert nn.tensor(1.0).ndim == 0


@clause("tensor-07")
def test_attributes_of_a_result(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    y = x * 2
    assert x.requires_grad is True
    assert x.is_leaf
    assert x.grad_fn is None
    assert y.requires_grad is True
    assert not y.is_leaf
    assert y.grad_fn is not None
    constant = nn.tensor(normal(3, dtype)) * 2
    assert constant.is_leaf
    assert constant.grad_fn is None


@clause("tensor-08")
def test_data_can_be_assigned(nn: Any, dtype: str) -> None:
    first, second = normal(3, dtype), normal(3, dtype, seed=1)
    x = tensor(nn, first)
    assert isinstance(x.data, type(raw(nn, first)))
    x.data = raw(nn, second)
    assert x.requires_grad
    assert x.is_leaf
    assert x.grad_fn is None
    exactly(nn, x, second)
    y = x * x
    exactly(nn, y, second * second)
    y.backward(nn.tensor(np.ones(3, dtype)))
    agrees(nn, x.grad, 2 * in_double(second), "gradient")


@clause("tensor-09")
def test_transposes(nn: Any, dtype: str) -> None:
    uses: list[tuple[tuple[int, ...], Any]] = [
        ((2, 3), lambda t: t.T),
        ((2, 3), lambda t: t.mT),
        ((2, 3, 4), lambda t: t.mT),
    ]
    for shape, transpose in uses:
        array = normal(shape, dtype)
        weight = normal(shape, dtype, seed=1)
        x = tensor(nn, array)
        y = transpose(x)
        exactly(nn, y, np.swapaxes(array, -1, -2))
        y.backward(nn.tensor(np.ascontiguousarray(np.swapaxes(weight, -1, -2))))
        exactly(nn, x.grad, weight)


@clause("tensor-10")
def test_detach(nn: Any, dtype: str) -> None:
    array = normal(3, dtype)
    x = tensor(nn, array)
    y = x * 2
    cut = y.detach()
    assert cut.is_leaf
    assert not cut.requires_grad
    assert y.requires_grad
    exactly(nn, cut, 2 * array)
    nn.ops.sum(x * x.detach()).backward()
    exactly(nn, x.grad, array, call="gradient of x * x.detach()")


@clause("tensor-10")
def test_detach_shares_memory(nn: Any, dtype: str) -> None:
    x = tensor(nn, normal(3, dtype))
    shared = x.detach().data
    if arrays_can_change(nn):
        shared[0] = 7
        exactly(nn, x, [7.0, *normal(3, dtype)[1:]], call="x, after x.detach().data[0] = 7")
    exactly(nn, shared, x.data)


@clause("tensor-11")
def test_leaving_autograd(nn: Any) -> None:
    for value, wanted in ((1.5, float), (3, int), (True, bool)):
        got = nn.tensor([[value]]).item()
        assert type(got) is wanted
        assert got == value
    assert nn.tensor([[1, 2], [3, 4]]).tolist() == [[1, 2], [3, 4]]
    assert nn.tensor(2.5).tolist() == 2.5
    assert float(nn.tensor([2.5])) == 2.5
    assert int(nn.tensor(3)) == 3
    assert len(nn.zeros((4, 2))) == 4
    assert "1.25" in repr(nn.tensor([1.25, -3.0]))


@clause("tensor-11")
def test_numpy(nn: Any) -> None:
    for name in there(nn):
        array = np.array([[0, 1, 1]], dtype=name)
        got = nn.tensor(array).numpy()
        assert type(got) is np.ndarray
        exactly(nn, got, array, dtype=name)
    x = nn.tensor([1.0, 2.0], requires_grad=True)
    for value in (x, x * 2):
        with refuses(RuntimeError, "detach"):
            value.numpy()


@clause("tensor-11")
def test_iteration(nn: Any, dtype: str) -> None:
    array, weight = normal((3, 2), dtype), normal((3, 2), dtype, seed=1)
    x = tensor(nn, array)
    rows = list(x)
    assert len(rows) == 3
    total = nn.tensor(np.zeros((), dtype))
    for row, want, factor in zip(rows, array, weight, strict=True):
        assert isinstance(row, nn.Tensor)
        exactly(nn, row, want)
        total = total + nn.ops.sum(row * nn.tensor(factor))
    total.backward()
    exactly(nn, x.grad, weight)


@clause("tensor-12")
def test_requires_grad_(nn: Any, dtype: str) -> None:
    x = nn.tensor(normal(3, dtype))
    assert x.requires_grad_() is x
    assert x.requires_grad is True
    assert (x * 2).requires_grad
    assert x.requires_grad_(False) is x
    assert x.requires_grad is False
    assert not (x * 2).requires_grad


@clause("tensor-13")
def test_integers_never_require_grad(nn: Any) -> None:
    for name in ("int32", "int64", "bool"):
        array = np.ones((2, 2), dtype=name)
        integer = getattr(nn, name)
        calls: list[Any] = [
            lambda array=array: nn.tensor(array, requires_grad=True),
            lambda array=array: nn.from_array(raw(nn, array), requires_grad=True),
            lambda array=array: nn.Parameter(raw(nn, array)),
            lambda integer=integer: nn.zeros((2, 2), dtype=integer, requires_grad=True),
            lambda integer=integer: nn.full((2, 2), 1, dtype=integer, requires_grad=True),
        ]
        for call in calls:
            with refuses(ValueError, name):
                call()
    with refuses(ValueError, "int64"):
        nn.arange(3, requires_grad=True)
    with refuses(ValueError, "int64"):
        nn.tensor([1, 2], requires_grad=True)


@clause("tensor-03", "tensor-06", needs="float64")
def test_python_numbers_keep_their_digits_in_float64(nn: Any) -> None:
    for number in (0.1, 1e300):
        exactly(nn, nn.tensor(number, dtype=nn.float64), np.array(number))
        exactly(nn, nn.tensor([[number], [2]], dtype=nn.float64), np.array([[number], [2.0]]))
        exactly(nn, nn.full((2,), number, dtype=nn.float64), np.full(2, number))


@clause("tensor-06")
def test_a_dtype_of_none_is_the_default(nn: Any) -> None:
    for make in (nn.zeros, nn.ones, nn.empty, nn.rand, nn.randn):
        assert make((2,), dtype=None).dtype == nn.float32, make.__name__
    assert nn.tensor([1], dtype=None).dtype == nn.int64
