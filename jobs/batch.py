"""Texts that an encoder computes at once: of nearly one length, since every one is padded to the longest."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from jobs.tokens import Reader, Tokens

TOKENISED_AT_ONCE = 4096  # texts: enough for batches of one length; the next ones are tokenised while these are computed


@dataclass(frozen=True)
class Batch:
    """Texts that are computed at once: their `places` (n,) among all texts, and their `rows` (n,) among the tokens that were read with
    theirs."""

    places: npt.NDArray[np.int64]
    tokens: Tokens
    rows: npt.NDArray[np.int64]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """(n,), in tokens."""
        return self.tokens.lengths[self.rows]

    @property
    def size(self) -> int:
        """Tokens, with those that fill it up."""
        return len(self.rows) * int(self.lengths.max())

    def halves(self) -> "list[Batch]":
        middle = len(self.rows) // 2
        return [Batch(self.places[half], self.tokens, self.rows[half]) for half in (slice(middle), slice(middle, None))]


def batches(reader: Reader, texts: Sequence[str], batch_tokens: int, threads: int = 1) -> Iterator[Batch]:
    """All texts, by falling length: in bytes to begin with, in tokens among those that are tokenised at once, by so many threads."""
    longest_first = np.argsort([-len(text.encode()) for text in texts], kind="stable")
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(texts), TOKENISED_AT_ONCE):
            places = longest_first[start : start + TOKENISED_AT_ONCE]
            tokens = reader.read([texts[place] for place in places], pool, threads)
            for rows in rows_of_batches(tokens.lengths, batch_tokens):
                yield Batch(places[rows], tokens, rows)


def rows_of_batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions by falling length, cut so that rows × longest row ≤ `batch_tokens` (a single longer row is a batch of its own)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows
