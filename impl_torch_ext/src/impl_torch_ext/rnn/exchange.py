"""Parameters of recurrent layers in the forms that other software has them in.

Every form is a table of entries. An entry says which part of a layer and direction it holds, and
in which order of axes, each named by a letter: L layers, D directions, B the two biases, G gates, H
hidden size, I width of the layer's input, P size of a state h (H without a projection), and R the
four rows of biases of a GRU in oneDNN. Letters that stand together are one axis.
"""

import math
import operator
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, product
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np
from torch import Tensor

from impl_torch_ext.checks import (
    Option,
    check_at_least_zero,
    check_between,
    check_choice,
    check_flag,
    check_int,
    check_size,
    shown,
)
from impl_torch_ext.dtypes import float32, float64

__all__ = ["convert"]

_Array: TypeAlias = "np.ndarray[Any, Any]"
_Arrays: TypeAlias = dict[str, _Array]
# The parts of each layer and direction, gates in the order of torch.
_Layers: TypeAlias = list[list[_Arrays]]


class _Entry(NamedTuple):
    name: str
    part: str
    axes: str


# The axes of a part by itself.
_LETTERS = {
    "weight_ih": "GHI",
    "weight_hh": "GHP",
    "weight_hr": "PH",
    "bias_ih": "GH",
    "bias_hh": "GH",
    "pair": "BGH",
    "sum": "GH",
    "four": "RH",
}
_ENTRIES = {
    "torch": (
        _Entry("weight_ih_{d}", "weight_ih", "GH I"),
        _Entry("weight_hh_{d}", "weight_hh", "GH P"),
        _Entry("bias_ih_{d}", "bias_ih", "GH"),
        _Entry("bias_hh_{d}", "bias_hh", "GH"),
        _Entry("weight_hr_{d}", "weight_hr", "P H"),
    ),
    "keras": (
        _Entry("{d}.kernel", "weight_ih", "I GH"),
        _Entry("{d}.recurrent_kernel", "weight_hh", "P GH"),
        _Entry("{d}.bias", "sum", "GH"),
    ),
    "flax": (
        _Entry("{d}.dense_i.kernel", "weight_ih", "I GH"),
        _Entry("{d}.dense_h.kernel", "weight_hh", "P GH"),
        _Entry("{d}.dense_i.bias", "sum", "GH"),
    ),
    "onnx": (
        _Entry("{d}.W", "weight_ih", "D GH I"),
        _Entry("{d}.R", "weight_hh", "D GH P"),
        _Entry("{d}.B", "pair", "D BGH"),
    ),
    "onednn": (
        _Entry("weights_layer", "weight_ih", "L D I G H"),
        _Entry("weights_iter", "weight_hh", "L D P G H"),
        _Entry("bias", "sum", "L D G H"),
        _Entry("weights_projection", "weight_hr", "L D H P"),
    ),
}
# Where a cell has its bias in another way than the others of the form.
_OWN_BIAS = {
    ("keras", "GRU"): _Entry("{d}.bias", "pair", "B GH"),
    ("flax", "LSTM"): _Entry("{d}.dense_h.bias", "sum", "GH"),
    ("onednn", "GRU"): _Entry("bias", "four", "L D R H"),
}
# Which gate of torch each gate of a form is, where they differ.
_ORDERS = {
    ("onnx", "LSTM"): (0, 3, 1, 2),
    ("keras", "GRU"): (1, 0, 2),
    ("onnx", "GRU"): (1, 0, 2),
    ("onednn", "GRU"): (1, 0, 2),
}
_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
_CELLS = {gates: cell for cell, gates in _GATES.items()}


def _one_of(*choices: str) -> Option:
    choose = check_choice(*choices)

    def check(name: str, argument: str, value: Any) -> Any:
        if not isinstance(value, str):
            msg = f"{name}: {argument} must be a str, got {shown(value)}"
            raise TypeError(msg)
        return choose(name, argument, value)

    return check


_check_form = _one_of("torch", "keras", "flax", "onnx", "cudnn", "onednn")
# In the order of the arguments of `convert`.
_CHECKS: dict[str, Option] = {
    "cell": _one_of(*_GATES),
    **dict.fromkeys(("input_size", "hidden_size", "num_layers"), check_size),
    "bidirectional": check_flag,
    "proj_size": lambda of, size, came: check_at_least_zero(of, size, check_int(of, size, came)),
    "bias": check_flag,
}


