"""Bad calls from every chapter, and the world in which the chapter ``errors`` makes them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.support.assertions import exactly, to_numpy

SEED = 77


class World:
    """Modules with gradients, an optimizer on its way, a file, and a seeded generator."""

    def __init__(self, nn: Any, folder: Path) -> None:
        self.nn = nn
        self.folder = folder
        self.linear = nn.Linear(3, 2)
        self.table = nn.Embedding(5, 3)
        self.gru = nn.GRU(3, 2)
        self.lstm = nn.LSTM(3, 2)
        self.cell = nn.RNNCell(3, 2)
        parts = [self.linear, self.table, self.gru, self.lstm, self.cell]
        self.modules = nn.ModuleList(parts)
        self.modules.register_buffer("count", nn.tensor([1, 2]))
        self.optimizer = nn.optim.SGD(self.modules.parameters(), lr=0.1, momentum=0.9)
        for parameter in self.modules.parameters():
            nn.ops.sum(parameter * parameter).backward()
        self.optimizer.step()
        self.path = folder / "model.safetensors"
        if nn.spec_capabilities()["serialization"]:
            nn.save(self.linear, self.path)
        self.cut = folder / "cut.safetensors"
        self.cut.write_bytes(self.path.read_bytes()[:-3] if self.path.exists() else b"cut")
        nn.manual_seed(SEED)

    @property
    def weight(self) -> Any:
        """A Parameter of shape (2, 3) that has a gradient."""
        return self.linear.weight

    def zeros(self, *shape: int) -> Any:
        """Return a Tensor of zeros."""
        return self.nn.zeros(shape)

    def frozen(self) -> dict[str, Any]:
        """Return everything that a bad call must leave alone, bit for bit."""
        kept: dict[str, Any] = {"recording": self.nn.is_grad_enabled()}
        for name, parameter in self.modules.named_parameters():
            kept[name] = self.bits(parameter)
            kept[f"{name}.grad"] = self.bits(parameter.grad)
            kept[f"{name} is"] = (id(parameter), parameter.requires_grad, parameter.is_leaf)
        for name, value in self.modules.state_dict().items():
            kept[f"state {name}"] = self.bits(value)
        kept["children"] = [name for name, _ in self.modules.named_modules()]
        kept["groups"] = [len(group["params"]) for group in self.optimizer.param_groups]
        kept["files"] = {path.name: path.read_bytes() for path in self.folder.iterdir()}
        return kept

    def bits(self, value: Any) -> Any:
        """Return an array's dtype, shape and bytes."""
        array = np.array(to_numpy(self.nn, value))
        return array.dtype.name, array.shape, array.tobytes()


@dataclass(frozen=True)
class Bad:
    """A bad call: which exceptions, what the message holds, and the call."""

    name: str
    types: type[BaseException] | tuple[type[BaseException], ...]
    fragments: tuple[Any, ...]
    call: Callable[[World], Any]
    needs: str | None = None


