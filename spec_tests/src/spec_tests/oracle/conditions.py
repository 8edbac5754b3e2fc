"""What the array API standard's sentences on special cases say of operands and of results."""

from __future__ import annotations

import cmath
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Numbers", "Result", "condition", "result"]

Numbers = dict[str, float]
Holds = Callable[[Numbers], bool]
_NAMES = r"x1_i|x2_i|x_i|a|b|c|d"
_NAME = rf"``(?:{_NAMES})``"
_NAMED = rf"``(?P<name>{_NAMES})``"
_PLAIN = (
    (r"a positive (?:\(i\.e\., greater than ``0``\) )?finite number", "positive"),
    (r"a negative (?:\(i\.e\., less than ``0``\) )?finite number", "negative"),
    (r"a nonzero (?:finite )?number", "nonzero"),
    (r"either a finite number or ``\+infinity``", "finite or +infinity"),
    (r"a finite number or ``\+infinity``", "finite or +infinity"),
    (r"a finite number", "finite"),
    (r"any value,? (?:\(?including (?:``NaN``|``\+infinity``|`NaN`)\)?)", "anything"),
    (r"any value", "anything"),
    (r"an odd integer value", "odd"),
    (r"already integer-valued", "whole"),
    (r"not an integer value", "broken"),
)
_SIGNS = {"of a positive mathematical sign": 1.0, "of a negative mathematical sign": -1.0}
_KINDS: dict[str, Callable[[float], bool]] = {
    "positive": lambda x: math.isfinite(x) and x > 0,
    "negative": lambda x: math.isfinite(x) and x < 0,
    "nonzero": lambda x: math.isfinite(x) and x != 0,
    "finite": math.isfinite,
    "finite or +infinity": lambda x: math.isfinite(x) or x == math.inf,
    "anything": lambda _: True,
    "odd": lambda x: math.isfinite(x) and x % 2 == 1,
    "whole": lambda x: math.isfinite(x) and x == math.floor(x),
    "broken": lambda x: math.isfinite(x) and x != math.floor(x),
}


def condition(text: str) -> Holds:
    """Read what stands between "If" and "the result is".

    Raises
    ------
    ValueError
        Where it says something that is not known here.
    """
    alike = re.fullmatch(
        r"``x1_i`` and ``x2_i`` have (?P<how>the same|different) mathematical signs?"
        r"(?P<finite> and are both nonzero finite numbers)?",
        text,
    )
    if alike:
        return _of_signs(alike["how"] == "the same", alike["finite"] is not None)
    several = re.fullmatch(
        rf"(?:either )?(?P<names>{_NAME},? (?:{_NAME},? )*(?:or|and) {_NAME}) "
        rf"(?P<how>is|are all) (?P<what>(?:(?!``(?:{_NAMES})``).)+)",
        text,
    )
    if several:
        every = several["how"] == "are all"
        names = re.findall(_NAMES, several["names"])
        each = [condition(f"``{name}`` is {several['what']}") for name in names]
        return lambda n: (all if every else any)(test(n) for test in each)
    for pattern, word in _PLAIN:
        text = re.sub(pattern, f"<{word}>", text)
    pieces = re.split(rf"(?:, and |, | and )(?=``(?:{_NAMES})``|the sign bit)", text)
    tests = [_one(piece) for piece in pieces]
    return lambda n: all(test(n) for test in tests)


def _of_signs(same: bool, finite: bool) -> Holds:
    """Whether two operands have one sign, or not; the product of others than `finite` is no NaN."""

    def holds(n: Numbers) -> bool:
        one, other = n["x1_i"], n["x2_i"]
        right = all(map(_KINDS["nonzero"], (one, other))) if finite else one * other == one * other
        return right and (math.copysign(1, one) == math.copysign(1, other)) is same

    return holds


def _one(text: str) -> Holds:
    """Read what is said of one operand, or that one of two things is."""
    sign = re.fullmatch(rf"the sign bit of {_NAMED} is ``(?P<bit>[01])``", text)
    if sign:
        return lambda n: (math.copysign(1, n[sign["name"]]) < 0) is (sign["bit"] == "1")
    pieces = re.split(rf" or (?={_NAME})", text)
    if len(pieces) > 1:
        tests = [_one(piece) for piece in pieces]
        return lambda n: any(test(n) for test in tests)
    found = re.fullmatch(rf"``(?P<size>abs\()?(?P<name>{_NAMES})\)?`` (?P<what>.+)", text)
    if not found:
        msg = f"unknown: {text!r}"
        raise ValueError(msg)
    name, what = found["name"], found["what"]
    if found["size"]:
        said = _one(f"``{name}`` {what}")
        return lambda n: said({**n, name: abs(n[name])})
    for pattern, make in (
        (r"(?:is )?greater than (.+)", lambda v: lambda x, n: x > v(n)),
        (r"is less than (.+)", lambda v: lambda x, n: x < v(n)),
        (r"(?:is not equal to|does not equal) (.+)", lambda v: lambda x, n: x != v(n)),
        (r"equals (.+)", lambda v: lambda x, n: x == v(n)),
        (r"is not (``[^`]+``)", lambda v: lambda x, n: not _same(x, v(n))),
        (r"(?:is )?(``[^`]+``)", lambda v: lambda x, n: _same(x, v(n))),
    ):
        told = re.fullmatch(pattern, what)
        if told:
            compared = make(_value(told[1]))
            return lambda n: compared(n[name], n)
    return _kinds(name, what)


