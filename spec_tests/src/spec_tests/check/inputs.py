"""What a Function is called with: the words of ``--inputs``, and arrays that fit them.

    float64(N,3), const float64(N) in [0, 1], int64(N) in [0, 2], None, 'mean', factor=3.0

An array is a dtype with its shape; sizes that are names may be anything, the same name the same
size. ``const`` marks one that has no gradient, ``in [a, b]`` where its numbers lie. Other words are
Python's constants, and those with a name in front are configuration.
"""

import ast
import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

DTYPES = (
    "float64 float32 bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 bfloat16 "
    "complex64 complex128"
).split()
_ARRAY = re.compile(
    r"^(?P<const>const\s+)?(?P<dtype>[A-Za-z]\w*)\s*\((?P<shape>[^()]*)\)\s*"
    r"(?:in\s*\[(?P<low>[^,\]]+),(?P<high>[^,\]]+)\])?$"
)
_CONFIG = re.compile(r"^(?P<name>[A-Za-z_]\w*)\s*=(?!=)\s*(?P<value>.+)$", re.DOTALL)
# Odd multiples of 1/128 are short to print, all different, and on no kink that people write.
_GRAIN = 128
_FEW = 90


class InputsError(ValueError):
    """The inputs cannot be read, or made."""


@dataclass(frozen=True)
class Argument:
    """One positional input.

    Attributes
    ----------
    dtype : str
        Of an array; empty for any other value.
    shape : tuple of int or str
        Names are sizes that may be chosen.
    low, high : float, optional
        Where the numbers lie.
    constant : bool
        Whether the caller says that it has no gradient.
    value : object
        What was given instead of a description: an array, or any other object.
    """

    dtype: str = ""
    shape: tuple[int | str, ...] = ()
    low: float | None = None
    high: float | None = None
    constant: bool = False
    value: Any = None

    @property
    def floating(self) -> bool:
        """Whether it is an array of a floating dtype."""
        return self.dtype.startswith("float")

    @property
    def wanted(self) -> bool:
        """Whether a gradient is wanted for it."""
        return self.floating and not self.constant

    def __str__(self) -> str:
        if not self.dtype:
            return repr(self.value)
        limits = "" if self.low is None else f" in [{self.low:g}, {self.high:g}]"
        const = "const " if self.constant else ""
        return f"{const}{self.dtype}({','.join(map(str, self.shape))}){limits}"


@dataclass(frozen=True)
class Signature:
    """The inputs of a Function: arguments, and configuration by name."""

    arguments: tuple[Argument, ...]
    config: Mapping[str, Any]

    def __str__(self) -> str:
        named = [f"{name}={value!r}" for name, value in self.config.items()]
        return ", ".join([*map(str, self.arguments), *named])

    @property
    def symbols(self) -> tuple[str, ...]:
        """The names of sizes, in the order in which they come."""
        sizes = [size for argument in self.arguments for size in argument.shape]
        return tuple(dict.fromkeys(size for size in sizes if isinstance(size, str)))

    @property
    def wanted(self) -> tuple[bool, ...]:
        """Which arguments a gradient is wanted for."""
        return tuple(argument.wanted for argument in self.arguments)

    def at(self, sizes: Mapping[str, int], seed: int = 0, dtype: str = "") -> list[Any]:
        """Return values for the arguments.

        Parameters
        ----------
        sizes : mapping
            The size for each name.
        seed : int
            Decides the numbers; where values were given it only decides nothing for seed 0.
        dtype : str
            Of all floating arrays, in the place of theirs.
        """
        rng = np.random.default_rng(seed)
        total = sum(_count(argument, sizes) for argument in self.arguments if argument.floating)
        pool = _pool(rng, total)
        values = []
        for argument in self.arguments:
            value = _value(argument, sizes, rng, pool, seed)
            if dtype and argument.floating:
                value = value.astype(dtype)
            values.append(value)
        return values


def parse(text: str) -> Signature:
    """Read the words of ``--inputs``.

    Raises
    ------
    InputsError
        That names the word, and the nearest one that is known.
    """
    arguments, config = [], {}
    for word in _split(text):
        named = _CONFIG.match(word)
        if named:
            config[named["name"]] = _constant(named["value"])
        else:
            arguments.append(_argument(word))
    if not any(argument.dtype for argument in arguments):
        msg = f"inputs: {text!r} has no array; write for example 'float64(N,3), float64(3)'"
        raise InputsError(msg)
    return Signature(tuple(arguments), config)


