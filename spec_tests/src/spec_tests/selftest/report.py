"""What the terminal shows of a selftest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

__all__ = ["COMPUTED", "about_lines", "group_lines", "verdict_line"]

COMPUTED = ("right", "wrong", "raised", "xfailed")


def about_lines(name: str, about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines on the implementation and the machine."""
    emulated = " (emulated: no GPU computes)" if about["emulated"] else ""
    measured = about["matmul_precision"]["measured"]
    settings = {k: v for k, v in about["matmul_precision"].items() if k != "measured"}
    yield f"{name} on {about['device']}{emulated}"
    yield f"  versions      {_pairs(about['versions'])}"
    yield f"  processor     {about['processor']}, {about['instruction_set']}"
    yield f"  built for     {_pairs(about['built_for'])}"
    yield f"  threads       {_pairs(about['threads'])}"
    products = f"{measured['kind']}, error {measured['error_in_eps']} eps in float32"
    yield f"  products      {products}" + (f" ({_pairs(settings)})" if settings else "")


def group_lines(outcomes: Sequence[Mapping[str, Any]], verbose: bool = False) -> Iterator[str]:
    """Yield a line for each group, with the largest error, and for each kernel that has a name."""
    for group in dict.fromkeys(outcome["group"] for outcome in outcomes):
        found = [o for o in outcomes if o["group"] == group and o["status"] in COMPUTED]
        if not found:
            continue
        worst = max(found, key=lambda outcome: float(outcome["ratio"]))
        right = sum(outcome["status"] == "right" for outcome in found)
        yield (
            f"  {group:12}  {right} of {len(found)} right; largest error "
            f"{worst['ratio']:.2f} of its tolerance, {worst['key']} {worst['dtype']}"
        )
        for outcome in found:
            if verbose or (outcome["kernel"] and group == "recurrent"):
                kernel = f"  {outcome['kernel']}" if outcome["kernel"] else ""
                name = f"{outcome['key']} {outcome['dtype']}"
                yield f"    {name:28} {outcome['ratio']:5.2f} {outcome['status']}{kernel}"


def verdict_line(result: Mapping[str, Any]) -> str:
    """Return the last line on an implementation."""
    computed = [o for o in result["outcomes"] if o["status"] in COMPUTED]
    statuses = [outcome["status"] for outcome in result["outcomes"]]
    unsupported, left_out = statuses.count("unsupported"), statuses.count("left out")
    if result["cannot"]:
        return f"  {result['implementation']} CANNOT BE CHECKED: {result['cannot']}"
    verdict = "right on this machine" if result["right"] else "NOT RIGHT on this machine"
    more = f", {unsupported} unsupported" if unsupported else ""
    more += f", NO TIME for {left_out} more (--seconds)" if left_out else ""
    expected = sum(outcome["status"] == "xfailed" for outcome in computed)
    more += f", {expected} wrong as expected" if expected else ""
    return f"  {verdict}: {len(computed)} checks in {result['seconds']} s{more}"


def _pairs(table: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in table.items())
