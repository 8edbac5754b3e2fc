"""What is called: every public function, constructor and method, each with a call that is good."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from spec_tests.fuzz.target import Made, Target, fresh, keywords, ready
from spec_tests.fuzz.transforms import of_autograd
from spec_tests.judge.tables import Row, read
from spec_tests.support.calls import Call, as_raw, as_tensors, calls, module_calls
from spec_tests.support.complexes import takes


def targets(nn: Any, folder: Path) -> list[Target]:
    """Return everything that is called on an implementation.

    Parameters
    ----------
    nn : module
        The implementation.
    folder : Path
        Where files may be written.
    """
    native = isinstance(nn.zeros(()).data, nn.Tensor)
    return [
        *_functions(nn),
        *_modules(nn),
        *_constructors(nn),
        *([] if native else _methods(nn)),
        *_module_methods(nn),
        *_recurrent(nn),
        *_over_sequences(nn),
        *_optimizers(nn),
        *_initializers(nn),
        *of_autograd(nn),
        *_data(nn),
        *_files(nn, folder),
    ]


def _functions(nn: Any) -> Iterator[Target]:
    for row in read().values():
        if row.chapter in ("ops", "linalg", "fft", "loss"):
            function = _function(nn, row)
            if function is None:
                continue
            made_of = [*calls(row, "float32"), *_complex_calls(nn, row)]
            for k, call in enumerate(made_of):
                for kind, make in (("Tensors", as_tensors), ("raw arrays", as_raw)):
                    made = _of_row(nn, function, call, make)
                    name = f"{row.key} {kind} {k}"
                    says = (row.name, function.__name__)
                    yield Target(name, says, made, keywords(row.signature))


def _function(nn: Any, row: Row) -> Any:
    """Return what a row defines; None where there is none, which the suite says."""
    if row.chapter not in ("linalg", "fft"):
        return getattr(getattr(nn, row.chapter), row.name)
    if row.name in ("eig", "eigvals") and not nn.spec_capabilities().get("complex", False):
        return None
    return getattr(getattr(nn.ops, row.chapter), row.name, None)


def _complex_calls(nn: Any, row: Row) -> list[Call]:
    """Return the calls of a row with complex arrays, where it takes such."""
    there = "complex64" in nn.ops.__array_namespace_info__().dtypes()
    return calls(row, "complex64") if there and row.chapter == "ops" and takes(row) else []


def _of_row(
    nn: Any, function: Callable[..., Any], call: Call, make: Callable[..., Any]
) -> Callable[[], Made]:
    def made() -> Made:
        positional, options, *_ = make(nn, call)
        return function, positional, options

    return made


def _modules(nn: Any) -> Iterator[Target]:
    for row in read().values():
        if row.module is not None and row.module_signature is not None:
            module = getattr(nn, row.module)
            options = keywords(row.module_signature)
            yield Target(row.module, (row.module,), ready(module), options)
            made = _of_row(nn, module(), calls(row, "float32")[0], as_tensors)
            yield Target(f"{row.module}()", (row.module, row.name), made)
        if row.chapter == "nn":
            module = getattr(nn, row.name)
            says = (row.name, "forward", _FUNCTIONS.get(row.name, row.name))
            for constructor, call in module_calls(row, "float32"):
                given, named = constructor.arguments, constructor.options
                made = ready(module, *given, **named)
                yield Target(row.name, (row.name,), made, keywords(row.signature))
                made = _of_row(nn, module(*given, **named), call, as_tensors)
                yield Target(f"{row.name}()", says, made)


# The function whose name a Module's message may give, where it is not the Module's in capitals.
_FUNCTIONS = {"LogSoftmax": "log_softmax", "Flatten": "reshape"}


def _constructors(nn: Any) -> Iterator[Target]:
    good: dict[str, tuple[Any, ...]] = {
        "tensor": ([[1.0, 2.0]],),
        "from_array": (nn.zeros(2).data,),
        "Variable": (nn.zeros(2).data,),
        "Parameter": (nn.zeros(2),),
        "zeros": ((2, 3),),
        "ones": (2, 3),
        "empty": ((2,),),
        "rand": (2,),
        "randn": ((2, 3),),
        "full": ((2, 3), 1.5),
        "arange": (0, 5, 2),
        "eye": (2, 3),
        "manual_seed": (7,),
        "set_rng_state": (nn.get_rng_state(),),
    }
    options = {
        "manual_seed": (),
        "set_rng_state": (),
        "from_array": ("requires_grad",),
        "Variable": ("requires_grad",),
    }
    says = {"Variable": ("Variable", "from_array"), "Parameter": ("Parameter",)}
    for name, arguments in good.items():
        yield Target(
            name,
            says.get(name, (name,)),
            ready(getattr(nn, name), *arguments),
            options.get(
                name, ("requires_grad",) if name == "Parameter" else ("dtype", "requires_grad")
            ),
        )


def _methods(nn: Any) -> Iterator[Target]:
    device = nn.ops.__array_namespace_info__().default_device()
    good: dict[str, tuple[tuple[Any, ...], tuple[str, ...], tuple[str, ...]]] = {
        "backward": ((), ("grad", "retain_graph", "create_graph"), ()),
        "reshape": (((4, 3),), (), ()),
        "sum": ((), ("axis", "keepdims", "dtype"), ()),
        "mean": ((), ("axis", "keepdims"), ()),
        "max": ((), (), ()),
        "amax": ((), ("axis", "keepdims"), ("max",)),
        "amin": ((), ("axis", "keepdims"), ("min",)),
        "requires_grad_": ((True,), (), ()),
        "register_hook": ((abs,), (), ()),
        "__getitem__": ((0,), (), ("index",)),
        "__add__": ((1.0,), (), ("add", "operator")),
        "__rsub__": ((1.0,), (), ("subtract", "operator")),
        "__pow__": ((2.0,), (), ("pow", "operator")),
        "__matmul__": ((nn.zeros((4, 2)),), (), ("matmul", "operator")),
        "__lt__": ((1.0,), (), ("less", "operator", "compar")),
        "__eq__": ((1.0,), (), ("equal", "operator", "compar")),
        "__format__": (("",), (), ("format",)),
        "__contains__": ((1.0,), (), ("in", "contains")),
        "__floordiv__": ((2.0,), (), ("floor_divide", "operator")),
        "__rmod__": ((2.0,), (), ("remainder", "operator")),
        "__and__": ((1,), (), ("bitwise_and", "operator")),
        "__rlshift__": ((1,), (), ("bitwise_left_shift", "operator")),
        "__array_namespace__": ((), ("api_version",), ()),
        "__dlpack__": ((), ("stream", "max_version", "dl_device", "copy"), ("dlpack", "detach")),
        "to_device": ((device,), ("stream",), ()),
    }
    for name, (arguments, options, says) in good.items():
        yield Target(f"Tensor.{name}", (name, *says), _method(nn, name, arguments), options)
    yield Target(
        "Tensor.data", ("data",), fresh(lambda: _assign_data(nn), lambda: (nn.ones((3, 4)).data,))
    )
    yield Target(
        "Tensor.grad", ("grad",), fresh(lambda: _assign_grad(nn), lambda: (nn.ones((3, 4)),))
    )


def _method(nn: Any, name: str, arguments: tuple[Any, ...]) -> Callable[[], Made]:
    def bound() -> Callable[..., Any]:
        x = nn.ones((3, 4), requires_grad=True)
        if name == "__contains__":
            return lambda value: value in x
        if name in ("__and__", "__rlshift__"):
            return getattr(nn.arange(4), name)
        if name == "backward":
            x = nn.ops.sum(x)
        elif name not in ("requires_grad_", "__format__"):
            x = x * 2
        return getattr(x, name)

    return fresh(bound, lambda: arguments)


def _assign_data(nn: Any) -> Callable[[Any], None]:
    x = nn.ones((3, 4), requires_grad=True)
    return lambda value: setattr(x, "data", value)


def _assign_grad(nn: Any) -> Callable[[Any], None]:
    x = nn.ones((3, 4), requires_grad=True)
    return lambda value: setattr(x, "grad", value)


def _module_methods(nn: Any) -> Iterator[Target]:
    state = nn.Linear(3, 2).state_dict()
    good: dict[str, tuple[Any, ...]] = {
        "register_parameter": ("p", nn.Parameter(nn.zeros(2))),
        "register_buffer": ("b", nn.zeros(2)),
        "add_module": ("m", nn.ReLU()),
        "load_state_dict": (dict(state),),
        "to": (nn.float64,),
        "get_submodule": ("0",),
        "get_parameter": ("0.weight",),
        "apply": (bool,),
        "train": (True,),
        "requires_grad_": (False,),
        "register_forward_hook": (max,),
        "register_forward_pre_hook": (max,),
        "register_full_backward_hook": (max,),
        "register_full_backward_pre_hook": (max,),
        "register_state_dict_pre_hook": (max,),
        "register_load_state_dict_post_hook": (max,),
    }
    for name, arguments in good.items():
        says = (name, "Sequential", "Linear", "Module")
        yield Target(f"Module.{name}", says, _of_module(nn, name, arguments))
    yield Target("Sequential", ("Sequential",), ready(nn.Sequential, nn.ReLU(), nn.Tanh()))
    yield Target("ModuleList", ("ModuleList",), ready(nn.ModuleList, [nn.ReLU()]))
    listed = {
        "append": (nn.ReLU(),),
        "insert": (0, nn.ReLU()),
        "extend": ([nn.ReLU()],),
        "pop": (0,),
        "__getitem__": (0,),
    }
    for name, arguments in listed.items():
        yield Target(f"ModuleList.{name}", ("ModuleList",), _of_list(nn, name, arguments))
    layer, values = nn.ReLU(), nn.ones(2)
    yield Target("ModuleDict", ("ModuleDict",), ready(nn.ModuleDict, {"a": layer}))
    updated = fresh(lambda: nn.ModuleDict().update, lambda: ({"a": layer},))
    yield Target("ModuleDict.update", ("ModuleDict", "update"), updated)
    yield Target("ParameterList", ("ParameterList",), ready(nn.ParameterList, [values]))
    yield Target("ParameterDict", ("ParameterDict",), ready(nn.ParameterDict, {"a": values}))
    summed = ready(nn.summary, nn.Linear(3, 2), nn.ones((4, 3)))
    yield Target("summary", ("summary", "Linear", "forward"), summed)
    explained = ready(nn.explain, nn.Linear(3, 2), nn.ones((4, 3)))
    yield Target("explain", ("explain", "Linear", "forward"), explained)


def _of_module(nn: Any, name: str, arguments: tuple[Any, ...]) -> Callable[[], Made]:
    def bound() -> Callable[..., Any]:
        layer = nn.Linear(3, 2)
        whole = layer if name == "load_state_dict" else nn.Sequential(layer)
        return getattr(whole, name)

    return fresh(bound, lambda: arguments)


def _of_list(nn: Any, name: str, arguments: tuple[Any, ...]) -> Callable[[], Made]:
    return fresh(lambda: getattr(nn.ModuleList([nn.ReLU()]), name), lambda: arguments)


_LAYERS = ("num_layers", "batch_first", "dropout", "bidirectional")
_OF_A_CALL = ("lengths", "reset_mask", "reset_state")


def _recurrent(nn: Any) -> Iterator[Target]:
    for kind in ("RNN", "LSTM", "GRU"):
        for name in (kind, f"{kind}Cell"):
            cell = name.endswith("Cell")
            options = ("bias", "dtype") if cell else ("bias", "dtype", *_LAYERS)
            options = (*options, "nonlinearity") if kind == "RNN" else options
            options = (*options, "proj_size") if name == "LSTM" else options
            # Of two layers, so that dropout between them has an effect.
            sizes = (3, 2) if cell else (3, 2, 2)
            yield Target(name, (name,), ready(getattr(nn, name), *sizes), options)
            called = ("input", "hx") if cell else ("input", "hx", *_OF_A_CALL)
            yield Target(f"{name}()", (name, "forward"), _of_layer(nn, name), called)


def _of_layer(nn: Any, name: str) -> Callable[[], Made]:
    cell = name.endswith("Cell")
    shape, state = ((4, 3), (4, 2)) if cell else ((5, 4, 3), (1, 4, 2))

    def arguments() -> tuple[Any, ...]:
        h = nn.zeros(state)
        return nn.ones(shape), (h, nn.zeros(state)) if "LSTM" in name else h

    return fresh(lambda: getattr(nn, name)(3, 2), arguments)


def _over_sequences(nn: Any) -> Iterator[Target]:
    """Yield the cells beyond torch's, and what runs any cell over a sequence."""
    for name in ("LayerNormLSTMCell", "LayerNormGRUCell", "PeepholeLSTMCell"):
        eps = () if name.startswith("Peephole") else ("eps",)
        yield Target(name, (name,), ready(getattr(nn, name), 3, 2), ("bias", "dtype", *eps))
        says = (name, "forward", "LayerNorm")
        yield Target(f"{name}()", says, _of_layer(nn, name), ("input", "hx"))
    for name in ("ZoneoutCell", "RecurrentDropoutCell"):
        wrapper = getattr(nn, name)
        yield Target(name, (name,), ready(wrapper, nn.GRUCell(3, 2), 0.5), ("cell", "p"))
        called = ready(wrapper(nn.GRUCell(3, 2)), nn.ones((4, 3)), nn.zeros((4, 2)))
        yield Target(f"{name}()", (name, "GRUCell", "forward"), called, ("input", "hx"))
    # The errors of another function or Module than these would pass through (errors-06).
    options = ("lengths", "reset_mask", "reset_state", "batch_first", "checkpoint", "state")
    for kind in ("LSTM", "GRU"):
        over = partial(nn.rnn.unroll, getattr(nn, f"{kind}Cell")(3, 2))
        says = ("unroll", f"{kind}Cell", "forward")
        yield Target(f"unroll {kind}Cell", says, ready(over, nn.ones((5, 4, 3))), options)
        layer = getattr(nn, kind)(3, 2)
        read = ready(_read_to_the_end(nn, layer), [nn.ones((5, 4, 3))])
        yield Target(f"truncated {kind}", ("truncated", kind, "forward"), read, ("chunks", "hx"))
    padded = ready(partial(_packed, nn), nn.ones((5, 4, 3)), [3, 5, 1, 2])
    yield Target("pack", ("pack",), padded, ("lengths", "batch_first", "enforce_sorted"))
    padded = ready(partial(_padded_again, nn), nn.ones((5, 4, 3)), [3, 5, 1, 2])
    layout = ("batch_first", "padding_value", "total_length")
    yield Target("unpack", ("unpack", "pack"), padded, layout)
    parameters = {name: p.detach() for name, p in nn.GRU(3, 2).named_parameters()}
    sizes = "cell input_size hidden_size num_layers bidirectional proj_size bias".split()
    said = ("source", "target", *sizes)
    yield Target("convert", ("convert",), ready(nn.rnn.convert, parameters), said)


