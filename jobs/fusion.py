"""The similarity of two items: what they mean, how they are spelt and which codes they bear, weighed into one number.

    similarity = Σ weight · part / Σ weight        over the channels in which both have something to compare

*semantic*: vectors of an encoder; its weight falls with how well the encoder knows the scripts of the two titles, down to nothing.
*lexical*: n-grams, the better of title with title and all fields with all fields: a long description drowns a title, and a bare title
lacks what a description tells. *codes*: the words of all fields that hold a digit. These three are cosines. *price* and *category*: see
`closeness`; they weigh nothing unless asked for, and alone they make nothing similar.

A *signature* is one vector whose inner products come near the similarities: a search on it proposes candidates, whose similarities are then
computed exactly (`settled`), as are those of the neighbours' neighbours (`swept`). Its lexical part is a random sketch (Charikar, Chen and
Farach-Colton, 2002) of title and fields together; price and category are not in it.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from jobs import closeness, lexicon, score, spelling
from jobs.kernel import NONE, lists
from jobs.lexicon import BUCKETS, Inverted, Lexicon, Terms
from jobs.tables import PARTS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jobs.pool import Workers

Vectors = npt.NDArray[np.float32]
Positions = npt.NDArray[np.int32]
Rows = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
Told = tuple[Vectors, Flags, Flags, Flags, Vectors, Rows]  # see `Items.told`

# columns that are read beside the vector; their types are called the same by Arrow and by Spark
READ = {"title": pa.string(), "fields": pa.string(), "price": pa.float64(), "currency": pa.string(), "category": pa.string()}
VERSION = 2  # of what a similarity is: those of another one cannot be ranked with these
SKETCHED = 256  # components of a signature's lexical part, a power of two; of the ten nearest 98 % are among 48 candidates
GRAMS, CODES = np.uint64(1), np.uint64(2)  # salts of the sketches
REACH = 12  # neighbours, and as many of each one's own, that `swept` looks at; of names of foods 8 find .001 to .002 less
TIED = 8  # further items that are compared exactly, where those nearest were chosen by similarities in float32
AT_ONCE = 64, 4096  # items that are compared with others, and others: what this makes stays in the cache


@dataclass(frozen=True)
class Reading:
    """How items are read: what each of PARTS weighs (5,) float32, the lexicon, how well the encoder knows each letter's script
    (`script.weights`), and the numbers of its vectors."""

    weights: Vectors
    lexicon: Lexicon
    scripts: Vectors
    dimension: int


@dataclass(frozen=True)
class Items:
    """n items: unit vectors (n, d) float32, or zero; how well the encoder knows their titles' scripts (n,); the terms of their texts;
    whether all fields say no more than the title (n,); prices (n,), 0 of one that has none, and their currencies (n,); the levels of
    their categories."""

    vectors: Vectors
    known: Vectors
    titles: Terms
    fields: Terms
    codes: Terms
    bare: npt.NDArray[np.bool_]
    prices: Vectors
    currencies: Rows
    categories: Terms

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, rows: slice | Rows) -> "Items":
        return Items(*(getattr(self, field.name)[rows] for field in fields(self)))

    @property
    def told(self) -> Told:
        """What decides beside products: see `score.fuse`."""
        return self.known, self.fields.present, self.codes.present, self.categories.present, self.prices, self.currencies


def items(vectors: Vectors, columns: "Mapping[str, pa.Array]", reading: Reading, threads: int = 1) -> Items:
    """Items as they are read: (n, d) vectors beside (n,) columns, those of READ. A channel that weighs nothing has nothing to compare."""
    semantic, lexical, codes, price, category = reading.weights > 0
    titles, fields = columns["title"], columns["fields"]
    book, silence = reading.lexicon, pa.nulls(len(vectors), pa.string())
    bare = pc.equal(titles, fields).fill_null(True).to_numpy(zero_copy_only=False)
    read = [(book.grams_of, titles if lexical else silence), (book.codes_of, fields if codes else silence)]
    if not bare.all():
        read.insert(0, (book.grams_of, fields if lexical else silence))  # what takes longest begins first
    with ThreadPoolExecutor(threads) as pool:
        *spelt, coded = pool.map(lambda terms_of, texts: terms_of(texts), *zip(*read, strict=True))
    terms = spelt[-1], spelt[0], coded
    known = np.zeros(len(vectors), dtype=np.float32)
    if semantic:
        spelling.familiar(*lexicon.encoded(titles), reading.scripts, known)
        known[~terms[1].present] = 1  # nothing else tells what they are
        known[~vectors.any(axis=1)] = 0
    prices = columns["price"].to_numpy() if price else np.zeros(len(vectors))
    currencies = closeness.currencies(columns["currency"]) if price else np.zeros(len(vectors), dtype=np.int64)
    categories = closeness.levels(columns["category"] if category else pa.array([""] * len(vectors)))
    return Items(vectors, known, *terms, bare, prices.astype(np.float32), currencies, categories)


def signatures(of: Items, weights: Vectors) -> Vectors:
    """(n, d + SKETCHED) float32, rows of unit length; zero where an item has nothing to say. The vectors themselves where they are all."""
    semantic, lexical, codes = np.sqrt(weights[:3])
    if not (lexical or codes):
        return of.vectors
    found = np.empty((len(of), (of.vectors.shape[1] if semantic else 0) + SKETCHED), dtype=np.float32)
    for start in range(0, len(of), AT_ONCE[1]):
        rows = slice(start, start + AT_ONCE[1])
        part = of[rows]
        spelt = _unit(part.titles.sketched(SKETCHED, GRAMS) + part.fields.sketched(SKETCHED, GRAMS))
        sketch = spelt * lexical + part.codes.sketched(SKETCHED, CODES) * codes
        meant = part.vectors * (semantic * np.sqrt(part.known[:, None]))
        found[rows] = _unit(np.hstack([meant, sketch]) if semantic else sketch)
    return found


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vectors = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found


def compared(queries: Items, others: Items, weights: Vectors) -> Vectors:
    """(q, n) float32 similarities of all pairs; -inf where no channel has anything to compare."""
    found = np.empty((len(queries), len(others)), dtype=np.float32)
    for start in range(0, len(others), AT_ONCE[1]):
        theirs = Sought.of(others[start : start + AT_ONCE[1]])
        for first in range(0, len(queries), AT_ONCE[0]):
            mine = queries[first : first + AT_ONCE[0]]
            found[first : first + len(mine), start : start + len(theirs)] = theirs.compared(mine, weights)
    return found


@dataclass(frozen=True)
class Sought:
    """Some items that others are compared with: their vectors, what decides beside products (`Items.told`), their terms by bucket; whether
    of all of them the fields say no more than the title."""

    vectors: Vectors
    told: Told
    titles: Inverted
    fields: Inverted
    codes: Inverted
    categories: Inverted
    bare: bool

    @classmethod
    def of(cls, items: Items) -> "Sought":
        bare, titles = bool(items.bare.all()), items.titles.inverted()
        fields = titles if bare else items.fields.inverted()
        return cls(items.vectors, items.told, titles, fields, items.codes.inverted(), items.categories.inverted(), bare)

    def __len__(self) -> int:
        return len(self.vectors)

    def compared(self, queries: Items, weights: Vectors) -> Vectors:
        """(q, n) similarities of queries with them."""
        found = queries.vectors @ self.vectors.T
        spelt = queries.titles.products(self.titles)
        fields = spelt if self.bare and queries.bare.all() else queries.fields.products(self.fields)
        coded, placed = queries.codes.products(self.codes), queries.categories.products(self.categories)
        score.fuse(found, spelt, fields, coded, placed, *queries.told, *self.told, weights)
        return found


@dataclass(frozen=True)
class Near:
    """Lists of r items: positions (r, k) int32, NONE where there are fewer; similarities (r, k) float32, -inf there; PARTS (r, k, 5)
    float32, nan of a channel that has nothing to compare."""

    positions: Positions
    similarities: Vectors
    parts: Vectors

    def before(self, others: "Near") -> "Near":
        """These, then the others, of every item."""
        return Near(*(np.concatenate([getattr(self, field.name), getattr(others, field.name)], axis=1) for field in fields(self)))


def others(count: int, labels: Positions | None) -> Positions:
    """(n, n - 1) int32 candidates of `count` items that are all others, with `labels` (n,) all of another label; NONE after the last."""
    found = np.tile(np.arange(count, dtype=np.int32), (count, 1))
    found[np.eye(count, dtype=bool) if labels is None else labels[:, None] == labels] = NONE
    return np.ascontiguousarray(np.sort(found, axis=1)[:, :0:-1])


def settled(of: Items, weights: Vectors, rows: Rows, candidates: Positions, k: int, pool: "Workers") -> Near:
    """The k most similar candidates of each item, equal ones in the order of their positions.

    candidates (n, c) int32, NONE after the last. They are computed in the order of `rows`: where items that follow each other have the same
    candidates, these stay in the cache. Sums are float64: a pair has the same similarity wherever it is computed.
    """
    positions, similarities = lists(len(candidates), k)
    parts = np.full((*positions.shape, len(PARTS)), np.nan, dtype=np.float32)
    titles, spelt, codes, categories = (terms.arrays for terms in (of.titles, of.fields, of.codes, of.categories))
    told = of.vectors, of.known, of.bare, titles, spelt, codes, of.prices, of.currencies, categories

    def settle(start: int) -> None:
        stop = min(len(rows), start + AT_ONCE[1])
        lists = candidates, positions, similarities, parts
        score.settle(*told, weights, BUCKETS, rows, start, stop, *lists)

    pool.share(settle, range(0, len(rows), AT_ONCE[1]))
    similarities[positions == NONE] = -np.inf
    return Near(positions, similarities, parts)


def swept(of: Items, weights: Vectors, rows: Rows, near: Near, labels: Positions | None, pool: "Workers") -> Near:
    """The lists, with what the neighbours of each item's neighbours add to them; with `labels` (n,) only those of another label.

    Signatures come only near the similarities, so some neighbours are not among the candidates they propose; but the neighbours of
    neighbours were chosen by the similarities themselves. Of two labels nothing is added: they bear the item's own.
    """
    lists = near.positions
    reach = min(REACH, lists.shape[1])
    candidates = np.empty((len(lists), lists.shape[1] + reach**2), dtype=np.int32)

    def meet(start: int) -> None:
        own = np.arange(start, min(start + AT_ONCE[1], len(lists)), dtype=np.int32)[:, None]
        first = lists[own[:, 0], :reach]
        second = np.where(first[:, :, None] == NONE, NONE, lists[first, :reach]).reshape(len(own), -1)
        second[second == own] = NONE
        if labels is not None:
            second[labels[second] == labels[own]] = NONE
        met = np.sort(np.hstack([lists[own[:, 0]], second]), axis=1)
        met[:, :-1][met[:, :-1] == met[:, 1:]] = NONE
        candidates[own[:, 0]] = np.sort(met, axis=1)[:, ::-1]  # NONE, the least, comes last

    pool.share(meet, range(0, len(lists), AT_ONCE[1]))
    return settled(of, weights, rows, candidates, lists.shape[1], pool)


def nearest_of(of: Items, weights: Vectors, rows: Rows, k: int, labels: Positions | None, pool: "Workers") -> tuple[Positions, Vectors]:
    """Positions (r, k) and similarities (r, k) of the k most similar of each of the rows among all others, by comparing all of them: the
    truth that a search is measured by. Equal ones in the order of their positions. With `labels` (n,) int32 only those of another label
    count. Where there are fewer, NONE and -inf.
    """
    return met(of, weights, rows, np.zeros(len(of), dtype=bool), np.full(len(of), np.inf, dtype=np.float32), k, labels, pool)[:2]


def met(
    of: Items,
    weights: Vectors,
    queries: Rows,
    changed: npt.NDArray[np.bool_],
    floors: Vectors,
    width: int,
    labels: Positions | None,
    pool: "Workers",
) -> tuple[Positions, Vectors, Positions]:
    """What the queries (q,), ascending, meet when they are compared with all items.

    Of each query the `width` most similar items: positions (q, width) and similarities (q, width), falling; NONE and -inf where there are
    fewer. Of each item those of the `changed` (n,) queries that are no less similar than its floor, of floors (n,): (n, width) positions,
    the nearest first. Equal ones in the order of their positions. With `labels` (n,) int32 only those of another label count.
    """
    others, values = _lists(len(of), width)
    found = [_lists(len(queries), width) for _ in range(pool.threads)]
    step = min(AT_ONCE[1], max(AT_ONCE[0], -(-len(of) // pool.threads)))

    cuts = [np.arange(first, min(first + AT_ONCE[0], len(queries))) for first in range(0, len(queries), AT_ONCE[0])]
    asking = [of[queries[slots]] for slots in cuts]

    def search(thread: int) -> None:
        for start in range(step * thread, len(of), step * pool.threads):
            theirs = np.arange(start, min(start + step, len(of)))
            inverted = Sought.of(of[start : start + step])
            for slots, items in zip(cuts, asking, strict=True):
                mine = queries[slots]
                similarities = inverted.compared(items, weights)
                if labels is not None:
                    similarities[labels[mine][:, None] == labels[theirs]] = -np.inf
                here = np.flatnonzero((mine >= theirs[0]) & (mine <= theirs[-1]))
                similarities[here, mine[here] - start] = -np.inf
                score.nearest(similarities, theirs.astype(np.int32), slots, *found[thread])
                if (turned := changed[mine]).any():
                    met = similarities[turned].T.copy()
                    met[met < floors[theirs][:, None]] = -np.inf
                    score.nearest(met, mine[turned].astype(np.int32), theirs, others, values)

    pool.share(search, range(pool.threads if len(queries) else 0))
    positions, similarities = (np.concatenate(lists, axis=1) for lists in zip(*found, strict=True))
    order = np.lexsort((positions, -similarities), axis=1)[:, :width]
    return np.take_along_axis(positions, order, axis=1), np.take_along_axis(similarities, order, axis=1), others


def _lists(count: int, width: int) -> tuple[Positions, Vectors]:
    return np.full((count, width), NONE, dtype=np.int32), np.full((count, width), -np.inf, dtype=np.float32)
