"""What every function of the tables ops, linalg and fft is asked for, and what a row excuses."""

from collections.abc import Sequence

from spec_tests.judge.tables import Row
from spec_tests.support.calls import calls

__all__ = ["CHAPTERS", "PROPERTIES", "SAMPLED", "asked_by", "excuse", "of"]

CHAPTERS = ("ops", "linalg", "fft")
PROPERTIES = (
    "values float32",
    "values float64",
    "gradient",
    "second derivative",
    "raw arrays",
    "zero sizes",
    "bad calls",
)
# With --quick some of the functions are asked for these: they take most of a compiler's time.
SAMPLED = ("second derivative", "zero sizes")
# A test with the fixture `dtype` asks for values in that dtype, another for both.
_VALUES = "values"
_SIZES = ("shape", "shapes", "n", "n_rows", "num", "start")


def of(row: Row) -> tuple[str, ...]:
    """Return the properties that a row has."""
    return PROPERTIES if row.chapter in CHAPTERS else ()


def asked_by(names: Sequence[str], dtype: str | None) -> list[str]:
    """Return the properties that a test's mark names.

    Parameters
    ----------
    names : sequence of str
        Properties, or ``"values"``.
    dtype : str or None
        The dtype that the test is run in, if it is run in one.

    Raises
    ------
    ValueError
        Where there is no such property.
    """
    found: list[str] = []
    for name in names:
        if name != _VALUES and name not in PROPERTIES:
            msg = f"there is no property {name!r}; known: {_VALUES}, {', '.join(PROPERTIES)}"
            raise ValueError(msg)
        dtypes = (dtype,) if dtype else ("float32", "float64")
        found += [f"{_VALUES} {one}" for one in dtypes] if name == _VALUES else [name]
    return found


def excuse(row: Row, name: str) -> str:
    """Return why a row cannot have a property, by what the row itself says; "" if it can."""
    made = calls(row, "float64")
    named = {call.dtype("float32") for call in made}
    arrays = any(call.arrays() for call in made)
    if row.chapter == "linalg" and row.family == "same" and not name.startswith(_VALUES):
        there = "norm" if row.name == "vector_norm" else row.name
        return f"it is ops.{there}, which is asked there"
    if name in ("gradient", "second derivative") and row.gradient == "none":
        return "not differentiable: the row says none"
    if name == "second derivative" and row.gradient == "zero":
        return "the gradient is 0 everywhere: the row says zero"
    if name == "raw arrays" and not arrays:
        return "takes no arrays"
    if name == "zero sizes" and not arrays and not set(_SIZES) & set(row.signature.parameters):
        return "takes neither arrays nor sizes"
    floating = any(call.floating() for call in made) or "float64" in named
    if name == "values float64" and row.formula and not floating and arrays:
        return "takes no floating arrays: its values are asked once"
    return ""
