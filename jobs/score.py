"""The loop of `fusion` that computes similarities pair by pair, compiled with numba and cached on disk beside this file.

A sparse row is spread over a table as large as the vocabulary, where the rows it is compared with look up their terms: several times as
fast as walking along two rows side by side. Sparse rows are (bounds, buckets, weights), as in `lexicon.Terms`.
"""

import numpy as np
from numba import boolean, float32, int32, int64, njit, types, void

from jobs.kernel import NONE

EQUAL = 1 - 1e-6


@njit(void(float32[:, ::1], int32[::1], int64[::1], int32[:, ::1], float32[:, ::1]), nogil=True, cache=True)
def nearest(similarities, names, slots, ids, found):  # type: ignore[no-untyped-def]
    """Takes each row's similarities with the named columns into the list ids[slots[row]], found[slots[row]]: falling, of equal ones first
    the one that came first. -inf is not taken."""
    last = ids.shape[1] - 1
    for row in range(len(slots)):
        slot = slots[row]
        bar = found[slot, last]
        for column in range(len(names)):
            value = similarities[row, column]
            if value > bar:
                place = last
                while place > 0 and found[slot, place - 1] < value:
                    found[slot, place], ids[slot, place] = found[slot, place - 1], ids[slot, place - 1]
                    place -= 1
                found[slot, place], ids[slot, place] = value, names[column]
                bar = found[slot, last]


_TOLD = (float32[::1], boolean[::1], boolean[::1], boolean[::1], float32[::1], int64[::1])


@njit(void(*[float32[:, ::1]] * 5, *_TOLD, *_TOLD, float32[::1]), nogil=True, cache=True)
def fuse(  # type: ignore[no-untyped-def]
    found, titles, fields, coded, placed, known, spelt, codes, levels, prices, currencies,
    others_known, others_spelt, others_codes, others_levels, others_prices, others_currencies, weights,
):  # fmt: skip
    """The similarities of q items with n others, (q, n), -inf where no channel has anything to compare; into `found`, which holds the
    products of their vectors.

    titles, fields, coded, placed: the products of their terms. Of both: how well the scripts are known; whether there are terms of the
    fields, codes, and levels of a category; prices, 0 of one that has none; currencies. What weighs nothing does not count.
    """
    semantic, lexical, code, price, category = weights
    for row in range(found.shape[0]):
        for other in range(found.shape[1]):
            total = semantic * np.sqrt(known[row] * others_known[other])
            value = total * found[row, other]
            if spelt[row] and others_spelt[other]:
                total += lexical
                value += lexical * max(titles[row, other], fields[row, other])
            if codes[row] and others_codes[other]:
                total += code
                value += code * coded[row, other]
            if not total > 0:  # by price and category alone nothing is near
                found[row, other] = -np.inf
                continue
            one, two = prices[row], others_prices[other]
            if price and one > 0 and two > 0 and currencies[row] == others_currencies[other]:
                total += price
                value += price * min(one, two) / max(one, two)
            if levels[row] and others_levels[other]:
                total += category
                value += category * placed[row, other]
            found[row, other] = value / total


_TERMS = types.Tuple((int64[::1], int32[::1], float32[::1]))  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True, inline="always")
def _spread(table, terms, row):  # type: ignore[no-untyped-def]
    for place in range(terms[0][row], terms[0][row + 1]):
        table[terms[1][place]] = terms[2][place]


@njit(nogil=True, cache=True, inline="always")
def _clear(table, terms, row):  # type: ignore[no-untyped-def]
    for place in range(terms[0][row], terms[0][row + 1]):
        table[terms[1][place]] = 0


@njit(nogil=True, cache=True, fastmath=True)  # not inlined: it would lose its own mathematics
def _sum(table, buckets, weights, start, stop):  # type: ignore[no-untyped-def]
    total = 0.0
    for place in range(start, stop):
        total += np.float64(table[buckets[place]]) * np.float64(weights[place])
    return total


@njit(nogil=True, cache=True, inline="always")
def _looked_up(table, terms, row, other):  # type: ignore[no-untyped-def]
    """The cosine of the row that is spread over the table and another one; nan where either is empty."""
    bounds = terms[0]
    if bounds[row] == bounds[row + 1] or bounds[other] == bounds[other + 1]:
        return np.nan
    cosine = _sum(table, terms[1], terms[2], bounds[other], bounds[other + 1])
    return cosine if cosine < EQUAL else 1.0  # rows of the same terms, whose lengths are rounded


