"""The programs of the table of transforms: Modules of one small input, that can be pickled."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from spec_tests.support.inputs import distinct, normal

SHAPE = (3, 2)
LENGTH, RESETS = (2,), (False, True, False)


class Scale:
    """A portable class: tanh(x) * y, with an option."""

    @staticmethod
    def forward(ctx: Any, x: Any, y: Any, *, factor: float = 1.0) -> Any:
        """Return ``tanh(x) * y * factor``."""
        ctx.save_for_backward(x, y)
        ctx.factor = factor
        return ctx.xp.tanh(x) * y * factor

    @staticmethod
    def backward(ctx: Any, grad_output: Any) -> Any:
        """Return the gradients to x and y."""
        x, y = ctx.saved_tensors
        t = ctx.xp.tanh(x)
        inner = grad_output * ctx.factor
        return inner * (1 - t * t) * y, inner * t


class Case(NamedTuple):
    """What a program is made of, and how it is compared.

    Attributes
    ----------
    make : callable
        ``make(nn, dtype)`` returns what the Module keeps under the name `part`, or None.
    run : callable
        ``run(nn, module, x)`` is its forward.
    tolerance : str
        The class of numerics.md of values and gradients.
    """

    make: Callable[[Any, Any], Any]
    run: Callable[[Any, Any, Any], Any]
    tolerance: str = "gradient"


def program(nn: Any, name: str, dtype: str) -> Any:
    """Return the Module of a row; it has a weight of the input's shape, and what `make` gives."""
    nn.manual_seed(3)
    return _class_of(nn)(name, dtype)


def inputs(dtype: str) -> np.ndarray:
    """Return an input without ties."""
    return distinct(SHAPE, dtype, seed=1)


def _class_of(nn: Any) -> Any:
    """Return the class of the programs of an implementation, which a pickle finds by its name."""
    name = f"Program_of_{nn.__name__}"
    if name not in globals():

        class Program(nn.Module):
            def __init__(self, case: str, dtype: str) -> None:
                super().__init__()
                self.case = case
                self.weight = nn.Parameter(nn.tensor(normal(SHAPE, dtype, seed=2)))
                self.part = CASES[case].make(nn, getattr(nn, dtype))

            def forward(self, x: Any) -> Any:
                return CASES[self.case].run(nn, self, x)

        Program.__qualname__ = Program.__name__ = name
        globals()[name] = Program
    return globals()[name]


def functions_of(nn: Any) -> dict[str, Any]:
    """Return the Functions of an implementation, made once."""
    name = f"functions_of_{nn.__name__}"
    if name not in globals():

        class Instance(nn.Function):
            def __init__(self, factor: float) -> None:
                self.factor = factor

            def forward(self, x: Any, y: Any) -> Any:
                self.save_for_backward(x, y)
                return x * x * y * self.factor, x + y

            def backward(self, first: Any, second: Any) -> Any:
                x, y = self.saved_tensors
                inner = first * self.factor
                return 2 * inner * x * y + second, inner * x * x + second

        class Once(nn.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x)
                return x * x

            @staticmethod
            @nn.once_differentiable
            def backward(ctx: Any, grad_output: Any) -> Any:
                (x,) = ctx.saved_tensors
                return 2 * x * grad_output

        globals()[name] = {
            "static": type("Static", (nn.Function,), dict(vars(Scale))),
            "instance": Instance,
            "portable": nn.as_function(Scale),
            "once": Once,
        }
    found: dict[str, Any] = globals()[name]
    return found


def _nothing(nn: Any, dtype: Any) -> None:
    return None


def _elementwise(nn: Any, module: Any, x: Any) -> Any:
    return nn.ops.tanh(x) * nn.ops.exp(module.weight) + nn.ops.where(x > 0, x * x, -x)


def _reduction(nn: Any, module: Any, x: Any) -> Any:
    y = nn.ops.logsumexp(x * module.weight, axis=0)
    return y + nn.ops.std(x, axis=0) + nn.ops.max(x, axis=0) + nn.ops.mean(x)


def _matmul(nn: Any, module: Any, x: Any) -> Any:
    return x @ nn.ops.matrix_transpose(module.weight) + nn.ops.einsum("ij,kj->ik", x, x)


def _linalg(nn: Any, module: Any, x: Any) -> Any:
    a = nn.ops.matrix_transpose(x) @ x + 2 * nn.eye(2, dtype=x.dtype)
    y = nn.ops.linalg.solve(a, nn.ops.matrix_transpose(module.weight))
    return y + nn.ops.linalg.det(a) + nn.ops.sum(nn.ops.linalg.cholesky(a))


def _fft(nn: Any, module: Any, x: Any) -> Any:
    spectrum = nn.ops.fft.rfft(x, axis=0) * nn.ops.fft.rfft(module.weight, axis=0)
    return nn.ops.fft.irfft(spectrum, n=3, axis=0)


def _order(nn: Any, module: Any, x: Any) -> Any:
    y = nn.ops.sort(x, axis=0) * module.weight
    return nn.ops.cumulative_sum(y * y, axis=0) + nn.ops.take_along_axis(
        x, nn.ops.argsort(x, axis=0), axis=0
    )


def _indexing(nn: Any, module: Any, x: Any) -> Any:
    places = nn.ops.argsort(x[:, 0])
    y = x[places][1:] * module.weight[[0, 0]]
    y = y + nn.ops.take(x, nn.tensor([2, -1]), axis=0) * x[:2]
    return nn.ops.put(y * y, (slice(None), 0), x[0, 1] * y[:, 1])


