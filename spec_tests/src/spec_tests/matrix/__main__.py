"""``spec-tests matrix FILE...``: one table of what several implementations do."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from spec_tests.matrix.merge import merge, read
from spec_tests.matrix.text import as_dict, as_text


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table of the result files.

    Returns
    -------
    int
        0 if all of the runs are complete and nothing in them failed, else 1; 2 where a file cannot
        be used.
    """
    parser = argparse.ArgumentParser(prog="spec-tests matrix", description=__doc__)
    parser.add_argument("file", nargs="+", type=Path, help="what --result wrote")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    options = parser.parse_args(argv)
    try:
        matrix = merge([read(path) for path in options.file])
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(as_dict(matrix), indent=1, ensure_ascii=False))
    else:
        print(as_text(matrix))
    return int(bool(matrix.faults()))


if __name__ == "__main__":
    sys.exit(main())
