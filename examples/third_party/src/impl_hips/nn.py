"""Linear, activations, recurrent cells, a loss and an optimizer."""

import math

import numpy as np

from impl_hips import dtypes, ops
from impl_hips.module import Module, Parameter
from impl_hips.random import init
from impl_hips.tensor import Tensor


def positive(name, argument, value):
    """Check a size (errors-05)."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        msg = f"{name}: {argument} must be an int, got {value!r}"
        raise TypeError(msg)
    if value <= 0:
        msg = f"{name}: {argument} must be positive, got {value}"
        raise ValueError(msg)
    return int(value)


class _Drawn(Module):
    """A Module whose Parameters are drawn from [-k, k) in the order of their registration."""

    def draw(self, shapes, bias, dtype, k):
        dtype = dtypes.named(type(self).__name__, "float32" if dtype is None else dtype)
        if dtype.kind != "f":
            msg = f"{type(self).__name__}: dtype must be floating, got {dtype}"
            raise TypeError(msg)
        for name, shape in shapes.items():
            if name.startswith("bias") and not bias:
                self.register_parameter(name, None)
            else:
                self.register_parameter(name, Parameter(np.zeros(shape, dtype)))
        for parameter in self.parameters():
            init.uniform_(parameter, -k, k)

    def check(self, argument, x, size, dtype, called="features"):
        """Refuse another number of features or another dtype."""
        name = type(self).__name__
        if not isinstance(x, Tensor):
            if not isinstance(x, np.ndarray):
                msg = f"{name}: {argument} must be a Tensor, got {type(x).__name__}"
                raise TypeError(msg)
            x = Tensor(x)
        if x.dtype != dtype:
            msg = f"{name}: {argument} must have dtype {dtype}, got {x.dtype}"
            raise TypeError(msg)
        if x.ndim == 0 or x.shape[-1] != size:
            msg = f"{name}: {argument} must have shape (*, {called}) = (*, {size}), got {x.shape}"
            raise ValueError(msg)
        return x


class Linear(_Drawn):
    """`y = input @ weight.T + bias` (nn-01)."""

    def __init__(self, in_features, out_features, bias=True, *, dtype=None):
        super().__init__()
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        shapes = {"weight": (out_features, in_features), "bias": (out_features,)}
        self.draw(shapes, bias, dtype, 1 / math.sqrt(in_features))

    def forward(self, input):
        """Take input (*, in_features)."""
        input = self.check("input", input, self.in_features, self.weight.dtype, "in_features")
        return linear(input, self.weight, self.bias)

    def extra_repr(self):
        """As torch's."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"


def linear(x, weight, bias):
    """Return x weight^T + bias."""
    product = ops.matmul(x, ops.matrix_transpose(weight))
    return product if bias is None else product + bias


def activation(name, function):
    """Make a Module of a function of one Tensor (nn-06)."""

    def forward(self, input):
        return function(input)

    return type(
        name, (Module,), {"forward": forward, "__init__": lambda self: Module.__init__(self)}
    )


ReLU = activation("ReLU", ops.relu)
Tanh = activation("Tanh", ops.tanh)
Sigmoid = activation("Sigmoid", ops.sigmoid)
SiLU = activation("SiLU", ops.silu)


class Identity(Module):
    """Its input."""

    def __init__(self, *args, **kwargs):
        super().__init__()

    def forward(self, input):
        """Hand on."""
        return input


class _Cell(_Drawn):
    GATES = 1

    def __init__(self, input_size, hidden_size, bias=True, *, dtype=None):
        super().__init__()
        name = type(self).__name__
        self.input_size = positive(name, "input_size", input_size)
        self.hidden_size = positive(name, "hidden_size", hidden_size)
        rows = self.GATES * hidden_size
        shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, hidden_size)}
        shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        self.draw(shapes, bias, dtype, 1 / math.sqrt(hidden_size))

    def state(self, argument, input, hx):
        """Check a state, or make zeros."""
        shape = (*input.shape[:-1], self.hidden_size)
        if hx is None:
            return Tensor(np.zeros(shape, input.dtype))
        hx = self.check(argument, hx, self.hidden_size, self.weight_ih.dtype)
        if hx.shape != shape:
            msg = f"{type(self).__name__}: {argument} must have shape {shape}, got {hx.shape}"
            raise ValueError(msg)
        return hx

    def input(self, input):
        """Check an input (N, I) or (I,)."""
        input = self.check("input", input, self.input_size, self.weight_ih.dtype)
        if input.ndim > 2:
            wanted = f"(N, {self.input_size})"
            msg = f"{type(self).__name__}: input must have shape {wanted}, got {input.shape}"
            raise ValueError(msg)
        return input

    def parts(self, gates):
        """Part the rows of the gates."""
        size = self.hidden_size
        return [gates[..., k * size : (k + 1) * size] for k in range(self.GATES)]

    def extra_repr(self):
        """As torch's."""
        no_bias = "" if self.bias_ih is not None else ", bias=False"
        return f"{self.input_size}, {self.hidden_size}{no_bias}"