@njit(nogil=True, cache=True, fastmath=True)
def _cosine(vectors, row, other):  # type: ignore[no-untyped-def]
    total = 0.0
    for column in range(vectors.shape[1]):
        total += np.float64(vectors[row, column]) * np.float64(vectors[other, column])
    return min(total, 1.0)  # lengths are rounded


@njit(nogil=True, cache=True, inline="always")
def _compare(  # type: ignore[no-untyped-def]
    vectors, known, bare, titles, fields, codes, prices, currencies, categories, row, candidates, table, parts
):
    """parts (candidates, 5): the similarities of the row and each candidate, channel by channel."""
    _spread(table, titles, row)
    for place in range(len(candidates)):
        parts[place, 1] = _looked_up(table, titles, row, candidates[place])
    _clear(table, titles, row)
    _spread(table, fields, row)
    for place in range(len(candidates)):
        other = candidates[place]
        if not (bare[row] and bare[other]):
            spelt = _looked_up(table, fields, row, other)
            if not parts[place, 1] >= spelt:
                parts[place, 1] = spelt
    _clear(table, fields, row)
    _spread(table, codes, row)
    for place in range(len(candidates)):
        parts[place, 2] = _looked_up(table, codes, row, candidates[place])
    _clear(table, codes, row)
    _spread(table, categories, row)
    for place in range(len(candidates)):
        parts[place, 4] = _looked_up(table, categories, row, candidates[place])
    _clear(table, categories, row)
    for place in range(len(candidates)):
        other = candidates[place]
        parts[place, 0] = _cosine(vectors, row, other) if known[row] * known[other] > 0 else np.nan
        if np.isnan(parts[place, 0]) and np.isnan(parts[place, 1]) and np.isnan(parts[place, 2]):
            parts[place, 3] = parts[place, 4] = np.nan  # by price and category alone nothing is near
            continue
        one, two = np.float64(prices[row]), np.float64(prices[other])
        priced = one > 0 and two > 0 and currencies[row] == currencies[other]
        parts[place, 3] = min(one, two) / max(one, two) if priced else np.nan


@njit(
    void(
        float32[:, ::1], float32[::1], boolean[::1], _TERMS, _TERMS, _TERMS, float32[::1], int64[::1], _TERMS, float32[::1], int64,
        int64[::1], int64, int64, int32[:, ::1], int32[:, ::1], float32[:, ::1], float32[:, :, ::1],
    ),
    nogil=True, cache=True,
)  # fmt: skip
def settle(  # type: ignore[no-untyped-def]
    vectors, known, bare, titles, fields, codes, prices, currencies, categories, weights, size,
    rows, start, stop, candidates, ids, similarities, parts,
):  # fmt: skip
    """The best candidates of the items rows[start:stop] into their lists, equal ones by position.

    The items are those of `fusion.Items`, whose terms are below `size`. candidates (n, c); lists: ids and similarities (n, k), empty; parts
    (n, k, 5).
    """
    k, table = ids.shape[1], np.zeros(size, np.float32)
    near = np.empty((candidates.shape[1], len(weights)), np.float64)
    for slot in rows[start:stop]:
        met, count = 0, 0
        while met < candidates.shape[1] and candidates[slot, met] != NONE:
            met += 1
        _compare(vectors, known, bare, titles, fields, codes, prices, currencies, categories, slot, candidates[slot, :met], table, near)
        for place in range(met):
            other, total, share = candidates[slot, place], 0.0, 0.0
            for part in range(len(weights)):
                weight = np.float64(weights[part])
                if part == 0:
                    weight *= np.sqrt(np.float64(known[slot]) * np.float64(known[other]))
                if not np.isnan(near[place, part]):
                    total += weight * near[place, part]
                    share += weight
            if share == 0:
                continue
            value = np.float32(total / share)
            at = count
            while at > 0 and (similarities[slot, at - 1] < value or (similarities[slot, at - 1] == value and ids[slot, at - 1] > other)):
                if at < k:
                    similarities[slot, at], ids[slot, at] = similarities[slot, at - 1], ids[slot, at - 1]
                    parts[slot, at] = parts[slot, at - 1]
                at -= 1
            if at < k:
                similarities[slot, at], ids[slot, at] = value, other
                for part in range(len(weights)):
                    parts[slot, at, part] = near[place, part]
                count = min(count + 1, k)
