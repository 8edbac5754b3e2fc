"""The calls of functions made by `vmap`, and what cannot be done in them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import NoReturn

# Filled at the first `vmap` of the process: before that nobody need look for a Batched.
USED: list[None] = []


class _Journals(threading.local):
    """For each call of a function made by `vmap` that a thread is in, what undoes its writes."""

    def __init__(self) -> None:
        self.open: list[list[Callable[[], None]]] = []


JOURNALS = _Journals()


def noted(undo: Callable[[], None]) -> None:
    """Note what undoes a write to a Module."""
    for journal in JOURNALS.open:
        journal.append(undo)


class NotKnown(RuntimeError):
    """Something asked for the values of a Tensor that depends on a slice (autograd-55)."""


class Unknown(NotKnown):
    """Something cannot run for all slices at once, and can for each."""


class Level:
    """One call of a function made by `vmap`.

    Parameters
    ----------
    size : int
        How many slices there are.
    age : int
        What orders it among nodes: what is older comes from outside.
    """

    __slots__ = ("active", "age", "size")

    def __init__(self, size: int, age: int) -> None:
        self.size = size
        self.age = age
        self.active = True


def refuse(what: str) -> NoReturn:
    """Raise where the values of a slice are asked for."""
    msg = (
        f"vmap: {what} wants values, and under vmap a Tensor that depends on a slice has not one "
        "value; compute with functions of ops, or outside vmap"
    )
    raise Unknown(msg)