def _packed(nn: Any, padded: Any, lengths: Any, **options: Any) -> Any:
    return nn.rnn.pack(padded, lengths, **options)


def _padded_again(nn: Any, padded: Any, lengths: Any, **options: Any) -> Any:
    return nn.rnn.unpack(nn.rnn.pack(padded, lengths), **options)


def _read_to_the_end(nn: Any, layer: Any) -> Callable[..., Any]:
    return lambda chunks, hx=None: list(nn.rnn.truncated(layer, chunks, hx))


def _optimizers(nn: Any) -> Iterator[Target]:
    for row in read().values():
        if row.chapter == "optim" and row.family == "schedulers":
            yield from _of_scheduler(nn, row)
        elif row.chapter == "optim" and row.family == "clipping":
            clip = getattr(nn.optim, row.name)
            made = fresh(partial(_same, clip), lambda: ([_with_gradient(nn)], 0.5))
            yield Target(row.name, (row.name,), made, keywords(row.signature))
        elif row.chapter == "optim":
            yield from _of_optimizer(nn, row)


def _same(function: Callable[..., Any]) -> Callable[..., Any]:
    return function


def _with_gradient(nn: Any) -> Any:
    p = nn.Parameter(nn.ones(2))
    nn.ops.sum(p * p).backward()
    return p


