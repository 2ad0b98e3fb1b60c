"""Texts that an encoder computes at once: of nearly one length, since every one is padded to the longest."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from jobs.tokens import Reader

if TYPE_CHECKING:
    from tokenizers import Encoding


TOKENISED_AT_ONCE = 4096  # texts: enough for batches of one length; the next ones are tokenised while these are computed


@dataclass(frozen=True)
class Batch:
    """Texts that are computed at once: their `places` among all texts, the `lengths` of their tokens, whether any token of theirs is
    `understood`, which were `truncated`, and the tokens themselves, an `encoding` each."""

    reader: Reader
    places: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.int64]
    understood: npt.NDArray[np.bool_]
    truncated: npt.NDArray[np.bool_]
    encodings: "Sequence[Encoding]"

    @property
    def size(self) -> int:
        """Tokens, with those that fill it up."""
        return len(self.lengths) * int(self.lengths.max())

    @property
    def features(self) -> dict[str, npt.NDArray[np.int64]]:
        """(n, longest) of each name that the model asks for."""
        return self.reader.features(self.encodings, self.lengths)

    def halves(self) -> "list[Batch]":
        middle = len(self.places) // 2
        return [
            replace(
                self,
                places=self.places[half],
                lengths=self.lengths[half],
                understood=self.understood[half],
                truncated=self.truncated[half],
                encodings=self.encodings[half],
            )
            for half in (slice(middle), slice(middle, None))
        ]


def batches(reader: Reader, texts: Sequence[str], batch_tokens: int, threads: int = 1) -> Iterator[Batch]:
    """All texts, by falling length: in bytes to begin with, in tokens among those that are tokenised at once, by so many threads."""
    longest_first = np.argsort([-len(text.encode()) for text in texts], kind="stable")
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(texts), TOKENISED_AT_ONCE):
            places = longest_first[start : start + TOKENISED_AT_ONCE]
            encodings = reader.read([texts[place] for place in places], pool, threads)
            lengths = np.fromiter(map(len, encodings), dtype=np.int64, count=len(places))
            cut = np.fromiter((bool(encoding.overflowing) for encoding in encodings), dtype=np.bool_, count=len(places))
            understood = reader.known(encodings, lengths) > reader.of_nothing
            for rows in rows_of_batches(lengths, batch_tokens):
                yield Batch(reader, places[rows], lengths[rows], understood[rows], cut[rows], [encodings[row] for row in rows])


def rows_of_batches(lengths: npt.NDArray[np.int64], batch_tokens: int) -> Iterator[npt.NDArray[np.int64]]:
    """Positions by falling length, cut so that rows × longest row ≤ `batch_tokens` (a single longer row is a batch of its own)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // max(1, int(lengths[order[start]])))
        yield order[start : start + rows]
        start += rows
