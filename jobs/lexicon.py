"""How texts are spelt, as sparse vectors: character n-grams and codes, weighted by how rare they are.

*Grams* are the 3- to 5-grams of each word between its boundaries; of scripts that write no spaces the 1- and 2-grams. *Codes* are the words
that hold a digit (model numbers, sizes, packs), without the hyphens, dots and slashes inside; but between two digits a dot, which may be
written as a comma, and a slash are part of the word: 1.5 is not 15. A number with its unit is two codes, 1.5 and 1.5l, whether there is a
space between them or not. Case, accents, vowel points and what only selects how a character is drawn do not count, and Korean is read by
its letters. Terms are hashed into BUCKETS. One weighs (1 + ln count in the text) · (1 + ln((1 + n) / (1 + m))), where m of n texts have it,
and vectors have unit length (Salton and Buckley, 1988).

A lexicon is the counts of one catalogue. Kept, it gives a text the same vector every night, whatever else is sold.
"""

import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs import spelling
from jobs.script import CODE_POINTS

VERSION = 2  # of what a term is, its bucket included: counts of another one are of no use
FIRST = ("counted_at", "lexicon_id")  # the order of stored lexicons; of those that fit a night the first is used
BUCKETS = 2**20  # most share one with a term that is as rare; two texts seldom have two different ones of one bucket
BYTES_AT_ONCE = 2**22  # of text: the loops are given room for three terms a byte
DENSE = (  # code points of scripts that write no spaces
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3040, 0x30FF),  # Japanese syllables
    (0x3400, 0x9FFF),  # ideographs
    (0xF900, 0xFAFF),
)
POINTS = (  # accents; vowels of Hebrew and Arabic; frames, as of keycaps; selectors of a variant
    (0x0300, 0x036F),
    (0x0591, 0x05C7),
    (0x064B, 0x0655),
    (0x0670, 0x0670),
    (0x20D0, 0x20FF),
    (0xFE00, 0xFE0F),
)

Weights = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int32]
Bounds = npt.NDArray[np.int64]
Read = Callable[..., int]  # spelling.grams or spelling.codes


@dataclass(frozen=True)
class Terms:
    """n sparse rows of unit length, or empty: row i has `buckets[bounds[i]:bounds[i + 1]]`, ascending, with their `weights`.

    Some rows that follow each other are a view: their bounds do not begin at 0.
    """

    bounds: Bounds
    buckets: Counts
    weights: Weights

    def __len__(self) -> int:
        return len(self.bounds) - 1

    def __getitem__(self, rows: slice | npt.NDArray[np.int64]) -> "Terms":
        if isinstance(rows, slice):
            start, stop, _ = rows.indices(len(self))
            return Terms(self.bounds[start : stop + 1], self.buckets, self.weights)
        lengths = np.diff(self.bounds)[rows]
        bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        places = np.arange(bounds[-1]) + np.repeat(self.bounds[rows] - bounds[:-1], lengths)
        return Terms(bounds, self.buckets[places], self.weights[places])

    @property
    def arrays(self) -> tuple[Bounds, Counts, Weights]:
        return self.bounds, self.buckets, self.weights

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """(n,) whether there is a term."""
        return np.diff(self.bounds) > 0

    def sketched(self, width: int, salt: np.uint64) -> Weights:
        """(n, width) float32, width a power of two: dense vectors whose inner products are near those of the rows, at random (Charikar,
        Chen and Farach-Colton, 2002). Terms of another salt share nothing with them."""
        found = np.zeros((len(self), width), dtype=np.float32)
        spelling.sketch(self.bounds, self.buckets, self.weights, salt, found)
        return found

    def products(self, others: "Inverted") -> Weights:
        """(n, m) float32 inner products of the n rows with the m others."""
        found = np.zeros((len(self), others.count), dtype=np.float32)
        spelling.products(*self.arrays, *others.arrays, found)
        return found

    def inverted(self) -> "Inverted":
        room = int(self.bounds[-1] - self.bounds[0])
        lists, starts = np.zeros(BUCKETS, dtype=np.int32), np.zeros(room + 2, dtype=np.int64)
        rows, weights = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.float32)
        spelling.invert(*self.arrays, lists, starts, rows, weights)
        return Inverted(len(self), lists, starts, rows, weights)


@dataclass(frozen=True)
class Inverted:
    """Terms of `count` rows, by bucket; see `spelling.invert`. Some thousand rows at a time: then what is added up stays in the cache."""

    count: int
    lists: Counts
    starts: Bounds
    rows: Counts
    weights: Weights

    @property
    def arrays(self) -> tuple[Counts, Bounds, Counts, Weights]:
        return self.lists, self.starts, self.rows, self.weights