def given(inputs: Any) -> Signature:
    """Return the signature of what a caller of `check` gave: words, or a list of values."""
    if isinstance(inputs, Signature):
        return inputs
    if isinstance(inputs, str):
        return parse(inputs)
    if isinstance(inputs, np.ndarray) or not isinstance(inputs, Sequence):
        inputs = [inputs]
    arguments = []
    for value in inputs:
        if isinstance(value, Argument):
            arguments.append(value)
        elif isinstance(value, np.ndarray | np.generic):
            array = np.asarray(value)
            arguments.append(Argument(array.dtype.name, array.shape, value=array))
        else:
            arguments.append(Argument(value=value))
    return Signature(tuple(arguments), {})


def without_values(signature: Signature) -> Signature:
    """Return the signature with descriptions in the place of arrays that were given."""
    return replace(
        signature,
        arguments=tuple(replace(a, value=None) if a.dtype else a for a in signature.arguments),
    )


def _split(text: str) -> list[str]:
    words, depth, quote, word = [], 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        elif letter in "([{":
            depth += 1
        elif letter in ")]}":
            depth -= 1
        if letter == "," and not depth and not quote:
            words.append(word)
            word = ""
        else:
            word += letter
    return [word.strip() for word in [*words, word] if word.strip()]


def _argument(word: str) -> Argument:
    match = _ARRAY.match(word)
    if match is None:
        return Argument(value=_constant(word))
    dtype = match["dtype"]
    if dtype not in DTYPES:
        near = difflib.get_close_matches(dtype, DTYPES, 1, 0.0)
        msg = f"inputs: {word!r} has the dtype {dtype}, which is unknown; did you mean {near[0]}?"
        raise InputsError(msg)
    if dtype.startswith(("complex", "bfloat", "float16")):
        msg = (
            f"inputs: {word!r}: Functions of {dtype} are not checked, only those of float32 and "
            f"float64"
        )
        raise InputsError(msg)
    shape = tuple(_size(size.strip(), word) for size in match["shape"].split(",") if size.strip())
    low, high = (None, None)
    if match["low"] is not None:
        low, high = (float(_constant(match[side])) for side in ("low", "high"))
        if not low < high:
            msg = f"inputs: {word!r}: the lower limit must be below the upper one"
            raise InputsError(msg)
    return Argument(dtype, shape, low, high, bool(match["const"]))


def _size(size: str, word: str) -> int | str:
    if size.isdigit():
        return int(size)
    if size.isidentifier():
        return size
    msg = f"inputs: {word!r} has the size {size!r}; a size is a number or a name such as N"
    raise InputsError(msg)


def _constant(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError):
        msg = (
            f"inputs: cannot read {text.strip()!r}; write an array as 'float64(N,3)', or a constant"
        )
        raise InputsError(msg) from None


def _count(argument: Argument, sizes: Mapping[str, int]) -> int:
    return int(np.prod(_shape(argument, sizes), dtype=int))


def _shape(argument: Argument, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(sizes[size] if isinstance(size, str) else size for size in argument.shape)


def _pool(rng: np.random.Generator, total: int) -> list[float]:
    """Return numbers between -1.5 and 1.5, no two alike while they are few."""
    if total > 2 * _FEW:
        return list(1.5 * np.cos(np.arange(total) + rng.integers(1, 1000)))
    odd = (2 * rng.permutation(2 * _FEW)[:total] + 1 - 2 * _FEW) / _GRAIN
    return list(odd)


def _value(
    argument: Argument,
    sizes: Mapping[str, int],
    rng: np.random.Generator,
    pool: list[float],
    seed: int,
) -> Any:
    if not argument.dtype:
        return argument.value
    shape = _shape(argument, sizes)
    if argument.floating:
        count = int(np.prod(shape, dtype=int))
        numbers, pool[:count] = np.array(pool[:count], np.float64).reshape(shape), []
        if argument.value is not None:
            # Other points near those that were given, where another seed asks for some.
            moved = argument.value + (0.01 * numbers if seed else 0)
            return np.asarray(moved, argument.dtype)
        if argument.low is not None and argument.high is not None:
            middle, half = (argument.low + argument.high) / 2, (argument.high - argument.low) / 2
            numbers = middle + half * numbers / 1.5
        return np.asarray(numbers, argument.dtype)
    if argument.value is not None:
        return np.array(argument.value)
    if argument.dtype == "bool":
        return np.asarray(rng.integers(0, 2, shape), bool)
    low, high = (0, 1) if argument.low is None else (int(argument.low), int(argument.high or 0))
    return np.asarray(rng.integers(low, high + 1, shape), argument.dtype)
