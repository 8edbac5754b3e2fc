"""The parameters of layers in the forms of other software.

Letters of axes: I input size of a layer, H hidden size, P size of a projection (H where there is
none), G gates, L layers, D directions; B the two biases, of the input and of the state, and K the
four rows of oneDNN's bias of a GRU. Every form is read into parts by layer and direction, gates in
torch's order, and is written from them.
"""

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, NoReturn

import jax
import numpy as np

from ..checks import (
    check_choice,
    check_flag,
    check_int,
    check_same_dtype,
    positive_int,
    refuse,
    refuse_type,
)
from ..dtypes import float32, float64, native
from ..tape import unwrap

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
Pair = tuple[Array, Array]

_GATES = {"RNN": "h", "LSTM": "ifgo", "GRU": "rzn"}
_OTHER_GATES = {
    ("keras", "GRU"): "zrn",
    ("onnx", "LSTM"): "iofg",
    ("onnx", "GRU"): "zrn",
    ("onednn", "GRU"): "zrn",
}
# Of each part of one layer and direction the axes, which a form may order and join otherwise.
_PARTS = {
    "weight_ih": "GHI",
    "weight_hh": "GHP",
    "weight_hr": "PH",
    "bias_ih": "GH",
    "bias_hh": "GH",
    "bias_both": "BGH",
    "bias_sum": "GH",
    "bias_rows": "KH",
}


class _Entry(NamedTuple):
    """What an entry of a form holds; L or D among its axes: of all layers or both directions."""

    name: str  # {d} stands for l0, l0_reverse, ...
    part: str
    axes: str  # Letters in one word are one axis.
    cells: str = "RNN LSTM GRU"


_FORMS = {
    "torch": (
        _Entry("weight_ih_{d}", "weight_ih", "GH I"),
        _Entry("weight_hh_{d}", "weight_hh", "GH P"),
        _Entry("bias_ih_{d}", "bias_ih", "GH"),
        _Entry("bias_hh_{d}", "bias_hh", "GH"),
        _Entry("weight_hr_{d}", "weight_hr", "P H", "LSTM"),
    ),
    "keras": (
        _Entry("{d}.kernel", "weight_ih", "I GH"),
        _Entry("{d}.recurrent_kernel", "weight_hh", "P GH"),
        _Entry("{d}.bias", "bias_sum", "GH", "RNN LSTM"),
        _Entry("{d}.bias", "bias_both", "B GH", "GRU"),
    ),
    "flax": (
        _Entry("{d}.dense_i.kernel", "weight_ih", "I GH"),
        _Entry("{d}.dense_h.kernel", "weight_hh", "P GH"),
        _Entry("{d}.dense_h.bias", "bias_sum", "GH", "LSTM"),
        _Entry("{d}.dense_i.bias", "bias_sum", "GH", "RNN GRU"),
    ),
    "onnx": (
        _Entry("{d}.W", "weight_ih", "D GH I"),
        _Entry("{d}.R", "weight_hh", "D GH P"),
        _Entry("{d}.B", "bias_both", "D BGH"),
    ),
    # All of torch's entries in one: `_split` and `_joined`.
    "cudnn": (),
    "onednn": (
        _Entry("weights_layer", "weight_ih", "L D I G H"),
        _Entry("weights_iter", "weight_hh", "L D P G H"),
        _Entry("bias", "bias_sum", "L D G H", "RNN LSTM"),
        _Entry("bias", "bias_rows", "L D K H", "GRU"),
        _Entry("weights_projection", "weight_hr", "L D H P", "LSTM"),
    ),
}


class _Bias(NamedTuple):
    """How a form's bias comes of bias_ih and bias_hh (G, H), and they of it."""

    join: Callable[[Array, Array], Array]
    part: Callable[[Array], Pair]


def _sum(of_input: Array, of_state: Array) -> Array:
    """Return the sum, where one is 0 the other as it is, -0 too."""  # rnn-53
    either = np.where(of_state == 0, of_input, of_state)
    return np.where((of_input == 0) | (of_state == 0), either, of_input + of_state)