@dataclass(frozen=True)
class _Sizes:
    """What the layers are; the names are those of `convert`'s arguments."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    proj_size: int = 0
    bias: bool = True

    def letters(self, layer: int) -> dict[str, int]:
        """Return the length of every axis in one layer."""
        directions, state = 1 + self.bidirectional, self.proj_size or self.hidden_size
        width = directions * state if layer else self.input_size
        sizes = {"L": self.num_layers, "D": directions, "B": 2, "R": 4, "P": state, "I": width}
        return {**sizes, "G": _GATES[self.cell], "H": self.hidden_size}


def convert(
    parameters: dict[str, Any],
    source: str = "torch",
    target: str = "torch",
    *,
    cell: str | None = None,
    input_size: int | None = None,
    hidden_size: int | None = None,
    num_layers: int | None = None,
    bidirectional: bool | None = None,
    proj_size: int | None = None,
    bias: bool | None = None,
) -> _Arrays:
    """Return the parameters of recurrent layers as other software has them.

    The forms are those of `keras.layers.LSTM`, `GRU` with `reset_after=True` and `SimpleRNN`; of
    `flax.nnx.OptimizedLSTMCell`, `GRUCell` and `SimpleCell`; of ONNX's `LSTM`, `GRU` with
    `linear_before_reset=1` and `RNN`; of cuDNN's `cudnnGetRNNWeightParams`; of oneDNN's RNN
    primitives, `lbr_gru` among them. A form with one bias gets the sum of torch's two; from it
    `bias_hh` is zeros. Everything else keeps its bits.

    Parameters
    ----------
    parameters : dict of Tensors or arrays
        All float32 or all float64, such as `state_dict()` gives.
    source, target : {"torch", "keras", "flax", "onnx", "cudnn", "onednn"}
    cell : {"RNN", "LSTM", "GRU"}, optional
    input_size, hidden_size, num_layers, proj_size : int, optional
    bidirectional, bias : bool, optional
        They are read off the shapes, and what is said here must agree. From "cudnn" `cell`,
        `input_size` and `hidden_size` must be said, and the others have the defaults of a layer.

    Returns
    -------
    dict of numpy.ndarray
        In new memory and of the same dtype.

    Raises
    ------
    ValueError
        If an entry is missing, unknown or misshapen, has no place in `target`, or is not of the
        sizes that are said.
    TypeError
        If an argument or an entry is of the wrong kind.
    """
    _check_form("convert", "source", source)
    _check_form("convert", "target", target)
    said = _said(cell, input_size, hidden_size, num_layers, bidirectional, proj_size, bias)
    arrays = _numpy_arrays(parameters)
    if source == "cudnn":
        sizes = _sizes_of_cudnn(said)
        _check_entries(source, arrays, {"weights": (_length(sizes),)})
        layers = _read("torch", sizes, _split(arrays["weights"], sizes))
    else:
        sizes = _measured(source, arrays)
        _check_said(source, sizes, said)
        _check_entries(source, arrays, _shapes(source, sizes))
        layers = _read(source, sizes, arrays)
    if target == "cudnn":
        entries = _written("torch", sizes, layers)
        return {"weights": np.concatenate([entries[name].ravel() for name in _in_cudnn(entries)])}
    return _written(target, _placed(target, sizes, layers), layers)


def _said(*sizes: Any) -> dict[str, Any]:
    """Return the sizes that are not left out, after their checks."""
    return {
        name: check("convert", name, value)
        for (name, check), value in zip(_CHECKS.items(), sizes, strict=True)
        if value is not None
    }


def _numpy_arrays(parameters: Any) -> _Arrays:
    """Return every entry as an array of NumPy, all of one dtype."""
    if not isinstance(parameters, dict):
        msg = f"convert: parameters must be a dict of arrays, got {type(parameters).__name__}"
        raise TypeError(msg)
    arrays = _Arrays()
    for name, value in parameters.items():
        if not isinstance(name, str):
            msg = f"convert: each name in parameters must be a str, got {shown(name)}"
            raise TypeError(msg)
        array = arrays[name] = _numpy_array(shown(name), value)
        wanted = next(iter(arrays.values())).dtype
        if array.dtype != wanted:
            msg = f"convert: {shown(name)} must be of dtype {wanted} as others, got {array.dtype}"
            raise TypeError(msg)
    return arrays


def _numpy_array(name: str, value: Any) -> _Array:
    if isinstance(value, Tensor):
        if value.dtype in (float32, float64):
            return _from_tensor(name, value)
    elif not isinstance(value, np.ndarray):
        msg = f"convert: {name} must be a Tensor or an array, got {type(value).__name__}"
        raise TypeError(msg)
    elif (native := value.dtype.newbyteorder("=")) in (np.float32, np.float64):
        return np.asarray(value, dtype=native)
    msg = f"convert: {name} must be of dtype float32 or float64, got {shown(value.dtype)}"
    raise TypeError(msg)


def _from_tensor(name: str, tensor: Tensor) -> _Array:
    try:
        return tensor.numpy(force=True)
    except (RuntimeError, TypeError) as error:  # Such as a sparse one, or one without memory.
        came = " ".join(str(error).split())
        msg = f"convert: {name} must be a Tensor that NumPy can read, got one that gives: {came}"
        raise TypeError(msg) from error


def _refuse(form: str, entry: str, wanted: str, came: Any) -> NoReturn:
    msg = f"convert: {entry} of the form {form!r} must {wanted}, got {came}"
    raise ValueError(msg)


def _check_entries(form: str, arrays: _Arrays, wanted: dict[str, tuple[int, ...]]) -> None:
    """Raise a ValueError unless the entries are those that are wanted, in names and shapes."""
    for name, shape in wanted.items():
        came = _entry(form, arrays, name).shape
        if came != shape:
            _refuse(form, name, f"have shape {shape}", came)
    for name in arrays:
        if name not in wanted:
            _refuse(form, shown(name), "be left out beside the others", arrays[name].shape)


def _entry(form: str, arrays: _Arrays, name: str) -> _Array:
    if name not in arrays:
        _refuse(form, name, "be in parameters", f"only {shown(list(arrays))}")
    return arrays[name]


def _check_said(form: str, sizes: _Sizes, said: dict[str, Any]) -> None:
    for name, value in said.items():
        found = getattr(sizes, name)
        if value != found:
            msg = (
                f"convert: {name} must be what the entries of the form {form!r} say, {found!r}, "
                f"got {value!r}"
            )
            raise ValueError(msg)


def _sizes_of_cudnn(said: dict[str, Any]) -> _Sizes:
    for name in ("cell", "input_size", "hidden_size"):
        if name not in said:
            msg = f"convert: {name} must be said where source is 'cudnn', got None"
            raise ValueError(msg)
    sizes = _Sizes(**said)
    most = sizes.hidden_size - 1 if sizes.cell == "LSTM" else 0  # rnn-20
    check_between("convert", f"proj_size of {sizes.cell}", sizes.proj_size, 0, most)
    return sizes


def _measured(form: str, arrays: _Arrays) -> _Sizes:
    """Return the sizes that the names of the entries and the shapes in layer 0 say."""
    parts, layers, ends = _found(form, arrays)
    entries = {entry.part: entry for entry in _ENTRIES[form]}
    axes = dict[str, int]()
    for part in ("weight_hh", "weight_ih", *({"weight_hr"} & parts)):
        name, letters = entries[part].name.format(d="l0"), entries[part].axes.split()
        shape = _entry(form, arrays, name).shape
        if len(shape) != len(letters) or 0 in shape:
            _refuse(form, name, f"have the axes ({', '.join(letters)}), none of them empty", shape)
        axes = {**dict(zip(letters, shape, strict=True)), **axes}
    hidden_size, directions = axes.get("H", axes["P"]), axes.get("D", len(ends | {""}))
    gates, rest = divmod(axes.get("GH", axes.get("G", 0) * hidden_size), hidden_size)
    name = entries["weight_hh"].name.format(d="l0")
    shape = arrays[name].shape
    if rest or gates not in _CELLS or directions > 2:
        wanted = f"have 1, 3 or 4 gates of hidden size {hidden_size}, in one direction or two"
        _refuse(form, name, wanted, shape)
    cell, proj_size = _CELLS[gates], axes["P"] if "weight_hr" in parts else 0
    if proj_size and (cell != "LSTM" or proj_size >= hidden_size):  # rnn-20
        name = entries["weight_hr"].name.format(d="l0")
        came = f"{proj_size} for {cell} of hidden size {hidden_size}"
        _refuse(form, name, "be a projection of an LSTM to less than its hidden size", came)
    above = axes.get("L", len(layers | {"0"}))
    bias = form == "flax" or any(not part.startswith("weight") for part in parts)
    return _Sizes(cell, axes["I"], hidden_size, above, directions == 2, proj_size, bias)


def _found(form: str, arrays: _Arrays) -> tuple[set[str], set[str], set[str]]:
    """Return the parts, the numbers of layers and the ends of directions that the names tell."""
    parts, layers, ends = set[str](), set[str](), set[str]()
    own = [_OWN_BIAS[form, cell] for cell in _GATES if (form, cell) in _OWN_BIAS]
    for entry in (*_ENTRIES[form], *own):
        place = "l(?P<layer>[0-9]+)(?P<end>_reverse)?"
        pattern = re.compile(entry.name.replace(".", r"\.").format(d=place))
        for match in filter(None, map(pattern.fullmatch, arrays)):
            parts.add(entry.part)
            layers.add(match.groupdict().get("layer", "0"))
            ends.add(match.groupdict().get("end") or "")
    return parts, layers, ends


def _entries(form: str, sizes: _Sizes) -> Iterator[_Entry]:
    """Yield the entries that a form has of each of its places."""
    for entry in _ENTRIES[form]:
        if not entry.part.startswith("weight"):
            if sizes.bias:
                yield _OWN_BIAS.get((form, sizes.cell), entry)
        elif sizes.proj_size or entry.part != "weight_hr":
            yield entry


def _places(form: str, sizes: _Sizes) -> dict[str, list[tuple[int, int]]]:
    """Return for the `d` of each name the layers and directions that its entries hold."""
    axes, places = _ENTRIES[form][0].axes, dict[str, list[tuple[int, int]]]()
    for layer, way in product(range(sizes.num_layers), range(1 + sizes.bidirectional)):
        end = "" if "D" in axes else way * "_reverse"
        places.setdefault("" if "L" in axes else f"l{layer}{end}", []).append((layer, way))
    return places


def _shapes(form: str, sizes: _Sizes) -> dict[str, tuple[int, ...]]:
    """Return the name and shape of every entry, in the order of the form."""
    return {
        # An entry of several layers has one width for all, which is that of the last too.
        entry.name.format(d=d): _shape(entry, sizes.letters(places[-1][0]))
        for d, places in _places(form, sizes).items()
        for entry in _entries(form, sizes)
    }


def _shape(entry: _Entry, lengths: dict[str, int]) -> tuple[int, ...]:
    return tuple(math.prod(lengths[letter] for letter in axis) for axis in entry.axes.split())


def _read(form: str, sizes: _Sizes, arrays: _Arrays) -> _Layers:
    """Return the parts of each layer and direction."""
    directions = range(1 + sizes.bidirectional)
    layers: _Layers = [[{} for _ in directions] for _ in range(sizes.num_layers)]
    order = np.argsort(_order(form, sizes)).tolist()
    for d, places in _places(form, sizes).items():
        lengths = sizes.letters(places[0][0])
        for entry in _entries(form, sizes):
            held, axes = _axes(entry)
            array = arrays[entry.name.format(d=d)].reshape([lengths[axis] for axis in axes])
            array = array.transpose([axes.index(axis) for axis in held])
            rows = array.reshape(-1, *(lengths[axis] for axis in _LETTERS[entry.part]))
            for (layer, way), row in zip(places, rows, strict=True):
                take = _FROM_BIAS.get(entry.part)
                own = {entry.part: row} if take is None else take(row)
                layers[layer][way].update(_turned(own, order))
    return layers


def _written(form: str, sizes: _Sizes, layers: _Layers) -> _Arrays:
    """Return the entries of a form, each in memory of its own."""
    entries, order = _Arrays(), _order(form, sizes)
    for d, places in _places(form, sizes).items():
        lengths = sizes.letters(places[0][0])
        owns = [_turned(layers[layer][way], order) for layer, way in places]
        for entry in _entries(form, sizes):
            held, axes = _axes(entry)
            make = _TO_BIAS.get(entry.part, operator.itemgetter(entry.part))
            rows = np.stack([make(own) for own in owns])
            array = rows.reshape([lengths[axis] for axis in held])
            array = array.transpose([held.index(axis) for axis in axes])
            whole = array.reshape(_shape(entry, lengths))
            entries[entry.name.format(d=d)] = np.ascontiguousarray(whole)
    return entries


def _axes(entry: _Entry) -> tuple[str, str]:
    """Return the axes of an entry, none joined: those of its part last, and in its own order."""
    axes = entry.axes.replace(" ", "")
    return "".join(axis for axis in axes if axis in "LD") + _LETTERS[entry.part], axes


def _order(form: str, sizes: _Sizes) -> Sequence[int]:
    return _ORDERS.get((form, sizes.cell), range(_GATES[sizes.cell]))


def _turned(own: _Arrays, order: Sequence[int]) -> _Arrays:
    """Return the parts with their gates in another order."""
    return {part: a if part == "weight_hr" else a[list(order)] for part, a in own.items()}


def _placed(form: str, sizes: _Sizes, layers: _Layers) -> _Sizes:
    """Return the sizes that a form gets, in flax with biases; raise for what has no place."""
    for layer, ways in enumerate(layers):
        for way, own in enumerate(ways):
            end = f"_l{layer}" + way * "_reverse"
            if sizes.proj_size and form in ("keras", "flax", "onnx"):
                _refuse(form, f"weight_hr{end}", "be left out", "a projection")
            if form == "onednn" and sizes.letters(layer)["I"] != sizes.input_size:
                wanted = f"have an input of size {sizes.input_size}, as the first layer has"
                _refuse(form, f"weight_ih{end}", wanted, sizes.letters(layer)["I"])
            if form == "flax" and sizes.cell == "GRU" and sizes.bias and own["bias_hh"][2].any():
                _refuse(form, f"bias_hh{end}", "be 0 in the gate n", "other numbers")
    if form != "flax" or sizes.bias:
        return sizes
    for own in chain.from_iterable(layers):
        own["bias_ih"] = own["bias_hh"] = np.zeros_like(own["weight_ih"][..., 0])
    return replace(sizes, bias=True)


def _sum(own: _Arrays) -> _Array:
    """Return the sum of the biases, rounded once, which is `bias_ih` itself where no other is."""
    first, second = own["bias_ih"], own["bias_hh"]
    with np.errstate(over="ignore", invalid="ignore"):
        # -0.0 + 0.0 is 0.0, and what came from one bias must go back as it was.
        return np.where(second == 0, first, first + second)


def _four(own: _Arrays) -> _Array:
    return np.concatenate((_sum(own)[:2], own["bias_ih"][2:], own["bias_hh"][2:]))


def _from_four(rows: _Array) -> _Arrays:
    return {"bias_ih": rows[:3], "bias_hh": np.concatenate((np.zeros_like(rows[:2]), rows[3:]))}


# The biases of a layer and direction, gates in the order of the form, n the last of GRU.
_TO_BIAS: dict[str, Callable[[_Arrays], _Array]] = {
    "pair": lambda own: np.stack((own["bias_ih"], own["bias_hh"])),
    "sum": _sum,
    "four": _four,
}
_FROM_BIAS: dict[str, Callable[[_Array], _Arrays]] = {
    "pair": lambda rows: {"bias_ih": rows[0], "bias_hh": rows[1]},
    "sum": lambda row: {"bias_ih": row, "bias_hh": np.zeros_like(row)},
    "four": _from_four,
}


def _in_cudnn(names: Iterable[str]) -> list[str]:
    """Return the names of torch in the order of cuDNN: all weights, then all biases."""
    return sorted(names, key=lambda name: name.startswith("bias"))


def _length(sizes: _Sizes) -> int:
    """Return how many numbers there are, without a look at each of what may be many layers."""
    one, two = (
        sum(map(math.prod, _shapes("torch", replace(sizes, num_layers=layers)).values()))
        for layers in (1, 2)
    )
    return one + (sizes.num_layers - 1) * (two - one)


def _split(weights: _Array, sizes: _Sizes) -> _Arrays:
    """Return what cuDNN has one after another as entries of torch."""
    shapes, entries, place = _shapes("torch", sizes), _Arrays(), 0
    for name in _in_cudnn(shapes):
        end = place + math.prod(shapes[name])
        entries[name] = weights[place:end].reshape(shapes[name])
        place = end
    return entries
