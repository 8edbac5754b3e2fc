"""Functions, layers, functions of `ops` and losses, each as a function of Tensors of float64."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

import impl_torch_ext as nn
from impl_torch_ext import ops

D = torch.float64


class Case(NamedTuple):
    """What is transformed: `fn(x, *others)`, which returns a Tensor or a tuple of them."""

    fn: Callable[..., Any]
    tensors: tuple[Tensor, ...]
    # Which transforms it has no answer to, and why.
    without: Mapping[str, str] = MappingProxyType({})


CASES: dict[str, Callable[[], Case]] = {}


def case(name: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Add what makes a case."""

    def add(make: Callable[[], Case]) -> Callable[[], Case]:
        CASES[name] = make
        return make

    return add


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=D)


class Cube(nn.Function):
    """Saves an intermediate, and has configuration on the ctx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, *, factor: float) -> Tensor:
        square = x * x
        ctx.save_for_backward(x, square)
        ctx.factor = factor
        return factor * square * x

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        _, square = ctx.saved_tensors
        return grad_output * 3 * ctx.factor * square


class Scaled(nn.Function):
    """The instance spelling."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        self.save_for_backward(x, y)
        return self.factor * self.xp.sin(x) * y

    def backward(self, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        x, y = self.saved_tensors
        grad_x = grad_y = None
        if self.needs_input_grad[0]:
            grad_x = grad_output * self.factor * self.xp.cos(x) * y
        if self.needs_input_grad[1]:
            grad_y = grad_output * self.factor * self.xp.sin(x)
        return grad_x, grad_y


class Sorted(nn.Function):
    """Several outputs, one of integers, and a Tensor as a free attribute of the ctx."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> tuple[Tensor, ...]:
        values, places = torch.sort(x * x, dim=-1)
        ctx.mark_non_differentiable(places)
        ctx.places = places
        ctx.save_for_backward(x)
        return values, places, values.exp()

    @staticmethod
    def backward(ctx: Any, to_values: Tensor, _: Tensor, to_powers: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        values = torch.gather(x * x, -1, ctx.places)
        found = to_values + to_powers * values.exp()
        back = torch.argsort(ctx.places, dim=-1)
        return torch.gather(found, -1, back) * 2 * x


class Once(nn.Function):
    """Has no second derivative."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @nn.once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return grad_output * (1 - y * y)


class Straight(nn.Function):
    """The gradient is not that of the forward, so each derivative has to come from `backward`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.round(x)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * (1 + x * x)


class Written(nn.Function):
    """Writes into an array of its own where a condition holds, as NumPy programs do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(min=0) ** 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        grad = 2 * grad_output * x
        grad[x < 0] = 0
        return grad


class Read(nn.Function):
    """Reads a number, which is another one for each sample."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.shift = float(x.detach().max().round())
        ctx.save_for_backward(x)
        return (x - ctx.shift) ** 2

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad_output * 2 * (x - ctx.shift)


class Portable:
    """Written against `ctx.xp` alone."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        e = ctx.xp.exp(-x)
        y = 1 / (1 + e)
        ctx.save_for_backward(x, y)
        return x * y

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad_output * (y + x * y * (1 - y))


Swish = nn.as_function(Portable)

_ONCE = "its backward is marked once_differentiable"
_SECOND = dict.fromkeys(
    (
        "jvp",
        "dual numbers",
        "jacfwd",
        "hessian",
        "jacfwd(jacfwd)",
        "forward gradcheck",
        "gradgradcheck",
    ),
    _ONCE,
)
_READS = dict.fromkeys(
    ("compile eager", "compile aot_eager", "compile vmap", "export"),
    "it reads a number, which has no value while the compiler looks",
)
_CUTS = dict.fromkeys(
    ("hessian", "jacfwd(jacfwd)", "gradgradcheck"), "it cuts its own history (function-28)"
)
_NOT_ITS = dict.fromkeys(
    ("gradcheck", "gradgradcheck", "forward gradcheck"), "its gradient is another function's"
)


def _add_functions() -> None:
    rows: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...], dict[str, str]]] = {
        "static Function": (lambda x: Cube.apply(x, factor=0.5), ((2, 3),), {}),
        "instance Function": (lambda x, y: Scaled(1.5)(x, y), ((2, 3), (2, 3)), {}),
        "several outputs": (lambda x: Sorted.apply(x)[::2], ((2, 3),), {}),
        "once_differentiable": (lambda x: Once.apply(x), ((2, 3),), _SECOND),
        "straight-through": (lambda x: Straight.apply(x), ((2, 3),), _NOT_ITS),
        "writes in place": (lambda x: Written.apply(x), ((2, 3),), {}),
        "reads a number": (lambda x: Read.apply(x), ((2, 3),), {**_READS, **_CUTS}),
        "as_function": (lambda x: Swish.apply(x), ((2, 3),), {}),
        "Function of Functions": (
            lambda x, y: Swish.apply(Scaled(0.5)(Cube.apply(x, factor=0.3), y)),
            ((2, 3), (2, 3)),
            {},
        ),
    }
    for name, (fn, shapes, without) in rows.items():
        CASES[name] = lambda fn=fn, shapes=shapes, without=without: Case(
            fn, tuple(drawn(*shape) for shape in shapes), without
        )


