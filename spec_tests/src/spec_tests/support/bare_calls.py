"""Bad calls whose own Python error would name no operation, and the words that must name it."""

from collections.abc import Callable
from typing import Any

from spec_tests.support.bad_calls import World

# Each call is given the world; the message must hold one of the words.
Call = tuple[tuple[str, ...], Callable[[World], Any]]


def parameter(w: World) -> Any:
    """Return a Parameter of shape (2,)."""
    return w.nn.Parameter(w.nn.ones((2,)))


def applied(w: World, **methods: Any) -> Any:
    """Apply a Function of some static methods."""
    functions = {name: staticmethod(method) for name, method in methods.items()}
    crooked: Any = type("Crooked", (w.nn.Function,), functions)
    return crooked.apply(parameter(w))


OBJECT = object()

OF_OPS: list[Call] = [
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), axis=object)),
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), axis="0")),
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), axis=1.5)),
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), axis=(0, None))),
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), axis=(0, 0))),
    (("sum",), lambda w: w.nn.ops.sum(w.zeros(2, 3), dtype="text")),
    (("sum",), lambda w: w.nn.ops.sum(OBJECT)),
    (("sum",), lambda w: w.nn.ops.sum(None)),
    (("mean",), lambda w: w.nn.ops.mean(w.zeros(2, 3), axis=OBJECT)),
    (("max",), lambda w: w.nn.ops.max(w.zeros(2, 3), axis={})),
    (("argmax",), lambda w: w.nn.ops.argmax(w.zeros(2, 3), axis=(0, 1))),
    (("argmax",), lambda w: w.nn.ops.argmax(w.zeros(2, 3), axis="x")),
    (("softmax",), lambda w: w.nn.ops.softmax(w.zeros(2, 3), OBJECT)),
    (("softmax",), lambda w: w.nn.ops.softmax(w.nn.tensor(1.0))),
    (("log_softmax",), lambda w: w.nn.ops.log_softmax(w.zeros(2, 3), None)),
    (("logsumexp",), lambda w: w.nn.ops.logsumexp(w.zeros(2, 3), "all")),
    (("cumulative_prod",), lambda w: w.nn.ops.cumulative_prod(w.zeros(2, 3), axis=[])),
    (("reshape",), lambda w: w.nn.ops.reshape(w.zeros(2, 3), None)),
    (("reshape",), lambda w: w.nn.ops.reshape(w.zeros(2, 3), "23")),
    (("reshape",), lambda w: w.nn.ops.reshape(w.zeros(2, 3), (2.0, 3))),
    (("reshape",), lambda w: w.nn.ops.reshape(w.zeros(0, 3), (0, -1))),
    (("permute_dims",), lambda w: w.nn.ops.permute_dims(w.zeros(2, 3), 5)),
    (("permute_dims",), lambda w: w.nn.ops.permute_dims(w.zeros(2, 3), (0, 0))),
    (("permute_dims",), lambda w: w.nn.ops.permute_dims(w.zeros(2, 3), None)),
    (("expand_dims",), lambda w: w.nn.ops.expand_dims(w.zeros(2, 3), None)),
    (("expand_dims",), lambda w: w.nn.ops.expand_dims(w.zeros(2, 3), "x")),
    (("squeeze",), lambda w: w.nn.ops.squeeze(w.zeros(2, 3), 1)),
    (("squeeze",), lambda w: w.nn.ops.squeeze(w.zeros(2, 3), None)),
    (("squeeze",), lambda w: w.nn.ops.squeeze(w.zeros(1, 3), OBJECT)),
    (("broadcast_to",), lambda w: w.nn.ops.broadcast_to(w.zeros(2, 3), None)),
    (("broadcast_to",), lambda w: w.nn.ops.broadcast_to(w.zeros(2, 3), (3,))),
    (("concat",), lambda w: w.nn.ops.concat(5)),
    (("concat",), lambda w: w.nn.ops.concat([])),
    (("concat",), lambda w: w.nn.ops.concat(None)),
    (("concat",), lambda w: w.nn.ops.concat([w.zeros(2)], axis="x")),
    (("concat",), lambda w: w.nn.ops.concat([w.nn.tensor(1.0)])),
    (("stack",), lambda w: w.nn.ops.stack(5)),
    (("stack",), lambda w: w.nn.ops.stack([])),
    (("stack",), lambda w: w.nn.ops.stack([w.zeros(2), None])),
    (("take",), lambda w: w.nn.ops.take(w.zeros(2, 3), None, axis=0)),
    (("take",), lambda w: w.nn.ops.take(w.zeros(2, 3), "01", axis=0)),
    (("take",), lambda w: w.nn.ops.take(w.zeros(2, 3), w.zeros(1), axis=0)),
    (("take",), lambda w: w.nn.ops.take(w.zeros(2, 3), w.nn.tensor([0]))),
    (("where",), lambda w: w.nn.ops.where(None, w.zeros(2), w.zeros(2))),
    (("where",), lambda w: w.nn.ops.where(w.zeros(2) > 0, "a", w.zeros(2))),
    (("clip",), lambda w: w.nn.ops.clip(w.zeros(2), "a", 1)),
    (("clip",), lambda w: w.nn.ops.clip(w.zeros(2), OBJECT)),
    (("astype",), lambda w: w.nn.ops.astype(w.zeros(2), OBJECT)),
    (("astype",), lambda w: w.nn.ops.astype(None, w.nn.float32)),
    (("matmul",), lambda w: w.nn.ops.matmul(w.nn.tensor(1.0), w.zeros(2))),
    (("matmul",), lambda w: w.nn.ops.matmul(w.zeros(2), None)),
    (("matrix_transpose",), lambda w: w.nn.ops.matrix_transpose(None)),
    (("zeros",), lambda w: w.nn.ops.zeros((2,), dtype=OBJECT)),
    (("zeros",), lambda w: w.nn.ops.zeros(None)),
    (("ones",), lambda w: w.nn.ops.ones("23")),
    (("full",), lambda w: w.nn.ops.full((2,), "a")),
    (("full",), lambda w: w.nn.ops.full((2,), None)),
    (("full",), lambda w: w.nn.ops.full((2,), [1, 2])),
    (("arange",), lambda w: w.nn.ops.arange("a")),
    (("arange",), lambda w: w.nn.ops.arange(None)),
    (("arange",), lambda w: w.nn.ops.arange(0, 3, 0)),
    (("zeros_like",), lambda w: w.nn.ops.zeros_like(5)),
    (("asarray",), lambda w: w.nn.ops.asarray(OBJECT)),
    (("add",), lambda w: w.nn.ops.add(w.zeros(2), "a")),
    (("add",), lambda w: w.nn.ops.add(w.zeros(2), 1j)),
    (("equal",), lambda w: w.nn.ops.equal(w.zeros(2), None)),
    (("exp",), lambda w: w.nn.ops.exp("a")),
]

