"""What happens to one listed product from night to night: it is added, edited, repriced, deleted.

A life is computed from the ordinal alone, at about 1 µs a night, so a feed of any size and any night needs no memory of the one before.
"""

from dataclasses import dataclass
from typing import Literal

from jobs.chance import MILLION, chosen, spread

Event = Literal["added", "changed", "deleted", "price"]

# a quarter of the changes are additions, which come as new ordinals; these share the rest
_LATER: tuple[Event, ...] = ("changed", "deleted", "price")


@dataclass(frozen=True, slots=True)
class Life:
    """A listed product as of one night. `event` is what happened in that very night; a deleted product is no longer in the feed."""

    edits: int
    moves: int  # of the price
    event: Event | None


def listed(items: int, change: int, night: int) -> int:
    """How many products have ever been listed by that night (0 is the first), deleted ones included."""
    return items + items * change * night // (4 * MILLION)


def first_listed(items: int, change: int, ordinal: int) -> int:
    """The night in which the product is listed for the first time."""
    return 0 if ordinal < items else -(-(ordinal - items + 1) * 4 * MILLION // (items * change))


def deleted(key: str, items: int, change: int, night: int) -> set[int]:
    """All that have been listed and are not any more by that night: those whose `life` is none, or ends in it."""
    gone = set[int]()
    for later in range(1, night + 1):
        ordinals = chosen(f"{key} night {later}", change * 3 // 4, listed(items, change, later - 1))
        gone |= {ordinal for rank, ordinal in enumerate(ordinals) if _LATER[rank % 3] == "deleted"}
    return gone


def life(key: str, items: int, change: int, ordinal: int, night: int) -> Life | None:
    """The product's life up to `night`, or None if it was deleted in an earlier one. `change` is in parts per million a night."""
    added = first_listed(items, change, ordinal)
    edits = moves = 0
    event: Event | None = "added" if ordinal >= items and added == night else None
    for later in range(added + 1, night + 1):
        rank = spread(f"{key} night {later}", change * 3 // 4, ordinal)
        event = None if rank is None else _LATER[rank % 3]
        if event == "deleted":
            return Life(edits, moves, event) if later == night else None
        edits += event == "changed"
        moves += event == "price"
    return Life(edits, moves, event)