_add_functions()


def _add_ops() -> None:
    index = torch.arange(20) % 3
    rows: dict[str, tuple[Callable[..., Any], tuple[tuple[int, ...], ...]]] = {
        "ops of one": (lambda x: ops.tanh(ops.abs(x)) + ops.exp(ops.sin(x)), ((2, 3),)),
        "ops.relu": (lambda x: ops.relu(x) * x, ((2, 3),)),
        "ops.clip": (lambda x: ops.clip(x, -0.5, 0.5) * x, ((2, 3),)),
        "ops.maximum": (lambda x, y: ops.maximum(x, y) * ops.minimum(x, y), ((2, 3), (3,))),
        "ops.max": (lambda x: ops.max(x * x, axis=0) + ops.min(x, axis=None), ((2, 3),)),
        "ops.take": (lambda x: ops.take(x * x, index, axis=1), ((2, 3),)),
        "ops.scatter_add": (
            lambda x, y: ops.scatter_add(x, torch.tensor([[0, 1, 0]] * 3), y * y, axis=0),
            ((2, 3), (3, 3)),
        ),
        "ops.power": (lambda x, y: ops.pow(ops.exp(x), y), ((2, 3), (3,))),
        "ops.elu, gelu": (lambda x: ops.elu(x) + ops.gelu(x), ((2, 3),)),
        "ops.softmax": (lambda x: ops.softmax(x) + ops.log_softmax(x, axis=0), ((2, 3),)),
        "ops.linear_recurrence": (
            lambda a, b, h: ops.linear_recurrence(a, b, h, axis=1),
            ((2, 3), (2, 3), (2,)),
        ),
        "ops.einsum": (lambda x, y: ops.einsum("ij,kj->ik", x, y), ((2, 3), (4, 3))),
        "ops.logsumexp, cumsum": (
            lambda x: ops.cumulative_sum(x, axis=1) * ops.logsumexp(x, axis=1, keepdims=True),
            ((2, 3),),
        ),
    }
    for name, (fn, shapes) in rows.items():
        CASES[name] = lambda fn=fn, shapes=shapes: Case(fn, tuple(drawn(*s) for s in shapes))


_add_ops()


def of_module(module: nn.Module, x: Tensor, *inputs: Any, **options: Any) -> Case:
    """Return a Module as a function of its input and its parameters."""
    names = [name for name, _ in module.named_parameters()]
    values = tuple(p.detach().clone().as_subclass(Tensor) for p in module.parameters())
    count = sum(isinstance(item, Tensor) for item in inputs)

    def fn(x: Tensor, *others: Tensor) -> Any:
        parameters = dict(zip(names, others[count:], strict=True))
        result = torch.func.functional_call(module, parameters, (x, *others[:count]), options)
        return flat(result)

    return Case(fn, (x, *inputs, *values))


def flat(result: Any) -> Any:
    """Return a Tensor, or the Tensors of nested tuples as one tuple."""
    if isinstance(result, Tensor):
        return result
    return tuple(
        y
        for item in result
        if item is not None
        for y in ((item,) if isinstance(item, Tensor) else flat(item))
    )


def _add_layers() -> None:
    rows: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
        "Linear, ReLU": (lambda: nn.Sequential(nn.Linear(3, 4, dtype=D), nn.ReLU()), (2, 3)),
        "Conv1d": (lambda: nn.Conv1d(2, 3, 2, dtype=D), (2, 2, 4)),
        "RMSNorm": (lambda: nn.RMSNorm(3, dtype=D), (2, 3)),
        "GroupNorm": (lambda: nn.GroupNorm(2, 4, dtype=D), (2, 4, 3)),
        "MaxPool1d": (lambda: nn.MaxPool1d(2), (2, 2, 4)),
        "AvgPool1d": (lambda: nn.AvgPool1d(2), (2, 2, 4)),
        "GELU, SiLU": (lambda: nn.Sequential(nn.GELU(), nn.SiLU()), (2, 3)),
    }
    for name, (make, shape) in rows.items():
        CASES[name] = lambda make=make, shape=shape: of_module(make(), drawn(*shape))


_add_layers()


@case("LayerNorm")
def _layer_norm() -> Case:
    reason = "torch's own layer_norm is wrong there: the second derivative of its forward mode"
    made = of_module(nn.LayerNorm(3, dtype=D), drawn(2, 3))
    return made._replace(without={"jacfwd(jacfwd)": reason})


