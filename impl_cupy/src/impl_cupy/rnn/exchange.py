"""The parameters of layers as other software has them.

G is the number of gates; I, H, P are the sizes of input, c and h (P is H without a projection); L
and D are the numbers of layers and of directions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, NoReturn

import numpy as np

from impl_cupy.backend import cp
from impl_cupy.checks import (
    check_bool,
    check_choice,
    check_count,
    check_positive_int,
    check_text,
    shown,
)
from impl_cupy.dtypes import float32, float64, native
from impl_cupy.tensor import Tensor

_Array = np.ndarray[Any, np.dtype[Any]]
_Arrays = dict[str, _Array]
_Owner = tuple[int, str]
"""A layer, and the end of its direction's names."""


class _Entry(NamedTuple):
    """An entry of a form.

    Attributes
    ----------
    name : str
        With `layer` and `end` to be filled in.
    part : str
        What it holds of a direction, or of all that have the same name.
    axes : str
        An axis a word, an axis a letter of it: "gh i" is (G H, I).
    """

    name: str
    part: str
    axes: str

    def of(self, layer: int, end: str) -> str:
        """Return the name of the entry that holds a layer and direction."""
        return self.name.format(layer=layer, end=end)


# The letters of a part's axes: g, h, i, p are G, H, I, P; b is the input and the state; k is the
# gates of both in an `lbr_gru`, which has n twice.
_PARTS = {
    "weight_ih": "ghi",
    "weight_hh": "ghp",
    "weight_hr": "ph",
    "bias": "bgh",
    "bias_ih": "gh",
    "bias_hh": "gh",
    "bias_lbr": "kh",
}

_GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}
# Which of torch's gates stand where.
_ORDERS = {
    "onnx LSTM": (0, 3, 1, 2),
    "keras GRU": (1, 0, 2),
    "onnx GRU": (1, 0, 2),
    "onednn GRU": (1, 0, 2),
}

_WEIGHTS = {
    "torch": (
        _Entry("weight_ih_l{layer}{end}", "weight_ih", "gh i"),
        _Entry("weight_hh_l{layer}{end}", "weight_hh", "gh p"),
        _Entry("weight_hr_l{layer}{end}", "weight_hr", "p h"),
    ),
    "keras": (
        _Entry("l{layer}{end}.kernel", "weight_ih", "i gh"),
        _Entry("l{layer}{end}.recurrent_kernel", "weight_hh", "p gh"),
    ),
    "flax": (
        _Entry("l{layer}{end}.dense_i.kernel", "weight_ih", "i gh"),
        _Entry("l{layer}{end}.dense_h.kernel", "weight_hh", "p gh"),
    ),
    "onnx": (
        _Entry("l{layer}.W", "weight_ih", "d gh i"),
        _Entry("l{layer}.R", "weight_hh", "d gh p"),
    ),
    "onednn": (
        _Entry("weights_layer", "weight_ih", "l d i g h"),
        _Entry("weights_iter", "weight_hh", "l d p g h"),
        _Entry("weights_projection", "weight_hr", "l d h p"),
    ),
}
_BIASES = {
    "torch": (
        _Entry("bias_ih_l{layer}{end}", "bias_ih", "gh"),
        _Entry("bias_hh_l{layer}{end}", "bias_hh", "gh"),
    ),
    "keras": (_Entry("l{layer}{end}.bias", "bias_ih", "gh"),),
    "keras GRU": (_Entry("l{layer}{end}.bias", "bias", "b gh"),),
    "flax": (_Entry("l{layer}{end}.dense_i.bias", "bias_ih", "gh"),),
    "flax LSTM": (_Entry("l{layer}{end}.dense_h.bias", "bias_ih", "gh"),),
    "onnx": (_Entry("l{layer}.B", "bias", "d bgh"),),
    "onednn": (_Entry("bias", "bias_ih", "l d g h"),),
    "onednn GRU": (_Entry("bias", "bias_lbr", "l d k h"),),
}
# Of how many gates, from the first, a form has one bias.
_SUMMED = {"keras": 4, "keras GRU": 0, "flax": 4, "flax GRU": 2, "onednn": 4, "onednn GRU": 2}
_FORMS = ("torch", "keras", "flax", "onnx", "cudnn", "onednn")

_CHECKS = {"proj_size": check_count, "bidirectional": check_bool, "bias": check_bool}