def _rows(of_input: Array, of_state: Array) -> Array:
    """Return z, r, n of the input and n of the state, (4, H): the gates z and r have one sum."""
    return np.concatenate([_sum(of_input[:2], of_state[:2]), of_input[2:], of_state[2:]])


def _of_rows(rows: Array) -> Pair:
    return rows[:3], np.concatenate([np.zeros_like(rows[:2]), rows[3:]])


_BIASES = {
    "bias_both": _Bias(lambda *both: np.stack(both), lambda both: (both[0], both[1])),
    "bias_sum": _Bias(_sum, lambda bias: (bias, np.zeros_like(bias))),
    "bias_rows": _Bias(_rows, _of_rows),
}


class _Sizes(NamedTuple):
    """What there is, by the names that a caller may say it with."""

    cell: str
    input_size: int
    hidden_size: int
    num_layers: int
    bidirectional: bool
    proj_size: int
    bias: bool

    def letters(self, layer: int) -> dict[str, int]:
        """Return the size of each axis in a layer."""
        projected, directions = self.proj_size or self.hidden_size, 1 + self.bidirectional
        return {
            "G": len(_GATES[self.cell]),
            "H": self.hidden_size,
            "I": directions * projected if layer else self.input_size,
            "P": projected,
            "L": self.num_layers,
            "D": directions,
            "B": 2,
            "K": 4,
        }


class _Place(NamedTuple):
    """Where an entry stands, and of which layers and directions, counted together, it is."""

    name: str
    entry: _Entry
    of: slice
    letters: dict[str, int]

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape that the entry has."""
        return tuple([math.prod([self.letters[a] for a in w]) for w in self.entry.axes.split()])


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
) -> Arrays:
    """Return the parameters of recurrent layers in the form that other software has them in.

    A form with one bias where torch has two gets their sum; out of it comes `bias_ih`, and zeros
    for `bias_hh`. Everything else moves bit for bit. The forms are those of the pages of torch.nn,
    Keras and flax.nnx, of ONNX's operators, of cuDNN's weight space and of oneDNN's RNN primitives.

    Parameters
    ----------
    parameters : mapping from str to Tensor, jax.Array or numpy.ndarray
        All float32 or all float64.
    source, target : {"torch", "keras", "flax", "onnx", "cudnn", "onednn"}
        The forms of what is given and of what is returned; "torch" is that of `state_dict`.
    cell : {"RNN", "LSTM", "GRU"}
    input_size, hidden_size, num_layers, proj_size : int
    bidirectional, bias : bool
        What the shapes say, and what is compared with them if given. From "cudnn" the first three
        must be given, and the others are as in the layers' constructors if left out.

    Returns
    -------
    dict from str to numpy.ndarray
        New arrays of the dtype given, layer by layer and direction by direction.

    Raises
    ------
    ValueError
        If a form or a cell is unknown; if an entry is missing, unknown, or of a shape that does not
        fit; if a size is not what the shapes say; if `target` has no place for what there is.
    TypeError
        If an argument is of the wrong kind, or the arrays are of other dtypes or of several.
    """
    check_choice("convert", "source", source, tuple(_FORMS))
    check_choice("convert", "target", target, tuple(_FORMS))
    said = _said(
        cell=cell,
        input_size=input_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        bidirectional=bidirectional,
        proj_size=proj_size,
        bias=bias,
    )
    arrays = _arrays(parameters)
    if source == "cudnn":
        sizes = _told(said)
        parts = _read("torch", _split(arrays, sizes), sizes)
    else:
        sizes = _measured(source, arrays)
        for argument, value in said.items():
            if value != getattr(sizes, argument):
                wanted = f"{getattr(sizes, argument)}, as the shapes of {source} say"
                refuse("convert", argument, wanted, value)
        parts = _read(source, arrays, sizes)
    if target == "cudnn":
        return _joined(_written("torch", parts, sizes))
    _check_room(target, parts, sizes)
    if target == "flax" and not sizes.bias:
        sizes = sizes._replace(bias=True)
        for each in parts:
            each["bias_ih"] = each["bias_hh"] = np.zeros_like(each["weight_hh"][..., 0])
    return _written(target, parts, sizes)


def _said(**sizes: Any) -> dict[str, Any]:
    """Return the sizes that were given, each checked for itself."""
    said = {argument: value for argument, value in sizes.items() if value is not None}
    for argument, value in said.items():
        if argument == "cell":
            check_choice("convert", argument, value, tuple(_GATES))
        elif argument == "proj_size":
            said[argument] = check_int("convert", argument, value)
        else:
            is_flag = argument in ("bidirectional", "bias")
            said[argument] = (check_flag if is_flag else positive_int)("convert", argument, value)
    return said


def _told(said: Mapping[str, Any]) -> _Sizes:
    """Return the sizes of cuDNN's weights, which only the caller knows."""
    for argument in ("cell", "input_size", "hidden_size"):
        if argument not in said:
            refuse("convert", argument, "given for cudnn", None)
    others = {"num_layers": 1, "bidirectional": False, "proj_size": 0, "bias": True}
    sizes = _Sizes(**{**others, **said})
    end = sizes.hidden_size if sizes.cell == "LSTM" else 1
    if not 0 <= sizes.proj_size < end:
        wanted = f"from 0 to {end - 1} for {sizes.cell} of H = {sizes.hidden_size}"
        refuse("convert", "proj_size", wanted, sizes.proj_size)
    return sizes


