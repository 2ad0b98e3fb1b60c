"""Every item is worked on once, by one core, and the process is left as it was."""

import threading
from collections.abc import Iterator

import pytest
import torch

from jobs.pool import workers


@pytest.fixture(autouse=True)
def three_threads() -> Iterator[None]:
    """A number that neither the pool nor any machine would set by itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def threads_of_torch() -> list[int]:
    """In this thread, and in one that begins now: torch keeps a number for each."""
    found = [torch.get_num_threads()]
    new = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    new.start()
    new.join()
    return found


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("items", [range(0), range(1), list(range(100))])
def test_every_item_is_worked_on_once(threads: int, items: range | list[int]) -> None:
    done: list[int] = []
    with workers(threads) as pool:
        pool.share(done.append, items)
        assert sorted(done) == list(items)


def test_each_thread_computes_with_one_core() -> None:
    found: list[int] = []
    with workers(2) as pool:
        pool.share(lambda _: found.append(torch.get_num_threads()), range(4))
    assert found == [1, 1, 1, 1]
    assert threads_of_torch() == [3, 3]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_the_work_raises_is_raised(threads: int) -> None:
    def work(item: int) -> None:
        if item == 3:
            raise ArithmeticError("the fourth")

    with pytest.raises(ArithmeticError, match="the fourth"), workers(threads) as pool:
        pool.share(work, range(8))
    assert threads_of_torch() == [3, 3]