# The layer in a name, and whether it is its other direction.
_PLACE = re.compile(r"(?:^|_)l([0-9]+)(_reverse)?(?:\.|$)")


@dataclass(frozen=True)
class _Sizes:
    """What a layer's constructor is told."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int = 1
    bidirectional: bool = False
    proj_size: int = 0
    bias: bool = True

    @property
    def gates(self) -> int:
        return _GATES[self.cell]

    def of(self, entry: _Entry, layer: int) -> dict[str, int]:
        """Return the length of each letter in an entry that begins with a layer."""
        width, directions = self.proj_size or self.hidden_size, 1 + self.bidirectional
        return {
            "l": self.num_layers if "l" in entry.axes else 1,
            "d": directions if "d" in entry.axes else 1,
            "g": self.gates,
            "h": self.hidden_size,
            "i": directions * width if layer else self.input_size,
            "p": width,
            "b": 2,
            "k": 4,
        }

    def shape(self, entry: _Entry, layer: int) -> tuple[int, ...]:
        """Return the shape of an entry that holds a layer."""
        of = self.of(entry, layer)
        return tuple(math.prod(of[letter] for letter in axis) for axis in entry.axes.split())


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
) -> _Arrays:
    """Bring the parameters of a recurrent layer from the form of one software to that of another.

    A form with one bias where torch has two gets their sum; from it ``bias_hh`` is 0. Everything
    else moves bit for bit. The form "torch" is that of ``state_dict`` of `RNN`, `LSTM` and `GRU`.
    The others have the entries below, where ``l0`` is layer 0, and ``l0_reverse`` its other
    direction.

    - keras: ``l0.kernel`` (I, G H), ``l0.recurrent_kernel`` (H, G H), ``l0.bias`` (G H,), of GRU
      (2, 3 H); gates i, f, g, o and z, r, n.
    - flax: ``l0.dense_i.kernel`` (I, G H), ``l0.dense_h.kernel`` (H, G H), and ``l0.dense_h.bias``
      of LSTM, ``l0.dense_i.bias`` of the others, (G H,); gates as in torch.
    - onnx: ``l0.W`` (D, G H, I), ``l0.R`` (D, G H, H), ``l0.B`` (D, 2 G H), for both directions;
      gates i, o, f, g and z, r, n.
    - cudnn: ``weights``, one axis: as in torch those of all layers and directions, then the biases.
    - onednn: ``weights_layer`` (L, D, I, G, H), ``weights_iter`` (L, D, P, G, H), ``bias``
      (L, D, G, H), of GRU (L, D, 4, H), ``weights_projection`` (L, D, H, P); gates i, f, g, o and
      z, r, n.

    Sources: the pages of ``keras.layers`` (GRU with ``reset_after=True``), of
    ``flax.nnx.OptimizedLSTMCell``, ``GRUCell`` and ``SimpleCell``, of ONNX's operators (GRU with
    ``linear_before_reset=1``), of cuDNN's ``cudnnGetRNNWeightParams``, and of oneDNN's RNN
    primitives.

    Parameters
    ----------
    parameters : mapping of str to Tensor, cupy.ndarray or numpy.ndarray
        All float32 or all float64.
    source, target : "torch", "keras", "flax", "onnx", "cudnn" or "onednn"
    cell : "RNN", "LSTM" or "GRU", optional
        It and the arguments below are read off the shapes, and checked if they are given. From
        "cudnn" the first three must be given, and the others are as in the layer's constructor.
    input_size, hidden_size, num_layers, proj_size : int, optional
    bidirectional, bias : bool, optional

    Returns
    -------
    dict of str to numpy.ndarray
        New ones, of the dtype that came.

    Raises
    ------
    ValueError
        If an entry is missing, unknown or of a shape that does not fit, a size is not what the
        shapes say, a form or cell is none, or the target has no place for what there is.
    TypeError
        If an argument is of another kind, or the arrays are not all float32 or all float64.
    """
    for argument, form in (("source", source), ("target", target)):
        check_text("convert", argument, form)
        check_choice("convert", argument, form, _FORMS)
    said = _said(
        cell=cell,
        input_size=input_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        proj_size=proj_size,
        bias=bias,
    )
    arrays = _host_arrays(parameters)
    if source == "cudnn":
        sizes = _sizes_said(said)
        owns = _read("torch", sizes, _apart(sizes, arrays))
    else:
        sizes = _sizes_seen(source, arrays)
        _check_entries(source, sizes, arrays)
        for argument, value in said.items():
            seen = getattr(sizes, argument)
            if value != seen:
                wanted = f"{seen!r}, as the entries of {source!r} say"
                msg = f"convert: {argument} must be {wanted}, got {value!r}"
                raise ValueError(msg)
        owns = _read(source, sizes, arrays)
    if target == "cudnn":
        made = _write("torch", sizes, owns)
        return {"weights": np.concatenate([made[name].ravel() for name in _in_a_row(sizes)])}
    return _write(target, sizes, owns)


def _said(**given: Any) -> dict[str, Any]:
    """Check the sizes that are given, and return them."""
    said = {argument: value for argument, value in given.items() if value is not None}
    if "cell" in said:
        check_text("convert", "cell", said["cell"])
        check_choice("convert", "cell", said["cell"], tuple(_GATES))
    for argument in said.keys() - {"cell"}:
        check: Callable[..., Any] = _CHECKS.get(argument, check_positive_int)
        said[argument] = check("convert", argument, said[argument])
    return said


def _host_arrays(parameters: Any) -> _Arrays:
    """Return the arrays on the host, all of one floating dtype."""
    if not isinstance(parameters, Mapping):
        msg = f"convert: parameters must be a dict of names to arrays, got {shown(parameters)}"
        raise TypeError(msg)
    arrays: _Arrays = {}
    for name, value in parameters.items():
        check_text("convert", "each name in parameters", name)
        raw = value._data if isinstance(value, Tensor) else value
        if not isinstance(raw, (cp.ndarray, np.ndarray)):
            msg = f"convert: {shown(name)} must be a Tensor or an array, got {shown(value)}"
            raise TypeError(msg)
        array = native(np.asarray(cp.asnumpy(raw)))
        wanted = [each.dtype for each in arrays.values()][:1] or [float32, float64]
        if array.dtype not in wanted:
            names = " or ".join(dtype.name for dtype in wanted)
            msg = f"convert: {shown(name)} must have dtype {names}, got {array.dtype.name}"
            raise TypeError(msg)
        arrays[name] = array
    return arrays


def _refuse(form: str, name: str, wanted: str, got: Any) -> NoReturn:
    """Raise the error for an entry that does not fit."""
    msg = f"convert: {shown(name)} of {form!r} must {wanted}, got {got}"
    raise ValueError(msg)


def _refuse_place(form: str, what: str) -> NoReturn:
    """Raise the error for what a form cannot hold."""
    msg = f"convert: target must have a place for {what}, got {form!r}"
    raise ValueError(msg)


def _of_cell(table: Mapping[str, Any], form: str, cell: str, default: Any = None) -> Any:
    """Return what a table has for a cell in a form, or else for all cells in it."""
    return table.get(f"{form} {cell}", table.get(form, default))


def _owners(sizes: _Sizes) -> list[_Owner]:
    ends = ("", "_reverse") if sizes.bidirectional else ("",)
    return [(layer, end) for layer in range(sizes.num_layers) for end in ends]


def _layout(form: str, sizes: _Sizes) -> dict[str, tuple[_Entry, list[_Owner]]]:
    """Return the entries of a form by name, in order, each with those of which it holds parts."""
    entries = list(_WEIGHTS[form][: 3 if sizes.proj_size else 2])
    if sizes.bias or form == "flax":
        entries[2:2] = _of_cell(_BIASES, form, sizes.cell)
    places: dict[str, tuple[_Entry, list[_Owner]]] = {}
    for owner in _owners(sizes):
        for entry in entries:
            places.setdefault(entry.of(*owner), (entry, []))[1].append(owner)
    return places


def _sizes_seen(form: str, arrays: _Arrays) -> _Sizes:
    """Read sizes off the names, and off the shapes of the first layer's weights."""
    first = {e.part: e for e in _WEIGHTS[form] if e.part != "weight_hr" or e.of(0, "") in arrays}
    seen: dict[str, int] = {}
    # What the weights of the state say comes first, for all sizes but I hang on it.
    for entry in sorted(first.values(), key=lambda entry: entry.part != "weight_hh"):
        name, axes = entry.of(0, ""), entry.axes.split()
        if name not in arrays:
            _refuse(form, name, "be given", shown(sorted(arrays)))
        shape = arrays[name].shape
        if len(shape) != len(axes) or 0 in shape:
            _refuse(form, name, f"have {len(axes)} axes, none of them empty", f"shape {shape}")
        for axis, size in zip(axes, shape, strict=True):
            seen.setdefault(axis, size)
    hidden = seen.get("h", seen["p"])
    gates = seen["g"] if "g" in seen else seen["gh"] / hidden
    cell = next((cell for cell, count in _GATES.items() if count == gates), None)
    matches = [match for match in map(_PLACE.search, arrays) if match]
    directions = seen.get("d", 1 + any(match[2] for match in matches))
    if cell is None or directions > 2:
        name = first["weight_hh"].of(0, "")
        wanted = f"have 1 or 2 directions of 1, 4 or 3 gates (RNN, LSTM, GRU) with H = {hidden}"
        _refuse(form, name, wanted, f"shape {arrays[name].shape}")
    sizes = _Sizes(
        cell,
        seen["i"],
        hidden,
        num_layers=seen.get("l", len({match[1] for match in matches})),
        bidirectional=directions == 2,
        proj_size=seen["p"] if "weight_hr" in first else 0,
    )
    _check_projection(form, sizes)
    biases = [name for name, (entry, _) in _layout(form, sizes).items() if "bias" in entry.part]
    return replace(sizes, bias=form == "flax" or not arrays.keys().isdisjoint(biases))