OF_TENSORS: list[Call] = [
    (("tensor",), lambda w: w.nn.tensor(OBJECT)),
    (("tensor",), lambda w: w.nn.tensor({1, 2})),
    (("tensor",), lambda w: w.nn.tensor([1, "a"])),
    (("tensor",), lambda w: w.nn.tensor([[1], 2])),
    (("tensor",), lambda w: w.nn.tensor([1.0], dtype=5)),
    (("from_array", "Variable"), lambda w: w.nn.from_array(None)),
    (("zeros",), lambda w: w.nn.zeros((2,), dtype=OBJECT)),
    (("zeros",), lambda w: w.nn.zeros(None)),
    (("zeros",), lambda w: w.nn.zeros("2")),
    (("ones",), lambda w: w.nn.ones((2, None))),
    (("empty",), lambda w: w.nn.empty(OBJECT)),
    (("full",), lambda w: w.nn.full((2,), "a")),
    (("full",), lambda w: w.nn.full("a", 1.0)),
    (("arange",), lambda w: w.nn.arange("a")),
    (("arange",), lambda w: w.nn.arange(0, 1, 0)),
    (("eye",), lambda w: w.nn.eye(-1)),
    (("eye",), lambda w: w.nn.eye("a")),
    (("eye",), lambda w: w.nn.eye(2, 1.5)),
    (("rand",), lambda w: w.nn.rand("a")),
    (("randn",), lambda w: w.nn.randn((2,), dtype=w.nn.int64)),
    (("Parameter",), lambda w: w.nn.Parameter("a")),
    (("Parameter",), lambda w: w.nn.Parameter(None)),
    (("manual_seed", "seed"), lambda w: w.nn.manual_seed("a")),
    (("manual_seed", "seed"), lambda w: w.nn.manual_seed(None)),
    (("manual_seed", "seed"), lambda w: w.nn.manual_seed(1.5)),
    (("grad",), lambda w: w.nn.grad(5)(w.zeros(1))),
    (("grad",), lambda w: w.nn.grad(lambda x: x, argnums="a")(w.zeros(1))),
    (("grad",), lambda w: w.nn.grad(lambda x: x.sum(), argnums=3)(w.zeros(1))),
    (("grad",), lambda w: w.nn.grad(lambda x: 5)(w.zeros(1))),
    (("value_and_grad",), lambda w: w.nn.value_and_grad(None)(w.zeros(1))),
    (("vjp",), lambda w: w.nn.vjp(5, w.zeros(1))),
    (("vjp",), lambda w: w.nn.vjp(lambda x: x, w.zeros(2))[1](5)),
    (("vjp",), lambda w: w.nn.vjp(lambda x: x, w.zeros(2))[1](w.zeros(3))),
    (("functional_call",), lambda w: w.nn.functional_call(5, {}, ())),
    (("functional_call",), lambda w: w.nn.functional_call(w.linear, 5, w.zeros(1, 3))),
    (("as_function",), lambda w: w.nn.as_function(5)),
    (("once_differentiable",), lambda w: w.nn.once_differentiable(5)),
]

