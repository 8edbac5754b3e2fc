"""The thirteen dtypes by name: which an implementation has, and in which two of them meet."""

from itertools import combinations_with_replacement
from typing import Any

SIGNED = ("int8", "int16", "int32", "int64")
UNSIGNED = ("uint8", "uint16", "uint32", "uint64")
INTEGERS = (*SIGNED, *UNSIGNED)
FLOATING = ("float32", "float64")
COMPLEX = ("complex64", "complex128")
ALL = ("bool", *INTEGERS, *FLOATING, *COMPLEX)
KINDS: dict[str, tuple[str, ...]] = {
    "bool": ("bool",),
    "signed integer": SIGNED,
    "unsigned integer": UNSIGNED,
    "integral": INTEGERS,
    "real floating": FLOATING,
    "complex floating": COMPLEX,
    "numeric": (*INTEGERS, *FLOATING, *COMPLEX),
}
# What an implementation may lack, by the capability that it then lacks.
_NEEDS = {
    **dict.fromkeys(("uint16", "uint32", "uint64"), ("wide_unsigned",)),
    "float64": ("float64",),
    "complex64": ("complex",),
    "complex128": ("complex", "float64"),
}


def there(nn: Any, names: tuple[str, ...] = ALL) -> list[str]:
    """Return those of `names` that the implementation says it has."""
    able = nn.spec_capabilities()
    return [name for name in names if all(able.get(key, False) for key in _NEEDS.get(name, ()))]


def bits(name: str) -> int:
    """Return the bits of one element, of a complex dtype of one part."""
    if name == "bool":
        return 1
    return int(name.lstrip("uintfloacmpex")) // (2 if name in COMPLEX else 1)


def meet(one: str, other: str) -> str | None:
    """Return the dtype in which two meet by the table of ``tensor-16``, None where they do not."""
    for first, second in ((one, other), (other, one)):
        if first == "bool":
            return second
        if first in INTEGERS and second in (*FLOATING, *COMPLEX):
            return second
        if first in UNSIGNED and second in SIGNED:
            size = max(2 * bits(first), bits(second))
            return f"int{size}" if size <= 64 else None
    if one in COMPLEX or other in COMPLEX:
        return f"complex{2 * max(bits(one), bits(other))}"
    return max(one, other, key=bits)


def pairs(nn: Any, names: tuple[str, ...] = ALL) -> list[tuple[str, str]]:
    """Return every pair of those that the implementation has, in one order."""
    return list(combinations_with_replacement(there(nn, names), 2))
