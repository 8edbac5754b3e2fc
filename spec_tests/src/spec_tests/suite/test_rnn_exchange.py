"""Chapter rnn: `convert`.

``I`` input size, ``H`` hidden size, ``P`` size of the projection.
"""

from itertools import product
from typing import Any

import numpy as np
import pytest

from spec_tests import clause
from spec_tests.oracle import load
from spec_tests.support.assertions import agrees, exactly, raw, refuses, to_numpy

FORMS = ("torch", "keras", "flax", "onnx", "cudnn", "onednn")
CELLS = {"RNN": 1, "LSTM": 4, "GRU": 3}
I, H, P = 2, 3, 2  # noqa: E741 - the letters of the chapter
# Of the gates of torch, the rows of each other form in its own order.
ORDERS = {
    ("LSTM", "onnx"): (0, 3, 1, 2),
    ("GRU", "keras"): (1, 0, 2),
    ("GRU", "onnx"): (1, 0, 2),
    ("GRU", "onednn"): (1, 0, 2),
}
Arrays = dict[str, np.ndarray]


def parameters_of(
    nn: Any, cell: str, dtype: str = "float32", width: int = I, **options: Any
) -> Arrays:
    """Return the parameters of a layer, in the form of torch."""
    nn.manual_seed(51)
    layer = getattr(nn, cell)(width, H, dtype=getattr(nn, dtype), **options)
    return {name: to_numpy(nn, p.detach()).copy() for name, p in layer.named_parameters()}


def same(nn: Any, got: Any, want: Arrays, call: str) -> None:
    """Compare names and arrays bit for bit."""
    __tracebackhide__ = True
    assert isinstance(got, dict)
    assert list(got) == list(want), f"{call}: got the entries {list(got)}"
    for name, array in want.items():
        assert type(got[name]) is np.ndarray, f"{call}: {name} is a {type(got[name]).__name__}"
        exactly(nn, got[name], array, call=f"{call}: {name}", dtype=array.dtype.name)


@clause("rnn-52")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("form", ["keras", "flax", "onnx"])
def test_what_other_software_computes(nn: Any, form: str, cell: str, directions: int) -> None:
    """Its parameters give its outputs, and come back from the form of torch as they were."""
    known = load("exchange")[form][cell][str(directions)]
    parameters = nn.rnn.convert(known["parameters"], source=form)
    layer = getattr(nn, cell)(I, H, bidirectional=directions == 2)
    missing, unexpected = layer.load_state_dict(parameters)
    assert not missing
    assert not unexpected
    output, last = layer(nn.tensor(known["x"]))
    states = last if cell == "LSTM" else (last,)
    agrees(nn, output.detach(), known["output"], "rnn", call=f"{form} {cell}", dtype="float32")
    for name, state in zip(("h_n", "c_n"), states, strict=False):
        agrees(
            nn, state.detach(), known[name], "rnn", call=f"{form} {cell}: {name}", dtype="float32"
        )
    back = nn.rnn.convert(layer.state_dict(), target=form)
    for name, array in known["parameters"].items():
        exactly(nn, back[name], array, call=f"{form} {cell}: {name}", dtype="float32")
    assert set(back) == set(known["parameters"])


def gates(array: np.ndarray, cell: str, form: str) -> np.ndarray:
    """Return rows of gates in the order of a form, (G, H, ...)."""
    apart = array.reshape(CELLS[cell], H, *array.shape[1:])
    return apart[list(ORDERS.get((cell, form), range(CELLS[cell])))]


def in_keras(own: Arrays, cell: str) -> Arrays:
    """Return one direction of one layer as the table has it."""
    rows = {key: gates(array, cell, "keras") for key, array in own.items()}
    joined = {key: a.reshape(-1, *a.shape[2:]) for key, a in rows.items()}
    found = {"kernel": joined["weight_ih"].T, "recurrent_kernel": joined["weight_hh"].T}
    if "bias_ih" in own:
        pair = joined["bias_ih"], joined["bias_hh"]
        found["bias"] = np.stack(pair) if cell == "GRU" else pair[0] + pair[1]
    return found


def in_flax(own: Arrays, cell: str) -> Arrays:
    found = {"dense_i.kernel": own["weight_ih"].T, "dense_h.kernel": own["weight_hh"].T}
    rows = len(own["weight_ih"])
    dtype = own["weight_ih"].dtype
    total = own.get("bias_ih", np.zeros(rows, dtype)) + own.get("bias_hh", np.zeros(rows, dtype))
    found["dense_h.bias" if cell == "LSTM" else "dense_i.bias"] = total
    return found


