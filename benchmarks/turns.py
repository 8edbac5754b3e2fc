"""Who works when: players take turns, so that what slows the machine down meets all of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from benchmarks.processes import Refused, WorkerEnded

__all__ = ["Name", "Player", "Record", "Sample", "in_turns"]

# A contestant, and its number of threads.
Name = tuple[str, int]

LEAST, MOST = 5, 400


@dataclass(frozen=True)
class Sample:
    """What one turn gave.

    Attributes
    ----------
    value : float
        Seconds of a call, bytes, or a count.
    cpu : float
        The time of all cores over that of the clock: below 1 something slept, at 2 two worked.
    """

    value: float
    cpu: float = 0.0


class Player(Protocol):
    """Someone who takes turns."""

    @property
    def name(self) -> Name:
        """What results are stored under."""

    def turn(self) -> Sample:
        """Work once."""


@dataclass
class Record:
    """What the players' turns gave, one sample a round; who could not go on, and why."""

    samples: dict[Name, list[Sample]] = field(default_factory=dict)
    failures: dict[Name, str] = field(default_factory=dict)

    def values(self, name: Name) -> list[float]:
        """Return a player's values, one a round."""
        return [sample.value for sample in self.samples[name]]


def in_turns(
    players: Sequence[Player],
    seconds: float,
    least: int = LEAST,
    clock: Callable[[], float] = time.perf_counter,
) -> Record:
    """Let the players work in turn.

    Every round begins with another player and every second one goes backwards, so that nobody
    always works behind the same one. A player who fails leaves, the others go on.

    Parameters
    ----------
    players : sequence of Player
    seconds : float
        For each player on average; the rounds end when all are used up.
    least : int
        Rounds that are played even so.
    clock : callable
        Returns seconds.
    """
    record = Record({player.name: [] for player in players})
    playing = list(players)
    end = clock() + seconds * len(players)
    for number in range(MOST):
        if not playing or (clock() >= end and number >= least):
            break
        first = number % len(playing)
        order = playing[first:] + playing[:first]
        for player in order if number % 2 == 0 else reversed(order):
            try:
                record.samples[player.name].append(player.turn())
            except (Refused, WorkerEnded) as error:
                record.failures[player.name] = str(error)
                del record.samples[player.name]
                playing.remove(player)
    return record
