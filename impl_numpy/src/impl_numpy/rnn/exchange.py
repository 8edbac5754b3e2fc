"""Parameters of recurrent layers in the forms that other software has them (rnn-52, rnn-53).

A form is a row of a table: the names of its entries, their axes, the order of gates, and which
gates have a bias of the state apart from that of the input. Each entry is, in C order, a chain of
pieces, each one part of one layer and direction. So all numbers have a place in every form: a view,
which is read and written alike, known by layer, direction, part and gate.

L layers, D directions, G gates, H hidden size, P size of a projected hidden state (H where there is
no projection), I input size of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import product, takewhile
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from impl_numpy.checks import (
    check_bit,
    check_choice,
    check_count,
    check_flag,
    check_positive,
    check_string,
    shown,
)
from impl_numpy.dtypes import Array, Shape, float32, float64, is_raw, native
from impl_numpy.tensor import Tensor

# A name, in which {l} is a layer and {d} a layer and direction, and the axes: products of letters.
# B counts the rows of biases; without axes an entry is one chain of all its pieces.
Entry: TypeAlias = tuple[str, str]
# Layer, direction, part, gate.
Key: TypeAlias = tuple[int, int, str, str]

CELLS = {1: "RNN", 3: "GRU", 4: "LSTM"}
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
RZN = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}
ZRN = {**RZN, "GRU": "zrn"}
KINDS: dict[str, Callable[..., Any]] = {
    "bidirectional": check_bit,
    "proj_size": check_count,
    "bias": check_flag,
}


class Form(NamedTuple):
    """How a form has the parts of layers.

    `biases` has the entry of both biases, by cell where they differ; `apart` the gates whose bias
    of the state is apart; `columns` tells that the last axis of a weight comes first.
    """

    weights: dict[str, Entry]
    biases: dict[str, tuple[Entry, ...]]
    gates: dict[str, str]
    apart: dict[str, str]
    columns: bool = False
    always_biased: bool = False

    def entries(self, cell: str) -> dict[str, Entry]:
        """Return the entry of each part."""
        biases = self.biases.get(cell, self.biases["RNN"])
        return {**self.weights, "bias_ih": biases[0], "bias_hh": biases[-1]}


FORMS = {
    "torch": Form(
        {
            "weight_ih": ("weight_ih_{d}", "GH I"),
            "weight_hh": ("weight_hh_{d}", "GH P"),
            "weight_hr": ("weight_hr_{d}", "P H"),
        },
        {"RNN": (("bias_ih_{d}", "GH"), ("bias_hh_{d}", "GH"))},
        gates=RZN,
        apart=RZN,
    ),
    "keras": Form(
        {"weight_ih": ("{d}.kernel", "I GH"), "weight_hh": ("{d}.recurrent_kernel", "P GH")},
        {"RNN": (("{d}.bias", "GH"),), "GRU": (("{d}.bias", "2 GH"),)},
        gates=ZRN,
        apart={"RNN": "", "LSTM": "", "GRU": "zrn"},
        columns=True,
    ),
    "flax": Form(
        {
            "weight_ih": ("{d}.dense_i.kernel", "I GH"),
            "weight_hh": ("{d}.dense_h.kernel", "P GH"),
        },
        {"RNN": (("{d}.dense_i.bias", "GH"),), "LSTM": (("{d}.dense_h.bias", "GH"),)},
        gates=RZN,
        apart={"RNN": "", "LSTM": "", "GRU": ""},
        columns=True,
        always_biased=True,
    ),
    "onnx": Form(
        {"weight_ih": ("l{l}.W", "D GH I"), "weight_hh": ("l{l}.R", "D GH P")},
        {"RNN": (("l{l}.B", "D 2GH"),)},
        gates={**ZRN, "LSTM": "iofg"},
        apart={**ZRN, "LSTM": "iofg"},
    ),
    "cudnn": Form(
        {part: ("weights", "") for part in ("weight_ih", "weight_hh", "weight_hr")},
        {"RNN": (("weights", ""),)},
        gates=RZN,
        apart=RZN,
    ),
    "onednn": Form(
        {
            "weight_ih": ("weights_layer", "L D I G H"),
            "weight_hh": ("weights_iter", "L D P G H"),
            "weight_hr": ("weights_projection", "L D H P"),
        },
        {"RNN": (("bias", "L D B H"),)},
        gates=ZRN,
        apart={"RNN": "", "LSTM": "", "GRU": "n"},
        columns=True,
    ),
}


class Sizes(NamedTuple):
    """What there is, by the names of the arguments of layers."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    proj_size: int = 0
    bias: bool = True

    def has(self, part: str) -> bool:
        """Tell whether layers have a part."""
        return self.bias if part.startswith("bias") else part != "weight_hr" or self.proj_size > 0

    def numbers(self, layer: int) -> dict[str, int]:
        """Return what the letters of axes stand for."""
        directions = 1 + self.bidirectional
        projected = self.proj_size or self.hidden_size
        return {
            "L": self.num_layers,
            "D": directions,
            "G": len(RZN[self.cell]),
            "H": self.hidden_size,
            "P": projected,
            "I": directions * projected if layer else self.input_size,
        }


