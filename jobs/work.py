"""All that the lists of a night are made of."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pyspark.sql import DataFrame

from jobs import fusion
from jobs.sections import Neighbours


def by_block(groups: list[Any], counted: str) -> Counter[str]:
    """The `nodes` or the `items` of each block."""
    found = Counter[str]()
    for group in groups:
        found[group["block"]] += group[counted]
    return found


@dataclass(frozen=True)
class Work:
    """The nodes that have a text, the vectors, the groups of nodes, the sampled items, how the items are read and searched, and
    the share of neighbours that may be missed."""

    nodes: DataFrame
    vectors: DataFrame
    groups: list[Any]
    asked: list[Any]
    reading: fusion.Reading
    how: Neighbours
    misses: float

    @cached_property
    def sizes(self) -> Counter[str]:
        """Nodes of each block."""
        return by_block(self.groups, "nodes")

    def asked_of(self, blocks: Iterable[str]) -> dict[str, list[str]]:
        """The sampled items of the blocks, by node."""
        within, found = set(blocks), dict[str, list[str]]()
        for row in self.asked:
            if row["block"] in within:
                found.setdefault(row["node"], []).append(row["item_id"])
        return found