def backward_of(w: World, gradient: Callable[[Any, Any], Any]) -> Any:
    """Run a Function backward whose ``backward`` returns what `gradient` makes of ctx and grad."""
    nn: Any = w.nn

    class Crooked(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return gradient(ctx, grad_output)

    w.nn.ops.sum(Crooked.apply(w.weight)).backward()


def forward_of(w: World, act: Callable[[Any, Any], Any]) -> Any:
    """Apply a Function whose ``forward`` does something with its ctx and input."""
    nn: Any = w.nn

    class Crooked(nn.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            act(ctx, x)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad_output: Any) -> Any:
            return grad_output

    return Crooked.apply(w.weight)


def used_twice(w: World) -> Any:
    """Call one instance of a Function twice."""
    nn: Any = w.nn

    class Crooked(nn.Function):
        def forward(self, x: Any) -> Any:
            return x * 2

        def backward(self, grad_output: Any) -> Any:
            return grad_output * 2

    instance = Crooked()
    instance(w.weight)
    instance(w.weight)


def without_backward(w: World) -> Any:
    """Make a Function of a class that has no ``backward``."""

    class Crooked:
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x

    return w.nn.as_function(Crooked)


def without_forward(w: World) -> Any:
    """Call a Module that has no ``forward``."""
    nn: Any = w.nn

    class Hollow(nn.Module):
        pass

    return Hollow()(w.zeros(1))


def backward_twice(w: World) -> Any:
    """Run backward through a graph that is gone, after a first time that touched nothing here."""
    x = w.nn.tensor([1.0, 2.0], requires_grad=True)
    y = w.nn.ops.sum(x * x * x)
    y.backward()
    exactly(w.nn, x.grad, np.array([3, 12], np.float32))
    try:
        y.backward()
    finally:
        exactly(w.nn, x.grad, np.array([3, 12], np.float32))


def loaded(w: World, **changes: Any) -> Any:
    """Load the state of the Linear with some entries replaced, or dropped where None."""
    state = {"weight": np.ones((2, 3), np.float32), "bias": np.ones(2, np.float32)} | changes
    w.linear.load_state_dict({key: array for key, array in state.items() if array is not None})


def other_state(w: World) -> Any:
    """Load the state of an optimizer of one parameter."""
    w.optimizer.load_state_dict(w.nn.optim.SGD([w.nn.Parameter(w.nn.ones((1,)))], 1.0).state_dict())


def replace_weight(w: World) -> None:
    """Put a plain Tensor where a Parameter is registered."""
    w.linear.weight = w.zeros(2, 3)


# Bad calls of the chapters tensor, function, autograd and ops.
AXIS = (ValueError, IndexError)
OF_TENSORS = [
    Bad(
        "int-grad",
        ValueError,
        (("tensor", "requires_grad"), "int64"),
        lambda w: w.nn.tensor([1, 2], requires_grad=True),
    ),
    Bad(
        "int-parameter",
        ValueError,
        (("Parameter", "requires_grad"), "int64"),
        lambda w: w.nn.Parameter(w.nn.tensor([1, 2])),
    ),
    Bad("from-list", TypeError, ("from_array", "list"), lambda w: w.nn.from_array([1.0, 2.0])),
    Bad("numpy-with-grad", RuntimeError, ("detach",), lambda w: w.weight.numpy()),
    Bad("instance-reused", RuntimeError, ("Crooked", "instance"), used_twice),
    Bad(
        "too-many-gradients",
        ValueError,
        ("Crooked", "1", "2"),
        lambda w: backward_of(w, lambda ctx, grad: (grad, grad)),
    ),
    Bad(
        "too-few-gradients",
        ValueError,
        ("Crooked", "1", "0"),
        lambda w: backward_of(w, lambda ctx, grad: ()),
    ),
    Bad(
        "gradient-shape",
        ValueError,
        ("Crooked", "0", "(2, 3)", "(2,)"),
        lambda w: backward_of(w, lambda ctx, grad: ctx.xp.sum(grad, axis=1)),
    ),
    Bad(
        "gradient-dtype",
        TypeError,
        ("Crooked", "0", "float32", "int32"),
        lambda w: backward_of(w, lambda ctx, grad: ctx.xp.astype(grad, ctx.xp.int32)),
    ),
    Bad(
        "keep-text",
        TypeError,
        ("save_for_backward", "str"),
        lambda w: forward_of(w, lambda ctx, x: ctx.save_for_backward(x, "text")),
    ),
    Bad(
        "mark-dirty",
        RuntimeError,
        ("mark_dirty",),
        lambda w: forward_of(w, lambda ctx, x: ctx.mark_dirty(x)),
    ),
    Bad("no-backward", TypeError, ("Crooked", "backward"), without_backward),
    Bad("backward-of-many", RuntimeError, ("scalar",), lambda w: (w.weight * 2).backward()),
    Bad(
        "backward-shape",
        RuntimeError,
        (("(2, 3)", "[2, 3]"), ("(3,)", "[3]")),
        lambda w: (w.weight * 2).backward(w.zeros(3)),
    ),
    Bad("backward-twice", RuntimeError, ("retain_graph",), backward_twice),
    Bad("backward-without-history", RuntimeError, ("require",), lambda w: w.zeros(1).backward()),
    Bad(
        "grad-of-many",
        ValueError,
        ("grad", "(2, 3)"),
        lambda w: w.nn.grad(lambda x: x * 2)(w.weight),
    ),
    Bad(
        "functional-call-stranger",
        KeyError,
        ("stranger", "Linear"),
        lambda w: w.nn.functional_call(w.linear, {"stranger": w.zeros(1)}, w.zeros(1, 3)),
    ),
    Bad(
        "add",
        ValueError,
        ("add", "(2, 3)", "(2,)"),
        lambda w: w.nn.ops.add(w.weight, w.zeros(2)),
    ),
    Bad(
        "matmul",
        ValueError,
        ("matmul", "(2, 3)", "(2, 4)"),
        lambda w: w.nn.ops.matmul(w.weight, w.zeros(2, 4)),
    ),
    Bad(
        "reshape",
        ValueError,
        ("reshape", "(2, 3)", "(4,)"),
        lambda w: w.nn.ops.reshape(w.weight, (4,)),
    ),
    Bad(
        "concat",
        ValueError,
        ("concat", "(2, 3)", "(2, 4, 1)"),
        lambda w: w.nn.ops.concat([w.weight, w.zeros(2, 4, 1)]),
    ),
    Bad("axis", AXIS, ("sum", "5", "(2, 3)"), lambda w: w.nn.ops.sum(w.weight, axis=5)),
]


# Bad calls of the chapters module, nn and rnn.
OF_MODULES = [
    Bad("no-forward", NotImplementedError, ("Hollow",), without_forward),
    Bad("plain-tensor", TypeError, ("weight", "Tensor"), replace_weight),
    Bad(
        "register-taken",
        KeyError,
        ("weight",),
        lambda w: w.linear.register_buffer("weight", w.zeros(1)),
    ),
    Bad(
        "register-dot",
        KeyError,
        (".",),
        lambda w: w.linear.register_parameter("a.b", w.nn.Parameter(w.nn.ones((1,)))),
    ),
    Bad(
        "load-misshapen",
        RuntimeError,
        ("weight", "(2, 3)", "(3, 2)"),
        lambda w: loaded(w, weight=np.ones((3, 2), np.float32)),
    ),
    Bad("load-missing", RuntimeError, ("bias",), lambda w: loaded(w, bias=None)),
    Bad(
        "load-unexpected",
        RuntimeError,
        ("stranger",),
        lambda w: loaded(w, stranger=np.ones(1, np.float32)),
    ),
    Bad("get-submodule", AttributeError, ("9",), lambda w: w.modules.get_submodule("9.cell")),
    Bad(
        "linear",
        ValueError,
        ("Linear", "(2, 4)", "in_features", "3"),
        lambda w: w.linear(w.zeros(2, 4)),
    ),
    Bad("embedding-floating", TypeError, ("Embedding", "float32"), lambda w: w.table(w.zeros(2))),
    Bad(
        "embedding-index",
        IndexError,
        ("Embedding", "5", "num_embeddings"),
        lambda w: w.table(w.nn.tensor([0, 5])),
    ),
    Bad("dropout", ValueError, ("Dropout", "p", "1.5"), lambda w: w.nn.Dropout(1.5)),
    Bad("gru-input", ValueError, ("GRU", "(4, 1, 2)", "3"), lambda w: w.gru(w.zeros(4, 1, 2))),
    Bad(
        "gru-state",
        ValueError,
        ("GRU", "h0", "(1, 1, 2)", "(1, 1, 3)"),
        lambda w: w.gru(w.zeros(4, 1, 3), w.zeros(1, 1, 3)),
    ),
    Bad("lstm-pair", ValueError, ("LSTM",), lambda w: w.lstm(w.zeros(4, 1, 3), w.zeros(1, 1, 2))),
    Bad(
        "cell-state",
        ValueError,
        ("RNNCell", "(4, 2)", "(3, 2)"),
        lambda w: w.cell(w.zeros(4, 3), w.zeros(3, 2)),
    ),
    Bad(
        "gru-dtype",
        TypeError,
        ("GRU", "float32", "float64"),
        lambda w: w.gru(w.nn.zeros((4, 1, 3), dtype=w.nn.float64)),
        "float64",
    ),
    Bad(
        "nonlinearity",
        ValueError,
        ("nonlinearity", "sine"),
        lambda w: w.nn.RNN(3, 2, nonlinearity="sine"),
    ),
]


# Bad calls of the chapters loss, optim, init and serialization.
CLASSES = "cross_entropy"
OF_TRAINING = [
    Bad(
        "mse-shapes",
        ValueError,
        ("mse_loss", "(2, 3)", "(3,)"),
        lambda w: w.nn.loss.mse_loss(w.weight, w.zeros(3)),
    ),
    Bad(
        "reduction",
        ValueError,
        ("mse_loss", "median", "mean", "sum", "none"),
        lambda w: w.nn.loss.mse_loss(w.weight, w.zeros(2, 3), reduction="median"),
    ),
    Bad(
        "target-shape",
        ValueError,
        (CLASSES, "(2, 3)", "(3,)"),
        lambda w: w.nn.loss.cross_entropy(w.weight, w.nn.tensor([0, 1, 2])),
    ),
    Bad(
        "target-floating",
        TypeError,
        (CLASSES, "float32"),
        lambda w: w.nn.loss.cross_entropy(w.weight, w.zeros(2)),
    ),
    Bad(
        "target-range",
        (ValueError, IndexError),
        (CLASSES, "3"),
        lambda w: w.nn.loss.cross_entropy(w.weight, w.nn.tensor([0, 3])),
    ),
    Bad("empty-optimizer", ValueError, ("SGD", "params"), lambda w: w.nn.optim.SGD([], 0.1)),
    Bad(
        "negative-lr",
        ValueError,
        ("Adam", "lr", "-1.0"),
        lambda w: w.nn.optim.Adam(w.linear.parameters(), lr=-1.0),
    ),
    Bad("optimizer-state", ValueError, ("SGD",), other_state),
    Bad("seed", (ValueError, TypeError), ("seed", "-1"), lambda w: w.nn.manual_seed(-1)),
    Bad(
        "xavier",
        ValueError,
        ("xavier_uniform_", "(2,)"),
        lambda w: w.nn.init.xavier_uniform_(w.linear.bias),
    ),
    Bad(
        "truncated-file",
        ValueError,
        ("load", "cut.safetensors"),
        lambda w: w.nn.load(w.cut),
        "serialization",
    ),
    Bad(
        "no-file",
        FileNotFoundError,
        ("nothing.safetensors",),
        lambda w: w.nn.load(w.folder / "nothing.safetensors"),
        "serialization",
    ),
    Bad(
        "save-text",
        TypeError,
        ("save", "note", "str"),
        lambda w: w.nn.save({"weight": w.weight, "note": "text"}, w.path),
        "serialization",
    ),
]


CALLS = [*OF_TENSORS, *OF_MODULES, *OF_TRAINING]