class Piece(NamedTuple):
    """One part of one layer and direction: where it lies, and its shape (gates, ..., last)."""

    layer: int
    direction: int
    part: str
    entry: str
    axes: str
    gates: str
    shape: Shape


class Place(NamedTuple):
    """The numbers of one gate of a part, (H, I), (H, P) or (H,), in memory of the entry."""

    entry: str
    view: Array


def convert(
    parameters: Mapping[str, Any],
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
) -> dict[str, Array]:
    """Return the parameters of recurrent layers in the form that other software has them.

    The forms are "torch", which `state_dict` gives and `load_state_dict` takes, "keras", "flax",
    "onnx", "cudnn" and "onednn". Their entries and orders of gates are those of torch.nn.LSTM;
    keras.layers.LSTM, GRU with reset_after=True and SimpleRNN; flax.nnx.OptimizedLSTMCell, GRUCell
    and SimpleCell; ONNX's operators LSTM, GRU with linear_before_reset=1 and RNN; cuDNN's
    cudnnGetRNNWeightParams; and oneDNN's RNN primitives, of GRU lbr_gru.

    A form with one bias gets the sum of both; from it, bias_hh is zeros. All else moves bit for
    bit.

    Parameters
    ----------
    parameters : dict of str to Tensor or array
        All float32, or all float64.
    source, target : str
        The form of the parameters, and that of the result.
    cell : {"RNN", "LSTM", "GRU"}, optional
    input_size, hidden_size, num_layers : int, optional
    bidirectional : bool, optional
    proj_size : int, optional
    bias : bool, optional
        What the parameters are of. It is read off their shapes, but from "cudnn" the first three
        must be said, and the others are the defaults of the layers.

    Returns
    -------
    dict of str to array
        In new memory, with the dtype of the parameters.

    Raises
    ------
    ValueError
        If an entry is missing, unknown, of a shape that does not fit, or has no place in the
        target; if a size is not what the shapes say; if a form or the cell is unknown.
    TypeError
        If an argument is of the wrong kind, or an entry no array of the one dtype.
    """
    for name, form in (("source", source), ("target", target)):
        check_choice("convert", name, check_string("convert", name, form), list(FORMS))
    given = (cell, input_size, hidden_size, num_layers, bidirectional, proj_size, bias)
    said = _said(dict(zip(Sizes._fields, given, strict=True)))
    arrays = _arrays(source, parameters)
    sizes = _sizes(source, arrays, said)
    _check_entries(source, sizes, arrays)
    _check_widths(source, target, sizes)
    held = _places(source, sizes, arrays)
    written = sizes._replace(bias=sizes.bias or FORMS[target].always_biased)
    dtype = next(iter(arrays.values())).dtype
    result = {entry: np.zeros(shape, dtype) for entry, shape in _shapes(target, written).items()}
    places = _places(target, written, result)
    _check_lost(source, target, held, places)
    _move(held, places)
    return result


def _move(held: dict[Key, Place], places: dict[Key, Place]) -> None:
    """Write every number where it belongs, into zeros."""
    for key, (_, view) in places.items():
        if key in held:
            view[...] = held[key].view
        layer, direction, part, gate = key
        other = layer, direction, "bias_hh", gate
        if part == "bias_ih" and other in held and other not in places:
            added = held[other].view
            # A sum with 0 would make 0 of -0.
            view[...] = np.where(added == 0, view, view + added)


def _places(form: str, sizes: Sizes, arrays: dict[str, Array]) -> dict[Key, Place]:
    """Return the place of every number in the arrays, which are laid out in C order."""
    places = {}
    used = dict.fromkeys(arrays, 0)
    # In one chain of all pieces the biases come last (rnn-52).
    for piece in sorted(_pieces(form, sizes), key=lambda piece: piece.part.startswith("bias")):
        start = used[piece.entry]
        used[piece.entry] = stop = start + math.prod(piece.shape)
        flat = arrays[piece.entry].ravel()[start:stop]
        if FORMS[form].columns and piece.part.startswith("weight"):
            views = np.moveaxis(flat.reshape(piece.shape[-1], *piece.shape[:-1]), 0, -1)
        else:
            views = flat.reshape(piece.shape)
        for gate, view in zip(piece.gates, views, strict=True):
            key = piece.layer, piece.direction, piece.part, gate
            places[key] = Place(piece.entry, view)
    return places


