"""What can be read off a CUDA source before it is compiled."""

from __future__ import annotations

import re

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_KERNEL = re.compile(
    r"__global__(?:\s+static)?\s+(?:__launch_bounds__\s*\([^()]*\)\s*)?void\s+"
    r"(?:__launch_bounds__\s*\([^()]*\)\s*)?(\w+)\s*\("
)
_DYNAMIC_SHARED = re.compile(
    r"\bextern\s+__shared__\s+(?:__align__\s*\([^()]*\)\s*)?([\w\s]+?)\s+(\w+)\s*\[\s*\]\s*;"
)
_WAITING = re.compile(
    r"\b__(?:syncthreads|syncwarp|shfl(?:_up|_down|_xor)?_sync|ballot_sync|any_sync|all_sync)\b"
)


def without_comments(text: str) -> str:
    """Return the source with its comments blanked, lines kept."""
    return _COMMENT.sub(lambda found: "\n" * found.group().count("\n") or " ", text)


def kernel_names(text: str) -> list[str]:
    """Return the names of the kernels that are no templates, in order.

    Parameters
    ----------
    text : str
        A source whose macros have been expanded.
    """
    text = without_comments(text)
    names = []
    for found in _KERNEL.finditer(text):
        before = text[: found.start()]
        declaration = before[max(before.rfind(";"), before.rfind("}")) + 1 :]
        if "template" not in declaration and found.group(1) not in names:
            names.append(found.group(1))
    return names


def has_barriers(text: str) -> bool:
    """Tell whether threads of a block wait for one another in it."""
    return _WAITING.search(without_comments(text)) is not None


def with_dynamic_shared_memory(text: str) -> str:
    """Return the source with ``extern __shared__ T name[];`` as a pointer that is filled here."""
    return _DYNAMIC_SHARED.sub(r"\1 *\2 = reinterpret_cast<\1 *>(emulation::shared_memory);", text)