def _arrays(parameters: Any) -> Arrays:
    """Return the parameters as NumPy arrays of one dtype."""
    if not isinstance(parameters, Mapping):
        refuse_type("convert", "parameters", "a dict of names and arrays", parameters)
    arrays: Arrays = {}
    for key, value in parameters.items():
        if not isinstance(key, str):
            refuse_type("convert", "each name in parameters", "a string", key)
        array = native(unwrap(value))
        if not isinstance(array, jax.Array | np.ndarray) or isinstance(array, jax.core.Tracer):
            refuse_type("convert", repr(key), "a Tensor or an array of known values", array)
        if array.dtype not in (float32, float64):
            msg = f"convert: {key!r} must be of float32 or float64, got {array.dtype}"
            raise TypeError(msg)
        arrays[key] = np.asarray(array)
        first = next(iter(arrays.values()))
        check_same_dtype("convert", repr(key), array.dtype, first.dtype, "first entry's")
    return arrays


def _ends(sizes: _Sizes) -> list[str]:
    """Return what names each layer and direction, in the order of torch's parameters."""
    directions = ("", "_reverse") if sizes.bidirectional else ("",)
    return [f"l{layer}{end}" for layer in range(sizes.num_layers) for end in directions]


def _places(form: str, sizes: _Sizes) -> Iterator[_Place]:
    """Yield the entries of a form, in its order."""
    directions = 1 + sizes.bidirectional
    for at, end in enumerate(_ends(sizes)):
        layer, reverse = divmod(at, directions)
        for entry in _FORMS[form]:
            if (
                sizes.cell not in entry.cells.split()
                or (entry.part.startswith("bias") and not sizes.bias)
                or (entry.part == "weight_hr" and not sizes.proj_size)
                or ("D" in entry.axes and reverse)
                or ("L" in entry.axes and layer)
            ):
                continue
            of, widest = slice(at, at + 1), layer
            if "L" in entry.axes:
                # All inputs are as wide as the last layer's there.
                of, widest = slice(None), sizes.num_layers - 1
            elif "D" in entry.axes:
                of = slice(at, at + directions)
            yield _Place(entry.name.format(d=end), entry, of, sizes.letters(widest))


def _refuse_missing(form: str, name: str) -> NoReturn:
    refuse("convert", f"{name!r} of {form}", "given", "no such entry")


