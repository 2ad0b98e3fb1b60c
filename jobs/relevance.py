"""The loops of `affinity` and `taste`, compiled with numba and cached on disk beside this file.

Sparse rows are (bounds, items, values), as in `graph.Graph` and `interest.Interests`. Every function takes contiguous arrays, writes the
rows from `start` to `stop` of arrays its caller has made, and releases the interpreter lock: what is found does not depend on how many
threads share the rows.
"""

import numpy as np
from numba import boolean, float32, float64, int8, int32, int64, njit, types, void

from jobs.kernel import NONE

HISTORY, POPULAR = 0, 1  # kinds of recommendations

_ROWS = types.Tuple((int64[::1], int32[::1], float32[::1]))  # type: ignore[no-untyped-call]


@njit(nogil=True, cache=True, inline="always")
def _sunk(scores, ids, count, score, who):  # type: ignore[no-untyped-def]
    """Lets a score sink to its place in a falling list, of equal ones first the lower id; the new count."""
    place = count
    while place > 0 and (scores[place - 1] < score or (scores[place - 1] == score and ids[place - 1] > who)):
        if place < len(scores):
            scores[place], ids[place] = scores[place - 1], ids[place - 1]
        place -= 1
    if place < len(scores):
        scores[place], ids[place] = score, who
    return min(count + 1, len(scores))


@njit(
    void(_ROWS, _ROWS, _ROWS, float64[::1], float64[::1], float64, int64, int64, float32[::1], int32[:, ::1], float32[:, ::1]),
    nogil=True,
    cache=True,
)
def together(users, items, links, evidence, lengths, doubt, start, stop, known, others, found):  # type: ignore[no-untyped-def]
    """How much items are cared for by the same users: known (links,) of the linked pairs; others, found (n, k) of the best pairs beside
    them, as a share of what their lengths allow, at most 1, times what the item of less evidence is worth beside the doubt.

    users: items of each user; items: users of each item, both of the same values; evidence, lengths (n,) of items, the lengths above 0
    where there is evidence.
    """
    n = len(evidence)
    sums, met, linked = np.zeros(n), np.empty(n, np.int32), np.zeros(n, np.bool_)
    best = np.empty(others.shape[1], np.float64)
    for item in range(start, stop):
        count = kept = 0
        for place in range(items[0][item], items[0][item + 1]):
            user = items[1][place]
            for at in range(users[0][user], users[0][user + 1]):
                other = users[1][at]
                if sums[other] == 0:
                    met[count] = other
                    count += 1
                sums[other] += np.float64(items[2][place]) * np.float64(users[2][at])
        for place in range(links[0][item], links[0][item + 1]):
            other = links[1][place]
            linked[other] = True
            known[place] = sums[other]
        for place in range(count):
            other = met[place]
            if other != item and not linked[other]:
                rarer = min(evidence[item], evidence[other])
                value = min(1, sums[other] / (lengths[item] * lengths[other])) * rarer / (rarer + doubt)
                kept = _sunk(best, others[item], kept, value, other)
            sums[other] = 0
        for place in range(links[0][item], links[0][item + 1]):
            linked[links[1][place]] = False
        for place in range(kept):
            found[item, place] = best[place]


@njit(nogil=True, cache=True, inline="always")
def _marginal(scores, pool, count, alike, trade, places, chosen):  # type: ignore[no-untyped-def]
    """The order in which a pool of falling scores is taken, into `chosen`: each time the one that is best by `trade` times its score, as a
    share of the best one's, less 1 - trade times its similarity with the nearest that was taken before. How many were taken."""
    nearest, left = np.zeros(count), np.ones(count, np.bool_)
    for place in range(count):
        places[pool[place]] = place
    taken = 0
    while taken < min(count, len(chosen)):
        best, value = -1, -np.inf
        for place in range(count):
            gain = trade * scores[place] / scores[0] - (1 - trade) * nearest[place]
            if left[place] and gain > value:
                best, value = place, gain
        chosen[taken], left[best] = best, False
        taken += 1
        for at in range(alike[0][pool[best]], alike[0][pool[best] + 1]):
            place = places[alike[1][at]]
            if place >= 0:
                nearest[place] = max(nearest[place], np.float64(alike[2][at]))
    for place in range(count):
        places[pool[place]] = -1
    return taken


@njit(
    void(
        _ROWS, _ROWS, _ROWS, int64[::1], int32[::1], boolean[::1], int32[::1], float64, int64, int64, int64,
        int32[:, ::1], float32[:, ::1], int32[:, ::1], int8[:, ::1],
    ),
    nogil=True, cache=True,
)  # fmt: skip
def recommend(  # type: ignore[no-untyped-def]
    users, graph, alike, owned_bounds, owned, available, popular, trade, depth, start, stop, positions, scores, reasons, kinds
):
    """The lists (users, k) of the users from start to stop, which are empty. `depth`: how many of the best of each are chosen among."""
    n, k = len(available), positions.shape[1]
    sums, most, why = np.zeros(n), np.zeros(n), np.empty(n, np.int32)
    met, barred, places = np.empty(n, np.int32), np.zeros(n, np.bool_), np.full(n, NONE, np.int32)
    pool, best, chosen = np.empty(depth, np.int32), np.empty(depth, np.float64), np.empty(k, np.int64)
    for user in range(start, stop):
        for place in range(owned_bounds[user], owned_bounds[user + 1]):
            barred[owned[place]] = True
        count = kept = 0
        for place in range(users[0][user], users[0][user + 1]):
            item, weight = users[1][place], np.float64(users[2][place])
            for at in range(graph[0][item], graph[0][item + 1]):
                other, gain = graph[1][at], weight * np.float64(graph[2][at])
                if not gain > 0 or barred[other] or not available[other]:
                    continue
                if sums[other] == 0:
                    met[count] = other
                    count += 1
                sums[other] += gain
                if gain > most[other]:
                    most[other], why[other] = gain, item
        for place in range(count):
            kept = _sunk(best, pool, kept, sums[met[place]], met[place])
        taken = _marginal(best, pool, kept, alike, trade, places, chosen)
        for place in range(taken):
            item = pool[chosen[place]]
            positions[user, place], scores[user, place], reasons[user, place] = item, best[chosen[place]], why[item]
            kinds[user, place] = HISTORY
            barred[item] = True
        at = 0
        while taken < k and at < len(popular):
            item = popular[at]
            at += 1
            if available[item] and not barred[item]:
                positions[user, taken], kinds[user, taken] = item, POPULAR
                taken += 1
        for place in range(count):
            sums[met[place]] = most[met[place]] = 0
        for place in range(kept):
            barred[pool[place]] = False
        for place in range(owned_bounds[user], owned_bounds[user + 1]):
            barred[owned[place]] = False