def _pieces(form: str, sizes: Sizes) -> Iterator[Piece]:
    """Return every piece, in the order of rnn-06."""
    entries = FORMS[form].entries(sizes.cell)
    gates, apart = FORMS[form].gates[sizes.cell], FORMS[form].apart[sizes.cell]
    for layer in range(sizes.num_layers):
        numbers = sizes.numbers(layer)
        size = numbers["H"]
        shapes = {
            "weight_ih": (gates, (len(gates), size, numbers["I"])),
            "weight_hh": (gates, (len(gates), size, numbers["P"])),
            "bias_ih": (gates, (len(gates), size)),
            "bias_hh": (apart, (len(apart), size)),
            # It belongs to no gate.
            "weight_hr": ("-", (1, numbers["P"], size)),
        }
        for direction, part in product(range(numbers["D"]), PARTS):
            if part in entries and sizes.has(part):
                name, axes = entries[part]
                entry = _named(name, layer, direction)
                yield Piece(layer, direction, part, entry, axes, *shapes[part])


def _named(name: str, layer: int, direction: int) -> str:
    """Return the name of an entry of a layer and direction."""
    return name.format(l=layer, d=f"l{layer}_reverse" if direction else f"l{layer}")


def _shapes(form: str, sizes: Sizes) -> dict[str, Shape]:
    """Return the shape of each entry."""
    shapes: dict[str, Shape] = {}
    chain = 0
    rows = len(FORMS[form].gates[sizes.cell]) + len(FORMS[form].apart[sizes.cell])
    for piece in _pieces(form, sizes):
        numbers = {"B": rows, "2": 2, **sizes.numbers(piece.layer)}
        chain += math.prod(piece.shape)
        shape = [math.prod([numbers[letter] for letter in axis]) for axis in piece.axes.split()]
        shapes.setdefault(piece.entry, tuple(shape))
        if not piece.axes:
            shapes[piece.entry] = (chain,)
    return shapes


def _said(sizes: dict[str, Any]) -> dict[str, Any]:
    """Return the sizes that are not None, each of its kind."""
    said = {name: value for name, value in sizes.items() if value is not None}
    for name, value in said.items():
        if name == "cell":
            check_choice("convert", name, check_string("convert", name, value), list(RZN))
        elif name in KINDS:
            said[name] = KINDS[name]("convert", name, value)
        else:
            check_positive("convert", **{name: value})
            said[name] = int(value)
    return said


def _arrays(form: str, parameters: Any) -> dict[str, Array]:
    """Return the entries as raw arrays in C order, all of one floating dtype."""
    if not isinstance(parameters, Mapping):
        msg = f"convert: parameters must be a dict of names to arrays, got {shown(parameters)}"
        raise TypeError(msg)
    arrays: dict[str, Array] = {}
    for name, value in parameters.items():
        check_string("convert", f"a name in {form}", name)
        array = value._data if isinstance(value, Tensor) else value
        array = native(array) if is_raw(array) else None
        if array is None or array.dtype not in (float32, float64):
            wanted = "be a Tensor or an array of float32 or float64"
            raise TypeError(_fault(form, name, wanted, value))
        arrays[name] = np.asarray(array, order="C")
        first = next(iter(arrays.values())).dtype
        if array.dtype != first:
            raise TypeError(_fault(form, name, f"have the dtype {first} of the others", value))
    return arrays


def _fault(form: str, name: str, wanted: str, value: Any) -> str:
    """Return the message that an entry must be other than it is."""
    known = name if name.isprintable() and len(name) < 80 else shown(name)
    return f"convert: {known} of {form} must {wanted}, got {shown(value)}"


def _entry(form: str, name: str, arrays: dict[str, Array]) -> Array:
    """Return an entry, or raise ValueError where it is missing."""
    if name not in arrays:
        msg = f"convert: {name} of {form} must be there, got {shown(list(arrays))}"
        raise ValueError(msg)
    return arrays[name]