# What a scheduler needs beside the optimizer.
_NEEDED: dict[str, tuple[Any, ...]] = {
    "StepLR": (2,),
    "MultiStepLR": ([2, 4],),
    "ExponentialLR": (0.5,),
    "CosineAnnealingLR": (4,),
    "LambdaLR": (float,),
    "OneCycleLR": (1.0, 8),
}


def _of_scheduler(nn: Any, row: Row) -> Iterator[Target]:
    schedulers, says = nn.optim.lr_scheduler, (row.name,)
    make = getattr(schedulers, row.name)

    def arguments() -> tuple[Any, ...]:
        optimizer = nn.optim.SGD([nn.Parameter(nn.zeros(2))], lr=0.1, momentum=0.5)
        if row.name == "SequentialLR":
            chain = [schedulers.ExponentialLR(optimizer, 0.5), schedulers.StepLR(optimizer, 2)]
            return optimizer, chain, [2]
        return (optimizer, *_NEEDED.get(row.name, ()))

    made = fresh(lambda: make, arguments)
    calls = row.name == "LambdaLR"
    yield Target(row.name, says, made, keywords(row.signature), calls=calls)
    if row.name == "ReduceLROnPlateau":
        stepped = fresh(lambda: make(*arguments()).step, lambda: (1.0,))
        yield Target(f"{row.name}.step", says, stepped, ("metrics",))
    loaded = fresh(
        lambda: make(*arguments()).load_state_dict, lambda: (make(*arguments()).state_dict(),)
    )
    yield Target(f"{row.name}.load_state_dict", says, loaded)


