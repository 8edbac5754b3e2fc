"""Several servers at work on one list, each in a thread that waits for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

__all__ = ["Closing", "share"]

Item = TypeVar("Item")


class Closing(Protocol):
    """What does the work; when it is closed, what it is asked raises."""

    def close(self) -> None:
        """End it."""
        ...


Worker = TypeVar("Worker", bound=Closing)


def share(
    items: Iterable[Item],
    workers: Sequence[Worker],
    work: Callable[[Worker, Item], None],
    is_over: Callable[[], bool],
) -> None:
    """Give items to workers as they become free, until one fails or there are none.

    Parameters
    ----------
    items : iterable
        Taken in order.
    workers : sequence
        As many threads; all are closed in the end.
    work : callable
        Called with a worker and an item, in the worker's thread.
    is_over : callable
        Whether no more items are to be taken.

    Raises
    ------
    BaseException
        The first that `work` raised, or what interrupted the wait.
    """
    left, taking = iter(items), threading.Lock()
    failures: list[BaseException] = []

    def serve(worker: Worker) -> None:
        while not failures and not is_over():
            with taking:
                item = next(left, None)
            if item is None:
                return
            try:
                work(worker, item)
            except BaseException as error:  # the thread that waits raises it
                failures.append(error)

    threads = [threading.Thread(target=serve, args=(one,), daemon=True) for one in workers]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException as error:
        failures.append(error)
    finally:
        for worker in workers:
            worker.close()
    if failures:
        raise failures[0]