class RNNCell(_Cell):
    """`h' = tanh(W_ih x + b_ih + W_hh h + b_hh)`, or relu (rnn-02)."""

    def __init__(self, input_size, hidden_size, bias=True, nonlinearity="tanh", *, dtype=None):
        if nonlinearity not in ("tanh", "relu"):
            msg = f"RNNCell: nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}"
            raise ValueError(msg)
        super().__init__(input_size, hidden_size, bias, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """Take input (N, I) and hx (N, H) to h'."""
        input = self.input(input)
        h = self.state("hx", input, hx)
        total = linear(input, self.weight_ih, self.bias_ih) + linear(
            h, self.weight_hh, self.bias_hh
        )
        return getattr(ops, self.nonlinearity)(total)

    def extra_repr(self):
        """As torch's."""
        other = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity}"
        return super().extra_repr() + other


class LSTMCell(_Cell):
    """Rows ordered i, f, g, o (rnn-03)."""

    GATES = 4

    def forward(self, input, hx=None):
        """Take input and (h, c) to (h', c')."""
        input = self.input(input)
        if hx is not None and (not isinstance(hx, (tuple, list)) or len(hx) != 2):
            msg = f"LSTMCell: hx must be a pair (h, c), got {type(hx).__name__}"
            raise ValueError(msg)
        h, c = (self.state("hx", input, part) for part in (hx or (None, None)))
        total = linear(input, self.weight_ih, self.bias_ih) + linear(
            h, self.weight_hh, self.bias_hh
        )
        i, f, g, o = self.parts(total)
        c = ops.sigmoid(f) * c + ops.sigmoid(i) * ops.tanh(g)
        return ops.sigmoid(o) * ops.tanh(c), c


class GRUCell(_Cell):
    """Rows ordered r, z, n (rnn-04)."""

    GATES = 3

    def forward(self, input, hx=None):
        """Take input (N, I) and hx (N, H) to h'."""
        input = self.input(input)
        h = self.state("hx", input, hx)
        ours = self.parts(linear(input, self.weight_ih, self.bias_ih))
        theirs = self.parts(linear(h, self.weight_hh, self.bias_hh))
        r, z = (ops.sigmoid(a + b) for a, b in zip(ours[:2], theirs[:2], strict=True))
        n = ops.tanh(ours[2] + r * theirs[2])
        return (1 - z) * n + z * h


class loss:
    """`nn.loss`, as far as it goes."""

    @staticmethod
    def mse_loss(input, target, reduction="mean"):
        """Return the mean of squares (loss-01)."""
        if reduction not in ("mean", "sum", "none"):
            msg = f"mse_loss: reduction must be 'mean', 'sum' or 'none', got {reduction!r}"
            raise ValueError(msg)
        if input.shape != target.shape:
            shapes = f"{input.shape} and {target.shape}"
            msg = f"mse_loss: input and target must have one shape, got {shapes}"
            raise ValueError(msg)
        squares = ops.square(ops.subtract(input, target))
        return squares if reduction == "none" else getattr(ops, reduction)(squares)


class optim:
    """`nn.optim`, as far as it goes."""

    class SGD:
        """Plain steps against the gradient."""

        def __init__(self, params, lr=0.001):
            self.params, self.lr = list(params), lr

        def zero_grad(self):
            """Make every `grad` None."""
            for parameter in self.params:
                parameter.grad = None

        def step(self):
            """Take one step."""
            for parameter in self.params:
                if parameter.grad is not None:
                    step = parameter.dtype.type(self.lr) * parameter.grad.data
                    parameter.data = parameter.data - step