def _of_optimizer(nn: Any, row: Row) -> Iterator[Target]:
    optimizer, says = getattr(nn.optim, row.name), (row.name,)

    def parameters() -> tuple[Any, ...]:
        return ([nn.Parameter(nn.zeros(2))],)

    def running() -> Any:
        p = nn.Parameter(nn.ones(2))
        nn.ops.sum(p * p).backward()
        made = optimizer([p], lr=0.1)
        made.step(lambda: nn.ops.sum(p * p))
        return made

    def group() -> dict[str, Any]:
        return {"params": [nn.Parameter(nn.zeros(2))], "lr": 0.1}

    yield Target(row.name, says, fresh(lambda: optimizer, parameters), keywords(row.signature))
    yield Target(f"{row.name} groups", says, fresh(lambda: optimizer, lambda: ([group()],)))
    stepped = fresh(lambda: running().step, lambda: (lambda: nn.zeros(()),))
    yield Target(f"{row.name}.step", says, stepped, ("closure",), calls=True)
    if row.name != "LBFGS":  # It has one group, so that no call of it is good.
        added = fresh(lambda: running().add_param_group, lambda: (group(),))
        yield Target(f"{row.name}.add_param_group", says, added)
    loaded = fresh(lambda: running().load_state_dict, lambda: (running().state_dict(),))
    yield Target(f"{row.name}.load_state_dict", says, loaded)


