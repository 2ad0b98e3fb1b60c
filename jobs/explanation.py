"""Why two items are as similar as they are: what each channel contributes, and which words and codes carry it.

The numbers are those of `fusion.settled`. A share of a spelling is a term's product of both weights, over the sum of all. What several
words share is told of the two words that share the most of it.
"""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from jobs import fusion, pool, term
from jobs.fusion import Items, Reading, Vectors
from jobs.kernel import NONE
from jobs.lexicon import Terms
from jobs.tables import PARTS

GRAMS = 4  # n-grams that are named of two words


@dataclass(frozen=True)
class Channel:
    """One of PARTS: what the settings give it, of 1; the part, None where one of the two has nothing to compare; its share of all weights
    that count, and what it so contributes to the similarity."""

    name: str
    setting: float
    part: float | None
    weight: float
    contribution: float


@dataclass(frozen=True)
class Shared:
    """What two texts share: a word or a code of either, as it is compared; its share of the part; of words their heaviest n-grams."""

    mine: str
    theirs: str
    share: float
    grams: tuple[str, ...] = ()


@dataclass(frozen=True)
class Explanation:
    """The similarity is the sum of what the channels contribute, None where nothing can be compared. `better` says which texts the lexical
    part is of, `spellings` what either comes to; the heaviest of what is shared comes first."""

    similarity: float | None
    channels: tuple[Channel, ...]
    better: str
    spellings: dict[str, float]
    words: tuple[Shared, ...]
    codes: tuple[Shared, ...]


def explained(vectors: Vectors, columns: pa.Table, reading: Reading) -> Explanation:
    """Of two items, vectors (2, d) and two rows of `fusion.READ`."""
    of = fusion.items(vectors, columns, reading)
    with pool.alone() as one:
        near = fusion.settled(of, reading.weights, np.zeros(1, dtype=np.int64), np.ones((1, 1), dtype=np.int32), 1, one)
    compared = near.positions[0, 0] != NONE
    parts = near.parts[0, 0] if compared else np.full(len(PARTS), np.nan, dtype=np.float32)
    titles, fields = (columns[name].to_pylist() for name in ("title", "fields"))
    products = {"titles": _products(of.titles)} | ({} if of.bare.all() else {"all fields": _products(of.fields)})
    spellings = {name: sum(found.values()) for name, found in products.items()}
    better = max(spellings, key=lambda name: spellings[name])  # of equal ones the titles
    spelt = [text or "" for text in (titles if better == "titles" else fields)]
    return Explanation(
        float(near.similarities[0, 0]) if compared else None,
        channels(of, parts, reading.weights),
        better,
        spellings,
        words(spelt[0], spelt[1], products[better]),
        codes(fields[0] or "", _products(of.codes)),
    )


def channels(of: Items, parts: Vectors, weights: Vectors) -> tuple[Channel, ...]:
    """Of two items. How well the encoder knows the scripts of both titles is a factor of the semantic weight."""
    settings = weights.astype(float)
    counting = np.where(np.isnan(parts), 0, settings * [np.sqrt(float(of.known[0]) * float(of.known[1])), 1, 1, 1, 1])
    shares = counting / (counting.sum() or 1)
    return tuple(
        Channel(name, float(setting), None if np.isnan(part) else float(part), float(share), 0.0 if np.isnan(part) else float(share * part))
        for name, setting, part, share in zip(PARTS, settings, parts, shares, strict=True)
    )


def words(mine: str, theirs: str, products: dict[int, float]) -> tuple[Shared, ...]:
    """The words of two texts that share n-grams, the two that share the most before others. products: by bucket, see `_products`."""
    my_words, their_words, total = term.grams(mine), term.grams(theirs), sum(products.values())
    pairs = {bucket: {(one, other) for one in my_words[bucket] for other in their_words[bucket]} for bucket in products}
    found = []
    while pairs:
        sums = defaultdict[tuple[str, str], float](float)
        for bucket, sharing in pairs.items():
            for pair in sharing:
                sums[pair] += products[bucket]
        best = max(sums, key=lambda pair: (sums[pair], pair[0] == pair[1], pair))
        own = [bucket for bucket, sharing in pairs.items() if best in sharing]
        found.append(Shared(*best, sums[best] / total, _grams(best[0], own, products)))
        for bucket in own:
            del pairs[bucket]
    return tuple(sorted(found, key=lambda shared: -shared.share))


def codes(text: str, products: dict[int, float]) -> tuple[Shared, ...]:
    """The codes that the text shares with another one."""
    named, total = term.codes(text, products), sum(products.values())
    order = sorted(products, key=lambda bucket: -products[bucket])
    return tuple(Shared(named[bucket], named[bucket], products[bucket] / total) for bucket in order)


def _grams(word: str, buckets: list[int], products: dict[int, float]) -> tuple[str, ...]:
    """The heaviest n-grams of the word that are in the buckets."""
    by_bucket = {term.bucket(gram): gram for gram in term.grams_of(word)}
    return tuple(by_bucket[bucket] for bucket in sorted(buckets, key=lambda bucket: -products[bucket])[:GRAMS])


def _products(terms: Terms) -> dict[int, float]:
    """Of two rows the product of their weights, by bucket, of terms that both have."""
    one, other = (
        dict(zip(row.buckets.tolist(), row.weights.astype(float).tolist(), strict=True)) for row in (terms[np.array([at])] for at in (0, 1))
    )
    return {bucket: weight * other[bucket] for bucket, weight in one.items() if bucket in other}
