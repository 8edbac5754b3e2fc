"""`nn.ops`: rows of ops.md, each from a function that HIPS autograd differentiates."""

import builtins
import inspect
import math

import autograd.numpy as anp
import numpy as np

from impl_hips import convert, dtypes, formulas
from impl_hips.arguments import (
    FLOAT,
    axes_of,
    cast,
    check_device,
    counted,
    counting,
    filled,
    flipped,
    integers_as_they_are,
    log_softmax,
    mean,
    rolled,
    summed,
    unit,
)
from impl_hips.tensor import Tensor, record

__all__ = []  # filled by `row`
e, pi, inf, nan, newaxis = math.e, math.pi, math.inf, math.nan, None
__array_api_version__ = "2025.12"
_EMPTY = inspect.Parameter.empty


def row(signature):
    """Register a function under the signature of its row; bad calls name it (ops-13)."""
    name, _, parameters = signature.partition("(")
    stub = {"nan": nan}
    exec(f"def {name}({parameters}: pass", stub)  # a literal of this file
    shown = inspect.signature(stub[name])
    flags = [key for key, it in shown.parameters.items() if isinstance(it.default, builtins.bool)]

    def register(function):
        def call(*args, **kwargs):
            try:
                bound = shown.bind(*args, **kwargs)
            except TypeError as error:
                msg = f"{name}: {error}"
                raise TypeError(msg) from None
            for key in flags:
                if not isinstance(bound.arguments.get(key, False), (int, np.bool_)):
                    msg = f"{name}: {key} must be True or False, got {bound.arguments[key]!r}"
                    raise TypeError(msg)
            return function(*bound.args, **bound.kwargs)

        call.__name__ = call.__qualname__ = name
        call.__signature__, call.__doc__ = shown, function.__doc__ or f"See {name} in ops.md."
        globals()[name] = call
        __all__.append(name)
        return call

    return register


def unary(name, function, kinds="biuf", to_float=False):
    """Register a row of the table `unary`; `kinds` are those that it takes."""

    def run(x):
        x = convert.tensor_of(name, x)
        if x.dtype.kind not in kinds:
            msg = f"{name}: does not take {x.dtype}"
            raise TypeError(msg)
        wide = FLOAT if to_float and x.dtype.kind != "f" else x.dtype
        return record(name, lambda a: function(cast(a, wide)), x)

    row(f"{name}(x, /)")(run)


def binary(name, function, kinds="biuf", to_float=False):
    """Register a row of the table `binary`."""

    def run(x1, x2):
        (x1, x2), common = convert.together(name, x1, x2)
        if common.kind not in kinds:
            msg = f"{name}: does not take {common}"
            raise TypeError(msg)
        common = FLOAT if to_float and common.kind != "f" else common
        return record(name, lambda a, b: function(cast(a, common), cast(b, common)), x1, x2)

    row(f"{name}(x1, x2, /)")(run)


for _name, _function in {
    "exp": formulas.exp, "log": formulas.log, "sqrt": formulas.sqrt, "tanh": formulas.tanh,
    "sin": anp.sin, "cos": anp.cos, "sigmoid": formulas.sigmoid, "expm1": formulas.expm1,
    "reciprocal": formulas.reciprocal, "log1p": formulas.log1p, "log2": formulas.log2,
    "log10": formulas.log10, "tan": anp.tan, "asin": anp.arcsin, "acos": anp.arccos,
    "atan": formulas.atan, "sinh": anp.sinh, "cosh": anp.cosh, "asinh": formulas.asinh,
    "acosh": anp.arccosh, "atanh": anp.arctanh, "silu": formulas.silu,
    "softplus": formulas.softplus, "erf": formulas.erf,
}.items():  # fmt: skip
    unary(_name, _function, to_float=True)
unary("abs", formulas.absolute)
unary("negative", anp.negative, "iuf")
unary("square", lambda x: x * x if x.dtype.kind != "b" else x.astype(np.int64))
unary("sign", formulas.stepped(np.sign), "iuf")
unary("relu", formulas.relu, "iuf")
unary("positive", lambda x: anp.array(x), "iuf")
for _name, _function in {
    "ceil": np.ceil,
    "floor": np.floor,
    "trunc": np.trunc,
    "round": np.rint,
}.items():
    unary(_name, integers_as_they_are(_function), "iuf")
unary("bitwise_invert", np.invert, "biu")
for _name in ("isnan", "isfinite", "isinf", "logical_not"):
    unary(_name, getattr(anp, _name))
