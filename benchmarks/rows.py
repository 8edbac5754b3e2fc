"""What is measured: kinds of work, and the rows of each. A new layer or option joins as a row.

T steps, N batch, I input size, H hidden size.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from typing import Any

__all__ = ["EXPRESSIONS", "GATES", "KINDS", "NOBODY", "ROWS", "SGEMM", "Kind", "Row", "shrunk"]

NOBODY = ("nobody",)
GATES = {"RNN": 1, "LSTM": 4, "GRU": 3}


@dataclass(frozen=True)
class Kind:
    """One kind of work.

    Attributes
    ----------
    title, words : str
        For the page: a heading, and what is done and measured.
    maker : str
        The maker of a peer that prepares the work.
    measure : str
        ``"time"``: seconds of a call, by processes that live on and take turns. ``"import"``,
        ``"first"`` (from nothing to the end of the first call), ``"peak"`` (bytes): once in each of
        several fresh processes. ``"count"``: the number that a call returns.
    unit : str
    scale : float
        From seconds or bytes to the unit.
    axes : tuple of str
        What the numbers of a row's shape are.
    peers : tuple of str
        Who is measured beside the implementations; empty: everyone who can. `NOBODY` is nobody.
    ours : tuple of str
        The implementations that are asked; empty: all.
    rounds : int
        How many fresh processes there are for each sample.
    """

    title: str
    words: str
    maker: str
    measure: str = "time"
    unit: str = "ms"
    scale: float = 1e3
    axes: tuple[str, ...] = ("T", "N", "I", "H")
    peers: tuple[str, ...] = ()
    ours: tuple[str, ...] = ()
    rounds: int = 3

    @property
    def fresh(self) -> bool:
        """Whether each sample takes a process of its own."""
        return self.measure in ("import", "first", "peak")


KINDS: dict[str, Kind] = {
    "train": Kind(
        "Sequence layers, training",
        "One layer over a sequence, forward, and backward to the input and all weights.",
        "train",
    ),
    "options": Kind(
        "Options of sequence layers, training",
        "Layers above one another, both directions, a projection, and sequences of different "
        "lengths in one batch (drawn evenly from 1 to T; torch.nn packs and unpacks them), and "
        "resets, of which each sequence has one in a hundred steps (torch.nn is called for each "
        "stretch without one in any sequence), as in the first section.",
        "train",
        peers=("torch.nn", "flax.nnx"),
    ),
    "inference": Kind(
        "Sequence layers, inference",
        "The same layers, forward alone, nothing recorded.",
        "inference",
    ),
    "cell": Kind(
        "Cells in a loop",
        "A cell called T times by Python, forward, and backward to all weights; under jit, as in "
        "flax, the whole loop is compiled.",
        "cell",
    ),
    "unroll": Kind(
        "The user's own cell over a sequence",
        "A cell of one gate and one candidate written with the library's operations (own), or the "
        "library's own cell: forward, and backward to the input and all weights. Ours by `unroll`; "
        "apart: the product with the input is one for all steps (`project`); sqrt: with "
        "`checkpoint`. torch.nn is a loop over the steps; lax.scan is written by hand, under jit.",
        "unroll",
        peers=("torch.nn", "lax.scan"),
    ),
    "second": Kind(
        "Second derivative",
        "The gradient, to all weights, of the squared gradient to the input.",
        "second",
    ),
    "eager": Kind(
        "One operation on the tape",
        "One operation on square matrices, forward and backward to both.",
        "eager",
        unit="us",
        scale=1e6,
        axes=("side", "side"),
    ),
    "layer": Kind(
        "Other layers",
        "Forward, and backward to the input, where it is floating, and all weights.",
        "layer",
        unit="us",
        scale=1e6,
        axes=(),
        peers=("torch.nn", "torch.compile"),
    ),
    "loss": Kind(
        "Losses",
        "Forward, and backward to the input.",
        "loss",
        unit="us",
        scale=1e6,
        axes=("N", "classes"),
        peers=("torch.nn", "torch.compile"),
    ),
    "optimizer": Kind(
        "Optimizers",
        "One step on square matrices whose gradients are given.",
        "optimizer",
        unit="us",
        scale=1e6,
        axes=("matrices", "side"),
        peers=("torch.nn", "torch.compile", "flax.nnx"),
    ),
    "epoch": Kind(
        "An epoch of training",
        "One epoch of each workload of the comparison, with its data, loss and Adam.",
        "epoch",
        axes=(),
        peers=("torch.nn", "torch.compile"),
    ),
    "growth": Kind(
        "Growth",
        "A training step as in the first section, one size growing.",
        "train",
        peers=("torch.nn",),
    ),
    "import": Kind(
        "Import",
        "From a started interpreter to the imported library.",
        "",
        measure="import",
        axes=(),
    ),
    "first": Kind(
        "Building and compiling",
        "From the imported library to the end of the first training step: the layer is built and, "
        "where there is a compiler, compiled, without a cache of earlier runs.",
        "train",
        measure="first",
    ),
    "build": Kind(
        "Building the extension",
        "From the sources in C++ to the compiled module, in an empty folder.",
        "build",
        measure="first",
        unit="s",
        scale=1.0,
        axes=(),
        peers=NOBODY,
        ours=("impl_torch_ext",),
        rounds=1,
    ),
    "memory": Kind(
        "Peak memory",
        "How far the process's resident memory is, at its peak in a second training step, above "
        "what it was before the layer was built: buffers kept from the first count, a "
        "compiler's own peak does not. The last table fits it to a + b T^p.",
        "train",
        measure="peak",
        unit="MiB",
        scale=2.0**-20,
        peers=("torch.nn", "flax.nnx"),
    ),
    "states": Kind(
        "Peak memory of the user's own cell over a sequence",
        "As above, of the cell of one gate and one candidate, which reads and shows 4 numbers of "
        "the H in its state, so that what it keeps for backward is what there is: by `unroll`, and "
        'with `checkpoint="sqrt"` (sqrt), which keeps the square root of T states. torch.nn and '
        "lax.scan as in the section on its times.",
        "unroll",
        measure="peak",
        unit="MiB",
        scale=2.0**-20,
        peers=("torch.nn", "lax.scan"),
    ),
    "launches": Kind(
        "Launches on the GPU",
        "Kernels and products launched by a training step, counted.",
        "launches",
        measure="count",
        unit="launches",
        scale=1.0,
        peers=NOBODY,
        ours=("impl_cupy",),
    ),
}

# As an expression, so that a method, an operator and a function of `ops` are timed as written.
EXPRESSIONS = {
    "add": "x + y",
    "multiply": "x * y",
    "divide": "x / (y * y + 1)",
    "tanh": "ops.tanh(x)",
    "exp": "ops.exp(x)",
    "maximum": "ops.maximum(x, y)",
    "matmul": "x @ y",
    "sum": "ops.sum(x)",
    "getitem": "x[1:, ::2]",
    "softmax": "ops.softmax(x, -1)",
    "five in a chain": "ops.tanh(x * y + x) * 0.5 + y",
}


@dataclass(frozen=True)
class Row:
    """One thing to measure.

    Attributes
    ----------
    kind : str
        A key of `KINDS`.
    name : str
        A cell, operation, layer, loss, optimizer or workload.
    shape : tuple of int
        The sizes named by the kind's ``axes``, or the input's shape.
    arguments : tuple of int
        A layer's constructor's, by position.
    options : mapping
        The keywords of an optimizer or a sequence layer, there with `lengths`, whether the
        sequences have different lengths, `resets`, whether states are reset on the way, and
        `projected`, to half of H; `apart`, `sqrt` and `narrow` of a cell over a sequence; a
        workload's fields.
    quick : bool
        Whether ``--quick`` measures it too.
    along : str
        In the kind growth, the axis that grows.
    """

    kind: str
    name: str
    shape: tuple[int, ...] = ()
    arguments: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    quick: bool = False
    along: str = ""

    @property
    def label(self) -> str:
        """What stands before the numbers: the name, and options that tell it from others."""
        options = (
            key if value is True else f"{key}={value}" for key, value in self._small_options()
        )
        return " ".join([self.name, *options])

    @property
    def key(self) -> str:
        """The row's name in results: the same in each run."""
        words = [self.kind, self.label, ",".join(map(str, self.shape)), self.along]
        return " ".join(filter(None, words))

    @property
    def sizes(self) -> str:
        """The shape for people, as in ``8, 32, 8, 32``."""
        return ", ".join(map(str, self.shape))

    @property
    def flops(self) -> float:
        """Floating-point operations of the products of a sequence layer; 0 for other work."""
        if self.kind == "sgemm":
            return 2.0 * math.prod(self.shape)
        gates = GATES.get(self.name)
        counted = self.kind in ("train", "inference", "growth", "options")
        # With lengths it depends on the numbers drawn.
        if gates is None or not counted or self.options.get("lengths"):
            return 0.0
        steps, batch, inputs, hidden = self.shape
        out, directions = self.out, self.directions
        layers = self.options.get("num_layers", 1)
        width = layers * (gates * hidden * out + (hidden * out if out != hidden else 0))
        width += gates * hidden * (inputs + (layers - 1) * directions * out)
        # One product forward and two backward, each a multiplication and an addition.
        products = 1 if self.kind == "inference" else 3
        return 2.0 * products * steps * batch * directions * width

    @property
    def directions(self) -> int:
        """How many directions a sequence layer has."""
        return 2 if self.options.get("bidirectional") else 1

    @property
    def out(self) -> int:
        """How many numbers h has: H, or half of it if it is projected."""
        return self.shape[3] // (2 if self.options.get("projected") else 1)

    @property
    def shown(self) -> int:
        """How many numbers of the state of a cell over a sequence come out of it."""
        return min(4, self.out) if self.options.get("narrow") else self.out

    @property
    def keywords(self) -> dict[str, Any]:
        """The options of a sequence layer's constructor."""
        of_call = ("lengths", "resets", "projected")
        options = {k: v for k, v in self.options.items() if k not in of_call}
        return options | ({"proj_size": self.out} if self.options.get("projected") else {})

    def as_dict(self) -> dict[str, Any]:
        """Return the fields, as a message holds them."""
        return asdict(self)

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Row:
        """Return the row that `as_dict` gave, after a passage through JSON."""
        lists = {key: tuple(fields[key]) for key in ("shape", "arguments")}
        return cls(**{**fields, **lists})

    def _small_options(self) -> Iterator[tuple[str, Any]]:
        return (item for item in self.options.items() if not isinstance(item[1], dict | str))