def _sizes(form: str, arrays: dict[str, Array], said: dict[str, Any]) -> Sizes:
    """Return what there is, by the shapes of the entries, or for one chain by what was said."""
    name, axes = FORMS[form].weights["weight_ih"]
    if axes:
        sizes = _measured(form, arrays)
        for argument, value in said.items():
            found = getattr(sizes, argument)
            if value != found:
                entries = f"{_named(name, 0, 0)} and the other entries of {form} say"
                msg = f"convert: {argument} must be {found!r} as {entries}, got {value!r}"
                raise ValueError(msg)
    else:
        for argument in ("cell", "input_size", "hidden_size"):
            if argument not in said:
                msg = f"convert: {argument} must be given for {name} of {form}, got None"
                raise ValueError(msg)
        sizes = Sizes(**said)
        size = _entry(form, name, arrays).size
        layers = sizes.num_layers
        if layers > size:
            msg = f"convert: num_layers must fit {name} of {form}, {size} numbers, got {layers}"
            raise ValueError(msg)
    most = sizes.hidden_size - 1 if sizes.cell == "LSTM" else 0
    if sizes.proj_size > most:
        hr = _named(FORMS[form].weights["weight_hr"][0], 0, 0)
        got = f"{sizes.proj_size} by {hr} of {form}"
        limit = f"at most {most} for {sizes.cell} with hidden_size {sizes.hidden_size}"
        msg = f"convert: proj_size must be {limit}, got {got}"
        raise ValueError(msg)
    return sizes


def _measured(form: str, arrays: dict[str, Array]) -> Sizes:
    """Return what there is by the shapes of the first layer's weights, and by the names there."""
    layout = FORMS[form]
    weights = {part: name for part, (name, _) in layout.weights.items()}
    biases = [name for several in layout.biases.values() for name, _ in several]

    def there(names: Iterable[str], layers: Iterable[int], directions: Iterable[int]) -> bool:
        return any(_named(*place) in arrays for place in product(names, layers, directions))

    every = (*weights.values(), *biases)
    run = takewhile(lambda layer: there(every, [layer], (0, 1)), range(len(arrays)))
    layers = list(run) or [0]
    projected = "weight_hr" in weights and there([weights["weight_hr"]], layers, (0, 1))
    # Where the names do not tell layers or directions, axes do, and override this.
    found = {"L": len(layers), "D": 1 + there(every, layers, [1])}
    for part in ("weight_ih", "weight_hr", "weight_hh"):
        if part == "weight_hr" and not projected:
            continue
        name, letters = _named(weights[part], 0, 0), layout.weights[part][1].split()
        array = _entry(form, name, arrays)
        if array.ndim != len(letters) or not array.size:
            wanted = f"have the axes ({', '.join(letters)}), none of them empty"
            raise ValueError(_fault(form, name, wanted, array))
        found.update(zip(letters, array.shape, strict=True))
    size = found["H"] if "H" in found else found["P"]
    gates = found["G"] if "G" in found else found["GH"] / size
    if gates not in CELLS or found["D"] > 2:
        wanted = f"have 1, 3 or 4 gates of H = {size}, and at most 2 directions"
        raise ValueError(_fault(form, name, wanted, array))
    return Sizes(
        cell=CELLS[int(gates)],
        input_size=found["I"],
        hidden_size=size,
        num_layers=found["L"],
        bidirectional=found["D"] == 2,
        proj_size=found["P"] if projected else 0,
        bias=layout.always_biased or there(biases, layers, (0, 1)),
    )


def _check_entries(form: str, sizes: Sizes, arrays: dict[str, Array]) -> None:
    """Raise ValueError unless the entries are those of the sizes, each of its shape."""
    shapes = _shapes(form, sizes)
    for name in shapes:
        _entry(form, name, arrays)
    for name, array in arrays.items():
        if name not in shapes:
            wanted = f"not be there beside {next(iter(shapes))} and those that belong to it"
            raise ValueError(_fault(form, name, wanted, array))
        if array.shape != shapes[name]:
            raise ValueError(_fault(form, name, f"have shape {shapes[name]}", array))


def _check_widths(source: str, target: str, sizes: Sizes) -> None:
    """Raise ValueError where layers of several input sizes would be in one entry."""
    first, above = sizes.numbers(0)["I"], sizes.numbers(1)["I"]
    for form in (source, target):
        joined = "L" in FORMS[form].weights["weight_ih"][1]
        if joined and sizes.num_layers > 1 and first != above:
            name = _named(FORMS[source].weights["weight_ih"][0], 1, 0)
            wanted = f"have one input size for all layers in {form}"
            msg = f"convert: {name} of {source} must {wanted}, got {first} and {above}"
            raise ValueError(msg)


def _check_lost(source: str, target: str, held: dict[Key, Place], places: dict[Key, Place]) -> None:
    """Raise ValueError for what the target has no place for."""
    for key, (entry, view) in held.items():
        _, _, part, gate = key
        if key in places:
            continue
        if part == "weight_hr":
            wanted = f"hold no projection, for which {target} has no place"
            raise ValueError(_fault(source, entry, wanted, view))
        # Of the other gates the biases are added up anyway.
        if (part, gate) == ("bias_hh", "n") and np.any(view != 0):
            wanted = f"be 0 for the state in the rows of n, for which {target} has no place"
            raise ValueError(_fault(source, entry, wanted, view))
