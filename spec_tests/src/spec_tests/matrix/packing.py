"""Files that a page holds: compressed, in letters that need no escape."""

import base64
import gzip
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["packed"]


def packed(content: Mapping[str, Any]) -> str:
    """Return the JSON of a file, compressed, as base64."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Without the time of day, that the same files make the same page.
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")