def _function(kind: str) -> Callable[[Any, Any, Any], Any]:
    def run(nn: Any, module: Any, x: Any) -> Any:
        return functions_of(nn)[kind].apply(x, module.weight, factor=2.0)

    return run


def _instance(nn: Any, module: Any, x: Any) -> Any:
    first, second = functions_of(nn)["instance"](2.0)(x, module.weight)
    return first * second


def _once(nn: Any, module: Any, x: Any) -> Any:
    return functions_of(nn)["once"].apply(x) * module.weight


def _layer(nn: Any, module: Any, x: Any) -> Any:
    return module.part(x * module.weight)


def _recurrent(nn: Any, module: Any, x: Any) -> Any:
    return module.part(x * module.weight)[0]


def _lengths(nn: Any, module: Any, x: Any) -> Any:
    return module.part((x * module.weight)[:, None], lengths=list(LENGTH))[0]


def _resets(nn: Any, module: Any, x: Any) -> Any:
    return module.part(x * module.weight, reset_mask=nn.tensor(list(RESETS)))[0]


def _attention(nn: Any, module: Any, x: Any) -> Any:
    y = x * module.weight
    return module.part(y, x, y)[0]


def _embedding(nn: Any, module: Any, x: Any) -> Any:
    return module.part(nn.ops.argsort(x[:, 0])) * x * module.weight


def _loss(nn: Any, module: Any, x: Any) -> Any:
    y = x * module.weight
    entropy = nn.loss.cross_entropy(y, nn.tensor([0, 1, 1]), reduction="none")
    return entropy + nn.loss.huber_loss(y, module.weight) + nn.loss.mse_loss(x, y * y)


def _cell(nn: Any, module: Any, x: Any) -> Any:
    h, c = module.part(x * module.weight)
    return h * c


def _unroll(nn: Any, module: Any, x: Any) -> Any:
    return nn.rnn.unroll(module.part, (x * module.weight)[:, None])[0]


def _scan(nn: Any, module: Any, x: Any) -> Any:
    return nn.ops.linear_recurrence(nn.ops.sigmoid(x), x * module.weight, module.weight[0])


def _batch_norm(nn: Any, dtype: Any) -> Any:
    # Without a large `eps` the sum of the squares is constant, and its derivatives are nothing.
    return nn.BatchNorm1d(2, eps=0.5, dtype=dtype)


def _sequential(nn: Any, dtype: Any) -> Any:
    return nn.Sequential(
        nn.Linear(2, 4, dtype=dtype),
        nn.LayerNorm(4, dtype=dtype),
        nn.GELU(),
        nn.Linear(4, 2, dtype=dtype),
    )


def _rnn(kind: str, **options: Any) -> Callable[[Any, Any], Any]:
    return lambda nn, dtype: getattr(nn, kind)(2, 3, dtype=dtype, **options)


CASES: dict[str, Case] = {
    "elementwise": Case(_nothing, _elementwise),
    "reduction": Case(_nothing, _reduction),
    "matmul": Case(_nothing, _matmul),
    "linalg": Case(_nothing, _linalg),
    "fft": Case(_nothing, _fft),
    "order": Case(_nothing, _order),
    "indexing": Case(_nothing, _indexing),
    "linear_recurrence": Case(_nothing, _scan),
    "Function": Case(_nothing, _function("static")),
    "instance Function": Case(_nothing, _instance),
    "portable Function": Case(_nothing, _function("portable")),
    "once_differentiable": Case(_nothing, _once),
    "Linear": Case(lambda nn, dtype: nn.Linear(2, 3, dtype=dtype), _layer),
    "Embedding": Case(lambda nn, dtype: nn.Embedding(3, 2, dtype=dtype), _embedding),
    "Conv1d": Case(lambda nn, dtype: nn.Conv1d(3, 2, 2, padding=1, dtype=dtype), _layer),
    "MaxPool1d": Case(lambda nn, dtype: nn.MaxPool1d(2), _layer),
    "LayerNorm": Case(lambda nn, dtype: nn.LayerNorm(2, eps=0.5, dtype=dtype), _layer),
    "BatchNorm1d in eval": Case(lambda nn, dtype: _batch_norm(nn, dtype).eval(), _layer),
    "BatchNorm1d in train": Case(_batch_norm, _layer),
    "MultiheadAttention": Case(
        lambda nn, dtype: nn.MultiheadAttention(2, 1, dtype=dtype), _attention
    ),
    "Dropout in train": Case(lambda nn, dtype: nn.Dropout(0.5), _layer),
    "loss": Case(_nothing, _loss),
    "RNN": Case(_rnn("RNN"), _recurrent, "rnn"),
    "GRU": Case(_rnn("GRU"), _recurrent, "rnn"),
    "LSTM": Case(_rnn("LSTM"), _recurrent, "rnn"),
    "LSTM of two layers, both directions": Case(
        _rnn("LSTM", num_layers=2, bidirectional=True), _recurrent, "rnn"
    ),
    "LSTM with projection": Case(_rnn("LSTM", proj_size=2), _recurrent, "rnn"),
    "GRU with lengths": Case(_rnn("GRU"), _lengths, "rnn"),
    "GRU with resets": Case(_rnn("GRU"), _resets, "rnn"),
    "LSTMCell": Case(lambda nn, dtype: nn.LSTMCell(2, 3, dtype=dtype), _cell, "rnn"),
    "unroll": Case(lambda nn, dtype: nn.GRUCell(2, 3, dtype=dtype), _unroll, "rnn"),
    "Sequential": Case(_sequential, _layer),
}