# Where Tensor is the backend's own class these are its own methods, which raise its own errors.
OF_METHODS: list[Call] = [
    (("backward",), lambda w: (w.weight * 2).sum().backward(1.0)),
    (("backward",), lambda w: (w.weight * 2).sum().backward("a")),
    (("backward",), lambda w: (w.weight * 2).backward([[1.0] * 3] * 2)),
    (("reshape",), lambda w: w.zeros(2, 3).reshape("a")),
    (("reshape",), lambda w: w.zeros(2, 3).reshape(None)),
    (("sum",), lambda w: w.zeros(2, 3).sum(axis=object)),
    (("mean",), lambda w: w.zeros(2, 3).mean(axis="x")),
    (("amax", "max"), lambda w: w.zeros(2, 3).amax(axis=OBJECT)),
    (("item",), lambda w: w.zeros(2, 3).item()),
    (("register_hook", "hook"), lambda w: w.weight.register_hook(5)),
    (("data",), lambda w: setattr(w.zeros(2), "data", "a")),
    (("data",), lambda w: setattr(w.zeros(2), "data", None)),
    (("grad",), lambda w: setattr(w.nn.Parameter(w.zeros(2)), "grad", "a")),
    (("requires_grad",), lambda w: w.nn.tensor([1]).requires_grad_(True)),
    (("index", "indices", "["), lambda w: w.zeros(2, 3)["a"]),
    (("index", "indices", "["), lambda w: w.zeros(2, 3)[1.5]),
    (("index", "indices", "["), lambda w: w.zeros(2, 3)[OBJECT]),
    (("index", "indices", "["), lambda w: w.zeros(2, 3)[0, 0, 0]),
    (("index", "indices", "["), lambda w: w.zeros(2, 3)[..., ...]),
    (("add", "+"), lambda w: w.zeros(2) + "a"),
    (("matmul", "@"), lambda w: w.zeros(2) @ "a"),
    (("pow", "**"), lambda w: w.zeros(2) ** None),
]

OF_FUNCTIONS: list[Call] = [
    (("Crooked",), lambda w: applied(w)),
    (("Crooked",), lambda w: applied(w, backward=lambda ctx, g: g)),
    (("Crooked",), lambda w: applied(w, forward=lambda ctx, x: x * 2).sum().backward()),
    (("Crooked",), lambda w: applied(w, forward=lambda ctx, x: "a")),
    (("Crooked",), lambda w: applied(w, forward=lambda ctx, x: None)),
    (
        ("Crooked",),
        lambda w: (
            applied(w, forward=lambda ctx, x: x * 2, backward=lambda ctx, g: "a").sum().backward()
        ),
    ),
    (
        ("Crooked",),
        lambda w: (
            applied(w, forward=lambda ctx, x: x * 2, backward=lambda ctx, g: 1.0).sum().backward()
        ),
    ),
    (
        ("Crooked",),
        lambda w: (
            applied(w, forward=lambda ctx, x: x * 2, backward=lambda ctx, g: [g, g])
            .sum()
            .backward()
        ),
    ),
]