def _check_projection(form: str, sizes: _Sizes) -> None:
    """Refuse a projection that no layer has."""
    if sizes.proj_size and (sizes.cell != "LSTM" or sizes.proj_size >= sizes.hidden_size):
        wanted = f"be of an LSTM, with P less than H = {sizes.hidden_size}"
        name = "proj_size" if form == "cudnn" else _WEIGHTS[form][2].of(0, "")
        _refuse(form, name, wanted, f"{sizes.cell} with P = {sizes.proj_size}")


def _check_entries(form: str, sizes: _Sizes, arrays: _Arrays) -> None:
    """Refuse entries that are missing, unknown or of another shape than the sizes say."""
    layout = _layout(form, sizes)
    for name in [*layout, *arrays]:
        if name not in arrays:
            _refuse(form, name, "be given", shown(sorted(arrays)))
        if name not in layout:
            _refuse(form, name, "be left out, or named as in this form", shown(sorted(arrays)))
    for name, (entry, owners) in layout.items():
        for layer, _ in owners:
            wanted, shape = sizes.shape(entry, layer), arrays[name].shape
            if shape != wanted:
                _refuse(form, name, f"have shape {wanted} in this {sizes.cell}", shape)


def _sizes_said(said: dict[str, Any]) -> _Sizes:
    """Return the sizes for cuDNN's one axis, which shows none."""
    for argument in ("cell", "input_size", "hidden_size"):
        if argument not in said:
            msg = f"convert: {argument} must be given where source is 'cudnn', got None"
            raise ValueError(msg)
    sizes = _Sizes(**said)
    _check_projection("cudnn", sizes)
    return sizes