def _kinds(name: str, what: str) -> Holds:
    said = re.fullmatch(r"(?:is )?(?P<no>not )?<(?P<kind>[^>]+)>", what)
    if said:
        kind, wanted = _KINDS[said["kind"]], said["no"] is None
        return lambda n: kind(n[name]) is wanted
    said = re.fullmatch(r"is (?:either )?(?P<one>.+) or (?P<other>.+)", what)
    if not said:
        msg = f"unknown: {what!r}"
        raise ValueError(msg)
    tests = [_one(f"``{name}`` is {piece}") for piece in (said["one"], said["other"])]
    return lambda n: any(test(n) for test in tests)


def _same(x: float, y: float) -> bool:
    """Whether both are NaN, or equal and of one sign."""
    if math.isnan(x) or math.isnan(y):
        return math.isnan(x) and math.isnan(y)
    return x == y and math.copysign(1, x) == math.copysign(1, y)


def _value(text: str) -> Callable[[Numbers], float]:
    """Read a number, or what an operand makes of one."""
    code = text.strip("`").replace(" ", "")
    sign = -1.0 if code.startswith("-") else 1.0
    bare = code.lstrip("+-±")
    if bare in ("True", "False"):
        return lambda _: bare == "True"
    size = re.fullmatch(rf"abs\(({_NAMES})\)|\|({_NAMES})\|", bare)
    if size:
        return lambda n: sign * abs(n[size[1] or size[2]])
    if re.fullmatch(_NAMES, bare):
        return lambda n: sign * n[bare]
    turn = re.fullmatch(r"(?P<times>\d?)π(?:/(?P<by>\d))?", bare)
    if turn:
        value = float(turn["times"] or 1) * math.pi / float(turn["by"] or 1)
    elif bare in ("NaN", "infinity"):
        value = {"NaN": math.nan, "infinity": math.inf}[bare]
    else:
        value = float(bare)
    return lambda _: sign * value


@dataclass(frozen=True)
class Result:
    """What a sentence says that the result is.

    Attributes
    ----------
    values : callable
        The result, or its real and imaginary part, of the operands.
    near : bool
        Whether it is a number that is approximated.
    only_sign : bool
        Whether nothing but its sign is said.
    """

    values: Callable[[Numbers], tuple[float, ...]]
    near: bool
    only_sign: bool = False

    def __call__(self, numbers: Numbers) -> tuple[float, ...]:
        """Return the result, or its two parts."""
        return self.values(numbers)


def result(text: str) -> Result:
    """Read what stands behind "the result is".

    Raises
    ------
    ValueError
        Where it says something that is not known here.
    """
    text = re.sub(r", even if ``x[12]_i`` is ``NaN``$", "", text)
    if text in _SIGNS:
        return Result(lambda _: (_SIGNS[text],), near=False, only_sign=True)
    if text.startswith("a signed infinity"):
        return Result(lambda n: (math.copysign(math.inf, n["x1_i"] * n["x2_i"]),), near=False)
    text = re.sub(r"^(?:equal|equivalent) to ", "", text)
    near = text.startswith("an implementation-dependent approximation to ") or "π" in text
    text = text.removeprefix("an implementation-dependent approximation to ")
    bit = re.fullmatch(r"``NaN`` with a sign bit of ``([01])``", text)
    if bit:
        return Result(lambda _: (math.copysign(math.nan, -1 if bit[1] == "1" else 1),), near)
    code = re.fullmatch(r"``([^`]+)``", text)
    if code is None:
        msg = f"unknown result: {text!r}"
        raise ValueError(msg)
    if "j" in code[1] or "cis" in code[1]:
        return _complex(code[1], near)
    value = _value(code[1])
    return Result(lambda n: (value(n),), near)


def _complex(code: str, near: bool) -> Result:
    turning = re.fullmatch(r"(?P<size>[+-]?\w+) ?\* ?cis\(b\)(?P<rest> ?[+-] ?1(?:\.0)?)?", code)
    if turning:
        size, rest = _value(turning["size"]), float((turning["rest"] or "0").replace(" ", ""))

        def turned(n: Numbers) -> tuple[float, ...]:
            unit = cmath.rect(1.0, n["b"])
            return size(n) * unit.real + rest, size(n) * unit.imag

        return Result(turned, near=True)
    two = re.fullmatch(r"(?P<real>[^ ]+) (?P<sign>[+±-]) (?P<imag>.+)", code)
    if two is None:
        msg = f"unknown result: {code!r}"
        raise ValueError(msg)
    real, imag = _value(two["real"]), _value(two["imag"].replace("j", ""))
    sign = -1.0 if two["sign"] == "-" else 1.0
    return Result(lambda n: (real(n), sign * imag(n)), near)