OF_MODULES: list[Call] = [
    (("Linear",), lambda w: w.nn.Linear("3", 2)),
    (("Linear",), lambda w: w.nn.Linear(None, 2)),
    (("Linear",), lambda w: w.nn.Linear(3, 2, dtype=OBJECT)),
    (("Linear",), lambda w: w.linear("a")),
    (("Linear",), lambda w: w.linear(None)),
    (("Linear",), lambda w: w.linear([1.0, 2.0, 3.0])),
    (("Linear",), lambda w: w.linear(w.nn.tensor(1.0))),
    (("Embedding",), lambda w: w.table("a")),
    (("Embedding",), lambda w: w.table(None)),
    (("Embedding",), lambda w: w.nn.Embedding(3, 2, padding_idx="a")),
    (("Embedding",), lambda w: w.nn.Embedding(3, 2, padding_idx=7)),
    (("LayerNorm",), lambda w: w.nn.LayerNorm("a")),
    (("LayerNorm",), lambda w: w.nn.LayerNorm(None)),
    (("LayerNorm",), lambda w: w.nn.LayerNorm(3, eps="a")),
    (("LayerNorm",), lambda w: w.nn.LayerNorm(3)("a")),
    (("Dropout",), lambda w: w.nn.Dropout("a")),
    (("Dropout",), lambda w: w.nn.Dropout(None)),
    (("Dropout",), lambda w: w.nn.Dropout(float("nan"))),
    (("Dropout",), lambda w: w.nn.Dropout(0.5)("a")),
    (("Softmax", "softmax"), lambda w: w.nn.Softmax("a")(w.zeros(2, 3))),
    (("Flatten",), lambda w: w.nn.Flatten("a")(w.zeros(2, 3))),
    (("Flatten",), lambda w: w.nn.Flatten(0, 7)(w.zeros(2, 3))),
    (("ReLU", "relu"), lambda w: w.nn.ReLU()("a")),
    (("Sequential",), lambda w: w.nn.Sequential(5)),
    (("Sequential",), lambda w: w.nn.Sequential(w.linear)["a"]),
    (("ModuleList",), lambda w: w.nn.ModuleList(5)),
    (("ModuleList",), lambda w: w.nn.ModuleList([5])),
    (("ModuleList", "append"), lambda w: w.modules.append("a")),
    (("ModuleList", "index", "range"), lambda w: w.modules[99]),
    (("load_state_dict",), lambda w: w.linear.load_state_dict(5)),
    (("load_state_dict",), lambda w: w.linear.load_state_dict(None)),
    (("register_buffer",), lambda w: w.linear.register_buffer(5, w.zeros(1))),
    (("register_parameter",), lambda w: w.linear.register_parameter(None, None)),
    (("hook",), lambda w: w.linear.register_forward_hook(5)),
    (("hook",), lambda w: w.linear.register_forward_pre_hook(None)),
    (("apply",), lambda w: w.linear.apply(5)),
    (("to",), lambda w: w.linear.to(5)),
    (("get_submodule",), lambda w: w.linear.get_submodule(5)),
    (("get_parameter",), lambda w: w.linear.get_parameter(None)),
    (("GRU",), lambda w: w.gru("a")),
    (("GRU",), lambda w: w.gru(None)),
    (("GRU",), lambda w: w.gru(w.zeros(4, 1, 3), "a")),
    (("GRU",), lambda w: w.nn.GRU(3, None)),
    (("LSTM",), lambda w: w.lstm(w.zeros(4, 1, 3), 5)),
    (("LSTM",), lambda w: w.lstm(w.zeros(4, 1, 3), (w.zeros(1, 1, 2),))),
    (("RNNCell",), lambda w: w.cell("a")),
    (("RNN",), lambda w: w.nn.RNN(3, 2, nonlinearity=5)),
    (("RNN",), lambda w: w.nn.RNN(3, 2, nonlinearity=[])),
]