@dataclass(frozen=True)
class Lexicon:
    """Of so many texts, those that each bucket is in: `grams` and `codes` (BUCKETS,)."""

    texts: int
    grams: Counts
    codes: Counts

    def grams_of(self, texts: pa.Array) -> Terms:
        return self._terms(texts, spelling.grams, self.grams)

    def codes_of(self, texts: pa.Array) -> Terms:
        return self._terms(texts, spelling.codes, self.codes)

    def _terms(self, texts: pa.Array, read: Read, frequencies: Counts) -> Terms:
        whole = np.float32(1 + self.texts)
        parts = [
            (lengths, buckets, (1 + np.log(counts, dtype=np.float32)) * (1 + np.log(whole / (1 + frequencies[buckets]).astype(np.float32))))
            for lengths, buckets, counts in _read(texts, read)
        ]
        lengths, buckets, weights = (np.concatenate(column) for column in zip(*parts, strict=True))
        bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)])
        spelling.normalise(bounds, weights)
        return Terms(bounds, buckets, weights)


def counted(texts: pa.Array) -> Lexicon:
    """The lexicon of these texts."""

    def frequencies(read: Read) -> Counts:
        found = np.zeros(BUCKETS, dtype=np.int32)
        for _, buckets, _ in _read(texts, read):
            found += np.bincount(buckets, minlength=BUCKETS)
        return found

    return Lexicon(len(texts), frequencies(spelling.grams), frequencies(spelling.codes))


def named(reading: str) -> str:
    """What a lexicon was counted of: the fields that were read, and what a term is."""
    return f"{reading}; terms of version {VERSION}"


def fitting_sql(reading: str, texts: int) -> str:
    """SQL of the stored lexicons that fit a catalogue of so many texts. A rarity is a logarithm: it changes little before there are half or
    twice as many.

    Of these the one is used that is FIRST, as nothing that is counted later comes before it: a night that is run again, or that runs beside
    others in any order, finds the same one.
    """
    return f"reading = '{named(reading)}' AND texts < 2 * {texts} AND 2 * texts > {texts}"


def encoded(texts: pa.Array) -> tuple[npt.NDArray[np.uint8], Counts]:
    """The bytes of UTF-8 texts, and where each one begins and the last one ends; as Arrow holds them."""
    whole = pa.concat_arrays(texts.chunks) if isinstance(texts, pa.ChunkedArray) else texts
    whole = pc.fill_null(whole.cast(pa.string()), "")
    offsets = np.frombuffer(whole.buffers()[1], dtype=np.int32)[whole.offset : whole.offset + len(whole) + 1]
    return np.frombuffer(whole.buffers()[2] or b"", dtype=np.uint8), offsets


def _read(texts: pa.Array, read: Read) -> Iterator[tuple[Bounds, Counts, Counts]]:
    """Of some texts after others: how many terms each has; their buckets; their counts in the text."""
    data, offsets = encoded(folded(texts))
    start = 0
    while start == 0 or start < len(offsets) - 1:
        stop = max(start + 1, int(np.searchsorted(offsets, int(offsets[start]) + BYTES_AT_ONCE, side="right")) - 1)
        part = offsets[start : stop + 1]
        bounds = np.zeros(max(1, len(part)), dtype=np.int64)
        buckets, counts = (np.empty(3 * int(part[-1] - part[0]) + 1, dtype=np.int32) for _ in range(2))
        total = read(data, part, kinds(), BUCKETS, bounds, buckets, counts)
        yield np.diff(bounds), buckets[:total].copy(), counts[:total].copy()
        start = stop


def folded(texts: pa.Array) -> pa.Array:
    """The texts letter by letter, accents apart, case gone."""
    lowered = pc.replace_substring(pc.replace_substring(pc.utf8_lower(texts), "ς", "σ"), "ß", "ss")  # in capitals Σ and SS
    return pc.utf8_normalize(lowered, form="NFD")


@cache
def kinds() -> npt.NDArray[np.uint8]:
    """(CODE_POINTS,) the kind of each character; for those beyond see `spelling`."""
    by_category = {"L": spelling.WORD, "M": spelling.WORD, "N": spelling.DIGIT}
    found = np.fromiter(
        (by_category.get(unicodedata.category(chr(code))[0], spelling.BETWEEN) for code in range(CODE_POINTS)), np.uint8, CODE_POINTS
    )
    found[[ord(joiner) for joiner in "-./"]] = spelling.JOINER
    found[ord(",")] = spelling.DECIMAL
    for first, last in DENSE:
        part = found[first : last + 1]
        part[part == spelling.WORD] = spelling.DENSE
    for first, last in POINTS:
        found[first : last + 1] = spelling.UNSEEN
    return found
