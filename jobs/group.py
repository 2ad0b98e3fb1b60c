"""Pairs that probably match -> groups of what is one product, without chains: a, b and c are not one because a is like b and b like c.

Average linkage: the two groups that belong together most are joined first, as long as the pairs across them match more probably than not on
average. A pair of which nothing is known counts as one that does not match. A source lists a product once, unless a pair says otherwise.
"""

import heapq
from collections.abc import Iterable, Mapping


def groups(pairs: Iterable[tuple[str, str, float]], threshold: float, sources: Mapping[str, str]) -> list[list[str]]:
    """Groups of two ids and more, each in order, the groups by their first. pairs: one id, another, and how probably they match; each pair
    once. sources: by id; two ids of one source come together only where there is a pair of them. The order of the pairs does not matter."""
    sums: dict[str, dict[str, float]] = {}  # by a group's first id, those of the groups that it has pairs with
    within = set[tuple[str, str]]()
    for one, other, probability in pairs:
        if sources[one] == sources[other]:
            within |= {(one, other), (other, one)}
        sums.setdefault(one, {})[other] = probability
        sums.setdefault(other, {})[one] = probability
    members = {name: [name] for name in sums}
    heap = [(-probability, one, other) for one, of in sums.items() for other, probability in of.items() if one < other]
    heapq.heapify(heap)
    while heap:
        negative, one, other = heapq.heappop(heap)
        if -negative < threshold:
            break
        if one not in members or other not in members or -negative != _mean(sums, members, one, other):
            continue  # of groups that have been joined with others meanwhile
        if any(sources[a] == sources[b] and (a, b) not in within for a in members[one] for b in members[other]):
            continue
        members[one] += members.pop(other)
        for third, total in sums.pop(other).items():
            del sums[third][other]
            if third != one:
                sums[one][third] = sums[third][one] = sums[one].get(third, 0.0) + total
        for third in sums[one]:
            heapq.heappush(heap, (-_mean(sums, members, one, third), min(one, third), max(one, third)))
    return sorted(sorted(group) for group in members.values() if len(group) > 1)


def _mean(sums: Mapping[str, Mapping[str, float]], members: Mapping[str, list[str]], one: str, other: str) -> float:
    return sums[one][other] / (len(members[one]) * len(members[other]))
