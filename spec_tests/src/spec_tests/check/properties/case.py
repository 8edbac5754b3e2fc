"""One Function on one backend, at one choice of sizes: what every property is asked of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spec_tests.check.inputs import Signature
from spec_tests.check.subjects.base import Application, Arrays, NotAsked, Slopes, Subject

PASSED, FAILED, REFUSED, NOT_ASKED = "passed", "failed", "refused", "not asked"


class Wrong(Exception):
    """The property does not hold.

    Parameters
    ----------
    says : str
        What is wrong, in one line.
    body : str
        Statements that show it, below the subject's prelude; they end in an exception.
    """

    def __init__(self, says: str, body: str = "") -> None:
        super().__init__(says)
        self.says, self.body = says, body


class Refused(Exception):
    """The Function says in words that it does not do this, which is no wrong result."""


@dataclass(frozen=True)
class Property:
    """A row of the table of properties.

    Attributes
    ----------
    name : str
        One word, as in ``--only``.
    asks : str
        What must hold, in one line.
    ask : callable
        Takes a `Case`; returns what was found in a few words, or raises `Wrong`, `Refused` or
        `NotAsked`.
    once : bool
        Whether it is asked at the last sizes alone.
    """

    name: str
    asks: str
    ask: Callable[["Case"], str]
    once: bool = False


@dataclass
class Case:
    """A Function on a backend, with inputs.

    Attributes
    ----------
    subject : Subject
    signature : Signature
    sizes : mapping
        The size for each name in the signature.
    batch : str
        The name of the axis that holds examples, if the caller says so.
    found : dict
        What properties leave for each other.
    """

    subject: Subject
    signature: Signature
    sizes: Mapping[str, int]
    batch: str = ""
    seed: int = 0
    found: dict[Any, Any] = field(default_factory=dict)

    @property
    def wanted(self) -> list[bool]:
        """Which inputs a gradient is wanted for."""
        return list(self.signature.wanted)

    @property
    def places(self) -> list[int]:
        """The positions of these inputs."""
        return [k for k, w in enumerate(self.wanted) if w]

    def values(self, seed: int = 0, dtype: str = "", **sizes: int) -> list[Any]:
        """Return inputs, at other sizes where some are given."""
        return self.signature.at({**self.sizes, **sizes}, self.seed + seed, dtype)

    def apply(self, values: Sequence[Any], wanted: Sequence[bool] | None = None) -> Application:
        """Run forward."""
        return self.subject.apply(values, self.wanted if wanted is None else wanted)

    def cotangents(self, made: Application, seed: int = 0) -> Arrays:
        """Return gradients for the outputs: zeros for those of other dtypes."""
        rng = np.random.default_rng(100 + seed)
        return [
            weights(rng, y.shape, y.dtype) if y.dtype.kind == "f" else np.zeros(y.shape, y.dtype)
            for y in made.outputs
        ]

    def directions(self, values: Sequence[Any], seed: int = 0, only: int | None = None) -> Arrays:
        """Return a direction for each wanted input, 0 for all but `only` that one."""
        rng = np.random.default_rng(200 + seed)
        made = []
        for place in self.places:
            drawn = weights(rng, values[place].shape, values[place].dtype)
            made.append(drawn if only in (None, place) else np.zeros_like(drawn))
        return made

    def moved(self, values: Sequence[Any], directions: Arrays, step: float) -> list[Any]:
        """Return the inputs, moved by a step in the directions."""
        result = list(values)
        for place, direction in zip(self.places, directions, strict=True):
            result[place] = np.asarray(values[place] + step * direction, values[place].dtype)
        return result

    def floats(self, made: Application) -> list[int]:
        """Return which outputs are floating and have a gradient."""
        floating = [k for k, y in enumerate(made.outputs) if y.dtype.kind == "f"]
        follows = [k for k in floating if made.follows[k]]
        return follows or floating

    def script(self, body: str) -> str:
        """Return a script that runs on its own."""
        return self.subject.script(body)


def weights(rng: np.random.Generator, shape: tuple[int, ...], dtype: Any = float) -> np.ndarray:
    """Return numbers of size about 1, short to print, none 0; many are cosines."""
    size = int(np.prod(shape, dtype=int))
    if size > 64:
        return np.asarray(np.cos(np.arange(size) + rng.integers(1, 1000)).reshape(shape), dtype)
    return np.asarray((2 * rng.integers(-12, 12, shape) + 1) / 16, dtype)


def precision(dtype: Any) -> float:
    """Return the machine epsilon of a dtype, that of float64 for all that are not floating."""
    dtype = np.dtype(dtype)
    return float(np.finfo(dtype).eps) if dtype.kind == "f" else float(np.finfo(np.float64).eps)


def differ(got: np.ndarray | None, want: np.ndarray | None, ulps: float = 256) -> bool:
    """Whether two results differ by more than another order of sums explains; None is zero."""
    if got is None or want is None:
        other = got if want is None else want
        return other is not None and bool(np.any(other != 0))
    if got.shape != want.shape or got.dtype != want.dtype:
        return True
    if got.dtype.kind != "f":
        return not np.array_equal(got, want)
    finite = np.isfinite(want)
    if not np.array_equal(finite, np.isfinite(got)):
        return True
    if not np.array_equal(got[~finite], want[~finite], equal_nan=True):
        return True
    scale = float(np.max(np.abs(want[finite]), initial=0.0))
    bound = ulps * precision(want.dtype) * (np.abs(want[finite]) + scale)
    return bool(np.any(np.abs(got[finite] - want[finite]) > bound))


def first_difference(got: Sequence[Any], want: Sequence[Any], ulps: float = 256) -> int | None:
    """Return the first position at which two lists of results differ."""
    for place, (a, b) in enumerate(zip(got, want, strict=True)):
        if differ(a, b, ulps):
            return place
    return None


def literal(value: Any) -> str:
    """Return Python's words for a value; long arrays of cosines are said as such."""
    if not isinstance(value, np.ndarray):
        return repr(value)
    if value.size == 0:
        return f"np.zeros({value.shape}, {value.dtype.name!r})"
    if value.size > 64 and value.dtype.kind == "f":
        for factor in (1.0, 1.5):
            start = _cosine(value.ravel()[:6] / factor)
            if start:
                whole = f"{factor} * np.cos(np.arange({value.size}.0) + {start})"
                return f"({whole}).reshape({value.shape}).astype({value.dtype.name!r})"
    return f"np.array({value.tolist()!r}, {value.dtype.name!r}).reshape({value.shape})"


def _cosine(head: np.ndarray) -> int:
    """Return the whole number from which numbers are cosines of whole numbers, or 0."""
    known = np.cos(np.arange(1.0, 50_000.0))
    windows = np.lib.stride_tricks.sliding_window_view(known, len(head))
    close = np.flatnonzero(np.max(np.abs(windows - head), axis=1) < 1e-6)
    return int(close[0]) + 1 if len(close) else 0


def listed(values: Sequence[Any]) -> str:
    """Return Python's words for a list of values."""
    return "[" + ", ".join(literal(value) for value in values) + "]"


def shown(values: Sequence[Any]) -> str:
    """Return the shapes of arrays and the other values, for a message."""
    return ", ".join(
        f"{v.dtype.name}{v.shape}".replace(",)", ",)") if isinstance(v, np.ndarray) else repr(v)
        for v in values
    )


def value_at(array: np.ndarray | None, index: tuple[int, ...]) -> float:
    """Return an element; 0 of what is missing."""
    return 0.0 if array is None else float(array[index])


AGREE = """
def agree(got, want, ulps=256):
    got, want = (np.zeros(1) if a is None else np.asarray(a) for a in (got, want))
    if want.dtype.kind != "f" or got.dtype.kind != "f":
        return bool(np.array_equal(got, want))
    scale = np.max(np.abs(want), initial=0)
    bound = ulps * np.finfo(want.dtype).eps * (np.abs(want) + scale)
    return bool(np.all(np.abs(got - want) <= bound))
"""


def compared(setup: str, got: str, want: str, says: str) -> str:
    """Return a script's body that compares two lists of results."""
    return (
        f"{AGREE}\n\n{setup}\ngot = {got}\nwant = {want}\nprint('got ', got)\nprint('want', want)\n"
        f"assert all(agree(a, b) for a, b in zip(got, want)), {says!r}"
    )


__all__ = [
    "FAILED",
    "NOT_ASKED",
    "PASSED",
    "REFUSED",
    "Case",
    "NotAsked",
    "Property",
    "Refused",
    "Slopes",
    "Wrong",
]
