"""Chance that depends on a key alone: the same in every process, on every machine, and in whatever order it is asked.

About 1 µs a draw. Longer sequences come from `random.Random(key)` with a text key, which Python defines by the key's SHA-512.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import blake2b
from random import Random
from typing import TypeVar

T = TypeVar("T")

MILLION = 1_000_000  # shares are whole parts per million, so that no rounding depends on the size of a catalogue


def draw(key: str, below: int) -> int:
    """A number from 0 to `below` - 1."""
    return int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big") % below


def pick(chance: Random, options: Sequence[T]) -> T:
    """As Random.choice, in a fifth of its time, which is most of what a generated product costs."""
    return options[int(chance.random() * len(options))]


def spread(key: str, share: int, ordinal: int) -> int | None:
    """Whether `ordinal` is chosen when `share` parts per million are: its rank among the chosen ones if so, else None.

    The ordinals 0, 1, 2, … are cut into runs of 1 / share and one is drawn from each, so the share holds in any long enough stretch.
    """
    if share == 0:
        return None
    rank = ordinal * share // MILLION
    return rank if ordinal == _chosen(key, share, rank) else None


def chosen(key: str, share: int, below: int) -> Iterator[int]:
    """The ordinals below `below` that `spread` chooses, in the order of their ranks, which is theirs."""
    for rank in range(-(-below * share // MILLION)):
        if (ordinal := _chosen(key, share, rank)) < below:
            yield ordinal


@lru_cache(maxsize=4096)
def _chosen(key: str, share: int, rank: int) -> int:
    first = -(-rank * MILLION // share)
    following = -(-(rank + 1) * MILLION // share)
    return first + draw(f"{key} {rank}", following - first)
