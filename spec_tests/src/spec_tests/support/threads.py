"""Several threads at one thing, with the interpreter changing between them at every chance."""

import sys
import threading
from collections.abc import Callable

INTERVAL = 1e-6


def together(work: Callable[[int], None], count: int = 4) -> None:
    """Run ``work(0)`` to ``work(count - 1)`` at once, each in a thread of its own.

    Parameters
    ----------
    work : callable
        What a thread does; it gets the thread's number.
    count : int
        How many threads there are.

    Raises
    ------
    Exception
        The first that a thread raised.
    """
    __tracebackhide__ = True
    barrier = threading.Barrier(count)
    raised: list[Exception] = []

    def run(number: int) -> None:
        barrier.wait(60)
        try:
            work(number)
        except Exception as error:
            raised.append(error)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(INTERVAL)
    try:
        threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    if raised:
        raise raised[0]
