"""impl_numpy whose every function is off by ten of its tolerances, in its values or its gradients.

The implementation is as it is; what is wrong are the names that the suite finds in these modules.
A tolerance is so many eps of the element and as many of the largest element: the largest one is off
by ten where all are multiplied by 1 and twenty times the figure.
"""

import inspect
from types import ModuleType

import numpy as np

import impl_numpy as right
from spec_tests.judge import tables
from spec_tests.judge.clauses import tolerances

OPTIMIZERS = [
    getattr(right.optim, name) for name in ("SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "LBFGS")
]
LAYERS = ("RNN", "LSTM", "GRU", "RNNCell", "LSTMCell", "GRUCell")
# To float32 by a class of its own, to float64 against differences.
BY_DIFFERENCES = {"float32": "gradient", "float64": "difference"}


def twenty(name, dtype):
    """Return twenty times the figure of a class."""
    return 20 * tolerances()[name][np.finfo(dtype).dtype.name]


class Scaled(right.Function):
    """Itself, with a gradient that is multiplied by a factor."""

    @staticmethod
    def forward(ctx, x, factor):
        ctx.factor = factor
        return x * 1

    @staticmethod
    def backward(ctx, grad):
        return grad * grad.dtype.type(ctx.factor), None


def off(array, name):
    kind = array.dtype.type
    if name == "exact":
        return np.nextafter(array, kind(np.inf))
    by = twenty(name, array.dtype)
    # What is 0 everywhere is off by as much of 1.
    return array * kind(1 + by) if array.any() else array + kind(by)


class Replaced(right.Function):
    """Other numbers, with the gradient of the first ones."""

    @staticmethod
    def forward(ctx, x, numbers):
        return numbers

    @staticmethod
    def backward(ctx, grad):
        return grad, None


def with_value_off(x, name):
    return Replaced.apply(x, off(x.detach().numpy(), name(x)))


def with_gradient_off(x, name):
    return Scaled.apply(x, 1 + twenty(name(x), x.data.dtype)) if x.requires_grad else x


def each(value, how):
    """Apply a function to the floating and complex Tensors of a result or of arguments."""
    if isinstance(value, right.Tensor):
        return how(value) if value.data.dtype.kind in "fc" else value
    if isinstance(value, tuple | list):
        parts = [each(part, how) for part in value]
        return value._make(parts) if hasattr(value, "_make") else type(value)(parts)
    return value


def of_results(how):
    """Return what spoils a function by what it returns."""

    def spoil(function, name):
        def call(*args, **kwargs):
            return each(function(*args, **kwargs), lambda x: how(x, name))

        call.__signature__ = inspect.signature(function)
        return call

    return spoil


def of_arguments(function, name):
    def call(*args, **kwargs):
        args = each(args, lambda x: with_gradient_off(x, name))
        return function(*args, **kwargs)

    call.__signature__ = inspect.signature(function)
    return call


def wrong_module(cls, spoil, name):
    return type(cls.__name__, (cls,), {"forward": spoil(cls.forward, name)})


def wrong_optimizer(cls):
    def step(self, *args):
        result = cls.step(self, *args)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data = off(parameter.data, "optim")
        return result

    return type(cls.__name__, (cls,), {"step": step})


def class_of_values(row):
    return lambda x: row.tolerance


def class_of_gradients(row):
    if row.chapter in ("ops", "linalg"):
        return lambda x: BY_DIFFERENCES[x.data.dtype.name]
    return lambda x: "rnn" if row.name == "ctc_loss" else "gradient"


def changed(of, **names):
    module = ModuleType(of.__name__)
    vars(module).update(vars(of), **names)
    return module


def implementation(*, gradients):
    """Return the module with all values, or all gradients, off."""
    class_of = class_of_gradients if gradients else class_of_values
    spoil = spoil_module = of_results(with_value_off)
    if gradients:
        # The gradients of a Module's parameters too, which are no arguments.
        spoil, spoil_module = of_arguments, of_results(with_gradient_off)
    places = {"ops": right.ops, "linalg": right.ops.linalg, "fft": right.ops.fft}
    places["loss"] = right.loss
    wrong = {chapter: {} for chapter in (*places, "nn")}
    for row in tables.read().values():
        if row.tolerance is None or row.chapter not in wrong:
            continue
        if row.chapter == "nn":
            cls = getattr(right, row.name)
            wrong["nn"][row.name] = wrong_module(cls, spoil_module, class_of(row))
        else:
            function = getattr(places[row.chapter], row.name)
            wrong[row.chapter][row.name] = spoil(function, class_of(row))
    for name in LAYERS:
        wrong["nn"][name] = wrong_module(getattr(right, name), spoil_module, lambda x: "rnn")
    optimizers = {} if gradients else {cls.__name__: wrong_optimizer(cls) for cls in OPTIMIZERS}
    parts = {part: changed(places[part], **wrong[part]) for part in ("linalg", "fft")}
    return changed(
        right,
        **wrong["nn"],
        ops=changed(right.ops, **wrong["ops"], **parts),
        loss=changed(right.loss, **wrong["loss"]),
        optim=changed(right.optim, **optimizers),
    )