unary("signbit", lambda x: np.signbit(getattr(x, "_value", x)), "f")
binary("add", anp.add)
binary("subtract", anp.subtract, "iuf")
binary("multiply", anp.multiply)
binary("divide", anp.divide, to_float=True)
binary("pow", lambda x, y: anp.power(x, y))
binary("maximum", formulas.larger)
binary("minimum", formulas.smaller)
binary("atan2", anp.arctan2, to_float=True)
binary("logaddexp", anp.logaddexp, to_float=True)
for _name in ("and", "or", "xor"):
    binary(f"bitwise_{_name}", getattr(np, f"bitwise_{_name}"), "biu")
binary("bitwise_left_shift", np.left_shift, "iu")
binary("bitwise_right_shift", np.right_shift, "iu")
for _name in "equal not_equal less less_equal greater greater_equal".split():
    binary(_name, getattr(anp, _name))
for _name in ("and", "or", "xor"):
    binary(f"logical_{_name}", getattr(anp, f"logical_{_name}"))


@row("where(condition, x1, x2, /)")
def _where(condition, x1, x2):
    condition = convert.tensor_of("where", condition)
    if condition.dtype.kind != "b":
        msg = f"where: the condition must be bool, got {condition.dtype}"
        raise TypeError(msg)
    if dtypes.is_number(x1) and dtypes.is_number(x2):
        x1 = Tensor(np.asarray(x1, dtypes.of_number(x1)))
    (x1, x2), common = convert.together("where", x1, x2)
    mask = condition.data.copy()
    return record(
        "where", lambda a, b: formulas.where(mask, cast(a, common), cast(b, common)), x1, x2
    )


@row("clip(x, /, min=None, max=None)")
def _clip(x, min=None, max=None):
    x = convert.tensor_of("clip", x)
    bounds = [b.data if isinstance(b, Tensor) else b for b in (min, max)]
    bounds = [None if b is None else np.asarray(b, x.dtype) for b in bounds]
    return record("clip", lambda a: formulas.clip(a, *bounds), x)


@row("astype(x, dtype, /, *, copy=True, device=None)")
def _astype(x, dtype, *, copy=True, device=None):
    x, dtype = convert.tensor_of("astype", x), dtypes.named("astype", dtype)
    check_device("astype", device)
    if x.dtype == dtype and not copy:
        return x
    return record("astype", lambda a: a.astype(dtype), x)


for _name in ("tril", "triu"):

    def _triangle(x, *, k=0, _name=_name):
        x = convert.tensor_of(_name, x)
        if x.ndim < 2:
            msg = f"{_name}: wants two axes at least, got shape {x.shape}"
            raise ValueError(msg)
        mask = getattr(np, _name)(np.ones(x.shape[-2:], bool), k)
        return record(_name, lambda a: anp.where(mask, a, np.zeros((), x.dtype)), x)

    row(f"{_name}(x, /, *, k=0)")(_triangle)


def reduction(name, function, to_float=False, parameters="axis=None, keepdims=False"):
    """Register a row of the table `reduce`."""

    def run(x, *, axis=None, keepdims=False, **others):
        x = convert.tensor_of(name, x)
        axes = axes_of(name, axis, x)
        wide = FLOAT if to_float and x.dtype.kind != "f" else x.dtype
        if "dtype" in others:
            wide = summed("sum", x.dtype, others.pop("dtype"))
        return record(
            name, lambda a: function(cast(a, wide), axes, builtins.bool(keepdims), **others), x
        )

    row(f"{name}(x, /, *, {parameters})")(run)


def extreme(function):
    """Name the shape where there is nothing to choose from (ops-24)."""

    def run(a, axes, keepdims):
        return function(a, axis=axes, keepdims=keepdims)

    return run


reduction(
    "sum",
    lambda a, x, k: anp.sum(a, axis=x, keepdims=k),
    parameters="axis=None, dtype=None, keepdims=False",
)
reduction("mean", mean, to_float=True)
reduction("max", extreme(anp.max))
reduction("min", extreme(anp.min))
reduction("all", lambda a, x, k: np.all(a, axis=x, keepdims=k))
reduction("any", lambda a, x, k: np.any(a, axis=x, keepdims=k))
reduction(
    "count_nonzero", lambda a, x, k: np.asarray(np.count_nonzero(a, axis=x, keepdims=k), np.int64)
)
reduction("var", lambda a, x, k, correction=0.0: formulas.variance(a, x, correction, k), True,
          "axis=None, correction=0.0, keepdims=False")  # fmt: skip
reduction(
    "std",
    lambda a, x, k, correction=0.0: formulas.sqrt(formulas.variance(a, x, correction, k)),
    True,
    "axis=None, correction=0.0, keepdims=False",
)