def in_onnx(owns: list[Arrays], cell: str) -> Arrays:
    def turned(key: str) -> np.ndarray:
        parts = [gates(own[key], cell, "onnx") for own in owns]
        return np.stack([part.reshape(-1, *part.shape[2:]) for part in parts])

    found = {"W": turned("weight_ih"), "R": turned("weight_hh")}
    if "bias_ih" in owns[0]:
        found["B"] = np.concatenate([turned("bias_ih"), turned("bias_hh")], axis=1)
    return found


def in_onednn(every: list[list[Arrays]], cell: str) -> Arrays:
    """Return all layers and directions in the four or five axes of oneDNN."""

    def each(key: str) -> np.ndarray:
        rows = [[gates(own[key], cell, "onednn") for own in owns] for owns in every]
        return np.array(rows)

    found = {
        "weights_layer": each("weight_ih").transpose(0, 1, 4, 2, 3),
        "weights_iter": each("weight_hh").transpose(0, 1, 4, 2, 3),
    }
    if "bias_ih" in every[0][0]:
        of_input, of_state = each("bias_ih"), each("bias_hh")
        found["bias"] = of_input + of_state
        if cell == "GRU":
            parts = [found["bias"][:, :, :2], of_input[:, :, 2:], of_state[:, :, 2:]]
            found["bias"] = np.concatenate(parts, axis=2)
    if "weight_hr" in every[0][0]:
        found["weights_projection"] = np.array(
            [[own["weight_hr"].T for own in owns] for owns in every]
        )
    return found


def wanted(form: str, cell: str, parameters: Arrays) -> Arrays:
    """Return parameters in another form, written from the table alone."""
    directions = 2 if any(name.endswith("_reverse") for name in parameters) else 1
    layers = 1 + max(int(name.split("_l")[1].split("_")[0]) for name in parameters)
    ends = [
        [f"_l{layer}" + "_reverse" * turned for turned in range(directions)]
        for layer in range(layers)
    ]
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
    every = [
        [{n: parameters[n + end] for n in names if n + end in parameters} for end in row]
        for row in ends
    ]
    if form == "cudnn":
        order = [(own, n) for row in every for own in row for n in (names[0], names[1], names[4])]
        order += [(own, n) for row in every for own in row for n in names[2:4]]
        return {"weights": np.concatenate([own[n].ravel() for own, n in order if n in own])}
    if form == "onednn":
        return in_onednn(every, cell)
    found: Arrays = {}
    for row, owns in zip(ends, every, strict=True):
        if form == "onnx":
            found |= {f"{row[0][1:]}.{key}": a for key, a in in_onnx(owns, cell).items()}
            continue
        for end, own in zip(row, owns, strict=True):
            make = in_keras if form == "keras" else in_flax
            found |= {f"{end[1:]}.{key}": array for key, array in make(own, cell).items()}
    return found


OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": False},
    {"num_layers": 2, "bidirectional": True},
    {"num_layers": 3, "bias": False},
]


@clause("rnn-52", "rnn-53")
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("form", FORMS[1:])
@pytest.mark.parametrize("options", OPTIONS)
def test_every_form_is_as_the_table_says(
    nn: Any, dtype: str, form: str, cell: str, options: dict[str, Any]
) -> None:
    width = 1 if options == {"bias": False} else I
    if form == "onednn":  # Its layers are all as wide as the first.
        width = H * (2 if options.get("bidirectional") else 1)
    own = parameters_of(nn, cell, dtype, width, **options)
    if form == "flax" and cell == "GRU":
        for name in own:
            if name.startswith("bias_hh"):
                own[name][2 * H :] = 0
    call = f"{form} {cell} {options}"
    got = nn.rnn.convert({name: nn.tensor(array) for name, array in own.items()}, target=form)
    same(nn, got, wanted(form, cell, own), call)
    sizes = {"cell": cell, "input_size": width, "hidden_size": H} if form == "cudnn" else {}
    sizes |= options if form == "cudnn" else {}
    back = nn.rnn.convert(got, form, "torch", **sizes)
    again = nn.rnn.convert(back, target=form)
    same(nn, again, got, f"{call}, back and forth")
    for name, array in own.items():
        if "weight" in name or (form in ("onnx", "cudnn") and options.get("bias", True)):
            exactly(nn, back[name], array, call=f"{call}: {name}", dtype=dtype)
    layer = getattr(nn, cell)(width, H, dtype=getattr(nn, dtype), **options)
    if form != "flax" or options.get("bias", True):
        layer.load_state_dict(back)