def _in_a_row(sizes: _Sizes) -> dict[str, tuple[int, ...]]:
    """Return the shapes of torch's entries in the order of cuDNN: the biases are last."""
    layout = _layout("torch", sizes)
    shapes = {name: sizes.shape(entry, at) for name, (entry, ((at, _),)) in layout.items()}
    return dict(sorted(shapes.items(), key=lambda item: item[0].startswith("bias")))


def _apart(sizes: _Sizes, arrays: _Arrays) -> _Arrays:
    """Cut cuDNN's one axis into the entries of torch."""
    if list(arrays) != ["weights"]:
        _refuse("cudnn", "weights", "be given, and nothing else", shown(sorted(arrays)))
    one, two = (
        sum(map(math.prod, _in_a_row(replace(sizes, num_layers=layers)).values()))
        for layers in (1, 2)
    )
    # Not by a loop over the layers, whose number nothing has confirmed yet.
    wanted, flat = (one + (sizes.num_layers - 1) * (two - one),), arrays["weights"]
    if flat.shape != wanted:
        _refuse("cudnn", "weights", f"have shape {wanted} with the sizes given", flat.shape)
    shapes = _in_a_row(sizes)
    *pieces, _ = np.split(flat, np.cumsum(list(map(math.prod, shapes.values()))))
    named = zip(shapes.items(), pieces, strict=True)
    return {name: piece.reshape(shape) for (name, shape), piece in named}