for _name in ("argmax", "argmin"):

    def _place(x, *, axis=None, keepdims=False, _name=_name):
        x = convert.tensor_of(_name, x)
        axes = axes_of(_name, axis, x)
        place, find = None if axes is None else axes[0], getattr(np, _name)

        def run(a):
            return np.asarray(
                find(getattr(a, "_value", a), axis=place, keepdims=keepdims), np.int64
            )

        return record(_name, run, x)

    row(f"{_name}(x, /, *, axis=None, keepdims=False)")(_place)


def along(name, function, signature):
    """Register a row of the table `along`."""

    def run(x, axis=-1, **others):
        x = convert.tensor_of(name, x)
        axes = axes_of(name, axis, x)
        wide = FLOAT if x.dtype.kind != "f" else x.dtype
        return record(name, lambda a: function(cast(a, wide), axes, **others), x)

    row(f"{name}{signature}")(run)


along("softmax", formulas.softmax, "(x, /, axis=-1)")
along("log_softmax", log_softmax, "(x, /, axis=-1)")
along("logsumexp", lambda a, x, keepdims=False: formulas.logsumexp(a, x, keepdims),
      "(x, /, axis=-1, *, keepdims=False)")  # fmt: skip


@row("cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)")
def _cumulative_sum(x, *, axis=None, dtype=None, include_initial=False):
    x = convert.tensor_of("cumulative_sum", x)
    if axis is None and x.ndim != 1:
        msg = f"cumulative_sum: axis may be left out for one axis alone, got shape {x.shape}"
        raise ValueError(msg)
    (place,) = axes_of("cumulative_sum", 0 if axis is None else axis, x)
    wide = summed("cumulative_sum", x.dtype, dtype)

    def run(a):
        found = anp.cumsum(cast(a, wide), axis=place)
        if not include_initial:
            return found
        first = np.zeros((*a.shape[:place], 1, *a.shape[place + 1 :]), wide)
        return anp.concatenate([first, found], axis=place)

    return record("cumulative_sum", run, x)


def _matmul(a, b):
    return anp.matmul(a, b)


binary("matmul", _matmul)
unary("matrix_transpose", lambda x: anp.swapaxes(x, -1, -2))


@row("tensordot(x1, x2, /, *, axes=2)")
def _tensordot(x1, x2, *, axes=2):
    (x1, x2), common = convert.together("tensordot", x1, x2)
    return record(
        "tensordot", lambda a, b: anp.tensordot(cast(a, common), cast(b, common), axes), x1, x2
    )


def moved(name, signature, function):
    """Register a row of the table `shape`."""

    def run(x, *args, **kwargs):
        x = convert.tensor_of(name, x)
        try:
            return record(name, lambda a: function(a, *args, **kwargs), x)
        except (ValueError, IndexError) as error:
            msg = f"{error}, got {', '.join(repr(value) for value in args)}"
            raise type(error)(msg) from None

    row(f"{name}{signature}")(run)


moved("reshape", "(x, /, shape, *, copy=None)",
      lambda a, shape, copy=None: anp.reshape(a, counted("reshape", shape, True)))  # fmt: skip
moved(
    "permute_dims",
    "(x, /, axes)",
    lambda a, axes: anp.transpose(a, tuple(x % a.ndim for x in axes)),
)
moved("squeeze", "(x, /, axis)", unit)
moved("flip", "(x, /, *, axis=None)", flipped)
moved("moveaxis", "(x, source, destination, /)", lambda a, s, d: anp.moveaxis(a, s, d))
moved("roll", "(x, /, shift, *, axis=None)", rolled)
moved(
    "broadcast_to",
    "(x, /, shape)",
    lambda a, shape: formulas.broadcast(a, counted("broadcast_to", shape)),
)


@row("expand_dims(x, /, axis)")
def _expand_dims(x, axis):
    x = convert.tensor_of("expand_dims", x)
    axes = axis if isinstance(axis, tuple) else (axis,)
    count = x.ndim + len(axes)
    for one in axes:
        if isinstance(one, builtins.bool) or not isinstance(one, (int, np.integer)):
            msg = f"expand_dims: axis must be an int or a tuple of ints, got {axis!r}"
            raise TypeError(msg)
        if not -count <= one < count:
            msg = f"expand_dims: axis {axis} is out of range for shape {x.shape}"
            raise ValueError(msg)
    if len({one % count for one in axes}) != len(axes):
        msg = f"expand_dims: axis {axis} names a place twice, of shape {x.shape}"
        raise ValueError(msg)
    shape = np.expand_dims(np.empty(x.shape, np.bool_), axes).shape
    return record("expand_dims", lambda a: anp.reshape(a, shape), x)