def _initializers(nn: Any) -> Iterator[Target]:
    for row in read().values():
        if row.chapter == "init":
            required = [p for p in row.signature.parameters.values() if p.default is p.empty]
            rest = (0.5,) * (len(required) - 1)
            function = getattr(nn.init, row.name)
            made = fresh(_constant(function), _initialized(nn, rest))
            if row.name == "calculate_gain":
                made = ready(function, "relu")
            if row.name == "dirac_":
                made = fresh(_constant(function), lambda: (nn.zeros((3, 2, 1)),))
            if row.name == "lstm_bias_":
                made = ready(function, nn.LSTMCell(3, 2))
            yield Target(f"init.{row.name}", (row.name,), made, keywords(row.signature))


def _constant(operation: Callable[..., Any]) -> Callable[[], Callable[..., Any]]:
    return lambda: operation


def _initialized(nn: Any, rest: tuple[float, ...]) -> Callable[[], tuple[Any, ...]]:
    return lambda: (nn.zeros((3, 2)), *rest)


def _data(nn: Any) -> Iterator[Target]:
    good = {"batches": (nn.ones((4, 3)), 2), "bucketed": ([nn.ones((2, 3)), nn.ones((1, 3))], 2)}
    for row in read().values():
        if row.chapter == "data":
            function = getattr(nn.data, row.name)
            made = ready(function, *good[row.name])
            yield Target(f"data.{row.name}", (row.name,), made, keywords(row.signature))


def _files(nn: Any, folder: Path) -> Iterator[Target]:
    if not nn.spec_capabilities()["serialization"]:
        return
    path = folder / "good.safetensors"
    nn.save({"a": nn.zeros(2)}, path)
    other = folder / "other.safetensors"
    yield Target("save", ("save",), ready(nn.save, {"a": nn.zeros(2), "b": np.ones(3)}, other))
    keywords = ("metadata", "max_shard_size")
    yield Target("save in shards", ("save",), ready(nn.save, {"a": nn.zeros(2)}, other), keywords)
    options = ("return_metadata", "names")
    yield Target("load", ("load",), ready(nn.load, path), options, calls=True)
    kept = folder / "checkpoint.safetensors"
    module = nn.Linear(3, 2)
    nn.save_checkpoint(kept, module=module)
    parts = ("module", "optimizer", "scheduler", "generator")
    saved = ready(nn.save_checkpoint, kept)
    says = ("save_checkpoint",)
    yield Target("save_checkpoint", says, saved, (*parts, "position", "metadata"))
    loaded = ("load_checkpoint", "Linear", "set_rng_state")
    yield Target("load_checkpoint", loaded, ready(nn.load_checkpoint, kept), parts)
