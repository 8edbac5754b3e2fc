"""The command line of ``nox -s bench`` and of ``python -m benchmarks``, which are the same.

Needs the standard library alone: nox reads it to know which environments to make.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.peers.table import CONTESTANTS, OURS
from benchmarks.rows import KINDS, ROWS, Row

__all__ = ["QUICK_SECONDS", "options", "rows_of"]

SECONDS, QUICK_SECONDS = 1.0, 0.2
PEERS = tuple(who.name for who in CONTESTANTS if who.role == "peer")


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The process's, by default.

    Returns
    -------
    argparse.Namespace
        ``impl``, ``peer`` and ``kind`` are lists of names, everything where nothing was chosen;
        ``environment`` and ``missing`` are dicts.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    many: dict[str, Any] = {"nargs": "+", "action": "extend"}
    parser.add_argument("--kind", choices=list(KINDS), **many, help="kinds of work")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose key has this text")
    parser.add_argument("--impl", choices=OURS, **many, help="implementations")
    parser.add_argument("--peer", choices=[*PEERS, "none"], **many, help="peers")
    parser.add_argument("--threads", type=int, default=[1], metavar="COUNT", nargs="+")
    parser.add_argument("--seconds", type=float, help=f"a contestant a row (default {SECONDS:g})")
    parser.add_argument("--quick", action="store_true", help="a few small rows, little time each")
    parser.add_argument("--keep", action="store_true", help="keep the result for this processor")
    add_places(parser)
    chosen = parser.parse_args(arguments)
    chosen.impl = list(dict.fromkeys(chosen.impl or OURS))
    peers = chosen.peer or PEERS
    chosen.peer = [] if "none" in peers else list(dict.fromkeys(peers))
    chosen.kind = chosen.kind or list(KINDS)
    chosen.threads = sorted(set(chosen.threads))
    if chosen.threads[0] < 1:
        parser.error(f"--threads: counts must be 1 or more, got {chosen.threads[0]}")
    chosen.seconds = chosen.seconds or (QUICK_SECONDS if chosen.quick else SECONDS)
    chosen.environment, chosen.missing = dict(chosen.environment), dict(chosen.missing)
    return chosen


def add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that nox gives, and those for machines that are slow or strange."""
    pairs: dict[str, Any] = {"action": "append", "default": [], "type": pair}
    parser.add_argument("--environment", metavar="NAME=PYTHON", **pairs)
    parser.add_argument("--missing", metavar="NAME=REASON", **pairs)
    parser.add_argument("--out", type=Path, default=Path("report"), help="the report's folder")
    parser.add_argument(
        "--patience",
        type=float,
        default=3.0,
        metavar="SECONDS",
        help="leave out of a row whoever takes longer for one call (default 3)",
    )
    parser.add_argument(
        "--limit",
        type=float,
        default=300.0,
        metavar="SECONDS",
        help="end a process that gives no answer for so long (default 300)",
    )


def pair(text: str) -> tuple[str, str]:
    """Split ``NAME=VALUE``."""
    name, equals, value = text.partition("=")
    if not (name and equals and value):
        msg = f"wanted NAME=VALUE, got {text!r}"
        raise argparse.ArgumentTypeError(msg)
    # Not resolved: a virtual environment's interpreter is a link, and knows itself by its name.
    return name, os.path.abspath(value) if os.path.exists(value) else value


def rows_of(chosen: argparse.Namespace, table: Sequence[Row] = ROWS) -> list[Row]:
    """Return the rows that were chosen."""
    return [
        row
        for row in table
        if row.kind in chosen.kind and chosen.only in row.key and (row.quick or not chosen.quick)
    ]