def _turn(entry: _Entry) -> tuple[str, list[int]]:
    """Return the letters (L, D, *part), and their axes in the order of an entry's.

    Those that it lacks, whose length is 1, come first.
    """
    letters = "ld" + _PARTS[entry.part]
    places = entry.axes.replace(" ", "")
    return letters, sorted(range(len(letters)), key=lambda axis: places.find(letters[axis]))


def _rows(gates: int) -> dict[str, list[int]]:
    """Return the rows of each part among those of both biases, (2 G, H)."""
    rows = list(range(2 * gates))
    lbr = [*rows[:gates], rows[-1]]
    return {"bias": rows, "bias_ih": rows[:gates], "bias_hh": rows[gates:], "bias_lbr": lbr}


def _reordered(own: _Arrays, order: Any) -> _Arrays:
    """Bring the gates of all parts into another order."""
    return {
        part: np.take(array, order, _PARTS[part].index("g")) if "g" in _PARTS[part] else array
        for part, array in own.items()
    }


def _read(form: str, sizes: _Sizes, arrays: _Arrays) -> dict[_Owner, _Arrays]:
    """Return weights and "bias" of each layer and direction, the gates in the order of torch."""
    found: dict[_Owner, _Arrays] = {owner: {} for owner in _owners(sizes)}
    for name, (entry, owners) in _layout(form, sizes).items():
        of, (letters, turn) = sizes.of(entry, owners[0][0]), _turn(entry)
        apart = arrays[name].reshape([of[letters[axis]] for axis in turn])
        block = apart.transpose(np.argsort(turn))
        for owner, part in zip(owners, block.reshape(-1, *block.shape[2:]), strict=True):
            found[owner][entry.part] = part
    order = np.argsort(_of_cell(_ORDERS, form, sizes.cell, range(sizes.gates)))
    for owner, own in found.items():
        bias = np.zeros((2 * sizes.gates, sizes.hidden_size), own["weight_hh"].dtype)
        for part, rows in _rows(sizes.gates).items():
            if part in own:
                bias[rows] = own.pop(part).reshape(len(rows), -1)
        own["bias"] = bias.reshape(2, sizes.gates, -1)
        found[owner] = _reordered(own, order)
    return found


def _write(form: str, sizes: _Sizes, owns: dict[_Owner, _Arrays]) -> _Arrays:
    """Return the entries of a form."""
    if sizes.proj_size and len(_WEIGHTS[form]) < 3:
        _refuse_place(form, "weight_hr_l0")
    inputs = _WEIGHTS[form][0]
    first, above = (sizes.of(inputs, layer)["i"] for layer in (0, 1))
    if "l" in inputs.axes and sizes.num_layers > 1 and first != above:
        _refuse_place(form, f"weight_ih_l1 with {above} inputs beside {first} of weight_ih_l0")
    order = _of_cell(_ORDERS, form, sizes.cell, range(sizes.gates))
    turned = {owner: _reordered(own, order) for owner, own in owns.items()}
    for owner, own in turned.items():
        bias = _summed(form, sizes, owner, own["bias"])
        own.update({part: bias[rows] for part, rows in _rows(sizes.gates).items()})
    found = {}
    for name, (entry, owners) in _layout(form, sizes).items():
        of, (letters, turn) = sizes.of(entry, owners[0][0]), _turn(entry)
        parts = np.stack([turned[owner][entry.part] for owner in owners])
        block = parts.reshape([of[letter] for letter in letters]).transpose(turn)
        shape = sizes.shape(entry, owners[0][0])
        found[name] = np.ascontiguousarray(block).reshape(shape)
    return found


def _summed(form: str, sizes: _Sizes, owner: _Owner, bias: _Array) -> _Array:
    """Return both biases as (2 G, H), added up where a form has one (rnn-53)."""
    of_input, of_state = bias.copy()
    count = _of_cell(_SUMMED, form, sizes.cell, 0)
    with np.errstate(all="ignore"):
        total = of_input[:count] + of_state[:count]
    # A sum with 0 may lose the sign of -0.0, and what came from one bias stays as it was.
    of_input[:count] = np.where(of_state[:count] == 0, of_input[:count], total)
    of_state[:count] = 0
    if form == "flax" and of_state.any():
        layer, end = owner
        _refuse_place(form, f"bias_hh_l{layer}{end}, which is not 0 in the gate n")
    return np.concatenate([of_input, of_state])