@case("Embedding")
def _embedding() -> Case:
    table, index = nn.Embedding(5, 3, dtype=D), torch.tensor([[0, 2], [2, 4]])
    weight = table.weight.detach().clone().as_subclass(Tensor)
    return Case(lambda w: torch.func.functional_call(table, {"weight": w}, (index,)), (weight,))


def attention(**options: Any) -> Case:
    layer = nn.MultiheadAttention(4, 2, dtype=D)
    x = drawn(3, 2, 4)
    made = of_module(layer, x)
    names = [name for name, _ in layer.named_parameters()]

    def fn(x: Tensor, *values: Tensor) -> Tensor:
        parameters = dict(zip(names, values, strict=True))
        return torch.func.functional_call(layer, parameters, (x, x, x), options)[0]

    return Case(fn, made.tensors)


@case("MultiheadAttention")
def _attention() -> Case:
    return attention()


@case("attention with masks")
def _masked() -> Case:
    mask = torch.ones(3, 3, dtype=torch.bool).triu(1)
    padding = torch.tensor([[False, False, True], [False, False, False]])
    return attention(attn_mask=mask, key_padding_mask=padding)


LENGTHS = [2, 3]
RESETS = torch.tensor([[False, False], [False, True], [True, False]])


# How many rows are there is known when the program runs, and torch.vmap wants it before.
_UNKNOWN = {"compile vmap": "torch.vmap takes no sizes that are not known yet"}


def _add_recurrent() -> None:
    x, h = (3, 2, 2), (1, 2, 3)
    rows: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...], dict[str, Any]]] = {
        "RNN": (lambda: nn.RNN(2, 3, dtype=D), (x, h), {}),
        "RNN relu": (lambda: nn.RNN(2, 3, nonlinearity="relu", dtype=D), (x,), {}),
        "LSTM": (lambda: nn.LSTM(2, 3, dtype=D), (x,), {}),
        "GRU": (lambda: nn.GRU(2, 3, dtype=D), (x, h), {}),
        "GRU of two layers, both ways": (
            lambda: nn.GRU(2, 3, 2, bidirectional=True, batch_first=True, dtype=D),
            ((2, 3, 2),),
            {},
        ),
        "LSTM with projection": (lambda: nn.LSTM(2, 3, proj_size=2, dtype=D), (x,), {}),
        "LSTM without biases": (lambda: nn.LSTM(2, 3, bias=False, dtype=D), (x,), {}),
        "GRU with lengths": (lambda: nn.GRU(2, 3, dtype=D), (x,), {"lengths": LENGTHS}),
        "LSTM with resets": (lambda: nn.LSTM(2, 3, dtype=D), (x,), {"reset_mask": RESETS}),
        "RNN with lengths, both ways": (
            lambda: nn.RNN(2, 3, bidirectional=True, dtype=D),
            (x,),
            {"lengths": LENGTHS},
        ),
        "RNNCell": (lambda: nn.RNNCell(2, 3, dtype=D), ((2, 2), (2, 3)), {}),
        "LSTMCell": (lambda: nn.LSTMCell(2, 3, dtype=D), ((2, 2),), {}),
        "GRUCell": (lambda: nn.GRUCell(2, 3, dtype=D), ((2, 2), (2, 3)), {}),
    }
    for name, (make, shapes, options) in rows.items():
        CASES[name] = lambda make=make, shapes=shapes, options=options: of_module(
            make(), *(drawn(*shape) for shape in shapes), **options
        )._replace(without={} if not options else _UNKNOWN)


_add_recurrent()


class Unrolled(nn.Module):
    """A cell over a sequence."""

    def __init__(self, cell: nn.Module, **options: Any) -> None:
        super().__init__()
        self.cell, self.options = cell, options

    def forward(self, x: Tensor) -> Any:
        return nn.rnn.unroll(self.cell, x, **self.options)


@case("unroll of GRUCell")
def _unrolled() -> Case:
    return of_module(Unrolled(nn.GRUCell(2, 3, dtype=D)), drawn(3, 2, 2))


@case("unroll with lengths")
def _unrolled_lengths() -> Case:
    return of_module(Unrolled(nn.GRUCell(2, 3, dtype=D), lengths=LENGTHS), drawn(3, 2, 2))


def _add_losses() -> None:
    kinds = torch.tensor([0, 2])
    rows: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
        "mse_loss": (nn.loss.mse_loss, ((2, 3), (2, 3))),
        "huber_loss": (nn.loss.huber_loss, ((2, 3), (2, 3))),
        "cross_entropy": (lambda x: nn.loss.cross_entropy(x, kinds), ((2, 3),)),
        "bce_with_logits": (
            lambda x: nn.loss.binary_cross_entropy_with_logits(x, torch.ones_like(x) / 3),
            ((2, 3),),
        ),
    }
    for name, (fn, shapes) in rows.items():
        CASES[name] = lambda fn=fn, shapes=shapes: Case(fn, tuple(drawn(*s) for s in shapes))


_add_losses()
