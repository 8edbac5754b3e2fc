"""What a run found: scores with their error bars, survivors, as JSON and as text."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["KINDS", "as_dict", "scored", "survivors", "table", "wilson"]

KINDS = {"python": "Python", "cuda": "CUDA", "cpp": "C++"}
KILLED = ("killed", "timeout", "import")
_Z = 1.959963984540054  # 95% of a normal distribution lie within


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Return the ends of the 95% interval of a share (Wilson 1927).

    (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), with p = hits/n.
    """
    if count == 0:
        return 0.0, 1.0
    share, square = hits / count, _Z * _Z / count
    half = _Z * math.sqrt(share * (1 - share) / count + square / (4 * count))
    middle = share + square / 2
    return max((middle - half) / (1 + square), 0.0), min((middle + half) / (1 + square), 1.0)


def scored(results: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return counts and the score of one sample; equivalent mutants do not count.

    A mutant that survives the tests that were asked counts as alive, though others might fail.
    """
    statuses = Counter(result["status"] for result in results)
    killed = sum(statuses[status] for status in KILLED)
    count = killed + statuses["survived"]
    low, high = wilson(killed, count)
    return {
        "mutants": count,
        "killed": killed,
        "survived": statuses["survived"],
        "equivalent": statuses["equivalent"],
        "timeout": statuses["timeout"],
        "import": statuses["import"],
        "score": round(killed / count, 4) if count else None,
        "low": round(low, 4),
        "high": round(high, 4),
    }


def as_dict(about: dict[str, Any], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the content of a result file: scores, by room too, and all that survived."""
    kinds = [kind for kind in KINDS if any(result["kind"] == kind for result in results)]
    rooms: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        rooms.setdefault(result["file"].partition("/")[0].partition(".")[0], []).append(result)
    return {
        **about,
        "scores": {kind: scored(r for r in results if r["kind"] == kind) for kind in kinds},
        "rooms": {room: scored(there) for room, there in sorted(rooms.items())},
        "survivors": [result for result in results if result["status"] == "survived"],
        "equivalents": [result for result in results if result["status"] == "equivalent"],
    }


def table(contents: Iterable[dict[str, Any]]) -> str:
    """Return the scores of several result files as lines of text."""
    head = f"{'implementation':16} {'of':7} {'mutants':>8} {'killed':>7} {'score':>7}"
    lines = [f"{head}  {'95% interval':15} {'equivalent':>10}"]
    for content in contents:
        for kind, found in content["scores"].items():
            share = "-" if found["score"] is None else f"{found['score']:.1%}"
            between = f"{found['low']:.1%} to {found['high']:.1%}"
            lines.append(
                f"{content['implementation']:16} {KINDS[kind]:7} {found['mutants']:8} "
                f"{found['killed']:7} {share:>7}  {between:15} {found['equivalent']:10}"
            )
        if not content["complete"]:
            lines[-1] += f"  (incomplete: {content['sample']} were wanted)"
    return "\n".join(lines)


def survivors(content: dict[str, Any]) -> str:
    """Return the survivors of a result file, each with its place and change."""
    lines = []
    for one in content["survivors"]:
        lines.append(f"{one['file']}:{one['line']} {one['function']}  [{one['operator']}]")
        lines += [f"  - {line}" for line in one["was"].split("\n")]
        lines += [f"  + {line}" for line in one["now"].split("\n")]
        lines.append(f"  {one['asked']} of {one['reach']} tests asked; {one['id']}")
    return "\n".join(lines)
