"""Ask the suite many times, each time in a fork of one process that has loaded what all need.

A program: each line of its input names a folder and pytest's arguments; it prints each exit status.
What pytest prints goes to `output.txt` in the folder.
"""

import gc
import json
import os
import sys

import faults
import numpy as np  # noqa: F401
import pytest

import impl_numpy  # noqa: F401
import spec_tests.judge.properties  # noqa: F401


def ask(folder: str, arguments: list[str]) -> int:
    os.chdir(folder)
    sys.path.insert(0, folder)
    output = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for printed in (1, 2):
        os.dup2(output, printed)
    return int(pytest.main(arguments))


def fork(folder: str, arguments: list[str]) -> int:
    child = os.fork()
    if child == 0:
        status = 70
        try:
            status = ask(folder, arguments)
        finally:
            sys.stdout.flush()
            # Nothing of the parent's, its buffered input above all, is to be closed here.
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    faults.every()
    # What is loaded stays: the collector need not look at it in each fork.
    gc.freeze()
    while line := sys.stdin.readline():
        print(fork(*json.loads(line)), flush=True)