OF_TRAINING: list[Call] = [
    (("Adam",), lambda w: w.nn.optim.Adam(5)),
    (("Adam",), lambda w: w.nn.optim.Adam(None)),
    (("Adam",), lambda w: w.nn.optim.Adam("a")),
    (("Adam",), lambda w: w.nn.optim.Adam([parameter(w)], betas=5)),
    (("Adam",), lambda w: w.nn.optim.Adam([parameter(w)], lr="a")),
    (("Adam",), lambda w: w.nn.optim.Adam([{"lr": 0.1}])),
    (("Adam",), lambda w: w.nn.optim.Adam([{"params": 5}])),
    (("SGD",), lambda w: w.nn.optim.SGD(parameter(w), lr=None)),
    (("SGD",), lambda w: w.nn.optim.SGD([parameter(w), None])),
    (("SGD",), lambda w: w.optimizer.load_state_dict(5)),
    (("SGD",), lambda w: w.optimizer.add_param_group(5)),
    (("mse_loss",), lambda w: w.nn.loss.mse_loss("a", w.zeros(2))),
    (("mse_loss",), lambda w: w.nn.loss.mse_loss(w.zeros(2), None)),
    (("mse_loss",), lambda w: w.nn.loss.mse_loss(w.zeros(2), w.zeros(2), reduction=5)),
    (("mse_loss",), lambda w: w.nn.loss.mse_loss(w.zeros(2), w.zeros(2), reduction=[])),
    (("l1_loss",), lambda w: w.nn.loss.l1_loss(5, 5)),
    (("cross_entropy",), lambda w: w.nn.loss.cross_entropy(w.zeros(2, 3), None)),
    (("cross_entropy",), lambda w: w.nn.loss.cross_entropy(w.zeros(2, 3), "01")),
    (("cross_entropy",), lambda w: w.nn.loss.cross_entropy(w.nn.tensor(1.0), w.nn.tensor(0))),
    (("zeros_",), lambda w: w.nn.init.zeros_("a")),
    (("ones_",), lambda w: w.nn.init.ones_(None)),
    (("constant_",), lambda w: w.nn.init.constant_(w.weight, "a")),
    (("constant_",), lambda w: w.nn.init.constant_(5, 1.0)),
    (("uniform_",), lambda w: w.nn.init.uniform_("a")),
    (("uniform_",), lambda w: w.nn.init.uniform_(w.weight, "a", 1.0)),
    (("normal_",), lambda w: w.nn.init.normal_([1.0])),
    (("normal_",), lambda w: w.nn.init.normal_(w.weight, 0.0, None)),
    (("xavier_uniform_",), lambda w: w.nn.init.xavier_uniform_("a")),
    (("xavier_normal_",), lambda w: w.nn.init.xavier_normal_(w.weight, gain="a")),
    (("xavier_normal_",), lambda w: w.nn.init.xavier_normal_(w.nn.tensor(1.0))),
    (("kaiming_uniform_",), lambda w: w.nn.init.kaiming_uniform_(w.nn.tensor(1.0))),
    (("kaiming_uniform_",), lambda w: w.nn.init.kaiming_uniform_(w.weight, mode=5)),
    (
        ("kaiming_normal_", "gain"),
        lambda w: w.nn.init.kaiming_normal_(w.weight, nonlinearity="sine"),
    ),
    (("kaiming_normal_",), lambda w: w.nn.init.kaiming_normal_("a")),
    (("kaiming_normal_",), lambda w: w.nn.init.kaiming_normal_(w.weight, a="x")),
    (("save",), lambda w: w.nn.save(5, w.folder / "x")),
    (("save",), lambda w: w.nn.save(w.linear, None)),
    (("load",), lambda w: w.nn.load(5.5)),
    (("load",), lambda w: w.nn.load("a\0b")),
    (("save",), lambda w: w.nn.save(w.linear, "a\0b")),
]

TABLES = {
    "ops": OF_OPS,
    "tensors": OF_TENSORS,
    "methods": OF_METHODS,
    "functions": OF_FUNCTIONS,
    "modules": OF_MODULES,
    "training": OF_TRAINING,
}
CALLS = [(name, place) for name, table in TABLES.items() for place in range(len(table))]