for _name, _join in {"concat": anp.concatenate, "stack": anp.stack}.items():

    def _joined(arrays, *, axis=0, _name=_name, _join=_join):
        if not isinstance(arrays, (list, tuple)) or not arrays:
            msg = f"{_name}: wants a list of Tensors, got {type(arrays).__name__}"
            raise TypeError(msg)
        tensors, common = convert.together(_name, *arrays)
        if axis is None:
            tensors, axis = [globals()["reshape"](t, (-1,)) for t in tensors], 0
        return record(_name, lambda *a: _join([cast(x, common) for x in a], axis), *tensors)

    row(f"{_name}(arrays, /, *, axis=0)")(_joined)


@row("take(x, indices, /, *, axis=None)")
def _take(x, indices, *, axis=None):
    x, places = convert.tensor_of("take", x), convert.tensor_of("take", indices).data.copy()
    if places.dtype.kind not in "iu":
        msg = f"take: indices must be integers, got {places.dtype}"
        raise TypeError(msg)
    if axis is None and x.ndim != 1:
        msg = f"take: axis may be left out for one axis alone, got shape {x.shape}"
        raise ValueError(msg)
    (place,) = axes_of("take", 0 if axis is None else axis, x)
    length = x.shape[place]
    wrong = places[(places.astype(object) < -length) | (places.astype(object) >= length)]
    if wrong.size:
        msg = f"take: index {wrong[0]} is out of range for an axis of length {length}"
        raise IndexError(msg)
    key = (*[slice(None)] * place, places.astype(np.int64))
    return record("take", lambda a: a[key], x)


def created(name, signature, make):
    """Register a row of the table `create`."""

    def run(*args, device=None, **kwargs):
        check_device(name, device)
        if kwargs.get("dtype") is not None:
            kwargs["dtype"] = dtypes.named(name, kwargs["dtype"])
        return Tensor(np.asarray(make(*args, **kwargs)))

    row(f"{name}({signature})")(run)


def shaped(name, make):
    """Make `zeros` and its like, of one shape."""

    def run(shape, dtype=None):
        return make(convert.size_of(name, (shape,)), FLOAT if dtype is None else dtype)

    created(name, "shape, *, dtype=None, device=None", run)


shaped("zeros", np.zeros)
shaped("ones", np.ones)
shaped("empty", np.zeros)
created("full", "shape, fill_value, *, dtype=None, device=None",
        lambda s, v, dtype=None: filled(convert.size_of("full", (s,)), v, dtype))  # fmt: skip
created("arange", "start, /, stop=None, step=1, *, dtype=None, device=None", counting)
created("eye", "n_rows, n_cols=None, /, *, k=0, dtype=None, device=None",
        lambda n, m=None, k=0, dtype=None: np.eye(n, m, k, dtype or FLOAT))  # fmt: skip


def alike(name, parameters, make):
    """Make `zeros_like` and its like, of the shape and dtype of an array."""

    def run(x, *given, dtype=None):
        x = convert.tensor_of(name, x)
        return make(x.shape, *given, dtype or x.dtype)

    created(name, f"x, /, {parameters}*, dtype=None, device=None", run)


alike("zeros_like", "", np.zeros)
alike("ones_like", "", np.ones)
alike("full_like", "fill_value, ", filled)


@row("asarray(obj, /, *, dtype=None, device=None, copy=None)")
def _asarray(obj, *, dtype=None, device=None, copy=None):
    check_device("asarray", device)
    dtype = None if dtype is None else dtypes.named("asarray", dtype)
    if not isinstance(obj, (Tensor, np.ndarray)):
        if copy is False:
            msg = f"asarray: copy=False, and a {type(obj).__name__} cannot be shared"
            raise ValueError(msg)
        return Tensor(convert.array_of(obj, dtype, "asarray"))
    x = convert.tensor_of("asarray", obj)
    same = dtype is None or dtype == x.dtype
    if copy is False and not same:
        msg = f"asarray: copy=False, and {x.dtype} must become {dtype}"
        raise ValueError(msg)
    if same and not copy:
        return x
    return record("asarray", lambda a: anp.array(a).astype(dtype or x.dtype), x)


class linalg:
    """No function of linalg.md is here."""

    __all__ = ()


class fft:
    """No function of fft.md is here."""

    __all__ = ()


vars().update(dtypes.ALL)
__all__ += [*dtypes.ALL, "e", "pi", "inf", "nan", "newaxis", "linalg", "fft"]