def _refuse_shape(form: str, name: str, wanted: Any, array: Array) -> NoReturn:
    refuse("convert", f"{name!r} of {form}", f"of shape {wanted}", f"shape {array.shape}")


def _measured(form: str, arrays: Arrays) -> _Sizes:
    """Return the sizes that the names and shapes of a form's entries say, if all of them agree."""
    layers, reverse, parts = _named(form, arrays)
    found: dict[str, int] = {}
    named: dict[str, str] = {}
    for entry in _FORMS[form]:
        if entry.part in parts and entry.part.startswith("weight"):
            name, words = entry.name.format(d="l0"), entry.axes.split()
            if name not in arrays:
                _refuse_missing(form, name)
            shape = arrays[name].shape
            if len(shape) != len(words) or 0 in shape:
                wanted = ", ".join(["·".join(word) for word in words])
                _refuse_shape(form, name, f"({wanted}), none of them 0", arrays[name])
            found |= zip(words, shape, strict=True)
            named[entry.part] = f"{name!r} of {form}"
    hidden = found.get("H", found["P"])
    rows = found["GH"] if "GH" in found else found["G"] * hidden
    cell = next((c for c, gates in _GATES.items() if len(gates) * hidden == rows), None)
    if cell is None:
        got = f"G·H = {rows} and H = {hidden}"
        refuse("convert", named["weight_hh"], "of G = 1, 3 or 4 gates", got)
    if found.get("D", 1) > 2:
        refuse("convert", named["weight_hh"], "of 1 or 2 directions", found["D"])
    projected = found["P"] if "weight_hr" in parts else 0
    if projected >= hidden:
        got = f"P = {projected} and H = {hidden}"
        refuse("convert", named["weight_hr"], "of a projection to fewer than H", got)
    sizes = _Sizes(
        cell=cell,
        input_size=found["I"],
        hidden_size=hidden,
        num_layers=found.get("L", layers),
        bidirectional=found.get("D", 1 + reverse) == 2,
        proj_size=projected,
        bias=form == "flax" or any([part.startswith("bias") for part in parts]),
    )
    _check_entries(form, arrays, {place.name: place.shape for place in _places(form, sizes)})
    return sizes


def _named(form: str, arrays: Arrays) -> tuple[int, bool, set[str]]:
    """Return how many layers the names tell of, whether of a reverse direction, and which parts."""
    layers, reverse, parts = set(), False, {"weight_ih", "weight_hh"}
    for entry in _FORMS[form]:
        before, place, after = entry.name.partition("{d}")
        number = "l(?P<layer>0|[1-9][0-9]*)(?P<reverse>_reverse)?" if place else ""
        pattern = re.compile(re.escape(before) + number + re.escape(after))
        for match in filter(None, map(pattern.fullmatch, arrays)):
            parts.add(entry.part)
            if place:
                layers.add(match["layer"])
                reverse |= match["reverse"] is not None
    return len(layers), reverse, parts