# The product that says how fast this machine multiplies; efficiency is measured by it.
SGEMM = Row("sgemm", "sgemm", (1024, 1024, 1024))


def shrunk(row: Row) -> Row:
    """Return tiny work of the same kind, which loads what loads late."""
    return Row(row.kind, row.name, tuple(min(size, 2) for size in row.shape), row.arguments)


CELLS = tuple(GATES)
SHAPES = (
    (8, 32, 8, 32),
    (28, 64, 28, 128),
    (100, 32, 128, 256),
    (100, 64, 512, 512),
    (200, 1, 64, 64),
)
SIDES = (2, 64, 512)
OPTIONS: tuple[Mapping[str, Any], ...] = (
    {"num_layers": 2},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True},
    {"lengths": True},
    {"resets": True},
    {"num_layers": 2, "bidirectional": True, "lengths": True},
)
STILL = {"T": 64, "N": 16, "I": 64, "H": 64}
GROWING = {"T": (64, 256, 1024, 4096), "N": (1, 4, 16, 64, 256), "H": (16, 64, 256, 512)}
# Names in `spec_tests.compare.workloads`; the program fills in the fields and the data's place.
WORKLOADS = ("digits_rnn", "digits_lstm", "digits_gru", "pydoc_gru", "truecase_lstm")
LONGER = (64, 256, 1024, 4096)


