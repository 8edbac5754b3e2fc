"""A library of toys: work that ends in every way that work can, for workers to do."""

from __future__ import annotations

import os
import signal
import time

from benchmarks.peers.job import Job, Unsupported


def makers(argument):
    """Return one maker, whose behaviour is the row's name, or the argument where there is one."""
    return {"train": lambda row: MADE[argument or row.name](row), "launches": counting}


def working(row):
    return Job(lambda: None)


def counting(row):
    return Job(lambda: 2 * row.shape[0] + 1)


def printing(row):
    return Job(lambda: print("a library says something", flush=True))


def raising(row):
    def call():
        msg = "the sizes do not fit"
        raise ValueError(msg)

    return Job(call)


def refusing(row):
    msg = "no such cell"
    raise Unsupported(msg)


def leaving(row):
    return Job(lambda: os._exit(3))


def killing(row):
    return Job(lambda: os.kill(os.getpid(), signal.SIGKILL))


def hanging(row):
    return Job(lambda: time.sleep(600))


def leaving_late(row):
    """The first calls work: it dies while others are taking turns with it."""
    calls = iter(range(5))
    return Job(lambda: None if next(calls, None) is not None else os._exit(3))


def growing(row):
    return Job(lambda: len(bytearray(row.shape[0])))


MADE = {
    "working": working,
    "printing": printing,
    "raising": raising,
    "refusing": refusing,
    "leaving": leaving,
    "killing": killing,
    "hanging": hanging,
    "leaving late": leaving_late,
    "growing": growing,
}