def _check_entries(form: str, arrays: Arrays, wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Raise `ValueError` that names an entry that is missing, unknown or of another shape."""
    for name in wanted:
        if name not in arrays:
            _refuse_missing(form, name)
    for name, array in arrays.items():
        if name not in wanted:
            refuse("convert", f"each entry of {form}", "one that its layers have", repr(name))
        if array.shape != wanted[name]:
            _refuse_shape(form, name, wanted[name], array)


def _check_room(form: str, parts: Sequence[Arrays], sizes: _Sizes) -> None:
    """Raise `ValueError` that names, as torch does, what has no place in a form."""
    if sizes.proj_size and all([entry.part != "weight_hr" for entry in _FORMS[form]]):
        got = f"proj_size={sizes.proj_size}"
        refuse("convert", "weight_hr_l0", f"left out for {form}, which has no projection", got)
    if form == "flax" and sizes.cell == "GRU" and sizes.bias:
        for end, each in zip(_ends(sizes), parts, strict=True):
            of_n = each["bias_hh"][2]
            if of_n.any():
                wanted = "0 in the part of n for flax, which has no place for it"
                refuse("convert", f"bias_hh_{end}", wanted, of_n[of_n != 0][0])
    width = sizes.letters(layer=1)["I"]
    if form == "onednn" and sizes.num_layers > 1 and width != sizes.input_size:
        wanted = f"as wide as weight_ih_l0 for onednn, {sizes.input_size}"
        refuse("convert", "weight_ih_l1", wanted, width)


def _by_gates(form: str, to: str, each: Arrays, cell: str) -> Arrays:
    """Return the parts of one layer and direction with the gates of a form in another's order."""
    own, wanted = (_OTHER_GATES.get((name, cell), _GATES[cell]) for name in (form, to))
    order = [own.index(gate) for gate in wanted]
    return {part: a if part == "weight_hr" else a[order] for part, a in each.items()}


def _axes(entry: _Entry) -> tuple[str, str]:
    """Return the axes of an entry one by one, and in the order of its parts side by side."""
    apart = entry.axes.replace(" ", "")
    return apart, "".join([a for a in "LD" if a in apart]) + _PARTS[entry.part]


def _read(form: str, arrays: Arrays, sizes: _Sizes) -> list[Arrays]:
    """Return the parts of each layer and direction, (G, H, ...) with gates in torch's order."""
    parts: list[Arrays] = [{} for _ in _ends(sizes)]
    for place in _places(form, sizes):
        part = place.entry.part
        apart, ordered = _axes(place.entry)
        array = arrays[place.name].reshape([place.letters[a] for a in apart])
        array = array.transpose([apart.index(a) for a in ordered])
        shape = [place.letters[a] for a in _PARTS[part]]
        for each, own in zip(parts[place.of], array.reshape(-1, *shape), strict=True):
            if part in _BIASES:
                each["bias_ih"], each["bias_hh"] = _BIASES[part].part(own)
            else:
                each[part] = own
    return [_by_gates(form, "torch", each, sizes.cell) for each in parts]


def _written(form: str, parts: Sequence[Arrays], sizes: _Sizes) -> Arrays:
    """Return the entries of a form, each in memory of its own."""
    parts = [_by_gates("torch", form, each, sizes.cell) for each in parts]
    arrays = {}
    for place in _places(form, sizes):
        part = place.entry.part
        apart, ordered = _axes(place.entry)
        own = parts[place.of]
        if part in _BIASES:
            with np.errstate(over="ignore", invalid="ignore"):
                joined = [_BIASES[part].join(each["bias_ih"], each["bias_hh"]) for each in own]
        else:
            joined = [each[part] for each in own]
        array = np.stack(joined).reshape([place.letters[a] for a in ordered])
        array = array.transpose([ordered.index(a) for a in apart])
        arrays[place.name] = np.ascontiguousarray(array.reshape(place.shape))
    return arrays


def _in_line(names: Iterable[str]) -> list[str]:
    """Return torch's names in the order of cuDNN: all weights, then all biases."""
    return sorted(names, key=lambda name: name.startswith("bias"))


def _joined(arrays: Arrays) -> Arrays:
    """Return cuDNN's weights of torch's entries."""
    return {"weights": np.concatenate([arrays[name].ravel() for name in _in_line(arrays)])}


def _split(arrays: Arrays, sizes: _Sizes) -> Arrays:
    """Return torch's entries of cuDNN's weights."""
    # Layers above the first are of one size: what was said is compared before it is counted out.
    one, two = (
        sum([math.prod(place.shape) for place in _places("torch", sizes._replace(num_layers=n))])
        for n in (1, 2)
    )
    _check_entries("cudnn", arrays, {"weights": (one + (two - one) * (sizes.num_layers - 1),)})
    shapes = {place.name: place.shape for place in _places("torch", sizes)}
    names = _in_line(shapes)
    lengths = [math.prod(shapes[name]) for name in names]
    pieces = np.split(arrays["weights"], np.cumsum(lengths)[:-1])
    return {name: a.reshape(shapes[name]) for name, a in zip(names, pieces, strict=True)}
