"""Draw the rooms of each implementation and the imports between them.

    python docs/draw_rooms.py            # writes docs/rooms.svg
    python docs/draw_rooms.py --check    # fails if docs/rooms.svg is not what the imports say

A line is an import: the room at its lower end imports the one at its upper end. Folders are one
room here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).parent
PICTURE = HERE / "rooms.svg"
sys.path.insert(0, str(HERE.parent / "spec_tests" / "tests"))

import rooms  # noqa: E402  (a module beside the judge's tests, which use it too)

WIDTH, STEP, TOP, MARGIN = 250, 22, 52, 14
LABELS = 104
STYLE = (
    "text { font: 13px ui-monospace, monospace; fill: #1f2933 } "
    ".head { font-weight: bold } .only { fill: #b4540a } "
    "path { fill: none; stroke: #52606d; stroke-width: 1; stroke-opacity: 0.45 }"
)


def main() -> None:
    """Write the picture, or compare it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if out of date")
    text = picture()
    if not parser.parse_args().check:
        PICTURE.write_text(text, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text(encoding="utf-8") != text:
        sys.exit(f"{PICTURE.name} is out of date; run python docs/draw_rooms.py")


def picture() -> str:
    """Return the picture as SVG: the same text for the same imports."""
    columns = [column(i, name) for i, name in enumerate(rooms.IMPLEMENTATIONS)]
    width = MARGIN + WIDTH * len(columns)
    height = TOP + STEP * len(rooms.ROOMS) + MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
            "<title>The rooms of the four implementations, and their imports</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
            *columns,
            "</svg>\n",
        ]
    )


def column(number: int, name: str) -> str:
    """Return the rooms of one implementation from the ground up, and an arc for each import."""
    source = rooms.ROOT / name / "src" / name
    left = MARGIN + WIDTH * number
    own = {place.partition("/")[0] for place in rooms.places(source)}
    height = {room: TOP + STEP * rank for rank, room in enumerate(rooms.ROOMS)}
    parts = [f'<text class="head" x="{left}" y="{TOP - 26}">{name}</text>']
    for room, y in height.items():
        if room in own:
            mark = ' class="only"' if room in rooms.ONLY else ""
            parts.append(f'<text{mark} x="{left}" y="{y + 4}">{room}</text>')
    ways = {
        (way.start.partition("/")[0], way.end.partition("/")[0]) for way in rooms.passages(source)
    }
    for start, end in sorted(ways, key=lambda way: (height.get(way[0], 0), height.get(way[1], 0))):
        if start != end and start in height and end in height:
            parts.append(arc(left + LABELS, height[start], height[end]))
    return "\n".join(parts)


def arc(x: int, start: int, end: int) -> str:
    """Return a curve beside the rooms, the wider the further it goes."""
    reach = x + 12 + abs(start - end) * (WIDTH - LABELS - 34) * 4 // (3 * STEP * len(rooms.ROOMS))
    return f'<path d="M{x} {start}C{reach} {start} {reach} {end} {x} {end}"/>'


if __name__ == "__main__":
    main()