@clause("rnn-53")
@pytest.mark.parametrize("form", ["torch", "cudnn", "onednn"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_projections(nn: Any, form: str, bidirectional: bool) -> None:
    width = P * (1 + bidirectional)
    options = {"num_layers": 2, "proj_size": P, "bidirectional": bidirectional}
    own = parameters_of(nn, "LSTM", "float32", width, **options)
    got = nn.rnn.convert(own, target=form)
    want = own if form == "torch" else wanted(form, "LSTM", own)
    same(nn, got, want, form)
    sizes = {"cell": "LSTM", "input_size": width, "hidden_size": H, **options}
    back = nn.rnn.convert(got, source=form, **sizes)
    layer = nn.LSTM(width, H, **options)
    layer.load_state_dict(back)
    for name in own:
        if "weight" in name:
            exactly(nn, back[name], own[name], call=name, dtype="float32")


@clause("rnn-53")
@pytest.mark.parametrize(("source", "target"), list(product(FORMS[:5], FORMS[:5])))
def test_from_any_form_to_any(nn: Any, source: str, target: str) -> None:
    """By way of torch's, and in one: the same."""
    own = parameters_of(nn, "LSTM", num_layers=2)
    sizes = {"cell": "LSTM", "input_size": I, "hidden_size": H, "num_layers": 2}
    first = nn.rnn.convert(own, target=source)
    by_torch = nn.rnn.convert(nn.rnn.convert(first, source, **sizes), target=target)
    same(nn, nn.rnn.convert(first, source, target, **sizes), by_torch, f"{source} to {target}")


@clause("rnn-52")
def test_kinds_of_arrays_and_their_memory(nn: Any) -> None:
    own = parameters_of(nn, "GRU")
    want = wanted("keras", "GRU", own)
    for make in (nn.tensor, lambda array: raw(nn, array), np.array):
        given = {name: make(array) for name, array in own.items()}
        got = nn.rnn.convert(given, target="keras")
        same(nn, got, want, "kinds")
        for array in got.values():
            array += 1
        again = nn.rnn.convert(given, target="keras")
        same(nn, again, want, "after the results were written")
    copied = nn.rnn.convert(own)
    copied["weight_ih_l0"][:] = 7
    assert not np.any(own["weight_ih_l0"] == 7)


@clause("rnn-53")
def test_what_has_no_place(nn: Any) -> None:
    projected = parameters_of(nn, "LSTM", proj_size=P)
    for form in ("keras", "flax", "onnx"):
        with refuses(ValueError, "convert", form, "weight_hr"):
            nn.rnn.convert(projected, target=form)
    gru = parameters_of(nn, "GRU")
    for number in (0.5, -0.5):
        gru["bias_hh_l0"] = np.zeros(3 * H, np.float32)
        gru["bias_hh_l0"][-1] = number
        with refuses(ValueError, "convert", "flax", "bias_hh_l0"):
            nn.rnn.convert(gru, target="flax")
    with refuses(ValueError, "convert", "onednn", "weight_ih_l1"):
        nn.rnn.convert(parameters_of(nn, "GRU", num_layers=2), target="onednn")


def broken(own: Arrays, how: str) -> Arrays:
    """Return parameters with one thing wrong."""
    changes: dict[str, Any] = {
        "missing": lambda: own.pop("weight_hh_l1"),
        "unknown": lambda: own.update(weight_l0=own["weight_hh_l0"]),
        "misshapen": lambda: own.update(weight_hh_l0=own["weight_hh_l0"][:, :2]),
        "narrow": lambda: own.update(weight_ih_l1=own["weight_ih_l1"][:, :1]),
        "bias in some": lambda: own.pop("bias_hh_l1"),
        "gap": lambda: own.update(
            {k.replace("l1", "l2"): own.pop(k) for k in list(own) if "l1" in k}
        ),
        "one direction in one": lambda: own.update(
            {f"{k}_reverse": own[k] for k in list(own) if k.endswith("l0")}
        ),
        "axes": lambda: own.update(bias_ih_l0=own["bias_ih_l0"][None]),
        "nothing": own.clear,
    }
    changes[how]()
    return own


@clause("rnn-53")
@pytest.mark.parametrize(
    "how",
    [
        "missing",
        "unknown",
        "misshapen",
        "narrow",
        "bias in some",
        "gap",
        "one direction in one",
        "axes",
        "nothing",
    ],
)
@pytest.mark.parametrize("target", ["torch", "onnx"])
def test_entries_that_do_not_fit(nn: Any, how: str, target: str) -> None:
    own = broken(parameters_of(nn, "LSTM", num_layers=2), how)
    with refuses(ValueError, "convert", "torch"):
        nn.rnn.convert(own, target=target)


@clause("rnn-53")
@pytest.mark.parametrize("form", ["keras", "flax", "onnx", "onednn"])
def test_entries_of_other_forms_that_do_not_fit(nn: Any, form: str) -> None:
    own = nn.rnn.convert(parameters_of(nn, "LSTM"), target=form)
    first = next(iter(own))
    for changed in (
        {key: array for key, array in own.items() if key != first},
        {**own, "l0.other": own[first]},
        # Of ONNX the last axis is the input's, which may have any size.
        {**own, first: np.delete(own[first], 0, axis=-2 if form == "onnx" else -1)},
        {**own, first: own[first].ravel()},
    ):
        with refuses(ValueError, "convert", form):
            nn.rnn.convert(changed, form)


@clause("rnn-53")
@pytest.mark.parametrize("form", ["keras", "flax", "onednn"])
def test_one_bias_for_two(nn: Any, form: str) -> None:
    """It comes back bit for bit, -0 too; of flax it must be there."""
    own = nn.rnn.convert(parameters_of(nn, "LSTM"), target=form)
    (name,) = [key for key in own if "bias" in key]
    own[name].reshape(-1)[:3] = [-0.0, np.inf, np.nan]
    back = nn.rnn.convert(nn.rnn.convert(own, source=form), target=form)
    bits = own[name].dtype.name.replace("float", "int")
    exactly(nn, back[name].view(bits), own[name].view(bits), call=form)
    del own[name]
    if form == "flax":
        with refuses(ValueError, "convert", form, name):
            nn.rnn.convert(own, source=form)
    else:
        assert not any("bias" in key for key in nn.rnn.convert(own, source=form))


@clause("rnn-53")
def test_sizes(nn: Any) -> None:
    convert = nn.rnn.convert
    own = parameters_of(nn, "LSTM", num_layers=2)
    right = {"cell": "LSTM", "input_size": I, "hidden_size": H, "num_layers": 2}
    others = {"bidirectional": False, "proj_size": 0, "bias": True}
    same(nn, convert(own, **right, **others), own, "sizes that are said")
    for name, value in {
        "cell": "GRU",
        "input_size": 3,
        "hidden_size": 4,
        "num_layers": 1,
        "bidirectional": True,
        "proj_size": 1,
        "bias": False,
    }.items():
        with refuses(ValueError, "convert", name):
            convert(own, **{name: value})
    flat = convert(own, target="cudnn")
    for name in ("cell", "input_size", "hidden_size"):
        some = {key: value for key, value in right.items() if key != name}
        with refuses((ValueError, TypeError), "convert", "cudnn", name):
            convert(flat, "cudnn", **some)
    for name, wrong in (("num_layers", 1), ("num_layers", 3), ("hidden_size", 4)):
        with refuses(ValueError, "convert", "cudnn", "weights"):
            convert(flat, "cudnn", **{**right, name: wrong})
    with refuses(ValueError, "convert", "cudnn", "weights"):
        convert({"weights": flat["weights"].reshape((1, -1))}, "cudnn", **right)
    for given, source in ((own, "torch"), (flat, "cudnn")):
        with refuses(ValueError, "convert", "cell", "Gru"):
            convert(given, source, **{**right, "cell": "Gru"})


@clause("rnn-53")
def test_arguments_that_do_not_fit(nn: Any) -> None:
    convert = nn.rnn.convert
    own = parameters_of(nn, "GRU")
    for where in ("source", "target"):
        with refuses(ValueError, "convert", where, "pytorch", *FORMS):
            convert(own, **{where: "pytorch"})
        with refuses(TypeError, "convert", where):
            convert(own, **{where: 3})
    with refuses(TypeError, "convert", "parameters"):
        convert(list(own.values()))
    with refuses(TypeError, "convert", "weight_ih_l0"):
        convert({**own, "weight_ih_l0": "text"})
    with refuses(TypeError, "convert", "int64"):
        convert({**own, "bias_ih_l0": np.zeros(3 * H, "int64")})
    with refuses(TypeError, "convert", "int64"):
        convert({name: array.astype("int64") for name, array in own.items()})
    with refuses(TypeError, "convert", "float64"):
        convert({**own, "bias_ih_l0": np.zeros(3 * H, "float64")})
    with refuses(TypeError, "convert", "hidden_size"):
        convert(own, hidden_size=3.0)
    with refuses(TypeError, "convert", "hidden_size"):
        convert(own, hidden_size=True)
    with refuses(TypeError, "convert"):
        convert({3: own["weight_ih_l0"]})