def _recurrent(kind: str, shapes: Sequence[tuple[int, ...]]) -> Iterator[Row]:
    """Each cell at each shape; the first shape is the quick one."""
    for cell, shape in product(CELLS, shapes):
        yield Row(kind, cell, shape, quick=shape == shapes[0])


def _growing() -> Iterator[Row]:
    """Each cell, one axis growing while the others keep still."""
    for cell, (axis, sizes) in product(CELLS, GROWING.items()):
        for size in sizes:
            shape = tuple({**STILL, axis: size}.values())
            quick = cell == "GRU" and axis == "T" and size <= sizes[1]
            yield Row("growth", cell, shape, quick=quick, along=axis)


ROWS: tuple[Row, ...] = (
    *_recurrent("train", SHAPES),
    *(
        Row("options", cell, shape, options=options)
        for cell, shape, options in product(
            CELLS, ((28, 64, 28, 128), (100, 32, 128, 256)), OPTIONS
        )
    ),
    *(
        Row("options", "LSTM", shape, options={"projected": True})
        for shape in ((28, 64, 28, 128), (100, 32, 128, 256))
    ),
    Row("options", "GRU", (8, 32, 8, 32), options=OPTIONS[-1], quick=True),
    *_recurrent("inference", SHAPES),
    *_recurrent("cell", ((8, 32, 8, 32), (28, 64, 28, 128))),
    *(
        Row("unroll", name, shape, options=options, quick=shape == SHAPES[0])
        for name, shape, options in product(("own", "LSTM"), SHAPES[:3], ({}, {"sqrt": True}))
    ),
    *(Row("unroll", "own", shape, options={"apart": True}) for shape in SHAPES[:3]),
    *_recurrent("second", ((8, 32, 8, 32), (28, 64, 28, 128))),
    *(
        Row("eager", name, (side, side), quick=side == 2 and name in ("add", "tanh", "matmul"))
        for name, side in product(EXPRESSIONS, SIDES)
    ),
    Row("layer", "Linear", (64, 256), (256, 256), quick=True),
    Row("layer", "LayerNorm", (64, 512), (512,)),
    Row("layer", "Embedding", (64, 32), (1000, 64)),
    Row("layer", "ReLU", (64, 512)),
    Row("layer", "Softmax", (64, 512), (1,)),
    Row("layer", "GELU", (64, 512)),
    Row("layer", "RMSNorm", (64, 512), (512,)),
    Row("layer", "GroupNorm", (32, 16, 28, 28), (4, 16)),
    Row("layer", "BatchNorm2d", (32, 16, 28, 28), (16,)),
    Row("layer", "Conv1d", (32, 16, 256), (16, 32, 3)),
    Row("layer", "Conv2d", (32, 16, 28, 28), (16, 32, 3), quick=True),
    Row("layer", "Conv2d", (32, 64, 14, 14), (64, 64, 3, 1, 1)),
    # Depthwise: as many groups as channels.
    Row("layer", "Conv2d", (32, 32, 14, 14), (32, 32, 3, 1, 1, 1, 32)),
    Row("layer", "ConvTranspose2d", (32, 32, 14, 14), (32, 16, 3, 2)),
    Row("layer", "MaxPool2d", (32, 16, 28, 28), (2,)),
    Row("layer", "AvgPool2d", (32, 16, 28, 28), (2,)),
    Row("layer", "MultiheadAttention", (64, 16, 64), (64, 4)),
    Row("loss", "MSELoss", (64, 10)),
    Row("loss", "L1Loss", (64, 10)),
    Row("loss", "CrossEntropyLoss", (64, 10), quick=True),
    Row("loss", "CrossEntropyLoss", (512, 1000)),
    Row("loss", "BCEWithLogitsLoss", (64, 10)),
    Row("loss", "HuberLoss", (64, 10)),
    Row("optimizer", "SGD", (8, 128)),
    Row("optimizer", "SGD", (8, 128), options={"momentum": 0.9}),
    Row("optimizer", "Adam", (8, 128), quick=True),
    Row("optimizer", "AdamW", (8, 128)),
    Row("optimizer", "RMSprop", (8, 128)),
    Row("optimizer", "Adagrad", (8, 128)),
    *(Row("epoch", name, quick=name == "digits_gru") for name in WORKLOADS),
    *_growing(),
    Row("import", "import", quick=True),
    *_recurrent("first", ((28, 64, 28, 128), (280, 64, 28, 128))),
    Row("build", "impl_torch_ext"),
    *(
        Row("memory", cell, (steps, 8, 32, 64), quick=cell == "GRU" and steps <= LONGER[1])
        for cell, steps in product(CELLS, LONGER)
    ),
    *(
        Row(
            "states",
            "own",
            (steps, 8, 4, 256),
            options={"narrow": True, **sqrt},
            quick=steps <= LONGER[1],
        )
        for sqrt, steps in product(({}, {"sqrt": True}), LONGER)
    ),
    *_recurrent("launches", ((10, 4, 8, 16), (100, 4, 8, 16))),
)
