"""The calls, and what is said of those that break the rule."""

import random
import re
import reprlib
import warnings
from collections.abc import Iterator
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from spec_tests.fuzz.target import Target
from spec_tests.fuzz.targets import targets
from spec_tests.fuzz.values import pool, spoil

KINDS = (
    ValueError,
    TypeError,
    RuntimeError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    OverflowError,
    OSError,
)
# Python says this itself, of a call that does not fit the signature, and names the function.
_ARITY = re.compile(
    r"\S\(\) (missing|takes|got (an unexpected keyword|multiple values|some positional))"
)


@dataclass(frozen=True)
class Finding:
    """A call that broke the rule.

    Attributes
    ----------
    target : str
        The operation.
    call : str
        Its arguments.
    reason : str
        What was wrong with the answer.
    message : str
        The exception, kind and text.
    """

    target: str
    call: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.target}{self.call}\n    {self.reason}: {self.message}"


def fuzz(nn: Any, calls: int, seed: int = 0, only: str = "") -> list[Finding]:
    """Make seeded calls that do not fit, and return what broke the rule, each kind once.

    Parameters
    ----------
    nn : module
        The implementation.
    calls : int
        How many.
    seed : int
        The same seed makes the same calls.
    only : str
        Only operations with this in their names.

    Raises
    ------
    ValueError
        If there is no such operation.
    """
    findings: dict[tuple[str, str], Finding] = {}
    # What is spoilt may become a path: files are written there, not where the caller is.
    with TemporaryDirectory() as folder, chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("error")
        known = [t for t in targets(nn, Path(folder)) if only in t.name]
        if not known:
            msg = f"fuzz: no operation has {only!r} in its name"
            raise ValueError(msg)
        for finding in _made(nn, known, calls, random.Random(seed)):
            # One operation fails in one way a thousand times; a line of each is enough.
            findings.setdefault((finding.target.split()[0], finding.message[:40]), finding)
    return list(findings.values())


def _made(nn: Any, known: list[Target], calls: int, draw: random.Random) -> Iterator[Finding]:
    values = pool(nn)
    for _ in range(calls):
        target = draw.choice(known)
        function, arguments, options = target.make()
        positional, named = spoil(draw, values, arguments, options, target.options)
        if target.calls and _other_functions(arguments, [*positional, *named.values()]):
            continue
        call = _shown(positional, named)
        mode = nn.is_grad_enabled()
        try:
            function(*positional, **named)
        except Exception as error:
            reason = _fault(error, target)
            if reason:
                text = f"{type(error).__name__}: {error}"
                yield Finding(target.name, call, reason, text)
        if target.name == "set_grad_enabled":
            nn.set_grad_enabled(mode)
        elif nn.is_grad_enabled() is not mode:
            nn.set_grad_enabled(mode)
            yield Finding(target.name, call, "left the mode of recording changed", "")


def _other_functions(good: tuple[Any, ...], given: list[Any]) -> bool:
    """Whether a function is given that the good call does not have."""
    functions = [value for item in given for value in _inside(item) if callable(value)]
    return any(all(value is not own for own in good) for value in functions)


def _inside(item: Any) -> list[Any]:
    """Return what a list, tuple or dict holds, or the thing itself."""
    if isinstance(item, dict):
        return list(item.values())
    return list(item) if isinstance(item, list | tuple) else [item]


def _fault(error: Exception, target: Target) -> str:
    text = str(error)
    if not isinstance(error, KINDS) or isinstance(error, RecursionError):
        return "no documented kind of exception"
    if "\n" in text.strip():
        return "more than one line"
    if isinstance(error, TypeError) and _ARITY.search(text):
        return ""
    if not any(word.lower() in text.lower() for word in target.says):
        return f"does not name the operation ({' or '.join(target.says)})"
    return ""


def _shown(positional: list[Any], named: dict[str, Any]) -> str:
    parts = [*map(_brief, positional), *(f"{name}={_brief(v)}" for name, v in named.items())]
    return f"({', '.join(parts)})"


def _brief(value: Any) -> str:
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if shape is not None and dtype is not None and not isinstance(value, type):
        return f"{type(value).__name__}{tuple(shape)}:{dtype}"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(_brief, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner})"
    return " ".join(reprlib.repr(value).split())
