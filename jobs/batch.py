"""Texts that an encoder computes at once: of nearly one length, since every one is padded to the longest."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Batch:
    """Texts that are computed at once: their `places` among all texts, the `lengths` of their tokens, whether any token of theirs is
    `understood`, how many were `truncated`, and the library's `features`: lists of a list for each text, and what is the `same` for all of
    them."""

    places: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    understood: npt.NDArray[np.bool_]
    truncated: int
    features: dict[str, list[list[int]]]
    same: dict[str, Any]

    @property
    def size(self) -> int:
        """Tokens, with those that fill it up."""
        return len(self.lengths) * int(self.lengths.max())

    def halves(self) -> "list[Batch]":
        middle = len(self.places) // 2
        return [
            replace(
                self,
                places=self.places[half],
                lengths=self.lengths[half],
                understood=self.understood[half],
                features={name: lists[half] for name, lists in self.features.items()},
            )
            for half in (slice(middle), slice(middle, None))
        ]


def rows_of_batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions by falling length, cut so that rows × longest row ≤ `batch_tokens` (a single longer row is a batch of its own)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows
