"""A badge of a result file: an endpoint for shields.io, and the same as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

__all__ = ["endpoint", "main", "svg"]

_COLORS = {"brightgreen": "#347d39", "yellow": "#8a6d00", "red": "#b3261e", "lightgrey": "#5c5c5c"}
# Of the usual sans-serif of 11 pixels; a badge is no place for a measured font.
_LETTER, _PADDING = 6.6, 10


def endpoint(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the badge in the form of shields.io's endpoints.

    Green is everything asked for and passed, yellow something that fails as expected, red a
    failure. What is unsupported is said, and counts neither way. An incomplete run is no result:
    its badge says so and nothing else.

    Parameters
    ----------
    result : mapping
        The content of a result file.

    Raises
    ------
    ValueError
        It is no result file.
    """
    if "counts" not in result or "spec_version" not in result or "implementation" not in result:
        msg = "badge: a result file has spec_version, implementation and counts"
        raise ValueError(msg)
    label = f"{result['implementation']} on spec {result['spec_version']}"
    counts = result["counts"]
    if not result.get("complete"):
        message, color = "incomplete", "lightgrey"
    else:
        bad = counts.get("failed", 0) + counts.get("crashed", 0)
        expected, unsupported = counts.get("xfailed", 0), counts.get("unsupported", 0)
        asked = counts["passed"] + bad + expected
        message = f"{counts['passed']}/{asked} clauses"
        message += f", {unsupported} unsupported" if unsupported else ""
        message += ", emulated" if result.get("emulated") else ""
        color = "red" if bad or not asked else "yellow" if expected else "brightgreen"
    return {"schemaVersion": 1, "label": label, "message": message, "color": color}


def svg(badge: Mapping[str, Any]) -> str:
    """Return a picture of an endpoint's badge, which asks for nothing from elsewhere."""
    texts = (str(badge["label"]), str(badge["message"]))
    widths = [round(len(text) * _LETTER) + _PADDING for text in texts]
    title = escape(": ".join(texts), quote=True)
    whole = sum(widths)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="20" role="img" '
        f'aria-label="{title}">',
        f"<title>{title}</title>",
        f'<rect width="{whole}" height="20" rx="3" fill="#444"/>',
        f'<path d="M{widths[0]} 0h{widths[1] - 3}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3h-{widths[1] - 3}z"'
        f' fill="{_COLORS[str(badge["color"])]}"/>',
        '<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11" '
        'text-anchor="middle">',
    ]
    middles = (widths[0] / 2, widths[0] + widths[1] / 2)
    for text, width, middle in zip(texts, widths, middles, strict=True):
        parts.append(
            f'<text x="{middle}" y="14" textLength="{width - _PADDING}">{escape(text)}</text>'
        )
    return "\n".join([*parts, "</g>", "</svg>", ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the badges of result files; return 0, 1 for an incomplete run, 2 for no result file."""
    parser = argparse.ArgumentParser(
        prog="spec-tests badge",
        description="Write NAME.json, an endpoint for shields.io, and NAME.svg, by implementation.",
        epilog="example: spec-tests badge report/clauses/impl_numpy.json --out badges",
    )
    parser.add_argument("file", nargs="+", type=Path, help="a file that `--result` wrote")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="default: here")
    known = parser.parse_args(arguments)
    whole = True
    for path in known.file:
        try:
            result = json.loads(path.read_text(encoding="utf-8"))
            badge = endpoint(result)
        except (OSError, ValueError, TypeError) as error:
            print(f"{path}: {' '.join(str(error).split())}", file=sys.stderr)
            return 2
        name = str(result["implementation"])
        known.out.mkdir(parents=True, exist_ok=True)
        (known.out / f"{name}.json").write_text(json.dumps(badge) + "\n", encoding="utf-8")
        (known.out / f"{name}.svg").write_text(svg(badge), encoding="utf-8")
        print(f"{badge['label']}: {badge['message']}")
        whole &= bool(result.get("complete"))
    return 0 if whole else 1
