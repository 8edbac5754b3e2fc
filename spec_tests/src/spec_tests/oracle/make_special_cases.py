"""Parse the special cases of the array API standard's text into ``data/special_cases.json``.

With spec_tests installed and a clone of https://github.com/data-apis/array-api in FOLDER::

    python -m spec_tests.oracle.make_special_cases FOLDER

The sentences of "Special cases" in the stubs of the standard, such as "If ``x_i`` is ``-0``, the
result is ``-0``", become operands and results: what a sentence says of operands is asked of every
number of a small pool, and those of which it holds stand in the file, with what the result then is.
A sentence that cannot be read so stands there too, under ``left_out``.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spec_tests.oracle.conditions import Numbers, condition, result
from spec_tests.oracle.stored import folder, record

VERSION = "2025.12"
STUBS = "src/array_api_stubs/_2025_12/elementwise_functions.py"
POOL = ("nan inf -inf 0.0 -0.0 0.5 -0.5 1.0 -1.0 1.5 -1.5 2.0 -2.0 3.0 -3.0 4.0").split()
PARTS = "nan inf -inf 0.0 -0.0 1.0 -1.0 0.5".split()
# Of the operands of one sentence so many are kept, evenly taken.
MOST = 10
_SENTENCE = re.compile(r"^If (?P<condition>.+?), the result is (?P<result>.+?)\.?$")
_COMPLEX = "For complex floating-point operands"
_REAL = ("For real-valued", "For floating-point")


def main(where: str) -> None:
    """Write the file, from a clone of the standard's repository."""
    source = (Path(where) / STUBS).read_bytes()
    cases, left_out = [], []
    for name, kind, says in sentences(source.decode("utf-8")):
        try:
            cases.append({"function": name, "kind": kind, "says": says, **read(kind, says)})
        except ValueError as error:
            left_out.append({"function": name, "kind": kind, "says": says, "why": str(error)})
    lines = [
        f' "{key}": [\n'
        + ",\n".join(f"  {json.dumps(entry, ensure_ascii=False)}" for entry in rows)
        for key, rows in (("cases", cases), ("left_out", left_out))
    ]
    text = "{\n" + "\n ],\n".join(lines) + "\n ]\n}\n"
    (folder / "special_cases.json").write_text(text, encoding="utf-8")
    facts = {
        "standard": VERSION,
        "source": STUBS,
        "sha256 of the source": hashlib.sha256(source).hexdigest(),
        "sentences": len(cases),
        "left out": len(left_out),
    }
    record("special_cases", "make_special_cases.py", text.encode("utf-8"), facts, {})


def sentences(source: str) -> Iterator[tuple[str, str, str]]:
    """Yield the function, ``"real"`` or ``"complex"``, and each sentence of its special cases."""
    for node in ast.parse(source).body:
        text = ast.get_docstring(node) if isinstance(node, ast.FunctionDef) else None
        if not text:
            continue
        _, *parts = re.split(r"\*\*Special [cC]ases\*\*", text)
        kind = "real"
        for part in parts[:1]:
            for line in (line.strip() for line in part.splitlines()):
                if line.startswith(_COMPLEX):
                    kind = "complex"
                elif line.startswith(_REAL):
                    kind = "real"
                elif line.startswith("- If "):
                    assert isinstance(node, ast.FunctionDef)
                    # `round` says of complex operands that what follows is of their parts.
                    whole = re.search(r"``x[12]?_i``", line) is not None
                    yield node.name, "real" if whole else kind, line.removeprefix("- ")


def read(kind: str, says: str) -> dict[str, Any]:
    """Return the operands that a sentence holds of, and the results.

    Raises
    ------
    ValueError
        Where the sentence says something else, or nothing in the pool is meant.
    """
    plain = re.sub(r" \((?:\*\*note\*\*|signs? of)[^)]*\)", "", says)
    free = "sign" in says.partition("the result is")[2] and "unspecified" in says
    plain = plain.replace("the result has a", "the result is of a").partition(", unless")[0]
    found = _SENTENCE.match(plain)
    if found is None:
        msg = "it is no 'If ..., the result is ...'"
        raise ValueError(msg)
    holds, gives = condition(found["condition"]), result(found["result"])
    rows = []
    for operands in operands_of(kind, says):
        if holds(operands):
            rows.append((operands, gives(operands)))
    if not rows:
        msg = "nothing in the pool is meant"
        raise ValueError(msg)
    python = re.search(r"libraries may return (``[^`]+``) to match Python behavior", says)
    other = result(python[1]) if python else None
    kept = [rows[place] for place in sorted({len(rows) * k // MOST for k in range(MOST)})]
    return {
        "operands": [list(map(written, operands.values())) for operands, _ in kept],
        "wanted": [list(map(written, wanted)) for _, wanted in kept],
        # What the standard leaves to libraries that go with Python.
        **({"python": [list(map(written, other(n))) for n, _ in kept]} if other else {}),
        "near": gives.near,
        "free_sign": free,
        "only_sign": gives.only_sign,
    }


def operands_of(kind: str, says: str) -> Iterator[Numbers]:
    """Yield the numbers that the names in a sentence may stand for."""
    two = "``x1_i``" in says or "``x2_i``" in says
    if kind == "complex":
        four = two or "``c``" in says or "``d``" in says
        names: tuple[str, ...] = ("a", "b", "c", "d") if four else ("a", "b")
        pool = PARTS
    else:
        names, pool = (("x1_i", "x2_i") if two else ("x_i",)), POOL
        if "the sign bit of" in says:
            pool = ["-nan", *pool]
    for values in itertools.product(pool, repeat=len(names)):
        yield dict(zip(names, map(float, values), strict=True))


def written(number: float | bool) -> str:
    """Return a number as JSON keeps it: infinities, NaN and -0 too."""
    return "-nan" if number != number and math.copysign(1, number) < 0 else str(number)


if __name__ == "__main__":
    main(sys.argv[1])
