"""Threads that each compute with one core: many small products at once are faster than one after the other by all cores."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Workers:
    pool: ThreadPoolExecutor
    threads: int

    def share(self, work: Callable[[Item], None], items: Sequence[Item]) -> None:
        """Does the work for every item: each thread takes its share in turn, since handing over every item costs more than a small one's
        work. Raises what the work raises."""

        def turn(thread: int) -> None:
            for item in items[thread :: self.threads]:
                work(item)

        list(self.pool.map(turn, range(self.threads)))


@contextmanager
def workers(threads: int) -> Iterator[Workers]:
    import torch  # by whoever has vectors to multiply; what is small does without (`alone`)

    before = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            yield Workers(pool, threads)
    finally:
        torch.set_num_threads(before)


@contextmanager
def alone() -> Iterator[Workers]:
    """One thread, for work that torch has no part in: importing it takes seconds."""
    with ThreadPoolExecutor(1) as pool:
        yield Workers(pool, 1)
