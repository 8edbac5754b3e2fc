"""Turns: everybody works in every round, nobody always behind the same one."""

from collections import Counter

from benchmarks.processes import Refused, WorkerEnded
from benchmarks.turns import MOST, Sample, in_turns


class Scripted:
    """A player whose samples are given, and who writes down when it played."""

    def __init__(self, name, values, played):
        self.name = (name, 1)
        self.values = iter(values)
        self.played = played

    def turn(self):
        self.played.append(self.name[0])
        value = next(self.values)
        if isinstance(value, Exception):
            raise value
        return Sample(value)


def seconds():
    """A clock that goes on by one at each look."""
    times = iter(range(10**6))
    return lambda: next(times)


def test_all_play_equally_often_for_their_time():
    played = []
    players = [Scripted(name, range(1000), played) for name in "abc"]
    record = in_turns(players, 4, clock=seconds())
    assert set(Counter(played).values()) == {11}
    assert record.values(("b", 1)) == list(range(11))
    assert record.failures == {}


def test_the_least_is_played_even_without_time():
    played = []
    in_turns([Scripted("a", range(99), played)], 0.0, 7, seconds())
    assert played == ["a"] * 7


def test_rounds_end():
    played = []
    in_turns([Scripted("a", range(10**5), played)], 1e9, clock=lambda: 0.0)
    assert len(played) == MOST


def test_rounds_begin_with_another_one_and_turn_around():
    played = []
    in_turns([Scripted(name, range(9), played) for name in "abc"], 0.0, 6, seconds())
    rounds = ["".join(played[i : i + 3]) for i in range(0, len(played), 3)]
    assert rounds == ["abc", "acb", "cab", "cba", "bca", "bac"]


def test_who_fails_leaves_and_the_others_go_on():
    played = []
    players = [
        Scripted("a", range(9), played),
        Scripted("b", [1, WorkerEnded("was ended by signal 9")], played),
        Scripted("c", [Refused("no such cell")], played),
    ]
    record = in_turns(players, 0.0, 5, seconds())
    assert record.failures == {("b", 1): "was ended by signal 9", ("c", 1): "no such cell"}
    assert list(record.samples) == [("a", 1)]
    assert len(record.values(("a", 1))) == 5


def test_nobody_is_left():
    record = in_turns([Scripted("a", [Refused("no")], [])], 1.0, clock=seconds())
    assert record.samples == {}
    assert in_turns([], 1.0, clock=seconds()).samples == {}
